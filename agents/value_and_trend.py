"""Traders on value and on trend in the spot books (C11), and issuers whose tokens unlock.

Chosen by us on 2026-11-22, before the first run, where C11 leaves it open: `gain`, `tilt` (g) and the part of
the capital at work (b = 1), the value's own standard deviation, and how often traders act.
"""

import numpy as np
from msgspec import Struct

from zerodebt.agents.feed import Path
from zerodebt.agents.history import IndexHistory
from zerodebt.agents.opening import Opening
from zerodebt.agents.population import Count, NotNegative, Positive, Share, Usd, WakeOverMonths, to_ns
from zerodebt.agents.spot_holders import DAY_S, SpotHolders
from zerodebt.agents.wealth import Floats
from zerodebt.agents.world import World


class ValueParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="value_traders", tag_field="kind"
):
    """Traders who know what a coin is worth: the news, and an Ornstein-Uhlenbeck deviation around it. They
    buy and sell up to their threshold from it.

    count, capital_usd   accounts and what each has, half of it in coins
    gain                 part of the capital in a coin that is traded, for a gap of one log point [ours]
    threshold_max        gaps below U(0, this) are left alone [C11: .1]
    half_life_days       of the deviation [C11: 20-60], whose standard deviation in the long run is
    value_sd             of the log value [ours]
    acts_per_day         of each trader, Poisson [ours]
    wake_s, latency_ms   how often the due ones are looked up, and the median latency
    """

    name: str
    count: Count = 30
    capital_usd: Usd = 1_000_000.0
    gain: Positive = 1.0
    threshold_max: NotNegative = 0.1
    half_life_days: Positive = 40.0
    value_sd: NotNegative = 0.03
    acts_per_day: NotNegative = 8.0
    wake_s: WakeOverMonths = 600.0
    latency_ms: NotNegative = 200.0


class TrendParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="trend_traders", tag_field="kind"
):
    """Traders who hold b tanh(g M): M is the log price over its average, of a horizon of their own.

    count, capital_usd   accounts and what each has, half of it in coins: b = 1 is all of one half
    tilt                 g [ours]
    horizon_low_s, horizon_high_s   of the exponential average, uniform [C11: 1 h to 30 days]
    band                 a change of the holding below this part of the half is not worth an order [ours]
    acts_per_day         of each trader, Poisson [ours]
    wake_s, latency_ms   as above
    """

    name: str
    count: Count = 20
    capital_usd: Usd = 500_000.0
    tilt: NotNegative = 15.0
    horizon_low_s: Positive = 3_600.0
    horizon_high_s: Positive = 2_592_000.0
    band: Share = 0.05
    acts_per_day: NotNegative = 8.0
    wake_s: WakeOverMonths = 600.0
    latency_ms: NotNegative = 200.0


class IssuerParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="token_issuers", tag_field="kind"
):
    """One account that sells what unlocks, at the same rate all the time.

    coins            symbols
    stock_usd        of each coin at the start
    monthly_share    of the stock that is sold in 30 days; 0: no unlocks
    """

    name: str
    coins: tuple[str, ...]
    stock_usd: Usd = 10_000_000.0
    monthly_share: Share = 0.1
    wake_s: WakeOverMonths = 600.0
    latency_ms: NotNegative = 200.0


