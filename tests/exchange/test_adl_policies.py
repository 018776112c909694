"""Deleveraging policies one by one, with their arithmetic, and a venue that runs them."""

import doctest
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from scipy.optimize import Bounds, LinearConstraint, milp

from tests import wealth
from tests.venues import USD, Desk, of, perpetual, rulebook
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import Deposit, LoadPositions, PlaceOrder, SetPositionMode, Side
from zerodebt.exchange.events import HOUSE, DeficitClosed, Deleveraged
from zerodebt.exchange.rules import AdlRules, RulesError
from zerodebt.exchange.units import PPB
from zerodebt.exchange.waterfall import adl, policies, sharing
from zerodebt.exchange.waterfall.adl import Candidate, Demand, Ranked
from zerodebt.exchange.waterfall.policies import POLICIES

CENT = 100
"""Money of the worked example is counted in hundredths."""


def winner(account: int, lots: int = 10, **changes: int) -> Candidate:
    """A short of value 100 a lot with a profit of 10 a lot and 90 a lot in cash: equity 100 a lot."""
    values = {
        "value_atoms": 100 * lots,
        "entry_atoms": 110 * lots,
        "profit_atoms": 10 * lots,
        "equity_atoms": 100 * lots,
        "wallet_atoms": 90 * lots,
        "maintenance_atoms": 5 * lots,
    }
    return Candidate(account, 0, -lots, **(values | changes))


def purse(account: int, cash: int, profit: int, leverage: int = 1) -> Candidate:
    """An account of wealth space, whose position is worth leverage * equity."""
    equity = cash + profit
    value = leverage * max(0, equity)
    return Candidate(account, 0, 1, value, max(1, value - profit), profit, equity, cash, 0)


EXAMPLE = [
    purse(k, int(cash * CENT), int(pnl * CENT))
    for k, (cash, pnl) in enumerate([(2, 8), (1, 4), (0.5, 0.5), (0, -3), (0, -12)])
]


def lots_by(rules: AdlRules, candidates: Sequence[Candidate], wanted: int, charge: int = 1) -> dict[int, int]:
    ranked = adl.listed(rules, candidates, seq=1)
    takes = policies.plan(rules, ranked, Demand(wanted, charge))
    return {r.candidate.account: share for r, share in takes}


def test_page_for_researchers_says_what_the_code_does() -> None:
    page = Path(__file__).parents[2] / "docs" / "adl.md"
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert tried > 10
    assert not failed


# The worked example of arXiv 2512.01112, exact


def after(seizure: wealth.Seizure) -> list[int]:
    return [c.equity_atoms - x for c, x in zip(EXAMPLE, seizure.atoms, strict=True)]


def test_worked_example_has_deficit_15_and_capacity_12_and_a_half() -> None:
    assert [c.equity_atoms for c in EXAMPLE] == [1000, 500, 100, -300, -1200]
    assert wealth.deficit_atoms(EXAMPLE) == 15 * CENT
    assert wealth.capacity_atoms(EXAMPLE) == 1250
    assert wealth.budget_atoms(15 * CENT, Fraction(1, 2)) == 750
    assert wealth.budget_atoms(15 * CENT, Fraction(8, 15)) == 800


def test_worked_example_by_queue_at_severity_one_half() -> None:
    taken = wealth.seize(AdlRules(), EXAMPLE, 750, queue=(1, 0, 2))
    assert taken == wealth.Seizure((350, 400, 0, 0, 0), 0)
    assert after(taken) == [650, 100, 100, -300, -1200]


def test_worked_example_by_pro_rata_at_severity_one_half() -> None:
    """h = 7.5 / 12.5 = .6 for everybody."""
    taken = wealth.seize(AdlRules(policy="pro_rata"), EXAMPLE, 750)
    assert taken == wealth.Seizure((480, 240, 30, 0, 0), 0)
    assert after(taken) == [520, 260, 70, -300, -1200]


def test_worked_example_with_given_haircuts_at_severity_8_of_15() -> None:
    """h = (.5, 1, 0, 0, 0) seizes (4, 4, 0, 0, 0): what the queue (2, 1, 3) takes for a budget of 8."""
    taken = wealth.seize(
        AdlRules(), EXAMPLE, wealth.budget_atoms(15 * CENT, Fraction(8, 15)), queue=(1, 0, 2)
    )
    assert taken.atoms == (400, 400, 0, 0, 0)
    assert [Fraction(x, c.endowment_atoms) for x, c in zip(taken.atoms[:3], EXAMPLE, strict=False)] == [
        Fraction(1, 2),
        1,
        0,
    ]
    assert after(taken) == [600, 100, 100, -300, -1200]


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize("policy", ["queue", *POLICIES])
def test_deficit_beyond_the_capacity_leaves_a_residual(policy: str) -> None:
    """D = 15 and W = 16, but U = 12.5 is all that may be taken: 2.5 stay open at severity 1."""
    rules = AdlRules(policy=policy)  # type: ignore[arg-type]
    taken = wealth.seize(rules, EXAMPLE, 15 * CENT, queue=(0, 1, 2))
    assert taken == wealth.Seizure((800, 400, 50, 0, 0), 250)


