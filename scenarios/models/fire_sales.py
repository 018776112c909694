"""Sales that move the price against the seller: spirals, correlation out of nothing, leverage that rises.

Spirals: speculators hold x = Z - k (v - p) of an asset worth v and must have x m <= W, margin m = s + theta
(v - p), W = W0 - loss + x0 (p - v). A loss lowers the price, that lowers W (loss spiral) and raises m
(margin spiral). The first derivative is dp/dW = 1 / (k m + x dm/dp - x0).

Correlation: a fund holds pi of assets with depth D and sells the fraction f(V) of it when its value V
falls. One step's returns then have covariance S + f' (L pi (S pi)' + S pi (L pi)') + f'^2 (pi' S pi) L pi
(L pi)', L = diag(1 / D).

Leverage: a fund that sells the fraction q of its position moves the price by impact * sqrt(q). Its leverage
at market prices rises at first when it is above (1 - A) / loss, A the assets after the first sale, both
over the assets before.

Sources: Brunnermeier and Pedersen, Market Liquidity and Funding Liquidity, 2009; Cont and Wagalath, Running
for the Exit, 2013; Caccioli, Bouchaud and Farmer, Impact-adjusted valuation and the criticality of
leverage, 2012.

Ours, 2026-11-22: all constants below.
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import brentq

from zerodebt.scenarios.series import Series

VALUE, SUPPLY, DEPTH, MARGIN, MARGIN_RISE, OWNED = 100.0, 100.0, 20.0, 10.0, 0.3, 50.0
LOSS = 50.0

HOLDINGS = np.array([30.0, 20.0])
MARKET_DEPTH = np.array([50.0, 40.0])
DEVIATION = np.array([0.01, 0.015])
"""Of the assets' own returns in one step; independent."""

SALES = 100
LEVERAGES = (0.5, 0.9, 0.99, 1.01, 1.1, 2.0)
"""Over the critical one."""


def measure(seed: int, *, draws: int, selling: float, impact: float) -> Mapping[str, float]:
    """Spirals together over their parts; covariance against its formula; leverage that rises first.

    selling   f', the fraction sold for a fall of the fund's value by all of it
    impact    fall of the price, as a share, when the whole position is sold
    """
    none, margin, loss, both = (
        fall(LOSS, is_marked=a, margin_rise=b) for a in (False, True) for b in (0.0, MARGIN_RISE)
    )
    small = fall(1e-6, is_marked=True, margin_rise=MARGIN_RISE) / 1e-6
    formula = 1 / (DEPTH * MARGIN - MARGIN_RISE * SUPPLY - OWNED)
    luck = np.random.default_rng([seed, 28])
    own = luck.normal(size=(draws, 2)) * DEVIATION
    sampled = np.cov(with_sales(own, selling).T)
    expected = covariance(selling)
    known = expected != 0
    return {
        "spirals_over_parts": (both - none) / (loss + margin - 2 * none),
        "multiplier_over_formula": small / formula,
        "covariance_error": float(np.abs(sampled[known] / expected[known] - 1).max()),
        "correlation": float(sampled[0, 1] / np.sqrt(sampled[0, 0] * sampled[1, 1])),
        "wrong_signs": float(sum(rises_first(r, impact) != (r > 1) for r in LEVERAGES)),
    }


def fall(loss: float, *, is_marked: bool, margin_rise: float) -> float:
    """The price's fall after a loss of wealth that was just enough before."""

    def spare(down: float) -> float:
        wealth = SUPPLY * MARGIN - loss - (OWNED * down if is_marked else 0.0)
        return wealth - (SUPPLY - DEPTH * down) * (MARGIN + margin_rise * down)

    found: float = brentq(spare, 0.0, SUPPLY / DEPTH / 2)
    return found


def with_sales(own: Series, selling: float) -> Series:
    """Returns when the fund sells as its value falls by these returns, and buys back as it rises."""
    change = own @ HOLDINGS / HOLDINGS.sum()
    sold: Series = own + np.outer(selling * change, HOLDINGS / MARKET_DEPTH)
    return sold


def covariance(selling: float) -> Series:
    """The formula, with f' per unit of value."""
    s = np.diag(DEVIATION**2)
    slope = selling / HOLDINGS.sum()
    pushed, risk = HOLDINGS / MARKET_DEPTH, s @ HOLDINGS
    whole: Series = (
        s
        + slope * (np.outer(pushed, risk) + np.outer(risk, pushed))
        + slope**2 * (HOLDINGS @ risk) * np.outer(pushed, pushed)
    )
    return whole


def after_sale(sold: float, impact: float) -> tuple[float, float]:
    """Assets left at market, and the loss so far, over the assets before; the price falls as sales go on."""
    assets = (1 - sold) * (1 - impact * np.sqrt(sold))
    return float(assets), float(1 - assets - sold * (1 - 2 / 3 * impact * np.sqrt(sold)))


def rises_first(over_critical: float, impact: float) -> bool:
    """Is leverage, at this multiple of the critical, higher after the first of SALES equal sales?"""
    assets, loss = after_sale(1 / SALES, impact)
    before = over_critical * (1 - assets) / loss
    return assets / (1 / before - loss) > before
