"""An instrument as the witness sees it: its book, its prices, its holders."""

from math import lcm

from zerodebt.exchange.audit.arithmetic import PPT, Average, div_ceil
from zerodebt.exchange.audit.books import BUY, SELL, Levels
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import VenueRules


class Market:
    """An instrument: its book, its prices, its holders ([lots, cost, entry cost] by account)."""

    def __init__(self, number: int, spec: Instrument, rules: VenueRules, pocket: int) -> None:
        self.number = number
        self.spec = spec
        self.pocket = pocket
        self.is_spot = spec.kind == "spot"
        self.tick_value = spec.tick_value_atoms
        self.bids, self.asks = Levels(), Levels()
        self.sides = {BUY: self.bids, SELL: self.asks}
        self.index: int | None = None
        self.mark: int | None = None
        self.stands_still = False
        self.previous_mark: int | None = None
        self.last: int | None = None
        self.basis = Average(rules.mark.basis_ema_ns)
        self.median = Average(rules.mark.book_ema_ns)
        self.premium_sum = 0
        self.premium_samples = 0
        self.marked_seq = self.sampled_seq = -1
        self.holders: dict[int, list[int]] = {}
        self.isolated: set[int] = set()
        self.cost_sum = 0
        self.lots_sum = 0
        self.denominator = lcm(1, *(2 * tier.leverage_max for tier in spec.tiers))
        self.tiers: list[tuple[int, int, int]] = []
        self.most_required = (
            2 * min((tier.leverage_max for tier in spec.tiers), default=1),
            spec.margin_floor_atoms_per_lot,
        )
        below = 0
        for n, tier in enumerate(spec.tiers):
            if n:
                before = self.tiers[-1]
                below += (tier.lower_notional_atoms - before[0]) * before[1]
            slope = self.denominator // (2 * tier.leverage_max)
            self.tiers.append((tier.lower_notional_atoms, slope, below))

    def best(self, side: int) -> int | None:
        key = self.sides[side].best_key()
        return None if key is None else -side * key

    def maintenance(self, notional: int, size_lots: int) -> int:
        """The tiers' slices of the notional, each at half of 1/leverage; the sum rounded up once."""
        required = 0
        for lower, slope, below in reversed(self.tiers):
            if notional >= lower:
                required = div_ceil(below + (notional - lower) * slope, self.denominator)
                break
        return max(required, size_lots * self.spec.margin_floor_atoms_per_lot)

    def impact(self, side: int, notional: int) -> int | None:
        """Average price at which `notional` would trade against a side, rounded towards the middle."""
        lots = ticks = 0
        left = notional
        levels = self.sides[side].by_key
        for key in sorted(levels):
            price = -side * key
            worth = price * self.tick_value
            if worth <= 0:
                return None
            take = min(sum(order.open for order in levels[key].values()), div_ceil(left, worth))
            lots += take
            ticks += take * price
            left -= take * worth
            if left <= 0:
                return div_ceil(ticks, lots) if side == BUY else ticks // lots
        return None

    def premium(self, notional: int, index: int) -> int:
        if index <= 0:
            return 0
        bid, ask = self.impact(BUY, notional), self.impact(SELL, notional)
        premium = 0
        if bid is not None and bid > index:
            premium += bid - index
        if ask is not None and ask < index:
            premium -= index - ask
        return max(-1_000 * PPT, min(1_000 * PPT, premium * PPT // index))
