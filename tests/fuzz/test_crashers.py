"""What once got through as a traceback: each file again, through the door that it came by."""

import importlib
from pathlib import Path

import pytest

CRASHERS = sorted((Path(__file__).parent / "crashers").glob("*/*"))


@pytest.mark.parametrize("file", CRASHERS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_found_crasher_is_refused_in_order(file: Path) -> None:
    target = importlib.import_module(f"tests.fuzz.targets.{file.parent.name}")
    target.fuzz(file.read_bytes())


@pytest.mark.parametrize("target", ["journal", "events", "snapshot", "command_file", "rulebook", "case"])
def test_seeds_of_the_byte_fuzzer_pass_their_targets(target: str) -> None:
    module = importlib.import_module(f"tests.fuzz.targets.{target}")
    for seed in list(module.seeds())[:25]:
        module.fuzz(seed)
