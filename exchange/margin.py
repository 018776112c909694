"""Initial and maintenance requirement, equity, and what may be withdrawn."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cmp_to_key

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from zerodebt.exchange.accounts import BACKSTOP
from zerodebt.exchange.book import Order
from zerodebt.exchange.collateral import (
    Collateral,
    coming_haircut_array,
    coming_haircut_atoms,
    coming_margin_atoms,
    free_atoms,
    is_fresh,
    maintenance_haircut_array,
    maintenance_haircut_atoms,
    margin_atoms,
    per_move_array,
    promised_atoms,
    rounding_atoms,
    worth_array,
    worth_atoms,
)
from zerodebt.exchange.instruments import (
    ALONE,
    Size,
    initial_atoms,
    maintenance_atoms,
    maintenance_atoms_array,
    value_atoms,
)
from zerodebt.exchange.marks import Market
from zerodebt.exchange.portfolio import (
    opening_margin_atoms,
    per_move_ppb,
    requirement_atoms,
    requirements_array,
)
from zerodebt.exchange.sessions import stands_still
from zerodebt.exchange.state import Compartment, State
from zerodebt.exchange.units import INT64_MAX, PPB, Int64Array, mul_ppb_ceil, mul_ppb_floor_array

_ROUNDING_SLACK_ATOMS = 64
_NEVER = INT64_MAX // 2
Held = tuple[int, int]
"""Signed lots of a position, and what they cost."""


class Risk(Struct, frozen=True, gc=False):
    """Where a compartment stands at the marks.

    equity_atoms    balances and profit without haircut: what a debt is measured by
    includes_equal  the rulebook's trigger is "at or below": equity equal to the requirement is not safe
    haircut_atoms   what the rulebook takes off its collateral before it answers for the requirement
    """

    equity_atoms: int
    maintenance_atoms: int
    includes_equal: bool = False
    haircut_atoms: int = 0

    @property
    def margin_atoms(self) -> int:
        """Equity after haircut: what answers for the requirement."""
        return self.equity_atoms - self.haircut_atoms

    @property
    def is_liquidatable(self) -> bool:
        """Is there a requirement, and margin below it (or equal, where the trigger says so)? MARG-08."""
        needed = self.maintenance_atoms + self.includes_equal
        return self.maintenance_atoms > 0 and self.margin_atoms < needed

    @property
    def is_bankrupt(self) -> bool:
        return self.equity_atoms < 0

    @property
    def is_safe(self) -> bool:
        """Nothing to do: not liquidatable, and, with or without positions, not below zero after haircut."""
        return not self.is_liquidatable and self.margin_atoms >= 0

    def is_below(self, share_ppb: int) -> bool:
        """Is equity after haircut below this share of the requirement?"""
        return self.margin_atoms * PPB < self.maintenance_atoms * share_ppb


def compare_danger(first: Risk, second: Risk) -> int:
    """Above 0 when the first is worse off: lower margin over requirement, compared by cross multiplication.

    Among equals the larger requirement is worse, then the lower margin. A debt without a requirement is worse
    than any ratio. Source: dYdX v4, lib/margin, Risk.Cmp. Property LIQ-10.
    """
    left = first.margin_atoms * second.maintenance_atoms
    right = second.margin_atoms * first.maintenance_atoms
    return (
        (left < right) - (left > right)
        or (first.maintenance_atoms > second.maintenance_atoms)
        - (first.maintenance_atoms < second.maintenance_atoms)
        or (first.margin_atoms < second.margin_atoms) - (first.margin_atoms > second.margin_atoms)
    )


def risk_of(state: State, compartment: Compartment) -> Risk:
    """Equity, haircut and maintenance requirement of a compartment, exact."""
    account, pocket = compartment
    accounts = state.accounts
    equity = accounts.balances.cells[pocket][account]
    required = haircut = 0
    for market in state.contracts_of(compartment):
        lots = accounts.lots.cells[market.number][account]
        if lots:
            value = market.value_atoms(lots)
            cost = accounts.cost.cells[market.number][account]
            equity += value - cost
            basis = cost if market.margin.is_at_entry else value
            beside = size_beside(state, market, account)
            required += maintenance_atoms(market.margin, abs(basis), abs(lots), beside)
    if pocket == state.settle:
        if state.portfolio is not None:
            required = requirement_atoms(state.portfolio, _cross_lots(state, account))
        for collateral in state.collateral:
            held = accounts.balances.cells[collateral.asset][account]
            if held:
                equity += worth_atoms(collateral, held)
                haircut += maintenance_haircut_atoms(collateral, held)
            coming = accounts.coming.cells[collateral.row][account]
            if coming:
                equity += coming
                haircut += coming_haircut_atoms(collateral.rule, coming)
    return Risk(equity, required, includes_equal(state), haircut)


def _cross_lots(state: State, account: int) -> list[tuple[Market, int]]:
    """Positions of the cross pool: (market, signed lots)."""
    lots = state.accounts.lots.cells
    return [(m, lots[m.number][account]) for m in state.positions_of((account, state.settle))]


def maintenance_after(
    state: State,
    compartment: Compartment,
    risk: Risk,
    after: Sequence[tuple[Market, int]],
    planned: Mapping[Market, Held] | None = None,
) -> int:
    """Requirement of a compartment whose legs of one instrument become (market, lots) of `after`.

    risk     as it stands. A leg that stays as it is may be left out.
    planned  what legs hold and cost after fills that are planned already; None: as they are
    """
    account, pocket = compartment
    legs = dict(after)
    other = state.other_leg(account, after[0][0])
    if other is not None:
        legs.setdefault(other, state.accounts.lots.cells[other.number][account])
    if state.portfolio is not None and pocket == state.settle:
        others = [(m, held) for m, held in _cross_lots(state, account) if m not in legs]
        return requirement_atoms(state.portfolio, [*others, *legs.items()])
    now = {market: state.accounts.lots.cells[market.number][account] for market in legs}
    before = _legs_atoms(state, account, now)
    return risk.maintenance_atoms - before + _legs_atoms(state, account, legs, planned)


def _legs_atoms(
    state: State, account: int, legs: dict[Market, int], planned: Mapping[Market, Held] | None = None
) -> int:
    """Maintenance requirement of one instrument's legs if they were of these signed lots."""
    required = 0
    for market, lots in legs.items():
        beside = ALONE
        if state.rules.margin.tier_sum == "gross":
            beside = next((_size(other, held) for other, held in legs.items() if other is not market), ALONE)
        held = planned.get(market) if planned else None
        required += maintenance_of(state, market, account, lots, beside, held)
    return required


