"""F09, F10: days of the catalogue, run whole in a temporary directory; the figures are the summary's."""

import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zerodebt
from zerodebt.scenarios.models import PROMISE_BROKEN
from zerodebt.scenarios.models.small_venue import WitnessDisagreesError


def measure(seed: int, *, scenario: str, changes: Mapping[str, Any]) -> Mapping[str, float]:
    """Numbers of the summary and its claims' metrics; times of day in seconds after midnight UTC.

    changes  keys of the scenario file that differ, for instance fewer accounts
    """
    folder = Path(tempfile.mkdtemp(prefix="zerodebt-study-"))
    try:
        summary = zerodebt.run(scenario, seed=seed, out=folder, **changes).summary
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    audit = summary["audit"]
    if not audit["agrees"]:
        raise WitnessDisagreesError(f"{scenario}: {audit['findings'][:3]} {audit['differences']}")
    figures = {name: _number(value) for name, value in summary["metrics"].items()}
    clauses = {clause["letter"]: clause["figures"] for clause in audit["clauses"]}
    return {name: value for name, value in figures.items() if value is not None} | {
        PROMISE_BROKEN: not summary["promise_kept"],
        "owed": summary["receivables"]["amount"],
        "accounts_owing": summary["receivables"]["count"],
        "residual_open": sum(float(amount) for amount in summary["residual_open"].values()),
        "debts_open": clauses["a"]["debts_open"],
        "absorber_debt_atoms": clauses["c"]["largest_absorber_debt_atoms"],
        "interventions": clauses["i"]["interventions"],
    }


def _number(value: object) -> float | None:
    """None of what is no number: names, lists, and what did not happen."""
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            return None
        return time.hour * 3600 + time.minute * 60 + time.second + time.microsecond / 1e6
    return None
