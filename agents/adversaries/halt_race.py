"""ATK-10: first at a venue that stops and starts again."""

from zerodebt.agents.adversaries import Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, CancelAll, SetBackstop, SetStatus

_FAIR_TICKS = 10_000
_FALLEN_TICKS = (9_500, 9_000, 8_500, 8_000)
_LOW_TICKS = 3_000
_COINS = 1_000_000


def _steps(floor: Floor) -> Steps:
    """While the mark stands still he takes out what the index has already lost, long and short in one price.

    When all starts again he is the first in an empty book, with a bid at 30 % for what must be sold.
    """
    vault = floor.open("vault", 2_000_000, role="vault")
    floor.do(SetBackstop(vault, (0,)))
    floor.endow(2_000_000)
    maker = floor.open("maker", 2_000_000)
    victims, holders = floor.open("victims", 60_000), floor.open("holders", 1_000_000)
    hedgers = floor.open("hedgers", 600_000)
    long = floor.open("long", 300_000, attacker=True)
    short = floor.open("short", 3_000_000, attacker=True)
    racer = floor.open("racer", 1_000_000, attacker=True)
    floor.index(_FAIR_TICKS)
    for buyer, seller in ((victims, hedgers), (holders, hedgers), (long, short)):
        floor.order(seller, SELL, _COINS, _FAIR_TICKS)
        floor.order(buyer, BUY, _COINS, _FAIR_TICKS, tif="fok")
    floor.quote(maker, 100_000)
    floor.do(SetStatus(0, open=False, reduce=False, liquidate=False))
    floor.do(CancelAll(maker))
    for ticks in _FALLEN_TICKS:
        yield floor.pause(60)
        floor.index(ticks)
    floor.withdraw(long)
    floor.do(SetStatus(0, open=True, reduce=True, liquidate=True))
    floor.order(racer, BUY, 2 * _COINS, _LOW_TICKS)
    floor.index(*floor.fair_ticks)
    floor.do(CancelAll(racer))
    yield floor.pause(3)
    floor.quote(maker, _COINS)
    floor.index(*floor.fair_ticks)
    held = floor.view.position_lots(0, racer)
    if held:
        floor.order(racer, SELL, held, reduce_only=True)
    for account in (long, short, racer):
        floor.withdraw(account)


ATTACK = Attack(
    id="ATK-10",
    title="race at a halt",
    does="withdraws at the mark that stands still, and bids far below the price when all starts again",
    incident="GMX, audit of 2023: who sees that a market is being disabled has a free look at what the price "
    "does meanwhile, at the price of before",
    source="Sherlock, 2023-02-gmx-judging, 038-M (148)",
    weakness="forced orders go to any price as soon as trading starts again, and the fund pays",
    weak={
        "waterfall": ["book", "insurance"],
        "liquidation": {"price_limit": "none", "backstop_below_ppb": 0},
        "insurance": {"takes": "never"},
    },
    bound="margin counts a mark that stands still no further than the index (MARG-05), and the waterfall's "
    "stages take at the mark or the bankruptcy price what would be sold into his bid",
    allowed_atoms=0,
    instruments=(perpetual("HALT", 20, price_max_ticks=20_000),),
    steps=_steps,
)
