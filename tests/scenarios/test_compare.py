"""Two runs side by side."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import Call, is_one_sentence
from zerodebt.scenarios import rundir
from zerodebt.scenarios.runner import Result


@pytest.fixture
def other(small_run: Result, tmp_path: Path) -> Path:
    """The same run with other figures; of an earlier version, which did not keep what was received."""
    path = tmp_path / "other"
    path.mkdir()
    shutil.copy(small_run.path / rundir.DONE, path)
    changed = {
        "id": "other",
        "verdict": "RESIDUAL",
        "paid_by_stage": {"house": "7.000000"},
        "audit": small_run.summary["audit"] | {"holdings_digest": "0"},
        "metrics": small_run.summary["metrics"] | {"adl_fills": 12_345},
        "claims": [claim | {"measured": None, "held": False} for claim in small_run.summary["claims"]],
    }
    summary = {k: v for k, v in (small_run.summary | changed).items() if k != "received_by_stage"}
    rundir.write_json(path / rundir.SUMMARY, summary)
    return path


def rows_of(out: str) -> dict[tuple[str, str], tuple[Any, Any]]:
    return {(row["group"], row["name"]): (row["first"], row["second"]) for row in json.loads(out)["rows"]}


def test_run_beside_itself_differs_in_nothing(zerodebt: Call, small_run: Result) -> None:
    code, out, err = zerodebt("compare", small_run.path, small_run.path, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["runs"], found["warning"], found["same_digest"]) == ([small_run.path.name] * 2, "", True)
    assert all(first == second for first, second in rows_of(out).values())
    assert "*" not in zerodebt("compare", small_run.path, small_run.path)[1]


def test_figures_of_both_runs_stand_side_by_side(zerodebt: Call, small_run: Result, other: Path) -> None:
    code, out, err = zerodebt("compare", small_run.path, other, "--json")
    assert (code, err) == (0, "")
    assert not json.loads(out)["same_digest"]
    rows = rows_of(out)
    summary = small_run.summary
    assert rows["run", "verdict"] == (summary["verdict"], "RESIDUAL")
    assert rows["paid by", "house"] == (summary["paid_by_stage"].get("house"), "7.000000")
    assert rows["metrics", "adl_fills"] == (summary["metrics"]["adl_fills"], 12_345)
    notional = summary["metrics"]["liquidation_book_notional_usd"]
    assert rows["metrics", "liquidation_book_notional_usd"] == (notional, notional)
    claim = summary["claims"][0]
    assert rows["claims measured", claim["id"]] == (claim["measured"], None)
    assert ("metrics", "takeover_notional_2115_2127_usd") not in rows
    text = zerodebt("compare", small_run.path, other)[1]
    (line,) = [line for line in text.splitlines() if line.startswith("metrics") and "adl_fills" in line]
    assert line.split()[-2:] == ["12,345", "*"]


def test_runs_of_different_scenarios_are_compared_with_a_warning(
    zerodebt: Call, small_run: Result, other: Path
) -> None:
    summary = rundir.read_json(other / rundir.SUMMARY)
    rundir.write_json(other / rundir.SUMMARY, summary | {"scenario": "flat"})
    code, out, err = zerodebt("compare", small_run.path, other, "--json")
    assert (code, is_one_sentence(err)) == (0, True)
    assert "different scenarios, 2025-10-11 and flat" in err
    assert json.loads(out)["warning"] in err


def test_damaged_summary_is_one_sentence(zerodebt: Call, small_run: Result, other: Path) -> None:
    rundir.write_json(other / rundir.SUMMARY, {"id": "other"})
    code, out, err = zerodebt("compare", small_run.path, other)
    assert (code, out) == (3, "")
    assert is_one_sentence(err), err
