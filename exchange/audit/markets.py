"""An instrument as the witness sees it: its book, its prices, its holders; and the short leg beside it."""

from collections import deque

from zerodebt.exchange.audit.arithmetic import Average
from zerodebt.exchange.audit.books import BUY, SELL, Levels
from zerodebt.exchange.audit.forms import grid
from zerodebt.exchange.audit.forms.requirement import ALONE, Size, by_tier, requirement, tier_number
from zerodebt.exchange.audit.forms.valuation import dust_atoms
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import PortfolioRules, VenueRules, requirement_fee_ppb


class Market:
    """State of one instrument, with net positions and long legs; or the short leg of hedge mode beside it.

    A short leg has holders, leverage and a pocket of its own. It has no book, and its prices and status are
    those of the instrument: whoever sets them sets them for all `legs`.

    number        of the position; the short legs follow all instruments in the same order
    instrument    number of the instrument
    clearing      pocket of the clearing account for what positions in the instrument cost
    legs          this market, and behind it the short leg where the rulebook offers hedge mode
    reference     the index, or what it would be without the venue's own book
    basis_points  the newest samples of bid + ask - 2 * index
    premiums      samples of the interval
    holders       [lots, cost, entry cost] by account; lots signed, costs in atoms
    leverage      chosen by an account; without an entry it is the largest
    sums_legs     the sizes of both legs of a cross pool find the tier of each
    swept_max     atoms that may be left of values that were rounded when all positions were settled
    is_at_entry   the maintenance requirement is a share of what the lots cost
    dust          atoms by which rounding may part a position's value from that of its lots
    isolated      accounts whose position here answers with its own pocket
    stands_still  while forced orders are halted the mark is held
    has_ended     it was settled finally: nothing trades and no funding is due any more
    """

    def __init__(
        self, number: int, spec: Instrument, rules: VenueRules, pocket: int, long: "Market | None" = None
    ) -> None:
        self.number = number
        self.instrument = number if long is None else long.number
        self.spec = spec
        self.pocket = pocket
        self.clearing = pocket if long is None else long.pocket
        self.legs = [self]
        if long is not None:
            long.legs.append(self)
        self.is_spot = spec.kind == "spot"
        self.maintenance, self.initial, self.most_per_lot, self.most = requirement(
            spec, requirement_fee_ppb(rules)
        )
        self.is_at_entry = spec.maintenance_basis == "entry"
        self.sums_legs = rules.margin.hedge_mode and rules.margin.tier_sum == "gross"
        self._tiers = by_tier(spec, requirement_fee_ppb(rules)) if self.sums_legs else []
        if self._tiers and self.is_at_entry:
            self.most = self._most_of_any_tier
        if rules.portfolio.moves_ppb and not self.is_spot:
            self._bound_by_grid(rules.portfolio)
        self.dust = dust_atoms(spec)
        self.bids, self.asks = Levels(), Levels()
        self.sides = {BUY: self.bids, SELL: self.asks}
        self.index: int | None = None
        self.reference: int | None = None
        self.mark: int | None = None
        self.previous_mark: int | None = None
        self.last: int | None = None
        self.stands_still = False
        self.has_ended = False
        self.basis = Average(rules.mark.basis_ema_ns)
        self.median = Average(rules.mark.book_ema_ns)
        self.basis_points: deque[int] = deque(maxlen=rules.mark.basis_points)
        self.next_basis_ns = 0
        self.premiums: list[int] = []
        self.last_rate_ppt = self.funding_index_ppm = 0
        self.marked_seq = self.sampled_seq = -1
        self.holders: dict[int, list[int]] = {}
        self.leverage: dict[int, int] = {}
        self.isolated: set[int] = set()
        self.swept_max = 0
        self.cost_sum = 0
        self.lots_sum = 0

    def _bound_by_grid(self, rules: PortfolioRules) -> None:
        """A cross position is asked for its worst loss, an isolated one for its own requirement."""
        own_per_lot, own = self.most_per_lot, self.most
        numerator, denominator = grid.most_share(rules, self.spec)
        self.most_per_lot = lambda lot: max(own_per_lot(lot), lot * numerator // denominator + 3)
        if own is not None:
            self.most = lambda notional, size: max(
                own(notional, size), (notional + 1) * numerator // denominator + 3
            )

    def best(self, side: int) -> int | None:
        key = self.sides[side].best_key()
        return None if key is None else -side * key

    def lots_of(self, account: int) -> int:
        """Signed lots; 0 without a position."""
        position = self.holders.get(account)
        return position[0] if position else 0

    def required(self, lots: int, cost: int, value: int, beside: Size = ALONE) -> int:
        """Maintenance requirement of a position (signed): a share of its value, or of what it cost.

        beside  what is summed with the position to find its tier
        """
        notional, size = abs(cost if self.is_at_entry else value), abs(lots)
        if beside == ALONE:
            return self.maintenance(notional, size)
        tier = tier_number(self.spec, notional + beside[0], size + beside[1])
        return self._tiers[tier].maintenance(notional, size)

    def initially_required(
        self, notional: int, size: int, leverage: int, open_interest: int, beside: Size
    ) -> int:
        """Initial requirement of a position of this value and these lots, both unsigned."""
        if beside == ALONE:
            return self.initial(notional, size, leverage, open_interest)
        tier = tier_number(self.spec, notional + beside[0], size + beside[1])
        return self._tiers[tier].initial(notional, size, leverage, open_interest)

    def _most_of_any_tier(self, notional: int, size: int) -> int:
        """A bound on the requirement, whatever lies beside the position."""
        return max(tier.maintenance(notional, size) for tier in self._tiers)
