"""What the issuer and its holders do, worked by hand."""

import pytest

from zerodebt.agents.stablecoin_issuer import (
    Cooldown,
    IssuerRules,
    Paid,
    backing_yield,
    flow_daily,
    hedged_share_next,
    mintable,
    reserve_days,
    who_pays,
)

RULES = IssuerRules(flow_speed=3)


@pytest.mark.parametrize(
    ("paid", "price", "flow"),
    [
        (0.05, 1.0, 3 * 1 / 365),
        (0.00, 1.0, -3 * 4 / 365),
        (0.50, 1.0, 0.05),
        (-0.5, 1.0, -0.05),
        (0.50, 0.994, -0.05),
    ],
)
def test_holders_follow_the_yield_within_the_cap_and_run_from_a_broken_price(
    paid: float, price: float, flow: float
) -> None:
    """k = 3 a year for each 1 % above an outside yield of 4 %; 5 % a day at most; a run below .995."""
    assert flow_daily(RULES, paid, 0.04, price) == pytest.approx(flow)


def test_backing_earns_funding_on_the_hedged_part() -> None:
    assert backing_yield(0.8, -0.30, 0.04) == pytest.approx(-0.24 + 0.008)


def test_shorts_minted_stay_within_their_share_of_open_interest() -> None:
    """15 % of 1000 is 150, of which 120 are there."""
    assert mintable(RULES, 50, 120, 1000) == 30
    assert mintable(RULES, 20, 120, 1000) == 20
    assert mintable(RULES, 20, 160, 1000) == 0


def test_hedges_are_cut_by_a_tenth_a_day_while_the_week_costs() -> None:
    assert hedged_share_next(RULES, 0.8, -0.01) == pytest.approx(0.72)
    assert hedged_share_next(RULES, 0.8, 0.01) == 0.8


def test_reserve_pays_down_to_its_floor_then_the_token_then_the_rest_then_holders() -> None:
    """A need of 100 meets a reserve of 50 with a floor of 10, and tokens that bring 30."""
    assert who_pays(RULES, 100, 50, 10, 30) == Paid(40 + 10, 30, 20)
    assert who_pays(RULES, 60, 50, 10, 30) == Paid(40, 20, 0)


def test_token_is_kept_where_the_policy_is_off() -> None:
    assert who_pays(IssuerRules(sells_token=False), 60, 50, 10, 30) == Paid(50, 0, 10)


def test_reserve_of_the_venue_lasts_as_the_arithmetic_says() -> None:
    """61.84 million a day less 14,300 * .8 * .3 / 365 = 9.403 million."""
    assert reserve_days(61.84, 14_300, 0.8, -0.3) == pytest.approx(61.84 / (14_300 * 0.8 * 0.3 / 365))


def test_staked_coins_wait_for_the_cooldown_and_come_once() -> None:
    queue = Cooldown(7)
    queue.ask(5, 10.0)
    queue.ask(6, 4.0)
    assert queue.due(7 * 24 + 4) == 0.0
    assert queue.amount == 14.0
    assert queue.due(7 * 24 + 5) == 10.0
    assert queue.due(7 * 24 + 9) == 4.0
    assert queue.due(9 * 24) == 0.0
