"""Accounts, money and positions of the start."""

from typing import Any

import msgspec
import numpy as np
import pytest

from tests.agents.conftest import (
    INSTRUMENTS,
    OPEN_INTEREST_LOTS,
    PARAMS,
    START_TICKS,
    USD,
    Small,
    open_small,
)
from zerodebt.agents.genesis import Genesis, PopulationParams, _merged, build
from zerodebt.agents.leveraged_retail import LeveragedRetail, RetailParams
from zerodebt.agents.market_makers import MarketMakerParams
from zerodebt.agents.natural_shorts import NaturalShortParams
from zerodebt.agents.noise import NoiseParams
from zerodebt.exchange.commands import Deposit, LoadPositions, OpenAccounts
from zerodebt.exchange.events import FIRST_ACCOUNT
from zerodebt.exchange.instruments import maintenance_atoms, margin_table


def opened(
    seed: int = 0, accounts: int | None = None, params: tuple[PopulationParams, ...] = PARAMS
) -> Genesis:
    return build(params, INSTRUMENTS, START_TICKS, OPEN_INTEREST_LOTS, seed, 0, USD, accounts)


def loads_of(genesis: Genesis) -> list[LoadPositions]:
    return [command for command in genesis.commands if isinstance(command, LoadPositions)]


@pytest.mark.parametrize(("seed", "accounts"), [(0, None), (1, None), (0, 100), (0, 3_000)])
def test_longs_meet_the_open_interest_and_positions_sum_to_zero(seed: int, accounts: int | None) -> None:
    loads = loads_of(opened(seed, accounts))
    assert [load.instrument for load in loads] == [0, 1]
    for load, wanted in zip(loads, OPEN_INTEREST_LOTS, strict=True):
        assert sum(load.lots) == 0
        assert sum(lots for lots in load.lots if lots > 0) == wanted
        assert load.price_ticks == START_TICKS[load.instrument]


@pytest.mark.parametrize("accounts", [None, 100])
def test_every_position_starts_with_its_initial_requirement(accounts: int | None) -> None:
    genesis = opened(0, accounts)
    wallets: dict[int, int] = {}
    for command in genesis.commands:
        if isinstance(command, Deposit):
            wallets |= dict(enumerate(command.atoms, command.first_account))
    pooled: dict[int, int] = {}
    for load in loads_of(genesis):
        instrument = INSTRUMENTS[load.instrument]
        table = margin_table(instrument)
        for account, lots, leverage, isolated in zip(
            load.accounts, load.lots, load.leverage, load.isolated_atoms, strict=True
        ):
            notional = abs(lots) * load.price_ticks
            allowed = [t.leverage_max for t in instrument.tiers if notional >= t.lower][-1]
            assert 1 <= leverage <= allowed
            required = max(-(-notional // leverage), 2 * maintenance_atoms(table, notional, abs(lots)))
            if isolated:
                assert isolated >= required
                wallets[account] -= isolated
            else:
                pooled[account] = pooled.get(account, 0) + required
    assert all(wallets[account] >= required for account, required in pooled.items())
    assert min(wallets.values()) >= 0


def test_accounts_are_numbered_in_the_order_of_the_populations() -> None:
    genesis = opened()
    opens = [command for command in genesis.commands if isinstance(command, OpenAccounts)]
    assert [command.count for command in opens] == [1, 6, 20, 800, 200]
    assert [command.role for command in opens] == ["vault", *["customer"] * 4]
    numbers = np.concatenate([population.accounts for population in genesis.populations])
    assert np.array_equal(numbers, np.arange(FIRST_ACCOUNT, FIRST_ACCOUNT + 1_027))


def test_another_population_shifts_no_other() -> None:
    more = (NoiseParams(name="more noise", count=3), *PARAMS)
    plain, shifted = opened(), opened(params=more)
    for before, after in zip(plain.populations, shifted.populations[1:], strict=True):
        assert before.name == after.name
        assert np.array_equal(before.deposits_atoms, after.deposits_atoms)
        assert np.array_equal(before.accounts + 3, after.accounts)
        if before.positions is not None and after.positions is not None:
            assert np.array_equal(before.positions.lots, after.positions.lots)
            assert np.array_equal(before.positions.entry_ticks, after.positions.entry_ticks)


def test_a_seed_decides_who_holds_what_and_not_how_large_the_market_is() -> None:
    one, two = (opened(seed).populations[3] for seed in (0, 1))
    assert not np.array_equal(one.deposits_atoms, two.deposits_atoms)
    assert float(one.deposits_atoms.sum()) == pytest.approx(float(two.deposits_atoms.sum()), rel=0.1)


def test_long_bias_and_isolated_share_are_met() -> None:
    retail = opened().populations[3]
    assert isinstance(retail, LeveragedRetail)
    assert retail.positions is not None
    lots, isolated = retail.positions.lots, retail.positions.isolated_atoms
    long_accounts = (lots > 0).any(axis=0).sum()
    short_accounts = (lots < 0).any(axis=0).sum()
    assert long_accounts / (long_accounts + short_accounts) == pytest.approx(0.6, abs=0.02)
    assert (isolated > 0).any(axis=0).mean() == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ((*PARAMS, NoiseParams(name="noise")), "'noise' is used twice"),
        (PARAMS[:-1], "do not sum to zero, nobody holds the other side of BTC"),
        (
            (
                RetailParams(name="r", count=50, long_bias=0.2, short_share=1.5),
                NaturalShortParams(name="n", count=5),
            ),
            "r: the caps on accounts and positions allow",
        ),
    ],
)
def test_impossible_populations_are_refused_in_one_sentence(
    params: tuple[PopulationParams, ...], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        opened(params=params)


def test_parameters_are_read_from_a_table_by_their_kind() -> None:
    table = {"kind": "leveraged_retail", "name": "retail", "count": 10, "leverage_scale": 0.5}
    assert msgspec.convert(table, PopulationParams) == RetailParams(
        name="retail", count=10, leverage_scale=0.5
    )
    with pytest.raises(msgspec.ValidationError, match="levrage"):
        msgspec.convert(table | {"levrage": 1}, PopulationParams)


def is_plain(value: Any) -> bool:
    """No numpy scalar anywhere, and no float: money, prices and sizes are integers."""
    if isinstance(value, tuple):
        return all(is_plain(item) for item in value)
    if isinstance(value, msgspec.Struct):
        return all(is_plain(getattr(value, field)) for field in value.__struct_fields__)
    return type(value) in (int, str, bool, type(None))


def test_every_command_of_a_run_holds_python_integers_only() -> None:
    small: Small = open_small(((0, 0), (2, 0), (5, -120), (10, -60)), minutes=8)
    small.world.run()
    assert len(small.sent) > 2_000
    for command in small.sent:
        assert is_plain(command), command


def test_same_seed_same_state_another_seed_another() -> None:
    hashes = []
    for seed in (0, 0, 1):
        small = open_small(((0, 0), (1, 0), (3, -100)), minutes=4, seed=seed)
        small.world.run()
        hashes.append(small.venue.state_hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_smaller_world_has_fewer_makers_with_the_same_depth_together() -> None:
    spec = MarketMakerParams(name="makers", count=6, depth_usd=30.0, inventory_cap_usd=60.0, capital_usd=90.0)
    two = _merged(spec, 2)
    assert (two.count, two.depth_usd, two.inventory_cap_usd, two.capital_usd) == (2, 90.0, 180.0, 270.0)
    assert _merged(spec, 6) is spec
