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


def apply_fill(lots: int, cost: int, entry_cost: int, fill_lots: int, lot_value_atoms: int) -> Change:
    """Open, add, reduce, close or flip; a flip is a close and then an opening.

    lots, fill_lots   signed; `lot_value_atoms` is the value of one lot at the fill's price
    cost, entry_cost  atoms paid for the open lots, with the sign of the lots
    A partial close releases floor(cost * closed / lots); what remains stays in the cost, so that equity never
    changes and at most one atom moves between realised and unrealised. Properties POS-01, POS-02.
    """
    if lots == 0 or (lots > 0) == (fill_lots > 0):
        value = fill_lots * lot_value_atoms
        return Change(lots + fill_lots, cost + value, entry_cost + value, 0, 0, 0)
    closed = -fill_lots if abs(fill_lots) < abs(lots) else lots
    released = cost * closed // lots
    entry_released = entry_cost * closed // lots
    proceeds = closed * lot_value_atoms
    opened = fill_lots + closed
    value = opened * lot_value_atoms
    return Change(
        lots + fill_lots,
        cost - released + value,
        entry_cost - entry_released + value,
        proceeds - released,
        proceeds - entry_released,
        closed,
    )
