import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.scenarios.handmade import (
    DEPOSITS,
    MAKER,
    POPULATIONS,
    SHORT,
    START_NS,
    VAULT,
    A,
    B,
    batches,
    batches_that_give,
    write_events,
    write_handmade_run,
)
from zerodebt.exchange import events as ev
from zerodebt.exchange.commands import BUY
from zerodebt.exchange.events import FEES, Batch
from zerodebt.exchange.units import SECOND_NS
from zerodebt.scenarios.columns import TABLE_NAMES, opening, read_table, schema
from zerodebt.scenarios.quantities import DataError
from zerodebt.scenarios.tables import FLOW_SIGNS, write_tables


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_handmade_run(tmp_path_factory.mktemp("run"))


def account(run: Path, number: int) -> dict[str, Any]:
    return read_table(run, "accounts").filter(pl.col("account") == number).row(0, named=True)


def test_every_table_is_there_and_an_empty_one_has_its_columns(run: Path) -> None:
    for name in TABLE_NAMES:
        assert read_table(run, name).width > 5
    assert read_table(run, "funding").is_empty()
    assert set(schema("funding")) <= set(read_table(run, "funding").columns)


def test_equity_at_the_end_is_balance_plus_profit_at_the_mark(run: Path) -> None:
    assert account(run, A)["final_equity_atoms"] == 100_00 - 20_00 - 64_00 - 16_00
    assert account(run, B)["final_equity_atoms"] == 1_000_00 + 5 * (85_00 - 100_00)
    assert account(run, SHORT)["final_equity_atoms"] == 2_000_00 + 8 * (100_00 - 89_00) + 7 * (100_00 - 85_00)
    assert account(run, MAKER)["final_equity_atoms"] == 5_000_00 - 10 + 2 * (85_00 - 90_00)
    assert account(run, VAULT)["final_equity_atoms"] == 10_00 + 16_00 + 8 * (89_00 - 92_00)
    assert account(run, FEES)["final_equity_atoms"] == 10


def test_value_is_conserved_over_all_accounts(run: Path) -> None:
    assert read_table(run, "accounts")["final_equity_atoms"].sum() == sum(DEPOSITS.values())


def test_the_flows_of_every_account_add_up_to_its_equity(run: Path) -> None:
    accounts = read_table(run, "accounts")
    named = sum(
        (accounts[f"{flow}_atoms"] * sign for flow, sign in FLOW_SIGNS.items()), start=accounts["other_atoms"]
    )
    assert named.to_list() == accounts["final_equity_atoms"].to_list()
    assert set(accounts["other_atoms"]) == {0}


def test_flows_are_told_apart(run: Path) -> None:
    liquidated, winner, vault = account(run, A), account(run, SHORT), account(run, VAULT)
    assert liquidated["margin_confiscated_atoms"] == vault["margin_received_atoms"] == 16_00
    assert liquidated["trading_profit_atoms"] == 2 * (90_00 - 100_00) + 8 * (92_00 - 100_00)
    assert winner["adl_given_atoms"] == vault["adl_received_atoms"] == 8 * (89_00 - 85_00)
    assert winner["trading_profit_atoms"] == 15 * (100_00 - 85_00)
    assert account(run, MAKER)["fees_paid_atoms"] == 10
    assert account(run, FEES)["fees_paid_atoms"] == -10
    assert liquidated["entry_profit_atoms"] == 10 * (100_00 - 90_00)


def test_a_forced_fill_is_marked_and_its_cost_against_the_mark_is_given(run: Path) -> None:
    trade = read_table(run, "trades").row(0, named=True)
    assert (trade["forced"], trade["price"], trade["size_contracts"]) == (True, 90.0, 2.0)
    assert trade["notional_usd"] == 2 * 90.0
    assert trade["slippage_usd"] == 2 * (92 - 90)


def test_a_liquidation_says_how_it_ended(run: Path) -> None:
    row = read_table(run, "liquidations").row(0, named=True)
    assert (row["account"], row["ended"], row["compartment"]) == (A, "taken over", "cross")
    assert row["gross_notional_atoms"] == row["net_notional_atoms"] == 10 * 92_00
    assert (row["book_notional_atoms"], row["takeover_notional_atoms"]) == (2 * 90_00, 8 * 92_00)


