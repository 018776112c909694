"""The tables of a run, written from its events in one pass. Columns and units: docs/tables.md."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from msgspec import Struct

from zerodebt.exchange import events as ev
from zerodebt.exchange.events import CLEARING, EXTERNAL, FIRST_ACCOUNT, HOUSE_ACCOUNT_NAMES, INSURANCE
from zerodebt.exchange.instruments import value_atoms
from zerodebt.exchange.position import apply_fill
from zerodebt.exchange.state import offers_legs
from zerodebt.exchange.units import SECOND_NS
from zerodebt.scenarios import populations
from zerodebt.scenarios.columns import (
    INT,
    PART_ROWS,
    STREAMED,
    TABLE_NAMES,
    TABLES,
    TEXT,
    Units,
    Writer,
    opening,
    settle_asset,
)
from zerodebt.scenarios.quantities import DataError
from zerodebt.scenarios.rundir import EVENTS, META, read_batches, read_json

UNASSIGNED = "unassigned"

# What an account's final equity is made of, with the sign in which each flow enters.
FLOW_SIGNS = {
    "initial_equity": 1,
    "deposits": 1,
    "withdrawals": -1,
    "trading_profit": 1,
    "fees_paid": -1,
    "funding": 1,
    "margin_confiscated": -1,
    "margin_received": 1,
    "adl_given": -1,
    "adl_received": 1,
    "stage_payments": 1,
}
CAUSES = ("adl", "liquidation", "takeover", "vault", "voluntary", "settlement", "auction")
_STAGE_REASONS = ("deficit", "backstop", "insurance", "socialise", "house", "recourse", "default_fund")
_REALISED = ("fill_realised", "takeover_realised", "adl_realised", "settlement_realised", "auction_realised")
_SUMS = (
    *_REALISED,
    "spot_paid",
    "forced_slippage",
    "book_notional",
    "takeover_notional",
    "adl_notional",
    "adl_given",
    "adl_received",
    "adl_profit",
    "entry_value",
    "entry_profit",
)
_SHOWN_SUMS = (
    "forced_slippage",
    "book_notional",
    "takeover_notional",
    "adl_notional",
    "adl_profit",
    "entry_value",
    "entry_profit",
)


class Population(Struct, frozen=True):
    """Accounts first_account .. first_account + count - 1, as `meta.json` lists them."""

    name: str
    kind: str
    first_account: int
    count: int


def populations_of(run: Path) -> list[Population]:
    """The populations that `meta.json` lists; their kind is their role where no kind is given."""
    meta = read_json(run / META)
    try:
        return [
            Population(p["name"], p.get("kind") or p["role"], p["first_account"], p["count"])
            for p in meta["populations"]
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"{run / META}: populations: {type(error).__name__} {error}") from None


def write_tables(run: Path) -> None:
    """Read the run's events once and write every table; tables of an earlier call are replaced."""
    recorder = _Recorder(run / TABLES, opening(run), populations_of(run))
    for batch in read_batches(run / EVENTS):
        recorder.read(batch)
    recorder.finish()
    populations.write_tables(run)


class _Liquidation(Struct):
    """A compartment below its requirement: where it stood, and what was done with its positions since."""

    seq: int
    time_ns: int
    equity: int
    maintenance: int
    gross: int
    net: int
    book_notional: int = 0
    takeover_notional: int = 0
    adl_notional: int = 0
    is_auctioned: bool = False

    def how(self, maintenance_atoms: int) -> str:
        """With a requirement left the compartment recovered; without, the last resort that was used."""
        if maintenance_atoms:
            return "recovered"
        if self.adl_notional:
            return "deleveraged"
        if self.takeover_notional:
            return "taken over"
        if self.is_auctioned:
            return "auctioned"
        return "closed in the book"


