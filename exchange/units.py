"""Integer units and the only divisions that money may meet.

Prices are ticks, sizes lots, money atoms of an asset, time nanoseconds, fees and haircuts parts per billion
(ppb), funding rates parts per 10^12 (ppt). Every division here names its direction; who gains is said where
it is called: what an account owes rounds up, what it receives rounds down.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]

PPB = 10**9
PPT = 10**12
FIXED_POINT = 10**18
SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
INT64_MAX = 2**63 - 1
INT64_BUDGET = 2**62
"""Numbers of rulebooks and instruments, and what they make at most, stay below: two of them fit 64 bits."""


def div_floor(numerator: int, denominator: int) -> int:
    """Quotient towards minus infinity: what an account receives. `denominator` is at least 1."""
    assert denominator > 0
    return numerator // denominator


def div_ceil(numerator: int, denominator: int) -> int:
    """Quotient towards plus infinity: what an account owes. `denominator` is at least 1."""
    assert denominator > 0
    return -(-numerator // denominator)


def mul_ppb_floor(atoms: int, rate_ppb: int) -> int:
    """`atoms * rate` towards minus infinity, exact before the one division."""
    return atoms * rate_ppb // PPB


def mul_ppb_ceil(atoms: int, rate_ppb: int) -> int:
    """`atoms * rate` towards plus infinity; with a negative rate this pays a rebate rounded down."""
    return -(-atoms * rate_ppb // PPB)


def mul_ppb_floor_array(atoms: Int64Array, rate_ppb: int) -> Int64Array:
    """`mul_ppb_floor` for arrays, by quotient and remainder: no intermediate leaves 64 bits."""
    return atoms // PPB * rate_ppb + atoms % PPB * rate_ppb // PPB


def split_exact(total: int, weights: Sequence[int]) -> list[int]:
    """Shares of `total` (>= 0) in proportion to `weights` (>= 0, one of them > 0); they sum to `total`.

    Largest remainder: each share is the floor of its exact value, and the atoms left over go one each to the
    largest remainders, the lower index first among equals. Property NUM-04.
    """
    whole = sum(weights)
    assert total >= 0, total
    assert whole > 0, "nothing to split over"
    shares = [total * weight // whole for weight in weights]
    left = total - sum(shares)
    if left:
        order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
        for i in order[:left]:
            shares[i] += 1
    return shares


@lru_cache(maxsize=4096)
def exp_decay_fp(elapsed_ns: int, tau_ns: int) -> int:
    """exp(-elapsed/tau) in fixed point of scale 10^18, rounded down; the error is below 100 units.

    The exponent is halved until it is under 1/1024, a ten-term Taylor sum is taken with 40 guard digits,
    and the result squared back.
    """
    assert elapsed_ns >= 0
    assert tau_ns > 0
    if elapsed_ns > 60 * tau_ns:
        return 0
    halvings = 16
    scale = 10**40
    exponent = scale * elapsed_ns // (tau_ns << halvings)
    term = total = scale
    for k in range(1, 11):
        term = -term * exponent // (k * scale)
        total += term
    for _ in range(halvings):
        total = total * total // scale
    return total * FIXED_POINT // scale


def median(values: Sequence[int]) -> int:
    """Middle value; of an even number of values the mean of the middle two, rounded down."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) // 2


def weighted_median(values: Sequence[tuple[int, int]]) -> int:
    """Smallest value at which the cumulative weight of (value, weight) pairs reaches half of the whole.

    Ties at exactly half are not specified by the venue that uses it; the lower value is taken.
    """
    ordered = sorted(values)
    whole = sum(weight for _, weight in ordered)
    reached = 0
    for value, weight in ordered:
        reached += weight
        if 2 * reached >= whole:
            return value
    raise AssertionError("a weighted median needs at least one weight above zero")
