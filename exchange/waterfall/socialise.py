"""Socialised loss: everybody in a class pays in proportion to a base, and nobody more than he can bear."""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from zerodebt.exchange.accounts import BACKSTOP
from zerodebt.exchange.events import FIRST_ACCOUNT
from zerodebt.exchange.margin import customer_equities, pooled_equity, risk_of
from zerodebt.exchange.marks import Market
from zerodebt.exchange.state import Compartment, State
from zerodebt.exchange.units import split_exact


class Payer(Struct, frozen=True, gc=False):
    """One who shares a loss.

    base_atoms  what shares are in proportion to: what was won, or the value of open lots; None: no class
    most_atoms  what he pays at most
    """

    account: int
    pocket: int
    base_atoms: int | None = None
    most_atoms: int = 0


class PayerShare(Struct, frozen=True, gc=False):
    payer: Payer
    atoms: int


def shares(deficit_atoms: int, payers: Sequence[Payer]) -> list[PayerShare]:
    """Each payer's share of min(deficit, all bases) by base, cut at what he pays at most. WFALL-08.

    What a cut leaves is not shared again. All shares over all bases are the rate: a session's tax rate, where
    the bases are gains.
    """
    bases = [payer.base_atoms or 0 for payer in payers]
    whole = sum(bases)
    if not whole:
        return []
    split = split_exact(min(deficit_atoms, whole), bases)
    paid = [
        PayerShare(payer, min(atoms, payer.most_atoms)) for payer, atoms in zip(payers, split, strict=True)
    ]
    return [share for share in paid if share.atoms > 0]


def session_winners(state: State, loser: int) -> list[Payer]:
    """Customers with a gain in this session, by what of it their cross equity reaches to give back.

    Source: Deribit, Insurance fund and socialised losses.
    """
    accounts = state.accounts
    equity = customer_equities(state)
    everybody = np.arange(equity.size)
    gain = equity - accounts.session_base.array[0, : equity.size]
    gain = np.minimum(np.minimum(gain, equity), np.maximum(pooled_equity(state, everybody)[0], 0))
    gain = np.where(accounts.vault.array[0, : equity.size] != BACKSTOP, gain, 0)
    rows = [row for row in np.flatnonzero(gain > 0).tolist() if row >= FIRST_ACCOUNT and row != loser]
    return [Payer(row, state.settle, int(gain[row]), int(gain[row])) for row in rows]


def holders(state: State, loser: Compartment, markets: Sequence[Market]) -> list[Payer]:
    """All open positions, long and short, in the markets where a deficit arose, by their value at the mark.

    In one instrument this is the same for every lot. A compartment pays at most its equity. Source: Drift v2
    docs, Insurance fund: perpetual bankruptcies.
    """
    accounts = state.accounts
    values: dict[Compartment, int] = {}
    numbers = dict.fromkeys(market.instrument_number for market in markets)
    for market in (leg for number in numbers for leg in state.legs_of(number)):
        lots = accounts.lots.array[market.number, : accounts.count]
        for row in np.flatnonzero(lots).tolist():
            where = state.compartment_of(row, market.number)
            if row >= FIRST_ACCOUNT and where != loser:
                values[where] = values.get(where, 0) + abs(market.value_atoms(int(lots[row])))
    return [
        Payer(*where, value, max(0, risk_of(state, where).equity_atoms)) for where, value in values.items()
    ]


def settled_winners(state: State, loser: int, profits: Mapping[int, int]) -> list[Payer]:
    """Who made a profit at the settlement at which the loser made his loss, as far as his cross pool reaches.

    profits  atoms by account, against the historic entry
    """
    if profits.get(loser, 0) >= 0:
        return []
    winners = [(who, profit) for who, profit in profits.items() if profit > 0 and who >= FIRST_ACCOUNT]
    wallets = [risk_of(state, (who, state.settle)).equity_atoms for who, _ in winners]
    return [
        Payer(who, state.settle, profit, max(0, equity))
        for (who, profit), equity in zip(winners, wallets, strict=True)
    ]
