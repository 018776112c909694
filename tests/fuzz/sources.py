"""Files that are right, and the same with wrong values in them: what was done by a seed, and the door to try.

`SOURCES` names one for each kind of input; a call of what it gives returns as the doors do.
"""

import json
from collections.abc import Callable
from datetime import date, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import tomli_w

from tests.fuzz import doors, tables
from zerodebt.exchange.cases import Case
from zerodebt.exchange.rules import VenueRules, profile_table
from zerodebt.exchange.specs import AssetSpec, InstrumentSpec
from zerodebt.scenarios import config, orders

Attempt = tuple[str, Callable[[], str | None]]
SMALL = ("oil-client", "nasdaq-2018-09-10")
LARGE = ("2025-10-11", "wti-2020-04-20", "ordinary-day")
PROFILES = (
    "hyperliquid",
    "binance_usdm",
    "bybit_uta",
    "deribit",
    "dydx_v4",
    "ccp",
    "retail_broker",
    "bitmex",
)

CASE: dict[str, Any] = {
    "venue": "hyperliquid",
    "as_of": "2025-10-10",
    "rules": {"fees": {"taker_ppb": 450_000}},
    "instruments": [{"symbol": "BTC", "lot": "0.00001"}],
    "balances": {"USDC": "5000"},
    "positions": [{"instrument": "BTC", "side": "long", "size": "0.8", "entry": "120000", "leverage": 20}],
    "position_mode": "net",
    "prices": {"BTC": {"mark": "118000", "index": "118000", "index_age_s": 1}},
    "ask": [
        {"question": "margin", "instrument": "BTC"},
        {"question": "liquidation_price", "instrument": "BTC"},
        {"question": "bankruptcy_price", "instrument": "BTC"},
        {"question": "withdrawable"},
        {"question": "largest_order", "instrument": "BTC", "side": "sell", "price": "118000", "leverage": 3},
        {"question": "adl_score", "instrument": "BTC", "others": ["1", "2"]},
        {
            "question": "what_if",
            "path": [{"prices": {"BTC": "114000"}, "after_s": 3}, {"prices": {"BTC": "90000"}}],
            "depth": {"BTC": "0.1"},
            "slippage": "0.01",
            "fund": "100",
            "backstop": True,
        },
    ],
}
_FUTURE: dict[str, Any] = {
    "symbol": "CL",
    "kind": "future",
    "tick": "0.01",
    "lot": "1",
    "contract_size": "1000",
    "price_min": "-1000",
    "price_max": "200000",
    "size_max": "1000",
    "open_interest_max": "1000",
    "margin_floor": "1000",
    "tiers": [{"above": 0, "leverage_max": 10}],
}
_FILE = Path(__file__).parents[1] / "scenarios" / "commands.jsonl"
_MORE: tuple[dict[str, Any], ...] = (
    {"do": "deposit", "account": "alice", "amount": "5", "asset": "USDC"},
    {
        "do": "load_positions",
        "instrument": "BTC",
        "price": "110000",
        "positions": [
            {"account": "alice", "size": "0.1", "entry": "100000", "leverage": 2, "isolated": "10"},
            {"account": "bob", "size": "-0.1"},
        ],
    },
    {"do": "set_position_mode", "account": "alice", "mode": "hedge"},
    {"do": "transfer_margin", "account": "bob", "instrument": "BTC", "amount": "-1", "position_side": "both"},
    {"do": "set_status", "instrument": "BTC", "open": True, "reduce": True, "liquidate": True},
    {"do": "settle", "instrument": "BTC", "price": "100000"},
    {"do": "settle_variation", "instrument": "BTC", "price": "100000"},
    {"do": "contribute", "account": "alice", "amount": "1"},
    {"do": "hold_auction", "account": "alice", "bids": [{"account": "bob", "prices": {"BTC": "100000"}}]},
    {"do": "supply", "account": "alice", "amount": "1"},
    {"do": "redeem", "account": "alice", "share_count": 1},
    {"do": "borrow", "account": "alice", "amount": "1"},
    {
        "do": "place_order",
        "account": "carol",
        "instrument": "BTC",
        "side": "sell",
        "size": "0.1",
        "trigger": {"kind": "stop", "price": "90000", "reference": "last"},
        "self_trade": "cancel_both",
        "post_only": False,
        "reduce_only": True,
    },
)


