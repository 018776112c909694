"""A fund that holds coins, one that buys them, and its pools' peaks: what a dishonest run says of them."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
from msgspec import structs

from tests.exchange.audit.crash import crash
from tests.exchange.audit.damage import Batches, Edit, edited, first, put, rules_broken
from tests.exchange.test_fund_assets import PAYS, coin_fund, unfilled
from tests.venues import USD, Desk, perpetual, rulebook, spot
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import BUY, Deposit
from zerodebt.exchange.events import HOUSE, INSURANCE
from zerodebt.exchange.rules import ExchangeRules, VenueRules

COIN = 1_000


@lru_cache
def sale() -> Batches:
    """The fund sells a coin at 50, pays 50, and the house 30."""
    desk, _, maker = coin_fund("book", "insurance", "house", **PAYS)
    desk.order(maker, BUY, 180, 94)
    desk.order(maker, BUY, 1, 50, instrument=1)
    desk.order(maker, BUY, 1, 48, instrument=1)
    desk.index(94, 50)
    return desk.batches


@lru_cache
def poor() -> Batches:
    """Nobody bids the fund's price for its coins: winners are deleveraged, who come after it."""
    desk, _, maker = coin_fund("book", "insurance", "adl")
    desk.order(maker, BUY, 2, 48, instrument=1)
    desk.index(94, 50)
    return desk.batches


@lru_cache
def purchase() -> Batches:
    """The fund has 100 USD and buys coins for 99.996 of a bankrupt account."""
    collateral = [{"asset": "COIN", "decimals": 3, "ratio_ppb": 900_000_000}]
    rules = rulebook(
        "book", "insurance", "adl", collateral=collateral, exchange={"price_ratio_ppb": 975_000_000}
    )
    desk = Desk(rules, (perpetual(), spot()))
    desk.index(100, 10, later_ns=0)
    desk.ok(Deposit(0, INSURANCE, (100 * USD,)))
    (debtor,), (maker,) = desk.open(0), desk.open(1_000_000)
    desk.ok(Deposit(1, debtor, (100 * COIN,)))
    desk.trade(debtor, maker, 180, 100)
    desk.index(94, 10)
    return desk.batches


RUNS: dict[str, Callable[[], Batches]] = {
    "sale": sale,
    "poor": poor,
    "purchase": purchase,
    "peaks": lambda: crash("a fund that closes", 1).batches,
}


def is_sale(event: says.ExchangeArmed) -> bool:
    return event.because == "insurance"


def paid_by_the_fund(batches: Batches) -> Batches:
    """What the house paid is said to come out of the fund's wallet, which is empty."""
    b, _, _ = first(batches, says.StagePaid, lambda event: event.stage == "house")
    events: list[Any] = []
    for event in batches[b].events:
        changed: Any = event
        if isinstance(event, says.StageArmed) and event.stage == "house":
            changed = structs.replace(event, stage="insurance")
        elif isinstance(event, says.StagePaid) and event.stage == "house":
            changed = structs.replace(event, stage="insurance", payer=INSURANCE)
        elif isinstance(event, says.Posted) and event.reason == "house":
            legs = tuple((INSURANCE if a == HOUSE else a, p, atoms) for a, p, atoms in event.legs)
            changed = structs.replace(event, reason="insurance", legs=legs)
        events.append(changed)
    return put(batches, b, events)


def without_the_funds_money(batches: Batches) -> Batches:
    """The fund was never endowed, and buys all the same."""
    b, k, _ = first(
        batches,
        says.Posted,
        lambda event: event.reason == "deposit" and any(account == INSURANCE for account, _, _ in event.legs),
    )
    events = list(batches[b].events)
    del events[k]
    return put(batches, b, events)


SABOTAGES: dict[str, tuple[str, str, str, Edit]] = {
    "it sells more than it lacks": (
        "sale",
        "LIQ-10",
        "sells collateral",
        edited(says.ExchangeArmed, is_sale, lots=lambda event: event.lots + 1),
    ),
    "it is said to lack more": (
        "sale",
        "LIQ-10",
        "sells collateral",
        edited(says.ExchangeArmed, is_sale, owed_atoms=lambda event: event.owed_atoms + USD),
    ),
    "it sells below the limit": (
        "sale",
        "LIQ-10",
        "sells collateral",
        edited(says.ExchangeArmed, is_sale, limit_ticks=lambda event: event.limit_ticks - 1),
    ),
    "another sells for the fund's reason": (
        "sale",
        "LIQ-10",
        "sells collateral: insurance",
        edited(says.ExchangeArmed, is_sale, account=lambda _: HOUSE),
    ),
    "it pays what it does not have": ("sale", "(c)", "does not have", paid_by_the_fund),
    "it buys without money": ("purchase", "LIQ-10", "it may spend 0", without_the_funds_money),
    "a peak is higher": (
        "peaks",
        "WFALL-01",
        "its peak is",
        edited(says.PoolStatus, peak_atoms=lambda event: event.peak_atoms + 1),
    ),
}


