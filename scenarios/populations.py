"""Who paid: measures by population over the tables of a run.

Money is in the unit of the settlement asset, and with coins in US dollars. Wealth counts coins at the index
of their spot book: those of the start at the first index, those of the end at the last. Loans from outside
are no wealth.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from zerodebt.agents.wealth import Floats
from zerodebt.scenarios.columns import TABLES, money_unit, opening, read_table, settle_asset
from zerodebt.scenarios.rundir import META, read_json

HOUR_NS = 3_600 * 10**9
_COIN = pl.col("symbol").str.split("-").list.first()
"""Of the symbol of a spot book, or of an asset."""


class Run(NamedTuple):
    """Tables of a finished run, trades with the populations of both sides and hours since the start.

    spots  symbols of the spot books. A coin's first book has the coin's name, others add a dash: ALT, ALT-2
    unit   ending of the columns of money
    """

    path: Path
    populations: tuple[Mapping[str, object], ...]
    trades: pl.DataFrame
    marks: pl.DataFrame
    accounts: pl.DataFrame
    ledger: pl.DataFrame
    takeovers: pl.DataFrame
    adl: pl.DataFrame
    spots: tuple[str, ...]
    unit: str = "usd"


def read(path: Path) -> Run:
    populations = tuple(read_json(path / META)["populations"])
    marks = read_table(path, "marks")
    instruments = read_table(path, "instruments")
    spots = tuple(instruments.filter(pl.col("kind") == "spot")["symbol"].to_list())
    start_ns = int(str(marks["time_ns"].min() or 0))
    hours = ((pl.col("time_ns") - start_ns) / HOUR_NS).alias("hour")
    accounts = read_table(path, "accounts")
    names = dict(zip(accounts["account"].to_list(), accounts["population"].to_list(), strict=True))
    who = [
        pl.col(side)
        .replace_strict(names, default="house", return_dtype=pl.String)
        .alias(f"{side}_population")
        for side in ("taker", "maker")
    ]
    return Run(
        path,
        populations,
        read_table(path, "trades").with_columns(*who, hours),
        marks.with_columns(hours),
        accounts,
        read_table(path, "ledger"),
        read_table(path, "takeovers"),
        read_table(path, "adl"),
        spots,
        money_unit(settle_asset(opening(path))),
    )


def counter(run: Run, population: str, name: str) -> int:
    """What a population counted itself."""
    counters = next(p["counters"] for p in run.populations if p["name"] == population)
    assert isinstance(counters, dict)
    return int(counters[name])


def flows(trades: pl.DataFrame) -> pl.DataFrame:
    """(hour, symbol, population, net_usd): bought less sold by both sides of every trade."""
    signed = pl.col("notional_usd") * pl.col("taker_side")
    columns = ("hour", "symbol")
    taken = trades.select(*columns, population="taker_population", net_usd=signed, volume_usd="notional_usd")
    made = trades.select(*columns, population="maker_population", net_usd=-signed, volume_usd="notional_usd")
    return pl.concat([taken, made])


def volume_shares(run: Run) -> dict[str, float]:
    """Part of both sides of all trades, by population."""
    sums = flows(run.trades).group_by("population").agg(pl.col("volume_usd").sum())
    whole = float(sums["volume_usd"].sum())
    return {name: usd / whole for name, usd in sums.select("population", "volume_usd").iter_rows()}


def index_at(run: Run, symbol: str, hour: float) -> float:
    """Index of an instrument at the last instant not after `hour`."""
    rows = run.marks.filter((pl.col("symbol") == symbol) & (pl.col("hour") <= hour))
    return float(rows["index"][-1])


def index_path(run: Run, symbol: str) -> Floats:
    return run.marks.filter(pl.col("symbol") == symbol)["index"].to_numpy()


def profits(run: Run) -> pl.DataFrame:
    """(account, population, wealth_usd, profit_usd, fees_usd) with coins; wealth is that of the start."""
    spots = run.marks.filter(pl.col("symbol").is_in(run.spots))
    prices = spots.group_by("symbol").agg(first=pl.col("index").first(), last=pl.col("index").last())
    brought = (
        run.ledger.filter((pl.col("reason") == "deposit") & pl.col("asset").is_in(run.spots))
        .group_by("account", symbol="asset")
        .agg(coins=pl.col("amount").sum())
    )
    of_spots = run.trades.filter(pl.col("symbol").is_in(run.spots)).with_columns(symbol=_COIN)
    signed = pl.col("size_contracts") * pl.col("taker_side")
    bought = pl.concat(
        [
            of_spots.select("symbol", account="taker", bought=signed),
            of_spots.select("symbol", account="maker", bought=-signed),
        ]
    )
    bought = bought.group_by("account", "symbol").agg(pl.col("bought").sum())
    coins = brought.join(bought, on=["account", "symbol"], how="full", coalesce=True).with_columns(
        pl.col("coins", "bought").fill_null(0.0)
    )
    coins = (
        coins.join(prices, on="symbol")
        .group_by("account")
        .agg(
            coins_start_usd=(pl.col("coins") * pl.col("first")).sum(),
            coins_end_usd=((pl.col("coins") + pl.col("bought")) * pl.col("last")).sum(),
        )
    )
    rows = run.accounts.filter(pl.col("kind") != "house").join(coins, on="account", how="left")
    rows = rows.with_columns(pl.col("coins_start_usd", "coins_end_usd").fill_null(0.0))
    return rows.select(
        "account",
        "population",
        wealth_usd=pl.col("initial_equity_usd") + pl.col("coins_start_usd"),
        profit_usd=pl.col("change_usd") + pl.col("coins_end_usd") - pl.col("coins_start_usd"),
        fees_usd="fees_paid_usd",
    )


def owners(run: Run, accounts: pl.DataFrame) -> pl.DataFrame:
    """The same by owner: of leveraged retail with a core, margin account and core account together."""
    owner = pl.col("account")
    for population in run.populations:
        if population["kind"] == "core_retail":
            first, half = int(str(population["first_account"])), int(str(population["count"])) // 2
            is_core = (pl.col("account") >= first + half) & (pl.col("account") < first + 2 * half)
            owner = pl.when(is_core).then(owner - half).otherwise(owner)
    return accounts.group_by("population", account=owner).agg(
        pl.col("wealth_usd", "profit_usd", "fees_usd").sum()
    )


def losses(run: Run) -> pl.DataFrame:
    """By population: wealth, profit, losses, fees; loss over own wealth, shares and their ratio, and the
    shares without the largest loser.

    Wealth of institutions is less what they owe outside.
    """
    own = owners(run, profits(run)).with_columns(loss=(-pl.col("profit_usd")).clip(lower_bound=0))
    rows = own.group_by("population").agg(
        pl.col("wealth_usd", "profit_usd", "fees_usd").sum(),
        losses_usd=pl.col("loss").sum(),
        top_usd=pl.col("loss").max(),
        gini=pl.col("loss").map_batches(_gini_of, returns_scalar=True, return_dtype=pl.Float64),
    )
    owed = {
        str(p["name"]): float(counter(run, str(p["name"]), "loan_start_usd"))
        for p in run.populations
        if p["kind"] == "institutions"
    }
    wealth = pl.col("wealth_usd") - pl.col("population").replace_strict(
        owed, default=0.0, return_dtype=pl.Float64
    )
    lost, top = pl.col("losses_usd"), pl.col("top_usd")
    return (
        rows.with_columns(wealth_usd=wealth)
        .with_columns(
            loss_of_wealth=lost / pl.col("wealth_usd"),
            loss_share=lost / lost.sum(),
            wealth_share=pl.col("wealth_usd") / pl.col("wealth_usd").sum(),
            loss_share_without_top=(lost - top) / (lost - top).sum(),
        )
        .with_columns(loss_share_of_wealth_share=pl.col("loss_share") / pl.col("wealth_share"))
        .sort("population")
    )


def _gini_of(losses_usd: pl.Series) -> float:
    return gini(losses_usd.to_numpy())


def gini(values: Floats) -> float:
    """0 when all bear the same, near 1 when one bears all; 0 of nothing."""
    ascending = np.sort(values)
    whole = float(ascending.sum())
    count = len(ascending)
    if whole <= 0:
        return 0.0
    ranks = np.arange(1, count + 1)
    return float(2 * (ranks * ascending).sum() / (count * whole) - (count + 1) / count)


def counterparties(run: Run) -> pl.DataFrame:
    """Who took what the liquidated had to give: (population, route, counterparty, notional).

    route  `book`: forced orders; `takeover`: by a vault or the fund; `adl`: from winners
    """
    money = pl.col(f"notional_{run.unit}")
    routes = (
        ("book", run.trades.filter("forced"), "taker_population", "maker_population"),
        ("takeover", run.takeovers, "population", "taker_population"),
        ("adl", run.adl, "population", "winner_population"),
    )
    parts = [
        rows.select(population=who, route=pl.lit(route), counterparty=other, notional=money.abs())
        for route, rows, who, other in routes
    ]
    keys = ("population", "route", "counterparty")
    return pl.concat(parts).group_by(keys).agg(pl.col("notional").sum()).sort(keys)


def beta(run: Run, symbols: Sequence[str], of: str, since: float, until: float) -> float:
    """Mean log return of `symbols` over the log return of `of` between two hours."""

    def move(symbol: str) -> float:
        return float(np.log(index_at(run, symbol, until) / index_at(run, symbol, since)))

    base = move(of)
    return float(np.mean([move(s) for s in symbols])) / base if base else float("nan")


def leverage_index(run: Run) -> Floats:
    """Open interest of all contracts by instant, over the same coins' first value: OI / (price / first)."""
    contracts = run.marks.filter(~pl.col("symbol").is_in(run.spots))
    rows = contracts.with_columns(pl.col("open_interest_contracts") * pl.col("index").first().over("symbol"))
    sums = rows.group_by("time_ns", maintain_order=True).agg(pl.col("open_interest_contracts").sum())
    interest: Floats = sums["open_interest_contracts"].to_numpy()
    return interest


