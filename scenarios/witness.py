"""Where the venue's own statement and the audit's report differ: a verdict counts only where they do not."""

from collections.abc import Iterator, Mapping
from typing import Any

from zerodebt.exchange.audit import Report


def differences(report: Report, statement: Mapping[str, Any], settle: int) -> Iterator[str]:
    """One sentence a difference. `statement` is what `View.statement` said at the end of the run."""
    pairs = (
        ("holdings", statement["holdings_digest"], report.holdings_digest),
        ("open debt in atoms", statement["open_debt_atoms"], report.residual_open_atoms.get(settle, 0)),
        (
            "receivables in atoms",
            statement["receivable_atoms"],
            sum(share.atoms for share in report.receivables),
        ),
    )
    for what, venue, audit in pairs:
        if venue != audit:
            yield f"{what}: the venue states {venue}, the events give {audit}"
