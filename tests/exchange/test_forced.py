"""Forced orders in every form, with their limits and budgets, in the styles of the venues that use them."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.venues import USD, Desk, of, perpetual, rulebook
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import BUY, SELL, Deposit, SetLeverage, SetStatus
from zerodebt.exchange.events import (
    HOUSE,
    INSURANCE,
    DeficitOpened,
    Deleveraged,
    Filled,
    LiquidationEnded,
    LiquidationStarted,
    OrderAccepted,
    OrderClosed,
    Posted,
    StageArmed,
    TakenOver,
    WorkLeft,
)
from zerodebt.exchange.instruments import Instrument, Tier, maintenance_atoms, tier_of
from zerodebt.exchange.liquidation import (
    affordable_lots,
    bankruptcy_ticks,
    forced_lots,
    ladder_lots,
    left_atoms,
    limit_ticks,
    restoring_lots,
)
from zerodebt.exchange.margin import Risk
from zerodebt.exchange.marks import Market
from zerodebt.exchange.rules import LiquidationRules, RulesError
from zerodebt.exchange.units import PPB
from zerodebt.exchange.waterfall.allocation import equity_shares

RICH = 10_000_000
PERCENT = PPB // 100
TIERS = (Tier(0, 20), Tier(1000 * USD, 10), Tier(2000 * USD, 5), Tier(4000 * USD, 4))


def forced(events: list[Any]) -> list[tuple[int, int | None, str]]:
    """(lots, limit, time in force) of each forced order."""
    return [(e.size_lots, e.price_ticks, e.tif) for e in of(events, OrderAccepted) if e.forced]


def at(mark: int, **changes: Any) -> Market:
    """A market with a mark, outside any venue."""
    market = Market(0, perpetual(**changes))
    market.prices.mark_ticks = mark
    return market


def long(
    desk: Desk, usd: int, lots: int, price: int, bid: tuple[int, int] | None = None, side: int = 1
) -> tuple[int, int]:
    """An account that holds `lots`, its rich counterparty, and perhaps a bid (lots, price)."""
    account, maker = desk.open(usd, RICH)
    buyer, seller = (account, maker) if side > 0 else (maker, account)
    desk.trade(buyer, seller, lots, price)
    if bid is not None:
        desk.order(maker, BUY if side > 0 else SELL, *bid)
    return account, maker


# Trigger


@pytest.mark.spec("LIQ-01", "MARG-08")
@pytest.mark.parametrize(("trigger", "starts"), [("below", False), ("at_or_below", True)])
def test_okx_liquidates_at_the_requirement_and_others_only_below_it(trigger: str, starts: bool) -> None:
    """10 lots bought at 100 with 64; at 96 they have lost 40 and need 960 / 40 = 24."""
    desk = Desk(rulebook("book", "adl", liquidation={"trigger": trigger}), index=(100,))
    account, _ = long(desk, 64, 10, 100, (10, 96))
    events = desk.index(96)
    assert bool(of(events, LiquidationStarted)) is starts
    assert desk.lots(account) == (0 if starts else 10)


def test_account_without_positions_is_never_at_its_requirement_of_nothing() -> None:
    desk = Desk(rulebook("book", "adl", liquidation={"trigger": "at_or_below"}), index=(100,))
    desk.open(0, 50)
    assert not of(desk.index(96), LiquidationStarted)
    assert Risk(0, 0, includes_equal=True).is_safe
    assert not Risk(-1, 0, includes_equal=True).is_safe


@pytest.mark.spec("LIQ-12")
def test_isolated_position_at_its_requirement_is_found_too() -> None:
    desk = Desk(rulebook("book", "adl", liquidation={"trigger": "at_or_below"}), index=(100,))
    account, maker = desk.open(1000, RICH)
    desk.ok(SetLeverage(account, 0, 20, "isolated"))
    desk.trade(account, maker, 39, 100)
    assert desk.cash(account, 2) == 39 * 100 * USD // 20
    assert not of(desk.index(98), LiquidationStarted), "195 - 78 = 117 against 95.55"
    assert of(desk.index(97), LiquidationStarted), "195 - 117 = 78 against 94.575"


@pytest.mark.parametrize(
    ("fee", "required"), [("none", 25.0), ("taker", 25.0 + 0.5), ("liquidation", 25.0 + 10.0)]
)
def test_requirement_may_include_the_fee_of_closing(fee: str, required: float) -> None:
    """10 lots at 100: 1000 / 40, and 0.05 % or 1 % of 1000."""
    rules = rulebook(
        "book",
        "insurance",
        fees={"taker_ppb": 500_000, "liquidation_ppb": PERCENT},
        liquidation={"requirement_fee": fee},
    )
    desk = Desk(rules, index=(100,))
    account, _ = long(desk, 100, 10, 100)
    assert desk.requirement(account) == round(required * USD)


@pytest.mark.parametrize("changes", [{"slope_ppb": 50_000}, {"margin_floor_atoms_per_lot": 5}])
def test_a_share_of_the_initial_requirement_stands_alone(changes: dict[str, Any]) -> None:
    """What would be left out of it is refused: growth with size, a floor, a closing fee."""
    share: dict[str, Any] = {"maintenance_of_initial_ppb": 600_000_000}
    with pytest.raises(RulesError, match=f"{next(iter(changes))} is .*, allowed is 0 where maintenance"):
        Desk(rulebook(), (perpetual(**share, **changes),))
    with pytest.raises(RulesError, match="requirement_fee: found 'taker', allowed is 'none'"):
        Desk(rulebook(liquidation={"requirement_fee": "taker"}), (perpetual(**share),))


# Ladder


@pytest.mark.spec("LIQ-06")
@pytest.mark.parametrize(
    ("lots", "down", "ladder_from", "sold"),
    [
        (50, 1, 2, 50 - 40),  # 5000 is in the fourth tier, 4000 still in the third
        (50, 2, 2, 50 - 20),
        (39, 1, 2, 39 - 20),
        (19, 1, 2, 19 - 10),
        (9, 1, 2, 0),
        (19, 2, 3, 0),  # OKX: two tiers at a time, from the third
        (21, 2, 3, 21 - 10),
        (50, 9, 2, 50 - 10),
        (-50, 1, 2, 50 - 40),
    ],
)
def test_ladder_reduces_to_the_top_of_a_lower_tier(lots: int, down: int, ladder_from: int, sold: int) -> None:
    rules = LiquidationRules(steps=("ladder",), ladder_tiers=down, ladder_from=ladder_from)
    assert ladder_lots(rules, at(100, tiers=TIERS), lots, lots * 100 * USD) == sold


@pytest.mark.spec("LIQ-06")
def test_ladder_sells_all_lots_where_a_single_one_is_above_the_tier() -> None:
    """Two lots at 1500 are in the third tier, one is in the second, and the first is two tiers down."""
    rules = LiquidationRules(steps=("ladder",), ladder_tiers=2)
    assert ladder_lots(rules, at(1500, tiers=TIERS), 2, 2 * 1500 * USD) == 2


@pytest.mark.spec("LIQ-06")
def test_ladder_counts_what_lies_beside_the_position() -> None:
    """9 lots at 100 are in the first tier, with 1500 beside them in the third: 5 lots stay below 2000."""
    rules = LiquidationRules(steps=("ladder",))
    beside = (1500 * USD, 15)
    assert ladder_lots(rules, at(100, tiers=TIERS), 9, 900 * USD, beside) == 9 - 5
    risk = Risk(0, 1)
    lots = forced_lots(
        rules, "ladder", at(100, tiers=TIERS), 9, 900 * USD, risk, 0, is_cooling=False, beside=beside
    )
    assert lots == 9 - 5


@pytest.mark.spec("LIQ-06")
@pytest.mark.parametrize("side", [1, -1])
def test_ladder_of_either_side_reads_the_tier_from_the_cost(side: int) -> None:
    """12 lots that cost 1200 are in the second tier though they are worth 960; 10 of them are not."""
    rules = LiquidationRules(steps=("ladder",))
    assert ladder_lots(rules, at(80, **AT_ENTRY), 12 * side, 1200 * side * USD) == 2


@pytest.mark.spec("LIQ-05", "LIQ-06")
@given(st.integers(1, 90), st.integers(1, 5), st.integers(1, 4))
def test_ladder_keeps_the_largest_position_of_its_tier(lots: int, mark: int, down: int) -> None:
    market = at(20 * mark, tiers=TIERS)
    rules = LiquidationRules(ladder_tiers=down)
    sold = ladder_lots(rules, market, lots, market.value_atoms(lots))
    tiers = [tier_of(market.margin, market.value_atoms(k), k) for k in range(lots + 1)]
    assert 0 <= sold <= lots
    if not sold:
        assert tiers[lots] == 0
    else:
        target = max(0, tiers[lots] - down)
        assert tiers[lots - sold] <= target < tiers[lots - sold + 1]


@pytest.mark.spec("LIQ-05")
@pytest.mark.parametrize(("depth", "orders"), [(200, [10, 20]), (10, [10]), (9, [])])
def test_bybit_ladder_is_fill_or_kill_and_goes_on_while_it_fills(depth: int, orders: list[int]) -> None:
    """50 lots at 100 are in the fourth tier and need 400, 40 need 275 and 20 need 75."""
    fund = {"takes": "unfilled", "net_notional_max_atoms": 1}
    ladder = {"steps": ["ladder"], "ladder_tif": "fok"}
    rules = rulebook("book", "insurance", "adl", liquidation=ladder, insurance=fund)
    desk = Desk(rules, (perpetual(tiers=TIERS),), index=(100,))
    account, maker = desk.open(2000, RICH)
    desk.trade(account, maker, 50, 100)
    take(desk, account, 240)
    desk.order(maker, BUY, depth, 100)
    events = desk.index(100)
    assert forced(events) == [(lots, None, "fok") for lots in orders]
    assert desk.lots(account) == 50 - sum(orders)
    assert not of(events, OrderClosed)


AT_ENTRY: dict[str, Any] = {
    "tiers": (Tier(0, 100, 10_000_000), Tier(1_000 * USD, 50, 20_000_000)),
    "tier_form": "whole",
    "maintenance_basis": "entry",
}
"""1 % of what the lots cost up to 1000, 2 % above."""


@pytest.mark.spec("LIQ-05", "LIQ-06")
def test_ladder_counts_tiers_at_entry_value_where_the_requirement_does() -> None:
    """12 lots bought at 100 cost 1200 and need 24; at 80 they are worth 960, which is the lowest tier.

    The engine asks 2 % of 1200 all the same; 10 lots of them, for 1000, need 10.
    """
    rules = rulebook("book", "adl", liquidation={"steps": ["ladder"]}, adl={"trigger": "unfilled"})
    desk = Desk(rules, (perpetual(**AT_ENTRY),), index=(100,))
    account, _ = long(desk, 252, 12, 100, (12, 80))
    events = desk.index(80)
    assert [e.maintenance_atoms for e in of(events, LiquidationStarted)] == [24 * USD]
    assert forced(events) == [(2, None, "ioc")]
    assert (desk.lots(account), desk.requirement(account)) == (10, 10 * USD)
    assert of(events, LiquidationEnded)
    assert not audit(desk.batches).findings


@pytest.mark.spec("LIQ-06")
def test_restoring_lots_are_reckoned_at_entry_value_where_the_requirement_is() -> None:
    """10 of 12 lots need 10, which 15 of equity carries; at the mark of 80 all twelve would need 9.6."""
    rules = rulebook("book", "adl", liquidation={"steps": ["restore"]})
    desk = Desk(rules, (perpetual(**AT_ENTRY),), index=(100,))
    account, _ = long(desk, 255, 12, 100, (12, 80))
    events = desk.index(80)
    assert forced(events) == [(2, None, "ioc")]
    assert (desk.lots(account), desk.equity(account), desk.requirement(account)) == (10, 15 * USD, 10 * USD)
    assert not audit(desk.batches).findings


@pytest.mark.spec("LIQ-08")
def test_fillable_price_takes_the_requirement_at_entry_value() -> None:
    """10 lots that cost 1200: 10 * (1 - 12/24) of 2 % of 1200 is 12, so 1.2 a lot below the mark of 80."""
    rules = LiquidationRules(price_limit="fillable", fillable_spread_ppb=PPB)
    market = at(80, **AT_ENTRY)
    limit = limit_ticks(rules, market, 10, 1200 * USD, 10, Risk(12 * USD, 24 * USD), 12 * USD, 0)
    assert limit == 80 - 1


def take(desk: Desk, account: int, left_usd: int) -> None:
    """Leave the account with this much equity, whatever its positions need."""
    surplus = desk.equity(account) - left_usd * USD
    desk.state.ledger.post("withdrawal", [(account, 0, -surplus), (0, 0, surplus)])
    desk.state.accounts.recheck_at.cells[0][account] = -1


# Restore


@pytest.mark.spec("LIQ-06")
@pytest.mark.parametrize(
    ("equity", "buffer_percent", "fee_ppb", "lots"),
    [
        (20, 0, 0, 2),  # 8 lots at 100 need 20
        (19, 0, 0, 3),
        (20, 25, 0, 4),  # 6 lots need 15, and 15 * 1.25 = 18.75
        (20, 0, PERCENT // 10, 3),  # closing 2 costs 0.2: 7 lots need 17.5
        (1, 0, 0, 10),
        (0, 0, 0, 10),
    ],
)
def test_binance_closes_no_more_than_what_makes_the_account_safe(
    equity: int, buffer_percent: int, fee_ppb: int, lots: int
) -> None:
    rules = LiquidationRules(steps=("restore",), restore_buffer_ppb=buffer_percent * PERCENT)
    risk = Risk(equity * USD, 25 * USD)
    assert restoring_lots(rules, at(100), 10, 1000 * USD, risk, fee_ppb) == lots
    assert restoring_lots(rules, at(100), -10, -1000 * USD, risk, fee_ppb) == lots


@pytest.mark.spec("LIQ-05", "LIQ-06")
@given(
    st.integers(-80, 80).filter(bool),
    st.integers(0, 500),
    st.integers(0, 300),
    st.sampled_from([0, PERCENT, 20 * PERCENT]),
    st.sampled_from([0, PERCENT // 10]),
    st.booleans(),
)
def test_restoring_lots_are_the_smallest_that_leave_the_account_safe(
    lots: int, equity: int, others: int, buffer: int, fee: int, equal: bool
) -> None:
    """Against a search over all sizes; fees are below the lowest maintenance rate."""
    market = at(100, tiers=TIERS)
    rules = LiquidationRules(restore_buffer_ppb=buffer)

    def is_safe(closed: int) -> bool:
        left = abs(lots) - closed
        required = others * USD + maintenance_atoms(market.margin, left * 100 * USD, left)
        required += -(-required * buffer // PPB)
        return Risk(equity * USD - -(-closed * 100 * USD * fee // PPB), required, equal).is_safe

    whole = others * USD + maintenance_atoms(market.margin, abs(lots) * 100 * USD, abs(lots))
    risk = Risk(equity * USD, whole, equal)
    smallest = next((k for k in range(1, abs(lots)) if is_safe(k)), abs(lots))
    assert restoring_lots(rules, market, lots, lots * 100 * USD, risk, fee) == smallest


@pytest.mark.spec("LIQ-06")
def test_restoring_counts_what_the_haircut_takes() -> None:
    """10 lots at 100 need 25. Of 34 a haircut takes 20: the 14 left carry 5 lots, which need 12.5."""
    risk = Risk(34 * USD, 25 * USD, haircut_atoms=20 * USD)
    assert restoring_lots(LiquidationRules(), at(100), 10, 1000 * USD, risk, 0) == 10 - 5


@pytest.mark.spec("LIQ-06")
def test_binance_order_restores_the_account_and_ends_its_liquidation() -> None:
    """40 lots at 97 with 200 - 120 = 80 need 97; 80 is what 32.99 lots need, so that 8 go."""
    desk = Desk(rulebook("book", "adl", liquidation={"steps": ["restore"]}), index=(100,))
    account, _ = long(desk, 200, 40, 100, (100, 97))
    events = desk.index(97)
    assert forced(events) == [(8, None, "ioc")]
    assert of(events, LiquidationEnded)
    assert (desk.lots(account), desk.equity(account)) == (32, 80 * USD)


@pytest.mark.spec("LIQ-06")
def test_deribit_goes_in_small_increments_from_command_to_command() -> None:
    """At most a twentieth of the position at a time: 2 of 40 lots, then 1 of 38."""
    rules = rulebook("book", "insurance", liquidation={"steps": ["restore"], "restore_max_ppb": 5 * PERCENT})
    desk = Desk(rules, index=(100,))
    account, _ = long(desk, 200, 40, 100, (100, 97))
    assert forced(desk.index(97)) == [(2, None, "ioc")]
    assert forced(desk.tick()) == [(1, None, "ioc")]
    assert desk.lots(account) == 37


# Limits and budgets


@pytest.mark.spec("LIQ-08")
@pytest.mark.parametrize(
    ("lots", "changes", "limit"),
    [
        (10, {"price_limit": "none"}, None),
        (10, {"price_limit": "bankruptcy"}, 1000 - 2),
        (-10, {"price_limit": "bankruptcy"}, 1000 + 2),
        (10, {"price_limit": "band", "band_ppb": 5 * PERCENT}, 950),
        (-10, {"price_limit": "band", "band_ppb": 5 * PERCENT}, 1050),
        # 1 - 20/50 = 0.6 of half of the position's requirement of 250: 7.5 a lot
        (10, {"price_limit": "fillable", "fillable_spread_ppb": PPB // 2}, 1000 - 7),
        (-10, {"price_limit": "fillable", "fillable_spread_ppb": PPB // 2}, 1000 + 7),
        (10, {"price_limit": "band", "band_ppb": 5 * PERCENT, "insurance_lost_max_atoms": 30 * USD}, 995),
        (-10, {"price_limit": "band", "band_ppb": 5 * PERCENT, "insurance_lost_max_atoms": 30 * USD}, 1005),
        (10, {"insurance_lost_max_atoms": 30 * USD}, 995),
    ],
)
def test_how_far_a_forced_order_may_go(lots: int, changes: dict[str, Any], limit: int | None) -> None:
    """10 lots at 1000, equity 20 against 50: bankruptcy is 2 a lot away, and 30 more are 3 a lot."""
    rules = LiquidationRules(**changes)
    market = at(1000)
    assert (
        limit_ticks(rules, market, lots, lots * 1000 * USD, 10, Risk(20 * USD, 50 * USD), 20 * USD, 0)
        == limit
    )


@pytest.mark.spec("LIQ-08")
@pytest.mark.parametrize(("lots", "limit"), [(1, 950), (-1, 1050)])
def test_limits_of_a_single_lot_lie_on_its_side(lots: int, limit: int) -> None:
    """A band of 5 % around 1000; 20 of equity and a budget of 80 let one lot lose 100."""
    risk = Risk(20 * USD, 50 * USD)
    band = LiquidationRules(price_limit="band", band_ppb=5 * PERCENT)
    assert limit_ticks(band, at(1000), lots, lots * 1000 * USD, 1, risk, 20 * USD, 0) == limit
    both = structs.replace(band, insurance_lost_max_atoms=80 * USD)
    assert limit_ticks(both, at(1000), lots, lots * 1000 * USD, 1, risk, 20 * USD, 0) == limit
    budget = LiquidationRules(insurance_lost_max_atoms=30 * USD)
    assert limit_ticks(budget, at(1000), lots, lots * 1000 * USD, 1, risk, 20 * USD, 0) == limit


@pytest.mark.spec("LIQ-08")
def test_budget_that_is_used_up_leaves_nothing() -> None:
    assert [left_atoms(5, used) for used in (4, 5, 6)] == [1, 0, 0]


@pytest.mark.spec("LIQ-08")
@given(st.integers(-50, 50).filter(bool), st.integers(0, 3000), st.integers(90, 110))
def test_closing_at_the_bankruptcy_price_never_leaves_a_debt(lots: int, equity: int, mark: int) -> None:
    market = at(mark, price_min_ticks=-(10**6))
    price = bankruptcy_ticks(market, lots, equity * USD)
    left = equity * USD - market.gain_atoms(lots, price)
    assert left >= 0
    assert left < abs(lots) * USD


@pytest.mark.spec("NUM-04")
@given(st.integers(-(10**9), 10**9), st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_shares_of_equity_sum_exactly_and_are_all_of_one_sign(equity: int, values: list[int]) -> None:
    shares = list(equity_shares(equity, values))
    if sum(values):
        assert sum(shares) == equity
        for share, value in zip(shares, values, strict=True):
            assert share * equity >= 0
            assert abs(share * sum(values) - equity * value) <= len(values) * sum(values)


def test_shares_round_down_and_the_last_takes_the_rest() -> None:
    assert list(equity_shares(10, [1, 1, 1])) == [3, 3, 4]
    assert list(equity_shares(-10, [1, 1, 1])) == [-4, -3, -3]


@pytest.mark.parametrize(
    ("changes", "used", "lots"),
    [
        ({}, 0, 100),
        ({"portion_max_ppb": 25 * PERCENT}, 0, 25),
        ({"portion_max_ppb": 25 * PERCENT, "notional_min_atoms": 4000 * USD}, 0, 40),
        ({"portion_max_ppb": 1}, 0, 1),
        ({"notional_max_atoms": 3050 * USD}, 0, 30),
        ({"notional_max_atoms": 3050 * USD}, 1000, 20),
        ({"notional_max_atoms": 3050 * USD}, 3050, 0),
        ({"notional_max_atoms": 3050 * USD, "notional_min_atoms": 500 * USD}, 2600, 0),
        ({"notional_max_atoms": 3050 * USD, "notional_min_atoms": 500 * USD}, 2550, 5),
        ({"notional_min_atoms": 99_999 * USD}, 0, 100),
    ],
)
def test_dydx_portion_and_budget_of_one_account(changes: dict[str, Any], used: int, lots: int) -> None:
    """100 lots at 100."""
    assert affordable_lots(LiquidationRules(**changes), 100, 10_000 * USD, used * USD) == lots


@pytest.mark.spec("LIQ-05")
def test_dydx_account_is_closed_by_portions_within_a_fillable_price() -> None:
    """100 lots at 96 with 600 - 400 = 200 against 240: a quarter is sent, down to
    96 - (1 - 200/240) * 1.5 * 240 / 100 = 95.4, which is above the bid of 95."""
    limits = {"price_limit": "fillable", "fillable_spread_ppb": 3 * PPB // 2, "portion_max_ppb": 25 * PERCENT}
    desk = Desk(
        rulebook("book", "adl", "insurance", liquidation={"steps": ["whole"], **limits}), index=(100,)
    )
    account, maker = long(desk, 600, 100, 100, (100, 95))
    assert forced(desk.index(96)) == []
    desk.order(maker, BUY, 100, 96)
    assert forced(desk.tick()) == [(25, 96, "ioc")]
    assert desk.lots(account) == 75
    assert desk.equity(account) == 200 * USD


def test_loss_beyond_equity_stays_within_its_budget() -> None:
    """10 lots at 96 with 60 - 40 = 20: with 10 more they may go down to 93, and the fund pays the 10."""
    limits = {"price_limit": "band", "band_ppb": 50 * PERCENT, "insurance_lost_max_atoms": 10 * USD}
    desk = Desk(
        rulebook("book", "insurance", "adl", liquidation={"steps": ["whole"], **limits}), index=(100,)
    )
    account, _ = long(desk, 60, 10, 100, (10, 93))
    desk.ok(Deposit(0, INSURANCE, (100 * USD,)))
    events = desk.index(96)
    assert forced(events) == [(10, 93, "ioc")]
    assert [e.atoms for e in of(events, DeficitOpened)] == [10 * USD]
    assert desk.cash(INSURANCE) == 90 * USD
    assert desk.equity(account) == 0


TWO = (perpetual(), perpetual("ETH"))
THREE = (*TWO, perpetual("SOL"))


@pytest.mark.spec("LIQ-05")
@pytest.mark.parametrize(("most", "sold"), [(1410, [10, 5]), (1409, [10, 4]), (940, [10]), (939, [9])])
def test_budget_of_a_command_is_for_all_positions_of_an_account_and_renewed_by_the_next(
    most: int, sold: list[int]
) -> None:
    """Twice 10 lots at 94, of 940 each: 1410 pay for ten lots and five, an atom or a dollar less for fewer.

    Another account has the same to itself, and the next command goes on.
    """
    budget = {"steps": ["whole"], "notional_max_atoms": most * USD}
    desk = Desk(rulebook("book", "adl", liquidation=budget), TWO, index=(100, 100))
    first, second, maker = desk.open(130, 130, RICH)
    for account in (first, second):
        for n in (0, 1):
            desk.trade(account, maker, 10, 100, instrument=n)
    for n in (0, 1):
        desk.order(maker, BUY, 100, 94, instrument=n)
    assert [lots for lots, _, _ in forced(desk.index(94, 94))] == sold * 2
    left = [20 - sum(sold), 20 - sum(sold)]
    assert [desk.lots(who) + desk.lots(who, 1) for who in (first, second)] == left
    assert not audit(desk.batches).findings
    assert forced(desk.tick())


@pytest.mark.spec("LIQ-08")
@pytest.mark.parametrize(("budget", "limit"), [(26 * USD, 98), (26 * USD - 1, 99), (26 * USD + 1, 98)])
def test_budget_for_losses_counts_what_an_account_lost_beyond_its_equity_in_this_command(
    budget: int, limit: int
) -> None:
    """12 lots from 100 to 95 leave 90 - 60 = 30; sold at 91 they cost 48 more, 18 beyond it.

    Ten lots of the second at 103 bring 30, so that 12 are there again; with the 8 that are left of a budget
    of 26 the third's 10 lots may lose 20, 2 a lot.
    """
    limits = {"steps": ["whole"], "insurance_lost_max_atoms": budget}
    desk = Desk(rulebook("book", "house", liquidation=limits), THREE, index=(100, 100, 100))
    desk.ok(Deposit(0, HOUSE, (RICH * USD,)))
    account, maker = desk.open(200, RICH)
    for n, lots in enumerate((12, 10, 10)):
        desk.trade(account, maker, lots, 100, instrument=n)
    take(desk, account, 90)
    for n, (lots, bid) in enumerate([(12, 91), (10, 103), (10, 99)]):
        desk.order(maker, BUY, lots, bid, instrument=n)
    events = desk.index(95, 100, 100)
    assert forced(events) == [(12, 91, "ioc"), (10, None, "ioc"), (10, limit, "ioc")]


@pytest.mark.spec("LIQ-08")
@pytest.mark.parametrize(("surplus", "limit"), [(0, 94), (PPB, 95)])
def test_order_may_use_up_all_equity_or_where_the_fund_shares_the_positions_own(
    surplus: int, limit: int
) -> None:
    """Twice 10 lots at 96 with 100 - 80 = 20: 2 a lot are all of it, 1 a lot is one position's half."""
    limits = {"steps": ["whole"], "price_limit": "bankruptcy", "surplus_max_ppb": surplus}
    desk = Desk(rulebook("book", "insurance", "adl", liquidation=limits), TWO, index=(100, 100))
    account, maker = desk.open(100, RICH)
    for n in (0, 1):
        desk.trade(account, maker, 10, 100, instrument=n)
    desk.order(maker, BUY, 10, 96)
    assert forced(desk.index(96, 96)) == [(10, limit, "ioc")]


