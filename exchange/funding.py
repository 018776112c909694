"""Funding: premium samples, the rate of an interval, and what a position pays."""

from zerodebt.exchange.book import Book
from zerodebt.exchange.commands import BUY, SELL
from zerodebt.exchange.rules import FundingRules
from zerodebt.exchange.units import PPT, div_ceil, div_floor


def impact_ticks(book: Book, side: int, notional_atoms: int, tick_value_atoms: int) -> int | None:
    """Average price of trading `notional_atoms` against a side, rounded towards the mid; or None."""
    left = notional_atoms
    lots = value = 0
    for price, open_lots in book.depth(side):
        lot_value = price * tick_value_atoms
        if lot_value <= 0:
            return None
        take = min(open_lots, div_ceil(left, lot_value))
        lots += take
        value += take * price
        left -= take * lot_value
        if left <= 0:
            return div_ceil(value, lots) if side == BUY else div_floor(value, lots)
    return None


PREMIUM_MAX_PPT = 1_000 * PPT


def premium_ppt(book: Book, rules: FundingRules, index_ticks: int, tick_value_atoms: int) -> int:
    """(max(impact bid - index, 0) - max(index - impact ask, 0)) / index, rounded down.

    A missing side counts 0. Bounded by a thousandfold either way, so that an index near zero stays a number.

    Source: Hyperliquid docs, Funding.
    """
    if index_ticks <= 0:
        return 0
    bid = impact_ticks(book, BUY, rules.impact_notional_atoms, tick_value_atoms)
    ask = impact_ticks(book, SELL, rules.impact_notional_atoms, tick_value_atoms)
    above = max(bid - index_ticks, 0) if bid is not None else 0
    below = max(index_ticks - ask, 0) if ask is not None else 0
    premium = div_floor((above - below) * PPT, index_ticks)
    return max(-PREMIUM_MAX_PPT, min(PREMIUM_MAX_PPT, premium))


def rate_ppt(rules: FundingRules, premium_mean_ppt: int) -> int:
    """Rate of one interval: (P + clamp(interest - P, +-clamp)) / divisor, rounded down, then capped."""
    pull = max(-rules.clamp_ppt, min(rules.clamp_ppt, rules.interest_ppt - premium_mean_ppt))
    rate = div_floor(premium_mean_ppt + pull, rules.divisor)
    return max(-rules.cap_ppt, min(rules.cap_ppt, rate))


def payment_atoms(lots: int, price_ticks: int, tick_value_atoms: int, rate: int) -> int:
    """What a position owes for the interval; negative is received.

    Payers pay rounded up, receivers get rounded down.
    """
    return div_ceil(lots * price_ticks * tick_value_atoms * rate, PPT)
