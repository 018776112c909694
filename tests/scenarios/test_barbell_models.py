"""The arithmetic of the barbell's models."""

import numpy as np
import pytest

from zerodebt.agents.money_fund import MoneyFund
from zerodebt.scenarios.models.barbell_arithmetic import call_day, put_price, stepped_call_day, v_path
from zerodebt.scenarios.models.barbell_cash import HOURS, arrival_hours, margin_quarter, yen_returns
from zerodebt.scenarios.models.barbell_portfolios import forced_sales, insurance
from zerodebt.scenarios.models.barbell_rules import lever_share_growth
from zerodebt.scenarios.models.barbell_wallets import DAYS, daily_returns


def luck() -> np.random.Generator:
    return np.random.default_rng(0)


def test_returns_have_the_variance_of_the_year() -> None:
    """A sum of DAYS daily variances; the fourth moment does not exist, so the middle half is measured."""
    returns = daily_returns(luck(), 2000, 0.8)
    # Quartile of Student's t with three degrees of freedom, over its standard deviation.
    quartile = 0.7649 / np.sqrt(3) * 0.8 / np.sqrt(DAYS)
    assert np.quantile(returns, 0.75) == pytest.approx(quartile, rel=0.01)
    assert daily_returns(luck(), 10, 0.8, steps=6 * DAYS).shape == (6 * DAYS, 10)


def test_orders_of_the_first_monday_arrive_on_tuesday_and_wednesday() -> None:
    """Hour 0 is Monday midnight: until 13 h cash comes at 24 + 9, from 14 h a day later."""
    hours = arrival_hours(MoneyFund())
    assert (hours[0], hours[13], hours[14]) == (33, 33, 57)
    assert len(hours) == HOURS


@pytest.mark.parametrize(
    ("moves", "cash_after", "called", "missed", "liquidated"),
    [
        ({0: -0.11}, 99, False, False, False),  # 45 of 445 is more than a tenth
        ({0: -0.12}, 99, True, True, True),  # 40 of 440 is less, and eight hours bring nothing
        ({0: -0.12}, 8, True, False, False),  # cash in the eighth hour
        ({0: -0.12}, 9, True, True, True),
        ({0: -0.12, 5: 0.03}, 99, True, False, False),  # 53.2 of 453.2: recovered
        ({0: -0.12}, 0, True, False, False),
        ({0: -0.16}, 0, False, False, True),  # 20 of 420 is less than a twentieth: too late for any cash
    ],
)
def test_call_of_a_hand_made_path(
    moves: dict[int, float], cash_after: int, called: bool, missed: bool, liquidated: bool
) -> None:
    """Five times 100; called below a tenth of the position, due in eight hours."""
    returns = np.zeros((20, 1))
    for hour, move in moves.items():
        returns[hour] = move
    found = margin_quarter(returns, np.arange(20) + cash_after, 8, 5.0)
    assert found == {"p_called": called, "p_defaulted": missed, "p_liquidated": liquidated}


def test_still_yen_leaves_the_rate_of_the_dollar_or_of_the_yen() -> None:
    """Hedged, a month gives exp(y/12) + exp((r - y)/12) - 1 of what was there."""
    assert yen_returns(luck(), 1, 0.0, 0.04, 0.005, 0.0)[0] == pytest.approx(np.exp(0.04) - 1)
    month = np.exp(0.04 / 12) + np.exp((0.005 - 0.04) / 12) - 1
    assert yen_returns(luck(), 1, 0.0, 0.04, 0.005, 1.0)[0] == pytest.approx(month**12 - 1)


def test_call_comes_on_the_day_of_the_closed_form() -> None:
    """Three times, falling 10 % a day: equity .43, .187 against a tenth of the position: .243, .2187."""
    assert 1 - 3 * (1 - 0.9**2) > 0.1 * 3 * 0.9**2
    assert 1 - 3 * (1 - 0.9**3) < 0.1 * 3 * 0.9**3
    assert stepped_call_day(0.1, 3.0, 0.1) == call_day(0.1, 3.0, 0.1) == 3


def test_v_path_by_hand() -> None:
    """Margin 20 - 18 = 2, position 42, call 14 - 2 = 12, cut position 6; the core 56 at the foot."""
    late = v_path(core_falls_too=True, call_money_in_time=False)
    assert late.sold == pytest.approx(12)
    assert late.segregated == pytest.approx(56 * 1.43 + 2 + 6 * 0.43)
    assert late.shared == pytest.approx(44 * 1.43 + 12 + 2 + 6 * 0.43)
    in_time = v_path(core_falls_too=True, call_money_in_time=True)
    assert in_time.shared == pytest.approx(44 * 1.43 + 12 + 2 + 42 * 0.43)


def test_put_at_the_money_is_a_normal_density_away() -> None:
    """For a small s: s / sqrt(2 pi)."""
    assert put_price(1.0, 0.01, 1.0) == pytest.approx(0.01 / np.sqrt(2 * np.pi), rel=1e-4)


def test_insurance_at_a_price_without_markup_pays_more_when_it_fell() -> None:
    paid = insurance(luck(), 2000)
    assert paid["paid_over_cost_in_fall"] > paid["paid_over_cost"] > 0


def test_bottomless_reserve_never_sells_the_core() -> None:
    assert forced_sales(luck(), 200, trade=50.0, reserve=1e9)["p_core_sold"] == 0
    assert forced_sales(luck(), 200, trade=50.0, reserve=0.0)["p_core_sold"] > 0


def test_check_every_month_lets_the_share_grow_by_one_month() -> None:
    """100 * 1.3^(1/12) + 3, of that and 900."""
    lever = 100 * 1.3 ** (1 / 12) + 3
    assert lever_share_growth(True)["lever_share_growth"] == pytest.approx(lever / (lever + 900) / 0.1)
