"""The witness: takes a run's batches one by one, and reports at the end."""

from collections.abc import Iterable

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.audit import verdict
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.reading import Reading
from zerodebt.exchange.audit.report import Report
from zerodebt.exchange.events import Batch, Opened
from zerodebt.exchange.rules import VenueRules

# What is read before the rulebook is: nothing is traded, and nobody pays.
_NOTHING = Opened(VenueRules("", "", "", "", "none", (), ()), (Asset("", 0),), ())


class Audit:
    """Feed it a run's batches in order, then ask for the report."""

    def __init__(self, findings_max: int = 100) -> None:
        self._notes = Notes(findings_max)
        self._reading = Reading(_NOTHING, self._notes)
        self._is_opened = False

    def feed(self, batch: Batch) -> None:
        """Read the events of one command and check the state at its rest point."""
        self._notes.turn_to(batch)
        if not self._is_opened:
            batch = self._open(batch)
        try:
            self._reading.read(batch)
        except (KeyError, IndexError, ZeroDivisionError) as error:
            self._notes.find("EVENT-02", f"an event names something that does not exist: {error!r}")

    def _open(self, batch: Batch) -> Batch:
        """The rulebook is the first event of a run; returns what comes after it."""
        if not batch.events:
            return batch
        opened, *rest = batch.events
        if not isinstance(opened, Opened):
            self._notes.find("EVENT-01", f"{type(opened).__name__} comes before the rulebook")
            return Batch(batch.seq, batch.time_ns, ())
        self._is_opened = True
        self._reading = Reading(opened, self._notes)
        return Batch(batch.seq, batch.time_ns, tuple(rest))

    def finish(self) -> Report:
        """Look at everything once more and say what became of the debts."""
        if self._is_opened:
            self._reading.end()
        else:
            self._notes.find("EVENT-01", "the rulebook is missing")
        return verdict.report(self._reading)

    def balances(self) -> dict[tuple[int, int], int]:
        """Atoms by (account, pocket), without zeros."""
        return self._reading.holdings.nonzero_balances()

    def lots(self) -> dict[tuple[int, int], int]:
        """Signed lots by (account, instrument), without zeros."""
        return self._reading.holdings.lots()

    def digest(self) -> str:
        """BLAKE2b (16 bytes, hex) of sorted lines: "b account pocket atoms", then "l account market lots"."""
        return self._reading.holdings.digest()


def audit(batches: Iterable[Batch]) -> Report:
    """The report on a finished run."""
    witness = Audit()
    for batch in batches:
        witness.feed(batch)
    return witness.finish()
