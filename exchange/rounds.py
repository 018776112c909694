"""Risk work after prices moved: forced orders, takeovers, deleveraging, and who pays what is left.

One call of `work` is one round of the phases of the architecture page: scan and cancel; forced orders of all
liquidatable compartments, the most underwater first; takeovers; bankrupt compartments and absorbers. The
waterfall of the rulebook is read twice: first it disposes of positions (book, backstop, insurance, adl), then
it pays in cash what is still missing (backstop, insurance, socialise, settlement_haircut, lenders, house,
default_fund, recourse).
"""

from collections.abc import Iterator

import numpy as np
from msgspec import structs

from zerodebt.exchange.accounts import BACKSTOP
from zerodebt.exchange.clearing import Clearing
from zerodebt.exchange.collateral import worth_array
from zerodebt.exchange.conversion import Conversions
from zerodebt.exchange.events import (
    DEFAULT_FUND,
    DEFICIT,
    FINANCIER,
    FIRST_ACCOUNT,
    HOUSE,
    INSURANCE,
    LENDING,
    ROUNDING,
    DefaultDeclared,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    LayerDrawn,
    LiquidationEnded,
    LiquidationStarted,
    PoolStatus,
    PostReason,
    ReceivableBooked,
    StageArmed,
    StagePaid,
    WrittenDown,
)
from zerodebt.exchange.forced import ForcedOrders
from zerodebt.exchange.instruments import closing_ticks
from zerodebt.exchange.ledger import Leg
from zerodebt.exchange.liquidation import bankruptcy_ticks
from zerodebt.exchange.margin import Risk, find_liquidatable, maintenance_of, pooled_equity, risk_of
from zerodebt.exchange.marks import Market
from zerodebt.exchange.rules import StageName
from zerodebt.exchange.sessions import stands_still
from zerodebt.exchange.state import Compartment, PlannedPlace, State
from zerodebt.exchange.variation import may_be_forced, review_calls
from zerodebt.exchange.waterfall import adl, allocation, default_fund, lenders, policies, pools, socialise
from zerodebt.exchange.waterfall.origins import deficit_origins
from zerodebt.exchange.waterfall.socialise import Payer, PayerShare

DUST_ATOMS = 10


