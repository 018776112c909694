"""ATK-03: open profit carries an ever larger position, and the fund is left with it when the price falls."""

from msgspec import structs

from zerodebt.agents.adversaries import USD, Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, CancelAll

_FAIR_TICKS = 8_300
_TOP_TICKS = 14_500
_NOTIONAL_ATOMS = 67_000_000 * USD
_OI_LOW, _OI_HIGH = 500_000 * USD, 1_000_000 * USD
_RISE_PPB, _FALL_PPB = 20_000_000, 40_000_000
_LEVERAGE = 10
_EVERY_S = 60


def _steps(floor: Floor) -> Steps:
    """He buys all that his open profit carries on the way up, and sells it to another account of his.

    Where the initial rate rises with open interest he stays below that.
    The first takes its profit out; the second has the least margin, and loses more on the way down.
    """
    maker = floor.open("maker", 200_000_000)
    floor.endow(22_500_000)
    first = floor.open("first", 1_000_000, attacker=True)
    price = _FAIR_TICKS
    most_lots = (floor.view.instruments[0].open_interest_low_atoms or _NOTIONAL_ATOMS) // (_TOP_TICKS * USD)
    floor.index(price)
    while price < _TOP_TICKS:
        yield floor.pause(_EVERY_S)
        price += price * _RISE_PPB // 10**9
        floor.index(price)
        floor.quote(maker, 500)
        _buy_all(floor, first, most_lots)
    held = floor.view.position_lots(0, first)
    floor.do(CancelAll(maker))
    second = _hand_over(floor, first, held, price)
    floor.withdraw(first)
    while price > _FAIR_TICKS:
        yield floor.pause(_EVERY_S)
        price = max(_FAIR_TICKS, price - price * _FALL_PPB // 10**9)
        floor.quote(maker, 20, around=price)
        floor.index(price)
    for account in (first, second):
        floor.withdraw(account)


def _buy_all(floor: Floor, account: int, most_lots: int) -> None:
    """Buy up to this position, as much as the venue lets him, trying half as much after each refusal."""
    mark = floor.view.mark_ticks(0)
    assert mark is not None
    room = most_lots - floor.view.position_lots(0, account)
    while room > 0 and floor.order(account, BUY, room, mark + mark // 50, tif="ioc") is None:
        room //= 2


def _hand_over(floor: Floor, first: int, lots: int, price: int) -> int:
    """Sell all to a new account that brings as little as it may."""
    second = floor.open("second", 0, attacker=True)
    floor.order(first, SELL, lots, price, reduce_only=True)
    for _ in range(100):
        floor.bring(second, lots * price * USD // 100)
        if floor.order(second, BUY, lots, price, tif="fok") is not None:
            break
    return second


_YFI = perpetual(
    "YFI",
    _LEVERAGE,
    tick_decimals=0,
    price_max_ticks=100_000,
    size_max_lots=100_000,
    open_interest_max_lots=100_000,
)

ATTACK = Attack(
    id="ATK-03",
    title="concentrate open interest, roll open profit",
    does="lets open profit carry more and more of a thin contract, takes it out by selling to an account of "
    "his with the least margin, and leaves that to the fund",
    incident="dYdX v3, 2023-11-17: open interest in YFI from 0.8 to 67 million USD by one actor, a fall of "
    "about 43 %, 9 million USD paid by the insurance fund; the same in SUSHI two weeks before",
    source="dYdX, Post mortem on SUSHI and YFI incident; A. Juliano on X (18 November 2023)",
    weakness="the initial rate does not rise with open interest, and the fund takes what the book does not",
    weak={"waterfall": ["book", "insurance", "adl"], "insurance": {"takes": "bankrupt"}},
    bound="open_interest_low of 500,000: above it the initial rate rises; the fall beyond 10 % of that",
    allowed_atoms=_OI_LOW * (_TOP_TICKS - _FAIR_TICKS) // _TOP_TICKS - _OI_LOW // _LEVERAGE,
    profile="dydx_v4",
    instruments=(structs.replace(_YFI, open_interest_low_atoms=_OI_LOW, open_interest_high_atoms=_OI_HIGH),),
    weak_instruments=(_YFI,),
    steps=_steps,
)
