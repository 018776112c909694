"""A default fund sized to cover two, and what three defaults or heavier losses do to it.

A member's loss beyond his margin is exposure * (shock - 1) when the shock is above 1, what his margin
covers. The fund is sized by the venue's rule for losses in a stress that is thought extreme but plausible;
members pay in pro rata to their stressed losses. Layer by layer it pays by the venue's rule: the
defaulters' contributions, the house's capital, the others' contributions. Amounts are atoms.

Sources: CPMI-IOSCO, Principles for financial market infrastructures, 2012 (Cover 2); Paddrik and Young, How
safe are central counterparties in credit default swap markets, 2021 (its insufficiency).

Ours, 2026-11-22: sizes are those of agents/clearing_members; a stress is the shock of 1 in 1000
under a tail of 3, a margin that of 1 in 100; an event is a shock beyond the margin, half of the members are
on its losing side and a tenth of those default.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zerodebt.agents.clearing_members import sizes
from zerodebt.exchange.units import split_exact
from zerodebt.exchange.waterfall import default_fund

COVER = 2
EXPOSURE_ATOMS = 10**9
STRESS_TAIL = 3.0
STRESS_OVER_MARGIN = (0.01 / 0.001) ** (1 / STRESS_TAIL)
LOSING, DEFAULTING = 0.5, 0.1


def measure(seed: int, *, members: int, tail: float, events: int, house_share: float) -> Mapping[str, float]:
    """What is left unpaid when the largest one, two or three default in the stress, over the fund.

    tail         Pareto exponent of the shocks that come
    house_share  the house's capital over the fund
    breach       share of events with a default after which something is left unpaid
    covered      paid over lost in these events, the median of those with a breach
    """
    luck = np.random.default_rng([seed, 56])
    stressed = _losses(exposures(members), STRESS_OVER_MARGIN)
    fund = default_fund.required_atoms(stressed, COVER)
    contributions = split_exact(fund, stressed)
    house = int(fund * house_share)
    figures = {}
    largest = np.argsort(stressed)[::-1].tolist()
    for count in (1, 2, 3):
        lost = {m: stressed[m] for m in largest[:count]}
        figures[f"left_{count}"] = unpaid(lost, contributions, house) / fund
    breaches, happened, covered = 0, 0, []
    for _ in range(events):
        lost = defaulted(luck, exposures(members), tail)
        if not lost:
            continue
        happened += 1
        left = unpaid(lost, contributions, house)
        if left:
            breaches += 1
            covered.append(1 - left / sum(lost.values()))
    figures["breach"] = breaches / happened
    if covered:
        figures["covered"] = float(np.median(covered))
    return figures


def exposures(members: int) -> list[int]:
    """What a move of one margin costs each member, the smallest first."""
    return [int(EXPOSURE_ATOMS * size) for size in sizes(members)[::-1].tolist()]


def _losses(costs: Sequence[int], shock: float) -> list[int]:
    return [int(cost * max(0.0, shock - 1)) for cost in costs]


def defaulted(luck: Any, costs: Sequence[int], tail: float) -> dict[int, int]:
    """Losses beyond margin of those who default in one event, by member."""
    shock = (1 - luck.random()) ** (-1 / tail)
    losses = _losses(costs, shock)
    fails = luck.random(len(costs)) < LOSING * DEFAULTING
    return {m: loss for m, loss in enumerate(losses) if fails[m] and loss}


def unpaid(lost: Mapping[int, int], contributions: Sequence[int], house: int) -> int:
    """Atoms that the fund's layers leave open when these members default at once."""
    left = 0
    for member, loss in lost.items():
        own = default_fund.draws(loss, [(member, contributions[member])])
        left += loss - sum(atoms for _, atoms in own)
    left -= min(left, house)
    others = [(m, atoms) for m, atoms in enumerate(contributions) if m not in lost]
    return left - sum(atoms for _, atoms in default_fund.draws(left, others))
