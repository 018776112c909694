"""What a scenario claims, held against what was measured."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from zerodebt.scenarios.config import Claim, Evidence, figure_of


class Checked(Struct, frozen=True):
    """A claim with its answer. `measured` is None when the run has no such figure; the claim then failed."""

    id: str
    text: str
    metric: str
    evidence: Evidence
    measured: float | str | None
    allowed: str
    held: bool
    source: str = ""
    baseline: str = ""

    @property
    def counts(self) -> bool:
        return self.evidence == "predicted"


class Score(Struct, frozen=True):
    """Claims of one kind of evidence."""

    evidence: Evidence
    held: int
    failed: int


def check(claims: Iterable[Claim], measures: Mapping[str, Any]) -> tuple[Checked, ...]:
    """Every claim in the file's order."""
    return tuple(_check_one(claim, measures.get(claim.metric)) for claim in claims)


def _check_one(claim: Claim, measured: Any) -> Checked:
    held = False
    if measured is not None:
        value = figure_of(measured)
        if claim.expected is not None:
            held = abs(value - figure_of(claim.expected)) <= (claim.tolerance or 0)
        else:
            above = claim.low is None or value >= figure_of(claim.low)
            held = above and (claim.high is None or value <= figure_of(claim.high))
    shown = measured if measured is None or isinstance(measured, str) else float(measured)
    return Checked(
        claim.id,
        claim.text,
        claim.metric,
        claim.evidence,
        shown,
        allowed_text(claim),
        held,
        claim.source,
        claim.baseline,
    )


def allowed_text(claim: Claim) -> str:
    if claim.expected is not None:
        unit = " s" if "T" in str(claim.expected) else ""
        within = f" +- {figure(claim.tolerance)}{unit}" if claim.tolerance else ""
        return f"{figure(claim.expected)}{within}"
    if claim.low is None:
        return f"at most {figure(claim.high)}"
    if claim.high is None:
        return f"at least {figure(claim.low)}"
    return f"{figure(claim.low)} to {figure(claim.high)}"


def figure(value: Any) -> str:
    """A number for people: thousands grouped, at most four significant decimals; None is 'none'."""
    if value is None:
        return "none"
    if isinstance(value, str) and "T" in value:
        return value
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        return str(value)
    if number == number.to_integral_value():
        return f"{int(number):,}"
    return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:,.4f}".rstrip("0").rstrip(".")


def scores(checked: Iterable[Checked]) -> tuple[Score, ...]:
    """Held and failed per kind of evidence, the predicted first."""
    order: tuple[Evidence, ...] = ("predicted", "fitted", "input", "identity")
    listed = list(checked)
    found = []
    for evidence in order:
        mine = [c for c in listed if c.evidence == evidence]
        if mine:
            held = sum(c.held for c in mine)
            found.append(Score(evidence, held, len(mine) - held))
    return tuple(found)
