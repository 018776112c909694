"""Pure answers about one account under a rulebook: margin, the price of liquidation, what is left on a path.

A situation is a small venue of its own, with the account that is asked about, a holder of the other side and
a street that quotes. Margin is what the venue's own functions say of it; a price path runs through the
venue's own commands. No question changes the venue or the account that it is about.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from math import ceil, isqrt
from typing import Self

from msgspec import Struct, structs

from zerodebt.exchange.accounts import VAULT
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.book import Order
from zerodebt.exchange.clearing import Clearing
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    CancelAll,
    Command,
    Observation,
    PlaceOrder,
    SetBackstop,
    SettleVariation,
    Side,
    UpdateIndex,
)
from zerodebt.exchange.custody import Custody, custody_of, share_atoms
from zerodebt.exchange.events import EXTERNAL, FIRST_ACCOUNT, HOUSE, INSURANCE, Event, Rejected
from zerodebt.exchange.instruments import (
    Instrument,
    MarginTable,
    closing_ticks,
    order_step_ticks,
    shared_tier,
    tier_of,
    value_atoms,
)
from zerodebt.exchange.judge import judge_order
from zerodebt.exchange.margin import (
    Risk,
    initial_requirement_atoms,
    maintenance_of,
    open_markets,
    risk_of,
    size_beside,
    stale_market,
    withdrawable_atoms,
)
from zerodebt.exchange.marks import Market
from zerodebt.exchange.matching import Plan, Step, reducible_lots
from zerodebt.exchange.portfolio import requirement_atoms
from zerodebt.exchange.reject import RefusedError
from zerodebt.exchange.rounds import RiskRounds
from zerodebt.exchange.rules import BandRules, IndexRules, IndexSource, VenueRules
from zerodebt.exchange.sessions import limit_band
from zerodebt.exchange.state import Call, Compartment, State
from zerodebt.exchange.triggers import Armed
from zerodebt.exchange.units import DAY_NS, PPB
from zerodebt.exchange.venue import Venue

ASKED, HOLDER, STREET, BACKSTOP_VAULT = range(FIRST_ACCOUNT, FIRST_ACCOUNT + 4)
STREET_ATOMS = 2**58
HOLDER_SHARE = 20
"""The holder of the other side owns this many times its value: safe, and still ranked when it wins.

