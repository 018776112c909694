"""The leverage cycle on the venue: the scenario `leverage-cycle`, news of one kind, and who paid for it.

Every cell is a run of the scenario through its usual door: the audit must agree, or the cell raises.
News is what value traders take coins to be worth; nobody publishes a price.
"""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zerodebt.scenarios import config, runner
from zerodebt.scenarios.models import PROMISE_BROKEN
from zerodebt.scenarios.populations import Run, read
from zerodebt.scenarios.prices import COLUMNS
from zerodebt.scenarios.rundir import SUMMARY, read_json

SCENARIO = "leverage-cycle"
START = datetime(2026, 1, 1, tzinfo=UTC)
# How far a coin's worth moves on news, in moves of BTC; up as down [ours, 2026-11-22].
NEWS_BETA = {"BTC": 1.0, "ETH": 1.1, "ALT": 1.3, "SMALL": 1.3}
_PLACES = {"BTC": 1, "ETH": 2, "ALT": 3, "SMALL": 5}
_PRICES = {"BTC": 100_000.0, "ETH": 4_000.0, "ALT": 200.0, "SMALL": 1.0}
SECOND = "-2"
"""What the symbol of a coin's second spot book adds to the coin's."""


class News(NamedTuple):
    """The log worth of BTC moves by `log_move` from `since_h` to `until_h`, in a straight line."""

    log_move: float
    since_h: float
    until_h: float


def news_csv(news: News, hours: float, books: Sequence[str] = ("", "-PERP")) -> str:
    """Waypoints of what coins are worth, for every book of a coin by what its symbol adds to the coin's."""
    lines = [",".join(COLUMNS)]
    points = sorted({0.0, hours, *np.linspace(news.since_h, news.until_h, 25).tolist()})
    for hour in points:
        at = (START + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ")
        done = min(1.0, max(0.0, (hour - news.since_h) / (news.until_h - news.since_h)))
        for coin, start in _PRICES.items():
            worth = start * float(np.exp(NEWS_BETA[coin] * news.log_move * done))
            price = f"{worth:.{_PLACES[coin]}f}"
            lines += [f"{at},{coin}{book},{price},news,input" for book in books]
    return "\n".join(lines) + "\n"


def overrides(hours: float, wake_s: float, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Clock and wake: prices, makers and everybody else wake together, as often as is told.

    changes  of the scenario by dotted key; `populations.<name>` with a whole table is one more population
    """
    table = config.read_table(config.scenario_path(SCENARIO))
    known = {population["name"]: population for population in table["populations"]}
    said: dict[str, Any] = {"clock.end": START + timedelta(hours=hours), "clock.index_every_s": int(wake_s)}
    for key, value in changes.items():
        first, _, rest = key.partition(".")
        name, _, field = rest.partition(".")
        if first != "populations":
            said[key] = value
        elif field:
            known[name] = known[name] | {field: value}
        else:
            known[name] = value | {"name": name}
    populations = [
        population if population["kind"] == "natural_shorts" else population | {"wake_s": float(wake_s)}
        for population in known.values()
    ]
    return said | {"populations": populations}


def with_second_books() -> list[dict[str, Any]]:
    """The scenario's instruments, and one more spot book of every coin."""
    scenario, _ = config.load(SCENARIO)
    instruments: list[dict[str, Any]] = config.to_table(scenario)["instruments"]
    spots = [i for i in instruments if i["kind"] == "spot"]
    return [*instruments, *({**spot, "symbol": f"{spot['symbol']}{SECOND}"} for spot in spots)]


def run_world(
    seed: int,
    hours: float,
    wake_s: float,
    news: News,
    changes: Mapping[str, Any],
    folder: Path,
    second_books: bool = False,
) -> Run:
    """Run it below `folder`, and read its tables. An audit that does not agree raises."""
    path = folder / f"news-{news.log_move}.csv"
    said = overrides(hours, wake_s, changes) | {"prices.waypoints": str(path)}
    if second_books:
        said["instruments"] = with_second_books()
    path.write_text(news_csv(news, hours, ("", SECOND, "-PERP") if second_books else ("", "-PERP")))
    result = runner.run(SCENARIO, seed=seed, out=folder, **said)
    if not result.summary["audit"]["agrees"]:
        raise AssertionError(f"{result.path}: the audit does not agree: {result.verdict}")
    return read(result.path)


def promise(*runs: Run) -> dict[str, float]:
    """Runs that broke the venue's promise, and what of their debts nobody has paid at the end, by debtor."""
    summaries = [read_json(run.path / SUMMARY) for run in runs]
    found = {PROMISE_BROKEN: float(sum(not said["promise_kept"] for said in summaries)), "residual_usd": 0.0}
    for debt in (debt for said in summaries for debt in said["residuals"]):
        name = f"residual_{debt['origin'].rpartition(' ')[0]}_usd"
        found[name] = found.get(name, 0.0) + float(debt["open"])
        found["residual_usd"] += float(debt["open"])
    return found


def defined(figures: Mapping[str, float]) -> dict[str, float]:
    """Without those that a run does not have: a share of nothing, a correlation of what stands still."""
    return {name: value for name, value in figures.items() if not np.isnan(value)}


def temporary() -> "tempfile.TemporaryDirectory[str]":
    """Runs of a cell are gone with it."""
    return tempfile.TemporaryDirectory(prefix="zerodebt-cycle-")
