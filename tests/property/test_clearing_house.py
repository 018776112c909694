"""Random days of a clearing house: settlement, calls, defaults, auctions, expiry, limits and sessions.

After every command the venue checks itself; at the end the audit must agree with it on every event, and the
journal must replay to the same hashes, through a snapshot in its middle.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.venues import ASSETS, T0, USD, future, rulebook
from zerodebt.exchange.audit import Audit
from zerodebt.exchange.commands import (
    AuctionBid,
    Command,
    Contribute,
    Deposit,
    HoldAuction,
    LoadPositions,
    MassQuote,
    Observation,
    OpenAccounts,
    PlaceOrder,
    SetLeverage,
    SetStatus,
    SettleInstrument,
    SettleVariation,
    Tick,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import HOUSE, Event, Rejected
from zerodebt.exchange.units import HOUR_NS, PPB, SECOND_NS
from zerodebt.exchange.venue import Venue

FIRST, MEMBERS = 16, 6
HOUR = (T0 // HOUR_NS + 1) % 24 * HOUR_NS
INSTRUMENTS = tuple(
    future(
        symbol,
        leverage=100,
        margin_floor_atoms_per_lot=3 * USD,
        initial_atoms_per_lot=4 * USD,
        size_max_lots=100,
        open_interest_max_lots=1000,
    )
    for symbol in ("WTI", "GAS")
)
members = st.integers(FIRST, FIRST + MEMBERS - 1)
instruments = st.sampled_from([0, 1])
prices = st.sampled_from([-3, 0, 1, 80, 92, 95, 99, 100, 101, 105, 108, 120])
sizes = st.sampled_from([1, 5, 10, 40])
amounts = st.sampled_from([-3000, -50, -5, 1, 5, 50]).map(lambda usd: usd * USD)
steps = st.sampled_from([0, 1, SECOND_NS, HOUR_NS // 2, HOUR_NS, 3 * HOUR_NS])
rulebooks = st.sampled_from(
    [
        rulebook(
            "book",
            "default_fund",
            settlement={
                "call_to": call_to,
                "call_due_ns": HOUR_NS,
                "sessions": [{"opens_ns": HOUR - HOUR_NS, "closes_ns": HOUR + 9 * HOUR_NS}] if hours else [],
                "contracts": [
                    {"symbol": "WTI", "limit_ticks": 9, "expires_at_ns": T0 + 12 * HOUR_NS},
                    {"symbol": "GAS", "expires_at_ns": T0 + 20 * HOUR_NS, "final_price_ticks": 101},
                ],
            },
            default_fund={
                "close_out": close_out,
                "house_capital_atoms": 20 * USD,
                "assessment_ppb": 2 * PPB,
                "variation_haircut_ppb": PPB // 3,
            },
            fees={"maker_ppb": 100_000, "taker_ppb": 450_000},
        )
        for call_to in ("none", "maintenance", "initial")
        for close_out in ("book", "auction")
        for hours in (False, True)
    ]
)


class House(RuleBasedStateMachine):
    @initialize(rules=rulebooks)
    def open(self, rules: Any) -> None:
        self.book_of_rules = rules
        self.venue = Venue(rules, ASSETS, INSTRUMENTS)
        self.witness = Audit()
        self.witness.feed(self.venue.opening())
        self.time_ns = T0
        self.done: list[tuple[Command, int, str]] = []
        self.do(OpenAccounts(MEMBERS))
        self.do(Deposit(0, FIRST, tuple(usd * USD for usd in (60, 90, 150, 300, 1000, 3000))))
        self.do(Deposit(0, HOUSE, (30 * USD,)))
        for account, usd in zip(range(FIRST, FIRST + MEMBERS), (5, 10, 10, 20, 40, 0), strict=True):
            self.do(Contribute(account, usd * USD))
        self.do(LoadPositions(0, 100, (FIRST, FIRST + 4), (-15, 15), (100, 90), (100, 100), (0, 0)))
        self.index(100, 100, 0)

    def do(self, command: Command, later_ns: int = 0) -> tuple[Event, ...]:
        state = self.venue._state
        before = self.venue.state_hash()
        equities = self.venue.view.equities(range(FIRST, state.accounts.count)).tolist()
        self.time_ns += later_ns
        batch = self.venue.apply(command, self.time_ns)
        self.venue.check()
        self.witness.feed(batch)
        assert not self.witness._notes.findings, self.witness._notes.findings
        self.done.append((command, self.time_ns, self.venue.state_hash()))
        if batch.events and isinstance(batch.events[0], Rejected):
            assert self.venue.state_hash() == before, f"refused {command} left a trace"
        kinds = {type(event).__name__ for event in batch.events}
        if isinstance(command, SettleVariation) and kinds <= {"VariationSettled", "Posted", "MarginCalled"}:
            after = self.venue.view.equities(range(FIRST, state.accounts.count)).tolist()
            assert after == equities, "a settlement changed somebody's equity"
        return batch.events

    @rule(account=members, atoms=amounts)
    def contribute(self, account: int, atoms: int) -> None:
        self.do(Contribute(account, atoms))

    @rule(account=members, atoms=amounts)
    def pay(self, account: int, atoms: int) -> None:
        self.do(Deposit(0, account, (atoms,)) if atoms > 0 else Withdraw(account, 0, -atoms))

    @rule(
        account=members, instrument=instruments, side=st.sampled_from([1, -1]), size=sizes,
        price=st.none() | prices,
    )  # fmt: skip
    def trade(self, account: int, instrument: int, side: Any, size: int, price: int | None) -> None:
        tif: Any = "ioc" if price is None else "gtc"
        self.do(PlaceOrder(account, instrument, side, size, price, tif=tif))

    @rule(account=members, instrument=instruments, middle=st.sampled_from([92, 100, 107]), size=sizes)
    def quote(self, account: int, instrument: int, middle: int, size: int) -> None:
        self.do(MassQuote(account, instrument, ((middle - 1, size),), ((middle + 1, size),)))

    @rule(account=members, instrument=instruments, leverage=st.sampled_from([2, 100]), isolated=st.booleans())
    def leverage(self, account: int, instrument: int, leverage: int, isolated: bool) -> None:
        self.do(SetLeverage(account, instrument, leverage, "isolated" if isolated else "cross"))

    @rule(wti=prices, gas=st.sampled_from([90, 97, 100, 103, 110]), later_ns=steps)
    def index(self, wti: int, gas: int, later_ns: int) -> None:
        at = self.time_ns + later_ns
        seen = tuple(Observation(n, 0, price, at) for n, price in enumerate((wti, gas)))
        self.do(UpdateIndex(seen), later_ns)

    @rule(later_ns=steps)
    def tick(self, later_ns: int) -> None:
        self.do(Tick(), later_ns)

    @rule(instrument=instruments, price=st.none() | prices)
    def settle_for_the_day(self, instrument: int, price: int | None) -> None:
        mark = self.venue.view.mark_ticks(instrument)
        chosen = mark if price is None else price
        self.do(SettleVariation(instrument, 100 if chosen is None else chosen))

    @rule(
        account=members,
        bids=st.lists(
            st.tuples(members, st.sampled_from([-8, -1, 0, 1, 8, 30]), st.sampled_from([-5, 0, 5])),
            min_size=1,
            max_size=3,
        ),
    )
    def auction(self, account: int, bids: list[tuple[int, int, int]]) -> None:
        """Bids around the marks for whatever the first defaulter, or somebody, holds."""
        view = self.venue.view
        defaulters = sorted({who for who, _ in self.venue._state.in_liquidation})
        account = defaulters[0] if defaulters else account
        held = [n for n in (0, 1) if view.position_lots(n, account)]
        offers = tuple(
            AuctionBid(who, tuple((view.mark_ticks(n) or 100) + (wti, gas)[n] for n in held))
            for who, wti, gas in bids
        )
        self.do(HoldAuction(account, tuple(held), offers))

    @rule(instrument=instruments, is_open=st.sampled_from([True, True, False]))
    def halt(self, instrument: int, is_open: bool) -> None:
        self.do(SetStatus(instrument, is_open, is_open, is_open))

    @rule(price=prices)
    def end(self, price: int) -> None:
        self.do(SettleInstrument(1, price))

    def teardown(self) -> None:
        if not hasattr(self, "venue"):
            return
        report = self.witness.finish()
        assert report.findings == ()
        assert all(clause.holds for clause in report.clauses if clause.letter in "befg")
        assert report.holdings_digest == self.venue.view.statement().holdings_digest
        twin = Venue(self.book_of_rules, ASSETS, INSTRUMENTS)
        for at, (command, time_ns, expected) in enumerate(self.done):
            if at == len(self.done) // 2:
                twin = Venue.restore(self.book_of_rules, ASSETS, INSTRUMENTS, twin.snapshot())
            twin.apply(command, time_ns)
            assert twin.state_hash() == expected, f"command {at} replays differently"


SHORT = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@pytest.mark.spec("LEDG-01", "LEDG-02", "LEDG-04", "WFALL-01", "HALT-01", "LIQ-11")
class TestShort(House.TestCase):  # type: ignore[valid-type, misc]
    settings = SHORT


@pytest.mark.long
class TestLong(House.TestCase):  # type: ignore[valid-type, misc]
    settings = settings(SHORT, max_examples=2_000, stateful_step_count=120)