@pytest.mark.spec("LIQ-06")
def test_position_with_the_largest_requirement_goes_first() -> None:
    """10 lots at 100 need 25, 20 lots at 99 need 49.5: with 70 - 20 = 50 left, 20 lots are enough."""
    desk = Desk(rulebook("book", "adl", liquidation={"steps": ["whole"]}), TWO, index=(100, 100))
    account, maker = desk.open(200, RICH)
    for n, lots in ((0, 10), (1, 20)):
        desk.trade(account, maker, lots, 100, instrument=n)
        desk.order(maker, BUY, lots, 99 if n else 100, instrument=n)
    take(desk, account, 70)
    events = desk.index(100, 99)
    assert [(e.instrument, e.size_lots) for e in of(events, Filled)] == [(1, 20)]
    assert (desk.lots(account), desk.lots(account, 1)) == (10, 0)


@pytest.mark.spec("LIQ-05")
def test_forced_order_says_why_and_what_of_it_was_not_filled() -> None:
    """10 lots at 96 with 60 - 40 = 20 against 24; 4 are bid for."""
    desk = Desk(rulebook("book", "adl"), index=(100,))
    account, _ = long(desk, 60, 10, 100, (4, 96))
    events = desk.index(96)
    below = "equity is below the maintenance requirement"
    assert of(events, StageArmed) == [StageArmed("book", account, 0, 20 * USD, 24 * USD, below)]
    (order,) = [e for e in of(events, OrderAccepted) if e.forced]
    assert order.reduce_only
    assert of(events, OrderClosed) == [OrderClosed(order.order_id, 6, "unfilled")]


