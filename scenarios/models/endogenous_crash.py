"""S08 and S16: BTC is worth 5 % less within ten minutes, there is no price path: what populations make of it.

Scaled: 4,000 retail owners for 16,000, six hours for fourteen, everybody looks every 30 seconds for every
second; makers withdraw on the move of two such looks. Hours are those since the start.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from zerodebt.exchange.units import MINUTE_NS
from zerodebt.scenarios import populations
from zerodebt.scenarios.models.leverage_cycle import News, defined, promise, run_world, temporary
from zerodebt.scenarios.populations import Run

_SHOCK_H = 1.0
_LOOKS_A_DAY = 1440.0
"""Who knows of a shock looks every minute, and trades a fifth of what he would at leisure [ours, chosen
after a pilot run]."""
_ALTS = ("ALT", "SMALL")
_COINS = ("BTC", "ETH", *_ALTS)
_OWN_BOOK = [
    {"name": "index", "weight": 1},
    {"name": "own_book", "weight": 1_000, "kind": "own"},
]


def measure(
    seed: int,
    *,
    shock: float = 0.05,
    hours: float = 6.0,
    wake_s: float = 30.0,
    owners: int = 4_000,
    interest_usd: int = 40_000_000,
    lender: bool = False,
    own_book: bool = False,
    withdrawal: bool = True,
) -> Mapping[str, float]:
    """Falls, liquidations, depth, open interest, deleveraging and who paid.

    interest_usd  twice that of the scenario [S08: 2x normal]
    lender        whether there is one of last resort, with the defaults of C13
    own_book      the index of a contract is that contract's own book: it outweighs the feed
    withdrawal    whether makers ever leave
    """
    changes: dict[str, Any] = {
        "populations.retail.count": owners,
        "open_interest_value": interest_usd,
        "populations.value.acts_per_day": _LOOKS_A_DAY,
        "populations.value.gain": 0.2,
    }
    if lender:
        changes["populations.lender"] = {"kind": "last_lender", "coins": ["BTC", "ETH"]}
    if own_book:
        changes["venue.sources"] = _OWN_BOOK
    if not withdrawal:
        for makers in ("spot_makers", "perp_makers"):
            changes[f"populations.{makers}.threshold"] = 1e9
    news = News(float(np.log(1 - shock)), _SHOCK_H, _SHOCK_H + 1 / 6)
    with temporary() as folder:
        return defined(_figures(run_world(seed, hours, wake_s, news, changes, Path(folder))))


def _figures(run: Run) -> dict[str, float]:
    falls = {coin: _fall(run, coin) for coin in _COINS}
    contracts = {coin: _fall(run, f"{coin}-PERP") for coin in _COINS}
    interest = populations.leverage_index(run)
    before = _before(run)
    own = {str(row["population"]): row for row in populations.losses(run).iter_rows(named=True)}
    profitable = run.adl.filter(pl.col("profit_usd") > 0)["notional_usd"].sum()
    found = {f"fall_{coin.lower()}": fall for coin, fall in falls.items()}
    found |= {f"fall_{coin.lower()}_contract": fall for coin, fall in contracts.items()}
    return found | {
        "alt_fall_of_btc_fall": _ratio(float(np.mean([falls[s] for s in _ALTS])), falls["BTC"]),
        "end_btc": populations.index_path(run, "BTC")[-1] / populations.index_path(run, "BTC")[0] - 1,
        "hours_below_half": _hours_below(run, "BTC", 0.5),
        "hours_below_news": _hours_below(run, "BTC", 0.94),
        "interest_change": float(interest[-1] / interest[before] - 1),
        "depth_least": _least_depth(run),
        **_liquidations(run),
        "adl_usd": float(run.adl["notional_usd"].sum()),
        "adl_profitable_share": _ratio(float(profitable), float(run.adl["notional_usd"].sum())),
        "adl_before_shock_usd": float(
            run.adl.filter(_hour_of(run, run.adl) < _SHOCK_H)["notional_usd"].sum()
        ),
        "retail_loss_of_wealth": own["retail"]["loss_of_wealth"],
        "lender_bought_usd": _bought(run, "lender"),
        **promise(run),
    }


def _before(run: Run) -> int:
    """Number of the last instant before the shock."""
    hours = run.marks.filter(pl.col("symbol") == "BTC")["hour"].to_numpy()
    return int(np.searchsorted(hours, _SHOCK_H, side="right")) - 1


def _fall(run: Run, symbol: str) -> float:
    """Lowest index after the shock over the one before it, less 1."""
    path, before = populations.index_path(run, symbol), _before(run)
    return float(path[before:].min() / path[before] - 1)


def _bought(run: Run, population: str) -> float:
    """What a population bought less sold, 0 where there is none of this name."""
    return float(populations.flows(run.trades).filter(population=population)["net_usd"].sum())


def _hours_below(run: Run, symbol: str, share: float) -> float:
    path, before = populations.index_path(run, symbol), _before(run)
    hours = run.marks.filter(pl.col("symbol") == symbol)["hour"].to_numpy()
    return float(np.mean(path < share * path[before]) * hours[-1])


def _least_depth(run: Run) -> float:
    """Least depth of all books within 1 % after the shock, over its median before."""
    depth = pl.col("depth_bid_usd") + pl.col("depth_ask_usd")
    sums = run.marks.group_by("hour", maintain_order=True).agg(depth=depth.sum())
    calm = sums.filter((pl.col("hour") > 0.1) & (pl.col("hour") < _SHOCK_H))["depth"].to_numpy()
    after = sums.filter(pl.col("hour") >= _SHOCK_H)["depth"].to_numpy()
    return float(after.min() / np.median(calm))


def _liquidations(run: Run) -> dict[str, float]:
    """Forced trades: USD, the part of longs, and the part in the worst 40 minutes."""
    forced = run.trades.filter("forced")
    whole = float(forced["notional_usd"].sum())
    if not whole:
        return {"forced_usd": 0.0}
    longs = float(forced.filter(pl.col("taker_side") == -1)["notional_usd"].sum())
    minute = (forced["time_ns"] // MINUTE_NS).to_numpy()
    by_minute = np.bincount((minute - minute.min()).astype(int), forced["notional_usd"].to_numpy())
    within = np.convolve(by_minute, np.ones(40))
    return {
        "forced_usd": whole,
        "forced_long_share": longs / whole,
        "forced_worst_40min_share": float(within.max()) / whole,
    }


def _hour_of(run: Run, frame: pl.DataFrame) -> pl.Series:
    start_ns = int(run.marks["time_ns"].min())  # type: ignore[arg-type]
    return (frame["time_ns"] - start_ns) / populations.HOUR_NS


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
