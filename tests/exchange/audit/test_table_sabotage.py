"""Margin tables and inverse contracts: a run that claims another table than it followed is named."""

import pytest
from msgspec import structs

from tests.exchange.audit.crash import INSTRUMENTS, TABLES, crash
from tests.exchange.audit.damage import Batches, edited, posted, put, rules_broken
from tests.venues import USD, Desk, future, perpetual, rulebook
from zerodebt.exchange import commands as ask
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.events import CLEARING, ROUNDING
from zerodebt.exchange.instruments import Instrument, Tier


def claimed(batches: Batches, instruments: tuple[Instrument, ...]) -> Batches:
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    return put(batches, 0, [structs.replace(opened, instruments=instruments)])


@pytest.mark.parametrize("name", [name for name in TABLES if name != "open interest"])
def test_a_run_under_another_margin_table_is_named(name: str) -> None:
    assert "LIQ-01" in rules_broken(audit(claimed(crash(name, 1).batches, INSTRUMENTS)))


@pytest.mark.parametrize("name", [name for name in TABLES if "inverse" in name])
def test_an_atom_of_an_inverse_trade_is_missed(name: str) -> None:
    def legs(event: says.Posted) -> tuple[tuple[int, int, int], ...]:
        (a, p, x), (b, q, y), *rest = event.legs
        return ((a, p, x + 1), (b, q, y - 1), *rest)

    batches = edited(says.Posted, posted("fill"), legs=legs)(crash(name, 1).batches)
    assert "LEDG-03" in rules_broken(audit(batches))


def test_a_withdrawal_down_to_the_maintenance_requirement_is_named() -> None:
    """10 lots at 100 and leverage 20 require 50 initially and 25 to be let alone; 60 less 20 is between."""
    desk = Desk(index=(100,))
    long, short = desk.open(60, 1000)
    desk.trade(long, short, 10, 100)
    desk.ok(ask.Withdraw(long, 0, 10 * USD))
    assert audit(desk.batches).findings == ()
    drained = edited(
        says.Posted,
        lambda event: event.reason == "withdrawal",
        legs=lambda event: tuple((a, p, 2 * atoms) for a, p, atoms in event.legs),
    )
    assert rules_broken(audit(drained(desk.batches))) == {"MARG-05"}


def test_a_withdrawal_under_open_interest_that_asks_for_more_is_named() -> None:
    """Halfway between the bounds the rate is .05 + .95 / 2: 525 of 1000; the table alone asks for 50."""
    spec = perpetual(open_interest_low_atoms=500 * USD, open_interest_high_atoms=1500 * USD)
    desk = Desk(instruments=(spec,), index=(100,))
    long, short = desk.open(600, 1000)
    desk.trade(long, short, 10, 100)
    desk.ok(ask.Withdraw(long, 0, 75 * USD))
    assert audit(desk.batches).findings == ()
    drained = edited(
        says.Posted,
        lambda event: event.reason == "withdrawal",
        legs=lambda event: tuple((a, p, 2 * atoms) for a, p, atoms in event.legs),
    )
    assert rules_broken(audit(drained(desk.batches))) == {"MARG-05"}


def settled_inverse() -> Batches:
    """Three accounts trade 10 lots of 1000 USD against one; at 7 no value is whole."""
    spec = future(contract="inverse", tick_value_atoms=1000 * USD, price_min_ticks=1, tiers=(Tier(0, 20),))
    spec = structs.replace(spec, open_interest_max_lots=10_000, size_max_lots=10_000)
    desk = Desk(rulebook("book", "adl"), (spec,), index=(7,))
    *buyers, seller = desk.open(10_000, 10_000, 10_000, 10_000)
    for buyer in buyers:
        desk.trade(buyer, seller, 10, 7)
    desk.ok(ask.SettleInstrument(0, 6))
    desk.tick()
    return desk.batches


def test_what_rounding_leaves_of_a_settled_inverse_future_is_swept_and_nothing_else() -> None:
    batches = settled_inverse()
    swept = [
        event
        for batch in batches
        for event in batch.events
        if isinstance(event, says.Posted) and event.reason == "rounding"
    ]
    assert [event.legs[0][2] for event in swept] == [2]
    assert audit(batches).findings == ()
    taken = edited(
        says.Posted,
        lambda event: event.reason == "rounding",
        legs=lambda event: ((CLEARING, event.legs[0][1], 5), (ROUNDING, 0, -5)),
    )
    assert {"LEDG-02", "(f)"} <= rules_broken(audit(taken(batches)))
