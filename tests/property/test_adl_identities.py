"""What deleveraging policies promise: budgets to the atom, feasibility, Sybil resistance, order, scale.

Wealth space is that of Chitra, arXiv 2512.01112 v3; a winner is (cash, profit, value of his position).
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests import wealth
from tests.venues import Desk, of, rulebook
from zerodebt.exchange.commands import LoadPositions
from zerodebt.exchange.events import Deleveraged
from zerodebt.exchange.rules import AdlRules
from zerodebt.exchange.waterfall import adl, policies, sharing
from zerodebt.exchange.waterfall.adl import Candidate, Demand
from zerodebt.exchange.waterfall.policies import POLICIES

NAMES: Any = ["queue", *POLICIES]
PRO_RATA = AdlRules(policy="pro_rata")
QUEUE = AdlRules(policy="queue")


class Winner(NamedTuple):
    cash: int
    profit: int
    value: int = 0


def candidates(winners: Sequence[Winner]) -> list[Candidate]:
    return [
        Candidate(k, 0, 1, w.value, max(1, w.value - w.profit), w.profit, w.cash + w.profit, w.cash, 0)
        for k, w in enumerate(winners)
    ]


winners = st.lists(
    st.builds(Winner, st.integers(0, 50), st.integers(1, 200), st.integers(1, 2000)), min_size=1, max_size=7
)
anybody = st.lists(
    st.builds(
        Candidate,
        account=st.integers(16, 10**6),
        pocket=st.just(0),
        lots=st.integers(-30, 30).filter(bool),
        value_atoms=st.integers(0, 900),
        entry_atoms=st.integers(0, 900),
        profit_atoms=st.integers(-50, 400),
        equity_atoms=st.integers(-40, 500),
        wallet_atoms=st.integers(-100, 500),
        maintenance_atoms=st.integers(0, 60),
    ),
    max_size=7,
    unique_by=lambda c: c.account,
)
rulebooks = st.builds(
    AdlRules,
    policy=st.sampled_from(NAMES),
    score=st.sampled_from(["hyperliquid", "binance", "bybit", "bitmex", "paper"]),
    weights=st.sampled_from(["wealth", "profit", "equity", "contracts"]),
    haircut_max_ppb=st.sampled_from([0, 300_000_000, 10**9]),
    keep=st.sampled_from(["nothing", "maintenance"]),
    risk_power=st.integers(0, 4),
    risk_threshold_ppb=st.sampled_from([0, 10**9, 3 * 10**9]),
)
demands = st.builds(Demand, st.integers(0, 150), st.integers(-20, 40)) | st.builds(
    adl.seizure, st.integers(0, 1500)
)


def planned(rules: AdlRules, found: Sequence[Candidate], demand: Demand) -> dict[int, int]:
    ranked = adl.rank(rules.score, found) if rules.policy == "queue" else adl.listed(rules, found, 3)
    return {r.candidate.account: share for r, share in policies.plan(rules, ranked, demand)}


@pytest.mark.spec("WFALL-04")
@given(rulebooks, anybody, demands)
def test_nobody_gives_more_than_he_can_and_all_together_no_more_than_is_asked(
    rules: AdlRules, found: list[Candidate], demand: Demand
) -> None:
    shares = planned(rules, found, demand)
    assert sum(shares.values()) <= demand.units
    for c in found:
        share = shares.get(c.account, 0)
        assert 0 <= share <= (c.endowment_atoms if demand.in_atoms else abs(c.lots))
        if share and demand.charge_atoms > 0:
            assert c.equity_atoms - share * demand.charge_atoms >= 0


@given(rulebooks, anybody, demands)
def test_no_shipped_policy_needs_the_fallback(
    rules: AdlRules, found: list[Candidate], demand: Demand
) -> None:
    assume(rules.policy != "queue")
    ordered = [r.candidate for r in adl.listed(rules, found, 3)]
    assert policies.is_valid(POLICIES[rules.policy](rules, ordered, demand), ordered, demand)


@pytest.mark.spec("NUM-04")
@given(
    st.integers(0, 500),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), min_size=1, max_size=7),
    st.sampled_from([sharing.fill, sharing.smallest_maximum]),
)
def test_water_stands_at_one_level(units: int, givers: list[tuple[int, int]], share: Any) -> None:
    """Whoever has not given his most lies within one unit of the level of everybody else."""
    most, weights = [m for m, _ in givers], [w for _, w in givers]
    shares = share(units, most, weights)
    assert sum(shares) == min(units, sum(m for m, w in givers if w))
    for x, m, w in zip(shares, most, weights, strict=True):
        assert 0 <= x <= (m if w else 0)
        for y, v in zip(shares, weights, strict=True):
            if w and v and x < m:
                assert Fraction(y - 1, v) <= Fraction(x + 1, w)


@pytest.mark.parametrize(
    "policy", [name for name in NAMES if name not in ("iteration", "levered", "risk_aware")]
)
@given(winners, st.integers(0, 2000))
def test_budget_is_raised_to_the_atom_or_the_residual_is_named(
    policy: Any, found: list[Winner], budget: int
) -> None:
    """Feasible iff theta * D <= U; else all endowments are gone and D - U is left."""
    given_by = candidates(found)
    capacity = wealth.capacity_atoms(given_by)
    seized = wealth.seize(AdlRules(policy=policy), given_by, budget, queue=range(len(given_by)))
    assert sum(seized.atoms) == min(budget, capacity)
    assert seized.residual_atoms == max(0, budget - capacity)
    for c, x in zip(given_by, seized.atoms, strict=True):
        assert c.equity_atoms - x >= c.wallet_atoms, "principal is never touched"


@pytest.mark.spec("WFALL-03")
def test_solvent_is_not_coverable() -> None:
    """D = 50 lies below W = 100 + 10 + 20 and above U = 10 + 20: 20 stay open."""
    found = [
        *candidates([Winner(100, 10, 300), Winner(0, 20, 100)]),
        Candidate(9, 0, 1, 0, 0, -50, -50, 0, 0),
    ]
    deficit = wealth.deficit_atoms(found)
    whole = sum(max(0, c.equity_atoms) for c in found)
    assert (deficit, whole, wealth.capacity_atoms(found)) == (50, 130, 30)
    for policy in NAMES:
        seized = wealth.seize(AdlRules(policy=policy), found, deficit, queue=(0, 1))
        assert seized.residual_atoms == 50 - 30, policy


# Queue against pro rata


@given(winners, st.data())
def test_queue_keeps_less_of_the_top_winner_than_pro_rata(found: list[Winner], data: st.DataObject) -> None:
    """upsilon_PR - upsilon_Q = H * (1 - w1 / U) for H <= w1, within the atom that rounding moves.

    Both are the top winner's rest, and the queue begins with him. The largest rest of anybody is the same
    as long as the second winner stays below; where he does not, the queue's is larger than the formula's.
    """
    given_by = candidates(found)
    order = sorted(range(len(found)), key=lambda i: -found[i].profit)
    top, capacity = order[0], wealth.capacity_atoms(given_by)
    first = given_by[top].endowment_atoms
    budget = data.draw(st.integers(0, first))
    queue = wealth.seize(QUEUE, given_by, budget, queue=order)
    spread = wealth.seize(PRO_RATA, given_by, budget)
    gap = (first - spread.atoms[top]) - (first - queue.atoms[top])
    identity = budget * (1 - Fraction(first, capacity))
    assert abs(gap - identity) < 1
    survivors = wealth.survivor_atoms(given_by, spread) - wealth.survivor_atoms(given_by, queue)
    second = given_by[order[1]].endowment_atoms if len(order) > 1 else 0
    if second <= first - budget:
        assert abs(survivors - identity) <= 1
    else:
        assert survivors <= identity + 1


@given(winners, st.integers(0, 2000))
def test_no_policy_has_a_smaller_largest_haircut_than_pro_rata_by_wealth(
    found: list[Winner], budget: int
) -> None:
    """The largest h is at least the mean B / U, which is pro rata's."""
    given_by = candidates(found)
    capacity = wealth.capacity_atoms(given_by)
    level = Fraction(min(budget, capacity), capacity)
    for policy in NAMES:
        seized = wealth.seize(AdlRules(policy=policy), given_by, budget, queue=range(len(found)))
        if seized.residual_atoms == max(0, budget - capacity):
            largest = max(Fraction(x, c.endowment_atoms) for x, c in zip(seized.atoms, given_by, strict=True))
            assert largest >= level
    spread = wealth.seize(PRO_RATA, given_by, budget)
    for x, c in zip(spread.atoms, given_by, strict=True):
        assert abs(x - level * c.endowment_atoms) < 1


