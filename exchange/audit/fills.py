"""Trades: priority, limits, fees and the legs that must follow."""

from zerodebt.exchange.audit.arithmetic import PPB
from zerodebt.exchange.audit.books import Levels
from zerodebt.exchange.audit.harm import Harm
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.liquidations import Liquidations
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.orders import Orders
from zerodebt.exchange.events import (
    CLEARING,
    FEES,
    INSURANCE,
    Filled,
)
from zerodebt.exchange.rules import VenueRules


class Fills:
    """Every trade against the book and the rulebook's fees."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        ledger: Ledger,
        liquidations: Liquidations,
        harm: Harm,
        orders: Orders,
    ) -> None:
        self._rules = rules
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._liquidations = liquidations
        self._harm = harm
        self._orders = orders
        self._find = notes.find
        self._settle = holdings.settle
        self._markets = holdings.markets

    def fill(self, event: Filled) -> None:
        n = event.instrument
        market = self._markets[n]
        side, price, size = event.taker_side, event.price_ticks, event.size_lots
        taker, maker_account = event.taker, event.maker
        self._notes.counts["fills"] += 1
        forced = False
        entering = self._orders.entering
        if entering is None or entering[0] != event.taker_order:
            self._find(
                "BOOK-08", f"trade {event.trade_id}: order {event.taker_order} takes but is not entering"
            )
        else:
            order = entering[1]
            forced = order.forced
            if order.account != taker or order.instrument != n or order.side != side:
                self._find(
                    "BOOK-08", f"trade {event.trade_id} names another taker than order {event.taker_order}"
                )
            if order.price is not None and side * (price - order.price) > 0:
                self._find(
                    "BOOK-04",
                    f"trade {event.trade_id} at {price} is worse than the taker's limit {order.price}",
                )
            if order.post_only:
                self._find("BOOK-12", f"trade {event.trade_id}: post-only order {event.taker_order} takes")
            order.open -= size
            order.filled += size
            if order.open < 0:
                self._find(
                    "BOOK-15",
                    f"trade {event.trade_id}: {size} lots are {-order.open} more than the taker has",
                )
            if order.reduce:
                self._check_reduces(market, taker, side, size, event.taker_order, forced=forced)
        if size < 1:
            self._find("BOOK-07", f"trade {event.trade_id} is for {size} lots")
        if taker == maker_account:
            self._find("BOOK-13", f"trade {event.trade_id} is between two orders of account {taker}")
        levels = market.asks if side == 1 else market.bids
        maker = self._orders.live.get(event.maker_order)
        if maker is None:
            self._find("BOOK-08", f"trade {event.trade_id}: maker order {event.maker_order} is not live")
        else:
            key = maker.key
            if levels.best_key() != key or next(iter(levels.by_key[key])) != event.maker_order:
                self._find_priority(event, levels)
            if price != maker.price:
                self._find(
                    "BOOK-03", f"trade {event.trade_id} at {price}, the maker's price is {maker.price}"
                )
            if maker.account != maker_account or maker.instrument != n or maker.side == side:
                self._find(
                    "BOOK-08", f"trade {event.trade_id} names another maker than order {event.maker_order}"
                )
            if maker.reduce or maker_account in self._liquidations.accounts:
                self._check_reduces(market, maker_account, -side, size, event.maker_order, forced=False)
            maker.open -= size
            maker.filled += size
            if maker.open <= 0:
                if maker.open < 0:
                    self._find(
                        "BOOK-15",
                        f"trade {event.trade_id}: {size} lots are {-maker.open} more than the maker has",
                    )
                self._orders.remove(event.maker_order, maker)
        market.last = price
        self._holdings.touched.add(taker)
        self._holdings.touched.add(maker_account)
        self._settle_fill(event, market, forced=forced)

    def _find_priority(self, event: Filled, levels: Levels) -> None:
        best = levels.best_key()
        if best is None:
            self._find("BOOK-01", f"trade {event.trade_id} finds no order on the other side")
            return
        first = next(iter(levels.by_key[best]))
        self._find(
            "BOOK-01",
            f"trade {event.trade_id} takes maker order {event.maker_order} at {event.price_ticks}, "
            f"but order {first} at {abs(best)} comes first",
        )

    def _check_reduces(
        self, market: Market, account: int, side: int, size: int, order_id: int, *, forced: bool
    ) -> None:
        position = market.holders.get(account)
        lots = position[0] if position else 0
        if lots * side >= 0 or size > abs(lots):
            rule = "LIQ-05" if forced else "RO-01"
            self._find(
                rule, f"order {order_id} may only reduce, but trades {side * size} lots against {lots} held"
            )

    def _settle_fill(self, event: Filled, market: Market, *, forced: bool) -> None:
        """Move both positions and say which legs must follow."""
        side, price, size = event.taker_side, event.price_ticks, event.size_lots
        taker, maker = event.taker, event.maker
        asset = market.spec.settle_asset
        lot_value = price * market.tick_value
        value = abs(size * lot_value)
        taker_fee = 0
        fees = self._rules.fees
        maker_fee = -(-value * fees.maker_ppb // PPB)
        legs: dict[Compartment, int] = {}
        if forced and maker_fee < 0:
            maker_fee = 0
        if market.is_spot:
            paid = side * size * lot_value
            delivered = side * size * market.spec.lot_atoms
            base = market.spec.base_asset
            legs[taker, asset] = -paid
            legs[maker, asset] = paid
            if asset == self._settle:
                self._holdings.brought_in[taker] = self._holdings.brought_in.get(taker, 0) - paid
                self._holdings.brought_in[maker] = self._holdings.brought_in.get(maker, 0) + paid
            legs[taker, base] = delivered
            legs[maker, base] = -delivered
            taker_pocket = asset
        else:
            own = market.pocket
            isolated = market.isolated
            settle = self._settle
            taker_pocket = own if taker in isolated else settle
            if forced:
                index_value = (market.index or 0) * market.tick_value
                self._harm.add((taker, taker_pocket), side * size * (lot_value - index_value))
            realised = self._holdings.move(market, taker, side * size, lot_value)
            if realised:
                legs[taker, taker_pocket] = realised
            gained = self._holdings.move(market, maker, -side * size, lot_value)
            if gained:
                maker_pocket = own if maker in isolated else settle
                key = (maker, maker_pocket)
                legs[key] = legs.get(key, 0) + gained
            if realised + gained:
                legs[CLEARING, own] = -realised - gained
        payer, payee, rate = (taker, asset), FEES, fees.taker_ppb
        if forced:
            payer, payee, rate = (taker, taker_pocket), INSURANCE, fees.liquidation_ppb
        taker_fee = self._borne(market, payer, -(-value * rate // PPB), legs)
        legs[payer] = legs.get(payer, 0) - taker_fee
        legs[payee, asset] = legs.get((payee, asset), 0) + taker_fee
        if forced:
            self._harm.add(payer, taker_fee)
        key = (maker, asset)
        if maker_fee > 0:
            maker_fee = self._borne(market, key, maker_fee, legs)
        else:
            maker_fee = max(maker_fee, 0 if forced else -taker_fee)
        legs[key] = legs.get(key, 0) - maker_fee
        key = (FEES, asset)
        legs[key] = legs.get(key, 0) + maker_fee
        if event.taker_fee_atoms != taker_fee:
            self._find(
                "FEE-01",
                f"trade {event.trade_id}: taker fee {event.taker_fee_atoms}, the rulebook says {taker_fee}",
            )
        if event.maker_fee_atoms != maker_fee:
            self._find(
                "FEE-01",
                f"trade {event.trade_id}: maker fee {event.maker_fee_atoms}, the rulebook says {maker_fee}",
            )
        self._ledger.expect("fill", legs, f"trade {event.trade_id}")

    def _borne(self, market: Market, payer: Compartment, fee: int, legs: dict[Compartment, int]) -> int:
        """What of a fee leaves its payer at zero after the fill's other legs; spot is paid in full."""
        if not fee or market.is_spot:
            return fee
        return max(0, min(fee, self._holdings.equity(*payer) + legs.get(payer, 0)))
