"""What the insurance fund brings beside money."""

from pathlib import Path
from typing import Any

import pytest

import zerodebt
from zerodebt.exchange.commands import Deposit
from zerodebt.exchange.events import INSURANCE
from zerodebt.scenarios.quantities import CallError
from zerodebt.scenarios.runner import prepare

COINS = """
extends = "oil-client"
name = "coins"
claims = []
assets = [
    { symbol = "USD", decimals = 2 },
    { symbol = "COIN", decimals = 3 },
    { symbol = "ODD", decimals = 1 },
]

[venue]
collateral = [{ asset = "COIN", decimals = 3, ratio_ppb = 900_000_000 }]

[prices]
waypoints = "coins.csv"

[[instruments]]
symbol = "CL-MAY20"
kind = "future"
tick = "0.01"
lot = "1"
contract_size = "1_000"
price_min = "-1000"
price_max = "1000"
size_max = "1_000"
open_interest_max = "1_000"
tiers = [{ above = 0, leverage_max = 1 }]

[[instruments]]
symbol = "COIN-USD"
kind = "spot"
base = "COIN"
tick = "0.01"
lot = "1"
price_min = "0.01"
price_max = "1000"
size_max = "1_000"
open_interest_max = "1_000"
"""


@pytest.fixture
def coins(tmp_path: Path) -> str:
    rows = ["time_utc,instrument,price,source,evidence"]
    for at in ("18:12", "18:30"):
        rows += [
            f"2020-04-20T{at}:00Z,{name},{price},,ours"
            for name, price in (("CL-MAY20", "0.01"), ("COIN-USD", "50"))
        ]
    (tmp_path / "coins.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "coins.toml").write_text(COINS)
    return str(tmp_path / "coins.toml")


def test_the_fund_brings_coins_beside_money(coins: str) -> None:
    prepared = prepare(
        coins, overrides=[("endowments.insurance", 7), ("endowments.insurance_assets.COIN", "2.5")]
    )
    assert prepared.opening_commands()[:2] == [
        Deposit(0, INSURANCE, (700,)),
        Deposit(1, INSURANCE, (2_500,)),
    ]


def test_a_run_with_a_fund_in_coins_is_agreed_on_by_the_audit(coins: str) -> None:
    changes: dict[str, Any] = {"endowments.insurance_assets.COIN": "2.5"}
    result = zerodebt.run(coins, **changes)
    assert result.summary["audit"]["agrees"]


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"COIN": -1}, "endowments.insurance_assets.COIN: found -1"),
        (
            {"COIN": "0.0001"},
            "endowments.insurance_assets.COIN: found 0.0001, allowed are multiples of 0.001",
        ),
        ({"COIM": 1}, "found 'COIM', nearest is 'COIN'; allowed are COIN"),
        ({"ODD": 1}, "found 'ODD'; allowed are COIN"),
        ({"USD": 1}, "found 'USD'; allowed are COIN"),
    ],
)
def test_an_asset_that_the_fund_could_not_sell_is_refused(
    coins: str, sets: dict[str, object], said: str
) -> None:
    overrides = [(f"endowments.insurance_assets.{symbol}", value) for symbol, value in sets.items()]
    with pytest.raises(CallError) as refused:
        prepare(coins, overrides=overrides)
    assert said in str(refused.value)


def test_pools_by_instrument_hold_no_coins(coins: str) -> None:
    overrides = [("endowments.insurance_assets.COIN", 1), ("venue.insurance.scope", "instrument")]
    with pytest.raises(CallError, match="allowed is none with venue"):
        prepare(coins, overrides=overrides)


def test_without_collateral_the_fund_holds_money_alone() -> None:
    with pytest.raises(CallError, match="of which the scenario has none"):
        prepare("oil-client", overrides=[("endowments.insurance_assets.USD", 1)])
