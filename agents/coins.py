"""Coins of a world: where each is traded, and orders for its books."""

from collections.abc import Sequence

from msgspec import Struct

from zerodebt.exchange.commands import BUY, SELL, PlaceOrder, Side
from zerodebt.exchange.instruments import Instrument, order_step_ticks

SLIPPAGE_MAX = 0.05
"""An order that is to be filled at once goes at most this far through the index."""


class Coin(Struct, frozen=True):
    """One coin: numbers of its asset, of its first spot book and of its contract, where it has one."""

    symbol: str
    asset: int
    spot: int
    contract: int | None


def base_symbol(symbol: str) -> str:
    """BTC of BTC-PERP."""
    return symbol.partition("-")[0]


def coins_of(instruments: Sequence[Instrument]) -> tuple[Coin, ...]:
    """Every coin with a spot book, in the order of the instruments."""
    coins: dict[str, Coin] = {}
    contracts = {base_symbol(i.symbol): n for n, i in enumerate(instruments) if i.kind != "spot"}
    for number, instrument in enumerate(instruments):
        symbol = base_symbol(instrument.symbol)
        if instrument.kind == "spot" and symbol not in coins:
            coins[symbol] = Coin(symbol, instrument.base_asset, number, contracts.get(symbol))
    return tuple(coins.values())


def on_step(instrument: Instrument, price_ticks: int, side: int) -> int:
    """Nearest price that an order may use, down for a buy (side 1) and up for a sale (side -1)."""
    step = order_step_ticks(instrument, price_ticks)
    if side > 0:
        return price_ticks // step * step
    return -(-price_ticks // step) * step


def limit_order(
    instrument: Instrument, account: int, number: int, lots: int, price_ticks: float
) -> PlaceOrder:
    """A resting order for signed `lots`, as far as one order may go."""
    side: Side = BUY if lots > 0 else SELL
    price = min(max(round(price_ticks), instrument.price_min_ticks), instrument.price_max_ticks)
    size_lots = min(abs(lots), instrument.size_max_lots)
    return PlaceOrder(account, number, side, size_lots, on_step(instrument, price, side))


def immediate_order(
    instrument: Instrument,
    account: int,
    number: int,
    lots: int,
    index_ticks: float,
    *,
    reduce_only: bool = False,
    limit_ticks: float | None = None,
) -> PlaceOrder:
    """An order for signed `lots` that takes what stands up to the limit, or SLIPPAGE_MAX beyond the index."""
    side: Side = BUY if lots > 0 else SELL
    price = round(
        index_ticks + side * abs(index_ticks) * SLIPPAGE_MAX if limit_ticks is None else limit_ticks
    )
    price = min(max(price, instrument.price_min_ticks), instrument.price_max_ticks)
    size_lots = min(abs(lots), instrument.size_max_lots)
    stepped = on_step(instrument, price, side)
    return PlaceOrder(account, number, side, size_lots, stepped, "ioc", reduce_only=reduce_only)