# One policy after the other


def test_pro_rata_shares_lots_by_the_rulebooks_weight() -> None:
    """Open profits 100 and 300, profits of the positions 100 each, equities 1000 and 1200, lots 10 each."""
    pair = [winner(1), winner(2, equity_atoms=1200, wallet_atoms=900)]
    by = {
        weights: lots_by(AdlRules(policy="pro_rata", weights=weights), pair, 8)
        for weights in ("wealth", "profit", "equity", "contracts")
    }
    assert by == {
        "wealth": {1: 2, 2: 6},
        "profit": {1: 4, 2: 4},
        "equity": {1: 4, 2: 4},
        "contracts": {1: 4, 2: 4},
    }
    assert lots_by(AdlRules(policy="pro_rata", weights="equity"), pair, 11) == {1: 5, 2: 6}


def test_lots_weigh_otherwise_than_what_the_position_has_won() -> None:
    """8 lots over holders of 10 and 30, who have won 300 and 100 with them."""
    pair = [winner(1, profit_atoms=300), winner(2, 30, profit_atoms=100)]
    assert lots_by(AdlRules(policy="pro_rata", weights="contracts"), pair, 8) == {1: 2, 2: 6}
    assert lots_by(AdlRules(policy="pro_rata", weights="profit"), pair, 8) == {1: 6, 2: 2}


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize(
    ("weights", "losing"), [("profit", {"profit_atoms": -7}), ("equity", {"equity_atoms": -7})]
)
def test_who_has_lost_has_no_weight(weights: Any, losing: dict[str, int]) -> None:
    """11 lots are wanted, and only the one who has won gives: his 10. Nobody is charged, so all could."""
    pair = [winner(1), winner(2, **losing)]
    assert lots_by(AdlRules(policy="pro_rata", weights=weights), pair, 11, charge=0) == {1: 10}


@pytest.mark.spec("WFALL-04")
def test_pro_rata_passes_on_what_one_cannot_bear() -> None:
    """By contracts 5 and 5; at a charge of 300 a lot the first has equity for 2, so the second gives 8."""
    pair = [winner(1, equity_atoms=899), winner(2, equity_atoms=10_000)]
    rules = AdlRules(policy="pro_rata", weights="contracts")
    assert lots_by(rules, pair, 10, charge=300) == {1: 2, 2: 8}
    assert lots_by(rules, pair, 10, charge=-300) == {1: 5, 2: 5}


def test_levered_takes_more_from_who_is_levered_more() -> None:
    pair = [purse(1, 50, 50, leverage=1), purse(2, 50, 50, leverage=3)]
    taken = wealth.seize(AdlRules(policy="levered"), pair, 40)
    assert taken.atoms == (10, 30)


def test_capped_fills_up_to_the_caps_and_no_further() -> None:
    """Caps of 60 % of 80, 40 and 20 are 48, 24 and 12: 84 are feasible, 85 leave one."""
    three = [purse(k, 10, w) for k, w in enumerate((80, 40, 20))]
    rules = AdlRules(policy="capped", haircut_max_ppb=600_000_000)
    assert wealth.seize(rules, three, 70) == wealth.Seizure((40, 20, 10), 0)
    assert wealth.seize(rules, three, 85) == wealth.Seizure((48, 24, 12), 1)


def test_capped_leaves_everybody_his_requirement() -> None:
    """beta = 1 - (e_min - c) / w: with cash 0, profit 100 and a requirement of 70 it is .3."""
    needy = Candidate(1, 0, 1, 700, 600, 100, 100, 0, 70)
    free = Candidate(2, 0, 1, 700, 600, 100, 100, 0, 0)
    kept = wealth.seize(AdlRules(policy="capped", keep="maintenance"), [needy, free], 100)
    assert kept.atoms == (30, 70)
    assert wealth.seize(AdlRules(policy="capped"), [needy, free], 100).atoms == (50, 50)


def test_capped_may_take_a_whole_profit_that_is_all_the_equity() -> None:
    """With cash 0 the cap is the profit; at a requirement of all the equity it is nothing."""
    bare, bound = purse(1, 0, 100), Candidate(2, 0, 1, 700, 600, 100, 100, 0, 100)
    assert wealth.seize(AdlRules(policy="capped"), [bare], 100) == wealth.Seizure((100,), 0)
    kept = wealth.seize(AdlRules(policy="capped", keep="maintenance"), [bare, bound], 200)
    assert kept == wealth.Seizure((100, 0), 100)


@pytest.mark.parametrize("charge", [0, -300])
def test_lots_that_cost_nothing_are_not_capped(charge: int) -> None:
    rules = AdlRules(policy="capped", haircut_max_ppb=0, weights="contracts")
    assert lots_by(rules, [winner(1), winner(2)], 20, charge=charge) == {1: 10, 2: 10}
    assert lots_by(rules, [winner(1), winner(2)], 20, charge=1) == {}


