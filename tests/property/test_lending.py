"""Random days of a lending pool: suppliers, borrowers on coins, traders, and every law after each step."""

import random
from collections import Counter

import pytest

from tests.exchange.test_lending import COIN, NINETY, PERCENT
from tests.exchange.test_margin import scan_all
from tests.venues import ASSETS, USD, Desk, of, perpetual, rulebook, spot
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Borrow,
    Command,
    Deposit,
    MassQuote,
    PlaceOrder,
    Redeem,
    SetBackstop,
    SetLeverage,
    SetStatus,
    Supply,
    Withdraw,
)
from zerodebt.exchange.events import (
    HOUSE,
    LENDING,
    Event,
    InterestCharged,
    Redeemed,
    RedemptionPaid,
    RedemptionSent,
    Rejected,
    StagePaid,
    WrittenDown,
)
from zerodebt.exchange.lending import claim_atoms
from zerodebt.exchange.margin import find_liquidatable
from zerodebt.exchange.units import HOUR_NS, SECOND_NS
from zerodebt.exchange.venue import Venue

WATERFALLS = (
    ("book", "lenders"),
    ("book", "lenders", "house"),
    ("book", "insurance", "lenders"),
    ("book", "backstop", "insurance", "adl", "lenders", "socialise", "house"),
    ("book", "adl", "house", "lenders"),
)
SEEDS = range(12)


