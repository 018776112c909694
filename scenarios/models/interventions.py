"""F95: what an operator may do in a crash, and whose money it moves.

The price falls by a quarter in five steps and comes back most of the way. The same day is played without
and with an intervention:

    halt            nobody trades and nobody is liquidated from the second step until the price is back
    close_only      from the second step on positions may only be reduced
    price_override  the index of the first step, which the operator states, is the index while it lasts
    pay_back        after the day the operator brings the deleveraged what was taken from them

To bust trades is no command of the venue: a trade that is done stays.

Chosen on 2026-11-22 before the first run (ours): twenty longs of 20 lots with leverage 5 to 40, ten shorts
at leverage 2, bids of 2 % of open interest, a fund of 1 %. Forced orders go no further than the
bankruptcy price: a first try without that limit left debts without positions, for which nobody can be
deleveraged.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from zerodebt.exchange.commands import Deposit, SetStatus
from zerodebt.exchange.events import INSURANCE, Deleveraged
from zerodebt.scenarios.models.small_venue import START_TICKS, TICK_ATOMS, SmallVenue, contract, of, rulebook

Intervention = Literal["none", "halt", "close_only", "price_override", "pay_back"]

_LONGS, _SHORTS, _LOTS = 20, 10, 20
_INTEREST_LOTS = _LONGS * _LOTS
_INTEREST_ATOMS = _INTEREST_LOTS * START_TICKS * TICK_ATOMS
_FALL = (0.95, 0.9, 0.85, 0.8, 0.75)
_BACK = (0.82, 0.9, 0.96)
_LEVERAGE_MAX = 40


class Day(NamedTuple):
    """Change of each class's wealth over the day, in atoms, and what the audit says was done to it."""

    changes: Mapping[str, int]
    taken_by_adl: int
    interventions: int
    is_residual: bool


def play(rng: np.random.Generator, intervention: Intervention) -> Day:
    """One day; equal streams give equal longs."""
    rules = rulebook(("book", "insurance", "adl"), liquidation={"price_limit": "bankruptcy"})
    desk = SmallVenue(rules, (contract(leverage=_LEVERAGE_MAX),))
    value = _LOTS * START_TICKS * TICK_ATOMS
    classes = {
        "longs": desk.open([-(-value // int(lever)) for lever in rng.choice((5, 10, 20, 40), _LONGS)]),
        "winners": desk.open([_INTEREST_ATOMS // _SHORTS // 2] * _SHORTS),
        "street": desk.open([10 * _INTEREST_ATOMS]),
        "fund": [INSURANCE],
    }
    desk.endow(INSURANCE, _INTEREST_ATOMS // 100)
    longs, shorts, street = classes["longs"], classes["winners"], classes["street"][0]
    desk.load(dict.fromkeys(longs, _LOTS) | dict.fromkeys(shorts, -_INTEREST_LOTS // _SHORTS), _LEVERAGE_MAX)
    desk.index(START_TICKS)
    before = {name: sum(desk.equities(accounts)) for name, accounts in classes.items()}
    for n, share in enumerate((*_FALL, *_BACK)):
        is_crash = 1 <= n < len(_FALL)
        if intervention == "halt":
            desk.do(SetStatus(0, open=not is_crash, reduce=not is_crash, liquidate=not is_crash))
        elif intervention == "close_only":
            desk.do(SetStatus(0, open=not is_crash, reduce=True, liquidate=True))
        price = int(START_TICKS * share)
        lots = _INTEREST_LOTS // 50
        desk.try_bid(street, [(price * (100 - k) // 100, lots) for k in range(1, 6)])
        desk.index(int(START_TICKS * _FALL[0]) if is_crash and intervention == "price_override" else price)
    changes = {name: sum(desk.equities(accounts)) - before[name] for name, accounts in classes.items()}
    changes["operator"] = 0
    taken = of(desk.events, Deleveraged)
    if intervention == "pay_back":
        for one in taken:
            if one.transfer_atoms:
                desk.do(Deposit(0, one.winner, (one.transfer_atoms,)))
                changes["winners"] += one.transfer_atoms
                changes["operator"] -= one.transfer_atoms
    report = desk.end()
    return Day(
        changes,
        sum(one.transfer_atoms for one in taken),
        len(report.interventions),
        report.verdict == "RESIDUAL",
    )


def measure(seed: int, *, intervention: Intervention) -> Mapping[str, float]:
    """By class what the intervention changed, in USD, and what was taken from winners."""
    without = play(np.random.default_rng([seed, 95]), "none")
    with_it = play(np.random.default_rng([seed, 95]), intervention)
    moved = {name: with_it.changes[name] - without.changes[name] for name in without.changes}
    return {f"{name}_moved_usd": atoms / 1e6 for name, atoms in moved.items()} | {
        "conservation_atoms": sum(with_it.changes.values()),
        "moved_usd": sum(map(abs, moved.values())) / 2e6,
        "taken_by_adl_usd": with_it.taken_by_adl / 1e6,
        "taken_by_adl_without_usd": without.taken_by_adl / 1e6,
        "interventions": with_it.interventions,
        "is_residual": with_it.is_residual,
    }
