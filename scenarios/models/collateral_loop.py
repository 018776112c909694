"""F77, F78, F89, F101: a stablecoin between funding, volatility and leverage, day by day.

Longs want a lever of a volatility target over the volatility that they have seen; arbitrageurs supply
shorts, the fewer the higher it is; what is missing makes funding. The issuer's shorts add to them, and its
holders come and go by its rules (agents/stablecoin_issuer); a part of the stablecoins is margin again.
Longs' purchases move the junior collateral, the senior one is deep. Amounts are shares of one, rates are of
a year.

Chosen on 2026-11-22 before the first run (ours): target 1.2, memory 20 days, lever 1 to 6; junior
volatility 60 % in calm with a log memory of 30 days and 8 % of noise a day in it, senior 25 %; purchases of
all of the longs' wealth move the junior price by 5 %; a rise of .2 % a day for 180 days, then a shock of
-20 % and 60 days without trend; junior collateral is issued at 4 % a month in the rise where
`issues_junior`; arbitrageurs are short four fifths of the longs in calm, and less in proportion as
volatility is higher.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from zerodebt.agents import stablecoin_issuer as rules
from zerodebt.agents.stablecoin_issuer import IssuerRules
from zerodebt.agents.wealth import Floats

DAYS_A_YEAR = 365
RISE_DAYS, AFTER_DAYS = 180, 60
TREND, SHOCK = 0.002, -0.20
TARGET, MEMORY, LEVER_MIN, LEVER_MAX = 1.2, 20, 1.0, 6.0
JUNIOR_VOLATILITY, SENIOR_VOLATILITY, VOLATILITY_MEMORY, VOLATILITY_NOISE = 0.6, 0.25, 30, 0.08
IMPACT = 0.05
ISSUE_DAILY = 0.04 / 30
FUNDING_SLOPE = 0.10
"""Funding of a year for shorts that are missing, as a share of the longs."""
SHORTS_AT_CALM = 0.8
HURDLE = 0.04
SUPPLY, HEDGED = 0.10, 0.8
SENIOR_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
REUSED = tuple(n / 10 for n in range(21) if n != 8)


class Days(NamedTuple):
    """By day of the rise and what came after it."""

    lever: Floats
    volatility: Floats
    paid: Floats
    supply: Floats
    quality: Floats


def measure(
    seed: int, *, senior_share: float, issues_junior: bool, volatility_binds: bool
) -> Mapping[str, float]:
    """senior_share      of the collateral, at the start
    volatility_binds  False: arbitrageurs supply the same shorts whatever the volatility
    """
    days = played(seed, senior_share, issues_junior=issues_junior, volatility_binds=volatility_binds)
    rise = slice(MEMORY, RISE_DAYS)
    growth = np.diff(days.supply)
    is_above = days.paid[:-1] > HURDLE
    figures = {
        "yield_volatility_correlation": _correlation(days.paid[rise], days.volatility[rise]),
        "supply_grows_above_hurdle": float((growth[is_above] > 0).mean()) if is_above.any() else np.nan,
        "supply_grows_below_hurdle": float((growth[~is_above] > 0).mean()) if (~is_above).any() else np.nan,
        "lever_quality_correlation": _correlation(days.lever[rise], days.quality[rise]),
    }
    amplitudes = [
        amplitude(played(seed, s, issues_junior=issues_junior, volatility_binds=volatility_binds))
        for s in SENIOR_SHARES
    ]
    figures["amplitude_junior"], figures["amplitude_senior"] = amplitudes[0], amplitudes[-1]
    figures["amplitude_largest_rise"] = max(after - before for before, after in pairwise(amplitudes))
    gains = [(gain(x), is_unstable(x)) for x in REUSED]
    figures["gain_tells"] = float(np.mean([(g > 1) == grows for g, grows in gains]))
    figures["unstable_points"] = float(sum(grows for _, grows in gains))
    return figures


def amplitude(days: Days) -> float:
    """Highest lever before the shock over the lowest after it."""
    return float(days.lever[MEMORY:RISE_DAYS].max() / days.lever[RISE_DAYS:].min())


def _correlation(one: Floats, other: Floats) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() and other.std() else np.nan


def funding(longs: float, shorts: float) -> float:
    """Of a year; positive where shorts are missing."""
    return HURDLE + FUNDING_SLOPE * (longs - shorts) / max(longs, 1e-9)


def played(seed: int, senior_share: float, *, issues_junior: bool, volatility_binds: bool) -> Days:
    """The same luck for every share of senior collateral."""
    rng = np.random.default_rng([seed, 77])
    count = RISE_DAYS + AFTER_DAYS
    luck = rng.standard_normal((count, 3))
    issuer = IssuerRules()
    log_volatility, price_down = np.log(JUNIOR_VOLATILITY), 0.0
    senior, junior = senior_share, 1 - senior_share
    seen = (senior_share * SENIOR_VOLATILITY + (1 - senior_share) * JUNIOR_VOLATILITY) ** 2
    lever, supply = np.clip(TARGET / np.sqrt(seen), LEVER_MIN, LEVER_MAX), SUPPLY
    kept = []
    for day in range(count):
        calm = np.log(JUNIOR_VOLATILITY)
        log_volatility += (calm - log_volatility) / VOLATILITY_MEMORY + VOLATILITY_NOISE * luck[day, 2]
        trend = TREND if day < RISE_DAYS else SHOCK if day == RISE_DAYS else 0.0
        daily = np.exp(log_volatility) / np.sqrt(DAYS_A_YEAR)
        own = trend + daily * luck[day, 0] + price_down
        deep = trend / 2 + SENIOR_VOLATILITY / np.sqrt(DAYS_A_YEAR) * luck[day, 1]
        moved = (senior * deep + junior * own) / (senior + junior)
        senior, junior = senior * np.exp(deep), junior * np.exp(own)
        if issues_junior and day < RISE_DAYS:
            junior *= 1 + ISSUE_DAILY
        seen += (moved**2 * DAYS_A_YEAR - seen) / MEMORY
        volatility = float(np.sqrt(seen))
        before, lever = lever, float(np.clip(TARGET / volatility, LEVER_MIN, LEVER_MAX))
        price_down = IMPACT * (lever - before) * (1 - senior_share)
        shorts = SHORTS_AT_CALM * lever
        if volatility_binds:
            shorts *= JUNIOR_VOLATILITY / volatility
        rate = funding(lever, shorts + HEDGED * supply)
        paid = rules.backing_yield(HEDGED, rate, issuer.bill_yield)
        kept.append((lever, volatility, paid, supply, senior / (senior + junior)))
        flow = supply * rules.flow_daily(issuer, paid, HURDLE, 1.0)
        minted = rules.mintable(issuer, HEDGED * max(flow, 0.0), HEDGED * supply, lever) / HEDGED
        supply += minted if flow > 0 else flow
    return Days(*np.array(kept).T)


def next_supply(supply: float, reused: float) -> float:
    """A day later, in a market that rests at SUPPLY, where each coin is margin of `reused` longs."""
    longs = 1 + reused * supply
    shorts = 1 + HEDGED * supply + SUPPLY * (reused - HEDGED)
    return supply * (1 + rules.flow_daily(IssuerRules(), funding(longs, shorts), HURDLE, 1.0))


def gain(reused: float) -> float:
    """What is left a day later of a small deviation of the supply."""
    step = 1e-6
    return (next_supply(SUPPLY * (1 + step), reused) / SUPPLY - 1) / step


def is_unstable(reused: float) -> bool:
    """Does a deviation of 1 % grow in a year?"""
    supply = SUPPLY * 1.01
    for _ in range(DAYS_A_YEAR):
        supply = next_supply(supply, reused)
    return abs(supply / SUPPLY - 1) > 0.01