def test_risk_aware_leaves_who_is_not_above_the_threshold_alone() -> None:
    """Leverages 1 and 3 at a threshold of 1: the second gives his 50, and the rest stays open."""
    pair = [purse(1, 50, 50, leverage=1), purse(2, 50, 50, leverage=3)]
    rules = AdlRules(policy="risk_aware", risk_power=1, risk_threshold_ppb=PPB)
    assert wealth.seize(rules, pair, 70) == wealth.Seizure((0, 50), 20)


@pytest.mark.parametrize(
    ("power", "threshold", "expected"),
    [(0, 0, (10, 30)), (1, 0, (4, 36)), (2, 0, (1, 39)), (1, PPB, (0, 40))],
)
def test_risk_aware_weighs_by_leverage_times_g(power: int, threshold: int, expected: tuple[int, int]) -> None:
    """Leverages 1 and 3: lambda * g is 1:3, 1:9, 1:27, and 0:6 with g = (lambda - 1)+."""
    pair = [purse(1, 50, 50, leverage=1), purse(2, 50, 50, leverage=3)]
    rules = AdlRules(policy="risk_aware", risk_power=power, risk_threshold_ppb=threshold)
    assert wealth.seize(rules, pair, 40).atoms == expected


def test_mirror_descent_from_zero_asks_by_the_square_of_the_endowment() -> None:
    """h is 3:2:1 for endowments of 3:2:1, so that they give 9:4:1; where h would pass 1 it stays there."""
    three = [purse(k, 10, w) for k, w in enumerate((300, 200, 100))]
    rules = AdlRules(policy="mirror_descent")
    assert wealth.seize(rules, three, 140).atoms == (90, 40, 10)
    assert wealth.seize(rules, three, 550) == wealth.Seizure((300, 200, 50), 0)
    pair = [purse(k, 10, w * 10**10) for k, w in enumerate((3, 1))]
    assert wealth.seize(rules, pair, 10**10).atoms == (9 * 10**9, 10**9)


@given(
    st.integers(0, 400),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, PPB)), min_size=1, max_size=6),
)
def test_projection_is_the_nearest_point_of_the_budget(units: int, givers: list[tuple[int, int]]) -> None:
    """No other share is nearer: moving one unit from a giver to another never brings h closer to its start.

    Shares are whole, so that a move may gain what rounding lost: at most one unit's worth on either side.
    """
    most, start = [m for m, _ in givers], [s for _, s in givers]
    shares = sharing.project(units, most, start)
    assert sum(shares) == min(units, sum(most))
    assert all(0 <= share <= limit for share, limit in zip(shares, most, strict=True))
    # Interior optimum: (start - h) / most is one number t, and x = most * (start - t * most) within a unit.
    for i, (x, m, s) in enumerate(zip(shares, most, start, strict=True)):
        for j, (y, n, r) in enumerate(zip(shares, most, start, strict=True)):
            if i == j or not m or not n or x <= 1 or y >= n - 1:
                continue
            lowest_i = (Fraction(s, PPB) - Fraction(x - 1, m)) / m
            highest_j = (Fraction(r, PPB) - Fraction(y + 1, n)) / n
            assert lowest_i >= highest_j


def test_projection_of_a_start_that_meets_the_budget_is_the_start() -> None:
    assert sharing.project(30, [20, 40], [500_000_000, 500_000_000]) == [10, 20]


def test_projection_gives_the_unit_that_two_halves_make_to_the_first() -> None:
    """h = (1 - 6 / 8, 1 - 2 / 8, 0) raises 1.5 of the first, 1.5 of the second, and nothing of the third."""
    assert sharing.project(3, [6, 2, 6], [PPB, PPB, 0]) == [2, 1, 0]


def test_projection_is_exact_where_two_remainders_are_equal() -> None:
    """t = -3 % raises 10 * (0.1 + 0.3), 10 * (0.25 + 0.3), 5 * (0.75 + 0.15) = 4, 5.5, 4.5: 14 in all.

    Of two halves the first gets the unit. A step beside t the first would be short of 4, and the third of a
    remainder that ranks before the second's.
    """
    assert sharing.project(14, [10, 10, 5], [100_000_000, 250_000_000, 750_000_000]) == [4, 6, 4]


def test_water_rises_again_for_those_whom_one_who_is_full_leaves_more_to() -> None:
    """The level of 30 over three is 10: the first is full with 1. 29 over two is 14.5: so is the second."""
    assert sharing.fill(30, [1, 11, 100], [1, 1, 1]) == [1, 11, 30 - 1 - 11]


def test_min_max_takes_whole_lots_from_who_feels_them_least() -> None:
    """A lot costs the three 1/10, 1/20 and 1/35 of their equity: 3 lots leave the largest share at 2/35."""
    three = [winner(k, equity_atoms=e) for k, e in enumerate((10, 20, 35))]
    assert lots_by(AdlRules(policy="min_max"), three, 3) == {1: 1, 2: 2}
    assert lots_by(AdlRules(policy="pro_rata", weights="contracts"), three, 3) == {0: 1, 1: 1, 2: 1}


