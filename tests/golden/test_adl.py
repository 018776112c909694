"""Published deleveraging figures of Binance, BitMEX and dYdX v4, in the units of the venue.

Of dYdX an atom is a quote quantum, a lot one base quantum or many of them, and a tick what makes a lot worth
an atom more; so a lot of BTC-USD is worth oracle * 10^6 / 10^8 for each base quantum.
"""

from fractions import Fraction
from typing import Any

import pytest

from tests.golden.published import load, vectors
from tests.venues import Desk, of, perpetual
from zerodebt.exchange.commands import LoadPositions, SettleInstrument
from zerodebt.exchange.events import Deleveraged, Settled
from zerodebt.exchange.instruments import Tier, closing_ticks
from zerodebt.exchange.margin import risk_of
from zerodebt.exchange.marks import Market
from zerodebt.exchange.rules import profile_table, venue_rules
from zerodebt.exchange.units import PPB
from zerodebt.exchange.waterfall import adl, policies
from zerodebt.exchange.waterfall.adl import Candidate, Demand, Ranked
from zerodebt.exchange.waterfall.allocation import (
    Closing,
    bankruptcy_atoms,
    closings,
    fund_deltas,
    weights_of,
)

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


@pytest.mark.parametrize(("name", "count"), FILES.items())
def test_file_is_whole(name: str, count: int) -> None:
    assert len(load(name)) == count


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

DYDX = venue_rules(profile_table("dydx_v4"))


def number(perp: str) -> int:
    return {"BTC-USD": 0, "ETH-USD": 1}[perp]


def lot_ticks(position: Any, quantums: int) -> int:
    """What a lot of so many base quantums is worth at the oracle price."""
    price = Fraction(position["oracle_price_usd"]) * PPM * quantums
    price *= Fraction(10) ** int(position["base_atomic_resolution"])
    assert price.denominator == 1, position
    return int(price)


class Chain:
    """A venue under the profile with these accounts, and one more on the other side of all of them."""

    def __init__(self, *accounts: Any, lot_quantums: int = 1) -> None:
        positions = {number(p["perp"]): p for given in accounts for p in given["positions"]}
        self.lot_quantums = lot_quantums
        instruments = []
        for n in sorted(positions):
            position = positions[n]
            ticks = lot_ticks(position, lot_quantums)
            instruments.append(
                perpetual(
                    position["perp"],
                    tick_value_atoms=1,
                    price_max_ticks=2 * ticks,
                    size_max_lots=10**12 // lot_quantums,
                    open_interest_max_lots=10**12 // lot_quantums,
                    tiers=(Tier(0, 0, 0, int(position["initial_margin_ppm"]) * 1000),),
                    maintenance_of_initial_ppb=int(position["maintenance_fraction_ppm"]) * 1000,
                )
            )
        self.desk = desk = Desk(DYDX, tuple(instruments))
        self.prices = [lot_ticks(positions[n], lot_quantums) for n in sorted(positions)]
        self.numbers = desk.open(*[0] * len(accounts), 10**9)
        for n, price in enumerate(self.prices):
            lots = [self.lots_of(given, n) for given in accounts]
            held = [(a, k) for a, k in zip(self.numbers, [*lots, -sum(lots)], strict=True) if k]
            owners, sizes = zip(*held, strict=True)
            ones = (1,) * len(held)
            desk.ok(LoadPositions(n, price, owners, sizes, (price,) * len(held), ones, (0,) * len(held)))
        for account, given in zip(self.numbers, accounts, strict=False):
            cash = int(given["usdc_quote_quantums"])
            cash += sum(self.lots_of(given, n) * price for n, price in enumerate(self.prices))
            desk.state.ledger.post("deposit", [(account, 0, cash), (0, 0, -cash)])

    def at_rest(self) -> "Chain":
        """At the oracle prices, before the venue does anything about them."""
        for market, price in zip(self.desk.state.markets, self.prices, strict=True):
            market.prices.mark_ticks = price
        return self

    def lots_of(self, given: Any, n: int) -> int:
        quantums = sum(int(p["base_quantums"]) for p in given["positions"] if number(p["perp"]) == n)
        assert not quantums % self.lot_quantums
        return quantums // self.lot_quantums

    def market(self, n: int) -> Market:
        return self.desk.state.markets[n]

    def standing(self, account: int) -> tuple[int, int]:
        """Equity, and the weight of all positions."""
        state = self.desk.state
        return (
            risk_of(state, (account, 0)).equity_atoms,
            sum(weights_of(state, account, state.positions_of((account, 0)))),
        )

    def closing(self, account: int, n: int, lots: int, quote_atoms: int) -> Closing:
        return next(closings(self.desk.state, account, self.market(n), [(lots, quote_atoms)]))

    def bankruptcy_quote(self, account: int, n: int, lots: int) -> int:
        closing = self.closing(account, n, lots, 0)
        equity, whole = self.standing(account)
        return bankruptcy_atoms(closing.value_atoms, equity, closing.weight, whole)

    def charge(self, account: int, lots: int, quote_atoms: int) -> int:
        """What a lot costs whoever takes it, at the price that the venue makes of a quote amount."""
        market, sign = self.market(0), 1 if self.desk.lots(account) > 0 else -1
        price = closing_ticks(market.instrument, sign * abs(lots), quote_atoms)
        return -market.gain_atoms(sign, price)

    def asked(self, account: int, whom: list[int]) -> list[Ranked]:
        """Whom of these the venue asks when it deleverages the account."""
        sign = 1 if self.desk.lots(account) > 0 else -1
        ranked = self.desk.venue._rounds.asked(self.market(0), sign)
        found = {r.candidate.account: r for r in ranked}
        return [found[a] for a in whom if a in found]


