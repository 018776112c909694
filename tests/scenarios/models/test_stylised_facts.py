"""Stylised facts of series with known answers, the walk of what coins are worth, and a small world."""

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from zerodebt.agents.wealth import Floats
from zerodebt.scenarios import populations
from zerodebt.scenarios.models import stylised_facts
from zerodebt.scenarios.models.leverage_cycle import (
    COINS,
    Walk,
    news_csv,
    run_world,
    usual_volatility,
)

_STEP_S = 300.0
_DAY = 288


def _paths(returns: Floats) -> Floats:
    """Log prices that begin at 0."""
    return np.cumsum(np.insert(returns, 0, 0.0, axis=1), axis=1)


def _luck() -> np.random.Generator:
    return np.random.default_rng(5)


def test_gaussian_walks_have_none_of_the_facts() -> None:
    """Volatilities differ by a factor of 8 between coins: the pooled figures do not see it."""
    returns = _luck().standard_normal((4, 200 * _DAY)) * np.array([[1.0], [2.0], [4.0], [8.0]])
    found = stylised_facts.of_paths(_paths(returns), _STEP_S)
    assert found["kurtosis_look"] == pytest.approx(0, abs=0.1)
    assert found["kurtosis_day"] == pytest.approx(0, abs=0.5)
    assert found["kurtosis_look_as_few"] == pytest.approx(0, abs=0.1)
    assert found["tail"] > 5
    assert found["acf_largest_size"] < 0.02
    assert found["acf_sizes_50"] == pytest.approx(0, abs=0.02)


def test_tail_of_t3_is_three_and_its_kurtosis_falls_with_the_horizon() -> None:
    """Hill's exponent of the largest 5 % of t3 is below 3, since the law is not yet a pure power there."""
    found = stylised_facts.of_paths(_paths(_luck().standard_t(3, (4, 200 * _DAY))), _STEP_S)
    assert 2.5 < found["tail"] < 3.1
    assert found["kurtosis_look"] > found["kurtosis_hour"] > found["kurtosis_day"]
    assert found["acf_sizes_50"] == pytest.approx(0, abs=0.02)


def test_sizes_that_remember_are_found_at_fifty_looks_and_signs_are_not() -> None:
    """Sizes are exp of an AR(1) of .99 a step: normal luck of variance v = .25, so that |r| has the
    autocorrelation (exp(v .99^50) - 1) / (exp(v) E z^2 / (E |z|)^2 - 1) at 50 steps."""
    luck, kept, variance = _luck(), 0.99, 0.25
    steps = 400 * _DAY
    logs = lfilter([np.sqrt(variance * (1 - kept**2))], [1, -kept], luck.standard_normal((4, steps)))
    returns = np.exp(logs) * luck.standard_normal((4, steps))
    found = stylised_facts.of_paths(_paths(returns), _STEP_S)
    expected = (np.exp(variance * kept**50) - 1) / (np.exp(variance) * np.pi / 2 - 1)
    assert found["acf_sizes_50"] == pytest.approx(expected, abs=0.02)
    assert found["acf_sizes_1"] > found["acf_sizes_10"] > found["acf_sizes_50"]
    assert found["acf_largest_size"] < 0.03


def test_returns_that_remember_are_found_beyond_twenty_minutes_only() -> None:
    """Moving sums of 5 and of 6 looks: 25 minutes apart the first are at 0, the second at 1/6."""
    luck = _luck().standard_normal((4, 200 * _DAY))
    found = {}
    for width in (5, 6):
        sums = np.stack([np.convolve(own, np.ones(width), "valid") for own in luck])
        found[width] = stylised_facts.of_paths(_paths(sums), _STEP_S)
    assert found[5]["acf_largest"] == pytest.approx(0, abs=0.03)
    assert found[6]["acf_largest"] == pytest.approx(1 / 6, abs=0.03)
    assert found[6]["acf_largest_lag_minutes"] == 25


def test_few_returns_have_less_kurtosis_than_many() -> None:
    """Two days of two coins: four returns at every time of day. One of 4, three of 0: kurtosis 7/3, excess
    -2/3; 1, -1, 1, -1: kurtosis 1, excess -2."""
    returns = np.array([[4.0, 1.0, 0.0, -1.0], [0.0, 1.0, 0.0, -1.0]])
    assert stylised_facts.kurtosis_as_few(returns, 2) == pytest.approx((-2 / 3 - 2) / 2)


def test_worths_walk_at_the_usual_volatility_each_coin_for_itself() -> None:
    hours = 24.0 * 365
    walk = [row for _, row in Walk(3, 3_600.0, 2.0).log_moves(hours)]
    assert walk[0] == dict.fromkeys(COINS, 0.0)
    moves = np.diff(np.array([[row[coin] for coin in COINS] for row in walk]), axis=0)
    assert len(moves) == 365 * 24
    np.testing.assert_allclose(np.sqrt((moves**2).sum(axis=0)), 2 * usual_volatility(), rtol=0.03)
    together = np.corrcoef(moves.T)
    assert np.abs(together - np.eye(len(COINS))).max() < 0.05
    assert walk != [row for _, row in Walk(4, 3_600.0, 2.0).log_moves(hours)]


def test_waypoints_of_a_walk_are_its_steps() -> None:
    lines = news_csv(Walk(3, 1_800.0, 1.0), 1.0).splitlines()
    assert len(lines) == 1 + 3 * len(COINS) * 2
    moved = [row["BTC"] for _, row in Walk(3, 1_800.0, 1.0).log_moves(1.0)]
    assert lines[-8] == f"2026-01-01T01:00:00Z,BTC,{100_000 * np.exp(moved[-1]):.1f},news,input"


def test_prices_of_a_small_world_follow_the_walk(tmp_path: Path) -> None:
    """Value traders who look all the time and have no threshold: BTC goes more than a tenth of the way.

    Without news it moves by .0002, of .17.
    """
    changes = {
        "populations.retail.count": 40,
        "populations.value.acts_per_day": 288.0,
        "populations.value.threshold_max": 0.0,
        "populations.value.value_sd": 0.0,
        "populations.value.gain": 5.0,
    }
    walk = Walk(1, 600.0, 20.0)
    moved = [row["BTC"] for _, row in walk.log_moves(3.0)][-1]
    run = run_world(1, 3.0, 600.0, walk, changes, tmp_path)
    path = np.log(populations.index_path(run, "BTC"))
    assert moved > 0.1
    assert 0.1 * moved < path[-1] - path[0] < moved
