"""A witness of one venue in net mode: every law that can be read off a command, its events and the state.

It keeps orders, positions and money from the events alone, and compares them with the venue afterwards.
"""

from collections import Counter
from typing import Any

import numpy as np
from msgspec import Struct

from zerodebt.exchange.accounts import BACKSTOP, Accounts
from zerodebt.exchange.commands import (
    CancelAll,
    CancelOrder,
    Command,
    Deposit,
    MassQuote,
    PlaceOrder,
    SetLeverage,
    SetPositionMode,
    Tick,
    TransferMargin,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import (
    CLEARING,
    DEFICIT,
    FEES,
    FIRST_ACCOUNT,
    INSURANCE,
    ROUNDING,
    Batch,
    Converted,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    Event,
    ExchangeArmed,
    Filled,
    FundingSet,
    LiquidationEnded,
    LiquidationStarted,
    Marked,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    PositionsLoaded,
    Posted,
    Quoted,
    Rejected,
    Settled,
    TakenOver,
    TriggerArmed,
    TriggerFired,
)
from zerodebt.exchange.instruments import order_step_ticks
from zerodebt.exchange.margin import customer_equities, initial_excess_atoms, risk_of
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.state import State
from zerodebt.exchange.units import PPT
from zerodebt.exchange.venue import Venue

OWN_ACCOUNT_ONLY = (Deposit, Withdraw, TransferMargin, SetLeverage, SetPositionMode, CancelOrder, CancelAll)
FORCED = (LiquidationStarted, TakenOver, Deleveraged, DeficitOpened, ExchangeArmed, Converted, TriggerFired)


class Live(Struct):
    """An order that may still trade; `arrived` is its place in time."""

    account: int
    instrument: int
    side: int
    limit_ticks: int | None
    open_lots: int
    tif: str
    post_only: bool
    reduce_only: bool
    forced: bool
    arrived: int


class Before(Struct):
    """What a command found."""

    marks: list[int | None]
    spreads: list[tuple[int | None, int | None, int | None]]
    observed: list[list[tuple[int, int] | None]]
    tables: dict[str, Any]
    orders: dict[int, tuple[int, int, bool]]
    equities: list[int]
    excess: dict[int, int]
    lots: dict[tuple[int, int], int]
    in_liquidation: set[tuple[int, int]]
    is_gate_shut: bool
    pools: list[int]
    live: dict[int, tuple[int, int | None]]


class Witness:
    """`watch` before a command, then `judge` with its batch."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.live: dict[int, Live] = {}
        self.armed: dict[int, TriggerArmed] = {}
        self.lots: dict[tuple[int, int], int] = {}
        self.spent: dict[tuple[int, int], int] = {}
        self.money: Counter[tuple[int, int]] = Counter()
        self.deficits: dict[int, tuple[int, int]] = {}
        self.deleveraged: set[tuple[int, int]] = set()
        self.fees = 0
        self.liquidated: set[tuple[int, int]] = set()
        self.emptied: set[tuple[int, int]] = set()
        self.filled: Counter[int] = Counter()
        self.funding_ppm: Counter[int] = Counter()
        self.moved_at_ns: int | None = None
        self.arrivals = 0

    @property
    def state(self) -> State:
        return self.venue._state

    def watch(self) -> None:
        state = self.state
        count = state.accounts.count
        books = [(book.best_ticks(1), book.best_ticks(-1)) for book in state.books]
        customers = range(FIRST_ACCOUNT, count)
        started = state.counters.started
        self.before = Before(
            [market.prices.mark_ticks for market in state.markets],
            [(*best, m.prices.last_ticks) for best, m in zip(books, state.markets, strict=True)],
            [list(market.prices.observed) for market in state.markets],
            {name: getattr(state.accounts, name).array[:, :count].copy() for name in Accounts.STATE},
            self._reduce_only_orders(),
            customer_equities(state).tolist() if started else [],
            {account: initial_excess_atoms(state, account) for account in customers} if started else {},
            dict(self.lots),
            set(state.in_liquidation),
            bool(state.open_deficits) or state.accounts.balances.cells[state.settle][DEFICIT] < 0,
            [row[INSURANCE] for row in state.accounts.balances.cells],
            {number: (order.open_lots, order.limit_ticks) for number, order in self.live.items()},
        )

    def _reduce_only_orders(self) -> dict[int, tuple[int, int, bool]]:
        """(account, instrument, reduce-only) of what rests or waits."""
        resting = {k: (o.account, o.instrument, o.reduce_only) for k, o in self.state.orders.items()}
        waiting = {
            k: (a.order.account, a.order.instrument, a.order.reduce_only) for k, a in self.state.armed.items()
        }
        return resting | waiting

    def judge(self, command: Command, batch: Batch) -> None:
        self.emptied.clear()
        self.filled.clear()
        self.deleveraged.clear()
        for at, event in enumerate(batch.events):
            self._follow(event)
            if isinstance(event, FundingSet):
                self._judge_funding(event, batch.events[at + 1 :])
        self._judge_orders(batch)
        self._judge_swept(batch)
        self._judge_prices(command, batch)
        self._judge_triggers(batch)
        self._judge_others(command, batch)
        self._judge_own(command, batch)
        if self.state.counters.started:
            self._judge_equity()

    # What the events say

    def _follow(self, event: Event) -> None:
        match event:
            case OrderAccepted():
                self.arrivals += 1
                self.live[event.order_id] = Live(
                    event.account,
                    event.instrument,
                    event.side,
                    event.price_ticks,
                    event.size_lots,
                    event.tif,
                    event.post_only,
                    event.reduce_only,
                    event.forced,
                    self.arrivals,
                )
            case OrderAmended():
                self._amend(event)
            case OrderReduced():
                self._leave(event.order_id, event.open_lots)
            case OrderClosed():
                if self.armed.pop(event.order_id, None) is None:
                    assert self.live.pop(event.order_id).open_lots == event.open_lots, "BOOK-15"
            case Quoted():
                self._quote(event)
            case Filled():
                self._fill(event)
            case TakenOver():
                self._trade(event.instrument, event.account, -event.lots, event.price_ticks)
                self._trade(event.instrument, event.taker, event.lots, event.price_ticks)
            case Deleveraged():
                held = self.lots[event.instrument, event.winner]
                assert held * event.lots > 0, "WFALL-04: deleveraging takes what the winner does not hold"
                assert abs(event.lots) <= abs(held), "WFALL-04: deleveraging flips the winner"
                self._trade(event.instrument, event.winner, -event.lots, event.price_ticks)
                self._trade(event.instrument, event.account, event.lots, event.price_ticks)
                self.deleveraged.add((event.account, self._pocket(event.account, event.instrument)))
            case PositionsLoaded():
                for account, lots in zip(event.accounts, event.lots, strict=True):
                    self._trade(event.instrument, account, lots, event.price_ticks)
            case Settled():
                for instrument, account in list(self.lots):
                    lots = self.lots[instrument, account]
                    if instrument == event.instrument and lots:
                        self._trade(instrument, account, -lots, event.price_ticks)
            case TriggerArmed():
                self.armed[event.order_id] = event
            case TriggerFired():
                self._fire(event)
            case Posted():
                self._post(event)
            case LiquidationStarted():
                compartment = (event.account, event.pocket)
                margin = event.equity_atoms - event.haircut_atoms
                at_or_below = self.state.rules.liquidation.trigger == "at_or_below"
                assert margin < event.maintenance_atoms + at_or_below, "LIQ-01: liquidated though safe"
                assert compartment not in self.liquidated, "LIQ-03: liquidated twice at once"
                if not self.state.collateral:
                    assert event.equity_atoms == self._equity_atoms(compartment), "LIQ-01: not by its equity"
                self.liquidated.add(compartment)
            case LiquidationEnded():
                self.liquidated.remove((event.account, event.pocket))
            case DeficitOpened():
                self.deficits[event.deficit_id] = (event.account, event.pocket)
            case DeficitClosed():
                self._judge_absorbed(self.deficits.pop(event.deficit_id))

    def _amend(self, event: OrderAmended) -> None:
        order = self.live[event.order_id]
        shrinks = event.price_ticks == order.limit_ticks and event.open_lots < order.open_lots
        if event.keeps_place:
            assert shrinks, "BOOK-10: a larger or dearer order keeps its place"
        else:
            self.arrivals += 1
            order.arrived = self.arrivals
        order.limit_ticks, order.open_lots = event.price_ticks, event.open_lots

    def _quote(self, event: Quoted) -> None:
        for number in event.removed:
            del self.live[number]
        for number, side, price, lots in event.placed:
            self.arrivals += 1
            self.live[number] = Live(
                event.account, event.instrument, side, price, lots, "gtc", True, False, False, self.arrivals
            )

    def _leave(self, number: int, open_lots: int) -> None:
        order = self.live[number]
        assert open_lots < order.open_lots, "BOOK-15: an order grows"
        order.open_lots = open_lots
        if not open_lots:
            del self.live[number]

    def _fill(self, event: Filled) -> None:
        taker, maker = self.live[event.taker_order], self.live[event.maker_order]
        price, lots = event.price_ticks, event.size_lots
        assert lots >= 1, "BOOK-07"
        assert price == maker.limit_ticks, "BOOK-03: not the resting order's price"
        assert taker.limit_ticks is None or taker.side * (price - taker.limit_ticks) <= 0, "BOOK-04"
        assert taker.side == -maker.side == event.taker_side
        assert not taker.post_only, "BOOK-12: a post-only order takes"
        assert (taker.account, maker.account) == (event.taker, event.maker)
        assert event.taker != event.maker, "BOOK-13: somebody trades with himself"
        self._judge_priority(event)
        rebate = min(0, event.maker_fee_atoms)
        assert -rebate <= event.taker_fee_atoms, "FEE-01: a rebate that no taker pays"
        settle = self.state.settle
        payer = (event.taker, self._pocket(event.taker, event.instrument) if taker.forced else settle)
        self.money[payer] -= event.taker_fee_atoms
        self.money[event.maker, settle] -= event.maker_fee_atoms
        self.fees += event.maker_fee_atoms + (0 if taker.forced else event.taker_fee_atoms)
        self.filled[event.taker_order] += lots
        is_spot = self.state.instruments[event.instrument].kind == "spot"
        for order, account in ((taker, event.taker), (maker, event.maker)):
            signed = order.side * lots
            if is_spot:
                self.money[account, settle] -= self._value(event.instrument, price, signed)
                continue
            held = self.lots.get((event.instrument, account), 0)
            if order.reduce_only or order.forced:
                name = "LIQ-05: a forced" if order.forced else "RO-01: a reduce-only"
                assert held * signed < 0, f"{name} order opens"
                assert abs(signed) <= abs(held), f"{name} order flips"
            self._trade(event.instrument, account, signed, price)
        if not is_spot:
            self._judge_fee(payer, event.taker_fee_atoms)
            self._judge_fee((event.maker, settle), event.maker_fee_atoms)
        self._leave(event.taker_order, taker.open_lots - lots)
        self._leave(event.maker_order, maker.open_lots - lots)

    def _judge_priority(self, event: Filled) -> None:
        """BOOK-01, BOOK-02: the maker is the first of its side by price and then by arrival."""
        first = min(
            (-order.side * (order.limit_ticks or 0), order.arrived, number)
            for number, order in self.live.items()
            if order.instrument == event.instrument
            and order.side == -event.taker_side
            and number != event.taker_order
        )
        assert first[2] == event.maker_order, f"BOOK-01: {event} passes over order {first[2]}"

    def _value(self, instrument: int, price: int, lots: int) -> int:
        return price * lots * self.state.instruments[instrument].tick_value_atoms

    def _trade(self, instrument: int, account: int, lots: int, price: int) -> None:
        key = (instrument, account)
        held = self.lots.get(key, 0)
        if held and held * (held + lots) <= 0:
            self.emptied.add(key)
        self.lots[key] = held + lots
        self.spent[key] = self.spent.get(key, 0) + self._value(instrument, price, lots)
        if not self.lots[key]:
            self.money[account, self._pocket(account, instrument)] -= self.spent.pop(key)

    def _post(self, event: Posted) -> None:
        """Money that moved by itself: what clearing pays follows from the prices, a fill says its fees."""
        if event.reason in ("fill", "variation"):
            return
        legs = list(event.legs)
        while legs:
            account, pocket, atoms = legs.pop(0)
            if legs and legs[0][0] == CLEARING and legs[0][2] == -atoms:
                legs.pop(0)
            elif pocket >= len(self.state.assets) or pocket == self.state.settle:
                self.money[account, pocket] += atoms
                if event.reason == "insurance" and account == INSURANCE and atoms < 0:
                    self._judge_pool(pocket, legs[0])

    def _pocket(self, account: int, instrument: int) -> int:
        return self.state.compartment_of(account, instrument)[1]

    def _instruments(self, compartment: tuple[int, int]) -> list[int]:
        """Contracts of a compartment; the cross pool has the spot markets too."""
        account, pocket = compartment
        numbers = range(len(self.state.instruments))
        spots = [n for n in numbers if self.state.instruments[n].kind == "spot"]
        own = [n for n in numbers if n not in spots and self._pocket(account, n) == pocket]
        return own + spots if pocket == self.state.settle else own

    def _equity_atoms(self, compartment: tuple[int, int]) -> int:
        """Money and open profit at the marks, without collateral."""
        account, _ = compartment
        atoms = self.money[compartment]
        for n in self._instruments(compartment):
            lots = self.lots.get((n, account), 0)
            if lots:
                mark = self.state.markets[n].prices.mark_ticks
                assert mark is not None
                atoms += self._value(n, mark, lots) - self.spent[n, account]
        return atoms

    def _judge_fee(self, payer: tuple[int, int], fee_atoms: int) -> None:
        """LIQ-03, FEE-01: a fee takes nobody below zero; who is there already pays none."""
        if fee_atoms > 0 and not self.state.collateral:
            left = self._equity_atoms(payer)
            assert left >= 0, f"LIQ-03: a fee of {fee_atoms} atoms leaves {payer} with {left}"

    def _judge_absorbed(self, compartment: tuple[int, int]) -> None:
        """WFALL-02: no orders, and exactly nothing; a debt may stay beside lots that no stage could take.

        Who is deleveraged may keep something: at a price of whole ticks, or at the rulebook's kinder one.
        """
        account, _ = compartment
        if account < FIRST_ACCOUNT or self.state.accounts.vault.cells[0][account] == BACKSTOP:
            return
        own = self._instruments(compartment)
        orders = [n for n, o in self.live.items() if o.account == account and o.instrument in own]
        orders += [n for n, o in self.armed.items() if o.account == account and o.instrument in own]
        assert not orders, f"WFALL-02: {compartment} is absorbed and keeps {orders}"
        if self.state.collateral:
            return
        left = self._equity_atoms(compartment)
        holds = any(self.lots.get((n, account)) for n in own)
        assert left >= 0 or holds, f"WFALL-02: {compartment} owes {-left} atoms"
        assert left <= 0 or compartment in self.deleveraged, f"WFALL-02: {compartment} keeps {left} atoms"

    def _judge_swept(self, batch: Batch) -> None:
        """WFALL-02, LIQ-04: of the orders that a liquidation found none is left after its command."""
        for event in batch.events:
            if isinstance(event, LiquidationStarted):
                own = self._instruments((event.account, event.pocket))
                for number, (account, instrument, _) in self.before.orders.items():
                    is_left = number in self.live or number in self.armed
                    is_own = account == event.account and instrument in own
                    assert not (is_left and is_own), f"WFALL-02: order {number} outlives its liquidation"

    def _judge_pool(self, source: int, paid: tuple[int, int, int]) -> None:
        """WFALL-05: by instrument, a deficit draws on the pools of what its compartment has held."""
        if self.state.rules.insurance.scope != "instrument":
            assert source == self.state.settle, "WFALL-05"
            return
        account, pocket, _ = paid
        own = [n for n in self._instruments((account, pocket)) if self.state.instruments[n].kind != "spot"]
        held = [n for n in own if self.lots.get((n, account)) or self.before.lots.get((n, account))]
        asked = {self._pocket(INSURANCE, n) for n in held}
        every = {self._pocket(INSURANCE, market.number) for market in self.state.contracts}
        assert source in (asked or every), f"WFALL-05: pocket {source} pays for {account} in {pocket}"

    def _fire(self, event: TriggerFired) -> None:
        armed = self.armed.pop(event.order_id)
        trigger, price = armed.trigger, event.reference_ticks
        waits_below = (trigger.kind == "stop") == (armed.side < 0)
        is_met = price <= trigger.price_ticks if waits_below else price >= trigger.price_ticks
        assert is_met, f"TRIG-02: {armed} fires at {price}"

    # Laws of a command

    def _judge_funding(self, event: FundingSet, later: tuple[Event, ...]) -> None:
        """FUND-01, FUND-03, FUND-05: who holds now pays by this stamp's own rate, and nobody else."""
        rules = self.state.rules.funding
        time_ns = self.state.time_ns
        assert self.moved_at_ns is not None
        stamps = time_ns // rules.interval_ns - self.moved_at_ns // rules.interval_ns
        assert event.intervals == stamps, "FUND-03: a stamp is left out or counts twice"
        owed: Counter[int] = Counter()
        for (instrument, account), lots in self.lots.items():
            if instrument != event.instrument or not lots:
                continue
            if event.funding_index_ppm is None:
                share = self._value(instrument, event.price_ticks, lots) * event.rate_ppt * stamps
                owed[account] = -(-share // PPT)
            else:
                step = event.funding_index_ppm - self.funding_ppm[instrument]
                owed[account] = -(-lots * rules.quanta_per_lot * step // 10**6)
        if event.funding_index_ppm is not None:
            self.funding_ppm[event.instrument] = event.funding_index_ppm
        left = sum(owed.values())
        assert 0 <= left < max(1, len(owed)), "FUND-01: rounding leaves more than an atom a position"
        owed[ROUNDING] = -left
        paid: Counter[int] = Counter()
        if later and isinstance(later[0], Posted) and later[0].reason == "funding":
            for account, _, atoms in later[0].legs:
                paid[account] -= atoms
        assert +paid == +owed, "FUND-03"
        assert -paid == -owed, "FUND-03"

    def _judge_orders(self, batch: Batch) -> None:
        state = self.state
        resting = {
            number: (o.account, o.instrument, o.side, o.price_ticks, o.open_lots)
            for number, o in state.orders.items()
        }
        told = {
            number: (o.account, o.instrument, o.side, o.limit_ticks, o.open_lots)
            for number, o in self.live.items()
        }
        assert resting == told, "BOOK-08, BOOK-15: the orders are not those of the events"
        assert set(state.armed) == set(self.armed), "TRIG-01"
        for order in self.live.values():
            assert order.tif == "gtc", f"BOOK-12: an {order.tif} order rests"
            assert order.limit_ticks is not None
            step = order_step_ticks(state.instruments[order.instrument], order.limit_ticks)
            assert order.limit_ticks % step == 0, "BOOK-14"
        for event in batch.events:
            if isinstance(event, OrderAccepted) and event.tif == "fok":
                assert self.filled[event.order_id] == event.size_lots, "BOOK-11"
        left = self._reduce_only_orders()
        for number, (account, instrument, reduce_only) in self.before.orders.items():
            gone = (instrument, account) in self.emptied and reduce_only
            assert not (gone and number in left), "TRIG-04: an order outlives its position"

    def _judge_prices(self, command: Command, batch: Batch) -> None:
        state, before = self.state, self.before
        marks = [event for event in batch.events if isinstance(event, Marked)]
        now = [market.prices.mark_ticks for market in state.markets]
        if not marks:
            assert now == before.marks, "MARK-04: a command moves a mark by itself"
        else:
            assert isinstance(command, UpdateIndex | Tick)
            assert list(batch.events[: len(marks)]) == marks, "MARK-04: something comes before the marks"
            assert [event.mark_ticks for event in marks] == now, "MARK-03: a second mark in one command"
            assert [event.spread for event in marks] == before.spreads, "MARK-04: the book was read too late"
            self.moved_at_ns = state.time_ns
        for market, known in zip(state.markets, before.observed, strict=True):
            for source, seen in enumerate(known):
                new = market.prices.observed[source]
                is_own = state.rules.sources[source].kind == "own"
                assert new is not None or seen is None
                if new != seen and seen is not None and new is not None and not is_own:
                    assert new[1] > seen[1], "MARK-03: an observation that is not newer counts"
        for event in batch.events:
            if isinstance(event, Deleveraged):
                assert event.mark_ticks == now[event.instrument], "MARK-06"
            elif isinstance(event, TakenOver):
                mark = event.price_ticks if event.mark_ticks is None else event.mark_ticks
                assert mark == now[event.instrument], "MARK-06"

    def _judge_triggers(self, batch: Batch) -> None:
        """TRIG-01 to TRIG-03: each fires once, none that is met is left, and none comes back as a trigger."""
        fired = [event.order_id for event in batch.events if isinstance(event, TriggerFired)]
        assert len(set(fired)) == len(fired), "TRIG-01"
        assert len(fired) <= self.state.rules.orders.triggers_per_command_max, "TRIG-03"
        if fired:
            assert not any(isinstance(event, TriggerArmed) for event in batch.events), "TRIG-03"
        for armed in self.armed.values():
            prices = self.state.markets[armed.instrument].prices
            at = prices.mark_ticks if armed.trigger.reference == "mark" else prices.last_ticks
            if at is None:
                continue
            waits_below = (armed.trigger.kind == "stop") == (armed.side < 0)
            is_met = at <= armed.trigger.price_ticks if waits_below else at >= armed.trigger.price_ticks
            assert not is_met, f"TRIG-01: {armed} is met at {at} and waits"

    def _judge_others(self, command: Command, batch: Batch) -> None:
        """ACC-01, LIQ-12: whom no event names has what he had; own business concerns nobody else."""
        accounts = self.state.accounts
        named = self._named(batch.events)
        own = getattr(command, "account", None)
        for name, table in self.before.tables.items():
            if name == "session_base":
                continue
            now = getattr(accounts, name).array[:, : table.shape[1]]
            changed = set(np.flatnonzero((now != table).any(axis=0)).tolist())
            assert changed <= named | {own}, f"LIQ-12: {name} of {changed - named} after {command}"
        if isinstance(command, OWN_ACCOUNT_ONLY):
            others = {account for account in named if account >= FIRST_ACCOUNT} - {own}
            if isinstance(command, Deposit):
                others -= set(range(command.first_account, command.first_account + len(command.atoms)))
            assert not others, f"ACC-01: {command} concerns {others}"

    def _named(self, events: tuple[Event, ...]) -> set[int]:
        named: set[int] = set()
        for event in events:
            for field in ("account", "taker", "maker", "winner", "payer"):
                value = getattr(event, field, None)
                if value is not None:
                    named.add(value)
            if isinstance(event, Posted):
                named |= {account for account, _, _ in event.legs}
            elif isinstance(event, PositionsLoaded):
                named |= set(event.accounts)
            elif isinstance(event, OrderClosed | OrderReduced | OrderAmended):
                known = self.before.orders.get(event.order_id)
                named |= {known[0]} if known else set()
            elif isinstance(event, Settled):
                named |= {account for _, account in self.lots}
        return named

    def _judge_own(self, command: Command, batch: Batch) -> None:
        account = getattr(command, "account", -1)
        before = self.before
        refused = next((event for event in batch.events if isinstance(event, Rejected)), None)
        if batch.events and refused is batch.events[0]:
            self._judge_refusal(command, refused)
            return
        if isinstance(command, Withdraw):
            assert not before.is_gate_shut or command.asset != self.state.settle, "WFALL-06"
            assert self.state.accounts.balances.cells[command.asset][account] >= 0, "MARG-05"
        if account not in before.excess:
            return
        if not any(isinstance(event, FORCED) for event in batch.events):
            self._judge_excess(command, account, batch)
            self._judge_equities(command, account)
        if any(who == account for who, _ in before.in_liquidation):
            self._judge_in_liquidation(command, account)

    def _judge_refusal(self, command: Command, refused: Rejected) -> None:
        """MARG-03, WFALL-06: what makes safer is not refused for margin, a shut gate has a reason."""
        only_reduces = isinstance(command, PlaceOrder) and command.reduce_only and command.post_only
        for_margin = refused.reason in (RejectReason.MARGIN_TOO_SMALL, RejectReason.BALANCE_TOO_SMALL)
        assert not (for_margin and (only_reduces or isinstance(command, Deposit))), "MARG-03"
        if refused.reason is RejectReason.DEFICIT_OPEN and isinstance(command, Withdraw):
            assert self.before.is_gate_shut, "WFALL-06: the gate stays shut"

    def _judge_excess(self, command: Command, account: int, batch: Batch) -> None:
        """MARG-02, MARG-03, MARG-07: only who reduces or cancels may be short of initial margin after it."""
        after = initial_excess_atoms(self.state, account)
        if after >= 0 or isinstance(command, CancelOrder | CancelAll | Deposit):
            return
        for event in batch.events:
            if isinstance(event, Quoted) and self.state.instruments[event.instrument].kind != "spot":
                assert not event.placed, f"MARG-02: {command} leaves {after} atoms missing"
        for n in range(len(self.state.instruments)):
            held, now = (lots.get((n, account), 0) for lots in (self.before.lots, self.lots))
            smaller = abs(now) <= abs(held) and held * now >= 0
            assert smaller, f"MARG-02: {command} leaves {after} atoms missing"
        margined = [market.number for market in self.state.contracts]
        for name in ("buy_lots", "sell_lots"):
            tables = (getattr(self.state.accounts, name).array, self.before.tables[name])
            now_resting, was_resting = (table[margined, account] for table in tables)
            assert (now_resting <= was_resting).all(), f"MARG-03: {command} leaves {after} atoms missing"
        assert not isinstance(command, Withdraw), f"MARG-05: {after} atoms missing"
        if isinstance(command, SetLeverage | TransferMargin):
            assert after >= self.before.excess[account], f"MARG-06: {after} atoms missing"

    def _judge_equities(self, command: Command, account: int) -> None:
        """MARG-06: moving money, margin, leverage or mode leaves everybody's equity as it was."""
        if not isinstance(command, Withdraw | TransferMargin | SetLeverage | SetPositionMode):
            return
        was = self.before.equities
        now = customer_equities(self.state).tolist()[: len(was)]
        if isinstance(command, Withdraw) and command.asset == self.state.settle:
            now[account] += command.atoms
        assert now[FIRST_ACCOUNT:] == was[FIRST_ACCOUNT:], "MARG-06"

    def _judge_in_liquidation(self, command: Command, account: int) -> None:
        """LIQ-04: nothing leaves, nothing opens."""
        assert not isinstance(command, Withdraw | SetLeverage | SetPositionMode | MassQuote), "LIQ-04"
        assert not (isinstance(command, TransferMargin) and command.atoms < 0), "LIQ-04"
        for n in range(len(self.state.instruments)):
            held, now = (lots.get((n, account), 0) for lots in (self.before.lots, self.lots))
            assert abs(now) <= abs(held), "LIQ-04: an account in liquidation opens"

    def _judge_equity(self) -> None:
        """LEDG-03, FEE-01, POS-03: prices and money of the events make up every customer's equity."""
        state = self.state
        equities = customer_equities(state).tolist()
        totals: Counter[int] = Counter()
        for (account, _), atoms in self.money.items():
            totals[account] += atoms
        sums: Counter[int] = Counter()
        for (instrument, account), lots in self.lots.items():
            mark = state.markets[instrument].prices.mark_ticks
            assert mark is not None
            totals[account] += self._value(instrument, mark, lots) - self.spent.get((instrument, account), 0)
            sums[instrument] += lots
            assert state.accounts.lots.cells[instrument][account] == lots, "POS-03"
        assert not any(sums.values()), "POS-03"
        for account in range(FIRST_ACCOUNT, state.accounts.count):
            assert totals[account] == equities[account], f"LEDG-03: equity of {account}"
        assert self.liquidated == set(state.in_liquidation), "LIQ-03"

    def rest(self) -> None:
        """LIQ-02, WFALL-05: whoever is short is being liquidated, a backstop apart; pools stay apart."""
        state = self.state
        isolated = state.accounts.isolated.cells
        for account in range(FIRST_ACCOUNT, state.accounts.count):
            if state.accounts.vault.cells[0][account] == BACKSTOP:
                continue
            for market in (None, *state.contracts):
                if market is not None and not isolated[market.number][account]:
                    continue
                pocket = state.settle if market is None else state.pocket(market.number)
                is_safe = risk_of(state, (account, pocket)).is_safe
                assert is_safe or (account, pocket) in state.in_liquidation, f"LIQ-02: {account}, {pocket}"
        for market in state.contracts:
            if state.rules.insurance.scope == "shared":
                assert state.accounts.balances.cells[state.pocket(market.number)][INSURANCE] == 0, "WFALL-05"

    def judge_fees(self, start_atoms: int) -> None:
        """FEE-01: the fee account holds what it began with and the fees of all fills."""
        held = self.state.accounts.balances.cells[self.state.settle][FEES]
        assert held == start_atoms + self.fees + self.money[FEES, self.state.settle], "FEE-01"
