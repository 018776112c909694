"""Run seeds: `python -m tests.simulation --seed 7`, or without a seed until told to stop.

A seed that fails prints itself, the first law that did not hold and the command that repeats it, and is
shrunk to a short list of commands in the corpus: a case that `--replay FILE` runs with all laws watched, and,
where command files have words for it, one that `zerodebt replay FILE` runs.
"""

import argparse
import multiprocessing
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from msgspec import structs

from tests.simulation.files import Case, InexpressibleError, command_lines, read_case, write_case
from tests.simulation.shrinking import shrink
from tests.simulation.simulator import COMMANDS, Outcome, replay, simulate
from tests.simulation.workload import FAULTS
from zerodebt.exchange.commands import Command
from zerodebt.exchange.events import Event
from zerodebt.exchange.reject import RejectReason

CORPUS = Path(".simulation")


class Tally:
    """Sums over seeds."""

    def __init__(self) -> None:
        self.seeds = self.applied = 0
        self.failed: list[int] = []
        self.faults: Counter[str] = Counter(dict.fromkeys(FAULTS, 0))
        self.in_effect: Counter[str] = Counter(dict.fromkeys(FAULTS, 0))
        self.commands: Counter[str] = Counter({kind.__name__: 0 for kind in Command.__args__})
        self.rejects: Counter[str] = Counter({reason.name: 0 for reason in RejectReason})
        self.events: Counter[str] = Counter(
            {kind.__name__: 0 for kind in Event.__args__ if kind.__name__ != "Opened"}
        )
        self.verdicts: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.applied += outcome.commands.total()
        self.faults.update(outcome.faults)
        self.in_effect.update(outcome.in_effect)
        self.commands.update(outcome.commands)
        self.rejects.update(outcome.rejects)
        self.events.update(outcome.events)
        self.verdicts[outcome.verdict or "none"] += 1
        if outcome.violation is not None:
            self.failed.append(outcome.world.seed)

    def missing(self) -> list[str]:
        """Faults, commands, reasons and events that never happened."""
        tables = (self.faults, self.commands, self.rejects, self.events)
        return sorted(name for table in tables for name, times in table.items() if not times)

    def text(self, wall_s: float) -> str:
        speed = self.applied / max(wall_s, 1e-9)
        rows = [
            f"{self.seeds} seeds, {self.applied} commands, {speed:.0f} a second",
            f"{len(self.failed)} failed: {self.failed}",
        ]
        for title in ("faults", "in_effect", "commands", "rejects", "events", "verdicts"):
            table: Counter[str] = getattr(self, title)
            listed = ", ".join(f"{name} {times}" for name, times in table.most_common())
            rows.append(f"{title.replace('_', ' ')}: {listed}")
        rows.append(f"never happened: {', '.join(self.missing()) or 'nothing'}")
        return "\n".join(rows)


def report(outcome: Outcome, commands: int, corpus: Path) -> None:
    """Print a failed seed, shrink it and keep it."""
    seed, violation = outcome.world.seed, outcome.violation
    assert violation is not None
    print(
        f"seed {seed} fails in phase {violation.phase} after {len(outcome.orders)} commands: {violation.law}"
    )
    print(f"  {violation.text}")
    print(f"  python -m tests.simulation --seed {seed} --commands {commands}", flush=True)
    short = shrink(outcome)
    corpus.mkdir(parents=True, exist_ok=True)
    path = corpus / f"seed-{seed}.json"
    orders = short.orders[: short.phase_one]
    write_case(path, Case(short.world, violation.law, orders))
    print(f"  shrunk to {len(orders)} commands: python -m tests.simulation --replay {path}")
    try:
        lines = command_lines(short.world, short.orders)
    except InexpressibleError as error:
        print(f"  no command file: it has no words for {error}", flush=True)
        return
    path = path.with_suffix(".jsonl")
    path.write_bytes(b"\n".join(lines) + b"\n")
    print(f"  zerodebt replay {path}", flush=True)


def outcomes(seeds: Iterator[int], commands: int, jobs: int) -> Iterator[Outcome]:
    """Seeds in their order, on as many processes."""
    if jobs == 1:
        for seed in seeds:
            yield simulate(seed, commands)
        return
    ignoring = (signal.SIGINT, signal.SIG_IGN)
    with multiprocessing.Pool(jobs, initializer=signal.signal, initargs=ignoring) as pool:
        while batch := [(seed, commands) for seed in islice(seeds, 16 * jobs)]:
            yield from pool.imap(_simulated, batch)


def _simulated(work: tuple[int, int]) -> Outcome:
    """Without the orders of a run in which nothing broke: they would only be carried between processes."""
    outcome = simulate(*work)
    return outcome if outcome.violation is not None else structs.replace(outcome, orders=[])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--seeds", help="from A up to, without, B: A:B; or A: without an end (default 0:)")
    parser.add_argument("--commands", type=int, default=COMMANDS, help="in phase one of each seed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="where failing seeds are kept")
    parser.add_argument("--replay", type=Path, help="a case of the corpus")
    asked = parser.parse_args(arguments)
    if asked.replay is not None:
        return _replay(asked.replay)
    first, _, last = (asked.seeds or "0:").partition(":")
    seeds: Iterator[int] = iter(range(int(first), int(last))) if last else count(int(first))
    if asked.seed is not None:
        seeds = iter((asked.seed,))
    tally, began = Tally(), time.monotonic()
    try:
        for outcome in outcomes(seeds, asked.commands, asked.jobs):
            tally.add(outcome)
            if outcome.violation is not None:
                report(outcome, asked.commands, asked.corpus)
            if tally.seeds % 500 == 0:
                so_far = f"{tally.seeds} seeds, {tally.applied} commands, {len(tally.failed)} failed"
                print(so_far, file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped")
    print(tally.text(time.monotonic() - began))
    return 1 if tally.failed else 0


def _replay(path: Path) -> int:
    case = read_case(path)
    violation = replay(case.world, case.orders).violation
    print("all laws hold" if violation is None else f"{violation.law}: {violation.text}")
    return 0 if violation is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
