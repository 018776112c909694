"""The zero-intelligence book: orders of one unit that nobody thought about.

Limit orders arrive at rate alpha a unit of price and side, uniformly up to `window` behind the opposite
best price; market orders at rate mu a side; each order is cancelled at rate delta. alpha = mu = 1 here, so
prices are in mu/alpha, times in 1/mu, and eps = delta/mu, all per side. Prices stand on a grid of `tick`.

Sources: Smith, Farmer, Gillemot and Krishnamurthy, cond-mat/0210475 (the model); Farmer, Patelli and Zovko,
cond-mat/0309233 (the law of the spread).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zerodebt.scenarios.compiled import compiled
from zerodebt.scenarios.series import Series

GRID = 1 << 17
"""Cells of the ring that holds the prices: far more than the orders ever span."""
SAMPLE_EVERY = 0.1
"""Between two looks at the midpoint, in 1/mu; also the lag of early diffusion (V04)."""
BURN_IN_LIVES = 5
LATE_LIVES = 10
"""Lag of late diffusion in lives of an order (V03)."""
FAR = (10.0, 15.0)
"""Where depth counts as far from the midpoint, in mu/alpha (V05); looked at once in the life of an order."""
_NONE = -1


def measure(
    seed: int, *, eps: float, events: float, tick: float = 0.002, window: float = 20.0
) -> Mapping[str, float]:
    """Mean spread, its ratio to the published law, depth far away, and diffusion of the midpoint."""
    mids, spread_ticks, far = simulated(np.random.default_rng([seed, 1]), eps, events, tick, window)
    prices = mids * (tick / 2)
    early, late = diffusion(prices, 1), diffusion(prices, round(LATE_LIVES / eps / SAMPLE_EVERY))
    return {
        "spread": spread_ticks * tick,
        "spread_over_law": spread_ticks * tick / law(eps),
        "depth_far": far * eps / (2 * (FAR[1] - FAR[0])),
        "diffusion_early": early / eps**0.5,
        "diffusion_late": late / eps**1.5,
        "log10_diffusion_early": np.log10(early),
        "log10_diffusion_late": np.log10(late),
    }


def simulated(
    luck: Any, eps: float, events: float, tick: float, window: float
) -> tuple[NDArray[np.int32], float, float]:
    """What `book` gives after the burn-in, for so many events in the mean."""
    lives = events * eps / (4 * window + 2)
    samples, first = (int(n / eps / SAMPLE_EVERY) for n in (lives, BURN_IN_LIVES))
    orders = empty(int(2 * window / eps + 1000))
    found: tuple[NDArray[np.int32], float, float] = book(
        luck, orders, eps, tick, round(window / tick), first, samples
    )
    return found


def law(eps: float) -> float:
    """The published spread (mu/alpha) (0.28 + 1.86 eps^(3/4)), whose mu and eps count both sides' orders."""
    return 2 * (0.28 + 1.86 * float((eps / 2) ** 0.75))


def diffusion(prices: Series, lag: int) -> float:
    """Variance of the change over `lag` samples, a unit of time."""
    changes = prices[lag:] - prices[:-lag]
    return float(changes.var() / (lag * SAMPLE_EVERY))


class Orders(NamedTuple):
    """Standing orders: side 0 the bids, 1 the asks.

    Each side is one dense list, of which `held` places are taken; a cancellation draws from it. The orders of
    a price are linked from `head` of its cell by `after` and `before`.
    """

    head: NDArray[np.int32]
    after: NDArray[np.int32]
    before: NDArray[np.int32]
    price: NDArray[np.int64]
    held: NDArray[np.int64]


def empty(capacity: int) -> Orders:
    """Room for `capacity` orders a side."""
    return Orders(
        np.full((2, GRID), _NONE, np.int32),
        np.empty((2, capacity), np.int32),
        np.empty((2, capacity), np.int32),
        np.empty((2, capacity), np.int64),
        np.zeros(2, np.int64),
    )


