"""What a person sees: progress on a terminal, and results as tables."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from zerodebt.scenarios.claims import figure
from zerodebt.scenarios.compare import Comparison
from zerodebt.scenarios.explain import Explanation
from zerodebt.scenarios.studies import Finding

if TYPE_CHECKING:
    from zerodebt.scenarios.attacks import Verdict

_BESIDE = "hi"
"""Clauses that are printed beside the guarantee."""
_ORIGINS_SHOWN = 5


def progress_bar() -> Callable[[str, int, int], None]:
    """A bar on standard error while simulating, a word for each later phase; it ends with the process."""
    bar = Progress(
        TextColumn("{task.description:>8}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, Any] = {}
    bar.start()

    def tell(phase: str, done: int, whole: int) -> None:
        if phase not in tasks:
            for task in tasks.values():
                bar.update(task, visible=False)
            tasks[phase] = bar.add_task(phase, total=whole or None)
        if whole:
            bar.update(tasks[phase], completed=done, total=whole)
        if phase == "done":
            bar.stop()

    return tell


def is_interactive() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """Standard output; a pipe gets lines that are never wrapped. NO_COLOR is honoured by rich."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=1000, soft_wrap=True)


def print_result(summary: dict[str, Any], path: str, wall_s: dict[str, float]) -> None:
    out = console()
    promise = "promised: every debt made zero" if summary["promise"] == "zero_debt" else "nothing promised"
    kept = "" if summary["promise"] == "none" else ", kept" if summary["promise_kept"] else ", NOT KEPT"
    what = f"{summary['title']}  under {summary['rulebook']}  seed {summary['seed']}"
    out.print(f"{what}  {summary['start_utc']} to {summary['end_utc']}")
    out.print(Text(f"{summary['verdict']}  ({promise}{kept})", style="bold"))
    asset = summary["settle_asset"]
    for symbol, amount in summary["residual_open"].items():
        if float(amount):
            origins = [row for row in summary["residuals"] if row["asset"] == symbol and float(row["open"])]
            out.print(f"missing: {amount} {symbol}, from {len(origins)} origins:")
            for row in origins[:_ORIGINS_SHOWN]:
                out.print(f"  {row['open']} {symbol} from {row['origin']}", markup=False)
            if len(origins) > _ORIGINS_SHOWN:
                out.print(f"  and {len(origins) - _ORIGINS_SHOWN} more in summary.json")
    if summary["receivables"]["count"]:
        owed = summary["receivables"]
        back = f"{float(owed['expected_back']):,.2f} expected back"
        who = f"{owed['count']:,} account" + ("" if owed["count"] == 1 else "s")
        out.print(f"owed: {float(owed['amount']):,.2f} {asset} by {who}, {back}")
    audit = summary["audit"]
    broken = [clause["letter"] for clause in audit["clauses"] if not clause["holds"]]
    if failed := [letter for letter in broken if letter not in _BESIDE]:
        arose = ", ".join(f"{a} {symbol}" for symbol, a in summary["residual_arose"].items() if float(a))
        left = f"; left by the waterfall as it arose: {arose}" if arose else ""
        out.print(f"does not hold: {', '.join(f'({letter})' for letter in failed)}{left}")
    print_payments(out, summary)
    said = "agrees" if audit["agrees"] else f"DISAGREES, {audit['findings_count']} findings"
    out.print(f"audit {said}")
    for finding in audit["findings"][:5]:
        out.print(f"  {finding['rule']} at command {finding['seq']}: {finding['text']}", markup=False)
    print_claims(out, summary)
    if wall_s:
        out.print("  ".join(f"{phase} {seconds:.1f} s" for phase, seconds in wall_s.items()))
    out.print(path, markup=False)


