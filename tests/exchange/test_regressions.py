"""What was once broken: each test is the shortest command list that showed it."""

from typing import Any

import pytest
from msgspec import structs

from tests.venues import ASSETS, USD, Desk, fills, future, of, perpetual, rulebook, spot
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AmendOrder,
    CancelAll,
    CancelOrder,
    Command,
    Deposit,
    LoadPositions,
    MassQuote,
    Observation,
    PlaceOrder,
    SetBackstop,
    SetLeverage,
    SetStatus,
    SettleInstrument,
    TransferMargin,
    Trigger,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import (
    FEES,
    HOUSE,
    INSURANCE,
    DeficitOpened,
    Deleveraged,
    Filled,
    FundingSet,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    StagePaid,
    TriggerFired,
    WorkLeft,
)
from zerodebt.exchange.instruments import Tier, budget_error
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import RulesError
from zerodebt.exchange.units import HOUR_NS, INT64_MAX, SECOND_NS
from zerodebt.exchange.venue import Venue
from zerodebt.exchange.waterfall import adl

FULL = ("book", "backstop", "insurance", "adl", "socialise", "house")


def test_settling_a_future_with_orders_but_no_positions_does_not_crash() -> None:
    desk = Desk(rulebook(), (future(),), index=(100,))
    (a,) = desk.open(1000)
    desk.order(a, BUY, 1, 90)
    desk.ok(SettleInstrument(0, 95))
    assert desk.book(BUY) == []


def test_settlement_returns_the_margin_of_an_isolated_position() -> None:
    desk = Desk(rulebook(), (future(),), index=(100,))
    a, b = desk.open(1000, 1000)
    desk.ok(SetLeverage(a, 0, 10, "isolated"))
    desk.trade(a, b, 10, 100)
    desk.ok(SettleInstrument(0, 95))
    assert desk.cash(a, 2) == 0
    assert desk.cash(a) == (1000 - 10 * 5) * USD


@pytest.mark.spec("RO-01")
def test_amending_a_reduce_only_order_into_the_book_never_flips_the_position() -> None:
    desk = Desk(rulebook(), (perpetual(),), index=(100,))
    a, b, c = desk.open(10_000, 10_000, 10_000)
    desk.trade(a, b, 5, 100)
    ro = desk.order(a, SELL, 5, 110, reduce_only=True)
    desk.order(c, BUY, 20, 100)
    desk.order(a, SELL, 3, 100)  # position is 2 now
    assert desk.lots(a) == 2
    desk.do(AmendOrder(a, ro, 100))
    assert desk.lots(a) >= 0


@pytest.mark.spec("BOOK-12")
def test_post_only_order_never_takes_through_an_amend() -> None:
    desk = Desk(rulebook(), (perpetual(),), index=(100,))
    a, b = desk.open(10_000, 10_000)
    desk.order(b, SELL, 5, 101)
    po = desk.order(a, BUY, 5, 99, post_only=True)
    events = desk.do(AmendOrder(a, po, 101))
    assert not fills(events)


@pytest.mark.spec("LEDG-04")
def test_refused_change_of_leverage_leaves_the_mode_alone() -> None:
    desk = Desk(rulebook(), (perpetual(), perpetual("ETH")), index=(100, 100))
    a, b = desk.open(60, 10_000)
    desk.trade(a, b, 10, 100)
    desk.index(97, 100)  # equity 60 - 30 = 30, initial 970 / 20 = 48.5, maintenance 24.25
    assert desk.refused(SetLeverage(a, 1, 10, "isolated")) == RejectReason.MARGIN_TOO_SMALL


@pytest.mark.spec("MARG-07")
def test_mass_quote_on_spot_leaves_the_margin_of_positions_alone() -> None:
    desk = Desk(rulebook(), (perpetual(), spot()), index=(100, 10))
    a, b = desk.open(1000, 10_000)
    desk.ok(Deposit(1, b, (1_000_000,)))
    desk.trade(a, b, 100, 100)  # initial requirement 10,000 / 20 = 500
    assert desk.refused(PlaceOrder(a, 1, BUY, 90, 10)) == RejectReason.BALANCE_TOO_SMALL
    assert desk.refused(MassQuote(a, 1, ((10, 90),), ())) == RejectReason.BALANCE_TOO_SMALL


