"""Self-exciting events, and whether their branching ratio is found again.

Each event raises the intensity mu by n beta exp(-beta t): it has n children in the mean. n is estimated by
maximum likelihood; for data of a market an estimate near 1 says that events mostly answer each other.

Sources: Filimonov and Sornette, Quantifying reflexivity in financial markets, arXiv 1201.3572; Hardiman,
Bercot and Bouchaud, Critical reflexivity in financial markets, arXiv 1302.1405.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from zerodebt.scenarios.compiled import compiled


def measure(seed: int, *, branching: float, events: int, beta: float) -> Mapping[str, float]:
    """Branching ratio, found from `events` events of a process whose own rate is 1."""
    times = simulated(np.random.default_rng([seed, 11]), 1.0, branching, beta, events)
    found = minimize(
        lambda p: -log_likelihood(times, *np.exp(p)), np.log([2.0, 0.5, 2 * beta]), method="Nelder-Mead"
    )
    rate, ratio, decay = np.exp(found.x)
    return {"branching": ratio, "rate": rate, "decay": decay}


@compiled
def simulated(luck: Any, rate: float, branching: float, beta: float, events: int) -> NDArray[np.float64]:
    """Times of the events, by thinning: the intensity only falls until the next one."""
    times = np.empty(events)
    time = excited = 0.0
    done = 0
    while done < events:
        most = rate + excited
        pause = -np.log(1 - luck.random()) / most
        time += pause
        excited *= np.exp(-beta * pause)
        if luck.random() * most < rate + excited:
            times[done] = time
            done += 1
            excited += branching * beta
    return times


@compiled
def log_likelihood(times: NDArray[np.float64], rate: float, branching: float, beta: float) -> float:
    """Sum of ln(intensity) at the events less the intensity's integral up to the last."""
    excited = 0.0
    whole = 0.0
    for k in range(len(times)):
        if k:
            excited = (excited + branching * beta) * np.exp(-beta * (times[k] - times[k - 1]))
        whole += np.log(rate + excited) - branching * (1 - np.exp(-beta * (times[-1] - times[k])))
    return whole - rate * float(times[-1])
