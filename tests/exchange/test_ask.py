"""Cases as a bot writes them: decimal strings in, decimal strings out, and an error that names the field."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from zerodebt.exchange.ask import Case, Oracle, UnanswerableError, answer, schema
from zerodebt.exchange.custody import Custody
from zerodebt.exchange.rulebook import Rulebook
from zerodebt.exchange.specs import AssetSpec

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


QUESTIONS: list[dict[str, Any]] = [
    {"question": "margin"},
    {"question": "margin", "instrument": "BTC"},
    {"question": "liquidation_price", "instrument": "BTC"},
    {"question": "bankruptcy_price", "instrument": "BTC"},
    {"question": "withdrawable"},
    {"question": "largest_order", "instrument": "BTC", "side": "sell", "price": "118000"},
    {"question": "adl_score", "instrument": "BTC"},
    {"question": "what_if", "path": [{"prices": {"BTC": "114000"}}]},
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["question"])
def test_every_line_of_an_explanation_states_a_rule_and_its_source(question: dict[str, Any]) -> None:
    lines = asked(question)["explain"]
    assert lines
    for line in lines:
        assert all(line[key] for key in ("what", "value", "rule", "source")), line


def test_explanation_shows_the_tier_with_its_own_source() -> None:
    lines = asked({"question": "liquidation_price", "instrument": "BTC"})["explain"]
    tier = next(line for line in lines if "tier" in line["what"])
    assert tier["value"] == "0.0125 of the value less 0"
    assert tier["source"] == "Hyperliquid docs: Margin tiers (2025-10-01)"
    assert "Liquidations" in lines[-1]["source"]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["question"])
def test_every_answer_says_whether_fees_and_funding_are_included(question: dict[str, Any]) -> None:
    includes = asked(question)["answer"]["includes"]
    assert set(includes) == {"opening_fees", "closing_fees", "funding", "other_prices"}
    assert includes["opening_fees"] is (question["question"] == "largest_order")
    assert includes["closing_fees"] is (question["question"] == "what_if")
    assert includes["funding"] is False


def test_what_is_left_on_a_path() -> None:
    """A tenth is bid a tick below 115,000; at 114,000 equity is below two thirds of maintenance."""
    path = [{"prices": {"BTC": "115000"}}, {"prices": {"BTC": "114000"}}]
    first, last = asked({"question": "what_if", "path": path, "depth": {"BTC": "0.1"}})["answer"]["points"]
    assert [event["event"] for event in first["events"]] == [
        "liquidation_started",
        "stage",
        "forced_fill",
        "money",
    ]
    fill, money = first["events"][2:]
    assert (fill["size"], fill["price"], fill["left"]) == ("-0.10000", "114999.0", "0.70000")
    assert money == {"event": "money", "by": "fill", "amount": "-500.100000"}  # 0.1 * (114999 - 120000)
    assert first["positions"] == {"BTC": "0.70000"}
    taken = next(event for event in last["events"] if event["event"] == "taken_over")
    assert (taken["by"], taken["left"]) == ("backstop vault", "0.00000")
    assert last["balances"] == {"USDC": "0.000000"}


def test_path_says_who_paid_a_debt() -> None:
    """0.8 * (100000 - 120000) + 5000 = -11000; the fund pays it and takes the position."""
    found = asked(
        {"question": "what_if", "path": [{"prices": {"BTC": "100000"}}], "fund": "200000"},
        rules={"waterfall": ["book", "insurance", "adl"]},
    )["answer"]["points"][0]
    paid = next(event for event in found["events"] if event["event"] == "paid")
    assert paid == {"event": "paid", "stage": "insurance", "by": "insurance", "amount": "11000.000000"}
    assert found["cross"]["equity"] == "0.000000"


def test_path_needs_no_price_of_an_instrument_that_another_question_names() -> None:
    path = {"question": "what_if", "path": [{"prices": {"BTC": "114000"}}]}
    found = answer(BASE | {"ask": [path, {"question": "margin", "instrument": "ETH"}]})["answers"][0]
    (point,) = found["answer"]["points"]
    assert point["prices"] == {"BTC": "114000.0"}
    assert "taken_over" in [event["event"] for event in point["events"]]


def test_holder_of_the_other_side_is_ranked_where_the_score_counts_the_wallet_twice() -> None:
    """100 contracts of 100 USD from 10,000, at 9,000: 0.02 + 1 - 10000/9000 BTC, and the winner pays."""
    found = answer(
        {
            "venue": "binance_coinm",
            "balances": {"BTC": "0.02"},
            "positions": [{"instrument": "BTCUSD", "side": "long", "size": "100", "entry": "10000"}],
            "prices": {"BTCUSD": {"mark": "10000"}},
            "ask": [{"question": "what_if", "path": [{"prices": {"BTCUSD": "9000"}}]}],
        }
    )
    (point,) = found["answers"][0]["answer"]["points"]
    events = {event["event"]: event for event in point["events"]}
    assert found["settle_asset"] == "BTC"
    assert events["deficit"]["amount"] == "0.09111111"
    assert events["deleveraged"]["as"] == "bankrupt"
    assert "residual" not in events


def test_instruments_of_two_settlement_assets_are_two_cases() -> None:
    with pytest.raises(UnanswerableError) as error:
        answer(
            {
                "venue": "okx",
                "prices": {"BTC-USD-SWAP": {"mark": "100000"}, "BTC-USDT-SWAP": {"mark": "100000"}},
                "ask": [],
            }
        )
    assert error.value.code == "other_settlement"


def test_price_below_zero_leaves_the_debt_of_the_oil_client() -> None:
    """212 lots of 1,000 barrels from 0.01 with 77,000: 77000 + 212000 * (-37.63 - 0.01)."""
    oil = {
        "symbol": "WTI",
        "kind": "future",
        "tick": "0.01",
        "lot": "1",
        "contract_size": "1000",
        "price_min": "-100",
        "price_max": "200",
        "size_max": "10000",
        "open_interest_max": "10000",
        "tiers": [{"above": 0, "leverage_max": 1}],
        "margin_floor": "1",
    }
    found = answer(
        {
            "venue": "retail_broker",
            "rules": {"settle_asset": "USD"},
            "assets": [{"symbol": "USD", "decimals": 2}],
            "instruments": [oil],
            "balances": {"USD": "77000"},
            "positions": [{"instrument": "WTI", "side": "long", "size": "212", "entry": "0.01"}],
            "prices": {"WTI": {"mark": "0.01"}},
            "ask": [
                {"question": "bankruptcy_price", "instrument": "WTI"},
                {"question": "what_if", "path": [{"prices": {"WTI": "-37.63"}}]},
            ],
        }
    )["answers"]
    assert found[0]["answer"]["tick"] == "-0.35"  # 0.01 - 77000 / 212000, and no debt
    assert found[1]["answer"]["points"][0]["cross"]["equity"] == "-7902680.00"


def test_path_tells_how_an_isolated_position_stands() -> None:
    """3000 - (101000 - 100000), and 1/80 of 101,000."""
    found = asked(
        {"question": "what_if", "path": [{"prices": {"BTC": "101000"}}]},
        positions=[ISOLATED],
        prices={"BTC": {"mark": "100000"}},
    )["answer"]["points"][0]
    assert found["isolated"]["BTC"]["equity"] == "2000.000000"
    assert found["isolated"]["BTC"]["maintenance"] == "1262.500000"
    assert found["cross"]["equity"] == "5000.000000"


def test_largest_order_takes_the_leverage_that_is_asked_about() -> None:
    """10,000 at 10x and a fee of 0.045 %: 10000 / (100000 * (0.1 + 0.00045))."""
    question = {"question": "largest_order", "instrument": "BTC", "side": "buy", "price": "100000"}
    account: dict[str, Any] = {
        "positions": [],
        "balances": {"USDC": "10000"},
        "prices": {"BTC": {"mark": "100000"}},
    }
    assert asked(question | {"leverage": 10}, **account)["answer"]["size"] == "0.99552"
    assert asked(question | {"leverage": 41}, **account)["error"]["code"] == "leverage_above_tier"


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


@pytest.mark.parametrize(
    ("custody", "amount", "said"),
    [
        (None, "5000.000000", "of the positions' value stays"),
        (
            Custody(900_000_000_000, 100_000_000_000),
            "4500.000000",
            "the account's share of what the venue holds",
        ),
        (Custody(900, 100, is_shared=False), "0.000900", "at most all of what the venue holds"),
    ],
)
def test_withdrawable_says_what_a_debt_that_nobody_paid_leaves(
    custody: Custody | None, amount: str, said: str
) -> None:
    oracle = Oracle.read(BASE | {"positions": [], "ask": [{"question": "withdrawable"}]})
    oracle.situation.custody = custody
    (found,) = oracle.answers()["answers"]
    assert found["answer"]["amount"] == amount
    assert found["explain"][-1]["rule"].endswith(said)


@pytest.mark.parametrize(("held", "named"), [(BASE["positions"], "BTC"), ([], "none")])
def test_question_about_what_is_not_held_says_what_is(held: list[dict[str, Any]], named: str) -> None:
    told = asked({"question": "margin", "instrument": "ETH"}, positions=held)["error"]
    assert told["allowed"] == f"is one with a position, of which there is {named}"


HELD = BASE["positions"][0]
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"venue": "mtgox"}, "unknown_venue", "venue"),
    ({"as_of": "2014-02-07"}, "no_rule_then", "as_of"),
    ({"as_of": "yesterday"}, "wrong_case", "as_of"),
    ({"balances": {"DOGE": "1"}}, "unknown_asset", "balances.DOGE"),
    ({"balances": {"USDC": "0.0000001"}}, "off_the_grid", "balances.USDC"),
    ({"balances": {"USDC": "NaN"}}, "not_a_number", "balances.USDC"),
    ({"prices": {}}, "missing_price", "prices.BTC"),
    ({"prices": {"BTC": {"mark": "0"}}}, "out_of_bounds", "prices.BTC.mark"),
    ({"prices": {"BTC": {"mark": "118000", "index_age_s": "61"}}}, "stale_index", "prices.BTC.index_age_s"),
    ({"prices": {"BTX": {"mark": "1"}}}, "unknown_instrument", "prices.BTX"),
    ({"positions": [HELD | {"size": "0"}]}, "zero_position", "positions.0.size"),
    ({"positions": [HELD | {"leverage": 41}]}, "leverage_above_tier", "positions.0.leverage"),
    (
        {"positions": [HELD | {"instrument": "X"}]},
        "unknown_instrument",
        "positions.0.instrument",
    ),
    ({"positions": [HELD | {"sise": "1"}]}, "wrong_case", "positions.0"),
    ({"rules": {"fees": {"taker_ppb": -1}}}, "wrong_rule", "rules.fees.taker_ppb"),
    ({"rules": {"fees": 3}}, "wrong_rule", "rules.fees"),
    ({"rules": {"waterfall": ["adl"]}}, "wrong_rule", "rules.waterfall"),
    (
        {"rules": {"liquidation": {"backstop_below_ppb": 0}}},
        "wrong_rule",
        "rules.liquidation.backstop_below_ppb",
    ),
    ({"rules": {"assets": []}}, "wrong_rule", "rules.assets"),
    ({"instruments": [{"symbol": "BTC", "tiers": []}]}, "wrong_rule", "instruments.BTC"),
    ({"assets": [{"symbol": "USDC", "decimals": 6}] * 2}, "wrong_case", "assets"),
    ({"rules": {"settle_asset": "USDX"}}, "unknown_asset", "assets"),
    ({"balances": {"USDC": "1e400000"}}, "out_of_bounds", "balances.USDC"),
    ({"balances": {"USDC": "1" * 90}}, "out_of_bounds", "balances.USDC"),
    ({"balances": {"USDC": "0." + "1" * 90}}, "off_the_grid", "balances.USDC"),
    ({"balances": {"USDC": "999999999999"}}, "out_of_bounds", "balances.USDC"),
    ({"positions": [HELD | {"size": "100000.00001"}]}, "out_of_bounds", "positions.0.size"),
    ({"positions": [HELD | {"size": "-1"}]}, "out_of_bounds", "positions.0.size"),
    ({"positions": [HELD, HELD]}, "second_position", "positions.1.instrument"),
    ({"prices": {"BTC": {"mark": "118000", "index_age_s": "-1"}}}, "out_of_bounds", "prices.BTC.index_age_s"),
    ({"as_of": "2025-13-01"}, "wrong_case", "as_of"),
    ({"instruments": [{"symbol": "BTC", "tick": "x"}]}, "wrong_case", "instruments.BTC.tick"),
    ({"instruments": [{"tick": "1"}]}, "wrong_case", "instruments.0.symbol"),
    ({"instruments": [{"symbol": "BTC", "tick": "0.3"}]}, "wrong_rule", "instruments.BTC.tick"),
    ({"ask": [{"question": "price"}]}, "wrong_case", "ask.0.question"),
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


@pytest.mark.parametrize(
    ("question", "code", "field"),
    [
        ({"question": "margin", "instrument": "ETH"}, "zero_position", "ask.0.instrument"),
        ({"question": "margin", "instrument": "X"}, "unknown_instrument", "ask.0.instrument"),
        (
            {"question": "largest_order", "instrument": "ETH", "side": "buy", "price": "1"},
            "missing_price",
            "prices.ETH",
        ),
        (
            {"question": "what_if", "path": [{"prices": {"BTC": "1"}}], "depth": {"ETH": 1}},
            "missing_price",
            "prices.ETH",
        ),
        (
            {"question": "what_if", "path": [{"prices": {"ETH": 0}}]},
            "out_of_bounds",
            "ask.0.path.0.prices.ETH",
        ),
        (
            {"question": "what_if", "path": [{"prices": {}, "after_s": -1}]},
            "out_of_bounds",
            "ask.0.path.0.after_s",
        ),
        (
            {"question": "what_if", "path": [{"prices": {}}, {"prices": {"BTC": "1"}, "after_s": "0.0"}]},
            "out_of_bounds",
            "ask.0.path.1.after_s",
        ),
        ({"question": "what_if", "path": [{"prices": {}}], "slippage": 2}, "out_of_bounds", "ask.0.slippage"),
        ({"question": "what_if", "path": [{"prices": {}}], "fund": "inf"}, "not_a_number", "ask.0.fund"),
    ],
)
def test_wrong_question_gets_a_typed_answer_of_its_own(
    question: dict[str, Any], code: str, field: str
) -> None:
    error = asked(question)["error"]
    assert (error["code"], error["field"]) == (code, field)


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


SPOT: dict[str, Any] = {
    "symbol": "BTC-USDC",
    "kind": "spot",
    "base": "BTC",
    "tick": "1",
    "lot": "0.001",
    "price_min": "1",
    "price_max": "1000000",
    "size_max": "1000",
    "open_interest_max": "1000",
}
COINS: dict[str, Any] = BASE | {
    "assets": [{"symbol": "USDC", "decimals": 6}, {"symbol": "BTC", "decimals": 8}],
    "rules": {"collateral": [{"asset": "BTC", "decimals": 8, "ratio_ppb": 900_000_000}]},
    "instruments": [SPOT],
    "balances": {"USDC": "1000", "BTC": "0.1"},
    "prices": {"BTC": {"mark": "118000"}, "BTC-USDC": {"mark": "118000"}},
    "ask": [{"question": "margin"}],
}


def test_street_offers_the_coins_of_a_spot_market_on_a_path() -> None:
    path = [{"prices": {"BTC": "117000", "BTC-USDC": "117000"}}]
    question = {"question": "what_if", "path": path, "depth": {"BTC": "1", "BTC-USDC": "1000"}}
    (found,) = answer(COINS | {"ask": [question]})["answers"]
    assert found["answer"]["points"][0]["positions"]["BTC"] == "0.80000"


def test_collateral_without_a_spot_market_is_an_error_of_the_case() -> None:
    with pytest.raises(UnanswerableError) as error:
        answer(COINS | {"instruments": [], "prices": BASE["prices"]})
    assert (error.value.code, error.value.field) == ("wrong_rule", "rules.collateral.BTC")


def test_collateral_that_is_held_needs_the_price_of_its_spot_market() -> None:
    with pytest.raises(UnanswerableError) as error:
        answer(COINS | {"prices": BASE["prices"]})
    assert (error.value.code, error.value.field) == ("missing_price", "prices.BTC-USDC")
    (found,) = answer(COINS | {"prices": BASE["prices"], "balances": {"USDC": "5000"}})["answers"]
    assert found["answer"]["equity"] == "3400.000000"


@pytest.mark.parametrize(
    ("price", "size"),
    [("118000", "0.84366"), ("117000", "0.84619"), ("99999", "0.84638")],
)
def test_largest_order_may_also_wait_at_a_price_better_than_the_mark(price: str, size: str) -> None:
    """Filled at the mark: 10000 / (118000 * (1/10 + 0.00045)).

    Resting there is no profit yet: 10000 / (11800 + 0.00015 * price), rounded down to the lot.
    """
    question = {"question": "largest_order", "instrument": "BTC", "side": "buy", "price": price}
    found = asked(question | {"leverage": 10}, balances={"USDC": "10000"}, positions=[])
    assert found["answer"]["size"] == size


def test_order_off_its_step_is_refused() -> None:
    question = {"question": "largest_order", "instrument": "BTC", "side": "buy", "price": "118000.5"}
    error = asked(question)["error"]
    assert (error["code"], error["field"]) == ("off_the_grid", "ask.0.price")
    assert error["allowed"] == "are multiples of 1.0 there"


@pytest.mark.parametrize(
    ("override", "code", "field"),
    [
        ({"symbol": "ETH", "tik": "1"}, "wrong_case", "instruments.ETH"),
        ({"symbol": "ETHH", "tick": "1"}, "wrong_case", "instruments.ETHH"),
        ({"symbol": "ETH", "tick": "0.3"}, "wrong_rule", "instruments.ETH.tick"),
    ],
)
def test_override_of_an_instrument_that_is_not_held_is_checked(
    override: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(UnanswerableError) as error:
        answer(BASE | {"instruments": [override]})
    assert error.value.code == code
    assert error.value.field.startswith(field)


def test_leverage_is_that_of_the_marginal_tier_of_the_entry_value() -> None:
    held = BASE["positions"][0] | {"size": "2000", "entry": "100000"}
    with pytest.raises(UnanswerableError) as error:
        answer(BASE | {"positions": [held | {"leverage": 40}]})
    assert (error.value.code, error.value.field) == ("leverage_above_tier", "positions.0.leverage")
    assert answer(BASE | {"positions": [held | {"leverage": 20}]})["answers"]


@pytest.mark.parametrize(
    ("changes", "field", "found", "allowed"),
    [
        ({"rules": {"fees": {"taker_ppb": "x"}}}, "rules.fees.taker_ppb", "'x'", "is int"),
        ({"rules": {"fees": {"taker_ppb": -1}}}, "rules.fees.taker_ppb", "-1", "is int >= 0"),
        (
            {"positions": [{**BASE["positions"][0], "leverage": -1}]},
            "positions.0.leverage",
            "-1",
            "is int >= 0",
        ),
        ({"prices": {"BTC": {"mark": "x"}}}, "prices.BTC.mark", "'x'", "is a decimal number"),
        (
            {"prices": {"BTC": {"mark": 1, "mork": 1}}},
            "prices.BTC",
            "unknown field mork",
            "is mark, or one of index, index_age_s",
        ),
        ({"balance": {}}, "case", "unknown field balance", "is balances, or one of venue, ask, as_of, "),
        ({"rules": {"fes": {}}}, "rules", "unknown field fes", "is fees, or one of name, valid_from, "),
        ({"rules": {"fees": {"taker": 1}}}, "rules.fees", "unknown field taker", "is taker_ppb, or one of "),
        (
            {"instruments": [{"symbol": "BTC", "tik": "1"}]},
            "instruments.BTC",
            "unknown field tik",
            "is tick, or one of symbol, kind, lot, ",
        ),
        (
            {"ask": [{"question": "margin", "instrumnt": "BTC"}]},
            "ask.0",
            "unknown field instrumnt",
            "is instrument, or one of question, position_side",
        ),
        ({"ask": [{"question": "margn"}]}, "ask.0.question", "'margn'", "is margin, or one of "),
        ({"ask": [{}]}, "ask.0", "no field question", "is a table with question"),
        (
            {"positions": [{**BASE["positions"][0], "side": "up"}]},
            "positions.0.side",
            "'up'",
            "are long, short",
        ),
        ({"as_of": "yesterday"}, "as_of", "'yesterday'", "is a day like 2025-10-01"),
        ({"rules": {"valid_from": "x"}}, "rules.valid_from", "'x'", "is a day like 2025-10-01"),
        (
            {"rules": {"valid_from": "2025-02-30"}},
            "rules.valid_from",
            "'2025-02-30'",
            "is a day like 2025-10-01",
        ),
        (
            {"instruments": [{"symbol": "BTC", "valid_from": "2025-02-30"}]},
            "instruments.BTC.valid_from",
            "'2025-02-30'",
            "is a day like 2025-10-01",
        ),
        (
            {"assets": [{"symbol": "US D", "decimals": 6}]},
            "assets.0.symbol",
            "'US D'",
            "is a name of letters, digits, '.', '_' and '-'",
        ),
        ({"as_of": "2025-02-30"}, "as_of", "2025-02-30", "is a day like 2025-10-01"),
        (
            {"instruments": [{"symbol": "BTC", "lot": "1"}, {"symbol": "BTC", "lot": "0.1"}]},
            "instruments.1.symbol",
            "BTC twice",
            "is one table of each",
        ),
    ],
)
def test_wrong_value_is_named_with_what_was_found_and_is_allowed(
    changes: dict[str, Any], field: str, found: str, allowed: str
) -> None:
    with pytest.raises(UnanswerableError) as error:
        answer(BASE | changes)
    told = error.value
    assert (told.field, told.found) == (field, found)
    assert told.allowed == allowed if not allowed.endswith(" ") else told.allowed.startswith(allowed)


@pytest.mark.parametrize("day", ["2026-02-30", "2025-02-29", "2026-04-31"])
def test_day_that_no_calendar_has_is_refused(day: str) -> None:
    with pytest.raises(UnanswerableError) as error:
        answer(BASE | {"as_of": day})
    assert (error.value.code, error.value.field) == ("wrong_case", "as_of")


@pytest.mark.parametrize("day", ["2028-02-29", "2026-12-31", "2026-04-30"])
def test_last_days_of_a_month_are_days(day: str) -> None:
    assert answer(BASE | {"as_of": day})["as_of"] == day


def test_day_before_the_rules_is_refused_with_the_first_day_of_all_tables() -> None:
    with pytest.raises(UnanswerableError) as error:
        answer(BASE | {"venue": "binance_usdm", "as_of": "2021-06-01"})
    assert str(error.value) == "as_of: found 2021-06-01, allowed are days from 2025-10-01"


def test_maintenance_above_initial_and_negative_isolated_margin_are_refused() -> None:
    tiers = [{"above": "0", "leverage_max": 20, "maintenance": "0.06"}]
    with pytest.raises(UnanswerableError, match="must not exceed its initial rate"):
        answer(BASE | {"instruments": [{"symbol": "BTC", "tiers": tiers}]})
    with pytest.raises(UnanswerableError) as error:
        answer(BASE | {"positions": [BASE["positions"][0] | {"isolated_margin": "-1"}]})
    assert (error.value.code, error.value.field) == ("out_of_bounds", "positions.0.isolated_margin")


def test_fees_that_no_rulebook_names_are_said_to_be_left_out() -> None:
    case = {
        "venue": "binance_usdm",
        "balances": {"USDT": "10000"},
        "prices": {"BTCUSDT": {"mark": "100000"}},
        "ask": [
            {"question": "largest_order", "instrument": "BTCUSDT", "side": "buy", "price": "100000"},
            {"question": "what_if", "path": [{"prices": {"BTCUSDT": "99000"}}]},
        ],
    }
    unknown = answer(case)["answers"]
    named = answer(case | {"rules": {"fees": {"taker_ppb": 500_000}}})["answers"]
    for n, key in enumerate(("opening_fees", "closing_fees")):
        assert unknown[n]["answer"]["includes"][key] is False
        assert named[n]["answer"]["includes"][key] is True
        assert "not known, 0 used" in [line["rule"] for line in unknown[n]["explain"]]
        assert "not known, 0 used" not in [line["rule"] for line in named[n]["explain"]]


def test_balance_that_counts_nothing_is_explained() -> None:
    for rules, rule in (
        (COINS["rules"], "as given"),
        ({}, "as given; counts nothing: no `collateral` names it"),
    ):
        (found,) = answer(COINS | {"rules": rules})["answers"]
        line = next(line for line in found["explain"] if line["what"] == "BTC balance")
        assert (line["value"], line["rule"]) == ("0.10000000", rule)


@pytest.mark.parametrize("venue", ["ccp", "retail_broker"])
def test_rulebook_without_assets_says_which_it_needs(venue: str) -> None:
    with pytest.raises(UnanswerableError) as error:
        answer({"venue": venue, "ask": []})
    assert str(error.value).startswith("assets: found nothing, allowed are those with ")


def test_explained_rate_is_the_one_that_is_charged() -> None:
    """dYdX: 0.6 of an initial 5 %. OKX: 1 % and the taker fee. Deribit: 1 % and 0.005 % for each BTC."""
    cases: list[tuple[str, str, dict[str, Any], str]] = [
        ("dydx_v4", "BTC-USD", {}, "0.03"),
        ("okx", "BTC-USDT-SWAP", {"fees": {"taker_ppb": 5_000_000}}, "0.015"),
    ]
    for venue, symbol, rules, rate in cases:
        held = {"instrument": symbol, "side": "long", "size": "1", "entry": "50000"}
        table = {"venue": venue, "as_of": "2025-10-10", "rules": rules, "positions": [held]}
        settle = "USDC" if venue == "dydx_v4" else "USDT"
        table |= {"balances": {settle: "20000"}, "prices": {symbol: {"mark": "50000"}}}
        lines = answer(table | {"ask": [{"question": "margin"}]})["answers"][0]["explain"]
        tier = next(line for line in lines if "tier" in line["what"])
        assert tier["value"].startswith(f"{rate} of the "), tier
        needed = next(line["value"] for line in lines if line["what"] == "maintenance")
        assert Decimal(needed) == Decimal(rate) * 50_000


@pytest.mark.parametrize(
    ("venue", "symbol", "asset", "why"),
    [
        ("dydx_v4", "BTC-USD", "USDC", "policy 'iteration' ranks nobody"),
        ("deribit", "BTC-PERPETUAL", "BTC", "nobody is deleveraged"),
    ],
)
def test_score_is_not_made_up_where_nobody_is_ranked(venue: str, symbol: str, asset: str, why: str) -> None:
    held = {"instrument": symbol, "side": "long", "size": "1", "entry": "50000"}
    table = {"venue": venue, "as_of": "2025-10-10", "balances": {asset: "10"}, "positions": [held]}
    table |= {"prices": {symbol: {"mark": "60000"}}, "ask": [{"question": "adl_score", "instrument": symbol}]}
    error = answer(table)["answers"][0]["error"]
    assert error["code"] == "not_ranked"
    assert why in error["allowed"]


def test_collateral_that_could_outgrow_the_arithmetic_is_refused() -> None:
    """2^58 atoms at a highest price of 1,000,000 are 288,230.37615171 coins."""
    assert answer(COINS | {"balances": {"BTC": "288230"}})["answers"]
    for coins in ("288231", "-288231"):
        with pytest.raises(UnanswerableError) as error:
            answer(COINS | {"balances": {"BTC": coins}})
        assert (error.value.code, error.value.field) == ("out_of_bounds", "balances.BTC")


@pytest.mark.parametrize(
    ("decimals", "atoms"), [(6, 50_000 * 10**6), (2, 50_000 * 10**2), (8, 50_000 * 10**8)]
)
def test_amounts_of_a_rulebook_are_as_many_of_the_asset_that_settles(decimals: int, atoms: int) -> None:
    """OKX closes a pool that has fallen by 50,000 USDT; amounts of the case are taken as they are."""
    book = Rulebook(
        "okx",
        rules={"settle_asset": "USD", "liquidation": {"notional_min_atoms": 7}},
        assets=(AssetSpec(symbol="USD", decimals=decimals),),
        symbols=(),
    )
    assert book.rules.insurance.drawdown is not None
    assert book.rules.insurance.drawdown.fall_min_atoms == atoms
    assert book.rules.liquidation.notional_min_atoms == 7


def equity_along(path: list[str], **options: Any) -> str:
    """0.8 BTC bought at 120,000 with 5,000 on Hyperliquid, marked at 118,000, where no vault stands by."""
    case = {
        "venue": "hyperliquid",
        "balances": {"USDC": "5000"},
        "positions": [{"instrument": "BTC", "side": "long", "size": "0.8", "entry": "120000"}],
        "prices": {"BTC": {"mark": "118000"}},
    }
    points = [{"prices": {"BTC": mark}} for mark in path]
    question = {"question": "what_if", "path": points, "backstop": False, **options}
    (found,) = answer(case | {"ask": [question]})["answers"]
    equity: str = found["answer"]["points"][-1]["cross"]["equity"]
    return equity


def test_big_jump_is_kinder_than_small_steps_where_the_previous_mark_is_the_price() -> None:
    """Bankrupt below 113,750: it closes at the mark before, 118,000 or 114,000."""
    assert Decimal(equity_along(["112000"])) == 5000 - (120_000 - 118_000) * Decimal("0.8")
    steps = ["116000", "115000", "114000", "113000", "112000"]
    assert Decimal(equity_along(steps)) == 5000 - (120_000 - 114_000) * Decimal("0.8")


def test_fund_of_a_path_is_ignored_where_no_stage_is_paid_by_it() -> None:
    assert equity_along(["112000"], fund="1000000") == equity_along(["112000"])


def member(**table: Any) -> dict[str, Any]:
    """A member of a cleared house: long 10 contracts of 1,000 at 50, 5,000 to maintain each."""
    crude = {
        "symbol": "CL",
        "kind": "future",
        "tick": "0.01",
        "lot": "1",
        "contract_size": "1000",
        "price_min": "-100",
        "price_max": "200",
        "size_max": "10000",
        "open_interest_max": "10000",
        "tiers": [{"above": 0, "leverage_max": 1000}],
        "margin_floor": "5000",
        "initial_per_lot": "5500",
    }
    return {
        "venue": "ccp",
        "assets": [{"symbol": "USD", "decimals": 2}],
        "instruments": [crude],
        "balances": {"USD": "60000"},
        "positions": [{"instrument": "CL", "side": "long", "size": "10", "entry": "50"}],
        "prices": {"CL": {"mark": "50"}},
    } | table


def test_path_of_a_cleared_house_pays_calls_and_defaults() -> None:
    """A fall of 2 takes 20,000 of 60,000 and leaves 40,000 for 50,000: 15,000 bring it to 10 * 5,500."""
    day = {"prices": {"CL": "48"}, "after_s": "86400"}
    path = [{"prices": {"CL": "48"}}, day, {"prices": {"CL": "48"}, "after_s": "3600"}]
    found = answer(member(ask=[{"question": "what_if", "path": path}]))["answers"][0]
    events = [point["events"] for point in found["answer"]["points"]]
    assert events[0] == []
    assert events[1] == [
        {"event": "money", "by": "variation", "amount": "-20000.00"},
        {"event": "margin_called", "amount": "15000.00"},
    ]
    assert [event["event"] for event in events[2]] == ["liquidation_started", "default_declared"]
    assert found["answer"]["points"][1]["balances"] == {"USD": "40000.00"}


def test_requirement_over_a_grid_is_explained_as_one() -> None:
    """0.8 BTC at 118,000 lose 15 % of 94,400 at most; 20000 + 0.8 * (p - 120000) = 0.12 * p at 111,764.7."""
    grid = {"portfolio": {"moves_ppb": [-150_000_000, 150_000_000]}}
    question = {"question": "liquidation_price", "instrument": "BTC"}
    found = asked(question, balances={"USDC": "20000"}, rules=grid)
    assert Decimal(found["answer"]["tick"]) == Decimal("111764.7")
    lines = {line["what"]: line for line in found["explain"]}
    assert lines["BTC over the grid"]["value"] == "14160.000000"
    assert not any("tier" in what for what in lines)
