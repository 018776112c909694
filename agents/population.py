"""What every population offers to the one who opens the world and to the one who reports on it."""

from typing import Annotated, Protocol

import numpy as np
from msgspec import Meta, Struct

from zerodebt.agents.world import World
from zerodebt.exchange.commands import Command, Role
from zerodebt.exchange.events import Batch, Rejected
from zerodebt.exchange.units import SECOND_NS, Int64Array

MILLISECOND_NS = 10**6

# What a population's parameters may be; a scenario file beyond it is refused when it is read.
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Leverage = Annotated[int, Meta(ge=1, le=1000)]
NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
PositiveShare = Annotated[float, Meta(gt=0, le=1)]
Usd = Annotated[float, Meta(gt=0, le=1e12)]
WakeSeconds = Annotated[float, Meta(ge=0.001, le=60)]
WakeOverMonths = Annotated[float, Meta(ge=0.001, le=86_400)]


class Positions(Struct, frozen=True):
    """Positions that a population starts with; every array is (instruments, accounts of the population).

    lots            signed
    entry_ticks     what was once paid, for ranking and reports
    leverage        chosen divisor of the initial requirement
    isolated_atoms  own margin of an isolated position, 0 for cross
    """

    lots: Int64Array
    entry_ticks: Int64Array
    leverage: Int64Array
    isolated_atoms: Int64Array


class Population(Protocol):
    """A class of accounts that act alike, held as arrays.

    accounts        account numbers, in the order of the population's arrays
    deposits_atoms  what each account brings before the start
    counters        what the population did, by name
    """

    name: str
    role: Role
    accounts: Int64Array
    deposits_atoms: Int64Array
    positions: Positions | None
    counters: dict[str, int]

    def opening_commands(self) -> list[Command]:
        """What the accounts say before the start, besides their deposits and positions."""
        ...

    def start(self, world: World) -> None:
        """Begin to act."""


def account_range(first_account: int, count: int) -> Int64Array:
    return np.arange(first_account, first_account + count, dtype=np.int64)


def to_ns(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def latencies_ns(
    generator: np.random.Generator, count: int, median_ms: float, ln_sd: float = 0.3
) -> list[int]:
    """One latency an account, lognormal around the median."""
    drawn = median_ms * MILLISECOND_NS * np.exp(ln_sd * generator.standard_normal(count))
    latencies: list[int] = np.rint(drawn).astype(np.int64).tolist()
    return latencies


def count_rejections(counters: dict[str, int], batch: Batch) -> None:
    """A refused command is one `Rejected` event; the count stands under "rejected"."""
    events = batch.events
    if events and isinstance(events[0], Rejected):
        counters["rejected"] += 1
