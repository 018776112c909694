"""The lending pool's arithmetic: what a share is worth, what borrowing costs, how a loss is written down.

Suppliers hold shares; what one share is worth in atoms is an integer index in units of 1 / INDEX_ONE atoms.
Shares, their worth, the growth of the index and its cut are rounded so that claims are never more than the
pool has: what that leaves stays in the pool beyond all claims and is nobody's. Utilisation and rate are
rounded down and the interest of each borrower up, by less than an atom: a borrower may gain on the rate what
he loses on the atom. The pool's part of the interest is rounded down, and the house, which gets the rest,
gains less than an atom.

Three rules here are our own choice, of which no venue is the source: at each charge the interest is reckoned
on what is owed at that instant, for all of the time since the last one; it is split between pool and house by
what each of them finances then; and a loss falls on the wallet's whole debt, suppliers before the house where
the waterfall names `lenders` before `house`, not by these parts.
"""

from msgspec import Struct, field

from zerodebt.exchange.rules import LendingRules
from zerodebt.exchange.units import DAY_NS, PPB, div_ceil, div_floor

INDEX_ONE = 10**15
INDEX_MAX = 2**62
"""The most that a share is worth, 4611 atoms: the index stays within 64 bits."""
SHARES_MAX = 2**62
YEAR_NS = 365 * DAY_NS


class LendingPool(Struct):
    """Who holds how many shares, and the index.

    index    what INDEX_ONE shares are worth in atoms
    next_ns  when interest is charged next; 0 before the first index
    """

    index: int = INDEX_ONE
    shares: dict[int, int] = field(default_factory=dict)
    next_ns: int = 0

    @property
    def shares_sum(self) -> int:
        return sum(self.shares.values())

    @property
    def claims_atoms(self) -> int:
        """What all shares together are worth, rounded down; never more than the pool has."""
        return claim_atoms(self.shares_sum, self.index)

    def add(self, account: int, shares: int) -> None:
        """Give an account shares, or (negative) take them away."""
        held = self.shares.get(account, 0) + shares
        assert held >= 0, f"account {account} would have {held} shares"
        if held:
            self.shares[account] = held
        else:
            self.shares.pop(account, None)

    def earn(self, atoms: int) -> None:
        """Interest raises the index, no further than INDEX_MAX.

        What is beyond stays in the pool as nobody's: a command that time makes due is not refused for it.
        """
        self.index = min(INDEX_MAX, self.index + index_growth(atoms, self.shares_sum))

    def write_down(self, atoms: int) -> None:
        """A loss lowers what every share is worth; shares that are worth nothing are void."""
        assert 0 < atoms <= self.claims_atoms
        self.index -= index_cut(self.index, atoms, self.claims_atoms)
        if not self.claims_atoms:
            self.shares.clear()
            self.index = INDEX_ONE


def shares_of(atoms: int, index: int) -> int:
    """Shares for what is supplied, rounded down against who supplies: less than a share is nobody's."""
    return div_floor(atoms * INDEX_ONE, index)


def shares_bringing(atoms: int, index: int) -> int:
    """The fewest shares that are worth at least `atoms`: rounded up, their owner gives less than one more."""
    return div_ceil(atoms * INDEX_ONE, index)


def claim_atoms(shares: int, index: int) -> int:
    """What shares are worth, rounded down against their owner: less than an atom is nobody's."""
    return div_floor(shares * index, INDEX_ONE)


def index_growth(interest_atoms: int, shares: int) -> int:
    """What interest adds to the index, rounded down against all suppliers; nothing where nobody is one."""
    return div_floor(interest_atoms * INDEX_ONE, shares) if shares else 0


def index_cut(index: int, loss_atoms: int, deposits_atoms: int) -> int:
    """What a loss takes off the index, in whatever unit it has.

    Rounded up against all suppliers, so that claims fall by all of it; what they fall by beyond is nobody's.

    Source: Drift protocol v2, math/liquidation, cumulative deposit interest delta of a bankruptcy.
    """
    return div_ceil(index * loss_atoms, deposits_atoms) if deposits_atoms else 0


def utilisation_ppb(owed_atoms: int, pool_atoms: int) -> int:
    """Share of the pool that is lent; all of it where more is owed than it has.

    Rounded down: the rate is no higher than by the exact share, and borrowers gain.
    """
    if owed_atoms >= pool_atoms:
        return PPB if owed_atoms else 0
    return div_floor(owed_atoms * PPB, pool_atoms)


def annual_rate_ppb(rules: LendingRules, used_ppb: int) -> int:
    """Rate of a year at this utilisation, rounded down at each slope: borrowers gain less than 2 ppb.

    The form is the kinked rate of Compound and Aave; its figures are the rulebook's.
    """
    below = div_floor(rules.slope1_ppb * min(used_ppb, rules.kink_ppb), rules.kink_ppb)
    above = div_floor(rules.slope2_ppb * max(0, used_ppb - rules.kink_ppb), PPB - rules.kink_ppb)
    return rules.base_ppb + below + above


def interest_atoms(owed_atoms: int, annual_ppb: int, elapsed_ns: int) -> int:
    """What a borrower pays for a time at a simple rate, rounded up: he loses less than an atom."""
    return div_ceil(owed_atoms * annual_ppb * elapsed_ns, PPB * YEAR_NS)


def earned_atoms(paid_atoms: int, lent_atoms: int, owed_atoms: int) -> int:
    """The pool's part of what all borrowers paid: as much as it finances of what they owe.

    Rounded down: the house, which gets the rest, gains less than an atom. The split is our choice.
    """
    return div_floor(paid_atoms * lent_atoms, owed_atoms) if owed_atoms else 0
