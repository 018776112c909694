"""The zero-intelligence book: its lists, and a market small enough to count."""

import numpy as np
import pytest

from zerodebt.scenarios.models import zero_intelligence as model
from zerodebt.scenarios.models import zero_intelligence_stocks as stocks


def prices(orders: model.Orders, side: int) -> list[int]:
    """By walking the dense list; each price's own list must hold as many."""
    found = orders.price[side, : orders.held[side]].tolist()
    for at in set(found):
        chain, order = 0, orders.head[side, at % model.GRID]
        while order != -1:
            assert orders.price[side, order] == at
            chain, order = chain + 1, orders.after[side, order]
        assert chain == found.count(at)
    return sorted(found)


def test_orders_come_and_go_from_both_lists() -> None:
    orders = model.empty(1000)
    luck = np.random.default_rng(0)
    expected: list[int] = []
    for _ in range(2_000):
        if expected and luck.random() < 0.5:
            order = int(luck.integers(orders.held[1]))
            expected.remove(int(orders.price[1, order]))
            model.remove(orders, 1, order)
        else:
            at = int(luck.integers(-5, 5))
            model.add(orders, 1, at)
            expected.append(at)
        assert prices(orders, 1) == sorted(expected)
    assert prices(orders, 0) == []


def test_orders_far_away_are_counted_on_both_sides() -> None:
    orders = model.empty(10)
    for at in (90, 95, 100):
        model.add(orders, 0, at)
    model.add(orders, 1, 110)
    # from 100: distances 10, 5, 0 and 10; the far end is not included
    assert model.standing(orders, 100, 5, 11) == 3
    assert model.standing(orders, 100, 5, 10) == 1


def test_published_law_counts_both_sides() -> None:
    """eps of both sides is half that of one, mu of both sides is twice that of one."""
    assert model.law(2 * 1.0) == pytest.approx(2 * (0.28 + 1.86))


def test_random_walk_diffuses_by_its_variance_a_step() -> None:
    """Steps of 1 or -1 every sample: variance 1 each, over a tenth of a unit of time."""
    walk = np.cumsum(np.random.default_rng(0).choice([-1.0, 1.0], 20_000))
    assert model.diffusion(walk, 1) == pytest.approx(1 / model.SAMPLE_EVERY, rel=0.01)
    assert model.diffusion(walk, 10) == pytest.approx(1 / model.SAMPLE_EVERY, rel=0.1)


def test_same_seed_gives_the_same_book() -> None:
    first, again, other = (model.measure(seed, eps=0.3, events=30_000) for seed in (1, 1, 2))
    assert first == again != other
    assert first["spread"] == pytest.approx(0.882, rel=0.1)


def test_stocks_are_told_apart_by_their_size() -> None:
    """The size of mu/alpha, over a hundred thousandfold, is far more than eps can do."""
    found = stocks.measure(0, stocks=5, decades=5.0, events=20_000)
    assert found["slope"] == pytest.approx(1, abs=0.05)
    assert found["r_squared"] > 0.99
