"""Collateral that goes to its issuer instead of the spot book: at which price, when it pays, what counts."""

from typing import Any

import pytest
from msgspec import structs

from tests.exchange.audit.damage import Edit, edited, off, rules_broken, without
from tests.exchange.test_conversion import COIN, RICH, holder, lose
from tests.venues import USD, Desk, of, perpetual, rulebook, spot
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import BUY, Deposit
from zerodebt.exchange.events import (
    EXTERNAL,
    HOUSE,
    DeficitClosed,
    DeficitOpened,
    Event,
    ExchangeArmed,
    LiquidationEnded,
    Posted,
    RedemptionPaid,
    RedemptionSent,
)
from zerodebt.exchange.margin import collateral_initial_atoms, risk_of
from zerodebt.exchange.rules import RulesError
from zerodebt.exchange.units import MINUTE_NS, SECOND_NS

LAG_NS = 10 * MINUTE_NS
BILL = {"asset": "COIN", "decimals": 3, "ratio_ppb": 900_000_000, "redemption_lag_ns": LAG_NS}


def bill_desk(*waterfall: str, trigger_usd: int = 100, **rule: Any) -> Desk:
    exchange = {"price_ratio_ppb": 975_000_000, "trigger_atoms": trigger_usd * USD}
    rules = rulebook(*(waterfall or ("book", "house")), collateral=[BILL | rule], exchange=exchange)
    desk = Desk(rules, (perpetual(), spot()))
    desk.index(100, 10, later_ns=0)
    return desk


def redeemed(desk: Desk, coins: int = 100) -> tuple[int, list[Event]]:
    """100 USD lost on coins of 10: 10 coins go to the issuer, although the book would buy them."""
    a, b = holder(desk, 0, coins), holder(desk, RICH, 0)
    lose(desk, a, b, 100, gap=10)
    desk.order(b, BUY, 50, 10, instrument=1)
    return a, desk.index(100, 10)


def test_what_is_owed_is_redeemed_at_the_index_and_paid_after_the_lag() -> None:
    desk = bill_desk()
    a, events = redeemed(desk)
    due_ns = desk.time_ns + LAG_NS
    assert of(events, RedemptionSent) == [
        RedemptionSent(a, 1, 1, 100 * USD, 10 * COIN, 10, 100 * USD, due_ns, "owed")
    ]
    assert not of(events, ExchangeArmed)
    assert (desk.cash(a), desk.cash(a, 1), desk.cash(EXTERNAL, 1)) == (-100 * USD, 90 * COIN, -90 * COIN)
    assert not of(desk.tick(LAG_NS - SECOND_NS), RedemptionPaid)
    assert of(desk.tick(SECOND_NS), RedemptionPaid) == [RedemptionPaid(a, 1, 100 * USD)]
    assert (desk.cash(a), desk.cash(a, 1)) == (0, 90 * COIN)
    assert not desk.state.redemptions
    assert audit(desk.batches).findings == ()


def test_the_price_of_the_request_holds_whatever_the_index_does() -> None:
    desk = bill_desk()
    a, _ = redeemed(desk)
    desk.index(100, 5)
    assert desk.equity(a) == (90 * 5 + 100 - 100) * USD
    desk.tick(LAG_NS)
    assert desk.cash(a) == 0


def test_what_is_on_its_way_counts_like_the_asset() -> None:
    """90 coins and 100 USD from the issuer, each at 90 %: 810 + 90, as 100 coins did."""
    desk = bill_desk()
    a, _ = redeemed(desk)
    risk = risk_of(desk.state, (a, 0))
    assert risk.equity_atoms == (900 + 100 - 100) * USD
    assert risk.haircut_atoms == (90 + 10) * USD
    assert collateral_initial_atoms(desk.state, a) == (810 + 90) * USD
    assert desk.venue.view.equities([a]).tolist() == [risk.equity_atoms]


def test_what_is_on_its_way_is_not_redeemed_twice() -> None:
    desk = bill_desk()
    redeemed(desk)
    assert not of(desk.index(100, 10), RedemptionSent)


def test_who_is_in_liquidation_redeems_no_more_than_what_is_owed() -> None:
    """12 coins of 9 count 97.20 for 100 owed: 11.112 of them bring 100.008, and the rest stays."""
    desk = bill_desk(trigger_usd=1000)
    a, b = holder(desk, 0, 12), holder(desk, RICH, 0)
    lose(desk, a, b, 100, gap=10)
    (sent,) = of(desk.index(100, 9), RedemptionSent)
    assert (sent.atoms, sent.because) == (11_112, "liquidation")
    assert not of(desk.index(100, 9), RedemptionSent)
    assert desk.cash(a, 1) == 12 * COIN - 11_112
    assert audit(desk.batches).findings == ()


def test_what_an_issuer_pays_is_no_gain_of_the_session() -> None:
    desk = bill_desk()
    a, _ = redeemed(desk)
    base = desk.state.accounts.session_base.cells[0]
    before = base[a]
    desk.tick(LAG_NS)
    assert base[a] == before + 100 * USD


def test_the_haircut_may_be_for_initial_margin_alone() -> None:
    desk = bill_desk(haircut_for="initial")
    a, _ = redeemed(desk)
    assert risk_of(desk.state, (a, 0)).haircut_atoms == 0
    assert collateral_initial_atoms(desk.state, a) == (810 + 90) * USD


