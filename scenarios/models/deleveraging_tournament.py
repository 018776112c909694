"""Deleveraging policies side by side, through the venue's own code.

In wealth space a policy seizes atoms of open profits: the endowment is w = (PNL)+, the deficit D, the
capacity U = sum w. In lots it closes positions, as venues do. A winner is (cash, profit, lots); random
winners have the wealth of the accounts that were deleveraged on 10 October 2025 (V47).

Source: Chitra, Autodeleveraging: Impossibilities and Optimization, arXiv 2512.01112 v3.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from zerodebt.agents.wealth import LARGEST_USD, LN_MEAN, LN_SD
from zerodebt.exchange.rules import AdlRules
from zerodebt.exchange.waterfall import adl, policies
from zerodebt.exchange.waterfall.adl import Candidate, Demand, Ranked

UNIT = 100_000
"""Atoms of one unit of the worked example."""
EXAMPLE = ((10.0, 8.0), (5.0, 4.0), (1.0, 0.5), (-3.0, -3.0), (-12.0, -12.0))
"""Equity and open profit of each account."""
EXAMPLE_QUEUE = (1, 0, 2)
EXAMPLE_LEFT: Mapping[str, Sequence[Fraction]] = {
    "queue": (Fraction("6.5"), Fraction(1), Fraction(1), Fraction(-3), Fraction(-12)),
    "pro_rata": (Fraction("5.2"), Fraction("2.6"), Fraction("0.7"), Fraction(-3), Fraction(-12)),
}
"""Equities afterwards at severity 1/2: 7.5 of the deficit of 15 is seized."""

LN_LEVERAGE, LN_LEVERAGE_SD, LEVERAGE_MAX = np.log(0.43), 1.2, 10.0
PROFIT_SHARE, PROFIT_SD = 0.52, 0.8
"""Open profit over the position's value: the median, and the deviation of its logarithm."""
LOT_ATOMS = 10_000
CLOSED_PPB = 50_000_000
"""5 % of the winners' lots are asked for."""
CHARGE_SHARE = 0.0106
"""Of the notional that was deleveraged on that day, what was needed (15.08M of 1,419M USD)."""
FORGONE_SHARE = 0.01
"""The price goes on falling by this share before the winners' loss is looked at; ours."""


class Account(NamedTuple):
    """A winner in atoms, with the lots of his one short position."""

    cash: int
    profit: int
    lots: int


def measure(seed: int, *, policy: str, in_lots: bool, winners: int, trials: int) -> Mapping[str, float]:
    """How a policy does in the worked example, when it is not feasible, under splits, and on a bad day.

    overshoot    what winners miss beyond what was needed, over it, when the price has moved on
    worst_share  the largest part of anybody's equity that is charged
    """
    rules = AdlRules(policy=policy)  # type: ignore[arg-type]
    luck = np.random.default_rng([seed, 9])
    figures = {"residual_error": residual_error(rules)}
    if policy in EXAMPLE_LEFT:
        figures["example_error"] = example_error(rules)
    sybil = monotone = scale = 0
    for _ in range(trials):
        accounts = drawn(luck, 30)
        sybil += gains_by_splitting(rules, accounts, luck)
        monotone += reverses_winners(rules, accounts)
        scale += depends_on_scale(rules, accounts)
    figures |= {"sybil": sybil / trials, "monotone": monotone / trials, "scale": scale / trials}
    return figures | bad_day(rules, drawn(luck, winners), in_lots=in_lots)


def candidate(account: int, owned: Account) -> Candidate:
    """His value at the mark; he sold above it by his profit."""
    value = owned.lots * LOT_ATOMS
    equity = owned.cash + owned.profit
    return Candidate(
        account, 0, -owned.lots, value, value + owned.profit, owned.profit, equity, owned.cash, 0
    )


def seized(
    rules: AdlRules, candidates: Sequence[Candidate], demand: Demand, queue: Sequence[int] | None = None
) -> list[int]:
    """Units by candidate. The order of a queue is the rulebook's score, or `queue` by index."""
    if queue is not None and rules.policy == "queue":
        ranked = [Ranked(candidates[k], place + 1, 0) for place, k in enumerate(queue)]
    elif rules.policy == "queue":
        ranked = adl.rank(rules.score, candidates)
    else:
        ranked = adl.listed(rules, candidates, 0)
    taken = {r.candidate.account: units for r, units in policies.plan(rules, ranked, demand)}
    return [taken.get(c.account, 0) for c in candidates]


# The paper's example and the residual


def example() -> list[Candidate]:
    found = []
    for account, (equity, profit) in enumerate(EXAMPLE):
        e, p = int(equity * UNIT), int(profit * UNIT)
        found.append(Candidate(account, 0, -1, UNIT, UNIT, p, e, e - p, 0))
    return found


