"""A perpetual that is delisted: it ends at the index, as dYdX v4 does it, and nothing trades afterwards."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from tests.exchange.audit.crash import RULEBOOKS, Crash
from tests.exchange.audit.damage import edited, put, rules_broken
from tests.venues import USD, Desk, of, perpetual, rulebook
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Deposit,
    MassQuote,
    PlaceOrder,
    SetLeverage,
    SetStatus,
    SettleInstrument,
    Tick,
    Trigger,
    Withdraw,
)
from zerodebt.exchange.events import Batch, FundingSampled, FundingSet, OrderClosed, Settled, TriggerArmed
from zerodebt.exchange.reject import RejectReason as R
from zerodebt.exchange.rules import MarkRules, RulesError, SettlementRules
from zerodebt.exchange.units import HOUR_NS, SECOND_NS

RICH = 1_000_000
TERMS = {"perpetual": "index"}


def listed(long: int = RICH, short: int = RICH, **tables: Any) -> tuple[Desk, int, int]:
    """Two perpetuals; ten lots of the first traded at 100."""
    rules = rulebook("book", "adl", settlement=TERMS, **tables)
    desk = Desk(rules, (perpetual(), perpetual("ETH")), index=(100, 100))
    a, b = desk.open(long, short)
    desk.trade(a, b, 10, 100)
    return desk, a, b


@pytest.mark.spec("WFALL-05", "LEDG-02")
def test_it_ends_at_the_index_without_orders_and_every_position_is_paid() -> None:
    """Ten lots bought at 100 end at 130; all of the isolated margin comes back with them."""
    desk, a, b = listed()
    (c,) = desk.open(RICH)
    desk.ok(SetLeverage(c, 0, 5, "isolated"))
    desk.trade(c, b, 5, 100)
    resting = desk.order(a, SELL, 3, 150)
    stop = Trigger("stop", "mark", 140)
    (armed,) = of(desk.ok(PlaceOrder(b, 0, BUY, 5, tif="ioc", trigger=stop)), TriggerArmed)
    other = desk.order(a, BUY, 1, 90, instrument=1)
    desk.index(130, 100)
    events = desk.ok(SettleInstrument(0))
    assert of(events, Settled) == [Settled(0, 130)]
    assert {(e.order_id, e.reason) for e in of(events, OrderClosed)} == {
        (resting, "settlement"),
        (armed.order_id, "settlement"),
    }
    assert [desk.lots(account) for account in (a, b, c)] == [0, 0, 0]
    won, lost = 10 * 30 * USD, 15 * 30 * USD
    assert (desk.cash(a), desk.cash(b)) == (RICH * USD + won, RICH * USD - lost)
    assert (desk.cash(c), desk.cash(c, 2)) == ((RICH + 5 * 30) * USD, 0)
    assert other in desk.state.orders
    report = audit(desk.batches)
    assert (report.findings, report.verdict) == ((), "HELD")


@pytest.mark.spec("HALT-01")
def test_nothing_trades_there_afterwards_and_money_still_moves() -> None:
    desk, a, b = listed()
    desk.ok(SettleInstrument(0))
    assert desk.refused(PlaceOrder(a, 0, BUY, 1, 100)) == R.HALTED
    assert desk.refused(MassQuote(b, 0, ((99, 1),), ())) == R.HALTED
    assert desk.refused(SetStatus(0, True, True, True)) == R.NOTHING_TO_DO
    assert desk.refused(SettleInstrument(0)) == R.NOTHING_TO_DO
    desk.ok(Deposit(0, a, (USD,)))
    desk.ok(Withdraw(a, 0, (RICH + 1) * USD))
    desk.trade(b, desk.open(RICH)[0], 1, 100, instrument=1)
    events = [*desk.index(101, 101), *desk.index(102, 102, later_ns=HOUR_NS)]
    assert {e.instrument for e in of(events, FundingSampled)} == {1}
    assert {e.instrument for e in of(events, FundingSet)} == {1}
    assert not audit(desk.batches).findings


def test_a_delisting_outlives_a_snapshot() -> None:
    desk, a, _ = listed()
    desk.ok(SettleInstrument(0))
    twin = desk.restored()
    assert twin.state_hash() == desk.venue.state_hash()
    events = twin.apply(PlaceOrder(a, 0, BUY, 1, 100), desk.time_ns).events
    assert [type(event) for event in events] == [says.Rejected]


@pytest.mark.spec("WFALL-04", "WFALL-05")
def test_who_is_below_zero_is_deleveraged_at_his_bankruptcy_price_before() -> None:
    """Ten lots with 100 USD are worth nothing at 90: at 80 they go at 90, the others end at 80."""
    desk, a, b = listed(long=100)
    c, d = desk.open(RICH, RICH)
    desk.trade(c, d, 7, 100)
    events = desk.index(80, 100)
    assert {(e.account, e.price_ticks) for e in of(events, says.Deleveraged)} == {(a, 90)}
    assert of(desk.ok(SettleInstrument(0)), Settled) == [Settled(0, 80)]
    assert (desk.cash(a), desk.cash(c)) == (0, (RICH - 7 * 20) * USD)
    assert desk.cash(b) + desk.cash(d) == (2 * RICH + 10 * 10 + 7 * 20) * USD
    assert not audit(desk.batches).findings


@pytest.mark.spec("WFALL-04", "WFALL-05")
def test_it_waits_while_somebody_is_below_zero_whom_nobody_can_take() -> None:
    """In a halt of forced orders the mark stands; at the index the buyer would be left with 100 - 200."""
    desk, a, _ = listed(long=100)
    desk.ok(SetStatus(0, True, True, False))
    desk.index(80, 100)
    assert desk.refused(SettleInstrument(0)) == R.DEFICIT_OPEN
    assert desk.lots(a) == 10
    assert audit(desk.batches).clauses[6].figures["withdrawals_delayed"] == 0


@pytest.mark.spec("FUND-02", "WFALL-05")
def test_funding_that_is_due_is_paid_first() -> None:
    desk, _, _ = listed()
    desk.time_ns += HOUR_NS
    assert desk.refused(SettleInstrument(0)) == R.FUNDING_DUE
    paid = of(desk.ok(Tick()), FundingSet)
    assert 0 in [e.instrument for e in paid]
    desk.ok(SettleInstrument(0))
    assert not audit(desk.batches).findings


def test_a_perpetual_ends_only_as_the_rulebook_says() -> None:
    desk, _, _ = listed()
    assert desk.refused(SettleInstrument(0, 100)) == R.NOT_IN_RULEBOOK
    other = Desk(index=(100,))
    assert other.refused(SettleInstrument(0)) == R.WRONG_KIND
    new = Desk(rulebook(settlement=TERMS))
    assert new.refused(SettleInstrument(0)) == R.NOTHING_TO_DO, "nothing is held, and no price is there"
    with pytest.raises(RulesError, match="perpetual is 'index', but the mark's formula is 'median'"):
        rulebook("book", settlement=TERMS, mark={"formula": "median"})


# Sabotage


def run() -> list[Batch]:
    desk, _, _ = listed(long=300)
    desk.index(90, 100)
    desk.ok(SettleInstrument(0))
    return desk.batches


def elsewhere(batches: list[Batch]) -> list[Batch]:
    return edited(Settled, price_ticks=lambda event: event.price_ticks - 1)(batches)


def unfunded(batches: list[Batch]) -> list[Batch]:
    (*before, last) = batches
    return [*before, structs.replace(last, time_ns=last.time_ns + HOUR_NS)]


def below_zero(batches: list[Batch]) -> list[Batch]:
    """At 60 the buyer would be left with 300 - 400."""
    return edited(Settled, price_ticks=lambda _: 60)(batches)


def traded(batches: list[Batch]) -> list[Batch]:
    """The fill of the beginning again, behind the end."""
    k, events = next(
        (k, batch.events) for k, batch in enumerate(batches) if of(list(batch.events), says.Filled)
    )
    return put(batches, len(batches) - 1, [*batches[-1].events, *batches[k - 1].events, *events])


@pytest.mark.parametrize(
    ("sabotage", "text"),
    [
        (elsewhere, "ends at 89, the index is 90"),
        (unfunded, "unfunded"),
        (below_zero, "ends with account"),
        (traded, "which has ended"),
    ],
)
def test_a_dishonest_delisting_is_named(sabotage: Callable[[Any], Any], text: str) -> None:
    assert not audit(run()).findings
    report = audit(sabotage(run()))
    assert rules_broken(report) & {"WFALL-05", "FUND-02"}
    assert any(text in finding.text for finding in report.findings)


# Runs


class Delisted(Crash):
    """A crash in which perpetuals are delisted again and again, at times with funding due."""

    def _step(self, *, falling: bool) -> None:
        super()._step(falling=falling)
        if self.random.random() < 0.06:
            later_ns = self.random.choice((0, 0, 50 * SECOND_NS))
            self.do(SettleInstrument(self.random.randrange(2)), later_ns=later_ns)


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_the_audit_agrees_on_delistings_in_a_crash_with_a_fund_that_bears_fills(seed: int) -> None:
    rules, _, house_usd = RULEBOOKS["a fund that bears fills"]
    rules = structs.replace(
        rules,
        mark=MarkRules(formula="index"),
        settlement=SettlementRules(perpetual="index"),
        liquidation=structs.replace(rules.liquidation, price_limit="none"),
    )
    run = Delisted(seed, rules, fund_usd=50_000, house_usd=house_usd)
    run.venue.check()
    events = [event for batch in run.batches for event in batch.events]
    assert of(events, Settled)
    paid = [e.atoms for e in of(events, says.StagePaid) if not e.deficit_id]
    report = audit(run.batches)
    assert report.findings == ()
    assert paid
    assert report.paid_by_stage["insurance"] >= sum(paid)
