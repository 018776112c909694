"""Marks: their inputs as the book stood, and the formula."""

from zerodebt.exchange.audit.arithmetic import median
from zerodebt.exchange.audit.books import BUY, SELL
from zerodebt.exchange.audit.funding import Funding
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    Marked,
    StatusSet,
)
from zerodebt.exchange.rules import VenueRules


class Prices:
    """Marks of every instrument, once an instant."""

    def __init__(self, rules: VenueRules, notes: Notes, holdings: Holdings, funding: Funding) -> None:
        self._rules = rules
        self._notes = notes
        self._holdings = holdings
        self._funding = funding
        self._find = notes.find
        self._markets = holdings.markets
        self.is_marked = False

    def mark(self, event: Marked) -> None:
        n = event.instrument
        market = self._markets[n]
        if not self.is_marked:
            self.is_marked = True
            self._funding.begin_instant()
        rules = self._rules
        index = event.index_ticks
        bid, ask = market.best(BUY), market.best(SELL)
        if event.spread != (bid, ask, market.last):
            self._find(
                "MARK-04",
                f"mark of instrument {n} cites {event.spread}, the book stood at {(bid, ask, market.last)}",
            )
        if event.previous_mark_ticks != market.mark:
            self._find(
                "MARK-03", f"instrument {n}: previous mark {event.previous_mark_ticks}, it was {market.mark}"
            )
        book_median = None
        if bid is not None and ask is not None:
            market.basis.add(bid + ask - 2 * index, self._notes.time_ns)
            if market.last is not None:
                book_median = sorted((bid, ask, market.last))[1]
                market.median.add(book_median, self._notes.time_ns)
        if event.book_median_ticks != book_median:
            self._find(
                "MARK-05",
                f"instrument {n}: median of the book {event.book_median_ticks}, it is {book_median}",
            )
        stated_basis = event.index_basis_ticks
        basis = None if stated_basis is None else stated_basis - index
        if not market.basis.agrees(basis, 2) and not (basis == 0 and not market.basis.denominator):
            self._find("MARK-05", f"instrument {n}: basis {basis}, its average is {market.basis.floor(2)}")
        if not market.median.agrees(event.book_ema_ticks):
            self._find(
                "MARK-05", f"instrument {n}: average {event.book_ema_ticks}, it is {market.median.floor()}"
            )
        if rules.mark.formula == "index":
            mark = index
        else:
            main = [
                x for x in (stated_basis, event.book_median_ticks, event.perp_median_ticks) if x is not None
            ]
            if len(main) == 2 and event.book_ema_ticks is not None:
                main.append(event.book_ema_ticks)
            mark = median(main) if main else index
        mark = max(market.spec.price_min_ticks, min(market.spec.price_max_ticks, mark))
        if market.stands_still and market.mark is not None:
            mark = market.mark
        if mark != event.mark_ticks:
            self._find("MARK-05", f"instrument {n}: mark {event.mark_ticks}, its inputs give {mark}")
        if market.marked_seq == self._notes.seq:
            self._find("MARK-03", f"instrument {n} is marked twice at a time")
        market.marked_seq = self._notes.seq
        market.index = index
        market.previous_mark = event.previous_mark_ticks
        market.mark = event.mark_ticks
        self._holdings.lot_values[n] = None if market.is_spot else event.mark_ticks * market.tick_value

    def set_status(self, event: StatusSet) -> None:
        names = (("open", event.open), ("reduce", event.reduce), ("liquidate", event.liquidate))
        forbidden = [name for name, allowed in names if not allowed]
        self._markets[event.instrument].stands_still = not event.liquidate
        if forbidden:
            symbol = self._markets[event.instrument].spec.symbol
            self._notes.intervene(f"{symbol}: {', '.join(forbidden)} halted")

    def rest(self) -> None:
        """An instant marks every instrument, and samples and pays the funding that is due."""
        for market in self._markets:
            if market.marked_seq != self._notes.seq:
                self._find("MARK-03", f"instrument {market.number} is not marked with the others")
            self._funding.rest(market)

    def end_instant(self) -> None:
        self.is_marked = False
        self._funding.end_instant()