def test_spot_quote_filled_leaves_no_negative_wallet() -> None:
    desk = Desk(rulebook(fees={"maker_ppb": 1_000_000}), (perpetual(), spot()), index=(100, 10))
    a, b = desk.open(1000, 10_000)
    desk.ok(Deposit(1, b, (1_000_000,)))
    desk.do(MassQuote(a, 1, ((10, 100),), ()))
    desk.do(PlaceOrder(b, 1, SELL, 100, tif="ioc"))
    assert desk.cash(a) >= 0


def test_spot_quotes_on_two_markets_do_not_promise_the_same_coins_twice() -> None:
    desk = Desk(rulebook(), (spot(), spot("COIN/2")), index=(10, 10))
    a, b = desk.open(10_000, 10_000)
    desk.ok(Deposit(1, a, (10_000,)))
    desk.do(MassQuote(a, 0, (), ((11, 10),)))
    desk.do(MassQuote(a, 1, (), ((11, 10),)))
    desk.do(PlaceOrder(b, 0, BUY, 10, tif="ioc"))
    desk.do(PlaceOrder(b, 1, BUY, 10, tif="ioc"))
    assert desk.cash(a, 1) >= 0


@pytest.mark.spec("NUM-06")
def test_open_interest_cap_holds_when_takers_flip() -> None:
    desk = Desk(rulebook(), (perpetual(open_interest_max_lots=20, size_max_lots=20),), index=(100,))
    a, b, c, d, e = desk.open(10_000, 10_000, 10_000, 10_000, 10_000)
    desk.trade(a, b, 10, 100)
    desk.trade(d, e, 10, 100)
    desk.order(c, BUY, 20, 100)
    desk.do(PlaceOrder(a, 0, SELL, 20, 100, "ioc"))
    assert desk.venue.view.open_interest_lots(0) <= 20


@pytest.mark.spec("LIQ-02")
def test_bankrupt_account_is_liquidated_under_book_backstop_house() -> None:
    desk = Desk(rulebook("book", "backstop", "house"), (perpetual(),), index=(100,))
    (vault,) = desk.open(10_000, role="vault")
    desk.ok(SetBackstop(vault, (0,)))
    desk.ok(Deposit(0, HOUSE, (10_000 * USD,)))
    a, b, c = desk.open(60, 10_000, 10_000)
    desk.trade(a, b, 10, 100)
    desk.order(c, BUY, 10, 85)
    desk.index(90)  # equity 60 - 100
    assert desk.equity(a) >= 0


@pytest.mark.spec("LIQ-02")
def test_vault_that_is_no_backstop_is_liquidated_like_anybody() -> None:
    desk = Desk(rulebook(*FULL), (perpetual(),), index=(100,))
    (vault,) = desk.open(60, role="vault")
    b, _c = desk.open(10_000, 10_000)
    desk.trade(vault, b, 10, 100)
    desk.index(90)
    assert desk.equity(vault) >= 0


@pytest.mark.spec("LIQ-02")
def test_positions_of_a_vault_always_answer_together() -> None:
    desk = Desk(rulebook(*FULL), (perpetual(),), index=(100,))
    (vault,) = desk.open(1_000, role="vault")
    assert desk.refused(SetLeverage(vault, 0, 20, "isolated")) == RejectReason.MODE_HAS_POSITION


@pytest.mark.spec("LIQ-03")
def test_fee_of_closing_an_isolated_position_makes_nobody_bankrupt() -> None:
    desk = Desk(rulebook(*FULL, fees={"taker_ppb": 1_000_000}), (perpetual(),), index=(100,))
    a, b = desk.open(52, 10_000)
    desk.ok(SetLeverage(a, 0, 20, "isolated"))
    desk.trade(a, b, 10, 100)  # margin 50, fee 1, wallet 1
    desk.ok(Withdraw(a, 0, desk.cash(a)))
    desk.order(b, BUY, 10, 95)
    events = desk.do(PlaceOrder(a, 0, SELL, 10, tif="ioc"))  # loses 50: nothing is left for the fee
    events += desk.index(100)
    assert not of(events, DeficitOpened)
    assert desk.cash(a) >= 0


