"""F01-F04: random crashes on a small venue, and whose money each of them took.

Owners have two accounts: a leveraged long and savings. Owners of another kind are short at low leverage.
The book bids a few lots below the index and follows it. With the stage `recourse` a venue knows its
clients: what one owes it takes from his savings, as far as they reach. After the last step the contract
settles at its index, so that no debt hides in an open position.

Chosen on 2026-11-22 before the first run (ours): eight longs of 10 to 80 lots at leverage 5 to 40, savings
of a third of each margin, four shorts at leverage 3, bids of 1 % of open interest every 1 % down to -8 % of
the index, vault and fund of 2 % of open interest each, and a house that can pay everything where it is in
the waterfall; six steps of t3 log returns with a standard deviation of 5 % and a mean of -3 %.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import structs

from zerodebt.exchange.audit import Report
from zerodebt.exchange.commands import SetBackstop, SettleInstrument, Withdraw
from zerodebt.exchange.events import (
    HOUSE,
    INSURANCE,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    ReceivableBooked,
    StageArmed,
    StagePaid,
)
from zerodebt.exchange.rules import OrderRules, VenueRules, profile_table, venue_rules
from zerodebt.scenarios.models import PROMISE_BROKEN
from zerodebt.scenarios.models.small_venue import START_TICKS, TICK_ATOMS, SmallVenue, contract, of, rulebook

_STEPS = 6
_LEVERAGE_MAX = 40
_SAVINGS_SHARE = 3
STAGES = ("backstop", "insurance", "adl", "socialise", "house", "recourse")


class Crash(NamedTuple):
    """One crash on one rulebook; money in atoms.

    least_equity  smallest equity of any customer account at any rest point
    wealth        by account at the end, less what it owes; without the savings
    others_change of the savings, by the leveraged account of their owner
    deficits, paid  sums that arose and that named payers brought, overcharge taken off
    overcharge    by account: what prices in whole ticks took beyond a deficit, and left there
    """

    least_equity: int
    wealth: Mapping[int, int]
    owed: Mapping[int, int]
    others_change: Mapping[int, int]
    deficits: int
    paid: int
    paid_by_stage: Mapping[str, int]
    overcharge: Mapping[int, int]
    stages: tuple[StageArmed, ...]
    report: Report
    broke_promise: bool


def path_ticks(rng: np.random.Generator) -> list[int]:
    """Index prices of one crash."""
    moves = -0.03 + 0.05 * rng.standard_t(3, _STEPS) / np.sqrt(3)
    prices = START_TICKS * np.exp(np.cumsum(moves))
    return [max(1, int(price)) for price in prices]


def play(rng: np.random.Generator, rules: VenueRules) -> Crash:
    """One crash; equal streams give equal owners and prices under every rulebook."""
    desk = SmallVenue(rules, (contract(leverage=_LEVERAGE_MAX),))
    lots = [int(n) for n in rng.integers(10, 81, 8)]
    margins = [_margin(n, int(lev)) for n, lev in zip(lots, rng.choice((5, 10, 20, 40), 8), strict=True)]
    interest = sum(lots)
    shares = [interest // 4 + (k < interest % 4) for k in range(4)]
    savings_atoms = [margin // _SAVINGS_SHARE for margin in margins]
    longs, savings = desk.open(margins), desk.open(savings_atoms)
    shorts = desk.open([_margin(n, 3) for n in shares])
    (street,) = desk.open([10 * _margin(interest, 1)])
    two_percent = _margin(interest, 50)
    if "backstop" in rules.waterfall:
        (vault,) = desk.open([two_percent], "vault")
        desk.do(SetBackstop(vault, (0,)))
    if "insurance" in rules.waterfall:
        desk.endow(INSURANCE, two_percent)
    if "house" in rules.waterfall:
        desk.endow(HOUSE, 10 * _margin(interest, 1))
    desk.load(
        dict(zip(longs, lots, strict=True)) | {a: -n for a, n in zip(shorts, shares, strict=True)},
        _LEVERAGE_MAX,
    )
    customers = [*longs, *savings, *shorts, street]
    desk.index(START_TICKS)
    least = min(desk.equities(customers))
    for price in path_ticks(rng):
        desk.bid(street, [(price * (100 - k) // 100, max(1, interest // 100)) for k in range(1, 9)])
        desk.index(price)
        least = min(least, *desk.equities(customers))
    desk.ask(SettleInstrument(0))  # refused where no position is left
    least = min(least, *desk.equities(customers))
    parties = [*longs, *shorts, street]
    owed = dict.fromkeys(parties, 0)
    for booked in of(desk.events, ReceivableBooked):
        owed[booked.account] += booked.atoms
    for account, other in zip(longs, savings, strict=True):
        most = min(owed[account], desk.view.withdrawable_atoms(other))
        if most:
            desk.do(Withdraw(other, 0, most))
    wealth = {a: atoms - owed[a] for a, atoms in zip(parties, desk.equities(parties), strict=True)}
    change = [now - was for now, was in zip(desk.equities(savings), savings_atoms, strict=True)]
    return _crash(desk, least, wealth, owed, dict(zip(longs, change, strict=True)))


def _margin(lots: int, leverage: int) -> int:
    """What these lots are worth at the start over a leverage, rounded up."""
    return -(-lots * START_TICKS * TICK_ATOMS // leverage)


def _crash(
    desk: SmallVenue,
    least: int,
    wealth: Mapping[int, int],
    owed: Mapping[int, int],
    change: Mapping[int, int],
) -> Crash:
    report = desk.end(may_break=True)
    by_stage = dict.fromkeys(STAGES, 0)
    for paid in of(desk.events, StagePaid):
        by_stage[paid.stage] += paid.atoms if paid.deficit_id else 0
    by_stage["adl"] += sum(d.transfer_atoms for d in of(desk.events, Deleveraged) if d.deficit_id)
    opened = {deficit.deficit_id: deficit for deficit in of(desk.events, DeficitOpened)}
    overcharge: dict[int, int] = {}
    for closed in of(desk.events, DeficitClosed):
        account = opened[closed.deficit_id].account
        overcharge[account] = overcharge.get(account, 0) + closed.overcharge_atoms
    return Crash(
        least,
        wealth,
        owed,
        change,
        sum(deficit.atoms for deficit in opened.values()),
        sum(by_stage.values()) - sum(overcharge.values()),
        by_stage,
        overcharge,
        tuple(of(desk.events, StageArmed)),
        report,
        desk.broke_promise(report),
    )


def measure(
    seed: int,
    *,
    paths: int,
    waterfall: Sequence[str],
    price_limit: str,
    profiles: Sequence[str],
    has_twin: bool,
) -> Mapping[str, float]:
    """Over `paths` crashes on a rulebook with this waterfall, or on each of these shipped rulebooks.

    price_limit  how far a forced order may go, see LiquidationRules
    has_twin     play each crash also where recourse is the only stage after the book
    """
    limited = {"price_limit": price_limit}
    books = [shipped(name) for name in profiles] or [rulebook(waterfall, liquidation=limited)]
    crashes = [play(np.random.default_rng([seed, n]), rules) for rules in books for n in range(paths)]
    blown = [(c, k) for c in crashes for k in c.others_change if c.wealth[k] <= 0]
    armed = [stage for crash in crashes for stage in crash.stages]
    figures = {
        "least_equity_atoms": min(c.least_equity for c in crashes),
        "unpaid_atoms": max(abs(c.deficits - c.paid) for c in crashes),
        "crashes_with_deficit": sum(c.deficits > 0 for c in crashes),
        "blow_ups": len(blown),
        "others_touched": sum(c.others_change[k] != 0 for c, k in blown),
        "owed_atoms": sum(sum(c.owed.values()) for c in crashes),
        "residuals": sum(c.report.verdict == "RESIDUAL" for c in crashes),
        PROMISE_BROKEN: sum(c.broke_promise for c in crashes),
        "stages_armed": len(armed),
        "stages_without_reason": sum(not stage.because for stage in armed),
    } | {f"{stage}_usd": sum(c.paid_by_stage[stage] for c in crashes) / 1e6 for stage in STAGES}
    if has_twin:
        recourse = rulebook(("book", "recourse"))
        twins = [play(np.random.default_rng([seed, n]), recourse) for n in range(paths)]
        figures |= _beside(crashes, twins)
    return figures


def _beside(crashes: Sequence[Crash], twins: Sequence[Crash]) -> dict[str, float]:
    """Whoever owes under recourse: what he has here less what he has there, against what he owes."""
    gap = owed = overcharge = 0
    for crash, twin in zip(crashes, twins, strict=True):
        for account, atoms in twin.owed.items():
            if atoms:
                gap += crash.wealth[account] - twin.wealth[account]
                owed += atoms
                overcharge += crash.overcharge.get(account, 0)
    return {
        "twin_owed_atoms": owed,
        "wealth_gap_less_owed_atoms": gap - owed,
        "wealth_gap_unexplained_atoms": gap - owed - overcharge,
    }


def shipped(name: str) -> VenueRules:
    """A shipped rulebook on the small market, without its collateral and its limits on orders."""
    rules = venue_rules(profile_table(name))
    return structs.replace(rules, settle_asset="USD", collateral=(), orders=OrderRules())
