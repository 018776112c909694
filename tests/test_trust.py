"""The page of what was tried, and the records that it is written from."""

import subprocess
from pathlib import Path

import pytest

from tests import trust


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one file that a commit holds, and no record."""
    (tmp_path / "venue.py").write_text("")
    author = ("-c", "user.name=a", "-c", "user.email=a@localhost")
    for words in (["init", "-q"], ["add", "venue.py"], [*author, "commit", "-qm", "Begin"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(trust, "ROOT", tmp_path)
    monkeypatch.setattr(trust, "RECORDS", tmp_path / "tests" / "records")
    (tmp_path / "tests").mkdir()
    return tmp_path


def test_the_page_is_what_the_records_say() -> None:
    assert trust.PAGE.read_text(encoding="utf-8") == trust.page(), "run python -m tests.trust --write"


def test_a_record_keeps_what_its_command_printed(project: Path) -> None:
    kept = trust.record("twin", ["echo", "1,000 commands"])
    assert (kept.command, kept.output) == ("echo 1,000 commands", "1,000 commands")
    assert "```\n1,000 commands\n```" in trust.page()
    assert f"| {trust.CAMPAIGNS['twin']} | {kept.day} | {kept.commit} |" in trust.page()
    assert f"| {trust.CAMPAIGNS['fuzz']} | no record yet |  |" in trust.page()


@pytest.mark.parametrize("name", ["venue.py", "new.py"])
def test_nothing_is_recorded_of_a_tree_that_no_commit_holds(project: Path, name: str) -> None:
    (project / name).write_text("changed = True\n")
    with pytest.raises(SystemExit, match=f"^No commit holds {name} as it is: commit it first"):
        trust.record("twin", ["echo", "1,000 commands"])
    assert not (project / "tests" / "records").exists()


def test_what_campaigns_write_themselves_holds_up_no_record(project: Path) -> None:
    first = trust.record("twin", ["echo", "1,000 commands"])
    (project / "tests" / "mutants").mkdir()
    (project / "tests" / "mutants" / "bugs.json").write_text("[]")
    assert trust.record("bugs", ["echo", "66 of 66"]).commit == first.commit


def test_every_campaign_has_a_command_by_which_all_are_recorded() -> None:
    assert list(trust.STANDARD) == list(trust.CAMPAIGNS)


def test_a_campaign_that_found_something_is_kept_with_its_code(project: Path) -> None:
    kept = trust.record("bugs", ["sh", "-c", "echo 1 failed; exit 3"])
    assert kept.output == "1 failed\n\nended with code 3"
