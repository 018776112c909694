"""Every kind of file with wrong values in it: let in and worked with to the end, or answered in words."""

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest

from tests.fuzz import sources, tables
from zerodebt.exchange.cases import Case
from zerodebt.exchange.rules import VenueRules
from zerodebt.scenarios.config import Scenario

TRIES = {"scenario": 60, "rulebook": 150, "case": 400, "command_file": 200}


@pytest.mark.parametrize("kind", TRIES)
def test_wrong_values_are_answered_in_a_sentence(kind: str) -> None:
    refused = 0
    for seed in range(TRIES[kind]):
        done, attempt = sources.SOURCES[kind](Random(seed))
        try:
            refused += attempt() is not None
        except Exception as error:
            error.add_note(f"{kind}, seed {seed}: {done}")
            raise
    assert refused > TRIES[kind] // 4


def keys(kind: Any, at: str = "") -> Iterator[str]:
    """Every key that the structs of a schema name, without what a place of its own may hold."""
    for path in tables.schema_paths(kind, {}):
        yield ".".join(str(step) for step in path if not isinstance(step, int))


@pytest.mark.parametrize("kind", [Scenario, VenueRules, Case])
def test_walk_over_a_schema_visits_every_key(kind: type[msgspec.Struct]) -> None:
    """A key of a struct that the walk does not see would never be tried."""
    seen = {key.split(".")[-1] for key in keys(kind)}
    named = {
        field.encode_name for struct in _structs(msgspec.inspect.type_info(kind)) for field in struct.fields
    }
    assert named <= seen, named - seen
    assert len(seen) > 10


def _structs(node: msgspec.inspect.Type) -> Iterator[msgspec.inspect.StructType]:
    if isinstance(node, msgspec.inspect.StructType):
        yield node
        for field in node.fields:
            yield from _structs(field.type)
    for inner in (*getattr(node, "types", ()), getattr(node, "item_type", None), getattr(node, "type", None)):
        if isinstance(inner, msgspec.inspect.Type):
            yield from _structs(inner)
