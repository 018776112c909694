"""Published prices of liquidation and bankruptcy, asked of the oracle over the venue's own margin."""

from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import pytest

from tests.golden.published import Contract, flat, places, ppb, second_of_two, vectors, within
from zerodebt.exchange.ask import answer
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.oracle import PricePoint, Situation

FINE = 12
SATOSHI = 8


def liquidation(case: Situation) -> PricePoint:
    """The price, which the engine's verdict confirms: there liquidatable, a tick before not."""
    point = case.liquidation_price(0)
    assert point is not None
    before = point.ticks + (1 if point.falls else -1)
    assert [case.is_liquidatable_at(0, ticks) for ticks in (before, point.ticks)] == [False, True]
    return point


def bankruptcy(case: Situation, *, closing_fee: bool = False) -> PricePoint:
    point = case.bankruptcy_price(0, closing_fee=closing_fee)
    assert point is not None
    return point


@vectors("binance_usdm_liquidation_price")
@pytest.mark.spec("LIQ-07")
def test_binance_liquidation_price(vector: Any) -> None:
    """The table is such that the tier at the liquidation price has the stated rate and amount."""
    given = vector["inputs"]
    assert given["mode"] == "isolated"
    decimals = FINE if Fraction(given["entry_price"]) < 100 else 6
    c = Contract(
        tick=2,
        lot=places(given["size"]),
        decimals=decimals,
        price_max=2 * ceil(Fraction(given["entry_price"])),
        size_max=given["size"],
        tiers=second_of_two(given["mmr"], given["maintenance_amount"], decimals),
    )
    point = liquidation(
        c.situation(given["size"], given["entry_price"], side=given["side"], margin=given["wallet_balance"])
    )
    assert within(c.price(point.exact_ticks), vector["expected"]["liquidation_price"], vector)


@vectors("okx_liquidation_price", without=("okx-coin-01",))
@pytest.mark.spec("LIQ-07")
def test_fee_of_the_closing_order_counts_in_the_requirement(vector: Any) -> None:
    given = vector["inputs"]
    c = Contract(
        tick=2,
        lot=0,
        decimals=FINE,
        price_max=100,
        tiers=flat(given["mmr"]),
        fees={"taker_ppb": ppb(given["taker_fee"])},
        liquidation={"requirement_fee": "taker"},
    )
    case = c.situation(given["size"], given["entry_price"], side=given["side"], margin=given["margin"])
    point = liquidation(case)
    assert within(c.price(point.exact_ticks), vector["expected"]["liquidation_price"], vector)


@vectors("okx_liquidation_price", without=("okx-gate-liq-01", "okx-gate-liq-02", "okx-gate-liq-04"))
@pytest.mark.spec("LIQ-07")
def test_coin_margined_liquidation_price(vector: Any) -> None:
    given = vector["inputs"]
    c = Contract(tick=0, lot=0, decimals=SATOSHI, face=given["face"], tiers=flat(given["mmr"]))
    point = liquidation(c.situation(given["contracts"], given["entry"], margin=given["margin_coin"]))
    assert within(c.price(point.exact_ticks), vector["expected"]["liquidation_price"], vector)


@vectors("dydx_v4_liquidation_price")
@pytest.mark.spec("LIQ-07")
def test_dydx_liquidation_price(vector: Any) -> None:
    given = vector["inputs"]
    assert given["other_mmr"] == "0"
    c = Contract(tick=2, lot=0, decimals=6, tiers=flat(given["mmf"]))
    side = "short" if given["size_signed"].startswith("-") else "long"
    size = given["size_signed"].lstrip("-")
    point = liquidation(c.situation(size, given["oracle_price"], side=side, wallet=given["equity"]))
    assert within(c.price(point.exact_ticks), vector["expected"]["liquidation_price"], vector)


@vectors("hyperliquid_liquidation_price")
@pytest.mark.spec("LIQ-07")
def test_real_position_has_the_price_that_the_exchange_reported(vector: Any) -> None:
    given = vector["inputs"]
    c = Contract(
        tick=max(2, places(given["entry_price"])),
        lot=places(given["size"]),
        decimals=10,
        price_max=4 * ceil(Fraction(given["entry_price"])),
        size_max=given["size"],
        tiers=(Tier(0, int(given["asset_max_leverage"])),),
    )
    case = c.situation(
        given["size"], given["entry_price"], side=given["side"], margin=given["isolated_margin_usd"]
    )
    point = liquidation(case)
    assert within(c.price(point.exact_ticks), vector["expected"]["liquidation_price"], vector)


