"""Scalars of a finished run, from its tables: what claims are held against and what a summary prints.

Every name carries its unit; shares are fractions of one, times are RFC 3339 or seconds after 00:00, in UTC.
What did not happen in a run is None where a time or a share would be meant, and 0 where an amount is.
docs/tables.md lists the names.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import polars as pl

from zerodebt.exchange.events import FundLayer
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, SECOND_NS
from zerodebt.scenarios.columns import TABLE_NAMES, money_unit, opening, read_table, settle_asset
from zerodebt.scenarios.quantities import utc
from zerodebt.scenarios.tables import CAUSES

_DAY_NS = 24 * HOUR_NS
CALM_NS = 5 * MINUTE_NS
# Window of the published takeover and liquidation figures of 2025-10-10, in time of day.
_WINDOW_NS = (21 * HOUR_NS + 15 * MINUTE_NS, 21 * HOUR_NS + 27 * MINUTE_NS)
# Window of the published bid depth of BTC on that day, to which the makers' depth is fitted.
_DEPTH_WINDOW_NS = (20 * HOUR_NS + 50 * MINUTE_NS, 21 * HOUR_NS + 50 * MINUTE_NS)

Frames = dict[str, pl.DataFrame]


def measure(run: Path) -> dict[str, Any]:
    """All scalars of a run whose tables are written."""
    frames = {name: read_table(run, name) for name in TABLE_NAMES if name != "ledger"}
    unit = money_unit(settle_asset(opening(run)))
    parts: tuple[Callable[[Frames, str], dict[str, Any]], ...] = (
        _clock,
        _adl,
        _takeovers,
        _liquidations,
        _open_interest,
        _prices,
        _depth,
        _deficits,
        _absorbers,
        _accounts,
        _populations,
        _named_client,
    )
    measured: dict[str, Any] = {}
    for part in parts:
        measured |= part(frames, unit)
    return measured


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Names as parts of measures' names, no two alike: `BTC-PERP` is btc, or btc_perp beside a book BTC;
    `natural shorts` is natural_shorts. Those that differ by case and marks alone are numbered.
    """
    names = sorted(set(names))
    short = [_slug(name.removesuffix("-PERP") if name.isupper() else name) for name in names]
    found: dict[str, str] = {}
    for name, wanted in zip(names, short, strict=True):
        part = base = wanted if short.count(wanted) == 1 else _slug(name)
        count = 1
        while part in found.values():
            count += 1
            part = f"{base}_{count}"
        found[name] = part
    return found


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _largest_share(values: pl.Series, count: int) -> float | None:
    """Share of the `count` largest values in their sum."""
    return _share(float(values.sort(descending=True).head(count).sum()), float(values.sum()))


