"""What the report says of ledgers that look clean and are not.

Hand-made runs: wallet pocket 0, isolated margin of the one perpetual pocket 2.
"""

from tests.exchange.audit.crash import crash
from tests.exchange.audit.damage import edited
from tests.venues import ASSETS, T0, USD, Desk, perpetual, rulebook
from zerodebt.exchange import commands as ask
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import Report, audit
from zerodebt.exchange.events import FIRST_ACCOUNT, INSURANCE, Batch, Event

LONG, SHORT, INVENTORY = FIRST_ACCOUNT, FIRST_ACCOUNT + 1, FIRST_ACCOUNT + 2
MARGIN = len(ASSETS)


def told(*commands: tuple[Event, ...], waterfall: tuple[str, ...] = ("book", "adl")) -> Report:
    """A hand-made run: two customers with 1000 USD, a vault with 100, one perpetual marked at its index."""
    wallets = ((LONG, 0, 1000 * USD), (SHORT, 0, 1000 * USD), (INVENTORY, 0, 100 * USD))
    opening: list[tuple[Event, ...]] = [
        (says.Opened(rulebook(*waterfall), ASSETS, (perpetual(),)),),
        (says.AccountsOpened(LONG, 2, "customer"),),
        (says.AccountsOpened(INVENTORY, 1, "vault"),),
        (says.BackstopSet(INVENTORY, (0,)),),
        (says.Posted("deposit", (*wallets, (says.EXTERNAL, 0, -2100 * USD))),),
    ]
    return audit(Batch(k, T0 + k, events) for k, events in enumerate([*opening, *commands]))


def loaded(long: int, lots: int, isolated_usd: int = 0) -> tuple[Event, ...]:
    events: tuple[Event, ...] = (
        says.PositionsLoaded(
            0, 100, (long, SHORT), (lots, -lots), (100, 100), (20, 20), (isolated_usd * USD, 0)
        ),
    )
    if isolated_usd:
        legs = ((long, 0, -isolated_usd * USD), (long, MARGIN, isolated_usd * USD))
        events += (says.Posted("isolate", legs),)
    return events


def marked(price: int, previous: int | None) -> Event:
    return says.Marked(0, price, price, previous, (None, None, None), price, None, None, None)


START = (marked(100, None), says.FundingSampled(0, 0))


def clause(report: Report, letter: str) -> bool:
    return next(clause.holds for clause in report.clauses if clause.letter == letter)


def test_a_hand_made_run_without_a_loss_is_held() -> None:
    report = told(loaded(LONG, 10), START, (marked(99, 100),))
    assert report.agrees
    assert report.verdict == "HELD"


def test_a_winner_out_of_rank_is_not_held() -> None:
    """Every debt is zero, but clause (b) fails: the stated rank is not the ranking's."""
    desk = Desk(rulebook("book", "adl"), index=(100,))
    loser, winner = desk.open(60, 10_000)
    desk.trade(loser, winner, 10, 100)
    desk.index(90)
    assert audit(desk.batches).verdict == "HELD"
    report = audit(edited(says.Deleveraged, rank=lambda event: event.rank + 1)(desk.batches))
    assert [clause.letter for clause in report.clauses if not clause.holds] == ["b"]
    assert report.verdict == "RESIDUAL"


def test_a_backstop_that_the_rulebook_does_not_name_is_not_held() -> None:
    """Every debt is zero, but clause (f) fails: a customer, not a vault, is to pay."""
    report = told(loaded(LONG, 10), START, (says.BackstopSet(SHORT, (0,)),))
    assert [clause.letter for clause in report.clauses if not clause.holds] == ["f"]
    assert report.verdict == "RESIDUAL"


def test_a_ledger_that_floors_itself_at_zero_is_not_held() -> None:
    """10 lots fall by 150 on 1000 of margin; the wallet is made 0 and 500 stand in the deficit account."""
    crashed = (
        *START,
        says.Settled(0, -50),
        says.Posted(
            "settlement",
            ((LONG, 0, -1500 * USD), (SHORT, 0, 1500 * USD)),
        ),
        says.Posted("deficit", ((LONG, 0, 500 * USD), (says.DEFICIT, 0, -500 * USD))),
    )
    report = told(loaded(LONG, 10), crashed)
    assert report.verdict == "RESIDUAL"
    assert report.residual_open_atoms == {0: 500 * USD}
    assert not clause(report, "d")
    assert any(f.rule == "(d)" and "floored by 500000000 atoms" in f.text for f in report.findings)


def test_an_isolated_loss_that_eats_the_free_wallet_is_not_held() -> None:
    """10 lots fall by 40 on 300 of isolated margin; 100 are missing and taken from the free 700."""
    report = told(
        loaded(LONG, 10, isolated_usd=300),
        START,
        (marked(60, 100), says.Posted("isolate", ((LONG, 0, -100 * USD), (LONG, MARGIN, 100 * USD)))),
    )
    assert report.verdict == "RESIDUAL"
    assert not clause(report, "a")
    assert report.residual_arose_atoms == {0: 10 * (100 - 60) * USD - 300 * USD}
    assert any(f.rule == "(a)" and "free wallet" in f.text for f in report.findings)