@pytest.mark.spec("WFALL-03")
def test_min_max_asks_nobody_without_equity_even_where_lots_cost_nothing() -> None:
    pair = [winner(1, equity_atoms=-5), winner(2)]
    assert lots_by(AdlRules(policy="min_max"), pair, 12, charge=0) == {2: 10}


def test_whoever_has_given_all_he_can_is_passed_over_unit_by_unit() -> None:
    """Weights 10, 1 and 1, 8 units: the level 8 / 12 gives the first 6; his 7th makes .7, an 8th would .8."""
    assert sharing.smallest_maximum(8, [8, 5, 5], [10, 1, 1]) == [8, 0, 0]
    assert sharing.smallest_maximum(8, [7, 5, 5], [10, 1, 1]) == [7, 1, 0]
    assert sharing.smallest_maximum(6, [5, 9, 9], [10, 1, 1]) == [5, 1, 0], "full at the level of .5"


def test_who_has_no_weight_gives_nothing_although_units_are_missing() -> None:
    assert sharing.fill(5, [3, 4], [1, 0]) == [3, 0]
    assert sharing.fill(5, [0, 4], [1, 1]) == [0, 4]


def by_milp(wanted: int, charge: int, candidates: Sequence[Candidate]) -> list[int]:
    """min M, sum k >= wanted, 0 <= k_j <= max_j integer, k_j * charge <= M * equity_j, by scipy's milp."""
    n = len(candidates)
    most = [adl.most(c, Demand(wanted, charge)) for c in candidates]
    rows = np.zeros((n + 1, n + 1))
    for j, c in enumerate(candidates):
        rows[j, j], rows[j, n] = charge, -c.equity_atoms
    rows[n, :n] = -1
    found = milp(
        np.append(np.zeros(n), 1.0),
        constraints=LinearConstraint(rows, -np.inf, np.append(np.zeros(n), -wanted)),
        integrality=np.append(np.ones(n), 0),
        bounds=Bounds(0, np.append(np.array(most, float), np.inf)),
    )
    assert found.success, found.message
    return [round(k) for k in found.x[:n]]


def largest_share(lots: Sequence[int], charge: int, candidates: Sequence[Candidate]) -> Fraction:
    return max(Fraction(k * charge, c.equity_atoms) for k, c in zip(lots, candidates, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 60)), min_size=1, max_size=6),
    st.integers(1, 5),
    st.data(),
)
def test_min_max_is_as_good_as_the_integer_programme(
    givers: list[tuple[int, int]], charge: int, data: st.DataObject
) -> None:
    """The optimiser is the second witness: it finds no smaller maximum, and its proposal is a valid one."""
    candidates = [winner(k, lots, equity_atoms=equity) for k, (lots, equity) in enumerate(givers)]
    whole = sum(adl.most(c, Demand(10**6, charge)) for c in candidates)
    wanted = data.draw(st.integers(0, whole))
    demand = Demand(wanted, charge)
    ours = policies.min_max(AdlRules(), candidates, demand)
    theirs = by_milp(wanted, charge, candidates)
    assert sum(ours) == wanted
    assert policies.is_valid(ours, candidates, demand)
    assert largest_share(ours, charge, candidates) <= largest_share(theirs, charge, candidates)


def test_iteration_passes_over_who_could_not_bear_his_whole_part() -> None:
    """At 20 a lot: the first holds 10 and has equity for 9, so he is skipped; the next two give 10 and 2."""
    met = [winner(1, equity_atoms=199), winner(2), winner(3), winner(4)]
    assert policies.iteration(AdlRules(), met, Demand(12, 20)) == [0, 10, 2, 0]
    assert policies.iteration(AdlRules(), met, Demand(8, 20)) == [8, 0, 0, 0]


def test_iteration_order_depends_on_the_command_and_not_on_the_profit() -> None:
    rules = AdlRules(policy="iteration")
    poor, rich = [winner(k, profit_atoms=-5) for k in range(20)], [winner(k) for k in range(20)]

    def order(candidates: list[Candidate], seq: int) -> list[int]:
        return [r.candidate.account for r in adl.listed(rules, candidates, seq)]

    assert order(poor, 7) == order(rich, 7) == order(rich[::-1], 7)
    assert order(rich, 7) != order(rich, 8)
    assert sorted(order(rich, 7)) == list(range(20))
    assert adl.iteration_key(0, 0) == 0
    assert adl.iteration_key(1, 0) == 0xE220A8397B1DCDAF, "splitmix64 of 0 begins with this number"


# Proposals are checked


@pytest.mark.spec("WFALL-04")
@pytest.mark.parametrize(
    "proposal",
    [
        [11, 0],  # more than he holds
        [7, 7],  # more than is wanted
        [-1, 5],
        [4],
        [2.5, 2.5],
    ],
)
def test_bad_proposal_falls_back_to_pro_rata_over_what_each_can_give(
    proposal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLICIES, "pro_rata", lambda *_: proposal)
    assert lots_by(AdlRules(policy="pro_rata"), [winner(1), winner(2)], 10) == {1: 5, 2: 5}


