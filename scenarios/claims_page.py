"""docs/claims.md: every row of the founding claims with what was measured, or why it is not modelled."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from zerodebt.scenarios import config, studies
from zerodebt.scenarios.claims import figure
from zerodebt.scenarios.studies import Done, Finding, Study

_HEAD = """# The founding claims, held against runs

Written by `zerodebt claims --write docs/claims.md`. *Figure* is the median over the seeds unless it
says otherwise; *95 %* a bootstrap over the seeds; *off* the same figure with the mechanism switched off. A
claim that holds with its mechanism off is **unexplained** by it. Thresholds were fixed before the runs; a
failed claim is a finding.
"""


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """A founding claim. `not_modelled` says why no study answers it."""

    says: str
    not_modelled: str = ""


def rows() -> dict[str, Row]:
    """The claims by id, in their order."""
    return msgspec.convert(
        config.read_table(studies.folder().parent / "claims" / "rows.toml"), dict[str, Row]
    )


def studies_of_rows() -> list[Study]:
    return studies.answering("F")


def verdict(found: Sequence[Finding], row: Row) -> str:
    """Of a row: its worst finding."""
    if not found:
        return "not modelled" if row.not_modelled else "no study"
    verdicts = {finding.verdict for finding in found}
    return next(word for word in ("failed", "unexplained", "held") if word in verdicts)


def page(done: Iterable[Done]) -> str:
    """The page's text."""
    by_row: dict[str, list[Finding]] = {}
    for one in done:
        for finding in one.findings:
            by_row.setdefault(finding.id, []).append(finding)
    table = rows()
    counts = Counter(verdict(by_row.get(name, ()), row) for name, row in table.items())
    lines = [_HEAD, ", ".join(f"{n} {word}" for word, n in sorted(counts.items())) + f" of {len(table)}.", ""]
    lines += ["| row | claim | verdict | study | figure | measured | 95 % | off | allowed | seeds |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for name, row in table.items():
        found = by_row.get(name, [])
        if not found:
            lines.append(f"| {name} | {row.says} | {verdict(found, row)} | {row.not_modelled} | | | | | | |")
        for n, finding in enumerate(found):
            first = (name, row.says) if n == 0 else ("", "")
            lines.append(f"| {' | '.join((*first, *_cells(finding)))} |")
    for finding in by_row.get(studies.ZERO_DEBT, []):
        lines.append(f"| {finding.id} | {finding.text} | {' | '.join(_cells(finding))} |")
    return "\n".join(lines) + "\n"


def _cells(f: Finding) -> tuple[str, ...]:
    interval = "" if f.interval is None else f"{figure(f.interval[0])} to {figure(f.interval[1])}"
    off = "" if f.off is None else figure(f.off)
    return f.verdict, f.study, f.figure, figure(f.measured), interval, off, f.allowed, str(f.seeds)
