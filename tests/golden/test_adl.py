"""Published deleveraging figures of Binance, BitMEX and dYdX v4, in the units of the venue.

One lot is one base quantum, one atom one quote quantum, so a lot of BTC-USD is worth oracle * 10^6 / 10^8.
"""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.golden.published import vectors
from tests.venues import perpetual
from zerodebt.exchange.instruments import MarginTable, Tier, margin_table
from zerodebt.exchange.rules import AdlRules
from zerodebt.exchange.units import PPB
from zerodebt.exchange.waterfall import adl, allocation, policies
from zerodebt.exchange.waterfall.adl import Candidate, Demand, Ranked
from zerodebt.exchange.waterfall.allocation import CrossAccount, Holding

FOLDER = Path(__file__).parent
PPM = 10**6
FILES = {
    "binance_usdm_adl_ranking": 1,
    "bitmex_adl_ranking": 3,
    "dydx_v4_adl_price": 19,
    "dydx_v4_adl_quantity": 5,
    "dydx_v4_adl_trigger": 3,
    "dydx_v4_bankruptcy_price": 9,
    "dydx_v4_insurance_fund_delta": 13,
}


def read(name: str) -> list[Any]:
    found: list[Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("name", "count"), FILES.items())
def test_file_is_whole(name: str, count: int) -> None:
    assert len(read(name)) == count


# Queues


@vectors("binance_usdm_adl_ranking")
@pytest.mark.spec("WFALL-03")
def test_binance_ranking(vector: Any) -> None:
    """Whoever has no profit is not in our queue; the published list ends with him, at a score of zero.

    The formula's max(1, wallet) means one unit of the currency, here `scale` atoms.
    """
    expected, scale = vector["expected"], 100
    candidates = {}
    for k, account in enumerate(vector["inputs"]["accounts"]):
        profit, wallet, required = (
            int(Fraction(account[name]) * scale) for name in ("upnl", "wallet_balance", "maintenance_margin")
        )
        candidates[account["id"]] = Candidate(16 + k, 0, 1, 0, 0, profit, wallet + profit, wallet, required)
    for name, score in zip(expected["order"], expected["scores"], strict=True):
        exact = adl.score("binance", candidates[name], scale)
        assert abs(Fraction(*exact or (0, 1)) - Fraction(score)) <= Fraction(vector["tolerance"]["abs"])
    ranked = adl.rank("binance", candidates.values(), scale)
    names = {c.account: name for name, c in candidates.items()}
    in_profit = [n for n, score in zip(expected["order"], expected["scores"], strict=True) if score != "0"]
    assert [names[r.candidate.account] for r in ranked] == in_profit


def bitmex_queue(vector: Any) -> list[Ranked]:
    accounts = sorted(vector["inputs"]["accounts"], key=lambda a: -int(a["score"]))
    return [
        Ranked(Candidate(int(a["id"]), 0, int(a["qty"]), 0, 0, 0, 0, 0, 0), k + 1, int(a["score"]) * PPB)
        for k, a in enumerate(accounts)
    ]


@vectors("bitmex_adl_ranking", where=lambda v: "cumulative_percentile" in v["expected"])
def test_bitmex_percentiles(vector: Any) -> None:
    ranked = bitmex_queue(vector)
    shares = {
        str(r.candidate.account): p.percentile_ppb for r, p in zip(ranked, adl.places(ranked), strict=True)
    }
    expected = vector["expected"]["cumulative_percentile"]
    assert {name: Fraction(100 * share, PPB) for name, share in shares.items()} == {
        name: Fraction(percent) for name, percent in expected.items()
    }