@pytest.mark.spec("WFALL-08")
def test_socialised_loss_leaves_no_winner_below_zero() -> None:
    desk = Desk(rulebook("book", "socialise"), (perpetual(), perpetual("ETH")), index=(100, 100))
    a, b, c, d = desk.open(60, 10_000, 61, 10_000)
    desk.ok(SetLeverage(c, 1, 20, "isolated"))
    desk.trade(c, d, 10, 100, instrument=1)
    desk.trade(a, b, 10, 100)
    desk.order(d, BUY, 10, 90)
    events = desk.index(90, 150)
    assert [deficit.account for deficit in of(events, DeficitOpened)] == [a]
    for account in (a, b, c, d):
        assert desk.equity(account) >= 0, account


@pytest.mark.spec("WFALL-08")
def test_selling_coins_on_spot_is_no_gain_to_be_socialised() -> None:
    desk = Desk(rulebook("book", "socialise"), (perpetual(), spot()), index=(100, 10))
    a, b, c, d = desk.open(60, 10_000, 0, 10_000)
    desk.ok(Deposit(1, c, (10_000,)))
    desk.order(d, BUY, 10, 10, instrument=1)
    desk.ok(PlaceOrder(c, 1, SELL, 10, tif="ioc"))  # at the mark: no profit
    desk.trade(a, b, 10, 100)
    desk.order(d, BUY, 10, 90)
    events = desk.index(90, 10)
    assert c not in [paid.payer for paid in of(events, StagePaid)]


@pytest.mark.spec("FEE-01")
def test_rebate_above_the_taker_fee_is_no_rulebook() -> None:
    with pytest.raises(RulesError, match="rebate of 300000 is more than the taker pays"):
        rulebook(fees={"maker_ppb": -300_000, "taker_ppb": 100_000})


@pytest.mark.spec("DET-02")
def test_snapshot_keeps_the_order_of_an_accounts_orders() -> None:
    desk = Desk(rulebook(), (perpetual(),), index=(100,))
    (a,) = desk.open(10_000)
    first = desk.order(a, BUY, 1, 90)
    desk.order(a, BUY, 1, 91)
    desk.ok(AmendOrder(a, first, 92))
    twin = desk.restored()
    assert twin.apply(CancelAll(a), desk.time_ns) == desk.venue.apply(CancelAll(a), desk.time_ns)


@pytest.mark.spec("TRIG-04")
def test_closing_a_position_takes_its_reduce_only_orders_with_it() -> None:
    desk = Desk(rulebook(), (perpetual(),), index=(100,))
    a, b = desk.open(10_000, 10_000)
    desk.trade(a, b, 5, 100)
    desk.order(a, SELL, 5, 110, reduce_only=True)
    desk.ok(PlaceOrder(a, 0, SELL, 5, trigger=Trigger("stop", "mark", 90), reduce_only=True))
    desk.trade(b, a, 5, 100)
    assert desk.lots(a) == 0
    assert not desk.venue.view.orders(a, 0)
    assert not desk.state.armed


