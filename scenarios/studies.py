"""A study: one model in several arms over several seeds, and what is claimed of its figures.

An arm changes parameters, for instance switches a mechanism off; all arms of a seed have the same luck
(common random numbers). Cells (arm, seed) are kept as they end, so a study that was broken off goes on.
"""

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from zerodebt.exchange.specs import Name
from zerodebt.scenarios import config, rundir
from zerodebt.scenarios.config import Evidence
from zerodebt.scenarios.models import PROMISE_BROKEN
from zerodebt.scenarios.quantities import CallError, nearest

Measures = Mapping[str, float]
Model = Callable[..., Measures]
Told = Callable[[str, int, int], None]
"""Told (study, cells done, cells in all)."""

BASE = "base"
"""The arm with the parameters as they stand."""
CELLS = "cells.jsonl"
ZERO_DEBT = "ZERO-DEBT"
"""The row that every study answers whose venues promise zero debt."""
Statistic = Literal["median", "mean", "min", "max"]
_BOOTSTRAPS = 2_000
_CODE = (".py", ".toml", ".csv")
_INTERVAL_SEEDS_MIN = 5
_STATISTICS: dict[Statistic, Callable[[Sequence[float]], float]] = {
    "median": median,
    "mean": lambda values: float(np.mean(values)),
    "min": min,
    "max": max,
}


class StudyClaim(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What the figures are expected to show. The threshold is fixed before the run.

    id          the row that it answers: F36, V20
    measure     a figure of the model, in arm `arm`; with `over` divided by, with `less` minus the same figure
                of that arm and seed; `of` names another figure there
    low, high   bounds, both included; `above`, `below` are not included
    in_share    at least this share of the seeds lies within; otherwise `statistic` over the seeds does
    without     the arm with the mechanism off: a claim that holds there too is not explained by it
    """

    id: Name
    text: str
    measure: str
    arm: str = BASE
    over: str | None = None
    less: str | None = None
    of: str | None = None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    in_share: float | None = None
    statistic: Statistic = "median"
    without: str | None = None
    evidence: Evidence = "predicted"
    source: str = ""


class Study(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of catalogue/studies.

    model   module of zerodebt.scenarios.models
    seeds   0 to seeds - 1
    arms    name -> parameters that differ from `parameters`
    """

    name: Name
    title: str
    about: str
    model: Name
    seeds: int = 1
    parameters: dict[str, Any] = {}
    arms: dict[str, dict[str, Any]] = {}
    claims: tuple[StudyClaim, ...] = ()


class Finding(Struct, frozen=True):
    """A claim with its answer.

    measured   None when a seed has no such figure; the claim then failed
    interval   95 % bootstrap of the statistic over the seeds, from five seeds on
    off        the same figure with the mechanism off; `is_explained` is False when the claim holds there too
    """

    id: str
    study: str
    text: str
    figure: str
    evidence: Evidence
    seeds: int
    measured: float | None
    interval: tuple[float, float] | None
    off: float | None
    allowed: str
    held: bool
    is_explained: bool
    source: str

    @property
    def verdict(self) -> str:
        if not self.held:
            return "failed"
        return "held" if self.is_explained else "unexplained"


class Cell(NamedTuple):
    """One run of the model."""

    arm: str
    seed: int


class Done(Struct, frozen=True):
    """A finished study."""

    study: Study
    measures: dict[Cell, dict[str, float]]
    findings: tuple[Finding, ...]


def folder() -> Path:
    return config.catalogue() / "studies"


def names() -> list[str]:
    return sorted(path.stem for path in folder().glob("*.toml"))


def is_study(name: str) -> bool:
    return name in names()


def load(name: str, seeds: int | None = None, sets: Sequence[tuple[str, Any]] = ()) -> Study:
    """A study of the catalogue; `sets` change its parameters. Raises CallError in one sentence."""
    if name not in names():
        raise CallError(
            f"study {name!r} is not known{nearest(name, names())}; allowed are {', '.join(names())}"
        )
    table = config.read_table(folder() / f"{name}.toml")
    table = config.with_overrides(table, [(f"parameters.{path}", value) for path, value in sets])
    try:
        study = msgspec.convert(table, Study)
    except msgspec.ValidationError as error:
        raise CallError(f"{name}: {config.sentence(str(error), table, Study)}") from None
    if seeds is not None:
        if seeds < 1:
            raise CallError(f"--seeds: found {seeds}, allowed are whole numbers from 1")
        study = msgspec.structs.replace(study, seeds=seeds)
    for claim in study.claims:
        for arm in (claim.arm, claim.over, claim.less, claim.without):
            if arm is not None and arm not in arms_of(study):
                raise CallError(
                    f"{name}: claims.{claim.id}: found arm {arm!r}, allowed are {', '.join(arms_of(study))}"
                )
    return study


def answering(letter: str, rows: Sequence[str] = ()) -> list[Study]:
    """Studies that answer rows of a table (F of the claims, V of the literature), with those claims alone.

    rows  ids; none means all of them
    """
    found = [load(name) for name in names()]
    known = sorted({c.id for s in found for c in s.claims if c.id.startswith(letter)})
    for row in rows:
        if row not in known:
            raise CallError(f"row {row!r} is not known{nearest(row, known)}; allowed are {', '.join(known)}")
    wanted = set(rows or known)
    cut = [msgspec.structs.replace(s, claims=tuple(c for c in s.claims if c.id in wanted)) for s in found]
    return [study for study in cut if study.claims]


def arms_of(study: Study) -> dict[str, dict[str, Any]]:
    """All parameters of each arm."""
    changes: dict[str, dict[str, Any]] = {BASE: {}} | study.arms
    return {name: study.parameters | change for name, change in changes.items()}


def model_of(study: Study) -> Model:
    module = importlib.import_module(f"zerodebt.scenarios.models.{study.model}")
    measure: Model = module.measure
    return measure


def cells_of(study: Study) -> list[Cell]:
    """Only the arms that a claim asks for, or all where none does."""
    asked = {arm for c in study.claims for arm in (c.arm, c.over, c.less, c.without) if arm is not None}
    return [
        Cell(arm, seed) for arm in arms_of(study) if arm in asked or not asked for seed in range(study.seeds)
    ]


# Running


def study_id(study: Study) -> str:
    """`<name>-<8 hex>` of parameters and code: what a cell gives does not hang on thresholds and seeds."""
    content = [study.model, arms_of(study), _code_digest()]
    digest = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=4)
    return f"{study.name}-{digest.hexdigest()}"


