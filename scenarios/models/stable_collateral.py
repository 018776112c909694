"""S13, V71: a stablecoin as margin, priced by the venue's own book or by other venues', while the book is
sold out.

A venue in memory: longs of a coin hold stablecoins as margin. The coin falls by a seventh and comes half of
the way back; in the venue's own book of the stablecoin bids vanish and somebody sells it to .65, while
elsewhere it trades at its price. Whoever falls below maintenance is liquidated, his stablecoins are sold in
that book, and where no bid is near the index the insurance fund takes them. Harm is what forced sales cost
accounts that were sound with the stablecoin at its price elsewhere.

Chosen on 2026-11-22 before the first run (ours): 200 longs, leverage lognormal(ln 3, .5) between 1.5 and 10,
positions lognormal (sd 1) around 100 coins of 100 USD; margin in stablecoins alone, counted at 95 %,
maintenance 5 %; ten steps of four minutes down and ten back; .65 from the third to the seventeenth step; a
forced sale goes to 97.5 % of the index.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import Deposit, MassQuote, Observation, UpdateIndex
from zerodebt.exchange.events import (
    INSURANCE,
    Converted,
    Event,
    Filled,
    LiquidationStarted,
    OrderAccepted,
)
from zerodebt.exchange.units import MINUTE_NS, PPB
from zerodebt.scenarios.models.small_venue import USD, SmallVenue, coin_book, contract, rulebook

Oracle = Literal["own", "index", "redemption"]

ACCOUNTS = 200
COIN, STABLE = 0, 1
TICK_USD = {COIN: 0.01, STABLE: 0.0001}
START_TICKS, ONE = 10_000, 10_000
FALL, BACK = 1 / 7, 1 / 14
STEPS = 10
LOCAL_LOW = 0.65
SHOCK = range(3, 18)
STEP_NS = 4 * MINUTE_NS
ELSEWHERE = 0.99
"""Where the stablecoin trades on other venues in those minutes; one is what its issuer pays."""
COUNTED = 0.95
"""Of the stablecoin's value, as margin."""
BEARS_FROM = 0.01
"""Of his margin: who lost more in forced sales bears a part of the crash."""
PLENTY = 10**9