@pytest.mark.spec("NUM-06")
@pytest.mark.parametrize(
    "changes",
    [
        {"tiers": (Tier(0, 20), Tier(10**19, 10))},
        {"margin_floor_atoms_per_lot": 2**62},
        {"margin_floor_atoms_per_lot": -1},
    ],
)
def test_budget_covers_every_number_of_an_instrument(changes: dict[str, Any]) -> None:
    assert budget_error(perpetual(**changes)) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"base_asset": -1},
        {"base_asset": 9},
        {"lot_atoms": 0},
        {"lot_atoms": 2**62},
        {"settle_asset": 9},
        {"base_asset": 0},
    ],
)
def test_impossible_spot_instruments_are_refused_at_load(changes: dict[str, Any]) -> None:
    with pytest.raises(RulesError):
        Desk(rulebook(), (spot(**changes),))


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (AmendOrder(999, 999, 5), RejectReason.UNKNOWN_ACCOUNT),
        (CancelOrder(999, 999), RejectReason.UNKNOWN_ACCOUNT),
        (TransferMargin(16, 0, 0), RejectReason.WRONG_KIND),
        (
            PlaceOrder(16, 0, BUY, 1, None, "ioc", True, trigger=Trigger("stop", "mark", 10**9)),
            RejectReason.PRICE_OUT_OF_RANGE,
        ),
        (
            LoadPositions(9, 100, (16, 17), (1, -1), (100, 100), (1, 1), (0, 0)),
            RejectReason.UNKNOWN_INSTRUMENT,
        ),
        (MassQuote(16, 0, ((10**9, 1), (100, 0)), ()), RejectReason.SIZE_NOT_POSITIVE),
        (Deposit(0, FEES, (5,)), RejectReason.NOT_A_CUSTOMER),
    ],
)
def test_first_reason_in_the_declared_order_answers(command: Command, reason: RejectReason) -> None:
    desk = Desk(rulebook(), (perpetual(),), index=(100,))
    desk.open(1000, 1000)
    assert desk.refused(command) == reason


@pytest.mark.spec("FUND-03")
def test_two_funding_stamps_inside_one_step_of_time_both_apply() -> None:
    desk = Desk(rulebook(), (perpetual(),), index=(100,))
    a, b = desk.open(10_000, 10_000)
    desk.trade(a, b, 10, 100)
    events = desk.tick(3 * HOUR_NS)
    (paid,) = of(events, FundingSet)
    assert paid.intervals == 3
    assert desk.cash(b) - desk.cash(a) == 2 * 3 * 10 * 100 * USD * 12_500_000 // 10**12


@pytest.mark.spec("BOOK-15")
def test_decrement_says_what_became_of_the_takers_lots() -> None:
    desk = Desk(rulebook(), (perpetual(),), index=(100,))
    a, _b = desk.open(10_000, 10_000)
    desk.order(a, SELL, 4, 100)
    events = desk.ok(PlaceOrder(a, 0, BUY, 10, 100, self_trade="decrement"))
    (accepted,) = of(events, OrderAccepted)
    taker = [
        e for e in events if isinstance(e, (OrderReduced, OrderClosed)) and e.order_id == accepted.order_id
    ]
    resting = desk.venue.view.orders(a, 0)[0][3]
    assert resting == 6
    assert taker, "10 accepted, nothing filled, 6 rest, and no event says where 4 went"


@pytest.mark.spec("MARK-02")
def test_first_index_that_is_too_old_is_refused() -> None:
    desk = Desk(rulebook(), (perpetual(),))
    assert (
        desk.refused(UpdateIndex((Observation(0, 0, 100, desk.time_ns - 61 * SECOND_NS),)))
        == RejectReason.NO_PRICE
    )


@pytest.mark.spec("NUM-06")
def test_move_meter_never_leaves_its_bits() -> None:
    desk = Desk(
        rulebook(),
        (future(price_max_ticks=1_000_000, price_min_ticks=-1_000_000, open_interest_max_lots=100_000),),
    )
    _a, _b = desk.open(1_000, 1_000)
    for k in range(1_200):
        desk.index(1_000_000 if k % 2 else 0)
    assert 0 <= desk.state.counters.meter_ppb <= 2**60


def test_isolated_buy_at_the_mark_needs_no_more_than_its_initial_margin() -> None:
    desk = Desk(rulebook(), (perpetual(),), index=(100,))
    a, b = desk.open(50, 10_000)
    desk.ok(SetLeverage(a, 0, 20, "isolated"))
    desk.trade(a, b, 10, 100)
    assert desk.lots(a) == 10
    assert desk.cash(a, 2) == 10 * 100 * USD // 20


