"""Answers about an account that holds both legs of a contract; one tick is 1 USD, maintenance is 1/40."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venues import ASSETS, USD, Desk, future, perpetual, rulebook
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder, SetPositionMode
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.oracle import PathStep, Position, Situation

RULES = rulebook("book", "insurance", margin={"hedge_mode": True})


def legs(long: int, short: int, wallet: int, *, margin: int | None = None, **changes: Any) -> Situation:
    """Both legs entered at 100, which is the mark; `margin` isolates the long one."""
    positions = [
        Position(instrument=0, lots=long, entry_ticks=100, isolated_atoms=margin and margin * USD),
        Position(instrument=0, lots=-short, entry_ticks=100),
    ]
    instrument = perpetual(price_max_ticks=400, **changes)
    return Situation(RULES, ASSETS, (instrument,), (wallet * USD, 0), positions, (100,))


def test_margin_counts_both_legs() -> None:
    standing = legs(10, 4, 50).standing()
    assert standing.maintenance_atoms == 14 * 100 * USD // 40
    assert standing.initial_atoms == 14 * 100 * USD // 20
    assert standing.equity_atoms == 50 * USD


@pytest.mark.spec("LIQ-07")
def test_liquidation_price_of_a_net_long_pair_lies_below() -> None:
    point = legs(10, 4, 50).liquidation_price(0)
    # 50 + 6 * (97 - 100) = 32 < 14 * 97 / 40 = 33.95; at 98 it is 38 against 34.3
    assert point is not None
    assert (point.ticks, point.falls) == (97, True)


def test_a_pair_without_a_net_position_is_liquidated_by_its_rising_requirement() -> None:
    situation = legs(10, 10, 60)
    point = situation.liquidation_price(0)
    # 60 < 20 * p / 40 from 121 on
    assert point is not None
    assert (point.ticks, point.falls) == (121, False)
    assert situation.bankruptcy_price(0) is None


@pytest.mark.spec("LIQ-08")
def test_bankruptcy_price_of_a_pair_closes_both() -> None:
    point = legs(10, 4, 50).bankruptcy_price(0)
    # 50 + 6 * (p - 100) = 0 at 91.67; at 92 nothing is owed
    assert point is not None
    assert (point.ticks, point.falls) == (92, True)


@pytest.mark.spec("LIQ-07")
@given(long=st.integers(1, 40), short=st.integers(1, 40), wallet=st.integers(0, 2000), tiered=st.booleans())
def test_no_nearer_price_changes_the_verdict(long: int, short: int, wallet: int, tiered: bool) -> None:
    tiers = (Tier(0, 20), Tier(1500 * USD, 5)) if tiered else (Tier(0, 20),)
    situation = legs(long, short, wallet, tiers=tiers)
    now = situation.is_liquidatable_at(0, 100)
    if now:
        return
    turned = [p for p in range(1, 401) if situation.is_liquidatable_at(0, p)]
    point = situation.liquidation_price(0)
    if point is None:
        assert not turned
    else:
        assert point.ticks in turned
        assert abs(point.ticks - 100) == min(abs(p - 100) for p in turned)


@pytest.mark.spec("LIQ-07")
@given(
    long=st.integers(1, 40),
    short=st.integers(1, 40),
    wallet=st.integers(0, 2000),
    bound=st.integers(200, 4000),
    above=st.sampled_from([5, 10, 19]),
    tier_sum=st.sampled_from(["legs", "gross"]),
    may_cross_zero=st.booleans(),
)
def test_where_whole_tiers_make_the_requirement_jump_no_nearer_price_changes_the_verdict(
    long: int, short: int, wallet: int, bound: int, above: int, tier_sum: str, may_cross_zero: bool
) -> None:
    """Falling, a long pair can fail just above a tier's bound and be safe again below it."""
    rules = rulebook("book", "insurance", margin={"hedge_mode": True, "tier_sum": tier_sum})
    kind = future if may_cross_zero else perpetual
    tiers = (Tier(0, 20), Tier(bound * USD, above))
    market = kind(
        tiers=tiers, tier_form="whole", price_min_ticks=-400 if may_cross_zero else 1, price_max_ticks=400
    )
    positions = [Position(instrument=0, lots=lots, entry_ticks=100) for lots in (long, -short)]
    situation = Situation(rules, ASSETS, (market,), (wallet * USD, 0), positions, (100,))
    if situation.is_liquidatable_at(0, 100):
        return
    reach = range(market.price_min_ticks, market.price_max_ticks + 1)
    turned = [ticks for ticks in reach if situation.is_liquidatable_at(0, ticks)]
    point = situation.liquidation_price(0, BUY)
    if point is None:
        assert not turned
    else:
        assert point.ticks in turned
        assert abs(point.ticks - 100) == min(abs(ticks - 100) for ticks in turned)


