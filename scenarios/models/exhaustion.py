"""S12: coins are worth 1 % less every day for 60 days; what retail's core lasts for, and what comes after."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from zerodebt.agents.wealth import Floats
from zerodebt.scenarios import populations
from zerodebt.scenarios.models.leverage_cycle import News, defined, promise, run_world, temporary
from zerodebt.scenarios.populations import Run

_JUNIOR = ("ALT", "SMALL")
_FREE_CORE = 0.1


def measure(
    seed: int,
    *,
    days: float = 60.0,
    wake_s: float = 7200.0,
    daily_fall: float = 0.01,
    defend_share: float = 0.75,
) -> Mapping[str, float]:
    """Days on which liquidations peak and free core is used up; the alts' beta in both halves."""
    hours = 24 * days
    news = News(days * float(np.log(1 - daily_fall)), 0.0, hours)
    changes = {"populations.retail.defend_share": defend_share}
    with temporary() as folder:
        run = run_world(seed, hours, wake_s, news, changes, Path(folder))
        edges = np.arange(0.0, hours + 1, 24.0)
        forced = run.trades.filter("forced")
        by_day, _ = np.histogram(forced["hour"].to_numpy(), edges, weights=forced["notional_usd"].to_numpy())
        peak_day = float(np.argmax(by_day)) if by_day.any() else float("nan")
        core = free_core(run, edges[1:])
        used_up = np.flatnonzero(core < _FREE_CORE)
        empty_day = float(used_up[0]) if used_up.size else float("nan")
        middle = hours / 2
        betas = [populations.beta(run, _JUNIOR, "BTC", *span) for span in ((0, middle), (middle, hours))]
        found = {
            "peak_day": peak_day,
            "empty_day": empty_day,
            "peak_from_empty_share": abs(peak_day - empty_day) / days,
            "core_left": float(core[-1]),
            "beta_second_over_first": betas[1] / betas[0],
            "forced_usd": float(by_day.sum()),
            **promise(run),
        }
        return defined(found)


def free_core(run: Run, hours: Floats) -> Floats:
    """What is left of the cores that were ever drawn on, over what they began with, at the start's prices.

    A core begins with its coins and its stable; income comes in, and what its owner takes for his margin
    account goes out.
    """
    retail = next(p for p in run.populations if p["kind"] == "core_retail")
    first, half = int(str(retail["first_account"])), int(str(retail["count"])) // 2
    is_core = (pl.col("account") >= first + half) & (pl.col("account") < first + 2 * half)
    start_ns = int(run.marks["time_ns"].min())  # type: ignore[arg-type]
    moved = run.ledger.filter(is_core & pl.col("reason").is_in(["deposit", "withdrawal"]))
    drawn_on = moved.filter(pl.col("reason") == "withdrawal")["account"].unique()
    prices = run.marks.group_by("symbol", maintain_order=True).agg(price=pl.col("index").first())
    worth = dict(prices.iter_rows())
    moved = moved.filter(pl.col("account").is_in(drawn_on.implode())).select(
        hour=(pl.col("time_ns") - start_ns) / populations.HOUR_NS,
        usd=pl.col("amount") * pl.col("asset").replace_strict(worth, default=1.0, return_dtype=pl.Float64),
    )
    began = float(moved.filter(pl.col("hour") <= 0)["usd"].sum())
    if began <= 0:
        return np.full(len(hours), np.nan)
    return np.array([float(moved.filter(pl.col("hour") <= hour)["usd"].sum()) for hour in hours]) / began
