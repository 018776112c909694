"""Published requirements, deductions and profits, asked of the venue's own margin."""

from fractions import Fraction
from typing import Any

from tests.golden.published import Contract, brackets, flat, ppb, second_of_two, units, vectors, within
from tests.venues import USD, Desk, perpetual, spot
from zerodebt.exchange.collateral import free_atoms
from zerodebt.exchange.commands import BUY, SELL, Deposit, PlaceOrder, SetPositionMode
from zerodebt.exchange.events import Rejected
from zerodebt.exchange.instruments import (
    Instrument,
    Tier,
    initial_atoms,
    maintenance_atoms,
    maintenance_rate,
    margin_table,
    open_interest_rate_ppm,
    shared_tier,
    tier_of,
    value_atoms,
)
from zerodebt.exchange.margin import size_beside
from zerodebt.exchange.oracle import PathStep
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import profile_table, venue_rules
from zerodebt.exchange.units import PPB

CENTS = 2
SATOSHI = 8


def contract(tiers: tuple[Tier, ...], **changes: Any) -> Instrument:
    return Contract(tick=0, lot=0, tiers=tiers, **changes).instrument


@vectors("binance_usdm_tier_deduction")
def test_deduction_of_each_bracket(vector: Any) -> None:
    tiers = brackets(vector["inputs"]["brackets"], "notional_cap", "mmr", CENTS)
    table = margin_table(contract(tiers, decimals=CENTS))
    deductions = [Fraction(d, table.denominator * 10**CENTS) for d in table.deductions]
    assert deductions == [Fraction(amount) for amount in vector["expected"]["maintenance_amounts"]]


