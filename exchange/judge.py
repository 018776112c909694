"""Margin after a plan and before its commit: may the account do this? Refuses, or says nothing."""

from zerodebt.exchange.book import Order
from zerodebt.exchange.clearing import isolation_atoms
from zerodebt.exchange.collateral import free_atoms
from zerodebt.exchange.commands import BUY, SELL
from zerodebt.exchange.instruments import closing_ticks, value_atoms
from zerodebt.exchange.margin import (
    Change,
    Held,
    Risk,
    initial_at_mark,
    initial_excess_atoms,
    maintenance_after,
    risk_of,
    sale_cost_atoms,
    standing_loss_atoms,
)
from zerodebt.exchange.marks import Market
from zerodebt.exchange.matching import Plan, reducible_lots
from zerodebt.exchange.position import apply_fill
from zerodebt.exchange.reject import RejectReason, refuse
from zerodebt.exchange.state import Compartment, State
from zerodebt.exchange.units import mul_ppb_ceil


def judge_order(
    state: State,
    market: Market,
    account: int,
    side: int,
    plan: Plan,
    resting_lots: int,
    price: int | None,
    reduce_only: bool,
    released: Order | None = None,
) -> None:
    """Margin after the plan, with all resting orders at their worst; reducing risk is always allowed.

    market    holds the position that the order is for
    released  an own resting order that would leave the book
    """
    n = market.number
    filled = sum(step.fill_lots for step in plan.steps)
    instrument = market.instrument
    values = [value_atoms(instrument, s.maker.price_ticks, side * s.fill_lots) for s in plan.steps]
    value = sum(values)
    fee = sum(mul_ppb_ceil(abs(part), state.rules.fees.taker_ppb) for part in values)
    resting_value = value_atoms(instrument, price, resting_lots) if price is not None and resting_lots else 0
    if market.instrument.kind == "spot":
        value *= side
        _judge_spot(state, market, account, side, filled, value, fee, resting_lots, resting_value, released)
        return
    held = state.accounts.lots.cells[n][account]
    after = held + side * filled
    ceiling = market.instrument.open_interest_max_lots
    if state.open_interest[market.instrument_number] + _growth(state, market, account, side, plan) > ceiling:
        refuse(RejectReason.OPEN_INTEREST_CAP, f"at most {ceiling} lots")
    gap = market.value_atoms(side * filled) - value
    adds_lots = 0 if reduce_only else resting_lots
    adds_value = 0 if reduce_only else resting_value
    freed = released.open_lots if released is not None and not released.reduce_only else 0
    freed_value = value_atoms(instrument, released.price_ticks, freed) if released is not None else 0
    isolated = bool(state.accounts.isolated.cells[n][account])
    wallet = gap - fee
    if isolated:
        wallet = -_isolated_need(state, market, account, side, filled, value, gap) - fee
    buys = side == BUY
    change = Change(
        n,
        side * filled,
        wallet,
        adds_lots - freed if buys else 0,
        0 if buys else adds_lots - freed,
        adds_value - freed_value if buys else 0,
        0 if buys else adds_value - freed_value,
    )
    excess = initial_excess_atoms(state, account, change)
    if excess >= 0:
        return
    only_reduces = abs(after) <= abs(held) and held * after >= 0 and adds_lots <= freed
    if only_reduces and (isolated or _is_safer(state, market, account, after, gap - fee)):
        return
    refuse(RejectReason.MARGIN_TOO_SMALL, f"{-excess} atoms are missing")


def _growth(state: State, market: Market, account: int, side: int, plan: Plan) -> int:
    """Lots by which a plan's fills would change the open interest."""
    cells = state.accounts.lots.cells
    taken = (market.number, account)
    changes: dict[tuple[int, int], int] = {}
    for step in plan.steps:
        changes[taken] = changes.get(taken, 0) + side * step.fill_lots
        made = (state.leg_of_order(step.maker).number, step.maker.account)
        changes[made] = changes.get(made, 0) - side * step.fill_lots
    return sum(max(cells[n][a] + lots, 0) - max(cells[n][a], 0) for (n, a), lots in changes.items())


