"""One command in, its events out.

The way of a command: stamp, gate, plan, judge, commit, consequences, answer. Everything up to the commit only
reads; a refused command leaves `state_hash` as it was.
"""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from msgspec import structs

from zerodebt.exchange import gates, instants, judge, variation
from zerodebt.exchange.accounts import BACKSTOP, VAULT, Table
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.book import Order
from zerodebt.exchange.clearing import Clearing, Taker
from zerodebt.exchange.collateral import value_max_atoms
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AmendOrder,
    Borrow,
    CancelAll,
    CancelOrder,
    Command,
    Contribute,
    Deposit,
    HoldAuction,
    LoadPositions,
    MassQuote,
    OpenAccounts,
    PlaceOrder,
    Redeem,
    SetBackstop,
    SetLeverage,
    SetPositionMode,
    SetStatus,
    SettleInstrument,
    SettleVariation,
    Supply,
    Tick,
    TransferMargin,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.custody import custody_of, left_behind_atoms, share_atoms
from zerodebt.exchange.events import (
    CLEARING,
    DEFAULT_FUND,
    DEFICIT,
    EXTERNAL,
    HOUSE,
    INSURANCE,
    LENDING,
    ROUNDING,
    UNPAID,
    AccountsOpened,
    BackstopSet,
    Batch,
    Contributed,
    Event,
    Filled,
    LeverageSet,
    Opened,
    OrderAmended,
    OrderClosed,
    PositionModeSet,
    PositionsLoaded,
    Quoted,
    Rejected,
    Settled,
    StatusSet,
    TriggerFired,
    WorkLeft,
)
from zerodebt.exchange.instruments import Instrument, largest_leverage, order_step_ticks, value_atoms
from zerodebt.exchange.ledger import Leg
from zerodebt.exchange.lending import SHARES_MAX, LendingPool, shares_of
from zerodebt.exchange.margin import (
    borrowable_atoms,
    initial_excess_atoms,
    risk_of,
    withdrawable_atoms,
    withdrawable_collateral_atoms,
)
from zerodebt.exchange.marks import Market, market_band_ticks, observe, through_mark_ticks
from zerodebt.exchange.matching import Plan, plan_fills, reducible_lots
from zerodebt.exchange.reject import RefusedError, RejectReason, refuse
from zerodebt.exchange.rounds import RiskRounds
from zerodebt.exchange.rules import VenueRules
from zerodebt.exchange.sessions import expiring, limit_band, within_limits
from zerodebt.exchange.state import Compartment, State, Status
from zerodebt.exchange.triggers import is_met
from zerodebt.exchange.units import INT64_MAX
from zerodebt.exchange.variation import review_calls
from zerodebt.exchange.views import View
from zerodebt.exchange.waterfall import auction, lenders
from zerodebt.exchange.waterfall.pools import endowment_legs, may_hold, sample_peaks

