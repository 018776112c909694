"""Deleveraging policies: one interface, many rules.

A policy reads the rulebook, one side's candidates and a demand, and *proposes* whole units for each of them.
The demand counts lots where the venue asks, atoms in wealth space; the rules are the same. `plan` checks each
proposal in integers, and one that fails is replaced by pro rata over what each can give. What nobody can give
stays open: it is the residual of the caller. Formulas: Chitra, arXiv 2512.01112 v3; see docs/adl.md.
"""

from collections.abc import Callable, Iterable, Sequence

from zerodebt.exchange.rules import AdlRules
from zerodebt.exchange.units import PPB
from zerodebt.exchange.waterfall import sharing
from zerodebt.exchange.waterfall.adl import Candidate, Demand, Ranked, most

Policy = Callable[[AdlRules, Sequence[Candidate], Demand], list[int]]
Take = tuple[Ranked, int]


def plan(rules: AdlRules, ranked: Iterable[Ranked], demand: Demand) -> list[Take]:
    """What each candidate gives, in the order of the list, without those who give nothing.

    The queue is read only as far as the demand reaches; every other policy reads the whole list.
    """
    if rules.policy == "queue":
        return in_order(ranked, demand)
    listed = list(ranked)
    candidates = [r.candidate for r in listed]
    shares = POLICIES[rules.policy](rules, candidates, demand)
    if not is_valid(shares, candidates, demand):
        limits = [most(c, demand) for c in candidates]
        shares = sharing.fill(demand.units, limits, limits)
    return [(r, share) for r, share in zip(listed, shares, strict=True) if share]


def is_valid(shares: Sequence[int], candidates: Sequence[Candidate], demand: Demand) -> bool:
    """One whole share for each, none beyond what he holds and can bear, and no more than is asked for."""
    return (
        len(shares) == len(candidates)
        and all(isinstance(share, int) for share in shares)
        and all(0 <= share <= most(c, demand) for share, c in zip(shares, candidates, strict=True))
        and sum(shares) <= demand.units
    )


def in_order(ranked: Iterable[Ranked], demand: Demand) -> list[Take]:
    """The queue: each in turn gives all that he can, until the demand is met."""
    left = demand.units
    takes: list[Take] = []
    for r in ranked:
        if not left:
            break
        share = min(left, most(r.candidate, demand))
        if share:
            takes.append((r, share))
            left -= share
    return takes


def iteration(_: AdlRules, candidates: Sequence[Candidate], demand: Demand) -> list[int]:
    """In the order of the list, whole or not at all: who could not bear his whole part is passed over.

    His part is all that is left, or all that he holds. dYdX v4 skips accounts whose bankruptcy price does not
    overlap with that of the account that is closed: at that price he would end below zero.
    """
    left = demand.units
    shares: list[int] = []
    for c in candidates:
        share = min(left, c.endowment_atoms if demand.in_atoms else abs(c.lots))
        if c.equity_atoms < share * demand.charge_atoms:
            share = 0
        shares.append(share)
        left -= share
    return shares


def pro_rata(rules: AdlRules, candidates: Sequence[Candidate], demand: Demand) -> list[int]:
    """h_i = severity * D / U with weights of wealth; by the rulebook's weight otherwise.

    Whoever cannot give his part gives what he can, and the others make up for it by the same weights.
    """
    return sharing.fill(
        demand.units, [most(c, demand) for c in candidates], [weight(rules, c) for c in candidates]
    )


def levered(rules: AdlRules, candidates: Sequence[Candidate], demand: Demand) -> list[int]:
    """Pro rata by leverage * weight."""
    weights = [c.leverage_ppb * weight(rules, c) for c in candidates]
    return sharing.fill(demand.units, [most(c, demand) for c in candidates], weights)


def capped(rules: AdlRules, candidates: Sequence[Candidate], demand: Demand) -> list[int]:
    """h_i = min(eta, beta_i), eta set by the budget; infeasible where all caps together do not reach it."""
    limits = [cap(rules, c, demand) for c in candidates]
    return sharing.fill(demand.units, limits, [weight(rules, c) for c in candidates])


def risk_aware(rules: AdlRules, candidates: Sequence[Candidate], demand: Demand) -> list[int]:
    """h_i = min(beta_i, tau * lambda_i * g(lambda_i)), g(lambda) = max(0, lambda - threshold)^power."""
    limits = [cap(rules, c, demand) for c in candidates]
    weights = []
    for c in candidates:
        g = max(0, c.leverage_ppb - rules.risk_threshold_ppb) ** rules.risk_power
        weights.append(c.leverage_ppb * g * weight(rules, c))
    return sharing.fill(demand.units, limits, weights)


def mirror_descent(_: AdlRules, candidates: Sequence[Candidate], demand: Demand) -> list[int]:
    """One step of vector mirror descent from h = 0: h_i = clip(-tau * w_i, 0, 1).

    w_i is what the candidate can give. Seen alone, a step asks in proportion to the square of it.
    """
    return sharing.project(demand.units, [most(c, demand) for c in candidates], [0] * len(candidates))


def min_max(_: AdlRules, candidates: Sequence[Candidate], demand: Demand) -> list[int]:
    """Whole units whose largest charge / equity is as small as possible.

    The integer programme min M, sum k_j >= units, k_j * charge <= M * equity_j for one instrument, where
    every user has one position and all lots cost the same: solved exactly, without an optimiser.
    """
    return sharing.smallest_maximum(
        demand.units, [most(c, demand) for c in candidates], [max(0, c.equity_atoms) for c in candidates]
    )


def weight(rules: AdlRules, c: Candidate) -> int:
    """wealth: (PNL)+ of the compartment; profit: of this position; equity; contracts: lots."""
    if rules.weights == "wealth":
        return c.endowment_atoms
    if rules.weights == "profit":
        return max(0, c.profit_atoms)
    if rules.weights == "equity":
        return max(0, c.equity_atoms)
    return abs(c.lots)


def cap(rules: AdlRules, c: Candidate, demand: Demand) -> int:
    """Units up to beta_i * w_i, beta_i = min(h_max, 1 - (e_min - c_i) / w_i); rounded down.

    beta_i * w_i = min(h_max * w_i, e_i - e_min), since w_i + c_i is the equity of who has a profit.
    """
    floor = c.maintenance_atoms if rules.keep == "maintenance" else 0
    atoms = max(0, min(c.endowment_atoms * rules.haircut_max_ppb // PPB, c.equity_atoms - floor))
    units = most(c, demand)
    return min(units, atoms // demand.charge_atoms) if demand.charge_atoms > 0 else units


POLICIES: dict[str, Policy] = {
    "iteration": iteration,
    "pro_rata": pro_rata,
    "levered": levered,
    "capped": capped,
    "risk_aware": risk_aware,
    "mirror_descent": mirror_descent,
    "min_max": min_max,
}
