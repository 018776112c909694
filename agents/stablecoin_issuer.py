"""Who issues a delta-neutral stablecoin, who holds it, and whose price is given up first (C6).

Rows F77, F78, F79, S13, V70, V72, V73; section (f): the supply moves by at most 5 % a day, and what is minted
short is at most 15 % of open interest. Rates are of a year unless a name says otherwise, sums in one
currency.

Ours, 2026-11-22, before the first run, where the design leaves a range or nothing:
  flow_speed       drawn from U(2, 5) a year for each 1 % of yield, once a world
  run_share_daily  0.05: below the run's price all that the cap allows leaves
  reserve_floor    0.2 of the reserve at the start: below it the treasury sells its token
  staked_share     0.5 of the supply waits for the cooldown before it can be sold
  liquid_share     0.2 of the supply is kept in cash before hedges are unwound
While the reserve or the token pay for the funding, holders are paid at least nothing.
"""

from collections import deque
from dataclasses import dataclass, field

HOURS = 24
DAYS_A_YEAR = 365
PERCENT = 0.01


@dataclass(frozen=True, kw_only=True)
class IssuerRules:
    """flow_speed        k of dS/S = k (yield - outside yield), a year for each 1 %
    flow_daily_max       of the supply, either way (section f)
    run_beyond           distance of the price from 1 at which holders run
    hedge_cut_daily      what is taken off the hedged share a day while the week's funding is below zero
    defends_below        the price at which the reserve bids
    interest_share_max   minted shorts over open interest (section f)
    sells_token          False: the token's price is kept and the coin's left alone
    """

    flow_speed: float = 3.0
    flow_daily_max: float = 0.05
    run_beyond: float = 0.005
    run_share_daily: float = 0.05
    hedge_cut_daily: float = 0.1
    defends_below: float = 0.995
    reserve_floor: float = 0.2
    interest_share_max: float = 0.15
    cooldown_days: int = 7
    staked_share: float = 0.5
    liquid_share: float = 0.2
    bill_yield: float = 0.04
    fee: float = 0.001
    sells_token: bool = True


def backing_yield(hedged_share: float, funding: float, bill_yield: float) -> float:
    """What the backing earns: funding on the hedged part, bills on the rest."""
    return hedged_share * funding + (1 - hedged_share) * bill_yield


def reserve_days(reserve: float, supply: float, hedged_share: float, funding: float) -> float:
    """How long a reserve pays for funding below zero at constant supply (V72)."""
    return reserve / (supply * hedged_share * -funding / DAYS_A_YEAR)


def flow_daily(rules: IssuerRules, paid: float, outside: float, price: float) -> float:
    """Share of the supply that comes (positive) or leaves in a day, within the cap."""
    if abs(price - 1) > rules.run_beyond:
        return -min(rules.run_share_daily, rules.flow_daily_max)
    wanted = rules.flow_speed * (paid - outside) / PERCENT / DAYS_A_YEAR
    return max(-rules.flow_daily_max, min(rules.flow_daily_max, wanted))


def mintable(rules: IssuerRules, wanted: float, short: float, open_interest: float) -> float:
    """What of `wanted` may be minted: the hedge's short stays within its share of open interest."""
    return max(0.0, min(wanted, rules.interest_share_max * open_interest - short))


def hedged_share_next(rules: IssuerRules, hedged_share: float, week_funding: float) -> float:
    """A day later."""
    return hedged_share * (1 - rules.hedge_cut_daily) if week_funding < 0 else hedged_share


@dataclass(frozen=True)
class Paid:
    """Who pays for something that the issuer needs."""

    reserve: float
    token: float
    holders: float


def who_pays(rules: IssuerRules, need: float, reserve: float, floor: float, token_sale: float) -> Paid:
    """First the reserve down to its floor, then what the token brings, then what is left of the reserve.

    token_sale  the most that sales of the token would bring now; nothing where the policy is off
    holders     the rest: a haircut
    """
    first = min(need, max(0.0, reserve - floor))
    token = min(need - first, token_sale) if rules.sells_token else 0.0
    rest = min(need - first - token, reserve - first)
    return Paid(first + rest, token, need - first - token - rest)


@dataclass
class Cooldown:
    """Staked coins that wait before they can be sold (V73)."""

    days: int
    waiting: deque[tuple[int, float]] = field(default_factory=deque)

    def ask(self, hour: int, amount: float) -> None:
        if amount > 0:
            self.waiting.append((hour + self.days * HOURS, amount))

    def due(self, hour: int) -> float:
        """What has waited long enough; it is given out once."""
        amount = 0.0
        while self.waiting and self.waiting[0][0] <= hour:
            amount += self.waiting.popleft()[1]
        return amount

    @property
    def amount(self) -> float:
        return sum(amount for _, amount in self.waiting)
