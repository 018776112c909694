"""Runs: the directory, determinism, replay, exit codes, and what a person sees."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

import zerodebt as package
from tests.scenarios.conftest import CRASH, FIVE_MINUTES, SETS, Call, is_one_sentence
from zerodebt.exchange.events import FIRST_ACCOUNT, LiquidationStarted
from zerodebt.exchange.journal import EVENTS_HEADER, JOURNAL_HEADER, encode
from zerodebt.exchange.venue import Venue
from zerodebt.scenarios import config, rundir, runner
from zerodebt.scenarios.runner import Result

ZERODEBT = (sys.executable, "-c", "from zerodebt.scenarios.cli import main; main()")
ROOT = Path(__file__).parents[2]
NOTHING = ("--set", "clock.end=2025-10-09T20:46:00Z", "--accounts", "50")


def in_a_process(*arguments: str | Path, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
    words = [str(argument) for argument in arguments]
    return subprocess.run([*ZERODEBT, *words], capture_output=True, text=True, env=environment, check=False)


def test_run_directory_is_whole(small_run: Result) -> None:
    names = {entry.name for entry in small_run.path.iterdir()}
    files = {rundir.CONFIG, rundir.META, rundir.SUMMARY, rundir.REPORT, rundir.JOURNAL, rundir.EVENTS}
    assert files | {"tables", rundir.DONE, rundir.WAYPOINTS} <= names
    assert rundir.RUNNING not in names
    assert not [name for name in names if name.endswith(".part")]
    meta = rundir.read_json(small_run.path / rundir.META)
    journal = (small_run.path / rundir.JOURNAL).read_bytes()
    assert meta["journal_sha256"] == sha256(journal).hexdigest()
    assert set(meta["wall_s"]) == {"simulate", "audit", "tables", "measure", "report"}


def test_something_happened_and_the_audit_agrees(small_run: Result) -> None:
    assert small_run.summary["audit"]["findings"] == []
    assert small_run.summary["audit"]["agrees"]
    assert small_run.summary["metrics"]["liquidations_started"] > 0
    assert small_run.exit_code == (0 if small_run.verdict.startswith("HELD") else 1)


def test_result_offers_frames_and_html(small_run: Result) -> None:
    assert isinstance(small_run.frame("accounts"), pl.DataFrame)
    assert small_run.verdict in small_run._repr_html_()
    with pytest.raises(ValueError, match="allowed are"):
        small_run.frame("acounts")


def test_package_offers_run_and_result() -> None:
    assert package.run is runner.run
    assert package.Result is Result


def test_run_without_out_writes_nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = package.run("flat", accounts=50, clock={"end": "2025-10-09T20:46:00Z"})
    assert result.verdict == "HELD"
    assert not list(tmp_path.iterdir())
    path = result.path
    assert path.is_dir()
    del result
    assert not path.exists()


def test_same_seed_gives_the_same_bytes_under_another_hash_seed(small_run: Result, tmp_path: Path) -> None:
    done = in_a_process(
        "run", CRASH, "--accounts", "300", *SETS, "--out", tmp_path, "--json", hash_seed="4711"
    )
    path = Path(json.loads(done.stdout)["path"])
    assert path.name == small_run.path.name
    for name in (rundir.EVENTS, rundir.JOURNAL, rundir.CONFIG, rundir.SUMMARY):
        assert (path / name).read_bytes() == (small_run.path / name).read_bytes(), name


def test_journal_replays_to_the_recorded_hash(small_run: Result, zerodebt: Call) -> None:
    meta = rundir.read_json(small_run.path / rundir.META)
    replayed = runner.replay_run(small_run.path)
    assert replayed == runner.Replayed(meta["commands"], meta["state_hash"], meta["state_hash"], "")
    code, out, _ = zerodebt("replay", small_run.path)
    assert code == 0
    assert meta["state_hash"] in out
    assert "as recorded" in out


def test_snapshot_in_the_middle_and_the_rest_give_the_same_hash(small_run: Result) -> None:
    scenario, _ = config.load(small_run.path / rundir.CONFIG)
    world = config.build(scenario)
    stamped = list(rundir.read_commands(small_run.path / rundir.JOURNAL))
    venue = Venue(world.rules, world.assets, world.instruments)
    middle = len(stamped) // 2
    for entry in stamped[:middle]:
        venue.apply(entry.command, entry.time_ns)
    restored = Venue.restore(world.rules, world.assets, world.instruments, venue.snapshot())
    for entry in stamped[middle:]:
        restored.apply(entry.command, entry.time_ns)
    assert restored.state_hash() == rundir.read_json(small_run.path / rundir.META)["state_hash"]


def test_run_that_is_there_is_shown_and_not_repeated(zerodebt: Call, tmp_path: Path) -> None:
    first = zerodebt("run", "flat", *NOTHING, "--out", tmp_path)
    (path,) = tmp_path.iterdir()
    written = (path / rundir.EVENTS).stat().st_mtime_ns
    code, out, err = zerodebt("run", "flat", *NOTHING, "--out", tmp_path)
    assert (code, out) == (0, first[1])
    assert "is there already" in err
    assert (path / rundir.EVENTS).stat().st_mtime_ns == written
    zerodebt("run", "flat", *NOTHING, "--out", tmp_path, "--force")
    assert (path / rundir.EVENTS).stat().st_mtime_ns > written


def test_unfinished_run_is_repeated(zerodebt: Call, tmp_path: Path) -> None:
    zerodebt("run", "flat", *NOTHING, "--out", tmp_path)
    (path,) = tmp_path.iterdir()
    (path / rundir.DONE).unlink()
    code, _, err = zerodebt("run", "flat", *NOTHING, "--out", tmp_path)
    assert (code, err) == (0, "")
    assert (path / rundir.DONE).is_file()


def test_resolved_config_of_a_run_gives_the_same_run(small_run: Result) -> None:
    assert runner.prepare(small_run.path / rundir.CONFIG).id == small_run.path.name


def test_broken_promise_is_exit_1_and_names_what_is_missing(zerodebt: Call, tmp_path: Path) -> None:
    arguments = ("run", CRASH, "--accounts", "300", *SETS, "--set", 'venue.waterfall=["book"]')
    code, out, _ = zerodebt(*arguments, "--out", tmp_path)
    assert code == 1
    assert "RESIDUAL" in out
    assert "missing: " in out
    (path,) = tmp_path.iterdir()
    assert zerodebt("audit", path)[0] == 0
    residuals = rundir.read_json(path / rundir.SUMMARY)["residuals"]
    assert residuals
    assert all(row["asset"] == "USDC" for row in residuals)


def test_promise_of_nothing_is_kept(zerodebt: Call, tmp_path: Path) -> None:
    sets = ("--set", "venue.promise=none", "--set", "venue.waterfall=[book]", "--accounts", "300", *SETS)
    code, out, _ = zerodebt("run", CRASH, *sets, "--out", tmp_path, "--json")
    summary = json.loads(out)
    assert summary["verdict"] == "RESIDUAL"
    assert code == (0 if summary["audit"]["agrees"] else 1)


def test_failed_claim_changes_the_code_under_strict_only(zerodebt: Call, tmp_path: Path) -> None:
    never = ("--set", "claims.no-adl.expected=1", "--out", tmp_path)
    assert zerodebt("run", "flat", *NOTHING, *never)[0] == 0
    code, out, _ = zerodebt("run", "flat", *NOTHING, *never, "--strict")
    assert code == 1
    assert "failed" in out
    assert "a model that always deleverages" in out  # the naive baseline stands beside the figures


def test_json_goes_to_standard_output_and_nothing_else(zerodebt: Call, tmp_path: Path) -> None:
    code, out, err = zerodebt("run", "flat", *NOTHING, "--out", tmp_path, "--json")
    assert code == 0
    assert json.loads(out)["verdict"] == "HELD"
    assert err == ""


def test_audit_of_a_finished_run(small_run: Result, zerodebt: Call) -> None:
    code, out, _ = zerodebt("audit", small_run.path, "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["agrees"]
    assert answer["verdict"] == small_run.verdict


def test_audit_disagrees_with_a_changed_summary(zerodebt: Call, tmp_path: Path) -> None:
    zerodebt("run", "flat", *NOTHING, "--out", tmp_path)
    (path,) = tmp_path.iterdir()
    summary = path / rundir.SUMMARY
    summary.write_text(summary.read_text().replace('"verdict": "HELD"', '"verdict": "RESIDUAL"'))
    code, out, _ = zerodebt("audit", path)
    assert code == 1
    assert "DISAGREES" in out


@pytest.mark.parametrize("name", [rundir.JOURNAL, rundir.EVENTS])
@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty"])
def test_damaged_file_is_one_sentence_that_says_how_far_it_is_whole(
    zerodebt: Call, tmp_path: Path, name: str, damage: str
) -> None:
    zerodebt("run", "flat", *NOTHING, "--out", tmp_path)
    (path,) = tmp_path.iterdir()
    data = bytearray((path / name).read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    damaged = {"cut": data[:-3], "flipped": data, "foreign": bytearray(b"PK") + data, "empty": bytearray()}
    (path / name).write_bytes(damaged[damage])
    code, _, err = zerodebt("replay" if name == rundir.JOURNAL else "audit", path)
    assert code == 3
    assert is_one_sentence(err), err
    assert ("empty" if damage == "empty" else "whole up to entry") in err


def test_commands_missing_at_the_end_are_told_where_every_frame_is_whole(
    zerodebt: Call, tmp_path: Path
) -> None:
    zerodebt("run", "flat", *NOTHING, "--out", tmp_path)
    (path,) = tmp_path.iterdir()
    commands = rundir.read_json(path / rundir.META)["commands"]
    stamped = list(rundir.read_commands(path / rundir.JOURNAL))
    batches = list(rundir.read_batches(path / rundir.EVENTS))
    (path / rundir.JOURNAL).write_bytes(JOURNAL_HEADER + b"".join(map(encode, stamped[:-1])))
    (path / rundir.EVENTS).write_bytes(EVENTS_HEADER + b"".join(map(encode, batches[:-1])))
    for command in (("replay", path), ("audit", path), ("explain", path, "--account", "16")):
        code, out, err = zerodebt(*command)
        assert (code, out) == (3, "")
        assert is_one_sentence(err), err
        assert f"ends after command {commands - 1}, the run had {commands}" in err


@pytest.mark.parametrize("name", [rundir.META, rundir.SUMMARY])
@pytest.mark.parametrize("text", ["{}", "[]", "{"])
def test_changed_meta_or_summary_is_one_sentence(
    zerodebt: Call, tmp_path: Path, name: str, text: str
) -> None:
    zerodebt("run", "flat", *NOTHING, "--out", tmp_path)
    (path,) = tmp_path.iterdir()
    (path / name).write_text(text)
    code, out, err = zerodebt("replay" if name == rundir.META else "audit", path)
    assert (code, out) == (3, "")
    assert is_one_sentence(err), err
    assert name in err


def test_what_is_no_run_is_a_data_problem(zerodebt: Call, tmp_path: Path) -> None:
    for command in (
        ("audit", tmp_path),
        ("replay", tmp_path),
        ("explain", tmp_path, "--account", "16"),
        ("report", tmp_path / "no"),
        ("compare", tmp_path, tmp_path),
    ):
        code, _, err = zerodebt(*command)
        assert code == 3
        assert is_one_sentence(err), err


def test_explain_says_why_an_account_was_liquidated(small_run: Result, zerodebt: Call) -> None:
    account = next(
        event.account
        for batch in rundir.read_batches(small_run.path / rundir.EVENTS)
        for event in batch.events
        if isinstance(event, LiquidationStarted)
    )
    code, out, _ = zerodebt("explain", small_run.path, "--account", str(account))
    assert code == 0
    for words in ("starts with", "below maintenance", "equity", "requirement", "mark", "liquidation over"):
        assert words in out, words


def test_explain_says_why_an_account_was_deleveraged(small_run: Result, zerodebt: Call) -> None:
    winners = small_run.frame("adl")["winner"]
    assert not winners.is_empty()
    code, out, _ = zerodebt("explain", small_run.path, "--account", str(winners[0]), "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["was_deleveraged"]
    assert any("given up against the mark" in line["text"] for line in answer["lines"])


def test_explain_of_an_unknown_account_names_the_known_ones(small_run: Result, zerodebt: Call) -> None:
    code, _, err = zerodebt("explain", small_run.path, "--account", "999999")
    assert code == 2
    assert f"{FIRST_ACCOUNT}.." in err


def test_explained_positions_agree_with_the_equity_of_the_event(small_run: Result) -> None:
    from zerodebt.scenarios.explain import explain

    batches = list(rundir.read_batches(small_run.path / rundir.EVENTS))
    started = [event for batch in batches for event in batch.events if isinstance(event, LiquidationStarted)]
    for event in started[:10]:
        lines = explain(batches, event.account).lines
        first = next(n for n, line in enumerate(lines) if line.what == "below maintenance")
        equity = float(lines[first].text.split()[1])
        parts = []
        for line in lines[first + 1 :]:
            if line.what not in ("position", "balance"):
                break
            parts.append(float(line.text.split("unrealised ")[-1].split()[0]))
        assert sum(parts) == pytest.approx(equity, abs=1e-3)


def test_command_line_in_a_pipe_shows_no_bar_and_no_colour(tmp_path: Path) -> None:
    done = in_a_process("run", "flat", *NOTHING, "--out", tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[1].startswith("HELD")


@pytest.mark.parametrize("arguments", [("rn",), ("run",), ("run", "flat", "--sed", "1"), ("explain", "x")])
def test_wrong_call_is_exit_2_in_one_sentence(zerodebt: Call, arguments: tuple[str, ...]) -> None:
    code, _, err = zerodebt(*arguments)
    assert code == 2
    assert is_one_sentence(err), err


def test_list_shows_the_catalogue_and_the_venues(zerodebt: Call) -> None:
    _, scenarios, _ = zerodebt("list")
    assert all(name in scenarios for name in config.scenario_names())
    _, venues, _ = zerodebt("list", "venues")
    assert "hyperliquid" in venues
    assert "retail_broker" in venues


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom zerodebt.scenarios.cli import call\ncall(['--help'])\n"
        "sys.exit(any(n in sys.modules for n in ('numpy', 'polars', 'plotly', 'simpy', 'msgspec')))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert done.returncode == 0


def test_small_world_is_the_same_for_python_and_the_command_line(small_run: Result) -> None:
    overrides = [config.parse_override(text) for text in SETS if text != "--set"]
    by_line = runner.prepare(CRASH, accounts=300, overrides=overrides)
    by_python = runner.prepare(CRASH, accounts=300, overrides=tuple(config.flat_overrides(FIVE_MINUTES)))
    assert by_line.id == by_python.id == small_run.path.name


def test_verdict_counts_only_where_venue_and_audit_say_the_same(zerodebt: Call, tmp_path: Path) -> None:
    assert zerodebt("run", "flat", *NOTHING, "--out", tmp_path)[0] == 0
    (path,) = tmp_path.iterdir()
    assert zerodebt("audit", path)[0] == 0
    meta = rundir.read_json(path / rundir.META)
    meta["statement"]["open_debt_atoms"] += 1
    rundir.write_json(path / rundir.META, meta)
    code, out, _ = zerodebt("audit", path)
    assert code == 1
    assert "open debt in atoms: the venue states 1, the events give 0" in out


def test_seeds_are_run_side_by_side_and_read_again(zerodebt: Call, tmp_path: Path) -> None:
    code, out, _ = zerodebt("run", "flat", *NOTHING, "--out", tmp_path, "--seeds", "2")
    assert code == 0
    assert "seed 1: HELD" in out
    assert "2 of 2" in out
    done = {entry: (entry / rundir.DONE).stat().st_mtime_ns for entry in tmp_path.iterdir()}
    assert len(done) == 2
    zerodebt("run", "flat", *NOTHING, "--out", tmp_path, "--seeds", "2")
    assert done == {entry: (entry / rundir.DONE).stat().st_mtime_ns for entry in tmp_path.iterdir()}
    code, _, err = zerodebt("run", "flat", *NOTHING, "--out", tmp_path, "--seeds", "0")
    assert code == 2
    assert is_one_sentence(err)


def test_refused_order_of_the_schedule_ends_the_run(zerodebt: Call, tmp_path: Path) -> None:
    never = tuple(
        f"schedule.{n}.at={at}" for n, at in enumerate(("2020-04-20T11:00:00Z", "2020-04-20T11:00:00Z"))
    )
    sets = [word for text in (*never, "clock.end=2020-04-20T11:05:00Z") for word in ("--set", text)]
    code, _, err = zerodebt("run", "wti-2020-04-20", *sets, "--out", tmp_path)
    assert code == 3
    assert "schedule: settle_instrument at 2020-04-20T11:00:00Z is refused" in err
