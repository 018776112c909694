"""One command in, its events out.

The way of a command: stamp, gate, plan, judge, commit, consequences, answer. Everything up to the commit only
reads; a refused command leaves `state_hash` as it was.
"""

from collections.abc import Callable
from typing import Any, NoReturn, Self

import numpy as np

from zerodebt.exchange.accounts import BACKSTOP, VAULT, Table
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.book import Order
from zerodebt.exchange.clearing import Clearing, Taker, isolation_atoms
from zerodebt.exchange.collateral import free_atoms
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AmendOrder,
    CancelAll,
    CancelOrder,
    Command,
    Deposit,
    LoadPositions,
    MassQuote,
    OpenAccounts,
    PlaceOrder,
    SetBackstop,
    SetLeverage,
    SetStatus,
    SettleInstrument,
    Tick,
    TransferMargin,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import (
    CLEARING,
    DEFICIT,
    EXTERNAL,
    FIRST_ACCOUNT,
    HOUSE,
    INSURANCE,
    ROUNDING,
    AccountsOpened,
    BackstopSet,
    Batch,
    Event,
    Filled,
    FundingSampled,
    FundingSet,
    LeverageSet,
    Marked,
    Opened,
    OrderAmended,
    OrderClosed,
    PositionsLoaded,
    Quoted,
    Rejected,
    Settled,
    StatusSet,
    TriggerFired,
    WorkLeft,
)
from zerodebt.exchange.funding import payment_atoms, premium_ppt, rate_ppt
from zerodebt.exchange.instruments import Instrument, maintenance_atoms, order_step_ticks
from zerodebt.exchange.ledger import Leg
from zerodebt.exchange.margin import Change, initial_excess_atoms, risk_of, withdrawable_atoms
from zerodebt.exchange.marks import Market, mark_inputs, mark_ticks, move_ppb, observe, source_median
from zerodebt.exchange.matching import Plan, plan_fills, reducible_lots
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rounds import RiskRounds
from zerodebt.exchange.rules import VenueRules
from zerodebt.exchange.state import State, Status
from zerodebt.exchange.triggers import is_met
from zerodebt.exchange.units import div_ceil, div_floor, mul_ppb_ceil, mul_ppb_floor
from zerodebt.exchange.views import View

_AMOUNT_MAX = 2**60
_METER_MAX_PPB = 2**60


class _RefusedError(Exception):
    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _refuse(reason: RejectReason, detail: str = "") -> NoReturn:
    raise _RefusedError(reason, detail)