@pytest.mark.spec("WFALL-04")
def test_good_proposal_of_a_policy_of_ones_own_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "pro_rata", lambda *_: [1, 9])
    assert lots_by(AdlRules(policy="pro_rata"), [winner(1), winner(2)], 10) == {1: 1, 2: 9}


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize("side", [1, -1])
def test_queue_planned_before_the_need_asks_the_leg_of_either_side_in_its_own_instrument(side: Any) -> None:
    """10 lots of the second instrument lose 10 each with 60 USD; the winner holds both legs."""
    rules = rulebook("book", "adl", adl={"plan": "before"}, margin={"hedge_mode": True})
    desk = Desk(rules, (perpetual(), perpetual("ETH")), index=(100, 100))
    loser, hedger, maker = desk.open(60, 10_000, 10_000)
    desk.ok(SetPositionMode(hedger, "hedge"))
    legs: dict[int, Any] = {1: "long", -1: "short"}
    desk.order(loser, side, 10, 100, instrument=1)
    desk.ok(PlaceOrder(hedger, 1, cast("Side", -side), 10, 100, tif="fok", leg=legs[-side]))
    desk.order(maker, cast("Side", -side), 3, 100, instrument=1)
    desk.ok(PlaceOrder(hedger, 1, side, 3, 100, tif="fok", leg=legs[side]))
    desk.index(100, 100 - side)
    events = desk.index(100, 100 - 10 * side)
    assert [(e.winner, e.instrument, e.lots, e.price_ticks) for e in of(events, Deleveraged)] == [
        (hedger, 1, -10 * side, 100 - 6 * side)
    ]
    assert not audit(desk.batches).findings


@pytest.mark.spec("ATK-12", "WFALL-03")
@pytest.mark.parametrize(("plan", "asked"), [("now", [(1, 9), (2, 1)]), ("before", [(2, 10)])])
def test_queue_planned_before_the_need_passes_over_who_has_become_smaller(
    plan: str, asked: list[tuple[int, int]]
) -> None:
    """A long of 10 at 100 with 60 USD; two shorts of 10, the first with less equity, buys a lot back."""
    desk = Desk(rulebook("book", "adl", adl={"plan": plan}), index=(100,))
    loser, first, second, maker = desk.open(60, 100, 10_000, 10_000)
    desk.trade(loser, first, 10, 100)
    desk.trade(maker, second, 10, 100)
    desk.index(99)
    desk.trade(first, maker, 1, 99)
    twin = desk.restored()
    assert twin.state_hash() == desk.venue.state_hash()
    events = desk.index(85)
    assert [(e.rank, -e.lots) for e in of(events, Deleveraged)] == asked
    assert twin.apply(desk.journal[-1].command, desk.time_ns).events == tuple(events)
    assert audit(desk.batches).findings == ()


def test_planning_before_the_need_is_for_queues_alone() -> None:
    with pytest.raises(RulesError, match=r"venue\.adl\.plan is 'before', but the policy is 'pro_rata'"):
        rulebook("book", "adl", adl={"plan": "before", "policy": "pro_rata"})


def test_unknown_policy_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(RulesError, match=r"(?s)venue: .*adl\.policy"):
        rulebook(adl={"policy": "lottery"})


# Scores


def test_bitmex_ranks_losers_behind_all_winners() -> None:
    """PNL% * EffLev is 10/110 * 10 for the first; the loser of 10 % at leverage 2 has -.1 / 2."""
    won = winner(1, equity_atoms=100)
    lost = winner(2, entry_atoms=900, profit_atoms=-100, equity_atoms=500)
    assert Fraction(*adl.score("bitmex", won) or (0, 1)) == Fraction(10, 11)
    ranked = adl.rank("bitmex", [lost, won])
    assert [r.candidate.account for r in ranked] == [1, 2]
    assert Fraction(*adl.score("bitmex", lost) or (0, 1)) == Fraction(-100, 900) / 2
    assert adl.score("bitmex", winner(3, equity_atoms=0)) is None


def test_papers_score_is_leverage_times_mark_over_bankruptcy_price() -> None:
    """A short of 1000 with 250: bankrupt at 1250, so 4 * 1000 / 1250. A long of 1000 with 250: at 750."""
    short = winner(1, equity_atoms=250)
    assert Fraction(*adl.score("paper", short) or (0, 1)) == Fraction(4 * 1000, 1250)
    long = Candidate(2, 0, 10, 1000, 900, 100, 250, 150, 0)
    assert Fraction(*adl.score("paper", long) or (0, 1)) == Fraction(4 * 1000, 750)
    assert adl.score("paper", Candidate(3, 0, 10, 1000, 900, 100, 1000, 900, 0)) is None


