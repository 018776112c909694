"""An instrument as the witness sees it: its book, its prices, its holders."""

from collections import deque

from zerodebt.exchange.audit.arithmetic import Average
from zerodebt.exchange.audit.books import BUY, SELL, Levels
from zerodebt.exchange.audit.forms import grid
from zerodebt.exchange.audit.forms.requirement import requirement
from zerodebt.exchange.audit.forms.valuation import dust_atoms
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import PortfolioRules, VenueRules, requirement_fee_ppb


class Market:
    """State of one instrument.

    reference     the index, or what it would be without the venue's own book
    basis_points  the newest samples of bid + ask - 2 * index
    premiums      samples of the interval
    holders       [lots, cost, entry cost] by account; lots signed, costs in atoms
    leverage      chosen by an account; without an entry it is the largest
    swept_max     atoms that may be left of values that were rounded when all positions were settled
    is_at_entry   the maintenance requirement is a share of what the lots cost
    dust          atoms by which rounding may part a position's value from that of its lots
    isolated      accounts whose position here answers with its own pocket
    stands_still  while forced orders are halted the mark is held
    """

    def __init__(self, number: int, spec: Instrument, rules: VenueRules, pocket: int) -> None:
        self.number = number
        self.spec = spec
        self.pocket = pocket
        self.is_spot = spec.kind == "spot"
        self.maintenance, self.initial, self.most_per_lot, self.most = requirement(
            spec, requirement_fee_ppb(rules)
        )
        if rules.portfolio.moves_ppb and not self.is_spot:
            self._bound_by_grid(rules.portfolio)
        self.is_at_entry = spec.maintenance_basis == "entry"
        self.dust = dust_atoms(spec)
        self.bids, self.asks = Levels(), Levels()
        self.sides = {BUY: self.bids, SELL: self.asks}
        self.index: int | None = None
        self.reference: int | None = None
        self.mark: int | None = None
        self.previous_mark: int | None = None
        self.last: int | None = None
        self.stands_still = False
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

    def required(self, lots: int, cost: int, value: int) -> int:
        """Maintenance requirement of a position (signed): a share of its value, or of what it cost."""
        return self.maintenance(abs(cost if self.is_at_entry else value), abs(lots))
