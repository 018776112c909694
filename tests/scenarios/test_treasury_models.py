"""Arithmetic of the models of issuer, treasury companies, members and pools, worked by hand."""

import numpy as np
import pytest

from zerodebt.agents import clearing_members, treasury_companies
from zerodebt.scenarios.models import (
    collateral_loop,
    frozen_feed,
    issuer_run,
    member_default,
    redemption_delay,
    stable_collateral,
    treasury_arithmetic,
    treasury_domino,
)
from zerodebt.scenarios.models.small_venue import TICK_ATOMS


def test_venue_charges_the_issuer_what_the_rate_says() -> None:
    """The mid lies 27.5 of 100,000 ticks below the index, each 8 hours."""
    figures = issuer_run.measure(0, oracle="redemption", constant_supply=True, sells_token=False)
    intervals = 61_840 / (11_440_000 * 0.000275)
    assert figures["reserve_days"] == pytest.approx(np.ceil(intervals) / 3, abs=0.34)


def test_own_book_liquidates_the_sound_and_the_index_does_not() -> None:
    own = stable_collateral.measure(1, oracle="own")
    index = stable_collateral.measure(1, oracle="index")
    assert own["liquidated"] > index["liquidated"]
    assert index["liquidated_though_sound"] == index["harm"] == 0
    assert 0 < own["harm"] <= own["lost_in_forced_sales"] + 1e-6


def test_paths_end_where_they_should() -> None:
    """Twice the start, then 60 % and 80 % below that."""
    prices = treasury_domino.paths(np.random.default_rng(0))
    assert prices[treasury_domino.RISE_DAYS] == pytest.approx(200.0)
    assert prices[-1] == pytest.approx([80.0, 80.0, 40.0])


def test_concentration_of_equals_is_one_over_their_number() -> None:
    assert treasury_domino.herfindahl(np.ones(4)) == pytest.approx(0.25)
    assert treasury_domino.herfindahl(np.array([3.0, 1.0])) == pytest.approx(0.625)


def test_books_before_and_after_an_issue_grow_as_the_formula_says() -> None:
    for multiple in (0.5, 1.0, 2.0):
        grown = treasury_arithmetic.grown(0.1, multiple)
        assert grown == pytest.approx(treasury_companies.accretion(0.1, multiple), abs=1e-12)


def test_lenders_lose_what_the_coins_do_not_bring() -> None:
    """Coins are bought and sold at .01 USD: what they cost comes back, at most."""
    figures = frozen_feed.measure(0, feed="floor")
    assert figures["lenders_lost_musd"] < figures["attacker_took_musd"]
    assert figures["lenders_lost_share"] == pytest.approx(figures["lenders_lost_musd"] / 20)
    assert frozen_feed.measure(0, feed="silent")["attacker_took_musd"] == 0


def test_default_costs_what_the_move_takes_beyond_margin_and_half_of_it() -> None:
    """Three margins less one and a half of the largest seller's lots; the two largest make the fund."""
    fund, lost, left = member_default.played(1, member_default.STRESS_TICKS)
    lots = int(100 * clearing_members.sizes(10)[0])
    assert lost == lots * (1200 - 600) * TICK_ATOMS
    assert left == 0
    assert fund > lost


def test_gain_of_the_loop_is_its_derivative() -> None:
    """1 + S k/1 % a day times the slope of funding in S: .1 (r - .8) / (1 + .1 r)."""
    for reused in (0.2, 1.5):
        slope = 0.1 * (reused - 0.8) / (1 + 0.1 * reused)
        assert collateral_loop.gain(reused) == pytest.approx(1 + 0.1 * 3 / 0.01 / 365 * slope, abs=1e-5)


def test_shares_are_sold_for_the_loss_or_sent_to_their_issuer() -> None:
    """2000 USD of loss at 95 % of 100 USD are 22 shares."""
    assert redemption_delay.measure(0, is_delayed=False)["shares_sold"] == 22
    delayed = redemption_delay.measure(0, is_delayed=True)
    assert (delayed["shares_sold"], delayed["redemptions_paid"], delayed["hours_until_paid"]) == (0, 1, 48)
