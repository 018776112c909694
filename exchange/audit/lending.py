"""The lending pool: whose shares, at which index, and what each payment into and out of it must be."""

from zerodebt.exchange.audit.debts import Debts
from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.forms import lending as form
from zerodebt.exchange.audit.forms.payers import Means
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    DEFICIT,
    EXTERNAL,
    FIRST_ACCOUNT,
    HOUSE,
    LENDING,
    UNPAID,
    DeficitOpened,
    InterestCharged,
    Posted,
    Redeemed,
    Supplied,
    WrittenDown,
)
from zerodebt.exchange.rules import VenueRules


class Lending:
    """Shares by account, the index, the clock of interest and the write-down that waits for its payment."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        ledger: Ledger,
        debts: Debts,
        deficits: Deficits,
    ) -> None:
        self._rules = rules.lending
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._debts = debts
        self._deficits = deficits
        self._find = notes.find
        self._settle = holdings.settle
        self._shares: Means = {}
        self._index = form.ONE
        self._next_ns = 0
        self._due_atoms = 0

    # Suppliers

    def supply(self, event: Supplied) -> None:
        account, atoms = event.account, event.atoms
        shares = atoms * form.ONE // self._index
        if event.share_count != shares or shares <= 0:
            self._find(
                "LEND-01", f"account {account} gets {event.share_count} shares for {atoms}, not {shares}"
            )
        free = min(self._holdings.balances[self._settle][account], self._spare_atoms(account))
        if atoms > free:
            self._find("MARG-05", f"account {account} supplies {atoms} atoms, {free} are free")
        self._shares[account] = self._shares.get(account, 0) + event.share_count
        self._move(account, -atoms, f"a supply by account {account}")

    def redeem(self, event: Redeemed) -> None:
        account, shares = event.account, event.share_count
        atoms = form.claim_atoms(shares, self._index)
        if event.atoms != atoms:
            self._find("LEND-01", f"account {account} gets {event.atoms} for {shares} shares, worth {atoms}")
        held = self._shares.get(account, 0)
        if not 0 < shares <= held:
            self._find("LEND-01", f"account {account} redeems {shares} shares of {held}")
        is_bankrupt = self._holdings.equity(account, self._settle) < 0
        cash = self._cash_atoms(account if is_bankrupt else None)
        if atoms > cash:
            self._find("(g)", f"account {account} redeems {atoms}, the pool has {cash} not lent")
        if self._debts.standing and not is_bankrupt:
            self._find("(g)", f"account {account} redeems {atoms} while debts stand that it may have to bear")
        self._shares[account] = held - shares
        self._move(account, event.atoms, f"a redemption by account {account}")

    def _move(self, account: int, atoms: int, what: str) -> None:
        """What goes between a wallet and the pool is neither won nor lost."""
        brought_in = self._holdings.brought_in
        brought_in[account] = brought_in.get(account, 0) + atoms
        self._holdings.touched.add(account)
        legs = {(account, self._settle): atoms, (LENDING, self._settle): -atoms}
        self._ledger.expect("lending", legs, what)

    def _spare_atoms(self, account: int) -> int:
        """What the cross pool counts for beyond its initial requirement, orders aside."""
        holdings, settle = self._holdings, self._settle
        margin = holdings.equity(account, settle) - holdings.worth(account)
        return margin + holdings.collateral_margin(account) - holdings.initial(account, settle)

    # Borrowers

    def borrow(self, event: Posted) -> None:
        """What leaves beyond the wallet is there in the pool, and covered without unrealised profit."""
        settle, balances = self._settle, self._holdings.balances[self._settle]
        hole = -balances[DEFICIT] - balances[UNPAID]
        if hole > 0 or self._debts.standing:
            self._find("(g)", f"money is lent out while debts stand, {hole} atoms of them as a hole")
        for account, pocket, atoms in event.legs:
            if account == EXTERNAL and pocket == settle:
                continue
            if self._rules is None or pocket != settle or atoms >= 0 or account < FIRST_ACCOUNT:
                self._find("(e)", f"account {account} borrows {-atoms} of pocket {pocket} from no pool")
                continue
            covered = balances[account] + self._holdings.collateral_margin(account)
            if min(covered, self._spare_atoms(account)) < 0:
                self._find("MARG-05", f"account {account} borrows {-atoms}, which its margin does not carry")
            if balances[account] < 0 and self._owed_atoms() > balances[LENDING]:
                self._find("LEND-01", f"account {account} borrows {-atoms}, which the pool does not have")
            brought_in = self._holdings.brought_in
            brought_in[account] = brought_in.get(account, 0) + atoms

    def charge(self, event: InterestCharged) -> None:
        """Everybody below zero pays at one rate; the pool gets its part, the house the rest."""
        rules, settle, now_ns = self._rules, self._settle, self._notes.time_ns
        if rules is None or not self._next_ns or now_ns < self._next_ns:
            self._find("LEND-01", f"interest is charged at {now_ns} ns, which is not due")
            return
        intervals = 1 + (now_ns - self._next_ns) // rules.interval_ns
        self._set_clock(rules.interval_ns)
        balances = self._holdings.balances[settle]
        owed, pool = self._owed_atoms(), balances[LENDING]
        lent = min(owed, pool)
        rate = form.rate_ppb(rules, owed, pool)
        legs: dict[Compartment, int] = {}
        for account in range(FIRST_ACCOUNT, len(balances)):
            if balances[account] < 0:
                atoms = form.interest_atoms(-balances[account], rate, intervals * rules.interval_ns)
                legs[account, settle] = -atoms
        paid = -sum(legs.values())
        earned = paid * lent // owed if owed else 0
        shares = sum(self._shares.values())
        if shares:
            self._index = min(form.MOST, self._index + earned * form.ONE // shares)
        stated = (
            event.annual_rate_ppb,
            event.intervals,
            event.owed_atoms,
            event.lent_atoms,
            event.interest_atoms,
            event.share_index,
        )
        due = (rate, intervals, owed, lent, paid, self._index)
        if stated != due:
            self._find("LEND-01", f"interest is stated as {stated}, it is {due}")
        self._holdings.touched.update(account for account, _ in legs)
        legs[LENDING, settle] = earned
        legs[HOUSE, settle] = legs.get((HOUSE, settle), 0) + paid - earned
        self._ledger.expect("interest", legs, "interest")

    def _set_clock(self, interval_ns: int) -> None:
        self._next_ns = (self._notes.time_ns // interval_ns + 1) * interval_ns

    def _owed_atoms(self) -> int:
        return sum(-atoms for atoms in self._holdings.balances[self._settle][FIRST_ACCOUNT:] if atoms < 0)

    def _cash_atoms(self, debtor: int | None = None) -> int:
        """What the pool has not lent; what a debtor owes it gets back when his shares pay for that."""
        balances = self._holdings.balances[self._settle]
        own = 0 if debtor is None else max(0, -balances[debtor])
        return max(0, balances[LENDING] - self._owed_atoms() + own)

    # Losses

    def check_used_up(self, event: DeficitOpened) -> None:
        """Nobody else pays for who has shares that could be redeemed for anything."""
        held = self._shares.get(event.account, 0)
        could = min(held, self._cash_atoms(event.account) * form.ONE // self._index)
        if event.pocket == self._settle and form.claim_atoms(could, self._index):
            self._find(
                "WFALL-01", f"account {event.account} is in deficit although it could redeem {could} shares"
            )

    def could_bring(self, debtor: Compartment) -> int:
        """What suppliers bear of a debt: what the wallet owes, as far as their claims reach."""
        account, pocket = debtor
        if self._rules is None or pocket != self._settle or account < FIRST_ACCOUNT:
            return 0
        owed = -self._holdings.balances[self._settle][account]
        return max(0, min(owed, self._claims_atoms()))

    def _claims_atoms(self) -> int:
        return form.claim_atoms(sum(self._shares.values()), self._index)

    def write_down(self, event: WrittenDown) -> None:
        """Every share bears the same; what it bears is what is missing, and no more than there is."""
        deficit = self._deficits.current
        if deficit is None or deficit.number != event.deficit_id:
            self._find("(d)", f"shares are written down for deficit {event.deficit_id}, which is not open")
            return
        missing = -self._holdings.equity(*deficit.key)
        due = min(missing, self.could_bring(deficit.key))
        if event.atoms != due or due <= 0:
            self._find("LEND-02", f"suppliers bear {event.atoms} atoms, {due} are theirs to bear")
        claims = self._claims_atoms()
        if 0 < event.atoms <= claims:
            self._index = form.index_after_loss(self._index, event.atoms, claims)
        if not self._claims_atoms():
            self._shares.clear()
            self._index = form.ONE
        if (event.share_index, event.claims_atoms) != (self._index, self._claims_atoms()):
            self._find(
                "LEND-02",
                f"a loss of {event.atoms} leaves an index of {self._index}, not {event.share_index}",
            )
        self._due_atoms = event.atoms

    def check_paid(self, payer: int, atoms: int) -> None:
        due, self._due_atoms = self._due_atoms, 0
        if payer != LENDING or due != atoms:
            self._find("LEND-02", f"account {payer} pays {atoms} atoms of lenders, {due} were written down")

    def rest(self, *, is_marked: bool) -> None:
        """A write-down was paid out, interest was charged when due, and the pool covers its shares."""
        if self._rules is None:
            return
        if self._due_atoms:
            self._find("LEND-02", f"shares were written down by {self._due_atoms} atoms that nobody got")
            self._due_atoms = 0
        if is_marked and self._notes.time_ns >= self._next_ns:
            if self._next_ns:
                self._find("LEND-01", f"interest due at {self._next_ns} ns is not charged")
            self._set_clock(self._rules.interval_ns)
        held, claims = self._holdings.balances[self._settle][LENDING], self._claims_atoms()
        if held < claims:
            self._find("(c)", f"the lending pool has {held} atoms for shares worth {claims}")
