"""A run of eight batches by hand: one market, a liquidation, a takeover, and the vault's deficit.

One lot at one tick is worth 1 USD (100 atoms); the market starts at 100. Accounts: 16 and 17 are long 10 and
5 lots, 18 is short 15, 19 makes the market, 20 is the vault.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from zerodebt.exchange import events as ev
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import BUY, SELL
from zerodebt.exchange.events import CLEARING, EXTERNAL, FEES, Batch, Event
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.journal import EVENTS_HEADER, encode
from zerodebt.exchange.rules import profile_table, venue_rules
from zerodebt.exchange.units import SECOND_NS
from zerodebt.scenarios.claims import check
from zerodebt.scenarios.config import Claim
from zerodebt.scenarios.measure import measure
from zerodebt.scenarios.tables import write_tables

START_NS = int(datetime(2025, 10, 10, 21, 15, tzinfo=UTC).timestamp()) * SECOND_NS
A, B, SHORT, MAKER, VAULT = 16, 17, 18, 19, 20
DEPOSITS = {A: 100_00, B: 1_000_00, SHORT: 2_000_00, MAKER: 5_000_00, VAULT: 10_00}
POPULATIONS = [
    {"name": "longs", "role": "customer", "first_account": A, "count": 2},
    {"name": "shorts", "role": "customer", "first_account": SHORT, "count": 1},
    {"name": "makers", "role": "customer", "first_account": MAKER, "count": 1},
    {"name": "vault", "role": "vault", "first_account": VAULT, "count": 1},
]
INSTRUMENT = Instrument("X-PERP", "perpetual", 0, 0, 0, 100, 1, 1_000, 1_000, 10_000, (Tier(0, 10),))


def opened() -> ev.Opened:
    return ev.Opened(venue_rules(profile_table("hyperliquid")), (Asset("USDC", 2),), (INSTRUMENT,))


def marked(price: int, bid: int | None = None, ask: int | None = None) -> ev.Marked:
    return ev.Marked(0, price, price, None, (bid, ask, None), None, None, None, None)


def batches() -> list[Batch]:
    legs = tuple((account, 0, atoms) for account, atoms in DEPOSITS.items())
    opening: tuple[Event, ...] = (
        ev.AccountsOpened(A, 4, "customer"),
        ev.AccountsOpened(VAULT, 1, "vault"),
        ev.BackstopSet(VAULT, (0,)),
        ev.Posted("deposit", ((EXTERNAL, 0, -sum(DEPOSITS.values())), *legs)),
        ev.PositionsLoaded(0, 100, (A, B, SHORT), (10, 5, -15), (90, 100, 110), (10, 10, 10), (0, 0, 0)),
    )
    calm: tuple[Event, ...] = (
        ev.Quoted(MAKER, 0, (), ((1, BUY, 99, 4), (2, BUY, 98, 6), (3, SELL, 101, 8)), ()),
    )
    thin: tuple[Event, ...] = (ev.Quoted(MAKER, 0, (1, 2, 3), ((4, BUY, 90, 4), (5, SELL, 93, 8)), ()),)
    # At 92 account A has 100 + 10 * (92 - 100) = 20 USD. Two lots are sold at 90, eight go to the vault.
    liquidated: tuple[Event, ...] = (
        marked(92, 90, 93),
        ev.LiquidationStarted(A, 0, 20_00, 46_00),
        ev.StageArmed("book", A, 0, 20_00, 46_00, "equity is below the maintenance requirement"),
        ev.OrderAccepted(10, A, 0, SELL, 2, None, "ioc", False, True, True),
        ev.Filled(1, 0, SELL, 90, 2, 10, A, 4, MAKER, 0, 10),
        ev.Posted("fill", ((A, 0, -20_00), (CLEARING, 1, 20_00), (MAKER, 0, -10), (FEES, 0, 10))),
        ev.TakenOver(A, 0, VAULT, 0, 8, 92),
        ev.Posted("takeover", ((A, 0, -64_00), (CLEARING, 1, 64_00))),
        ev.Posted("takeover", ((A, 0, -16_00), (VAULT, 0, 16_00))),
        ev.LiquidationEnded(A, 0, 0, 0),
    )
    # At 85 the vault has 10 + 16 + 8 * (85 - 92) = -30 USD; eight lots at 85 + 4 bring 32.
    deleveraged: tuple[Event, ...] = (
        marked(85, 90, 93),
        ev.DeficitOpened(1, VAULT, 0, 0, 30_00, ((A, 30_00),)),
        ev.StageArmed("adl", VAULT, 0, -30_00, 34_00, "equity is below zero"),
        ev.Deleveraged(1, 0, VAULT, 0, SHORT, 0, -8, 89, 85, 32_00, 168_00, 1, 5),
        ev.Posted(
            "deleverage", ((VAULT, 0, -24_00), (CLEARING, 1, 24_00), (SHORT, 0, 88_00), (CLEARING, 1, -88_00))
        ),
        ev.DeficitClosed(1, 0, 2_00),
    )
    return [
        Batch(0, 0, (opened(),)),
        Batch(1, START_NS, opening),
        Batch(2, START_NS, (marked(100),)),
        Batch(3, START_NS, calm),
        Batch(4, START_NS + 60 * SECOND_NS, (marked(100, 99, 101),)),
        Batch(5, START_NS + 119 * SECOND_NS, thin),
        Batch(6, START_NS + 120 * SECOND_NS, liquidated),
        Batch(7, START_NS + 180 * SECOND_NS, deleveraged),
    ]


def write_events(run: Path, listed: list[Batch]) -> Path:
    run.mkdir(parents=True, exist_ok=True)
    (run / "events.bin").write_bytes(EVENTS_HEADER + b"".join(encode(batch) for batch in listed))
    (run / "meta.json").write_text(json.dumps({"populations": POPULATIONS}), encoding="utf-8")
    return run


def write_handmade_run(run: Path) -> Path:
    """Events and tables."""
    write_events(run, batches())
    write_tables(run)
    return run


def write_summary(run: Path, **changed: Any) -> None:
    """What the report needs to be told; `changed` replaces keys, None takes one out."""
    measures = measure(run)
    claims = (
        Claim(
            id="a", text="deleveraging of 700 USD", metric="adl_notional_usd", evidence="predicted", high=700
        ),
        Claim(
            id="b", text="half is deleveraged", metric="adl_share_of_open_interest", evidence="fitted", low=0
        ),
    )
    clauses = [{"letter": letter, "holds": True, "figures": {"paid_atoms": 3200}} for letter in "abcdefghi"]
    said: dict[str, Any] = {
        "id": "small-0",
        "scenario": "small",
        "title": "A small run",
        "rulebook": "hyperliquid",
        "seed": 0,
        "version": "0",
        "start_utc": measures["start_utc"],
        "end_utc": measures["end_utc"],
        "settle_asset": "USDC",
        "verdict": "HELD",
        "promise_kept": True,
        "audit": {"agrees": True, "findings": [], "clauses": clauses},
        "metrics": measures,
        "claims": [msgspec.to_builtins(claim) for claim in check(claims, measures)],
    }
    said |= changed
    kept = {key: value for key, value in said.items() if value is not None}
    (run / "summary.json").write_text(json.dumps(kept), encoding="utf-8")


def batches_that_give() -> list[Batch]:
    """The same, deleveraged at 81, four below the mark: eight lots give the short 32 USD."""
    *others, last = batches()
    moved = {
        ev.Deleveraged: ev.Deleveraged(1, 0, VAULT, 0, SHORT, 0, -8, 81, 85, -32_00, 232_00, 1, 5),
        ev.Posted: ev.Posted(
            "deleverage",
            ((VAULT, 0, -88_00), (CLEARING, 1, 88_00), (SHORT, 0, 152_00), (CLEARING, 1, -152_00)),
        ),
    }
    events = tuple(moved.get(type(event), event) for event in last.events)
    return [*others, msgspec.structs.replace(last, events=events)]
