"""Funding: when it is sampled and paid, and how much."""

from collections.abc import Callable

from zerodebt.exchange.audit.books import BUY, SELL
from zerodebt.exchange.audit.forms import funding as form
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    ROUNDING,
    FundingSampled,
    FundingSet,
)
from zerodebt.exchange.rules import VenueRules


class Funding:
    """The clock of samples and payments, and what each must say."""

    def __init__(self, rules: VenueRules, notes: Notes, holdings: Holdings, ledger: Ledger) -> None:
        self._rules = rules
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._find = notes.find
        self._settle = holdings.settle
        self._markets = holdings.markets
        self.is_started = False
        self._next_sample_ns = self._next_funding_ns = 0
        self._sample_due = False
        self._intervals_due = 0
        self.left_ns = 0

    def begin_instant(self) -> None:
        """Funding is sampled and paid at the first instant at or after each multiple of its interval."""
        funding = self._rules.funding
        if not self.is_started:
            self.is_started = True
            self._next_sample_ns = self._notes.time_ns
            self._next_funding_ns = (self._notes.time_ns // funding.interval_ns + 1) * funding.interval_ns
        self.left_ns = max(0, self._next_funding_ns - self._notes.time_ns)
        self._sample_due = self._notes.time_ns >= self._next_sample_ns
        if self._sample_due:
            self._next_sample_ns = (self._notes.time_ns // funding.sample_ns + 1) * funding.sample_ns
        self._intervals_due = max(0, (self._notes.time_ns - self._next_funding_ns) // funding.interval_ns + 1)
        if self._intervals_due:
            self._next_funding_ns = (self._notes.time_ns // funding.interval_ns + 1) * funding.interval_ns

    def sample(self, event: FundingSampled) -> None:
        market = self._markets[event.instrument]
        if not self._sample_due:
            self._find(
                "FUND-02",
                f"instrument {event.instrument} is sampled at {self._notes.time_ns} ns, which is not due",
            )
        premium = form.premium_ppt(self._rules.funding, market.spec, _seen(market))
        if premium != event.premium_ppt:
            self._find(
                "FUND-02",
                f"instrument {event.instrument}: premium {event.premium_ppt}, the book says {premium}",
            )
        if market.sampled_seq == self._notes.seq:
            self._find("FUND-02", f"instrument {event.instrument} is sampled twice at a time")
        market.sampled_seq = self._notes.seq
        market.premiums.append(premium)

    def pay(self, event: FundingSet) -> None:
        n = event.instrument
        market = self._markets[n]
        funding = self._rules.funding
        if not self._intervals_due or not market.premiums:
            self._find(
                "FUND-02", f"instrument {n} is paid funding at {self._notes.time_ns} ns, which is not due"
            )
            rate = event.rate_ppt
        else:
            rate = form.rate_ppt(funding, market.spec, form.average_ppt(funding, market.premiums))
        market.premiums.clear()
        market.last_rate_ppt = rate
        if rate != event.rate_ppt:
            self._find("FUND-02", f"instrument {n}: funding rate {event.rate_ppt}, the samples give {rate}")
        price = market.index if funding.paid_on == "index" else market.mark
        if price != event.price_ticks:
            self._find(
                "FUND-02",
                f"instrument {n}: funding on {event.price_ticks} ticks, the {funding.paid_on} is {price}",
            )
        self._holdings.all_touched = True
        legs: dict[Compartment, int] = {}
        total = 0
        is_moved = False
        if event.intervals != self._intervals_due:
            self._find(
                "FUND-03",
                f"instrument {n}: funding of {event.intervals} intervals, {self._intervals_due} are due",
            )
        owed_by = self._payment(market, event, rate)
        for leg in market.legs:
            for account, (lots, _, _) in leg.holders.items():
                owed = owed_by(lots)
                total += owed
                is_moved |= owed != 0
                paid_by = (account, self._holdings.pocket_of(account, leg))
                legs[paid_by] = legs.get(paid_by, 0) - owed
        key = (ROUNDING, self._settle)
        legs[key] = legs.get(key, 0) + total
        self._ledger.expect("funding", legs, f"funding of instrument {n}", is_moved=is_moved)

    def _payment(self, market: Market, event: FundingSet, rate: int) -> Callable[[int], int]:
        """What a position of so many lots owes: for its value, or for a step of the index of payments."""
        rules, spec, price = self._rules.funding, market.spec, event.price_ticks
        before, index = market.funding_index_ppm, None
        if rules.accrual == "index":
            step = form.index_step_ppm(rules, form.exposure_atoms(spec, price, 1), rate)
            index = market.funding_index_ppm = before + event.intervals * step
        if event.funding_index_ppm != index:
            self._find(
                "FUND-03",
                f"instrument {market.number}: funding index {event.funding_index_ppm}, it is {index}",
            )
        if index is not None:
            step = index - before
            return lambda lots: form.owed_by_index(rules, lots, step)
        return lambda lots: form.owed_atoms(form.exposure_atoms(spec, price, lots), rate, event.intervals)

    def check_paid(self, market: Market) -> None:
        """A perpetual does not end before the funding that is due."""
        if self._notes.time_ns >= self._next_funding_ns:
            self._find("FUND-02", f"instrument {market.number} ends at {self._notes.time_ns} ns unfunded")

    def rest(self, market: Market) -> None:
        """A perpetual's sample and payment were made when they were due."""
        if market.spec.kind != "perpetual" or market.has_ended:
            return
        if self._sample_due and market.sampled_seq != self._notes.seq:
            self._find("FUND-02", f"instrument {market.number}: a sample is due and not taken")
        if self._intervals_due and market.premiums:
            self._find("FUND-02", f"instrument {market.number}: funding is due and not paid")

    def end_instant(self) -> None:
        self._sample_due = False
        self._intervals_due = 0


def _seen(market: Market) -> form.Seen:
    return form.Seen(
        market.bids, market.asks, market.best(BUY), market.best(SELL), market.index or 0, market.mark or 0
    )
