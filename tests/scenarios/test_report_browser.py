"""The report in a real browser: charts are drawn, nothing is complained about, nothing is fetched."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.scenarios.handmade import (
    START_NS,
    batches,
    marked,
    write_events,
    write_handmade_run,
    write_summary,
)
from zerodebt.exchange.events import Batch, Settled
from zerodebt.exchange.units import SECOND_NS
from zerodebt.scenarios.report import write_report
from zerodebt.scenarios.runner import Result
from zerodebt.scenarios.tables import write_tables

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
REQUIRED = os.environ.get("ZERODEBT_REQUIRE_BROWSER") == "1"
SWITCHES = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run")
CHARTS = "[...document.querySelectorAll('.js-plotly-plot')]"
MARKS = ".scatterlayer path[d], .barlayer path[d], .waterfalllayer path[d]"

if CHROMIUM is None and not REQUIRED:
    pytest.skip("no Chromium was found, so the report was not opened in a browser", allow_module_level=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "ZERODEBT_REQUIRE_BROWSER is 1, but no Chromium was found"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        yield launched
        launched.close()


class Seen:
    """What a page did when it was opened, and how many marks each of its charts shows."""

    def __init__(self, browser: Browser, path: Path) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        page = browser.new_page(viewport={"width": 1240, "height": 1000})
        page.on("console", lambda message: self.problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.resolve().as_uri())
        page.wait_for_function(f"{CHARTS}.length && {CHARTS}.every(c => c.querySelector('svg.main-svg'))")
        page.wait_for_timeout(300)
        self.marks: list[int] = page.evaluate(f'{CHARTS}.map(c => c.querySelectorAll("{MARKS}").length)')
        self.places: int = page.evaluate("document.querySelectorAll('.chart').length")
        self.is_wider_than_the_window: bool = page.evaluate("document.body.scrollWidth > window.innerWidth")
        page.close()

    def check(self) -> None:
        assert self.problems == []
        assert [url for url in self.requests if not url.startswith(("file://", "data:"))] == []
        assert len(self.marks) == self.places
        assert all(self.marks), self.marks
        assert not self.is_wider_than_the_window


@pytest.mark.parametrize("single_file", [False, True])
def test_every_chart_is_drawn_without_errors_or_requests(
    browser: Browser, tmp_path: Path, single_file: bool
) -> None:
    write_handmade_run(tmp_path)
    write_summary(tmp_path)
    write_report(tmp_path, single_file)
    seen = Seen(browser, tmp_path / "report.html")
    seen.check()
    assert len(seen.marks) == 8
    assert len([url for url in seen.requests if url.endswith(".js")]) == (0 if single_file else 1)


def test_the_report_of_a_crash_is_drawn(browser: Browser, small_run: Result) -> None:
    Seen(browser, small_run.path / "report.html").check()


def test_a_day_on_which_nothing_happens_is_drawn(browser: Browser, tmp_path: Path) -> None:
    write_events(tmp_path, batches()[:5])
    write_tables(tmp_path)
    write_summary(tmp_path)
    write_report(tmp_path)
    Seen(browser, tmp_path / "report.html").check()


def test_a_market_that_is_settled_is_drawn_to_its_end(browser: Browser, tmp_path: Path) -> None:
    settled = Batch(8, START_NS + 200 * SECOND_NS, (Settled(0, 80), marked(80)))
    write_events(tmp_path, [*batches(), settled])
    write_tables(tmp_path)
    write_summary(tmp_path)
    write_report(tmp_path)
    Seen(browser, tmp_path / "report.html").check()


def test_markup_in_names_stays_text(browser: Browser, tmp_path: Path) -> None:
    run = write_handmade_run(tmp_path)
    meta = (run / "meta.json").read_text(encoding="utf-8")
    (run / "meta.json").write_text(
        meta.replace('"vault",', '"<img src=x onerror=alert(1)>",', 1), encoding="utf-8"
    )
    write_tables(run)
    write_summary(run, title="<img src=x onerror=alert(1)>")
    write_report(run)
    Seen(browser, run / "report.html").check()
