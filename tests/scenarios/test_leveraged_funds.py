"""The market of value funds on prices that are worked by hand."""

import numpy as np
import pytest

from zerodebt.scenarios.models import leveraged_funds as model


def test_noise_alone_clears_at_its_worth_a_share() -> None:
    none = np.zeros(0)
    assert model.clearing(800.0, 1.0, none, none, none, 1.0, True) == pytest.approx(0.8)
    assert model.clearing(800.0, 1.0, none, none, none, 1.0, False) == pytest.approx(0.8)


def test_fund_buys_by_mispricing_up_to_its_limit() -> None:
    """100 of wealth in cash. At .95: 10 * .05 of it; at .5 the limit, 3 times it."""
    wealth, held, beta = np.array([100.0]), np.zeros(1), np.array([10.0])
    demand = model.excess(0.95, 0.0, 1.0, wealth, held, beta, 3.0) + model.SHARES
    assert demand == pytest.approx(0.5 * 100 / 0.95)
    demand = model.excess(0.5, 0.0, 1.0, wealth, held, beta, 3.0) + model.SHARES
    assert demand == pytest.approx(3 * 100 / 0.5)


def test_wealth_falls_with_the_price_until_nothing_is_held() -> None:
    """300 shares bought at .9 with wealth 100: at .6 it is 100 - 90, at .5 less than nothing."""
    wealth, held, beta = np.array([100.0]), np.array([300.0]), np.array([50.0])
    demand = model.excess(0.6, 0.0, 0.9, wealth, held, beta, 3.0) + model.SHARES
    assert demand == pytest.approx(3 * 10 / 0.6)
    assert model.excess(0.5, 0.0, 0.9, wealth, held, beta, 3.0) == -model.SHARES


def test_root_rules_part_where_several_prices_clear() -> None:
    """Bought at .9: 5 times a wealth of 100. Near .9 the fund still buys; below .72 it has nothing left,
    and noise traders with 395 clear 1000 shares alone."""
    wealth, held, beta = np.array([100.0]), np.array([500 / 0.9]), np.array([50.0])
    nearest, lower = (model.clearing(395.0, 0.9, wealth, held, beta, 7.0, rule) for rule in (True, False))
    assert 0.89 < nearest < 0.9
    assert model.excess(nearest, 395.0, 0.9, wealth, held, beta, 7.0) == pytest.approx(0, abs=1e-6)
    assert lower == pytest.approx(0.395)


def test_unlevered_funds_calm_the_noise() -> None:
    noise = model.measure(0, limit=1.0, steps=20_000, funds=0)
    funds = model.measure(0, limit=1.0, steps=20_000)
    # a log random walk that is pulled back by 1 % a step: .035 sqrt(2 / 1.99)
    assert noise["deviation"] == pytest.approx(0.035 * np.sqrt(2 / 1.99), rel=0.02)
    assert funds["deviation"] < noise["deviation"]
