"""Daily settlement: what positions gained or lost moves in cash, and who is short of margin is called."""

import numpy as np
from msgspec import Struct

from zerodebt.exchange.clearing import Clearing
from zerodebt.exchange.events import CLEARING, MarginCalled, MarginCallEnded, VariationSettled
from zerodebt.exchange.instruments import value_atoms
from zerodebt.exchange.ledger import Leg
from zerodebt.exchange.margin import initial_requirement_atoms, risk_of
from zerodebt.exchange.marks import Market
from zerodebt.exchange.state import Call, Compartment, State


class Variation(Struct, frozen=True, gc=False):
    """One account's payment: positive when the settlement brings it money."""

    account: int
    pocket: int
    atoms: int
    cost_atoms: int
    slot: int


def variations(state: State, market: Market, price_ticks: int) -> list[Variation]:
    """What each holder gets or pays: the value of his position at the settlement price less its cost so far.

    Costs sum to minus the clearing account's balance and values of linear contracts to zero, so that nothing
    is left there.
    """
    found = []
    for leg in state.legs_of(market.number):
        n = leg.number
        for account in np.flatnonzero(state.accounts.lots.array[n, : state.accounts.count]).tolist():
            value = value_atoms(market.instrument, price_ticks, state.accounts.lots.cells[n][account])
            atoms = value - state.accounts.cost.cells[n][account]
            found.append(Variation(*state.compartment_of(account, n), atoms, value, n))
    return found


def settle(state: State, clearing: Clearing, market: Market, price_ticks: int) -> None:
    """Carry every position on at the settlement price; what it once cost stays as its historic entry."""
    n = market.number
    paid = variations(state, market, price_ticks)
    clearing.out.append(VariationSettled(n, price_ticks))
    legs: list[Leg] = []
    for variation in paid:
        state.accounts.cost.cells[variation.slot][variation.account] = variation.cost_atoms
        legs.append((variation.account, variation.pocket, variation.atoms))
        clearing.touch(variation.account)
    legs.append((CLEARING, state.pocket(n), -sum(variation.atoms for variation in paid)))
    clearing.post("variation", legs)
    state.settled_ticks[n] = price_ticks


def called_to_atoms(state: State, compartment: Compartment) -> int:
    """The requirement that a call asks for: maintenance, or the initial one of all positions. Rounded up."""
    if state.rules.settlement.call_to == "maintenance":
        return risk_of(state, compartment).maintenance_atoms
    return initial_requirement_atoms(state, compartment)


def call(state: State, clearing: Clearing, market: Market) -> None:
    """Call every holder short of maintenance who is not called yet; an unmet call keeps its time.

    At a mark of zero a position may require nothing: who is below zero then is called all the same. Who has
    just what would be asked for is liquidatable under some rulebooks, but misses nothing.
    """
    rules = state.rules.settlement
    if rules.call_to == "none":
        return
    count = state.accounts.count
    for account, n in (
        (account, leg.number)
        for leg in state.legs_of(market.number)
        for account in np.flatnonzero(state.accounts.lots.array[leg.number, :count]).tolist()
    ):
        compartment = state.compartment_of(account, n)
        risk = risk_of(state, compartment)
        if risk.is_safe or compartment in state.calls or not state.accounts.is_customer(account):
            continue
        atoms = called_to_atoms(state, compartment) - risk.margin_atoms
        if not atoms:
            continue
        due_ns = state.time_ns + rules.call_due_ns
        state.calls[compartment] = Call(atoms, due_ns)
        clearing.out.append(
            MarginCalled(*compartment, risk.equity_atoms, risk.maintenance_atoms, atoms, due_ns)
        )


def review_calls(state: State, clearing: Clearing) -> None:
    """Let go of the calls whose compartments have reached what they were called to."""
    for compartment in sorted(state.calls):
        risk = risk_of(state, compartment)
        required = called_to_atoms(state, compartment)
        if risk.margin_atoms >= required:
            del state.calls[compartment]
            clearing.out.append(MarginCallEnded(*compartment, risk.equity_atoms, required))


def may_be_forced(state: State, compartment: Compartment) -> bool:
    """Under margin calls only a compartment whose call is overdue; otherwise every one below maintenance.

    What is owed without positions and without a call no settlement will call for: that is a debt at once.
    """
    if state.rules.settlement.call_to == "none" or compartment in state.in_liquidation:
        return True
    called = state.calls.get(compartment)
    if called is None:
        return not state.positions_of(compartment)
    return state.time_ns >= called.due_ns
