"""What may stand at a place of a table that is read into structs: fields by name, and words.

A place is a sequence of keys and list indices; an index may be written as text, and `*` is any key.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from msgspec import inspect

Place = Sequence[str | int]


class OneLineError(ValueError):
    """A message of one line, whatever names and values of the input stand in it."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


def nearest_word(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed word that looks most like it, or None when none is near."""
    by_lower = {name.lower(): name for name in allowed}
    found = get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None


def value_at(table: Any, place: Place) -> Any:
    """None where the table has no such place."""
    for step in place:
        if isinstance(table, Mapping):
            table = table.get(step)
        elif isinstance(table, list | tuple) and str(step).isdecimal() and int(step) < len(table):
            table = table[int(step)]
        else:
            return None
    return table


def fields_at(kind: Any, place: Place, table: Any) -> list[str]:
    """Names of the fields of the structs that may stand there; a tagged union is narrowed by the table."""
    holder = value_at(table, place)
    names: dict[str, None] = {}
    for node in _types_at(kind, place, table):
        if isinstance(node, inspect.StructType) and _is_meant(node, holder):
            if node.tag_field:
                names[node.tag_field] = None
            names |= dict.fromkeys(field.encode_name for field in node.fields)
    return list(names)


def words_at(kind: Any, place: Place, table: Any) -> list[str]:
    """Allowed words of an enumeration or of a tag."""
    nodes = _types_at(kind, place, table)
    words = [str(word) for node in nodes if isinstance(node, inspect.LiteralType) for word in node.values]
    if not words and place:
        holders = _types_at(kind, place[:-1], table)
        words = [
            str(t.tag) for t in holders if isinstance(t, inspect.StructType) and t.tag_field == place[-1]
        ]
    return words


def _is_meant(node: inspect.StructType, holder: Any) -> bool:
    """Has the table the struct's own tag, or none?"""
    tag = holder.get(node.tag_field) if isinstance(holder, Mapping) and node.tag_field else None
    return tag in (None, node.tag)


def _types_at(kind: Any, place: Place, table: Any) -> list[inspect.Type]:
    nodes: list[inspect.Type] = _unfold(inspect.type_info(kind))
    for n, step in enumerate(place):
        below: list[inspect.Type] = []
        holder = value_at(table, place[:n])
        for node in nodes:
            if isinstance(node, inspect.StructType):
                if step == node.tag_field or _is_meant(node, holder):
                    below += [t for f in node.fields if f.encode_name == step for t in _unfold(f.type)]
            elif isinstance(node, inspect.VarTupleType | inspect.ListType):
                below += _unfold(node.item_type)
            elif isinstance(node, inspect.DictType):
                below += _unfold(node.value_type)
        nodes = below
    return nodes


def _unfold(node: inspect.Type) -> list[inspect.Type]:
    if isinstance(node, inspect.UnionType):
        return [inner for t in node.types for inner in _unfold(t)]
    return _unfold(node.type) if isinstance(node, inspect.Metadata) else [node]
