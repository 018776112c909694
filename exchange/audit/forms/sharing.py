"""How many lots each of the other side gives up, where deleveraging does not go down a queue."""

from collections.abc import Callable
from fractions import Fraction
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from zerodebt.exchange.audit.arithmetic import PPB, split
from zerodebt.exchange.audit.forms.adl import Candidate
from zerodebt.exchange.rules import AdlRules

SCALE = 10**40
MASK = 2**64 - 1


class Demand(NamedTuple):
    """Lots of the bankrupt position, and the atoms that one of them costs who gives it up."""

    lots: int
    charge_atoms: int


def most_lots(candidate: Candidate, demand: Demand) -> int:
    """What leaves the giver's equity at zero or above."""
    held = abs(candidate.lots)
    if demand.charge_atoms <= 0:
        return held
    return min(held, max(0, candidate.equity_atoms) // demand.charge_atoms)


def listed(rules: AdlRules, candidates: list[Candidate], seq: int) -> list[Candidate]:
    """By account, or in the order in which `iteration` meets accounts in a command."""
    if rules.policy == "iteration":
        return sorted(candidates, key=lambda c: (scrambled(c.account, seq), c.account, c.pocket))
    return sorted(candidates, key=lambda c: (c.account, c.pocket))


def scrambled(account: int, seq: int) -> int:
    """splitmix64's finaliser over account and command."""
    z = (account * 0x9E3779B97F4A7C15 + seq * 0xD1B54A32D192ED03) & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def shares(rules: AdlRules, candidates: list[Candidate], demand: Demand) -> list[int]:
    """Whole lots of each, in the order of the list."""
    return POLICIES[rules.policy](rules, candidates, demand)


def weight(rules: AdlRules, c: Candidate) -> int:
    match rules.weights:
        case "wealth":
            return c.wealth_atoms
        case "profit":
            return max(0, c.profit_atoms)
        case "equity":
            return max(0, c.equity_atoms)
        case "contracts":
            return abs(c.lots)


def capped_lots(rules: AdlRules, c: Candidate, demand: Demand) -> int:
    """What the largest haircut of the open profit and the equity that must be left allow."""
    most = most_lots(c, demand)
    if demand.charge_atoms <= 0:
        return most
    kept = c.maintenance_atoms() if rules.keep == "maintenance" else 0
    allowed = max(0, min(c.wealth_atoms * rules.haircut_max_ppb // PPB, c.equity_atoms - kept))
    return min(most, allowed // demand.charge_atoms)


def fill(lots: int, most: list[int], weights: list[int]) -> list[int]:
    """In proportion to the weights; who cannot give that much gives all, and the others make up for it."""
    given = [0] * len(most)
    active = [k for k, weight in enumerate(weights) if weight > 0 and most[k] > 0]
    left = min(lots, sum(most[k] for k in active))
    while active and left:
        whole = sum(weights[k] for k in active)
        full = {k for k in active if most[k] * whole <= left * weights[k]}
        if not full:
            for k, share in zip(active, split(left, [weights[k] for k in active]), strict=True):
                given[k] = share
            break
        for k in full:
            given[k] = most[k]
            left -= most[k]
        active = [k for k in active if k not in full]
    return given


def pro_rata(rules: AdlRules, candidates: list[Candidate], demand: Demand) -> list[int]:
    most = [most_lots(c, demand) for c in candidates]
    return fill(demand.lots, most, [weight(rules, c) for c in candidates])


def levered(rules: AdlRules, candidates: list[Candidate], demand: Demand) -> list[int]:
    """Pro rata by leverage * weight."""
    most = [most_lots(c, demand) for c in candidates]
    return fill(demand.lots, most, [c.leverage_ppb * weight(rules, c) for c in candidates])


def capped(rules: AdlRules, candidates: list[Candidate], demand: Demand) -> list[int]:
    caps = [capped_lots(rules, c, demand) for c in candidates]
    return fill(demand.lots, caps, [weight(rules, c) for c in candidates])


def risk_aware(rules: AdlRules, candidates: list[Candidate], demand: Demand) -> list[int]:
    """Under caps by leverage * (leverage above the threshold)^power * weight."""
    caps = [capped_lots(rules, c, demand) for c in candidates]
    weights = []
    for c in candidates:
        above = max(0, c.leverage_ppb - rules.risk_threshold_ppb)
        weights.append(c.leverage_ppb * above**rules.risk_power * weight(rules, c))
    return fill(demand.lots, caps, weights)


def iteration(_: AdlRules, candidates: list[Candidate], demand: Demand) -> list[int]:
    """Each all that is left or all that he holds; who could not bear that is passed over."""
    given, left = [], demand.lots
    for c in candidates:
        lots = min(left, abs(c.lots))
        if c.equity_atoms < lots * demand.charge_atoms:
            lots = 0
        given.append(lots)
        left -= lots
    return given


def min_max(_: AdlRules, candidates: list[Candidate], demand: Demand) -> list[int]:
    """Lot by lot to whom it leaves with the fewest lots for his equity (d'Hondt), the earlier among equals.

    All quotients up to a level that the lots suffice for are handed out at once, the few others one by one.
    """
    most = {k: most_lots(c, demand) for k, c in enumerate(candidates) if c.equity_atoms > 0}
    most = {k: lots for k, lots in most.items() if lots > 0}
    given = [0] * len(candidates)
    lots = min(demand.lots, sum(most.values()))
    if not lots:
        return given
    equity = {k: candidates[k].equity_atoms for k in most}
    top = max(equity.values())

    def at(level: int) -> dict[int, int]:
        return {k: min(most[k], level * equity[k] // top) for k in most}

    low, high = 0, max(most[k] * top // equity[k] for k in most) + 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sum(at(middle).values()) <= lots else (low, middle)
    for k, share in at(low).items():
        given[k] = share
    waiting = [(Fraction(given[k] + 1, equity[k]), k) for k in most if given[k] < most[k]]
    heapify(waiting)
    for _lot in range(lots - sum(given)):
        k = heappop(waiting)[1]
        given[k] += 1
        if given[k] < most[k]:
            heappush(waiting, (Fraction(given[k] + 1, equity[k]), k))
    return given


def mirror_descent(_: AdlRules, candidates: list[Candidate], demand: Demand) -> list[int]:
    """The haircut of each is -t * most, at most all of it: the largest such that the lots are not exceeded.

    t in steps of 10^-40; lots that rounding down leaves go to the largest fractions, the earlier first.
    """
    most = [most_lots(c, demand) for c in candidates]
    lots = min(demand.lots, sum(most))
    if not lots:
        return [0] * len(most)

    def scaled(level: int) -> list[int]:
        return [min(SCALE, level * m) * m for m in most]

    low, high = 0, SCALE // min(m for m in most if m) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sum(scaled(middle)) <= lots * SCALE else (low, middle)
    parts = scaled(low)
    given = [part // SCALE for part in parts]
    short = (k for k, m in enumerate(most) if given[k] < m)
    for k in sorted(short, key=lambda k: (-(parts[k] % SCALE), k))[: lots - sum(given)]:
        given[k] += 1
    return given


POLICIES: dict[str, Callable[[AdlRules, list[Candidate], Demand], list[int]]] = {
    "pro_rata": pro_rata,
    "levered": levered,
    "capped": capped,
    "risk_aware": risk_aware,
    "iteration": iteration,
    "mirror_descent": mirror_descent,
    "min_max": min_max,
}
