"""Index from sources, mark price, and the meter of how far prices have moved."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from zerodebt.exchange.book import Book
from zerodebt.exchange.commands import BUY, SELL, Observation
from zerodebt.exchange.instruments import Instrument, MarginTable, margin_table, value_atoms, values_atoms
from zerodebt.exchange.rules import VenueRules
from zerodebt.exchange.units import (
    FIXED_POINT,
    PPB,
    Int64Array,
    div_ceil,
    exp_decay_fp,
    median,
    weighted_median,
)


class Average(Struct):
    """Exponentially weighted average over irregular samples: num = num*decay + x*t, den = den*decay + t.

    Source: Hyperliquid docs, Robust price indices. Rounded down to the tick.
    """

    numerator: int = 0
    denominator: int = 0
    sampled_at_ns: int = -1

    def add(self, value: int, time_ns: int, tau_ns: int) -> None:
        elapsed = time_ns - self.sampled_at_ns if self.sampled_at_ns >= 0 else 0
        self.sampled_at_ns = time_ns
        if elapsed <= 0:
            return
        decay = exp_decay_fp(elapsed, tau_ns)
        self.numerator = self.numerator * decay // FIXED_POINT + value * elapsed
        self.denominator = self.denominator * decay // FIXED_POINT + elapsed

    def value(self, divisor: int = 1) -> int | None:
        if not self.denominator:
            return None
        return self.numerator // (self.denominator * divisor)


class Prices(Struct):
    """An instrument's prices. `observed` has the last (price, published) of each source of the rulebook."""

    observed: list[tuple[int, int] | None] = msgspec.field(default_factory=list)
    index_ticks: int | None = None
    mark_ticks: int | None = None
    previous_mark_ticks: int | None = None
    last_ticks: int | None = None
    meter_ticks: int = 0
    basis: Average = msgspec.field(default_factory=Average)
    book: Average = msgspec.field(default_factory=Average)
    premium_sum_ppt: int = 0
    premium_samples: int = 0


class MarkInputs(Struct, frozen=True):
    spread: tuple[int | None, int | None, int | None]
    index_basis_ticks: int
    book_median_ticks: int | None
    perp_median_ticks: int | None
    book_ema_ticks: int | None


class Market:
    """An instrument, its margin table and its prices."""

    def __init__(self, number: int, instrument: Instrument, fee_ppb: int = 0) -> None:
        self.number = number
        self.instrument = instrument
        self.margin: MarginTable = margin_table(instrument, fee_ppb)
        self.tick_value = instrument.tick_value_atoms
        self.prices = Prices()

    @property
    def mark_ticks(self) -> int:
        """The mark; only asked for once there is one."""
        mark = self.prices.mark_ticks
        assert mark is not None
        return mark

    def value_atoms(self, lots: int) -> int:
        """Value of signed lots at the mark."""
        return value_atoms(self.instrument, self.mark_ticks, lots)

    def values_atoms(self, lots: Int64Array) -> Int64Array:
        """Value at the mark of each position in an array."""
        return values_atoms(self.instrument, self.mark_ticks, lots)

    def gain_atoms(self, lots: int, price_ticks: int) -> int:
        """What signed lots gain on their way from `price_ticks` to the mark."""
        return self.value_atoms(lots) - value_atoms(self.instrument, price_ticks, lots)


def observe(market: Market, rules: VenueRules, observations: Iterable[Observation]) -> None:
    """Keep each source's newest observation; one that is not newer than what is known is ignored. MARK-03."""
    known = market.prices.observed
    known += [None] * (len(rules.sources) - len(known))
    for seen in observations:
        before = known[seen.source]
        if before is None or seen.published_ns > before[1]:
            known[seen.source] = (seen.price_ticks, seen.published_ns)


def source_median(market: Market, rules: VenueRules, kind: str, time_ns: int) -> int | None:
    """Weighted median over the sources of a kind that are not too old, or None."""
    fresh = [
        (seen[0], source.weight)
        for seen, source in zip(market.prices.observed, rules.sources, strict=False)
        if source.kind == kind and seen is not None and time_ns - seen[1] <= rules.margin.index_age_max_ns
    ]
    return weighted_median(fresh) if fresh else None


def mark_inputs(market: Market, rules: VenueRules, book: Book, index_ticks: int, time_ns: int) -> MarkInputs:
    """Sample the averages and gather the inputs of the mark, from the book as it stands."""
    prices = market.prices
    bid, ask = book.best_ticks(BUY), book.best_ticks(SELL)
    book_median = None
    if bid is not None and ask is not None:
        prices.basis.add(bid + ask - 2 * index_ticks, time_ns, rules.mark.basis_ema_ns)
        if prices.last_ticks is not None:
            book_median = median((bid, ask, prices.last_ticks))
            prices.book.add(book_median, time_ns, rules.mark.book_ema_ns)
    return MarkInputs(
        (bid, ask, prices.last_ticks),
        index_ticks + (prices.basis.value(divisor=2) or 0),
        book_median,
        source_median(market, rules, "perp", time_ns),
        prices.book.value(),
    )


def mark_ticks(inputs: MarkInputs) -> int:
    """Median of the inputs; where one of the three main ones is missing the book's average joins."""
    main = [inputs.index_basis_ticks]
    main += [x for x in (inputs.book_median_ticks, inputs.perp_median_ticks) if x is not None]
    if len(main) == 2 and inputs.book_ema_ticks is not None:
        main.append(inputs.book_ema_ticks)
    return median(main)


def move_ppb(market: Market, mark: int) -> int:
    """How far the mark moved, in ppb of a reference that is fixed at the first mark; rounded up.

    Summed over the largest move of each instant it bounds how far any price can be from where an account was
    last looked at, which is what lets most instants skip most accounts.
    """
    prices = market.prices
    if prices.mark_ticks is None:
        prices.meter_ticks = max(1, abs(mark))
        return 0
    return div_ceil(abs(mark - prices.mark_ticks) * PPB, prices.meter_ticks)
