"""Whole numbers: roundings, shares, decays and the averages that rest on them."""

from functools import lru_cache

PPB = 10**9
PPT = 10**12
UNIT = 10**18


def div_ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def median(values: list[int]) -> int:
    """Median; the mean of the middle two, rounded down, when there are two."""
    values.sort()
    half = len(values) // 2
    return values[half] if len(values) & 1 else (values[half - 1] + values[half]) // 2


def split(total: int, weights: list[int]) -> list[int]:
    """Whole shares first, then one atom each to the largest fractions, the earlier first among equals."""
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    fractions = sorted((-(total * weight % whole), k) for k, weight in enumerate(weights))
    for _, k in fractions[: total - sum(shares)]:
        shares[k] += 1
    return shares


@lru_cache(maxsize=1024)
def decay(elapsed_ns: int, tau_ns: int) -> int:
    """exp(-elapsed/tau) times 10^18, to the nearest unit: the reciprocal of exp(elapsed/tau)'s series."""
    if elapsed_ns > 60 * tau_ns:
        return 0
    scale = 1 << 256
    x = (elapsed_ns * scale // tau_ns) >> 6
    term = total = scale
    k = 1
    while term:
        term = term * x // (k * scale)
        total += term
        k += 1
    for _ in range(6):
        total = total * total // scale
    return (UNIT * scale + total // 2) // total


_FRACTION_BITS = 64


class Average:
    """The past's weight is floor(weight*decay), its mean stays; a new value weighs its time.

    The numerator is kept in units of 2^-64. Compared with a tolerance of a few parts in 10^14, and of a few
    units in the denominator, which another rounding of the decays may leave: it only matters when the true
    quotient lies that close to a whole tick.
    """

    __slots__ = ("denominator", "numerator", "sampled_at_ns", "tau_ns")

    def __init__(self, tau_ns: int) -> None:
        self.tau_ns = tau_ns
        self.numerator = self.denominator = 0
        self.sampled_at_ns = -1

    def add(self, value: int, time_ns: int) -> None:
        elapsed = time_ns - self.sampled_at_ns if self.sampled_at_ns >= 0 else 0
        self.sampled_at_ns = time_ns
        if elapsed > 0:
            kept = self.denominator * decay(elapsed, self.tau_ns) // UNIT
            past = self.numerator * kept // self.denominator if kept else 0
            self.numerator = past + (value * elapsed << _FRACTION_BITS)
            self.denominator = kept + elapsed

    def agrees(self, stated: int | None, divisor: int = 1) -> bool:
        if stated is None or not self.denominator:
            return stated is None and not self.denominator
        low = stated * self.denominator * divisor
        numerator = self.numerator >> _FRACTION_BITS
        slack = 4096 + (abs(numerator) >> 44) + 4 * abs(numerator) // self.denominator
        return low - slack <= numerator < low + self.denominator * divisor + slack

    def floor(self, divisor: int = 1) -> int | None:
        whole = self.denominator * divisor << _FRACTION_BITS
        return self.numerator // whole if whole else None
