"""What once got through as a traceback: each file again, through the door that it came by.

A target answers None where its input is let in, or the sentence that refuses it.
"""

import importlib
from pathlib import Path

import pytest

CRASHERS = sorted((Path(__file__).parent / "crashers").glob("*/*"))
REFUSALS = {
    "case/a-line-break-in-a-name": ("tiers.8: found unknown field maint ance, allowed is maintenance",),
    "case/key-that-is-no-utf8": ("case: found 'utf-8' codec", "allowed is JSON"),
    "command_file/a-line-break-in-a-name": ("file.jsonl:1: ", "is not known"),
    "command_file/key-that-is-no-utf8": ("file.jsonl:9: not readable as JSON: 'utf-8' codec",),
    "events/text-that-is-no-utf8": ("entry at byte 8 is not a batch of events: 'utf-8' codec", "entry 0"),
    "journal/a-line-break-in-a-name": ("entry at byte 8 is not a command: ", "whole up to entry 0"),
    "journal/text-that-is-no-utf8": ("entry at byte 8 is not a command: ", "whole up to entry 0"),
}
"""What the sentence says of the file: its place, what was found, and what is whole or allowed."""


@pytest.mark.parametrize("file", CRASHERS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_found_crasher_is_refused_in_order(file: Path) -> None:
    target = importlib.import_module(f"tests.fuzz.targets.{file.parent.name}")
    answer = target.fuzz(file.read_bytes())
    assert answer is not None
    said = REFUSALS[f"{file.parent.name}/{file.stem}"]
    assert [part for part in said if part not in answer] == []


@pytest.mark.parametrize("target", ["events", "snapshot", "rulebook", "case"])
def test_seeds_of_the_byte_fuzzer_are_let_in(target: str) -> None:
    answers = answers_to_seeds(target)
    assert answers == [None] * len(answers)


@pytest.mark.parametrize(
    ("target", "refusal"), [("journal", "trailing characters"), ("command_file", "file.jsonl:9: ")]
)
def test_most_seeds_of_the_byte_fuzzer_are_let_in_and_the_others_told_why(target: str, refusal: str) -> None:
    """Several commands in one frame, and lines that follow an opening in which their names are taken."""
    answers = answers_to_seeds(target)
    assert answers.count(None) > len(answers) / 2
    refused = [answer for answer in answers if answer is not None]
    assert refused
    assert [answer for answer in refused if refusal not in answer] == []


def answers_to_seeds(target: str) -> list[str | None]:
    module = importlib.import_module(f"tests.fuzz.targets.{target}")
    return [module.fuzz(seed) for seed in list(module.seeds())[:25]]
