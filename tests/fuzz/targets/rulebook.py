"""Rulebooks of a user's own as TOML text, up to a venue that trades for a moment."""

from collections.abc import Iterator

import tomli_w

from tests.fuzz import doors, sources
from zerodebt.exchange.rules import profile_names, profile_table


def fuzz(data: bytes) -> str | None:
    return doors.rulebook(data)


def seeds() -> Iterator[bytes]:
    for name in sources.PROFILES:
        table = sources.whole(name)
        yield tomli_w.dumps(table | {"instruments": table["instruments"][:1]}).encode()
    for name in profile_names():
        for key, value in profile_table(name).items():
            if isinstance(value, dict):
                yield tomli_w.dumps({"extends": name, key: value}).encode()
