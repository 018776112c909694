"""Integer arithmetic against exact fractions and Python integers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerodebt.exchange.units import (
    FIXED_POINT,
    HOUR_NS,
    MINUTE_NS,
    PPB,
    SECOND_NS,
    div_ceil,
    div_floor,
    exp_decay_fp,
    median,
    mul_ppb_ceil,
    mul_ppb_floor,
    mul_ppb_floor_array,
    split_exact,
    weighted_median,
)

ANY = st.integers(-(10**30), 10**30)


@pytest.mark.spec("NUM-05")
@pytest.mark.parametrize(
    ("numerator", "floor", "ceil"),
    [(7, 3, 4), (-7, -4, -3), (6, 3, 3), (-6, -3, -3), (1, 0, 1), (-1, -1, 0), (0, 0, 0)],
)
def test_division_goes_in_its_named_direction_for_both_signs(numerator: int, floor: int, ceil: int) -> None:
    assert div_floor(numerator, 2) == floor
    assert div_ceil(numerator, 2) == ceil


@pytest.mark.parametrize("divide", [div_floor, div_ceil])
@pytest.mark.parametrize("denominator", [0, -1])
def test_division_by_less_than_one_is_our_mistake(divide: object, denominator: int) -> None:
    assert callable(divide)
    with pytest.raises(AssertionError):
        divide(1, denominator)


@pytest.mark.spec("NUM-05")
@given(ANY, st.integers(1, 10**20))
def test_floor_and_ceil_mirror_each_other_around_zero(numerator: int, denominator: int) -> None:
    assert div_floor(numerator, denominator) == math.floor(Fraction(numerator, denominator))
    assert div_ceil(numerator, denominator) == -div_floor(-numerator, denominator)


@pytest.mark.spec("NUM-01", "NUM-03")
@given(ANY, st.integers(-PPB, PPB))
def test_a_rate_is_applied_exactly_and_rounded_once(atoms: int, rate_ppb: int) -> None:
    exact = Fraction(atoms * rate_ppb, PPB)
    assert mul_ppb_floor(atoms, rate_ppb) == math.floor(exact)
    assert mul_ppb_ceil(atoms, rate_ppb) == math.ceil(exact)


@pytest.mark.spec("NUM-01", "NUM-06")
@given(st.lists(st.integers(-(2**60), 2**60), min_size=1, max_size=5), st.integers(0, PPB))
def test_a_rate_on_an_array_is_the_same_as_on_each_number(atoms: list[int], rate_ppb: int) -> None:
    rated = mul_ppb_floor_array(np.array(atoms, np.int64), rate_ppb)
    assert rated.dtype == np.int64
    assert rated.tolist() == [mul_ppb_floor(each, rate_ppb) for each in atoms]


def test_a_fee_rounds_up_and_a_rebate_rounds_down() -> None:
    assert mul_ppb_ceil(1, 1) == 1
    assert mul_ppb_ceil(1, -1) == 0
    assert mul_ppb_ceil(3 * PPB + 1, -1) == -3


WEIGHTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=9).filter(any)


@pytest.mark.spec("NUM-04")
@given(st.integers(0, 10**24), WEIGHTS)
def test_shares_sum_to_the_total_and_are_within_one_atom_of_exact(total: int, weights: list[int]) -> None:
    shares = split_exact(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        exact = Fraction(total * weight, sum(weights))
        assert math.floor(exact) <= share <= math.ceil(exact)


@pytest.mark.spec("NUM-04")
@given(st.integers(0, 10**6), WEIGHTS, st.randoms(use_true_random=False))
def test_shares_follow_their_weights_whatever_the_order(
    total: int, weights: list[int], random: object
) -> None:
    order = list(range(len(weights)))
    random.shuffle(order)  # type: ignore[attr-defined]
    whole = sum(weights)
    remainders = [total * weight % whole for weight in weights]
    if len(set(remainders)) < len(remainders):
        return
    shares = split_exact(total, weights)
    assert split_exact(total, [weights[k] for k in order]) == [shares[k] for k in order]


@pytest.mark.spec("NUM-04")
def test_equal_remainders_go_to_the_first() -> None:
    assert split_exact(10, [1, 1, 1]) == [4, 3, 3]
    assert split_exact(1, [0, 1, 1]) == [0, 1, 0]


@pytest.mark.spec("NUM-04")
def test_what_is_left_goes_to_the_largest_remainders_and_not_to_the_largest_shares() -> None:
    """3 over 5 : 3 : 2 is 1.5, 0.9 and 0.6: one for the first, and the two left to the others."""
    assert split_exact(3, [5, 3, 2]) == [1, 1, 1]


@pytest.mark.spec("NUM-04")
def test_nothing_is_split_into_nothing_and_one_gets_all() -> None:
    assert split_exact(0, [1]) == [0]
    assert split_exact(3, [1]) == [3]


@pytest.mark.parametrize(("total", "weights"), [(1, []), (1, [0, 0]), (-1, [1])])
def test_splitting_a_negative_amount_or_over_nobody_is_our_mistake(total: int, weights: list[int]) -> None:
    with pytest.raises(AssertionError):
        split_exact(total, weights)


def exp_of(x: Fraction) -> Fraction:
    """exp(-x), by a Taylor sum of exact fractions on x / 2^k, good to far more than 18 digits."""
    halvings = 0
    while x > Fraction(1, 64):
        x /= 2
        halvings += 1
    x = x.limit_denominator(10**60)
    term = total = Fraction(1)
    for k in range(1, 25):
        term *= -x / k
        total += term
    total = total.limit_denominator(10**80)
    for _ in range(halvings):
        total = (total * total).limit_denominator(10**80)
    return total


@given(st.integers(0, 100 * HOUR_NS), st.sampled_from([30 * SECOND_NS, 150 * SECOND_NS, 8 * HOUR_NS]))
def test_decay_is_close_to_the_floating_exponential(elapsed_ns: int, tau_ns: int) -> None:
    expected = math.exp(-elapsed_ns / tau_ns)
    assert exp_decay_fp(elapsed_ns, tau_ns) / FIXED_POINT == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("elapsed_ns", [1, SECOND_NS, 30 * SECOND_NS, MINUTE_NS, 5 * MINUTE_NS, HOUR_NS])
def test_decay_is_rounded_down_and_off_by_less_than_a_hundred_units(elapsed_ns: int) -> None:
    exact = exp_of(Fraction(elapsed_ns, 150 * SECOND_NS)) * FIXED_POINT
    assert 0 <= exact - exp_decay_fp(elapsed_ns, 150 * SECOND_NS) < 100


def test_decay_of_no_time_is_one_and_of_sixty_lifetimes_nothing() -> None:
    assert exp_decay_fp(0, SECOND_NS) == FIXED_POINT
    assert exp_decay_fp(60 * SECOND_NS + 1, SECOND_NS) == 0


def test_median_of_an_even_number_is_the_mean_of_the_middle_rounded_down() -> None:
    assert median([5, 1, 3]) == 3
    assert median([4, 1, 3, 9]) == (3 + 4) // 2
    assert median([-4, -1]) == -3


def test_weighted_median_is_where_half_of_the_weight_is_reached() -> None:
    assert weighted_median([(10, 1), (20, 1), (30, 3)]) == 30
    assert weighted_median([(10, 2), (20, 1), (30, 1)]) == 10
    with pytest.raises(AssertionError):
        weighted_median([])
