"""Orders: the gate, the walk and what makers can bear, the judgement, fills with fees and isolated margin."""

from dataclasses import dataclass, field
from fractions import Fraction

from msgspec import structs

from tests.reference import arithmetic as exact
from tests.reference import margin
from tests.reference.book import Resting, Walk, walk
from tests.reference.margin import After, Order, risk_of
from tests.reference.world import Compartment, Waiting, World, refuse
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder, Side
from zerodebt.exchange.events import (
    FEES,
    INSURANCE,
    CloseReason,
    Filled,
    OrderAccepted,
    OrderClosed,
    OrderReduced,
    TriggerArmed,
)
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.reject import RejectReason


@dataclass
class Taker:
    """The order that is being executed."""

    order_id: int
    account: int
    n: int
    side: Side
    forced: bool = False


# The gate


def customer(w: World, account: int) -> None:
    if not w.is_customer(account):
        is_house = 0 <= account < len(w.accounts)
        refuse(RejectReason.NOT_A_CUSTOMER if is_house else RejectReason.UNKNOWN_ACCOUNT)


def trader(w: World, account: int) -> None:
    if account != INSURANCE:
        customer(w, account)


def instrument(w: World, n: int) -> None:
    if n not in w.contracts:
        refuse(RejectReason.UNKNOWN_INSTRUMENT)


def not_in_liquidation(w: World, account: int) -> None:
    if w.is_in_liquidation(account):
        refuse(RejectReason.IN_LIQUIDATION)


def size(w: World, n: int, lots: int) -> None:
    if lots < 1:
        refuse(RejectReason.SIZE_NOT_POSITIVE)
    if lots > w.instruments[n].size_max_lots:
        refuse(RejectReason.SIZE_TOO_LARGE)


def is_on_step(spec: Instrument, price: int) -> bool:
    """An integer, or a price of no more than so many significant figures."""
    if not spec.significant_figures or price % 10**spec.tick_decimals == 0:
        return True
    return len(str(abs(price)).rstrip("0")) <= spec.significant_figures


def price_in_range(w: World, n: int, price: int, *, on_step: bool = False) -> None:
    spec = w.instruments[n]
    if not spec.price_min_ticks <= price <= spec.price_max_ticks:
        refuse(RejectReason.PRICE_OUT_OF_RANGE)
    if on_step and not is_on_step(spec, price):
        refuse(RejectReason.PRICE_OFF_STEP)


def within_band(w: World, n: int, side: int, price: int) -> None:
    band = w.rules.orders.band
    if band.formula == "mark" and side * (price - through(w.mark(n), side, band.width_ppb)) > 0:
        refuse(RejectReason.PRICE_BEYOND_BAND)


def through(mark: int, side: int, rate_ppb: int) -> int:
    """A share of the mark through it, rounded towards the mark."""
    return mark + side * exact.down(exact.share(abs(mark), rate_ppb))


def reducible(lots: int, side: int) -> int:
    """How many lots an order of a side takes off a position before it flips."""
    return max(0, -lots * side)


def gate(w: World, order: PlaceOrder) -> None:
    """The checks in the order of the reasons."""
    account, n, rules = order.account, order.instrument, w.rules.orders
    trader(w, account)
    instrument(w, n)
    if order.leg != "net":
        refuse(RejectReason.WRONG_LEG)
    reduces = order.reduce_only or reducible(w.position(account, n).lots, order.side) >= order.size_lots
    if not reduces:
        not_in_liquidation(w, account)
    if not (w.status[n].open or (w.status[n].reduce and reduces)):
        refuse(RejectReason.HALTED)
    if w.prices[n].mark is None:
        refuse(RejectReason.NO_PRICE)
    size(w, n, order.size_lots)
    if order.price_ticks is not None:
        price_in_range(w, n, order.price_ticks, on_step=True)
        if order.trigger is None and rules.band.beyond == "refuse":
            within_band(w, n, order.side, order.price_ticks)
    if order.trigger is not None:
        price_in_range(w, n, order.trigger.price_ticks)
    price = w.mark(n) if order.price_ticks is None else order.price_ticks
    if not order.reduce_only and abs(w.value(n, price, order.size_lots)) < rules.value_min_atoms:
        refuse(RejectReason.VALUE_TOO_SMALL)
    if len(w.own(account)) >= rules.open_orders_max:
        refuse(RejectReason.TOO_MANY_ORDERS)
    rests_without_price = order.price_ticks is None and order.tif == "gtc" and order.trigger is None
    post_without_price = order.post_only and (
        order.price_ticks is None or order.tif != "gtc" or order.trigger is not None
    )
    strange_budget = order.budget_atoms is not None and (order.tif != "fok" or order.trigger is not None)
    if rests_without_price or post_without_price or strange_budget:
        refuse(RejectReason.CONTRADICTION)


