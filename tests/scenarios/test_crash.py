"""Nothing lost: kills, signals, full disks and damaged files, and runs that go on after them."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import CRASH, SETS, Call, is_one_sentence
from tests.scenarios.kills import PHASES, ROOT, ZERODEBT, kill_points, phase_of, run_in, started
from zerodebt.exchange import journal
from zerodebt.scenarios import rundir, runner
from zerodebt.scenarios.runner import Result
from zerodebt.scenarios.streams import Recorder

NOTHING = ("run", "flat", "--set", "clock.end=2025-10-09T20:46:00Z", "--accounts", "50")
STREAMS = (rundir.JOURNAL, rundir.EVENTS)
HEADERS = {rundir.JOURNAL: journal.JOURNAL_HEADER, rundir.EVENTS: journal.EVENTS_HEADER}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that came to its end."""
    clock = {"end": "2025-10-09T20:46:00Z"}
    return runner.run("flat", accounts=50, out=tmp_path_factory.mktemp("whole"), clock=clock).path


def copy_of(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / run.name))


def killed_copy(run: Path, folder: Path) -> Path:
    """The run as if killed when its last command was on disk."""
    copy = folder / run.name
    copy.mkdir()
    for name in (rundir.CONFIG, rundir.WAYPOINTS, *STREAMS):
        shutil.copyfile(run / name, copy / name)
    meta = rundir.read_json(run / rundir.META)
    keys = ("schema", "id", "scenario", "seed", "argv", "versions")
    rundir.write_json(copy / rundir.META, {key: meta[key] for key in keys})
    (copy / rundir.RUNNING).write_text("begun and not ended\n")
    return copy


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_same_run(run: Path, other: Path) -> None:
    for name in (*STREAMS, rundir.CONFIG, rundir.WAYPOINTS, rundir.SUMMARY, rundir.REPORT):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
    hashes = [rundir.read_json(path / rundir.META)["state_hash"] for path in (run, other)]
    assert hashes[0] == hashes[1]
    assert rundir.is_done(run)
    assert not [entry.name for entry in run.iterdir() if entry.name.startswith(".")]
    assert not (run / rundir.RUNNING).exists()
    assert not (run / rundir.INTERRUPTED).exists()


def frame_starts(path: Path) -> list[int]:
    """Byte of each frame, and where the last one ends."""
    data, at = path.read_bytes(), 8
    starts = [at]
    while at < len(data):
        at += len(journal.frame_at(data, at))
        starts.append(at)
    return starts


def test_run_killed_in_each_phase_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    survived = [phase for phase, _ in kill_points(len(PHASES), seed=20251010, home=tmp_path)]
    assert len(survived) == len(PHASES)
    assert set(survived) & {"genesis", "simulation"}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("place", ["frame", "length", "checksum", "payload", "first frame"])
def test_stream_that_breaks_off_anywhere_is_replayed_and_completed(
    zerodebt: Call, whole: Path, tmp_path: Path, name: str, place: str
) -> None:
    run = killed_copy(whole, tmp_path)
    starts = frame_starts(run / name)
    middle = len(starts) // 2
    cut = {"frame": 0, "length": 2, "checksum": 6, "payload": 11}
    at = starts[0] if place == "first frame" else starts[middle] + cut[place]
    os.truncate(run / name, at)
    if name == rundir.JOURNAL:
        code, out, err = zerodebt("replay", run)
        assert code == 0
        assert out.startswith(f"{0 if place == 'first frame' else middle} commands, state hash ")
        assert ("breaks off" in err) == (place in cut and place != "frame")
    code, out, err = zerodebt("resume", run)
    assert (code, err) == (0, "")
    assert "HELD" in out
    assert_same_run(run, whole)


def test_run_killed_before_its_first_command_goes_on(zerodebt: Call, whole: Path, tmp_path: Path) -> None:
    run = killed_copy(whole, tmp_path)
    for name in STREAMS:
        os.truncate(run / name, 8)
    assert zerodebt("replay", run)[:2] == (0, f"0 commands, state hash {hash_of_nothing(run)}\n")
    assert zerodebt("resume", run)[0] == 0
    assert_same_run(run, whole)


