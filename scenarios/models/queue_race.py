"""Which of the two best queues is used up first: where the midpoint goes next.

Orders of one unit join each queue at rate `arrivals`; one leaves at rate `market` + k `cancels` while k
stand. The price rises when the asks are gone first. The time of a queue is a sum of passages k to k - 1,
whose transforms are f_k(s) = d_k / (arrivals + d_k + s - arrivals f_(k+1)(s)), d_k = market + k cancels.
The probability that one time is the smaller is the inverse transform of their product, here by Gil-Pelaez's
integral.

Source: Cont, Stoikov and Talreja, A Stochastic Model for Order Book Dynamics, Operations Research 2010.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.integrate import quad

from zerodebt.scenarios.compiled import compiled

DEPTH = 200
"""The continued fraction starts here; a queue this long is never seen."""


def measure(
    seed: int, *, arrivals: float, market: float, cancels: float, longest: int, races: int
) -> Mapping[str, float]:
    """Largest difference between formula and simulation over queues of 1 to `longest` orders."""
    luck = np.random.default_rng([seed, 13])
    largest = 0.0
    for bids in range(1, longest + 1):
        for asks in range(1, longest + 1):
            formula = rises(bids, asks, arrivals, market, cancels)
            counted = raced(luck, bids, asks, arrivals, market, cancels, races)
            largest = max(largest, abs(formula - counted))
    return {"largest_error": largest}


def transform(orders: int, s: complex, arrivals: float, market: float, cancels: float) -> complex:
    """E exp(-s T), T the time until a queue of `orders` is used up."""
    passage, whole = 0j, 1 + 0j
    for k in range(DEPTH, 0, -1):
        leave = market + k * cancels
        passage = leave / (arrivals + leave + s - arrivals * passage)
        if k <= orders:
            whole *= passage
    return whole


def rises(bids: int, asks: int, arrivals: float, market: float, cancels: float) -> float:
    """Probability that the asks are used up first: P(X < 0) = 1/2 - (1/pi) int Im E exp(iwX) / w dw."""

    def integrand(w: float) -> float:
        asks_go = transform(asks, -1j * w, arrivals, market, cancels)
        bids_go = transform(bids, 1j * w, arrivals, market, cancels)
        return (asks_go * bids_go).imag / w

    return 0.5 - float(quad(integrand, 0, np.inf, limit=200)[0]) / np.pi


@compiled
def raced(
    luck: Any, bids: int, asks: int, arrivals: float, market: float, cancels: float, races: int
) -> float:
    """Share of races in which the asks are used up first."""
    risen = 0
    for _ in range(races):
        b, a = bids, asks
        while a and b:
            leave_a, leave_b = market + a * cancels, market + b * cancels
            event = luck.random() * (2 * arrivals + leave_a + leave_b)
            if event < leave_a:
                a -= 1
            elif event < leave_a + leave_b:
                b -= 1
            elif event < leave_a + leave_b + arrivals:
                a += 1
            else:
                b += 1
        risen += a == 0
    return risen / races
