"""F14: capital by a Gaussian quantile against fat-tailed shocks, and an account that is its own limit.

Shocks have three degrees of freedom and the standard deviation that the capital was sized for. The largest
of them are played on a small venue: a long whose margin is that capital, and its owner's other account.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from zerodebt.exchange.events import ReceivableBooked
from zerodebt.scenarios.models.small_venue import START_TICKS, TICK_ATOMS, SmallVenue, contract, of, rulebook

_LOTS = 100
_DEGREES = 3


def owner_loss_atoms(waterfall: Sequence[str], capital_share: float, fall: float) -> tuple[int, int]:
    """(what the owner of two accounts loses with his debts, the margin of the one that was long)."""
    desk = SmallVenue(rulebook(waterfall), (contract(leverage=40),))
    value = _LOTS * START_TICKS * TICK_ATOMS
    margin = int(capital_share * value)
    long, other, short = desk.open([margin, value, value])
    (street,) = desk.open([value])
    desk.load({long: _LOTS, short: -_LOTS}, 40)
    desk.index(START_TICKS)
    after = max(1, int(START_TICKS * (1 - fall)))
    desk.bid(street, [(after, _LOTS)])
    desk.index(after)
    owed = sum(booked.atoms for booked in of(desk.events, ReceivableBooked))
    left = sum(desk.equities([long, other]))
    desk.end()
    return margin + value - left + owed, margin


def measure(
    seed: int, *, waterfall: Sequence[str], daily_sd: float, quantile: float, shocks: int, played: int
) -> Mapping[str, float]:
    """Breaches per nominal breach, and of the largest shocks what the owner loses beyond the margin."""
    rng = np.random.default_rng([seed, 14])
    falls = daily_sd * rng.standard_t(_DEGREES, shocks) / np.sqrt(_DEGREES / (_DEGREES - 2))
    capital = float(daily_sd * norm.ppf(quantile))
    losses = [owner_loss_atoms(waterfall, capital, float(fall)) for fall in np.sort(falls)[-played:]]
    return {
        "breaches_over_nominal": float(np.mean(falls > capital)) / (1 - quantile),
        "largest_loss_beyond_margin_atoms": max(loss - margin for loss, margin in losses),
    }
