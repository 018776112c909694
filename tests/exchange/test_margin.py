"""Requirements, what may leave, and the scan that never misses an account."""

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests.venues import ASSETS, USD, Desk, future, hyperliquid, of, perpetual, rulebook, spot
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Deposit,
    LoadPositions,
    MassQuote,
    PlaceOrder,
    SetLeverage,
    TransferMargin,
    Withdraw,
)
from zerodebt.exchange.events import FIRST_ACCOUNT, LiquidationStarted
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.margin import (
    Change,
    Found,
    Risk,
    _safe_move_ppb,
    collateral_initial_atoms,
    collateral_values,
    compare_danger,
    customer_equities,
    find_liquidatable,
    initial_excess_atoms,
    initial_of,
    initial_requirement_atoms,
    maintained_value_atoms,
    maintenance_of,
    pooled_equity,
    risk_of,
    sale_cost_atoms,
    withdrawable_atoms,
    withdrawable_collateral_atoms,
)
from zerodebt.exchange.marks import Market
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.state import State
from zerodebt.exchange.units import PPB

RICH = 1_000_000


@pytest.mark.spec("MARG-08")
@pytest.mark.parametrize(
    ("equity", "liquidatable", "bankrupt"),
    [(25, False, False), (24, True, False), (0, True, False), (-1, True, True)],
)
def test_equity_equal_to_the_requirement_is_safe_and_one_atom_less_is_not(
    equity: int, liquidatable: bool, bankrupt: bool
) -> None:
    risk = Risk(equity, 25)
    assert risk.is_liquidatable is liquidatable
    assert risk.is_bankrupt is bankrupt


@pytest.mark.parametrize(("margin", "below"), [(49, True), (50, False), (51, False)])
def test_share_of_the_requirement_is_undercut_by_one_atom_and_not_by_none(margin: int, below: bool) -> None:
    assert Risk(margin + 7, 100, haircut_atoms=7).is_below(PPB // 2) is below


@pytest.mark.spec("LIQ-10")
@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (Risk(10, 100), Risk(11, 100)),
        (Risk(-10, 100), Risk(5, 1)),
        (Risk(10, 200), Risk(5, 100)),
        (Risk(-1, 0), Risk(-5, 100)),
        (Risk(-5, 0), Risk(-4, 0)),
        (Risk(20, 100, haircut_atoms=15), Risk(6, 100)),
    ],
)
def test_danger_is_the_lower_ratio_then_the_larger_requirement_then_the_lower_margin(
    worse: Risk, better: Risk
) -> None:
    assert compare_danger(worse, better) == 1
    assert compare_danger(better, worse) == -1
    assert compare_danger(worse, worse) == 0


@pytest.mark.spec("LEDG-03")
def test_equity_of_everybody_adds_wallet_isolated_margin_profit_and_collateral() -> None:
    """A bought 10 at 100, isolated with 50, now at 110; B sold them and has 3 coins at 50."""
    coin = {"asset": "COIN", "decimals": 3, "ratio_ppb": 500_000_000}
    desk = Desk(rulebook("book", collateral=[coin]), (perpetual(), spot()))
    a, b = desk.open(1000, 2000)
    desk.ok(Deposit(1, b, (3 * 1000,)))
    desk.index(100, 50)
    assert customer_equities(desk.state)[[a, b]].tolist() == [1000 * USD, 2000 * USD]
    desk.ok(SetLeverage(a, 0, 20, "isolated"))
    desk.trade(a, b, 10, 100)
    desk.index(110, 50)
    assert desk.cash(a) == (1000 - 50) * USD
    assert customer_equities(desk.state)[[a, b]].tolist() == [(1000 + 100) * USD, (2000 - 100) * USD]
    assert collateral_values(desk.state)[[a, b]].tolist() == [0, 3 * 50 * USD]
    assert collateral_values(desk.state).dtype == np.int64
    assert len(customer_equities(desk.state)) == len(collateral_values(desk.state)) == b + 1


@pytest.mark.spec("MARG-08")
@pytest.mark.parametrize(("short", "liquidated"), [(0, False), (1, True)])
def test_the_engine_liquidates_at_one_atom_below_maintenance(short: int, liquidated: bool) -> None:
    """10 lots bought at 100; at 96 they need 960 / 40 = 24 and have lost 40."""
    desk = Desk(index=(100,))
    a, b = desk.open(64, RICH)
    desk.trade(a, b, 10, 100)
    if short:
        desk.ok(Withdraw(a, 0, short))
    events = desk.index(96)
    assert [e.account for e in of(events, LiquidationStarted)] == ([a] if liquidated else [])
    assert desk.venue.view.cross_margin(a) == (24 * USD - short, 24 * USD)


def test_share_of_the_requirement_is_compared_without_division() -> None:
    assert Risk(66, 100).is_below(666_666_667)
    assert not Risk(67, 100).is_below(666_666_667)
    assert Risk(-1, 0).is_below(666_666_667)


@pytest.mark.spec("MARG-02")
@pytest.mark.parametrize(("leverage", "lots"), [(1, 10), (5, 50), (10, 100), (20, 200)])
def test_initial_requirement_follows_the_chosen_leverage(leverage: int, lots: int) -> None:
    """1000 USD carry 1000 * leverage / 100 lots at 100, and not one more."""
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.ok(SetLeverage(a, 0, leverage))
    desk.order(b, SELL, 1000, 100)
    assert desk.refused(PlaceOrder(a, 0, BUY, lots + 1, 100, "ioc")) == RejectReason.MARGIN_TOO_SMALL
    desk.ok(PlaceOrder(a, 0, BUY, lots, 100, "ioc"))
    assert initial_excess_atoms(desk.state, a) == 0


