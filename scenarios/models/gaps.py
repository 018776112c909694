"""F05, F06, F13: one process of information, and venues that see all of it or only what comes in their hours.

A long is opened at the market's open and held for a day. Log prices move by the minute and by jumps that
come at all hours. A venue that never closes marks every minute; one that closes marks in its hours and then
at the next open. Every path is a contract of its own on a small venue, whose only short bids at the index.
Of a path only new lows are sent, from the loss of 40 % of the margin on: nothing else changes a long that
loses.

Chosen on 2026-11-22 before the first run (ours): drift 0; jumps once in five days on average, t4, with the
stated share of the day's variance; the market opens for 24 - `closed_hours` hours, first thing.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from zerodebt.exchange.commands import MassQuote
from zerodebt.exchange.events import HOUSE, DeficitOpened
from zerodebt.scenarios.models.small_venue import START_TICKS, TICK_ATOMS, SmallVenue, contract, of, rulebook

_MINUTES = 1440
_JUMPS_A_DAY = 0.2
_DEGREES = 4
_LOTS = 10
_WATCHED_LOSS = 0.4
_CHUNK = 200
_LEVERAGES = (10, 9, 8, 7, 6, 5, 4, 3, 2)

Ticks = NDArray[np.int64]


def prices_ticks(rng: np.random.Generator, paths: int, daily_sd: float, jump_share: float) -> Ticks:
    """(paths, minutes) from the first minute after the open on."""
    moves = rng.normal(0, daily_sd * np.sqrt((1 - jump_share) / _MINUTES), (paths, _MINUTES))
    counts = rng.poisson(_JUMPS_A_DAY / _MINUTES, (paths, _MINUTES))
    scale = daily_sd * np.sqrt(jump_share / _JUMPS_A_DAY) / np.sqrt(_DEGREES / (_DEGREES - 2))
    jumped = counts > 0
    moves[jumped] += scale * rng.standard_t(_DEGREES, int(jumped.sum()))
    ticks: Ticks = np.maximum(1, START_TICKS * np.exp(np.cumsum(moves, axis=1))).astype(np.int64)
    return ticks


def lows(marks: Ticks, leverage: int) -> list[list[int]]:
    """New lows of each path, from the loss that is watched on."""
    watched = START_TICKS * (1 - _WATCHED_LOSS / leverage)
    least = np.minimum.accumulate(marks, axis=1)
    is_new = least < np.concatenate([np.full((len(marks), 1), np.inf), least[:, :-1]], axis=1)
    is_new &= least < watched
    return [row[new].tolist() for row, new in zip(least, is_new, strict=True)]


def over_losses(marks: Ticks, leverage: int) -> list[int]:
    """What each path's long ends below zero, in atoms; 0 for most."""
    found: list[int] = []
    for first in range(0, len(marks), _CHUNK):
        found += _on_one_venue(lows(marks[first : first + _CHUNK], leverage), leverage)
    return found


def _on_one_venue(paths: Sequence[Sequence[int]], leverage: int) -> list[int]:
    """The same for the paths whose lows these are; a path without any needs no contract."""
    moving = [n for n, low in enumerate(paths) if low]
    if not moving:
        return [0] * len(paths)
    specs = tuple(
        contract(
            f"C{n}",
            leverage=leverage,
            price_max_ticks=100_000,
            open_interest_max_lots=1000,
            size_max_lots=1000,
        )
        for n in moving
    )
    desk = SmallVenue(rulebook(("book", "house")), specs)
    value = _LOTS * START_TICKS * TICK_ATOMS
    longs = desk.open([-(-value // leverage)] * len(moving))
    streets = desk.open([10 * value] * len(moving))
    desk.endow(HOUSE, value * len(moving))
    for k, (account, street) in enumerate(zip(longs, streets, strict=True)):
        desk.load({account: _LOTS, street: -_LOTS}, leverage, k)
    desk.index(*[START_TICKS] * len(moving))
    left = dict(enumerate(moving))
    step = 0
    while left:
        now = {k: paths[n][step] for k, n in left.items()}
        for k, price in now.items():
            desk.do(MassQuote(streets[k], k, ((price, _LOTS),), ()))
        desk.index_of(now)
        step += 1
        left = {
            k: n for k, n in left.items() if step < len(paths[n]) and desk.view.position_lots(k, longs[k])
        }
    desk.end()
    found = [0] * len(paths)
    for deficit in of(desk.events, DeficitOpened):
        found[moving[deficit.account - longs[0]]] += deficit.atoms
    return found


def measure(
    seed: int, *, paths: int, daily_sd: float, jump_share: float, closed_hours: int, index_closes: bool
) -> Mapping[str, float]:
    """Shares of the longs at leverage 10 that end below zero, their over-losses, and the margin to even out.

    index_closes     the venue that never closes trades a token whose index keeps the hours of its market
    margin_multiple  of the closing venue's margin, at which as many end below zero as where it never closes;
                     between whole leverages by the logarithms
    """
    rng = np.random.default_rng([seed, 5])
    open_marks: list[Ticks] = []
    closing_marks: list[Ticks] = []
    opens = _MINUTES - 60 * closed_hours
    for first in range(0, paths, 1000):
        prices = prices_ticks(rng, min(1000, paths - first), daily_sd, jump_share)
        open_marks.append(prices)
        closing_marks.append(np.concatenate([prices[:, :opens], prices[:, -1:]], axis=1))
    seen = closing_marks if index_closes else open_marks
    always = [atoms for marks in seen for atoms in over_losses(marks, _LEVERAGES[0])]
    p_always = np.mean([atoms > 0 for atoms in always])
    shares: list[float] = []
    over = 0
    for leverage in _LEVERAGES:
        lost = [atoms for marks in closing_marks for atoms in over_losses(marks, leverage)]
        over = over or sum(lost)
        shares.append(float(np.mean([atoms > 0 for atoms in lost])))
        if shares[-1] <= p_always:
            break
    return {
        "below_zero_always_open": float(p_always),
        "below_zero_closing": shares[0],
        "over_loss_always_open": sum(always) / 1e6,
        "over_loss_closing": over / 1e6,
        "over_loss_cut": 1 - sum(always) / over if over else np.nan,
        "margin_multiple": _multiple(shares, float(p_always)),
    }


def _multiple(shares: Sequence[float], target: float) -> float:
    """Where the shares, one for each leverage, fall to the target; not a number where that cannot be said."""
    n = len(shares) - 1
    last = _LEVERAGES[0] / _LEVERAGES[n]
    if shares[n] > target:
        return np.nan
    if n == 0 or shares[n] <= 0:
        return last
    before = _LEVERAGES[0] / _LEVERAGES[n - 1]
    part = np.log(shares[n - 1] / target) / np.log(shares[n - 1] / shares[n])
    return float(before + (last - before) * part)
