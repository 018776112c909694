"""Whatever the rulebook's deleveraging, a changed order, size or price of it is named."""

import pytest
from msgspec import structs

from tests.exchange.audit.crash import ADL, crash
from tests.exchange.audit.damage import Batches, Edit, edited, put, rules_broken, without
from tests.exchange.audit.test_sabotage import swap_ranks
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.rules import AdlRules

DAMAGES: dict[str, tuple[str, Edit]] = {
    "two winners change places": ("WFALL-03", swap_ranks),
    "a price is off by a tick": (
        "WFALL-03",
        edited(says.Deleveraged, price_ticks=lambda event: event.price_ticks + 1),
    ),
    "a lot too many": (
        "WFALL-04",
        edited(says.Deleveraged, lots=lambda event: event.lots + (1 if event.lots > 0 else -1)),
    ),
    "a score or rank is off": ("WFALL-03", edited(says.Deleveraged, rank=lambda event: event.rank + 1)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ADL)
def test_a_dishonest_deleveraging_is_named(name: str, damage: str) -> None:
    rule, edit = DAMAGES[damage]
    assert rule in rules_broken(audit(edit(crash(name, 1).batches)))


def claimed(batches: Batches, adl: AdlRules) -> Batches:
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    return put(batches, 0, [structs.replace(opened, rules=structs.replace(opened.rules, adl=adl))])


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("pro rata", AdlRules(policy="pro_rata", weights="contracts")),
        ("pro rata by profit", AdlRules(policy="pro_rata", weights="profit", price="mark")),
        ("levered", AdlRules(policy="pro_rata", weights="equity")),
        ("capped", AdlRules(policy="pro_rata")),
        ("capped, kept", AdlRules(policy="capped", weights="contracts", haircut_max_ppb=10**8)),
        ("risk aware", AdlRules(policy="risk_aware", risk_threshold_ppb=100_000_000)),
        ("mirror descent", AdlRules(policy="pro_rata")),
        ("min max", AdlRules(policy="pro_rata", weights="equity")),
        ("iteration", AdlRules(policy="min_max", clamp="bankruptcy", price="index")),
        ("bitmex", AdlRules(score="bybit")),
        ("bybit", AdlRules(score="bybit", bankruptcy_off_max_ppb=10**6)),
        ("binance, wallet", AdlRules(score="binance", price="mark")),
        ("clamped", AdlRules(price="mark")),
    ],
)
def test_a_run_under_another_rule_than_it_claims_is_named(name: str, other: AdlRules) -> None:
    broken = rules_broken(audit(claimed(crash(name, 1).batches, other)))
    assert broken & {"WFALL-03", "WFALL-04"}


def is_of_a_winner(event: says.OrderClosed) -> bool:
    return event.reason == "deleveraged"


def test_orders_that_a_deleveraged_winner_keeps_are_named() -> None:
    batches = crash("orders cancelled", 1).batches
    assert "WFALL-03" in rules_broken(audit(without(says.OrderClosed, is_of_a_winner)(batches)))
    kept = AdlRules(score="binance", price="mark")
    assert "WFALL-03" in rules_broken(audit(claimed(batches, kept)))
