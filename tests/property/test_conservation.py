"""Random commands over a few accounts and instruments, with every invariant after each.

Each field is drawn from a small domain of its own, so that accounts, numbers, prices and times collide. The
positions are rebuilt from the events alone and must be those of the venue; a reduce-only order is followed
through its fills. At the end the journal is replayed to the same hash and the same events.
"""

from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.property.landmarks import landmarks
from tests.property.laws import Witness
from tests.venues import ASSETS, T0, USD, future, perpetual, rulebook, spot
from zerodebt.exchange import journal
from zerodebt.exchange.audit import Audit
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AmendOrder,
    CancelAll,
    CancelOrder,
    Command,
    Deposit,
    LoadPositions,
    MassQuote,
    Observation,
    OpenAccounts,
    PlaceOrder,
    SetBackstop,
    SetLeverage,
    SetStatus,
    SettleInstrument,
    SettleVariation,
    Stamped,
    Tick,
    TransferMargin,
    Trigger,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import (
    DEFICIT,
    FEES,
    HOUSE,
    INSURANCE,
    Event,
    Rejected,
    WorkLeft,
)
from zerodebt.exchange.margin import risk_of
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, PPB, SECOND_NS
from zerodebt.exchange.venue import Venue

FIRST, CUSTOMERS = 16, 6
VAULT = FIRST
INSTRUMENTS = (
    perpetual("BTC", leverage=20, open_interest_max_lots=200, size_max_lots=100),
    future("WTI", tiers=perpetual(leverage=10).tiers, margin_floor_atoms_per_lot=USD),
    spot("COIN/USDC"),
)