@pytest.mark.spec("MARG-07", "LIQ-12")
def test_a_resting_order_opens_an_isolated_position_with_margin_from_the_wallet() -> None:
    desk = Desk(rulebook("book", "adl"), index=(100,))
    a, b = desk.open(1000, 1000)
    desk.ok(SetLeverage(a, 0, 20, "isolated"))
    desk.order(a, BUY, 6, 100)
    desk.order(a, BUY, 4, 99)
    desk.order(b, SELL, 10, 99)
    assert desk.lots(a) == 10
    assert desk.cash(a, 2) == 10 * 100 * USD // 20
    assert desk.cash(a) + desk.cash(a, 2) == 1000 * USD
    report = audit(desk.batches)
    assert report.findings == ()


@pytest.mark.spec("RO-01")
def test_what_rests_of_an_account_in_liquidation_opens_nothing() -> None:
    """Five lots bought at 100 are bankrupt at 10, and the book is empty. Six are for sale, five are sold."""
    desk = Desk(rulebook("book", "house"), index=(100,))
    a, b, house = desk.open(60, 10_000, 10_000)
    desk.ok(SetLeverage(a, 0, 10, "isolated"))
    desk.trade(a, b, 5, 100)
    desk.ok(Deposit(0, HOUSE, (10_000 * USD,)))
    desk.index(10)
    assert desk.state.is_in_liquidation(a)
    desk.order(a, SELL, 5, 97)
    last = desk.order(a, SELL, 1, 99)
    desk.order(house, BUY, 6, 100)
    assert (desk.lots(a), desk.lots(house)) == (0, 5)
    assert last not in desk.state.orders
    assert audit(desk.batches).findings == ()


@pytest.mark.spec("LIQ-12")
def test_audit_names_an_isolated_order_that_is_closed_though_its_margin_was_there() -> None:
    desk = Desk(rulebook("book", "adl"), index=(100,))
    (a,) = desk.open(1000)
    desk.ok(SetLeverage(a, 0, 20, "isolated"))
    order_id = desk.order(a, BUY, 10, 100)
    desk.ok(CancelOrder(a, order_id))
    assert audit(desk.batches).findings == ()
    closed = OrderClosed(order_id, 10, "maker_below_maintenance")
    last = structs.replace(desk.batches[-1], events=(closed,))
    assert {found.rule for found in audit([*desk.batches[:-1], last]).findings} == {"LIQ-12"}


@pytest.mark.spec("MARG-07")
def test_isolated_order_whose_margin_was_lost_since_is_closed_instead_of_filled() -> None:
    """The order was judged with 150 to spare; 160 were lost since, and the fund is not to pay for that."""
    desk = Desk(rulebook("book", "insurance", "adl"), (perpetual(), perpetual("ETH")), index=(100, 100))
    a, b, c = desk.open(200, 10_000, 10_000)
    desk.ok(Deposit(0, INSURANCE, (1000 * USD,)))
    desk.trade(a, b, 10, 100)
    desk.ok(SetLeverage(a, 1, 20, "isolated"))
    desk.order(a, BUY, 20, 100, instrument=1)  # 20 * 100 / 20 = 100 of margin
    desk.index(84, 100)  # equity 200 - 160 = 40, maintenance 840 / 40 = 21
    events = desk.ok(PlaceOrder(c, 1, SELL, 20, 100, tif="ioc"))
    assert [closed.reason for closed in of(events, OrderClosed)] == ["maker_below_maintenance", "unfilled"]
    assert desk.equity(a) == 40 * USD
    assert desk.cash(INSURANCE) == 1000 * USD


