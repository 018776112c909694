"""Members of a clearing house: what margin they are asked for, when they are called, and who of them fails
(C12).

Rows S15, V60. Margin is the 99 % value at risk of an exponentially weighted variance with the buffer of 25 %
that European rules ask for (EMIR RTS 153/2013, article 28), which is given up as volatility rises.
Variation is settled twice a day, and a member whose margin is half used up is called within the day.

Ours, 2026-11-22, before the first run: memory 0.99 a day; sizes by quantiles of Pareto 1.2, the smallest 1;
a member can bring half of his margin again beyond it, and fails when a call asks for more.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zerodebt.agents.wealth import Floats

Bools = NDArray[np.bool_]

MEMORY, QUANTILE, BUFFER = 0.99, 2.326, 0.25
CALL_AT_USED = 0.5
SIZE_TAIL = 1.2
LIQUID_OVER_MARGIN = 0.5


def variance_next(variance: float, change: float) -> float:
    """A day later."""
    return MEMORY * variance + (1 - MEMORY) * change**2


def margin_rate(variance: float, calm_variance: float, buffer: float = BUFFER) -> float:
    """Initial margin as a share of value; the buffer on the calm margin is eaten up as volatility rises."""
    calm = float(np.sqrt(min(variance, calm_variance))) * (1 + buffer)
    return QUANTILE * max(float(np.sqrt(variance)), calm)


def margin_path(changes: Floats, calm: float, buffer: float = BUFFER) -> Floats:
    """Margin rate after each day's change; `calm` is the daily deviation that the start knows."""
    variance = calm**2
    rates = np.empty(len(changes))
    for day, change in enumerate(changes.tolist()):
        variance = variance_next(variance, change)
        rates[day] = margin_rate(variance, calm**2, buffer)
    return rates


def sizes(count: int) -> Floats:
    """Value of each member's position, the largest first."""
    shares = (np.arange(count) + 0.5) / count
    drawn: Floats = shares ** (-1 / SIZE_TAIL)
    relative: Floats = drawn / drawn.min()
    return relative


class Called(NamedTuple):
    """called   loss has used up half of the margin
    fails    what the call asks for is more than the member has
    """

    called: Bools
    fails: Bools


def calls(losses: Floats, margins: Floats) -> Called:
    """Within the day. `losses` since the last settlement; a gain is below zero."""
    called = losses > CALL_AT_USED * margins
    return Called(called, called & (losses > (1 + LIQUID_OVER_MARGIN) * margins))
