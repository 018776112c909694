"""The run directory: its name, its files, and what it says of itself."""

import json
import mmap
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, BinaryIO

from zerodebt.exchange import journal
from zerodebt.exchange.commands import Stamped
from zerodebt.exchange.events import Batch
from zerodebt.exchange.journal import EVENTS_HEADER, JOURNAL_HEADER, DamagedError
from zerodebt.scenarios.quantities import DataError

SCHEMA = 1
CONFIG, META, SUMMARY, REPORT = "config.toml", "meta.json", "summary.json", "report.html"
WAYPOINTS, JOURNAL, EVENTS = "waypoints.csv", "journal.bin", "events.bin"
RUNNING, INTERRUPTED, DONE = "RUNNING", "INTERRUPTED", "DONE"
_BEGUN = b"begun and not ended: it is running, or was killed, or failed\n"
_BUFFER = 1 << 20


def run_id(name: str, config: dict[str, Any], waypoints: bytes, seed: int, version: str) -> str:
    """`<scenario>-<8 hex>`: the same world, seed and version have the same name, wherever its files lie."""
    content = {"config": config, "waypoints": sha256(waypoints).hexdigest(), "seed": seed, "version": version}
    text = json.dumps(content, sort_keys=True, default=str, separators=(",", ":"))
    return f"{name}-{blake2b(text.encode(), digest_size=4).hexdigest()}"


class BrokenOffError(DataError):
    """A stream ends inside a frame, as one whose writer was killed may."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What the system refuses inside is a DataError that names `path`."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def write_bytes(path: Path, data: bytes) -> None:
    """Aside, then renamed: a reader sees all of it or nothing."""
    aside = path.with_name(f".{path.name}.part")
    with naming(path):
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise


def as_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, as_json(value))


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from None


def recorded(path: Path, key: str) -> Any:
    """What a run's meta.json or summary.json says under `key`."""
    table = read_json(path)
    if not isinstance(table, dict) or key not in table:
        raise DataError(f"{path}: key {key!r} is missing, allowed is the file as the run wrote it")
    return table[key]


def says(path: Path, key: str) -> bool:
    """Does a run's meta.json speak of `key`?"""
    table = read_json(path)
    return isinstance(table, dict) and key in table


def is_done(run: Path) -> bool:
    return (run / DONE).is_file()


def finished(run: Path) -> Path:
    """The directory of a run that is complete; DataError says what is missing."""
    if not run.is_dir():
        raise DataError(f"{run}: there is no such run, allowed is a run directory")
    if not is_done(run):
        state = _state(run)
        said = state.read_text(encoding="utf-8", errors="replace").strip()
        raise DataError(
            f"{run}: the run is not finished ({said}), allowed is one with {DONE}; "
            f"`zerodebt resume {run}` goes on with it"
        )
    return run


def _state(run: Path) -> Path:
    """The file that says that a run is not finished."""
    for name in (INTERRUPTED, RUNNING):
        if (run / name).is_file():
            return run / name
    raise DataError(f"{run}: found none of {DONE}, {INTERRUPTED} and {RUNNING}, allowed is a run directory")


def begin(run: Path, files: Mapping[str, bytes]) -> BinaryIO:
    """Make a run directory with its first files; what stood there goes when it is whole.

    The answer is RUNNING, open and locked: closing it, or the end of the process, lets go.
    """
    if (run / RUNNING).is_file():
        _locked(run / RUNNING, run).close()
    aside, old = run.with_name(f".{run.name}.part"), run.with_name(f".{run.name}.old")
    _remove(aside)
    with naming(aside):
        aside.mkdir(parents=True)
    try:
        streams = {JOURNAL: JOURNAL_HEADER, EVENTS: EVENTS_HEADER}
        for name, data in {RUNNING: _BEGUN, **files, **streams}.items():
            write_bytes(aside / name, data)
        marker = _locked(aside / RUNNING, run)
        if run.exists():
            _remove(old)
            run.rename(old)
        aside.rename(run)
    finally:
        _remove(aside)
    _remove(old)
    return marker


def take_up(run: Path) -> BinaryIO:
    """RUNNING of a run that did not reach its end, open and locked; DataError when another process has it."""
    return _locked(_state(run), run)


def go_on(run: Path) -> None:
    """An interrupted run is a running one again, without the summary of where it stood."""
    (run / SUMMARY).unlink(missing_ok=True)
    if (run / INTERRUPTED).is_file():
        (run / INTERRUPTED).replace(run / RUNNING)
        (run / RUNNING).write_bytes(_BEGUN)
    for left in run.glob(".*.part"):
        left.unlink()


def end(run: Path) -> None:
    """RUNNING, emptied, becomes DONE: there is no moment with both or with none."""
    with naming(run):
        os.truncate(run / RUNNING, 0)
        (run / RUNNING).replace(run / DONE)


def interrupt(run: Path, said: str) -> None:
    write_bytes(run / INTERRUPTED, f"{said}\n".encode())
    (run / RUNNING).unlink()


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _locked(marker: Path, run: Path) -> BinaryIO:
    """A lock that dies with its process. Where the system has none, two processes are not told apart."""
    with naming(marker):
        file = marker.open("r+b")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise DataError(f"{run}: another process is at this run, allowed is one at a time") from None
    except (ImportError, OSError):
        return file
    return file


def mapped(path: Path) -> memoryview:
    """A file's bytes, read as they are asked for."""
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise DataError(f"{path}: the file is empty")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def read_batches(path: Path) -> Iterator[Batch]:
    """The batches of an event file; DataError says up to which one a damaged file is whole."""
    with _saying_how_far(path):
        yield from journal.batches(mapped(path))


def read_finished(run: Path) -> Iterator[Batch]:
    """The batches of a finished run; DataError also where whole ones are missing at the end."""
    commands, seq = recorded(run / META, "commands"), 0
    for batch in read_batches(run / EVENTS):
        seq = batch.seq
        yield batch
    if seq != commands:
        raise DataError(f"{run / EVENTS}: ends after command {seq}, the run had {commands}")


def read_commands(path: Path) -> Iterator[Stamped]:
    """The commands of a journal; DataError says up to which one a damaged file is whole."""
    with _saying_how_far(path):
        yield from journal.commands(mapped(path))


def check_streams(run: Path) -> None:
    """Both streams of an unfinished run read to their ends: DataError where they are damaged."""
    for entries in (read_commands(run / JOURNAL), read_batches(run / EVENTS)):
        try:
            for _ in entries:
                pass
        except BrokenOffError:
            continue


@contextmanager
def _saying_how_far(path: Path) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        kind = BrokenOffError if error.breaks_off else DataError
        raise kind(f"{path}: {error}") from None


def sha256_of(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(_BUFFER):
            digest.update(block)
    return digest.hexdigest()
