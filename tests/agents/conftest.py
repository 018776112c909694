"""A small world for tests: two perpetuals, a real venue, every population."""

from collections.abc import Callable, Sequence

import pytest
from msgspec import Struct

from zerodebt.agents.feed import PriceFeed, Waypoints
from zerodebt.agents.genesis import Genesis, PopulationParams, build
from zerodebt.agents.leveraged_retail import RetailParams
from zerodebt.agents.market_makers import MarketMakerParams
from zerodebt.agents.natural_shorts import NaturalShortParams
from zerodebt.agents.noise import NoiseParams
from zerodebt.agents.vault import VaultParams
from zerodebt.agents.world import World
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import Command
from zerodebt.exchange.events import Batch, Rejected
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.rules import profile_table, venue_rules
from zerodebt.exchange.units import MINUTE_NS, SECOND_NS
from zerodebt.exchange.venue import Venue

START_NS = 1_760_129_100 * SECOND_NS
USD = 10**6
INSTRUMENTS = (
    Instrument(
        "BTC",
        "perpetual",
        0,
        1,
        5,
        1,
        1,
        4_000_000,
        10**9,
        4 * 10**9,
        (Tier(0, 40), Tier(150_000_000 * USD, 20)),
        5,
    ),
    Instrument(
        "XPL",
        "perpetual",
        0,
        6,
        0,
        1,
        1,
        4_000_000,
        10**9,
        10**10,
        (Tier(0, 10), Tier(3_000_000 * USD, 5)),
        5,
    ),
)
START_TICKS = (1_169_820, 696_900)
OPEN_INTEREST_LOTS = (100_000_007, 20_000_003)
PARAMS: tuple[PopulationParams, ...] = (
    VaultParams(name="vault", instruments=("BTC", "XPL"), capital_usd=2_000_000.0),
    MarketMakerParams(
        name="makers", capital_usd=2_000_000.0, depth_usd=1_000_000.0, inventory_cap_usd=4_000_000.0
    ),
    NoiseParams(name="noise", count=20, capital_usd=50_000.0),
    RetailParams(name="retail", count=800),
    NaturalShortParams(name="shorts", count=200),
)


class Small(Struct):
    """A world that has not run yet."""

    venue: Venue
    genesis: Genesis
    world: World
    sent: list[Command]


def open_small(
    path_minutes: Sequence[tuple[int, int]] = ((0, 0),),
    minutes: int = 10,
    seed: int = 0,
    params: Sequence[PopulationParams] = PARAMS,
) -> Small:
    """`path_minutes` are (minute, change in per mille of the start) waypoints of both instruments."""
    genesis = build(params, INSTRUMENTS, START_TICKS, OPEN_INTEREST_LOTS, seed, 0, USD)
    venue = Venue(venue_rules(profile_table("hyperliquid")), (Asset("USDC", 6),), INSTRUMENTS)
    for command in genesis.commands:
        batch = venue.apply(command, START_NS)
        assert not isinstance(batch.events[0], Rejected), batch
    sent = list(genesis.commands)

    def send(command: Command, time_ns: int) -> Batch:
        sent.append(command)
        return venue.apply(command, time_ns)

    world = World(venue.view, send, START_NS, START_NS + minutes * MINUTE_NS)
    paths = [
        Waypoints(
            tuple(START_NS + minute * MINUTE_NS for minute, _ in path_minutes),
            tuple(start + start * change // 1000 for _, change in path_minutes),
        )
        for start in START_TICKS
    ]
    PriceFeed(paths, 3 * SECOND_NS, (0,)).start(world)
    for population in genesis.populations:
        population.start(world)
    return Small(venue, genesis, world, sent)


@pytest.fixture
def small() -> Callable[..., Small]:
    return open_small
