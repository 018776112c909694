"""The bot's ledgers on price paths of a few days, by hand."""

import numpy as np
import pytest

from zerodebt.agents.anti_martingale import Bot, bleed_days, lump_sum, play

FREE = Bot(leverage=2, take_profit=2, fee=0)


def one(*returns: float) -> np.ndarray:
    """One path."""
    return np.array(returns)[:, None]


def test_profit_is_taken_at_the_multiple_of_what_it_has_cost() -> None:
    """Day 1: 1 in, 20 % at leverage 2 -> 1.4. Day 2: 2.4 * 2 = 4.8 >= 2 * 2 in: all out."""
    book = play(one(0.2, 0.5), FREE)
    assert book.outflow[0] == pytest.approx(2.4 * 2)
    assert (book.inflow[0], book.equity[0], book.recovered_on[0]) == (2, 0, 1)
    assert book.least_left[0] == pytest.approx(4.8 - 2)
    assert book.cash_flow_return[0] == pytest.approx((4.8 - 2) / 2)


def test_after_the_profit_the_multiple_is_of_one_inflow() -> None:
    """Out 2 on day 1; day 2: 1 in, still 1 ahead, and 1 * 2 >= 2 * max(-1 + 1, 1) is out again."""
    book = play(one(0.5, 0.5), FREE)
    assert (book.outflow[0], book.peak_outlay[0], book.self_funded_days[0]) == (4, 1, 2)


def test_account_reaches_zero_and_the_rest_is_forgiven() -> None:
    """-60 % at leverage 2 is -1.2 of 1: 0.2 is forgiven, and the next day starts with one inflow."""
    book = play(one(-0.6, 0.0), FREE)
    assert (book.equity[0], book.profit[0]) == (1, pytest.approx(-1))
    assert book.forgiven[0] == pytest.approx(0.2)


def test_with_recourse_the_rest_is_owed() -> None:
    book = play(one(-0.6), FREE._replace(owes=True))
    assert book.equity[0] == pytest.approx(-0.2)
    assert book.forgiven[0] == 0
    assert book.cash_flow_return[0] == pytest.approx(-1.2)


def test_only_the_martingale_puts_in_more_after_losses() -> None:
    """After two losing days it puts in 4, after the winning one 1 again."""
    fall = one(-0.01, -0.01, 0.01, 0.0)
    assert play(fall, FREE).inflow[0] == 4
    assert play(fall, FREE._replace(doublings=6)).inflow[0] == 1 + 2 + 4 + 1
    assert play(fall, FREE._replace(doublings=1)).inflow[0] == 1 + 2 + 2 + 1


def test_fraction_and_fee_count_on_what_is_staked() -> None:
    """A fifth of 1 at leverage 2, less 0.01 of the stake, or of twice the stake."""
    bot = Bot(2, 10, fraction=0.2, fee=0.01)
    assert play(one(0.1), bot).equity[0] == pytest.approx(1 + 0.2 * (2 * 0.1 - 0.01))
    notional = play(one(0.1), bot._replace(fee_on_notional=True))
    assert notional.equity[0] == pytest.approx(1 + 0.2 * 2 * (0.1 - 0.01))


def test_purse_ends() -> None:
    """Two inflows are lost on two days; on the third there is nothing to put in."""
    book = play(one(-0.9, -0.9, -0.9), FREE._replace(purse=2))
    assert (book.inflow[0], book.equity[0], book.is_ruined[0]) == (2, 0, True)
    assert not play(one(-0.9, -0.9), FREE._replace(purse=2)).is_ruined[0]


def test_bleeding_takes_wealth_over_net_loss_days() -> None:
    assert bleed_days(100, 5, 1, 1000) == 100 / (5 - 1)
    assert bleed_days(100, 1, 1, 1000) is None


def test_lump_sum_compounds() -> None:
    assert lump_sum(one(0.5, 0.5))[0] == pytest.approx(1.25)
