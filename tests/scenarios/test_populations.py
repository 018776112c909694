"""Measures by population, on tables made by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tomli_w

from zerodebt.scenarios import config, populations, runner
from zerodebt.scenarios.models import rotation
from zerodebt.scenarios.models.exhaustion import free_core
from zerodebt.scenarios.models.leverage_cycle import News, news_csv, overrides, promise, run_world
from zerodebt.scenarios.populations import Run, gini

RETAIL, FUND, MAKER = 16, 18, 19
"""An owner with margin account 16 and core account 17, a fund, a maker."""
POPULATIONS = (
    {"name": "retail", "kind": "core_retail", "first_account": 16, "count": 2, "counters": {}},
    {
        "name": "fund",
        "kind": "institutions",
        "first_account": 18,
        "count": 1,
        "counters": {"loan_start_usd": 50},
    },
    {"name": "maker", "kind": "market_makers", "first_account": 19, "count": 1, "counters": {}},
)


@pytest.fixture
def run() -> Run:
    """The maker buys 2 coins of the core at 9, 1 of the fund at 8, 3 contracts of the liquidated owner."""
    trades = pl.DataFrame(
        {
            "seq": [1, 2, 3],
            "hour": [0.5, 1.5, 1.6],
            "symbol": ["ETH", "ETH", "ETH-PERP"],
            "taker": [17, FUND, RETAIL],
            "maker": [MAKER] * 3,
            "taker_population": ["retail", "fund", "retail"],
            "maker_population": ["maker"] * 3,
            "taker_side": [-1, -1, -1],
            "size_contracts": [2.0, 1.0, 3.0],
            "notional_usd": [18.0, 8.0, 24.0],
            "forced": [False, False, True],
        }
    )
    marks = pl.DataFrame(
        {
            "time_ns": [0, 0, 1, 1],
            "hour": [0.0, 0.0, 2.0, 2.0],
            "symbol": ["ETH", "ETH-PERP"] * 2,
            "index": [10.0, 10.0, 8.0, 8.0],
            "open_interest_contracts": [0.0, 6.0, 0.0, 3.0],
        }
    )
    accounts = pl.DataFrame(
        {
            "account": [16, 17, 18, 19],
            "population": ["retail", "retail", "fund", "maker"],
            "kind": ["core_retail", "core_retail", "institutions", "market_makers"],
            "initial_equity_usd": [10.0, 5.0, 20.0, 100.0],
            "change_usd": [-6.0, 18.0, 8.0, -20.0],
            "fees_paid_usd": [1.0, 0.0, 0.0, 0.0],
        }
    )
    ledger = pl.DataFrame(
        {
            "reason": ["deposit", "deposit"],
            "asset": ["ETH", "ETH"],
            "account": [17, 18],
            "population": ["retail", "fund"],
            "amount": [4.0, 6.0],
        }
    )
    takeovers = pl.DataFrame(
        {"population": ["retail"], "taker_population": ["vault"], "notional_usd": [5.0]},
    )
    adl = pl.DataFrame({"population": ["vault"], "winner_population": ["fund"], "notional_usd": [4.0]})
    return Run(Path(), POPULATIONS, trades, marks, accounts, ledger, takeovers, adl, ("ETH",))


def test_profit_counts_coins_and_the_owner_both_accounts(run: Run) -> None:
    own = populations.owners(run, populations.profits(run))
    found = {row["population"]: row for row in own.iter_rows(named=True)}
    assert found["retail"]["profit_usd"] == -6 + 18 + (4 - 2) * 8 - 4 * 10
    assert found["retail"]["wealth_usd"] == 10 + 5 + 4 * 10
    assert found["fund"]["profit_usd"] == 8 + (6 - 1) * 8 - 6 * 10
    assert found["maker"]["profit_usd"] == -20 + 3 * 8


def test_coins_of_a_second_book_are_the_same_coins(run: Run) -> None:
    """The fund sells one more ETH, at 7 in the second book, which stands at 7 itself: valued at the first."""
    sold = run.trades[1:2].with_columns(symbol=pl.lit("ETH-2"), notional_usd=7.0)
    marks = run.marks.filter(pl.col("symbol") == "ETH").with_columns(symbol=pl.lit("ETH-2"), index=7.0)
    two = run._replace(
        trades=pl.concat([run.trades, sold]), marks=pl.concat([run.marks, marks]), spots=("ETH", "ETH-2")
    )
    found = {row["population"]: row for row in populations.profits(two).iter_rows(named=True)}
    assert found["fund"]["profit_usd"] == 8 + (6 - 2) * 8 - 6 * 10
    assert found["maker"]["profit_usd"] == -20 + 4 * 8
    assert populations.order_of_sales(two, "fund", ("ETH",), 0.0) == 0.0, "ETH-2 is as senior as ETH"


def test_losses_are_shares_of_all_and_of_own_wealth_without_loans(run: Run) -> None:
    found = {row["population"]: row for row in populations.losses(run).iter_rows(named=True)}
    assert (found["retail"]["losses_usd"], found["fund"]["losses_usd"]) == (12.0, 12.0)
    assert found["retail"]["loss_share"] == 12 / 24
    assert found["fund"]["wealth_usd"] == 20 + 6 * 10 - 50
    assert found["fund"]["loss_of_wealth"] == 12 / 30
    assert found["retail"]["loss_share_of_wealth_share"] == pytest.approx((12 / 24) / (55 / (55 + 30 + 100)))
    assert found["maker"]["losses_usd"] == 0.0


def test_flows_sum_to_zero_and_shares_of_volume_to_one(run: Run) -> None:
    rows = populations.flows(run.trades)
    assert rows["net_usd"].sum() == 0.0
    assert populations.net_by_bin(run, "maker", ("ETH",), np.array([0.0, 1.0, 2.0])).tolist() == [18.0, 8.0]
    assert sum(populations.volume_shares(run).values()) == pytest.approx(1.0)


def test_counterparties_are_those_of_the_book_of_takeovers_and_of_deleveraging(run: Run) -> None:
    assert populations.counterparties(run).rows() == [
        ("retail", "book", "maker", 24.0),
        ("retail", "takeover", "vault", 5.0),
        ("vault", "adl", "fund", 4.0),
    ]


def test_betas_take_rising_and_falling_hours_apart(run: Run) -> None:
    """BTC moves by .1, -.2, .3, ETH by .2, -.1, .2: up (.02 + .06) / (.01 + .09), down .02 / .04."""
    paths = {"BTC": [0.0, 0.1, -0.1, 0.2], "ETH": [0.0, 0.2, 0.1, 0.3]}
    marks = pl.DataFrame(
        {
            "time_ns": [hour for hour in range(4) for _ in paths],
            "hour": [float(hour) for hour in range(4) for _ in paths],
            "symbol": [*paths] * 4,
            "index": [float(np.exp(path[hour])) for hour in range(4) for path in paths.values()],
            "open_interest_contracts": [0.0] * 8,
        }
    )
    found = populations.betas(run._replace(marks=marks, spots=("BTC", "ETH"))).rows()
    assert found[0] == ("BTC", pytest.approx(1.0), pytest.approx(1.0))
    assert found[1] == ("ETH", pytest.approx(0.8), pytest.approx(0.5))


def test_hours_have_the_last_leverage_and_the_root_of_their_squared_moves(run: Run) -> None:
    rows = populations.hourly(run).rows()
    assert rows == [(0.0, 60.0, 0.0), (2.0, 30.0, pytest.approx(abs(np.log(0.8))))]


def test_holdings_are_deposits_and_trades_at_the_index_of_then(run: Run) -> None:
    assert populations.holdings_usd(run, "fund", 1.0) == {"ETH": 60.0}
    assert populations.holdings_usd(run, "fund", 2.0) == {"ETH": 5 * 8.0}
    assert populations.holdings_usd(run, "maker", 2.0) == {"ETH": 3 * 8.0, "ETH-PERP": 3 * 8.0}


def test_exits_are_sales_of_contracts_on_ones_own(run: Run) -> None:
    """The core's coins are no exit, nor is what is forced; the owner left at 1.6."""
    assert populations.exits(run, "retail", 0.0).is_empty()
    own = run._replace(trades=run.trades.with_columns(forced=pl.lit(value=False)))
    (left,) = populations.exits(own, "retail", 0.0).iter_rows(named=True)
    assert left["account"] == RETAIL
    assert left["hour"] == pytest.approx(1.6)