def volatility_index(run: Run, window: int) -> Floats:
    """Root mean square of the mean log return of all coins, over each `window` instants in a row."""
    moves = np.diff(np.log(np.stack([index_path(run, s) for s in run.spots])), axis=1).mean(axis=0)
    sums = np.cumsum(np.insert(moves**2, 0, 0.0))
    rooted: Floats = np.sqrt((sums[window:] - sums[:-window]) / window)
    return rooted


def hourly(run: Run) -> pl.DataFrame:
    """(hour, leverage_usd, volatility): the leverage index at the hour's end, and the root of the sum of the
    squared mean log moves of all coins in it.
    """
    hours = np.floor(run.marks.filter(pl.col("symbol") == run.spots[0])["hour"].to_numpy())
    moves = np.diff(np.log(np.stack([index_path(run, s) for s in run.spots])), axis=1).mean(axis=0)
    rows = pl.DataFrame(
        {"hour": hours, "leverage_usd": leverage_index(run), "move": np.insert(moves, 0, 0.0)}
    )
    return rows.group_by("hour", maintain_order=True).agg(
        pl.col("leverage_usd").last(), volatility=(pl.col("move") ** 2).sum().sqrt()
    )


def betas(run: Run) -> pl.DataFrame:
    """(symbol, up_beta, down_beta): slope through zero of a coin's hourly log moves on those of the first
    coin, over the hours in which that one rose or fell; null where there is none.
    """
    last = run.marks.filter(pl.col("symbol").is_in(run.spots)).with_columns(pl.col("hour").floor())
    last = last.group_by("symbol", "hour", maintain_order=True).agg(pl.col("index").last())
    moves = {s: np.diff(np.log(last.filter(pl.col("symbol") == s)["index"].to_numpy())) for s in run.spots}
    base = moves[run.spots[0]]
    rows = []
    for symbol in run.spots:
        slopes: list[float | None] = []
        for legs in (base > 0, base < 0):
            whole = float((base[legs] ** 2).sum())
            slopes.append(float((base[legs] * moves[symbol][legs]).sum()) / whole if whole else None)
        rows.append((symbol, *slopes))
    schema = {"symbol": pl.String(), "up_beta": pl.Float64(), "down_beta": pl.Float64()}
    return pl.DataFrame(rows, schema, orient="row")


