"""Who pays for a deficit in cash."""

from zerodebt.exchange.audit.claims import Claims
from zerodebt.exchange.audit.debts import Deficit
from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.forms import payers
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.pools import Pools
from zerodebt.exchange.events import (
    INSURANCE,
    ReceivableBooked,
    StagePaid,
)
from zerodebt.exchange.rules import VenueRules


class Payments:
    """Payments by stage and payer; what a deleveraging gives is kept apart."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        claims: Claims,
        pools: Pools,
        deficits: Deficits,
    ) -> None:
        self._rules = rules
        self._claims = claims
        self._pools = pools
        self._holdings = holdings
        self._deficits = deficits
        self._find = notes.find
        self._settle = holdings.settle
        self._markets = holdings.markets
        self._assets = holdings.assets
        self.paid: dict[tuple[str, int], int] = {}
        self.received: dict[tuple[str, int], int] = {}
        self.receivables: dict[int, int] = {}
        self._bases: payers.Bases = {}
        self._unstated: dict[tuple[str, int], dict[int, int]] = {}

    def take(self, stage: str, seen: dict[Compartment, int]) -> None:
        deficit = self._deficits.current
        for (account, pocket), atoms in seen.items():
            if atoms > 0:
                if deficit is None or (account, pocket) != (deficit.account, deficit.pocket):
                    self._find(
                        "(d)",
                        f"the {stage} pays {atoms} atoms to account {account}, which has no open deficit",
                    )
                elif self._holdings.equity(account, pocket) > 0:
                    self._find(
                        "(d)", f"the {stage} pays {atoms} atoms, more than the deficit of account {account}"
                    )
                continue
            if stage == "insurance" and account == INSURANCE and self._holdings.money(account, pocket) < 0:
                self._find("(c)", f"pocket {pocket} of the fund pays {-atoms} atoms that it does not have")
            if not self._pays_from(stage, account, pocket):
                self._find(
                    "(f)", f"the {stage} takes {-atoms} atoms from pocket {pocket} of account {account}"
                )
            is_sharing = stage in payers.SHARED and (account, pocket) in self._bases
            if not is_sharing and not payers.is_payer(stage, self._holdings, account):
                self._find(
                    "(f)", f"account {account} pays {-atoms} atoms in stage {stage}, which does not name it"
                )
            unstated = self._unstated.setdefault((stage, account), {})
            unstated[pocket] = unstated.get(pocket, 0) - atoms

    def take_fill(self, moved: dict[Compartment, int]) -> None:
        """What the fund pays for a forced order's fills is stated as a payment to no deficit."""
        for (account, pocket), atoms in moved.items():
            if account == INSURANCE and atoms < 0:
                unstated = self._unstated.setdefault(("insurance", account), {})
                unstated[pocket] = unstated.get(pocket, 0) - atoms

    def _pays_from(self, stage: str, account: int, pocket: int) -> bool:
        """Is this the pocket that the stage takes from: a pool, what shares the loss, or else the wallet?"""
        deficit = self._deficits.current
        if stage == "insurance" and deficit is not None:
            return pocket in self._pools.paying(self._claims.of(deficit.key))
        if stage in payers.SHARED:
            return (account, pocket) in self._bases
        return pocket == self._settle

    def state(self, event: StagePaid) -> None:
        stage, payer, atoms = event.stage, event.payer, event.atoms
        deficit = self._deficits.current
        if deficit is not None and deficit.number == event.deficit_id:
            deficit.brought += atoms
        elif deficit is not None or event.deficit_id:
            self._find(
                "(d)", f"stage {stage} pays {atoms} atoms to deficit {event.deficit_id}, which is not open"
            )
        pockets = self._unstated.pop((stage, payer), {})
        posted = sum(pockets.values())
        if posted != atoms:
            self._find(
                "(d)",
                f"stage {stage}: account {payer} is said to pay {atoms} atoms, the ledger moved {posted}",
            )
        most = self._rules.house.deficit_max_atoms
        if stage == "house" and deficit is not None:
            deficit.housed += atoms
            if most is not None and deficit.housed > most:
                self._find(
                    "(f)", f"the house pays {deficit.housed} atoms for a deficit, the rulebook allows {most}"
                )
        if stage == "insurance" and deficit is not None:
            for pocket, paid in pockets.items():
                deficit.pooled[pocket] = deficit.pooled.get(pocket, 0) + paid
        if stage in payers.SHARED:
            for pocket in pockets or {self._settle: 0}:
                self._check_share(event, (payer, pocket))
        self.add(stage, payer, atoms)

    def _check_share(self, event: StagePaid, key: Compartment) -> None:
        deficit = self._deficits.current
        base = self._bases.get(key)
        if event.base_atoms not in (None, base and base.atoms):
            self._find(
                "WFALL-08", f"account {event.payer} is said to share by {event.base_atoms}, it is {base}"
            )
        due = deficit.shared.get(event.stage, {}).pop(key, 0) if deficit is not None else 0
        if due != event.atoms:
            self._find(
                "WFALL-08",
                f"account {event.payer} pays {event.atoms} atoms of a shared loss, its share is {due}",
            )

    def add(self, stage: str, account: int, atoms: int) -> None:
        """Paid, or below zero received, by one payment: neither is set off against another."""
        sums = self.paid if atoms >= 0 else self.received
        sums[stage, account] = sums.get((stage, account), 0) + abs(atoms)

    def book_receivable(self, event: ReceivableBooked) -> None:
        deficit = self._deficits.current
        if "recourse" not in self._rules.waterfall:
            self._find(
                "WFALL-01",
                f"account {event.account} is held to account, but recourse is not in the rulebook's list",
            )
        if deficit is None or deficit.number != event.deficit_id or deficit.account != event.account:
            self._find("(d)", f"a receivable is booked on account {event.account} without its deficit")
        else:
            equity = self._holdings.equity(deficit.account, deficit.pocket)
            if -equity != event.atoms:
                self._find("(d)", f"a receivable of {event.atoms} atoms is booked, {-equity} are missing")
        self.receivables[event.account] = self.receivables.get(event.account, 0) + event.atoms

    def begin_sharing(self, stage: str, deficit: Deficit, missing_atoms: int) -> None:
        """Fix what everybody in the class owes to this deficit."""
        self._bases = self._bases_of(stage, deficit)
        deficit.shared[stage] = payers.shares(self._bases, missing_atoms)

    def unshared_atoms(self, stage: str, deficit: Deficit) -> int:
        """What those who share a loss still owe to it: of their shares, or all, where they were not asked."""
        if stage in deficit.shared:
            return sum(deficit.shared[stage].values())
        missing = deficit.floored or max(0, -self._holdings.equity(*deficit.key))
        return sum(payers.shares(self._bases_of(stage, deficit), missing).values())

    def _bases_of(self, stage: str, deficit: Deficit) -> payers.Bases:
        return payers.bases(stage, self._rules.socialise, self._holdings, self._claims.of(deficit.key))

    def rest(self) -> None:
        for (stage, payer), pockets in self._unstated.items():
            atoms = sum(pockets.values())
            self._find("(d)", f"account {payer} pays {atoms} atoms in stage {stage}, which nothing states")
        self._unstated.clear()
