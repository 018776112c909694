"""The lending pool: shares, interest, what can be redeemed, and what its suppliers bear of a debt."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert, structs

from tests.venues import ASSETS, USD, Desk, of, paid, perpetual, rulebook, spot
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import Borrow, Deposit, Redeem, SetLeverage, SetStatus, Supply, Withdraw
from zerodebt.exchange.events import (
    DEFICIT,
    EXTERNAL,
    FIRST_ACCOUNT,
    HOUSE,
    LENDING,
    UNPAID,
    DeficitClosed,
    DeficitOpened,
    Event,
    InterestCharged,
    Posted,
    Redeemed,
    StageArmed,
    Supplied,
    WrittenDown,
)
from zerodebt.exchange.lending import (
    INDEX_MAX,
    INDEX_ONE,
    LendingPool,
    annual_rate_ppb,
    claim_atoms,
    earned_atoms,
    interest_atoms,
    shares_of,
    utilisation_ppb,
)
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import LendingRules, RulesError
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, PPB, SECOND_NS
from zerodebt.exchange.venue import Venue
from zerodebt.exchange.views import LendingTerms
from zerodebt.exchange.waterfall import lenders

COIN = 1_000
PERCENT = PPB // 100
NINETY = {"asset": "COIN", "decimals": 3, "ratio_ppb": 90 * PERCENT}
KINKED = {"slope1_ppb": 4 * PERCENT, "kink_ppb": 80 * PERCENT, "slope2_ppb": 60 * PERCENT}
TO_THE_HOUR_NS = HOUR_NS
"""From the full hour at which a desk starts."""


def lending_desk(*waterfall: str, coin: int = 10, lending: dict[str, Any] | None = None) -> Desk:
    """COIN counts 90 %, sold at 97.5 % of the index or more; free of interest unless said otherwise."""
    rules = rulebook(
        *(waterfall or ("book", "lenders")),
        collateral=[NINETY],
        exchange={"price_ratio_ppb": 975_000_000},
        lending=lending or {},
    )
    desk = Desk(rules, (perpetual(), spot()))
    desk.index(100, coin, later_ns=0)
    return desk


def supplier(desk: Desk, usd: int) -> int:
    (account,) = desk.open(usd)
    desk.ok(Supply(account, usd * USD))
    return account


def borrower(desk: Desk, coins: int, usd: int) -> int:
    (account,) = desk.open(0)
    desk.ok(Deposit(1, account, (coins * COIN,)))
    if usd:
        desk.ok(Borrow(account, usd * USD))
    return account


def pool_of(desk: Desk) -> LendingPool:
    pool = desk.state.lending
    assert pool is not None
    return pool


def worth(desk: Desk, account: int) -> int:
    pool = pool_of(desk)
    return claim_atoms(pool.shares.get(account, 0), pool.index)


# Supplying and redeeming


def test_first_suppliers_get_a_share_an_atom_and_get_their_money_back() -> None:
    desk = lending_desk()
    (account,) = desk.open(100)
    (supplied,) = of(desk.ok(Supply(account, 60 * USD)), Supplied)
    assert supplied == Supplied(account, 60 * USD, 60 * USD)
    assert (desk.cash(account), desk.cash(LENDING)) == (40 * USD, 60 * USD)
    (redeemed,) = of(desk.ok(Redeem(account, 60 * USD)), Redeemed)
    assert redeemed.atoms == 60 * USD
    assert (desk.cash(account), desk.cash(LENDING)) == (100 * USD, 0)
    assert not pool_of(desk).shares


def test_supplied_money_is_no_margin() -> None:
    desk = lending_desk()
    (account,) = desk.open(100)
    desk.ok(Supply(account, 60 * USD))
    assert desk.equity(account) == 40 * USD
    assert desk.refused(Withdraw(account, 0, 41 * USD)) is RejectReason.BALANCE_TOO_SMALL


def test_margin_of_a_position_cannot_be_supplied() -> None:
    """10 lots at 100 ask for 1000/20 = 50 of 60."""
    desk = lending_desk()
    a, b = desk.open(60, 10_000)
    desk.ok(SetLeverage(a, 0, 20))
    desk.trade(a, b, 10, 100)
    assert desk.refused(Supply(a, 10 * USD + 1)) is RejectReason.BALANCE_TOO_SMALL
    desk.ok(Supply(a, 10 * USD))


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (0, RejectReason.AMOUNT_NOT_POSITIVE),
        (-1, RejectReason.AMOUNT_NOT_POSITIVE),
        (101 * USD, RejectReason.BALANCE_TOO_SMALL),
    ],
)
def test_wrong_amounts_are_refused(atoms: int, reason: RejectReason) -> None:
    desk = lending_desk()
    (account,) = desk.open(100)
    assert desk.refused(Supply(account, atoms)) is reason
    assert desk.refused(Redeem(account, atoms)) is reason
    assert desk.refused(Borrow(account, atoms)) is reason


def test_without_a_table_there_is_no_pool() -> None:
    desk = Desk(index=(100,))
    (account,) = desk.open(100)
    for command in (Supply(account, 1), Redeem(account, 1), Borrow(account, 1)):
        assert desk.refused(command) is RejectReason.NOT_IN_RULEBOOK


def test_the_stage_needs_the_table() -> None:
    with pytest.raises(RulesError, match=r"venue\.lending is missing"):
        rulebook("book", "lenders")


# Borrowing


def test_borrowers_are_the_customers_below_zero_and_the_first_account_may_be_one() -> None:
    desk = lending_desk()
    first, _, owing = desk.open(0, 0, 0)
    assert first == FIRST_ACCOUNT
    wallets = desk.state.accounts.balances.cells[0]
    wallets[HOUSE], wallets[first], wallets[owing] = -7, -5, -1
    assert lenders.borrowers(desk.state) == [(first, 5), (owing, 1)]
    assert lenders.owed_atoms(desk.state) == 6


@pytest.mark.parametrize(("supplied", "borne"), [(0, 0), (3, 3), (8, 5)])
def test_suppliers_bear_what_a_wallet_owes_as_far_as_they_have_something(supplied: int, borne: int) -> None:
    desk = lending_desk()
    first, other = desk.open(0, 10)
    if supplied:
        desk.ok(Supply(other, supplied * USD))
    desk.state.ledger.post("insurance", [(first, 0, -5 * USD), (HOUSE, 0, 5 * USD)])
    assert lenders.bearable_atoms(desk.state, (first, 0)) == borne * USD
    assert lenders.bearable_atoms(desk.state, (first, 1)) == 0
    assert lenders.bearable_atoms(desk.state, (other, 0)) == 0


def test_a_borrower_gets_what_his_collateral_carries_and_the_pool_has() -> None:
    """100 coins of 10 at 90 % carry 900; the pool has 800."""
    desk = lending_desk()
    supplier(desk, 800)
    account = borrower(desk, 100, 0)
    assert desk.refused(Borrow(account, 800 * USD + 1)) is RejectReason.BALANCE_TOO_SMALL
    supplier(desk, 200)
    assert desk.refused(Borrow(account, 900 * USD + 1)) is RejectReason.BALANCE_TOO_SMALL
    desk.ok(Borrow(account, 900 * USD))
    assert desk.cash(account) == -900 * USD
    desk.ok(Deposit(0, account, (900 * USD,)))
    assert desk.cash(account) == 0


def test_own_money_goes_before_the_pools() -> None:
    desk = lending_desk()
    supplier(desk, 100)
    account = borrower(desk, 100, 0)
    desk.ok(Deposit(0, account, (300 * USD,)))
    desk.ok(Borrow(account, 400 * USD))
    assert desk.cash(account) == -100 * USD
    assert desk.refused(Borrow(account, 1)) is RejectReason.BALANCE_TOO_SMALL, "the pool has lent all"


def test_unrealised_profit_carries_no_loan() -> None:
    """60 of cash, and 10 lots that won 500: the cash may go, what the pool has may not."""
    desk = lending_desk()
    supplier(desk, 1000)
    a, b = desk.open(60, 10_000)
    desk.trade(a, b, 10, 100)
    desk.index(150, 10)
    assert desk.refused(Borrow(a, 60 * USD + 1)) is RejectReason.BALANCE_TOO_SMALL
    desk.ok(Borrow(a, 60 * USD))


def test_what_goes_in_and_out_of_the_pool_is_no_gain_of_the_session() -> None:
    desk = lending_desk()
    base = desk.state.accounts.session_base.cells[0]
    (account,) = desk.open(100)
    desk.ok(Supply(account, 60 * USD))
    assert base[account] == 40 * USD
    desk.ok(Redeem(account, 50 * USD))
    assert base[account] == 90 * USD
    desk.ok(Borrow(account, 30 * USD))
    assert base[account] == 60 * USD == desk.cash(account)


def test_nothing_is_lent_on_a_stale_index() -> None:
    desk = lending_desk()
    supplier(desk, 1000)
    account = borrower(desk, 100, 0)
    desk.tick(2 * MINUTE_NS)
    assert desk.refused(Borrow(account, 1)) is RejectReason.BALANCE_TOO_SMALL


def test_what_is_lent_cannot_be_redeemed() -> None:
    desk = lending_desk()
    account = supplier(desk, 1000)
    debtor = borrower(desk, 100, 700)
    assert desk.refused(Redeem(account, 300 * USD + 1)) is RejectReason.BALANCE_TOO_SMALL
    desk.ok(Redeem(account, 300 * USD))
    desk.ok(Deposit(0, debtor, (100 * USD,)))
    desk.ok(Redeem(account, 100 * USD))
    assert desk.cash(LENDING) == 600 * USD


def test_a_loss_below_zero_is_lent_as_well() -> None:
    """A wallet that a trade takes to -100 has borrowed 100: nobody could refuse that."""
    desk = lending_desk()
    account = supplier(desk, 60)
    loser, winner = borrower(desk, 100, 0), desk.open(10_000)[0]
    desk.trade(loser, winner, 100, 100)
    desk.order(winner, 1, 100, 99)
    desk.order(loser, -1, 100, 99)
    assert desk.cash(loser) == -100 * USD
    assert desk.refused(Redeem(account, 1)) is RejectReason.BALANCE_TOO_SMALL, "all of it is lent"


# Interest


@pytest.mark.parametrize(
    ("used", "rate"),
    [
        (0, 1 * PERCENT),
        (40 * PERCENT, 1 * PERCENT + 2 * PERCENT),
        (80 * PERCENT, 1 * PERCENT + 4 * PERCENT),
        (90 * PERCENT, 1 * PERCENT + 4 * PERCENT + 30 * PERCENT),
        (PPB, 1 * PERCENT + 4 * PERCENT + 60 * PERCENT),
    ],
)
def test_the_rate_has_a_kink(used: int, rate: int) -> None:
    rules = convert(KINKED | {"base_ppb": PERCENT}, LendingRules)
    assert annual_rate_ppb(rules, used) == rate


@pytest.mark.parametrize(
    ("owed", "held", "used"), [(0, 0, 0), (1, 0, PPB), (900, 1000, 90 * PERCENT), (2000, 1000, PPB)]
)
def test_utilisation_is_at_most_the_whole_pool(owed: int, held: int, used: int) -> None:
    assert utilisation_ppb(owed, held) == used


def test_interest_goes_from_borrowers_to_suppliers_by_the_hour() -> None:
    """900 of 1000 are lent: 4 % and half of 60 %, for an hour of 8760; rounded up for who pays."""
    desk = lending_desk(lending=KINKED)
    account = supplier(desk, 1000)
    debtor = borrower(desk, 120, 900)
    assert not of(desk.tick(TO_THE_HOUR_NS - SECOND_NS), InterestCharged)
    (charged,) = of(desk.tick(SECOND_NS), InterestCharged)
    atoms = -(-900 * USD * 34 // (100 * 8760))
    assert charged == InterestCharged(
        34 * PERCENT, 1, 900 * USD, 900 * USD, atoms, INDEX_ONE + atoms * INDEX_ONE // (1000 * USD)
    )
    assert (desk.cash(debtor), desk.cash(LENDING)) == (-900 * USD - atoms, 1000 * USD + atoms)
    assert worth(desk, account) == 1000 * USD + atoms
    assert audit(desk.batches).findings == ()


def test_hours_that_time_steps_over_are_charged_at_once() -> None:
    desk = lending_desk(lending=KINKED)
    supplier(desk, 1000)
    debtor = borrower(desk, 120, 900)
    (charged,) = of(desk.tick(TO_THE_HOUR_NS + 2 * HOUR_NS), InterestCharged)
    assert charged.intervals == 3
    assert desk.cash(debtor) == -900 * USD - -(-900 * USD * 34 * 3 // (100 * 8760))


def test_the_house_gets_interest_on_what_the_pool_does_not_finance() -> None:
    """100 owed, 60 in the pool: it is in full use, and 60 % of the interest is its."""
    desk = lending_desk(lending={"base_ppb": 876 * PERCENT})
    supplier(desk, 60)
    loser, winner = borrower(desk, 100, 0), desk.open(10_000)[0]
    desk.trade(loser, winner, 100, 100)
    desk.order(winner, 1, 100, 99)
    desk.order(loser, -1, 100, 99)
    desk.tick(TO_THE_HOUR_NS)
    assert desk.cash(loser) == -100 * USD - 100 * USD // 1000
    assert desk.cash(LENDING) == 60 * USD + 60 * USD // 1000
    assert desk.cash(HOUSE) == 40 * USD // 1000
    assert audit(desk.batches).findings == ()


def test_what_interest_brings_beyond_the_largest_index_stays_in_the_pool() -> None:
    """One share, and an atom owed at 10,000 % a year: in 100 years 10,000 atoms, more than 4611."""
    desk = lending_desk(lending={"base_ppb": 100 * PPB})
    (lender,) = desk.open(1)
    desk.ok(Supply(lender, 1))
    debtor = borrower(desk, 100, 0)
    desk.ok(Borrow(debtor, 1))
    desk.tick(TO_THE_HOUR_NS + 100 * 365 * 24 * HOUR_NS)
    pool = pool_of(desk)
    assert pool.index == INDEX_MAX
    assert worth(desk, lender) == pool.claims_atoms == INDEX_MAX // INDEX_ONE == 4611
    earned = desk.cash(LENDING) - 1
    assert earned >= 10_000
    desk.ok(Deposit(0, debtor, (100 * USD,)))
    desk.ok(Redeem(lender, 1))
    assert desk.cash(lender) == USD - 1 + 4611
    assert desk.cash(LENDING) == 1 + earned - 4611
    assert audit(desk.batches).findings == ()


@pytest.mark.parametrize(
    ("paid", "lent", "owed", "earned"), [(10, 2, 3, 6), (10, 3, 3, 10), (10, 0, 3, 0), (0, 0, 0, 0)]
)
def test_the_pools_part_of_interest_is_rounded_down(paid: int, lent: int, owed: int, earned: int) -> None:
    """floor(10 * 2 / 3) = 6: the house gets the 4 that are left."""
    assert earned_atoms(paid, lent, owed) == earned


def test_what_is_owed_at_the_charge_counts_for_the_whole_interval() -> None:
    """Borrowed a second before the hour, 900 USD cost what they cost for all of it: 0.1 % at 876 % a year."""
    desk = lending_desk(lending={"base_ppb": 876 * PERCENT})
    supplier(desk, 1000)
    desk.tick(TO_THE_HOUR_NS - SECOND_NS)
    desk.index(100, 10, later_ns=0)
    debtor = borrower(desk, 120, 900)
    desk.tick(SECOND_NS)
    assert desk.cash(debtor) == -900 * USD - 900 * USD // 1000
    assert audit(desk.batches).findings == ()


def test_a_late_supplier_buys_at_the_index() -> None:
    desk = lending_desk(lending={"base_ppb": 876 * PERCENT})
    supplier(desk, 1000)
    borrower(desk, 100, 900)
    desk.tick(TO_THE_HOUR_NS)
    index = pool_of(desk).index
    assert index == INDEX_ONE + INDEX_ONE * 900 // 10**6
    late = supplier(desk, 10)
    assert pool_of(desk).shares[late] == 10 * USD * INDEX_ONE // index
    assert worth(desk, late) == 10 * USD - 1, "less than a share is nobody's"


def test_the_view_says_what_the_pool_is_and_costs() -> None:
    desk = lending_desk(lending=KINKED)
    account = supplier(desk, 1000)
    borrower(desk, 100, 900)
    terms = LendingTerms(1000 * USD, 100 * USD, 900 * USD, 34 * PERCENT, INDEX_ONE)
    assert desk.venue.view.lending() == terms
    assert desk.venue.view.supplied(account) == (1000 * USD, 1000 * USD)
    assert Desk(index=(100,)).venue.view.lending() is None


# Losses


def bid_for(desk: Desk, coins: int, price: int) -> None:
    """Somebody rests a bid in the spot market."""
    (account,) = desk.open(100_000)
    desk.order(account, 1, coins * COIN // desk.state.instruments[1].lot_atoms, price, instrument=1)


def fallen(*waterfall: str, first: int = 600, second: int = 400) -> tuple[Desk, int, int, int, list[Event]]:
    """900 lent on 100 coins that fall from 10 to 5: the book pays 500 for them, 400 are missing."""
    desk = lending_desk(*waterfall)
    bid_for(desk, 100, 5)
    a, b = supplier(desk, first), supplier(desk, second)
    debtor = borrower(desk, 100, 900)
    events = desk.index(100, 5)
    return desk, a, b, debtor, events


def test_suppliers_bear_what_collateral_does_not_bring() -> None:
    desk, a, b, debtor, events = fallen()
    missing = 900 * USD - 100 * 5 * USD
    (opened,) = of(events, DeficitOpened)
    assert opened.atoms == missing
    (written,) = of(events, WrittenDown)
    assert written.claims_atoms == 1000 * USD - missing
    assert paid(events) == [("lenders", LENDING, missing)]
    below = "equity is still below zero"
    assert of(events, StageArmed) == [StageArmed("lenders", debtor, 0, -missing, 0, below)]
    assert of(events, DeficitClosed) == [DeficitClosed(opened.deficit_id, 0, 0)]
    assert (worth(desk, a), worth(desk, b)) == (
        600 * USD - missing * 600 // 1000,
        400 * USD - missing * 400 // 1000,
    )
    assert (desk.cash(LENDING), desk.cash(debtor), desk.cash(DEFICIT)) == (1000 * USD - missing, 0, 0)
    report = audit(desk.batches)
    assert report.findings == ()
    assert report.paid_by_stage == {"lenders": missing}
    desk.ok(Redeem(a, 600 * USD))
    desk.ok(Redeem(b, 400 * USD))
    assert desk.cash(LENDING) == 0


def test_who_supplies_afterwards_bears_nothing() -> None:
    desk, _, _, _, _ = fallen()
    late = supplier(desk, 100)
    assert worth(desk, late) == 100 * USD - 1, "less than a share is nobody's"


def test_what_suppliers_cannot_bear_passes_on() -> None:
    """A trade's loss of 300 on no money: 120 are in the pool, the house has the rest."""
    desk = lending_desk("book", "lenders", "house")
    desk.ok(Deposit(0, HOUSE, (1000 * USD,)))
    a = supplier(desk, 120)
    loser, winner = desk.open(100, 100_000)
    desk.trade(loser, winner, 20, 100)
    desk.order(winner, 1, 20, 80)
    events = desk.index(80, 10)
    missing = 20 * (100 - 80) * USD - 100 * USD
    assert paid(events) == [("lenders", LENDING, 120 * USD), ("house", HOUSE, missing - 120 * USD)]
    assert (desk.cash(LENDING), worth(desk, a)) == (0, 0)
    assert not pool_of(desk).shares, "shares that are worth nothing are void"
    late = supplier(desk, 100)
    assert worth(desk, late) == 100 * USD
    assert audit(desk.batches).findings == ()


