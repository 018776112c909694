"""Random days on coins under random rulebooks of collateral, and every law after each step."""

import random
from collections import Counter
from typing import Any

import pytest

from tests.exchange.test_margin import scan_all
from tests.venues import USD, Desk, perpetual, rulebook, spot
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Command,
    Deposit,
    MassQuote,
    PlaceOrder,
    SetBackstop,
    SetLeverage,
    SetStatus,
    Side,
    TransferMargin,
    Withdraw,
)
from zerodebt.exchange.conversion import limit_ticks
from zerodebt.exchange.events import (
    DEFICIT,
    HOUSE,
    INSURANCE,
    DeficitOpened,
    Event,
    ExchangeArmed,
    Rejected,
    WorkLeft,
)
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.margin import (
    find_liquidatable,
    initial_excess_atoms,
    risk_of,
    withdrawable_atoms,
    withdrawable_collateral_atoms,
)
from zerodebt.exchange.rules import VenueRules
from zerodebt.exchange.units import PPB, SECOND_NS

BTC, COIN_SPOT, ETH = range(3)
COIN = 1_000
PERCENT = PPB // 100
WATERFALLS = (
    ("book", "backstop", "insurance", "adl", "socialise", "house"),
    ("book", "insurance", "adl", "house"),
    ("book", "adl", "house"),
    ("book", "insurance", "socialise", "house"),
)
TIERS: tuple[dict[str, Any], ...] = (
    {},
    {"tiers": [{"upto": 10_500, "ratio_ppb": 90 * PERCENT}, {"upto": 40_000, "ratio_ppb": 50 * PERCENT}]},
    {"tiers": [{"upto": 500 * USD, "ratio_ppb": 90 * PERCENT}], "tier_unit": "value"},
)
GRID = {"moves_ppb": [-10 * PERCENT, 10 * PERCENT], "contingency_ppb": PERCENT}
LEVEL = {"levels": [{"name": "reduce_only", "at_ppb": 120 * PERCENT, "opens": False}]}


def random_rules(rng: random.Random) -> VenueRules:
    """A rulebook in which every choice of the tables of collateral may meet every other."""
    waterfall = rng.choice(WATERFALLS)
    coin = {"asset": "COIN", "decimals": 3, "ratio_ppb": rng.choice([50, 90, 100]) * PERCENT}
    coin |= rng.choice(TIERS) | {"haircut_for": rng.choice(["both", "both", "initial"])}
    return rulebook(
        *waterfall,
        collateral=[coin | {"bid_buffer_ppb": rng.choice([0, PERCENT])}],
        exchange={
            "trigger_atoms": rng.choice([0, 50 * USD]),
            "trigger_ltv_ppb": rng.choice([0, 99 * PERCENT]),
            "price_ratio_ppb": rng.choice([90, 97, 100]) * PERCENT,
            "before_positions": rng.choice([False, True]),
        },
        portfolio=rng.choice([{}, {}, GRID, LEVEL, GRID | LEVEL | {"offset_ppb": 50 * PERCENT}]),
        fees={"maker_ppb": 150_000, "taker_ppb": 450_000, "liquidation_ppb": rng.choice([0, 5_000_000])},
        liquidation={"price_limit": rng.choice(["none", "bankruptcy"])},
        adl={"price": rng.choice(["previous_mark", "mark", "bankruptcy"])},
    )