@cache
def _scenario(name: str) -> tuple[dict[str, Any], list[tables.Path]]:
    """A scenario with its rulebook written out, so that every key of it is there to be changed."""
    table = config.read_scenario(config.catalogue() / f"{name}.toml")
    places = tables.schema_paths(config.Scenario, table)
    places += [("venue", *path) for path in tables.schema_paths(VenueRules, table["venue"])]
    return table, places


def scenario(rng: Random) -> Attempt:
    """A small scenario, run to its end; or a large one, up to its opening."""
    name = rng.choice(SMALL if rng.random() < 0.9 else LARGE)
    table, places = _scenario(name)
    done, wrong = tables.drawn(rng, table, places)
    accounts = None if name in SMALL else 200
    return f"{name}: {done}", lambda: doors.scenario(
        wrong, config.catalogue(), accounts, simulates=name == "oil-client"
    )


@cache
def _rules(name: str) -> tuple[dict[str, Any], list[tables.Path]]:
    table = whole(name)
    places = tables.schema_paths(VenueRules, {k: v for k, v in table.items() if k != "instruments"})
    for key, kind in (("assets", list[AssetSpec]), ("instruments", list[InstrumentSpec])):
        places += [(key, *path) for path in tables.schema_paths(kind, table.get(key, []))]
    return table, places


def rulebook(rng: Random) -> Attempt:
    """A shipped rulebook as a file of the user's own, or a file that extends one."""
    name = rng.choice(PROFILES)
    table, places = _rules(name)
    done, wrong = tables.drawn(rng, table, places)
    if rng.random() < 0.3:
        wrong = {"extends": name, **{key: value for key, value in wrong.items() if table.get(key) != value}}
    return f"{name}: {done}", lambda: doors.rulebook(_toml(wrong))


def _toml(table: dict[str, Any]) -> bytes:
    return tomli_w.dumps(table).encode()


def case(rng: Random) -> Attempt:
    venue = rng.choice(PROFILES)
    base = case_of(venue)
    done, wrong = tables.drawn(rng, base, _case_places())
    return f"{venue}: {done}", lambda: doors.case(_json(wrong), Path())


@cache
def case_of(venue: str) -> dict[str, Any]:
    """The case under another rulebook: ten contracts of an instrument of its own."""
    if venue == "hyperliquid":
        return CASE
    profile = whole(venue)
    spec = next(s for s in profile["instruments"] if s.get("kind") != "spot")
    held = CASE["positions"][0] | {"size": "10", "leverage": 0}
    table = CASE | {"venue": venue, "as_of": None, "rules": {}, "positions": [held]}
    table["assets"], table["instruments"] = profile["assets"], [spec]
    text = json.dumps(table).replace('"BTC"', json.dumps(spec["symbol"]))
    made: dict[str, Any] = json.loads(text.replace("USDC", spec.get("settle") or profile["settle_asset"]))
    return made


@cache
def whole(venue: str) -> dict[str, Any]:
    """A shipped rulebook; one that brings no instruments gets an asset and a future."""
    table = profile_table(venue)
    if "instruments" in table:
        return table
    return table | {"assets": [{"symbol": table["settle_asset"], "decimals": 2}], "instruments": [_FUTURE]}


@cache
def _case_places() -> list[tables.Path]:
    places = tables.schema_paths(Case, CASE)
    return places + [("rules", *path) for path in tables.schema_paths(VenueRules, CASE["rules"])]


def _json(value: Any) -> bytes:
    """As JSON has it, with the NaN and Infinity that many writers make."""
    return json.dumps(value, default=_moment).encode()


def _moment(value: Any) -> str:
    assert isinstance(value, date | datetime)
    return value.isoformat()


@cache
def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines()] + list(_MORE)


def command_file(rng: Random) -> Attempt:
    """Some lines of a file with a wrong value in one or two of them, and in another order."""
    first, *others = lines()
    head, tail = others[:7], others[7:]
    chosen = [*head, *rng.sample(tail, rng.randrange(1, 8))]
    wrong: list[dict[str, Any]] = [first, *chosen]
    done = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        n = rng.randrange(len(wrong)) if rng.random() < 0.8 else 0
        kind = orders.VenueLine if n == 0 else orders.CommandLine
        said, wrong[n] = tables.drawn(rng, wrong[n], tables.schema_paths(kind, wrong[n]))
        done.append(f"line {n + 1} {said}")
    return "; ".join(done), lambda: doors.command_file([_json(line) for line in wrong], Path())


SOURCES: dict[str, Callable[[Random], Attempt]] = {
    "scenario": scenario,
    "rulebook": rulebook,
    "case": case,
    "command_file": command_file,
}
