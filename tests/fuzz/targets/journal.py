"""Journal files: frames as they come, or any payload under its right checksum, applied to a venue."""

from collections.abc import Iterator
from functools import cache
from itertools import islice
from random import Random

from tests.fuzz import doors
from tests.fuzz.commands import applied, decoded, opens_many, raw_command
from tests.fuzz.targets.frames import framed
from tests.fuzz.venues import world_of
from tests.simulation.worlds import Built
from zerodebt.exchange.commands import Stamped
from zerodebt.exchange.journal import JOURNAL_HEADER, DamagedError, commands, encode

_COMMANDS_MAX = 50


def fuzz(data: bytes) -> str | None:
    file = framed(data, JOURNAL_HEADER)
    venue = _built().venue()
    try:
        for stamped in islice(commands(file), _COMMANDS_MAX):
            assert decoded_again(stamped) == stamped
            if not opens_many(stamped.command):
                applied(venue, stamped)
    except DamagedError as error:
        return doors.said(error)
    return None


def decoded_again(stamped: Stamped) -> Stamped:
    return next(commands(JOURNAL_HEADER + encode(stamped)))


@cache
def _built() -> Built:
    return world_of(3)[1]


def seeds() -> Iterator[bytes]:
    for seed in range(40):
        rng = Random(seed)
        drawn = [decoded(n, 10**18 + n, raw_command(rng.choice)) for n in range(1, 6)]
        yield b"\x00" + JOURNAL_HEADER + b"".join(encode(stamped) for stamped in drawn if stamped)
        yield b"\x01" + b"".join(encode(stamped)[8:] for stamped in drawn if stamped)
        one = decoded(1, 10**18, raw_command(rng.choice))
        if one is not None:
            yield b"\x01" + encode(one)[8:]
