"""What a position must have behind it: to be let alone, and to be opened or drawn on."""

from collections.abc import Callable
from fractions import Fraction
from math import lcm
from typing import NamedTuple

from msgspec import structs

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil
from zerodebt.exchange.instruments import Instrument, Tier

PPM = 10**6

# (numerator, denominator) of what a position of (notional_atoms, size_lots), both unsigned, is charged.
Charge = Callable[[int, int], tuple[int, int]]


# (value in atoms, lots) of a position, both unsigned.
Size = tuple[int, int]
ALONE: Size = (0, 0)


class Requirement(NamedTuple):
    """The requirements of an instrument.

    maintenance   atoms for a position of (notional_atoms, size_lots), both unsigned; the notional is that of
                  the instrument's basis
    initial       the same, given the chosen leverage (0: nobody chose) and the value of the open interest
    most_per_lot  atoms that no position is asked to maintain more of for each lot, given one lot's value,
                  rounded up
    most          the same for a position, where the rate grows with its size or it is a share of its cost;
                  otherwise None
    When the value of a position grows by m, up to all of it, so do the bounds, by m of themselves at most.
    """

    maintenance: Callable[[int, int], int]
    initial: Callable[[int, int, int, int], int]
    most_per_lot: Callable[[int], int]
    most: Callable[[int, int], int] | None


def initial_rate(tier: Tier) -> Fraction:
    return Fraction(tier.initial_ppb, PPB) if tier.initial_ppb else Fraction(1, tier.leverage_max)


def maintenance_rate(tier: Tier) -> Fraction:
    """Stated, or half of the initial rate."""
    return Fraction(tier.maintenance_ppb, PPB) if tier.maintenance_ppb else initial_rate(tier) / 2


def requirement(spec: Instrument, fee_ppb: int = 0) -> Requirement:
    """The instrument's form: what its tiers charge, with a slope, and at least an amount for each lot.

    fee_ppb  a closing fee that the maintenance rates include
    """
    initial_charge = charge(spec, [initial_rate(tier) for tier in spec.tiers])
    is_share = spec.maintenance_of_initial_ppb is not None
    if spec.maintenance_of_initial_ppb is not None:
        maintenance = share_of(initial_charge, spec.maintenance_of_initial_ppb)
    else:
        by_tiers = charge(spec, [maintenance_rate(tier) + Fraction(fee_ppb, PPB) for tier in spec.tiers])
        maintenance = at_least_per_lot(rounded_up(sloped(spec, by_tiers)), spec.margin_floor_atoms_per_lot)
    most = most_with_slope(spec, fee_ppb) if spec.slope_ppb and not is_share else None
    return Requirement(
        maintenance,
        initial(spec, rounded_up(sloped(spec, initial_charge))),
        most_per_lot(spec, fee_ppb),
        maintenance if spec.maintenance_basis == "entry" else most,
    )


def by_tier(spec: Instrument, fee_ppb: int = 0) -> list[Requirement]:
    """What each tier would charge on a position of any size."""
    tiers = [structs.replace(tier, lower=0) for tier in spec.tiers]
    return [requirement(structs.replace(spec, tiers=(tier,)), fee_ppb) for tier in tiers]


def charge(spec: Instrument, rates: list[Fraction]) -> Charge:
    """Rates of the tiers on a position: each on what lies in its tier, or one on all of it."""
    denominator = lcm(1, *(rate.denominator for rate in rates))
    slopes = [int(rate * denominator) for rate in rates]
    by_lots = spec.tier_unit == "lots"
    if spec.tier_form == "whole":
        return whole_tiers(spec, slopes, denominator, by_lots=by_lots)
    return marginal_tiers(spec, slopes, denominator, by_lots=by_lots)


def whole_tiers(spec: Instrument, slopes: list[int], denominator: int, *, by_lots: bool) -> Charge:
    """The rate of the tier that the size falls into, on all of it; a tier holds its upper bound."""
    lines = [(tier.lower, slope) for tier, slope in zip(spec.tiers, slopes, strict=True)][::-1]

    def charged(notional_atoms: int, size_lots: int) -> tuple[int, int]:
        size = size_lots if by_lots else notional_atoms
        for lower, slope in lines:
            if size > lower:
                return notional_atoms * slope, denominator
        return 0, 1

    return charged


def marginal_tiers(spec: Instrument, slopes: list[int], denominator: int, *, by_lots: bool) -> Charge:
    """Each tier's rate on its slice of the position; a slice in lots has their share of the value."""
    lines: list[tuple[int, int, int]] = []
    below = 0
    for tier, slope in zip(spec.tiers, slopes, strict=True):
        if lines:
            lower, before, _ = lines[-1]
            below += (tier.lower - lower) * before
        lines.append((tier.lower, slope, below))
    lines.reverse()

    def charged(notional_atoms: int, size_lots: int) -> tuple[int, int]:
        size = size_lots if by_lots else notional_atoms
        for lower, slope, before in lines:
            if size > lower:
                return before + (size - lower) * slope, denominator
        return 0, 1

    def charged_by_lots(notional_atoms: int, size_lots: int) -> tuple[int, int]:
        numerator, denominator = charged(notional_atoms, size_lots)
        return numerator * notional_atoms, denominator * max(1, size_lots)

    return charged_by_lots if by_lots else charged