def test_a_bankrupt_accounts_receivable_covers_its_debt() -> None:
    """100 owed on 12 coins that fall to 5: 60 come from the issuer, 40 from the house at once."""
    desk = bill_desk(trigger_usd=1000)
    desk.ok(Deposit(0, HOUSE, (1000 * USD,)))
    a, b = holder(desk, 0, 12), holder(desk, RICH, 0)
    lose(desk, a, b, 100, gap=10)
    events = desk.index(100, 5)
    (sent,) = of(events, RedemptionSent)
    assert (sent.atoms, sent.paid_atoms) == (12 * COIN, 60 * USD)
    (opened,) = of(events, DeficitOpened)
    assert opened.atoms == 40 * USD
    assert of(events, DeficitClosed) == [DeficitClosed(opened.deficit_id, 0, 0)]
    assert (desk.cash(a), desk.equity(a)) == (-60 * USD, 0)
    assert of(desk.tick(LAG_NS), LiquidationEnded)
    assert desk.cash(a) == 0
    report = audit(desk.batches)
    assert report.findings == ()
    assert not report.residuals


def dusty_desk() -> tuple[Desk, int, list[Event]]:
    """At 1 USD for 10^10 atoms, 9999 atoms of the bill are worth less than one of the settlement asset.

    Their owner has 100 USD, and 9 lots are sold for him 12 lower.
    """
    rules = rulebook("book", "house", collateral=[BILL], exchange={"price_ratio_ppb": 975_000_000})
    desk = Desk(rules, (perpetual(), spot(lot_atoms=10**10)))
    desk.index(100, 1, later_ns=0)
    desk.ok(Deposit(0, HOUSE, (1000 * USD,)))
    (a,) = desk.open(100)
    desk.ok(Deposit(1, a, (9_999,)))
    b = holder(desk, RICH, 0)
    desk.trade(a, b, 9, 100)
    desk.order(b, BUY, 9, 88)
    return desk, a, desk.index(88, 1)


@pytest.mark.spec("LIQ-10")
def test_what_is_worth_no_atom_is_not_redeemed_and_holds_nothing_up() -> None:
    desk, a, events = dusty_desk()
    assert not of(events, RedemptionSent)
    assert [deficit.atoms for deficit in of(events, DeficitOpened)] == [8 * USD]
    assert [closed.residual_atoms for closed in of(events, DeficitClosed)] == [0]
    assert (desk.cash(a), desk.cash(a, 1)) == (0, 9_999)
    assert not desk.state.in_liquidation
    assert audit(desk.batches).findings == ()


def test_the_audit_names_a_redemption_of_what_is_worth_nothing() -> None:
    desk, a, events = dusty_desk()
    at = next(k for k, event in enumerate(events) if isinstance(event, DeficitOpened))
    sent = RedemptionSent(a, 1, 1, 8 * USD, 9_999, 1, 0, desk.time_ns + LAG_NS, "bankruptcy")
    legs = ((a, 1, -9_999), (EXTERNAL, 1, 9_999))
    put = (*events[:at], sent, Posted("redemption", legs), *events[at:])
    batches = [*desk.batches[:-1], structs.replace(desk.batches[-1], events=put)]
    (finding,) = audit(batches).findings
    assert (finding.rule, "worth nothing" in finding.text) == ("LIQ-10", True)


def test_tiers_of_what_is_on_its_way_are_refused() -> None:
    with pytest.raises(RulesError, match="redemption_lag_ns"):
        bill_desk(tiers=[{"upto": 5, "ratio_ppb": 1}])


def test_a_backstop_beside_it_is_refused() -> None:
    with pytest.raises(RulesError, match="redemption_lag_ns"):
        bill_desk("book", "backstop")


def test_a_snapshot_keeps_what_issuers_owe() -> None:
    desk = bill_desk()
    a, _ = redeemed(desk)
    twin = desk.restored()
    assert twin.state_hash() == desk.venue.state_hash()
    assert risk_of(twin._state, (a, 0)) == risk_of(desk.state, (a, 0))
    point = len(desk.journal)
    desk.index(100, 7)
    desk.tick(LAG_NS)
    for stamped, batch in zip(desk.journal[point:], desk.batches[point + 1 :], strict=True):
        assert twin.apply(stamped.command, stamped.time_ns) == batch
    assert twin.state_hash() == desk.venue.state_hash()


SABOTAGES: dict[str, tuple[str, Edit]] = {
    "more is redeemed": ("LIQ-10", off(RedemptionSent, "atoms")),
    "less is owed": ("LIQ-10", off(RedemptionSent, "owed_atoms", -1)),
    "the issuer owes more": ("LIQ-10", off(RedemptionSent, "paid_atoms")),
    "it is priced off the index": ("LIQ-10", off(RedemptionSent, "index_ticks")),
    "it is paid earlier": ("LIQ-10", off(RedemptionSent, "due_ns", -LAG_NS)),
    "a reason that is none": (
        "LIQ-10",
        edited(RedemptionSent, because=lambda _: "liquidation"),
    ),
    "it is not announced": ("LEDG-03", without(RedemptionSent)),
    "more is paid": ("LIQ-10", off(RedemptionPaid, "paid_atoms")),
    "another is paid": ("LIQ-10", off(RedemptionPaid, "account")),
    "nothing is paid": ("LIQ-10", without(RedemptionPaid)),
    "the payment is not posted": (
        "LEDG-03",
        without(Posted, lambda e: e.reason == "redemption" and e.legs[0][1] == 0),
    ),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_dishonest_redemption_is_named(name: str) -> None:
    desk = bill_desk()
    redeemed(desk)
    desk.tick(LAG_NS)
    rule, edit = SABOTAGES[name]
    assert rule in rules_broken(audit(edit(desk.batches)))
