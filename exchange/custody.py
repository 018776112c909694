"""What of the settlement asset may leave while debts stand that nobody paid.

A hole is what the deficit account owes: no rule fills it again. Amounts are atoms of the settlement asset.
"""

from msgspec import Struct

from zerodebt.exchange.events import DEFICIT, EXTERNAL
from zerodebt.exchange.state import State
from zerodebt.exchange.units import div_floor


class Custody(Struct, frozen=True):
    """What the venue holds beside a hole, and what has left since the hole arose.

    left_atoms  withdrawn by everybody; own_atoms: by the account that asks
    is_shut     a deficit is open: who will pay for it is not known yet
    """

    held_atoms: int = 0
    hole_atoms: int = 0
    left_atoms: int = 0
    own_atoms: int = 0
    is_shut: bool = False


def custody_of(state: State, account: int) -> Custody:
    """As it stands for a withdrawal of this account."""
    balances = state.accounts.balances.cells[state.settle]
    left = state.left_beside_hole
    return Custody(
        -balances[EXTERNAL],
        -balances[DEFICIT],
        sum(left.values()),
        left.get(account, 0),
        bool(state.open_deficits),
    )


def share_atoms(custody: Custody, most_atoms: int) -> int:
    """What of `most_atoms`, which the account's margin sets free, may leave now.

    Beside a hole everybody has the same share of what he takes and has taken since it arose:
    floor((most + own) * (held + left) / (held + left + hole)) - own. So whoever asks again gets nothing more,
    and who comes later keeps his share. A hole that grew after some had left leaves less than that for the
    others, and never more than is held. Rounded down, for those who come later. Properties WFALL-06, ATK-09.
    """
    if custody.is_shut:
        return 0
    if custody.hole_atoms <= 0:
        return most_atoms
    whole = custody.held_atoms + custody.left_atoms
    share = div_floor((most_atoms + custody.own_atoms) * whole, whole + custody.hole_atoms)
    return max(0, min(share - custody.own_atoms, custody.held_atoms))
