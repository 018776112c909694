"""The default fund's layers, worked by hand."""

import numpy as np
import pytest

from zerodebt.scenarios.models import clearing_house


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
    # quantiles 7/8 and 1/8 of a Pareto tail of 1.2: the largest is 7^(1/1.2) times the smallest
    assert sizes[0] == 10**9
    assert sizes[-1] == pytest.approx(10**9 * 7 ** (1 / 1.2), rel=1e-9)
