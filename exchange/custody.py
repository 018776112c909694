"""What of the settlement asset may leave while debts stand that nobody paid.

A hole is what the deficit account owes and nobody has borne yet: no rule fills it again, and who leaves bears
his part of it, on the house account `unpaid`. Amounts are atoms of the settlement asset.
"""

from msgspec import Struct

from zerodebt.exchange.events import DEFICIT, EXTERNAL, UNPAID
from zerodebt.exchange.margin import open_markets, stale_market, withdrawable_atoms
from zerodebt.exchange.state import State
from zerodebt.exchange.units import div_ceil, div_floor


class Custody(Struct, frozen=True):
    """What the venue holds, and what is missing beside it.

    is_shut    a deficit is open: who will pay for it is not known yet
    is_shared  nobody takes more than his share while something is missing; otherwise first come, first served
    """

    held_atoms: int
    hole_atoms: int
    is_shut: bool = False
    is_shared: bool = True


def custody_of(state: State) -> Custody:
    """As it stands for the next withdrawal."""
    balances = state.accounts.balances.cells[state.settle]
    return Custody(
        -balances[EXTERNAL],
        -balances[DEFICIT] - balances[UNPAID],
        bool(state.open_deficits),
        state.rules.margin.withdrawals == "share",
    )


def may_leave_atoms(state: State, account: int) -> int:
    """Settlement asset that an account may withdraw now: what its margin sets free, or its share of that.

    Nothing leaves in liquidation, nor while the index of an open position is too old.
    """
    if state.is_in_liquidation(account) or stale_market(state, open_markets(state, account)) is not None:
        return 0
    return share_atoms(custody_of(state), withdrawable_atoms(state, account))


def share_atoms(custody: Custody, most_atoms: int) -> int:
    """What of `most_atoms`, which the account's margin sets free, may leave now.

    Beside a hole floor(most * held / (held + hole)), and nothing while a deficit is open. Where the rulebook
    lets withdrawals run, custody alone bounds them. Rounded down, for those who come later. What debtors owe
    is a claim of the venue and no money: never does more leave than is there. Properties WFALL-06, ATK-09.
    """
    if custody.is_shared and custody.is_shut:
        return 0
    if custody.is_shared and custody.hole_atoms:
        most_atoms = div_floor(most_atoms * custody.held_atoms, custody.held_atoms + custody.hole_atoms)
    return min(most_atoms, custody.held_atoms)


def left_behind_atoms(custody: Custody, taken_atoms: int) -> int:
    """Claim that goes unpaid with `taken_atoms`, at most a share: ceil(taken * hole / held).

    What is taken pays a claim of taken * (held + hole) / held. The claim leaves with its payment, so that
    held / (held + hole) stays what it was for the others, whoever leaves first and in however many parts.
    Rounded up, for those who come later.
    """
    if not custody.is_shared or not custody.hole_atoms:
        return 0
    return div_ceil(taken_atoms * custody.hole_atoms, custody.held_atoms)