def test_the_order_of_the_rulebook_decides_who_pays_first() -> None:
    desk = lending_desk("book", "house", "lenders")
    desk.ok(Deposit(0, HOUSE, (100 * USD,)))
    supplier(desk, 1000)
    bid_for(desk, 100, 5)
    borrower(desk, 100, 900)
    missing = 900 * USD - 100 * 5 * USD
    events = desk.index(100, 5)
    assert paid(events) == [("house", HOUSE, 100 * USD), ("lenders", LENDING, missing - 100 * USD)]
    assert audit(desk.batches).findings == ()


def test_an_isolated_position_owes_the_pool_nothing() -> None:
    desk = lending_desk("book", "lenders", "house")
    desk.ok(Deposit(0, HOUSE, (1000 * USD,)))
    supplier(desk, 1000)
    loser, winner = desk.open(100, 100_000)
    desk.ok(SetLeverage(loser, 0, 20, "isolated"))
    desk.trade(loser, winner, 20, 100)
    desk.order(winner, 1, 20, 80)
    events = desk.index(80, 10)
    assert [stage for stage, _, _ in paid(events)] == ["house"]
    assert desk.cash(LENDING) == 1000 * USD
    assert audit(desk.batches).findings == ()


def test_an_isolated_position_owes_nothing_where_its_owner_does() -> None:
    """100 in the position, 50 borrowed on coins beside it: the house bears all that the position lacks."""
    desk = lending_desk("book", "lenders", "house")
    desk.ok(Deposit(0, HOUSE, (1000 * USD,)))
    supplier(desk, 1000)
    loser, winner = desk.open(100, 100_000)
    desk.ok(SetLeverage(loser, 0, 20, "isolated"))
    desk.trade(loser, winner, 20, 100)
    desk.ok(Deposit(1, loser, (100 * COIN,)))
    desk.ok(Borrow(loser, 50 * USD))
    assert desk.cash(loser) < 0
    desk.order(winner, 1, 20, 80)
    assert {stage for stage, _, _ in paid(desk.index(80, 10))} == {"house"}


