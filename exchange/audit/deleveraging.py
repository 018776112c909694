"""Auto-deleveraging: the ranking of the other side, the price, whose lots go."""

from zerodebt.exchange.audit.claims import Claims
from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.forms import adl, payers
from zerodebt.exchange.audit.forms.sharing import Demand
from zerodebt.exchange.audit.forms.valuation import worth_at
from zerodebt.exchange.audit.harm import Harm
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.payments import Payments
from zerodebt.exchange.audit.rankings import Place, Rankings
from zerodebt.exchange.events import (
    INSURANCE,
    Deleveraged,
)
from zerodebt.exchange.rules import VenueRules


class Walk:
    """A walk over a bankrupt compartment's markets: each has its price and the list of whom it asks."""

    __slots__ = (
        "absorber",
        "account",
        "at",
        "bearable",
        "charge",
        "is_solvent",
        "market",
        "places",
        "pocket",
        "price",
        "sign",
        "waiting",
    )

    def __init__(
        self,
        account: int,
        pocket: int,
        waiting: list[int],
        *,
        is_solvent: bool,
        absorber: bool,
        bearable: bool,
    ) -> None:
        self.account = account
        self.pocket = pocket
        self.waiting = waiting
        self.is_solvent = is_solvent
        self.absorber = absorber
        self.bearable = bearable
        self.market = -1
        self.sign = self.price = self.charge = self.at = 0
        self.places: list[Place] = []


