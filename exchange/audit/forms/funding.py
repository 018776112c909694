"""How a premium is sampled, how samples are averaged, and how a rate follows."""

from zerodebt.exchange.audit.arithmetic import PPT, div_ceil
from zerodebt.exchange.audit.books import BUY, SELL, Levels
from zerodebt.exchange.audit.forms.valuation import value
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import FundingRules

PREMIUM_MAX_PPT = 1_000 * PPT


class Premiums:
    """Samples of an interval, averaged with equal weights."""

    def __init__(self) -> None:
        self._sum_ppt = 0
        self.count = 0

    def add(self, premium_ppt: int) -> None:
        self._sum_ppt += premium_ppt
        self.count += 1

    def mean_ppt(self) -> int:
        """Rounded down; there must be a sample."""
        return self._sum_ppt // self.count

    def clear(self) -> None:
        self._sum_ppt = self.count = 0


def premium_ppt(rules: FundingRules, spec: Instrument, bids: Levels, asks: Levels, index_ticks: int) -> int:
    """What the impact prices stand above or below the index, as a share of it; rounded down."""
    if index_ticks <= 0:
        return 0
    bid = impact_ticks(spec, bids, BUY, rules.impact_notional_atoms)
    ask = impact_ticks(spec, asks, SELL, rules.impact_notional_atoms)
    ticks = 0
    if bid is not None and bid > index_ticks:
        ticks += bid - index_ticks
    if ask is not None and ask < index_ticks:
        ticks -= index_ticks - ask
    return max(-PREMIUM_MAX_PPT, min(PREMIUM_MAX_PPT, ticks * PPT // index_ticks))


def impact_ticks(spec: Instrument, levels: Levels, side: int, notional_atoms: int) -> int | None:
    """Average price at which `notional_atoms` would trade against a side, rounded towards the middle."""
    lots = ticks = 0
    left = notional_atoms
    for key in sorted(levels.by_key):
        price = -side * key
        lot_atoms = value(spec, price, 1)
        if lot_atoms <= 0:
            return None
        take = min(sum(order.open for order in levels.by_key[key].values()), div_ceil(left, lot_atoms))
        lots += take
        ticks += take * price
        left -= value(spec, price, take)
        if left <= 0:
            return div_ceil(ticks, lots) if side == BUY else ticks // lots
    return None


def rate_ppt(rules: FundingRules, premium_mean_ppt: int) -> int:
    """(P + clamp(interest - P)) / divisor, rounded down, then capped."""
    pull = min(max(rules.interest_ppt - premium_mean_ppt, -rules.clamp_ppt), rules.clamp_ppt)
    return min(max((premium_mean_ppt + pull) // rules.divisor, -rules.cap_ppt), rules.cap_ppt)


def owed_atoms(position_value_atoms: int, rate_of_interval_ppt: int, intervals: int) -> int:
    """What a position pays (negative: receives), rounded up, in the rounding account's favour."""
    return div_ceil(position_value_atoms * rate_of_interval_ppt * intervals, PPT)
