"""Published and open-source figures for marks, funding and price bands, in the units of the venue.

The figures of Hyperliquid stand beside the rules that they are about, in test_marks.py and test_funding.py.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.golden.published import vectors
from tests.venues import USD, Desk, perpetual
from zerodebt.exchange.book import Book
from zerodebt.exchange.commands import BUY, SELL, LoadPositions
from zerodebt.exchange.funding import (
    add_premium,
    cap_ppt,
    exposure_atoms,
    index_delta_ppm,
    payment_atoms,
    period_rate_ppt,
    premium_average_ppt,
    premium_ppt,
    rate_ppt,
    settlement_ppm,
    without_tails,
)
from zerodebt.exchange.marks import (
    MarkInputs,
    Prices,
    band_ticks,
    basis_mean_ticks,
    funded_index_ticks,
    mark_ticks,
    through_mark_ticks,
)
from zerodebt.exchange.rules import BandRules, FundingRules, MarkRules
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, PPB, PPT, SECOND_NS

FOLDER = Path(__file__).parent
PPT_PER_PPM = 10**6
RICH = 10_000_000

NOT_MODELLED = {
    "drift-fund-04": "receivers get less than payers pay, and a pool of the venue's maker adds to it",
}


def exact(text: str, scale: int) -> int:
    """A decimal in integer units; it must have no more digits than they."""
    scaled = Decimal(text) * scale
    assert scaled == int(scaled), text
    return int(scaled)


def ppt(text: str) -> int:
    return exact(text, PPT)


# Marks


@vectors("binance_usdm_mark_price")
def test_binance_mark(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    index, interval = int(given["index"]), int(given["interval_hours"]) * HOUR_NS
    left = int(given["hours_to_funding"]) * HOUR_NS
    funded = funded_index_ticks(index, ppt(given["last_funding_rate"]), left, interval)
    assert funded == int(expected["price_1"])
    mean = index + basis_mean_ticks([exact(given["ma_basis"], 2)] * 30)
    assert mean == int(expected["price_2"])
    spread = (None, None, int(given["contract_price"]))
    inputs = MarkInputs(index, spread, index, funded_index_ticks=funded, basis_mean_ticks=mean)
    assert mark_ticks(MarkRules(formula="funding_median"), inputs) == int(expected["mark_price"])


@vectors("bitmex_mark_price")
def test_bitmex_fair_price(vector: Any) -> None:
    """In ticks of half a dollar, as the contract quotes."""
    given = vector["inputs"]
    index, interval = exact(given["index"], 2), int(given["interval_hours"]) * HOUR_NS
    left = int(given["hours_to_funding"]) * HOUR_NS
    funded = funded_index_ticks(index, ppt(given["funding_rate"]), left, interval)
    inputs = MarkInputs(index, (None, None, None), index, funded_index_ticks=funded)
    assert mark_ticks(MarkRules(formula="fair"), inputs) == exact(vector["expected"]["mark_price"], 2)


# Bands


@vectors("bitmex_price_rule")
def test_bitmex_market_orders_stop_at_a_share_through_the_mark(vector: Any) -> None:
    given, cents = vector["inputs"], 100
    furthest = through_mark_ticks(int(given["mark"]) * cents, BUY, exact(given["cap"], PPB))
    assert furthest == exact(vector["expected"]["max_buy"], cents)


@vectors("deribit_price_rule")
def test_deribit_bandwidth(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    rules = BandRules(formula="mark", width_ppb=exact(given["bandwidth"], PPB))
    furthest = [band_ticks(rules, side, int(given["mark"]), 0, 0) for side in (BUY, SELL)]
    assert furthest == [int(expected["max_buy"]), int(expected["min_sell"])]


@vectors("okx_price_rule")
def test_okx_price_limit(vector: Any) -> None:
    given = vector["inputs"]
    rules = BandRules(formula="index", inner_ppb=exact(given["y"], PPB), outer_ppb=exact(given["z"], PPB))
    furthest = band_ticks(rules, BUY, 0, int(given["index"]), int(given["avg_premium"]))
    assert furthest == int(vector["expected"]["max_buy"])


# Funding


@vectors("binance_usdm_funding_rate")
def test_binance_rate(vector: Any) -> None:
    rules = FundingRules(
        interest_ppt=ppt("0.0001"),
        clamp_ppt=ppt("0.0005"),
        divisor=8 // int(vector["inputs"]["interval_hours"]),
    )
    rate = rate_ppt(rules, ppt(vector["inputs"]["premium_index"]), None)
    assert rate == ppt(vector["expected"]["funding_rate"])


@vectors("binance_usdm_funding_cap")
def test_binance_cap(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    if "multiplier" in given:
        rules = FundingRules(cap="maintenance", cap_factor_ppb=exact(given["multiplier"], PPB))
        assert cap_ppt(rules, "OMGUSDT", 0, ppt(given["mmr_top_leverage"])) == ppt(expected["cap"])
    else:
        rules = FundingRules(cap="maintenance", rate="plain", interest_ppt=0, divisor=1)
        assert rate_ppt(rules, ppt(given["rate"]), ppt(given["cap"])) == ppt(expected["capped_rate"])


@vectors("bitmex_funding_payment")
def test_bitmex_payment(vector: Any) -> None:
    """No premium: a third of the day's difference of interest, on the value of the position in XBT."""
    given, expected = vector["inputs"], vector["expected"]
    satoshi = 10**8
    interest = ppt(given["interest_diff_daily"])
    rules = FundingRules(interest_ppt=interest, clamp_ppt=interest, divisor=int(given["intervals_per_day"]))
    rate = rate_ppt(rules, 0, None)
    assert rate == ppt(expected["rate"])
    contract = perpetual(contract="inverse", tick_value_atoms=satoshi)
    value = exposure_atoms(contract, int(given["price"]), int(given["contracts"]))
    assert value == exact(expected["position_xbt"], satoshi)
    assert payment_atoms(value, rate) == exact(expected["funding_xbt"], satoshi)


