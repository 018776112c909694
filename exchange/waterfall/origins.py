"""On whose positions a deficit arose: takeovers keep the name of the account that could not hold them."""

from collections import deque
from collections.abc import Iterable

from zerodebt.exchange.units import split_exact

Lineage = deque[tuple[int, int]]


def consume(lineage: Lineage, lots: int) -> None:
    """Take `lots` (>= 0) off the oldest takeovers."""
    while lots and lineage:
        origin, held = lineage[0]
        if held > lots:
            lineage[0] = (origin, held - lots)
            return
        lineage.popleft()
        lots -= held


def deficit_origins(
    account: int, deficit_atoms: int, held: Iterable[tuple[Lineage, int]]
) -> tuple[tuple[int, int], ...]:
    """Split a deficit over the accounts behind an inventory, in proportion to the value still held of each.

    held  (takeovers, value of one lot) by instrument; an empty inventory leaves the deficit with `account`
    """
    weights: dict[int, int] = {}
    for lineage, lot_value in held:
        for origin, lots in lineage:
            weights[origin] = weights.get(origin, 0) + lots * lot_value
    if not any(weights.values()):
        return ((account, deficit_atoms),)
    origins = sorted(weights)
    shares = split_exact(deficit_atoms, [weights[origin] for origin in origins])
    return tuple((origin, share) for origin, share in zip(origins, shares, strict=True) if share)