class Venue:
    """A deterministic exchange and clearing house: `apply` is its only way to change."""

    def __init__(
        self, rules: VenueRules, assets: tuple[Asset, ...], instruments: tuple[Instrument, ...]
    ) -> None:
        self._state = State(rules, assets, instruments)
        self._clearing = Clearing(self._state)
        self._rounds = RiskRounds(self._state, self._clearing)
        self.view = View(self._state)
        self._commands: dict[type, Callable[[Any], None]] = {
            OpenAccounts: self._open_accounts,
            Deposit: self._deposit,
            Withdraw: self._withdraw,
            LoadPositions: self._load_positions,
            SetBackstop: self._set_backstop,
            SetLeverage: self._set_leverage,
            TransferMargin: self._transfer_margin,
            PlaceOrder: self._place_order,
            AmendOrder: self._amend_order,
            CancelOrder: self._cancel_order,
            CancelAll: self._cancel_all,
            MassQuote: self._mass_quote,
            UpdateIndex: self._update_index,
            Tick: self._tick,
            SetStatus: self._set_status,
            SettleInstrument: self._settle_instrument,
        }

    @property
    def seq(self) -> int:
        """Number of the last command."""
        return self._state.seq

    def opening(self) -> Batch:
        """The first batch of every run: rulebook, assets, instruments."""
        state = self._state
        return Batch(0, state.time_ns, (Opened(state.rules, state.assets, state.instruments),))

    def state_hash(self) -> str:
        return self._state.hash()

    def snapshot(self) -> bytes:
        return self._state.snapshot()

    @classmethod
    def restore(
        cls,
        rules: VenueRules,
        assets: tuple[Asset, ...],
        instruments: tuple[Instrument, ...],
        snapshot: bytes,
    ) -> Self:
        """A venue that goes on where the snapshot was taken."""
        venue = cls(rules, assets, instruments)
        venue._state.restore(snapshot)
        return venue

    def apply(self, command: Command, time_ns: int) -> Batch:
        """Apply one command; time never runs back, and a refusal is a `Rejected` event and nothing else."""
        state = self._state
        out: list[Event] = []
        self._clearing.out = out
        state.seq += 1
        try:
            if time_ns < state.time_ns:
                _refuse(RejectReason.TIME_RUNS_BACK, f"{time_ns} is before {state.time_ns}")
            state.time_ns = time_ns
            self._commands[type(command)](command)
            self._clearing.close_attached()
        except _RefusedError as refused:
            assert not out, "a refused command has changed something"
            tag = str(command.__struct_config__.tag)
            out.append(Rejected(getattr(command, "account", -1), refused.reason, refused.detail, tag))
        return Batch(state.seq, state.time_ns, tuple(out))

    # Accounts and money

    def _open_accounts(self, command: OpenAccounts) -> None:
        if not 1 <= command.count <= 10_000_000:
            _refuse(RejectReason.SIZE_NOT_POSITIVE, f"count is {command.count}, allowed is 1..10000000")
        state = self._state
        accounts = state.accounts
        first = accounts.open(command.count)
        opened = slice(first, first + command.count)
        accounts.vault.array[0, opened] = VAULT if command.role == "vault" else 0
        for market in state.contracts:
            leverage = market.instrument.tiers[0].leverage_max
            accounts.leverage.array[market.number, opened] = leverage
        self._clearing.out.append(AccountsOpened(first, command.count, command.role))

    def _deposit(self, command: Deposit) -> None:
        state = self._state
        first = command.first_account
        customers = state.accounts.is_customer(first) and state.accounts.is_customer(
            first + len(command.atoms) - 1
        )
        if not customers and not (first in (INSURANCE, HOUSE) and len(command.atoms) == 1):
            self._gate_customer(first)
            _refuse(RejectReason.UNKNOWN_ACCOUNT, f"{first} and the {len(command.atoms) - 1} after it")
        self._gate_asset(command.asset)
        if not command.atoms or min(command.atoms) < 0 or not any(command.atoms):
            _refuse(RejectReason.AMOUNT_NOT_POSITIVE, "amounts are 0 or more, one of them more")
        if max(command.atoms) > _AMOUNT_MAX or sum(command.atoms) > _AMOUNT_MAX:
            _refuse(RejectReason.AMOUNT_TOO_LARGE, f"at most {_AMOUNT_MAX} atoms")
        if -state.accounts.balances.cells[command.asset][EXTERNAL] + sum(command.atoms) > _AMOUNT_MAX:
            _refuse(RejectReason.AMOUNT_TOO_LARGE, f"at most {_AMOUNT_MAX} atoms may be brought in")
        legs = [(first + k, command.asset, atoms) for k, atoms in enumerate(command.atoms)]
        self._clearing.post("deposit", [*legs, (EXTERNAL, command.asset, -sum(command.atoms))])
        if command.asset == state.settle:
            base = state.accounts.session_base.cells[0]
            for account, _, atoms in legs:
                base[account] += atoms

    def _withdraw(self, command: Withdraw) -> None:
        state = self._state
        account, asset, atoms = command.account, command.asset, command.atoms
        self._gate_customer(account)
        self._gate_asset(asset)
        self._gate_not_in_liquidation(account)
        if asset == state.settle:
            self._gate_marked(account)
        if atoms <= 0:
            _refuse(RejectReason.AMOUNT_NOT_POSITIVE, f"{atoms} atoms")
        if asset == state.settle:
            most = withdrawable_atoms(state, account)
        else:
            most = max(0, free_atoms(state.accounts, state.markets, account, asset))
        if atoms > most:
            _refuse(RejectReason.BALANCE_TOO_SMALL, f"{atoms} atoms asked, {most} may leave")
        hole = -state.accounts.balances.cells[asset][DEFICIT]
        if asset == state.settle and (state.open_deficits or hole > 0):
            custody = -state.accounts.balances.cells[asset][EXTERNAL]
            share = 0 if state.open_deficits else div_floor(most * custody, custody + hole)
            if atoms > share:
                _refuse(RejectReason.DEFICIT_OPEN, f"{atoms} atoms asked, {share} is the share of custody")
        self._clearing.post("withdrawal", [(account, asset, -atoms), (EXTERNAL, asset, atoms)])
        if asset == state.settle:
            state.accounts.session_base.cells[0][account] -= atoms

    def _load_positions(self, command: LoadPositions) -> None:
        """Positions of the start; see the command. Everything is checked before anything changes."""
        state = self._state
        market = self._gate_contract(command.instrument)
        if state.counters.started:
            _refuse(RejectReason.ALREADY_STARTED, "positions are loaded before the first index")
        n = market.number
        accounts = state.accounts
        columns = (command.lots, command.entry_ticks, command.leverage, command.isolated_atoms)
        if any(len(column) != len(command.accounts) for column in columns) or not command.accounts:
            _refuse(RejectReason.CONTRADICTION, "columns differ in length or are empty")
        if len(set(command.accounts)) != len(command.accounts):
            _refuse(RejectReason.CONTRADICTION, "an account is named twice")
        if sum(command.lots) != 0 or 0 in command.lots:
            _refuse(RejectReason.CONTRADICTION, f"signed lots sum to {sum(command.lots)}, or one is zero")
        longs = sum(lots for lots in command.lots if lots > 0) + state.open_interest[n]
        if longs > market.instrument.open_interest_max_lots:
            _refuse(RejectReason.OPEN_INTEREST_CAP, f"{longs} lots, allowed are at most the cap")
        self._gate_price(market, command.price_ticks, on_step=False)
        wallet = accounts.balances.cells[state.settle]
        leverage_max = market.instrument.tiers[0].leverage_max
        for account, _, entry, leverage, isolated in zip(command.accounts, *columns, strict=True):
            self._gate_customer(account)
            if accounts.lots.cells[n][account]:
                _refuse(RejectReason.CONTRADICTION, f"account {account} has a position already")
            if isolated and accounts.vault.cells[0][account]:
                _refuse(
                    RejectReason.CONTRADICTION, f"account {account} is a vault: its positions answer together"
                )
            self._gate_price(market, entry, on_step=False)
            if not 1 <= leverage <= leverage_max:
                _refuse(RejectReason.LEVERAGE_OUT_OF_RANGE, f"{leverage}, allowed is 1..{leverage_max}")
            if not 0 <= isolated <= max(0, wallet[account]):
                _refuse(RejectReason.BALANCE_TOO_SMALL, f"account {account} has {wallet[account]} atoms")
        self._clearing.out.append(
            PositionsLoaded(n, command.price_ticks, command.accounts, command.lots, *columns[1:])
        )
        legs: list[Leg] = []
        for account, lots, entry, leverage, isolated in zip(command.accounts, *columns, strict=True):
            accounts.lots.cells[n][account] = lots
            accounts.cost.cells[n][account] = lots * command.price_ticks * market.tick_value
            accounts.entry_cost.cells[n][account] = lots * entry * market.tick_value
            accounts.leverage.cells[n][account] = leverage
            accounts.isolated.cells[n][account] = int(isolated > 0)
            if isolated:
                legs += [(account, state.settle, -isolated), (account, state.pocket(n), isolated)]
            self._clearing.touch(account)
        state.open_interest[n] = longs
        self._clearing.post("isolate", legs)

    def _set_backstop(self, command: SetBackstop) -> None:
        self._gate_customer(command.account)
        if not self._state.accounts.vault.cells[0][command.account]:
            _refuse(RejectReason.UNKNOWN_ACCOUNT, f"account {command.account} is not a vault")
        for instrument in command.instruments:
            self._gate_contract(instrument)
        state = self._state
        for instrument in command.instruments:
            state.backstops[instrument] = command.account
        serving = set(state.backstops.values())
        for account in np.flatnonzero(state.accounts.vault.array[0, : state.accounts.count]).tolist():
            state.accounts.vault.cells[0][account] = BACKSTOP if account in serving else VAULT
            self._clearing.touch(account)
        self._clearing.out.append(BackstopSet(command.account, command.instruments))

    def _set_leverage(self, command: SetLeverage) -> None:
        state = self._state
        self._gate_customer(command.account)
        market = self._gate_contract(command.instrument)
        self._gate_not_in_liquidation(command.account)
        self._gate_marked(command.account)
        n, account = market.number, command.account
        leverage_max = market.instrument.tiers[0].leverage_max
        if not 1 <= command.leverage <= leverage_max:
            _refuse(RejectReason.LEVERAGE_OUT_OF_RANGE, f"{command.leverage}, allowed is 1..{leverage_max}")
        isolated = int(command.mode == "isolated")
        if isolated and state.accounts.vault.cells[0][account]:
            _refuse(RejectReason.MODE_HAS_POSITION, "a vault's positions answer together")
        changes_mode = isolated != state.accounts.isolated.cells[n][account]
        if changes_mode and (state.accounts.lots.cells[n][account] or state.own_orders.get((account, n))):
            _refuse(RejectReason.MODE_HAS_POSITION, f"instrument {market.instrument.symbol}")
        before = state.accounts.leverage.cells[n][account]
        state.accounts.leverage.cells[n][account] = command.leverage
        if command.leverage < before and initial_excess_atoms(state, account) < 0:
            state.accounts.leverage.cells[n][account] = before
            _refuse(RejectReason.MARGIN_TOO_SMALL, f"leverage {command.leverage} asks for more margin")
        state.accounts.isolated.cells[n][account] = isolated
        self._clearing.out.append(LeverageSet(account, n, command.leverage, command.mode))

    def _transfer_margin(self, command: TransferMargin) -> None:
        state = self._state
        account, atoms = command.account, command.atoms
        self._gate_customer(account)
        market = self._gate_contract(command.instrument)
        n = market.number
        if not state.accounts.isolated.cells[n][account] or not state.accounts.lots.cells[n][account]:
            _refuse(RejectReason.WRONG_KIND, f"no isolated position in {market.instrument.symbol}")
        if not atoms:
            _refuse(RejectReason.NOTHING_TO_DO, "0 atoms")
        self._gate_marked(account)
        if atoms > 0:
            most = withdrawable_atoms(state, account)
        else:
            self._gate_not_in_liquidation(account)
            most = self._isolated_spare_atoms(market, account)
        if abs(atoms) > most:
            _refuse(RejectReason.BALANCE_TOO_SMALL, f"{abs(atoms)} atoms asked, {most} may move")
        pocket = state.pocket(n)
        self._clearing.post("isolate", [(account, state.settle, -atoms), (account, pocket, atoms)])

    def _isolated_spare_atoms(self, market: Market, account: int) -> int:
        """Margin that an isolated position can spare: above its initial requirement, never its profit."""
        state = self._state
        n = market.number
        pocket = state.pocket(n)
        risk = risk_of(state, (account, pocket))
        notional = abs(state.accounts.lots.cells[n][account] * market.lot_value_atoms)
        share = mul_ppb_ceil(notional, state.rules.margin.transfer_min_ppb)
        needed = max(
            -(-notional // state.accounts.leverage.cells[n][account]), 2 * risk.maintenance_atoms, share
        )
        return max(0, min(state.accounts.balances.cells[pocket][account], risk.equity_atoms - needed))

    # Orders

    def _place_order(self, order: PlaceOrder) -> None:
        market = self._gate_order(order)
        if order.trigger is not None:
            self._arm(market, order)
        else:
            self._enter(market, order)
        self._after_fills(market)

    def _gate_order(self, order: PlaceOrder) -> Market:
        """The pure checks of a new order, in the declared order of the reasons."""
        state = self._state
        self._gate_trader(order.account)
        market = self._gate_instrument(order.instrument)
        if market.instrument.kind == "spot" and (order.reduce_only or order.trigger):
            _refuse(RejectReason.WRONG_KIND, "spot knows no reduce-only orders and no triggers")
        n = market.number
        reduces = reducible_lots(state.accounts.lots.cells[n][order.account], order.side) >= order.size_lots
        if not (order.reduce_only or reduces):
            self._gate_not_in_liquidation(order.account)
        status = state.status[n]
        if not (status.open or (status.reduce and (order.reduce_only or reduces))):
            _refuse(RejectReason.HALTED, f"{market.instrument.symbol} takes no such orders now")
        if market.prices.mark_ticks is None:
            _refuse(RejectReason.NO_PRICE, market.instrument.symbol)
        self._gate_size(market, order.size_lots)
        if order.price_ticks is not None:
            self._gate_price(market, order.price_ticks, on_step=True)
        if order.trigger is not None:
            self._gate_price(market, order.trigger.price_ticks, on_step=False)
        price = market.prices.mark_ticks if order.price_ticks is None else order.price_ticks
        value = abs(price * order.size_lots * market.tick_value)
        if value < state.rules.orders.value_min_atoms and not order.reduce_only:
            _refuse(
                RejectReason.VALUE_TOO_SMALL,
                f"{value} atoms, allowed are {state.rules.orders.value_min_atoms} and more",
            )
        if state.accounts.orders.cells[0][order.account] >= state.rules.orders.open_orders_max:
            _refuse(RejectReason.TOO_MANY_ORDERS, f"at most {state.rules.orders.open_orders_max}")
        if order.price_ticks is None and ((order.tif == "gtc" and order.trigger is None) or order.post_only):
            _refuse(RejectReason.CONTRADICTION, "a market order is ioc or fok and never post-only")
        if order.post_only and (order.tif != "gtc" or order.trigger is not None):
            _refuse(RejectReason.CONTRADICTION, "a post-only order is gtc and has no trigger")
        return market

    def _arm(self, market: Market, order: PlaceOrder) -> None:
        assert order.trigger is not None
        prices = market.prices
        reference = prices.mark_ticks if order.trigger.reference == "mark" else prices.last_ticks
        if reference is not None and is_met(order.trigger, order.side, reference):
            _refuse(RejectReason.TRIGGER_ALREADY_MET, f"{order.trigger.reference} is {reference}")
        self._clearing.arm(order)

    def _enter(self, market: Market, order: PlaceOrder) -> None:
        """Plan, judge and commit an order that is not waiting for a trigger."""
        state = self._state
        n = market.number
        size = order.size_lots
        if order.reduce_only:
            size = min(size, reducible_lots(state.accounts.lots.cells[n][order.account], order.side))
            if not size:
                _refuse(RejectReason.REDUCE_ONLY_NOTHING, "no position on the other side")
        limit = self._slippage_limit(market, order.side) if order.price_ticks is None else order.price_ticks
        plan = self._plan(market, order.account, order.side, size, limit, order)
        if order.post_only and state.books[n].would_take(order.side, order.price_ticks or 0):
            _refuse(RejectReason.WOULD_TAKE, f"best is {state.books[n].best_ticks(-order.side)}")
        if order.tif == "fok" and plan.filled_lots < size:
            _refuse(RejectReason.CANNOT_FILL, f"{plan.filled_lots} of {size} lots")
        if order.price_ticks is None and not plan.steps:
            _refuse(RejectReason.NO_LIQUIDITY, market.instrument.symbol)
        rests = order.tif == "gtc" and plan.stopped is None
        resting = plan.open_lots if rests else 0
        self._judge(market, order.account, order.side, plan, resting, order.price_ticks, order.reduce_only)
        if order.size_lots != size:
            order = PlaceOrder(
                order.account, n, order.side, size, order.price_ticks, order.tif, order.post_only, True
            )
        taker = self._clearing.accept(order)
        self._clearing.execute(taker, plan)
        self._leave(taker, plan, order.price_ticks if rests else None, order.reduce_only, order.post_only)

    def _slippage_limit(self, market: Market, side: int) -> int | None:
        """How far a market order may go: rounded towards the mark."""
        share = self._state.rules.orders.market_slippage_ppb
        mark = market.prices.mark_ticks
        assert mark is not None
        return mark + side * mul_ppb_floor(abs(mark), share) if share else None

    def _plan(
        self, market: Market, account: int, side: int, size: int, price: int | None, order: PlaceOrder | None
    ) -> Plan:
        state = self._state
        return plan_fills(
            state.books[market.number],
            account,
            side,
            size,
            price,
            order.self_trade if order else "cancel_oldest",
            state.accounts.lots.cells[market.number],
            {owner for owner, _ in state.in_liquidation},
        )

    def _leave(
        self,
        taker: Taker,
        plan: Plan,
        price: int | None,
        reduce_only: bool,
        post_only: bool,
        filled: int = 0,
    ) -> None:
        """Rest what is left of an order (with a price), or close it."""
        if not plan.open_lots:
            return
        if price is None:
            reason = "self_trade" if plan.stopped else "unfilled"
            self._clearing.out.append(OrderClosed(taker.order_id, plan.open_lots, reason))  # type: ignore[arg-type]
            return
        self._clearing.rest(
            Order(
                taker.order_id,
                taker.account,
                taker.instrument,
                taker.side,
                price,
                plan.open_lots,
                filled + plan.filled_lots,
                reduce_only,
                post_only,
            )
        )

    def _judge(
        self,
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

        `released` is an own resting order that would leave the book.
        """
        state = self._state
        n = market.number
        filled = sum(step.fill_lots for step in plan.steps)
        value = sum(step.fill_lots * step.maker.price_ticks for step in plan.steps) * market.tick_value
        fee = mul_ppb_ceil(abs(value), state.rules.fees.taker_ppb)
        resting_value = resting_lots * (price or 0) * market.tick_value
        if market.instrument.kind == "spot":
            self._judge_spot(market, account, side, filled, value, fee, resting_lots, resting_value, released)
            return
        held = state.accounts.lots.cells[n][account]
        after = held + side * filled
        ceiling = market.instrument.open_interest_max_lots
        if state.open_interest[n] + self._growth(market, account, side, plan) > ceiling:
            _refuse(RejectReason.OPEN_INTEREST_CAP, f"at most {ceiling} lots")
        gap = side * (filled * market.lot_value_atoms - value)
        adds_lots = 0 if reduce_only else resting_lots
        adds_value = 0 if reduce_only else resting_value
        freed = released.open_lots if released is not None and not released.reduce_only else 0
        freed_value = freed * released.price_ticks * market.tick_value if released is not None else 0
        isolated = bool(state.accounts.isolated.cells[n][account])
        wallet = gap - fee
        if isolated:
            wallet = -self._isolated_need(market, account, side, filled, value, gap) - fee
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
        if only_reduces and (isolated or self._is_safer(market, account, after, gap - fee)):
            return
        _refuse(RejectReason.MARGIN_TOO_SMALL, f"{-excess} atoms are missing")

    def _growth(self, market: Market, account: int, side: int, plan: Plan) -> int:
        """Lots by which a plan's fills would change the open interest."""
        cells = self._state.accounts.lots.cells[market.number]
        changes: dict[int, int] = {}
        for step in plan.steps:
            changes[account] = changes.get(account, 0) + side * step.fill_lots
            maker = step.maker.account
            changes[maker] = changes.get(maker, 0) - side * step.fill_lots
        return sum(max(cells[who] + lots, 0) - max(cells[who], 0) for who, lots in changes.items())

    def _isolated_need(
        self, market: Market, account: int, side: int, filled: int, value: int, gap: int
    ) -> int:
        """Margin that fills of an isolated position take from the wallet; what closes must not leave a debt.

        value  of the fills in atoms; gap  what they gain against the mark
        """
        state = self._state
        held = state.accounts.lots.cells[market.number][account]
        after = held + side * filled
        if held * after < 0:
            opened = abs(after)
            if risk_of(state, state.compartment_of(account, market.number)).equity_atoms + gap < 0:
                _refuse(RejectReason.MARGIN_TOO_SMALL, "closing the isolated position would leave a debt")
        else:
            opened = max(0, abs(after) - abs(held))
            if abs(after) < abs(held) and not self._is_safer(market, account, after, gap):
                _refuse(RejectReason.MARGIN_TOO_SMALL, "the isolated position would be left worse off")
        if not opened:
            return 0
        ticks = div_ceil if side == BUY else div_floor
        average = ticks(value, filled * market.tick_value)
        margin = isolation_atoms(state, market, account, opened, side, average)
        cash = state.accounts.balances.cells[state.settle][account]
        if cash < margin:
            _refuse(RejectReason.BALANCE_TOO_SMALL, f"{margin} atoms of margin, {cash} in the wallet")
        return margin

    def _is_safer(self, market: Market, account: int, lots_after: int, gained_atoms: int) -> bool:
        """Does a reducing fill leave equity over requirement at least as high? Cross-multiplied. MARG-03."""
        state = self._state
        n = market.number
        before = risk_of(state, state.compartment_of(account, n))
        held = state.accounts.lots.cells[n][account]
        mark = market.lot_value_atoms
        required = before.maintenance_atoms
        required -= maintenance_atoms(market.margin, abs(held * mark), abs(held))
        required += maintenance_atoms(market.margin, abs(lots_after * mark), abs(lots_after))
        equity = before.equity_atoms + gained_atoms
        return equity >= min(0, before.equity_atoms) and (
            equity * before.maintenance_atoms >= before.equity_atoms * required
        )

    def _judge_spot(
        self,
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
        state = self._state
        instrument = market.instrument
        if side == SELL:
            free = free_atoms(state.accounts, state.markets, account, instrument.base_asset)
            free += released.open_lots * instrument.lot_atoms if released else 0
            needed = (filled + resting_lots) * instrument.lot_atoms
        else:
            free = free_atoms(state.accounts, state.markets, account, instrument.settle_asset)
            if instrument.settle_asset == state.settle:
                free = min(free, initial_excess_atoms(state, account))
            free += released.open_lots * released.price_ticks * market.tick_value if released else 0
            needed = value + fee + resting_value
            needed += mul_ppb_ceil(resting_value, max(0, state.rules.fees.maker_ppb))
        if needed > free:
            _refuse(RejectReason.BALANCE_TOO_SMALL, f"{needed} atoms needed, {free} free")

    def _amend_order(self, command: AmendOrder) -> None:
        """A smaller size keeps the place; anything else leaves the book and enters again under its id."""
        state = self._state
        self._gate_trader(command.account)
        order = self._gate_own(command.account, command.order_id)
        market = state.markets[order.instrument]
        price = order.price_ticks if command.price_ticks is None else command.price_ticks
        size = order.open_lots + order.filled_lots if command.size_lots is None else command.size_lots
        if price == order.price_ticks and size == order.open_lots + order.filled_lots:
            _refuse(RejectReason.NOTHING_TO_DO, "price and size are as they were")
        if price != order.price_ticks or size > order.open_lots + order.filled_lots:
            self._gate_not_in_liquidation(command.account)
            if not state.status[order.instrument].open:
                _refuse(RejectReason.HALTED, f"{market.instrument.symbol} takes no such orders now")
        self._gate_size(market, size)
        if size <= order.filled_lots:
            _refuse(RejectReason.SIZE_BELOW_FILLED, f"{order.filled_lots} lots are filled")
        self._gate_price(market, price, on_step=True)
        open_lots = size - order.filled_lots
        value = abs(price * open_lots * market.tick_value)
        if value < state.rules.orders.value_min_atoms and not order.reduce_only:
            _refuse(RejectReason.VALUE_TOO_SMALL, f"{value} atoms are left")
        if price == order.price_ticks and open_lots < order.open_lots:
            self._clearing.shrink(order, order.open_lots - open_lots)
            self._clearing.out.append(OrderAmended(order.order_id, price, open_lots, True))
            return
        if order.post_only and state.books[order.instrument].would_take(order.side, price):
            _refuse(
                RejectReason.WOULD_TAKE, f"best is {state.books[order.instrument].best_ticks(-order.side)}"
            )
        if order.reduce_only:
            position = state.accounts.lots.cells[order.instrument][order.account]
            open_lots = min(open_lots, reducible_lots(position, order.side))
            if not open_lots:
                _refuse(RejectReason.REDUCE_ONLY_NOTHING, "no position on the other side")
        plan = self._plan(market, order.account, order.side, open_lots, price, None)
        self._judge(
            market, order.account, order.side, plan, plan.open_lots, price, order.reduce_only, released=order
        )
        self._clearing.unrest(order)
        self._clearing.out.append(OrderAmended(order.order_id, price, open_lots, False))
        taker = Taker(order.order_id, order.account, order.instrument, order.side)
        self._clearing.execute(taker, plan)
        self._leave(taker, plan, price, order.reduce_only, order.post_only, order.filled_lots)
        self._after_fills(market)

    def _cancel_order(self, command: CancelOrder) -> None:
        self._gate_trader(command.account)
        armed = self._state.armed.get(command.order_id)
        if armed is None:
            self._clearing.close(self._gate_own(command.account, command.order_id), "cancelled")
            return
        if armed.order.account != command.account:
            _refuse(RejectReason.NOT_YOUR_ORDER, f"order {command.order_id}")
        self._clearing.disarm(armed)
        self._clearing.out.append(OrderClosed(armed.order_id, armed.order.size_lots, "cancelled"))

    def _cancel_all(self, command: CancelAll) -> None:
        self._gate_trader(command.account)
        markets = self._state.markets
        if command.instrument is not None:
            markets = [self._gate_instrument(command.instrument)]
        closed = sum(
            self._clearing.close_all(command.account, market.number, "cancelled") for market in markets
        )
        if not closed:
            _refuse(RejectReason.NOTHING_TO_DO, "no open orders")

    def _mass_quote(self, command: MassQuote) -> None:
        state = self._state
        account = command.account
        self._gate_customer(account)
        market = self._gate_instrument(command.instrument)
        n = market.number
        self._gate_not_in_liquidation(account)
        if not state.status[n].open:
            _refuse(RejectReason.HALTED, f"{market.instrument.symbol} takes no such orders now")
        if market.prices.mark_ticks is None:
            _refuse(RejectReason.NO_PRICE, market.instrument.symbol)
        quotes = (*command.bids, *command.asks)
        for _, lots in quotes:
            self._gate_size(market, lots)
        for price, _ in quotes:
            self._gate_price(market, price, on_step=True)
        for price, lots in quotes:
            if abs(price * lots * market.tick_value) < state.rules.orders.value_min_atoms:
                _refuse(RejectReason.VALUE_TOO_SMALL, f"{lots} lots at {price}")
        own = [i for i in state.own_orders.get((account, n), ()) if i in state.orders]
        count = state.accounts.orders.cells[0][account] - len(own) + len(command.bids) + len(command.asks)
        if count > state.rules.orders.open_orders_max:
            _refuse(RejectReason.TOO_MANY_ORDERS, f"at most {state.rules.orders.open_orders_max}")
        if command.bids and command.asks and max(command.bids)[0] >= min(command.asks)[0]:
            _refuse(RejectReason.CONTRADICTION, "own quotes would cross")
        best_ask = self._best_of_others(account, n, SELL)
        best_bid = self._best_of_others(account, n, BUY)
        levels = [(BUY, *level) for level in command.bids] + [(SELL, *level) for level in command.asks]
        placed: list[tuple[int, int, int]] = []
        refused: list[tuple[int, int, int]] = []
        for side, price, lots in levels:
            best = best_ask if side == BUY else best_bid
            takes = best is not None and side * (price - best) >= 0
            (refused if takes else placed).append((side, price, lots))
        self._judge_quotes(market, account, placed)
        for order_id in own:
            self._clearing.unrest(state.orders[order_id])
        answers = [
            (self._clearing.place(account, n, side, price, lots), side, price, lots)
            for side, price, lots in placed
        ]
        self._clearing.out.append(Quoted(account, n, tuple(own), tuple(answers), tuple(refused)))

    def _best_of_others(self, account: int, instrument: int, side: int) -> int | None:
        for order in self._state.books[instrument].walk(side):
            if order.account != account:
                return order.price_ticks
        return None

    def _judge_quotes(self, market: Market, account: int, placed: list[tuple[int, int, int]]) -> None:
        state = self._state
        n = market.number
        totals: dict[int, list[int]] = {BUY: [0, 0], SELL: [0, 0]}
        for side, price, lots in placed:
            totals[side][0] += lots
            totals[side][1] += lots * price * market.tick_value
        accounts = state.accounts
        if market.instrument.kind == "spot":
            self._judge_spot_quotes(market, account, totals[BUY][1], totals[SELL][0])
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
            _refuse(RejectReason.MARGIN_TOO_SMALL, f"{-excess} atoms are missing")

    def _judge_spot_quotes(self, market: Market, account: int, buy_value: int, sell_lots: int) -> None:
        """What is quoted must be there beside all promises but those of the quotes that it replaces."""
        state = self._state
        instrument = market.instrument
        n = market.number
        own_lots = state.accounts.sell_lots.cells[n][account]
        coins = free_atoms(state.accounts, state.markets, account, instrument.base_asset)
        coins += own_lots * instrument.lot_atoms
        if sell_lots * instrument.lot_atoms > coins:
            _refuse(RejectReason.BALANCE_TOO_SMALL, f"{coins} atoms of the base asset are free")
        free = free_atoms(state.accounts, state.markets, account, instrument.settle_asset)
        if instrument.settle_asset == state.settle:
            free = min(free, initial_excess_atoms(state, account))
        free += state.accounts.buy_value.cells[n][account]
        needed = buy_value + mul_ppb_ceil(buy_value, max(0, state.rules.fees.maker_ppb))
        if buy_value and needed > free:
            _refuse(RejectReason.BALANCE_TOO_SMALL, f"{needed} atoms needed, {free} free")

    # Prices, time and what follows from them

    def _update_index(self, command: UpdateIndex) -> None:
        state = self._state
        by_market: dict[int, list[Any]] = {}
        for seen in command.observations:
            market = self._gate_instrument(seen.instrument)
            self._gate_price(market, seen.price_ticks, on_step=False)
            if not 0 <= seen.source < len(state.rules.sources):
                _refuse(RejectReason.NO_PRICE, f"source {seen.source} is not in the rulebook")
            if seen.published_ns > state.time_ns:
                _refuse(RejectReason.TIME_RUNS_BACK, "an observation from the future")
            by_market.setdefault(market.number, []).append(seen)
        if not state.counters.started:
            spots = {n for n, source in enumerate(state.rules.sources) if source.kind == "spot"}
            oldest = state.time_ns - state.rules.margin.index_age_max_ns
            for market in state.markets:
                seen_here = by_market.get(market.number, ())
                if not any(seen.source in spots and seen.published_ns >= oldest for seen in seen_here):
                    symbol = market.instrument.symbol
                    _refuse(RejectReason.NO_PRICE, f"{symbol} has no fresh index in the first update")
        for number, observations in by_market.items():
            observe(state.markets[number], state.rules, observations)
        self._move_time()

    def _tick(self, _: Tick) -> None:
        if not self._state.counters.started:
            _refuse(RejectReason.NO_PRICE, "there was no index yet")
        self._move_time()

    def _move_time(self) -> None:
        """Index and marks, funding, then rounds of risk work until nothing is left."""
        state = self._state
        self._set_marks()
        counters = state.counters
        funding = state.rules.funding
        if not counters.started:
            counters.started = True
            counters.next_funding_ns = (state.time_ns // funding.interval_ns + 1) * funding.interval_ns
            counters.next_sample_ns = state.time_ns
        if state.time_ns >= counters.next_sample_ns:
            self._sample_funding()
            counters.next_sample_ns = (state.time_ns // funding.sample_ns + 1) * funding.sample_ns
        if state.time_ns >= counters.next_funding_ns:
            self._pay_funding((state.time_ns - counters.next_funding_ns) // funding.interval_ns + 1)
            counters.next_funding_ns = (state.time_ns // funding.interval_ns + 1) * funding.interval_ns
        self._work(state.markets, ("mark", "last"))

    def _set_marks(self) -> None:
        """Index and mark of every instrument; while forced orders are halted a mark stands still."""
        state = self._state
        rules = state.rules
        largest = 0
        for market in state.markets:
            prices = market.prices
            index = source_median(market, rules, "spot", state.time_ns)
            if index is not None:
                prices.index_ticks = index
                prices.index_at_ns = state.time_ns
            assert prices.index_ticks is not None
            inputs = mark_inputs(market, rules, state.books[market.number], prices.index_ticks, state.time_ns)
            mark = prices.index_ticks if rules.mark.formula == "index" else mark_ticks(inputs)
            mark = max(market.instrument.price_min_ticks, min(market.instrument.price_max_ticks, mark))
            if not state.status[market.number].liquidate and prices.mark_ticks is not None:
                mark = prices.mark_ticks
            if market.instrument.kind != "spot":
                largest = max(largest, move_ppb(market, mark))
            prices.previous_mark_ticks = prices.mark_ticks
            prices.mark_ticks = mark
            self._clearing.out.append(
                Marked(
                    market.number,
                    prices.index_ticks,
                    mark,
                    prices.previous_mark_ticks,
                    inputs.spread,
                    inputs.index_basis_ticks,
                    inputs.book_median_ticks,
                    inputs.perp_median_ticks,
                    inputs.book_ema_ticks,
                )
            )
        state.counters.meter_ppb += largest
        if state.counters.meter_ppb > _METER_MAX_PPB:
            state.counters.meter_ppb = 0
            state.accounts.recheck_at.array[0, FIRST_ACCOUNT:] = -1

    def _sample_funding(self) -> None:
        state = self._state
        for market in state.markets:
            if market.instrument.kind != "perpetual":
                continue
            prices = market.prices
            assert prices.index_ticks is not None
            book = state.books[market.number]
            premium = premium_ppt(book, state.rules.funding, prices.index_ticks, market.tick_value)
            prices.premium_sum_ppt += premium
            prices.premium_samples += 1
            self._clearing.out.append(FundingSampled(market.number, premium))

    def _pay_funding(self, intervals: int) -> None:
        """One posting an instrument: payers owe rounded up, receivers get rounded down."""
        state = self._state
        for market in state.markets:
            prices = market.prices
            if market.instrument.kind != "perpetual" or not prices.premium_samples:
                continue
            rate = rate_ppt(state.rules.funding, div_floor(prices.premium_sum_ppt, prices.premium_samples))
            prices.premium_sum_ppt = prices.premium_samples = 0
            price = prices.index_ticks if state.rules.funding.paid_on == "index" else prices.mark_ticks
            assert price is not None
            self._clearing.out.append(FundingSet(market.number, rate, price, intervals))
            n = market.number
            rows = np.flatnonzero(state.accounts.lots.array[n, : state.accounts.count])
            lots = state.accounts.lots.array[n, rows].tolist()
            legs: list[Leg] = []
            total = 0
            for account, held in zip(rows.tolist(), lots, strict=True):
                owed = payment_atoms(held, price, market.tick_value, rate * intervals)
                total += owed
                legs.append((*state.compartment_of(account, n), -owed))
            legs.append((ROUNDING, state.settle, total))
            self._clearing.post("funding", legs)

    def _work(self, markets: list[Market], references: tuple[str, ...], *, scan: bool = True) -> None:
        """Fire triggers and do rounds of risk work until nothing is left, or the rulebook's bound."""
        self._rounds.begin()
        bound = self._state.rules.liquidation.rounds_max
        left = self._state.rules.orders.triggers_per_command_max
        for _ in range(bound):
            fired = self._fire(markets, references, left)
            left -= fired
            worked = scan and self._rounds.work()
            if not (fired or worked):
                return
        self._clearing.out.append(WorkLeft(bound))

    def _fire(self, markets: list[Market], references: tuple[str, ...], most: int) -> int:
        """Fire every trigger that its reference price has reached, in the order of price and then age."""
        fired = 0
        for market in markets:
            for reference in references:
                while fired < most:
                    prices = market.prices
                    price = prices.mark_ticks if reference == "mark" else prices.last_ticks
                    armed = None
                    if price is not None:
                        armed = self._state.triggers[market.number].first_met(reference, price)
                    if armed is None or price is None:
                        break
                    fired += 1
                    self._clearing.disarm(armed)
                    self._clearing.out.append(TriggerFired(armed.order_id, price))
                    waiting = armed.order
                    tif = "ioc" if waiting.price_ticks is None and waiting.tif == "gtc" else waiting.tif
                    order = PlaceOrder(
                        waiting.account,
                        waiting.instrument,
                        waiting.side,
                        waiting.size_lots,
                        waiting.price_ticks,
                        tif,
                        False,
                        waiting.reduce_only,
                        waiting.self_trade,
                    )
                    try:
                        self._enter(self._gate_order(order), order)
                    except _RefusedError as refused:
                        self._clearing.out.append(
                            Rejected(order.account, refused.reason, refused.detail, "place_order")
                        )
        return fired

    def _after_fills(self, market: Market) -> None:
        """Triggers on the last price, and risk work at once if a fill left one of its sides below zero."""
        state = self._state
        filled = [event for event in self._clearing.out if type(event) is Filled]
        if not filled:
            return
        self._clearing.close_attached()
        self._work([market], ("last",), scan=False)
        touched = {
            compartment
            for event in filled
            for account in (event.taker, event.maker)
            for compartment in (state.compartment_of(account, market.number), (account, state.settle))
        }
        if any(risk_of(state, compartment).is_bankrupt for compartment in touched):
            self._work(state.markets, ("last",))

    def _set_status(self, command: SetStatus) -> None:
        market = self._gate_instrument(command.instrument)
        self._state.status[market.number] = Status(command.open, command.reduce, command.liquidate)
        self._clearing.out.append(StatusSet(market.number, command.open, command.reduce, command.liquidate))

    def _settle_instrument(self, command: SettleInstrument) -> None:
        state = self._state
        market = self._gate_contract(command.instrument)
        if market.instrument.kind != "future":
            _refuse(RejectReason.WRONG_KIND, f"{market.instrument.symbol} has no settlement")
        if not state.counters.started:
            _refuse(RejectReason.NO_PRICE, "there was no index yet")
        n = market.number
        owners = sorted(key for key, ids in state.own_orders.items() if ids and key[1] == n)
        rows = np.flatnonzero(state.accounts.lots.array[n, : state.accounts.count]).tolist()
        if not rows and not owners:
            _refuse(RejectReason.NOTHING_TO_DO, "no positions and no orders")
        self._gate_price(market, command.price_ticks, on_step=False)
        for account, _ in owners:
            self._clearing.close_all(account, n, "settlement")
        self._clearing.out.append(Settled(n, command.price_ticks))
        legs: list[Leg] = []
        changes = []
        for account in rows:
            held = state.accounts.lots.cells[n][account]
            changes.append(self._clearing.move(market, account, -held, command.price_ticks, legs))
        self._clearing.post("settlement", legs)
        for account, change in zip(rows, changes, strict=True):
            self._clearing.release(market, account, change)
        state.status[n] = Status(False, False, True)
        self._work(state.markets, ("last",))

    # Gates: each refuses with the first reason that fails

    def _gate_customer(self, account: int) -> None:
        if not self._state.accounts.is_customer(account):
            known = 0 <= account < self._state.accounts.count
            reason = RejectReason.NOT_A_CUSTOMER if known else RejectReason.UNKNOWN_ACCOUNT
            _refuse(reason, f"account {account}")

    def _gate_trader(self, account: int) -> None:
        """Customers trade, and the insurance fund out of what it took over."""
        if account != INSURANCE:
            self._gate_customer(account)

    def _gate_instrument(self, instrument: int) -> Market:
        if not 0 <= instrument < len(self._state.markets):
            _refuse(RejectReason.UNKNOWN_INSTRUMENT, f"instrument {instrument}")
        return self._state.markets[instrument]

    def _gate_contract(self, instrument: int) -> Market:
        market = self._gate_instrument(instrument)
        if market.instrument.kind == "spot":
            _refuse(RejectReason.WRONG_KIND, f"{market.instrument.symbol} is spot")
        return market

    def _gate_asset(self, asset: int) -> None:
        if not 0 <= asset < len(self._state.assets):
            _refuse(RejectReason.UNKNOWN_ASSET, f"asset {asset}")

    def _gate_own(self, account: int, order_id: int) -> Order:
        order = self._state.orders.get(order_id)
        if order is None:
            _refuse(RejectReason.UNKNOWN_ORDER, f"order {order_id}")
        if order.account != account:
            _refuse(RejectReason.NOT_YOUR_ORDER, f"order {order_id}")
        return order

    def _gate_not_in_liquidation(self, account: int) -> None:
        state = self._state
        if not state.in_liquidation:
            return
        if any(owner == account for owner, _ in state.in_liquidation):
            _refuse(RejectReason.IN_LIQUIDATION, f"account {account}")

    def _gate_marked(self, account: int) -> None:
        """Margin can only be judged where every position has a mark."""
        state = self._state
        for market in state.contracts:
            if market.prices.mark_ticks is None and state.accounts.lots.cells[market.number][account]:
                _refuse(RejectReason.NO_PRICE, market.instrument.symbol)

    def _gate_size(self, market: Market, size_lots: int) -> None:
        if size_lots < 1:
            _refuse(RejectReason.SIZE_NOT_POSITIVE, f"{size_lots} lots")
        if size_lots > market.instrument.size_max_lots:
            _refuse(
                RejectReason.SIZE_TOO_LARGE,
                f"{size_lots} lots, allowed are at most {market.instrument.size_max_lots}",
            )

    def _gate_price(self, market: Market, price_ticks: int, *, on_step: bool) -> None:
        instrument = market.instrument
        if not instrument.price_min_ticks <= price_ticks <= instrument.price_max_ticks:
            _refuse(
                RejectReason.PRICE_OUT_OF_RANGE,
                f"{price_ticks} ticks, allowed is {instrument.price_min_ticks}..{instrument.price_max_ticks}",
            )
        if on_step and price_ticks % order_step_ticks(instrument, price_ticks):
            step = order_step_ticks(instrument, price_ticks)
            _refuse(RejectReason.PRICE_OFF_STEP, f"{price_ticks} ticks is not a multiple of {step}")

    # Invariants

    def check(self) -> None:
        """Assert every invariant that the venue knows of; for tests and every so many commands of a run."""
        state = self._state
        accounts = state.accounts
        count = accounts.count
        assert not any(state.ledger.asset_sums()), f"ledger: {state.ledger.asset_sums()}"
        for market in state.markets:
            n = market.number
            lots = accounts.lots.array[n, :count]
            assert int(lots.sum()) == 0, f"{market.instrument.symbol}: lots sum to {lots.sum()}"
            assert int(lots[lots > 0].sum()) == state.open_interest[n]
            cost = sum(accounts.cost.array[n, :count].tolist())
            if state.instruments[n].kind != "spot":
                assert accounts.balances.cells[state.pocket(n)][CLEARING] == -cost, (
                    "clearing is not minus the costs"
                )
            assert not accounts.cost.array[n, :count][lots == 0].any(), "cost without a position"
            state.books[n].check()
        self._check_orders()

    def _check_orders(self) -> None:
        state = self._state
        tallies: dict[tuple[str, int, int], int] = {}
        resting = 0
        for book in state.books:
            for side in (BUY, SELL):
                for order in book.walk(side):
                    resting += 1
                    assert state.orders[order.order_id] is order
                    if order.reduce_only:
                        continue
                    name = "buy" if side == BUY else "sell"
                    value = order.open_lots * order.price_ticks * state.markets[order.instrument].tick_value
                    for kind, amount in (("lots", order.open_lots), ("value", value)):
                        key = (f"{name}_{kind}", order.instrument, order.account)
                        tallies[key] = tallies.get(key, 0) + amount
        assert resting == len(state.orders), "the order index holds an order that does not rest"
        for name in ("buy_lots", "sell_lots", "buy_value", "sell_value"):
            table: Table = getattr(state.accounts, name)
            for n, account in zip(*(axis.tolist() for axis in np.nonzero(table.array)), strict=True):
                assert tallies.pop((name, n, account), 0) == table.cells[n][account], f"{name} of {account}"
        assert not any(tallies.values()), "a resting order is not tallied"
