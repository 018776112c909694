"""The account tables: numpy int64, one column an account, with memoryviews for exact single cells.

A single cell read through its memoryview is a Python integer, and a value beyond 64 bits raises instead of
wrapping; whole passes use the arrays.
"""

from typing import ClassVar

import numpy as np

from zerodebt.exchange.events import FIRST_ACCOUNT
from zerodebt.exchange.units import Int64Array

VAULT, BACKSTOP = 1, 2


class Table:
    """Rows by asset, pocket or instrument; columns by account. `cells[row][account]` is one exact cell."""

    def __init__(self, rows: int, fill: int = 0) -> None:
        self.fill = fill
        self.array: Int64Array = np.full((rows, 64), fill, np.int64)
        self._link()

    def _link(self) -> None:
        self.cells = [memoryview(row) for row in self.array]

    def widen(self, columns: int) -> None:
        wider = np.full((self.array.shape[0], columns), self.fill, np.int64)
        wider[:, : self.array.shape[1]] = self.array
        self.array = wider
        self._link()

    def replace(self, array: Int64Array) -> None:
        """Take over the contents of a snapshot."""
        self.array = np.ascontiguousarray(array, np.int64).copy()
        self._link()


class Accounts:
    """Everything the venue keeps by account.

    A slot is an instrument's net position, or its long leg in hedge mode; behind them, where the rulebook
    offers that mode, come the short legs in the same order.

    balances            [pocket]  atoms; written by the ledger alone
    lots                [slot]  signed position
    cost, entry_cost    [slot]  atoms paid for the open lots; entry_cost outlives settlements
    isolated            [slot]  1 when the position answers with its own margin only
    leverage            [slot]  chosen divisor of the initial requirement
    buy_lots, sell_lots [slot]  resting lots that may increase a position, and their value in atoms
    vault               [0]  VAULT for an account of that role, BACKSTOP while it backs an instrument
    session_base        [0]  equity at the start of the session plus what was brought in since (profit's zero)
    recheck_at          [0]  reading of the market's move meter from which the account must be looked at again
    orders              [0]  resting orders and waiting triggers
    coming              [collateral]  settlement atoms that an issuer owes for redeemed collateral
    """

    STATE: ClassVar[tuple[str, ...]] = (
        "balances",
        "lots",
        "cost",
        "entry_cost",
        "isolated",
        "leverage",
        "buy_lots",
        "sell_lots",
        "buy_value",
        "sell_value",
        "vault",
        "session_base",
    )

    def __init__(self, pockets: int, slots: int, collaterals: int) -> None:
        self.count = FIRST_ACCOUNT
        self.balances = Table(pockets)
        self.lots = Table(slots)
        self.cost = Table(slots)
        self.entry_cost = Table(slots)
        self.isolated = Table(slots)
        self.leverage = Table(slots, fill=1)
        self.buy_lots = Table(slots)
        self.sell_lots = Table(slots)
        self.buy_value = Table(slots)
        self.sell_value = Table(slots)
        self.vault = Table(1)
        self.session_base = Table(1)
        self.recheck_at = Table(1)
        self.orders = Table(1)
        self.coming = Table(collaterals)

    def tables(self) -> list[Table]:
        return [value for value in vars(self).values() if isinstance(value, Table)]

    def open(self, count: int) -> int:
        """Make room for `count` accounts and return the first one's number."""
        first = self.count
        self.count += count
        columns = self.balances.array.shape[1]
        if self.count > columns:
            for table in self.tables():
                table.widen(max(self.count, 2 * columns))
        return first

    def is_customer(self, account: int) -> bool:
        return FIRST_ACCOUNT <= account < self.count