def test_order_of_sales_is_the_junior_part_of_the_first_half(run: Run) -> None:
    """The fund sold 8 USD, all in one trade of ETH: junior or senior as one names it."""
    assert populations.order_of_sales(run, "fund", ("BTC",), 0.0) == 1.0
    assert populations.order_of_sales(run, "fund", ("ETH",), 0.0) == 0.0


def test_leverage_index_counts_contracts_at_the_first_price(run: Run) -> None:
    assert populations.leverage_index(run).tolist() == [60.0, 30.0]


def test_gini_is_nothing_for_equals_and_near_one_for_one_of_many() -> None:
    assert gini(np.ones(4)) == 0.0
    assert gini(np.array([0.0, 1.0])) == 0.5
    assert gini(np.array([0.0] * 99 + [1.0])) == pytest.approx(0.99)
    assert gini(np.zeros(3)) == 0.0


def test_news_moves_each_coin_by_its_beta_between_its_hours() -> None:
    lines = news_csv(News(float(np.log(0.8)), 10.0, 20.0), 30.0).splitlines()
    last = {line.split(",")[1]: float(line.split(",")[2]) for line in lines[1:]}
    assert last["BTC"] == pytest.approx(80_000.0)
    assert last["ALT"] == pytest.approx(200 * 0.8**1.3, abs=0.001)
    assert lines[1].startswith("2026-01-01T00:00:00Z,BTC,100000.0")