@pytest.mark.spec("MARG-02")
def test_initial_requirement_is_at_least_twice_maintenance_in_a_higher_tier() -> None:
    """Above 1000 USD leverage is 5: 2000 USD need 1000 / 20 + 1000 / 5, whatever leverage was chosen."""
    desk = Desk(
        instruments=(perpetual(tiers=(Tier(0, 20), Tier(1000 * USD, 5)), open_interest_max_lots=100_000),)
    )
    desk.index(100)
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 20, 100)
    assert initial_excess_atoms(desk.state, a) == (1000 - 50 - 200) * USD


@pytest.mark.spec("MARG-02")
def test_resting_orders_count_at_their_worst_side() -> None:
    """Long 10 with 30 to buy and 40 to sell: the worst is max(10 + 30, |10 - 40|) = 40 lots."""
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(a, BUY, 30, 100)
    desk.order(a, SELL, 40, 110)
    assert initial_excess_atoms(desk.state, a) == (1000 - 40 * 100 // 20) * USD


@pytest.mark.spec("MARG-02")
def test_resting_sells_beyond_the_position_count_as_the_short_they_could_make() -> None:
    """Long 10 with 30 to buy and 60 to sell: the worst is max(10 + 30, |10 - 60|) = 50 lots."""
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(a, BUY, 30, 100)
    desk.order(a, SELL, 60, 110)
    assert initial_excess_atoms(desk.state, a) == (1000 - 50 * 100 // 20) * USD


@pytest.mark.spec("MARG-02")
def test_resting_order_away_from_the_mark_counts_its_loss() -> None:
    """Bidding 110 where the mark is 100 loses 10 a lot at once, and the maker fee of 1 % on top."""
    desk = Desk(rulebook(fees={"maker_ppb": 10_000_000, "taker_ppb": 10_000_000}), index=(100,))
    (a,) = desk.open(1000)
    desk.order(a, BUY, 10, 110)
    fee = 10 * 110 // 100
    assert initial_excess_atoms(desk.state, a) == (1000 - 10 * 100 // 20 - 10 * (110 - 100) - fee) * USD


@pytest.mark.spec("MARG-02")
def test_taker_pays_the_gap_to_the_mark_and_the_fee_before_he_is_judged() -> None:
    """10 lots at 110 marked at 100: 50 of margin, 100 of gap and 11 of fee."""
    desk = Desk(rulebook(fees={"taker_ppb": 10_000_000}), index=(100,))
    poor, enough, b = desk.open(160, 161, RICH)
    desk.order(b, SELL, 20, 110)
    assert desk.refused(PlaceOrder(poor, 0, BUY, 10, 110, "ioc")) == RejectReason.MARGIN_TOO_SMALL
    desk.ok(PlaceOrder(enough, 0, BUY, 10, 110, "ioc"))
    assert initial_excess_atoms(desk.state, enough) == 0


@pytest.mark.spec("MARG-03")
def test_account_below_its_initial_margin_may_reduce_and_deposit_and_nothing_else() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(60, RICH)
    desk.trade(a, b, 10, 100)
    desk.index(97)
    assert initial_excess_atoms(desk.state, a) < 0 < desk.equity(a) - desk.requirement(a)
    desk.order(b, BUY, 20, 97)
    assert desk.refused(PlaceOrder(a, 0, BUY, 1, 97)) == RejectReason.MARGIN_TOO_SMALL
    assert desk.refused(PlaceOrder(a, 0, SELL, 18, 97)) == RejectReason.MARGIN_TOO_SMALL
    desk.ok(PlaceOrder(a, 0, SELL, 4, 97, "ioc"))
    desk.ok(Deposit(0, a, (1,)))
    desk.ok(PlaceOrder(a, 0, SELL, 6, tif="ioc", reduce_only=True))
    assert desk.lots(a) == 0
    assert desk.cash(a) == (60 - 10 * 3) * USD + 1


@pytest.mark.spec("MARG-03")
def test_reducing_is_allowed_though_initial_margin_is_missing_afterwards_too() -> None:
    """At 97 there are 30 USD of equity; nine of the ten lots still ask for 9 * 97 / 20 = 43.65."""
    desk = Desk(index=(100,))
    a, b = desk.open(60, RICH)
    desk.trade(a, b, 10, 100)
    desk.index(97)
    desk.order(b, BUY, 1, 97)
    desk.ok(PlaceOrder(a, 0, SELL, 1, 97, "ioc"))
    assert desk.lots(a) == 9
    assert initial_excess_atoms(desk.state, a) == 30 * USD - 9 * 97 * USD // 20


@pytest.mark.spec("MARG-03")
def test_reducing_far_below_the_mark_that_leaves_the_account_less_safe_is_refused() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(60, RICH)
    desk.trade(a, b, 10, 100)
    desk.index(97)
    desk.order(b, BUY, 5, 90)
    assert desk.refused(PlaceOrder(a, 0, SELL, 5, 90, "ioc")) == RejectReason.MARGIN_TOO_SMALL


@pytest.mark.spec("MARG-05")
def test_unrealised_profit_never_leaves_and_realised_profit_does() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 10, 100)
    desk.index(200)
    assert withdrawable_atoms(desk.state, a) == 1000 * USD
    assert desk.refused(Withdraw(a, 0, 1000 * USD + 1)) == RejectReason.BALANCE_TOO_SMALL
    desk.order(b, BUY, 5, 200)
    desk.order(a, SELL, 5, 200)
    assert withdrawable_atoms(desk.state, a) == (1000 + 5 * 100) * USD


@pytest.mark.spec("MARG-05")
def test_withdrawing_leaves_initial_margin_and_a_share_of_the_value() -> None:
    """10 lots at 100: 50 by leverage 20, but 10 % of the value is 100."""
    desk = Desk(rulebook(margin={"transfer_min_ppb": 100_000_000}), index=(100,))
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 10, 100)
    assert withdrawable_atoms(desk.state, a) == (1000 - 100) * USD
    desk.ok(Withdraw(a, 0, 900 * USD))
    assert desk.refused(Withdraw(a, 0, 1)) == RejectReason.BALANCE_TOO_SMALL


def test_loss_and_resting_orders_are_kept_back_from_a_withdrawal() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(a, BUY, 10, 90)
    desk.index(90)
    assert withdrawable_atoms(desk.state, a) == (1000 - 10 * 10 - 20 * 90 // 20) * USD


def test_what_spot_orders_have_promised_cannot_be_withdrawn() -> None:
    desk = Desk(instruments=(perpetual(), spot()), index=(100, 10))
    (a,) = desk.open(1000)
    desk.order(a, BUY, 40, 10, instrument=1)
    assert withdrawable_atoms(desk.state, a) == (1000 - 400) * USD
    assert desk.refused(PlaceOrder(a, 1, BUY, 61, 10)) == RejectReason.BALANCE_TOO_SMALL


@pytest.mark.spec("MARG-04")
def test_more_orders_on_the_worse_side_never_ask_for_less() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 10, 100)
    before = initial_excess_atoms(desk.state, a)
    for lots in (1, 10, 100):
        desk.order(a, BUY, lots, 100)
        after = initial_excess_atoms(desk.state, a)
        assert after < before
        before = after


def scan_all(state: State) -> list[Found]:
    """The plain twin of the scan: every compartment of every customer, one by one."""
    found = []
    for account in range(FIRST_ACCOUNT, state.accounts.count):
        if state.accounts.vault.cells[0][account]:
            continue
        pockets = [state.settle, *(state.pocket(market.number) for market in state.contracts)]
        for pocket in pockets:
            risk = risk_of(state, (account, pocket))
            if pocket != state.settle:
                n = pocket - len(state.assets)
                if not state.accounts.isolated.cells[n][account]:
                    continue
            if not risk.is_safe:
                found.append(Found((account, pocket), risk))
    found.sort(key=lambda f: (health(f.risk), -f.risk.maintenance_atoms, f.risk.margin_atoms, f.compartment))
    return found


def health(risk: Risk) -> Fraction | float:
    """Margin over requirement, exact; a debt without a requirement is worse than any."""
    return Fraction(risk.margin_atoms, risk.maintenance_atoms) if risk.maintenance_atoms else -math.inf


COIN_TIERS = [{"upto": 20_000, "ratio_ppb": 900_000_000}, {"upto": 90_000, "ratio_ppb": 333_333_333}]
COIN_RULES: list[dict[str, Any]] = [
    {"tiers": COIN_TIERS, "ask_buffer_ppb": 5_000_000},
    {"tiers": COIN_TIERS, "tier_unit": "value", "bid_buffer_ppb": 10_000_000},
    {"ratio_ppb": 700_000_000},
    {"ratio_ppb": 700_000_000, "haircut_for": "initial"},
]


def crowd(rng: random.Random, count: int, **tables: Any) -> Desk:
    """Accounts with random positions in three contracts, some isolated, none with a book to trade in.

    The second one's maintenance is a share of what the lots cost.
    """
    tiers = (Tier(0, 20), Tier(2_000 * USD, 10), Tier(20_000 * USD, 5))
    small = {"open_interest_max_lots": 100_000, "price_max_ticks": 10_000, "size_max_lots": 1000}
    desk = Desk(
        rulebook("book", **tables),
        (
            perpetual("BTC", tiers=tiers, **small),
            perpetual("ETH", tiers=tiers[:2], maintenance_basis="entry", **small),
            future("WTI", margin_floor_atoms_per_lot=USD, **small, price_min_ticks=-10_000),
            spot("COIN/USDC", **small),
        ),
    )
    desk.venue.check = lambda: None  # type: ignore[method-assign]
    owners = desk.open(*(rng.choice([5, 50, 200, 1000, 5000]) for _ in range(count)))
    for n, price in enumerate((100, 100, rng.choice([1, 20, -3]))):
        chosen = rng.sample(owners, count // 2 * 2)
        lots = []
        for _k in range(0, len(chosen), 2):
            size = rng.choice([1, 3, 20, 100, 700])
            lots += [size, -size]
        isolated = [rng.choice([0, 0, 1]) * max(0, desk.cash(account)) // 3 for account in chosen]
        desk.ok(
            LoadPositions(
                n,
                price,
                tuple(chosen),
                tuple(lots),
                (price,) * len(chosen),
                (1,) * len(chosen),
                tuple(isolated),
            )
        )
    return desk


@pytest.mark.spec("LIQ-02", "LIQ-10", "MARG-01", kind="S")
@pytest.mark.parametrize("seed", range(12))
def test_vectorised_scan_equals_the_scalar_one_on_every_step_of_a_random_walk(seed: int) -> None:
    """With no book nobody can be sold, so each scan must find just those that a full scan finds.

    Most accounts are skipped on most steps: the meter of moves must never skip one that is liquidatable.
    """
    rng = random.Random(seed)
    desk = crowd(rng, 60)
    prices = [100, 100, rng.choice([1, 20, -3]), 10]
    skipped = 0
    for _ in range(60):
        jump = rng.choice([0, 1, 1, 2, 5, 30])
        for n in range(4):
            low = -500 if n == 2 else 1
            prices[n] = max(low, min(900, prices[n] + rng.randint(-jump, jump)))
        desk.index(*prices)
        recheck = desk.state.accounts.recheck_at.array[0, FIRST_ACCOUNT : desk.state.accounts.count]
        skipped += int((recheck >= desk.state.counters.meter_ppb).sum())
        assert find_liquidatable(desk.state) == scan_all(desk.state)
        assert set(desk.state.in_liquidation) >= {f.compartment for f in scan_all(desk.state)}
        if rng.random() < 0.2:
            desk.do(Deposit(0, rng.randrange(FIRST_ACCOUNT, desk.state.accounts.count), (100 * USD,)))
    assert skipped, "the walk never let the scan skip anybody, so it tests nothing"


@pytest.mark.spec("LIQ-02", "LIQ-10", kind="S")
@pytest.mark.parametrize("seed", range(8))
def test_scan_with_collateral_and_liabilities_equals_the_scalar_one_and_skips_accounts(seed: int) -> None:
    """Coins move against the contracts; some accounts owe settlement asset, some owe coins."""
    rng = random.Random(seed)
    table = COIN_RULES[seed % len(COIN_RULES)] | {"asset": "COIN", "decimals": 3}
    desk = crowd(rng, 60, collateral=[table])
    everybody = np.arange(FIRST_ACCOUNT, desk.state.accounts.count)
    for account in everybody.tolist():
        coins = rng.choice([0, 0, 1, 333, 50_000, 200_000])
        owed = rng.choice([0, 0, 300, 2_000]) * USD
        short = rng.choice([0, 0, 0, 7_777])
        legs = [(account, 1, coins - short), (0, 1, short - coins), (account, 0, -owed), (0, 0, owed)]
        desk.state.ledger.post("deposit", legs)
    prices = [100, 100, rng.choice([1, 20, -3]), 10]
    skipped = liquidatable = 0
    for _ in range(60):
        jump = rng.choice([0, 0, 1, 1, 2, 20])
        for n in range(4):
            low = -500 if n == 2 else 1
            prices[n] = max(low, min(900, prices[n] + rng.randint(-jump, jump)))
        desk.index(*prices)
        recheck = desk.state.accounts.recheck_at.array[0, everybody]
        skipped += int((recheck >= desk.state.counters.meter_ppb).sum())
        found = scan_all(desk.state)
        liquidatable += len(found)
        assert find_liquidatable(desk.state) == found
        risks = [risk_of(desk.state, (account, 0)) for account in everybody.tolist()]
        equity, required = pooled_equity(desk.state, everybody)
        assert equity.tolist() == [risk.equity_atoms for risk in risks]
        assert required.tolist() == [risk.maintenance_atoms for risk in risks]
    assert skipped
    assert liquidatable


@pytest.mark.parametrize(
    ("lots", "required"),
    [(10, 10 * 100), (4, 4 * 100), (13, 10 * 100 + 3 * 80), (-2, 2 * 80), (0, 0)],
)
def test_requirement_at_entry_keeps_the_cost_of_lots_and_adds_others_at_the_mark(
    lots: int, required: int
) -> None:
    """10 bought at 100, now at 80, with 1/40 of the basis."""
    desk = Desk(instruments=(perpetual(maintenance_basis="entry"),), index=(100,))
    a, b = desk.open(1_000, 1_000)
    desk.trade(a, b, 10, 100)
    desk.index(80)
    market = desk.state.markets[0]
    assert maintenance_of(desk.state, market, a, lots) == required * USD // 40
    assert desk.requirement(a) == 10 * 100 * USD // 40


@pytest.mark.spec("LIQ-02")
@pytest.mark.parametrize("start", [1, 2, 7])
def test_scan_misses_nobody_when_a_price_starts_near_zero(start: int) -> None:
    desk = Desk(rulebook("book"), (future(),))
    a, b = desk.open(10_000, 10_000)
    desk.ok(LoadPositions(0, start, (a, b), (100, -100), (start, start), (1, 1), (0, 0)))
    for price in (start, 0, -1, -90, -99, -100, 50, 97, 99, 101, 102, 110):
        desk.index(price)
        assert find_liquidatable(desk.state) == scan_all(desk.state)


@pytest.mark.spec("LIQ-02")
def test_scan_counts_that_the_requirement_of_a_large_short_rises_by_the_steepest_tier() -> None:
    """100 lots short; above 1000 USD a quarter of the value is required, below it a fortieth.

    At 100 equity is 1000 above the requirement. Each rise by 1 costs 100 of equity and adds 100 / 4 to the
    requirement, so 1000 / 125 = 8 is a safe rise; by the first tier alone 1000 / 102.5 = 9.75 would seem one.
    """
    desk = Desk(rulebook("book"), (perpetual(tiers=(Tier(0, 20), Tier(1000 * USD, 2))),))
    required_usd = 1000 // 40 + (100 * 100 - 1000) // 4
    short, long = desk.open(required_usd + 1000, RICH)
    desk.ok(LoadPositions(0, 100, (short, long), (-100, 100), (100, 100), (1, 1), (0, 0)))
    desk.index(100)
    assert desk.requirement(short) == required_usd * USD
    assert scan_all(desk.state) == []
    desk.index(109)
    risk = Risk((required_usd + 1000 - 100 * 9) * USD, (required_usd + 25 * 9) * USD)
    assert scan_all(desk.state) == [Found((short, 0), risk)]
    assert find_liquidatable(desk.state) == scan_all(desk.state)


@pytest.mark.spec("MARG-06")
def test_isolated_margin_moves_between_pockets_and_never_changes_equity() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.ok(SetLeverage(a, 0, 10, "isolated"))
    desk.trade(a, b, 10, 100)
    assert (desk.cash(a), desk.cash(a, 2)) == ((1000 - 100) * USD, 100 * USD)
    desk.ok(TransferMargin(a, 0, 50 * USD))
    assert (desk.cash(a), desk.cash(a, 2)) == (850 * USD, 150 * USD)
    assert desk.refused(TransferMargin(a, 0, -50 * USD - 1)) == RejectReason.BALANCE_TOO_SMALL
    desk.ok(TransferMargin(a, 0, -50 * USD))
    assert desk.refused(TransferMargin(a, 0, 900 * USD + 1)) == RejectReason.BALANCE_TOO_SMALL
    assert desk.equity(a) + desk.equity(a, 2) == 1000 * USD


@pytest.mark.spec("MARG-05")
def test_profit_of_an_isolated_position_cannot_be_moved_out() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.ok(SetLeverage(a, 0, 10, "isolated"))
    desk.trade(a, b, 10, 100)
    desk.index(150)
    assert desk.refused(TransferMargin(a, 0, -100 * USD - 1)) == RejectReason.BALANCE_TOO_SMALL
    desk.ok(TransferMargin(a, 0, -100 * USD))


def test_isolated_position_never_draws_on_the_wallet_nor_the_wallet_on_it() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.ok(SetLeverage(a, 0, 10, "isolated"))
    desk.trade(a, b, 10, 100)
    desk.index(95)
    assert (desk.equity(a), desk.equity(a, 2)) == (900 * USD, (100 - 50) * USD)
    assert withdrawable_atoms(desk.state, a) == 900 * USD


def test_closing_half_of_an_isolated_position_gives_half_of_its_margin_back() -> None:
    """Margin 100, loss 10 a lot on 5 of 10 lots: 50 released less 25 lost, and 50 stay."""
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.ok(SetLeverage(a, 0, 10, "isolated"))
    desk.trade(a, b, 10, 100)
    desk.order(b, BUY, 10, 95)
    desk.order(a, SELL, 5)
    assert (desk.cash(a), desk.cash(a, 2)) == ((900 + 50 - 25) * USD, 50 * USD)
    desk.order(a, SELL, 5)
    assert (desk.cash(a), desk.cash(a, 2)) == ((1000 - 50) * USD, 0)


def test_closing_a_part_of_an_ample_isolated_position_gives_back_its_share_and_no_more() -> None:
    """200 of margin on 10 lots at 100: with 4 lots go 200 * 4 / 10, though the 6 that stay need only 60."""
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.ok(SetLeverage(a, 0, 10, "isolated"))
    desk.trade(a, b, 10, 100)
    desk.ok(TransferMargin(a, 0, 100 * USD))
    desk.order(b, BUY, 4, 100)
    desk.order(a, SELL, 4)
    share = 200 * 4 // 10
    assert (desk.cash(a), desk.cash(a, 2)) == ((800 + share) * USD, (200 - share) * USD)


@pytest.mark.spec("MARG-06")
def test_margin_mode_cannot_change_under_a_position_or_an_order() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.order(a, BUY, 1, 90)
    assert desk.refused(SetLeverage(a, 0, 10, "isolated")) == RejectReason.MODE_HAS_POSITION
    desk.trade(b, a, 1, 95)
    assert desk.refused(SetLeverage(a, 0, 10, "isolated")) == RejectReason.MODE_HAS_POSITION


@pytest.mark.spec("MARG-06")
def test_lower_leverage_asks_for_its_margin_at_once() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(100, RICH)
    desk.trade(a, b, 10, 100)
    desk.ok(SetLeverage(a, 0, 10))
    assert desk.refused(SetLeverage(a, 0, 9)) == RejectReason.MARGIN_TOO_SMALL
    assert desk.refused(SetLeverage(a, 0, 21)) == RejectReason.LEVERAGE_OUT_OF_RANGE
    assert desk.refused(SetLeverage(a, 0, 0)) == RejectReason.LEVERAGE_OUT_OF_RANGE


@pytest.mark.spec("MARG-07")
def test_mass_quote_is_judged_like_the_orders_that_it_stands_for() -> None:
    desk = Desk(index=(100,))
    (a,) = desk.open(100)
    assert desk.refused(PlaceOrder(a, 0, BUY, 21, 100)) == RejectReason.MARGIN_TOO_SMALL
    assert desk.refused(MassQuote(a, 0, ((100, 21),), ())) == RejectReason.MARGIN_TOO_SMALL
    desk.ok(MassQuote(a, 0, ((100, 20),), ((101, 19),)))


@pytest.mark.spec("ATK-11")
def test_profit_is_not_withdrawn_to_the_edge_of_maintenance_on_hyperliquid() -> None:
    rules = hyperliquid(fees={"maker_ppb": 0, "taker_ppb": 0}, orders={"value_min_atoms": 0})
    desk = Desk(rules, index=(100,))
    a, b = desk.open(10_000, RICH)
    desk.trade(a, b, 100, 100)
    desk.index(200)
    desk.order(b, BUY, 50, 200)
    desk.order(a, SELL, 50, 200)
    cash, value = 10_000 + 50 * 100, 50 * 200
    assert withdrawable_atoms(desk.state, a) == cash * USD
    desk.ok(Withdraw(a, 0, cash * USD))
    assert desk.equity(a) == (cash + 50 * 100 - cash) * USD
    assert desk.equity(a) >= value // 10 * USD


# What is promised, what counts as margin, and what may leave


def coin_desk(ratio_ppb: int = PPB // 2, **tables: Any) -> tuple[Desk, int, int]:
    """Two contracts at 100, coins at 50 that count for 25; an account with 3 of them, and a rich one."""
    desk = Desk(
        rulebook(collateral=[{"asset": "COIN", "decimals": 3, "ratio_ppb": ratio_ppb}], **tables),
        (perpetual(), perpetual("ETH"), spot()),
        index=(100, 100, 50),
    )
    a, b = desk.open(0, RICH)
    desk.ok(Deposit(1, a, (3_000,)))
    return desk, a, b


@pytest.mark.spec("MARG-02", "MARG-05")
def test_cash_promised_to_a_spot_order_is_no_margin_and_cannot_leave() -> None:
    """10 lots gained 500; of 1000 in cash 3 * 10 are promised."""
    desk = Desk(instruments=(perpetual(), spot()), index=(100, 10))
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(a, BUY, 3, 10, instrument=1)
    desk.index(150, 10)
    assert initial_excess_atoms(desk.state, a) == (1000 + 500 - 30 - 10 * 150 // 20) * USD
    assert withdrawable_atoms(desk.state, a) == (1000 - 30) * USD


@pytest.mark.spec("MARG-05")
def test_last_atom_without_positions_may_leave() -> None:
    desk = Desk(index=(100,))
    (a,) = desk.open(0)
    assert withdrawable_atoms(desk.state, a) == 0
    desk.ok(Deposit(0, a, (1,)))
    assert withdrawable_atoms(desk.state, a) == 1


@pytest.mark.spec("MARG-05")
def test_share_of_value_that_must_stay_is_of_all_positions_and_collateral_counts_for_it() -> None:
    """10 lots of each contract: 10 % of 2000 must stay of 1000 + 75."""
    desk, a, b = coin_desk(margin={"transfer_min_ppb": 100_000_000})
    desk.ok(Deposit(0, a, (1000 * USD,)))
    desk.trade(a, b, 10, 100)
    desk.trade(a, b, 10, 100, instrument=1)
    assert withdrawable_atoms(desk.state, a) == (1000 + 75 - 200) * USD


@pytest.mark.spec("MARG-05")
def test_asset_that_is_no_collateral_leaves_freely() -> None:
    desk = Desk(instruments=(perpetual(), spot()), index=(100, 50))
    (a,) = desk.open(0)
    desk.ok(Deposit(1, a, (3_000,)))
    assert withdrawable_collateral_atoms(desk.state, a, 1) == 3_000
    assert sale_cost_atoms(desk.state, a, desk.state.markets[1], 3, 0) == 0
    desk.order(a, SELL, 3, 60, instrument=1)
    assert withdrawable_collateral_atoms(desk.state, a, 1) == 0


@pytest.mark.spec("MARG-05")
def test_collateral_leaves_to_the_last_atom_while_nothing_needs_it() -> None:
    desk, a, _ = coin_desk()
    assert withdrawable_collateral_atoms(desk.state, a, 1) == 3_000
    desk.tick(later_ns=desk.rules.margin.index_age_max_ns + 1)
    assert collateral_initial_atoms(desk.state, a) == 0
    assert withdrawable_collateral_atoms(desk.state, a, 1) == 3_000


@pytest.mark.spec("MARG-05")
def test_collateral_that_carries_a_position_stays_to_the_last_atom() -> None:
    """15 lots at 100 need 75, which is all that three coins count for."""
    desk, a, b = coin_desk()
    desk.trade(a, b, 15, 100)
    assert initial_excess_atoms(desk.state, a) == 0
    assert withdrawable_collateral_atoms(desk.state, a, 1) == 0


@pytest.mark.spec("MARG-05")
def test_what_is_owed_stays_covered_by_collateral_and_not_by_profit() -> None:
    """20 in cash and 5 * 10 promised leave 30 to be covered: of 75 that the coins count for 45 may go."""
    desk, a, b = coin_desk()
    desk.ok(Deposit(0, a, (1000 * USD,)))
    desk.trade(a, b, 10, 100)
    desk.order(a, BUY, 5, 10, instrument=2)
    desk.index(200, 100, 50)
    desk.state.ledger.post("withdrawal", [(a, 0, -980 * USD), (0, 0, 980 * USD)])
    assert withdrawable_collateral_atoms(desk.state, a, 1) == 45 * 1000 // 25


@pytest.mark.spec("MARK-02")
def test_one_atom_of_a_stale_asset_counts_nothing() -> None:
    desk, _, b = coin_desk(PPB)
    desk.ok(Deposit(1, b, (1,)))
    assert collateral_initial_atoms(desk.state, b) == 50 * USD // 1000
    desk.tick(later_ns=desk.rules.margin.index_age_max_ns + 1)
    assert collateral_initial_atoms(desk.state, b) == 0


@pytest.mark.spec("MARG-02")
def test_resting_sale_below_what_the_coins_count_for_takes_off_the_difference_and_the_fee() -> None:
    """A coin counts for 25; sold at 24 less 1 % it brings 23.76."""
    desk, a, _ = coin_desk(fees={"maker_ppb": 10_000_000, "taker_ppb": 10_000_000})
    desk.order(a, SELL, 3, 24, instrument=2)
    assert collateral_initial_atoms(desk.state, a) == 3 * 23_760_000


@pytest.mark.spec("MARG-04")
def test_initial_rate_rises_with_the_open_interest() -> None:
    """From 1/20 at 1000 USD of open interest to 1 at 3000: at 2000 it is 0.05 + 0.95 / 2 = 0.525."""
    bounds: dict[str, Any] = {"open_interest_low_atoms": 1000 * USD, "open_interest_high_atoms": 3000 * USD}
    desk = Desk(instruments=(perpetual(**bounds),), index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 10, 100)
    assert initial_of(desk.state, desk.state.markets[0], a) == 1000 * USD // 20
    desk.trade(a, b, 10, 100)
    assert initial_of(desk.state, desk.state.markets[0], a) == 2000 * USD * 525 // 1000
    assert initial_excess_atoms(desk.state, a) == RICH * USD - 2000 * USD * 525 // 1000


def test_initial_requirement_of_a_compartment_is_at_the_chosen_leverage() -> None:
    desk, a, b = coin_desk()
    desk.ok(Deposit(0, a, (1000 * USD,)))
    desk.ok(SetLeverage(a, 0, 10))
    desk.trade(a, b, 10, 100)
    desk.trade(a, b, 10, 100, instrument=1)
    assert initial_requirement_atoms(desk.state, (a, 0)) == (1000 // 10 + 1000 // 20) * USD


@pytest.mark.spec("MARG-02")
@pytest.mark.parametrize(
    ("side", "price", "change", "expected"),
    [
        # 15 to buy and 4 to sell: 75 of margin, losses of 15 * 10 and 4 * 10, fees on 1650 and 360
        (BUY, 110, Change(0, 0, 0, 5, 4, 550 * USD, 360 * USD), 1000 - 75 - 150 - 40 - 20.1),
        # 15 to sell: losses of 10 * 5 and 5 * 10, fees on 950 and 450
        (SELL, 95, Change(0, 0, 0, 0, 5, 0, 450 * USD), 1000 - 75 - 50 - 50 - 14),
    ],
)
def test_new_orders_are_judged_beside_those_that_rest(
    side: Any, price: int, change: Change, expected: float
) -> None:
    """Ten lots rest at a price that loses against the mark of 100; the maker fee is 1 %."""
    desk = Desk(rulebook(fees={"maker_ppb": 10_000_000, "taker_ppb": 10_000_000}), index=(100,))
    (a,) = desk.open(1000)
    desk.order(a, side, 10, price)
    assert initial_excess_atoms(desk.state, a, change) == round(expected * USD)


@pytest.mark.spec("MARG-02")
@pytest.mark.parametrize(("mode", "required"), [("cross", 3 * 50), ("isolated", 3 * 25)])
def test_level_that_stops_opening_is_a_multiple_of_the_maintenance_of_all_cross_positions(
    mode: Any, required: int
) -> None:
    """10 lots of each contract need 25 in maintenance and 50 initially; an isolated one is not counted."""
    levels = [{"name": "stop", "at_ppb": 3 * PPB, "opens": False}]
    desk = Desk(
        rulebook(portfolio={"moves_ppb": [], "levels": levels}),
        (perpetual(), perpetual("ETH")),
        index=(100, 100),
    )
    a, b = desk.open(1000, RICH)
    desk.ok(SetLeverage(a, 1, 20, mode))
    desk.trade(a, b, 10, 100)
    desk.trade(a, b, 10, 100, instrument=1)
    assert initial_excess_atoms(desk.state, a) == desk.cash(a) - required * USD - 1


@pytest.mark.spec("LIQ-02")
def test_scan_reads_every_contract_though_nobody_holds_the_first() -> None:
    desk = Desk(rulebook("book"), (perpetual(), perpetual("ETH")), index=(100, 100))
    a, b = desk.open(60, RICH)
    desk.trade(a, b, 10, 100, instrument=1)
    assert pooled_equity(desk.state, np.array([a]))[1].tolist() == [1000 * USD // 40]
    assert of(desk.index(100, 96), LiquidationStarted)


@pytest.mark.spec("LIQ-02")
def test_scan_finds_an_isolated_pocket_below_zero_without_a_position() -> None:
    desk = Desk(rulebook("book"), index=(100,))
    (a,) = desk.open(60)
    desk.ok(SetLeverage(a, 0, 20, "isolated"))
    desk.state.ledger.post("deposit", [(a, 2, -5), (0, 2, 5)])
    desk.state.accounts.recheck_at.cells[0][a] = -1
    assert find_liquidatable(desk.state) == [Found((a, 2), Risk(-5, 0))]


@pytest.mark.spec("MARG-04")
@pytest.mark.parametrize(
    ("held", "cost", "lots", "value"),
    [(3, 100, 2, 100 - 33), (3, 100, 3, 100), (1, 100, 1, 100), (-3, -100, -2, 66), (3, 100, 4, 100 + 80)],
)
def test_lots_that_remain_keep_their_share_of_the_cost_rounded_in_atoms(
    held: int, cost: int, lots: int, value: int
) -> None:
    """One lot is worth 80 atoms at the mark. Of -100 a third is floored to -34, which leaves -66."""
    market = Market(0, perpetual(maintenance_basis="entry", tick_value_atoms=1))
    market.prices.mark_ticks = 80
    assert maintained_value_atoms(market, held, cost, lots) == value


@pytest.mark.spec("LIQ-01", "MARG-08")
@pytest.mark.parametrize(("mode", "pocket"), [("cross", 0), ("isolated", 2)])
def test_scan_finds_accounts_at_their_requirement_where_the_rulebook_says_so(mode: Any, pocket: int) -> None:
    """10 lots bought at 100; at 96 they have lost 40 and need 24 of the 64 that are left to them."""
    desk = Desk(rulebook("book", liquidation={"trigger": "at_or_below"}), index=(100,))
    a, b = desk.open(64, RICH)
    desk.ok(SetLeverage(a, 0, 20, mode))
    desk.trade(a, b, 10, 100)
    if pocket:
        desk.ok(TransferMargin(a, 0, 14 * USD))
    desk.index(96)
    assert find_liquidatable(desk.state) == [Found((a, pocket), Risk(24 * USD, 24 * USD, True))]


@pytest.mark.spec("LIQ-02")
def test_scan_looks_at_inverse_positions_at_every_move() -> None:
    """Their value is no multiple of the price, so that no move is known to be safe."""
    instrument = perpetual(contract="inverse", tick_value_atoms=10**6 * USD)
    desk = Desk(rulebook("book"), (instrument,), index=(1000,))
    a, b = desk.open(100, RICH)
    desk.trade(a, b, 1, 1000)
    found = []
    for price in range(990, 880, -10):
        desk.index(price)
        assert find_liquidatable(desk.state) == scan_all(desk.state)
        found.append(bool(scan_all(desk.state)))
    assert found == sorted(found)
    assert (found[0], found[-1]) == (False, True)


@pytest.mark.spec("LIQ-02", "NUM-06")
@pytest.mark.parametrize(
    ("excess", "per_move", "safe"),
    [
        (63, 5, -1),
        (64, 5, 0),
        (64 + 10, 4, 10 * PPB // 4),
        (64 + 3, 1, 3 * PPB),
        (64 + 9 * PPB - 1, 2 * PPB, (9 * PPB - 1) // 2),
        (64 + 9 * PPB, 2 * PPB, 9 * PPB // 3),
        (64 + 30 * PPB, 5, 30 * PPB),
        (0, 0, 2**62 - 1),
        (-1, 0, -1),
    ],
)
def test_safe_move_is_the_excess_beyond_the_slack_over_the_loss_of_a_whole_move(
    excess: int, per_move: int, safe: int
) -> None:
    """In ppb, rounded down; from 9 * 10^9 atoms on the division comes first and is never too large."""
    moves = _safe_move_ppb(np.array([excess], np.int64), np.array([per_move], np.int64))
    assert moves.dtype == np.int64
    assert moves.tolist() == [safe]


@pytest.mark.spec("MARG-01", "LIQ-02")
def test_every_asset_of_the_collateral_counts_and_takes_its_haircut() -> None:
    """3 coins at 50 that count half, 2 ounces at 40 that count a quarter: worth 150 and 80.

    10 lots that were bought at 100 have lost 220 at 78: of 230 - 220 = 10 the haircut leaves -125.
    """
    halves = {"asset": "COIN", "decimals": 3, "ratio_ppb": PPB // 2}
    quarters = {"asset": "GOLD", "decimals": 3, "ratio_ppb": PPB // 4}
    desk = Desk(
        rulebook("book", collateral=[halves, quarters]),
        (perpetual(), spot(), spot("GOLD/USDC", base_asset=2)),
        index=(100, 50, 40),
        assets=(*ASSETS, Asset("GOLD", 3)),
    )
    a, b = desk.open(0, RICH)
    desk.ok(Deposit(1, a, (3_000,)))
    desk.ok(Deposit(2, a, (2_000,)))
    assert collateral_values(desk.state)[a] == (150 + 80) * USD
    assert collateral_initial_atoms(desk.state, a) == (75 + 20) * USD
    desk.trade(a, b, 10, 100)
    desk.index(78, 50, 40)
    risk = Risk(10 * USD, 780 * USD // 40, haircut_atoms=(75 + 60) * USD)
    assert risk_of(desk.state, (a, 0)) == risk
    assert find_liquidatable(desk.state) == [Found((a, 0), risk)]
