"""Command files, line by line, as `zerodebt replay` reads them."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.fuzz import doors, sources

_LINES_MAX = 30


def fuzz(data: bytes) -> str | None:
    """Without an opening line of its own, the text is what follows a good one."""
    lines = data.splitlines()[:_LINES_MAX]
    if b'"venue"' not in data[:400]:
        lines = [*_opening(), *lines]
    return doors.command_file(lines, Path())


def _opening() -> list[bytes]:
    return [json.dumps(line).encode() for line in sources.lines()[:8]]


def seeds() -> Iterator[bytes]:
    texts = [json.dumps(line).encode() for line in sources.lines()]
    yield b"\n".join(texts[:12])
    yield from texts
    for seed in range(20):
        yield b"\n".join(Random(seed).sample(texts[1:], 4))
