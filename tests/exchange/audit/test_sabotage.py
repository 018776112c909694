"""Each sabotage of an honest run is named."""

from itertools import pairwise

import pytest
from msgspec import structs

from tests.exchange.audit.crash import MAKERS, crash
from tests.exchange.audit.damage import (
    Batches,
    Edit,
    audit_without,
    edited,
    first,
    judged_by,
    posted,
    put,
    rules_broken,
    without,
)
from tests.venues import T0, USD, Desk, perpetual, rulebook
from zerodebt.exchange import commands as ask
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import audit
from zerodebt.exchange.events import FIRST_ACCOUNT, HOUSE, Batch, Event
from zerodebt.exchange.units import MINUTE_NS


def test_the_crashes_contain_what_the_sabotages_need() -> None:
    kinds = {type(event) for batch in crash("hyperliquid", 1).batches for event in batch.events}
    wanted = {
        says.TriggerFired,
        says.OrderAmended,
        says.FundingSet,
        says.TakenOver,
        says.Deleveraged,
        says.DeficitClosed,
        says.LiquidationEnded,
        says.Quoted,
    }
    assert wanted <= kinds


def drop_leg(batches: Batches) -> Batches:
    return edited(says.Posted, posted("fill"), legs=lambda event: event.legs[1:])(batches)


def move_one_atom(batches: Batches) -> Batches:
    def legs(event: says.Posted) -> tuple[tuple[int, int, int], ...]:
        (a, p, x), (b, q, y), *rest = event.legs
        return ((a, p, x + 1), (b, q, y - 1), *rest)

    return edited(says.Posted, posted("fill"), legs=legs)(batches)


def swap_ranks(batches: Batches) -> Batches:
    """Two winners of one bankrupt account change places, with all that is said of them."""
    for b, batch in enumerate(batches):
        found = [k for k, event in enumerate(batch.events) if isinstance(event, says.Deleveraged)]
        for k, m in pairwise(found):
            one, two = batch.events[k], batch.events[m]
            assert isinstance(one, says.Deleveraged)
            assert isinstance(two, says.Deleveraged)
            if (one.deficit_id, one.instrument) == (two.deficit_id, two.instrument):
                events = list(batch.events)
                for at, own, other in ((k, one, two), (m, two, one)):
                    events[at] = structs.replace(
                        own,
                        winner=other.winner,
                        winner_pocket=other.winner_pocket,
                        rank=other.rank,
                        score_ppb=other.score_ppb,
                    )
                return put(batches, b, events)
    raise AssertionError("no deficit took two winners")


def swap_queue(batches: Batches) -> Batches:
    """The second maker of a sweep trades before the first."""
    for b, batch in enumerate(batches):
        found = [k for k, event in enumerate(batch.events) if isinstance(event, says.Filled)]
        for k, m in pairwise(found):
            one, two = batch.events[k], batch.events[m]
            both_posted = all(isinstance(batch.events[at + 1], says.Posted) for at in (k, m))
            assert isinstance(one, says.Filled)
            assert isinstance(two, says.Filled)
            if one.taker_order == two.taker_order and one.price_ticks != two.price_ticks and both_posted:
                events = list(batch.events)
                events[k : k + 2], events[m : m + 2] = events[m : m + 2], events[k : k + 2]
                return put(batches, b, events)
    raise AssertionError("no sweep over two prices")


def pay_funding_twice(batches: Batches) -> Batches:
    b, k, _ = first(batches, says.Posted, posted("funding"))
    events = list(batches[b].events)
    return put(batches, b, [*events[: k + 1], events[k], *events[k + 1 :]])


def set_funding_twice(batches: Batches) -> Batches:
    b, k, _ = first(batches, says.Posted, posted("funding"))
    events = list(batches[b].events)
    return put(batches, b, [*events[: k + 1], *events[k - 1 : k + 1], *events[k + 1 :]])


def hide_deficit(batches: Batches) -> Batches:
    """Nothing is said of the first deficit, nor of how it was paid."""
    b, k, _ = first(batches, says.DeficitOpened)
    events = list(batches[b].events)
    end = next(m for m, event in enumerate(events) if isinstance(event, says.DeficitClosed) and m > k)
    return put(batches, b, events[:k] + events[end + 1 :])


def force_a_healthy_account(batches: Batches) -> Batches:
    """A maker, who is far above its requirement, is sent to the book."""
    b, _, filled = first(
        batches,
        says.Filled,
        lambda event: event.maker in MAKERS and event.instrument == 0 and event.taker_side > 0,
    )
    forced = says.OrderAccepted(10**9, filled.maker, 0, 1, 1, None, "ioc", False, True, True)
    events = [*batches[b].events, forced, says.OrderClosed(10**9, 1, "unfilled")]
    return put(batches, b, events)


