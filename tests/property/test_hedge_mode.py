"""Random commands of accounts that hold both legs of a contract, and of net ones, with every invariant.

The legs are rebuilt from the events alone and must be those of the venue; the journal must replay to the same
events and, through a snapshot in its middle, to the same hash. The audit agrees with all of it.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.venues import ASSETS, T0, USD, perpetual, rulebook, spot
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import (
    AmendOrder,
    CancelAll,
    Command,
    Deposit,
    Observation,
    OpenAccounts,
    PlaceOrder,
    SetBackstop,
    SetLeverage,
    SetPositionMode,
    Stamped,
    Tick,
    TransferMargin,
    Trigger,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import (
    HOUSE,
    INSURANCE,
    Batch,
    Deleveraged,
    Event,
    Filled,
    OrderAccepted,
    PositionModeSet,
    TakenOver,
)
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.margin import pooled_equity, risk_of
from zerodebt.exchange.units import HOUR_NS, PPB, SECOND_NS
from zerodebt.exchange.venue import Venue

FIRST, CUSTOMERS = 16, 5
VAULT = FIRST
WHOLE: dict[str, Any] = {"tier_unit": "lots", "tier_form": "whole"}
BTC = perpetual("BTC", tiers=(Tier(0, 20), Tier(25, 10), Tier(60, 5)), **WHOLE)
COIN = perpetual(
    "COIN",
    contract="inverse",
    tick_value_atoms=10_000 * USD,
    size_max_lots=100,
    open_interest_max_lots=1000,
)
INSTRUMENTS = (BTC, COIN, spot("COIN/USDC"))
accounts = st.integers(FIRST, FIRST + CUSTOMERS - 1)
instruments = st.sampled_from([0, 0, 0, 1, 2])
sides: Any = st.sampled_from([1, -1])
sizes = st.sampled_from([1, 5, 10, 20, 40])
prices = st.sampled_from([80, 95, 99, 100, 101, 105, 120])
legs: Any = st.sampled_from(["long", "short", "long", "short", "net"])
amounts = st.sampled_from([-50, -5, 5, 50, 1000]).map(lambda usd: usd * USD)
triggers = st.none() | st.builds(
    Trigger, st.sampled_from(["stop", "take_profit"]), st.sampled_from(["mark", "last"]), prices
)
rulebooks = st.sampled_from(
    [
        rulebook(
            *waterfall,
            margin={"hedge_mode": True, "tier_sum": tier_sum},
            liquidation={"backstop_below_ppb": PPB // 2} | liquidation,
            fees={"maker_ppb": -100_000, "taker_ppb": 450_000, "liquidation_ppb": 5_000_000},
            funding={"premium": "mark", "interest_ppt": 10**8, "clamp_ppt": 10**12, "paid_on": "mark"},
            **more,
        )
        for tier_sum in ("legs", "gross")
        for waterfall, liquidation, more in (
            (("book", "backstop", "insurance", "adl", "house"), {}, {}),
            (
                ("book", "adl", "insurance", "house"),
                {"steps": ["ladder", "whole"]},
                {"adl": {"policy": "pro_rata"}},
            ),
            (
                ("book", "insurance", "adl", "socialise", "house"),
                {"steps": ["whole"], "price_limit": "bankruptcy"},
                {
                    "insurance": {"scope": "instrument", "takes": "unfilled", "price": "bankruptcy"},
                    "adl": {"trigger": "unfilled", "price": "mark"},
                    "socialise": {"form": "funding_index"},
                },
            ),
        )
    ]
)


class Legs:
    """Signed lots by (instrument, account, is short leg), from the events alone."""

    def __init__(self) -> None:
        self.lots: dict[tuple[int, int, bool], int] = {}
        self.hedged: set[int] = set()
        self.reduces: dict[int, bool] = {}

    def move(self, instrument: int, account: int, lots: int, sign: int) -> None:
        """Lots of the leg of this sign."""
        key = (instrument, account, account in self.hedged and sign < 0)
        self.lots[key] = self.lots.get(key, 0) + lots

    def follow(self, event: Event) -> None:
        match event:
            case PositionModeSet():
                (self.hedged.add if event.mode == "hedge" else self.hedged.discard)(event.account)
            case OrderAccepted():
                self.reduces[event.order_id] = event.reduce_only
            case Filled() if INSTRUMENTS[event.instrument].kind != "spot":
                for order, account, side in (
                    (event.taker_order, event.taker, event.taker_side),
                    (event.maker_order, event.maker, -event.taker_side),
                ):
                    sign = -side if self.reduces[order] else side
                    self.move(event.instrument, account, side * event.size_lots, sign)
            case TakenOver():
                self.move(event.instrument, event.account, -event.lots, event.lots)
                self.move(event.instrument, event.taker, event.lots, event.lots)
            case Deleveraged():
                self.move(event.instrument, event.winner, -event.lots, event.lots)
                self.move(event.instrument, event.account, event.lots, -event.lots)


class Hedgers(RuleBasedStateMachine):
    @initialize(
        rules=rulebooks,
        modes=st.lists(st.sampled_from([True, True, False]), min_size=4, max_size=4),
        opening=st.lists(
            st.tuples(accounts, accounts, st.sampled_from([0, 0, 1]), sizes), min_size=4, max_size=10
        ),
    )
    def begin(self, rules: Any, modes: list[bool], opening: list[tuple[int, int, int, int]]) -> None:
        self.rulebook = rules
        self.venue = Venue(rules, ASSETS, INSTRUMENTS)
        self.opening = self.venue.opening()
        self.legs = Legs()
        self.journal: list[Stamped] = []
        self.batches: list[Batch] = []
        self.now = T0
        self.middle: tuple[int, bytes] | None = None
        self.do(OpenAccounts(1, "vault"))
        self.do(OpenAccounts(CUSTOMERS - 1))
        self.do(SetBackstop(VAULT, (0, 1)))
        self.do(Deposit(0, FIRST, (600 * USD,) * CUSTOMERS))
        self.do(Deposit(0, INSURANCE, (50 * USD,)))
        self.do(Deposit(0, HOUSE, (10_000 * USD,)))
        for n, is_hedged in enumerate(modes):
            if is_hedged:
                self.do(SetPositionMode(FIRST + 1 + n, "hedge"))
        self.mark(100, 100, 0)
        for buyer, seller, i, size in opening:
            self.trade(buyer, seller, i, size, opens=True)

    def do(self, command: Command, after_ns: int = 0) -> None:
        self.now += after_ns
        batch = self.venue.apply(command, self.now)
        self.venue.check()
        self.journal.append(Stamped(batch.seq, self.now, command))
        self.batches.append(batch)
        for event in batch.events:
            self.legs.follow(event)

    @rule(
        account=accounts,
        i=instruments,
        side=sides,
        size=sizes,
        price=st.none() | prices,
        leg=legs,
        trigger=triggers,
    )
    def place(
        self, account: int, i: int, side: Any, size: int, price: int | None, leg: Any, trigger: Any
    ) -> None:
        is_hedged = account in self.legs.hedged and i != 2
        leg = leg if is_hedged else "net"
        tif: Any = "gtc" if price is not None else "ioc"
        self.do(PlaceOrder(account, i, side, size, price, tif, trigger=trigger if i != 2 else None, leg=leg))

    @rule(buyer=accounts, seller=accounts, i=st.sampled_from([0, 0, 1]), size=sizes, opens=st.booleans())
    def trade(self, buyer: int, seller: int, i: int, size: int, opens: bool) -> None:
        """The seller rests at the mark, the buyer takes; each opens, or closes the other leg."""
        mark = self.venue.view.mark_ticks(i)
        for account, side in ((seller, -1), (buyer, 1)):
            leg: Any = "net"
            if account in self.legs.hedged:
                leg = "long" if (side > 0) == opens else "short"
            self.do(PlaceOrder(account, i, side, size, mark, leg=leg))  # type: ignore[arg-type]

    @rule(account=accounts, order=st.integers(1, 40), price=prices, size=sizes)
    def amend(self, account: int, order: int, price: int, size: int) -> None:
        self.do(AmendOrder(account, order, price, size))

    @rule(account=accounts)
    def cancel(self, account: int) -> None:
        self.do(CancelAll(account))

    @rule(
        account=accounts,
        i=instruments,
        leverage=st.sampled_from([1, 5, 20]),
        mode=st.sampled_from(["cross", "isolated"]),
    )
    def choose(self, account: int, i: int, leverage: int, mode: Any) -> None:
        self.do(SetLeverage(account, i, leverage, mode))

    @rule(account=accounts, mode=st.sampled_from(["net", "hedge"]))
    def switch(self, account: int, mode: Any) -> None:
        self.do(SetPositionMode(account, mode))

    @rule(account=accounts, i=instruments, atoms=amounts, leg=legs)
    def transfer(self, account: int, i: int, atoms: int, leg: Any) -> None:
        self.do(TransferMargin(account, i, atoms, leg))

    @rule(account=accounts, atoms=amounts)
    def withdraw(self, account: int, atoms: int) -> None:
        self.do(Withdraw(account, 0, atoms * 5))

    @rule(
        btc=st.sampled_from([60, 80, 90, 97, 100, 103, 110, 140]),
        coin=st.sampled_from([90, 100, 110]),
        after=st.sampled_from([0, SECOND_NS, HOUR_NS]),
    )
    def mark(self, btc: int, coin: int, after: int) -> None:
        self.now += after
        marks = enumerate((btc, coin, 100))
        self.do(UpdateIndex(tuple(Observation(n, 0, price, self.now) for n, price in marks)))

    @rule()
    def tick(self) -> None:
        self.do(Tick(), HOUR_NS)

    @rule()
    def remember(self) -> None:
        self.middle = (len(self.journal), self.venue.snapshot())

    @invariant()
    def legs_are_those_of_the_events(self) -> None:
        if not hasattr(self, "venue"):
            return
        view = self.venue.view
        for account in (INSURANCE, *range(FIRST, FIRST + CUSTOMERS)):
            for i in (0, 1):
                long, short = view.legs_lots(i, account)
                assert long == self.legs.lots.get((i, account, False), 0)
                assert short == self.legs.lots.get((i, account, True), 0)
                assert short <= 0
                assert long >= 0 or account not in self.legs.hedged
        for i in (0, 1):
            assert sum(lots for (n, _, _), lots in self.legs.lots.items() if n == i) == 0

    @invariant()
    def whole_passes_agree_with_single_accounts(self) -> None:
        if not hasattr(self, "venue"):
            return
        state = self.venue._state
        rows = np.arange(FIRST, FIRST + CUSTOMERS)
        equity, required = pooled_equity(state, rows)
        for row, e, r in zip(rows.tolist(), equity.tolist(), required.tolist(), strict=True):
            risk = risk_of(state, (row, state.settle))
            assert (risk.equity_atoms, risk.maintenance_atoms) == (e, r)

    def teardown(self) -> None:
        if not hasattr(self, "venue"):
            return
        twin = Venue(self.rulebook, ASSETS, INSTRUMENTS)
        for stamped, batch in zip(self.journal, self.batches, strict=True):
            assert twin.apply(stamped.command, stamped.time_ns) == batch
        assert twin.state_hash() == self.venue.state_hash()
        report = audit([self.opening, *self.batches])
        assert report.findings == ()
        assert report.holdings_digest == self.venue.view.statement().holdings_digest
        if self.middle is not None:
            done, snapshot = self.middle
            twin = Venue.restore(self.rulebook, ASSETS, INSTRUMENTS, snapshot)
            for stamped in self.journal[done:]:
                twin.apply(stamped.command, stamped.time_ns)
            assert twin.state_hash() == self.venue.state_hash()


@pytest.mark.spec("LEDG-01", "LEDG-02", "POS-03", "RO-01")
class TestHedgers(Hedgers.TestCase):  # type: ignore[valid-type, misc]
    settings = settings(
        max_examples=60,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def test_audit_reads_an_inverse_position_that_the_fund_paid_up_at_the_mark() -> None:
    """With equity of exactly 0 the tick that uses up nothing lies beside the mark."""
    day = Hedgers()
    rules = rulebook(
        "book",
        "insurance",
        "adl",
        "house",
        margin={"hedge_mode": True},
        liquidation={"steps": ["whole"], "price_limit": "bankruptcy"},
        insurance={"scope": "instrument", "takes": "unfilled", "price": "bankruptcy"},
        adl={"trigger": "unfilled", "price": "mark"},
    )
    vault, other = FIRST, FIRST + 1
    day.begin(rules, [True] * 4, [(vault, other, 1, 1), (other, vault, 0, 20)])
    day.mark(140, 100, SECOND_NS)
    day.mark(60, 90, SECOND_NS)
    assert any(isinstance(event, TakenOver) for event in day.batches[-1].events)
    day.teardown()