def _isolated_need(
    state: State, market: Market, account: int, side: int, filled: int, value: int, gap: int
) -> int:
    """Margin that fills of an isolated position take from the wallet; what closes must not leave a debt.

    Nor does new margin pay for a debt that a closed one has left, as under margin calls until they are due.
    value  of the fills in atoms, signed; gap  what they gain against the mark
    """
    held = state.accounts.lots.cells[market.number][account]
    after = held + side * filled
    if held * after < 0:
        opened = abs(after)
        if risk_of(state, state.compartment_of(account, market.number)).equity_atoms + gap < 0:
            refuse(RejectReason.MARGIN_TOO_SMALL, "closing the isolated position would leave a debt")
    else:
        opened = max(0, abs(after) - abs(held))
        if abs(after) < abs(held) and not _is_safer(state, market, account, after, gap):
            refuse(RejectReason.MARGIN_TOO_SMALL, "the isolated position would be left worse off")
    if not opened:
        return 0
    pocket = state.compartment_of(account, market.number)
    if held * side >= 0 and not risk_of(state, pocket).is_safe:
        refuse(RejectReason.MARGIN_TOO_SMALL, "the isolated position is below its requirement")
    average = closing_ticks(market.instrument, side * filled, value)
    margin = isolation_atoms(state, market, account, opened, side, average)
    cash = state.accounts.balances.cells[state.settle][account]
    if cash < margin:
        refuse(RejectReason.BALANCE_TOO_SMALL, f"{margin} atoms of margin, {cash} in the wallet")
    return margin


def _is_safer(state: State, market: Market, account: int, lots_after: int, gained_atoms: int) -> bool:
    """Does a reducing fill leave equity over requirement at least as high? Cross-multiplied. MARG-03."""
    n = market.number
    before = risk_of(state, state.compartment_of(account, n))
    required = maintenance_after(state, state.compartment_of(account, n), before, [(market, lots_after)])
    margin = before.margin_atoms + gained_atoms
    return before.equity_atoms + gained_atoms >= min(0, before.equity_atoms) and (
        margin * before.maintenance_atoms >= before.margin_atoms * required
    )


def _judge_spot(
    state: State,
    market: Market,
    account: int,
    side: int,
    filled: int,
    value: int,
    fee: int,
    resting_lots: int,
    resting_value: int,
    released: Order | None,
) -> None:
    """A spot order may spend what is not promised: the quote asset for buys, the base for sells."""
    instrument = market.instrument
    if side == SELL:
        free = free_atoms(state.accounts, state.markets, account, instrument.base_asset)
        free += released.open_lots * instrument.lot_atoms if released else 0
        needed = (filled + resting_lots) * instrument.lot_atoms
        _judge_sale(state, market, account, filled, value - fee, resting_lots, resting_value)
    else:
        free = free_atoms(state.accounts, state.markets, account, instrument.settle_asset)
        if instrument.settle_asset == state.settle:
            free = min(free, initial_excess_atoms(state, account))
        free += value_atoms(instrument, released.price_ticks, released.open_lots) if released else 0
        needed = value + fee + resting_value
        needed += mul_ppb_ceil(resting_value, max(0, state.rules.fees.maker_ppb))
    if needed > free:
        refuse(RejectReason.BALANCE_TOO_SMALL, f"{needed} atoms needed, {free} free")


def _judge_sale(
    state: State, market: Market, account: int, filled: int, brought: int, resting_lots: int, value: int
) -> None:
    """Collateral may be sold for less than it counts for only out of what the account can spare."""
    later = value - mul_ppb_ceil(value, max(0, state.rules.fees.maker_ppb))
    cost = max(
        sale_cost_atoms(state, account, market, filled, brought),
        sale_cost_atoms(state, account, market, filled + resting_lots, brought + later),
    )
    if cost and cost > initial_excess_atoms(state, account):
        refuse(RejectReason.MARGIN_TOO_SMALL, f"the sale takes {cost} atoms off the margin")


