"""Phase two: faults have stopped, a market maker is back, and all that was begun must come to an end."""

from fractions import Fraction
from itertools import count
from math import ceil
from typing import Any

from tests.simulation.invariants import compartments, fail
from tests.simulation.runs import Run
from tests.simulation.workload import Order
from tests.simulation.worlds import PRICE
from tests.venues import T0
from zerodebt.exchange.accounts import BACKSTOP
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AuctionBid,
    CancelAll,
    CancelOrder,
    Command,
    Contribute,
    Deposit,
    HoldAuction,
    MassQuote,
    Observation,
    OpenAccounts,
    PlaceOrder,
    Redeem,
    SetStatus,
    SettleVariation,
    Tick,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import (
    DEFICIT,
    EXTERNAL,
    FIRST_ACCOUNT,
    HOUSE,
    INSURANCE,
    LENDING,
    UNPAID,
    Event,
    Rejected,
)
from zerodebt.exchange.instruments import order_step_ticks, value_atoms
from zerodebt.exchange.lending import INDEX_ONE
from zerodebt.exchange.margin import risk_of
from zerodebt.exchange.marks import Market, market_band_ticks
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.sessions import is_closed, limit_band
from zerodebt.exchange.state import Compartment, State
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, PPB, mul_ppb_ceil

_MONEY_UNITS = 10**8
_CAPITAL_UNITS = 10**7
_COIN_ATOMS = 10**7
_ROUNDS_MAX = 60
_HOURS_MAX = 100
_LIMITS_EVERY = 20  # rounds: prices that move with their limits would bring no rest
_LIMIT_DAYS_MAX = 2_000  # from one end of all prices to the other, ten ticks a day
_PLEDGE_SLACK_ATOMS = 8
"""More than what the venue's roundings take off coins and their worth."""


