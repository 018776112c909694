"""What may be asked about one account, as a bot in any language writes it, and what is wrong with a case.

The structs are the specification: `schema` turns them into JSON Schema.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from zerodebt.exchange.fields import OneLineError, fields_at, nearest_word, value_at, words_at
from zerodebt.exchange.rules import A_DAY, RulesError, VenueRules
from zerodebt.exchange.specs import AssetSpec, InstrumentSpec

ErrorCode = Literal[
    "not_json",
    "wrong_case",
    "unknown_venue",
    "no_rule_then",
    "wrong_rule",
    "unknown_asset",
    "unknown_instrument",
    "wrong_kind",
    "other_settlement",
    "missing_price",
    "stale_index",
    "zero_position",
    "not_ranked",
    "second_position",
    "no_hedge_mode",
    "wrong_leg",
    "leverage_above_tier",
    "not_a_number",
    "off_the_grid",
    "out_of_bounds",
]

Symbol = Annotated[str, Meta(description="an instrument, as the rulebook writes it: `BTC`")]
Day = Annotated[str, Meta(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
Leverage = Annotated[
    int, Meta(ge=0, description="leverage chosen for the instrument; 0: the largest of its first tier")
]


PositionSide = Annotated[
    Literal["both", "long", "short"],
    Meta(description="in hedge mode the leg that is meant, `long` or `short`; in net mode `both`"),
]


class PositionCase(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An open position of the account."""

    instrument: Symbol
    side: Annotated[Literal["long", "short"], Meta(description="which way the position goes")]
    size: Annotated[Decimal, Meta(description="contracts, above 0, a multiple of the lot")]
    entry: Annotated[Decimal, Meta(description="average entry price, a multiple of the tick")]
    leverage: Leverage = 0
    isolated_margin: Annotated[
        Decimal | None,
        Meta(description="margin of the position alone, in the settlement asset; null: it is cross"),
    ] = None


