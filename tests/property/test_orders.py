"""Laws of orders that compare two ways to the same end, or look at every price that a day brings."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.laws import Witness
from tests.venues import USD, Desk, fills, perpetual, rulebook
from zerodebt.exchange.commands import BUY, SELL, Command, Deposit, MassQuote, PlaceOrder, SetBackstop, Side
from zerodebt.exchange.events import HOUSE, INSURANCE, Batch, Deleveraged, Event, Filled, TakenOver
from zerodebt.exchange.instruments import order_step_ticks
from zerodebt.exchange.units import PPB, SECOND_NS

RICH = 1_000_000
ODD_FEES = {"maker_ppb": 150_077, "taker_ppb": 450_123}
STEPPED = perpetual(significant_figures=2, tick_decimals=2, lot_decimals=1)
"""From 100 ticks on a price must be a multiple of 10."""


class Watched(Desk):
    """A desk that a witness follows."""

    def do(self, command: Command, *, later_ns: int = 0) -> list[Event]:
        witness = self.__dict__.setdefault("witness", Witness(self.venue))
        witness.watch()
        events = super().do(command, later_ns=later_ns)
        witness.judge(command, Batch(self.venue.seq, self.time_ns, tuple(events)))
        return events


cells = st.tuples(
    st.integers(0, 3),
    st.sampled_from([BUY, SELL]),
    st.sampled_from([1, 3, 10, 40]),
    st.sampled_from([60, 93, 99, 100, 101, 105, 110, 130, 147]) | st.none(),
)
days = st.lists(cells | st.sampled_from([55, 80, 93, 101, 107, 120, 149]), min_size=4, max_size=30)
CAPPED = {"formula": "mark", "width_ppb": PPB // 7, "beyond": "cap"}
RULES: Any = [
    rulebook(*waterfall, orders={"band": CAPPED, "market_slippage_ppb": PPB // 9}, fees=ODD_FEES, **tables)
    for waterfall, tables in (
        (
            ("book", "backstop", "insurance", "adl", "house"),
            {"liquidation": {"backstop_below_ppb": PPB // 2}},
        ),
        (("book", "insurance", "adl", "house"), {"liquidation": {"price_limit": "bankruptcy"}}),
        (("book", "adl", "house"), {"liquidation": {"price_limit": "band", "band_ppb": PPB // 13}}),
    )
]


@pytest.mark.spec("BOOK-14")
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RULES), days)
def test_every_price_is_on_the_step_and_every_size_whole_lots_through_liquidation(
    rules: Any, day: list[Any]
) -> None:
    """Orders that a band caps, market orders and forced ones have limits that no step binds; fills do not."""
    desk = Watched(rules, (STEPPED,))
    desk.index(100)
    (vault,) = desk.open(400, role="vault")
    desk.do(SetBackstop(vault, (0,)))
    desk.ok(Deposit(0, INSURANCE, (30 * USD,)))
    desk.ok(Deposit(0, HOUSE, (10**9 * USD,)))
    people = desk.open(60, 150, 600, RICH)
    desk.trade(people[0], people[3], 10, 100)
    desk.trade(people[3], people[1], 25, 100)
    for step in day:
        if isinstance(step, int):
            events = desk.index(step, later_ns=SECOND_NS)
        else:
            who, side, lots, price = step
            tif: Any = "ioc" if price is None else "gtc"
            events = desk.do(PlaceOrder(people[who], 0, side, lots, price, tif))
        for event in events:
            if isinstance(event, Filled):
                assert event.price_ticks % order_step_ticks(STEPPED, event.price_ticks) == 0, event
                assert type(event.size_lots) is int
                assert event.size_lots >= 1
            elif isinstance(event, Deleveraged | TakenOver):
                assert type(event.lots) is type(event.price_ticks) is int
                assert event.lots
        for side in (BUY, SELL):
            for price, lots in desk.book(side):
                assert price % order_step_ticks(STEPPED, price) == 0
                assert lots >= 1


@pytest.mark.spec("RO-02", kind="MP")
@settings(max_examples=80, deadline=None)
@given(
    held=st.integers(1, 12),
    orders=st.lists(st.tuples(st.integers(101, 103), st.integers(1, 12)), min_size=1, max_size=4),
    takers=st.lists(st.tuples(st.integers(101, 104), st.integers(1, 15)), min_size=1, max_size=4),
)
def test_reduce_only_orders_beyond_the_position_act_as_if_cut_in_queue_order(
    held: int, orders: list[tuple[int, int]], takers: list[tuple[int, int]]
) -> None:
    """Price and then age: who is met first has what the position allows, the last one the rest."""
    traded = []
    left = held
    cut = [0] * len(orders)
    for k in sorted(range(len(orders)), key=lambda k: (orders[k][0], k)):
        cut[k] = min(left, orders[k][1])
        left -= cut[k]
    for sizes in ([lots for _, lots in orders], cut):
        desk = Desk(index=(100,))
        owner, other, taker = desk.open(RICH, RICH, RICH)
        desk.trade(owner, other, held, 100)
        placed = [
            desk.order(owner, SELL, lots, price, reduce_only=True)
            for (price, _), lots in zip(orders, sizes, strict=True)
            if lots
        ]
        for price in (101, 102, 103):
            desk.order(other, SELL, 40, price)
        seen = []
        for price, lots in takers:
            events = desk.ok(PlaceOrder(taker, 0, BUY, lots, price, "ioc"))
            seen.append([(maker in placed, at, n) for maker, at, n in fills(events)])
        traded.append((seen, desk.lots(owner), desk.cash(owner), desk.lots(taker), desk.cash(taker)))
    assert traded[0] == traded[1]


@pytest.mark.spec("POS-02", "NUM-02", kind="MP")
@settings(max_examples=80, deadline=None)
@given(
    side=st.sampled_from([BUY, SELL]),
    slices=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    taker_ppb=st.integers(0, 3_000_000),
    maker_ppb=st.integers(0, 3_000_000),
    price=st.integers(1, 130),
    mark=st.integers(60, 130),
)
def test_an_order_in_slices_costs_what_the_whole_costs_and_never_less(
    side: Any, slices: list[int], taker_ppb: int, maker_ppb: int, price: int, mark: int
) -> None:
    """Fees round up fill by fill: k slices cost up to k - 1 atoms more, opening, closing and again."""
    small = perpetual(tick_value_atoms=7)
    ends = []
    for parts in ([sum(slices)], slices):
        rules = rulebook(fees={"taker_ppb": taker_ppb, "maker_ppb": maker_ppb})
        desk = Desk(rules, (small,), index=(100,))
        taker, maker = desk.open(RICH, RICH)
        for way, at in ((side, price), (-side, 100)):
            desk.order(maker, -way, sum(slices), at)
            for lots in parts:
                desk.ok(PlaceOrder(taker, 0, way, lots, at, "fok"))
        desk.order(maker, -side, sum(slices), price)
        for lots in parts:
            desk.ok(PlaceOrder(taker, 0, side, lots, price, "fok"))
        desk.index(mark)
        ends.append((desk.lots(taker), [desk.equity(account) for account in (taker, maker)], desk.cash(1)))
    (lots, whole, fees), (again, sliced, more) = ends
    most = 3 * (len(slices) - 1)
    assert lots == again
    for before, after in zip(whole, sliced, strict=True):
        assert 0 <= before - after <= most
    assert fees <= more <= fees + 2 * most


@pytest.mark.spec("FEE-02", kind="X")
@pytest.mark.parametrize("seed", range(8))
def test_whoever_trades_with_himself_in_circles_only_pays(seed: int) -> None:
    """Three accounts of one owner, rebates, funding and forced orders: together they never gain."""
    rng = random.Random(seed)
    rules = rulebook(
        "book",
        "insurance",
        "adl",
        "house",
        fees={"maker_ppb": -400_000, "taker_ppb": 450_123, "liquidation_ppb": 5_000_000},
        liquidation={"price_limit": "bankruptcy"},
        funding={"premium": "mid", "impact_notional_atoms": USD},
    )
    desk = Watched(rules, (perpetual(tick_value_atoms=USD // 7),), index=(100,))
    desk.ok(Deposit(0, INSURANCE, (10**6 * USD,)))
    own = desk.open(300, 300, 300)
    best = 3 * 300 * USD
    traded = 0
    for _ in range(60):
        who = rng.choice(own)
        side: Side = rng.choice([BUY, SELL])
        kind = rng.randrange(4)
        if kind == 0:
            desk.do(MassQuote(who, 0, ((rng.randint(95, 99), 9),), ((rng.randint(101, 105), 9),)))
        elif kind == 3:
            desk.index(rng.choice([99, 100, 101]), later_ns=rng.choice([1, 600, 3600]) * SECOND_NS)
        else:
            events = desk.do(PlaceOrder(who, 0, side, rng.randint(1, 30), rng.randint(95, 105)))
            traded += sum(isinstance(event, Filled) for event in events)
        now = sum(desk.equity(account) for account in own)
        assert now <= best, f"{now - best} atoms gained"
        best = now
    assert traded > 5


@pytest.mark.spec("LIQ-03")
def test_a_liquidation_fee_takes_what_is_left_and_no_more() -> None:
    """10 lots from 100 with 60 are sold at 95: 60 - 10 * 5 are left, and 20 % of 950 would be 190."""
    desk = Watched(rulebook("book", "adl", fees={"liquidation_ppb": PPB // 5}))
    desk.index(100)
    a, b = desk.open(60, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(b, BUY, 10, 95)
    (fill,) = [event for event in desk.index(95) if isinstance(event, Filled)]
    assert fill.taker_fee_atoms == (60 - 10 * 5) * USD
    assert desk.cash(a) == 0