@vectors("bitmex_adl_ranking", where=lambda v: "quintile_percent" in v["expected"])
def test_bitmex_lights(vector: Any) -> None:
    ranked = bitmex_queue(vector)
    lights = {str(r.candidate.account): p.quintile for r, p in zip(ranked, adl.places(ranked), strict=True)}
    expected = vector["expected"]["quintile_percent"]
    assert lights == {name: int(percent) // 20 for name, percent in expected.items()}


@vectors("bitmex_adl_ranking", where=lambda v: "effective_leverage" in v["expected"])
def test_bitmex_score_of_a_loser(vector: Any) -> None:
    given = vector["inputs"]
    exact = adl.bitmex_score(
        int(given["mark_value"]), int(given["entry_value"]), int(given["bankrupt_value"])
    )
    assert exact is not None
    expected = Fraction(vector["expected"]["score"])
    assert abs(Fraction(*exact) - expected) <= Fraction(vector["tolerance"]["abs"])


# dYdX v4


def number(perp: str) -> int:
    return {"BTC-USD": 0, "ETH-USD": 1}[perp]


def requirements(initial_ppm: int, fraction_ppm: int) -> MarginTable:
    tiers = (Tier(0, 0, 0, initial_ppm * 1000),)
    return margin_table(perpetual(tiers=tiers, maintenance_of_initial_ppb=fraction_ppm * 1000))


def holding(position: Any) -> Holding:
    lot = (
        Fraction(position["oracle_price_usd"]) * PPM * Fraction(10) ** int(position["base_atomic_resolution"])
    )
    assert lot.denominator == 1, position
    initial, fraction = int(position["initial_margin_ppm"]), int(position["maintenance_fraction_ppm"])
    return Holding(
        number(position["perp"]),
        int(position["base_quantums"]),
        int(lot),
        requirements(initial, fraction),
    )


def account(given: Any) -> CrossAccount:
    return CrossAccount(int(given["usdc_quote_quantums"]), tuple(holding(p) for p in given["positions"]))


def shown(after: CrossAccount) -> Any:
    names = ("BTC-USD", "ETH-USD")
    return {
        "usdc_quote_quantums": str(after.cash_atoms),
        "positions": {names[h.instrument]: str(h.lots) for h in after.holdings},
    }


@vectors("dydx_v4_bankruptcy_price")
@pytest.mark.spec("LIQ-08")
def test_dydx_bankruptcy_price(vector: Any) -> None:
    given = vector["inputs"]
    quote = allocation.bankruptcy_quote_atoms(
        account(given["account"]), number(given["perp"]), int(given["delta_base_quantums"])
    )
    assert quote == int(vector["expected"]["bankruptcy_price_quote_quantums"])


@vectors("dydx_v4_insurance_fund_delta", where=lambda v: "fund_can_cover" not in v["expected"])
def test_dydx_insurance_fund_delta(vector: Any) -> None:
    given = vector["inputs"]
    cross = account(given["account"])
    lots = int(given["fill_base_quantums"])
    (position,) = given["account"]["positions"]
    value = (
        Fraction(given["fill_price_usd"])
        * lots
        * PPM
        * Fraction(10) ** int(position["base_atomic_resolution"])
    )
    side = 1 if given["liquidation_order_side"] == "buy" else -1
    delta = allocation.insurance_delta_atoms(
        -side * int(value),
        allocation.bankruptcy_quote_atoms(cross, number(position["perp"]), side * lots),
        int(given["max_liquidation_fee_ppm"]) * PPB // PPM,
    )
    assert delta == int(vector["expected"]["insurance_fund_delta_quote_quantums"])


@vectors("dydx_v4_insurance_fund_delta", where=lambda v: "fund_can_cover" in v["expected"])
@pytest.mark.spec("WFALL-01")
def test_dydx_fund_covers(vector: Any) -> None:
    given = vector["inputs"]
    covers = allocation.fund_covers(int(given["fund_balance"]), int(given["delta"]))
    assert covers is vector["expected"]["fund_can_cover"]


@vectors("dydx_v4_adl_trigger")
@pytest.mark.spec("WFALL-01")
def test_dydx_trigger(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    price = allocation.deleveraging_price(
        account(given["account"]).standing.equity_atoms,
        is_final_settlement=given["market_status"] == "FINAL_SETTLEMENT",
    )
    assert (price == "bankruptcy") is expected["deleverage_at_bankruptcy_price"]
    assert (price == "index") is expected["deleverage_at_oracle_price"]


@vectors("dydx_v4_adl_price")
@pytest.mark.spec("WFALL-03", "WFALL-04")
def test_dydx_price(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    closed, offsetting = account(given["liquidated"]), account(given["offsetting"])
    delta = int(given["delta_base_quantums"])
    result = allocation.offset(
        closed, offsetting, 0, delta, "index" if given.get("price_rule") == "oracle" else "bankruptcy"
    )
    if "error" in expected:
        assert result == expected["error"]
        return
    assert isinstance(result, tuple)
    assert [shown(after) for after in result] == [expected["liquidated"], expected["offsetting"]]
    if "fill_quote_quantums" in expected:
        assert abs(result[0].cash_atoms - closed.cash_atoms) == int(expected["fill_quote_quantums"])


@vectors("dydx_v4_adl_quantity")
@pytest.mark.spec("WFALL-03", "WFALL-04")
def test_dydx_quantity(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    accounts = {name: account(values) for name, values in given["accounts"].items()}
    order, delta = given["iteration_order"], int(given["delta_base_quantums"])
    closed, met, taken = allocation.offset_all(
        accounts[given["liquidated"]], [accounts[name] for name in order], 0, delta
    )
    final = dict(zip(order, met, strict=True)) | {given["liquidated"]: closed}
    assert {name: shown(after) for name, after in final.items()} == expected["final"]
    fills = [(name, str(lots)) for name, lots in zip(order, taken, strict=True) if lots]
    assert fills == [(fill["account"], fill["base_quantums"]) for fill in expected["fills"]]
    assert delta - sum(taken) == int(expected["remaining_base_quantums"])


@vectors("dydx_v4_adl_quantity")
@pytest.mark.spec("WFALL-04")
def test_dydx_quantity_by_the_venues_iteration(vector: Any) -> None:
    """The policy that the venue runs takes the same, in lots of 10^6 base quantums, at one price for all."""
    given, expected, lot = vector["inputs"], vector["expected"], PPM
    closed = account(given["accounts"][given["liquidated"]])
    delta = int(given["delta_base_quantums"])
    paid = -allocation.bankruptcy_quote_atoms(closed, 0, delta)
    (held,) = closed.holdings
    charge = Fraction(abs(held.value_atoms) - paid, delta // lot)
    assert charge.denominator == 1
    found: list[Candidate] = []
    names: dict[int, str] = {}
    for k, name in enumerate(given["iteration_order"]):
        (position,) = account(given["accounts"][name]).holdings
        if position.lots * held.lots < 0:
            equity = account(given["accounts"][name]).standing.equity_atoms
            names[len(found)] = name
            found.append(Candidate(k, 0, position.lots // lot, 0, 0, 0, equity, 0, 0))
    shares = policies.iteration(AdlRules(policy="iteration"), found, Demand(delta // lot, charge.numerator))
    fills = [(names[i], str(share * lot)) for i, share in enumerate(shares) if share]
    assert fills == [(fill["account"], fill["base_quantums"]) for fill in expected["fills"]]
