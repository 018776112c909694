"""What the strategies draw is valid: cases are answered, books stand, paths stay in bounds."""

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from zerodebt.exchange.ask import answer
from zerodebt.exchange.cases import UnanswerableError
from zerodebt.exchange.rules import profile_names, profile_table
from zerodebt.exchange.testing import strategies
from zerodebt.exchange.testing.account import account
from zerodebt.exchange.testing.market import RunningVenue

VENUES = [name for name in profile_names() if profile_table(name).get("instruments")]


@pytest.mark.parametrize("venue", VENUES)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_drawn_case_is_answered(venue: str, data: st.DataObject) -> None:
    case = data.draw(strategies.cases(venue))
    answers = answer(case)["answers"]
    assert len(answers) == len(case["ask"])
    for answered in answers:
        assert "error" not in answered, answered
        assert answered["explain"]


GARBAGE: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", "NaN", "-1", "1e99", 0, -3, [], {}, True, "0.00000000001", 10**30]
)


@settings(max_examples=200, deadline=None)
@given(strategies.cases("hyperliquid"), st.data())
def test_spoilt_case_is_answered_or_typed(case: dict[str, Any], data: st.DataObject) -> None:
    spoil(case, data)
    with suppress(UnanswerableError):
        answers = answer(case)["answers"]
        assert len(answers) == len(case["ask"])


def spoil(part: Any, data: st.DataObject) -> None:
    """Replace something, at any depth, by something else, or leave it out."""
    keys = list(part) if isinstance(part, dict) else list(range(len(part)))
    if not keys:
        return
    key = data.draw(st.sampled_from(keys))
    inner = part[key]
    if isinstance(inner, dict | list) and inner and data.draw(st.booleans()):
        spoil(inner, data)
    elif data.draw(st.booleans()):
        part[key] = data.draw(GARBAGE)
    else:
        del part[key]


def test_smallest_account_is_one_lot_at_a_round_price_with_its_value_in_cash() -> None:
    smallest = find(strategies.accounts("hyperliquid", symbols=["BTC"]), lambda _: True)
    assert smallest == {
        "balances": {"USDC": "1.000000"},
        "positions": [
            {"instrument": "BTC", "side": "long", "size": "0.00001", "entry": "100000.0", "leverage": 0}
        ],
        "prices": {"BTC": {"mark": "100000.0"}},
    }


@settings(max_examples=50, deadline=None)
@given(strategies.accounts("hyperliquid", "2025-10-10", symbols=["BTC", "ETH"]))
def test_drawn_account_suits_the_fixture(table: dict[str, Any]) -> None:
    asked = account("hyperliquid", "2025-10-10", **table)
    for position in table["positions"]:
        assert asked.margin(position["instrument"]).maintenance > 0


@settings(max_examples=50, deadline=None)
@given(strategies.books("hyperliquid", "BTC", "118000"))
def test_drawn_book_can_be_placed_and_does_not_cross(book: dict[str, list[tuple[str, str]]]) -> None:
    market = RunningVenue("hyperliquid", prices={"BTC": 118000})
    maker = market.open({"USDC": 10**10})
    for side, levels in (("buy", book["bids"]), ("sell", book["asks"])):
        for price, size in levels:
            if Decimal(price) * Decimal(size) >= 10:  # the rulebook's smallest order
                done = maker.order("BTC", side, size, price, post_only=True)  # type: ignore[arg-type]
                assert done.resting == size


@settings(max_examples=50, deadline=None)
@given(strategies.price_paths("hyperliquid", {"BTC": 118000, "ETH": "4000"}, points_max=4, move_max=0.1))
def test_drawn_path_moves_no_further_than_it_may(path: list[dict[str, str]]) -> None:
    assert 1 <= len(path) <= 4
    before = {"BTC": Decimal(118000), "ETH": Decimal(4000)}
    for point in path:
        for symbol, price in point.items():
            assert abs(Decimal(price) / before[symbol] - 1) <= Decimal("0.1001")
            before[symbol] = Decimal(price)
