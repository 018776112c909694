"""The two streams of a run on disk: what is there already must come again, then they are appended to."""

import os
from itertools import zip_longest
from pathlib import Path

from zerodebt.exchange import journal
from zerodebt.exchange.commands import Stamped
from zerodebt.exchange.events import Batch
from zerodebt.exchange.journal import EVENTS_HEADER, JOURNAL_HEADER, DamagedError
from zerodebt.scenarios.quantities import DataError
from zerodebt.scenarios.rundir import EVENTS, JOURNAL, mapped, naming

_BUFFER = 1 << 16
"""Bytes that wait in memory: what a killed run can lose of each stream."""


class _Stream:
    """One file. Frames that it holds are compared, those beyond its end are appended.

    A frame in which it breaks off is completed in place: nothing that is written is ever taken back.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self.path = path
        self.at = len(header)
        self._size = path.stat().st_size
        self._old = path.open("rb")
        self._old.seek(self.at)
        self._new = path.open("ab", buffering=0)
        self._waiting = bytearray()

    @property
    def is_behind(self) -> bool:
        """Does the file go on beyond the frames that came?"""
        return self.at < self._size

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= _BUFFER

    def put(self, frame: bytes) -> bool:
        """The next frame; False where the file holds another one."""
        found = self._old.read(len(frame)) if self.is_behind else b""
        if not frame.startswith(found):
            return False
        self._waiting += frame[len(found) :]
        self.at += len(frame)
        return True

    def write(self) -> None:
        """A disk that is full takes a part at most; the rest stays for another try."""
        with naming(self.path):
            while self._waiting:
                del self._waiting[: self._new.write(self._waiting)]

    def sync(self) -> None:
        with naming(self.path):
            os.fsync(self._new.fileno())

    def close(self) -> None:
        self._old.close()
        self._new.close()


class Recorder:
    """Streams commands and batches to disk, a command before its events.

    Of a run that was killed the same commands and batches must come again; DataError names the first that
    is another. In the files a batch never stands without its command.
    """

    def __init__(self, run: Path) -> None:
        self._journal = _Stream(run / JOURNAL, JOURNAL_HEADER)
        self._events = _Stream(run / EVENTS, EVENTS_HEADER)

    @property
    def is_behind(self) -> bool:
        """Is more on disk already than what came?"""
        return self._journal.is_behind or self._events.is_behind

    def command(self, stamped: Stamped) -> None:
        if not self._journal.put(journal.encode(stamped)):
            raise DataError(_other_command(self._journal, stamped))
        if self._journal.is_full:
            self._journal.write()

    def batch(self, batch: Batch) -> None:
        if not self._events.put(journal.encode(batch)):
            raise DataError(_other_batch(self._events, batch))
        if self._events.is_full:
            self.flush()

    def flush(self) -> None:
        """What waits, to the system: the commands first."""
        self._journal.write()
        self._events.write()

    def end(self) -> None:
        """The run is at its end, and so must be both files."""
        for stream in (self._journal, self._events):
            if stream.is_behind:
                raise DataError(f"{stream.path}: goes on at byte {stream.at}, where this run ends")

    def close(self) -> None:
        try:
            self.flush()
            self._journal.sync()
            self._events.sync()
        finally:
            self._journal.close()
            self._events.close()


def _other_command(stream: _Stream, stamped: Stamped) -> str:
    frame = journal.frame_at(mapped(stream.path), stream.at)
    try:
        found = next(journal.commands(JOURNAL_HEADER + frame))
    except DamagedError:
        return _damaged(stream, stamped.seq)
    return (
        f"{stream.path}: the first difference is at command {stamped.seq}: found {found}, "
        f"this run gives {stamped}"
    )


def _other_batch(stream: _Stream, batch: Batch) -> str:
    frame = journal.frame_at(mapped(stream.path), stream.at)
    try:
        found = next(journal.batches(EVENTS_HEADER + frame))
    except DamagedError:
        return _damaged(stream, batch.seq)
    stamps = ((found.seq, found.time_ns), (batch.seq, batch.time_ns))
    pairs = (stamps, *zip_longest(found.events, batch.events))
    was, gives = next(pair for pair in pairs if pair[0] != pair[1])
    return (
        f"{stream.path}: the first difference is in the events of command {batch.seq}: found {was}, "
        f"this run gives {gives}"
    )


def _damaged(stream: _Stream, seq: int) -> str:
    return f"{stream.path}: the frame at byte {stream.at} is damaged, and is not that of command {seq}"