def test_a_liquidation_that_never_ends_is_open(tmp_path: Path) -> None:
    listed = batches()
    events = tuple(e for e in listed[6].events if not isinstance(e, ev.LiquidationEnded))
    write_events(tmp_path, [*listed[:6], Batch(6, listed[6].time_ns, events)])
    write_tables(tmp_path)
    row = read_table(tmp_path, "liquidations").row(0, named=True)
    assert (row["ended"], row["ended_time_ns"]) == ("open", None)


def test_the_waterfall_names_deficit_origin_payers_and_what_was_taken_too_much(run: Path) -> None:
    rows = read_table(run, "waterfall").select("entry", "stage", "account", "amount_atoms").rows()
    assert ("margin", "backstop", A, 16_00) in rows
    assert ("opened", None, VAULT, 30_00) in rows
    assert ("origin", None, A, 30_00) in rows
    assert ("residual", None, ev.DEFICIT, 0) in rows
    assert ("overcharge", None, ev.DEFICIT, 32_00 - 30_00) in rows


def test_deleveraging_that_leaves_the_winner_lots_is_no_full_closure(run: Path) -> None:
    row = read_table(run, "adl").row(0, named=True)
    assert (row["winner_population"], row["population"], row["account_is_vault"]) == ("shorts", "vault", True)
    assert row["full_closure"] is False
    assert (row["notional_usd"], row["transfer_usd"], row["profit_usd"]) == (
        8 * 89.0,
        8 * 4.0,
        8 * (110 - 89.0),
    )


def test_depth_counts_orders_within_one_per_cent_of_the_mid_only(run: Path) -> None:
    marks = read_table(run, "marks")
    assert marks["depth_bid_usd"].to_list() == [0.0, 4 * 99.0, 0.0, 0.0]
    assert marks["depth_ask_usd"].to_list() == [0.0, 8 * 101.0, 0.0, 0.0]


def test_a_partly_filled_order_counts_with_what_is_left(tmp_path: Path) -> None:
    later = Batch(8, START_NS + 200 * SECOND_NS, (marked_at(90),))
    write_events(tmp_path, [*batches(), later])
    write_tables(tmp_path)
    assert read_table(tmp_path, "marks")["depth_bid_usd"][-1] == (4 - 2) * 90.0


def marked_at(price: int) -> ev.Marked:
    return ev.Marked(0, price, price, None, (None, None, None), None, None, None, None)


def test_open_interest_falls_by_what_was_deleveraged(run: Path) -> None:
    row = read_table(run, "instruments").row(0, named=True)
    assert (row["first_open_interest_lots"], row["last_open_interest_lots"]) == (15, 15 - 8)
    assert row["adl_change_lots"] == -8
    assert row["liquidation_change_lots"] == row["takeover_change_lots"] == row["voluntary_change_lots"] == 0


def test_absorbers_are_valued_with_their_inventory_after_the_work_of_an_instant(run: Path) -> None:
    vault = read_table(run, "absorbers").filter(pl.col("account") == VAULT)
    assert vault["equity_atoms"].to_list() == [10_00, 10_00, 26_00, 2_00]


def test_fills_are_summed_by_second_and_everything_else_is_in_full(run: Path) -> None:
    ledger = read_table(run, "ledger")
    fills = ledger.filter(pl.col("reason") == "fill").select("population", "amount_atoms").rows()
    assert sorted(fills) == [("clearing", 20_00), ("fees", 10), ("longs", -20_00), ("makers", -10)]
    assert ledger.group_by("asset").agg(pl.col("amount_atoms").sum())["amount_atoms"].to_list() == [0]
    assert ledger.filter(pl.col("reason") == "takeover").height == 4


def test_a_population_s_share_of_losses_is_also_given_without_its_top_loser(run: Path) -> None:
    rows = {row["population"]: row for row in read_table(run, "populations").iter_rows(named=True)}
    lost = {"longs": 100_00 + 75_00, "makers": 10_10, "vault": 8_00}
    assert rows["longs"]["share_of_losses"] == lost["longs"] / sum(lost.values())
    assert rows["longs"]["top_loser"] == A
    assert rows["longs"]["share_of_losses_without_top"] == 75_00 / (sum(lost.values()) - 100_00)
    assert rows["shorts"]["share_of_losses"] == 0


