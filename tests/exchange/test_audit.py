import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from msgspec import structs

from tests.venues import ASSETS, T0, USD, Desk, hyperliquid, perpetual, rulebook, spot
from zerodebt.exchange import commands as ask
from zerodebt.exchange import events as says
from zerodebt.exchange.audit import Audit, Report, audit
from zerodebt.exchange.events import FIRST_ACCOUNT, HOUSE, INSURANCE, Batch, Event
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.rules import VenueRules
from zerodebt.exchange.units import MINUTE_NS, SECOND_NS
from zerodebt.exchange.venue import Venue

E = TypeVar("E")
CUSTOMERS = 40
MAKERS = range(FIRST_ACCOUNT + CUSTOMERS - 4, FIRST_ACCOUNT + CUSTOMERS)
VAULT = FIRST_ACCOUNT + CUSTOMERS
INSTRUMENTS = (
    perpetual("BTC", tiers=(Tier(0, 40), Tier(20_000 * USD, 20)), tick_value_atoms=1000),
    perpetual("ETH", tiers=(Tier(0, 25), Tier(10_000 * USD, 10)), tick_value_atoms=1000),
    spot(tick_value_atoms=1000, lot_atoms=1),
)


def crash_rules(*waterfall: str, **tables: Any) -> VenueRules:
    """Hyperliquid's rulebook on a small scale: chunks above 5,000 USD, funding every minute."""
    scaled: dict[str, Any] = {
        "orders": {"value_min_atoms": 0},
        "liquidation": {"chunk_threshold_atoms": 5_000 * USD},
        "funding": {"interval_ns": MINUTE_NS, "impact_notional_atoms": 500 * USD},
    }
    for name, table in tables.items():
        scaled[name] = scaled.get(name, {}) | table
    if waterfall:
        scaled["waterfall"] = list(waterfall)
    return hyperliquid(**scaled)


