"""The second witness: rebuilds a run from its events alone and says whether every debt was made zero.

Nothing of the engine is used, only the event types and the rulebook's data; everything is plain Python
integers. Memory grows with accounts and live orders, never with events. What the events do not hold (what the
single price sources said, the self-trade mode of an order) is taken as stated; all else is derived again.
A finding names the property that broke, with both numbers.
"""

from zerodebt.exchange.audit.report import (
    Clause,
    Finding,
    Intervention,
    OpenDeficit,
    Paid,
    Report,
    Residual,
    Share,
    Verdict,
)
from zerodebt.exchange.audit.witness import Audit, audit

__all__ = [
    "Audit",
    "Clause",
    "Finding",
    "Intervention",
    "OpenDeficit",
    "Paid",
    "Report",
    "Residual",
    "Share",
    "Verdict",
    "audit",
]