def sloped(spec: Instrument, form: Charge) -> Charge:
    """A charge whose rate grows with the size: in lots of a linear contract, in value of an inverse one.

    It ends at the whole value.
    """
    if not spec.slope_ppb:
        return form
    unit, by_value = PPB * spec.slope_size, spec.contract == "inverse"

    def charged(notional_atoms: int, size_lots: int) -> tuple[int, int]:
        numerator, denominator = form(notional_atoms, size_lots)
        grown = notional_atoms * (notional_atoms if by_value else size_lots) * spec.slope_ppb
        whole = notional_atoms * denominator * unit
        return min(whole, numerator * unit + grown * denominator), denominator * unit

    return charged


def rounded_up(form: Charge) -> Callable[[int, int], int]:
    def required(notional_atoms: int, size_lots: int) -> int:
        numerator, denominator = form(notional_atoms, size_lots)
        return -(-numerator // denominator)

    return required


def share_of(form: Charge, share_ppb: int) -> Callable[[int, int], int]:
    """A share of another charge, both rounded up."""
    base = rounded_up(form)
    return lambda notional_atoms, size_lots: div_ceil(base(notional_atoms, size_lots) * share_ppb, PPB)


def at_least_per_lot(form: Callable[[int, int], int], least_atoms: int) -> Callable[[int, int], int]:
    """Another form, but never less than `least_atoms` a lot: for prices that may cross zero."""
    if not least_atoms:
        return form
    return lambda notional_atoms, size_lots: max(form(notional_atoms, size_lots), size_lots * least_atoms)


def initial(spec: Instrument, by_tiers: Callable[[int, int], int]) -> Callable[[int, int, int, int], int]:
    """The tiers' charge, or one that rises with open interest; at least the value over the leverage."""
    least_atoms = spec.initial_atoms_per_lot or 2 * spec.margin_floor_atoms_per_lot
    rises = spec.open_interest_high_atoms > spec.open_interest_low_atoms

    def required(notional_atoms: int, size_lots: int, leverage: int, open_interest_atoms: int) -> int:
        if rises:
            rate = risen_rate_ppm(spec, notional_atoms, size_lots, open_interest_atoms)
            atoms = div_ceil(notional_atoms * rate, PPM)
        else:
            atoms = by_tiers(notional_atoms, size_lots)
        by_leverage = div_ceil(notional_atoms, leverage) if leverage else 0
        return max(atoms, size_lots * least_atoms, by_leverage)

    return required


def risen_rate_ppm(spec: Instrument, notional_atoms: int, size_lots: int, open_interest_atoms: int) -> int:
    """The tier's initial rate, which rises to 1 between two bounds of open interest; rounded down."""
    tier = spec.tiers[tier_number(spec, notional_atoms, size_lots)]
    base = int(initial_rate(tier) * PPM)
    low, high = spec.open_interest_low_atoms, spec.open_interest_high_atoms
    return base + (PPM - base) * min(max(0, open_interest_atoms - low), high - low) // (high - low)


def tier_number(spec: Instrument, notional_atoms: int, size_lots: int) -> int:
    """The tier that a position falls into, from 0; a tier holds its upper bound."""
    size = size_lots if spec.tier_unit == "lots" else notional_atoms
    return max(n for n, tier in enumerate(spec.tiers) if not n or size > tier.lower)


def most_rate(spec: Instrument) -> Fraction:
    """No tier asks for a larger share of the value to be maintained."""
    if spec.maintenance_of_initial_ppb is not None:
        share = Fraction(spec.maintenance_of_initial_ppb, PPB)
        return max((initial_rate(tier) * share for tier in spec.tiers), default=Fraction(0))
    return max((maintenance_rate(tier) for tier in spec.tiers), default=Fraction(0))


def most_per_lot(spec: Instrument, fee_ppb: int) -> Callable[[int], int]:
    """The largest rate and the least amount together; two more atoms bear what is rounded up twice."""
    numerator, denominator = (most_rate(spec) + Fraction(fee_ppb, PPB)).as_integer_ratio()
    more = 1 + spec.margin_floor_atoms_per_lot + (2 if spec.maintenance_of_initial_ppb is not None else 0)
    return lambda lot_atoms: abs(lot_atoms) * numerator // denominator + more


def most_with_slope(spec: Instrument, fee_ppb: int) -> Callable[[int, int], int]:
    """What the slope adds is quadratic in an inverse position's value: (1 + m)^2 <= 1 + 3m up to m = 1."""
    numerator, denominator = (most_rate(spec) + Fraction(fee_ppb, PPB)).as_integer_ratio()
    unit, by_value, floor = PPB * spec.slope_size, spec.contract == "inverse", spec.margin_floor_atoms_per_lot

    def most(notional_atoms: int, size_lots: int) -> int:
        notional = notional_atoms + 1
        grown = 3 * notional * (notional if by_value else size_lots) * spec.slope_ppb // unit
        return notional * numerator // denominator + grown + size_lots * floor + 2

    return most