def _size(market: Market, lots: int) -> Size:
    return abs(market.value_atoms(lots)), abs(lots)


def size_beside(state: State, market: Market, account: int) -> Size:
    """What finds a position's tier together with it: the other leg, where the rulebook sums them. OKX."""
    if state.rules.margin.tier_sum == "legs":
        return ALONE
    other = state.other_leg(account, market)
    return ALONE if other is None else _size(other, state.accounts.lots.cells[other.number][account])


def _sizes_beside(state: State, market: Market, rows: Int64Array) -> tuple[Int64Array, Int64Array] | None:
    """`size_beside` for an array of accounts; None: nothing lies beside any of them."""
    if state.rules.margin.tier_sum == "legs" or not state.hedged:
        return None
    legs = state.legs_of(market.instrument_number)
    other = next(leg for leg in legs if leg is not market)
    accounts = state.accounts
    isolated = np.logical_or(*(accounts.isolated.array[leg.number, rows] for leg in legs))
    lots = np.where(isolated, 0, accounts.lots.array[other.number, rows])
    return np.abs(other.values_atoms(lots)), np.abs(lots)


def includes_equal(state: State) -> bool:
    """Is an account liquidatable at its requirement already?"""
    return state.rules.liquidation.trigger == "at_or_below"


class Found(Struct, frozen=True, gc=False):
    compartment: Compartment
    risk: Risk


