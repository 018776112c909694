"""An instrument as the witness sees it: its book, its prices, its holders."""

from zerodebt.exchange.audit.arithmetic import Average
from zerodebt.exchange.audit.books import BUY, SELL, Levels
from zerodebt.exchange.audit.forms.funding import Premiums
from zerodebt.exchange.audit.forms.requirement import requirement
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.rules import VenueRules


class Market:
    """State of one instrument.

    holders       [lots, cost, entry cost] by account; lots signed, costs in atoms
    isolated      accounts whose position here answers with its own pocket
    stands_still  while forced orders are halted the mark is held
    """

    def __init__(self, number: int, spec: Instrument, rules: VenueRules, pocket: int) -> None:
        self.number = number
        self.spec = spec
        self.pocket = pocket
        self.is_spot = spec.kind == "spot"
        self.maintenance, self.most_per_lot = requirement(spec)
        self.bids, self.asks = Levels(), Levels()
        self.sides = {BUY: self.bids, SELL: self.asks}
        self.index: int | None = None
        self.mark: int | None = None
        self.previous_mark: int | None = None
        self.last: int | None = None
        self.stands_still = False
        self.basis = Average(rules.mark.basis_ema_ns)
        self.median = Average(rules.mark.book_ema_ns)
        self.premiums = Premiums()
        self.marked_seq = self.sampled_seq = -1
        self.holders: dict[int, list[int]] = {}
        self.isolated: set[int] = set()
        self.cost_sum = 0
        self.lots_sum = 0

    def best(self, side: int) -> int | None:
        key = self.sides[side].best_key()
        return None if key is None else -side * key

    def lots_of(self, account: int) -> int:
        """Signed lots; 0 without a position."""
        position = self.holders.get(account)
        return position[0] if position else 0
