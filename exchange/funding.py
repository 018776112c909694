"""Funding: premium samples, the rate of an interval, and what a position pays."""

from collections.abc import Sequence
from math import floor

from zerodebt.exchange.book import Book
from zerodebt.exchange.commands import BUY, SELL
from zerodebt.exchange.instruments import Instrument, initial_rate, maintenance_rate, value_atoms
from zerodebt.exchange.marks import Prices
from zerodebt.exchange.rules import FundingRules
from zerodebt.exchange.units import PPB, PPT, div_ceil, div_floor

PPM = 10**6


def impact_ticks(book: Book, side: int, notional_atoms: int, instrument: Instrument) -> int | None:
    """Average price of trading `notional_atoms` against a side, rounded towards the mid; or None."""
    left = notional_atoms
    lots = value = 0
    for price, open_lots in book.depth(side):
        if price <= 0:
            return None
        worth = abs(value_atoms(instrument, price, open_lots))
        take = open_lots if worth < left else div_ceil(left * open_lots, worth)
        lots += take
        value += take * price
        left -= worth
        if left <= 0:
            return div_ceil(value, lots) if side == BUY else div_floor(value, lots)
    return None


PREMIUM_MAX_PPT = 1_000 * PPT


def premium_ppt(
    book: Book, rules: FundingRules, instrument: Instrument, index_ticks: int, mark_ticks: int
) -> int:
    """One sample: how far the book or the mark is from the index, in the rulebook's form and steps.

    impact: (max(impact bid - index, 0) - max(index - impact ask, 0)) / index, a missing side counts 0;
    mid: ((bid + ask)/2 - index) / index, 0 while a side is missing; mark: (mark - index) / index.
    Bounded by a thousandfold either way, so that an index near zero stays a number.

    Sources: Hyperliquid docs, Funding; Binance FAQ, Funding rates; OKX help, Funding fee; Deribit support,
    Perpetual funding.
    """
    if index_ticks <= 0:
        return 0
    if rules.premium == "impact":
        notional = impact_notional_atoms(rules, instrument)
        bid = impact_ticks(book, BUY, notional, instrument)
        ask = impact_ticks(book, SELL, notional, instrument)
        above = max(bid - index_ticks, 0) if bid is not None else 0
        below = max(index_ticks - ask, 0) if ask is not None else 0
        doubled = 2 * (above - below)
    elif rules.premium == "mid":
        bid, ask = book.best_ticks(BUY), book.best_ticks(SELL)
        doubled = 0 if bid is None or ask is None else bid + ask - 2 * index_ticks
    else:
        doubled = 2 * (mark_ticks - index_ticks)
    sample_ppt = stepped_ppt(doubled * PPT, 2 * index_ticks, rules.rate_step_ppt)
    return _clamp(sample_ppt, PREMIUM_MAX_PPT)


def impact_notional_atoms(rules: FundingRules, instrument: Instrument) -> int:
    """Value that the impact prices trade: stated, or a margin over the initial rate, rounded down."""
    if rules.impact_margin_atoms is None:
        return rules.impact_notional_atoms
    return floor(rules.impact_margin_atoms / initial_rate(instrument.tiers[0]))


def top_rates_ppt(instrument: Instrument) -> tuple[int, int]:
    """Initial and maintenance rate at the largest leverage, which is that of the first tier; rounded down."""
    initial = initial_rate(instrument.tiers[0])
    maintenance = maintenance_rate(instrument.tiers[0])
    if instrument.maintenance_of_initial_ppb is not None:
        maintenance = initial * instrument.maintenance_of_initial_ppb / PPB
    return floor(initial * PPT), floor(maintenance * PPT)


def stepped_ppt(numerator: int, denominator: int, step_ppt: int) -> int:
    """A quotient as a whole multiple of a step: cut off towards zero, by a step of 1 rounded down."""
    if step_ppt == 1:
        return div_floor(numerator, denominator)
    steps = div_floor(abs(numerator), denominator * step_ppt) * step_ppt
    return steps if numerator >= 0 else -steps


def add_premium(prices: Prices, rules: FundingRules, sample_ppt: int) -> None:
    """Take a sample into the interval's average."""
    prices.premium_samples += 1
    prices.premium_sum_ppt += sample_ppt * (prices.premium_samples if rules.average == "linear" else 1)
    if rules.tail_trim_ppm:
        prices.premiums_ppt.append(sample_ppt)