def test_a_debtors_own_shares_pay_before_anybody_elses() -> None:
    """He has supplied 50 of the 1050 and owes 900: 150 are not lent, and his 50 are redeemed first."""
    desk = lending_desk()
    supplier(desk, 1000)
    (debtor,) = desk.open(50)
    desk.ok(Supply(debtor, 50 * USD))
    desk.ok(Deposit(1, debtor, (100 * COIN,)))
    desk.ok(Borrow(debtor, 900 * USD))
    bid_for(desk, 100, 5)
    events = desk.index(100, 5)
    assert of(events, Redeemed) == [Redeemed(debtor, 50 * USD, 50 * USD)]
    missing = 900 * USD - 100 * 5 * USD - 50 * USD
    assert paid(events) == [("lenders", LENDING, missing)]
    assert audit(desk.batches).findings == ()


def test_what_a_debtor_borrowed_himself_does_not_hold_his_shares_back() -> None:
    """900 of the 1100 are lent, all to him: his shares pay the 700 that his coins do not bring."""
    desk = lending_desk()
    supplier(desk, 100)
    (debtor,) = desk.open(1000)
    desk.ok(Supply(debtor, 1000 * USD))
    desk.ok(Deposit(1, debtor, (100 * COIN,)))
    desk.ok(Borrow(debtor, 900 * USD))
    bid_for(desk, 100, 2)
    events = desk.index(100, 2)
    assert of(events, Redeemed) == [Redeemed(debtor, 700 * USD, 700 * USD)]
    assert paid(events) == []
    assert audit(desk.batches).findings == ()


