"""Selling collateral for what an account owes in the settlement asset.

A negative balance that collateral outweighs is a liability, not a debt. It is sold off when the rulebook's
trigger says so, when the account is liquidated, and, all of it, before anybody else pays for a bankrupt
account. Assets are sold in the order of the rulebook's collateral tables, as forced orders in their spot
market down to `ExchangeRules.price_ratio_ppb` of the index, free of fees. What the market does not buy waits;
of a bankrupt account, or of one in liquidation without positions, an insurance fund that the waterfall names
takes it at that price, for money that it has. The fund sells its own assets in the same way for what it lacks
when a deficit is its to pay. An asset with a redemption lag goes to its issuer instead, at the index; he pays
when the lag is over.
"""

import numpy as np

from zerodebt.exchange.accounts import BACKSTOP
from zerodebt.exchange.clearing import Clearing
from zerodebt.exchange.collateral import Collateral, margin_array, worth_atoms
from zerodebt.exchange.commands import SELL, PlaceOrder
from zerodebt.exchange.events import (
    EXTERNAL,
    FIRST_ACCOUNT,
    INSURANCE,
    ConversionReason,
    Converted,
    ExchangeArmed,
    OrderClosed,
    RedemptionSent,
)
from zerodebt.exchange.instruments import value_atoms
from zerodebt.exchange.judge import Pools
from zerodebt.exchange.matching import Plan, plan_fills
from zerodebt.exchange.rules import ExchangeRules
from zerodebt.exchange.state import Redemption, State
from zerodebt.exchange.units import PPB, div_ceil, mul_ppb_ceil, mul_ppb_floor, mul_ppb_floor_array
from zerodebt.exchange.waterfall import pools


def sold_value_atoms(rules: ExchangeRules, owed_atoms: int) -> int:
    """Value at the index of the collateral that is sold for what is owed, rounded up.

    Even at the price limit it brings all that is owed. Source: Binance FAQ, Multi-Assets auto-exchange.
    """
    return div_ceil(owed_atoms * PPB, rules.price_ratio_ppb)


def sold_atoms(collateral: Collateral, value_atoms: int) -> int:
    """Atoms of an asset that are worth at least `value_atoms` at the index."""
    return div_ceil(value_atoms * collateral.market.instrument.lot_atoms, collateral.lot_value_atoms)


def affordable_atoms(rules: ExchangeRules, collateral: Collateral, cash_atoms: int) -> int:
    """Atoms of an asset that cash surely pays for at the index times the price ratio, rounded down."""
    lot_atoms = collateral.market.instrument.lot_atoms
    return cash_atoms * PPB * lot_atoms // (rules.price_ratio_ppb * collateral.lot_value_atoms)


def limit_ticks(rules: ExchangeRules, collateral: Collateral) -> int:
    """The lowest price that collateral is sold at, rounded up to the tick."""
    index = collateral.market.prices.index_ticks
    assert index is not None
    return mul_ppb_ceil(index, rules.price_ratio_ppb)


_PURCHASES_MAX = 6
"""How often the fund can buy of one asset in a row: what is left after the first time pays for less than the
price of an atom and two atoms more, because worth and payment are each rounded down by less than one. Where
an atom of the asset costs four or more, one of them is all that this buys; otherwise it is at most five atoms
of money, and each purchase takes one or more.
"""


