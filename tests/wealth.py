"""Wealth space: deleveraging as a tax on open profits, the form in which papers compare policies.

No venue deleverages so: the venue's policies are asked for atoms in place of lots. e = c + PNL; the endowment
is w = (PNL)+, the deficit D = sum (-e)+, the capacity U = sum w. A severity theta asks for B = theta * D; a
policy seizes x = h * w with sum x = B where B <= U, and afterwards e' = e - x.
Source: Chitra, Autodeleveraging: Impossibilities and Optimization, arXiv 2512.01112 v3.
"""

from collections.abc import Sequence
from fractions import Fraction

from msgspec import Struct

from zerodebt.exchange.rules import AdlRules
from zerodebt.exchange.waterfall import adl, policies
from zerodebt.exchange.waterfall.adl import Candidate, Ranked


class Seizure(Struct, frozen=True):
    """`atoms` by candidate, in the order in which they were given; the residual is what nobody could give."""

    atoms: tuple[int, ...]
    residual_atoms: int


def deficit_atoms(candidates: Sequence[Candidate]) -> int:
    """D: what the losers are below zero together."""
    return sum(max(0, -c.equity_atoms) for c in candidates)


def capacity_atoms(candidates: Sequence[Candidate]) -> int:
    """U: all endowments. Equity that is settled cash is not part of it, so that D < W does not suffice."""
    return sum(c.endowment_atoms for c in candidates)


def budget_atoms(deficit: int, severity: Fraction) -> int:
    """B = severity * D, rounded down for the winners."""
    return deficit * severity.numerator // severity.denominator


def seize(
    rules: AdlRules, candidates: Sequence[Candidate], budget: int, queue: Sequence[int] | None = None
) -> Seizure:
    """Seize `budget` atoms by the rulebook's policy. `queue` names the order of the queue by index.

    Without it the queue is ranked by the rulebook's score. Command 0 orders an iteration.
    """
    if rules.policy != "queue":
        ranked = adl.listed(rules, candidates, 0)
    elif queue is None:
        ranked = adl.rank(rules.score, candidates, rules.wallet_min_atoms)
    else:
        ranked = [Ranked(candidates[i], k + 1, 0) for k, i in enumerate(queue)]
    place = {(c.account, c.pocket): i for i, c in enumerate(candidates)}
    atoms = [0] * len(candidates)
    for r, share in policies.plan(rules, ranked, adl.seizure(budget)):
        atoms[place[r.candidate.account, r.candidate.pocket]] = share
    return Seizure(tuple(atoms), budget - sum(atoms))


def survivor_atoms(candidates: Sequence[Candidate], seizure: Seizure) -> int:
    """upsilon = max (w - x): the largest profit that is left to anybody."""
    return max(
        (c.endowment_atoms - x for c, x in zip(candidates, seizure.atoms, strict=True)),
        default=0,
    )
