"""Many seeds under every rulebook, and what came of them: the numbers that are printed."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.reference.compare import DivergenceError, run, shrink
from tests.reference.streams import Row, Setting, Stream, names, setting_of

LENGTH = 500
"""Commands of one stream: long enough for a fall and what follows, short enough to shrink."""


@dataclass
class Report:
    """What was compared: events one by one, and cells of balances and positions after every command."""

    streams: int = 0
    commands: int = 0
    cells: int = 0
    seconds: float = 0.0
    by_command: Counter[str] = field(default_factory=Counter)
    by_event: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        rate = self.commands / max(self.seconds, 1e-9)
        yield f"{self.streams} streams, {self.commands} commands, {rate:.0f} commands/s"
        yield f"{sum(self.by_event.values())} events equal, {self.cells} cells equal"
        for title, counts in (("commands", self.by_command), ("events", self.by_event)):
            yield f"{title}:"
            yield from (f"  {count:>9}  {name}" for name, count in sorted(counts.items()))


class FailureError(AssertionError):
    """A divergence with its seed, the command that repeats it, and the fewest commands that show it."""

    def __init__(self, setting: Setting, seed: int, rows: Sequence[Row], found: DivergenceError) -> None:
        small = shrink(setting, rows)
        try:
            run(setting, small)
            last = "it does not diverge alone"
        except DivergenceError as again:
            last = str(again)
        told = "\n".join(f"  {row}" for row in small)
        super().__init__(
            f"{setting.name}, seed {seed}: {found}\n"
            f"again: python -m tests.reference --rulebook {setting.name} --seed {seed} --commands {LENGTH}\n"
            f"{len(small)} commands are enough:\n{told}\n{last}"
        )


def campaign(commands: int, first_seed: int, rulebook: str | None = None) -> Report:
    """Streams of `LENGTH` commands, seed by seed and rulebook by rulebook, until there are so many."""
    return [*reports(commands, first_seed, rulebook)][-1]


def reports(commands: int, first_seed: int, rulebook: str | None = None) -> Iterator[Report]:
    """The report as it grows, after every seed."""
    report = Report()
    chosen = [name for name in names() if rulebook in (None, name)]
    began = time.perf_counter()
    seed = first_seed
    while report.commands < commands:
        for name in chosen:
            if report.commands >= commands:
                break
            setting = setting_of(name, seed)
            stream = Stream(seed, setting, LENGTH)
            try:
                tally = run(setting, stream, stream.hear)
            except DivergenceError as found:
                raise FailureError(setting, seed, stream.rows, found) from None
            report.streams += 1
            report.commands += len(stream.rows)
            report.cells += tally.cells
            report.by_command += tally.commands
            report.by_event += tally.events
        seed += 1
        report.seconds = time.perf_counter() - began
        yield report
