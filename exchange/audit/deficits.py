"""Deficits between opening and closing."""

from zerodebt.exchange.audit.arithmetic import split
from zerodebt.exchange.audit.debts import Debts, Deficit
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    DEFICIT,
    DeficitClosed,
    DeficitOpened,
)


class Deficits:
    """The deficit that is open, and the sums of those that closed."""

    def __init__(self, notes: Notes, holdings: Holdings, debts: Debts) -> None:
        self._notes = notes
        self._holdings = holdings
        self._debts = debts
        self._find = notes.find
        self.current: Deficit | None = None
        self.announced_atoms = 0
        self.overcharge_by_payer: dict[int, int] = {}
        self.overcharge_by_recipient: dict[int, int] = {}
        self._last_number = 0

    def open(self, event: DeficitOpened) -> None:
        account, pocket = event.account, event.pocket
        self._notes.counts["deficits"] += 1
        if self.current is not None:
            self._find("(d)", f"deficit {event.deficit_id} opens while {self.current.number} is open")
        if event.deficit_id <= self._last_number:
            self._find("(d)", f"deficit {event.deficit_id} follows deficit {self._last_number}")
        self._last_number = event.deficit_id
        self._holdings.touched.add(account)
        equity = self._holdings.equity(account, pocket)
        if event.atoms != -equity:
            self._find(
                "(d)",
                f"deficit {event.deficit_id} of account {account} states {event.atoms}, it is {-equity}",
            )
        asset = self._holdings.pocket_assets[pocket]
        if event.asset != asset:
            self._find("(d)", f"deficit {event.deficit_id} states asset {event.asset}, it is {asset}")
        origins = self._holdings.origins(account, pocket, event.atoms)
        if event.origins != origins:
            self._find(
                "(d)", f"deficit {event.deficit_id} states the origins {event.origins}, they are {origins}"
            )
        self.current = Deficit(event)

    def close(self, event: DeficitClosed) -> Deficit | None:
        deficit = self.current
        self.current = None
        if deficit is None or deficit.number != event.deficit_id:
            self._find("(d)", f"deficit {event.deficit_id} closes but is not open")
            return None
        account, pocket = deficit.account, deficit.pocket
        residual = deficit.floored or max(0, -self._holdings.equity(account, pocket))
        if residual != event.residual_atoms:
            self._find(
                "(d)",
                f"deficit {event.deficit_id} states a residual of {event.residual_atoms}, it is {residual}",
            )
        over = deficit.brought + residual - deficit.atoms
        if over != event.overcharge_atoms or over < -deficit.dust:
            self._find(
                "(d)",
                f"deficit {event.deficit_id} states an overcharge of {event.overcharge_atoms}, it is {over}",
            )
        self.announced_atoms += event.residual_atoms
        if over > 0:
            taken = self.overcharge_by_recipient
            taken[account] = taken.get(account, 0) + over
            payers = sorted(payer for payer, atoms in deficit.transfers.items() if atoms > 0)
            if payers:
                for payer, share in zip(
                    payers, split(over, [deficit.transfers[p] for p in payers]), strict=True
                ):
                    self.overcharge_by_payer[payer] = self.overcharge_by_payer.get(payer, 0) + share
        self._debts.close(deficit, residual)
        return deficit if residual else None

    def rest(self) -> None:
        if self.current is not None:
            self._find("(d)", f"deficit {self.current.number} is left open")
            self.current = None

    def floor(self, seen: dict[Compartment, int]) -> None:
        """What nobody pays goes to the deficit account: a hole, whatever the compartment's balance says."""
        deficit = self.current
        for (account, pocket), atoms in seen.items():
            if account == DEFICIT:
                continue
            if deficit is None or (account, pocket) != (deficit.account, deficit.pocket):
                self._find("(d)", f"account {account} is floored by {atoms} atoms without an open deficit")
                continue
            deficit.floored += atoms
            equity = self._holdings.equity(account, pocket)
            if equity:
                self._find(
                    "(d)", f"account {account} stands at {equity} atoms after its deficit was written off"
                )
