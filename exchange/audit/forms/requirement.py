"""What a position must have behind it."""

from collections.abc import Callable
from fractions import Fraction
from math import lcm
from typing import NamedTuple

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil
from zerodebt.exchange.instruments import Instrument


class Requirement(NamedTuple):
    """A form of the maintenance requirement of an instrument.

    maintenance   atoms for a position of (notional_atoms, size_lots), both unsigned
    most_per_lot  atoms that no position requires more of for each lot, given one lot's value at the mark
    """

    maintenance: Callable[[int, int], int]
    most_per_lot: Callable[[int], int]


def requirement(spec: Instrument) -> Requirement:
    """The instrument's form: by tiers of its notional, and at least its floor for each lot."""
    by_tiers = marginal_tiers(spec)
    floor = spec.margin_floor_atoms_per_lot
    return at_least_per_lot(by_tiers, floor) if floor else by_tiers


def marginal_tiers(spec: Instrument) -> Requirement:
    """The tiers' slices of the notional, each at half of 1/leverage; the sum rounded up once."""
    denominator = lcm(1, *(2 * tier.leverage_max for tier in spec.tiers))
    lines: list[tuple[int, int, int]] = []
    below = 0
    for tier in spec.tiers:
        if lines:
            lower, slope, _ = lines[-1]
            below += (tier.lower - lower) * slope
        lines.append((tier.lower, denominator // (2 * tier.leverage_max), below))
    lines.reverse()
    least_leverage = min((tier.leverage_max for tier in spec.tiers), default=1)

    def maintenance(notional_atoms: int, _: int) -> int:
        for lower, slope, before in lines:
            if notional_atoms >= lower:
                return div_ceil(before + (notional_atoms - lower) * slope, denominator)
        return 0

    def most_per_lot(lot_atoms: int) -> int:
        return abs(lot_atoms) // (2 * least_leverage) + 1

    return Requirement(maintenance, most_per_lot)


def at_least_per_lot(form: Requirement, floor_atoms: int) -> Requirement:
    """Another form, but never less than `floor_atoms` a lot: for prices that may cross zero."""

    def maintenance(notional_atoms: int, size_lots: int) -> int:
        return max(form.maintenance(notional_atoms, size_lots), size_lots * floor_atoms)

    def most_per_lot(lot_atoms: int) -> int:
        return form.most_per_lot(lot_atoms) + floor_atoms

    return Requirement(maintenance, most_per_lot)


def initial_atoms(spec: Instrument, notional_atoms: int, size_lots: int, leverage: int) -> int:
    """Each slice of the notional at its tier's rate; at least the amount per lot and value over leverage.

    Tiers by value in marginal form only. A rate is stated, or 1/leverage_max; the sum is rounded up once.
    """
    slices = Fraction(0)
    uppers = [tier.lower for tier in spec.tiers[1:]] + [notional_atoms]
    for tier, upper in zip(spec.tiers, uppers, strict=True):
        rate = Fraction(tier.initial_ppb, PPB) if tier.initial_ppb else Fraction(1, tier.leverage_max)
        slices += rate * max(0, min(notional_atoms, upper) - tier.lower)
    lot = spec.initial_atoms_per_lot or 2 * spec.margin_floor_atoms_per_lot
    chosen = div_ceil(notional_atoms, leverage) if leverage else 0
    return max(div_ceil(slices.numerator, slices.denominator), size_lots * lot, chosen)
