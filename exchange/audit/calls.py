"""Margin calls: who is called at a settlement, for what, and until when he is left alone."""

from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import MarginCalled, MarginCallEnded
from zerodebt.exchange.rules import VenueRules


class Calls:
    """Calls that are open, by compartment, with the time until which each is to be met."""

    def __init__(self, rules: VenueRules, notes: Notes, holdings: Holdings) -> None:
        self._rules = rules.settlement
        self._notes = notes
        self._holdings = holdings
        self._find = notes.find
        self.settled_now: set[int] = set()
        self._due_ns: dict[Compartment, int] = {}

    def is_left_alone(self, account: int, pocket: int) -> bool:
        """Under margin calls who is short of maintenance is called at the settlement and has until it is due.

        Who owes and holds nothing that could be settled is called by none, and who has just what a call would
        ask for is not called.
        """
        if self._rules.call_to == "none":
            return False
        due_ns = self._due_ns.get((account, pocket))
        if due_ns is not None:
            return self._notes.time_ns < due_ns
        held = self._holdings.positions(account, pocket)
        if not held or not self._is_settled_now(account, pocket):
            return bool(held)
        return self._called_to(account, pocket) == self._holdings.risk(account, pocket).margin_atoms

    def _is_settled_now(self, account: int, pocket: int) -> bool:
        return any(m.instrument in self.settled_now for m in self._holdings.positions(account, pocket))

    def _called_to(self, account: int, pocket: int) -> int:
        """What a call asks for: the maintenance requirement or the initial one."""
        if self._rules.call_to == "maintenance":
            return self._holdings.risk(account, pocket).maintenance_atoms
        return self._holdings.initial(account, pocket)

    def call(self, event: MarginCalled) -> None:
        account, pocket = key = (event.account, event.pocket)
        risk = self._holdings.risk(account, pocket)
        equity, required = risk.equity_atoms, risk.maintenance_atoms
        missing = self._called_to(account, pocket) - risk.margin_atoms
        stated = (event.equity_atoms, event.maintenance_atoms, event.called_atoms, event.due_ns)
        due_ns = self._notes.time_ns + self._rules.call_due_ns
        wanted = (equity, required, missing, due_ns)
        if stated != wanted or not risk.is_short or not missing or key in self._due_ns:
            self._find("MARG-08", f"account {account} is called for {stated}, it is {wanted}")
        if not self._is_settled_now(account, pocket):
            self._find("MARG-08", f"account {account} is called without a settlement of what it holds")
        self._due_ns[key] = event.due_ns

    def end(self, event: MarginCallEnded) -> None:
        account, pocket = key = (event.account, event.pocket)
        risk, required = self._holdings.risk(account, pocket), self._called_to(account, pocket)
        margin = risk.margin_atoms
        if (event.equity_atoms, event.required_atoms) != (risk.equity_atoms, required) or margin < required:
            self._find("MARG-08", f"the call of account {account} ends at {margin}, asked were {required}")
        if self._due_ns.pop(key, None) is None:
            self._find("MARG-08", f"a call of account {account} ends that was not made")

    def rest(self) -> None:
        self.settled_now.clear()
