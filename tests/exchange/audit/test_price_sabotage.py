"""Marks, funding and bands of other venues: what a dishonest run says of them is named."""

from typing import Any

import pytest
from msgspec import structs

from tests.exchange.audit.crash import PRICES, crash
from tests.exchange.audit.damage import Batches, Edit, edited, off, put, rules_broken
from tests.venues import Desk, rulebook
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.rules import FundingRules, MarkRules, VenueRules
from zerodebt.exchange.units import MINUTE_NS

SABOTAGES: dict[str, tuple[str, str, Edit]] = {
    "a funded index": ("MARK-05", "binance's mark", off(says.Marked, "funded_index_ticks")),
    "a moving basis": ("MARK-05", "binance's mark", off(says.Marked, "basis_mean_ticks")),
    "a basis that only a band reads": ("MARK-05", "okx's mark", off(says.Marked, "basis_mean_ticks")),
    "a fair mark": ("MARK-05", "bitmex's mark", off(says.Marked, "mark_ticks")),
    "a mark in its band": ("MARK-05", "deribit's mark", off(says.Marked, "mark_ticks")),
    "a premium of the mid": ("FUND-02", "bitmex's mark", off(says.FundingSampled, "premium_ppt", 10**6)),
    "a premium of the mark": ("FUND-02", "deribit's mark", off(says.FundingSampled, "premium_ppt")),
    "a rate of a linear average": ("FUND-02", "binance's mark", off(says.FundingSet, "rate_ppt")),
    "a rate in the deadband": ("FUND-02", "deribit's mark", off(says.FundingSet, "rate_ppt")),
    "a rate of padded samples": ("FUND-02", "dydx's funding", off(says.FundingSet, "rate_ppt", 10**6)),
    "a price that funding is paid on": ("FUND-02", "deribit's mark", off(says.FundingSet, "price_ticks")),
    "a funding index": ("FUND-03", "dydx's funding", off(says.FundingSet, "funding_index_ppm")),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_figure_that_is_off_is_named(name: str) -> None:
    rule, run, edit = SABOTAGES[name]
    assert rule in rules_broken(audit(edit(crash(run, 1).batches)))


@pytest.mark.parametrize("name", ["deribit's mark", "okx's mark"])
@pytest.mark.parametrize("side", [1, -1])
def test_an_order_beyond_the_band_is_named(name: str, side: int) -> None:
    beyond = off(
        says.OrderAccepted,
        "price_ticks",
        side * 5_000,
        lambda event: event.side == side and not event.forced and event.instrument == 0,
    )
    findings = audit(beyond(crash(name, 1).batches)).findings
    assert any(f.rule == "BOOK-04" and "beyond the band" in f.text for f in findings)


def test_a_quote_beyond_the_band_is_named() -> None:
    def placed(event: says.Quoted) -> tuple[tuple[int, int, int, int], ...]:
        (order_id, side, price, lots), *rest = event.placed
        return ((order_id, side, price + 9_000 * side, lots), *rest)

    beyond = edited(says.Quoted, lambda event: bool(event.placed), placed=placed)
    findings = audit(beyond(crash("deribit's mark", 1).batches)).findings
    assert any(f.rule == "BOOK-04" and "beyond the band" in f.text for f in findings)


def claimed(batches: Batches, **tables: Any) -> Batches:
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    rules: VenueRules = structs.replace(opened.rules, **tables)
    return put(batches, 0, [structs.replace(opened, rules=rules)])


@pytest.mark.parametrize("name", [name for name in PRICES if "own" not in name])
def test_a_run_under_other_prices_than_it_claims_is_named(name: str) -> None:
    honest = crash(name, 1).batches
    plain = FundingRules(interval_ns=MINUTE_NS)
    assert rules_broken(audit(claimed(honest, funding=plain))) & {"FUND-01", "FUND-02"}
    if name != "dydx's funding":
        assert "MARK-05" in rules_broken(audit(claimed(honest, mark=MarkRules(formula="index"))))


def test_harm_is_measured_without_the_own_book() -> None:
    """A source says 100 and the venue's own book 95: a long of 10 with 60 is liquidated at its word."""
    rules = rulebook(
        "book",
        "adl",
        sources=[{"name": "outside", "weight": 1}, {"name": "here", "weight": 2, "kind": "own"}],
    )
    desk = Desk(rules, index=(100,))
    long, short, maker = desk.open(60, 10_000, 10_000)
    desk.trade(long, short, 10, 100)
    desk.order(maker, 1, 20, 95)
    desk.order(maker, -1, 20, 96)
    desk.index(100)
    report = audit(desk.batches)
    assert report.findings == ()
    assert report.harm_atoms == 10 * (100 - 95) * 10**6
    unseen = edited(
        says.Marked,
        lambda event: event.reference_ticks is not None and event.index_ticks == 95,
        reference_ticks=lambda event: event.index_ticks,
    )
    assert audit(unseen(desk.batches)).harm_atoms == 0
    honest = crash("hyperliquid", 1).batches
    invented = edited(says.Marked, reference_ticks=lambda event: event.index_ticks)
    assert "MARK-05" in rules_broken(audit(invented(honest)))