class Day:
    """Eight traders with dollars and coins, two makers who quote around the index, and a wandering market."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        tiers = rng.choice([(Tier(0, 20),), (Tier(0, 20), Tier(3_000 * USD, 5))])
        self.desk = Desk(random_rules(rng), (perpetual(tiers=tiers), spot(), perpetual("ETH")))
        self.prices = [100, 50, 100]
        self.halted = False
        self.counts: Counter[str] = Counter()
        self.desk.index(*self.prices, later_ns=0)
        self.desk.ok(Deposit(0, HOUSE, (10**8 * USD,)))
        self._endow_fund(rng.choice([0, 20, 20_000]), rng.choice([0, 400]))
        (vault,) = self.desk.open(rng.choice([100, 100_000]), role="vault")
        self.desk.ok(SetBackstop(vault, (BTC, ETH)))
        self.traders = [self._trader(rng.choice([0, 100, 1000]), rng.choice([0, 5, 40])) for _ in range(8)]
        self.makers = [self._trader(10**6, 0), self._trader(10**6, 1000)]
        self.everybody = (INSURANCE, vault, *self.traders, *self.makers)
        self._quote()

    def _endow_fund(self, usd: int, coins: int) -> None:
        if usd:
            self.desk.ok(Deposit(0, INSURANCE, (usd * USD,)))
        if coins:
            self.desk.ok(Deposit(1, INSURANCE, (coins * COIN,)))

    def _trader(self, usd: int, coins: int) -> int:
        (account,) = self.desk.open(usd)
        if coins:
            self.desk.ok(Deposit(1, account, (coins * COIN + self.rng.randint(0, 999),)))
        if self.rng.random() < 0.2:
            self.desk.ok(SetLeverage(account, ETH, 10, "isolated"))
        return account

    def _quote(self) -> None:
        bids = tuple((self.prices[COIN_SPOT] - 2 * k, 6) for k in range(1, 5))
        for maker in self.makers:
            for n in (BTC, ETH):
                price = self.prices[n]
                self.desk.do(
                    MassQuote(
                        maker,
                        n,
                        tuple((price - 3 * k, 30) for k in range(1, 5)),
                        tuple((price + 3 * k, 30) for k in range(1, 5)),
                    )
                )
            self.desk.do(MassQuote(maker, COIN_SPOT, bids if self.rng.random() < 0.6 else (), ()))

    def step(self) -> None:
        if self.rng.random() < 0.3:
            self._move()
            return
        account = self.rng.choice(self.traders)
        command = self._command(account)
        events = self.desk.do(command)
        if isinstance(command, Withdraw) and not isinstance(events[0], Rejected):
            assert initial_excess_atoms(self.desk.state, account) >= 0
        if isinstance(command, SetStatus):
            self.halted = not command.liquidate
        self._check(events)

    def _command(self, account: int) -> Command:
        rng = self.rng
        side: Side = BUY if rng.random() < 0.5 else SELL
        n = rng.choice([BTC, BTC, ETH])
        coin = max(1, self.prices[COIN_SPOT] + rng.randint(-9, 9))
        asset = rng.choice([0, 1])
        state = self.desk.state
        most = (
            withdrawable_collateral_atoms(state, account, 1) if asset else withdrawable_atoms(state, account)
        )
        trade = PlaceOrder(
            account,
            n,
            side,
            rng.choice([1, 5, 30, 100]),
            self.prices[n] + 6 * side,
            rng.choice(["ioc", "gtc"]),
        )
        commands: list[Command] = [
            trade,
            trade,
            trade,
            PlaceOrder(account, n, side, 30, self.prices[n]),
            PlaceOrder(account, COIN_SPOT, side, rng.choice([1, 10, 40]), coin),
            Withdraw(account, asset, rng.choice([most, most + 1, max(1, most // 2)])),
            TransferMargin(account, ETH, rng.choice([-50, 50]) * USD),
            SetStatus(COIN_SPOT, *(rng.choice([(True, True, True), (False, False, False)]))),
        ]
        return rng.choice(commands)

    def _move(self) -> None:
        jump = self.rng.choice([3, 12, 30])
        for n, (low, high) in enumerate(((20, 180), (10, 150), (20, 180))):
            self.prices[n] = max(low, min(high, self.prices[n] + self.rng.randint(-jump, jump)))
        events = self.desk.index(*self.prices, later_ns=self.rng.choice([1, 40]) * SECOND_NS)
        self._check(events)
        if not self.halted:
            assert self.desk.cash(DEFICIT) == 0
            for account in self.everybody:
                assert not risk_of(self.desk.state, (account, 0)).is_bankrupt
        if self.rng.random() < 0.7:
            self._quote()

    def _check(self, events: list[Event]) -> None:
        """What the desk does not check after each command anyway."""
        self.counts.update(type(event).__name__ for event in events)
        self.counts["sales of the fund"] += sum(
            isinstance(event, ExchangeArmed) and event.because == "insurance" for event in events
        )
        assert not any(isinstance(event, WorkLeft) for event in events)
        assert find_liquidatable(self.desk.state) == scan_all(self.desk.state)
        for account in self.everybody:
            assert self.desk.cash(account, 1) >= 0
        for event in events:
            if isinstance(event, DeficitOpened) and event.account != INSURANCE and event.pocket == 0:
                self._check_unsaleable(event.account)

    def _check_unsaleable(self, account: int) -> None:
        """Others are charged only for what the book does not buy."""
        state = self.desk.state
        (coin,) = state.collateral
        best = state.books[COIN_SPOT].best_ticks(BUY)
        is_bid_for = best is not None and best >= limit_ticks(state.rules.exchange, coin)
        assert self.desk.cash(account, 1) < COIN or not is_bid_for, "others pay while the book buys"


@pytest.mark.spec("LEDG-01", "LIQ-02", "MARG-05", "WFALL-01", kind="S")
def test_days_on_coins_keep_every_law_and_reach_what_they_are_about() -> None:
    """Coins that nobody buys count at the index, the fund's too; the others are sold before a deficit."""
    counts: Counter[str] = Counter()
    for seed in range(60):
        day = Day(seed)
        for _ in range(100):
            day.step()
        counts += day.counts
        desk = day.desk
        restored = desk.restored()
        assert restored.state_hash() == desk.venue.state_hash()
    for name in ("LiquidationStarted", "ExchangeArmed", "Converted", "DeficitOpened", "TakenOver"):
        assert counts[name] > 10, counts
    assert counts["sales of the fund"] > 3, counts
