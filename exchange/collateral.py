"""What an account's assets are worth as margin.

One asset is the unit of account: the settlement asset. Its wallet counts in full, below zero as well. Other
assets count as the rulebook's `collateral` tables say, at the index of their spot market; an asset without a
table is held and traded, and answers for nothing. What resting spot orders have promised is not free.

An index that is no longer fresh carries no new risk: the asset counts nothing for orders and withdrawals.
Liquidation goes on with the last index, so that nobody is sold because a source is late.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from zerodebt.exchange.accounts import Accounts
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.marks import Market, fresh_prices
from zerodebt.exchange.rules import CollateralRules, RulesError, VenueRules
from zerodebt.exchange.units import (
    INT64_BUDGET,
    PPB,
    Int64Array,
    div_ceil,
    mul_ppb_ceil,
    mul_ppb_floor,
    mul_ppb_floor_array,
)


class Collateral(Struct, frozen=True, gc=False):
    """A rulebook's collateral on a venue: the asset's number, and the spot market that prices and buys it.

    row  of the table of what issuers owe
    """

    rule: CollateralRules
    asset: int
    market: Market
    row: int

    @property
    def lot_value_atoms(self) -> int:
        """Settlement atoms of one lot of the asset at the index."""
        index = self.market.prices.index_ticks
        assert index is not None
        return index * self.market.tick_value

    @property
    def is_priced(self) -> bool:
        return self.market.prices.index_ticks is not None


def resolve(
    rules: VenueRules, assets: Sequence[Asset], markets: Sequence[Market], settle: int
) -> tuple[Collateral, ...]:
    """The tables of those assets that the venue holds, in the rulebook's order."""
    numbers = {asset.symbol: n for n, asset in enumerate(assets)}
    found: list[Collateral] = []
    for rule in rules.collateral:
        number = numbers.get(rule.asset)
        if number is None:
            continue
        where = f"venue.collateral.{rule.asset}"
        if rule.decimals != assets[number].decimals:
            raise RulesError(f"{where}.decimals is {rule.decimals}, the asset has {assets[number].decimals}")
        spots = [market for market in markets if market.instrument.kind == "spot"]
        own = [m for m in spots if number in (m.instrument.base_asset, m.instrument.settle_asset)]
        if len(own) != 1 or own[0].instrument.settle_asset != settle:
            pair = f"{rule.asset}/{rules.settle_asset}"
            raise RulesError(f"{where}: {len(own)} spot markets trade it, allowed is one: {pair}")
        (market,) = own
        if market.instrument.price_min_ticks < 0:
            raise RulesError(f"{where}: prices of {market.instrument.symbol} may fall below zero")
        found.append(Collateral(rule, number, market, len(found)))
    return tuple(found)


def value_max_atoms(collateral: Collateral, atoms: int) -> int:
    """Settlement atoms of a holding at the largest price of its market, rounded up."""
    instrument = collateral.market.instrument
    return div_ceil(atoms * instrument.price_max_ticks * instrument.tick_value_atoms, instrument.lot_atoms)


def is_fresh(market: Market, rules: VenueRules, time_ns: int) -> bool:
    """Has any source of the index spoken lately?"""
    return bool(fresh_prices(market, rules, ("spot", "own"), time_ns))


def worth_atoms(collateral: Collateral, atoms: int) -> int:
    """Value of a holding at the index, without haircut, rounded against its owner; 0 before any index."""
    if not atoms or not collateral.is_priced:
        return 0
    return atoms * collateral.lot_value_atoms // collateral.market.instrument.lot_atoms


def counted(rule: CollateralRules, amount: int) -> int:
    """What the ratio leaves of an amount in the unit of its tiers, each tier's part rounded down.

    Negative amounts count in full. Sources: Bybit help centre, Collateral value ratio; OKX help centre,
    Discount rate.
    """
    if amount <= 0:
        return amount
    if not rule.tiers:
        return mul_ppb_floor(amount, rule.ratio_ppb)
    total = lower = 0
    for tier in rule.tiers:
        total += mul_ppb_floor(max(0, min(amount, tier.upto) - lower), tier.ratio_ppb)
        lower = tier.upto
    return total


def margin_atoms(collateral: Collateral, atoms: int) -> int:
    """Value of a holding after haircut and buffers, each step rounded against its owner.

    The buffers are of Binance FAQ, Multi-Assets Mode: index * (1 - bid buffer) for what is held and
    index * (1 + ask buffer) for what is owed.
    """
    rule = collateral.rule
    if atoms < 0:
        owed = -worth_atoms(collateral, atoms)
        return -(owed + mul_ppb_ceil(owed, rule.ask_buffer_ppb))
    if rule.tier_unit == "quantity":
        value = worth_atoms(collateral, counted(rule, atoms))
    else:
        value = counted(rule, worth_atoms(collateral, atoms))
    return mul_ppb_floor(value, PPB - rule.bid_buffer_ppb)