def cancel_the_maker_first(batches: Batches) -> Batches:
    b, _, filled = first(batches, says.Filled)
    events = list(batches[b].events)
    accepted = next(m for m, event in enumerate(events) if isinstance(event, says.OrderAccepted))
    closed = says.OrderClosed(filled.maker_order, filled.size_lots, "cancelled")
    return put(batches, b, [*events[:accepted], closed, *events[accepted:]])


def drop_batch(batches: Batches) -> Batches:
    b, _, _ = first(batches, says.Quoted)
    return batches[:b] + batches[b + 1 :]


def let_a_stranger_pay(batches: Batches) -> Batches:
    """The backstop's payment is taken from a customer who has nothing to do with it."""

    def legs(event: says.Posted) -> tuple[tuple[int, int, int], ...]:
        return tuple(
            (MAKERS[0] if atoms < 0 else account, pocket, atoms) for account, pocket, atoms in event.legs
        )

    return edited(says.Posted, posted("insurance"), legs=legs)(batches)


def other_origins(event: says.DeficitOpened) -> tuple[tuple[int, int], ...]:
    (account, atoms), *rest = event.origins
    return ((account + 1, atoms), *rest)


def worse_spread(event: says.Marked) -> tuple[int | None, int | None, int | None]:
    bid, ask_, last = event.spread
    assert bid is not None
    return (bid - 1, ask_, last)


