"""The doors through which input comes, each as a function: None where it is let in, or the sentence it gets.

Anything else that is raised is a finding.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from zerodebt.agents.world import World as AgentWorld
from zerodebt.exchange.cases import UnanswerableError
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Command,
    Deposit,
    Observation,
    OpenAccounts,
    PlaceOrder,
    Tick,
    UpdateIndex,
)
from zerodebt.exchange.events import FIRST_ACCOUNT, Batch
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.journal import encode
from zerodebt.exchange.rules import RulesError, VenueRules, split_profile, venue_rules
from zerodebt.exchange.specs import AssetSpec, InstrumentSpec, build_assets, build_instrument
from zerodebt.exchange.venue import Venue
from zerodebt.scenarios import config, orders, questions, runner
from zerodebt.scenarios.prices import read_waypoints, waypoints_path
from zerodebt.scenarios.quantities import DataError
from zerodebt.scenarios.rulebooks import read_rulebook


def said(error: Exception) -> str:
    """What the user reads; it has to be one sentence, on one line."""
    text = str(error)
    assert text.strip(), f"{type(error).__name__} says nothing"
    assert "\n" not in text, text
    return text


def scenario(
    table: dict[str, Any], folder: Path, accounts: int | None = None, *, simulates: bool = False
) -> str | None:
    """A table as TOML gives it, up to the opening of the world, or through the whole of it."""
    try:
        checked = config.resolve(table, "file.toml", (), accounts, folder)
        world = config.build(checked, "file.toml")
        path = waypoints_path(checked, folder)
        waypoints = read_waypoints(path, checked, world)
        prepared = runner.Prepared(checked, world, waypoints, path.read_bytes(), 0)
        config.to_toml(checked)
        if simulates:
            _simulate(prepared)
    except (DataError, RulesError, OSError) as error:
        return said(error)
    return None


def _simulate(prepared: runner.Prepared) -> None:
    """The run without its files."""
    world = prepared.world
    venue = Venue(world.rules, world.assets, world.instruments)
    encode(venue.opening())

    def send(command: Command, at_ns: int) -> Batch:
        batch = venue.apply(command, at_ns)
        encode(batch)
        return batch

    for command in prepared.opening_commands():
        send(command, world.start_ns)
    agents = AgentWorld(venue.view, send, world.start_ns, world.end_ns)
    prepared.start(agents)
    agents.run(lambda _: None)
    venue.check()


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="zerodebt-fuzz-")


def written(name: str, text: bytes) -> Path:
    """A file with that text, in a folder of this process."""
    file = Path(_folder().name) / name
    file.write_bytes(text)
    return file


def rulebook(text: bytes) -> str | None:
    """A rulebook file of a user's own, on its way into a venue."""
    file = written("own.toml", text)
    try:
        table = read_rulebook(file)
        rules, extra = split_profile(table)
        checked = venue_rules(rules)
        assets = msgspec.convert(extra.get("assets", []), list[AssetSpec])
        specs = msgspec.convert(extra.get("instruments", []), list[InstrumentSpec])
        markets = [spec for spec in specs if spec.settle in (None, checked.settle_asset)]
        instruments = tuple(build_instrument(spec, assets, checked.settle_asset) for spec in markets)
        venue = Venue(checked, build_assets(assets), instruments)
        encode(venue.opening())
        for command in _short_day(checked, instruments):
            encode(venue.apply(command, 10**18))
        venue.check()
    except (RulesError, msgspec.ValidationError) as error:
        return said(error)
    return None


def _short_day(rules: VenueRules, instruments: tuple[Instrument, ...]) -> Iterator[Command]:
    """Money comes in, prices are known, a trade is made and time passes."""
    yield OpenAccounts(2)
    yield Deposit(0, FIRST_ACCOUNT, (10**12, 10**12))
    spots = [n for n, source in enumerate(rules.sources) if source.kind == "spot"]
    yield UpdateIndex(
        tuple(
            Observation(n, source, (i.price_min_ticks + i.price_max_ticks) // 2, 10**18)
            for n, i in enumerate(instruments)
            for source in spots
        )
    )
    for n, instrument in enumerate(instruments):
        price = (instrument.price_min_ticks + instrument.price_max_ticks) // 2
        yield PlaceOrder(FIRST_ACCOUNT, n, SELL, 1, price)
        yield PlaceOrder(FIRST_ACCOUNT + 1, n, BUY, 1, price)
    yield Tick()


def case(text: bytes, folder: Path) -> str | None:
    """What `zerodebt ask` reads; an answer may hold errors of its own."""
    reply = questions.reply(text, folder)
    if isinstance(reply, UnanswerableError):
        json.dumps(questions.error_table(reply))
        return said(reply)
    json.dumps(reply)
    for answered in reply["answers"]:
        assert "\n" not in str(answered.get("message", ""))
    return None


def command_file(lines: list[bytes], folder: Path) -> str | None:
    """What `zerodebt replay` reads, applied to the end, its events written."""
    try:
        session = orders.read(lines, "file.jsonl", folder=folder)
        venue = Venue(session.rules, session.assets, session.instruments)
    except (DataError, RulesError) as error:
        return said(error)
    settle = [asset.symbol for asset in session.assets].index(session.rules.settle_asset)
    written = orders.EventLines(session.assets, session.instruments, settle, session.names)
    labels: dict[str, int] = {}
    for table in written.tables(venue.opening()):
        msgspec.json.encode(table)
    for step in session.steps:
        command = step.command
        if step.refers is not None:
            command = msgspec.structs.replace(command, order_id=labels.get(step.refers, 0))
        batch = venue.apply(command, step.at_ns)
        encode(batch)
        if step.label is not None:
            labels[step.label] = orders.order_id_of(batch) or 0
        for table in written.tables(batch):
            msgspec.json.encode(table)
    venue.check()
    return None
