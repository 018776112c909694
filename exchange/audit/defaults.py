"""The default of a clearing member: contributions, the auction, and the layers that pay in their order."""

from zerodebt.exchange.audit.arithmetic import split
from zerodebt.exchange.audit.contracts import Contracts
from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.forms.layers import LAYERS, assessments, haircuts, house_capital
from zerodebt.exchange.audit.forms.payers import Means
from zerodebt.exchange.audit.forms.valuation import value, worth_at
from zerodebt.exchange.audit.harm import Harm
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.liquidations import Liquidations
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    DEFAULT_FUND,
    AuctionHeld,
    Contributed,
    DefaultDeclared,
    FundLayer,
    LayerDrawn,
)
from zerodebt.exchange.rules import VenueRules


class Defaults:
    """Who has put up what, who is in default, and which layers the open deficit has drawn on."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        ledger: Ledger,
        harm: Harm,
        contracts: Contracts,
        liquidations: Liquidations,
        deficits: Deficits,
    ) -> None:
        self._rules = rules
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._harm = harm
        self._contracts = contracts
        self._liquidations = liquidations
        self._deficits = deficits
        self._find = notes.find
        self._settle = holdings.settle
        self.is_declared = False
        self._contributions: Means = {}
        self._frozen: dict[Compartment, Means] = {}
        self._spent: set[Compartment] = set()
        """Of those the ones that have nothing left to sell and owe the fund nothing."""
        self._next_layer = 0
        self._due: Means = {}

    def contribute(self, event: Contributed) -> None:
        account, atoms = event.account, event.atoms
        held = self._contributions.get(account, 0) + atoms
        self._contributions[account] = held
        if held < 0 or (atoms < 0 and self._open()):
            self._find("(f)", f"account {account} takes {-atoms} out of the fund, {held} are left")
        brought_in = self._holdings.brought_in
        brought_in[account] = brought_in.get(account, 0) - atoms
        self._holdings.touched.add(account)
        legs = {(account, self._settle): -atoms, (DEFAULT_FUND, self._settle): atoms}
        self._ledger.expect("contribution", legs, f"contribution of account {account}")

    def _open(self) -> bool:
        return bool(self._unspent())

    def _unspent(self) -> set[Compartment]:
        return (self._liquidations.open & self._frozen.keys()) - self._spent

    def _is_spent(self, key: Compartment) -> bool:
        """No positions, not below zero, and what is left is too little for a lot or for its issuer."""
        account, pocket = key
        holdings = self._holdings
        if holdings.positions(account, pocket) or holdings.equity(account, pocket) < 0:
            return False
        if pocket != self._settle:
            return True
        held = [(pledge, holdings.balances[pledge.asset][account]) for pledge in holdings.pledges]
        is_sold = any(
            pledge.worth_atoms(atoms) > 0
            if pledge.rule.redemption_lag_ns
            else atoms >= pledge.market.spec.lot_atoms
            for pledge, atoms in held
        )
        return not is_sold and not holdings.coming_atoms(account)

    def declare(self, event: DefaultDeclared) -> None:
        account = event.account
        key = (account, event.pocket)
        members = tuple((m, atoms) for m, atoms in sorted(self._contributions.items()) if atoms)
        if event.contributions != members:
            self._find("(f)", f"the default of account {account} freezes other contributions than {members}")
        if key not in self._liquidations.open or "default_fund" not in self._rules.waterfall:
            self._find("WFALL-01", f"account {account} is declared in default without a reason")
        self._frozen[key] = dict(event.contributions)
        self._spent.discard(key)
        self.is_declared = True
        self._notes.intervene(f"account {account} is declared in default")

    def auction(self, event: AuctionHeld) -> None:
        """The best bid that was not refused takes all that the defaulter holds."""
        account, winner, holdings = event.account, event.winner, self._holdings
        key = (account, self._settle)
        if key not in self._liquidations.open:
            self._find("LIQ-04", f"the portfolio of account {account} is sold, which is not in default")
        held = holdings.positions(account, self._settle)
        instruments = tuple(market.number for market in held)
        lots = tuple(market.lots_of(account) for market in held)
        marks = tuple(market.mark for market in held)
        offers = [event.price_ticks, *(bid.price_ticks for bid in event.bids)]
        is_whole = all(len(prices) == len(held) for prices in offers)
        if not is_whole or (event.instruments, event.lots, event.mark_ticks) != (instruments, lots, marks):
            self._find("(b)", f"account {account} sells {event.lots} lots, it holds {lots} at marks {marks}")
            return

        def worth(prices: tuple[int, ...]) -> int:
            return sum(value(m.spec, price, n) for m, n, price in zip(held, lots, prices, strict=True))

        best = worth(event.price_ticks)
        for bid in event.bids:
            if bid.account not in event.refused and worth(bid.price_ticks) > best:
                self._find("(b)", f"account {winner} wins the auction, account {bid.account} bids more")
        legs: dict[Compartment, int] = {}
        for market, size, price in zip(held, lots, event.price_ticks, strict=True):
            sold = value(market.spec, price, size)
            self._harm.add(key, value(market.spec, market.reference or 0, size) - sold)
            at = worth_at(market.spec, price)
            moved = holdings.change_hands((account, market), (winner, market), size, at, origin=account)
            for pocket, atoms in moved.items():
                legs[pocket] = legs.get(pocket, 0) + atoms
        holdings.touched |= {account, winner}
        self._ledger.expect("auction", legs, f"auction of account {account}")

    def open_deficit(self) -> None:
        """A new deficit draws on the layers from the first on."""
        self._next_layer = 0

    def draw(self, event: LayerDrawn) -> None:
        """Layers pay in their order as far as each reaches, its payers pro rata to what they can bring."""
        deficit = self._deficits.current
        if deficit is None or deficit.number != event.deficit_id:
            self._find("(d)", f"the fund's {event.layer} pay deficit {event.deficit_id}, which is not open")
            return
        key = (deficit.account, deficit.pocket)
        self._check_all_drawn_paid()
        place = LAYERS.index(event.layer)
        skipped = LAYERS[self._next_layer : place]
        if place < self._next_layer or any(any(self._means(key, layer).values()) for layer in skipped):
            self._find("WFALL-01", f"the fund's {event.layer} are drawn on out of their order")
        self._next_layer = place + 1
        means = self._means(key, event.layer)
        needed = min(max(0, -self._holdings.equity(*key)), sum(means.values()))
        due = split(needed, list(means.values())) if needed else [0] * len(means)
        shares = tuple((account, atoms) for account, atoms in zip(means, due, strict=True) if atoms)
        if event.shares != shares:
            self._find("(d)", f"the fund's {event.layer} bring {event.shares}, {shares} are due")
        if event.layer in ("defaulter_contribution", "contributions"):
            for account, atoms in event.shares:
                self._contributions[account] = self._contributions.get(account, 0) - atoms
            self._due = {DEFAULT_FUND: sum(atoms for _, atoms in event.shares)}
        else:
            self._due = dict(event.shares)

    def _means(self, key: Compartment, layer: FundLayer) -> Means:
        """What each can bring to a layer, among the members that the default froze."""
        rules, members = self._rules.default_fund, self._frozen.get(key, {})
        others = {member: atoms for member, atoms in members.items() if member != key[0]}
        match layer:
            case "house_capital":
                return house_capital(rules, self._holdings)
            case "assessments":
                return assessments(rules, self._holdings, others)
            case "variation_haircut":
                return haircuts(rules, self._holdings, self._contracts.settled_ticks, key[0])
        own = {member: atoms for member, atoms in members.items() if member == key[0]}
        frozen = own if layer == "defaulter_contribution" else others
        return {member: min(atoms, self._contributions.get(member, 0)) for member, atoms in frozen.items()}

    def left_atoms(self, key: Compartment) -> int:
        """What the layers that this compartment's deficit has not drawn on could still bring."""
        if not self._holdings.is_protected(key[0]):
            return 0
        return sum(sum(self._means(key, layer).values()) for layer in LAYERS[self._next_layer :])

    def check_paid(self, payer: int, atoms: int) -> None:
        due = self._due.pop(payer, 0)
        if due != atoms:
            self._find("(d)", f"account {payer} pays {atoms} atoms for a default, its layer drew {due}")

    def _check_all_drawn_paid(self) -> None:
        if self._due:
            self._find("(d)", f"layers of the fund were drawn on that did not pay: {self._due}")
            self._due = {}

    def rest(self) -> None:
        self._check_all_drawn_paid()
        self._spent.update(key for key in self._unspent() if self._is_spent(key))
