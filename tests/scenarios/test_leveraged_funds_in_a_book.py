"""Noise traders' quotes and the funds' orders in a book, worked by hand."""

import numpy as np
import pytest

from zerodebt.exchange.commands import BUY, SELL
from zerodebt.scenarios.models import leveraged_funds as pure
from zerodebt.scenarios.models import leveraged_funds_in_a_book as model


def market() -> model.Market:
    found = model.Market()
    found.quote()
    return found


def test_noise_traders_quote_their_demand_curve() -> None:
    """A million lots at 1000: at 990 they want 10^9 // 990, at 1010 they keep 10^9 // 1010."""
    book = market().book
    book.check()
    assert next(book.depth(BUY)) == (990, 10**9 // 990 - 10**6)
    assert next(book.depth(SELL)) == (1010, 10**6 - 10**9 // 1010)
    assert len(list(book.depth(BUY))) == model.QUOTES


def test_noise_traders_are_on_their_curve_again_after_a_trade() -> None:
    """Who sells them the whole first level leaves them with what they want at 990."""
    one = market()
    lots = 10**9 // 990 - 10**6
    assert one.trade(SELL, lots) == (lots, lots * 990)
    assert one.worth / one.held_lots == pytest.approx(990, rel=1e-5)
    # beyond all quotes nothing is filled
    filled, _ = one.trade(SELL, 10**9)
    assert filled < 10**9
    assert one.book.best_ticks(BUY) is None


def test_fund_buys_by_mispricing_and_sells_out_when_it_is_gone() -> None:
    """2 of cash; at 960 it wants 10 * .04 of it: .8 * 10^6 // 960 lots."""
    fund = model.Fund(10.0)
    assert fund.lacking_lots(960, 5.0) == 800_000 // 960
    assert fund.lacking_lots(1001, 5.0) == 0
    fund.lots, fund.cash = 5_000, -4_000_000
    # at 800 nothing is left, at 820 it has .1 and wants 1.8 of it
    assert fund.lacking_lots(800, 5.0) == -5_000
    assert fund.lacking_lots(820, 5.0) == int(1.8 * 100_000 / 820) - 5_000


def test_fund_without_money_closes_and_starts_again() -> None:
    fund = model.Fund(10.0)
    fund.cash, fund.lots = 10_000, 0
    assert model.settle(fund, 2.0, 1000.0)
    assert fund.waiting == pure.STEPS_OUT
    for _ in range(pure.STEPS_OUT):
        assert not model.settle(fund, 2.0, 1000.0)
    assert fund.wealth(1000.0) == pytest.approx(pure.WEALTH)


def test_shares_and_cash_are_kept_in_a_round_of_trades() -> None:
    """What the funds pay and hold, the noise traders got and gave."""
    one, funds = model.Market(), [model.Fund(20.0), model.Fund(50.0)]
    one.worth = 950 * 10**6
    before = one.held_lots
    model.rebalance(one, funds, 5.0)
    assert sum(fund.lots for fund in funds) == before - one.held_lots > 0
    assert all(fund.wealth(950.0) == pytest.approx(2.0, rel=0.1) for fund in funds)


def test_same_luck_gives_the_same_prices() -> None:
    shocks = np.random.default_rng(0).standard_normal(50)
    assert model.run(shocks, 5.0, 0.0)[0].tolist() == model.run(shocks, 5.0, 0.0)[0].tolist()
