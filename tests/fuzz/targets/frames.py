"""A file of frames out of any bytes."""

import struct
import zlib

_FRAME = struct.Struct("<II")


def framed(data: bytes, header: bytes) -> bytes:
    """The first byte says how the rest is meant: as the whole file, or as one payload to be framed."""
    kind, rest = data[:1], data[1:]
    if kind == b"\x01":
        return header + _FRAME.pack(len(rest), zlib.crc32(rest)) + rest
    return header + rest if kind == b"\x02" else rest
