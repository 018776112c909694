"""Withdrawals beside a debt that nobody paid: everybody has the same share, in however many parts he leaves.

The debt of most tests: 10 lots bought at 100 with 100 USD are sold at 70, and 200 are missing.
"""

import pytest

from tests.venues import USD, Desk, of, perpetual, rulebook, spot
from zerodebt.exchange.audit import audit
from zerodebt.exchange.audit.report import Report
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Borrow,
    Command,
    Deposit,
    Observation,
    SetLeverage,
    SetStatus,
    Supply,
    TransferMargin,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.custody import Custody, left_behind_atoms, share_atoms
from zerodebt.exchange.events import DEFICIT, EXTERNAL, UNPAID, Batch, Posted, Rejected
from zerodebt.exchange.margin import withdrawable_atoms
from zerodebt.exchange.oracle import Situation
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.units import SECOND_NS

HELD, HOLE = (100 + 2000 + 100_000 + 1000) * USD, 200 * USD


def with_hole(withdrawals: str = "share") -> tuple[Desk, int, int]:
    """A desk that holds 103,100 and owes 103,300: 300 of them to a winner who has 2000, 1000 to another."""
    desk = Desk(rulebook("book", margin={"withdrawals": withdrawals}), index=(100,))
    loser, winner, bidder, idle = desk.open(100, 2000, 100_000, 1000)
    desk.trade(loser, winner, 10, 100)
    desk.order(bidder, BUY, 10, 70)
    desk.index(70)
    assert (desk.cash(DEFICIT), desk.cash(EXTERNAL)) == (-HOLE, -HELD)
    return desk, winner, idle


