"""The second reading of a run: the parts, and which of them each event goes to."""

from collections.abc import Callable
from typing import Any

from zerodebt.exchange.audit.calls import Calls
from zerodebt.exchange.audit.claims import Claims
from zerodebt.exchange.audit.contracts import Contracts
from zerodebt.exchange.audit.conversions import Conversions
from zerodebt.exchange.audit.debts import Debts
from zerodebt.exchange.audit.defaults import Defaults
from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.deleveraging import Deleveraging
from zerodebt.exchange.audit.fills import Fills
from zerodebt.exchange.audit.funding import Funding
from zerodebt.exchange.audit.harm import Harm
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.lending import Lending
from zerodebt.exchange.audit.liquidations import Liquidations
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.orders import Orders
from zerodebt.exchange.audit.payments import Payments
from zerodebt.exchange.audit.pools import Pools
from zerodebt.exchange.audit.prices import Prices
from zerodebt.exchange.audit.rankings import Rankings
from zerodebt.exchange.audit.settlements import Settlements
from zerodebt.exchange.audit.stages import Stages
from zerodebt.exchange.audit.takeovers import Takeovers
from zerodebt.exchange.audit.transfers import Transfers
from zerodebt.exchange.audit.triggers import Triggers
from zerodebt.exchange.audit.watch import Watch
from zerodebt.exchange.events import (
    AccountsOpened,
    AuctionHeld,
    BackstopSet,
    Batch,
    Contributed,
    Converted,
    DefaultDeclared,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    ExchangeArmed,
    Filled,
    FundingSampled,
    FundingSet,
    InterestCharged,
    LayerDrawn,
    LeverageSet,
    LiquidationEnded,
    LiquidationStarted,
    MarginCalled,
    MarginCallEnded,
    Marked,
    Opened,
    OrderAccepted,
    OrderAmended,
    OrderClosed,
    OrderReduced,
    PoolStatus,
    PositionModeSet,
    PositionsLoaded,
    Posted,
    Quoted,
    ReceivableBooked,
    Redeemed,
    RedemptionPaid,
    RedemptionSent,
    Rejected,
    Settled,
    StageArmed,
    StagePaid,
    StatusSet,
    Supplied,
    TakenOver,
    TriggerArmed,
    TriggerFired,
    VariationSettled,
    WorkLeft,
    WrittenDown,
)

_OF_THE_INSTANT = frozenset({Marked, FundingSampled, FundingSet, Posted})
_OF_A_WALK = frozenset({Filled, Posted, OrderReduced, OrderClosed})


