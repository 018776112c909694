"""What lots are worth at a price, in atoms of the settlement asset, and which price makes them worth that."""

from collections.abc import Callable

from zerodebt.exchange.audit.arithmetic import div_ceil
from zerodebt.exchange.instruments import Instrument

# Value of signed lots at one price: the value of -lots is minus the value of lots.
Worth = Callable[[int], int]


def worth_at(spec: Instrument, price_ticks: int) -> Worth:
    """The value of any number of lots at one price; an inverse contract has none at a price of zero."""
    if spec.contract == "inverse":
        return inverse(spec.tick_value_atoms, price_ticks)
    return linear(price_ticks * spec.tick_value_atoms)


def value(spec: Instrument, price_ticks: int, lots: int) -> int:
    return worth_at(spec, price_ticks)(lots)


def linear(lot_atoms: int) -> Worth:
    """Each lot is worth the same; exact."""
    return lambda lots: lots * lot_atoms


def inverse(unit_atoms: int, price_ticks: int) -> Worth:
    """Lots over the price, its magnitude rounded down; a long position is worth less than nothing."""

    def worth(lots: int) -> int:
        atoms = abs(lots) * unit_atoms // price_ticks
        return -atoms if lots > 0 else atoms

    return worth


def dust_atoms(spec: Instrument) -> int:
    """Atoms by which a value may differ from its share of a larger one."""
    return 1 if spec.contract == "inverse" else 0


def price_of(spec: Instrument, lots: int, atoms: int) -> int:
    """The price at which signed lots are worth `atoms`, rounded so that they are not worth less.

    An inverse position is never worth more than zero long, nor less short: then the price lies out of bounds.
    """
    unit = abs(lots) * spec.tick_value_atoms
    if spec.contract == "inverse":
        if lots * atoms >= 0:
            return spec.price_max_ticks + 1
        return div_ceil(unit, -atoms) if lots > 0 else unit // atoms
    return div_ceil(atoms, unit) if lots > 0 else -atoms // unit
