"""How a premium is sampled, how samples are averaged, how a rate follows, and who pays what."""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from zerodebt.exchange.audit.arithmetic import PPB, PPT, div_ceil
from zerodebt.exchange.audit.books import BUY, SELL, Levels
from zerodebt.exchange.audit.forms.requirement import initial_rate, maintenance_rate
from zerodebt.exchange.audit.forms.valuation import value
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import FundingRules

PPM = 10**6
PREMIUM_MAX_PPT = 1_000 * PPT


class Seen(NamedTuple):
    """An instrument's book and prices when a premium is sampled."""

    bids: Levels
    asks: Levels
    bid_ticks: int | None
    ask_ticks: int | None
    index_ticks: int
    mark_ticks: int


def bounded(rate: int, bound: int) -> int:
    return max(-bound, min(bound, rate))


def in_steps(numerator: int, denominator: int, step_ppt: int) -> int:
    """A quotient cut off to a multiple of the step; to a part of 10^12 it is rounded down instead."""
    if step_ppt == 1:
        return numerator // denominator
    steps = abs(numerator) // (denominator * step_ppt) * step_ppt
    return steps if numerator > 0 else -steps


def premium_ppt(rules: FundingRules, spec: Instrument, seen: Seen) -> int:
    """How far the book or the mark stands from the index, as a share of it."""
    if seen.index_ticks <= 0:
        return 0
    doubled = PREMIUMS[rules.premium](rules, spec, seen)
    return bounded(in_steps(doubled * PPT, 2 * seen.index_ticks, rules.rate_step_ppt), PREMIUM_MAX_PPT)


def of_impact(rules: FundingRules, spec: Instrument, seen: Seen) -> int:
    """Twice what the impact prices stand above or below the index."""
    notional = impact_notional_atoms(rules, spec)
    bid = impact_ticks(spec, seen.bids, BUY, notional)
    ask = impact_ticks(spec, seen.asks, SELL, notional)
    ticks = 0
    if bid is not None and bid > seen.index_ticks:
        ticks += bid - seen.index_ticks
    if ask is not None and ask < seen.index_ticks:
        ticks -= seen.index_ticks - ask
    return 2 * ticks


def of_mid(_: FundingRules, _spec: Instrument, seen: Seen) -> int:
    if seen.bid_ticks is None or seen.ask_ticks is None:
        return 0
    return seen.bid_ticks + seen.ask_ticks - 2 * seen.index_ticks


def of_mark(_: FundingRules, _spec: Instrument, seen: Seen) -> int:
    return 2 * (seen.mark_ticks - seen.index_ticks)


PREMIUMS: dict[str, Callable[[FundingRules, Instrument, Seen], int]] = {
    "impact": of_impact,
    "mid": of_mid,
    "mark": of_mark,
}


def impact_notional_atoms(rules: FundingRules, spec: Instrument) -> int:
    """Stated, or what a stated margin bears at the largest leverage, rounded down."""
    if rules.impact_margin_atoms is None:
        return rules.impact_notional_atoms
    return int(rules.impact_margin_atoms / initial_rate(spec.tiers[0]))


def impact_ticks(spec: Instrument, levels: Levels, side: int, notional_atoms: int) -> int | None:
    """Average price at which `notional_atoms` would trade against a side, rounded towards the middle."""
    lots = ticks = 0
    left = notional_atoms
    for key in sorted(levels.by_key):
        price = -side * key
        if price <= 0:
            return None
        level = sum(order.open for order in levels.by_key[key].values())
        worth = abs(value(spec, price, level))
        take = level if worth < left else div_ceil(left * level, worth)
        lots += take
        ticks += take * price
        left -= worth
        if left <= 0:
            return div_ceil(ticks, lots) if side == BUY else ticks // lots
    return None


def average_ppt(rules: FundingRules, samples: list[int]) -> int:
    """P of an interval that has samples."""
    total, weight = AVERAGES[rules.average](rules, samples)
    return in_steps(total, weight, rules.rate_step_ppt) if weight else 0