@vectors("dydx_v4_bankruptcy_price")
@pytest.mark.spec("LIQ-08")
def test_dydx_bankruptcy_price(vector: Any) -> None:
    given = vector["inputs"]
    chain = Chain(given["account"]).at_rest()
    n = [p["perp"] for p in sorted(given["account"]["positions"], key=lambda p: str(p["perp"]))].index(
        given["perp"]
    )
    quote = chain.bankruptcy_quote(chain.numbers[0], n, int(given["delta_base_quantums"]))
    assert quote == int(vector["expected"]["bankruptcy_price_quote_quantums"])


@vectors("dydx_v4_insurance_fund_delta", where=lambda v: "fund_can_cover" not in v["expected"])
def test_dydx_insurance_fund_delta(vector: Any) -> None:
    given = vector["inputs"]
    chain = Chain(given["account"]).at_rest()
    (position,) = given["account"]["positions"]
    bought = int(given["fill_base_quantums"]) * (1 if given["liquidation_order_side"] == "buy" else -1)
    price = Fraction(given["fill_price_usd"]) * PPM * Fraction(10) ** int(position["base_atomic_resolution"])
    closing = chain.closing(chain.numbers[0], 0, bought, -int(price * bought))
    deltas = fund_deltas(
        [closing],
        *chain.standing(chain.numbers[0]),
        int(given["max_liquidation_fee_ppm"]) * PPB // PPM,
        fund_atoms=10**15,
    )
    assert deltas == [int(vector["expected"]["insurance_fund_delta_quote_quantums"])]


@vectors("dydx_v4_insurance_fund_delta", where=lambda v: "fund_can_cover" in v["expected"])
@pytest.mark.spec("WFALL-01")
def test_dydx_fund_covers(vector: Any) -> None:
    """A fill at the mark of lots without weight brings what the fund receives or pays."""
    balance, delta = int(vector["inputs"]["fund_balance"]), int(vector["inputs"]["delta"])
    deltas = fund_deltas([Closing(delta, 0, 0)], 0, 1, PPB, balance)
    assert deltas == ([delta] if vector["expected"]["fund_can_cover"] else [])


@vectors("dydx_v4_adl_trigger")
@pytest.mark.spec("WFALL-01")
def test_dydx_trigger(vector: Any) -> None:
    """Whoever is below zero is deleveraged at once; the final settlement finds whoever is not."""
    expected = vector["expected"]
    chain = Chain(vector["inputs"]["account"], lot_quantums=PPM)
    events = chain.desk.index(*chain.prices)
    assert bool(of(events, Deleveraged)) is expected["deleverage_at_bankruptcy_price"]
    if not chain.desk.lots(chain.numbers[0]):
        assert chain.desk.equity(chain.numbers[0]) == 0
    if vector["inputs"]["market_status"] == "FINAL_SETTLEMENT":
        events = chain.desk.do(SettleInstrument(0))
    assert bool(of(events, Settled)) is expected["deleverage_at_oracle_price"]


