"""Pools by instrument and shared losses: honest runs agree, and what a dishonest one makes of them is named.

The bankrupt account of the small runs bought 10 lots at 100 with 60 USD.
"""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from tests.exchange.audit.crash import crash
from tests.exchange.audit.damage import (
    Batches,
    Edit,
    audit_without,
    edited,
    posted,
    put,
    rules_broken,
    without,
)
from tests.venues import USD, Desk, future, perpetual, rulebook
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import BUY, SELL, Deposit, SetLeverage, SettleInstrument
from zerodebt.exchange.events import INSURANCE
from zerodebt.exchange.rules import InsuranceRules, SocialiseRules, VenueRules

RICH = 10_000_000
TWO = (perpetual(), perpetual("ETH"))
BY_INSTRUMENT: dict[str, Any] = {"insurance": {"scope": "instrument"}}


def two_pools(fund_usd: int, *waterfall: str, **tables: Any) -> Desk:
    """20 lots in the first instrument and 10 in the second miss 90 at 90."""
    desk = Desk(rulebook(*waterfall, **BY_INSTRUMENT | tables), TWO, index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (fund_usd * USD + 1,)))
    account, maker = desk.open(210, RICH)
    desk.trade(account, maker, 20, 100)
    desk.trade(account, maker, 10, 100, instrument=1)
    desk.index(90, 90)
    return desk


def settled() -> Desk:
    """Settled at 85 the account misses 90; shorts of 6 and 4 have won 90 and 60, one elsewhere nothing."""
    desk = Desk(rulebook("book", "settlement_haircut"), (future(), perpetual()), index=(100, 100))
    account, six, four, other, loser = desk.open(60, RICH, RICH, RICH, 1000)
    desk.trade(account, six, 6, 100)
    desk.trade(account, four, 4, 100)
    desk.trade(loser, other, 4, 100, instrument=1)
    desk.ok(SettleInstrument(0, 85))
    return desk


def spread() -> Desk:
    """40 are missing: two cross positions pay, an isolated one as far as its margin reaches."""
    rules = rulebook("book", "socialise", socialise={"form": "funding_index"})
    desk = Desk(rules, TWO, index=(100, 100))
    account, long, alone, maker = desk.open(60, 1000, 1000, RICH)
    desk.ok(SetLeverage(alone, 0, 20, "isolated"))
    desk.trade(account, maker, 10, 100)
    desk.trade(long, maker, 12, 100)
    desk.order(maker, BUY, 8, 100)
    desk.order(alone, SELL, 8, 100, tif="fok")
    desk.order(long, BUY, 10, 90)
    desk.index(90, 100)
    return desk


def test_two_pools_bear_their_parts_of_what_they_take() -> None:
    report = audit(two_pools(200, "book", "insurance", "adl").batches)
    assert report.findings == ()
    assert report.paid_by_stage == {"insurance": 90 * USD}


def test_an_account_that_one_pool_cannot_bear_is_deleveraged() -> None:
    report = audit(two_pools(2 * 59, "book", "insurance", "adl").batches)
    assert report.findings == ()
    assert set(report.paid_by_stage) == {"adl"}


def test_pools_may_take_the_positions_only_up_to_the_cap() -> None:
    capped = {"insurance": {"scope": "instrument", "net_notional_max_atoms": 1000 * USD}}
    desk = two_pools(200, "book", "insurance", "adl", **capped)
    assert audit(desk.batches).findings == ()
    opened = desk.batches[0].events[0]
    assert isinstance(opened, says.Opened)
    claimed = structs.replace(opened.rules, insurance=InsuranceRules(scope="instrument"))
    report = audit(put(desk.batches, 0, [structs.replace(opened, rules=claimed)]))
    assert rules_broken(report) == {"WFALL-01"}


def test_a_pool_stays_with_its_settled_instrument() -> None:
    desk = Desk(
        rulebook("book", "insurance", "adl", **BY_INSTRUMENT), (future(), perpetual()), index=(100, 100)
    )
    desk.ok(Deposit(0, INSURANCE, (100 * USD,)))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100)
    desk.index(90, 100)
    desk.ok(SettleInstrument(0, 92))
    assert audit(desk.batches).findings == ()
    left = desk.cash(INSURANCE, 2)
    assert left == (50 - 40 + 20) * USD
    moved = says.Posted("isolate", ((INSURANCE, 2, -left), (INSURANCE, 0, left)))
    last = len(desk.batches) - 1
    report = audit(put(desk.batches, last, [*desk.batches[last].events, moved]))
    assert "(f)" in rules_broken(report)


def test_every_open_lot_pays_the_same() -> None:
    report = audit(spread().batches)
    assert report.findings == ()
    assert report.paid_by_stage == {"socialise": 40 * USD}


def test_winners_of_a_settlement_pay_for_its_losers() -> None:
    report = audit(settled().batches)
    assert report.findings == ()
    assert report.paid_by_stage == {"settlement_haircut": 90 * USD}


def from_the_other(event: says.Posted) -> tuple[tuple[int, int, int], ...]:
    """The same payment out of the other of two pools."""
    return tuple((a, 5 - p if a == INSURANCE else p, atoms) for a, p, atoms in event.legs)


def an_atom_on(event: says.Posted) -> tuple[tuple[int, int, int], ...]:
    *rest, (a, p, x), (b, q, y) = event.legs
    return (*rest, (a, p, x - 1), (b, q, y + 1))


RUNS: dict[str, Callable[[], Batches]] = {
    "two pools": lambda: two_pools(200, "book", "insurance", "adl").batches,
    "open lots": lambda: spread().batches,
    "settled": lambda: settled().batches,
    "crash": lambda: crash("pools by instrument", 1).batches,
    "crash of lots": lambda: crash("every open lot pays", 1).batches,
}

