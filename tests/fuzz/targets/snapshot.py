"""Snapshots: whatever is not a whole snapshot of such a venue is refused."""

from collections.abc import Iterator
from functools import cache

from tests.fuzz import doors
from tests.fuzz.venues import day, world_of
from tests.simulation.worlds import Built, World
from zerodebt.exchange.state import SnapshotError


def fuzz(data: bytes) -> str | None:
    built = _world()[1]
    try:
        venue = built.restore(data)
    except SnapshotError as error:
        return doors.said(error)
    assert built.restore(venue.snapshot()).state_hash() == venue.state_hash()
    venue.check()
    return None


@cache
def _world() -> tuple[World, Built]:
    return world_of(3)


def seeds() -> Iterator[bytes]:
    world, built = _world()
    venue = built.venue()
    yield venue.snapshot()
    for n, _ in enumerate(day(world, built, venue, 60)):
        if n % 10 == 0:
            yield venue.snapshot()
