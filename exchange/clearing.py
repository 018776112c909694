"""Settles what was planned: book, positions and ledger change together here and nowhere else."""

from collections import deque

from msgspec import Struct

from zerodebt.exchange import lending
from zerodebt.exchange.book import Order
from zerodebt.exchange.commands import BUY, AuctionBid, PlaceOrder
from zerodebt.exchange.events import (
    CLEARING,
    FEES,
    FIRST_ACCOUNT,
    INSURANCE,
    LENDING,
    AuctionHeld,
    CloseReason,
    Event,
    Filled,
    OrderAccepted,
    OrderClosed,
    OrderReduced,
    PostReason,
    Redeemed,
    Supplied,
    TakenOver,
    TriggerArmed,
)
from zerodebt.exchange.instruments import value_atoms
from zerodebt.exchange.ledger import Leg
from zerodebt.exchange.margin import initial_at_mark, risk_of
from zerodebt.exchange.marks import Market
from zerodebt.exchange.matching import Plan
from zerodebt.exchange.position import Change, apply_fill
from zerodebt.exchange.state import Compartment, State
from zerodebt.exchange.triggers import Armed
from zerodebt.exchange.units import mul_ppb_ceil, split_exact
from zerodebt.exchange.waterfall.origins import consume


class Taker(Struct, frozen=True, gc=False):
    """The order that is being executed."""

    order_id: int
    account: int
    instrument: int
    side: int
    is_forced: bool = False
    reduce_only: bool = False


