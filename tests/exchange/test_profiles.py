"""Instruments that shipped rulebooks bring: each can be built, and the engine turns where the oracle says."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.venues import T0, Desk, hyperliquid, of
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    CancelAll,
    Command,
    Deposit,
    Observation,
    OpenAccounts,
    PlaceOrder,
    Tick,
    UpdateIndex,
)
from zerodebt.exchange.events import FIRST_ACCOUNT, Filled, FundingSet, LiquidationStarted, Rejected
from zerodebt.exchange.instruments import Instrument, order_step_ticks, value_atoms
from zerodebt.exchange.oracle import Position, Situation
from zerodebt.exchange.rules import profile_names, profile_table, split_profile, venue_rules
from zerodebt.exchange.specs import AssetSpec, InstrumentSpec, build_assets, build_instrument
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, PPT, SECOND_NS
from zerodebt.exchange.venue import Venue

BROUGHT = [
    (name, entry["symbol"])
    for name in profile_names()
    for entry in profile_table(name).get("instruments", ())
]


def brought(name: str, symbol: str) -> tuple[Any, tuple[AssetSpec, ...], Instrument]:
    """Rulebook, assets and instrument; the rulebook settles in what the instrument settles in."""
    table, extra = split_profile(profile_table(name))
    assets = msgspec.convert(extra["assets"], tuple[AssetSpec, ...])
    (entry,) = [entry for entry in extra["instruments"] if entry["symbol"] == symbol]
    spec = msgspec.convert(entry, InstrumentSpec, strict=False)
    rules = venue_rules(table)
    settle = spec.settle or rules.settle_asset
    return structs.replace(rules, settle_asset=settle), assets, build_instrument(spec, assets, settle)


def first_liquidatable(case: Situation, healthy: int, beyond: int) -> int | None:
    """First tick from a healthy price towards `beyond` that the engine says is liquidatable, by bisection."""
    if not case.is_liquidatable_at(0, beyond):
        return None
    while abs(beyond - healthy) > 1:
        middle = (healthy + beyond) // 2
        if case.is_liquidatable_at(0, middle):
            beyond = middle
        else:
            healthy = middle
    return beyond


@pytest.mark.spec("LIQ-07")
@pytest.mark.parametrize(("name", "symbol"), BROUGHT)
@pytest.mark.parametrize("side", [1, -1])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_liquidation_price_of_every_shipped_instrument_is_where_the_engine_turns(
    name: str, symbol: str, side: int, data: st.DataObject
) -> None:
    """Within a tick, and where an atom of value is worth more ticks than that, within three atoms."""
    rules, assets, spec = brought(name, symbol)
    entry = data.draw(st.integers(spec.price_max_ticks // 100, spec.price_max_ticks // 4))
    lots = side * data.draw(st.integers(1, max(1, spec.size_max_lots // 1000)))
    value = abs(value_atoms(spec, entry, lots))
    margin = value * data.draw(st.integers(1, 99)) // 100 + 1
    position = Position(instrument=0, lots=lots, entry_ticks=entry, isolated_atoms=margin)
    wallet = (0,) * len(assets)
    case = Situation(rules, build_assets(assets), (spec,), wallet, (position,), (entry,))
    assume(not case.is_liquidatable_at(0, entry))
    found = first_liquidatable(case, entry, 1 if side > 0 else spec.price_max_ticks)
    point = case.liquidation_price(0)
    if found is None:
        assert point is None or not 1 <= point.ticks <= spec.price_max_ticks
        return
    assert point is not None
    assert point.ticks == found
    unit = abs(lots) * spec.tick_value_atoms
    atom = Fraction(found**2 if spec.contract == "inverse" else 1, unit)
    assert abs(point.exact_ticks - found) <= 1 + 3 * atom


@pytest.mark.parametrize("name", [name for name in profile_names() if "instruments" in profile_table(name)])
def test_shipped_rulebook_lives_through_a_day_that_ends_in_a_crash(name: str) -> None:
    """Two traders, a maker, nine hours of funding, then half of the price is gone and with it the book.

    Nobody stays below zero; where winners are deleveraged the bankrupt position is gone.
    """
    rules = venue_rules(split_profile(profile_table(name))[0])
    symbol = next(
        entry["symbol"]
        for entry in profile_table(name)["instruments"]
        if entry.get("settle", rules.settle_asset) == rules.settle_asset
    )
    rules, assets, spec = brought(name, symbol)
    venue = Venue(rules, build_assets(assets), (spec,))
    settle = [asset.symbol for asset in assets].index(rules.settle_asset)
    now = T0
    price = spec.price_max_ticks // 10 // 100 * 100
    lots = spec.size_max_lots // 100
    value = abs(value_atoms(spec, price, lots))

    def do(command: Command, later_ns: int = 0) -> None:
        nonlocal now
        now += later_ns
        first = venue.apply(command, now).events[:1]
        assert not (first and isinstance(first[0], Rejected)), first
        venue.check()

    def index(ticks: int) -> None:
        nonlocal now
        now += SECOND_NS
        sources = range(len(rules.sources))
        do(UpdateIndex(tuple(Observation(0, source, ticks, now) for source in sources)))

    index(price)
    do(OpenAccounts(3))
    long, short, maker = range(FIRST_ACCOUNT, FIRST_ACCOUNT + 3)
    do(Deposit(settle, long, (value // 5, 4 * value, 20 * value)))
    do(PlaceOrder(short, 0, SELL, lots, price))
    do(PlaceOrder(long, 0, BUY, lots, price))
    step = order_step_ticks(spec, price)
    do(PlaceOrder(maker, 0, BUY, lots, price - price // 1000 // step * step))
    do(PlaceOrder(maker, 0, SELL, lots, price + price // 1000 // step * step))
    for _ in range(9):
        index(price)
        do(Tick(), HOUR_NS)
    do(CancelAll(maker))
    for share in (95, 85, 75, 50):
        index(price * share // 100)
    for _ in range(3):
        do(Tick(), MINUTE_NS)
        index(price // 2)
    if "adl" in rules.waterfall:
        assert venue.view.position_lots(0, long) == 0
    assert min(venue.view.equities([long, short, maker])) >= 0


def margin_table_of(name: str, symbol: str) -> Iterator[tuple[str, str, int]]:
    (entry,) = [e for e in profile_table(name)["instruments"] if e["symbol"] == symbol]
    for tier in entry["tiers"]:
        yield str(tier["above"]), tier.get("maintenance", ""), tier.get("leverage_max", 0)


@pytest.mark.spec("FEE-01", "FUND-02")
def test_hyperliquid_charges_its_published_fees_and_an_eighth_of_the_interest_an_hour() -> None:
    """10 lots at 100: 0.045 % and 0.015 % of 1000 USD, and without a premium 0.01 % in eight hours."""
    desk = Desk(hyperliquid(), index=(100,))
    a, b = desk.open(1_000_000, 1_000_000)
    (filled,) = of(desk.trade(a, b, 10, 100), Filled)
    assert (filled.taker_fee_atoms, filled.maker_fee_atoms) == (450_000, 150_000)
    (funding,) = of(desk.tick(HOUR_NS - desk.time_ns % HOUR_NS), FundingSet)
    assert funding.rate_ppt == PPT // 10_000 // 8


@pytest.mark.spec("MARG-08")
@pytest.mark.parametrize(("name", "starts"), [("okx", True), ("hyperliquid", False)])
def test_account_at_its_requirement_is_liquidated_where_the_venue_says_at_or_below(
    name: str, starts: bool
) -> None:
    """10 lots bought at 100 with 64; at 96 they have lost 40 and need 960 / 40 = 24."""
    table = profile_table(name) | {"settle_asset": "USDC", "collateral": []}
    table["fees"] = table.get("fees", {}) | {"maker_ppb": 0, "taker_ppb": 0}
    desk = Desk(venue_rules(table), index=(100,))
    a, b = desk.open(64, 1_000_000)
    desk.trade(a, b, 10, 100)
    assert bool(of(desk.index(96), LiquidationStarted)) is starts


def test_binance_brackets_are_those_of_march_2021() -> None:
    assert list(margin_table_of("binance_usdm", "BTCUSDT")) == [
        ("0", "0.004", 125),
        ("50000", "0.005", 100),
        ("250000", "0.01", 50),
        ("1000000", "0.025", 20),
        ("10000000", "0.05", 10),
        ("20000000", "0.1", 5),
        ("50000000", "0.125", 4),
        ("100000000", "0.15", 3),
        ("200000000", "0.25", 2),
        ("300000000", "0.5", 1),
    ]
