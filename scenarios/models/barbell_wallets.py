"""A core of 900 and a lever of 100 for a year: apart, apart in the mind, pledged, or in one wallet (S04).

The lever holds something whose daily returns are Student's t with three degrees of freedom, scaled to the
year's volatility, without drift. Chosen before the run: 252 days of simple returns, because the daily
volatility of 5 % in F40 is 80 % over the root of 252; the position is brought back to `leverage` times the
lever's balance each day; the fund earns 1/252 of its yield a day.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from zerodebt.agents.barbell import Investors, Plan
from zerodebt.agents.wealth import Floats

DAYS = 252
SHOCK_DAYS = 5
DEGREES_OF_FREEDOM = 3


def daily_returns(
    luck: np.random.Generator, paths: int, volatility: float, drift: float = 0.0, steps: int = DAYS
) -> Floats:
    """(steps, paths) simple returns of a year; volatility and drift are the year's."""
    unit = luck.standard_t(DEGREES_OF_FREEDOM, (steps, paths)) / np.sqrt(DEGREES_OF_FREEDOM)
    returns: Floats = drift / steps + unit * volatility / np.sqrt(steps)
    return returns


def measure(
    seed: int,
    *,
    paths: int = 4000,
    volatility: float = 0.8,
    core_yield: float = 0.04,
    shock: float = 0.0,
    steps_a_day: int = 1,
    **plan: object,
) -> Mapping[str, float]:
    """Core, lever and total at the year's end, in the fund's currency; `plan` are the fields of a Plan.

    shock         return that is spread over five days in the middle of the year
    steps_a_day   returns, rebalancings and looks at the lines
    """
    steps = DAYS * steps_a_day
    returns = daily_returns(np.random.default_rng([seed, 0]), paths, volatility, steps=steps)
    shock_steps = SHOCK_DAYS * steps_a_day
    returns[steps // 2 : steps // 2 + shock_steps] += shock / shock_steps
    investors = Investors(paths, msgspec.convert(plan, Plan), np.random.default_rng([seed, 1]))
    lever_lowest = investors.lever
    for of_step in returns:
        investors.step(of_step, core_yield / steps)
        lever_lowest = np.minimum(lever_lowest, investors.lever)
    core, lever, total = investors.core, investors.lever, investors.total
    return {
        "core_min": float(core.min()),
        "lever_min": float(lever_lowest.min()),
        "lever_median": float(np.median(lever)),
        "p_lever_below_1": float(np.mean(lever < 1)),
        "below_stop_less_loss": float(
            np.min(lever_lowest - (investors.plan.stop_below - investors.step_loss_max))
        ),
        "p_core_below_900": float(np.mean(core < 900)),
        "p_core_touched": float(np.mean(investors.core_sold > 0)),
        "core_sold_mean": float(np.mean(investors.core_sold)),
        "total_min": float(total.min()),
        "total_mean": float(total.mean()),
        "total_p1": float(np.quantile(total, 0.01)),
        "p_total_below_500": float(np.mean(total < 500)),
        "p_total_below_800": float(np.mean(total < 800)),
        "p_total_below_900": float(np.mean(total < 900)),
        "orders_before_recovery": float(investors.orders_before_recovery),
    }