class Settling:
    """Brings the venue of a run to rest, as its owner would, and says where it does not come to rest."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._unit = run.world.unit_atoms
        self._time_ns = max(T0, run.venue.view.time_ns)
        self._maker = 0

    @property
    def _state(self) -> State:
        return self._run.venue._state

    def settle(self) -> None:
        """Reopen, quote, cancel, wait, close, withdraw: after each of them what must hold by then."""
        self._hire()
        self._reopen()
        self._quote()
        self._cancel_everything()
        self._wait()
        self._pay_for_dust()
        self._check_rest()
        self._close_everything()
        self._withdraw_everything()

    def _do(self, command: Command, later_ns: int = 0) -> tuple[Event, ...]:
        self._time_ns += later_ns
        batch = self._run.apply(Order(self._time_ns, command))
        assert batch is not None
        return batch.events

    def _must(self, command: Command, law: str) -> tuple[Event, ...]:
        events = self._do(command)
        if events and isinstance(events[0], Rejected):
            fail(law, f"{command} is refused: {events[0].reason.value} ({events[0].detail})")
        return events

    # A market maker, trading hours, prices

    def _hire(self) -> None:
        self._must(OpenAccounts(1), "REST-00")
        self._maker = self._state.accounts.count - 1
        self._must(Deposit(self._state.settle, self._maker, (_MONEY_UNITS * self._unit,)), "REST-00")
        for asset in range(len(self._state.assets)):
            if asset != self._state.settle:
                self._must(Deposit(asset, self._maker, (_COIN_ATOMS,)), "REST-00")

    def _markets(self) -> list[Market]:
        return [market for market in self._state.markets if market.number not in self._state.expired]

    def _reopen(self) -> None:
        self._index(later_ns=MINUTE_NS)
        self._await_session()
        for market in self._markets():
            self._must(SetStatus(market.number, True, True, True), "REST-00")
        self._index(later_ns=MINUTE_NS)

    def _await_session(self) -> None:
        """Until there is trading everywhere; the index is fresh then."""
        for _ in range(_HOURS_MAX):
            if not any(is_closed(self._state, market.number) for market in self._markets()):
                break
            self._do(Tick(), later_ns=HOUR_NS)
        self._index(later_ns=0)
        for market in self._markets():
            self._move_limits(market)

    def _move_limits(self, market: Market) -> None:
        """Days settled at their limit, until the mark can be traded at: an own book's last price stands."""
        for _ in range(_LIMIT_DAYS_MAX):
            band, mark = limit_band(self._state, market.number), market.prices.mark_ticks
            if band is None or mark is None or band[0] < mark < band[1]:
                return
            self._must(SettleVariation(market.number, max(band[0], min(mark, band[1]))), "REST-00")
        fail("REST-00", f"the limits of market {market.number} do not reach its mark")

    def _index(self, later_ns: int) -> None:
        """All sources agree on a price at which orders may rest."""
        self._time_ns += later_ns
        seen = []
        for market in self._state.markets:
            price = PRICE
            band = limit_band(self._state, market.number)
            if band is not None:
                price = max(band[0] + 2, min(band[1] - 2, PRICE))
            lowest = market.instrument.price_min_ticks
            price = max(lowest, price)
            seen += [
                Observation(market.number, source, price, self._time_ns)
                for source in range(len(self._state.rules.sources))
            ]
        self._must(UpdateIndex(tuple(seen)), "REST-00")

    def _quotes(self, market: Market) -> tuple[int, int]:
        """Bid and ask around the index, a step away, on the order step."""
        index = market.prices.index_ticks
        assert index is not None
        instrument = market.instrument
        step = order_step_ticks(instrument, 2 * index)
        bid = (index - step) // step * step
        ask = -(-(index + step) // step) * step
        lowest = instrument.price_min_ticks
        bid, ask = self._within_band(market, BUY, bid), self._within_band(market, SELL, ask)
        if bid < lowest:
            bid, ask = -(-lowest // step) * step, max(ask, -(-lowest // step) * step + step)
        return bid, ask

    def _within_band(self, market: Market, side: int, price: int) -> int:
        """No further than the rulebook's band lets an order of this side go; the band may follow the mark."""
        band = market_band_ticks(market, self._state.rules, side)
        return price if band is None else side * min(side * price, side * band)

    def _quote(self) -> None:
        for market in self._markets():
            bid, ask = self._quotes(market)
            size = market.instrument.size_max_lots
            self._do(MassQuote(self._maker, market.number, ((bid, size),), ((ask, size),)))

    def _cancel_everything(self) -> None:
        """Whoever has an order can take it back."""
        state = self._state
        for order in list(state.orders.values()):
            if order.order_id in state.orders:
                self._must(CancelOrder(order.account, order.order_id), "REST-01")
        for armed in list(state.armed.values()):
            if armed.order_id in state.armed:
                self._must(CancelOrder(armed.order.account, armed.order_id), "REST-01")
        if state.orders or state.armed:
            fail(
                "REST-01", f"{len(state.orders) + len(state.armed)} orders are left after all were cancelled"
            )

    # Waiting

    def _wait(self) -> None:
        """Time passes: cooldowns, margin calls, forced orders, auctions; if need be capital is brought in.

        They are counted anew when forced orders have closed lots, which may be one at a time.
        """
        rounds = 0
        for step in count():
            if step == _ROUNDS_MAX // 2:
                self._bring_capital(INSURANCE, HOUSE, *self._vaults())
            self._hold_auctions()
            self._call()
            if step % _LIMITS_EVERY == 0:
                for market in self._markets():
                    self._move_limits(market)
            if step % 6 < 4 or self._is_at_rest():
                self._quote()
            else:
                for market in self._markets():
                    self._do(self._generous(market, BUY if step % 6 == 4 else SELL))
            to_close = self._lots_to_close()
            self._index(later_ns=HOUR_NS if step % 4 == 3 else MINUTE_NS)
            rounds = 0 if self._lots_to_close() < to_close else rounds + 1
            if rounds == _ROUNDS_MAX or (self._is_at_rest() and self._is_calm()):
                return

    def _lots_to_close(self) -> int:
        """Open lots of all that are in liquidation."""
        state = self._state
        lots = state.accounts.lots.cells
        return sum(abs(lots[m.number][c[0]]) for c in state.in_liquidation for m in state.positions_of(c))

    def _generous(self, market: Market, side: int) -> MassQuote:
        """One-sided and a step better than the mark: who has nothing left may not close at less."""
        quote = self._quote_at_mark(market, side)
        ((price, size),) = (*quote.bids, *quote.asks)
        step = order_step_ticks(market.instrument, 2 * price)
        price = max(market.instrument.price_min_ticks, self._within_band(market, side, price + side * step))
        bids, asks = (((price, size),), ()) if side == BUY else ((), ((price, size),))
        return MassQuote(self._maker, market.number, bids, asks)

    def _vaults(self) -> list[int]:
        return [int(account) for account in self._state.accounts.vault.array[0].nonzero()[0]]

    def _bring_capital(self, *accounts: int) -> None:
        """Each of those who may pay gets the money to do so, beside what he owes himself."""
        state = self._state
        for account in accounts:
            owed = max(0, -risk_of(state, (account, state.settle)).equity_atoms)
            atoms = owed + _CAPITAL_UNITS * self._unit
            self._must(Deposit(state.settle, account, (atoms,)), "REST-00")

    def _is_calm(self) -> bool:
        """Have the averages in the marks forgotten the wild prices? Coins are sold within a band, too."""
        marks = ((m.prices.mark_ticks or 0, m.prices.index_ticks or 0) for m in self._state.markets)
        return all(abs(mark - index) <= 1 for mark, index in marks)

    def _is_at_rest(self) -> bool:
        state = self._state
        if state.in_liquidation or state.open_deficits:
            return False
        return not any(risk_of(state, c).is_liquidatable for c in compartments(state) if self._counts(c[0]))

    def _counts(self, account: int) -> bool:
        """A serving vault is judged when it is below zero, not before."""
        return self._state.accounts.vault.cells[0][account] != BACKSTOP

    def _call(self) -> None:
        """Under margin calls it is the settlement of the day that asks for what is missing."""
        if self._state.rules.settlement.call_to == "none":
            return
        for market in self._markets():
            mark = market.prices.mark_ticks
            if market.instrument.kind == "future" and mark is not None:
                self._do(SettleVariation(market.number, mark))

    def _hold_auctions(self) -> None:
        state = self._state
        if state.rules.default_fund.close_out != "auction":
            return
        for compartment in sorted(state.in_liquidation):
            held = state.positions_of(compartment)
            marks = tuple(market.prices.mark_ticks or 0 for market in held)
            if held:
                numbers = tuple(market.number for market in held)
                self._do(HoldAuction(compartment[0], numbers, (AuctionBid(self._maker, marks),)))

    def _pay_for_dust(self) -> None:
        """Somebody brings what is missing beside coins that are too few to be sold.

        Such an account stays in liquidation, so that the venue sees when they are worth less; its default
        is over, and holds back nobody's contribution.
        """
        state = self._state
        dusty = [c for c in sorted(state.in_liquidation) if self._holds_dust_alone(c)]
        for account, pocket in dusty:
            missing = -risk_of(state, (account, pocket)).margin_atoms
            self._must(Deposit(pocket, account, (max(1, missing),)), "REST-03")
        if dusty:
            self._index(later_ns=MINUTE_NS)

    def _holds_dust_alone(self, compartment: Compartment) -> bool:
        """Is what stands against its debt worth more, and less than a lot of everything that is sold?"""
        state = self._state
        account, pocket = compartment
        if (
            pocket != state.settle
            or state.positions_of(compartment)
            or risk_of(state, compartment).is_bankrupt
        ):
            return False
        held = state.accounts.balances.cells
        return all(held[c.asset][account] < c.market.instrument.lot_atoms for c in state.collateral)

    def _check_rest(self) -> None:
        """Nobody liquidatable, nothing half absorbed; what nobody could pay stands as a hole alone."""
        state = self._state
        for compartment in compartments(state):
            risk = risk_of(state, compartment)
            if risk.is_bankrupt or (risk.is_liquidatable and self._counts(compartment[0])):
                fail("REST-02", f"{compartment} does not come to rest: {risk}")
        if state.in_liquidation or state.defaults:
            open_ = sorted({*state.in_liquidation, *state.defaults})
            fail("REST-03", f"liquidations or defaults stay open: {open_}")
        hole = -state.accounts.balances.cells[state.settle][DEFICIT]
        debt = self._run.venue.view.statement().open_debt_atoms
        if debt != hole or state.open_deficits:
            fail("REST-04", f"{debt} atoms are owed, {hole} of them stand as a hole; {state.open_deficits}")

    # Closing and leaving

    def _close_everything(self) -> None:
        """Every position is closed against the market maker; his own is gone when the last of the others is.

        Fund and backstop are not liquidated, however little they have: capital pays what closing costs them,
        where they have positions.
        """
        lots = self._state.accounts.lots.array
        self._bring_capital(*(a for a in (INSURANCE, *self._vaults()) if lots[:, a].any()))
        self._await_rest_in_session()
        for account in (*range(FIRST_ACCOUNT, self._maker), INSURANCE):
            for market in self._state.contracts:
                self._close(account, market)
        if lots.any():
            fail("REST-05", f"{sorted(set(lots.nonzero()[1].tolist()))} have positions after all were closed")
        for account in (*range(FIRST_ACCOUNT, self._maker), INSURANCE):
            self._sell_coins(account)

    def _await_rest_in_session(self) -> None:
        """A contract may have expired while nobody traded, at a price that ruins its holder."""
        for _ in range(_ROUNDS_MAX):
            self._await_session()
            if self._is_at_rest():
                return
            self._wait()
            self._check_rest()

    def _close(self, account: int, leg: Market) -> None:
        cells = self._state.accounts.lots.cells[leg.number]
        most = leg.instrument.size_max_lots
        for _ in range(20):
            held = cells[account]
            if not held:
                return
            self._do(CancelAll(self._maker))
            quote = self._quote_at_mark(leg, -1 if held < 0 else 1)
            self._must(quote, "REST-05")
            side: Any = SELL if held > 0 else BUY
            name: Any = "net"
            if account in self._state.hedged:
                name = "long" if held > 0 else "short"
            lots, n = min(abs(held), most), leg.instrument_number
            price = next((level[0] for level in (*quote.bids, *quote.asks)), 0)
            order = PlaceOrder(account, n, side, lots, price, "ioc", reduce_only=True, leg=name)
            answer = self._do(order)[0]
            if (
                isinstance(answer, Rejected)
                and answer.reason is RejectReason.MARGIN_TOO_SMALL
                and self._hedges
            ):
                self._must(Deposit(self._state.settle, account, (_CAPITAL_UNITS * self._unit,)), "REST-05")
                answer = self._do(order)[0]
            if isinstance(answer, Rejected):
                fail("REST-05", f"{order} is refused: {answer.reason.value} ({answer.detail})")
            if cells[account] == held:
                fail("REST-05", f"account {account} cannot close {held} lots in slot {leg.number}")

    @property
    def _hedges(self) -> bool:
        """Under a grid a position may make another one cheap: closing it then asks for more margin."""
        return self._state.portfolio is not None

    def _at_mark(self, leg: Market, side: int) -> int:
        """The maker's price on the step that is no worse for the other one than the mark, within the band.

        Nor, for coins, than the index, at which they count as collateral: their sale may cost no margin.
        """
        mark = leg.prices.mark_ticks
        assert mark is not None
        if leg.instrument.kind == "spot":
            mark = max(mark, leg.prices.index_ticks or mark)
        step = order_step_ticks(leg.instrument, 2 * mark)
        price = -(-mark // step) * step if side == BUY else mark // step * step
        price = self._within_band(leg, BUY, self._within_band(leg, SELL, price))
        return max(leg.instrument.price_min_ticks, price)

    def _quote_at_mark(self, leg: Market, side: int) -> MassQuote:
        """One-sided: the maker buys (side 1) or sells at the mark."""
        level = ((self._at_mark(leg, side), leg.instrument.size_max_lots),)
        bids, asks = (level, ()) if side == BUY else ((), level)
        return MassQuote(self._maker, leg.instrument_number, bids, asks)

    def _sell_coins(self, account: int) -> None:
        """Who owes the settlement asset and has others sells them, as far as whole lots reach."""
        state = self._state
        for market in self._markets():
            if market.instrument.kind != "spot":
                continue
            coins = state.accounts.balances.cells[market.instrument.base_asset]
            while (
                state.accounts.balances.cells[state.settle][account] < 0
                and coins[account] >= market.instrument.lot_atoms
            ):
                lots = min(coins[account] // market.instrument.lot_atoms, market.instrument.size_max_lots)
                self._do(CancelAll(self._maker))
                self._must(self._quote_at_mark(market, BUY), "REST-05")
                before = coins[account]
                price = self._at_mark(market, BUY)
                if value_atoms(market.instrument, price, lots) < state.rules.orders.value_min_atoms:
                    return  # coins too few to be sold
                fee = mul_ppb_ceil(market.value_atoms(lots), state.rules.fees.taker_ppb)
                if risk_of(state, (account, state.settle)).equity_atoms < fee:
                    return  # what is left of his coins is worth his debt, and no fee beside it
                self._must(PlaceOrder(account, market.number, SELL, lots, price, "ioc"), "REST-05")
                if coins[account] == before:
                    fail("REST-05", f"account {account} cannot sell what it has to pay what it owes")

    def _withdraw_everything(self) -> None:
        """Contributions back, then every wallet to zero; beside a hole everybody gets his share.

        Who owes the settlement asset leaves the coins that cover it, and takes the others.
        """
        state = self._state
        cells = state.accounts.balances.cells
        for account, atoms in sorted(state.contributions.items()):
            if atoms:
                self._must(Contribute(account, -atoms), "REST-06")
        self._await_issuers()
        self._redeem_everything()
        self._cancel_everything()
        self._pay_what_is_lent()
        for account in range(FIRST_ACCOUNT, self._maker + 1):
            self._check_pledge(account)
            for asset in range(len(state.assets)):
                atoms = cells[asset][account] - ceil(self._pledge_atoms(account, asset, _PLEDGE_SLACK_ATOMS))
                if asset == state.settle:
                    atoms = self._share_of_custody(atoms)
                if atoms > 0:
                    self._must(Withdraw(account, asset, atoms), "REST-06")
        if any(row[EXTERNAL] > 0 for row in cells[: len(state.assets)]):
            fail("REST-06", "more has left the venue than ever came")
        margins = state.accounts.balances.array[len(state.assets) :, FIRST_ACCOUNT:]
        if margins.any():
            fail("REST-06", "margin is left beside positions that are closed")
        if any(sum(balances) for balances in self._by_asset()):
            fail("LEDG-01", "the ledger does not sum to zero")

    def _pay_what_is_lent(self) -> None:
        """The house brings what is owed beyond the lending pool's money, where everybody may take a share.

        What debtors still owe is a claim and no money: the last to leave would have to wait for it.
        """
        state = self._state
        wallets = state.accounts.balances.cells[state.settle]
        debtors = [atoms for n, atoms in enumerate(wallets) if atoms < 0 and n not in (EXTERNAL, DEFICIT)]
        atoms = -sum(debtors) - wallets[LENDING]
        if atoms > 0 and state.rules.margin.withdrawals == "share":
            self._must(Deposit(state.settle, HOUSE, (atoms,)), "REST-00")

    def _pledge_atoms(self, account: int, asset: int, beside_atoms: int = 0) -> Fraction:
        """Coins that cover what an account owes after haircut and buffer, at the index, without any rounding.

        beside_atoms  more coins and more debt, for what the venue rounds against their owner
        """
        state = self._state
        owed = Fraction(-state.accounts.balances.cells[state.settle][account])
        rules = [collateral for collateral in state.collateral if collateral.asset == asset]
        if owed <= 0 or not rules:
            return Fraction(0)
        (collateral,) = rules
        rule, instrument = collateral.rule, collateral.market.instrument
        assert len(state.collateral) == 1
        assert rule.tier_unit == "quantity"
        price = Fraction(collateral.market.prices.index_ticks or 0) * collateral.market.tick_value
        price *= Fraction(PPB - rule.bid_buffer_ppb, PPB * instrument.lot_atoms)
        owed += beside_atoms
        held = Fraction(state.accounts.balances.cells[asset][account])
        lower = Fraction(0)
        tiers = [(Fraction(tier.upto), tier.ratio_ppb) for tier in rule.tiers] or [(held, rule.ratio_ppb)]
        for upto, ratio_ppb in tiers:
            brings = price * ratio_ppb / PPB
            if brings * (upto - lower) >= owed:
                return min(held, lower + owed / brings + beside_atoms)
            owed -= brings * (upto - lower)
            lower = upto
        return held

    def _check_pledge(self, account: int) -> None:
        """No coin leaves without which the others would not cover what their owner owes."""
        state = self._state
        for collateral in state.collateral:
            held = state.accounts.balances.cells[collateral.asset][account]
            pledge = self._pledge_atoms(account, collateral.asset)
            if pledge and held:
                answer = self._do(Withdraw(account, collateral.asset, held - ceil(pledge) + 1))
                if not isinstance(answer[0], Rejected):
                    fail("REST-06", f"account {account} takes coins that cover its debt, of {held} {pledge}")

    def _share_of_custody(self, atoms: int) -> int:
        """What of a wallet leaves beside a hole: its share, or what is there where withdrawals run."""
        state = self._state
        cells = state.accounts.balances.cells[state.settle]
        held, hole = -cells[EXTERNAL], -cells[DEFICIT] - cells[UNPAID]
        if state.rules.margin.withdrawals == "open":
            return min(atoms, held)
        return atoms * held // (held + hole) if hole else atoms

    def _await_issuers(self) -> None:
        """What issuers of collateral still owe is paid in time."""
        for _ in range(_HOURS_MAX):
            if not self._state.redemptions:
                return
            self._index(later_ns=HOUR_NS)
        fail("REST-06", f"issuers owe {self._state.redemptions} and never pay")

    def _redeem_everything(self) -> None:
        """Whoever has lent gets back what the pool has in cash: all of it where nobody owes it anything.

        Who owes the pool himself pays back by it, so that the others are asked again.
        """
        pool = self._state.lending
        if pool is None:
            return
        moved = True
        while moved:
            moved = False
            for account, shares in sorted(pool.shares.items()):
                most = min(shares, self._pool_cash_atoms() * INDEX_ONE // pool.index)
                worth = most * pool.index // INDEX_ONE
                if worth:
                    self._redeem(account, most, worth)
                    moved = True
        claims = sum(shares * pool.index // INDEX_ONE for shares in pool.shares.values())
        has = self._state.accounts.balances.cells[self._state.settle][LENDING]
        if claims > has:
            fail("REST-06", f"{claims} atoms are claimed of a pool of {has}")

    def _pool_cash_atoms(self) -> int:
        """What the pool has beyond all that customers owe."""
        wallets = self._state.accounts.balances.cells[self._state.settle]
        owed = sum(max(0, -wallets[account]) for account in range(FIRST_ACCOUNT, self._maker + 1))
        return max(0, wallets[LENDING] - owed)

    def _redeem(self, account: int, shares: int, claim_atoms: int) -> None:
        wallets = self._state.accounts.balances.cells[self._state.settle]
        before = wallets[account]
        self._must(Redeem(account, shares), "REST-06")
        if wallets[account] - before != claim_atoms:
            fail("REST-06", f"{shares} shares of account {account} do not bring {claim_atoms} atoms")

    def _by_asset(self) -> list[list[int]]:
        state = self._state
        found: list[list[int]] = [[] for _ in state.assets]
        for pocket, row in enumerate(state.accounts.balances.array.tolist()):
            found[state.ledger.pocket_assets[pocket]] += row
        return found
