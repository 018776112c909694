"""Index, mark and the averages between them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venues import T0, Desk, hyperliquid, of, perpetual, rulebook
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AmendOrder,
    CancelOrder,
    MassQuote,
    Observation,
    PlaceOrder,
    SetLeverage,
    Tick,
    Trigger,
    UpdateIndex,
)
from zerodebt.exchange.events import Marked, Rejected
from zerodebt.exchange.marks import (
    Average,
    Market,
    MarkInputs,
    Prices,
    add_basis_point,
    band_ticks,
    basis_mean_ticks,
    funded_index_ticks,
    index_ticks,
    mark_ticks,
    move_ppb,
    source_median,
)
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import BandRules, IndexRules, MarkRules, RulesError
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, PPB, PPT, SECOND_NS, weighted_median

RICH = 1_000_000
GOLDEN = Path(__file__).parents[1] / "golden"
MARKS = {v["id"]: v for v in json.loads((GOLDEN / "hyperliquid_mark_price.json").read_text("utf-8"))}


def inputs(basis: int, book: int | None, perp: int | None, ema: int | None) -> MarkInputs:
    return MarkInputs(0, (None, None, None), basis, book, perp, ema)


@pytest.mark.parametrize(
    ("basis", "book", "perp", "ema", "mark"),
    [
        (100, 104, 102, 500, 102),
        (100, 104, None, 103, 103),
        (100, None, 104, 101, 101),
        (100, 104, None, None, (100 + 104) // 2),
        (100, None, 105, None, (100 + 105) // 2),
        (100, None, None, 900, 100),
        (-37, -36, -40, None, -37),
    ],
)
def test_mark_is_the_median_of_what_there_is(
    basis: int, book: int | None, perp: int | None, ema: int | None, mark: int
) -> None:
    assert mark_ticks(MarkRules(), inputs(basis, book, perp, ema)) == mark


def test_published_example_of_two_inputs_and_the_book_average() -> None:
    """hl-mark-02: oracle 10000 less 30, the book's median of 9950, 9960 and 9900, its 30 s average 9955."""
    example = MARKS["hl-mark-02"]["inputs"]
    basis = int(example["oracle"]) + int(example["ema150s_mid_minus_oracle"])
    book = sorted(int(example[key]) for key in ("best_bid", "best_ask", "last_trade"))[1]
    mark = mark_ticks(MarkRules(), inputs(basis, book, None, int(example["ema30s_of_book_median"])))
    assert mark == int(MARKS["hl-mark-02"]["expected"]["mark_price"])


def test_published_example_of_the_average() -> None:
    """hl-ema-01: 10, 20 and 5 held for 1, 1 and half a minute, with a lifetime of 2.5 minutes."""
    vector = MARKS["hl-ema-01"]
    average = Average(sampled_at_ns=0)
    time_ns = 0
    scale = 10**9
    for value, minutes in vector["inputs"]["samples"]:
        time_ns += round(float(minutes) * MINUTE_NS)
        average.add(int(value) * scale, time_ns, 150 * SECOND_NS)
    result = average.value()
    assert result is not None
    assert result / scale == pytest.approx(float(vector["expected"]["ema"]), abs=1e-8)


def test_average_has_no_value_before_time_has_passed_and_ignores_repeats() -> None:
    average = Average()
    average.add(10, 5, SECOND_NS)
    assert average.value() is None
    average.add(10, 5, SECOND_NS)
    assert average.value() is None
    average.add(30, 6, SECOND_NS)
    assert average.value() == 30


@pytest.mark.spec("NUM-03", "NUM-05")
@pytest.mark.parametrize("value", [-38, -37, 0, 37])
def test_constant_value_averages_to_itself(value: int) -> None:
    average = Average(sampled_at_ns=0)
    for k in range(1, 50):
        average.add(value, k * SECOND_NS, 30 * SECOND_NS)
        assert average.value() == value
        assert average.value(divisor=2) == value // 2


