"""Orders in and out of the books: who may rest, where, and why one leaves."""

from zerodebt.exchange.audit.books import BUY, SELL, Order
from zerodebt.exchange.audit.contracts import Contracts
from zerodebt.exchange.audit.conversions import Conversions
from zerodebt.exchange.audit.forms.mark import furthest_ticks, moving_basis_ticks
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.liquidations import Liquidations
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.triggers import Triggers
from zerodebt.exchange.events import (
    Deleveraged,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    Quoted,
)
from zerodebt.exchange.rules import VenueRules


class Orders:
    """Live orders, the one that is entering, and the books that they rest in."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        contracts: Contracts,
        liquidations: Liquidations,
        conversions: Conversions,
        triggers: Triggers,
    ) -> None:
        self._conversions = conversions
        self._band = rules.orders.band
        self._notes = notes
        self._contracts = contracts
        self._liquidations = liquidations
        self._triggers = triggers
        self._find = notes.find
        self._markets = holdings.markets
        self.live: dict[int, Order] = {}
        self.entering: tuple[int, Order] | None = None
        self._crossable: set[int] = set()
        self._cancels_of_winners = rules.adl.cancels_orders
        self._deleveraged: set[int] = set()

    def deleverage(self, event: Deleveraged) -> None:
        """From here on to the end of the command the winner has no orders, where the rulebook says so."""
        self._deleveraged.add(event.winner)

    def accept(self, event: OrderAccepted) -> None:
        if self.entering is not None:
            self.rest_entering()
        self._notes.counts["orders"] += 1
        order_id = event.order_id
        if order_id in self.live:
            self._find("BOOK-09", f"order {order_id} is accepted while it is live")
        order = Order(
            event.account,
            event.instrument,
            event.side,
            event.price_ticks,
            event.size_lots,
            reduce=event.reduce_only,
        )
        order.tif = event.tif
        order.post_only = event.post_only
        self.entering = (order_id, order)
        if event.forced and self._markets[order.instrument].is_spot:
            self._conversions.check_forced(order_id, order)
        elif event.forced:
            self._liquidations.check_forced(order_id, order)
        elif order.price is not None:
            self._check_band(order_id, order.instrument, order.side, order.price)

    def _check_band(self, order_id: int, instrument: int, side: int, price: int) -> None:
        """No order may reach further than the rulebook's band; forced orders have their own limit."""
        market = self._markets[instrument]
        premium = moving_basis_ticks(market.basis_points)
        furthest = furthest_ticks(self._band, side, market.mark or 0, market.index or 0, premium)
        if furthest is not None and side * (price - furthest) > 0:
            self._find(
                "BOOK-04", f"order {order_id} at {price} lies beyond the band, which ends at {furthest}"
            )

    def rest_entering(self) -> None:
        """The order that was entering is done: what is left of it rests, or should have been closed."""
        if self.entering is None:
            return
        order_id, order = self.entering
        self.entering = None
        self._liquidations.end_forced(order)
        if order.open <= 0:
            return
        if order.price is None or order.tif != "gtc" or order.forced:
            self._find(
                "BOOK-12",
                f"order {order_id} may not rest, but {order.open} of its lots are neither filled nor closed",
            )
            return
        self.live[order_id] = order
        self._markets[order.instrument].sides[order.side].add(order_id, order)
        self._crossable.add(order.instrument)

    def amend(self, event: OrderAmended) -> None:
        if self.entering is not None:
            self.rest_entering()
        order = self.live.get(event.order_id)
        if order is None:
            self._find("BOOK-08", f"order {event.order_id} is amended but not live")
            return
        if event.open_lots < 1:
            self._find("BOOK-10", f"order {event.order_id} is amended to {event.open_lots} lots")
        keeps = event.price_ticks == order.price and event.open_lots < order.open
        if event.keeps_place != keeps:
            self._find(
                "BOOK-10",
                f"order {event.order_id} from {order.open} at {order.price} to {event.open_lots} at "
                f"{event.price_ticks}: keeps_place is stated {event.keeps_place}, the rule says {keeps}",
            )
        if event.price_ticks != order.price:
            self._check_band(event.order_id, order.instrument, order.side, event.price_ticks)
        if event.keeps_place:
            order.open = event.open_lots
            return
        self.remove(event.order_id, order)
        order.price = event.price_ticks
        order.key = -order.side * event.price_ticks
        order.open = event.open_lots
        order.post_only = False
        self.entering = (event.order_id, order)

    def remove(self, order_id: int, order: Order) -> None:
        del self.live[order_id]
        self._markets[order.instrument].sides[order.side].remove(order_id, order)

    def reduce(self, event: OrderReduced) -> None:
        order = self.live.get(event.order_id)
        entering = self.entering
        if order is None and entering is not None and entering[0] == event.order_id:
            order = entering[1]
        if order is None:
            self._find("BOOK-08", f"order {event.order_id} is reduced but not live")
            return
        least = 0 if entering is not None and order is entering[1] else 1
        if not least <= event.open_lots < order.open:
            self._find(
                "BOOK-13",
                f"order {event.order_id} with {order.open} open lots is reduced to {event.open_lots}",
            )
        if entering is None or entering[1].account != order.account:
            self._find(
                "BOOK-13", f"order {event.order_id} is reduced without an order of its own account against it"
            )
        order.open = event.open_lots

    def close(self, event: OrderClosed) -> None:
        order_id = event.order_id
        if self.entering is not None and self.entering[0] == order_id:
            order = self.entering[1]
            if order.open != event.open_lots:
                self._find(
                    "BOOK-15", f"order {order_id} closes with {event.open_lots} lots, {order.open} are open"
                )
            if (
                event.reason == "unfilled"
                and order.tif == "gtc"
                and order.price is not None
                and not order.forced
            ):
                self._find("BOOK-12", f"order {order_id} is closed as unfilled although it may rest")
            self._liquidations.end_forced(order)
            self.entering = None
            return
        known = self.live.get(order_id)
        if known is None:
            armed = self._triggers.armed.pop(order_id, None)
            if armed is None:
                self._find("BOOK-08", f"order {order_id} closes but is not live")
            elif armed.size_lots != event.open_lots:
                self._find(
                    "BOOK-15", f"trigger {order_id} closes with {event.open_lots} lots of {armed.size_lots}"
                )
            return
        if known.open != event.open_lots:
            self._find(
                "BOOK-15", f"order {order_id} closes with {event.open_lots} lots, {known.open} are open"
            )
        self._check_close_reason(event, known)
        self.remove(order_id, known)

    def _check_close_reason(self, event: OrderClosed, order: Order) -> None:
        reason = event.reason
        if reason == "reduce_only":
            if not order.reduce:
                self._find("RO-01", f"order {event.order_id} is closed as reduce-only but is not")
        elif reason == "maker_below_maintenance":
            if self._liquidations.could_bear(order, event.open_lots):
                self._find(
                    "LIQ-12", f"order {event.order_id} is closed though account {order.account} could bear it"
                )
        elif reason == "conversion":
            self._conversions.check_close(event, order)
        elif reason == "price_limit":
            self._contracts.check_close(event, self._markets[order.instrument], order.price)
        elif reason == "liquidation":
            if order.account not in self._liquidations.accounts:
                self._find("LIQ-12", f"order {event.order_id} is closed by a liquidation that did not start")
        elif reason == "deleveraged":
            if not self._cancels_of_winners or order.account not in self._deleveraged:
                self._find("WFALL-03", f"order {event.order_id} is closed as of a winner who was deleveraged")
        elif reason == "self_trade":
            entering = self.entering
            if entering is None or entering[1].account != order.account:
                self._find(
                    "BOOK-13",
                    f"order {event.order_id} is closed as self-trade with nobody of its account against it",
                )

    def quote(self, event: Quoted) -> None:
        if self.entering is not None:
            self.rest_entering()
        orders = self.live
        account, n = event.account, event.instrument
        market = self._markets[n]
        bids, asks = market.bids, market.asks
        for order_id in event.removed:
            order = orders.pop(order_id, None)
            if order is None:
                if self._triggers.armed.pop(order_id, None) is None:
                    self._find(
                        "BOOK-08",
                        f"the quote of account {account} removes order {order_id}, which is not live",
                    )
                continue
            if order.account != account or order.instrument != n:
                self._find(
                    "ACC-01",
                    f"the quote of account {account} removes order {order_id} of account {order.account}",
                )
            (bids if order.side == BUY else asks).remove(order_id, order)
        for order_id, side, price, size in event.placed:
            if order_id in orders:
                self._find("BOOK-09", f"order {order_id} is placed while it is live")
            self._check_band(order_id, n, side, price)
            order = orders[order_id] = Order(account, n, side, price, size, reduce=False)
            (bids if side == BUY else asks).add(order_id, order)
        self._crossable.add(n)

    def rest(self) -> None:
        """No order is left entering, and no book is left crossed."""
        if self.entering is not None:
            self.rest_entering()
        if self._cancels_of_winners and self._deleveraged:
            self._check_winners_orders()
        self._deleveraged.clear()
        if not self._crossable:
            return
        for n in self._crossable:
            market = self._markets[n]
            bid, ask = market.best(BUY), market.best(SELL)
            if bid is not None and ask is not None and bid >= ask:
                self._find("BOOK-05", f"instrument {n} rests crossed: bid {bid}, ask {ask}")
        self._crossable.clear()

    def _check_winners_orders(self) -> None:
        owners = [(order_id, order.account) for order_id, order in self.live.items()]
        owners += [(order_id, armed.account) for order_id, armed in self._triggers.armed.items()]
        for order_id, account in owners:
            if account in self._deleveraged:
                self._find("WFALL-03", f"account {account} was deleveraged and keeps its order {order_id}")
