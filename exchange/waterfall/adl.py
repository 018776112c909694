"""Auto-deleveraging: the ranking of the other side, the price, and whose lots go."""

from collections.abc import Iterable

from msgspec import Struct

from zerodebt.exchange.units import INT64_MAX, PPB


class Candidate(Struct, frozen=True, gc=False):
    """A position on the other side of a bankrupt one.

    lots            signed
    value_atoms     |value| at the mark; entry_atoms |value| at the historic entry
    profit_atoms    at the mark against the historic entry
    equity_atoms    of its compartment; wallet_atoms its settled part, maintenance_atoms its requirement
    """

    account: int
    pocket: int
    lots: int
    value_atoms: int
    entry_atoms: int
    profit_atoms: int
    equity_atoms: int
    wallet_atoms: int
    maintenance_atoms: int


class Ranked(Struct, frozen=True, gc=False):
    candidate: Candidate
    rank: int
    score_ppb: int


def score_ppb(name: str, candidate: Candidate) -> int:
    """The rulebook's score, rounded down; 0 without profit or equity, at most what an event can hold.

    hyperliquid  (value / account value) * (max(profit, 0) / entry value): OtterSec, Hyperliquid risk engine
    binance      max(0, profit)/max(1, wallet) * maintenance/(wallet + profit): Binance ADL FAQ
    """
    c = candidate
    if c.profit_atoms <= 0 or c.equity_atoms <= 0:
        return 0
    if name == "hyperliquid":
        return min(
            INT64_MAX, c.value_atoms * c.profit_atoms * PPB // (c.equity_atoms * max(1, c.entry_atoms))
        )
    denominator = c.wallet_atoms + c.profit_atoms
    if denominator <= 0:
        return 0
    return min(
        INT64_MAX, c.profit_atoms * c.maintenance_atoms * PPB // (max(1, c.wallet_atoms) * denominator)
    )


def rank(name: str, candidates: Iterable[Candidate]) -> list[Ranked]:
    """Candidates with a score above zero, the highest first, the lower account number among equals."""
    scored = [(-score_ppb(name, c), c.account, c.pocket, c) for c in candidates]
    ordered = sorted((entry for entry in scored if entry[0] < 0), key=lambda entry: entry[:3])
    return [Ranked(c, k + 1, -score) for k, (score, _, _, c) in enumerate(ordered)]


def lots_to_take(wanted_lots: int, held_lots: int, equity_atoms: int, charge_per_lot_atoms: int) -> int:
    """Lots of one winner: at most what he holds, and what leaves his equity at zero or above. WFALL-04."""
    lots = min(wanted_lots, abs(held_lots))
    if charge_per_lot_atoms > 0:
        lots = min(lots, max(0, equity_atoms) // charge_per_lot_atoms)
    return lots
