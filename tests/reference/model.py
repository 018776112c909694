"""One command in, its events out: the plain model's counterpart of the venue.

Driven by the same commands, `Model.apply` gives the venue's events but the ledger's postings; `accounts`,
`open` and `prices` hold what the venue must hold.

The rules are those of the rulebook's docstrings, docs/adl.md and docs/architecture.md. Where these leave open
what comes first (who is charged before whom, when attached orders close, what a round sees of the one before)
the model has the venue's order: there it is a witness of the arithmetic, not of the choice.

Left out: spot, collateral and the lending pool, inverse contracts, dated futures and their settlement, the
end of a perpetual, hedge mode, portfolio margin, margin by lots or at entry, default funds, pools by
instrument and drawdown, ladders, fillable prices, budgets of forced orders, loss socialised by the funding
index, funding accrued by an index, padded averages, caps by the gap of margins, indices from the venue's own
book, price bands by index, the policies of deleveraging but queue and pro rata, and scores of BitMEX and the
paper.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tests.reference import arithmetic as exact
from tests.reference import margin, orders, prices
from tests.reference.book import Resting
from tests.reference.margin import Order, risk_of
from tests.reference.waterfall import Rounds
from tests.reference.world import RefusedError, Status, Waiting, World, refuse
from zerodebt.exchange import commands as ask
from zerodebt.exchange import events as says
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import BUY, SELL, Command, PlaceOrder
from zerodebt.exchange.events import EXTERNAL, HOUSE, INSURANCE, UNPAID, Event
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import VenueRules

AMOUNT_MAX = 2**60


class Model:
    def __init__(
        self, rules: VenueRules, assets: tuple[Asset, ...], instruments: tuple[Instrument, ...]
    ) -> None:
        self.world = World(rules, assets, instruments)
        self.commands: dict[type, Callable[[Any], None]] = {
            ask.OpenAccounts: self.open_accounts,
            ask.Deposit: self.deposit,
            ask.Withdraw: self.withdraw,
            ask.LoadPositions: self.load_positions,
            ask.SetBackstop: self.set_backstop,
            ask.SetLeverage: self.set_leverage,
            ask.TransferMargin: self.transfer_margin,
            ask.PlaceOrder: self.place_order,
            ask.AmendOrder: self.amend_order,
            ask.CancelOrder: self.cancel_order,
            ask.CancelAll: self.cancel_all,
            ask.MassQuote: self.mass_quote,
            ask.UpdateIndex: self.update_index,
            ask.Tick: self.tick,
            ask.SetStatus: self.set_status,
            ask.SettleInstrument: self.no_future,
            ask.SettleVariation: self.no_future,
            ask.Contribute: self.not_in_rulebook,
            ask.HoldAuction: self.not_in_rulebook,
        }

    def apply(self, command: Command, time_ns: int) -> list[Event]:
        w = self.world
        w.said = []
        try:
            if time_ns < w.now:
                refuse(RejectReason.TIME_RUNS_BACK)
            w.now = time_ns
            self.commands[type(command)](command)
            w.close_attached()
        except RefusedError as refused:
            assert not w.said, "a refused command has changed something"
            account = getattr(command, "account", -1)
            w.say(says.Rejected(account, refused.reason, "", str(command.__struct_config__.tag)))
        return w.said

    # Accounts and money

    def open_accounts(self, command: ask.OpenAccounts) -> None:
        w = self.world
        if not 1 <= command.count <= 10_000_000:
            refuse(RejectReason.SIZE_NOT_POSITIVE)
        w.say(says.AccountsOpened(len(w.accounts), command.count, command.role))
        for _ in range(command.count):
            account = w.new_account()
            account.is_vault = command.role == "vault"
            for held, spec in zip(account.positions, w.instruments, strict=True):
                held.leverage = spec.tiers[0].leverage_max
            w.accounts.append(account)

    def deposit(self, command: ask.Deposit) -> None:
        w = self.world
        first, amounts = command.first_account, command.atoms
        if not (first in (INSURANCE, HOUSE) and len(amounts) <= 1):
            orders.customer(w, first)
            if amounts and not w.is_customer(first + len(amounts) - 1):
                refuse(RejectReason.UNKNOWN_ACCOUNT)
        self.known_asset(command.asset)
        if first == INSURANCE and command.asset != w.settle:
            refuse(RejectReason.NOT_IN_RULEBOOK)
        if not amounts or min(amounts) < 0 or not any(amounts):
            refuse(RejectReason.AMOUNT_NOT_POSITIVE)
        if sum(amounts) > AMOUNT_MAX or sum(amounts) - w.cash((EXTERNAL, command.asset)) > AMOUNT_MAX:
            refuse(RejectReason.AMOUNT_TOO_LARGE)
        for k, atoms in enumerate(amounts):
            w.pay((EXTERNAL, command.asset), (first + k, command.asset), atoms)
            if command.asset == w.settle:
                w.accounts[first + k].base += atoms

    def known_asset(self, asset: int) -> None:
        if not 0 <= asset < len(self.world.assets):
            refuse(RejectReason.UNKNOWN_ASSET)

    def marked(self, account: int) -> None:
        w = self.world
        if any(w.position(account, n).lots and w.prices[n].mark is None for n in w.contracts):
            refuse(RejectReason.NO_PRICE)

    def may_leave(self, account: int) -> int:
        w = self.world
        if w.is_in_liquidation(account) or self.is_stale(account):
            return 0
        return self.share_of_custody(margin.withdrawable(w, account))

    def is_stale(self, account: int) -> bool:
        """Is every source of the index of some open position too old?"""
        w = self.world
        return any(w.position(account, n).lots and self.is_old(n) for n in w.contracts)

    def is_old(self, n: int) -> bool:
        return not prices.fresh(self.world, self.world.prices[n], "spot")

    def withdraw(self, command: ask.Withdraw) -> None:
        w = self.world
        account, asset, atoms = command.account, command.asset, command.atoms
        orders.customer(w, account)
        self.known_asset(asset)
        orders.not_in_liquidation(w, account)
        if asset == w.settle:
            self.marked(account)
            if self.is_stale(account):
                refuse(RejectReason.INDEX_STALE)
        if atoms <= 0:
            refuse(RejectReason.AMOUNT_NOT_POSITIVE)
        most = margin.withdrawable(w, account) if asset == w.settle else w.cash((account, asset))
        if atoms > most:
            refuse(RejectReason.BALANCE_TOO_SMALL)
        if asset == w.settle:
            if atoms > self.share_of_custody(most):
                refuse(RejectReason.DEFICIT_OPEN)
            w.accounts[account].base -= atoms
            w.pay((account, asset), (UNPAID, asset), self.left_behind(atoms))
        w.pay((account, asset), (EXTERNAL, asset), atoms)

    def share_of_custody(self, most: int) -> int:
        """Nobody leaves while a deficit is open; a hole that stays is shared by all. WFALL-06."""
        w = self.world
        custody = -w.cash((EXTERNAL, w.settle))
        if w.rules.margin.withdrawals == "open":
            return min(most, custody)
        if w.open_deficits:
            return 0
        share = exact.down(most * Fraction(custody, custody + w.hole)) if w.hole else most
        return min(share, custody)

    def left_behind(self, taken: int) -> int:
        """Who takes his share bears his part of the hole: his claim is gone with what it brought."""
        w = self.world
        if not w.hole or w.rules.margin.withdrawals == "open":
            return 0
        return exact.up(Fraction(taken * w.hole, -w.cash((EXTERNAL, w.settle))))

    def load_positions(self, command: ask.LoadPositions) -> None:
        w = self.world
        orders.instrument(w, command.instrument)
        if w.started:
            refuse(RejectReason.ALREADY_STARTED)
        n, spec, accounts = command.instrument, w.instruments[command.instrument], command.accounts
        columns = (command.lots, command.entry_ticks, command.leverage, command.isolated_atoms)
        if not accounts or any(len(column) != len(accounts) for column in columns):
            refuse(RejectReason.CONTRADICTION)
        if len(set(accounts)) != len(accounts) or sum(command.lots) != 0 or 0 in command.lots:
            refuse(RejectReason.CONTRADICTION)
        if sum(x for x in command.lots if x > 0) + w.open_interest(n) > spec.open_interest_max_lots:
            refuse(RejectReason.OPEN_INTEREST_CAP)
        orders.price_in_range(w, n, command.price_ticks)
        rows = list(zip(accounts, *columns, strict=True))
        for account, _, entry, leverage, isolated in rows:
            orders.customer(w, account)
            if w.position(account, n).lots or (isolated and w.accounts[account].is_vault):
                refuse(RejectReason.CONTRADICTION)
            orders.price_in_range(w, n, entry)
            if not 1 <= leverage <= margin.leverage_max(spec):
                refuse(RejectReason.LEVERAGE_OUT_OF_RANGE)
            if not 0 <= isolated <= max(0, w.cash((account, w.settle))):
                refuse(RejectReason.BALANCE_TOO_SMALL)
        w.say(says.PositionsLoaded(n, command.price_ticks, accounts, *columns))
        for account, lots, entry, leverage, isolated in rows:
            held = w.position(account, n)
            held.lots, held.cost = lots, w.value(n, command.price_ticks, lots)
            held.entry_cost, held.leverage = w.value(n, entry, lots), leverage
            held.isolated = isolated > 0
            w.pay((account, w.settle), (account, w.pocket(n)), isolated)

    def set_backstop(self, command: ask.SetBackstop) -> None:
        w = self.world
        orders.customer(w, command.account)
        if not w.accounts[command.account].is_vault:
            refuse(RejectReason.UNKNOWN_ACCOUNT)
        for n in command.instruments:
            orders.instrument(w, n)
        orders.not_in_liquidation(w, command.account)
        for n in command.instruments:
            w.backstops[n] = command.account
        w.say(says.BackstopSet(command.account, command.instruments))

    def set_leverage(self, command: ask.SetLeverage) -> None:
        w = self.world
        account, n = command.account, command.instrument
        orders.customer(w, account)
        orders.instrument(w, n)
        orders.not_in_liquidation(w, account)
        self.marked(account)
        if not 1 <= command.leverage <= margin.leverage_max(w.instruments[n]):
            refuse(RejectReason.LEVERAGE_OUT_OF_RANGE)
        held, isolated = w.position(account, n), command.mode == "isolated"
        if isolated and w.accounts[account].is_vault:
            refuse(RejectReason.MODE_HAS_POSITION)
        owed = w.cash((account, w.pocket(n)))
        if isolated != held.isolated and (held.lots or owed or w.own(account, n)):
            refuse(RejectReason.MODE_HAS_POSITION)
        before, held.leverage = held.leverage, command.leverage
        if command.leverage < before and margin.spare(w, account) < 0:
            held.leverage = before
            refuse(RejectReason.MARGIN_TOO_SMALL)
        held.isolated = isolated
        w.say(says.LeverageSet(account, n, command.leverage, command.mode))

    def transfer_margin(self, command: ask.TransferMargin) -> None:
        w = self.world
        account, n, atoms = command.account, command.instrument, command.atoms
        orders.customer(w, account)
        orders.instrument(w, n)
        if command.leg != "net":
            refuse(RejectReason.WRONG_LEG)
        held = w.position(account, n)
        if not held.isolated or not held.lots:
            refuse(RejectReason.WRONG_KIND)
        if not atoms:
            refuse(RejectReason.NOTHING_TO_DO)
        self.marked(account)
        taken_from = w.positions_of((account, w.settle)) if atoms > 0 else [n]
        if any(map(self.is_old, taken_from)):
            refuse(RejectReason.INDEX_STALE)
        if atoms < 0:
            orders.not_in_liquidation(w, account)
        most = margin.withdrawable(w, account) if atoms > 0 else margin.isolated_spare(w, account, n)
        if abs(atoms) > most:
            refuse(RejectReason.BALANCE_TOO_SMALL)
        w.pay((account, w.settle), (account, w.pocket(n)), atoms)

    # Orders

    def place_order(self, order: PlaceOrder) -> None:
        w = self.world
        orders.gate(w, order)
        if order.trigger is None:
            orders.enter(w, order)
        elif orders.is_met(w, order):
            if w.rules.orders.met_trigger == "refuse":
                refuse(RejectReason.TRIGGER_ALREADY_MET)
            orders.gate(w, orders.released(order))
            orders.enter(w, orders.released(order))
        else:
            orders.arm(w, order)
        self.after_fills(order.instrument)

    def find(self, account: int, order_id: int) -> Resting | Waiting:
        thing = next((other for other in self.world.open if other.order_id == order_id), None)
        if thing is None:
            refuse(RejectReason.UNKNOWN_ORDER)
        owner = thing.owner if isinstance(thing, Resting) else thing.order.account
        if owner != account:
            refuse(RejectReason.NOT_YOUR_ORDER)
        return thing

    def amend_order(self, command: ask.AmendOrder) -> None:
        w = self.world
        orders.trader(w, command.account)
        if any(isinstance(x, Waiting) and x.order_id == command.order_id for x in w.open):
            refuse(RejectReason.UNKNOWN_ORDER)
        order = self.find(command.account, command.order_id)
        assert isinstance(order, Resting)
        n, whole = order.instrument, order.lots + order.filled
        price = order.price if command.price_ticks is None else command.price_ticks
        size = whole if command.size_lots is None else command.size_lots
        if (price, size) == (order.price, whole):
            refuse(RejectReason.NOTHING_TO_DO)
        if price != order.price or size > whole:
            orders.not_in_liquidation(w, command.account)
            if not w.status[n].open:
                refuse(RejectReason.HALTED)
        orders.size(w, n, size)
        if size <= order.filled:
            refuse(RejectReason.SIZE_BELOW_FILLED)
        orders.price_in_range(w, n, price, on_step=True)
        if price != order.price:
            orders.within_band(w, n, order.side, price)
        lots = size - order.filled
        if not order.reduce_only and abs(w.value(n, price, lots)) < w.rules.orders.value_min_atoms:
            refuse(RejectReason.VALUE_TOO_SMALL)
        if order.reduce_only:
            lots = min(lots, orders.reducible(w.position(order.owner, n).lots, order.side))
            if not lots:
                refuse(RejectReason.REDUCE_ONLY_NOTHING)
        if price == order.price and lots < order.lots:
            order.lots = lots
            w.say(says.OrderAmended(order.order_id, price, lots, True))
            return
        if order.post_only:
            orders.not_taking(w, n, order.side, price)
        side = BUY if order.side > 0 else SELL
        taking = PlaceOrder(order.owner, n, side, lots, price, reduce_only=order.reduce_only)
        walked = orders.plan(w, taking, lots, price)
        orders.judge(w, taking, walked, walked.left, price, gone=order)
        w.drop(order)
        w.say(says.OrderAmended(order.order_id, price, lots, False))
        orders.execute(w, orders.Taker(order.order_id, order.owner, n, side), walked)
        if walked.left:
            order.price, order.lots, order.filled = price, walked.left, order.filled + walked.traded
            w.open.append(order)
        self.after_fills(n)

    def cancel_order(self, command: ask.CancelOrder) -> None:
        orders.trader(self.world, command.account)
        self.world.close(self.find(command.account, command.order_id), "cancelled")

    def cancel_all(self, command: ask.CancelAll) -> None:
        w = self.world
        orders.trader(w, command.account)
        if command.instrument is not None:
            orders.instrument(w, command.instrument)
        chosen = w.contracts if command.instrument is None else [command.instrument]
        things = [thing for n in chosen for thing in w.own(command.account, n)]
        if not things:
            refuse(RejectReason.NOTHING_TO_DO)
        for thing in things:
            w.close(thing, "cancelled")

    def mass_quote(self, command: ask.MassQuote) -> None:
        w = self.world
        account, n = command.account, command.instrument
        orders.customer(w, account)
        orders.instrument(w, n)
        orders.not_in_liquidation(w, account)
        if not w.status[n].open:
            refuse(RejectReason.HALTED)
        if w.prices[n].mark is None:
            refuse(RejectReason.NO_PRICE)
        levels = [(BUY, *level) for level in command.bids] + [(SELL, *level) for level in command.asks]
        for _, _, lots in levels:
            orders.size(w, n, lots)
        for _, price, _ in levels:
            orders.price_in_range(w, n, price, on_step=True)
        for side, price, _ in levels:
            orders.within_band(w, n, side, price)
        if any(abs(w.value(n, price, lots)) < w.rules.orders.value_min_atoms for _, price, lots in levels):
            refuse(RejectReason.VALUE_TOO_SMALL)
        own = [thing for thing in w.own(account, n) if isinstance(thing, Resting)]
        if len(w.own(account)) - len(own) + len(levels) > w.rules.orders.open_orders_max:
            refuse(RejectReason.TOO_MANY_ORDERS)
        bids = [price for price, _ in command.bids]
        asks = [price for price, _ in command.asks]
        if bids and asks and max(bids) >= min(asks):
            refuse(RejectReason.CONTRADICTION)
        others = [o for o in w.resting(n) if o.owner != account]
        placed: list[tuple[int, int, int]] = []
        refused: list[tuple[int, int, int]] = []
        for side, price, lots in levels:
            takes = any(o.side == -side and side * (price - o.price) >= 0 for o in others)
            (refused if takes else placed).append((side, price, lots))
        resting = [Order(side, lots, w.value(n, price, lots)) for side, price, lots in placed]
        if placed and margin.spare(w, account, margin.After(n, 0, 0, resting)) < 0:
            refuse(RejectReason.MARGIN_TOO_SMALL)
        for order in own:
            w.drop(order)
        answers = [(w.order_id(), *level) for level in placed]
        for order_id, sign, price, lots in answers:
            w.open.append(Resting(order_id, account, sign, price, lots, 0, n, False, True))
        removed = tuple(order.order_id for order in own)
        w.say(says.Quoted(account, n, removed, tuple(answers), tuple(refused)))

    # Prices, time, risk work

    def update_index(self, command: ask.UpdateIndex) -> None:
        w = self.world
        for seen in command.observations:
            orders.instrument(w, seen.instrument)
            orders.price_in_range(w, seen.instrument, seen.price_ticks)
            if not 0 <= seen.source < len(w.rules.sources):
                refuse(RejectReason.NO_PRICE)
            if seen.published_ns > w.now:
                refuse(RejectReason.TIME_RUNS_BACK)
        if not w.started:
            spots = {k for k, source in enumerate(w.rules.sources) if source.kind == "spot"}
            oldest = w.now - w.rules.margin.index_age_max_ns
            fresh = {
                seen.instrument
                for seen in command.observations
                if seen.source in spots and seen.published_ns >= oldest
            }
            if len(fresh) < len(w.instruments):
                refuse(RejectReason.NO_PRICE)
        for seen in command.observations:
            prices.observe(w, seen)
        self.move_time()

    def tick(self, _: ask.Tick) -> None:
        if not self.world.started:
            refuse(RejectReason.NO_PRICE)
        self.move_time()

    def move_time(self) -> None:
        w = self.world
        prices.set_marks(w)
        funding = w.rules.funding
        if not w.started:
            w.started = True
            w.next_funding_ns = (w.now // funding.interval_ns + 1) * funding.interval_ns
            w.next_sample_ns = w.now
        if w.now >= w.next_sample_ns:
            prices.sample_funding(w)
            w.next_sample_ns = (w.now // funding.sample_ns + 1) * funding.sample_ns
        if w.now >= w.next_funding_ns:
            prices.pay_funding(w, (w.now - w.next_funding_ns) // funding.interval_ns + 1)
            w.next_funding_ns = (w.now // funding.interval_ns + 1) * funding.interval_ns
        self.work(list(w.contracts), ("mark", "last"))
        if w.rules.adl.plan == "before":
            Rounds(w).plan()

    def work(self, contracts: list[int], references: tuple[str, ...], *, scan: bool = True) -> None:
        """Triggers and risk work until nothing is left, within the rulebook's bounds."""
        w = self.world
        rounds = Rounds(w)
        left = w.rules.orders.triggers_per_command_max
        bound = w.rules.liquidation.rounds_max
        for _ in range(bound):
            before = left
            for n in contracts:
                for name in references:
                    left -= self.fire(n, name, left)
            worked = scan and rounds.work()
            if not left:
                break
            if left == before and not worked:
                return
        w.say(says.WorkLeft(bound))

    def fire(self, n: int, name: str, most: int) -> int:
        w = self.world
        fired = 0
        while fired < most and (waiting := orders.next_met(w, n, name)) is not None:
            fired += 1
            price = orders.reference(w, waiting.order)
            assert price is not None
            w.drop(waiting)
            w.say(says.TriggerFired(waiting.order_id, price))
            order = orders.released(waiting.order)
            try:
                orders.gate(w, order)
                orders.enter(w, order)
            except RefusedError as refused:
                w.say(says.Rejected(order.account, refused.reason, "", "place_order"))
        return fired

    def after_fills(self, n: int) -> None:
        """Triggers on the last price, and risk work at once where a fill left one of its sides below zero."""
        w = self.world
        if not any(isinstance(event, says.Filled) for event in w.said):
            return
        w.close_attached()
        self.work([n], ("last",), scan=False)
        sides = {who for e in w.said if isinstance(e, says.Filled) for who in (e.taker, e.maker)}
        touched = [where for who in sides for where in (w.compartment(who, n), (who, w.settle))]
        if any(risk_of(w, where).is_bankrupt for where in touched):
            self.work(list(w.contracts), ("last",))

    def set_status(self, command: ask.SetStatus) -> None:
        orders.instrument(self.world, command.instrument)
        status = (command.open, command.reduce, command.liquidate)
        self.world.status[command.instrument] = Status(*status)
        self.world.say(says.StatusSet(command.instrument, *status))

    def no_future(self, command: ask.SettleInstrument | ask.SettleVariation) -> None:
        orders.instrument(self.world, command.instrument)
        refuse(RejectReason.WRONG_KIND)

    def not_in_rulebook(self, command: ask.Contribute | ask.HoldAuction) -> None:
        orders.customer(self.world, command.account)
        refuse(RejectReason.NOT_IN_RULEBOOK)
