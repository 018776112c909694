"""`make bugs`: put the bugs of `bugs.toml` into a copy of the venue one by one, and see which test objects.

Keeps the outcome in `tests/mutants/bugs.json`; ends with 1 when a bug went unnoticed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDERS = ("exchange", "agents", "scenarios", "tests", "docs")
SECONDS_MAX = 120
"""A bug may make the venue run for ever: that is noticed too."""
_ticks = count(1)


class NoVerdictError(Exception):
    """pytest ended otherwise than by a test that passed or failed: that says nothing of a bug."""


class Bug(NamedTuple):
    what: str
    property: str
    file: str
    old: str
    new: str
    tests: list[str]


def bugs() -> list[Bug]:
    return [Bug(**entry) for entry in tomllib.loads((HERE / "bugs.toml").read_text())["bug"]]


def copy_project(target: Path) -> None:
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "zerodebt", target / "zerodebt", symlinks=True)
    shutil.copy2(ROOT / "pyproject.toml", target)


@contextmanager
def borrowed(free: SimpleQueue[Path]) -> Iterator[Path]:
    project = free.get()
    try:
        yield project
    finally:
        free.put(project)


@contextmanager
def planted(bug: Bug, project: Path) -> Iterator[None]:
    """Puts the bug into the project and takes it out again.

    Compiled modules are known by size and whole second, so each text gets a second of its own.
    """
    path = project / bug.file
    right = path.read_text()
    assert right.count(bug.old) == 1, f"{bug.file}: {bug.old!r} is there {right.count(bug.old)} times"
    try:
        path.write_text(right.replace(bug.old, bug.new))
        os.utime(path, (next(_ticks),) * 2)
        yield
    finally:
        path.write_text(right)
        os.utime(path, (next(_ticks),) * 2)


def first_failure(tests: list[str], project: Path) -> str | None:
    """The first of the tests in these files that fails, or None; a run without an end is named as one.

    Raises NoVerdictError.
    """
    options = ["-x", "-q", "--no-header", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
    profile = ["-p", "tests.mutants.profile", "--hypothesis-profile=mutants"]
    files = [f"tests/{name}" for name in tests]
    command = [sys.executable, "-m", "pytest", *options, *profile, *files]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    try:
        run = subprocess.run(
            command,
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(files)}: timed out after {SECONDS_MAX} s"
    if run.returncode == 0:
        return None
    return failed_test(run.returncode, run.stdout)


def failed_test(code: int, printed: str) -> str:
    """The test that pytest, ending with `code`, names as failed."""
    failed = [line.split(" ", 1)[1] for line in printed.splitlines() if line.startswith("FAILED ")]
    if code != 1 or not failed:
        raise NoVerdictError(f"pytest ended with {code} and no failed test:\n{printed[-2000:]}")
    return failed[0].split(" - ")[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("words", nargs="*", help="only bugs whose property or description has one of these")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    asked = parser.parse_args()
    chosen = [
        bug
        for bug in bugs()
        if not asked.words or any(word in f"{bug.property} {bug.what}" for word in asked.words)
    ]
    with tempfile.TemporaryDirectory(prefix="mutants_bugs_") as folder:
        free: SimpleQueue[Path] = SimpleQueue()
        for k in range(asked.jobs):
            copy_project(Path(folder) / str(k))
            free.put(Path(folder) / str(k))

        def attempt(bug: Bug) -> str | None:
            with borrowed(free) as project, planted(bug, project):
                try:
                    return first_failure(bug.tests, project)
                except NoVerdictError as error:
                    print(f"{bug.property:9} {bug.what}\n          {error}", file=sys.stderr)
                    return None

        def fails_without_a_bug(test: str) -> str | None:
            with borrowed(free) as project:
                return first_failure([test], project)

        found: dict[str, str | None] = {}
        with ThreadPoolExecutor(asked.jobs) as pool:
            tests = sorted({test for bug in chosen for test in bug.tests})
            wrong = [test for test in pool.map(fails_without_a_bug, tests) if test]
            assert not wrong, f"fails without a bug: {wrong}"
            for bug, test in zip(chosen, pool.map(attempt, chosen), strict=True):
                print(f"{bug.property:9} {bug.what}\n          {test or 'NOT CAUGHT'}", flush=True)
                found[bug.what] = test
    missed = sum(test is None for test in found.values())
    print(f"{len(found) - missed} of {len(found)} bugs were caught")
    keep(found)
    return 1 if missed else 0


def keep(found: dict[str, str | None]) -> None:
    """Write what was found beside what is known of the other bugs."""
    path = HERE / "bugs.json"
    known = json.loads(path.read_text()) if path.exists() else []
    caught_by = {entry["what"]: entry["caught_by"] for entry in known} | found
    kept = [
        {"property": bug.property, "what": bug.what, "caught_by": caught_by[bug.what]}
        for bug in bugs()
        if bug.what in caught_by
    ]
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
