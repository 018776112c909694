"""Institutions: coins of three tiers on borrowed money, and what they sell first when they lose (C2).

F60 (junior first), F62 and F63 (bids for senior coins while others must sell), F65 (junior coins after a
rise), F67 (drawdown lines), F71 (early exit), F72 (leverage by volatility), F75 (hedge).

Chosen by us on 2026-11-22, before the first run: `volatility_target`, the tiers' parts, the pace and tilt of
buying, the part that is cash, and the reading of "class-wide leverage index" as the mean leverage of this
population. Loans come from outside the venue: no lender calls them, and interest is left out. The cap on
participation (10 % of volume) is left out too: no view shows volume.
"""

from typing import Literal

import numpy as np
from msgspec import Struct

from zerodebt.agents.coins import Routes, immediate_order, limit_order
from zerodebt.agents.history import IndexHistory
from zerodebt.agents.opening import YEAR_NS, Opening
from zerodebt.agents.population import Count, NotNegative, Positive, Share, Usd, WakeOverMonths, to_ns
from zerodebt.agents.spot_holders import DAY_S, SpotHolders
from zerodebt.agents.wealth import Floats, midpoints
from zerodebt.agents.world import World
from zerodebt.exchange.commands import CancelAll, Command, Deposit, PlaceOrder, SetLeverage
from zerodebt.exchange.instruments import largest_leverage
from zerodebt.exchange.units import HOUR_NS, Int64Array

Priority = Literal["junior_first", "pro_rata", "senior_first"]
Range = tuple[NotNegative, NotNegative]

_EMPTY = 0.05
"""Of what was once held: a tier with less counts as sold."""


class InstitutionParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="institutions", tag_field="kind"
):
    """Funds with cash (tier 0) and coins of tiers 1 to 3.

    count                 [C2: 20-50]
    capital_usd           equity of all together, by the size table: Pareto quantiles of `size_exponent`
    tiers                 symbols of tier 1, 2 and 3
    parts                 of the coins' value in tier 1, 2 and 3 at the start, split as the spot books [ours]
    cash_share            of the equity, U [ours]
    leverage_max          U [C2: 1.5-4]; 1 and 1 is no leverage
    volatility_target     annual; leverage wanted is this over the volatility of 20 days [ours], which they
    volatility_start      believe to be this at the start [ours]
    d1, d2, d3            drawdowns, U: sell junior coins; hedge; sell senior coins [C2]
    priority              who sells what first
    sale_per_hour         of a tier's coins [C2: .08]
    buy_per_hour          of what is missing to the wanted leverage [ours]
    tilt                  of the weights bought, by the return over 20 days [ours]
    hedge_ratio           of the coins' value that is sold short in the first coin's contract [C2: .7]
    bids                  below the index [C2: .02, .05, .10], with `bid_cash` of the cash in all, while cash
                          is above `cash_floor` of the equity [C2: .2]
    early_exit            whether anybody leaves early: with a chance a day of Beta(2, 5) [C2] while leverage
                          of the class is above its 95th percentile, and a tenth above its median [ours]
    routes                where coins are sold, if a coin has several books [F86]
    """

    name: str
    count: Count = 20
    capital_usd: Usd = 30_000_000.0
    size_exponent: Positive = 1.1
    tiers: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    parts: tuple[NotNegative, NotNegative, NotNegative] = (0.5, 0.3, 0.2)
    cash_share: Range = (0.1, 0.5)
    leverage_max: Range = (1.5, 4.0)
    volatility_target: Positive = 1.0
    volatility_start: Positive = 0.35
    d1: Range = (0.03, 0.08)
    d2: Range = (0.08, 0.15)
    d3: Range = (0.25, 0.45)
    priority: Priority = "junior_first"
    sale_per_hour: Share = 0.08
    buy_per_hour: Share = 0.02
    tilt: NotNegative = 3.0
    hedge_ratio: Share = 0.7
    bids: tuple[Share, ...] = (0.02, 0.05, 0.10)
    bid_cash: Share = 0.5
    cash_floor: Share = 0.2
    early_exit: bool = True
    routes: Routes = "deepest"
    wake_s: WakeOverMonths = 1800.0
    latency_ms: NotNegative = 500.0


