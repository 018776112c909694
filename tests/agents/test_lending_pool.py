"""Lenders, borrowers and an attacker of a lending pool."""

from zerodebt.agents.lending_pool import borrowing, planned_attack, wanted_withdrawal


def test_lenders_leave_when_nearly_all_is_lent() -> None:
    assert wanted_withdrawal(1000, 0.95) == 0
    assert wanted_withdrawal(1000, 0.96) == 250


def test_borrowers_take_three_fifths_of_what_is_lent_to_them() -> None:
    assert borrowing(1000) == 600


def test_attack_pays_only_where_the_feed_stands_above_the_market() -> None:
    """Four of five coins count, at 100 each, and one costs 10: 6 coins for 60 count as 4 and bring 400."""
    ratio = 800_000_000
    assert planned_attack(500, 100, 100, ratio, 1000) is None
    attack = planned_attack(500, 100, 10, ratio, 1000)
    assert attack is not None
    assert (attack.coins, attack.borrowed_atoms, attack.cost_atoms, attack.gain_atoms) == (6, 400, 60, 340)


def test_attack_is_limited_by_what_the_attacker_can_buy() -> None:
    attack = planned_attack(500, 100, 10, 800_000_000, 25)
    assert attack is not None
    assert attack.coins == 2
