"""Prices of perpetuals and the arbitrageur's band, worked by hand."""

import numpy as np
import pytest

from zerodebt.scenarios.models import perpetual_prices as model


def test_price_is_kappa_over_kappa_less_the_rate() -> None:
    assert model.price(1095, 0.05, 0, 0) == pytest.approx(1095 / 1094.95)
    assert model.price(2, 0.5, 0.25, 0.25) == 1
    assert model.price(4, 1.0, 0, 1.0) == pytest.approx(3 / 3)


def test_arbitrageur_trades_back_to_the_band_as_far_as_he_can() -> None:
    """Pushes of 3, 3 and -1 about a band of 1: 3 - 1.5; then 4.5 - 1.5; then 2 - 1."""
    push = np.array([3.0, 3.0, -1.0]) * np.sqrt(model.LOOKS_A_DAY)
    assert model.path(push, 1.0, 1.0, 0.0, 1.5).tolist() == pytest.approx([1.5, 3.0, 1.0])
    assert model.path(push, 1.0, 1.0, 0.0, 0.0).tolist() == pytest.approx([3.0, 6.0, 5.0])


def test_inside_the_band_nobody_trades() -> None:
    push = np.array([0.5, -1.0]) * np.sqrt(model.LOOKS_A_DAY)
    assert model.path(push, 1.0, 1.0, 0.0, 9.0).tolist() == pytest.approx([0.5, -0.5])
