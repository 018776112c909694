"""Answers about an account that holds both legs of a contract; one tick is 1 USD, maintenance is 1/40."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venues import ASSETS, USD, Desk, perpetual, rulebook
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
