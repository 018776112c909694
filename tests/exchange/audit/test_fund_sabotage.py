"""The fund's, the house's and deleveraging's own terms: what a dishonest run makes of them is named."""

from collections.abc import Callable

import pytest
from msgspec import structs

from tests.exchange.audit.crash import crash
from tests.exchange.audit.damage import Edit, audit_without, edited, posted, put, rules_broken
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.events import Event
from zerodebt.exchange.rules import HouseRules, InsuranceRules, VenueRules


def one_more(event: says.Posted) -> tuple[tuple[int, int, int], ...]:
    (a, p, x), (b, q, y), *rest = event.legs
    return ((a, p, x - 1), (b, q, y + 1), *rest)


def is_at_bankruptcy(event: says.TakenOver) -> bool:
    return event.mark_ticks is not None


SABOTAGES: dict[str, tuple[str, str, Edit]] = {
    "an atom too much is taken as surplus": (
        "LEDG-03",
        "a surplus",
        edited(says.Posted, posted("surplus"), legs=one_more),
    ),
    "so is one of a capped surplus": (
        "LEDG-03",
        "a small surplus by requirement",
        edited(says.Posted, posted("surplus"), legs=one_more),
    ),
    "an atom too much is paid for fills": (
        "LEDG-03",
        "a fund that bears fills",
        edited(says.Posted, posted("surplus"), legs=one_more),
    ),
    "the fund pays another price": (
        "(b)",
        "a fund that takes at bankruptcy",
        edited(says.TakenOver, is_at_bankruptcy, price_ticks=lambda event: event.price_ticks + 1),
    ),
    "the mark beside it is another": (
        "(b)",
        "a fund that takes at bankruptcy",
        edited(says.TakenOver, is_at_bankruptcy, mark_ticks=lambda event: (event.mark_ticks or 0) + 1),
    ),
    "a pool closes that has not fallen": (
        "WFALL-01",
        "a fund that closes",
        edited(says.PoolStatus, peak_atoms=lambda event: max(1, event.equity_atoms)),
    ),
    "a pool holds another amount": (
        "WFALL-01",
        "a fund that closes",
        edited(says.PoolStatus, equity_atoms=lambda event: event.equity_atoms + 1),
    ),
    "a solvent account is deleveraged elsewhere": (
        "WFALL-03",
        "deleveraging of what is unfilled",
        edited(
            says.Deleveraged,
            lambda event: not event.deficit_id,
            price_ticks=lambda event: event.price_ticks + 1,
        ),
    ),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_dishonest_term_is_named(name: str) -> None:
    rule, run, edit = SABOTAGES[name]
    assert rule in rules_broken(audit(edit(crash(run, 1).batches)))


def test_a_surplus_that_is_kept_from_the_fund_is_named() -> None:
    def is_surplus(event: Event) -> bool:
        return isinstance(event, says.Posted) and event.reason == "surplus"

    assert rules_broken(audit_without(crash("a surplus", 1).batches, is_surplus))


@pytest.mark.parametrize(
    ("run", "change", "rule"),
    [
        (
            "a fund that takes what is unfilled",
            lambda rules: structs.replace(rules, insurance=InsuranceRules()),
            "WFALL-01",
        ),
        (
            "deleveraging of what is unfilled",
            lambda rules: structs.replace(rules, adl=structs.replace(rules.adl, trigger="bankrupt")),
            "WFALL-01",
        ),
        (
            "a house with a cap",
            lambda rules: structs.replace(rules, house=HouseRules(deficit_max_atoms=10)),
            "(f)",
        ),
        ("a house with a cap", lambda rules: structs.replace(rules, house=HouseRules()), "WFALL-01"),
    ],
)
def test_a_run_under_another_rulebook_than_it_claims_is_named(
    run: str, change: Callable[[VenueRules], VenueRules], rule: str
) -> None:
    batches = crash(run, 1).batches
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    claim = structs.replace(opened, rules=change(opened.rules))
    assert rule in rules_broken(audit(put(batches, 0, [claim])))
