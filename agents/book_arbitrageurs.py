"""Arbitrageurs between the spot books of one coin (C4 between two books, for F86).

They buy where a coin is offered below what is bid for it in another of its books. All books of the venue
share one wallet: what one leg brings the other leg may use at once, so that nothing has to be moved from
book to book, and inventory comes back by itself. Only a leg that was not filled leaves a difference to the
coins of the start; it is made up at a later look. C4's transfer delays are for separate venues.

Chosen by us on 2026-11-22, before the first run: `coins_share`, the slice of the inventory that may be
missing, and that C4's cost of capital over its holding time is asked for although nothing is held.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
from msgspec import Struct

from zerodebt.agents.opening import Opening
from zerodebt.agents.population import Count, NotNegative, Positive, Share, Usd, WakeOverMonths, to_ns
from zerodebt.agents.spot_holders import SpotHolders
from zerodebt.agents.wealth import midpoints
from zerodebt.agents.world import World
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder

_MISSING_MAX = 0.1
"""Part of the coins of the start that may be missing, or beyond them, before they are made up."""


class BookArbitrageurParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="book_arbitrageurs", tag_field="kind"
):
    """Accounts with cash and coins, each with a band of its own.

    count               accounts
    capital_usd         of all together, by Pareto quantiles of `capital_exponent` [C4: 1.2; 5-20 % of open
                        interest]
    coins_share         of the capital that is coins at the start, by the books' shares [ours]
    fee_bp              taker fee, paid in both books [C4: 4-5 bp]
    carry_annual        cost of capital, U [C4: .06-.10]; over `holding_days` [C4: 3] it is the band
    wake_s, latency_ms  [C4: 5 min]
    """

    name: str
    count: Count = 6
    capital_usd: Usd = 3_000_000.0
    capital_exponent: Positive = 1.2
    coins_share: Share = 0.5
    fee_bp: NotNegative = 4.5
    carry_annual: tuple[NotNegative, NotNegative] = (0.06, 0.10)
    holding_days: NotNegative = 3.0
    wake_s: WakeOverMonths = 300.0
    latency_ms: NotNegative = 100.0


class BookArbitrageurs(SpotHolders):
    """Each looks at every coin once a wake, at a time of its own: what one took the next does not see."""

    routes = "deepest"

    def __init__(self, params: BookArbitrageurParams, opening: Opening, first_account: int) -> None:
        super().__init__(params.name, params.count, opening, first_account, params.latency_ms)
        self.params = params
        self.counters |= dict.fromkeys(("pairs", "made_up"), 0)
        self._several = [k for k, coin in enumerate(self.coins) if len(coin.books) > 1]
        if not self._several:
            raise ValueError("found no coin with two spot books, allowed are one or more")
        sizes = (1 - midpoints(params.count)) ** (-1 / params.capital_exponent)
        capital = params.capital_usd * sizes / sizes.sum()
        carry = self.generator.uniform(*params.carry_annual, params.count)
        self.margin = 2 * params.fee_bp / 10_000 + carry * params.holding_days / 365
        shares = np.zeros(len(self.coins))
        shares[self._several] = self.shares[self._several] / self.shares[self._several].sum()
        coins = params.coins_share * capital
        self.endow(capital - coins, shares[:, None] * coins[None, :])

    def start(self, world: World) -> None:
        step_ns, count = to_ns(self.params.wake_s), self.params.count
        for row in range(count):
            world.every(step_ns, partial(self._look, world, row), step_ns * (row + 1) // (count + 1))

    def _look(self, world: World, row: int) -> None:
        for k in self._several:
            index = world.view.index_ticks(self.spots[k])
            if index is None:
                continue
            held, start = self.held_lots(world, k, row), int(self.start_lots[k, row])
            if abs(start - held) > _MISSING_MAX * start:
                self.counters["made_up"] += 1
                self.trade(world, row, k, start - held, index)
            else:
                self._take(world, row, k, held)

    def _take(self, world: World, row: int, k: int, held_lots: int) -> None:
        """Buy in the book with the lowest offer and sell as much in the one with the highest bid."""
        view, books, account = world.view, self.coins[k].books, int(self.accounts[row])
        offers = {n: p for n in books if (p := view.best_ticks(n, SELL)) is not None}
        bids = {n: p for n in books if (p := view.best_ticks(n, BUY)) is not None}
        if not offers or not bids:
            return
        cheap, rich = min(offers, key=lambda n: offers[n]), max(bids, key=lambda n: bids[n])
        asked, bid = view.depth(cheap, SELL), view.depth(rich, BUY)
        shown, ask_ticks, bid_ticks = crossed(asked, bid, float(self.margin[row]))
        if not shown:
            return
        instrument = self.opening.instruments[cheap]
        cost = ask_ticks * instrument.tick_value_atoms * (1 + self.params.fee_bp / 10_000)
        cash = int(view.wallets((account,))[0])
        lots = min(shown, held_lots, int(cash / cost), instrument.size_max_lots)
        if lots < 1:
            return
        self.counters["pairs"] += 1
        self.counters["orders"] += 2
        bought = PlaceOrder(account, cheap, BUY, lots, ask_ticks, "ioc")
        sold = PlaceOrder(account, rich, SELL, lots, bid_ticks, "ioc")
        world.submit((bought, sold), self.latencies[row], self.heard)


def crossed(
    offers: Iterator[tuple[int, int]], bids: Iterator[tuple[int, int]], margin: float
) -> tuple[int, int, int]:
    """(lots, highest ask, lowest bid) of the offers of one book that bids of another exceed by more than
    `margin`, a part of the ask; both as (price_ticks, lots), best first. Nothing: (0, 0, 0). O(levels)."""
    lots = ask_ticks = bid_ticks = offered = wanted = 0
    ask = bid = 0
    while True:
        if not offered:
            ask, offered = next(offers, (0, 0))
        if not wanted:
            bid, wanted = next(bids, (0, 0))
        if not (offered and wanted) or bid - ask <= margin * ask:
            return lots, ask_ticks, bid_ticks
        step = min(offered, wanted)
        lots, ask_ticks, bid_ticks = lots + step, ask, bid
        offered, wanted = offered - step, wanted - step
