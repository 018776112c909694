"""ATK-11: withdraw to the edge, and let the vault have a position that the book would not take."""

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from zerodebt.agents.adversaries import USD, Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, MassQuote, SetBackstop
from zerodebt.exchange.instruments import Instrument, Tier, initial_atoms, margin_table

_CAPITAL_USD = 15_230_000
_WANTED_ETH = 175_000
_ENTRY_TICKS = 18_844
_CLOSED_ETH = 14_766
_PATH_TICKS = (19_040, 18_400, 17_900, 17_400)
_TOP_TICKS = 19_304
_LEVELS = 20
_LEVEL_ETH = 11_000
_MAKER_FEE_PER_MILLION = 150


def _ladder(floor: Floor, maker: int) -> None:
    """11,000 ETH at each quarter of a per cent, 5 % deep."""
    fair = floor.fair_ticks[0]
    levels = range(1, _LEVELS + 1)
    bids = tuple((fair - fair * k // 400, _LEVEL_ETH) for k in levels)
    asks = tuple((fair + fair * k // 400, _LEVEL_ETH) for k in levels)
    floor.do(MassQuote(maker, 0, bids, asks))


def _move(floor: Floor, maker: int, ticks: int) -> None:
    """The makers are at the new price first."""
    floor.fair_ticks = (ticks,)
    _ladder(floor, maker)
    floor.index(ticks)


def _buy_what_is_allowed(floor: Floor, account: int, maker: int) -> None:
    """He asks for all that he wants, and for 1,000 less until the venue agrees."""
    floor.order(maker, SELL, _WANTED_ETH, _ENTRY_TICKS)
    for lots in range(_WANTED_ETH, 0, -1_000):
        if floor.order(account, BUY, lots, _ENTRY_TICKS, tif="fok") is not None:
            return


def _hand_over(floor: Floor, whale: int) -> int:
    """Move the position at the fair price to a fresh account that has the initial margin and no more.

    So its profit becomes cash in the old one. Only out of what may be withdrawn; the account that holds it.
    """
    lots, fair = floor.view.position_lots(0, whale), floor.fair_ticks[0]
    instrument = floor.view.instruments[0]
    value = lots * fair * instrument.tick_value_atoms
    needed = initial_atoms(margin_table(instrument), value, lots, instrument.tiers[0].leverage_max)
    needed += value * _MAKER_FEE_PER_MILLION // USD
    taken = floor.withdraw(whale)
    if taken < needed:
        return whale
    heir = floor.open("heir", -(-needed // USD), attacker=True)
    floor.order(heir, BUY, lots, fair)
    floor.order(whale, SELL, lots, fair, tif="fok")
    floor.withdraw(whale)
    return heir


def _ride(floor: Floor) -> Generator[Event, Any, tuple[int, int, int]]:
    """He buys what his margin carries, and closes a part at the top; (vault, makers, whale)."""
    vault = floor.open("vault", 100_000_000, role="vault")
    floor.do(SetBackstop(vault, (0,)))
    maker = floor.open("makers", 300_000_000)
    whale = floor.open("whale", _CAPITAL_USD, attacker=True)
    floor.index(_ENTRY_TICKS)
    _buy_what_is_allowed(floor, whale, maker)
    yield floor.pause(3)
    _move(floor, maker, _TOP_TICKS)
    floor.order(whale, SELL, _CLOSED_ETH, reduce_only=True)
    return vault, maker, whale


def _sell(floor: Floor, maker: int, account: int) -> None:
    """All that it holds, into a full book."""
    _ladder(floor, maker)
    floor.order(account, SELL, floor.view.position_lots(0, account), reduce_only=True)


def _steps(floor: Floor) -> Steps:
    """He takes the profit out at the top and waits to be liquidated; the vault sells what it took over."""
    vault, maker, whale = yield from _ride(floor)
    holder = _hand_over(floor, whale)
    for ticks in _PATH_TICKS:
        yield floor.pause(3)
        _move(floor, maker, ticks)
        if not floor.view.position_lots(0, holder):
            break
    for account in (whale, holder):
        floor.withdraw(account)
    if floor.view.position_lots(0, vault):
        _sell(floor, maker, vault)


def sells_in_the_book(floor: Floor) -> Steps:
    """The same trader without the attack: at the first fall he sells in the book, as price and time give."""
    _, maker, whale = yield from _ride(floor)
    yield floor.pause(3)
    _move(floor, maker, _PATH_TICKS[0])
    _sell(floor, maker, whale)
    floor.withdraw(whale)


def _eth(*tiers: Tier) -> Instrument:
    return perpetual(
        "ETH",
        0,
        tick_decimals=1,
        price_max_ticks=10**5,
        size_max_lots=10**6,
        open_interest_max_lots=10**6,
        tiers=tiers,
    )


ATTACK = Attack(
    id="ATK-11",
    title="withdraw to the edge, be liquidated",
    does="takes the profit of a huge position out, and lets the vault take over what the book would not",
    incident="Hyperliquid, 2025-03-12: 15.23 million USD carry 175,000 ETH bought at 1,884.4; 15,000 are "
    "closed and 17.09 million withdrawn; the vault takes over 160,234 ETH and loses about 4 million, the "
    "trader is 1.8 million up",
    source="press reports of March 2025; no page of the venue is at hand",
    weakness="50 times leverage at any size, and a withdrawal leaves the initial margin of that and no more",
    weak={"margin": {"transfer_min_ppb": 0}},
    bound="tiers of ETH (25 times, 15 above 100 million USD) and margin.transfer_min_ppb (10 % of the value)",
    allowed_atoms=0,
    instruments=(_eth(Tier(0, 25), Tier(100_000_000 * USD, 15)),),
    weak_instruments=(_eth(Tier(0, 50)),),
    steps=_steps,
)