@vectors("binance_usdm_margin_requirement", without=("bn-tmm-01",))
def test_maintenance_of_a_bracket(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    decimals = 3
    tiers = brackets(given["brackets"], "notional_cap", "mmr", decimals)
    table = margin_table(contract(tiers, decimals=decimals))
    notional = units(given["notional"], decimals)
    n = tier_of(table, notional, 1)
    assert maintenance_rate(tiers[n]) == Fraction(expected["mmr"])
    deduction = Fraction(table.deductions[n], table.denominator * 10**decimals)
    assert deduction == Fraction(expected["maintenance_amount"])
    assert maintenance_atoms(table, notional, 1) == units(expected["maintenance_margin"], decimals)


@vectors("binance_usdm_margin_requirement", without=("bn-mm-02", "bn-mm-03", "bn-mm-05", "bn-mm-06"))
def test_requirement_and_profit_of_an_open_position(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    c = Contract(tick=2, lot=3, tiers=second_of_two(given["mmr"], given["maintenance_amount"], 5))
    standing = c.situation(given["size"], given["entry_price"], mark=given["mark"]).standing()
    assert within(c.money(standing.maintenance_atoms), expected["maintenance_margin"], vector)
    assert within(c.money(standing.equity_atoms), expected["unrealized_pnl"], vector)


@vectors("binance_coinm_margin_requirement")
def test_inverse_requirement_is_in_coin(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    c = Contract(tick=0, lot=0, decimals=SATOSHI, face=given["contract_usd"], tiers=flat(given["mmr"]))
    value = value_atoms(c.instrument, units(given["mark"], 0), units(given["contracts"], 0))
    assert abs(c.money(value)) == Fraction(expected["notional_btc"])
    standing = c.situation(given["contracts"], given["mark"]).standing()
    assert c.money(standing.maintenance_atoms) == Fraction(expected["maintenance_margin_btc"])


@vectors("binance_coinm_pnl")
def test_inverse_profit(vector: Any) -> None:
    given = vector["inputs"]
    c = Contract(tick=0, lot=0, decimals=SATOSHI, face="1", size_max="100000", tiers=flat("0.01"))
    standing = c.situation(given["notional_usd"], given["entry"], mark=given["mark"]).standing()
    assert c.money(standing.equity_atoms) == Fraction(vector["expected"]["pnl_btc"])


@vectors("bitmex_pnl")
def test_inverse_profit_at_the_exit(vector: Any) -> None:
    given = vector["inputs"]
    c = Contract(tick=0, lot=0, decimals=SATOSHI, face="1", size_max="100000", tiers=flat("0.01"))
    standing = c.situation(given["contracts"], given["entry"], mark=given["exit"]).standing()
    assert c.money(standing.equity_atoms) == Fraction(vector["expected"]["pnl_xbt"])


@vectors("binance_coinm_tier_deduction")
def test_deduction_of_a_coin_bracket(vector: Any) -> None:
    """The tiers below are such that they leave the stated deduction of the one before."""
    given = vector["inputs"]
    below = second_of_two(given["mmr_prev"], given["prev_amount_btc"], SATOSHI)
    tiers = (*below, Tier(units(given["floor_btc"], SATOSHI), 0, ppb(given["mmr"]), PPB))
    table = margin_table(contract(tiers, decimals=SATOSHI, face="1"))
    deductions = [Fraction(d, table.denominator * 10**SATOSHI) for d in table.deductions]
    assert deductions[1:] == [Fraction(given["prev_amount_btc"]), Fraction(vector["expected"]["amount_btc"])]


@vectors("bybit_margin_requirement", "bybit_tier_deduction")
def test_marginal_tiers_of_bybit(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    table = margin_table(contract(brackets(given["tiers"], "cap", "rate", CENTS), decimals=CENTS))
    value = units(given["position_value"], CENTS)
    assert maintenance_atoms(table, value, 1) == units(expected["maintenance_margin"], CENTS)
    if "deduction" in expected:
        deduction = table.deductions[tier_of(table, value, 1)]
        assert Fraction(deduction, table.denominator * 10**CENTS) == Fraction(expected["deduction"])


@vectors("okx_margin_requirement")
def test_initial_margin_in_dollars_and_in_coin(vector: Any) -> None:
    """The same size as a linear contract and as inverse contracts of 100 USD."""
    given, expected = vector["inputs"], vector["expected"]
    leverage = int(given["leverage"])
    tiers = (Tier(0, leverage),)
    linear = Contract(tick=0, lot=0, decimals=CENTS, tiers=tiers)
    standing = linear.situation(given["size"], given["price"], leverage=leverage).standing()
    assert linear.money(standing.initial_atoms) == Fraction(expected["im_usdt"])
    inverse = Contract(tick=0, lot=0, decimals=SATOSHI, face=given["price"], tiers=tiers)
    standing = inverse.situation(given["size"], given["price"], leverage=leverage).standing()
    assert inverse.money(standing.initial_atoms) == Fraction(expected["im_coin"])


@vectors("bitmex_margin_requirement")
def test_isolated_loss_stops_at_its_margin_and_a_cross_loss_does_not(vector: Any) -> None:
    """The position falls through its margin in one step; the fund has what is missing."""
    given, expected = vector["inputs"], vector["expected"]
    c = Contract(tick=0, lot=0, decimals=SATOSHI, tiers=flat("0.01"))
    wallet = "50"
    fall = [PathStep((units(given["price"], 0),))]
    for margin, loss in ((given["isolated_margin"], "loss_isolated"), (None, "loss_cross")):
        position = int(given["position"]) // int(given["entry"])
        case = c.situation(str(position), given["entry"], wallet=wallet, margin=margin)
        before = case.standing().equity_atoms + (units(margin, SATOSHI) if margin else 0)
        (outcome,) = case.what_if(fall, fund_atoms=units("1000", SATOSHI))
        left = outcome.cross.equity_atoms + outcome.balances[1]
        assert c.money(before - left) == Fraction(expected[loss])


@vectors("deribit_margin_requirement")
def test_rate_grows_with_size(vector: Any) -> None:
    """Per coin of a linear contract and per coin of value of an inverse one of 10 USD."""
    given, expected = vector["inputs"], vector["expected"]
    tiers = flat(given["mm_base"], given["im_base"])
    slope = ppb(given["im_slope"])
    assert slope == ppb(given["mm_slope"])
    linear = Contract(tick=0, lot=0, decimals=3, size_max="10000", tiers=tiers, slope_ppb=slope)
    standing = linear.situation(given["size"], given["price"]).standing()
    value = int(given["size"]) * int(given["price"])
    for name, atoms in (("im", standing.initial_atoms), ("mm", standing.maintenance_atoms)):
        if f"{name}_usd" in expected:
            assert linear.money(atoms) == Fraction(expected[f"{name}_usd"])
            assert linear.money(atoms) / value == Fraction(expected[f"{name}_rate"])
    if "im_coin" in expected:
        inverse = Contract(
            tick=0,
            lot=0,
            decimals=SATOSHI,
            face="10",
            size_max="1000000",
            tiers=tiers,
            slope_ppb=slope,
            slope_size=10**SATOSHI,
        )
        standing = inverse.situation(str(value // 10), given["price"]).standing()
        assert inverse.money(standing.initial_atoms) == Fraction(expected["im_coin"])


@vectors("dydx_v4_margin_requirement")
def test_dydx_requirements_in_quantums(vector: Any) -> None:
    """Atoms are quote quantums, lots base quantums: exact integers. Without a rate nothing is asked for."""
    given, expected = vector["inputs"], vector["expected"]
    exponent = int(given.get("price_exponent", 0)) + int(given.get("base_atomic_resolution", 0)) + 6
    unit = 10**exponent
    initial = int(given["initial_margin_ppm"]) * 1000
    spec = Instrument(
        "P",
        "perpetual",
        settle_asset=0,
        tick_decimals=0,
        lot_decimals=0,
        tick_value_atoms=unit,
        price_min_ticks=0,
        price_max_ticks=10**12,
        size_max_lots=10**12,
        open_interest_max_lots=10**12,
        tiers=(Tier(0, 0, 0, initial),) if initial else (),
        maintenance_of_initial_ppb=int(given.get("maintenance_fraction_ppm", 10**6)) * 1000,
        open_interest_low_atoms=int(given.get("oi_lower_cap_quote", given.get("oi_lower_cap", 0))),
        open_interest_high_atoms=int(given.get("oi_upper_cap_quote", given.get("oi_upper_cap", 0))),
    )
    table = margin_table(spec)
    price = int(given.get("price_raw", 1))
    lots = abs(int(given.get("base_quantums", 1)))
    value = int(given["quote_quantums"]) if "quote_quantums" in given else value_atoms(spec, price, lots)
    interest = int(given.get("open_interest_notional", 0))
    if "open_interest_base_quantums" in given:
        interest = value_atoms(spec, price, int(given["open_interest_base_quantums"]))
    answers = {
        "initial_margin_quote_quantums": initial_atoms(table, value, lots, 0, interest),
        "maintenance_margin_quote_quantums": maintenance_atoms(table, value, lots),
        "maintenance_margin_ppm": maintenance_atoms(table, 10**6, 1),
        "adjusted_initial_margin_ppm": open_interest_rate_ppm(table, 0, interest),
    }
    assert {name: answers[name] for name in expected} == {name: int(text) for name, text in expected.items()}


RESULTS = {"RISK_NSF": RejectReason.BALANCE_TOO_SMALL, "ok": None}


@vectors("neutral_pre_trade_risk")
def test_buy_order_reserves_its_cost(vector: Any) -> None:
    """On a spot market whose quote asset is the vector's XBT, in its own atoms."""
    given, expected = vector["inputs"], vector["expected"]
    market = spot(tick_value_atoms=int(given["quote_step"]), lot_atoms=int(given["base_lot"]))
    desk = Desk(instruments=(market,), index=(100,))
    accounts = dict(zip(given["balances"], desk.open(*[0] * len(given["balances"])), strict=True))
    for name, balance in given["balances"].items():
        desk.ok(Deposit(0, accounts[name], (int(balance["XBT"]),)))
    results = []
    for step in given["steps"]:
        account = accounts[step["client"]]
        if step["op"] == "deposit":
            events = desk.do(Deposit(0, account, (int(step["amount"]),)))
        else:
            assert step["side"] == "buy"
            events = desk.do(PlaceOrder(account, 0, BUY, int(step["qty"]), int(step["reserve_price"])))
        results.append(events[0].reason if isinstance(events[0], Rejected) else None)
    assert results == [RESULTS[result] for result in expected["results"]]
    for name, balance in expected["balances"].items():
        assert free_atoms(desk.state.accounts, desk.state.markets, accounts[name], 0) == int(balance["XBT"])


@vectors("okx_tier_lookup")
def test_both_legs_of_a_cross_pool_find_one_tier(vector: Any) -> None:
    given = vector["inputs"]
    long, short = int(given["long_contracts"]), int(given["short_contracts"])
    summed = int(vector["expected"]["tier_contracts"])
    # the tier that begins above one contract less: only the published sum of contracts reaches it
    tiers = (Tier(0, 10, PPB // 100), Tier(summed - 1, 10, PPB // 50), Tier(summed, 10, PPB // 20))
    lots: dict[str, Any] = {"tier_unit": "lots", "tier_form": "whole", "size_max_lots": 10**5}
    rules = venue_rules(profile_table("okx") | {"settle_asset": "USDC"})
    desk = Desk(rules, (perpetual(tiers=tiers, **lots),), index=(100,))
    hedger, other = desk.open(10**9, 10**9)
    desk.ok(SetPositionMode(hedger, "hedge"))
    desk.order(other, SELL, long, 100)
    desk.ok(PlaceOrder(hedger, 0, BUY, long, 100, leg="long"))
    desk.order(other, BUY, short, 100)
    desk.ok(PlaceOrder(hedger, 0, SELL, short, 100, leg="short"))
    market, state = desk.state.markets[0], desk.state
    value = abs(market.value_atoms(long))
    n = shared_tier(market.margin, value, long, size_beside(state, market, hedger))
    assert tiers[n].lower < summed <= tiers[n + 1].lower
    assert desk.requirement(hedger) == (long + short) * 100 * USD // 50
