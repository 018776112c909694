"""What is built in: scenarios, and rulebooks with the days from which they hold and what they trade."""

from typing import Any

import msgspec

from zerodebt.exchange.cases import UnanswerableError
from zerodebt.exchange.rulebook import profile_on
from zerodebt.exchange.rules import (
    profile_days,
    profile_names,
    profile_table,
    split_profile,
    venue_rules,
)
from zerodebt.scenarios import config, studies
from zerodebt.scenarios.quantities import CallError


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
    """A rulebook on a day: its rules with every default, its assets and instruments."""
    try:
        rules, extra = split_profile(profile_on(name, as_of))
    except UnanswerableError as error:
        raise CallError(str(error)) from None
    table: dict[str, Any] = config.without_none(msgspec.to_builtins(venue_rules(rules)))
    return table | extra