def hash_of_nothing(run: Path) -> str:
    from zerodebt.exchange.venue import Venue
    from zerodebt.scenarios import config

    world = config.build(config.load(run / rundir.CONFIG)[0])
    return Venue(world.rules, world.assets, world.instruments).state_hash()


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("place", ["header", "length low", "length high", "checksum", "payload"])
@pytest.mark.parametrize("is_finished", [True, False])
def test_flipped_bit_is_one_sentence_and_harms_nothing(
    zerodebt: Call, whole: Path, tmp_path: Path, name: str, place: str, is_finished: bool
) -> None:
    run = copy_of(whole, tmp_path) if is_finished else killed_copy(whole, tmp_path)
    starts = frame_starts(run / name)
    start = starts[len(starts) // 2]
    at = {
        "header": 3,
        "length low": start,
        "length high": start + 3,
        "checksum": start + 5,
        "payload": start + 9,
    }
    data = bytearray((run / name).read_bytes())
    data[at[place]] ^= 4
    (run / name).write_bytes(data)
    before = digest(run)
    reader = "replay" if name == rundir.JOURNAL else "audit"
    code, _, err = zerodebt(reader if is_finished else "resume", run)
    assert code == 3
    assert is_one_sentence(err), err
    assert name in err
    assert "starts with" in err if place == "header" else f"byte {start}" in err
    assert digest(run) == before


@pytest.mark.parametrize("cut", [0, 2, 6, 11])
@pytest.mark.parametrize("name", STREAMS)
def test_finished_run_that_was_cut_is_one_sentence_and_harms_nothing(
    zerodebt: Call, whole: Path, tmp_path: Path, name: str, cut: int
) -> None:
    run = copy_of(whole, tmp_path)
    os.truncate(run / name, frame_starts(run / name)[-2] + cut)
    before = digest(run)
    code, _, err = zerodebt("replay" if name == rundir.JOURNAL else "audit", run)
    assert code == 3
    assert is_one_sentence(err), err
    assert ("breaks off" if cut else "ends after command") in err
    assert digest(run) == before


def test_other_commands_on_disk_end_the_run_at_the_first_one(
    zerodebt: Call, whole: Path, tmp_path: Path
) -> None:
    run = killed_copy(whole, tmp_path)
    stamped = list(rundir.read_commands(run / rundir.JOURNAL))
    stamped[7] = type(stamped[7])(stamped[7].seq, stamped[7].time_ns + 1, stamped[7].command)
    (run / rundir.JOURNAL).write_bytes(journal.JOURNAL_HEADER + b"".join(map(journal.encode, stamped)))
    before = digest(run)
    code, _, err = zerodebt("resume", run)
    assert code == 3
    assert is_one_sentence(err), err
    assert "the first difference is at command 8: found Stamped(" in err
    assert str(stamped[7].time_ns) in err
    assert digest(run) == before


def test_other_events_on_disk_end_the_run_at_the_first_one(
    zerodebt: Call, whole: Path, tmp_path: Path
) -> None:
    run = killed_copy(whole, tmp_path)
    batches = list(rundir.read_batches(run / rundir.EVENTS))
    batches[5] = type(batches[5])(batches[5].seq, batches[5].time_ns, batches[5].events[:-1])
    (run / rundir.EVENTS).write_bytes(journal.EVENTS_HEADER + b"".join(map(journal.encode, batches)))
    code, _, err = zerodebt("resume", run)
    assert code == 3
    assert is_one_sentence(err), err
    assert f"the first difference is in the events of command {batches[5].seq}: found None" in err


def test_file_that_goes_on_beyond_the_end_of_the_run_is_told(
    zerodebt: Call, whole: Path, tmp_path: Path
) -> None:
    run = killed_copy(whole, tmp_path)
    last = list(rundir.read_commands(run / rundir.JOURNAL))[-1]
    more = journal.encode(type(last)(last.seq + 1, last.time_ns, last.command))
    end = (run / rundir.JOURNAL).stat().st_size
    with (run / rundir.JOURNAL).open("ab") as file:
        file.write(more)
    code, _, err = zerodebt("resume", run)
    assert code == 3
    assert is_one_sentence(err), err
    assert f"goes on at byte {end}, where this run ends" in err


def test_other_version_config_or_prices_are_told_before_the_run(
    zerodebt: Call, whole: Path, tmp_path: Path
) -> None:
    run = killed_copy(whole, tmp_path)
    meta = rundir.read_json(run / rundir.META)
    rundir.write_json(run / rundir.META, meta | {"versions": meta["versions"] | {"zerodebt": "0.0.0"}})
    other_version = zerodebt("resume", run)
    rundir.write_json(run / rundir.META, meta | {"seed": meta["seed"] + 1})
    other_seed = zerodebt("resume", run)
    rundir.write_json(run / rundir.META, meta)
    text = (run / rundir.CONFIG).read_text()
    (run / rundir.CONFIG).write_text(text.replace('index_every_s = "3"', 'index_every_s = "4"'))
    other_config = zerodebt("resume", run)
    (run / rundir.CONFIG).write_text(text)
    (run / rundir.WAYPOINTS).write_bytes((run / rundir.WAYPOINTS).read_bytes().replace(b"\n", b"\r\n"))
    other_prices = zerodebt("resume", run)
    for code, _, err in (other_version, other_seed, other_config, other_prices):
        assert code == 3
        assert is_one_sentence(err), err
    assert "begun by zerodebt 0.0.0" in other_version[2]
    for _, _, err in (other_seed, other_config, other_prices):
        assert f"allowed are those with which it began as {run.name}" in err


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"seed": 0, "argv": [], "versions": [], "id": 1}']
)
def test_damaged_meta_of_an_unfinished_run_is_one_sentence(
    zerodebt: Call, whole: Path, tmp_path: Path, text: str
) -> None:
    run = killed_copy(whole, tmp_path)
    (run / rundir.META).write_text(text)
    before = digest(run)
    code, _, err = zerodebt("resume", run)
    assert code == 3
    assert is_one_sentence(err), err
    code, _, err = zerodebt("replay", run)
    assert code == (3 if text in ("", "{") else 0)
    assert err == "" or is_one_sentence(err)
    assert digest(run) == before


