"""What to send to the book for an account below maintenance: a plan, nothing more."""

from zerodebt.exchange.rules import LiquidationRules
from zerodebt.exchange.units import mul_ppb_floor


def forced_lots(rules: LiquidationRules, size_lots: int, notional_atoms: int, is_cooling: bool) -> int:
    """Lots of the next forced order: a share of a large position first, then the whole remainder.

    Above `chunk_threshold_atoms` the first order is `chunk_ppb` of the position, rounded down, at least one
    lot; while the cooldown runs every order is for all that is left. Source: Hyperliquid docs, Liquidations.
    """
    if notional_atoms <= rules.chunk_threshold_atoms or is_cooling:
        return size_lots
    return max(1, mul_ppb_floor(size_lots, rules.chunk_ppb))
