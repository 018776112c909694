"""A study's cells, arms and findings, on a model whose figures are known."""

import json
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from zerodebt.scenarios import studies
from zerodebt.scenarios.models import PROMISE_BROKEN
from zerodebt.scenarios.quantities import CallError
from zerodebt.scenarios.studies import BASE, ZERO_DEBT, Cell, Study, StudyClaim


def study(*claims: StudyClaim, seeds: int = 3) -> Study:
    """`gain` is the seed times `factor`; the arm `off` has the factor 0."""
    return Study(
        name="toy",
        title="",
        about="",
        model="toy",
        seeds=seeds,
        parameters={"factor": 2},
        arms={"off": {"factor": 0}},
        claims=claims,
    )


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The model, in this process; the seeds that it was asked for."""
    asked: list[int] = []
    module = ModuleType("zerodebt.scenarios.models.toy")

    def measure(seed: int, *, factor: float) -> dict[str, float]:
        asked.append(seed)
        return {"gain": seed * factor, "stake": 4.0}

    module.measure = measure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zerodebt.scenarios.models.toy", module)
    return asked


def finding(claim: StudyClaim, tmp_path: Path, seeds: int = 3) -> studies.Finding:
    return studies.run(study(claim, seeds=seeds), tmp_path, jobs=1).findings[0]


def test_statistic_over_the_seeds_lies_within_its_bounds(tmp_path: Path) -> None:
    claim = StudyClaim(id="F01", text="", measure="gain", low=2, high=2)
    found = finding(claim, tmp_path)
    assert (found.measured, found.verdict, found.allowed, found.seeds) == (2.0, "held", "2", 3)
    assert finding(msgspec.structs.replace(claim, statistic="max"), tmp_path).verdict == "failed"


def test_bound_itself_is_not_above(tmp_path: Path) -> None:
    assert finding(StudyClaim(id="F01", text="", measure="gain", above=2), tmp_path).verdict == "failed"
    assert finding(StudyClaim(id="F01", text="", measure="gain", above=1.9), tmp_path).verdict == "held"


def test_claim_that_holds_with_its_mechanism_off_is_unexplained(tmp_path: Path) -> None:
    weak = StudyClaim(id="F01", text="", measure="gain", low=0, without="off")
    assert finding(weak, tmp_path).verdict == "unexplained"
    strong = msgspec.structs.replace(weak, low=1)
    found = finding(strong, tmp_path)
    assert (found.verdict, found.measured, found.off) == ("held", 2.0, 0.0)


def test_figures_are_compared_seed_by_seed(tmp_path: Path) -> None:
    """Gains 0, 2, 4 less stakes of 4; the share of seeds that lose."""
    claim = StudyClaim(id="F01", text="", measure="gain", of="stake", less=BASE, below=0, in_share=0.6)
    found = finding(claim, tmp_path)
    assert found.measured == pytest.approx(2 / 3)
    assert found.verdict == "held"
    assert finding(msgspec.structs.replace(claim, in_share=0.7), tmp_path).verdict == "failed"


def test_figure_that_is_missing_or_no_number_fails(tmp_path: Path) -> None:
    assert finding(StudyClaim(id="F01", text="", measure="loss", low=0), tmp_path).measured is None
    claim = StudyClaim(id="F01", text="", measure="gain", over="off", low=-1e9, arm="off")
    assert finding(claim, tmp_path).verdict == "failed"


def test_interval_from_five_seeds_on(tmp_path: Path) -> None:
    claim = StudyClaim(id="F01", text="", measure="gain", low=0, statistic="mean")
    assert finding(claim, tmp_path).interval is None
    interval = finding(claim, tmp_path, seeds=20).interval
    assert interval is not None
    assert interval[0] < 19 < interval[1]


def test_study_that_was_broken_off_goes_on(tmp_path: Path, toy: list[int]) -> None:
    claim = StudyClaim(id="F01", text="", measure="gain", low=0)
    one = study(claim)
    path = tmp_path / studies.study_id(one)
    path.mkdir()
    (path / studies.CELLS).write_text(json.dumps(["base", 1, {"gain": 7.0}]) + "\n" + '["base", 2, {"ga')
    done = studies.run(one, tmp_path, jobs=1)
    assert sorted(toy) == [0, 2]
    assert [done.measures[Cell(BASE, seed)]["gain"] for seed in range(3)] == [0.0, 7.0, 4.0]
    assert studies.run(one, tmp_path, jobs=1).findings == done.findings
    assert sorted(toy) == [0, 2], "nothing is computed twice"


def test_kept_cells_hang_on_scenarios_and_rulebooks_too_but_on_no_threshold() -> None:
    read = {path.name for path in studies.code_files()}
    assert {"leverage-cycle.toml", "leverage-cycle.waypoints.csv", "binance_usdm.toml", "gaps.py"} <= read
    assert not read & {"S04.toml", "rows.toml"}


def test_only_arms_that_a_claim_asks_for_are_run() -> None:
    cells = studies.cells_of(study(StudyClaim(id="F01", text="", measure="gain", low=0), seeds=1))
    assert cells == [Cell(BASE, 0)]


def test_broken_promise_of_zero_debt_fails_the_study_and_names_the_arm() -> None:
    """The base breaks it in one run of seed 1; `off` says nothing of a promise."""
    claim = StudyClaim(id="F01", text="", measure="gain", low=0, without="off")
    measures = {
        Cell(arm, seed): {"gain": 1.0} | ({PROMISE_BROKEN: float(seed == 1)} if arm == BASE else {})
        for arm in (BASE, "off")
        for seed in range(3)
    }
    *_, found = studies.check(study(claim), measures)
    assert (found.id, found.measured, found.verdict) == (ZERO_DEBT, 1.0, "failed")
    assert found.figure == "runs that broke the promise (base: 1)"
    measures[Cell(BASE, 1)][PROMISE_BROKEN] = 0.0
    *_, found = studies.check(study(claim), measures)
    assert (found.measured, found.verdict) == (0.0, "held")


def test_study_without_a_venue_has_no_promise_to_keep() -> None:
    claim = StudyClaim(id="F01", text="", measure="gain", low=0)
    findings = studies.check(study(claim, seeds=1), {Cell(BASE, 0): {"gain": 1.0}})
    assert [found.id for found in findings] == ["F01"]


def test_every_study_of_the_catalogue_is_readable() -> None:
    """Ids are rows, arms are known, a claim has a bound, and a model is there."""
    for name in studies.names():
        one = studies.load(name)
        assert one.name == name
        assert callable(studies.model_of(one))
        for claim in one.claims:
            assert studies.allowed_text(claim), (name, claim.id)


def test_wrong_study_row_and_parameter_are_one_sentence_each() -> None:
    with pytest.raises(CallError, match="row 'V99' is not known"):
        studies.answering("V", ["V99"])
    with pytest.raises(CallError, match="--seeds: found 0, allowed are whole numbers from 1"):
        studies.load(studies.names()[0], 0)
