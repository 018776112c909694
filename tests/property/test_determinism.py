"""The same commands, the same bytes: in another process, in another order of keeping, delivered again."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exchange.test_snapshot import busy_day
from tests.venues import ASSETS, USD, Desk, perpetual, rulebook
from zerodebt.exchange import journal
from zerodebt.exchange.commands import Deposit, OpenAccounts, PlaceOrder, SetLeverage
from zerodebt.exchange.venue import Venue

TREE = Path(__file__).parents[2]
REPLAYED = """
import sys
from hashlib import sha256
from tests.exchange.test_snapshot import busy_day
from zerodebt.exchange import journal
for seed in (3, 4):
    desk = busy_day(seed)
    print(sha256(b"".join(map(journal.encode, desk.batches))).hexdigest(), desk.venue.state_hash())
"""


@pytest.mark.spec("DET-01", kind="S")
def test_a_day_gives_the_same_bytes_under_another_hash_seed() -> None:
    """Two days of trading, liquidation and deleveraging, each in a process of its own."""
    said = set()
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", REPLAYED],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(TREE)},
            cwd=TREE,
            capture_output=True,
            text=True,
            check=True,
        )
        said.add(done.stdout)
    assert len(said) == 1
    assert len(said.pop().split()) == 4


@pytest.mark.spec("DET-01", "MARG-01", kind="SP")
@settings(max_examples=50, deadline=None)
@given(st.permutations(range(5)), st.permutations(range(5)), st.booleans())
def test_accounts_and_money_may_come_in_any_order(paid: list[int], chosen: list[int], at_once: bool) -> None:
    """Opened together or one by one, paid and set up in any order: the state is the same."""
    hashes = set()
    for together, pays, sets in ((at_once, paid, chosen), (True, range(5), range(5))):
        desk = Desk(rulebook("book", "adl"), (perpetual(), perpetual("ETH")), index=(100, 50))
        for count in (5,) if together else (1,) * 5:
            desk.ok(OpenAccounts(count))
        for k in pays:
            desk.ok(Deposit(0, 16 + k, (100 * (k + 1) * USD,)))
        for k in sets:
            desk.ok(SetLeverage(16 + k, k % 2, 3 + k, "isolated" if k == 2 else "cross"))
        for k in range(4):
            desk.order(16 + k, -1, 2 + k, 100)
            desk.do(PlaceOrder(20, 0, 1, 2 + k, 100))
        desk.index(90, 40)
        hashes.add(desk.venue.state_hash())
    assert len(hashes) == 1


@pytest.mark.spec("LEDG-05", kind="SP")
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 1),
    again=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 30)), min_size=1, max_size=6),
)
def test_commands_that_are_delivered_again_act_once(seed: int, again: list[tuple[float, int]]) -> None:
    """A command's number is its identity: a delivery that starts over, late or in pieces changes nothing."""
    desk = DAYS.setdefault(seed, busy_day(seed))
    deliveries: list[Any] = []
    at = 0
    for share, many in sorted(again):
        until = max(at, round(share * len(desk.journal)))
        deliveries += desk.journal[at:until]
        deliveries += desk.journal[max(0, until - many) : until]
        at = until
    deliveries += desk.journal[at:]
    venue = Venue(desk.rules, ASSETS, desk.instruments)
    batches = list(journal.replay(venue, deliveries))
    assert batches == desk.batches[1:]
    assert venue.state_hash() == desk.venue.state_hash()


DAYS: dict[int, Desk] = {}