@vectors("bybit_bankruptcy_price", without=("by-bk-03", "by-bk-05"))
def test_bankruptcy_price_with_the_closing_fee(vector: Any) -> None:
    given = vector["inputs"]
    c = Contract(
        tick=2,
        lot=0,
        decimals=SATOSHI,
        face="1",
        size_max="10000",
        tiers=flat("0.005"),
        fees={"taker_ppb": ppb(given["taker_fee"])},
    )
    case = c.situation(given["qty_usd"], given["entry"], wallet=given["balance_btc"])
    point = bankruptcy(case, closing_fee=True)
    assert within(c.price(point.exact_ticks), vector["expected"]["bankruptcy_price"], vector)


@vectors("bybit_bankruptcy_price", without=("by-bk-01", "by-bk-05"))
@pytest.mark.spec("LIQ-08")
def test_bankruptcy_price_of_an_isolated_position(vector: Any) -> None:
    """Its margin is the initial requirement at the chosen leverage, as the venue itself says it."""
    given = vector["inputs"]
    leverage = int(given["leverage"])
    c = Contract(tick=2, lot=0, tiers=(Tier(0, 100, ppb("0.005")),))
    cross = c.situation("1", given["entry"], wallet=given["entry"], leverage=leverage)
    margin = str(c.money(cross.standing().initial_atoms))
    point = bankruptcy(c.situation("1", given["entry"], side=given["side"], margin=margin, leverage=leverage))
    assert within(c.price(point.exact_ticks), vector["expected"]["bankruptcy_price"], vector)


@vectors("bybit_bankruptcy_price", without=("by-bk-01", "by-bk-03"))
@pytest.mark.spec("LIQ-08")
def test_bankruptcy_price_of_a_cross_position(vector: Any) -> None:
    """What is set aside for the position and what is free in the wallet answer together."""
    given = vector["inputs"]
    c = Contract(tick=2, lot=0, tiers=flat("0.005"))
    wallet = str(Fraction(given["position_margin"]) + Fraction(given["wallet"]))
    point = bankruptcy(c.situation(given["size"], given["entry"], wallet=wallet))
    assert within(c.price(point.exact_ticks), vector["expected"]["bankruptcy_price"], vector)


def asked(venue: str, symbol: str, settle: str, given: Any, size: str, **account: Any) -> dict[str, Any]:
    """The answers of a shipped rulebook about one position at its entry price, by question."""
    position = {"instrument": symbol, "side": given.get("side", "long"), "size": size}
    position |= {"entry": given["entry"], "leverage": int(given["leverage"])}
    if "margin" in account:
        position["isolated_margin"] = account["margin"]
    questions = ("margin", "liquidation_price", "bankruptcy_price")
    table = {
        "venue": venue,
        "rules": {"settle_asset": settle},
        "balances": {settle: account.get("wallet", "1000000")},
        "positions": [position],
        "prices": {symbol: {"mark": given["entry"]}},
        "ask": [*({"question": q, "instrument": symbol} for q in questions), {"question": "withdrawable"}],
    }
    return {found["question"]: found["answer"] for found in answer(table)["answers"]}


@vectors("bybit_liquidation_price")
@pytest.mark.spec("LIQ-07")
def test_shipped_bybit_instrument_has_its_published_liquidation_price(vector: Any) -> None:
    """Margin is the initial requirement that the venue itself states for the chosen leverage."""
    given, expected = vector["inputs"], vector["expected"]
    inverse = "qty_usd" in given
    case = ("bybit_uta", "BTCUSD", "BTC") if inverse else ("bybit_uta", "BTCUSDT", "USDT")
    size = given["qty_usd" if inverse else "size"]
    margin = asked(*case, given, size)["margin"]["initial"]
    assert Decimal(margin) == Decimal(expected["initial_margin"])
    answers = asked(*case, given, size, margin=margin)
    assert Decimal(answers["margin"]["maintenance"]) == Decimal(expected["maintenance_margin"])
    price = Fraction(answers["liquidation_price"]["price"])
    assert within(price, expected["liquidation_price"], vector)


@vectors("bitmex_liquidation_price")
@pytest.mark.spec("LIQ-07", "LIQ-08")
def test_shipped_bitmex_instrument_has_its_published_prices(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    answers = asked("bitmex", "ETHUSDT", "USDT", given, given["size"], wallet=given["wallet"])
    found = {
        "initial_margin": answers["margin"]["initial"],
        "maintenance_margin": answers["margin"]["maintenance"],
        "bankruptcy_price": answers["bankruptcy_price"]["price"],
        "liquidation_price": answers["liquidation_price"]["price"],
        "available": answers["withdrawable"]["amount"],
    }
    assert {k: Decimal(v) for k, v in found.items()} == {k: Decimal(v) for k, v in expected.items()}
