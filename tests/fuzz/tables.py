"""Tables with wrong values in them: the keys of a schema and of a file, and what may be put there instead."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

from msgspec import inspect

Path = tuple[str | int, ...]

_NUMBERS = (-(2**63) - 1, -(2**62), -1, 0, 1, 2, 10**9, 10**9 + 1, 2**31, 2**62, 2**63 - 1, 2**64, 10**40)
_FLOATS = (-0.0, 0.5, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))
_TEXTS = (
    "",
    " ",
    "0",
    "-1",
    "1.5",
    "nan",
    "sNaN",
    "-Infinity",
    "1e99",
    "1e-99",
    "1e999999999",
    "-1e-999999999",
)
_WORDS = (
    "USD",
    "BTC",
    "BTC-PERP",
    "mark",
    "index",
    "cross",
    "book",
    "é\u0000☃",
    "x" * 5000,
    "a.b",
    "../..",
    "`",
)
_TIMES = (
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
    date(2025, 1, 1),
    "2025-10-10T21:16:04Z",
)
_HOLDERS: tuple[Any, ...] = (True, False, [], {}, [[]], [{}], {"": ""}, {"x": {"x": []}}, [1, "a"])
WRONG: tuple[Any, ...] = (*_NUMBERS, *_FLOATS, *_TEXTS, *_WORDS, *_TIMES, *_HOLDERS)
"""What TOML and JSON can say and hardly any key takes."""


def paths(node: Any, at: Path = ()) -> Iterator[Path]:
    """Every place of a table, holders before what they hold."""
    if at:
        yield at
    if isinstance(node, dict):
        for key, inner in node.items():
            yield from paths(inner, (*at, key))
    elif isinstance(node, list | tuple):
        for n, inner in enumerate(node[:3]):
            yield from paths(inner, (*at, n))


def schema_paths(kind: Any, table: Any) -> list[Path]:
    """Places of the table, and those of the schema that it leaves to their defaults."""
    found = dict.fromkeys(paths(table))
    for path in _places(inspect.type_info(kind), table, (), 12):
        found.setdefault(path)
    return list(found)


def _places(node: inspect.Type, value: Any, at: Path, depth: int) -> Iterator[Path]:
    if depth == 0:
        return
    match node:
        case inspect.Metadata(type=inner):
            yield from _places(inner, value, at, depth)
        case inspect.UnionType(types=types):
            for inner in types:
                yield from _places(inner, value, at, depth)
        case inspect.StructType(fields=fields):
            if node.tag_field and isinstance(value, dict) and value.get(node.tag_field) != node.tag:
                return
            for field in fields:
                below = value.get(field.encode_name) if isinstance(value, dict) else None
                yield (*at, field.encode_name)
                yield from _places(field.type, below, (*at, field.encode_name), depth - 1)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            first = value[0] if isinstance(value, list | tuple) and value else None
            yield (*at, 0)
            yield from _places(item, first, (*at, 0), depth - 1)


def with_wrong(table: Any, path: Path, wrong: Any) -> Any:
    """A copy with `wrong` at the path; holders on the way are made, as far as what is there allows."""
    made = deepcopy(table)
    node = made
    for step, after in pairwise(path):
        node = _below(node, step, [] if isinstance(after, int) else {})
    _below(node, path[-1], None)
    if isinstance(node, dict) or (isinstance(node, list) and isinstance(path[-1], int)):
        node[path[-1]] = wrong  # type: ignore[index]
    return made


def _below(node: Any, step: str | int, new: Any) -> Any:
    if isinstance(node, dict):
        return node.setdefault(step, new)
    if isinstance(node, list) and isinstance(step, int):
        while len(node) <= step:
            node.append(new)
        return node[step]
    return None


def without(table: Any, path: Path) -> Any:
    """A copy in which the key or the element is missing."""
    made = deepcopy(table)
    node = made
    for step in path[:-1]:
        node = node[step]
    del node[path[-1]]
    return made


def drawn(rng: Random, table: Any, places: Sequence[Path]) -> tuple[str, Any]:
    """One to three wrong values at random places, and what was done, for people."""
    own = list(paths(table))
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(own if own and rng.random() < 0.6 else places)
        if path in own and rng.random() < 0.1:
            try:
                table = without(table, path)
            except (KeyError, IndexError, TypeError):
                continue
            done.append(f"{path} missing")
        else:
            wrong = near(rng, table, path) if rng.random() < 0.4 else rng.choice(WRONG)
            table = with_wrong(table, path, wrong)
            done.append(f"{path} = {wrong!r:.80}")
    return "; ".join(done), table


def near(rng: Random, table: Any, path: Path) -> Any:
    """A value of the same kind as the one that stands there, or another one of the table."""
    node = table
    for step in path:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return rng.choice(WRONG)
    if isinstance(node, bool):
        return not node
    if isinstance(node, int):
        return rng.choice((-node, node + 1, node - 1, node * 1000, node // 1000, node << 40))
    if isinstance(node, float):
        return rng.choice((-node, node * 1e9, node / 1e9, 1 / node if node else 1.0))
    if isinstance(node, Decimal | str):
        return rng.choice((f"-{node}", f"{node}0", f"{node}e9", f"0.{node}", f"{node}.0000001", node))
    if isinstance(node, list):
        return node * 2 if rng.random() < 0.5 else node[::-1]
    return rng.choice(WRONG)
