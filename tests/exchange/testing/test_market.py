"""A running venue in the units of a bot."""

from decimal import Decimal
from typing import Any

import pytest

from zerodebt.exchange.cases import UnanswerableError
from zerodebt.exchange.commands import Withdraw
from zerodebt.exchange.events import LiquidationStarted, Rejected
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.testing.market import CommandRefusedError, RunningVenue
from zerodebt.exchange.testing.refusals import detail_in_units


@pytest.fixture
def market() -> RunningVenue:
    running = RunningVenue("hyperliquid", "2025-10-10", prices={"BTC": 100000})
    running.quote("BTC", 5)
    return running


def test_market_order_trades_with_the_street(market: RunningVenue) -> None:
    """Bought a step above 100,000; the fee is 0.045 %."""
    bot = market.open({"USDC": 5000})
    done = bot.order("BTC", "buy", "0.5")
    assert (done.filled, done.average_price, done.resting) == ("0.5", 100001, 0)
    assert done.fee == Decimal("0.5") * 100001 * Decimal("0.00045")
    assert bot.position("BTC") == "0.5"
    assert bot.equity() == 5000 - done.fee - Decimal("0.5")
    assert bot.balance("USDC") == 5000 - done.fee


def test_oracle_of_an_account_agrees_with_what_the_venue_then_does(market: RunningVenue) -> None:
    bot = market.open({"USDC": 5000})
    bot.order("BTC", "buy", "0.5")
    tick = bot.oracle().liquidation_price("BTC").tick
    market.move({"BTC": tick + Decimal("0.1")})
    assert not any(isinstance(event, LiquidationStarted) for event in market.events)
    market.move({"BTC": tick})
    assert any(isinstance(event, LiquidationStarted) for event in market.events)


def test_no_question_changes_the_venue(market: RunningVenue) -> None:
    bot = market.open({"USDC": 5000})
    bot.order("BTC", "buy", "0.5")
    before = market._venue.state_hash()
    asked = bot.oracle()
    asked.what_if([{"BTC": 80000}], depth={"BTC": 1}, fund=100)
    asked.largest_order("BTC", "sell", 100000, leverage=2)
    asked.liquidation_price("BTC")
    asked.adl_score("BTC")
    assert market._venue.state_hash() == before


def test_path_fills_an_order_that_rests_on_the_venue(market: RunningVenue) -> None:
    """The street offers 5 at 98,000 and a step above; the bid of 0.1 at 99,000 is the better price."""
    bot = market.open({"USDC": 5000})
    bot.order("BTC", "buy", "0.1", 99000, post_only=True)
    (point,) = bot.oracle().what_if([{"BTC": 98000}], depth={"BTC": 5}).points
    fill, money = point["events"]
    assert (fill["event"], fill["size"], fill["price"], fill["left"]) == ("fill", "0.1", 99000, "0.1")
    assert money["amount"] == -fill["fee"] == -99000 * Decimal("0.1") * Decimal("0.00015")
    assert point["positions"]["BTC"] == "0.1"


def test_resting_order_is_filled_when_the_street_comes_to_it(market: RunningVenue) -> None:
    bot = market.open({"USDC": 5000})
    rests = bot.order("BTC", "buy", "0.1", 99000, post_only=True)
    assert [(o.order_id, o.side, o.price, o.size) for o in bot.orders("BTC")] == [
        (rests.order_id, "buy", 99000, "0.1")
    ]
    market.move({"BTC": 98000})
    assert bot.position("BTC") == "0.1"
    assert bot.orders("BTC") == []


def test_stop_fires_on_the_mark(market: RunningVenue) -> None:
    bot = market.open({"USDC": 5000})
    bot.order("BTC", "buy", "0.5")
    bot.stop("BTC", "sell", "0.5", 97000)
    market.move({"BTC": 97001})
    assert bot.position("BTC") == "0.5"
    market.move({"BTC": 96999})
    assert bot.position("BTC") == 0


def test_isolated_margin_and_cancelling(market: RunningVenue) -> None:
    bot = market.open({"USDC": 5000})
    bot.set_leverage("BTC", 10, "isolated")
    bot.order("BTC", "sell", "0.1")
    before = bot.balance("USDC")
    bot.add_margin("BTC", 100)
    assert before - bot.balance("USDC") == 100
    first = bot.order("BTC", "sell", "0.01", 101000)
    bot.order("BTC", "sell", "0.01", 102000)
    bot.cancel(first.order_id)
    bot.cancel_all("BTC")
    assert bot.orders("BTC") == []
    bot.withdraw("USDC", 1000)
    assert bot.balance("USDC") == before - 100 - 1000