class Institutions(SpotHolders):
    """One account each: coins, cash, and the hedge's contract."""

    def __init__(self, params: InstitutionParams, opening: Opening, first_account: int) -> None:
        super().__init__(params.name, params.count, opening, first_account, params.latency_ms)
        self.params = params
        self.routes = params.routes
        self.counters |= dict.fromkeys(("past_d1", "past_d2", "past_d3", "early_exits", "bids", "hedges"), 0)
        self.counters |= {"loan_start_usd": 0}
        symbols = [coin.symbol for coin in self.coins]
        unknown = [s for tier in params.tiers for s in tier if s not in symbols]
        if unknown:
            raise ValueError(f"tiers: {unknown[0]!r} has no spot book, allowed are {', '.join(symbols)}")
        self.tiers = [[symbols.index(s) for s in tier] for tier in params.tiers]
        draw, count = self.generator.uniform, params.count
        sizes = (1 - midpoints(count)) ** (-1 / params.size_exponent)
        self.equity_usd = params.capital_usd * sizes / sizes.sum()
        self.d1, self.d2 = draw(*params.d1, count), draw(*params.d2, count)
        self.d3 = draw(*params.d3, count)
        self.leverage_max = draw(*params.leverage_max, count)
        self.precision = self.generator.beta(2, 5, count)
        self._base = np.zeros(len(self.coins))
        for tier, part in zip(self.tiers, params.parts, strict=True):
            self._base[tier] = part * self.shares[tier] / max(float(self.shares[tier].sum()), 1e-12)
        self._base /= self._base.sum()
        self._variance = np.full(count, params.volatility_start**2)
        assets = self.equity_usd * self.wanted_leverage()
        cash = self.equity_usd * draw(*params.cash_share, count)
        self.loan_usd = assets + cash - self.equity_usd
        self.counters["loan_start_usd"] = round(float(self.loan_usd.sum()))
        self.endow(cash, self._base[:, None] * assets[None, :])
        self._most = self.start_lots.astype(np.float64)
        self._high = self.equity_usd.copy()
        self._per_hour = params.wake_s / 3600
        self._history = IndexHistory(len(opening.instruments), round(20 * DAY_S / params.wake_s) + 1)
        self._class_leverage: list[float] = []
        self._gone = np.zeros(count, bool)
        self._bid_at = np.full((len(self.coins), count), 1e-9)
        self._past = np.zeros((3, count), bool)
        hedge = self.coins[self.tiers[0][0]].contract
        self._hedge = hedge

    def wanted_leverage(self) -> Floats:
        """min(L_max, v_target / s), by account."""
        wanted: Floats = np.minimum(
            self.leverage_max, self.params.volatility_target / np.sqrt(np.maximum(self._variance, 1e-6))
        )
        return wanted

    def opening_commands(self) -> list[Command]:
        if self._hedge is None:
            return super().opening_commands()
        leverage = min(10, largest_leverage(self.opening.instruments[self._hedge].tiers[0]))
        chosen = [SetLeverage(account, self._hedge, leverage) for account in self.accounts.tolist()]
        return [*super().opening_commands(), *chosen]

    def start(self, world: World) -> None:
        step_ns = to_ns(self.params.wake_s)
        world.every(step_ns, lambda: self._wake(world), step_ns * 7 // 10)

    def _wake(self, world: World) -> None:
        index = self._history.sample(world.view)
        if index is None:
            return
        prices = index[self.spots]
        held = np.stack(
            [
                world.view.holdings(coin.asset, self.accounts)
                // self.opening.instruments[coin.spot].lot_atoms
                for coin in self.coins
            ]
        )
        starts = np.array([self.opening.start_ticks[n] for n in self.spots], np.float64)
        values = held * (self.lot_usd * prices / starts)[:, None]
        cash = world.view.equities(self.accounts) / self.opening.atoms_per_usd
        equity = values.sum(axis=0) + cash - self.loan_usd
        self._high = np.maximum(self._high, equity)
        drawdown = 1 - equity / self._high
        leverage = values.sum(axis=0) / np.maximum(equity, 1.0)
        self._learn(values)
        self._most = np.maximum(self._most, held)
        lines = np.stack([self.d1, self.d2, self.d3])
        now_past = drawdown[None, :] > lines
        for name, rows in zip(("past_d1", "past_d2", "past_d3"), now_past & ~self._past, strict=True):
            self.counters[name] += int(rows.sum())
        self._past |= now_past
        self._class_leverage.append(float(leverage[~self._gone].mean()) if not self._gone.all() else 0.0)
        wanted = self.wanted_leverage()
        for row in range(len(self.accounts)):
            state = (float(drawdown[row]), float(leverage[row]), float(wanted[row]), float(equity[row]))
            self._act(world, row, state, prices, held[:, row], values[:, row], float(cash[row]))

    def _learn(self, values: Floats) -> None:
        """Exponential mean over 20 days of the squared return of what each one holds."""
        weights = values / np.maximum(values.sum(axis=0), 1.0)
        move = self._history.log_return(1)[self.spots] @ weights
        annual = move**2 * (YEAR_NS / (self._per_hour * HOUR_NS))
        kept = np.exp(-self.params.wake_s / (20 * DAY_S))
        self._variance = kept * self._variance + (1 - kept) * annual

    def _act(
        self,
        world: World,
        row: int,
        state: tuple[float, float, float, float],
        prices: Floats,
        held: Int64Array,
        values: Floats,
        cash: float,
    ) -> None:
        drawdown, leverage, wanted, equity = state
        if self.params.early_exit and not self._gone[row] and self._signalled(row):
            self._gone[row] = True
            self.counters["early_exits"] += 1
        if self._gone[row]:
            self._sell(world, row, prices, held, 0.25 * self._per_hour, senior_too=True)
            return
        self._rebalance_hedge(world, row, drawdown, values, prices)
        if drawdown > self.d1[row] or leverage > 1.25 * wanted:
            self._sell(
                world, row, prices, held, self.params.sale_per_hour * self._per_hour, drawdown > self.d3[row]
            )
            if self.d1[row] < drawdown < self.d3[row]:
                self._bid(world, row, prices, cash, equity)
        elif leverage < 0.9 * wanted:
            missing = (wanted - leverage) * equity * min(1.0, self.params.buy_per_hour * self._per_hour)
            self._buy(world, row, prices, missing)

    def _signalled(self, row: int) -> bool:
        """The private signal, heard by those with precision while the class is highly levered."""
        seen = self._class_leverage
        draw = self.generator.random()
        if len(seen) < 48:
            return False
        usual, high = np.quantile(seen, (0.5, 0.95))
        if seen[-1] < max(float(high), 1.1 * float(usual)):
            return False
        return bool(draw < self.precision[row] * self.params.wake_s / DAY_S)

    def _order_of_sale(self, held: Int64Array, row: int, senior_too: bool) -> list[int]:
        """Coins to sell from now, by the rule of priority: of the first group that is not sold yet."""
        sets = {
            "junior_first": [self.tiers[2], self.tiers[1]],
            "pro_rata": [[k for tier in self.tiers for k in tier]],
            "senior_first": [self.tiers[0], self.tiers[1], self.tiers[2]],
        }[self.params.priority]
        if senior_too and self.params.priority == "junior_first":
            sets = [*sets, self.tiers[0]]
        for group in sets:
            left = [k for k in group if held[k] > _EMPTY * self._most[k, row]]
            if left:
                return left
        return []

    def _sell(
        self, world: World, row: int, prices: Floats, held: Int64Array, share: float, senior_too: bool
    ) -> None:
        for k in self._order_of_sale(held, row, senior_too):
            lots = int(held[k] * min(1.0, share))
            if lots:
                self.trade(world, row, k, -lots, float(prices[k]))

    def _buy(self, world: World, row: int, prices: Floats, usd: float) -> None:
        """Buy on borrowed money by tier, more of what rose in 20 days."""
        returns = self._history.log_return(10**9)[self.spots]
        weights = self._base * np.exp(self.params.tilt * returns)
        weights = weights / weights.sum()
        borrowed = round(usd * self.opening.atoms_per_usd)
        self.loan_usd[row] += borrowed / self.opening.atoms_per_usd
        account = int(self.accounts[row])
        world.submit((Deposit(self.opening.settle_asset, account, (borrowed,)),), 0, self.heard)
        for k, weight in enumerate(weights.tolist()):
            start = self.opening.start_ticks[self.spots[k]]
            lots = int(usd * weight / (float(self.lot_usd[k]) * float(prices[k]) / start))
            if lots:
                self.trade(world, row, k, lots, float(prices[k]))

    def _bid(self, world: World, row: int, prices: Floats, cash: float, equity: float) -> None:
        """Bids for tier 1 below the index, anew when it has moved by half the distance of the nearest."""
        account = int(self.accounts[row])
        senior = self.tiers[0]
        moved = np.abs(np.log(prices[senior] / self._bid_at[senior, row]))
        if not self.params.bids or float(moved.max()) < self.params.bids[0] / 2:
            return
        self._bid_at[:, row] = prices
        commands: list[Command] = [CancelAll(account, self.coins[k].spot) for k in senior]
        if cash > self.params.cash_floor * max(equity, 1.0):
            each = self.params.bid_cash * cash / (len(senior) * len(self.params.bids))
            for k in senior:
                coin, start = self.coins[k], self.opening.start_ticks[self.spots[k]]
                for below in self.params.bids:
                    price = float(prices[k]) * (1 - below)
                    lots = int(each / (float(self.lot_usd[k]) * price / start))
                    if lots:
                        instrument = self.opening.instruments[coin.spot]
                        commands.append(limit_order(instrument, account, coin.spot, lots, price))
        self.counters["bids"] += sum(isinstance(c, PlaceOrder) for c in commands)
        world.submit(commands, self.latencies[row], self.heard)

    def _rebalance_hedge(
        self, world: World, row: int, drawdown: float, values: Floats, prices: Floats
    ) -> None:
        """Short the first coin's contract beyond d2, and cover it below d1."""
        if self._hedge is None:
            return
        account, k = int(self.accounts[row]), self.tiers[0][0]
        short = -world.view.position_lots(self._hedge, account)
        worth = float(self.lot_usd[k]) * float(prices[k]) / self.opening.start_ticks[self.spots[k]]
        wanted = short
        if drawdown > self.d2[row]:
            wanted = int(self.params.hedge_ratio * float(values.sum()) / worth)
        elif drawdown < self.d1[row]:
            wanted = 0
        if abs(wanted - short) > 0.1 * max(wanted, short, 1):
            self.counters["hedges"] += 1
            instrument = self.opening.instruments[self._hedge]
            order = immediate_order(instrument, account, self._hedge, short - wanted, float(prices[k]))
            world.submit((order,), self.latencies[row], self.heard)
