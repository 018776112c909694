"""One small world, run once: five minutes of the crash, 300 accounts, and a vault that is soon empty."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zerodebt.scenarios.cli import call
from zerodebt.scenarios.runner import Result, run

CRASH = "2025-10-11"
FIVE_MINUTES: dict[str, Any] = {
    "clock": {"start": "2025-10-10T21:14:00Z", "end": "2025-10-10T21:19:00Z"},
    "populations": {"HLP Liquidator": {"capital_usd": 1000.0}},
}
SETS = (
    "--set",
    "clock.start=2025-10-10T21:14:00Z",
    "--set",
    "clock.end=2025-10-10T21:19:00Z",
    "--set",
    "populations.HLP Liquidator.capital_usd=1000.0",
)

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(CRASH, accounts=300, out=tmp_path_factory.mktemp("runs"), **FIVE_MINUTES)


@pytest.fixture
def zerodebt(capfd: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process: exit code, standard output, standard error."""

    def called(*arguments: str | Path) -> tuple[int, str, str]:
        code = call([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return called


def is_one_sentence(text: str) -> bool:
    """One line, no traceback."""
    return text.count("\n") == 1 and text.startswith("zerodebt: ") and "Traceback" not in text