def _seconds_of_day(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns % _DAY_NS / SECOND_NS


def _moment(time_ns: int | None) -> str | None:
    return None if time_ns is None else utc(time_ns)


def _integer(value: Any) -> int | None:
    return None if value is None else int(value)


def _clock(frames: Frames, unit: str) -> dict[str, Any]:
    marks, trades, instruments = frames["marks"], frames["trades"], frames["instruments"]
    operations = int(instruments["orders_placed"].sum()) + int(instruments["orders_removed"].sum())
    return {
        "start_utc": _moment(_integer(marks["time_ns"].min())),
        "end_utc": _moment(_integer(marks["time_ns"].max())),
        "order_operations": operations,
        "trades": trades.height,
        f"volume_{unit}": float(trades[f"notional_{unit}"].sum()),
    }


def _adl(frames: Frames, unit: str) -> dict[str, Any]:
    adl = frames["adl"]
    notional = adl[f"notional_{unit}"]
    whole = float(notional.sum())
    first, last = _integer(adl["time_ns"].min()), _integer(adl["time_ns"].max())
    by_winner = adl.group_by("winner").agg(pl.col(f"notional_{unit}").sum())[f"notional_{unit}"]
    by_time = adl.group_by("time_ns").agg(pl.col(f"notional_{unit}").sum())[f"notional_{unit}"]
    by_symbol = dict(adl.group_by("symbol").agg(pl.col(f"notional_{unit}").sum()).iter_rows())
    measured: dict[str, Any] = {
        "first_adl_utc": _moment(first),
        "first_adl_seconds": _seconds_of_day(first),
        "last_adl_utc": _moment(last),
        "last_adl_seconds": _seconds_of_day(last),
        "adl_fills": adl.height,
        "adl_accounts": by_winner.len(),
        "adl_bursts": by_time.len(),
        f"adl_notional_{unit}": whole,
        f"adl_transfer_{unit}": float(adl[f"transfer_{unit}"].sum()),
        f"winners_closed_profit_{unit}": float(adl[f"profit_{unit}"].sum()),
        "adl_full_closure_share": _share(float(adl["full_closure"].sum()), adl.height),
        "adl_in_profit_share": _share(float((adl["profit_atoms"] > 0).sum()), adl.height),
        "vault_share_of_adl": _share(float(notional.filter(adl["account_is_vault"]).sum()), whole),
        "adl_top1_share": _largest_share(by_winner, 1),
        "adl_top10_share": _largest_share(by_winner, 10),
        "adl_burst_top1_share": _largest_share(by_time, 1),
        "adl_burst_top10_share": _largest_share(by_time, 10),
    }
    for symbol, name in slugs(frames["instruments"]["symbol"]).items():
        measured[f"adl_share_{name}"] = _share(by_symbol.get(symbol, 0.0), whole)
    return measured


def _takeovers(frames: Frames, unit: str) -> dict[str, Any]:
    takeovers, adl = frames["takeovers"], frames["adl"]
    notional = takeovers[f"notional_{unit}"]
    first, last = _WINDOW_NS
    of_day = takeovers["time_ns"] % _DAY_NS
    whole = float(notional.sum())
    return {
        f"takeover_notional_{unit}": whole,
        f"takeover_notional_2115_2127_{unit}": float(
            notional.filter((of_day >= first) & (of_day <= last)).sum()
        ),
        "takeover_accounts": takeovers["account"].n_unique(),
        "adl_to_takeover_ratio": _share(float(adl[f"notional_{unit}"].sum()), whole),
    }


def _liquidations(frames: Frames, unit: str) -> dict[str, Any]:
    forced = frames["trades"].filter(pl.col("forced"))
    takeovers, liquidations = frames["takeovers"], frames["liquidations"]
    in_book = float(forced[f"notional_{unit}"].sum())
    taken = float(takeovers[f"notional_{unit}"].sum())
    longs = float(forced.filter(pl.col("taker_side") == -1)[f"notional_{unit}"].sum())
    longs += float(takeovers.filter(pl.col("lots") > 0)[f"notional_{unit}"].sum())
    accounts = pl.concat([forced["taker"], takeovers["account"]])
    return {
        "first_liquidation_utc": _moment(_integer(liquidations["time_ns"].min())),
        "liquidations_started": liquidations.height,
        "liquidated_accounts": accounts.n_unique(),
        f"liquidation_book_notional_{unit}": in_book,
        "liquidation_long_share": _share(longs, in_book + taken),
    }


def _open_interest(frames: Frames, unit: str) -> dict[str, Any]:
    """Value at the start and the end, and the change by cause.

    start * P0 -> end * P1 splits exactly: every change of lots at the first price, the price move on what is
    left at the end.
    """
    instruments = frames["instruments"]
    value = instruments[f"tick_value_{unit}"]
    first_price, last_price = instruments["first_mark_ticks"].abs(), instruments["last_mark_ticks"].abs()
    start, end = instruments["first_open_interest_lots"], instruments["last_open_interest_lots"]
    start_value = float((start * first_price * value).sum())
    adl_lots = frames["adl"].group_by("instrument").agg(pl.col("lots").abs().sum())
    deleveraged = (
        instruments.select("instrument").join(adl_lots, on="instrument", how="left")["lots"].fill_null(0)
    )
    measured: dict[str, Any] = {
        f"open_interest_start_{unit}": start_value,
        f"open_interest_end_{unit}": float((end * last_price * value).sum()),
        "open_interest_contracts_change_share": _share(
            float(((end - start) * first_price * value).sum()), start_value
        ),
        "adl_share_of_open_interest": _share(float((deleveraged * first_price * value).sum()), start_value),
        f"open_interest_change_price_{unit}": float((end * (last_price - first_price) * value).sum()),
    }
    measured["open_interest_change_share"] = _share(
        measured[f"open_interest_end_{unit}"] - start_value, start_value
    )
    for cause in CAUSES:
        change = instruments[f"{cause}_change_lots"] * first_price * value
        measured[f"open_interest_change_{cause}_{unit}"] = float(change.sum())
    names = slugs(instruments["symbol"])
    for row in instruments.iter_rows(named=True):
        name = names[row["symbol"]]
        measured[f"open_interest_start_{name}_contracts"] = row["first_open_interest_contracts"]
        measured[f"open_interest_end_{name}_contracts"] = row["last_open_interest_contracts"]
    return measured


def _prices(frames: Frames, unit: str) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    order = ["symbol", "seq"]
    names = slugs(frames["instruments"]["symbol"])
    for (symbol,), marks in frames["marks"].sort(order).group_by("symbol", maintain_order=True):
        name = names[str(symbol)]
        for what in ("index", "mark"):
            prices = marks[what]
            measured[f"{what}_start_{name}_{unit}"] = prices[0]
            measured[f"{what}_min_{name}_{unit}"] = prices.min()
            measured[f"{what}_max_{name}_{unit}"] = prices.max()
            measured[f"{what}_end_{name}_{unit}"] = prices[-1]
    rates = frames["funding"].group_by("symbol").agg(pl.col("rate_ppt").abs().max())
    largest = rates["rate_ppt"].max()
    measured["funding_rate_max_ppt"] = _integer(largest)
    return measured


def _depth(frames: Frames, unit: str) -> dict[str, Any]:
    """Depth within 1 % against its median in the first five minutes, over all instruments and in each."""
    marks = frames["marks"].with_columns(depth=pl.col(f"depth_bid_{unit}") + pl.col(f"depth_ask_{unit}"))
    if marks.is_empty():
        return {}
    sums = pl.col("depth", f"depth_bid_{unit}", f"depth_ask_{unit}").sum()
    whole = marks.group_by("time_ns", maintain_order=True).agg(sums)
    measured = {
        "depth_min_relative": _least_relative(whole, "depth"),
        "depth_bid_min_relative": _least_relative(whole, f"depth_bid_{unit}"),
        "depth_ask_min_relative": _least_relative(whole, f"depth_ask_{unit}"),
    }
    names = slugs(frames["instruments"]["symbol"])
    for (symbol,), rows in marks.group_by("symbol", maintain_order=True):
        measured[f"depth_min_relative_{names[str(symbol)]}"] = _least_relative(rows, "depth")
    first = marks.filter(pl.col("instrument") == 0)
    of_day = first["time_ns"] % _DAY_NS
    near = first.filter((of_day >= _DEPTH_WINDOW_NS[0]) & (of_day <= _DEPTH_WINDOW_NS[1]))
    name = names[str(frames["instruments"]["symbol"][0])]
    mean = near[f"depth_bid_10bp_{unit}"].mean()
    measured[f"{name}_bid_depth_10bp_mean_{unit}"] = mean if isinstance(mean, float) else None
    return measured


def _least_relative(rows: pl.DataFrame, column: str) -> float | None:
    """Least value after the first five minutes over the median in them."""
    calm = rows["time_ns"] < int(rows["time_ns"][0]) + CALM_NS
    before, after = rows[column].filter(calm), rows[column].filter(~calm)
    median, least = before.median(), after.min()
    if not isinstance(median, float) or not isinstance(least, float):
        return None
    return _share(least, median)


def _deficits(frames: Frames, unit: str) -> dict[str, Any]:
    waterfall = frames["waterfall"]
    amount = pl.col(f"amount_{unit}")

    def amounts(entry: str) -> pl.Series:
        return waterfall.filter(pl.col("entry") == entry)[f"amount_{unit}"]

    opened = amounts("opened")
    paid = dict(waterfall.filter(pl.col("entry") == "paid").group_by("stage").agg(amount.sum()).iter_rows())
    stages = ("backstop", "insurance", "socialise", "house", "recourse", "default_fund")
    layers = waterfall.filter(pl.col("entry") == "drawn").group_by("because").agg(amount.sum())
    drawn = dict(layers.iter_rows())
    largest = opened.max()
    return {
        **{f"fund_{layer}_{unit}": float(drawn.get(layer, 0.0)) for layer in get_args(FundLayer)},
        "deficits": opened.len(),
        f"deficits_opened_{unit}": float(opened.sum()),
        f"deficit_max_{unit}": largest if isinstance(largest, float) else 0.0,
        f"residual_{unit}": float(amounts("arose").sum()),
        f"residual_open_{unit}": float(amounts("open").sum()),
        f"overcharge_{unit}": float(amounts("overcharge").sum()),
        **{f"paid_{stage}_{unit}": float(paid.get(stage, 0.0)) for stage in stages},
        f"total_receivables_{unit}": float(amounts("receivable").sum()),
        f"total_house_paid_{unit}": float(paid.get("house", 0.0)),
    }


def _absorbers(frames: Frames, unit: str) -> dict[str, Any]:
    """Vaults and the fund: the least equity over the run, and each vault's result."""
    absorbers, accounts = frames["absorbers"], frames["accounts"]
    used = (pl.col("equity_atoms") != 0) | (pl.col("gross_notional_atoms") != 0)
    least = absorbers.filter(used.any().over("account"))[f"equity_{unit}"].min()
    insurance = accounts.filter(pl.col("population") == "insurance")
    fund = accounts.filter(pl.col("population") == "default_fund")
    measured: dict[str, Any] = {
        f"absorber_equity_min_{unit}": least,
        f"insurance_result_{unit}": float(insurance[f"change_{unit}"].sum()),
        f"insurance_end_{unit}": float(insurance[f"final_equity_{unit}"].sum()),
        f"default_fund_end_{unit}": float(fund[f"final_equity_{unit}"].sum()),
    }
    numbers = absorbers.filter(pl.col("population") != "insurance")["account"].unique()
    vaults = accounts.filter(pl.col("account").is_in(numbers.implode()))
    measured[f"vault_result_{unit}"] = float(vaults[f"change_{unit}"].sum())
    measured[f"vault_capital_{unit}"] = float(vaults[f"initial_equity_{unit}"].sum())
    for k, result in enumerate(vaults.sort("account")[f"change_{unit}"], start=1):
        measured[f"vault_result_{k}_{unit}"] = result
    return measured


def _accounts(frames: Frames, unit: str) -> dict[str, Any]:
    accounts = frames["accounts"].filter(pl.col("kind") != "house")
    funding = accounts[f"funding_{unit}"]
    change, final = accounts[f"change_{unit}"], accounts[f"final_equity_{unit}"]
    return {
        "accounts": accounts.height,
        "accounts_below_zero": int((accounts["final_equity_atoms"] < 0).sum()),
        f"final_equity_min_{unit}": final.min(),
        f"max_account_loss_{unit}": _largest_of(-change),
        f"funding_paid_{unit}": -float(funding.filter(funding < 0).sum()),
        f"fees_paid_{unit}": float(accounts[f"fees_paid_{unit}"].sum()),
        f"margin_confiscated_{unit}": float(accounts[f"margin_confiscated_{unit}"].sum()),
        f"forced_slippage_{unit}": float(accounts[f"forced_slippage_{unit}"].sum()),
    }


def _largest_of(values: Iterable[float]) -> float:
    return max(0.0, *values, 0.0)


def _populations(frames: Frames, unit: str) -> dict[str, Any]:
    """By population: result, share of losses, the largest single loss, and what its accounts still owe."""
    owed_rows = frames["waterfall"].filter(pl.col("entry") == "receivable")
    owed = dict(owed_rows.group_by("population").agg(pl.col(f"amount_{unit}").sum()).iter_rows())
    measured: dict[str, Any] = {}
    populations = frames["populations"].filter(pl.col("kind") != "house")
    names = slugs(populations["population"])
    for row in populations.iter_rows(named=True):
        name = names[row["population"]]
        lost, owes = row[f"losses_{unit}"], owed.get(row["population"], 0.0)
        measured |= {
            f"result_{name}_{unit}": row[f"change_{unit}"],
            f"losses_{name}_{unit}": lost,
            f"owed_{name}_{unit}": owes,
            f"principal_{name}_{unit}": row[f"entry_value_{unit}"],
            f"max_account_loss_{name}_{unit}": row[f"top_loss_{unit}"],
            f"share_of_losses_{name}": row["share_of_losses"],
            f"share_of_losses_{name}_without_top": row["share_of_losses_without_top"],
        }
    return measured


def _named_client(frames: Frames, unit: str) -> dict[str, Any]:
    """The first account of the population `clients`: what it lost since it entered, and what it owes."""
    clients = frames["accounts"].filter(pl.col("population") == "clients").head(1)
    if clients.is_empty():
        return {}
    client = clients.row(0, named=True)
    owed = frames["waterfall"].filter(
        (pl.col("entry") == "receivable") & (pl.col("account") == client["account"])
    )
    owes = float(owed[f"amount_{unit}"].sum())
    loss = owes - client[f"change_{unit}"] - client[f"entry_profit_{unit}"]
    return {
        f"named_client_loss_{unit}": loss,
        f"named_client_owes_{unit}": owes,
        "named_client_loss_share": _share(loss, client[f"entry_value_{unit}"]),
    }