@pytest.mark.parametrize(
    ("mark", "entry", "bankruptcy", "expected"),
    [
        (101, 100, 51, (1 * 101, 100 * 50)),
        (110, 100, 109, (10 * 110, 100 * 1)),
        (90, 100, 50, (-10 * 40, 100 * 90)),
        (-90, -100, -120, (10 * 90, 100 * 30)),
        (100, 0, 50, None),
        (0, 100, -50, None),
        (100, 90, 100, None),
    ],
)
def test_bitmex_score_of_winners_and_losers(
    mark: int, entry: int, bankruptcy: int, expected: tuple[int, int] | None
) -> None:
    """Profit over entry, times or over the leverage mark / (mark - bankruptcy)."""
    assert adl.bitmex_score(mark, entry, bankruptcy) == expected


LONG = Candidate(2, 0, 10, 1000, 900, 100, 250, 150, 25)
"""Ten lots bought at 90 and now worth 100, with 150 of cash: equity 250."""


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize(
    ("name", "candidate", "expected"),
    [
        ("bitmex", LONG, (100 * 1000, 900 * 250)),
        ("bitmex", winner(1), (100 * 1000, 1100 * 1000)),
        ("bitmex", structs.replace(LONG, entry_atoms=1100, profit_atoms=-100), (-100 * 250, 1100 * 1000)),
        ("hyperliquid", LONG, (1000 * 100, 250 * 900)),
        ("hyperliquid", structs.replace(LONG, entry_atoms=1, profit_atoms=999), (1000 * 999, 250 * 1)),
        ("hyperliquid", structs.replace(LONG, entry_atoms=0, profit_atoms=1000), (1000 * 1000, 250 * 1)),
        ("hyperliquid", structs.replace(LONG, equity_atoms=1), (1000 * 100, 1 * 900)),
        ("hyperliquid", structs.replace(LONG, equity_atoms=0), None),
        ("hyperliquid", structs.replace(LONG, profit_atoms=0), None),
        ("binance", LONG, (100 * 25, 150 * (150 + 100))),
        ("binance", structs.replace(LONG, wallet_atoms=0), (100 * 25, 1 * (0 + 100))),
        ("binance", structs.replace(LONG, wallet_atoms=0, profit_atoms=1), (1 * 25, 1)),
        ("binance", structs.replace(LONG, wallet_atoms=-100), None),
        ("paper", structs.replace(LONG, lots=1), (1000 * 1000, 250 * 750)),
        ("paper", structs.replace(LONG, equity_atoms=999), (1000 * 1000, 999 * 1)),
        ("paper", structs.replace(LONG, equity_atoms=1000), None),
    ],
)
def test_scores_are_exact_fractions(
    name: str, candidate: Candidate, expected: tuple[int, int] | None
) -> None:
    assert adl.score(name, candidate) == expected


@pytest.mark.spec("WFALL-03")
def test_score_of_a_winner_is_at_least_one_part_and_that_of_a_loser_below_zero() -> None:
    tiny = structs.replace(LONG, value_atoms=1, profit_atoms=1, equity_atoms=10**15)
    assert adl.score_ppb("hyperliquid", tiny) == 1
    assert adl.score_ppb("hyperliquid", LONG) == 1000 * 100 * PPB // (250 * 900)
    lost = structs.replace(LONG, entry_atoms=1100, profit_atoms=-100)
    assert adl.score_ppb("bitmex", lost) == -100 * 250 * PPB // (1100 * 1000)
    assert adl.score_ppb("bitmex", structs.replace(LONG, entry_atoms=1000, profit_atoms=0)) == 0
    assert adl.score_ppb("hyperliquid", structs.replace(LONG, profit_atoms=0)) == 0


