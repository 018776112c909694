"""Answers as a test reads them: fields by name, and decimals that compare with decimal text."""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

Number = Decimal | int | float | str


class Figure(Decimal):
    """A decimal that also compares with decimal text: `price == "115189.8"`, `price < "1e5"`.

    A float means the number that it is written as: Figure(0.1) is 0.1.
    """

    __slots__ = ()
    __hash__ = Decimal.__hash__

    def __new__(cls, value: Number = 0) -> "Figure":
        return super().__new__(cls, repr(value) if isinstance(value, float) else value)

    def __eq__(self, other: object) -> bool:
        return super().__eq__(_plain(other))

    def __lt__(self, other: Any) -> bool:
        return super().__lt__(_plain(other))

    def __le__(self, other: Any) -> bool:
        return super().__le__(_plain(other))

    def __gt__(self, other: Any) -> bool:
        return super().__gt__(_plain(other))

    def __ge__(self, other: Any) -> bool:
        return super().__ge__(_plain(other))

    def __str__(self) -> str:
        return f"{self:f}"

    def __repr__(self) -> str:
        return f"Figure({self:f})"


def _plain(other: object) -> Any:
    """Decimal text as a decimal; anything else as it is."""
    if not isinstance(other, str):
        return other
    try:
        return Decimal(other)
    except InvalidOperation:
        return other


class Answer(Mapping[str, Any]):
    """What the oracle or the venue says: `answer.equity` is `answer["equity"]`.

    explain  the lines that made the figures, each with its rule and source
    """

    def __init__(self, table: Mapping[str, Any], explain: tuple[str, ...] = ()) -> None:
        self._table = {key: _read(value) for key, value in table.items()}
        self.explain = explain

    def __getitem__(self, key: str) -> Any:
        return self._table[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._table:
            known = ", ".join(self.__dict__.get("_table", ()))
            raise AttributeError(f"the answer has no {name!r}, it has {known}")
        return self._table[name]

    def __repr__(self) -> str:
        return f"Answer({self._table})"


def _read(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Answer(value)
    if isinstance(value, list):
        return [_read(entry) for entry in value]
    if isinstance(value, str):
        try:
            return Figure(value)
        except InvalidOperation:
            return value
    return value
