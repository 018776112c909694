"""How a mark follows from its inputs."""

from collections.abc import Callable

from zerodebt.exchange.audit.arithmetic import median
from zerodebt.exchange.events import Marked
from zerodebt.exchange.rules import MarkRules


def mark_ticks(rules: MarkRules, inputs: Marked) -> int:
    """The mark by the rulebook's formula, before the instrument's bounds and halts."""
    return FORMULAS[rules.formula](inputs)


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


FORMULAS: dict[str, Callable[[Marked], int]] = {"index": of_index, "median": of_medians}
