"""The second witness against sabotaged events of a cleared house: each has a property that names it."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import pytest
from msgspec import structs

from tests.exchange.test_default_fund import House
from tests.venues import T0, USD, Desk, future, rulebook
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import Report, audit
from zerodebt.exchange.commands import BUY, AuctionBid, Deposit, PlaceOrder, SettleVariation
from zerodebt.exchange.events import Batch, Event
from zerodebt.exchange.units import HOUR_NS

E = TypeVar("E")
Batches = list[Batch]


@cache
def default() -> tuple[Batch, ...]:
    """A default in which every layer pays, after a call that another member met."""
    house = House(wealth=200)
    d = house.desk
    (weak,) = d.open(20)
    d.trade(weak, house.others[2], 5, 100)
    d.index(99)
    d.ok(SettleVariation(0, 99))
    d.ok(Deposit(0, weak, (50 * USD,)))
    d.index(106)
    d.ok(SettleVariation(0, 104))
    d.tick(HOUR_NS)
    house.auction((house.others[1], 130), (house.others[2], 124))
    d.tick()
    return tuple(d.batches)


@cache
def contract() -> tuple[Batch, ...]:
    """A future with a limit and a session until the hour; it expires a day later."""
    hour = (T0 // HOUR_NS + 1) % 24 * HOUR_NS
    session = {"opens_ns": hour - HOUR_NS, "closes_ns": hour, "weekdays": list(range(7))}
    terms = {"symbol": "WTI", "limit_ticks": 20, "expires_at_ns": T0 + 24 * HOUR_NS}
    rules = rulebook("book", "house", settlement={"sessions": [session], "contracts": [terms]})
    d = Desk(rules, (future(margin_floor_atoms_per_lot=USD),), index=(100,))
    a, b = d.open(10_000, 10_000)
    d.trade(a, b, 1, 100)
    d.ok(SettleVariation(0, 100))
    d.order(b, -1, 2, 110)
    d.order(a, BUY, 1, 85)
    d.ok(PlaceOrder(a, 0, BUY, 1, 110, tif="ioc"))
    d.ok(SettleVariation(0, 110))
    d.index(104, later_ns=HOUR_NS)
    d.index(105, later_ns=23 * HOUR_NS)
    return tuple(d.batches)


def edited(batches: tuple[Batch, ...], kind: type[E], nth: int, **changes: Callable[[Any], Any]) -> Batches:
    """The run with fields of the nth event of a kind changed; without changes the event is left out."""
    out = list(batches)
    seen = 0
    for b, batch in enumerate(batches):
        for k, event in enumerate(batch.events):
            if not isinstance(event, kind):
                continue
            if seen == nth:
                fields = {name: change(event) for name, change in changes.items()}
                put: tuple[Event, ...] = (structs.replace(event, **fields),) if fields else ()
                out[b] = structs.replace(batch, events=(*batch.events[:k], *put, *batch.events[k + 1 :]))
                return out
            seen += 1
    raise AssertionError(f"the run has no {kind.__name__} number {nth}")


def named(batches: Batches) -> set[str]:
    report: Report = audit(batches)
    return {finding.rule for finding in report.findings}


def relegged(reason: str) -> Callable[[Any], Any]:
    """One atom more for the first, one less for the last: the sum stays zero."""

    def legs(event: says.Posted) -> Any:
        assert event.reason == reason
        (a, p, x), *middle, (b, q, y) = event.legs
        return ((a, p, x + 1), *middle, (b, q, y - 1))

    return legs


def nth_posted(batches: tuple[Batch, ...], reason: str) -> int:
    posted = [e.reason for batch in batches for e in batch.events if isinstance(e, says.Posted)]
    return posted.index(reason)  # type: ignore[arg-type]


def test_honest_runs_are_agreed_with_and_have_what_the_sabotages_need() -> None:
    for run in (default(), contract()):
        assert audit(run).findings == ()
    layers = [e.layer for batch in default() for e in batch.events if isinstance(e, says.LayerDrawn)]
    assert layers == [
        "defaulter_contribution",
        "house_capital",
        "contributions",
        "assessments",
        "variation_haircut",
    ]


@pytest.mark.parametrize("reason", ["variation", "contribution", "auction"])
def test_an_atom_that_goes_elsewhere_is_named(reason: str) -> None:
    broken = edited(default(), says.Posted, nth_posted(default(), reason), legs=relegged(reason))
    assert "LEDG-03" in named(broken)


SABOTAGES: dict[str, tuple[Any, int, dict[str, Callable[[Any], Any]], str]] = {
    "a settlement that is not told": (says.VariationSettled, 0, {}, "LEDG-03"),
    "a settlement at another price": (
        says.VariationSettled, 1, {"price_ticks": lambda e: e.price_ticks + 1}, "LEDG-03"
    ),
    "a call for too little": (says.MarginCalled, 0, {"called_atoms": lambda _: 1}, "MARG-08"),
    "a call that is due later": (says.MarginCalled, 0, {"due_ns": lambda e: e.due_ns + 1}, "MARG-08"),
    "a call of nobody in need": (says.MarginCalled, 0, {"account": lambda e: e.account - 1}, "MARG-08"),
    "a call that is not made": (says.MarginCalled, 0, {}, "LIQ-02"),
    "a call that ends too early": (
        says.MarginCallEnded, 0, {"equity_atoms": lambda e: e.equity_atoms - 1}, "MARG-08"
    ),
    "other members than there are": (
        says.DefaultDeclared, 0, {"contributions": lambda e: e.contributions[1:]}, "(f)"
    ),
    "a default of somebody else": (says.DefaultDeclared, 0, {"account": lambda e: e.account + 1}, "WFALL-01"),
    "a default that is not declared": (says.DefaultDeclared, 0, {}, "(d)"),
    "a better bid that did not win": (says.AuctionHeld, 0, {"refused": lambda e: ()}, "(b)"),
    "another mark in the auction": (says.AuctionHeld, 0, {"mark_ticks": lambda e: (1,)}, "(b)"),
    "a bid for something else": (
        says.AuctionHeld, 0, {"bids": lambda e: (AuctionBid(e.winner, ()), *e.bids)}, "(b)"
    ),
    "half of the portfolio": (says.AuctionHeld, 0, {"lots": lambda e: (e.lots[0] // 2,)}, "(b)"),
    "an auction at another price": (
        says.AuctionHeld, 0, {"price_ticks": lambda e: (e.price_ticks[0] + 1,)}, "LEDG-03"
    ),
    "an auction of a sound account": (says.AuctionHeld, 0, {"account": lambda e: e.account + 2}, "LIQ-04"),
    "a layer that is skipped": (says.LayerDrawn, 1, {}, "WFALL-01"),
    "a layer before its turn": (says.LayerDrawn, 1, {"layer": lambda e: "contributions"}, "(d)"),
    "other shares than are due": (
        says.LayerDrawn,
        2,
        {"shares": lambda e: ((e.shares[0][0], e.shares[0][1] + 1), *e.shares[1:])},
        "(d)",
    ),
    "a contribution that is not told": (says.Contributed, 0, {}, "LEDG-03"),
    "a contribution that is larger": (says.Contributed, 0, {"atoms": lambda e: e.atoms + 1}, "LEDG-03"),
}  # fmt: skip


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotage_of_the_default_is_named(name: str) -> None:
    kind, nth, changes, rule = SABOTAGES[name]
    if name == "a better bid that did not win":
        changes = {"bids": lambda e: (*e.bids, AuctionBid(e.winner - 1, (e.price_ticks[0] - 1,)))}
    assert rule in named(edited(default(), kind, nth, **changes))


TERMS: dict[str, tuple[Any, int, dict[str, Callable[[Any], Any]], str]] = {
    "a trade beyond the limit": (says.Filled, 1, {"price_ticks": lambda e: 121}, "BOOK-04"),
    "an order closed within the band": (says.OrderClosed, 0, {"reason": lambda e: "price_limit"}, "BOOK-15"),
    "a mark that moves at night": (says.Marked, 1, {"mark_ticks": lambda e: e.index_ticks}, "MARK-05"),
    "an expiry at another price": (says.Settled, 0, {"price_ticks": lambda e: e.price_ticks + 1}, "WFALL-05"),
    "an expiry that does not come": (says.Settled, 0, {}, "WFALL-05"),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_sabotage_of_a_contracts_terms_is_named(name: str) -> None:
    kind, nth, changes, rule = TERMS[name]
    run = contract()
    if name == "an order closed within the band":
        run = tuple(edited(run, says.VariationSettled, 1, price_ticks=lambda _: 104))
    assert rule in named(edited(run, kind, nth, **changes))


def test_a_trade_at_night_is_named() -> None:
    """The same trade an hour later."""
    run = list(contract())
    at = next(k for k, b in enumerate(run) if sum(isinstance(e, says.Filled) for e in b.events) and k > 8)
    later = [
        structs.replace(batch, time_ns=batch.time_ns + HOUR_NS if k >= at else batch.time_ns)
        for k, batch in enumerate(run)
    ]
    assert "HALT-01" in named(later)


def test_a_liquidation_before_the_call_is_due_is_named() -> None:
    run = list(default())
    at = next(k for k, b in enumerate(run) if any(isinstance(e, says.DefaultDeclared) for e in b.events))
    earlier = [
        structs.replace(batch, time_ns=batch.time_ns - HOUR_NS if k >= at else batch.time_ns)
        for k, batch in enumerate(run)
    ]
    assert "LIQ-11" in named(earlier)
