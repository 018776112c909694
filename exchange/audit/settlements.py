"""Settlement: all positions of an instrument close at one price, or are carried on at it."""

from zerodebt.exchange.audit.calls import Calls
from zerodebt.exchange.audit.claims import Claims
from zerodebt.exchange.audit.contracts import Contracts
from zerodebt.exchange.audit.forms.valuation import worth_at
from zerodebt.exchange.audit.funding import Funding
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.prices import Prices
from zerodebt.exchange.events import CLEARING, Settled, VariationSettled
from zerodebt.exchange.rules import VenueRules


class Settlements:
    """Closes all positions of an instrument, or pays what they gained since the last time."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        ledger: Ledger,
        funding: Funding,
        contracts: Contracts,
        calls: Calls,
        prices: Prices,
        claims: Claims,
    ) -> None:
        self._rules = rules.settlement
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._funding = funding
        self._contracts = contracts
        self._calls = calls
        self._prices = prices
        self._claims = claims
        self._find = notes.find
        self._markets = holdings.markets

    def settle(self, event: Settled) -> None:
        market = self._markets[event.instrument]
        for leg in market.legs:
            leg.stands_still = False
        self._contracts.end(event, market, is_marked=self._prices.is_marked)
        if market.spec.kind == "perpetual" and self._rules.perpetual == "index":
            self._check_delisting(event, market)
        elif market.spec.kind != "future":
            self._notes.intervene(f"{market.spec.symbol}: {market.spec.kind} settled at {event.price_ticks}")
        for levels in market.sides.values():
            for level in levels.by_key.values():
                self._find(
                    "BOOK-08",
                    f"instrument {event.instrument} settles with order {next(iter(level))} in its book",
                )
        legs: dict[Compartment, int] = {}
        worth = worth_at(market.spec, event.price_ticks)
        rows = [(account, leg) for leg in market.legs for account in sorted(leg.holders)]
        market.swept_max = market.dust * len(rows)
        is_moved = False
        for account, leg in rows:
            lots, _, entry = leg.holders[account]
            self._claims.settle(account, worth(lots) - entry)
            key = (account, self._holdings.pocket_of(account, leg))
            realised = self._holdings.move(leg, account, -lots, worth)
            is_moved |= realised != 0
            legs[key] = legs.get(key, 0) + realised
            clearing = (CLEARING, market.pocket)
            legs[clearing] = legs.get(clearing, 0) - realised
        self._holdings.all_touched = True
        what = f"settlement of instrument {event.instrument}"
        self._ledger.expect("settlement", legs, what, is_moved=is_moved)

    def _check_delisting(self, event: Settled, market: Market) -> None:
        """A perpetual ends at the index, with its funding paid, and nobody is below zero at that price."""
        n, holdings = event.instrument, self._holdings
        if event.price_ticks != market.index:
            self._find("WFALL-05", f"instrument {n} ends at {event.price_ticks}, the index is {market.index}")
        self._funding.check_paid(market)
        worth = worth_at(market.spec, event.price_ticks)
        left: dict[Compartment, int] = {}
        for leg in market.legs:
            for account, (lots, _, _) in leg.holders.items():
                key = (account, holdings.pocket_of(account, leg))
                equity = left[key] if key in left else holdings.equity(*key)
                left[key] = equity + worth(lots) - holdings.value(leg, lots)
        for (account, _), atoms in left.items():
            if atoms < 0:
                self._find("WFALL-05", f"instrument {n} ends with account {account} at {atoms} atoms")

    def settle_variation(self, event: VariationSettled) -> None:
        """Each holder gets its value at the settlement price less what the position has cost until now."""
        holdings, market = self._holdings, self._markets[event.instrument]
        worth = worth_at(market.spec, event.price_ticks)
        legs: dict[Compartment, int] = {}
        total = 0
        is_moved = False
        for leg in market.legs:
            for account, position in leg.holders.items():
                gained = worth(position[0]) - position[1]
                key = (account, holdings.pocket_of(account, leg))
                legs[key] = legs.get(key, 0) + gained
                total += gained
                is_moved |= gained != 0
                leg.cost_sum += gained
                position[1] += gained
                holdings.touched.add(account)
        legs[CLEARING, market.pocket] = -total
        self._contracts.settled_ticks[event.instrument] = event.price_ticks
        self._calls.settled_now.add(event.instrument)
        holdings.all_touched = True
        what = f"settlement of instrument {event.instrument} for the day"
        self._ledger.expect("variation", legs, what, is_moved=is_moved)
