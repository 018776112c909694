"""Depositors of a vault: lock-up, queue, and the attack at a stale value."""

import pytest

from zerodebt.agents.vault_depositors import DAY_HOURS, PaidAt, VaultDepositors


def two(paid_at: PaidAt) -> VaultDepositors:
    """Depositors 0 and 1 with 100 each, at hour 0."""
    vault = VaultDepositors(paid_at)
    assert vault.deposit(0, 100, 0, 0) == 100
    assert vault.deposit(1, 100, 100, 0) == 100
    return vault


def test_new_money_buys_shares_at_what_they_are_worth() -> None:
    """The vault has made 200 of 100: 100 buy 50 shares."""
    vault = VaultDepositors()
    vault.deposit(0, 100, 0, 0)
    assert vault.deposit(1, 100, 200, 1) == 50


def test_nobody_leaves_during_the_lock_up_nor_with_more_than_he_has() -> None:
    vault = two("payment")
    assert not vault.ask(0, 100, 200, 4 * DAY_HOURS - 1)
    assert not vault.ask(0, 101, 200, 4 * DAY_HOURS)
    assert vault.ask(0, 100, 200, 4 * DAY_HOURS)


def test_queue_pays_a_day_later_in_its_order() -> None:
    vault = two("payment")
    vault.ask(1, 100, 200, 100)
    vault.ask(0, 50, 200, 101)
    assert vault.pay(200, 123) == {}
    assert vault.pay(200, 124) == {1: 100}
    assert vault.pay(100, 125) == {0: 50}


@pytest.mark.parametrize(("paid_at", "first", "left"), [("request", 100, 20), ("payment", 60, 60)])
def test_who_asks_at_a_stale_value_leaves_the_loss_to_those_who_stay(
    paid_at: PaidAt, first: int, left: int
) -> None:
    """A loss of 80 of 200 is not in the share price at the request: 100 leave, or 60 when it is paid."""
    vault = two(paid_at)
    vault.ask(0, 100, 200, 100)
    assert vault.pay(200 - 80, 124) == {0: first}
    assert 120 - first == left
