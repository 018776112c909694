"""Socialised loss: the winners of the session pay in proportion to what they won."""

from collections.abc import Sequence

from zerodebt.exchange.units import split_exact


def shares(deficit_atoms: int, winners: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(account, atoms) for each winner (account, gain_atoms > 0); nobody pays more than he won. WFALL-08."""
    whole = sum(gain for _, gain in winners)
    if not whole:
        return []
    paid = split_exact(min(deficit_atoms, whole), [gain for _, gain in winners])
    return [(account, atoms) for (account, _), atoms in zip(winners, paid, strict=True) if atoms]
