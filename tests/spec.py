"""Which test holds which law: `python -m tests.spec` prints the table, with `--json` for machines,
with `--count` its sums.

The laws stand in properties.toml; a test names those that it covers by `@pytest.mark.spec("LIQ-07")`. Its
kind is S for a stateful machine of hypothesis (which is a property too), P for another property, T otherwise,
or what the mark says: `@pytest.mark.spec("RO-02", kind="M")`.
"""

import contextlib
import io
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, to_builtins

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "properties.md"
MECHANISM = re.compile(r"[A-Z]\d+")
"""Ids like F10 are rows of the table of mechanisms, which are no laws of the venue."""


class Law(Struct, frozen=True):
    kinds: str
    text: str


class Cover(Struct, frozen=True, order=True):
    """A test function with what its kind of test is."""

    node: str
    kinds: str


def laws(group: str) -> dict[str, Law]:
    """The laws of a group, `properties` or `attacks`, by id."""
    with (TESTS / "properties.toml").open("rb") as file:
        return {name: Law(*entry) for name, entry in tomllib.load(file)[group].items()}


def excused() -> dict[str, str]:
    """Laws that have no meaning in our design, with the reason, as docs/properties.md lists them."""
    return dict(re.findall(r"^- \*\*([A-Z]+-\d\d)\*\* (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


class Collector:
    """A pytest plugin that gathers marks and lets no test run."""

    def __init__(self) -> None:
        self.covers: dict[str, set[Cover]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for mark in item.iter_markers("spec"):
                node = item.nodeid.split("[", maxsplit=1)[0]
                cover = Cover(node, mark.kwargs.get("kind") or kind_of(item))
                for name in mark.args:
                    self.covers.setdefault(name, set()).add(cover)


def kind_of(item: Any) -> str:
    if hasattr(item.cls, "settings"):
        return "SP"
    return "P" if hasattr(item.obj, "hypothesis") else "T"


def covers() -> dict[str, list[Cover]]:
    """The tests of each id that some mark names, by pytest's collection of what `make test` runs."""
    collector = Collector()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(
            ["--collect-only", "-q", "-p", "no:cacheprovider", str(TESTS)], plugins=[collector]
        )
    if code != pytest.ExitCode.OK:
        raise SystemExit(said.getvalue())
    return {name: sorted(found) for name, found in sorted(collector.covers.items())}


def table() -> dict[str, Any]:
    found, reasons = covers(), excused()
    known = laws("properties") | laws("attacks")
    return {
        "laws": {
            name: {
                "law": law.text,
                "kinds": law.kinds,
                "excused": reasons.get(name),
                "tests": to_builtins(found.get(name, [])),
            }
            for name, law in known.items()
        },
        "others": {name: to_builtins(tests) for name, tests in found.items() if name not in known},
    }


def counts(rows: dict[str, Any]) -> str:
    """How many laws have tests, and how many tests of each kind there are."""
    tests = {test["node"]: test["kinds"] for row in rows.values() for test in row["tests"]}
    kinds = [f"{sum(kind in held for held in tests.values())} {kind}" for kind in "TPSMWX"]
    held = sum(1 for row in rows.values() if row["tests"])
    excused = sum(1 for row in rows.values() if row["excused"])
    says = f"{held} of {len(rows)} laws and attacks have tests, {excused} are excused"
    return f"{says}\n{len(tests)} tests: {', '.join(kinds)}"


def main(arguments: list[str]) -> None:
    answer = table()
    if arguments == ["--json"]:
        print(json.dumps(answer, indent=1))
        return
    if arguments == ["--count"]:
        print(counts(answer["laws"]))
        return
    for name, row in answer["laws"].items():
        print(f"{name} [{row['kinds']}] {row['law']}")
        if row["excused"]:
            print(f"    -  {row['excused']}")
        for test in row["tests"]:
            print(f"    {test['kinds']}  {test['node']}")


if __name__ == "__main__":
    main(sys.argv[1:])