def test_finished_run_is_shown_and_what_is_no_run_is_told(
    zerodebt: Call, whole: Path, tmp_path: Path
) -> None:
    before = digest(whole)
    code, out, _ = zerodebt("resume", whole)
    assert (code, digest(whole)) == (0, before)
    assert "HELD" in out
    for path in (tmp_path, tmp_path / "no"):
        code, _, err = zerodebt("resume", path)
        assert code == 3
        assert is_one_sentence(err), err


def test_two_processes_are_never_at_one_run(zerodebt: Call, whole: Path, tmp_path: Path) -> None:
    run = killed_copy(whole, tmp_path)
    before = digest(run)
    with rundir.take_up(run):
        for arguments in (("resume", run), (*NOTHING, "--out", tmp_path)):
            code, _, err = zerodebt(*arguments)
            assert code == 3
            assert is_one_sentence(err), err
            assert "another process is at this run" in err
    assert digest(run) == before


def test_batch_is_never_on_disk_before_its_command(whole: Path, tmp_path: Path) -> None:
    run = killed_copy(whole, tmp_path)
    for name in STREAMS:
        os.truncate(run / name, 8)
    recorder = Recorder(run)
    stamped = rundir.read_commands(whole / rundir.JOURNAL)
    batches = rundir.read_batches(whole / rundir.EVENTS)
    recorder.batch(next(batches))
    written = 0
    for command, batch in zip(stamped, batches, strict=True):
        recorder.command(command)
        if batch.seq > 100:  # its journal is far from a full buffer then, and its events are not
            batch = type(batch)(batch.seq, batch.time_ns, batch.events * 2000)
        recorder.batch(batch)
        if (run / rundir.EVENTS).stat().st_size > 8:
            written = batch.seq
            break
    assert written > 100
    assert [entry.seq for entry in rundir.read_commands(run / rundir.JOURNAL)][-1] == written
    recorder.close()


