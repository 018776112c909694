"""The run directory: its name, its files, and what it says of itself."""

import json
import mmap
import os
from collections.abc import Iterator
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, BinaryIO

from zerodebt.exchange import journal
from zerodebt.exchange.commands import Stamped
from zerodebt.exchange.events import Batch
from zerodebt.exchange.journal import EVENTS_HEADER, JOURNAL_HEADER, DamagedError, encode
from zerodebt.scenarios.quantities import DataError

SCHEMA = 1
CONFIG, META, SUMMARY, REPORT = "config.toml", "meta.json", "summary.json", "report.html"
WAYPOINTS, JOURNAL, EVENTS = "waypoints.csv", "journal.bin", "events.bin"
RUNNING, INTERRUPTED, DONE = "RUNNING", "INTERRUPTED", "DONE"
_BUFFER = 1 << 20


def run_id(name: str, config: dict[str, Any], waypoints: bytes, seed: int, version: str) -> str:
    """`<scenario>-<8 hex>`: the same world, seed and version have the same name, wherever its files lie."""
    content = {"config": config, "waypoints": sha256(waypoints).hexdigest(), "seed": seed, "version": version}
    text = json.dumps(content, sort_keys=True, default=str, separators=(",", ":"))
    return f"{name}-{blake2b(text.encode(), digest_size=4).hexdigest()}"


def write_bytes(path: Path, data: bytes) -> None:
    """Aside, then renamed: a reader sees all of it or nothing."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=False) + "\n").encode())


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


def is_done(run: Path) -> bool:
    return (run / DONE).is_file()


def finished(run: Path) -> Path:
    """The directory of a run that is complete; DataError says what is missing."""
    if not run.is_dir():
        raise DataError(f"{run}: there is no such run, allowed is a run directory")
    if not is_done(run):
        for state in (INTERRUPTED, RUNNING):
            if (run / state).is_file():
                said = (run / state).read_text(encoding="utf-8").strip()
                raise DataError(f"{run}: the run is not finished ({said}), allowed is one with {DONE}")
        raise DataError(f"{run}: found no {DONE}, allowed is the directory of a finished run")
    return run


class Recorder:
    """Streams commands and batches to disk; a command is written before it is applied."""

    def __init__(self, run: Path) -> None:
        self._journal: BinaryIO = (run / JOURNAL).open("wb", buffering=_BUFFER)
        self._events: BinaryIO = (run / EVENTS).open("wb", buffering=_BUFFER)
        self._journal.write(JOURNAL_HEADER)
        self._events.write(EVENTS_HEADER)

    def command(self, stamped: Stamped) -> None:
        self._journal.write(encode(stamped))

    def batch(self, batch: Batch) -> None:
        self._events.write(encode(batch))

    def close(self) -> None:
        self._journal.close()
        self._events.close()


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
    try:
        yield from journal.batches(mapped(path))
    except DamagedError as error:
        raise DataError(f"{path}: {error}") from None


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
    try:
        yield from journal.commands(mapped(path))
    except DamagedError as error:
        raise DataError(f"{path}: {error}") from None


def sha256_of(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(_BUFFER):
            digest.update(block)
    return digest.hexdigest()
