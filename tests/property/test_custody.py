"""Beside a hole of any size, asked in any order and however often, everybody gets one and the same share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.venues import day, world_of
from tests.venues import USD, Desk, rulebook
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import BUY, Withdraw
from zerodebt.exchange.events import DEFICIT, EXTERNAL, FIRST_ACCOUNT, UNPAID, Rejected
from zerodebt.exchange.oracle import Situation

MARGIN = 10 * 100 // 20


def with_hole(price: int, wallets: list[int]) -> tuple[Desk, list[int]]:
    """10 lots bought at 100 with their initial margin are sold at a price that leaves a hole."""
    desk = Desk(rulebook("book"), index=(100,))
    loser, winner, bidder, *idle = desk.open(MARGIN, MARGIN, MARGIN, *wallets)
    desk.trade(loser, winner, 10, 100)
    desk.order(bidder, BUY, 10, price)
    desk.index(price)
    assert desk.cash(DEFICIT) == (MARGIN - 10 * (100 - price)) * USD < 0
    return desk, [winner, bidder, *idle]


@pytest.mark.spec("MARG-05", "MARK-02", "LIQ-04", kind="X")
@pytest.mark.parametrize("seed", [*range(25), 92])
def test_what_view_and_oracle_say_may_leave_does_and_an_atom_more_does_not(seed: int) -> None:
    """Of every customer in a venue of the simulation; in the last one an isolated position is liquidated."""
    world, built = world_of(seed)
    venue = built.venue()
    assert list(day(world, built, venue, 150))
    snapshot, settle = venue.snapshot(), venue._state.settle
    for account in range(FIRST_ACCOUNT + 1, venue._state.accounts.count):
        most = venue.view.withdrawable_atoms(account)
        assert Situation.of(venue, account).withdrawable_atoms() == most
        for atoms in (most + 1, most) if most else (1,):
            twin = built.restore(snapshot)
            events = twin.apply(Withdraw(account, settle, atoms), twin.view.time_ns).events
            assert isinstance(events[0], Rejected) is (atoms > most), events


@pytest.mark.spec("WFALL-06", "ATK-09")
@given(
    st.integers(1, 94),
    st.lists(st.sampled_from([1, 2, 7, 60, 500]), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([1, 2, 3, 1000])), max_size=12),
)
def test_asking_often_takes_what_asking_once_takes_and_others_keep_their_share(
    price: int, wallets: list[int], asks: list[tuple[int, int]]
) -> None:
    """Parts of what is left are asked for, and then all of it: the share of the first moment, rounding aside.

    An atom at most goes with each withdrawal, to those who come later. What it does to them is the more, the
    larger the hole is beside what is held.
    """
    desk, accounts = with_hole(price, wallets)
    view = desk.venue.view
    once = {account: view.withdrawable_atoms(account) for account in accounts}
    taken, parts = dict.fromkeys(accounts, 0), dict.fromkeys(accounts, 0)
    for number, part in [*asks, *((number, 1) for number in range(len(accounts)))]:
        account = accounts[number % len(accounts)]
        before = {other: view.withdrawable_atoms(other) for other in accounts}
        atoms = before[account] // part
        if atoms:
            desk.ok(Withdraw(account, 0, atoms))
            parts[account] += 1
        taken[account] += atoms
        assert before[account] - atoms - 1 <= view.withdrawable_atoms(account)
        assert all(view.withdrawable_atoms(other) >= before[other] for other in accounts if other != account)
    asked = sum(parts.values())
    for account in accounts:
        assert once[account] - parts[account] <= taken[account] <= once[account] + asked
    assert desk.cash(EXTERNAL) <= 0, "more has left than was there"
    assert 0 <= desk.cash(UNPAID) <= -desk.cash(DEFICIT)
    assert not audit(desk.batches).findings
