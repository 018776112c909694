"""Forced orders: one pass over a compartment's positions in the rulebook's forms, until it is safe."""

from collections.abc import Callable, Sequence

from zerodebt.exchange.clearing import Clearing
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder, Side
from zerodebt.exchange.events import INSURANCE, OrderClosed, StageArmed, StagePaid
from zerodebt.exchange.instruments import value_atoms
from zerodebt.exchange.judge import Pools
from zerodebt.exchange.liquidation import affordable_lots, forced_lots, limit_ticks
from zerodebt.exchange.margin import Risk, maintenance_of, risk_of, size_beside
from zerodebt.exchange.marks import Market
from zerodebt.exchange.matching import Plan, first_fills, plan_fills
from zerodebt.exchange.rules import ForcedForm
from zerodebt.exchange.sessions import stands_still, within_limits
from zerodebt.exchange.state import Compartment, State
from zerodebt.exchange.waterfall import pools
from zerodebt.exchange.waterfall.allocation import closings, fund_deltas, own_atoms, weight_of, weights_of


class ForcedOrders:
    """Sends a compartment to the book once a command, and remembers what came of it until the next one.

    is_for_the_book  says whether no other stage would take the positions of a compartment as it stands
    """

    def __init__(
        self, state: State, clearing: Clearing, is_for_the_book: Callable[[Compartment, Risk], bool]
    ) -> None:
        self.state = state
        self.clearing = clearing
        self._is_for_the_book = is_for_the_book
        self._sent: set[Compartment] = set()
        self._unfilled: set[Compartment] = set()
        self._closed_atoms: dict[int, int] = {}
        self._lost_atoms: dict[int, int] = {}

    def begin(self) -> None:
        """A new command."""
        self._sent.clear()
        self._unfilled.clear()
        self._closed_atoms.clear()
        self._lost_atoms.clear()

    def is_unfilled(self, compartment: Compartment) -> bool:
        """Has it been sent, and a position's last order not filled whole, or was there none to send?"""
        return compartment in self._unfilled

    def send(self, compartment: Compartment) -> bool:
        """Send the rulebook's forced orders, the position with the largest requirement first, until safe.

        Who falls below zero by them is sent again, in the last of the forms, as long as it is the book's turn
        and the book fills: his debt does not wait for the next command beside positions that could be sold.
        """
        if compartment in self._sent or not self._is_due(compartment):
            return False
        self._sent.add(compartment)
        steps = self.state.rules.liquidation.steps
        is_filled: dict[int, bool] = {}
        acted = has_filled = self._send_in_turn(compartment, steps, is_filled)
        while has_filled and risk_of(self.state, compartment).is_bankrupt and self._is_due(compartment):
            is_filled.clear()
            has_filled = self._send_in_turn(compartment, steps[-1:], is_filled)
        if not is_filled or not all(is_filled.values()):
            self._unfilled.add(compartment)
        return acted

    def _is_due(self, compartment: Compartment) -> bool:
        return self._is_for_the_book(compartment, risk_of(self.state, compartment))

    def _send_in_turn(
        self, compartment: Compartment, forms: Sequence[ForcedForm], is_filled: dict[int, bool]
    ) -> bool:
        """Each form for each position; says whether anything was filled."""
        acted = False
        for form in forms:
            for market in self._by_requirement(compartment):
                acted |= self._force_position(compartment, market, form, is_filled)
        return acted

    def _force_position(
        self, compartment: Compartment, market: Market, form: ForcedForm, is_filled: dict[int, bool]
    ) -> bool:
        """Send one order of a form, or one a tier of the ladder, while orders fill and it is not safe yet.

        is_filled  by slot: was the last order for the position filled whole? Written here
        """
        state = self.state
        rules = state.rules.liquidation
        account, n, instrument = compartment[0], market.number, market.instrument_number
        acted = False
        for _ in market.margin.lowers if form == "ladder" else (0,):
            risk = risk_of(state, compartment)
            if risk.is_safe or not self._is_for_the_book(compartment, risk):
                break
            if stands_still(state, instrument):
                break
            lots = state.accounts.lots.cells[n][account]
            size = self._forced_lots(market, form, lots, risk, account)
            if not size:
                break
            side: Side = SELL if lots > 0 else BUY
            own = self._own_equity(compartment, market, form, lots, risk)
            limit = self._forced_limit(account, market, lots, size, risk, own)
            tif = rules.ladder_tif if form == "ladder" else "ioc"
            order = PlaceOrder(account, instrument, side, size, limit, tif, reduce_only=True)
            plan = self._send(compartment, market, form, risk, order)
            filled = plan.filled_lots if plan else 0
            is_filled[n] = filled == size
            if not plan or not filled:
                break
            acted = True
            if form == "share" and size < abs(lots):
                state.cooling_until[account, n] = state.time_ns + rules.cooldown_ns
            if filled < size:
                break
        return acted

    def _forced_lots(self, market: Market, form: ForcedForm, lots: int, risk: Risk, account: int) -> int:
        state = self.state
        rules = state.rules
        cooling = state.cooling_until.get((account, market.number), -1) >= state.time_ns
        size = forced_lots(
            rules.liquidation,
            form,
            market,
            lots,
            state.accounts.cost.cells[market.number][account],
            risk,
            rules.fees.liquidation_ppb,
            is_cooling=cooling,
            beside=size_beside(state, market, account),
        )
        if risk.is_bankrupt:
            return size
        used = self._closed_atoms.get(account, 0)
        notional = abs(market.value_atoms(lots))
        return min(size, affordable_lots(rules.liquidation, abs(lots), notional, used))

    def _own_equity(
        self, compartment: Compartment, market: Market, form: ForcedForm, lots: int, risk: Risk
    ) -> int:
        """Equity that a forced order may use up: all of it, or, where the fund shares, the position's own."""
        if form != "whole" or not self.state.rules.liquidation.surplus_max_ppb:
            return risk.equity_atoms
        account = compartment[0]
        whole = sum(weights_of(self.state, account, self.state.positions_of(compartment)))
        return own_atoms(risk.equity_atoms, weight_of(self.state, account, market, lots), whole)

    def _forced_limit(
        self, account: int, market: Market, lots: int, closed_lots: int, risk: Risk, own_atoms: int
    ) -> int | None:
        """The rulebook's price limit; a bankrupt position that no stage would take goes at any price."""
        limit = None
        if not risk.is_bankrupt:
            rules = self.state.rules.liquidation
            lost = self._lost_atoms.get(account, 0)
            cost = self.state.accounts.cost.cells[market.number][account]
            beside = size_beside(self.state, market, account)
            limit = limit_ticks(rules, market, lots, cost, closed_lots, risk, own_atoms, lost, beside=beside)
        return within_limits(self.state, market.instrument_number, -lots, limit)

    def _send(
        self, compartment: Compartment, market: Market, form: ForcedForm, risk: Risk, order: PlaceOrder
    ) -> Plan | None:
        """Execute a forced order as far as the rulebook's fund bears it.

        None when nothing is met, or a fill-or-kill order cannot be filled.
        """
        state = self.state
        clearing = self.clearing
        n = order.instrument
        plan = plan_fills(
            state.books[n],
            order.account,
            order.side,
            order.size_lots,
            order.price_ticks,
            "cancel_oldest",
            Pools(state, state.markets[n]),
        )
        deltas = self._fund_deltas(compartment, market, form, risk, order.side, plan)
        plan = first_fills(plan, len(deltas))
        if not plan.steps or (order.tif == "fok" and plan.open_lots):
            return None
        because = "equity is below the maintenance requirement"
        clearing.out.append(
            StageArmed(
                "book", *compartment, risk.equity_atoms, risk.maintenance_atoms, because, risk.haircut_atoms
            )
        )
        taker = clearing.accept(order, is_forced=True)
        clearing.execute(taker, plan)
        if plan.open_lots:
            clearing.out.append(OrderClosed(taker.order_id, plan.open_lots, "unfilled"))
        account = order.account
        closed = abs(state.markets[n].value_atoms(plan.filled_lots))
        self._closed_atoms[account] = self._closed_atoms.get(account, 0) + closed
        delta = sum(deltas)
        self._settle_with_fund(compartment, market, delta)
        lost = max(0, -risk_of(state, compartment).equity_atoms) - max(0, -risk.equity_atoms)
        self._lost_atoms[account] = self._lost_atoms.get(account, 0) + max(0, lost) + max(0, -delta)
        return plan

    def _fund_deltas(
        self, compartment: Compartment, market: Market, form: ForcedForm, risk: Risk, side: Side, plan: Plan
    ) -> list[int]:
        """What the fund receives or pays for each fill of a plan that may be made.

        It receives what a `whole` order brings beyond the bankruptcy price, up to the rulebook's share.
        """
        state = self.state
        rules = state.rules.liquidation
        pool = state.compartment_of(INSURANCE, market.instrument_number)
        fund = pools.payable_atoms(state, pool) if rules.shortfall == "fund" else None
        fills = [(side * step.fill_lots, step.maker.price_ticks) for step in plan.steps if step.fill_lots]
        quotes = [(lots, -value_atoms(market.instrument, price, lots)) for lots, price in fills]
        return fund_deltas(
            closings(state, compartment[0], market, quotes),
            risk.equity_atoms,
            sum(weights_of(state, compartment[0], state.positions_of(compartment))),
            rules.surplus_max_ppb if form == "whole" else 0,
            fund,
        )

    def _settle_with_fund(self, compartment: Compartment, market: Market, delta_atoms: int) -> None:
        """Post what the fund receives, as far as there is equity after fees, or what it pays."""
        equity = risk_of(self.state, compartment).equity_atoms
        atoms = min(delta_atoms, max(0, equity))
        pool = self.state.compartment_of(INSURANCE, market.instrument_number)
        self.clearing.post("surplus", [(*compartment, -atoms), (*pool, atoms)])
        if atoms < 0:
            self.clearing.out.append(StagePaid(0, "insurance", INSURANCE, -atoms))

    def _by_requirement(self, compartment: Compartment) -> list[Market]:
        account = compartment[0]

        def requirement(market: Market) -> int:
            lots = self.state.accounts.lots.cells[market.number][account]
            return maintenance_of(self.state, market, account, lots)

        return sorted(self.state.positions_of(compartment), key=lambda m: (-requirement(m), m.number))
