"""20 April 2020: a price below zero under recourse, and under a waterfall that makes every debt zero."""

from decimal import Decimal
from typing import Any

import pytest

import zerodebt
from zerodebt.exchange.instruments import maintenance_atoms, margin_table
from zerodebt.scenarios import config
from zerodebt.scenarios.runner import Result

FEWER: dict[str, Any] = {"populations.clients.count": 500}


@pytest.fixture(scope="module")
def recourse() -> Result:
    return zerodebt.run("wti-2020-04-20", **FEWER)


@pytest.fixture(scope="module")
def zero_debt() -> Result:
    return zerodebt.run("wti-2020-04-20-zero-debt", **FEWER)


def test_sourced_client_loses_to_the_cent(recourse: Result) -> None:
    measured = recourse.summary["metrics"]
    # 20,000 barrels x (194.23 + 266.12) CNY, of 20,000 x 194.23 put in
    assert measured["named_client_loss_cny"] == 20_000 * (194.23 + 266.12) == 9_207_000
    assert measured["named_client_loss_share"] == pytest.approx(2.370, abs=0.0005)


def test_debts_appear_under_recourse_and_nothing_was_promised(recourse: Result) -> None:
    assert recourse.verdict == "RECOURSE"
    # 24,500 x 1,000 barrels x 266.12 CNY
    assert Decimal(recourse.summary["receivables"]["amount"]) == 24_500_000 * Decimal("266.12")
    assert recourse.summary["promise"] == "none"


def test_somebody_named_pays_under_the_zero_debt_waterfall(zero_debt: Result) -> None:
    summary = zero_debt.summary
    assert zero_debt.verdict.startswith("HELD")
    assert summary["receivables"]["count"] == 0
    assert Decimal(summary["paid_by_stage"]["house"]) == 24_500_000 * Decimal("266.12")
    assert {row["payer"] for row in summary["paid"]} == {"house"}


def test_audit_agrees_with_both(recourse: Result, zero_debt: Result) -> None:
    for result in (recourse, zero_debt):
        assert result.summary["audit"]["findings"] == []
        assert result.exit_code == 0


@pytest.mark.parametrize("price_ticks", [1, 0, -1])
def test_requirement_stays_positive_where_the_price_crosses_zero(price_ticks: int) -> None:
    scenario, _ = config.load("wti-2020-04-20")
    (instrument,) = config.build(scenario).instruments
    table = margin_table(instrument)
    lots = 20_000
    # 34.29 CNY a barrel is more than half of a cent's value
    assert maintenance_atoms(table, abs(price_ticks * lots), lots) == lots * 3_429
