"""The hand-made bugs can still be made, and the tables of the mutation runs say what they claim."""

import json
import tomllib

import pytest

from tests.mutants.bugs import HERE, ROOT, Bug, bugs
from tests.mutants.run import modules


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: f"{bug.property}: {bug.what}")
def test_the_text_that_a_bug_replaces_is_there_exactly_once(bug: Bug) -> None:
    assert (ROOT / bug.file).read_text().count(bug.old) == 1
    assert bug.new != bug.old
    assert all((ROOT / "tests" / name).is_file() for name in bug.tests)


def test_there_are_forty_bugs_at_least_and_each_has_its_own_description() -> None:
    assert len({bug.what for bug in bugs()}) == len(bugs()) >= 40


@pytest.mark.parametrize("name", modules())
def test_a_module_under_mutation_and_its_tests_are_there(name: str) -> None:
    module = modules()[name]
    assert (ROOT / module["file"]).is_file()
    assert all((ROOT / "tests" / test).is_file() for test in module["tests"])


def test_equivalent_mutants_are_of_known_modules_and_have_a_reason() -> None:
    for name, entries in tomllib.loads((HERE / "equivalent.toml").read_text()).items():
        assert name in modules()
        for entry in entries:
            assert entry["why"]
            assert all(before != after for before, after in entry["changes"])


@pytest.mark.parametrize("name", [name for name in modules() if (HERE / f"{name}.json").exists()])
def test_at_most_twelve_in_a_hundred_mutants_are_called_equivalent(name: str) -> None:
    result = json.loads((HERE / f"{name}.json").read_text())
    assert result["equivalent"] <= 0.12 * result["mutants"]
    tried = result["killed"] + result["survived"] + result["equivalent"] + result["untried"]
    assert tried == result["mutants"]


def test_every_bug_was_tried_and_caught() -> None:
    record = json.loads((HERE / "bugs.json").read_text())
    assert [entry["what"] for entry in record] == [bug.what for bug in bugs()]
    assert all(entry["caught_by"] for entry in record)
