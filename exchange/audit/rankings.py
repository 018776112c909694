"""Whom deleveraging asks, in which order, and for how many lots."""

from typing import NamedTuple

from zerodebt.exchange.audit.forms import adl, sharing
from zerodebt.exchange.audit.forms.sharing import Demand
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.events import FIRST_ACCOUNT
from zerodebt.exchange.rules import VenueRules


class Place(NamedTuple):
    """A place in a list, from 0; `lots` (unsigned) are asked of it, None: all that it can give."""

    number: int
    account: int
    pocket: int
    score_ppb: int
    lots: int | None


class Rankings:
    """Lists of one side of an instrument. A queue is frozen when it is first asked for in a command."""

    def __init__(self, rules: VenueRules, notes: Notes, holdings: Holdings) -> None:
        self._rules = rules.adl
        self._notes = notes
        self._holdings = holdings
        self._queues: dict[tuple[int, int], list[Place]] = {}
        self._planned: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        self._asked: set[tuple[int, int]] = set()

    def was_asked(self, instrument: int, sign: int) -> bool:
        return (instrument, sign) in self._asked

    def places(self, account: int, market: Market, sign: int, demand: Demand) -> list[Place]:
        """Whom to ask on the side of `sign` for the lots of this account's bankrupt position."""
        key = (market.instrument, sign)
        self._asked.add(key)
        if not adl.is_queue(self._rules):
            return self._shared(account, market, sign, demand)
        if key not in self._queues and self._rules.plan == "before":
            self._queues[key] = self._as_planned(market, sign)
        elif key not in self._queues:
            ranked = adl.queue(self._rules, self._candidates(market, sign))
            self._queues[key] = [
                Place(number, account, pocket, -score, None)
                for number, (score, account, pocket) in enumerate(ranked)
            ]
        return self._queues[key]

    def _shared(self, account: int, market: Market, sign: int, demand: Demand) -> list[Place]:
        """The lots are shared among the others: an own leg keeps its place in the list and gives nothing."""
        listed = sharing.listed(self._rules, self._candidates(market, sign), self._notes.seq)
        others = [(number, c) for number, c in enumerate(listed) if c.account != account]
        lots = sharing.shares(self._rules, [c for _, c in others], demand)
        return [
            Place(number, c.account, c.pocket, 0, share)
            for (number, c), share in zip(others, lots, strict=True)
            if share
        ]

    def _as_planned(self, market: Market, sign: int) -> list[Place]:
        """Of the queue that was planned who is at least as large as he was then."""
        places = []
        for number, (account, lots, score) in enumerate(self._planned.get((market.instrument, sign), ())):
            leg = self._holdings.leg(account, self._holdings.markets[market.instrument], sign)
            if sign * leg.lots_of(account) >= lots:
                pocket = self._holdings.pocket_of(account, leg)
                places.append(Place(number, account, pocket, score, None))
        return places

    def plan(self) -> None:
        """The end of an instant: queues for the next command, where the rulebook plans before the need."""
        if self._rules.plan == "now":
            return
        self._planned.clear()
        for market in self._holdings.markets:
            for sign in (1, -1) if not market.is_spot else ():
                candidates = self._candidates(market, sign)
                size = {c.account: sign * c.lots for c in candidates}
                self._planned[market.number, sign] = [
                    (account, size[account], -score)
                    for score, account, _ in adl.queue(self._rules, candidates)
                ]

    def rest(self) -> None:
        self._queues.clear()
        self._asked.clear()

    def _candidates(self, market: Market, sign: int) -> list[adl.Candidate]:
        """Customers' positions of one side, with a profit unless the rulebook asks losers too."""
        holdings, everyone = self._holdings, adl.asks_losers(self._rules)
        found = []
        for leg in holdings.markets[market.instrument].legs:
            for account, (lots, _, entry) in leg.holders.items():
                if lots * sign <= 0 or account < FIRST_ACCOUNT:
                    continue
                value = holdings.value(leg, lots)
                if value > entry or everyone:
                    found.append(self._candidate(leg, account, lots, value, entry))
        return found

    def _candidate(self, market: Market, account: int, lots: int, value: int, entry: int) -> adl.Candidate:
        holdings = self._holdings
        pocket = holdings.pocket_of(account, market)
        pledged = holdings.worth(account) if pocket == holdings.settle else 0
        return adl.Candidate(
            account=account,
            pocket=pocket,
            lots=lots,
            value_atoms=value,
            entry_atoms=entry,
            wallet_atoms=holdings.balances[pocket][account] + pledged,
            equity_atoms=holdings.equity(account, pocket),
            maintenance_atoms=lambda: holdings.risk(account, pocket).maintenance_atoms,
        )
