"""Scenario files: overrides, and one sentence for every wrong input with nothing written."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from tests.scenarios.conftest import Call, is_one_sentence
from zerodebt.exchange.decimals import from_units, to_units
from zerodebt.scenarios import config, runner
from zerodebt.scenarios.quantities import CallError, parse_time_ns, utc


def text_of() -> str:
    """A file that says everything itself: the crash under the clock, prices and claims of flat."""
    crash = (config.catalogue() / "2025-10-11.toml").read_text(encoding="utf-8")
    flat = (config.catalogue() / "flat.toml").read_text(encoding="utf-8")
    text = crash[: crash.index("[[fitted]]")] + flat[flat.index("[[claims]]") :]
    text = text.replace('name = "2025-10-11"', 'name = "flat"').replace("2025-10-10T", "2025-10-09T")
    return text.replace("2025-10-11.waypoints.csv", "flat.waypoints.csv")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A user's own file with its waypoints beside it."""
    text = re.sub(r"index_every_s = \S+", "index_every_s = 1", text_of())
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    name = "flat.waypoints.csv"
    (tmp_path / name).write_bytes((config.catalogue() / name).read_bytes())
    return tmp_path / "mine.toml"


@pytest.mark.parametrize("name", config.scenario_names())
def test_every_scenario_of_the_catalogue_is_whole(name: str) -> None:
    prepared = runner.prepare(name)
    assert prepared.scenario.name == name
    assert prepared.scenario.claims


def test_crash_has_twenty_thousand_accounts_and_the_whole_open_interest() -> None:
    prepared = runner.prepare("2025-10-11")
    assert sum(p["count"] for p in prepared.populations()) >= 20_000
    shares = [spec.open_interest_share or Decimal(0) for spec in prepared.scenario.instruments]
    assert sum(shares) == 1


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=3", "seed", 3),
        ('venue.waterfall=["book"]', "venue.waterfall", ["book"]),
        ("venue.waterfall=[book, adl]", "venue.waterfall", ["book", "adl"]),
        ("venue.adl.score=binance", "venue.adl.score", "binance"),
        ("usd_rate=7.072", "usd_rate", 7.072),
        ("a.b = true", "a.b", True),
    ],
)
def test_set_takes_toml_values_and_bare_words(text: str, path: str, value: object) -> None:
    assert config.parse_override(text) == (path, value)


def test_set_reaches_list_elements_by_name_and_by_number_and_the_last_one_wins() -> None:
    scenario, _ = config.load(
        "flat",
        [
            ("populations.retail.count", 5),
            ("populations.1.count", 7),
            ("populations.HLP Liquidator 2.capital_usd", 1),
            ("instruments.BTC.size_max", "10"),
        ],
    )
    by_name = {spec.name: spec for spec in scenario.populations}
    assert by_name["retail"].count == 7  # type: ignore[union-attr]
    assert by_name["HLP Liquidator 2"].capital_usd == 1.0  # type: ignore[union-attr]
    assert scenario.instruments[0].size_max == 10


def test_override_of_one_rule_keeps_the_rest_of_the_profile() -> None:
    scenario, _ = config.load("flat", [("venue.fees.taker_ppb", 1)])
    fees = scenario.venue["fees"]
    assert (fees["maker_ppb"], fees["taker_ppb"], fees["liquidation_ppb"]) == (150_000, 1, 0)


def test_overrides_do_not_change_what_was_read() -> None:
    table = tomllib.loads(text_of())
    config.resolve(table, "flat", [("venue.waterfall", ["book"]), ("populations.retail.count", 5)])
    assert table == tomllib.loads(text_of())


def test_resolved_file_reads_back_as_the_same_scenario() -> None:
    scenario, _ = config.load("2025-10-11")
    assert config.resolve(tomllib.loads(config.to_toml(scenario)), "again") == scenario


def test_shown_file_runs_from_anywhere(zerodebt: Call, tmp_path: Path) -> None:
    code, text, _ = zerodebt("show", "flat", "--toml")
    assert code == 0
    mine = tmp_path / "mine.toml"
    mine.write_text(text, encoding="utf-8")
    assert runner.prepare(mine).scenario.instruments == runner.prepare("flat").scenario.instruments