def measure(
    seed: int, *, oracle: Oracle, has_shock: bool = True, is_linked: bool = True
) -> Mapping[str, float]:
    """Forced sales, accounts, harm; in USD.

    oracle      own: the venue's own book; index: other venues; redemption: what the issuer pays
    has_shock   False: the own book trades as elsewhere
    is_linked   False: margin is in dollars, of the same value
    """
    rng = np.random.default_rng([seed, 71])
    desk = _opened(oracle)
    lots = np.maximum(1, (100 * rng.lognormal(0, 1, ACCOUNTS)).astype(int))
    levers = np.clip(np.exp(rng.normal(np.log(3), 0.5, ACCOUNTS)), 1.5, 10)
    longs = desk.open([0] * ACCOUNTS)
    maker, short = desk.open([PLENTY * USD] * 2)
    desk.endow(INSURANCE, 10**8 * USD)
    margins = [int(v) for v in lots * 100 / levers / COUNTED]
    if is_linked:
        desk.do(Deposit(1, longs[0], tuple(margins)))
    else:
        desk.do(Deposit(0, longs[0], tuple(int(usd * COUNTED * USD) for usd in margins)))
    desk.do(Deposit(1, maker, (PLENTY,)))
    desk.load({a: int(n) for a, n in zip(longs, lots, strict=True)} | {short: -int(lots.sum())}, 10)
    desk.index(START_TICKS, ONE)
    tally = _Tally(dict(zip(longs, margins, strict=True)), is_linked=is_linked)
    falls = np.concatenate([np.linspace(0, FALL, STEPS + 1), np.linspace(FALL, BACK, STEPS + 1)[1:]])
    for step, fall in enumerate(falls.tolist()):
        coin = int(START_TICKS * (1 - fall))
        is_sold_out = has_shock and step in SHOCK
        elsewhere = ELSEWHERE if step in SHOCK else 1.0
        local = int(ONE * (LOCAL_LOW if is_sold_out else elsewhere))
        price = int(ONE * (1.0 if oracle == "redemption" else elsewhere))
        events = _quote(desk, maker, COIN, coin, 1_000_000) + _quote(desk, maker, STABLE, local, PLENTY // 10)
        desk.time_ns += STEP_NS
        at = desk.time_ns
        prices = {COIN: coin, STABLE: price}
        sources = range(len(desk.rules.sources))
        seen = tuple(Observation(n, source, p, at) for n, p in prices.items() for source in sources)
        events += desk.do(UpdateIndex(seen))
        tally.read(events, {COIN: coin * 0.01, STABLE: elsewhere}, desk.view.index_ticks(STABLE) or ONE)
    report = desk.end()
    return tally.figures() | {"harm_in_verdict": report.harm_atoms / USD}


def _opened(oracle: Oracle) -> SmallVenue:
    sources = [{"name": "elsewhere", "weight": 1}]
    if oracle == "own":
        sources.insert(0, {"name": "own book", "weight": 10, "kind": "own"})
    table = rulebook(
        ("book", "insurance", "adl"),
        sources=sources,
        collateral=[{"asset": "STABLE", "decimals": 0, "ratio_ppb": int(COUNTED * PPB)}],
        exchange={"price_ratio_ppb": 975_000_000},
        margin={"index_age_max_ns": 10 * MINUTE_NS},
    )
    return SmallVenue(table, (contract(leverage=10), coin_book("STABLE/USD", PLENTY)), (Asset("STABLE", 0),))


def _quote(desk: SmallVenue, maker: int, instrument: int, price: int, lots: int) -> tuple[Event, ...]:
    return desk.do(MassQuote(maker, instrument, ((price - 1, lots),), ((price + 1, lots),)))


class _Tally:
    """Reads forced trades at the reference prices of their step."""

    def __init__(self, margins: dict[int, int], *, is_linked: bool) -> None:
        self.margins = margins
        self.held = dict.fromkeys(margins, 0) | (margins if is_linked else {})
        self.forced: set[int] = set()
        self.liquidated: set[int] = set()
        self.sound: set[int] = set()
        self.sold = 0.0
        self.lost: dict[int, float] = {}

    def read(self, events: tuple[Event, ...], reference: dict[int, float], index_ticks: int) -> None:
        """`reference` in USD; `index_ticks` is what the venue takes the stablecoin for."""
        counted = index_ticks / ONE
        for event in events:
            if isinstance(event, OrderAccepted) and event.forced:
                self.forced.add(event.order_id)
            elif isinstance(event, LiquidationStarted):
                self._judge(event, counted, reference[STABLE])
            elif isinstance(event, Filled) and event.taker_order in self.forced:
                price = event.price_ticks * TICK_USD[event.instrument]
                bought = event.taker_side * event.size_lots
                self._count(event.taker, event.instrument, bought, price, reference)
            elif isinstance(event, Converted):
                price = event.paid_atoms / event.atoms / USD
                self._count(event.account, STABLE, -event.atoms, price, reference)

    def _judge(self, event: LiquidationStarted, counted: float, reference: float) -> None:
        """Sound if the requirement is met with the stablecoins at the reference price."""
        self.liquidated.add(event.account)
        lacking = self.held[event.account] * (reference - counted) * USD
        haircut = event.haircut_atoms * reference / counted
        if event.equity_atoms + lacking - haircut >= event.maintenance_atoms:
            self.sound.add(event.account)

    def _count(
        self, account: int, instrument: int, bought: int, price: float, reference: dict[int, float]
    ) -> None:
        self.sold += abs(bought) * reference[instrument]
        loss = bought * (price - reference[instrument])
        self.lost[account] = self.lost.get(account, 0.0) + loss
        if instrument == STABLE:
            self.held[account] = self.held.get(account, 0) + bought

    def figures(self) -> dict[str, float]:
        return {
            "forced_sales": self.sold,
            "liquidated": float(len(self.liquidated)),
            "liquidated_though_sound": float(len(self.sound)),
            "harm": sum(self.lost.get(account, 0.0) for account in self.sound),
            "bearers": float(
                sum(loss > BEARS_FROM * self.margins[account] for account, loss in self.lost.items())
            ),
            "lost_in_forced_sales": sum(self.lost.values()),
        }
