"""V10: the stylised facts of returns in the leverage cycle, at its own period: a look every five minutes.

What value traders take a coin to be worth is a Gaussian random walk at the coin's usual volatility, each coin
for itself, so that neither tails nor clustering come from outside. Returns are those of the log index of the
spot books, after `warm_days`.

Each coin's returns are divided by the root mean square of its returns from look to look, then pooled: one
coin alone has too few days, and coins differ in volatility, which by itself would make a tail. The same
divisor serves at every horizon; a coin's own deviation over n days would bound the kurtosis of n daily
returns by n. Autocorrelations are taken by coin, and their mean over coins is held against the bound,
because the largest of 46 lags of one coin is above .05 by luck alone.

Kurtosis is the excess over a normal law's 3, as the paper defines it.

Chosen by us on 2026-11-22, before the first run: `volatility` 1, that coins walk independently, one day of
warming up, the largest 5 % for the tail, lags up to 50.

Source: Cont, Empirical properties of asset returns: stylized facts and statistical issues, Quantitative
Finance 2001.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zerodebt.agents.wealth import Floats
from zerodebt.scenarios import populations
from zerodebt.scenarios.models.leverage_cycle import (
    COINS,
    Walk,
    defined,
    promise,
    run_world,
    temporary,
    usual_volatility,
)
from zerodebt.scenarios.series import autocorrelation, hill, kurtosis

_TAIL_SHARE = 0.05
_LAGS = 50
_CORRELATED_S = 1_200
"""Returns may be correlated over twenty minutes, not beyond."""
_DAY_S = 86_400
_NORMAL = 3.0


def measure(
    seed: int,
    *,
    days: float = 6.0,
    warm_days: float = 1.0,
    wake_s: float = 300.0,
    volatility: float = 1.0,
    leverage_max: int = 125,
    institution_leverage: tuple[float, float] = (1.5, 4.0),
    tilt: float = 15.0,
) -> Mapping[str, float]:
    """Kurtosis by horizon, tail, memory of returns and of their sizes.

    volatility            of the coins' worth, over their usual one
    institution_leverage  U of L_max; 1 and 1: none
    tilt                  of trend traders; 0: they hold what they have
    """
    changes = {
        "populations.retail.leverage_max": leverage_max,
        "populations.institutions.leverage_max": list(institution_leverage),
        "populations.trend.tilt": tilt,
    }
    with temporary() as folder:
        run = run_world(seed, 24 * days, wake_s, Walk(seed, wake_s, volatility), changes, Path(folder))
        logs = np.log(np.stack([populations.index_path(run, coin) for coin in COINS]))
        warm = round(warm_days * _DAY_S / wake_s)
        found = of_paths(logs[:, warm:], wake_s)
        annual = np.sqrt((np.diff(logs[:, warm:]) ** 2).mean(axis=1) * 365 * _DAY_S / wake_s)
        forced = float(run.trades.filter("forced")["notional_usd"].sum())
        found |= {f"volatility_{c.lower()}": float(v) for c, v in zip(COINS, annual, strict=True)}
        found["volatility_of_usual"] = float((annual / usual_volatility()).mean())
        return defined(found | {"forced_usd": forced} | promise(run))


def of_paths(logs: Floats, step_s: float) -> dict[str, float]:
    """Figures of log prices, (coins, instants) `step_s` apart."""
    day, hour = round(_DAY_S / step_s), max(1, round(3600 / step_s))
    returns = np.diff(logs, axis=1)
    scale = np.sqrt((returns**2).mean(axis=1, keepdims=True))
    returns, logs = returns / scale, logs / scale
    first = int(_CORRELATED_S // step_s) + 1
    memory = {lag: _mean_autocorrelation(returns, lag) for lag in range(first, _LAGS + 1)}
    largest = max(memory, key=lambda lag: abs(memory[lag]))
    sizes = np.abs(returns)
    return {
        "kurtosis_look": _excess(returns),
        "kurtosis_hour": _excess(np.diff(logs[:, ::hour])),
        "kurtosis_day": _excess(np.diff(logs[:, ::day])),
        "kurtosis_look_as_few": kurtosis_as_few(returns, day),
        "kurtosis_coin_least": min(_excess(own) for own in returns),
        "kurtosis_coin_most": max(_excess(own) for own in returns),
        "tail": hill(sizes.ravel(), _TAIL_SHARE),
        "acf_1": _mean_autocorrelation(returns, 1),
        "acf_largest": memory[largest],
        "acf_largest_size": abs(memory[largest]),
        "acf_largest_lag_minutes": largest * step_s / 60,
        "acf_sizes_1": _mean_autocorrelation(sizes, 1),
        "acf_sizes_10": _mean_autocorrelation(sizes, 10),
        "acf_sizes_50": _mean_autocorrelation(sizes, _LAGS),
        "unmoved_share": float((returns == 0).mean()),
    }


def kurtosis_as_few(returns: Floats, day: int) -> float:
    """Excess kurtosis of returns from look to look where there are as few of them as daily ones: one return
    a day and coin, the mean over all times of day. Few returns have less kurtosis than many."""
    whole = returns.shape[1] // day * day
    by_time = returns[:, :whole].reshape(len(returns), -1, day)
    return float(np.mean([_excess(by_time[:, :, time]) for time in range(day)]))


def _excess(returns: Floats) -> float:
    return kurtosis(returns.ravel()) - _NORMAL


def _mean_autocorrelation(values: Floats, lag: int) -> float:
    return float(np.mean([autocorrelation(own, lag) for own in values]))
