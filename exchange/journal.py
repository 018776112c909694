"""Encoding of commands and events: frames of length, checksum and payload. Bytes in, bytes out.

A file starts with an eight-byte header; then each frame is a little-endian length (4 bytes), the CRC-32 of
the payload (4 bytes) and the payload, a msgpack array. Whatever breaks off or is damaged is found at its
frame.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator

import msgspec

from zerodebt.exchange.commands import Stamped
from zerodebt.exchange.events import Batch
from zerodebt.exchange.fields import OneLineError
from zerodebt.exchange.venue import Venue

JOURNAL_HEADER = b"zdjrnl01"
EVENTS_HEADER = b"zdevnt01"
_FRAME = struct.Struct("<II")
_ENCODER = msgspec.msgpack.Encoder()
_COMMANDS = msgspec.msgpack.Decoder(Stamped)
_BATCHES = msgspec.msgpack.Decoder(Batch)


class DamagedError(OneLineError):
    """A journal or event file is whole only up to `whole` entries; `good_bytes` is where they end.

    `breaks_off` says that the file ends inside its last frame, as it does when its writer was killed.
    """

    def __init__(self, what: str, whole: int, good_bytes: int, *, breaks_off: bool = False) -> None:
        super().__init__(f"{what}; whole up to entry {whole}")
        self.whole = whole
        self.good_bytes = good_bytes
        self.breaks_off = breaks_off


def encode(entry: Stamped | Batch) -> bytes:
    """One frame."""
    payload = _ENCODER.encode(entry)
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def frame_at(data: bytes | memoryview, at: int) -> bytes:
    """The frame that starts at byte `at`, whole or not."""
    view = memoryview(data)
    length = int.from_bytes(view[at : at + 4], "little")
    return bytes(view[at : at + _FRAME.size + length])


def _frames(data: bytes | memoryview, header: bytes) -> Iterator[tuple[int, memoryview]]:
    if bytes(data[: len(header)]) != header:
        raise DamagedError(f"starts with {bytes(data[:8])!r}, not with {header!r}", 0, 0)
    view = memoryview(data)
    at = len(header)
    number = 0
    while at < len(view):
        if at + _FRAME.size > len(view):
            raise DamagedError(f"breaks off inside the frame at byte {at}", number, at, breaks_off=True)
        length, checksum = _FRAME.unpack_from(view, at)
        payload = view[at + _FRAME.size : at + _FRAME.size + length]
        if len(payload) < length:
            raise DamagedError(f"breaks off inside the frame at byte {at}", number, at, breaks_off=True)
        if zlib.crc32(payload) != checksum:
            raise DamagedError(f"checksum differs in the frame at byte {at}", number, at)
        yield at, payload
        at += _FRAME.size + length
        number += 1


def commands(data: bytes | memoryview) -> Iterator[Stamped]:
    """The journal's commands in order; raises `DamagedError` after the last whole one."""
    for number, (at, payload) in enumerate(_frames(data, JOURNAL_HEADER)):
        try:
            yield _COMMANDS.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            what = f"entry at byte {at} is not a command: {error}"
            raise DamagedError(what, number, at) from None


def batches(data: bytes | memoryview) -> Iterator[Batch]:
    """The event file's batches in order; raises `DamagedError` after the last whole one."""
    for number, (at, payload) in enumerate(_frames(data, EVENTS_HEADER)):
        try:
            yield _BATCHES.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            what = f"entry at byte {at} is not a batch of events: {error}"
            raise DamagedError(what, number, at) from None


def replay(venue: Venue, journal: Iterable[Stamped]) -> Iterator[Batch]:
    """Apply a journal's commands to a venue; those that it has already seen are passed over."""
    for stamped in journal:
        if stamped.seq > venue.seq:
            yield venue.apply(stamped.command, stamped.time_ns)
