"""ATK-02: the losers of a squeeze are left with the backstop, and the squeeze goes on."""

from zerodebt.agents.adversaries import OURS, USD, Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, CancelAll, SetBackstop

_COINS = 398_000_000
_SHORTS = 50
_FAIR_TICKS = 9_500
_TOP_TICKS = 50_000
_EVERY_S = 3
_STEP_PPB = 30_000_000
_CAP_ATOMS = 100_000 * USD
_THIN = ("dex", "kucoin", "gate", "mexc", "gate_perp", "mexc_perp")


def _steps(floor: Floor) -> Steps:
    """He is short in fifty accounts and long in one, and buys the coin wherever it is thinly traded.

    The vault takes over what is left of the short accounts; it buys back from the long one at the top.
    """
    vault = floor.open("vault", 230_000_000, role="vault")
    floor.do(SetBackstop(vault, (0,)))
    maker = floor.open("maker", 2_000_000)
    long = floor.open("long", _COINS * _FAIR_TICKS * 35 // (100 * USD), attacker=True)
    floor.index(_FAIR_TICKS)
    coins = _COINS // _SHORTS
    for _ in range(_SHORTS):
        short = floor.open("short", coins * _FAIR_TICKS * 35 // (100 * USD), attacker=True)
        floor.order(short, SELL, coins, _FAIR_TICKS)
        floor.order(long, BUY, coins, _FAIR_TICKS, tif="fok")
    price = _FAIR_TICKS
    while price < _TOP_TICKS:
        yield floor.pause(_EVERY_S)
        price = min(_TOP_TICKS, price + price * _STEP_PPB // 10**9)
        floor.quote(maker, 100_000, around=floor.view.index_ticks(0))
        floor.index(_FAIR_TICKS, pumped=dict.fromkeys(_THIN, price))
    for _ in range(100):
        yield floor.pause(_EVERY_S)
        floor.index(_FAIR_TICKS, pumped=dict.fromkeys(_THIN, price))
        floor.do(CancelAll(long))
        held, owed = floor.view.position_lots(0, long), -floor.view.position_lots(0, vault)
        if held <= 0 or owed <= 0:
            break
        ask = floor.view.mark_ticks(0)
        floor.order(long, SELL, held, ask, reduce_only=True)
        floor.order(vault, BUY, min(owed, coins), ask, tif="ioc", reduce_only=True)
    floor.do(CancelAll(long))
    floor.withdraw(long)
    for _ in range(20):
        yield floor.pause(_EVERY_S)
        floor.quote(maker, 100_000)
        floor.index(_FAIR_TICKS)
    floor.withdraw(long)


ATTACK = Attack(
    id="ATK-02",
    title="squeeze a thin market, leave the loser to the backstop",
    does="is short and long of a thin coin, pumps it where it trades, and sells to the vault that had to "
    "take the short positions over",
    incident="Hyperliquid, 2025-03-26: a short of JELLY of about 400 million coins was left to the HLP vault "
    "and the coin pumped fivefold, an unrealised loss of about 12 million USD; the validators delisted it at "
    "0.0095 USD",
    source="Hyperliquid, announcement on X (26 March 2025); Lookonchain on X (26 March 2025)",
    weakness="the vault takes whatever is liquidated (the index is the one place where the coin trades, on "
    "ours too)",
    weak={"liquidation": {"backstop_notional_max_atoms": None}},
    bound="liquidation.backstop_notional_max_atoms: the vault holds 100,000 of the coin, times its rise",
    allowed_atoms=_CAP_ATOMS * (_TOP_TICKS - _FAIR_TICKS) // _FAIR_TICKS,
    ours={
        **OURS,
        "sources": [{"name": "dex", "weight": 1}],
        "liquidation": {"backstop_notional_max_atoms": _CAP_ATOMS},
    },
    instruments=(perpetual("JELLY", 3, tick_decimals=6),),
    steps=_steps,
)