def test_share_of_a_position_is_sent_once_a_command_however_many_tiers_there_are() -> None:
    """A fifth of 50 lots in the fourth tier."""
    share = {"steps": ["share"], "chunk_threshold_atoms": USD, "chunk_ppb": 20 * PERCENT, "cooldown_ns": 9}
    desk = Desk(rulebook("book", "adl", liquidation=share), (perpetual(tiers=TIERS),), index=(100,))
    account, maker = desk.open(2000, RICH)
    desk.trade(account, maker, 50, 100)
    take(desk, account, 200)
    desk.order(maker, BUY, 50, 100)
    assert forced(desk.index(100)) == [(10, None, "ioc")]


def test_position_whose_market_stands_still_waits_while_another_is_sold() -> None:
    """10 of equity at 90 against 25 and 22.5: both have a bid at the mark."""
    desk = Desk(rulebook("book", "adl"), TWO, index=(100, 100))
    account, maker = desk.open(110, RICH)
    for n in (0, 1):
        desk.trade(account, maker, 10, 100, instrument=n)
        desk.order(maker, BUY, 10, 90 if n else 100, instrument=n)
    desk.ok(SetStatus(0, open=True, reduce=True, liquidate=False))
    events = desk.index(100, 90)
    assert [(e.instrument, e.size_lots) for e in of(events, Filled)] == [(1, 10)]
    assert not of(events, WorkLeft)