def exits(run: Run, population: str, since: float) -> pl.DataFrame:
    """(account, hour, profit_usd) of who sold contracts on his own; the mean hour, by value."""
    sold = run.trades.filter(
        (pl.col("taker_population") == population)
        & (pl.col("taker_side") == -1)
        & ~pl.col("forced")
        & ~pl.col("symbol").is_in(run.spots)
        & (pl.col("hour") >= since)
    )
    when = sold.group_by(account="taker").agg(
        hour=(pl.col("hour") * pl.col("notional_usd")).sum() / pl.col("notional_usd").sum()
    )
    return when.join(profits(run).select("account", "profit_usd"), on="account").sort("hour")


def _exits_of(run: Run, population: str) -> pl.DataFrame:
    return exits(run, population, 0.0).select(pl.lit(population).alias("population"), pl.all())


def order_of_sales(run: Run, population: str, senior: Sequence[str], since: float) -> float:
    """Part in junior coins of the first half, by value, of what a population sold in spot books."""
    sold = run.trades.filter(
        (pl.col("taker_population") == population)
        & (pl.col("taker_side") == -1)
        & pl.col("symbol").is_in(run.spots)
        & (pl.col("hour") >= since)
    ).sort("seq")
    if sold.is_empty():
        return float("nan")
    so_far = sold["notional_usd"].cum_sum() - sold["notional_usd"]
    first = sold.filter(so_far < float(sold["notional_usd"].sum()) / 2)
    junior = first.filter(~_COIN.is_in(list(senior)))
    return float(junior["notional_usd"].sum()) / float(first["notional_usd"].sum())