def test_bid_that_its_owner_can_no_longer_bear_is_closed_when_a_trigger_meets_it() -> None:
    desk = Desk(rulebook("book", "insurance", "adl"), index=(100,))
    a, b, c, d = desk.open(10, 10_000, 10_000, 10_000)
    desk.ok(Deposit(0, INSURANCE, (1000 * USD,)))
    desk.trade(b, c, 1, 100)
    desk.order(a, BUY, 1, 99)
    desk.index(80)
    desk.ok(PlaceOrder(b, 0, SELL, 1, None, trigger=Trigger("take_profit", "last", 101)))
    desk.order(d, SELL, 1, 101)
    desk.ok(PlaceOrder(c, 0, BUY, 1, 101, tif="ioc"))  # fires b's sale into a's bid at 99, mark 80
    assert desk.lots(a) == 0
    assert not desk.venue.view.orders(a, 0)
    assert desk.equity(a) == 10 * USD
    assert desk.cash(INSURANCE) == 1000 * USD


@pytest.mark.spec("DET-02")
def test_state_is_hashed_and_restored_after_days_of_silence() -> None:
    """An average's sum is price * nanoseconds: three days at 100,000 ticks pass 2^64."""
    desk = Desk(rulebook(mark={"formula": "median"}), index=(100_000,))
    a, b = desk.open(10**7, 10**7)
    desk.trade(a, b, 1, 100_000)
    desk.order(a, BUY, 1, 99_000)
    desk.order(b, SELL, 1, 100_000)
    for _ in range(2):
        desk.index(99_000, later_ns=3 * 24 * HOUR_NS)
    again = desk.restored()
    assert again.state_hash() == desk.venue.state_hash()


def test_score_of_a_winner_with_next_to_no_equity_fits_into_an_event() -> None:
    candidate = adl.Candidate(16, 0, -10, 10**12, 2 * 10**12, 10**12, 5, 5, 10**10)
    assert adl.score_ppb("hyperliquid", candidate) == INT64_MAX
    assert adl.score_ppb("binance", candidate) < INT64_MAX


@pytest.mark.spec("NUM-06")
def test_instruments_whose_values_together_leave_the_budget_are_refused() -> None:
    """Each alone is within it: 4 * 2^59 < 2^62. A cross pool holds all of them."""
    sizes = {"size_max_lots": 2**30, "open_interest_max_lots": 2**30, "tick_value_atoms": 1}
    big = [perpetual(f"I{n}", tiers=(Tier(0, 1),), price_max_ticks=2**29, **sizes) for n in range(2)]
    Venue(rulebook(), ASSETS, (big[0],))
    with pytest.raises(RulesError, match="sum to"):
        Venue(rulebook(), ASSETS, tuple(big))


@pytest.mark.spec("MARG-07")
def test_resting_spot_order_cannot_spend_what_its_owners_losses_need() -> None:
    desk = Desk(
        rulebook("book", "insurance", "adl"), (perpetual(), perpetual("ETH"), spot()), index=(100, 100, 1)
    )
    a, b, c = desk.open(200, 10_000, 10_000)
    desk.ok(Deposit(1, c, (1_000_000,)))
    desk.ok(Deposit(0, INSURANCE, (1000 * USD,)))
    desk.trade(a, b, 10, 100)
    desk.order(a, BUY, 100, 1, instrument=2)
    desk.index(85, 100, 1)  # equity 200 - 150 = 50, promised 100
    events = desk.ok(PlaceOrder(c, 2, SELL, 100, 1, tif="ioc"))
    assert not fills(events)
    assert desk.equity(a) == 50 * USD
    assert desk.cash(INSURANCE) == 1000 * USD


@pytest.mark.spec("MARG-07")
def test_stale_bid_of_a_poor_account_makes_no_debt_for_the_fund() -> None:
    desk = Desk(rulebook("book", "insurance", "adl"), index=(100,))
    a, b = desk.open(10, 10_000)
    desk.ok(Deposit(0, INSURANCE, (1000 * USD,)))
    desk.order(a, BUY, 1, 100)
    desk.index(80)  # a fill at 100 would lose 20 of 10
    events = desk.ok(PlaceOrder(b, 0, SELL, 1, 100, tif="ioc"))
    assert not fills(events)
    assert desk.cash(INSURANCE) == 1000 * USD


