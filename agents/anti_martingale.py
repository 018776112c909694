"""C9: the anti-martingale bot and its twins, as arrays over paths, each with three ledgers.

A venture account takes an inflow every day, bets its whole equity at a leverage, and is emptied to the
external purse whenever it is worth a multiple of what it has cost. It can reach zero; what a bet loses beyond
that is not owed (rows F16-F25, F28). The ledgers are gross inflow, peak net outlay and total wealth: a return
says on which of them it stands. Money is in units of the daily inflow, in floats: there is no venue here.

What the design leaves open, chosen on 2026-11-22 before the first run (ours):
    year            365 daily bets; the inflow comes before the bet, profit is taken after it
    price           log return = drift / 365 + sd / sqrt(365) * t4 / sqrt(2), with deviation sd a year
    zero edge       log drift -sd^2 / 2, at which the price itself gains nothing on average
    fee             5 bp of the stake of each bet, once (first read as of the notional: docs/studies/S06.md)
    martingale      after a losing day it puts in twice as much as the day before, at most 64 times; else once
    fixed fraction  a fifth of the equity is bet, the rest lies still
    bleed           loses the same amount every day, for certain
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zerodebt.agents.wealth import Floats

Flags = NDArray[np.bool_]

DAYS = 365
_DEGREES = 4


class Bot(NamedTuple):
    """Rules of one bot.

    take_profit  the account is emptied when it is worth this multiple of max(net outlay, one inflow)
    fraction     of the equity that each bet stakes
    doublings    largest number of doublings of the inflow after losing days; 0: it never tops up more
    purse        what there is outside to put in, in inflows; without it the inflow ends
    fee          of the stake, or of stake times leverage where `fee_on_notional`
    owes         a bet that loses more than the account is owed, on a venue with recourse
    """

    leverage: float
    take_profit: float
    fraction: float = 1.0
    doublings: int = 0
    purse: float = np.inf
    fee: float = 0.0005
    fee_on_notional: bool = False
    owes: bool = False


class Ledgers(NamedTuple):
    """One value a path, after the last day.

    inflow, outflow   gross sums put in and taken out
    peak_outlay       largest inflow - outflow at any time
    equity            in the venture account
    profit            sum of what the bets brought
    forgiven          what bets lost beyond the account
    recovered_on      first day on which profit was taken, -1 when never
    least_left        smallest outflow - inflow just after profit was taken; inf when never
    self_funded_days  days with net outlay <= 0 from the first taking of profit on
    is_ruined         the purse could not pay an inflow while the account held less than one
    """

    inflow: Floats
    outflow: Floats
    peak_outlay: Floats
    equity: Floats
    profit: Floats
    forgiven: Floats
    recovered_on: NDArray[np.int64]
    least_left: Floats
    self_funded_days: NDArray[np.int64]
    is_ruined: Flags

    @property
    def gain(self) -> Floats:
        """Total wealth less what it was before."""
        return self.equity + self.outflow - self.inflow

    @property
    def cash_flow_return(self) -> Floats:
        """Gain over peak net outlay."""
        return self.gain / self.peak_outlay


def signal(rng: np.random.Generator, paths: int, sd: float, log_drift: float, days: int = DAYS) -> Floats:
    """Simple daily returns (days, paths) of a price; `sd` and `log_drift` of a year."""
    shocks = rng.standard_t(_DEGREES, (days, paths)) / np.sqrt(_DEGREES / (_DEGREES - 2))
    returns: Floats = np.expm1(log_drift / DAYS + sd / np.sqrt(DAYS) * shocks)
    return returns


def play(returns: Floats, bot: Bot) -> Ledgers:
    """Every path by the bot's rules; `returns` are those of the price, (days, paths)."""
    days, paths = returns.shape
    inflow, outflow, peak, equity, profit, forgiven = (np.zeros(paths) for _ in range(6))
    recovered_on = np.full(paths, -1)
    least_left = np.full(paths, np.inf)
    self_funded = np.zeros(paths, np.int64)
    is_ruined = np.zeros(paths, bool)
    losses = np.zeros(paths, np.int64)
    fee = bot.fee * (bot.leverage if bot.fee_on_notional else 1)
    for day in range(days):
        top_up = np.exp2(np.minimum(losses, bot.doublings))
        can_pay = bot.purse + outflow - inflow >= top_up
        is_ruined |= ~can_pay & (equity < 1)
        top_up *= can_pay
        inflow += top_up
        equity += top_up
        peak = np.maximum(peak, inflow - outflow)

        change = np.maximum(equity, 0) * bot.fraction * (bot.leverage * returns[day] - fee)
        left = equity + change
        lost = np.zeros(paths) if bot.owes else np.maximum(0.0, -left)
        forgiven += lost
        profit += change + lost
        equity = left + lost
        losses = np.where(returns[day] < 0, losses + 1, 0)

        takes = equity >= bot.take_profit * np.maximum(inflow - outflow, 1.0)
        outflow += equity * takes
        equity *= ~takes
        recovered_on[takes & (recovered_on < 0)] = day
        least_left = np.where(takes, np.minimum(least_left, outflow - inflow), least_left)
        self_funded += (recovered_on >= 0) & (inflow - outflow <= 0)
    return Ledgers(
        inflow, outflow, peak, equity, profit, forgiven, recovered_on, least_left, self_funded, is_ruined
    )


def lump_sum(returns: Floats) -> Floats:
    """Return on what was put in once, without leverage, and left alone."""
    grown: Floats = np.prod(1 + returns, axis=0) - 1
    return grown


def bleed_days(wealth: int, loss: int, income: int, days_max: int) -> int | None:
    """Day on which wealth is gone that loses and earns these whole amounts daily; None: not by `days_max`."""
    for day in range(1, days_max + 1):
        wealth += income - loss
        if wealth <= 0:
            return day
    return None
