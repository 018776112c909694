"""The lending pool of the settlement asset: what it has lent, what can be redeemed, what it bears of a debt.

A wallet below zero is a borrowing. The pool finances all of them together as far as its money reaches, the
house what lies beyond; what is lent cannot be redeemed.
"""

import numpy as np

from zerodebt.exchange.events import FIRST_ACCOUNT, LENDING
from zerodebt.exchange.lending import LendingPool, claim_atoms, shares_bringing, shares_of
from zerodebt.exchange.state import Compartment, State


def pool_atoms(state: State) -> int:
    """What the pool has, lent or not."""
    return state.accounts.balances.cells[state.settle][LENDING]


def borrowers(state: State) -> list[tuple[int, int]]:
    """(account, owed atoms) of every wallet below zero; the house's own are no borrowings."""
    wallets = state.accounts.balances.array[state.settle, : state.accounts.count]
    rows = np.flatnonzero(wallets < 0)
    rows = rows[rows >= FIRST_ACCOUNT]
    return list(zip(rows.tolist(), (-wallets[rows]).tolist(), strict=True))


def owed_atoms(state: State) -> int:
    return sum(owed for _, owed in borrowers(state))


def cash_atoms(state: State) -> int:
    """What of the pool is not lent."""
    return max(0, pool_atoms(state) - owed_atoms(state))


def redeemable_shares(state: State, pool: LendingPool, account: int) -> int:
    """The account's shares, as far as there is cash for them."""
    return min(pool.shares.get(account, 0), shares_of(cash_atoms(state), pool.index))


def shares_for_debt(state: State, pool: LendingPool, account: int, deficit_atoms: int) -> int:
    """What a bankrupt account redeems before anybody else pays for it; nothing that is worth no atom.

    What it gets pays back what it borrowed itself, so that only what others owe is out of its reach.
    """
    own = max(0, -state.accounts.balances.cells[state.settle][account])
    cash = max(0, pool_atoms(state) - owed_atoms(state) + own)
    held = min(pool.shares.get(account, 0), shares_of(cash, pool.index))
    shares = min(held, shares_bringing(deficit_atoms, pool.index))
    return shares if claim_atoms(shares, pool.index) else 0


def bearable_atoms(state: State, debtor: Compartment) -> int:
    """What suppliers bear of a compartment's deficit: what its wallet owes, at most all that they have.

    An isolated position owes nothing to the pool, and the house's accounts borrow nothing from it.
    """
    account, pocket = debtor
    if state.lending is None or pocket != state.settle or account < FIRST_ACCOUNT:
        return 0
    owed = -state.accounts.balances.cells[state.settle][account]
    return max(0, min(owed, state.lending.claims_atoms))
