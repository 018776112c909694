"""S15: one, two or three members of a clearing house default, through the venue's auctions and fund.

Ten members have sold a future and ten have bought it. The fund is what the venue says covers the two largest
losses of a stress, paid in pro rata to positions. A move comes, the settlement calls, and the largest
sellers, who have half of their margin beside it, cannot pay; their portfolios are auctioned at the mark.
Margin and who fails: agents/clearing_members.

Chosen on 2026-11-22 before the first run (ours): margin of 4 on a price of 100; the stress is three
margins; the house brings 7 parts for 166 of the fund, as Nasdaq Clearing did; moves of the draws are Pareto
with exponent 3 from one and a half margins on; nobody is assessed and no gains are cut.
"""

from collections.abc import Mapping

import numpy as np

from zerodebt.agents import clearing_members as rules
from zerodebt.exchange.commands import AuctionBid, Contribute, HoldAuction, SettleVariation, Tick
from zerodebt.exchange.events import HOUSE, DeficitClosed, DeficitOpened
from zerodebt.exchange.units import HOUR_NS, split_exact
from zerodebt.scenarios.models.margin_cycle import peak_over_trough
from zerodebt.scenarios.models.small_venue import START_TICKS, TICK_ATOMS, SmallVenue, contract, of, rulebook

MEMBERS = 10
MARGIN_TICKS = 400
STRESS_TICKS = 3 * MARGIN_TICKS
LOTS_OF_SMALLEST = 100
HOUSE_PARTS, FUND_PARTS = 7, 166
MOVE_TAIL = 3.0
PLENTY = 10**15


def measure(seed: int, *, draws: int) -> Mapping[str, float]:
    """What stays unpaid in the stress and in `draws` moves, over the fund; and the cycle of margin."""
    rng = np.random.default_rng([seed, 15])
    moves = 1.5 * MARGIN_TICKS * (1 - rng.random(draws)) ** (-1 / MOVE_TAIL)
    figures = {}
    for count in (1, 2, 3):
        fund, lost, left = played(count, STRESS_TICKS)
        figures[f"left_{count}"] = left / fund
        figures[f"lost_{count}"] = lost / fund
        if count == 1:
            continue
        drawn = [played(count, int(move)) for move in moves]
        figures[f"breaches_{count}"] = float(sum(left > 0 for _, _, left in drawn))
        within = [left for move, (_, _, left) in zip(moves, drawn, strict=True) if move <= STRESS_TICKS]
        figures[f"breaches_{count}_within_stress"] = float(sum(left > 0 for left in within))
    return figures | {"margin_peak_over_trough": peak_over_trough(rng)}


def played(count: int, move_ticks: int) -> tuple[int, int, int]:
    """(fund, lost beyond margin, unpaid) in atoms when the `count` largest sellers cannot pay."""
    lots = [int(LOTS_OF_SMALLEST * size) for size in rules.sizes(MEMBERS)]
    margins = np.array(lots, float) * MARGIN_TICKS * TICK_ATOMS
    desk = _house()
    weak = [int(margin * (1 + rules.LIQUID_OVER_MARGIN)) for margin in margins[:count]]
    sellers = desk.open(weak + [PLENTY] * (MEMBERS - count))
    buyers = desk.open([PLENTY] * MEMBERS)
    sold = dict(zip(sellers, (-n for n in lots), strict=True))
    desk.load(sold | dict(zip(buyers, lots, strict=True)), 1000)
    desk.index(START_TICKS)
    fund = desk.view.default_fund([STRESS_TICKS])[1]
    desk.endow(HOUSE, fund * HOUSE_PARTS // FUND_PARTS)
    for seller, buyer, atoms in zip(sellers, buyers, split_exact(fund, lots), strict=True):
        for account, part in zip((seller, buyer), split_exact(atoms, (1, 1)), strict=True):
            desk.endow(account, part)
            desk.do(Contribute(account, part))
    desk.index(START_TICKS + move_ticks)
    desk.do(SettleVariation(0, START_TICKS + move_ticks))
    desk.do(Tick(), later_ns=HOUR_NS)
    fails = rules.calls(np.array(lots, float) * move_ticks * TICK_ATOMS, margins).fails[:count]
    for seller, has_failed in zip(sellers[:count], fails, strict=True):
        if has_failed:
            bid = AuctionBid(buyers[0], (START_TICKS + move_ticks,))
            desk.do(HoldAuction(seller, (0,), (bid,)))
    desk.end()
    lost = sum(deficit.atoms for deficit in of(desk.events, DeficitOpened))
    return fund, lost, sum(closed.residual_atoms for closed in of(desk.events, DeficitClosed))


def _house() -> SmallVenue:
    table = rulebook(
        ("book", "default_fund"),
        promise="none",
        settlement={"call_to": "maintenance", "call_due_ns": HOUR_NS},
        default_fund={"close_out": "auction", "house_capital_atoms": PLENTY},
    )
    margin = MARGIN_TICKS * TICK_ATOMS
    future = contract(leverage=1000, margin_floor_atoms_per_lot=margin, initial_atoms_per_lot=margin)
    return SmallVenue(table, (future,))
