"""V47 by stratified quantiles."""

import numpy as np
import pytest

from zerodebt.agents.wealth import (
    LARGEST_USD,
    lognormal_quantiles,
    midpoints,
    solve_scale,
    spread_evenly,
    wealth_quantiles,
)


def test_midpoints_are_the_centres_of_equal_shares() -> None:
    assert midpoints(4).tolist() == [1 / 8, 3 / 8, 5 / 8, 7 / 8]


@pytest.mark.spec("V47")
def test_wealth_has_the_stated_median_and_tail_and_stays_under_the_largest_account() -> None:
    wealth = wealth_quantiles(20_000)
    assert np.all(np.diff(wealth) > 0)
    assert np.median(wealth) == pytest.approx(np.exp(7.22) * 1.0, rel=0.001)
    assert 25_000 < np.quantile(wealth, 0.9) < 60_000  # observed 44 k
    assert wealth[-1] < LARGEST_USD
    largest = np.sort(wealth)[-100:]
    hill = 1 / np.mean(np.log(largest / largest[0]))
    assert 0.6 < hill < 1.3  # .74 below, steeper at the cut


def test_wealth_of_another_number_of_accounts_is_the_same_distribution() -> None:
    few, many = wealth_quantiles(1_000), wealth_quantiles(20_000)
    assert np.quantile(few, 0.5) == pytest.approx(np.quantile(many, 0.5), rel=0.01)
    assert few.mean() == pytest.approx(many.mean(), rel=0.25)


def test_scale_meets_the_notional_with_the_cap_after_scaling() -> None:
    wealth = wealth_quantiles(5_000)
    leverage = lognormal_quantiles(5_000, 8.0, 0.8, 1.0, 40.0)
    wanted = 3 * float((wealth * leverage).sum())

    def held(factor: float) -> float:
        return float((np.minimum(wealth * factor, LARGEST_USD) * leverage).sum())

    factor = solve_scale(wanted, held)
    scaled = np.minimum(wealth * factor, LARGEST_USD)
    assert factor > 3
    assert float((scaled * leverage).sum()) == pytest.approx(wanted, rel=1e-9)
    assert scaled.max() == LARGEST_USD


def test_scale_that_caps_forbid_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match="allow 10 of 11"):
        solve_scale(11.0, lambda factor: min(factor, 10.0))


def test_every_size_class_gets_the_whole_distribution() -> None:
    wealth = wealth_quantiles(2_000)
    values = lognormal_quantiles(2_000, 8.0, 0.8)
    dealt = spread_evenly(values, wealth, np.random.default_rng(3))
    assert np.array_equal(np.sort(dealt), np.sort(values))
    for tenth in np.array_split(dealt[np.argsort(wealth)], 10):
        assert np.median(tenth) == pytest.approx(8.0, rel=0.1)
