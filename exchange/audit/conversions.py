"""Collateral that is sold, or handed to the fund, for what its owner owes."""

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil
from zerodebt.exchange.audit.books import BUY, SELL, Order
from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.forms import collateral
from zerodebt.exchange.audit.forms.collateral import Pledge
from zerodebt.exchange.audit.forms.valuation import value
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.liquidations import Liquidations
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    EXTERNAL,
    FIRST_ACCOUNT,
    INSURANCE,
    Converted,
    DeficitOpened,
    ExchangeArmed,
    OrderClosed,
    RedemptionPaid,
    RedemptionSent,
)
from zerodebt.exchange.rules import VenueRules


class Conversions:
    """The sale that is announced, and who has been sent to the spot books in this command."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        ledger: Ledger,
        liquidations: Liquidations,
        deficits: Deficits,
    ) -> None:
        self._rules = rules.exchange
        self._fund_buys = "insurance" in rules.waterfall
        self._deficits = deficits
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._liquidations = liquidations
        self._find = notes.find
        self._settle = holdings.settle
        self._pledges = {pledge.market.number: pledge for pledge in holdings.pledges}
        self._armed: ExchangeArmed | None = None
        self._used_up: set[int] = set()
        self._due: list[tuple[int, int, int, int]] = []

    def arm(self, event: ExchangeArmed) -> None:
        """Collateral goes to the book for a reason of the rulebook, as much as brings in what is owed."""
        account, pledge = event.account, self._pledges[event.instrument]
        owed = self._lacking() if event.because == "insurance" else self._owed(account)
        held = self._holdings.balances[pledge.asset][account]
        if event.because == "bankruptcy":
            lots = held // pledge.market.spec.lot_atoms
        else:
            lots = collateral.lots_for(self._rules, pledge, held, owed)
        limit = collateral.limit_ticks(self._rules, pledge.market.index or 0)
        if pledge.rule.redemption_lag_ns:
            self._find("LIQ-10", f"account {account} sells collateral that its issuer redeems")
        due = (owed, lots, limit)
        stated = (event.owed_atoms, event.lots, event.limit_ticks)
        if stated != due:
            self._find(
                "LIQ-10",
                f"account {account} sells collateral for {stated} (owed, lots, limit), it is {due}",
            )
        if not self._is_due(event, owed):
            self._find("LIQ-10", f"account {account}, which owes {owed}, sells collateral: {event.because}")
        self._armed = event
        if event.because == "bankruptcy":
            self._used_up.add(account)

    def _lacking(self) -> int:
        """What the fund's money does not cover of the deficit that is open."""
        deficit = self._deficits.current
        if deficit is None:
            return 0
        missing = max(0, -self._holdings.equity(deficit.account, deficit.pocket))
        return missing - self._holdings.money(INSURANCE, self._settle)

    def fund_left_unsold(self) -> bool:
        """Would the book buy of the fund's assets, and does it not need them for losses of its own?"""
        held = self._holdings.worth(INSURANCE)
        least = self._holdings.money(INSURANCE, self._settle) + held * self._rules.price_ratio_ppb // PPB
        return least >= 0 and any(self._is_bid_for(p, INSURANCE) for p in self._pledges.values())

    def fund_raisable_atoms(self) -> int:
        """What the book would surely bring for the fund's assets; at most that, if it must not sell at all.

        Of bids down to the rulebook's price those count that their owners have the money for beside all that
        they were counted with before, and beside what their positions require.
        """
        if not self.fund_left_unsold():
            return 0
        spent: dict[int, int] = {}
        return sum(self._bid_atoms(pledge, spent) for pledge in self._pledges.values())

    def _bid_atoms(self, pledge: Pledge, spent: dict[int, int]) -> int:
        """What sure bids bring for the fund's whole lots of an asset; `spent` by bidder so far."""
        if not self._is_bid_for(pledge, INSURANCE):
            return 0
        market, holdings = pledge.market, self._holdings
        left = holdings.balances[pledge.asset][INSURANCE] // market.spec.lot_atoms
        limit, brought = collateral.limit_ticks(self._rules, market.index or 0), 0
        orders = [order for level in market.bids.by_key.values() for order in level.values()]
        for order in sorted(orders, key=lambda order: order.key):
            account, price = order.account, order.price or 0
            if price < limit or account == INSURANCE or order.reduce:
                continue
            lots = min(left, order.open)
            atoms = value(market.spec, price, lots)
            risk = holdings.risk(account, self._settle)
            free = min(holdings.balances[self._settle][account], risk.margin_atoms - risk.maintenance_atoms)
            if spent.get(account, 0) + atoms > free:
                continue
            spent[account] = spent.get(account, 0) + atoms
            left, brought = left - lots, brought + atoms
        return brought

    def _is_bid_for(self, pledge: Pledge, account: int) -> bool:
        """Does the book bid the rulebook's price for a whole lot of what the account holds?"""
        market = pledge.market
        bid, held = market.best(BUY), self._holdings.balances[pledge.asset][account]
        if (
            pledge.rule.redemption_lag_ns
            or bid is None
            or held < market.spec.lot_atoms
            or market.stands_still
        ):
            return False
        return bid >= collateral.limit_ticks(self._rules, market.index or 0)

    def _fund_cash(self) -> int:
        wallet = self._holdings.balances[self._settle][INSURANCE]
        return max(0, min(wallet, self._holdings.money(INSURANCE, self._settle)))

    def _owed(self, account: int) -> int:
        """What of a debt nothing is on its way for yet."""
        return -self._holdings.balances[self._settle][account] - self._holdings.coming_atoms(account)

    def redeem(self, event: RedemptionSent) -> None:
        """The issuer takes what is worth the debt, and owes its value at the index from now on."""
        account, pledge = event.account, self._pledges[event.instrument]
        owed, index = self._owed(account), pledge.market.index or 0
        spec, atoms = pledge.market.spec, self._holdings.balances[pledge.asset][account]
        if event.because != "bankruptcy":
            atoms = min(atoms, div_ceil(owed * spec.lot_atoms, index * spec.tick_value_atoms))
        due_ns = self._notes.time_ns + pledge.rule.redemption_lag_ns
        due = (pledge.asset, owed, atoms, index, pledge.worth_atoms(atoms), due_ns)
        if not due[4]:
            self._find("LIQ-10", f"account {account} has {atoms} atoms redeemed that are worth nothing")
        stated = (
            event.asset,
            event.owed_atoms,
            event.atoms,
            event.index_ticks,
            event.paid_atoms,
            event.due_ns,
        )
        if stated != due or not pledge.rule.redemption_lag_ns:
            self._find("LIQ-10", f"account {account} has collateral redeemed for {stated}, it is {due}")
        if not self._is_due(event, owed):
            self._find("LIQ-10", f"account {account}, which owes {owed}, redeems collateral: {event.because}")
        if event.because == "bankruptcy":
            self._used_up.add(account)
        key = (account, pledge.asset)
        self._holdings.coming[key] = self._holdings.coming.get(key, 0) + event.paid_atoms
        self._holdings.touched.add(account)
        self._due.append((event.due_ns, account, pledge.asset, event.paid_atoms))
        legs = {(account, pledge.asset): -event.atoms, (EXTERNAL, pledge.asset): event.atoms}
        self._ledger.expect("redemption", legs, f"a redemption for account {account}")

    def pay(self, event: RedemptionPaid) -> None:
        """An issuer pays what he owes, when he owes it."""
        account, atoms = event.account, event.paid_atoms
        stated, now_ns = (account, event.asset, atoms), self._notes.time_ns
        found = next((due for due in self._due if due[0] <= now_ns and due[1:] == stated), None)
        if found is not None:
            self._due.remove(found)
        else:
            self._find("LIQ-10", f"account {account} is paid {atoms} for a redemption that is not due")
        key = (account, event.asset)
        self._holdings.coming[key] = self._holdings.coming.get(key, 0) - atoms
        brought_in = self._holdings.brought_in
        brought_in[account] = brought_in.get(account, 0) + atoms
        self._holdings.touched.add(account)
        legs = {(account, self._settle): atoms, (EXTERNAL, self._settle): -atoms}
        self._ledger.expect("redemption", legs, f"a redemption for account {account}")

    def _is_due(self, event: ExchangeArmed | RedemptionSent, owed: int) -> bool:
        account, settle = event.account, self._settle
        if event.because == "insurance":
            return account == INSURANCE and self._fund_buys and owed > 0
        if event.because == "bankruptcy":
            return self._holdings.equity(account, settle) < 0
        if event.because == "liquidation":
            return owed > 0 and (account, settle) in self._liquidations.open
        if owed <= 0 or (account < FIRST_ACCOUNT and account != INSURANCE):
            return False
        if event.because == "loan_to_value":
            share = self._rules.trigger_ltv_ppb
            return share > 0 and owed * PPB >= self._holdings.held_margin(account) * share
        by_size = 0 < self._rules.trigger_atoms <= owed
        return by_size or self._holdings.is_absorber(account)

    def check_forced(self, order_id: int, order: Order) -> None:
        """A forced order in a spot market is the sale that was announced."""
        self._notes.counts["forced_orders"] += 1
        order.forced = True
        armed, self._armed = self._armed, None
        announced = armed and (armed.account, armed.instrument, SELL, armed.lots, armed.limit_ticks)
        if announced != (order.account, order.instrument, order.side, order.open, order.price):
            self._find("LIQ-10", f"forced order {order_id} in a spot market is not the sale of a collateral")

    def check_close(self, event: OrderClosed, order: Order) -> None:
        """An order leaves for a sale only where its owner has collateral to sell."""
        balances, account = self._holdings.balances, order.account
        is_owing = balances[self._settle][account] < 0 or self._holdings.equity(account, self._settle) < 0
        is_owing |= account == INSURANCE and self._lacking() > 0
        if order.instrument not in self._pledges or not is_owing:
            self._find(
                "LIQ-12", f"order {event.order_id} leaves for collateral that account {account} need not sell"
            )

    def convert(self, event: Converted) -> None:
        """The fund takes what nobody bought, at the index and the rulebook's ratio."""
        account, pledge = event.account, self._pledges[event.instrument]
        self._holdings.touched.update((account, INSURANCE))
        due = collateral.handed_over_atoms(self._rules, pledge, event.atoms)
        stated = (event.asset, event.taker, event.index_ticks, event.paid_atoms)
        wanted = (pledge.asset, INSURANCE, pledge.market.index, due)
        if stated != wanted:
            self._find("LIQ-10", f"account {account} hands over collateral for {stated}, it is {wanted}")
        if not self._fund_buys or due > self._fund_cash():
            self._find(
                "LIQ-10",
                f"the fund buys collateral of account {account} for {due}, it may spend {self._fund_cash()}",
            )
        if not self._may_hand_over(account):
            self._find("LIQ-10", f"account {account} hands over collateral, though it need not")
        held = self._holdings.balances[pledge.asset][account]
        if not 0 < event.atoms <= held:
            self._find("LIQ-10", f"account {account} hands over {event.atoms} atoms of {held}")
        brought_in = self._holdings.brought_in
        brought_in[account] = brought_in.get(account, 0) + due
        brought_in[INSURANCE] = brought_in.get(INSURANCE, 0) - due
        legs = {
            (account, pledge.asset): -event.atoms,
            (INSURANCE, pledge.asset): event.atoms,
            (INSURANCE, self._settle): -due,
            (account, self._settle): due,
        }
        self._ledger.expect("conversion", legs, f"collateral of account {account}")

    def _may_hand_over(self, account: int) -> bool:
        """Bankrupt, or so when its sale began; or in liquidation with nothing else left to reduce."""
        risk = self._holdings.risk(account, self._settle)
        if risk.equity_atoms < 0 or account in self._used_up:
            return True
        has_positions = self._holdings.positions(account, self._settle)
        return (account, self._settle) in self._liquidations.open and risk.is_short and not has_positions

    def check_used_up(self, event: DeficitOpened) -> None:
        """Nobody pays for an account whose collateral the book or the fund would buy, or may not be sold.

        The fund's own is its inventory.
        """
        if event.account == INSURANCE or event.pocket != self._settle:
            return
        for pledge in self._pledges.values():
            held = self._holdings.balances[pledge.asset][event.account]
            bought = collateral.affordable_atoms(self._rules, pledge, held, self._fund_cash())
            paid = collateral.handed_over_atoms(self._rules, pledge, bought)
            is_for_the_fund = self._fund_buys and paid > 0
            is_redeemable = pledge.rule.redemption_lag_ns > 0 and pledge.worth_atoms(held) > 0
            is_left = is_redeemable or (held > 0 and pledge.market.stands_still)
            if is_left or is_for_the_fund or self._is_bid_for(pledge, event.account):
                self._find(
                    "WFALL-01", f"account {event.account} is in deficit with {held} atoms of collateral left"
                )

    def rest(self, *, is_marked: bool) -> None:
        self._used_up.clear()
        late = [redemption for redemption in self._due if redemption[0] <= self._notes.time_ns]
        if is_marked and late:
            self._find("LIQ-10", f"issuers owe {late} (due, account, asset, atoms) and do not pay")
            self._due = [redemption for redemption in self._due if redemption not in late]
        if self._armed is not None:
            self._find("LIQ-10", f"account {self._armed.account} was to sell collateral, and did not")
            self._armed = None
