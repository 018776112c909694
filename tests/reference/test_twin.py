"""The venue beside the plain model: every event, balance and position equal after every command."""

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.reference import arithmetic, margin, waterfall
from tests.reference.campaign import LENGTH, FailureError, campaign
from tests.reference.compare import DivergenceError, run, shrink
from tests.reference.streams import Setting, Stream, names, settings
from zerodebt.exchange.reject import RejectReason

STREAMS = 16
SETTINGS = {setting.name: setting for setting in settings()}
OFTEN = {
    "hyperliquid": (
        "Filled",
        "FundingSet",
        "TriggerFired",
        "LiquidationStarted cross",
        "LiquidationStarted isolated",
        "StageArmed book",
        "StageArmed backstop",
        "TakenOver",
        "StagePaid backstop",
        "Deleveraged bankrupt",
    ),
    "binance_usdm": ("StageArmed book", "TakenOver", "StagePaid insurance", "Deleveraged bankrupt"),
    "plain": ("TakenOver", "StagePaid insurance", "Deleveraged bankrupt"),
    "harsh": ("StageArmed book", "TakenOver", "StagePaid house", "StagePaid recourse", "ReceivableBooked"),
    "swarm": ("StageArmed book", "TakenOver", "Deleveraged bankrupt", "StagePaid recourse"),
    "shared": ("StagePaid insurance", "StagePaid socialise", "Deleveraged bankrupt"),
    "bare": ("DeficitClosed with a residual", f"Rejected: {RejectReason.DEFICIT_OPEN.value}"),
}
"""What the streams of a rulebook must reach, or the comparison has not seen it."""


DATA = ("assets", "commands", "events", "instruments", "reject", "rules")
TYPES = {"instruments": {"Instrument", "Tier"}, "rules": {"VenueRules", "ForcedForm", "StageName"}}


@pytest.mark.parametrize(
    "name", ["arithmetic", "book", "world", "margin", "prices", "orders", "waterfall", "model"]
)
def test_the_model_shares_data_types_with_the_venue_and_no_code(name: str) -> None:
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("zerodebt") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(("zerodebt", "tests.venues")):
            names = {alias.name for alias in node.names}
            of = str(node.module).removeprefix("zerodebt.exchange").removeprefix(".")
            assert (names if not of else {of}) <= set(DATA), f"{name}.py imports {names} of {node.module}"
            assert names <= TYPES.get(of, names), f"{name}.py imports {names} of {of}"


def stream(name: str, seed: int = 0, length: int = LENGTH) -> Stream:
    return Stream(seed, SETTINGS[name], length)


@pytest.mark.spec(
    "BOOK-01", "NUM-03", "MARG-01", "FUND-01", "LEDG-03", "LIQ-10", "WFALL-03", "WFALL-08", kind="W"
)
@pytest.mark.parametrize("name", names())
def test_venue_does_what_the_plain_model_does(name: str) -> None:
    report = campaign(STREAMS * LENGTH, 0, name)
    assert report.commands == STREAMS * LENGTH
    rare = {kind: report.by_event[kind] for kind in OFTEN[name] if report.by_event[kind] < 2}
    assert not rare, f"{name}: hardly seen {rare}"


@pytest.mark.long
def test_a_million_commands() -> None:
    assert campaign(1_000_000, 0).commands >= 1_000_000


def test_a_stream_is_the_same_again() -> None:
    first, second = stream("plain"), stream("plain")
    run(SETTINGS["plain"], first, first.hear)
    run(SETTINGS["plain"], second, second.hear)
    assert first.rows == second.rows
    assert len(first.rows) == LENGTH
    run(SETTINGS["plain"], first.rows)


WRONG: dict[str, tuple[Any, str, Any]] = {
    "a fee rounded down": (arithmetic, "up", arithmetic.down),
    "the second in the queue first": (
        waterfall.Rounds,
        "queue",
        lambda self, n, sign, before=waterfall.Rounds.queue: before(self, n, sign)[::-1],
    ),
    "a position as large as its tier is in the next one": (
        margin,
        "charge",
        lambda spec, rates, value, before=margin.charge: before(spec, rates, value + 1),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_model_is_told_from_the_venue(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: one wrong rule on one side is seen."""
    monkeypatch.setattr(*WRONG[name])
    with pytest.raises((DivergenceError, FailureError)):
        _until_it_diverges(SETTINGS["hyperliquid"])


def _until_it_diverges(setting: Setting) -> None:
    for seed in range(20):
        commands = Stream(seed, setting, LENGTH)
        run(setting, commands, commands.hear)


def test_a_divergence_shrinks_to_the_commands_that_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 500 commands few are needed to see a fee that is rounded down."""
    monkeypatch.setattr(arithmetic, "up", arithmetic.down)
    setting = SETTINGS["hyperliquid"]
    commands = stream("hyperliquid")
    with pytest.raises(DivergenceError):
        run(setting, commands, commands.hear)
    small = shrink(setting, commands.rows)
    assert len(small) <= 12
    with pytest.raises(DivergenceError):
        run(setting, small)
