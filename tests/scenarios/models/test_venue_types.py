"""Models of zero debt, recourse, gaps and interventions on paths worked by hand."""

import numpy as np
import pytest

from zerodebt.scenarios.models import (
    assumptions,
    capacity,
    catalogue_day,
    crash_paths,
    free_put,
    fund_sizing,
    gaps,
    gaussian_capital,
    interventions,
    negative_price,
    short_squeeze,
)
from zerodebt.scenarios.models.small_venue import USD, rulebook

# Crashes


def crash(*waterfall: str) -> crash_paths.Crash:
    return crash_paths.play(np.random.default_rng([0, 1]), rulebook(waterfall))


def test_house_pays_what_is_owed_under_recourse() -> None:
    owed, paid = crash("book", "recourse"), crash("book", "house")
    assert sum(owed.owed.values()) == paid.paid_by_stage["house"] == paid.paid > 0
    for account, atoms in owed.owed.items():
        assert paid.wealth[account] - owed.wealth[account] == atoms


def test_recourse_takes_from_the_savings_of_the_debtor() -> None:
    """Savings are a third of the margin; who owes more loses all of them, who owes nothing none."""
    owed = crash("book", "recourse")
    assert any(owed.others_change.values())
    for account, change in owed.others_change.items():
        assert -change <= owed.owed[account]
        assert (change < 0) == (owed.owed[account] > 0)


# Gaps


def test_only_new_lows_beyond_the_watched_loss_are_sent() -> None:
    """At leverage 10 the loss of 4 % is watched."""
    marks = np.array([[9700, 9500, 9550, 9400], [9900, 9800, 9700, 9650]])
    assert gaps.lows(marks, 10) == [[9500, 9400], []]


def test_leap_over_the_margin_leaves_an_over_loss_and_a_slow_fall_none() -> None:
    """10 lots at 100 USD, margin 100 USD: closed at 94, where 40 of 47 are left; at 88 it is -20."""
    slow, leap = [9700, 9400, 8800], [9700, 9700, 8800]
    assert gaps.over_losses(np.array([slow, leap]), 10) == [0, 20 * USD]


def test_margin_multiple_lies_between_leverages_by_logarithms() -> None:
    """Leverage 10, 9: from 4 % to 1 % over the multiples 1 to 10/9; 2 % is halfway."""
    assert gaps._multiple([0.04, 0.01], 0.02) == pytest.approx((1 + 10 / 9) / 2)
    assert gaps._multiple([0.04, 0.0], 0.0) == pytest.approx(10 / 9)
    assert np.isnan(gaps._multiple([0.04, 0.03], 0.02))


# Funds


def test_rich_fund_loses_what_margins_do_not_hold() -> None:
    """All longs at leverage 10: of a fall by 20 % half is theirs, 10 % of open interest the fund's."""
    shock = fund_sizing.play([10] * 20, -np.log(0.8), capacity=0, fund=10)
    assert shock.fund_loss / fund_sizing.INTEREST_ATOMS == pytest.approx(0.1, abs=1e-3)
    assert shock.by_winners == 0


def test_without_a_fund_winners_pay() -> None:
    shock = fund_sizing.play([10] * 20, -np.log(0.8), capacity=0, fund=0)
    assert (shock.fund_loss, shock.by_winners > 0) == (0, True)


# Conditions and capital


def test_condition_that_breaks_is_named() -> None:
    """100 lots at 100 USD: a gap of 15 % over a margin of 10 % is 500 USD short."""
    report = assumptions.play(("book", "insurance"), leverage=10, gap=0.15, fund=0, has_bid=True)
    assert report.residual_arose_atoms == {0: 500 * USD}
    assert assumptions.broken(report) == ["d"]


def test_segregated_owner_loses_the_margin_and_one_with_recourse_the_fall() -> None:
    value = 10_000 * USD
    loss, margin = gaussian_capital.owner_loss_atoms(("book", "adl"), 0.1, 0.25)
    assert (margin, loss) == (value // 10, value // 10)
    loss, _ = gaussian_capital.owner_loss_atoms(("book", "recourse"), 0.1, 0.25)
    assert loss == value // 4


def test_long_without_leverage_loses_more_than_all_below_zero() -> None:
    figures = negative_price.measure(0, waterfall=("book", "recourse"), entry_ticks=2000, settled_ticks=-3763)
    assert figures["loss_share"] == (20 + 37.63) / 20


# Owners and operators


def test_free_put_is_what_one_account_lacks() -> None:
    """At +20 % the short with 10 % of margin lacks 10 %; closing costs at most a tick a lot."""
    value = 10_000 * USD
    gained, margin = free_put.gain_atoms(12_000, 10, is_anonymous=True)
    assert margin == value // 10
    assert gained == pytest.approx(value // 10, abs=100 * 10**4)
    gained, _ = free_put.gain_atoms(12_000, 10, is_anonymous=False)
    assert -100 * 10**4 <= gained <= 0


def test_pay_back_gives_winners_what_deleveraging_took() -> None:
    figures = interventions.measure(0, intervention="pay_back")
    assert figures["winners_moved_usd"] == -figures["operator_moved_usd"] == figures["taken_by_adl_usd"] > 0
    assert figures["conservation_atoms"] == 0


def test_doing_nothing_moves_nothing() -> None:
    assert interventions.measure(0, intervention="none")["moved_usd"] == 0


# Books and sizes


def test_deep_book_rises_by_what_is_bought_over_its_density() -> None:
    """40 x 25 forced lots and 25 of the first buyer, 5 at each 0.25 %."""
    figures = short_squeeze.measure(0, thins=False)
    assert figures["rise"] == pytest.approx((40 * 25 + 25) / 5 * 0.0025)


def test_impact_grows_with_the_root_of_size() -> None:
    small, large = capacity.impact(np.array([1e-4, 4e-4]), 1.0)
    assert small == pytest.approx(0.6 / np.sqrt(365) * 0.01)
    assert large == pytest.approx(2 * small)
    returns = np.full(len(capacity._SIZES), 1.0)
    assert capacity.half_size(returns) == np.inf
    returns[3:] = 0.49
    assert capacity.half_size(returns) == capacity._SIZES[3]


def test_time_of_a_summary_is_seconds_after_midnight() -> None:
    assert catalogue_day._number("2025-10-10T21:16:04.5Z") == 21 * 3600 + 16 * 60 + 4.5
    assert catalogue_day._number("named") is None
    assert catalogue_day._number(True) == 1.0
