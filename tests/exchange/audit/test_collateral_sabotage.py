"""Collateral and portfolio margin: honest random days, and what a dishonest run says of them."""

from functools import lru_cache
from typing import Any

import pytest
from msgspec import structs

from tests.exchange.audit.damage import Batches, Edit, off, put, rules_broken, without
from tests.property.test_collateral import Day
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.events import INSURANCE

SEEDS = range(1, 16)


@lru_cache(maxsize=32)
def batches_of(seed: int) -> Batches:
    day = Day(seed)
    for _ in range(150):
        day.step()
    return day.desk.batches


def with_event(kind: type[Any], where: Any = lambda _: True) -> Batches:
    """The first day that has such an event."""
    for seed in SEEDS:
        batches = batches_of(seed)
        if any(isinstance(event, kind) and where(event) for batch in batches for event in batch.events):
            return batches
    raise AssertionError(f"no {kind.__name__} in any day")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_audit_agrees_with_an_honest_day_on_collateral(seed: int) -> None:
    assert audit(batches_of(seed)).findings == ()


SABOTAGES: dict[str, tuple[str, type[Any], Edit]] = {
    "a haircut is off": ("LIQ-01", says.LiquidationStarted, off(says.LiquidationStarted, "haircut_atoms")),
    "more is sold": ("LIQ-10", says.ExchangeArmed, off(says.ExchangeArmed, "lots")),
    "it sells for less": ("LIQ-10", says.ExchangeArmed, off(says.ExchangeArmed, "limit_ticks", -1)),
    "less is owed": ("LIQ-10", says.ExchangeArmed, off(says.ExchangeArmed, "owed_atoms", -1)),
    "a sale is not announced": ("LIQ-10", says.ExchangeArmed, without(says.ExchangeArmed)),
    "the fund pays less": ("LIQ-10", says.Converted, off(says.Converted, "paid_atoms", -1)),
    "the fund takes more": ("LIQ-10", says.Converted, off(says.Converted, "atoms", 10**6)),
    "another takes it": ("LIQ-10", says.Converted, off(says.Converted, "taker", 20)),
    "it is priced off the index": ("LIQ-10", says.Converted, off(says.Converted, "index_ticks")),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_dishonest_sale_of_collateral_is_named(name: str) -> None:
    rule, kind, edit = SABOTAGES[name]
    assert rule in rules_broken(audit(edit(with_event(kind))))


def test_who_still_has_collateral_is_in_no_deficit() -> None:
    """The fund's hand-over before a deficit is left out."""

    def is_before_a_deficit(batch: says.Batch) -> bool:
        kinds = [type(event) for event in batch.events]
        return (
            says.Converted in kinds
            and says.DeficitOpened in kinds
            and any(
                isinstance(event, says.DeficitOpened) and event.account != INSURANCE for event in batch.events
            )
        )

    for seed in SEEDS:
        batches = batches_of(seed)
        for b, batch in enumerate(batches):
            if is_before_a_deficit(batch):
                at = next(k for k, e in enumerate(batch.events) if isinstance(e, says.Converted))
                events = [*batch.events[:at], *batch.events[at + 2 :]]
                assert {"WFALL-01", "(d)"} <= rules_broken(audit(put(batches, b, events)))
                return
    raise AssertionError("no deficit after a hand-over")


def claimed(batches: Batches, **tables: Any) -> Batches:
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    rules = structs.replace(opened.rules, **tables)
    return put(batches, 0, [structs.replace(opened, rules=rules)])


def test_a_day_under_another_grid_or_collateral_than_it_claims_is_named() -> None:
    found: set[str] = set()
    for seed in SEEDS:
        batches = batches_of(seed)
        opened = batches[0].events[0]
        assert isinstance(opened, says.Opened)
        (table,) = opened.rules.collateral
        poorer = structs.replace(table, ratio_ppb=table.ratio_ppb - 10**7, tiers=(), haircut_for="both")
        if rules_broken(audit(claimed(batches, collateral=(poorer,)))) & {"LIQ-01", "LIQ-02"}:
            found.add("collateral")
        grid = opened.rules.portfolio
        if grid.moves_ppb:
            wider = structs.replace(grid, contingency_ppb=grid.contingency_ppb + 10**7)
            if rules_broken(audit(claimed(batches, portfolio=wider))) & {"LIQ-01", "LIQ-02"}:
                found.add("grid")
    assert found == {"collateral", "grid"}
