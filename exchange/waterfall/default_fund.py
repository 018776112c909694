"""A member's default: whose money the fund's layers bring, in their order, and how large the fund must be.

The defaulter's margin is in his compartment and gone before. Then come his contribution, the house's capital,
the others' contributions pro rata, what they can be assessed for, and a share of what the winners gained.
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np

from zerodebt.exchange.accounts import BACKSTOP
from zerodebt.exchange.collateral import worth_atoms
from zerodebt.exchange.events import DEFAULT_FUND, FIRST_ACCOUNT, HOUSE, FundLayer
from zerodebt.exchange.instruments import values_atoms
from zerodebt.exchange.margin import initial_at_mark, pooled_equity, risk_of
from zerodebt.exchange.state import Compartment, State
from zerodebt.exchange.units import mul_ppb_floor, split_exact

AccountAtoms = tuple[int, int]

LAYERS: tuple[FundLayer, ...] = get_args(FundLayer)


def draws(deficit_atoms: int, payers: Sequence[AccountAtoms]) -> list[AccountAtoms]:
    """(account, atoms) of each payer (account, most_atoms), pro rata to what each can bring, never more."""
    whole = sum(most for _, most in payers)
    if not whole or deficit_atoms <= 0:
        return []
    paid = split_exact(min(deficit_atoms, whole), [most for _, most in payers])
    return [(account, atoms) for (account, _), atoms in zip(payers, paid, strict=True) if atoms]


def payers(state: State, defaulter: Compartment, layer: FundLayer) -> list[AccountAtoms]:
    """(account, most_atoms) of a layer as things stand; members are those of the moment of default."""
    account = defaulter[0]
    members = state.defaults.get(defaulter, ())
    if layer == "house_capital":
        capital = state.accounts.balances.cells[state.settle][HOUSE]
        return [(HOUSE, max(0, min(state.rules.default_fund.house_capital_atoms, capital)))]
    if layer == "variation_haircut":
        return _winners(state, account)
    if layer == "assessments":
        share = state.rules.default_fund.assessment_ppb
        others = [(m, mul_ppb_floor(atoms, share)) for m, atoms in members if m != account]
        return [(m, min(cap, _payable(state, m))) for m, cap in others]
    own = layer == "defaulter_contribution"
    held = state.contributions
    return [(m, min(atoms, held[m])) for m, atoms in members if (m == account) == own]


def is_spent(state: State, defaulter: Compartment) -> bool:
    """Is nothing left of a defaulter who is not below zero but coins that nobody buys?

    They are fewer than a lot, or worth no atom to their issuer, who owes nothing for others either. What is
    owed beside them keeps the liquidation open, but the fund has nothing to pay for: who has put up money for
    this default gets it back. Should the coins fall below what is owed, that is a default anew.
    """
    account, pocket = defaulter
    if state.positions_of(defaulter) or risk_of(state, defaulter).is_bankrupt:
        return False
    if pocket != state.settle:
        return True
    balances, coming = state.accounts.balances.cells, state.accounts.coming.cells
    return not any(row[account] for row in coming) and not any(
        worth_atoms(c, balances[c.asset][account])
        if c.rule.redemption_lag_ns
        else balances[c.asset][account] >= c.market.instrument.lot_atoms
        for c in state.collateral
    )


def source(layer: FundLayer, account: int) -> int:
    """The account that pays: contributions lie in the fund, everything else in the payer's wallet."""
    return DEFAULT_FUND if layer in ("defaulter_contribution", "contributions") else account


def _payable(state: State, account: int) -> int:
    """What a member can bring in cash without ending below zero."""
    cash = state.accounts.balances.cells[state.settle][account]
    return max(0, min(cash, risk_of(state, (account, state.settle)).equity_atoms))


def _winners(state: State, loser: int) -> list[AccountAtoms]:
    """The rulebook's share, rounded down, of what each customer's positions gained from the last settlement.

    A price of the auction is no gain of the day: positions count from the settlement price to the mark.
    """
    share = state.rules.default_fund.variation_haircut_ppb
    accounts = state.accounts
    if not share:
        return []
    gain = np.zeros(accounts.count, np.int64)
    for n, settled in state.settled_ticks.items():
        market = state.markets[n]
        lots = accounts.lots.array[n, : accounts.count]
        gain += market.values_atoms(lots) - values_atoms(market.instrument, settled, lots)
    rows = np.flatnonzero(gain > 0)
    rows = rows[(rows >= FIRST_ACCOUNT) & (rows != loser) & (accounts.vault.array[0, rows] != BACKSTOP)]
    equity = pooled_equity(state, rows)[0]
    return [
        (row, max(0, min(mul_ppb_floor(won, share), left)))
        for row, won, left in zip(rows.tolist(), gain[rows].tolist(), equity.tolist(), strict=True)
    ]


def stressed_losses(state: State, moves_ticks: Sequence[int]) -> dict[int, int]:
    """What each holder would lose beyond his initial requirement if every mark moved so, at least zero."""
    accounts = state.accounts
    beyond: dict[int, int] = {}
    for market in state.contracts:
        n = market.number
        moved = market.mark_ticks + moves_ticks[market.instrument_number]
        for account in np.flatnonzero(accounts.lots.array[n, : accounts.count]).tolist():
            lots = accounts.lots.cells[n][account]
            margin = initial_at_mark(state, market, abs(lots), accounts.leverage.cells[n][account])
            beyond[account] = beyond.get(account, 0) + market.gain_atoms(lots, moved) - margin
    return {account: max(0, loss) for account, loss in sorted(beyond.items()) if account >= FIRST_ACCOUNT}


def required_atoms(losses: Sequence[int], cover: int) -> int:
    """The fund that bears the `cover` largest stressed losses at once (Cover 2: EMIR, CPMI-IOSCO)."""
    return sum(sorted(losses, reverse=True)[:cover])