def test_refusal_names_the_venues_reason(market: RunningVenue) -> None:
    bot = market.open({"USDC": 100})
    with pytest.raises(CommandRefusedError, match="margin is too small") as refused:
        bot.order("BTC", "buy", 1)
    assert refused.value.reason is RejectReason.MARGIN_TOO_SMALL


@pytest.mark.parametrize(
    ("order", "said"),
    [
        # a fortieth of 100,000, the spread of 1 and a fee of 0.045 % of 100,001, less the 100 at hand
        ((1, None), f"margin is too small: {2500 + 1 + Decimal('45.000450') - 100} USDC are missing"),
        ((0, 99000), "size is not positive: 0.00000"),
        (
            ("0.00001", 100000),
            "order value is below the smallest: 1.000000 USDC, allowed are 10.000000 and more",
        ),
        ((1, "100000.5"), "price is off the order step: 100000.5 is not a multiple of 1.0"),
    ],
)
def test_refusal_counts_in_the_units_of_the_venue(
    market: RunningVenue, order: tuple[Any, Any], said: str
) -> None:
    bot = market.open({"USDC": 100})
    with pytest.raises(CommandRefusedError) as refused:
        bot.order("BTC", "buy", *order)
    assert str(refused.value).startswith(said)


def test_refused_amount_is_of_the_asset_that_is_moved(market: RunningVenue) -> None:
    bot = market.open({"USDC": "100.5"})
    with pytest.raises(CommandRefusedError, match=r": 200\.000000 USDC asked, 100\.500000 may leave$"):
        bot.withdraw("USDC", 200)


def test_refused_post_only_order_is_told_the_best_price(market: RunningVenue) -> None:
    bot = market.open({"USDC": 5000})
    with pytest.raises(CommandRefusedError, match=r"would take: best is 100001\.0$"):
        bot.order("BTC", "buy", "0.01", 100002, post_only=True)


def test_account_of_a_refusal_is_no_amount(market: RunningVenue) -> None:
    refused = Rejected(12, RejectReason.BALANCE_TOO_SMALL, "account 12 has 1500000 atoms", "withdraw")
    found = detail_in_units(market.book, Withdraw(12, 0, 1), refused)
    assert found == "account 12 has 1.500000 USDC"


def test_empty_quotes_leave_an_empty_book(market: RunningVenue) -> None:
    assert [tuple(map(int, level)) for level in market.depth("BTC", "buy")] == [(99999, 5)]
    market.quote("BTC", 0)
    market.quote("BTC", 0)
    assert market.depth("BTC", "buy") == market.depth("BTC", "sell") == []
    assert market.mark("BTC") == 100000


def test_time_passes_and_funding_is_paid_on_the_hour(market: RunningVenue) -> None:
    """The street quotes around the index: no premium, so that longs pay an eighth of 0.01 %."""
    bot = market.open({"USDC": 5000})
    bot.order("BTC", "buy", "0.5")
    before = bot.balance("USDC")
    for _ in range(60):
        market.tick(60)
        market.move({})
    assert before - bot.balance("USDC") == Decimal("0.5") * 100000 * Decimal("0.0000125")


def test_fund_and_table() -> None:
    running = RunningVenue(
        "hyperliquid",
        prices={"BTC": 100000},
        rules={"waterfall": ["book", "insurance", "adl"]},
        fund=1000,
    )
    assert running.table() == "no account"
    running.open({"USDC": 1}, name="bot")
    assert running.table().startswith("bot at hyperliquid: wallet 1.000000 USDC")


def test_side_that_is_none_is_named(market: RunningVenue) -> None:
    bot = market.open({"USDC": 5000})
    with pytest.raises(UnanswerableError, match=r"^side: found 'long', allowed are buy, sell$"):
        bot.order("BTC", "long", 1)  # type: ignore[arg-type]


def test_collateral_of_a_running_venue_needs_its_spot_market() -> None:
    rules = {"collateral": [{"asset": "BTC", "decimals": 8}]}
    with pytest.raises(UnanswerableError, match="0 spot markets trade it"):
        RunningVenue("okx", prices={"BTC-USDT-SWAP": 100000}, rules=rules)