@vectors("dydx_v4_adl_price", where=lambda v: v["inputs"].get("price_rule") != "oracle")
@pytest.mark.spec("WFALL-03", "WFALL-04")
def test_dydx_price(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    chain = Chain(given["liquidated"], given["offsetting"]).at_rest()
    closed, offsetting, _ = chain.numbers
    bought = int(given["delta_base_quantums"])
    quote = chain.bankruptcy_quote(closed, 0, bought)
    charge = chain.charge(closed, bought, quote)
    ranked = chain.asked(closed, [offsetting])
    if expected.get("error") == "invalid_delta":
        share = bought if chain.desk.lots(closed) < 0 else -bought
        demand = Demand(abs(chain.desk.lots(closed)), charge)
        assert not ranked or not policies.is_valid([share], [r.candidate for r in ranked], demand)
        return
    plan = policies.plan(DYDX.adl, ranked, Demand(abs(bought), charge))
    if expected.get("error") == "state_transition_refused":
        assert plan == []
        return
    assert plan == [(ranked[0], abs(bought))]
    for name, sign in (("liquidated", 1), ("offsetting", -1)):
        before, after = given[name], expected[name]
        assert int(after["usdc_quote_quantums"]) - int(before["usdc_quote_quantums"]) == sign * quote
        left = chain.lots_of(before, 0) + sign * bought
        assert int(after["positions"].get("BTC-USD", 0)) == left


@vectors("dydx_v4_adl_price", where=lambda v: v["inputs"].get("price_rule") == "oracle")
@pytest.mark.spec("WFALL-05", "WFALL-04")
def test_dydx_final_settlement(vector: Any) -> None:
    """At the oracle price, where that leaves nobody below zero; whoever is, can only be deleveraged."""
    given, expected = vector["inputs"], vector["expected"]
    chain = Chain(given["liquidated"], given["offsetting"], lot_quantums=PPM)
    deleveraged = of(chain.desk.index(*chain.prices), Deleveraged)
    settled = of(chain.desk.do(SettleInstrument(0)), Settled)
    if "error" in expected:
        assert settled == []
        return
    assert (deleveraged, settled) == ([], [Settled(0, chain.prices[0])])
    for account, name in zip(chain.numbers, ("liquidated", "offsetting"), strict=False):
        assert (chain.desk.lots(account), expected[name]["positions"]) == (0, {})
        assert chain.desk.cash(account) == int(expected[name]["usdc_quote_quantums"])


@vectors("dydx_v4_adl_quantity")
@pytest.mark.spec("WFALL-03", "WFALL-04")
def test_dydx_quantity(vector: Any) -> None:
    """In lots of 10^6 base quantums, in which the bankruptcy price lies on the grid."""
    given, expected = vector["inputs"], vector["expected"]
    names = list(given["accounts"])
    chain = Chain(*given["accounts"].values(), lot_quantums=PPM).at_rest()
    numbers = dict(zip(names, chain.numbers, strict=False))
    closed, bought = numbers[given["liquidated"]], int(given["delta_base_quantums"]) // PPM
    quote = chain.bankruptcy_quote(closed, 0, bought)
    ranked = chain.asked(closed, [numbers[name] for name in given["iteration_order"]])
    plan = policies.plan(DYDX.adl, ranked, Demand(abs(bought), chain.charge(closed, bought, quote)))
    called = {number: name for name, number in numbers.items()}
    fills = [(called[r.candidate.account], str(lots * PPM)) for r, lots in plan]
    assert fills == [(fill["account"], fill["base_quantums"]) for fill in expected["fills"]]
    left = abs(bought) - sum(lots for _, lots in plan)
    assert left * PPM == int(expected["remaining_base_quantums"])


@vectors("dydx_v4_adl_price", where=lambda v: v["id"] == "dydx-adl-10")
@pytest.mark.spec("WFALL-03", "WFALL-04")
def test_dydx_price_in_a_run(vector: Any) -> None:
    """The one figure whose account is below zero and closes whole: the venue deleverages it by itself."""
    given, expected = vector["inputs"], vector["expected"]
    chain = Chain(given["liquidated"], given["offsetting"], lot_quantums=PPM)
    chain.desk.index(*chain.prices)
    for account, name in zip(chain.numbers, ("liquidated", "offsetting"), strict=False):
        assert chain.desk.lots(account) == 0
        assert chain.desk.cash(account) == int(expected[name]["usdc_quote_quantums"])
