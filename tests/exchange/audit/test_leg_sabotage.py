"""Both legs of a contract: honest runs agree, and what a dishonest one makes of them is named.

One tick is 1 USD and maintenance 1/40; the account in hedge mode has 1000 USD.
"""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from tests.exchange.audit.damage import Batches, Edit, edited, posted, put, rules_broken, without
from tests.exchange.test_hedge_mode import both, enter, gross_desk, hedged_desk, hedging
from tests.venues import USD, Desk, future
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.audit.witness import Audit
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Deposit,
    PlaceOrder,
    SetLeverage,
    SettleInstrument,
    Trigger,
)
from zerodebt.exchange.events import INSURANCE
from zerodebt.exchange.rules import VenueRules
from zerodebt.exchange.units import HOUR_NS

LONG_POCKET, SHORT_POCKET = 2, 3


def closed() -> Desk:
    """10 long and 4 short at 100; at 110 the short leg is closed by a reduce-only order."""
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    desk.index(110)
    enter(desk, hedger, other, "short", BUY, 4, 110)
    return desk


def funded() -> Desk:
    """10 lots a leg: what the long one pays the short one receives."""
    terms = {"premium": "mark", "interest_ppt": 10**9, "clamp_ppt": 10**12, "paid_on": "mark"}
    desk, hedger, other = hedged_desk(hedging(funding=terms))
    both(desk, hedger, other, 10, 4)
    desk.tick(HOUR_NS)
    return desk


def isolated() -> Desk:
    """Each leg has 100 USD of its own; at 91 the long one is sold."""
    desk, hedger, other = hedged_desk()
    desk.ok(SetLeverage(hedger, 0, 10, "isolated"))
    both(desk, hedger, other, 10, 10)
    desk.order(other, BUY, 10, 91)
    desk.index(91)
    return desk


def taken_over() -> Desk:
    """10 long and 90 short are 40 below zero at 113: the fund takes both legs."""
    rules = hedging("book", "insurance", "adl", liquidation={"steps": ["whole"]})
    desk, hedger, other = hedged_desk(rules)
    desk.ok(Deposit(0, INSURANCE, (10_000 * USD,)))
    both(desk, hedger, other, 10, 90)
    desk.index(113)
    return desk


def deleveraged() -> Desk:
    """The short leg of 10 has won what a long account of 10 has lost; the long leg of 5 stays."""
    desk, hedger, other = hedged_desk(hedging("book", "adl"))
    (loser,) = desk.open(100)
    desk.order(loser, BUY, 10, 100)
    desk.ok(PlaceOrder(hedger, 0, SELL, 10, 100, leg="short"))
    enter(desk, hedger, other, "long", BUY, 5)
    desk.index(80)
    return desk


def gross() -> Desk:
    """50 and 30 lots are in the tier above 60 together: 2 % of each are asked for, and 27 is too low."""
    desk, hedger, other = gross_desk(60)
    desk.ok(Deposit(0, hedger, (500 * USD,)))
    both(desk, hedger, other, 50, 30)
    desk.index(27)
    return desk


def settled() -> Desk:
    """Both legs of a future end at 90; 6 net lots lose 10 each."""
    desk, hedger, other = hedged_desk(hedging(), future())
    both(desk, hedger, other, 10, 4)
    desk.ok(SettleInstrument(0, 90))
    return desk


def stopped() -> Desk:
    """The short leg's stop closes it at 120, and not the long one."""
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    desk.ok(PlaceOrder(hedger, 0, BUY, 4, None, trigger=Trigger("stop", "mark", 120), leg="short"))
    desk.order(other, SELL, 4, 120)
    desk.index(120)
    return desk


RUNS: dict[str, Callable[[], Desk]] = {
    run.__name__: run for run in (closed, funded, isolated, taken_over, deleveraged, gross, settled, stopped)
}


@pytest.mark.spec("POS-03", "LEDG-01", "LEDG-02")
@pytest.mark.parametrize("name", RUNS)
def test_an_honest_run_with_two_legs_agrees(name: str) -> None:
    desk = RUNS[name]()
    report = audit(desk.batches)
    assert report.findings == ()
    assert report.holdings_digest == desk.venue.view.statement().holdings_digest


def test_lots_are_kept_by_leg() -> None:
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    witness = Audit()
    for batch in desk.batches:
        witness.feed(batch)
    assert witness.lots() == {(hedger, 0): 10, (hedger, 1): -4, (other, 0): 4 - 10}


def into_the_other(event: says.Posted) -> tuple[tuple[int, int, int], ...]:
    """The same posting to the pocket of the other leg."""
    swapped = {LONG_POCKET: SHORT_POCKET, SHORT_POCKET: LONG_POCKET}
    return tuple(
        (account, swapped.get(pocket, pocket) if account > INSURANCE else pocket, atoms)
        for account, pocket, atoms in event.legs
    )


