"""Ways to share a whole number over several givers, exact in integers.

Every function here takes the `units` to be shared, what each giver can give at `most`, and a weight or start
for each; it returns whole shares that sum to what can be had of `units`. Nobody gives more than his most.
"""

from collections.abc import Sequence
from fractions import Fraction
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from zerodebt.exchange.units import PPB, split_exact

_SCALE = 10**40
"""Above the square of any 64-bit share, so that one step of the bisection moves a share by less than one."""


class _Water(NamedTuple):
    """`shares` of those who are full; the `active` others have `left` units over the sum of their weights."""

    shares: list[int]
    active: list[int]
    left: int
    weight: int


def _water(units: int, most: Sequence[int], weights: Sequence[int]) -> _Water:
    """The level at which share_i = min(most_i, level * weight_i) sum to `units`, as left / weight.

    Whoever is full at the present level drops out and the level rises; at most len(most) passes.
    """
    shares = [0] * len(most)
    active = [i for i, weight in enumerate(weights) if weight > 0 and most[i] > 0]
    left = min(units, sum(most[i] for i in active))
    whole = sum(weights[i] for i in active)
    while left:
        full = {i for i in active if most[i] * whole <= left * weights[i]}
        if not full:
            break
        for i in full:
            shares[i] = most[i]
        left -= sum(most[i] for i in full)
        whole -= sum(weights[i] for i in full)
        active = [i for i in active if i not in full]
    return _Water(shares, active, left, whole)


def fill(units: int, most: Sequence[int], weights: Sequence[int]) -> list[int]:
    """Water filling: share_i = min(most_i, level * weight_i), whole by largest remainder.

    Rounding up cannot overfill: the exact share of whoever is not full lies below his most.
    """
    shares, active, left, _ = _water(units, most, weights)
    if left:
        for i, share in zip(active, split_exact(left, [weights[i] for i in active]), strict=True):
            shares[i] = share
    return shares


def smallest_maximum(units: int, most: Sequence[int], weights: Sequence[int]) -> list[int]:
    """The whole shares whose largest share_i / weight_i is as small as it can be.

    Every unit goes to whom it leaves with the smallest ratio, the lower index first among equals (d'Hondt's
    rule). What lies below the real-valued water level is given at once, the rest one by one.
    """
    shares, active, left, whole = _water(units, most, weights)
    for i in active:
        shares[i] = left * weights[i] // whole
    left -= sum(shares[i] for i in active)
    queue = [(Fraction(shares[i] + 1, weights[i]), i) for i in active]
    heapify(queue)
    for _ in range(left):
        i = queue[0][1]
        shares[i] += 1
        if shares[i] < most[i]:
            heapreplace(queue, (Fraction(shares[i] + 1, weights[i]), i))
        else:
            heappop(queue)
    return shares


def project(units: int, most: Sequence[int], start_ppb: Sequence[int]) -> list[int]:
    """The fractions nearest to `start_ppb` that raise `units`: h_i = clip(start_i - t * most_i, 0, 1).

    This is the Euclidean projection onto {0 <= h <= 1, sum h_i * most_i = units}; the share is h_i * most_i.
    t is found by bisection in fixed point, shares are rounded down, and the units that are then missing go
    one each to the largest remainders. Chitra, arXiv 2512.01112, vector mirror descent.
    """
    shares = [0] * len(most)
    givers = [i for i, limit in enumerate(most) if limit > 0]
    units = min(units, sum(most[i] for i in givers))
    if not units:
        return shares

    def exact(step: int) -> list[int]:
        return [
            min(_SCALE, max(0, start_ppb[i] * (_SCALE // PPB) - step * most[i])) * most[i] for i in givers
        ]

    high = _SCALE // min(most[i] for i in givers) + 1
    low = -high
    while high - low > 1:
        middle = (low + high) // 2
        if sum(exact(middle)) <= units * _SCALE:
            high = middle
        else:
            low = middle
    raised = exact(high)
    for i, share in zip(givers, raised, strict=True):
        shares[i] = share // _SCALE
    missing = units - sum(shares)
    order = sorted(range(len(givers)), key=lambda k: (-(raised[k] % _SCALE), k))
    for k in [k for k in order if shares[givers[k]] < most[givers[k]]][:missing]:
        shares[givers[k]] += 1
    return shares
