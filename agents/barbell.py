"""The barbell investor: a core in a money-market fund beside a small leveraged account (C8).

Many paths at once as arrays; money in floats of the core's currency, days as steps. Implements the rules of
F30 to F33 (four ways to hold the two), F35 and F104 (buckets), F36, F37, F40, F41 (ruin lines, latch,
lateness, assumed drawdown), F38 (losing streaks), F39 (environment), F49 and F105 (yield that is paid out,
tax), F50 (who chases yield), F51, F103 (breaches) and the review of F58.

A day: the rules look at the last close and say what share of full leverage is allowed; the lever account
moves by leverage * return, never below zero; the core earns; then the wallet decides whether core goes to
the lever.

Chosen by us, 2026-11-22, before the first run of a study
| what | value | why |
|---|---|---|
| lines | looked at once a day, at the close | "daily steps"; the first loss beyond a line is borne in full |
| below 70 | half of the leverage | the design says only "shrink" |
| five losses in a row | half of the leverage, until a gain | the design says only "reduce" |
| start again | at 70, where shrinking began; never after a streak | the design says only "recovery" |
| shared wallet | below 50 the core refills the lever to 100 | 50 is where the rule would stop; see below |
| h0 of a breach (level 1) | 0.002 a day, times exp(6 dd) | left open in the design |
| dd of a breach | fall of core and lever together from their highest | stress is about all one has (F103) |
| breach | happens only on days when a shared wallet would refill | there is no other wish to touch the core |
| loan of level 3 | up to half of the core; in the core's currency, without interest | C8's limit; yen: F33 |
| positions | held five days on average | F39: positions end, new ones are not opened |

"Top-up from core" leaves open when. Three readings were tried (below 100, 50, 1) with the reference's
figures in sight, and the second was taken: claims that rest on it are `fitted` (docs/studies/S04.md).
"""

from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from zerodebt.agents.wealth import Floats

Flags = NDArray[np.bool_]

Wallet = Literal["shared", "level_1", "level_2", "level_3"]
"""One wallet; apart in the mind only; apart in accounts; apart, and the core is pledged instead of sold."""

BREACH_STEEPNESS = 6.0


