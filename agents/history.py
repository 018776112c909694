"""What a trader remembers of the index: a ring of samples."""

import numpy as np

from zerodebt.agents.wealth import Floats
from zerodebt.exchange.views import View


class IndexHistory:
    """Log index prices at equal intervals, the newest `samples` of them; before the first the price is flat.

    A price at or below zero has no logarithm: it is remembered as one tick.
    """

    def __init__(self, instruments: int, samples: int) -> None:
        self._log = np.zeros((samples, instruments))
        self._taken = 0

    def sample(self, view: View) -> Floats | None:
        """Take a sample and return the prices in ticks, or None while an instrument has none."""
        ticks = [view.index_ticks(number) for number in range(self._log.shape[1])]
        if any(price is None for price in ticks):
            return None
        return self.note(np.array(ticks, np.float64))

    def note(self, prices: Floats) -> Floats:
        """Take these prices as a sample and return them."""
        logs = np.log(np.maximum(prices, 1.0))
        if not self._taken:
            self._log[:] = logs
        self._log[self._taken % len(self._log)] = logs
        self._taken += 1
        return prices

    def log_return(self, back: int) -> Floats:
        """Log return of each instrument over the last `back` samples, fewer where there are fewer."""
        newest = self._taken - 1
        oldest = max(0, newest - min(back, len(self._log) - 1))
        change: Floats = self._log[newest % len(self._log)] - self._log[oldest % len(self._log)]
        return change
