"""F100: shares as margin that only their issuer takes back, days later, on a venue in memory.

A long of a coin pledges tokenised shares. The coin falls below what they count for, the position is closed,
and the shares are turned into money: sold in their market, or sent to the issuer, who pays at the index
after a delay.

Chosen on 2026-11-22 before the first run (ours): 100 coins of 100 USD for shares worth 2500 USD that count
80 %, at a maintenance of 10 %; the coin falls by a fifth; two days from request to payment.
"""

from collections.abc import Mapping

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import Deposit, MassQuote
from zerodebt.exchange.events import Event, Filled, LiquidationStarted, RedemptionPaid
from zerodebt.exchange.units import DAY_NS, HOUR_NS
from zerodebt.scenarios.models.small_venue import (
    START_TICKS,
    USD,
    SmallVenue,
    coin_book,
    contract,
    of,
    rulebook,
)

COINS, SHARES, SHARE_TICKS = 100, 25, 10_000
FALLEN_TICKS = START_TICKS * 8 // 10
LAG_NS = 2 * DAY_NS
PLENTY = 10**6
HOURS = 72
COIN, SHARE = 0, 1


def measure(_seed: int, *, is_delayed: bool) -> Mapping[str, float]:
    """What of the debt is paid an hour after the fall, and when all of it is. Nothing is drawn.

    is_delayed  False: the shares are sold in their market
    """
    lag = {"redemption_lag_ns": LAG_NS} if is_delayed else {}
    table = rulebook(
        ("book", "insurance", "adl"),
        collateral=[{"asset": "SHARE", "decimals": 0, "ratio_ppb": 800_000_000, **lag}],
        exchange={"price_ratio_ppb": 950_000_000},
    )
    share = coin_book("SHARE/USD", PLENTY, decimals=2, most_usd=10_000)
    desk = SmallVenue(table, (contract(leverage=5), share), (Asset("SHARE", 0),))
    (pledger,) = desk.open([0])
    short, street = desk.open([PLENTY * USD] * 2)
    desk.do(Deposit(1, pledger, (SHARES,)))
    desk.load({pledger: COINS, short: -COINS}, 5)
    desk.index(START_TICKS, SHARE_TICKS)
    desk.do(MassQuote(street, COIN, ((FALLEN_TICKS, COINS),), ()))
    desk.do(MassQuote(street, SHARE, ((SHARE_TICKS, SHARES),), ()))
    events: list[Event] = list(desk.index(FALLEN_TICKS, SHARE_TICKS))
    owed = [max(0, -int(desk.view.wallets([pledger])[0]))]
    for _ in range(HOURS):
        events += desk.index(FALLEN_TICKS, SHARE_TICKS, later_ns=HOUR_NS)
        owed.append(max(0, -int(desk.view.wallets([pledger])[0])))
    desk.end()
    lost = COINS * (START_TICKS - FALLEN_TICKS) * 10_000
    return {
        "liquidated": float(len(of(events, LiquidationStarted))),
        "paid_in_an_hour": 1 - owed[1] / lost,
        "hours_until_paid": float(sum(atoms > 0 for atoms in owed)),
        "shares_sold": float(sum(f.size_lots for f in of(events, Filled) if f.instrument == SHARE)),
        "redemptions_paid": float(len(of(events, RedemptionPaid))),
    }
