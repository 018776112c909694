"""The requirement of a pool as its worst loss over a grid of price moves."""

from collections.abc import Iterable
from typing import NamedTuple

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import PortfolioRules


class Exposure(NamedTuple):
    """A position: its market's form and group, and its signed value at the mark."""

    spec: Instrument
    group: int
    value_atoms: int


def groups(rules: PortfolioRules, instruments: Iterable[Instrument]) -> list[int]:
    """The group of each instrument; one that is in none is a group of its own."""
    named = {symbol: n for n, group in enumerate(rules.groups) for symbol in group.instruments}
    return [named.get(spec.symbol, len(rules.groups) + n) for n, spec in enumerate(instruments)]


def loss_atoms(exposure: Exposure, move_ppb: int) -> int:
    """What a position loses when its mark moves by this share, rounded up; below zero it gains."""
    if exposure.spec.contract == "inverse":
        return div_ceil(exposure.value_atoms * move_ppb, PPB + move_ppb)
    return div_ceil(-exposure.value_atoms * move_ppb, PPB)


def maintenance_atoms(rules: PortfolioRules, exposures: list[Exposure]) -> int:
    """Each group's own worst, less a share of what one common move saves, and the contingency."""
    rows: dict[int, list[int]] = {}
    for exposure in exposures:
        row = rows.setdefault(exposure.group, [0] * len(rules.moves_ppb))
        for k, move in enumerate(rules.moves_ppb):
            row[k] += loss_atoms(exposure, move)
    alone: int = sum(max(0, *row) for row in rows.values())
    together: int = max([0, *(sum(column) for column in zip(*rows.values(), strict=True))])
    gross = sum(abs(exposure.value_atoms) for exposure in exposures)
    return alone - (alone - together) * rules.offset_ppb // PPB + div_ceil(gross * rules.contingency_ppb, PPB)


def most_share(rules: PortfolioRules, spec: Instrument) -> tuple[int, int]:
    """(numerator, denominator): a position adds no larger share of its value to the requirement."""
    least = min(rules.moves_ppb)
    largest = max(abs(move) for move in rules.moves_ppb)
    if spec.contract == "inverse" and least < 0:
        return largest * PPB + rules.contingency_ppb * (PPB + least), PPB * (PPB + least)
    return largest + rules.contingency_ppb, PPB
