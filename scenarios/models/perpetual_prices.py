"""What a perpetual is worth when nobody can earn a riskless profit, and who keeps it there.

The long pays funding kappa (f - x) + iota x a unit of time, x the spot. Without arbitrage
f = x (kappa - iota) / (kappa + r_b - r_a): the spot expected at an exponential time of rate kappa, times
(kappa - iota) / kappa. r_a is the rate of the quote, r_b that of the base asset; with r_b = iota = 0 it is
f = x kappa / (kappa - r_a).

Costs open a band about that price. Inside it demand moves the price as it likes; outside arbitrageurs trade
against it, as far as their capacity goes.

Sources: He, Manela, Ross and von Wachter, Fundamentals of Perpetual Futures, arXiv 2212.06888; Ackerer,
Hugonnier and Jermann, Perpetual Futures Pricing, arXiv 2310.11771.
"""

from collections.abc import Mapping

import numpy as np
from scipy.integrate import quad

from zerodebt.scenarios.series import Series

LOOKS_A_DAY = 288
"""The arbitrageur looks every five minutes."""


def measure(
    seed: int,
    *,
    kappa: float,
    quote_rate: float,
    base_rate: float,
    interest: float,
    volatility: float,
    paths: int,
    cost: float,
    demand: float,
    reversion: float,
    capacity: float,
    days: int,
) -> Mapping[str, float]:
    """Rates are a year, in logarithms; the band is in shares of the price.

    price_error   closed form less the discounted funding that replicates it, by quadrature
    error_in_se   closed form less Monte Carlo, in standard errors
    outside       share of looks at which the price stands more than `cost` from the closed form
    demand        deviation of the demand's push on the price over a day; `reversion` a day pulls it back
    capacity      the largest part of the price that the arbitrageur moves at one look
    """
    luck = np.random.default_rng([seed, 54])
    fair = price(kappa, quote_rate, base_rate, interest)
    drift = quote_rate - base_rate
    replicated, _ = quad(
        lambda t: (kappa - interest) * np.exp((drift - kappa) * t), 0, 60 / kappa, epsabs=1e-13
    )
    times = luck.exponential(1 / kappa, paths)
    spots = np.exp(
        (drift - volatility**2 / 2) * times + volatility * np.sqrt(times) * luck.standard_normal(paths)
    )
    values = spots * (kappa - interest) / kappa
    gaps = path(luck.standard_normal(days * LOOKS_A_DAY), cost, demand, reversion, capacity)
    return {
        "premium_bp": (fair - 1) * 10_000,
        "price_error": abs(replicated - fair),
        "error_in_se": abs(fair - values.mean()) / (values.std() / np.sqrt(paths)),
        "outside": float((np.abs(gaps) > cost * (1 + 1e-9)).mean()),
    }


def price(kappa: float, quote_rate: float, base_rate: float, interest: float) -> float:
    """Of the perpetual over that of the spot."""
    return (kappa - interest) / (kappa + base_rate - quote_rate)


def path(shocks: Series, cost: float, demand: float, reversion: float, capacity: float) -> Series:
    """Distance from the closed form after each look: demand pushes, then the arbitrageur trades."""
    gaps = np.empty(len(shocks))
    gap = 0.0
    for k, push in enumerate(demand / np.sqrt(LOOKS_A_DAY) * shocks):
        gap += push - reversion / LOOKS_A_DAY * gap
        beyond = max(0.0, abs(gap) - cost)
        gap -= np.sign(gap) * min(beyond, capacity)
        gaps[k] = gap
    return gaps
