"""Takeovers: positions move at the mark or the bankruptcy price, and the margin goes with them."""

from zerodebt.exchange.audit.arithmetic import split
from zerodebt.exchange.audit.forms.valuation import price_of, worth_at
from zerodebt.exchange.audit.harm import Harm
from zerodebt.exchange.audit.holdings import Compartment, Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.liquidations import Liquidations
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.stages import Stages
from zerodebt.exchange.events import (
    INSURANCE,
    Posted,
    TakenOver,
)
from zerodebt.exchange.rules import VenueRules


class Takeover:
    """Positions of a compartment on their way to others; `values` is what each taker has received so far."""

    __slots__ = ("account", "left", "moved", "pocket", "prices", "values")

    def __init__(self, account: int, pocket: int, left: set[int]) -> None:
        self.account = account
        self.pocket = pocket
        self.left = left
        self.values: dict[Compartment, int] = {}
        self.prices: dict[int, int] = {}
        self.moved: set[int] = set()


class Takeovers:
    """The takeover under way."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        ledger: Ledger,
        harm: Harm,
        liquidations: Liquidations,
        stages: Stages,
    ) -> None:
        self._rules = rules
        self._liquidations = liquidations
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._harm = harm
        self._stages = stages
        self._find = notes.find
        self._settle = holdings.settle
        self._markets = holdings.markets
        self._taking: Takeover | None = None

    def take(self, event: TakenOver) -> None:
        self._notes.counts["takeovers"] += 1
        account, pocket, n, taker = event.account, event.pocket, event.instrument, event.taker
        market = self._holdings.leg(account, self._markets[n], event.lots)
        taking = self._taking
        if taking is not None and (taking.account, taking.pocket) != (account, pocket):
            self.end()
            taking = None
        if taking is None:
            held = {m.number for m in self._holdings.positions(account, pocket)}
            taking = self._taking = Takeover(account, pocket, held)
            taking.prices = self._bankruptcy_ticks(account, pocket)
            self._stages.check_takes(account, pocket)
            is_armed = self._stages.is_armed_for
            if not (is_armed("backstop", account, pocket) or is_armed("insurance", account, pocket)):
                self._find(
                    "WFALL-01",
                    f"account {account} is taken over though neither backstop nor fund is armed for it",
                )
        wanted = INSURANCE if self._stages.is_armed("insurance") else self._holdings.backstops.get(n)
        if taker != wanted:
            self._find("(f)", f"account {taker} takes over instrument {n}, the rulebook names {wanted}")
        price = taking.prices.get(market.number, market.mark)
        stated = None if price == market.mark else market.mark
        if (event.price_ticks, event.mark_ticks) != (price, stated):
            self._find(
                "(b)",
                f"instrument {n} is taken over at {event.price_ticks} ticks beside {event.mark_ticks}, the "
                f"mark is {market.mark} and the price {price}",
            )
        lots = market.lots_of(account)
        if market.number not in taking.left or lots != event.lots:
            self._find(
                "LIQ-04",
                f"{event.lots} lots of account {account} in instrument {n} are taken over, it holds {lots}",
            )
        taking.left.discard(market.number)
        self._holdings.touched.add(account)
        self._holdings.touched.add(taker)
        worth = worth_at(market.spec, event.price_ticks)
        taken = worth(event.lots)
        self._harm.add((account, pocket), worth_at(market.spec, market.reference or 0)(event.lots) - taken)
        at_mark = abs(self._holdings.value(market, event.lots))
        taken_by = self._holdings.leg(taker, self._markets[n], event.lots)
        into = (taker, self._holdings.pocket_of(taker, taken_by))
        taking.values[into] = taking.values.get(into, 0) + at_mark
        legs = self._holdings.change_hands(
            (account, market), (taker, taken_by), event.lots, worth, origin=account
        )
        self._ledger.expect("takeover", legs, f"takeover of account {account} in instrument {n}")

    def _bankruptcy_ticks(self, account: int, pocket: int) -> dict[int, int]:
        """Where each position uses up its part of the equity, if the fund takes them at that price.

        Of a compartment that was below zero, and is paid up, it takes them at the mark.
        """
        equity = self._holdings.equity(account, pocket)
        at_bankruptcy = self._rules.insurance.price == "bankruptcy" and self._stages.is_armed("insurance")
        if not at_bankruptcy or equity < 0 or self._stages.is_for_a_deficit:
            return {}
        prices = {}
        for market, share in self._liquidations.shares_of_equity((account, pocket), equity).items():
            lots = market.lots_of(account)
            worth = self._holdings.value(market, lots)
            prices[market.number] = price_of(market.spec, lots, worth - share)
        return prices

    def move_margin(self, event: Posted) -> None:
        """What is left in a taken-over compartment goes to the takers, by the value that each received.

        A posting for its pocket, and one for each asset that it holds as collateral.
        """
        taking = self._taking
        source = next((pocket for account, pocket, _ in event.legs), -1)
        if taking is None or source in taking.moved or source not in self._sources(taking):
            self._find("LEDG-03", "margin moves for a takeover that did not happen")
            return
        taking.moved.add(source)
        if self._is_left(taking):
            self._find("LIQ-04", f"the fund takes over what account {taking.account} owes, on credit")
        margin = self._holdings.balances[source][taking.account]
        takers = sorted(taking.values)
        weights = [taking.values[taker] for taker in takers]
        shares = split(abs(margin), weights if any(weights) else [1] * len(weights))
        due: dict[Compartment, int] = {(taking.account, source): -margin}
        for (taker, pool), share in zip(takers, shares, strict=True):
            into = (taker, pool if source == taking.pocket else source)
            due[into] = due.get(into, 0) + (share if margin > 0 else -share)
        for account, pocket, atoms in event.legs:
            if due.get((account, pocket), 0) != atoms:
                self._find(
                    "LIQ-04",
                    f"takeover of account {taking.account}: account {account} gets {atoms} atoms of margin, "
                    f"{due.get((account, pocket), 0)} are due",
                )
        self._harm.add((taking.account, taking.pocket), self._in_settlement(source, margin))

    def _is_left(self, taking: Takeover) -> bool:
        """The fund takes nothing on credit: what is owed against collateral stays, and so does that."""
        by_fund = any(taker == INSURANCE for taker, _ in taking.values)
        return by_fund and self._holdings.balances[taking.pocket][taking.account] < 0

    def _sources(self, taking: Takeover) -> list[int]:
        pledged = [pledge.asset for pledge in self._holdings.pledges]
        return [taking.pocket, *pledged] if taking.pocket == self._settle else [taking.pocket]

    def _in_settlement(self, source: int, atoms: int) -> int:
        """Atoms of a pocket in the settlement asset."""
        for pledge in self._holdings.pledges:
            if pledge.asset == source:
                return pledge.worth_atoms(atoms)
        return atoms

    @property
    def is_taking(self) -> bool:
        return self._taking is not None

    def end(self) -> None:
        taking = self._taking
        self._taking = None
        if taking is None:
            return
        if taking.left:
            self._find(
                "LIQ-04",
                f"account {taking.account} is taken over but keeps positions {sorted(taking.left)}",
            )
        for source in [] if self._is_left(taking) else self._sources(taking):
            margin = self._holdings.balances[source][taking.account]
            if margin > 0:
                self._find(
                    "LIQ-04", f"account {taking.account} is taken over but keeps a margin of {margin} atoms"
                )