class Reading:
    """One rulebook's run: a part for each concern, built from the ground up, and the way of the events."""

    def __init__(self, opened: Opened, notes: Notes) -> None:
        rules = opened.rules
        self.notes = notes
        self.holdings = holdings = Holdings(opened, notes)
        self.ledger = ledger = Ledger(notes, holdings)
        self.debts = debts = Debts(notes, holdings)
        self.harm = harm = Harm()
        self.claims = claims = Claims(holdings)
        self.pools = pools = Pools(rules, notes, holdings)
        self.funding = funding = Funding(rules, notes, holdings, ledger)
        self.contracts = contracts = Contracts(rules, notes, holdings)
        self.calls = calls = Calls(rules, notes, holdings)
        self.prices = prices = Prices(rules, notes, holdings, funding, contracts)
        self.transfers = Transfers(rules, notes, holdings, ledger, debts, funding, contracts)
        self.liquidations = liquidations = Liquidations(
            rules, notes, holdings, harm, contracts, calls, claims
        )
        self.deficits = deficits = Deficits(notes, holdings, debts)
        self.conversions = conversions = Conversions(rules, notes, holdings, ledger, liquidations, deficits)
        self.triggers = triggers = Triggers(notes, holdings)
        self.orders = orders = Orders(rules, notes, holdings, contracts, liquidations, conversions, triggers)
        self.fills = Fills(rules, notes, holdings, ledger, contracts, liquidations, harm, orders)
        self.payments = payments = Payments(rules, notes, holdings, claims, pools, deficits)
        self.rankings = rankings = Rankings(rules, notes, holdings)
        self.deleveraging = deleveraging = Deleveraging(
            rules, notes, holdings, ledger, harm, deficits, payments, rankings, claims
        )
        self.defaults = defaults = Defaults(
            rules, notes, holdings, ledger, harm, contracts, liquidations, deficits
        )
        self.lending = lending = Lending(rules, notes, holdings, ledger, debts, deficits)
        self.stages = stages = Stages(
            rules,
            notes,
            holdings,
            claims,
            pools,
            liquidations,
            deficits,
            payments,
            rankings,
            deleveraging,
            defaults,
            conversions,
            lending,
        )
        self.takeovers = Takeovers(rules, notes, holdings, ledger, harm, liquidations, stages)
        self.settlements = Settlements(
            rules, notes, holdings, ledger, funding, contracts, calls, prices, claims
        )
        self.watch = Watch(notes, holdings, debts, calls, liquidations, prices)
        self._readers: dict[type, Callable[[Any], None]] = {
            AccountsOpened: holdings.open_accounts,
            BackstopSet: holdings.set_backstop,
            LeverageSet: holdings.set_leverage,
            Opened: self._open_again,
            PositionModeSet: holdings.set_position_mode,
            PositionsLoaded: self._load_positions,
            Posted: self._post,
            Rejected: self.transfers.refuse,
            OrderAccepted: orders.accept,
            OrderAmended: orders.amend,
            OrderReduced: orders.reduce,
            OrderClosed: orders.close,
            Quoted: orders.quote,
            Filled: self.fills.fill,
            TriggerArmed: triggers.arm,
            TriggerFired: triggers.fire,
            Marked: prices.mark,
            FundingSampled: funding.sample,
            FundingSet: funding.pay,
            LiquidationStarted: liquidations.start,
            LiquidationEnded: liquidations.end,
            StageArmed: self._arm_stage,
            TakenOver: self.takeovers.take,
            DeficitOpened: self._open_deficit,
            Deleveraged: self._deleverage,
            StagePaid: self._state_payment,
            DeficitClosed: self._close_deficit,
            ReceivableBooked: payments.book_receivable,
            StatusSet: prices.set_status,
            Settled: self.settlements.settle,
            WorkLeft: liquidations.leave_work,
            PoolStatus: self.pools.set_status,
            VariationSettled: self.settlements.settle_variation,
            MarginCalled: calls.call,
            MarginCallEnded: calls.end,
            DefaultDeclared: defaults.declare,
            AuctionHeld: defaults.auction,
            LayerDrawn: self._draw_layer,
            Contributed: defaults.contribute,
            ExchangeArmed: self._arm_exchange,
            Converted: conversions.convert,
            Supplied: lending.supply,
            Redeemed: lending.redeem,
            InterestCharged: lending.charge,
            WrittenDown: lending.write_down,
            RedemptionSent: conversions.redeem,
            RedemptionPaid: conversions.pay,
        }

    def read(self, batch: Batch) -> None:
        """The events of one command, then the state at its rest point."""
        readers, ledger, takeovers = self._readers, self.ledger, self.takeovers
        for event in batch.events:
            kind = type(event)
            if self.prices.is_marked and kind not in _OF_THE_INSTANT:
                self.pools.sample()
            if self.transfers.is_bringing and kind not in _OF_A_WALK:
                self.transfers.end_walk()
            if kind is not Posted:
                if ledger.is_expecting:
                    ledger.miss()
                if takeovers.is_taking and kind is not TakenOver:
                    takeovers.end()
            readers[kind](event)
        if ledger.is_expecting:
            ledger.miss()
        self._rest()

    def _load_positions(self, event: PositionsLoaded) -> None:
        self.holdings.load_positions(event)
        self.contracts.load(event)

    def _draw_layer(self, event: LayerDrawn) -> None:
        self.stages.check_draws(event)
        self.defaults.draw(event)

    def _open_again(self, _: Opened) -> None:
        self.notes.find("EVENT-01", "the rulebook is stated twice")

    def _post(self, event: Posted) -> None:
        """A posting that an event announced must be the one due; others are judged by their reason."""
        ledger, transfers, reason = self.ledger, self.transfers, event.reason
        if reason == "surplus" and not ledger.is_expecting:
            due = self.liquidations.surplus()
            ledger.expect("surplus", due, "a surplus of a forced order")
            self.payments.take_fill(due)
        if ledger.is_expecting:
            ledger.apply_expected(event)
            return
        if reason == "isolate":
            transfers.isolate(event)
        elif reason == "takeover":
            self.takeovers.move_margin(event)
        moved = ledger.apply(event)
        self.holdings.touched.update(account for account, _ in moved)
        match reason:
            case "isolate" | "takeover":
                pass
            case "deposit":
                transfers.deposit(event)
            case "withdrawal":
                transfers.withdraw(event)
            case "borrowing":
                transfers.record_out(event)
                self.lending.borrow(event)
            case "rounding":
                transfers.pay_dust(event)
            case "deficit":
                self.deficits.floor(moved)
            case (
                "backstop"
                | "insurance"
                | "socialise"
                | "settlement_haircut"
                | "house"
                | "recourse"
                | "default_fund"
                | "lenders"
            ):
                self.payments.take(reason, moved)
            case _:
                self.notes.find("LEDG-03", f"a {reason} posting without an event that causes it")

    def _arm_stage(self, event: StageArmed) -> None:
        self.orders.rest_entering()
        self.deleveraging.end()
        self.stages.arm(event)

    def _deleverage(self, event: Deleveraged) -> None:
        self.deleveraging.deleverage(event)
        self.orders.deleverage(event)

    def _arm_exchange(self, event: ExchangeArmed) -> None:
        self.orders.rest_entering()
        self.deleveraging.end()
        self.conversions.arm(event)

    def _open_deficit(self, event: DeficitOpened) -> None:
        self.orders.rest_entering()
        self.conversions.check_used_up(event)
        self.lending.check_used_up(event)
        self.claims.open(event)
        self.deficits.open(event)
        self.defaults.open_deficit()
        self.stages.disarm()

    def _state_payment(self, event: StagePaid) -> None:
        self.deleveraging.end()
        self.stages.check_pays(event)
        if event.stage == "default_fund":
            self.defaults.check_paid(event.payer, event.atoms)
        if event.stage == "lenders":
            self.lending.check_paid(event.payer, event.atoms)
        self.payments.state(event)

    def _close_deficit(self, event: DeficitClosed) -> None:
        self.deleveraging.end()
        closing = self.deficits.current
        if closing is not None and self.holdings.positions(closing.account, closing.pocket):
            self.liquidations.unplaced.add((closing.account, closing.pocket))
        unpaid = self.deficits.close(event)
        if unpaid is not None:
            self.stages.check_nobody_could(unpaid)
        self.claims.close()

    def _rest(self) -> None:
        """The end of a command: nothing is half done, and every compartment that it touched is looked at."""
        if self.prices.is_marked:
            self.pools.sample()
        self.pools.rest()
        self.transfers.end_walk()
        self.orders.rest()
        self.takeovers.end()
        self.deleveraging.end()
        self.conversions.rest(is_marked=self.prices.is_marked)
        self.payments.rest()
        self.defaults.rest()
        self.deficits.rest()
        self.lending.rest(is_marked=self.prices.is_marked)
        self.watch.rest()
        self.debts.rest()
        self.rankings.rest()
        if self.prices.is_marked:
            self.rankings.plan()
        self.stages.disarm()
        self.liquidations.rest()
        self.prices.end_instant()
        self.calls.rest()
        self.claims.rest()
        self.holdings.rest()

    def end(self) -> None:
        """The run is over: everything is looked at once more."""
        self.watch.full_pass()
        self.holdings.recount()
        self.harm.end_all()
        self.debts.age()
