"""The commands of docs/adl.md: two policies that take different lots."""

import re
from pathlib import Path

from tests.scenarios.conftest import CRASH, FIVE_MINUTES
from zerodebt.scenarios import config
from zerodebt.scenarios.runner import run

PAGE = (Path(__file__).parents[2] / "docs" / "adl.md").read_text(encoding="utf-8")


def test_policies_of_the_example_take_differently() -> None:
    lines = re.findall(r"^zerodebt run 2025-10-11 --accounts 2000 (.*)$", PAGE, re.MULTILINE)
    assert len(lines) == 2
    taken = []
    for line in lines:
        sets = dict(config.parse_override(text) for text in line.removeprefix("--set ").split(" --set "))
        result = run(CRASH, accounts=300, **FIVE_MINUTES, **sets)
        taken.append(result.frame("adl").select("winner", "instrument", "lots").rows())
    assert taken[0]
    assert taken[0] != taken[1]
