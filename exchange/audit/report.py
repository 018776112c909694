"""What the second witness says at the end."""

from typing import Literal

from msgspec import Struct

Verdict = Literal["HELD", "HELD WITH HARM", "HELD BY INTERVENTION", "RESIDUAL", "RECOURSE"]


class Finding(Struct, frozen=True):
    """Where the run and its second reading differ. `rule` is a property id or a clause of the guarantee."""

    seq: int
    rule: str
    text: str


class Clause(Struct, frozen=True):
    """A clause (a) to (i) of the guarantee and the figures printed beside it; (h) and (i) are only shown."""

    letter: str
    holds: bool
    figures: dict[str, int]


class Residual(Struct, frozen=True):
    """What the waterfall left: the sum when it arose, and what of it is still missing at the end."""

    asset: int
    origin: int
    arose_atoms: int
    open_atoms: int


class OpenDeficit(Struct, frozen=True):
    """The largest debt seen at a rest point; `age_ns` is how long it stood, or stands at the end."""

    account: int
    pocket: int
    atoms: int
    seq: int
    age_ns: int


class Paid(Struct, frozen=True):
    stage: str
    payer: int
    atoms: int


class Share(Struct, frozen=True):
    account: int
    atoms: int


class Intervention(Struct, frozen=True):
    seq: int
    time_ns: int
    what: str


class Report(Struct, frozen=True):
    """Everything the second witness says. Money in atoms; accounts and instruments by number.

    received         what a deleveraging's price gave its counterparties: here the `payer` got it
    holdings_digest  of all balances and positions that are not zero, see `Audit.digest`
    """

    verdict: Verdict
    agrees: bool
    findings: tuple[Finding, ...]
    findings_count: int
    clauses: tuple[Clause, ...]
    residuals: tuple[Residual, ...]
    residual_arose_atoms: dict[int, int]
    residual_open_atoms: dict[int, int]
    largest_deficit: OpenDeficit | None
    receivables: tuple[Share, ...]
    interventions: tuple[Intervention, ...]
    harm_atoms: int
    harmed_compartments: int
    overcharge_by_payer: tuple[Share, ...]
    overcharge_by_recipient: tuple[Share, ...]
    paid_by_stage: dict[str, int]
    paid: tuple[Paid, ...]
    received_by_stage: dict[str, int]
    received: tuple[Paid, ...]
    house_balances: tuple[tuple[int, int, int], ...]
    holdings_digest: str
    counts: dict[str, int]
