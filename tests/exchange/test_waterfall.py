"""Who pays for a deficit: every stage on its own, with its arithmetic.

The bankrupt account of most tests bought 10 lots at 100 with 60 USD; at 90 it has lost 100 and misses 40.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venues import USD, Desk, future, of, paid, perpetual, rulebook, spot
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Deposit,
    LoadPositions,
    PlaceOrder,
    SetBackstop,
    SetLeverage,
    Trigger,
    Withdraw,
)
from zerodebt.exchange.events import (
    DEFICIT,
    FINANCIER,
    HOUSE,
    INSURANCE,
    ROUNDING,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    Event,
    Filled,
    OrderClosed,
    ReceivableBooked,
    StageArmed,
    TakenOver,
)
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.waterfall import adl, socialise
from zerodebt.exchange.waterfall.adl import Candidate
from zerodebt.exchange.waterfall.origins import Lineage, consume, deficit_origins
from zerodebt.exchange.waterfall.socialise import Payer, PayerShare

RICH = 1_000_000


@pytest.mark.spec("WFALL-08")
def test_share_of_a_socialised_loss_is_cut_at_what_its_payer_has_and_not_shared_again() -> None:
    """100 over gains of 60, 30 and 10: the first can give 15 and the last nothing."""
    payers = [Payer(16, 0, 60, 15), Payer(17, 0, 30, 30), Payer(18, 0, 10, 0), Payer(19, 0)]
    assert socialise.shares(100, payers) == [PayerShare(payers[0], 15), PayerShare(payers[1], 30)]
    assert socialise.shares(50, payers) == [PayerShare(payers[0], 15), PayerShare(payers[1], 15)]
    assert socialise.shares(50, payers[3:]) == []
    assert socialise.shares(3, [Payer(16, 0, 3, 3), Payer(19, 0)]) == [PayerShare(Payer(16, 0, 3, 3), 3)]


@pytest.mark.spec("WFALL-02", "WFALL-05")
@pytest.mark.parametrize(
    ("missing", "collected", "is_dust"), [(10, 1000, True), (11, 1000, False), (10, 9, False)]
)
def test_ten_atoms_are_dust_as_far_as_the_venue_has_collected_any(
    missing: int, collected: int, is_dust: bool
) -> None:
    """10 lots of an atom a tick, sold at 93: a loss of 70 atoms, of which some are missing."""
    desk = Desk(rulebook("book", "house"), (perpetual(tick_value_atoms=1),), index=(100,))
    account, maker = desk.open(0, RICH)
    desk.ok(Deposit(0, account, (70 - missing,)))
    desk.ok(Deposit(0, HOUSE, (1000,)))
    desk.state.ledger.post("rounding", [(ROUNDING, 0, collected), (maker, 0, -collected)])
    desk.trade(account, maker, 10, 100)
    desk.order(maker, BUY, 10, 93)
    events = desk.index(93)
    assert [e.atoms for e in of(events, DeficitOpened)] == ([] if is_dust else [missing])
    assert desk.cash(ROUNDING) == collected - (missing if is_dust else 0)
    assert desk.cash(HOUSE) == 1000 - (0 if is_dust else missing)
    assert desk.cash(account) == 0


def candidate(account: int = 16, **changes: Any) -> Candidate:
    values: dict[str, Any] = {
        "account": account,
        "pocket": 0,
        "lots": -4,
        "value_atoms": 3600,
        "entry_atoms": 4000,
        "profit_atoms": 400,
        "equity_atoms": 10_400,
        "wallet_atoms": 10_000,
        "maintenance_atoms": 90,
    }
    return Candidate(**(values | changes))


def test_hyperliquid_ranks_by_leverage_times_profit() -> None:
    score = adl.score_ppb("hyperliquid", candidate())
    assert score == 3600 * 400 * 10**9 // (10_400 * 4000)


def test_binance_ranks_by_profit_ratio_times_margin_ratio() -> None:
    score = adl.score_ppb("binance", candidate())
    assert score == 400 * 90 * 10**9 // (10_000 * (10_000 + 400))


@pytest.mark.parametrize("name", ["hyperliquid", "binance"])
@pytest.mark.parametrize("changes", [{"profit_atoms": 0}, {"profit_atoms": -1}, {"equity_atoms": 0}])
def test_without_profit_or_equity_nobody_is_ranked(name: str, changes: dict[str, int]) -> None:
    assert adl.score_ppb(name, candidate(**changes)) == 0
    assert adl.rank(name, [candidate(**changes)]) == []


def test_binance_wallet_of_nothing_counts_as_one_atom() -> None:
    wallet = candidate(wallet_atoms=0)
    assert adl.score_ppb("binance", wallet) == 400 * 90 * 10**9 // (1 * 400)
    assert adl.score_ppb("binance", candidate(wallet_atoms=-400)) == 0


@pytest.mark.spec("WFALL-03")
def test_ranks_descend_by_score_and_equals_go_by_account() -> None:
    low = candidate(17, profit_atoms=1)
    ranked = adl.rank("hyperliquid", [low, candidate(19), candidate(18)])
    assert [(r.candidate.account, r.rank) for r in ranked] == [(18, 1), (19, 2), (17, 3)]
    assert ranked[0].score_ppb == ranked[1].score_ppb > ranked[2].score_ppb


@pytest.mark.spec("WFALL-04")
@given(st.integers(0, 50), st.integers(-50, 50).filter(bool), st.integers(-10, 1000), st.integers(-5, 50))
def test_winner_gives_no_more_lots_than_he_has_and_stays_above_zero(
    wanted: int, held: int, equity: int, charge: int
) -> None:
    lots = adl.lots_to_take(wanted, held, equity, charge)
    assert 0 <= lots <= min(wanted, abs(held))
    if lots and charge > 0:
        assert equity - lots * charge >= 0
    if charge > 0 and lots < min(wanted, abs(held)):
        assert equity - (lots + 1) * charge < 0


@pytest.mark.spec("WFALL-08")
@given(
    st.integers(0, 2000), st.lists(st.integers(1, 500), max_size=6).map(lambda gains: list(enumerate(gains)))
)
def test_socialised_loss_sums_exactly_and_nobody_pays_more_than_he_won(
    deficit: int, winners: list[tuple[int, int]]
) -> None:
    paid = socialise.shares(deficit, [Payer(account, 0, gain, gain) for account, gain in winners])
    gains = dict(winners)
    assert sum(share.atoms for share in paid) == (min(deficit, sum(gains.values())) if winners else 0)
    assert all(0 < share.atoms <= gains[share.payer.account] for share in paid)


def test_origins_split_a_deficit_by_the_value_still_held() -> None:
    lineage = Lineage([(17, 10), (18, 30)])
    assert deficit_origins(16, 100, [(lineage, 5)]) == ((17, 25), (18, 75))
    consume(lineage, 15)
    assert list(lineage) == [(18, 25)]
    assert deficit_origins(16, 100, [(lineage, 5)]) == ((18, 100),)
    consume(lineage, 99)
    assert deficit_origins(16, 100, [(lineage, 5)]) == ((16, 100),)
    assert deficit_origins(16, 100, []) == ((16, 100),)


def test_takeover_that_is_closed_whole_is_forgotten() -> None:
    lineage = Lineage([(17, 10), (18, 30)])
    consume(lineage, 10)
    assert list(lineage) == [(18, 30)]


def test_origin_of_several_takeovers_answers_for_all_of_them() -> None:
    """Lots worth 1 and 5: account 17 is behind 1 * 1 + 1 * 5 = 6, account 18 behind 2 * 1, of 8 in all."""
    held = [(Lineage([(17, 1), (18, 2)]), 1), (Lineage([(17, 1)]), 5)]
    assert deficit_origins(16, 80, held) == ((17, 60), (18, 20))


def bankrupt(
    *waterfall: str, bid: int | None = 90, winners: int = 1, **tables: Any
) -> tuple[Desk, int, list[int]]:
    """An account that will miss 40 USD at 90, its counterparty, and somebody who bids."""
    desk = Desk(rulebook(*waterfall, **tables), index=(100,))
    loser, *others = desk.open(60, *[RICH] * (winners + 1))
    for k in range(winners):
        desk.trade(loser, others[k], 10 // winners, 100)
    if bid is not None:
        desk.order(others[-1], BUY, 10, bid)
    return desk, loser, others


def armed(events: list[Event]) -> list[str]:
    return [e.stage for e in of(events, StageArmed)]


@pytest.mark.spec("WFALL-02")
@pytest.mark.parametrize("reserve", [0, 7])
def test_with_the_book_alone_the_residual_stays_on_the_deficit_account(reserve: int) -> None:
    desk, loser, _ = bankrupt("book")
    if reserve:
        desk.ok(Deposit(0, INSURANCE, (reserve * USD,)))
    events = desk.index(90)
    assert armed(events) == ["book"]
    assert of(events, DeficitOpened) == [DeficitOpened(1, loser, 0, 0, 40 * USD, ((loser, 40 * USD),))]
    assert of(events, DeficitClosed) == [DeficitClosed(1, 40 * USD, 0)]
    assert desk.cash(DEFICIT) == -40 * USD
    assert desk.cash(INSURANCE) == reserve * USD, "a fund that the rulebook does not name pays nothing"
    assert desk.cash(loser) == desk.lots(loser) == 0


@pytest.mark.spec("WFALL-06")
def test_while_a_compartment_is_below_zero_nobody_withdraws() -> None:
    desk, loser, others = bankrupt("book", bid=None)
    desk.index(90)
    assert desk.equity(loser) == -40 * USD
    assert desk.venue.view.withdrawable_atoms(others[0]) == 0
    assert desk.refused(Withdraw(others[0], 0, 1)) == RejectReason.DEFICIT_OPEN


@pytest.mark.spec("WFALL-01", "WFALL-02")
@pytest.mark.parametrize("fund", [40, 39, 0])
def test_fund_takes_the_position_when_it_can_bear_it_and_else_it_is_deleveraged(fund: int) -> None:
    desk, loser, others = bankrupt("book", "insurance", "adl")
    if fund:
        desk.ok(Deposit(0, INSURANCE, (fund * USD,)))
    events = desk.index(90)
    assert desk.lots(loser) == desk.cash(loser) == desk.cash(DEFICIT) == 0
    if fund == 40:
        assert paid(events) == [("insurance", INSURANCE, 40 * USD)]
        assert of(events, TakenOver) == [TakenOver(loser, 0, INSURANCE, 0, 10, 90)]
        assert desk.lots(INSURANCE) == 10
        assert not of(events, Deleveraged)
    else:
        assert [(e.winner, e.lots, e.price_ticks, e.transfer_atoms) for e in of(events, Deleveraged)] == [
            (others[0], -10, 94, 10 * (94 - 90) * USD)
        ]
        assert desk.cash(INSURANCE) == fund * USD
    assert desk.equity(INSURANCE) >= 0


@pytest.mark.spec("WFALL-01")
def test_fund_with_a_position_under_water_is_itself_deleveraged() -> None:
    desk, _, others = bankrupt("book", "insurance", "adl")
    desk.ok(Deposit(0, INSURANCE, (50 * USD,)))
    desk.index(90)
    assert (desk.lots(INSURANCE), desk.equity(INSURANCE)) == (10, 10 * USD)
    events = desk.index(85)
    assert [e.account for e in of(events, DeficitOpened)] == [INSURANCE]
    assert [(e.winner, e.price_ticks) for e in of(events, Deleveraged)] == [(others[0], 85 + 4)]
    assert (desk.lots(INSURANCE), desk.equity(INSURANCE)) == (0, 0)


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize(
    ("price", "house", "at", "covered", "by_house", "overcharge"),
    [
        ("bankruptcy", 1000, 94, 40, 0, 0),
        ("mark", 1000, 90, 0, 40, 0),
        ("mark", 40, 90, 0, 40, 0),
        ("mark", 39, 94, 40, 0, 0),
        ("previous_mark", 1000, 95, 50, 0, 10),
    ],
)
def test_deleveraging_is_at_the_rulebooks_price_unless_nobody_can_bear_the_rest(
    price: str, house: int, at: int, covered: int, by_house: int, overcharge: int
) -> None:
    """The mark was 95 and is 90: at 90 the account misses 40, at 94 nothing, at 95 it keeps 10."""
    desk = Desk(rulebook("book", "adl", "house", adl={"price": price}), index=(100,))
    loser, winner = desk.open(60, RICH)
    desk.ok(Deposit(0, HOUSE, (house * USD,)))
    desk.trade(loser, winner, 10, 100)
    desk.index(95)
    events = desk.index(90)
    (opened,) = of(events, DeficitOpened)
    assert opened.atoms == 40 * USD
    assert [(e.price_ticks, e.transfer_atoms) for e in of(events, Deleveraged)] == [(at, covered * USD)]
    assert [atoms for stage, _, atoms in paid(events) if stage == "house"] == (
        [by_house * USD] if by_house else []
    )
    assert of(events, DeficitClosed) == [DeficitClosed(opened.deficit_id, 0, overcharge * USD)]
    assert desk.lots(loser) == 0
    assert desk.equity(loser) == overcharge * USD


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize(
    ("vault", "fund", "house"), [(10, 15, 15), (0, 20, 20), (20, 0, 20), (20, 20, 0), (0, 0, 40), (0, 40, 0)]
)
@pytest.mark.parametrize("lacking", [0, 1])
def test_deleveraging_is_at_the_mark_where_all_payers_together_can_bear_the_rest(
    vault: int, fund: int, house: int, lacking: int
) -> None:
    """40 are missing at the mark of 90; where an atom lacks the winner pays, at 94."""
    stages = ("book", "backstop", "adl", "insurance", "house")
    desk = Desk(rulebook(*stages, adl={"price": "mark"}), index=(100,))
    (backstop,) = desk.open(0, role="vault")
    loser, winner = desk.open(60, RICH)
    desk.ok(SetBackstop(backstop, (0,)))
    brought = {backstop: vault * USD, INSURANCE: fund * USD, HOUSE: house * USD}
    last = max(brought, key=lambda payer: brought[payer])
    brought[last] -= lacking
    for payer, atoms in brought.items():
        if atoms:
            desk.ok(Deposit(0, payer, (atoms,)))
    desk.trade(loser, winner, 10, 100)
    events = desk.index(90)
    assert [e.price_ticks for e in of(events, Deleveraged)] == [94 if lacking else 90]
    assert [e.residual_atoms for e in of(events, DeficitClosed)] == [0]
    assert sum(atoms for _, _, atoms in paid(events)) == (0 if lacking else 40 * USD)


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize("cancels", [True, False])
def test_whoever_is_deleveraged_loses_his_orders_where_the_rulebook_says_so(cancels: bool) -> None:
    """In all instruments, waiting ones too; who is not asked keeps his."""
    rules = rulebook("book", "adl", adl={"cancels_orders": cancels})
    desk = Desk(rules, (perpetual(), perpetual("ETH")), index=(100, 100))
    loser, winner, other = desk.open(60, RICH, RICH)
    desk.trade(loser, winner, 10, 100)
    bid = desk.order(winner, BUY, 1, 50)
    quote = desk.order(winner, SELL, 1, 300, instrument=1)
    desk.ok(PlaceOrder(winner, 1, BUY, 1, trigger=Trigger("stop", "mark", 200)))
    desk.order(other, BUY, 1, 50)
    events = desk.index(90, 100)
    assert [e.winner for e in of(events, Deleveraged)] == [winner]
    closed = [e for e in of(events, OrderClosed) if e.reason == "deleveraged"]
    assert [e.order_id for e in closed] == ([bid, quote, quote + 1] if cancels else [])
    assert len(desk.state.orders) == (1 if cancels else 3)
    assert not audit(desk.batches).findings


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize(("fund", "at", "covered", "by_fund"), [(18, 100, 36, 18), (17, 102, 54, 0)])
def test_deleveraging_stays_at_the_previous_mark_where_the_fund_behind_it_can_bear_the_rest(
    fund: int, at: int, covered: int, by_fund: int
) -> None:
    """At 96, with 60 - 40 against 24, one lot goes to the book at 22: 9 lots stay, and 60 - 78 = -18 in cash.

    At the previous mark, 100, these 18 are missing; at 96 it is 18 + 9 * 4 = 54, which is 6 a lot.
    """
    desk = Desk(rulebook("book", "adl", "insurance", adl={"price": "previous_mark"}), index=(100,))
    loser, winner, bidder = desk.open(60, RICH, RICH)
    desk.ok(Deposit(0, INSURANCE, (fund * USD,)))
    desk.trade(loser, winner, 10, 100)
    desk.order(bidder, BUY, 1, 22)
    events = desk.index(96)
    assert [(e.price_ticks, e.transfer_atoms) for e in of(events, Deleveraged)] == [(at, covered * USD)]
    assert paid(events) == ([("insurance", INSURANCE, by_fund * USD)] if by_fund else [])
    assert desk.cash(INSURANCE) == (fund - by_fund) * USD
    assert desk.lots(loser) == desk.equity(loser) == 0


@pytest.mark.spec("WFALL-03")
@pytest.mark.parametrize("score", ["hyperliquid", "binance"])
def test_higher_ranked_winners_go_first_and_the_last_only_in_part(score: str) -> None:
    """Shorts of 4, 4 and 4 lots entered at 120, 110 and 105 against equal wallets; 10 lots are taken."""
    desk = Desk(rulebook("book", "adl", adl={"score": score}))
    loser, first, second, third, other = desk.open(60, 1000, 1000, 1000, RICH)
    desk.ok(
        LoadPositions(
            0,
            100,
            (loser, third, second, first, other),
            (10, -4, -4, -4, 2),
            (100, 105, 110, 120, 100),
            (1,) * 5,
            (0,) * 5,
        )
    )
    desk.index(100)
    events = desk.index(90)
    taken = of(events, Deleveraged)
    assert [(e.winner, e.lots, e.rank) for e in taken] == [(first, -4, 1), (second, -4, 2), (third, -2, 3)]
    assert [e.profit_atoms for e in taken] == [
        4 * (120 - 94) * USD,
        4 * (110 - 94) * USD,
        2 * (105 - 94) * USD,
    ]
    assert sum(e.transfer_atoms for e in taken) == 40 * USD
    assert desk.equity(loser) == 0


@pytest.mark.spec("WFALL-04")
def test_winner_is_never_charged_below_zero_and_the_rest_moves_down_the_ranking() -> None:
    """The first short has 8 of equity at 90 and is charged 4 a lot: 2 of his lots, then the next."""
    desk = Desk(rulebook("book", "adl"))
    loser, poor, rich = desk.open(60, 1, RICH)
    desk.ok(LoadPositions(0, 100, (loser, poor, rich), (10, -5, -5), (100, 100, 100), (1, 1, 1), (0, 0, 0)))
    desk.state.ledger.post("withdrawal", [(poor, 0, -43 * USD), (0, 0, 43 * USD)])
    events = desk.index(90)
    assert [(e.winner, e.lots) for e in of(events, Deleveraged)][:2] == [(poor, -2), (rich, -5)]
    assert desk.equity(poor) >= 0


@pytest.mark.spec("WFALL-02", "WFALL-03")
@pytest.mark.parametrize("plan", ["now", "before"])
def test_lots_that_nobody_can_answer_for_leave_their_deficit_to_the_house(plan: str) -> None:
    """The only counterparty entered below the mark, makes no profit and is not ranked."""
    desk = Desk(rulebook("book", "adl", "house", adl={"plan": plan}))
    loser, other = desk.open(60, RICH)
    desk.ok(Deposit(0, HOUSE, (RICH * USD,)))
    desk.ok(LoadPositions(0, 100, (loser, other), (10, -10), (100, 80), (1, 1), (0, 0)))
    events = desk.index(90)
    assert not of(events, Deleveraged)
    assert paid(events) == [("house", HOUSE, 40 * USD)]
    assert desk.equity(loser) == 0


@pytest.mark.spec("WFALL-08")
def test_holders_bear_a_deficit_alone_whose_own_lots_nobody_could_take() -> None:
    """The other entered below the mark and is not asked for lots. He pays all 40, not his half of 20 lots."""
    desk = Desk(rulebook("book", "adl", "socialise", socialise={"form": "funding_index"}))
    loser, other = desk.open(60, RICH)
    desk.ok(LoadPositions(0, 100, (loser, other), (10, -10), (100, 80), (1, 1), (0, 0)))
    events = desk.index(90)
    assert paid(events) == [("socialise", other, 40 * USD)]
    assert (desk.lots(loser), desk.equity(loser)) == (10, 0)


@pytest.mark.spec("WFALL-08", "LIQ-12")
def test_owner_of_a_bankrupt_isolated_position_is_no_winner_of_the_session() -> None:
    """It lost 100 of a margin of 50; beside it his cross lots have won 200, somebody else's 100."""
    desk = Desk(rulebook("book", "socialise"), (perpetual(), perpetual("ETH")), index=(100, 100))
    owner, short, maker = desk.open(1000, RICH, RICH)
    desk.ok(SetLeverage(owner, 0, 20, "isolated"))
    desk.trade(owner, short, 10, 100)
    desk.trade(owner, maker, 20, 100, instrument=1)
    desk.order(maker, BUY, 10, 90)
    events = desk.index(90, 110)
    assert [e.atoms for e in of(events, DeficitOpened)] == [50 * USD]
    assert paid(events) == [("socialise", short, 50 * USD)]


