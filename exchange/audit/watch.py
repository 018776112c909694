"""Looking at every compartment that could have fallen, without looking at all of them every time."""

from bisect import bisect_right

from zerodebt.exchange.audit.arithmetic import PPB
from zerodebt.exchange.audit.calls import Calls
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
MOVE_LOTS = 10**9


class Watch:
    """Full passes now and then; between them, those whom the marks' moves could have reached."""

    def __init__(
        self,
        notes: Notes,
        holdings: Holdings,
        debts: Debts,
        calls: Calls,
        liquidations: Liquidations,
        prices: Prices,
    ) -> None:
        self._notes = notes
        self._holdings = holdings
        self._debts = debts
        self._calls = calls
        self._liquidations = liquidations
        self._prices = prices
        self._find = notes.find
        self._settle = holdings.settle
        self._markets = holdings.markets
        self._assets = holdings.assets
        self._watched: list[tuple[int, int, int]] = []
        self._watched_from: list[int] = []
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
        for market in self._markets:
            if not market.is_spot:
                self._check_sums(market)
        holdings, is_turn = self._holdings, self._index_batches % FULL_PASS_EVERY == 0
        if holdings.all_touched or holdings.pledges or is_turn:
            self.full_pass()
        else:
            self._look_at_changed()
        if not self._liquidations.is_work_left:
            self._liquidations.check_backstop_came()
        self._index_batches += 1

    def _check_sums(self, market: Market) -> None:
        """Clearing holds what all positions cost, and every lot that is long is short somewhere."""
        clearing = self._holdings.balances[market.pocket][CLEARING]
        cost = sum(leg.cost_sum for leg in market.legs)
        lots = sum(leg.lots_sum for leg in market.legs)
        if clearing != -cost:
            self._find(
                "LEDG-02", f"clearing of instrument {market.number} is {clearing}, positions cost {cost}"
            )
        if lots:
            self._find("(b)", f"positions of instrument {market.number} sum to {lots} lots, not to 0")

    def _look_at_changed(self) -> None:
        """Between full passes: who changed, who is in trouble, absorbers, and whom the marks reach."""
        holdings, debts, settle = self._holdings, self._debts, self._settle
        self._changed |= holdings.touched
        for account in self._changed:
            debts.look_at_account(account)
        self._look_at_watched()
        absorbers = [(account, settle) for account in (INSURANCE, HOUSE, *holdings.serving)]
        absorbers += [(INSURANCE, pocket) for pocket in holdings.alone.get(INSURANCE, ())]
        for account, pocket in (*self._liquidations.open, *debts.standing, *absorbers):
            debts.look_at(account, pocket, holdings.equity(account, pocket))

    def _look_at_watched(self) -> None:
        """Look at every compartment that the marks' moves since the last full pass could have brought down.

        A move of m takes at most m times gross value off equity and adds at most m times the requirement's
        bound.
        """
        move = self._move_ppb()
        if move is None:
            self.full_pass()
            return
        reached = bisect_right(self._watched, (move, len(self._holdings.held), 0))
        if reached > WATCHED_MAX:
            self.full_pass()
            return
        settle, assets, worths = self._settle, self._assets, self._holdings.worths
        balances, held, all_alone = self._holdings.balances, self._holdings.held, self._holdings.alone
        known, nowhere = self._liquidations.open, frozenset[int]()
        value_of, markets = self._holdings.value, self._holdings.slots
        bounds = [market.most for market in markets]
        per_lot = [market.most_per_lot(abs(value_of(market, 1)) + market.dust) for market in markets]
        for _, account, pocket in self._watched[:reached]:
            if (account, pocket) in known:
                continue
            equity, most = balances[pocket][account], 0
            alone = all_alone.get(account, nowhere)
            for n, (lots, cost, _) in held[account].items():
                where = assets + n if assets + n in alone else settle
                worth = worths[n]
                if where == pocket and worth is not None:
                    value = worth(lots)
                    equity += value - cost
                    size, bound = abs(lots), bounds[n]
                    if bound is None:
                        most += size * per_lot[n]
                    else:
                        most += bound(abs(cost if markets[n].is_at_entry else value), size)
            if equity <= most:
                self._check_noticed(account, pocket)
            if equity < 0:
                self._debts.look_at(account, pocket, equity)

    def _move_ppb(self) -> int | None:
        """The largest move of a value since the last full pass, rounded up; None beyond all of it."""
        largest = 0
        for value, before in zip(self._values(), self._watched_from, strict=True):
            if value != before:
                if not value or not before:
                    return None
                largest = max(largest, abs(value - before) * PPB // abs(before) + 1)
        return largest if largest <= PPB else None

    def _values(self) -> list[int]:
        """Many lots of each market at its mark: so many that a value's rounding does not matter beside it."""
        return [self._holdings.value(market, MOVE_LOTS) for market in self._markets]

    def full_pass(self) -> None:
        """Look at every compartment: none below zero goes unseen, none below its requirement unliquidated."""
        self._notes.counts["full_passes"] += 1
        holdings = self._holdings
        self._watched = []
        self._look_at_positions()
        self._watched.sort()
        self._watched_from = self._values()
        self._changed.clear()
        for account, pockets in holdings.alone.items():
            for pocket in sorted(pockets):
                if holdings.balances[pocket][account] < 0:
                    self._debts.look_at(account, pocket, holdings.equity(account, pocket))
        for account in (INSURANCE, HOUSE):
            self._debts.look_at(account, self._settle, holdings.equity(account, self._settle))
        for account, pocket in list(self._debts.standing):
            self._debts.look_at(account, pocket, holdings.equity(account, pocket))

    def _look_at_positions(self) -> None:
        """One walk over each market's holders: isolated positions at once, cross pools when all is summed."""
        holdings, settle = self._holdings, self._settle
        equities = list(holdings.balances[settle])
        requirements = [0] * len(equities)
        gross = [0] * len(equities)
        for market in holdings.contracts:
            worth = holdings.worths[market.number]
            if worth is None:
                continue
            isolated, dust, bound = market.isolated, market.dust, market.most
            per_lot = market.most_per_lot(abs(worth(1)) + dust)
            pocket, margins = market.pocket, holdings.balances[market.pocket]
            for account, (lots, cost, _) in market.holders.items():
                value = worth(lots)
                notional, size = abs(value), abs(lots)
                if bound is None:
                    required = dust + size * per_lot
                else:
                    required = dust + bound(abs(cost) if market.is_at_entry else notional, size)
                if account in isolated:
                    self._look(account, pocket, margins[account] + value - cost, required, notional + dust)
                else:
                    equities[account] += value - cost
                    requirements[account] += required
                    gross[account] += notional + dust
        for account in range(FIRST_ACCOUNT, len(equities)):
            equity, required = equities[account], requirements[account]
            if holdings.pledges:
                self._look_at_pool(account, equity, required)
            elif required and account not in holdings.serving:
                self._look(account, settle, equity, required, gross[account])
            elif equity < 0:
                self._debts.look_at(account, settle, equity)

    def _look_at_pool(self, account: int, equity: int, most: int) -> None:
        """A cross pool whose collateral moves with other prices than those that are watched."""
        pool = equity + self._holdings.worth(account)
        if pool < 0:
            self._debts.look_at(account, self._settle, pool)
        if equity + self._holdings.collateral_margin(account) <= most:
            self._check_noticed(account, self._settle)

    def _look(self, account: int, pocket: int, equity: int, most: int, gross: int) -> None:
        """Remember how far the marks may move before this compartment could be below `most`, its bound."""
        self._watched.append(((equity - most) * PPB // (gross + most), account, pocket))
        if equity <= most:
            self._check_noticed(account, pocket)
        if equity < 0:
            self._debts.look_at(account, pocket, equity)

    def _check_noticed(self, account: int, pocket: int) -> None:
        is_judged = self._prices.is_marked or self._calls.settled_now
        if not is_judged or self._liquidations.is_work_left:
            return
        if (account, pocket) in self._liquidations.open or not self._holdings.is_protected(account):
            return
        if self._calls.is_left_alone(account, pocket):
            return
        risk = self._holdings.risk(account, pocket)
        if risk.is_short:
            self._find(
                "LIQ-02",
                f"account {account} pocket {pocket} is unnoticed with equity {risk.margin_atoms}, below "
                f"{risk.maintenance_atoms}",
            )
