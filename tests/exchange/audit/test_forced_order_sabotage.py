"""Forced orders under every liquidation table: another size, limit or moment is named."""

from typing import Any

import pytest
from msgspec import structs

from tests.exchange.audit.crash import LIQUIDATIONS, crash
from tests.exchange.audit.damage import Batches, edited, put, rules_broken
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit


def claimed(batches: Batches, **table: Any) -> Batches:
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    liquidation = structs.replace(opened.rules.liquidation, **table)
    rules = structs.replace(opened.rules, liquidation=liquidation)
    return put(batches, 0, [structs.replace(opened, rules=rules)])


@pytest.mark.parametrize("name", LIQUIDATIONS)
def test_a_lot_more_than_the_rulebook_says_is_named(name: str) -> None:
    more = edited(says.OrderAccepted, lambda e: e.forced, size_lots=lambda e: e.size_lots + 1)
    assert "LIQ-06" in rules_broken(audit(more(crash(name, 1).batches)))


@pytest.mark.parametrize("name", ["restored", "fillable"])
def test_a_tick_further_than_the_limit_is_named(name: str) -> None:
    beyond = edited(
        says.OrderAccepted,
        lambda e: e.forced and e.price_ticks is not None,
        price_ticks=lambda e: (e.price_ticks or 0) + e.side,
    )
    assert "LIQ-08" in rules_broken(audit(beyond(crash(name, 1).batches)))


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("at the requirement", {"requirement_fee": "none"}),
        ("a ladder", {"ladder_from": 3}),
        ("restored", {"restore_buffer_ppb": 0}),
        ("restored", {"restore_max_ppb": 10**9}),
        ("restored", {"band_ppb": 6_000_000}),
        ("fillable", {"fillable_spread_ppb": 10**9}),
        ("fillable", {"portion_max_ppb": 10**9}),
        ("fillable", {"notional_max_atoms": 10**9}),
    ],
)
def test_a_run_under_another_table_than_it_claims_is_named(name: str, table: dict[str, Any]) -> None:
    broken = rules_broken(audit(claimed(crash(name, 1).batches, **table)))
    assert broken & {"LIQ-01", "LIQ-02", "LIQ-06", "LIQ-08"}
