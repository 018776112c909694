"""Leveraged retail: accounts of every size, defended out of a core held elsewhere (C1 with (f))."""

import numpy as np
from msgspec import Struct

from zerodebt.agents.allocation import Holdings, allocate, draw_weights
from zerodebt.agents.coins import on_step
from zerodebt.agents.history import IndexHistory
from zerodebt.agents.opening import YEAR_NS, Opening
from zerodebt.agents.population import (
    Count,
    NotNegative,
    Positions,
    Positive,
    PositiveShare,
    Share,
    WakeSeconds,
    account_range,
    count_rejections,
    latencies_ns,
    to_ns,
)
from zerodebt.agents.seeds import rng
from zerodebt.agents.wealth import (
    LARGEST_USD,
    TAIL_EXPONENT,
    TAIL_FROM_USD,
    Floats,
    LargestUsd,
    lognormal_quantiles,
    spread_evenly,
    wealth_quantiles,
)
from zerodebt.agents.world import Steps, World
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Command,
    Deposit,
    PlaceOrder,
    Role,
    Side,
    TransferMargin,
    Trigger,
)
from zerodebt.exchange.events import Batch
from zerodebt.exchange.instruments import largest_leverage, margin_table
from zerodebt.exchange.units import HOUR_NS, SECOND_NS, Int64Array

_DAY_S = 86_400
_AT_MAXIMUM = 1_000.0
_CORE = ("stable", "eth", "btc")  # in the order in which they are sold


class RetailParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="leveraged_retail", tag_field="kind"
):
    """Leveraged retail accounts. Wealth is V47, scaled to the open interest.

    count                    accounts
    long_bias                share of the accounts that are long, and of entries that buy [C1 (f): .6]
    long_share               of the open interest on the long side that they hold
    short_share              the same on the short side; none: by the bias, (1 - bias)/bias of long_share
    leverage_median, leverage_ln_sd   lognormal [C1: 8, .8]
    leverage_scale           times the median; fitted to what the backstop takes over
    at_max_share             of accounts at the venue's maximum [C1: .08], all of them among the accounts with
    at_max_below_usd         less than this before scaling: the wish for the maximum is a small account's
    maximum_used             who is at a maximum has U(this, 1) of it in use: a position that has gained or
                             was topped up since, so that one move does not liquidate them all [proposed]
    isolated_share           the others are cross [C1: .7]
    instruments_max          1 to this many positions, in proportion to open interest
    spread_share             an account above this part of the side's notional holds every instrument
    position_share_max       largest position as a share of the instrument's open interest [note e2]
    largest_usd, tail_exponent   cut and tail of the wealth distribution [V47]
    core_ratio, core_ratio_ln_sd  stable, ETH and BTC held elsewhere over margin, lognormal [C1: 3, 1]
    core_split               stable, ETH, BTC parts of the core [proposed]
    defend_share             chance to top up when called, falling by `defend_fatigue` a use [C1: .75, .2]
    defend_below             called at a wake when equity is under this many times maintenance [C1: 1.5]
    deposit_delay_s          from the decision to the money's arrival [proposed]
    stop_share               of accounts with a stop on the mark [C1: .35], placed at
    stop_near, stop_far      U(near, far) of the way to the liquidation price
    wakes_per_day            Poisson; times `stress_factor` when |1h return| > `stress_return` [C1: 6, 5, 3 %]
    holding_median_days      of a position until its owner closes it [C1 (f): 2]
    entry_days               at zero return at most one entry in this many days [C1 (f): 3]
    entry_margin_share       of the core's stable part put behind an entry
    reentry_days             mean time without new positions after a liquidation [C1: 10]
    exit_through             limit of an exit order beyond the index
    step_s, latency_ms       how often the due accounts are looked up, and the median latency
    """

    name: str
    count: Count
    long_bias: PositiveShare = 0.6
    long_share: Share = 1.0
    short_share: Share | None = None
    leverage_median: Positive = 8.0
    leverage_ln_sd: NotNegative = 0.8
    leverage_scale: Positive = 1.0
    at_max_share: Share = 0.08
    at_max_below_usd: NotNegative = TAIL_FROM_USD
    maximum_used: Share = 0.6
    isolated_share: Share = 0.7
    instruments_max: Count = 3
    spread_share: Share = 0.0005
    position_share_max: PositiveShare = 0.05
    largest_usd: LargestUsd = LARGEST_USD
    tail_exponent: Positive = TAIL_EXPONENT
    core_ratio: NotNegative = 3.0
    core_ratio_ln_sd: NotNegative = 1.0
    core_split: tuple[NotNegative, NotNegative, NotNegative] = (0.4, 0.3, 0.3)
    defend_share: Share = 0.75
    defend_fatigue: Share = 0.2
    defend_below: NotNegative = 1.5
    deposit_delay_s: NotNegative = 60.0
    stop_share: Share = 0.35
    stop_near: Share = 0.3
    stop_far: Share = 0.8
    wakes_per_day: NotNegative = 6.0
    stress_factor: NotNegative = 5.0
    stress_return: NotNegative = 0.03
    holding_median_days: Positive = 2.0
    entry_days: Positive = 3.0
    entry_margin_share: Share = 0.25
    reentry_days: Positive = 10.0
    exit_through: Share = 0.05
    step_s: WakeSeconds = 3.0
    latency_ms: NotNegative = 300.0


