"""What can be traded, what it is worth, which margin it asks for, and how large its numbers may become."""

from fractions import Fraction
from math import lcm
from typing import Literal

import numpy as np
from msgspec import Struct

from zerodebt.exchange.units import INT64_BUDGET, PPB, Int64Array, div_ceil, div_floor

Kind = Literal["spot", "perpetual", "future"]


class Tier(Struct, frozen=True, array_like=True):
    """Rates above a size, in atoms of value or lots as the instrument's `tier_unit` says.

    A size equal to `lower` is still in the tier below: venues publish their tables by what a tier holds at
    most (Binance FAQ, Leverage and maintenance margin; Hyperliquid docs, Margin tiers).

    leverage_max     largest leverage that may be chosen; 0 where a venue lets nobody choose
    maintenance_ppb  0: half of the initial rate
    initial_ppb      least initial rate; 0: 1/leverage_max
    """

    lower: int
    leverage_max: int
    maintenance_ppb: int = 0
    initial_ppb: int = 0


class Instrument(Struct, frozen=True, array_like=True):
    """A market. `tick_value_atoms` is what one lot is worth at a price of one tick, in the settlement asset.

    kind                    spot, perpetual (with funding) or future (ended by a settlement price)
    contract                linear: value = price * lots * tick value; inverse: tick value * lots / price, and
                            a long position's value is negative, so that it gains when the price rises
    settle_asset            index of the asset that pays profit (for spot: the quote asset)
    base_asset, lot_atoms   spot only: the asset delivered, and its atoms in one lot
    tick_decimals           one tick is 10**-tick_decimals in quote units; the finest grid that is quoted
    lot_decimals            one lot is 10**-lot_decimals of the underlying (inverse: of the face value)
    significant_figures     an order's price may have this many figures, integers always (0: every tick)
    tiers                   ascending, the first from 0; empty for spot
    tier_form               marginal: a tier's rate counts for what lies in it; whole: for all of the position
    margin_floor_atoms_per_lot  least maintenance requirement of a lot, for prices that may cross zero
    initial_atoms_per_lot   least initial requirement of a lot; 0: twice the maintenance floor
    slope_ppb, slope_size   both rates grow by `slope_ppb` for every `slope_size` of position: lots of a
                            linear contract, atoms of value of an inverse one
    maintenance_of_initial_ppb  maintenance is this share of the initial requirement, each rounded up, and
                            nothing else: slope, floor and a closing fee beside it are refused; None: the
                            tiers' own rates count
    open_interest_low_atoms, open_interest_high_atoms  between them the initial rate rises to 1
    maintenance_basis       what maintenance is a share of: the value at the mark, or what the lots cost
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
    contract: Literal["linear", "inverse"] = "linear"
    tier_unit: Literal["value", "lots"] = "value"
    tier_form: Literal["marginal", "whole"] = "marginal"
    initial_atoms_per_lot: int = 0
    slope_ppb: int = 0
    slope_size: int = 1
    maintenance_of_initial_ppb: int | None = None
    open_interest_low_atoms: int = 0
    open_interest_high_atoms: int = 0
    maintenance_basis: Literal["mark", "entry"] = "mark"


class MarginTable(Struct, frozen=True):
    """An instrument's requirements as integers over one common denominator.

    requirement = (value * numerators[n] - deductions[n]) / denominator, rounded up, in the tier n that the
    position's size falls into. Marginal tiers deduct what lower tiers charge less: deductions[n] =
    deductions[n-1] + lowers[n] * (numerators[n] - numerators[n-1]); whole ones deduct nothing.
    Sources: Hyperliquid docs, Margin tiers; Binance FAQ, Leverage and maintenance margin.

    is_vectorised   arrays of 64-bit integers hold every intermediate
    is_metered      the requirement grows with the price no faster than its largest rate says
    """

    lowers: tuple[int, ...]
    denominator: int
    numerators: tuple[int, ...]
    deductions: tuple[int, ...]
    initial_numerators: tuple[int, ...]
    initial_deductions: tuple[int, ...]
    counts_lots: bool
    is_inverse: bool
    is_at_entry: bool
    floor_atoms_per_lot: int
    initial_atoms_per_lot: int
    slope_ppb: int
    slope_size: int
    maintenance_of_initial_ppb: int | None
    open_interest_low_atoms: int
    open_interest_high_atoms: int
    is_vectorised: bool
    is_metered: bool


def value_atoms(instrument: Instrument, price_ticks: int, lots: int) -> int:
    """Value of a fill or a position in atoms of the settlement asset.

    Linear: exact, with the sign of `lots`. Inverse: with the other sign, rounded towards zero, so that buyer
    and seller of a fill differ in the sign only.
    """
    if instrument.contract == "linear":
        return price_ticks * lots * instrument.tick_value_atoms
    value = abs(lots) * instrument.tick_value_atoms // price_ticks
    return -value if lots > 0 else value


def values_atoms(instrument: Instrument, price_ticks: int, lots: Int64Array) -> Int64Array:
    """`value_atoms` for an array of positions."""
    if instrument.contract == "linear":
        return lots * (price_ticks * instrument.tick_value_atoms)
    values: Int64Array = -np.sign(lots) * (np.abs(lots) * instrument.tick_value_atoms // price_ticks)
    return values


def closing_ticks(instrument: Instrument, lots: int, value_atoms: int) -> int:
    """The furthest price at which closing `lots` (not 0) still brings at least `value_atoms`: the lowest for
    long positions, rounded up, the highest for short ones, rounded down. LIQ-08.

    An inverse long is never worth 0 or more, and an inverse short always more than 0: then the answer lies
    one tick beyond the instrument's largest price.
    """
    unit = abs(lots) * instrument.tick_value_atoms
    if instrument.contract == "linear":
        return div_ceil(value_atoms, unit) if lots > 0 else div_floor(-value_atoms, unit)
    if lots > 0:
        return div_ceil(unit, -value_atoms) if value_atoms < 0 else instrument.price_max_ticks + 1
    return div_floor(unit, value_atoms) if value_atoms > 0 else instrument.price_max_ticks + 1


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


def largest_leverage(tier: Tier) -> int:
    """What `leverage_max` says; where nobody chooses, the whole leverage that the initial rate leaves."""
    return tier.leverage_max or PPB // tier.initial_ppb


def initial_rate(tier: Tier) -> Fraction:
    """Least initial rate of a tier, exact."""
    return Fraction(tier.initial_ppb, PPB) if tier.initial_ppb else Fraction(1, tier.leverage_max)


def maintenance_rate(tier: Tier) -> Fraction:
    """Maintenance rate of a tier, exact: stated, or half of the initial rate."""
    return Fraction(tier.maintenance_ppb, PPB) if tier.maintenance_ppb else initial_rate(tier) / 2


def margin_table(instrument: Instrument, fee_ppb: int = 0) -> MarginTable:
    """The instrument's tiers as integers; an empty tier list (spot) requires nothing.

    fee_ppb  a closing fee that the venue adds to the maintenance requirement; parts per billion of the value
    """
    i = instrument
    fee = Fraction(fee_ppb, PPB)
    maintenance = [maintenance_rate(tier) + fee for tier in i.tiers] or [fee]
    initial = [initial_rate(tier) for tier in i.tiers] or [Fraction(0)]
    denominator = lcm(*(rate.denominator for rate in maintenance + initial))
    lowers = tuple(tier.lower for tier in i.tiers) or (0,)
    numerators, deductions = _lines(i, lowers, [int(rate * denominator) for rate in maintenance])
    initial_numerators, initial_deductions = _lines(i, lowers, [int(rate * denominator) for rate in initial])
    is_simple = not i.slope_ppb and i.maintenance_of_initial_ppb is None
    largest = max(1, *numerators, denominator)
    fits = 4 * value_max_atoms(i) * largest < INT64_BUDGET and max(deductions) < INT64_BUDGET
    rises_with_price = len(lowers) == 1 or i.tier_form == "marginal" or i.tier_unit == "lots"
    return MarginTable(
        lowers,
        denominator,
        numerators,
        deductions,
        initial_numerators,
        initial_deductions,
        i.tier_unit == "lots",
        i.contract == "inverse",
        i.maintenance_basis == "entry",
        i.margin_floor_atoms_per_lot,
        i.initial_atoms_per_lot or 2 * i.margin_floor_atoms_per_lot,
        i.slope_ppb,
        i.slope_size,
        i.maintenance_of_initial_ppb,
        i.open_interest_low_atoms,
        i.open_interest_high_atoms,
        is_simple and fits,
        is_simple and rises_with_price and i.contract == "linear",
    )


def _lines(
    instrument: Instrument, lowers: tuple[int, ...], numerators: list[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    deductions = [0]
    for n in range(1, len(lowers)):
        less = lowers[n] * (numerators[n] - numerators[n - 1]) if instrument.tier_form == "marginal" else 0
        deductions.append(deductions[-1] + less)
    return tuple(numerators), tuple(deductions)


def tier_of(table: MarginTable, notional_atoms: int, size_lots: int) -> int:
    """Number of the tier that a position (both >= 0) falls into."""
    size = size_lots if table.counts_lots else notional_atoms
    n = len(table.lowers) - 1
    while n and size <= table.lowers[n]:
        n -= 1
    return n


Size = tuple[int, int]
"""Value in atoms and lots of a position, neither below zero."""
ALONE: Size = (0, 0)


def shared_tier(table: MarginTable, notional_atoms: int, size_lots: int, beside: Size = ALONE) -> int:
    """Number of the tier of a position, and of what lies beside it and is summed with it."""
    return tier_of(table, notional_atoms + beside[0], size_lots + beside[1])


def maintenance_atoms(table: MarginTable, notional_atoms: int, size_lots: int, beside: Size = ALONE) -> int:
    """Maintenance requirement of a position worth `notional_atoms` (>= 0), rounded up."""
    n = shared_tier(table, notional_atoms, size_lots, beside)
    if table.maintenance_of_initial_ppb is not None:
        base = div_ceil(
            notional_atoms * table.initial_numerators[n] - table.initial_deductions[n], table.denominator
        )
        return div_ceil(base * table.maintenance_of_initial_ppb, PPB)
    charge = notional_atoms * table.numerators[n] - table.deductions[n]
    required = _sloped(table, charge, notional_atoms, size_lots)
    return max(required, size_lots * table.floor_atoms_per_lot) if table.floor_atoms_per_lot else required


def _sloped(table: MarginTable, charge: int, notional_atoms: int, size_lots: int) -> int:
    """`charge / denominator` plus what the rate grows with size, rounded up once. Source: Deribit, Margin.

    The page names no end of the growth; ours is the whole value (an inverse one leaves 64 bits otherwise).
    """
    if not table.slope_ppb:
        return -(-charge // table.denominator)
    size = notional_atoms if table.is_inverse else size_lots
    unit = PPB * table.slope_size
    grown = notional_atoms * size * table.slope_ppb
    return min(notional_atoms, div_ceil(charge * unit + grown * table.denominator, table.denominator * unit))


def initial_atoms(
    table: MarginTable,
    notional_atoms: int,
    size_lots: int,
    leverage: int,
    open_interest_atoms: int = 0,
    beside: Size = ALONE,
) -> int:
    """Initial requirement of a position (value and lots >= 0), rounded up.

    The value over the chosen leverage (0: nobody chooses), but at least what the tier asks; between the
    bounds of open interest the tier's rate rises to 1, rounded down to a millionth (dYdX docs, Margin).
    """
    if not size_lots:
        return 0
    n = shared_tier(table, notional_atoms, size_lots, beside)
    rate = open_interest_rate_ppm(table, n, open_interest_atoms)
    if rate is not None:
        required = div_ceil(notional_atoms * rate, 10**6)
    else:
        charge = notional_atoms * table.initial_numerators[n] - table.initial_deductions[n]
        required = _sloped(table, charge, notional_atoms, size_lots)
    required = max(required, size_lots * table.initial_atoms_per_lot)
    return max(required, div_ceil(notional_atoms, leverage)) if leverage else required


def charged_rate(table: MarginTable, tier: int, notional_atoms: int, size_lots: int) -> Fraction:
    """Maintenance rate that a position of this size is charged in its tier, before deductions; exact."""
    if table.maintenance_of_initial_ppb is not None:
        initial = Fraction(table.initial_numerators[tier], table.denominator)
        return initial * table.maintenance_of_initial_ppb / PPB
    size = notional_atoms if table.is_inverse else size_lots
    grown = Fraction(size * table.slope_ppb, PPB * table.slope_size)
    rate = Fraction(table.numerators[tier], table.denominator) + grown
    return min(rate, Fraction(1)) if grown else rate


def open_interest_rate_ppm(table: MarginTable, tier: int, open_interest_atoms: int) -> int | None:
    """Initial rate that rises with open interest, or None where it does not.

    rate + (1 - rate) * clamp((open interest - low)/(high - low), 0, 1), rounded down to a millionth.
    """
    low, high = table.open_interest_low_atoms, table.open_interest_high_atoms
    if high <= low:
        return None
    base = table.initial_numerators[tier] * 10**6 // table.denominator
    risen = min(max(open_interest_atoms - low, 0), high - low)
    return base + (10**6 - base) * risen // (high - low)


def maintenance_atoms_array(
    table: MarginTable,
    notional: Int64Array,
    size_lots: Int64Array,
    beside: tuple[Int64Array, Int64Array] | None = None,
) -> Int64Array:
    """`maintenance_atoms` for arrays."""
    if not table.is_vectorised:
        values, lots = beside or (np.zeros_like(notional), np.zeros_like(notional))
        columns = (notional, size_lots, values, lots)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return np.array([maintenance_atoms(table, v, n, (bv, bn)) for v, n, bv, bn in rows], np.int64)
    if len(table.lowers) == 1:
        required = -(-(notional * table.numerators[0]) // table.denominator)
    else:
        size = size_lots if table.counts_lots else notional
        if beside is not None:
            size = size + (beside[1] if table.counts_lots else beside[0])
        tier = np.searchsorted(np.array(table.lowers[1:], np.int64), size, side="left")
        numerators = np.array(table.numerators, np.int64)[tier]
        required = -(
            (np.array(table.deductions, np.int64)[tier] - notional * numerators) // table.denominator
        )
    if table.floor_atoms_per_lot:
        required = np.maximum(required, size_lots * table.floor_atoms_per_lot)
    return required


def value_max_atoms(instrument: Instrument) -> int:
    """Largest value of the open interest; a pool sums it over instruments. NUM-06."""
    price = max(abs(instrument.price_min_ticks), abs(instrument.price_max_ticks))
    if instrument.contract == "inverse":
        price = 1
    return price * instrument.open_interest_max_lots * instrument.tick_value_atoms


def budget_error(instrument: Instrument) -> str | None:
    """Why the instrument's largest numbers could leave 62 bits in some intermediate, or None.

    The largest intermediates are the open interest's value and, in the scan for liquidatable accounts, value
    plus requirement; a table whose numerators do not fit beside them is worked in Python integers. NUM-06.
    """
    i = instrument
    if i.tick_value_atoms < 1:
        return f"instrument {i.symbol}: tick_value_atoms is {i.tick_value_atoms}, allowed are integers from 1"
    if i.price_min_ticks > i.price_max_ticks:
        return f"instrument {i.symbol}: price_min_ticks {i.price_min_ticks} is above price_max_ticks"
    if not 1 <= i.size_max_lots <= i.open_interest_max_lots:
        return f"instrument {i.symbol}: size_max_lots {i.size_max_lots} must lie in 1..open_interest_max_lots"
    if i.contract == "inverse" and (i.kind == "spot" or i.price_min_ticks < 1):
        return f"instrument {i.symbol}: an inverse contract is no spot market and its prices start at 1 tick"
    if i.contract == "inverse" and i.tick_value_atoms < i.price_max_ticks:
        return (
            f"instrument {i.symbol}: at price_max_ticks {i.price_max_ticks} a lot is worth no atom, "
            f"allowed are at most {i.tick_value_atoms}"
        )
    error = _margin_error(i)
    if error:
        return f"instrument {i.symbol}: {error}"
    if i.kind == "spot" and not 0 < i.lot_atoms * i.open_interest_max_lots < INT64_BUDGET:
        return f"instrument {i.symbol}: lot_atoms {i.lot_atoms} is out of bounds"
    largest = value_max_atoms(i)
    if 4 * largest >= INT64_BUDGET:
        return (
            f"instrument {i.symbol}: largest price x open interest x tick value is {largest} atoms, "
            f"beyond the 62-bit budget"
        )
    return None


def _margin_error(i: Instrument) -> str | None:
    if i.kind != "spot" and not i.tiers:
        return "the table of margin tiers is missing, allowed are tiers that start at 0"
    if i.kind != "spot" and i.tiers[0].lower != 0:
        return "tiers must start at 0"
    for before, after in zip(i.tiers, i.tiers[1:], strict=False):
        if after.lower <= before.lower or after.leverage_max > before.leverage_max:
            return "tiers must ascend in size and not in leverage"
    for tier in i.tiers:
        if not 0 <= tier.leverage_max <= 1000 or not (tier.leverage_max or tier.initial_ppb):
            return f"leverage_max is {tier.leverage_max}, allowed is 1..1000, or 0 beside initial_ppb"
        if not 0 <= tier.lower < INT64_BUDGET:
            return f"the tier bound {tier.lower} must lie in 0..2^62"
        if not 0 <= maintenance_rate(tier) <= 1 or not 0 < initial_rate(tier) <= 1:
            return f"rates of the tier from {tier.lower} must lie in 0..1"
        if maintenance_rate(tier) > initial_rate(tier):
            return f"the maintenance rate of the tier from {tier.lower} must not exceed its initial rate"
    if i.tier_unit == "lots" and i.tier_form == "marginal" and len(i.tiers) > 1:
        return "tiers by lots are of the form 'whole': a slice of a position has no lots of its own"
    rates = [maintenance_rate(tier) for tier in i.tiers]
    if rates != sorted(rates):
        return "maintenance rates must not fall with size"
    for name in ("margin_floor_atoms_per_lot", "initial_atoms_per_lot"):
        amount = getattr(i, name)
        if not 0 <= amount * i.open_interest_max_lots < INT64_BUDGET:
            return f"{name} {amount} is out of bounds"
    if not 0 <= i.slope_ppb <= PPB or not 1 <= i.slope_size < INT64_BUDGET:
        return f"slope_ppb {i.slope_ppb} for each {i.slope_size}: allowed is 0..10^9 for each 1..2^62"
    for name in ("open_interest_low_atoms", "open_interest_high_atoms"):
        if not 0 <= getattr(i, name) < INT64_BUDGET:
            return f"{name} is {getattr(i, name)}, allowed is 0..2^62"
    if i.maintenance_of_initial_ppb is not None and not 0 <= i.maintenance_of_initial_ppb <= PPB:
        return f"maintenance_of_initial_ppb is {i.maintenance_of_initial_ppb}, allowed is 0..10^9"
    for name in ("slope_ppb", "margin_floor_atoms_per_lot"):
        if i.maintenance_of_initial_ppb is not None and getattr(i, name):
            return (
                f"{name} is {getattr(i, name)}, allowed is 0 where maintenance is a share of the initial one"
            )
    return None
