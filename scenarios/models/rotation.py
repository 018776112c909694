"""S11: news of a fall and of a rise, the same in size, on the populations of the leverage cycle.

A cell runs two worlds of one seed. Hours are those since the start; news comes from NEWS_H on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from zerodebt.agents.wealth import Floats
from zerodebt.scenarios import populations
from zerodebt.scenarios.columns import read_table
from zerodebt.scenarios.models.leverage_cycle import NEWS_BETA, News, defined, promise, run_world, temporary
from zerodebt.scenarios.populations import Run

JUNIOR, SENIOR = ("ALT", "SMALL"), ("BTC", "ETH")
_NEWS_H, _NEWS_ENDS_H = 24.0, 30.0
_AFTER_H = 48.0


def measure(
    seed: int,
    *,
    move: float = 0.2,
    days: float = 4.0,
    wake_s: float = 1800.0,
    defend_share: float = 0.75,
    leverage_max: int = 125,
    priority: str = "junior_first",
    institution_leverage: tuple[float, float] = (1.5, 4.0),
    volatility_target: float = 1.0,
    unlocks_monthly: float = 0.0,
) -> Mapping[str, float]:
    """Figures of the fall and of the rise.

    move                   of BTC's worth: a price relative of 1 - move, and of 1 / (1 - move)
    institution_leverage   U of L_max; 1 and 1: none
    volatility_target      large: leverage does not answer to volatility
    """
    changes: dict[str, Any] = {
        "populations.retail.defend_share": defend_share,
        "populations.retail.leverage_max": leverage_max,
        "populations.institutions.priority": priority,
        "populations.institutions.leverage_max": list(institution_leverage),
        "populations.institutions.volatility_target": volatility_target,
        "populations.issuers.monthly_share": unlocks_monthly,
    }
    fall = float(np.log(1 - move))
    with temporary() as folder:

        def world(log_move: float) -> Run:
            news = News(log_move, _NEWS_H, _NEWS_ENDS_H)
            return run_world(seed, 24 * days, wake_s, news, changes, Path(folder))

        down, up = world(fall), world(-fall)
        found = of_fall(down, fall) | of_rise(up) | promise(down, up)
    return defined(found | {"beta_ratio": found["beta_down"] / found["beta_up"]})


def of_fall(run: Run, log_move: float) -> dict[str, float]:
    """Who sold what to whom, and who lost."""
    edges = np.arange(_NEWS_H, _AFTER_H + 1, 2.0)
    retail = populations.net_by_bin(run, "retail", SENIOR, edges)
    institutions = populations.net_by_bin(run, "institutions", SENIOR, edges)
    selling = retail < 0
    own = {str(row["population"]): row for row in populations.losses(run).iter_rows(named=True)}
    core_usd = populations.owned_core_usd(run)
    spent = sum(populations.counter(run, "retail", f"core_spent_{k}_usd") for k in ("stable", "ETH", "BTC"))
    alts = _mean_return(run, JUNIOR, edges)
    in_book = populations.counterparties(run).filter(route="book")
    forced_usd = float(in_book["notional"].sum())
    by_retail = float(in_book.filter(counterparty="retail")["notional"].sum())
    trough = _trough(run)
    return {
        "beta_down": populations.beta(run, JUNIOR, "BTC", _NEWS_H, _AFTER_H),
        "junior_first_half": populations.order_of_sales(run, "institutions", SENIOR, _NEWS_H),
        "core_sold_share": spent / core_usd,
        "core_coins_sold_usd": -float(retail[selling].sum()),
        "core_sales_alt_correlation": _correlation(-np.minimum(retail, 0), alts),
        "institutions_bought_share": _ratio(
            float(institutions[selling].sum()), -float(retail[selling].sum())
        ),
        "opposite_share": float(np.mean(np.sign(retail[selling]) != np.sign(institutions[selling])))
        if selling.any()
        else float("nan"),
        "retail_loss_of_wealth": own["retail"]["loss_of_wealth"],
        "institutions_loss_of_wealth": own["institutions"]["loss_of_wealth"],
        "retail_loss_ratio": own["retail"]["loss_share_of_wealth_share"],
        "retail_loss_ratio_without_top": own["retail"]["loss_share_without_top"]
        / own["retail"]["wealth_share"],
        "retail_fees_of_losses": _ratio(own["retail"]["fees_usd"], own["retail"]["losses_usd"]),
        "retail_gini": own["retail"]["gini"],
        "forced_usd": forced_usd,
        "forced_taken_by_retail": _ratio(by_retail, forced_usd),
        "senior_weight_rise": _senior_weight(run, _AFTER_H) - _senior_weight(run, _NEWS_H),
        "institutions_net_of_gross": _net_of_gross(run, "institutions"),
        "retail_net_of_gross": _net_of_gross(run, "retail"),
        "first_sale_h": _first_sale_h(run),
        "past_d3": float(populations.counter(run, "institutions", "past_d3")),
        "overshoot": trough - log_move * float(np.mean([NEWS_BETA[s] for s in JUNIOR])),
        "leverage_volatility_correlation": _leverage_and_volatility(run),
        "exported_flows_off": _exported_flows_off(run),
        **_exits(run),
    }


def of_rise(run: Run) -> dict[str, float]:
    """Whether junior coins follow, and who buys them."""
    edges = np.arange(_NEWS_H, _AFTER_H + 1, 2.0)
    contracts = tuple(f"{symbol}-PERP" for symbol in JUNIOR)
    bought = np.maximum(populations.net_by_bin(run, "retail", contracts, edges), 0)
    quarter = len(bought) // 4
    weights, returns = [], []
    for hour in edges[1:].tolist():
        held = populations.holdings_usd(run, "institutions", hour)
        coins = {symbol: usd for symbol, usd in held.items() if symbol in run.spots}
        weights.append(sum(coins[s] for s in JUNIOR) / sum(coins.values()))
        returns.append(_mean_return(run, JUNIOR, np.array([hour - 12, hour]))[0])
    return {
        "beta_up": populations.beta(run, JUNIOR, "BTC", _NEWS_H, _AFTER_H),
        "junior_weight_return_correlation": _correlation(np.array(weights), np.array(returns)),
        "retail_last_of_first_quarter": _ratio(float(bought[-quarter:].sum()), float(bought[:quarter].sum())),
    }


def _senior_weight(run: Run, hour: float) -> float:
    """Part of the institutions' coins that is senior."""
    held = populations.holdings_usd(run, "institutions", hour)
    return _ratio(sum(held.get(s, 0.0) for s in SENIOR), sum(held.get(s, 0.0) for s in run.spots))