SABOTAGES: dict[str, tuple[str, str, Edit]] = {
    "the last pool gets the odd atom": (
        "LEDG-03",
        "two pools",
        edited(says.Posted, posted("endowment"), legs=an_atom_on),
    ),
    "the pools get nothing": ("LEDG-03", "two pools", without(says.Posted, posted("endowment"))),
    "a pool pays for another instrument": (
        "(f)",
        "two pools",
        edited(says.Posted, posted("insurance"), legs=from_the_other),
    ),
    "the surplus goes to another pool": (
        "LEDG-03",
        "crash",
        edited(
            says.Posted,
            posted("surplus"),
            legs=lambda event: tuple((a, 0 if a == INSURANCE else p, x) for a, p, x in event.legs),
        ),
    ),
    "the fee goes to the fund's wallet": (
        "LEDG-03",
        "crash",
        edited(
            says.Posted,
            lambda event: event.reason == "fill" and any(a == INSURANCE for a, _, _ in event.legs),
            legs=lambda event: tuple((a, 0 if a == INSURANCE else p, x) for a, p, x in event.legs),
        ),
    ),
    "a status of what is no pool": ("WFALL-01", "crash", edited(says.PoolStatus, pocket=lambda _: 1)),
    "a holder pays an atom more": (
        "WFALL-08",
        "open lots",
        edited(says.StagePaid, atoms=lambda event: event.atoms + 1),
    ),
    "a holder is said to hold more": (
        "WFALL-08",
        "open lots",
        edited(says.StagePaid, base_atoms=lambda event: (event.base_atoms or 0) + 1),
    ),
    "an isolated position pays from the wallet": (
        "(f)",
        "open lots",
        edited(
            says.Posted,
            lambda event: event.reason == "socialise" and event.legs[0][1] != 0,
            legs=lambda event: tuple((a, 0, x) for a, _, x in event.legs),
        ),
    ),
    "a winner's profit was another": (
        "WFALL-08",
        "settled",
        edited(says.StagePaid, base_atoms=lambda event: (event.base_atoms or 0) - 1),
    ),
    "a winner pays less": (
        "WFALL-08",
        "settled",
        edited(says.StagePaid, atoms=lambda event: event.atoms - 1),
    ),
    "a winner's payment is not made": (
        "(d)",
        "settled",
        without(says.Posted, posted("settlement_haircut")),
    ),
}


@pytest.mark.spec("WFALL-05", "WFALL-08")
@pytest.mark.parametrize("name", SABOTAGES)
def test_a_dishonest_pool_or_share_is_named(name: str) -> None:
    rule, run, edit = SABOTAGES[name]
    assert rule in rules_broken(audit(edit(RUNS[run]())))


def test_a_closed_pool_that_nothing_states_is_missed() -> None:
    def is_status(event: says.Event) -> bool:
        return isinstance(event, says.PoolStatus)

    batches = crash("pools by instrument", 1).batches
    assert "WFALL-01" in rules_broken(audit_without(batches, is_status))


def test_who_is_left_out_of_a_shared_loss_is_missed() -> None:
    """The house pays his part."""
    batches = crash("every open lot pays", 1).batches

    def is_sharing(event: object) -> bool:
        return isinstance(event, says.StagePaid | says.Posted) and "socialise" in (
            getattr(event, "stage", None),
            getattr(event, "reason", None),
        )

    for b, batch in enumerate(batches):
        kept = list(batch.events)
        at = next((k for k, event in enumerate(kept) if is_sharing(event)), None)
        if at is not None:
            del kept[at : at + 2]
            report = audit(put(batches, b, kept))
            assert any("still has" in finding.text for finding in report.findings)
            return
    raise AssertionError("nothing was shared")


@pytest.mark.parametrize(
    ("run", "change", "rule"),
    [
        ("two pools", lambda rules: structs.replace(rules, insurance=InsuranceRules()), "(f)"),
        ("open lots", lambda rules: structs.replace(rules, socialise=SocialiseRules()), "WFALL-08"),
        ("settled", lambda rules: structs.replace(rules, waterfall=("book",)), "WFALL-01"),
    ],
)
def test_a_run_under_another_rulebook_is_named(
    run: str, change: Callable[[VenueRules], VenueRules], rule: str
) -> None:
    batches = RUNS[run]()
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    claim = structs.replace(opened, rules=change(opened.rules))
    assert rule in rules_broken(audit(put(batches, 0, [claim])))


def test_deleveraging_past_pools_that_can_bear_the_loss_is_named() -> None:
    desk = two_pools(200, "book", "adl", "insurance")
    assert audit(desk.batches).findings == ()
    opened = desk.batches[0].events[0]
    assert isinstance(opened, says.Opened)
    claimed = structs.replace(opened.rules, waterfall=("book", "insurance", "adl"))
    report = audit(put(desk.batches, 0, [structs.replace(opened, rules=claimed)]))
    assert "WFALL-01" in rules_broken(report)


def test_what_a_deleveraging_gives_its_counterparties_is_no_payment_below_zero() -> None:
    """10 lots at 100 with 110 leave 10 at 90; at the bankruptcy price of 89 the shorts get those 10."""
    rules = rulebook("book", "adl", adl={"trigger": "unfilled", "price": "bankruptcy"})
    desk = Desk(rules, (perpetual(),), index=(100,))
    account, short = desk.open(110, RICH)
    desk.trade(account, short, 10, 100)
    desk.index(90)
    report = audit(desk.batches)
    assert report.findings == ()
    assert (report.paid_by_stage, report.paid) == ({}, ())
    assert report.received_by_stage == {"adl": (10 * (90 - 100) + 110) * USD}
    assert [(got.payer, got.atoms) for got in report.received] == [(short, 10 * USD)]