# Surplus


@pytest.mark.spec("LIQ-03", "LIQ-08")
def test_fund_gets_no_surplus_of_an_account_that_fees_have_emptied() -> None:
    """10 lots at 96 with 20 could go at 94. Sold at 95 they bring 10 more: a fee of 2 % of 950 takes them."""
    rules = rulebook(
        "book",
        "insurance",
        "adl",
        fees={"liquidation_ppb": 2 * PERCENT},
        liquidation={"steps": ["whole"], "price_limit": "bankruptcy", "surplus_max_ppb": PPB},
    )
    desk = Desk(rules, index=(100,))
    account, _ = long(desk, 60, 10, 100, (10, 95))
    events = desk.index(96)
    assert not [p for p in of(events, Posted) if p.reason == "surplus"]
    assert not of(events, DeficitOpened)
    assert (desk.equity(account), desk.lots(account)) == (0, 0)


BITMEX: dict[str, Any] = {
    "liquidation": {
        "steps": ["ladder", "whole"],
        "ladder_tif": "fok",
        "price_limit": "bankruptcy",
        "surplus_max_ppb": PPB,
    },
    "adl": {"trigger": "unfilled"},
}


@pytest.mark.spec("LIQ-08", "WFALL-03")
@pytest.mark.parametrize("side", [1, -1])
def test_bitmex_posts_at_the_bankruptcy_price_and_deleverages_there_what_stays(side: int) -> None:
    """10 lots with 60 - 40 = 20 of equity at 96 (or 104) are bankrupt 2 further. 4 are filled 1 better: 4 go
    to the fund. The other 6 are closed at the bankruptcy price, where 12 of margin are the winner's gain."""
    desk = Desk(rulebook("book", "insurance", "adl", **BITMEX), index=(100,))
    account, maker = long(desk, 60, 10, 100, (4, 100 - 5 * side), side)
    events = desk.index(100 - 4 * side)
    assert forced(events) == [(10, 100 - 6 * side, "ioc")]
    assert [e.size_lots for e in of(events, Filled)] == [4]
    assert [p.legs for p in of(events, Posted) if p.reason == "surplus"] == [
        ((account, 0, -4 * USD), (INSURANCE, 0, 4 * USD))
    ]
    assert [e.stage for e in of(events, StageArmed)] == ["book", "adl"]
    assert [
        (e.deficit_id, e.winner, e.lots, e.price_ticks, e.transfer_atoms) for e in of(events, Deleveraged)
    ] == [(0, maker, -6 * side, 100 - 6 * side, -6 * 2 * USD)]
    assert (desk.lots(account), desk.equity(account)) == (0, 0)
    assert not of(events, DeficitOpened)