@pytest.mark.spec("MARK-05")
def test_index_is_the_weighted_median_of_the_published_example() -> None:
    """hl-oracle-01"""
    vector = json.loads((GOLDEN / "hyperliquid_oracle_price.json").read_text("utf-8"))[0]
    prices = [(int(price), int(weight)) for price, weight in vector["inputs"]["spot_weighted"]]
    assert weighted_median(prices) == int(vector["expected"]["oracle_price"])
    desk = Desk(hyperliquid(), (perpetual(),))
    at = desk.time_ns
    desk.ok(UpdateIndex(tuple(Observation(0, k, price, at) for k, (price, _) in enumerate(prices))))
    assert desk.venue.view.index_ticks(0) == 100


def three_sources() -> Desk:
    sources: Any = [{"name": name, "weight": 1} for name in "abc"]
    return Desk(rulebook(sources=sources), (perpetual(),), index=(100,))


def say(desk: Desk, *prices: tuple[int, int, int]) -> None:
    """Sources say (source, price, age in seconds)."""
    at = desk.time_ns
    desk.ok(
        UpdateIndex(
            tuple(Observation(0, source, price, at - age * SECOND_NS) for source, price, age in prices)
        )
    )


@pytest.mark.spec("MARK-04", "MARK-05")
def test_one_wild_source_does_not_move_the_index() -> None:
    desk = three_sources()
    desk.time_ns += SECOND_NS
    say(desk, (0, 100, 0), (1, 6, 0), (2, 101, 0))
    assert desk.venue.view.index_ticks(0) == 100


@pytest.mark.spec("MARK-02")
def test_source_that_is_too_old_does_not_count_and_the_others_weigh_more() -> None:
    desk = three_sources()
    desk.time_ns += 61 * SECOND_NS
    say(desk, (2, 200, 0))
    assert desk.venue.view.index_ticks(0) == 200
    desk = three_sources()
    desk.time_ns += 60 * SECOND_NS
    say(desk, (2, 200, 0))
    assert desk.venue.view.index_ticks(0) == 100


@pytest.mark.spec("MARK-02", "NUM-08")
def test_index_stays_as_it_was_when_every_source_is_too_old() -> None:
    desk = three_sources()
    desk.tick(10 * MINUTE_NS)
    assert desk.venue.view.index_ticks(0) == 100


@pytest.mark.spec("MARK-03")
def test_observation_that_is_not_newer_is_ignored() -> None:
    desk = three_sources()
    desk.time_ns += SECOND_NS
    say(desk, (0, 500, 1), (1, 500, 2), (2, 500, 1))
    assert desk.venue.view.index_ticks(0) == 100
    say(desk, (0, 500, 0), (1, 500, 0), (2, 500, 0))
    assert desk.venue.view.index_ticks(0) == 500


@pytest.mark.spec("MARK-03")
def test_older_observation_of_a_source_never_replaces_a_newer_one() -> None:
    desk = Desk(index=(100,))
    desk.index(110, later_ns=SECOND_NS)
    desk.ok(UpdateIndex((Observation(0, 0, 90, desk.time_ns - 1),)))
    assert desk.venue.view.index_ticks(0) == 110


@pytest.mark.spec("MARK-02")
def test_observation_from_the_future_is_refused() -> None:
    desk = three_sources()
    command = UpdateIndex((Observation(0, 0, 100, desk.time_ns + 1),))
    assert desk.refused(command) == RejectReason.TIME_RUNS_BACK


def test_only_spot_sources_make_the_index() -> None:
    desk = Desk(hyperliquid(), (perpetual(),), index=(100,))
    market = desk.state.markets[0]
    desk.time_ns += SECOND_NS
    perps = [k for k, source in enumerate(desk.rules.sources) if source.kind == "perp"]
    say(desk, *[(k, 90, 0) for k in perps])
    assert desk.venue.view.index_ticks(0) == 100
    assert source_median(market, desk.rules, "perp", desk.time_ns) == 90