Much more would leave it without a score: Binance's divides by the wallet twice, in parts per billion. At most
STREET_ATOMS a position, so that the sum of all that was brought in stays within 64 bits.
"""
_ROOT_SCALE = 10**24
_ROUNDED_ATOMS = 3
"""What rounding the value, the requirement and its share of an initial one may take, in atoms."""


class Position(Struct, frozen=True, kw_only=True):
    """A position of the account. `lots` signed and not zero; `leverage` 0 is the largest that may be chosen.

    isolated_atoms  margin of the position alone; None: it answers with the cross pool
    """

    instrument: int
    lots: int
    entry_ticks: int
    leverage: int = 0
    isolated_atoms: int | None = None


class MarginState(Struct, frozen=True):
    """A compartment at the marks: atoms of the settlement asset; the haircut is that of its collateral."""

    equity_atoms: int
    haircut_atoms: int
    maintenance_atoms: int
    initial_atoms: int
    is_liquidatable: bool
    is_bankrupt: bool


class PricePoint(Struct, frozen=True):
    """A price in ticks: exact, and the first whole tick on its far side.

    falls  True where the point is reached by falling prices
    """

    exact_ticks: Fraction
    ticks: int
    falls: bool


class PathStep(Struct, frozen=True):
    """Marks of an instant, one for each instrument, `after_ns` (above 0) later than the step before.

    mark_ticks     None where the instrument has no price; nothing may be held there
    depth_lots     what the street bids and offers in each instrument; 0: an empty book
    slippage_ppb   how far from the mark it does
    """

    mark_ticks: tuple[int | None, ...]
    after_ns: int = 10**9
    depth_lots: tuple[int, ...] = ()
    slippage_ppb: int = 0


class Outcome(Struct, frozen=True):
    """What an instant of a path did: the venue's events, and where the account stands afterwards.

    lots      signed, by instrument; the net of both legs in hedge mode
    legs      the same, one for each leg where the rulebook offers hedge mode
    isolated  (slot, standing) of each position that answers with its own margin
    """

    events: tuple[Event, ...]
    lots: tuple[int, ...]
    legs: tuple[tuple[int, ...], ...]
    balances: tuple[int, ...]
    cross: MarginState
    isolated: tuple[tuple[int, MarginState], ...]


class Situation:
    """One account at given marks. `balances` by asset; `marks` by instrument, None where nothing is held.

    It is in hedge mode where `is_hedged` says so, or where it has positions on both sides of an instrument.
    """

    def __init__(
        self,
        rules: VenueRules,
        assets: tuple[Asset, ...],
        instruments: tuple[Instrument, ...],
        balances: Sequence[int],
        positions: Sequence[Position],
        marks: Sequence[int | None],
        indexes: Sequence[int | None] = (),
        *,
        is_hedged: bool = False,
    ) -> None:
        self.state = State(rules, assets, instruments)
        self.custody: Custody | None = None
        """None: nothing is known of what the venue holds."""
        self.is_stale = False
        """The index of an open position is too old, so that nothing leaves the wallet."""
        state = self.state
        state.accounts.open(4)
        state.accounts.recheck_at.array[0, FIRST_ACCOUNT : state.accounts.count] = -1
        sides = {(position.instrument, position.lots > 0) for position in positions}
        if is_hedged or len(sides) > len({instrument for instrument, _ in sides}):
            assert state.offers_legs, "the rulebook has no hedge mode"
            state.hedged = {ASKED: None, HOLDER: None}
        state.accounts.vault.cells[0][BACKSTOP_VAULT] = VAULT
        for asset, atoms in enumerate(balances):
            self._bring(asset, ASKED, atoms)
        for account in (STREET, BACKSTOP_VAULT):
            self._bring(state.settle, account, STREET_ATOMS)
        for market in state.markets:
            self._bring_to_street(market.instrument)
        for number, market in enumerate(state.markets):
            prices = market.prices
            prices.mark_ticks = prices.previous_mark_ticks = marks[number]
            prices.index_ticks = indexes[number] if indexes else marks[number]
            prices.meter_ticks = max(1, abs(marks[number] or 0))
        for collateral in state.collateral:
            index = collateral.market.prices.index_ticks
            if index is not None:
                collateral.market.prices.observed = [(index, state.time_ns)] * len(rules.sources)
        for market in state.contracts:
            highest = market.instrument.tiers[0].leverage_max
            state.accounts.leverage.array[market.number, FIRST_ACCOUNT : state.accounts.count] = highest
        for position in positions:
            self._hold(position)

    @classmethod
    def of(cls, venue: Venue, account: int) -> Self:
        """The situation of an account of a running venue, its orders included; the venue is only read.

        Its shares of a lending pool are left out: what it may redeem depends on what others have borrowed.
        """
        view = venue._state
        accounts = view.accounts
        positions = []
        for market in view.contracts:
            n = market.number
            lots = accounts.lots.cells[n][account]
            if not lots:
                continue
            isolated = bool(accounts.isolated.cells[n][account])
            positions.append(
                Position(
                    instrument=market.instrument_number,
                    lots=lots,
                    entry_ticks=market.mark_ticks,
                    leverage=accounts.leverage.cells[n][account],
                    isolated_atoms=accounts.balances.cells[view.pocket(n)][account] if isolated else None,
                )
            )
        balances = [accounts.balances.cells[asset][account] for asset in range(len(view.assets))]
        marks = [market.prices.mark_ticks for market in view.markets]
        indexes = [market.prices.index_ticks for market in view.markets]
        is_hedged = account in view.hedged
        situation = cls(
            view.rules,
            view.assets,
            view.instruments,
            balances,
            positions,
            marks,
            indexes,
            is_hedged=is_hedged,
        )
        situation._take_on(view, account)
        situation.custody = custody_of(view)
        situation.is_stale = stale_market(view, open_markets(view, account)) is not None
        theirs = situation.state.accounts
        for market in view.contracts:
            for name in ("leverage", "isolated"):
                cells = getattr(accounts, name).cells[market.number]
                getattr(theirs, name).cells[market.number][ASKED] = cells[account]
        for position in positions:
            held = view.leg(account, position.instrument, position.lots)
            asked, holder = situation._sides(position)
            for name in ("cost", "entry_cost"):
                cells = getattr(theirs, name).cells
                cells[asked][ASKED] = getattr(accounts, name).cells[held.number][account]
                cells[holder][HOLDER] = -cells[asked][ASKED]
        return situation

    def _take_on(self, view: State, account: int) -> None:
        """What else of a running venue bears on its account, and what is open at all.

        That is orders, cooldowns, calls, what issuers owe, and how old the prices of collateral are. Times
        are counted from now on, as a path's are: what was published before has one below zero.
        """
        state = self.state
        clearing = Clearing(state)
        for market in view.slots:
            for order_id in view.own_orders.get((account, market.number), ()):
                resting = view.orders.get(order_id)
                if resting is not None:
                    clearing.rest(structs.replace(resting, account=ASKED))
                else:
                    waiting = view.armed[order_id].order
                    clearing.wait(Armed(order_id, structs.replace(waiting, account=ASKED)))
        state.counters.next_order_id = view.counters.next_order_id
        state.open_interest = list(view.open_interest)
        state.status = list(view.status)
        state.settled_ticks = dict(view.settled_ticks)
        state.expired = dict(view.expired)
        for market, seen in zip(state.markets, view.markets, strict=True):
            market.prices.last_ticks = seen.prices.last_ticks
            market.prices.previous_mark_ticks = seen.prices.previous_mark_ticks
        for (holder, slot), until_ns in view.cooling_until.items():
            if holder == account and until_ns >= view.time_ns:
                state.cooling_until[ASKED, slot] = until_ns - view.time_ns
        for holder, pocket in view.in_liquidation:
            if holder == account:
                state.in_liquidation[ASKED, pocket] = None
        for (holder, pocket), call in view.calls.items():
            if holder == account:
                state.calls[ASKED, pocket] = Call(call.atoms, max(0, call.due_ns - view.time_ns))
        for redemption in view.redemptions:
            if redemption.account == account:
                due_ns = max(0, redemption.due_ns - view.time_ns)
                state.redemptions.append(structs.replace(redemption, account=ASKED, due_ns=due_ns))
                state.accounts.coming.cells[redemption.row][ASKED] += redemption.atoms
        for collateral, theirs in zip(state.collateral, view.collateral, strict=True):
            collateral.market.prices.observed = [
                None if seen is None else (seen[0], seen[1] - view.time_ns)
                for seen in theirs.market.prices.observed
            ]

    def _sides(self, position: Position) -> tuple[int, int]:
        """Slots of a position and of the other side's."""
        n, lots = position.instrument, position.lots
        return self.state.leg(ASKED, n, lots).number, self.state.leg(HOLDER, n, -lots).number

    def _bring(self, asset: int, account: int, atoms: int) -> None:
        self.state.ledger.post("deposit", [(EXTERNAL, asset, -atoms), (account, asset, atoms)])

    def _bring_to_street(self, instrument: Instrument) -> None:
        """What the street needs to bid and offer in a spot market: both of its assets."""
        if instrument.kind != "spot":
            return
        coins = instrument.open_interest_max_lots * instrument.lot_atoms
        self._bring(instrument.base_asset, STREET, coins)
        if instrument.settle_asset != self.state.settle:
            self._bring(instrument.settle_asset, STREET, STREET_ATOMS)

    def _hold(self, position: Position) -> None:
        state = self.state
        n, lots = position.instrument, position.lots
        instrument = state.instruments[n]
        cost = value_atoms(instrument, position.entry_ticks, lots)
        accounts = state.accounts
        self._bring(state.settle, HOLDER, min(HOLDER_SHARE * abs(cost), STREET_ATOMS))
        slot, other = self._sides(position)
        for account, row, sign in ((ASKED, slot, 1), (HOLDER, other, -1)):
            accounts.lots.cells[row][account] = sign * lots
            accounts.cost.cells[row][account] = sign * cost
            accounts.entry_cost.cells[row][account] = sign * cost
        state.open_interest[n] += abs(lots)
        if position.leverage:
            accounts.leverage.cells[slot][ASKED] = position.leverage
        if position.isolated_atoms is not None:
            accounts.isolated.cells[slot][ASKED] = 1
            self._bring(state.settle, ASKED, position.isolated_atoms)
            margin = position.isolated_atoms
            legs = [(ASKED, state.settle, -margin), (ASKED, state.pocket(slot), margin)]
            state.ledger.post("isolate", legs)

    # Where the account stands

    def leg(self, instrument: int, side: Side | None = None) -> Market:
        """What holds the position in an instrument: of two legs the one of `side`, or the long one."""
        cells = self.state.accounts.lots.cells
        for leg in self.state.legs_of(instrument):
            if cells[leg.number][ASKED] * (side or cells[leg.number][ASKED]) > 0:
                return leg
        return self.state.leg(ASKED, instrument, side or BUY)

    def compartment_of(self, instrument: int, side: Side | None = None) -> Compartment:
        """What answers for the position in an instrument: its own margin, or the cross pool."""
        return self.state.compartment_of(ASKED, self.leg(instrument, side).number)

    @property
    def is_hedged(self) -> bool:
        """Is the account in hedge mode?"""
        return ASKED in self.state.hedged

    def is_joint(self, instrument: int, side: Side | None = None) -> bool:
        """Does the cross pool hold the other leg of the instrument as well?"""
        other = self.state.other_leg(ASKED, self.leg(instrument, side))
        return other is not None and self.state.accounts.lots.cells[other.number][ASKED] != 0

    def is_on_grid(self, instrument: int, side: Side | None = None) -> bool:
        """Does the position answer to a grid of price moves, together with all others of the cross pool?"""
        pocket = self.compartment_of(instrument, side)[1]
        return self.state.portfolio is not None and pocket == self.state.settle

    def risk(self, compartment: Compartment) -> Risk:
        return risk_of(self.state, compartment)

    def standing(self, compartment: Compartment | None = None) -> MarginState:
        """Equity and requirements of a compartment; of the cross pool when none is named."""
        return _standing(self.state, compartment or (ASKED, self.state.settle))

    def maintenance_atoms(self, instrument: int, side: Side | None = None) -> int:
        """Maintenance requirement of the position in an instrument alone."""
        leg, lots = self.leg(instrument, side), self.lots(instrument, side)
        if self.state.portfolio is not None and self.is_on_grid(instrument, side):
            return requirement_atoms(self.state.portfolio, [(leg, lots)])
        return maintenance_of(self.state, leg, ASKED, lots)

    def withdrawable_atoms(self) -> int:
        """Settlement asset that may leave the wallet, as far as the venue can pay."""
        if self.is_stale or self.state.is_in_liquidation(ASKED):
            return 0
        most = withdrawable_atoms(self.state, ASKED)
        return most if self.custody is None else share_atoms(self.custody, most)

    # Prices

    def liquidation_price(self, instrument: int, side: Side | None = None) -> PricePoint | None:
        """Where the position's compartment falls below its requirement, other prices standing still.

        Beyond the nearest root of equity = requirement on the losing side of the mark (of an account that is
        below it already: on the winning side). None where no price does it. Source: the rulebook's margin.
        The price moves both legs of a cross pool, and under a grid the offsets with its other positions:
        then it is the nearest tick on either side at which the engine's verdict turns, found by search and
        exact to the tick only.
        """
        if self.is_joint(instrument, side) or self.is_on_grid(instrument, side):
            return self._turning_point(instrument, side)
        curve = self._curve(instrument, side, after_haircut=True)
        size = curve.liquidation()
        if size is None:
            return None
        exact = curve.price_of(size)
        return PricePoint(exact, self._first_tick(instrument, side, curve, exact), curve.falls)

    def _turning_point(self, instrument: int, side: Side | None) -> PricePoint | None:
        """The nearest tick at which the verdict on the cross pool is another than at the mark."""
        mark = self.state.markets[instrument].mark_ticks
        turns = (self._first_turn(instrument, side, mark, step) for step in (-1, 1))
        found = [tick for tick in turns if tick is not None]
        if not found:
            return None
        ticks = min(found, key=lambda tick: abs(tick - mark))
        return PricePoint(Fraction(ticks), ticks, ticks < mark)

    def _first_turn(self, instrument: int, side: Side | None, mark: int, step: int) -> int | None:
        """In one direction, stretch by stretch, each in strides that double, then by bisection.

        Within a stretch equity is linear in the value of the legs and the requirement grows with it ever
        faster (over a grid it is a maximum of linear losses), so that its safe prices lie in one piece: of a
        safe account no turn is missed.
        """
        spec = self.state.instruments[instrument]
        now = self.is_liquidatable_at(instrument, mark, side)
        edge = spec.price_min_ticks if step < 0 else spec.price_max_ticks
        for near, last in self._stretches(instrument, mark, edge, step):
            if self.is_liquidatable_at(instrument, near, side) != now:
                return near
            stride = 1
            while near != last:
                far = near + step * min(stride, abs(last - near))
                if self.is_liquidatable_at(instrument, far, side) != now:
                    while abs(far - near) > 1:
                        middle = (near + far) // 2
                        is_same = self.is_liquidatable_at(instrument, middle, side) == now
                        near, far = (middle, far) if is_same else (near, middle)
                    return far
                near, stride = far, 2 * stride
        return None

    def _stretches(self, instrument: int, mark: int, edge: int, step: int) -> Iterator[tuple[int, int]]:
        """(first, last) tick of the prices up to the edge over which the requirement does not jump.

        It does where a leg changes its tier, if tiers are whole and by value. At a price of zero it may be
        nothing, and then nobody is liquidatable: that tick is alone.
        """
        spec = self.state.instruments[instrument]
        jumps = spec.tier_form == "whole" and spec.tier_unit == "value" and self.state.portfolio is None
        first = mark
        while (edge - first) * step >= 0:
            last = 0 if not first else edge if first * edge > 0 else -step
            tiers = self._tiers_at(instrument, first) if jumps else []
            if jumps and self._tiers_at(instrument, last) != tiers:
                beyond, last = last, first
                while abs(beyond - last) > 1:
                    middle = (last + beyond) // 2
                    is_same = self._tiers_at(instrument, middle) == tiers
                    last, beyond = (middle, beyond) if is_same else (last, middle)
            yield first, last
            first = last + step

    def _tiers_at(self, instrument: int, mark_ticks: int) -> list[int]:
        """The tier of each leg with the instrument marked at this price."""
        state = self.state
        prices = state.markets[instrument].prices
        before, prices.mark_ticks = prices.mark_ticks, mark_ticks
        tiers = []
        for leg in state.legs_of(instrument):
            lots = state.accounts.lots.cells[leg.number][ASKED]
            beside = size_beside(state, leg, ASKED)
            tiers.append(shared_tier(leg.margin, abs(leg.value_atoms(lots)), abs(lots), beside))
        prices.mark_ticks = before
        return tiers

    def bankruptcy_price(
        self, instrument: int, side: Side | None = None, *, closing_fee: bool = False
    ) -> PricePoint | None:
        """Where closing the whole position, both legs of a cross pool, leaves it with exactly nothing.

        closing_fee  count the taker fee of closing, which some venues' bankruptcy price includes (Bybit help
                     centre, Bankruptcy price of inverse contracts); otherwise the price is before fees
        The whole tick is rounded so that closing at it leaves no debt. Property LIQ-08.
        """
        fee_ppb = self.state.rules.fees.taker_ppb if closing_fee else 0
        lots = self.lots(instrument, side)
        fee = Fraction(fee_ppb)
        if self.is_joint(instrument, side):
            legs = [self.lots(instrument, leg) for leg in (BUY, SELL)]
            lots = sum(legs)
            if not lots:
                return None
            fee = fee * sum(map(abs, legs)) / abs(lots)
            curve = self._joint_curve(instrument, lots)
        else:
            curve = self._curve(instrument, side, after_haircut=False)
        size = curve.bankruptcy(fee)
        if size is None:
            return None
        spec = self.state.instruments[instrument]
        ticks = closing_ticks(spec, lots, ceil(curve.sign * size))
        return PricePoint(curve.price_of(size), ticks, curve.falls)

    def lots(self, instrument: int, side: Side | None = None) -> int:
        """Signed lots of the position, or of the leg of this side."""
        lots = self.state.accounts.lots.cells[self.leg(instrument, side).number][ASKED]
        return lots if side is None or lots * side > 0 else 0

    def is_liquidatable_at(self, instrument: int, mark_ticks: int, side: Side | None = None) -> bool:
        """The engine's verdict on the position's compartment with the instrument marked at this price."""
        prices = self.state.markets[instrument].prices
        before = prices.mark_ticks
        prices.mark_ticks = mark_ticks
        verdict = self.risk(self.compartment_of(instrument, side)).is_liquidatable
        prices.mark_ticks = before
        return verdict

    def _first_tick(self, instrument: int, side: Side | None, curve: "_Curve", exact: Fraction) -> int:
        """The whole tick at or beyond the exact price from which the engine says liquidatable.

        The engine rounds value and requirement to atoms, so its tick may lie off the exact price by what that
        is worth in ticks: of an inverse contract of few lots more than one.
        """
        spec = self.state.instruments[instrument]
        step = -1 if curve.falls else 1
        near = ceil(exact) if curve.falls else int(exact // 1)
        reach = 4 + ceil(_ROUNDED_ATOMS * curve.ticks_per_atom(exact))
        safe, beyond = near - step * reach, near + step * reach
        if spec.contract == "inverse":
            safe, beyond = max(1, safe), max(1, beyond)
        if not self.is_liquidatable_at(instrument, beyond, side):
            return near
        while abs(beyond - safe) > 1:
            middle = (safe + beyond) // 2
            if self.is_liquidatable_at(instrument, middle, side):
                beyond = middle
            else:
                safe = middle
        return beyond

    def _joint_curve(self, instrument: int, net_lots: int) -> "_Curve":
        """Equity of the cross pool as the price moves both legs, whose values differ by that of the net."""
        market = self.leg(instrument)
        rest = self.risk(self.compartment_of(instrument)).equity_atoms - market.value_atoms(net_lots)
        return _Curve(market, net_lots, rest, 0, 0)

    def _curve(self, instrument: int, side: Side | None, *, after_haircut: bool) -> "_Curve":
        state = self.state
        market = self.leg(instrument, side)
        lots = self.lots(instrument, side)
        risk = self.risk(self.compartment_of(instrument, side))
        rest = (risk.margin_atoms if after_haircut else risk.equity_atoms) - market.value_atoms(lots)
        required = risk.maintenance_atoms - maintenance_of(state, market, ASKED, lots)
        cost = state.accounts.cost.cells[market.number][ASKED]
        return _Curve(market, lots, rest, required, cost)

    # Orders

    def largest_order(
        self, instrument: int, side: Side, price_ticks: int, leverage: int = 0, *, reduces: bool = False
    ) -> int:
        """Most lots of one more limit order at this price that the venue takes, filled at once or resting.

        leverage  chosen for it; 0: the position's own
        reduces   in hedge mode it closes the leg of the other side; otherwise it opens the one of its own
        An account that may open less than it holds may still reduce: then it is the most of a reduce-only
        order. Beyond the rulebook's cap on open interest nothing fits; who fills the order opens a position.
        """
        leg = self.state.leg(ASKED, instrument, side, reduces=reduces)
        cells = self.state.accounts.leverage.cells[leg.number]
        before = cells[ASKED]
        cells[ASKED] = leverage or before
        most = self._most_that_fits(leg, side, price_ticks, reduces=reduces)
        cells[ASKED] = before
        return most

    def _most_that_fits(self, leg: Market, side: Side, price_ticks: int, *, reduces: bool) -> int:
        state = self.state
        largest = leg.instrument.size_max_lots
        held = state.accounts.lots.cells[leg.number][ASKED]
        reducing = min(largest, reducible_lots(held, side))

        def most(low: int, high: int, *, reduce_only: bool) -> int:
            while low < high:
                middle = (low + high + 1) // 2
                is_taken = self._is_taken(leg, side, price_ticks, middle, reduce_only)
                low, high = (middle, high) if is_taken else (low, middle - 1)
            return low

        if reduces:
            return most(0, reducing, reduce_only=True)
        if reducing and not self._is_taken(leg, side, price_ticks, reducing, reduce_only=False):
            return max(most(0, reducing, reduce_only=only) for only in (False, True))
        return reducing if state.is_in_liquidation(ASKED) else most(reducing, largest, reduce_only=False)

    def _is_taken(self, leg: Market, side: Side, price_ticks: int, lots: int, reduce_only: bool) -> bool:
        """The venue's own judgement of an order that is filled whole at its price, and of one that rests."""
        maker = Order(0, STREET, leg.instrument_number, -side, price_ticks, lots, 0, False, False)
        try:
            for plan in (Plan((Step(maker, lots),), lots, 0), Plan((), 0, lots)):
                judge_order(self.state, leg, ASKED, side, plan, plan.open_lots, price_ticks, reduce_only)
        except RefusedError:
            return False
        return True

    def adl_score_ppb(self, instrument: int, side: Side | None = None) -> int:
        """What the rulebook ranks the position by among the winners of its side; 0 without a profit."""
        lots = self.lots(instrument, side)
        rounds = RiskRounds(self.state, Clearing(self.state))
        ranking = rounds.asked(self.state.markets[instrument], -1 if lots > 0 else 1)
        return next((ranked.score_ppb for ranked in ranking if ranked.candidate.account == ASKED), 0)

    # A path

    def what_if(
        self, path: Iterable[PathStep], *, fund_atoms: int = 0, has_backstop: bool = True
    ) -> Iterator[Outcome]:
        """Run the account along marks: every instant through the venue's own risk work.

        fund_atoms    what the insurance fund and the house hold each
        has_backstop  is there a vault, with money enough, for every instrument?
        Neither funding nor interest on what is owed is paid on the way (the lending pool is not part of it),
        and the path's marks are the index too. Under a rulebook of margin
        calls dated futures are settled at the mark at the first instant of each new day, counted from the
        path's beginning; nobody bids in an auction, and there is trading at all times.
        """
        lending = self.state.rules.lending
        rules = structs.replace(
            self.state.rules,
            sources=(IndexSource("path", 1),),
            index=IndexRules(),
            mark=structs.replace(self.state.rules.mark, formula="index"),
            funding=structs.replace(self.state.rules.funding, interval_ns=2**60, sample_ns=2**60),
            orders=structs.replace(self.state.rules.orders, value_min_atoms=0, band=BandRules()),
            settlement=structs.replace(self.state.rules.settlement, sessions=()),
            lending=lending and structs.replace(lending, interval_ns=2**60),
        )
        venue = Venue.restore(rules, self.state.assets, self.state.instruments, self.state.snapshot())
        state = venue._state
        state.open_interest = list(self.state.open_interest)
        if fund_atoms:
            for account in (INSURANCE, HOUSE):
                legs = [(EXTERNAL, state.settle, -fund_atoms), (account, state.settle, fund_atoms)]
                state.ledger.post("deposit", legs)
        now_ns = 0
        if has_backstop and "backstop" in rules.waterfall:
            numbers = tuple(m.number for m in state.markets if m.instrument.kind != "spot")
            venue.apply(SetBackstop(BACKSTOP_VAULT, numbers), now_ns)
        for step in path:
            now_ns += step.after_ns
            yield self._step(venue, step, now_ns)

    def _step(self, venue: Venue, step: PathStep, now_ns: int) -> Outcome:
        state = venue._state
        events: list[Event] = []
        for order in (*_quotes(state, step, BUY), *_quotes(state, step, SELL)):
            batch = venue.apply(order, now_ns)
            assert not isinstance(batch.events[0], Rejected), batch.events[0]
            if len(batch.events) > 1:
                events += batch.events
        seen = tuple(
            Observation(number, 0, _price_ticks(state.instruments[number], ticks), now_ns)
            for number, ticks in enumerate(step.mark_ticks)
        )
        commands: Iterator[Command] = chain((UpdateIndex(seen),), _settlements(state, step, now_ns))
        for command in commands:
            batch = venue.apply(command, now_ns)
            assert not isinstance(batch.events[0], Rejected), batch.events[0]
            events += batch.events
        venue.apply(CancelAll(STREET), now_ns)
        accounts = state.accounts
        return Outcome(
            tuple(events),
            tuple(venue.view.position_lots(n, ASKED) for n in range(len(state.instruments))),
            tuple(venue.view.legs_lots(n, ASKED) for n in range(len(state.instruments))),
            tuple(
                accounts.balances.cells[pocket][ASKED] for pocket in range(accounts.balances.array.shape[0])
            ),
            _standing(state, (ASKED, state.settle)),
            tuple(
                (market.number, _standing(state, (ASKED, state.pocket(market.number))))
                for market in state.contracts
                if accounts.isolated.cells[market.number][ASKED] and accounts.lots.cells[market.number][ASKED]
            ),
        )


def _price_ticks(instrument: Instrument, mark_ticks: int | None) -> int:
    """The first index needs a price of every instrument: any, where nothing is held."""
    return max(1, instrument.price_min_ticks) if mark_ticks is None else mark_ticks


def settles_daily(state: State) -> bool:
    """Do dated futures pay each day what they gained, so that whoever is short of margin is called?"""
    return state.rules.settlement.call_to != "none"


def _settlements(state: State, step: PathStep, now_ns: int) -> Iterator[SettleVariation]:
    """The daily settlement of what has a price, at the first instant of a new day."""
    if not settles_daily(state) or now_ns // DAY_NS == (now_ns - step.after_ns) // DAY_NS:
        return
    for market, mark in zip(state.markets, step.mark_ticks, strict=True):
        if market.instrument.kind == "future" and mark is not None and market.number not in state.expired:
            yield SettleVariation(market.number, mark)


def _quotes(state: State, step: PathStep, side: Side) -> Iterator[PlaceOrder]:
    for number, depth in enumerate(step.depth_lots):
        mark = step.mark_ticks[number]
        if mark is None or not depth or not state.status[number].open:
            continue
        spec = state.instruments[number]
        away = max(1, mark * step.slippage_ppb // PPB)
        price = mark - side * away
        price -= side * (side * price % order_step_ticks(spec, price))
        low, high = limit_band(state, number) or (spec.price_min_ticks, spec.price_max_ticks)
        if max(low, spec.price_min_ticks) <= price <= min(high, spec.price_max_ticks):
            yield PlaceOrder(STREET, number, side, depth, price)


def _standing(state: State, compartment: Compartment) -> MarginState:
    risk = risk_of(state, compartment)
    return MarginState(
        risk.equity_atoms,
        risk.haircut_atoms,
        risk.maintenance_atoms,
        initial_requirement_atoms(state, compartment),
        risk.is_liquidatable,
        risk.is_bankrupt,
    )


class _Curve:
    """Equity and requirement of a compartment as functions of one position's size in value, exact.

    With w = |value| of the position, equity = rest + sign * w. The sign is that of the lots for a linear
    contract and the other one for an inverse contract, whose w falls as the price rises.
    """

    def __init__(self, market: Market, lots: int, rest_atoms: int, required_atoms: int, cost: int) -> None:
        instrument = market.instrument
        self._is_inverse = instrument.contract == "inverse"
        self._table: MarginTable = market.margin
        self._lots = abs(lots)
        self._unit = self._lots * instrument.tick_value_atoms
        self.sign = (1 if lots > 0 else -1) * (-1 if self._is_inverse else 1)
        self._rest = rest_atoms
        self._required = required_atoms
        self._now = abs(market.value_atoms(lots))
        self._cost = Fraction(abs(cost))
        self._may_cross_zero = instrument.price_min_ticks < 0
        self.falls = lots > 0

    def price_of(self, size: Fraction) -> Fraction:
        """Price in ticks at which the position is worth `size` (negative where prices are)."""
        return Fraction(self._unit) / size if self._is_inverse else size / self._unit

    def ticks_per_atom(self, price_ticks: Fraction) -> Fraction:
        """How far the price moves for an atom of the position's value: |d price / d size|."""
        return price_ticks**2 / self._unit if self._is_inverse else Fraction(1, self._unit)

    def bankruptcy(self, fee_ppb: Fraction) -> Fraction | None:
        """The size at which equity less a closing fee on it is zero: rest + sign*w - fee*|w| = 0."""
        fee = fee_ppb / PPB
        size = -self._rest / (self.sign - fee)
        if size > 0:
            return size
        return -self._rest / (self.sign + fee) if self._may_cross_zero else None

    def liquidation(self) -> Fraction | None:
        """The size at which equity meets the requirement, nearest to now on the losing side."""
        roots = sorted(set(self._roots()))
        now = Fraction(self._now)
        wants_lower = (self.sign > 0) == (self._excess(now) >= 0)
        if wants_lower:
            below = [root for root in roots if root <= now]
            return below[-1] if below else None
        above = [root for root in roots if root >= now]
        return above[0] if above else None

    def _roots(self) -> Iterator[Fraction]:
        bounds = self._bounds()
        for low, high in zip(bounds, [*bounds[1:], None], strict=True):
            yield from self._roots_within(low, high)
            if high is not None:
                above = self._excess(high + Fraction(1, _ROOT_SCALE))
                if (above >= 0) != (self._excess(high) >= 0):
                    yield high

    def _bounds(self) -> list[Fraction]:
        """Sizes where the requirement's formula changes; below zero the same mirrored."""
        table = self._table
        sizes = {Fraction(0)}
        if not table.counts_lots:
            sizes |= {Fraction(lower) for lower in table.lowers}
        if table.slope_ppb:
            sizes |= {size for n in range(len(table.lowers)) for size in self._wholes(n)}
        if table.floor_atoms_per_lot:
            floor = self._lots * table.floor_atoms_per_lot
            for n, numerator in enumerate(table.numerators):
                if numerator:
                    sizes.add(Fraction(floor * table.denominator + table.deductions[n], numerator))
        if self._may_cross_zero:
            sizes |= {-size for size in sizes} | {Fraction(-(2**80))}
        return sorted(sizes)

    def _wholes(self, n: int) -> Iterator[Fraction]:
        """Sizes at which the growing rate of tier `n` asks for the whole value."""
        table = self._table
        rate = Fraction(table.numerators[n], table.denominator) - 1
        constant = -Fraction(table.deductions[n], table.denominator)
        growth = Fraction(table.slope_ppb, PPB * table.slope_size)
        if table.is_inverse:
            found = _solve(constant, rate, growth)
        else:
            found = _solve(constant, rate + self._lots * growth, Fraction(0))
        yield from (size for size in found if size > 0)

    def _roots_within(self, low: Fraction, high: Fraction | None) -> Iterator[Fraction]:
        """Roots of the piece that starts at `low`: excess is a + b*w - c*w*w there."""
        middle = low + 1 if high is None else (low + high) / 2
        third = low + 2 if high is None else (middle + high) / 2
        x = [(low + middle) / 2, middle, third]
        at = [self._excess(size) for size in x]
        slope = (at[1] - at[0]) / (x[1] - x[0])
        bend = ((at[2] - at[1]) / (x[2] - x[1]) - slope) / (x[2] - x[0])
        linear = slope - bend * (x[0] + x[1])
        constant = at[0] - linear * x[0] - bend * x[0] * x[0]
        for root in _solve(constant, linear, bend):
            if root > low and (high is None or root <= high) and (root > 0 or self._may_cross_zero):
                yield root

    def _excess(self, size: Fraction) -> Fraction:
        return self._rest + self.sign * size - self._required - self._requirement(abs(size))

    def _requirement(self, size: Fraction) -> Fraction:
        """The maintenance requirement before its rounding."""
        table = self._table
        size = self._cost if table.is_at_entry else size
        n = tier_of(table, ceil(size), self._lots)
        if table.maintenance_of_initial_ppb is not None:
            base = (size * table.initial_numerators[n] - table.initial_deductions[n]) / table.denominator
            return base * table.maintenance_of_initial_ppb / PPB
        required = (size * table.numerators[n] - table.deductions[n]) / table.denominator
        if table.slope_ppb:
            amount = size if table.is_inverse else Fraction(self._lots)
            required += size * amount * table.slope_ppb / (PPB * table.slope_size)
            required = min(required, size)
        return max(required, Fraction(self._lots * table.floor_atoms_per_lot))


def _solve(constant: Fraction, linear: Fraction, bend: Fraction) -> list[Fraction]:
    """Real roots of constant + linear*x + bend*x*x; a square root is exact to 24 decimals, rounded down."""
    if not bend:
        return [-constant / linear] if linear else []
    square = linear * linear - 4 * bend * constant
    if square < 0:
        return []
    scaled = square * _ROOT_SCALE * _ROOT_SCALE
    root = Fraction(isqrt(scaled.numerator // scaled.denominator), _ROOT_SCALE)
    return [(-linear - root) / (2 * bend), (-linear + root) / (2 * bend)]
