"""The leverage cycle on the venue: the scenario `leverage-cycle`, news of one kind, and who paid for it.

Every cell is a run of the scenario through its usual door: the audit must agree, or the cell raises.
News is what value traders take coins to be worth; nobody publishes a price.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zerodebt.agents.opening import ANNUAL_VOLATILITY, ANNUAL_VOLATILITY_OTHER
from zerodebt.agents.wealth import Floats
from zerodebt.scenarios import config, runner
from zerodebt.scenarios.models import PROMISE_BROKEN
from zerodebt.scenarios.populations import Run, read
from zerodebt.scenarios.prices import COLUMNS
from zerodebt.scenarios.rundir import SUMMARY, read_json

SCENARIO = "leverage-cycle"
START = datetime(2026, 1, 1, tzinfo=UTC)
# How far a coin's worth moves on news, in moves of BTC; up as down [ours, 2026-11-22].
NEWS_BETA = {"BTC": 1.0, "ETH": 1.1, "ALT": 1.3, "SMALL": 1.3}
_YEAR_S = 365 * 86_400
_PLACES = {"BTC": 1, "ETH": 2, "ALT": 3, "SMALL": 5}
_PRICES = {"BTC": 100_000.0, "ETH": 4_000.0, "ALT": 200.0, "SMALL": 1.0}
COINS = tuple(_PRICES)
SECOND = "-2"
"""What the symbol of a coin's second spot book adds to the coin's."""


class News(NamedTuple):
    """The log worth of BTC moves by `log_move` from `since_h` to `until_h`, in a straight line."""

    log_move: float
    since_h: float
    until_h: float

    def log_moves(self, hours: float) -> Iterator[tuple[float, dict[str, float]]]:
        """Hours since the start, and how far the log worth of each coin has moved by then."""
        for hour in sorted({0.0, hours, *np.linspace(self.since_h, self.until_h, 25).tolist()}):
            done = min(1.0, max(0.0, (hour - self.since_h) / (self.until_h - self.since_h)))
            yield hour, {coin: NEWS_BETA[coin] * self.log_move * done for coin in COINS}


class Walk(NamedTuple):
    """The log worth of every coin is a Gaussian random walk of its own, a step every `step_s` seconds.

    volatility  over the coin's usual one
    """

    seed: int
    step_s: float
    volatility: float

    def log_moves(self, hours: float) -> Iterator[tuple[float, dict[str, float]]]:
        """As of News. Hours are whole steps."""
        steps = round(hours * 3600 / self.step_s)
        luck = np.random.default_rng([self.seed, 10]).standard_normal((steps, len(COINS)))
        deviations = usual_volatility() * self.volatility * np.sqrt(self.step_s / _YEAR_S)
        moved = np.cumsum(np.vstack([np.zeros(len(COINS)), luck * deviations]), axis=0)
        for step, row in enumerate(moved.tolist()):
            yield step * self.step_s / 3600, dict(zip(COINS, row, strict=True))


def usual_volatility() -> Floats:
    """Annual, of the log price of every coin: what makers and those with old positions take it to be."""
    return np.array([ANNUAL_VOLATILITY.get(coin, ANNUAL_VOLATILITY_OTHER) for coin in COINS])


def news_csv(news: News | Walk, hours: float, books: Sequence[str] = ("", "-PERP")) -> str:
    """Waypoints of what coins are worth, for every book of a coin by what its symbol adds to the coin's."""
    lines = [",".join(COLUMNS)]
    for hour, moved in news.log_moves(hours):
        at = (START + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for coin, start in _PRICES.items():
            worth = start * float(np.exp(moved[coin]))
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
    news: News | Walk,
    changes: Mapping[str, Any],
    folder: Path,
    second_books: bool = False,
) -> Run:
    """Run it below `folder`, and read its tables. An audit that does not agree raises."""
    path = folder / f"{type(news).__name__.lower()}-{news[0]}.csv"
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
        name = f"residual_{debt['origin'].rpartition(' ')[0] or debt['origin']}_usd"
        found[name] = found.get(name, 0.0) + float(debt["open"])
        found["residual_usd"] += float(debt["open"])
    return found


def defined(figures: Mapping[str, float]) -> dict[str, float]:
    """Without those that a run does not have: a share of nothing, a correlation of what stands still."""
    return {name: value for name, value in figures.items() if not np.isnan(value)}


def temporary() -> "tempfile.TemporaryDirectory[str]":
    """Runs of a cell are gone with it."""
    return tempfile.TemporaryDirectory(prefix="zerodebt-cycle-")