# Triggers


def reference(w: World, waiting: PlaceOrder) -> int | None:
    assert waiting.trigger is not None
    prices = w.prices[waiting.instrument]
    return prices.mark if waiting.trigger.reference == "mark" else prices.last


def waits_below(order: PlaceOrder) -> bool:
    """A selling stop and a buying take-profit wait for a fall."""
    assert order.trigger is not None
    return (order.trigger.kind == "stop") == (order.side == SELL)


def is_met(w: World, order: PlaceOrder) -> bool:
    price = reference(w, order)
    assert order.trigger is not None
    if price is None:
        return False
    return price <= order.trigger.price_ticks if waits_below(order) else price >= order.trigger.price_ticks


def released(order: PlaceOrder) -> PlaceOrder:
    is_market = order.price_ticks is None and order.tif == "gtc"
    return structs.replace(order, trigger=None, tif="ioc" if is_market else order.tif)


def next_met(w: World, n: int, name: str) -> Waiting | None:
    """Falls before rises; the first price that is reached, then the oldest."""
    met = []
    for thing in w.open:
        if isinstance(thing, Waiting) and thing.order.instrument == n:
            trigger = thing.order.trigger
            assert trigger is not None
            if trigger.reference == name and is_met(w, thing.order):
                below = waits_below(thing.order)
                key = -trigger.price_ticks if below else trigger.price_ticks
                met.append((not below, key, thing.order_id, thing))
    return min(met, key=lambda entry: entry[:3])[3] if met else None


# Matching


@dataclass
class Makers:
    """What makers hold and gain in the course of one walk."""

    w: World
    n: int
    moved: dict[int, int] = field(default_factory=dict)
    gained: dict[Compartment, int] = field(default_factory=dict)

    def allowed(self, maker: Resting, lots: int) -> tuple[int, CloseReason | None]:
        """Reduce-only clips, and nobody is left below maintenance by a fill. RO-01, MARG-07."""
        closes: CloseReason | None = None
        held = self.w.position(maker.owner, self.n).lots + self.moved.get(maker.owner, 0)
        if maker.reduce_only:
            most = reducible(held, maker.side)
            if most < maker.lots and most <= lots:
                lots, closes = most, "reduce_only"
        bearable = self.bearable(maker, held, lots) if lots else 0
        if bearable < lots:
            lots, closes = bearable, "maker_below_maintenance"
        if lots:
            where = self.w.compartment(maker.owner, self.n)
            self.moved[maker.owner] = self.moved.get(maker.owner, 0) + maker.side * lots
            self.gained[where] = self.gained.get(where, 0) + self.gain(maker, lots)
        return lots, closes

    def gain(self, maker: Resting, lots: int) -> int:
        return self.w.gain(self.n, maker.side * lots, maker.price)

    def bearable(self, maker: Resting, held: int, lots: int) -> int:
        """All, or what only reduces and leaves no debt."""
        w, n = self.w, self.n
        where = w.compartment(maker.owner, n)
        equity = risk_of(w, where).equity + self.gained.get(where, 0)
        after = held + maker.side * lots
        required = required_after(w, where, n, after)
        gain, brought = self.gain(maker, lots), self.brought(maker, after)
        pays_debt = bool(brought) and risk_of(w, where).equity < 0 and equity + gain < 0
        closing = min(lots, reducible(held, maker.side))
        may_open = where not in w.in_liquidation or closing == lots
        if may_open and brought is not None and equity + gain + brought >= required and not pays_debt:
            return lots
        gain = self.gain(maker, closing)
        return closing if gain >= 0 or equity + gain >= 0 else 0

    def brought(self, maker: Resting, after: int) -> int | None:
        """Margin of lots that an isolated position opens; None where the cross pool cannot spare it."""
        w, held = self.w, self.w.position(maker.owner, self.n)
        opened = abs(after) if held.lots * after < 0 else abs(after) - abs(held.lots)
        if not held.isolated or opened <= 0:
            return 0
        pool = risk_of(w, (maker.owner, w.settle))
        wanted = margin.isolation(w, maker.owner, self.n, opened, maker.side, maker.price)
        return wanted if wanted <= min(w.cash((maker.owner, w.settle)), pool.equity - pool.required) else None


