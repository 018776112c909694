"""Who pays for a deficit in cash."""

from zerodebt.exchange.audit.arithmetic import split
from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    FINANCIER,
    FIRST_ACCOUNT,
    HOUSE,
    INSURANCE,
    ReceivableBooked,
    StagePaid,
)
from zerodebt.exchange.rules import VenueRules

PAYER_OF_STAGE = {"insurance": INSURANCE, "house": HOUSE, "recourse": FINANCIER}


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
        self._unstated: dict[tuple[str, int], int] = {}

    def _is_payer(self, stage: str, account: int) -> bool:
        if stage == "backstop":
            return account in self._holdings.serving
        if stage == "socialise":
            return self._holdings.is_protected(account)
        return account == PAYER_OF_STAGE.get(stage)

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
            if not self._is_payer(stage, account):
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
        if stage == "socialise":
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

    def session_gains(self, loser: int) -> dict[int, int]:
        """What each customer won beyond what it brought in, as far as its equity reaches."""
        gains = {}
        settle = self._settle
        isolated_pockets = range(self._assets, len(self._holdings.pocket_assets))
        for account in range(FIRST_ACCOUNT, len(self._holdings.held)):
            if account == loser or account in self._holdings.serving:
                continue
            equity = self._holdings.equity(account, settle)
            for pocket in isolated_pockets:
                if (
                    self._holdings.balances[pocket][account]
                    or account in self._markets[pocket - self._assets].isolated
                ):
                    equity += self._holdings.equity(account, pocket)
            pooled = max(0, self._holdings.equity(account, settle))
            gain = min(equity, equity - self._holdings.brought_in.get(account, 0), pooled)
            if gain > 0:
                gains[account] = gain
        return gains

    def begin_socialising(self, account: int, deficit: int) -> None:
        """Fix what each winner of the session owes to this deficit."""
        gains = self.session_gains(account)
        whole = sum(gains.values())
        if not whole:
            self._socialised = {}
            return
        shares = split(min(deficit, whole), list(gains.values()))
        self._socialised = {winner: share for winner, share in zip(gains, shares, strict=True) if share}

    def rest(self) -> None:
        for (stage, payer), atoms in self._unstated.items():
            self._find("(d)", f"account {payer} pays {atoms} atoms in stage {stage}, which nothing states")
        self._unstated.clear()

    def capacity(self) -> int:
        """What the cash payers that hold money of their own could bring."""
        stages, settle = self._rules.waterfall, self._settle
        atoms = 0
        if "backstop" in stages:
            atoms += sum(max(0, self._holdings.equity(vault, settle)) for vault in self._holdings.serving)
        if "insurance" in stages:
            atoms += max(0, self._holdings.equity(INSURANCE, settle))
        if "house" in stages:
            atoms += max(0, self._holdings.balances[settle][HOUSE])
        return atoms
