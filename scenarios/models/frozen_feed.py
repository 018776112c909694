"""F102: a lending pool whose price feed stands still while the coin falls on, on a venue in memory.

Lenders supply dollars, borrowers pledge coins. The coin falls; from a floor on the feed repeats its price,
and somebody buys coins in the market to borrow all that the pool has left. Then the feed speaks again.
Rules of those who lend, borrow and attack: agents/lending_pool.

Chosen on 2026-11-22 before the first run (ours): four lenders with 5 million USD each; four borrowers with
2.7 million coins of 1 USD each; coins count 80 %; a loan is called at 90 % of what coins count for;
interest as of two slopes, 4 % and 60 % a year around 80 %; the coin falls to .11 in twelve equal steps and
then at once to .01 while the feed stands at .107 (Venus's floor for LUNA); the attacker starts with 50,000
USD.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from zerodebt.agents import lending_pool as rules
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import Borrow, Deposit, MassQuote, Observation, Redeem, Supply, UpdateIndex
from zerodebt.exchange.events import Event, Redeemed, Rejected, WrittenDown
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS
from zerodebt.scenarios.models.small_venue import USD, SmallVenue, coin_book, of, rulebook

Feed = Literal["live", "floor", "silent"]

ONE = 10_000
"""Ticks of a dollar."""
RATIO_PPB = 800_000_000
LENDERS, EACH_USD = 4, 5_000_000
BORROWERS, PLEDGED = 4, 2_700_000
FLOOR, BOTTOM, STEPS = 0.107, 0.01, 12
OWN_USD = 50_000
ROUNDS_MAX = 20
PLENTY = 10**9


def measure(_seed: int, *, feed: Feed) -> Mapping[str, float]:
    """What lenders lost, what was lent, what they could redeem. Nothing is drawn.

    feed  live: always the market's price; floor: never below FLOOR; silent: it says nothing below FLOOR
    """
    desk = _opened()
    lenders = desk.open([EACH_USD * USD] * LENDERS)
    borrowers = desk.open([0] * BORROWERS)
    (attacker, maker) = desk.open([0, PLENTY * USD])
    for lender in lenders:
        desk.do(Supply(lender, EACH_USD * USD))
    desk.do(Deposit(1, borrowers[0], (PLEDGED,) * BORROWERS))
    _market(desk, maker, 1.0)
    _publish(desk, 1.0)
    for borrower in borrowers:
        desk.do(Borrow(borrower, rules.borrowing(PLEDGED * USD * RATIO_PPB // 10**9)))
    events: list[Event] = []
    for price in np.geomspace(1.0, FLOOR * 1.03, STEPS).tolist():
        _market(desk, maker, price)
        events += _publish(desk, price)
    _market(desk, maker, BOTTOM)
    if feed == "silent":
        desk.time_ns += 2 * HOUR_NS
    else:
        events += _publish(desk, BOTTOM if feed == "live" else FLOOR)
    taken = _attack(desk, attacker)
    terms = desk.view.lending()
    assert terms is not None
    shares, worth = desk.view.supplied(lenders[0])
    wanted = rules.wanted_withdrawal(worth, terms.owed_atoms / terms.pool_atoms)
    redeemed = 0
    if wanted:
        redeemed = sum(r.atoms for r in of(desk.ask(Redeem(lenders[0], shares * wanted // worth)), Redeemed))
    events += _publish(desk, BOTTOM)
    desk.end()
    lost = sum(event.atoms for event in of(events, WrittenDown))
    return {
        "lenders_lost_musd": lost / USD / 1e6,
        "lenders_lost_share": lost / (LENDERS * EACH_USD * USD),
        "utilisation": terms.owed_atoms / terms.pool_atoms,
        "redeemed_of_wanted": redeemed / wanted if wanted else 1.0,
        "attacker_took_musd": taken / USD / 1e6,
    }


def _opened() -> SmallVenue:
    table = rulebook(
        ("book", "lenders"),
        collateral=[{"asset": "COIN", "decimals": 0, "ratio_ppb": RATIO_PPB}],
        exchange={"trigger_ltv_ppb": 900_000_000, "price_ratio_ppb": 900_000_000},
        lending={"slope1_ppb": 40_000_000, "kink_ppb": 800_000_000, "slope2_ppb": 600_000_000},
        margin={"index_age_max_ns": HOUR_NS},
    )
    return SmallVenue(table, (coin_book("COIN/USD", PLENTY),), (Asset("COIN", 0),))


def _market(desk: SmallVenue, maker: int, price: float) -> None:
    """Where coins can be sold now; before the first index nobody can quote."""
    if desk.view.index_ticks(0) is not None:
        desk.do(MassQuote(maker, 0, ((int(price * ONE), PLENTY // 10),), ()))


def _publish(desk: SmallVenue, price: float) -> list[Event]:
    desk.time_ns += 5 * MINUTE_NS
    return list(desk.do(UpdateIndex((Observation(0, 0, int(price * ONE), desk.time_ns),))))


def _attack(desk: SmallVenue, attacker: int) -> int:
    """Buy coins in the market and borrow on them, again and again while the pool has cash; what he took."""
    own, taken = OWN_USD * USD, 0
    for _ in range(ROUNDS_MAX):
        terms, index = desk.view.lending(), desk.view.index_ticks(0)
        assert terms is not None
        assert index is not None
        plan = rules.planned_attack(terms.cash_atoms, index * 100, int(BOTTOM * USD), RATIO_PPB, own)
        if plan is None:
            break
        desk.do(Deposit(1, attacker, (plan.coins,)))
        if of(desk.ask(Borrow(attacker, plan.borrowed_atoms)), Rejected):
            break
        own += plan.gain_atoms
        taken += plan.borrowed_atoms
    return taken