def required_after(w: World, where: Compartment, n: int, lots: int) -> int:
    """Maintenance requirement of a compartment if its position in `n` were of these lots."""
    others = [k for k in w.contracts_of(where) if k != n]
    held = [(k, w.position(where[0], k).lots) for k in others]
    return sum(margin.maintenance_at_mark(w, k, x) for k, x in [*held, (n, lots)])


def plan(w: World, order: PlaceOrder, lots: int, limit: int | None) -> Walk:
    n = order.instrument
    makers = Makers(w, n)
    return walk(w.resting(n), order.account, order.side, lots, limit, order.self_trade, makers.allowed)


# Judging


def judge(
    w: World, order: PlaceOrder, walked: Walk, rests: int, price: int | None, gone: Resting | None = None
) -> None:
    """Margin after the fills with all resting orders at their worst; reducing is always allowed. MARG-03.

    rests  lots that would rest at `price`; gone  an own order that would leave the book
    """
    account, n, side = order.account, order.instrument, order.side
    held = w.position(account, n)
    filled = side * walked.traded
    value = sum(w.value(n, step.maker.price, side * step.traded) for step in walked.met)
    fee = exact.up(exact.share(abs(value), w.rules.fees.taker_ppb))
    if w.open_interest(n) + growth(w, order, walked) > w.instruments[n].open_interest_max_lots:
        refuse(RejectReason.OPEN_INTEREST_CAP)
    gap = w.at_mark(n, filled) - value
    wallet = (-isolated_need(w, order, filled, value, gap) if held.isolated else gap) - fee
    resting = margin.resting_of(w, account, n, gone)
    if rests and price is not None and not order.reduce_only:
        resting.append(Order(side, rests, w.value(n, price, rests)))
    if margin.spare(w, account, After(n, filled, wallet, resting)) >= 0:
        return
    after = held.lots + filled
    adds = 0 if order.reduce_only else rests
    freed = gone.lots if gone is not None and not gone.reduce_only else 0
    only_reduces = abs(after) <= abs(held.lots) and held.lots * after >= 0 and adds <= freed
    if only_reduces and (held.isolated or is_safer(w, account, n, after, gap - fee)):
        return
    refuse(RejectReason.MARGIN_TOO_SMALL)


def growth(w: World, order: PlaceOrder, walked: Walk) -> int:
    """Lots by which the fills change the open interest."""
    moved = {order.account: order.side * walked.traded}
    for step in walked.met:
        moved[step.maker.owner] = moved.get(step.maker.owner, 0) + step.maker.side * step.traded
    held = {who: w.position(who, order.instrument).lots for who in moved}
    return sum(max(0, held[who] + lots) - max(0, held[who]) for who, lots in moved.items())


def isolated_need(w: World, order: PlaceOrder, filled: int, value: int, gap: int) -> int:
    """Margin that the wallet gives to an isolated position; what closes may not leave a debt."""
    account, n = order.account, order.instrument
    held, where = w.position(account, n).lots, w.compartment(account, n)
    after = held + filled
    opened = max(0, abs(after) - abs(held))
    if held * after < 0:
        opened = abs(after)
        if risk_of(w, where).equity + gap < 0:
            refuse(RejectReason.MARGIN_TOO_SMALL)
    elif abs(after) < abs(held) and not is_safer(w, account, n, after, gap):
        refuse(RejectReason.MARGIN_TOO_SMALL)
    if not opened:
        return 0
    if held * order.side >= 0 and not risk_of(w, where).is_safe:
        refuse(RejectReason.MARGIN_TOO_SMALL)
    average = margin.worst_price(w, n, filled, value)
    needed = margin.isolation(w, account, n, opened, order.side, average)
    if w.cash((account, w.settle)) < needed:
        refuse(RejectReason.BALANCE_TOO_SMALL)
    return needed


