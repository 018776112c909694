"""A bug put in by hand is found, shrunk to few commands, and stands in a file that replays."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.simulation.files import Case, InexpressibleError, command_lines, read_case, write_case
from tests.simulation.shrinking import shrink
from tests.simulation.simulator import Outcome, replay, simulate
from tests.simulation.workload import Order
from zerodebt.exchange.clearing import Clearing
from zerodebt.exchange.commands import Command, Deposit, OpenAccounts
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


def test_what_a_command_file_has_words_for_comes_back_as_the_same_command() -> None:
    kinds: set[str] = set()
    for seed in (88, 214):
        outcome = simulate(seed, 200)
        kept, lines = expressible(outcome)
        steps = orders.read(lines, "seed").steps
        read = [step.command for step in steps if not isinstance(step.command, OpenAccounts | Deposit)]
        assert read == kept
        kinds |= {type(command).__name__ for command in read}
    assert {"Supply", "Redeem", "Borrow", "SetPositionMode", "TransferMargin", "PlaceOrder"} <= kinds


def expressible(outcome: Outcome) -> tuple[list[Command], list[bytes]]:
    """Of a run's commands those that files have words for, and the file; money and accounts apart."""
    world, kept = outcome.world, list[Order]()
    accounts = [order for order in outcome.orders if isinstance(order.command, OpenAccounts)][:2]
    for order in outcome.orders:
        if order.command is None or isinstance(order.command, OpenAccounts | Deposit):
            continue
        with suppress(InexpressibleError):
            command_lines(world, [*accounts, order])
            kept.append(order)
    return [order.command for order in kept if order.command], command_lines(world, [*accounts, *kept])