class Clearing:
    """Applies plans to the state and writes the events of it. Nothing here can fail for a user's reason."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.out: list[Event] = []
        self._emptied: dict[tuple[int, int], None] = {}

    # Orders

    def accept(self, order: PlaceOrder, *, is_forced: bool = False) -> Taker:
        """Give an order its number and announce it."""
        order_id = self._next_order_id()
        self.out.append(
            OrderAccepted(
                order_id,
                order.account,
                order.instrument,
                order.side,
                order.size_lots,
                order.price_ticks,
                order.tif,
                order.post_only,
                order.reduce_only,
                is_forced,
            )
        )
        return Taker(order_id, order.account, order.instrument, order.side, is_forced, order.reduce_only)

    def _next_order_id(self) -> int:
        order_id = self.state.counters.next_order_id
        self.state.counters.next_order_id = order_id + 1
        return order_id

    def place(self, account: int, instrument: int, side: int, price_ticks: int, size_lots: int) -> int:
        """Rest a quote under a new number, without an event of its own."""
        order_id = self._next_order_id()
        self.rest(Order(order_id, account, instrument, side, price_ticks, size_lots, 0, False, True))
        return order_id

    def rest(self, order: Order) -> None:
        state = self.state
        state.books[order.instrument].add(order)
        state.orders[order.order_id] = order
        self._own(order, order.order_id)
        self._tally(order, 0, order.open_lots)

    def close(self, order: Order, reason: CloseReason) -> None:
        """Take a resting order out of the book and say why."""
        self.unrest(order)
        self.out.append(OrderClosed(order.order_id, order.open_lots, reason))

    def unrest(self, order: Order) -> None:
        """Take a resting order out of the book."""
        state = self.state
        state.books[order.instrument].remove(order)
        del state.orders[order.order_id]
        self._disown(order, order.order_id)
        self._tally(order, order.open_lots, 0)

    def shrink(self, order: Order, lots: int) -> None:
        """Take lots off a resting order, which keeps its place; one that is used up leaves the book."""
        if lots == order.open_lots:
            self.unrest(order)
            order.open_lots = 0
            return
        self._tally(order, order.open_lots, order.open_lots - lots)
        order.open_lots -= lots

    def arm(self, order: PlaceOrder) -> None:
        assert order.trigger is not None
        order_id = self._next_order_id()
        self.wait(Armed(order_id, order))
        self.out.append(
            TriggerArmed(
                order_id,
                order.account,
                order.instrument,
                order.side,
                order.size_lots,
                order.price_ticks,
                order.reduce_only,
                order.trigger,
            )
        )

    def wait(self, armed: Armed) -> None:
        """Keep an order until its trigger is met, without an event of its own."""
        self.state.triggers[armed.order.instrument].add(armed)
        self.state.armed[armed.order_id] = armed
        self._own(armed.order, armed.order_id)

    def disarm(self, armed: Armed) -> None:
        """Take a waiting order out, without an event of its own."""
        del self.state.armed[armed.order_id]
        self.state.triggers[armed.order.instrument].remove(armed)
        self._disown(armed.order, armed.order_id)

    def close_all(self, account: int, slot: int, reason: CloseReason) -> int:
        """Close all resting orders and triggers of an account for a position; says how many."""
        own = list(self.state.own_orders.get((account, slot), ()))
        for order_id in own:
            if order_id in self.state.orders:
                self.close(self.state.orders[order_id], reason)
            else:
                armed = self.state.armed[order_id]
                self.disarm(armed)
                self.out.append(OrderClosed(order_id, armed.order.size_lots, reason))
        return len(own)

    def close_attached(self) -> None:
        """Close the reduce-only orders and triggers of the positions that were emptied since the last call.

        Left alone they would act on a later position. Property TRIG-04.
        """
        state = self.state
        for key in self._emptied:
            for order_id in list(state.own_orders.get(key, ())):
                order = state.orders.get(order_id)
                if order is not None and order.reduce_only:
                    self.close(order, "reduce_only")
                armed = state.armed.get(order_id)
                if armed is not None and armed.order.reduce_only:
                    self.disarm(armed)
                    self.out.append(OrderClosed(order_id, armed.order.size_lots, "reduce_only"))
        self._emptied.clear()

    def _own(self, order: Order | PlaceOrder, order_id: int) -> None:
        slot = self.state.leg_of_order(order).number
        self.state.own_orders.setdefault((order.account, slot), {})[order_id] = None
        self.state.accounts.orders.cells[0][order.account] += 1

    def _disown(self, order: Order | PlaceOrder, order_id: int) -> None:
        del self.state.own_orders[order.account, self.state.leg_of_order(order).number][order_id]
        self.state.accounts.orders.cells[0][order.account] -= 1

    def _tally(self, order: Order, before_lots: int, after_lots: int) -> None:
        if order.reduce_only:
            return
        accounts = self.state.accounts
        n, account = self.state.leg_of_order(order).number, order.account
        instrument = self.state.instruments[order.instrument]
        lots = after_lots - before_lots
        value = value_atoms(instrument, order.price_ticks, after_lots)
        value -= value_atoms(instrument, order.price_ticks, before_lots)
        if order.side == BUY:
            accounts.buy_lots.cells[n][account] += lots
            accounts.buy_value.cells[n][account] += value
        else:
            accounts.sell_lots.cells[n][account] += lots
            accounts.sell_value.cells[n][account] += value

    # Fills

    def execute(self, taker: Taker, plan: Plan) -> None:
        """Carry out the steps of a plan in order: fills, then what becomes of each resting order.

        Margin that the taker's fills set free leaves his position after the last of them: the worst price
        comes last, and the order was judged as a whole.
        """
        closed_lots = 0
        left = plan.open_lots + sum(step.fill_lots + step.self_lots for step in plan.steps)
        for step in plan.steps:
            maker = step.maker
            left -= step.fill_lots + step.self_lots
            if step.fill_lots:
                closed_lots += self._fill(taker, maker, step.fill_lots)
            if step.self_lots:
                self.out.append(OrderReduced(taker.order_id, left))
            if step.self_lots and step.close is None:
                self.shrink(maker, step.self_lots)
                self.out.append(OrderReduced(maker.order_id, maker.open_lots))
            if step.close is not None and maker.open_lots:
                self.close(maker, step.close)
        if closed_lots and not taker.is_forced:
            market = self.state.leg(taker.account, taker.instrument, taker.side, reduces=taker.reduce_only)
            self.release(market, taker.account, closed_lots)

    def _fill(self, taker: Taker, maker: Order, lots: int) -> int:
        """One fill; returns the signed lots of a contract that it closes for the taker."""
        state = self.state
        n = taker.instrument
        market = state.markets[n]
        price = maker.price_ticks
        maker.filled_lots += lots
        self.shrink(maker, lots)
        legs: list[Leg] = []
        signed = lots * taker.side
        taken = state.leg(taker.account, n, taker.side, reduces=taker.reduce_only)
        made = state.leg_of_order(maker)
        ours = theirs = None
        if market.instrument.kind == "spot":
            self._deliver(market, taker.account, maker.account, signed, price, legs)
        else:
            self._fund(taken, taker.account, signed, price)
            self._fund(made, maker.account, -signed, price)
            ours = self.move(taken, taker.account, signed, price, legs)
            theirs = self.move(made, maker.account, -signed, price, legs)
        taker_fee, maker_fee = self._fees(taken, taker, maker.account, lots, price, legs)
        trade_id = state.counters.next_trade_id
        state.counters.next_trade_id = trade_id + 1
        market.prices.last_ticks = price
        self.out.append(
            Filled(
                trade_id,
                n,
                taker.side,  # type: ignore[arg-type]
                price,
                lots,
                taker.order_id,
                taker.account,
                maker.order_id,
                maker.account,
                taker_fee,
                maker_fee,
            )
        )
        self.post("fill", legs)
        if theirs is not None:
            self.release(made, maker.account, theirs.closed_lots)
        return ours.closed_lots if ours is not None else 0

    def _deliver(
        self, market: Market, taker: int, maker: int, signed: int, price: int, legs: list[Leg]
    ) -> None:
        instrument = market.instrument
        value = value_atoms(instrument, price, signed)
        base = signed * instrument.lot_atoms
        if instrument.settle_asset == self.state.settle:
            base_of = self.state.accounts.session_base.cells[0]
            base_of[taker] -= value
            base_of[maker] += value
        legs += [
            (taker, instrument.settle_asset, -value),
            (maker, instrument.settle_asset, value),
            (taker, instrument.base_asset, base),
            (maker, instrument.base_asset, -base),
        ]

    def _fees(
        self, market: Market, taker: Taker, maker: int, lots: int, price: int, legs: list[Leg]
    ) -> tuple[int, int]:
        """Fees of a fill, rounded up for the venue; a rebate is rounded down.

        They come from the wallet, and the venue waives what would take the cross pool below zero. A forced
        order pays the liquidation fee to the insurance fund instead, from its own compartment under the same
        rule, and then nobody gets a rebate; a forced sale of collateral is free. Properties FEE-01, LIQ-03.
        """
        state = self.state
        fees = state.rules.fees
        asset = market.instrument.settle_asset
        value = abs(value_atoms(market.instrument, price, lots))
        payer, payee, rate = (taker.account, asset), (FEES, asset), fees.taker_ppb
        if taker.is_forced:
            payer = state.compartment_of(taker.account, market.number)
            payee = state.compartment_of(INSURANCE, market.instrument_number)
            rate = 0 if market.instrument.kind == "spot" else fees.liquidation_ppb
        taker_fee = self._bearable_fee(market, payer, mul_ppb_ceil(value, rate), legs)
        legs += [(*payer, -taker_fee), (*payee, taker_fee)]
        maker_fee = mul_ppb_ceil(value, fees.maker_ppb)
        if maker_fee > 0:
            maker_fee = self._bearable_fee(market, (maker, asset), maker_fee, legs)
        else:
            maker_fee = max(maker_fee, 0 if taker.is_forced else -taker_fee)
        legs += [(maker, asset, -maker_fee), (FEES, asset, maker_fee)]
        return taker_fee, maker_fee

    def _bearable_fee(self, market: Market, payer: Compartment, fee_atoms: int, legs: list[Leg]) -> int:
        """The fee, or what of it leaves its payer at zero after the other legs; spot is paid in full."""
        if not fee_atoms or market.instrument.kind == "spot":
            return fee_atoms
        posted = sum(atoms for account, pocket, atoms in legs if (account, pocket) == payer)
        return max(0, min(fee_atoms, risk_of(self.state, payer).equity_atoms + posted))

    def move(
        self,
        market: Market,
        account: int,
        signed_lots: int,
        price_ticks: int,
        legs: list[Leg],
        origin: int | None = None,
    ) -> Change:
        """Change a position; what closing lots realise is paid by (or to) the instrument's clearing account.

        `origin` names the account whose position a vault or the fund takes over.
        """
        state = self.state
        accounts = state.accounts
        n = market.number
        lots_cells, cost_cells, entry_cells = (
            accounts.lots.cells[n],
            accounts.cost.cells[n],
            accounts.entry_cost.cells[n],
        )
        before = lots_cells[account]
        change = apply_fill(
            before,
            cost_cells[account],
            entry_cells[account],
            signed_lots,
            value_atoms(market.instrument, price_ticks, signed_lots),
        )
        state.open_interest[market.instrument_number] += max(change.lots, 0) - max(before, 0)
        lots_cells[account] = change.lots
        cost_cells[account] = change.cost
        entry_cells[account] = change.entry_cost
        if change.realised_atoms:
            pocket = state.compartment_of(account, n)[1]
            legs.append((account, pocket, change.realised_atoms))
            legs.append((CLEARING, state.pocket(market.instrument_number), -change.realised_atoms))
        if change.closed_lots and change.closed_lots == before:
            self._emptied[account, n] = None
        if accounts.vault.cells[0][account] or account == INSURANCE:
            lineage = state.lineage.setdefault((account, n), deque())
            consume(lineage, abs(change.closed_lots))
            opened = abs(change.lots) - abs(before - change.closed_lots)
            if opened > 0:
                lineage.append((account if origin is None else origin, opened))
        self.touch(account)
        return change

    def _fund(self, market: Market, account: int, signed_lots: int, price_ticks: int) -> None:
        """Bring the margin of lots that open an isolated position from the wallet, as far as it reaches.

        A maker's cross pool may have lost since his order was judged: it keeps its maintenance requirement.
        The fund's pools answer with what they have: none is topped up from another one.
        """
        state = self.state
        if account == INSURANCE or not state.accounts.isolated.cells[market.number][account]:
            return
        before = state.accounts.lots.cells[market.number][account]
        opened = abs(signed_lots)
        if before * signed_lots < 0:
            opened = max(0, opened - abs(before))
        if not opened:
            return
        wanted = isolation_atoms(state, market, account, opened, 1 if signed_lots > 0 else -1, price_ticks)
        pool = risk_of(state, (account, state.settle))
        cash = min(
            state.accounts.balances.cells[state.settle][account], pool.margin_atoms - pool.maintenance_atoms
        )
        atoms = min(wanted, max(0, cash))
        self.post(
            "isolate",
            [(account, state.settle, -atoms), (account, state.pocket(market.number), atoms)],
        )

    def release(self, market: Market, account: int, closed_lots: int) -> None:
        """Give margin of isolated lots (signed) that closed back to the wallet; all of it with the last lot.

        A partial close gives back its share, and no more than leaves the initial requirement of the rest.
        """
        state = self.state
        n = market.number
        if account == INSURANCE or not closed_lots or not state.accounts.isolated.cells[n][account]:
            return
        pocket = state.pocket(n)
        margin = state.accounts.balances.cells[pocket][account]
        atoms = margin
        lots = state.accounts.lots.cells[n][account]
        if lots:
            if (lots > 0) != (closed_lots > 0):
                return
            share = margin * closed_lots // (lots + closed_lots)
            equity = risk_of(state, (account, pocket)).equity_atoms
            leverage = state.accounts.leverage.cells[n][account]
            atoms = min(share, equity - initial_at_mark(state, market, abs(lots), leverage))
        if atoms > 0:
            self.post("isolate", [(account, pocket, -atoms), (account, state.settle, atoms)])

    # Forced changes of counterparty

    def take_over(
        self, compartment: Compartment, takers: dict[int, int], prices: dict[int, int] | None = None
    ) -> None:
        """Move a compartment's positions, and what margin is left, to `takers` by instrument.

        prices  by slot, where it is not the mark
        The margin is split over the takers in proportion to the value that each receives; collateral goes
        along. What is owed against it goes to a vault too; the fund takes nothing on credit and leaves both:
        it buys collateral for money. A compartment below zero moves its debt into nobody's books: the caller
        pays it first or afterwards.
        """
        state = self.state
        account, pocket = compartment
        values: dict[Compartment, int] = {}
        for market in state.positions_of(compartment):
            n, instrument = market.number, market.instrument_number
            taker = takers[instrument]
            lots = state.accounts.lots.cells[n][account]
            mark = market.prices.mark_ticks
            assert mark is not None
            price = prices.get(n, mark) if prices else mark
            legs: list[Leg] = []
            self.move(market, account, -lots, price, legs)
            taken = state.leg(taker, instrument, lots)
            self.move(taken, taker, lots, price, legs, origin=account)
            stated = None if price == mark else mark
            self.out.append(TakenOver(account, pocket, taker, instrument, lots, price, stated))
            self.post("takeover", legs)
            receiver = state.compartment_of(taker, taken.number)
            values[receiver] = values.get(receiver, 0) + abs(market.value_atoms(lots))
        pledged = [c.asset for c in state.collateral] if pocket == state.settle else []
        if INSURANCE in takers.values() and state.accounts.balances.cells[pocket][account] < 0:
            return
        for source in [pocket, *pledged] if values else []:
            margin = state.accounts.balances.cells[source][account]
            if margin < 0 and not pledged:
                continue
            receivers = sorted(values)
            weights = [values[receiver] for receiver in receivers]
            shares = split_exact(abs(margin), weights if any(weights) else [1] * len(weights))
            sign = 1 if margin > 0 else -1
            legs = [(account, source, -margin)]
            for (taker, into), share in zip(receivers, shares, strict=True):
                legs.append((taker, source if source in pledged else into, sign * share))
            self.post("takeover", legs)

    def sell(
        self,
        account: int,
        best: AuctionBid,
        lots: list[tuple[int, int]],
        bids: tuple[AuctionBid, ...],
        refused: tuple[int, ...],
    ) -> None:
        """Move a portfolio, (instrument, signed lots) in the order of the prices, to an auction's winner."""
        legs: list[Leg] = []
        marks = []
        for (n, held), price in zip(lots, best.price_ticks, strict=True):
            market = self.state.markets[n]
            marks.append(market.mark_ticks)
            self.move(market, account, -held, price, legs)
            self.move(market, best.account, held, price, legs, origin=account)
        instruments, sizes = zip(*lots, strict=True)
        self.out.append(
            AuctionHeld(
                account, best.account, instruments, sizes, best.price_ticks, tuple(marks), bids, refused
            )
        )
        self.post("auction", legs)

    # Money

    def supply(self, account: int, atoms: int, shares: int) -> None:
        """Money of the wallet goes to the lending pool; it is no equity any more and no loss."""
        state = self.state
        assert state.lending is not None
        state.lending.add(account, shares)
        self.out.append(Supplied(account, atoms, shares))
        self.post("lending", [(account, state.settle, -atoms), (LENDING, state.settle, atoms)])
        state.accounts.session_base.cells[0][account] -= atoms

    def redeem(self, account: int, shares: int) -> None:
        """Shares come back for what they are worth, rounded down."""
        state = self.state
        pool = state.lending
        assert pool is not None
        atoms = lending.claim_atoms(shares, pool.index)
        pool.add(account, -shares)
        self.out.append(Redeemed(account, shares, atoms))
        self.post("lending", [(LENDING, state.settle, -atoms), (account, state.settle, atoms)])
        state.accounts.session_base.cells[0][account] += atoms

    def post(self, reason: PostReason, legs: list[Leg]) -> None:
        event = self.state.ledger.post(reason, legs)
        if event.legs:
            for account, _, _ in event.legs:
                self.touch(account)
            self.out.append(event)

    def touch(self, account: int) -> None:
        """The account changed: the next scan looks at it."""
        if account >= FIRST_ACCOUNT:
            self.state.accounts.recheck_at.cells[0][account] = -1


def isolation_atoms(
    state: State, market: Market, account: int, opened_lots: int, side: int, price_ticks: int
) -> int:
    """Margin that opened lots bring along: the initial requirement at the mark, and what they lose there."""
    leverage = state.accounts.leverage.cells[market.number][account]
    loss = -market.gain_atoms(side * opened_lots, price_ticks)
    return initial_at_mark(state, market, opened_lots, leverage) + max(0, loss)