class Plan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an investor sets out to do.

    core, lever           money at the start; `lever` is also what a refill restores
    leverage              exposure over the lever account's balance
    refill_below          balance at which a wallet that may takes core for the lever
    shrink_below, stop_below   ruin lines; 0 and 0 switch them off
    restart_from          balance that counts as recovery and opens the latch
    has_latch             without it a stop lasts a day
    streak_shrink, streak_stop   losing days in a row; 0 switches them off
    obeys_flag            no new positions while the environment is in shock
    delay_days_mean       lateness of the discretionary twin's stop, exponential in whole days (geometric);
                          0 for the automated investor
    payout_share          of the core's yield, paid to the lever account instead of reinvested
    tax                   on the core's yield, taken as it is earned
    breach_rate           a day, of level 1, without any drawdown
    loan_to_value_max     of level 3
    """

    core: float = 900.0
    lever: float = 100.0
    leverage: float = 5.0
    wallet: Wallet = "level_2"
    refill_below: float = 50.0
    shrink_below: float = 0.0
    stop_below: float = 0.0
    restart_from: float = 70.0
    has_latch: bool = True
    streak_shrink: int = 0
    streak_stop: int = 0
    obeys_flag: bool = False
    holding_days: float = 5.0
    delay_days_mean: float = 0.0
    payout_share: float = 0.0
    tax: float = 0.0
    breach_rate: float = 0.002
    loan_to_value_max: float = 0.5


SHRINK_FACTOR = 0.5


class Investors:
    """`count` investors with one plan, each on a path of its own.

    core, lever, loan     money
    exposure              of the lever account, at the last step
    losing_run            losing days in a row so far, `losing_run_max` the longest
    is_stopped            latched by a ruin line or a streak
    balance_at_stop       of the lever account when trading really ended; not a number before
    deviations            days with more exposure than the rules allow (F58)
    """

    def __init__(self, count: int, plan: Plan, luck: np.random.Generator) -> None:
        self.plan = plan
        self.core = np.full(count, plan.core)
        self.lever = np.full(count, plan.lever)
        self.loan = np.zeros(count)
        self.exposure = np.zeros(count)
        self.losing_run = np.zeros(count, np.int64)
        self.losing_run_max = np.zeros(count, np.int64)
        self.is_stopped = np.zeros(count, np.bool_)
        self.balance_at_stop = np.full(count, np.nan)
        self.deviations = np.zeros(count, np.int64)
        self.new_positions_in_shock = 0
        self.orders_before_recovery = 0
        self.core_sold = np.zeros(count)
        self.step_loss_max = np.zeros(count)
        self._days_late = np.zeros(count)
        self._awaits_recovery = np.zeros(count, np.bool_)
        self._total_highest = self.total
        self._luck = luck

    @property
    def total(self) -> Floats:
        total: Floats = self.core + self.lever - self.loan
        return total

    def step(
        self,
        returns: Floats,
        core_yield: float,
        in_shock: bool | Flags = False,
        leverage_factor: float | Floats = 1.0,
    ) -> None:
        """One day: `returns` of what the lever holds, `core_yield` of the fund.

        in_shock          the environment flag
        leverage_factor   who chases yield multiplies the plan's leverage (F50)
        """
        self._rebalance(in_shock, self.plan.leverage * leverage_factor)
        before = self.lever
        self.lever = np.maximum(0.0, before + self.exposure * returns)
        self.step_loss_max = np.maximum(self.step_loss_max, before - self.lever)
        self._count_losses(self.lever - before)
        self._earn(core_yield)
        self._look_at_the_lines()
        self._refill()

    # Rules of the lever account

    def allowed_share(self) -> Floats:
        """Of full leverage, by the rules, at the last close."""
        plan = self.plan
        share = np.where(self.lever < plan.shrink_below, SHRINK_FACTOR, 1.0)
        if plan.streak_shrink:
            share = np.where(self.losing_run >= plan.streak_shrink, share * SHRINK_FACTOR, share)
        return np.where(self.is_stopped, 0.0, share)

    def _rebalance(self, in_shock: bool | Flags, leverage: float | Floats) -> None:
        """To the allowed exposure; the late twin goes on as before until he acts."""
        plan = self.plan
        wanted = leverage * self.allowed_share() * self.lever
        self.orders_before_recovery += int(np.count_nonzero(self._awaits_recovery & (wanted > 0)))
        held = self.exposure
        if plan.obeys_flag:
            run_off = np.minimum(wanted, held * (1 - 1 / plan.holding_days))
            wanted = np.where(in_shock, run_off, wanted)
        self._days_late = np.where(self.is_stopped, self._days_late - 1, self._days_late)
        is_late = self.is_stopped & (self._days_late >= 0)
        shrunk = SHRINK_FACTOR if plan.shrink_below else 1.0
        self.exposure = np.where(is_late, leverage * shrunk * self.lever, wanted)
        self.deviations += self.exposure > wanted
        self.new_positions_in_shock += int(np.count_nonzero(in_shock & (self.exposure > held)))
        acts = self.is_stopped & ~is_late & np.isnan(self.balance_at_stop)
        self.balance_at_stop = np.where(acts, self.lever, self.balance_at_stop)

    def _count_losses(self, gains: Floats) -> None:
        """A day without exposure neither lengthens nor ends a run."""
        traded = self.exposure > 0
        run = np.where(gains < 0, self.losing_run + 1, 0)
        self.losing_run = np.where(traded, run, self.losing_run)
        self.losing_run_max = np.maximum(self.losing_run_max, self.losing_run)

    def _look_at_the_lines(self) -> None:
        plan = self.plan
        stops = self.lever < plan.stop_below
        if plan.streak_stop:
            stops = stops | (self.losing_run >= plan.streak_stop)
        is_new = stops & ~self.is_stopped
        self._days_late = np.where(is_new, self._drawn_delays(), self._days_late)
        recovered = (self.lever >= plan.restart_from) & (self.exposure == 0)
        self._awaits_recovery = stops | (self._awaits_recovery & ~recovered)
        self.is_stopped = self._awaits_recovery if plan.has_latch else is_new

    def _drawn_delays(self) -> Floats:
        """Whole days; a geometric draw from 0 on with the plan's mean."""
        mean = self.plan.delay_days_mean
        if not mean:
            return np.zeros_like(self.lever)
        return self._luck.geometric(1 / (1 + mean), len(self.lever)).astype(np.float64) - 1

    # The core

    def _earn(self, core_yield: float) -> None:
        earned = self.core * core_yield * (1 - self.plan.tax)
        paid_out = earned * self.plan.payout_share
        self.core = self.core + earned - paid_out
        self.lever = self.lever + paid_out

    def _refill(self) -> None:
        plan = self.plan
        self._total_highest = np.maximum(self._total_highest, self.total)
        if plan.wallet == "level_2":
            return
        wanted = np.where(self.lever < plan.refill_below, plan.lever - self.lever, 0.0)
        if plan.wallet == "level_3":
            lent = np.minimum(wanted, np.maximum(0.0, plan.loan_to_value_max * self.core - self.loan))
            self.loan = self.loan + lent
            self.lever = self.lever + lent
            return
        if plan.wallet == "level_1":
            drawdown = 1 - self.total / self._total_highest
            hazard = plan.breach_rate * np.exp(BREACH_STEEPNESS * drawdown)
            wanted = np.where(self._luck.random(len(wanted)) < -np.expm1(-hazard), wanted, 0.0)
        sold = np.minimum(wanted, self.core)
        self.core = self.core - sold
        self.core_sold += sold
        self.lever = self.lever + sold

    # The monthly routine (F58)

    def review(self) -> dict[str, float]:
        """Longest losing run, days with more exposure than allowed, and heat: exposure over all one has."""
        return {
            "losing_run_max": float(self.losing_run_max.max()),
            "rule_deviations": float(self.deviations.sum()),
            "heat": float(np.mean(self.exposure / np.maximum(self.total, 1e-12))),
        }


class Buckets:
    """The lever account cut in three, each part for its purpose only (F35, F104).

    trade       margin of the position
    insurance   pays for puts
    reserve     meets margin calls before the core has to
    """

    def __init__(
        self, count: int, trade: float = 50.0, insurance: float = 30.0, reserve: float = 20.0
    ) -> None:
        self.trade = np.full(count, trade)
        self.insurance = np.full(count, insurance)
        self.reserve = np.full(count, reserve)

    def refill(self, below: float, to: float) -> Floats:
        """Where `trade` is below `below` the reserve brings it towards `to`, as far as it goes.

        If that leaves it below, the core is asked for the rest up to `to`: this is given.
        """
        met = np.where(self.trade < below, np.minimum(to - self.trade, self.reserve), 0.0)
        self.reserve = self.reserve - met
        self.trade = self.trade + met
        asked = np.where(self.trade < below, to - self.trade, 0.0)
        self.trade = self.trade + asked
        return asked


def loan_to_value(loan_yen: float, core_dollars: float, yen_for_dollar: float) -> float:
    """Of a yen loan on a dollar core; a call comes when it is above the lender's limit (F33)."""
    return loan_yen / (core_dollars * yen_for_dollar)