class LeveragedRetail:
    """All accounts of one retail population; one process wakes the rows that are due.

    relax  nominal over actual number of accounts: a smaller world has the same open interest in fewer
           hands, so the caps on an account and on a position grow by it
    """

    role: Role = "customer"

    def __init__(
        self, params: RetailParams, opening: Opening, first_account: int, count: int, relax: float
    ) -> None:
        if not sum(params.core_split):
            raise ValueError("core_split: found three zeros, allowed is a part above 0")
        self.name = params.name
        self.params = params
        self.accounts = account_range(first_account, count)
        self.counters = dict.fromkeys(
            (
                "stops",
                "exits",
                "exit_orders",
                "entries",
                "deposits",
                "transfers",
                "liquidated_seen",
                "rejected",
            ),
            0,
        ) | {f"core_sold_{kind}_usd": 0 for kind in _CORE}
        self._opening = opening
        generator = rng(opening.seed, params.name)
        self._sides = np.where(generator.permutation(count) < round(params.long_bias * count), 1, -1)
        self._isolated = generator.permutation(count) < round(params.isolated_share * count)
        holdings = self._open(generator, count, relax)
        self._lots = holdings.lots * self._sides
        self._margins = holdings.margin_atoms
        self.deposits_atoms = np.maximum(self._margins.sum(axis=0), 1)
        self.positions: Positions | None = Positions(
            self._lots,
            self._entries(generator),
            holdings.leverage,
            np.where(self._isolated[None, :], self._margins, 0),
        )
        self._generator = generator
        self._latencies = latencies_ns(generator, count, params.latency_ms)
        ratio = params.core_ratio * np.exp(params.core_ratio_ln_sd * generator.standard_normal(count))
        core = self.deposits_atoms * ratio / opening.atoms_per_usd
        self._core_usd = core[:, None] * np.array(params.core_split) / sum(params.core_split)
        self._core_markets = (None, opening.number_of("ETH"), opening.number_of("BTC"))
        self._goal = self._goals()
        self._holds = (self._lots != 0).T
        self._held_numbers = [np.flatnonzero(row).tolist() for row in self._holds]
        self._uses = np.zeros(count, np.int64)
        self._waiting_until_ns = [0] * count
        self._entered = np.zeros(count, bool)
        self._closing = np.zeros(count, bool)
        self._reentry_ns = [-1] * count
        self._history = IndexHistory(len(opening.instruments), round(3600 / params.step_s) + 1)

    def _open(self, generator: np.random.Generator, count: int, relax: float) -> Holdings:
        params, opening = self.params, self._opening
        wealth = generator.permutation(wealth_quantiles(count, params.tail_exponent, params.largest_usd))
        wealth *= opening.atoms_per_usd
        leverage = lognormal_quantiles(
            count, params.leverage_median * params.leverage_scale, params.leverage_ln_sd, 1.0
        )
        leverage = spread_evenly(leverage, wealth, generator)
        small = generator.permutation(
            np.flatnonzero(wealth < params.at_max_below_usd * opening.atoms_per_usd)
        )
        leverage[small[: round(params.at_max_share * count)]] = _AT_MAXIMUM
        used = generator.uniform(params.maximum_used, 1.0, count)
        highest = float(max(largest_leverage(tier) for i in opening.instruments for tier in i.tiers))
        notional = wealth * np.minimum(leverage, highest)
        shape = (len(opening.instruments), count)
        merged = Holdings(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.ones(shape, np.int64))
        wanted = np.array(opening.open_interest_lots, np.float64)
        short_share = params.short_share
        if short_share is None:
            short_share = min(1.0, params.long_share * (1 - params.long_bias) / params.long_bias)
        for sign, share in ((1, params.long_share), (-1, short_share)):
            rows = np.flatnonzero(self._sides == sign)
            if not rows.size or share <= 0:
                continue
            weights = draw_weights(
                generator, notional[rows], opening.shares, params.instruments_max, params.spread_share * relax
            )
            one = allocate(
                opening,
                wealth[rows],
                leverage[rows],
                used[rows],
                weights,
                np.floor(wanted * share).astype(np.int64),
                params.largest_usd * relax * opening.atoms_per_usd,
                min(1.0, params.position_share_max * relax),
            )
            merged.lots[:, rows] = one.lots
            merged.margin_atoms[:, rows] = one.margin_atoms
            merged.leverage[:, rows] = one.leverage
        return merged

    def _entries(self, generator: np.random.Generator) -> Int64Array:
        """Entry prices: a driftless walk back over an exponential age with the median holding time."""
        start = np.array(self._opening.start_ticks, np.float64)
        count = len(self.accounts)
        age_s = generator.exponential(self.params.holding_median_days / np.log(2), count) * _DAY_S
        deviation = self._opening.volatility[:, None] * np.sqrt(age_s * SECOND_NS / YEAR_NS)
        prices = start[:, None] * np.exp(deviation * generator.standard_normal(deviation.shape))
        return entry_ticks(self._opening, prices)

    def _goals(self) -> Floats:
        """Margin over notional that a top-up aims at, as at the start; (instruments, accounts)."""
        notional = np.abs(self._lots) * self._opening.lot_value_atoms[:, None]
        alone = self._margins / np.maximum(notional, 1)
        pooled = self._margins.sum(axis=0) / np.maximum(notional.sum(axis=0), 1)
        return np.where(self._isolated[None, :], alone, pooled[None, :])

    def opening_commands(self) -> list[Command]:
        return []

    def start(self, world: World) -> None:
        step_ns = to_ns(self.params.step_s)
        world.every(step_ns, lambda: self._step(world), step_ns // 2)
        world.process(self._place_stops(world))

    def _place_stops(self, world: World) -> Steps:
        """Stops go out in the first seconds, when the first mark is known."""
        params = self.params
        count = len(self.accounts)
        chosen = np.flatnonzero(self._generator.permutation(count) < round(params.stop_share * count))
        way = self._generator.uniform(params.stop_near, params.stop_far, count)
        yield world.sleep(SECOND_NS)
        for row in chosen.tolist():
            orders = []
            for number in self._held_numbers[row]:
                instrument = self._opening.instruments[number]
                lots = int(self._lots[number, row])
                mark = world.view.mark_ticks(number)
                if mark is None:
                    continue
                distance = way[row] * self._distance_to_liquidation(number, row)
                sign = 1 if lots > 0 else -1
                price = round(mark * (1 - sign * distance))
                price = min(max(price, instrument.price_min_ticks), instrument.price_max_ticks)
                side: Side = SELL if lots > 0 else BUY
                trigger = Trigger("stop", "mark", on_step(instrument, price, side))
                account = int(self.accounts[row])
                size_lots = min(abs(lots), instrument.size_max_lots)
                orders.append(
                    PlaceOrder(
                        account, number, side, size_lots, None, "ioc", reduce_only=True, trigger=trigger
                    )
                )
            self.counters["stops"] += len(orders)
            world.submit(orders, self._latencies[row], self._heard)

    def _distance_to_liquidation(self, number: int, row: int) -> float:
        """Share of the price between the start and liquidation, if all that the account holds moves alike."""
        table = margin_table(self._opening.instruments[number])
        rate = table.numerators[0] / table.denominator
        sign = float(self._sides[row])
        distance = (float(self._goal[number, row]) - rate) / (1 - sign * rate)
        return min(max(distance, 0.002), 0.95 if sign > 0 else 10.0)

    def _step(self, world: World) -> None:
        params = self.params
        index = self._history.sample(world.view)
        chances = self._generator.random(len(self.accounts))
        if index is None:
            return
        returns = self._history.log_return(round(HOUR_NS / to_ns(params.step_s)))
        stressed = self._holds @ (np.abs(returns) > params.stress_return)
        rate_per_step = params.wakes_per_day * params.step_s / _DAY_S
        due = chances < np.where(stressed, params.stress_factor, 1.0) * rate_per_step
        for row in np.flatnonzero(due).tolist():
            self._wake(world, row, index, returns)

    def _wake(self, world: World, row: int, index: Floats, returns: Floats) -> None:
        view = world.view
        account = int(self.accounts[row])
        held = [(n, lots) for n in self._held_numbers[row] if (lots := view.position_lots(n, account))]
        draws = self._generator.random(3).tolist()
        if not held:
            self._flat(world, row)
        if held and not self._closing[row]:
            exit_chance = np.log(2) / self.params.holding_median_days / self.params.wakes_per_day
            if draws[0] < exit_chance:
                self._close(world, row, held, index)
                return
            self._defend(world, row, held, draws[1], index)
        if world.elapsed_ns >= self._reentry_ns[row]:
            self._maybe_enter(world, row, held, draws[2], index, returns)

    def _flat(self, world: World, row: int) -> None:
        """An account that lost its positions otherwise was liquidated, stopped out or deleveraged."""
        if self._reentry_ns[row] >= 0 or not self._held_numbers[row]:
            return
        self._reentry_ns[row] = world.elapsed_ns
        if not self._closing[row]:
            self.counters["liquidated_seen"] += 1
            self._reentry_ns[row] += to_ns(self._generator.exponential(self.params.reentry_days) * _DAY_S)

    def _close(self, world: World, row: int, held: list[tuple[int, int]], index: Floats) -> None:
        self._closing[row] = True
        account = int(self.accounts[row])
        orders = [self._market(account, n, -lots, float(index[n]), reduce_only=True) for n, lots in held]
        self.counters["exits"] += 1
        self.counters["exit_orders"] += len(orders)
        world.submit(orders, self._latencies[row], self._heard)

    def _market(self, account: int, number: int, lots: int, index: float, reduce_only: bool) -> PlaceOrder:
        """An immediate order with a limit beyond the index; `lots` is signed."""
        instrument = self._opening.instruments[number]
        side: Side = BUY if lots > 0 else SELL
        price = round(index + side * abs(index) * self.params.exit_through)
        price = min(max(price, instrument.price_min_ticks), instrument.price_max_ticks)
        size_lots = min(abs(lots), instrument.size_max_lots)
        return PlaceOrder(
            account, number, side, size_lots, on_step(instrument, price, side), "ioc", reduce_only=reduce_only
        )

    def _defend(
        self, world: World, row: int, held: list[tuple[int, int]], draw: float, index: Floats
    ) -> None:
        """Top up a position (isolated) or the account (cross) that is near its maintenance requirement."""
        params, view = self.params, world.view
        account = int(self.accounts[row])
        willing = draw < params.defend_share * (1 - params.defend_fatigue) ** int(self._uses[row])
        if not willing or world.elapsed_ns < self._waiting_until_ns[row]:
            return
        commands: list[Command] = []
        pools = [[position] for position in held] if self._isolated[row] else [held]
        for pool in pools:
            first = pool[0][0]
            if self._isolated[row]:
                equity, required = view.isolated_margin(first, account)
            else:
                equity, required = view.cross_margin(account)
            if equity >= params.defend_below * required:
                continue
            marks = ((abs(lots), view.mark_ticks(n), n) for n, lots in pool)
            notional = sum(
                lots * abs(mark) * self._opening.instruments[n].tick_value_atoms
                for lots, mark, n in marks
                if mark is not None
            )
            missing = float(self._goal[first, row]) * notional - equity
            atoms = int(self._sell_core(row, missing / self._opening.atoms_per_usd, index))
            if atoms < 1:
                continue
            commands.append(Deposit(self._opening.settle_asset, account, (atoms,)))
            self.counters["deposits"] += 1
            if self._isolated[row]:
                commands.append(TransferMargin(account, first, atoms))
                self.counters["transfers"] += 1
        if commands:
            self._uses[row] += 1
            delay_ns = to_ns(params.deposit_delay_s)
            self._waiting_until_ns[row] = world.elapsed_ns + 2 * delay_ns
            world.submit(commands, delay_ns, self._heard)

    def _sell_core(self, row: int, wanted_usd: float, index: Floats) -> float:
        """Sell stable, then ETH, then BTC for up to `wanted_usd`; the atoms that it brings.

        The core is counted at start prices; ETH and BTC are sold at the index.
        """
        raised_usd = 0.0
        for n, (kind, number) in enumerate(zip(_CORE, self._core_markets, strict=True)):
            worth = 1.0 if number is None else float(index[number]) / self._opening.start_ticks[number]
            sold = min(float(self._core_usd[row, n]), max(0.0, wanted_usd - raised_usd) / worth)
            self._core_usd[row, n] -= sold
            raised_usd += sold * worth
            self.counters[f"core_sold_{kind}_usd"] += round(sold * worth)
        return raised_usd * self._opening.atoms_per_usd

    def _maybe_enter(
        self,
        world: World,
        row: int,
        held: list[tuple[int, int]],
        draw: float,
        index: Floats,
        returns: Floats,
    ) -> None:
        """Add to a position out of new money, after rising prices more often; never twice in a run."""
        params = self.params
        numbers = self._held_numbers[row]
        if self._entered[row] or self._closing[row] or not numbers:
            return
        number = held[0][0] if held else numbers[0]
        momentum = (1 + np.exp(0.05 / 0.03)) / (1 + np.exp((0.05 - float(returns[number])) / 0.03))
        if draw >= momentum / (params.entry_days * params.wakes_per_day):
            return
        self._entered[row] = True
        account = int(self.accounts[row])
        side = 1 if self._generator.random() < params.long_bias else -1
        if held:
            side = 1 if held[0][1] > 0 else -1
        margin_usd = params.entry_margin_share * float(self._core_usd[row, 0])
        atoms = int(self._sell_core(row, margin_usd, index))
        value = max(1.0, abs(float(index[number])) * self._opening.instruments[number].tick_value_atoms)
        lots = int(0.9 * atoms / float(self._goal[number, row]) / value)
        if atoms < 1 or lots < 1:
            return
        self.counters["entries"] += 1
        self.counters["deposits"] += 1
        order = self._market(account, number, side * lots, float(index[number]), reduce_only=False)
        deposit = Deposit(self._opening.settle_asset, account, (atoms,))
        world.submit((deposit, order), to_ns(params.deposit_delay_s), self._heard)

    def _heard(self, batch: Batch) -> None:
        count_rejections(self.counters, batch)


def entry_ticks(opening: Opening, prices: Floats) -> Int64Array:
    """(instruments, accounts) float prices as ticks inside each instrument's range."""
    low = np.array([i.price_min_ticks for i in opening.instruments], np.int64)
    high = np.array([i.price_max_ticks for i in opening.instruments], np.int64)
    return np.clip(np.rint(prices).astype(np.int64), low[:, None], high[:, None])
