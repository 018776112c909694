"""The hand-made bugs can still be made, and the tables of the mutation runs say what they claim."""

import json
import tomllib

import pytest

from tests.mutants.bugs import HERE, ROOT, Bug, NoVerdictError, bugs, failed_test
from tests.mutants.run import COLUMNS, modules, print_table, shares


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


@pytest.mark.parametrize("name", modules())
def test_nine_in_ten_mutants_of_a_module_are_noticed_and_few_are_called_equivalent(name: str) -> None:
    result = json.loads((HERE / f"{name}.json").read_text())
    mutants, *kinds = (result[column] for column in COLUMNS)
    assert sum(kinds) == mutants
    _, of_all = shares(result)
    assert of_all >= 90
    assert result["equivalent"] <= 0.12 * mutants


def test_a_mutant_that_nobody_tried_is_in_the_share_of_all_and_a_timeout_is_noticed() -> None:
    """Of 10: 5 killed, 1 timed out, 2 survived, 1 equivalent, 1 untried: 6 of 8, and 6 of 9."""
    result = dict(zip(COLUMNS, (10, 5, 1, 2, 1, 1), strict=True))
    assert shares(result) == (100 * 6 / 8, 100 * 6 / 9)
    assert shares(dict.fromkeys(COLUMNS, 0)) == (0, 0)


def test_the_table_shows_what_is_untried(capsys: pytest.CaptureFixture[str]) -> None:
    print_table({"units": dict(zip(COLUMNS, (10, 5, 1, 2, 1, 1), strict=True))})
    heads, row, total, _ = capsys.readouterr().out.splitlines()
    assert heads.split("  ")[-1].strip() == "of all"
    assert row.split() == ["units", "10", "5", "1", "2", "1", "1", "75.0%", "66.7%"]
    assert total.split()[1:] == row.split()[1:]


def test_every_bug_was_tried_and_caught() -> None:
    record = json.loads((HERE / "bugs.json").read_text())
    assert [entry["what"] for entry in record] == [bug.what for bug in bugs()]
    for entry in record:
        assert "::test_" in entry["caught_by"] or "timed out" in entry["caught_by"]


def test_only_a_test_that_failed_catches_a_bug() -> None:
    failed = "F\nFAILED tests/a.py::test_b - assert 1 == 2\n1 failed"
    assert failed_test(1, failed) == "tests/a.py::test_b"
    for code, printed in (
        (2, "ERROR tests/a.py\n"),
        (1, "ERROR tests/a.py::test_b\n"),
        (4, ""),
        (-9, failed),
    ):
        with pytest.raises(NoVerdictError, match=f"pytest ended with {code} "):
            failed_test(code, printed)
