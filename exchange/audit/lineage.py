"""Whose positions an inventory holds, when they came to it by takeover."""

from collections import deque
from collections.abc import Iterable


class Lineage:
    """Origin and lots of what vaults and fund hold, by account and instrument: the oldest leave first."""

    def __init__(self) -> None:
        self._queues: dict[tuple[int, int], deque[list[int]]] = {}

    def trace(self, account: int, instrument: int, closed: int, opened: int, origin: int | None) -> None:
        """`closed` lots left and `opened` came, from `origin`; what it bought itself has itself as origin."""
        queue = self._queues.setdefault((account, instrument), deque())
        while closed and queue:
            if queue[0][1] > closed:
                queue[0][1] -= closed
                break
            closed -= queue.popleft()[1]
        if opened:
            queue.append([account if origin is None else origin, opened])

    def of(self, account: int, instrument: int) -> Iterable[list[int]]:
        """[origin, lots], the oldest first; nothing for an account that takes nothing over."""
        return self._queues.get((account, instrument), ())
