"""Unleveraged clients and their counterparty."""

import pytest

from zerodebt.agents.clients import ClientParams, Clients, UpstreamParams
from zerodebt.agents.genesis import build
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import LoadPositions, Observation, SettleInstrument, UpdateIndex
from zerodebt.exchange.events import ReceivableBooked, Rejected
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.rules import profile_table, venue_rules
from zerodebt.exchange.venue import Venue

# A barrel a lot, a fen a tick, money in fen: 1 CNY is 100 atoms.
OIL = Instrument(
    "CL-MAY20",
    "future",
    0,
    2,
    0,
    1,
    -100_000,
    100_000,
    10**8,
    10**9,
    (Tier(0, 1),),
    margin_floor_atoms_per_lot=1,
)
START_TICKS = 9_240


def open_clients(isolated: bool) -> tuple[Venue, Clients]:
    params = ClientParams(
        name="clients",
        instrument="CL-MAY20",
        count=600,
        entry_ticks=17_100,
        entry_sd_ticks=2_000,
        isolated=isolated,
        named_lots=20_000,
        named_entry_ticks=19_423,
    )
    upstream = UpstreamParams(name="upstream", capital_usd=10**9)
    genesis = build((params, upstream), (OIL,), (START_TICKS,), (24_500_000,), 0, 0, 100)
    table = profile_table("hyperliquid")
    table |= {"waterfall": ["book", "recourse"], "promise": "none"}
    venue = Venue(venue_rules(table), (Asset("USDC", 2),), (OIL,))
    for command in genesis.commands:
        batch = venue.apply(command, 0)
        assert not isinstance(batch.events[0], Rejected), batch
        if isinstance(command, LoadPositions):
            assert sum(command.lots) == 0
    clients = genesis.populations[0]
    assert isinstance(clients, Clients)
    return venue, clients


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.spec("F10")
def test_clients_hold_the_open_interest_unleveraged(isolated: bool) -> None:
    venue, clients = open_clients(isolated)
    assert venue.view.open_interest_lots(0) == 24_500_000
    assert len(clients.accounts) == 601
    assert int((clients.deposits_atoms).sum()) == 24_500_000 * START_TICKS
    assert venue.view.isolated(0, clients.accounts).tolist() == [int(isolated)] * 601


@pytest.mark.spec("F10")
def test_named_client_is_as_given_and_the_mean_entry_is_met() -> None:
    _, clients = open_clients(isolated=True)
    named = int(clients.accounts[0])
    assert named == 16
    # 20,000 bbl at 194.23 CNY
    assert int(clients.principal_atoms[0]) == 20_000 * 19_423
    mean = clients.principal_atoms[1:].sum() / (24_500_000 - 20_000)
    assert mean == pytest.approx(17_100, abs=1)


@pytest.mark.spec("F10")
def test_named_client_loses_his_principal_and_owes_the_rest() -> None:
    venue, clients = open_clients(isolated=True)
    venue.apply(UpdateIndex((Observation(0, 0, START_TICKS, 1),)), 1)
    batch = venue.apply(SettleInstrument(0, -26_612), 2)
    owed = {e.account: e.atoms for e in batch.events if isinstance(e, ReceivableBooked)}
    assert owed[16] == 20_000 * 26_612
    # 20,000 * (194.23 + 266.12) CNY
    assert int(clients.principal_atoms[0]) + owed[16] == 920_700_000
    assert sum(owed.values()) == 24_500_000 * 26_612
