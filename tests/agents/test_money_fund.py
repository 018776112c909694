"""The fund's clock, on dates of June 2026: the 8th is a Monday, the 12th a Friday."""

from datetime import date, datetime

import pytest

from zerodebt.agents.money_fund import TOKYO, MoneyFund, round_trip_share


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 6, day, hour, minute, tzinfo=TOKYO)


@pytest.mark.parametrize(
    ("lag_days", "ordered", "cash"),
    [
        (1, at(8, 13, 59), at(9, 9)),  # Monday before the cut-off: Tuesday
        (1, at(8, 14), at(10, 9)),  # at the cut-off it is Tuesday's order
        (1, at(12, 13), at(15, 9)),  # Friday: Monday
        (1, at(12, 15), at(16, 9)),  # Friday after the cut-off is Monday's order: Tuesday
        (1, at(13, 10), at(16, 9)),  # Saturday's too
        (0, at(8, 13), at(8, 13)),  # at once, never earlier
        (0, at(8, 15), at(9, 9)),
        (3, at(10, 10), at(15, 9)),  # Wednesday: Thursday, Friday, Monday
    ],
)
def test_cash_comes_business_days_after_the_day_that_takes_the_order(
    lag_days: int, ordered: datetime, cash: datetime
) -> None:
    assert MoneyFund(lag_days=lag_days).cash_at(ordered) == cash


def test_holiday_is_no_business_day_for_order_or_payment() -> None:
    fund = MoneyFund(holidays=frozenset({date(2026, 6, 9)}))
    assert fund.cash_at(at(8, 10)) == at(10, 9)
    assert fund.cash_at(at(9, 10)) == at(11, 9), "taken on Wednesday"


def test_order_from_another_zone_is_read_in_tokyo_time() -> None:
    """Sunday 23:00 in New York is Monday noon in Tokyo."""
    assert MoneyFund().cash_at(datetime.fromisoformat("2026-06-07T23:00-04:00")) == at(9, 9)


def test_gate_adds_business_days() -> None:
    assert MoneyFund(gate_days=10).cash_at(at(8, 10)) == at(23, 9)


def test_fund_that_never_opens_is_said_so() -> None:
    shut = frozenset(date.fromordinal(date(2026, 6, 8).toordinal() + day) for day in range(70))
    with pytest.raises(ValueError, match="no business day within 60 days"):
        MoneyFund(holidays=shut).cash_at(at(8, 10))


def test_twenty_sen_to_either_side_of_150() -> None:
    assert round_trip_share(150.0) == pytest.approx(0.40 / 150)
