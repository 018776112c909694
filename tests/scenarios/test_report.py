import json
import re
from pathlib import Path

import polars as pl
import pytest

from tests.scenarios.handmade import (
    batches,
    batches_that_give,
    write_events,
    write_handmade_run,
    write_summary,
)
from zerodebt.scenarios import charts
from zerodebt.scenarios.quantities import DataError
from zerodebt.scenarios.report import write_report
from zerodebt.scenarios.tables import write_tables
from zerodebt.scenarios.terminal import console, print_payments

INJECTED = "</script><script>alert(1)</script>"


def text_of(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_handmade_run(tmp_path_factory.mktemp("run"))
    write_summary(path)
    write_report(path)
    return path


def test_sections_come_in_the_order_of_their_weight(run: Path) -> None:
    assert re.findall("<h2>(.*?)</h2>", text_of(run)) == [
        "Was every debt made zero?",
        "Who paid",
        "Prices and forced flow",
        "Depth",
        "Open interest",
        "Fund and vaults",
        "Claims",
        "Accounts that paid most, and that were paid for",
        "Terms",
    ]


def test_the_verdict_is_a_sentence_with_the_payers(run: Path) -> None:
    assert (
        "1 deficit of $30.00 arose. Paid: shorts by adl $32.00. Taken beyond the deficits: $2.00."
        in text_of(run)
    )


def cells_under(run: Path, heading: str) -> list[list[str]]:
    table = text_of(run).partition(f"{heading}<")[2].partition("</table>")[0]
    rows = re.findall(r"<tr.*?>(.*?)</tr>", table)
    return [
        [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row)] for row in rows
    ]


def test_who_paid_is_told_by_population_and_stage(run: Path) -> None:
    assert cells_under(run, "Who paid") == [
        ["who paid", "book", "backstop", "adl", "total"],
        ["longs", "$4.00", "$16.00", "0", "$20.00"],
        ["shorts", "0", "0", "$32.00", "$32.00"],
        ["all", "$4.00", "$16.00", "$32.00", "$52.00"],
    ]


def test_who_took_what_the_liquidated_gave_up_is_told_by_route(run: Path) -> None:
    """2 lots at 90 in the book, 8 taken over at 92, the same 8 deleveraged at 89."""
    assert cells_under(run, "Who took what the liquidated gave up") == [
        ["positions of", "makers (book)", "vault (takeover)", "shorts (adl)"],
        ["longs", "$180.00", "$736.00", "0"],
        ["vault", "0", "0", "$712.00"],
    ]


def test_a_failed_claim_is_shown_with_both_figures(run: Path) -> None:
    claims = text_of(run).partition("<h2>Claims</h2>")[2].partition("</table>")[0]
    assert "0 of 1 held" in claims
    assert "FAILED" in claims
    assert "at most $700.00" in claims
    assert "$712.00" in claims
    assert "53.33 %" in claims


def test_the_chart_script_is_beside_the_page_or_inside_it(run: Path, tmp_path: Path) -> None:
    assert (run / "plotly.min.js").stat().st_size > 1_000_000
    assert (run / "report.html").stat().st_size < 1_000_000
    alone = write_handmade_run(tmp_path)
    write_summary(alone)
    write_report(alone, single_file=True)
    assert not (alone / "plotly.min.js").exists()
    assert 1_000_000 < (alone / "report.html").stat().st_size < 6_000_000


def test_the_same_run_gives_the_same_page(run: Path) -> None:
    before = text_of(run)
    write_report(run)
    assert text_of(run) == before


def test_text_of_users_is_escaped(tmp_path: Path) -> None:
    write_events(tmp_path, batches())
    meta = json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))
    meta["populations"][0]["name"] = meta["populations"][1]["name"] = INJECTED
    (tmp_path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    write_tables(tmp_path)
    claim = {"id": "a", "metric": "x", "held": False, "measured": None}
    claim |= dict.fromkeys(("text", "evidence", "allowed", "source", "baseline"), INJECTED)
    finding = {"seq": 1, "rule": INJECTED, "text": INJECTED}
    clause = {"letter": INJECTED, "holds": False, "figures": {INJECTED: 1}}
    audit = {"agrees": False, "findings": [finding], "clauses": [clause]}
    said = dict.fromkeys(("id", "title", "scenario", "seed", "version", "settle_asset", "verdict"), INJECTED)
    write_summary(tmp_path, **said, audit=audit, claims=[claim])
    write_report(tmp_path)
    assert "alert(1)" in text_of(tmp_path)
    assert "<script>alert" not in text_of(tmp_path)
    assert text_of(tmp_path).count("&lt;script&gt;alert(1)") > 15


def test_a_missing_key_of_the_summary_is_named(tmp_path: Path) -> None:
    run = write_handmade_run(tmp_path)
    write_summary(run, verdict=None)
    with pytest.raises(DataError, match="found no 'verdict'"):
        write_report(run)


def test_a_run_in_which_nothing_happened_has_a_report(tmp_path: Path) -> None:
    write_events(tmp_path, batches()[:5])
    write_tables(tmp_path)
    write_summary(tmp_path)
    write_report(tmp_path)
    assert "No account fell below zero." in text_of(tmp_path)
    assert "Nobody paid: no position was forced." in text_of(tmp_path)


def test_a_thinned_line_keeps_its_least_and_largest_value() -> None:
    values = [0.0] * 5_000 + [7.0] + [0.0] * 2_000 + [-3.0] + [0.0] * 5_000
    thinned = charts.thin(pl.DataFrame({"time_ns": range(len(values)), "y": values}), "y", points=100)
    assert thinned.height <= 110
    assert thinned["time_ns"].is_sorted()
    assert (thinned["y"].max(), thinned["y"].min()) == (7.0, -3.0)
    assert (thinned["time_ns"][0], thinned["time_ns"][-1]) == (0, len(values) - 1)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "$0"),
        (12.5, "$12.50"),
        (-1_234, "-$1.23k"),
        (999_999, "$1.00M"),
        (2.103e9, "$2.10bn"),
        (540e6, "$540.0M"),
    ],
)
def test_amounts_are_short(amount: float, shown: str) -> None:
    assert charts.short("usd", amount) == shown


def test_other_money_is_named() -> None:
    assert charts.short("cny", 9_207_000) == "CNY 9.21M"


def test_who_received_is_told_apart_from_who_paid(tmp_path: Path) -> None:
    run = write_events(tmp_path, batches_that_give())
    write_tables(run)
    write_summary(run)
    write_report(run)
    paid, _, received = text_of(run).partition("<h2>Who paid</h2>")[2].partition("<h3>Who received")
    assert "shorts" not in paid.partition("</table>")[0]
    cells = re.findall(r"<td.*?>(.*?)</td>", received.partition("</table>")[0])
    assert [re.sub("<.*?>", "", cell) for cell in cells] == ["shorts", "1", "$32.00"]


def test_terminal_shows_what_was_received_beside_what_was_paid(capsys: pytest.CaptureFixture[str]) -> None:
    summary = {
        "paid_by_stage": {"insurance": "5.00"},
        "received_by_stage": {"adl": "32.00"},
        "settle_asset": "USDC",
    }
    print_payments(console(), summary)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["who", "paid"],
        ["stage", "paid", "received"],
        ["insurance", "5.00", "USDC", "0.00", "USDC"],
        ["adl", "0.00", "USDC", "32.00", "USDC"],
    ]
