"""F12: what the zero-debt guarantee rests on, and which of it breaks at a venue that closes for the night.

One long of a small venue that promises zero debt with its fund alone meets a gap between two marks. A set
of parameters is its leverage, the gap, the fund and whether forced orders find a bid. The conditions are
the clauses of the audit, and what stands behind them here.
"""

from collections.abc import Mapping, Sequence

from zerodebt.exchange.audit import Report
from zerodebt.exchange.events import INSURANCE
from zerodebt.scenarios.models.small_venue import START_TICKS, TICK_ATOMS, SmallVenue, contract, rulebook

CONDITIONS = {
    "a": "nobody owes at a rest point",
    "b": "every position has its other side",
    "c": "no absorber is below zero",
    "d": "what arose was paid",
    "e": "value is conserved",
    "f": "only those whom the rulebook names pay",
    "g": "what is owed to customers is there",
}
_LOTS = 100


def play(waterfall: Sequence[str], *, leverage: int, gap: float, fund: float, has_bid: bool) -> Report:
    """One gap down; the fund as a share of the position's value."""
    desk = SmallVenue(rulebook(waterfall), (contract(leverage=leverage),))
    value = _LOTS * START_TICKS * TICK_ATOMS
    long, short = desk.open([-(-value // leverage), value])
    (street,) = desk.open([value])
    desk.endow(INSURANCE, int(fund * value))
    desk.load({long: _LOTS, short: -_LOTS}, leverage)
    desk.index(START_TICKS)
    after = int(START_TICKS * (1 - gap))
    if has_bid:
        desk.bid(street, [(after, _LOTS)])
    desk.index(after)
    return desk.end(may_break=True)


def broken(report: Report) -> list[str]:
    """Letters of the conditions that did not hold."""
    return [clause.letter for clause in report.clauses if clause.letter in CONDITIONS and not clause.holds]


def measure(
    _seed: int, *, waterfall: Sequence[str], sets: Sequence[Mapping[str, float]]
) -> Mapping[str, float]:
    """How many sets break a condition, and whether each that does is reported. Nothing is drawn."""
    figures: dict[str, float] = {"conditions": len(CONDITIONS)}
    breaches = unreported = 0
    for n, chosen in enumerate(sets):
        report = play(
            waterfall,
            leverage=int(chosen["leverage"]),
            gap=chosen["gap"],
            fund=chosen["fund"],
            has_bid=bool(chosen["has_bid"]),
        )
        letters = broken(report)
        breaches += bool(letters)
        unreported += bool(letters) and not report.verdict.startswith("RESIDUAL")
        figures[f"set{n}_residual_usd"] = sum(report.residual_arose_atoms.values()) / 1e6
        figures |= {f"set{n}_breaks_{letter}": 1.0 for letter in letters}
    return figures | {"sets_broken": breaches, "sets_unreported": unreported}
