"""The clauses of the guarantee, the verdict that they add up to, and the report around both."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from zerodebt.exchange.audit.reading import Reading
from zerodebt.exchange.audit.report import Clause, Paid, Report, Residual, Share, Verdict
from zerodebt.exchange.events import EXTERNAL, FIRST_ACCOUNT

K = TypeVar("K")
Residuals = tuple[Residual, ...]


def report(reading: Reading) -> Report:
    """What the parts of a reading that has ended say together."""
    notes, debts, deficits, payments = reading.notes, reading.debts, reading.deficits, reading.payments
    residuals = debts.residuals()
    clauses = _clauses(reading, residuals)
    return Report(
        verdict=_verdict(reading, clauses, residuals),
        agrees=not notes.findings_count,
        findings=tuple(notes.findings),
        findings_count=notes.findings_count,
        clauses=clauses,
        residuals=residuals,
        residual_arose_atoms=_sums((r.asset, r.arose_atoms) for r in residuals),
        residual_open_atoms=_sums((r.asset, r.open_atoms) for r in residuals),
        largest_deficit=debts.largest,
        receivables=_shares(payments.receivables),
        interventions=tuple(notes.interventions),
        harm_atoms=reading.harm.atoms,
        harmed_compartments=reading.harm.compartments,
        overcharge_by_payer=_shares(deficits.overcharge_by_payer),
        overcharge_by_recipient=_shares(deficits.overcharge_by_recipient),
        paid_by_stage=_sums((stage, atoms) for (stage, _), atoms in sorted(payments.paid.items())),
        paid=tuple(Paid(*key, atoms) for key, atoms in sorted(payments.paid.items()) if atoms),
        received_by_stage=_sums((stage, atoms) for (stage, _), atoms in sorted(payments.received.items())),
        received=tuple(Paid(*key, atoms) for key, atoms in sorted(payments.received.items())),
        house_balances=tuple(
            (account, pocket, atoms)
            for (account, pocket), atoms in sorted(reading.holdings.nonzero_balances().items())
            if account < FIRST_ACCOUNT
        ),
        holdings_digest=reading.holdings.digest(),
        counts=dict(notes.counts),
    )


def _verdict(reading: Reading, clauses: tuple[Clause, ...], residuals: Residuals) -> Verdict:
    """HELD needs all of (a) to (g); under recourse or in a member's default a debt may stand until then."""
    holds = {clause.letter: clause.holds for clause in clauses}
    receivables = reading.payments.receivables
    missing = bool(residuals) or not all(holds[letter] for letter in "bcdefg")
    is_late = receivables or reading.defaults.is_declared
    answered_late = is_late and not reading.debts.hidden_atoms and "(a)" not in reading.notes.broken
    if missing or not (holds["a"] or answered_late):
        return "RESIDUAL"
    if receivables:
        return "RECOURSE"
    if reading.notes.interventions:
        return "HELD BY INTERVENTION"
    return "HELD WITH HARM" if reading.harm.atoms else "HELD"


def _clauses(reading: Reading, residuals: Residuals) -> tuple[Clause, ...]:
    return (
        _nobody_owes(reading),
        _lots_match(reading),
        _absorbers_stand(reading),
        _deficits_are_paid(reading, residuals),
        _value_is_conserved(reading),
        _only_the_named_pay(reading),
        _all_is_payable(reading),
        _harm(reading),
        _interventions(reading),
    )


def _nobody_owes(reading: Reading) -> Clause:
    """(a) No protected compartment is below zero at a rest point."""
    debts, is_protected = reading.debts, reading.holdings.is_protected
    largest = debts.largest
    holds = largest is None and not debts.hidden_atoms and not reading.notes.broken & {"(a)"}
    figures = {
        "largest_open_deficit_atoms": largest.atoms if largest else 0,
        "age_ns": largest.age_ns if largest else 0,
        "debts_open": sum(is_protected(account) for account, _ in debts.standing),
        "recovered_atoms": debts.recovered_atoms,
        "settled_later_atoms": debts.settled_later_atoms,
        "hidden_atoms": debts.hidden_atoms,
    }
    return Clause("a", holds, figures)