WRONG_FILES = [
    ('name = "flat"', 'nmae = "flat"', ["nmae", "is not known", "nearest is 'name'"]),
    ("index_every_s = 1", "index_every = 1", ["clock.index_every", "nearest is 'index_every_s'"]),
    ("index_every_s = 1", "index_every_s = nan", ["clock.index_every_s", "finite"]),
    ("index_every_s = 1", "index_every_s = inf", ["clock.index_every_s", "finite"]),
    ("index_every_s = 1", "index_every_s = 0", ["clock.index_every_s", "found 0", "above 0"]),
    ("end = 2025-10-09T22:30:00Z", "end = 2025-10-09T20:00:00Z", ["clock.end", "after clock.start"]),
    ("end = 2025-10-09T22:30:00Z", "end = 2025-10-09T23:30:00Z", ["ends at 2025-10-09T22:30:00Z"]),
    ("end = 2025-10-09T22:30:00Z", 'end = "tomorrow"', ["clock.end", "'tomorrow'", "a time like"]),
    ("count = 12_000", 'count = "many"', ["populations.retail.count", "'many'", "a whole number"]),
    ("count = 12_000", "cuont = 12_000", ["populations.retail.cuont", "nearest is 'count'"]),
    ('kind = "noise"', 'kind = "nois"', ["populations.noise.kind", "nearest is 'noise'"]),
    ('profile = "hyperliquid"', 'profile = "hyperliqiud"', ["venue.profile", "hyperliquid"]),
    ('profile = "hyperliquid"', 'profile = "hyperliquid"\nwaterfal = []', ["nearest is 'waterfall'"]),
    ('profile = "hyperliquid"', 'profile = "hyperliquid"\nwaterfall = ["adl"]', ["must start with 'book'"]),
    ("[prices]", '[prices]\nsources = ["binanse"]', ["prices.sources", "nearest is 'binance'"]),
    (
        "[prices]",
        '[prices]\nsources = ["binance_perp"]',
        ["prices.sources", "found binance_perp", "at least one of binance, okx"],
    ),
    ('tick = "0.1"', 'tick = "0.3"', ["instruments.BTC.tick", "found 0.3", "0.01"]),
    ('tick = "0.1"', 'tick = "-0.1"', ["instruments.BTC.tick", "above 0"]),
    ('lot = "0.00001"', 'lot = "0.0000001"', ["instruments.BTC.tick", "is worth"]),
    ('lot = "0.00001"', 'lot = "0"', ["instruments.BTC.lot", "above 0"]),
    ('open_interest_share = "0.295"', 'open_interest_share = "-0.1"', ["BTC.open_interest_share", "above 0"]),
    ('open_interest_share = "0.295"', 'open_interest_share = "0.9"', ["sums to", "at most 1"]),
    ("decimals = 6", "decimals = 19", ["assets.USDC.decimals", "19", "<= 18"]),
]


