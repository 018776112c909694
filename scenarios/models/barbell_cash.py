"""When cash from the core arrives, and what the core is worth in yen (S05).

Two small worlds. A margin account, hour by hour for a quarter: a position of `leverage` times its margin;
below half of the initial margin ratio it is called, the core is sold for what restores the ratio, and
without cash or recovery by the deadline it is liquidated; below a quarter of it at once. Then a year of the
yen: a dollar fund, hedged by one-month forwards or not. Chosen before the run: these two ratios, the
quarter, the yen rate of 0.5 %.
"""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta

import numpy as np

from zerodebt.agents.barbell import loan_to_value
from zerodebt.agents.money_fund import TOKYO, MoneyFund, round_trip_share
from zerodebt.agents.wealth import Floats

START = datetime(2026, 1, 5, 0, 0, tzinfo=TOKYO)
"""A Monday."""
HOURS = 90 * 24
HOURS_A_YEAR = 365 * 24
DEGREES_OF_FREEDOM = 3
NEVER = 1 << 30
YEN_FOR_DOLLAR = 150.0


def measure(
    seed: int,
    *,
    only: str = "",
    paths: int = 4000,
    lag_days: int = 1,
    is_instant: bool = False,
    deadline_hours: int = 8,
    leverage: float = 5.0,
    volatility: float = 0.8,
    fx_volatility: float = 0.1,
    core_yield: float = 0.04,
    yen_rate: float = 0.005,
    hedge_ratio: float = 0.0,
    loan_to_value_start: float = 0.5,
    fx_fall: float = 0.15,
    paper_share: float = 0.0,
    failed_issuer_share: float = 0.03,
    gate_days: int = 0,
) -> Mapping[str, float]:
    """Shares of paths, yen returns, the clock of a fund.

    only                 margin, yen or fund: what an arm changes
    is_instant           cash is there within the hour, at any time: what F55 warns of counting on
    paper_share          of the fund in commercial paper, of which `failed_issuer_share` is lost
    """
    fund = MoneyFund(lag_days=lag_days, gate_days=gate_days)

    def margin() -> dict[str, float]:
        arrives = np.arange(HOURS) if is_instant else arrival_hours(fund)
        luck = np.random.default_rng([seed, 0])
        unit = luck.standard_t(DEGREES_OF_FREEDOM, (HOURS, paths)) / np.sqrt(DEGREES_OF_FREEDOM)
        returns = unit * volatility / np.sqrt(HOURS_A_YEAR)
        return margin_quarter(returns, arrives, deadline_hours, leverage)

    def yen() -> dict[str, float]:
        luck = np.random.default_rng([seed, 1])
        returns = yen_returns(luck, 25 * paths, fx_volatility, core_yield, yen_rate, hedge_ratio)
        loan_yen = loan_to_value_start * YEN_FOR_DOLLAR
        return {
            "p_yen_loss": float(np.mean(returns < 0)),
            "yen_return_p5": float(np.quantile(returns, 0.05)),
            "yen_return_mean": float(np.mean(returns)),
            "yen_return_sd": float(np.std(returns)),
            "loan_to_value": loan_to_value(loan_yen, 1.0, YEN_FOR_DOLLAR),
            "loan_to_value_after_fall": loan_to_value(loan_yen, 1.0, YEN_FOR_DOLLAR * (1 - fx_fall)),
        }

    def fund_rules() -> dict[str, float]:
        return {
            "fund_loss": paper_share * failed_issuer_share,
            "spread_round_trip": round_trip_share(YEN_FOR_DOLLAR),
            **clock(fund),
        }

    parts = {"margin": margin, "yen": yen, "fund": fund_rules}
    wanted = [only] if only else list(parts)
    return {name: value for part in wanted for name, value in parts[part]().items()}