def limited(size: int) -> Callable[[], None]:
    """No file may grow beyond `size` bytes: writes are cut there, then refused."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def run_limited(size: int, *arguments: str | Path) -> tuple[int, str]:
    words = [str(argument) for argument in arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*ZERODEBT, *words],
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=limited(size),
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("size", "phase", "file"),
    [
        (5_000, "before the directory", rundir.CONFIG),
        (100_000, "simulation", rundir.JOURNAL),
        (180_000, "simulation", rundir.EVENTS),
        (1_000_000, "report", "plotly.min.js"),
    ],
)
def test_file_that_cannot_grow_ends_the_run_in_one_sentence_and_it_goes_on_later(
    zerodebt: Call, whole: Path, tmp_path: Path, size: int, phase: str, file: str
) -> None:
    code, err = run_limited(size, *NOTHING, "--out", tmp_path)
    assert code == 3
    assert is_one_sentence(err), err
    assert file in err
    assert os.strerror(errno.EFBIG) in err
    assert phase_of(tmp_path) == phase
    run = run_in(tmp_path)
    if run is None:
        assert not list(tmp_path.iterdir())
        return
    for name in STREAMS:
        assert (whole / name).read_bytes().startswith((run / name).read_bytes())
    assert zerodebt("replay", run)[0] == 0
    assert zerodebt("resume", run)[0] == 0
    assert_same_run(run, whole)


def test_run_that_cannot_begin_again_leaves_the_old_one(whole: Path, tmp_path: Path) -> None:
    run = copy_of(whole, tmp_path)
    before = digest(tmp_path)
    code, err = run_limited(5_000, *NOTHING, "--out", tmp_path, "--force")
    assert code == 3
    assert is_one_sentence(err), err
    assert digest(tmp_path) == before
    assert rundir.is_done(run)


@pytest.mark.parametrize("call", [0, 4, 6, 7, 9, 20, 23])
def test_disk_that_is_full_at_any_file_is_one_sentence_and_the_run_goes_on_later(
    zerodebt: Call, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    sync, calls = os.fsync, []

    def full(number: int) -> None:
        calls.append(number)
        if len(calls) > call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(number)

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = zerodebt(*NOTHING, "--out", tmp_path)
    assert code == 3
    assert is_one_sentence(err), err
    assert f": {os.strerror(errno.ENOSPC)}" in err
    assert str(tmp_path) in err
    monkeypatch.undo()
    run = run_in(tmp_path)
    assert (run is None) == (call < 6), "six files are there from the start"
    if run is None:
        assert not list(tmp_path.iterdir())
        return
    assert not rundir.is_done(run)
    assert zerodebt("resume", run)[0] == 0
    assert_same_run(run, whole)


def test_folder_below_a_file_is_one_sentence(zerodebt: Call, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "below"):
        code, _, err = zerodebt(*NOTHING, "--out", out)
        assert code == 3
        assert is_one_sentence(err), err
        assert str(file) in err
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it is not allowed to")
def test_read_only_directory_is_one_sentence(zerodebt: Call, whole: Path, tmp_path: Path) -> None:
    run = killed_copy(whole, tmp_path)
    before = digest(run)
    run.chmod(0o555)
    tmp_path.chmod(0o555)
    try:
        answers = [zerodebt("resume", run), zerodebt(*NOTHING, "--out", tmp_path, "--force")]
    finally:
        tmp_path.chmod(0o755)
        run.chmod(0o755)
    for code, _, err in answers:
        assert code == 3
        assert is_one_sentence(err), err
    assert digest(run) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_run_with_a_partial_verdict_and_it_goes_on_later(
    zerodebt: Call, small_run: Result, tmp_path: Path, number: signal.Signals
) -> None:
    process = started("run", CRASH, "--accounts", "300", *SETS, "--out", tmp_path)
    until = time.monotonic() + 120
    while phase_of(tmp_path) in PHASES[:2] and process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    err = told.decode()
    assert process.returncode == 130
    assert is_one_sentence(err), err
    assert "PARTIAL: " in err
    run = run_in(tmp_path)
    assert run is not None
    assert f"`zerodebt resume {run}`" in err
    summary = rundir.read_json(run / rundir.SUMMARY)
    assert summary["partial"]
    assert summary["verdict"].startswith("PARTIAL: ")
    assert summary["promise_kept"] is None
    assert summary["claims"] == []
    assert summary["audit"]["agrees"]
    assert summary["stopped_utc"] in (run / rundir.INTERRUPTED).read_text()
    assert not (run / rundir.RUNNING).exists()
    code, out, _ = zerodebt("replay", run)
    assert code == 0
    assert "as recorded" in out
    for command in (("audit", run), ("report", run), ("compare", run, run)):
        code, _, err = zerodebt(*command)
        assert code == 3
        assert "PARTIAL: " in err
    assert zerodebt("resume", run)[0] == small_run.exit_code
    assert_same_run(run, small_run.path)


class Signaller:
    """Progress that sends SIGTERM to its own process `times` when a phase has gone on for some seconds."""

    def __init__(self, phase: str, times: int = 1) -> None:
        self.phase, self.left = phase, times

    def __call__(self, phase: str, done: int, _whole: int) -> None:
        if phase == self.phase and (done > 30 or phase != "simulate"):
            while self.left:
                self.left -= 1
                signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("phase", "times", "said"),
    [
        ("simulate", 1, "PARTIAL: HELD"),
        ("simulate", 2, "without a verdict"),
        ("audit", 1, "without a verdict"),
        ("report", 1, "without a verdict"),
    ],
)
def test_signal_in_any_phase_leaves_a_run_that_says_so_and_goes_on(
    whole: Path, tmp_path: Path, phase: str, times: int, said: str
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"accounts": 50, "out": tmp_path, "clock": {"end": "2025-10-09T20:46:00Z"}}
    with pytest.raises(KeyboardInterrupt, match=said):
        runner.run("flat", progress=Signaller(phase, times), **options)
    assert signal.getsignal(signal.SIGTERM) is before
    run = tmp_path / whole.name
    assert said in (run / rundir.INTERRUPTED).read_text()
    assert runner.replay_run(run).broken_off == ""
    with pytest.raises(KeyboardInterrupt, match="interrupted"):
        runner.resume(run, progress=Signaller("simulate"))
    runner.resume(run)
    assert_same_run(run, whole)


def test_signal_that_is_ignored_stays_ignored(whole: Path, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        clock = {"end": "2025-10-09T20:46:00Z"}
        result = runner.run("flat", accounts=50, out=tmp_path, progress=Signaller("simulate"), clock=clock)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert_same_run(result.path, whole)


def test_signal_before_a_resumed_run_caught_up_gives_no_verdict(whole: Path, tmp_path: Path) -> None:
    run = killed_copy(whole, tmp_path)
    before = {name: (run / name).read_bytes() for name in STREAMS}
    with pytest.raises(KeyboardInterrupt, match="before it had caught up"):
        runner.resume(run, progress=Signaller("simulate"))
    assert before == {name: (run / name).read_bytes() for name in STREAMS}
    runner.resume(run)
    assert_same_run(run, whole)


def test_seeds_go_on_where_they_were_killed(zerodebt: Call, tmp_path: Path) -> None:
    process = started(*NOTHING, "--seeds", "3", "--out", tmp_path)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("*/" + rundir.DONE)) and time.monotonic() < until:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/" + rundir.DONE)}
    assert 1 <= len(done) < 3
    code, out, _ = zerodebt(*NOTHING, "--seeds", "3", "--out", tmp_path)
    assert code == 0
    assert "3 of 3" in out
    assert len(list(tmp_path.glob("*/" + rundir.DONE))) == 3
    assert done == {path: path.stat().st_mtime_ns for path in done}


KILLED_AT_EACH_FILE = """
import os, signal, sys
from pathlib import Path
from zerodebt.scenarios import rundir

