"""What the simulation found, each as the shortest list of commands that showed it."""

from pathlib import Path

import pytest

from tests.simulation.files import read_case
from tests.simulation.simulator import replay

CASES = sorted((Path(__file__).parent / "regressions").glob("*.json"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_once_broke_a_law_no_longer_does(path: Path) -> None:
    case = read_case(path)
    violation = replay(case.world, case.orders).violation
    assert violation is None, f"{case.law} was broken once; now {violation}"