def test_nobody_redeems_while_a_deficit_is_open() -> None:
    """Nobody may be forced to trade in coins: the debt of 900 on 500 stands, and suppliers wait."""
    desk = lending_desk()
    a = supplier(desk, 1000)
    borrower(desk, 100, 900)
    desk.ok(SetStatus(1, open=True, reduce=True, liquidate=False))
    desk.index(100, 5)
    assert desk.refused(Redeem(a, 1)) is RejectReason.DEFICIT_OPEN
    desk.ok(SetStatus(1, open=True, reduce=True, liquidate=True))
    assert [stage for stage, _, _ in paid(desk.index(100, 5))] == ["lenders"]
    desk.ok(Redeem(a, 1))


def with_hole() -> tuple[Desk, int, int]:
    """10 lots bought at 100 with 100 are sold at 70: 200 that nobody pays; the winner, and who bid."""
    desk = lending_desk("book")
    loser, winner, bidder = desk.open(100, 2000, 100_000)
    desk.trade(loser, winner, 10, 100)
    desk.order(bidder, 1, 10, 70)
    desk.index(70, 10)
    return desk, winner, bidder


@pytest.mark.spec("WFALL-06")
def test_a_deficit_that_those_who_left_have_borne_stops_no_loan() -> None:
    desk, winner, bidder = with_hole()
    desk.trade(winner, bidder, 10, 70)
    for account in (winner, bidder):
        desk.ok(Withdraw(account, 0, desk.venue.view.withdrawable_atoms(account)))
    assert desk.cash(DEFICIT) == -desk.cash(UNPAID) == -200 * USD
    supplier(desk, 1000)
    borrower(desk, 100, 900)
    assert audit(desk.batches).findings == ()


