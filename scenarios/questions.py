"""Cases from a file or a pipe, and the answer of each: one case, a list of them, or one a line."""

import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from zerodebt.exchange.ask import answer
from zerodebt.exchange.cases import UnanswerableError
from zerodebt.scenarios.quantities import DataError

_DECODER = msgspec.json.Decoder(float_hook=Decimal)
"""Numbers stay as exact as they were written."""


def read_text(file: Path) -> bytes:
    """What the file holds; `-` is standard input."""
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from None


def is_batch(text: bytes) -> bool:
    """A list of cases, or several lines each of which starts a case of its own."""
    lines = text.split(b"\n")
    full = [line for line in lines if line.strip()]
    return text.lstrip().startswith(b"[") or (len(full) > 1 and all(line.startswith(b"{") for line in full))


def replies(text: bytes) -> Iterator[dict[str, Any] | UnanswerableError]:
    """The answers of each case, in order; a case that cannot be answered gives its error."""
    for part in _parts(text):
        try:
            yield answer(_table(part))
        except UnanswerableError as error:
            yield error


def _parts(text: bytes) -> Iterator[bytes]:
    """The text of each case."""
    if text.lstrip().startswith(b"["):
        try:
            yield from (bytes(part) for part in msgspec.json.decode(text, type=list[msgspec.Raw]))
        except msgspec.DecodeError:
            yield text
    elif is_batch(text):
        yield from (line for line in text.split(b"\n") if line.strip())
    else:
        yield text


def _table(text: bytes) -> Mapping[str, Any]:
    try:
        found = _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnanswerableError("not_json", "case", str(error), "is JSON") from None
    if not isinstance(found, dict):
        raise UnanswerableError("wrong_case", "case", f"a JSON {type(found).__name__}", "is an object")
    return found


def is_answered(reply: Mapping[str, Any] | UnanswerableError) -> bool:
    """Has every question of the case its answer?"""
    if isinstance(reply, UnanswerableError):
        return False
    return not any("error" in answered for answered in reply["answers"])


def error_table(error: UnanswerableError) -> dict[str, Any]:
    """An error in the place of a case's answers."""
    return {"error": error.table(), "message": str(error)}
