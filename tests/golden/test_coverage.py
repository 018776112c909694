"""Every published figure is run by a test or listed in docs/venues.md with the reason, and none is both."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
PAGE = ROOT / "docs" / "venues.md"
COUNT = 431
"""What was published or derived for this suite, in the files here and on the page."""


@cache
def listed() -> frozenset[str]:
    table = PAGE.read_text(encoding="utf-8").partition("Not passed, with the reason:")[2]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")][1:]
    return frozenset(name.strip() for cell in first_cells for name in cell.split(","))


@cache
def here() -> frozenset[str]:
    return frozenset(
        str(vector["id"])
        for path in FOLDER.glob("*.json")
        for vector in json.loads(path.read_text(encoding="utf-8"))
    )


@cache
def run() -> frozenset[str]:
    """Ids among the parameters of the collected tests, and those that a test's text names."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/golden", "tests/exchange"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    parameters = set(re.findall(r"\[([^\]]+)\]", done.stdout))
    sources = [*FOLDER.glob("test_*.py"), *(ROOT / "tests" / "exchange").glob("test_*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    words = set(re.findall(r"[A-Za-z0-9-]+", text))
    return frozenset(
        name
        for name in here()
        if name in words or any(p == name or p.startswith(f"{name}-") for p in parameters)
    )


def test_no_figure_is_left_out_in_silence() -> None:
    assert sorted(here() - run() - listed()) == []


def test_no_figure_is_listed_that_passes_whole() -> None:
    """What is listed has no test, or a test whose text says that it leaves the figure out."""
    left_out = {"drift-fund-04", "match-lb-015", "match-lb-017", "match-lb-018"}
    assert sorted((listed() & run()) - left_out) == []


def test_all_figures_are_accounted_for() -> None:
    assert len(here() | listed()) == COUNT


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda p: str(p.stem))
def test_every_figure_states_its_source(path: Path) -> None:
    for vector in json.loads(path.read_text(encoding="utf-8")):
        assert vector["source"], vector["id"]
        assert "mirror" not in vector["source"], vector["id"]