def maintenance_haircut_atoms(collateral: Collateral, atoms: int) -> int:
    """What the haircut takes off a holding that answers for maintenance; never negative."""
    if collateral.rule.haircut_for == "initial":
        return 0
    return worth_atoms(collateral, atoms) - margin_atoms(collateral, atoms)


def worth_array(collateral: Collateral, atoms: Int64Array) -> Int64Array:
    """`worth_atoms` for an array."""
    if not collateral.is_priced:
        return np.zeros_like(atoms)
    numerator, denominator = collateral.lot_value_atoms, collateral.market.instrument.lot_atoms
    if numerator * denominator >= INT64_BUDGET:
        return np.array([held * numerator // denominator for held in atoms.tolist()], np.int64)
    return atoms // denominator * numerator + atoms % denominator * numerator // denominator


def counted_array(rule: CollateralRules, amounts: Int64Array) -> Int64Array:
    """`counted` for an array."""
    if not rule.tiers:
        return np.where(amounts <= 0, amounts, mul_ppb_floor_array(amounts, rule.ratio_ppb))
    total = np.zeros_like(amounts)
    lower = 0
    for tier in rule.tiers:
        total += mul_ppb_floor_array(np.maximum(np.minimum(amounts, tier.upto) - lower, 0), tier.ratio_ppb)
        lower = tier.upto
    return np.where(amounts <= 0, amounts, total)


def margin_array(collateral: Collateral, atoms: Int64Array) -> Int64Array:
    """`margin_atoms` for an array."""
    rule = collateral.rule
    worth = worth_array(collateral, atoms)
    if rule.tier_unit == "quantity":
        value = worth_array(collateral, counted_array(rule, atoms))
    else:
        value = counted_array(rule, worth)
    owed = worth + mul_ppb_floor_array(worth, rule.ask_buffer_ppb)
    return np.where(atoms < 0, owed, mul_ppb_floor_array(value, PPB - rule.bid_buffer_ppb))


def maintenance_haircut_array(collateral: Collateral, atoms: Int64Array) -> Int64Array:
    """`maintenance_haircut_atoms` for an array."""
    if collateral.rule.haircut_for == "initial":
        return np.zeros_like(atoms)
    return worth_array(collateral, atoms) - margin_array(collateral, atoms)


def coming_margin_atoms(rule: CollateralRules, atoms: int) -> int:
    """What money that an issuer owes counts for: like the collateral that it was redeemed for."""
    return mul_ppb_floor(counted(rule, atoms), PPB - rule.bid_buffer_ppb)


def coming_haircut_atoms(rule: CollateralRules, atoms: int) -> int:
    """What the haircut takes off it for maintenance; never negative."""
    return 0 if rule.haircut_for == "initial" else atoms - coming_margin_atoms(rule, atoms)


def coming_haircut_array(rule: CollateralRules, atoms: Int64Array) -> Int64Array:
    """`coming_haircut_atoms` for an array."""
    if rule.haircut_for == "initial":
        return np.zeros_like(atoms)
    return atoms - mul_ppb_floor_array(counted_array(rule, atoms), PPB - rule.bid_buffer_ppb)


def per_move_array(collateral: Collateral, atoms: Int64Array) -> Int64Array:
    """At least what each holding loses as margin for a move of 100 % of the meter's reference price.

    Ratios are at most 1, so that a holding never loses faster than its value; what is owed grows by the ask
    buffer more.
    """
    lots = np.abs(atoms) // collateral.market.instrument.lot_atoms + 1
    per_move = lots * (collateral.market.prices.meter_ticks * collateral.market.tick_value)
    grown = per_move + mul_ppb_floor_array(per_move, collateral.rule.ask_buffer_ppb) + 1
    return np.where(atoms == 0, 0, grown)


def rounding_atoms(collaterals: Sequence[Collateral]) -> int:
    """At least what the divisions of a valuation may move it by, over all assets."""
    return sum(4 + len(collateral.rule.tiers) for collateral in collaterals)


def promised_atoms(accounts: Accounts, markets: list[Market], account: int, asset: int) -> int:
    """Atoms of `asset` that the account's resting spot orders would hand over."""
    promised = 0
    for market in markets:
        instrument = market.instrument
        if instrument.kind != "spot":
            continue
        if instrument.settle_asset == asset:
            promised += accounts.buy_value.cells[market.number][account]
        if instrument.base_asset == asset:
            promised += accounts.sell_lots.cells[market.number][account] * instrument.lot_atoms
    return promised


def free_atoms(accounts: Accounts, markets: list[Market], account: int, asset: int) -> int:
    """Wallet less what resting spot orders have promised."""
    return accounts.balances.cells[asset][account] - promised_atoms(accounts, markets, account, asset)
