"""What a large order costs, and the path that sells it best.

Almgren and Chriss: sell one unit in `steps` equal times over T, with temporary impact eta and risk aversion
lambda; the path of what is held minimises eta sum (sold per time)^2 + lambda sigma^2 sum (held)^2. Its closed
form is sinh(kappa (T - t)) / sinh(kappa T), 2 (cosh(kappa tau) - 1) / tau^2 = lambda sigma^2 / eta, which is
kappa^2 as tau goes to 0.

A book whose depth grows with the distance from the midpoint has a price impact of N^(1/2) and costs N^(3/2).

Sources: Almgren and Chriss, Optimal execution of portfolio transactions, 2001; Cont, Central clearing and
risk transformation, 2017 (the cost of liquidation).
"""

from collections.abc import Mapping

import numpy as np

from zerodebt.scenarios.series import Series, slope

SIZES = 2 ** np.arange(8, 20)
"""Lots that are sold at once."""


def measure(_seed: int, *, urgency: float, steps: int, lots_a_tick: int) -> Mapping[str, float]:
    """Nothing is drawn.

    urgency      lambda sigma^2 / eta, for T = 1
    lots_a_tick  depth k ticks away is k times this
    """
    held = solved(urgency, steps)
    costs = [sweep_cost(int(lots), lots_a_tick) for lots in SIZES]
    return {
        "trajectory_error": float(np.abs(held - closed_form(urgency, steps)).max()),
        "cost_exponent": slope(np.log(SIZES), np.log(costs)),
    }


def closed_form(urgency: float, steps: int) -> Series:
    """What is held after each step but the last."""
    tau = 1 / steps
    kappa = np.arccosh(1 + urgency * tau**2 / 2) / tau
    left = 1 - np.arange(1, steps) * tau
    held: Series = np.sinh(kappa * left) / np.sinh(kappa)
    return held


def solved(urgency: float, steps: int) -> Series:
    """The same from the first-order conditions x_(j-1) - (2 + urgency tau^2) x_j + x_(j+1) = 0."""
    matrix = np.diag(np.full(steps - 1, -(2 + urgency / steps**2)))
    matrix += np.diag(np.ones(steps - 2), 1) + np.diag(np.ones(steps - 2), -1)
    start = np.zeros(steps - 1)
    start[0] = -1.0  # all of it is held before the first step
    held: Series = np.linalg.solve(matrix, start)
    return held


def sweep_cost(lots: int, lots_a_tick: int) -> int:
    """Ticks times lots that are lost to the midpoint."""
    cost, tick = 0, 1
    while lots:
        taken = min(lots, tick * lots_a_tick)
        cost += taken * tick
        lots -= taken
        tick += 1
    return cost