def test_free_core_is_what_drawn_cores_have_left_at_the_prices_of_the_start(run: Run) -> None:
    """Core 17 begins with 4 ETH at 10 and 10 stable, earns 5 and gives 30 away: 25 of 50 are left."""
    hour = 3_600 * 10**9
    ledger = pl.DataFrame(
        {
            "time_ns": [0, 0, hour, 2 * hour],
            "reason": ["deposit", "deposit", "deposit", "withdrawal"],
            "asset": ["ETH", "USDT", "USDT", "USDT"],
            "account": [17] * 4,
            "amount": [4.0, 10.0, 5.0, -30.0],
        }
    )
    left = free_core(run._replace(ledger=ledger), np.array([0.5, 1.5, 2.5]))
    assert left.tolist() == [1.0, 55 / 50, 25 / 50]


def test_world_without_prices_runs_with_audit_and_tables_by_population(tmp_path: Path) -> None:
    """Two hours: the index of a contract is what its coin's spot book said, and flows of all sum to zero."""
    quiet = News(0.0, 0.0, 2.0)
    world = run_world(0, 2.0, 1200.0, quiet, {"populations.retail.count": 60}, tmp_path)
    assert world.spots == ("BTC", "ETH", "ALT", "SMALL")
    for coin in world.spots:
        of_contract = populations.index_path(world, f"{coin}-PERP")
        assert populations.index_path(world, coin).tolist() == of_contract.tolist()
        assert 0.9 < of_contract[-1] / of_contract[0] < 1.1
    flows = pl.read_parquet(world.path / "tables" / "population_flows" / "*.parquet")
    assert abs(float(flows["net_usd"].sum())) < 1e-6 * float(flows["volume_usd"].sum())
    losses = pl.read_parquet(world.path / "tables" / "population_losses" / "*.parquet")
    assert losses["loss_share"].sum() == pytest.approx(1.0)
    assert {"retail", "institutions", "spot_makers"} <= set(losses["population"].to_list())
    report = (world.path / "report.html").read_text(encoding="utf-8").partition("<h2>Populations</h2>")[2]
    for heading in ("Who lost", "Leverage index", "Volatility index", "Betas", "Exit order and result"):
        assert f"<h3>{heading}</h3>" in report


def test_changes_of_a_world_reach_their_population_or_add_one() -> None:
    lender = {"kind": "last_lender", "coins": ["BTC"]}
    said = overrides(1.0, 60.0, {"populations.retail.count": 7, "populations.lender": lender, "seed": 1})
    tables = {table["name"]: table for table in said["populations"]}
    assert (tables["retail"]["count"], tables["retail"]["wake_s"]) == (7, 60.0)
    assert tables["lender"]["coins"] == ["BTC"]
    assert "wake_s" not in tables["shorts"]
    assert (said["seed"], said["clock.index_every_s"]) == (1, 60)


def test_first_sale_is_the_mean_over_institutions_and_the_end_for_who_never_sells(run: Run) -> None:
    """News at 24 h. One sells a coin before it and at 27 h, one a contract alone; the run ends at 34 h."""
    trades = pl.DataFrame(
        {
            "hour": [10.0, 27.0, 30.0, 26.0],
            "symbol": ["ETH", "ETH", "ETH", "ETH-PERP"],
            "taker": [18, 18, 18, 20],
            "taker_side": [-1] * 4,
        }
    )
    accounts = pl.DataFrame({"account": [18, 20, 19], "population": ["institutions"] * 2 + ["maker"]})
    marks = pl.DataFrame({"hour": [0.0, 34.0]})
    world = run._replace(trades=trades, accounts=accounts, marks=marks)
    assert rotation._first_sale_h(world) == ((27 - 24) + (34 - 24)) / 2


def test_promise_counts_runs_and_names_debtors_by_population(run: Run, tmp_path: Path) -> None:
    debts = [("retail 16", "2.5"), ("retail 17", "0.5"), ("natural shorts 20", "4"), ("house", "0")]
    kept = {"promise_kept": True, "residuals": []}
    broken = {"promise_kept": False, "residuals": [{"origin": who, "open": usd} for who, usd in debts]}
    runs = []
    for name, summary in (("kept", kept), ("broken", broken)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        runs.append(run._replace(path=tmp_path / name))
    assert promise(*runs) == {
        "promise_broken": 1.0,
        "residual_usd": 7.0,
        "residual_retail_usd": 3.0,
        "residual_natural shorts_usd": 4.0,
        "residual_house_usd": 0.0,
    }


def test_spot_books_that_settle_in_another_currency_have_the_counterparties_alone(tmp_path: Path) -> None:
    table = config.read_table(config.scenario_path("leverage-cycle"))
    text = tomli_w.dumps(table).replace('"USDT"', '"EUR"')
    (tmp_path / "euro.toml").write_text(text, encoding="utf-8")
    (tmp_path / "leverage-cycle.waypoints.csv").write_bytes(
        (config.catalogue() / "leverage-cycle.waypoints.csv").read_bytes()
    )
    end: dict[str, Any] = {"clock.end": datetime(2026, 1, 1, 1, tzinfo=UTC)}
    ended = runner.run(str(tmp_path / "euro.toml"), out=tmp_path, **end)
    tables = {path.name for path in (ended.path / "tables").iterdir()}
    assert "population_counterparties" in tables
    assert "population_losses" not in tables
    assert "<h2>Populations</h2>" not in (ended.path / "report.html").read_text(encoding="utf-8")
