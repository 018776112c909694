"""Coins of a world: where each is traded, and orders for its books."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from zerodebt.exchange.commands import BUY, SELL, PlaceOrder, Side
from zerodebt.exchange.instruments import Instrument, order_step_ticks
from zerodebt.exchange.views import View

SLIPPAGE_MAX = 0.05
"""An order that is to be filled at once goes at most this far through the index."""
DEPTH_WITHIN = 0.01
"""Part of the mid within which a book's depth is counted [ours: that of the table of marks]."""

Routes = Literal["deepest", "first"]
"""Where a seller of coins goes: to the book of the coin with the most bids, or always to its first one."""


class Coin(Struct, frozen=True):
    """One coin: numbers of its asset, of its spot books, the first also as `spot`, and of its contract,
    where it has one. Books of one coin have the same tick and lot."""

    symbol: str
    asset: int
    books: tuple[int, ...]
    contract: int | None

    @property
    def spot(self) -> int:
        return self.books[0]


def base_symbol(symbol: str) -> str:
    """BTC of BTC-PERP."""
    return symbol.partition("-")[0]


def coins_of(instruments: Sequence[Instrument]) -> tuple[Coin, ...]:
    """Every coin with a spot book, in the order of the instruments."""
    books: dict[str, list[int]] = {}
    contracts = {base_symbol(i.symbol): n for n, i in enumerate(instruments) if i.kind != "spot"}
    for number, instrument in enumerate(instruments):
        if instrument.kind == "spot":
            own = books.setdefault(base_symbol(instrument.symbol), [])
            own.append(number)
            first = instruments[own[0]]
            if (first.tick_decimals, first.lot_decimals) != (
                instrument.tick_decimals,
                instrument.lot_decimals,
            ):
                raise ValueError(f"{first.symbol} and {instrument.symbol} have different ticks or lots")
    return tuple(
        Coin(symbol, instruments[own[0]].base_asset, tuple(own), contracts.get(symbol))
        for symbol, own in books.items()
    )


def depth_lots(view: View, book: int, side: Side) -> int:
    """Lots that rest on one side within DEPTH_WITHIN of the mid; of the best price, if it stands alone."""
    best, other = view.best_ticks(book, side), view.best_ticks(book, SELL if side == BUY else BUY)
    if best is None:
        return 0
    mid = best if other is None else (best + other) / 2
    lots = 0
    for price_ticks, open_lots in view.depth(book, side):
        if abs(price_ticks - mid) > DEPTH_WITHIN * abs(mid):
            break
        lots += open_lots
    return lots


def deepest_book(view: View, books: Sequence[int], side: Side) -> int:
    """The book with the most on one side; of equals the first. O(levels)."""
    return max(books, key=lambda book: depth_lots(view, book, side))


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
