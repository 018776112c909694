"""F15: shorts who are forced to buy from a book that thins out.

The book is the only market of the coin: its last price is the index. Somebody buys a little, the price
rises, shorts are liquidated into the offers, and so on until nobody is forced any more.

Chosen on 2026-11-22 before the first forced order (ours): forty shorts of 25 lots with leverage 5 to 40;
offers every 0.25 %, 5 lots at the first, each smaller by the exponential of a hundredth of its number, at
least one; or 5 at each. The first buyer takes what is offered up to +1.25 %, level by level. Depth is the
value offered within 1 %, over 1 %. Nobody is deleveraged: the operator pays what shorts cannot
once they are closed, and promises nothing: who finds no offer stays short and below zero.
"""

from collections.abc import Mapping

import numpy as np

from zerodebt.exchange.commands import MassQuote, PlaceOrder
from zerodebt.exchange.events import HOUSE, Filled, OrderAccepted
from zerodebt.scenarios.models.small_venue import START_TICKS, TICK_ATOMS, SmallVenue, contract, of, rulebook

_SHORTS, _LOTS, _LEVELS, _FIRST_LOTS, _BUYER_LEVELS = 40, 25, 320, 5, 5
_LEVERAGE_MAX = 40
_STEP_TICKS = 25
_ROUNDS_MAX = 200


def measure(seed: int, *, thins: bool) -> Mapping[str, float]:
    """Shares and ratios of one squeeze."""
    rng = np.random.default_rng([seed, 15])
    desk = SmallVenue(rulebook(("book", "house"), promise="none"), (contract(leverage=_LEVERAGE_MAX),))
    value = _LOTS * START_TICKS * TICK_ATOMS
    levers = rng.choice((5, 10, 20, 40), _SHORTS)
    shorts = desk.open([-(-value // int(lever)) for lever in levers])
    longs = desk.open([value * _SHORTS])
    street, buyer = desk.open([1000 * value] * 2)
    desk.endow(HOUSE, 100 * value * _SHORTS)
    desk.load(dict.fromkeys(shorts, -_LOTS) | {longs[0]: _LOTS * _SHORTS}, _LEVERAGE_MAX)
    desk.index(START_TICKS)
    sizes = _FIRST_LOTS * np.exp(-np.arange(_LEVELS) / 100 * thins)
    offers = tuple((START_TICKS + _STEP_TICKS * (k + 1), max(1, int(n))) for k, n in enumerate(sizes))
    desk.do(MassQuote(street, 0, (), offers))
    for price, lots in offers[:_BUYER_LEVELS]:
        desk.do(PlaceOrder(buyer, 0, 1, lots, price, tif="ioc"))
        desk.index(price)
    for _ in range(_ROUNDS_MAX):
        last = desk.view.last_ticks(0)
        assert last is not None
        if last == desk.view.mark_ticks(0):
            break
        desk.index(last)
    desk.end()
    forced = {o.order_id for o in of(desk.events, OrderAccepted) if o.forced}
    fills = of(desk.events, Filled)
    forced_value = sum(f.size_lots * f.price_ticks for f in fills if f.taker_order in forced)
    bought_value = sum(f.size_lots * f.price_ticks for f in fills)
    within = START_TICKS * 101 // 100
    depth = sum(price * lots for price, lots in offers if price <= within) / 0.01
    rise = (desk.view.last_ticks(0) or START_TICKS) / START_TICKS - 1
    return {
        "forced_buy_share": forced_value / bought_value,
        "rise": rise,
        "rise_over_linear_impact": rise / (forced_value / depth) if forced_value else np.nan,
        "accounts_closed": sum(desk.view.position_lots(0, a) == 0 for a in shorts),
    }
