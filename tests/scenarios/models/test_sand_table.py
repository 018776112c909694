"""The grid's names, and what a figure of it stands on."""

import numpy as np
import pytest

from zerodebt.agents.anti_martingale import Bot, play, signal
from zerodebt.scenarios.models.sand_table import measure


def figures(**changes: object) -> dict[str, float]:
    values = {
        "leverages": [5, 20],
        "take_profits": [5, 50],
        "sds": [0.6],
        "log_drift": 0.7,
        "has_edge": True,
        "owes": False,
        "fee": 0.0,
        "fee_on_notional": False,
        "paths": 50,
    }
    return dict(measure(0, **(values | changes)))  # type: ignore[arg-type]


def test_point_of_the_grid_is_the_bot_on_the_seeds_paths() -> None:
    book = play(signal(np.random.default_rng([0, 6]), 50, 0.6, 0.7), Bot(20, 5, fee=0))
    found = figures()
    assert found["loses_L20_m5_sd60"] == np.mean(book.outflow + book.equity < book.inflow)
    assert found["return_mean_L20_m5_sd60"] == pytest.approx(np.mean(book.gain / book.peak_outlay))


def test_without_an_edge_the_price_gains_nothing_on_average() -> None:
    """exp of a normal with mean -sd^2/2 has mean 1; t4 shocks of this size are close to it."""
    returns = signal(np.random.default_rng(1), 200_000, 0.6, -(0.6**2) / 2, days=1)
    error = returns.std() / np.sqrt(returns.size)
    assert abs(returns.mean()) < 3 * error


def test_only_with_recourse_can_more_be_lost_than_was_put_in() -> None:
    assert figures()["worst_return"] >= -1
    assert figures(owes=True, log_drift=-3.0)["worst_return"] < -1
