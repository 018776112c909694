"""A clearing member's default: contributions, the auction, the fund's layers in their order, and its size."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venues import USD, Desk, future, of, perpetual, rulebook, spot
from zerodebt.exchange.accounts import BACKSTOP
from zerodebt.exchange.audit import Report, audit
from zerodebt.exchange.commands import (
    BUY,
    AuctionBid,
    Contribute,
    Deposit,
    HoldAuction,
    LoadPositions,
    SetLeverage,
    SettleVariation,
    Tick,
)
from zerodebt.exchange.events import (
    DEFAULT_FUND,
    HOUSE,
    AuctionHeld,
    Batch,
    Contributed,
    DefaultDeclared,
    DeficitClosed,
    DeficitOpened,
    LayerDrawn,
    LiquidationEnded,
    Posted,
    StageArmed,
    StagePaid,
)
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import RulesError
from zerodebt.exchange.units import HOUR_NS, PPB
from zerodebt.exchange.waterfall.default_fund import draws, payers, required_atoms, stressed_losses

FUND = {
    "close_out": "auction",
    "house_capital_atoms": 7 * USD,
    "assessment_ppb": 2 * PPB,
    "variation_haircut_ppb": PPB // 2,
}
RICH = 1_000_000
CALLS = {"call_to": "maintenance", "call_due_ns": HOUR_NS}


class House:
    """A short member with 40 USD of margin for 10 lots and 5 in the fund; three others hold the other side.

    They have put up 10, 20 and 30, and the house has brought 100, of which 7 answer for a default.
    """

    def __init__(self, *, wealth: int = 1_000, **fund: Any) -> None:
        contracts = (
            future(leverage=1000, margin_floor_atoms_per_lot=4 * USD, initial_atoms_per_lot=4 * USD),
        )
        rules = rulebook("book", "default_fund", settlement=CALLS, default_fund=FUND | fund)
        self.desk = d = Desk(rules, contracts, index=(100,))
        d.ok(Deposit(0, HOUSE, (100 * USD,)))
        self.member, *self.others = d.open(45, wealth + 10, wealth + 20, wealth + 30)
        for account, usd in zip([self.member, *self.others], (5, 10, 20, 30), strict=True):
            d.ok(Contribute(account, usd * USD))
        d.trade(self.others[0], self.member, 4, 100)
        d.trade(self.others[1], self.member, 6, 100)

    def fall(self, ticks: int) -> None:
        """The price rises against the short, the settlement calls him, and he does not pay."""
        d = self.desk
        d.index(100 + ticks)
        d.ok(SettleVariation(0, 100 + ticks))
        d.tick(HOUR_NS)

    def auction(self, *bids: tuple[int, int]) -> list[Any]:
        return self.desk.ok(
            HoldAuction(self.member, (0,), tuple(AuctionBid(who, (price,)) for who, price in bids))
        )

    def report(self) -> Report:
        report = audit(self.desk.batches)
        assert report.findings == ()
        assert report.holdings_digest == self.desk.venue.view.statement().holdings_digest
        return report


def drawn(events: list[Any]) -> dict[str, int]:
    return {e.layer: sum(atoms for _, atoms in e.shares) // USD for e in of(events, LayerDrawn)}


# Contributions


def test_a_contribution_is_a_balance_of_the_fund() -> None:
    house = House()
    d = house.desk
    assert d.cash(DEFAULT_FUND) == (5 + 10 + 20 + 30) * USD
    d.ok(Contribute(house.others[2], -12 * USD))
    assert d.cash(DEFAULT_FUND) == 53 * USD
    assert d.state.contributions[house.others[2]] == 18 * USD
    house.report()


def test_a_contribution_is_free_cash_and_comes_back_only_in_quiet_times() -> None:
    house = House()
    d = house.desk
    assert d.refused(Contribute(house.member, 1)) is RejectReason.BALANCE_TOO_SMALL
    assert d.refused(Contribute(house.others[0], -11 * USD)) is RejectReason.BALANCE_TOO_SMALL
    assert d.refused(Contribute(house.others[0], 0)) is RejectReason.NOTHING_TO_DO
    house.fall(6)
    assert d.refused(Contribute(house.others[0], -1)) is RejectReason.DEFAULT_OPEN
    d.ok(Contribute(house.others[0], USD))
    other = Desk(rulebook("book", "house"), (future(),), index=(100,))
    (account,) = other.open(10)
    assert other.refused(Contribute(account, USD)) is RejectReason.NOT_IN_RULEBOOK


# The auction


def test_the_portfolio_waits_for_its_auction() -> None:
    house = House()
    d = house.desk
    d.order(house.others[2], -1, 10, 106)
    house.fall(6)
    assert d.lots(house.member) == -10, "no forced order although the book has lots"
    assert (house.member, 0) in d.state.in_liquidation


def test_the_best_bid_takes_all_and_the_loss_is_what_it_leaves() -> None:
    house = House()
    house.fall(6)
    a, b, c = house.others
    events = house.auction((a, 109), (b, 107), (c, 108))
    (held,) = of(events, AuctionHeld)
    assert (held.winner, held.lots, held.price_ticks, held.mark_ticks) == (b, (-10,), (107,), (106,))
    # 10 lots from 100 to 107, less 40 of margin
    assert [e.atoms for e in of(events, DeficitOpened)] == [(10 * 7 - 40) * USD]
    assert house.desk.lots(house.member) == 0
    assert house.desk.lots(b) == 6 - 10
    house.report()


def test_of_equal_bids_the_first_wins() -> None:
    house = House()
    house.fall(6)
    (held,) = of(house.auction((house.others[2], 107), (house.others[0], 107)), AuctionHeld)
    assert held.winner == house.others[2]


def test_what_a_vault_wins_in_an_auction_keeps_the_name_of_the_defaulter() -> None:
    house = House()
    (vault,) = house.desk.open(1_000, role="vault")
    house.fall(6)
    house.auction((vault, 106))
    assert list(house.desk.state.lineage[vault, 0]) == [(house.member, 10)]


def test_a_bid_that_cannot_be_borne_is_passed_over_and_named() -> None:
    house = House()
    d = house.desk
    # ten lots ask for 40
    (poor,) = d.open(39)
    house.fall(6)
    assert d.refused(HoldAuction(house.member, (0,), (AuctionBid(poor, (106,)),))) is (
        RejectReason.MARGIN_TOO_SMALL
    )
    (held,) = of(house.auction((poor, 106), (house.others[2], 108)), AuctionHeld)
    assert (held.winner, held.refused) == (house.others[2], (poor,))
    house.report()


@pytest.mark.parametrize(("usd", "price"), [(40, 106), (20, 108), (60, 104)])
def test_a_bid_is_borne_with_what_it_gains_at_the_mark_and_not_with_a_dollar_less(
    usd: int, price: int
) -> None:
    """A short of 10 lots asks for 40. At the mark of 106 it has won 20 if taken at 108, lost 20 at 104."""
    house = House()
    enough, too_poor = house.desk.open(usd, usd - 1)
    house.fall(6)
    (held,) = of(house.auction((too_poor, price), (enough, price)), AuctionHeld)
    assert (held.winner, held.refused) == (enough, (too_poor,))
    house.report()


def test_an_auction_without_a_default_or_of_something_else_is_refused() -> None:
    house = House()
    d, member, other = house.desk, house.member, house.others[0]
    assert d.refused(HoldAuction(member, (0,), (AuctionBid(other, (106,)),))) is RejectReason.NOT_IN_DEFAULT
    house.fall(6)
    cases = [
        ((), (AuctionBid(other, (106,)),), RejectReason.CONTRADICTION),
        ((0,), (AuctionBid(other, ()),), RejectReason.CONTRADICTION),
        ((0,), (AuctionBid(member, (106,)),), RejectReason.IN_LIQUIDATION),
        ((0,), (AuctionBid(HOUSE, (106,)),), RejectReason.NOT_A_CUSTOMER),
        ((0,), (AuctionBid(other, (10**9,)),), RejectReason.PRICE_OUT_OF_RANGE),
        ((0,), (), RejectReason.MARGIN_TOO_SMALL),
    ]
    for instruments, bids, reason in cases:
        assert d.refused(HoldAuction(member, instruments, bids)) is reason
    other_house = Desk(rulebook("book", "house"), (future(),), index=(100,))
    (account,) = other_house.open(10)
    assert other_house.refused(HoldAuction(account, (), ())) is RejectReason.NOT_IN_RULEBOOK


def test_beside_auctions_the_whole_account_answers() -> None:
    house = House()
    isolate = SetLeverage(house.others[2], 0, 10, "isolated")
    assert house.desk.refused(isolate) is RejectReason.NOT_IN_RULEBOOK
    fresh = Desk(house.desk.rules, house.desk.instruments)
    a, b = fresh.open(100, 100)
    load = LoadPositions(0, 100, (a, b), (1, -1), (100, 100), (1, 1), (50 * USD, 0))
    assert fresh.refused(load) is RejectReason.NOT_IN_RULEBOOK


def test_a_portfolio_of_two_legs_is_sold_as_one() -> None:
    legs = tuple(
        future(name, leverage=1000, margin_floor_atoms_per_lot=USD, initial_atoms_per_lot=USD)
        for name in ("NORDIC", "GERMAN")
    )
    d = Desk(rulebook("book", "default_fund", settlement=CALLS, default_fund=FUND), legs, index=(50, 50))
    member, other = d.open(20, 1_000)
    d.trade(member, other, 10, 50, instrument=0)
    d.trade(other, member, 10, 50, instrument=1)
    d.index(48, 51)
    d.ok(SettleVariation(0, 48))
    d.ok(SettleVariation(1, 51))
    d.tick(HOUR_NS)
    # worth 10 * (47 - 50) + 10 * (50 - 52) = -50, and 10 * (49 - 50) + 10 * (50 - 53) = -40
    bids = (AuctionBid(other, (47, 52)), AuctionBid(other, (49, 53)))
    events = d.ok(HoldAuction(member, (0, 1), bids))
    assert of(events, AuctionHeld)[0].price_ticks == (49, 53)
    assert [e.atoms for e in of(events, DeficitOpened)] == [(40 - 20) * USD]
    assert d.lots(other, 0) == d.lots(other, 1) == 0
    assert audit(d.batches).findings == ()


# The layers


@pytest.mark.parametrize(
    ("price", "layers", "residual"),
    [
        # 10 * (price - 100) less 40 of margin
        (104, {}, 0),
        (105, {"defaulter_contribution": 5, "house_capital": 5}, 0),
        (107, {"defaulter_contribution": 5, "house_capital": 7, "contributions": 18}, 0),
        (
            111,
            {"defaulter_contribution": 5, "house_capital": 7, "contributions": 58},
            0,
        ),
        (
            118,
            {"defaulter_contribution": 5, "house_capital": 7, "contributions": 60, "assessments": 68},
            0,
        ),
        (
            125,
            {
                "defaulter_contribution": 5,
                "house_capital": 7,
                "contributions": 60,
                # twice the others' 60
                "assessments": 120,
                # half of what 4 and 6 lots gained from the settlement at 104 to the mark of 106
                "variation_haircut": 10,
            },
            210 - 202,
        ),
    ],
)
def test_layers_pay_in_their_order(price: int, layers: dict[str, int], residual: int) -> None:
    house = House()
    d = house.desk
    d.index(106)
    d.ok(SettleVariation(0, 104))
    d.tick(HOUR_NS)
    events = house.auction((house.others[2], price))
    assert drawn(events) == layers
    assert [e.residual_atoms for e in of(events, DeficitClosed)] == ([residual * USD] if layers else [])
    assert d.equity(house.member) == 0
    assert of(events, LiquidationEnded)
    house.report()


def test_the_others_pay_in_proportion_to_what_they_put_up() -> None:
    house = House()
    house.fall(6)
    events = house.auction((house.others[2], 110))
    # 100 - 40 - 5 - 7
    (layer,) = [e for e in of(events, LayerDrawn) if e.layer == "contributions"]
    assert layer.shares == tuple(
        (account, 48 * USD * usd // 60) for account, usd in zip(house.others, (10, 20, 30), strict=True)
    )
    below = "equity is still below zero"
    assert of(events, StageArmed) == [StageArmed("default_fund", house.member, 0, -60 * USD, 0, below)]
    assert house.desk.cash(DEFAULT_FUND) == (60 - 48) * USD
    assert {(e.stage, e.payer) for e in of(events, StagePaid)} == {
        ("default_fund", DEFAULT_FUND),
        ("default_fund", HOUSE),
    }


def test_assessments_take_no_member_below_zero() -> None:
    house = House(wealth=50)
    house.fall(6)
    d = house.desk
    events = house.auction((house.others[2], 118))
    assert "assessments" in drawn(events)
    assert all(d.equity(account) >= 0 for account in house.others)
    house.report()


def test_membership_is_frozen_at_the_default() -> None:
    house = House()
    d = house.desk
    (late,) = d.open(500)
    house.fall(6)
    (declared,) = [e for batch in d.batches for e in batch.events if isinstance(e, DefaultDeclared)]
    assert [who for who, _ in declared.contributions] == [house.member, *house.others]
    d.ok(Contribute(late, 400 * USD))
    d.ok(Contribute(house.others[0], 400 * USD))
    house.auction((house.others[2], 111))
    assert d.state.contributions[late] == 400 * USD
    # 58 of the frozen 60 are needed: at most 10 of his 410
    assert d.state.contributions[house.others[0]] >= 400 * USD
    house.report()


def test_a_default_survives_a_snapshot() -> None:
    house = House()
    house.fall(6)
    d = house.desk
    again = d.restored()
    assert again.state_hash() == d.venue.state_hash()
    auction = HoldAuction(house.member, (0,), (AuctionBid(house.others[2], (118,)),))
    assert again.apply(auction, d.time_ns).events == d.venue.apply(auction, d.time_ns).events
    assert again.apply(Tick(), d.time_ns).events == d.venue.apply(Tick(), d.time_ns).events
    assert again.state_hash() == d.venue.state_hash()


def test_a_debt_that_the_fund_answers_later_is_held_by_intervention() -> None:
    house = House()
    house.fall(6)
    house.auction((house.others[2], 107))
    report = house.report()
    assert report.verdict == "HELD BY INTERVENTION"
    assert report.largest_deficit is not None
    assert report.largest_deficit.atoms == (60 - 40) * USD
    assert report.largest_deficit.age_ns >= HOUR_NS
    assert report.paid_by_stage == {"default_fund": 30 * USD}


def test_what_the_layers_leave_is_a_residual() -> None:
    house = House(assessment_ppb=0, variation_haircut_ppb=0)
    house.fall(6)
    house.auction((house.others[2], 125))
    report = house.report()
    assert report.verdict == "RESIDUAL"
    # 250 - 40 of margin - 5 - 7 - 60
    assert sum(r.open_atoms for r in report.residuals) == 138 * USD


# Shares and size


@given(
    st.integers(0, 1000),
    st.lists(st.integers(0, 200), max_size=6).map(lambda mosts: list(enumerate(mosts))),
)
def test_shares_cover_the_deficit_as_far_as_they_reach(deficit: int, most: list[tuple[int, int]]) -> None:
    paid = draws(deficit, most)
    assert sum(atoms for _, atoms in paid) == min(deficit, sum(atoms for _, atoms in most))
    by_account = dict(most)
    assert all(0 < atoms <= by_account[account] for account, atoms in paid)


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_cover_two_bears_any_two_defaults(losses: list[int]) -> None:
    fund = required_atoms(losses, 2)
    assert all(a + b <= fund for i, a in enumerate(losses) for b in losses[:i])


def test_stressed_losses_are_beyond_the_margin_of_each_member() -> None:
    house = House()
    d = house.desk
    # short 10 lots with 40 of margin, long 4 with 16, long 6 with 24
    members = (house.member, *house.others[:2])
    up, down = ((90 - 40) * USD, 0, 0), (0, (36 - 16) * USD, (54 - 24) * USD)
    assert stressed_losses(d.state, (9,)) == dict(zip(members, up, strict=True))
    assert stressed_losses(d.state, (-9,)) == dict(zip(members, down, strict=True))
    assert d.venue.view.default_fund((-9,)) == (65 * USD, 50 * USD)


@pytest.mark.parametrize(("defaults", "residual"), [(1, 0), (2, 0), (3, 50)])
def test_a_fund_of_cover_two_bears_two_defaults_and_not_three(defaults: int, residual: int) -> None:
    """Shorts of 10 lots with 40 of margin; a rise of 9 costs each 90. The fund is the two largest losses."""
    contract = future(leverage=1000, margin_floor_atoms_per_lot=4 * USD, initial_atoms_per_lot=4 * USD)
    fund = {"close_out": "auction"}
    rules = rulebook("book", "default_fund", settlement=CALLS, default_fund=fund)
    d = Desk(rules, (contract,), index=(100,))
    buyer, other, *shorts = d.open(10_000, 10_000, *[40] * 3)
    d.ok(Contribute(buyer, 75 * USD))
    d.ok(Contribute(other, 25 * USD))
    for short in shorts:
        d.trade(buyer, short, 10, 100)
    assert d.venue.view.default_fund((9,)) == (100 * USD, 100 * USD)
    for short in shorts[defaults:]:
        d.ok(Deposit(0, short, (50 * USD,)))
    d.index(109)
    d.ok(SettleVariation(0, 109))
    d.tick(HOUR_NS)
    left = 0
    for short in shorts[:defaults]:
        events = d.ok(HoldAuction(short, (0,), (AuctionBid(other, (109,)),)))
        left += sum(event.residual_atoms for event in of(events, DeficitClosed))
    assert left == residual * USD
    assert d.cash(DEFAULT_FUND) == max(0, 100 - 50 * defaults) * USD


def test_stressed_losses_count_every_position_at_the_leverage_that_was_chosen() -> None:
    """10 lots at 100 with leverage 5 need 200, 4 lots at 50 with 20 need 10; falls of 30 and 10 cost 340."""
    d = Desk(rulebook(), (future("A"), future("B")), index=(100, 50))
    long, short = d.open(10_000, 10_000)
    d.ok(SetLeverage(long, 0, 5))
    d.trade(long, short, 10, 100)
    d.trade(long, short, 4, 50, instrument=1)
    assert stressed_losses(d.state, (-30, -10)) == {long: (340 - 210) * USD, short: 0}


def test_stressed_losses_see_the_margin_rise_with_the_open_interest() -> None:
    """500 USD are open, half way between 0 and 1,000: the rate of 1/20 has risen to 0.525."""
    bounds: dict[str, Any] = {"open_interest_low_atoms": 0, "open_interest_high_atoms": 1_000 * USD}
    d = Desk(rulebook(), (future(**bounds),), index=(100,))
    long, short = d.open(10_000, 10_000)
    d.trade(long, short, 5, 100)
    assert stressed_losses(d.state, (-60,)) == {long: 300 * USD - 262_500_000, short: 0}


def test_a_deficit_of_one_atom_is_drawn_like_any_other() -> None:
    assert draws(1, [(16, 3), (17, 5)]) == [(17, 1)]
    assert draws(0, [(16, 3), (17, 5)]) == []


def test_assessed_members_pay_twice_their_part_or_what_is_left_of_their_cash() -> None:
    house = House()
    house.fall(6)
    d = house.desk
    first, second, third = house.others
    for account, left in ((first, 0), (second, 17)):
        cash = d.cash(account) - left * USD
        d.state.ledger.post("withdrawal", [(account, 0, -cash), (0, 0, cash)])
    defaulter = (house.member, 0)
    assert payers(d.state, defaulter, "assessments") == [
        (first, 0),
        (second, 17 * USD),
        (third, 2 * 30 * USD),
    ]
    d.state.contributions[second] = 3 * USD
    assert payers(d.state, defaulter, "contributions") == [
        (first, 10 * USD),
        (second, 3 * USD),
        (third, 30 * USD),
    ]


def test_haircut_is_on_gains_since_the_settlement_of_all_positions_as_far_as_the_winner_can_pay() -> None:
    """From 100, 50 and 20 to 106, 53 and 21, in atoms: 4 lots of the first and 2 of the second gain 30.

    Of the others one has 5 left of his gain of 12, one less than nothing, one has gained a single atom, one
    nothing. The defaulter's 12 - 3, a vault's 12 and the fund's own lots are not asked.
    """
    atom: dict[str, Any] = {"tick_value_atoms": 1, "margin_floor_atoms_per_lot": 1}
    haircut = FUND | {"variation_haircut_ppb": PPB}
    d = Desk(
        rulebook("book", "default_fund", settlement=CALLS, default_fund=haircut),
        (future("A", **atom), future("B", **atom), future("C", **atom)),
        index=(100, 50, 20),
    )
    first, poor, broke, penny, even, defaulter, vault, other = d.open(*[1] * 8)
    d.trade(first, other, 4, 100)
    d.trade(first, other, 2, 50, instrument=1)
    for who in (poor, broke, defaulter, vault):
        d.trade(who, other, 2, 100)
    d.trade(penny, other, 1, 20, instrument=2)
    d.trade(even, defaulter, 1, 50, instrument=1)
    d.trade(other, even, 1, 50, instrument=1)
    d.state.settled_ticks.update({0: 100, 1: 50, 2: 20})
    d.index(106, 53, 21)
    for who, left in ((poor, 5), (broke, -5)):
        atoms = d.equity(who) - left
        d.state.ledger.post("withdrawal", [(who, 0, -atoms), (0, 0, atoms)])
    d.state.accounts.vault.cells[0][vault] = BACKSTOP
    d.state.accounts.lots.cells[0][DEFAULT_FUND] = 7
    assert payers(d.state, (defaulter, 0), "variation_haircut") == [
        (first, 4 * 6 + 2 * 3),
        (poor, 5),
        (broke, 0),
        (penny, 1),
    ]


def test_payers_of_a_layer_without_a_default_are_none() -> None:
    house = House()
    assert payers(house.desk.state, (house.member, 0), "contributions") == []


@pytest.mark.parametrize(
    ("waterfall", "fund", "said"),
    [
        (("book", "adl", "default_fund"), {"close_out": "auction"}, "beside the stage 'adl'"),
        (("book", "house"), {"cover": 3}, "no stage 'default_fund'"),
    ],
)
def test_a_fund_that_contradicts_the_waterfall_is_refused(
    waterfall: tuple[str, ...], fund: dict[str, Any], said: str
) -> None:
    with pytest.raises(RulesError, match=said):
        rulebook(*waterfall, default_fund=fund)


def dusty() -> tuple[Desk, int, int]:
    """A defaulter who is sold out at 90 owes 95 beside 999 atoms of a coin at 100, of which a lot has 1000.

    At the index that is 99.90, of which 90 % answer: he is 5.09 short, 4.90 above zero, and nobody buys it.
    Another member has put up 20.
    """
    coin = {"asset": "COIN", "decimals": 3, "ratio_ppb": 900_000_000}
    rules = rulebook("book", "default_fund", collateral=[coin], exchange={"price_ratio_ppb": 975_000_000})
    desk = Desk(rules, (perpetual(), spot()), index=(100, 100))
    member, other = desk.open(5, RICH)
    desk.ok(Contribute(other, 20 * USD))
    desk.ok(Deposit(1, member, (999,)))
    desk.trade(member, other, 10, 100)
    desk.order(other, BUY, 10, 90)
    (declared,) = of(desk.index(90, 100), DefaultDeclared)
    assert declared.contributions == ((other, 20 * USD),)
    return desk, member, other


@pytest.mark.spec("WFALL-01")
def test_a_default_is_over_when_nobody_would_buy_what_is_left_beside_the_debt() -> None:
    desk, member, other = dusty()
    assert (desk.cash(member), desk.cash(member, 1), desk.lots(member)) == (-95 * USD, 999, 0)
    assert (member, 0) in desk.state.in_liquidation
    assert not desk.state.defaults
    desk.ok(Contribute(other, -15 * USD))
    assert audit(desk.batches).findings == ()


@pytest.mark.spec("WFALL-01")
def test_when_the_coins_fall_below_the_debt_that_is_a_default_anew() -> None:
    """999 atoms at 90 are 89.91: 5.09 are missing, and the 20 that are there by now answer for them."""
    desk, _, other = dusty()
    desk.ok(Contribute(other, 10 * USD))
    desk.ok(Contribute(other, -10 * USD))
    events = desk.index(90, 90)
    assert [e.contributions for e in of(events, DefaultDeclared)] == [((other, 20 * USD),)]
    (layer,) = of(events, LayerDrawn)
    assert (layer.layer, layer.shares) == ("contributions", ((other, 5_090_000),))
    assert [e.residual_atoms for e in of(events, DeficitClosed)] == [0]
    assert not desk.state.defaults
    assert audit(desk.batches).findings == ()


def test_a_lot_that_the_book_could_buy_keeps_the_default_open() -> None:
    desk, member, other = dusty()
    desk.ok(Deposit(1, member, (1,)))
    assert of(desk.index(90, 99), DefaultDeclared)
    assert desk.refused(Contribute(other, -USD)) is RejectReason.DEFAULT_OPEN
    assert audit(desk.batches).findings == ()


def test_the_audit_names_who_takes_his_contribution_out_of_an_open_default() -> None:
    desk, member, other = dusty()
    desk.ok(Deposit(1, member, (1,)))
    desk.index(90, 99)
    legs = ((other, 0, USD), (DEFAULT_FUND, 0, -USD))
    taken = (Contributed(other, -USD), Posted("contribution", legs))
    batches = [*desk.batches, Batch(desk.venue.seq + 1, desk.time_ns, taken)]
    assert [f.rule for f in audit(batches).findings] == ["(f)"]