@pytest.mark.parametrize(("good", "bad", "said"), WRONG_FILES)
def test_wrong_file_is_answered_in_one_sentence(
    flat: Path, zerodebt: Call, good: str, bad: str, said: list[str]
) -> None:
    text = flat.read_text(encoding="utf-8")
    assert good in text
    flat.write_text(text.replace(good, bad, 1), encoding="utf-8")
    code, out, err = zerodebt("run", flat, "--out", flat.parent / "runs")
    assert code in (2, 3)
    assert out == ""
    assert is_one_sentence(err), err
    for words in said:
        assert words in err
    assert not (flat.parent / "runs").exists()


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["instruments.BTC.size_max=0"], ["instruments.BTC.size_max", "above 0"]),
        (["instruments.BTC.size_max=-3"], ["instruments.BTC.size_max", "above 0"]),
        (["instruments.BTC.size_max=0.000001"], ["instruments.BTC.size_max", "multiples of 0.00001"]),
        (["instruments.BTC.price_max=0.05"], ["instruments.BTC.price_max", "multiples of 0.1"]),
        (["instruments.BTC.price_max=99_000_000_000_000"], ["BTC", "budget"]),
        (["instruments.BTX.size_max=3"], ["'BTX'", "nearest is 'BTC'"]),
        (["clok.start=2025-10-09T20:45:00Z"], ["--set clok.start", "nearest is 'clock'"]),
        (["venue.fees.taker=3"], ["--set venue.fees.taker", "nearest is 'taker_ppb'"]),
        (["venue.fees.taker_ppb=-1"], ["--set venue.fees.taker_ppb", "found -1", ">= 0"]),
        (["venue.promise=all"], ["venue.promise", "'all'", "none, zero_debt"]),
        (["populations.retail.leverage_scale=nan"], ["populations.retail.leverage_scale", "found nan"]),
        (["usd_rate=nan"], ["usd_rate", "NaN", "finite"]),
        (["usd_rate=0"], ["usd_rate", "found 0", "above 0"]),
        (["open_interest_value=-3"], ["open_interest_value", "found -3", "above 0"]),
        (["open_interest_value=1e30"], ["instruments.BTC", "open_interest_max"]),
        (["endowments.insurance=-1"], ["endowments.insurance", "found -1"]),
        (["endowments.insurance=1e30"], ["endowments.insurance", "beyond the largest"]),
        (["populations.retail.count=0"], ["populations.retail.count", "found 0", ">= 1"]),
        (["populations.retail.step_s=0"], ["populations.retail.step_s", "found 0", ">= 0.001"]),
        (["populations.retail.long_bias=2"], ["populations.retail.long_bias", "found 2", "<= 1.0"]),
        (["populations.retail.core_split=[0,0,0]"], ["populations.retail", "core_split", "above 0"]),
        (["populations.makers.wake_s=-1"], ["populations.makers.wake_s", "found -1"]),
        (["populations.makers.count=-1"], ["populations.makers.count", "found -1"]),
        (["populations.makers.capital_usd=-5"], ["populations.makers.capital_usd", "found -5", "> 0"]),
        (["populations.makers.latency_ms=-5"], ["populations.makers.latency_ms", "found -5"]),
        (["populations.makers.leverage=0"], ["populations.makers.leverage", "found 0"]),
        (["populations.noise.orders_per_s=-5"], ["populations.noise.orders_per_s", "found -5"]),
        (["populations.HLP Liquidator.half_life_s=0"], ["HLP Liquidator.half_life_s", "found 0"]),
        (
            ['schedule=[{at=2025-10-09T21:00:00Z,do="settle",instrument="BTC",price="1"}]'],
            ["schedule.0.instrument", "BTC is of kind perpetual", "a future"],
        ),
        (
            [
                "venue.profile=dydx_v4",
                'schedule=[{at=2025-10-09T21:00:00Z,do="settle",instrument="BTC",price="1"}]',
            ],
            ["schedule.0.price", "found 1", "allowed is none for a perpetual"],
        ),
        (["accounts=0"], ["accounts", "found 0"]),
        (["seed"], ["--set seed", "found no value"]),
        (["open_interest_value=[[]"], ["--set open_interest_value"]),
    ],
)
def test_wrong_override_is_answered_in_one_sentence(
    zerodebt: Call, tmp_path: Path, sets: list[str], said: list[str]
) -> None:
    arguments = [word for text in sets for word in ("--set", text)]
    code, out, err = zerodebt("run", "flat", *arguments, "--out", tmp_path / "runs")
    assert (code, out) == (2, "")
    assert is_one_sentence(err), err
    for words in said:
        assert words in err
    assert not (tmp_path / "runs").exists()


def test_unknown_scenario_is_answered_with_the_nearest_name(zerodebt: Call) -> None:
    code, _, err = zerodebt("run", "2025-10-12")
    assert code == 2
    assert is_one_sentence(err)
    assert "nearest is '2025-10-11'" in err


@pytest.mark.parametrize(
    ("value", "found", "allowed"),
    [
        ("abc", "'abc'", "whole numbers"),
        ("1.5", "'1.5'", "whole numbers"),
        ("0", "0", "whole numbers from 1 to 1,000,000"),
        ("3", "3", "enough to hold the open interest, as "),
    ],
)
def test_wrong_number_of_accounts_is_said_with_what_is_allowed(
    zerodebt: Call, tmp_path: Path, value: str, found: str, allowed: str
) -> None:
    code, _, err = zerodebt("run", "2025-10-11", "--accounts", value, "--out", tmp_path / "runs")
    assert code == 2
    assert is_one_sentence(err)
    assert f"accounts: found {found}, allowed are {allowed}" in err


