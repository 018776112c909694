"""What lots are worth at a price, in atoms of the settlement asset."""

from collections.abc import Callable

from zerodebt.exchange.instruments import Instrument

# Value of signed lots at one price, with their sign: the value of -lots is minus the value of lots.
Worth = Callable[[int], int]


def worth_at(spec: Instrument, price_ticks: int) -> Worth:
    """The value of any number of lots at one price."""
    return linear(price_ticks * spec.tick_value_atoms)


def value(spec: Instrument, price_ticks: int, lots: int) -> int:
    return worth_at(spec, price_ticks)(lots)


def linear(lot_atoms: int) -> Worth:
    """Each lot is worth the same; exact."""
    return lambda lots: lots * lot_atoms
