"""Double entry: what may be posted, and what it leaves."""

import pytest

from zerodebt.exchange.accounts import Accounts
from zerodebt.exchange.events import Posted
from zerodebt.exchange.ledger import Ledger


def ledger() -> tuple[Accounts, Ledger]:
    """Three pockets: 0 and 2 hold asset 0, pocket 1 holds asset 1."""
    accounts = Accounts(3, 1, 0)
    return accounts, Ledger(accounts, (0, 1, 0))


@pytest.mark.spec("LEDG-01")
def test_a_posting_adds_to_what_each_account_has() -> None:
    accounts, books = ledger()
    books.post("deposit", [(5, 0, 100), (6, 0, -100)])
    books.post("deposit", [(5, 0, 30), (6, 0, -30)])
    cells = accounts.balances.cells
    assert (cells[0][5], cells[0][6], cells[1][5], cells[2][5]) == (100 + 30, -100 - 30, 0, 0)


@pytest.mark.spec("LEDG-01")
def test_two_legs_of_one_account_are_both_posted() -> None:
    accounts, books = ledger()
    books.post("fill", [(5, 0, 10), (5, 0, 20), (6, 0, -30)])
    assert accounts.balances.cells[0][5] == 10 + 20


@pytest.mark.spec("LEDG-01")
def test_the_event_says_the_reason_and_the_legs_that_are_not_zero() -> None:
    _, books = ledger()
    posted = books.post("fill", [(5, 0, 10), (7, 0, 0), (6, 0, -10)])
    assert posted == Posted("fill", ((5, 0, 10), (6, 0, -10)))


@pytest.mark.spec("LEDG-01")
def test_money_moves_between_pockets_of_one_asset_and_never_between_assets() -> None:
    accounts, books = ledger()
    books.post("isolate", [(5, 0, -10), (5, 2, 10)])
    assert (accounts.balances.cells[0][5], accounts.balances.cells[2][5]) == (-10, 10)
    with pytest.raises(AssertionError, match="isolate: legs do not sum to zero"):
        books.post("isolate", [(5, 0, -10), (5, 1, 10)])


@pytest.mark.spec("LEDG-01")
@pytest.mark.parametrize("atoms", [1, -1])
def test_one_atom_too_much_or_too_little_is_refused_and_nothing_is_posted(atoms: int) -> None:
    accounts, books = ledger()
    with pytest.raises(AssertionError, match="do not sum to zero"):
        books.post("deposit", [(5, 0, 100), (6, 0, -100 + atoms)])
    assert not accounts.balances.array.any()


@pytest.mark.spec("LEDG-01")
def test_sums_are_taken_by_asset_over_all_its_pockets() -> None:
    """Written behind the ledger's back, as a bug would: 7 and 40 of asset 0, 500 of asset 1."""
    accounts, books = ledger()
    accounts.balances.cells[0][5] = 7
    accounts.balances.cells[2][9] = 40
    accounts.balances.cells[1][5] = 500
    assert books.asset_sums() == [7 + 40, 500]
