"""What a dishonest run says of its lending pool, and that the audit names it."""

from typing import Any

import pytest
from msgspec import structs

from tests.exchange.audit.damage import (
    Batches,
    Edit,
    edited,
    first,
    judged_by,
    off,
    put,
    rules_broken,
    without,
)
from tests.exchange.test_lending import (
    KINKED,
    TO_THE_HOUR_NS,
    borrower,
    fallen,
    lending_desk,
    supplier,
)
from tests.venues import USD
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import Borrow, Deposit, Redeem, Supply
from zerodebt.exchange.events import HOUSE, LENDING


def loss() -> Batches:
    """Suppliers bear what falling coins leave of a loan, and redeem what is left."""
    desk, a, b, _, _ = fallen()
    desk.ok(Redeem(a, 100))
    desk.ok(Redeem(b, 50 * USD))
    return desk.batches


def interest() -> Batches:
    """An hour's interest on 900 of 1000."""
    desk = lending_desk(lending=KINKED)
    account = supplier(desk, 1000)
    borrower(desk, 120, 900)
    desk.tick(TO_THE_HOUR_NS)
    desk.ok(Redeem(account, 50 * USD))
    return desk.batches


def legs_off(reason: str, receiver: int, by: int = 1) -> Edit:
    """The posting of a reason gives `by` atoms more to one account, taken from the first of the others."""

    def changed(event: says.Posted) -> tuple[tuple[int, int, int], ...]:
        others = [leg for leg in event.legs if leg[0] != receiver]
        account, pocket, atoms = others[0]
        legs = [(r, p, x + by) for r, p, x in event.legs if r == receiver]
        return (*legs, (account, pocket, atoms - by), *others[1:])

    return edited(says.Posted, lambda event: event.reason == reason, legs=changed)


INTEREST: dict[str, tuple[str, Edit]] = {
    "too many shares": ("LEND-01", off(says.Supplied, "share_count")),
    "too few shares": ("LEND-01", off(says.Supplied, "share_count", -1)),
    "a share redeemed for more": ("LEND-01", off(says.Redeemed, "atoms")),
    "shares redeemed that nobody has": ("LEND-01", off(says.Redeemed, "share_count", 10**12)),
    "a rate off the kink": ("LEND-01", off(says.InterestCharged, "annual_rate_ppb")),
    "an hour too many": ("LEND-01", off(says.InterestCharged, "intervals")),
    "more is owed": ("LEND-01", off(says.InterestCharged, "owed_atoms")),
    "less is lent": ("LEND-01", off(says.InterestCharged, "lent_atoms", -1)),
    "more interest": ("LEND-01", off(says.InterestCharged, "interest_atoms")),
    "another index": ("LEND-01", off(says.InterestCharged, "share_index")),
    "interest is left out": ("LEND-01", without(says.InterestCharged)),
    "the pool gets more interest": ("LEDG-03", legs_off("interest", LENDING)),
    "a supply is not announced": ("LEDG-03", without(says.Supplied)),
    "a supply is not posted": ("LEDG-03", without(says.Posted, lambda e: e.reason == "lending")),
}
LOSS: dict[str, tuple[str, Edit]] = {
    "more is written down": ("LEND-02", off(says.WrittenDown, "atoms")),
    "less is written down": ("LEND-02", off(says.WrittenDown, "atoms", -1)),
    "the index falls by less": ("LEND-02", off(says.WrittenDown, "share_index")),
    "more is left to claim": ("LEND-02", off(says.WrittenDown, "claims_atoms")),
    "nothing is written down": ("LEND-02", without(says.WrittenDown)),
    "another deficit": ("(d)", off(says.WrittenDown, "deficit_id")),
    "the stage is not armed": ("WFALL-01", without(says.StageArmed, lambda e: e.stage == "lenders")),
    "another pays": (
        "LEND-02",
        edited(says.StagePaid, lambda e: e.stage == "lenders", payer=lambda _: HOUSE),
    ),
    "the payment is not stated": ("LEND-02", without(says.StagePaid, lambda e: e.stage == "lenders")),
    "the pool pays more than it states": (
        "(d)",
        edited(
            says.Posted,
            lambda e: e.reason == "lenders",
            legs=lambda e: tuple((a, p, 2 * x) for a, p, x in e.legs),
        ),
    ),
}


