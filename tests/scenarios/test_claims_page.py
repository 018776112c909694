"""Rows of the founding claims, the page that answers them, and the commands that print them."""

import json
from pathlib import Path

import pytest

from zerodebt.scenarios import claims_page, studies
from zerodebt.scenarios.claims_page import Row
from zerodebt.scenarios.cli import call
from zerodebt.scenarios.studies import Done, Finding, Study

NOT_MODELLED_MAX = 10


def found(row: str, *, held: bool = True, is_explained: bool = True) -> Finding:
    return Finding(
        row, "S04", "", "core", "predicted", 3, 1.5, (1.0, 2.0), 0.5, "at least 1", held, is_explained, ""
    )


def done(*findings: Finding) -> Done:
    return Done(Study(name="S04", title="", about="", model="toy"), {}, findings)


def test_every_founding_claim_has_a_study_or_says_why_not() -> None:
    rows = claims_page.rows()
    assert list(rows) == [f"F{n:02}" for n in range(1, 106)]
    answered = {claim.id for study in studies.answering("F") for claim in study.claims}
    assert answered <= rows.keys()
    silent = [name for name in rows if name not in answered]
    assert [name for name in silent if not rows[name].not_modelled] == []
    assert len(silent) <= NOT_MODELLED_MAX


def test_a_rows_verdict_is_its_worst() -> None:
    row = Row("It holds.")
    assert claims_page.verdict([found("F01"), found("F01", held=False)], row) == "failed"
    assert claims_page.verdict([found("F01"), found("F01", is_explained=False)], row) == "unexplained"
    assert claims_page.verdict([found("F01")], row) == "held"
    assert claims_page.verdict([], Row("It holds.", "there is no model of it")) == "not modelled"


def test_the_page_counts_rows_and_shows_each_figure_beside_its_target() -> None:
    page = claims_page.page([done(found("F30"), found("F31", held=False))])
    assert "1 failed, 1 held" in page
    (line,) = (line for line in page.splitlines() if line.startswith("| F31 "))
    assert line.endswith("| failed | S04 | core | 1.5 | 1 to 2 | 0.5 | at least 1 | 3 |")


def test_the_page_ends_with_the_promise_of_zero_debt() -> None:
    page = claims_page.page([done(found("F30"), found(studies.ZERO_DEBT, held=False))])
    assert "1 held" in page
    assert page.splitlines()[-1].startswith(f"| {studies.ZERO_DEBT} | ")
    assert "| failed | S04 |" in page.splitlines()[-1]


def test_validate_prints_the_row_and_goes_on_from_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert call(["validate", "V26", "--out", str(tmp_path), "--json"]) == 0
        (study,) = json.loads(capsys.readouterr().out)
        assert {finding["verdict"] for finding in study["findings"]} == {"held"}
    assert call(["run", "leverage-equilibrium", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("V26") == 6


def test_unknown_row_and_parameter_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["validate", "V999"]) == 2
    assert "row 'V999' is not known" in capsys.readouterr().err
    assert call(["claims", "V26"]) == 2
    assert "row 'V26' is not known" in capsys.readouterr().err
