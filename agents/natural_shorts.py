"""Natural shorts: holders of spot and of unlocking tokens, short for months, with little leverage (C15).

They are whose profit deleveraging consumes. Prices paid come from volatility and age alone, before the day.
"""

import numpy as np
from msgspec import Struct

from zerodebt.agents.allocation import allocate, draw_weights
from zerodebt.agents.coins import on_step
from zerodebt.agents.leveraged_retail import entry_ticks
from zerodebt.agents.opening import YEAR_NS, Opening
from zerodebt.agents.population import (
    Count,
    NotNegative,
    Positions,
    Positive,
    PositiveShare,
    Share,
    account_range,
    count_rejections,
    latencies_ns,
)
from zerodebt.agents.seeds import rng
from zerodebt.agents.wealth import (
    LARGEST_USD,
    TAIL_EXPONENT,
    LargestUsd,
    lognormal_quantiles,
    spread_evenly,
    wealth_quantiles,
)
from zerodebt.agents.world import Steps, World
from zerodebt.exchange.commands import BUY, Command, PlaceOrder, Role
from zerodebt.exchange.events import Batch
from zerodebt.exchange.units import SECOND_NS, Int64Array


class NaturalShortParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="natural_shorts", tag_field="kind"
):
    """Low-leverage shorts with cross margin; they take what the other populations leave of the short side.

    count                     accounts; wealth is V47, scaled to the open interest
    leverage_median, leverage_ln_sd   lognormal with median .43 and p90 3.2 [V47]
    leverage_low, leverage_high       cut; the upper one is V47's p95
    age_days_max              entries are U(0, this) old, at start * exp(volatility * sqrt(age) * normal)
    instruments_max           1 to this many positions, in proportion to open interest
    spread_share              an account above this part of the side's notional holds every instrument
    position_share_max        largest position as a share of the instrument's open interest
    largest_usd, tail_exponent    cut and tail of the wealth distribution [V47]
    take_profit_share         of accounts with a resting reduce-only bid for each position [proposed], at
    take_profit_near, take_profit_far   U(near, far) below the start
    latency_ms                median
    """

    name: str
    count: Count
    leverage_median: Positive = 0.43
    leverage_ln_sd: NotNegative = 1.57
    leverage_low: Positive = 0.05
    leverage_high: Positive = 6.5
    age_days_max: NotNegative = 90.0
    instruments_max: Count = 3
    spread_share: Share = 0.0005
    position_share_max: PositiveShare = 0.05
    largest_usd: LargestUsd = LARGEST_USD
    tail_exponent: Positive = TAIL_EXPONENT
    take_profit_share: Share = 0.3
    take_profit_near: Share = 0.03
    take_profit_far: Share = 0.25
    latency_ms: NotNegative = 200.0


class NaturalShorts:
    """Passive but for the bids below the market with which some take their profit.

    target_lots  short lots to hold in each instrument, not signed
    relax        as for retail
    """

    role: Role = "customer"

    def __init__(
        self,
        params: NaturalShortParams,
        opening: Opening,
        first_account: int,
        count: int,
        relax: float,
        target_lots: Int64Array,
    ) -> None:
        generator = rng(opening.seed, params.name)
        self.name = params.name
        self.params = params
        self.accounts = account_range(first_account, count)
        self.counters = dict.fromkeys(("take_profit_orders", "rejected"), 0)
        self._opening = opening
        self._generator = generator
        wealth = generator.permutation(wealth_quantiles(count, params.tail_exponent, params.largest_usd))
        wealth *= opening.atoms_per_usd
        leverage = lognormal_quantiles(
            count, params.leverage_median, params.leverage_ln_sd, params.leverage_low, params.leverage_high
        )
        leverage = spread_evenly(leverage, wealth, generator)
        weights = draw_weights(
            generator, wealth * leverage, opening.shares, params.instruments_max, params.spread_share * relax
        )
        holdings = allocate(
            opening,
            wealth,
            leverage,
            np.ones(count),
            weights,
            target_lots,
            params.largest_usd * relax * opening.atoms_per_usd,
            min(1.0, params.position_share_max * relax),
        )
        self.deposits_atoms = np.maximum(holdings.margin_atoms.sum(axis=0), 1)
        age_ns = generator.uniform(0, params.age_days_max, count) * 86_400 * SECOND_NS
        deviation = opening.volatility[:, None] * np.sqrt(age_ns / YEAR_NS)
        start = np.array(opening.start_ticks, np.float64)[:, None]
        prices = start * np.exp(deviation * generator.standard_normal(deviation.shape))
        self._lots = holdings.lots
        self.positions: Positions | None = Positions(
            -holdings.lots,
            entry_ticks(opening, prices),
            holdings.leverage,
            np.zeros_like(holdings.lots),
        )
        self._latencies = latencies_ns(generator, count, params.latency_ms)

    def opening_commands(self) -> list[Command]:
        return []

    def start(self, world: World) -> None:
        world.process(self._rest_bids(world))

    def _rest_bids(self, world: World) -> Steps:
        params, count = self.params, len(self.accounts)
        chosen = np.flatnonzero(self._generator.permutation(count) < round(params.take_profit_share * count))
        shape = (len(self._opening.instruments), count)
        below = self._generator.uniform(params.take_profit_near, params.take_profit_far, shape)
        yield world.sleep(SECOND_NS)
        for row in chosen.tolist():
            orders = []
            for number in np.flatnonzero(self._lots[:, row]).tolist():
                instrument = self._opening.instruments[number]
                start = self._opening.start_ticks[number]
                price = on_step(instrument, round(start - abs(start) * float(below[number, row])), BUY)
                size_lots = min(int(self._lots[number, row]), instrument.size_max_lots)
                account = int(self.accounts[row])
                orders.append(PlaceOrder(account, number, BUY, size_lots, price, reduce_only=True))
            self.counters["take_profit_orders"] += len(orders)
            world.submit(orders, self._latencies[row], self._heard)

    def _heard(self, batch: Batch) -> None:
        count_rejections(self.counters, batch)
