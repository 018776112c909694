"""ATK-01: two accounts of one owner, a pumped price, and a withdrawal of what one of them won."""

from zerodebt.agents.adversaries import Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, CancelAll, SetBackstop

_COINS = 400_000_000
_FAIR_TICKS = 382
_PUMPED_TICKS = 5_000
_MINUTES = 15
_EVERY_S = 3


def _steps(floor: Floor) -> Steps:
    """He is long and short against himself, and holds the book at 13 times the price.

    The short account loses more than it has; the long one sells into its forced order and withdraws.
    """
    vault = floor.open("vault", 50_000_000, role="vault")
    floor.do(SetBackstop(vault, (0,)))
    floor.endow(50_000_000)
    maker = floor.open("maker", 20_000_000)
    floor.open("holders", 50_000_000)
    short = floor.open("short", 5_000_000, attacker=True)
    long = floor.open("long", 5_000_000, attacker=True)
    pump = floor.open("pump", 5_000_000, attacker=True)
    floor.index(_FAIR_TICKS)
    floor.order(short, SELL, _COINS, _FAIR_TICKS)
    floor.order(long, BUY, _COINS, _FAIR_TICKS, tif="fok")
    for _ in range(_MINUTES * 60 // _EVERY_S):
        yield floor.pause(_EVERY_S)
        floor.quote(maker, 1_000_000)
        floor.do(CancelAll(pump))
        floor.order(pump, BUY, 10_000_000, _PUMPED_TICKS - 1, tif="ioc")
        held = floor.view.position_lots(0, long)
        if held and not floor.view.orders(long, 0):
            floor.order(long, SELL, held, _PUMPED_TICKS, reduce_only=True)
        floor.order(pump, BUY, 1_000, _PUMPED_TICKS, tif="ioc")
        floor.order(pump, BUY, 1_000, _PUMPED_TICKS - 1)
        floor.index(_FAIR_TICKS)
        if not floor.view.position_lots(0, short):
            break
    for account in (long, short, pump):
        floor.do(CancelAll(account))
        floor.withdraw(account)
    for _ in range(40):
        yield floor.pause(_EVERY_S)
        floor.quote(maker, 1_000_000)
        floor.index(_FAIR_TICKS)
    for account in (long, short, pump):
        floor.withdraw(account)


ATTACK = Attack(
    id="ATK-01",
    title="pump the price, withdraw",
    does="trades with himself at high leverage, pumps the book that the index reads, and withdraws the win",
    incident="Mango Markets, 2022-10-11: about 400 million MNGO swaps long and short by one owner, the price "
    "13 times higher in 30 minutes, over 110 million USD of other people's deposits withdrawn",
    source="CFTC, complaint against Avraham Eisenberg (9 January 2023)",
    weakness="the index is the venue's own last price, forced orders go to any price, the fund pays",
    weak={
        "sources": [{"name": "own", "weight": 1, "kind": "own"}, {"name": "other", "weight": 1}],
        "index": {"own": "last", "statistic": "mean"},
        "mark": {"formula": "index", "band_ppb": 0},
        "waterfall": ["book", "insurance", "socialise"],
        "liquidation": {"price_limit": "none", "backstop_below_ppb": 0},
    },
    bound="mark.band_ppb (5 % around an index from elsewhere), MARK-04",
    allowed_atoms=0,
    instruments=(perpetual("MNGO", 5, price_max_ticks=20_000),),
    steps=_steps,
)
