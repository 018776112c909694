"""Withdrawals beside a debt that nobody paid: everybody has the same share, however often he asks.

The debt of most tests: 10 lots bought at 100 with 100 USD are sold at 70, and 200 are missing.
"""

import pytest

from tests.venues import ASSETS, USD, Desk, of, rulebook
from zerodebt.exchange.audit import audit
from zerodebt.exchange.audit.report import Report
from zerodebt.exchange.commands import BUY, Deposit, Withdraw
from zerodebt.exchange.custody import Custody, share_atoms
from zerodebt.exchange.events import DEFICIT, EXTERNAL, Batch, Posted
from zerodebt.exchange.oracle import Situation
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.venue import Venue

HELD, HOLE = (100 + 2000 + 100_000 + 1000) * USD, 200 * USD


def with_hole() -> tuple[Desk, int, int]:
    """A desk that holds 103,100 and owes 103,300: 300 of them to a winner who has 2000, 1000 to another."""
    desk = Desk(rulebook("book"), index=(100,))
    loser, winner, bidder, idle = desk.open(100, 2000, 100_000, 1000)
    desk.trade(loser, winner, 10, 100)
    desk.order(bidder, BUY, 10, 70)
    desk.index(70)
    assert (desk.cash(DEFICIT), desk.cash(EXTERNAL)) == (-HOLE, -HELD)
    return desk, winner, idle


@pytest.mark.spec("WFALL-06", "ATK-09")
def test_asking_again_takes_nothing_more() -> None:
    desk, _, idle = with_hole()
    share = 1000 * USD * HELD // (HELD + HOLE)
    assert desk.venue.view.withdrawable_atoms(idle) == share
    assert desk.refused(Withdraw(idle, 0, share + 1)) == RejectReason.DEFICIT_OPEN
    desk.ok(Withdraw(idle, 0, share - 5))
    assert desk.venue.view.withdrawable_atoms(idle) == 5
    desk.ok(Withdraw(idle, 0, 5))
    assert desk.venue.view.withdrawable_atoms(idle) == 0
    assert desk.refused(Withdraw(idle, 0, 1)) == RejectReason.DEFICIT_OPEN
    assert desk.cash(idle) == 1000 * USD - share


@pytest.mark.spec("ATK-09")
def test_who_comes_last_has_the_same_share() -> None:
    """Of the winner's 2300 the profit of 300 is not settled, and more than covers what his shorts require."""
    desk, winner, idle = with_hole()
    most = 2000 * USD
    desk.ok(Withdraw(idle, 0, desk.venue.view.withdrawable_atoms(idle)))
    assert desk.venue.view.withdrawable_atoms(winner) == most * HELD // (HELD + HOLE)


@pytest.mark.spec("WFALL-06")
def test_what_is_brought_in_later_has_the_share_of_everything() -> None:
    desk, _, idle = with_hole()
    share = desk.venue.view.withdrawable_atoms(idle)
    desk.ok(Withdraw(idle, 0, share))
    desk.ok(Deposit(0, idle, (share,)))
    brought = HELD + share
    again = (1000 * USD + share) * brought // (brought + HOLE) - share
    assert desk.venue.view.withdrawable_atoms(idle) == again < share


def test_other_assets_have_no_hole() -> None:
    desk, _, idle = with_hole()
    desk.ok(Deposit(1, idle, (7,)))
    desk.ok(Withdraw(idle, 1, 7))
    assert not desk.state.left_beside_hole


def test_without_a_hole_nothing_is_remembered() -> None:
    desk = Desk(index=(100,))
    (account,) = desk.open(1000)
    desk.ok(Withdraw(account, 0, 400 * USD))
    assert desk.venue.view.withdrawable_atoms(account) == 600 * USD
    assert not desk.state.left_beside_hole


@pytest.mark.parametrize(
    ("custody", "most", "share"),
    [
        (Custody(1000, 0), 550, 550),
        (Custody(1000, 100, is_shut=True), 550, 0),
        (Custody(1000, 100), 550, 550 * 1000 // 1100),
        (Custody(0, 100), 50, 0),
        # One of two who are owed 550 each has taken his 500; then 300 more are missing: 1000 / 1400.
        (Custody(500, 400, left_atoms=500), 550, 550 * 1000 // 1400),
        (Custody(500, 400, left_atoms=500, own_atoms=500), 50, 0),
        # He had more than that, so that the last one, who is owed 300, finds too little.
        (Custody(108, 400, left_atoms=892), 300, 108),
    ],
)
def test_share_is_of_what_there_was_before_anybody_left(custody: Custody, most: int, share: int) -> None:
    assert share_atoms(custody, most) == share


@pytest.mark.spec("DET-02")
def test_what_has_left_is_in_the_hash_and_survives_a_restore() -> None:
    desk, _, idle = with_hole()
    desk.ok(Withdraw(idle, 0, 900 * USD))
    twin = Venue.restore(desk.rules, ASSETS, desk.instruments, desk.venue.snapshot())
    assert twin.state_hash() == desk.venue.state_hash()
    assert twin.view.withdrawable_atoms(idle) == desk.venue.view.withdrawable_atoms(idle)
    desk.state.left_beside_hole[idle] += 1
    assert twin.state_hash() != desk.venue.state_hash()


@pytest.mark.spec("MARG-05")
def test_the_oracle_says_what_the_venue_pays_out() -> None:
    desk, winner, idle = with_hole()
    desk.ok(Withdraw(idle, 0, 900 * USD))
    for account in (winner, idle):
        most = Situation.of(desk.venue, account).withdrawable_atoms()
        assert most == desk.venue.view.withdrawable_atoms(account)


def beyond_share_atoms(report: Report) -> int:
    clause = next(clause for clause in report.clauses if clause.letter == "g")
    atoms = clause.figures["withdrawn_beyond_share_atoms"]
    assert isinstance(atoms, int)
    assert clause.holds is not bool(atoms)
    return atoms


def test_the_audit_names_who_takes_more_by_asking_again() -> None:
    desk, _, idle = with_hole()
    desk.ok(Withdraw(idle, 0, desk.venue.view.withdrawable_atoms(idle)))
    assert beyond_share_atoms(audit(desk.batches)) == 0
    last, left = desk.batches[-1], desk.cash(idle)
    assert of(list(last.events), Posted)
    again = Posted("withdrawal", ((idle, 0, -left), (EXTERNAL, 0, left)))
    assert beyond_share_atoms(audit([*desk.batches, Batch(last.seq + 1, last.time_ns, (again,))])) == left
