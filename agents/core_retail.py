"""Leveraged retail over weeks: a margin account, and a core of stable, ETH and BTC in the venue's spot books.

C1 with (f): entries, sizes, exits and re-entries, defence out of the core, labour income; the wish for the
largest leverage (F73). `leveraged_retail` is the same people for two hours, whose core is elsewhere.

An owner has two accounts without recourse between them: row r of the owners has margin account
`first_account + r` and core account `first_account + count + r`. Coins sold for a defence bring money only
when the order is filled; it reaches the margin account at the owner's next look.

Chosen by us on 2026-11-22, before the first run: `core_split`, `held_share`, `take_profit`, `stop_loss`, the
parts of margin and core that go into an entry or an addition, and `refill_per_day`.
"""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from zerodebt.agents.allocation import allowed_notional, round_to_total
from zerodebt.agents.coins import Routes, immediate_order
from zerodebt.agents.history import IndexHistory
from zerodebt.agents.opening import Opening
from zerodebt.agents.population import (
    Count,
    NotNegative,
    Positions,
    Positive,
    PositiveShare,
    Share,
    WakeOverMonths,
    to_ns,
)
from zerodebt.agents.spot_holders import DAY_S, SpotHolders
from zerodebt.agents.wealth import LARGEST_USD, Floats, lognormal_quantiles, spread_evenly, wealth_quantiles
from zerodebt.agents.world import World
from zerodebt.exchange.commands import Command, Deposit, SetLeverage, TransferMargin, Withdraw
from zerodebt.exchange.instruments import largest_leverage
from zerodebt.exchange.units import Int64Array

_AT_MAXIMUM = 1_000.0
_CORE = ("ETH", "BTC")
Range = tuple[NotNegative, NotNegative]


class CoreRetailParams(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="core_retail", tag_field="kind"
):
    """Owners with a margin account and a core.

    count                 owners; wealth in margin by V47's quantiles, scaled to the open interest
    long_bias             of entries, and of the positions at the start [C1 (f): .6]
    long_share            of the open interest that their longs hold at the start
    held_share            of owners with a position at the start: the part of time that they hold one
    leverage_median, leverage_ln_sd, at_max_share   lognormal, and those at the maximum [C1: 8, .8, .08]
    leverage_max          cut; 1 is no leverage
    isolated_share        [C1: .7]
    position_share_max    largest position as a part of the largest open interest of an instrument
    alts, alt_alpha, alt_beta   symbols, and the Beta of an owner's share of entries in them [C1: 6, 3]
    core_ratio, core_ratio_ln_sd   core over margin, lognormal [C1: 3, 1]
    core_split            stable, ETH, BTC [ours]
    defend_share          chance to defend, less `defend_fatigue` a use; 0: nobody does [C1: .75, .2]
    defend_below          in maintenance requirements [C1: 1.5]
    wakes_per_day         times `stress_factor` when the held coin moved by `stress_return` in an hour [C1]
    holding_median_days   hazard of an exit in time [C1 (f): 2]
    take_profit           of the margin, U: an exit [ours]; `stop_share` of owners exit at a loss of
    stop_loss             of the margin, U [ours]
    entry_days            mean time to an entry at zero return [C1 (f): 3]
    entry_share           of the margin account's free money that an entry puts up, U [C1 (f)]
    add_above, add_share  a gain above this part of the margin adds this part of the core's stable [C1 (2)]
    reentry_days          mean pause after a liquidation [C1: 10], then `refill_per_day` of the margin at the
                          start moves from stable into the margin account, once a look
    income_monthly        of the core at the start, U, paid daily into stable [C1: .01-.03]
    routes                where core is sold, if a coin has several books [F86]
    """

    name: str
    count: Count = 300
    long_bias: PositiveShare = 0.6
    long_share: PositiveShare = 1.0
    held_share: PositiveShare = 0.5
    leverage_median: Positive = 8.0
    leverage_ln_sd: NotNegative = 0.8
    at_max_share: Share = 0.08
    leverage_max: Annotated[int, Meta(ge=1, le=1000)] = 125
    isolated_share: Share = 0.7
    position_share_max: PositiveShare = 0.05
    alts: tuple[str, ...] = ("ALT", "SMALL")
    alt_alpha: Positive = 6.0
    alt_beta: Positive = 3.0
    core_ratio: NotNegative = 3.0
    core_ratio_ln_sd: NotNegative = 1.0
    core_split: tuple[NotNegative, NotNegative, NotNegative] = (0.4, 0.3, 0.3)
    defend_share: Share = 0.75
    defend_fatigue: Share = 0.2
    defend_below: NotNegative = 1.5
    wakes_per_day: NotNegative = 6.0
    stress_factor: NotNegative = 5.0
    stress_return: NotNegative = 0.03
    holding_median_days: Positive = 2.0
    take_profit: Range = (0.5, 2.0)
    stop_share: Share = 0.35
    stop_loss: Range = (0.3, 0.8)
    entry_days: Positive = 3.0
    entry_share: Range = (0.3, 1.0)
    add_above: NotNegative = 0.5
    add_share: Share = 0.1
    reentry_days: Positive = 10.0
    refill_per_day: Share = 0.5
    income_monthly: Range = (0.01, 0.03)
    routes: Routes = "deepest"
    wake_s: WakeOverMonths = 600.0
    latency_ms: NotNegative = 300.0