def print_payments(out: Console, summary: dict[str, Any]) -> None:
    """What each stage's payers paid, and apart from it what its counterparties received."""
    paid, received = summary["paid_by_stage"], summary.get("received_by_stage", {})
    if not paid and not received:
        return
    columns = ("stage", "paid", "received") if received else ("stage", "paid")
    table = Table(*columns, box=None, pad_edge=False, title="who paid", title_justify="left")
    for stage in dict.fromkeys((*paid, *received)):
        amounts = [sums.get(stage, "0") for sums in (paid, received)][: len(columns) - 1]
        table.add_row(stage, *(f"{float(amount):,.2f} {summary['settle_asset']}" for amount in amounts))
    for column in table.columns[1:]:
        column.justify = "right"
    out.print(table)


def print_comparison(found: Comparison) -> None:
    """A row a figure; `*` marks where the runs differ."""
    rows = []
    for row in found.rows:
        mark = "" if row.first == row.second else "*"
        rows.append((row.group, row.name, _compared(row.first), _compared(row.second), mark))
    print_table("", ("", "", *found.runs, ""), rows)


def _compared(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return figure(value) if isinstance(value, int | float) else "none" if value is None else str(value)


def print_claims(out: Console, summary: dict[str, Any]) -> None:
    if not summary["claims"]:
        return
    table = Table("claim", "evidence", "measured", "allowed", "", "baseline", box=None, pad_edge=False)
    table.columns[2].justify = table.columns[3].justify = "right"
    for claim in summary["claims"]:
        word = Text("held", style="green") if claim["held"] else Text("failed", style="red")
        figures = (figure(claim["measured"]), claim["allowed"])
        table.add_row(claim["id"], claim["evidence"], *figures, word, Text(claim["baseline"]))
    out.print(table)
    parts = [
        f"{s['evidence']} {s['held']} of {s['held'] + s['failed']} held"
        for s in summary["claims_by_evidence"]
    ]
    counts = any(s["evidence"] == "predicted" for s in summary["claims_by_evidence"])
    out.print(
        "claims: " + ", ".join(parts) + (" (only predicted ones count)" if counts else " (none counts)")
    )


def print_seeds(summaries: Sequence[dict[str, Any]]) -> None:
    """Verdict by seed, then each claim's smallest, median and largest figure and how often it held."""
    out = console()
    for summary in summaries:
        agrees = "agrees" if summary["audit"]["agrees"] else "DISAGREES"
        out.print(f"seed {summary['seed']}: {summary['verdict']}, audit {agrees}")
    table = Table("claim", "evidence", "min", "median", "max", "allowed", "held", box=None, pad_edge=False)
    for column in table.columns[2:6]:
        column.justify = "right"
    for n, claim in enumerate(summaries[0]["claims"]):
        over = [summary["claims"][n] for summary in summaries]
        figures = sorted((c["measured"] for c in over if c["measured"] is not None), key=_order)
        shown = [figure(figures[k]) for k in (0, len(figures) // 2, -1)] if figures else ["none"] * 3
        held = f"{sum(c['held'] for c in over)} of {len(over)}"
        table.add_row(claim["id"], claim["evidence"], *shown, claim["allowed"], held)
    out.print(table)


def tell_cells(study: str, done: int, whole: int) -> None:
    """Progress of a study, on standard error; where nobody watches in a tenth of the lines."""
    if is_interactive():
        sys.stderr.write(f"\r{study}: {done} of {whole}" + ("\n" if done == whole else ""))
        sys.stderr.flush()
    elif done % max(1, whole // 10) == 0 or done == whole:
        sys.stderr.write(f"{study}: {done} of {whole}\n")


def print_findings(findings: Sequence[Finding]) -> None:
    """What was measured beside what is allowed, with the mechanism off where it can be switched."""
    names = ("row", "study", "figure", "measured", "95 %", "off", "allowed", "seeds", "verdict")
    table = Table(*names, box=None, pad_edge=False)
    for column in table.columns[3:6]:
        column.justify = "right"
    for f in findings:
        interval = "" if f.interval is None else " ".join(figure(bound) for bound in f.interval)
        off = "" if f.off is None else figure(f.off)
        measured = figure(f.measured)
        table.add_row(
            f.id, f.study, Text(f.figure), measured, interval, off, f.allowed, str(f.seeds), f.verdict
        )
    console().print(table)


def _order(measured: Any) -> tuple[int, Any]:
    """Times sort as text, numbers as numbers."""
    return (1, measured) if isinstance(measured, str) else (0, measured)


def print_explanation(explanation: Explanation) -> None:
    out = console()
    table = Table("time", "command", "what", "numbers", box=None, pad_edge=False)
    for line in explanation.lines:
        table.add_row(line.at, str(line.seq), line.what, Text(line.text))
    out.print(table)
    ends = []
    if not explanation.was_liquidated:
        ends.append("was never below maintenance")
    if not explanation.was_deleveraged:
        ends.append("was never deleveraged")
    more = f"; {explanation.other_trades} trades of its own" if explanation.other_trades else ""
    if ends or more:
        out.print(f"account {explanation.account} {' and '.join(ends) or 'had'}{more}")


def print_answers(reply: dict[str, Any], place: str) -> None:
    """Each question's figures, what they include, and the lines that explain them."""
    out = console()
    day = f"as of {reply['as_of']}, " if reply["as_of"] else ""
    head = (
        f"{place}{reply['venue']}, {day}rules since {reply['rules_valid_from']}, in {reply['settle_asset']}"
    )
    out.print(Text(head, style="bold"))
    for answered in reply["answers"]:
        out.print()
        out.print(Text(answered["question"], style="bold"))
        if "error" in answered:
            out.print("no answer")
            continue
        found = answered["answer"]
        figures = Table("", "", box=None, pad_edge=False, show_header=False)
        for key, value in found.items():
            if key not in ("includes", "points"):
                figures.add_row(key, _plain(value))
        for n, point in enumerate(found.get("points", ())):
            figures.add_row(f"after {n}", _point_text(point))
        words = [key if held else f"no {key}" for key, held in found["includes"].items()]
        figures.add_row("includes", ", ".join(words).replace("_", " "))
        out.print(figures)
        table = Table("what", "value", "rule", "source", box=None, pad_edge=False)
        for line in answered["explain"]:
            table.add_row(*(Text(line[key]) for key in ("what", "value", "rule", "source")))
        out.print(table)


def _plain(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _point_text(point: dict[str, Any]) -> str:
    """An instant of a path: prices, what is held, and each compartment's equity against its requirement."""
    prices = ", ".join(f"{symbol} at {price}" for symbol, price in point["prices"].items())
    sizes = dict(point["positions"])
    for symbol, legs in point.get("legs", {}).items():
        del sizes[symbol]
        sizes |= {f"{symbol} {side}": size for side, size in legs.items()}
    held = ", ".join(f"{name} {size}" for name, size in sizes.items() if float(size))
    pools = {"cross": point["cross"], **point["isolated"]}
    margins = [f"{name} equity {p['equity']} of {p['maintenance']}" for name, p in pools.items()]
    return "; ".join([prices, f"holds {held or 'nothing'}", *margins])


def print_attacks(verdicts: Sequence["Verdict"]) -> None:
    """A row an attack, gains in whole units of the settlement asset; then what the audit had to say."""
    table = Table("attack", "", "weak venue", "ours", "", "what bounds it", box=None, pad_edge=False)
    table.columns[2].justify = table.columns[3].justify = "right"
    for verdict in verdicts:
        gains = (f"{int(t.outcome.gain_atoms / 10**6):,}" for t in (verdict.weak, verdict.ours))
        word = Text("held", style="green") if verdict.is_bounded else Text("FAILED", style="red")
        table.add_row(verdict.attack.id, verdict.attack.title, *gains, word, verdict.attack.bound)
    out = console()
    out.print(table)
    for verdict in verdicts:
        for sentence in (*verdict.weak.disagreements, *verdict.ours.disagreements):
            out.print(f"{verdict.attack.id}: {sentence}", markup=False)


def print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(*columns, box=None, pad_edge=False, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console().print(table)
