"""Figures of series with known answers."""

import numpy as np
import pytest

from zerodebt.scenarios import series


def test_kurtosis_of_two_values_is_one() -> None:
    assert series.kurtosis(np.array([1.0, -1.0, 1.0, -1.0])) == pytest.approx(1)
    # mean 0, fourth moment (2 * 1 + 2 * 81) / 8 over the squared variance ((2 + 18) / 8)^2
    values = np.array([1.0, -1.0, 3.0, -3.0, 0.0, 0.0, 0.0, 0.0])
    assert series.kurtosis(values) == pytest.approx((164 / 8) / (20 / 8) ** 2)


def test_hill_gives_the_exponent_of_pareto_quantiles() -> None:
    share = (np.arange(100_000) + 0.5) / 100_000
    assert series.hill(share ** (-1 / 3), 0.01) == pytest.approx(3, rel=0.01)


def test_hill_of_two_sizes_over_a_third() -> None:
    """k = 2 over ln(4/1) + ln(2/1)."""
    assert series.hill(np.array([1.0, 2.0, 4.0, 0.5]), 0.5) == pytest.approx(2 / np.log(8))


def test_alternating_series_is_its_own_opposite() -> None:
    values = np.tile([1.0, -1.0], 500)
    assert series.autocorrelation(values, 1) == pytest.approx(-1)
    assert series.autocorrelation(values, 2) == pytest.approx(1)


def test_slope_of_a_line() -> None:
    x = np.array([0.0, 1.0, 5.0])
    assert series.slope(x, 3 - 2 * x) == pytest.approx(-2)