class CoreRetail(SpotHolders):
    """All owners; one process looks up who is due."""

    def __init__(self, params: CoreRetailParams, opening: Opening, first_account: int) -> None:
        count = params.count
        super().__init__(params.name, 2 * count, opening, first_account, params.latency_ms)
        if not sum(params.core_split):
            raise ValueError("core_split: found three zeros, allowed is a part above 0")
        self.params = params
        self.routes = params.routes
        self.owners = count
        self.margin_accounts = self.accounts[:count]
        self.counters |= dict.fromkeys(
            ("entries", "exits", "additions", "defences", "transfers", "liquidated_seen", "refills"), 0
        ) | dict.fromkeys((f"core_spent_{kind}_usd" for kind in ("stable", *_CORE)), 0)
        draw = self.generator
        contracts = [coin.contract for coin in self.coins]
        self._contracts = [n for n in contracts if n is not None]
        self._alts = [coin.contract for coin in self.coins if coin.symbol in params.alts]
        self._core = {c.symbol: k for k, c in enumerate(self.coins) if c.symbol in _CORE}
        self._alt_share = draw.beta(params.alt_alpha, params.alt_beta, count)
        self._isolated = draw.permutation(count) < round(params.isolated_share * count)
        self._take_profit = draw.uniform(*params.take_profit, count)
        self._stop_loss = np.where(
            draw.permutation(count) < round(params.stop_share * count),
            draw.uniform(*params.stop_loss, count),
            np.inf,
        )
        wealth = draw.permutation(wealth_quantiles(count, largest_usd=LARGEST_USD))
        leverage = lognormal_quantiles(count, params.leverage_median, params.leverage_ln_sd, 1.0)
        leverage = spread_evenly(leverage, wealth, draw)
        leverage[draw.permutation(count)[: round(params.at_max_share * count)]] = _AT_MAXIMUM
        self._leverage = np.minimum(leverage, params.leverage_max)
        margin = self._open(wealth * opening.atoms_per_usd)
        ratio = params.core_ratio * np.exp(params.core_ratio_ln_sd * draw.standard_normal(count))
        self.core_usd = margin * ratio / opening.atoms_per_usd
        split = np.array(params.core_split) / sum(params.core_split)
        nothing = np.zeros(count)
        coins = np.zeros((len(self.coins), 2 * count))
        for symbol, part in zip(_CORE, split[1:].tolist(), strict=True):
            coins[self._core[symbol]] = np.concatenate((nothing, self.core_usd * part))
        self.endow(np.concatenate((margin / opening.atoms_per_usd, self.core_usd * split[0])), coins)
        self._margin_usd = margin / opening.atoms_per_usd
        self._income = draw.uniform(*params.income_monthly, count) * self.core_usd / 30
        self._stake = np.zeros(count)
        self._uses = np.zeros(count, np.int64)
        self._wanted_usd = np.zeros(count)
        self._pause_until_s = np.zeros(count)
        self._had = np.zeros(count, bool)
        self._history = IndexHistory(len(opening.instruments), round(7 * DAY_S / params.wake_s) + 1)

    def _open(self, wealth: Floats) -> Floats:
        """Positions of the start by instrument and side; margin by owner, in atoms.

        Every other owner by wealth has a position. The largest go first, each where most is still missing;
        then one factor an instrument and side makes the sums exact.
        """
        params, opening, count = self.params, self.opening, self.owners
        order = np.argsort(-wealth, kind="stable")
        keys = np.floor(np.arange(count) * params.held_share)
        holders = order[np.diff(keys, prepend=-1.0) > 0]
        oi = np.array(opening.open_interest_lots, np.float64) * opening.lot_value_atoms
        sides = {1: params.long_share, -1: params.long_share * (1 - params.long_bias) / params.long_bias}
        goal = {(n, side): share * oi[n] for n in self._contracts for side, share in sides.items()}
        exposure = wealth * self._leverage
        scale = sum(goal.values()) / exposure[holders].sum()
        cap = params.position_share_max * max(oi)
        for _ in range(20):
            scale *= sum(goal.values()) / np.minimum(exposure[holders] * scale, cap).sum()
        missing, chosen = dict(goal), dict[tuple[int, int], list[int]]()
        for row in holders.tolist():
            bucket = max(missing, key=lambda key: missing[key] / goal[key])
            missing[bucket] -= min(float(exposure[row]) * scale, cap)
            chosen.setdefault(bucket, []).append(row)
        shape = (len(opening.instruments), 2 * count)
        lots, isolated = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        leverage = np.ones(shape, np.int64)
        margin = np.minimum(wealth * scale, cap / self._leverage)
        for (number, side), rows in chosen.items():
            self._fill(number, side, np.array(rows), goal[number, side], margin, lots, leverage, isolated)
        starts = np.array(opening.start_ticks, np.int64)
        entries = np.repeat(starts[:, None], 2 * count, axis=1)
        self.positions: Positions | None = Positions(lots, entries, leverage, isolated)
        brought: Floats = np.ceil(margin)
        return brought

    def _fill(
        self,
        number: int,
        side: int,
        rows: Int64Array,
        goal: float,
        margin: Floats,
        lots: Int64Array,
        leverage: Int64Array,
        isolated: Int64Array,
    ) -> None:
        """One instrument and side: leverage cut to the tiers, lots to the goal, margin to the lots."""
        instrument, lot_value = self.opening.instruments[number], float(self.opening.lot_value_atoms[number])
        ones = np.ones(len(rows))
        notional = allowed_notional(instrument, margin[rows], self._leverage[rows], ones)
        used = np.maximum(notional / margin[rows], 1.0)
        exact = notional * goal / notional.sum()
        lots[number, rows] = side * round_to_total(exact / lot_value, int(goal / lot_value))
        value = np.abs(lots[number, rows]) * lot_value
        for tier in instrument.tiers:
            highest = float(largest_leverage(tier))
            used = np.where(value >= tier.lower, np.minimum(used, highest), used)
        used = np.maximum(np.floor(used), 1.0)
        margin[rows] = np.ceil(value / used * 1.001) + 10_000
        leverage[number, rows] = used.astype(np.int64)
        isolated[number, rows] = np.where(self._isolated[rows], margin[rows], 0)

    def start(self, world: World) -> None:
        step_ns = to_ns(self.params.wake_s)
        world.every(step_ns, lambda: self._wake(world), step_ns * 3 // 5)
        world.every(DAY_S * 10**9, lambda: self._earn(world), DAY_S * 10**9)

    def _earn(self, world: World) -> None:
        """A day's income, into the stable part of every core."""
        atoms = np.rint(self._income * self.opening.atoms_per_usd).astype(np.int64)
        first = int(self.accounts[self.owners])
        world.submit((Deposit(self.opening.settle_asset, first, tuple(atoms.tolist())),), 0, self.heard)

    def _wake(self, world: World) -> None:
        params, view = self.params, world.view
        index = self._history.sample(view)
        if index is None:
            return
        lots = np.stack([view.positions(n, self.margin_accounts) for n in self._contracts])
        has = np.array(lots.any(axis=0))
        lost = self._had & ~has & (self._pause_until_s <= 0)
        self._had = has
        hour = self._history.log_return(max(1, round(3600 / params.wake_s)))[self._contracts]
        stressed = ((lots != 0) & (np.abs(hour) > params.stress_return)[:, None]).any(axis=0)
        chance = params.wakes_per_day * params.wake_s / DAY_S * np.where(stressed, params.stress_factor, 1.0)
        due = self.generator.random(self.owners) < chance
        for row in np.flatnonzero(lost).tolist():
            self.counters["liquidated_seen"] += 1
            pause = self.generator.exponential(params.reentry_days) * DAY_S
            self._pause_until_s[row] = world.elapsed_ns / 10**9 + pause
        for row in np.flatnonzero(due | (self._wanted_usd > 0)).tolist():
            place = int(np.flatnonzero(lots[:, row])[0]) if has[row] else -1
            number = self._contracts[place] if place >= 0 else -1
            if number >= 0:
                self._hold(world, row, number, int(lots[place, row]), index)
            elif due[row]:
                self._maybe_enter(world, row, index)

    def _equity(self, world: World, row: int, number: int) -> tuple[float, float]:
        """(equity, maintenance requirement) behind the position, in USD."""
        account = int(self.margin_accounts[row])
        margins = (
            world.view.isolated_margin(number, account)
            if self._isolated[row]
            else world.view.cross_margin(account)
        )
        return margins[0] / self.opening.atoms_per_usd, margins[1] / self.opening.atoms_per_usd

    def _hold(self, world: World, row: int, number: int, lots: int, index: Floats) -> None:
        """Take profit, stop, leave for other reasons; else defend, or add."""
        params = self.params
        equity, required = self._equity(world, row, number)
        if not self._stake[row]:
            self._stake[row] = max(equity, 1e-9)
        gain = equity / float(self._stake[row]) - 1
        exit_chance = np.log(2) / params.holding_median_days / params.wakes_per_day
        leaves = self.generator.random() < exit_chance
        if leaves or gain > self._take_profit[row] or gain < -self._stop_loss[row]:
            self._exit(world, row, number, lots, index)
        elif equity < params.defend_below * required or self._wanted_usd[row] > 0:
            self._defend(world, row, number, lots, index, equity)
        elif gain > params.add_above and self._move_stable(
            world, row, params.add_share * self._stable_usd(world, row), number, count_as="additions"
        ):
            usd = params.add_share * self._stable_usd(world, row)
            self._stake[row] += usd
            added = int(0.9 * usd * self._chosen(row, number) / self._lot_usd(number, index))
            self._order(world, row, number, added if lots > 0 else -added, index)

    def _exit(self, world: World, row: int, number: int, lots: int, index: Floats) -> None:
        self.counters["exits"] += 1
        self._stake[row] = 0.0
        self._wanted_usd[row] = 0.0
        self._had[row] = False
        account = int(self.margin_accounts[row])
        instrument = self.opening.instruments[number]
        order = immediate_order(instrument, account, number, -lots, float(index[number]), reduce_only=True)
        world.submit((order,), self.latencies[row], self.heard)

    def _defend(self, world: World, row: int, number: int, lots: int, index: Floats, equity: float) -> None:
        """Bring the margin back to what it was over notional: first stable, then ETH, then BTC is sold."""
        params = self.params
        wanted = float(self._wanted_usd[row])
        is_new = not wanted
        if is_new:
            chance = params.defend_share * (1 - params.defend_fatigue) ** int(self._uses[row])
            if self.generator.random() >= chance:
                return
            self._uses[row] += 1
            self.counters["defences"] += 1
            notional = abs(lots) * self._lot_usd(number, index)
            wanted = max(0.0, notional / self._chosen(row, number) - equity)
        stable = self._stable_usd(world, row)
        moved = min(wanted, stable)
        if self._move_stable(world, row, moved, number, count_as="transfers") and is_new:
            # Later transfers are of what coins brought, which are counted where they are sold.
            self.counters["core_spent_stable_usd"] += round(moved)
        missing = wanted - stable
        self._wanted_usd[row] = 0.0
        core_row = self.owners + row
        for symbol in _CORE:
            if missing <= 1.0:
                break
            k = self._core[symbol]
            price = float(index[self.spots[k]])
            worth = float(self.lot_usd[k]) * price / self.opening.start_ticks[self.spots[k]]
            sold = min(self.held_lots(world, k, core_row), -int(-missing // worth))
            if sold:
                self.trade(world, core_row, k, -sold, price)
                self.counters[f"core_spent_{symbol}_usd"] += round(sold * worth)
                self._wanted_usd[row] += min(missing, sold * worth)
                missing -= sold * worth

    def _stable_usd(self, world: World, row: int) -> float:
        core = int(self.accounts[self.owners + row])
        return max(0.0, float(world.view.wallets((core,))[0]) / self.opening.atoms_per_usd)

    def _move_stable(self, world: World, row: int, usd: float, number: int, count_as: str) -> bool:
        """Out of the core account, into the margin account, and on into an isolated position."""
        atoms = int(usd * self.opening.atoms_per_usd)
        if atoms < self.opening.atoms_per_usd:
            return False
        settle = self.opening.settle_asset
        core, margin = int(self.accounts[self.owners + row]), int(self.margin_accounts[row])
        commands: list[Command] = [Withdraw(core, settle, atoms), Deposit(settle, margin, (atoms,))]
        if number >= 0 and self._isolated[row]:
            commands.append(TransferMargin(margin, number, atoms))
        self.counters[count_as] += 1
        world.submit(commands, self.latencies[row], self.heard)
        return True

    def _maybe_enter(self, world: World, row: int, index: Floats) -> None:
        """A new position, after a rise more often; after a liquidation not before its pause is over."""
        params = self.params
        if world.elapsed_ns / 10**9 < self._pause_until_s[row]:
            return
        number = self._coin_to_enter(row)
        week = float(self._history.log_return(round(7 * DAY_S / params.wake_s))[number])
        momentum = (1 + np.exp(0.05 / 0.03)) / (1 + np.exp((0.05 - week) / 0.03))
        if self.generator.random() >= momentum / (params.entry_days * params.wakes_per_day):
            return
        account = int(self.margin_accounts[row])
        free_usd = float(world.view.wallets((account,))[0]) / self.opening.atoms_per_usd
        if free_usd < 0.2 * self._margin_usd[row]:
            usd = min(self._stable_usd(world, row), params.refill_per_day * float(self._margin_usd[row]))
            self._move_stable(world, row, usd, -1, count_as="refills")
            return
        side = 1 if self.generator.random() < params.long_bias else -1
        stake = free_usd * float(self.generator.uniform(*params.entry_share))
        leverage = self._chosen(row, number, stake)
        lots = int(0.95 * stake * leverage / self._lot_usd(number, index))
        if lots < 1:
            return
        self._pause_until_s[row] = 0.0
        self._uses[row] = 0
        self._stake[row] = 0.0
        self.counters["entries"] += 1
        mode = "isolated" if self._isolated[row] else "cross"
        world.submit(
            (SetLeverage(account, number, leverage, mode),),  # type: ignore[arg-type]
            self.latencies[row],
            self.heard,
        )
        self._order(world, row, number, side * lots, index)

    def _coin_to_enter(self, row: int) -> int:
        """An alt with the owner's chance, by open interest; else another contract."""
        is_alt = self.generator.random() < self._alt_share[row]
        among = [n for n in self._contracts if (n in self._alts) == is_alt] or self._contracts
        weights = self.opening.shares[among]
        return among[int(self.generator.choice(len(among), p=weights / weights.sum()))]

    def _chosen(self, row: int, number: int, stake_usd: float | None = None) -> int:
        """Leverage of an owner in an instrument, cut to the tier that the position falls into."""
        instrument = self.opening.instruments[number]
        stake = float(self._stake[row]) if stake_usd is None else stake_usd
        margin = np.array([max(stake, 1.0) * self.opening.atoms_per_usd])
        notional = allowed_notional(instrument, margin, self._leverage[[row]], np.ones(1))
        return max(1, int(notional[0] / margin[0]))

    def _lot_usd(self, number: int, index: Floats) -> float:
        instrument = self.opening.instruments[number]
        return max(1.0, float(index[number])) * instrument.tick_value_atoms / self.opening.atoms_per_usd

    def _order(self, world: World, row: int, number: int, lots: int, index: Floats) -> None:
        if lots:
            account = int(self.margin_accounts[row])
            instrument = self.opening.instruments[number]
            order = immediate_order(instrument, account, number, lots, float(index[number]))
            world.submit((order,), self.latencies[row], self.heard)