@pytest.mark.spec("WFALL-06", "ATK-09")
def test_who_leaves_in_parts_gets_no_more_than_who_leaves_at_once_and_takes_from_nobody() -> None:
    """Each part leaves the rest of its claim behind, rounded up: at most an atom is lost with each."""
    desk, winner, idle = with_hole()
    view = desk.venue.view
    shares = [claim * USD * HELD // (HELD + HOLE) for claim in (1000, 2000)]
    assert [view.withdrawable_atoms(account) for account in (idle, winner)] == shares
    assert desk.refused(Withdraw(idle, 0, shares[0] + 1)) == RejectReason.DEFICIT_OPEN
    taken, parts = 0, [shares[0] // 3] * 2
    for part in parts:
        desk.ok(Withdraw(idle, 0, part))
        taken += part
    while most := view.withdrawable_atoms(idle):
        desk.ok(Withdraw(idle, 0, most))
        taken += most
        parts.append(most)
    assert len(parts) <= 4
    assert shares[0] - len(parts) <= taken <= shares[0]
    assert shares[1] <= view.withdrawable_atoms(winner) <= shares[1] + len(parts)
    assert desk.cash(UNPAID) + desk.cash(idle) == 1000 * USD - taken
    assert desk.cash(DEFICIT) == -HOLE, "what nobody paid is as large as before"
    report = audit(desk.batches)
    assert report.findings == ()
    assert report.residual_open_atoms == {0: HOLE}


@pytest.mark.spec("ATK-09")
def test_who_loses_the_rest_to_an_accomplice_takes_no_second_share() -> None:
    """He sells 10 lots at 70 to another account of his and buys them back at 72, after he was paid."""
    desk, _, idle = with_hole()
    view = desk.venue.view
    (accomplice,) = desk.open(100)
    alone = view.withdrawable_atoms(accomplice)
    once = view.withdrawable_atoms(idle) + alone
    taken = view.withdrawable_atoms(idle) - 100 * USD
    desk.ok(Withdraw(idle, 0, taken))
    desk.trade(accomplice, idle, 10, 70)
    desk.trade(idle, accomplice, 10, 72)
    assert view.withdrawable_atoms(accomplice) > alone + 19 * USD
    for account in (idle, accomplice):
        most = view.withdrawable_atoms(account)
        desk.ok(Withdraw(account, 0, most))
        taken += most
    assert once - 3 <= taken <= once


@pytest.mark.spec("ATK-09")
def test_where_withdrawals_run_the_first_takes_all_and_custody_ends_it() -> None:
    """Of 103,100 the bidder's 100,000 and 1000 leave in full; 2100 are there for what is left."""
    desk, winner, idle = with_hole("open")
    view = desk.venue.view
    bidder = winner + 1
    desk.order(bidder, BUY, 10, 70)
    desk.trade(winner, bidder, 10, 70)
    desk.ok(Withdraw(idle, 0, 1000 * USD))
    desk.ok(Withdraw(bidder, 0, view.withdrawable_atoms(bidder)))
    left = -desk.cash(EXTERNAL)
    assert view.withdrawable_atoms(winner) == left == withdrawable_atoms(desk.state, winner) - HOLE
    (refused,) = desk.do(Withdraw(winner, 0, left + 1))
    assert isinstance(refused, Rejected)
    assert refused.reason == RejectReason.DEFICIT_OPEN
    assert refused.detail == f"{left + 1} atoms asked, {left} is all that is in custody"
    assert desk.cash(UNPAID) == 0
    report = audit(desk.batches)
    assert report.findings == ()
    assert report.verdict == "RESIDUAL"


@pytest.mark.spec("WFALL-06")
def test_what_is_brought_in_later_has_the_share_of_everything() -> None:
    """Who has left has borne his part; what is missing still is 200 less that."""
    desk, _, idle = with_hole()
    share = desk.venue.view.withdrawable_atoms(idle)
    desk.ok(Withdraw(idle, 0, share))
    borne, held = desk.cash(UNPAID), HELD - share
    assert borne == 1000 * USD - share - desk.cash(idle) > 0
    desk.ok(Deposit(0, idle, (share,)))
    claim, held = desk.cash(idle), held + share
    again = claim * held // (held + HOLE - borne)
    assert desk.venue.view.withdrawable_atoms(idle) == again < share


@pytest.mark.parametrize("asset", [0, 1])
def test_without_a_hole_in_its_asset_nothing_is_left_behind(asset: int) -> None:
    desk = Desk(index=(100,)) if asset == 0 else with_hole()[0]
    (account,) = desk.open(1000)
    desk.ok(Deposit(1, account, (7,)))
    atoms = (400 * USD, 7)[asset]
    desk.ok(Withdraw(account, asset, atoms))
    assert desk.cash(UNPAID) == 0
    assert desk.cash(account) == (1000 * USD - atoms, 1000 * USD)[asset]


@pytest.mark.parametrize(
    ("custody", "most", "share", "left_behind"),
    [
        (Custody(1000, 0), 550, 550, 0),
        (Custody(1000, 100, is_shut=True), 550, 0, 0),
        (Custody(1000, 100), 550, 500, 50),
        (Custody(1000, 100), 549, 549 * 1000 // 1100, -(-499 * 100 // 1000)),
        (Custody(0, 100), 50, 0, 0),
        # Two are owed 550 each; one has his 500, then 300 more are missing: 500 of 500 + 50 + 300.
        (Custody(500, 350), 550, 550 * 500 // 850, -(-323 * 350 // 500)),
        (Custody(1000, 100, is_shared=False), 550, 550, 0),
        (Custody(1000, 100, is_shut=True, is_shared=False), 1100, 1000, 0),
    ],
)
def test_share_and_what_is_left_behind_of_a_claim(
    custody: Custody, most: int, share: int, left_behind: int
) -> None:
    assert share_atoms(custody, most) == share
    if share:
        assert left_behind_atoms(custody, share) == left_behind


@pytest.mark.spec("DET-02")
def test_what_was_left_behind_is_in_the_hash_and_survives_a_restore() -> None:
    desk, _, idle = with_hole()
    desk.ok(Withdraw(idle, 0, 900 * USD))
    assert desk.cash(UNPAID) > 0
    twin = desk.restored()
    assert twin.state_hash() == desk.venue.state_hash()
    assert twin.view.withdrawable_atoms(idle) == desk.venue.view.withdrawable_atoms(idle)


@pytest.mark.spec("MARG-05")
def test_the_oracle_says_what_the_venue_pays_out() -> None:
    desk, winner, idle = with_hole()
    desk.ok(Withdraw(idle, 0, 900 * USD))
    for account in (winner, idle):
        most = Situation.of(desk.venue, account).withdrawable_atoms()
        assert most == desk.venue.view.withdrawable_atoms(account)


@pytest.mark.spec("MARG-05", "ATK-10")
def test_the_oracle_says_what_may_leave_while_a_mark_stands_still() -> None:
    desk = Desk(index=(100,))
    account, other = desk.open(100, 10_000)
    desk.trade(account, other, 10, 100)
    desk.ok(SetStatus(0, open=False, reduce=False, liquidate=False))
    desk.index(97)
    assert desk.venue.view.withdrawable_atoms(account) == (100 - 50 - 10 * 3) * USD
    assert Situation.of(desk.venue, account).withdrawable_atoms() == (100 - 50 - 10 * 3) * USD


@pytest.mark.spec("LIQ-04")
def test_nothing_leaves_beside_a_position_in_liquidation() -> None:
    """950 beside an isolated position that nobody buys: 50 - 40 of its own are below 960 / 40."""
    desk = Desk(rulebook("book"), index=(100,))
    account, other = desk.open(1000, 10_000)
    desk.ok(SetLeverage(account, 0, 20, "isolated"))
    desk.trade(account, other, 10, 100)
    assert desk.venue.view.withdrawable_atoms(account) == 950 * USD
    desk.index(96)
    assert desk.refused(Withdraw(account, 0, 1)) is RejectReason.IN_LIQUIDATION
    assert desk.venue.view.withdrawable_atoms(account) == 0
    assert Situation.of(desk.venue, account).withdrawable_atoms() == 0


def beyond_share_atoms(report: Report) -> int:
    clause = next(clause for clause in report.clauses if clause.letter == "g")
    atoms = clause.figures["withdrawn_beyond_share_atoms"]
    assert isinstance(atoms, int)
    assert clause.holds is not bool(atoms)
    return atoms


def test_the_audit_names_who_takes_more_than_his_share() -> None:
    desk, _, idle = with_hole()
    desk.ok(Withdraw(idle, 0, 500 * USD))
    assert beyond_share_atoms(audit(desk.batches)) == 0
    last, share, left = desk.batches[-1], desk.venue.view.withdrawable_atoms(idle), desk.cash(idle)
    assert of(list(last.events), Posted)
    again = Posted("withdrawal", ((idle, 0, -left), (EXTERNAL, 0, left)))
    report = audit([*desk.batches, Batch(last.seq + 1, last.time_ns, (again,))])
    assert beyond_share_atoms(report) == left - share
    assert [f.rule for f in report.findings] == ["(g)"]


# A price that nobody has seen yet


def quiet_desk() -> tuple[Desk, int, int]:
    """A trader with coins, a cross and an isolated position, and one without any; the index grows old."""
    coin = {"asset": "COIN", "decimals": 3, "ratio_ppb": 500_000_000}
    rules = rulebook("book", collateral=[coin], lending={}, margin={"index_age_max_ns": 60 * SECOND_NS})
    desk = Desk(rules, (perpetual(), perpetual("TWO"), spot()), index=(100, 100, 10))
    trader, other, idle = desk.open(1000, 100_000, 1000)
    for account in (trader, idle):
        desk.ok(Deposit(1, account, (5_000,)))
    desk.ok(SetLeverage(trader, 1, 10, "isolated"))
    for instrument in (0, 1):
        desk.order(other, SELL, 1, 100, instrument=instrument)
        desk.order(trader, BUY, 1, 100, instrument=instrument)
    desk.ok(TransferMargin(trader, 1, 50 * USD))
    return desk, trader, idle


def takings(account: int) -> list[Command]:
    moved = [TransferMargin(account, 1, atoms) for atoms in (USD, -USD)]
    return [
        Withdraw(account, 0, USD),
        Withdraw(account, 1, 1),
        Supply(account, USD),
        Borrow(account, USD),
        *moved,
    ]


@pytest.mark.spec("MARK-02")
@pytest.mark.parametrize("which", range(6))
def test_who_has_a_position_takes_nothing_out_while_its_index_is_too_old(which: int) -> None:
    """Sixty seconds are not too old; one nanosecond more is, until a source speaks again."""
    desk, trader, _ = quiet_desk()
    command = takings(trader)[which]
    desk.tick(60 * SECOND_NS)
    assert desk.venue.view.withdrawable_atoms(trader) > 0
    desk.tick(1)
    assert desk.refused(command) is RejectReason.INDEX_STALE
    assert desk.venue.view.withdrawable_atoms(trader) == 0
    assert Situation.of(desk.venue, trader).withdrawable_atoms() == 0
    desk.index(100, 100, 10)
    desk.ok(command)
    assert audit(desk.batches).findings == ()


@pytest.mark.spec("MARK-02")
@pytest.mark.parametrize(("spoken", "refused"), [(0, -USD), (1, USD)])
def test_a_transfer_asks_for_the_index_of_what_it_takes_from(spoken: int, refused: int) -> None:
    """Into the isolated position while its own index is old, out of it while that of the cross one is."""
    desk, trader, _ = quiet_desk()
    desk.tick(3600 * SECOND_NS)
    sources = range(len(desk.rules.sources))
    desk.ok(UpdateIndex(tuple(Observation(spoken, source, 100, desk.time_ns) for source in sources)))
    assert desk.refused(TransferMargin(trader, 1, refused)) is RejectReason.INDEX_STALE
    desk.ok(TransferMargin(trader, 1, -refused))


@pytest.mark.spec("MARK-02")
def test_an_index_that_is_too_old_keeps_nobody_without_a_position() -> None:
    desk, trader, idle = quiet_desk()
    desk.tick(3600 * SECOND_NS)
    desk.ok(Withdraw(idle, 0, 1000 * USD))
    desk.ok(Withdraw(idle, 1, 5_000))
    desk.index(100, later_ns=0)
    assert desk.refused(Withdraw(trader, 0, USD)) is RejectReason.INDEX_STALE, "the other one is as old"


@pytest.mark.spec("WFALL-06")
def test_what_a_debtor_owes_is_no_money_that_another_one_can_take() -> None:
    """The short wins 1,500 of which the long had 1,000: the rest is a receivable, and 2,000 came in."""
    desk = Desk(rulebook("book", "recourse"), index=(100,))
    long, short = desk.open(1_000, 1_000)
    desk.trade(long, short, 50, 100)
    desk.order(short, BUY, 50, 70)
    desk.index(70)
    assert (desk.lots(long), desk.cash(long), desk.cash(short)) == (0, 0, 2_500 * USD)
    assert desk.venue.view.withdrawable_atoms(short) == 2_000 * USD
    assert desk.refused(Withdraw(short, 0, 2_000 * USD + 1)) is RejectReason.DEFICIT_OPEN
    desk.ok(Withdraw(short, 0, 2_000 * USD))
    assert desk.cash(EXTERNAL) == 0
    assert audit(desk.batches).findings == ()


def test_the_audit_names_who_takes_more_than_there_is() -> None:
    desk = Desk(rulebook("book"), index=(100,))
    (idle,) = desk.open(100)
    legs = ((idle, 0, -200 * USD), (EXTERNAL, 0, 200 * USD))
    batches = [*desk.batches, Batch(desk.venue.seq + 1, desk.time_ns, (Posted("withdrawal", legs),))]
    assert "(g)" in {found.rule for found in audit(batches).findings}
