"""The audit agrees with honest runs."""

import pytest

from tests.exchange.audit.crash import FORMS, RULEBOOKS, crash, shipped
from tests.venues import USD, Desk, future, rulebook, spot
from zerodebt.exchange import commands as ask
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import Audit, audit
from zerodebt.exchange.rules import profile_names


@pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name in RULEBOOKS for seed in ((1,) if name in FORMS else (1, 2))]
)
def test_the_audit_agrees_with_an_honest_run_and_rebuilds_its_holdings(name: str, seed: int) -> None:
    run = crash(name, seed)
    witness = Audit()
    for batch in run.batches:
        witness.feed(batch)
    report = witness.finish()
    assert not report.findings
    assert report.agrees
    statement = run.venue.view.statement()
    assert report.holdings_digest == statement.holdings_digest
    assert report.residual_open_atoms.get(0, 0) == statement.open_debt_atoms
    assert sum(share.atoms for share in report.receivables) == statement.receivable_atoms
    accounts = run.venue._state.accounts
    assert witness.balances() == {
        (account, pocket): atoms
        for pocket, row in enumerate(accounts.balances.cells)
        for account, atoms in enumerate(row.tolist())
        if atoms
    }
    assert witness.lots() == {
        (account, n): lots
        for n, row in enumerate(accounts.lots.cells)
        for account, lots in enumerate(row.tolist())
        if lots
    }
    assert report.holdings_digest == witness.digest()
    assert report.counts["liquidations"] > 0


@pytest.mark.parametrize("name", profile_names())
def test_the_audit_agrees_with_a_run_under_every_shipped_rulebook(name: str) -> None:
    assert audit(shipped(name, 2).batches).findings == ()


@pytest.mark.parametrize(("name", "seed"), [("book alone", 5), ("binance", 4)])
def test_a_maker_may_sell_spot_while_an_isolated_position_of_it_is_liquidated(name: str, seed: int) -> None:
    assert audit(crash(name, seed).batches).findings == ()


def test_a_vault_that_backs_nothing_is_a_customer() -> None:
    """It is liquidated like one, and its gains are socialised like anybody's."""
    desk = Desk(rulebook("book", "adl"), index=(100,))
    (vault,) = desk.open(60, role="vault")
    (rich,) = desk.open(10_000)
    desk.trade(vault, rich, 10, 100)
    assert any(isinstance(event, says.Deleveraged) for event in desk.index(90))
    assert audit(desk.batches).findings == ()
    desk = Desk(rulebook("book", "socialise"), index=(100,))
    (vault,) = desk.open(10_000, role="vault")
    (poor,) = desk.open(60)
    desk.trade(poor, vault, 10, 100)
    desk.order(vault, 1, 10, 90)
    desk.index(90)
    report = audit(desk.batches)
    assert report.findings == ()
    assert report.paid_by_stage == {"socialise": (10 * (100 - 90) - 60) * USD}


def test_a_vault_that_backs_nothing_any_more_answers_for_what_it_still_holds() -> None:
    """Of 10 lots that it took over it sold 4 and bought 4 back: those are its own."""
    desk = Desk(rulebook("book", "backstop", "adl"), index=(100,))
    before, after = desk.open(100, 1000, role="vault")
    loser, winner, other = desk.open(52, 10_000, 10_000)
    desk.ok(ask.SetBackstop(before, (0,)))
    desk.trade(loser, winner, 10, 100)
    desk.index(96)
    assert desk.lots(before) == 10
    desk.ok(ask.SetBackstop(after, (0,)))
    desk.trade(other, before, 4, 96)
    desk.trade(before, other, 4, 96)
    events = desk.index(70)
    (opened,) = (event for event in events if isinstance(event, says.DeficitOpened))
    assert [origin for origin, _ in opened.origins] == [before, loser]
    assert audit(desk.batches).findings == ()


def test_positions_loaded_as_cross_are_cross_whatever_was_set_before() -> None:
    desk = Desk(rulebook("book", "adl"))
    long, short = desk.open(100, 1000)
    desk.ok(ask.SetLeverage(long, 0, 10, "isolated"))
    desk.ok(ask.LoadPositions(0, 100, (long, short), (10, -10), (100, 100), (10, 10), (0, 0)))
    desk.index(99)
    desk.index(85)
    report = audit(desk.batches)
    assert report.findings == ()
    assert report.verdict == "HELD"


def test_a_margin_call_asks_for_what_collateral_counts_for() -> None:
    """Long 100 at 100 on 40 coins of 10: at 98 they count 360 less 200, and 20 leverage ask for 490 again."""
    collateral = [{"asset": "COIN", "decimals": 3, "ratio_ppb": 900_000_000}]
    rules = rulebook("book", "house", collateral=collateral, settlement={"call_to": "initial"})
    desk = Desk(rules, (future(), spot()))
    desk.index(100, 100, later_ns=0)
    account, other = desk.open(0, 10_000)
    desk.ok(ask.Deposit(1, account, (40_000,)))
    desk.trade(account, other, 100, 100)
    desk.index(98, 10)
    desk.ok(ask.SettleVariation(0, 98))
    desk.ok(ask.Deposit(0, account, (329 * USD,)))
    events = desk.ok(ask.Deposit(0, account, (1 * USD,)))
    assert any(isinstance(event, says.MarginCallEnded) for event in events)
    assert audit(desk.batches).findings == ()


@pytest.mark.parametrize("lots", [3, 5, 7])
def test_decrement_of_less_the_same_and_more_than_rests_agrees(lots: int) -> None:
    desk = Desk(index=(100,))
    (account,) = desk.open(1000)
    desk.order(account, 1, 5, 100)
    desk.order(account, -1, lots, 100, self_trade="decrement")
    assert audit(desk.batches).findings == ()