# Sybils, order, scale


CAPPED = AdlRules(policy="capped", haircut_max_ppb=600_000_000)


@pytest.mark.parametrize(("rules", "rounding"), [(PRO_RATA, 2), (CAPPED, 4)])
@given(winners, st.integers(0, 2000), st.data())
def test_splitting_an_account_does_not_change_what_it_gives_pro_rata(
    rules: AdlRules, rounding: int, found: list[Winner], budget: int, data: st.DataObject
) -> None:
    """Rounding moves less than one atom for the account and each of its two parts, and the same for caps."""
    split = data.draw(st.integers(0, len(found) - 1))
    cash, profit = (
        data.draw(st.integers(0, found[split].cash)),
        data.draw(st.integers(0, found[split].profit)),
    )
    parts = [
        Winner(cash, profit, found[split].value // 2),
        Winner(found[split].cash - cash, found[split].profit - profit, found[split].value // 2),
    ]
    whole = wealth.seize(rules, candidates(found), budget)
    both = wealth.seize(rules, candidates(found[:split] + parts + found[split + 1 :]), budget)
    assert abs(sum(both.atoms[split : split + 2]) - whole.atoms[split]) <= rounding


def test_splitting_an_account_pays_by_leverage() -> None:
    """Value 1000 on 200 is leverage 5, twice: 40 and 40. Split so that the profit lies where the leverage is
    not, 900 on 120 and 100 on 80: weights 10 * 7.5, 70 * 1.25 and 80 * 5 bring 10 (all), 13 and 57.
    """
    equal = Winner(120, 80, 1000)
    levered = AdlRules(policy="levered")
    assert wealth.seize(levered, candidates([equal, equal]), 80).atoms == (40, 40)
    parts = [Winner(110, 10, 900), Winner(10, 70, 100)]
    assert wealth.seize(levered, candidates([*parts, equal]), 80).atoms == (10, 13, 57)


def test_splitting_an_account_pays_in_a_queue() -> None:
    """Two equal winners; the lower number goes first and gives 80. Split into a levered and a cash-rich half
    it gives 40: the levered half goes first, the other winner second, the cash-rich half is not reached.
    """
    equal = Winner(50, 80, 1000)
    assert wealth.seize(QUEUE, candidates([equal, equal]), 80).atoms == (80, 0)
    halves = [Winner(0, 40, 500), Winner(50, 40, 500)]
    assert wealth.seize(QUEUE, candidates([*halves, equal]), 80).atoms == (40, 0, 40)


def test_splitting_an_account_pays_under_mirror_descent() -> None:
    """100 against 100 give 50 each; split in halves, squares are 25, 25 and 100 of 150."""
    rules = AdlRules(policy="mirror_descent")
    assert wealth.seize(rules, candidates([Winner(0, 100), Winner(0, 100)]), 60).atoms == (30, 30)
    halves = [Winner(0, 50), Winner(0, 50), Winner(0, 100)]
    assert wealth.seize(rules, candidates(halves), 60).atoms == (10, 10, 40)


@pytest.mark.parametrize("rules", [PRO_RATA, CAPPED, AdlRules(policy="mirror_descent")])
@given(winners, st.integers(0, 2000))
def test_who_has_more_gives_more(rules: AdlRules, found: list[Winner], budget: int) -> None:
    """Equal winners may differ by an atom. Under pro rata he also keeps more; squares may turn the order."""
    given_by = candidates(found)
    seized = wealth.seize(rules, given_by, budget)
    pairs = sorted(zip((c.endowment_atoms for c in given_by), seized.atoms, strict=True))
    for (less, gives), (more, gives_too) in pairwise(pairs):
        assert gives <= gives_too + (less == more)
        if rules.policy != "mirror_descent":
            assert less - gives <= more - gives_too + 1


@given(winners, st.integers(0, 2000))
def test_larger_budget_asks_nobody_for_less_pro_rata(found: list[Winner], budget: int) -> None:
    """Save one atom: largest remainders know the Alabama paradox."""
    given_by = candidates(found)
    smaller, larger = (wealth.seize(PRO_RATA, given_by, b).atoms for b in (budget, budget + 1))
    assert all(after >= before - 1 for before, after in zip(smaller, larger, strict=True))


def test_queue_asks_who_has_less_and_spares_who_has_more() -> None:
    """The smaller winner is levered 10, the larger one 1."""
    small, large = Winner(0, 40, 400), Winner(100, 80, 180)
    assert wealth.seize(QUEUE, candidates([small, large]), 40).atoms == (40, 0)


@given(winners, st.integers(0, 2000), st.integers(1, 50))
def test_pro_rata_does_not_depend_on_the_unit_of_account(
    found: list[Winner], budget: int, scale: int
) -> None:
    """In atoms `scale` times smaller everybody gives `scale` times as many, within the rounding of one."""
    finer = [Winner(*(scale * amount for amount in w)) for w in found]
    coarse = wealth.seize(PRO_RATA, candidates(found), budget).atoms
    fine = wealth.seize(PRO_RATA, candidates(finer), scale * budget).atoms
    assert all(abs(y - scale * x) <= scale for x, y in zip(coarse, fine, strict=True))


# Whole lots


holders = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 300)), min_size=1, max_size=7)


