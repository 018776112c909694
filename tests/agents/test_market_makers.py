"""Ladders, withdrawal and return."""

import msgspec
import pytest

from tests.agents.conftest import INSTRUMENTS, PARAMS, Small, open_small
from zerodebt.agents.market_makers import MarketMakerParams, MarketMakers
from zerodebt.exchange.commands import BUY, SELL, MassQuote
from zerodebt.exchange.instruments import order_step_ticks
from zerodebt.exchange.units import MINUTE_NS

MAKERS = PARAMS[1]
assert isinstance(MAKERS, MarketMakerParams)


def makers_of(small: Small) -> MarketMakers:
    makers = small.genesis.populations[0]
    assert isinstance(makers, MarketMakers)
    return makers


def open_makers(path: list[tuple[int, int]], minutes: int, **changes: object) -> Small:
    """The makers beside passive holders, without noise or vault."""
    params = (msgspec.structs.replace(MAKERS, **changes), *PARAMS[3:])
    return open_small(path, minutes, 0, params)


def own_depth_atoms(small: Small, instrument: int) -> int:
    view = small.venue.view
    return sum(
        price * lots
        for account in makers_of(small).accounts.tolist()
        for _, _, price, lots in view.orders(account, instrument)
    )


def test_calm_makers_show_their_depth_on_both_sides_around_the_index_on_allowed_prices() -> None:
    small = open_makers([(0, 0)], 1)
    small.world.run()
    view = small.venue.view
    index, bid, ask = view.index_ticks(0), view.best_ticks(0, BUY), view.best_ticks(0, SELL)
    assert index is not None
    assert bid is not None
    assert ask is not None
    assert bid < index < ask
    assert (ask - bid) / index < 0.001
    # 6 makers x 1 M USD x 2 sides over both instruments
    shown = sum(own_depth_atoms(small, n) for n in (0, 1)) / 1e6
    assert shown == pytest.approx(12e6, rel=0.03)
    for command in small.sent:
        if isinstance(command, MassQuote):
            instrument = INSTRUMENTS[command.instrument]
            for price, size_lots in (*command.bids, *command.asks):
                assert price % order_step_ticks(instrument, price) == 0
                assert size_lots >= 1


def test_still_prices_cost_no_quotes() -> None:
    small = open_makers([(0, 0)], 5)
    small.world.run()
    # one ladder for each of 6 makers in 2 instruments, and a few more where the stops' fills moved inventory
    assert makers_of(small).counters["quotes"] < 100


def test_makers_withdraw_in_a_fall_and_come_back_when_it_is_over() -> None:
    path = [(0, 0), (5, 0), (7, -60), (60, -60)]
    small = open_makers(path, 60, return_mean_s=60.0)
    makers = makers_of(small)
    depth: dict[int, int] = {}

    def note(elapsed_ns: int) -> None:
        depth[elapsed_ns // MINUTE_NS] = sum(own_depth_atoms(small, n) for n in (0, 1))

    small.world.run(note)
    assert makers.counters["withdrawals"] >= 4  # all the free ones
    assert makers.counters["returns"] == makers.counters["withdrawals"]
    assert min(depth[7], depth[8]) < 0.2 * depth[5]
    assert depth[60] > 0.45 * depth[5]  # both sides again but where inventory is at its cap


def test_beyond_the_inventory_cap_only_the_reducing_side_is_quoted() -> None:
    small = open_makers([(0, 0), (1, 0), (4, -120), (10, -120)], 10, inventory_cap_usd=20_000.0)
    small.world.run()
    makers = makers_of(small)
    full = [account for account in makers.accounts.tolist() if small.venue.view.position_lots(0, account) > 0]
    assert full
    one_sided = [c for c in small.sent if isinstance(c, MassQuote) and c.asks and not c.bids]
    assert one_sided
