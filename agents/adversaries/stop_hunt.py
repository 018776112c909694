"""ATK-04: a short push through a thin book sets off stops and liquidations, and his bids wait below."""

from zerodebt.agents.adversaries import OURS, USD, Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, CancelAll, SetBackstop, Trigger

_FAIR_TICKS = 10_000
_STOPS_TICKS = (9_700, 9_600, 9_550, 9_520)
_FAR_TICKS, _EDGE_TICKS = 6_000, 9_501
_STOP_LOTS = 20_000
_LEVERED_LOTS = 30_000
_BAND_PPB = 50_000_000
_EVERY_S = 3


def _steps(floor: Floor) -> Steps:
    """He sells through the makers' bids, prints one lot at the stops' price, and buys what they sell below.

    Four rows of stops on the last price, beside them holders at high leverage. He bids far below, and at the
    edge of the band once that caught nothing.
    """
    vault = floor.open("vault", 10_000_000, role="vault")
    floor.do(SetBackstop(vault, (0,)))
    floor.endow(10_000_000)
    maker = floor.open("maker", 20_000_000)
    pusher = floor.open("pusher", 10_000_000, attacker=True)
    catcher = floor.open("catcher", 10_000_000, attacker=True)
    floor.index(_FAIR_TICKS)
    stopped = floor.open("stopped", 3_000_000)
    levered = floor.open("levered", 180_000)
    for holder, lots in ((stopped, _STOP_LOTS * len(_STOPS_TICKS)), (levered, _LEVERED_LOTS)):
        floor.order(maker, SELL, lots, _FAIR_TICKS)
        floor.order(holder, BUY, lots, _FAIR_TICKS, tif="fok")
    for stop in _STOPS_TICKS:
        trigger = Trigger("stop", "last", stop)
        floor.order(stopped, SELL, _STOP_LOTS, reduce_only=True, trigger=trigger)
    bid = _FAR_TICKS
    for stop in _STOPS_TICKS:
        yield floor.pause(_EVERY_S)
        floor.quote(maker, 5_000)
        floor.index(_FAIR_TICKS)
        floor.order(pusher, SELL, 15_000, stop + 1, tif="ioc")
        floor.order(catcher, BUY, 2 * _STOP_LOTS, bid)
        floor.order(catcher, BUY, 1, stop)
        floor.order(pusher, SELL, 1, stop, tif="ioc")
        floor.index(_FAIR_TICKS)
        floor.do(CancelAll(catcher))
        if floor.view.position_lots(0, catcher) <= 1:
            bid = _EDGE_TICKS
        for _ in range(20):
            yield floor.pause(_EVERY_S)
            floor.quote(maker, 5_000)
            floor.index(_FAIR_TICKS)
            _unwind(floor, pusher)
            _unwind(floor, catcher)


def _unwind(floor: Floor, account: int) -> None:
    """Close at the makers' prices, within 2 %."""
    held = floor.view.position_lots(0, account)
    if held:
        side = SELL if held > 0 else BUY
        floor.order(account, side, abs(held), _FAIR_TICKS + side * 200, tif="ioc", reduce_only=True)


ATTACK = Attack(
    id="ATK-04",
    title="hunt stops, set off a cascade",
    does="sells through a thin book and prints at the stops, so that stops and liquidations sell to him",
    incident="GDAX, 2017-06-21: one market order moved ETH-USD from 317.81 to 224.48, about 800 stops and "
    "margin calls followed down to 0.10 USD; the venue paid the holders back",
    source="GDAX, A. White, ETH-USD trading updates (June 2017)",
    weakness="the mark follows the last price, stops and forced orders go to any price",
    weak={
        "sources": [{"name": "own", "weight": 9, "kind": "own"}, {"name": "other", "weight": 1}],
        "index": {"own": "last"},
        "mark": {"formula": "index", "band_ppb": 0},
        "orders": {"market_slippage_ppb": 0, "band": {"formula": "none"}},
        "waterfall": ["book", "insurance", "adl"],
        "liquidation": {"price_limit": "none", "backstop_below_ppb": 0},
    },
    bound="orders.band: a stop sells at most 5 % below the mark, and mark.band_ppb: nobody is liquidated",
    allowed_atoms=_FAIR_TICKS * len(_STOPS_TICKS) * _STOP_LOTS * (USD // 100) * _BAND_PPB // 10**9,
    ours=dict(OURS) | {"orders": {"band": {"formula": "mark", "width_ppb": _BAND_PPB}}},
    instruments=(
        perpetual(
            "ETH",
            20,
            tick_decimals=2,
            price_max_ticks=100_000,
            size_max_lots=10**7,
            open_interest_max_lots=10**7,
        ),
    ),
    steps=_steps,
)
