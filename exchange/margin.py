"""Initial and maintenance requirement, equity, and what may be withdrawn."""

import numpy as np
from msgspec import Struct

from zerodebt.exchange.accounts import BACKSTOP
from zerodebt.exchange.collateral import promised_atoms
from zerodebt.exchange.instruments import initial_atoms, maintenance_atoms, maintenance_atoms_array
from zerodebt.exchange.marks import Market
from zerodebt.exchange.state import Compartment, State
from zerodebt.exchange.units import INT64_MAX, PPB, Int64Array, mul_ppb_ceil

_ROUNDING_SLACK_ATOMS = 64
_NEVER = INT64_MAX // 2


class Risk(Struct, frozen=True, gc=False):
    """Where a compartment stands at the marks. Equity counts balances and profit without haircut."""

    equity_atoms: int
    maintenance_atoms: int

    @property
    def is_liquidatable(self) -> bool:
        """Equity equal to the requirement is safe, one atom less is not. MARG-08."""
        return self.equity_atoms < self.maintenance_atoms

    @property
    def is_bankrupt(self) -> bool:
        return self.equity_atoms < 0

    def is_below(self, share_ppb: int) -> bool:
        """Is equity below this share of the requirement?"""
        return self.equity_atoms * PPB < self.maintenance_atoms * share_ppb

    @property
    def health_ppb(self) -> int:
        """Equity over requirement, for ranking the most underwater first."""
        return self.equity_atoms * PPB // max(1, self.maintenance_atoms)


def risk_of(state: State, compartment: Compartment) -> Risk:
    """Equity and maintenance requirement of a compartment, exact."""
    account, pocket = compartment
    accounts = state.accounts
    equity = accounts.balances.cells[pocket][account]
    required = 0
    for market in state.contracts_of(compartment):
        lots = accounts.lots.cells[market.number][account]
        if lots:
            value = market.value_atoms(lots)
            cost = accounts.cost.cells[market.number][account]
            equity += value - cost
            basis = cost if market.margin.is_at_entry else value
            required += maintenance_atoms(market.margin, abs(basis), abs(lots))
    return Risk(equity, required)


class Found(Struct, frozen=True, gc=False):
    compartment: Compartment
    risk: Risk


