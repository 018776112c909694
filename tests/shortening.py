"""The shortest list that still shows what a long one showed."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def shortened(items: list[T], showing: Callable[[list[T]], list[T] | None]) -> list[T]:
    """Delta debugging: leave out halves, then quarters, and so on down to single ones, until none can go.

    showing  the list, or as much of it as shows it already; None: it does not, or there were tries enough
    """
    size = max(1, len(items) // 2)
    while True:
        at, has_cut = 0, False
        while at < len(items):
            shorter = showing(items[:at] + items[at + size :])
            if shorter is None:
                at += size
            else:
                items, has_cut = shorter, True
        if size == 1 and not has_cut:
            return items
        size = max(1, size // 2)
