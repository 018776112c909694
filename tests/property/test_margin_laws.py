"""What margin asks for, however things are ordered, and whom it asks."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.venues import USD, Desk, future, perpetual, rulebook
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AmendOrder,
    Borrow,
    CancelAll,
    CancelOrder,
    Command,
    Contribute,
    Deposit,
    HoldAuction,
    LoadPositions,
    MassQuote,
    OpenAccounts,
    PlaceOrder,
    Redeem,
    SetBackstop,
    SetLeverage,
    SetPositionMode,
    SetStatus,
    SettleInstrument,
    SettleVariation,
    Supply,
    Tick,
    TransferMargin,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import (
    HOUSE,
    INSURANCE,
    DeficitOpened,
    LiquidationStarted,
    Rejected,
)
from zerodebt.exchange.instruments import Tier, initial_atoms, maintenance_atoms, margin_table
from zerodebt.exchange.margin import initial_excess_atoms, risk_of
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.units import HOUR_NS, PPB

RICH = 1_000_000
GRID = {"moves_ppb": [-PPB // 10, PPB // 10], "offset_ppb": PPB // 2, "contingency_ppb": PPB // 100}
THREE = (
    perpetual("A", leverage=20),
    perpetual("B", tiers=(Tier(0, 10), Tier(1000 * USD, 5))),
    perpetual("C", leverage=3, margin_floor_atoms_per_lot=USD),
)
trades = st.tuples(st.integers(0, 2), st.sampled_from([BUY, SELL]), st.integers(1, 20))
orders = st.tuples(
    st.integers(0, 2), st.sampled_from([BUY, SELL]), st.integers(1, 20), st.sampled_from([-9, -1, 0])
)


@pytest.mark.spec("MARG-01", kind="PM")
@settings(max_examples=60, deadline=None)
@given(
    held=st.lists(trades, max_size=5),
    resting=st.lists(orders, max_size=5),
    numbers=st.permutations(range(3)),
    sequence=st.randoms(use_true_random=False),
    marks=st.tuples(st.integers(60, 140), st.integers(60, 140), st.integers(60, 140)),
    grid=st.booleans(),
)
def test_margin_is_the_same_in_whatever_order_things_are_kept(
    held: list[Any], resting: list[Any], numbers: list[int], sequence: Any, marks: tuple[int, ...], grid: bool
) -> None:
    """Instruments renumbered, trades and orders made in another sequence."""
    found = []
    for order in (range(3), numbers):
        place = {instrument: n for n, instrument in enumerate(order)}
        desk = Desk(rulebook(portfolio=GRID if grid else {}), tuple(THREE[k] for k in order))
        desk.index(100, 100, 100)
        account, other = desk.open(10_000, RICH)
        for instrument, side, lots in held:
            buyer, seller = (account, other) if side == BUY else (other, account)
            desk.trade(buyer, seller, lots, 100, place[instrument])
        for instrument, side, lots, away in resting:
            desk.do(PlaceOrder(account, place[instrument], side, lots, 100 + side * (away - 1)))
        desk.index(*(marks[k] for k in order))
        risk = risk_of(desk.state, (account, 0))
        found.append(
            (
                risk.equity_atoms,
                risk.maintenance_atoms,
                initial_excess_atoms(desk.state, account),
                risk.is_safe,
            )
        )
        held = sequence.sample(held, len(held))
        resting = sequence.sample(resting, len(resting))
    assert found[0] == found[1]


tiers = st.lists(
    st.tuples(st.integers(1, 400), st.integers(1, 60)), min_size=1, max_size=4, unique_by=lambda row: row[0]
)


@pytest.mark.spec("MARG-04")
@given(
    tiers, st.integers(1, 300), st.integers(1, 40), st.integers(1, 40), st.integers(1, 60), st.integers(0, 9)
)
def test_more_lots_and_a_higher_rate_never_ask_for_less(
    rows: list[tuple[int, int]], price: int, lots: int, more: int, leverage: int, floor: int
) -> None:
    """And two positions apart never ask for more than a larger one: rates rise with size. Up to rounding."""
    bounds = [0, *sorted(bound for bound, _ in rows)]
    rates = sorted((rate for _, rate in rows), reverse=True)
    rates = [rates[0], *rates]
    contract = perpetual(
        tick_value_atoms=7,
        margin_floor_atoms_per_lot=floor,
        tiers=tuple(Tier(bound * 7, rate) for bound, rate in zip(bounds, rates, strict=True)),
    )
    table = margin_table(contract)
    ask = [
        (
            maintenance_atoms(table, price * n * 7, n),
            initial_atoms(table, price * n * 7, n, leverage),
            initial_atoms(table, price * n * 7, n, leverage + 1),
        )
        for n in (lots, more, lots + more)
    ]
    for small in ask[:2]:
        assert small[0] <= ask[2][0]
        assert small[1] <= ask[2][1]
    for maintenance, initial, eased in ask:
        assert eased <= initial
        assert maintenance <= initial
    assert ask[0][0] + ask[1][0] <= ask[2][0] + 1


@pytest.mark.spec("MARG-04")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(trades, min_size=1, max_size=4), orders, st.tuples(*[st.integers(60, 140)] * 3), st.booleans()
)
def test_a_pool_asks_no_more_than_its_parts_and_an_order_more_never_less(
    held: list[Any], order: Any, marks: tuple[int, ...], grid: bool
) -> None:
    """With and without a grid that offsets; each part is an account of its own."""
    desk = Desk(rulebook(portfolio=GRID if grid else {}), THREE, index=(100, 100, 100))
    pool, other, *parts = desk.open(*[RICH] * (2 + len(held)))
    for part, (instrument, side, lots) in zip(parts, held, strict=True):
        for account in (pool, part):
            buyer, seller = (account, other) if side == BUY else (other, account)
            desk.trade(buyer, seller, lots, 100, instrument)
    desk.index(*marks)
    asked = [desk.requirement(account) for account in (pool, *parts)]
    assert asked[0] <= sum(asked[1:]) + len(parts) or not grid, "tiers charge size"
    before = initial_excess_atoms(desk.state, pool)
    instrument, side, lots, away = order
    desk.order(pool, side, lots, marks[instrument] + side * away, instrument=instrument)
    after = initial_excess_atoms(desk.state, pool)
    worse = [part for part in held if part[0] == instrument and part[1] != side]
    assert after <= before or worse
    desk.order(pool, side, lots, marks[instrument] + side * away, instrument=instrument)
    assert initial_excess_atoms(desk.state, pool) <= after or worse
    twice = initial_excess_atoms(desk.state, pool)
    desk.do(PlaceOrder(pool, instrument, -side, lots, marks[instrument] + side * 10))
    flat = all(part[0] != instrument for part in held)
    assert initial_excess_atoms(desk.state, pool) <= twice or not flat, "orders on both sides offset"


@pytest.mark.spec("MARG-09", "MARG-05")
@settings(max_examples=150, deadline=None)
@given(
    price=st.integers(20, 250),
    lots=st.integers(1, 12),
    given_usd=st.integers(200, 3000),
    friend_usd=st.integers(200, 3000),
    side=st.sampled_from([BUY, SELL]),
    isolated=st.booleans(),
)
def test_a_trade_far_from_the_mark_gives_a_friend_no_money_that_is_owed(
    price: int, lots: int, given_usd: int, friend_usd: int, side: Any, isolated: bool
) -> None:
    """The gap counts at once: who gives it away keeps his margin, who gets it cannot take it out."""
    desk = Desk(rulebook("book", "adl", fees={"taker_ppb": 450_123, "maker_ppb": 150_077}), index=(100,))
    friend, giver = desk.open(friend_usd, given_usd)
    if isolated:
        desk.ok(SetLeverage(giver, 0, 5, "isolated"))
    start = desk.cash(friend) + desk.cash(giver)
    first = desk.do(PlaceOrder(friend, 0, -side, lots, price))
    assume(not isinstance(first[0], Rejected))
    desk.do(PlaceOrder(giver, 0, side, lots, price, "ioc"))
    assume(desk.lots(giver))
    pockets = [(friend, 0), (giver, 0), *([(giver, 2)] if isolated else [])]
    for account, pocket in pockets:
        risk = risk_of(desk.state, (account, pocket))
        assert risk.is_safe, f"{account} owes {risk}"
    assert initial_excess_atoms(desk.state, giver) >= 0
    assert sum(desk.equity(*pocket) for pocket in pockets) <= start
    cash = desk.cash(friend)
    most = desk.venue.view.withdrawable_atoms(friend)
    assert most <= max(0, cash)
    assert desk.refused(Withdraw(friend, 0, most + 1)) == RejectReason.BALANCE_TOO_SMALL
    desk.index(100)
    assert not any(isinstance(event, LiquidationStarted) for batch in desk.batches for event in batch.events)


@pytest.mark.spec("CFG-01", kind="SP")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(
                SetLeverage,
                st.integers(16, 18),
                st.just(0),
                st.sampled_from([1, 5, 20]),
                st.sampled_from(["cross", "isolated"]),
            ),
            st.builds(SetStatus, st.just(0), st.booleans(), st.booleans(), st.booleans()),
            st.builds(SetPositionMode, st.integers(16, 18), st.sampled_from(["net", "hedge"])),
            st.builds(SetBackstop, st.just(19), st.just((0,))),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([88, 92, 96, 100]),
)
def test_what_may_change_in_a_run_liquidates_nobody_and_leaves_orders_alone(
    changes: list[Command], price: int
) -> None:
    """Leverage, modes, status and backstop; all else is fixed when the venue opens."""
    desk = Desk(rulebook("book", "backstop", "adl", margin={"hedge_mode": True}), index=(100,))
    long, short, _ = desk.open(100, RICH, 50)
    desk.open(500, role="vault")
    desk.trade(long, short, 10, 100)
    for k in range(3):
        desk.order(long, SELL, 1 + k, 110 + k, reduce_only=True)
        desk.order(short, BUY, 1 + k, 80 - k)
    desk.ok(SetStatus(0, True, True, False))
    desk.index(price)
    for command in changes:
        book, lots = [desk.book(side) for side in (BUY, SELL)], [desk.lots(a) for a in (long, short)]
        owed = [desk.requirement(a) for a in (long, short)]
        equity = [desk.venue.view.equities([a]).tolist() for a in (long, short)]
        events = desk.do(command)
        assert len(events) == 1
        assert type(events[0]).__name__ in (
            "Rejected",
            "LeverageSet",
            "StatusSet",
            "PositionModeSet",
            "BackstopSet",
        )
        assert [desk.book(side) for side in (BUY, SELL)] == book
        assert [desk.lots(a) for a in (long, short)] == lots
        assert [desk.requirement(a) for a in (long, short)] == owed, "maintenance follows a chosen number"
        assert [desk.venue.view.equities([a]).tolist() for a in (long, short)] == equity


@pytest.mark.spec("LIQ-09", kind="MP")
@settings(max_examples=80, deadline=None)
@given(
    bids=st.lists(st.tuples(st.integers(10, 99), st.integers(1, 10)), max_size=4),
    mark=st.integers(94, 97),
    fee_ppb=st.sampled_from([0, 5_000_000]),
    fund=st.integers(0, 50),
    band_ppb=st.sampled_from([0, PPB // 50]),
    opposite=st.booleans(),
)
def test_an_owner_on_both_sides_of_his_liquidation_gains_nothing(
    bids: list[tuple[int, int]], mark: int, fee_ppb: int, fund: int, band_ppb: int, opposite: bool
) -> None:
    """From 94 on 60 - 10 * (100 - mark) >= 0 is no debt, and no bid of his own makes it one.

    A rulebook whose forced orders have no limit at all sells him to his own bid of 10, and others pay.
    """
    rules = rulebook(
        "book",
        "insurance",
        "adl",
        "house",
        fees={"liquidation_ppb": fee_ppb},
        liquidation={"price_limit": "bankruptcy"},
        orders={"band": {"formula": "mark", "width_ppb": band_ppb} if band_ppb else {}},
    )
    desk = Desk(rules, index=(100,))
    desk.ok(Deposit(0, HOUSE, (RICH * USD,)))
    if fund:
        desk.ok(Deposit(0, INSURANCE, (fund * USD,)))
    victim, hedge, bidder = desk.open(60, RICH, RICH)
    (stranger,) = desk.open(RICH)
    desk.trade(victim, hedge if opposite else stranger, 10, 100)
    for price, lots in bids:
        desk.do(PlaceOrder(bidder, 0, BUY, lots, price))
    events = desk.index(mark)
    own = sum(desk.equity(account) for account in (victim, hedge, bidder))
    lost = 0 if opposite else 10 * (100 - mark)
    assert own <= (60 + 2 * RICH - lost) * USD
    assert not any(isinstance(event, DeficitOpened) for event in events)


def trader(**more: Any) -> Desk:
    """Account 16 with 100 is long 10 at 100 and rests a bid; at 96 it has 60 against an initial 48."""
    desk = Desk(rulebook("book", "default_fund", lending={}), (perpetual(), future("WTI")), index=(100, 100))
    account, other = desk.open(100, RICH)
    desk.trade(account, other, 10, 100)
    desk.order(account, BUY, 2, 90)
    desk.index(96, 100)
    return desk


WEAKENING: dict[type, Callable[[Desk], Command]] = {
    Withdraw: lambda desk: Withdraw(16, 0, 10 * USD),
    SetLeverage: lambda desk: SetLeverage(16, 0, 10),
    TransferMargin: lambda desk: TransferMargin(16, 1, 10 * USD),
    PlaceOrder: lambda desk: PlaceOrder(16, 1, BUY, 10, 100),
    AmendOrder: lambda desk: AmendOrder(16, 3, None, 6),
    MassQuote: lambda desk: MassQuote(16, 1, ((99, 10),), ((101, 10),)),
    Contribute: lambda desk: Contribute(16, 10 * USD),
    Supply: lambda desk: Supply(16, 10 * USD),
    Borrow: lambda desk: Borrow(16, 10 * USD),
}
ELSEWHERE: dict[type, str] = {
    HoldAuction: "tests/exchange/test_default_fund.py: a bid that its bidder cannot bear is passed over",
    LoadPositions: "before the first index there is no mark to judge by; the first index liquidates",
}
HARMLESS = {Deposit, Redeem, CancelOrder, CancelAll, OpenAccounts, SetPositionMode, SetBackstop, SetStatus}
OF_THE_VENUE = {UpdateIndex, Tick, SettleInstrument, SettleVariation}


@pytest.mark.spec("MARG-07", kind="T")
def test_every_command_is_known_to_weaken_nobody_or_is_judged() -> None:
    known = {*WEAKENING, *ELSEWHERE, *HARMLESS, *OF_THE_VENUE}
    assert known == set(get_args(Command))


@pytest.mark.spec("MARG-07", kind="T")
@pytest.mark.parametrize("kind", WEAKENING)
def test_a_command_that_would_leave_too_little_margin_is_refused(kind: type) -> None:
    """Less than 10 can be spared, and each of these takes 10 or more."""
    desk = trader()
    if kind is TransferMargin:
        desk = Desk(rulebook("book", "default_fund"), (perpetual(), future("WTI")), index=(100, 100))
        account, other = desk.open(145, RICH)
        desk.ok(SetLeverage(account, 1, 20, "isolated"))
        desk.trade(account, other, 10, 100)
        desk.trade(account, other, 10, 100, 1)
        desk.index(96, 100)
    assert 0 <= initial_excess_atoms(desk.state, 16) < 10 * USD
    reason = desk.refused(WEAKENING[kind](desk))
    assert reason in (RejectReason.MARGIN_TOO_SMALL, RejectReason.BALANCE_TOO_SMALL)


@pytest.mark.spec("MARG-02")
@given(st.integers(1, 12), st.integers(1, 3_000_000), st.integers(1, 11), st.integers(-3, 12))
def test_the_fee_that_is_judged_is_the_fee_that_is_charged(
    makers: int, fee_ppb: int, tick_value: int, less: int
) -> None:
    """It rounds up once a fill: who has an atom less than all of them take is refused."""
    contract = perpetual(tick_value_atoms=tick_value, leverage=1)
    desk = Desk(rulebook(fees={"taker_ppb": fee_ppb}), (contract,), index=(100,))
    taker, other = desk.open(0, RICH)
    needed = makers * (100 * tick_value - (-100 * tick_value * fee_ppb // PPB))
    brought = max(1, needed - less)
    desk.ok(Deposit(0, taker, (brought,)))
    for _ in range(makers):
        desk.order(other, SELL, 1, 100)
    events = desk.do(PlaceOrder(taker, 0, BUY, makers, 100, "ioc"))
    assert isinstance(events[0], Rejected) is (brought < needed)
    if brought >= needed:
        assert initial_excess_atoms(desk.state, taker) == brought - needed


@pytest.mark.spec("LEDG-02", "POS-03", "NUM-03")
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 1000))
def test_loaded_inverse_positions_leave_clearing_at_minus_their_costs(one: int, two: int, price: int) -> None:
    """Values round towards zero, each by itself; what that leaves is on the rounding account."""
    contract = perpetual(
        contract="inverse", tick_value_atoms=100_003, size_max_lots=100, open_interest_max_lots=100
    )
    desk = Desk(rulebook("book", "house"), (contract,))
    a, b, c = desk.open(RICH, RICH, RICH)
    desk.ok(LoadPositions(0, price, (a, b, c), (one + two, -one, -two), (price,) * 3, (1,) * 3, (0,) * 3))
    desk.index(price)
    desk.trade(b, a, one, price)
    desk.tick(HOUR_NS)
    assert audit(desk.batches).findings == ()