class PriceCase(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices of an instrument now."""

    mark: Annotated[Decimal, Meta(description="mark price, a multiple of the tick")]
    index: Annotated[Decimal | None, Meta(description="index price; null: as the mark")] = None
    index_age_s: Annotated[
        Decimal, Meta(description="seconds since the index was published; refused beyond the rulebook's age")
    ] = Decimal(0)


class MarginQuestion(Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="margin"):
    """Where the account stands: equity, maintenance and initial requirement."""

    instrument: Annotated[
        str | None,
        Meta(description="the compartment that answers for this position; null: the cross pool"),
    ] = None
    position_side: PositionSide = "both"


class LiquidationPriceQuestion(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="liquidation_price"
):
    """Where the position's compartment falls below maintenance, other prices standing still.

    Where both legs of hedge mode answer with the cross pool, it moves both.
    """

    instrument: Symbol
    position_side: PositionSide = "both"


class BankruptcyPriceQuestion(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="bankruptcy_price"
):
    """Where closing the position, both legs of a cross pool, leaves its compartment with nothing."""

    instrument: Symbol
    position_side: PositionSide = "both"


class WithdrawableQuestion(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="withdrawable"
):
    """What of the settlement asset may leave the wallet."""


class LargestOrderQuestion(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="largest_order"
):
    """The largest limit order at `price` that the venue takes, whether it fills at once or rests.

    Of an account that may not open, it is what a reduce-only order may close of the position. In hedge mode
    it is one that opens: a buy the long leg, a sell the short one; with `position_side` a buy may close the
    short leg, and a sell the long one.
    """

    instrument: Symbol
    side: Annotated[Literal["buy", "sell"], Meta(description="which way the order goes")]
    price: Annotated[Decimal, Meta(description="limit and price of every fill, one that orders may use")]
    leverage: Annotated[
        int, Meta(ge=0, description="leverage chosen for it; 0: the position's, or the first tier's largest")
    ] = 0
    position_side: Annotated[
        Literal["both", "long", "short"],
        Meta(description="in hedge mode the leg that it opens or closes; `both`: the one that it opens"),
    ] = "both"


class AdlQuestion(Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="adl_score"):
    """The score that the venue ranks the position by for auto-deleveraging, and its rank among others."""

    instrument: Symbol
    position_side: PositionSide = "both"
    others: Annotated[
        tuple[Decimal, ...], Meta(description="scores of the other positions on the same side")
    ] = ()


class PathPoint(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An instant of a path."""

    prices: Annotated[
        dict[str, Decimal],
        Meta(description="mark (and index) by instrument; those that are not named stand still"),
    ]
    after_s: Annotated[Decimal, Meta(description="seconds since the instant before, above 0")] = Decimal(1)


class WhatIfQuestion(Struct, frozen=True, forbid_unknown_fields=True, tag_field="question", tag="what_if"):
    """What the venue does to the account along a path of prices, stage by stage, and what is left.

    The account's own orders are not part of it, and neither funding nor interest is paid on the way. A
    rulebook that calls for margin (`settlement.call_to`) settles dated futures at the mark once a day,
    counted from the path's start.
    """

    path: Annotated[tuple[PathPoint, ...], Meta(min_length=1, description="instants, in order")]
    depth: Annotated[
        dict[str, Decimal],
        Meta(description="contracts bid and offered at each instant, by instrument; none: an empty book"),
    ] = {}
    slippage: Annotated[
        Decimal, Meta(description="how far from the mark they are bid and offered, as a fraction")
    ] = Decimal(0)
    fund: Annotated[
        Decimal, Meta(description="what the insurance fund and the house hold each, in the settlement asset")
    ] = Decimal(0)
    backstop: Annotated[
        bool, Meta(description="is there a vault with money enough, where the rulebook knows one?")
    ] = True


Question = (
    MarginQuestion
    | LiquidationPriceQuestion
    | BankruptcyPriceQuestion
    | WithdrawableQuestion
    | LargestOrderQuestion
    | AdlQuestion
    | WhatIfQuestion
)


class Case(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One account under one rulebook, and what is asked about it. Decimals are strings or numbers."""

    venue: Annotated[
        str,
        Meta(description="name of a rulebook, see `zerodebt list venues`, or a .toml file of your own"),
    ]
    ask: Annotated[tuple[Question, ...], Meta(description="questions, answered in this order")]
    as_of: Annotated[
        Day | None, Meta(description="the day whose rules hold, as YYYY-MM-DD; null: the newest rules")
    ] = None
    rules: Annotated[
        dict[str, Any], Meta(description="fields of the rulebook to override, in its own integer units")
    ] = {}
    assets: Annotated[
        tuple[AssetSpec, ...], Meta(description="assets instead of the rulebook's; empty: the rulebook's")
    ] = ()
    instruments: Annotated[
        tuple[dict[str, Any], ...],
        Meta(description="instruments to add, or fields of the rulebook's own to override, by `symbol`"),
    ] = ()
    balances: Annotated[
        dict[str, Decimal],
        Meta(description="wallet by asset, without unrealised profit and without isolated margin"),
    ] = {}
    positions: Annotated[
        tuple[PositionCase, ...],
        Meta(description="open positions, one for an instrument; in hedge mode one for each side of it"),
    ] = ()
    position_mode: Annotated[
        Literal["net", "hedge"] | None,
        Meta(description="null: hedge where both sides of an instrument are held, otherwise net"),
    ] = None
    prices: Annotated[
        dict[str, PriceCase], Meta(description="prices now, of every instrument with a position")
    ] = {}


class UnanswerableError(OneLineError):
    """A case that cannot be answered. `code` is for programs, the message for people.

    message  where another sentence says it already; None: it is made of the rest
    """

    def __init__(
        self, code: ErrorCode, field: str, found: object, allowed: str, message: str | None = None
    ) -> None:
        made = f"{field}: found {found}, allowed {allowed}" if found != "" else f"{field}: {allowed}"
        super().__init__(made if message is None else message)
        self.code, self.field, self.found, self.allowed = code, field, str(found), allowed

    def table(self) -> dict[str, str]:
        return {"code": self.code, "field": self.field, "found": self.found, "allowed": self.allowed}


def read_case(table: Mapping[str, Any]) -> Case:
    """A case from a table as JSON or TOML have it; UnanswerableError names the place of what is wrong."""
    try:
        return msgspec.convert(plain(table), Case, strict=False)
    except msgspec.ValidationError as error:
        raise wrong_case("", error, table, Case) from None


def read_question(table: Mapping[str, Any]) -> Question:
    """One question from a table; UnanswerableError names the place of what is wrong."""
    try:
        question: Question = msgspec.convert(plain(table), Question, strict=False)
    except msgspec.ValidationError as error:
        raise wrong_case("ask", error, table, Question) from None
    return question


def plain(value: Any) -> Any:
    """The same value with decimals of no class of their own, which are all that msgspec takes."""
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def wrong_rule(error: RulesError, table: Any = None) -> UnanswerableError:
    """`venue.fees: ...` is said of rules.fees, `instrument BTC: ...` of instruments.BTC.

    table  the rules, to say what was found where msgspec says only what it expected
    """
    where, _, what = str(error).partition(": ")
    if not what:
        where, _, what = str(error).partition(" ")
    what, _, place = what.partition(" - at `")
    where = "rules" + where.removeprefix("venue") if where.startswith("venue") else where
    where = where.replace("instrument ", "instruments.", 1)
    steps = _steps(place, table)
    field = ".".join((where, *steps))
    if what.startswith("found "):
        found, _, allowed = what.removeprefix("found ").partition(", allowed ")
        return UnanswerableError("wrong_rule", field, found, allowed)
    if steps or what.startswith("Object "):
        return UnanswerableError("wrong_rule", field, *_found(what, steps, table, VenueRules))
    return UnanswerableError("wrong_rule", field, "", what)


def wrong_case(field: str, error: msgspec.ValidationError, table: Any, kind: Any) -> UnanswerableError:
    """`$.positions[0].size` is said as positions.0.size, with the value of the table there.

    kind  what the table is read into
    """
    what, _, place = str(error).partition(" - at `")
    steps = _steps(place, table)
    at = ".".join(part for part in (field, *steps) if part) or "case"
    return UnanswerableError("wrong_case", at, *_found(what, steps, table, kind))


def _steps(place: str, table: Any) -> list[str]:
    """The parts of msgspec's path; `[...]`, any value of a table, by its name where there is only one."""
    parts = place.strip("`$").replace("[...]", ".*").replace("[", ".").replace("]", "").split(".")
    steps: list[str] = []
    for part in parts[1:]:
        within = value_at(table, steps)
        only = isinstance(within, Mapping) and len(within) == 1
        steps.append(next(iter(within)) if part == "*" and only else part)
    return steps


def _found(what: str, steps: Sequence[str], table: Any, kind: Any) -> tuple[str, str]:
    """(found, allowed) of msgspec's sentence and the value that it is about."""
    what = what.replace("`", "")
    if what.startswith("Object contains unknown field "):
        name = what.removeprefix("Object contains unknown field ")
        return f"unknown field {name}", _one_of(name, fields_at(kind, steps, table))
    if what.startswith("Object missing required field "):
        name = what.removeprefix("Object missing required field ")
        return f"no field {name}", f"is a table with {name}"
    if "*" in steps or not steps:
        return what, _AS_SCHEMA
    value = value_at(table, steps)
    shown = str(value) if isinstance(value, Decimal) else repr(value)
    found = shown if len(shown) <= 60 else f"{shown[:57]}..."
    words = words_at(kind, steps, table)
    if words:
        return found, _one_of(str(value), words)
    if "regex" in what:
        return found, A_DAY if "d{4}" in what else "is a name of letters, digits, '.', '_' and '-'"
    wanted = what.partition(", got ")[0]
    if "decimal" in wanted:
        return found, "is a decimal number"
    if wanted.startswith("Expected "):
        return found, "is " + wanted.removeprefix("Expected ").replace("object", "a table")
    return found, _AS_SCHEMA


def _one_of(word: str, allowed: Sequence[str]) -> str:
    """The nearest word first, where one is near."""
    nearest = nearest_word(word, allowed)
    if nearest is None:
        return "are " + ", ".join(allowed)
    others = ", ".join(other for other in allowed if other != nearest)
    return f"is {nearest}, or one of {others}" if others else f"is {nearest}"


_AS_SCHEMA = "is what the schema says"
_DECIMAL = {"type": "string", "format": "decimal"}


def schema() -> dict[str, Any]:
    """JSON Schema of a case. A decimal may be text, which is exact in any language, or a number."""
    (top, _, _), parts = msgspec.json.schema_components(
        [Case, InstrumentSpec, VenueRules], ref_template="#/$defs/{name}"
    )
    for part in parts.values():
        if "question" in part.get("properties", {}):
            part["properties"]["question"]["description"] = "what is asked"
    instruments = parts["Case"]["properties"]["instruments"]
    parts["InstrumentSpec"]["required"] = ["symbol"]
    instruments["items"] = {"$ref": "#/$defs/InstrumentSpec"}
    parts["VenueRules"]["required"] = []
    rules = parts["Case"]["properties"]["rules"]
    rules.pop("additionalProperties", None)
    rules["allOf"] = [{"$ref": "#/$defs/VenueRules"}]
    written: dict[str, Any] = _with_numbers({**top, "$defs": parts})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **written}


def _with_numbers(part: Any) -> Any:
    """The same schema, where a decimal may also be a JSON number."""
    if isinstance(part, list):
        return [_with_numbers(entry) for entry in part]
    if not isinstance(part, dict):
        return part
    if _DECIMAL.items() <= part.items():
        return {**part, "type": ["string", "number"]}
    return {key: _with_numbers(value) for key, value in part.items()}
