"""The plugin in a bot's own project, which has an `exchange.py` and an `agents.py` of its own."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PLUGIN = "zerodebt.exchange.testing.plugin"

BOT = {
    "exchange.py": """
class Client:
    '''The bot's own connection, no relation of zerodebt's exchange/.'''
    name = "mine"
""",
    "agents.py": """
from decimal import Decimal
from exchange import Client

class Bot:
    client = Client()

    def stop(self, liquidation):
        return liquidation * Decimal("1.01")
""",
    "test_bot.py": """
from agents import Bot
import exchange

ACCOUNT = dict(
    as_of="2025-10-10",
    balances={"USDC": "5000"},
    positions=[{"instrument": "BTC", "side": "long", "size": "0.8", "entry": "120000"}],
    prices={"BTC": "118000"},
)

def test_own_modules_are_the_bots():
    assert exchange.Client.name == Bot.client.name == "mine"

def test_stop(oracle):
    tick = oracle("hyperliquid", **ACCOUNT).liquidation_price("BTC").tick
    assert tick == "115189.8"
    assert Bot().stop(tick) > tick

def test_running(venue):
    market = venue("hyperliquid", prices={"BTC": 118000})
    market.quote("BTC", 5)
    bot = market.open({"USDC": 5000}, name="bot")
    assert bot.order("BTC", "buy", "0.5").average_price == 118001
    assert bot.position("BTC") == "0.5"
""",
    "test_fails.py": """
from test_bot import ACCOUNT

def test_wrong_stop(oracle):
    account = oracle("hyperliquid", name="my bot", **ACCOUNT)
    assert account.liquidation_price("BTC").tick == "115000"

def test_running_fails(venue):
    market = venue("hyperliquid", prices={"BTC": 118000})
    market.open({"USDC": 700}, name="poor bot")
    raise SystemError("boom")

def test_without_fixtures_fails():
    assert False
""",
}


def run_in_project(
    folder: Path, files: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """pytest as a bot's author calls it; this working copy of the package stands for the installed one."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "COLUMNS": "110",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        PLUGIN,
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        *arguments,
    ]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_bot_with_modules_of_the_same_names_is_tested(tmp_path: Path) -> None:
    done = run_in_project(tmp_path, BOT, "test_bot.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_failure_shows_the_margin_table_of_the_accounts_of_that_test(tmp_path: Path) -> None:
    done = run_in_project(tmp_path, BOT, "test_fails.py")
    assert "3 failed" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("zerodebt: margin") == 2
    assert "assert Figure(115189.8) == '115000'" in done.stdout
    table = """\
my bot at hyperliquid: wallet 5000.000000 USDC
  compartment       equity  maintenance      initial
  cross        3400.000000  1180.000000  2360.000000  safe
  position     size       entry      mark        profit  maintenance  liquidation price
  BTC       0.80000  120000.000  118000.0  -1600.000000  1180.000000           115189.8
"""
    assert table in done.stdout
    assert "poor bot at hyperliquid: wallet 700.000000 USDC" in done.stdout


def test_plugin_alone_imports_neither_the_venue_nor_hypothesis() -> None:
    code = (
        f"import sys\nimport {PLUGIN}\n"
        "sys.exit(any(n in sys.modules for n in ('hypothesis', 'numpy', 'zerodebt.exchange.venue')))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.parametrize("name", ["oracle", "venue", "pytest_runtest_makereport"])
def test_entry_point_names_the_plugin(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    target = project["entry-points"]["pytest11"]["zerodebt"]
    assert target == PLUGIN
    assert hasattr(import_module(target), name)


OWN = {
    "suite/mine.toml": """
extends = "hyperliquid"
[fees]
taker_ppb = 1_000_000
""",
    "suite/test_own.py": """
def test_fee(venue, oracle):
    market = venue("mine.toml", prices={"BTC": 100000})
    market.quote("BTC", 5)
    bought = market.open({"USDC": 5000}).order("BTC", "buy", "0.1")
    assert (bought.average_price, bought.fee) == (100001, "10.0001")  # 0.1 % of the value
    account = oracle("mine.toml", balances={"USDC": "5000"}, prices={"BTC": "100000"})
    assert "at mine" in account.table()
""",
}


def test_rulebook_of_ones_own_is_found_beside_the_test(tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    done = run_in_project(tmp_path, OWN, "suite")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
