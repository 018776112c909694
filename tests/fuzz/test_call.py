"""Arguments of the command line that mean nothing: exit code 2 (or 3 for files) and one sentence."""

from pathlib import Path
from random import Random

import pytest

from tests.fuzz.tables import WRONG, schema_paths
from tests.scenarios.conftest import is_one_sentence
from zerodebt.scenarios.cli import BAD_DATA, WRONG_CALL, call
from zerodebt.scenarios.config import Scenario, catalogue, read_scenario

DEEP = "[" * 100_000
LONG = "9" * 5_000
PATHS = schema_paths(Scenario, read_scenario(catalogue() / "oil-client.toml"))


def answer(capfd: pytest.CaptureFixture[str], *arguments: str) -> int:
    code = call(arguments)
    err = capfd.readouterr().err
    assert code in (0, WRONG_CALL, BAD_DATA), code
    if code:
        assert is_one_sentence(err), err
    return code


def test_any_value_for_any_key_of_the_scenario(capfd: pytest.CaptureFixture[str]) -> None:
    """`show` reads, overrides and checks all that a run would."""
    rng = Random(1)
    codes = []
    for _ in range(60):
        path, value = ".".join(map(str, rng.choice(PATHS))), rng.choice(WRONG)
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        codes.append(answer(capfd, "show", "oil-client", "--set", f"{path}={shown}"))
    assert codes.count(WRONG_CALL) > 30
    assert BAD_DATA not in codes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "a",
        "a=",
        "=1",
        ".=1",
        "a..b=1",
        "venue.=1",
        f"x={DEEP}",
        f"accounts={LONG}",
        "x=[1,[2",
        "\x00=1",
    ],
)
def test_override_that_is_none(capfd: pytest.CaptureFixture[str], text: str) -> None:
    assert answer(capfd, "show", "oil-client", "--set", text) == WRONG_CALL


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "oil-client", "--seed", "-1"),
        ("run", "oil-client", "--seed", LONG),
        ("run", "oil-client", "--seed", "1e3"),
        ("run", "oil-client", "--seeds", "0"),
        ("run", "oil-client", "--accounts", "0"),
        ("run", "\x00.toml"),
        ("run", ""),
        ("show", "hyperliquid", "--as-of", "2025-02-30"),
        ("show", "oil-client", "--as-of", "2025-01-01"),
        ("explain", "nowhere", "--account", "one"),
        ("list", "nothing"),
        ("nothing",),
    ],
)
def test_argument_that_means_nothing(capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert answer(capfd, *arguments) == WRONG_CALL


@pytest.mark.parametrize("name", ["\x00", "x" * 5_000, "", "/dev/null"])
@pytest.mark.parametrize("command", ["replay", "ask", "audit", "report"])
def test_name_that_is_no_file(capfd: pytest.CaptureFixture[str], command: str, name: str) -> None:
    assert answer(capfd, command, name) in (WRONG_CALL, BAD_DATA)


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("deep.toml", f"x = {DEEP}", "show"),
        ("long.toml", f"x = {LONG}", "show"),
        ("latin.toml", "x = '\xff'", "show"),
        ("clock.toml", 'extends = "oil-client"\nclock = 3', "show"),
        ("deep.jsonl", DEEP, "replay"),
        ("deep_key.jsonl", f'{{"do": "venue", "x": {DEEP}', "replay"),
        (
            "no_asset.jsonl",
            '{"do": "venue", "profile": "hyperliquid", "assets": [], "instruments": []}',
            "replay",
        ),
        ("deep.json", DEEP, "ask"),
        ("settle.json", '{"venue": "hyperliquid", "ask": [], "rules": {"settle_asset": []}}', "ask"),
    ],
)
def test_file_that_cannot_be_read(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str, text: str, command: str
) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode("latin-1"))
    assert answer(capfd, command, str(file)) in (WRONG_CALL, BAD_DATA)