class Crash:
    """Random commands of a small market through a fall of about a half, by a seed."""

    def __init__(self, seed: int, rules: VenueRules, *, fund_usd: int = 0, house_usd: int = 0) -> None:
        self.random = random.Random(seed)
        self.venue = Venue(rules, ASSETS, INSTRUMENTS)
        self.sources = len(rules.sources)
        self.time_ns = T0
        self.batches = [self.venue.opening()]
        self.prices = [90_000, 40_000, 3_000]
        self.live: list[tuple[int, int]] = []
        self._open(fund_usd, house_usd)
        for step in range(120):
            self._step(falling=35 < step < 85)
        for _ in range(3):
            self.do(ask.Tick(), later_ns=40 * SECOND_NS)

    def do(self, command: ask.Command, later_ns: int = 0) -> tuple[Event, ...]:
        self.time_ns += later_ns
        batch = self.venue.apply(command, self.time_ns)
        self.batches.append(batch)
        for event in batch.events:
            if isinstance(event, says.OrderAccepted | says.TriggerArmed):
                self.live.append((event.account, event.order_id))
        return batch.events

    def _open(self, fund_usd: int, house_usd: int) -> None:
        draw = self.random
        self.do(ask.OpenAccounts(CUSTOMERS))
        self.do(ask.OpenAccounts(1, "vault"))
        wallets = tuple(draw.choice((500, 1000, 3000, 10_000)) * USD for _ in range(CUSTOMERS))
        self.do(ask.Deposit(0, FIRST_ACCOUNT, wallets))
        self.do(ask.Deposit(0, MAKERS[0], (200_000 * USD,) * len(MAKERS)))
        self.do(ask.Deposit(1, FIRST_ACCOUNT, (100_000,) * CUSTOMERS))
        self.do(ask.Deposit(0, VAULT, (draw.choice((1000, 20_000)) * USD,)))
        if fund_usd:
            self.do(ask.Deposit(0, INSURANCE, (fund_usd * USD,)))
        if house_usd:
            self.do(ask.Deposit(0, HOUSE, (house_usd * USD,)))
        self.do(ask.SetBackstop(VAULT, (0, 1)))
        for account in range(FIRST_ACCOUNT, FIRST_ACCOUNT + 8):
            self.do(ask.SetLeverage(account, draw.randrange(2), 25, "isolated"))
        for n in (0, 1):
            who = draw.sample(range(FIRST_ACCOUNT + 8, MAKERS[0]), 24)
            sizes = [draw.randint(1, 300) for _ in range(12)]
            self.do(
                ask.LoadPositions(
                    n,
                    self.prices[n],
                    tuple(who),
                    tuple(sizes + [-size for size in sizes]),
                    tuple(self.prices[n] + draw.randint(-3000, 3000) for _ in who),
                    tuple(draw.choice((5, 10, 20)) for _ in who),
                    tuple(draw.choice((0, 0, 100 * USD)) for _ in who),
                )
            )
        self._index()

    def _index(self) -> None:
        draw = self.random
        self.do(
            ask.UpdateIndex(
                tuple(
                    ask.Observation(n, source, max(1, price + draw.randint(-20, 20)), self.time_ns)
                    for n, price in enumerate(self.prices)
                    for source in range(self.sources)
                    if source < 8 or draw.random() < 0.7
                )
            )
        )

    def _step(self, *, falling: bool) -> None:
        draw = self.random
        for n, price in enumerate(self.prices):
            self.prices[n] = max(10, int(price * (1 + draw.gauss(-0.012 if falling else 0, 0.008))))
        for maker in MAKERS:
            for n, price in enumerate(self.prices):
                if draw.random() < (0.2 if falling else 0.5):
                    near = draw.randint(5, 50)
                    levels = [(near + 40 * k, draw.randint(1, 40)) for k in range(4)]
                    bids = tuple((price - away, lots) for away, lots in levels)
                    asks = tuple((price + away, lots) for away, lots in levels)
                    self.do(ask.MassQuote(maker, n, bids, asks))
        for _ in range(15):
            self._trade()
        self.time_ns += 3 * SECOND_NS
        if draw.random() < 0.9:
            self._index()
        else:
            self.do(ask.Tick())

    def _trade(self) -> None:
        draw = self.random
        account, n = draw.randrange(FIRST_ACCOUNT, VAULT), draw.randrange(3)
        what = draw.random()
        if what < 0.6:
            self._order(account, n)
        elif what < 0.7 and self.live:
            self.do(ask.CancelOrder(*draw.choice(self.live)))
        elif what < 0.88 and self.live:
            price = draw.choice((None, self.prices[n] + draw.randint(-60, 60)))
            self.do(ask.AmendOrder(*draw.choice(self.live), price, draw.choice((None, draw.randint(1, 60)))))
        elif what < 0.93:
            self.do(ask.Withdraw(account, draw.randrange(2), draw.randint(1, 300) * USD))
        elif what < 0.98:
            self.do(ask.TransferMargin(account, draw.randrange(2), draw.randint(-100, 100) * USD))
        else:
            self.do(ask.CancelAll(account))

    def _order(self, account: int, n: int) -> None:
        draw = self.random
        price = draw.choice((None, self.prices[n] + draw.randint(-60, 60)))
        trigger = None
        if n < 2 and draw.random() < 0.15:
            reference = draw.choice(("mark", "last"))
            kind = draw.choice(("stop", "take_profit"))
            trigger = ask.Trigger(kind, reference, self.prices[n] + draw.randint(-1500, 1500))  # type: ignore[arg-type]
        self.do(
            ask.PlaceOrder(
                account,
                n,
                draw.choice((1, -1)),
                draw.randint(1, 60),
                price,
                draw.choice(("ioc", "fok")) if price is None else draw.choice(("gtc", "gtc", "ioc")),
                reduce_only=n < 2 and draw.random() < 0.3,
                self_trade=draw.choice(("cancel_newest", "cancel_oldest", "cancel_both")),
                trigger=trigger,
            ),
            draw.choice((0, SECOND_NS // 10)),
        )


RULEBOOKS: dict[str, tuple[VenueRules, int, int]] = {
    "hyperliquid": (crash_rules(), 0, 0),
    "book alone": (crash_rules("book"), 0, 0),
    "fund first": (crash_rules("book", "insurance", "adl"), 3000, 0),
    "binance": (
        crash_rules("book", "insurance", "adl", "socialise", adl={"score": "binance", "price": "mark"}),
        500,
        0,
    ),
    "bankruptcy": (crash_rules("book", "insurance", "adl", "socialise", adl={"price": "bankruptcy"}), 50, 0),
    "everyone": (crash_rules("book", "backstop", "insurance", "socialise", "house", "recourse"), 100, 100),
    "broker": (crash_rules("book", "recourse"), 0, 0),
    "rebates": (
        crash_rules(fees={"maker_ppb": -50_000, "taker_ppb": 350_000, "liquidation_ppb": 5_000_000}),
        0,
        0,
    ),
}


@lru_cache(maxsize=32)
def crash(name: str, seed: int) -> Crash:
    rules, fund_usd, house_usd = RULEBOOKS[name]
    return Crash(seed, rules, fund_usd=fund_usd, house_usd=house_usd)


def rules_broken(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", RULEBOOKS)
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


@pytest.mark.parametrize(("name", "seed"), [("book alone", 5), ("binance", 4)])
def test_a_maker_may_sell_spot_while_an_isolated_position_of_it_is_liquidated(name: str, seed: int) -> None:
    assert audit(crash(name, seed).batches).findings == ()


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


# Sabotage: each takes the batches of an honest run and returns what a dishonest one would have written.

Batches = list[Batch]
Edit = Callable[[Batches], Batches]


def positions(batches: Batches, kind: type[E], where: Callable[[E], bool]) -> Iterator[tuple[int, int, E]]:
    for b, batch in enumerate(batches):
        for k, event in enumerate(batch.events):
            if isinstance(event, kind) and where(event):
                yield b, k, event


def first(batches: Batches, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> tuple[int, int, E]:
    return next(positions(batches, kind, where))


def put(batches: Batches, b: int, events: list[Event]) -> Batches:
    return [*batches[:b], structs.replace(batches[b], events=tuple(events)), *batches[b + 1 :]]


def edited(kind: type[E], where: Callable[[E], bool] = lambda _: True, **changes: Callable[[E], Any]) -> Edit:
    """Change fields of the first event of a kind."""

    def edit(batches: Batches) -> Batches:
        b, k, event = first(batches, kind, where)
        fields = {name: change(event) for name, change in changes.items()}
        events: list[Any] = list(batches[b].events)
        events[k] = structs.replace(event, **fields)  # type: ignore[type-var]
        return put(batches, b, events)

    return edit


def without(kind: type[E], where: Callable[[E], bool] = lambda _: True) -> Edit:
    """Leave the first event of a kind out."""

    def edit(batches: Batches) -> Batches:
        b, k, _ = first(batches, kind, where)
        events = list(batches[b].events)
        del events[k]
        return put(batches, b, events)

    return edit


def posted(reason: str) -> Callable[[says.Posted], bool]:
    return lambda event: event.reason == reason and len(event.legs) > 1


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


def judged_by(batches: Batches, *waterfall: str) -> Report:
    """The audit of a run that claims another waterfall than the one it followed."""
    opened = batches[0].events[0]
    assert isinstance(opened, says.Opened)
    claimed = structs.replace(opened.rules, waterfall=waterfall)
    return audit(put(batches, 0, [structs.replace(opened, rules=claimed)]))


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


# Three ledgers that look clean and are not. Wallet pocket 0, isolated margin of the one perpetual pocket 2.

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


def test_work_left_before_the_bound_is_no_excuse() -> None:
    batches = quiet_hours()
    last = batches[-1]
    early = Batch(last.seq, last.time_ns, (*last.events, says.WorkLeft(1)))
    assert rules_broken(audit([*batches[:-1], early])) == {"LIQ-02"}


def test_events_before_the_rulebook_are_no_run() -> None:
    report = audit([Batch(0, T0, (says.AccountsOpened(16, 1, "customer"),))])
    assert not report.agrees
    assert rules_broken(report) == {"EVENT-01"}


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


@pytest.mark.parametrize("lots", [3, 5, 7])
def test_decrement_of_less_the_same_and_more_than_rests_agrees(lots: int) -> None:
    desk = Desk(index=(100,))
    (account,) = desk.open(1000)
    desk.order(account, 1, 5, 100)
    desk.order(account, -1, lots, 100, self_trade="decrement")
    assert audit(desk.batches).findings == ()


def quiet_hours() -> list[Batch]:
    """Two instruments, ten lots held in the first, an index every minute over two fundings."""
    desk = Desk(rulebook("book", "adl"), (perpetual(), perpetual("ETH")), index=(100, 100))
    long, short = desk.open(60, 1000)
    desk.trade(long, short, 10, 100)
    for _ in range(80):
        desk.index(100, 100, later_ns=MINUTE_NS)
    assert audit(desk.batches).findings == ()
    return desk.batches


def audit_without(batches: list[Batch], drop: Callable[[Event], bool]) -> Report:
    kept = (tuple(event for event in batch.events if not drop(event)) for batch in batches)
    return audit(Batch(b.seq, b.time_ns, events) for b, events in zip(batches, kept, strict=True))


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


def test_margin_isolated_out_of_a_pool_that_has_lost_it_is_named() -> None:
    """The wallet of 1000 holds an unrealised loss of 10 * 50; isolating 800 would leave a debt of 300."""
    moves = says.Posted("isolate", ((LONG, 0, -800 * USD), (LONG, MARGIN, 800 * USD)))
    report = told(loaded(LONG, 10), START, (marked(50, 100),), (moves,))
    assert report.verdict == "RESIDUAL"
    assert any(f.rule == "(a)" and "cross pool with equity 500000000" in f.text for f in report.findings)
