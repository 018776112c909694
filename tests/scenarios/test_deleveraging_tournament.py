"""The tournament's fairness tests on two or three winners, worked by hand."""

import numpy as np
import pytest

from zerodebt.exchange.rules import AdlRules
from zerodebt.scenarios.models import deleveraging_tournament as model
from zerodebt.scenarios.models import top_winner
from zerodebt.scenarios.models.deleveraging_tournament import Account

QUEUE, PRO_RATA = AdlRules(), AdlRules(policy="pro_rata")
LEVERED = Account(cash=100_000, profit=60_000, lots=100)
CALM = Account(cash=900_000, profit=30_000, lots=10)


def test_third_of_all_profits_is_taken_from_the_first_in_the_queue_or_from_all() -> None:
    """30,000 of 90,000: the levered one alone, or a third of each."""
    assert model.haircuts(QUEUE, [CALM, LEVERED]) == [0, 30_000]
    assert model.haircuts(PRO_RATA, [CALM, LEVERED]) == [10_000, 20_000]


def test_queue_reverses_winners_and_pro_rata_does_not() -> None:
    """Calm profits of 55,000 stay whole, 60,000 in front lose (60,000 + 55,000) / 3."""
    calm = CALM._replace(profit=55_000)
    assert model.reverses_winners(QUEUE, [calm, LEVERED])
    assert not model.reverses_winners(PRO_RATA, [calm, LEVERED])


def test_shares_of_both_policies_do_not_hang_on_the_unit() -> None:
    for rules in (QUEUE, PRO_RATA):
        assert not model.depends_on_scale(rules, [CALM, LEVERED])


def test_bad_day_charges_what_was_needed_and_the_price_goes_on() -> None:
    """1,000 lots, 5 % of them are closed at 1.06 % of 10,000 atoms each; then 1 % more is forgone."""
    accounts = [Account(10**8, 10**7, 600), Account(10**8, 10**7, 400)]
    lots = model.bad_day(PRO_RATA, accounts, in_lots=True)
    assert lots["overshoot"] == pytest.approx(100 / 106)
    assert model.bad_day(PRO_RATA, accounts, in_lots=False)["overshoot"] == 0


def test_winners_are_drawn_by_quantiles_and_own_what_they_risk() -> None:
    one, two = (model.drawn(np.random.default_rng(seed), 50) for seed in (0, 1))
    assert sorted(a.cash + a.profit for a in one) == sorted(a.cash + a.profit for a in two)
    assert all(a.cash > 0 and a.lots > 0 for a in one)


def test_largest_of_pareto_amounts_grows_as_their_power() -> None:
    assert top_winner.expected("pareto", 1.5) == pytest.approx(-1 / 3)
    # ln(sqrt(ln 1e5 / ln 100) / 1000) / ln 1000, up to the bend between
    assert top_winner.expected("normal", 1.5) == pytest.approx(-0.934, abs=0.005)
