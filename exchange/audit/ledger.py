"""Double entry: postings that an event announces, and the balances that every posting moves."""

from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    Posted,
)


class Ledger:
    """Applies postings, and holds each against what the event before it said must follow."""

    def __init__(self, notes: Notes, holdings: Holdings) -> None:
        self._holdings = holdings
        self._find = notes.find
        self._expected: dict[Compartment, int] | None = None
        self._expected_reason = ""
        self._expected_for = ""

    def expect(self, reason: str, legs: dict[Compartment, int], what: str, *, is_moved: bool = False) -> None:
        """The next event must be a `Posted` of these legs; of none at all when every leg is zero.

        is_moved  there are amounts that are not zero, although those of both legs of hedge mode may cancel
        """
        if is_moved or any(legs.values()):
            self._expected = legs
            self._expected_reason = reason
            self._expected_for = what

    @property
    def is_expecting(self) -> bool:
        return self._expected is not None

    def miss(self) -> None:
        """Something else came, or nothing, where a posting was due."""
        self._find("LEDG-03", f"{self._expected_for} is not followed by its posting")
        self._expected = None

    def apply(self, event: Posted) -> dict[Compartment, int]:
        """Move the balances; returns what each pocket got. In every asset the legs sum to zero."""
        balances, assets = self._holdings.balances, self._holdings.pocket_assets
        sums: dict[int, int] = {}
        moved: dict[Compartment, int] = {}
        for account, pocket, atoms in event.legs:
            asset = assets[pocket]
            sums[asset] = sums.get(asset, 0) + atoms
            balances[pocket][account] += atoms
            key = (account, pocket)
            moved[key] = moved.get(key, 0) + atoms
        for asset, atoms in sums.items():
            if atoms:
                self._find(
                    "LEDG-01", f"a {event.reason} posting sums to {atoms} atoms of asset {asset}, not to 0"
                )
        return moved

    def apply_expected(self, event: Posted) -> None:
        """Move the balances, and hold the posting against the one that must follow here."""
        due, what, reason = self._expected or {}, self._expected_for, event.reason
        moved = self.apply(event)
        self._expected = None
        if reason != self._expected_reason:
            self._find("LEDG-03", f"{what} is followed by a {reason} posting")
        for key in due.keys() | moved.keys():
            have, want = moved.get(key, 0), due.get(key, 0)
            if have != want:
                self._find(
                    "FUND-01" if reason == "funding" else "LEDG-03",
                    f"{what}: account {key[0]} pocket {key[1]} gets {have}, {want} are due",
                )