@pytest.mark.spec("MARK-04")
def test_mark_reads_the_book_as_it_stood_before_the_command() -> None:
    """A bid is in the marks of the next index, and what the command itself trades is not."""
    desk = Desk(rulebook(mark={"formula": "median"}), (perpetual(),), index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.order(a, BUY, 1, 90)
    desk.order(b, SELL, 1, 120)
    (marked,) = of(desk.index(100), Marked)
    assert marked.spread == (90, 120, None)
    (marked,) = of(desk.index(100), Marked)
    assert marked.index_basis_ticks == 100 + (90 + 120 - 200) // 2


@pytest.mark.spec("MARK-04")
def test_trades_and_quotes_never_move_the_mark_by_themselves() -> None:
    desk = Desk(rulebook(mark={"formula": "median"}), (perpetual(),), index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 1, 50)
    desk.trade(a, b, 1, 200)
    assert desk.venue.view.mark_ticks(0) == 100
    desk.ok(SetLeverage(a, 0, 5))
    assert desk.venue.view.mark_ticks(0) == 100


def test_mark_stays_inside_the_instruments_range() -> None:
    desk = Desk(rulebook(mark={"formula": "median"}), (perpetual(price_max_ticks=100),), index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.order(a, BUY, 1, 99)
    desk.order(b, SELL, 1, 100)
    for _ in range(3):
        (marked,) = of(desk.index(100), Marked)
        assert 1 <= marked.mark_ticks <= 100


def test_previous_mark_is_the_one_before() -> None:
    desk = Desk(index=(100,))
    (marked,) = of(desk.index(90), Marked)
    assert (marked.previous_mark_ticks, marked.mark_ticks) == (100, 90)
    (marked,) = of(desk.tick(0), Marked)
    assert (marked.previous_mark_ticks, marked.mark_ticks) == (90, 90)


def test_first_update_must_name_every_instrument() -> None:
    desk = Desk(instruments=(perpetual(), perpetual("ETH")))
    desk.open(RICH)
    assert desk.refused(Tick()) == RejectReason.NO_PRICE
    assert desk.refused(PlaceOrder(16, 0, BUY, 1, 100)) == RejectReason.NO_PRICE
    assert desk.refused(UpdateIndex((Observation(0, 0, 100, T0),))) == RejectReason.NO_PRICE


def test_meter_counts_moves_against_the_first_mark_rounded_up() -> None:
    market = Market(0, perpetual())
    assert move_ppb(market, 300) == 0
    market.prices.mark_ticks = 300
    assert move_ppb(market, 301) == 10**9 // 300 + 1
    assert move_ppb(market, 299) == 10**9 // 300 + 1


# The index of several sources


@pytest.mark.parametrize(
    ("rules", "index"),
    [
        (IndexRules(), 100),
        (IndexRules(statistic="mean"), (2 * 100 + 103 + 150) // 4),
        (IndexRules(statistic="mean", outlier_ppb=PPB // 20), (2 * 100 + 103) // 3),
        (IndexRules(statistic="mean", outlier_ppb=PPB // 20, outliers="clamp"), (2 * 100 + 103 + 105) // 4),
        (IndexRules(outlier_ppb=1), 100),
    ],
)
@pytest.mark.spec("MARK-05")
def test_index_by_statistic_and_outlier_rule(rules: IndexRules, index: int) -> None:
    assert index_ticks(rules, [(100, 2), (103, 1), (150, 1)]) == index


def test_mean_and_bounds_of_prices_below_zero_round_down() -> None:
    assert index_ticks(IndexRules(statistic="mean"), [(-100, 1), (-101, 1)]) == -101
    clamped = IndexRules(statistic="mean", outlier_ppb=PPB // 10, outliers="clamp")
    assert index_ticks(clamped, [(-37, 2), (20, 1)]) == (2 * -37 + (-37 + 3)) // 3


PRICES_AND_WEIGHTS = st.lists(st.tuples(st.integers(-50, 200), st.integers(1, 4)), min_size=1, max_size=6)


@pytest.mark.spec("MARK-05")
@given(
    PRICES_AND_WEIGHTS,
    st.sampled_from(["median", "mean"]),
    st.sampled_from(["drop", "clamp"]),
    st.sampled_from([0, 1, PPB // 100, PPB // 2, 2 * PPB]),
)
def test_index_lies_among_its_sources_and_within_the_outlier_bound(
    fresh: list[tuple[int, int]], statistic: Any, outliers: Any, outlier_ppb: int
) -> None:
    index = index_ticks(IndexRules(statistic, outlier_ppb, outliers), fresh)
    assert index is not None
    prices = [price for price, _ in fresh]
    assert min(prices) <= index <= max(prices)
    middle = weighted_median(fresh)
    if outlier_ppb:
        assert abs(index - middle) * PPB <= abs(middle) * outlier_ppb


def test_index_without_a_fresh_source_is_none() -> None:
    assert index_ticks(IndexRules(), []) is None


def own_book(weight: int, **index: Any) -> Desk:
    sources: Any = [
        {"name": "outside", "weight": 1},
        {"name": "elsewhere", "weight": 1},
        {"name": "here", "weight": weight, "kind": "own"},
    ]
    return Desk(rulebook(sources=sources, index=index), (perpetual(),), index=(100,))


def crash_the_book(desk: Desk) -> Marked:
    """Quotes of 49 and 51 stand here while every other venue says 100."""
    a, b = desk.open(RICH, RICH)
    desk.order(a, BUY, 1, 49)
    desk.order(b, SELL, 1, 51)
    (marked,) = of(desk.index(100), Marked)
    return marked


@pytest.mark.spec("MARK-04", "MARK-05")
def test_own_book_index_follows_the_book_and_an_index_of_several_venues_does_not() -> None:
    """The known-bad design: whoever moves this book moves the price at which accounts here are judged."""
    followed = crash_the_book(own_book(weight=3))
    assert (followed.index_ticks, followed.mark_ticks, followed.reference_ticks) == (50, 50, 100)
    stood = crash_the_book(own_book(weight=1))
    assert (stood.index_ticks, stood.mark_ticks, stood.reference_ticks) == (100, 100, 100)
    alone = crash_the_book(three_sources())
    assert (alone.index_ticks, alone.reference_ticks) == (100, None)


def test_share_of_the_own_book_in_a_mean_is_its_weight() -> None:
    assert crash_the_book(own_book(weight=2, statistic="mean")).index_ticks == (100 + 100 + 2 * 50) // 4


def test_own_book_may_speak_by_its_last_price() -> None:
    desk = own_book(weight=3, own="last")
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 1, 60)
    (marked,) = of(desk.index(100), Marked)
    assert marked.index_ticks == 60


@pytest.mark.spec("MARK-02")
def test_own_book_that_lost_a_side_counts_until_its_price_is_too_old() -> None:
    desk = own_book(weight=3)
    crash_the_book(desk)
    order = next(iter(desk.state.books[0].walk(BUY)))
    desk.ok(CancelOrder(order.account, order.order_id))
    desk.index(100, later_ns=60 * SECOND_NS)
    assert desk.venue.view.index_ticks(0) == 50
    desk.index(100, later_ns=1)
    assert desk.venue.view.index_ticks(0) == 100


def test_nobody_speaks_for_the_own_book_but_the_venue() -> None:
    desk = own_book(weight=3)
    desk.time_ns += SECOND_NS
    say(desk, (0, 100, 0), (1, 100, 0), (2, 7, 0))
    assert desk.venue.view.index_ticks(0) == 100


# Marks by formula

FORMULAS = ("median", "index", "funding_median", "fair", "basis_ema")
TICKS = st.integers(-300, 300)
MAYBE = st.none() | TICKS


@given(
    st.sampled_from(FORMULAS),
    st.sampled_from([0, PPB // 200, PPB // 20]),
    st.builds(
        MarkInputs, TICKS, st.tuples(st.none(), st.none(), MAYBE), TICKS, MAYBE, MAYBE, MAYBE, TICKS, MAYBE
    ),
)
@pytest.mark.spec("MARK-04")
def test_mark_lies_among_its_inputs_and_inside_its_band(formula: Any, band: int, inputs: MarkInputs) -> None:
    index = inputs.index_ticks
    given_ticks = [
        *(index, inputs.spread[2], inputs.index_basis_ticks, inputs.book_median_ticks),
        *(
            inputs.perp_median_ticks,
            inputs.book_ema_ticks,
            inputs.funded_index_ticks,
            inputs.basis_mean_ticks,
        ),
    ]
    known = [x for x in given_ticks if x is not None]
    mark = mark_ticks(MarkRules(formula=formula, band_ppb=band), inputs)
    assert min(known) <= mark <= max(known)
    if band:
        assert abs(mark - index) * PPB <= abs(index) * band


def test_band_cuts_a_mark_that_leaves_it() -> None:
    rules = MarkRules(formula="basis_ema", band_ppb=PPB * 15 // 1000)
    for basis, mark in ((10_300, 10_150), (9_000, 9_850), (10_100, 10_100)):
        assert mark_ticks(rules, MarkInputs(10_000, (None, None, None), basis)) == mark


def test_index_with_funding_is_ahead_by_what_is_still_to_be_paid() -> None:
    for hours, price in ((8, 10_025), (4, 10_012), (0, 10_000)):
        assert funded_index_ticks(10_000, PPT // 400, hours * HOUR_NS, 8 * HOUR_NS) == price
    assert funded_index_ticks(10_000, -PPT // 400, 4 * HOUR_NS, 8 * HOUR_NS) == 10_000 - 13


def test_moving_basis_takes_a_point_a_period_and_keeps_the_newest() -> None:
    rules = MarkRules(basis_points=3, basis_sample_ns=10)
    prices = Prices()
    for time_ns, doubled in ((5, 1), (10, 2), (25, 4), (29, 99), (31, 6)):
        add_basis_point(prices, rules, doubled, time_ns)
    assert prices.basis_points == [2, 4, 6]
    assert basis_mean_ticks(prices.basis_points) == (2 + 4 + 6) // 6
    assert basis_mean_ticks([-1]) == -1


def funded(formula: str, **more: Any) -> Desk:
    """A venue of hourly funding whose book stands at 1100 and last traded there, with an index of 1000."""
    funding = more | {
        "premium": "mid",
        "rate": "plain",
        "interest_ppt": 0,
        "divisor": 1,
        "cap_ppt": PPT // 100,
    }
    mark = {"formula": formula, "basis_points": 2, "basis_sample_ns": MINUTE_NS}
    desk = Desk(rulebook(mark=mark, funding=funding), (perpetual(),), index=(1000,))
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 1, 1100)
    desk.order(a, BUY, 1, 1090)
    desk.order(b, SELL, 1, 1110)
    return desk


def test_mark_with_funding_decays_to_the_index_at_the_next_payment() -> None:
    """The first rate is capped at 1 %: an hour of it is 10 ticks, a quarter of an hour 2.5."""
    desk = funded("fair")
    hour = HOUR_NS - desk.time_ns % HOUR_NS
    (marked,) = of(desk.index(1000, later_ns=hour), Marked)
    assert marked.mark_ticks == 1000
    for later, mark in ((1, 1009), (HOUR_NS // 2 - 1, 1005), (HOUR_NS // 4, 1002), (HOUR_NS // 4, 1000)):
        (marked,) = of(desk.index(1000, later_ns=later), Marked)
        assert (marked.mark_ticks, marked.funded_index_ticks) == (mark, mark)


def test_mark_with_funding_is_the_index_while_a_payment_is_overdue() -> None:
    """Time steps over a payment: at the mark that comes before it nothing is left to be paid."""
    desk = funded("fair")
    desk.index(1000, later_ns=HOUR_NS)
    (marked,) = of(desk.index(1000, later_ns=2 * HOUR_NS), Marked)
    assert marked.mark_ticks == 1000


def test_funding_median_reads_funding_basis_and_last_price() -> None:
    desk = funded("funding_median")
    (marked,) = of(desk.index(1000), Marked)
    assert (marked.funded_index_ticks, marked.basis_mean_ticks, marked.spread[2]) == (1000, 1100, 1100)
    assert marked.mark_ticks == 1100
    (marked,) = of(desk.index(1060, later_ns=MINUTE_NS), Marked)
    assert marked.basis_mean_ticks == 1060 + (2 * (1100 - 1000) + 2 * (1100 - 1060)) // 4
    assert marked.mark_ticks == 1100


def test_formulas_say_only_what_they_use() -> None:
    for formula in ("median", "index", "basis_ema"):
        (marked,) = of(funded(formula).index(1000), Marked)
        assert (marked.funded_index_ticks, marked.basis_mean_ticks) == (None, None)


@pytest.mark.spec("DET-02")
def test_snapshot_keeps_what_the_next_mark_and_rate_need() -> None:
    padded = {"average": "padded", "tail_trim_ppm": 100_000, "sample_ns": 15 * MINUTE_NS}
    desk = funded("funding_median", accrual="index", **padded)
    desk.index(1000, later_ns=HOUR_NS)
    desk.index(1010, later_ns=MINUTE_NS)
    twin = desk.restored()
    assert twin.state_hash() == desk.venue.state_hash()
    said = UpdateIndex((Observation(0, 0, 1020, desk.time_ns + HOUR_NS),))
    assert twin.apply(said, desk.time_ns + HOUR_NS) == desk.venue.apply(said, desk.time_ns + HOUR_NS)
    assert twin.state_hash() == desk.venue.state_hash()


# Price bands of orders


@given(
    st.sampled_from(["mark", "index"]),
    st.sampled_from([BUY, SELL]),
    *(st.integers(-500, 500) for _ in range(3)),
    *(st.integers(0, PPB // 2) for _ in range(3)),
)
def test_band_is_never_inside_its_middle_nor_beyond_its_width(
    formula: Any, side: int, mark: int, index: int, premium: int, width: int, inner: int, outer: int
) -> None:
    furthest = band_ticks(BandRules(formula, width, inner, outer), side, mark, index, premium)
    assert furthest is not None
    middle, share = (mark, width) if formula == "mark" else (index, outer)
    assert 0 <= side * (furthest - middle) * PPB <= abs(middle) * share


def test_sell_limit_of_an_index_band_mirrors_the_buy_limit() -> None:
    """Index 100, 2 % inside and 5 % outside: a discount of 2 lets sells go down to 96, a premium none."""
    rules = BandRules("index", 0, PPB * 2 // 100, PPB * 5 // 100)
    for premium, least in ((-2, 96), (-9, 95), (0, 98), (5, 100)):
        assert band_ticks(rules, SELL, 0, 100, premium) == least


def banded(beyond: str, **orders: Any) -> Desk:
    band = {"formula": "mark", "width_ppb": PPB // 10, "beyond": beyond}
    desk = Desk(rulebook(orders={"band": band, **orders}), (perpetual(**ORDERS_ON_TENS),), index=(1000,))
    desk.open(RICH, RICH)
    return desk


ORDERS_ON_TENS: dict[str, Any] = {"significant_figures": 3, "tick_decimals": 1}
"""Orders above 1000 ticks use every tenth price."""


def test_order_beyond_the_band_is_refused_and_one_at_its_edge_is_not() -> None:
    desk = banded("refuse")
    for side, edge, beyond in ((BUY, 1100, 1110), (SELL, 900, 899)):
        assert desk.refused(PlaceOrder(16, 0, side, 1, beyond)) == RejectReason.PRICE_BEYOND_BAND
        order = desk.order(16, side, 1, edge)
        amended = AmendOrder(16, order, price_ticks=beyond)
        assert desk.refused(amended) == RejectReason.PRICE_BEYOND_BAND
        desk.ok(CancelOrder(16, order))
    assert desk.refused(MassQuote(16, 0, ((900, 1),), ((899, 1),))) == RejectReason.PRICE_BEYOND_BAND
    desk.ok(MassQuote(16, 0, ((1, 1),), ((100_000, 1),)))


def test_resting_order_that_the_band_has_left_may_still_shrink() -> None:
    desk = banded("refuse")
    order = desk.order(16, BUY, 2, 1100)
    desk.index(500)
    desk.ok(AmendOrder(16, order, size_lots=1))
    assert desk.book(BUY) == [(1100, 1)]


def test_order_beyond_a_band_that_caps_rests_at_its_edge_on_the_step() -> None:
    desk = banded("cap")
    desk.index(1009)
    desk.order(16, BUY, 1, 2000)
    assert desk.book(BUY) == [(1100, 1)]
    desk = banded("cap")
    desk.index(1009)
    desk.order(16, SELL, 1, 5)
    assert desk.book(SELL) == [(909, 1)]


@pytest.mark.parametrize(("slippage", "left"), [(0, [(1110, 1)]), (PPB // 20, [(1060, 1), (1110, 1)])])
def test_market_order_stops_at_the_nearer_of_band_and_slippage(slippage: int, left: Any) -> None:
    desk = banded("cap", market_slippage_ppb=slippage)
    desk.index(1010)
    for price in (1050, 1060, 1110):
        desk.order(16, SELL, 1, price)
    desk.index(1000)
    desk.order(17, BUY, 3)
    assert desk.book(SELL) == left


def test_stop_whose_order_is_beyond_the_band_is_refused_when_it_fires() -> None:
    desk = banded("refuse")
    desk.ok(PlaceOrder(16, 0, BUY, 1, 2000, trigger=Trigger("stop", "mark", 1200)))
    (refused,) = of(desk.index(1200), Rejected)
    assert refused.reason == RejectReason.PRICE_BEYOND_BAND


def test_index_band_follows_the_average_premium() -> None:
    """The book stands 4 % above the index: 2 % and the premium would be 6 %, the outer bound is 5 %."""
    band = {"formula": "index", "inner_ppb": PPB * 2 // 100, "outer_ppb": PPB * 5 // 100}
    desk = Desk(rulebook(orders={"band": band}), (perpetual(),), index=(1000,))
    desk.open(RICH, RICH)
    assert desk.refused(PlaceOrder(16, 0, BUY, 1, 1021)) == RejectReason.PRICE_BEYOND_BAND
    desk.order(16, BUY, 1, 1020)
    desk.order(17, SELL, 1, 1060)
    desk.index(1000)
    desk.order(16, BUY, 1, 1050)
    assert desk.refused(PlaceOrder(16, 0, BUY, 1, 1051)) == RejectReason.PRICE_BEYOND_BAND


def test_band_without_a_width_is_no_rulebook() -> None:
    with pytest.raises(RulesError, match=r"band\.width_ppb is 0, but the band's formula is 'mark'"):
        rulebook(orders={"band": {"formula": "mark"}})
    with pytest.raises(RulesError, match=r"band\.outer_ppb is 0, but the band's formula is 'index'"):
        rulebook(orders={"band": {"formula": "index"}})
