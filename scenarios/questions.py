"""Cases from a file or a pipe, and the answer of each: one case, a list of them, or one a line."""

import re
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from zerodebt.exchange.ask import answer
from zerodebt.exchange.cases import ErrorCode, UnanswerableError
from zerodebt.exchange.rules import RulesError
from zerodebt.scenarios.quantities import DataError

HERE = Path()
"""The working directory."""
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
"""Numbers stay as exact as they were written."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises: of broken JSON, of text that is no UTF-8, and of lists within lists within lists."""


def read_text(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{file}: {error}, allowed is the name of a file") from None


def is_batch(text: bytes) -> bool:
    """A list of cases, or several lines each of which starts a case of its own."""
    lines = text.split(b"\n")
    full = [line for line in lines if line.strip()]
    return text.lstrip().startswith(b"[") or (len(full) > 1 and all(line.startswith(b"{") for line in full))


def texts(file: Path) -> tuple[bool, Iterator[bytes]]:
    """Is it a batch, and the text of each case.

    Of standard input whose first line is a whole case, each line is given before the next is read.
    """
    if str(file) != "-":
        text = read_text(file)
        return is_batch(text), _parts(text)
    pipe = sys.stdin.buffer
    first = next((line for line in pipe if line.strip()), b"")
    if _is_whole(first):
        return True, chain([first], (line for line in pipe if line.strip()))
    text = first + pipe.read()
    return is_batch(text), _parts(text)


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(_DECODER.decode(line), dict)
    except _UNREADABLE:
        return False


def reply(text: bytes, folder: Path = HERE) -> dict[str, Any] | UnanswerableError:
    """The answers of a case, or its error where it cannot be answered.

    folder  of the case: a `venue` that is a .toml file is looked for there
    """
    try:
        table = _table(text)
        return answer(table, _own_rulebook(table, folder))
    except UnanswerableError as error:
        return error


def _own_rulebook(case: Mapping[str, Any], folder: Path) -> dict[str, Any] | None:
    venue, as_of = case.get("venue"), case.get("as_of")
    if not isinstance(venue, str) or not venue.endswith(".toml"):
        return None
    from zerodebt.scenarios.rulebooks import read_rulebook

    try:
        return read_rulebook(folder / venue, as_of if isinstance(as_of, str) else None)
    except RulesError as error:
        code: ErrorCode = "wrong_rule" if (folder / venue).is_file() else "unknown_venue"
        found, allowed = _parted(str(error))
        raise UnanswerableError(code, "venue", found, allowed, str(error)) from None


def _parted(sentence: str) -> tuple[str, str]:
    """(found, allowed) of the sentence that refuses a rulebook."""
    parted = re.fullmatch(r"(.*?)[,;:] allowed ((?:is|are) .*)", sentence, re.DOTALL)
    return (parted[1], parted[2]) if parted else (sentence, "is a rulebook that can be used")


def is_case(text: bytes) -> bool:
    """Is it a case, or a batch of them, and no file of commands?"""
    for part in (text, text.lstrip().partition(b"\n")[0]):
        try:
            found = _DECODER.decode(part)
        except _UNREADABLE:
            continue
        return isinstance(found, dict) and "ask" in found
    return False


def _parts(text: bytes) -> Iterator[bytes]:
    """The text of each case."""
    if text.lstrip().startswith(b"["):
        try:
            yield from (bytes(part) for part in msgspec.json.decode(text, type=list[msgspec.Raw]))
        except _UNREADABLE:
            yield text
    elif is_batch(text):
        yield from (line for line in text.split(b"\n") if line.strip())
    else:
        yield text


def _table(text: bytes) -> Mapping[str, Any]:
    try:
        found = _DECODER.decode(text)
    except _UNREADABLE as error:
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
