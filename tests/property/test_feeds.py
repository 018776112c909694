"""Random days of an index with several sources, and of the clock that orders what is sent."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.arithmetic import weighted_middle
from tests.venues import Desk, of, perpetual, rulebook
from zerodebt.agents.world import DELIVERY, FEED, OPERATOR, WAKE, World
from zerodebt.exchange.commands import (
    CancelAll,
    Command,
    Observation,
    PlaceOrder,
    SetStatus,
    Tick,
    UpdateIndex,
)
from zerodebt.exchange.events import Batch, Marked, Rejected
from zerodebt.exchange.units import MINUTE_NS, PPB, SECOND_NS

WEIGHTS = (3, 1, 2, 1)
SOURCES: Any = [{"name": str(k), "weight": weight} for k, weight in enumerate(WEIGHTS[:3])]
SOURCES += [{"name": "perp", "weight": WEIGHTS[3], "kind": "perp"}]
Seen = tuple[int, int, int]
"""(source, price, age in seconds)."""

steps = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 30, 61]),
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.sampled_from([1, 60, 95, 100, 101, 130]),
                st.sampled_from([0, 1, 59, 60, 61]),
            ),
            max_size=5,
        ),
        st.booleans(),
    ),
    min_size=3,
    max_size=20,
)


class Facts:
    """What is known of each source, and why it may be unfit: one fact does not hide another."""

    def __init__(self) -> None:
        self.newest: dict[int, tuple[int, int]] = {}

    def hear(self, time_ns: int, said: Sequence[Seen]) -> None:
        for source, price, age in said:
            at = time_ns - age * SECOND_NS
            if source not in self.newest or at > self.newest[source][1]:
                self.newest[source] = (price, at)

    def unfit(self, source: int, time_ns: int) -> set[str]:
        if source not in self.newest:
            return {"missing"}
        price, at = self.newest[source]
        fresh = [
            (p, WEIGHTS[s]) for s, (p, then) in self.newest.items() if s < 3 and time_ns - then <= MINUTE_NS
        ]
        facts = set() if source < 3 else {"another venue's perpetual"}
        if time_ns - at > MINUTE_NS:
            facts.add("old")
        if fresh and abs(price - weighted_middle(fresh)) > weighted_middle(fresh) // 10:
            facts.add("outlier")
        return facts

    def index(self, time_ns: int) -> int | None:
        """The index bears none of these."""
        fit = [s for s in range(4) if not self.unfit(s, time_ns)]
        return weighted_middle([(self.newest[s][0], WEIGHTS[s]) for s in fit]) if fit else None

    def elsewhere(self, time_ns: int) -> int | None:
        """The mark's third input bears an outlier and is made of other venues' perpetuals."""
        bears = {"outlier", "another venue's perpetual"}
        is_fit = "missing" not in self.unfit(3, time_ns) and self.unfit(3, time_ns) <= bears
        return self.newest[3][0] if is_fit else None


@pytest.mark.spec("MARK-01", "MARK-02", "MARK-03", "MARK-05", kind="SP")
@settings(max_examples=120, deadline=None)
@given(steps, st.booleans())
def test_each_reader_of_a_source_says_which_of_its_faults_it_bears(
    day: list[tuple[int, list[Seen], bool]], halted: bool
) -> None:
    """A source may be missing, old and far off at once; halts and missing sides are facts of other things."""
    rules = rulebook(sources=SOURCES, index={"outlier_ppb": PPB // 10}, mark={"formula": "median"})
    desk, facts = Desk(rules, (perpetual(),)), Facts()
    first = [(0, 100, 0), (1, 100, 0)]
    desk.ok(UpdateIndex(tuple(Observation(0, s, p, desk.time_ns) for s, p, _ in first)))
    facts.hear(desk.time_ns, first)
    expected = 100
    desk.ok(SetStatus(0, not halted, True, True))
    for later, said, by_tick in day:
        desk.time_ns += later * SECOND_NS
        now = desk.time_ns
        seen = tuple(Observation(0, s, p, now - age * SECOND_NS) for s, p, age in said)
        command = Tick() if by_tick else UpdateIndex(seen)
        if not by_tick:
            facts.hear(now, said)
        (marked,) = of(desk.ok(command), Marked)
        fit = facts.index(now)
        expected = expected if fit is None else fit
        assert marked.index_ticks == expected == desk.venue.view.index_ticks(0)
        assert marked.perp_median_ticks == facts.elsewhere(now)


@pytest.mark.spec("MARK-01")
@given(st.lists(st.booleans(), min_size=3, max_size=3), st.booleans())
def test_each_flag_of_a_halt_stops_its_own_operations_alone(flags: list[bool], has_price: bool) -> None:
    """Opening needs `open` and a price; reducing needs one of the first two flags, and a price."""
    opens, reduces, liquidates = flags
    desk = Desk(index=(100,) if has_price else None)
    a, b = desk.open(1000, 1000)
    if has_price:
        desk.trade(a, b, 5, 100)
    desk.ok(SetStatus(0, opens, reduces, liquidates))
    opening = desk.do(PlaceOrder(a, 0, 1, 1, 90))
    assert isinstance(opening[0], Rejected) is not (opens and has_price)
    reducing = desk.do(PlaceOrder(a, 0, -1, 1, 110, reduce_only=True))
    assert isinstance(reducing[0], Rejected) is not ((opens or reduces) and has_price)
    if has_price:
        desk.index(80)
        stands = desk.venue.view.mark_ticks(0) == 100
        assert stands is not liquidates


ORDER = (OPERATOR, FEED, DELIVERY, WAKE)


@pytest.mark.spec("DET-03")
@pytest.mark.parametrize("submitted", list(permutations(range(4))))
def test_one_instant_goes_by_priority_however_it_was_submitted(submitted: tuple[int, ...]) -> None:
    """Four priorities, two commands each, for the same nanosecond."""
    sent: list[int] = []

    def send(command: Command, time_ns: int) -> Batch:
        assert isinstance(command, CancelAll)
        sent.append(command.account)
        return Batch(len(sent), time_ns, ())

    world = World(None, send, 0, 100)  # type: ignore[arg-type]
    for k in submitted:
        world.submit((CancelAll(k), CancelAll(10 + k)), 7, None, ORDER[k])
    world.run()
    assert sent == [account for k in range(4) for account in (k, 10 + k)]
