"""Runs that are killed with SIGKILL, and what is left of them: `python -m tests.scenarios.kills 50`.

Points are spread over the phases of a run, at a random part of each; a third of the resumed runs is killed
again. Every one must say what it is, replay to its last whole command, and come to the bytes of a run that
nobody killed.
"""

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.scenarios.conftest import CRASH
from zerodebt.exchange import journal
from zerodebt.scenarios import rundir, runner
from zerodebt.scenarios.quantities import DataError

ROOT = Path(__file__).parents[2]
ZERODEBT = (sys.executable, "-c", "from zerodebt.scenarios.cli import main; main()")
WORLD = (
    *("run", CRASH, "--accounts", "150"),
    *("--set", "clock.start=2025-10-10T21:14:00Z", "--set", "clock.end=2025-10-10T21:18:00Z"),
    *("--set", "populations.HLP Liquidator.capital_usd=1000.0"),
)
PHASES = ("before the directory", "genesis", "simulation", "audit", "tables", "report")


def started(*arguments: str | Path) -> "subprocess.Popen[bytes]":
    """The command line in a process of its own, which hears signals though this one may not."""
    words = [str(argument) for argument in arguments]
    return subprocess.Popen(
        [*ZERODEBT, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run_in(folder: Path) -> Path | None:
    """The one run directory of a folder."""
    found = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    assert len(found) <= 1, found
    return found[0] if found else None


def phase_of(folder: Path) -> str:
    """How far the run of a folder came, by its files."""
    run = run_in(folder)
    if run is None:
        return PHASES[0]
    if rundir.is_done(run):
        return "after its end"
    if (run / rundir.SUMMARY).is_file():
        return "report"
    if (run / "tables").is_dir():
        return "tables"
    if b'"state_hash"' in (run / rundir.META).read_bytes():
        return "audit"
    return "simulation" if (run / rundir.JOURNAL).stat().st_size > len(journal.JOURNAL_HEADER) else "genesis"


class Reference:
    """The run that nobody kills, and how long each of its phases took."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "whole"
        self.folder.mkdir()
        process = started(*WORLD, "--out", self.folder)
        seen = {PHASES[0]: time.monotonic()}
        while process.poll() is None:
            seen.setdefault(phase_of(self.folder), time.monotonic())
            time.sleep(0.001)
        process.communicate()
        seen["after its end"] = time.monotonic()
        began = [seen[phase] for phase in (*PHASES, "after its end") if phase in seen]
        whole = {name: after - at for name, at, after in zip(seen, began, began[1:], strict=False)}
        self.seconds = {phase: whole.get(phase, 0.0) for phase in PHASES}
        run = run_in(self.folder)
        assert run is not None
        assert rundir.is_done(run), process.returncode
        self.run = run
        self.files = {name: (run / name).read_bytes() for name in (rundir.JOURNAL, rundir.EVENTS)}


def killed(folder: Path, arguments: tuple[str | Path, ...], phase: str, delay_s: float) -> None:
    """Start a command and kill it `delay_s` after it is seen in a phase, or in a later one."""
    process = started(*arguments)
    until = time.monotonic() + 120
    reached = False
    while not reached and process.poll() is None and time.monotonic() < until:
        now = phase_of(folder)
        reached = now not in PHASES or PHASES.index(now) >= PHASES.index(phase)
        time.sleep(0.0005)
    time.sleep(delay_s)
    process.kill()
    process.communicate()


def said_of(run: Path) -> str:
    """What a command says that wants a finished run."""
    try:
        rundir.finished(run)
    except DataError as error:
        return str(error)
    raise AssertionError(f"{run} passes for a finished one")


def check_what_is_left(run: Path, reference: Reference) -> int:
    """It says that it is not finished, and its files are whole up to a command; answers how many."""
    if not rundir.is_done(run):
        assert "not finished" in said_of(run)
    for name, whole in reference.files.items():
        assert whole.startswith((run / name).read_bytes()), name
    replayed = runner.replay_run(run)
    batches = 0
    try:
        for batch in rundir.read_batches(run / rundir.EVENTS):
            batches = batch.seq
    except rundir.BrokenOffError:
        pass
    assert batches <= replayed.commands, "events without their command"
    return replayed.commands


def check_is_the_same(run: Path, reference: Reference) -> None:
    """Every file is that of the run that nobody killed, but for wall times."""
    of = {path.relative_to(reference.run) for path in reference.run.rglob("*") if path.is_file()}
    assert of == {path.relative_to(run) for path in run.rglob("*") if path.is_file()}
    for name in of:
        if name.name != rundir.META:
            assert (run / name).read_bytes() == (reference.run / name).read_bytes(), name
    metas = [rundir.read_json(path / rundir.META) for path in (run, reference.run)]
    for meta in metas:
        del meta["wall_s"], meta["argv"]
    assert metas[0] == metas[1]


def kill_points(points: int, seed: int, home: Path) -> Iterator[tuple[str, int]]:
    """Kill a run at each point, check it and take it to its end; phase and whole commands of each."""
    draw = random.Random(seed)
    reference = Reference(home)
    number = 0
    while number < points:
        folder = Path(tempfile.mkdtemp(dir=home))
        phase = PHASES[number % len(PHASES)]
        killed(folder, (*WORLD, "--out", folder), phase, draw.random() * reference.seconds[phase])
        found, run = phase_of(folder), run_in(folder)
        if found not in PHASES:  # it was faster than the kill, which then is none
            continue
        whole = 0 if run is None else check_what_is_left(run, reference)
        part = draw.random()
        if run is not None and draw.randrange(3) == 0:
            killed(folder, ("resume", run), PHASES[0], part * sum(reference.seconds.values()))
            check_what_is_left(run, reference)
        if run is None:
            started(*WORLD, "--out", folder).communicate()
            run = run_in(folder)
            assert run is not None
        else:
            runner.resume(run)
        check_is_the_same(run, reference)
        shutil.rmtree(folder)
        number += 1
        yield found, whole


def main() -> None:
    points = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbelow(1 << 32)
    print(f"{points} points, seed {seed}; again: python -m tests.scenarios.kills {points} {seed}")
    survived: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as home:
        for phase, whole in kill_points(points, seed, Path(home)):
            survived[phase] += 1
            print(f"{survived.total():4}  {phase}, {whole} whole commands", flush=True)
    print(json.dumps({"points": points, "survived": survived.total(), "seed": seed, "phases": survived}))


if __name__ == "__main__":
    main()
