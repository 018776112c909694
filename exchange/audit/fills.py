"""Trades: priority, limits, fees and the legs that must follow."""

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil
from zerodebt.exchange.audit.books import BUY, Levels, Order
from zerodebt.exchange.audit.contracts import Contracts
from zerodebt.exchange.audit.forms.valuation import Worth, worth_at
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

Legs = dict[Compartment, int]


class Fills:
    """Every trade against the book and the rulebook's fees."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        ledger: Ledger,
        contracts: Contracts,
        liquidations: Liquidations,
        harm: Harm,
        orders: Orders,
    ) -> None:
        self._rules = rules
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._contracts = contracts
        self._liquidations = liquidations
        self._harm = harm
        self._orders = orders
        self._find = notes.find
        self._settle = holdings.settle
        self._markets = holdings.markets

    def fill(self, event: Filled) -> None:
        market = self._markets[event.instrument]
        self._notes.counts["fills"] += 1
        if event.size_lots < 1:
            self._find("BOOK-07", f"trade {event.trade_id} is for {event.size_lots} lots")
        if event.taker == event.maker:
            self._find("BOOK-13", f"trade {event.trade_id} is between two orders of account {event.taker}")
        self._contracts.check_trade(event, market)
        legs = self._legs_of(event, market)
        forced = self._fill_taker(event, market)
        self._fill_maker(event, market)
        market.last = event.price_ticks
        touched = self._holdings.touched
        touched.add(event.taker)
        touched.add(event.maker)
        self._settle_fill(event, legs, forced=forced)

    def _legs_of(self, event: Filled, market: Market) -> tuple[Market, Market]:
        """The positions of taker and maker, by what their orders may do."""
        entering, maker = self._orders.entering, self._orders.live.get(event.maker_order)
        reduces = (entering is not None and entering[1].reduce, maker is not None and maker.reduce)
        of_order = self._holdings.leg_of_order
        return (
            of_order(event.taker, market, event.taker_side, reduces=reduces[0]),
            of_order(event.maker, market, -event.taker_side, reduces=reduces[1]),
        )

    def _fill_taker(self, event: Filled, market: Market) -> bool:
        """The taker is the order that is entering, within its limit and its lots. Returns if it is forced."""
        entering = self._orders.entering
        if entering is None or entering[0] != event.taker_order:
            self._find(
                "BOOK-08", f"trade {event.trade_id}: order {event.taker_order} takes but is not entering"
            )
            return False
        order, side, price, size = entering[1], event.taker_side, event.price_ticks, event.size_lots
        if order.account != event.taker or order.instrument != event.instrument or order.side != side:
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
        if order.reduce and not market.is_spot:
            leg = self._leg(order, market)
            self._check_reduces(leg, event.taker, side * size, event.taker_order, forced=order.forced)
        return order.forced

    def _fill_maker(self, event: Filled, market: Market) -> None:
        """The maker is the first order of the best level of the other side, at its own price."""
        maker_id, side, price, size = event.maker_order, event.taker_side, event.price_ticks, event.size_lots
        maker = self._orders.live.get(maker_id)
        if maker is None:
            self._find("BOOK-08", f"trade {event.trade_id}: maker order {maker_id} is not live")
            return
        levels = market.asks if side == BUY else market.bids
        key = maker.key
        if levels.best_key() != key or next(iter(levels.by_key[key])) != maker_id:
            self._find_priority(event, levels)
        if price != maker.price:
            self._find("BOOK-03", f"trade {event.trade_id} at {price}, the maker's price is {maker.price}")
        if maker.account != event.maker or maker.instrument != event.instrument or maker.side == side:
            self._find("BOOK-08", f"trade {event.trade_id} names another maker than order {maker_id}")
        leg = self._leg(maker, market)
        if maker.reduce or self._liquidations.is_open(event.maker, leg):
            self._check_reduces(leg, event.maker, -side * size, maker_id, forced=False)
        maker.open -= size
        maker.filled += size
        if maker.open > 0:
            return
        if maker.open < 0:
            self._find(
                "BOOK-15",
                f"trade {event.trade_id}: {size} lots are {-maker.open} more than the maker has",
            )
        self._orders.remove(maker_id, maker)

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

    def _leg(self, order: Order, market: Market) -> Market:
        """The position that an order changes."""
        return self._holdings.leg_of_order(order.account, market, order.side, reduces=order.reduce)

    def _check_reduces(
        self, market: Market, account: int, signed_lots: int, order_id: int, *, forced: bool
    ) -> None:
        held = market.lots_of(account)
        if held * signed_lots >= 0 or abs(signed_lots) > abs(held):
            rule = "LIQ-05" if forced else "RO-01"
            self._find(
                rule, f"order {order_id} may only reduce, but trades {signed_lots} lots against {held} held"
            )

    def _settle_fill(self, event: Filled, positions: tuple[Market, Market], *, forced: bool) -> None:
        """Move what was traded, take the fees, and say which legs must follow.

        positions  of taker and maker
        """
        market = positions[0]
        worth = worth_at(market.spec, event.price_ticks)
        if market.is_spot:
            legs = self._exchange_assets(event, market, worth)
        else:
            legs = self._move_positions(event, positions, worth, forced=forced)
        value = abs(worth(event.size_lots))
        taker_fee = self._take_taker_fee(event, market, value, legs, forced=forced)
        maker_fee = self._take_maker_fee(event, market, value, legs, 0 if forced else taker_fee)
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

    def _exchange_assets(self, event: Filled, market: Market, worth: Worth) -> Legs:
        """Spot: the taker's side pays the quote asset and is delivered the base asset."""
        taker, maker, bought = event.taker, event.maker, event.taker_side * event.size_lots
        quote, base = market.spec.settle_asset, market.spec.base_asset
        paid, delivered = worth(bought), bought * market.spec.lot_atoms
        if quote == self._settle:
            brought_in = self._holdings.brought_in
            brought_in[taker] = brought_in.get(taker, 0) - paid
            brought_in[maker] = brought_in.get(maker, 0) + paid
        return {
            (taker, quote): -paid,
            (maker, quote): paid,
            (taker, base): delivered,
            (maker, base): -delivered,
        }

    def _move_positions(
        self, event: Filled, positions: tuple[Market, Market], worth: Worth, *, forced: bool
    ) -> Legs:
        """Both positions change; what each realises comes out of the market's clearing pocket."""
        holdings, bought = self._holdings, event.taker_side * event.size_lots
        market, made = positions
        taker = (event.taker, holdings.pocket_of(event.taker, market))
        maker = (event.maker, holdings.pocket_of(event.maker, made))
        if forced:
            self._liquidations.trade(worth(bought), bought)
            self._harm.add(taker, worth(bought) - worth_at(market.spec, market.reference or 0)(bought))
        lost = holdings.move(market, event.taker, bought, worth)
        gained = holdings.move(made, event.maker, -bought, worth)
        legs = {taker: lost}
        legs[maker] = legs.get(maker, 0) + gained
        legs[CLEARING, market.clearing] = -lost - gained
        return legs

    def _take_taker_fee(self, event: Filled, market: Market, value: int, legs: Legs, *, forced: bool) -> int:
        """A forced order pays the liquidation fee to the fund, out of its own compartment; rounded up.

        The fund's pool of the instrument gets it. A forced sale of collateral is free.
        """
        asset, fees = market.spec.settle_asset, self._rules.fees
        payer, payee, rate = (event.taker, asset), (FEES, asset), fees.taker_ppb
        if forced:
            pocket = asset if market.is_spot else self._holdings.pocket_of(event.taker, market)
            rate = 0 if market.is_spot else fees.liquidation_ppb
            payer = (event.taker, pocket)
            payee = (INSURANCE, asset if market.is_spot else self._holdings.pool_of(market))
        fee = self._borne(market, payer, div_ceil(value * rate, PPB), legs)
        legs[payer] = legs.get(payer, 0) - fee
        legs[payee] = legs.get(payee, 0) + fee
        if forced:
            self._harm.add(payer, fee)
        return fee

    def _take_maker_fee(self, event: Filled, market: Market, value: int, legs: Legs, taker_fee: int) -> int:
        """Rounded up; a rebate is paid out of the fee that the taker pays, and never beyond it."""
        payer, payee = (event.maker, market.spec.settle_asset), (FEES, market.spec.settle_asset)
        fee = div_ceil(value * self._rules.fees.maker_ppb, PPB)
        fee = self._borne(market, payer, fee, legs) if fee > 0 else max(fee, -taker_fee)
        legs[payer] = legs.get(payer, 0) - fee
        legs[payee] = legs.get(payee, 0) + fee
        return fee

    def _borne(self, market: Market, payer: Compartment, fee: int, legs: Legs) -> int:
        """What of a fee leaves its payer at zero after the fill's other legs; spot is paid in full."""
        if not fee or market.is_spot:
            return fee
        return max(0, min(fee, self._holdings.equity(*payer) + legs.get(payer, 0)))