@pytest.mark.spec("WFALL-06")
def test_beside_a_hole_that_nobody_has_borne_nothing_is_lent_and_the_audit_names_it() -> None:
    desk, _, _ = with_hole()
    supplier(desk, 1000)
    debtor = borrower(desk, 100, 0)
    assert desk.refused(Borrow(debtor, USD)) is RejectReason.DEFICIT_OPEN
    lent = Posted("borrowing", ((debtor, 0, -USD), (EXTERNAL, 0, USD)))
    batches = [*desk.batches[:-1], structs.replace(desk.batches[-1], events=(lent,))]
    assert [(f.rule, "lent out" in f.text) for f in audit(batches).findings] == [("(g)", True)]


def test_a_snapshot_keeps_shares_index_and_clock() -> None:
    desk, a, _, _, _ = fallen()
    desk.tick(TO_THE_HOUR_NS)
    twin = desk.restored()
    assert twin.state_hash() == desk.venue.state_hash()
    for command in (Redeem(a, 7), Supply(a, 3)):
        assert twin.apply(command, desk.time_ns) == desk.venue.apply(command, desk.time_ns)
    assert twin.state_hash() == desk.venue.state_hash()
    again = Venue(desk.rules, ASSETS, desk.instruments)
    for stamped, batch in zip(desk.journal, desk.batches[1:], strict=True):
        assert again.apply(stamped.command, stamped.time_ns) == batch


