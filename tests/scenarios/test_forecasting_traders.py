"""The book of forecasting traders on draws that are worked by hand."""

import numpy as np
import pytest

from zerodebt.scenarios.models import forecasting_traders as model


class Draws:
    """In place of luck: the first trader always, and these normal draws."""

    def __init__(self, *normals: float) -> None:
        self.normals = iter(normals)

    def random(self) -> float:
        return 0.0

    def normal(self) -> float:
        return next(self.normals)


def prices(weights: tuple[float, float, float], margin: float, life: int, *normals: float) -> list[float]:
    plain = model.run.py_func  # type: ignore[attr-defined]
    table = np.array(weights).reshape(3, 1)
    found: list[float] = plain(
        Draws(*normals), table, np.array([1]), np.array([margin]), life, 0.1, len(normals)
    ).tolist()
    return found


NOISE = (0.0, 0.0, 1.0)


def test_order_that_meets_the_other_side_trades_at_the_standing_price() -> None:
    """Without a margin: an ask at exp(-.1), then a bid at exp(.1) takes it."""
    assert prices(NOISE, 0.0, 10, -1.0, 1.0) == pytest.approx([1.0, np.exp(-0.1)])


def test_price_without_a_trade_is_the_midpoint() -> None:
    """A bid at exp(.1) (1 - .2), then an ask at exp(-.1) (1 + .2)."""
    bid, ask = np.exp(0.1) * 0.8, np.exp(-0.1) * 1.2
    assert prices(NOISE, 0.2, 10, 1.0, -1.0) == pytest.approx([1.0, (bid + ask) / 2])


def test_order_ends_after_its_life() -> None:
    """With a life of two steps the ask of the first is gone in the third: the bid finds nobody."""
    assert prices(NOISE, 0.0, 2, -1.0, -1.5, 1.0)[2] == pytest.approx(np.exp(-0.15))
    assert prices(NOISE, 0.0, 1, -1.0, 1.0) == [1.0, 1.0]


def test_value_holds_the_price_near_the_fundamental() -> None:
    away = []
    for value in (0.0, 1.0):
        weights = np.array([[value], [0.0], [1.0]])
        luck = np.random.default_rng(0)
        path = model.run(luck, weights, np.array([1]), np.array([0.05]), 50, 0.05, 5_000)
        away.append(np.abs(np.log(path / model.FUNDAMENTAL)).mean())
    assert away[1] < away[0] / 2
