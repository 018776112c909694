"""How a mark follows from its inputs, and how far from it an order's price may lie."""

from collections.abc import Callable, Sequence

from zerodebt.exchange.audit.arithmetic import PPB, PPT, median
from zerodebt.exchange.events import Marked
from zerodebt.exchange.rules import BandRules, MarkRules, VenueRules


def mark_ticks(rules: MarkRules, inputs: Marked) -> int:
    """The mark by the rulebook's formula and within its band, before the instrument's bounds and halts."""
    mark, index = FORMULAS[rules.formula](inputs), inputs.index_ticks
    if not rules.band_ppb:
        return mark
    width = abs(index) * rules.band_ppb // PPB
    return max(index - width, min(index + width, mark))


def of_index(inputs: Marked) -> int:
    return inputs.index_ticks


def of_medians(inputs: Marked) -> int:
    """Median of index with basis, book median and other venues' perpetuals; of two, with the book's average.

    The mean of the middle two, rounded down; the index itself when there is nothing else.
    """
    given = (inputs.index_basis_ticks, inputs.book_median_ticks, inputs.perp_median_ticks)
    main = [ticks for ticks in given if ticks is not None]
    if len(main) == 2 and inputs.book_ema_ticks is not None:
        main.append(inputs.book_ema_ticks)
    return median(main) if main else inputs.index_ticks


def of_funding(inputs: Marked) -> int:
    """Median of the funded index, the index with the moving basis, and the last price."""
    given = (inputs.funded_index_ticks, inputs.basis_mean_ticks, inputs.spread[2])
    known = [ticks for ticks in given if ticks is not None]
    return median(known) if known else inputs.index_ticks


def of_funded_index(inputs: Marked) -> int:
    return inputs.index_ticks if inputs.funded_index_ticks is None else inputs.funded_index_ticks


def of_average_basis(inputs: Marked) -> int:
    return inputs.index_ticks if inputs.index_basis_ticks is None else inputs.index_basis_ticks


FORMULAS: dict[str, Callable[[Marked], int]] = {
    "index": of_index,
    "median": of_medians,
    "funding_median": of_funding,
    "fair": of_funded_index,
    "basis_ema": of_average_basis,
}


def reads_funding(rules: VenueRules) -> bool:
    return rules.mark.formula in ("funding_median", "fair")


def reads_moving_basis(rules: VenueRules) -> bool:
    return rules.mark.formula == "funding_median" or rules.orders.band.formula == "index"


def funded_index_ticks(index: int, rate_ppt: int, left_ns: int, interval_ns: int) -> int:
    """The index with what of the last funding rate is still to be paid; rounded down."""
    return index + index * rate_ppt * left_ns // (PPT * interval_ns)


def moving_basis_ticks(doubled: Sequence[int]) -> int:
    """Mean of half of each sample, rounded down; 0 without one."""
    return sum(doubled) // (2 * len(doubled)) if doubled else 0


def furthest_ticks(rules: BandRules, side: int, mark: int, index: int, premium_ticks: int) -> int | None:
    """How far up a buy order's price may reach, and how far down a sell order's; rounded inwards."""
    if rules.formula == "none":
        return None
    if rules.formula == "mark":
        return mark + side * (abs(mark) * rules.width_ppb // PPB)
    inner = max(0, abs(index) * rules.inner_ppb // PPB + side * premium_ticks)
    return index + side * min(inner, abs(index) * rules.outer_ppb // PPB)
