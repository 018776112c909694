"""Stop and take-profit orders, waiting for the mark or the last price."""

from msgspec import Struct
from sortedcontainers import SortedDict

from zerodebt.exchange.commands import PlaceOrder, Trigger


class Armed(Struct, frozen=True, gc=False):
    """A waiting order under its own id; when it fires the order enters with a new one."""

    order_id: int
    order: PlaceOrder


def fires_below(trigger: Trigger, side: int) -> bool:
    """Does the trigger wait for a price at or below its own? A selling stop and a buying take-profit do."""
    return (trigger.kind == "stop") == (side < 0)


def is_met(trigger: Trigger, side: int, reference_ticks: int) -> bool:
    if fires_below(trigger, side):
        return reference_ticks <= trigger.price_ticks
    return reference_ticks >= trigger.price_ticks


class Triggers:
    """Waiting orders of one instrument, in the order in which a price would reach them, then by age."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, bool], SortedDict[tuple[int, int], Armed]] = {
            (reference, below): SortedDict() for reference in ("mark", "last") for below in (True, False)
        }

    @staticmethod
    def _place(armed: Armed) -> tuple[tuple[str, bool], tuple[int, int]]:
        trigger = armed.order.trigger
        assert trigger is not None
        below = fires_below(trigger, armed.order.side)
        key = -trigger.price_ticks if below else trigger.price_ticks
        return (trigger.reference, below), (key, armed.order_id)

    def add(self, armed: Armed) -> None:
        queue, key = self._place(armed)
        self._queues[queue][key] = armed

    def remove(self, armed: Armed) -> None:
        queue, key = self._place(armed)
        del self._queues[queue][key]

    def first_met(self, reference: str, reference_ticks: int) -> Armed | None:
        """The next order that this reference price has reached, or None."""
        for below in (True, False):
            queue = self._queues[reference, below]
            if queue:
                armed: Armed = queue.values()[0]
                assert armed.order.trigger is not None
                if is_met(armed.order.trigger, armed.order.side, reference_ticks):
                    return armed
        return None