SABOTAGES: dict[str, tuple[str, str, Edit]] = {
    "a leg is dropped": ("LEDG-01", "sums to", drop_leg),
    "an amount is off by one atom": ("LEDG-03", "are due", move_one_atom),
    "two ADL ranks are swapped": ("WFALL-03", "the ranking asks account", swap_ranks),
    "an ADL score is off": (
        "WFALL-03",
        "score",
        edited(says.Deleveraged, score_ppb=lambda event: event.score_ppb + 1),
    ),
    "an ADL price is off": (
        "WFALL-03",
        "the rule says",
        edited(says.Deleveraged, price_ticks=lambda event: event.price_ticks + 1),
    ),
    "an ADL winner keeps a lot": (
        "WFALL-04",
        "are due",
        edited(
            says.Deleveraged,
            lambda event: abs(event.lots) > 1,
            lots=lambda event: event.lots - (1 if event.lots > 0 else -1),
        ),
    ),
    "a transfer is off by one atom": (
        "(d)",
        "transfer",
        edited(says.Deleveraged, transfer_atoms=lambda event: event.transfer_atoms + 1),
    ),
    "a fill is out of queue order": ("BOOK-01", "comes first", swap_queue),
    "funding is posted twice": ("LEDG-03", "a funding posting", pay_funding_twice),
    "funding is paid twice": ("FUND-02", "not due", set_funding_twice),
    "a funding rate is off": (
        "FUND-02",
        "the samples give",
        edited(says.FundingSet, rate_ppt=lambda event: event.rate_ppt + 1),
    ),
    "a premium is off": (
        "FUND-02",
        "the book says",
        edited(says.FundingSampled, premium_ppt=lambda event: event.premium_ppt + 1),
    ),
    "a fee is off by one": (
        "FEE-01",
        "taker fee",
        edited(says.Filled, taker_fee_atoms=lambda event: event.taker_fee_atoms + 1),
    ),
    "a fill price is off": (
        "BOOK-03",
        "the maker's price",
        edited(says.Filled, price_ticks=lambda event: event.price_ticks + 1),
    ),
    "a mark is off": (
        "MARK-05",
        "its inputs give",
        edited(
            says.Marked,
            lambda event: event.spread[0] is not None,
            mark_ticks=lambda event: event.mark_ticks + 1,
        ),
    ),
    "a mark cites another bid": (
        "MARK-04",
        "the book stood at",
        edited(says.Marked, lambda event: event.spread[0] is not None, spread=worse_spread),
    ),
    "an average is off": (
        "MARK-05",
        "average",
        edited(
            says.Marked,
            lambda event: event.book_ema_ticks is not None,
            book_ema_ticks=lambda event: (event.book_ema_ticks or 0) + 1,
        ),
    ),
    "a takeover is of fewer lots": (
        "LIQ-04",
        "it holds",
        edited(
            says.TakenOver,
            lambda event: abs(event.lots) > 1,
            lots=lambda event: event.lots - (1 if event.lots > 0 else -1),
        ),
    ),
    "a takeover is off the mark": (
        "(b)",
        "the mark is",
        edited(says.TakenOver, price_ticks=lambda event: event.price_ticks + 1),
    ),
    "a deficit is hidden": ("(a)", "", hide_deficit),
    "a deficit's opening is hidden": ("(d)", "not open", without(says.DeficitOpened)),
    "a deficit is understated": (
        "(d)",
        "states",
        edited(says.DeficitOpened, atoms=lambda event: event.atoms - 1),
    ),
    "an origin is changed": ("(d)", "origins", edited(says.DeficitOpened, origins=other_origins)),
    "an overcharge is hidden": (
        "(d)",
        "overcharge",
        edited(
            says.DeficitClosed,
            lambda event: event.overcharge_atoms > 0,
            overcharge_atoms=lambda event: event.overcharge_atoms - 1,
        ),
    ),
    "a healthy account is forced": ("LIQ-01", "forced order", force_a_healthy_account),
    "a forced order goes too far": (
        "LIQ-08",
        "the rulebook says",
        edited(
            says.OrderAccepted,
            lambda event: event.forced,
            price_ticks=lambda event: (event.price_ticks or 0) - 1,
        ),
    ),
    "a liquidation's equity is off": (
        "LIQ-01",
        "are stated",
        edited(says.LiquidationStarted, equity_atoms=lambda event: event.equity_atoms + 1),
    ),
    "a liquidation is not announced": ("LIQ-03", "not in liquidation", without(says.LiquidationStarted)),
    "a cancelled order trades": ("BOOK-08", "is not live", cancel_the_maker_first),
    "an amended order keeps its place": (
        "BOOK-10",
        "keeps_place",
        edited(says.OrderAmended, keeps_place=lambda event: not event.keeps_place),
    ),
    "an unfilled order rests": (
        "BOOK-12",
        "may not rest",
        without(says.OrderClosed, lambda event: event.reason == "unfilled"),
    ),
    "a trigger fires early": (
        "TRIG-02",
        "cites",
        edited(says.TriggerFired, reference_ticks=lambda event: event.reference_ticks + 1),
    ),
    "a command's events are lost": ("DET-03", "follows", drop_batch),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_the_audit_names_a_sabotage(name: str) -> None:
    rule, text, sabotage = SABOTAGES[name]
    report = audit(sabotage(crash("hyperliquid", 1).batches))
    assert not report.agrees
    named = [finding for finding in report.findings if finding.rule == rule and text in finding.text]
    assert named, [(finding.rule, finding.text) for finding in report.findings[:5]]


def test_the_audit_names_a_stranger_who_pays() -> None:
    report = audit(let_a_stranger_pay(crash("fund first", 1).batches))
    assert "(f)" in rules_broken(report)


def test_a_stage_that_the_rulebook_does_not_list_is_named() -> None:
    report = judged_by(crash("hyperliquid", 1).batches, "book", "backstop")
    assert any(f.rule == "WFALL-01" and "not in the rulebook's list" in f.text for f in report.findings)


def sold_below_zero(*waterfall: str) -> tuple[list[Batch], int]:
    """Without a stage that takes positions: 10 lots bought at 100 with 60 are sold at 90, and 40 are missing.

    The house has 15. Returns the account too.
    """
    desk = Desk(rulebook(*waterfall, promise="none"), index=(100,))
    loser, winner = desk.open(60, 10_000)
    desk.ok(ask.Deposit(0, HOUSE, (15 * USD,)))
    desk.trade(loser, winner, 10, 100)
    desk.order(winner, 1, 10, 90)
    desk.index(90)
    assert audit(desk.batches).findings == ()
    return desk.batches, loser


def test_recourse_before_the_house_is_empty_is_named() -> None:
    batches, loser = sold_below_zero("book", "recourse")
    report = judged_by(batches, "book", "house", "recourse")
    assert [(f.rule, f.text) for f in report.findings] == [
        ("WFALL-01", f"recourse acts for account {loser} although stage house still has {15 * USD} atoms")
    ]


@pytest.mark.parametrize("stage", ["adl", "insurance"])
def test_a_bankrupt_account_sent_to_the_book_past_the_stage_for_its_positions_is_named(stage: str) -> None:
    batches, loser = sold_below_zero("book", "house")
    report = judged_by(batches, "book", stage, "house")
    (forced,) = (
        event
        for batch in batches
        for event in batch.events
        if isinstance(event, says.OrderAccepted) and event.forced
    )
    equity = (60 - 10 * (100 - 90)) * USD
    text = f"forced order {forced.order_id} in the book although equity is {equity}"
    assert forced.account == loser
    assert ("WFALL-01", text) in [(f.rule, f.text) for f in report.findings]


def test_a_takeover_that_does_not_come_is_missed() -> None:
    desk = Desk(rulebook("book", "backstop", "adl"), index=(100,))
    (vault,) = desk.open(10_000, role="vault")
    loser, winner = desk.open(60, 10_000)
    desk.ok(ask.SetBackstop(vault, (0,)))
    desk.trade(loser, winner, 10, 100)
    desk.index(95)  # equity 60 - 50 = 10, two thirds of 950 / 40 are 15.8
    assert audit(desk.batches).findings == ()

    def is_of_the_takeover(event: Event) -> bool:
        return isinstance(event, says.StageArmed | says.TakenOver | says.LiquidationEnded) or (
            isinstance(event, says.Posted) and event.reason == "takeover"
        )

    assert rules_broken(audit_without(desk.batches, is_of_the_takeover)) == {"WFALL-01"}


def test_a_takeover_beyond_the_cap_of_the_vault_is_named() -> None:
    """The vault took 950 of value; the rulebook that the audit reads lets it hold 900."""
    desk = Desk(rulebook("book", "backstop", "adl"), index=(100,))
    (vault,) = desk.open(10_000, role="vault")
    loser, winner = desk.open(60, 10_000)
    desk.ok(ask.SetBackstop(vault, (0,)))
    desk.trade(loser, winner, 10, 100)
    desk.index(95)
    opened = desk.batches[0].events[0]
    assert isinstance(opened, says.Opened)
    capped = structs.replace(opened.rules.liquidation, backstop_notional_max_atoms=900 * USD)
    told = structs.replace(opened, rules=structs.replace(opened.rules, liquidation=capped))
    first_batch = structs.replace(desk.batches[0], events=(told,))
    assert rules_broken(audit([first_batch, *desk.batches[1:]])) == {"WFALL-01"}


def test_work_left_before_the_bound_is_no_excuse() -> None:
    batches = quiet_hours()
    last = batches[-1]
    early = Batch(last.seq, last.time_ns, (*last.events, says.WorkLeft(1)))
    assert rules_broken(audit([*batches[:-1], early])) == {"LIQ-02"}


def test_events_before_the_rulebook_are_no_run() -> None:
    report = audit([Batch(0, T0, (says.AccountsOpened(16, 1, "customer"),))])
    assert not report.agrees
    assert rules_broken(report) == {"EVENT-01"}


def quiet_hours() -> list[Batch]:
    """Two instruments, ten lots held in the first, an index every minute over two fundings."""
    desk = Desk(rulebook("book", "adl"), (perpetual(), perpetual("ETH")), index=(100, 100))
    long, short = desk.open(60, 1000)
    desk.trade(long, short, 10, 100)
    for _ in range(80):
        desk.index(100, 100, later_ns=MINUTE_NS)
    assert audit(desk.batches).findings == ()
    return desk.batches


def test_funding_that_nobody_samples_is_missed() -> None:
    def is_funding(event: Event) -> bool:
        return isinstance(event, says.FundingSampled | says.FundingSet) or (
            isinstance(event, says.Posted) and event.reason == "funding"
        )

    assert rules_broken(audit_without(quiet_hours(), is_funding)) == {"FUND-02"}


def test_an_instrument_that_is_not_marked_with_the_others_is_missed() -> None:
    def is_about_the_first(event: Event) -> bool:
        return isinstance(event, says.Marked) and event.instrument == 0 and event.previous_mark_ticks == 100

    assert "MARK-03" in rules_broken(audit_without(quiet_hours(), is_about_the_first))


def test_a_withdrawal_below_the_requirement_is_named() -> None:
    batches = quiet_hours()
    last = batches[-1]
    legs = ((FIRST_ACCOUNT, 0, -40 * USD), (says.EXTERNAL, 0, 40 * USD))  # 60 - 40 is below 1000 / 40
    drained = Batch(last.seq + 1, last.time_ns, (says.Posted("withdrawal", legs),))
    assert "MARG-05" in rules_broken(audit([*batches, drained]))


@pytest.mark.spec("WFALL-06")
def test_a_share_of_custody_without_the_claim_that_is_left_behind_is_named() -> None:
    """40 USD of 1,000,000 + 60 are missing; 1 USD leaves with a claim of 1 USD and nothing more."""
    desk = Desk(rulebook("book"), index=(100,))
    loser, other = desk.open(60, 10**6)
    desk.trade(loser, other, 10, 100)
    desk.order(other, ask.BUY, 10, 90)
    desk.index(90)
    assert audit(desk.batches).findings == ()
    last = desk.batches[-1]
    legs = ((other, 0, -USD), (says.EXTERNAL, 0, USD))
    whole = Batch(last.seq + 1, last.time_ns, (says.Posted("withdrawal", legs),))
    assert "(g)" in rules_broken(audit([*desk.batches, whole]))


def test_a_position_of_an_account_that_does_not_exist_is_named() -> None:
    def strangers(event: says.PositionsLoaded) -> tuple[int, ...]:
        return (10**6, *event.accounts[1:])

    report = audit(edited(says.PositionsLoaded, accounts=strangers)(crash("hyperliquid", 1).batches))
    assert "EVENT-02" in rules_broken(report)
