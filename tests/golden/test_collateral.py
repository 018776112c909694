"""Published figures of collateral at Binance, Bybit and OKX, through the functions that the venue runs."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.golden.published import vectors
from tests.venues import spot
from zerodebt.exchange.collateral import Collateral, counted, margin_atoms
from zerodebt.exchange.conversion import sold_value_atoms
from zerodebt.exchange.margin import Risk
from zerodebt.exchange.marks import Market
from zerodebt.exchange.portfolio import level_of
from zerodebt.exchange.rules import CollateralRules, CollateralTier, ExchangeRules, MarginLevel
from zerodebt.exchange.units import PPB

FOLDER = Path(__file__).parent
SCALE = 10**8


def scaled(figure: str, scale: int = SCALE) -> int:
    exact = Decimal(figure) * scale
    assert exact == int(exact), figure
    return int(exact)


def table(tiers: list[Any], ratio: str, tier_unit: Any) -> CollateralRules:
    steps = tuple(CollateralTier(scaled(t["cap"]), scaled(t[ratio], PPB)) for t in tiers)
    return CollateralRules(asset="COIN", decimals=8, tiers=steps, tier_unit=tier_unit)


@vectors("bybit_collateral_haircut")
def test_bybit_ratio_by_quantity(vector: Any) -> None:
    given = vector["inputs"]
    rule = table(given["tiers"], "ratio", "quantity")
    assert counted(rule, scaled(given["quantity"])) == scaled(vector["expected"]["collateral_quantity"])


@vectors("okx_collateral_haircut")
def test_okx_discount_by_value(vector: Any) -> None:
    given = vector["inputs"]
    rule = table(given["tiers"], "rate", "value")
    assert counted(rule, scaled(given["usd_value"])) == scaled(vector["expected"]["discounted_equity"])


@vectors("binance_usdm_collateral_haircut", where=lambda v: v["id"].startswith("bn-autoex"))
def test_binance_auto_exchange_sells_more_than_is_owed(vector: Any) -> None:
    given, expected = vector["inputs"], vector["expected"]
    rules = ExchangeRules(price_ratio_ppb=scaled(given["auto_exchange_ratio"], PPB))
    sold = Decimal(sold_value_atoms(rules, scaled(given["negative_balance_usd"]))) / SCALE
    assert abs(sold - Decimal(expected["collateral_sold_usd"])) <= Decimal(vector["tolerance"]["abs"])


@vectors("binance_usdm_collateral_haircut", where=lambda v: v["id"].startswith("bn-ma"))
def test_binance_buffers(vector: Any) -> None:
    """One unit held, and one owed, at an index with as many decimals as there are atoms."""
    given, expected = vector["inputs"], vector["expected"]
    rule = CollateralRules(
        asset="COIN",
        decimals=8,
        bid_buffer_ppb=scaled(given["bid_buffer"], PPB),
        ask_buffer_ppb=scaled(given["ask_buffer"], PPB),
    )
    market = Market(0, spot(lot_atoms=SCALE, tick_value_atoms=1, price_max_ticks=10**9))
    market.prices.index_ticks = scaled(given["index"])
    collateral = Collateral(rule, 1, market, 0)
    assert margin_atoms(collateral, SCALE) == scaled(expected["asset_bid"])
    assert margin_atoms(collateral, -SCALE) == -scaled(expected["asset_ask"])


@vectors("binance_pm_liquidation_trigger")
def test_binance_portfolio_margin_levels(vector: Any) -> None:
    """uniMMR is equity after haircut over the sum of maintenance requirements."""
    levels = (
        MarginLevel("warning_borrow_blocked", scaled("1.5", PPB)),
        MarginLevel("reduce_only", scaled("1.2", PPB), opens=False),
        MarginLevel("last_warning", scaled("1.05", PPB), opens=False),
        MarginLevel("liquidation", PPB, opens=False),
    )
    risk = Risk(scaled(vector["inputs"]["uni_mmr"]), SCALE)
    assert level_of(levels, risk.margin_atoms, risk.maintenance_atoms) == vector["expected"]["level"]
