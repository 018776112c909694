"""A scenario file: read, overridden, checked field by field, and turned into what the venue is built of."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tomli_w
from msgspec import Meta, Struct

from zerodebt.agents.genesis import PopulationParams
from zerodebt.agents.members import MemberParams
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.decimals import from_units, parse_decimal, to_units
from zerodebt.exchange.fields import fields_at, value_at, words_at
from zerodebt.exchange.instruments import Instrument, value_atoms
from zerodebt.exchange.rulebook import settled_in
from zerodebt.exchange.rules import (
    A_DAY,
    RulesError,
    VenueRules,
    profile_names,
    profile_table,
    split_profile,
    venue_rules,
)
from zerodebt.exchange.specs import (
    MARGIN_KEYS,
    AssetSpec,
    InstrumentSpec,
    Name,
    build_assets,
    build_instrument,
)
from zerodebt.exchange.units import INT64_MAX, SECOND_NS
from zerodebt.scenarios.quantities import CallError, nearest, parse_time_ns, time_ns

Moment = Annotated[datetime, Meta(tz=True)]
Figure = str | int | float  # a decimal number, or as text a time
Evidence = Literal["identity", "input", "fitted", "predicted"]

HERE = Path()
"""The working directory."""
CATALOGUE_PREFIX = "catalogue:"
ACCOUNTS_MAX = 1_000_000
ATOMS_MAX = 2**62 - 1  # balances are 64-bit, and a sum of two must fit
LARGEST = Decimal("1e40")
"""No rate of exchange and no value in whole units of an asset is larger."""
_NAME_FIELDS = ("name", "symbol", "id")


class Clock(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Simulated time; an index command every `index_every_s` seconds."""

    start: Moment
    end: Moment
    index_every_s: Decimal = Decimal(1)


