"""ATK-07: positions too small to be anybody's, by the hundred."""

from zerodebt.agents.adversaries import Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, SetBackstop
from zerodebt.exchange.instruments import Tier

_ACCOUNTS = 300
_OPENED_COINS = 30
_KEPT_COINS = 9
_FAIR_TICKS = 10_000
_FALL_STEPS = 25


def _steps(floor: Floor) -> Steps:
    """Each account buys for 30 USD with 2 USD of margin, and sells down to 9, below the smallest order.

    One account is short all that the others are long, so that the price is nothing to him. It falls 25 %, a
    per cent at a time, and comes back.
    """
    vault = floor.open("vault", 1_000_000, role="vault")
    floor.do(SetBackstop(vault, (0,)))
    floor.endow(10_000)
    maker = floor.open("maker", 1_000_000)
    short = floor.open("short", 10_000, attacker=True)
    dust = [floor.open(f"dust {n}", 2, attacker=True) for n in range(_ACCOUNTS)]
    floor.index(_FAIR_TICKS)
    for account in dust:
        floor.order(short, SELL, _OPENED_COINS, _FAIR_TICKS)
        floor.order(account, BUY, _OPENED_COINS, _FAIR_TICKS, tif="fok")
    for account in dust:
        floor.order(short, BUY, _OPENED_COINS - _KEPT_COINS, _FAIR_TICKS)
        floor.order(account, SELL, _OPENED_COINS - _KEPT_COINS, _FAIR_TICKS, tif="fok", reduce_only=True)
    for account in dust:
        floor.withdraw(account)
    down = [_FAIR_TICKS - 100 * k for k in range(1, _FALL_STEPS + 1)]
    for ticks in (*down, *reversed(down), _FAIR_TICKS):
        yield floor.pause(3)
        floor.fair_ticks = (ticks,)
        floor.quote(maker, 1_000)
        floor.index(ticks)
    for account in (short, *dust):
        floor.withdraw(account)


ATTACK = Attack(
    id="ATK-07",
    title="dust that nobody liquidates",
    does="holds 300 positions of 9 USD, below the smallest order, hedged in one account of his own",
    incident="Elfi, audit of 2024: a partial close leaves a position below the smallest margin, and its "
    "liquidation may fail or bring less than it costs",
    source="Sherlock, 2024-05-elfi-protocol-judging, 043-M (249)",
    weakness="forced orders only step down the tiers and leave the lowest alone, the fund takes no more than "
    "500 USD of positions, and it pays whatever falls below zero",
    weak={
        "waterfall": ["book", "insurance"],
        "liquidation": {"steps": ["ladder"], "price_limit": "none", "backstop_below_ppb": 0},
        "insurance": {"takes": "unfilled", "net_notional_max_atoms": 500_000_000},
    },
    bound="liquidation.steps (share: below chunk_threshold_atoms all of it is sold), and forced orders know "
    "no smallest value",
    allowed_atoms=0,
    instruments=(perpetual("DUST", 20, tiers=(Tier(0, 20), Tier(10**12, 10)), price_max_ticks=20_000),),
    steps=_steps,
)