RICH = FIRST + CUSTOMERS - 1
customers = st.integers(FIRST, RICH)
accounts = st.sampled_from([*range(FIRST, RICH + 1)] * 4 + [FIRST - 1, RICH + 1])
instruments = st.sampled_from([0, 0, 0, 1, 1, 2] * 4 + [-1, len(INSTRUMENTS)])
contracts = st.sampled_from([0, 0, 1] * 8 + [2, -1, len(INSTRUMENTS)])
numbers = st.integers(0, 60)
sizes = st.sampled_from([1, 2, 5, 10, 1, 2, 5, 10, 40, 40, 0, -1, 101])
prices = st.sampled_from([95, 99, 100, 101, 105] * 3 + [1, 60, 90, 110, 140] + [-5, 0, 100_001])
amounts = st.sampled_from([1, 7, 50, 1000] * 3 + [-50, -1, 0, 10**13]).map(lambda usd: usd * USD)
sides: Any = st.sampled_from([1, -1])
steps = st.sampled_from([0, 0, 1, SECOND_NS, 31 * SECOND_NS, HOUR_NS, 3 * HOUR_NS])
levels = st.lists(st.tuples(prices, sizes), max_size=3).map(tuple)
kinds: Any = st.sampled_from(["stop", "take_profit"])
self_trades: Any = st.sampled_from(["cancel_newest", "cancel_oldest", "cancel_both", "decrement"])
references: Any = st.sampled_from(["mark", "last"])
triggers = st.sampled_from([True, False, False]).flatmap(
    lambda waits: st.builds(Trigger, kinds, references, prices) if waits else st.none()
)
LINEAR = {"average": "linear", "premium": "mid", "cap": "maintenance"}
BY_INDEX = {"average": "padded", "tail_trim_ppm": 100_000, "sample_ns": MINUTE_NS, "rate": "plain"}
BY_INDEX |= {"cap": "margin_gap", "cap_factor_ppb": 6 * PPB, "rate_step_ppt": 10**6, "accrual": "index"}
BY_THE_MINUTE = {"premium": "mark", "rate": "deadband", "interval_ns": MINUTE_NS, "sample_ns": MINUTE_NS}
BY_THE_MINUTE |= {"divisor": 480, "paid_on": "mark"}
CAPPED = {"formula": "index", "inner_ppb": PPB // 50, "outer_ppb": PPB // 20, "beyond": "cap"}
REFUSED = {"formula": "mark", "width_ppb": PPB // 10}
OWN_BOOK = [{"name": "here", "weight": 3, "kind": "own"}]
COIN = {"asset": "COIN", "decimals": 3, "ratio_ppb": 9 * PPB // 10, "bid_buffer_ppb": PPB // 100}
EXCHANGE = {"trigger_atoms": 5 * USD, "trigger_ltv_ppb": PPB, "price_ratio_ppb": 975_000_000}
PLEDGED: dict[str, Any] = {"collateral": [COIN], "exchange": EXCHANGE}
GRID = {"moves_ppb": [-PPB // 10, PPB // 10], "offset_ppb": PPB // 2, "contingency_ppb": PPB // 100}
BAND = {"price_limit": "band", "band_ppb": PPB // 20}
LIQUIDATION: tuple[dict[str, Any], ...] = (
    {
        "waterfall": ["book", "insurance", "adl", "house"],
        "liquidation": {"steps": ["ladder", "whole"], "ladder_tif": "fok", "price_limit": "bankruptcy"},
        "adl": {"trigger": "unfilled"},
    },
    {
        "waterfall": ["book", "insurance", "adl", "socialise", "house"],
        "liquidation": {"steps": ["restore"], "trigger": "at_or_below", "requirement_fee": "taker"},
        "insurance": {"takes": "unfilled", "price": "bankruptcy", "net_notional_max_atoms": 5000 * USD},
        "adl": {"trigger": "unfilled", "price": "mark"},
    },
    {
        "waterfall": ["book", "insurance", "adl", "settlement_haircut", "house"],
        "liquidation": {"steps": ["restore"], "restore_max_ppb": PPB // 20, **BAND},
        "insurance": {"scope": "instrument", "takes": "unfilled", "drawdown": {"stop_ppb": PPB // 4}},
    },
    {
        "waterfall": ["book", "adl", "insurance", "socialise", "house"],
        "liquidation": {"steps": ["whole"], "surplus_max_ppb": PPB // 50, "portion_max_ppb": PPB // 2},
        "insurance": {"scope": "instrument", "takes": "never"},
        "adl": {"trigger": "fund_cannot_pay", "bankruptcy_allocation": "pro_rata_requirement"},
        "socialise": {"form": "funding_index"},
    },
    {
        "waterfall": ["book", "adl", "insurance", "house"],
        "liquidation": {
            "steps": ["whole"],
            "price_limit": "fillable",
            "fillable_spread_ppb": 2 * PPB,
            "insurance_lost_max_atoms": 20 * USD,
            "notional_max_atoms": 3000 * USD,
            "surplus_max_ppb": PPB,
        },
        "insurance": {"price": "bankruptcy"},
    },
)
rulebooks = st.sampled_from(
    [
        rulebook(
            *waterfall,
            fees={"maker_ppb": maker, "taker_ppb": 450_123, "liquidation_ppb": liquidation},
            liquidation={
                "chunk_threshold_atoms": 1000 * USD,
                "chunk_ppb": 200_000_000,
                "cooldown_ns": 30 * SECOND_NS,
                "backstop_below_ppb": 666_666_667,
            }
            | ({"backstop_notional_max_atoms": 500 * USD} if "backstop" in waterfall and maker < 0 else {}),
            adl={"score": score, "price": price},
            margin={"transfer_min_ppb": 100_000_000},
            funding={"impact_notional_atoms": 100 * USD} | funding,
            mark={"formula": formula, "basis_points": 3},
            settlement={"perpetual": "index" if formula == "index" else "never"},
            orders={"band": band},
            sources=[{"name": "outside", "weight": 1}, *own],
            **more,
        )
        for waterfall in (
            ("book", "backstop", "insurance", "adl", "socialise", "house"),
            ("book", "insurance", "adl", "house"),
            ("book", "backstop", "adl", "house"),
        )
        for maker, liquidation in ((-100_003, 5_000_000), (150_077, 0))
        for score, price, formula, funding, band, own, more in (
            ("hyperliquid", "previous_mark", "index", {}, {}, [], {}),
            ("binance", "bankruptcy", "median", {}, {}, [], {}),
            ("hyperliquid", "mark", "median", {}, {}, [], PLEDGED),
            ("binance", "bankruptcy", "funding_median", LINEAR, CAPPED, [], PLEDGED),
            ("hyperliquid", "mark", "fair", BY_INDEX, {}, OWN_BOOK, {}),
            ("hyperliquid", "bankruptcy", "basis_ema", BY_THE_MINUTE, REFUSED, OWN_BOOK, PLEDGED),
            ("hyperliquid", "mark", "index", {}, {}, [], PLEDGED | {"portfolio": GRID}),
        )
    ]
    + [
        rulebook(
            fees={"maker_ppb": 150_077, "taker_ppb": 450_123, "liquidation_ppb": fee},
            mark={"formula": formula},
            settlement={"perpetual": "index" if formula == "index" else "never"},
            **tables,
        )
        for fee, formula in ((5_000_000, "index"), (0, "median"))
        for tables in LIQUIDATION
    ]
    * 3
)


class Exchange(RuleBasedStateMachine):
    met: ClassVar[Counter[str]] = Counter()

    @initialize(
        rules=rulebooks,
        house=st.just(10**11),
        start=st.sampled_from(["falling"] * 3 + ["levered"] * 3 + ["quoted"] * 2 + ["new"]),
    )
    def open(self, rules: Any, house: int, start: str) -> None:
        self.book_of_rules = rules
        self.venue = Venue(rules, ASSETS, INSTRUMENTS)
        self.time_ns = T0
        self.journal: list[Stamped] = []
        self.hashes: list[str] = []
        self.witness = Witness(self.venue)
        self.audit = Audit()
        self.audit.feed(self.venue.opening())
        self.whole = True
        self.do(OpenAccounts(1, "vault"))
        self.do(OpenAccounts(CUSTOMERS - 1))
        self.do(Deposit(0, FIRST, tuple(usd * USD for usd in (500, 60, 120, 300, 1000, 5000))))
        self.do(Deposit(1, FIRST, (0, 0, 0, 50_000, 50_000, 50_000)))
        self.do(Deposit(0, HOUSE, (house * USD,)))
        self.do(Deposit(0, INSURANCE, (40 * USD,)))
        self.do(Deposit(0, FEES, (40 * USD,)))
        self.do(SetBackstop(VAULT, (0, 1)))
        if start != "new":
            self.index(100, 100, 10, SECOND_NS, 0)
        if start in ("levered", "falling"):
            self.lever()
        if start != "new":
            self.quote_and_arm()
        if start == "falling":
            self.index(96, 100, 10, SECOND_NS, 0)

    def lever(self) -> None:
        """Positions at almost all of their leverage, one isolated: the next prices liquidate somebody."""
        positions: Any = ((17, 0, BUY, 11), (18, 0, SELL, 14), (18, 1, BUY, 4), (19, 0, BUY, 55))
        self.do(SetLeverage(17, 0, 20, "isolated"))
        for account, instrument, side, size in positions:
            self.do(PlaceOrder(RICH, instrument, -side, size, 100))
            self.do(PlaceOrder(account, instrument, side, size, 100, "ioc"))

    def quote_and_arm(self) -> None:
        """Two-sided books, and stops beyond either side of them."""
        for instrument, middle in ((0, 100), (1, 100), (2, 10)):
            bids, asks = ((middle - 1, 5), (middle - 5, 20)), ((middle + 1, 5), (middle + 5, 20))
            self.do(MassQuote(RICH, instrument, bids, asks))
        for account, side, at in ((19, SELL, 95), (20, BUY, 105)):
            for reduce_only in (False, True):
                stop = Trigger("stop", "mark", at)
                self.do(PlaceOrder(account, 0, side, 2, None, "ioc", reduce_only=reduce_only, trigger=stop))

    def do(self, command: Command, later_ns: int = 0) -> tuple[Event, ...]:
        before = self.hashes[-1] if self.hashes else self.venue.state_hash()
        self.witness.watch()
        self.time_ns += later_ns
        batch = self.venue.apply(command, self.time_ns)
        self.journal.append(Stamped(batch.seq, self.time_ns, command))
        self.hashes.append(self.venue.state_hash())
        self.venue.check()
        if batch.events and isinstance(batch.events[0], Rejected):
            assert len(batch.events) == 1
            assert self.hashes[-1] == before, f"refused {command} left a trace"
        self.met.update(landmarks(command, batch, is_gate_shut=self.witness.before.is_gate_shut))
        self.witness.judge(command, batch)
        self.witness.judge_fees(0)
        self.audit.feed(batch)
        assert not self.audit._notes.findings, self.audit._notes.findings
        if any(isinstance(event, WorkLeft) for event in batch.events):
            self.whole = False
        return batch.events

    @rule(account=accounts, asset=st.integers(-1, 2), atoms=amounts)
    def deposit(self, account: int, asset: int, atoms: int) -> None:
        self.do(Deposit(asset, account, (atoms,)))

    @rule(account=accounts, asset=st.integers(-1, 2), atoms=amounts)
    def withdraw(self, account: int, asset: int, atoms: int) -> None:
        self.do(Withdraw(account, asset, atoms))

    @rule(account=accounts | st.just(17), instrument=contracts, atoms=amounts)
    def transfer(self, account: int, instrument: int, atoms: int) -> None:
        self.do(TransferMargin(account, instrument, atoms))

    @rule(
        account=accounts,
        instrument=contracts,
        leverage=st.sampled_from([0, 1, 5, 10, 20, 21]),
        mode=st.sampled_from(["cross", "isolated"]),
    )
    def leverage(self, account: int, instrument: int, leverage: int, mode: Any) -> None:
        self.do(SetLeverage(account, instrument, leverage, mode))

    @rule(
        account=accounts,
        instrument=instruments,
        side=sides,
        size=sizes,
        price=st.none() | prices,
        tif=st.sampled_from(["gtc", "gtc", "ioc", "fok", "fok"]),
        post_only=st.sampled_from([False, False, True]),
        reduce_only=st.sampled_from([False, False, True]),
        self_trade=self_trades,
        trigger=triggers,
    )
    def place(self, **fields: Any) -> None:
        fields["size_lots"] = fields.pop("size")
        fields["price_ticks"] = fields.pop("price")
        self.do(PlaceOrder(**fields))

    @rule(
        account=customers | st.just(RICH),
        instrument=st.sampled_from([0, 0, 1, 2]),
        side=sides,
        size=st.sampled_from([1, 5, 10, 40]),
        price=st.sampled_from([95, 99, 100, 101, 105]),
        reduce_only=st.sampled_from([False, False, False, True]),
        tif=st.sampled_from(["gtc", "gtc", "ioc", "fok"]),
        post_only=st.sampled_from([False, True, False]),
        self_trade=self_trades,
    )
    def trade(self, **fields: Any) -> None:
        fields["post_only"] &= fields["tif"] == "gtc"
        self.do(PlaceOrder(size_lots=fields.pop("size"), price_ticks=fields.pop("price"), **fields))

    @rule(
        account=customers,
        instrument=st.sampled_from([0, 0, 1]),
        size=st.sampled_from([1, 2, 5, 60]),
        price=st.none() | st.sampled_from([95, 99, 100, 101, 105]),
        reduce_only=st.booleans(),
    )
    def reduce(self, account: int, instrument: int, size: int, price: int | None, reduce_only: bool) -> None:
        """Against what is held, up to all of it, or over it."""
        side: Any = SELL if self.venue._state.accounts.lots.cells[instrument][account] > 0 else BUY
        tif: Any = "ioc" if price is None else "gtc"
        self.do(PlaceOrder(account, instrument, side, size, price, tif, reduce_only=reduce_only))

    @rule(
        account=customers,
        side=sides,
        size=st.sampled_from([1, 5, 10]),
        price=st.none() | st.sampled_from([90, 95, 105, 110]),
        kind=kinds,
        reference=references,
        at=st.sampled_from([86, 94, 98, 102, 106, 120]),
        reduce_only=st.booleans(),
    )
    def arm(
        self,
        account: int,
        side: Any,
        size: int,
        price: int | None,
        kind: Any,
        reference: Any,
        at: int,
        reduce_only: bool,
    ) -> None:
        tif: Any = "ioc" if price is None else "gtc"
        trigger = Trigger(kind, reference, at)
        self.do(PlaceOrder(account, 0, side, size, price, tif, reduce_only=reduce_only, trigger=trigger))

    def pick(self, number: int, account: int) -> tuple[int, int]:
        """Mostly an order that rests or waits and its owner; else any number, or not its owner."""
        state = self.venue._state
        known = sorted(state.orders) + sorted(state.armed)
        if not known or number > 50:
            return number, account
        chosen = known[number % len(known)]
        order = state.orders[chosen] if chosen in state.orders else state.armed[chosen].order
        return chosen, order.account if number < 42 else account

    @rule(
        account=accounts,
        number=numbers,
        price=st.none() | st.sampled_from([95, 99, 100, 101, 105, -5, 100_001]),
        size=st.none() | st.sampled_from([1, 2, 4, 10, 40, 0]),
    )
    def amend(self, account: int, number: int, price: int | None, size: int | None) -> None:
        order_id, account = self.pick(number, account)
        self.do(AmendOrder(account, order_id, price, size))

    @rule(account=accounts, number=numbers)
    def cancel(self, account: int, number: int) -> None:
        order_id, account = self.pick(number, account)
        self.do(CancelOrder(account, order_id))

    @rule(account=accounts, instrument=st.none() | instruments)
    def cancel_all(self, account: int, instrument: int | None) -> None:
        self.do(CancelAll(account, instrument))

    @rule(account=accounts, instrument=instruments, bids=levels, asks=levels)
    def quote(self, account: int, instrument: int, bids: Any, asks: Any) -> None:
        self.do(MassQuote(account, instrument, bids, asks))

    @rule(
        account=customers,
        instrument=st.sampled_from([0, 1, 2]),
        middle=st.sampled_from([70, 90, 100, 110]),
        size=st.sampled_from([2, 10]),
    )
    def make(self, account: int, instrument: int, middle: int, size: int) -> None:
        self.do(
            MassQuote(account, instrument, ((middle - 1, size), (middle - 5, size)), ((middle + 1, size),))
        )

    @precondition(lambda self: not self.venue._state.counters.started)
    @rule(instrument=instruments, lots=st.sampled_from([1, 10, 40]), entry=prices, isolated=amounts)
    def load(self, instrument: int, lots: int, entry: int, isolated: int) -> None:
        self.do(
            LoadPositions(
                instrument,
                100,
                (FIRST + 1, FIRST + 4),
                (lots, -lots),
                (100, entry),
                (10, 1),
                (isolated, 0),
            )
        )

    @rule(
        btc=st.sampled_from([60, 85, 95, 99, 100, 101, 105, 140]),
        wti=st.sampled_from([-40, -1, 0, 1, 20, 90, 100, 110, 150]),
        coin=st.sampled_from([1, 5, 10, 10, 90, 100]),
        later_ns=steps,
        age_ns=st.sampled_from([0, 0, -1, SECOND_NS, 120 * SECOND_NS]),
    )
    def index(self, btc: int, wti: int, coin: int, later_ns: int, age_ns: int) -> None:
        at = self.time_ns + later_ns - age_ns
        seen = tuple(Observation(n, 0, price, at) for n, price in enumerate((btc, wti, coin)))
        self.rest(self.do(UpdateIndex(seen), later_ns))

    @rule(
        btc=st.sampled_from([97, 103, 96, 106, 94, 88, 112]),
        wti=st.sampled_from([100, 95, 110, 60]),
        later_ns=st.sampled_from([SECOND_NS, SECOND_NS, HOUR_NS]),
    )
    def move(self, btc: int, wti: int, later_ns: int) -> None:
        self.index(btc, wti, 10, later_ns, 0)

    @rule(later_ns=steps)
    def tick(self, later_ns: int) -> None:
        self.rest(self.do(Tick(), later_ns))

    def rest(self, events: tuple[Event, ...]) -> None:
        """After the risk work of a command no compartment is below zero."""
        if not events or isinstance(events[0], Rejected):
            return
        state = self.venue._state
        if not all(status.liquidate for status in state.status):
            return
        assert state.accounts.balances.cells[0][DEFICIT] == 0
        self.witness.rest()
        for account in (INSURANCE, *range(FIRST, FIRST + CUSTOMERS)):
            for pocket in (0, 2, 3):
                if pocket and not state.accounts.isolated.cells[pocket - 2][account]:
                    assert state.accounts.balances.cells[pocket][account] == 0, "margin without a position"
                    continue
                risk = risk_of(state, (account, pocket))
                assert not risk.is_bankrupt, f"{account}, pocket {pocket}: {risk}"
            assert state.accounts.balances.cells[1][account] >= 0, "less than no coins"

    @rule(
        instrument=instruments,
        status=st.sampled_from([(True, True, True)] * 6 + [(False, True, True), (False, False, False)]),
    )
    def status(self, instrument: int, status: tuple[bool, bool, bool]) -> None:
        self.do(SetStatus(instrument, *status))

    @rule(
        account=st.sampled_from([20, 20, 21, 19]),
        wti=st.sampled_from([1, 40, 60, 160]),
        atoms=st.sampled_from([900, 50, 1000, 1]).map(lambda usd: usd * USD),
        later_ns=st.sampled_from([SECOND_NS, HOUR_NS]),
    )
    def outage(self, account: int, wti: int, atoms: int, later_ns: int) -> None:
        """WTI runs off while no holder of BTC may be liquidated; somebody wants his money meanwhile."""
        self.do(SetStatus(0, False, False, False))
        self.index(100, wti, 10, later_ns, 0)
        self.do(Withdraw(account, 0, atoms))
        self.do(SetStatus(0, True, True, True))
        self.tick(SECOND_NS)

    @rule(instrument=contracts, price=st.none() | prices)
    def settle(self, instrument: int, price: int | None) -> None:
        self.do(SettleInstrument(instrument, price))

    @rule(instrument=contracts, price=prices)
    def settle_for_the_day(self, instrument: int, price: int) -> None:
        self.do(SettleVariation(instrument, price))

    @invariant()
    def whole_work_is_done(self) -> None:
        assert getattr(self, "whole", True), "the bound on rounds was reached"

    def teardown(self) -> None:
        if not hasattr(self, "venue"):
            return
        middle = len(self.journal) // 2
        twin = Venue(self.book_of_rules, ASSETS, INSTRUMENTS)
        frames = b"".join((journal.JOURNAL_HEADER, *map(journal.encode, self.journal)))
        for at, (stamped, expected) in enumerate(zip(journal.commands(frames), self.hashes, strict=True)):
            if at == middle:
                twin = Venue.restore(self.book_of_rules, ASSETS, INSTRUMENTS, twin.snapshot())
            twin.apply(stamped.command, stamped.time_ns)
            assert twin.state_hash() == expected, f"command {stamped.seq} replays differently"


SHORT = settings(
    max_examples=100,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
LONG = settings(SHORT, max_examples=2_000, stateful_step_count=150)


LAWS = (
    "BOOK-01",
    "BOOK-02",
    "BOOK-03",
    "BOOK-04",
    "BOOK-05",
    "BOOK-06",
    "BOOK-07",
    "BOOK-08",
    "BOOK-10",
    "BOOK-11",
    "BOOK-12",
    "BOOK-13",
    "BOOK-14",
    "BOOK-15",
    "TRIG-01",
    "TRIG-02",
    "TRIG-03",
    "TRIG-04",
    "RO-01",
    "POS-03",
    "MARG-02",
    "MARG-03",
    "MARG-05",
    "MARG-06",
    "MARG-07",
    "MARK-03",
    "MARK-04",
    "MARK-06",
    "FUND-01",
    "FUND-03",
    "FUND-05",
    "FEE-01",
    "LIQ-01",
    "LIQ-02",
    "LIQ-03",
    "LIQ-04",
    "LIQ-05",
    "LIQ-12",
    "WFALL-02",
    "WFALL-04",
    "WFALL-05",
    "WFALL-06",
    "LEDG-01",
    "LEDG-02",
    "LEDG-03",
    "LEDG-04",
    "DET-02",
    "ACC-01",
)


@pytest.mark.spec(*LAWS)
class TestShort(Exchange.TestCase):  # type: ignore[valid-type, misc]
    settings = SHORT


class Counted(Exchange):
    """Keeps a count of its own of what it met."""

    met: ClassVar[Counter[str]] = Counter()


MET = {
    "BOOK-02": ("Filled", "quotes replaced"),
    "BOOK-04": ("fills at two prices", "gtc", "ioc"),
    "BOOK-08": ("UNKNOWN_ORDER", "NOT_YOUR_ORDER", "closed: cancelled"),
    "BOOK-10": ("keeps its place", "loses its place"),
    "BOOK-11": ("CANNOT_FILL",),
    "BOOK-12": ("post_only", "WOULD_TAKE", "closed: unfilled"),
    "BOOK-13": ("closed: self_trade", "OrderReduced"),
    "BOOK-14": ("PRICE_OUT_OF_RANGE", "Quoted"),
    "TRIG-01": ("TriggerArmed", "TriggerFired", "TRIGGER_ALREADY_MET"),
    "RO-01": ("reduce-only fill", "REDUCE_ONLY_NOTHING"),
    "MARG-02": ("MARGIN_TOO_SMALL", "BALANCE_TOO_SMALL"),
    "MARG-06": ("LeverageSet", "posted: isolate", "posted: deposit", "posted: withdrawal"),
    "MARK-03": ("Marked", "NOTHING_TO_DO"),
    "FUND-03": ("FundingSampled", "FundingSet", "posted: funding"),
    "FEE-01": ("posted: fill", "rebate"),
    "LIQ-01": ("LiquidationStarted", "LiquidationEnded"),
    "LIQ-03": ("forced fill with a fee",),
    "LIQ-04": ("IN_LIQUIDATION",),
    "LIQ-05": ("forced fill", "TakenOver", "closed: liquidation"),
    "WFALL-02": ("DeficitOpened", "DeficitClosed", "StagePaid"),
    "WFALL-04": ("Deleveraged",),
    "WFALL-05": ("paid: insurance", "posted: endowment"),
    "WFALL-06": ("withdrawal while the gate is shut", "DEFICIT_OPEN"),
    "ACC-01": ("OrderAmended", "NOT_YOUR_ORDER"),
}
"""What must have happened in the run for a law to have been put to the test by it."""


@pytest.mark.spec(*LAWS, kind="S")
def test_every_law_holds_and_the_machine_meets_what_they_are_about() -> None:
    """Always the same draws."""
    Counted.met.clear()
    run_state_machine_as_test(Counted, settings=settings(SHORT, derandomize=True, database=None))
    unmet = {name: [mark for mark in marks if not Counted.met[mark]] for name, marks in MET.items()}
    assert {name: marks for name, marks in unmet.items() if marks} == {}


@pytest.mark.long
class TestLong(Exchange.TestCase):  # type: ignore[valid-type, misc]
    settings = LONG