@cache
def _code_digest() -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in code_files():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def code_files() -> list[Path]:
    """All that a model may call or read: modules, rulebooks, scenarios and their prices; no study's file."""
    packages = [
        Path(str(resources.files(f"zerodebt.{name}"))) for name in ("exchange", "agents", "scenarios")
    ]
    found = [path for package in packages for path in sorted(package.rglob("*"))]
    return [path for path in found if path.suffix in _CODE and path.parent.name not in ("studies", "claims")]


def run(
    study: Study, out: Path, jobs: int | None = None, tell: Told | None = None, *, force: bool = False
) -> Done:
    """Every cell that `out/<id>` does not hold yet, then the findings; the folder's files are written."""
    path = out / study_id(study)
    path.mkdir(parents=True, exist_ok=True)
    measures = {} if force else _kept(path / CELLS)
    wanted = cells_of(study)
    left = [cell for cell in wanted if cell not in measures]
    rundir.write_bytes(path / CELLS, "".join(map(_line, measures.items())).encode())
    if tell is not None and left:
        tell(study.name, len(wanted) - len(left), len(wanted))
    with (path / CELLS).open("a") as file:
        for cell, figures in _computed(study, left, jobs or os.cpu_count() or 1):
            measures[cell] = figures
            file.write(_line((cell, figures)))
            file.flush()
            if tell is not None:
                tell(study.name, sum(c in measures for c in wanted), len(wanted))
    done = Done(study, {cell: measures[cell] for cell in wanted}, tuple(check(study, measures)))
    rundir.write_json(path / rundir.SUMMARY, summary(done))
    rundir.write_bytes(path / rundir.DONE, b"")
    return done


def summary(done: Done) -> dict[str, Any]:
    """What `--json` prints."""
    arms: dict[str, dict[str, list[float]]] = {}
    for cell, figures in done.measures.items():
        for name, value in figures.items():
            arms.setdefault(cell.arm, {}).setdefault(name, []).append(value)
    return {
        "study": done.study.name,
        "id": study_id(done.study),
        "seeds": done.study.seeds,
        "findings": [msgspec.to_builtins(f) | {"verdict": f.verdict} for f in done.findings],
        "measures": arms,
    }


def _line(item: tuple[Cell, Measures]) -> str:
    cell, figures = item
    return json.dumps([*cell, figures]) + "\n"


def _kept(path: Path) -> dict[Cell, dict[str, float]]:
    """Cells of an earlier run; a last line that was cut off is left out."""
    kept = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            arm, seed, figures = json.loads(line)
        except ValueError:
            continue
        kept[Cell(arm, seed)] = figures
    return kept


def _computed(study: Study, cells: Sequence[Cell], jobs: int) -> Iterator[tuple[Cell, dict[str, float]]]:
    if jobs == 1 or len(cells) == 1:
        yield from ((cell, _compute(study, cell)) for cell in cells)
        return
    with ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(_compute, study, cell): cell for cell in cells}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _compute(study: Study, cell: Cell) -> dict[str, float]:
    figures = model_of(study)(cell.seed, **arms_of(study)[cell.arm])
    return {name: float(value) for name, value in figures.items()}


# Findings


