"""ATK-02: the loser of a squeeze is left with the backstop, and the squeeze goes on."""

from zerodebt.agents.adversaries import USD, Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, CancelAll, SetBackstop

_COINS = 398_000_000
_CAP = 20_000_000
"""Our cap on the open interest of a coin that is worth some ten million."""
_MAKER_COINS = 1_000_000
_FAIR_TICKS = 9_500
_TOP_TICKS = 50_000
_EVERY_S = 3
_STEP_PPB = 30_000_000
_THIN = ("dex", "kucoin", "gate", "mexc", "gate_perp", "mexc_perp")


def _steps(floor: Floor) -> Steps:
    """He is short and long against himself, and buys the coin wherever it is thinly traded.

    The vault takes over what is left of the short account; it buys back from the long one on the way up.
    """
    vault = floor.open("vault", 230_000_000, role="vault")
    floor.do(SetBackstop(vault, (0,)))
    maker = floor.open("maker", 2_000_000)
    coins = min(_COINS, floor.view.instruments[0].open_interest_max_lots - _MAKER_COINS)
    margin_usd = coins * _FAIR_TICKS * 35 // (100 * USD)
    short = floor.open("short", margin_usd, attacker=True)
    long = floor.open("long", margin_usd, attacker=True)
    floor.index(_FAIR_TICKS)
    floor.order(short, SELL, coins, _FAIR_TICKS)
    floor.order(long, BUY, coins, _FAIR_TICKS, tif="fok")
    price = _FAIR_TICKS
    while price < _TOP_TICKS:
        yield floor.pause(_EVERY_S)
        price += price * _STEP_PPB // 10**9
        floor.quote(maker, _MAKER_COINS // 10, around=floor.view.index_ticks(0))
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
        floor.order(vault, BUY, min(owed, coins // 50), ask, tif="ioc", reduce_only=True)
    floor.do(CancelAll(long))
    floor.withdraw(long)
    for _ in range(20):
        yield floor.pause(_EVERY_S)
        floor.quote(maker, _MAKER_COINS // 10)
        floor.index(_FAIR_TICKS)
    floor.withdraw(long)
    floor.withdraw(short)


ATTACK = Attack(
    id="ATK-02",
    title="squeeze a thin market, leave the loser to the backstop",
    does="is short and long of a thin coin, pumps it where it trades, and sells to the vault that had to "
    "take the short position over",
    incident="Hyperliquid, 2025-03-26: a short of JELLY of about 400 million coins was left to the HLP vault "
    "and the coin pumped fivefold, an unrealised loss of about 12 million USD; the validators delisted it at "
    "0.0095 USD",
    source="Hyperliquid, announcement on X (26 March 2025); Lookonchain on X (26 March 2025)",
    weakness="the index is the one place where the coin trades, and open interest has no cap to speak of",
    weak={"sources": [{"name": "dex", "weight": 1}], "mark": {"formula": "index", "band_ppb": 0}},
    bound="index: weighted median of eight sources, of which he moves three; else open_interest_max",
    allowed_atoms=0,
    instruments=(perpetual("JELLY", 3, tick_decimals=6, open_interest_max_lots=_CAP, size_max_lots=_CAP),),
    weak_instruments=(perpetual("JELLY", 3, tick_decimals=6),),
    steps=_steps,
)