class Deleveraging:
    """One walk over a bankrupt compartment's markets, and the rankings of this command."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        ledger: Ledger,
        harm: Harm,
        deficits: Deficits,
        payments: Payments,
        rankings: Rankings,
        claims: Claims,
    ) -> None:
        self._rules = rules
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._harm = harm
        self._deficits = deficits
        self._payments = payments
        self._rankings = rankings
        self._claims = claims
        self._find = notes.find
        self._markets = holdings.markets
        self._slots = holdings.slots
        self._walk: Walk | None = None

    def begin(self, account: int, pocket: int) -> None:
        """The largest position first; can anybody bear what the rule's price leaves?"""
        rules = self._rules
        positions = self._holdings.positions(account, pocket)
        equity = self._holdings.equity(account, pocket)
        claim = self._claims.of((account, pocket))
        for market in positions:
            lots = market.holders[account][0]
            price = adl.rule_ticks(rules.adl, _quotes(market), lots)
            equity -= adl.transfer_atoms(market.spec, market.mark or 0, price, lots)
        by_value = sorted(positions, key=lambda m: (-self._holdings.notional(account, m), m.number))
        self._walk = Walk(
            account,
            pocket,
            [market.number for market in by_value],
            absorber=account == INSURANCE or account in self._holdings.serving,
            is_solvent=self._holdings.equity(account, pocket) >= 0,
            bearable=-equity <= payers.capacity(rules, self._holdings, claim),
        )

    def _next_market(self, walk: Walk) -> None:
        """Fix the price, and whom of the other side it asks."""
        n = walk.waiting[0]
        market = self._slots[n]
        lots = market.holders[walk.account][0]
        walk.market = n
        walk.sign = 1 if lots > 0 else -1
        walk.at = 0
        walk.price = adl.closing_ticks(
            self._rules.adl,
            _quotes(market),
            lots,
            self._bankruptcy_ticks(walk, market, lots),
            absorber=walk.absorber,
            bearable=walk.bearable,
        )
        walk.waiting = walk.waiting[1:]
        walk.charge = adl.charge_atoms(market.spec, market.mark or 0, walk.price, -walk.sign)
        walk.places = self._rankings.places(walk.account, market, -walk.sign, Demand(abs(lots), walk.charge))

    def _bankruptcy_ticks(self, walk: Walk, market: Market, lots: int) -> int:
        """Where the position brings its part of what the compartment lacks."""
        missing = -self._holdings.equity(walk.account, walk.pocket)
        if not walk.is_solvent:
            missing = max(0, missing)
        waiting = [self._slots[n] for n in walk.waiting]
        if self._rules.adl.bankruptcy_allocation == "pro_rata_value":
            weights = [self._holdings.notional(walk.account, m) for m in waiting]
        else:
            weights = [self._holdings.requirement(walk.account, m) for m in waiting]
        part = adl.allocated_atoms(missing, weights)
        return adl.bankruptcy_ticks(market.spec, market.mark or 0, lots, part)

    def _next_winner(self, walk: Walk) -> tuple[Place, int] | None:
        """(place, lots) of whom the list asks next; None when it asks nobody."""
        market = self._slots[walk.market]
        position = market.holders.get(walk.account)
        if position is None:
            return None
        while walk.at < len(walk.places):
            place = walk.places[walk.at]
            lots = self._lots_due(walk, market, place, abs(position[0]))
            if lots:
                return place, lots
            walk.at += 1
        return None

    def _lots_due(self, walk: Walk, market: Market, place: Place, wanted: int) -> int:
        """A shared list says how many lots; a queue asks for all that leave the winner at zero or above.

        Nobody is asked for a leg of his own.
        """
        won = self._holdings.leg(place.account, self._markets[market.instrument], -walk.sign)
        held = won.holders.get(place.account)
        if held is None or walk.sign * held[0] >= 0 or place.account == walk.account:
            return 0
        if place.lots is not None:
            return min(place.lots, wanted)
        lots = min(wanted, abs(held[0]))
        if walk.charge <= 0:
            return lots
        return min(lots, max(0, self._holdings.equity(place.account, place.pocket)) // walk.charge)

    def _end_market(self, walk: Walk) -> None:
        if walk.market < 0:
            return
        due = self._next_winner(walk)
        if due is not None:
            self._find(
                "WFALL-03",
                f"deleveraging of account {walk.account} in instrument {walk.market} stops before "
                f"account {due[0].account} with rank {due[0].number + 1}, who is due {due[1]} lots",
            )
        walk.market = -1

    def end(self) -> None:
        """The walk is over: nobody whom the ranking asks may have been left out."""
        walk = self._walk
        self._walk = None
        if walk is None:
            return
        self._end_market(walk)
        while walk.waiting:
            self._next_market(walk)
            self._end_market(walk)

    def deleverage(self, event: Deleveraged) -> None:
        self._notes.counts["deleveraged"] += 1
        n, account, winner, lots = event.instrument, event.account, event.winner, event.lots
        market = self._holdings.leg(account, self._markets[n], -lots)
        walk = self._walk
        deficit = self._deficits.current
        is_unfilled = deficit is None and not event.deficit_id and walk is not None and walk.is_solvent
        if not is_unfilled and (
            deficit is None or deficit.number != event.deficit_id or deficit.account != account
        ):
            self._find(
                "(b)", f"account {winner} is deleveraged for account {account}, which has no open deficit"
            )
        if walk is None or (walk.account, walk.pocket) != (account, event.pocket):
            self._find(
                "WFALL-01", f"account {winner} is deleveraged for account {account} without adl being armed"
            )
        else:
            while walk.market != market.number and walk.waiting:
                self._end_market(walk)
                self._next_market(walk)
            if walk.market != market.number:
                self._find("WFALL-03", f"instrument {n} of account {account} is deleveraged out of order")
            else:
                self._check_winner(event, walk)
        if event.mark_ticks != market.mark:
            self._find(
                "WFALL-03",
                f"account {winner} is deleveraged at a mark of {event.mark_ticks}, it is {market.mark}",
            )
        transfer = adl.transfer_atoms(market.spec, market.mark or 0, event.price_ticks, lots)
        if transfer != event.transfer_atoms:
            self._find(
                "(d)", f"account {winner} is said to transfer {event.transfer_atoms} atoms, it is {transfer}"
            )
        if deficit is not None:
            deficit.brought += event.transfer_atoms
            deficit.dust += market.dust
            deficit.transfers[winner] = deficit.transfers.get(winner, 0) + event.transfer_atoms
        if event.deficit_id or event.transfer_atoms < 0:
            self._payments.add("adl", winner, event.transfer_atoms)
        self._holdings.touched.add(account)
        self._holdings.touched.add(winner)
        self._exchange(event, market)

    def _check_winner(self, event: Deleveraged, walk: Walk) -> None:
        due = self._next_winner(walk)
        if due is None:
            self._find(
                "WFALL-03", f"account {event.winner} is deleveraged, but the ranking asks nobody any more"
            )
            return
        place, lots = due
        if (event.winner, event.winner_pocket, event.rank) != (
            place.account,
            place.pocket,
            place.number + 1,
        ):
            self._find(
                "WFALL-03",
                f"rank {event.rank} is account {event.winner}, the ranking asks account {place.account} "
                f"with rank {place.number + 1}",
            )
        elif event.score_ppb != place.score_ppb:
            self._find(
                "WFALL-03", f"account {place.account}: score {event.score_ppb}, it is {place.score_ppb}"
            )
        if abs(event.lots) != lots or event.lots * walk.sign >= 0:
            self._find(
                "WFALL-04", f"account {event.winner} gives up {event.lots} lots, {-walk.sign * lots} are due"
            )
        if event.price_ticks != walk.price:
            self._find(
                "WFALL-03",
                f"account {event.winner} is deleveraged at {event.price_ticks}, the rule says {walk.price}",
            )
        walk.at += 1

    def _exchange(self, event: Deleveraged, market: Market) -> None:
        account, winner, lots = event.account, event.winner, event.lots
        worth = worth_at(market.spec, event.price_ticks)
        won = self._holdings.leg(winner, self._markets[event.instrument], lots)
        held = won.holders.get(winner)
        if held is None or abs(held[0]) < abs(lots) or held[0] * lots <= 0:
            self._find(
                "WFALL-04", f"account {winner} gives up {lots} lots, it holds {held[0] if held else 0}"
            )
        else:
            profit = worth(lots) - held[2] * lots // held[0]
            if profit != event.profit_atoms:
                self._find(
                    "POS-01",
                    f"account {winner} realises {event.profit_atoms} atoms when deleveraged, it is {profit}",
                )
        at_index = worth_at(market.spec, market.reference or 0)(lots)
        self._harm.add((account, event.pocket), worth(lots) - at_index)
        legs = self._holdings.change_hands((winner, won), (account, market), lots, worth, origin=None)
        self._ledger.expect("deleverage", legs, f"deleveraging of account {winner}")


def _quotes(market: Market) -> adl.Quotes:
    return adl.Quotes(market.mark or 0, market.previous_mark, market.index)
