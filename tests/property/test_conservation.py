"""Random commands over a few accounts and instruments, with every invariant after each.

Each field is drawn from a small domain of its own, so that accounts, numbers, prices and times collide. The
positions are rebuilt from the events alone and must be those of the venue; a reduce-only order is followed
through its fills. At the end the journal is replayed to the same hash and the same events.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.property.laws import Witness
from tests.venues import ASSETS, T0, USD, future, perpetual, rulebook, spot
from zerodebt.exchange import journal
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

accounts = st.integers(FIRST - 1, FIRST + CUSTOMERS)
instruments = st.integers(-1, len(INSTRUMENTS))
numbers = st.integers(0, 40)
sizes = st.sampled_from([-1, 0, 1, 2, 5, 10, 40, 101])
prices = st.sampled_from([-5, 0, 1, 60, 90, 95, 99, 100, 101, 105, 110, 140, 100_001])
amounts = st.sampled_from([-50, -1, 0, 1, 7, 50, 1000, 10**13]).map(lambda usd: usd * USD)
sides: Any = st.sampled_from([1, -1])
steps = st.sampled_from([0, 0, 1, SECOND_NS, 31 * SECOND_NS, HOUR_NS, 3 * HOUR_NS])
levels = st.lists(st.tuples(prices, sizes), max_size=3).map(tuple)
triggers = st.none() | st.builds(
    Trigger, st.sampled_from(["stop", "take_profit"]), st.sampled_from(["mark", "last"]), prices
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
        for maker, liquidation in ((150_077, 0), (-100_003, 5_000_000))
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
        for fee, formula in ((0, "index"), (5_000_000, "median"))
        for tables in LIQUIDATION
    ]
)


class Exchange(RuleBasedStateMachine):
    @initialize(rules=rulebooks, house=st.just(10**11), levered=st.booleans())
    def open(self, rules: Any, house: int, levered: bool) -> None:
        self.book_of_rules = rules
        self.venue = Venue(rules, ASSETS, INSTRUMENTS)
        self.time_ns = T0
        self.journal: list[Stamped] = []
        self.hashes: list[str] = []
        self.witness = Witness(self.venue)
        self.whole = True
        self.do(OpenAccounts(1, "vault"))
        self.do(OpenAccounts(CUSTOMERS - 1))
        self.do(Deposit(0, FIRST, tuple(usd * USD for usd in (500, 60, 120, 300, 1000, 5000))))
        self.do(Deposit(1, FIRST, (0, 0, 0, 50_000, 50_000, 50_000)))
        self.do(Deposit(0, HOUSE, (house * USD,)))
        self.do(Deposit(0, INSURANCE, (40 * USD,)))
        self.do(Deposit(0, FEES, (40 * USD,)))
        self.do(SetBackstop(VAULT, (0, 1)))
        if levered:
            self.lever()

    def lever(self) -> None:
        """Start with positions at almost all of their leverage: the next prices liquidate somebody."""
        self.index(100, 100, 10, SECOND_NS, 0)
        rich = FIRST + CUSTOMERS - 1
        positions: Any = ((17, 0, BUY, 11), (18, 0, SELL, 22), (18, 1, BUY, 1), (19, 0, BUY, 55))
        for account, instrument, side, size in positions:
            self.do(PlaceOrder(rich, instrument, -side, size, 100))
            self.do(PlaceOrder(account, instrument, side, size, 100, "ioc"))

    def do(self, command: Command, later_ns: int = 0) -> tuple[Event, ...]:
        before = self.venue.state_hash()
        self.witness.watch()
        self.time_ns += later_ns
        batch = self.venue.apply(command, self.time_ns)
        self.journal.append(Stamped(batch.seq, self.time_ns, command))
        self.hashes.append(self.venue.state_hash())
        self.venue.check()
        if batch.events and isinstance(batch.events[0], Rejected):
            assert len(batch.events) == 1
            assert self.hashes[-1] == before, f"refused {command} left a trace"
        self.witness.judge(command, batch)
        self.witness.judge_fees(0)
        if any(isinstance(event, WorkLeft) for event in batch.events):
            self.whole = False
        return batch.events

    @rule(account=accounts, asset=st.integers(-1, 2), atoms=amounts)
    def deposit(self, account: int, asset: int, atoms: int) -> None:
        self.do(Deposit(asset, account, (atoms,)))

    @rule(account=accounts, asset=st.integers(-1, 2), atoms=amounts)
    def withdraw(self, account: int, asset: int, atoms: int) -> None:
        self.do(Withdraw(account, asset, atoms))

    @rule(account=accounts, instrument=instruments, atoms=amounts)
    def transfer(self, account: int, instrument: int, atoms: int) -> None:
        self.do(TransferMargin(account, instrument, atoms))

    @rule(
        account=accounts,
        instrument=instruments,
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
        tif=st.sampled_from(["gtc", "gtc", "ioc", "fok"]),
        post_only=st.sampled_from([False, False, True]),
        reduce_only=st.booleans(),
        self_trade=st.sampled_from(["cancel_newest", "cancel_oldest", "cancel_both", "decrement"]),
        trigger=triggers,
    )
    def place(self, **fields: Any) -> None:
        fields["size_lots"] = fields.pop("size")
        fields["price_ticks"] = fields.pop("price")
        self.do(PlaceOrder(**fields))

    @rule(
        account=st.integers(FIRST, FIRST + CUSTOMERS - 1),
        instrument=st.sampled_from([0, 0, 1, 2]),
        side=sides,
        size=st.sampled_from([1, 5, 10, 40]),
        price=st.sampled_from([95, 99, 100, 101, 105]),
        reduce_only=st.sampled_from([False, False, False, True]),
    )
    def trade(
        self, account: int, instrument: int, side: Any, size: int, price: int, reduce_only: bool
    ) -> None:
        self.do(PlaceOrder(account, instrument, side, size, price, reduce_only=reduce_only))

    @rule(account=accounts, order_id=numbers, price=st.none() | prices, size=st.none() | sizes)
    def amend(self, account: int, order_id: int, price: int | None, size: int | None) -> None:
        order = self.venue._state.orders.get(order_id)
        self.do(AmendOrder(order.account if order and account % 2 else account, order_id, price, size))

    @rule(account=accounts, order_id=numbers)
    def cancel(self, account: int, order_id: int) -> None:
        self.do(CancelOrder(account, order_id))

    @rule(account=accounts, instrument=st.none() | instruments)
    def cancel_all(self, account: int, instrument: int | None) -> None:
        self.do(CancelAll(account, instrument))

    @rule(account=accounts, instrument=instruments, bids=levels, asks=levels)
    def quote(self, account: int, instrument: int, bids: Any, asks: Any) -> None:
        self.do(MassQuote(account, instrument, bids, asks))

    @rule(
        account=st.integers(FIRST, FIRST + CUSTOMERS - 1),
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
        status=st.sampled_from([(True, True, True)] * 4 + [(False, True, True), (False, False, False)]),
    )
    def status(self, instrument: int, status: tuple[bool, bool, bool]) -> None:
        self.do(SetStatus(instrument, *status))

    @rule(instrument=instruments, price=st.none() | prices)
    def settle(self, instrument: int, price: int | None) -> None:
        self.do(SettleInstrument(instrument, price))

    @rule(instrument=instruments, price=prices)
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
    max_examples=200,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
LONG = settings(SHORT, max_examples=2_000, stateful_step_count=150)


@pytest.mark.spec(
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
class TestShort(Exchange.TestCase):  # type: ignore[valid-type, misc]
    settings = SHORT


@pytest.mark.long
class TestLong(Exchange.TestCase):  # type: ignore[valid-type, misc]
    settings = LONG
