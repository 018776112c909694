"""Tiers, order steps and the arithmetic budget."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venues import USD, perpetual, spot
from zerodebt.exchange.instruments import (
    Instrument,
    Tier,
    budget_error,
    closing_ticks,
    initial_atoms,
    maintenance_atoms,
    maintenance_atoms_array,
    margin_table,
    open_interest_rate_ppm,
    order_step_ticks,
    value_atoms,
    values_atoms,
)
from zerodebt.exchange.units import PPB

BTC_TIERS = (Tier(0, 40), Tier(150_000_000 * USD, 20))
ODD_TIERS = (Tier(0, 25), Tier(20_000, 10), Tier(50_000, 7), Tier(200_000, 3))


def marginal(tiers: tuple[Tier, ...], notional: int) -> Fraction:
    """The requirement as the sum over the slices of the tiers, exact."""
    total = Fraction(0)
    bounds = [tier.lower for tier in tiers[1:]] + [None]
    for tier, upper in zip(tiers, bounds, strict=True):
        top = notional if upper is None else min(notional, upper)
        total += Fraction(max(0, top - tier.lower), 2 * tier.leverage_max)
    return total


def ceil(x: Fraction) -> int:
    return -(-x.numerator // x.denominator)


@pytest.mark.spec("NUM-03")
@given(st.integers(0, 1_000_000))
def test_maintenance_is_the_exact_sum_over_the_tiers_rounded_up_once(notional: int) -> None:
    table = margin_table(perpetual(tiers=ODD_TIERS))
    assert maintenance_atoms(table, notional, 1) == ceil(marginal(ODD_TIERS, notional))


@pytest.mark.spec("MARG-04")
@pytest.mark.parametrize("bound", [20_000, 50_000, 200_000])
def test_maintenance_does_not_jump_at_a_tier_bound(bound: int) -> None:
    table = margin_table(perpetual(tiers=ODD_TIERS))
    at, below, above = (maintenance_atoms(table, bound + step, 1) for step in (0, -1, 1))
    assert below <= at <= above <= below + 2


def test_maintenance_of_a_whale_pays_each_tier_its_own_rate() -> None:
    table = margin_table(perpetual(tiers=BTC_TIERS))
    expected = 150_000_000 * USD // 80 + 50_000_000 * USD // 40
    assert maintenance_atoms(table, 200_000_000 * USD, 1) == expected


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_array_requirement_equals_the_scalar_one(notionals: list[int]) -> None:
    table = margin_table(perpetual(tiers=ODD_TIERS, margin_floor_atoms_per_lot=7))
    sizes = [notional % 1000 for notional in notionals]
    array = maintenance_atoms_array(table, np.array(notionals, np.int64), np.array(sizes, np.int64))
    expected = [maintenance_atoms(table, n, size) for n, size in zip(notionals, sizes, strict=True)]
    assert array.tolist() == expected


def test_floor_per_lot_holds_where_the_price_is_near_zero() -> None:
    table = margin_table(perpetual(margin_floor_atoms_per_lot=5))
    assert maintenance_atoms(table, 0, 3) == 3 * 5
    assert maintenance_atoms(table, 4000, 3) == 4000 // 40


def test_spot_requires_nothing() -> None:
    assert maintenance_atoms(margin_table(spot()), 10**12, 10**6) == 0


@pytest.mark.parametrize(("lots", "expected"), [(3, 3 * 105 * USD), (-3, -3 * 105 * USD)])
def test_value_of_a_fill_has_the_sign_of_its_lots(lots: int, expected: int) -> None:
    assert value_atoms(perpetual(), 105, lots) == expected


INVERSE = perpetual(contract="inverse", tick_value_atoms=100 * 10**8, price_max_ticks=10**6)
"""100 USD a lot, paid in a coin of 8 decimals, a tick of 1 USD."""


@pytest.mark.parametrize(
    ("price", "expected"), [(50_000, -2_000_000), (40_000, -2_500_000), (30_000, -3_333_333)]
)
def test_inverse_position_is_worth_less_the_higher_the_price(price: int, expected: int) -> None:
    """10 lots of 100 USD at 50,000 are 0.02 coins; what is left of an atom is dropped on both sides."""
    assert value_atoms(INVERSE, price, 10) == expected
    assert value_atoms(INVERSE, price, -10) == -expected


@given(
    st.lists(st.integers(-1000, 1000), max_size=9),
    st.integers(1, 10**6),
    st.sampled_from([perpetual(), INVERSE]),
)
def test_array_of_values_equals_the_single_ones(lots: list[int], price: int, instrument: Instrument) -> None:
    array = values_atoms(instrument, price, np.array(lots, np.int64))
    assert array.tolist() == [value_atoms(instrument, price, held) for held in lots]


@pytest.mark.spec("LIQ-08")
@given(
    st.sampled_from([perpetual(tick_value_atoms=7), INVERSE]),
    st.integers(1, 10**5),
    st.integers(-50, 50).filter(bool),
    st.integers(0, 10**5),
)
def test_closing_price_brings_what_is_needed_and_one_tick_less_would_not(
    instrument: Instrument, mark: int, lots: int, needed: int
) -> None:
    wanted = value_atoms(instrument, mark, lots) + needed
    price = closing_ticks(instrument, lots, wanted)
    kinder = price - 1 if lots > 0 else price + 1
    if instrument.contract == "inverse" and (wanted >= 0 if lots > 0 else wanted <= 0):
        assert price > instrument.price_max_ticks, "no price makes it worth so much"
        return
    if price > 0:
        exact = Fraction(price * lots * 7)
        if instrument.contract == "inverse":
            exact = Fraction(-lots * instrument.tick_value_atoms, price)
        assert exact >= wanted
    if kinder > 0 and instrument.contract == "linear":
        assert kinder * lots * 7 < wanted
    if kinder > 0 and instrument.contract == "inverse":
        assert Fraction(-lots * instrument.tick_value_atoms, kinder) < wanted


def test_whole_tier_charges_its_rate_on_all_of_the_position() -> None:
    tiers = (Tier(0, 100, 5_000_000), Tier(1_000, 50, 10_000_000))
    table = margin_table(perpetual(tiers=tiers, tier_form="whole", tier_unit="lots"))
    assert maintenance_atoms(table, 40_000, 1_000) == 200
    assert maintenance_atoms(table, 40_000, 1_001) == 400
    sizes = np.array([999, 1_000, 1_001], np.int64)
    assert maintenance_atoms_array(table, np.full(3, 40_000), sizes).tolist() == [200, 200, 400]
    assert initial_atoms(table, 40_000, 1_001, 100) == 800


def test_rate_grows_with_the_size_of_the_position() -> None:
    """1 % and 0.005 % for each lot: 25 lots ask 1.125 %; an inverse one by its value in the coin."""
    linear = perpetual(tiers=(Tier(0, 50, 10_000_000),), slope_ppb=50_000)
    assert maintenance_atoms(margin_table(linear), 2_500_000 * USD, 25) == 28_125 * USD
    assert initial_atoms(margin_table(linear), 2_500_000 * USD, 25, 50) == 53_125 * USD
    coin = 10**8
    inverse = perpetual(
        contract="inverse", tiers=(Tier(0, 50, 10_000_000),), slope_ppb=50_000, slope_size=coin
    )
    assert maintenance_atoms(margin_table(inverse), 25 * coin, 25_000) == 28_125_000


@pytest.mark.spec("NUM-06")
def test_growing_rate_ends_at_the_whole_value() -> None:
    """1 % and 10 % for each lot: 9 lots ask 91 %, 10 lots all of it and no more; an inverse one likewise."""
    linear = margin_table(perpetual(tiers=(Tier(0, 50, 10_000_000),), slope_ppb=PPB // 10))
    assert maintenance_atoms(linear, 900, 9) == 819
    assert maintenance_atoms(linear, 1_000, 10) == 1_000
    inverse = perpetual(contract="inverse", tiers=(Tier(0, 50, 10_000_000),), slope_ppb=PPB // 10)
    largest = np.array([2**60], np.int64)
    assert maintenance_atoms_array(margin_table(inverse), largest, largest).tolist() == [2**60]
    assert initial_atoms(margin_table(inverse), 2**60, 1, 50) == 2**60


@pytest.mark.spec("NUM-03")
def test_share_of_the_initial_requirement_is_rounded_up_after_it() -> None:
    """ceil(ceil(101 * 0.2) * 0.5): the first ceiling is seen in the second."""
    table = margin_table(
        perpetual(tiers=(Tier(0, 0, 0, 200_000_000),), maintenance_of_initial_ppb=500_000_000)
    )
    assert initial_atoms(table, 101, 1, 0) == 21
    assert maintenance_atoms(table, 101, 1) == 11


def test_open_interest_raises_the_initial_rate_and_leaves_maintenance() -> None:
    tiers = (Tier(0, 0, 0, 200_000_000),)
    table = margin_table(
        perpetual(tiers=tiers, open_interest_low_atoms=1_000_000, open_interest_high_atoms=2_000_000)
    )
    rates = [open_interest_rate_ppm(table, 0, oi) for oi in (0, 1_000_000, 1_234_567, 2_000_000, 3_000_000)]
    assert rates == [200_000, 200_000, 387_653, 10**6, 10**6]
    assert initial_atoms(table, 10**6, 1, 0, 1_234_567) == 387_653
    assert maintenance_atoms(table, 10**6, 1) == 100_000


@pytest.mark.parametrize(
    ("price_ticks", "step"),
    [
        (0, 1),
        (99_999, 1),
        (100_000, 10),
        (123_456, 10),
        (1_234_567, 100),
        (12_345_678, 100),
        (-123_456, 10),
        (-99_999, 1),
    ],
)
def test_five_figures_and_integers_always(price_ticks: int, step: int) -> None:
    """With two decimals a step is never more than 1, which is 100 ticks."""
    assert order_step_ticks(perpetual(significant_figures=5, tick_decimals=2), price_ticks) == step


def test_every_tick_is_a_price_where_figures_are_not_limited() -> None:
    assert order_step_ticks(perpetual(tick_decimals=2), 123_456_789) == 1


@pytest.mark.spec("NUM-06")
@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"tick_value_atoms": 0}, "tick_value_atoms is 0"),
        ({"price_min_ticks": 5, "price_max_ticks": 4}, "is above price_max_ticks"),
        ({"size_max_lots": 0}, "size_max_lots 0"),
        ({"size_max_lots": 2_000_000}, "size_max_lots 2000000"),
        ({"tiers": ()}, "the table of margin tiers is missing"),
        ({"tiers": (Tier(1, 20),)}, "tiers must start at 0"),
        ({"tiers": (Tier(0, 20), Tier(0, 10))}, "must ascend"),
        ({"tiers": (Tier(0, 20), Tier(10, 25))}, "must ascend"),
        ({"tiers": (Tier(0, 0),)}, "leverage_max"),
        ({"tiers": (Tier(0, 1001),)}, "leverage_max"),
        ({"price_max_ticks": 2_000_000}, "62-bit budget"),
        ({"price_min_ticks": -2_000_000}, "62-bit budget"),
        ({"open_interest_max_lots": 20_000_000}, "62-bit budget"),
    ],
)
def test_instrument_beyond_its_budget_is_refused_in_one_sentence(changes: dict[str, Any], found: str) -> None:
    error = budget_error(perpetual(**changes))
    assert error is not None
    assert found in error
    assert error.startswith("instrument BTC: ")
    assert "\n" not in error


@pytest.mark.parametrize("instrument", [perpetual(), spot(), perpetual(tiers=BTC_TIERS)])
def test_sane_instrument_fits_the_budget(instrument: Instrument) -> None:
    assert budget_error(instrument) is None
