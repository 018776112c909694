"""The pure checks at the venue's door: each returns what it looked up, or refuses with its reason."""

from collections.abc import Iterable

from zerodebt.exchange.book import Order
from zerodebt.exchange.commands import BUY, SELL, PositionLeg
from zerodebt.exchange.events import INSURANCE
from zerodebt.exchange.instruments import order_step_ticks
from zerodebt.exchange.margin import open_markets, stale_market
from zerodebt.exchange.marks import Market, market_band_ticks
from zerodebt.exchange.reject import RejectReason, refuse
from zerodebt.exchange.sessions import is_closed, limit_band
from zerodebt.exchange.state import State


def customer(state: State, account: int) -> None:
    if not state.accounts.is_customer(account):
        known = 0 <= account < state.accounts.count
        reason = RejectReason.NOT_A_CUSTOMER if known else RejectReason.UNKNOWN_ACCOUNT
        refuse(reason, f"account {account}")


def trader(state: State, account: int) -> None:
    """Customers trade, and the insurance fund out of what it took over."""
    if account != INSURANCE:
        customer(state, account)


def market_of(state: State, instrument: int) -> Market:
    if not 0 <= instrument < len(state.markets):
        refuse(RejectReason.UNKNOWN_INSTRUMENT, f"instrument {instrument}")
    return state.markets[instrument]


def contract_of(state: State, instrument: int) -> Market:
    market = market_of(state, instrument)
    if market.instrument.kind == "spot":
        refuse(RejectReason.WRONG_KIND, f"{market.instrument.symbol} is spot")
    return market


def leg_of(state: State, market: Market, account: int, leg: PositionLeg) -> Market:
    """The position that a leg names: contracts have two of them in hedge mode, everything else one."""
    is_hedged = account in state.hedged and market.instrument.kind != "spot"
    if (leg != "net") != is_hedged:
        mode = "hedge" if is_hedged else "net"
        refuse(RejectReason.WRONG_LEG, f"leg {leg} in {market.instrument.symbol}, which is in {mode} mode")
    return state.leg(account, market.number, SELL if leg == "short" else BUY)


def known_asset(state: State, asset: int) -> None:
    if not 0 <= asset < len(state.assets):
        refuse(RejectReason.UNKNOWN_ASSET, f"asset {asset}")


def own_order(state: State, account: int, order_id: int) -> Order:
    order = state.orders.get(order_id)
    if order is None:
        refuse(RejectReason.UNKNOWN_ORDER, f"order {order_id}")
    if order.account != account:
        refuse(RejectReason.NOT_YOUR_ORDER, f"order {order_id}")
    return order


def not_in_liquidation(state: State, account: int) -> None:
    if state.is_in_liquidation(account):
        refuse(RejectReason.IN_LIQUIDATION, f"account {account}")


def marked(state: State, account: int) -> None:
    """Margin can only be judged where every position has a mark."""
    for market in state.contracts:
        if market.prices.mark_ticks is None and state.accounts.lots.cells[market.number][account]:
            refuse(RejectReason.NO_PRICE, market.instrument.symbol)


def fresh(state: State, account: int) -> None:
    """Margin leaves only where every position has a fresh index: nobody runs from a price not seen yet."""
    fresh_among(state, open_markets(state, account))


def fresh_among(state: State, markets: Iterable[Market]) -> None:
    stale = stale_market(state, markets)
    if stale is not None:
        refuse(RejectReason.INDEX_STALE, stale.instrument.symbol)


def size(market: Market, size_lots: int) -> None:
    if size_lots < 1:
        refuse(RejectReason.SIZE_NOT_POSITIVE, f"{size_lots} lots")
    if size_lots > market.instrument.size_max_lots:
        refuse(
            RejectReason.SIZE_TOO_LARGE,
            f"{size_lots} lots, allowed are at most {market.instrument.size_max_lots}",
        )


def price(market: Market, price_ticks: int, *, on_step: bool) -> None:
    instrument = market.instrument
    if not instrument.price_min_ticks <= price_ticks <= instrument.price_max_ticks:
        refuse(
            RejectReason.PRICE_OUT_OF_RANGE,
            f"{price_ticks} ticks, allowed is {instrument.price_min_ticks}..{instrument.price_max_ticks}",
        )
    if on_step and price_ticks % order_step_ticks(instrument, price_ticks):
        step = order_step_ticks(instrument, price_ticks)
        refuse(RejectReason.PRICE_OFF_STEP, f"{price_ticks} ticks is not a multiple of {step}")


def limit(state: State, market: Market, price_ticks: int) -> None:
    """The rulebook's band of the day around the last settlement price."""
    band = limit_band(state, market.number)
    if band is not None and not band[0] <= price_ticks <= band[1]:
        refuse(RejectReason.PRICE_BEYOND_LIMIT, f"{price_ticks} ticks, allowed is {band[0]}..{band[1]}")


def in_session(state: State, market: Market) -> None:
    if is_closed(state, market.number):
        refuse(RejectReason.SESSION_CLOSED, market.instrument.symbol)


def may_isolate(state: State) -> None:
    """An auction sells the whole account: no position of it may answer with its own margin only."""
    if state.rules.default_fund.close_out == "auction":
        refuse(RejectReason.NOT_IN_RULEBOOK, "the rulebook has no isolated margin beside auctions")


def band(state: State, market: Market, side: int, price_ticks: int) -> None:
    furthest = market_band_ticks(market, state.rules, side)
    if furthest is not None and side * (price_ticks - furthest) > 0:
        least_or_most = "most" if side == BUY else "least"
        refuse(
            RejectReason.PRICE_BEYOND_BAND,
            f"{price_ticks} ticks, allowed are at {least_or_most} {furthest}",
        )
