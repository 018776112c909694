"""Index from sources, mark price, and the meter of how far prices have moved."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from zerodebt.exchange.book import Book
from zerodebt.exchange.commands import BUY, SELL, Observation
from zerodebt.exchange.instruments import Instrument, MarginTable, margin_table, value_atoms, values_atoms
from zerodebt.exchange.rules import BandRules, IndexRules, MarkRules, VenueRules
from zerodebt.exchange.units import (
    FIXED_POINT,
    PPB,
    PPT,
    Int64Array,
    div_ceil,
    div_floor,
    exp_decay_fp,
    median,
    mul_ppb_floor,
    weighted_median,
)

Weighted = tuple[int, int]
"""(price_ticks, weight)."""


class Average(Struct):
    """Exponentially weighted average over irregular samples: num = num*decay + x*t, den = den*decay + t.

    Source: Hyperliquid docs, Robust price indices. Rounded down to the tick. The weight of the past is
    rounded down as it fades, and its mean stays: rounded each by itself, a constant below zero would average
    to less.
    """

    numerator: int = 0
    denominator: int = 0
    sampled_at_ns: int = -1

    def add(self, value: int, time_ns: int, tau_ns: int) -> None:
        elapsed = time_ns - self.sampled_at_ns if self.sampled_at_ns >= 0 else 0
        self.sampled_at_ns = time_ns
        if elapsed <= 0:
            return
        faded = self.denominator * exp_decay_fp(elapsed, tau_ns) // FIXED_POINT
        past = div_floor(self.numerator * faded, self.denominator) if faded else 0
        self.numerator = past + value * elapsed
        self.denominator = faded + elapsed

    def value(self, divisor: int = 1) -> int | None:
        if not self.denominator:
            return None
        return self.numerator // (self.denominator * divisor)


class Prices(Struct):
    """An instrument's prices, and what the next mark and the next funding rate remember.

    observed           the last (price, published) of each source of the rulebook
    basis_points       samples of bid + ask - 2 * index, the newest last, where the rulebook takes any
    premium_sum_ppt    of this interval's samples; the k-th counts k times where their average is linear
    premiums_ppt       the samples themselves, where the largest and smallest do not count
    last_rate_ppt      the last funding rate that was set
    funding_index_ppm  what one quantum has paid, where funding accrues by index
    """

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
    premiums_ppt: list[int] = msgspec.field(default_factory=list)
    basis_points: list[int] = msgspec.field(default_factory=list)
    next_basis_ns: int = 0
    last_rate_ppt: int = 0
    funding_index_ppm: int = 0


class MarkInputs(Struct, frozen=True):
    """What a mark is made of; see the event `Marked`. `spread` is (best bid, best ask, last)."""

    index_ticks: int
    spread: tuple[int | None, int | None, int | None]
    index_basis_ticks: int
    book_median_ticks: int | None = None
    perp_median_ticks: int | None = None
    book_ema_ticks: int | None = None
    funded_index_ticks: int | None = None
    basis_mean_ticks: int | None = None


class Market:
    """An instrument, its margin table and its prices, as what holds one position of each account.

    number             of its row in the account tables
    instrument_number  of its book, prices and status: the same, but for the short leg of hedge mode
    """

    def __init__(
        self, number: int, instrument: Instrument, fee_ppb: int = 0, instrument_number: int | None = None
    ) -> None:
        self.number = number
        self.instrument_number = number if instrument_number is None else instrument_number
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
    """Keep each source's newest observation; one that is not newer than what is known is ignored. MARK-03.

    The venue alone speaks for its own book.
    """
    known = market.prices.observed
    known += [None] * (len(rules.sources) - len(known))
    for seen in observations:
        before = known[seen.source]
        if rules.sources[seen.source].kind != "own" and (before is None or seen.published_ns > before[1]):
            known[seen.source] = (seen.price_ticks, seen.published_ns)


def observe_own(market: Market, rules: VenueRules, book: Book, time_ns: int) -> None:
    """Let the venue's own book speak as a source, where it is one and has a price."""
    price = own_ticks(rules.index, book, market.prices.last_ticks)
    if price is None:
        return
    known = market.prices.observed
    for number, source in enumerate(rules.sources):
        if source.kind == "own":
            known[number] = (price, time_ns)


