"""Worked examples of liquidation, insurance and shared losses from many venues, in the units of ours.

A dYdX position is one lot whose price in ticks is its value in quote quantums, so that nothing is rounded on
the way. What the files say in dollars is USD with six decimals.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.golden.published import load, vectors
from tests.venues import USD, Desk, of, perpetual, rulebook
from zerodebt.exchange.commands import BUY, Deposit, LoadPositions
from zerodebt.exchange.events import INSURANCE, DeficitOpened, Filled, StagePaid
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.liquidation import left_atoms, limit_ticks, order_bounds_atoms
from zerodebt.exchange.margin import Risk, compare_danger, find_liquidatable, initial_excess_atoms, risk_of
from zerodebt.exchange.rules import DrawdownRules, LiquidationRules
from zerodebt.exchange.units import PPB
from zerodebt.exchange.waterfall.pools import is_drawn_down

RICH = 10_000_000
PPM = 10**6


def quantums(position: Any) -> int:
    """Signed value of a position at the oracle price, in quote quantums (millionths of a dollar)."""
    base = int(position["base_quantums"]) * Decimal(10) ** int(position["base_atomic_resolution"])
    value = base * Decimal(position["oracle_price_usd"]) * PPM
    assert value == int(value)
    return int(value)


def contract(position: Any) -> Instrument:
    """One lot is the position; the initial rate is the file's, the maintenance rate its fraction of it."""
    initial = int(position["initial_margin_ppm"]) * 1000
    fraction = int(position["maintenance_fraction_ppm"]) * 1000
    return perpetual(
        position["perp"],
        tick_value_atoms=1,
        price_max_ticks=10**12,
        size_max_lots=1,
        open_interest_max_lots=10,
        tiers=(Tier(0, 1, initial * fraction // PPB, initial),),
    )


def dydx(account: Any, **liquidation: Any) -> tuple[Desk, int]:
    """The account at the oracle prices, against a rich one."""
    positions = account["positions"]
    instruments = tuple(contract(p) for p in positions) or (perpetual(),)
    desk = Desk(rulebook("book", "adl", liquidation=liquidation), instruments)
    one, other = desk.open(0, RICH)
    cash = int(account["usdc_quote_quantums"])
    for n, position in enumerate(positions):
        value = quantums(position)
        cash += value
        lots = 1 if value > 0 else -1
        desk.ok(LoadPositions(n, abs(value), (one, other), (lots, -lots), (abs(value),) * 2, (1, 1), (0, 0)))
    give(desk, one, cash)
    for market, position in zip(desk.state.markets, positions, strict=False):
        market.prices.mark_ticks = abs(quantums(position))
    return desk, one


def give(desk: Desk, account: int, atoms: int) -> None:
    desk.state.ledger.post("deposit", [(account, 0, atoms), (0, 0, -atoms)])


@pytest.mark.parametrize(
    "vector",
    [v for v in load("dydx_v4_liquidation_trigger") if "account" in v["inputs"]],
    ids=lambda v: str(v["id"]),
)
def test_dydx_account_is_found_when_it_is_below_its_requirement(vector: Any) -> None:
    """Our scan also finds a debt without a position, which is nothing to liquidate."""
    desk, account = dydx(vector["inputs"]["account"])
    found = {f.compartment: f.risk for f in find_liquidatable(desk.state)}
    risk = found.get((account, 0), risk_of(desk.state, (account, 0)))
    assert risk.is_liquidatable is vector["expected"]["is_liquidatable"]


@pytest.mark.parametrize(
    "vector",
    [v for v in load("dydx_v4_liquidation_trigger") if "net_collateral" in v["inputs"]],
    ids=lambda v: str(v["id"]),
)
def test_dydx_trigger(vector: Any) -> None:
    given = vector["inputs"]
    risk = Risk(int(given["net_collateral"]), int(given["maintenance_margin_requirement"]))
    assert risk.is_liquidatable is vector["expected"]["is_liquidatable"]


def test_every_dydx_trigger_is_read() -> None:
    assert all({"account", "net_collateral"} & set(v["inputs"]) for v in load("dydx_v4_liquidation_trigger"))


@vectors("dydx_v4_margin_check")
def test_dydx_initial_collateral(vector: Any) -> None:
    """A position worth twice the requirement at leverage 2, carried without profit."""
    given = vector["inputs"]
    required = int(given["initial_margin_requirement"])
    instrument = perpetual(tick_value_atoms=1, tiers=(Tier(0, 2),))
    desk = Desk(rulebook("book", "adl"), (instrument,))
    account, other = desk.open(0, RICH)
    if required:
        price = 2 * required
        desk.ok(LoadPositions(0, price, (account, other), (1, -1), (price, price), (2, 2), (0, 0)))
        desk.state.markets[0].prices.mark_ticks = price
    give(desk, account, int(given["net_collateral"]))
    excess = initial_excess_atoms(desk.state, account)
    assert (excess >= 0) is vector["expected"]["initially_collateralized"]


@vectors("dydx_v4_liquidation_priority")
@pytest.mark.spec("LIQ-10")
def test_dydx_order_of_the_queue(vector: Any) -> None:
    first, second = (
        Risk(int(vector["inputs"][name]["net_collateral"]), int(vector["inputs"][name]["mmr"]))
        for name in ("first", "second")
    )
    assert compare_danger(first, second) == int(vector["expected"]["order"])
    assert compare_danger(second, first) == -int(vector["expected"]["order"])


def test_dydx_block_budgets_and_bounds_of_an_order() -> None:
    """dydx-blocklimit-01 and dydx-maxpos-01"""
    budgets, bounds = load("dydx_v4_partial_liquidation")
    given, expected = budgets["inputs"], budgets["expected"]
    for what in ("notional", "insurance"):
        name = "notional_liquidated" if what == "notional" else "insurance_lost"
        left = left_atoms(int(given[f"max_{name}"]), int(given[f"previous_{name}"]))
        assert left == int(expected[f"remaining_{what}"])
    given, expected = bounds["inputs"], bounds["expected"]
    rules = LiquidationRules(
        notional_min_atoms=int(given["min_position_notional_liquidated_quote_quantums"]),
        portion_max_ppb=int(given["max_position_portion_liquidated_ppm"]) * 1000,
    )
    notional = quantums(given | {"base_quantums": given["position_base_quantums"], **BTC})
    assert order_bounds_atoms(rules, notional) == (
        int(expected["min_notional"]),
        int(expected["max_notional"]),
    )


BTC = {"base_atomic_resolution": "-8"}


@vectors("dydx_v4_liquidation_fillable_price")
@pytest.mark.spec("LIQ-08")
def test_dydx_fillable_price(vector: Any) -> None:
    given = vector["inputs"]
    desk, account = dydx(
        given["account"],
        price_limit="fillable",
        fillable_adjustment_ppb=int(given["bankruptcy_adjustment_ppm"]) * 1000,
        fillable_spread_ppb=int(given["spread_to_maintenance_margin_ratio_ppm"]) * 1000,
    )
    names = [p["perp"] for p in given["account"]["positions"]]
    n = names.index(given["perp"])
    position = given["account"]["positions"][n]
    lots = desk.lots(account, n)
    risk = risk_of(desk.state, (account, 0))
    rules = desk.rules.liquidation
    cost = desk.state.accounts.cost.cells[n][account]
    limit = limit_ticks(rules, desk.state.markets[n], lots, cost, 1, risk, risk.equity_atoms, 0)
    assert limit is not None
    base = abs(int(position["base_quantums"])) * Fraction(10) ** int(position["base_atomic_resolution"])
    assert Fraction(limit, PPM) / base == Fraction(vector["expected"]["fillable_price_usd"])


@vectors("okx_adl_trigger")
def test_okx_fund_that_fell_too_far_from_its_peak(vector: Any) -> None:
    rules = DrawdownRules(start_ppb=300_000_000, stop_ppb=300_000_000, fall_min_atoms=50_000 * USD)
    peak, now = int(vector["inputs"]["fund_peak_8h"]) * USD, int(vector["inputs"]["fund_now"]) * USD
    threshold = int(vector["expected"]["threshold"]) * USD
    assert is_drawn_down(rules, peak, now, was_drawn_down=False) is vector["expected"]["adl"]
    assert is_drawn_down(rules, peak, threshold, was_drawn_down=False)
    assert not is_drawn_down(rules, peak, threshold + 1, was_drawn_down=False)


@vectors("bybit_adl_trigger")
def test_bybit_pool_that_fell_too_far_from_its_peak(vector: Any) -> None:
    rules = DrawdownRules(start_ppb=300_000_000, stop_ppb=250_000_000)
    peak, now = (int(vector["inputs"][name]) * USD for name in ("pool_max_balance_8h", "pool_balance"))
    assert is_drawn_down(rules, peak, now, was_drawn_down=False) is vector["expected"]["adl"]


@vectors("deribit_social_loss")
@pytest.mark.spec("WFALL-08")
def test_deribit_winners_of_the_session_bear_what_the_fund_cannot(vector: Any) -> None:
    """C buys 8 lots at 100 for a fee of 10, 6 of them from A and 2 from B; at 95 all of it is lost."""
    given, expected = vector["inputs"], vector["expected"]
    won = {name: int(given["session_profits"][name]) for name in ("A", "B")}
    lots = {name: profit // 5 for name, profit in won.items()}
    desk = Desk(
        rulebook(
            "book",
            "insurance",
            "socialise",
            insurance={"takes": "never"},
            fees={"taker_ppb": 12_500_000},
        ),
        (perpetual(leverage=50),),
        index=(100,),
    )
    lost, missing = -int(given["session_profits"]["C"]), int(given["bankrupt_losses"])
    c, a, b, bidder = desk.open(lost - missing, RICH, RICH, RICH)
    desk.ok(Deposit(0, INSURANCE, (int(given["insurance_fund"]) * USD,)))
    desk.trade(c, a, lots["A"], 100)
    desk.trade(c, b, lots["B"], 100)
    desk.order(bidder, BUY, 8, 95)
    events = desk.index(95)
    (opened,) = of(events, DeficitOpened)
    assert opened.atoms == missing * USD
    paid = [e for e in of(events, StagePaid) if e.stage == "socialise"]
    assert {e.payer: e.atoms for e in paid} == {
        who: int(expected["socialized"][name]) * USD for who, name in ((a, "A"), (b, "B"))
    }
    rate = Fraction(sum(e.atoms for e in paid), sum(e.base_atoms or 0 for e in paid))
    assert rate == Fraction(expected["session_tax_rate"])
    assert desk.cash(INSURANCE) == int(expected["insurance_fund_after"]) * USD
    assert desk.equity(c) == 0


@vectors("deribit_liquidation_fee")
@pytest.mark.spec("LIQ-03")
def test_deribit_fee_on_what_is_liquidated(vector: Any) -> None:
    """Lots bought at 104 with the initial margin of 5 %; at 100 they have lost 4 each."""
    notional = int(vector["inputs"]["notional"])
    lots = notional // 100
    rate = int(Fraction(vector["inputs"]["rate"]) * PPB)
    desk = Desk(rulebook("book", "insurance", fees={"liquidation_ppb": rate}), index=(104,))
    account, maker = desk.open(lots * 104 // 20, RICH)
    desk.trade(account, maker, lots, 104)
    desk.order(maker, BUY, lots, 100)
    desk.index(100)
    assert desk.lots(account) == 0
    assert desk.cash(INSURANCE) == int(vector["expected"]["fee"]) * USD


@vectors("bitmex_insurance_fund_delta")
@pytest.mark.spec("LIQ-08")
def test_bitmex_fill_better_than_the_bankruptcy_price_goes_to_the_fund(vector: Any) -> None:
    """In ticks of a tenth of a dollar: one lot bought at 100 with 1 dollar, taken to the book at 99.4."""
    given = vector["inputs"]
    desk = Desk(
        rulebook(
            "book",
            "insurance",
            "adl",
            liquidation={"steps": ["whole"], "price_limit": "bankruptcy", "surplus_max_ppb": PPB},
        ),
        (perpetual(leverage=100, tick_value_atoms=USD // 10),),
        index=(1000,),
    )
    account, maker = desk.open(1, RICH)
    desk.trade(account, maker, 1, 1000)
    ticks = int(Decimal(given["fill_price"]) * 10)
    desk.order(maker, BUY, 1, ticks)
    events = desk.index(994)
    assert [e.price_ticks for e in of(events, Filled)] == [ticks]
    assert desk.cash(INSURANCE) == int(Decimal(vector["expected"]["insurance_fund_delta"]) * USD)
    assert desk.equity(account) == 0


@vectors("perpetual_protocol_insurance_fund_delta")
def test_perpetual_protocol_bad_debt(vector: Any) -> None:
    """One lot is the position, one atom 10^-8 of a dollar."""
    given = {name: int(Decimal(text) * 10**8) for name, text in vector["inputs"].items()}
    instrument = perpetual(
        tick_value_atoms=1, price_max_ticks=10**11, tiers=(Tier(0, 10),), open_interest_max_lots=10**6
    )
    desk = Desk(rulebook("book", "insurance"), (instrument,))
    account, other = desk.open(0, RICH)
    desk.ok(Deposit(0, account, (given["margin"],)))
    entry = given["open_notional"]
    desk.ok(LoadPositions(0, entry, (account, other), (1, -1), (entry, entry), (1, 1), (0, 0)))
    (opened,) = of(desk.index(given["position_value"]), DeficitOpened)
    tolerance = Decimal(vector["tolerance"]["abs"])
    assert abs(Decimal(opened.atoms) / 10**8 - Decimal(vector["expected"]["bad_debt"])) <= tolerance


@vectors("drift_bankruptcy_flag")
def test_drift_account_with_a_liability_and_nothing_else_is_bankrupt(vector: Any) -> None:
    """Ours counts a position at its value, Drift no base at all: in the published cases they agree."""
    given = {name: int(text) for name, text in vector["inputs"].items()}
    desk = Desk(rulebook("book", "adl"), (perpetual(),))
    account, other = desk.open(0, RICH)
    if given["base"]:
        desk.ok(LoadPositions(0, 100, (account, other), (1, -1), (100, 100), (1, 1), (0, 0)))
        give(desk, account, 100 * USD)
        desk.state.markets[0].prices.mark_ticks = 100
    give(desk, account, given["quote"] + given["deposit"] - given["borrow"])
    assert risk_of(desk.state, (account, 0)).is_bankrupt is vector["expected"]["is_bankrupt"]
