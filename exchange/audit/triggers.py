"""Stops and take-profits: a trigger fires once, at its price."""

from zerodebt.exchange.audit.books import SELL
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    TriggerArmed,
    TriggerFired,
)


class Triggers:
    """Triggers that wait for their price."""

    def __init__(self, notes: Notes, holdings: Holdings) -> None:
        self._find = notes.find
        self._markets = holdings.markets
        self.armed: dict[int, TriggerArmed] = {}

    def arm(self, event: TriggerArmed) -> None:
        if event.order_id in self.armed:
            self._find("TRIG-01", f"trigger {event.order_id} is armed twice")
        self.armed[event.order_id] = event

    def fire(self, event: TriggerFired) -> None:
        """A trigger fires once, and only when its reference stands at or beyond its price."""
        armed = self.armed.pop(event.order_id, None)
        if armed is None:
            self._find("TRIG-01", f"trigger {event.order_id} fires but is not armed")
            return
        market = self._markets[armed.instrument]
        reference = market.mark if armed.trigger.reference == "mark" else market.last
        if reference != event.reference_ticks:
            self._find(
                "TRIG-02",
                f"trigger {event.order_id} cites {event.reference_ticks}, its reference is {reference}",
            )
        falls = (armed.trigger.kind == "stop") == (armed.side == SELL)
        gap = event.reference_ticks - armed.trigger.price_ticks
        if gap > 0 if falls else gap < 0:
            self._find(
                "TRIG-02",
                f"trigger {event.order_id} at {armed.trigger.price_ticks} fires at {event.reference_ticks}",
            )