def judge_quotes(state: State, market: Market, account: int, placed: list[tuple[int, int, int]]) -> None:
    n = market.number
    totals: dict[int, list[int]] = {BUY: [0, 0], SELL: [0, 0]}
    for side, price, lots in placed:
        totals[side][0] += lots
        totals[side][1] += value_atoms(market.instrument, price, lots)
    accounts = state.accounts
    if market.instrument.kind == "spot":
        _judge_spot_quotes(state, market, account, totals[BUY][1], *totals[SELL])
        return
    change = Change(
        n,
        0,
        0,
        totals[BUY][0] - accounts.buy_lots.cells[n][account],
        totals[SELL][0] - accounts.sell_lots.cells[n][account],
        totals[BUY][1] - accounts.buy_value.cells[n][account],
        totals[SELL][1] - accounts.sell_value.cells[n][account],
    )
    if not placed:
        return
    excess = initial_excess_atoms(state, account, change)
    if excess < 0:
        refuse(RejectReason.MARGIN_TOO_SMALL, f"{-excess} atoms are missing")


def _judge_spot_quotes(
    state: State, market: Market, account: int, buy_value: int, sell_lots: int, sell_value: int
) -> None:
    """What is quoted must be there beside all promises but those of the quotes that it replaces."""
    instrument = market.instrument
    n = market.number
    own_lots = state.accounts.sell_lots.cells[n][account]
    coins = free_atoms(state.accounts, state.markets, account, instrument.base_asset)
    coins += own_lots * instrument.lot_atoms
    if sell_lots * instrument.lot_atoms > coins:
        refuse(RejectReason.BALANCE_TOO_SMALL, f"{coins} atoms of the base asset are free")
    _judge_sale(state, market, account, 0, 0, sell_lots, sell_value)
    free = free_atoms(state.accounts, state.markets, account, instrument.settle_asset)
    if instrument.settle_asset == state.settle:
        free = min(free, initial_excess_atoms(state, account))
    free += state.accounts.buy_value.cells[n][account]
    needed = buy_value + mul_ppb_ceil(buy_value, max(0, state.rules.fees.maker_ppb))
    if buy_value and needed > free:
        refuse(RejectReason.BALANCE_TOO_SMALL, f"{needed} atoms needed, {free} free")


def isolated_spare_atoms(state: State, market: Market, account: int) -> int:
    """Margin that an isolated position can spare: above its initial requirement, never its profit."""
    n = market.number
    pocket = state.pocket(n)
    risk = risk_of(state, (account, pocket))
    lots = state.accounts.lots.cells[n][account]
    share = mul_ppb_ceil(abs(market.value_atoms(lots)), state.rules.margin.transfer_min_ppb)
    leverage = state.accounts.leverage.cells[n][account]
    needed = max(initial_at_mark(state, market, abs(lots), leverage), share)
    spare = risk.equity_atoms - standing_loss_atoms(state, market, lots) - needed
    return max(0, min(state.accounts.balances.cells[pocket][account], spare))


