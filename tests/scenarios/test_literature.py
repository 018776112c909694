"""Small models of the literature, each on a case that is worked by hand."""

import numpy as np
import pytest

from zerodebt.scenarios.models import execution, fire_sales, hawkes, queue_race


def test_likelihood_of_two_events() -> None:
    """mu = 1, n = .5, beta = 2, at 1 and 2: intensities 1 and 1 + e^-2; integral 2 + .5 (1 - e^-2) + 0."""
    expected = np.log(1 + np.exp(-2)) - 2 - 0.5 * (1 - np.exp(-2))
    assert hawkes.log_likelihood(np.array([1.0, 2.0]), 1.0, 0.5, 2.0) == pytest.approx(expected)


def test_events_without_children_come_at_their_own_rate() -> None:
    times = hawkes.simulated(np.random.default_rng(0), 2.0, 0.0, 1.0, 20_000)
    assert times[-1] == pytest.approx(10_000, rel=0.03)
    assert (np.diff(times) > 0).all()


def test_first_to_leave_wins_without_arrivals() -> None:
    """Market orders and cancellations at 1 + 1 for one order, at 1 + 2 while two stand."""
    assert queue_race.rises(1, 1, 0.0, 1.0, 1.0) == pytest.approx(0.5, abs=1e-6)
    # the ask goes before the first bid with 2 / (2 + 3), after it and before the second with 3 / 5 * 2 / 4
    assert queue_race.rises(2, 1, 0.0, 1.0, 1.0) == pytest.approx(2 / 5 + 3 / 5 / 2, abs=1e-6)
    counted = queue_race.raced(np.random.default_rng(0), 2, 1, 0.0, 1.0, 1.0, 40_000)
    assert counted == pytest.approx(0.7, abs=0.01)


def test_patient_seller_sells_evenly() -> None:
    assert execution.closed_form(1e-9, 4) == pytest.approx([0.75, 0.5, 0.25])
    # two steps, urgency 4: x_1 = 1 / (2 + 4 / 4)
    assert execution.solved(4.0, 2) == pytest.approx([1 / 3])


def test_sweep_pays_tick_by_tick() -> None:
    """Depth 10, 20, 30: 10 lots at 1, 20 at 2, 5 at 3."""
    assert execution.sweep_cost(35, 10) == 10 * 1 + 20 * 2 + 5 * 3


def test_loss_alone_is_worth_depth_and_margin() -> None:
    """Speculators with 50 less of wealth can hold 5 lots of 10 margin less: 5 / 20 of price."""
    assert fire_sales.fall(50.0, is_marked=False, margin_rise=0.0) == pytest.approx(0.25)
    # the fall also costs them 50 lots: 50 / (200 - 50)
    assert fire_sales.fall(50.0, is_marked=True, margin_rise=0.0) == pytest.approx(1 / 3)


def test_fund_that_does_not_sell_leaves_assets_alone() -> None:
    assert fire_sales.covariance(0.0) == pytest.approx(np.diag(fire_sales.DEVIATION**2))
    own = np.array([[0.01, 0.02]])
    assert fire_sales.with_sales(own, 0.0) == pytest.approx(own)
    # the fund's value changes by (30 * .01 + 20 * .02) / 50; asset 0 moves by 30 / 50 of it
    assert fire_sales.with_sales(own, 1.0)[0, 0] == pytest.approx(0.01 + 0.014 * 0.6)


def test_sale_without_impact_costs_nothing() -> None:
    assert fire_sales.after_sale(0.25, 0.0) == pytest.approx((0.75, 0.0))
    # a quarter sold, price down by .2 * .5: .75 * .9 left, sold at 1 - .2 / 3 in the mean
    assets, loss = fire_sales.after_sale(0.25, 0.2)
    assert assets == pytest.approx(0.675)
    assert loss == pytest.approx(1 - 0.675 - 0.25 * (1 - 2 / 3 * 0.1))
