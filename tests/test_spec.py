"""Every law has a test of the kind that it asks for, and every mark names a law."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.spec import MECHANISM, PAGE, excused, laws

TREE = Path(__file__).parents[1]
EXCUSED_MAX = 8


@pytest.fixture(scope="module")
def table() -> Any:
    """What the command says; it collects in a process of its own."""
    command = [sys.executable, "-m", "tests.spec", "--json"]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def without_a_test(table: Any, group: str) -> list[str]:
    """Ids of a group that no test of one of their kinds covers, nor an excuse."""
    return [
        f"{name} [{law.kinds}]"
        for name, law in laws(group).items()
        if not table["laws"][name]["excused"]
        and not any(set(law.kinds) & set(test["kinds"]) for test in table["laws"][name]["tests"])
    ]


def test_every_property_has_a_test_of_its_kind(table: Any) -> None:
    assert without_a_test(table, "properties") == []


def test_every_attack_has_a_test(table: Any) -> None:
    assert without_a_test(table, "attacks") == []


def test_every_mark_names_a_law_or_a_mechanism(table: Any) -> None:
    assert [name for name in table["others"] if not MECHANISM.fullmatch(name)] == []


def test_every_kind_is_known(table: Any) -> None:
    for row in table["laws"].values():
        for test in row["tests"]:
            assert set(test["kinds"]) <= set("TPSMWX"), test


def test_there_are_87_properties_and_12_attacks() -> None:
    assert (len(laws("properties")), len(laws("attacks"))) == (87, 12)


def test_few_laws_are_excused_and_each_with_a_reason() -> None:
    assert len(excused()) <= EXCUSED_MAX
    for name, reason in excused().items():
        assert name in laws("properties"), name
        assert reason.endswith("."), name


def test_page_names_laws_only() -> None:
    named = {word.strip("*,.:;()`") for word in PAGE.read_text(encoding="utf-8").split()}
    known = laws("properties") | laws("attacks")
    prefixes = {name.split("-")[0] for name in known}
    ids = {word for word in named if word[-2:].isdigit() and word.split("-")[0] in prefixes}
    assert ids
    assert ids <= set(known)
