"""Margin that follows volatility: how much more is asked at the peak of a crisis than before it.

The margin is that of agents/clearing_members, with its anti-procyclical buffer or with none.

Source: Murphy, Vasios and Vause, An investigation into the procyclicality of risk-based initial margin
models, Bank of England 2014 (peak to trough).

Ours, 2026-11-22: a path like the S&P 500's of 2018 to 2020, in daily deviations; normal returns.
"""

from collections.abc import Mapping

import numpy as np

from zerodebt.agents.clearing_members import BUFFER, margin_path

PATH = ((500, 0.009), (23, 0.045), (120, 0.015))
"""Days and daily deviation: calm, 20 February to 23 March 2020, after it."""


def measure(seed: int, *, buffer: float) -> Mapping[str, float]:
    return {"peak_over_trough": peak_over_trough(np.random.default_rng([seed, 60]), buffer)}


def peak_over_trough(luck: np.random.Generator, buffer: float = BUFFER) -> float:
    """Largest margin over the smallest before it, once the average knows the calm."""
    deviations = np.concatenate([np.full(days, deviation) for days, deviation in PATH])
    rates = margin_path(luck.standard_normal(len(deviations)) * deviations, PATH[0][1], buffer)
    peak = int(rates.argmax())
    return float(rates[peak] / rates[PATH[0][0] // 2 : peak].min())
