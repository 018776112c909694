"""What liquidations cost compartments that were sound at the index: clause (h)."""

from zerodebt.exchange.audit.holdings import Compartment


class Harm:
    """Losses against the index of compartments in liquidation that were not below their requirement there."""

    def __init__(self) -> None:
        self.atoms = 0
        self.compartments = 0
        self._running: dict[Compartment, int] = {}

    def begin(self, key: Compartment) -> None:
        self.compartments += 1
        self._running[key] = 0

    def add(self, key: Compartment, atoms: int) -> None:
        """`atoms` were lost against the index; other compartments than those that began are not counted."""
        if key in self._running:
            self._running[key] += atoms

    def end(self, key: Compartment) -> None:
        self.atoms += max(0, self._running.pop(key, 0))

    def end_all(self) -> None:
        for key in list(self._running):
            self.end(key)