@pytest.mark.spec("WFALL-03")
def test_smallest_wallet_of_binances_score_is_the_rulebooks() -> None:
    """Wallet 0 counts as 1 by itself and as 1000 where that is one unit of the asset."""
    poor = structs.replace(LONG, wallet_atoms=0)
    assert adl.score_ppb("binance", poor) == 100 * 25 * PPB // (1 * 100)
    assert adl.score_ppb("binance", poor, 1000) == 100 * 25 * PPB // (1000 * 100)
    assert [r.score_ppb for r in adl.rank("binance", [poor])] == [100 * 25 * PPB // (1 * 100)]
    assert [r.score_ppb for r in adl.rank("binance", [poor], 1000)] == [100 * 25 * PPB // (1000 * 100)]


def test_order_of_iteration_is_that_of_splitmix64() -> None:
    """The first two numbers that the generator gives from seed 0, and one for another command."""
    assert (adl.iteration_key(1, 0), adl.iteration_key(2, 0)) == (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4)
    assert adl.iteration_key(16, 3) == 0x6832FE960CDA52A2


@pytest.mark.parametrize(
    ("policy", "score", "reaches"),
    [
        ("iteration", "hyperliquid", True),
        ("queue", "bitmex", True),
        ("queue", "hyperliquid", False),
        ("pro_rata", "bitmex", False),
        ("pro_rata", "hyperliquid", False),
    ],
)
def test_losers_are_reached_by_iteration_and_by_bitmexs_queue(policy: Any, score: Any, reaches: bool) -> None:
    assert adl.reaches_losers(AdlRules(policy=policy, score=score)) is reaches


@pytest.mark.parametrize(
    ("off_max", "bankruptcy", "is_far"),
    [(50_000_000, 94, True), (50_000_000, 95, False), (50_000_000, 106, True), (1, 99, True), (0, 1, False)],
)
def test_bankruptcy_price_is_far_when_it_is_more_than_the_share_off_the_mark(
    off_max: int, bankruptcy: int, is_far: bool
) -> None:
    assert adl.is_far(AdlRules(bankruptcy_off_max_ppb=off_max), bankruptcy, 100) is is_far


@pytest.mark.spec("WFALL-04")
@pytest.mark.parametrize(
    ("wanted", "held", "equity", "charge", "lots"),
    [
        (5, -10, 3, 1, 3),
        (5, 10, 0, 1, 0),
        (5, 10, -7, 2, 0),
        (5, 10, 9, 2, 4),
        (5, -4, 9, 0, 4),
        (5, 9, 9, -3, 5),
    ],
)
def test_lots_taken_leave_nobody_below_zero_and_nobody_flipped(
    wanted: int, held: int, equity: int, charge: int, lots: int
) -> None:
    assert adl.lots_to_take(wanted, held, equity, charge) == lots


def test_bybit_ranks_like_profit_times_leverage() -> None:
    assert adl.score("bybit", winner(1)) == adl.score("hyperliquid", winner(1))


def test_lights_count_lots_from_the_top_of_the_queue() -> None:
    ranked = [Ranked(winner(k, lots), k, 0) for k, lots in ((1, 1), (2, 3), (3, 6))]
    assert adl.places(ranked) == [(100_000_000, 1), (400_000_000, 2), (PPB, 5)]


# In the venue


def three_winners(**rules: Any) -> tuple[Desk, int, list[int]]:
    """A long of 10 with 60 at 100 against shorts of 6, 3 and 1 lots; at 90 the long misses 40."""
    desk = Desk(rulebook("book", "adl", adl=rules))
    loser, *shorts = desk.open(60, 1000, 1000, 1000)
    accounts = (loser, *shorts)
    desk.ok(LoadPositions(0, 100, accounts, (10, -6, -3, -1), (100,) * 4, (1,) * 4, (0,) * 4))
    return desk, loser, shorts


@pytest.mark.spec("WFALL-02", "WFALL-03")
@pytest.mark.parametrize("policy", ["queue", *POLICIES])
def test_every_policy_closes_the_position_and_covers_the_deficit(policy: str) -> None:
    """All shorts together hold just the 10 lots, so that every policy must close them all, at 94."""
    desk, loser, shorts = three_winners(policy=policy)
    events = desk.index(90)
    taken = of(events, Deleveraged)
    assert sorted((e.winner, e.lots, e.price_ticks) for e in taken) == [
        (account, -lots, 94) for account, lots in zip(shorts, (6, 3, 1), strict=True)
    ]
    assert sum(e.transfer_atoms for e in taken) == 40 * USD
    assert desk.lots(loser) == desk.equity(loser) == 0


@pytest.mark.spec("WFALL-03", "WFALL-04")
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"policy": "pro_rata", "weights": "contracts"}, [5, 3, 2]),
        ({"policy": "pro_rata", "weights": "wealth"}, [5, 3, 2]),
        ({"policy": "min_max"}, [4, 3, 3]),
        ({"policy": "mirror_descent"}, [7, 2, 1]),
    ],
)
def test_policies_differ_where_there_is_a_choice(rules: dict[str, Any], expected: list[int]) -> None:
    """Shorts of 10, 6 and 4 against the long's 10 and another's 10; all entered at 100 with 1000 in cash.

    By lots and by profit 5, 3 and 2; equities of 1100, 1060 and 1040 take 4, 3 and 3; squares 100, 36 and 16
    of 152 take 6.58, 2.37 and 1.05.
    """
    desk = Desk(rulebook("book", "adl", adl=rules))
    loser, *shorts, other = desk.open(60, 1000, 1000, 1000, 1_000_000)
    accounts = (loser, *shorts, other)
    desk.ok(LoadPositions(0, 100, accounts, (10, -10, -6, -4, 10), (100,) * 5, (1,) * 5, (0,) * 5))
    taken = of(desk.index(90), Deleveraged)
    assert [(e.winner, -e.lots) for e in taken] == list(zip(shorts, expected, strict=True))
    assert [e.rank for e in taken] == [1, 2, 3]
    assert {e.score_ppb for e in taken} == {0}


@pytest.mark.spec("WFALL-03", "WFALL-04")
def test_second_bankrupt_account_of_a_command_meets_what_the_first_has_left() -> None:
    """Longs of 10 and 5 lots against shorts of 9 and 6: by contracts 6 and 4, then of 3 and 2 all."""
    desk = Desk(rulebook("book", "adl", adl={"policy": "pro_rata", "weights": "contracts"}))
    first, second, *shorts = desk.open(60, 30, 1000, 1000)
    accounts = (first, second, *shorts)
    desk.ok(LoadPositions(0, 100, accounts, (10, 5, -9, -6), (100,) * 4, (1,) * 4, (0,) * 4))
    taken = of(desk.index(90), Deleveraged)
    assert [(e.account, e.winner, -e.lots) for e in taken] == [
        (first, shorts[0], 6),
        (first, shorts[1], 4),
        (second, shorts[0], 3),
        (second, shorts[1], 2),
    ]
    assert desk.equity(first) == desk.equity(second) == 0


