"""F26, F27: the same rule at growing size, for a trend follower and a basis arbitrageur (C4, no venue).

A trade of Q costs a fee and the square root impact: the day's standard deviation times sqrt(Q / daily
volume). Sizes are positions as shares of daily volume, returns are of the position's value in a year.

Chosen on 2026-11-22 before the first run (ours; fees, threshold forms and capital cost as of C4):
    price        deviation 60 % a year, hidden drift: half-life 60 days, deviation 100 % a year
    trend        daily, long or short by the sign of the mean return with a memory of 20 days, fee 5 bp
    basis        hourly, half-life 8 hours, deviation 30 bp
    arbitrageur  a round trip is four trades at 4.5 bp and impact; in at twice its cost, out at half of it;
                 capital costs 8 % a year, traded or not
    small size   a ten-thousandth of daily volume
"""

from collections.abc import Mapping

import numpy as np

from zerodebt.agents.wealth import Floats

_DAYS, _HOURS = 365, 8760
_DAILY_SD = 0.6 / np.sqrt(_DAYS)
_SMALL = 1e-4
_SIZES = _SMALL * np.concatenate([[1.0], np.geomspace(2, 10_000, 40)])
_TIMES = 20


def impact(size: Floats, strength: float) -> Floats:
    """Share of its value that a trade of this size costs."""
    cost: Floats = strength * _DAILY_SD * np.sqrt(size)
    return cost


def trend_returns(rng: np.random.Generator, paths: int, strength: float) -> Floats:
    """Yearly returns, one mean for each size."""
    decay, memory = 0.5 ** (1 / 60), 1 - 1 / 20
    drift_sd = 1.0 / _DAYS
    drift = rng.normal(0, drift_sd, paths)
    mean = np.zeros(paths)
    side = np.zeros(paths)
    gross, traded = np.zeros(paths), np.zeros(paths)
    for _ in range(_DAYS):
        drift = decay * drift + drift_sd * np.sqrt(1 - decay**2) * rng.standard_normal(paths)
        move = drift + _DAILY_SD * rng.standard_normal(paths)
        gross += side * move
        mean = memory * mean + (1 - memory) * move
        wanted = np.sign(mean)
        traded += np.abs(wanted - side)
        side = wanted
    cost = 0.0005 + impact(_SIZES, strength)
    found: Floats = gross.mean() - cost * traded.mean()
    return found


def basis_results(rng: np.random.Generator, paths: int, strength: float) -> tuple[Floats, Floats]:
    """(yearly return before the cost of capital, Sharpe ratio after it) for each size, from daily results.

    Where the rule never trades the ratio is 0.
    """
    decay, sd = 0.5 ** (1 / 8), 0.003
    cost = 4 * (0.00045 + impact(_SIZES, strength))[:, None]
    basis = rng.normal(0, sd, paths)
    side = np.zeros((len(_SIZES), paths))
    day = np.zeros_like(side)
    total, squares = np.zeros(len(_SIZES)), np.zeros(len(_SIZES))
    for hour in range(1, _HOURS + 1):
        before = basis
        basis = decay * basis + sd * np.sqrt(1 - decay**2) * rng.standard_normal(paths)
        day += side * (basis - before)
        opens = (side == 0) & (np.abs(basis) >= 2 * cost)
        closes = (side != 0) & (side * basis >= -cost / 2)
        day -= cost / 2 * (opens | closes)
        side = np.where(opens, -np.sign(basis), np.where(closes, 0, side))
        if hour % 24 == 0:
            total += day.mean(axis=1)
            squares += (day**2).mean(axis=1)
            day[:] = 0
    mean = total / _DAYS
    deviation = np.sqrt(np.maximum(squares / _DAYS - mean**2, 0))
    excess = mean - 0.08 / _DAYS
    sharpe = np.divide(excess, deviation, out=np.zeros_like(mean), where=deviation > 0) * np.sqrt(_DAYS)
    return total, sharpe


def half_size(returns: Floats) -> float:
    """First size at which the return is below half of that at the small size; infinite when none is."""
    below = np.flatnonzero(returns < returns[0] / 2)
    return float(_SIZES[below[0]]) if len(below) else float("inf")


def measure(seed: int, *, paths: int, strength: float) -> Mapping[str, float]:
    """A `strength` of 0 takes the impact away."""
    trend = trend_returns(np.random.default_rng([seed, 26]), paths, strength)
    basis, sharpe = basis_results(np.random.default_rng([seed, 27]), paths, strength)
    large = int(np.argmin(np.abs(_SIZES - _TIMES * _SMALL)))
    return {
        "trend_return_small": trend[0],
        "arbitrage_return_small": basis[0],
        "trend_half_size": half_size(trend),
        "arbitrage_half_size": half_size(basis),
        "arbitrage_sharpe_small": sharpe[0],
        "arbitrage_sharpe_at_20": sharpe[large],
    }