@pytest.mark.spec("LIQ-07")
def test_a_price_of_zero_at_which_nothing_is_required_hides_no_price_before_it() -> None:
    """Long 10 and short 1 with 822, nothing is left at 8; at zero there is no requirement to fall below."""
    market = future(price_max_ticks=400, price_min_ticks=-400)
    positions = [Position(instrument=0, lots=lots, entry_ticks=100) for lots in (10, -1)]
    situation = Situation(RULES, ASSETS, (market,), (822 * USD, 0), positions, (31,))
    assert not situation.is_liquidatable_at(0, 0)
    point = situation.liquidation_price(0, BUY)
    # at 11 it is 822 - 9 * 89 = 21 against 11 * 11 / 40 = 3.025; at 9 it is 3 against 2.475; at 8 it is -6
    assert point is not None
    assert point.ticks == 8


@pytest.mark.spec("LIQ-07")
def test_a_single_price_above_a_tier_s_bound_is_not_jumped_over() -> None:
    """Long 20 and short 10 with 290, a tenth of more than 1800 is asked, of less a fortieth."""
    tiers = (Tier(0, 20), Tier(1800 * USD, 5))
    point = legs(20, 10, 290, tiers=tiers, tier_form="whole").liquidation_price(0)
    # at 92 it is 290 - 80 against 184 + 23; at 91 200 against 182 + 22.75; at 90 190 against 45 + 22.5
    assert point is not None
    assert (point.ticks, point.falls) == (91, True)


def test_isolated_leg_has_its_own_price_and_the_other_one_the_pools() -> None:
    situation = legs(10, 10, 200, margin=100)
    long, short = situation.liquidation_price(0, BUY), situation.liquidation_price(0, SELL)
    # 100 - 10 * (100 - p) = 10 * p / 40 at 92.3; 200 - 10 * (p - 100) = 10 * p / 40 at 117.07
    assert long is not None
    assert (long.ticks, long.falls) == (92, True)
    assert short is not None
    assert (short.ticks, short.falls) == (118, False)


def test_a_situation_of_a_running_venue_keeps_legs_and_mode() -> None:
    desk = Desk(RULES, index=(100,))
    hedger, other = desk.open(50, 1000)
    desk.ok(SetPositionMode(hedger, "hedge"))
    for leg, side, lots in ((0, BUY, 5), (1, SELL, 2)):
        desk.order(other, -side, lots, 100)
        desk.ok(PlaceOrder(hedger, 0, side, lots, 100, leg=("long", "short")[leg]))
    situation = Situation.of(desk.venue, hedger)
    assert situation.standing().maintenance_atoms == desk.requirement(hedger)
    (outcome,) = situation.what_if([PathStep((100,))])
    assert outcome.lots == (5 - 2,)
    # 50 of equity carries 1000 of value at leverage 20: 700 are there
    assert situation.largest_order(0, SELL, 100) == 3
    assert Situation.of(desk.venue, hedger).largest_order(0, BUY, 100) == 3
