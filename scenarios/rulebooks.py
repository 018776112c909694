"""A rulebook of a user's own: a TOML file that extends a shipped one, or another file."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from zerodebt.exchange.rules import (
    RulesError,
    VenueRules,
    in_force,
    is_day,
    label_of,
    profile_names,
    profile_table,
    split_profile,
)
from zerodebt.exchange.specs import AssetSpec, InstrumentSpec
from zerodebt.scenarios.config import Scenario, deep_merge, read_rules, scenario_names, sentence
from zerodebt.scenarios.quantities import nearest

SUFFIX = ".toml"


def read_rulebook(path: Path, as_of: str | None = None) -> dict[str, Any]:
    """The rulebook of a file as it holds on a day (None: its newest tables), as `profile_table` gives one.

    Tables are laid over those of the file's `extends` field by field, instruments by their symbol; every
    other list replaces. A table whose day has not come leaves what is below it. What a table changes is
    said to be of this file, unless it names a `source`.
    RulesError in one sentence: which file, which field, what was found and what is allowed.
    """
    layers: list[tuple[Path, dict[str, Any]]] = []
    below: str | None = path.name
    folder = path.parent
    while below is not None and below.endswith(SUFFIX):
        file = folder / below
        if any(file.resolve() == other.resolve() for other, _ in layers):
            chain = " -> ".join(str(other) for other, _ in (*layers, (file, {})))
            raise RulesError(f"{path}: extends: found the circle {chain}, allowed is a chain that ends")
        table = _read(file)
        _check_tables(table, file)
        below, folder = _extended(file, table.pop("extends", None)), file.parent
        layers.append((file, table))
    merged = {} if below is None else profile_table(below, as_of)
    for file, table in reversed(layers):
        merged = _over(merged, table, file, as_of)
    _check(merged, path)
    return merged


def is_rulebook(path: Path) -> bool:
    """Is the file a rulebook, and no scenario? It extends one, or has keys that only a rulebook has."""
    try:
        table = _read(path)
    except RulesError:
        return False
    base = str(table.get("extends"))
    if base in scenario_names():
        return False
    if base in profile_names() or base.endswith(SUFFIX):
        return True
    of_rules, of_scenarios = set(VenueRules.__struct_fields__), set(Scenario.__struct_fields__)
    return bool(table.keys() & of_rules - of_scenarios) and not table.keys() & of_scenarios - of_rules


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RulesError(f"{file}: not readable as TOML: {error}") from None
    except FileNotFoundError:
        allowed = ", ".join(profile_names())
        raise RulesError(f"{file}: there is no such file, allowed is a {SUFFIX} file or {allowed}") from None
    except OSError as error:
        raise RulesError(f"{file}: {error.strerror}") from None


def _check_tables(table: dict[str, Any], file: Path) -> None:
    """Every `valid_from` is a day, and of two tables of one name and day neither is dropped in silence.

    Another text would be compared with days, and silently never hold.
    """
    for key, value in {"": table, **table}.items():
        seen = set()
        for n, entry in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(entry, dict):
                continue
            day = entry.get("valid_from")
            if day is not None and not (isinstance(day, str) and is_day(day)):
                where = f"{key}.valid_from".lstrip(".")
                raise RulesError(
                    f'{file}: {where}: found {str(day)!r}, allowed is a day in quotes, as "2026-01-31"'
                )
            label = label_of(entry)
            if (label, day) in seen:
                raise RulesError(
                    f"{file}: {key}.{n}: found {label or key!r} twice, allowed is one table of a name, "
                    "or one for each `valid_from`"
                )
            seen.add((label, day))


def _extended(file: Path, name: Any) -> str | None:
    names = profile_names()
    if name is None or (isinstance(name, str) and (name in names or name.endswith(SUFFIX))):
        return name
    raise RulesError(
        f"{file}: extends: found {name!r}{nearest(str(name), names)}; "
        f"allowed are a {SUFFIX} file, {', '.join(names)}"
    )


def _over(below: dict[str, Any], table: dict[str, Any], file: Path, as_of: str | None) -> dict[str, Any]:
    """A file's tables of the day over a rulebook."""
    _check_symbols(table.get("instruments", []), file)
    begun = {key: _begun(value, as_of) for key, value in table.items()}
    later = {key for key, value in table.items() if value and not begun[key] and key in below}
    held = {key: begun[key] or value for key, value in table.items() if key not in later}
    merged = below | {"name": file.stem}
    for key, value in in_force(str(file), held, as_of).items():
        if key == "instruments":
            merged[key] = _by_symbol(below.get(key, []), value, file)
        elif isinstance(value, dict) and isinstance(below.get(key, {}), dict):
            merged[key] = deep_merge(below.get(key, {}), {"source": file.name} | value)
        else:
            merged[key] = value
    return merged


def _begun(value: Any, as_of: str | None) -> Any:
    """Of dated tables those whose day has come; anything else as it is."""
    if as_of is None:
        return value
    if isinstance(value, dict):
        return value if str(value.get("valid_from", "")) <= as_of else {}
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        return [entry for entry in value if str(entry.get("valid_from", "")) <= as_of]
    return value


def _check_symbols(instruments: Any, file: Path) -> None:
    if not isinstance(instruments, list):
        raise RulesError(f"{file}: instruments: found {instruments!r}, allowed is a list of tables")
    for n, entry in enumerate(instruments):
        symbol = entry.get("symbol") if isinstance(entry, dict) else None
        if not isinstance(symbol, str):
            raise RulesError(f"{file}: instruments.{n}.symbol: found {symbol!r}, allowed is a symbol")


def _by_symbol(below: list[dict[str, Any]], above: list[dict[str, Any]], file: Path) -> list[dict[str, Any]]:
    merged = {entry["symbol"]: entry for entry in below}
    for entry in above:
        merged[entry["symbol"]] = merged.get(entry["symbol"], {}) | {"source": file.name} | entry
    return list(merged.values())


def _check(table: dict[str, Any], path: Path) -> None:
    """Field by field, so that the sentence names the file and not who uses it."""
    rules, extra = split_profile(table)
    try:
        read_rules(rules)
    except RulesError as error:
        raise RulesError(f"{path}: {str(error).removeprefix('venue.')}") from None
    for key, kind in (("assets", AssetSpec), ("instruments", InstrumentSpec)):
        entries = extra.get(key, [])
        try:
            msgspec.convert(entries, list[kind], strict=False)  # type: ignore[valid-type]
        except msgspec.ValidationError as error:
            said = sentence(str(error), entries, list[kind], key)  # type: ignore[valid-type]
            raise RulesError(f"{path}: {said}") from None
