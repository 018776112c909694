"""Compartments below zero at rest points, and what of their debts nobody paid."""

from zerodebt.exchange.audit.arithmetic import split
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.report import OpenDeficit, Residual
from zerodebt.exchange.events import (
    DEFICIT,
    FIRST_ACCOUNT,
    HOUSE,
    INSURANCE,
    DeficitOpened,
)


class Deficit:
    """A deficit between its opening and its closing.

    floored  went to the deficit account
    housed   the house has paid
    pooled   what pools of the fund have paid, by pocket
    shared   what of the shares of those who share a loss is still to be paid, by stage
    dust     atoms that parts of positions may be worth more or less than the whole ones
    """

    __slots__ = (
        "account",
        "atoms",
        "brought",
        "dust",
        "floored",
        "housed",
        "number",
        "origins",
        "pocket",
        "pooled",
        "shared",
        "transfers",
    )

    def __init__(self, event: DeficitOpened) -> None:
        self.number = event.deficit_id
        self.account = event.account
        self.pocket = event.pocket
        self.atoms = event.atoms
        self.origins = event.origins
        self.brought = 0
        self.floored = 0
        self.dust = 0
        self.housed = 0
        self.transfers: dict[int, int] = {}
        self.pooled: dict[int, int] = {}
        self.shared: dict[str, dict[Compartment, int]] = {}

    @property
    def key(self) -> Compartment:
        return self.account, self.pocket


class Debts:
    """Every debt that was seen at a rest point: how large, how old, and what became of it."""

    def __init__(self, notes: Notes, holdings: Holdings) -> None:
        self._notes = notes
        self._holdings = holdings
        self._find = notes.find
        self._settle = holdings.settle
        self.standing: dict[Compartment, list[int]] = {}
        self.largest: OpenDeficit | None = None
        self.recovered_atoms = self.absorber_atoms = self.settled_later_atoms = 0
        self.hidden_atoms = 0
        self._answered: set[Compartment] = set()
        self._closed: list[tuple[Deficit, int]] = []
        self._carried: dict[Compartment, int] = {}
        self._arose: dict[Compartment, int] = {}
        self._floored: dict[Compartment, int] = {}

    def look_at_account(self, account: int) -> None:
        if account < FIRST_ACCOUNT and account not in (INSURANCE, HOUSE):
            return
        holdings, settle = self._holdings, self._settle
        self.look_at(account, settle, holdings.equity(account, settle))
        for asset in holdings.other_assets:
            atoms = holdings.balances[asset][account]
            if atoms < 0:
                self._find("(e)", f"account {account} holds {atoms} atoms of asset {asset}")
        for pocket in sorted(holdings.alone.get(account, ())):
            self.look_at(account, pocket, holdings.equity(account, pocket))

    def look_at(self, account: int, pocket: int, equity: int) -> None:
        """Below zero at a rest point is a debt: remember its largest size and since when it stands."""
        key = (account, pocket)
        debt = self.standing.get(key)
        if equity >= 0:
            if debt is not None:
                self._end(key, debt)
            return
        if debt is None:
            debt = self.standing[key] = [self._notes.seq, self._notes.time_ns, 0]
        if -equity > debt[2]:
            debt[2] = -equity
            if self._holdings.is_protected(account):
                if self.largest is None or debt[2] > self.largest.atoms:
                    self.largest = OpenDeficit(account, pocket, debt[2], debt[0], 0)
            else:
                self.absorber_atoms = max(self.absorber_atoms, debt[2])

    def _end(self, key: Compartment, debt: list[int]) -> None:
        del self.standing[key]
        self._age_largest(key, debt)
        carried = self._carried.pop(key, 0)
        if not self._holdings.is_protected(key[0]):
            return
        if key in self._answered:
            self.settled_later_atoms += debt[2]
            return
        fresh = max(0, debt[2] - carried)
        self.recovered_atoms += debt[2]
        into = (self._holdings.pocket_assets[key[1]], key[0])
        self._arose[into] = self._arose.get(into, 0) + fresh

    def _age_largest(self, key: Compartment, debt: list[int]) -> None:
        largest = self.largest
        if largest is not None and (largest.account, largest.pocket, largest.seq) == (*key, debt[0]):
            self.largest = OpenDeficit(*key, largest.atoms, largest.seq, self._notes.time_ns - debt[1])

    def rest(self) -> None:
        """The command is over: what is left of its deficits is booked."""
        if self._closed:
            self._book_residuals()
            self._answered.clear()

    def age(self) -> None:
        """The run is over: the largest debt is as old as it stands."""
        for key, debt in self.standing.items():
            self._age_largest(key, debt)

    def close(self, deficit: Deficit, residual_atoms: int) -> None:
        """The waterfall is done with a deficit; what it left counts when it stands at the rest point."""
        self._answered.add((deficit.account, deficit.pocket))
        self._closed.append((deficit, residual_atoms))

    def _book_residuals(self) -> None:
        """A residual counts when it still stands at the rest point, and only what was not counted before."""
        for deficit, residual in self._closed:
            key = (deficit.account, deficit.pocket)
            if deficit.floored:
                standing = deficit.floored
                self._spread(self._floored, deficit, standing)
                fresh = max(0, standing - self._carried.pop(key, 0))
            else:
                standing = min(residual, max(0, -self._holdings.equity(*key)))
                fresh = max(0, standing - self._carried.get(key, 0))
                if standing:
                    self._carried[key] = self._carried.get(key, 0) + fresh
            self._spread(self._arose, deficit, fresh)
        self._closed.clear()

    def _spread(self, into: dict[Compartment, int], deficit: Deficit, atoms: int) -> None:
        """Add atoms by (asset, origin), in proportion to the deficit's origins."""
        if not atoms:
            return
        asset = self._holdings.pocket_assets[deficit.pocket]
        origins = deficit.origins
        weights = [share for _, share in origins]
        if not any(weights):
            origins, weights = ((deficit.account, 1),), [1]
        for (origin, _), share in zip(origins, split(atoms, weights), strict=True):
            into[asset, origin] = into.get((asset, origin), 0) + share

    def residuals(self) -> tuple[Residual, ...]:
        """What the list left of deficits, and the debts that stand at the end without one."""
        arose, left = dict(self._arose), dict(self._floored)
        for account, pocket in self.standing:
            debt = max(0, -self._holdings.equity(account, pocket))
            for origin, share in self._holdings.origins(account, pocket, debt):
                key = (self._holdings.pocket_assets[pocket], origin)
                left[key] = left.get(key, 0) + share
                arose[key] = arose.get(key, 0) + share
            if carried := min(debt, self._carried.get((account, pocket), 0)):
                for origin, share in self._holdings.origins(account, pocket, carried):
                    arose[self._holdings.pocket_assets[pocket], origin] -= share
        settle = self._settle
        hole = -self._holdings.balances[settle][DEFICIT] - sum(self._floored.values())
        if hole > 0:
            left[settle, DEFICIT] = left.get((settle, DEFICIT), 0) + hole
            arose[settle, DEFICIT] = arose.get((settle, DEFICIT), 0) + hole
        if self.hidden_atoms:
            arose[self._settle, -1] = self.hidden_atoms
        return tuple(
            Residual(asset, origin, arose.get((asset, origin), 0), left.get((asset, origin), 0))
            for asset, origin in sorted(arose.keys() | left.keys())
            if arose.get((asset, origin)) or left.get((asset, origin))
        )
