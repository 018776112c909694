"""Who pays for a deficit in cash."""

from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.forms import payers
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    ReceivableBooked,
    StagePaid,
)
from zerodebt.exchange.rules import VenueRules


class Payments:
    """Payments by stage and payer."""

    def __init__(self, rules: VenueRules, notes: Notes, holdings: Holdings, deficits: Deficits) -> None:
        self._rules = rules
        self._holdings = holdings
        self._deficits = deficits
        self._find = notes.find
        self._settle = holdings.settle
        self._markets = holdings.markets
        self._assets = holdings.assets
        self.paid: dict[tuple[str, int], int] = {}
        self.receivables: dict[int, int] = {}
        self._socialised: dict[int, int] = {}
        self._bases: dict[int, int] = {}
        self._unstated: dict[tuple[str, int], int] = {}

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
            if pocket != self._settle:
                self._find(
                    "(f)", f"the {stage} takes {-atoms} atoms from pocket {pocket} of account {account}"
                )
            if not payers.is_payer(stage, self._holdings, account):
                self._find(
                    "(f)", f"account {account} pays {-atoms} atoms in stage {stage}, which does not name it"
                )
            key = (stage, account)
            self._unstated[key] = self._unstated.get(key, 0) - atoms

    def state(self, event: StagePaid) -> None:
        stage, payer, atoms = event.stage, event.payer, event.atoms
        deficit = self._deficits.current
        if deficit is None or deficit.number != event.deficit_id:
            self._find(
                "(d)", f"stage {stage} pays {atoms} atoms to deficit {event.deficit_id}, which is not open"
            )
        else:
            deficit.brought += atoms
        posted = self._unstated.pop((stage, payer), 0)
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
        if stage == "socialise":
            if event.base_atoms not in (None, self._bases.get(payer)):
                self._find(
                    "WFALL-08",
                    f"account {payer} is said to have won {event.base_atoms}, it is {self._bases.get(payer)}",
                )
            due = self._socialised.get(payer, 0)
            if due != atoms:
                self._find(
                    "WFALL-08", f"account {payer} pays {atoms} atoms of a socialised loss, its share is {due}"
                )
        self.add(stage, payer, atoms)

    def add(self, stage: str, payer: int, atoms: int) -> None:
        self.paid[stage, payer] = self.paid.get((stage, payer), 0) + atoms

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

    def begin_socialising(self, debtor: int, deficit_atoms: int) -> None:
        """Fix what each winner of the session owes to this deficit."""
        winners = payers.could_bring("socialise", self._holdings, debtor)
        self._bases = winners
        self._socialised = payers.shares_of_winners(winners, deficit_atoms)

    def rest(self) -> None:
        for (stage, payer), atoms in self._unstated.items():
            self._find("(d)", f"account {payer} pays {atoms} atoms in stage {stage}, which nothing states")
        self._unstated.clear()
