"""The forms of rules, each by a worked number, and the law that every form of a value must keep."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.exchange.audit.crash import TABLES
from tests.venues import ASSETS, USD, perpetual, rulebook
from zerodebt.exchange.audit.books import BUY, SELL, Levels, Order
from zerodebt.exchange.audit.forms import adl, forced_order, funding, mark, sharing
from zerodebt.exchange.audit.forms.requirement import requirement
from zerodebt.exchange.audit.forms.valuation import Worth, dust_atoms, price_of, worth_at
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import CLEARING, FIRST_ACCOUNT, AccountsOpened, Marked, Opened
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.rules import (
    AdlRules,
    BandRules,
    FundingRules,
    LiquidationRules,
    MarkRules,
    SymbolCap,
)

BTC = perpetual("BTC", tick_value_atoms=1000, tiers=(Tier(0, 40), Tier(20_000 * USD, 20)))


def test_lots_of_a_linear_market_are_worth_price_times_lots_times_tick_value() -> None:
    assert worth_at(BTC, 90_000)(-3) == 90_000 * -3 * 1000


def test_tiers_take_each_slice_at_its_own_rate_and_round_up_once() -> None:
    maintenance = requirement(BTC).maintenance
    assert maintenance(20_000 * USD, 1) == 20_000 * USD // 80
    assert maintenance(20_000 * USD + 1, 1) == 20_000 * USD // 80 + 1
    assert maintenance(30_000 * USD, 1) == 20_000 * USD // 80 + 10_000 * USD // 40


def test_a_floor_per_lot_holds_where_the_price_crosses_zero() -> None:
    maintenance = requirement(structs.replace(BTC, margin_floor_atoms_per_lot=7)).maintenance
    assert maintenance(0, 5) == 5 * 7


BOUNDED = [
    BTC,
    structs.replace(BTC, margin_floor_atoms_per_lot=10**5),
    *(spec for specs in TABLES.values() for spec in specs[:2]),
]


@given(st.sampled_from(BOUNDED), st.integers(1, 10**5), st.integers(1, 10**5), st.integers(0, 10**4))
def test_no_position_requires_more_than_the_bound_that_is_watched(
    spec: Instrument, price: int, lots: int, move_bp: int
) -> None:
    """Neither at the price that the bound was taken at, nor a move of at most 100 % away."""
    form, worth = requirement(spec), worth_at(spec, price)
    notional = abs(worth(lots))
    per_lot = form.most_per_lot(abs(worth(1)) + dust_atoms(spec))
    most = lots * per_lot if form.most is None else form.most(notional, lots)
    assert form.maintenance(notional, lots) <= most
    if spec.maintenance_basis == "mark":
        notional += notional * move_bp // 10**4
    assert form.maintenance(notional, lots) <= most + most * move_bp // 10**4 + 1 + lots


K = 1000 * USD


@pytest.mark.parametrize(
    ("changes", "notional", "lots", "expected"),
    [
        ({"tiers": (Tier(0, 40), Tier(20 * K, 20)), "tier_form": "whole"}, 30 * K, 1, 30 * K // 40),
        ({"tiers": (Tier(0, 40), Tier(5, 20)), "tier_form": "whole", "tier_unit": "lots"}, K, 5, K // 80),
        ({"tiers": (Tier(0, 40), Tier(5, 20)), "tier_form": "whole", "tier_unit": "lots"}, K, 6, K // 40),
        ({"tiers": (Tier(0, 40, 10_000_000), Tier(20 * K, 20))}, 30 * K, 1, 20 * K // 100 + 10 * K // 40),
        (
            {"tiers": (Tier(0, 0, 10_000_000, 1),), "slope_ppb": 10**6, "slope_size": 10},
            K,
            20,
            K * 12 // 1000,
        ),
        ({"tiers": (Tier(0, 0, 10_000_000, 1),), "slope_ppb": 10**9, "slope_size": 10}, K, 20, K),
        ({"tiers": (Tier(0, 30),), "maintenance_of_initial_ppb": 600_000_000}, 100, 1, 3),  # ceil(4 * .6)
    ],
)
def test_maintenance_of_margin_tables(
    changes: dict[str, Any], notional: int, lots: int, expected: int
) -> None:
    assert requirement(structs.replace(BTC, **changes)).maintenance(notional, lots) == expected


def test_initial_requirement_is_of_tier_leverage_and_lots_whichever_asks_most() -> None:
    spec = structs.replace(BTC, tiers=(Tier(0, 40), Tier(20 * K, 20)), margin_floor_atoms_per_lot=USD)
    initial = requirement(spec).initial
    assert initial(30 * K, 1, 0, 0) == 20 * K // 40 + 10 * K // 20
    assert initial(30 * K, 1, 10, 0) == 30 * K // 10
    assert initial(K, 50, 40, 0) == 50 * 2 * USD
    assert requirement(structs.replace(spec, initial_atoms_per_lot=USD)).initial(K, 50, 40, 0) == 50 * USD


@pytest.mark.parametrize(
    ("open_interest", "rate_ppm"), [(0, 25_000), (K, 25_000), (2 * K, 350_000), (9 * K, 10**6)]
)
def test_the_initial_rate_rises_with_open_interest_and_maintenance_does_not(
    open_interest: int, rate_ppm: int
) -> None:
    spec = structs.replace(
        BTC, tiers=(Tier(0, 40),), open_interest_low_atoms=K, open_interest_high_atoms=4 * K
    )
    form = requirement(spec)
    assert form.initial(K, 1, 0, open_interest) == K * rate_ppm // 10**6
    assert form.maintenance(K, 1) == K // 80


INVERSE_BTC = structs.replace(BTC, contract="inverse", tick_value_atoms=10**6)


def test_lots_of_an_inverse_market_are_worth_less_the_dearer_they_are() -> None:
    assert [worth_at(INVERSE_BTC, 300)(lots) for lots in (-2, 1, 2)] == [6666, -3333, -6666]
    assert price_of(INVERSE_BTC, 2, -6666) == 301  # 2 * 10^6 / 6666 is 300.03: rounded up for the long
    assert price_of(INVERSE_BTC, -2, 6666) == 300
    assert price_of(INVERSE_BTC, 2, 1) == price_of(INVERSE_BTC, -2, 0) == INVERSE_BTC.price_max_ticks + 1
    assert [price_of(BTC, lots, lots * 1500) for lots in (1, -1)] == [2, 1]


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


def seen(bids: Levels, asks: Levels, index: int, mark_: int = 0) -> funding.Seen:
    best = [min(levels.by_key, default=None) for levels in (bids, asks)]
    return funding.Seen(bids, asks, None if best[0] is None else -best[0], best[1], index, mark_)


def test_the_premium_is_what_the_impact_prices_stand_beyond_the_index() -> None:
    rules = FundingRules(impact_notional_atoms=3 * 1000 * 1000)
    bids = side(BUY, (1002, 1), (999, 5))  # 1 lot at 1002 and 2 at 999 average 1000
    asks = side(SELL, (1010, 5))
    assert funding.premium_ppt(rules, BTC, seen(bids, asks, 990)) == (1000 - 990) * 10**12 // 990
    assert funding.premium_ppt(rules, BTC, seen(side(BUY), asks, 1020)) == (1010 - 1020) * 10**12 // 1020


def test_premiums_of_mid_and_mark_in_steps_are_cut_off_towards_zero() -> None:
    book = seen(side(BUY, (1000, 1)), side(SELL, (1003, 1)), 1005, 999)
    mid = FundingRules(premium="mid", rate_step_ppt=10**6)
    assert funding.premium_ppt(mid, BTC, book) == -(3500 * 10**9 // 1005 // 10**6 * 10**6)
    assert funding.premium_ppt(FundingRules(premium="mark"), BTC, book) == -6 * 10**12 // 1005
    assert funding.premium_ppt(mid, BTC, seen(side(BUY), side(SELL, (1003, 1)), 1005)) == 0


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (FundingRules(), (10 + 20 + 60) // 3),
        (FundingRules(average="linear"), (10 + 2 * 20 + 3 * 60) // 6),
        (FundingRules(average="padded", interval_ns=10, sample_ns=1), 90 // 10),
        (FundingRules(average="padded", interval_ns=10, sample_ns=1, tail_trim_ppm=150_000), 10 // 7),
    ],
)
def test_samples_are_averaged(rules: FundingRules, expected: int) -> None:
    """Of 10 with seven zeros and tails of 15 % three go: one zero below, 60 and 20 above."""
    assert funding.average_ppt(rules, [10, 20, 60]) == expected


def test_a_rate_is_pulled_to_the_interest_divided_and_capped() -> None:
    rules = FundingRules(interest_ppt=100, clamp_ppt=500, divisor=8, cap_ppt=1000)
    assert funding.rate_ppt(rules, BTC, 300) == (300 + (100 - 300)) // 8
    assert funding.rate_ppt(rules, BTC, 3000) == (3000 - 500) // 8
    assert funding.rate_ppt(rules, BTC, 30_000) == 1000
    deadband = structs.replace(rules, rate="deadband")
    assert [funding.rate_ppt(deadband, BTC, p) for p in (400, 900, -900)] == [0, 400 // 8, -400 // 8]
    assert funding.rate_ppt(structs.replace(rules, rate="plain"), BTC, 300) == (300 + 100) // 8


def test_caps_follow_the_rates_of_the_largest_leverage() -> None:
    """Leverage 40: an initial rate of 25,000 and a maintenance rate of 12,500 millionths."""
    huge = 10**12
    half = FundingRules(cap="maintenance", cap_factor_ppb=500_000_000, rate="plain", interest_ppt=0)
    assert funding.rate_ppt(half, BTC, huge) == 12_500 * 10**6 // 2
    gap = structs.replace(half, cap="margin_gap", cap_factor_ppb=6 * 10**9)
    assert funding.rate_ppt(gap, BTC, -huge) == -6 * 12_500 * 10**6 // 8
    assert funding.rate_ppt(structs.replace(half, cap="none"), BTC, huge) == huge // 8
    own = structs.replace(half, caps=(SymbolCap("BTC", 77),))
    assert funding.rate_ppt(own, BTC, huge) == 77
    margin = FundingRules(impact_margin_atoms=500)
    assert funding.impact_notional_atoms(margin, BTC) == 500 * 40


def test_an_index_of_payments_moves_by_whole_millionths_of_an_atom() -> None:
    rules = FundingRules(quanta_per_lot=1000)
    assert funding.index_step_ppm(rules, 90_000, -15_000) == -(15_000 * 90_000 // (10**6 * 1000))
    assert funding.owed_by_index(rules, -3, 1_000_001) == -(3 * 1000 * 1_000_001 // 10**6)
    assert funding.exposure_atoms(INVERSE_BTC, 300, 2) == 6666


@pytest.mark.parametrize(
    ("formula", "expected"), [("funding_median", 103), ("fair", 102), ("basis_ema", 101), ("index", 100)]
)
def test_marks_of_other_venues(formula: Any, expected: int) -> None:
    """A funded index of 102, a moving basis of 3, a last price of 110."""
    event = Marked(0, 100, 0, None, (1, 2, 110), 101, 104, None, 104, 102, 103)
    assert mark.mark_ticks(MarkRules(formula), event) == expected
    assert mark.mark_ticks(MarkRules(formula, band_ppb=15_000_000), event) == min(expected, 101)


def test_the_index_is_funded_for_the_time_that_is_left_and_moved_by_the_mean_basis() -> None:
    assert mark.funded_index_ticks(1000, -3 * 10**9, 1, 2) == 1000 - 2  # 1000 * -.003 / 2 is -1.5
    assert mark.moving_basis_ticks([3, -8]) == -2  # -5 / 4
    assert mark.moving_basis_ticks([]) == 0


@pytest.mark.parametrize(
    ("rules", "premium", "buys_to", "sells_to"),
    [
        (BandRules("mark", width_ppb=15_000_000), 0, 1000 + 15, 1000 - 15),
        (BandRules("index", inner_ppb=5_000_000, outer_ppb=20_000_000), 3, 900 + 7, 900 - 1),
        (BandRules("index", inner_ppb=5_000_000, outer_ppb=20_000_000), -9, 900, 900 - 13),
        (BandRules("index", inner_ppb=5_000_000, outer_ppb=20_000_000), 99, 900 + 18, 900),
    ],
)
def test_bands_of_orders(rules: BandRules, premium: int, buys_to: int, sells_to: int) -> None:
    """A mark of 1000 and an index of 900, of which .5 % is 4 whole ticks."""
    assert mark.furthest_ticks(rules, 1, 1000, 900, premium) == buys_to
    assert mark.furthest_ticks(rules, -1, 1000, 900, premium) == sells_to
    assert mark.furthest_ticks(BandRules(), 1, 1000, 900, premium) is None


def test_who_pays_funding_pays_the_rounding() -> None:
    assert funding.owed_atoms(1_000_001, 10**6, 1) == 2  # 1.000001
    assert funding.owed_atoms(-1_000_001, 10**6, 1) == -1


def case(lots: int, **changes: Any) -> forced_order.Case:
    """Lots at a mark of 100 that ask for a tenth of their value each; the compartment has half of that."""
    worth = worth_at(BTC, 100)
    fields: dict[str, Any] = {
        "spec": BTC,
        "lots": lots,
        "mark_ticks": 100,
        "worth": worth,
        "charged": lambda after: abs(worth(after)),
        "maintenance": lambda after: abs(worth(after)) // 10,
        "beside": (0, 0),
        "margin_atoms": abs(worth(lots)) // 20,
        "required_atoms": abs(worth(lots)) // 10,
        "equity_atoms": abs(worth(lots)) // 20,
        "is_safe": lambda margin, required: margin >= required,
        "fee_ppb": 0,
        "is_cooling": False,
        "used_atoms": 0,
        "lost_atoms": 0,
    }
    return forced_order.Case(**fields | changes)


def test_a_large_position_is_sent_in_a_chunk_first_and_whole_while_it_cools() -> None:
    rules = LiquidationRules(chunk_threshold_atoms=900 * 1000, chunk_ppb=200_000_000)
    assert forced_order.lots_due(rules, "share", case(9)) == 9
    assert forced_order.lots_due(rules, "share", case(11)) == 11 // 5
    assert forced_order.lots_due(rules, "share", case(11, is_cooling=True)) == 11
    small = LiquidationRules(chunk_threshold_atoms=0, chunk_ppb=200_000_000)
    assert forced_order.lots_due(small, "share", case(4)) == 1


def test_a_ladder_leaves_what_the_lower_tier_holds() -> None:
    spec = structs.replace(BTC, tiers=(Tier(0, 20), Tier(10, 10), Tier(30, 5)), tier_unit="lots")
    rules = LiquidationRules(steps=("ladder",))
    assert [forced_order.lots_due(rules, "ladder", case(n, spec=spec)) for n in (40, 30, 10)] == [10, 20, 0]
    two = LiquidationRules(steps=("ladder",), ladder_tiers=2)
    assert forced_order.lots_due(two, "ladder", case(-40, spec=spec)) == 30


def test_restoring_closes_as_few_lots_as_make_it_safe() -> None:
    """Equity for 20 of 40 lots; with a fee of 1 % of each lot closed 23 are left too many by none."""
    rules = LiquidationRules(steps=("restore",))
    assert forced_order.lots_due(rules, "restore", case(40)) == 20
    with_fee = forced_order.lots_due(rules, "restore", case(40, fee_ppb=10_000_000))
    assert with_fee == 23  # 200 - 23 >= 10 * (40 - 23), and 200 - 22 < 10 * (40 - 22)
    half = LiquidationRules(steps=("restore",), restore_max_ppb=250_000_000)
    assert forced_order.lots_due(half, "restore", case(40)) == 10


def test_an_order_is_bound_by_portion_and_budget_while_there_is_equity() -> None:
    rules = LiquidationRules(steps=("whole",), portion_max_ppb=250_000_000, notional_max_atoms=2_000 * 1000)
    assert forced_order.lots_due(rules, "whole", case(40)) == 10
    assert forced_order.lots_due(rules, "whole", case(40, used_atoms=1_500 * 1000)) == 5
    assert forced_order.lots_due(rules, "whole", case(40, equity_atoms=-1)) == 40


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (LiquidationRules(), None),
        (LiquidationRules(price_limit="bankruptcy"), 95),
        (LiquidationRules(price_limit="band", band_ppb=25_000_000), 98),
        (LiquidationRules(price_limit="fillable", fillable_spread_ppb=600_000_000), 97),  # .5 * .6 * 10
        (LiquidationRules(insurance_lost_max_atoms=10 * 1000), 94),  # 50 and 10 for 10 lots
        (LiquidationRules(price_limit="bankruptcy", insurance_lost_max_atoms=10 * 1000), 95),
    ],
)
def test_a_forced_order_stops_at_the_rulebooks_limit(rules: LiquidationRules, expected: int | None) -> None:
    long = case(10)
    assert forced_order.limit_ticks(rules, long, 10, long.equity_atoms) == expected
    short = forced_order.limit_ticks(rules, case(-10), 10, long.equity_atoms)
    assert short == (None if expected is None else 200 - expected)
    assert forced_order.limit_ticks(rules, case(10, equity_atoms=-1), 10, -1) is None


def test_equity_is_shared_to_the_atom() -> None:
    assert forced_order.equity_shares(10, [1, 1, 1]) == [3, 3, 4]
    assert forced_order.equity_shares(10, [0, 0]) == [10, 0]


def candidate(lots: int, value: int, entry: int, wallet: int, equity: int) -> adl.Candidate:
    return adl.Candidate(FIRST_ACCOUNT, 0, lots, value, entry, wallet, equity, lambda: 60)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("hyperliquid", Fraction(1200 * 200, 500 * 1000)),
        ("bybit", Fraction(1200 * 200, 500 * 1000)),
        ("binance", Fraction(200 * 60, 350 * (300 + 200))),
        ("bitmex", Fraction(200 * 1200, 1000 * 500)),
        ("paper", Fraction(1200 * 1200, 500 * (1200 - 500))),
    ],
)
def test_scores_of_one_winner(score: Any, expected: Fraction) -> None:
    winner = candidate(1, 1200, 1000, 300, 500)
    assert adl.score_ppb(AdlRules(score=score, wallet_min_atoms=350), winner) == 10**9 * expected // 1


def test_only_bitmex_ranks_losers_and_the_paper_nobody_whom_no_price_makes_bankrupt() -> None:
    loser = candidate(-1, -1200, -1000, 700, 500)
    assert adl.score_ppb(AdlRules(score="bitmex"), loser) == 10**9 * -200 * 500 // (1000 * 1200)
    assert adl.queue(AdlRules(score="bitmex"), [loser]) == [(10**9 * 200 * 500 // (1000 * 1200) + 1, 16, 0)]
    assert adl.queue(AdlRules(score="hyperliquid"), [loser]) == []
    assert adl.queue(AdlRules(score="paper"), [candidate(1, 1200, 1000, 1100, 1300)]) == []


def quotes(mark_: int, previous: int | None = None, index: int | None = None) -> adl.Quotes:
    return adl.Quotes(mark_, previous, index)


def test_the_previous_mark_counts_only_when_it_is_kinder_to_the_bankrupt() -> None:
    rules = AdlRules(price="previous_mark")
    assert [adl.rule_ticks(rules, quotes(90, 95), lots) for lots in (1, -1)] == [95, 90]
    assert adl.rule_ticks(rules, quotes(90), 1) == 90
    assert adl.rule_ticks(AdlRules(price="mark"), quotes(90, 95), 1) == 90
    assert adl.rule_ticks(AdlRules(price="index"), quotes(90, 95, 93), 1) == 93


@pytest.mark.parametrize(
    ("rules", "absorber", "bearable", "expected"),
    [
        (AdlRules(price="index"), False, True, 110),
        (AdlRules(price="index", clamp="bankruptcy"), False, True, 105),
        (AdlRules(price="index"), True, True, 105),
        (AdlRules(price="index"), False, False, 105),
        (AdlRules(price="bankruptcy"), False, True, 105),
        (AdlRules(price="bankruptcy", bankruptcy_off_max_ppb=50_000_000), False, True, 105),
        (AdlRules(price="bankruptcy", bankruptcy_off_max_ppb=49_999_999), False, True, 100),
        (AdlRules(price="bankruptcy", bankruptcy_off_max_ppb=49_999_999), False, False, 105),
    ],
)
def test_a_bankrupt_position_closes_at_the_rule_or_where_it_owes_nothing(
    rules: AdlRules, absorber: bool, bearable: bool, expected: int
) -> None:
    """A long at a mark of 100 that is bankrupt at 105, with an index of 110."""
    at = quotes(100, 98, 110)
    assert adl.closing_ticks(rules, at, 1, 105, absorber=absorber, bearable=bearable) == expected


def test_a_lot_costs_its_winner_the_way_from_the_mark_to_the_price() -> None:
    """A long of 10 missing 45 closes 5 above the mark of 90; each lot costs a short 5 against the mark."""
    price = adl.bankruptcy_ticks(BTC, 90, 10, 45 * 1000)
    assert price == 90 + 5
    assert adl.transfer_atoms(BTC, 90, price, -10) == 10 * 5 * 1000
    assert adl.charge_atoms(BTC, 90, price, -1) == 5 * 1000
    short = candidate(-10, -900, -1000, 0, 26 * 1000)
    assert sharing.most_lots(short, sharing.Demand(20, 5 * 1000)) == 26 // 5
    assert sharing.most_lots(short, sharing.Demand(20, 0)) == 10


def givers(*wealth: tuple[int, int, int]) -> list[adl.Candidate]:
    """Shorts of (lots, wallet, equity) by account, each lot worth 100."""
    return [
        adl.Candidate(FIRST_ACCOUNT + k, 0, -lots, -100 * lots, 0, wallet, equity, lambda: 50)
        for k, (lots, wallet, equity) in enumerate(wealth)
    ]


TEN = sharing.Demand(10, 10)
THREE = givers((10, 200, 1000), (10, 100, 500), (10, 50, 100))


@pytest.mark.parametrize(
    ("rules", "lots", "expected"),
    [
        (AdlRules(policy="pro_rata"), 10, [7, 3, 0]),  # of 800, 400 and 50: 6.4, 3.2, .4
        (AdlRules(policy="pro_rata", weights="equity"), 16, [10, 5, 1]),
        (AdlRules(policy="pro_rata", weights="contracts"), 10, [4, 3, 3]),
        (AdlRules(policy="levered"), 10, [4, 4, 2]),  # leverage 1, 2, 10: 800, 800, 500 of 2100
        (AdlRules(policy="capped", haircut_max_ppb=10**9 // 16), 10, [5, 2, 0]),  # 50, 25, 3 atoms
        (AdlRules(policy="capped", keep="maintenance"), 30, [10, 10, 5]),  # the last has 50 to give
        (AdlRules(policy="risk_aware", risk_threshold_ppb=10**9), 10, [0, 5, 5]),  # 800 : 500 * 9, capped
        (AdlRules(policy="risk_aware", risk_power=0), 10, [4, 4, 2]),
        (AdlRules(policy="min_max"), 16, [10, 5, 1]),
        (AdlRules(policy="mirror_descent"), 10, [4, 3, 3]),  # the remainders of three equal thirds
    ],
)
def test_policies_share_lots(rules: AdlRules, lots: int, expected: list[int]) -> None:
    assert sharing.shares(rules, THREE, sharing.Demand(lots, 10)) == expected


def test_iteration_passes_over_whom_it_would_take_below_zero() -> None:
    rules = AdlRules(policy="iteration")
    three = givers((4, 0, 39), (4, 0, 40), (9, 0, 1000))
    assert sharing.shares(rules, three, TEN) == [0, 4, 6]
    met = [c.account for c in sharing.listed(rules, three, 7)]
    assert met == sorted(met, key=lambda account: sharing.scrambled(account, 7))
    assert [c.account for c in sharing.listed(AdlRules(policy="pro_rata"), three[::-1], 7)] == [16, 17, 18]


def naive_min_max(most: list[int], equity: list[int], lots: int) -> list[int]:
    given = [0] * len(most)
    for _ in range(min(lots, sum(most))):
        k = min(
            (k for k in range(len(most)) if given[k] < most[k]),
            key=lambda k: (Fraction(given[k] + 1, equity[k]), k),
        )
        given[k] += 1
    return given


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 400)), min_size=1, max_size=6), st.integers(1, 90)
)
def test_handing_out_whole_levels_is_handing_out_lot_by_lot(
    positions: list[tuple[int, int]], lots: int
) -> None:
    candidates = givers(*((held, 0, equity) for held, equity in positions))
    demand = sharing.Demand(lots, 3)
    most = [sharing.most_lots(c, demand) for c in candidates]
    expected = naive_min_max(most, [equity for _, equity in positions], lots)
    assert sharing.min_max(AdlRules(), candidates, demand) == expected


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
            (FIRST_ACCOUNT + seller, market),
            (FIRST_ACCOUNT + buyer, market),
            lots,
            rounded(lot_value, divisor),
            origin=None,
        )
        assert sum(legs.values()) == 0
        cleared += legs[CLEARING, market.pocket]
        assert cleared == -market.cost_sum
        assert market.cost_sum == sum(cost for _, cost, _ in market.holders.values())
        assert market.lots_sum == 0