@pytest.mark.spec("TRIG-03")
def test_triggers_beyond_the_bound_of_a_command_are_announced() -> None:
    desk = Desk(rulebook(orders={"triggers_per_command_max": 1}), index=(100,))
    a, b = desk.open(10_000, 10_000)
    desk.trade(a, b, 5, 100)
    desk.order(b, BUY, 9, 80)
    for _ in range(3):
        desk.ok(PlaceOrder(a, 0, SELL, 1, trigger=Trigger("stop", "mark", 95), reduce_only=True))
    events = desk.index(90)
    assert len(of(events, TriggerFired)) == 1
    assert of(events, WorkLeft)
    assert len(of(desk.index(90), TriggerFired)) == 1


def test_bitmex_queue_puts_the_winners_of_an_inverse_contract_first() -> None:
    """A long that gained has the smaller value of the two: signs were taken from the lots."""
    winner = adl.Candidate(16, 0, 10, 900, 1000, 100, 500, 400, 0)
    loser = adl.Candidate(17, 0, 10, 1100, 1000, -100, 500, 600, 0)
    assert [r.candidate.account for r in adl.rank("bitmex", [loser, winner])] == [16, 17]
    assert adl.score("bitmex", winner) == (100 * 900, 1000 * 500)


def test_marginal_tiers_by_lots_are_refused() -> None:
    tiers = (Tier(0, 20), Tier(10, 10))
    error = budget_error(perpetual(tiers=tiers, tier_unit="lots"))
    assert error is not None
    assert "of the form 'whole'" in error
    assert budget_error(perpetual(tiers=tiers, tier_unit="lots", tier_form="whole")) is None


def test_rich_winner_is_last_in_the_queue_and_not_out_of_it() -> None:
    """Binance divides by the wallet twice: 100 USD of profit beside ten million round to nothing."""
    adl_rules = {"score": "binance", "wallet_min_atoms": USD, "price": "bankruptcy"}
    desk = Desk(rulebook("book", "adl", adl=adl_rules), index=(100,))
    poor, rich = desk.open(60, 10_000_000)
    desk.trade(poor, rich, 10, 100)
    assert [(e.winner, -e.lots) for e in of(desk.index(90), Deleveraged)] == [(rich, 10)]
    assert desk.equity(poor) == 0


def test_bankrupt_position_that_no_stage_takes_is_sold_in_the_book() -> None:
    """The fund has 10 and is asked for 40: it pays them, and the lots do not stay open beside a full book."""
    desk = Desk(rulebook("book", "insurance", promise="none"), index=(100,))
    desk.ok(Deposit(0, INSURANCE, (10 * USD,)))
    account, other, bidder = desk.open(60, 10**6, 10**6)
    desk.trade(account, other, 10, 100)
    desk.order(bidder, BUY, 100, 79)
    events = desk.index(90)
    assert [(e.size_lots, e.price_ticks) for e in of(events, Filled) if e.taker == account] == [(10, 79)]
    assert desk.lots(account) == 0
    assert desk.equity(account) == 0


def test_collateral_is_nobody_s_open_profit() -> None:
    """Two winners of 10 lots each, one with coins besides: pro rata by wealth takes the same 5 of both."""
    coin = {"asset": "COIN", "decimals": 3, "ratio_ppb": 900_000_000}
    rules = rulebook("book", "adl", adl={"policy": "pro_rata", "weights": "wealth"}, collateral=[coin])
    desk = Desk(rules, (perpetual(), spot()), index=(100, 10))
    loser, rich, first, second = desk.open(100, 100_000, 10_000, 10_000)
    desk.ok(Deposit(1, first, (1000 * 1000,)))
    for winner in (first, second):
        desk.trade(loser, winner, 5, 100)
        desk.trade(rich, winner, 5, 100)
    taken = of(desk.index(80, 10), Deleveraged)
    assert sorted((e.winner, -e.lots) for e in taken) == [(first, 5), (second, 5)]


