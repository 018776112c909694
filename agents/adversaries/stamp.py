"""ATK-08: there for the stamp of the funding and for nothing else."""

from zerodebt.agents.adversaries import Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, CancelAll, MassQuote, SetBackstop

_FAIR_TICKS = 10_000
_PUMPED_TICKS = 13_000
_SHORT_COINS = 1_000_000
_PUMP_COINS = 20_000
_HOUR_S = 3_600
_SAMPLE_S = 5


def _steps(floor: Floor) -> Steps:
    """He sells to the bids just before the hour, lifts the thin offers and bids 30 % over the price.

    The rate of the hour is made while his bid stands; the short that he has just sold receives it. Then he
    takes the bid away and buys back.
    """
    vault = floor.open("vault", 1_000_000, role="vault")
    floor.do(SetBackstop(vault, (0,)))
    maker = floor.open("maker", 2_000_000)
    longs, shorts = floor.open("longs", 2_000_000), floor.open("hedgers", 2_000_000)
    short = floor.open("short", 400_000, attacker=True)
    pump = floor.open("pump", 100_000, attacker=True)
    floor.index(_FAIR_TICKS)
    floor.order(shorts, SELL, 2_000_000, _FAIR_TICKS)
    floor.order(longs, BUY, 2_000_000, _FAIR_TICKS, tif="fok")
    yield floor.pause(_HOUR_S)
    floor.index(_FAIR_TICKS)
    levels = range(1, 6)
    bids = tuple((_FAIR_TICKS - 2 * k, _SHORT_COINS // 5) for k in levels)
    asks = tuple((_FAIR_TICKS + 2 * k, _PUMP_COINS // 5) for k in levels)
    floor.do(MassQuote(maker, 0, bids, asks))
    for _ in range(_HOUR_S // _SAMPLE_S - 1):
        yield floor.pause(_SAMPLE_S)
        floor.index(_FAIR_TICKS)
    yield floor.pause(_SAMPLE_S)
    floor.order(short, SELL, _SHORT_COINS, bids[-1][0], tif="ioc")
    floor.order(pump, BUY, 2 * _PUMP_COINS, _PUMPED_TICKS)
    floor.index(_FAIR_TICKS)
    floor.do(CancelAll(pump))
    floor.do(MassQuote(maker, 0, (), tuple((_FAIR_TICKS + 2 * k, _SHORT_COINS // 5) for k in levels)))
    floor.order(short, BUY, _SHORT_COINS, reduce_only=True)
    floor.quote(maker, _SHORT_COINS)
    floor.order(pump, SELL, _PUMP_COINS, reduce_only=True)
    for account in (short, pump):
        floor.withdraw(account)


ATTACK = Attack(
    id="ATK-08",
    title="farm the funding at its stamp",
    does="holds a short through the stamp only, and makes the rate of that instant with a bid of his own",
    incident="Velar Artha, audit of 2024: a large owner opens both sides, which raises the fees of everybody "
    "and brings most of them to himself",
    source="Sherlock, 2024-08-velar-artha-judging, 010-M (089)",
    weakness="the rate comes from the book as it stands at the stamp, one sample an interval",
    weak={"funding": {"sample_ns": 3_600_000_000_000}},
    bound="funding.sample_ns (a sample every 5 s, 720 an hour, so that an instant weighs 1/720), FUND-03",
    allowed_atoms=0,
    instruments=(perpetual("FARM", 20, price_max_ticks=20_000),),
    steps=_steps,
)
