"""Both legs of hedge mode in the tables of a run and in what `explain` says; one tick is 1 USD."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.exchange.test_hedge_mode import both, enter, hedged_desk, hedging
from tests.scenarios.handmade import write_events
from tests.venues import USD, Desk
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder, SetLeverage
from zerodebt.scenarios.columns import read_table
from zerodebt.scenarios.explain import explain
from zerodebt.scenarios.tables import write_tables

HEDGER = 16


def written(desk: Desk, run: Path) -> Path:
    write_events(run, desk.batches)
    write_tables(run)
    return run


def row(run: Path, table: str, **where: Any) -> dict[str, Any]:
    found = read_table(run, table).filter(*(pl.col(name) == value for name, value in where.items()))
    return found.row(0, named=True)


def test_profit_is_realised_by_leg(tmp_path: Path) -> None:
    """10 long and 4 short at 100; at 110 the short leg is closed."""
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    desk.index(110)
    enter(desk, hedger, other, "short", BUY, 4, 110)
    account = row(written(desk, tmp_path), "accounts", account=HEDGER)
    assert account["realised_atoms"] == -4 * 10 * USD, "a net position of 6 would have realised nothing"
    assert account["unrealised_atoms"] == 10 * 10 * USD
    assert account["final_equity_atoms"] == (1000 + 100 - 40) * USD
    trades = read_table(tmp_path, "trades").select("taker_side", "size_lots", "taker_leg", "maker_leg")
    assert trades.rows() == [(1, 10, "long", None), (-1, 4, "short", None), (1, 4, "short", None)]
    assert row(tmp_path, "instruments", instrument=0)["last_open_interest_lots"] == 10


@pytest.fixture
def isolated() -> Desk:
    """Each leg has 100 USD of its own; at 109 the short one is bought back."""
    desk, hedger, other = hedged_desk()
    desk.ok(SetLeverage(hedger, 0, 10, "isolated"))
    both(desk, hedger, other, 10, 10)
    desk.order(other, SELL, 10, 109)
    desk.index(109)
    return desk


def test_a_liquidation_is_of_the_leg_that_is_isolated(isolated: Desk, tmp_path: Path) -> None:
    liquidated = row(written(isolated, tmp_path), "liquidations", account=HEDGER)
    assert liquidated["compartment"] == "BTC:short"
    # 100 - 10 * 9, below 1090 / 40
    assert (liquidated["equity_atoms"], liquidated["maintenance_atoms"]) == (10 * USD, 27_250_000)
    assert (liquidated["gross_notional_atoms"], liquidated["net_notional_atoms"]) == (1090 * USD, -1090 * USD)
    assert liquidated["book_notional_atoms"] == 1090 * USD
    ledger = read_table(tmp_path, "ledger")
    assert set(ledger["instrument"].drop_nulls()) == {0}


def test_explain_names_the_leg(isolated: Desk) -> None:
    told = explain(isolated.batches, HEDGER)
    lines = [(line.what, line.text) for line in told.lines]
    assert ("position mode", "hedge") in lines
    assert any(what == "below maintenance" and "isolated:BTC:short" in text for what, text in lines)
    positions = [text for what, text in lines if what == "position"]
    assert [text.split(",")[0] for text in positions] == ["-10 BTC short"]
    assert "unrealised -90.000000" in positions[0]
    (fill,) = [text for what, text in lines if what == "fill"]
    assert fill.startswith("10 BTC short at 109")
    assert "result -90.000000" in fill
    assert fill.endswith("left 0")


def test_a_leg_that_is_deleveraged_is_shown_apart(tmp_path: Path) -> None:
    """The short leg of 10 has won what another has lost; the long leg of 5 stays."""
    desk, hedger, other = hedged_desk(hedging("book", "adl"))
    (loser,) = desk.open(100)
    desk.order(loser, BUY, 10, 100)
    desk.ok(PlaceOrder(hedger, 0, SELL, 10, 100, leg="short"))
    enter(desk, hedger, other, "long", BUY, 5)
    desk.index(80)
    won = row(written(desk, tmp_path), "adl", winner=HEDGER)
    assert (won["lots"], won["full_closure"]) == (-10, True)
    (line,) = [line.text for line in explain(desk.batches, HEDGER).lines if line.what == "deleveraged"]
    assert line.startswith("-10 BTC short closed at 90")
    assert line.endswith("left 0")