# Laws of the arithmetic

INDICES = st.integers(INDEX_ONE // 1000, 5 * INDEX_ONE)
ATOMS = st.integers(1, 10**15)


@given(ATOMS, INDICES)
def test_nobody_gains_by_going_in_and_out(atoms: int, index: int) -> None:
    back = claim_atoms(shares_of(atoms, index), index)
    assert atoms - index // INDEX_ONE - 1 <= back <= atoms


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=8), INDICES, st.data())
def test_a_write_down_is_exact_bounded_and_monotone(held: list[int], index: int, data: st.DataObject) -> None:
    """Claims fall by all of the loss, and by less than a share and an atom more; who has more bears more."""
    shares = {account: count for account, count in enumerate(held) if count}
    pool = LendingPool(index, dict(shares))
    claims = pool.claims_atoms
    if not claims:
        return
    loss = data.draw(st.integers(1, claims))
    before = {account: claim_atoms(count, pool.index) for account, count in shares.items()}
    pool.write_down(loss)
    is_void = not pool.shares
    after = {account: 0 if is_void else claim_atoms(count, pool.index) for account, count in shares.items()}
    total = pool.claims_atoms
    slack = sum(held) // INDEX_ONE + 2
    assert loss <= claims - total <= loss + slack
    assert all(0 <= after[account] <= before[account] for account in shares)
    borne = sorted((count, before[account] - after[account]) for account, count in shares.items())
    assert all(low[1] <= high[1] + 1 for low, high in pairwise(borne))
    assert abs(sum(atoms for _, atoms in borne) - loss) <= slack + len(shares)


@given(ATOMS, st.integers(1, 10 * PPB), st.integers(1, 24))
def test_interest_is_rounded_up_by_less_than_an_atom(owed: int, rate: int, hours: int) -> None:
    exact = owed * rate * hours
    found = interest_atoms(owed, rate, hours * HOUR_NS) * 365 * 24 * PPB
    assert exact <= found < exact + 365 * 24 * PPB
