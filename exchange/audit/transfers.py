"""Money that moves on an account's own command, and the venue's dust."""

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil, split
from zerodebt.exchange.audit.contracts import Contracts
from zerodebt.exchange.audit.debts import Debts
from zerodebt.exchange.audit.forms.valuation import worth_at
from zerodebt.exchange.audit.funding import Funding
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    CLEARING,
    DEFICIT,
    EXTERNAL,
    INSURANCE,
    ROUNDING,
    UNPAID,
    Posted,
    Rejected,
)
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import VenueRules


class Transfers:
    """Deposits, withdrawals, isolated margin and dust.

    Margin for lots that open comes before their fill, and it may be that fill that makes the position sound.
    """

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        ledger: Ledger,
        debts: Debts,
        funding: Funding,
        contracts: Contracts,
    ) -> None:
        self._rules = rules
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._debts = debts
        self._funding = funding
        self._contracts = contracts
        self._find = notes.find
        self._settle = holdings.settle
        self._assets = holdings.assets
        self.deposited: dict[int, int] = {}
        self.withdrawn: dict[int, int] = {}
        self.withdrawn_beyond_share_atoms = 0
        self.swept_atoms = 0
        self._brought: dict[Compartment, int] = {}

    def refuse(self, event: Rejected) -> None:
        self._notes.counts["rejected"] += 1
        if event.reason is RejectReason.DEFICIT_OPEN and event.command == "withdraw":
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
            if (account, pocket) == (INSURANCE, self._settle):
                self._endow(atoms)

    def _endow(self, atoms: int) -> None:
        """What is brought into the fund goes on to its pools, split evenly; the first get the odd atoms."""
        pools = self._holdings.pools
        if self._settle in pools:
            return
        legs: dict[Compartment, int] = {(INSURANCE, self._settle): -atoms}
        for pocket, share in zip(pools, split(atoms, [1] * len(pools)), strict=True):
            legs[INSURANCE, pocket] = share
        self._ledger.expect("endowment", legs, f"a deposit of {atoms} atoms to the fund")

    def withdraw(self, event: Posted) -> None:
        """Nobody withdraws what it does not have, or what its positions require at least, orders aside."""
        self._notes.counts["withdrawals"] += 1
        holdings, settle = self._holdings, self._settle
        taken = sum(atoms for account, _, atoms in event.legs if account == EXTERNAL)
        for account, pocket, atoms in event.legs:
            if account == EXTERNAL:
                self.withdrawn[pocket] = self.withdrawn.get(pocket, 0) + atoms
                continue
            if account == UNPAID:
                continue
            left = holdings.balances[pocket][account]
            if left < 0:
                self._find("(g)", f"account {account} withdraws {-atoms}, {-left} too much")
            if pocket == settle:
                holdings.brought_in[account] = holdings.brought_in.get(account, 0) - taken
            elif all(pledge.asset != pocket for pledge in holdings.pledges):
                continue
            equity = holdings.equity(account, settle) - holdings.worth(account)
            equity += holdings.collateral_margin(account)
            equity -= self._lost_standing_still(account, settle)
            share = div_ceil(holdings.gross(account, settle) * self._rules.margin.transfer_min_ppb, PPB)
            required = max(holdings.initial(account, settle), share)
            if equity < required:
                self._find(
                    "MARG-05",
                    f"account {account} withdraws {-atoms}, which leaves {equity} over {required}",
                )
            if pocket == settle:
                self._check_share(account, taken, -atoms - taken, min(left, equity - required) - atoms)

    def record_out(self, event: Posted) -> None:
        """What leaves the venue in a borrowing."""
        for account, pocket, atoms in event.legs:
            if account == EXTERNAL:
                self.withdrawn[pocket] = self.withdrawn.get(pocket, 0) + atoms

    def _lost_standing_still(self, account: int, pocket: int) -> int:
        """What positions have lost at the index while their marks stand still; each at least 0."""
        lost = 0
        for market in self._holdings.positions(account, pocket):
            index = self._holdings.markets[market.instrument].index
            if index is not None and self._contracts.stands_still(market):
                lots = market.holders[account][0]
                at_index = worth_at(market.spec, index)(lots)
                lost += max(0, self._holdings.value(market, lots) - at_index)
        return lost

    def _check_share(self, account: int, taken: int, left_behind: int, free: int) -> None:
        """While debts stand nobody takes more of the settlement asset than a share of what is there.

        And he leaves the rest of the claim that he was paid a share of, so that the others' share stands.

        free  what the account's margin set free before it took its atoms
        """
        balances = self._holdings.balances[self._settle]
        hole = -balances[DEFICIT] - balances[UNPAID] + left_behind
        held, due = taken - balances[EXTERNAL], 0
        if taken > held:
            self._find("(g)", f"account {account} takes {taken} atoms, {held} are in custody")
        if hole > 0 and held > 0 and self._rules.margin.withdrawals == "share":
            due = div_ceil(taken * hole, held)
        if left_behind != due:
            self._find("(g)", f"account {account} takes {taken} and leaves {left_behind} behind, not {due}")
        owed = max(0, hole) + sum(max(0, -self._holdings.equity(*key)) for key in self._debts.standing)
        if owed > 0:
            share = free * held // (held + owed) if held > 0 else 0
            self.withdrawn_beyond_share_atoms += max(0, taken - share)

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
            if account == INSURANCE:
                self._find("(f)", f"{pockets[settle]} atoms leave pool {own[0]} of the fund")
            atoms = pockets[own[0]]
            equity = self._holdings.equity(account, own[0])
            if (account, own[0]) in self._brought or (atoms > 0 and equity < 0):
                self._brought[account, own[0]] = self._brought.get((account, own[0]), 0) + atoms
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

    @property
    def is_bringing(self) -> bool:
        """Margin came to a position that owed, maybe for fills that are still to come."""
        return bool(self._brought)

    def end_walk(self) -> None:
        """The fills that margin came for are made: without it their position is not below zero."""
        for (account, pocket), atoms in self._brought.items():
            owed = atoms - self._holdings.equity(account, pocket)
            if atoms > 0 and owed > 0:
                self._debts.hidden_atoms += min(atoms, owed)
                self._notes.broken.add("(a)")
                if not self._notes.is_alone:
                    self._find(
                        "(a)",
                        f"{atoms} of account {account}'s free wallet cover a position that owes {owed}",
                    )
        self._brought.clear()

    def pay_dust(self, event: Posted) -> None:
        """Dust of an account without positions, or what rounding left of an instrument that was settled."""
        for account, pocket, atoms in event.legs:
            if account == CLEARING:
                self._sweep(pocket, atoms)
            elif account != ROUNDING and (not 0 < atoms <= 10 or self._holdings.positions(account, pocket)):
                self._find(
                    "(f)", f"the rounding account pays {atoms} atoms for account {account}, more than dust"
                )
        if self._holdings.balances[self._settle][ROUNDING] < min(0, self.swept_atoms):
            self._find(
                "(c)", f"the rounding account is at {self._holdings.balances[self._settle][ROUNDING]} atoms"
            )

    def _sweep(self, pocket: int, atoms: int) -> None:
        """Clearing is left with minus the costs, and hardly moves: an atom a position settled or loaded."""
        market = self._holdings.markets[pocket - self._assets]
        left = self._holdings.balances[pocket][CLEARING]
        cost = sum(leg.cost_sum for leg in market.legs)
        if left != -cost:
            self._find(
                "LEDG-02", f"clearing of instrument {market.number} is swept to {left}, not to {-cost} atoms"
            )
        if abs(atoms) > market.swept_max:
            self._find(
                "(f)",
                f"clearing of instrument {market.number} is swept of {-atoms} atoms, more than dust",
            )
        market.swept_max = 0
        self.swept_atoms -= atoms
