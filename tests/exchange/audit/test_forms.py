"""The forms of rules, each by a worked number, and the law that every form of a value must keep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.venues import ASSETS, USD, perpetual, rulebook
from zerodebt.exchange.audit.books import BUY, SELL, Levels, Order
from zerodebt.exchange.audit.forms import adl, forced_order, funding, mark
from zerodebt.exchange.audit.forms.requirement import requirement
from zerodebt.exchange.audit.forms.valuation import Worth, worth_at
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import CLEARING, FIRST_ACCOUNT, AccountsOpened, Marked, Opened
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.rules import AdlRules, FundingRules, LiquidationRules, MarkRules

BTC = perpetual("BTC", tick_value_atoms=1000, tiers=(Tier(0, 40), Tier(20_000 * USD, 20)))


def test_lots_of_a_linear_market_are_worth_price_times_lots_times_tick_value() -> None:
    assert worth_at(BTC, 90_000)(-3) == 90_000 * -3 * 1000


def test_tiers_take_each_slice_at_its_own_rate_and_round_up_once() -> None:
    maintenance, _ = requirement(BTC)
    assert maintenance(20_000 * USD, 1) == 20_000 * USD // 80
    assert maintenance(20_000 * USD + 1, 1) == 20_000 * USD // 80 + 1
    assert maintenance(30_000 * USD, 1) == 20_000 * USD // 80 + 10_000 * USD // 40


def test_a_floor_per_lot_holds_where_the_price_crosses_zero() -> None:
    maintenance, _ = requirement(structs.replace(BTC, margin_floor_atoms_per_lot=7))
    assert maintenance(0, 5) == 5 * 7


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from([0, 10**5]))
def test_no_position_requires_more_than_the_bound_that_is_watched(price: int, lots: int, floor: int) -> None:
    spec = structs.replace(BTC, margin_floor_atoms_per_lot=floor)
    worth = worth_at(spec, price)
    maintenance, most_per_lot = requirement(spec)
    assert maintenance(worth(lots), lots) <= lots * most_per_lot(worth(1))


def inputs(basis: int | None, book: int | None, perps: int | None, average: int | None) -> Marked:
    return Marked(0, 100, 0, None, (None, None, None), basis, book, perps, average)


@pytest.mark.parametrize(
    ("given_inputs", "expected"),
    [
        (inputs(101, 104, 110, 200), 104),
        (inputs(101, 104, None, 103), 103),
        (inputs(101, 104, None, None), 102),  # (101 + 104) // 2
        (inputs(None, None, None, 103), 100),
    ],
)
def test_the_mark_is_the_median_of_what_is_to_be_had(given_inputs: Marked, expected: int) -> None:
    assert mark.mark_ticks(MarkRules("median"), given_inputs) == expected
    assert mark.mark_ticks(MarkRules("index"), given_inputs) == 100


def side(which: int, *levels: tuple[int, int]) -> Levels:
    book = Levels()
    for k, (price, lots) in enumerate(levels):
        book.add(k, Order(FIRST_ACCOUNT, 0, which, price, lots, reduce=False))
    return book


def test_the_premium_is_what_the_impact_prices_stand_beyond_the_index() -> None:
    rules = FundingRules(impact_notional_atoms=3 * 1000 * 1000)
    bids = side(BUY, (1002, 1), (999, 5))  # 1 lot at 1002 and 2 at 999 average 1000
    asks = side(SELL, (1010, 5))
    assert funding.premium_ppt(rules, BTC, bids, asks, 990) == (1000 - 990) * 10**12 // 990
    assert funding.premium_ppt(rules, BTC, side(BUY), asks, 1020) == (1010 - 1020) * 10**12 // 1020


def test_a_rate_is_pulled_to_the_interest_divided_and_capped() -> None:
    rules = FundingRules(interest_ppt=100, clamp_ppt=500, divisor=8, cap_ppt=1000)
    assert funding.rate_ppt(rules, 300) == (300 + (100 - 300)) // 8
    assert funding.rate_ppt(rules, 3000) == (3000 - 500) // 8
    assert funding.rate_ppt(rules, 30_000) == 1000


def test_who_pays_funding_pays_the_rounding() -> None:
    assert funding.owed_atoms(1_000_001, 10**6, 1) == 2  # 1.000001
    assert funding.owed_atoms(-1_000_001, 10**6, 1) == -1


def test_a_large_position_is_sent_in_a_chunk_first_and_whole_while_it_cools() -> None:
    rules = LiquidationRules(chunk_threshold_atoms=1000, chunk_ppb=200_000_000)
    assert forced_order.chunk_lots(rules, 1000, 9, is_cooling=False) == 9
    assert forced_order.chunk_lots(rules, 1001, 9, is_cooling=False) == 9 // 5
    assert forced_order.chunk_lots(rules, 1001, 4, is_cooling=False) == 1
    assert forced_order.chunk_lots(rules, 1001, 9, is_cooling=True) == 9


def test_a_forced_order_stops_where_closing_leaves_nothing() -> None:
    rules = LiquidationRules(price_limit="bankruptcy")
    assert forced_order.limit_ticks(rules, BTC, 100, -10, 45 * 1000) == 100 - 45 // 10
    assert forced_order.limit_ticks(rules, BTC, 100, 10, 45 * 1000) == 100 + 45 // 10
    assert forced_order.limit_ticks(rules, BTC, 100, -10, -1) is None
    assert forced_order.limit_ticks(LiquidationRules(price_limit="none"), BTC, 100, -10, 45) is None


def test_scores_of_one_winner() -> None:
    winner = adl.Winner(1200, 1000, 200, 300, 500, lambda: 60)
    assert adl.score_ppb(AdlRules(score="hyperliquid"), winner) == 10**9 * (1200 * 200) // (500 * 1000)
    assert adl.score_ppb(AdlRules(score="binance"), winner) == 10**9 * (200 * 60) // (300 * (300 + 200))


def test_the_previous_mark_counts_only_when_it_is_kinder_to_the_bankrupt() -> None:
    rules = AdlRules(price="previous_mark")
    assert [adl.rule_ticks(rules, 90, 95, lots) for lots in (1, -1)] == [95, 90]
    assert adl.rule_ticks(rules, 90, None, 1) == 90
    assert adl.rule_ticks(AdlRules(price="mark"), 90, 95, 1) == 90


def test_a_winner_gives_up_lots_only_as_far_as_its_equity_bears_them() -> None:
    """A long of 10 missing 45 closes 5 above the mark of 90; each lot costs a short 5 against the mark."""
    price = adl.bankruptcy_ticks(BTC, 90, 10, 45 * 1000)
    assert price == 90 + 5
    assert adl.transfer_atoms(BTC, 90, price, -10) == 10 * 5 * 1000
    assert adl.bearable_lots(BTC, 90, price, -10, 26 * 1000) == 26 // 5
    assert adl.bearable_lots(BTC, 90, 90, -10, 0) == 10


def rounded(lot_value: int, divisor: int) -> Worth:
    """A value that is no product: its magnitude is rounded down, as that of an inverse contract is."""
    return lambda lots: (abs(lots) * lot_value // divisor) * (1 if lots > 0 else -1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(1, 2), st.integers(-5, 5), st.integers(1, 99), st.integers(1, 9)
        ),
        max_size=12,
    )
)
def test_clearing_holds_what_positions_cost_however_lots_are_valued(
    trades: list[tuple[int, int, int, int, int]],
) -> None:
    holdings = Holdings(Opened(rulebook("book"), ASSETS, (BTC,)), Notes(10))
    holdings.open_accounts(AccountsOpened(FIRST_ACCOUNT, 3, "customer"))
    (market,) = holdings.markets
    cleared = 0
    for seller, step, lots, lot_value, divisor in trades:
        buyer = (seller + step) % 3
        legs = holdings.change_hands(
            market,
            FIRST_ACCOUNT + seller,
            FIRST_ACCOUNT + buyer,
            lots,
            rounded(lot_value, divisor),
            origin=None,
        )
        assert sum(legs.values()) == 0
        cleared += legs[CLEARING, market.pocket]
        assert cleared == -market.cost_sum
        assert market.cost_sum == sum(cost for _, cost, _ in market.holders.values())
        assert market.lots_sum == 0
