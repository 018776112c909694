"""What a trader may see: prices, the book, positions and margin. Read-only; arrays are copies."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
from msgspec import Struct

from zerodebt.exchange.custody import may_leave_atoms
from zerodebt.exchange.events import DEFAULT_FUND, DEFICIT, FIRST_ACCOUNT, INSURANCE
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.lending import annual_rate_ppb, claim_atoms, utilisation_ppb
from zerodebt.exchange.margin import (
    collateral_values,
    customer_equities,
    pooled_equity,
    risk_of,
)
from zerodebt.exchange.portfolio import level_of
from zerodebt.exchange.state import State, Status
from zerodebt.exchange.units import Int64Array
from zerodebt.exchange.waterfall import lenders
from zerodebt.exchange.waterfall.default_fund import required_atoms, stressed_losses

Accounts = Sequence[int] | Int64Array


def _columns(row: Int64Array, accounts: Accounts) -> Int64Array:
    chosen: Int64Array = row[np.asarray(accounts, np.int64)]
    return chosen


class Statement(Struct, frozen=True):
    """What the venue says of itself at a rest point; the audit must come to the same.

    holdings_digest   BLAKE2b over lines "b account pocket atoms" and "l account instrument lots", no zeros
    open_debt_atoms   the hole in the deficit account and what compartments are below zero
    receivable_atoms  owed by accounts under recourse
    """

    holdings_digest: str
    open_debt_atoms: int
    receivable_atoms: int


class LendingTerms(Struct, frozen=True):
    """The lending pool as it stands: what it has, what of it is free, and what a year's borrowing costs."""

    pool_atoms: int
    cash_atoms: int
    owed_atoms: int
    annual_rate_ppb: int
    share_index: int