def find_liquidatable(state: State) -> list[Found]:
    """Compartments below their requirement, the most underwater first, in one vectorised pass.

    Only accounts that the market's moves since their last look could have reached, or that changed, are read;
    each gets a new reading of the move meter up to which it cannot be liquidatable: with X its excess over
    the requirement and G the most that it loses for a move of 100 %, a move of X/G is safe. The meter moves
    with the marks of contracts and with the index of what serves as collateral.
    """
    accounts = state.accounts
    recheck = accounts.recheck_at.array[0, : accounts.count]
    rows = np.flatnonzero(recheck < state.counters.meter_ppb)
    rows = rows[accounts.vault.array[0, rows] != BACKSTOP]
    found: list[Found] = []
    portfolio = state.portfolio
    equity = accounts.balances.array[state.settle, rows].copy()
    required = np.zeros_like(equity)
    weight = np.zeros_like(equity)
    safe = np.full_like(equity, _NEVER)
    unmetered = np.zeros(equity.shape, np.bool_)
    equal = includes_equal(state)
    for market in state.contracts:
        n = market.number
        held = accounts.lots.array[n, rows]
        margin = accounts.balances.array[state.pocket(n), rows]
        at = np.flatnonzero((held != 0) | (margin != 0))
        if not at.size:
            continue
        lots = held[at]
        value = market.values_atoms(lots)
        cost = accounts.cost.array[n, rows[at]]
        profit = value - cost
        basis = cost if market.margin.is_at_entry else value
        beside = _sizes_beside(state, market, rows[at])
        maintenance = maintenance_atoms_array(market.margin, np.abs(basis), np.abs(lots), beside)
        is_metered = market.margin.is_metered
        per_move = np.abs(lots) * (market.tick_value * market.prices.meter_ticks if is_metered else 0)
        grid_move = per_move
        per_move = per_move + (per_move // market.margin.denominator + 1) * market.margin.numerators[-1]
        isolated = accounts.isolated.array[n, rows[at]] != 0
        alone, pooled = at[isolated], at[~isolated]
        equity[pooled] += profit[~isolated]
        if portfolio is None:
            required[pooled] += maintenance[~isolated]
            weight[pooled] += per_move[~isolated]
        else:
            grown = mul_ppb_floor_array(grid_move[~isolated], per_move_ppb(portfolio.rules)) + 1
            weight[pooled] += grid_move[~isolated] + grown
        own = margin[alone] + profit[isolated]
        own_required = maintenance[isolated]
        safe[alone] = np.minimum(safe[alone], _safe_move_ppb(own - own_required, per_move[isolated]))
        if not is_metered:
            unmetered[at] = True
        for k in np.flatnonzero(_is_unsafe(own, own_required, equal)).tolist():
            risk = Risk(int(own[k]), int(own_required[k]), equal)
            found.append(Found((int(rows[alone[k]]), state.pocket(n)), risk))
    if portfolio is not None:
        required = _grid_requirements(state, rows)
    haircut = np.zeros_like(equity)
    for collateral in state.collateral:
        held = accounts.balances.array[collateral.asset, rows]
        equity += worth_array(collateral, held)
        haircut += maintenance_haircut_array(collateral, held)
        weight += per_move_array(collateral, held)
        if collateral.rule.redemption_lag_ns:
            coming = accounts.coming.array[collateral.row, rows]
            equity += coming
            haircut += coming_haircut_array(collateral.rule, coming)
    slack = _ROUNDING_SLACK_ATOMS + rounding_atoms(state.collateral) + len(state.contracts)
    excess = equity - haircut - required
    safe = np.minimum(safe, _safe_move_ppb(excess, weight, slack))
    found += [
        Found((int(rows[k]), state.settle), Risk(int(equity[k]), int(required[k]), equal, int(haircut[k])))
        for k in np.flatnonzero(_is_unsafe(equity - haircut, required, equal)).tolist()
    ]
    safe[unmetered] = -1
    accounts.recheck_at.array[0, rows] = state.counters.meter_ppb + safe
    found.sort(key=lambda f: f.compartment)
    found.sort(key=cmp_to_key(lambda a, b: compare_danger(b.risk, a.risk)))
    return found


def _grid_requirements(state: State, rows: Int64Array) -> Int64Array:
    """Requirement of the cross pools of these accounts over the grid of the rulebook."""
    assert state.portfolio is not None
    accounts = state.accounts
    columns = []
    for market in state.contracts:
        held = accounts.lots.array[market.number, rows]
        lots = np.where(accounts.isolated.array[market.number, rows] == 0, held, 0)
        if lots.any():
            columns.append((market, lots))
    return requirements_array(state.portfolio, columns, rows.size)


def _is_unsafe(margin: Int64Array, required: Int64Array, includes_equal: bool) -> NDArray[np.bool_]:
    """`not Risk.is_safe` for arrays: requirements are never below zero."""
    below: NDArray[np.bool_] = margin < required
    return below | ((margin == required) & (required > 0)) if includes_equal else below


def _safe_move_ppb(
    excess: Int64Array, per_move: Int64Array, slack_atoms: int = _ROUNDING_SLACK_ATOMS
) -> Int64Array:
    """Largest move (ppb, rounded down) that leaves `excess` at zero or more; -1 where there is none left."""
    spare = np.maximum(excess - slack_atoms, 0)
    small = np.minimum(spare, 9 * PPB) * PPB // np.maximum(per_move, 1)
    large = spare // (per_move // PPB + 1)
    safe = np.where(per_move == 0, _NEVER, np.where(spare < 9 * PPB, small, large))
    return np.where(excess < slack_atoms, np.where((per_move == 0) & (excess >= 0), _NEVER, -1), safe)


class Change(Struct, frozen=True, gc=False):
    """What an order would do to its account in one slot, for judging before it is done.

    fill_lots     signed lots that would trade at once
    wallet_atoms  what the wallet would gain or lose by it: profit against the mark less fees
    buy_lots, sell_lots, buy_value, sell_value  what would rest in addition
    """

    slot: int = -1
    fill_lots: int = 0
    wallet_atoms: int = 0
    buy_lots: int = 0
    sell_lots: int = 0
    buy_value: int = 0
    sell_value: int = 0


NO_CHANGE = Change()


def initial_excess_atoms(state: State, account: int, change: Change = NO_CHANGE) -> int:
    """Equity of the cross pool after haircut less its initial requirement, all resting orders at their worst.

    Worst is the larger of position + buys and position - sells, at the chosen leverage but never less than
    the tier asks for, plus what the orders would lose against the mark and their maker fees.
    Resting orders of an isolated instrument need their margin from the wallet. Property MARG-02.
    Under a grid the orders of each instrument are added as a portfolio of their own, which is never too
    little: no part of a portfolio lowers another's requirement by more than its own. Levels of margin below
    which an account only reduces ask for one atom more than they are. While a mark stands still, a position
    is worth no more than at the index.
    """
    accounts = state.accounts
    excess = accounts.balances.cells[state.settle][account] + change.wallet_atoms
    excess -= promised_atoms(accounts, state.markets, account, state.settle)
    excess += collateral_initial_atoms(state, account)
    maker_ppb = max(0, state.rules.fees.maker_ppb)
    portfolio = state.portfolio
    initial = maintained = 0
    positions: list[tuple[Market, int]] = []
    for market in state.contracts:
        n = market.number
        lots = accounts.lots.cells[n][account]
        held, buys, sells = _after(state, market, account, change)
        if not (lots or held or buys or sells):
            continue
        worst = max(abs(held + buys), abs(held - sells))
        beside = _worst_beside(state, market, account, change)
        if accounts.isolated.cells[n][account]:
            worst -= abs(held)
        else:
            excess += market.value_atoms(lots) - accounts.cost.cells[n][account]
            excess -= standing_loss_atoms(state, market, held)
        if portfolio is not None and not accounts.isolated.cells[n][account]:
            positions.append((market, held))
            resting = [requirement_atoms(portfolio, [(market, lots)]) for lots in (buys, -sells)]
            maintained += max(resting)
        else:
            initial += initial_at_mark(state, market, worst, accounts.leverage.cells[n][account], beside)
            if state.rules.portfolio.levels:
                maintained += maintenance_at_mark(market, max(0, worst), beside)
        if buys or sells:
            buy_value = accounts.buy_value.cells[n][account]
            sell_value = accounts.sell_value.cells[n][account]
            if n == change.slot:
                buy_value += change.buy_value
                sell_value += change.sell_value
            excess -= max(0, buy_value - market.value_atoms(buys))
            excess -= max(0, market.value_atoms(sells) - sell_value)
            excess -= mul_ppb_ceil(abs(buy_value) + abs(sell_value), maker_ppb)
    if portfolio is not None:
        maintained += requirement_atoms(portfolio, positions)
        initial += mul_ppb_ceil(maintained, portfolio.rules.initial_ppb)
    return excess - max(initial, opening_margin_atoms(state.rules.portfolio, maintained))


def standing_loss_atoms(state: State, market: Market, lots: int) -> int:
    """What signed lots have lost at the index beyond the mark while the mark stands still; at least 0.

    Nobody is liquidated at a price at which nobody may act, but nobody takes margin out at it or uses it for
    new risk either: the next mark may be the index. Properties MARG-05, ATK-10.
    """
    index = market.prices.index_ticks
    if not lots or index is None or not stands_still(state, market.instrument_number):
        return 0
    return max(0, market.gain_atoms(lots, index))


def _after(state: State, market: Market, account: int, change: Change) -> tuple[int, int, int]:
    """Signed lots, and lots of resting buys and sells, after the change."""
    accounts, n = state.accounts, market.number
    now = (accounts.lots.cells[n][account], accounts.buy_lots.cells[n][account])
    sells = accounts.sell_lots.cells[n][account]
    if n != change.slot:
        return *now, sells
    return now[0] + change.fill_lots, now[1] + change.buy_lots, sells + change.sell_lots


def _worst_beside(state: State, market: Market, account: int, change: Change) -> Size:
    """`size_beside` with the other leg at its worst."""
    if state.rules.margin.tier_sum == "legs":
        return ALONE
    other = state.other_leg(account, market)
    if other is None:
        return ALONE
    held, buys, sells = _after(state, other, account, change)
    return _size(other, max(abs(held + buys), abs(held - sells)))


def collateral_initial_atoms(state: State, account: int) -> int:
    """What an account's collateral answers for when it takes new risk, after haircut.

    An asset without a fresh index counts nothing, and what is owed of it in full. A resting order that would
    sell below what its coins count for takes off the difference; ratios fall with size, so that no coins of a
    larger holding count for more than the same number held alone.
    """
    coming = state.accounts.coming.cells
    return sum(
        _collateral_initial(state, account, collateral)
        + coming_margin_atoms(collateral.rule, coming[collateral.row][account])
        for collateral in state.collateral
    )


def _collateral_initial(state: State, account: int, collateral: Collateral, less_atoms: int = 0) -> int:
    """The same of one asset, with `less_atoms` of it gone."""
    accounts = state.accounts
    held = accounts.balances.cells[collateral.asset][account] - less_atoms
    counts = margin_atoms(collateral, held)
    if held > 0 and not is_fresh(collateral.market, state.rules, state.time_ns):
        return 0
    n = collateral.market.number
    if accounts.sell_lots.cells[n][account]:
        counts -= sum(_sale_at_worst(state, order) for order in state.sells_of(account, n))
    return counts


def _sale_at_worst(state: State, order: Order) -> int:
    """The most that a resting sale of collateral could take off the margin."""
    instrument = state.instruments[order.instrument]
    brings = value_atoms(instrument, order.price_ticks, order.open_lots)
    brings -= mul_ppb_ceil(brings, max(0, state.rules.fees.maker_ppb))
    collateral = next(c for c in state.collateral if c.market.number == order.instrument)
    return max(0, margin_atoms(collateral, order.open_lots * instrument.lot_atoms) - brings)


def sale_cost_atoms(state: State, account: int, market: Market, lots: int, brings_atoms: int) -> int:
    """How much selling `lots` of a spot market for `brings_atoms` takes off the margin; at least 0.

    At the last index, fresh or not: nobody gives collateral away because a source is late.
    """
    asset = market.instrument.base_asset
    collateral = next((c for c in state.collateral if c.asset == asset), None)
    if collateral is None:
        return 0
    held = state.accounts.balances.cells[asset][account]
    left = held - lots * market.instrument.lot_atoms
    return max(0, margin_atoms(collateral, held) - margin_atoms(collateral, left) - brings_atoms)


def maintenance_at_mark(market: Market, lots: int, beside: Size = ALONE) -> int:
    """Maintenance requirement of signed lots at the mark, rounded up."""
    return maintenance_atoms(market.margin, abs(market.value_atoms(lots)), abs(lots), beside)


def maintenance_of(
    state: State,
    market: Market,
    account: int,
    lots: int,
    beside: Size | None = None,
    held: Held | None = None,
) -> int:
    """Maintenance requirement of an account's position if it were of these signed lots, rounded up.

    beside  what is summed with it to find its tier; None: what is held now
    held    lots and cost that it comes from; None: as they are
    Where the requirement is a share of what the lots cost, lots that remain keep their share of the cost and
    lots that are added cost the mark. Source: BitMEX docs, Isolated and cross margin.
    """
    if beside is None:
        beside = size_beside(state, market, account)
    if held is None:
        cells = state.accounts.lots.cells[market.number], state.accounts.cost.cells[market.number]
        held = cells[0][account], cells[1][account]
    basis = maintained_value_atoms(market, *held, lots)
    return maintenance_atoms(market.margin, basis, abs(lots), beside)


def maintained_value_atoms(market: Market, held: int, cost: int, lots: int) -> int:
    """The value, not below 0, that maintenance is charged on if `held` signed lots became `lots`.

    cost  what the held lots cost, signed as their value
    """
    if not market.margin.is_at_entry or lots * held <= 0:
        basis = market.value_atoms(lots)
    elif abs(lots) <= abs(held):
        basis = cost - cost * (held - lots) // held
    else:
        basis = cost + market.value_atoms(lots - held)
    return abs(basis)


def initial_at_mark(state: State, market: Market, size_lots: int, leverage: int, beside: Size = ALONE) -> int:
    """Initial requirement of a position at the mark, rounded up; nothing for a size that is not above 0."""
    if size_lots <= 0:
        return 0
    table = market.margin
    open_interest = 0
    if table.open_interest_high_atoms:
        open_interest = abs(market.value_atoms(state.open_interest[market.instrument_number]))
    value = abs(market.value_atoms(size_lots))
    return initial_atoms(table, value, size_lots, leverage, open_interest, beside)


def initial_of(state: State, market: Market, account: int) -> int:
    """Initial requirement of an account's open position at the mark and its chosen leverage, rounded up."""
    lots = state.accounts.lots.cells[market.number][account]
    leverage = state.accounts.leverage.cells[market.number][account]
    return initial_at_mark(state, market, abs(lots), leverage, size_beside(state, market, account))


def initial_requirement_atoms(state: State, compartment: Compartment) -> int:
    """Initial requirement of a compartment's open positions, without its orders, rounded up.

    Of a cross pool under a grid: the rulebook's share of its maintenance.
    """
    account, pocket = compartment
    portfolio = state.portfolio
    if portfolio is not None and pocket == state.settle:
        required = requirement_atoms(portfolio, _cross_lots(state, account))
        return mul_ppb_ceil(required, portfolio.rules.initial_ppb)
    return sum(initial_of(state, market, account) for market in state.positions_of(compartment))


def open_markets(state: State, account: int) -> list[Market]:
    """Where the account has a position, isolated ones included."""
    lots = state.accounts.lots.cells
    return [market for market in state.contracts if lots[market.number][account]]


def stale_market(state: State, markets: Iterable[Market]) -> Market | None:
    """The first whose index is too old. Property MARK-02."""
    return next((m for m in markets if not is_fresh(m, state.rules, state.time_ns)), None)


def withdrawable_atoms(state: State, account: int) -> int:
    """Settlement asset that may leave: settled cash, and only beyond the initial requirement.

    Under open positions the rulebook may ask for a share of their value where that is more. Unrealised profit
    counts against the requirement but is never paid out. Properties MARG-05, ATK-11.
    """
    accounts = state.accounts
    cash = accounts.balances.cells[state.settle][account]
    cash -= promised_atoms(accounts, state.markets, account, state.settle)
    if cash <= 0:
        return 0
    return max(0, min(cash, _spare_atoms(state, account)))


def borrowable_atoms(state: State, account: int, pool_cash_atoms: int) -> int:
    """Settlement asset that may leave when the lending pool gives what the wallet has not.

    It stays covered by collateral, not by unrealised profit, and leaves the initial requirement.
    """
    cash = state.accounts.balances.cells[state.settle][account]
    cash -= promised_atoms(state.accounts, state.markets, account, state.settle)
    covered = min(_spare_atoms(state, account), cash + collateral_initial_atoms(state, account))
    return max(0, min(covered, max(0, cash) + pool_cash_atoms))


def _spare_atoms(state: State, account: int) -> int:
    """What the cross pool has beyond its initial requirement and the share of value that must stay."""
    accounts = state.accounts
    excess = initial_excess_atoms(state, account)
    share = state.rules.margin.transfer_min_ppb
    if share:
        margin = accounts.balances.cells[state.settle][account] + collateral_initial_atoms(state, account)
        gross = 0
        for market in state.positions_of((account, state.settle)):
            lots = accounts.lots.cells[market.number][account]
            margin += market.value_atoms(lots) - accounts.cost.cells[market.number][account]
            margin -= standing_loss_atoms(state, market, lots)
            gross += abs(market.value_atoms(lots))
        excess = min(excess, margin - mul_ppb_ceil(gross, share))
    return excess


def withdrawable_collateral_atoms(state: State, account: int, asset: int) -> int:
    """Atoms of an asset other than the settlement asset that may leave.

    Collateral leaves as far as the rest still carries the initial requirement, and as what is owed in the
    settlement asset stays covered by collateral, not by unrealised profit. Other assets carry nothing.
    """
    accounts = state.accounts
    free = max(0, free_atoms(accounts, state.markets, account, asset))
    collateral = next((c for c in state.collateral if c.asset == asset), None)
    if collateral is None or not free:
        return free
    cash = accounts.balances.cells[state.settle][account]
    cash -= promised_atoms(accounts, state.markets, account, state.settle)
    spare = min(_spare_atoms(state, account), cash + collateral_initial_atoms(state, account))
    whole = _collateral_initial(state, account, collateral)

    def costs(atoms: int) -> int:
        return whole - _collateral_initial(state, account, collateral, atoms)

    if spare < 0:
        return 0
    if costs(free) <= spare:
        return free
    low, high = 0, free
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if costs(middle) <= spare else (low, middle)
    return low


def pooled_equity(state: State, rows: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Equity without haircut and maintenance requirement of the cross pools of these accounts, in atoms."""
    accounts = state.accounts
    equity = accounts.balances.array[state.settle, rows].copy()
    required = np.zeros_like(equity)
    for market in state.contracts:
        n = market.number
        held = accounts.lots.array[n, rows]
        at = np.flatnonzero((held != 0) & (accounts.isolated.array[n, rows] == 0))
        if not at.size:
            continue
        value = market.values_atoms(held[at])
        cost = accounts.cost.array[n, rows[at]]
        equity[at] += value - cost
        basis = cost if market.margin.is_at_entry else value
        beside = _sizes_beside(state, market, rows[at])
        required[at] += maintenance_atoms_array(market.margin, np.abs(basis), np.abs(held[at]), beside)
    if state.portfolio is not None:
        required = _grid_requirements(state, rows)
    for collateral in state.collateral:
        equity += worth_array(collateral, accounts.balances.array[collateral.asset, rows])
    equity += accounts.coming.array[:, rows].sum(axis=0)
    return equity, required


def collateral_values(state: State) -> Int64Array:
    """Collateral of every account, at the index without haircut, and what issuers owe it for some."""
    accounts = state.accounts
    worth = np.zeros(accounts.count, np.int64)
    for collateral in state.collateral:
        worth += worth_array(collateral, accounts.balances.array[collateral.asset, : accounts.count])
    worth += accounts.coming.array[:, : accounts.count].sum(axis=0)
    return worth


def customer_equities(state: State) -> Int64Array:
    """Wallet and contracts of every account over all its compartments, in the settlement asset.

    Collateral is left out: what its price gains is no profit of the session.
    """
    accounts = state.accounts
    count = accounts.count
    equity = accounts.balances.array[state.settle, :count].copy()
    for market in state.contracts:
        n = market.number
        equity += accounts.balances.array[state.pocket(n), :count]
        if market.prices.mark_ticks is not None:
            equity += market.values_atoms(accounts.lots.array[n, :count]) - accounts.cost.array[n, :count]
    return equity