@pytest.mark.spec("MARG-03")
def test_raising_leverage_under_hedge_rules_asks_nothing_of_a_leg_that_is_not_there() -> None:
    """10 lots at 100 with leverage 1 ask for 1000, and 40 are there: leverage 10 asks for 100 only.

    The short leg that the account does not have stood at the largest leverage, 20, so that 10 seemed lower.
    """
    desk = Desk(rulebook(margin={"hedge_mode": True}))
    account, other = desk.open(40, 10_000)
    pair = (account, other)
    desk.ok(LoadPositions(0, 100, pair, (10, -10), (100, 100), (1, 1), (0, 0)))
    desk.index(100)
    desk.ok(SetLeverage(account, 0, 10))
    assert desk.refused(SetLeverage(account, 0, 5)) is RejectReason.MARGIN_TOO_SMALL


@pytest.mark.spec("BOOK-10")
def test_a_reduce_only_order_amended_beyond_its_position_is_clipped_and_keeps_its_place() -> None:
    desk = Desk(rulebook(), index=(100,))
    a, b, c = desk.open(1000, 1000, 1000)
    desk.trade(a, b, 5, 100)
    reducing = desk.order(a, SELL, 5, 102, reduce_only=True)
    desk.order(c, SELL, 1, 102)
    desk.trade(b, a, 2, 100)
    amended = desk.ok(AmendOrder(a, reducing, size_lots=6))
    assert amended == [OrderAmended(reducing, 102, 5 - 2, True)]
    assert fills(desk.ok(PlaceOrder(b, 0, BUY, 3, 102))) == [(reducing, 102, 3)]


@pytest.mark.spec("MARG-05", "ATK-10")
def test_while_a_mark_stands_still_margin_leaves_no_further_than_the_index_allows() -> None:
    """10 lots at 100 need 1,000 / 20 = 50; the mark stays there while the index falls."""
    desk = Desk(index=(100,))
    a, b = desk.open(100, 10_000)
    desk.trade(a, b, 10, 100)
    desk.ok(SetStatus(0, open=False, reduce=False, liquidate=False))
    may_leave = desk.venue.view.withdrawable_atoms
    winner = may_leave(b)
    assert may_leave(a) == (100 - 50) * USD
    desk.index(97)
    assert may_leave(a) == (100 - 50 - 10 * 3) * USD
    assert may_leave(b) == winner, "what the index has won is not paid out"
    desk.index(90)
    assert desk.refused(Withdraw(a, 0, 1)) == RejectReason.BALANCE_TOO_SMALL
    assert desk.equity(a) == 100 * USD, "and nobody is judged at it"
    desk.ok(SetStatus(0, open=True, reduce=True, liquidate=True))
    desk.index(100)
    assert may_leave(a) == (100 - 50) * USD
    assert audit(desk.batches).findings == ()


@pytest.mark.spec("MARG-05", "ATK-10")
def test_while_a_mark_stands_still_no_margin_goes_elsewhere_either() -> None:
    """Neither out of an isolated position, nor from the pool into one, nor into an order elsewhere."""
    desk = Desk(rulebook(), (perpetual(), perpetual("ETH")), index=(100, 100))
    a, b, c = desk.open(100, 10_000, 200)
    desk.ok(SetLeverage(c, 0, 20, "isolated"))
    desk.ok(SetLeverage(a, 1, 20, "isolated"))
    desk.trade(a, b, 10, 100)
    desk.trade(c, b, 10, 100)
    desk.ok(TransferMargin(c, 0, 100 * USD))
    desk.trade(a, b, 1, 100, instrument=1)
    desk.ok(SetStatus(0, open=False, reduce=False, liquidate=False))
    desk.index(95, 100)
    assert desk.refused(TransferMargin(a, 1, 1)) == RejectReason.BALANCE_TOO_SMALL
    assert desk.refused(PlaceOrder(a, 1, BUY, 1, 100)) == RejectReason.MARGIN_TOO_SMALL
    assert desk.refused(TransferMargin(c, 0, -51 * USD)) == RejectReason.BALANCE_TOO_SMALL
    desk.ok(TransferMargin(c, 0, -50 * USD))
    assert audit(desk.batches).findings == ()
