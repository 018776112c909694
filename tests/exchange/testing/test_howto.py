"""The code of docs/howto-test-a-bot.md, as it stands on the page, in a project of its own."""

import re
from pathlib import Path

from tests.exchange.testing.test_plugin import ROOT, run_in_project

PAGE = (ROOT / "docs" / "howto-test-a-bot.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
FAILURE = PAGE.partition("The failure shows where the account stands:\n\n```\n")[2].partition("```")[0]


def test_bot_of_the_page_passes_its_tests(tmp_path: Path) -> None:
    assert {"bot.py", "test_bot.py", "test_thumb.py"} == set(FILES)
    done = run_in_project(tmp_path, FILES, "test_bot.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{FILES['test_bot.py'].count('def test_')} passed" in done.stdout


def test_failure_of_the_page_is_what_is_shown(tmp_path: Path) -> None:
    done = run_in_project(tmp_path, FILES, "test_thumb.py")
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    assert "zerodebt: margin" in FAILURE
    for line in FAILURE.splitlines():
        assert line.strip("-") in done.stdout
