"""Auto-deleveraging: who stands on the other side, in which order, at which price, and how much of each."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from zerodebt.exchange.rules import AdlRules
from zerodebt.exchange.units import INT64_MAX, PPB, div_ceil


class Candidate(Struct, frozen=True, gc=False):
    """A position on the other side of a bankrupt one.

    lots            signed
    value_atoms     |value| at the mark; entry_atoms |value| at the historic entry
    profit_atoms    at the mark against the historic entry
    equity_atoms    of its compartment; wallet_atoms its settled part with collateral, maintenance_atoms its
                    requirement
    """

    account: int
    pocket: int
    lots: int
    value_atoms: int
    entry_atoms: int
    profit_atoms: int
    equity_atoms: int
    wallet_atoms: int
    maintenance_atoms: int

    @property
    def endowment_atoms(self) -> int:
        """w = (PNL)+: the compartment's open profit; the settled cash c = e - PNL is nobody's to haircut."""
        return max(0, self.equity_atoms - self.wallet_atoms)

    @property
    def leverage_ppb(self) -> int:
        """Value of the position over the compartment's equity, rounded down; 0 without equity."""
        return self.value_atoms * PPB // self.equity_atoms if self.equity_atoms > 0 else 0


class Ranked(Struct, frozen=True, gc=False):
    """`score_ppb` is 0 where the policy ranks nobody; `rank` is then the place in the list."""

    candidate: Candidate
    rank: int
    score_ppb: int


class Demand(Struct, frozen=True, gc=False):
    """What is asked of one side.

    units         whole lots to be closed, or atoms to be seized
    charge_atoms  what a lot costs its giver, (price - mark) * lot, negative where he gains; 1 for atoms
    in_atoms      wealth space: an atom can only come out of an endowment
    """

    units: int
    charge_atoms: int
    in_atoms: bool = False


def seizure(budget_atoms: int) -> Demand:
    """A demand in wealth space: `budget_atoms` = severity * deficit."""
    return Demand(budget_atoms, 1, in_atoms=True)


def bitmex_score(mark_atoms: int, entry_atoms: int, bankruptcy_atoms: int) -> tuple[int, int] | None:
    """PNL% * EffLev of a winner, PNL% / EffLev of a loser, as (numerator, denominator); values are signed.

    PNL% = (mark - entry) / |entry|, EffLev = |mark| / (mark - bankruptcy). None where one is not defined.
    Source: BitMEX, Auto-Deleveraging (ADL).
    """
    margin = mark_atoms - bankruptcy_atoms
    if margin <= 0 or not entry_atoms or not mark_atoms:
        return None
    profit = mark_atoms - entry_atoms
    if profit > 0:
        return profit * abs(mark_atoms), abs(entry_atoms) * margin
    return profit * margin, abs(entry_atoms) * abs(mark_atoms)


def score(name: str, candidate: Candidate, wallet_min_atoms: int = 1) -> tuple[int, int] | None:
    """The rulebook's score, exact, as (numerator, denominator > 0); None for who is not in the queue.

    hyperliquid  (value / account value) * (max(profit, 0) / entry value): OtterSec, Hyperliquid risk engine
    bybit        profit * leverage, the same two factors: Bybit help centre, Auto-Deleveraging
    binance      max(0, profit)/max(1, wallet) * maintenance/(wallet + profit): Binance ADL FAQ; 1 is
                 one unit of the asset, `wallet_min_atoms`
    bitmex       see `bitmex_score`, with all of the compartment's equity behind the position
    paper        leverage * mark price / bankruptcy price: Chitra, arXiv 2512.01112, with Binance's reference

    A position that no price makes bankrupt has no place in the paper's queue.
    """
    c = candidate
    if name == "bitmex":
        value = c.value_atoms if abs(c.value_atoms - c.profit_atoms) == c.entry_atoms else -c.value_atoms
        return bitmex_score(value, value - c.profit_atoms, value - c.equity_atoms)
    if c.profit_atoms <= 0 or c.equity_atoms <= 0:
        return None
    if name == "binance":
        denominator = max(wallet_min_atoms, c.wallet_atoms) * (c.wallet_atoms + c.profit_atoms)
        return (c.profit_atoms * c.maintenance_atoms, denominator) if denominator > 0 else None
    if name == "paper":
        bankruptcy = c.value_atoms - c.equity_atoms if c.lots > 0 else c.value_atoms + c.equity_atoms
        return (c.value_atoms * c.value_atoms, c.equity_atoms * bankruptcy) if bankruptcy > 0 else None
    return c.value_atoms * c.profit_atoms, c.equity_atoms * max(1, c.entry_atoms)