class View:
    """A window on a venue. Prices in ticks, sizes in lots (positions signed), money in atoms."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        return self._state.instruments

    @property
    def settle_asset(self) -> int:
        return self._state.settle

    @property
    def time_ns(self) -> int:
        """Time of the last command."""
        return self._state.time_ns

    def index_ticks(self, instrument: int) -> int | None:
        return self._state.markets[instrument].prices.index_ticks

    def mark_ticks(self, instrument: int) -> int | None:
        return self._state.markets[instrument].prices.mark_ticks

    def last_ticks(self, instrument: int) -> int | None:
        return self._state.markets[instrument].prices.last_ticks

    def best_ticks(self, instrument: int, side: int) -> int | None:
        return self._state.books[instrument].best_ticks(side)

    def depth(self, instrument: int, side: int) -> Iterator[tuple[int, int]]:
        """(price_ticks, open lots) by level, best first."""
        return self._state.books[instrument].depth(side)

    def status(self, instrument: int) -> Status:
        return self._state.status[instrument]

    def position_lots(self, instrument: int, account: int) -> int:
        """Signed lots; the net of both legs of an account in hedge mode."""
        return sum(self.legs_lots(instrument, account))

    def legs_lots(self, instrument: int, account: int) -> tuple[int, ...]:
        """Signed lots of the net position or long leg, and of the short leg where the rulebook offers one."""
        cells = self._state.accounts.lots.cells
        return tuple(cells[leg.number][account] for leg in self._state.legs_of(instrument))

    def positions(self, instrument: int, accounts: Accounts) -> Int64Array:
        """Signed lots of these accounts, net of both legs."""
        array = self._state.accounts.lots.array
        long, *short = (_columns(array[leg.number], accounts) for leg in self._state.legs_of(instrument))
        return sum(short, long)

    def open_interest_lots(self, instrument: int) -> int:
        """Sum of the long positions."""
        lots = self._state.accounts.lots.array[instrument]
        return int(lots[lots > 0].sum())

    def wallets(self, accounts: Accounts) -> Int64Array:
        """Settlement asset in the wallets."""
        return _columns(self._state.accounts.balances.array[self._state.settle], accounts)

    def holdings(self, asset: int, accounts: Accounts) -> Int64Array:
        """Atoms of an asset in the wallets."""
        return _columns(self._state.accounts.balances.array[asset], accounts)

    def equities(self, accounts: Accounts) -> Int64Array:
        """Equity over all compartments of each account, in atoms of the settlement asset, without haircut."""
        return _columns(customer_equities(self._state) + collateral_values(self._state), accounts)

    def isolated(self, instrument: int, accounts: Accounts) -> Int64Array:
        """1 where the position in this instrument answers with its own margin only."""
        return _columns(self._state.accounts.isolated.array[instrument], accounts)

    def cross_margin(self, account: int) -> tuple[int, int]:
        """(equity, maintenance requirement) of the cross pool, in atoms."""
        risk = risk_of(self._state, (account, self._state.settle))
        return risk.equity_atoms, risk.maintenance_atoms

    def margin_level(self, account: int) -> str:
        """Name of the rulebook's level that the cross pool is in; "ok" above all of them."""
        risk = risk_of(self._state, (account, self._state.settle))
        return level_of(self._state.rules.portfolio.levels, risk.margin_atoms, risk.maintenance_atoms)

    def isolated_margin(self, instrument: int, account: int) -> tuple[int, int]:
        """(equity, maintenance requirement) of an isolated position, in atoms."""
        risk = risk_of(self._state, (account, self._state.pocket(instrument)))
        return risk.equity_atoms, risk.maintenance_atoms

    def withdrawable_atoms(self, account: int) -> int:
        """Settlement asset that may leave now; beside a debt that nobody paid the account's share of it."""
        return may_leave_atoms(self._state, account)

    def default_fund(self, moves_ticks: Sequence[int]) -> tuple[int, int]:
        """(held, required) atoms of the default fund, if every mark moved so."""
        losses = stressed_losses(self._state, moves_ticks)
        held = self._state.accounts.balances.cells[self._state.settle][DEFAULT_FUND]
        return held, required_atoms(list(losses.values()), self._state.rules.default_fund.cover)

    def lending(self) -> LendingTerms | None:
        """None where the rulebook has no pool."""
        state = self._state
        if state.lending is None or state.rules.lending is None:
            return None
        held, owed = lenders.pool_atoms(state), lenders.owed_atoms(state)
        rate = annual_rate_ppb(state.rules.lending, utilisation_ppb(owed, held))
        return LendingTerms(held, lenders.cash_atoms(state), owed, rate, state.lending.index)

    def supplied(self, account: int) -> tuple[int, int]:
        """(shares, what they are worth in atoms) of an account in the lending pool."""
        pool = self._state.lending
        shares = 0 if pool is None else pool.shares.get(account, 0)
        return shares, 0 if pool is None else claim_atoms(shares, pool.index)

    def orders(self, account: int, instrument: int) -> list[tuple[int, int, int, int]]:
        """(order_id, side, price_ticks, open lots) of the account's resting orders, oldest first in a leg."""
        orders = self._state.orders
        slots = ((account, leg.number) for leg in self._state.legs_of(instrument))
        own = (orders[i] for slot in slots for i in self._state.own_orders.get(slot, ()) if i in orders)
        return [(o.order_id, o.side, o.price_ticks, o.open_lots) for o in own]

    def statement(self) -> Statement:
        """The venue's own account of what is held and what is owed, in the settlement asset."""
        state = self._state
        accounts = state.accounts
        lines: list[str] = []
        for letter, array in (("b", accounts.balances.array), ("l", accounts.lots.array)):
            rows, columns = np.nonzero(array)
            held = zip(columns.tolist(), rows.tolist(), array[rows, columns].tolist(), strict=True)
            lines += [f"{letter} {account} {row} {amount}\n" for account, row, amount in sorted(held)]
        debt = -accounts.balances.cells[state.settle][DEFICIT]
        everybody = np.array([INSURANCE, *range(FIRST_ACCOUNT, accounts.count)], np.int64)
        pooled = pooled_equity(state, everybody)[0]
        debt -= sum(pooled[pooled < 0].tolist())
        for market in state.contracts:
            isolated = np.flatnonzero(accounts.isolated.array[market.number, : accounts.count]).tolist()
            for account in isolated:
                debt += max(0, -risk_of(state, (account, state.pocket(market.number))).equity_atoms)
        digest = blake2b("".join(lines).encode(), digest_size=16).hexdigest()
        return Statement(digest, debt, sum(state.receivables.values()))