class _Recorder:
    """What must be remembered between events, in plain integers: levels, positions, flows by account."""

    def __init__(self, folder: Path, opened: ev.Opened, populations: Sequence[Population]) -> None:
        self.units = Units(opened)
        self.instruments = opened.instruments
        self.assets = opened.assets
        self.settle = self.assets.index(settle_asset(opened))
        legs = 2 if offers_legs(opened.rules, opened.instruments) else 1
        settles = legs * [i.settle_asset for i in self.instruments]
        pockets = [*range(len(self.assets)), *settles]
        self.pocket_symbols = [self.assets[asset].symbol for asset in pockets]
        self.settles = [asset == self.settle for asset in pockets]

        self.declared = populations
        self.kinds = {p.name: p.kind for p in populations}
        self.populations: list[str] = []
        self.vaults: dict[int, None] = {}

        self.resting: dict[int, tuple[int, int, int, int]] = {}
        self.levels: list[dict[int, dict[int, int]]] = [{1: {}, -1: {}} for _ in self.instruments]
        self.forced_orders: set[int] = set()

        count = len(self.instruments)
        # By slot: net positions and long legs of all instruments, then the short legs of hedge mode.
        self.lots: list[list[int]] = [[] for _ in settles]
        self.cost: list[list[int]] = [[] for _ in settles]
        self.isolated: list[set[int]] = [set() for _ in settles]
        self.hedged: set[int] = set()
        self.closing_orders: set[int] = set()
        self.interest = [0] * count
        self.interest_changes = [dict.fromkeys(CAUSES, 0) for _ in range(count)]
        self.volume_lots = [0] * count
        self.placed_orders = [0] * count
        self.removed_orders = [0] * count
        self.prices: list[int | None] = [None] * count
        self.first_prices: list[int | None] = [None] * count
        self.first_interest: list[int] | None = None

        self.cash: list[int] = []
        self.flows: dict[str, list[int]] = {}
        self.sums: dict[str, list[int]] = {name: [] for name in _SUMS}
        self.brought_before: list[int] = []
        self.taken_before: list[int] = []
        self.liquidations: dict[tuple[int, int], _Liquidation] = {}
        self.deficit_of: tuple[int, int] = (ev.DEFICIT, 0)
        self.is_written_off = False
        self.unpaid: dict[tuple[int, int], int] = {}
        """What still stands of compartments' residuals, by account and pocket."""

        self.fill_sums: dict[tuple[int, str, str], list[int]] = {}
        self.fill_second = -1
        self.fill_instrument = -1
        self.marked = False
        self.sampled_second = -1
        self.seq = self.time_ns = 0

        self.out = {name: Writer(folder, name, self.units) for name in TABLE_NAMES}
        self._widen(FIRST_ACCOUNT)
        self.reads: dict[type, Callable[[Any], None]] = {
            ev.AccountsOpened: self._accounts_opened,
            ev.BackstopSet: self._backstop_set,
            ev.LeverageSet: self._leverage_set,
            ev.PositionModeSet: self._position_mode_set,
            ev.PositionsLoaded: self._positions_loaded,
            ev.Posted: self._posted,
            ev.OrderAccepted: self._order_accepted,
            ev.OrderAmended: self._order_amended,
            ev.OrderReduced: self._order_reduced,
            ev.OrderClosed: self._order_closed,
            ev.Quoted: self._quoted,
            ev.Filled: self._filled,
            ev.Marked: self._marked,
            ev.FundingSet: self._funding_set,
            ev.LiquidationStarted: self._liquidation_started,
            ev.LiquidationEnded: self._liquidation_ended,
            ev.StageArmed: self._stage_armed,
            ev.TakenOver: self._taken_over,
            ev.DeficitOpened: self._deficit_opened,
            ev.Deleveraged: self._deleveraged,
            ev.LayerDrawn: self._layer_drawn,
            ev.StagePaid: self._stage_paid,
            ev.DeficitClosed: self._deficit_closed,
            ev.ReceivableBooked: self._receivable_booked,
            ev.Settled: self._settled,
            ev.VariationSettled: self._variation_settled,
            ev.AuctionHeld: self._auction_held,
        }

    def read(self, batch: ev.Batch) -> None:
        self.seq, self.time_ns = batch.seq, batch.time_ns
        reads = self.reads
        for event in batch.events:
            read = reads.get(type(event))
            if read is not None:
                read(event)
        if self.marked:
            self.marked = False
            self._sample_absorbers()
            for name in STREAMED:
                if len(self.out[name].rows) >= PART_ROWS:
                    self.out[name].flush()

    def _put(self, name: str, *row: Any) -> None:
        self.out[name].add((self.seq, self.time_ns, *row))

    # Accounts and balances

    def _widen(self, count: int) -> None:
        """Make room for accounts below `count` and give the new ones their population."""
        start = len(self.cash)
        more = count - start
        if more <= 0:
            return
        rows = [self.cash, *self.flows.values(), *self.sums.values(), *self.lots, *self.cost]
        for row in (*rows, self.brought_before, self.taken_before):
            row.extend([0] * more)
        names = [UNASSIGNED] * more
        for account in range(start, min(count, len(HOUSE_ACCOUNT_NAMES))):
            names[account - start] = HOUSE_ACCOUNT_NAMES[account]
        for p in self.declared:
            for account in range(max(p.first_account, start), min(p.first_account + p.count, count)):
                names[account - start] = p.name
        self.populations += names

    def _accounts_opened(self, e: ev.AccountsOpened) -> None:
        self._widen(e.first_account + e.count)
        if e.role == "vault":
            self.vaults |= dict.fromkeys(range(e.first_account, e.first_account + e.count))

    def _backstop_set(self, e: ev.BackstopSet) -> None:
        self.vaults[e.account] = None

    def _flow(self, reason: str) -> list[int]:
        if reason not in self.flows:
            self.flows[reason] = [0] * len(self.cash)
        return self.flows[reason]

    def _posted(self, e: ev.Posted) -> None:
        reason = e.reason
        self.is_written_off |= reason == "deficit"
        flow, cash, settles = self._flow(reason), self.cash, self.settles
        for account, pocket, atoms in e.legs:
            if settles[pocket]:
                flow[account] += atoms
                cash[account] += atoms
        if reason == "fill":
            self._sum_fill(e.legs)
            return
        if reason == "takeover" and all(account != CLEARING for account, _, _ in e.legs):
            self._margin_moved(e.legs)
        first = len(self.assets)
        for account, pocket, atoms in e.legs:
            number = (pocket - first) % len(self.instruments) if pocket >= first else None
            symbol = self.pocket_symbols[pocket]
            self._put("ledger", reason, number, account, self.populations[account], symbol, atoms, 1)

    def _margin_moved(self, legs: tuple[tuple[int, int, int], ...]) -> None:
        """The margin that a takeover confiscates goes from the liquidated account to those who take over."""
        takers = {account for account, _, atoms in legs if atoms > 0}
        stage = "insurance" if takers == {INSURANCE} else "backstop"
        for account, pocket, atoms in legs:
            if atoms < 0:
                self._entry("margin", account, -atoms, stage=stage, pocket=pocket)

    def _sum_fill(self, legs: tuple[tuple[int, int, int], ...]) -> None:
        second = self.time_ns // SECOND_NS
        if second != self.fill_second:
            self._flush_fills()
            self.fill_second = second
        sums, n = self.fill_sums, self.fill_instrument
        for account, pocket, atoms in legs:
            key = (n, self.populations[account], self.pocket_symbols[pocket])
            entry = sums.get(key)
            if entry is None:
                sums[key] = [atoms, 1]
            else:
                entry[0] += atoms
                entry[1] += 1

    def _flush_fills(self) -> None:
        time_ns = self.fill_second * SECOND_NS
        add = self.out["ledger"].add
        for (n, population, symbol), (atoms, legs) in self.fill_sums.items():
            add((None, time_ns, "fill", n, None, population, symbol, atoms, legs))
        self.fill_sums.clear()

    # Resting lots by price: only what depth needs

    def _rest(self, order_id: int, n: int, side: int, price: int, lots: int) -> None:
        self.resting[order_id] = (n, side, price, lots)
        levels = self.levels[n][side]
        levels[price] = levels.get(price, 0) + lots

    def _take(self, order_id: int) -> tuple[int, int, int, int] | None:
        order = self.resting.pop(order_id, None)
        if order is not None:
            n, side, price, lots = order
            levels = self.levels[n][side]
            left = levels[price] - lots
            if left:
                levels[price] = left
            else:
                del levels[price]
        return order

    def _rest_again(self, order_id: int, open_lots: int) -> None:
        order = self._take(order_id)
        if order is not None and open_lots > 0:
            self._rest(order_id, order[0], order[1], order[2], open_lots)

    def _order_accepted(self, e: ev.OrderAccepted) -> None:
        """An order counts as resting at once: nothing is marked between it and what its walk leaves."""
        self.placed_orders[e.instrument] += 1
        if e.forced:
            self.forced_orders.add(e.order_id)
        if e.reduce_only and e.account in self.hedged:
            self.closing_orders.add(e.order_id)
        if e.price_ticks is not None:
            self._rest(e.order_id, e.instrument, e.side, e.price_ticks, e.size_lots)

    def _order_amended(self, e: ev.OrderAmended) -> None:
        order = self._take(e.order_id)
        if order is not None and e.open_lots:
            self._rest(e.order_id, order[0], order[1], e.price_ticks, e.open_lots)
            self.placed_orders[order[0]] += 1

    def _order_reduced(self, e: ev.OrderReduced) -> None:
        self._rest_again(e.order_id, e.open_lots)

    def _order_closed(self, e: ev.OrderClosed) -> None:
        order = self._take(e.order_id)
        if order is not None:
            self.removed_orders[order[0]] += 1

    def _quoted(self, e: ev.Quoted) -> None:
        take, rest, n = self._take, self._rest, e.instrument
        self.placed_orders[n] += len(e.placed)
        self.removed_orders[n] += len(e.removed)
        for order_id in e.removed:
            take(order_id)
        for order_id, side, price, lots in e.placed:
            rest(order_id, n, side, price, lots)

    # Positions

    def _leverage_set(self, e: ev.LeverageSet) -> None:
        for isolated in self.isolated[e.instrument :: len(self.instruments)]:
            if e.mode == "isolated":
                isolated.add(e.account)
            else:
                isolated.discard(e.account)

    def _position_mode_set(self, e: ev.PositionModeSet) -> None:
        """Both legs begin in the margin mode of the net position."""
        if e.mode == "net":
            self.hedged.discard(e.account)
            return
        self.hedged.add(e.account)
        count = len(self.instruments)
        for net, short in zip(self.isolated[:count], self.isolated[count:], strict=True):
            short.discard(e.account)
            if e.account in net:
                short.add(e.account)

    def _slot(self, account: int, n: int, sign: int) -> int:
        """What holds the account's position of this sign: in hedge mode there is one for each."""
        is_short = sign < 0 and account in self.hedged and self.instruments[n].kind != "spot"
        return n + len(self.instruments) if is_short else n

    def _leg(self, account: int, slot: int) -> str | None:
        """Which leg of hedge mode a position is; None: a net position, or a spot trade."""
        if slot >= len(self.instruments):
            return "short"
        is_leg = account in self.hedged and self.instruments[slot].kind != "spot"
        return "long" if is_leg else None

    def _slot_of_order(self, order_id: int, account: int, n: int, side: int) -> int:
        """An order opens the leg of its side; one that may only reduce closes the other."""
        return self._slot(account, n, -side if order_id in self.closing_orders else side)

    def _positions_loaded(self, e: ev.PositionsLoaded) -> None:
        n = e.instrument
        instrument = self.instruments[n]
        rows = zip(e.accounts, e.lots, e.entry_ticks, e.isolated_atoms, strict=True)
        for account, lots, entry_ticks, isolated in rows:
            slot = self._slot(account, n, lots)
            self._move(account, slot, lots, e.price_ticks)
            entry_value = value_atoms(instrument, entry_ticks, lots)
            self.sums["entry_value"][account] += abs(entry_value)
            self.sums["entry_profit"][account] += value_atoms(instrument, e.price_ticks, lots) - entry_value
            if isolated:
                self.isolated[slot].add(account)
        if self.prices[n] is None:
            self.prices[n] = e.price_ticks

    def _move(self, account: int, slot: int, lots: int, price_ticks: int) -> int:
        """Change a position and return the atoms that closing realised."""
        held, cost, n = self.lots[slot], self.cost[slot], slot % len(self.instruments)
        before = held[account]
        value = value_atoms(self.instruments[n], price_ticks, lots)
        change = apply_fill(before, cost[account], 0, lots, value)
        held[account] = after = change.lots
        cost[account] = change.cost
        self.interest[n] += (after if after > 0 else 0) - (before if before > 0 else 0)
        return change.realised_atoms

    def _price(self, n: int) -> int:
        """The mark, or before the first one the price at which positions were loaded."""
        price = self.prices[n]
        if price is None:
            name = self.instruments[n].symbol
            raise DataError(f"{EVENTS}, seq {self.seq}: {name} is used before it has a price")
        return price

    def _filled(self, e: ev.Filled) -> None:
        n, price, lots = e.instrument, e.price_ticks, e.size_lots
        signed = lots * e.taker_side
        value = value_atoms(self.instruments[n], price, signed)
        notional = abs(value)
        forced = e.taker_order in self.forced_orders
        self.fill_instrument = n
        self.volume_lots[n] += lots
        for order_id in (e.maker_order, e.taker_order):
            order = self.resting.get(order_id)
            if order is not None:
                self._rest_again(order_id, order[3] - lots)
        mark = self.prices[n]
        slippage = None if mark is None else value - value_atoms(self.instruments[n], mark, signed)
        who = (e.taker_side, price, lots, e.taker, e.maker, e.taker_fee_atoms, e.maker_fee_atoms)
        taken = self._slot_of_order(e.taker_order, e.taker, n, e.taker_side)
        made = self._slot_of_order(e.maker_order, e.maker, n, -e.taker_side)
        legs = (self._leg(e.taker, taken), self._leg(e.maker, made))
        self._put("trades", e.trade_id, n, *who, forced, mark, notional, slippage, *legs)
        sums = self.sums
        if self.instruments[n].kind == "spot":
            if self.instruments[n].settle_asset == self.settle:
                sums["spot_paid"][e.taker] -= value
                sums["spot_paid"][e.maker] += value
            return
        before = self.interest[n]
        realised = sums["fill_realised"]
        realised[e.taker] += self._move(e.taker, taken, signed, price)
        realised[e.maker] += self._move(e.maker, made, -signed, price)
        if forced:
            cause = "liquidation"
            sums["book_notional"][e.taker] += notional
            sums["forced_slippage"][e.taker] += slippage or 0
            pocket = len(self.assets) + taken if e.taker in self.isolated[taken] else self.settle
            entry = self.liquidations.get((e.taker, pocket))
            if entry is not None:
                entry.book_notional += notional
        elif e.taker in self.vaults or e.maker in self.vaults or e.taker < FIRST_ACCOUNT:
            cause = "vault"
        else:
            cause = "voluntary"
        self.interest_changes[n][cause] += self.interest[n] - before

    def _taken_over(self, e: ev.TakenOver) -> None:
        n = e.instrument
        notional = abs(value_atoms(self.instruments[n], e.price_ticks, e.lots))
        before = self.interest[n]
        realised = self.sums["takeover_realised"]
        given, taken = self._slot(e.account, n, e.lots), self._slot(e.taker, n, e.lots)
        realised[e.account] += self._move(e.account, given, -e.lots, e.price_ticks)
        realised[e.taker] += self._move(e.taker, taken, e.lots, e.price_ticks)
        self.interest_changes[n]["takeover"] += self.interest[n] - before
        self.sums["takeover_notional"][e.account] += notional
        entry = self.liquidations.get((e.account, e.pocket))
        if entry is not None:
            entry.takeover_notional += notional
        who = (e.account, self.populations[e.account], e.taker, self.populations[e.taker])
        self._put("takeovers", *who, n, e.lots, e.price_ticks, notional)

    def _deleveraged(self, e: ev.Deleveraged) -> None:
        n = e.instrument
        notional = abs(value_atoms(self.instruments[n], e.price_ticks, e.lots))
        before = self.interest[n]
        sums = self.sums
        won, lost = self._slot(e.winner, n, e.lots), self._slot(e.account, n, -e.lots)
        sums["adl_realised"][e.winner] += self._move(e.winner, won, -e.lots, e.price_ticks)
        sums["adl_realised"][e.account] += self._move(e.account, lost, e.lots, e.price_ticks)
        self.interest_changes[n]["adl"] += self.interest[n] - before
        giver, receiver = (e.winner, e.account) if e.transfer_atoms >= 0 else (e.account, e.winner)
        sums["adl_given"][giver] += abs(e.transfer_atoms)
        sums["adl_received"][receiver] += abs(e.transfer_atoms)
        sums["adl_notional"][e.winner] += notional
        sums["adl_profit"][e.winner] += e.profit_atoms
        entry = self.liquidations.get((e.account, e.pocket))
        if entry is not None:
            entry.adl_notional += notional
        who = (e.account, self.populations[e.account], e.account in self.vaults)
        whom = (e.winner, self.populations[e.winner])
        money = (notional, e.transfer_atoms, e.profit_atoms)
        prices = (e.price_ticks, e.mark_ticks)
        whole = self.lots[won][e.winner] == 0
        row = (n, *who, *whom, e.lots, *prices, *money, e.rank, e.score_ppb, whole)
        self._put("adl", e.deficit_id, *row)

    def _settled(self, e: ev.Settled) -> None:
        n = e.instrument
        self.prices[n] = e.price_ticks
        before = self.interest[n]
        realised = self.sums["settlement_realised"]
        for slot in range(n, len(self.lots), len(self.instruments)):
            for account, lots in enumerate(self.lots[slot]):
                if lots:
                    realised[account] += self._move(account, slot, -lots, e.price_ticks)
        self.interest_changes[n]["settlement"] += self.interest[n] - before

    def _variation_settled(self, e: ev.VariationSettled) -> None:
        """Realised by the settlement, and carried on at its price."""
        n = e.instrument
        realised = self.sums["settlement_realised"]
        for slot in range(n, len(self.lots), len(self.instruments)):
            for account, lots in enumerate(self.lots[slot]):
                if lots:
                    value = value_atoms(self.instruments[n], e.price_ticks, lots)
                    realised[account] += value - self.cost[slot][account]
                    self.cost[slot][account] = value

    def _auction_held(self, e: ev.AuctionHeld) -> None:
        realised = self.sums["auction_realised"]
        for n, lots, price in zip(e.instruments, e.lots, e.price_ticks, strict=True):
            before = self.interest[n]
            realised[e.account] += self._move(e.account, n, -lots, price)
            realised[e.winner] += self._move(e.winner, n, lots, price)
            self.interest_changes[n]["auction"] += self.interest[n] - before
            entry = self.liquidations.get((e.account, self.settle))
            if entry is not None:
                entry.is_auctioned = True

    # Prices

    def _start(self) -> None:
        """The first mark: what was brought in until now is the initial equity."""
        self.brought_before = list(self._flow("deposit"))
        self.taken_before = list(self._flow("withdrawal"))
        self.first_interest = list(self.interest)

    def _marked(self, e: ev.Marked) -> None:
        n = e.instrument
        if self.first_interest is None:
            self._start()
        if self.first_prices[n] is None:
            self.first_prices[n] = e.mark_ticks
        self.marked = True
        self.prices[n] = e.mark_ticks
        bid, ask, _ = e.spread
        doubled = bid + ask if bid is not None and ask is not None else 2 * e.mark_ticks
        low, high = 100 * doubled - abs(doubled), 100 * doubled + abs(doubled)
        bids, asks = self.levels[n][1], self.levels[n][-1]
        depth_bid = self._depth(n, {price: lots for price, lots in bids.items() if 200 * price >= low})
        depth_ask = self._depth(n, {price: lots for price, lots in asks.items() if 200 * price <= high})
        near = 1000 * e.index_ticks - abs(e.index_ticks)
        depth_near = self._depth(n, {price: lots for price, lots in bids.items() if 1000 * price >= near})
        depths = (depth_bid, depth_ask, depth_near)
        interest = self.interest[n]
        prices = (e.index_ticks, e.mark_ticks, bid, ask)
        open_interest = abs(value_atoms(self.instruments[n], e.mark_ticks, interest))
        self._put("marks", n, *prices, *depths, interest, open_interest)

    def _depth(self, n: int, levels: dict[int, int]) -> int:
        return sum(abs(value_atoms(self.instruments[n], price, lots)) for price, lots in levels.items())

    def _funding_set(self, e: ev.FundingSet) -> None:
        self._put("funding", e.instrument, e.rate_ppt, e.price_ticks)

    def _account_value(self, account: int) -> tuple[int, int]:
        """(profit that is not realised, gross value) of an account's positions at the marks."""
        profit = gross = 0
        for slot, held in enumerate(self.lots):
            lots = held[account]
            if lots:
                n = slot % len(self.instruments)
                value = value_atoms(self.instruments[n], self._price(n), lots)
                profit += value - self.cost[slot][account]
                gross += abs(value)
        return profit, gross

    def _sample_absorbers(self) -> None:
        second = self.time_ns // SECOND_NS
        if second == self.sampled_second:
            return
        self.sampled_second = second
        for account in (INSURANCE, *self.vaults):
            profit, gross = self._account_value(account)
            balance = self.cash[account]
            self._put("absorbers", account, self.populations[account], balance + profit, balance, gross)

    # Liquidations and the waterfall

    def _compartment(self, pocket: int) -> str:
        """`cross`, or the symbol of the isolated position's instrument, with its side for a short leg."""
        slot = pocket - len(self.assets)
        if slot < 0:
            return "cross"
        symbol = self.instruments[slot % len(self.instruments)].symbol
        return f"{symbol}:short" if slot >= len(self.instruments) else symbol

    def _liquidation_started(self, e: ev.LiquidationStarted) -> None:
        own = e.pocket - len(self.assets)
        gross = net = 0
        for slot, held in enumerate(self.lots):
            lots = held[e.account]
            if lots and (own == slot if own >= 0 else e.account not in self.isolated[slot]):
                n = slot % len(self.instruments)
                value = value_atoms(self.instruments[n], self._price(n), lots)
                gross += abs(value)
                net += value
        entry = _Liquidation(self.seq, self.time_ns, e.equity_atoms, e.maintenance_atoms, gross, net)
        self.liquidations[e.account, e.pocket] = entry

    def _liquidation_ended(self, e: ev.LiquidationEnded) -> None:
        entry = self.liquidations.pop((e.account, e.pocket), None)
        if entry is None:
            raise DataError(
                f"{EVENTS}, seq {self.seq}: account {e.account} ends a liquidation that never began"
            )
        self.unpaid.pop((e.account, e.pocket), None)
        left = (e.equity_atoms, e.maintenance_atoms)
        end = (self.seq, self.time_ns, entry.how(e.maintenance_atoms), *left)
        self._put_liquidation(e.account, e.pocket, entry, end)

    def _put_liquidation(self, account: int, pocket: int, entry: _Liquidation, end: tuple[Any, ...]) -> None:
        began = (entry.seq, entry.time_ns, account, self.populations[account], self._compartment(pocket))
        stood = (entry.equity, entry.maintenance, entry.gross, entry.net)
        moved = (entry.book_notional, entry.takeover_notional, entry.adl_notional)
        self.out["liquidations"].add((*began, *stood, *moved, *end))

    def _entry(
        self,
        entry: str,
        account: int,
        atoms: int,
        *,
        deficit_id: int | None = None,
        stage: str | None = None,
        pocket: int | None = None,
        because: str | None = None,
    ) -> None:
        where = None if pocket is None else self._compartment(pocket)
        who = (account, self.populations[account], where)
        self._put("waterfall", entry, deficit_id, stage, *who, atoms, because)

    def _stage_armed(self, e: ev.StageArmed) -> None:
        self._entry("armed", e.account, e.equity_atoms, stage=e.stage, pocket=e.pocket, because=e.because)

    def _deficit_opened(self, e: ev.DeficitOpened) -> None:
        if e.asset != self.settle:
            symbol = self.assets[e.asset].symbol
            raise DataError(
                f"{EVENTS}, seq {self.seq}: found a deficit in {symbol}, allowed is the settlement asset"
            )
        self.deficit_of, self.is_written_off = (e.account, e.pocket), False
        self._entry("opened", e.account, e.atoms, deficit_id=e.deficit_id, pocket=e.pocket)
        for account, atoms in e.origins:
            self._entry("origin", account, atoms, deficit_id=e.deficit_id)

    def _stage_paid(self, e: ev.StagePaid) -> None:
        self._entry("paid", e.payer, e.atoms, deficit_id=e.deficit_id or None, stage=e.stage)

    def _layer_drawn(self, e: ev.LayerDrawn) -> None:
        for account, atoms in e.shares:
            self._entry(
                "drawn", account, atoms, deficit_id=e.deficit_id, stage="default_fund", because=e.layer
            )

    def _deficit_closed(self, e: ev.DeficitClosed) -> None:
        self._entry("residual", ev.DEFICIT, e.residual_atoms, deficit_id=e.deficit_id)
        account, pocket = self.deficit_of
        counted = self.unpaid.pop(self.deficit_of, 0)
        fresh = max(0, e.residual_atoms - counted)
        if fresh:
            self._entry("arose", account, fresh, deficit_id=e.deficit_id, pocket=pocket)
        if e.residual_atoms and not self.is_written_off:
            self.unpaid[self.deficit_of] = e.residual_atoms
        if e.overcharge_atoms:
            self._entry("overcharge", ev.DEFICIT, e.overcharge_atoms, deficit_id=e.deficit_id)

    def _receivable_booked(self, e: ev.ReceivableBooked) -> None:
        self._entry("receivable", e.account, e.atoms, deficit_id=e.deficit_id, stage="recourse")

    # The end

    def finish(self) -> None:
        if self.first_interest is None:
            self._start()
        self._flush_fills()
        self._entry("open", ev.DEFICIT, -self.cash[ev.DEFICIT])
        for (account, pocket), atoms in self.unpaid.items():
            self._entry("open", account, atoms, pocket=pocket)
        for (account, pocket), entry in self.liquidations.items():
            self._put_liquidation(account, pocket, entry, (None, None, "open", None, None))
        for name in STREAMED:
            if self.out[name].rows or not self.out[name].parts:
                self.out[name].flush()
        self.out["instruments"].put(self._instrument_frame())
        accounts = self._account_frame()
        self.out["accounts"].put(accounts)
        self.out["populations"].put(self._population_frame(accounts))

    def _instrument_frame(self) -> pl.DataFrame:
        assert self.first_interest is not None
        instruments, changes = self.instruments, self.interest_changes
        columns: dict[str, tuple[Sequence[Any], pl.DataType]] = {
            "instrument": (range(len(instruments)), INT),
            "symbol": ([i.symbol for i in instruments], TEXT),
            "kind": ([i.kind for i in instruments], TEXT),
            "tick_value_atoms": ([i.tick_value_atoms for i in self.instruments], INT),
            "first_mark_ticks": (self.first_prices, INT),
            "last_mark_ticks": (self.prices, INT),
            "first_open_interest_lots": (self.first_interest, INT),
            "last_open_interest_lots": (self.interest, INT),
            "volume_lots": (self.volume_lots, INT),
            "orders_placed": (self.placed_orders, INT),
            "orders_removed": (self.removed_orders, INT),
        }
        for cause in CAUSES:
            columns[f"{cause}_change_lots"] = ([change[cause] for change in changes], INT)
        frame = pl.DataFrame([pl.Series(name, values, dtype) for name, (values, dtype) in columns.items()])
        return frame.with_columns(self.units.derived(frame.columns))

    def _account_frame(self) -> pl.DataFrame:
        """Flows of every account; `other` is the rest: rounding, spot trades, default fund contributions."""
        count = len(self.cash)

        def flow(*reasons: str) -> pl.Series:
            total = pl.zeros(count, dtype=INT, eager=True)
            for reason in reasons:
                total = total + pl.Series(self._flow(reason), dtype=INT)
            return total

        own = {name: pl.Series(values, dtype=INT) for name, values in self.sums.items()}
        brought, taken = pl.Series(self.brought_before, dtype=INT), pl.Series(self.taken_before, dtype=INT)
        unrealised = pl.Series([self._account_value(account)[0] for account in range(count)], dtype=INT)
        realised = sum((own[name] for name in _REALISED), start=flow())
        margin = flow("takeover") - own["takeover_realised"]
        columns = {
            "initial_equity": brought + taken,
            "deposits": flow("deposit") - brought,
            "withdrawals": taken - flow("withdrawal"),
            "trading_profit": realised + unrealised + own["adl_given"] - own["adl_received"],
            "fees_paid": own["fill_realised"] + own["spot_paid"] - flow("fill"),
            "funding": flow("funding"),
            "margin_confiscated": (-margin).clip(lower_bound=0),
            "margin_received": margin.clip(lower_bound=0),
            "adl_given": own["adl_given"],
            "adl_received": own["adl_received"],
            "stage_payments": flow(*_STAGE_REASONS),
        }
        final = pl.Series(self.cash, dtype=INT) + unrealised
        named = sum((columns[name] * sign for name, sign in FLOW_SIGNS.items()), start=flow())
        outside = columns["initial_equity"] + columns["deposits"] - columns["withdrawals"]
        columns |= {"other": final - named, "final_equity": final, "change": final - outside}
        columns |= {"realised": realised, "unrealised": unrealised}
        columns |= {name: own[name] for name in _SHOWN_SUMS}
        kinds = [
            "house" if account < FIRST_ACCOUNT else self.kinds.get(name, UNASSIGNED)
            for account, name in enumerate(self.populations)
        ]
        frame = pl.DataFrame(
            [
                pl.Series("account", range(count), dtype=INT),
                pl.Series("population", self.populations, dtype=TEXT),
                pl.Series("kind", kinds, dtype=TEXT),
                *(column.alias(f"{name}_atoms") for name, column in columns.items()),
            ]
        )
        kept = [n for n in range(len(HOUSE_ACCOUNT_NAMES)) if n not in (EXTERNAL, CLEARING)]
        account = pl.col("account")
        frame = frame.filter((account >= FIRST_ACCOUNT) | account.is_in(kept))
        return frame.with_columns(self.units.in_money(frame.columns))

    def _population_frame(self, accounts: pl.DataFrame) -> pl.DataFrame:
        """Sums over `accounts`, and each population's share of all losses, with and without its top loser."""
        loss = (-pl.col("change_atoms")).clip(lower_bound=0)
        sums = accounts.group_by("population", "kind", maintain_order=True).agg(
            pl.len().cast(pl.Int64).alias("accounts"),
            (pl.col("change_atoms") < 0).sum().cast(pl.Int64).alias("losers"),
            *(pl.col(name).sum() for name in accounts.columns if name.endswith("_atoms")),
            loss.sum().alias("losses_atoms"),
            loss.max().alias("top_loss_atoms"),
            pl.col("account").sort_by(loss, descending=True).first().alias("top_loser"),
        )
        losses, top = pl.col("losses_atoms"), pl.col("top_loss_atoms")
        without_top = (losses - top) / (losses.sum() - top)
        return sums.with_columns(
            *self.units.in_money(sums.columns),
            (losses / losses.sum()).fill_nan(0.0).alias("share_of_losses"),
            without_top.fill_nan(0.0).alias("share_of_losses_without_top"),
        )
