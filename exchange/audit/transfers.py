"""Money that moves on an account's own command, and the venue's dust."""

from zerodebt.exchange.audit.debts import Debts
from zerodebt.exchange.audit.funding import Funding
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    DEFICIT,
    EXTERNAL,
    ROUNDING,
    Posted,
    Rejected,
)
from zerodebt.exchange.reject import RejectReason


class Transfers:
    """Deposits, withdrawals, isolated margin and dust."""

    def __init__(self, notes: Notes, holdings: Holdings, debts: Debts, funding: Funding) -> None:
        self._notes = notes
        self._holdings = holdings
        self._debts = debts
        self._funding = funding
        self._find = notes.find
        self._settle = holdings.settle
        self._assets = holdings.assets
        self.deposited: dict[int, int] = {}
        self.withdrawn: dict[int, int] = {}
        self.withdrawn_beyond_share_atoms = 0

    def refuse(self, event: Rejected) -> None:
        self._notes.counts["rejected"] += 1
        if event.reason is RejectReason.DEFICIT_OPEN:
            self._notes.counts["withdrawals_delayed"] += 1

    def deposit(self, event: Posted) -> None:
        for account, pocket, atoms in event.legs:
            if account == EXTERNAL:
                self.deposited[pocket] = self.deposited.get(pocket, 0) - atoms
                continue
            if atoms < 0:
                self._find("(e)", f"a deposit takes {-atoms} atoms from account {account}")
            if pocket == self._settle:
                self._holdings.brought_in[account] = self._holdings.brought_in.get(account, 0) + atoms
            if self._funding.is_started and not self._holdings.is_protected(account):
                self._notes.intervene(f"capital of {atoms} atoms injected into account {account}")

    def withdraw(self, event: Posted) -> None:
        """Nobody withdraws what it does not have, or what its positions require."""
        self._notes.counts["withdrawals"] += 1
        holdings, settle = self._holdings, self._settle
        for account, pocket, atoms in event.legs:
            if account == EXTERNAL:
                self.withdrawn[pocket] = self.withdrawn.get(pocket, 0) + atoms
                continue
            left = holdings.balances[pocket][account]
            if left < 0:
                self._find("(g)", f"account {account} withdraws {-atoms}, {-left} too much")
            if pocket != settle:
                continue
            holdings.brought_in[account] = holdings.brought_in.get(account, 0) + atoms
            equity, required = holdings.risk(account, settle)
            if equity < required:
                self._find(
                    "MARG-05",
                    f"account {account} withdraws {-atoms}, which leaves {equity} over {required}",
                )
            self._check_share(account, -atoms)

    def _check_share(self, account: int, atoms: int) -> None:
        """While debts stand nobody takes more of the settlement asset than a share of what is there."""
        balances = self._holdings.balances[self._settle]
        hole = -balances[DEFICIT]
        hole += sum(max(0, -self._holdings.equity(*key)) for key in self._debts.standing)
        if hole > 0:
            custody = atoms - balances[EXTERNAL]
            share = (balances[account] + atoms) * custody // (custody + hole)
            self.withdrawn_beyond_share_atoms += max(0, atoms - share)

    def isolate(self, event: Posted) -> None:
        """Margin moves between an account's own wallet and own isolated position and covers no debt there."""
        by_account: dict[int, dict[int, int]] = {}
        for account, pocket, atoms in event.legs:
            pockets = by_account.setdefault(account, {})
            pockets[pocket] = pockets.get(pocket, 0) + atoms
        settle = self._settle
        for account, pockets in by_account.items():
            own = [pocket for pocket in pockets if pocket != settle]
            if len(pockets) != 2 or len(own) != 1 or own[0] < self._assets or sum(pockets.values()) != 0:
                self._find("ACC-01", f"margin of account {account} moves beyond its own wallet and position")
                continue
            atoms = pockets[own[0]]
            equity = self._holdings.equity(account, own[0])
            if atoms > 0 and equity < 0:
                self._debts.hidden_atoms += min(atoms, -equity)
                self._notes.broken.add("(a)")
                if not self._notes.is_alone:
                    self._find(
                        "(a)",
                        f"{atoms} of account {account}'s free wallet cover a position that owes {-equity}",
                    )
            if atoms > 0 and self._holdings.balances[settle][account] < atoms:
                self._find(
                    "MARG-06",
                    f"account {account} isolates {atoms} of {self._holdings.balances[settle][account]} atoms",
                )
            pooled = self._holdings.equity(account, settle)
            if atoms > 0 and pooled < atoms:
                self._find(
                    "(a)", f"account {account} isolates {atoms} out of a cross pool with equity {pooled}"
                )
            if atoms < 0 and equity + atoms < 0:
                self._find(
                    "(a)", f"account {account} takes {-atoms} atoms out of a position with equity {equity}"
                )

    def pay_dust(self, event: Posted) -> None:
        for account, pocket, atoms in event.legs:
            if account != ROUNDING and (not 0 < atoms <= 10 or self._holdings.positions(account, pocket)):
                self._find(
                    "(f)", f"the rounding account pays {atoms} atoms for account {account}, more than dust"
                )
        if self._holdings.balances[self._settle][ROUNDING] < 0:
            self._find(
                "(c)", f"the rounding account is at {self._holdings.balances[self._settle][ROUNDING]} atoms"
            )
