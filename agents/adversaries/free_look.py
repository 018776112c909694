"""ATK-05: he sees the price before the others, takes their stale quotes and takes his own back in time."""

from itertools import cycle, islice

from msgspec import structs

from zerodebt.agents.adversaries import OURS, USD, Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, CancelAll, PlaceOrder, Side
from zerodebt.exchange.events import Filled

_FAIR_TICKS = 10_000
_LEVERAGE = 20
_JUMPS_TICKS = (12, -5, 9, -6, -12, 5, -9, 6)
_QUIET = (0,) * 7
_MOVES_TICKS = tuple(move for jump in _JUMPS_TICKS for move in (jump, *_QUIET))
"""Of a second, over and over; one tick is one basis point, and they sum to zero."""
_ROUNDS = 5 * len(_MOVES_TICKS)
_LOTS = 1_000
_SIDES: tuple[Side, ...] = (BUY, SELL)
_SPREAD_PPB = 200_000
_LEVELS_TICKS = (2, 4, 6)
_TAKER_PPB = 450_000
_GAP_TICKS = 1_000
_GAP_LOTS = 10_000


def _steps(floor: Floor) -> Steps:
    """Each second the price moves; he knows it after 20 ms, the makers and the venue after 120 ms.

    What others send in between meets what rests: his own quotes are gone by then, the makers' are stale. He
    takes them as far as they lie beyond the fee, and quotes inside the makers' spread: to get rid of what he
    holds, else if that pays its fee.
    """
    maker = floor.open("maker", 50_000_000)
    other = floor.open("other", 50_000_000)
    fast = floor.open("fast", 20_000_000, attacker=True)
    price = _FAIR_TICKS
    floor.index(price)
    floor.quote(maker, _LOTS, share_ppb=_SPREAD_PPB)
    taker_ppb, maker_ppb = _fees_ppb(floor, fast, other)
    for move, side in islice(zip(cycle(_MOVES_TICKS), cycle(_SIDES), strict=False), _ROUNDS):
        yield floor.pause(0.02)
        price += move
        floor.do(CancelAll(fast))
        toward = BUY if move > 0 else SELL
        if move:
            limit = price - toward * (1 + price * taker_ppb // 10**9)
            floor.order(fast, toward, 3 * _LOTS, limit, tif="ioc")
        yield floor.pause(0.1)
        floor.index(price)
        floor.quote(maker, _LOTS, share_ppb=_SPREAD_PPB)
        held = floor.view.position_lots(0, fast)
        for way in _SIDES:
            if way * held < 0 or (not held and price * maker_ppb < 10**9):
                floor.order(fast, way, min(_LOTS, abs(held) or _LOTS), price - way, post_only=True)
        yield floor.pause(0.4)
        floor.order(other, side, _LOTS, price + side * _LEVELS_TICKS[0], tif="ioc")
        yield floor.pause(0.48)
    floor.do(CancelAll(fast))
    floor.do(CancelAll(maker))


def _fees_ppb(floor: Floor, taker: int, maker: int) -> tuple[int, int]:
    """He trades a little with somebody to see what it costs: (taker, maker) share of the value."""
    floor.order(maker, SELL, 100, _FAIR_TICKS)
    events = floor.do(PlaceOrder(taker, 0, BUY, 100, _FAIR_TICKS, "ioc"))
    (fill,) = (event for event in events if isinstance(event, Filled))
    value = 100 * _FAIR_TICKS * (USD // 100)
    return fill.taker_fee_atoms * 10**9 // value, fill.maker_fee_atoms * 10**9 // value


def _stale_atoms(taker_ppb: int) -> int:
    """What the makers' stale quotes are worth beyond the fee to whoever comes first, over all rounds."""
    beyond = sum(
        max(0, abs(move) * 10**9 - level * 10**9 - _FAIR_TICKS * taker_ppb)
        for move in islice(cycle(_MOVES_TICKS), _ROUNDS)
        for level in _LEVELS_TICKS
    )
    return beyond * _LOTS * (USD // 100) // 10**9


ATTACK = Attack(
    id="ATK-05",
    title="look for free",
    does="posts, watches the price where it is made, takes his orders back and other people's stale ones "
    "before they can",
    incident="audits of GMX, Tigris and Perennial: a trader sees the price that his order will get, and "
    "keeps or cancels it at no cost",
    source="Sherlock, GMX (February 2023), 011-H; Code4rena, Tigris Trade (December 2022), H-02 and H-10; "
    "Sherlock, Perennial V2 (July 2023), 130-M",
    weakness="looking costs nothing: there are no fees",
    weak={"fees": {"maker_ppb": 0, "taker_ppb": 0}},
    bound="fees.taker_ppb: what the first in time gets of stale quotes beyond 4.5 basis points",
    allowed_atoms=_stale_atoms(_TAKER_PPB),
    instruments=(
        perpetual(
            "ETH",
            _LEVERAGE,
            tick_decimals=2,
            price_max_ticks=100_000,
            size_max_lots=10**7,
            open_interest_max_lots=10**7,
        ),
    ),
    steps=_steps,
)


def _gap_steps(floor: Floor) -> Steps:
    """He is long and short of the same size before a jump of ten percent, each against somebody else.

    The losing side has the least margin; who gained as much from it at a higher leverage is deleveraged.
    """
    maker = floor.open("maker", 50_000_000)
    other = floor.open("other", 60_000)
    losing = floor.open("losing", 55_000, attacker=True)
    winning = floor.open("winning", 300_000, attacker=True)
    floor.index(_FAIR_TICKS)
    floor.order(other, SELL, _GAP_LOTS, _FAIR_TICKS)
    floor.order(losing, BUY, _GAP_LOTS, _FAIR_TICKS, tif="fok")
    floor.order(maker, BUY, _GAP_LOTS, _FAIR_TICKS)
    floor.order(winning, SELL, _GAP_LOTS, _FAIR_TICKS, tif="fok")
    for price in (_FAIR_TICKS, _FAIR_TICKS - _GAP_TICKS, _FAIR_TICKS - _GAP_TICKS):
        yield floor.pause(3)
        floor.index(price)


GAP = structs.replace(
    ATTACK,
    id="ATK-05b",
    title="look at a jump for free",
    does="holds both sides at high leverage through a jump; the side that loses more than its margin is "
    "deleveraged at the mark before the jump, and has lost nothing",
    incident="the rule is Hyperliquid's: who is below zero is closed at the previous mark, against winners",
    source="Hyperliquid docs: Auto-deleveraging",
    weakness="deleveraging at the previous mark, whatever is missing",
    weak={"adl": {"clamp": "none"}},
    ours={**OURS, "adl": {"clamp": "bankruptcy"}},
    bound="adl.clamp: the loser gives all his margin; the jump beyond it is the winners' who are deleveraged",
    allowed_atoms=_GAP_LOTS * (USD // 100) * (_GAP_TICKS - _FAIR_TICKS // _LEVERAGE),
    steps=_gap_steps,
)
VARIANTS = (GAP,)
