"""Looking at every compartment that could have fallen, without looking at all of them every time."""

from bisect import bisect_right

from zerodebt.exchange.audit.arithmetic import PPB
from zerodebt.exchange.audit.debts import Debts
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.liquidations import Liquidations
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.prices import Prices
from zerodebt.exchange.events import (
    CLEARING,
    FIRST_ACCOUNT,
    HOUSE,
    INSURANCE,
)

FULL_PASS_EVERY = 16
WATCHED_MAX = 4000


class Watch:
    """Full passes now and then; between them, those whom the marks' moves could have reached."""

    def __init__(
        self, notes: Notes, holdings: Holdings, debts: Debts, liquidations: Liquidations, prices: Prices
    ) -> None:
        self._notes = notes
        self._holdings = holdings
        self._debts = debts
        self._liquidations = liquidations
        self._prices = prices
        self._find = notes.find
        self._settle = holdings.settle
        self._markets = holdings.markets
        self._assets = holdings.assets
        self._watch: list[tuple[int, int, int]] = []
        self._watched_from: list[int | None] = []
        self._changed: set[int] = set()
        self._index_batches = 0

    def rest(self) -> None:
        """Look at what the command touched; after marks, at whomever they could have brought down."""
        holdings = self._holdings
        if self._prices.is_marked:
            self._rest_after_marks()
        elif holdings.all_touched:
            self.full_pass()
        else:
            for account in holdings.touched:
                self._debts.look_at_account(account)
        self._changed |= holdings.touched

    def _rest_after_marks(self) -> None:
        self._prices.rest()
        for market in self._holdings.contracts:
            clearing = self._holdings.balances[market.pocket][CLEARING]
            if clearing != -market.cost_sum:
                self._find(
                    "LEDG-02",
                    f"clearing of instrument {market.number} is {clearing}, positions cost {market.cost_sum}",
                )
            if market.lots_sum:
                self._find(
                    "(b)", f"positions of instrument {market.number} sum to {market.lots_sum} lots, not to 0"
                )
        if self._holdings.all_touched or self._index_batches % FULL_PASS_EVERY == 0:
            self.full_pass()
        else:
            settle = self._settle
            self._changed |= self._holdings.touched
            for account in self._changed:
                self._debts.look_at_account(account)
            self._look_at_watched()
            for account, pocket in list(self._liquidations.open):
                self._debts.look_at(account, pocket, self._holdings.equity(account, pocket))
            for account, pocket in list(self._debts.standing):
                self._debts.look_at(account, pocket, self._holdings.equity(account, pocket))
            for account in (INSURANCE, HOUSE, *self._holdings.serving):
                self._debts.look_at(account, settle, self._holdings.equity(account, settle))
        if not self._liquidations.is_work_left:
            self._liquidations.check_backstop_came()
        self._index_batches += 1

    def _look_at_watched(self) -> None:
        """Look at every compartment that the marks' moves since the last full pass could have brought down.

        A move of m takes at most m times gross value off equity and adds at most m times the requirement.
        """
        move = 0
        for value, before in zip(self._holdings.lot_values, self._watched_from, strict=True):
            if value != before:
                if not value or not before:
                    self.full_pass()
                    return
                move = max(move, abs(value - before) * PPB // abs(before) + 1)
        reached = bisect_right(self._watch, (move, len(self._holdings.held), 0))
        if reached > WATCHED_MAX:
            self.full_pass()
            return
        settle, assets, values = self._settle, self._assets, self._holdings.lot_values
        balances, all_held, known, nobody = (
            self._holdings.balances,
            self._holdings.held,
            self._liquidations.open,
            frozenset[int](),
        )
        per_lot = [
            abs(value or 0) // m.most_required[0] + 1 + m.most_required[1] for value, m in self._valued()
        ]
        for _, account, pocket in self._watch[:reached]:
            if (account, pocket) in known:
                continue
            equity = balances[pocket][account]
            most = 0
            alone = self._holdings.alone.get(account, nobody)
            for n, (lots, cost, _) in all_held[account].items():
                where = assets + n if assets + n in alone else settle
                value = values[n]
                if where == pocket and value is not None:
                    equity += lots * value - cost
                    most += abs(lots) * per_lot[n]
            if equity < most:
                self._check_noticed(account, pocket)
            if equity < 0:
                self._debts.look_at(account, pocket, equity)

    def _valued(self) -> list[tuple[int | None, Market]]:
        return list(zip(self._holdings.lot_values, self._markets, strict=True))

    def full_pass(self) -> None:
        """Look at every compartment: none below zero goes unseen, none below its requirement unliquidated."""
        self._notes.counts["full_passes"] += 1
        settle, assets = self._settle, self._assets
        debts = self._debts.standing
        equities = list(self._holdings.balances[settle])
        requirements = [0] * len(equities)
        gross = [0] * len(equities)
        watch: list[tuple[int, int, int]] = []
        for market in self._holdings.contracts:
            value = self._holdings.lot_values[market.number]
            if value is None:
                continue
            isolated, (slope, floor) = market.isolated, market.most_required
            per_lot = abs(value) // slope + 1 + floor
            for account, (lots, cost, _) in market.holders.items():
                if account not in isolated:
                    equities[account] += lots * value - cost
                    requirements[account] += abs(lots) * per_lot
                    gross[account] += abs(lots * value)
                else:
                    required, own = abs(lots) * per_lot, self._holdings.balances[market.pocket][account]
                    excess = own + lots * value - cost - required
                    watch.append((excess * PPB // (abs(lots * value) + required), account, market.pocket))
        for account in range(FIRST_ACCOUNT, len(equities)):
            equity = equities[account]
            required = requirements[account]
            if required and account not in self._holdings.serving:
                watch.append(((equity - required) * PPB // (gross[account] + required), account, settle))
                if equity < required:
                    self._check_noticed(account, settle)
            if equity < 0 or (debts and (account, settle) in debts):
                self._debts.look_at(account, settle, equity)
        watch.sort()
        self._watch = watch
        self._watched_from = list(self._holdings.lot_values)
        self._changed.clear()
        for account, pockets in self._holdings.alone.items():
            for pocket in sorted(pockets):
                if (
                    self._holdings.balances[pocket][account]
                    or pocket - assets in self._holdings.held[account]
                ):
                    self._debts.look_at(account, pocket, self._holdings.equity(account, pocket))
                    self._check_noticed(account, pocket)
        for account in (INSURANCE, HOUSE):
            self._debts.look_at(account, settle, self._holdings.equity(account, settle))
        for account, pocket in list(debts):
            self._debts.look_at(account, pocket, self._holdings.equity(account, pocket))

    def _check_noticed(self, account: int, pocket: int) -> None:
        if (
            not self._prices.is_marked
            or self._liquidations.is_work_left
            or (account, pocket) in self._liquidations.open
        ):
            return
        if account in self._holdings.serving:
            return
        equity, required = self._holdings.risk(account, pocket)
        if equity < required:
            self._find(
                "LIQ-02",
                f"account {account} pocket {pocket} is unnoticed with equity {equity}, below {required}",
            )
