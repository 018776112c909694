"""How much of a position a forced order is for, and how far it may go."""

from collections.abc import Callable

from zerodebt.exchange.audit.arithmetic import PPB
from zerodebt.exchange.audit.forms.valuation import price_of, value
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import LiquidationRules


def chunk_lots(rules: LiquidationRules, notional_atoms: int, size_lots: int, *, is_cooling: bool) -> int:
    """The whole position, or above the threshold a share of it, rounded down to at least one lot."""
    if notional_atoms <= rules.chunk_threshold_atoms or is_cooling:
        return size_lots
    return max(1, size_lots * rules.chunk_ppb // PPB)


def limit_ticks(
    rules: LiquidationRules, spec: Instrument, mark_ticks: int, signed_lots: int, equity_atoms: int
) -> int | None:
    """The limit of an order for `signed_lots` (buying > 0), the whole position's; None goes to any price."""
    return LIMITS[rules.price_limit](spec, mark_ticks, signed_lots, equity_atoms)


def no_limit(_spec: Instrument, _mark_ticks: int, _signed_lots: int, _equity_atoms: int) -> None:
    return None


def bankruptcy_limit(spec: Instrument, mark_ticks: int, signed_lots: int, equity_atoms: int) -> int | None:
    """Where closing the position leaves nothing, rounded towards the mark; below zero any price will do."""
    if equity_atoms < 0:
        return None
    lots = -signed_lots
    return price_of(spec, lots, value(spec, mark_ticks, lots) - equity_atoms)


LIMITS: dict[str, Callable[[Instrument, int, int, int], int | None]] = {
    "none": no_limit,
    "bankruptcy": bankruptcy_limit,
}