@pytest.mark.parametrize("value", ["-1", "many", "1.5"])
def test_wrong_seed_is_a_wrong_call(zerodebt: Call, tmp_path: Path, value: str) -> None:
    code, _, err = zerodebt("run", "flat", "--seed", value, "--out", tmp_path / "runs")
    assert code == 2
    assert is_one_sentence(err)
    assert not (tmp_path / "runs").exists()


WAYPOINTS = [
    ("2025-10-09T22:30:00Z,BTC", "2025-10-09T20:30:00Z,BTC", ["before the line above"]),
    ("22:30:00Z,ETH", "22:30:00Z,BTC", ["BTC has two prices"]),
    ("116982.0", "116982.05", ["116982.05", "multiples of 0.1"]),
    ("116982.0", "nan", ["'nan'", "finite"]),
    ("116982.0", "-5.0", ["-5.0", "allowed for BTC"]),
    ("116982.0", "much", ["'much'", "a decimal number"]),
    ("20:45:00Z,BTC", "20:45:00,BTC", ["2025-10-09T20:45:00", "a time like"]),
    ("20:45:00Z,BTC", "20:45:00Z,BTX", ["'BTX'", "nearest is 'BTC'"]),
    ("time_utc", "time", ["found columns time,"]),
    ("20:45:00Z,BTC", "20:46:00Z,BTC", ["before the line above"]),
]


@pytest.mark.parametrize(("good", "bad", "said"), WAYPOINTS)
def test_wrong_waypoints_are_answered_with_file_and_line(
    flat: Path, zerodebt: Call, good: str, bad: str, said: list[str]
) -> None:
    path = flat.parent / "flat.waypoints.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(good, bad, 1), encoding="utf-8")
    code, out, err = zerodebt("run", flat, "--out", flat.parent / "runs")
    assert (code, out) == (3, "")
    assert is_one_sentence(err), err
    assert "flat.waypoints.csv:" in err
    for words in said:
        assert words in err
    assert not (flat.parent / "runs").exists()


def test_id_follows_the_world_and_the_seed_but_not_the_place_of_its_files(flat: Path) -> None:
    flat.write_text(config.to_toml(config.load("flat")[0]), encoding="utf-8")
    at_home = runner.prepare("flat")
    assert runner.prepare(flat).id == at_home.id
    assert runner.prepare("flat", seed=1).id != at_home.id
    assert runner.prepare("flat", accounts=300).id != at_home.id
    assert runner.prepare("flat", overrides=[("venue.waterfall", ["book"])]).id != at_home.id
    path = flat.parent / "flat.waypoints.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("116982.0", "116982.1"), encoding="utf-8")
    assert runner.prepare(flat).id != at_home.id


def test_dollar_prices_times_the_factor_land_on_the_sourced_settlement() -> None:
    prepared = runner.prepare("wti-2020-04-20")
    # -37.63 USD x 7.072 = -266.11936 CNY
    assert prepared._waypoints[0].price_ticks[-1] == -26_612


@pytest.mark.parametrize(
    ("value", "decimals", "units"), [("0.1", 1, 1), ("-37.63", 2, -3763), ("1e3", 0, 1000), ("0", 5, 0)]
)
def test_decimals_become_units_exactly(value: str, decimals: int, units: int) -> None:
    assert to_units(Decimal(value), decimals) == units
    assert Decimal(from_units(units, decimals)) == Decimal(value)


def test_times_keep_their_nanoseconds() -> None:
    text = "2025-10-10T21:16:04.832000001Z"
    assert utc(parse_time_ns(text)) == text
    assert parse_time_ns("2025-10-10T23:16:04+02:00") == parse_time_ns("2025-10-10T21:16:04Z")


