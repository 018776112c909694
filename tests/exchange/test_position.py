"""The transition of a position under a fill."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerodebt.exchange.position import Change, apply_fill

LOTS = st.integers(-20, 20).filter(bool)
PRICE = st.integers(-15, 15)


def run(fills: list[tuple[int, int]]) -> tuple[Change, int]:
    """Apply (lots, price) fills to a flat position; returns the last change and all that was realised."""
    lots = cost = entry = realised = 0
    change = Change(0, 0, 0, 0, 0, 0)
    for fill, price in fills:
        change = apply_fill(lots, cost, entry, fill, fill * price)
        lots, cost, entry = change.lots, change.cost, change.entry_cost
        realised += change.realised_atoms
    return change, realised


@pytest.mark.spec("POS-01")
@pytest.mark.parametrize(
    ("lots", "cost", "fill", "price", "expected"),
    [
        (0, 0, 5, 100, Change(5, 500, 500, 0, 0, 0)),
        (0, 0, -5, 100, Change(-5, -500, -500, 0, 0, 0)),
        (5, 500, 5, 110, Change(10, 500 + 550, 500 + 550, 0, 0, 0)),
        (5, 500, 1, 110, Change(6, 500 + 110, 500 + 110, 0, 0, 0)),
        (-5, -500, -1, 110, Change(-6, -500 - 110, -500 - 110, 0, 0, 0)),
        (10, 1000, -4, 110, Change(6, 600, 600, 4 * (110 - 100), 4 * (110 - 100), 4)),
        (-10, -1000, 4, 110, Change(-6, -600, -600, -4 * (110 - 100), -4 * (110 - 100), -4)),
        (10, 1000, -10, 90, Change(0, 0, 0, 10 * (90 - 100), 10 * (90 - 100), 10)),
        (10, 1000, -15, 90, Change(-5, -5 * 90, -5 * 90, 10 * (90 - 100), 10 * (90 - 100), 10)),
        (-10, -1000, 15, 90, Change(5, 5 * 90, 5 * 90, 10 * (100 - 90), 10 * (100 - 90), -10)),
        (10, 1000, -10, -37, Change(0, 0, 0, 10 * (-37 - 100), 10 * (-37 - 100), 10)),
        (2, -80, -1, 10, Change(1, -40, -40, 10 + 40, 10 + 40, 1)),
    ],
)
def test_open_add_reduce_close_and_flip(
    lots: int, cost: int, fill: int, price: int, expected: Change
) -> None:
    assert apply_fill(lots, cost, cost, fill, fill * price) == expected


@pytest.mark.spec("POS-01", "NUM-05")
@pytest.mark.parametrize(("lots", "fill"), [(3, -1), (-3, 1)])
def test_cost_and_historic_entry_are_each_released_by_their_share_rounded_down(lots: int, fill: int) -> None:
    """One of three lots goes: floor(100 / 3) = 33 of the cost and floor(-101 / 3) = -34 of the entry."""
    value = 50 * fill
    change = apply_fill(lots, 100, -101, fill, value)
    assert change == Change(lots + fill, 100 - 33, -101 + 34, -value - 33, -value + 34, -fill)


@pytest.mark.spec("POS-01")
@given(LOTS, st.integers(-300, 300), LOTS, PRICE)
def test_flip_is_a_close_and_then_an_opening(lots: int, cost: int, more: int, price: int) -> None:
    beyond = abs(more) * (-1 if lots > 0 else 1)
    flip = apply_fill(lots, cost, cost, -lots + beyond, (-lots + beyond) * price)
    close = apply_fill(lots, cost, cost, -lots, -lots * price)
    opening = apply_fill(close.lots, close.cost, close.entry_cost, beyond, beyond * price)
    assert (flip.lots, flip.cost, flip.entry_cost) == (opening.lots, opening.cost, opening.entry_cost)
    assert (flip.realised_atoms, flip.profit_atoms, flip.closed_lots) == (
        close.realised_atoms,
        close.profit_atoms,
        close.closed_lots,
    )


@pytest.mark.spec("POS-01")
@given(st.lists(st.tuples(LOTS, PRICE), min_size=1, max_size=12))
def test_cash_and_position_together_are_what_was_paid(fills: list[tuple[int, int]]) -> None:
    """Realised + (value - cost) = - sum of lots * price + value, whatever the order of the fills."""
    change, realised = run(fills)
    paid = sum(lots * price for lots, price in fills)
    assert change.lots == sum(lots for lots, _ in fills)
    assert realised - change.cost == -paid
    if change.lots == 0:
        assert change.cost == change.entry_cost == 0


@pytest.mark.spec("POS-02", kind="MP")
@given(st.integers(2, 40), st.integers(-500, 500), st.integers(1, 40), PRICE, st.data())
def test_splitting_a_close_moves_at_most_one_atom_a_step(
    lots: int, cost: int, closed: int, price: int, data: st.DataObject
) -> None:
    closed = min(closed, lots)
    parts = []
    left = closed
    while left:
        part = data.draw(st.integers(1, left))
        parts.append(part)
        left -= part
    once = apply_fill(lots, cost, cost, -closed, -closed * price)
    now = (lots, cost, cost)
    realised = 0
    for part in parts:
        change = apply_fill(*now, -part, -part * price)
        now = (change.lots, change.cost, change.entry_cost)
        realised += change.realised_atoms
    assert now[0] == once.lots
    assert realised - now[1] == once.realised_atoms - once.cost, "equity has changed"
    assert abs(realised - once.realised_atoms) <= len(parts)


@given(LOTS, st.integers(-300, 300), LOTS, PRICE)
def test_average_entry_moves_only_when_lots_are_added(lots: int, cost: int, fill: int, price: int) -> None:
    change = apply_fill(lots, cost, cost, fill, fill * price)
    if (lots > 0) != (fill > 0) and abs(fill) < abs(lots):
        assert abs(Fraction(change.cost, change.lots) - Fraction(cost, lots)) <= Fraction(1, abs(change.lots))
        assert change.realised_atoms == change.closed_lots * price - cost * change.closed_lots // lots
    if (lots > 0) == (fill > 0):
        assert change.realised_atoms == change.profit_atoms == change.closed_lots == 0
