"""F07, F08, S10: how much liquidation capacity and how large a fund keep the winners from paying.

Longs of a small venue fall together through one shock that comes in steps. The street bids a number of lots
that follow the index at each step: that is the venue's capacity to liquidate. What forced sales bring too
little is the fund's to pay; when it is empty the winners are deleveraged.

Chosen on 2026-11-22 before the first run (ours): twenty longs of 20 lots, leverage lognormal(ln 8, .8)
between 2 and 40 as of C1; ten shorts at leverage 2; four equal log steps; bids in eight equal parts 0.5 %
apart, new at each step; the log fall is 5 % times a Pareto draw of exponent 3 (or 1.5) from 1 on, bounded
where the price is a thousandth; forced orders go no further than the bankruptcy price (a first try without
that limit left debts without positions, for which nobody can be deleveraged).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from zerodebt.exchange.events import INSURANCE, DeficitOpened, Deleveraged
from zerodebt.exchange.units import PPB
from zerodebt.scenarios.models.small_venue import START_TICKS, TICK_ATOMS, SmallVenue, contract, of, rulebook

_LONGS, _SHORTS, _LOTS, _STEPS, _LEVELS = 20, 10, 20, 4, 8
_INTEREST_LOTS = _LONGS * _LOTS
INTEREST_ATOMS = _INTEREST_LOTS * START_TICKS * TICK_ATOMS
_LEVERAGE_MAX = 40
_FALL_MAX = float(np.log(1000))
_LEAST_FALL = 0.05
_RICH = 10.0


class Shock(NamedTuple):
    """What one shock left, in atoms.

    bad_debt    sum of what was below zero
    fund_loss   of the fund, the positions that it holds at the mark
    by_winners  what deleveraging took from them
    """

    bad_debt: int
    fund_loss: int
    by_winners: int


def leverages(rng: np.random.Generator) -> list[int]:
    """Of the longs."""
    return [int(x) for x in np.clip(np.exp(rng.normal(np.log(8), 0.8, _LONGS)), 2, _LEVERAGE_MAX)]


def falls(rng: np.random.Generator, count: int, exponent: float) -> list[float]:
    """Log falls."""
    drawn = _LEAST_FALL * rng.uniform(size=count) ** (-1 / exponent)
    return [float(fall) for fall in np.minimum(drawn, _FALL_MAX)]


def play(levers: Sequence[int], fall: float, *, capacity: float, fund: float, fee: float = 0.0) -> Shock:
    """One shock.

    capacity, fund  as shares of open interest: lots bid at each step, and money
    fee             of a forced fill's value, to the fund
    """
    fees = {"liquidation_ppb": int(fee * PPB)}
    limit = {"price_limit": "bankruptcy"}
    rules = rulebook(("book", "insurance", "adl"), fees=fees, liquidation=limit)
    desk = SmallVenue(rules, (contract(leverage=_LEVERAGE_MAX),))
    value = _LOTS * START_TICKS * TICK_ATOMS
    longs = desk.open([-(-value // lever) for lever in levers])
    shorts = desk.open([INTEREST_ATOMS // _SHORTS // 2] * _SHORTS)
    (street,) = desk.open([10 * INTEREST_ATOMS])
    endowed = int(fund * INTEREST_ATOMS)
    desk.endow(INSURANCE, endowed)
    desk.load(dict.fromkeys(longs, _LOTS) | dict.fromkeys(shorts, -_INTEREST_LOTS // _SHORTS), _LEVERAGE_MAX)
    desk.index(START_TICKS)
    lots = int(capacity * _INTEREST_LOTS)
    parts = [lots // _LEVELS + (k < lots % _LEVELS) for k in range(_LEVELS)]
    for step in range(1, _STEPS + 1):
        price = max(1, int(START_TICKS * np.exp(-fall * step / _STEPS)))
        desk.bid(street, [(price * (1000 - 5 * k) // 1000, part) for k, part in enumerate(parts)])
        desk.index(price)
    desk.end()
    return Shock(
        sum(deficit.atoms for deficit in of(desk.events, DeficitOpened)),
        endowed - desk.equities([INSURANCE])[0],
        sum(taken.transfer_atoms for taken in of(desk.events, Deleveraged)),
    )


def measure(
    seed: int,
    *,
    paths: int,
    exponent: float,
    capacity: float,
    capacities: int,
    funds: Sequence[float],
    has_fund: bool,
) -> Mapping[str, float]:
    """Fund that `paths` shocks need, and what sweeps of capacity and fund over a tenth of them make of it.

    capacities  number of equal steps up to one half of open interest; the least is its tenth percentile
    funds       shares of open interest, ascending
    has_fund    False: the shocks that the fund of 99.9 % is tried on meet none
    """
    rng = np.random.default_rng([seed, 10])
    shocks = [(leverages(rng), fall) for fall in falls(rng, paths, exponent)]
    rich = [play(levers, fall, capacity=capacity, fund=_RICH) for levers, fall in shocks]
    needs = np.array([shock.fund_loss for shock in rich]) / INTEREST_ATOMS
    figures = {
        f"fund_q{q:g}": float(np.quantile(needs, q / 100, method="higher")) for q in (50, 90, 99, 99.9)
    }
    few = shocks[: paths // 10]
    if capacities:
        grid = [0.5 * (n + 1) / capacities for n in range(capacities)]
        swept = [[play(*shock, capacity=c, fund=0) for shock in few] for c in grid]
        debts = [sum(shock.bad_debt for shock in at) for at in swept]
        figures["capacity_bad_debt_rank_correlation"] = float(spearmanr(grid, debts).statistic)
        figures["winners_pay_at_least_capacity"] = sum(s.by_winners for s in swept[0]) / INTEREST_ATOMS
    if funds:
        figures |= _over_funds(few, capacity, funds)
        worst = np.argsort(needs)[-10:]
        enough = has_fund * (figures["fund_q99.9"] + 1 / INTEREST_ATOMS)
        figures["winners_pay_at_large_fund"] = sum(
            play(*shocks[n], capacity=capacity, fund=enough).by_winners
            for n in worst
            if needs[n] <= figures["fund_q99.9"]
        )
    return figures


def _over_funds(
    shocks: Sequence[tuple[list[int], float]], capacity: float, funds: Sequence[float]
) -> dict[str, float]:
    """Share of the shocks in which winners pay, by the fund; a forced fill pays 0.5 % to it."""
    hit = [
        float(np.mean([play(*s, capacity=capacity, fund=fund, fee=0.005).by_winners > 0 for s in shocks]))
        for fund in funds
    ]
    return {
        "adl_rise_with_fund": max(after - before for before, after in pairwise(hit)),
        "adl_at_smallest_fund": hit[0],
        "adl_at_largest_fund": hit[-1],
    }
