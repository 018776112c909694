"""ATK-06: a flood of orders and cancels, and a farm of accounts whose liquidations the fund subsidises."""

from zerodebt.agents.adversaries import OURS, USD, Attack, Floor, perpetual
from zerodebt.agents.world import Steps
from zerodebt.exchange.commands import BUY, SELL, CancelAll, CancelOrder

_FAIR_TICKS = 10_000
_FALLEN_TICKS = 9_100
_BIDS_TICKS = (8_990, 8_570, 6_000)
_FARMS = 21
_LOTS = 10_000
_ORDERS, _REPLACED = 3_000, 1_000
_LOST_MAX_ATOMS = 1_000 * USD


def _steps(floor: Floor) -> Steps:
    """He floods the book, then hedges 21 accounts with one and lets the price liquidate them.

    His bids meet their forced orders: a third just within the fund's budget, a third at the furthest fillable
    price, a third far below. What a fill lacks to the bankruptcy price the fund pays.
    """
    maker = floor.open("maker", 20_000_000)
    floor.endow(5_000_000)
    hedge = floor.open("hedge", 5_000_000, attacker=True)
    catcher = floor.open("catcher", 20_000_000, attacker=True)
    floor.index(_FAIR_TICKS)
    _flood(floor, catcher)
    farms = [floor.open("farm", _LOTS * _FAIR_TICKS // 1_000 + 1, attacker=True) for _ in range(_FARMS)]
    for farm in farms:
        floor.order(hedge, SELL, _LOTS, _FAIR_TICKS)
        floor.order(farm, BUY, _LOTS, _FAIR_TICKS, tif="fok")
    yield floor.pause(60)
    for price in _BIDS_TICKS:
        floor.order(catcher, BUY, _LOTS * _FARMS // len(_BIDS_TICKS), price)
    floor.index(_FALLEN_TICKS)
    yield floor.pause(60)
    floor.do(CancelAll(catcher))
    for _ in range(40):
        yield floor.pause(60)
        floor.quote(maker, 10_000, share_ppb=1_000_000)
        floor.index(_FALLEN_TICKS)
        for account in (hedge, catcher):
            held = floor.view.position_lots(0, account)
            if held:
                side = SELL if held > 0 else BUY
                floor.order(account, side, abs(held), _FALLEN_TICKS + side * 100, tif="ioc", reduce_only=True)


def _flood(floor: Floor, account: int) -> None:
    """More orders than an account may have; then one is cancelled and placed anew, over and over."""
    for n in range(_ORDERS):
        floor.order(account, BUY, 1, _FAIR_TICKS // 2 + n)
    (order, *_) = (row[0] for row in floor.view.orders(account, 0))
    for n in range(_REPLACED):
        floor.do(CancelOrder(account, order))
        placed = floor.order(account, BUY, 1, _FAIR_TICKS // 2 + n)
        assert placed is not None
        order = placed
    floor.do(CancelAll(account))


ATTACK = Attack(
    id="ATK-06",
    title="flood the book, farm liquidations",
    does="sends orders and cancels without end, and lets the fund subsidise the liquidation of accounts of "
    "his against bids of his",
    incident="audits of dYdX v4, SYMM and Perennial: rewards and subsidies of liquidations that their owner "
    "collects himself, floods that keep the worst account from being liquidated",
    source="Sherlock, SYMMETRICAL (June 2023), 015-H; Sherlock, Perennial V2 (October 2023), 003-M, 016-M; "
    "Informal Systems, dYdX v4 audits (2023 Q4)",
    weakness="the fund pays what a forced order lacks, and forced orders go to any price",
    weak={"liquidation": {"price_limit": "none", "insurance_lost_max_atoms": None}},
    bound="liquidation.insurance_lost_max_atoms: 1,000 an account and command; orders.open_orders_max",
    allowed_atoms=_FARMS * _LOST_MAX_ATOMS,
    profile="dydx_v4",
    ours=dict(OURS) | {"liquidation": {"insurance_lost_max_atoms": _LOST_MAX_ATOMS}},
    instruments=(
        perpetual(
            "ETH-USD",
            10,
            tick_decimals=2,
            price_max_ticks=100_000,
            size_max_lots=10**7,
            open_interest_max_lots=10**7,
        ),
    ),
    steps=_steps,
)