def test_a_vault_under_water_behind_a_positive_balance_is_not_held() -> None:
    """10 lots in the vault fall by 30 on its 100 in cash: no balance is negative, its equity is."""
    report = told(loaded(INVENTORY, 10), START, (marked(70, 100),))
    assert report.agrees
    assert report.verdict == "RESIDUAL"
    assert not clause(report, "c")
    assert report.residual_open_atoms == {0: 10 * (100 - 70) * USD - 100 * USD}


def test_a_residual_with_positions_that_nobody_deleveraged_is_named() -> None:
    """11 lots fall by 99 on 1000, adl is in the list, and the 89 that are missing are given up at once."""
    missing = (11 * (100 - 1) - 1000) * USD
    opened = says.DeficitOpened(1, LONG, 0, 0, missing, ((LONG, missing),))
    report = told(loaded(LONG, 11), START, (marked(1, 100), opened, says.DeficitClosed(1, missing, 0)))
    text = f"nobody acts on account {LONG} before its positions were deleveraged"
    assert ("WFALL-01", text) in [(f.rule, f.text) for f in report.findings]


def test_a_debt_that_a_recovery_erases_was_a_debt() -> None:
    """10 lots fall by 99 on 1000 and come back, nothing was missing; with 11 lots 89 were."""
    report = told(
        loaded(LONG, 10), START, (says.StatusSet(0, False, False, False),),
        *((marked(price, before),) for price, before in ((1, 100), (1, 1), (100, 1))),
        waterfall=("book",),
    )  # fmt: skip
    assert report.verdict == "HELD BY INTERVENTION"
    short = told(
        loaded(LONG, 11), START, (says.StatusSet(0, False, False, False),),
        *((marked(price, before),) for price, before in ((1, 100), (1, 1), (100, 1))),
        waterfall=("book",),
    )  # fmt: skip
    assert short.verdict == "RESIDUAL"
    assert short.residual_arose_atoms == {0: 11 * (100 - 1) * USD - 1000 * USD}
    assert short.residual_open_atoms == {0: 0}


def test_a_book_without_payers_leaves_the_figures_that_the_venue_states() -> None:
    run = crash("book alone", 3)
    report = audit(run.batches)
    assert report.verdict == "RESIDUAL"
    closed = [
        event for batch in run.batches for event in batch.events if isinstance(event, says.DeficitClosed)
    ]
    stated = next(clause for clause in report.clauses if clause.letter == "d").figures[
        "residual_announced_atoms"
    ]
    assert stated == sum(event.residual_atoms for event in closed) > 0
    assert report.residual_arose_atoms[0] >= stated


def test_what_is_said_to_be_paid_is_what_left_the_payers() -> None:
    run = crash("everyone", 1)
    report = audit(run.batches)
    paid = {(entry.stage, entry.payer): entry.atoms for entry in report.paid}
    stated: dict[tuple[str, int], int] = {}
    for batch in run.batches:
        for event in batch.events:
            if isinstance(event, says.StagePaid):
                key = (event.stage, event.payer)
                stated[key] = stated.get(key, 0) + event.atoms
    assert paid == stated
    assert sum(share.atoms for share in report.receivables) == report.paid_by_stage.get("recourse", 0)


def test_capital_from_outside_during_the_run_is_an_intervention() -> None:
    desk = Desk(index=(100,))
    desk.open(1000)
    desk.ok(ask.Deposit(0, INSURANCE, (50 * USD,)))
    report = audit(desk.batches)
    assert report.verdict == "HELD BY INTERVENTION"
    assert "injected" in report.interventions[0].what


def test_capital_from_outside_for_a_serving_vault_is_an_intervention() -> None:
    desk = Desk(rulebook("book", "backstop", "adl"), index=(100,))
    (vault,) = desk.open(100, role="vault")
    desk.ok(ask.SetBackstop(vault, (0,)))
    assert audit(desk.batches).verdict == "HELD"
    desk.ok(ask.Deposit(0, vault, (50 * USD,)))
    assert audit(desk.batches).verdict == "HELD BY INTERVENTION"


def test_margin_isolated_out_of_a_pool_that_has_lost_it_is_named() -> None:
    """The wallet of 1000 holds an unrealised loss of 10 * 50; isolating 800 would leave a debt of 300."""
    moves = says.Posted("isolate", ((LONG, 0, -800 * USD), (LONG, MARGIN, 800 * USD)))
    report = told(loaded(LONG, 10), START, (marked(50, 100),), (moves,))
    assert report.verdict == "RESIDUAL"
    assert any(f.rule == "(a)" and "cross pool with equity 500000000" in f.text for f in report.findings)
