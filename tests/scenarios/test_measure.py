from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.handmade import MAKER, START_NS, batches, marked, write_events, write_handmade_run
from zerodebt.exchange import events as ev
from zerodebt.exchange.commands import BUY, SELL
from zerodebt.exchange.events import Batch
from zerodebt.exchange.units import SECOND_NS
from zerodebt.scenarios.measure import CALM_NS, measure, slugs
from zerodebt.scenarios.tables import write_tables


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measure(write_handmade_run(tmp_path_factory.mktemp("run")))


def test_deleveraging_is_timed_counted_and_valued_at_its_price(measured: dict[str, Any]) -> None:
    assert measured["first_adl_utc"] == measured["last_adl_utc"] == "2025-10-10T21:18:00Z"
    assert measured["first_adl_seconds"] == 21 * 3600 + 18 * 60
    assert (measured["adl_fills"], measured["adl_accounts"], measured["adl_bursts"]) == (1, 1, 1)
    assert measured["adl_notional_usd"] == 8 * 89
    assert measured["winners_closed_profit_usd"] == 8 * (110 - 89)
    assert measured["adl_full_closure_share"] == 0
    assert (
        measured["adl_in_profit_share"] == measured["vault_share_of_adl"] == measured["adl_top1_share"] == 1
    )
    assert measured["adl_share_x"] == measured["adl_burst_top10_share"] == 1


def test_deleveraged_contracts_are_held_against_the_first_open_interest(measured: dict[str, Any]) -> None:
    assert measured["adl_share_of_open_interest"] == 8 / 15


def test_the_change_of_open_interest_splits_exactly(measured: dict[str, Any]) -> None:
    assert measured["open_interest_start_usd"] == 15 * 100
    assert measured["open_interest_end_usd"] == 7 * 85
    assert measured["open_interest_change_adl_usd"] == -8 * 100
    assert measured["open_interest_change_price_usd"] == 7 * (85 - 100)
    causes = ("adl", "liquidation", "takeover", "vault", "voluntary", "settlement", "price")
    assert sum(measured[f"open_interest_change_{cause}_usd"] for cause in causes) == 7 * 85 - 15 * 100
    assert measured["open_interest_contracts_change_share"] == -8 / 15


def test_takeovers_and_forced_orders(measured: dict[str, Any]) -> None:
    assert measured["takeover_notional_usd"] == measured["takeover_notional_2115_2127_usd"] == 8 * 92
    assert measured["liquidation_book_notional_usd"] == 2 * 90
    assert measured["liquidated_accounts"] == 1
    assert measured["liquidation_long_share"] == 1
    assert measured["forced_slippage_usd"] == 2 * (92 - 90)
    assert measured["margin_confiscated_usd"] == 100 - 2 * 10 - 8 * 8


def test_the_deficit_was_paid_with_something_to_spare(measured: dict[str, Any]) -> None:
    assert measured["deficits"] == 1
    assert measured["deficits_opened_usd"] == measured["deficit_max_usd"] == 8 * 7 - 16 - 10
    assert measured["adl_transfer_usd"] == 8 * (89 - 85)
    assert measured["overcharge_usd"] == 32 - 30
    assert (
        measured["residual_usd"] == measured["total_receivables_usd"] == measured["total_house_paid_usd"] == 0
    )


def test_the_vault_ends_below_its_capital(measured: dict[str, Any]) -> None:
    assert measured["vault_capital_usd"] == 10
    assert measured["vault_result_usd"] == measured["vault_result_1_usd"] == 2 - 10
    assert measured["absorber_equity_min_usd"] == 2


def test_accounts_populations_and_prices(measured: dict[str, Any]) -> None:
    assert measured["accounts_below_zero"] == measured["final_equity_min_usd"] == 0
    assert measured["max_account_loss_usd"] == measured["max_account_loss_longs_usd"] == 100
    assert measured["result_longs_usd"] == -100 - 5 * 15
    assert measured["principal_longs_usd"] == 10 * 90 + 5 * 100
    assert (measured["mark_start_x_usd"], measured["mark_min_x_usd"], measured["index_max_x_usd"]) == (
        100,
        85,
        100,
    )
    assert measured["order_operations"] == 3 + (3 + 2) + 1


def test_what_did_not_happen_has_no_time_and_no_share(tmp_path: Path) -> None:
    write_events(tmp_path, batches()[:5])
    write_tables(tmp_path)
    quiet = measure(tmp_path)
    assert quiet["first_adl_utc"] is None
    assert quiet["first_adl_seconds"] is None
    assert quiet["adl_full_closure_share"] is None
    assert (quiet["adl_fills"], quiet["adl_notional_usd"], quiet["adl_share_of_open_interest"]) == (0, 0, 0)