def touches(pocket: int) -> Callable[[says.Posted], bool]:
    return lambda event: any(account >= 16 and p == pocket for account, p, _ in event.legs)


def is_order(**fields: Any) -> Callable[[says.OrderAccepted], bool]:
    return lambda event: all(getattr(event, name) == value for name, value in fields.items())


SABOTAGES: dict[str, tuple[str, str, Edit]] = {
    "profit is that of one net position": (
        # 4 lots of the short leg have lost 40; bought for a net position of 6 they would realise nothing
        "LEDG-03",
        "closed",
        lambda batches: last_fill_without_profit(batches),
    ),
    "a closing order opens the other leg": (
        "LEDG-03",
        "closed",
        edited(
            says.OrderAccepted, is_order(account=16, side=BUY, reduce_only=True), reduce_only=lambda _: False
        ),
    ),
    "an opening order is said to close": (
        "RO-01",
        "closed",
        edited(says.OrderAccepted, is_order(account=16, side=SELL), reduce_only=lambda _: True),
    ),
    "one leg's margin is given to the other": (
        "LIQ-01",
        "isolated",
        edited(says.Posted, touches(SHORT_POCKET), legs=into_the_other),
    ),
    "the other leg is liquidated": (
        "LIQ-01",
        "isolated",
        edited(says.LiquidationStarted, pocket=lambda _: SHORT_POCKET),
    ),
    "the requirement nets both legs": (
        "WFALL-01",
        "taken_over",
        edited(says.StageArmed, maintenance_atoms=lambda _: 80 * 113 * USD // 40),
    ),
    "each leg has its own tier under gross sums": (
        "LIQ-01",
        "gross",
        edited(says.LiquidationStarted, maintenance_atoms=lambda _: 80 * 27 * USD // 100),
    ),
    "funding is paid on the net position": (
        "FUND-01",
        "funded",
        edited(
            says.Posted,
            posted("funding"),
            legs=lambda event: (*event.legs[:-2], (event.legs[-2][0], 0, 0), event.legs[-1]),
        ),
    ),
    "a leg is taken over net": (
        "LIQ-04",
        "taken_over",
        edited(says.TakenOver, lots=lambda _: -80),
    ),
    "a leg is left behind": ("LIQ-04", "taken_over", without(says.TakenOver, lambda event: event.lots < 0)),
    "the long leg is deleveraged": (
        "WFALL-04",
        "deleveraged",
        edited(says.Deleveraged, lots=lambda event: -event.lots),
    ),
    "the profit of the winning leg is the net one": (
        "POS-01",
        "deleveraged",
        edited(says.Deleveraged, profit_atoms=lambda event: event.profit_atoms // 2),
    ),
    "only the net position is settled": (
        "LEDG-03",
        "settled",
        edited(says.Posted, posted("settlement"), legs=lambda event: event.legs[:2]),
    ),
    "the mode is never stated": (
        "RO-01",
        "stopped",
        without(says.PositionModeSet),
    ),
}


def last_fill_without_profit(batches: Batches) -> Batches:
    fills = [
        (b, k) for b, batch in enumerate(batches) for k, event in enumerate(batch.events) if is_fill(event)
    ]
    b, k = fills[-1]
    events: list[Any] = list(batches[b].events)
    del events[k]
    return put(batches, b, events)


def is_fill(event: says.Event) -> bool:
    return isinstance(event, says.Posted) and event.reason == "fill"


@pytest.mark.parametrize("name", SABOTAGES)
def test_what_is_wrong_with_a_leg_is_named(name: str) -> None:
    rule, run, edit = SABOTAGES[name]
    assert rule in rules_broken(audit(edit(RUNS[run]().batches)))


@pytest.mark.spec("MARG-06")
@pytest.mark.parametrize(
    "margin", [{"hedge_mode": False}, {"tier_sum": "gross"}], ids=["not offered", "marginal"]
)
def test_two_legs_that_the_rulebook_does_not_offer_are_named(margin: dict[str, Any]) -> None:
    desk, _, _ = hedged_desk()
    opened = desk.batches[0].events[0]
    assert isinstance(opened, says.Opened)
    rules: VenueRules = structs.replace(opened.rules, margin=structs.replace(opened.rules.margin, **margin))
    tiers = (opened.instruments[0].tiers[0], structs.replace(opened.instruments[0].tiers[0], lower=10))
    instruments = (structs.replace(opened.instruments[0], tiers=tiers),)
    claim = structs.replace(opened, rules=rules, instruments=instruments)
    assert "MARG-06" in rules_broken(audit(put(desk.batches, 0, [claim])))


@pytest.mark.spec("MARG-06")
def test_a_mode_that_changes_under_an_open_position_is_named() -> None:
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    last = len(desk.batches) - 1
    events = [*desk.batches[last].events, says.PositionModeSet(hedger, "net")]
    assert "MARG-06" in rules_broken(audit(put(desk.batches, last, events)))
