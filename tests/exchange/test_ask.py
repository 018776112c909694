"""Cases as a bot writes them: decimal strings in, decimal strings out, and an error that names the field."""

from typing import Any

import msgspec
import pytest

from zerodebt.exchange.ask import Case, UnanswerableError, answer, schema

BASE: dict[str, Any] = {
    "venue": "hyperliquid",
    "as_of": "2025-10-10",
    "balances": {"USDC": "5000"},
    "positions": [{"instrument": "BTC", "side": "long", "size": "0.8", "entry": "120000", "leverage": 20}],
    "prices": {"BTC": {"mark": "118000"}},
    "ask": [{"question": "liquidation_price", "instrument": "BTC"}],
}


def asked(question: dict[str, Any], **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer(BASE | changes | {"ask": [question]})["answers"][0]
    return found


def test_liquidation_price_of_a_cross_position() -> None:
    """(0.8 * 120000 - 5000) / (0.8 * (1 - 1/80)), and the tick below it."""
    found = asked({"question": "liquidation_price", "instrument": "BTC"})["answer"]
    assert found["price"] == "115189.873417721518987342"
    assert (found["tick"], found["reached_by"]) == ("115189.8", "falling")
    assert (found["closing_fees_included"], found["funding_included"]) == (False, False)


def test_every_line_of_an_explanation_that_states_a_rule_states_its_source() -> None:
    lines = asked({"question": "liquidation_price", "instrument": "BTC"})["explain"]
    tier = next(line for line in lines if "tier" in line["what"])
    assert tier["value"] == "0.0125 of the value less 0"
    assert tier["source"] == "Hyperliquid docs: Margin tiers (2025-10-01)"
    assert "Liquidations" in lines[-1]["source"]


def test_what_is_left_on_a_path() -> None:
    path = [{"prices": {"BTC": "115000"}}, {"prices": {"BTC": "114000"}}]
    found = asked({"question": "what_if", "path": path, "depth": {"BTC": "0.1"}})["answer"]
    events = [[event["event"] for event in point["events"]] for point in found["points"]]
    assert events == [
        ["liquidation_started", "stage", "forced_fill"],
        ["stage", "taken_over", "liquidation_ended"],
    ]
    assert found["left"]["balances"] == {"USDC": "0.000000"}
    assert found["points"][0]["positions"] == {"BTC": "0.70000"}


ISOLATED = {"instrument": "BTC", "side": "short", "size": "1", "entry": "100000", "isolated_margin": "3000"}


def test_isolated_position_answers_with_its_own_margin() -> None:
    """(100000 + 3000) / (1 + 1/80), whatever the wallet holds."""
    question = {"question": "liquidation_price", "instrument": "BTC"}
    rich, poor = (
        asked(question, positions=[ISOLATED], balances={"USDC": wallet}, prices={"BTC": {"mark": "100000"}})
        for wallet in ("0", "900000")
    )
    assert rich["answer"] == poor["answer"]
    assert rich["answer"]["price"] == "101728.395061728395061728"


HELD = BASE["positions"][0]
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"venue": "mtgox"}, "unknown_venue", "venue"),
    ({"as_of": "2014-02-07"}, "no_rule_then", "venue"),
    ({"as_of": "yesterday"}, "wrong_case", "as_of"),
    ({"balances": {"DOGE": "1"}}, "unknown_asset", "balances.DOGE"),
    ({"balances": {"USDC": "0.0000001"}}, "off_the_grid", "balances.USDC"),
    ({"balances": {"USDC": "NaN"}}, "not_a_number", "balances.USDC"),
    ({"prices": {}}, "missing_price", "prices.BTC"),
    ({"prices": {"BTC": {"mark": "0"}}}, "price_out_of_bounds", "prices.BTC.mark"),
    ({"prices": {"BTC": {"mark": "118000", "index_age_s": "61"}}}, "stale_index", "prices.BTC.index_age_s"),
    ({"prices": {"BTX": {"mark": "1"}}}, "unknown_instrument", "prices.BTX"),
    ({"positions": [HELD | {"size": "0"}]}, "zero_position", "positions.0.size"),
    ({"positions": [HELD | {"leverage": 41}]}, "leverage_above_tier", "positions.0.leverage"),
    (
        {"positions": [HELD | {"instrument": "X"}]},
        "unknown_instrument",
        "positions.0.instrument",
    ),
    ({"positions": [HELD | {"sise": "1"}]}, "wrong_case", "positions[0]"),
    ({"rules": {"fees": {"taker_ppb": -1}}}, "wrong_rule", "rules"),
]


@pytest.mark.parametrize(("changes", "code", "field"), WRONG)
def test_wrong_case_gets_a_typed_answer_that_names_the_field(
    changes: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(UnanswerableError) as error:
        answer(BASE | changes)
    assert (error.value.code, error.value.field) == (code, field)
    assert set(error.value.table()) == {"code", "field", "found", "allowed"}
    assert "\n" not in str(error.value)


def test_question_that_cannot_be_answered_leaves_the_others_their_answers() -> None:
    table = BASE | {"ask": [{"question": "bankruptcy_price", "instrument": "ETH"}, {"question": "margin"}]}
    first, second = answer(table | {"prices": BASE["prices"] | {"ETH": {"mark": "4000"}}})["answers"]
    assert first["error"]["code"] == "zero_position"
    assert second["answer"]["equity"] == "3400.000000"


def test_override_of_a_rule_and_of_an_instrument_changes_the_answer() -> None:
    question = {"question": "liquidation_price", "instrument": "BTC"}
    tiers = [{"above": "0", "leverage_max": 20}]
    found = asked(question, instruments=[{"symbol": "BTC", "tiers": tiers}])["answer"]
    assert found["price"] == "116666.666666666666666667"
    largest = {"question": "largest_order", "instrument": "BTC", "side": "buy", "price": "118000"}
    free, charged = (
        asked(largest, balances={"USDC": "20000"}, rules={"fees": {"taker_ppb": fee}})["answer"]["size"]
        for fee in (0, 10_000_000)
    )
    assert float(free) > float(charged)


def test_schema_names_every_question_and_takes_the_case() -> None:
    text = msgspec.json.encode(schema()).decode()
    for tag in (
        "margin",
        "liquidation_price",
        "bankruptcy_price",
        "withdrawable",
        "largest_order",
        "what_if",
    ):
        assert f'"{tag}"' in text
    assert msgspec.convert(BASE, Case, strict=False).venue == "hyperliquid"