def arrival_hours(fund: MoneyFund) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For an order in each hour since START, the first full hour at which its cash is there."""
    hours = [
        (fund.cash_at(START + timedelta(hours=hour)) - START) / timedelta(hours=1) for hour in range(HOURS)
    ]
    return np.ceil(hours).astype(np.int64)


def margin_quarter(
    returns: Floats,
    arrives: np.ndarray[tuple[int], np.dtype[np.int64]],
    deadline_hours: int,
    leverage: float,
) -> dict[str, float]:
    """Shares of accounts that were called, that missed a call, that were liquidated for whatever reason.

    returns   (hours, paths)
    arrives   for an order in each hour, the hour of its cash
    The margin is 100 at the start, the position does not change; the core's 900 pay what they can.
    """
    paths = returns.shape[1]
    initial = 1 / leverage
    units = np.full(paths, 100.0 * leverage)
    price, equity, core = np.ones(paths), np.full(paths, 100.0), np.full(paths, 900.0)
    is_open = np.ones(paths, np.bool_)
    was_called = np.zeros(paths, np.bool_)
    defaulted = np.zeros(paths, np.bool_)
    due = np.full(paths, NEVER)
    paid_at = np.full(paths, NEVER)
    on_the_way = np.zeros(paths)
    for hour, of_hour in enumerate(returns):
        moved = price * (1 + of_hour)
        equity += units * (moved - price)
        price = moved
        notional = units * price
        arrived = paid_at == hour
        equity += np.where(arrived, on_the_way, 0.0)
        paid_at[arrived] = NEVER
        is_open &= equity >= initial / 4 * notional
        is_short = is_open & (equity < initial / 2 * notional)
        due[~is_short] = NEVER
        is_new = is_short & (due == NEVER)
        due[is_new] = hour + deadline_hours
        was_called |= is_new
        orders = is_new & (paid_at == NEVER)
        amount = np.minimum(core, initial * notional - equity)
        on_the_way = np.where(orders, amount, on_the_way)
        core -= np.where(orders, amount, 0.0)
        paid_at[orders] = arrives[hour]
        at_once = orders & (arrives[hour] == hour)
        equity += np.where(at_once, on_the_way, 0.0)
        paid_at[at_once] = NEVER
        due[at_once & (equity >= initial / 2 * notional)] = NEVER
        missed = is_open & (due <= hour)
        defaulted |= missed
        is_open &= ~missed
        units[~is_open] = 0.0
    return {
        "p_called": float(was_called.mean()),
        "p_defaulted": float(defaulted.mean()),
        "p_liquidated": float((~is_open).mean()),
    }


def yen_returns(
    luck: np.random.Generator,
    paths: int,
    fx_volatility: float,
    core_yield: float,
    yen_rate: float,
    hedge_ratio: float,
) -> Floats:
    """Of a year in the dollar fund, the rate a martingale. Yields are continuous.

    Each month `hedge_ratio` of the dollars is sold forward at the parity of the two rates; the gain goes to
    the fund at the month's end.
    """
    months = 12
    dollars, rate = np.ones(paths), np.ones(paths)
    for _ in range(months):
        forward = rate * np.exp((yen_rate - core_yield) / months)
        drawn = luck.standard_normal(paths) * fx_volatility / np.sqrt(months)
        rate = rate * np.exp(drawn - fx_volatility**2 / (2 * months))
        gain_yen = hedge_ratio * dollars * (forward - rate)
        dollars = dollars * np.exp(core_yield / months) + gain_yen / rate
    return dollars * rate - 1


def clock(fund: MoneyFund) -> dict[str, float]:
    """Days from order to cash: of a Monday before and after the cut-off, of a Friday after it."""
    monday, friday = date(2026, 6, 8), date(2026, 6, 12)

    def days(day: date, at: time) -> float:
        return float((fund.cash_at(datetime.combine(day, at, TOKYO)).date() - day).days)

    return {
        "days_monday_1359": days(monday, time(13, 59)),
        "days_monday_1400": days(monday, time(14)),
        "days_friday_1500": days(friday, time(15)),
    }
