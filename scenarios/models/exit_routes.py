"""F86: every coin of the leverage cycle has a second, thinner spot book; where do those go who leave?

News of a fall, as in S11. Sellers go to the deepest book of a coin at the time, or always to its first one;
arbitrageurs stand between the books, or nobody does. Hours are those since the start.

The makers of the second book are those of the first with `second_share` of their depth and inventory, and a
price of their own: value and trend traders trade in first books only, so that what links the books is the
arbitrageur, and sellers who choose between them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from zerodebt.agents.coins import coins_of, depth_lots
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder
from zerodebt.exchange.events import Filled
from zerodebt.exchange.instruments import value_atoms
from zerodebt.exchange.venue import Venue
from zerodebt.scenarios import config, populations, rundir
from zerodebt.scenarios.models.leverage_cycle import SCENARIO, SECOND, News, defined, run_world, temporary
from zerodebt.scenarios.populations import Run

_NEWS_H, _NEWS_ENDS_H = 24.0, 30.0
_LEAVING = ("institutions", "retail")
_COINS = ("BTC", "ETH", "ALT", "SMALL")


class Exit(NamedTuple):
    """What an order to sell coins brought.

    is_first    it went to the coin's first book
    was_first   the first book had bids, and no other one more of them, when the order came
    is_deepest  the same of the book to which it went
    is_bare     no book had bids: the order went further than depth is counted
    """

    hour: float
    usd: float
    is_first: bool
    was_first: bool
    is_deepest: bool
    is_bare: bool


def measure(
    seed: int,
    *,
    move: float = 0.2,
    days: float = 4.0,
    wake_s: float = 1800.0,
    second_share: float = 0.4,
    routes: str = "deepest",
    arbitrage: bool = True,
) -> Mapping[str, float]:
    """Where exits went, how far apart the books were, and what arbitrageurs did.

    move          of BTC's worth: a price relative of 1 - move
    second_share  depth, inventory and orders of the second book over those of the first
    routes        of institutions and of retail's core
    """
    changes = _second(second_share) | {f"populations.{name}.routes": routes for name in _LEAVING}
    if arbitrage:
        changes["populations.between"] = {"kind": "book_arbitrageurs"}
    news = News(float(np.log(1 - move)), _NEWS_H, _NEWS_ENDS_H)
    with temporary() as folder:
        run = run_world(seed, 24 * days, wake_s, news, changes, Path(folder), second_books=True)
        found = of_exits(list(exits(run))) | of_books(run)
        if arbitrage:
            found["pairs"] = float(populations.counter(run, "between", "pairs"))
            found["arbitrage_volume_share"] = populations.volume_shares(run).get("between", 0.0)
    return defined(found)


def _second(share: float) -> dict[str, Any]:
    """Makers and noise of the second books: those of the first, smaller."""
    table = config.read_table(config.scenario_path(SCENARIO))
    known = {population["name"]: population for population in table["populations"]}
    smaller = {
        "spot_makers": ("capital_usd", "depth_usd", "inventory_cap_usd"),
        "spot_noise": ("orders_per_s",),
    }
    return {
        f"populations.second_{name}": known[name]
        | {"books": "second_spot"}
        | {key: share * known[name][key] for key in keys}
        for name, keys in smaller.items()
    }


def exits(run: Run) -> Iterator[Exit]:
    """Every order of those who leave that sold coins, with the books as they were when it came: the journal
    is replayed."""
    path = run.path / rundir.CONFIG
    world = config.build(config.load(path)[0], str(path))
    venue = Venue(world.rules, world.assets, world.instruments)
    leaving = set(run.accounts.filter(run.accounts["population"].is_in(_LEAVING))["account"].to_list())
    own = {book: coin.books for coin in coins_of(world.instruments) for book in coin.books}
    for stamped in rundir.read_commands(run.path / rundir.JOURNAL):
        order = stamped.command
        if not (
            isinstance(order, PlaceOrder)
            and order.account in leaving
            and order.side == SELL
            and order.instrument in own
        ):
            venue.apply(order, stamped.time_ns)
            continue
        depths = {book: depth_lots(venue.view, book, BUY) for book in own[order.instrument]}
        most, first = max(depths.values()), own[order.instrument][0]
        batch = venue.apply(order, stamped.time_ns)
        instrument = world.instruments[order.instrument]
        sold = sum(
            value_atoms(instrument, event.price_ticks, event.size_lots)
            for event in batch.events
            if isinstance(event, Filled) and event.taker == order.account
        )
        if sold:
            yield Exit(
                (stamped.time_ns - world.start_ns) / populations.HOUR_NS,
                sold / world.atoms_per_usd,
                order.instrument == first,
                depths[first] == most > 0,
                depths[order.instrument] == most > 0,
                most == 0,
            )


def of_exits(orders: list[Exit]) -> dict[str, float]:
    """Shares of what is sold from the news on."""
    sold = [order for order in orders if order.hour >= _NEWS_H]
    whole = sum(order.usd for order in sold)
    if not whole:
        return {"exit_usd": 0.0}
    return {
        "exit_usd": whole,
        "exit_deepest_share": sum(order.usd for order in sold if order.is_deepest) / whole,
        "exit_first_share": sum(order.usd for order in sold if order.is_first) / whole,
        "first_deepest_share": sum(order.usd for order in sold if order.was_first) / whole,
        "exit_bare_share": sum(order.usd for order in sold if order.is_bare) / whole,
    }


def of_books(run: Run) -> dict[str, float]:
    """The two books of each coin beside each other, over all coins and instants: how far their prices are
    apart, before the news too, and how often the bid of one is more than 20 bp above the ask of the other."""
    columns = ("symbol", "hour", "index", "bid_ticks", "ask_ticks")
    rows = pl.concat([_beside(run.marks.select(columns), coin) for coin in _COINS])
    apart = rows["apart_bp"].to_numpy()
    calm = apart[(rows["hour"] < _NEWS_H).to_numpy()]
    return {
        "within_50bp_share": float(np.mean(apart <= 50)),
        "within_50bp_calm_share": float(np.mean(calm <= 50)),
        "apart_median_bp": float(np.median(apart)),
        "crossed_20bp_share": float(np.mean(rows["crossed_bp"].fill_null(0.0).to_numpy() > 20)),
    }


def _beside(marks: pl.DataFrame, coin: str) -> pl.DataFrame:
    """(hour, apart_bp, crossed_bp) of a coin; crossed is null where there is no bid or no ask."""
    first, second = (marks.filter(pl.col("symbol") == symbol) for symbol in (coin, f"{coin}{SECOND}"))
    both = first.join(second, on="hour", suffix="_2")
    crossed = pl.max_horizontal(
        pl.col("bid_ticks") / pl.col("ask_ticks_2"), pl.col("bid_ticks_2") / pl.col("ask_ticks")
    )
    return both.select(
        "hour",
        apart_bp=(pl.col("index_2") / pl.col("index")).log().abs() * 10_000,
        crossed_bp=(crossed - 1) * 10_000,
    )