class Endowments(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the house brings, in the settlement asset; `insurance_assets` by symbol, beside it."""

    insurance: Decimal = Decimal(0)
    house: Decimal = Decimal(0)
    insurance_assets: dict[str, Decimal] = {}


class PricesSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Waypoints beside the file, or absolute; `sources` are the rulebook's sources that publish them.

    index   whether sources publish the waypoints, or what the venue's own spot books say. Of books the
            waypoints are the first prices, and what value traders take a coin to be worth afterwards

    With a `factor` (a currency, say) prices are multiplied and then rounded half to even to the tick; without
    one a price off the tick is refused.
    """

    waypoints: str
    index: Literal["waypoints", "books"] = "waypoints"
    sources: tuple[str, ...] = ()
    factor: Decimal | None = None


class StatusAt(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do", tag="status"):
    """Say what an instrument allows from then on."""

    at: Moment
    instrument: str
    open: bool
    reduce: bool
    liquidate: bool


class SettleAt(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do", tag="settle"):
    """End a future at this price, or a contract at the last index."""

    at: Moment
    instrument: str
    price: Decimal | None = None


class VariationAt(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do", tag="settle_variation"
):
    """Settle a future for the day at this price."""

    at: Moment
    instrument: str
    price: Decimal


class BidSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a named member offers for a portfolio: a price by instrument."""

    account: str
    prices: dict[str, Decimal]


class AuctionAt(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do", tag="hold_auction"
):
    """Sell the portfolio of a named member in default to the best of these bids."""

    at: Moment
    account: str
    bids: tuple[BidSpec, ...]


class TickAt(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do", tag="tick"):
    """Let time pass at prices as they are."""

    at: Moment


Action = StatusAt | SettleAt | TickAt | VariationAt | AuctionAt


class Claim(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What the run is expected to show; only `predicted` claims count.

    Either `expected` with `tolerance` (for a time: RFC 3339 and seconds), or bounds `low` and `high`
    (both may be given or one).
    """

    id: Name
    text: str
    metric: str
    evidence: Evidence
    expected: Figure | None = None
    tolerance: Decimal | None = None
    low: Figure | None = None
    high: Figure | None = None
    source: str = ""
    baseline: str = ""


class Fitted(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A number of this file that was fitted: what, to which target, and by which command."""

    what: str
    target: str
    command: str


class Scenario(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A day to replay. Money is in the settlement asset, `usd_rate` is its price of one US dollar.

    venue                 the whole rulebook, its profile already merged in
    open_interest_value   all markets together at their first prices, split by `open_interest_share`
    accounts              customers' accounts over all populations; None leaves the populations' own numbers
    folder                where the waypoints are looked for; never part of the written file
    """

    name: Name
    title: str
    about: str = ""
    clock: Clock
    venue: dict[str, Any]
    assets: tuple[AssetSpec, ...]
    instruments: tuple[InstrumentSpec, ...]
    prices: PricesSpec
    usd_rate: Decimal = Decimal(1)
    open_interest_value: Decimal | None = None
    accounts: Annotated[int, Meta(ge=1, le=ACCOUNTS_MAX)] | None = None
    endowments: Endowments = Endowments()
    populations: tuple[PopulationParams, ...] = ()
    schedule: tuple[Action, ...] = ()
    claims: tuple[Claim, ...] = ()
    fitted: tuple[Fitted, ...] = ()


class World(Struct, frozen=True):
    """What the venue is built of, and what it starts with. Atoms of the settlement asset.

    insurance_assets  (asset, its atoms) that the fund holds beside it
    """

    rules: VenueRules
    assets: tuple[Asset, ...]
    instruments: tuple[Instrument, ...]
    settle: int
    sources: tuple[int, ...]
    start_ns: int
    end_ns: int
    index_every_ns: int
    insurance_atoms: int
    house_atoms: int
    insurance_assets: tuple[tuple[int, int], ...]
    atoms_per_usd: float


# Reading


def catalogue() -> Path:
    """The folder of the scenarios that ship with zerodebt."""
    return Path(str(resources.files("zerodebt.scenarios"))) / "catalogue"


def scenario_names() -> list[str]:
    return sorted(path.stem for path in catalogue().glob("*.toml"))


def scenario_path(name: str | Path) -> Path:
    """A catalogue name, or the path of a file that ends in .toml."""
    text = str(name)
    if text.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise CallError(
                f"{text}: there is no such file, allowed is a scenario file or a name of `zerodebt list`"
            )
        return path
    names = scenario_names()
    if text not in names:
        raise CallError(
            f"scenario {text!r} is not known{nearest(text, names)}; allowed are {', '.join(names)}, and the "
            "studies of `zerodebt list studies`"
        )
    return catalogue() / f"{text}.toml"


def read_scenario(path: Path) -> dict[str, Any]:
    """The file as a table; one that `extends` a name of the catalogue says only what it changes."""
    table = read_table(path)
    base = table.pop("extends", None)
    if base is None:
        return table
    names = scenario_names()
    if base not in names:
        near = nearest(str(base), [*names, *profile_names()])
        raise CallError(
            f"{path}: extends: found {base!r}{near}; allowed are {', '.join(names)}, and for a rulebook "
            f"{', '.join(profile_names())}"
        )
    below = read_table(catalogue() / f"{base}.toml")
    if "extends" in below:
        raise CallError(
            f"{path}: extends: {base!r} extends another file itself, allowed is one that does not"
        )
    below["prices"]["waypoints"] = f"{CATALOGUE_PREFIX}{below['prices']['waypoints']}"
    return deep_merge(below, table)


def read_table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CallError(f"{path}: not readable as TOML: {error}") from None
    except OSError as error:
        raise CallError(f"{path}: {error.strerror}") from None


def load(
    name: str | Path, overrides: Sequence[tuple[str, Any]] = (), accounts: int | None = None
) -> tuple[Scenario, Path]:
    """A scenario with its overrides, and the folder of its waypoints. Raises CallError in one sentence."""
    path = scenario_path(name)
    table = read_scenario(path)
    where = str(name)
    return resolve(table, where, overrides, accounts, path.parent), path.parent


def resolve(
    table: dict[str, Any],
    where: str,
    overrides: Sequence[tuple[str, Any]] = (),
    accounts: int | None = None,
    folder: Path = HERE,
) -> Scenario:
    """Merge the venue's profile in, then the overrides, and check.

    where   names the file in messages
    folder  of the file: a profile that is a file is looked for there
    """
    table = with_profile(table, where, overrides, folder)
    if accounts is not None:
        if not 1 <= accounts <= ACCOUNTS_MAX:
            raise CallError(
                f"accounts: found {accounts}, allowed are whole numbers from 1 to {ACCOUNTS_MAX:,}"
            )
        overrides = [*overrides, ("accounts", accounts)]
    table = with_overrides(table, overrides)
    scenario = _converted(table, where, [path for path, _ in overrides])
    build(scenario, where)
    return scenario


def with_profile(
    table: dict[str, Any], where: str, overrides: Sequence[tuple[str, Any]] = (), folder: Path = HERE
) -> dict[str, Any]:
    """The profile's rules as they held on the day that the clock starts, below the table's own.

    A profile is the name of a shipped one or the path of a .toml file: from `folder` on in a table, from the
    working directory on in an override. The result says only the rules of a file, not its path.
    An override of the profile replaces the whole rulebook; only the settlement asset stays. The profile's
    amounts are as many of the settlement asset that is chosen.
    An instrument without tiers takes its margin from the profile's instrument of its symbol or underlying, or
    of `ANY`.
    """
    venue = table.get("venue")
    chosen = [value for path, value in overrides if path == "venue.profile"]
    if chosen and isinstance(venue, dict):
        venue = {"profile": chosen[-1]} | {k: v for k, v in venue.items() if k == "settle_asset"}
    if not isinstance(venue, dict) or "profile" not in venue:
        return table
    clock = table.get("clock")
    start = clock.get("start") if isinstance(clock, dict) else None
    as_of = start.date().isoformat() if isinstance(start, datetime) else None
    settle = [str(value) for path, value in overrides if path == "venue.settle_asset"]
    try:
        profile = _profile(str(venue["profile"]), as_of, HERE if chosen else folder)
        return _over_profile(table, venue, profile, settle[-1] if settle else None)
    except RulesError as error:
        raise CallError(f"{'--set venue.profile' if chosen else where}: {error}") from None


def _profile(name: str, as_of: str | None, folder: Path) -> dict[str, Any]:
    from zerodebt.scenarios.rulebooks import SUFFIX, read_rulebook

    return read_rulebook(folder / name, as_of) if name.endswith(SUFFIX) else profile_table(name, as_of)


def _over_profile(
    table: dict[str, Any], venue: Mapping[str, Any], profile: dict[str, Any], settle_asset: str | None
) -> dict[str, Any]:
    rules, extra = split_profile(profile)
    settle = settle_asset or str(venue.get("settle_asset") or rules["settle_asset"])
    rules = settled_in(rules, _assets(extra.get("assets")), settle, _assets(table.get("assets")))
    merged = table | {"venue": deep_merge(rules, venue)}
    brought = extra.get("instruments", [])
    known = {str(entry["underlying"]): entry for entry in brought if "underlying" in entry}
    known |= {str(entry["symbol"]): entry for entry in brought}
    if known and isinstance(table.get("instruments"), list):
        merged["instruments"] = [_with_margin(entry, known) for entry in table["instruments"]]
    return merged


def _assets(tables: Any) -> tuple[AssetSpec, ...]:
    """None where the tables are not whole: that is said of them later."""
    try:
        return msgspec.convert(tables, tuple[AssetSpec, ...])
    except msgspec.ValidationError:
        return ()


def _with_margin(entry: Any, known: Mapping[str, dict[str, Any]]) -> Any:
    if not isinstance(entry, dict) or "tiers" in entry or entry.get("kind") == "spot":
        return entry
    margin = known.get(str(entry.get("symbol")), known.get("ANY", {}))
    if not margin:
        allowed = ", ".join(sorted(known))
        raise RulesError(f"the rulebook has no margin table for {entry.get('symbol')}, known are {allowed}")
    return entry | {key: margin[key] for key in MARGIN_KEYS if key in margin and key not in entry}


def deep_merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`; tables merge, everything else (lists too) replaces."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = (
            deep_merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
        )
    return merged


# Overrides


def parse_override(text: str) -> tuple[str, Any]:
    """`a.b=value` with a TOML value; a bare word or day is a string, and so are the bare words of a list."""
    path, equals, raw = text.partition("=")
    path, raw = path.strip(), raw.strip()
    if not equals or not path or not raw:
        raise CallError(f"--set {text}: found no value, allowed is key.of.the.file=value")
    return path, _toml_value(raw, text)


def _toml_value(raw: str, text: str) -> Any:
    try:
        value = tomllib.loads(f"x = {raw}")["x"]
        return raw if isinstance(value, date) and not isinstance(value, datetime) else value
    except (ValueError, RecursionError):
        pass
    if raw.startswith("[") and raw.endswith("]"):
        return [_toml_value(part.strip(), text) for part in raw[1:-1].split(",") if part.strip()]
    if re.fullmatch(r"[^\s\"'\[\]{}=,]+", raw):
        return raw
    raise CallError(f"--set {text}: found {raw!r}, allowed is a TOML value")


def flat_overrides(overrides: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keyword overrides as (dotted path, value); a nested table addresses its keys one by one."""
    for key, value in overrides.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat_overrides(value, f"{path}.")
        else:
            yield path, list(value) if isinstance(value, tuple) else value


def with_overrides(table: dict[str, Any], overrides: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A copy of the table with all overrides in their order."""
    for path, value in overrides:
        table = with_value(table, path, value)
    return table


def with_value(table: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the table with `value` at the dotted path; list elements are named or counted from 0."""
    copied: dict[str, Any] = msgspec.to_builtins(table, builtin_types=(datetime,))
    node: Any = copied
    keys = path.split(".")
    at = 0
    while at < len(keys):
        if isinstance(node, dict):
            if at == len(keys) - 1:
                node[keys[at]] = value
                return copied
            node = node.setdefault(keys[at], {})
            at += 1
        elif isinstance(node, list):
            index, used = _element(node, keys[at:], path)
            at += used
            if at == len(keys):
                node[index] = value
                return copied
            node = node[index]
        else:
            raise CallError(f"--set {path}: {'.'.join(keys[:at])} is a value and has no key {keys[at]!r}")
    return copied


def _element(items: list[Any], keys: list[str], path: str) -> tuple[int, int]:
    """Index of the list element that the next keys name, and how many keys that took: names may hold dots."""
    names = [_element_name(item) for item in items]
    for used in range(len(keys), 0, -1):
        word = ".".join(keys[:used])
        if word in names:
            return names.index(word), used
    if keys[0].isdecimal() and int(keys[0]) < len(items):
        return int(keys[0]), 1
    allowed = [name for name in names if name]
    raise CallError(
        f"--set {path}: {keys[0]!r} is not in the list{nearest(keys[0], allowed)}; "
        f"allowed are {', '.join(allowed) or f'0..{len(items) - 1}'}"
    )


def _element_name(item: Any) -> str:
    if isinstance(item, dict):
        for key in _NAME_FIELDS:
            if isinstance(item.get(key), str):
                return str(item[key])
    return ""


# Checks


def _converted(table: dict[str, Any], where: str, set_paths: Sequence[str]) -> Scenario:
    try:
        scenario = msgspec.convert(table, Scenario)
    except msgspec.ValidationError as error:
        text = sentence(str(error), table, Scenario)
        raise CallError(_placed(text, where, set_paths)) from None
    venue = {key: value for key, value in scenario.venue.items() if key != "profile"}
    try:
        rules = read_rules(venue, "venue")
    except RulesError as error:
        raise CallError(_placed(str(error), where, set_paths)) from None
    resolved = msgspec.to_builtins(rules)
    if not str(scenario.venue.get("profile", ".toml")).endswith(".toml"):
        resolved = {"profile": scenario.venue["profile"]} | resolved
    for path, found in _non_finite(scenario, ""):
        text = f"{path}: found {found}, allowed is a finite number"
        raise CallError(_placed(text, where, set_paths))
    return msgspec.structs.replace(scenario, venue=resolved)


def read_rules(table: dict[str, Any], prefix: str = "") -> VenueRules:
    """The rules of a table. RulesError in one sentence: where, after `prefix`, and what is allowed."""
    try:
        msgspec.convert(table, VenueRules)
    except msgspec.ValidationError as error:
        raise RulesError(sentence(str(error), table, VenueRules, prefix)) from None
    return venue_rules(table)


def _placed(text: str, where: str, set_paths: Sequence[str]) -> str:
    """The sentence `path: ...` with its file before it, or the `--set` that most likely brought the value."""
    path, _, rest = text.partition(": ")
    for set_path in reversed(set_paths):
        if set_path == path:
            return f"--set {path}: {rest}"
        if path.startswith(f"{set_path}.") or set_path.startswith(f"{path}."):
            return f"--set {set_path}: {text}"
    return f"{where}: {text}"


def sentence(message: str, table: Any, kind: Any, prefix: str = "") -> str:
    """One sentence from msgspec's message: place, what was found, what is allowed, nearest word."""
    what, _, place = message.partition(" - at `")
    steps = _steps(place.rstrip("`"))
    path = _path(steps, table, prefix)
    unknown = re.fullmatch(r"(?s)Object contains unknown field `(.*)`", what)
    missing = re.fullmatch(r"(?s)Object missing required field `(.*)`", what)
    if unknown:
        key = unknown.group(1)
        allowed = fields_at(kind, steps, table)
        text = f"key {key!r} is not known{nearest(key, allowed)}; allowed are {', '.join(allowed)}"
        path = f"{path}.{key}" if path else key
    elif missing:
        text = f"key {missing.group(1)!r} is missing"
    else:
        found = value_at(table, steps)
        words = words_at(kind, steps, table)
        if words:
            text = f"found {_shown(found)}{nearest(str(found), words)}; allowed are {', '.join(words)}"
        else:
            text = f"found {_shown(found)}, allowed is {_allowed(what)}"
    return f"{path}: {text}" if path else text


_SAID = {
    "object": "a table",
    "array": "a list",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "null": "nothing",
}


def _allowed(what: str) -> str:
    """What msgspec expected, in words."""
    if re.search("datetime|RFC3339|timezone", what):
        return "a time like 2025-10-10T20:45:00Z"
    if "decimal" in what:
        return "a decimal number"
    if "d{4}" in what:
        return A_DAY.removeprefix("is ")
    if "regex" in what:
        return "a name of letters, digits, '.', '_' and '-'"
    expected = what.split(", got")[0].removeprefix("Expected ").replace("`", "")
    bound = expected.partition(" ")[2] if " | " not in expected else ""
    kinds = [expected.split(" ")[0]] if bound else expected.split(" | ")
    said = " or ".join(_SAID.get(word, word) for word in kinds if word != "null")
    return f"{said} {bound}".strip()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _steps(place: str) -> list[str | int]:
    """`$.a.b[0].c` as keys and indices."""
    steps: list[str | int] = []
    for key, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", place.removeprefix("$")):
        steps.append(key or int(index))
    return steps


def _path(steps: Sequence[str | int], table: Any, prefix: str = "") -> str:
    """Dotted path for people: list elements by their name where they have one."""
    parts = [prefix] if prefix else []
    for n, step in enumerate(steps):
        if isinstance(step, int):
            parts.append(_element_name(value_at(table, steps[: n + 1])) or str(step))
        else:
            parts.append(step)
    return ".".join(parts)


def _non_finite(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Places of NaN and infinity."""
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            yield path, value
    elif isinstance(value, Decimal):
        if not value.is_finite():
            yield path, value
    elif isinstance(value, Struct):
        for field in msgspec.structs.fields(value):
            inner = f"{path}.{field.encode_name}" if path else field.encode_name
            yield from _non_finite(getattr(value, field.name), inner)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _non_finite(item, f"{path}.{key}" if path else key)
    elif isinstance(value, tuple | list):
        for n, item in enumerate(value):
            name = next((getattr(item, key) for key in _NAME_FIELDS if hasattr(item, key)), n)
            yield from _non_finite(item, f"{path}.{name}")


# Writing


def to_table(scenario: Scenario) -> dict[str, Any]:
    """The resolved scenario as a TOML table; what has no value is left out."""
    table: dict[str, Any] = without_none(msgspec.to_builtins(scenario, builtin_types=(datetime,)))
    return table


def without_none(value: Any) -> Any:
    """The same value as TOML can say it, with times in UTC."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_none(item) for item in value]
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def anchored(scenario: Scenario, folder: Path) -> Scenario:
    """The same with waypoints that are found from anywhere."""
    name = scenario.prices.waypoints
    if not name.startswith(CATALOGUE_PREFIX):
        shipped = folder.resolve() == catalogue().resolve()
        name = f"{CATALOGUE_PREFIX}{name}" if shipped else str((folder / name).resolve())
    return msgspec.structs.replace(scenario, prices=msgspec.structs.replace(scenario.prices, waypoints=name))


def to_toml(scenario: Scenario) -> str:
    return tomli_w.dumps(to_table(scenario))


# What the venue is built of


def build(scenario: Scenario, where: str = "scenario") -> World:
    """Integers out of decimals. Raises CallError in one sentence."""
    venue = {key: value for key, value in scenario.venue.items() if key != "profile"}
    rules = venue_rules(venue)
    symbols = [asset.symbol for asset in scenario.assets]
    _unique(where, "assets", symbols)
    _unique(where, "instruments", [spec.symbol for spec in scenario.instruments])
    _unique(where, "claims", [claim.id for claim in scenario.claims])
    if not scenario.instruments:
        raise CallError(f"{where}: instruments: found none, allowed is one or more")
    settle = _symbol(where, "venue.settle_asset", rules.settle_asset, symbols)
    decimals = scenario.assets[settle].decimals
    for spec in scenario.instruments:
        if spec.kind != "spot" and not spec.tiers:
            raise CallError(
                f"{where}: instruments.{spec.symbol}: the table `tiers` is missing and rulebook "
                f"{rules.name!r} brings none for it, allowed are one or more [[instruments.tiers]]"
            )
    try:
        instruments = tuple(
            build_instrument(spec, scenario.assets, rules.settle_asset) for spec in scenario.instruments
        )
    except RulesError as error:
        raise CallError(f"{where}: {error}") from None
    sources = [source.name for source in rules.sources]
    names = scenario.prices.sources or _one_of_each_kind(rules)
    published = tuple(_symbol(where, "prices.sources", name, sources) for name in names)
    if not any(rules.sources[number].kind == "spot" for number in published):
        spots = ", ".join(source.name for source in rules.sources if source.kind == "spot")
        found = ", ".join(scenario.prices.sources) or "none"
        raise CallError(f"{where}: prices.sources: found {found}, allowed is at least one of {spots}")
    start, end = time_ns(scenario.clock.start), time_ns(scenario.clock.end)
    if end <= start:
        raise CallError(
            f"{where}: clock.end: found {scenario.clock.end}, allowed are times after clock.start"
        )
    if end > INT64_MAX:
        raise CallError(f"{where}: clock.end: found {scenario.clock.end}, allowed are times up to 2262")
    every = _units(where, "clock.index_every_s", scenario.clock.index_every_s, 9, least=1)
    _unique(where, "populations.members", member_names(scenario))
    _check_schedule(scenario, rules, instruments, where)
    for claim in scenario.claims:
        check_claim(claim, where)
    if scenario.prices.factor is not None:
        _positive(where, "prices.factor", scenario.prices.factor)
    shares = sum(spec.open_interest_share or 0 for spec in scenario.instruments)
    if shares > 1:
        raise CallError(f"{where}: instruments: open_interest_share sums to {shares}, allowed is at most 1")
    if scenario.open_interest_value is not None:
        _positive(where, "open_interest_value", scenario.open_interest_value)
    return World(
        rules,
        build_assets(scenario.assets),
        instruments,
        settle,
        published,
        start,
        end,
        every,
        _endowment(where, "insurance", scenario.endowments.insurance, decimals),
        _endowment(where, "house", scenario.endowments.house, decimals),
        tuple(_insurance_assets(scenario, rules, where)),
        float(_positive(where, "usd_rate", scenario.usd_rate).scaleb(decimals)),
    )


def _one_of_each_kind(rules: VenueRules) -> tuple[str, ...]:
    """The rulebook's first source of every kind that a feed can speak for."""
    first = {source.kind: source.name for source in reversed(rules.sources)}
    return tuple(first[kind] for kind in ("spot", "perp") if kind in first)


def _unique(where: str, path: str, names: Sequence[str]) -> None:
    for n, name in enumerate(names):
        if name in names[:n]:
            raise CallError(f"{where}: {path}: {name!r} is there twice, allowed is each name once")


def _symbol(where: str, path: str, word: str, allowed: Sequence[str]) -> int:
    if word not in allowed:
        hint = nearest(word, allowed)
        raise CallError(f"{where}: {path}: found {word!r}{hint}; allowed are {', '.join(allowed)}")
    return allowed.index(word)


def _positive(where: str, path: str, value: Decimal) -> Decimal:
    if not 0 < value <= LARGEST:
        raise CallError(f"{where}: {path}: found {value}, allowed are numbers above 0 up to {LARGEST}")
    return value


def _units(where: str, path: str, value: Decimal, decimals: int, least: int | None = None) -> int:
    try:
        units = to_units(value, decimals)
    except ValueError as error:
        raise CallError(f"{where}: {path}: {error}") from None
    if least is not None and units < least:
        said = "numbers above 0" if least else "numbers from 0"
        raise CallError(f"{where}: {path}: found {value}, allowed are {said}")
    return units


def _insurance_assets(scenario: Scenario, rules: VenueRules, where: str) -> Iterator[tuple[int, int]]:
    """Assets that the fund's wallet could sell: those that the rulebook takes as collateral."""
    brought = scenario.endowments.insurance_assets
    path = "endowments.insurance_assets"
    if brought and rules.insurance.scope != "shared":
        raise CallError(
            f"{where}: {path}: found {', '.join(brought)}, allowed is none with "
            f"venue.insurance.scope = {rules.insurance.scope!r}"
        )
    symbols = [asset.symbol for asset in scenario.assets]
    sold = [rule.asset for rule in rules.collateral if rule.asset in symbols]
    if brought and not sold:
        raise CallError(
            f"{where}: {path}: found {', '.join(brought)}, allowed are assets of venue.collateral, of which "
            "the scenario has none"
        )
    for symbol, amount in brought.items():
        _symbol(where, path, symbol, sold)
        asset = symbols.index(symbol)
        yield asset, _endowment(where, f"insurance_assets.{symbol}", amount, scenario.assets[asset].decimals)


def _endowment(where: str, key: str, value: Decimal, decimals: int) -> int:
    atoms = _units(where, f"endowments.{key}", value, decimals, least=0)
    if atoms > ATOMS_MAX:
        raise CallError(f"{where}: endowments.{key}: found {value}, beyond the largest number of the venue")
    return atoms


def open_interest_lots(scenario: Scenario, world: World, start_ticks: Sequence[int]) -> tuple[int, ...]:
    """Lots held long (and short) in each market at the start, rounded down; 0 without a figure.

    Raises CallError where that is more than the market may hold.
    """
    lots = []
    whole = scenario.open_interest_value or Decimal(0)
    atoms = int(whole.scaleb(scenario.assets[world.settle].decimals))
    for spec, instrument, price in zip(scenario.instruments, world.instruments, start_ticks, strict=True):
        if spec.open_interest is not None:
            lots.append(to_units(spec.open_interest, instrument.lot_decimals))
        elif spec.open_interest_share is not None and price > 0:
            lots.append(int(atoms * spec.open_interest_share) // abs(value_atoms(instrument, price, 1)))
        else:
            lots.append(0)
        if lots[-1] > instrument.open_interest_max_lots:
            found = from_units(lots[-1], instrument.lot_decimals)
            raise CallError(
                f"instruments.{spec.symbol}: the open interest is {found}, "
                f"allowed is at most open_interest_max {spec.open_interest_max}"
            )
    return tuple(lots)


def _check_schedule(
    scenario: Scenario, rules: VenueRules, instruments: Sequence[Instrument], where: str
) -> None:
    delists = rules.settlement.perpetual == "index"
    symbols = [instrument.symbol for instrument in instruments]
    for n, action in enumerate(scenario.schedule):
        at = f"schedule.{n}"
        if not scenario.clock.start <= action.at <= scenario.clock.end:
            raise CallError(f"{where}: {at}.at: found {action.at}, allowed are times within the clock")
        if isinstance(action, TickAt):
            continue
        if isinstance(action, AuctionAt):
            _check_auction(scenario, action, instruments, where, at)
            continue
        number = _symbol(where, f"{at}.instrument", action.instrument, symbols)
        if isinstance(action, SettleAt | VariationAt):
            kind = instruments[number].kind
            is_delisting = isinstance(action, SettleAt) and kind == "perpetual" and delists
            if kind != "future" and not is_delisting:
                raise CallError(
                    f"{where}: {at}.instrument: {action.instrument} is of kind {kind}, allowed is a future"
                )
            if action.price is None:
                continue
            if is_delisting:
                raise CallError(f"{where}: {at}.price: found {action.price}, allowed is none for a perpetual")
            price = _units(where, f"{at}.price", action.price, instruments[number].tick_decimals)
            low, high = instruments[number].price_min_ticks, instruments[number].price_max_ticks
            if not low <= price <= high:
                raise CallError(
                    f"{where}: {at}.price: found {action.price}, "
                    f"allowed is {instruments[number].symbol}'s price_min..price_max"
                )


def _check_auction(
    scenario: Scenario, action: AuctionAt, instruments: Sequence[Instrument], where: str, at: str
) -> None:
    symbols = [instrument.symbol for instrument in instruments]
    names = member_names(scenario)
    _symbol(where, f"{at}.account", action.account, names)
    if not action.bids:
        raise CallError(f"{where}: {at}.bids: found none, allowed is one or more")
    for bid in action.bids:
        _symbol(where, f"{at}.bids.account", bid.account, names)
        if set(bid.prices) != set(action.bids[0].prices):
            raise CallError(
                f"{where}: {at}.bids: {bid.account} bids for {', '.join(bid.prices)}, "
                "allowed are the same instruments in every bid"
            )
        for symbol, price in bid.prices.items():
            number = _symbol(where, f"{at}.bids.prices", symbol, symbols)
            _units(where, f"{at}.bids.prices", price, instruments[number].tick_decimals)


def member_names(scenario: Scenario) -> list[str]:
    """Names of the accounts that are known one by one, in the order of their populations."""
    populations = (p for p in scenario.populations if isinstance(p, MemberParams))
    return [member.name for population in populations for member in population.members]


def check_claim(claim: Claim, where: str) -> None:
    """A claim has either an expected value or bounds."""
    bounds = claim.low is not None or claim.high is not None
    if bounds == (claim.expected is not None):
        raise CallError(
            f"{where}: claims.{claim.id}: found both or neither, allowed is `expected` or `low`/`high`"
        )
    for key, value in (("expected", claim.expected), ("low", claim.low), ("high", claim.high)):
        if isinstance(value, str):
            try:
                figure_of(value)
            except ValueError as error:
                raise CallError(f"{where}: claims.{claim.id}.{key}: {error}") from None
    if claim.tolerance is not None and (claim.expected is None or claim.tolerance < 0):
        raise CallError(
            f"{where}: claims.{claim.id}.tolerance: allowed is a number from 0, beside `expected`"
        )


def figure_of(value: Figure) -> Decimal:
    """A claim's number; a time counts in seconds since 1970. ValueError says what was found."""
    if not isinstance(value, str):
        return Decimal(repr(value))
    return Decimal(parse_time_ns(value)) / SECOND_NS if "T" in value.upper() else parse_decimal(value)