def check(study: Study, measures: Mapping[Cell, Measures]) -> Iterator[Finding]:
    """Every claim in the file's order; then the promise of zero debt, where a venue of the study gives it."""
    yield from (_finding(study, claim, measures) for claim in study.claims)
    told = {cell: measures[cell] for cell in cells_of(study) if PROMISE_BROKEN in measures[cell]}
    if told:
        yield _kept_promise(study, {cell: figures[PROMISE_BROKEN] for cell, figures in told.items()})


def _kept_promise(study: Study, broken: Mapping[Cell, float]) -> Finding:
    """Runs that broke the promise, over all arms and seeds; the arms are named."""
    arms = {arm: sum(n for cell, n in broken.items() if cell.arm == arm) for arm in arms_of(study)}
    where = ", ".join(f"{arm}: {n:g}" for arm, n in arms.items() if n)
    total = sum(broken.values())
    return Finding(
        ZERO_DEBT,
        study.name,
        "zero debt is kept wherever a venue promises it",
        f"runs that broke the promise{f' ({where})' if where else ''}",
        "identity",
        study.seeds,
        total,
        None,
        None,
        "0",
        not total,
        True,
        "",
    )


def _finding(study: Study, claim: StudyClaim, measures: Mapping[Cell, Measures]) -> Finding:
    values = _values(study, claim, claim.arm, measures)
    off = None if claim.without is None else _values(study, claim, claim.without, measures)
    return Finding(
        claim.id,
        study.name,
        claim.text,
        figure_text(claim),
        claim.evidence,
        study.seeds,
        None if values is None else _figure(claim, values),
        None if values is None else _interval(claim, values),
        None if off is None else _figure(claim, off),
        allowed_text(claim),
        values is not None and _holds(claim, values),
        off is None or not _holds(claim, off),
        claim.source,
    )


def _values(
    study: Study, claim: StudyClaim, arm: str, measures: Mapping[Cell, Measures]
) -> list[float] | None:
    """The figure of each seed."""
    values = []
    for seed in range(study.seeds):
        value = measures[Cell(arm, seed)].get(claim.measure)
        other_arm = claim.over or claim.less
        if value is None:
            return None
        if other_arm is not None or claim.of is not None:
            other = measures[Cell(other_arm or arm, seed)].get(claim.of or claim.measure)
            if other is None:
                return None
            value = value - other if claim.less else _ratio(value, other)
        values.append(value)
    return values


def _ratio(value: float, other: float) -> float:
    if other == 0:
        return float("nan") if value == 0 else float("inf") * np.sign(value)
    return value / other


def _figure(claim: StudyClaim, values: Sequence[float]) -> float:
    if claim.in_share is not None:
        return sum(_within(claim, value) for value in values) / len(values)
    return float(_STATISTICS[claim.statistic](values))


def _holds(claim: StudyClaim, values: Sequence[float]) -> bool:
    figure = _figure(claim, values)
    return figure >= claim.in_share if claim.in_share is not None else _within(claim, figure)


def _within(claim: StudyClaim, value: float) -> bool:
    """Not a number lies within nothing."""
    return (
        not np.isnan(value)
        and (claim.low is None or value >= claim.low)
        and (claim.high is None or value <= claim.high)
        and (claim.above is None or value > claim.above)
        and (claim.below is None or value < claim.below)
    )


def _interval(claim: StudyClaim, values: Sequence[float]) -> tuple[float, float] | None:
    if len(values) < _INTERVAL_SEEDS_MIN:
        return None
    luck = np.random.default_rng(0)
    drawn = luck.choice(np.array(values), (_BOOTSTRAPS, len(values)))
    figures = [_figure(claim, row) for row in drawn.tolist()]
    low, high = np.quantile(figures, (0.025, 0.975))
    return float(low), float(high)


def figure_text(claim: StudyClaim) -> str:
    """What is measured, in words of the file."""
    text = claim.measure if claim.arm == BASE else f"{claim.measure} ({claim.arm})"
    joined = "/" if not claim.less else "-"
    other = claim.over or claim.less
    if other is not None or claim.of is not None:
        text = f"{text} {joined} {claim.of or claim.measure} ({other or claim.arm})"
    if claim.in_share is not None:
        return f"share of seeds with {text} {_bounds_text(claim)}"
    return f"{claim.statistic} of {text}" if claim.statistic != "median" else text


def allowed_text(claim: StudyClaim) -> str:
    return f"at least {claim.in_share:g}" if claim.in_share is not None else _bounds_text(claim)


def _bounds_text(claim: StudyClaim) -> str:
    if claim.low is not None and claim.high is not None:
        if claim.low == claim.high:
            return f"{claim.low:g}"
        return f"{claim.low:g} to {claim.high:g}"
    bounds = (
        ("at least", claim.low),
        ("at most", claim.high),
        ("above", claim.above),
        ("below", claim.below),
    )
    return ", ".join(f"{word} {value:g}" for word, value in bounds if value is not None)
