"""`zerodebt ask`: cases from a file or a pipe, answers for people and for programs."""

import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.scenarios.conftest import Call, is_one_sentence
from zerodebt.exchange.ask import answer, schema
from zerodebt.exchange.cases import ErrorCode, UnanswerableError
from zerodebt.exchange.rules import profile_names

CASE: dict[str, Any] = {
    "venue": "hyperliquid",
    "as_of": "2025-10-10",
    "balances": {"USDC": "5000"},
    "positions": [{"instrument": "BTC", "side": "long", "size": "0.8", "entry": "120000", "leverage": 20}],
    "prices": {"BTC": {"mark": "118000"}},
    "ask": [
        {"question": "liquidation_price", "instrument": "BTC"},
        {"question": "what_if", "path": [{"prices": {"BTC": "114000"}}]},
    ],
}
WRONG = CASE | {"venue": "mtgox"}


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return written(tmp_path, json.dumps(CASE, indent=2))


def written(folder: Path, text: str) -> Path:
    file = folder / "case.json"
    file.write_text(text, encoding="utf-8")
    return file


def test_answer_for_programs_is_what_the_library_answers(zerodebt: Call, case: Path) -> None:
    code, out, err = zerodebt("ask", case, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == answer(CASE)


def test_answer_for_people_shows_figures_rules_and_sources(zerodebt: Call, case: Path) -> None:
    code, out, err = zerodebt("ask", case)
    assert (code, err) == (0, "")
    assert out.startswith("hyperliquid, as of 2025-10-10, rules since 2025-10-01, in USDC\n")
    for text in ("115189.873417721518987342", "Hyperliquid docs: Margin tiers (2025-10-01)", "no funding"):
        assert text in out
    assert "BTC at 114000.0; holds nothing; cross equity 0.000000 of 0.000000" in out
    assert "\x1b" not in out


def test_case_comes_from_standard_input(zerodebt: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (("ask", "--json"), ("ask", "-", "--json")):
        piped = io.TextIOWrapper(io.BytesIO(json.dumps(CASE).encode()))
        monkeypatch.setattr(sys, "stdin", piped)
        code, out, _ = zerodebt(*arguments)
        assert (code, json.loads(out)["venue"]) == (0, "hyperliquid")


@pytest.mark.parametrize("form", ["lines", "list"])
def test_batch_is_answered_line_by_line_and_goes_on_after_a_wrong_case(
    form: str, zerodebt: Call, tmp_path: Path
) -> None:
    cases = [json.dumps(CASE), json.dumps(WRONG), json.dumps(CASE)]
    text = "\n".join(cases) + "\n" if form == "lines" else f"[{', '.join(cases)}]"
    code, out, err = zerodebt("ask", written(tmp_path, text), "--json")
    assert (code, err) == (2, "")
    first, second, third = (json.loads(line) for line in out.splitlines())
    assert first == third == answer(CASE)
    assert (second["error"]["code"], second["error"]["field"]) == ("unknown_venue", "venue")


def test_numbers_are_as_exact_as_text(zerodebt: Call, tmp_path: Path) -> None:
    """A float of 0.1 + 0.2 would be off the lot."""
    text = (
        json.dumps(CASE)
        .replace('"0.8"', "0.30000")
        .replace('"118000"', "1.18e5")
        .replace('"5000"', "5000.000001")
    )
    code, out, _ = zerodebt("ask", written(tmp_path, text), "--json")
    table = CASE | {
        "balances": {"USDC": "5000.000001"},
        "positions": [CASE["positions"][0] | {"size": "0.3"}],
    }
    assert (code, json.loads(out)) == (0, answer(table))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (json.dumps(WRONG), ("unknown_venue", "venue")),
        (json.dumps(CASE | {"prices": {}}), ("missing_price", "prices.BTC")),
        ('{"venue": ', ("not_json", "case")),
        ("", ("not_json", "case")),
        ("[1", ("not_json", "case")),
        ("7", ("wrong_case", "case")),
        ("{}", ("wrong_case", "case")),
    ],
)
def test_wrong_case_is_typed_for_programs_and_a_sentence_for_people(
    text: str, error: tuple[str, str], zerodebt: Call, tmp_path: Path
) -> None:
    file = written(tmp_path, text)
    code, out, err = zerodebt("ask", file, "--json")
    found = json.loads(out)["error"]
    assert (code, err, (found["code"], found["field"])) == (2, "", error)
    code, out, err = zerodebt("ask", file)
    assert (code, out) == (2, "")
    assert is_one_sentence(err), err


