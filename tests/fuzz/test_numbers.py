"""Numbers that no venue has, at the keys where each once was a traceback."""

from decimal import Decimal
from typing import Any

import pytest

from zerodebt.exchange.decimals import parse_decimal, to_units
from zerodebt.exchange.rules import RulesError, profile_table, venue_rules
from zerodebt.scenarios.quantities import CallError
from zerodebt.scenarios.runner import prepare

OIL = "instruments.CL-MAY20"
CLIENT = "populations.clients.members.client"


@pytest.mark.parametrize(
    "text", ["nan", "sNaN", "Infinity", "-Infinity", "1e61", "1e99999999", "-1e-99999999"]
)
def test_decimal_of_no_size_is_on_no_grid(text: str) -> None:
    with pytest.raises(ValueError, match=r"found .*, allowed are"):
        to_units(Decimal(text), 6)


@pytest.mark.parametrize("text", ["1e61", "-1e999999999", "1e-61", "1e-999999999"])
def test_text_of_an_endless_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="60 digits"):
        parse_decimal(text)


def test_zero_with_any_exponent_is_zero() -> None:
    assert to_units(Decimal("0e999999999"), 6) == 0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("clock", 3),
        ("clock.end", "2500-01-01T00:00:00Z"),
        ("usd_rate", "1e999999999"),
        ("usd_rate", 1_000_000_000),
        ("open_interest_value", "1e999999999"),
        ("prices.factor", "1e999999999"),
        ("prices.factor", -1),
        (f"{OIL}.open_interest_share", "1e999999999"),
        (f"{OIL}.contract_size", "1e999999999"),
        (f"{OIL}.tick", "1e999999999"),
        (f"{OIL}.size_max", "1e999999999"),
        (f"{OIL}.price_min", "-1e-999999999"),
        (f"{OIL}.slope_per", 1e300),
        (f"{OIL}.open_interest_low", "1e99"),
        (f"{CLIENT}.lots.CL-MAY20", 2**64),
        (f"{CLIENT}.entry_ticks.CL-MAY20", 10**40),
        ("venue.liquidation.cooldown_ns", 2**62),
        ("venue.funding.interest_ppt", -(10**40)),
    ],
)
def test_number_that_no_venue_has_is_a_wrong_call(path: str, value: Any) -> None:
    with pytest.raises(CallError, match=r"found|allowed"):
        prepare("oil-client", overrides=[(path, value)])


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{CLIENT}.entry_ticks.CL-MAY20", 10**9, "price is outside the instrument's range"),
        (f"{CLIENT}.lots.CL-MAY20", 2_000, "open interest is at its cap"),
        (f"{CLIENT}.contribution_atoms", 1, "the rulebook has no such thing"),
    ],
)
def test_opening_that_the_venue_refuses_is_said_before_anything_is_written(
    path: str, value: Any, said: str
) -> None:
    with pytest.raises(CallError, match=said):
        prepare("oil-client", overrides=[(path, value)])


def test_whole_numbers_of_a_rulebook_fit_into_its_journal() -> None:
    table = profile_table("hyperliquid") | {"funding": {"interest_ppt": 2**62}}
    with pytest.raises(RulesError, match=r"venue\.funding\.interest_ppt: found 4611686018427387904"):
        venue_rules(table)