def find_liquidatable(state: State) -> list[Found]:
    """Compartments below their requirement, the most underwater first, in one vectorised pass.

    Only accounts that the market's moves since their last look could have reached, or that changed, are read;
    each gets a new reading of the move meter up to which it cannot be liquidatable: with X its excess over
    the requirement and G the most that it loses for a move of 100 %, a move of X/G is safe.
    """
    accounts = state.accounts
    recheck = accounts.recheck_at.array[0, : accounts.count]
    rows = np.flatnonzero(recheck < state.counters.meter_ppb)
    rows = rows[accounts.vault.array[0, rows] != BACKSTOP]
    found: list[Found] = []
    equity = accounts.balances.array[state.settle, rows].copy()
    required = np.zeros_like(equity)
    weight = np.zeros_like(equity)
    safe = np.full_like(equity, _NEVER)
    unmetered = np.zeros(equity.shape, np.bool_)
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
        maintenance = maintenance_atoms_array(market.margin, np.abs(basis), np.abs(lots))
        per_move = np.abs(lots) * (market.tick_value * market.prices.meter_ticks)
        per_move += (per_move // market.margin.denominator + 1) * market.margin.numerators[-1]
        isolated = accounts.isolated.array[n, rows[at]] != 0
        alone, pooled = at[isolated], at[~isolated]
        equity[pooled] += profit[~isolated]
        required[pooled] += maintenance[~isolated]
        weight[pooled] += per_move[~isolated]
        own = margin[alone] + profit[isolated]
        own_required = maintenance[isolated]
        safe[alone] = np.minimum(safe[alone], _safe_move_ppb(own - own_required, per_move[isolated]))
        if not market.margin.is_metered:
            unmetered[at] = True
        for k in np.flatnonzero(own < own_required).tolist():
            risk = Risk(int(own[k]), int(own_required[k]))
            found.append(Found((int(rows[alone[k]]), state.pocket(n)), risk))
    safe = np.minimum(safe, _safe_move_ppb(equity - required, weight))
    found += [
        Found((int(rows[k]), state.settle), Risk(int(equity[k]), int(required[k])))
        for k in np.flatnonzero(equity < required).tolist()
    ]
    safe[unmetered] = -1
    accounts.recheck_at.array[0, rows] = state.counters.meter_ppb + safe
    found.sort(key=lambda f: (f.risk.health_ppb, f.compartment))
    return found


def _safe_move_ppb(excess: Int64Array, per_move: Int64Array) -> Int64Array:
    """Largest move (ppb, rounded down) that leaves `excess` at zero or more; -1 where there is none left."""
    spare = np.maximum(excess - _ROUNDING_SLACK_ATOMS, 0)
    small = np.minimum(spare, 9 * PPB) * PPB // np.maximum(per_move, 1)
    large = spare // (per_move // PPB + 1)
    safe = np.where(per_move == 0, _NEVER, np.where(spare < 9 * PPB, small, large))
    return np.where(
        excess < _ROUNDING_SLACK_ATOMS, np.where((per_move == 0) & (excess >= 0), _NEVER, -1), safe
    )


class Change(Struct, frozen=True, gc=False):
    """What an order would do to its account in one instrument, for judging before it is done.

    fill_lots     signed lots that would trade at once
    wallet_atoms  what the wallet would gain or lose by it: profit against the mark less fees
    buy_lots, sell_lots, buy_value, sell_value  what would rest in addition
    """

    instrument: int = -1
    fill_lots: int = 0
    wallet_atoms: int = 0
    buy_lots: int = 0
    sell_lots: int = 0
    buy_value: int = 0
    sell_value: int = 0


NO_CHANGE = Change()


def initial_excess_atoms(state: State, account: int, change: Change = NO_CHANGE) -> int:
    """Equity of the cross pool less its initial requirement, all resting orders at their worst.

    Worst is the larger of position + buys and position - sells, at the chosen leverage but never less than
    the tier asks for, plus what the orders would lose against the mark and their maker fees.
    Resting orders of an isolated instrument need their margin from the wallet. Property MARG-02.
    """
    accounts = state.accounts
    excess = accounts.balances.cells[state.settle][account] + change.wallet_atoms
    excess -= promised_atoms(accounts, state.markets, account, state.settle)
    maker_ppb = max(0, state.rules.fees.maker_ppb)
    lots_cells, buy_cells, sell_cells = (
        accounts.lots.cells,
        accounts.buy_lots.cells,
        accounts.sell_lots.cells,
    )
    for market in state.contracts:
        n = market.number
        lots = held = lots_cells[n][account]
        buys = buy_cells[n][account]
        sells = sell_cells[n][account]
        if n == change.instrument:
            held += change.fill_lots
            buys += change.buy_lots
            sells += change.sell_lots
        if not (lots or held or buys or sells):
            continue
        worst = max(abs(held + buys), abs(held - sells))
        if accounts.isolated.cells[n][account]:
            worst -= abs(held)
        else:
            excess += market.value_atoms(lots) - accounts.cost.cells[n][account]
        excess -= initial_at_mark(state, market, worst, accounts.leverage.cells[n][account])
        if buys or sells:
            buy_value = accounts.buy_value.cells[n][account]
            sell_value = accounts.sell_value.cells[n][account]
            if n == change.instrument:
                buy_value += change.buy_value
                sell_value += change.sell_value
            excess -= max(0, buy_value - market.value_atoms(buys))
            excess -= max(0, market.value_atoms(sells) - sell_value)
            excess -= mul_ppb_ceil(abs(buy_value) + abs(sell_value), maker_ppb)
    return excess


def maintenance_at_mark(market: Market, lots: int) -> int:
    """Maintenance requirement of signed lots at the mark, rounded up."""
    return maintenance_atoms(market.margin, abs(market.value_atoms(lots)), abs(lots))


def maintenance_of(state: State, market: Market, account: int, lots: int) -> int:
    """Maintenance requirement of an account's position if it were of these signed lots, rounded up.

    Where the requirement is a share of what the lots cost, lots that remain keep their share of the cost and
    lots that are added cost the mark. Source: BitMEX docs, Isolated and cross margin.
    """
    if not market.margin.is_at_entry:
        return maintenance_at_mark(market, lots)
    held = state.accounts.lots.cells[market.number][account]
    cost = state.accounts.cost.cells[market.number][account]
    if lots * held <= 0:
        basis = market.value_atoms(lots)
    elif abs(lots) <= abs(held):
        basis = cost - cost * (held - lots) // held
    else:
        basis = cost + market.value_atoms(lots - held)
    return maintenance_atoms(market.margin, abs(basis), abs(lots))


def initial_at_mark(state: State, market: Market, size_lots: int, leverage: int) -> int:
    """Initial requirement of a position at the mark, rounded up; nothing for a size that is not above 0."""
    if size_lots <= 0:
        return 0
    table = market.margin
    open_interest = 0
    if table.open_interest_high_atoms:
        open_interest = abs(market.value_atoms(state.open_interest[market.number]))
    return initial_atoms(table, abs(market.value_atoms(size_lots)), size_lots, leverage, open_interest)


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
    excess = initial_excess_atoms(state, account)
    share = state.rules.margin.transfer_min_ppb
    if share:
        equity = risk_of(state, (account, state.settle)).equity_atoms
        gross = 0
        for market in state.positions_of((account, state.settle)):
            gross += abs(market.value_atoms(accounts.lots.cells[market.number][account]))
        excess = min(excess, equity - mul_ppb_ceil(gross, share))
    return max(0, min(cash, excess))


def pooled_equity(state: State, rows: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Equity and maintenance requirement of the cross pools of these accounts, in atoms."""
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
        required[at] += maintenance_atoms_array(market.margin, np.abs(basis), np.abs(held[at]))
    return equity, required


def customer_equities(state: State) -> Int64Array:
    """Equity of every account over all its compartments, in the settlement asset."""
    accounts = state.accounts
    count = accounts.count
    equity = accounts.balances.array[state.settle, :count].copy()
    for market in state.contracts:
        n = market.number
        equity += accounts.balances.array[state.pocket(n), :count]
        if market.prices.mark_ticks is not None:
            equity += market.values_atoms(accounts.lots.array[n, :count]) - accounts.cost.array[n, :count]
    return equity