def test_question_without_an_answer_is_exit_2_beside_the_others(zerodebt: Call, tmp_path: Path) -> None:
    table = CASE | {"ask": [{"question": "margin", "instrument": "ETH"}, {"question": "margin"}]}
    file = written(tmp_path, json.dumps(table))
    code, out, _ = zerodebt("ask", file, "--json")
    first, second = json.loads(out)["answers"]
    assert (code, first["error"]["code"], second["answer"]["equity"]) == (2, "zero_position", "3400.000000")
    code, out, err = zerodebt("ask", file)
    assert code == 2
    assert is_one_sentence(err), err
    assert "3400.000000" in out


@pytest.mark.parametrize("text", [json.dumps(CASE), json.dumps(CASE, indent=2), f"{json.dumps(CASE)}\n" * 2])
def test_case_is_no_file_of_commands(text: str, zerodebt: Call, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    code, out, err = zerodebt("replay", file)
    assert (code, out) == (3, "")
    assert (
        err
        == f"zerodebt: {file}: found a case, which `zerodebt ask` answers; allowed is a file of commands\n"
    )


def test_first_line_that_says_nothing_of_what_it_does_lists_all_keys(zerodebt: Call, tmp_path: Path) -> None:
    code, _, err = zerodebt("replay", written(tmp_path, '{"venu": 1}'))
    assert code == 3
    assert "allowed are do, profile, rules, assets, instruments" in err


def test_missing_file_is_a_data_problem(zerodebt: Call, tmp_path: Path) -> None:
    code, _, err = zerodebt("ask", tmp_path / "nothing.json")
    assert code == 3
    assert is_one_sentence(err), err


def test_misspelt_option_is_no_file(zerodebt: Call) -> None:
    code, _, err = zerodebt("ask", "--jsn")
    assert (code, err) == (2, "zerodebt: unknown option --jsn, allowed are --schema and --json\n")


def test_schema_is_printed(zerodebt: Call) -> None:
    code, out, _ = zerodebt("ask", "--schema")
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(schema()))


def test_schema_describes_every_field_of_a_case() -> None:
    parts = schema()["$defs"]
    reached, found = ["Case"], set()
    while reached:
        name = reached.pop()
        found.add(name)
        assert parts[name]["description"], name
        if name in ("VenueRules", "InstrumentSpec", "AssetSpec"):
            continue
        for field, part in parts[name]["properties"].items():
            assert part.get("description"), f"{name}.{field}"
        reached += [n for n in parts if f'"#/$defs/{n}"' in json.dumps(parts[name]) and n not in found]
    assert {"PositionCase", "PriceCase", "WhatIfQuestion", "PathPoint"} <= found


def test_schema_lets_a_decimal_be_text_or_a_number() -> None:
    size = schema()["$defs"]["PositionCase"]["properties"]["size"]
    assert size["type"] == ["string", "number"]


def test_list_shows_rulebooks_with_their_days_and_instruments(zerodebt: Call) -> None:
    _, both, _ = zerodebt("list")
    assert "wti-2020-04-20" in both
    assert "BTC ETH SOL" in both
    _, out, _ = zerodebt("list", "venues", "--json")
    row = next(row for row in json.loads(out) if row["venue"] == "hyperliquid")
    assert "BTC" in row["instruments"]
    assert row["days"][0] == "2025-10-01"
    _, out, _ = zerodebt("list", "--json")
    assert set(json.loads(out)) == {"scenarios", "studies", "venues"}