def _first_sale_h(run: Run) -> float:
    """Mean hours from the news to an institution's first sale of a coin; to the end for who never sells."""
    end = float(run.marks["hour"].max())  # type: ignore[arg-type]
    own = run.accounts.filter(population="institutions").select(taker="account")
    sold = run.trades.filter(
        (pl.col("hour") >= _NEWS_H) & (pl.col("taker_side") == -1) & pl.col("symbol").is_in(run.spots)
    )
    first = own.join(sold.group_by("taker").agg(pl.col("hour").min()), on="taker", how="left")
    return float(first["hour"].fill_null(end).mean()) - _NEWS_H  # type: ignore[arg-type]


def _net_of_gross(run: Run, population: str) -> float:
    """After the fall: coins and contracts together, over both without their signs."""
    held = populations.holdings_usd(run, population, _AFTER_H)
    coins = sum(usd for symbol, usd in held.items() if symbol in run.spots)
    contracts = sum(usd for symbol, usd in held.items() if symbol not in run.spots)
    return _ratio(abs(coins + contracts), coins + abs(contracts))


def _mean_return(run: Run, symbols: tuple[str, ...], edges: Floats) -> Floats:
    logs = [[np.log(populations.index_at(run, s, hour)) for hour in edges.tolist()] for s in symbols]
    returns: Floats = np.diff(np.array(logs), axis=1).mean(axis=0)
    return returns


def _trough(run: Run) -> float:
    """Lowest log price of junior coins, their mean, over the one before the news."""
    paths = np.log(np.stack([populations.index_path(run, s) for s in JUNIOR]))
    hours = run.marks.filter(run.marks["symbol"] == JUNIOR[0])["hour"].to_numpy()
    before = paths[:, hours <= _NEWS_H][:, -1]
    return float((paths[:, hours > _NEWS_H] - before[:, None]).mean(axis=0).min())


def _leverage_and_volatility(run: Run) -> float:
    """Correlation of the two indices by instant, volatility over four hours."""
    window = 8
    volatility = populations.volatility_index(run, window)
    return _correlation(populations.leverage_index(run)[window:], volatility)


def _exported_flows_off(run: Run) -> float:
    """What is bought beyond what is sold in the exported table of flows, as a share of the volume."""
    exported = read_table(run.path, "population_flows")
    return abs(float(exported["net_usd"].sum())) / float(exported["volume_usd"].sum())


def _exits(run: Run) -> dict[str, float]:
    """Mean result of the first tenth, the middle and the last tenth of those who left after the news."""
    profits = populations.exits(run, "retail", _NEWS_H)["profit_usd"].to_numpy()
    tenth = max(1, len(profits) // 10)
    if len(profits) < 3:
        return {}
    middle = profits[len(profits) // 2 - tenth // 2 :][:tenth]
    first, last = float(profits[:tenth].mean()), float(profits[-tenth:].mean())
    return {
        "exit_first_less_middle_usd": first - float(middle.mean()),
        "exit_middle_less_last_usd": float(middle.mean()) - last,
    }


def _correlation(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