class RiskRounds:
    """Works on a state through its clearing. `begin` is called once a command, `work` once a round."""

    def __init__(self, state: State, clearing: Clearing) -> None:
        self.state = state
        self.clearing = clearing
        self._conversions = Conversions(state, clearing)
        self.settled: dict[int, int] = {}
        """Profit of each account at the settlements of this command."""
        self._forced = ForcedOrders(state, clearing, self._is_for_the_book)
        self._held: dict[Compartment, list[Market]] = {}
        self._bearers: list[Compartment] = []
        self._unplaced: dict[Compartment, list[int]] = {}
        """Lots of bankrupt ones that no stage could take in this command: the book has to."""
        self._rankings: dict[tuple[int, int], list[adl.Ranked]] = {}

    def begin(self) -> None:
        """A new command: every compartment may be sent to the book once, and rankings are taken anew."""
        self._forced.begin()
        self._held.clear()
        self._unplaced.clear()
        self._conversions.begin()
        self._rankings.clear()

    def work(self) -> bool:
        """One round; says whether anything was done that may call for another."""
        state = self.state
        below = [f.compartment for f in find_liquidatable(state)]
        found = [compartment for compartment in below if may_be_forced(state, compartment)]
        for compartment in found:
            self._start(compartment)
        acted = False
        if state.rules.exchange.before_positions:
            acted |= self._exchange(found)
        for compartment in found:
            acted |= self._forced.send(compartment)
        acted |= self._exchange(found)
        for compartment in found:
            acted |= self._take_over(compartment)
        for compartment in found:
            acted |= self._take_unfilled(compartment)
        for compartment in found + self._absorbers():
            acted |= self._resolve(compartment)
        self.clearing.close_attached()
        self._finish(below)
        return acted

    # Scan and cancel

    def _start(self, compartment: Compartment) -> None:
        state = self.state
        account, pocket = compartment
        self._held.setdefault(compartment, state.positions_of(compartment))
        if compartment not in state.in_liquidation:
            risk = risk_of(state, compartment)
            state.in_liquidation[compartment] = None
            self.clearing.out.append(
                LiquidationStarted(
                    account, pocket, risk.equity_atoms, risk.maintenance_atoms, risk.haircut_atoms
                )
            )
        self._declare(compartment)
        if state.accounts.orders.cells[0][account]:
            markets = state.contracts_of(compartment)
            if pocket == state.settle:
                markets = [*markets, *(m for m in state.markets if m.instrument.kind == "spot")]
            for market in markets:
                self.clearing.close_all(account, market.number, "liquidation")

    def _declare(self, compartment: Compartment) -> None:
        """A member's default freezes who has put up what, from when there is something to close or to pay."""
        state = self.state
        if "default_fund" not in state.rules.waterfall or compartment in state.defaults:
            return
        if default_fund.is_spent(state, compartment):
            return
        members = (member for member in sorted(state.contributions.items()) if member[1])
        state.defaults[compartment] = tuple(members)
        self.clearing.out.append(DefaultDeclared(*compartment, state.defaults[compartment]))

    def _finish(self, below: list[Compartment]) -> None:
        """Let go of the compartments that are safe again, and write down which are still below zero.

        below  those that this round found below maintenance, the ones that are only called included
        """
        state = self.state
        others = {*below, *state.open_deficits, *self._absorbers()}.difference(state.in_liquidation)
        for compartment in sorted(others):
            self._note_deficit(compartment, risk_of(state, compartment))
        for compartment in sorted(state.in_liquidation):
            risk = risk_of(state, compartment)
            account, pocket = compartment
            self._note_deficit(compartment, risk)
            if risk.is_safe or default_fund.is_spent(state, compartment):
                state.defaults.pop(compartment, None)
            if not risk.is_safe:
                continue
            del state.in_liquidation[compartment]
            self.clearing.out.append(
                LiquidationEnded(
                    account, pocket, risk.equity_atoms, risk.maintenance_atoms, risk.haircut_atoms
                )
            )
            if pocket != state.settle and not state.positions_of(compartment):
                left = state.accounts.balances.cells[pocket][account]
                self.clearing.post("isolate", [(account, pocket, -left), (account, state.settle, left)])
        review_calls(state, self.clearing)

    def _note_deficit(self, compartment: Compartment, risk: Risk) -> None:
        if risk.is_bankrupt:
            self.state.open_deficits[compartment] = -risk.equity_atoms
        else:
            self.state.open_deficits.pop(compartment, None)

    # Collateral

    def _exchange(self, found: list[Compartment]) -> bool:
        """Sell collateral for what those in liquidation owe, and those at a trigger."""
        state = self.state
        acted = False
        if not state.collateral:
            return acted
        for compartment in found:
            account, pocket = compartment
            if pocket != state.settle:
                continue
            acted |= self._conversions.exchange(account, "liquidation")
            if not state.positions_of(compartment) and not risk_of(state, compartment).is_safe:
                acted |= self._conversions.clear(account)
        for account, because in self._conversions.due():
            acted |= self._conversions.exchange(account, because)
        return acted

    # Positions: backstop, insurance, adl

    def _take_over(self, compartment: Compartment) -> bool:
        """The backstop takes positions and margin of a compartment that is low but not below zero."""
        state = self.state
        risk = risk_of(state, compartment)
        if risk.is_bankrupt or not self._is_for_the_backstop(compartment, risk):
            return False
        if not self._may_liquidate(state.positions_of(compartment)):
            return False
        self._arm("backstop", compartment, risk, "equity is below the backstop's share of the requirement")
        self.clearing.take_over(compartment, state.backstops)
        return True

    def _take_unfilled(self, compartment: Compartment) -> bool:
        """The fund or deleveraging takes what the book could not fill of one that is not bankrupt."""
        state = self.state
        if not self._forced.is_unfilled(compartment):
            return False
        risk = risk_of(state, compartment)
        markets = state.positions_of(compartment)
        if risk.is_safe or risk.is_bankrupt or not markets or not self._may_liquidate(markets):
            return False
        self._bearers = pools.bearers(state, markets)
        for stage in state.rules.waterfall:
            if stage == "insurance" and state.rules.insurance.takes == "unfilled":
                if self._fund_takes(compartment, risk, 0) is not None:
                    return True
            elif stage == "adl" and state.rules.adl.trigger == "unfilled":
                self._arm(stage, compartment, risk, "equity is below the requirement and the book is empty")
                before = self._gross_lots(compartment)
                self._deleverage(compartment, 0)
                return self._gross_lots(compartment) < before
        return False

    def _resolve(self, compartment: Compartment) -> bool:
        """Make the debt of a bankrupt compartment zero, as far as the rulebook's payers reach."""
        state = self.state
        clearing = self.clearing
        risk = risk_of(state, compartment)
        if not risk.is_bankrupt:
            return False
        positions = state.positions_of(compartment)
        if not self._may_liquidate(positions) or (positions and not self._disposes(compartment, risk)):
            return False
        if positions and self._unplaced.get(compartment) == self._lots_of(compartment):
            return False
        account, pocket = compartment
        if pocket == state.settle:
            if self._conversions.is_halted(account):
                return False
            if self._conversions.use_up(account):
                risk = risk_of(state, compartment)
                if not risk.is_bankrupt:
                    return True
            if self._redeem(compartment):
                risk = risk_of(state, compartment)
                if not risk.is_bankrupt:
                    return True
        deficit = -risk.equity_atoms
        if not positions and self._is_dust(deficit):
            clearing.post("rounding", [(ROUNDING, state.settle, -deficit), (account, pocket, deficit)])
            return True
        deficit_id = state.counters.next_deficit_id
        state.counters.next_deficit_id = deficit_id + 1
        origins = self._origins(compartment, deficit)
        clearing.out.append(DeficitOpened(deficit_id, account, pocket, state.settle, deficit, origins))
        held = self._held.setdefault(compartment, positions)
        self._bearers = pools.bearers(state, positions or held)
        brought = 0
        for stage in state.rules.waterfall:
            if not state.positions_of(compartment):
                break
            risk = risk_of(state, compartment)
            if not risk.is_bankrupt:
                break
            if stage == "insurance" and state.rules.insurance.takes != "never":
                brought += self._fund_takes(compartment, risk, deficit_id) or 0
            elif stage == "adl" and self._is_for_deleveraging(compartment, risk, self._bearers):
                self._arm(stage, compartment, risk, "equity is below zero")
                brought += self._deleverage(compartment, deficit_id)
        brought += self._collect(compartment, deficit_id)
        left = max(0, -risk_of(state, compartment).equity_atoms)
        if left and not state.positions_of(compartment):
            clearing.post("deficit", [(account, pocket, left), (DEFICIT, state.settle, -left)])
        clearing.out.append(DeficitClosed(deficit_id, left, brought + left - deficit))
        is_unplaced = risk_of(state, compartment).is_bankrupt and bool(state.positions_of(compartment))
        if is_unplaced:
            self._unplaced[compartment] = self._lots_of(compartment)
        return brought > 0 or is_unplaced or not state.positions_of(compartment)

    def _lots_of(self, compartment: Compartment) -> list[int]:
        lots = self.state.accounts.lots.cells
        return [lots[m.number][compartment[0]] for m in self.state.positions_of(compartment)]

    def _fund_takes(self, compartment: Compartment, risk: Risk, deficit_id: int) -> int | None:
        """The fund takes all positions, if its pools can and may; returns what it paid for them.

        A compartment below zero is paid up first: then its bankruptcy price is the mark. Each pool bears the
        part of its instrument, as the rulebook allocates a bankruptcy.
        """
        state = self.state
        account = compartment[0]
        if account == INSURANCE:
            return None
        markets = state.positions_of(compartment)
        lots = [state.accounts.lots.cells[m.number][account] for m in markets]
        weights = allocation.weights_of(state, account, markets)
        shares = list(allocation.equity_shares(risk.equity_atoms, weights))
        missing: dict[Compartment, int] = {}
        for market, share in zip(markets, shares, strict=True):
            pool = state.compartment_of(INSURANCE, market.instrument_number)
            missing[pool] = missing.get(pool, 0) + max(0, -share)
        for pool, atoms in missing.items():
            if not self._is_open(pool) or pools.equity_atoms(state, pool) < atoms:
                return None
        if not all(pools.takes_position(state, m, held) for m, held in zip(markets, lots, strict=True)):
            return None
        if not all(self._is_in_reach(pool, atoms) for pool, atoms in missing.items()):
            return None
        if state.settle in (pocket for (_, pocket), atoms in missing.items() if atoms):
            self._conversions.raise_cash(missing[INSURANCE, state.settle])
        if any(pools.payable_atoms(state, pool) < atoms for pool, atoms in missing.items()):
            return None  # a bidder in two spot books had the money for one of them
        because = "equity is below zero and the fund can take it"
        if not risk.is_bankrupt:
            because = "equity is below the requirement and the book is empty"
        self._arm("insurance", compartment, risk, because)
        paid = 0
        for pool, atoms in missing.items():
            if atoms:
                paid += self._pay(deficit_id, "insurance", INSURANCE, compartment, atoms, pool[1])
        takers = {market.instrument_number: INSURANCE for market in markets}
        prices = {}
        if state.rules.insurance.price == "bankruptcy" and not risk.is_bankrupt:
            for market, held, share in zip(markets, lots, shares, strict=True):
                prices[market.number] = bankruptcy_ticks(market, held, share)
        self.clearing.take_over(compartment, takers, prices)
        return paid

    def _is_for_deleveraging(self, compartment: Compartment, risk: Risk, bearers: list[Compartment]) -> bool:
        """Is the rulebook's trigger met for a compartment below zero, whose deficit these pools bear?"""
        rules = self.state.rules
        waits_for_fund = rules.adl.trigger == "fund_cannot_pay" and "insurance" in rules.waterfall
        if not waits_for_fund or self._forced.is_unfilled(compartment):
            return True
        able = 0
        for pool in bearers:
            if self._is_open(pool):
                money = pools.money_atoms(self.state, pool)
                if pool[1] == self.state.settle:
                    money += self._conversions.raisable_atoms()
                able += max(0, money)
        return able < -risk.equity_atoms

    def _is_in_reach(self, pool: Compartment, atoms: int) -> bool:
        """Does the pool have the money, or would the book bring it for the pool's own assets?

        For a position without a debt nothing is asked: what the pool lost itself is no reason to sell.
        """
        money = pools.money_atoms(self.state, pool)
        if money < atoms and pool[1] == self.state.settle:
            money += self._conversions.raisable_atoms()
        return money >= atoms or not atoms

    def _is_open(self, pool: Compartment) -> bool:
        """Does the pool take positions, or has it fallen too far from its peak? Writes down a change."""
        state = self.state
        rules = state.rules.insurance.drawdown
        if rules is None:
            return True
        was_closed = pool[1] in state.closed_pools
        peak, now = pools.peak_atoms(state, pool), pools.equity_atoms(state, pool)
        is_closed = pools.is_drawn_down(rules, peak, now, was_drawn_down=was_closed)
        if is_closed != was_closed:
            if is_closed:
                state.closed_pools[pool[1]] = None
            else:
                del state.closed_pools[pool[1]]
            self.clearing.out.append(PoolStatus(pool[1], is_closed, peak, now))
        return not is_closed

    def _deleverage(self, compartment: Compartment, deficit_id: int) -> int:
        """Close a bankrupt compartment's positions against the other side; returns the winners' transfers."""
        state = self.state
        rules = state.rules.adl
        account = compartment[0]
        is_absorber = account == INSURANCE or state.accounts.vault.cells[0][account] == BACKSTOP
        is_bearable = self._shortfall_at_rule_price(compartment) <= self._capacity()
        at_bankruptcy = is_absorber or rules.price == "bankruptcy" or not is_bearable
        brought = 0
        markets = sorted(
            state.positions_of(compartment), key=lambda m: (-self._notional(account, m), m.number)
        )
        for k, market in enumerate(markets):
            lots = state.accounts.lots.cells[market.number][account]
            equity = risk_of(state, compartment).equity_atoms
            if deficit_id:
                equity = min(0, equity)
            weights = allocation.weights_of(state, account, markets[k:])
            value = market.value_atoms(lots)
            quote = allocation.bankruptcy_atoms(value, equity, weights[0], sum(weights))
            limit = closing_ticks(market.instrument, lots, quote)
            if market.instrument.contract == "inverse":
                limit = max(1, limit)  # no price of an inverse short brings more than the lowest one
            price = self._rule_price(market, lots)
            if at_bankruptcy:
                if is_absorber or not is_bearable or not adl.is_far(rules, limit, market.mark_ticks):
                    price = limit
            elif rules.clamp == "bankruptcy":
                price = min(price, limit) if lots > 0 else max(price, limit)
            brought += self._take_from_winners(compartment, deficit_id, market, price)
        return brought

    def _take_from_winners(
        self, compartment: Compartment, deficit_id: int, market: Market, price: int
    ) -> int:
        state = self.state
        clearing = self.clearing
        account, pocket = compartment
        n = market.instrument_number
        cells = state.accounts.lots.cells[market.number]
        sign = 1 if cells[account] > 0 else -1
        mark = market.prices.mark_ticks
        assert mark is not None
        charge = -market.gain_atoms(sign, price) + (market.instrument.contract == "inverse")
        brought = 0
        demand = adl.Demand(abs(cells[account]), charge)
        others = (r for r in self.asked(market, sign) if r.candidate.account != account)
        for ranked, lots in policies.plan(state.rules.adl, others, demand):
            winner = ranked.candidate.account
            transfer = -market.gain_atoms(sign * lots, price)
            legs: list[Leg] = []
            clearing.move(market, account, -sign * lots, price, legs)
            won = state.leg(winner, n, -sign)
            change = clearing.move(won, winner, sign * lots, price, legs)
            clearing.out.append(
                Deleveraged(
                    deficit_id,
                    n,
                    account,
                    pocket,
                    winner,
                    ranked.candidate.pocket,
                    -sign * lots,
                    price,
                    mark,
                    transfer,
                    change.profit_atoms,
                    ranked.rank,
                    ranked.score_ppb,
                )
            )
            clearing.post("deleverage", legs)
            if not change.lots:
                clearing.release(won, winner, change.closed_lots)
            if state.rules.adl.cancels_orders:
                for slot in state.slots:
                    clearing.close_all(winner, slot.number, "deleveraged")
            brought += transfer
        return brought

    def asked(self, market: Market, sign: int) -> Iterator[adl.Ranked]:
        """Who is asked on the other side of this sign; of a frozen queue who is still there, as he is now."""
        is_frozen = self.state.rules.adl.policy == "queue"
        lots_cells = self.state.accounts.lots.cells
        for ranked in self._ranking(market.instrument_number, -sign):
            c = ranked.candidate
            held = lots_cells[self.state.leg(c.account, market.instrument_number, -sign).number][c.account]
            if sign * held >= 0:
                continue
            if is_frozen:
                equity = risk_of(self.state, (c.account, c.pocket)).equity_atoms
                c = structs.replace(c, lots=held, equity_atoms=equity)
                ranked = structs.replace(ranked, candidate=c)
            yield ranked

    def _ranking(self, instrument: int, sign: int) -> list[adl.Ranked]:
        """One side of an instrument: a queue frozen at its first use in this command, or a new list."""
        rules = self.state.rules.adl
        if rules.policy != "queue":
            return adl.listed(rules, self._candidates(instrument, sign), self.state.seq)
        key = (instrument, sign)
        if key not in self._rankings:
            is_planned = rules.plan == "before"
            self._rankings[key] = self._planned(*key) if is_planned else self._ranked(*key)
        return self._rankings[key]

    def _ranked(self, instrument: int, sign: int) -> list[adl.Ranked]:
        rules = self.state.rules.adl
        return adl.rank(rules.score, self._candidates(instrument, sign), rules.wallet_min_atoms)

    def plan_queues(self) -> None:
        """The queues that the next command will use, where the rulebook plans before the need."""
        self.state.planned.clear()
        for market in self.state.markets:
            for sign in (1, -1) if market.instrument.kind != "spot" else ():
                places = [
                    PlannedPlace(r.candidate.account, r.candidate.lots, r.score_ppb)
                    for r in self._ranked(market.number, sign)
                ]
                if places:
                    self.state.planned[market.number, sign] = places

    def _planned(self, instrument: int, sign: int) -> list[adl.Ranked]:
        """What is left of a queue that was planned: who has become smaller no longer fits his plan."""
        found = []
        for k, (account, lots, score) in enumerate(self.state.planned.get((instrument, sign), ())):
            leg = self.state.leg(account, instrument, sign)
            held = self.state.accounts.lots.cells[leg.number][account]
            if sign * held >= sign * lots:
                pocket = self.state.compartment_of(account, leg.number)[1]
                found.append(adl.Ranked(adl.Candidate(account, pocket, held, 0, 0, 0, 0, 0, 0), k + 1, score))
        return found

    def _candidates(self, instrument: int, sign: int) -> Iterator[adl.Candidate]:
        for leg in self.state.legs_of(instrument):
            yield from self._candidates_of(leg, sign)

    def _candidates_of(self, market: Market, sign: int) -> Iterator[adl.Candidate]:
        state = self.state
        accounts = state.accounts
        n = market.number
        rows = np.flatnonzero(sign * accounts.lots.array[n, : accounts.count] > 0)
        rows = rows[rows >= FIRST_ACCOUNT]
        pooled, required = pooled_equity(state, rows)
        settled = accounts.balances.array[state.settle, rows].copy()
        for collateral in state.collateral:
            settled += worth_array(collateral, accounts.balances.array[collateral.asset, rows])
        settled += accounts.coming.array[:, rows].sum(axis=0)
        own = state.pocket(n)
        columns = zip(
            rows.tolist(),
            pooled.tolist(),
            required.tolist(),
            accounts.lots.array[n, rows].tolist(),
            accounts.cost.array[n, rows].tolist(),
            accounts.entry_cost.array[n, rows].tolist(),
            accounts.isolated.array[n, rows].tolist(),
            settled.tolist(),
            accounts.balances.array[own, rows].tolist(),
            strict=True,
        )
        for account, equity, maintenance, lots, cost, entry, isolated, wallet, margin in columns:
            worth = market.value_atoms(lots)
            if worth <= entry and not adl.reaches_losers(state.rules.adl):
                continue
            pocket = state.settle
            if isolated:
                pocket, wallet, equity = own, margin, margin + worth - cost
                maintenance = maintenance_of(state, market, account, lots)
            yield adl.Candidate(
                account, pocket, lots, abs(worth), abs(entry), worth - entry, equity, wallet, maintenance
            )

    # Cash: backstop, insurance, socialise, settlement_haircut, lenders, house, default_fund, recourse

    def _collect(self, compartment: Compartment, deficit_id: int) -> int:
        """Let the rulebook's payers bring what is missing, in order; returns what they brought."""
        state = self.state
        account = compartment[0]
        is_customer = account >= FIRST_ACCOUNT and state.accounts.vault.cells[0][account] != BACKSTOP
        brought = 0
        for stage in state.rules.waterfall:
            left = -risk_of(state, compartment).equity_atoms
            if left <= 0:
                break
            payers: list[PayerShare] = []
            if stage == "backstop" and is_customer:
                payers = [self._all_of((vault, state.settle)) for vault in self._vaults()]
            elif stage == "insurance" and account != INSURANCE:
                paying = [pool for pool in self._bearers if self._pays(pool, compartment)]
                if (INSURANCE, state.settle) in paying:
                    self._conversions.raise_cash(left)
                payers = [PayerShare(Payer(*pool), pools.payable_atoms(state, pool)) for pool in paying]
            elif stage == "socialise":
                payers = socialise.shares(left, self._sharers(compartment))
            elif stage == "settlement_haircut":
                payers = socialise.shares(left, socialise.settled_winners(state, account, self.settled))
            elif stage == "house":
                payers = [PayerShare(Payer(HOUSE, state.settle), self._house_atoms())]
            elif stage == "default_fund" and is_customer:
                brought += self._draw_fund(compartment, deficit_id)
            elif stage == "lenders":
                brought += self._write_down(compartment, deficit_id)
            elif stage == "recourse" and is_customer:
                payers = [PayerShare(Payer(FINANCIER, state.settle), left)]
                state.receivables[account] = state.receivables.get(account, 0) + left
                self.clearing.out.append(ReceivableBooked(deficit_id, account, state.settle, left))
            if any(share.atoms > 0 for share in payers):
                self._arm(stage, compartment, risk_of(state, compartment), "equity is still below zero")
            for share in payers:
                left = -risk_of(state, compartment).equity_atoms
                if left > 0 and share.atoms > 0:
                    atoms = min(left, share.atoms)
                    payer = share.payer
                    brought += self._pay(
                        deficit_id, stage, payer.account, compartment, atoms, payer.pocket, payer.base_atoms
                    )
        return brought

    def _redeem(self, compartment: Compartment) -> bool:
        """A bankrupt account's own shares of the lending pool pay before anybody else does.

        Rounding may leave a share that can be redeemed, too: then it is redeemed after the others.
        """
        state, account = self.state, compartment[0]
        has_redeemed = False
        while state.lending is not None and (deficit := -risk_of(state, compartment).equity_atoms) > 0:
            shares = lenders.shares_for_debt(state, state.lending, account, deficit)
            if not shares:
                break
            self.clearing.redeem(account, shares)
            has_redeemed = True
        return has_redeemed

    def _write_down(self, compartment: Compartment, deficit_id: int) -> int:
        """Let the lending pool's suppliers bear what they lent; returns what it brought."""
        state = self.state
        risk = risk_of(state, compartment)
        atoms = min(-risk.equity_atoms, lenders.bearable_atoms(state, compartment))
        if atoms <= 0:
            return 0
        pool = state.lending
        assert pool is not None
        self._arm("lenders", compartment, risk, "equity is still below zero")
        pool.write_down(atoms)
        self.clearing.out.append(WrittenDown(deficit_id, atoms, pool.index, pool.claims_atoms))
        return self._pay(deficit_id, "lenders", LENDING, compartment, atoms)

    def _draw_fund(self, compartment: Compartment, deficit_id: int) -> int:
        """Let the layers of the default fund pay, one after the other; returns what they brought."""
        state = self.state
        brought = 0
        for layer in default_fund.LAYERS:
            risk = risk_of(state, compartment)
            drawn = default_fund.draws(-risk.equity_atoms, default_fund.payers(state, compartment, layer))
            if not drawn:
                continue
            if not brought:
                self._arm("default_fund", compartment, risk, "equity is still below zero")
            self.clearing.out.append(LayerDrawn(deficit_id, layer, tuple(drawn)))
            paid: dict[int, int] = {}
            for account, atoms in drawn:
                source = default_fund.source(layer, account)
                paid[source] = paid.get(source, 0) + atoms
                if source == DEFAULT_FUND:
                    state.contributions[account] -= atoms
            for source, atoms in paid.items():
                brought += self._pay(deficit_id, "default_fund", source, compartment, atoms)
        return brought

    def _pay(
        self,
        deficit_id: int,
        stage: StageName,
        payer: int,
        compartment: Compartment,
        atoms: int,
        payer_pocket: int | None = None,
        base_atoms: int | None = None,
    ) -> int:
        """Move atoms from a payer's wallet, or a pocket of his, to the compartment of a named deficit."""
        account, pocket = compartment
        source = self.state.settle if payer_pocket is None else payer_pocket
        reasons: dict[StageName, PostReason] = {
            "backstop": "backstop",
            "insurance": "insurance",
            "socialise": "socialise",
            "house": "house",
            "recourse": "recourse",
            "settlement_haircut": "settlement_haircut",
            "default_fund": "default_fund",
            "lenders": "lenders",
        }
        self.clearing.post(reasons[stage], [(payer, source, -atoms), (account, pocket, atoms)])
        self.clearing.out.append(StagePaid(deficit_id, stage, payer, atoms, base_atoms))
        return atoms

    def _all_of(self, payer: Compartment) -> PayerShare:
        return PayerShare(Payer(*payer), risk_of(self.state, payer).equity_atoms)

    def _pays(self, pool: Compartment, compartment: Compartment) -> bool:
        """Does the pool pay in cash? One that has fallen too far pays for debts without positions alone."""
        return not self.state.positions_of(compartment) or self._is_open(pool)

    def _house_atoms(self) -> int:
        """What the operator pays at most for one deficit."""
        capital = self.state.accounts.balances.cells[self.state.settle][HOUSE]
        most = self.state.rules.house.deficit_max_atoms
        return capital if most is None else min(capital, most)

    def _sharers(self, loser: Compartment) -> list[Payer]:
        """Whose loss a socialised deficit is, by the rulebook's form."""
        if self.state.rules.socialise.form == "session_winners":
            return socialise.session_winners(self.state, loser[0])
        return socialise.holders(self.state, loser, self._held.get(loser, []))

    # What the rulebook allows

    def _arm(self, stage: StageName, compartment: Compartment, risk: Risk, because: str) -> None:
        account, pocket = compartment
        self.clearing.out.append(
            StageArmed(
                stage,
                account,
                pocket,
                risk.equity_atoms,
                risk.maintenance_atoms,
                because,
                risk.haircut_atoms,
            )
        )

    def _is_for_the_book(self, compartment: Compartment, risk: Risk) -> bool:
        """Is it the book's turn, because no other stage would take the positions now?"""
        if self.state.rules.default_fund.close_out == "auction":
            return False
        if risk.is_bankrupt:
            return compartment in self._unplaced or not self._disposes(compartment, risk)
        return not self._is_for_the_backstop(compartment, risk)

    def _is_for_the_backstop(self, compartment: Compartment, risk: Risk) -> bool:
        """Is equity below the backstop's share of the requirement, with a vault that takes every position?"""
        rules = self.state.rules
        if "backstop" not in rules.waterfall or not risk.is_below(rules.liquidation.backstop_below_ppb):
            return False
        positions = self.state.positions_of(compartment)
        return bool(positions) and all(self._has_vault(compartment[0], market) for market in positions)

    def _has_vault(self, account: int, market: Market) -> bool:
        """Does a vault serve the instrument, with room for the account's position at the mark? WFALL-07."""
        vault = self.state.backstops.get(market.instrument_number)
        if vault is None:
            return False
        cap = self.state.rules.liquidation.backstop_notional_max_atoms
        lots = self.state.accounts.lots.cells
        after = lots[market.instrument_number][vault] + lots[market.number][account]
        return cap is None or abs(market.value_atoms(after)) <= cap

    def _disposes(self, compartment: Compartment, risk: Risk) -> bool:
        """Does the waterfall have a stage that takes the positions of a bankrupt compartment?"""
        rules = self.state.rules
        if "insurance" in rules.waterfall and rules.insurance.takes != "never":
            return True
        if "adl" not in rules.waterfall:
            return False
        held = self.state.positions_of(compartment)
        return self._is_for_deleveraging(compartment, risk, pools.bearers(self.state, held))

    def _may_liquidate(self, markets: list[Market]) -> bool:
        return not any(stands_still(self.state, market.instrument_number) for market in markets)

    def _gross_lots(self, compartment: Compartment) -> int:
        lots = self.state.accounts.lots.cells
        return sum(abs(lots[m.number][compartment[0]]) for m in self.state.positions_of(compartment))

    def _notional(self, account: int, market: Market) -> int:
        return abs(market.value_atoms(self.state.accounts.lots.cells[market.number][account]))

    def _rule_price(self, market: Market, lots: int) -> int:
        """The rulebook's deleveraging price: mark, index, or the previous mark where it is the kinder one."""
        mark, previous = market.prices.mark_ticks, market.prices.previous_mark_ticks
        assert mark is not None
        if self.state.rules.adl.price == "index" and market.prices.index_ticks is not None:
            return market.prices.index_ticks
        if self.state.rules.adl.price != "previous_mark" or previous is None:
            return mark
        return max(mark, previous) if lots > 0 else min(mark, previous)

    def _shortfall_at_rule_price(self, compartment: Compartment) -> int:
        state = self.state
        equity = risk_of(state, compartment).equity_atoms
        for market in state.positions_of(compartment):
            lots = state.accounts.lots.cells[market.number][compartment[0]]
            price = self._rule_price(market, lots)
            equity -= market.gain_atoms(lots, price)
        return max(0, -equity)

    def _capacity(self) -> int:
        """What the cash payers of the waterfall could bring now."""
        stages = self.state.rules.waterfall
        atoms = 0
        if "backstop" in stages:
            atoms += sum(max(0, self._equity(vault)) for vault in self._vaults())
        if "insurance" in stages:
            atoms += sum(pools.payable_atoms(self.state, pool) for pool in self._bearers)
        if "house" in stages:
            atoms += max(0, self._house_atoms())
        return atoms

    def _equity(self, account: int) -> int:
        return risk_of(self.state, (account, self.state.settle)).equity_atoms

    def _absorbers(self) -> list[Compartment]:
        return [*((vault, self.state.settle) for vault in self._vaults()), *pools.pools(self.state)]

    def _vaults(self) -> list[int]:
        return sorted(set(self.state.backstops.values()))

    def _is_dust(self, deficit: int) -> bool:
        balance = self.state.accounts.balances.cells[self.state.settle][ROUNDING]
        return deficit <= min(DUST_ATOMS, balance)

    def _origins(self, compartment: Compartment, deficit: int) -> tuple[tuple[int, int], ...]:
        state = self.state
        account = compartment[0]
        held = [
            (state.lineage[account, market.number], abs(market.value_atoms(1)))
            for market in state.positions_of(compartment)
            if (account, market.number) in state.lineage
        ]
        return deficit_origins(account, deficit, held)
