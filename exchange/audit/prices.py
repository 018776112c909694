"""Marks: their inputs as the book stood, and the formula."""

from zerodebt.exchange.audit.arithmetic import median
from zerodebt.exchange.audit.books import BUY, SELL
from zerodebt.exchange.audit.contracts import Contracts
from zerodebt.exchange.audit.forms import mark
from zerodebt.exchange.audit.forms.valuation import worth_at
from zerodebt.exchange.audit.funding import Funding
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    Marked,
    StatusSet,
)
from zerodebt.exchange.rules import VenueRules


class Prices:
    """Marks of every instrument, once an instant."""

    def __init__(
        self, rules: VenueRules, notes: Notes, holdings: Holdings, funding: Funding, contracts: Contracts
    ) -> None:
        self._rules = rules
        self._contracts = contracts
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
        if event.previous_mark_ticks != market.mark:
            self._find(
                "MARK-03", f"instrument {n}: previous mark {event.previous_mark_ticks}, it was {market.mark}"
            )
        self._check_inputs(market, event)
        due = self._due(market, event)
        if due != event.mark_ticks:
            self._find("MARK-05", f"instrument {n}: mark {event.mark_ticks}, its inputs give {due}")
        if market.marked_seq == self._notes.seq:
            self._find("MARK-03", f"instrument {n} is marked twice at a time")
        market.marked_seq = self._notes.seq
        reference = self._reference(market, event)
        for leg in market.legs:
            leg.index, leg.reference = event.index_ticks, reference
            leg.previous_mark, leg.mark = event.previous_mark_ticks, event.mark_ticks
            if not market.is_spot:
                self._holdings.worths[leg.number] = worth_at(market.spec, event.mark_ticks)

    def _due(self, market: Market, event: Marked) -> int:
        """The mark that follows from its inputs, within its bounds; it stands in a halt or at night."""
        if market.mark is not None and self._contracts.stands_still(market):
            return market.mark
        ticks = mark.mark_ticks(self._rules.mark, event)
        return max(market.spec.price_min_ticks, min(market.spec.price_max_ticks, ticks))

    def _check_inputs(self, market: Market, event: Marked) -> None:
        """Spread, book median and averages as the book stood; other venues' prices are taken as stated."""
        n, index = market.number, event.index_ticks
        bid, ask, last = spread = market.best(BUY), market.best(SELL), market.last
        if event.spread != spread:
            self._find("MARK-04", f"mark of instrument {n} cites {event.spread}, the book stood at {spread}")
        book_median = None
        if bid is not None and ask is not None:
            market.basis.add(bid + ask - 2 * index, self._notes.time_ns)
            self._sample_basis(market, bid + ask - 2 * index)
            if last is not None:
                book_median = median([bid, ask, last])
                market.median.add(book_median, self._notes.time_ns)
        if event.book_median_ticks != book_median:
            self._find(
                "MARK-05",
                f"instrument {n}: median of the book {event.book_median_ticks}, it is {book_median}",
            )
        basis = None if event.index_basis_ticks is None else event.index_basis_ticks - index
        if not market.basis.agrees(basis, 2) and not (basis == 0 and not market.basis.denominator):
            self._find("MARK-05", f"instrument {n}: basis {basis}, its average is {market.basis.floor(2)}")
        if not market.median.agrees(event.book_ema_ticks):
            self._find(
                "MARK-05", f"instrument {n}: average {event.book_ema_ticks}, it is {market.median.floor()}"
            )

        self._check_funded(market, event)

    def _sample_basis(self, market: Market, doubled: int) -> None:
        """A point of the moving basis is taken at the first chance at or after each multiple of its step."""
        step, now = self._rules.mark.basis_sample_ns, self._notes.time_ns
        if mark.reads_moving_basis(self._rules) and now >= market.next_basis_ns:
            market.next_basis_ns = (now // step + 1) * step
            market.basis_points.append(doubled)

    def _check_funded(self, market: Market, event: Marked) -> None:
        """What the last funding rate and the moving basis make of the index, where they are read."""
        index, funded, moved = event.index_ticks, None, None
        if mark.reads_funding(self._rules):
            left, interval = self._funding.left_ns, self._rules.funding.interval_ns
            funded = mark.funded_index_ticks(index, market.last_rate_ppt, left, interval)
        if mark.reads_moving_basis(self._rules) and market.basis_points:
            moved = index + mark.moving_basis_ticks(market.basis_points)
        if (event.funded_index_ticks, event.basis_mean_ticks) != (funded, moved):
            self._find(
                "MARK-05",
                f"instrument {market.number}: funded index {event.funded_index_ticks} and moving basis "
                f"{event.basis_mean_ticks}, they are {funded} and {moved}",
            )

    def _reference(self, market: Market, event: Marked) -> int:
        """Harm is measured at the index, or without the venue's own book where that is one of its sources."""
        reference = event.reference_ticks
        if reference is not None and all(source.kind != "own" for source in self._rules.sources):
            self._find("MARK-05", f"instrument {market.number}: a reference of {reference} beside the index")
            reference = None
        return event.index_ticks if reference is None else reference

    def set_status(self, event: StatusSet) -> None:
        names = (("open", event.open), ("reduce", event.reduce), ("liquidate", event.liquidate))
        forbidden = [name for name, allowed in names if not allowed]
        for leg in self._markets[event.instrument].legs:
            leg.stands_still = not event.liquidate
        if forbidden:
            symbol = self._markets[event.instrument].spec.symbol
            self._notes.intervene(f"{symbol}: {', '.join(forbidden)} halted")

    def rest(self) -> None:
        """An instant marks every instrument, and samples and pays the funding that is due."""
        for market in self._markets:
            if market.marked_seq != self._notes.seq:
                self._find("MARK-03", f"instrument {market.number} is not marked with the others")
            self._funding.rest(market)
            self._contracts.rest(market)

    def end_instant(self) -> None:
        self.is_marked = False
        self._funding.end_instant()