class Conversions:
    """Sells through a clearing.

    For a liability (`exchange`) an account goes to the spot books at most once a command. A bankrupt account
    goes there in each round that finds it below zero, and the fund for each deficit that its money does not
    cover.
    """

    def __init__(self, state: State, clearing: Clearing) -> None:
        self.state = state
        self.clearing = clearing
        self._sent: set[int] = set()

    def begin(self) -> None:
        self._sent.clear()

    def due(self) -> list[tuple[int, ConversionReason]]:
        """Accounts whose liability has reached a trigger, in one vectorised pass; the absorbers' at once."""
        state = self.state
        if not state.collateral:
            return []
        accounts, rules = state.accounts, state.rules.exchange
        owed = -accounts.balances.array[state.settle, : accounts.count]
        owed -= accounts.coming.array[:, : accounts.count].sum(axis=0)
        rows = np.flatnonzero(owed > 0)
        rows = rows[(rows >= FIRST_ACCOUNT) | (rows == INSURANCE)]
        owed = owed[rows]
        held = np.zeros(rows.shape, np.bool_)
        backing = np.zeros_like(owed)
        for collateral in state.collateral:
            coins = accounts.balances.array[collateral.asset, rows]
            held |= coins > 0
            backing += margin_array(collateral, coins)
        absorbs = (accounts.vault.array[0, rows] == BACKSTOP) | (rows == INSURANCE)
        by_size = absorbs.copy()
        by_share = np.zeros_like(by_size)
        if rules.trigger_atoms:
            by_size |= owed >= rules.trigger_atoms
        if rules.trigger_ltv_ppb:
            by_share = owed >= -mul_ppb_floor_array(-backing, rules.trigger_ltv_ppb)
        return [
            (int(rows[k]), "owed" if by_size[k] else "loan_to_value")
            for k in np.flatnonzero(held & (by_size | by_share)).tolist()
        ]

    def exchange(self, account: int, because: ConversionReason) -> bool:
        """Sell what brings in all that the account owes; says whether anything was sold."""
        if account in self._sent:
            return False
        self._sent.add(account)
        sold = False
        for collateral in self.state.collateral:
            owed = self._owed(account)
            if owed <= 0:
                break
            sold |= self._sell_for(account, collateral, owed, because)
        return sold

    def raise_cash(self, atoms: int) -> None:
        """Sell of the fund's own assets what brings in what its wallet lacks of `atoms`.

        A fund that needs them for losses of its own sells nothing for others.
        """
        if not pools.may_sell(self.state):
            return
        for collateral in self.state.collateral:
            lacking = atoms - pools.money_atoms(self.state, (INSURANCE, self.state.settle))
            if lacking > 0 and not collateral.rule.redemption_lag_ns:
                self._sell_for(INSURANCE, collateral, lacking, "insurance")

    def raisable_atoms(self) -> int:
        """What the spot books would bring now for all of the fund's own assets."""
        brought = 0
        if not pools.may_sell(self.state):
            return brought
        for collateral in self.state.collateral:
            market = collateral.market
            lots = self._held(INSURANCE, collateral) // market.instrument.lot_atoms
            is_sold = not collateral.rule.redemption_lag_ns and self.state.status[market.number].liquidate
            if lots > 0 and is_sold:
                steps = self._plan(INSURANCE, collateral, lots).steps
                brought += sum(
                    value_atoms(market.instrument, step.maker.price_ticks, step.fill_lots) for step in steps
                )
        return brought

    def clear(self, account: int) -> bool:
        """What an account in liquidation without positions still owes is paid by the fund for collateral."""
        acted = False
        for collateral in self.state.collateral:
            owed = self._owed(account)
            if owed <= 0:
                break
            value = sold_value_atoms(self.state.rules.exchange, owed)
            acted |= self._hand_over(account, collateral, sold_atoms(collateral, value))
        return acted

    def use_up(self, account: int) -> bool:
        """Turn all collateral of a bankrupt account into the settlement asset."""
        acted = False
        for collateral in self.state.collateral:
            held = self._held(account, collateral)
            acted |= self._sell(account, collateral, held, self._owed(account), "bankruptcy")
            purchases = 0
            while self._hand_over(account, collateral, self._held(account, collateral)):
                purchases += 1
                assert purchases <= _PURCHASES_MAX, f"the fund does not end buying of account {account}"
            acted |= purchases > 0
        return acted

    def is_halted(self, account: int) -> bool:
        """May some of the account's collateral not be sold now?"""
        return any(
            self._held(account, collateral) > 0 and not self.state.status[collateral.market.number].liquidate
            for collateral in self.state.collateral
        )

    def _owed(self, account: int) -> int:
        """What of its debt nothing is on its way for yet."""
        accounts = self.state.accounts
        coming = sum(row[account] for row in accounts.coming.cells)
        return -accounts.balances.cells[self.state.settle][account] - coming

    def _held(self, account: int, collateral: Collateral) -> int:
        return self.state.accounts.balances.cells[collateral.asset][account]

    def _sell_for(
        self, account: int, collateral: Collateral, owed_atoms: int, because: ConversionReason
    ) -> bool:
        """Sell as much as brings in what is owed, even at the price limit; an issuer pays the index."""
        value = owed_atoms
        if not collateral.rule.redemption_lag_ns:
            value = sold_value_atoms(self.state.rules.exchange, owed_atoms)
        return self._sell(account, collateral, sold_atoms(collateral, value), owed_atoms, because)

    def _sell(
        self, account: int, collateral: Collateral, atoms: int, owed_atoms: int, because: ConversionReason
    ) -> bool:
        """Send whole lots to the spot market, as far as they are held and the price limit allows."""
        state, clearing = self.state, self.clearing
        if collateral.rule.redemption_lag_ns:
            return self._redeem(account, collateral, atoms, because)
        market = collateral.market
        n, lot_atoms = market.number, market.instrument.lot_atoms
        lots = min(self._held(account, collateral) // lot_atoms, div_ceil(atoms, lot_atoms))
        if lots <= 0 or not state.status[n].liquidate:
            return False
        clearing.close_all(account, n, "conversion")
        plan = self._plan(account, collateral, lots)
        if not plan.steps:
            return False
        limit = limit_ticks(state.rules.exchange, collateral)
        clearing.out.append(ExchangeArmed(account, n, owed_atoms, lots, limit, because))
        taker = clearing.accept(PlaceOrder(account, n, SELL, lots, limit, "ioc"), is_forced=True)
        clearing.execute(taker, plan)
        if plan.open_lots:
            clearing.out.append(OrderClosed(taker.order_id, plan.open_lots, "unfilled"))
        return bool(plan.filled_lots)

    def _plan(self, account: int, collateral: Collateral, lots: int) -> Plan:
        """The walk of a sale down to the price limit."""
        state, market = self.state, collateral.market
        limit = limit_ticks(state.rules.exchange, collateral)
        book = state.books[market.number]
        return plan_fills(book, account, SELL, lots, limit, "cancel_oldest", Pools(state, market))

    def _redeem(self, account: int, collateral: Collateral, atoms: int, because: ConversionReason) -> bool:
        """Send collateral to its issuer, who owes its worth at the index of now, rounded down.

        The asset is gone at once, so that its price is fixed at once too: nobody bears what it does later.
        What is worth no atom stays: he takes nothing for nothing.
        """
        state = self.state
        n, index = collateral.market.number, collateral.market.prices.index_ticks
        atoms = min(atoms, self._held(account, collateral))
        paid = worth_atoms(collateral, atoms)
        if paid <= 0 or index is None or not state.status[n].liquidate:
            return False
        self.clearing.close_all(account, n, "conversion")
        due_ns = state.time_ns + collateral.rule.redemption_lag_ns
        asset = collateral.asset
        owed = self._owed(account)
        self.clearing.out.append(RedemptionSent(account, n, asset, owed, atoms, index, paid, due_ns, because))
        self.clearing.post("redemption", [(account, asset, -atoms), (EXTERNAL, asset, atoms)])
        state.redemptions.append(Redemption(due_ns, account, collateral.row, paid))
        state.accounts.coming.cells[collateral.row][account] += paid
        return True

    def _hand_over(self, account: int, collateral: Collateral, atoms: int) -> bool:
        """The insurance fund buys an asset at the index times the price ratio, as far as it has the money.

        It takes nothing for nothing.
        """
        state = self.state
        if "insurance" not in state.rules.waterfall or account == INSURANCE:
            return False
        if not collateral.is_priced or not state.status[collateral.market.number].liquidate:
            return False
        rules, cash = state.rules.exchange, pools.cash_atoms(state)
        atoms = min(atoms, self._held(account, collateral), affordable_atoms(rules, collateral, cash))
        paid = mul_ppb_floor(worth_atoms(collateral, atoms), rules.price_ratio_ppb)
        if atoms <= 0 or not paid:
            return False
        n, index = collateral.market.number, collateral.market.prices.index_ticks
        assert index is not None
        asset, settle = collateral.asset, state.settle
        self.clearing.out.append(Converted(account, n, asset, INSURANCE, atoms, index, paid))
        self.clearing.post(
            "conversion",
            [
                (account, asset, -atoms),
                (INSURANCE, asset, atoms),
                (INSURANCE, settle, -paid),
                (account, settle, paid),
            ],
        )
        state.accounts.session_base.cells[0][account] += paid
        state.accounts.session_base.cells[0][INSURANCE] -= paid
        return True