def own_ticks(rules: IndexRules, book: Book, last_ticks: int | None) -> int | None:
    """The book's mid, rounded down, or the last price; None where there is none."""
    if rules.own == "last":
        return last_ticks
    bid, ask = book.best_ticks(BUY), book.best_ticks(SELL)
    return None if bid is None or ask is None else div_floor(bid + ask, 2)


def fresh_prices(market: Market, rules: VenueRules, kinds: tuple[str, ...], time_ns: int) -> list[Weighted]:
    """Price and weight of the sources of these kinds that are not too old. MARK-02."""
    return [
        (seen[0], source.weight)
        for seen, source in zip(market.prices.observed, rules.sources, strict=False)
        if source.kind in kinds and seen is not None and time_ns - seen[1] <= rules.margin.index_age_max_ns
    ]


def source_median(market: Market, rules: VenueRules, kind: str, time_ns: int) -> int | None:
    """Weighted median over the sources of a kind that are not too old, or None."""
    fresh = fresh_prices(market, rules, (kind,), time_ns)
    return weighted_median(fresh) if fresh else None


def index_ticks(rules: IndexRules, fresh: list[Weighted]) -> int | None:
    """The index of fresh sources, or None without any; weights of missing ones fall away. MARK-05."""
    if not fresh:
        return None
    kept = without_outliers(rules, fresh) if rules.outlier_ppb else fresh
    if rules.statistic == "median":
        return weighted_median(kept)
    return div_floor(sum(price * weight for price, weight in kept), sum(weight for _, weight in kept))


def reference_ticks(market: Market, rules: VenueRules, time_ns: int) -> int | None:
    """The index without the venue's own book; None where that is no source, or no other one is fresh."""
    if not any(source.kind == "own" for source in rules.sources):
        return None
    return index_ticks(rules.index, fresh_prices(market, rules, ("spot",), time_ns))


def without_outliers(rules: IndexRules, fresh: list[Weighted]) -> list[Weighted]:
    """The sources with those dropped or clamped that are too far from their weighted median.

    That median is the price of one of them, so that there is always one that stays. The distance allowed is
    rounded down to the tick.
    """
    middle = weighted_median(fresh)
    allowed = mul_ppb_floor(abs(middle), rules.outlier_ppb)
    low, high = middle - allowed, middle + allowed
    if rules.outliers == "drop":
        return [(price, weight) for price, weight in fresh if low <= price <= high]
    return [(max(low, min(high, price)), weight) for price, weight in fresh]


def mark_inputs(
    market: Market, rules: VenueRules, book: Book, index: int, time_ns: int, funding_left_ns: int
) -> MarkInputs:
    """Sample the averages and gather the inputs of the mark, from the book as it stands."""
    prices = market.prices
    mark = rules.mark
    bid, ask = book.best_ticks(BUY), book.best_ticks(SELL)
    book_median = None
    if bid is not None and ask is not None:
        prices.basis.add(bid + ask - 2 * index, time_ns, mark.basis_ema_ns)
        if samples_basis(rules):
            add_basis_point(prices, mark, bid + ask - 2 * index, time_ns)
        if prices.last_ticks is not None:
            book_median = median((bid, ask, prices.last_ticks))
            prices.book.add(book_median, time_ns, mark.book_ema_ns)
    funded = basis_mean = None
    if mark.formula in ("funding_median", "fair"):
        funded = funded_index_ticks(index, prices.last_rate_ppt, funding_left_ns, rules.funding.interval_ns)
    if samples_basis(rules) and prices.basis_points:
        basis_mean = index + basis_mean_ticks(prices.basis_points)
    return MarkInputs(
        index,
        (bid, ask, prices.last_ticks),
        index + (prices.basis.value(divisor=2) or 0),
        book_median,
        source_median(market, rules, "perp", time_ns),
        prices.book.value(),
        funded,
        basis_mean,
    )


def samples_basis(rules: VenueRules) -> bool:
    """Does anything in the rulebook read the moving basis?"""
    return rules.mark.formula == "funding_median" or rules.orders.band.formula == "index"


