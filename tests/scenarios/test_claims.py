"""Claims: held or failed with both numbers; only predicted ones count."""

import pytest

from zerodebt.scenarios import claims
from zerodebt.scenarios.config import Claim


def claim(**fields: object) -> Claim:
    return Claim(id="c", text="t", metric="m", evidence="predicted", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "measured", "held"),
    [
        ({"expected": 10, "tolerance": 2}, 12.0, True),
        ({"expected": 10, "tolerance": 2}, 12.1, False),
        ({"expected": 0}, 0, True),
        ({"expected": 0}, 1, False),
        ({"expected": "0.3"}, 0.1 + 0.2, False),
        ({"low": 1}, 1, True),
        ({"low": 1}, 0.99, False),
        ({"low": 1, "high": 2}, 2.5, False),
        ({"expected": "2025-10-10T21:16:04Z", "tolerance": 180}, "2025-10-10T21:19:04Z", True),
        ({"expected": "2025-10-10T21:16:04Z", "tolerance": 180}, "2025-10-10T21:19:04.001Z", False),
        ({"low": "2025-10-10T21:13:00Z"}, "2025-10-10T21:12:59Z", False),
        ({"expected": 0}, None, False),
    ],
)
def test_claim_is_held_within_its_bounds_and_failed_without_a_figure(
    fields: dict[str, object], measured: object, held: bool
) -> None:
    (checked,) = claims.check([claim(**fields)], {"m": measured})
    assert checked.held is held
    assert checked.allowed


def test_only_predicted_claims_count() -> None:
    listed = [
        claim(expected=1),
        Claim(id="d", text="t", metric="m", evidence="fitted", expected=2),
        Claim(id="e", text="t", metric="m", evidence="identity", expected=1),
    ]
    checked = claims.check(listed, {"m": 1})
    assert [c.counts for c in checked] == [True, False, False]
    assert [(s.evidence, s.held, s.failed) for s in claims.scores(checked)] == [
        ("predicted", 1, 0),
        ("fitted", 0, 1),
        ("identity", 1, 0),
    ]


def test_figure_that_is_no_finite_number_is_printed_as_such() -> None:
    assert [claims.figure(x) for x in (float("inf"), float("-inf"), float("nan"))] == ["inf", "-inf", "nan"]
