"""Portfolio margin: what a pool would lose in the worst of a grid of price moves.

Prices alone are moved; volatility joins the grid when options are instruments.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct

from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.marks import Market
from zerodebt.exchange.rules import MarginLevel, PortfolioRules
from zerodebt.exchange.units import (
    PPB,
    Int64Array,
    div_ceil,
    mul_ppb_ceil,
    mul_ppb_floor,
    mul_ppb_floor_array,
)


class Portfolio(Struct, frozen=True, gc=False):
    """A rulebook's grid on a venue; `group_of` has the number of each instrument's group."""

    rules: PortfolioRules
    group_of: tuple[int, ...]


def resolve(rules: PortfolioRules, instruments: Sequence[Instrument]) -> Portfolio | None:
    """The grid, or None for a rulebook that sums the positions' own requirements."""
    if not rules.moves_ppb:
        return None
    named = {symbol: n for n, group in enumerate(rules.groups) for symbol in group.instruments}
    alone = len(rules.groups)
    return Portfolio(rules, tuple(named.get(i.symbol, alone + n) for n, i in enumerate(instruments)))


def loss_atoms(market: Market, lots: int, move_ppb: int) -> int:
    """What a position loses when the mark moves by this share of itself, rounded up; negative: it gains."""
    value = market.value_atoms(lots)
    if market.instrument.contract == "linear":
        return div_ceil(-value * move_ppb, PPB)
    return div_ceil(value * move_ppb, PPB + move_ppb)


def requirement_atoms(portfolio: Portfolio, positions: Iterable[tuple[Market, int]]) -> int:
    """Maintenance requirement of (market, signed lots): the worst loss, and the contingency on gross value.

    Within a group gains offset losses in full. Between groups each is first taken at a worst move of its own;
    of what one common move for all would save, `offset_ppb` is given. It never exceeds the sum of the
    requirements of any parts.
    """
    rules = portfolio.rules
    losses: dict[int, list[int]] = {}
    gross = 0
    for market, lots in positions:
        row = losses.setdefault(portfolio.group_of[market.instrument_number], [0] * len(rules.moves_ppb))
        for k, move in enumerate(rules.moves_ppb):
            row[k] += loss_atoms(market, lots, move)
        gross += abs(market.value_atoms(lots))
    alone = sum(max(0, *row) for row in losses.values())
    together = max((sum(column) for column in zip(*losses.values(), strict=True)), default=0)
    saved = mul_ppb_floor(alone - max(0, together), rules.offset_ppb)
    return alone - saved + mul_ppb_ceil(gross, rules.contingency_ppb)


def requirements_array(
    portfolio: Portfolio, positions: Iterable[tuple[Market, Int64Array]], count: int
) -> Int64Array:
    """`requirement_atoms` of `count` pools, each column of lots over all of them."""
    rules = portfolio.rules
    losses: dict[int, Int64Array] = {}
    gross = np.zeros(count, np.int64)
    for market, lots in positions:
        values = market.values_atoms(lots)
        group = portfolio.group_of[market.instrument_number]
        grid = losses.setdefault(group, np.zeros((len(rules.moves_ppb), count), np.int64))
        for k, move in enumerate(rules.moves_ppb):
            if market.instrument.contract == "linear":
                grid[k] -= mul_ppb_floor_array(values, move)
            else:
                grid[k] += np.array([div_ceil(v * move, PPB + move) for v in values.tolist()], np.int64)
        gross += np.abs(values)
    contingency = -mul_ppb_floor_array(-gross, rules.contingency_ppb)
    if not losses:
        return contingency
    alone = np.zeros(count, np.int64)
    for grid in losses.values():
        alone += np.maximum(grid.max(axis=0), 0)
    together = np.maximum(sum(losses.values(), np.zeros((1, 1), np.int64)).max(axis=0), 0)
    return alone - mul_ppb_floor_array(alone - together, rules.offset_ppb) + contingency


def per_move_ppb(rules: PortfolioRules) -> int:
    """How fast the requirement grows, at most, with the value of a linear position."""
    return max(abs(move) for move in rules.moves_ppb) + rules.contingency_ppb


def opening_margin_atoms(rules: PortfolioRules, maintenance: int) -> int:
    """Least margin with which an account may take new risk: one atom above the levels that stop it."""
    stops = [level.at_ppb for level in rules.levels if not level.opens]
    return mul_ppb_floor(maintenance, max(stops)) + 1 if stops and maintenance else 0


def level_of(levels: Sequence[MarginLevel], margin: int, maintenance: int) -> str:
    """Name of the level that an account is in: the lowest whose share of the requirement it has at most.

    An account at a bound is in the level below it; Binance publishes the bounds and not which side they
    belong to (FAQ, Portfolio Margin: uniMMR).
    """
    name = "ok"
    if maintenance or margin < 0:
        for level in levels:
            if margin * PPB <= maintenance * level.at_ppb:
                name = level.name
    return name