def is_safer(w: World, account: int, n: int, after: int, gained: int) -> bool:
    """Is equity over requirement no lower after a reducing fill, and no debt made or enlarged?"""
    where = w.compartment(account, n)
    now = risk_of(w, where)
    equity, required = now.equity + gained, required_after(w, where, n, after)
    return equity >= min(0, now.equity) and equity * now.required >= now.equity * required


# Entering


def enter(w: World, order: PlaceOrder) -> None:
    """An order that waits for nothing: plan, judge, trade, rest or close."""
    account, n = order.account, order.instrument
    lots = order.size_lots
    order = capped(w, order)
    if order.reduce_only:
        lots = min(lots, reducible(w.position(account, n).lots, order.side))
        if not lots:
            refuse(RejectReason.REDUCE_ONLY_NOTHING)
    limit = market_limit(w, n, order.side) if order.price_ticks is None else order.price_ticks
    walked = plan(w, order, lots, limit)
    if order.post_only:
        not_taking(w, n, order.side, order.price_ticks or 0)
    if order.tif == "fok" and walked.traded < lots:
        refuse(RejectReason.CANNOT_FILL)
    if order.budget_atoms is not None:
        value = sum(w.value(n, step.maker.price, step.traded) for step in walked.met)
        if order.side * (value - order.budget_atoms) > 0:
            refuse(RejectReason.CANNOT_FILL)
    if order.price_ticks is None and not walked.met:
        refuse(RejectReason.NO_LIQUIDITY)
    rests = order.tif == "gtc" and not walked.stopped
    judge(w, order, walked, walked.left if rests else 0, order.price_ticks)
    taker = accept(w, order, lots)
    execute(w, taker, walked)
    if not walked.left:
        return
    if not rests:
        w.say(OrderClosed(taker.order_id, walked.left, "self_trade" if walked.stopped else "unfilled"))
        return
    assert order.price_ticks is not None
    w.open.append(
        Resting(
            taker.order_id,
            account,
            order.side,
            order.price_ticks,
            walked.left,
            walked.traded,
            n,
            order.reduce_only,
            order.post_only,
        )
    )


def not_taking(w: World, n: int, side: int, price: int) -> None:
    best = w.best(n, -side)
    if best is not None and side * (price - best) >= 0:
        refuse(RejectReason.WOULD_TAKE)


def market_limit(w: World, n: int, side: int) -> int | None:
    """A market order goes this far through the mark, or to any price."""
    rules = w.rules.orders
    limits = []
    if rules.market_slippage_ppb:
        limits.append(side * through(w.mark(n), side, rules.market_slippage_ppb))
    if rules.band.formula == "mark":
        limits.append(side * through(w.mark(n), side, rules.band.width_ppb))
    return side * min(limits) if limits else None


def capped(w: World, order: PlaceOrder) -> PlaceOrder:
    """A price beyond a band that caps becomes the furthest one that is allowed."""
    band, price = w.rules.orders.band, order.price_ticks
    if band.formula != "mark" or band.beyond != "cap" or price is None:
        return order
    furthest = through(w.mark(order.instrument), order.side, band.width_ppb)
    spec = w.instruments[order.instrument]
    while not is_on_step(spec, furthest):
        furthest -= order.side
    furthest = max(spec.price_min_ticks, min(spec.price_max_ticks, furthest))
    is_beyond = order.side * (price - furthest) > 0
    return structs.replace(order, price_ticks=furthest) if is_beyond else order


def accept(w: World, order: PlaceOrder, lots: int, *, forced: bool = False) -> Taker:
    order_id = w.order_id()
    w.say(
        OrderAccepted(
            order_id,
            order.account,
            order.instrument,
            order.side,
            lots,
            order.price_ticks,
            order.tif,
            order.post_only,
            order.reduce_only,
            forced,
        )
    )
    return Taker(order_id, order.account, order.instrument, order.side, forced)


def arm(w: World, order: PlaceOrder) -> None:
    assert order.trigger is not None
    waiting = Waiting(w.order_id(), order)
    w.open.append(waiting)
    w.say(
        TriggerArmed(
            waiting.order_id,
            order.account,
            order.instrument,
            order.side,
            order.size_lots,
            order.price_ticks,
            order.reduce_only,
            order.trigger,
        )
    )


# Fills


