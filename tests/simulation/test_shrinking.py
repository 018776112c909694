"""A bug put in by hand is found, shrunk to few commands, and stands in a file that replays."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.files import Case, command_lines, read_case, write_case
from tests.simulation.shrinking import shrink
from tests.simulation.simulator import Outcome, replay, simulate
from zerodebt.exchange.clearing import Clearing
from zerodebt.exchange.venue import Venue
from zerodebt.scenarios import orders

SHORT = 300


def found(seeds: range) -> Outcome:
    """The first of these seeds that fails."""
    return next(outcome for outcome in (simulate(seed, SHORT) for seed in seeds) if outcome.violation)


def test_a_reduction_that_is_forgotten_is_found_and_shrinks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The bug: an order that shrinks keeps its lots, while the event says that it lost them."""
    monkeypatch.setattr(Clearing, "shrink", lambda self, order, lots: None)
    broken = found(range(40))
    short = shrink(broken, 300)
    cut = short.orders[: short.phase_one]
    assert short.violation is not None
    assert broken.violation is not None
    assert short.violation.law == broken.violation.law
    assert len(cut) <= 15
    path = tmp_path / "case.json"
    write_case(path, Case(short.world, short.violation.law, cut))
    case = read_case(path)
    assert (case.world, case.orders) == (short.world, cut)
    assert replay(case.world, case.orders).violation == short.violation


def test_the_commands_of_a_seed_replay_from_a_command_file_to_the_same_hash(tmp_path: Path) -> None:
    """Whole seeds hold commands that files have no words for; phase two of this short one does not."""
    outcome = simulate(1, 0)
    lines = command_lines(outcome.world, outcome.orders)
    session = orders.read(lines, "seed")
    venue = Venue(session.rules, session.assets, session.instruments)
    for step in session.steps:
        venue.apply(step.command, step.at_ns)
    assert venue.state_hash() == outcome.state_hash
    path = tmp_path / "seed.jsonl"
    path.write_bytes(b"\n".join(lines))
    command = [sys.executable, "-c", "from zerodebt.scenarios.cli import main; main()", "replay", str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert outcome.state_hash in answer.stderr
