"""What was tried against the venue: `python -m tests.trust` prints docs/trust.md from the records beside it.

A record is what a campaign printed: `python -m tests.trust record NAME -- COMMAND ...` runs the command and
keeps its output with the day and the commit. `--write` writes the page.
"""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "tests" / "records"
PAGE = ROOT / "docs" / "trust.md"

CAMPAIGNS = {
    "properties": "Laws and attacks, and the tests that hold them",
    "simulation": "A simulation of the simulator",
    "twin": "A plain clearing model beside the venue",
    "attacks": "Twelve attacks, on a venue built to fall and on ours",
    "crash": "Runs killed at random points",
    "bugs": "Bugs put in by hand",
    "mutants": "Mutants of the modules that move money",
    "fuzz": "Bytes that no encoder wrote",
}
"""In the order of the page; a record for each."""

HEAD = """# What was tried against it

Written by `python -m tests.trust --write` from what the campaigns printed, each with its command, its day and
the commit that it ran on. A figure is as old as its day.
"""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a command printed."""

    command: str
    day: str
    commit: str
    output: str


def record(name: str, argv: list[str]) -> Record:
    """Run a campaign and keep what it prints; one that found something is kept too, with its code."""
    ended = subprocess.run(argv, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    printed = ended.stdout + (f"\nended with code {ended.returncode}" if ended.returncode else "")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    kept = "\n".join(line.rstrip() for line in printed.rstrip().splitlines())
    found = Record(" ".join(argv), f"{datetime.now(UTC):%Y-%m-%d}", commit, kept)
    RECORDS.mkdir(exist_ok=True)
    _file(name).write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return found


def _file(name: str) -> Path:
    return RECORDS / f"{name}.json"


def page() -> str:
    """docs/trust.md."""
    parts = [HEAD]
    for name, title in CAMPAIGNS.items():
        if _file(name).exists():
            kept = msgspec.json.decode(_file(name).read_bytes(), type=Record)
            where = f"`{kept.command}`, {kept.day}, commit {kept.commit}:"
            parts.append(f"## {title}\n\n{where}\n\n```\n{kept.output}\n```\n")
        else:
            parts.append(f"## {title}\n\nNo record yet.\n")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/trust.md instead of printing it")
    commands = parser.add_subparsers(dest="do")
    keep = commands.add_parser("record", help="run a campaign and keep what it prints")
    keep.add_argument("name", choices=CAMPAIGNS)
    keep.add_argument("argv", nargs="+", metavar="COMMAND")
    asked = parser.parse_args()
    if asked.do == "record":
        sys.stdout.write(record(asked.name, asked.argv).output + "\n")
    elif asked.write:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()