def _lots_match(reading: Reading) -> Clause:
    """(b) Signed lots sum to zero; every forced change of counterparty is at its price and rank."""
    counts = reading.notes.counts
    holds = not reading.notes.broken & {"(b)", "WFALL-03", "WFALL-04"}
    return Clause("b", holds, {"takeovers": counts["takeovers"], "deleveraged": counts["deleveraged"]})


def _absorbers_stand(reading: Reading) -> Clause:
    """(c) No vault, fund or house is below zero, its inventory at the mark."""
    debt_atoms = reading.debts.absorber_atoms
    holds = not debt_atoms and not reading.notes.broken & {"(c)"}
    return Clause("c", holds, {"largest_absorber_debt_atoms": debt_atoms})


def _deficits_are_paid(reading: Reading, residuals: Residuals) -> Clause:
    """(d) What arose is what the stages paid."""
    arose_atoms = sum(r.arose_atoms for r in residuals)
    holds = not arose_atoms and not reading.notes.broken & {"(d)"}
    figures = {
        "deficits": reading.notes.counts["deficits"],
        "paid_atoms": sum(reading.payments.paid.values()),
        "received_atoms": sum(reading.payments.received.values()),
        "residual_arose_atoms": arose_atoms,
        "residual_open_atoms": sum(r.open_atoms for r in residuals),
        "residual_announced_atoms": reading.deficits.announced_atoms,
        "overcharge_atoms": sum(reading.deficits.overcharge_by_recipient.values()),
    }
    return Clause("d", holds, figures)


def _value_is_conserved(reading: Reading) -> Clause:
    """(e) In every asset, with deposits and withdrawals as the only source and sink."""
    transfers, settle = reading.transfers, reading.holdings.settle
    holds = not reading.notes.broken & {"(e)", "LEDG-01", "LEDG-02", "LEDG-03", "FUND-01", "LEND-01"}
    figures = {
        "deposited_atoms": transfers.deposited.get(settle, 0),
        "withdrawn_atoms": transfers.withdrawn.get(settle, 0),
        "custody_atoms": _custody_atoms(reading),
    }
    return Clause("e", holds, figures)


def _only_the_named_pay(reading: Reading) -> Clause:
    """(f) Nobody pays but those whom the rulebook names for the stage, in its order."""
    holds = not reading.notes.broken & {"(f)", "WFALL-01", "WFALL-08", "ACC-01", "LEND-02"}
    return Clause("f", holds, {"payers": len(reading.payments.paid)})


def _all_is_payable(reading: Reading) -> Clause:
    """(g) Custody covers withdrawals; while a debt stands nobody takes more than a share of it."""
    counts, beyond_atoms = reading.notes.counts, reading.transfers.withdrawn_beyond_share_atoms
    holds = not beyond_atoms and not reading.notes.broken & {"(g)"}
    figures = {
        "custody_atoms": _custody_atoms(reading),
        "withdrawals": counts["withdrawals"],
        "withdrawals_delayed": counts["withdrawals_delayed"],
        "withdrawn_beyond_share_atoms": beyond_atoms,
    }
    return Clause("g", holds, figures)


def _harm(reading: Reading) -> Clause:
    """(h) Printed beside: what liquidations at the mark cost those who were sound at the index."""
    harm = reading.harm
    return Clause("h", not harm.atoms, {"harm_atoms": harm.atoms, "harmed_compartments": harm.compartments})


def _interventions(reading: Reading) -> Clause:
    """(i) Printed beside: halts, forced settlements and capital brought in."""
    interventions = reading.notes.interventions
    return Clause("i", not interventions, {"interventions": len(interventions)})


def _custody_atoms(reading: Reading) -> int:
    return -reading.holdings.balances[reading.holdings.settle][EXTERNAL]


def _shares(atoms_by_account: Mapping[int, int]) -> tuple[Share, ...]:
    return tuple(Share(account, atoms) for account, atoms in sorted(atoms_by_account.items()) if atoms)


def _sums(amounts: Iterable[tuple[K, int]]) -> dict[K, int]:
    sums: dict[K, int] = {}
    for key, atoms in amounts:
        sums[key] = sums.get(key, 0) + atoms
    return sums