def score_ppb(name: str, candidate: Candidate, wallet_min_atoms: int = 1) -> int:
    """The score rounded down, within what an event can hold; 0 for who is not in the queue.

    A score above zero stays above zero: a winner of great wealth is last, not out.
    """
    exact = score(name, candidate, wallet_min_atoms)
    if exact is None:
        return 0
    least = 1 if exact[0] > 0 else -INT64_MAX
    return max(least, min(INT64_MAX, exact[0] * PPB // exact[1]))


def reaches_losers(rules: AdlRules) -> bool:
    """Does the rulebook also deleverage positions without profit?"""
    return rules.policy == "iteration" or (rules.policy == "queue" and rules.score == "bitmex")


def rank(name: str, candidates: Iterable[Candidate], wallet_min_atoms: int = 1) -> list[Ranked]:
    """The queue: the highest score first, the lower account number among equals.

    Only BitMEX's formula ranks losers, behind all winners; elsewhere a score of zero leaves the queue.
    """
    scored = [(-score_ppb(name, c, wallet_min_atoms), c.account, c.pocket, c) for c in candidates]
    if name != "bitmex":
        scored = [entry for entry in scored if entry[0] < 0]
    scored.sort(key=lambda entry: entry[:3])
    return [Ranked(c, k + 1, -score) for k, (score, _, _, c) in enumerate(scored)]


def listed(rules: AdlRules, candidates: Iterable[Candidate], seq: int) -> list[Ranked]:
    """Candidates of a policy without scores: by account, or as `iteration` meets them in command `seq`."""
    if rules.policy == "iteration":
        ordered = sorted(candidates, key=lambda c: (iteration_key(c.account, seq), c.account, c.pocket))
    else:
        ordered = sorted(candidates, key=lambda c: (c.account, c.pocket))
    return [Ranked(c, k + 1, 0) for k, c in enumerate(ordered)]


def iteration_key(account: int, seq: int) -> int:
    """A number that looks random and is not: the finaliser of splitmix64 over account and command.

    dYdX v4 meets accounts in the pseudo-random order of its storage; which one is not part of the rule.
    """
    mask = 2**64 - 1
    z = (account * 0x9E3779B97F4A7C15 + seq * 0xD1B54A32D192ED03) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


class Place(NamedTuple):
    """Where a position stands in the queue, as its owner sees it.

    percentile_ppb  share of the queue's lots down to and with this position, rounded down
    quintile        1 (deleveraged first) to 5; the venues' lights
    """

    percentile_ppb: int
    quintile: int


def places(ranked: Sequence[Ranked]) -> list[Place]:
    """The queue indicator of every ranked position. Source: BitMEX, Auto-Deleveraging (ADL)."""
    whole = sum(abs(r.candidate.lots) for r in ranked)
    found: list[Place] = []
    reached = 0
    for r in ranked:
        reached += abs(r.candidate.lots)
        found.append(Place(reached * PPB // whole, div_ceil(5 * reached, whole)))
    return found


def is_far(rules: AdlRules, bankruptcy_ticks: int, mark_ticks: int) -> bool:
    """Does the bankruptcy price lie so far from the mark that the mark is used? Bybit: more than 5 % off."""
    off_max = rules.bankruptcy_off_max_ppb
    return off_max > 0 and abs(bankruptcy_ticks - mark_ticks) * PPB > abs(mark_ticks) * off_max


def lots_to_take(wanted_lots: int, held_lots: int, equity_atoms: int, charge_per_lot_atoms: int) -> int:
    """Lots of one winner: at most what he holds, and what leaves his equity at zero or above. WFALL-04."""
    lots = min(wanted_lots, abs(held_lots))
    if charge_per_lot_atoms > 0:
        lots = min(lots, max(0, equity_atoms) // charge_per_lot_atoms)
    return lots


def most(candidate: Candidate, demand: Demand) -> int:
    """Units that this candidate can give at most, however many are asked for. WFALL-04."""
    c = candidate
    if demand.in_atoms:
        return max(0, min(c.endowment_atoms, c.equity_atoms))
    return lots_to_take(abs(c.lots), c.lots, c.equity_atoms, demand.charge_atoms)
