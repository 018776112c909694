"""Settlement: all positions of an instrument close at one price."""

from zerodebt.exchange.audit.forms.valuation import worth_at
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import (
    CLEARING,
    Settled,
)


class Settlements:
    """Closes all positions of an instrument."""

    def __init__(self, notes: Notes, holdings: Holdings, ledger: Ledger) -> None:
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._find = notes.find
        self._markets = holdings.markets

    def settle(self, event: Settled) -> None:
        market = self._markets[event.instrument]
        market.stands_still = False
        if market.spec.kind != "future":
            self._notes.intervene(f"{market.spec.symbol}: {market.spec.kind} settled at {event.price_ticks}")
        for levels in market.sides.values():
            for level in levels.by_key.values():
                self._find(
                    "BOOK-08",
                    f"instrument {event.instrument} settles with order {next(iter(level))} in its book",
                )
        legs: dict[Compartment, int] = {}
        worth = worth_at(market.spec, event.price_ticks)
        market.swept_max = market.dust * len(market.holders)
        for account in list(market.holders):
            lots = market.holders[account][0]
            key = (account, self._holdings.pocket_of(account, market))
            realised = self._holdings.move(market, account, -lots, worth)
            legs[key] = legs.get(key, 0) + realised
            clearing = (CLEARING, market.pocket)
            legs[clearing] = legs.get(clearing, 0) - realised
        self._holdings.all_touched = True
        self._ledger.expect("settlement", legs, f"settlement of instrument {event.instrument}")
