"""Twenty zero-intelligence books as if they were stocks: does the published law order their spreads?

Farmer, Patelli and Zovko regress ln(spread) on the logarithm of the law's spread over eleven stocks, and
find a slope near 1. Here each stock has a law-size mu/alpha, an eps and a tick of its own.

Source: Farmer, Patelli and Zovko, The Predictive Power of Zero Intelligence in Financial Markets, 2005.

Ours, 2026-11-22: mu/alpha uniform in its logarithm over `decades`, eps over .001 to .1 and the tick over
.01 to .2 mu/alpha likewise.
"""

from collections.abc import Mapping

import numpy as np

from zerodebt.scenarios.models import zero_intelligence
from zerodebt.scenarios.series import slope

WINDOW = 20.0
"""In mu/alpha, behind the opposite best price."""


def measure(seed: int, *, stocks: int, decades: float, events: float) -> Mapping[str, float]:
    """Slope, intercept and R^2 of the regression."""
    luck = np.random.default_rng([seed, 6])
    sizes = 10 ** luck.uniform(0, decades, stocks)
    eps = 10 ** luck.uniform(-3, -1, stocks)
    ticks = 10 ** luck.uniform(-2, np.log10(0.2), stocks)
    found, predicted = np.empty(stocks), np.empty(stocks)
    for k in range(stocks):
        _, spread_ticks, _ = zero_intelligence.simulated(luck, float(eps[k]), events, float(ticks[k]), WINDOW)
        found[k] = np.log(sizes[k] * spread_ticks * ticks[k])
        predicted[k] = np.log(sizes[k] * zero_intelligence.law(float(eps[k])))
    a = slope(predicted, found)
    left = found - found.mean() - a * (predicted - predicted.mean())
    return {
        "slope": a,
        "intercept": float(found.mean() - a * predicted.mean()),
        "r_squared": float(1 - left.var() / found.var()),
    }