@pytest.mark.parametrize("run", RUNS)
def test_the_audit_agrees_with_the_honest_run(run: str) -> None:
    assert audit(RUNS[run]()).findings == ()


@pytest.mark.spec("WFALL-01", "WFALL-05")
@pytest.mark.parametrize("name", SABOTAGES)
def test_a_dishonest_fund_is_named(name: str) -> None:
    run, rule, text, edit = SABOTAGES[name]
    report = audit(edit(RUNS[run]()))
    assert any(finding.rule == rule and text in finding.text for finding in report.findings), report.findings


def claimed(batches: Batches, change: Callable[[VenueRules], VenueRules]) -> Batches:
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    return put(batches, 0, [structs.replace(opened, rules=change(opened.rules))])


def patient(rules: VenueRules) -> VenueRules:
    """Collateral sells down to 0.95 of the index: 47.5, and 48 is bid."""
    return structs.replace(rules, exchange=ExchangeRules(price_ratio_ppb=950_000_000))


@pytest.mark.parametrize(("run", "stage"), [("sale", "house"), ("poor", "adl")])
def test_others_are_charged_only_when_the_fund_has_sold_what_is_bid_for(run: str, stage: str) -> None:
    report = audit(claimed(RUNS[run](), patient))
    assert any(
        finding.rule == "WFALL-01" and finding.text.startswith(stage) and "assets to sell" in finding.text
        for finding in report.findings
    )


@pytest.mark.parametrize(
    ("bidders", "is_named"),
    [([(2, 1_000)], True), ([(1, 1_000)], False), ([(1, 48), (1, 1_000)], True), ([(2, 50)], False)],
    ids=["both coins", "one coin", "two bidders", "no money for both"],
)
def test_the_fund_need_not_sell_what_would_not_pay_for_the_positions(
    bidders: list[tuple[int, int]], is_named: bool
) -> None:
    """Two coins at 48 bring 96 of the 80 that are missing, where the rulebook sells down to 47.5.

    The run's own rulebook stops at 48.75 and deleverages. Each bidder is (coins, his USD after others moved).
    """
    desk, _, _ = coin_fund("book", "insurance", "adl")
    for coins, usd in bidders:
        (bidder,) = desk.open(1_000)
        desk.order(bidder, BUY, coins, 48, instrument=1)
        legs = ((bidder, 0, (usd - 1_000) * USD), (0, 0, (1_000 - usd) * USD))
        desk.state.ledger.post("withdrawal", list(legs))
        said = (*desk.batches[-1].events, says.Posted("withdrawal", legs))
        desk.batches[-1] = structs.replace(desk.batches[-1], events=said)
    desk.index(94, 50)
    texts = [finding.text for finding in audit(claimed(desk.batches, patient)).findings]
    assert any(text.startswith("adl acts") and "assets to sell" in text for text in texts) is is_named


def test_a_fund_that_the_waterfall_does_not_name_buys_nothing() -> None:
    report = audit(claimed(purchase(), lambda rules: structs.replace(rules, waterfall=("book", "adl"))))
    assert "LIQ-10" in rules_broken(report)


def test_collateral_that_the_fund_could_have_bought_is_no_deficit_yet() -> None:
    """The purchase is left out: the fund still has its 100 USD when the deficit is declared."""
    batches = purchase()
    b, k, _ = first(batches, says.Converted)
    events = [*batches[b].events[:k], *batches[b].events[k + 2 :]]
    report = audit(put(batches, b, events))
    assert any("collateral left" in finding.text for finding in report.findings)


def test_what_is_owed_against_collateral_does_not_go_to_the_fund() -> None:
    """The fund is said to take over the debt of 860 and the coins with the lots."""
    desk, debtor, _ = unfilled()
    batches = desk.batches
    b, k, _ = first(batches, says.TakenOver)
    owed = says.Posted("takeover", ((debtor, 0, 860 * USD), (INSURANCE, 0, -860 * USD)))
    coins = says.Posted("takeover", ((debtor, 1, -100 * COIN), (INSURANCE, 1, 100 * COIN)))
    events = [*batches[b].events[: k + 2], owed, coins, *batches[b].events[k + 2 :]]
    report = audit(put(batches, b, events))
    assert [finding.text for finding in report.findings if "on credit" in finding.text]