@vectors("deribit_funding_rate")
def test_deribit_rate_and_payment(vector: Any) -> None:
    """Accrued by the minute: 480 of them have the rate of eight hours."""
    given, expected = vector["inputs"], vector["expected"]
    rules = FundingRules(
        premium="mark",
        rate="deadband",
        clamp_ppt=ppt("0.00025"),
        interval_ns=MINUTE_NS,
        divisor=480,
        cap="none",
    )
    premium = premium_ppt(Book(), rules, perpetual(), int(given["index"]), int(given["mark"]))
    assert premium == ppt(expected["premium"])
    assert period_rate_ppt(rules, premium) == ppt(expected["rate_8h"])
    rate = rate_ppt(rules, premium, cap_ppt(rules, "BTC", PPT, PPT))
    owed = payment_atoms(int(given["position_usd"]) * USD, rate * int(given["minutes"]))
    assert owed == exact(expected["payment_usd"], USD)


DYDX = FundingRules(
    sample_ns=MINUTE_NS,
    average="padded",
    rate="plain",
    interest_ppt=0,
    rate_step_ppt=PPT_PER_PPM,
    cap="margin_gap",
    cap_factor_ppb=6 * PPB,
    accrual="index",
)


def dydx(**changes: Any) -> FundingRules:
    return FundingRules(**({name: getattr(DYDX, name) for name in DYDX.__struct_fields__} | changes))


def lot_value_and_quanta(given: Any) -> tuple[int, int]:
    """A quote quantum is an atom; a lot is as many base quanta as make its tick worth a whole atom."""
    exponent = int(given["price_exponent"]) + int(given["base_atomic_resolution"]) + 6
    instrument = perpetual(tick_value_atoms=10 ** max(0, exponent))
    return exposure_atoms(instrument, int(given["price_raw"]), 1), 10 ** max(0, -exponent)