def write_tables(path: Path) -> None:
    """The tables `population_...`, as Parquet: counterparties; with spot books in dollars the others too."""
    run = read(path)
    found = {"counterparties": counterparties(run)}
    if run.spots and run.unit == "usd":
        by_hour = flows(run.trades).with_columns(pl.col("hour").floor())
        keys = ("hour", "symbol", "population")
        found |= {
            "losses": losses(run),
            "flows": by_hour.group_by(keys).agg(pl.col("net_usd", "volume_usd").sum()).sort(keys),
            "indices": hourly(run),
            "betas": betas(run),
            "exits": pl.concat(_exits_of(run, str(population["name"])) for population in run.populations),
        }
    for name, frame in found.items():
        folder = path / TABLES / f"population_{name}"
        folder.mkdir(exist_ok=True)
        frame.write_parquet(folder / "part-00000.parquet")


def holdings_usd(run: Run, population: str, hour: float) -> dict[str, float]:
    """What a population holds in every instrument at an hour, signed, at the index of then."""
    of_population = pl.col("population") == population
    until = flows_contracts(run).filter(of_population & (pl.col("hour") <= hour))
    held = dict(until.group_by("symbol").agg(pl.col("net").sum()).iter_rows())
    coins = run.ledger.filter(of_population & (pl.col("reason") == "deposit"))
    for symbol, amount in coins.group_by("asset").agg(pl.col("amount").sum()).iter_rows():
        held[symbol] = held.get(symbol, 0.0) + amount
    symbols = set(run.marks["symbol"].unique().to_list())
    return {s: held[s] * index_at(run, s, hour) for s in sorted(held) if s in symbols}


def flows_contracts(run: Run) -> pl.DataFrame:
    """(hour, symbol, population, net): contracts or coins bought less sold, both sides of every trade."""
    signed = pl.col("size_contracts") * pl.col("taker_side")
    return pl.concat(
        [
            run.trades.select("hour", "symbol", population="taker_population", net=signed),
            run.trades.select("hour", "symbol", population="maker_population", net=-signed),
        ]
    )


def net_by_bin(run: Run, population: str, symbols: Sequence[str], edges: Floats) -> Floats:
    """USD bought less sold by a population in these instruments, between each two hours of `edges`."""
    rows = flows(run.trades).filter(
        (pl.col("population") == population) & pl.col("symbol").is_in(list(symbols))
    )
    sums, _ = np.histogram(rows["hour"].to_numpy(), edges, weights=rows["net_usd"].to_numpy())
    return sums


def owned_core_usd(run: Run) -> float:
    """What the core accounts of leveraged retail had at the start, coins and stable."""
    retail = next(p for p in run.populations if p["kind"] == "core_retail")
    first, half = int(str(retail["first_account"])), int(str(retail["count"])) // 2
    core = profits(run).filter((pl.col("account") >= first + half) & (pl.col("account") < first + 2 * half))
    return float(core["wealth_usd"].sum())