def premium_average_ppt(prices: Prices, rules: FundingRules) -> int:
    """P of an interval; an interval without a sample has none: 0.

    Sources: Binance FAQ and Bybit help, Funding rate (linear); dYdX v4 docs, Funding (padded and trimmed).
    """
    count, total = prices.premium_samples, prices.premium_sum_ppt
    if rules.average == "linear":
        weights = count * (count + 1) // 2
    elif rules.average == "mean":
        weights = count
    else:
        weights = max(count, rules.interval_ns // rules.sample_ns)
        if rules.tail_trim_ppm:
            padding = [0] * (weights - count)
            kept = without_tails(prices.premiums_ppt + padding, rules.tail_trim_ppm)
            weights, total = len(kept), sum(kept)
    return stepped_ppt(total, weights, rules.rate_step_ppt) if weights else 0


def without_tails(samples: Sequence[int], tail_trim_ppm: int) -> list[int]:
    """The samples in order of size without their tails: floor(2 * n * share) go, the odd one from the top.

    Source: dYdX v4-chain, GetRemoveSampleTailsFunc.
    """
    removed = div_floor(2 * len(samples) * tail_trim_ppm, PPM)
    bottom = removed // 2
    return sorted(samples)[bottom : len(samples) - (removed - bottom)]


def cap_ppt(rules: FundingRules, symbol: str, initial_ppt: int, maintenance_ppt: int) -> int | None:
    """Largest absolute rate, cut off to a step; None: no cap. `margin_gap` bounds the rate of the period.

    Sources: Binance FAQ, Funding rates (multiple of the maintenance rate); dYdX v4-chain,
    GetMaxAbsFundingClampPpm.
    """
    for own in rules.caps:
        if own.symbol == symbol:
            return own.cap_ppt
    match rules.cap:
        case "rate":
            return rules.cap_ppt
        case "maintenance":
            return stepped_ppt(maintenance_ppt * rules.cap_factor_ppb, PPB, rules.rate_step_ppt)
        case "margin_gap":
            gap = max(0, initial_ppt - maintenance_ppt)
            return stepped_ppt(gap * rules.cap_factor_ppb, PPB, rules.rate_step_ppt)
        case "none":
            return None


def period_rate_ppt(rules: FundingRules, premium_ppt: int) -> int:
    """Rate of the period that the premium is stated for, before any cap.

    Sources: Hyperliquid, Binance, Bybit, BitMEX (dampened); Deribit support, Perpetual funding (deadband);
    OKX help, Funding fee, and dYdX v4 docs, Funding (plain).
    """
    match rules.rate:
        case "dampened":
            return premium_ppt + _clamp(rules.interest_ppt - premium_ppt, rules.clamp_ppt)
        case "deadband":
            return max(rules.clamp_ppt, premium_ppt) + min(-rules.clamp_ppt, premium_ppt)
        case "plain":
            return premium_ppt + rules.interest_ppt


def rate_ppt(rules: FundingRules, premium_average_ppt: int, most_ppt: int | None) -> int:
    """Rate of one interval: the period's rate over the divisor, rounded down, and capped.

    most_ppt  as `cap_ppt` says; the gap of margins bounds the period's rate, every other cap the interval's
    """
    period_ppt = period_rate_ppt(rules, premium_average_ppt)
    if most_ppt is not None and rules.cap == "margin_gap":
        return div_floor(_clamp(period_ppt, most_ppt), rules.divisor)
    interval_ppt = div_floor(period_ppt, rules.divisor)
    return interval_ppt if most_ppt is None else _clamp(interval_ppt, most_ppt)


def payment_atoms(value_atoms: int, rate_ppt: int) -> int:
    """What a position owes for the interval; negative is received.

    value_atoms  of the position at the price that funding is paid on, positive for long positions
    Payers pay rounded up, receivers get rounded down.
    """
    return div_ceil(value_atoms * rate_ppt, PPT)


def exposure_atoms(instrument: Instrument, price_ticks: int, lots: int) -> int:
    """Value of a position with the sign of price and lots, for linear and inverse contracts alike."""
    value = abs(value_atoms(instrument, price_ticks, lots))
    return value if lots * price_ticks >= 0 else -value


def index_delta_ppm(rate_ppt: int, lot_value_atoms: int, quanta_per_lot: int) -> int:
    """Step of the funding index: what one quantum pays, in millionths of an atom, cut off towards zero.

    Source: dYdX v4-chain, GetFundingIndexDelta.
    """
    delta_ppm = div_floor(abs(rate_ppt * lot_value_atoms), PPT // PPM * quanta_per_lot)
    return delta_ppm if rate_ppt * lot_value_atoms >= 0 else -delta_ppm


def settlement_ppm(quanta: int, index_ppm: int, settled_index_ppm: int) -> int:
    """What a position of signed quanta receives since it was last settled; negative is paid. Exact.

    Source: dYdX v4-chain, GetSettlementPpmWithPerpetual.
    """
    return -quanta * (index_ppm - settled_index_ppm)


def settled_atoms(settlement_ppm: int) -> int:
    """What the account owes of a settlement: payers rounded up, receivers down."""
    return div_ceil(-settlement_ppm, PPM)


def _clamp(value: int, bound: int) -> int:
    return max(-bound, min(bound, value))
