"""Sums that the barbell's author asks to do before trading: composite, recovery, drag, call, option, V, tax.

Nothing is fitted. Where a row has a closed form, the model steps through the account and the form is the
target.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from zerodebt.agents.barbell import Investors, Plan
from zerodebt.agents.wealth import Floats
from zerodebt.scenarios.models.barbell_wallets import DAYS

TAX = 0.20315
"""Japan, on interest and dividends: 15 % national, .315 % reconstruction, 5 % local.

Source: National Tax Agency, taxation of interest and dividend income.
"""


def measure(
    seed: int, *, core_falls_too: bool = True, call_money_in_time: bool = False, paths: int = 2000
) -> Mapping[str, float]:
    v = v_path(core_falls_too, call_money_in_time)
    luck = np.random.default_rng([seed, 0])
    return {
        "composite": composite_return([(900.0, 0.04), (100.0, -0.5)]),
        **{f"recovery_{loss}": recovery(loss / 100) for loss in (10, 30, 50, 90)},
        "drag_2x_20": drag(luck, paths, 2.0, 0.2),
        "drag_3x_20": drag(luck, paths, 3.0, 0.2),
        "drag_2x_60": drag(luck, paths, 2.0, 0.6),
        "call_days_off": call_days_off(),
        **option_worst(),
        "shared_less_segregated": v.shared - v.segregated,
        "over_sold_times_leg": (v.segregated - v.shared) / (v.sold * V_UP),
        **taxed(),
    }


def composite_return(parts: list[tuple[float, float]]) -> float:
    """Of (amount, simple return) pairs together: weights, not a sum of yields (F43)."""
    total = sum(amount for amount, _ in parts)
    return sum(amount * gain for amount, gain in parts) / total


def recovery(loss: float) -> float:
    """Gain that makes a loss good (F44), by going down and up again."""
    return 1 / (1 - loss) - 1


def drag(luck: np.random.Generator, paths: int, leverage: float, volatility: float) -> float:
    """Mean log return of a year, of a daily rebalanced fund, less `leverage` times its holding's (F45)."""
    returns = luck.standard_normal((DAYS, paths)) * volatility / np.sqrt(DAYS)
    fund: Floats = np.log1p(leverage * returns).sum(axis=0)
    held: Floats = np.log1p(returns).sum(axis=0)
    return float(np.mean(fund - leverage * held))


def call_days_off() -> float:
    """Largest difference of the day of the margin call, stepped and in closed form, over a grid (F46)."""
    return float(
        max(
            abs(stepped_call_day(fall, leverage, ratio) - call_day(fall, leverage, ratio))
            for fall in (0.001, 0.003, 0.01, 0.03)
            for leverage in (1.5, 2.0, 3.0, 5.0)
            for ratio in (0.05, 0.1, 0.15)
        )
    )


def stepped_call_day(fall: float, leverage: float, ratio: float) -> int:
    """First day on which equity is below `ratio` of the position, when the price falls by `fall` each day."""
    equity, position, day = 1.0, leverage, 0
    while equity >= ratio * position:
        equity -= position * fall
        position -= position * fall
        day += 1
    return day


def call_day(fall: float, leverage: float, ratio: float) -> int:
    """The first n with (1 - fall)^n < (leverage - 1) / (leverage (1 - ratio))."""
    return int(np.floor(np.log((leverage - 1) / (leverage * (1 - ratio))) / np.log1p(-fall))) + 1


def option_worst(sigmas: float = 5.0) -> dict[str, float]:
    """Worst result over the premium, of an option at the money when the price gaps by five sigma of its life.

    A small life volatility s: the premium is s / sqrt(2 pi) of the price (Bachelier) (F48).
    """
    volatility = 0.01
    premium = volatility / np.sqrt(2 * np.pi)
    gaps = np.linspace(-sigmas, sigmas, 1001) * volatility
    long_put = np.maximum(0.0, -gaps) - premium
    return {
        "option_long_worst": float(long_put.min() / premium),
        "option_short_worst": float(long_put.max() / premium),
    }


V_DOWN, V_UP = 0.30, 0.43


class V(NamedTuple):
    """Totals at the end of the V in one wallet and apart, and the core that one wallet sold at its foot."""

    shared: float
    segregated: float
    sold: float


def v_path(core_falls_too: bool, call_money_in_time: bool, leverage: float = 3.0) -> V:
    """80 in the fund and 20 at three times, down 30 % and up 43 % (F34).

    At the foot the account is called for its initial margin. Apart, the position is cut to what its margin
    carries. In one wallet core is sold for the call; in time, it keeps the position; late, the position was
    cut meanwhile and the cash sits in the account through the rebound.
    core_falls_too   the fund in yen goes the way of the market
    """
    core_down, core_up = (V_DOWN, V_UP) if core_falls_too else (0.0, 0.0)
    core = 80.0 * (1 - core_down)
    margin = 20.0 - 20.0 * leverage * V_DOWN
    position = 20.0 * leverage * (1 - V_DOWN)
    call = position / leverage - margin
    cut = margin * leverage
    segregated = core * (1 + core_up) + margin + cut * V_UP
    carried = position if call_money_in_time else cut
    shared = (core - call) * (1 + core_up) + call + margin + carried * V_UP
    return V(shared, segregated, call)


def taxed(core_yield: float = 0.04) -> dict[str, float]:
    """A core of 900 after a year, its yield reinvested or paid out, and taxed as it is earned (F105)."""

    def year(payout_share: float, tax: float) -> Investors:
        plan = Plan(lever=0.0, payout_share=payout_share, tax=tax)
        investor = Investors(1, plan, np.random.default_rng(0))
        for _ in range(DAYS):
            investor.step(np.zeros(1), core_yield / DAYS)
        return investor

    return {
        "core_reinvested": float(year(0.0, TAX).core[0]),
        "core_paid_out": float(year(1.0, TAX).core[0]),
        "income_paid_out": float(year(1.0, TAX).lever[0]),
        "core_untaxed": float(year(0.0, 0.0).core[0]),
    }


def put_price(strike: float, volatility: float, years: float) -> float:
    """Of a put on a price of 1, Black and Scholes without interest."""
    spread = volatility * np.sqrt(years)
    d1 = (-np.log(strike) + spread**2 / 2) / spread
    return float(strike * ndtr(spread - d1) - ndtr(-d1))