@pytest.mark.spec("WFALL-03")
def test_iteration_may_take_a_position_without_profit() -> None:
    """The only counterparty entered below the mark: no queue ranks him, dYdX's iteration meets him."""
    desk = Desk(rulebook("book", "adl", adl={"policy": "iteration"}))
    loser, other = desk.open(60, 1_000_000)
    desk.ok(LoadPositions(0, 100, (loser, other), (10, -10), (100, 80), (1, 1), (0, 0)))
    taken = of(desk.index(90), Deleveraged)
    assert [(e.winner, e.lots, e.profit_atoms) for e in taken] == [(other, -10, 10 * (80 - 94) * USD)]
    assert desk.equity(loser) == 0


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize(
    ("rules", "price", "left"),
    [
        ({"price": "previous_mark"}, 95, 10),
        ({"price": "previous_mark", "clamp": "bankruptcy"}, 94, 0),
        ({"price": "bankruptcy"}, 94, 0),
        ({"price": "bankruptcy", "bankruptcy_off_max_ppb": 50_000_000}, 94, 0),
    ],
)
def test_price_and_its_clamp(rules: dict[str, Any], price: int, left: int) -> None:
    """The mark was 95 and is 90, the bankruptcy price is 94; nobody could bear the mark, 4.4 % off."""
    desk, loser, _ = three_winners(**rules)
    desk.index(95)
    taken = of(desk.index(90), Deleveraged)
    assert {e.price_ticks for e in taken} == {price}
    assert desk.equity(loser) == left * USD


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize(("clamp", "off"), [("none", 5), ("bankruptcy", 6)])
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("lots", [1, 10])
def test_previous_mark_gives_way_to_the_bankruptcy_price_where_the_rulebook_says_so(
    clamp: str, off: int, side: int, lots: int
) -> None:
    """6 USD a lot are gone 6 off 100; the mark was 5 off and is 10 off, and the house could bear that."""
    adl_rules = {"price": "previous_mark", "clamp": clamp}
    desk = Desk(rulebook("book", "adl", "house", adl=adl_rules), index=(100,))
    loser, winner = desk.open(6 * lots, 10_000)
    desk.ok(Deposit(0, HOUSE, (10_000 * USD,)))
    buyer, seller = (loser, winner) if side > 0 else (winner, loser)
    desk.trade(buyer, seller, lots, 100)
    desk.index(100 - 5 * side)
    events = desk.index(100 - 10 * side)
    assert [e.price_ticks for e in of(events, Deleveraged)] == [100 - off * side]
    assert desk.equity(loser) == (6 - off) * lots * USD


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize(("off_max", "price"), [(40_000_000, 90), (45_000_000, 94), (0, 94)])
def test_bankruptcy_price_far_from_the_mark_gives_way_to_it(off_max: int, price: int) -> None:
    """4 of 90 is 4.44 %. At the mark the house pays the 40 that are missing."""
    desk = Desk(rulebook("book", "adl", "house", adl={"bankruptcy_off_max_ppb": off_max}), index=(100,))
    loser, short = desk.open(60, 1000)
    desk.ok(Deposit(0, HOUSE, (40 * USD,)))
    desk.trade(loser, short, 10, 100)
    events = desk.index(90)
    assert [e.price_ticks for e in of(events, Deleveraged)] == [price]
    assert desk.cash(HOUSE) == (0 if price == 90 else 40 * USD)
    assert [e.residual_atoms for e in of(events, DeficitClosed)] == [0]


@pytest.mark.spec("LIQ-08")
@pytest.mark.parametrize(
    ("allocation", "prices"), [("pro_rata_value", (92, 92)), ("pro_rata_requirement", (93, 91))]
)
def test_shortfall_of_a_cross_account_is_allocated_by_value_or_by_requirement(
    allocation: str, prices: tuple[int, int]
) -> None:
    """Two longs of 10 from 100 with 160: at 90 the account misses 40, 20 each by value.

    The first needs 1/20 of its value, the second 1/60: by requirement they answer for 30 and 10.
    """
    instruments = (perpetual("A", leverage=10), perpetual("B", leverage=30))
    desk = Desk(rulebook("book", "adl", adl={"bankruptcy_allocation": allocation}), instruments)
    loser, short = desk.open(160, 10_000)
    for n in (0, 1):
        desk.ok(LoadPositions(n, 100, (loser, short), (10, -10), (100, 100), (1, 1), (0, 0)))
    events = desk.index(90, 90)
    assert [(e.instrument, e.price_ticks) for e in of(events, Deleveraged)] == list(enumerate(prices))
    assert desk.equity(loser) == 0