@vectors("dydx_v4_funding_rate")
def test_dydx_rate_and_index(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    if "kept" in expected:
        samples = [int(sample) for sample in given["samples"]]
        kept = without_tails(samples, int(given["removal_rate_ppm"]))
        assert kept == [int(sample) for sample in expected["kept"]]
        return
    eight_hours = 8 * HOUR_NS // SECOND_NS
    if "rate_8h_ppm" in given:
        rules = dydx(divisor=eight_hours // int(given["seconds_since_last"]))
        rate = rate_ppt(rules, int(given["rate_8h_ppm"]) * PPT_PER_PPM, None)
    else:
        rules = dydx(
            divisor=eight_hours // int(given["tick_seconds"]),
            sample_ns=HOUR_NS // int(given["samples_expected"]),
            interest_ppt=int(given["default_funding_ppm"]) * PPT_PER_PPM,
        )
        prices = Prices()
        for value, count in given["samples_value_count"]:
            for _ in range(int(count)):
                add_premium(prices, rules, int(value) * PPT_PER_PPM)
        average = premium_average_ppt(prices, rules)
        rate = rate_ppt(rules, average, int(given["clamp_ppm"]) * PPT_PER_PPM)
        assert rate * rules.divisor == int(expected["rate_8h_ppm"]) * PPT_PER_PPM
    delta = index_delta_ppm(rate, *lot_value_and_quanta(given))
    assert delta == int(expected["funding_index_delta"])


@vectors("dydx_v4_funding_cap")
def test_dydx_cap(vector: Any) -> None:
    """Where the maintenance rate is stated as a part of the initial rate, that part is taken first."""
    given, expected = vector["inputs"], vector["expected"]
    if "factor" in given:
        rules = dydx(cap_factor_ppb=int(given["factor"]) * PPB)
        assert cap_ppt(rules, "BTC", ppt(given["imf"]), ppt(given["mmf"])) == ppt(expected["cap_8h"])
        return
    initial = int(given["initial_margin_ppm"])
    maintenance = initial * int(given["maintenance_fraction_ppm"])
    rules = dydx(cap_factor_ppb=int(given["clamp_factor_ppm"]) * 1000)
    cap = cap_ppt(rules, "BTC", initial * PPT_PER_PPM, maintenance)
    assert cap == int(expected["max_abs_funding_ppm"]) * PPT_PER_PPM


@vectors("dydx_v4_funding_payment")
def test_dydx_settlement(vector: Any) -> None:
    given = vector["inputs"]
    index, settled = int(given["current_funding_index"]), int(given["position_funding_index"])
    received = settlement_ppm(int(given["base_quantums"]), index, settled)
    assert received == int(vector["expected"]["net_settlement_ppm"])


@vectors("dydx_v4_open_interest")
def test_dydx_open_interest_after_a_match(vector: Any) -> None:
    """A third account holds the other side of what the two had before."""
    given = vector["inputs"]
    held = [int(given[name]["before"]) for name in ("account_a", "account_b")]
    traded = int(given["account_a"]["delta"])
    assert int(given["account_b"]["delta"]) == -traded
    desk = Desk()
    accounts = desk.open(RICH, RICH, RICH)
    rows = [row for row in zip(accounts, [*held, -sum(held)], strict=True) if row[1]]
    if rows:
        owners, lots = zip(*rows, strict=True)
        count = len(rows)
        desk.ok(LoadPositions(0, 100, owners, lots, (100,) * count, (1,) * count, (0,) * count))
    desk.index(100)
    before = desk.state.open_interest[0]
    buyer, seller = accounts[:2] if traded > 0 else accounts[1::-1]
    desk.trade(buyer, seller, abs(traded), 100)
    assert desk.lots(accounts[0]) == held[0] + traded
    assert desk.state.open_interest[0] - before == int(vector["expected"]["open_interest_delta"])


@vectors("drift_funding_rate", without=NOT_MODELLED)
def test_drift_rate_is_an_index_of_the_spread(vector: Any) -> None:
    """A 24th of the spread an hour, at most a 33rd of the oracle, cut off to 1e-9 of a dollar per unit.

    Prices in ticks of 1e-6 and quanta of a thousandth of a unit make that a millionth of an atom.
    """
    given = vector["inputs"]
    oracle = int(given["oracle_twap"])
    rules = FundingRules(
        premium="mark", rate="plain", interest_ppt=0, divisor=24, cap_ppt=PPT // 33 // 24, quanta_per_lot=1000
    )
    unit = perpetual(tick_value_atoms=1)
    premium = premium_ppt(Book(), rules, unit, oracle, int(given["mark_twap"]))
    rate = rate_ppt(rules, premium, cap_ppt(rules, "SOL", PPT, PPT))
    delta = index_delta_ppm(rate, exposure_atoms(unit, oracle, 1), rules.quanta_per_lot)
    assert delta == int(vector["expected"]["funding_rate"])
