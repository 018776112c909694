"""Routes of those who leave, on orders and prices made by hand, and a small world with two books a coin."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from zerodebt.scenarios import populations
from zerodebt.scenarios.models import exit_routes
from zerodebt.scenarios.models.exit_routes import Exit
from zerodebt.scenarios.models.leverage_cycle import SECOND, News, run_world, with_second_books
from zerodebt.scenarios.populations import Run


def test_shares_are_of_what_is_sold_from_the_news_on() -> None:
    orders = [
        Exit(23.9, 100.0, is_first=True, was_first=True, is_deepest=True, is_bare=False),
        Exit(24.0, 30.0, is_first=True, was_first=False, is_deepest=False, is_bare=True),
        Exit(25.0, 10.0, is_first=False, was_first=True, is_deepest=False, is_bare=False),
        Exit(26.0, 60.0, is_first=False, was_first=False, is_deepest=True, is_bare=False),
    ]
    found = exit_routes.of_exits(orders)
    assert found["exit_usd"] == 30 + 10 + 60
    assert found["exit_deepest_share"] == pytest.approx(60 / 100)
    assert found["exit_first_share"] == pytest.approx(30 / 100)
    assert found["first_deepest_share"] == pytest.approx(10 / 100)
    assert found["exit_bare_share"] == pytest.approx(30 / 100)
    assert exit_routes.of_exits(orders[:1]) == {"exit_usd": 0.0}


def test_books_are_apart_by_the_log_of_their_prices_and_crossed_by_bid_over_ask() -> None:
    """Second books 0, 40, 100 and 300 bp above the first, the last two after the news. Spreads are 10 ticks
    around 100,000; nobody offers the first SMALL, so that 300 bp cannot be taken there."""
    rows: list[tuple[str, float, float, int | None, int | None]] = []
    hours_and_bases = ((0.0, 0), (1.0, 40), (25.0, 100), (26.0, 300))
    for coin, (hour, basis) in zip(("BTC", "ETH", "ALT", "SMALL"), hours_and_bases, strict=True):
        higher = 100_000 * float(np.exp(basis / 10_000))
        rows.append((coin, hour, 100_000.0, 99_990, None if coin == "SMALL" else 100_010))
        rows.append((f"{coin}{SECOND}", hour, higher, round(higher) - 10, round(higher) + 10))
    columns = ["symbol", "hour", "index", "bid_ticks", "ask_ticks"]
    nothing = pl.DataFrame()
    marks = pl.DataFrame(rows, schema=columns, orient="row")
    found = exit_routes.of_books(Run(Path(), (), nothing, marks, nothing, nothing, nothing, nothing, ()))
    assert found["within_50bp_share"] == 2 / 4
    assert found["within_50bp_calm_share"] == 2 / 2
    assert found["apart_median_bp"] == pytest.approx((40 + 100) / 2)
    assert found["crossed_20bp_share"] == 2 / 4, "ETH and ALT"


def test_second_books_have_their_own_smaller_makers() -> None:
    made = exit_routes._second(0.25)
    assert made["populations.second_spot_makers"]["depth_usd"] == 0.25 * 1_200_000
    assert made["populations.second_spot_makers"]["books"] == "second_spot"
    assert made["populations.second_spot_noise"]["orders_per_s"] == 0.25 * 0.005
    assert [i["symbol"] for i in with_second_books()[-4:]] == ["BTC-2", "ETH-2", "ALT-2", "SMALL-2"]


def test_exits_of_a_world_are_what_its_tables_say_was_sold(tmp_path: Path) -> None:
    """Three hours of a fall by half. What the replay saw sold is what the table of trades says."""
    changes = exit_routes._second(0.4) | {
        "populations.retail.count": 60,
        "populations.between": {"kind": "book_arbitrageurs"},
    }
    news = News(float(np.log(0.5)), 0.0, 1.0)
    run = run_world(0, 3.0, 600.0, news, changes, tmp_path, second_books=True)
    orders = list(exit_routes.exits(run))
    sold = run.trades.filter(
        pl.col("taker_population").is_in(["institutions", "retail"])
        & (pl.col("taker_side") == -1)
        & pl.col("symbol").is_in(run.spots)
    )
    assert sum(order.usd for order in orders) == pytest.approx(float(sold["notional_usd"].sum()))
    of_first = sold.filter(~pl.col("symbol").str.ends_with(SECOND))
    in_first = sum(order.usd for order in orders if order.is_first)
    assert in_first == pytest.approx(float(of_first["notional_usd"].sum()))
    assert 0 < in_first < sum(order.usd for order in orders)
    assert populations.counter(run, "between", "pairs") > 0
