"""What the simulation found, each as the shortest list of commands that showed it."""

from pathlib import Path

import pytest

from tests.simulation.files import command_lines, read_case
from tests.simulation.runs import Run
from tests.simulation.simulator import replay
from zerodebt.exchange.venue import Venue
from zerodebt.scenarios import orders

CASES = sorted((Path(__file__).parent / "regressions").glob("*.json"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_once_broke_a_law_no_longer_does(path: Path) -> None:
    case = read_case(path)
    violation = replay(case.world, case.orders).violation
    assert violation is None, f"{case.law} was broken once; now {violation}"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_is_the_same_run_as_its_command_file(path: Path) -> None:
    case = read_case(path)
    session = orders.read(command_lines(case.world, case.orders), path.stem)
    venue = Venue(session.rules, session.assets, session.instruments)
    for step in session.steps:
        venue.apply(step.command, step.at_ns)
    run = Run(case.world)
    for order in case.orders:
        run.apply(order)
    assert venue.state_hash() == run.venue.state_hash()
