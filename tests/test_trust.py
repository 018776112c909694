from pathlib import Path

import pytest

from tests import trust


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(trust, "RECORDS", tmp_path)
    return tmp_path


def test_the_page_is_what_the_records_say() -> None:
    assert trust.PAGE.read_text(encoding="utf-8") == trust.page(), "run python -m tests.trust --write"


def test_a_record_keeps_what_its_command_printed(records: Path) -> None:
    kept = trust.record("twin", ["echo", "1,000 commands"])
    assert (kept.command, kept.output) == ("echo 1,000 commands", "1,000 commands")
    assert "```\n1,000 commands\n```" in trust.page()


def test_a_campaign_that_found_something_is_kept_with_its_code(records: Path) -> None:
    kept = trust.record("bugs", ["sh", "-c", "echo 1 failed; exit 3"])
    assert kept.output == "1 failed\n\nended with code 3"