def test_depth_is_compared_with_its_median_in_the_first_five_minutes(tmp_path: Path) -> None:
    listed = [
        *batches()[:4],
        Batch(4, START_NS + SECOND_NS, (marked(100, 99, 101),)),
        Batch(5, START_NS + 2 * SECOND_NS, (marked(100, 99, 101),)),
        Batch(
            6, START_NS + CALM_NS, (ev.Quoted(MAKER, 0, (1, 2, 3), ((4, BUY, 99, 1), (5, SELL, 101, 4)), ()),)
        ),
        Batch(7, START_NS + CALM_NS, (marked(100, 99, 101),)),
    ]
    write_events(tmp_path, listed)
    write_tables(tmp_path)
    measured = measure(tmp_path)
    # The first instant has no orders; the median of none, full, full is full: 4 bids at 99, 8 asks at 101.
    assert measured["depth_min_relative_x"] == (99 + 4 * 101) / (4 * 99 + 8 * 101)
    assert measured["depth_bid_min_relative"] == 1 / 4
    assert measured["depth_ask_min_relative"] == 4 / 8


def test_bid_depth_near_the_index_is_the_mean_over_its_window(tmp_path: Path) -> None:
    def quoted(seq: int, seconds: int, price: int, lots: int) -> list[Batch]:
        quote = ev.Quoted(MAKER, 0, (seq - 2,), ((seq, BUY, price, lots),), ())
        at_ns = START_NS + seconds * SECOND_NS
        return [Batch(seq, at_ns, (quote,)), Batch(seq + 1, at_ns, (marked(1000, 999, None),))]

    # 999 is 0.1 % below the index, 998 is further; the last instant lies after 21:50.
    listed = [*batches()[:2], *quoted(4, 0, 999, 4), *quoted(6, 60, 998, 9), *quoted(8, 35 * 60 + 1, 999, 50)]
    write_events(tmp_path, listed)
    write_tables(tmp_path)
    assert measure(tmp_path)["x_bid_depth_10bp_mean_usd"] == (4 * 999 + 0) / 2


def test_a_receivable_is_the_client_s_loss_beyond_what_was_there(tmp_path: Path) -> None:
    booked = ev.ReceivableBooked(2, 16, 0, 50_00)
    write_events(tmp_path, [*batches(), Batch(8, START_NS + 200 * SECOND_NS, (booked,))])
    meta = tmp_path / "meta.json"
    meta.write_text(meta.read_text(encoding="utf-8").replace('"longs"', '"clients"'), encoding="utf-8")
    write_tables(tmp_path)
    measured = measure(tmp_path)
    assert measured["total_receivables_usd"] == 50
    # Entered 10 lots at 90 which stood at 100: of the 100 that were lost, 100 had been won before the start.
    assert measured["named_client_loss_usd"] == 100 + 50 - 10 * (100 - 90)
    assert measured["named_client_loss_share"] == 50 / (10 * 90)


@pytest.mark.parametrize(
    ("name", "short"), [("BTC-PERP", "btc"), ("CL-MAY20", "cl_may20"), ("natural shorts", "natural_shorts")]
)
def test_names_become_parts_of_measures(name: str, short: str) -> None:
    assert slugs([name]) == {name: short}


def test_no_two_names_become_the_same_part() -> None:
    """The coin and its contract, and a second one that would be called as the contract's whole name."""
    assert slugs(["BTC", "BTC-PERP", "ETH-PERP"]) == {"BTC": "btc", "BTC-PERP": "btc_perp", "ETH-PERP": "eth"}
    assert slugs(["a b", "a-b"]) == {"a b": "a_b", "a-b": "a_b_2"}
    assert len(set(slugs(["BTC", "BTC-PERP", "BTC_PERP", "BTC PERP"]).values())) == 4


@pytest.mark.parametrize(
    ("deficits", "arose", "still_open"),
    [
        ([(30, False), (30, False)], 30, 30),
        ([(30, False), (45, False)], 45, 45),
        ([(30, False), (45, True)], 45, 45),
        ([(30, False), (45, True), (10, True)], 55, 55),
        ([(30, False), (20, False)], 30, 20),
    ],
)
def test_a_residual_that_is_opened_again_counts_once(
    tmp_path: Path, deficits: list[tuple[int, bool]], arose: int, still_open: int
) -> None:
    """Each deficit of an account is paid by nobody; some of them are written off to the deficit account."""
    listed = batches()[:4]
    for number, (usd, is_written_off) in enumerate(deficits, start=1):
        atoms = usd * 100
        opened = ev.DeficitOpened(number, MAKER, 0, 0, atoms, ((MAKER, atoms),))
        written = (
            (ev.Posted("deficit", ((MAKER, 0, atoms), (ev.DEFICIT, 0, -atoms))),) if is_written_off else ()
        )
        closed = ev.DeficitClosed(number, atoms, 0)
        at_ns = START_NS + number * SECOND_NS
        listed.append(Batch(3 + number, at_ns, (marked(100), opened, *written, closed)))
    write_events(tmp_path, listed)
    write_tables(tmp_path)
    found = measure(tmp_path)
    assert (found["residual_usd"], found["residual_open_usd"]) == (arose, still_open)
    assert found["deficits_opened_usd"] == sum(usd for usd, _ in deficits)
