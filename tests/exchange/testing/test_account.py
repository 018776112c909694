"""Accounts to ask about, in the units of a bot."""

from decimal import Decimal
from typing import Any

import pytest

from zerodebt.exchange.cases import UnanswerableError
from zerodebt.exchange.testing.account import Account, account
from zerodebt.exchange.testing.figures import Answer, Figure


def long_btc(**changes: Any) -> Account:
    fields: dict[str, Any] = {
        "as_of": "2025-10-10",
        "balances": {"USDC": 5000},
        "positions": [{"instrument": "BTC", "side": "long", "size": 0.8, "entry": "120000"}],
        "prices": {"BTC": 118000},
    }
    return account("hyperliquid", **(fields | changes))


def test_answers_are_decimals_that_compare_with_numbers_and_text() -> None:
    price = long_btc().liquidation_price("BTC")
    assert price.tick == "115189.8" == price["tick"]
    assert price.tick == Decimal("115189.8")
    assert price.price < "115190"
    assert price.price > 115189
    assert price.reached_by == "falling"
    assert price.includes.funding is False


def test_every_question_has_its_method() -> None:
    """Equity 5000 - 0.8 * 2000 = 3400, maintenance 94400 / 80, free 3400 - 94400/40, value reserve 9440."""
    asked = long_btc()
    assert asked.margin().equity == 3400
    assert asked.margin("BTC").maintenance == 1180
    assert asked.bankruptcy_price("BTC").tick == 113750  # 120000 - 5000/0.8
    assert asked.withdrawable() == 0
    assert asked.largest_order("BTC", "buy", 118000) == "0.34630"  # 1040 / (118000 * (1/40 + 0.00045))
    assert asked.adl_score("BTC").rank is None
    left = asked.what_if([{"BTC": 115000}, {"BTC": 114000}]).left
    assert left.positions.BTC == 0


def test_questions_leave_the_account_as_it_was() -> None:
    asked = long_btc()
    before = asked.table()
    asked.what_if([{"BTC": 100000}])
    asked.largest_order("BTC", "sell", 118000, leverage=3)
    asked.liquidation_price("BTC")
    assert asked.table() == before


def test_explanation_names_rules_and_sources() -> None:
    lines = long_btc().margin().explain
    assert any("Hyperliquid docs: Margin tiers" in line for line in lines)


def test_wrong_question_names_the_field() -> None:
    with pytest.raises(UnanswerableError) as error:
        long_btc(prices={"BTC": 118000, "ETH": 4000}).liquidation_price("ETH")
    assert (error.value.code, error.value.field) == ("zero_position", "ask.instrument")
    with pytest.raises(UnanswerableError) as error:
        long_btc().largest_order("ETH", "buy", 4000)
    assert (error.value.code, error.value.field) == ("missing_price", "prices.ETH")
    with pytest.raises(UnanswerableError) as error:
        long_btc().largest_order("BTC", "by", 1)  # type: ignore[arg-type]
    assert (error.value.code, error.value.field) == ("wrong_case", "ask.side")


def test_figure_is_a_decimal_that_reads_text() -> None:
    assert Figure(0.1) == "0.1" == Figure("0.10")
    assert Figure("1e-7") <= "0.0000001" <= Figure("1e-7")
    assert str(Figure("1e-7")) == "0.0000001"
    assert Figure(1) != "one"
    assert {Figure(1): 2}[Decimal(1)] == 2  # type: ignore[index]


def test_answer_without_a_field_says_which_there_are() -> None:
    with pytest.raises(AttributeError, match="no 'prise', it has price"):
        _ = Answer({"price": "1"}).prise


def test_figures_may_be_asked_with_again() -> None:
    asked = long_btc()
    tick = asked.liquidation_price("BTC").tick
    size = asked.largest_order("BTC", "buy", Figure(118000))
    position = {"instrument": "BTC", "side": "long", "size": size, "entry": Figure(118000)}
    again = long_btc(balances={"USDC": Figure(5000)}, positions=[position], prices={"BTC": tick})
    assert again.margin().maintenance > 0
    left = asked.what_if([{"BTC": tick}], depth={"BTC": size}, fund=Figure(1)).left
    assert Figure("0.8") > left.positions.BTC
    assert long_btc(prices={"BTC": {"mark": tick}}).margin().is_liquidatable
