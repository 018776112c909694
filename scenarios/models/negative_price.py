"""F10: a long who has put in all that his oil costs, and a settlement below zero."""

from collections.abc import Mapping, Sequence

from zerodebt.exchange.commands import SettleInstrument
from zerodebt.exchange.events import HOUSE, ReceivableBooked
from zerodebt.scenarios.models.small_venue import TICK_ATOMS, SmallVenue, contract, of, rulebook

_LOTS = 1000


def measure(
    _seed: int, *, waterfall: Sequence[str], entry_ticks: int, settled_ticks: int
) -> Mapping[str, float]:
    """What the client loses with his debt, as a share of what he put in; ticks are cents."""
    oil = contract("OIL", leverage=1, price_min_ticks=-100_000, price_max_ticks=100_000)
    desk = SmallVenue(rulebook(waterfall), (oil,))
    principal = _LOTS * entry_ticks * TICK_ATOMS
    client, bank = desk.open([principal, 10 * principal])
    if "house" in waterfall:
        desk.endow(HOUSE, 10 * principal)
    desk.load({client: _LOTS, bank: -_LOTS}, 1, ticks=entry_ticks)
    desk.index(entry_ticks)
    desk.do(SettleInstrument(0, settled_ticks))
    owed = sum(booked.atoms for booked in of(desk.events, ReceivableBooked))
    left = desk.equities([client])[0] - owed
    desk.end()
    return {"loss_share": (principal - left) / principal, "owed_usd": owed / 1e6}