def extending(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(f'name = "mine"\ntitle = "Mine"\n{text}', encoding="utf-8")
    return path


def test_extending_file_says_only_what_it_changes(tmp_path: Path) -> None:
    crash, _ = config.load("2025-10-11")
    path = extending(tmp_path, 'extends = "2025-10-11"\nclaims = []\n[venue.fees]\ntaker_ppb = 1\n')
    mine, _ = config.load(path)
    assert (mine.name, mine.claims) == ("mine", ())
    assert mine.venue["fees"] == crash.venue["fees"] | {"taker_ppb": 1}
    assert mine.instruments == crash.instruments
    assert runner.prepare(path)._waypoints == runner.prepare("2025-10-11")._waypoints
    assert "extends" not in tomllib.loads(config.to_toml(mine))


def test_extending_file_of_the_docs_is_one_that_runs(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "scenarios" / "files.md"
    (text,) = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    prepared = runner.prepare(tmp_path / "mine.toml")
    assert prepared.scenario.name == "with-a-fund"
    assert prepared.world.insurance_atoms == 5_000_000 * 10**6
    assert prepared.world.rules.waterfall == ("book", "backstop", "insurance", "adl")


def test_extending_file_finds_its_own_waypoints_beside_it(tmp_path: Path) -> None:
    text = (config.catalogue() / "2025-10-11.waypoints.csv").read_text(encoding="utf-8")
    (tmp_path / "own.csv").write_text(text.replace("116982.0", "116982.1", 1), encoding="utf-8")
    path = extending(tmp_path, 'extends = "2025-10-11"\n[prices]\nwaypoints = "own.csv"\n')
    assert runner.prepare(path)._waypoints[0].price_ticks[0] == 1_169_821


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ('"2025-10-12"', "nearest is '2025-10-11'"),
        ('"flat"', "extends another file itself"),
        ("3", "found 3"),
    ],
)
def test_wrong_base_is_answered_in_one_sentence(zerodebt: Call, tmp_path: Path, base: str, said: str) -> None:
    code, out, err = zerodebt("run", extending(tmp_path, f"extends = {base}\n"), "--out", tmp_path / "runs")
    assert (code, out) == (2, "")
    assert is_one_sentence(err), err
    assert "mine.toml: extends: " in err
    assert said in err
    assert not (tmp_path / "runs").exists()


def test_rate_of_the_dollar_is_not_rounded_to_whole_atoms() -> None:
    scenario, _ = config.load("wti-2020-04-20")
    # 7.072 CNY of 100 atoms each
    assert config.build(scenario).atoms_per_usd == 707.2


def test_claim_needs_an_expected_value_or_bounds() -> None:
    with pytest.raises(CallError, match="both or neither"):
        config.load("flat", [("claims.no-adl.low", 3)])


def test_amounts_of_a_profile_are_as_many_of_the_scenarios_settlement_asset() -> None:
    cents = [("assets", [{"symbol": "USDC", "decimals": 2}, {"symbol": "BTC", "decimals": 8}])]
    for overrides, decimals in (([], 6), (cents, 2)):
        table = config.read_scenario(config.scenario_path("2025-10-11"))
        table = config.with_overrides(table, overrides)
        okx = config.with_profile(table, "here", [("venue.profile", "okx")])["venue"]
        assert okx["insurance"]["drawdown"]["fall_min_atoms"] == 50_000 * 10**decimals


@pytest.mark.parametrize("field", ["venue.valid_from", "venue.fees.valid_from", "instruments.BTC.valid_from"])
@pytest.mark.parametrize("day", ["banana", "2025-02-30"])
def test_rule_holds_from_a_day_of_the_calendar(field: str, day: str) -> None:
    with pytest.raises(CallError) as error:
        config.load("2025-10-11", [config.parse_override(f"{field}={day}")])
    told = str(error.value)
    assert told.endswith(f"{field}: found {day!r}, allowed is a day like 2025-10-01")
    assert field in told


def test_day_of_an_override_needs_no_quotes() -> None:
    scenario, _ = config.load("2025-10-11", [config.parse_override("venue.valid_from=2025-01-31")])
    assert scenario.venue["valid_from"] == "2025-01-31"


def test_rulebook_without_a_margin_table_leaves_the_scenario_without_tiers() -> None:
    with pytest.raises(CallError) as error:
        config.load("2025-10-11", [("venue.profile", "ccp")])
    assert str(error.value) == (
        "2025-10-11: instruments.BTC: the table `tiers` is missing and rulebook 'ccp' brings none for it, "
        "allowed are one or more [[instruments.tiers]]"
    )
