"""Who holds which position at the start, so that open interest, margin and tiers all hold."""

from functools import partial

import numpy as np
from msgspec import Struct

from zerodebt.agents.opening import Opening
from zerodebt.agents.wealth import Floats, solve_scale
from zerodebt.exchange.instruments import Instrument, largest_leverage, maintenance_atoms_array, margin_table
from zerodebt.exchange.units import Int64Array

_MARGIN_SLACK_ATOMS = 10_000  # a cent in six decimals: rounding never starts an account below its requirement


class Holdings(Struct, frozen=True):
    """Positions of one side; every array is (instruments, accounts).

    lots          size, not signed
    margin_atoms  what the account brings for the position; at least its initial requirement
    leverage      chosen divisor of the initial requirement, 1 where there is no position
    """

    lots: Int64Array
    margin_atoms: Int64Array
    leverage: Int64Array


def draw_weights(
    generator: np.random.Generator,
    notional: Floats,
    shares: Floats,
    instruments_max: int,
    spread_share: float,
) -> Floats:
    """(accounts, instruments): how each account spreads over the instruments; rows sum to 1.

    1 to `instruments_max` instruments, drawn without return in proportion to open interest and held in
    proportion to it. An account with more than `spread_share` of the whole `notional` holds them all: no
    single account is then a visible part of a small instrument by the luck of the draw.
    """
    count, instruments = len(notional), len(shares)
    wanted = generator.integers(1, min(instruments_max, instruments) + 1, count)
    keys = generator.exponential(size=(count, instruments)) / np.maximum(shares, 1e-12)
    rank = np.argsort(np.argsort(keys, axis=1), axis=1)
    held = rank < wanted[:, None]
    held |= (notional > spread_share * notional.sum())[:, None]
    weights = np.where(held, np.maximum(shares, 1e-12), 0.0)
    normalised: Floats = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def allowed_notional(instrument: Instrument, margin: Floats, leverage: Floats, used: Floats) -> Floats:
    """Largest position value at which `margin` meets the leverage of the tier that the value falls into.

    Where the tier cuts the wanted leverage, only the share `used` of what it allows is taken. 0 for spot.
    """
    allowed = np.zeros_like(margin)
    lowers = [tier.lower for tier in instrument.tiers]
    uppers = [*lowers[1:], np.inf][: len(lowers)]
    for tier, lower, upper in zip(instrument.tiers, lowers, uppers, strict=True):
        reach = np.minimum(margin * np.minimum(leverage, largest_leverage(tier) * used), upper)
        allowed = np.where(reach >= lower, np.maximum(allowed, reach), allowed)
    return allowed


def allocate(
    opening: Opening,
    wealth_atoms: Floats,
    leverage: Floats,
    used: Floats,
    weights: Floats,
    target_lots: Int64Array,
    cap_atoms: float,
    position_share_max: float,
) -> Holdings:
    """Positions of one side whose lots sum to `target_lots` in every instrument, exactly.

    wealth_atoms        before scaling; the stated distribution
    leverage            notional over margin wanted by each account
    used                share of a tier's maximum that an account with more than it has in use
    cap_atoms           largest account after scaling
    position_share_max  largest position as a share of the instrument's open interest

    Wealth is scaled by one factor to the whole notional, then the margin in each instrument by a factor near
    1 to its own. Leverage stays as given except where a tier or the cap on positions cuts it. Lots are
    rounded by largest remainder.
    """
    lot_value = opening.lot_value_atoms.astype(np.float64)
    target = target_lots * lot_value
    position_cap = position_share_max * np.array(opening.open_interest_lots, np.float64) * lot_value

    def notional_of(number: int, margin: Floats) -> Floats:
        allowed = allowed_notional(opening.instruments[number], margin, leverage, used)
        return np.minimum(allowed, float(position_cap[number]))

    def total_in(number: int, margin: Floats, factor: float) -> float:
        return float(notional_of(number, margin * factor).sum())

    def margins_of(factor: float) -> Floats:
        margin: Floats = np.minimum(wealth_atoms * factor, cap_atoms)[:, None] * weights
        return margin

    numbers = range(len(opening.instruments))

    def whole(factor: float) -> float:
        margin = margins_of(factor)
        return sum(total_in(n, margin[:, n], 1.0) for n in numbers)

    margin = margins_of(solve_scale(float(target.sum()), whole))
    shape = (len(numbers), len(wealth_atoms))
    lots, brought = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    chosen = np.ones(shape, np.int64)
    for n in numbers:
        own = margin[:, n].copy()
        own *= solve_scale(float(target[n]), partial(total_in, n, own))
        exact = notional_of(n, own) / lot_value[n]
        lots[n] = round_to_total(exact, int(target_lots[n]))
        chosen[n], required = opening_margin(
            opening.instruments[n], leverage, lots[n], opening.start_ticks[n]
        )
        brought[n] = np.where(lots[n] > 0, np.maximum(np.ceil(own).astype(np.int64), required), 0)
    return Holdings(lots, brought, chosen)


def opening_margin(
    instrument: Instrument, leverage: Floats, size_lots: Int64Array, price_ticks: int
) -> tuple[Int64Array, Int64Array]:
    """The integer leverage to choose, and the least margin in atoms that a position needs with it."""
    notional = size_lots * (max(1, price_ticks) * instrument.tick_value_atoms)
    leverage_max = np.ones_like(size_lots)
    for tier in instrument.tiers:
        leverage_max = np.where(notional >= tier.lower, largest_leverage(tier), leverage_max)
    chosen = np.clip(np.ceil(leverage).astype(np.int64), 1, leverage_max)
    maintenance = maintenance_atoms_array(margin_table(instrument), notional, size_lots)
    required = np.maximum(-(-notional // chosen), 2 * maintenance) + _MARGIN_SLACK_ATOMS
    return np.where(size_lots > 0, chosen, 1), required


def round_to_total(exact: Floats, total: int) -> Int64Array:
    """Integers near `exact` (>= 0) that sum to `total`: largest remainder, the lower index among equals.

    What is still missing, or too much because the float sum is off, goes to the largest, which can bear it.
    """
    floors = np.floor(exact).astype(np.int64)
    left = total - int(floors.sum())
    order = np.lexsort((np.arange(len(exact)), floors - exact))
    once = order[: max(0, min(left, len(order)))]
    floors[once] += 1
    floors[int(np.argmax(exact))] += total - int(floors.sum())
    assert int(floors.min()) >= 0
    return floors
