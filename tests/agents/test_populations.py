"""Retail, natural shorts, noise and the vault in one small crash."""

import numpy as np
import pytest

from tests.agents.conftest import PARAMS, START_NS, Small, open_small
from zerodebt.agents.leveraged_retail import LeveragedRetail, RetailParams
from zerodebt.exchange.commands import CancelOrder, Deposit, PlaceOrder, TransferMargin
from zerodebt.exchange.units import SECOND_NS


@pytest.fixture(scope="module")
def crash() -> Small:
    """Flat for two minutes, down 15 % in four, half of it back."""
    params = list(PARAMS)
    params[3] = RetailParams(name="retail", count=800, wakes_per_day=200.0)
    small = open_small(((0, 0), (2, 0), (6, -150), (20, -70)), 20, params=params)
    small.world.run()
    return small


def test_populations_act_and_few_commands_are_refused(crash: Small) -> None:
    counters = {population.name: population.counters for population in crash.genesis.populations}
    assert counters["retail"]["stops"] > 200
    assert counters["retail"]["deposits"] > 0
    assert counters["retail"]["core_sold_stable_usd"] > 0
    assert counters["retail"]["liquidated_seen"] > 0
    assert counters["shorts"]["take_profit_orders"] > 50
    assert counters["noise"]["orders"] == pytest.approx(20 * 60 * 5, rel=0.1)
    assert counters["vault"]["orders"] > 0
    sent = sum(isinstance(command, PlaceOrder) for command in crash.sent)
    refused = sum(c.get("rejected", 0) for c in counters.values())
    assert refused < 0.05 * sent


def test_stops_are_reduce_only_on_the_mark_and_on_the_losing_side(crash: Small) -> None:
    stops = [c for c in crash.sent if isinstance(c, PlaceOrder) and c.trigger is not None]
    start = (1_169_820, 696_900)
    assert stops
    for stop in stops:
        assert stop.trigger is not None
        assert stop.reduce_only
        assert (stop.trigger.kind, stop.trigger.reference) == ("stop", "mark")
        # a sale protects a long from a fall
        assert (stop.trigger.price_ticks - start[stop.instrument]) * stop.side > 0


def test_natural_shorts_rest_reduce_only_bids_below_the_start(crash: Small) -> None:
    shorts = crash.genesis.populations[4]
    own = set(shorts.accounts.tolist())
    bids = [c for c in crash.sent if isinstance(c, PlaceOrder) and c.account in own]
    assert len(bids) == shorts.counters["take_profit_orders"]
    for bid in bids:
        start = (1_169_820, 696_900)[bid.instrument]
        assert bid.reduce_only
        assert bid.side == 1
        assert bid.price_ticks is not None
        assert 0.74 * start < bid.price_ticks <= 0.97 * start


def test_vault_sends_only_immediate_orders_that_reduce(crash: Small) -> None:
    vault = crash.genesis.populations[0]
    account = int(vault.accounts[0])
    orders = [c for c in crash.sent if isinstance(c, PlaceOrder) and c.account == account]
    assert orders
    assert all(order.reduce_only and order.tif == "ioc" for order in orders)


def test_isolated_top_ups_are_a_deposit_and_a_transfer_of_the_same_atoms(crash: Small) -> None:
    transfers = [n for n, command in enumerate(crash.sent) if isinstance(command, TransferMargin)]
    assert transfers
    for n in transfers:
        deposit, transfer = crash.sent[n - 1], crash.sent[n]
        assert isinstance(deposit, Deposit)
        assert isinstance(transfer, TransferMargin)
        assert (deposit.first_account, deposit.atoms) == (transfer.account, (transfer.atoms,))


def test_core_is_never_sold_below_zero_and_stable_goes_first() -> None:
    small = open_small(minutes=0)
    retail = small.genesis.populations[3]
    assert isinstance(retail, LeveragedRetail)
    index = np.array([584_910.0, 348_450.0])  # half of the start: so is the BTC of the core
    core = retail._core_usd[0].copy()
    first = retail._sell_core(0, core[0] / 2, index)
    assert first == pytest.approx(core[0] / 2 * 1e6)
    assert retail._core_usd[0, 0] == pytest.approx(core[0] / 2)
    rest = retail._sell_core(0, 1e15, index)
    assert rest == pytest.approx((core[0] / 2 + core[1] + core[2] / 2) * 1e6)
    assert retail._core_usd[0].min() >= 0
    assert retail._sell_core(0, 1.0, index) == 0


def test_noise_cancels_what_rests(crash: Small) -> None:
    noise = crash.genesis.populations[2]
    cancels = sum(isinstance(command, CancelOrder) for command in crash.sent)
    assert cancels <= noise.counters["cancels"]
    assert noise.counters["cancels"] > 0.5 * noise.counters["limit_orders"]


def test_retail_without_stress_wakes_six_times_a_day() -> None:
    params = list(PARAMS)
    params[3] = RetailParams(name="retail", count=800, holding_median_days=1e-6, stop_share=0.0)
    small = open_small(minutes=60, params=params)
    small.world.run()
    exits = small.genesis.populations[3].counters["exits"]
    # every wake exits: 800 accounts x 6/24 h x 1 h, as 1 - exp(-1/4) because an account leaves once
    assert exits == pytest.approx(800 * (1 - np.exp(-0.25)), rel=0.2)
    assert small.world.now_ns <= START_NS + 3_600 * SECOND_NS