def shorts(held: Sequence[tuple[int, int]]) -> list[Candidate]:
    """(lots, equity), each with an open profit of half of it."""
    return [
        Candidate(k, 0, -lots, 100 * lots, 110 * lots, 10 * lots, equity, equity - equity // 2, 0)
        for k, (lots, equity) in enumerate(held)
    ]


@given(holders, st.integers(1, 9), st.data())
def test_min_max_has_the_smallest_largest_charge_of_all_policies(
    held: list[tuple[int, int]], charge: int, data: st.DataObject
) -> None:
    """Real-valued pro rata by equity <= min-max <= every policy in whole lots that closes the same lots."""
    found = shorts(held)
    able = sum(adl.most(c, Demand(0, charge)) for c in found)
    demand = Demand(data.draw(st.integers(0, able)), charge)

    def largest(rules: AdlRules) -> Fraction | None:
        shares = planned(rules, found, demand)
        if sum(shares.values()) < demand.units:
            return None
        return max(Fraction(shares.get(c.account, 0) * charge, c.equity_atoms) for c in found)

    best = largest(AdlRules(policy="min_max"))
    assert best is not None
    assert best >= Fraction(demand.units * charge, sum(c.equity_atoms for c in found))
    for policy in NAMES:
        for weights in ("wealth", "equity", "contracts"):
            other = largest(AdlRules(policy=policy, weights=weights))
            assert other is None or best <= other, (policy, weights)


@pytest.mark.parametrize("policy", ["queue", "pro_rata", "min_max", "mirror_descent"])
@given(holders, st.integers(1, 9), st.integers(0, 2000))
def test_whole_lots_for_a_budget_are_never_short_and_overshoot_by_less_than_one_lot(
    policy: Any, held: list[tuple[int, int]], charge: int, budget: int
) -> None:
    """The least number of lots that brings the budget is ceil(budget / charge)."""
    found = shorts(held)
    able = sum(adl.most(c, Demand(0, charge)) for c in found)
    wanted = -(-budget // charge)
    assume(wanted <= able)
    rules = AdlRules(policy=policy, weights="contracts")
    raised = charge * sum(planned(rules, found, Demand(wanted, charge)).values())
    assert 0 <= raised - budget < charge


def test_largest_loss_falls_from_queue_to_whole_lots_to_atoms() -> None:
    """Largest share of equity that anybody loses, median of 20 draws: queue > whole lots > atoms.

    Winners' equity is lognormal (7.22, 2.64), leverage lognormal around .43 and at most 10, profit around
    52 % of the value; a lot is worth 1,000 USD, the bankruptcy price lies 5 % from the mark, and one lot in
    twenty is to be closed. Pro rata is by wealth, in whole lots and in atoms. An order of medians, no law.
    """
    queue, lots, atoms = np.median(np.array([_largest_losses(seed) for seed in range(20)]), axis=0)
    assert queue > lots > atoms


def _largest_losses(seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    lot, charge = 100_000, 5_000
    equity = (100 * np.exp(rng.normal(7.22, 2.64, 300))).astype(int)
    leverage = np.minimum(10, np.exp(rng.normal(np.log(0.43), 1.2, 300)))
    lots = (equity * leverage / lot).astype(int)
    profit = (lots * lot * np.exp(rng.normal(np.log(0.52), 0.8, 300))).astype(int)
    found = [
        Candidate(k, 0, -n, n * lot, n * lot + p, p, e, e - p, 0)
        for k, (n, e, p) in enumerate(zip(lots.tolist(), equity.tolist(), profit.tolist(), strict=True))
        if n
    ]
    equities = {c.account: c.equity_atoms for c in found}
    demand = Demand(sum(abs(c.lots) for c in found) // 20, charge)
    losses = []
    for rules in (QUEUE, PRO_RATA):
        shares = planned(rules, found, demand)
        losses.append(max(share * charge / equities[account] for account, share in shares.items()))
    seized = wealth.seize(PRO_RATA, found, demand.units * charge)
    losses.append(max(x / c.equity_atoms for x, c in zip(seized.atoms, found, strict=True)))
    return losses


# What was needed on 10 October 2025 by wave, in USD: Chitra, arXiv 2512.01112 v3, policies by wave
NEEDED_USD = (
    2_266_240, 1_383_878, 1_065_843, 115_497, 8_056, 1_576_039, 44_868, 1_622_229,
    373_726, 5_177, 5_584_124, 1_021_113, 9_400, 1_545, 672, 1_263,
)  # fmt: skip


@cache
def day() -> list[Candidate]:
    """2,000 winners by quantiles of lognormal (7.22, 2.64) equity, leverage 1, a profit of 52 % of it."""
    found = []
    for k in range(2_000):
        equity = int(100 * np.exp(7.22 + 2.64 * NormalDist().inv_cdf((k + 0.5) / 2_000)))
        lots, profit = equity // LOT, equity * 52 // 100
        value = lots * LOT
        if lots:
            found.append(Candidate(k, 0, -lots, value, value + profit, profit, equity, equity - profit, 0))
    return found


LOT, CHARGE = 10_000, 1_000


@pytest.mark.parametrize("needed", NEEDED_USD)
def test_budgets_of_the_day_are_met_in_atoms_and_never_short_in_lots(needed: int) -> None:
    """Published whole-lot pro rata was short by 3.02 M USD in all; here it is above by less than a lot."""
    found, budget = day(), 100 * needed
    for rules in (PRO_RATA, QUEUE, CAPPED):
        assert sum(wealth.seize(rules, found, budget).atoms) == budget, rules.policy
    wanted, whole = -(-budget // CHARGE), sum(abs(c.lots) for c in found)
    for rules in (AdlRules(policy="pro_rata", weights="contracts"), AdlRules(policy="min_max")):
        shares = planned(rules, found, Demand(wanted, CHARGE))
        assert 0 <= CHARGE * sum(shares.values()) - budget < CHARGE, rules.policy
        if rules.policy == "pro_rata":
            for c in found:
                assert abs(shares.get(c.account, 0) - Fraction(wanted * abs(c.lots), whole)) < 1


# The venue


@pytest.mark.spec("WFALL-03", "WFALL-04", "LEDG-01")
@settings(max_examples=80, deadline=None)
@given(
    rulebooks,
    st.lists(
        st.tuples(st.integers(1, 12), st.integers(80, 130), st.integers(5, 400)), min_size=1, max_size=5
    ),
    st.sampled_from(["bankruptcy", "mark", "previous_mark", "index"]),
    st.integers(70, 99),
)
def test_venue_under_any_policy_leaves_nobody_below_zero_and_loses_nothing(
    rules: AdlRules, held: list[tuple[int, int, int]], price: Any, mark: int
) -> None:
    """Shorts of (lots, entry, cash) against a long who cannot pay; `Desk` checks every invariant."""
    table = {
        name: getattr(rules, name)
        for name in (
            "policy",
            "score",
            "weights",
            "haircut_max_ppb",
            "keep",
            "risk_power",
            "risk_threshold_ppb",
        )
    }
    desk = Desk(rulebook("book", "adl", "house", adl=table | {"price": price}))
    whole = sum(lots for lots, _, _ in held)
    loser, *others = desk.open(8 * whole, *(cash for _, _, cash in held))
    desk.ok(
        LoadPositions(
            0,
            100,
            (loser, *others),
            (whole, *(-lots for lots, _, _ in held)),
            (100, *(entry for _, entry, _ in held)),
            (1,) * (1 + len(held)),
            (0,) * (1 + len(held)),
        )
    )
    desk.index(100)
    before = {account: desk.equity(account) for account in others}
    taken = of(desk.index(mark), Deleveraged)
    assert sum(abs(e.lots) for e in taken) <= whole
    for e in taken:
        if before[e.winner] >= 0 and e.transfer_atoms > 0:
            assert desk.equity(e.winner) >= 0
