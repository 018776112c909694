"""The default fund's layers and the margin's buffer, worked by hand."""

import numpy as np
import pytest

from zerodebt.scenarios.models import clearing_house, margin_cycle


def test_own_contribution_pays_first_then_the_house_then_the_others() -> None:
    """Contributions 40 to 10. Of 100 that the first loses 40 are his, 15 the house's, 45 the others'."""
    contributions = [40, 30, 20, 10]
    assert clearing_house.unpaid({0: 100}, contributions, 15) == 0
    # the others have 60: of 130 they leave 130 - 40 - 15 - 60
    assert clearing_house.unpaid({0: 130}, contributions, 15) == 15
    # nobody pays with another defaulter's contribution beyond that one's own loss
    assert clearing_house.unpaid({0: 130, 1: 10}, contributions, 15) == 130 - 40 - 15 - 30


def test_shock_within_the_margin_costs_nobody() -> None:
    class Calm:
        def random(self, count: int | None = None) -> object:
            return 0.0 if count is None else np.zeros(count)

    assert clearing_house.defaulted(Calm(), [100, 200], 1.5) == {}


def test_members_are_of_unlike_size() -> None:
    sizes = clearing_house.exposures(4)
    # (1 - 1/8)^(-1/1.2) of a unit is the smallest, (1 - 7/8)^(-1/1.2) the largest
    assert sizes[0] == pytest.approx(10**9 * (7 / 8) ** (-1 / 1.2), rel=1e-9)
    assert sizes[-1] == pytest.approx(10**9 * 8 ** (1 / 1.2), rel=1e-9)


def test_buffer_is_given_up_as_margin_rises() -> None:
    """Without memory margin is the day's size: half of calm, calm, 1.2 and 2 times it."""
    returns = np.array([0.5, 1.0, 1.2, 2.0])
    assert margin_cycle.margin(returns, 0.0, 0.25, 1.0).tolist() == pytest.approx([0.625, 1.25, 1.25, 2.0])
    assert margin_cycle.margin(returns, 0.0, 0.0, 1.0).tolist() == pytest.approx([0.5, 1.0, 1.2, 2.0])