def test_bitmex_ladder_leaves_the_margin_with_the_account() -> None:
    """49 lots with 152 of the 157.5 that they need; the 9 above 4000 are filled at the mark."""
    tiers = (Tier(0, 20), Tier(2000 * USD, 16), Tier(4000 * USD, 10))
    desk = Desk(rulebook("book", "insurance", "adl", **BITMEX), (perpetual(tiers=tiers),), index=(100,))
    account, maker = desk.open(1000, RICH)
    desk.trade(account, maker, 49, 100)
    required = desk.requirement(account)
    take(desk, account, required // USD - 5)
    kept = desk.equity(account)
    desk.order(maker, BUY, 10, 100)
    events = desk.index(100)
    assert [size for size, _, _ in forced(events)] == [9]
    assert (desk.lots(account), desk.equity(account), desk.cash(INSURANCE)) == (40, kept, 0)


# Takeover of what the book could not fill


@pytest.mark.spec("LIQ-08", "WFALL-01", "WFALL-02")
@pytest.mark.parametrize("price", ["mark", "bankruptcy"])
@pytest.mark.parametrize("side", [1, -1])
def test_binance_fund_takes_what_the_book_could_not_fill(price: str, side: int) -> None:
    """60 - 40 = 20 would be enough for 8 lots at 96. Nobody bids: all 10 go to the fund."""
    desk = Desk(
        rulebook(
            "book",
            "insurance",
            "adl",
            liquidation={"steps": ["restore"], "price_limit": "bankruptcy"},
            insurance={"takes": "unfilled", "price": price},
        ),
        index=(100,),
    )
    account, _ = long(desk, 60, 10, 100, side=side)
    mark = 100 - 4 * side
    events = desk.index(mark)
    at_bankruptcy = (mark - 2 * side, mark) if price == "bankruptcy" else (mark, None)
    assert of(events, TakenOver) == [TakenOver(account, 0, INSURANCE, 0, 10 * side, *at_bankruptcy)]
    assert (desk.lots(account), desk.cash(account)) == (0, 0)
    assert (desk.lots(INSURANCE), desk.equity(INSURANCE)) == (10 * side, 20 * USD)
    assert not of(events, DeficitOpened)
    assert of(events, LiquidationEnded)


@pytest.mark.spec("LIQ-12", "WFALL-02")
def test_fund_takes_a_cross_account_whole_and_an_isolated_position_alone() -> None:
    rules = rulebook("book", "insurance", "adl", insurance={"takes": "unfilled", "price": "bankruptcy"})
    desk = Desk(rules, (perpetual(), perpetual("ETH"), perpetual("SOL")), index=(100, 100, 100))
    account, maker = desk.open(130, RICH)
    desk.ok(SetLeverage(account, 2, 20, "isolated"))
    desk.trade(account, maker, 6, 100, instrument=2)
    desk.trade(account, maker, 10, 100)
    desk.trade(maker, account, 5, 100, instrument=1)
    events = desk.index(95, 105, 100)
    assert [(e.pocket, e.instrument, e.lots) for e in of(events, TakenOver)] == [(0, 0, 10), (0, 1, -5)]
    assert (desk.lots(account), desk.lots(account, 1), desk.lots(account, 2)) == (0, 0, 6)
    assert (desk.cash(account), desk.cash(account, 4)) == (0, 30 * USD)
    assert desk.equity(INSURANCE) == (130 - 30 - 10 * 5 - 5 * 5) * USD


def test_okx_reduces_a_large_tier_and_hands_a_small_one_to_the_fund() -> None:
    """In the third tier two tiers go at once; in the second nothing is sent and the fund takes all."""
    rules = rulebook(
        "book",
        "insurance",
        "adl",
        liquidation={"trigger": "at_or_below", "steps": ["ladder"], "ladder_tiers": 2, "ladder_from": 3},
        insurance={"takes": "unfilled", "price": "bankruptcy"},
    )
    desk = Desk(rules, (perpetual(tiers=TIERS),), index=(100,))
    large, small, maker = desk.open(2000, 2000, RICH)
    desk.trade(large, maker, 30, 100)
    desk.trade(small, maker, 15, 100)
    take(desk, large, 175)
    take(desk, small, 49)
    desk.order(maker, BUY, 100, 100)
    assert (desk.requirement(large), desk.requirement(small)) == (175 * USD, 50 * USD)
    events = desk.index(100)
    assert forced(events) == [(30 - 10, None, "ioc")]
    assert [(e.account, e.lots) for e in of(events, TakenOver)] == [(small, 15)]
    assert (desk.lots(large), desk.equity(large)) == (10, 175 * USD)
    assert (desk.lots(small), desk.equity(small)) == (0, 0)


@pytest.mark.spec("WFALL-01", "WFALL-03")
@pytest.mark.parametrize(("cap", "taken"), [(960, True), (959, False)])
def test_fund_takes_no_more_of_an_instrument_than_its_cap(cap: int, taken: bool) -> None:
    """10 lots at 96; beyond the cap they are deleveraged at the bankruptcy price."""
    rules = rulebook(
        "book",
        "insurance",
        "adl",
        insurance={"takes": "unfilled", "price": "bankruptcy", "net_notional_max_atoms": cap * USD},
        adl={"trigger": "unfilled"},
    )
    desk = Desk(rules, index=(100,))
    account, _ = long(desk, 60, 10, 100)
    events = desk.index(96)
    assert bool(of(events, TakenOver)) is taken
    assert [e.price_ticks for e in of(events, Deleveraged)] == ([] if taken else [94])
    assert (desk.lots(account), desk.equity(account)) == (0, 0)


def test_okx_deleverages_at_the_mark_and_leaves_the_margin() -> None:
    rules = rulebook("book", "insurance", "adl", adl={"trigger": "unfilled", "price": "mark"})
    desk = Desk(rules, index=(100,))
    account, _ = long(desk, 60, 10, 100)
    events = desk.index(96)
    assert [(e.price_ticks, e.transfer_atoms) for e in of(events, Deleveraged)] == [(96, 0)]
    assert (desk.lots(account), desk.equity(account)) == (0, 20 * USD)


@pytest.mark.spec("WFALL-01")
def test_what_the_book_has_not_been_asked_for_yet_is_not_unfilled() -> None:
    """A fifth of a large position was filled whole: the fund waits for the rest to be sent."""
    rules = rulebook(
        "book",
        "insurance",
        "adl",
        liquidation={"steps": ["restore"], "restore_max_ppb": 20 * PERCENT},
        insurance={"takes": "unfilled"},
    )
    desk = Desk(rules, index=(100,))
    account, _ = long(desk, 55, 10, 100, (2, 96))
    events = desk.index(96)
    assert not of(events, TakenOver)
    assert desk.lots(account) == 8
    assert of(desk.tick(), TakenOver)


FORMS: list[dict[str, Any]] = [
    {"liquidation": {"steps": ["whole"], "price_limit": "bankruptcy", "surplus_max_ppb": PPB}},
    {"liquidation": {"steps": ["ladder", "whole"], "ladder_tif": "fok"}},
    {"liquidation": {"steps": ["restore"], "price_limit": "band", "band_ppb": PERCENT}},
    {"liquidation": {"steps": ["restore"], "restore_max_ppb": PERCENT, "trigger": "at_or_below"}},
    {"liquidation": {"steps": ["ladder"], "ladder_tiers": 2, "ladder_from": 3, "price_limit": "bankruptcy"}},
    {
        "liquidation": {
            "steps": ["whole"],
            "price_limit": "fillable",
            "fillable_spread_ppb": PPB,
            "portion_max_ppb": 50 * PERCENT,
            "notional_max_atoms": 2000 * USD,
            "insurance_lost_max_atoms": 5 * USD,
        }
    },
]


@pytest.mark.spec("LIQ-05", "LIQ-12", "WFALL-02", "LEDG-02")
@pytest.mark.parametrize("form", range(len(FORMS)))
@pytest.mark.parametrize("adl", ["bankrupt", "unfilled"])
@settings(deadline=None, max_examples=60)
@given(
    path=st.lists(st.sampled_from([80, 88, 93, 96, 98, 100, 104, 112]), min_size=1, max_size=5),
    takes=st.sampled_from(["bankrupt", "unfilled", "never"]),
    price=st.sampled_from(["mark", "bankruptcy"]),
    scope=st.sampled_from(["shared", "instrument"]),
    depth=st.integers(1, 40),
)
def test_every_form_only_reduces_and_leaves_nobody_below_zero(
    form: int, adl: str, path: list[int], takes: str, price: str, scope: str, depth: int
) -> None:
    """Positions of both sides, one isolated, a thin book; a bystander keeps what he has."""
    assume(FORMS[form]["liquidation"]["steps"] != ["ladder"] or "unfilled" in (takes, adl))
    rules = rulebook(
        "book",
        "insurance",
        "adl",
        "house",
        insurance={"takes": takes, "price": price, "scope": scope},
        adl={"trigger": adl},
        **FORMS[form],
    )
    instruments: tuple[Instrument, ...] = (perpetual(tiers=TIERS), perpetual("ETH", tiers=TIERS))
    desk = Desk(rules, instruments, index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (50 * USD,)))
    desk.ok(Deposit(0, 5, (RICH * USD,)))
    a, b, c, maker, bystander = desk.open(400, 500, 350, RICH, 777)
    desk.ok(SetLeverage(c, 0, 20, "isolated"))
    desk.trade(a, maker, 22, 100)
    desk.trade(maker, b, 24, 100)
    desk.trade(a, b, 8, 100, instrument=1)
    desk.trade(c, maker, 9, 100)
    for mark in path:
        before = {(who, n): desk.lots(who, n) for who in (a, b, c) for n in (0, 1)}
        desk.order(maker, BUY, depth, max(1, mark - 1))
        desk.order(maker, SELL, depth, mark + 1)
        desk.index(mark, 200 - mark)
        for (who, n), lots in before.items():
            now = desk.lots(who, n)
            assert abs(now) <= abs(lots)
            assert now * lots >= 0
        for who in (a, b, c, INSURANCE):
            assert desk.equity(who) >= 0
            for n in (0, 1):
                assert not desk.state.accounts.isolated.cells[n][who] or desk.equity(who, 2 + n) >= 0
        assert (desk.cash(bystander), desk.equity(bystander)) == (777 * USD, 777 * USD)


@pytest.mark.spec("WFALL-01")
def test_the_fund_takes_what_one_book_could_not_fill_though_the_last_order_was_filled() -> None:
    """80 - 60 = 20 for 23.5 and 12.5: the larger position meets no bid, the other one is sold."""
    rules = rulebook(
        "book", "insurance", "adl", liquidation={"steps": ["whole"]}, insurance={"takes": "unfilled"}
    )
    desk = Desk(rules, (perpetual(), perpetual("ETH")), index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (RICH * USD,)))
    account, maker = desk.open(80, RICH)
    desk.trade(account, maker, 10, 100)
    desk.trade(account, maker, 5, 100, instrument=1)
    desk.order(maker, BUY, 5, 100, instrument=1)
    events = desk.index(94, 100)
    assert forced(events) == [(5, None, "ioc")]
    assert [(e.instrument, e.lots, e.taker) for e in of(events, TakenOver)] == [(0, 10, INSURANCE)]
    assert not audit(desk.batches).findings
