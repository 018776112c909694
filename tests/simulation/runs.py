"""Applying orders to the venue of a world, and looking at it after each."""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from tests.simulation.invariants import ENGINE_ERRORS, ViolatedError, Watch, fail
from tests.simulation.workload import Order
from tests.simulation.worlds import Built, World, build
from zerodebt.exchange.audit import Report
from zerodebt.exchange.commands import Command
from zerodebt.exchange.events import Batch, Rejected

T = TypeVar("T")
ALL_EVERY = 100
HASH_EVERY = 11
"""So often a command that is refused must leave the hash as it was."""


class Run:
    """Applies orders to the venue of a world and looks at it after each; `orders` is what was applied."""

    def __init__(self, world: World, built: Built | None = None) -> None:
        self.world = world
        self.built = build(world) if built is None else built
        self.venue = self.built.venue()
        self.watch = Watch(self.built)
        self.orders: list[Order] = []
        self.kinds: Counter[str] = Counter()
        self.rejects: Counter[str] = Counter()
        self.accepted_faults: set[int] = set()
        self.events: Counter[str] = Counter()

    def apply(self, order: Order) -> Batch | None:
        """One command, or a restart from the snapshot. Raises ViolatedError; nothing else of the venue's."""
        self.orders.append(order)
        return self._guarded(lambda: self._apply(order))

    def _apply(self, order: Order) -> Batch | None:
        if order.command is None:
            self._restart()
            self.accepted_faults.add(order.fault)
            return None
        venue = self.venue
        before = venue.state_hash() if len(self.orders) % HASH_EVERY == 0 else None
        batch = venue.apply(order.command, order.time_ns)
        self._count(order.command, batch)
        events = batch.events
        is_refused = bool(events) and type(events[0]) is Rejected
        if order.fault and not is_refused:
            self.accepted_faults.add(order.fault)
        if is_refused and before is not None and venue.state_hash() != before:
            fail("LEDG-04", f"refused {order.command} left a trace")
        self.watch.after(venue, order.command, batch)
        if len(self.orders) % ALL_EVERY == 0:
            self.watch.all(venue)
        return batch

    def _restart(self) -> None:
        before = self.venue.state_hash()
        self.venue = self.built.restore(self.venue.snapshot())
        if self.venue.state_hash() != before:
            fail("DET-02", "the venue from the snapshot has another hash")

    def _count(self, command: Command, batch: Batch) -> None:
        self.kinds[type(command).__name__] += 1
        events = self.events
        for event in batch.events:
            events[type(event).__name__] += 1
        if batch.events and type(batch.events[0]) is Rejected:
            self.rejects[batch.events[0].reason.name] += 1

    def look(self) -> None:
        """All invariants, now."""
        self._guarded(lambda: self.watch.all(self.venue))

    def end(self) -> Report:
        """All invariants, and what the second witness says of the whole run."""
        return self._guarded(lambda: self.watch.end(self.venue))

    @staticmethod
    def _guarded(look: Callable[[], T]) -> T:
        """An exception of the venue is a violation, too."""
        try:
            return look()
        except ENGINE_ERRORS as error:
            raise ViolatedError(f"crash {type(error).__name__}", f"{error} at {_place(error)}") from error


def _place(error: BaseException) -> str:
    """File and line in which an exception was raised."""
    at = error.__traceback__
    assert at is not None
    while at.tb_next is not None:
        at = at.tb_next
    return f"{at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}"
