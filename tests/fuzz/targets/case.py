"""Cases as JSON text, as `zerodebt ask` reads them."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tests.fuzz import doors, sources
from zerodebt.scenarios import questions


def fuzz(data: bytes) -> str | None:
    """The sentence of the first that is refused: a file may hold several.

    A rulebook of a file of one's own is another target's.
    """
    if b".toml" in data:
        return None
    _, texts = questions.texts(doors.written("cases.json", data))
    answers = [doors.case(text, Path()) for text in islice(texts, 3)]
    return next((answer for answer in answers if answer is not None), None)


def seeds() -> Iterator[bytes]:
    for venue in sources.PROFILES:
        case = sources.case_of(venue)
        for question in case["ask"]:
            yield json.dumps(case | {"ask": [question]}).encode()
    yield json.dumps([sources.CASE, sources.CASE | {"balances": {}}]).encode()
