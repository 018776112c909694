"""Questions about an account that holds both legs of a contract, as a bot writes them.

Brackets of BTCUSDT: 0.4 % up to 50,000, above it 0.5 % less 50; initial rates 0.8 % and 1 %.
"""

from typing import Any

import pytest

from zerodebt.exchange.ask import UnanswerableError, answer
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder, SetPositionMode
from zerodebt.exchange.testing.account import account
from zerodebt.exchange.testing.market import RunningVenue

LONG = {"instrument": "BTCUSDT", "side": "long", "size": "0.8", "entry": "100000"}
SHORT = {"instrument": "BTCUSDT", "side": "short", "size": "0.3", "entry": "100000"}
BASE: dict[str, Any] = {
    "venue": "binance_usdm",
    "as_of": "2025-10-10",
    "balances": {"USDT": "5000"},
    "positions": [LONG, SHORT],
    "prices": {"BTCUSDT": {"mark": "100000"}},
}
NET_ONLY = {"rules": {"margin": {"hedge_mode": False}}}


def about(question: str, leg: str | None = None, **fields: Any) -> dict[str, Any]:
    named = {} if leg is None else {"position_side": leg}
    return {"question": question, "instrument": "BTCUSDT", **named, **fields}


def asked(question: dict[str, Any], **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer(BASE | changes | {"ask": [question]})["answers"][0]
    return found


def test_margin_is_asked_of_each_leg() -> None:
    found = asked({"question": "margin"})
    # (0.005 * 80000 - 50) + 0.004 * 30000; of a net position of 0.5 it would be 0.004 * 50000
    assert found["answer"]["maintenance"] == "470.000000"
    figures = {line["what"]: line["value"] for line in found["explain"]}
    assert figures["BTCUSDT long value"] == "80000.000000"
    assert figures["BTCUSDT short value"] == "30000.000000"


@pytest.mark.parametrize("leg", ["long", "short"])
def test_prices_of_a_cross_pool_move_both_legs(leg: str) -> None:
    # 5000 - 0.5 * (100000 - p) = 0.0052 * p - 50 at 90844.79; nothing is left at 100000 - 5000 / 0.5
    assert asked(about("liquidation_price", leg))["answer"]["tick"] == "90844.7"
    assert asked(about("bankruptcy_price", leg))["answer"]["tick"] == "90000.0"


def test_an_isolated_leg_has_a_price_of_its_own() -> None:
    positions = [LONG, SHORT | {"isolated_margin": "1000"}]
    found = asked(about("bankruptcy_price", "short"), positions=positions)["answer"]
    # 1000 over 0.3
    assert (found["price"], found["tick"]) == ("103333.333333333333333333", "103333.3")
    margin = asked(about("margin", "short"), positions=positions)["answer"]
    assert (margin["equity"], margin["maintenance"]) == ("1000.000000", "120.000000")


def test_the_winning_leg_has_a_score_and_the_losing_one_none() -> None:
    prices = {"BTCUSDT": {"mark": "101000"}}
    long, short = (asked(about("adl_score", leg), prices=prices)["answer"] for leg in ("long", "short"))
    assert float(long["score"]) > 0
    assert (short["score"], short["rank"]) == ("0", None)


@pytest.mark.parametrize("price", ["100000", "101000"])
def test_an_order_to_sell_opens_the_short_leg(price: str) -> None:
    sale = about("largest_order", side="sell", price=price, leverage=10)
    # 5000 less 0.8 % of 50000 and 1 % of 30000 is 4300 = (0.3 + x) * 100000 / 10, whatever the order gains
    assert asked(sale)["answer"]["size"] == "0.130"
    one = {"positions": [LONG], "position_mode": "hedge"}
    assert asked(sale, **one)["answer"]["size"] == "0.430"
    in_net_mode = asked(sale | {"leverage": 0}, positions=[LONG])["answer"]["size"]
    assert float(in_net_mode) > 0.8, "it closes the long position first"


@pytest.mark.parametrize(
    ("side", "leg", "size"),
    [("sell", "long", "0.800"), ("buy", "short", "0.300"), ("sell", "short", "0.130")],
)
def test_an_order_for_a_leg_closes_or_opens_it(side: str, leg: str, size: str) -> None:
    order = about("largest_order", leg, side=side, price="100000", leverage=10)
    assert asked(order)["answer"]["size"] == size
    assert account(**BASE).largest_order("BTCUSDT", side, 100_000, 10, leg) == size  # type: ignore[arg-type]


def test_the_venue_takes_the_largest_order_that_closes_a_leg() -> None:
    venue = RunningVenue("binance_usdm", "2025-10-10", prices={"BTCUSDT": 100_000})
    customer = venue.open({"USDT": 5000})
    venue.apply(SetPositionMode(customer.number, "hedge"))
    venue.quote("BTCUSDT", "0.3")
    venue.apply(PlaceOrder(customer.number, 0, BUY, 300, None, "ioc", leg="long"))
    assert customer.oracle().largest_order("BTCUSDT", "sell", 101_000, position_side="long") == "0.300"
    venue.apply(PlaceOrder(customer.number, 0, SELL, 300, 1_010_000, leg="long"))
    assert [str(order.size) for order in customer.orders("BTCUSDT")] == ["0.300"]


@pytest.mark.parametrize(
    ("changes", "code"), [({"position_mode": "net"}, "wrong_leg"), (NET_ONLY, "no_hedge_mode")]
)
def test_an_order_in_net_mode_names_no_leg(changes: dict[str, Any], code: str) -> None:
    order = about("largest_order", "long", side="buy", price="100000")
    error = asked(order, **({"positions": [LONG]} | changes))["error"]
    assert (error["code"], error["field"]) == (code, "ask.0.position_side")


def test_a_path_names_the_leg_of_each_event_and_what_is_left_of_it() -> None:
    path = [{"prices": {"BTCUSDT": "90500"}}]
    question = {"question": "what_if", "path": path, "depth": {"BTCUSDT": "0.4"}}
    (point,) = asked(question)["answer"]["points"]
    fills = [event for event in point["events"] if event["event"] == "forced_fill"]
    assert fills[0]["position_side"] == "long"
    assert (fills[0]["size"], fills[0]["left"]) == ("-0.400", "0.400")
    long, short = point["legs"]["BTCUSDT"].values()
    assert long == "0.400"
    assert f"{float(long) + float(short):.3f}" == point["positions"]["BTCUSDT"]
    assert all(float(fill["left"]) == float(short) for fill in fills if fill["position_side"] == "short")


def test_a_path_gives_the_fill_of_an_opening_order_to_its_leg_and_of_a_closing_one_to_the_other() -> None:
    """0.3 long at 100,000; it bids for 0.2 more at 99,500, and to sell 0.1 of them it offers at 101,000."""
    rules = {"mark": {"formula": "index"}}
    venue = RunningVenue("binance_usdm", "2025-10-10", prices={"BTCUSDT": 100_000}, rules=rules)
    customer = venue.open({"USDT": 5000})
    venue.apply(SetPositionMode(customer.number, "hedge"))
    venue.quote("BTCUSDT", "0.3")
    venue.apply(PlaceOrder(customer.number, 0, BUY, 300, None, "ioc", leg="long"))
    venue.quote("BTCUSDT", 0)
    venue.apply(PlaceOrder(customer.number, 0, BUY, 200, 995_000, leg="long"))
    venue.apply(PlaceOrder(customer.number, 0, SELL, 100, 1_010_000, leg="long"))
    path = [{"BTCUSDT": 99_000}, {"BTCUSDT": 102_000}]
    found = customer.oracle().what_if(path, depth={"BTCUSDT": 1})
    fills = [[e for e in point.events if e.event == "fill"] for point in found.points]
    told = [(fill.position_side, str(fill.size), str(fill.left)) for (fill,) in fills]
    assert told == [("long", "0.200", "0.500"), ("long", "-0.100", "0.400")]
    assert [point.legs["BTCUSDT"].long for point in found.points] == ["0.5", "0.4"]


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        (NET_ONLY, "no_hedge_mode", "positions.1.instrument"),
        (NET_ONLY | {"positions": [LONG], "position_mode": "hedge"}, "no_hedge_mode", "position_mode"),
        ({"position_mode": "net"}, "second_position", "positions.1.instrument"),
        ({"positions": [LONG, SHORT, SHORT]}, "second_position", "positions.2.instrument"),
        ({"position_mode": "one-way"}, "wrong_case", "position_mode"),
    ],
)
def test_legs_that_cannot_be_are_refused(changes: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(UnanswerableError) as error:
        answer(BASE | changes | {"ask": []})
    assert (error.value.code, error.value.field) == (code, field)


@pytest.mark.parametrize(
    ("question", "changes", "code"),
    [
        (about("liquidation_price"), {}, "wrong_leg"),
        (about("adl_score", "long"), {"positions": [LONG]}, "wrong_leg"),
        (about("margin", "long"), NET_ONLY | {"positions": [LONG]}, "no_hedge_mode"),
        ({"question": "margin", "position_side": "long"}, {}, "wrong_leg"),
    ],
)
def test_a_leg_that_is_not_meant_is_refused(
    question: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    error = asked(question, **changes)["error"]
    assert (error["code"], error["field"]) == (code, "ask.0.position_side")


def test_a_leg_that_is_not_held_is_no_position() -> None:
    one = {"positions": [LONG], "position_mode": "hedge"}
    for question in (
        about("liquidation_price", "short"),
        about("largest_order", "short", side="buy", price="100000"),
    ):
        assert asked(question, **one)["error"] == {
            "code": "zero_position",
            "field": "ask.0.position_side",
            "found": "short",
            "allowed": "is the leg that is held: BTCUSDT long",
        }
    assert "answer" in asked(about("liquidation_price"), **one), "the only leg needs no name"


def test_the_table_of_a_failed_test_has_a_row_for_each_leg() -> None:
    table = account(**BASE).table()
    rows = {line.split()[1]: line.split() for line in table.splitlines() if line.startswith("  BTCUSDT")}
    assert rows["long"][2:] == ["0.800", "100000.000", "100000.0", "0.000000", "350.000000", "90844.7"]
    assert rows["short"][2] == "-0.300"
    assert rows["short"][-2] == "120.000000"
