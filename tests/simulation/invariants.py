"""What must hold: cheap laws after every command, all of them now and then and at each end."""

from typing import NoReturn

from tests.simulation.worlds import Built
from zerodebt.exchange.accounts import BACKSTOP
from zerodebt.exchange.audit import Audit, Report
from zerodebt.exchange.commands import BUY, SELL, Command, PlaceOrder
from zerodebt.exchange.events import (
    DEFAULT_FUND,
    DEFICIT,
    FEES,
    FIRST_ACCOUNT,
    HOUSE,
    INSURANCE,
    LENDING,
    UNPAID,
    Batch,
    Event,
    LiquidationStarted,
    Marked,
    OrderAccepted,
    Rejected,
    TriggerFired,
    WorkLeft,
)
from zerodebt.exchange.margin import find_liquidatable, initial_excess_atoms, risk_of
from zerodebt.exchange.sessions import stands_still
from zerodebt.exchange.state import Compartment, State
from zerodebt.exchange.venue import Venue

ENGINE_ERRORS = (
    AssertionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a mistake of the venue may raise; a refusal never leaves it as an exception."""
_OTHER = (LiquidationStarted, TriggerFired)


class ViolatedError(Exception):
    """A law does not hold; `law` names it in the same words every time."""

    def __init__(self, law: str, text: str) -> None:
        super().__init__(f"{law}: {text}")
        self.law = law
        self.text = text


def fail(law: str, text: str) -> NoReturn:
    raise ViolatedError(law, text)


class Watch:
    """Looks at a venue after each of its commands. The second witness reads along, batch by batch.

    Nobody may be below zero at rest under a rulebook whose house pays whatever is missing and has the money.
    """

    def __init__(self, built: Built) -> None:
        self._built = built
        self._seq = self._time_ns = 0
        self._assets = range(len(built.assets))
        self._audit = Audit(findings_max=1)
        self._audit.feed(built.venue().opening())
        rules = built.rules
        takes_all = {"adl", "house"} <= set(rules.waterfall) and rules.house.deficit_max_atoms is None
        self._is_guaranteed = takes_all and "default_fund" not in rules.waterfall
        self._is_guaranteed &= rules.settlement.call_to == "none"

    def after(self, venue: Venue, command: Command, batch: Batch) -> None:
        """The laws that are cheap enough to be looked at after every command."""
        state = venue._state
        if batch.seq != self._seq + 1 or batch.time_ns < self._time_ns:
            fail("DET-03", f"batch {batch.seq} at {batch.time_ns} follows {self._seq} at {self._time_ns}")
        self._seq, self._time_ns = batch.seq, batch.time_ns
        events = batch.events
        if len(events) > 1 and type(events[0]) is Rejected:
            fail("LEDG-04", "a refusal is not alone")
        self._check_sums(state)
        self._check_books(state)
        self._check_pots(state)
        if type(command) is PlaceOrder:
            self._check_margin(state, command, events)
        if events and type(events[0]) is Marked and self._is_guaranteed:
            self._check_nobody_owes(state, events)
        self._read(batch)

    def _read(self, batch: Batch) -> None:
        self._audit.feed(batch)
        notes = self._audit._notes
        if notes.findings_count:
            finding = notes.findings[0]
            fail(f"the audit's {finding.rule}", finding.text)

    @staticmethod
    def _check_sums(state: State) -> None:
        """LEDG-01, and signed lots of each instrument."""
        accounts = state.accounts
        count = accounts.count
        sums = [0] * len(state.assets)
        for asset, cells in zip(state.ledger.pocket_assets, accounts.balances.cells, strict=True):
            sums[asset] += sum(cells[:count])
        if any(sums):
            fail("LEDG-01", f"balances sum to {sums}")
        lots = [sum(cells[:count]) for cells in accounts.lots.cells]
        width = len(state.markets)
        if any(sum(lots[n::width]) for n in range(width)):
            fail("POS-03", f"signed lots sum to {lots}")

    @staticmethod
    def _check_books(state: State) -> None:
        """BOOK-05, BOOK-08."""
        resting = 0
        for book in state.books:
            bid, ask = book.best_ticks(BUY), book.best_ticks(SELL)
            if bid is not None and ask is not None and bid >= ask:
                fail("BOOK-05", f"crossed: {bid} >= {ask}")
            for levels in book._levels.values():
                resting += sum(len(level) for level in levels.values())
        if resting != len(state.orders):
            fail("BOOK-08", f"{resting} orders rest, {len(state.orders)} are indexed")

    @staticmethod
    def _check_margin(state: State, order: PlaceOrder, events: tuple[Event, ...]) -> None:
        """MARG-02: what rests of an order can be paid for, unless other things happened in its command."""
        resting = events and type(events[0]) is OrderAccepted and state.orders.get(events[0].order_id)
        if not resting or resting.reduce_only or any(type(event) in _OTHER for event in events):
            return
        if state.instruments[order.instrument].kind == "spot":
            return
        excess = initial_excess_atoms(state, order.account)
        if excess < 0:
            fail("MARG-02", f"{order} rests while {-excess} atoms of initial margin are missing")

    @staticmethod
    def _check_pots(state: State) -> None:
        """POT-01: the venue's own money is never spent twice, no pot that pays is below zero."""
        for pocket in range(len(state.assets)):
            cells = state.accounts.balances.cells[pocket]
            pots = {
                "house": cells[HOUSE],
                "default fund": cells[DEFAULT_FUND],
                "lending": cells[LENDING],
                "fees": cells[FEES],
                "unpaid": cells[UNPAID],
            }
            if min(pots.values()) < 0 or cells[DEFICIT] + cells[UNPAID] > 0:
                fail("POT-01", f"{pots | {'deficit': cells[DEFICIT]}}")

    def _check_nobody_owes(self, state: State, events: tuple[Event, ...]) -> None:
        """WFALL-02: after risk work nobody is below zero, unless it could not be done or paid for."""
        if type(events[-1]) is WorkLeft or any(stands_still(state, n) for n in range(len(state.markets))):
            return
        if not state.accounts.balances.cells[state.settle][HOUSE]:
            return
        for compartment in (*compartments(state), (INSURANCE, state.settle)):
            if risk_of(state, compartment).is_bankrupt:
                fail("WFALL-02", f"{compartment} is below zero: {risk_of(state, compartment)}")

    def all(self, venue: Venue) -> None:
        """The venue's own invariants, its copy from a snapshot, margin anew, and what the audit holds."""
        try:
            venue.check()
        except AssertionError as error:
            fail("check", str(error))
        state = venue._state
        twin = self._built.restore(venue.snapshot())
        if twin.state_hash() != venue.state_hash():
            fail("DET-02", "the venue from the snapshot has another hash")
        if self._audit.digest() != venue.view.statement().holdings_digest:
            fail("LEDG-03", "the audit holds other balances than the venue")
        self._check_margins(state)
        if state.counters.started:
            self._check_scan(state, twin._state)
        self._check_audited_books(state)

    @staticmethod
    def _check_margins(state: State) -> None:
        """POT-02: margin stands beside a position only; what a settlement leaves as a debt waits."""
        for market in state.contracts:
            margin = state.accounts.balances.array[state.pocket(market.number), FIRST_ACCOUNT:]
            lots = state.accounts.lots.array[market.number, FIRST_ACCOUNT:]
            if (margin[lots == 0] > 0).any():
                fail("POT-02", f"margin without a position in slot {market.number}")

    @staticmethod
    def _check_scan(state: State, twin: State) -> None:
        """LIQ-01, LIQ-02: the quick scan finds whom a look at everybody finds. It writes, so on a twin."""
        found = {f.compartment for f in find_liquidatable(twin)}
        vaults = state.accounts.vault.cells[0]
        unsafe = {
            c for c in compartments(state) if not risk_of(state, c).is_safe and vaults[c[0]] != BACKSTOP
        }
        if found != unsafe:
            fail("LIQ-02", f"the scan finds {sorted(found)}, a look at everybody {sorted(unsafe)}")

    def _check_audited_books(self, state: State) -> None:
        """BOOK-01 in part: the orders that the events leave are those that rest."""
        live = self._audit._reading.orders.live
        for order_id, order in state.orders.items():
            seen = live.get(order_id)
            if seen is None or (seen.account, seen.price, seen.open) != (
                order.account,
                order.price_ticks,
                order.open_lots,
            ):
                fail("BOOK-01", f"order {order_id} rests otherwise than the events say")
        if len(live) != len(state.orders):
            fail("BOOK-01", f"by the events {len(live)} orders live, {len(state.orders)} rest")

    def end(self, venue: Venue) -> Report:
        """All invariants, and the audit's last look."""
        self.all(venue)
        report = self._audit.finish()
        if report.findings_count:
            fail(f"the audit's {report.findings[0].rule}", report.findings[0].text)
        statement = venue.view.statement()
        if report.holdings_digest != statement.holdings_digest:
            fail("LEDG-03", "the audit holds other balances than the venue")
        return report


def compartments(state: State) -> list[Compartment]:
    """Cross pools and isolated positions of all customers."""
    found = []
    isolated = state.accounts.isolated.cells
    for account in range(FIRST_ACCOUNT, state.accounts.count):
        found.append((account, state.settle))
        found += [(account, state.pocket(m.number)) for m in state.contracts if isolated[m.number][account]]
    return found
