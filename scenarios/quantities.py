"""UTC times, exactly, to and from nanoseconds, and what is said of wrong input."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from zerodebt.exchange.fields import OneLineError, nearest_word
from zerodebt.exchange.units import SECOND_NS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DataError(OneLineError):
    """A file or value that cannot be used, in one sentence: where, what was found, what is allowed."""


class CallError(DataError):
    """A wrong call: an unknown scenario, option, key or value."""


def time_ns(moment: datetime) -> int:
    """Nanoseconds since 1970 of an aware time, exact to the microsecond."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def parse_time_ns(text: str) -> int:
    """An RFC 3339 time with its zone, at most nine decimals of a second."""
    body, dot, rest = text.strip().partition(".")
    digits = ""
    if dot:
        tail = rest.lstrip("0123456789")
        digits = rest[: len(rest) - len(tail)]
        body += tail
    try:
        moment = datetime.fromisoformat(body)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or len(digits) > 9:
        raise ValueError(f"found {text!r}, allowed is a time like 2025-10-10T21:16:04.832Z")
    return time_ns(moment) + (int(digits.ljust(9, "0")) if digits else 0)


def utc(at_ns: int) -> str:
    """RFC 3339 in UTC, with as many decimals of a second as are needed, in threes."""
    seconds, rest = divmod(at_ns, SECOND_NS)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{rest:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z" if digits else f"{text}Z"


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`, nearest is 'x'`, or nothing when no allowed word is near."""
    found = nearest_word(word, allowed)
    return "" if found is None else f", nearest is {found!r}"
