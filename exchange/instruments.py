"""What can be traded, and how large its numbers may become."""

from math import lcm
from typing import Literal

import numpy as np
from msgspec import Struct

from zerodebt.exchange.units import Int64Array

Kind = Literal["spot", "perpetual", "future"]


class Tier(Struct, frozen=True, array_like=True):
    """Above `lower_notional_atoms` of position value, leverage is at most `leverage_max`."""

    lower_notional_atoms: int
    leverage_max: int


class Instrument(Struct, frozen=True, array_like=True):
    """A market. `tick_value_atoms` is what one tick on one lot is worth in the settlement asset.

    kind                    spot, perpetual (with funding) or future (linear, ended by a settlement price)
    settle_asset            index of the asset that pays profit (for spot: the quote asset)
    base_asset, lot_atoms   spot only: the asset delivered, and its atoms in one lot
    tick_decimals           one tick is 10**-tick_decimals in quote units; the finest grid that is quoted
    lot_decimals            one lot is 10**-lot_decimals of the underlying
    significant_figures     an order's price may have this many figures, integers always (0: every tick)
    tiers                   by position value, ascending, the first from 0; empty for spot
    margin_floor_atoms_per_lot  least maintenance requirement of a lot, for prices that may cross zero
    """

    symbol: str
    kind: Kind
    settle_asset: int
    tick_decimals: int
    lot_decimals: int
    tick_value_atoms: int
    price_min_ticks: int
    price_max_ticks: int
    size_max_lots: int
    open_interest_max_lots: int
    tiers: tuple[Tier, ...] = ()
    significant_figures: int = 0
    margin_floor_atoms_per_lot: int = 0
    base_asset: int = -1
    lot_atoms: int = 0


class MarginTable(Struct, frozen=True):
    """Maintenance requirement in marginal form over one common denominator.

    requirement = (notional * numerators[n] - deductions[n]) / denominator, rounded up, in the tier n with
    lowers[n] <= notional: deductions[n] = deductions[n-1] + lowers[n] * (numerators[n] - numerators[n-1]).
    The maintenance rate of a tier is half of 1/leverage_max. Source: Hyperliquid docs, Margin tiers.
    """

    denominator: int
    lowers: tuple[int, ...]
    numerators: tuple[int, ...]
    deductions: tuple[int, ...]
    floor_atoms_per_lot: int


def value_atoms(instrument: Instrument, price_ticks: int, lots: int) -> int:
    """Value of a fill in atoms of the settlement asset, with the sign of `lots`; exact, no rounding."""
    return price_ticks * lots * instrument.tick_value_atoms


def order_step_ticks(instrument: Instrument, price_ticks: int) -> int:
    """Distance between the prices that an order may use near `price_ticks`.

    With five significant figures 1,234.56 is refused and 123,456 allowed: integers always are.
    Source: Hyperliquid docs, Tick and lot size.
    """
    if not instrument.significant_figures:
        return 1
    step, whole = 1, 10**instrument.tick_decimals
    beyond = 10**instrument.significant_figures
    while step < whole and abs(price_ticks) >= beyond * step:
        step *= 10
    return step


