"""Margin that follows volatility: how much more is asked at the peak of a crisis than before it.

Initial margin is a multiple of the deviation of returns, an exponentially weighted one with memory `decay`
a day. With an anti-procyclical buffer the calm margin is larger by `buffer`, which is given up as margin
rises.

Sources: Murphy, Vasios and Vause, An investigation into the procyclicality of risk-based initial margin
models, Bank of England 2014 (peak to trough); EMIR RTS 153/2013, article 28 (the buffer of 25 %).

Ours, 2026-11-22: a path like the S&P 500's of 2018 to 2020, in daily deviations; normal returns.
"""

from collections.abc import Mapping

import numpy as np

from zerodebt.scenarios.series import Series

PATH = ((500, 0.009), (23, 0.045), (120, 0.015))
"""Days and daily deviation: calm, 20 February to 23 March 2020, after it."""


def measure(seed: int, *, decay: float, buffer: float) -> Mapping[str, float]:
    """Largest margin over the smallest before it, once the average knows the calm."""
    luck = np.random.default_rng([seed, 60])
    deviations = np.concatenate([np.full(days, deviation) for days, deviation in PATH])
    margins = margin(luck.standard_normal(len(deviations)) * deviations, decay, buffer, PATH[0][1])
    peak = int(margins.argmax())
    return {"peak_over_trough": float(margins[peak] / margins[PATH[0][0] // 2 : peak].min())}


def margin(returns: Series, decay: float, buffer: float, calm: float) -> Series:
    """Margin of each day over a multiple that cancels."""
    variance = calm**2
    margins = np.empty(len(returns))
    for day, change in enumerate(returns):
        variance = decay * variance + (1 - decay) * change**2
        deviation = np.sqrt(variance)
        margins[day] = max(deviation, min(deviation, calm) * (1 + buffer))
    return margins