def add_basis_point(prices: Prices, rules: MarkRules, doubled_basis: int, time_ns: int) -> None:
    """Keep the newest points, each taken when it is due; a time at which the book has no mid takes none."""
    if time_ns < prices.next_basis_ns:
        return
    prices.next_basis_ns = (time_ns // rules.basis_sample_ns + 1) * rules.basis_sample_ns
    prices.basis_points = [*prices.basis_points, doubled_basis][-rules.basis_points :]


def basis_mean_ticks(doubled: list[int]) -> int:
    """Mean of half of each value, rounded down."""
    return div_floor(sum(doubled), 2 * len(doubled))


def funded_index_ticks(index: int, rate_ppt: int, left_ns: int, interval_ns: int) -> int:
    """index * (1 + rate * left / interval), rounded down: the basis that the next funding will have paid off.

    Source: Binance FAQ, Mark price (price 1); BitMEX docs, Fair price marking.
    """
    return index + div_floor(index * rate_ppt * left_ns, PPT * interval_ns)


def mark_ticks(rules: MarkRules, inputs: MarkInputs) -> int:
    """The mark that the inputs give, within the rulebook's band around the index."""
    mark = _unbounded_mark_ticks(rules, inputs)
    if not rules.band_ppb:
        return mark
    width = mul_ppb_floor(abs(inputs.index_ticks), rules.band_ppb)
    return max(inputs.index_ticks - width, min(inputs.index_ticks + width, mark))


def _unbounded_mark_ticks(rules: MarkRules, inputs: MarkInputs) -> int:
    match rules.formula:
        case "median":
            return _median_mark_ticks(inputs)
        case "index":
            return inputs.index_ticks
        case "funding_median":
            candidates = (inputs.funded_index_ticks, inputs.basis_mean_ticks, inputs.spread[2])
            return median([x for x in candidates if x is not None])
        case "fair":
            assert inputs.funded_index_ticks is not None
            return inputs.funded_index_ticks
        case "basis_ema":
            return inputs.index_basis_ticks


def _median_mark_ticks(inputs: MarkInputs) -> int:
    """Median of the inputs; where one of the three main ones is missing the book's average joins."""
    main = [inputs.index_basis_ticks]
    main += [x for x in (inputs.book_median_ticks, inputs.perp_median_ticks) if x is not None]
    if len(main) == 2 and inputs.book_ema_ticks is not None:
        main.append(inputs.book_ema_ticks)
    return median(main)


def through_mark_ticks(mark: int, side: int, share_ppb: int) -> int:
    """The price a share of the mark through it, up for buys and down for sells; rounded towards the mark."""
    return mark + side * mul_ppb_floor(abs(mark), share_ppb)


def band_ticks(rules: BandRules, side: int, mark: int, index: int, premium_ticks: int) -> int | None:
    """Furthest price that an order of a side may have, or None where there is no band.

    premium_ticks  average of mid less index
    Sources: Deribit support, Trading bandwidth; OKX help, Price limits.
    """
    match rules.formula:
        case "none":
            return None
        case "mark":
            return through_mark_ticks(mark, side, rules.width_ppb)
        case "index":
            inner = mul_ppb_floor(abs(index), rules.inner_ppb) + side * premium_ticks
            return index + side * min(max(0, inner), mul_ppb_floor(abs(index), rules.outer_ppb))


def market_band_ticks(market: Market, rules: VenueRules, side: int) -> int | None:
    """The band of a market as it is marked."""
    prices = market.prices
    assert prices.mark_ticks is not None
    assert prices.index_ticks is not None
    premium = basis_mean_ticks(prices.basis_points) if prices.basis_points else 0
    return band_ticks(rules.orders.band, side, prices.mark_ticks, prices.index_ticks, premium)


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


def index_move_ppb(market: Market, before_ticks: int | None) -> int:
    """`move_ppb` for a spot market whose index says what an asset counts for as margin."""
    prices = market.prices
    assert prices.index_ticks is not None
    if before_ticks is None:
        prices.meter_ticks = max(1, abs(prices.index_ticks))
        return 0
    return div_ceil(abs(prices.index_ticks - before_ticks) * PPB, prices.meter_ticks)
