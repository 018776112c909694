"""A rulebook that cannot be used is answered in one sentence that names the place."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.venues import ASSETS, perpetual, rulebook
from zerodebt.exchange.rules import (
    RulesError,
    profile_days,
    profile_names,
    profile_table,
    venue_rules,
    with_amounts_scaled,
)
from zerodebt.exchange.venue import Venue


@pytest.mark.parametrize("name", profile_names())
def test_shipped_profile_loads_and_runs(name: str) -> None:
    rules = venue_rules(profile_table(name))
    assert rules.name == name
    assert rules.waterfall[0] == "book"


def test_hyperliquid_says_what_its_documents_say() -> None:
    rules = venue_rules(profile_table("hyperliquid"))
    assert rules.waterfall == ("book", "backstop", "adl")
    assert rules.liquidation.chunk_threshold_atoms == 100_000 * 10**6
    assert rules.liquidation.chunk_ppb == 200_000_000
    assert rules.liquidation.cooldown_ns == 30 * 10**9
    assert [s.weight for s in rules.sources if s.kind == "spot"] == [3, 2, 2, 1, 1, 1, 1, 1]
    assert [s.weight for s in rules.sources if s.kind == "perp"] == [3, 2, 2, 1, 1]


def changed(path: str, value: Any) -> dict[str, Any]:
    table = profile_table("hyperliquid")
    *inner, last = path.split(".")
    place = table
    for key in inner:
        place = place[key]
    place[last] = value
    return table


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("waterfall", ["adl"], "must start with 'book'"),
        ("waterfall", [], "must start with 'book'"),
        ("waterfall", ["book", "adl", "adl"], "names a stage twice"),
        ("waterfall", ["book", "prayer"], "prayer"),
        ("sources", [{"name": "x", "weight": 1, "kind": "perp"}], "must be of kind 'spot'"),
        ("sources", [{"name": "x", "weight": 0}], "weight"),
        ("liquidation.backstop_below_ppb", 0, "backstop_below_ppb"),
        ("liquidation.backstop_notional_max_atoms", 0, "backstop_notional_max_atoms"),
        ("liquidation.chunk_ppb", 0, "chunk_ppb"),
        ("liquidation.chunk_ppb", 10**9 + 1, "chunk_ppb"),
        ("liquidation.rounds_max", 0, "rounds_max"),
        ("liquidation.unknown", 1, "unknown"),
        ("liquidation.steps", [], "steps"),
        ("liquidation.steps", ["whole", "whole"], "names a form twice"),
        ("liquidation.steps", ["vault"], "vault"),
        ("liquidation.steps", ["ladder"], "allowed is 'whole' or 'restore' after it, or 'unfilled'"),
        ("liquidation.surplus_max_ppb", 1, "steps has no 'whole'"),
        ("liquidation.price_limit", "band", "band_ppb is 0"),
        ("liquidation.ladder_from", 1, "ladder_from"),
        ("insurance", {"takes": "unfilled"}, "the waterfall has no insurance"),
        ("insurance", {"drawdown": {"start_ppb": 1, "stop_ppb": 2}}, "stop_ppb"),
        ("socialise", {"form": "prayer"}, "prayer"),
        ("adl.trigger", "late", "late"),
        ("funding.interval_ns", 0, "interval_ns"),
        ("funding.divisor", 1.5, "divisor"),
        ("funding.cap_ppt", -1, "cap_ppt"),
        ("fees.maker_ppb", "0.015 %", "maker_ppb"),
        ("fees.taker_ppb", math.nan, "taker_ppb"),
        ("mark.formula", "mean", "mean"),
        ("adl.price", "oracle", "oracle"),
        ("promise", "everything", "everything"),
        ("colour", "blue", "colour"),
    ],
)
def test_wrong_input_is_one_sentence_that_names_the_field(path: str, value: Any, found: str) -> None:
    with pytest.raises(RulesError) as error:
        venue_rules(changed(path, value))
    sentence = str(error.value)
    assert sentence.startswith("venue")
    assert found in sentence
    assert "\n" not in sentence


def test_missing_field_is_named() -> None:
    table = profile_table("hyperliquid")
    del table["promise"]
    with pytest.raises(RulesError, match="promise"):
        venue_rules(table)


def test_unknown_profile_lists_those_that_are_known() -> None:
    with pytest.raises(RulesError, match=r"'hyperliquide' is not known, allowed are .*hyperliquid"):
        profile_table("hyperliquide")


def test_profile_table_is_a_fresh_copy() -> None:
    profile_table("hyperliquid")["waterfall"].append("house")
    assert "house" not in profile_table("hyperliquid")["waterfall"]


def test_settlement_asset_must_be_held() -> None:
    with pytest.raises(RulesError, match="'EUR' is not an asset"):
        Venue(rulebook(settle_asset="EUR"), ASSETS, (perpetual(),))


def test_contract_must_settle_in_the_settlement_asset() -> None:
    with pytest.raises(RulesError, match="does not settle in USDC"):
        Venue(rulebook(), ASSETS, (perpetual(settle_asset=1),))


@pytest.mark.spec("NUM-06")
def test_instrument_beyond_the_budget_stops_the_venue() -> None:
    with pytest.raises(RulesError, match="62-bit budget"):
        Venue(rulebook(), ASSETS, (perpetual(price_max_ticks=10**9),))


DATED = """
name = "dated"
[[fees]]
valid_from = "2020-01-01"
taker_ppb = 1
[[fees]]
valid_from = "2022-01-01"
taker_ppb = 2
[[instruments]]
symbol = "BTC"
valid_from = "2020-01-01"
lot = "1"
[[instruments]]
symbol = "BTC"
valid_from = "2021-01-01"
lot = "0.1"
"""


@pytest.fixture
def dated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "dated.toml").write_text(DATED, encoding="utf-8")
    monkeypatch.setattr("zerodebt.exchange.rules.resources.files", lambda _: tmp_path)


@pytest.mark.parametrize(
    ("as_of", "taker_ppb", "lot"),
    [("2020-01-01", 1, "1"), ("2021-12-31", 1, "0.1"), ("2022-01-01", 2, "0.1"), (None, 2, "0.1")],
)
@pytest.mark.usefixtures("dated")
def test_day_picks_the_rule_in_force(as_of: str | None, taker_ppb: int, lot: str) -> None:
    table = profile_table("dated", as_of)
    assert table["fees"]["taker_ppb"] == taker_ppb
    assert [entry["lot"] for entry in table["instruments"]] == [lot]


@pytest.mark.usefixtures("dated")
def test_day_before_the_first_rule_is_refused_with_that_day() -> None:
    with pytest.raises(RulesError, match=r"dated\.fees: nothing is known for 2019-12-31, .* from 2020-01-01"):
        profile_table("dated", "2019-12-31")


def test_table_that_has_one_version_holds_from_its_day_only() -> None:
    with pytest.raises(RulesError, match=r"binance_usdm\.mark: .* 2025-09-17, .* from 2025-10-01"):
        profile_table("binance_usdm", "2025-09-17")


@pytest.mark.parametrize("name", profile_names())
def test_every_table_of_a_shipped_profile_is_dated_and_sourced(name: str) -> None:
    table = profile_table(name)
    entries = [value for value in table.values() if isinstance(value, dict)]
    entries += table.get("instruments", [])
    assert all(entry.get("valid_from") and entry.get("source") for entry in [table, *entries]), entries


def test_table_of_a_profile_is_the_callers_own() -> None:
    profile_table("hyperliquid")["fees"]["taker_ppb"] = 7
    assert profile_table("hyperliquid")["fees"]["taker_ppb"] != 7


def test_amounts_stay_what_they_were_in_atoms_of_another_scale() -> None:
    table: dict[str, Any] = {
        "funding": {"impact_notional_atoms": 20_000_000_000, "interval_ns": 7},
        "insurance": {"drawdown": {"fall_min_atoms": 50_000_000_000, "start_ppb": 3}},
        "collateral": [
            {"asset": "BTC", "tier_unit": "value", "tiers": [{"upto": 1_000_000, "ratio_ppb": 5}]},
            {"asset": "ETH", "tiers": [{"upto": 1_000_000, "ratio_ppb": 5}]},
        ],
    }
    cents = with_amounts_scaled(table, 2 - 6)
    assert cents["funding"] == {"impact_notional_atoms": 2_000_000, "interval_ns": 7}
    assert cents["insurance"] == {"drawdown": {"fall_min_atoms": 5_000_000, "start_ppb": 3}}
    assert [rule["tiers"][0]["upto"] for rule in cents["collateral"]] == [100, 1_000_000]
    assert with_amounts_scaled(cents, 6 - 2) == table


def test_amount_that_coarser_atoms_cannot_say_is_refused() -> None:
    with pytest.raises(RulesError, match=r"venue\.house\.deficit_max_atoms: found 15, .* multiples of 10"):
        with_amounts_scaled({"house": {"deficit_max_atoms": 15}}, -1)


def test_days_of_a_profile_are_those_of_its_tables() -> None:
    assert profile_days("hyperliquid")[0] == "2025-10-01"


@pytest.mark.parametrize("name", profile_names())
def test_first_day_of_a_profile_is_the_first_of_all_its_tables(name: str) -> None:
    first = profile_days(name)[0]
    assert profile_table(name, first)
    year, month, day = first.split("-")
    before = f"{year}-{month}-{int(day) - 1:02}"
    with pytest.raises(RulesError, match="nothing is known for"):
        profile_table(name, before)
