"""How much the accounts own: one distribution, cut into equal shares of probability.

A free draw from a tail of exponent .74 makes 20,000 accounts worth anything between 2 and 126 bn USD. So the
quantiles at (k + .5)/n are taken instead, and the seed only decides who holds which.
"""

from collections.abc import Callable
from statistics import NormalDist
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LN_MEAN, LN_SD = 7.22, 2.64  # account value in USD; mechanisms V47
TAIL_FROM_USD = 100_000.0
TAIL_EXPONENT = 0.74  # of .74-.9 in V47: the measured one, and the nearest to its p99 of 1.68 M USD
LARGEST_USD = 316_000_000.0  # largest account observed on the day
LargestUsd = Annotated[float, Meta(ge=TAIL_FROM_USD, le=1e12)]


def midpoints(count: int) -> Floats:
    """(k + .5)/count: the centre of each of `count` equal shares of probability."""
    return (np.arange(count) + 0.5) / count


def normal_quantiles(shares: Floats) -> Floats:
    """Quantiles of the standard normal."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse(share) for share in shares.tolist()])


def wealth_quantiles(
    count: int, tail_exponent: float = TAIL_EXPONENT, largest_usd: float = LARGEST_USD
) -> Floats:
    """USD of `count` accounts, ascending: lognormal, above 100,000 USD Pareto cut at `largest_usd`."""
    body_share = NormalDist(LN_MEAN, LN_SD).cdf(float(np.log(TAIL_FROM_USD)))
    shares = midpoints(count)
    body = np.exp(LN_MEAN + LN_SD * normal_quantiles(shares))
    left = np.clip((1 - shares) / (1 - body_share), 0.0, 1.0)
    beyond = (largest_usd / TAIL_FROM_USD) ** -tail_exponent
    tail = TAIL_FROM_USD * (left * (1 - beyond) + beyond) ** (-1 / tail_exponent)
    return np.where(shares < body_share, body, tail)


def lognormal_quantiles(
    count: int, median: float, ln_sd: float, low: float = 0.0, high: float = float("inf")
) -> Floats:
    """Ascending quantiles of a lognormal, cut (not renormalised) to [low, high]."""
    return np.clip(median * np.exp(ln_sd * normal_quantiles(midpoints(count))), low, high)


def spread_evenly(
    values: Floats, rank_by: Floats, generator: np.random.Generator, strata: int = 20
) -> Floats:
    """`values` dealt out so that accounts of every size get the whole distribution.

    Accounts are ordered by `rank_by` and taken in runs of `strata`; each run gets one value from each of
    `strata` equal classes of `values`. Without it the luck of the ten largest accounts would be the result.
    """
    count = len(values)
    classes = np.array_split(np.sort(values), strata)
    pools = [generator.permutation(values_of_class) for values_of_class in classes]
    runs = max(len(pool) for pool in pools)
    dealt: list[float] = []
    for run in range(runs):
        hand = np.array([pool[run] for pool in pools if run < len(pool)])
        dealt.extend(generator.permutation(hand).tolist())
    result = np.empty(count)
    result[np.argsort(-rank_by, kind="stable")] = dealt
    return result


def solve_scale(target: float, total_of: Callable[[float], float], high: float = 1.0) -> float:
    """The factor at which the rising `total_of(factor)` meets `target`, by bisection.

    Raises ValueError where no factor reaches it, because caps hold the total below.
    """
    if target <= 0:
        return 0.0
    low = 0.0
    for _ in range(40):
        if total_of(high) >= target:
            break
        low, high = high, high * 2
    else:
        raise ValueError(f"the caps on accounts and positions allow {total_of(high):.6g} of {target:.6g}")
    for _ in range(60):
        middle = (low + high) / 2
        if total_of(middle) < target:
            low = middle
        else:
            high = middle
    return high
