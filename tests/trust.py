"""What was tried against the venue: `python -m tests.trust` prints docs/trust.md from the records beside it.

A record is what a campaign printed: `python -m tests.trust record NAME -- COMMAND ...` runs the command and
keeps its output with the day and the commit. `--write` writes the page. `record-all` (`make trust`) does both
for the standard command of every campaign, which takes many hours.

What is recorded is what a commit holds: nothing is run while the tree has other changes than those that
campaigns make themselves.
"""

import argparse
import os
import shutil
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

STANDARD = {
    "properties": "python -m tests.spec --count",
    "simulation": "python -m tests.simulation --seeds 20000:20500 --commands 400",
    "twin": "python -m tests.reference --commands 1000000 --seed 0",
    "attacks": "zerodebt attack",
    "crash": "python -m tests.scenarios.kills 50 20251122",
    "bugs": "python -m tests.mutants.bugs",
    "mutants": "python -m tests.mutants.run --all",
    "fuzz": "python -m tests.fuzz --seconds 7200",
}
"""What `record-all` runs for each."""

WRITTEN = ("tests/records", "docs/trust.md", "tests/mutants/*.json")
"""What campaigns write themselves."""

HEAD = """# What was tried against it

Written by `python -m tests.trust --write` from what the campaigns printed, each with its command, its day and
the commit that it ran on. A figure is as old as its day. `make trust` records all of them anew.
"""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a command printed."""

    command: str
    day: str
    commit: str
    output: str


def commit() -> str:
    """The commit that holds the tree as it is. Ends the program where none does."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    changed = git("status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in WRITTEN)).splitlines()
    if changed:
        sys.exit(
            f"No commit holds {changed[0][3:]} as it is: commit it first, so that a record names what ran."
        )
    return git("describe", "--always").strip()


def record(name: str, argv: list[str]) -> Record:
    """Run a campaign and keep what it prints; one that found something is kept too, with its code."""
    holds = commit()
    # As in a virtual environment that is activated: its python and its zerodebt.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    found = shutil.which(argv[0], path=path) or argv[0]
    ended = subprocess.run([found, *argv[1:]], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    printed = ended.stdout + (f"\nended with code {ended.returncode}" if ended.returncode else "")
    kept = "\n".join(line.rstrip() for line in printed.rstrip().splitlines())
    kept_record = Record(" ".join(argv), f"{datetime.now(UTC):%Y-%m-%d}", holds, kept)
    RECORDS.mkdir(exist_ok=True)
    _file(name).write_bytes(msgspec.json.format(msgspec.json.encode(kept_record), indent=2) + b"\n")
    return kept_record


def _file(name: str) -> Path:
    return RECORDS / f"{name}.json"


def _kept(name: str) -> Record | None:
    path = _file(name)
    return msgspec.json.decode(path.read_bytes(), type=Record) if path.exists() else None


def page() -> str:
    """docs/trust.md."""
    parts = [HEAD, _table()]
    for name, title in CAMPAIGNS.items():
        kept = _kept(name)
        if kept is None:
            parts.append(f"## {title}\n\nNo record yet.\n")
        else:
            where = f"`{kept.command}`, {kept.day}, commit {kept.commit}:"
            parts.append(f"## {title}\n\n{where}\n\n```\n{kept.output}\n```\n")
    return "\n".join(parts)


def _table() -> str:
    """Which campaign was recorded when and on which commit."""
    lines = ["| campaign | day | commit |", "|---|---|---|"]
    for name, title in CAMPAIGNS.items():
        kept = _kept(name)
        day, held_by = (kept.day, kept.commit) if kept else ("no record yet", "")
        lines.append(f"| {title} | {day} | {held_by} |")
    return "\n".join(lines) + "\n"


def record_all() -> None:
    """Every campaign by its standard command, then the page."""
    for name, command in STANDARD.items():
        print(f"{name}: {command}", flush=True)
        kept = record(name, command.split())
        print(f"{name}: recorded on commit {kept.commit}", flush=True)
    PAGE.write_text(page(), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/trust.md instead of printing it")
    commands = parser.add_subparsers(dest="do")
    keep = commands.add_parser("record", help="run a campaign and keep what it prints")
    keep.add_argument("name", choices=CAMPAIGNS)
    keep.add_argument("argv", nargs="+", metavar="COMMAND")
    commands.add_parser("record-all", help="run every campaign's standard command; many hours")
    asked = parser.parse_args()
    if asked.do == "record":
        kept = record(asked.name, asked.argv)
        print(f"{kept.output}\nrecorded on commit {kept.commit}")
    elif asked.do == "record-all":
        record_all()
    elif asked.write:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()
