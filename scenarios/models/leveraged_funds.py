"""Value funds that borrow: leverage makes fat tails and clustered volatility.

Noise traders hold the worth xi: ln xi(t) = .99 ln xi(t-1) + .035 N(0, 1) + .01 ln(V N), V = 1, N = 1000
shares. Fund h buys what is cheap, m = V - p > 0: its shares are worth min(beta_h m, limit) W_h. The price
clears the market, xi / p + sum D_h = N, while a fund's wealth moves with it: W_h(p) = W_h + (p - before) D_h.
Then investors bring b (r_h - r_0) W_h or take it away, r_h the average of the fund's returns. A fund below
WEALTH_OUT closes and starts again later. With `prudence` the limit shrinks with recent volatility.

Root rule (V25): forced sales make demand fall with the price, so that several prices may clear. "nearest" is
the first price that clears, from the last price in the direction of excess demand; "global" is bisection over
all prices, which falls to the lower root. The tails differ.

Source: Thurner, Farmer and Geanakoplos, Leverage Causes Fat Tails and Clustered Volatility, 2012 (Cowles
Foundation Discussion Paper 1745R).
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zerodebt.scenarios.compiled import compiled
from zerodebt.scenarios.series import autocorrelation, hill, kurtosis

SHARES = 1000.0
BETAS = np.linspace(5, 50, 10)
MEMORY, NOISE = 0.99, 0.035
WEALTH, WEALTH_OUT, STEPS_OUT = 2.0, 0.2, 100
FLOW, FLOW_BENCHMARK, FLOW_MEMORY = 0.15, 0.005, 0.1
VOLATILITY_STEPS = 10
GRID = 0.001
"""Step of the search for the nearest root; two roots within one step are not seen."""
TAIL_SHARE = 0.01
FALL_SHARE = 0.001
BURN_IN = 1_000


def measure(
    seed: int,
    *,
    limit: float,
    steps: int,
    funds: int = 10,
    prudence: float = 0.0,
    root: Literal["nearest", "global"] = "nearest",
) -> Mapping[str, float]:
    """Figures of the log returns; defaults a 10,000 steps; falls that met a fund at its limit.

    limit      of leverage: a fund's shares over its wealth
    prudence   the limit is limit / (1 + prudence * variance of the last VOLATILITY_STEPS returns)
    at_limit   share of the largest FALL_SHARE of falls that ended with a fund at its limit; `at_limit_always`
               the same share of all steps
    """
    betas = BETAS[:funds]
    luck = np.random.default_rng([seed, 4])
    shocks = luck.standard_normal(steps)
    prices, bound, defaults = run(shocks, betas, limit, prudence, root == "nearest")
    returns = np.diff(np.log(prices))[BURN_IN:]
    limited = bound[BURN_IN + 1 :]
    falls = np.argsort(returns)[: int(len(returns) * FALL_SHARE)]
    sizes = np.abs(returns)
    return {
        "kurtosis": kurtosis(returns),
        "deviation": float(returns.std()),
        "tail": hill(-returns[returns < 0], TAIL_SHARE),
        "acf_1": autocorrelation(sizes, 1),
        "acf_10": autocorrelation(sizes, 10),
        "acf_50": autocorrelation(sizes, 50),
        "acf_100": autocorrelation(sizes, 100),
        "at_limit": float(limited[falls].mean()),
        "at_limit_always": float(limited.mean()),
        "defaults": defaults * 10_000 / steps,
    }


@compiled
def wanted(beta: float, limit: float, price: float) -> float:
    """What a fund wants to hold, over its wealth."""
    return min(beta * max(0.0, 1 - price), limit)


@compiled
def flow(average: float) -> float:
    """What investors bring to a fund or take from it in a step, over its wealth."""
    return max(-1.0, FLOW * (average - FLOW_BENCHMARK))


@compiled
def next_log_worth(log_worth: float, shock: float) -> float:
    """Logarithm of what the noise traders hold."""
    return MEMORY * log_worth + NOISE * shock + (1 - MEMORY) * float(np.log(SHARES))


@compiled
def excess(
    price: float,
    noise: float,
    before: float,
    wealth: NDArray[np.float64],
    held: NDArray[np.float64],
    betas: NDArray[np.float64],
    limit: float,
) -> float:
    """Demand at this price less the shares that there are. A fund whose wealth is gone holds nothing."""
    whole = noise / price - SHARES
    if price < 1:
        for h in range(len(betas)):
            left = wealth[h] + (price - before) * held[h]
            if left > 0:
                whole += wanted(betas[h], limit, price) * left / price
    return whole


@compiled
def clearing(
    noise: float,
    before: float,
    wealth: NDArray[np.float64],
    held: NDArray[np.float64],
    betas: NDArray[np.float64],
    limit: float,
    is_nearest: bool,
) -> float:
    """The price that clears, by the root rule; `before` is the last price."""
    if is_nearest:
        step = GRID if excess(before, noise, before, wealth, held, betas, limit) > 0 else -GRID
        low = high = before
        while (excess(high, noise, before, wealth, held, betas, limit) > 0) == (step > 0):
            low, high = high, max(high + step, high / 2)
    else:
        low, high = 1e-3, 1e3
    # excess > 0 at the lower of the two, not at the upper
    low, high = min(low, high), max(low, high)
    for _ in range(60):
        middle = (low + high) / 2
        if excess(middle, noise, before, wealth, held, betas, limit) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@compiled
def run(
    shocks: NDArray[np.float64], betas: NDArray[np.float64], limit: float, prudence: float, is_nearest: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Prices; whether a fund was at its limit at each; how often a fund closed."""
    steps, funds = len(shocks), len(betas)
    prices = np.empty(steps)
    bound = np.zeros(steps, np.bool_)
    wealth, held = np.full(funds, WEALTH), np.zeros(funds)
    average, waiting = np.zeros(funds), np.zeros(funds, np.int64)
    recent = np.zeros(VOLATILITY_STEPS)
    defaults = 0
    price, log_noise = 1.0, np.log(SHARES)
    for step in range(steps):
        log_noise = next_log_worth(log_noise, shocks[step])
        allowed = limit / (1 + prudence * recent.var())
        before = price
        price = clearing(np.exp(log_noise), before, wealth, held, betas, allowed, is_nearest)
        prices[step] = price
        recent[step % VOLATILITY_STEPS] = np.log(price / before)
        for h in range(funds):
            if waiting[h]:
                waiting[h] -= 1
                if not waiting[h]:
                    wealth[h] = WEALTH
                continue
            gain = (price - before) * held[h]
            average[h] += FLOW_MEMORY * (gain / wealth[h] - average[h])
            wealth[h] += gain
            share = wanted(betas[h], allowed, price)
            bound[step] |= share == allowed
            held[h] = share * max(0.0, wealth[h]) / price
            wealth[h] += flow(average[h]) * wealth[h]
            if wealth[h] < WEALTH_OUT:
                defaults += 1
                wealth[h] = held[h] = average[h] = 0.0
                waiting[h] = STEPS_OUT
    return prices, bound, defaults