class LendingDay:
    """Four suppliers, six borrowers with coins who trade as well, a maker, and prices that jump."""

    def __init__(self, seed: int, lag_ns: int = 0) -> None:
        self.rng = rng = random.Random(seed)
        waterfalls = [w for w in WATERFALLS if not (lag_ns and "backstop" in w)]
        waterfall = waterfalls[seed % len(waterfalls)]
        rules = rulebook(
            *waterfall,
            collateral=[NINETY | {"redemption_lag_ns": lag_ns}],
            exchange={"price_ratio_ppb": rng.choice([90, 97, 100]) * PERCENT},
            lending={
                "base_ppb": rng.choice([0, 5]) * PERCENT,
                "slope1_ppb": 10 * PERCENT,
                "slope2_ppb": rng.choice([100, 5000]) * PERCENT,
            },
            fees={"taker_ppb": 450_000, "liquidation_ppb": rng.choice([0, 5_000_000])},
        )
        self.desk = desk = Desk(rules, (perpetual(), spot()))
        self.prices = [100, 50]
        self.counts: Counter[str] = Counter()
        desk.index(*self.prices, later_ns=0)
        if "backstop" in waterfall:
            (vault,) = desk.open(500, role="vault")
            desk.ok(SetBackstop(vault, (0,)))
        desk.ok(Deposit(0, HOUSE, (100 * USD,)))
        self.suppliers = desk.open(*(rng.choice([100, 1000, 3000]) for _ in range(4)))
        self.borrowers = desk.open(*(rng.choice([0, 0, 200]) for _ in range(6)))
        for account in self.borrowers:
            desk.ok(Deposit(1, account, (rng.choice([5, 20]) * COIN + rng.randrange(1000),)))
        (self.maker,) = desk.open(10**6)
        desk.ok(SetLeverage(self.borrowers[0], 0, 10, "isolated"))
        self._quote()

    def _quote(self) -> None:
        p, coin = self.prices
        bids = ((max(1, p - 2), 40), (max(2, p - 2) - 1, 40))
        self.desk.do(MassQuote(self.maker, 0, bids, ((p + 2, 40), (p + 3, 40))))
        some = ((coin, 3),) if self.rng.random() < 0.4 else ()
        self.desk.do(MassQuote(self.maker, 1, some, ()))

    def step(self) -> None:
        rng = self.rng
        for _ in range(rng.randint(1, 4)):
            self.check_paid(self.desk.do(self._command()))
        if rng.random() < 0.1:
            self.desk.ok(SetStatus(1, open=True, reduce=True, liquidate=rng.random() < 0.6))
        jump = rng.choice([2, 5, 20])
        self.prices = [max(5, p + rng.randint(-jump, jump)) for p in self.prices]
        self._quote()
        later = rng.choice([SECOND_NS, 20 * SECOND_NS, HOUR_NS, 30 * HOUR_NS])
        self.check_paid(self.desk.index(*self.prices, later_ns=later))

    def _command(self) -> Command:
        rng = self.rng
        supplier, borrower = rng.choice([*self.suppliers, *self.borrowers[:2]]), rng.choice(self.borrowers)
        atoms = rng.randint(1, 900) * USD + rng.randrange(USD)
        kind = rng.randrange(8)
        if kind < 2:
            return Supply(supplier, atoms)
        if kind == 2:
            return Redeem(supplier, atoms)
        if kind < 5:
            return Borrow(borrower, atoms)
        if kind == 5:
            return Deposit(0, borrower, (atoms // 4,))
        if kind == 6:
            return Withdraw(supplier, 0, atoms)
        return PlaceOrder(borrower, 0, rng.choice([BUY, SELL]), rng.randint(1, 30))

    def check_paid(self, events: list[Event]) -> None:
        """What is written down is paid, and what each holder's shares are worth the pool has."""
        self.counts.update(type(event).__name__ for event in events)
        written = sum(event.atoms for event in of(events, WrittenDown))
        assert written == sum(e.atoms for e in of(events, StagePaid) if e.stage == "lenders")
        state = self.desk.state
        pool = state.lending
        assert pool is not None
        held = state.accounts.balances.cells[0][LENDING]
        each = [claim_atoms(shares, pool.index) for shares in pool.shares.values()]
        assert sum(each) <= pool.claims_atoms <= held
        assert pool.claims_atoms - sum(each) <= len(each)
        wallets = state.accounts.balances.array[0, : state.accounts.count]
        assert int(wallets.sum() + state.accounts.balances.array[2:, : state.accounts.count].sum()) == 0
        if any(isinstance(event, Rejected) for event in events):
            assert len(events) == 1


@pytest.mark.parametrize(
    ("seed", "lag_ns"), [(seed, lag) for lag in (0, 30 * SECOND_NS, 5 * HOUR_NS) for seed in SEEDS]
)
def test_the_audit_agrees_with_a_random_day_of_lending(seed: int, lag_ns: int) -> None:
    """With and without an issuer who takes the coins back and pays later."""
    day = LendingDay(seed, lag_ns)
    for _ in range(60):
        day.step()
        found = {f.compartment: f.risk for f in scan_all(day.desk.state)}
        assert {f.compartment: f.risk for f in find_liquidatable(day.desk.state)}.items() <= found.items()
    report = audit(day.desk.batches)
    assert report.findings == ()
    assert report.holdings_digest == day.desk.venue.view.statement().holdings_digest
    assert day.counts["InterestCharged"]


def test_the_days_meet_what_they_are_for() -> None:
    counts: Counter[str] = Counter()
    for seed in range(8):
        day = LendingDay(seed, seed // 4 * 5 * HOUR_NS)
        for _ in range(60):
            day.step()
        counts += day.counts
    for kind in (WrittenDown, Redeemed, InterestCharged, RedemptionSent, RedemptionPaid):
        assert counts[kind.__name__] > 2, kind


@pytest.mark.spec("DET-02")
@pytest.mark.parametrize(("seed", "lag_ns"), [(0, 0), (3, 0), (3, 5 * HOUR_NS)])
def test_a_snapshot_within_a_day_goes_on_like_it(seed: int, lag_ns: int) -> None:
    day = LendingDay(seed, lag_ns)
    for _ in range(40):
        day.step()
    desk = day.desk
    for point in (len(desk.journal) // 2, len(desk.journal) - 20):
        venue = Venue(desk.rules, ASSETS, desk.instruments)
        for stamped in desk.journal[:point]:
            venue.apply(stamped.command, stamped.time_ns)
        twin = Venue.restore(desk.rules, ASSETS, desk.instruments, venue.snapshot())
        for stamped, expected in zip(desk.journal[point:], desk.batches[point + 1 :], strict=True):
            assert twin.apply(stamped.command, stamped.time_ns) == expected
        assert twin.state_hash() == desk.venue.state_hash()
