"""What the witness writes down while it reads."""

from zerodebt.exchange.audit.report import Finding, Intervention
from zerodebt.exchange.events import (
    Batch,
)

COUNTED = (
    "batches",
    "events",
    "orders",
    "fills",
    "forced_orders",
    "liquidations",
    "takeovers",
    "deleveraged",
    "deficits",
    "rejected",
    "withdrawals",
    "withdrawals_delayed",
    "full_passes",
)


class Notes:
    """Where the reading stands, what was found, what was counted, and who interfered."""

    def __init__(self, findings_max: int) -> None:
        self.seq = -1
        self.time_ns = 0
        self.is_alone = False
        self.findings: list[Finding] = []
        self.findings_count = 0
        self.broken: set[str] = set()
        self.interventions: list[Intervention] = []
        self.counts = dict.fromkeys(COUNTED, 0)
        self._findings_max = findings_max

    def turn_to(self, batch: Batch) -> None:
        """The next command: sequence numbers follow each other and time does not run back."""
        counts = self.counts
        if batch.seq != self.seq + 1 and counts["batches"]:
            self.find("DET-03", f"batch {batch.seq} follows batch {self.seq}")
        if batch.time_ns < self.time_ns:
            self.find("DET-03", f"time {batch.time_ns} ns is before {self.time_ns} ns")
        self.seq = batch.seq
        self.time_ns = batch.time_ns
        self.is_alone = len(batch.events) == 1
        counts["batches"] += 1
        counts["events"] += len(batch.events)

    def find(self, rule: str, text: str) -> None:
        self.findings_count += 1
        self.broken.add(rule)
        if len(self.findings) < self._findings_max:
            self.findings.append(Finding(self.seq, rule, text))

    def intervene(self, what: str) -> None:
        self.interventions.append(Intervention(self.seq, self.time_ns, what))