def test_each_line_of_a_pipe_is_answered_before_the_next_is_read() -> None:
    command = [sys.executable, "-c", "from zerodebt.scenarios.cli import main; main()", "ask", "-", "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as bot:
        assert bot.stdin is not None
        assert bot.stdout is not None
        for case in (CASE, WRONG, CASE):
            bot.stdin.write(json.dumps(case).encode() + b"\n")
            bot.stdin.flush()
            told = json.loads(bot.stdout.readline())
            assert ("error" in told) is (case is WRONG)
        bot.stdin.close()
        assert bot.wait(timeout=60) == 2


def test_venue_is_shown_as_its_rulebook(zerodebt: Call) -> None:
    code, out, err = zerodebt("show", "hyperliquid", "--as-of", "2025-10-10")
    assert (code, err) == (0, "")
    shown = tomllib.loads(out)
    assert shown["fees"]["taker_ppb"] == 450_000
    assert "BTC" in [spec["symbol"] for spec in shown["instruments"]]
    _, out, _ = zerodebt("show", "hyperliquid", "--as-of", "2025-10-10", "--json")
    assert json.loads(out) == shown


@pytest.mark.parametrize("name", profile_names())
def test_every_rulebook_can_be_shown(name: str, zerodebt: Call) -> None:
    code, out, _ = zerodebt("show", name)
    assert (code, tomllib.loads(out)["name"]) == (0, name)


@pytest.mark.parametrize(
    "arguments",
    [
        ("hyperliquid", "--as-of", "2020-01-01"),
        ("hyperliquid", "--as-of", "yesterday"),
        ("hyperliquid", "--set", "a=1"),
        ("2025-10-11", "--json"),
    ],
)
def test_show_refuses_what_it_does_not_know(arguments: tuple[str, ...], zerodebt: Call) -> None:
    code, out, err = zerodebt("show", *arguments)
    assert (code, out) == (2, "")
    assert is_one_sentence(err), err


@pytest.mark.parametrize("word", ["binance", "okxx", "2025-10-12", "q"])
def test_unknown_name_is_shown_beside_all_scenarios_and_venues(word: str, zerodebt: Call) -> None:
    code, _, err = zerodebt("show", word)
    assert code == 2
    assert is_one_sentence(err), err
    for name in ("2025-10-11", *profile_names()):
        assert name in err
    near = {"binance": "binance_usdm", "okxx": "okx", "2025-10-12": "2025-10-11"}.get(word)
    assert ("nearest" in err) == (near is not None)
    assert near is None or f"nearest is {near!r}" in err


PAGE = (Path(__file__).parents[2] / "docs" / "ask.md").read_text(encoding="utf-8")
BLOCKS = [json.loads(block.split("```")[0]) for block in PAGE.split("```json\n")[1:]]
EXAMPLES = list(zip(BLOCKS[::2], BLOCKS[1::2], strict=True))


@pytest.mark.parametrize(("case", "shown"), EXAMPLES, ids=lambda part: part.get("question", ""))
def test_page_shows_what_is_answered(
    case: dict[str, Any], shown: dict[str, Any], zerodebt: Call, tmp_path: Path
) -> None:
    _, out, _ = zerodebt("ask", written(tmp_path, json.dumps(case)), "--json")
    found = json.loads(out)
    if "answers" in found:
        (found,) = found["answers"]
        if "explain" not in shown:
            del found["explain"]
    assert found == shown


def test_page_has_an_example_for_every_question_and_names_every_error() -> None:
    asked = {question["question"] for case, _ in EXAMPLES for question in case["ask"]}
    parts = schema()["$defs"]
    tags = {
        part["properties"]["question"]["enum"][0]
        for part in parts.values()
        if "question" in part.get("properties", {})
    }
    assert asked == tags
    for code in get_args(ErrorCode):
        assert f"`{code}`" in PAGE, code


def faults(value: Any, part: dict[str, Any], parts: dict[str, Any], at: str = "$") -> list[str]:
    """What of a value is not as the schema says; knows the keywords that the schema of a case uses."""
    if "$ref" in part:
        return faults(value, parts[part["$ref"].rpartition("/")[2]], parts, at)
    found = [fault for inner in part.get("allOf", ()) for fault in faults(value, inner, parts, at)]
    if "anyOf" in part and all(faults(value, inner, parts, at) for inner in part["anyOf"]):
        found.append(f"{at}: none of {len(part['anyOf'])}")
    kinds = part.get("type", [])
    if kinds and not any(
        isinstance(value, KINDS[kind]) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    ):
        return [*found, f"{at}: not {kinds}"]
    if "enum" in part and value not in part["enum"]:
        found.append(f"{at}: not of {part['enum']}")
    if isinstance(value, list):
        for n, entry in enumerate(value):
            found += faults(entry, part.get("items", {}), parts, f"{at}.{n}")
    if isinstance(value, dict):
        found += [f"{at}: lacks {key}" for key in part.get("required", ()) if key not in value]
        for key, entry in value.items():
            inner = part.get("properties", {}).get(key, part.get("additionalProperties", {}))
            found += (
                [f"{at}: unknown {key}"] if inner is False else faults(entry, inner, parts, f"{at}.{key}")
            )
    return found


KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": int | float,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


@pytest.mark.parametrize("case", [case for case, _ in EXAMPLES])
def test_schema_takes_every_example_of_the_page(case: dict[str, Any]) -> None:
    read = schema()
    assert faults(case, read, read["$defs"]) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"venu": "x"}, "unknown venu"),
        ({"positions": [{"instrument": "BTC"}]}, "lacks side"),
        ({"ask": [{"question": "price"}]}, "none of 7"),
        ({"prices": {"BTC": 7}}, "not object"),
        ({"instruments": [{"symbol": "BTC", "tik": 1}]}, "unknown tik"),
        ({"rules": {"fees": {"taker": 1}}}, "unknown taker"),
    ],
)
def test_schema_refuses_what_the_oracle_refuses(change: dict[str, Any], fault: str) -> None:
    read = schema()
    assert fault in " ".join(faults(CASE | change, read, read["$defs"]))
    with pytest.raises(UnanswerableError):
        answer(CASE | change)


def test_schema_lets_rules_and_instruments_be_overridden_field_by_field() -> None:
    read = schema()
    case = CASE | {"rules": {"fees": {"taker_ppb": 0}}, "instruments": [{"symbol": "BTC", "lot": 0.001}]}
    assert faults(case, read, read["$defs"]) == []
    assert "error" not in answer(case)["answers"][0]
