"""A rulebook of a user's own, read from a file beside the case, the scenario or the test."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import Call, is_one_sentence
from zerodebt.exchange.rules import RulesError, profile_table
from zerodebt.exchange.testing.account import account
from zerodebt.scenarios import config
from zerodebt.scenarios.rulebooks import read_rulebook

PAGE = (Path(__file__).parents[2] / "docs" / "venues.md").read_text(encoding="utf-8")
DOCS = PAGE[PAGE.index("## A rulebook of your own") :]


def block(language: str) -> str:
    found = re.search(f"```{language}\n(.*?)```", DOCS, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return written(tmp_path, "mybook.toml", block("toml"))


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def asked(call: Call, book: Path, **changes: Any) -> dict[str, Any]:
    case = json.loads(block("json")) | changes
    code, out, _ = call("ask", written(book.parent, "case.json", json.dumps(case)), "--json")
    answered: dict[str, Any] = json.loads(out)
    assert code == (2 if "error" in answered else 0)
    return answered


def test_example_of_the_page_is_answered_as_it_says(zerodebt: Call, book: Path) -> None:
    (found,) = asked(zerodebt, book)["answers"]
    assert found["answer"]["price"] == str(100_000 - (2000 - 10_000 // 100) * 10)
    assert "The liquidation price is 81000" in DOCS
    assert "mybook.toml (2026-01-01)" in [line["source"] for line in found["explain"]]


def test_fields_go_over_those_below_and_the_rest_stays(book: Path) -> None:
    own, below = read_rulebook(book), profile_table("bybit_uta")
    assert own["name"] == "mybook"
    assert own["fees"] == below.get("fees", {}) | {"source": "my fee tier", "taker_ppb": 400_000}
    assert own["liquidation"]["steps"] == ["whole"]
    assert own["liquidation"]["source"] == "mybook.toml"
    changed, *others = own["instruments"]
    first, *rest = below["instruments"]
    assert others == rest
    assert (changed["tick"], changed["tiers"][0]["maintenance"]) == (first["tick"], "0.01")
    assert own["waterfall"] == below["waterfall"]


def test_table_holds_from_its_day_and_what_is_below_before(book: Path) -> None:
    below = profile_table("bybit_uta")["liquidation"]
    assert read_rulebook(book, "2025-12-31")["liquidation"] == below
    assert read_rulebook(book, "2026-01-01")["liquidation"]["steps"] == ["whole"]


def test_empty_list_replaces(tmp_path: Path) -> None:
    below = written(
        tmp_path, "below.toml", 'extends = "hyperliquid"\ncollateral = [{asset = "X", decimals = 1}]'
    )
    above = written(tmp_path, "above.toml", 'extends = "below.toml"\ncollateral = []')
    assert read_rulebook(below)["collateral"]
    assert read_rulebook(above)["collateral"] == []


def test_file_extends_a_file_that_is_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    written(tmp_path / "base", "one.toml", 'extends = "two.toml"\n[fees]\ntaker_ppb = 7')
    written(tmp_path / "base", "two.toml", 'extends = "okx"\n[fees]\nmaker_ppb = 3\ntaker_ppb = 5')
    file = written(tmp_path, "mine.toml", 'extends = "base/one.toml"\n')
    fees = read_rulebook(file)["fees"]
    assert (fees["maker_ppb"], fees["taker_ppb"]) == (3, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "extends = 'okx'\n[fees]\ntakr_ppb = 1",
            "fees.takr_ppb: key 'takr_ppb' is not known, nearest is 'taker",
        ),
        (
            "extends = 'okx'\n[adl]\nhaircut_max_ppb = 2_000_000_000",
            "found 2000000000, allowed is a whole number <=",
        ),
        (
            "extends = 'okx'\n[adl]\npolicy = 'queu'",
            "adl.policy: found 'queu', nearest is 'queue'; allowed are",
        ),
        ("extends = 'okx'\nwaterfall = ['adl']", "waterfall: ['adl'] must start with 'book'"),
        ("extends = 'okx'\n[[instruments]]\nsymbol = 'ABC'", "instruments.ABC: key 'kind' is missing"),
        ("extends = 'okx'\n[[instruments]]\ntick = '1'", "instruments.0.symbol: found None"),
        (
            "extends = 'oks'",
            "extends: found 'oks', nearest is 'okx'; allowed are a .toml file, binance_coinm",
        ),
        ("extends = 7", "extends: found 7"),
        ("extends = 'mybook.toml'", "mybook.toml, allowed is a chain that ends"),
        (
            "extends = 'none.toml'",
            "none.toml: there is no such file, allowed is a .toml file or binance_coinm",
        ),
        ("name = 'bare'", "key 'valid_from' is missing"),
        ("[fees", "not readable as TOML"),
    ],
)
def test_wrong_file_is_one_sentence_for_the_case_and_for_the_run(
    zerodebt: Call, tmp_path: Path, text: str, said: str
) -> None:
    book = written(tmp_path, "mybook.toml", text)
    with pytest.raises(RulesError) as error:
        read_rulebook(book)
    assert said in str(error.value)
    found = asked(zerodebt, book)
    assert (found["error"]["code"], found["error"]["field"]) == ("wrong_rule", "venue")
    assert said in found["message"]
    code, _, err = zerodebt("run", "2025-10-11", "--set", f"venue.profile={book}", "--out", tmp_path / "runs")
    assert code == 2
    assert is_one_sentence(err), err
    assert err.startswith(f"zerodebt: --set venue.profile: {tmp_path}")


@pytest.mark.parametrize(
    ("text", "found", "allowed"),
    [
        ("extends = 'okx'\n[fees]\ntaker_ppb = 'x'", "fees.taker_ppb: found 'x'", "is a whole number"),
        ("extends = 'oks'", "extends: found 'oks', nearest is 'okx'", "are a .toml file, binance_coinm"),
        ("[fees", "not readable as TOML: ", "is a rulebook that can be used"),
    ],
)
def test_error_for_programs_parts_what_was_found_from_what_is_allowed(
    zerodebt: Call, tmp_path: Path, text: str, found: str, allowed: str
) -> None:
    book = written(tmp_path, "mybook.toml", text)
    told = asked(zerodebt, book)
    assert told["error"]["found"].startswith(f"{book}: {found}")
    assert told["error"]["allowed"].startswith(allowed)
    with pytest.raises(RulesError) as error:
        read_rulebook(book)
    assert told["message"] == str(error.value)


def test_rulebook_of_a_file_is_shown_as_one(zerodebt: Call, book: Path) -> None:
    code, out, err = zerodebt("show", book, "--as-of", "2026-01-01")
    assert (code, err) == (0, "")
    shown = tomllib.loads(out)
    assert (shown["name"], shown["liquidation"]["steps"]) == ("mybook", ["whole"])
    _, out, _ = zerodebt("show", book, "--as-of", "2025-12-31", "--json")
    assert json.loads(out)["liquidation"]["steps"] != ["whole"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends = 'okx'\n[fees]\ntakr_ppb = 1", "mybook.toml: fees.takr_ppb: key 'takr_ppb' is not known"),
        ("waterfall = ['book']", "mybook.toml: key 'valid_from' is missing"),
        ("[clock]\nstart = 2025-10-10T00:00:00Z", "mybook.toml: clock: key 'end' is missing"),
        ("extends = '2025-10-11'\n[fees]\ntaker_ppb = 1", "mybook.toml: fees: key 'fees' is not known"),
    ],
)
def test_file_that_cannot_be_shown_is_one_sentence(
    zerodebt: Call, tmp_path: Path, text: str, said: str
) -> None:
    code, out, err = zerodebt("show", written(tmp_path, "mybook.toml", text))
    assert (code, out) == (2, "")
    assert said in err
    assert is_one_sentence(err), err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[instruments]]\nsymbol = 'BTCUSDT'\n" * 2, "instruments.1: found 'BTCUSDT' twice"),
        ("[[liquidation]]\nvalid_from = '2026-01-01'\n" * 2, "liquidation.1: found 'liquidation' twice"),
    ],
)
def test_second_table_of_a_name_and_day_is_refused(
    zerodebt: Call, tmp_path: Path, text: str, said: str
) -> None:
    book = written(tmp_path, "mybook.toml", f"extends = 'bybit_uta'\n{text}")
    assert f"{book}: {said}, allowed is one table of a name" in asked(zerodebt, book)["message"]


def test_two_tables_of_one_name_and_two_days_are_versions(tmp_path: Path) -> None:
    dated = "[[instruments]]\nsymbol = 'BTCUSDT'\nvalid_from = '{}'\ntick = '{}'\n"
    text = "extends = 'bybit_uta'\n" + dated.format("2026-01-01", "1") + dated.format("2026-02-01", "0.1")
    book = written(tmp_path, "mybook.toml", text)
    ticks = [read_rulebook(book, day)["instruments"][0]["tick"] for day in ("2026-01-31", "2026-02-01")]
    assert ticks == ["1", "0.1"]


def test_missing_file_is_an_unknown_venue(zerodebt: Call, tmp_path: Path) -> None:
    found = asked(zerodebt, tmp_path / "other.toml")
    assert found["error"]["code"] == "unknown_venue"
    assert "there is no such file" in found["message"]


def test_day_before_the_rulebook_is_refused(zerodebt: Call, book: Path) -> None:
    assert "nothing is known for 2020-01-01" in asked(zerodebt, book, as_of="2020-01-01")["message"]


def test_override_is_read_from_the_working_directory_and_the_run_keeps_the_rules(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(book.parent)
    scenario, _ = config.load("2025-10-11", [("venue.profile", "./mybook.toml")])
    assert (scenario.venue["name"], scenario.venue["fees"]["taker_ppb"]) == ("mybook", 400_000)
    assert scenario.venue["settle_asset"] == "USDC"
    book.unlink()
    again = config.resolve(tomllib.loads(config.to_toml(scenario)), "again")
    assert again.venue == scenario.venue


def test_profile_of_a_scenario_is_read_from_beside_it(book: Path) -> None:
    text = 'extends = "2025-10-11"\n[venue]\nprofile = "mybook.toml"\n'
    scenario, _ = config.load(written(book.parent, "mine.toml", text))
    assert (scenario.venue["name"], scenario.venue["fees"]["taker_ppb"]) == ("mybook", 400_000)


def test_account_of_a_test_suite_takes_the_path(book: Path) -> None:
    held = {"instrument": "BTCUSDT", "side": "long", "size": "0.1", "entry": "100000"}
    prices = {"BTCUSDT": "100000"}
    asked = account(str(book), balances={"USDT": 2000}, positions=[held], prices=prices)
    assert asked.liquidation_price("BTCUSDT").tick == 81000


def test_command_file_takes_a_profile_from_beside_it(zerodebt: Call, book: Path) -> None:
    market = {"symbol": "BTCUSDT", "kind": "perpetual", "tick": "1", "lot": "1", "price_min": "1"}
    market |= {"price_max": "9", "size_max": "9", "open_interest_max": "9"}
    assets = [{"symbol": "USDT", "decimals": 6}]
    line = {"do": "venue", "profile": "mybook.toml", "assets": assets, "instruments": [market]}
    file = written(book.parent, "commands.jsonl", json.dumps(line))
    code, out, _ = zerodebt("replay", file)
    assert code == 0
    opened = json.loads(out.splitlines()[0])
    assert "mybook" in json.dumps(opened)


@pytest.mark.parametrize(
    ("text", "where", "found"),
    [
        ('[[liquidation]]\nvalid_from = "tomorrow"', "liquidation.valid_from", "tomorrow"),
        ('[fees]\nvalid_from = "2026-13-45"', "fees.valid_from", "2026-13-45"),
        ("[fees]\nvalid_from = 2026-01-01", "fees.valid_from", "2026-01-01"),
        ('valid_from = "banana"', "valid_from", "banana"),
    ],
)
def test_day_that_is_none_is_refused_where_it_stands(
    tmp_path: Path, text: str, where: str, found: str
) -> None:
    file = written(tmp_path, "book.toml", f'extends = "bybit_uta"\n{text}\n')
    with pytest.raises(RulesError) as error:
        read_rulebook(file, "2026-02-01")
    assert (
        str(error.value) == f'{file}: {where}: found {found!r}, allowed is a day in quotes, as "2026-01-31"'
    )