ZERO, STILL = "equity is below zero", "equity is still below zero"
SHARE = "equity is below the backstop's share of the requirement"
EMPTY = "equity is below the requirement and the book is empty"


@pytest.mark.spec("WFALL-01")
@pytest.mark.parametrize(
    ("waterfall", "tables", "mark", "why"),
    [
        (("backstop", "adl"), {}, 95, [("backstop", 10, SHARE)]),
        (("insurance", "adl"), {}, 90, [("insurance", -40, "equity is below zero and the fund can take it")]),
        (("insurance",), {"insurance": {"takes": "unfilled"}}, 96, [("insurance", 20, EMPTY)]),
        (("insurance", "adl"), {"adl": {"trigger": "unfilled"}}, 96, [("adl", 20, EMPTY)]),
        (("adl",), {}, 90, [("adl", -40, ZERO)]),
        (("adl", "house"), {"adl": {"price": "mark"}}, 90, [("adl", -40, ZERO), ("house", -40, STILL)]),
    ],
)
def test_each_stage_says_where_the_account_stood_and_why_it_was_armed(
    waterfall: tuple[str, ...], tables: dict[str, Any], mark: int, why: list[tuple[str, int, str]]
) -> None:
    """10 lots need 1/40 of their value, and none after they were taken; nobody bids."""
    desk = Desk(rulebook("book", *waterfall, **tables), index=(100,))
    (vault,) = desk.open(1000, role="vault")
    loser, winner = desk.open(60, RICH)
    if "backstop" in waterfall:
        desk.ok(SetBackstop(vault, (0,)))
    for absorber in (HOUSE, INSURANCE):
        desk.ok(Deposit(0, absorber, (1000 * USD,)))
    desk.trade(loser, winner, 10, 100)
    events = desk.index(mark)
    needed = {stage: 10 * mark * USD // 40 for stage, _, _ in why} | {"house": 0}
    assert of(events, StageArmed) == [
        StageArmed(stage, loser, 0, equity * USD, needed[stage], because)  # type: ignore[arg-type]
        for stage, equity, because in why
    ]


@pytest.mark.spec("WFALL-08")
def test_socialised_loss_is_shared_by_what_each_has_won_in_the_session() -> None:
    """Two shorts of 6 and 4 lots have won 60 and 40: of the 40 missing they pay 24 and 16."""
    desk = Desk(rulebook("book", "socialise"), index=(100,))
    loser, six, four, bidder = desk.open(60, RICH, RICH, RICH)
    desk.trade(loser, six, 6, 100)
    desk.trade(loser, four, 4, 100)
    desk.order(bidder, BUY, 10, 90)
    events = desk.index(90)
    assert paid(events) == [("socialise", six, 24 * USD), ("socialise", four, 16 * USD)]
    assert desk.equity(bidder) == RICH * USD


@pytest.mark.spec("WFALL-01", "WFALL-08")
def test_what_the_winners_cannot_bear_goes_to_the_house() -> None:
    """The only gain is 100, by a winner whose own equity is 30: he pays 30, the house 10."""
    desk, loser, others = bankrupt("book", "socialise", "house")
    desk.ok(Deposit(0, HOUSE, (15 * USD,)))
    desk.state.ledger.post("withdrawal", [(others[0], 0, -(RICH + 70) * USD), (0, 0, (RICH + 70) * USD)])
    desk.state.accounts.session_base.cells[0][others[0]] = -70 * USD
    events = desk.index(90)
    assert paid(events) == [("socialise", others[0], 30 * USD), ("house", HOUSE, 10 * USD)]
    assert desk.cash(HOUSE) == 5 * USD
    assert desk.equity(others[0]) == desk.equity(loser) == 0


@pytest.mark.spec("WFALL-01")
def test_house_pays_to_its_cap_and_the_residual_is_named() -> None:
    desk, loser, _ = bankrupt("book", "house")
    desk.ok(Deposit(0, HOUSE, (15 * USD,)))
    events = desk.index(90)
    assert paid(events) == [("house", HOUSE, 15 * USD)]
    assert of(events, DeficitClosed) == [DeficitClosed(1, (40 - 15) * USD, 0)]
    assert desk.cash(DEFICIT) == -(40 - 15) * USD
    assert desk.equity(loser) == desk.cash(HOUSE) == 0


def test_recourse_books_a_receivable_that_the_financier_carries() -> None:
    desk, loser, _ = bankrupt("book", "recourse", promise="none")
    events = desk.index(90)
    assert of(events, ReceivableBooked) == [ReceivableBooked(1, loser, 0, 40 * USD)]
    assert paid(events) == [("recourse", FINANCIER, 40 * USD)]
    assert desk.cash(FINANCIER) == -40 * USD
    assert desk.cash(DEFICIT) == desk.cash(loser) == 0
    assert desk.state.receivables == {loser: 40 * USD}


@pytest.mark.spec("WFALL-01", "WFALL-07")
def test_backstop_takes_positions_and_all_that_is_left_below_two_thirds() -> None:
    """At 95 the account has 10 of equity against 23.75: the vault gets 10 lots at 95 and the 10."""
    desk = Desk(rulebook("book", "backstop", "adl"), index=(100,))
    (vault,) = desk.open(1000, role="vault")
    a, b = desk.open(60, RICH)
    desk.ok(SetBackstop(vault, (0,)))
    desk.trade(a, b, 10, 100)
    events = desk.index(95)
    assert armed(events) == ["backstop"]
    assert of(events, TakenOver) == [TakenOver(a, 0, vault, 0, 10, 95)]
    assert (desk.lots(a), desk.cash(a)) == (0, 0)
    assert (desk.lots(vault), desk.cash(vault)) == (10, (1000 + 60 - 50) * USD)
    assert not of(events, Filled)


@pytest.mark.spec("WFALL-01")
def test_backstop_leaves_an_account_above_two_thirds_to_the_book() -> None:
    """At 96 equity 20 against 24: above 16."""
    desk = Desk(rulebook("book", "backstop", "adl"), index=(100,))
    (vault,) = desk.open(1000, role="vault")
    a, b = desk.open(60, RICH)
    desk.ok(SetBackstop(vault, (0,)))
    desk.trade(a, b, 10, 100)
    assert armed(desk.index(96)) == []
    desk.order(b, BUY, 10, 96)
    assert armed(desk.tick(0)) == ["book"]


@pytest.mark.spec("WFALL-07", "NUM-04")
@pytest.mark.parametrize(("left", "shares"), [(15 * USD, (10 * USD, 5 * USD)), (1, (1, 0)), (0, (0, 0))])
def test_two_vaults_share_the_margin_by_the_value_of_what_they_take(
    left: int, shares: tuple[int, int]
) -> None:
    """10 and 5 lots at 95: 75 are lost, and what is left goes two to one."""
    desk = Desk(rulebook("book", "backstop", "adl"), (perpetual(), perpetual("ETH")), index=(100, 100))
    vaults = desk.open(1000, 1000, role="vault")
    account, other = desk.open(75, RICH)
    desk.ok(Deposit(0, other, (USD,)))
    desk.state.ledger.post("deposit", [(account, 0, left), (other, 0, -left)])
    for n, lots in ((0, 10), (1, 5)):
        desk.ok(SetBackstop(vaults[n], (n,)))
        desk.trade(account, other, lots, 100, instrument=n)
    desk.index(95, 95)
    assert [desk.lots(vault, n) for n, vault in enumerate(vaults)] == [10, 5]
    assert [desk.cash(vault) - 1000 * USD for vault in vaults] == list(shares)
    assert (desk.lots(account), desk.lots(account, 1), desk.cash(account)) == (0, 0, 0)


@pytest.mark.spec("WFALL-07")
@pytest.mark.parametrize("margin", ["cross", "isolated"])
def test_vault_takes_collateral_and_what_is_owed_against_it_and_neither_of_an_isolated_position(
    margin: Any,
) -> None:
    """10 coins at 10 count half. In cross 60 are lost of 20; an isolated margin of 50 has 10 left at 96."""
    coin = {"asset": "COIN", "decimals": 3, "ratio_ppb": 500_000_000}
    rules = rulebook("book", "backstop", "adl", collateral=[coin])
    desk = Desk(rules, (perpetual(), spot()), index=(100, 10))
    (vault,) = desk.open(1000, role="vault")
    account, other = desk.open(20 if margin == "cross" else 60, RICH)
    desk.ok(Deposit(1, account, (10_000,)))
    desk.ok(SetBackstop(vault, (0,)))
    desk.ok(SetLeverage(account, 0, 20, margin))
    desk.trade(account, other, 10, 100)
    desk.index(94 if margin == "cross" else 96, 10)
    assert (desk.lots(vault), desk.lots(account)) == (10, 0)
    wallet = {
        vault: (desk.cash(vault), desk.cash(vault, 1)),
        account: (desk.cash(account), desk.cash(account, 1)),
    }
    if margin == "cross":
        assert wallet == {vault: ((1000 + 20 - 60) * USD, 10_000), account: (0, 0)}
    else:
        assert wallet == {vault: ((1000 + 50 - 40) * USD, 0), account: (10 * USD, 10_000)}


def test_vault_takes_a_position_that_is_worth_nothing_with_all_its_margin() -> None:
    """10 lots from 5 to 0 need a dollar a lot; 5 of 55 are left."""
    contract = future(leverage=20, margin_floor_atoms_per_lot=USD, initial_atoms_per_lot=2 * USD)
    desk = Desk(rulebook("book", "backstop", "adl"), (contract,), index=(5,))
    (vault,) = desk.open(1000, role="vault")
    account, other = desk.open(55, RICH)
    desk.ok(SetBackstop(vault, (0,)))
    desk.trade(account, other, 10, 5)
    desk.index(0)
    assert (desk.lots(vault), desk.cash(vault), desk.cash(account)) == (10, 1005 * USD, 0)


@pytest.mark.spec("WFALL-07", "ATK-02")
def test_vault_takes_no_more_than_its_cap_and_leaves_the_rest_to_the_book() -> None:
    """Two accounts with 10 lots each at 95: 950 of the first fit the cap of 1,000, the second waits.

    It is sold to a bid above its bankruptcy price of 94.
    """
    cap = {"backstop_notional_max_atoms": 1_000 * USD, "price_limit": "bankruptcy"}
    desk = Desk(rulebook("book", "backstop", "adl", liquidation=cap), index=(100,))
    (vault,) = desk.open(1000, role="vault")
    first, second, other = desk.open(60, 60, RICH)
    desk.ok(SetBackstop(vault, (0,)))
    for account in (first, second):
        desk.trade(account, other, 10, 100)
    events = desk.index(95)
    assert of(events, TakenOver) == [TakenOver(first, 0, vault, 0, 10, 95)]
    assert (desk.lots(vault), desk.lots(second)) == (10, 10)
    desk.order(other, BUY, 10, 94)
    assert armed(desk.tick(0)) == ["book"]
    assert (desk.lots(vault), desk.lots(second)) == (10, 0)
    assert audit(desk.batches).findings == ()


@pytest.mark.spec("WFALL-07")
@pytest.mark.parametrize(("cap", "takes"), [(950, True), (949, False)])
def test_vault_takes_a_position_that_is_worth_just_its_cap(cap: int, takes: bool) -> None:
    """10 lots at 95."""
    capped = {"backstop_notional_max_atoms": cap * USD}
    desk = Desk(rulebook("book", "backstop", "adl", liquidation=capped), index=(100,))
    (vault,) = desk.open(1000, role="vault")
    account, other = desk.open(60, RICH)
    desk.ok(SetBackstop(vault, (0,)))
    desk.trade(account, other, 10, 100)
    assert bool(of(desk.index(95), TakenOver)) is takes


@pytest.mark.spec("WFALL-07")
def test_vault_at_its_cap_takes_what_makes_its_position_smaller() -> None:
    """It is long 10 lots; a short account's 10 lots bring it to none."""
    cap = {"backstop_notional_max_atoms": 1_000 * USD}
    desk = Desk(rulebook("book", "backstop", "adl", liquidation=cap), index=(100,))
    (vault,) = desk.open(1000, role="vault")
    long, short, other = desk.open(60, 60, RICH)
    desk.ok(SetBackstop(vault, (0,)))
    desk.trade(long, other, 10, 100)
    desk.index(95)
    desk.trade(other, short, 10, 95)
    events = desk.index(100)
    assert of(events, TakenOver) == [TakenOver(short, 0, vault, 0, -10, 100)]
    assert desk.lots(vault) == 0
    assert audit(desk.batches).findings == ()


@pytest.mark.spec("WFALL-07", kind="X")
def test_vault_below_zero_is_deleveraged_for_those_whose_positions_it_took() -> None:
    """It took 10 lots at 95 with 10; with 20 of its own it misses 70 at 85. The origin is the account."""
    desk = Desk(rulebook("book", "backstop", "adl"), index=(100,))
    (vault,) = desk.open(20, role="vault")
    a, b = desk.open(60, RICH)
    desk.ok(SetBackstop(vault, (0,)))
    desk.trade(a, b, 10, 100)
    desk.index(95)
    events = desk.index(85)
    missing = (10 * (95 - 85) - 20 - 10) * USD
    assert [(e.account, e.atoms, e.origins) for e in of(events, DeficitOpened)] == [
        (vault, missing, ((a, missing),))
    ]
    assert [(e.winner, e.price_ticks) for e in of(events, Deleveraged)] == [(b, 85 + 7)]
    assert (desk.lots(vault), desk.equity(vault)) == (0, 0)


@pytest.mark.spec("WFALL-01")
def test_gap_below_zero_skips_the_backstops_takeover_and_lets_the_vault_pay_the_difference() -> None:
    """With the previous mark at 100 no winner is charged more than (100 - 90) a lot: here he pays all 40."""
    desk = Desk(rulebook("book", "backstop", "adl", adl={"price": "mark"}), index=(100,))
    (vault,) = desk.open(1000, role="vault")
    a, b = desk.open(60, RICH)
    desk.ok(SetBackstop(vault, (0,)))
    desk.trade(a, b, 10, 100)
    events = desk.index(90)
    assert armed(events) == ["adl", "backstop"]
    assert not of(events, TakenOver)
    assert [(e.price_ticks, e.transfer_atoms) for e in of(events, Deleveraged)] == [(90, 0)]
    assert paid(events) == [("backstop", vault, 40 * USD)]
    assert desk.cash(vault) == (1000 - 40) * USD


@pytest.mark.spec("LIQ-12")
def test_deficit_of_an_isolated_position_leaves_the_wallet_alone() -> None:
    desk = Desk(rulebook("book", "adl"), index=(100,))
    a, b = desk.open(1000, RICH)
    desk.ok(SetLeverage(a, 0, 20, "isolated"))
    desk.trade(a, b, 10, 100)
    margin = desk.cash(a, 2)
    events = desk.index(80)
    (opened,) = of(events, DeficitOpened)
    assert (opened.account, opened.pocket, opened.atoms) == (a, 2, 200 * USD - margin)
    assert desk.cash(a) == 1000 * USD - margin
    assert (desk.cash(a, 2), desk.lots(a)) == (0, 0)


@pytest.mark.spec("WFALL-02", "WFALL-03")
def test_two_bankrupt_accounts_of_one_command_share_one_frozen_ranking() -> None:
    desk = Desk(rulebook("book", "adl"))
    worse, bad, high, low = desk.open(50, 60, 1000, 1000)
    desk.ok(
        LoadPositions(
            0, 100, (worse, bad, high, low), (10, 10, -10, -10), (100, 100, 120, 105), (1,) * 4, (0,) * 4
        )
    )
    events = desk.index(90)
    assert [(e.account, e.winner, e.rank) for e in of(events, Deleveraged)] == [
        (worse, high, 1),
        (bad, low, 2),
    ]
    assert [e.price_ticks for e in of(events, Deleveraged)] == [95, 94]
    assert [e.residual_atoms for e in of(events, DeficitClosed)] == [0, 0]


@pytest.mark.spec("WFALL-03")
def test_winner_who_gave_lots_to_one_bankrupt_account_has_only_the_rest_for_the_next() -> None:
    """The first in rank holds 15 lots: ten for the worse account, five for the other; the next gives five."""
    desk = Desk(rulebook("book", "adl"))
    worse, bad, high, low = desk.open(50, 60, 1000, 1000)
    desk.ok(
        LoadPositions(
            0, 100, (worse, bad, high, low), (10, 10, -15, -5), (100, 100, 120, 105), (1,) * 4, (0,) * 4
        )
    )
    events = desk.index(90)
    assert [(e.account, e.winner, e.lots) for e in of(events, Deleveraged)] == [
        (worse, high, -10),
        (bad, high, -5),
        (bad, low, -5),
    ]
    assert [desk.lots(who) for who in (worse, bad, high, low)] == [0] * 4


@pytest.mark.spec("WFALL-03")
def test_what_the_rounded_price_takes_too_much_is_shown_as_overcharge() -> None:
    """30 lots miss 40: 2 a lot are taken, 60 in all, and 20 stay with the account."""
    desk = Desk(rulebook("book", "adl"))
    a, b = desk.open(260, RICH)
    desk.ok(LoadPositions(0, 100, (a, b), (30, -30), (100, 100), (1, 1), (0, 0)))
    events = desk.index(90)
    assert [(e.price_ticks, e.transfer_atoms) for e in of(events, Deleveraged)] == [(92, 60 * USD)]
    assert of(events, DeficitClosed) == [DeficitClosed(1, 0, 20 * USD)]
    assert desk.cash(a) == 20 * USD


def test_short_that_is_bankrupt_is_closed_above_its_entry_by_the_longs() -> None:
    desk = Desk(rulebook("book", "adl"), index=(100,))
    a, b = desk.open(60, RICH)
    desk.trade(b, a, 10, 100)
    events = desk.index(110)
    assert [(e.winner, e.lots, e.price_ticks, e.transfer_atoms) for e in of(events, Deleveraged)] == [
        (b, 10, 106, 40 * USD)
    ]
    assert desk.equity(a) == 0


@pytest.mark.spec("LEDG-02")
@given(st.lists(st.sampled_from([80, 85, 90, 95, 100, 105, 110, 120]), min_size=1, max_size=5))
def test_deficit_account_is_empty_and_nobody_is_below_zero_after_any_path(path: list[int]) -> None:
    desk = Desk(rulebook("book", "backstop", "insurance", "adl", "socialise", "house"), (perpetual(),))
    (vault,) = desk.open(30, role="vault")
    desk.ok(SetBackstop(vault, (0,)))
    desk.ok(Deposit(0, INSURANCE, (10 * USD,)))
    desk.ok(Deposit(0, HOUSE, (RICH * USD,)))
    a, b, c, d = desk.open(60, 150, 90, 55)
    desk.ok(
        LoadPositions(0, 100, (a, b, c, d), (10, -30, 30, -10), (100, 90, 110, 100), (1,) * 4, (0, 60, 0, 0))
    )
    desk.index(100)
    maker = desk.open(RICH)[0]
    for price in path:
        desk.order(maker, SELL, 3, price + 30)
        desk.index(price)
        assert desk.cash(DEFICIT) == 0
        for account in (vault, a, b, c, d, INSURANCE):
            isolated = desk.state.accounts.isolated.cells[0][account]
            assert desk.equity(account) >= 0
            assert not isolated or desk.equity(account, 2) >= 0