def execute(w: World, taker: Taker, walked: Walk) -> None:
    """Margin that a taker's fills set free leaves his position after the last of them."""
    left = walked.left + sum(step.traded + step.taken for step in walked.met)
    closed = 0
    for step in walked.met:
        maker = step.maker
        left -= step.traded + step.taken
        if step.traded:
            closed += fill(w, taker, maker, step.traded)
        if step.taken:
            w.say(OrderReduced(taker.order_id, left))
        if step.taken and step.closes is None:
            maker.lots -= step.taken
            w.say(OrderReduced(maker.order_id, maker.lots))
        if step.closes is not None and maker.lots:
            w.close(maker, step.closes)
    if not taker.forced:
        give_back(w, taker.account, taker.n, closed)


def fill(w: World, taker: Taker, maker: Resting, lots: int) -> int:
    """Margin for what opens, positions, fees; then the maker's margin of what closed goes back.

    Signed lots that the taker closed.
    """
    n, price = taker.n, maker.price
    maker.lots -= lots
    maker.filled += lots
    if not maker.lots:
        w.drop(maker)
    sides = ((taker.account, taker.side * lots), (maker.owner, -taker.side * lots))
    for account, signed in sides:
        bring_margin(w, account, n, signed, price)
    closed = [w.move(account, n, signed, price)[0] for account, signed in sides]
    taker_fee, maker_fee = charge_fees(w, taker, maker.owner, abs(w.value(n, price, lots)))
    w.prices[n].last = price
    w.say(
        Filled(
            w.next_trade_id,
            n,
            taker.side,
            price,
            lots,
            taker.order_id,
            taker.account,
            maker.order_id,
            maker.owner,
            taker_fee,
            maker_fee,
        )
    )
    w.next_trade_id += 1
    give_back(w, maker.owner, n, closed[1])
    return closed[0]


def charge_fees(w: World, taker: Taker, maker: int, value: int) -> tuple[int, int]:
    """Rounded up; no fee takes its payer below zero; a rebate is at most what the taker pays. LIQ-03."""
    fees, wallet = w.rules.fees, w.settle
    payer, payee, rate = (taker.account, wallet), (FEES, wallet), fees.taker_ppb
    if taker.forced:
        payer, payee = w.compartment(taker.account, taker.n), (INSURANCE, wallet)
        rate = fees.liquidation_ppb
    taker_fee = bearable(w, payer, exact.up(exact.share(value, rate)))
    w.pay(payer, payee, taker_fee)
    maker_fee = exact.up(exact.share(value, fees.maker_ppb))
    if maker_fee > 0:
        maker_fee = bearable(w, (maker, wallet), maker_fee)
    else:
        maker_fee = max(maker_fee, 0 if taker.forced else -taker_fee)
    w.pay((maker, wallet), (FEES, wallet), maker_fee)
    return taker_fee, maker_fee


def bearable(w: World, payer: Compartment, fee: int) -> int:
    return max(0, min(fee, risk_of(w, payer).equity))


def bring_margin(w: World, account: int, n: int, lots: int, price: int) -> None:
    """Margin of lots that open an isolated position, as far as the pool spares it."""
    held = w.position(account, n)
    opened = abs(lots) if held.lots * lots >= 0 else max(0, abs(lots) - abs(held.lots))
    if not held.isolated or not opened:
        return
    wanted = margin.isolation(w, account, n, opened, BUY if lots > 0 else SELL, price)
    pool = risk_of(w, (account, w.settle))
    most = min(w.cash((account, w.settle)), pool.equity - pool.required)
    w.pay((account, w.settle), (account, w.pocket(n)), min(wanted, max(0, most)))


def give_back(w: World, account: int, n: int, closed: int) -> None:
    """Margin of isolated lots that closed: their share, and what the rest needs stays."""
    held = w.position(account, n)
    if account == INSURANCE or not closed or not held.isolated or held.lots * closed < 0:
        return
    where = (account, w.pocket(n))
    atoms = w.cash(where)
    if held.lots:
        part = exact.down(Fraction(atoms * closed, held.lots + closed))
        needed = margin.initial_at_mark(w, n, abs(held.lots), held.leverage)
        atoms = min(part, risk_of(w, where).equity - needed)
    if atoms > 0:
        w.pay(where, (account, w.settle), atoms)
