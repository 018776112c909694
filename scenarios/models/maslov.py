"""Maslov's book: limit orders a few ticks from the last trade, market orders, and nobody cancels.

A trader buys or sells, by a limit or a market order, each with probability 1/2. A limit order of one unit
stands 1 to `reach` ticks behind the last trade's price. Such a book is anti-persistent, and its price changes
have fat tails although nobody imitates anybody.

Source: Maslov, Simple Model of a Limit Order-Driven Market, 2000, cond-mat/9910502.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerodebt.scenarios.compiled import compiled
from zerodebt.scenarios.series import Series, autocorrelation, hill, slope

LAGS = 2 ** np.arange(13)
"""In trades: 1 to 4096."""
TAIL_SHARE = 0.01


def measure(seed: int, *, trades: int, reach: int = 4) -> Mapping[str, float]:
    """Hurst exponent of the trade price, tail of its changes, autocorrelation of these and of their sizes."""
    prices = trade_prices(np.random.default_rng([seed, 2]), trades, reach).astype(float)
    changes = np.diff(prices)
    return {
        "hurst": hurst(prices),
        "tail": hill(np.abs(changes), TAIL_SHARE),
        "tail_5_percent": hill(np.abs(changes), 0.05),
        "acf": autocorrelation(changes, 1),
        "acf_sizes": autocorrelation(np.abs(changes), 1),
    }


def hurst(prices: Series) -> float:
    """Slope of ln(standard deviation of the change over a lag) against ln(lag)."""
    deviations = [np.std(prices[lag:] - prices[:-lag]) for lag in LAGS]
    return slope(np.log(LAGS), np.log(deviations))


@compiled
def trade_prices(luck: Any, trades: int, reach: int) -> NDArray[np.int64]:
    """Price of each trade. Prices run on a ring of cells, far wider than the orders."""
    cells = 1 << 20
    held = np.zeros((2, cells), np.int64)  # bids, asks
    orders = np.zeros(2, np.int64)
    toward = np.array([1, -1])
    best = np.zeros(2, np.int64)
    prices = np.empty(trades, np.int64)
    last = done = 0
    while done < trades:
        side = int(luck.random() < 0.5)
        if luck.random() < 0.5:
            at = last - toward[side] * (1 + int(reach * luck.random()))
            held[side, at % cells] += 1
            orders[side] += 1
            if orders[side] == 1 or (at - best[side]) * toward[side] > 0:
                best[side] = at
        elif orders[side]:
            at = last = best[side]
            prices[done] = last
            done += 1
            held[side, at % cells] -= 1
            orders[side] -= 1
            while orders[side] and not held[side, at % cells]:
                at -= toward[side]
            best[side] = at
    return prices