def example_error(rules: AdlRules) -> float:
    """V40: largest difference from the published equities, in units."""
    accounts = example()
    deficit = sum(max(0, -c.equity_atoms) for c in accounts)
    taken = seized(rules, accounts, adl.seizure(deficit // 2), EXAMPLE_QUEUE)
    left = [Fraction(c.equity_atoms - x, UNIT) for c, x in zip(accounts, taken, strict=True)]
    return float(max(abs(a - b) for a, b in zip(left, EXAMPLE_LEFT[rules.policy], strict=True)))


def residual_error(rules: AdlRules) -> float:
    """V41: winners own 16 and could give 12.5 of a deficit of 15; what is left open, less 2.5."""
    accounts = example()
    deficit = sum(max(0, -c.equity_atoms) for c in accounts)
    taken = seized(rules, accounts, adl.seizure(deficit), EXAMPLE_QUEUE)
    return abs((deficit - sum(taken)) / UNIT - 2.5)


# Fairness


def drawn(luck: Any, count: int) -> list[Account]:
    """Winners by quantiles of wealth, in the order of luck; leverage and profit are drawn."""
    quantiles = (np.arange(count) + 0.5) / count
    wealth = np.exp(LN_MEAN + LN_SD * ndtri(luck.permutation(quantiles)))
    equity = (100 * np.minimum(wealth, LARGEST_USD)).astype(np.int64) + LOT_ATOMS
    leverage = np.minimum(LEVERAGE_MAX, np.exp(luck.normal(LN_LEVERAGE, LN_LEVERAGE_SD, count)))
    lots = np.maximum(1, (equity * leverage / LOT_ATOMS).astype(np.int64))
    share = PROFIT_SHARE * np.exp(luck.normal(0, PROFIT_SD, count))
    profit = np.minimum(equity * 9 // 10, (lots * LOT_ATOMS * share).astype(np.int64))
    return [
        Account(e - p, p, n) for e, p, n in zip(*(a.tolist() for a in (equity, profit, lots)), strict=True)
    ]


def haircuts(rules: AdlRules, accounts: Sequence[Account], share: Fraction = Fraction(1, 3)) -> list[int]:
    """Atoms seized of each when this share of all profits is asked for."""
    budget = int(sum(a.profit for a in accounts) * share)
    return seized(rules, [candidate(k, a) for k, a in enumerate(accounts)], adl.seizure(budget))


def gains_by_splitting(rules: AdlRules, accounts: Sequence[Account], luck: Any) -> bool:
    """Does anybody lose less when he spreads cash, profit and lots unevenly over two accounts?

    An atom of rounding an account is no gain.
    """
    before = haircuts(rules, accounts)
    for k in luck.permutation(len(accounts))[:5].tolist():
        parts = [luck.uniform(0.1, 0.9) for _ in range(3)]
        first = Account(*(int(amount * part) for amount, part in zip(accounts[k], parts, strict=True)))
        second = Account(*(a - b for a, b in zip(accounts[k], first, strict=True)))
        after = haircuts(rules, [*accounts[:k], first, *accounts[k + 1 :], second])
        if after[k] + after[-1] < before[k] - 2:
            return True
    return False


def reverses_winners(rules: AdlRules, accounts: Sequence[Account]) -> bool:
    """Is anybody left with less profit than one who had less before, by more than an atom?"""
    taken = haircuts(rules, accounts)
    left = [a.profit - x for a, x in zip(accounts, taken, strict=True)]
    order = sorted(range(len(accounts)), key=lambda k: accounts[k].profit)
    return any(left[b] < left[a] - 1 for a, b in pairwise(order))


def depends_on_scale(rules: AdlRules, accounts: Sequence[Account], factor: int = 10) -> bool:
    """Does the share of anybody change when all amounts are ten times as large?

    A policy may give all atoms of rounding, one an account, to the same account.
    """
    small = haircuts(rules, accounts)
    large = haircuts(rules, [Account(*(factor * amount for amount in a)) for a in accounts])
    rounding = factor * len(accounts)
    return any(abs(b - factor * a) > rounding for a, b in zip(small, large, strict=True))


# A bad day


def bad_day(rules: AdlRules, accounts: Sequence[Account], *, in_lots: bool) -> dict[str, float]:
    """5 % of the winners' lots are closed at a price that costs CHARGE_SHARE; or the same value is seized."""
    candidates = [candidate(k, a) for k, a in enumerate(accounts)]
    charge = int(CHARGE_SHARE * LOT_ATOMS)
    lots = sum(a.lots for a in accounts) * CLOSED_PPB // 10**9
    needed = lots * charge
    if in_lots:
        closed = seized(rules, candidates, Demand(lots, charge))
        charged = [n * charge for n in closed]
        forgone = [n * LOT_ATOMS * FORGONE_SHARE for n in closed]
    else:
        charged = seized(rules, candidates, adl.seizure(needed))
        forgone = [0.0] * len(charged)
    missed = sum(charged) + sum(forgone)
    return {
        "overshoot": (missed - needed) / needed,
        "worst_share": max(x / c.equity_atoms for x, c in zip(charged, candidates, strict=True)),
    }
