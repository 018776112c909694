"""The flat null: the leverage cycle's populations while no news comes (sanity of section (f))."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from zerodebt.scenarios import populations
from zerodebt.scenarios.models.leverage_cycle import News, promise, run_world, temporary

_WARM_H = 1.0


def measure(seed: int, *, days: float = 30.0, wake_s: float = 1800.0) -> Mapping[str, float]:
    """Drift of open interest, forced volume a day, quotes, shares of volume, deleveraging, prices."""
    hours = 24 * days
    with temporary() as folder:
        run = run_world(seed, hours, wake_s, News(0.0, 0.0, hours), {}, Path(folder))
        interest = populations.leverage_index(run)
        later = run.marks.filter(pl.col("hour") >= _WARM_H)
        quoted = later.select((pl.col("bid_ticks").is_not_null() & pl.col("ask_ticks").is_not_null()).mean())
        forced = float(run.trades.filter("forced")["notional_usd"].sum())
        ends = run.marks.group_by("symbol").agg(
            low=pl.col("index").min() / pl.col("index").first(),
            high=pl.col("index").max() / pl.col("index").first(),
        )
        shares = populations.volume_shares(run)
        accounts = run.accounts.filter(pl.col("kind") != "house").height
        found = {
            "interest_end": float(interest[-1] / interest[0]),
            "interest_low": float(interest.min() / interest[0]),
            "interest_high": float(interest.max() / interest[0]),
            "forced_share_a_day": forced / days / float(np.mean(interest)),
            "both_sides_share": float(quoted.item()),
            "adl_usd": float(run.accounts["adl_given_usd"].sum()),
            "price_low": float(ends["low"].min()),  # type: ignore[arg-type]
            "price_high": float(ends["high"].max()),  # type: ignore[arg-type]
            "agent_days": accounts * days,
            "volume_share_least": min(shares.values()),
            "volume_share_most": max(shares.values()),
            **promise(run),
        }
        return found | {f"volume_{name}": share for name, share in shares.items()}
