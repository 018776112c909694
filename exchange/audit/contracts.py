"""The terms of dated futures: sessions, the limits of the day, and when they end."""

from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import Filled, OrderClosed, PositionsLoaded, Settled
from zerodebt.exchange.rules import ContractRules, VenueRules

DAY_NS = 86_400 * 10**9
MONDAY = 4
"""5 January 1970."""


class Contracts:
    """What the rulebook says of each future, and the settlement price that its band is around."""

    def __init__(self, rules: VenueRules, notes: Notes, holdings: Holdings) -> None:
        self._notes = notes
        self._find = notes.find
        self._markets = holdings.markets
        self._sessions = rules.settlement.sessions
        self._terms = {contract.symbol: contract for contract in rules.settlement.contracts}
        self.settled_ticks: dict[int, int] = {}

    def load(self, event: PositionsLoaded) -> None:
        """Positions of the start are carried as if just settled."""
        if self._markets[event.instrument].spec.kind == "future":
            self.settled_ticks[event.instrument] = event.price_ticks

    def is_closed(self, market: Market) -> bool:
        """A dated future outside of all sessions; the one that opened yesterday may still last."""
        if not self._sessions or market.spec.kind != "future":
            return False
        today = self._notes.time_ns // DAY_NS
        for session in self._sessions:
            for day in (today - 1, today):
                since = self._notes.time_ns - day * DAY_NS
                is_day = (day - MONDAY) % 7 in session.weekdays
                if is_day and session.opens_ns <= since < session.closes_ns:
                    return False
        return True

    def stands_still(self, market: Market) -> bool:
        """May nobody be forced to trade now?"""
        return market.stands_still or self.is_closed(market)

    def band(self, market: Market) -> tuple[int, int] | None:
        terms, settled = self._terms_of(market), self.settled_ticks.get(market.instrument)
        if terms is None or not terms.limit_ticks or settled is None:
            return None
        return settled - terms.limit_ticks, settled + terms.limit_ticks

    def within_band(self, market: Market, side: int, limit_ticks: int | None) -> int | None:
        """The limit of an order that stops at the day's band; None goes to its edge."""
        band = self.band(market)
        if band is None:
            return limit_ticks
        edge = band[side > 0]
        return edge if limit_ticks is None else side * min(side * limit_ticks, side * edge)

    def check_trade(self, event: Filled, market: Market) -> None:
        band = self.band(market)
        if band is not None and not band[0] <= event.price_ticks <= band[1]:
            self._find("BOOK-04", f"trade {event.trade_id} at {event.price_ticks}, the day's band is {band}")
        if market.has_ended:
            self._find("WFALL-05", f"trade {event.trade_id} in instrument {market.number}, which has ended")
        if self.is_closed(market):
            self._find("HALT-01", f"trade {event.trade_id} while there is no session")

    def check_close(self, event: OrderClosed, market: Market, price_ticks: int | None) -> None:
        """An order leaves for its price only when that lies outside of the band."""
        band = self.band(market)
        if band is None or price_ticks is None or band[0] <= price_ticks <= band[1]:
            self._find("BOOK-15", f"order {event.order_id} is closed at {price_ticks}, the band is {band}")

    def end(self, event: Settled, market: Market, *, is_marked: bool) -> None:
        """At its time a future ends at the stated price, or at the index of that instant."""
        terms = self._terms_of(market)
        if terms is not None and is_marked and self._is_overdue(market):
            stated = terms.final_price_ticks
            wanted = market.index if stated is None else stated
            if event.price_ticks != wanted:
                self._find(
                    "WFALL-05",
                    f"instrument {market.number} expires at {event.price_ticks}, the rulebook says {wanted}",
                )
        market.has_ended = True

    def rest(self, market: Market) -> None:
        """After an instant nothing is left that has expired."""
        if self._is_overdue(market):
            self._find("WFALL-05", f"instrument {market.number} has reached its expiry and is not settled")

    def _is_overdue(self, market: Market) -> bool:
        terms = self._terms_of(market)
        if terms is None or not terms.expires_at_ns or market.has_ended:
            return False
        return self._notes.time_ns >= terms.expires_at_ns

    def _terms_of(self, market: Market) -> ContractRules | None:
        return self._terms.get(market.spec.symbol)
