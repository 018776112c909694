"""Command files: JSON Lines in, JSON Lines out, every wrong line in one sentence."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from tests.scenarios.conftest import Call, is_one_sentence
from zerodebt.exchange import events as ev
from zerodebt.scenarios import orders

HERE = Path(__file__).parent
EXAMPLE = HERE / "commands.jsonl"
ORDER = (
    '{"do": "place_order", "account": "alice", "instrument": "BTC", "side": "buy", "size": "1", "price": "1"'
)
DOCS = HERE.parents[1] / "docs" / "commands.md"


def answered(zerodebt: Call, path: Path, *arguments: str) -> list[dict[str, Any]]:
    code, out, err = zerodebt("replay", path, *arguments)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def lines_with(tmp_path: Path, *more: str) -> Path:
    path = tmp_path / "commands.jsonl"
    path.write_text(EXAMPLE.read_text() + "".join(f"{line}\n" for line in more))
    return path


def test_example_file_trades_and_liquidates(zerodebt: Call) -> None:
    found = answered(zerodebt, EXAMPLE)
    assert not [event for event in found if event["event"] == "rejected"]
    assert [event["seq"] for event in found] == sorted(event["seq"] for event in found)
    fill = next(event for event in found if event["event"] == "filled")
    assert fill["price"] == "110000.0"
    assert fill["size"] == "0.50000"
    assert (fill["taker"], fill["maker"], fill["taker_side"]) == ("bob", "alice", "buy")
    # 0.5 x 110,000 x 0.045 %
    assert fill["taker_fee"] == "24.750000"
    begun = next(event for event in found if event["event"] == "liquidation_started")
    assert begun["account"] == "bob"
    assert begun["pocket"] == "USDC"


def test_no_number_that_means_money_price_or_size_is_a_float(zerodebt: Call) -> None:
    def floats(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [x for item in value.values() for x in floats(item)]
        if isinstance(value, list):
            return [x for item in value for x in floats(item)]
        return [value] if isinstance(value, float) else []

    assert floats(answered(zerodebt, EXAMPLE)) == []


def test_legs_of_every_posting_sum_to_zero(zerodebt: Call) -> None:
    from decimal import Decimal

    for event in answered(zerodebt, EXAMPLE):
        if event["event"] == "posted":
            assert sum(Decimal(leg["amount"]) for leg in event["legs"]) == 0


def test_profile_and_set_replace_the_rules_of_the_file(zerodebt: Call) -> None:
    first = answered(zerodebt, EXAMPLE, "--set", "venue.fees.taker_ppb=0")[0]
    assert first["rules"]["fees"]["taker_ppb"] == 0
    code, _, err = zerodebt("replay", EXAMPLE, "--set", "venue.profile=hyperliqiud")
    assert code == 2
    assert "'hyperliqiud' is not known" in err
    code, out, err = zerodebt("replay", EXAMPLE, "--set", "venu.fees.taker_ppb=0")
    assert (code, out) == (2, "")
    assert "nearest is 'venue'" in err
    code, _, err = zerodebt("replay", EXAMPLE, "--profile", "hyperliqiud")
    assert code in (2, 3)
    assert is_one_sentence(err)


def test_same_file_gives_the_same_hash(zerodebt: Call) -> None:
    assert zerodebt("replay", EXAMPLE) == zerodebt("replay", EXAMPLE)


def test_refusal_of_the_venue_is_an_event_not_an_error(zerodebt: Call, tmp_path: Path) -> None:
    order = ORDER.replace('"1", "price"', '"99", "price"') + "}"
    last = answered(zerodebt, lines_with(tmp_path, order))[-1]
    assert last["event"] == "rejected"
    assert last["account"] == "alice"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (ORDER.replace('"1", "price"', '"0", "price"') + "}", ["size", "found 0", "above 0"]),
        (ORDER.replace('"1", "price"', '"-1", "price"') + "}", ["size", "found -1", "above 0"]),
        (ORDER.replace('"1", "price"', '"0.000001", "price"') + "}", ["size", "multiples of 0.00001"]),
        (ORDER.replace('"price": "1"', '"price": "1.05"') + "}", ["price", "multiples of 0.1"]),
        (ORDER.replace('"price": "1"', '"price": "NaN"') + "}", ["price", "finite"]),
        (ORDER.replace('"price": "1"', '"price": "1e30"') + "}", ["price", "beyond the largest"]),
        (ORDER.replace('"price": "1"', '"price": 1.5') + "}", ["price", "1.5", "a whole number or a text"]),
        (ORDER.replace('"price": "1"', '"prise": "1"') + "}", ["'prise'", "nearest is 'price'"]),
        (ORDER.replace("alice", "alicia") + "}", ["'alicia'", "nearest is 'alice'"]),
        (ORDER.replace("BTC", "BTX") + "}", ["'BTX'", "nearest is 'BTC'"]),
        (ORDER.replace("place_order", "place_odrer") + "}", ["'place_odrer'", "nearest is 'place_order'"]),
        (ORDER.replace('"buy"', '"by"') + "}", ["side", "'by'", "nearest is 'buy'"]),
        (ORDER, ["not readable as JSON"]),
        (ORDER + ', "at": "yesterday"}', ["at:", "'yesterday'", "a time like"]),
        ('{"do": "cancel_order", "account": "alice", "order": "a2"}', ["'a2'", "nearest is 'a1'"]),
        (ORDER + ', "label": "a1"}', ["label", "'a1' is there already"]),
        (ORDER + ', "at": -5}', ["at: found -5", "from 1970"]),
        (ORDER + ', "at": 99999999999999999999}', ["at: found 99999999999999999999", "to 2262"]),
        ('{"do": "open_account", "name": "alice"}', ["'alice' is there already"]),
        ('{"do": "open_account", "name": ""}', ["name", "length >= 1"]),
        ('{"do": "deposit", "account": "alice", "amount": "-5"}', ["amount", "found -5", "from 0"]),
        ('{"do": "deposit", "account": "alice"}', ["'amount' is missing"]),
        ('{"do": "update_index", "prices": {"BTC": "1"}, "source": "binanse"}', ["nearest is 'binance'"]),
    ],
)
def test_wrong_line_is_one_sentence_with_its_number_and_nothing_is_written(
    zerodebt: Call, tmp_path: Path, line: str, said: list[str]
) -> None:
    path = lines_with(tmp_path, line)
    number = len(EXAMPLE.read_text().splitlines()) + 1
    code, out, err = zerodebt("replay", path)
    assert (code, out) == (3, "")
    assert is_one_sentence(err), err
    assert f"commands.jsonl:{number}: " in err
    for words in said:
        assert words in err


def test_file_without_a_venue_or_without_lines_is_a_data_problem(zerodebt: Call, tmp_path: Path) -> None:
    path = tmp_path / "commands.jsonl"
    for text in ("", '{"do": "tick"}\n'):
        path.write_text(text)
        code, _, err = zerodebt("replay", path)
        assert code == 3
        assert is_one_sentence(err), err
    code, _, err = zerodebt("replay", tmp_path / "none.jsonl")
    assert code == 3
    assert is_one_sentence(err), err


def test_docs_show_every_command_and_every_event() -> None:
    text = DOCS.read_text()
    shown = [json.loads(line) for line in re.findall(r"^\{.*\}$", text, flags=re.MULTILINE)]
    commands = {row["do"] for row in shown if "do" in row}
    wanted = {kind.__struct_config__.tag for kind in get_args(orders.CommandLine)} | {"venue"}
    assert wanted <= commands
    events = {row["event"] for row in shown if "event" in row}
    assert {kind.__struct_config__.tag for kind in get_args(ev.Event)} <= events


def test_commands_of_the_docs_are_readable() -> None:
    lines = re.findall(r'^\{.*"do".*\}$', DOCS.read_text(), flags=re.MULTILINE)
    assert lines
    for line in lines:
        kind: Any = orders.VenueLine if '"venue"' in line else orders.CommandLine
        msgspec.json.decode(line, type=kind)


def order(account: str, side: str, size: str, price: str, position_side: str = "both") -> dict[str, Any]:
    what = {"instrument": "BTC", "side": side, "size": size, "price": price}
    return {"do": "place_order", "account": account, **what, "position_side": position_side}


BTC_USDT = {
    "symbol": "BTC",
    "kind": "perpetual",
    "tick": "1",
    "lot": "0.001",
    "price_min": "1",
    "price_max": "1000000",
    "size_max": "100",
    "open_interest_max": "1000",
    "tiers": [{"above": 0, "leverage_max": 20}],
}
HEDGED: list[dict[str, Any]] = [
    {
        "do": "venue",
        "profile": "binance_usdm",
        "rules": {"fees": {"maker_ppb": 0, "taker_ppb": 0}},
        "assets": [{"symbol": "USDT", "decimals": 6}],
        "instruments": [BTC_USDT],
    },
    {"at": "2025-10-10T21:00:00Z", "do": "open_account", "name": "bob", "deposit": "10000"},
    {"do": "open_account", "name": "carol", "deposit": "1000000"},
    {"do": "set_position_mode", "account": "bob", "mode": "hedge"},
    {"do": "update_index", "prices": {"BTC": "100000"}},
    {"do": "set_leverage", "account": "bob", "instrument": "BTC", "leverage": 20, "mode": "isolated"},
    order("carol", "sell", "0.5", "100000"),
    order("bob", "buy", "0.5", "100000", "long"),
    order("carol", "buy", "0.2", "100000"),
    order("bob", "sell", "0.2", "100000", "short"),
    {
        "do": "transfer_margin",
        "account": "bob",
        "instrument": "BTC",
        "amount": "50",
        "position_side": "short",
    },
    order("carol", "sell", "0.2", "99000"),
    order("bob", "buy", "0.2", "99000", "short"),
]


def session(tmp_path: Path, lines: list[dict[str, Any]]) -> Path:
    path = tmp_path / "commands.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_both_legs_of_hedge_mode_are_opened_and_closed_by_their_names(zerodebt: Call, tmp_path: Path) -> None:
    found = answered(zerodebt, session(tmp_path, HEDGED))
    assert not [event for event in found if event["event"] == "rejected"]
    postings = [event["legs"] for event in found if event["event"] == "posted"]
    moved = [(leg["pocket"], leg["amount"]) for legs in postings for leg in legs if leg["account"] == "bob"]
    # a twentieth of 0.5 * 100000 and of 0.2 * 100000, then 50 more; the short leg brings 0.2 * 1000
    assert ("isolated:BTC", "2500.000000") in moved
    assert ("isolated:BTC:short", "1000.000000") in moved
    assert ("isolated:BTC:short", "50.000000") in moved
    assert ("isolated:BTC:short", "200.000000") in moved
    assert ("USDT", "1250.000000") in moved, "1000 + 50 + 200 come back when the short leg is closed"


@pytest.mark.parametrize(
    ("at", "changes", "reason"),
    [
        (0, {"rules": {"margin": {"hedge_mode": False}}}, "the rulebook has no such thing"),
        (3, {"mode": "net"}, "nothing to do"),
    ],
    ids=["rulebook", "net"],
)
def test_a_leg_where_there_is_none_is_rejected(
    zerodebt: Call, tmp_path: Path, at: int, changes: dict[str, Any], reason: str
) -> None:
    lines = [line | changes if n == at else line for n, line in enumerate(HEDGED[:8])]
    found = answered(zerodebt, session(tmp_path, lines))
    rejected = [(event["command"], event["reason"]) for event in found if event["event"] == "rejected"]
    misfit = "the leg does not fit the account's position mode"
    assert rejected == [("set_position_mode", reason), ("place_order", misfit)]


@pytest.mark.parametrize(("key", "symbol"), [("assets", "USDC"), ("instruments", "BTC")])
def test_symbol_that_is_given_twice_is_refused(key: str, symbol: str, zerodebt: Call, tmp_path: Path) -> None:
    opening = json.loads(EXAMPLE.read_text().splitlines()[0])
    opening[key] *= 2
    file = tmp_path / "commands.jsonl"
    file.write_text(json.dumps(opening))
    code, _, err = zerodebt("replay", file)
    told = f"zerodebt: commands.jsonl:1: {key}.1: found {symbol!r} twice, allowed is one of each\n"
    assert (code, err) == (3, told)


def test_a_leg_of_no_such_name_is_refused_before_the_first_command(zerodebt: Call, tmp_path: Path) -> None:
    lines = [*HEDGED[:7], HEDGED[7] | {"position_side": "longs"}]
    code, out, err = zerodebt("replay", session(tmp_path, lines))
    assert (code, out) == (3, "")
    assert "position_side" in err
    assert is_one_sentence(err)


def test_a_lending_pool_is_used_by_command_lines(zerodebt: Call, tmp_path: Path) -> None:
    """Alice lends 60 and takes 20 back; bob, who has 5500 and no collateral, gets 500 and then no more."""
    head = "".join(EXAMPLE.read_text().splitlines(keepends=True)[:3])
    path = tmp_path / "commands.jsonl"
    path.write_text(
        head
        + '{"do": "supply", "account": "alice", "amount": "60"}\n'
        + '{"do": "redeem", "account": "alice", "share_count": 20000000}\n'
        + '{"do": "borrow", "account": "bob", "amount": "500"}\n'
        + '{"do": "borrow", "account": "bob", "amount": "5000.000001"}\n'
    )
    found = answered(zerodebt, path, "--set", "venue.lending.base_ppb=10000000")
    supplied = next(event for event in found if event["event"] == "supplied")
    assert (supplied["account"], supplied["amount"], supplied["share_count"]) == (
        "alice",
        "60.000000",
        60 * 10**6,
    )
    redeemed = next(event for event in found if event["event"] == "redeemed")
    assert redeemed["amount"] == "20.000000"
    lent = next(event for event in found if event.get("reason") == "borrowing")
    assert [leg["account"] for leg in lent["legs"]] == ["bob", "external"]
    assert [event["command"] for event in found if event["event"] == "rejected"] == ["borrow"]