_AMOUNT_MAX = 2**60


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
            SetPositionMode: self._set_position_mode,
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
            SettleVariation: self._settle_variation,
            Contribute: self._contribute,
            HoldAuction: self._hold_auction,
            Supply: self._supply,
            Redeem: self._redeem,
            Borrow: self._borrow,
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
        self._rounds.settled.clear()
        state.seq += 1
        try:
            if time_ns < state.time_ns:
                refuse(RejectReason.TIME_RUNS_BACK, f"{time_ns} is before {state.time_ns}")
            if time_ns > INT64_MAX:
                refuse(RejectReason.TIME_OUT_OF_RANGE, f"{time_ns} ns, allowed are at most {INT64_MAX}")
            state.time_ns = time_ns
            self._commands[type(command)](command)
            self._clearing.close_attached()
        except RefusedError as refused:
            assert not out, "a refused command has changed something"
            tag = str(command.__struct_config__.tag)
            out.append(Rejected(getattr(command, "account", -1), refused.reason, refused.detail, tag))
        return Batch(state.seq, state.time_ns, tuple(out))

    # Accounts and money

    def _open_accounts(self, command: OpenAccounts) -> None:
        if not 1 <= command.count <= 10_000_000:
            refuse(RejectReason.SIZE_NOT_POSITIVE, f"count is {command.count}, allowed is 1..10000000")
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
        if first not in (INSURANCE, HOUSE) or len(command.atoms) > 1:
            gates.customer(state, first)
            others = len(command.atoms) - 1
            if others > 0 and not state.accounts.is_customer(first + others):
                refuse(RejectReason.UNKNOWN_ACCOUNT, f"{first} and the {others} after it")
        gates.known_asset(self._state, command.asset)
        if first == INSURANCE and not may_hold(state, command.asset):
            refuse(
                RejectReason.NOT_IN_RULEBOOK,
                f"the fund's pools pay in {state.rules.settle_asset}: "
                f"{state.assets[command.asset].symbol} is no collateral, or the pools are by instrument",
            )
        if not command.atoms or min(command.atoms) < 0 or not any(command.atoms):
            refuse(RejectReason.AMOUNT_NOT_POSITIVE, "amounts are 0 or more, one of them more")
        if max(command.atoms) > _AMOUNT_MAX or sum(command.atoms) > _AMOUNT_MAX:
            refuse(RejectReason.AMOUNT_TOO_LARGE, f"at most {_AMOUNT_MAX} atoms")
        if -state.accounts.balances.cells[command.asset][EXTERNAL] + sum(command.atoms) > _AMOUNT_MAX:
            refuse(RejectReason.AMOUNT_TOO_LARGE, f"at most {_AMOUNT_MAX} atoms may be brought in")
        held = {c.asset: -state.accounts.balances.cells[c.asset][EXTERNAL] for c in state.collateral}
        if command.asset in held:
            held[command.asset] += sum(command.atoms)
            if sum(value_max_atoms(c, held[c.asset]) for c in state.collateral) > _AMOUNT_MAX:
                refuse(RejectReason.AMOUNT_TOO_LARGE, "collateral could become worth more than 2^60 atoms")
        legs = [(first + k, command.asset, atoms) for k, atoms in enumerate(command.atoms)]
        self._clearing.post("deposit", [*legs, (EXTERNAL, command.asset, -sum(command.atoms))])
        if command.asset == state.settle:
            base = state.accounts.session_base.cells[0]
            for account, _, atoms in legs:
                base[account] += atoms
            if first == INSURANCE:
                self._clearing.post("endowment", endowment_legs(state, sum(command.atoms)))
        review_calls(state, self._clearing)

    def _withdraw(self, command: Withdraw) -> None:
        state = self._state
        account, asset, atoms = command.account, command.asset, command.atoms
        gates.customer(self._state, account)
        gates.known_asset(self._state, asset)
        gates.not_in_liquidation(self._state, account)
        carries_margin = asset == state.settle or any(c.asset == asset for c in state.collateral)
        if carries_margin:
            gates.marked(self._state, account)
            gates.fresh(self._state, account)
        if atoms <= 0:
            refuse(RejectReason.AMOUNT_NOT_POSITIVE, f"{atoms} atoms")
        if asset == state.settle:
            most = withdrawable_atoms(state, account)
        else:
            most = withdrawable_collateral_atoms(state, account, asset)
        if atoms > most:
            refuse(RejectReason.BALANCE_TOO_SMALL, f"{atoms} atoms asked, {most} may leave")
        left_behind = 0
        if asset == state.settle:
            custody = custody_of(state)
            share = share_atoms(custody, most)
            if atoms > share:
                what = "all that is in custody" if share == custody.held_atoms else "the share of custody"
                refuse(RejectReason.DEFICIT_OPEN, f"{atoms} atoms asked, {share} is {what}")
            left_behind = left_behind_atoms(custody, atoms)
        self._clearing.post(
            "withdrawal",
            [(account, asset, -atoms - left_behind), (EXTERNAL, asset, atoms), (UNPAID, asset, left_behind)],
        )
        if asset == state.settle:
            state.accounts.session_base.cells[0][account] -= atoms

    def _load_positions(self, command: LoadPositions) -> None:
        """Positions of the start; see the command. Everything is checked before anything changes."""
        state = self._state
        market = gates.contract_of(self._state, command.instrument)
        if state.counters.started:
            refuse(RejectReason.ALREADY_STARTED, "positions are loaded before the first index")
        n = market.number
        accounts = state.accounts
        columns = (command.lots, command.entry_ticks, command.leverage, command.isolated_atoms)
        if any(len(column) != len(command.accounts) for column in columns) or not command.accounts:
            refuse(RejectReason.CONTRADICTION, "columns differ in length or are empty")
        if len(set(command.accounts)) != len(command.accounts):
            refuse(RejectReason.CONTRADICTION, "an account is named twice")
        if sum(command.lots) != 0 or 0 in command.lots:
            refuse(RejectReason.CONTRADICTION, f"signed lots sum to {sum(command.lots)}, or one is zero")
        longs = sum(lots for lots in command.lots if lots > 0) + state.open_interest[n]
        if longs > market.instrument.open_interest_max_lots:
            refuse(RejectReason.OPEN_INTEREST_CAP, f"{longs} lots, allowed are at most the cap")
        gates.price(market, command.price_ticks, on_step=False)
        wallet = accounts.balances.cells[state.settle]
        leverage_max = largest_leverage(market.instrument.tiers[0])
        for account, lots, entry, leverage, isolated in zip(command.accounts, *columns, strict=True):
            gates.customer(self._state, account)
            if accounts.lots.cells[state.leg(account, n, lots).number][account]:
                refuse(RejectReason.CONTRADICTION, f"account {account} has a position already")
            if isolated:
                gates.may_isolate(state)
            if isolated and accounts.vault.cells[0][account]:
                refuse(
                    RejectReason.CONTRADICTION, f"account {account} is a vault: its positions answer together"
                )
            gates.price(market, entry, on_step=False)
            if not 1 <= leverage <= leverage_max:
                refuse(RejectReason.LEVERAGE_OUT_OF_RANGE, f"{leverage}, allowed is 1..{leverage_max}")
            if not 0 <= isolated <= max(0, wallet[account]):
                refuse(RejectReason.BALANCE_TOO_SMALL, f"account {account} has {wallet[account]} atoms")
        self._clearing.out.append(
            PositionsLoaded(n, command.price_ticks, command.accounts, command.lots, *columns[1:])
        )
        legs: list[Leg] = []
        for account, lots, entry, leverage, isolated in zip(command.accounts, *columns, strict=True):
            slot = state.leg(account, n, lots).number
            accounts.lots.cells[slot][account] = lots
            accounts.cost.cells[slot][account] = value_atoms(market.instrument, command.price_ticks, lots)
            accounts.entry_cost.cells[slot][account] = value_atoms(market.instrument, entry, lots)
            accounts.leverage.cells[slot][account] = leverage
            accounts.isolated.cells[slot][account] = int(isolated > 0)
            if isolated:
                legs += [(account, state.settle, -isolated), (account, state.pocket(slot), isolated)]
            self._clearing.touch(account)
        state.open_interest[n] = longs
        if market.instrument.kind == "future":
            state.settled_ticks[n] = command.price_ticks
        self._clearing.post("isolate", legs)
        value = sum(value_atoms(market.instrument, command.price_ticks, lots) for lots in command.lots)
        pocket = state.pocket(n)
        self._clearing.post("rounding", [(CLEARING, pocket, -value), (ROUNDING, state.settle, value)])

    def _set_backstop(self, command: SetBackstop) -> None:
        gates.customer(self._state, command.account)
        if not self._state.accounts.vault.cells[0][command.account]:
            refuse(RejectReason.UNKNOWN_ACCOUNT, f"account {command.account} is not a vault")
        for instrument in command.instruments:
            gates.contract_of(self._state, instrument)
        gates.not_in_liquidation(self._state, command.account)
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
        gates.customer(self._state, command.account)
        market = gates.contract_of(self._state, command.instrument)
        gates.not_in_liquidation(self._state, command.account)
        gates.marked(self._state, command.account)
        n, account = market.number, command.account
        leverage_max = largest_leverage(market.instrument.tiers[0])
        if not 1 <= command.leverage <= leverage_max:
            refuse(RejectReason.LEVERAGE_OUT_OF_RANGE, f"{command.leverage}, allowed is 1..{leverage_max}")
        isolated = int(command.mode == "isolated")
        if isolated:
            gates.may_isolate(state)
        if isolated and state.accounts.vault.cells[0][account]:
            refuse(RejectReason.MODE_HAS_POSITION, "a vault's positions answer together")
        slots = [leg.number for leg in state.legs_of(n)]
        cells = state.accounts.isolated.cells
        if any(isolated != cells[s][account] and self._is_in_use(account, s) for s in slots):
            refuse(RejectReason.MODE_HAS_POSITION, f"instrument {market.instrument.symbol}")
        before = [state.accounts.leverage.cells[s][account] for s in slots]
        largest = max(before) if account in state.hedged else before[0]
        for s in slots:
            state.accounts.leverage.cells[s][account] = command.leverage
        if command.leverage < largest and initial_excess_atoms(state, account) < 0:
            for s, leverage in zip(slots, before, strict=True):
                state.accounts.leverage.cells[s][account] = leverage
            refuse(RejectReason.MARGIN_TOO_SMALL, f"leverage {command.leverage} asks for more margin")
        for s in slots:
            cells[s][account] = isolated
        self._clearing.out.append(LeverageSet(account, n, command.leverage, command.mode))

    def _is_in_use(self, account: int, slot: int) -> bool:
        """Does the account hold a position there, have orders for one, or owe what an isolated one left?"""
        state = self._state
        owed = state.accounts.balances.cells[state.pocket(slot)][account]
        lots = state.accounts.lots.cells[slot][account]
        return bool(lots or owed or state.own_orders.get((account, slot)))

    def _set_position_mode(self, command: SetPositionMode) -> None:
        """Both legs of a contract start with the leverage and margin mode of its net position."""
        state = self._state
        account = command.account
        gates.customer(state, account)
        if not state.offers_legs or state.accounts.vault.cells[0][account]:
            refuse(RejectReason.NOT_IN_RULEBOOK, f"account {account} cannot choose its position mode")
        if (command.mode == "hedge") == (account in state.hedged):
            refuse(RejectReason.NOTHING_TO_DO, f"account {account} is in {command.mode} mode")
        gates.not_in_liquidation(state, account)
        for market in state.contracts:
            if self._is_in_use(account, market.number):
                refuse(RejectReason.POSITION_MODE_IN_USE, market.instrument.symbol)
        if command.mode == "net":
            del state.hedged[account]
        else:
            state.hedged[account] = None
            for table in (state.accounts.leverage, state.accounts.isolated):
                for market in state.contracts:
                    table.cells[market.number][account] = table.cells[market.instrument_number][account]
        self._clearing.out.append(PositionModeSet(account, command.mode))

    def _transfer_margin(self, command: TransferMargin) -> None:
        state = self._state
        account, atoms = command.account, command.atoms
        gates.customer(self._state, account)
        market = gates.contract_of(self._state, command.instrument)
        market = gates.leg_of(state, market, account, command.leg)
        n = market.number
        if not state.accounts.isolated.cells[n][account] or not state.accounts.lots.cells[n][account]:
            refuse(RejectReason.WRONG_KIND, f"no isolated position in {market.instrument.symbol}")
        if not atoms:
            refuse(RejectReason.NOTHING_TO_DO, "0 atoms")
        gates.marked(self._state, account)
        if atoms > 0:
            gates.fresh_among(state, state.positions_of((account, state.settle)))
            most = withdrawable_atoms(state, account)
        else:
            gates.fresh_among(state, [market])
            gates.not_in_liquidation(self._state, account)
            most = judge.isolated_spare_atoms(self._state, market, account)
        if abs(atoms) > most:
            refuse(RejectReason.BALANCE_TOO_SMALL, f"{abs(atoms)} atoms asked, {most} may move")
        pocket = state.pocket(n)
        self._clearing.post("isolate", [(account, state.settle, -atoms), (account, pocket, atoms)])

    # Orders

    def _place_order(self, order: PlaceOrder) -> None:
        """The leg that an order names is from here on what its side and `reduce_only` say."""
        if order.leg != "net" and _closes_leg(order):
            order = structs.replace(order, reduce_only=True)
        market = self._gate_order(order, is_new=True)
        if order.leg != "net":
            order = structs.replace(order, leg="net")
        if order.trigger is None:
            self._enter(market, order)
        elif self._is_met(market, order):
            released = _released(order)
            self._enter(self._gate_order(released), released)
        else:
            self._clearing.arm(order)
        self._after_fills(market)

    def _gate_order(self, order: PlaceOrder, *, is_new: bool = False) -> Market:
        """The pure checks of an order, in the declared order of the reasons.

        is_new  it comes from outside, and names its leg
        """
        state = self._state
        gates.trader(self._state, order.account)
        market = gates.market_of(self._state, order.instrument)
        if is_new:
            leg = gates.leg_of(state, market, order.account, order.leg)
        else:
            leg = state.leg_of_order(order)
        if market.instrument.kind == "spot" and (order.reduce_only or order.trigger):
            refuse(RejectReason.WRONG_KIND, "spot knows no reduce-only orders and no triggers")
        n = market.number
        held = state.accounts.lots.cells[leg.number][order.account]
        reduces = reducible_lots(held, order.side) >= order.size_lots
        if not (order.reduce_only or reduces):
            gates.not_in_liquidation(self._state, order.account)
        gates.in_session(state, market)
        status = state.status[n]
        if not (status.open or (status.reduce and (order.reduce_only or reduces))):
            refuse(RejectReason.HALTED, f"{market.instrument.symbol} takes no such orders now")
        if market.prices.mark_ticks is None:
            refuse(RejectReason.NO_PRICE, market.instrument.symbol)
        gates.size(market, order.size_lots)
        if order.price_ticks is not None:
            gates.price(market, order.price_ticks, on_step=True)
            if order.trigger is None and state.rules.orders.band.beyond == "refuse":
                gates.band(self._state, market, order.side, order.price_ticks)
            gates.limit(state, market, order.price_ticks)
        if order.trigger is not None:
            gates.price(market, order.trigger.price_ticks, on_step=False)
        price = market.prices.mark_ticks if order.price_ticks is None else order.price_ticks
        value = abs(value_atoms(market.instrument, price, order.size_lots))
        if value < state.rules.orders.value_min_atoms and not order.reduce_only:
            refuse(
                RejectReason.VALUE_TOO_SMALL,
                f"{value} atoms, allowed are {state.rules.orders.value_min_atoms} and more",
            )
        if state.accounts.orders.cells[0][order.account] >= state.rules.orders.open_orders_max:
            refuse(RejectReason.TOO_MANY_ORDERS, f"at most {state.rules.orders.open_orders_max}")
        if order.price_ticks is None and ((order.tif == "gtc" and order.trigger is None) or order.post_only):
            refuse(RejectReason.CONTRADICTION, "a market order is ioc or fok and never post-only")
        if order.post_only and (order.tif != "gtc" or order.trigger is not None):
            refuse(RejectReason.CONTRADICTION, "a post-only order is gtc and has no trigger")
        if order.leg != "net" and order.reduce_only and not _closes_leg(order):
            refuse(RejectReason.CONTRADICTION, f"this side opens the {order.leg} leg and cannot reduce it")
        if order.budget_atoms is not None and (order.tif != "fok" or order.trigger is not None):
            refuse(RejectReason.CONTRADICTION, "an order with a budget is fok and has no trigger")
        return market

    def _is_met(self, market: Market, order: PlaceOrder) -> bool:
        """Has the reference already reached the trigger? Then the order goes at once, or is refused."""
        assert order.trigger is not None
        prices = market.prices
        reference = prices.mark_ticks if order.trigger.reference == "mark" else prices.last_ticks
        if reference is None or not is_met(order.trigger, order.side, reference):
            return False
        if self._state.rules.orders.met_trigger == "refuse":
            refuse(RejectReason.TRIGGER_ALREADY_MET, f"{order.trigger.reference} is {reference}")
        return True

    def _enter(self, market: Market, order: PlaceOrder) -> None:
        """Plan, judge and commit an order that is not waiting for a trigger."""
        state = self._state
        n = market.number
        leg = state.leg_of_order(order)
        order = self._capped(market, order)
        size = order.size_lots
        if order.reduce_only:
            size = min(size, reducible_lots(state.accounts.lots.cells[leg.number][order.account], order.side))
            if not size:
                refuse(RejectReason.REDUCE_ONLY_NOTHING, "no position on the other side")
        limit = self._slippage_limit(market, order.side) if order.price_ticks is None else order.price_ticks
        plan = self._plan(market, order.account, order.side, size, limit, order)
        if order.post_only and state.books[n].would_take(order.side, order.price_ticks or 0):
            refuse(RejectReason.WOULD_TAKE, f"best is {state.books[n].best_ticks(-order.side)}")
        if order.tif == "fok" and plan.filled_lots < size:
            refuse(RejectReason.CANNOT_FILL, f"{plan.filled_lots} of {size} lots")
        if order.budget_atoms is not None:
            value = _planned_value_atoms(market.instrument, plan)
            if order.side * (value - order.budget_atoms) > 0:
                refuse(RejectReason.CANNOT_FILL, f"{value} atoms against a budget of {order.budget_atoms}")
        if order.price_ticks is None and not plan.steps:
            refuse(RejectReason.NO_LIQUIDITY, market.instrument.symbol)
        rests = order.tif == "gtc" and plan.stopped is None
        resting = plan.open_lots if rests else 0
        judge.judge_order(
            self._state,
            leg,
            order.account,
            order.side,
            plan,
            resting,
            order.price_ticks,
            order.reduce_only,
        )
        if order.size_lots != size:
            order = PlaceOrder(
                order.account, n, order.side, size, order.price_ticks, order.tif, order.post_only, True
            )
        taker = self._clearing.accept(order)
        self._clearing.execute(taker, plan)
        self._leave(taker, plan, order.price_ticks if rests else None, order.reduce_only, order.post_only)

    def _slippage_limit(self, market: Market, side: int) -> int | None:
        """How far a market order may go: the nearer of slippage limit and band."""
        rules = self._state.rules
        mark = market.prices.mark_ticks
        assert mark is not None
        share = rules.orders.market_slippage_ppb
        limits = [through_mark_ticks(mark, side, share)] if share else []
        band = market_band_ticks(market, rules, side)
        if band is not None:
            limits.append(band)
        limit = side * min(side * limit for limit in limits) if limits else None
        return within_limits(self._state, market.number, side, limit)

    def _capped(self, market: Market, order: PlaceOrder) -> PlaceOrder:
        """An order beyond a band that caps gets the furthest price that is on the step."""
        band = market_band_ticks(market, self._state.rules, order.side)
        if band is None or order.price_ticks is None or order.side * (order.price_ticks - band) <= 0:
            return order
        step = order_step_ticks(market.instrument, band)
        on_step = order.side * (order.side * band // step * step)
        instrument = market.instrument
        price = max(instrument.price_min_ticks, min(instrument.price_max_ticks, on_step))
        return structs.replace(order, price_ticks=price)

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
            judge.Pools(state, market),
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

    def _amend_order(self, command: AmendOrder) -> None:
        """A smaller size keeps the place; anything else leaves the book and enters again under its id."""
        state = self._state
        gates.trader(self._state, command.account)
        order = gates.own_order(self._state, command.account, command.order_id)
        market = state.markets[order.instrument]
        price = order.price_ticks if command.price_ticks is None else command.price_ticks
        size = order.open_lots + order.filled_lots if command.size_lots is None else command.size_lots
        if price == order.price_ticks and size == order.open_lots + order.filled_lots:
            refuse(RejectReason.NOTHING_TO_DO, "price and size are as they were")
        if price != order.price_ticks or size > order.open_lots + order.filled_lots:
            gates.not_in_liquidation(self._state, command.account)
            gates.in_session(state, market)
            if not state.status[order.instrument].open:
                refuse(RejectReason.HALTED, f"{market.instrument.symbol} takes no such orders now")
        gates.size(market, size)
        if size <= order.filled_lots:
            refuse(RejectReason.SIZE_BELOW_FILLED, f"{order.filled_lots} lots are filled")
        gates.price(market, price, on_step=True)
        if price != order.price_ticks:
            gates.band(self._state, market, order.side, price)
        gates.limit(state, market, price)
        open_lots = size - order.filled_lots
        value = abs(value_atoms(market.instrument, price, open_lots))
        if value < state.rules.orders.value_min_atoms and not order.reduce_only:
            refuse(RejectReason.VALUE_TOO_SMALL, f"{value} atoms are left")
        leg = state.leg_of_order(order)
        if order.reduce_only:
            position = state.accounts.lots.cells[leg.number][order.account]
            open_lots = min(open_lots, reducible_lots(position, order.side))
            if not open_lots:
                refuse(RejectReason.REDUCE_ONLY_NOTHING, "no position on the other side")
        if price == order.price_ticks and open_lots < order.open_lots:
            self._clearing.shrink(order, order.open_lots - open_lots)
            self._clearing.out.append(OrderAmended(order.order_id, price, open_lots, True))
            return
        if order.post_only and state.books[order.instrument].would_take(order.side, price):
            refuse(
                RejectReason.WOULD_TAKE, f"best is {state.books[order.instrument].best_ticks(-order.side)}"
            )
        plan = self._plan(market, order.account, order.side, open_lots, price, None)
        judge.judge_order(
            self._state,
            leg,
            order.account,
            order.side,
            plan,
            plan.open_lots,
            price,
            order.reduce_only,
            released=order,
        )
        self._clearing.unrest(order)
        self._clearing.out.append(OrderAmended(order.order_id, price, open_lots, False))
        taker = Taker(
            order.order_id, order.account, order.instrument, order.side, reduce_only=order.reduce_only
        )
        self._clearing.execute(taker, plan)
        self._leave(taker, plan, price, order.reduce_only, order.post_only, order.filled_lots)
        self._after_fills(market)

    def _cancel_order(self, command: CancelOrder) -> None:
        gates.trader(self._state, command.account)
        armed = self._state.armed.get(command.order_id)
        if armed is None:
            self._clearing.close(gates.own_order(self._state, command.account, command.order_id), "cancelled")
            return
        if armed.order.account != command.account:
            refuse(RejectReason.NOT_YOUR_ORDER, f"order {command.order_id}")
        self._clearing.disarm(armed)
        self._clearing.out.append(OrderClosed(armed.order_id, armed.order.size_lots, "cancelled"))

    def _cancel_all(self, command: CancelAll) -> None:
        gates.trader(self._state, command.account)
        markets = self._state.slots
        if command.instrument is not None:
            markets = self._state.legs_of(gates.market_of(self._state, command.instrument).number)
        closed = sum(
            self._clearing.close_all(command.account, market.number, "cancelled") for market in markets
        )
        if not closed:
            refuse(RejectReason.NOTHING_TO_DO, "no open orders")

    def _mass_quote(self, command: MassQuote) -> None:
        state = self._state
        account = command.account
        gates.customer(self._state, account)
        market = gates.market_of(self._state, command.instrument)
        gates.leg_of(state, market, account, "net")
        n = market.number
        gates.not_in_liquidation(self._state, account)
        gates.in_session(state, market)
        if not state.status[n].open:
            refuse(RejectReason.HALTED, f"{market.instrument.symbol} takes no such orders now")
        if market.prices.mark_ticks is None:
            refuse(RejectReason.NO_PRICE, market.instrument.symbol)
        quotes = (*command.bids, *command.asks)
        for _, lots in quotes:
            gates.size(market, lots)
        for price, _ in quotes:
            gates.price(market, price, on_step=True)
        for side, side_quotes in ((BUY, command.bids), (SELL, command.asks)):
            for price, _ in side_quotes:
                gates.band(self._state, market, side, price)
                gates.limit(state, market, price)
        for price, lots in quotes:
            if abs(value_atoms(market.instrument, price, lots)) < state.rules.orders.value_min_atoms:
                refuse(RejectReason.VALUE_TOO_SMALL, f"{lots} lots at {price}")
        own = [i for i in state.own_orders.get((account, n), ()) if i in state.orders]
        count = state.accounts.orders.cells[0][account] - len(own) + len(command.bids) + len(command.asks)
        if count > state.rules.orders.open_orders_max:
            refuse(RejectReason.TOO_MANY_ORDERS, f"at most {state.rules.orders.open_orders_max}")
        if command.bids and command.asks and max(command.bids)[0] >= min(command.asks)[0]:
            refuse(RejectReason.CONTRADICTION, "own quotes would cross")
        best_ask = self._best_of_others(account, n, SELL)
        best_bid = self._best_of_others(account, n, BUY)
        levels = [(BUY, *level) for level in command.bids] + [(SELL, *level) for level in command.asks]
        placed: list[tuple[int, int, int]] = []
        refused: list[tuple[int, int, int]] = []
        for side, price, lots in levels:
            best = best_ask if side == BUY else best_bid
            takes = best is not None and side * (price - best) >= 0
            (refused if takes else placed).append((side, price, lots))
        judge.judge_quotes(self._state, market, account, placed)
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

    # Prices, time and what follows from them

    def _update_index(self, command: UpdateIndex) -> None:
        state = self._state
        by_market: dict[int, list[Any]] = {}
        for seen in command.observations:
            market = gates.market_of(self._state, seen.instrument)
            gates.price(market, seen.price_ticks, on_step=False)
            if not 0 <= seen.source < len(state.rules.sources):
                refuse(RejectReason.NO_PRICE, f"source {seen.source} is not in the rulebook")
            if seen.published_ns > state.time_ns:
                refuse(RejectReason.TIME_RUNS_BACK, "an observation from the future")
            by_market.setdefault(market.number, []).append(seen)
        if not state.counters.started:
            spots = {n for n, source in enumerate(state.rules.sources) if source.kind == "spot"}
            oldest = state.time_ns - state.rules.margin.index_age_max_ns
            for market in state.markets:
                seen_here = by_market.get(market.number, ())
                if not any(seen.source in spots and seen.published_ns >= oldest for seen in seen_here):
                    symbol = market.instrument.symbol
                    refuse(RejectReason.NO_PRICE, f"{symbol} has no fresh index in the first update")
        for number, observations in by_market.items():
            observe(state.markets[number], state.rules, observations)
        self._move_time()

    def _tick(self, _: Tick) -> None:
        if not self._state.counters.started:
            refuse(RejectReason.NO_PRICE, "there was no index yet")
        self._move_time()

    def _move_time(self) -> None:
        """Index and marks, funding, then rounds of risk work until nothing is left."""
        state = self._state
        instants.set_marks(self._state, self._clearing)
        counters = state.counters
        funding = state.rules.funding
        if not counters.started:
            counters.started = True
            counters.next_funding_ns = (state.time_ns // funding.interval_ns + 1) * funding.interval_ns
            counters.next_sample_ns = state.time_ns
        instants.pay_redemptions(state, self._clearing)
        if state.time_ns >= counters.next_sample_ns:
            instants.sample_funding(self._state, self._clearing)
            counters.next_sample_ns = (state.time_ns // funding.sample_ns + 1) * funding.sample_ns
        if state.time_ns >= counters.next_funding_ns:
            instants.pay_funding(
                self._state,
                self._clearing,
                (state.time_ns - counters.next_funding_ns) // funding.interval_ns + 1,
            )
            counters.next_funding_ns = (state.time_ns // funding.interval_ns + 1) * funding.interval_ns
        instants.charge_interest(state, self._clearing)
        drawdown = state.rules.insurance.drawdown
        if drawdown is not None:
            sample_peaks(state, drawdown)
        self._expire()
        self._work(state.markets, ("mark", "last"))
        if state.rules.adl.plan == "before":
            self._rounds.plan_queues()

    def _work(self, markets: list[Market], references: tuple[str, ...], *, scan: bool = True) -> None:
        """Fire triggers and do rounds of risk work until nothing is left, or the rulebook's bound."""
        self._rounds.begin()
        bound = self._state.rules.liquidation.rounds_max
        left = self._state.rules.orders.triggers_per_command_max
        for _ in range(bound):
            fired = self._fire(markets, references, left)
            left -= fired
            worked = scan and self._rounds.work()
            if not left:
                break
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
                    order = _released(armed.order)
                    try:
                        self._enter(self._gate_order(order), order)
                    except RefusedError as refused:
                        self._clearing.out.append(
                            Rejected(order.account, refused.reason, refused.detail, "place_order")
                        )
        return fired

    def _after_fills(self, market: Market) -> None:
        """Triggers on the last price, and risk work at once if a fill left one of its sides below zero."""
        state = self._state
        if not any(type(event) is Filled for event in self._clearing.out):
            return
        self._clearing.close_attached()
        self._work([market], ("last",), scan=False)
        touched = {
            compartment
            for event in self._clearing.out
            if type(event) is Filled
            for account in (event.taker, event.maker)
            for compartment in (
                *(state.compartment_of(account, leg.number) for leg in state.legs_of(market.number)),
                (account, state.settle),
            )
        }
        if any(risk_of(state, compartment).is_bankrupt for compartment in touched):
            self._work(state.markets, ("last",))

    def _set_status(self, command: SetStatus) -> None:
        market = gates.market_of(self._state, command.instrument)
        if market.number in self._state.expired:
            refuse(RejectReason.NOTHING_TO_DO, f"{market.instrument.symbol} has ended")
        self._state.status[market.number] = Status(command.open, command.reduce, command.liquidate)
        self._clearing.out.append(StatusSet(market.number, command.open, command.reduce, command.liquidate))

    def _settle_instrument(self, command: SettleInstrument) -> None:
        state = self._state
        market = gates.contract_of(self._state, command.instrument)
        is_perpetual = market.instrument.kind == "perpetual"
        if is_perpetual and state.rules.settlement.perpetual == "never":
            refuse(RejectReason.WRONG_KIND, f"{market.instrument.symbol} has no settlement")
        if is_perpetual and command.price_ticks is not None:
            refuse(RejectReason.NOT_IN_RULEBOOK, f"{market.instrument.symbol} ends at the index")
        if not self._owners(market.number) and not self._holders(market.number):
            refuse(RejectReason.NOTHING_TO_DO, "no positions and no orders")
        if not state.counters.started:
            refuse(RejectReason.NO_PRICE, "there was no index yet")
        if is_perpetual and state.time_ns >= state.counters.next_funding_ns:
            refuse(RejectReason.FUNDING_DUE, "the next index or tick pays it")
        price = market.prices.index_ticks if command.price_ticks is None else command.price_ticks
        assert price is not None
        gates.price(market, price, on_step=False)
        if is_perpetual:
            self._gate_delisting(market, price)
        self._end(market, price)
        self._work(state.markets, ("last",))

    def _gate_delisting(self, market: Market, price_ticks: int) -> None:
        """Closing at the final price leaves nobody below zero: who would be is for deleveraging."""
        lost: dict[Compartment, int] = {}
        for account, leg in self._holders(market.number):
            where = self._state.compartment_of(account, leg.number)
            held = self._state.accounts.lots.cells[leg.number][account]
            lost[where] = lost.get(where, 0) + leg.gain_atoms(held, price_ticks)
        for where, atoms in lost.items():
            equity = risk_of(self._state, where).equity_atoms - atoms
            if equity < 0:
                refuse(RejectReason.DEFICIT_OPEN, f"account {where[0]} would be left with {equity} atoms")

    def _end(self, market: Market, price_ticks: int) -> None:
        """The final settlement of a contract: no orders and no positions are left, and none will come."""
        state = self._state
        n = market.number
        for account, slot in self._owners(n):
            self._clearing.close_all(account, slot, "settlement")
        self._clearing.out.append(Settled(n, price_ticks))
        legs: list[Leg] = []
        rows = self._holders(n)
        changes = []
        for account, leg in rows:
            held = state.accounts.lots.cells[leg.number][account]
            changes.append(self._clearing.move(leg, account, -held, price_ticks, legs))
        self._clearing.post("settlement", legs)
        for (account, leg), change in zip(rows, changes, strict=True):
            self._clearing.release(leg, account, change.closed_lots)
        remainder = state.accounts.balances.cells[state.pocket(n)][CLEARING]
        legs = [(CLEARING, state.pocket(n), -remainder), (ROUNDING, state.settle, remainder)]
        self._clearing.post("rounding", legs)
        state.status[n] = Status(False, False, True)
        settled = self._rounds.settled
        for (account, _), change in zip(rows, changes, strict=True):
            settled[account] = settled.get(account, 0) + change.profit_atoms
        state.expired[n] = None

    def _owners(self, instrument: int) -> list[tuple[int, int]]:
        """(account, slot) wherever orders for the instrument are open."""
        slots = {leg.number for leg in self._state.legs_of(instrument)}
        return sorted(key for key, ids in self._state.own_orders.items() if ids and key[1] in slots)

    def _holders(self, instrument: int) -> list[tuple[int, Market]]:
        """Every open position in the instrument."""
        lots, count = self._state.accounts.lots.array, self._state.accounts.count
        return [
            (account, leg)
            for leg in self._state.legs_of(instrument)
            for account in np.flatnonzero(lots[leg.number, :count]).tolist()
        ]

    # Dated futures: expiry, daily settlement, the default of a member

    def _expire(self) -> None:
        """Settle the futures whose time has come, at the stated price or at the index of this instant."""
        for market in self._state.markets:
            contract = expiring(self._state, market.number)
            if contract is None:
                continue
            price = contract.final_price_ticks
            if price is None:
                price = market.prices.index_ticks
            assert price is not None
            self._end(market, price)

    def _settle_variation(self, command: SettleVariation) -> None:
        state = self._state
        market = gates.contract_of(state, command.instrument)
        if market.instrument.kind != "future":
            refuse(RejectReason.WRONG_KIND, f"{market.instrument.symbol} has no settlement")
        if not state.counters.started:
            refuse(RejectReason.NO_PRICE, "there was no index yet")
        if market.number in state.expired:
            refuse(RejectReason.NOTHING_TO_DO, f"{market.instrument.symbol} has expired")
        gates.price(market, command.price_ticks, on_step=False)
        variation.settle(state, self._clearing, market, command.price_ticks)
        self._close_beyond_limits(market)
        variation.call(state, self._clearing, market)
        self._work(state.markets, ("last",))
        variation.call(state, self._clearing, market)  # a winner whose gain has paid may be short now

    def _close_beyond_limits(self, market: Market) -> None:
        """The band moved with the settlement price: what rests outside of it leaves the book."""
        band = limit_band(self._state, market.number)
        if band is None:
            return
        for side in (BUY, SELL):
            for order in list(self._state.books[market.number].walk(side)):
                if not band[0] <= order.price_ticks <= band[1]:
                    self._clearing.close(order, "price_limit")

    def _contribute(self, command: Contribute) -> None:
        """A contribution leaves the wallet and answers for others; it comes back only in quiet times."""
        state = self._state
        account, atoms = command.account, command.atoms
        gates.customer(state, account)
        if "default_fund" not in state.rules.waterfall:
            refuse(RejectReason.NOT_IN_RULEBOOK, "the waterfall has no default fund")
        if not atoms:
            refuse(RejectReason.NOTHING_TO_DO, "0 atoms")
        gates.not_in_liquidation(state, account)
        if atoms < 0 and state.defaults:
            refuse(RejectReason.DEFAULT_OPEN, f"{len(state.defaults)} defaults are open")
        gates.marked(state, account)
        held = state.contributions.get(account, 0)
        most = withdrawable_atoms(state, account) if atoms > 0 else held
        if abs(atoms) > most:
            refuse(RejectReason.BALANCE_TOO_SMALL, f"{abs(atoms)} atoms asked, {most} may move")
        state.contributions[account] = held + atoms
        self._clearing.out.append(Contributed(account, atoms))
        self._clearing.post(
            "contribution", [(account, state.settle, -atoms), (DEFAULT_FUND, state.settle, atoms)]
        )
        state.accounts.session_base.cells[0][account] -= atoms

    def _hold_auction(self, command: HoldAuction) -> None:
        """The defaulter's whole portfolio moves at the best bid's prices; the loss is paid for at once."""
        state = self._state
        account = command.account
        gates.customer(state, account)
        if state.rules.default_fund.close_out != "auction":
            refuse(RejectReason.NOT_IN_RULEBOOK, "positions of a defaulter are closed in the book")
        for bid in command.bids:
            gates.customer(state, bid.account)
        compartment = (account, state.settle)
        if compartment not in state.in_liquidation:
            refuse(RejectReason.NOT_IN_DEFAULT, f"account {account}")
        for bid in command.bids:
            gates.not_in_liquidation(state, bid.account)
        held = state.positions_of(compartment)
        if not held or tuple(market.number for market in held) != command.instruments:
            refuse(RejectReason.CONTRADICTION, f"the portfolio is {[market.number for market in held]}")
        for bid in command.bids:
            if bid.account == account or len(bid.price_ticks) != len(held):
                refuse(RejectReason.CONTRADICTION, f"account {bid.account} bids for itself or for other lots")
            for market, price in zip(held, bid.price_ticks, strict=True):
                gates.price(market, price, on_step=False)
        lots = [(market.number, state.accounts.lots.cells[market.number][account]) for market in held]
        best, refused = auction.best_bid(state, lots, command.bids)
        if best is None:
            refuse(RejectReason.MARGIN_TOO_SMALL, f"none of {len(refused)} bids can be borne")
        self._clearing.sell(account, best, lots, command.bids, tuple(refused))
        self._work(state.markets, ("last",))

    # The lending pool

    def _lending_pool(self) -> LendingPool:
        pool = self._state.lending
        if pool is None:
            refuse(RejectReason.NOT_IN_RULEBOOK, "the rulebook has no lending pool")
        return pool

    def _supply(self, command: Supply) -> None:
        """What is supplied must be free, like a withdrawal: it is no margin any more."""
        state = self._state
        account, atoms = command.account, command.atoms
        gates.customer(state, account)
        pool = self._lending_pool()
        gates.not_in_liquidation(state, account)
        gates.marked(state, account)
        gates.fresh(state, account)
        shares = shares_of(atoms, pool.index)
        if atoms > 0 and not shares:
            refuse(RejectReason.VALUE_TOO_SMALL, f"{atoms} atoms are worth less than a share")
        if atoms <= 0:
            refuse(RejectReason.AMOUNT_NOT_POSITIVE, f"{atoms} atoms")
        if pool.shares_sum + shares > SHARES_MAX:
            refuse(RejectReason.AMOUNT_TOO_LARGE, f"at most {SHARES_MAX} shares")
        most = withdrawable_atoms(state, account)
        if atoms > most:
            refuse(RejectReason.BALANCE_TOO_SMALL, f"{atoms} atoms asked, {most} may move")
        self._clearing.supply(account, atoms, shares)

    def _redeem(self, command: Redeem) -> None:
        """Nobody leaves while a deficit is open that all suppliers may have to bear."""
        state = self._state
        account, shares = command.account, command.share_count
        gates.customer(state, account)
        pool = self._lending_pool()
        if shares <= 0:
            refuse(RejectReason.AMOUNT_NOT_POSITIVE, f"{shares} shares")
        most = lenders.redeemable_shares(state, pool, account)
        if shares > most:
            refuse(RejectReason.BALANCE_TOO_SMALL, f"{shares} shares asked, {most} can be redeemed")
        if state.open_deficits:
            refuse(RejectReason.DEFICIT_OPEN, f"{len(state.open_deficits)} deficits are open")
        self._clearing.redeem(account, shares)

    def _borrow(self, command: Borrow) -> None:
        state = self._state
        account, atoms = command.account, command.atoms
        gates.customer(state, account)
        self._lending_pool()
        gates.not_in_liquidation(state, account)
        gates.marked(state, account)
        gates.fresh(state, account)
        if atoms <= 0:
            refuse(RejectReason.AMOUNT_NOT_POSITIVE, f"{atoms} atoms")
        custody = custody_of(state)
        most = min(custody.held_atoms, borrowable_atoms(state, account, lenders.cash_atoms(state)))
        if atoms > most:
            refuse(RejectReason.BALANCE_TOO_SMALL, f"{atoms} atoms asked, {most} may leave")
        if custody.is_shut or custody.hole_atoms:
            refuse(RejectReason.DEFICIT_OPEN, "nothing is lent while a deficit stands that nobody has borne")
        self._clearing.post("borrowing", [(account, state.settle, -atoms), (EXTERNAL, state.settle, atoms)])
        state.accounts.session_base.cells[0][account] -= atoms

    # Invariants

    def check(self) -> None:
        """Assert every invariant that the venue knows of; for tests and every so many commands of a run."""
        state = self._state
        accounts = state.accounts
        count = accounts.count
        assert not any(state.ledger.asset_sums()), f"ledger: {state.ledger.asset_sums()}"
        for market in state.markets:
            n = market.number
            rows = [leg.number for leg in state.legs_of(n)]
            lots = accounts.lots.array[rows, :count]
            assert int(lots.sum()) == 0, f"{market.instrument.symbol}: lots sum to {lots.sum()}"
            assert int(lots[lots > 0].sum()) == state.open_interest[n]
            hedged = list(state.hedged)
            assert not (lots[:, hedged] * [[1], [-1]][: len(rows)] < 0).any(), "a leg of the wrong sign"
            assert not np.delete(lots[1:], hedged, axis=1).any(), "a short leg outside of hedge mode"
            cost = sum(sum(row) for row in accounts.cost.array[rows, :count].tolist())
            if state.instruments[n].kind != "spot":
                assert accounts.balances.cells[state.pocket(n)][CLEARING] == -cost, (
                    "clearing is not minus the costs"
                )
            assert not accounts.cost.array[rows, :count][lots == 0].any(), "cost without a position"
            state.books[n].check()
        left_behind = accounts.balances.cells[state.settle][UNPAID]
        owed = -accounts.balances.cells[state.settle][DEFICIT]
        assert 0 <= left_behind <= owed, f"{left_behind} atoms left behind beside a debt of {owed}"
        fund = accounts.balances.cells[state.settle][DEFAULT_FUND]
        assert fund == sum(state.contributions.values()), "the fund is not the sum of its contributions"
        if state.lending is not None:
            held = accounts.balances.cells[state.settle][LENDING]
            assert held >= state.lending.claims_atoms, "the lending pool has less than its shares are worth"
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
                    value = value_atoms(
                        state.instruments[order.instrument], order.price_ticks, order.open_lots
                    )
                    slot = state.leg_of_order(order).number
                    for kind, amount in (("lots", order.open_lots), ("value", value)):
                        key = (f"{name}_{kind}", slot, order.account)
                        tallies[key] = tallies.get(key, 0) + amount
        assert resting == len(state.orders), "the order index holds an order that does not rest"
        for name in ("buy_lots", "sell_lots", "buy_value", "sell_value"):
            table: Table = getattr(state.accounts, name)
            for n, account in zip(*(axis.tolist() for axis in np.nonzero(table.array)), strict=True):
                assert tallies.pop((name, n, account), 0) == table.cells[n][account], f"{name} of {account}"
        assert not any(tallies.values()), "a resting order is not tallied"


def _closes_leg(order: PlaceOrder) -> bool:
    """Is the order's side the one that closes the leg it names?"""
    return (order.side == SELL) == (order.leg == "long")


def _released(order: PlaceOrder) -> PlaceOrder:
    """What goes to the book when a trigger is met."""
    tif = "ioc" if order.price_ticks is None and order.tif == "gtc" else order.tif
    return structs.replace(order, tif=tif, trigger=None)


def _planned_value_atoms(instrument: Instrument, plan: Plan) -> int:
    """What the fills of a plan are worth, unsigned."""
    return sum(
        abs(value_atoms(instrument, step.maker.price_ticks, step.fill_lots))
        for step in plan.steps
        if step.fill_lots
    )
