"""Barbells beside other portfolios: by ruin and mean, by lot, at equal volatility, with reserve, insured.

Returns as in S04 unless said. Chosen before the run: ranking with a drift of 20 % a year, ruin is a total
below 500 of 1000; futures with 20 % a year and a fixed lot; equal volatility of 24 % and a mean of 4 % for
all, share and bond of 16 % and 6 % without correlation; the reserve under a fixed position of five times
50; insurance as monthly puts at 80 %, priced at a volatility a tenth above what comes; a fall is a year
that ends 30 % lower.
"""

from collections.abc import Callable, Mapping

import numpy as np

from zerodebt.agents.barbell import Buckets, Investors, Plan
from zerodebt.agents.wealth import Floats
from zerodebt.scenarios.models.barbell_arithmetic import put_price
from zerodebt.scenarios.models.barbell_wallets import DAYS, daily_returns

MONTH_DAYS = 21
STRATEGIES = {
    "all_in": Plan(core=0.0, lever=1000.0, leverage=1.0),
    "all_in_twice": Plan(core=0.0, lever=1000.0, leverage=2.0),
    "barbell": Plan(leverage=5.0),
    "barbell_with_lines": Plan(leverage=5.0, shrink_below=70, stop_below=50),
    "one_wallet": Plan(leverage=5.0, wallet="shared"),
}


def measure(
    seed: int,
    *,
    only: str = "",
    paths: int = 4000,
    trade: float = 50.0,
    reserve: float = 20.0,
) -> Mapping[str, float]:
    """Figures of every comparison, or of the `only` one that an arm changes."""

    def luck(k: int) -> np.random.Generator:
        return np.random.default_rng([seed, k])

    parts: dict[str, Callable[[], dict[str, float]]] = {
        "ranking": lambda: ranking(luck(0), paths),
        "lots": lambda: lots(luck(1), paths),
        "volatility": lambda: equal_volatility(luck(2), paths),
        "reserve": lambda: forced_sales(luck(3), paths, trade, reserve),
        "insurance": lambda: insurance(luck(4), paths),
    }
    wanted = [only] if only else list(parts)
    return {name: value for part in wanted for name, value in parts[part]().items()}


def ranking(luck: np.random.Generator, paths: int) -> dict[str, float]:
    """Mean and ruin of each strategy, and pairs in which the better mean has the larger ruin."""
    returns = daily_returns(luck, paths, 0.8, drift=0.2)
    figures: dict[str, float] = {}
    for name, plan in STRATEGIES.items():
        investors = Investors(paths, plan, luck)
        for day in range(DAYS):
            investors.step(returns[day], 0.04 / DAYS)
        figures[f"mean_{name}"] = float(investors.total.mean())
        figures[f"p_ruin_{name}"] = float(np.mean(investors.total < 500))
    swapped = sum(
        figures[f"mean_{a}"] > figures[f"mean_{b}"] and figures[f"p_ruin_{a}"] > figures[f"p_ruin_{b}"]
        for a in STRATEGIES
        for b in STRATEGIES
    )
    return figures | {"pairs_swapped": float(swapped)}


def lots(luck: np.random.Generator, paths: int) -> dict[str, float]:
    """By how much half the lot cuts the chance of losing the whole account within a year."""
    lowest: Floats = np.minimum.accumulate(np.cumsum(daily_returns(luck, paths, 0.2), axis=0), axis=0)[-1]

    def p_ruin(leverage: float) -> float:
        return float(np.mean(1 + leverage * lowest <= 0))

    return {f"ruin_cut_{lot:g}": 1 - p_ruin(lot / 2) / p_ruin(lot) for lot in (5.0, 10.0, 20.0)}


def equal_volatility(luck: np.random.Generator, paths: int) -> dict[str, float]:
    """Chance of a year's end below 80 % of the start, of three portfolios with a volatility of 24 %."""
    volatility, mean = 0.24, 0.04
    coin = daily_returns(luck, paths, 0.8)
    share, bond = daily_returns(luck, paths, 0.16), daily_returns(luck, paths, 0.06)
    mix_volatility = np.hypot(0.6 * 0.16, 0.4 * 0.06)
    mixed = (0.6 * share + 0.4 * bond) * volatility / mix_volatility + mean / DAYS
    all_in = coin * volatility / 0.8 + mean / DAYS
    barbell = 900 * (1 + mean / DAYS) ** DAYS + 100 * _grown(3 * coin)
    below = {
        "p_below_800_barbell": float(np.mean(barbell < 800)),
        "p_below_800_all_in": float(np.mean(1000 * _grown(all_in) < 800)),
        "p_below_800_60_40": float(np.mean(1000 * _grown(mixed) < 800)),
    }
    others = min(below["p_below_800_all_in"], below["p_below_800_60_40"])
    return below | {"barbell_better_by": others - below["p_below_800_barbell"]}


def _grown(returns: Floats) -> Floats:
    """Of 1, over the days; never below zero."""
    grown: Floats = np.prod(np.maximum(0.0, 1 + returns), axis=0)
    return grown


def forced_sales(luck: np.random.Generator, paths: int, trade: float, reserve: float) -> dict[str, float]:
    """Share of paths in which the core must be sold for a margin call within a year.

    The position is the same whatever the buckets, 250 at the start; it asks for a margin of 50 when less
    than 25 is left. The reserve pays first, and as long as that leaves 25 the core is not asked.
    """
    buckets = Buckets(paths, trade=trade, reserve=reserve)
    is_sold = np.zeros(paths, np.bool_)
    price = np.ones(paths)
    for returns in daily_returns(luck, paths, 0.8):
        buckets.trade += 250 * price * returns
        price = price * (1 + returns)
        is_sold |= buckets.refill(below=25.0, to=50.0) > 0
    return {"p_core_sold": float(is_sold.mean())}


def insurance(luck: np.random.Generator, paths: int) -> dict[str, float]:
    """What the bucket's puts pay over what they cost, in years that end 30 % lower and in all years."""
    volatility, strike = 0.8, 0.8
    months = DAYS // MONTH_DAYS
    budget = Buckets(1).insurance[0]
    growth = 1 + daily_returns(luck, paths, volatility)
    monthly: Floats = growth.reshape(months, MONTH_DAYS, paths).prod(axis=1)
    puts = budget / months / put_price(strike, 1.1 * volatility, 1 / 12)
    paid = puts * np.maximum(0.0, strike - monthly).sum(axis=0)
    fell = monthly.prod(axis=0) < 0.7
    return {
        "paid_over_cost_in_fall": float(paid[fell].mean() / budget),
        "paid_over_cost": float(paid.mean() / budget),
        "p_fall": float(fell.mean()),
    }
