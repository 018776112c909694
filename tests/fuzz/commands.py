"""Raw commands, as a journal's bytes could say them: fields by their types, at and beyond bounds, and wrong.

`Draw` chooses one of several values; hypothesis and the byte fuzzer each bring their own.
"""

from collections.abc import Callable, Sequence
from typing import Any, get_args

import msgspec
from msgspec import inspect

from zerodebt.exchange.commands import Command, OpenAccounts, Stamped
from zerodebt.exchange.events import Rejected
from zerodebt.exchange.journal import encode
from zerodebt.exchange.units import SECOND_NS
from zerodebt.exchange.venue import Venue

Draw = Callable[[Sequence[Any]], Any]
KINDS: tuple[type[msgspec.Struct], ...] = get_args(Command)
_DECODER = msgspec.msgpack.Decoder(Stamped)
_ENCODER = msgspec.msgpack.Encoder()

_NEAR = (0, 0, 1, 1, 2, 3, 10, 16, 17, 18, 19, 100, 105, -1, -10)
_FAR = (-(2**63), -(2**62), -(2**31) - 1, -2, 15, 2**31, 2**53, 2**60, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_INTS = (*_NEAR, *_NEAR, *_NEAR, *_FAR)
_WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    2.5,
    float("nan"),
    float("inf"),
    "",
    "1",
    "buy",
    "☃\u0000",
    b"\xff",
    [],
    [[]],
    {},
    {"a": 1},
)
_STEPS_NS = (0, 0, 1, SECOND_NS, 60 * SECOND_NS, 3600 * SECOND_NS, -1, -SECOND_NS)
_TIMES_NS = (-(2**63), -1, 0, 2**62, 2**63 - 1, 2**64 - 1)


def raw_command(draw: Draw) -> list[Any]:
    """The command as the journal's array; one in some fields is of a wrong type, missing or too many."""
    kind = draw(KINDS)
    return [kind.__struct_config__.tag, *_fields(draw, inspect.type_info(kind))]


def raw_time(draw: Draw, now_ns: int) -> int:
    return int(draw(_TIMES_NS)) if draw(range(60)) == 0 else now_ns + int(draw(_STEPS_NS))


def _fields(draw: Draw, struct: inspect.Type) -> list[Any]:
    assert isinstance(struct, inspect.StructType)
    values = [_value(draw, field.type) for field in struct.fields]
    match draw(range(40)):
        case 0:
            return values[: len(values) // 2]
        case 1:
            return [*values, draw(_WRONG)]
        case _:
            return values


def _value(draw: Draw, node: inspect.Type) -> Any:
    if draw(range(40)) == 0:
        return draw(_WRONG)
    match node:
        case inspect.Metadata(type=inner):
            return _value(draw, inner)
        case inspect.UnionType(types=types):
            return _value(draw, draw(types))
        case inspect.NoneType():
            return None
        case inspect.BoolType():
            return draw((False, True))
        case inspect.LiteralType(values=values):
            return draw(values)
        case inspect.IntType():
            return draw(_INTS)
        case inspect.VarTupleType(item_type=item):
            return [_value(draw, item) for _ in range(draw((0, 1, 1, 2, 2, 3)))]
        case inspect.TupleType(item_types=items):
            return [_value(draw, item) for item in items]
        case inspect.StructType():
            return _fields(draw, node)
    raise AssertionError(f"no values for {node}")


def decoded(seq: int, time_ns: int, raw: list[Any]) -> Stamped | None:
    """What the journal's decoder makes of it; None where it refuses."""
    try:
        return _DECODER.decode(_ENCODER.encode([seq, time_ns, raw]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def opens_many(command: Command) -> bool:
    """No fuzzed command opens more: a venue of ten million accounts is slow, not wrong."""
    return isinstance(command, OpenAccounts) and command.count > 1_000


def applied(venue: Venue, stamped: Stamped) -> bool:
    """Apply it; asserts that a reject leaves the hash, and that everything else leaves a venue in order."""
    before = venue.state_hash()
    batch = venue.apply(stamped.command, stamped.time_ns)
    encode(batch)
    refused = bool(batch.events) and type(batch.events[0]) is Rejected
    if refused:
        assert len(batch.events) == 1, batch
        assert venue.state_hash() == before, f"a refused {stamped.command} has changed the state"
    else:
        venue.check()
    return not refused
