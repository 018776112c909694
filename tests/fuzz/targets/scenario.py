"""Scenario files as TOML text, up to the opening of their world."""

import tomllib
from collections.abc import Iterator

from tests.fuzz import doors
from tests.fuzz.sources import SMALL
from zerodebt.scenarios import config
from zerodebt.scenarios.quantities import CallError


def fuzz(data: bytes) -> str | None:
    """A file that extends a large world would take a second to open."""
    if b"extends" in data and b"oil-client" not in data and b"nasdaq" not in data:
        return None
    file = doors.written("fuzzed.toml", data)
    try:
        table = config.read_scenario(file)
    except CallError as error:
        return doors.said(error)
    return doors.scenario(table, config.catalogue(), 20)


def seeds() -> Iterator[bytes]:
    for name in SMALL:
        text = (config.catalogue() / f"{name}.toml").read_bytes()
        yield text
        for key, value in tomllib.loads(text.decode()).items():
            if isinstance(value, str | int) and "\n" not in str(value):
                yield f'extends = "{name}"\n{key} = {value!r}'.encode()
    yield b'extends = "oil-client"\nvenue.waterfall = ["book"]\nusd_rate = "1e3"'
    yield b'extends = "oil-client"\n[clock]\nindex_every_s = 0.5'
