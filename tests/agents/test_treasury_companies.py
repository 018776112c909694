"""Treasury companies' decisions in markets of two or three of them."""

from dataclasses import replace

import numpy as np
import pytest

from zerodebt.agents import treasury_companies as rules
from zerodebt.agents.treasury_companies import LARGE, MIDDLE, NEVER, TAIL, Companies

PRICES = np.array([100.0])


def three(**changes: object) -> Companies:
    """A large, a middle and a tail company: 100 coins at 100, 1000 shares, a debt of 2000 due on day 10."""
    values: dict[str, object] = {
        "tier": np.array([LARGE, MIDDLE, TAIL]),
        "coin": np.zeros(3, np.int64),
        "coins": np.full(3, 100.0),
        "shares": np.full(3, 1000.0),
        "cash": np.zeros(3),
        "puts": np.array([[10, 20]] * 3),
        "put_face": np.array([[2000.0, 0.0]] * 3),
        "conversion_price": np.full(3, 12.0),
        "failed_day": np.full(3, NEVER),
    }
    return Companies(**(values | changes))  # type: ignore[arg-type]


def test_multiple_is_the_books_price_over_net_assets() -> None:
    """(100 * 100 - 2000) / 1000 = 8 a share."""
    assert rules.multiple_of_assets(three(), PRICES, np.array([8.0, 16.0, 4.0])).tolist() == [1, 2, 0.5]


def test_nothing_is_a_multiple_of_net_assets_below_zero() -> None:
    assert rules.multiple_of_assets(three(), np.array([19.0]), np.full(3, 8.0)).tolist() == [0, 0, 0]


def test_issue_is_capped_by_the_shares_that_were_traded() -> None:
    """10 % x 20 % of 500 shares, above 1.2 alone."""
    issued = rules.shares_to_issue(three(), np.array([1.21, 1.2, 3.0]), np.full(3, 500.0))
    assert issued.tolist() == pytest.approx([10, 0, 10])


def test_a_company_that_failed_issues_nothing() -> None:
    company = three(failed_day=np.array([3, NEVER, NEVER]))
    assert rules.shares_to_issue(company, np.full(3, 2.0), np.full(3, 500.0))[0] == 0


def test_only_the_large_company_issues_converts_and_within_its_debt() -> None:
    """2 % of 10,000 a day, until debt is 15 % of it."""
    company = three(put_face=np.array([[1400.0, 0.0]] * 3))
    face = rules.converts_to_issue(company, np.full(3, 1.6), 0.6, PRICES)
    assert face.tolist() == [100, 0, 0]
    assert rules.converts_to_issue(company, np.full(3, 1.5), 0.6, PRICES).tolist() == [0, 0, 0]
    assert rules.converts_to_issue(company, np.full(3, 1.6), 0.5, PRICES).tolist() == [0, 0, 0]


def test_put_out_of_the_money_is_met_by_selling_coins_within_the_markets_volume() -> None:
    """2000 at 100 are 20 coins; 5 % of 300 traded is 15. Above 12 USD a share nobody asks for cash."""
    shares = np.array([13.0, 8.0, 8.0])
    company = replace(three(), cash=np.array([0.0, 0.0, 1500.0]))
    sold = rules.coins_to_sell(company, PRICES, shares, np.array([300.0]), 6, 5)
    assert sold.tolist() == [0, 15, 5]
    assert rules.coins_to_sell(company, PRICES, shares, np.array([300.0]), 4, 5).tolist() == [0, 0, 0]


def test_tail_sells_first_and_in_it_the_smaller() -> None:
    company = three(tier=np.array([LARGE, TAIL, TAIL]), coins=np.array([5.0, 100.0, 50.0]))
    assert rules.selling_order(company).tolist() == [2, 1, 0]


def test_company_fails_when_coins_and_cash_are_worth_less_than_its_debt_at_the_put() -> None:
    """100 coins at 19 for 2000, on the day of the put, unless it is converted."""
    low = np.array([19.0])
    assert rules.fails_today(three(), low, np.array([8.0, 8.0, 13.0]), 10).tolist() == [True, True, False]
    assert not rules.fails_today(three(), low, np.full(3, 8.0), 9).any()
    assert not rules.fails_today(three(), np.array([20.0]), np.full(3, 8.0), 10).any()


def test_put_is_paid_from_cash_or_becomes_shares_and_what_is_unpaid_is_due_tomorrow() -> None:
    """2000 / 12 shares; 500 of 2000 paid; all of it paid."""
    company = three(cash=np.array([0.0, 500.0, 3000.0]))
    after = rules.after_puts(company, np.array([13.0, 8.0, 8.0]), 10)
    assert after.debt.tolist() == [0, 1500, 0]
    assert after.shares.tolist() == pytest.approx([1000 + 2000 / 12, 1000, 1000])
    assert after.cash.tolist() == [0, 0, 1000]
    assert after.puts[1, 0] == 11


def test_share_of_net_assets_grows_only_when_sold_above_them() -> None:
    """f (q - 1) / (1 + f): two times and a tenth, a bit below and a tenth."""
    assert rules.accretion(0.1, 2.0) == pytest.approx(0.0909, abs=5e-5)
    assert rules.accretion(0.1, 0.8) == pytest.approx(-0.0182, abs=5e-5)


def test_valuation_traders_return_to_what_the_coins_trend_suggests() -> None:
    """Target 1 + .8 * .5 = 1.4; a twentieth of the way from 1."""
    moved = rules.traders_multiple_next(np.array([1.0]), np.array([0.5]), np.zeros(1))
    assert moved.tolist() == pytest.approx([1.02])


def test_drawn_debts_are_of_their_tiers() -> None:
    prices = np.array([200.0, 200.0, 200.0])
    drawn = rules.drawn(
        np.random.default_rng(0),
        prices,
        10.0,
        prices / 2,
        large=60e6,
        middle=15e6,
        tail=10e6,
        terms_follow_size=True,
        has_debt=True,
        first_put=20,
        last_put=100,
    )
    ratio = drawn.debt / (drawn.coins * 200)
    assert ratio[0] == pytest.approx(0.12, rel=1e-3)
    assert ratio[1:6].max() <= 0.051
    assert sorted(np.round(ratio[6:], 2))[-1] == pytest.approx(0.5 * 39.5 / 40, abs=0.01)
    tail = drawn.coins[6:]
    assert np.corrcoef(tail.argsort().argsort(), ratio[6:])[0, 1] < -0.6
    assert (drawn.puts[:, 0] >= 20).all()