class Pools:
    """The makers of one walk: a fill may leave none of them below maintenance at the mark (MARG-07).

    His order was judged when it came; since then prices moved, and no index need have seen it.
    """

    def __init__(self, state: State, market: Market) -> None:
        self._state = state
        self._market = market
        self._planned: dict[tuple[int, int], Held] = {}
        self._gained: dict[Compartment, int] = {}
        self._risks: dict[Compartment, Risk] = {}

    def position_lots(self, maker: Order) -> int:
        """Signed position that the order is for, after the fills planned so far."""
        return self._after(maker.account, self._state.leg_of_order(maker))

    def _after(self, account: int, leg: Market) -> int:
        return self._held(account, leg)[0]

    def _held(self, account: int, leg: Market) -> Held:
        """Signed lots and their cost after the fills planned so far."""
        planned = self._planned.get((account, leg.number))
        if planned is not None:
            return planned
        accounts = self._state.accounts
        return accounts.lots.cells[leg.number][account], accounts.cost.cells[leg.number][account]

    def take(self, maker: Order, lots: int) -> None:
        """Plan these lots."""
        leg = self._state.leg_of_order(maker)
        compartment = self._state.compartment_of(maker.account, leg.number)
        value = value_atoms(leg.instrument, maker.price_ticks, maker.side * lots)
        held, cost = self._held(maker.account, leg)
        change = apply_fill(held, cost, cost, maker.side * lots, value)
        self._planned[maker.account, leg.number] = change.lots, change.cost
        self._gained[compartment] = self._gained.get(compartment, 0) + self._gain(maker, lots)

    def bearable_lots(self, maker: Order, lots: int) -> int:
        """All of them, or as far as they only reduce and leave no debt: in liquidation never more."""
        account = maker.account
        market = self._state.leg_of_order(maker)
        compartment = self._state.compartment_of(account, market.number)
        risk = self._risks.get(compartment)
        if risk is None:
            risk = self._risks[compartment] = risk_of(self._state, compartment)
        gained = self._gained.get(compartment, 0)
        equity = risk.equity_atoms + gained
        margin = risk.margin_atoms + gained
        if market.instrument.kind == "spot":
            spare = margin - risk.maintenance_atoms + self._gain(maker, lots)
            if maker.side == SELL:
                moved = self._after(account, market)
                brought = gained + self._gain(maker, lots)
                cost = sale_cost_atoms(self._state, account, market, lots - moved, brought)
                return lots if not cost or spare - brought >= cost else 0
            cash = self._state.accounts.balances.cells[market.instrument.settle_asset][account]
            return lots if min(spare, cash + self._gain(maker, lots)) >= 0 else 0
        after = self._after(account, market) + maker.side * lots
        legs, planned = [(market, after)], {market: self._held(account, market)}
        other = self._state.other_leg(account, market)
        if other is not None:
            legs.append((other, self._after(account, other)))
            planned[other] = self._held(account, other)
        required = maintenance_after(self._state, compartment, risk, legs, planned)
        gain, isolated = self._gain(maker, lots), self._isolated_atoms(maker, after)
        pays_debt = bool(isolated) and risk.equity_atoms < 0 and equity + gain < 0
        closing = min(lots, reducible_lots(self._after(account, market), maker.side))
        may_open = compartment not in self._state.in_liquidation or closing == lots
        if may_open and isolated is not None and margin + gain + isolated >= required and not pays_debt:
            return lots
        gain = self._gain(maker, closing)
        return closing if gain >= 0 or equity + gain >= 0 else 0

    def _gain(self, maker: Order, lots: int) -> int:
        """What a fill gains its maker against the mark; on spot what it brings into the wallet."""
        market = self._market
        if market.instrument.kind == "spot":
            return -value_atoms(market.instrument, maker.price_ticks, maker.side * lots)
        return market.gain_atoms(maker.side * lots, maker.price_ticks)

    def _isolated_atoms(self, maker: Order, after: int) -> int | None:
        """Margin that the cross pool brings for the lots that an isolated position opens; None: too much."""
        state, account = self._state, maker.account
        market = state.leg_of_order(maker)
        if not state.accounts.isolated.cells[market.number][account]:
            return 0
        held = state.accounts.lots.cells[market.number][account]
        opened = abs(after) if held * after < 0 else abs(after) - abs(held)
        if opened <= 0:
            return 0
        pool = risk_of(state, (account, state.settle))
        cash = state.accounts.balances.cells[state.settle][account]
        wanted = isolation_atoms(state, market, account, opened, maker.side, maker.price_ticks)
        return wanted if wanted <= min(cash, pool.margin_atoms - pool.maintenance_atoms) else None
