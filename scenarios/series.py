"""Figures of a series of returns, as the literature on prices takes them. Floats; nothing of the venue."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.floating[Any]]


def kurtosis(returns: Series) -> float:
    """Fourth central moment over the squared variance: 3 for a normal law."""
    away = returns - returns.mean()
    return float((away**4).mean() / (away**2).mean() ** 2)


def hill(sizes: Series, share: float) -> float:
    """Hill's exponent of the tail P(X > x) ~ x^-a, from the largest `share` of the sizes.

    a is k over the sum of ln(x_i / x_(k+1)) of the k largest.
    """
    count = max(1, int(len(sizes) * share))
    largest = np.sort(sizes)[-count - 1 :]
    return float(count / np.log(largest[1:] / largest[0]).sum())


def autocorrelation(values: Series, lag: int) -> float:
    """Of a series with itself `lag` steps later, both about the mean of the whole."""
    away = values - values.mean()
    return float((away[lag:] * away[:-lag]).mean() / (away**2).mean())


def slope(x: Series, y: Series) -> float:
    """Of the line through the points with the least squares."""
    away = x - x.mean()
    return float((away * (y - y.mean())).sum() / (away**2).sum())
