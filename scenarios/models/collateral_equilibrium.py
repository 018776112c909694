"""Geanakoplos's economy of one asset and one bond: the price that leverage carries, and its fall.

Agents h on [0, 1] believe that each of two news is good with probability h; each has one asset and one unit
of cash. The asset pays 1 unless both news are bad, then `low`. Loans last one period and do not default: at
the start one borrows the price after bad news, then the lowest payoff.

Source: Geanakoplos, The Leverage Cycle (2010).
"""

from collections.abc import Mapping

from scipy.optimize import brentq


def measure(_seed: int, *, low: float = 0.2) -> Mapping[str, float]:
    """Prices, marginal buyers, leverage (price over down payment) and margins. Nothing is drawn."""

    def after(a: float) -> tuple[float, float]:
        """Price after bad news and its marginal buyer, when all above `a` were wiped out.

        Cash a of all is 1/a per remaining agent; buyers (b, a) hold all assets, each bearing `low` of debt:
        price = (1 - b/a + low) / (b/a), and for the marginal buyer price = b + (1 - b) low.
        """
        b = brentq(lambda b: (1 - b / a + low) / (b / a) - b - (1 - b) * low, 1e-9, a)
        return b + (1 - b) * low, b

    def surplus(a: float) -> float:
        """Is a unit of cash worth more to `a` in the asset on margin, or kept for bad news?"""
        price_down, b = after(a)
        price = (1 - a + price_down) / a
        return a * (1 - price_down) / (price - price_down) - (a + (1 - a) * a / b)

    a = brentq(surplus, 0.6, 0.999)
    price_down, b = after(a)
    price = (1 - a + price_down) / a
    return {
        "price": price,
        "price_down": price_down,
        "buyer": a,
        "buyer_down": b,
        "leverage": price / (price - price_down),
        "leverage_down": price_down / (price_down - low),
        "margin": (price - price_down) / price,
        "margin_down": (price_down - low) / price_down,
    }
