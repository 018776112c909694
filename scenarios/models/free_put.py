"""F94: an owner who is long in one account and short in another, and what a guarantee is worth to him.

A shock leaves one account below zero; the fund pays, and the other account keeps its gain. Where the venue
knows that both have one owner it takes what the one owes from the other.

Chosen on 2026-11-22 before the first run (ours): both accounts hold half of his wealth; t3 shocks with the
stated deviation; 5 bp of fees on the value of both legs when he compares leverages; not trading is a
choice, too.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from zerodebt.exchange.events import INSURANCE, ReceivableBooked
from zerodebt.scenarios.models.small_venue import START_TICKS, TICK_ATOMS, SmallVenue, contract, of, rulebook

_LOTS = 100
_VALUE = _LOTS * START_TICKS * TICK_ATOMS
_FEE = 0.0005
_DEGREES = 3


def gain_atoms(price_ticks: int, leverage: int, *, is_anonymous: bool) -> tuple[int, int]:
    """(what the owner has gained over both accounts, the margin of each)."""
    stage = "insurance" if is_anonymous else "recourse"
    desk = SmallVenue(rulebook(("book", stage)), (contract(leverage=leverage),))
    margin = -(-_VALUE // leverage)
    owned = desk.open([margin, margin])
    (street,) = desk.open([100 * _VALUE])
    if is_anonymous:
        desk.endow(INSURANCE, 100 * _VALUE)
    desk.load({owned[0]: _LOTS, owned[1]: -_LOTS}, leverage)
    desk.index(START_TICKS)
    desk.quote(street, price_ticks, _LOTS)
    desk.index(price_ticks)
    owed = sum(booked.atoms for booked in of(desk.events, ReceivableBooked))
    gained = sum(desk.equities(owned)) - owed - 2 * margin
    desk.end()
    return gained, margin


def measure(
    seed: int,
    *,
    is_anonymous: bool,
    daily_sd: float,
    shocks: int,
    leverages: Sequence[int],
    guarantees: Sequence[float],
) -> Mapping[str, float]:
    """Mean gains as shares of one leg's value at the largest leverage, and leverages chosen by the guarantee.

    guarantees  shares of a debt that are forgiven, ascending; the rest is recovered from the owner
    """
    rng = np.random.default_rng([seed, 94])
    moves = daily_sd * rng.standard_t(_DEGREES, shocks) / np.sqrt(_DEGREES / (_DEGREES - 2))
    prices = [max(1, int(START_TICKS * np.exp(move))) for move in moves]
    by_wealth: dict[int, float] = {0: 0.0}
    figures: dict[str, float] = {}
    for leverage in leverages:
        played = [gain_atoms(price, leverage, is_anonymous=is_anonymous) for price in prices]
        gain = float(np.mean([gained for gained, _ in played])) / _VALUE
        beyond = [abs(price / START_TICKS - 1) - played[0][1] / _VALUE for price in prices]
        by_wealth[leverage] = gain * leverage / 2
        figures[f"gain_L{leverage}"] = gain
        figures[f"shortfall_L{leverage}"] = float(np.mean(np.maximum(beyond, 0)))
    chosen = [_chosen(by_wealth, guarantee) for guarantee in guarantees]
    return figures | {
        "gain_less_shortfall": max(
            abs(figures[f"gain_L{n}"] - figures[f"shortfall_L{n}"]) for n in leverages
        ),
        "largest_gain": max(figures[f"gain_L{n}"] for n in leverages),
        "chosen_leverage_without": chosen[0],
        "chosen_leverage_with": chosen[-1],
        "falls_of_chosen_leverage": sum(b < a for a, b in pairwise(chosen)),
    }


def _chosen(gain_by_wealth: Mapping[int, float], guarantee: float) -> int:
    """The leverage with the best mean result for each unit of wealth; of equal ones the lowest."""
    return max(gain_by_wealth, key=lambda n: (gain_by_wealth[n] * guarantee - n * _FEE, -n))