class ValueTraders(SpotHolders):
    """Trade towards what a coin is worth."""

    def __init__(self, params: ValueParams, opening: Opening, first_account: int) -> None:
        super().__init__(params.name, params.count, opening, first_account, params.latency_ms)
        self.params = params
        half = np.full(params.count, params.capital_usd / 2)
        self.endow(half, self.shares[:, None] * half[None, :])
        self._threshold = self.generator.uniform(0, params.threshold_max, params.count)
        self._paths = [Path(opening.news[n]) for n in self.spots] if opening.news else []
        self._deviation = params.value_sd * self.generator.standard_normal(len(self.spots))

    def start(self, world: World) -> None:
        step_ns = to_ns(self.params.wake_s)
        world.every(step_ns, lambda: self._wake(world), step_ns // 5)

    def values_ticks(self, now_ns: int) -> Floats:
        """What each coin is worth: the news times the deviation, which takes one step."""
        params = self.params
        kept = 0.5 ** (params.wake_s / DAY_S / params.half_life_days)
        luck = self.generator.standard_normal(len(self.spots))
        self._deviation = kept * self._deviation + params.value_sd * np.sqrt(1 - kept**2) * luck
        starts = [self.opening.start_ticks[n] for n in self.spots]
        known = [path.ticks_at(now_ns) for path in self._paths] or starts
        return np.array(known, np.float64) * np.exp(self._deviation)

    def _wake(self, world: World) -> None:
        values = self.values_ticks(world.now_ns)
        prices = [world.view.index_ticks(n) for n in self.spots]
        for row in self.due(self.params.acts_per_day, self.params.wake_s):
            for k, price in enumerate(prices):
                if price is None:
                    continue
                gap = float(np.log(values[k] / max(1, price)))
                beyond = abs(gap) - float(self._threshold[row])
                if beyond > 0:
                    usd = self.params.gain * self.params.capital_usd * float(self.shares[k]) * beyond
                    worth = self.lot_usd[k] * price / self.opening.start_ticks[self.spots[k]]
                    limit = float(values[k]) * np.exp(-np.sign(gap) * float(self._threshold[row]))
                    self.trade(world, row, k, np.sign(gap) * usd / worth, price, limit)


class TrendTraders(SpotHolders):
    """Hold more of what rose over their horizon, less of what fell."""

    def __init__(self, params: TrendParams, opening: Opening, first_account: int) -> None:
        super().__init__(params.name, params.count, opening, first_account, params.latency_ms)
        self.params = params
        half = np.full(params.count, params.capital_usd / 2)
        self.endow(half, self.shares[:, None] * half[None, :])
        horizon = self.generator.uniform(params.horizon_low_s, params.horizon_high_s, params.count)
        self._kept = np.exp(-params.wake_s / horizon)
        starts = np.log(np.array([opening.start_ticks[n] for n in self.spots], np.float64))
        self._average = np.tile(starts, (params.count, 1))
        self._history = IndexHistory(len(opening.instruments), 2)

    def start(self, world: World) -> None:
        step_ns = to_ns(self.params.wake_s)
        world.every(step_ns, lambda: self._wake(world), step_ns * 3 // 10)

    def _wake(self, world: World) -> None:
        index = self._history.sample(world.view)
        if index is None:
            return
        prices = index[self.spots]
        logs = np.log(np.maximum(prices, 1.0))
        kept = self._kept[:, None]
        self._average = kept * self._average + (1 - kept) * logs[None, :]
        wanted = np.tanh(self.params.tilt * (logs[None, :] - self._average))
        for row in self.due(self.params.acts_per_day, self.params.wake_s):
            for k in range(len(self.spots)):
                half = float(self.start_lots[k, row])
                change = half * (1 + float(wanted[row, k])) - self.held_lots(world, k, row)
                if abs(change) > self.params.band * half:
                    self.trade(world, row, k, change, float(prices[k]))


class TokenIssuers(SpotHolders):
    """Sell at a fixed pace."""

    def __init__(self, params: IssuerParams, opening: Opening, first_account: int) -> None:
        super().__init__(params.name, 1, opening, first_account, params.latency_ms)
        self.params = params
        own = np.array([coin.symbol in params.coins for coin in self.coins])
        if not own.any():
            known = ", ".join(coin.symbol for coin in self.coins)
            raise ValueError(f"coins: found {', '.join(params.coins)}, allowed are {known}")
        self.endow(np.zeros(1), np.where(own, params.stock_usd, 0.0)[:, None])
        pace = params.monthly_share * params.wake_s / (30 * DAY_S)
        self._pace = pace * self.start_lots[:, 0]
        self._owed = np.zeros(len(self.coins))

    def start(self, world: World) -> None:
        step_ns = to_ns(self.params.wake_s)
        world.every(step_ns, lambda: self._wake(world), step_ns * 4 // 5)

    def _wake(self, world: World) -> None:
        self._owed += self._pace
        for k in np.flatnonzero(self._owed >= 1).tolist():
            price = world.view.index_ticks(self.spots[k])
            if price is not None:
                self.trade(world, 0, k, -int(self._owed[k]), price)
                self._owed[k] -= int(self._owed[k])
