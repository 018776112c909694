"""What deleveraging leaves to the largest winner, as winners become many.

n winners and n losers with independent amounts: the deficit D grows as n, the largest winner only as the
largest of n draws, b_n. At a fixed severity theta everybody gives the same part of his profit, and (largest
profit that is left) / (theta D) falls as b_n / n: sqrt(2 ln n) / n for normal amounts, n^-(1 - 1/alpha) for
Pareto's.

Source: Chitra, Autodeleveraging: Impossibilities and Optimization, arXiv 2512.01112 v3.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from zerodebt.scenarios.series import slope

WINNERS = (100, 1_000, 10_000, 100_000)
DEFICIT_OVER_PROFIT = 0.5
"""Ours: losers lose half of what winners gained beyond their own money."""


def measure(
    seed: int, *, law: Literal["normal", "pareto"], alpha: float, severity: float, draws: int
) -> Mapping[str, float]:
    """Slope of ln(median of what is left over theta D) against ln n, and that of the law."""
    luck = np.random.default_rng([seed, 42])
    left = []
    for n in WINNERS:
        ratios = []
        for _ in range(draws):
            if law == "normal":
                profits = np.abs(luck.normal(size=n))
            else:
                profits = (1 - luck.random(n)) ** (-1 / alpha)
            seized = severity * DEFICIT_OVER_PROFIT * profits.sum()
            ratios.append(profits.max() * (1 - seized / profits.sum()) / seized)
        left.append(np.median(ratios))
    measured = slope(np.log(WINNERS), np.log(left))
    return {"slope": measured, "slope_error": measured - expected(law, alpha)}


def expected(law: str, alpha: float) -> float:
    """The slope of b_n / n over the same numbers of winners."""
    n = np.array(WINNERS, float)
    largest = np.sqrt(2 * np.log(n)) if law == "normal" else n ** (1 / alpha)
    return slope(np.log(n), np.log(largest / n))