def test_money_brought_in_after_the_first_mark_is_a_deposit(tmp_path: Path) -> None:
    posted = ev.Posted("deposit", ((ev.EXTERNAL, 0, -7_00), (B, 0, 7_00)))
    write_events(tmp_path, [*batches(), Batch(8, START_NS + 190 * SECOND_NS, (posted,))])
    write_tables(tmp_path)
    row = account(tmp_path, B)
    assert (row["initial_equity_atoms"], row["deposits_atoms"], row["change_atoms"]) == (
        1_000_00,
        7_00,
        -75_00,
    )


def test_a_second_call_replaces_the_tables(run: Path) -> None:
    before = {name: read_table(run, name) for name in TABLE_NAMES}
    write_tables(run)
    assert all(read_table(run, name).equals(frame) for name, frame in before.items())


def test_an_event_file_without_its_opening_is_named(tmp_path: Path) -> None:
    write_events(tmp_path, [Batch(1, START_NS, (ev.AccountsOpened(A, 1, "customer"),))])
    with pytest.raises(DataError, match="does not begin with an 'opened' event"):
        opening(tmp_path)


def test_missing_populations_are_named(tmp_path: Path) -> None:
    write_events(tmp_path, batches())
    (tmp_path / "meta.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="populations"):
        write_tables(tmp_path)


def test_an_account_of_no_population_is_unassigned(tmp_path: Path) -> None:
    write_events(tmp_path, batches())
    (tmp_path / "meta.json").write_text(json.dumps({"populations": POPULATIONS[1:]}), encoding="utf-8")
    write_tables(tmp_path)
    assert account(tmp_path, A)["population"] == "unassigned"


def test_an_order_that_is_cancelled_leaves_the_depth(tmp_path: Path) -> None:
    placed = ev.OrderAccepted(50, MAKER, 0, BUY, 3, 90, "gtc", False, False, False)
    closed = ev.OrderClosed(50, 3, "cancelled")
    listed = [
        *batches(),
        Batch(8, START_NS + 181 * SECOND_NS, (placed,)),
        Batch(9, START_NS + 182 * SECOND_NS, (marked_at(90),)),
        Batch(10, START_NS + 183 * SECOND_NS, (closed,)),
        Batch(11, START_NS + 184 * SECOND_NS, (marked_at(90),)),
    ]
    write_events(tmp_path, listed)
    write_tables(tmp_path)
    assert read_table(tmp_path, "marks")["depth_bid_usd"].to_list()[-2:] == [(2 + 3) * 90.0, 2 * 90.0]


def test_every_column_is_described(run: Path) -> None:
    sections = (Path(__file__).parents[2] / "docs" / "tables.md").read_text(encoding="utf-8").split("\n## ")
    common = {"seq", "time_ns", "instrument", "symbol", "account", "population", "compartment", "stage"}
    for name in TABLE_NAMES:
        text = next(section for section in sections if section.startswith(f"{name}\n"))
        text += sections[-2 if name == "populations" else 0] + next(
            s for s in sections if s.startswith("accounts\n")
        )
        for column in read_table(run, name).columns:
            if column in common or not column.endswith(("_atoms", "_ticks", "_lots", "_ns", "seq", "_ppb")):
                continue
            words = {column, column.removesuffix("_atoms")}
            if column.endswith("_change_lots"):
                words.add(f"`{column.removesuffix('_change_lots')}`")
            assert any(word in text for word in words), f"{name}.{column}"


def test_counterparty_that_receives_gives_nothing_below_zero(tmp_path: Path) -> None:
    run = write_events(tmp_path, batches_that_give())
    write_tables(run)
    winner, vault = account(run, SHORT), account(run, VAULT)
    assert vault["adl_given_atoms"] == winner["adl_received_atoms"] == 8 * (85_00 - 81_00)
    assert vault["adl_received_atoms"] == winner["adl_given_atoms"] == 0
    assert (winner["other_atoms"], vault["other_atoms"]) == (0, 0)
