"""Exact numbers, rounded once and by name. Nothing here is taken from the venue's own arithmetic."""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import cache
from math import ceil, floor

PPB, PPT, FIXED_POINT = 10**9, 10**12, 10**18
_DIGITS = Context(prec=60)


def down(exact: Fraction | int) -> int:
    """Towards minus infinity: what somebody receives."""
    return floor(exact)


def up(exact: Fraction | int) -> int:
    """Towards plus infinity: what somebody owes."""
    return ceil(exact)


def share(atoms: int, rate_ppb: int) -> Fraction:
    """A rate of an amount, exact."""
    return Fraction(atoms * rate_ppb, PPB)


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Whole shares by largest remainder, the first among equals. NUM-04."""
    exact = [Fraction(total * weight, sum(weights)) for weight in weights]
    shares = [down(x) for x in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def water(units: int, most: Sequence[int], weights: Sequence[int]) -> list[int]:
    """share_i = min(most_i, level * weight_i), the level at which they sum to what can be had of `units`.

    Whole shares by largest remainder among those who are not full.
    """
    givers = [i for i in range(len(most)) if weights[i] > 0 and most[i] > 0]
    wanted = min(units, sum(most[i] for i in givers))
    shares = [0] * len(most)
    by_level = sorted(givers, key=lambda i: Fraction(most[i], weights[i]))
    while by_level:
        left, whole = wanted - sum(shares), sum(weights[i] for i in by_level)
        first = by_level[0]
        if most[first] * whole > left * weights[first]:
            break
        shares[first] = most[first]
        by_level.pop(0)
    rest = sorted(by_level)
    if rest and wanted > sum(shares):
        for i, part in zip(rest, split(wanted - sum(shares), [weights[i] for i in rest]), strict=True):
            shares[i] = part
    return shares


def middle(values: Sequence[int]) -> int:
    """Median; the mean of the middle two rounded down."""
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return down(Fraction(ordered[half - 1] + ordered[half], 2))


def weighted_middle(values: Sequence[tuple[int, int]]) -> int:
    """The smallest price at which the weights of (price, weight) reach half of the whole."""
    whole = sum(weight for _, weight in values)
    reached: int
    for price in sorted({price for price, _ in values}):
        reached = sum(weight for other, weight in values if other <= price)
        if 2 * reached >= whole:
            return price
    raise AssertionError("no weights")


@cache
def decay(elapsed_ns: int, lifetime_ns: int) -> int:
    """exp(-elapsed/lifetime) in parts of 10^18, rounded down; nothing beyond sixty lifetimes."""
    if elapsed_ns > 60 * lifetime_ns:
        return 0
    exact = _DIGITS.exp(_DIGITS.divide(Decimal(-elapsed_ns), Decimal(lifetime_ns)))
    return int(_DIGITS.multiply(exact, Decimal(FIXED_POINT)).to_integral_value(ROUND_FLOOR))


def clamp(value: int, bound: int) -> int:
    return max(-bound, min(bound, value))
