"""The pure transition of a position under a fill."""

from typing import NamedTuple


class Change(NamedTuple):
    """A position after a fill, and what closing lots released.

    realised_atoms  proceeds less the cost of the closed lots: what clearing pays the account (or takes)
    profit_atoms    the same against the historic entry, for reports; it never moves money
    closed_lots     signed like the position that was closed
    """

    lots: int
    cost: int
    entry_cost: int
    realised_atoms: int
    profit_atoms: int
    closed_lots: int


def apply_fill(lots: int, cost: int, entry_cost: int, fill_lots: int, value_atoms: int) -> Change:
    """Open, add, reduce, close or flip; a flip is a close and then an opening.

    lots, fill_lots   signed; `value_atoms` is the value of the fill as `instruments.value_atoms` gives it
    cost, entry_cost  atoms paid for the open lots: their value when they were opened
    A partial close releases floor(cost * closed / lots); what remains stays in the cost, so that equity never
    changes and at most one atom moves between realised and unrealised. Properties POS-01, POS-02.
    """
    if lots == 0 or (lots > 0) == (fill_lots > 0):
        return Change(lots + fill_lots, cost + value_atoms, entry_cost + value_atoms, 0, 0, 0)
    closed = -fill_lots if abs(fill_lots) < abs(lots) else lots
    released = cost * closed // lots
    entry_released = entry_cost * closed // lots
    proceeds = -(value_atoms * -closed // fill_lots)
    value = value_atoms + proceeds
    return Change(
        lots + fill_lots,
        cost - released + value,
        entry_cost - entry_released + value,
        proceeds - released,
        proceeds - entry_released,
        closed,
    )
