"""Event files: frames as they come, and any payload in a frame with the right checksum."""

from collections.abc import Iterator

from tests.fuzz import doors
from tests.fuzz.targets.frames import framed
from tests.fuzz.venues import day, world_of
from zerodebt.exchange.journal import EVENTS_HEADER, DamagedError, batches, encode


def fuzz(data: bytes) -> str | None:
    file = framed(data, EVENTS_HEADER)
    try:
        for batch in batches(file):
            assert next(batches(EVENTS_HEADER + encode(batch))) == batch
    except DamagedError as error:
        return doors.said(error)
    return None


def seeds() -> Iterator[bytes]:
    for seed in range(4):
        world, built = world_of(seed)
        venue = built.venue()
        batches_of_day = [venue.opening(), *day(world, built, venue, 60)]
        frames = [encode(batch) for batch in batches_of_day]
        yield b"\x00" + EVENTS_HEADER + b"".join(frames[:4])
        yield from (b"\x01" + frame[8:] for frame in frames)
