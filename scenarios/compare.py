"""Two finished runs side by side, from what their directories say."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from zerodebt.scenarios import rundir

_RUN = ("scenario", "seed", "rulebook", "version", "settle_asset")
_KEYS = (
    "id",
    *_RUN,
    "verdict",
    "promise_kept",
    "audit",
    "claims",
    "paid_by_stage",
    "overcharge",
    "harm",
    "residual_open",
    "metrics",
)
_FIGURES = (
    "liquidations_started",
    "liquidated_accounts",
    "liquidation_book_notional",
    "takeover_notional",
    "deficits",
    "deficits_opened",
    "adl_fills",
    "adl_accounts",
    "adl_notional",
    "adl_transfer",
    "adl_top1_share",
)
"""Metrics of both sections, amounts without their unit."""


class Row(Struct, frozen=True):
    """One figure of both runs; None where a run has no such figure."""

    group: str
    name: str
    first: Any
    second: Any


class Comparison(Struct, frozen=True):
    """Everything that is compared.

    warning      why the two are no pair, or nothing
    same_digest  do both runs end with the same balances and positions?
    """

    runs: tuple[str, str]
    warning: str
    same_digest: bool
    rows: tuple[Row, ...]


def compare(first: Path, second: Path) -> Comparison:
    """DataError where a directory is not that of a finished run."""
    paths = (rundir.finished(first), rundir.finished(second))
    one, other = (_summary(path / rundir.SUMMARY) for path in paths)
    names = (one["scenario"], other["scenario"])
    warning = (
        f"the runs are of different scenarios, {names[0]} and {names[1]}" if names[0] != names[1] else ""
    )
    same = one["audit"]["holdings_digest"] == other["audit"]["holdings_digest"]
    return Comparison((one["id"], other["id"]), warning, same, tuple(_rows(one, other)))


def _summary(path: Path) -> dict[str, Any]:
    """A run of an earlier version kept nothing of what was received."""
    summary = {key: rundir.recorded(path, key) for key in _KEYS}
    received: dict[str, Any] = {"received_by_stage": rundir.read_json(path).get("received_by_stage", {})}
    return received | summary


def _rows(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Row]:
    for key in (*_RUN, "verdict", "promise_kept"):
        yield Row("run", key, one[key], other[key])
    for key in ("agrees", "holdings_digest"):
        yield Row("audit", key, one["audit"][key], other["audit"][key])
    claims = [{claim["id"]: claim for claim in run["claims"]} for run in (one, other)]
    for key in ("measured", "held"):
        figures = ({name: claim[key] for name, claim in known.items()} for known in claims)
        yield from _pairs(f"claims {key}", *figures)
    for group, key in (("paid by", "paid_by_stage"), ("received in", "received_by_stage")):
        yield from _pairs(group, one[key], other[key])
    for key in ("overcharge", "harm"):
        yield Row("missing and taken", key, one[key], other[key])
    yield from _pairs("residual open", one["residual_open"], other["residual_open"])
    yield from _pairs("metrics", *(_figures(run["metrics"]) for run in (one, other)))


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Those of _FIGURES, by their names with the unit."""
    return {key: metrics[key] for name in _FIGURES for key in metrics if _is_of(key, name)}


def _is_of(key: str, name: str) -> bool:
    """Is a metric's key the name, or the name and a unit?"""
    unit = key.removeprefix(f"{name}_")
    return key == name or (unit != key and "_" not in unit)


def _pairs(group: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Row]:
    for name in dict.fromkeys((*one, *other)):
        yield Row(group, name, one.get(name), other.get(name))