home = Path(sys.argv[1])
FILES = {"config.toml": b"a", "waypoints.csv": b"b", "meta.json": b"{}"}
TOUCHING = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "fcntl.flock"}


def killed(point, run):
    pid = os.fork()
    if not pid:
        left = [point]

        def hear(event, arguments):
            if event in TOUCHING and str(home) in str(arguments[0]) or event == "fcntl.flock":
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hear)
        rundir.begin(run, FILES)
        rundir.end(run)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


seen = {}
point = 0
while True:
    run = home / str(point) / "flat-0"
    rundir.begin(run, FILES | {"old": b""}).close()
    rundir.end(run)
    if not killed(point, run):
        break
    names = {entry.name for entry in run.iterdir()} if run.exists() else set()
    states = names & {"RUNNING", "INTERRUPTED", "DONE"}
    assert len(states) == (1 if names else 0), (point, names)
    assert not names or {*FILES, "journal.bin", "events.bin"} <= names, (point, names)
    state = "none" if not names else ("old " if "old" in names else "new ") + states.pop()
    seen[state] = seen.get(state, 0) + 1
    rundir.begin(run, FILES).close()
    rundir.end(run)
    assert [entry.name for entry in run.parent.iterdir()] == ["flat-0"], point
    point += 1
assert set(seen) == {"old DONE", "none", "new RUNNING"} or set(seen) == {"old DONE", "new RUNNING"}, seen
print(point)
"""


def test_run_directory_says_what_it_is_at_every_change_of_a_file(tmp_path: Path) -> None:
    """`--force` over a finished run, killed before each change of a file until none is left."""
    words = [sys.executable, "-c", KILLED_AT_EACH_FILE, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