@pytest.mark.parametrize("run", [interest, loss])
def test_the_honest_runs_are_agreed_with(run: Any) -> None:
    assert audit(run()).findings == ()


@pytest.mark.parametrize("name", INTEREST)
def test_dishonest_shares_and_interest_are_named(name: str) -> None:
    rule, edit = INTEREST[name]
    assert rule in rules_broken(audit(edit(interest())))


@pytest.mark.parametrize("name", LOSS)
def test_a_dishonest_write_down_is_named(name: str) -> None:
    rule, edit = LOSS[name]
    assert rule in rules_broken(audit(edit(loss())))


def test_a_loan_beyond_collateral_or_pool_is_named() -> None:
    """Its posting moves 100 USD more than the 900 that 120 coins and the pool may carry."""

    def more(event: says.Posted) -> tuple[tuple[int, int, int], ...]:
        (a, p, x), (b, q, y) = event.legs
        return (a, p, x - 200 * USD), (b, q, y + 200 * USD)

    edit = edited(says.Posted, lambda e: e.reason == "borrowing", legs=more)
    assert {"MARG-05", "LEND-01"} <= rules_broken(audit(edit(interest())))


def test_a_supply_of_margin_that_is_not_free_is_named() -> None:
    batches = interest()
    b, k, event = first(batches, says.Supplied)
    posting = batches[b].events[k + 1]
    assert isinstance(posting, says.Posted)
    more = tuple((a, p, x + (USD if x > 0 else -USD)) for a, p, x in posting.legs)
    events = list(batches[b].events)
    events[k] = structs.replace(event, atoms=event.atoms + USD, share_count=event.share_count + USD)
    events[k + 1] = structs.replace(posting, legs=more)
    assert "MARG-05" in rules_broken(audit(put(batches, b, events)))


def test_redeeming_what_is_lent_is_named() -> None:
    """150 of the 1000 instead of 50, of which 100 are not lent."""
    batches = interest()
    b, k, event = first(batches, says.Redeemed)
    posting = batches[b].events[k + 1]
    assert isinstance(posting, says.Posted)
    events = list(batches[b].events)
    events[k] = structs.replace(event, atoms=3 * event.atoms, share_count=3 * event.share_count)
    events[k + 1] = structs.replace(posting, legs=tuple((a, p, 3 * x) for a, p, x in posting.legs))
    assert "(g)" in rules_broken(audit(put(batches, b, events)))


def test_suppliers_who_are_spared_before_the_house_are_named() -> None:
    """The house paid first; the rulebook that the run claims has lenders before it."""
    desk = lending_desk("book", "house", "lenders")
    desk.ok(Deposit(0, HOUSE, (100 * USD,)))
    supplier(desk, 1000)
    borrower(desk, 100, 900)
    desk.index(100, 5)
    assert "WFALL-01" in rules_broken(judged_by(desk.batches, "book", "lenders", "house"))


def test_a_debtor_who_keeps_his_shares_is_named() -> None:
    """His own 50 are not redeemed before the deficit: the run leaves that and its posting out."""
    desk = lending_desk()
    supplier(desk, 1000)
    (debtor,) = desk.open(50)
    desk.ok(Supply(debtor, 50 * USD))
    desk.ok(Deposit(1, debtor, (100_000,)))
    desk.ok(Borrow(debtor, 900 * USD))
    desk.index(100, 5)
    b, k, _ = first(desk.batches, says.Redeemed)
    events = [*desk.batches[b].events[:k], *desk.batches[b].events[k + 2 :]]
    assert "WFALL-01" in rules_broken(audit(put(desk.batches, b, events)))


def test_a_run_under_another_rate_than_it_claims_is_named() -> None:
    batches = interest()
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    assert opened.rules.lending is not None
    cheaper = structs.replace(opened.rules.lending, slope2_ppb=opened.rules.lending.slope2_ppb - 1000)
    claimed = structs.replace(opened, rules=structs.replace(opened.rules, lending=cheaper))
    assert "LEND-01" in rules_broken(audit(put(batches, 0, [claimed])))
