"""Auto-deleveraging: the ranking of the other side, the price, whose lots go."""

from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.forms import adl, payers
from zerodebt.exchange.audit.forms.valuation import worth_at
from zerodebt.exchange.audit.harm import Harm
from zerodebt.exchange.audit.holdings import Holdings
from zerodebt.exchange.audit.ledger import Ledger
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.payments import Payments
from zerodebt.exchange.audit.rankings import Rankings
from zerodebt.exchange.events import (
    INSURANCE,
    Deleveraged,
)
from zerodebt.exchange.rules import VenueRules


class Walk:
    """A walk over a bankrupt compartment's markets: each has its price and its place in the ranking."""

    __slots__ = (
        "account",
        "at_bankruptcy",
        "market",
        "place",
        "pocket",
        "price",
        "sign",
        "waiting",
    )

    def __init__(self, account: int, pocket: int, waiting: list[int], *, at_bankruptcy: bool) -> None:
        self.account = account
        self.pocket = pocket
        self.waiting = waiting
        self.at_bankruptcy = at_bankruptcy
        self.market = -1
        self.sign = self.price = self.place = 0


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
    ) -> None:
        self._rules = rules
        self._notes = notes
        self._holdings = holdings
        self._ledger = ledger
        self._harm = harm
        self._deficits = deficits
        self._payments = payments
        self._rankings = rankings
        self._find = notes.find
        self._markets = holdings.markets
        self._walk: Walk | None = None

    def begin(self, account: int, pocket: int) -> None:
        """The largest position first; at bankruptcy if the rule's price leaves what no payer can bear."""
        rules = self._rules
        positions = self._holdings.positions(account, pocket)
        absorber = account == INSURANCE or account in self._holdings.serving
        at_bankruptcy = absorber or rules.adl.price == "bankruptcy"
        if not at_bankruptcy:
            equity = self._holdings.equity(account, pocket)
            for market in positions:
                lots = market.holders[account][0]
                price = self._rule_price(market, lots)
                equity -= adl.transfer_atoms(market.spec, market.mark or 0, price, lots)
            able = payers.capacity(rules.waterfall, self._holdings, account)
            at_bankruptcy = -equity > able
        by_value = sorted(positions, key=lambda m: (-self._holdings.notional(account, m), m.number))
        waiting = [market.number for market in by_value]
        self._walk = Walk(account, pocket, waiting, at_bankruptcy=at_bankruptcy)

    def _rule_price(self, market: Market, lots: int) -> int:
        return adl.rule_ticks(self._rules.adl, market.mark or 0, market.previous_mark, lots)

    def _next_market(self, walk: Walk) -> None:
        """Freeze the ranking of the other side, unless this batch has one, and fix the price."""
        n = walk.waiting[0]
        market = self._markets[n]
        lots = market.holders[walk.account][0]
        walk.market = n
        walk.sign = 1 if lots > 0 else -1
        walk.place = 0
        walk.price = self._rule_price(market, lots)
        if walk.at_bankruptcy:
            missing = max(0, -self._holdings.equity(walk.account, walk.pocket))
            values = [self._holdings.notional(walk.account, self._markets[m]) for m in walk.waiting]
            part = adl.allocated_atoms(missing, values)
            walk.price = adl.bankruptcy_ticks(market.spec, market.mark or 0, lots, part)
        walk.waiting = walk.waiting[1:]
        self._rankings.freeze(market, -walk.sign)

    def _next_winner(self, walk: Walk) -> tuple[int, int, int] | None:
        """(place in the ranking, account, lots) of whom the ranking asks next; None when it asks nobody."""
        market = self._markets[walk.market]
        position = market.holders.get(walk.account)
        if position is None:
            return None
        ranking = self._rankings.of(walk.market, -walk.sign)
        while walk.place < len(ranking):
            _, winner, pocket = ranking[walk.place]
            held = market.holders.get(winner)
            if winner != walk.account and held is not None and walk.sign * held[0] < 0:
                most = -walk.sign * min(abs(position[0]), abs(held[0]))
                equity = self._holdings.equity(winner, pocket)
                lots = adl.bearable_lots(market.spec, market.mark or 0, walk.price, most, equity)
                if lots:
                    return walk.place, winner, lots
            walk.place += 1
        return None

    def _end_market(self, walk: Walk) -> None:
        if walk.market < 0:
            return
        due = self._next_winner(walk)
        if due is not None:
            self._find(
                "WFALL-03",
                f"deleveraging of account {walk.account} in instrument {walk.market} stops before "
                f"account {due[1]} with rank {due[0] + 1}, who could take {due[2]} lots",
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
        market = self._markets[n]
        walk = self._walk
        deficit = self._deficits.current
        if deficit is None or deficit.number != event.deficit_id or deficit.account != account:
            self._find(
                "(b)", f"account {winner} is deleveraged for account {account}, which has no open deficit"
            )
        if walk is None or (walk.account, walk.pocket) != (account, event.pocket):
            self._find(
                "WFALL-01", f"account {winner} is deleveraged for account {account} without adl being armed"
            )
        else:
            while walk.market != n and walk.waiting:
                self._end_market(walk)
                self._next_market(walk)
            if walk.market != n:
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
            deficit.transfers[winner] = deficit.transfers.get(winner, 0) + event.transfer_atoms
        self._payments.add("adl", winner, event.transfer_atoms)
        self._holdings.touched.add(account)
        self._holdings.touched.add(winner)
        self._exchange(event, market)

    def _check_winner(self, event: Deleveraged, walk: Walk) -> None:
        due = self._next_winner(walk)
        ranking = self._rankings.of(walk.market, -walk.sign)
        if due is None:
            self._find(
                "WFALL-03", f"account {event.winner} is deleveraged, but the ranking asks nobody any more"
            )
            return
        place, winner, lots = due
        score, _, pocket = ranking[place]
        if (event.winner, event.winner_pocket, event.rank) != (winner, pocket, place + 1):
            self._find(
                "WFALL-03",
                f"rank {event.rank} is account {event.winner}, the ranking asks account {winner}",
            )
        elif event.score_ppb != -score:
            self._find("WFALL-03", f"account {winner}: score {event.score_ppb}, it is {-score}")
        if abs(event.lots) != lots or event.lots * walk.sign >= 0:
            self._find(
                "WFALL-04", f"account {event.winner} gives up {event.lots} lots, {-walk.sign * lots} are due"
            )
        if event.price_ticks != walk.price:
            self._find(
                "WFALL-03",
                f"account {event.winner} is deleveraged at {event.price_ticks}, the rule says {walk.price}",
            )
        walk.place += 1

    def _exchange(self, event: Deleveraged, market: Market) -> None:
        account, winner, lots = event.account, event.winner, event.lots
        worth = worth_at(market.spec, event.price_ticks)
        held = market.holders.get(winner)
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
        at_index = worth_at(market.spec, market.index or 0)(lots)
        self._harm.add((account, event.pocket), worth(lots) - at_index)
        legs = self._holdings.change_hands(market, winner, account, lots, worth, origin=None)
        self._ledger.expect("deleverage", legs, f"deleveraging of account {winner}")
