"""The rules of the lever account, each on its own: streaks, environment, lateness, drawdown, core, review.

Returns are those of S04 unless said. Chosen before the run: shock regimes begin on one day in 60 and end on
one in 20, with a yearly volatility of 160 % against 60 %; a rate cut comes between day 60 and day 180,
takes the core's yield from 5 % to 0 over 60 days, and volatility goes from 60 % to 100 % on its first day;
who chases yield raises his leverage by the share of the yield that is gone; leverage 2 for the environment
rule, 3 for what the core is, 5 otherwise. A month has 21 days.
"""

from collections.abc import Callable, Mapping

import numpy as np

from zerodebt.agents.barbell import Investors, Plan
from zerodebt.agents.wealth import Floats
from zerodebt.scenarios.models.barbell_wallets import DAYS, daily_returns

MONTH_DAYS = 21


def measure(
    seed: int,
    *,
    only: str = "",
    paths: int = 2000,
    p_loss: float = 0.5,
    obeys_flag: bool = True,
    delay_days: float = 0.0,
    assumed_volatility: float | None = None,
    keeps_amount: bool = True,
    cuts_rate: bool = True,
    chases: bool = True,
    checks_monthly: bool = True,
) -> Mapping[str, float]:
    """Figures of every rule, or of the `only` one that an arm changes."""

    def luck(k: int) -> np.random.Generator:
        return np.random.default_rng([seed, k])

    parts: dict[str, Callable[[], dict[str, float]]] = {
        "streaks": lambda: streaks(luck(0), paths, p_loss),
        "environment": lambda: environment(luck(1), paths, obeys_flag),
        "stops": lambda: stops(luck(2), paths, delay_days, assumed_volatility),
        "core": lambda: core_kept(luck(3), paths, keeps_amount),
        "chase": lambda: chase(luck(4), paths, cuts_rate, chases),
        "creep": lambda: lever_share_growth(checks_monthly),
    }
    wanted = [only] if only else list(parts)
    return {name: value for part in wanted for name, value in parts[part]().items()}


def streaks(luck: np.random.Generator, paths: int, p_loss: float, trades: int = 250) -> dict[str, float]:
    """Of investors with 250 trades of one hundred-thousandth: how many ever met the rules of 5 and of 10."""
    plan = Plan(leverage=1e-3, streak_shrink=5, streak_stop=10)
    investors = Investors(paths, plan, luck)
    for _ in range(trades):
        investors.step(np.where(luck.random(paths) < p_loss, -0.01, 0.01), 0.0)
    return {
        "p_run_5": float(np.mean(investors.losing_run_max >= 5)),
        "p_run_10": float(np.mean(investors.losing_run_max >= 10)),
    }


def environment(luck: np.random.Generator, paths: int, obeys_flag: bool) -> dict[str, float]:
    """Exposure over balance on days of shock, and what was opened then."""
    investors = Investors(paths, Plan(leverage=2.0, obeys_flag=obeys_flag), luck)
    in_shock = np.zeros(paths, np.bool_)
    unit = daily_returns(luck, paths, 1.0)
    heat: list[Floats] = []
    for day in range(DAYS):
        turns = luck.random(paths)
        in_shock = np.where(in_shock, turns >= 1 / 20, turns < 1 / 60)
        before = investors.lever
        investors.step(unit[day] * np.where(in_shock, 1.6, 0.6), 0.0, in_shock)
        heat.append((investors.exposure / np.maximum(before, 1e-12))[in_shock & (before > 0)])
    return {
        "new_positions_in_shock": float(investors.new_positions_in_shock),
        "heat_in_shock": float(np.mean(np.concatenate(heat))),
    }


def stops(
    luck: np.random.Generator, paths: int, delay_days: float, assumed_volatility: float | None
) -> dict[str, float]:
    """Where trading ended, the review, and days of trading after a close below the allowed 50.

    assumed_volatility   the stop lies at the lever's standard deviation of a month by this estimate, instead
    """
    allowed, leverage = 50.0, 5.0
    line = allowed
    if assumed_volatility is not None:
        line = 100 * max(0.0, 1 - leverage * assumed_volatility / np.sqrt(12))
    plan = Plan(leverage=leverage, shrink_below=70, stop_below=line, delay_days_mean=delay_days)
    investors = Investors(paths, plan, np.random.default_rng(luck.integers(1 << 62)))
    returns = daily_returns(luck, paths, 0.8)
    traded_below = 0
    for day in range(DAYS):
        before = investors.lever
        investors.step(returns[day], 0.0)
        traded_below += int(np.count_nonzero((before < allowed) & (investors.exposure > 0)))
    stopped = investors.balance_at_stop[~np.isnan(investors.balance_at_stop)]
    return {
        "balance_at_stop": float(stopped.mean()),
        "balance_at_stop_p5": float(np.quantile(stopped, 0.05)),
        "days_traded_below_allowed": float(traded_below),
        **investors.review(),
    }


def core_kept(luck: np.random.Generator, paths: int, keeps_amount: bool) -> dict[str, float]:
    """The core's lowest value when each month it is set to 900, or to nine tenths of all.

    An amount: what is above 900 goes to the lever, and nothing comes back.
    """
    amount, share, core_yield = 900.0, 0.9, 0.04
    core, lever = np.full(paths, amount), np.full(paths, 100.0)
    lowest = amount
    returns = daily_returns(luck, paths, 0.8)
    for day in range(DAYS):
        core = core * (1 + core_yield / DAYS)
        lever = np.maximum(0.0, lever * (1 + 3.0 * returns[day]))
        if (day + 1) % MONTH_DAYS == 0:
            total = core + lever
            core = np.minimum(core, amount) if keeps_amount else share * total
            lever = total - core
        lowest = min(lowest, float(core.min()))
    return {"core_lowest": lowest}


def chase(luck: np.random.Generator, paths: int, cuts_rate: bool, chases: bool) -> dict[str, float]:
    """Ruin of the lever account (below 1 of 100) when the rate is cut just as volatility rises."""
    investors = Investors(paths, Plan(leverage=3.0), luck)
    first_day = luck.integers(60, 180, paths)
    unit = daily_returns(luck, paths, 1.0)
    for day in range(DAYS):
        gone = np.clip((day - first_day) / 60, 0.0, 1.0) * cuts_rate
        volatility = np.where(day >= first_day, 1.0, 0.6)
        factor = 1 + gone if chases else 1.0
        investors.step(unit[day] * volatility, 0.0, leverage_factor=factor)
    return {"p_ruin": float(np.mean(investors.lever < 1))}


def lever_share_growth(checks_monthly: bool, years: int = 3) -> dict[str, float]:
    """How the lever's share of all grows while it gains 30 % a year and the yield of 4 % is added to it.

    The check sends what exceeds the first share to the core.
    """
    core, lever = 900.0, 100.0
    share = lever / (core + lever)
    highest = share
    for _ in range(12 * years):
        lever = lever * 1.3 ** (1 / 12) + core * 0.04 / 12
        highest = max(highest, lever / (core + lever))
        if checks_monthly:
            core, lever = (1 - share) * (core + lever), share * (core + lever)
    return {"lever_share_growth": highest / share}
