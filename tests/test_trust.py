from pathlib import Path

from tests import trust


def test_the_page_is_what_the_records_say() -> None:
    assert trust.PAGE.read_text(encoding="utf-8") == trust.page(), "run python -m tests.trust --write"


def test_a_record_keeps_what_its_command_printed(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(trust, "RECORDS", tmp_path)
    kept = trust.record("twin", ["echo", "1,000 commands"])
    assert (kept.command, kept.output) == ("echo 1,000 commands", "1,000 commands")
    assert "```\n1,000 commands\n```" in trust.page()


def test_a_campaign_that_found_something_is_kept_with_its_code(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(trust, "RECORDS", tmp_path)
    assert (
        trust.record("bugs", ["sh", "-c", "echo 1 failed; exit 3"]).output == "1 failed\n\nended with code 3"
    )
