"""Scale and size: the same market in other units, and the largest numbers that an instrument may bring."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.venues import USD, Desk, perpetual, rulebook
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Deposit,
    LoadPositions,
    OpenAccounts,
    PlaceOrder,
    SetLeverage,
)
from zerodebt.exchange.events import INSURANCE, Filled, FundingSet, LiquidationStarted
from zerodebt.exchange.instruments import Tier, budget_error, value_atoms
from zerodebt.exchange.margin import customer_equities, find_liquidatable, pooled_equity, risk_of
from zerodebt.exchange.units import SECOND_NS


def day(
    seed: int, ticks: int = 1, lots: int = 1, atoms: int = 1
) -> tuple[list[int], list[int], Counter[type]]:
    """Lots and equities of five traders after a day whose ticks, lots or atoms are so many times finer.

    One forced order closes a whole position, so that no share of lots is rounded. Also: events by type.
    """
    rng = random.Random(seed)
    rules = rulebook(
        "book",
        "insurance",
        fees={"maker_ppb": 150_077, "taker_ppb": 450_123, "liquidation_ppb": 5_000_000},
        liquidation={"steps": ["whole"]},
        funding={"premium": "mid", "impact_notional_atoms": 20 * USD * atoms},
    )
    value = 70 * atoms * 100 // (ticks * lots)
    assert value * ticks * lots == 7000 * atoms
    contract = perpetual(
        tick_value_atoms=value,
        price_max_ticks=1000 * ticks,
        size_max_lots=1000 * lots,
        open_interest_max_lots=10_000 * lots,
        tiers=(Tier(0, 20), Tier(20_000_000 * atoms, 10)),
    )
    desk = Desk(rules, (contract,))
    desk.index(100 * ticks)
    desk.ok(OpenAccounts(6))
    who = range(16, 22)
    for account, thousands in zip(who, (500, 1000, 2000, 4000, 8000, 10**6), strict=True):
        desk.ok(Deposit(0, account, (thousands * 1000 * atoms,)))
    desk.ok(Deposit(0, INSURANCE, (10**10 * atoms,)))
    desk.ok(SetLeverage(17, 0, 10, "isolated"))
    price = 100
    for _ in range(40):
        for account, side in ((21, BUY), (21, SELL)):
            desk.do(PlaceOrder(account, 0, side, 50 * lots, (price - side) * ticks))
        account, side = rng.choice(who), rng.choice([BUY, SELL])
        desk.do(PlaceOrder(account, 0, side, rng.randint(1, 60) * lots, (price + 2 * side) * ticks))
        price = max(60, min(140, price + rng.randint(-6, 6)))
        desk.index(price * ticks, later_ns=rng.choice([1, 1800]) * SECOND_NS)
    seen: Counter[type] = Counter(type(event) for batch in desk.batches for event in batch.events)
    held = [desk.lots(account) for account in who]
    return held, customer_equities(desk.state).tolist()[16:], seen


@pytest.mark.spec("NUM-07", kind="M")
@pytest.mark.parametrize("finer", [{"ticks": 10}, {"lots": 10}, {"ticks": 100}, {"atoms": 1000}])
@pytest.mark.parametrize("seed", range(4))
def test_finer_units_lead_to_the_same_day(seed: int, finer: dict[str, int]) -> None:
    """Fees and funding are of a value, which ticks and lots do not round; each rounds by at most an atom."""
    held, equities, seen = day(seed)
    other_held, other_equities, _ = day(seed, **finer)
    lots, atoms = finer.get("lots", 1), finer.get("atoms", 1)
    assert seen[FundingSet] + seen[LiquidationStarted] >= 5, "the day brought neither funding nor liquidation"
    assert other_held == [n * lots for n in held]
    roundings = seen[Filled] + seen[FundingSet] if atoms > 1 else 0
    for before, after in zip(equities, other_equities, strict=True):
        assert abs(after - before * atoms) <= roundings * atoms


magnitudes = st.integers(0, 62).map(lambda bits: 2**bits) | st.integers(1, 2**62)


@pytest.mark.spec("NUM-06")
@settings(max_examples=60, deadline=None)
@example("linear", 1, 1, 1, 1000, 0, 2**54, False)
@example("inverse", 2**59, 2**59, 1, 1, 0, 1, False)
@given(
    contract=st.sampled_from(["linear", "inverse"]),
    tick_value=magnitudes,
    price=magnitudes,
    interest=magnitudes,
    leverage=st.sampled_from([1, 3, 7, 125, 1000]),
    floor=st.just(0) | magnitudes,
    bound=magnitudes,
    below=st.booleans(),
)
def test_an_instrument_within_its_budget_is_worked_exactly_at_its_largest(
    contract: Any,
    tick_value: int,
    price: int,
    interest: int,
    leverage: int,
    floor: int,
    bound: int,
    below: bool,
) -> None:
    """The whole open interest at the largest price: arrays and Python integers say the same."""
    assume(price < 2**60)
    assume(bound > 0)
    instrument = perpetual(
        kind="future",
        contract=contract,
        tick_value_atoms=tick_value,
        price_min_ticks=-price if below and contract == "linear" else 1,
        price_max_ticks=price,
        size_max_lots=interest,
        open_interest_max_lots=interest,
        margin_floor_atoms_per_lot=floor,
        tiers=(Tier(0, leverage), Tier(bound, 1)),
    )
    assume(budget_error(instrument) is None)
    desk = Desk(rulebook("book", "house"), (instrument,))
    desk.ok(OpenAccounts(3))
    desk.ok(Deposit(0, 16, (2**58, 2**58, 2**58)))
    half = -(-interest // 2)
    lots = (interest, -half, half - interest) if interest > 1 else (1, -1)
    many = len(lots)
    desk.ok(LoadPositions(0, price, (16, 17, 18)[:many], lots, (price,) * many, (1,) * many, (0,) * many))
    for index in (price, instrument.price_min_ticks, price):
        desk.index(index)
        rows = np.arange(16, 19)
        equity, required = pooled_equity(desk.state, rows)
        for row, e, r in zip(rows.tolist(), equity.tolist(), required.tolist(), strict=True):
            risk = risk_of(desk.state, (row, 0))
            assert (risk.equity_atoms, risk.maintenance_atoms) == (e, r)
            assert abs(e) < 2**62
            assert 0 <= r < 2**63
        find_liquidatable(desk.state)


@pytest.mark.spec("NUM-02", "NUM-06")
@given(
    contract=st.sampled_from(["linear", "inverse"]), tick_value=magnitudes, most=magnitudes, data=st.data()
)
def test_a_lot_is_worth_something_at_every_price_of_a_contract(
    contract: Any, tick_value: int, most: int, data: st.DataObject
) -> None:
    """An inverse contract whose lot is worth less than an atom at its largest price is no instrument."""
    instrument = perpetual(
        contract=contract,
        tick_value_atoms=tick_value,
        price_max_ticks=most,
        size_max_lots=1,
        open_interest_max_lots=1,
    )
    assume(budget_error(instrument) is None)
    price = data.draw(st.sampled_from([1, most]) | st.integers(1, most))
    assert value_atoms(instrument, price, 1) != 0
    assert value_atoms(instrument, price, 1) == -value_atoms(instrument, price, -1)


@pytest.mark.spec("NUM-02", kind="T")
def test_a_fill_with_a_value_pays_a_fee() -> None:
    """One lot at 1 tick is worth an atom; a fee of a part in 10^9 of it is an atom too."""
    desk = Desk(rulebook(fees={"taker_ppb": 1}), (perpetual(tick_value_atoms=1),), index=(100,))
    taker, maker = desk.open(1, 1)
    (fill,) = (event for event in desk.trade(taker, maker, 1, 1) if isinstance(event, Filled))
    assert fill.taker_fee_atoms == 1
    assert desk.cash(taker) == USD - 1
