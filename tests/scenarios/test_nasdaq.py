"""September 2018: a member's spread moves further than his margin, and the default fund pays."""

from typing import Any

import polars as pl
import pytest

import zerodebt
from zerodebt.scenarios import charts
from zerodebt.scenarios.quantities import CallError
from zerodebt.scenarios.runner import Result, prepare

NAME = "nasdaq-2018-09-10"
SPREAD = "instruments.POWER-SPREAD.margin_floor"
INITIAL = "instruments.POWER-SPREAD.initial_per_lot"
DEPOSIT = "populations.members.members.defaulter.deposit_atoms"


def run_with(changes: dict[str, Any]) -> Result:
    """Another day than the one that the claims are about."""
    return zerodebt.run(NAME, **changes, claims=[])


@pytest.fixture(scope="module")
def result() -> Result:
    return zerodebt.run(NAME)


def test_loss_beyond_margin_comes_from_position_move_and_bids(result: Result) -> None:
    measured = result.summary["metrics"]
    # 60,000,000 MWh x (5.90 bid - 4.00 margin)
    assert measured["deficits_opened_eur"] == 60_000_000 * 1.90 == 114_000_000
    assert all(claim.held for claim in result.claims)


def test_layers_pay_in_their_order(result: Result) -> None:
    drawn = result.frame("waterfall").filter(pl.col("entry") == "drawn")
    by_layer = drawn.group_by("because", maintain_order=True).agg(pl.col("amount_eur").sum())
    assert by_layer.rows() == [("house_capital", 7_000_000.0), ("contributions", 107_000_000.0)]
    others = drawn.filter(pl.col("because") == "contributions")["amount_atoms"].to_list()
    # 107 of 166: by what each has put up, to the cent
    assert others == pytest.approx([107 / 166 * million * 10**8 for million in (66, 50, 30, 20)], abs=1)
    assert sum(others) == 107 * 10**8


def test_verdict_says_that_the_debt_stood_open_until_the_auction(result: Result) -> None:
    assert result.verdict == "HELD BY INTERVENTION"
    assert result.exit_code == 0
    assert result.summary["audit"]["findings"] == []
    (clause,) = [c for c in result.summary["audit"]["clauses"] if c["letter"] == "a"]
    assert not clause["holds"]
    # 60M x (5.56 - 4.00), before what the auction added
    assert clause["figures"]["largest_open_deficit_atoms"] == 60_000_000 * 156
    assert clause["figures"]["age_ns"] > 40 * 3600 * 10**9


def test_a_better_bid_leaves_a_smaller_loss() -> None:
    bids = [{"account": "member-3", "prices": {"POWER-SPREAD": "5.56"}}]
    better = run_with({"schedule.1.bids": bids})
    assert better.summary["metrics"]["deficits_opened_eur"] == pytest.approx(60_000_000 * 1.56)


def test_with_margin_for_the_move_nobody_else_pays() -> None:
    safe = run_with({SPREAD: "6", INITIAL: "6", DEPOSIT: 36_000_000_000})
    assert safe.summary["metrics"]["deficits_opened_eur"] == 0
    assert safe.summary["metrics"]["default_fund_end_eur"] == 166_000_000
    assert safe.summary["paid"] == []


def test_what_the_fund_cannot_pay_is_a_residual() -> None:
    small = run_with({"venue.default_fund.house_capital_atoms": 0, DEPOSIT: 0})
    assert small.verdict == "RESIDUAL"
    # 60M x 5.90 less the others' 166M
    assert small.summary["metrics"]["residual_eur"] == pytest.approx(354_000_000 - 166_000_000)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("schedule.1.account", "defalter", "nearest is 'defaulter'"),
        ("schedule.1.bids", [], "found none, allowed is one or more"),
        (
            "schedule.1.bids",
            [{"account": "member-9", "prices": {"POWER-SPREAD": "1"}}],
            "found 'member-9'",
        ),
        ("schedule.1.bids", [{"account": "member-1", "prices": {"POWER": "1"}}], "found 'POWER'"),
        ("schedule.0.price", "200", "price_min..price_max"),
        ("populations.members.members.member-1.name", "member-2", "'member-2' is there twice"),
        (DEPOSIT, -1, "deposit_atoms"),
    ],
)
def test_a_wrong_auction_is_one_sentence(key: str, value: Any, said: str) -> None:
    with pytest.raises(CallError, match=said) as caught:
        prepare(NAME, overrides=((key, value),))
    assert "\n" not in str(caught.value)


def test_a_spread_that_starts_at_zero_is_drawn_in_prices(result: Result) -> None:
    frames = {name: result.frame(name) for name in ("marks", "instruments", "adl", "trades", "takeovers")}
    changes = frames["marks"]["mark"].to_list()  # from 0
    for figure in (charts.prices_and_flow(frames, "eur"), charts.small_multiples(frames, "eur")):
        drawn = next(trace for trace in figure.data if trace.name == "mark")
        assert drawn.y.tolist() == pytest.approx(changes)
