"""What is built in: scenarios, and rulebooks with the days from which they hold and what they trade."""

from pathlib import Path
from typing import Any

import msgspec

from zerodebt.exchange.cases import UnanswerableError
from zerodebt.exchange.rulebook import profile_on
from zerodebt.exchange.rules import (
    A_DAY,
    is_day,
    profile_days,
    profile_names,
    profile_table,
    split_profile,
    venue_rules,
)
from zerodebt.scenarios import config, studies
from zerodebt.scenarios.quantities import CallError
from zerodebt.scenarios.rulebooks import SUFFIX, read_rulebook


def scenario_rows() -> list[dict[str, Any]]:
    tables = [config.read_scenario(config.scenario_path(name)) for name in config.scenario_names()]
    return [
        {"scenario": table["name"], "title": table["title"], "venue": table["venue"].get("profile", "own")}
        for table in tables
    ]


def study_rows() -> list[dict[str, Any]]:
    found = [studies.load(name) for name in studies.names()]
    return [{"study": s.name, "title": s.title, "arms": str(len(studies.arms_of(s)))} for s in found]


def venue_rows() -> list[dict[str, Any]]:
    """`days`: the day from which all tables of the rulebook hold, then those of later changes."""
    rows = []
    for name in profile_names():
        table = profile_table(name)
        rows.append(
            {
                "venue": table["name"],
                "valid_from": table["valid_from"],
                "waterfall": " -> ".join(table["waterfall"]),
                "promise": table["promise"],
                "days": profile_days(name) or [table["valid_from"]],
                "instruments": [entry["symbol"] for entry in table.get("instruments", ())],
            }
        )
    return rows


def venue_table(name: str, as_of: str | None) -> dict[str, Any]:
    """A rulebook on a day: its rules with every default, its assets and instruments.

    name  of one that ships, or the path of a .toml file
    """
    if as_of is not None and not is_day(as_of):
        raise CallError(f"--as-of: found {as_of!r}, allowed {A_DAY}")
    try:
        found = read_rulebook(Path(name), as_of) if name.endswith(SUFFIX) else profile_on(name, as_of)
        rules, extra = split_profile(found)
    except UnanswerableError as error:
        raise CallError(str(error)) from None
    table: dict[str, Any] = config.without_none(msgspec.to_builtins(venue_rules(rules)))
    return table | extra
