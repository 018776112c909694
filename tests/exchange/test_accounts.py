"""Account tables, and that no numpy number ever leaves them."""

from typing import Any

import numpy as np
import pytest
from msgspec import Struct

from tests.exchange.test_snapshot import busy_day
from zerodebt.exchange.accounts import Accounts, Table
from zerodebt.exchange.events import FIRST_ACCOUNT
from zerodebt.exchange.ledger import Ledger

PLAIN = (int, str, type(None), bool)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, Struct):
        return [leaf for name in value.__struct_fields__ for leaf in leaves(getattr(value, name))]
    if isinstance(value, tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


@pytest.mark.parametrize("seed", [1, 2])
def test_no_numpy_number_and_no_float_is_in_any_event(seed: int) -> None:
    desk = busy_day(seed)
    kinds = set()
    for batch in desk.batches:
        for event in batch.events:
            kinds.add(type(event).__name__)
            for leaf in leaves(event):
                assert type(leaf) in PLAIN or isinstance(leaf, str), f"{type(leaf)} in {event}"
    assert {"Filled", "Marked", "Deleveraged", "TakenOver", "StagePaid", "FundingSet"} <= kinds


def test_single_cells_are_python_integers_and_never_wrap() -> None:
    table = Table(1)
    table.cells[0][5] = 2**63 - 1
    assert type(table.cells[0][5]) is int
    assert table.array[0, 5] == 2**63 - 1
    with pytest.raises((OverflowError, ValueError)):
        table.cells[0][5] += 1


def test_accounts_beyond_the_first_columns_keep_what_was_there() -> None:
    accounts = Accounts(3, 1, 0)
    accounts.balances.cells[0][20] = 7
    first = accounts.open(1000)
    assert first == FIRST_ACCOUNT
    assert accounts.open(1) == FIRST_ACCOUNT + 1000
    assert accounts.balances.cells[0][20] == 7
    assert accounts.leverage.cells[0][FIRST_ACCOUNT + 1000] == 1
    accounts.balances.cells[0][FIRST_ACCOUNT + 1000] = 9
    assert accounts.balances.array[0, FIRST_ACCOUNT + 1000] == 9


def test_customers_begin_behind_the_house() -> None:
    accounts = Accounts(1, 0, 0)
    accounts.open(2)
    assert [accounts.is_customer(a) for a in (-1, 0, 15, 16, 17, 18)] == [
        False,
        False,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.spec("LEDG-01")
def test_ledger_refuses_legs_that_do_not_sum_to_zero_in_each_asset() -> None:
    accounts = Accounts(3, 1, 0)
    ledger = Ledger(accounts, (0, 1, 0))
    posted = ledger.post("isolate", [(16, 0, -5), (16, 2, 5), (17, 1, 0)])
    assert posted.legs == ((16, 0, -5), (16, 2, 5))
    for legs in ([(16, 0, 5)], [(16, 0, 5), (17, 1, -5)]):
        with pytest.raises(AssertionError, match="do not sum to zero"):
            ledger.post("fill", legs)
    assert ledger.asset_sums() == [0, 0]
    assert not np.any(accounts.balances.array[1])
