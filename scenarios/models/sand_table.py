"""S06: the anti-martingale bot over leverage x take-profit multiple x volatility, with its twins.

Multiples and returns stand on the peak net outlay unless a name says `gross`. Names end in the grid's point:
`over_46_L5_m50_sd60` is the share of paths at leverage 5, multiple 50, volatility 60 % that gain 46 times.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from zerodebt.agents.anti_martingale import DAYS, Bot, Ledgers, bleed_days, lump_sum, play, signal
from zerodebt.agents.wealth import Floats

_FAMOUS = 46.0
_WEALTH = 100
_DAYS_MAX = 10_000


class Point(NamedTuple):
    """A point of the grid."""

    leverage: int
    take_profit: int
    sd: float

    @property
    def name(self) -> str:
        return f"L{self.leverage}_m{self.take_profit}_sd{100 * self.sd:.0f}"


def measure(
    seed: int,
    *,
    leverages: Sequence[int],
    take_profits: Sequence[int],
    sds: Sequence[float],
    log_drift: float,
    has_edge: bool,
    owes: bool,
    fee: float,
    fee_on_notional: bool,
    paths: int,
) -> Mapping[str, float]:
    """Without an edge the price gains nothing on average; `owes` is a venue with recourse."""
    figures: dict[str, float] = {}
    points: dict[Point, dict[str, float]] = {}
    ledgers: list[Ledgers] = []
    base = Bot(5, 5, fee=fee, fee_on_notional=fee_on_notional, owes=owes)
    for sd in sds:
        drift = log_drift if has_edge else -(sd**2) / 2
        returns = signal(np.random.default_rng([seed, 6]), paths, sd, drift)
        figures[f"lump_sum_sd{100 * sd:.0f}"] = float(np.median(lump_sum(returns)))
        for leverage in leverages:
            for take_profit in take_profits:
                book = play(returns, base._replace(leverage=leverage, take_profit=take_profit))
                points[Point(leverage, take_profit, sd)] = _figures(book)
                ledgers.append(book)
        if sd == max(sds):
            figures |= _twins(returns, base)
    for point, of_point in points.items():
        figures |= {f"{key}_{point.name}": value for key, value in of_point.items()}
    return figures | _over_grid(points) | _worst(ledgers) | _bleed()


def _over_grid(points: Mapping[Point, Mapping[str, float]]) -> dict[str, float]:
    """Extremes over the points that the rows name."""
    long_shots = [f for p, f in points.items() if p.take_profit == 50 and p.sd == 0.6 and p.leverage >= 5]
    to_twelve = [f for p, f in points.items() if p.leverage <= 12]
    modest = [f for p, f in points.items() if p.leverage <= 12 and p.take_profit <= 10]
    return {
        "over_46_max_to_m10": max(f["over_46"] for f in modest),
        "over_46_min_m50_sd60": min(f["over_46"] for f in long_shots),
        "over_46_max_m50_sd60": max(f["over_46"] for f in long_shots),
        "loses_min_m50_sd60": min(f["loses"] for f in long_shots),
        "loses_max_m50_sd60": max(f["loses"] for f in long_shots),
        "return_mean_low_max": max(f["return_mean_low"] for f in to_twelve),
    }


def _figures(book: Ledgers) -> dict[str, float]:
    returns, took = book.cash_flow_return, book.recovered_on >= 0
    days_after = np.where(took, DAYS - book.recovered_on, 0).sum()
    error = np.sqrt(returns.var() / len(returns))
    return {
        "recovered": took.mean(),
        "recovered_day": np.median(book.recovered_on[took]) if took.any() else np.nan,
        "self_funded": book.self_funded_days.sum() / days_after if days_after else np.nan,
        "over_46": (returns >= _FAMOUS).mean(),
        "over_46_gross": (book.gain / book.inflow >= _FAMOUS).mean(),
        "loses": (book.gain < 0).mean(),
        "return_median": np.median(returns),
        "return_mean": returns.mean(),
        "return_mean_low": returns.mean() - 1.96 * error,
        "gain_mean": book.gain.mean(),
        "forgiven": book.forgiven.mean(),
    }


def _worst(ledgers: Sequence[Ledgers]) -> dict[str, float]:
    """What holds in every path of the grid."""
    off = [np.abs(b.equity - (b.inflow - b.outflow + b.profit)) / (b.inflow + b.outflow) for b in ledgers]
    return {
        "conservation_error": max(error.max() for error in off),
        "least_left_at_profit": min(b.least_left.min() for b in ledgers),
        "worst_return": min(b.cash_flow_return.min() for b in ledgers),
    }


def _twins(returns: Floats, base: Bot) -> dict[str, float]:
    """The bot at leverage 5 and multiple 5 beside the same with one rule changed; ruin with a purse."""
    twins = {"martingale": base._replace(doublings=6), "fixed_fraction": base._replace(fraction=0.2)}
    figures: dict[str, float] = {}
    for name, bot in twins.items():
        figures |= {f"{key}_{name}": value for key, value in _figures(play(returns, bot)).items()}
    figures["ruined_with_purse"] = play(returns, base._replace(purse=_WEALTH)).is_ruined.mean()
    return figures


def _bleed() -> dict[str, float]:
    """Ruin of a steady loss: days against wealth / (loss - income), and how they scale with the loss."""
    expected = {(loss, income): _WEALTH / (loss - income) for loss, income in ((1, 0), (2, 1), (5, 1))}
    errors = [abs(_days(*rates) - days) for rates, days in expected.items()]
    scaled = [_days(loss, 0, 10_000) * loss / 10_000 - 1 for loss in (1, 10, 100, 1000)]
    return {
        "bleed_error_days": max(errors),
        "bleed_with_income_ends": float(bleed_days(_WEALTH, 1, 1, _DAYS_MAX) is not None),
        "bleed_scaling_error": max(map(abs, scaled)),
    }


def _days(loss: int, income: int, wealth: int = _WEALTH) -> float:
    days = bleed_days(wealth, loss, income, _DAYS_MAX)
    return np.inf if days is None else days