@compiled
def add(orders: Orders, side: int, at: int) -> None:
    order = orders.held[side]
    first = orders.head[side, at % GRID]
    orders.price[side, order] = at
    orders.before[side, order] = _NONE
    orders.after[side, order] = first
    if first != _NONE:
        orders.before[side, first] = order
    orders.head[side, at % GRID] = order
    orders.held[side] += 1


@compiled
def remove(orders: Orders, side: int, order: int) -> None:
    """Unlink the order; the last of the dense list takes its place."""
    head, after, before = orders.head[side], orders.after[side], orders.before[side]
    price = orders.price[side]
    if before[order] == _NONE:
        head[price[order] % GRID] = after[order]
    else:
        after[before[order]] = after[order]
    if after[order] != _NONE:
        before[after[order]] = before[order]
    orders.held[side] -= 1
    last = orders.held[side]
    if order == last:
        return
    price[order], after[order], before[order] = price[last], after[last], before[last]
    if before[order] == _NONE:
        head[price[order] % GRID] = order
    else:
        after[before[order]] = order
    if after[order] != _NONE:
        before[after[order]] = order


@compiled
def standing(orders: Orders, middle: int, near: int, end: int) -> int:
    """Orders of both sides that are `near` to less than `end` ticks from the middle."""
    found = 0
    for side in range(2):
        for order in range(orders.held[side]):
            away = abs(orders.price[side, order] - middle)
            if near <= away < end:
                found += 1
    return found


@compiled
def book(
    luck: Any, orders: Orders, eps: float, tick: float, window_ticks: int, first: int, samples: int
) -> tuple[NDArray[np.int32], float, float]:
    """Twice the midpoint in ticks at each sample, the mean spread in ticks, mean number of orders far away.

    first    samples that are burnt in and not kept
    The last order of a side stays.
    """
    toward = np.array([1, -1])  # from a side's orders to the other's
    best = np.array([-1, 1])
    limit_rate = window_ticks * tick
    for side in range(2):
        add(orders, side, best[side])
        for _ in range(int(limit_rate / eps)):
            add(orders, side, best[side] - toward[side] * int(window_ticks * luck.random()))

    mids = np.empty(samples, np.int32)
    life = round(1 / eps / SAMPLE_EVERY)
    near, end = round(FAR[0] / tick), round(FAR[1] / tick)
    spread_time = time = 0.0
    far, far_looks = 0, 0
    clock = 0.0
    taken = -first
    while True:
        rate = 2 * limit_rate + 2 + eps * (orders.held[0] + orders.held[1])
        clock -= np.log(1 - luck.random()) / rate
        while clock >= SAMPLE_EVERY:
            clock -= SAMPLE_EVERY
            if taken >= 0:
                mids[taken] = best[0] + best[1]
                if taken % life == 0:
                    far += standing(orders, (best[0] + best[1]) // 2, near, end)
                    far_looks += 1
            taken += 1
            if taken == samples:
                return mids, spread_time / time, far / far_looks
        if taken >= 0:
            spread_time += (best[1] - best[0]) / rate
            time += 1 / rate

        event = luck.random() * rate
        if event < 2 * limit_rate:
            side = int(event >= limit_rate)
            at = best[1 - side] - toward[side] * (1 + int(window_ticks * luck.random()))
            add(orders, side, at)
            if (at - best[side]) * toward[side] > 0:
                best[side] = at
            continue
        event -= 2 * limit_rate
        if event < 2:
            side = int(event >= 1)
            order = orders.head[side, best[side] % GRID]
        else:
            order = int((event - 2) / eps)
            side = int(order >= orders.held[0])
            order = min(order - side * orders.held[0], orders.held[side] - 1)
        if orders.held[side] == 1:
            continue
        at = orders.price[side, order]
        remove(orders, side, order)
        if at == best[side]:
            while orders.head[side, at % GRID] == _NONE:
                at -= toward[side]
            best[side] = at
