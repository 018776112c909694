"""One or two investors, a few days, worked by hand."""

import msgspec
import numpy as np
import pytest

from zerodebt.agents.barbell import Buckets, Investors, Plan, loan_to_value


def investors(count: int = 1, **plan: object) -> Investors:
    return Investors(count, msgspec.convert(plan, Plan), np.random.default_rng(0))


def live(one: Investors, *returns: float, core_yield: float = 0.0) -> Investors:
    for value in returns:
        one.step(np.full(len(one.lever), value), core_yield)
    return one


def test_position_is_brought_back_to_its_leverage_each_day() -> None:
    one = live(investors(leverage=3.0), 0.1, -0.1)
    assert one.lever[0] == pytest.approx(100 * 1.3 * 0.7)


def test_lever_account_ends_at_nothing_and_the_core_stays() -> None:
    one = live(investors(leverage=5.0), -0.3, 0.5, core_yield=0.01)
    assert one.lever[0] == 0
    assert one.core[0] == pytest.approx(900 * 1.01**2)


def test_one_wallet_refills_below_fifty() -> None:
    """100 loses half and a bit at five times -11 %: 45; the core pays 55."""
    one = live(investors(wallet="shared"), -0.11)
    assert (one.core[0], one.lever[0]) == pytest.approx((845, 100))
    assert live(investors(wallet="shared"), -0.09).core[0] == 900


def test_one_wallet_refills_no_more_than_there_is() -> None:
    one = live(investors(wallet="shared", core=30.0), -0.2)
    assert (one.core[0], one.lever[0]) == (0, 30)


def test_pledged_core_is_not_sold_and_lends_up_to_its_limit() -> None:
    """The limit is half of 150; the first refill borrows 55, the second what is left, 20."""
    one = live(investors(wallet="level_3", core=150.0), -0.11, -0.18)
    assert (one.core[0], one.loan[0]) == (150, 75)
    assert one.lever[0] == pytest.approx(100 * 0.1 + 20)
    assert one.total[0] == pytest.approx(150 + 30 - 75)


def test_separation_in_the_mind_holds_without_hazard_and_breaks_under_a_sure_one() -> None:
    assert live(investors(wallet="level_1", breach_rate=0.0), -0.11).core_sold[0] == 0
    assert live(investors(wallet="level_1", breach_rate=1e9), -0.11).core_sold[0] == pytest.approx(55)
    assert live(investors(wallet="level_1", breach_rate=1e9), -0.05).core_sold[0] == 0, "no need"


def test_hazard_of_a_breach_rises_with_the_fall_of_core_and_lever_together() -> None:
    """All of the lever's 100 lost is a tenth of the whole: the hazard of .1 a day times exp(.6)."""
    many = live(investors(20_000, wallet="level_1", breach_rate=0.1), -0.2)
    assert np.mean(many.core_sold > 0) == pytest.approx(1 - np.exp(-0.1 * np.exp(0.6)), abs=0.01)


def test_below_70_half_is_traded_and_below_50_nothing() -> None:
    """At two times: 100 * .6 = 60, then 60 * (1 - .2) = 48 at one time, then stopped."""
    one = live(investors(leverage=2.0, shrink_below=70, stop_below=50), -0.2, -0.2, -0.2)
    assert one.lever[0] == pytest.approx(48)
    assert one.balance_at_stop[0] == pytest.approx(48)
    assert one.orders_before_recovery == 0


def test_latch_opens_only_at_recovery() -> None:
    """Stopped at 40. The yield of 12 a day is paid to the lever: 52, 64, 76; only then it trades."""
    one = investors(
        leverage=2.0, core=1200.0, payout_share=1.0, shrink_below=70, stop_below=50, restart_from=70
    )
    live(one, -0.3)
    live(one, -0.1, -0.1, -0.1, core_yield=0.01)
    assert one.lever[0] == pytest.approx(76)
    live(one, -0.1)
    assert one.lever[0] == pytest.approx(76 * 0.8)


def test_without_the_latch_trading_goes_on_after_a_day() -> None:
    one = live(investors(leverage=2.0, stop_below=50, has_latch=False), -0.3, -0.1, -0.1)
    assert one.lever[0] == pytest.approx(40 * 0.8)
    assert one.orders_before_recovery == 1


def test_late_twin_trades_on_and_each_such_day_is_a_deviation() -> None:
    late = investors(2000, delay_days_mean=2.0, leverage=2.0, shrink_below=70, stop_below=50)
    live(late, -0.3, *[-0.01] * 60)
    days_late = late.deviations
    assert days_late.mean() == pytest.approx(2.0, abs=0.2)
    assert late.balance_at_stop == pytest.approx(40 * 0.99**days_late)
    automated = live(investors(leverage=2.0, shrink_below=70, stop_below=50), -0.3, -0.01)
    assert automated.deviations[0] == 0


def test_late_twin_acts_even_if_the_balance_recovered_meanwhile() -> None:
    late = investors(200, delay_days_mean=2.0, leverage=1.0, stop_below=50)
    live(late, -0.6, 1.0, *[0.0] * 40)
    assert set(late.balance_at_stop.tolist()) == {40.0, 80.0}, "at once, or after the day of the recovery"


def test_five_losses_halve_and_a_gain_restores_ten_stop() -> None:
    one = live(investors(leverage=1.0, streak_shrink=5, streak_stop=10), *[-0.01] * 5)
    assert one.allowed_share()[0] == 0.5
    live(one, 0.01)
    assert one.allowed_share()[0] == 1
    live(one, *[-0.01] * 10)
    assert one.allowed_share()[0] == 0
    assert one.losing_run_max[0] == 10


def test_day_without_position_does_not_lengthen_a_run() -> None:
    one = live(investors(leverage=2.0, stop_below=50), -0.3, -0.1, -0.1)
    assert one.losing_run[0] == 1


def test_flag_lets_positions_run_off_and_opens_none() -> None:
    """Exposure 200, then four fifths of it each day of shock; two investors, one of them in shock."""
    two = investors(2, leverage=2.0, obeys_flag=True)
    two.step(np.zeros(2), 0.0)
    for _ in range(2):
        two.step(np.zeros(2), 0.0, np.array([True, False]))
    assert two.exposure == pytest.approx([200 * 0.8**2, 200])
    assert two.new_positions_in_shock == 0


def test_yield_is_taxed_as_it_is_earned_and_may_be_paid_out() -> None:
    one = live(investors(tax=0.2, payout_share=0.5, leverage=0.0), 0.0, core_yield=0.01)
    assert (one.core[0], one.lever[0]) == pytest.approx((900 + 3.6, 100 + 3.6))


def test_reserve_meets_the_call_before_the_core_does() -> None:
    """From 24 the reserve's 20 are enough; from 4 they leave 24, and the core pays 26; 25 is no call."""
    buckets = Buckets(3)
    buckets.trade[:] = 24, 4, 25
    assert buckets.refill(below=25, to=50).tolist() == [0, 26, 0]
    assert buckets.trade.tolist() == [44, 50, 25]
    assert buckets.reserve.tolist() == [0, 0, 20]
    assert buckets.insurance.tolist() == [30, 30, 30]


def test_dollar_falls_15_percent_below_a_yen_loan_of_half() -> None:
    assert loan_to_value(75 * 900, 900, 150 * 0.85) == pytest.approx(0.5 / 0.85)