def margin_table(instrument: Instrument) -> MarginTable:
    """The instrument's tiers as integers; an empty tier list (spot) requires nothing."""
    if not instrument.tiers:
        return MarginTable(1, (0,), (0,), (0,), instrument.margin_floor_atoms_per_lot)
    denominator = lcm(*(2 * tier.leverage_max for tier in instrument.tiers))
    lowers = tuple(tier.lower_notional_atoms for tier in instrument.tiers)
    numerators = tuple(denominator // (2 * tier.leverage_max) for tier in instrument.tiers)
    deductions = [0]
    for n in range(1, len(lowers)):
        deductions.append(deductions[-1] + lowers[n] * (numerators[n] - numerators[n - 1]))
    return MarginTable(
        denominator, lowers, numerators, tuple(deductions), instrument.margin_floor_atoms_per_lot
    )


def maintenance_atoms(table: MarginTable, notional_atoms: int, size_lots: int) -> int:
    """Maintenance requirement of a position worth `notional_atoms` (>= 0), rounded up."""
    lowers = table.lowers
    n = len(lowers) - 1
    while notional_atoms < lowers[n]:
        n -= 1
    required = -((table.deductions[n] - notional_atoms * table.numerators[n]) // table.denominator)
    return max(required, size_lots * table.floor_atoms_per_lot) if table.floor_atoms_per_lot else required


def maintenance_atoms_array(table: MarginTable, notional: Int64Array, size_lots: Int64Array) -> Int64Array:
    """`maintenance_atoms` for arrays. Marginal rates rise with the tier, so the largest line is right."""
    required = -(-(notional * table.numerators[0]) // table.denominator)
    for numerator, deduction in zip(table.numerators[1:], table.deductions[1:], strict=True):
        required = np.maximum(required, -(-(notional * numerator - deduction) // table.denominator))
    if table.floor_atoms_per_lot:
        required = np.maximum(required, size_lots * table.floor_atoms_per_lot)
    return required


def value_max_atoms(instrument: Instrument) -> int:
    """Value of the largest open interest at the largest price; a pool sums it over instruments. NUM-06."""
    price = max(abs(instrument.price_min_ticks), abs(instrument.price_max_ticks))
    return price * instrument.open_interest_max_lots * instrument.tick_value_atoms


def budget_error(instrument: Instrument) -> str | None:
    """Why the instrument's largest numbers could leave 62 bits in some intermediate, or None.

    The largest intermediates are the open interest's value times a tier's numerator and, in the scan for
    liquidatable accounts, value plus requirement. Property NUM-06.
    """
    i = instrument
    if i.tick_value_atoms < 1:
        return f"instrument {i.symbol}: tick_value_atoms is {i.tick_value_atoms}, allowed are integers from 1"
    if i.price_min_ticks > i.price_max_ticks:
        return f"instrument {i.symbol}: price_min_ticks {i.price_min_ticks} is above price_max_ticks"
    if not 1 <= i.size_max_lots <= i.open_interest_max_lots:
        return f"instrument {i.symbol}: size_max_lots {i.size_max_lots} must lie in 1..open_interest_max_lots"
    if i.kind != "spot" and (not i.tiers or i.tiers[0].lower_notional_atoms != 0):
        return f"instrument {i.symbol}: tiers must start at 0"
    for before, after in zip(i.tiers, i.tiers[1:], strict=False):
        if (
            after.lower_notional_atoms <= before.lower_notional_atoms
            or after.leverage_max > before.leverage_max
        ):
            return f"instrument {i.symbol}: tiers must ascend in value and not in leverage"
    if any(not 1 <= tier.leverage_max <= 1000 for tier in i.tiers):
        return f"instrument {i.symbol}: leverage_max must lie in 1..1000"
    if any(not 0 <= tier.lower_notional_atoms < 2**62 for tier in i.tiers):
        return f"instrument {i.symbol}: tier bounds must lie in 0..2^62"
    if not 0 <= i.margin_floor_atoms_per_lot * i.open_interest_max_lots < 2**62:
        return (
            f"instrument {i.symbol}: margin_floor_atoms_per_lot {i.margin_floor_atoms_per_lot} is too large"
        )
    if i.kind == "spot" and not 0 < i.lot_atoms * i.open_interest_max_lots < 2**62:
        return f"instrument {i.symbol}: lot_atoms {i.lot_atoms} is out of bounds"
    largest = value_max_atoms(i)
    table = margin_table(i)
    if 4 * largest * max(1, *table.numerators) >= 2**62:
        return (
            f"instrument {i.symbol}: largest price x open interest x tick value is {largest} atoms, "
            f"beyond the 62-bit budget with tier numerator {max(table.numerators)}"
        )
    return None
