"""Market makers: a ladder around the index, skewed by inventory, withdrawn under stress (C3, corrected).

Makers of spot books have no outside price where the index is made of these books. They quote around a price
of their own, common to all of them, which yields to what they bought and sold; their stress is its move too,
since the middle of a book that they have left says little.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from zerodebt.agents.coins import on_step
from zerodebt.agents.history import IndexHistory
from zerodebt.agents.opening import YEAR_NS, Books, Opening
from zerodebt.agents.population import (
    Count,
    Leverage,
    NotNegative,
    Positions,
    Positive,
    Share,
    Usd,
    WakeOverMonths,
    account_range,
    count_rejections,
    latencies_ns,
    to_ns,
)
from zerodebt.agents.seeds import rng
from zerodebt.agents.wealth import Floats
from zerodebt.agents.world import World
from zerodebt.exchange.commands import CancelAll, Command, Deposit, MassQuote, Role, SetLeverage
from zerodebt.exchange.events import Batch, Quoted
from zerodebt.exchange.instruments import largest_leverage
from zerodebt.exchange.units import MINUTE_NS, Int64Array

_MEDIAN_ABS_NORMAL = 0.6745


class MarketMakerParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="market_makers", tag_field="kind"
):
    """A group of market makers, each with an account and thresholds of its own.

    count                    makers [C3: 5-15]
    capital_usd              wealth of each, cross margin
    depth_usd                resting on each side by each maker over all instruments when calm; an instrument
                             gets its share of the open interest. Fitted to the depth figures
    inventory_cap_usd        beyond this position (an instrument: its share) a maker only quotes to reduce
    half_spread_bp           distance of the first level at the volatility of BTC; in proportion to volatility
                             elsewhere, and times 1 + widening * (stress - 1) above normal stress
    levels                   per side
    distance_growth          distance of a level over that of the one before
    size_growth              size of a level over that of the one before
    skew_bp                  shift of the ladder at the inventory cap, in proportion below; by volatility too
    dispersion               ln-sd of the makers' half spreads around the stated one
    designated_share         of makers who stay under stress, with `designated_size` of their depth
    threshold, threshold_ln_sd   stress at which a maker withdraws, lognormal over makers [C3 (f): 6, .5]
    hysteresis               a maker counts stress as over below threshold / hysteresis [C3 (f): 3]
    return_mean_s            a free maker stays away Exp of this, and longer while stress lasts [C3: 10 min]
    return_size              of the depth at the return, then + return_growth_per_min a minute [C3: .2, .1]
    requote_share            quotes are renewed when the centre is off by more than this part of the spread
    leverage                 chosen for every instrument, cut to its maximum
    wake_s, latency_ms       how often a maker looks, and the median time until the venue has its quotes;
                             stress is measured over a minute, or over a wake where that is longer
    books                    contracts, around the index; or first or second spot books
    impact                   spot: how far the own price moves when one side of the calm depth has been taken,
                             in distances of the outermost level [proposed]
    pressure_per_hour        spot: how far it moves an hour against a mean inventory at the cap, in the same
                             distances, with the cube of the inventory: who can hardly take more looks for
                             a price at which others do [proposed]
    """

    name: str
    count: Count = 6
    capital_usd: Usd = 60_000_000.0
    depth_usd: NotNegative = 30_000_000.0
    inventory_cap_usd: Usd = 150_000_000.0
    half_spread_bp: NotNegative = 1.5
    widening: NotNegative = 0.5
    levels: Count = 5
    distance_growth: Positive = 2.2
    size_growth: Positive = 1.6
    skew_bp: NotNegative = 6.0
    dispersion: NotNegative = 0.25
    designated_share: Share = 1 / 3
    designated_size: Share = 0.1
    threshold: Positive = 6.0
    threshold_ln_sd: NotNegative = 0.5
    hysteresis: Positive = 3.0
    return_mean_s: Positive = 600.0
    return_size: Share = 0.2
    return_growth_per_min: NotNegative = 0.1
    requote_share: NotNegative = 0.5
    leverage: Leverage = 20
    wake_s: WakeOverMonths = 1.0
    latency_ms: NotNegative = 20.0
    books: Books = "contracts"
    impact: Share = 0.6
    pressure_per_hour: NotNegative = 1.0


class MarketMakers:
    """The makers of one group, woken together."""

    role: Role = "customer"

    def __init__(self, params: MarketMakerParams, opening: Opening, first_account: int) -> None:
        generator = rng(opening.seed, params.name)
        count, instruments = params.count, len(opening.instruments)
        self.name = params.name
        self.params = params
        self.accounts = account_range(first_account, count)
        self.deposits_atoms = np.full(count, opening.atoms_of("capital_usd", params.capital_usd), np.int64)
        self.positions: Positions | None = None
        self.counters = dict.fromkeys(
            ("quotes", "levels", "levels_refused", "withdrawals", "returns", "cancels", "rejected"), 0
        )
        self._opening = opening
        self._generator = generator
        self._latencies = latencies_ns(generator, count, params.latency_ms)
        self._numbers = self.accounts.tolist()
        designated = round(params.designated_share * count)
        self._designated = generator.permutation(count) < designated
        self._threshold = params.threshold * np.exp(params.threshold_ln_sd * generator.standard_normal(count))
        volatility = opening.volatility
        relative = volatility / 0.4
        self._half = params.half_spread_bp * 1e-4 * relative[None, :]
        self._half = self._half * np.exp(params.dispersion * generator.standard_normal(count))[:, None]
        self._skew = params.skew_bp * 1e-4 * relative
        self._shares = opening.shares_of(params.books)
        usd_atoms = self._shares * opening.atoms_per_usd / opening.lot_value_atoms
        self._depth_lots = params.depth_usd * usd_atoms
        self._cap_lots = np.maximum(params.inventory_cap_usd * usd_atoms, 1.0)
        sizes = params.size_growth ** np.arange(params.levels)
        self._level_sizes = sizes / sizes.sum()
        self._level_distances = params.distance_growth ** np.arange(params.levels)
        self._per_window = max(1, round(60 / params.wake_s))
        self._history = IndexHistory(instruments, self._per_window + 1)
        calm = _MEDIAN_ABS_NORMAL * volatility * np.sqrt(self._per_window * to_ns(params.wake_s) / YEAR_NS)
        self._moves = np.tile(calm, (60, 1))
        self._median_move = calm
        # A price that makers move themselves stands still most of the time: its median says nothing.
        self._median_least = calm if params.books != "contracts" else np.full(instruments, 1e-7)
        self._moves_seen = 0
        self._woken = 0
        self._stressed = np.zeros(count, bool)
        self._away_until_ns = np.zeros(count, np.int64)
        self._back_since_ns = np.full(count, -1, np.int64)
        self._quoted_centre = np.zeros((count, instruments))
        self._quoted_size = np.zeros((count, instruments))
        self._quoted_half = np.ones((count, instruments))
        self._quoted_lots = np.zeros((count, instruments), np.int64)
        self._is_spot = params.books != "contracts"
        own = [(i.kind == "spot") == self._is_spot for i in opening.instruments]
        self._quotes = np.array(own) & (self._depth_lots > 0)
        self._own_price = np.array(opening.start_ticks, np.float64)
        self._last_held = np.zeros((count, instruments), np.int64)
        most_lots = np.rint(self._cap_lots + 2 * self._depth_lots)
        self._coins_lots = np.where(self._quotes, most_lots, 0).astype(np.int64)

    def opening_commands(self) -> list[Command]:
        """Leverage of every maker in every contract; of spot makers the coins that they may sell."""
        commands: list[Command] = []
        if self._is_spot:
            for number in np.flatnonzero(self._quotes).tolist():
                instrument = self._opening.instruments[number]
                atoms = int(self._coins_lots[number]) * instrument.lot_atoms
                commands.append(
                    Deposit(instrument.base_asset, self._numbers[0], (atoms,) * len(self._numbers))
                )
            return commands
        for account in self._numbers:
            for number, instrument in enumerate(self._opening.instruments):
                if self._quotes[number]:
                    leverage = min(self.params.leverage, largest_leverage(instrument.tiers[0]))
                    commands.append(SetLeverage(account, number, leverage))
        return commands

    def start(self, world: World) -> None:
        world.every(to_ns(self.params.wake_s), lambda: self._wake(world), 0)

    def stress(self) -> tuple[float, Floats]:
        """(market, by instrument): the last minute's move of the index over its median minute; or a wake's.

        The market's is the mean weighted by open interest, of a spot book that of its coin: the makers watch
        the whole, not one small coin.
        """
        moves = np.abs(self._history.log_return(self._per_window))
        ratio = moves / self._median_move
        return float(ratio @ self._shares), ratio

    def _wake(self, world: World) -> None:
        held = self._held(world)
        index = self._history.note(self._follow(held)) if self._is_spot else self._history.sample(world.view)
        if index is None:
            return
        per_minute = self._per_window
        self._woken += 1
        if self._woken % per_minute == 0:
            self._moves[self._moves_seen % 60] = np.abs(self._history.log_return(per_minute))
            self._moves_seen += 1
            self._median_move = np.maximum(np.median(self._moves, axis=0), self._median_least)
        market, ratio = self.stress()
        size = self._size_factors(world, market)
        self._quote(world, index, ratio, size, held)

    def _held(self, world: World) -> Int64Array:
        """(makers, instruments): positions, or coins beyond those of the start."""
        held = np.zeros((len(self.accounts), len(self._quotes)), np.int64)
        for number in np.flatnonzero(self._quotes).tolist():
            if not self._is_spot:
                held[:, number] = world.view.positions(number, self.accounts)
                continue
            instrument = self._opening.instruments[number]
            coins = world.view.holdings(instrument.base_asset, self.accounts) // instrument.lot_atoms
            held[:, number] = coins - self._coins_lots[number]
        return held

    def _follow(self, held: Int64Array) -> Floats:
        """The makers' own price: down by what they have bought since the last wake, up by what they sold."""
        bought = (held - self._last_held).sum(axis=0) / np.maximum(len(held) * self._depth_lots, 1e-9)
        self._last_held = held
        outermost = self._half.mean(axis=0) * self._level_distances[-1]
        held_share = np.clip(held.mean(axis=0) / self._cap_lots, -2.0, 2.0)
        hours = self.params.wake_s / 3600
        pressure = self.params.pressure_per_hour * hours * held_share**3
        move = outermost * (self.params.impact * np.clip(bought, -3.0, 3.0) + pressure)
        self._own_price = self._own_price * np.exp(-move)
        return self._own_price

    def _size_factors(self, world: World, market: float) -> Floats:
        """Share of the calm depth that each maker shows now; withdraws those who have had enough."""
        params, now_ns = self.params, world.elapsed_ns
        shocked = ~self._stressed & (market > self._threshold)
        calmed = self._stressed & (market < self._threshold / params.hysteresis)
        self._stressed = (self._stressed | shocked) & ~calmed
        for maker in np.flatnonzero(shocked & ~self._designated).tolist():
            if self._away_until_ns[maker]:
                continue
            self._away_until_ns[maker] = now_ns + to_ns(self._generator.exponential(params.return_mean_s))
            self._quoted_size[maker] = 0
            self.counters["withdrawals"] += 1
            self.counters["cancels"] += 1
            world.submit((CancelAll(self._numbers[maker]),), self._latencies[maker], self._heard)
        back = (self._away_until_ns > 0) & (now_ns >= self._away_until_ns) & ~self._stressed
        self.counters["returns"] += int(back.sum())
        self._away_until_ns[back] = 0
        self._back_since_ns[back] = now_ns
        minutes = (now_ns - self._back_since_ns) / MINUTE_NS
        grown = np.minimum(1.0, params.return_size + params.return_growth_per_min * np.floor(minutes))
        size = np.where(self._back_since_ns >= 0, grown, 1.0)
        size = np.where(self._away_until_ns > 0, 0.0, size)
        return np.where(self._designated, np.where(self._stressed, params.designated_size, 1.0), size)

    def _quote(self, world: World, index: Floats, ratio: Floats, size: Floats, held: Int64Array) -> None:
        inventory = np.clip(held / self._cap_lots, -1.5, 1.5)
        half = self._half * (1 + self.params.widening * np.maximum(ratio - 1, 0))
        centre = index * (1 - self._skew * inventory)
        moved = np.abs(centre - self._quoted_centre) > self.params.requote_share * half * np.abs(index)
        moved |= (half > 1.5 * self._quoted_half) | (half < self._quoted_half / 2)
        moved |= (held != self._quoted_lots) | (np.abs(size[:, None] - self._quoted_size) > 0.05)
        moved &= (size > 0)[:, None] & self._quotes[None, :]
        for maker in np.flatnonzero(moved.any(axis=1)).tolist():
            numbers = np.flatnonzero(moved[maker]).tolist()
            depth = self._depth_lots * size[maker]
            commands = [
                self._ladder(
                    maker, n, float(centre[maker, n]), float(half[maker, n] * abs(index[n])), depth, inventory
                )
                for n in numbers
            ]
            world.submit(commands, self._latencies[maker], self._heard)
            self._quoted_centre[maker, numbers] = centre[maker, numbers]
            self._quoted_half[maker, numbers] = half[maker, numbers]
            self._quoted_size[maker, numbers] = size[maker]
            self._quoted_lots[maker, numbers] = held[maker, numbers]

    def _ladder(
        self, maker: int, number: int, centre: float, half_ticks: float, depth: Floats, inventory: Floats
    ) -> MassQuote:
        sizes = np.rint(depth[number] * self._level_sizes).astype(np.int64).tolist()
        distances = np.maximum(self._level_distances * half_ticks, 0.5)
        share = float(inventory[maker, number])
        bids: tuple[tuple[int, int], ...] = ()
        asks: tuple[tuple[int, int], ...] = ()
        if share < 1:
            bids = self._levels(number, centre - distances, sizes, 1)
        if share > -1:
            asks = self._levels(number, centre + distances, sizes, -1)
        self.counters["quotes"] += 1
        self.counters["levels"] += len(bids) + len(asks)
        return MassQuote(self._numbers[maker], number, bids, asks)

    def _levels(
        self, number: int, prices: Floats, sizes: Sequence[int], side: int
    ) -> tuple[tuple[int, int], ...]:
        """Levels at allowed prices, those that fall onto the same price put together."""
        instrument = self._opening.instruments[number]
        levels: dict[int, int] = {}
        for price, size_lots in zip(np.rint(prices).astype(np.int64).tolist(), sizes, strict=True):
            if size_lots < 1:
                continue
            stepped = on_step(instrument, price, side)
            if instrument.price_min_ticks <= stepped <= instrument.price_max_ticks:
                levels[stepped] = min(levels.get(stepped, 0) + size_lots, instrument.size_max_lots)
        return tuple(levels.items())

    def _heard(self, batch: Batch) -> None:
        count_rejections(self.counters, batch)
        for event in batch.events:
            if isinstance(event, Quoted):
                self.counters["levels_refused"] += len(event.refused)
