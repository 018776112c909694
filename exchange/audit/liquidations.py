"""Who is in liquidation, and what the rulebook lets be done to them in the book."""

from typing import NamedTuple

from zerodebt.exchange.audit.books import Order
from zerodebt.exchange.audit.calls import Calls
from zerodebt.exchange.audit.claims import Claims
from zerodebt.exchange.audit.contracts import Contracts
from zerodebt.exchange.audit.forms import forced_order
from zerodebt.exchange.audit.forms.valuation import worth_at
from zerodebt.exchange.audit.harm import Harm
from zerodebt.exchange.audit.holdings import Compartment, Holdings, Risk
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    INSURANCE,
    LiquidationEnded,
    LiquidationStarted,
    StageArmed,
    WorkLeft,
)
from zerodebt.exchange.rules import VenueRules


class Sent(NamedTuple):
    """A forced order's form, and the position and equity that it was sent with."""

    key: Compartment
    market: Market
    form: str
    lots: int
    equity_atoms: int
    ebb: forced_order.Ebb


class Liquidations:
    """Compartments below their requirement, and the forced orders sent for them."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        harm: Harm,
        contracts: Contracts,
        calls: Calls,
        claims: Claims,
    ) -> None:
        self._rules = rules
        self._contracts = contracts
        self._calls = calls
        self._claims = claims
        self._notes = notes
        self._holdings = holdings
        self._harm = harm
        self._find = notes.find
        self._markets = holdings.markets
        self.open: set[Compartment] = set()
        self.accounts: dict[int, int] = {}
        self.is_work_left = False
        self._cooling: dict[Compartment, int] = {}
        self._forced_in_batch: set[Compartment] = set()
        self.unplaced: set[Compartment] = set()
        """Bankrupt compartments whose deficit closed in this batch with positions that nobody took."""
        self._step: dict[Compartment, int] = {}
        self._used: dict[int, int] = {}
        self._lost: dict[int, int] = {}
        self._sent: Sent | None = None
        self._last: Sent | None = None

    def start(self, event: LiquidationStarted) -> None:
        account, pocket = key = (event.account, event.pocket)
        self._notes.counts["liquidations"] += 1
        self._claims.meet(key)
        risk = self.compare_risk(event, "LIQ-01")
        if not risk.is_short:
            self._find(
                "LIQ-01",
                f"account {account} is liquidated with equity {risk.margin_atoms}, the requirement is "
                f"{risk.maintenance_atoms}",
            )
        if not self._holdings.is_protected(account):
            self._find("LIQ-01", f"account {account} is liquidated but is no customer")
        if self._calls.is_left_alone(account, pocket):
            self._find("LIQ-11", f"account {account} is liquidated before its margin call is due")
        if key in self.open:
            self._find("LIQ-03", f"account {account} pocket {pocket} is liquidated twice at a time")
        else:
            self.accounts[account] = self.accounts.get(account, 0) + 1
        self.open.add(key)
        at_index = self._holdings.risk_at_index(account, pocket)
        if not at_index.is_short and self._holdings.positions(account, pocket):
            self._harm.begin(key)

    def end(self, event: LiquidationEnded) -> None:
        account, pocket = key = (event.account, event.pocket)
        risk = self.compare_risk(event, "LIQ-01")
        if risk.is_short:
            self._find(
                "LIQ-02",
                f"account {account} is let go with equity {risk.margin_atoms}, the requirement is "
                f"{risk.maintenance_atoms}",
            )
        if key not in self.open:
            self._find("LIQ-03", f"account {account} pocket {pocket} was not in liquidation")
            return
        self.open.remove(key)
        self.accounts[account] -= 1
        if not self.accounts[account]:
            del self.accounts[account]
        self._harm.end(key)

    def is_open(self, account: int, market: Market) -> bool:
        """Does the compartment that answers for this market stand in liquidation? Spot needs no margin."""
        return not market.is_spot and (account, self._holdings.pocket_of(account, market)) in self.open

    def compare_risk(self, event: LiquidationStarted | LiquidationEnded | StageArmed, rule: str) -> Risk:
        account, pocket = event.account, event.pocket
        self._holdings.touched.add(account)
        risk = self._holdings.risk(account, pocket)
        stated = risk._replace(
            equity_atoms=event.equity_atoms,
            maintenance_atoms=event.maintenance_atoms,
            haircut_atoms=event.haircut_atoms,
        )
        if risk != stated:
            self._find(
                rule,
                f"account {account} pocket {pocket}: equity, requirement and haircut are stated "
                f"{tuple(stated)}, they are {tuple(risk)}",
            )
        return risk

    def check_forced(self, order_id: int, order: Order) -> None:
        """A forced order: of a compartment in liquidation, against its position, in the rulebook's size."""
        self._notes.counts["forced_orders"] += 1
        order.forced = order.reduce = True
        market = self._leg(order)
        account, pocket = order.account, self._holdings.pocket_of(order.account, market)
        self._claims.meet((account, pocket))
        if (account, pocket) not in self.open:
            self._find("LIQ-01", f"forced order {order_id} of account {account}, which is not in liquidation")
        risk = self._holdings.risk(account, pocket)
        if not risk.is_short:
            self._find(
                "LIQ-01",
                f"forced order {order_id} of account {account}: equity {risk.margin_atoms} is not below "
                f"{risk.maintenance_atoms}",
            )
        self._check_is_for_the_book(order_id, account, pocket, risk)
        lots = market.lots_of(account)
        if lots * order.side >= 0:
            self._find("LIQ-05", f"forced order {order_id} does not reduce the position of {lots} lots")
            return
        self._check_size_and_limit(order_id, order, market, lots, risk)

    def _check_is_for_the_book(self, order_id: int, account: int, pocket: int, risk: Risk) -> None:
        """Neither bankrupt, where a stage takes such positions, nor low enough for a backstop that serves."""
        waterfall = self._rules.waterfall
        if self._rules.default_fund.close_out == "auction":
            self._find("WFALL-01", f"forced order {order_id} in the book although the rulebook has auctions")
        equity = risk.equity_atoms
        is_first = (account, pocket) not in self._forced_in_batch
        self._forced_in_batch.add((account, pocket))
        is_unplaced = (account, pocket) in self.unplaced
        if equity < 0 and is_first and not is_unplaced and self._is_taken_when_bankrupt():
            self._find("WFALL-01", f"forced order {order_id} in the book although equity is {equity}")
        is_low = equity >= 0 and risk.is_below(self._rules.liquidation.backstop_below_ppb)
        if "backstop" not in waterfall or not is_low:
            return
        if self.is_backed(account, pocket):
            self._find(
                "WFALL-01",
                f"forced order {order_id} although equity {risk.margin_atoms} is for the backstop, below "
                f"{risk.maintenance_atoms}",
            )

    def _is_taken_when_bankrupt(self) -> bool:
        """Does a stage always take the positions of whoever is below zero?"""
        rules = self._rules
        if "adl" in rules.waterfall and rules.adl.trigger != "fund_cannot_pay":
            return True
        pools = rules.insurance
        can_close = pools.drawdown is not None or pools.net_notional_max_atoms is not None
        return "insurance" in rules.waterfall and pools.takes != "never" and not can_close

    def _check_size_and_limit(
        self, order_id: int, order: Order, market: Market, lots: int, risk: Risk
    ) -> None:
        """The order is of one of the rulebook's forms, none before the last that this compartment had."""
        rules, account = self._rules.liquidation, order.account
        case = self._case(market, account, lots, risk)
        key = (account, self._holdings.pocket_of(account, market))
        due: list[tuple[int, int | None, str]] = []
        for step in range(self._step.get(key, 0), len(rules.steps)):
            form = rules.steps[step]
            size = forced_order.lots_due(rules, form, case)
            if not size:
                continue
            own = self._own_equity(key, market, form, risk)
            limit = forced_order.limit_ticks(rules, case, size, own)
            limit = self._contracts.within_band(market, order.side, limit)
            tif = rules.ladder_tif if form == "ladder" else "ioc"
            due.append((size, limit, tif))
            if due[-1] == (order.open, order.price, order.tif):
                self._step[key] = step
                ebb = self._ebb(key, market, form, lots, risk)
                self._sent = self._last = Sent(key, market, form, lots, risk.equity_atoms, ebb)
                return
        rule = "LIQ-06" if order.open not in [size for size, _, _ in due] else "LIQ-08"
        self._find(
            rule,
            f"forced order {order_id} is for {order.open} lots limited to {order.price} ({order.tif}), the "
            f"rulebook says {' or '.join(str(entry) for entry in due)}",
        )

    def _case(self, market: Market, account: int, lots: int, risk: Risk) -> forced_order.Case:
        holdings = self._holdings
        return forced_order.Case(
            spec=market.spec,
            lots=lots,
            mark_ticks=market.mark or 0,
            worth=worth_at(market.spec, market.mark or 0),
            charged=lambda after: holdings.maintained_value(account, market, after),
            maintenance=lambda after: holdings.own_requirement_of(account, market, after),
            beside=holdings.beside(account, market, holdings.worths),
            margin_atoms=risk.margin_atoms,
            required_atoms=risk.maintenance_atoms,
            equity_atoms=risk.equity_atoms,
            is_safe=lambda margin, required: margin >= 0 and not risk.is_short_with(margin, required),
            fee_ppb=self._rules.fees.liquidation_ppb,
            is_cooling=self._cooling.get((account, market.number), -1) >= self._notes.time_ns,
            used_atoms=self._used.get(account, 0),
            lost_atoms=self._lost.get(account, 0),
        )

    def _own_equity(self, key: Compartment, market: Market, form: str, risk: Risk) -> int:
        """Equity that an order may use up: all of it, or the position's own where the fund gets the rest."""
        if form != "whole" or not self._rules.liquidation.surplus_max_ppb:
            return risk.equity_atoms
        weights = self._weights(key)
        return forced_order.own_atoms(risk.equity_atoms, weights[market], sum(weights.values()))

    def _weights(self, key: Compartment) -> dict[Market, int]:
        """What a compartment's equity is allocated by."""
        account, holdings = key[0], self._holdings
        weigh = holdings.notional
        if self._rules.adl.bankruptcy_allocation == "pro_rata_requirement":
            weigh = holdings.requirement
        return {market: weigh(account, market) for market in holdings.positions(*key)}

    def shares_of_equity(self, key: Compartment, equity_atoms: int) -> dict[Market, int]:
        """A compartment's equity, or what it lacks, over its positions."""
        weights = self._weights(key)
        shares = forced_order.equity_shares(equity_atoms, list(weights.values()))
        return dict(zip(weights, shares, strict=True))

    def _ebb(self, key: Compartment, market: Market, form: str, lots: int, risk: Risk) -> forced_order.Ebb:
        """The compartment as it stands before the order's fills."""
        holdings, by_value = self._holdings, self._rules.adl.bankruptcy_allocation == "pro_rata_value"
        held, cost, entry = market.holders[key[0]]

        def weigh(after: int) -> int:
            if by_value:
                return abs(holdings.value(market, after))
            return holdings.own_requirement_of(key[0], market, after, (held, cost, entry))

        return forced_order.Ebb(
            self._rules.liquidation,
            form,
            lots,
            weigh,
            worth_at(market.spec, market.mark or 0),
            equity_atoms=risk.equity_atoms,
            whole=sum(self._weights(key).values()),
            fund_atoms=max(0, holdings.money(*self._pool(market))),
        )

    def _pool(self, market: Market) -> Compartment:
        return INSURANCE, self._holdings.pool_of(market)

    def trade(self, value_atoms: int, signed_lots: int) -> None:
        """The forced order that was sent last trades; the fund must be able to pay what the fill lacks."""
        if self._sent is None:
            return
        ebb = self._sent.ebb
        delta = ebb.delta_atoms(value_atoms, signed_lots)
        if not ebb.is_borne(delta):
            self._find(
                "WFALL-01",
                f"a forced fill of account {self._sent.key[0]} lacks {-delta} atoms, which the fund has not",
            )
        ebb.take(value_atoms, signed_lots)

    def surplus(self) -> dict[Compartment, int]:
        """What the fund gets of the last forced order, if equity is left after fees, or pays for it."""
        last, self._last = self._last, None
        if last is None:
            return {}
        atoms = self._given_atoms(last)
        return {last.key: -atoms, self._pool(last.market): atoms}

    def _given_atoms(self, sent: Sent) -> int:
        return min(sent.ebb.given_atoms, max(0, self._holdings.equity(*sent.key)))

    def end_forced(self, order: Order) -> None:
        """After a forced order for a part of a position every one is for the whole remainder, for a while."""
        sent, self._sent = self._sent, None
        if not order.forced or not order.filled or sent is None:
            return
        self._check_stopped(order, self._markets[order.instrument], sent)
        if sent.form == "share" and order.filled + order.open < abs(sent.lots):
            until = self._notes.time_ns + self._rules.liquidation.cooldown_ns
            self._cooling[order.account, sent.market.number] = until
        account = order.account
        used = abs(self._holdings.value(sent.market, order.filled))
        self._used[account] = self._used.get(account, 0) + used
        equity = self._holdings.equity(*sent.key)
        if self._last is sent:
            equity -= self._given_atoms(sent)
        lost = max(0, -equity) - max(0, -sent.equity_atoms)
        paid = max(0, -sent.ebb.given_atoms)
        self._lost[account] = self._lost.get(account, 0) + max(0, lost) + paid

    def _check_stopped(self, order: Order, market: Market, sent: Sent) -> None:
        """Lots that meet an order within the limit stay open only where the fund could not bear the fill.

        A maker's order may be clipped: what all of it gives the fund leaves room for the rounding of a part.
        """
        price = market.best(-order.side)
        if not order.open or price is None:
            return
        if order.price is not None and order.side * (price - order.price) > 0:
            return
        maker = market.sides[-order.side].first()
        bought = order.side * min(order.open, maker.open)
        delta = sent.ebb.delta_atoms(worth_at(market.spec, price)(bought), bought)
        if self._rules.liquidation.shortfall == "account" or sent.ebb.is_borne(delta - 1):
            self._find(
                "LIQ-03", f"a forced order of account {order.account} stops before {price}, within its limit"
            )

    def _leg(self, order: Order) -> Market:
        """The position that an order changes."""
        market = self._markets[order.instrument]
        return self._holdings.leg_of_order(order.account, market, order.side, reduces=order.reduce)

    def could_bear(self, order: Order, lots: int) -> bool:
        """Would a fill of one lot and of all leave a cross pool at its requirement?

        Isolated positions are judged where it would open one; of others, and under a grid, nothing is said.
        """
        market = self._leg(order)
        if market.is_spot or order.price is None or self._holdings.has_grid:
            return False
        if order.account in market.isolated:
            return all(self._could_open_isolated(order, market, order.side * n) for n in (1, lots))
        held = market.lots_of(order.account)
        value, worth = self._holdings.value, worth_at(market.spec, order.price)
        risk = self._holdings.risk(order.account, self._holdings.settle)
        equity, required = risk.margin_atoms, risk.maintenance_atoms
        required -= self._holdings.requirement_of(order.account, market, held)
        for size in (1, lots):
            bought = order.side * size
            after = held + bought
            gain = value(market, bought) - worth(bought)
            if equity + gain < required + self._holdings.requirement_of(order.account, market, after):
                return False
        return True

    def _could_open_isolated(self, order: Order, market: Market, lots: int) -> bool:
        """Could the wallet spare the margin of a first position, and is that enough for it?

        Asked only of who has traded nothing in this command.
        """
        holdings, account = self._holdings, order.account
        pocket = holdings.pocket_of(account, market)
        held = market.lots_of(account) or holdings.balances[pocket][account]
        if held or account in holdings.touched or order.price is None:
            return False
        pool = holdings.risk(account, holdings.settle)
        gain = holdings.value(market, lots) - worth_at(market.spec, order.price)(lots)
        margin = holdings.initial_of(account, market, lots) + max(0, -gain)
        spare = min(holdings.balances[holdings.settle][account], pool.margin_atoms - pool.maintenance_atoms)
        return margin <= spare and margin + gain >= holdings.requirement_of(account, market, lots)

    def is_backed(self, account: int, pocket: int) -> bool:
        """Does a vault serve each position of the compartment, and does its cap leave room for it?"""
        cap = self._rules.liquidation.backstop_notional_max_atoms
        for market in self._holdings.positions(account, pocket):
            vault = self._holdings.backstops.get(market.instrument)
            if vault is None:
                return False
            held = self._holdings.markets[market.instrument].lots_of(vault)
            worth = self._holdings.value(market, held + market.lots_of(account))
            if cap is not None and abs(worth) > cap:
                return False
        return True

    def check_backstop_came(self) -> None:
        """Who is low enough for the backstop, and not below zero, has been taken over."""
        rules = self._rules
        if "backstop" not in rules.waterfall:
            return
        for account, pocket in self.open:
            risk = self._holdings.risk(account, pocket)
            if risk.equity_atoms < 0 or not risk.is_below(rules.liquidation.backstop_below_ppb):
                continue
            positions = self._holdings.positions(account, pocket)
            halted = any(self._contracts.stands_still(market) for market in positions)
            if positions and self.is_backed(account, pocket) and not halted:
                self._find(
                    "WFALL-01",
                    f"account {account} is left with equity {risk.margin_atoms} over "
                    f"{risk.maintenance_atoms}: it is for the backstop",
                )

    def rest(self) -> None:
        self._forced_in_batch.clear()
        self.unplaced.clear()
        self._step.clear()
        self._used.clear()
        self._lost.clear()
        self.is_work_left = False

    def leave_work(self, event: WorkLeft) -> None:
        self.is_work_left = True
        bound = self._rules.liquidation.rounds_max
        if event.rounds != bound:
            self._find("LIQ-02", f"work is left after {event.rounds} rounds, the rulebook's bound is {bound}")