def mean(_: FundingRules, samples: list[int]) -> tuple[int, int]:
    return sum(samples), len(samples)


def linear(_: FundingRules, samples: list[int]) -> tuple[int, int]:
    """The k-th sample counts k times."""
    return sum(k * sample for k, sample in enumerate(samples, 1)), sum(range(len(samples) + 1))


def padded(rules: FundingRules, samples: list[int]) -> tuple[int, int]:
    """With zeros for samples that an interval should have; the tails go, the odd one from the top."""
    missing = rules.interval_ns // rules.sample_ns - len(samples)
    whole = sorted(samples + [0] * max(0, missing))
    tails = 2 * len(whole) * rules.tail_trim_ppm // PPM
    kept = whole[tails // 2 : len(whole) - (tails + 1) // 2]
    return sum(kept), len(kept)


AVERAGES: dict[str, Callable[[FundingRules, list[int]], tuple[int, int]]] = {
    "mean": mean,
    "linear": linear,
    "padded": padded,
}


def rate_ppt(rules: FundingRules, spec: Instrument, premium: int) -> int:
    """The period's rate over the divisor, rounded down, with the cap on the one or on the other."""
    cap = cap_ppt(rules, spec)
    rate = PERIODS[rules.rate](rules, premium)
    if cap is None:
        return rate // rules.divisor
    if rules.cap == "margin_gap":
        return bounded(rate, cap) // rules.divisor
    return bounded(rate // rules.divisor, cap)


def dampened(rules: FundingRules, premium: int) -> int:
    return premium + bounded(rules.interest_ppt - premium, rules.clamp_ppt)


def deadband(rules: FundingRules, premium: int) -> int:
    return max(rules.clamp_ppt, premium) + min(-rules.clamp_ppt, premium)


def plain(rules: FundingRules, premium: int) -> int:
    return premium + rules.interest_ppt


PERIODS: dict[str, Callable[[FundingRules, int], int]] = {
    "dampened": dampened,
    "deadband": deadband,
    "plain": plain,
}


def cap_ppt(rules: FundingRules, spec: Instrument) -> int | None:
    """The largest rate either way: the instrument's own, a stated one, or from its margin rates."""
    for own in rules.caps:
        if own.symbol == spec.symbol:
            return own.cap_ppt
    if rules.cap == "none":
        return None
    if rules.cap == "rate":
        return rules.cap_ppt
    initial, maintenance = initial_rate(spec.tiers[0]), maintenance_rate(spec.tiers[0])
    if spec.maintenance_of_initial_ppb is not None:
        maintenance = initial * Fraction(spec.maintenance_of_initial_ppb, PPB)
    share = int(maintenance * PPT)
    if rules.cap == "margin_gap":
        share = max(0, int(initial * PPT) - share)
    return in_steps(share * rules.cap_factor_ppb, PPB, rules.rate_step_ppt)


def exposure_atoms(spec: Instrument, price_ticks: int, lots: int) -> int:
    """A position's value with the sign of its lots and the price, for inverse contracts too."""
    atoms = abs(value(spec, price_ticks, lots))
    return atoms if lots * price_ticks >= 0 else -atoms


def owed_atoms(exposure: int, rate_of_interval_ppt: int, intervals: int) -> int:
    """What a position pays (negative: receives), rounded up, in the rounding account's favour."""
    return div_ceil(exposure * rate_of_interval_ppt * intervals, PPT)


def index_step_ppm(rules: FundingRules, lot_exposure: int, rate: int) -> int:
    """What one quantum pays for an interval, in millionths of an atom, cut off."""
    paid = rate * lot_exposure
    step = abs(paid) // (PPT // PPM * rules.quanta_per_lot)
    return step if paid > 0 else -step


def owed_by_index(rules: FundingRules, lots: int, step_ppm: int) -> int:
    """What a position pays for a step of the index, rounded up."""
    return div_ceil(lots * rules.quanta_per_lot * step_ppm, PPM)
