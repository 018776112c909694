"""Delta debugging over the orders of a seed that failed: the shortest list that breaks the same law."""

from collections.abc import Iterator

from msgspec import structs

from tests.shortening import shortened
from tests.simulation.simulator import Outcome, replay
from tests.simulation.workload import Order
from zerodebt.exchange.commands import PlaceOrder, UpdateIndex

TRIES_MAX = 3_000


def shrink(outcome: Outcome, tries_max: int = TRIES_MAX) -> Outcome:
    """The outcome of the shortest list found, in at most so many replays; it breaks the same law."""
    assert outcome.violation is not None
    return _Shrinking(outcome, tries_max).shortest()


class _Shrinking:
    def __init__(self, outcome: Outcome, tries_max: int) -> None:
        self._best = outcome
        self._left = tries_max

    def shortest(self) -> Outcome:
        self._cut()
        self._simplify()
        self._cut()
        return self._best

    @property
    def _orders(self) -> list[Order]:
        return self._best.orders[: self._best.phase_one]

    def _still_fails(self, orders: list[Order]) -> bool:
        """Try a list; the last one that breaks the same law is kept."""
        before = self._best.violation
        assert before is not None
        if self._left <= 0:
            return False
        self._left -= 1
        tried = replay(self._best.world, orders)
        found = tried.violation
        if found is None or (found.law, found.phase) != (before.law, before.phase):
            return False
        self._best = tried
        return True

    def _cut(self) -> None:
        shortened(self._orders, lambda orders: self._orders if self._still_fails(orders) else None)

    def _simplify(self) -> None:
        """Plainer orders in the same places."""
        for at in range(len(self._orders)):
            for plainer in _plainer(self._orders[at]) if at < len(self._orders) else ():
                orders = self._orders
                self._still_fails([*orders[:at], plainer, *orders[at + 1 :]])


def _plainer(order: Order) -> Iterator[Order]:
    """The index of one source only; an order without what is optional; no time between commands."""
    command = order.command
    if isinstance(command, UpdateIndex):
        first = tuple(seen for seen in command.observations if seen.source == 0)
        if first != command.observations:
            yield structs.replace(order, command=UpdateIndex(first))
    if isinstance(command, PlaceOrder):
        for field, plain in (("self_trade", "cancel_oldest"), ("budget_atoms", None), ("post_only", False)):
            if getattr(command, field) != plain:
                yield structs.replace(order, command=structs.replace(command, **{field: plain}))
        if command.size_lots > 1:
            yield structs.replace(order, command=structs.replace(command, size_lots=1))
