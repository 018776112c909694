"""Who is in liquidation, and what the rulebook lets be done to them in the book."""

from zerodebt.exchange.audit.books import Order
from zerodebt.exchange.audit.calls import Calls
from zerodebt.exchange.audit.contracts import Contracts
from zerodebt.exchange.audit.forms.forced_order import chunk_lots, limit_ticks
from zerodebt.exchange.audit.forms.valuation import worth_at
from zerodebt.exchange.audit.harm import Harm
from zerodebt.exchange.audit.holdings import Compartment, Holdings, Risk
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    LiquidationEnded,
    LiquidationStarted,
    StageArmed,
    WorkLeft,
)
from zerodebt.exchange.rules import VenueRules


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
    ) -> None:
        self._rules = rules
        self._contracts = contracts
        self._calls = calls
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
        self._forced_from_lots = 0

    def start(self, event: LiquidationStarted) -> None:
        account, pocket = key = (event.account, event.pocket)
        self._notes.counts["liquidations"] += 1
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
        stated = Risk(event.equity_atoms, event.maintenance_atoms, event.haircut_atoms)
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
        market = self._markets[order.instrument]
        account, pocket = order.account, self._holdings.pocket_of(order.account, market)
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
        self._forced_from_lots = abs(lots)
        self._check_size_and_limit(order_id, order, market, lots, risk.equity_atoms)

    def _check_is_for_the_book(self, order_id: int, account: int, pocket: int, risk: Risk) -> None:
        """Neither bankrupt, where a stage takes such positions, nor low enough for a backstop that serves."""
        waterfall = self._rules.waterfall
        if self._rules.default_fund.close_out == "auction":
            self._find("WFALL-01", f"forced order {order_id} in the book although the rulebook has auctions")
        equity = risk.equity_atoms
        is_first = (account, pocket) not in self._forced_in_batch
        self._forced_in_batch.add((account, pocket))
        if equity < 0 and is_first and not {"adl", "insurance"}.isdisjoint(waterfall):
            self._find("WFALL-01", f"forced order {order_id} in the book although equity is {equity}")
        is_low = equity >= 0 and risk.is_below(self._rules.liquidation.backstop_below_ppb)
        if "backstop" not in waterfall or not is_low:
            return
        if all(m.number in self._holdings.backstops for m in self._holdings.positions(account, pocket)):
            self._find(
                "WFALL-01",
                f"forced order {order_id} although equity {risk.margin_atoms} is for the backstop, below "
                f"{risk.maintenance_atoms}",
            )

    def _check_size_and_limit(
        self, order_id: int, order: Order, market: Market, lots: int, equity: int
    ) -> None:
        rules = self._rules.liquidation
        limit = limit_ticks(rules, market.spec, market.mark or 0, -lots, equity)
        limit = self._contracts.within_band(market, order.side, limit)
        if order.price != limit:
            self._find(
                "LIQ-08", f"forced order {order_id} is limited to {order.price}, the rulebook says {limit}"
            )
        is_cooling = self._cooling.get((order.account, market.number), -1) >= self._notes.time_ns
        notional = abs(self._holdings.value(market, lots))
        size = chunk_lots(rules, notional, abs(lots), is_cooling=is_cooling)
        if order.open != size:
            self._find(
                "LIQ-06", f"forced order {order_id} is for {order.open} lots, the rulebook says {size}"
            )

    def end_forced(self, order: Order) -> None:
        """After a forced order for a part of a position every one is for the whole remainder, for a while."""
        if (
            order.forced
            and order.reduce
            and order.filled
            and order.filled + order.open < self._forced_from_lots
        ):
            until = self._notes.time_ns + self._rules.liquidation.cooldown_ns
            self._cooling[order.account, order.instrument] = until

    def could_bear(self, order: Order, lots: int) -> bool:
        """Would a fill of one lot and of all leave a cross pool at its requirement? Others are not judged."""
        market = self._markets[order.instrument]
        if market.is_spot or order.account in market.isolated or order.price is None:
            return False
        if self._holdings.has_grid:
            return False
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
            is_backed = all(market.number in self._holdings.backstops for market in positions)
            if positions and is_backed and not halted:
                self._find(
                    "WFALL-01",
                    f"account {account} is left with equity {risk.margin_atoms} over "
                    f"{risk.maintenance_atoms}: it is for the backstop",
                )

    def rest(self) -> None:
        self._forced_in_batch.clear()
        self.is_work_left = False

    def leave_work(self, event: WorkLeft) -> None:
        self.is_work_left = True
        bound = self._rules.liquidation.rounds_max
        if event.rounds != bound:
            self._find("LIQ-02", f"work is left after {event.rounds} rounds, the rulebook's bound is {bound}")
