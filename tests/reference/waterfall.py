"""Liquidation and who pays: the rounds of risk work, in the order of the architecture page."""

from fractions import Fraction
from typing import NamedTuple

from tests.reference import arithmetic as exact
from tests.reference import margin, orders
from tests.reference.book import Walk, first_fills
from tests.reference.margin import Risk, risk_of
from tests.reference.world import Compartment, Planned, World
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder, Side
from zerodebt.exchange.events import (
    DEFICIT,
    FINANCIER,
    FIRST_ACCOUNT,
    HOUSE,
    INSURANCE,
    ROUNDING,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    LiquidationEnded,
    LiquidationStarted,
    OrderClosed,
    ReceivableBooked,
    StageArmed,
    StagePaid,
    TakenOver,
)
from zerodebt.exchange.rules import ForcedForm, StageName

DUST_ATOMS = 10
SCORE_MAX = 2**63 - 1


class Candidate(NamedTuple):
    """A position with profit on the other side, when it was ranked."""

    account: int
    pocket: int
    rank: int
    score: int
    weight: int


def part_of(equity: int, weight: int, whole: int) -> int:
    """What of an equity, or of a debt, goes with a weight: rounded down; all of it where nothing weighs."""
    return exact.down(Fraction(equity * weight, whole)) if whole else equity


class Rounds:
    """What one command remembers of its risk work."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.sent: set[Compartment] = set()
        self.unfilled: set[Compartment] = set()
        self.unplaced: dict[Compartment, list[int]] = {}
        self.queues: dict[tuple[int, int], list[Candidate]] = {}

    def work(self) -> bool:
        w = self.w
        found = self.liquidatable()
        for where in found:
            self.start(where)
        acted = [self.send(where) for where in found]
        acted += [self.hand_to_backstop(where) for where in found]
        acted += [self.hand_over_unfilled(where) for where in found]
        acted += [self.resolve(where) for where in [*found, *self.absorbers()]]
        w.close_attached()
        self.finish(found)
        return any(acted)

    # Scan and cancel

    def liquidatable(self) -> list[Compartment]:
        """Every compartment that is not safe, the most underwater first. LIQ-10."""
        w = self.w
        found = []
        for account in range(FIRST_ACCOUNT, len(w.accounts)):
            if w.is_backstop(account):
                continue
            alone = [w.pocket(n) for n in w.contracts if w.position(account, n).isolated]
            for pocket in (w.settle, *alone):
                risk = risk_of(w, (account, pocket))
                if not risk.is_safe:
                    found.append((risk.danger, (account, pocket)))
        return [where for _, where in sorted(found)]

    def start(self, where: Compartment) -> None:
        w = self.w
        if where not in w.in_liquidation:
            risk = risk_of(w, where)
            w.in_liquidation.append(where)
            w.say(LiquidationStarted(*where, risk.equity, risk.required))
        for n in w.contracts_of(where):
            for thing in w.own(where[0], n):
                w.close(thing, "liquidation")

    def finish(self, found: list[Compartment]) -> None:
        w = self.w
        for where in {*found, *w.open_deficits, *self.absorbers(), *w.in_liquidation}:
            equity = risk_of(w, where).equity
            w.open_deficits.pop(where, None)
            if equity < 0:
                w.open_deficits[where] = -equity
        for where in sorted(w.in_liquidation):
            risk = risk_of(w, where)
            if not risk.is_safe:
                continue
            w.in_liquidation.remove(where)
            w.say(LiquidationEnded(*where, risk.equity, risk.required))
            if where[1] != w.settle and not w.positions_of(where):
                w.pay(where, (where[0], w.settle), w.cash(where))

    # Forced orders

    def send(self, where: Compartment) -> bool:
        """The rulebook's forms in turn, the position with the largest requirement first, once a command."""
        w = self.w
        if where in self.sent or not self.is_for_the_book(where, risk_of(w, where)):
            return False
        self.sent.add(where)
        filled: dict[int, bool] = {}
        acted = False
        for form in w.rules.liquidation.steps:
            acted |= self.force_all(where, form, filled)
        moving = acted
        while moving and (risk := risk_of(w, where)).is_bankrupt and self.is_for_the_book(where, risk):
            filled = {}
            moving = self.force_all(where, w.rules.liquidation.steps[-1], filled)
        if not filled or not all(filled.values()):
            self.unfilled.add(where)
        return acted

    def force_all(self, where: Compartment, form: ForcedForm, filled: dict[int, bool]) -> bool:
        acted, w = False, self.w
        needs = {n: margin.maintenance_at_mark(w, n, self.lots(where, n)) for n in w.positions_of(where)}
        for n in sorted(needs, key=lambda n: (-needs[n], n)):
            acted |= self.force(where, n, form, filled)
        return acted

    def force(self, where: Compartment, n: int, form: ForcedForm, filled: dict[int, bool]) -> bool:
        """One forced order; `filled` keeps whether the last one of each position was filled whole."""
        w, rules = self.w, self.w.rules.liquidation
        risk = risk_of(w, where)
        if risk.is_safe or not self.is_for_the_book(where, risk) or not w.status[n].liquidate:
            return False
        lots = self.lots(where, n)
        held = w.position(where[0], n)
        wanted = self.wanted_lots(where, n, form, risk)
        equity = risk.equity
        if form == "whole" and rules.surplus_max_ppb:
            equity = part_of(equity, self.weight(where, n), self.weights(where))
        limit = None if risk.is_bankrupt else self.limit(n, lots, equity)
        side: Side = SELL if lots > 0 else BUY
        order = PlaceOrder(where[0], n, side, wanted, limit, "ioc", reduce_only=True)
        walked = orders.plan(w, order, wanted, limit)
        deltas = self.fund_deltas(where, n, form, risk.equity, side, walked)
        walked = first_fills(walked, len(deltas))
        filled[n] = walked.traded == wanted
        if not walked.met:
            return False
        self.arm("book", where, risk)
        taker = orders.accept(w, order, wanted, forced=True)
        orders.execute(w, taker, walked)
        if walked.left:
            w.say(OrderClosed(taker.order_id, walked.left, "unfilled"))
        surplus = min(sum(deltas), max(0, risk_of(w, where).equity))
        w.pay(where, (INSURANCE, w.settle), surplus)
        if surplus < 0:
            w.say(StagePaid(0, "insurance", INSURANCE, -surplus))
        if not walked.traded:
            return False
        if form == "share" and wanted < abs(lots):
            held.cooling_until = w.now + rules.cooldown_ns
        return True

    def fund_deltas(
        self, where: Compartment, n: int, form: ForcedForm, equity: int, side: int, walked: Walk
    ) -> list[int]:
        """What the fund gets of each fill, or pays for it; the list ends where it could not.

        Lots answer with the part of the equity that goes with the weight that they take away.
        """
        w, rules = self.w, self.w.rules.liquidation
        deltas: list[int] = []
        lots, whole, fund = self.lots(where, n), self.weights(where), self.fund()
        for step in walked.met:
            if not step.traded:
                continue
            closed = side * step.traded
            weight = self.weight_at(n, lots) - self.weight_at(n, lots + closed)
            own = part_of(equity, weight, whole)
            gained = w.gain(n, closed, step.maker.price)
            delta = own + gained
            if delta > 0:
                rate = rules.surplus_max_ppb if form == "whole" else 0
                value = w.value(n, step.maker.price, step.traded)
                delta = min(delta, exact.down(exact.share(abs(value), rate)))
            elif rules.shortfall == "account":
                delta = 0
            if rules.shortfall == "fund" and delta < 0 and fund + delta < 0:
                break
            deltas.append(delta)
            fund, equity, whole, lots = fund + delta, equity + gained - delta, whole - weight, lots + closed
        return deltas

    def wanted_lots(self, where: Compartment, n: int, form: ForcedForm, risk: Risk) -> int:
        w, rules = self.w, self.w.rules.liquidation
        lots, held = self.lots(where, n), w.position(where[0], n)
        whole = abs(lots)
        if form == "share":
            is_small = abs(w.at_mark(n, lots)) <= rules.chunk_threshold_atoms
            if is_small or held.cooling_until >= w.now:
                return whole
            return max(1, exact.down(exact.share(whole, rules.chunk_ppb)))
        if form == "restore":
            others = risk.required - margin.maintenance_at_mark(w, n, lots)
            enough = next((k for k in range(1, whole) if self.restores(n, whole, k, risk, others)), whole)
            return min(enough, max(1, exact.down(exact.share(whole, rules.restore_max_ppb))))
        assert form == "whole", form
        return whole

    def restores(self, n: int, whole: int, closed: int, risk: Risk, others: int) -> bool:
        """Is the compartment safe, with the buffer, once this many lots are closed at the mark? LIQ-06."""
        w = self.w
        required = others + margin.maintenance_at_mark(w, n, whole - closed)
        required += exact.up(exact.share(required, w.rules.liquidation.restore_buffer_ppb))
        fee = exact.up(exact.share(w.at_mark(n, closed), w.rules.fees.liquidation_ppb))
        return Risk(risk.equity - fee, required, risk.at_or_below).is_safe

    def limit(self, n: int, lots: int, equity: int) -> int | None:
        w, rules = self.w, self.w.rules.liquidation
        if rules.price_limit == "bankruptcy":
            return margin.bankruptcy_price(w, n, lots, equity)
        if rules.price_limit == "band":
            return orders.through(w.mark(n), SELL if lots > 0 else BUY, rules.band_ppb)
        assert rules.price_limit == "none", rules.price_limit
        return None

    # Whose turn it is

    def is_for_the_book(self, where: Compartment, risk: Risk) -> bool:
        """No other stage would take the positions now."""
        if risk.is_bankrupt:
            return where in self.unplaced or not self.disposes(where, risk)
        return not self.is_for_the_backstop(where, risk)

    def is_for_the_backstop(self, where: Compartment, risk: Risk) -> bool:
        w, positions = self.w, self.w.positions_of(where)
        is_low = risk.equity < exact.share(risk.required, w.rules.liquidation.backstop_below_ppb)
        has_vaults = bool(positions) and all(self.has_vault(where[0], n) for n in positions)
        return "backstop" in w.rules.waterfall and is_low and has_vaults

    def has_vault(self, account: int, n: int) -> bool:
        """Does a vault serve the contract, and would the position leave it with no more than its cap?"""
        w, cap = self.w, self.w.rules.liquidation.backstop_notional_max_atoms
        if n not in w.backstops or cap is None:
            return n in w.backstops
        lots = w.position(w.backstops[n], n).lots + w.position(account, n).lots
        return abs(w.at_mark(n, lots)) <= cap

    def disposes(self, where: Compartment, risk: Risk) -> bool:
        """Would a stage take the positions of a compartment below zero?"""
        rules = self.w.rules
        if "insurance" in rules.waterfall and rules.insurance.takes != "never":
            return True
        return "adl" in rules.waterfall and self.is_for_adl(where, risk)

    def is_for_adl(self, where: Compartment, risk: Risk) -> bool:
        rules = self.w.rules
        waits = rules.adl.trigger == "fund_cannot_pay" and "insurance" in rules.waterfall
        if not waits or where in self.unfilled:
            return True
        return max(0, self.fund()) < -risk.equity

    def is_halted(self, where: Compartment) -> bool:
        return any(not self.w.status[n].liquidate for n in self.w.positions_of(where))

    # Positions change hands

    def hand_to_backstop(self, where: Compartment) -> bool:
        risk = risk_of(self.w, where)
        if risk.is_bankrupt or not self.is_for_the_backstop(where, risk) or self.is_halted(where):
            return False
        self.arm("backstop", where, risk)
        self.take_over(where, self.w.backstops, {})
        return True

    def hand_over_unfilled(self, where: Compartment) -> bool:
        """What the book could not fill of one that is low but not below zero."""
        w = self.w
        risk = risk_of(w, where)
        if where not in self.unfilled or risk.is_safe or risk.is_bankrupt:
            return False
        if not w.positions_of(where) or self.is_halted(where):
            return False
        for stage in w.rules.waterfall:
            if stage == "insurance" and w.rules.insurance.takes == "unfilled":
                if self.fund_takes(where, risk, 0) is not None:
                    return True
            elif stage == "adl" and w.rules.adl.trigger == "unfilled":
                before = self.gross(where)
                self.arm("adl", where, risk)
                self.deleverage(where, 0)
                return self.gross(where) < before
        return False

    def fund_takes(self, where: Compartment, risk: Risk, deficit_id: int) -> int | None:
        """The fund pays a debt up and takes all positions, if it can; what it paid."""
        w = self.w
        missing = max(0, -risk.equity)
        if where[0] == INSURANCE or self.fund() < missing or self.is_too_much_for_the_fund(where):
            return None
        shares = self.shares(where, risk.equity)
        self.arm("insurance", where, risk)
        if missing:
            self.bring(deficit_id, "insurance", INSURANCE, where, missing)
        prices = {}
        if w.rules.insurance.price == "bankruptcy" and not risk.is_bankrupt:
            prices = {
                n: margin.bankruptcy_price(w, n, self.lots(where, n), equity) for n, equity in shares.items()
            }
        self.take_over(where, dict.fromkeys(shares, INSURANCE), prices)
        return missing

    def is_too_much_for_the_fund(self, where: Compartment) -> bool:
        w, most = self.w, self.w.rules.insurance.net_notional_max_atoms
        return most is not None and any(
            abs(w.at_mark(n, w.position(INSURANCE, n).lots + self.lots(where, n))) > most
            for n in w.positions_of(where)
        )

    def shares(self, where: Compartment, equity: int) -> dict[int, int]:
        """Equity over the positions by value: each takes of what is left, rounded down."""
        weights = {n: self.weight(where, n) for n in self.w.positions_of(where)}
        shares = {}
        whole = sum(weights.values())
        for n, weight in weights.items():
            shares[n] = part_of(equity, weight, whole)
            equity, whole = equity - shares[n], whole - weight
        return shares

    def weights(self, where: Compartment) -> int:
        return sum(self.weight(where, n) for n in self.w.positions_of(where))

    def weight(self, where: Compartment, n: int) -> int:
        return self.weight_at(n, self.lots(where, n))

    def weight_at(self, n: int, lots: int) -> int:
        w = self.w
        if w.rules.adl.bankruptcy_allocation == "pro_rata_value":
            return abs(w.at_mark(n, lots))
        return margin.maintenance_at_mark(w, n, lots)

    def take_over(self, where: Compartment, takers: dict[int, int], prices: dict[int, int]) -> None:
        """Positions move, and what margin is left goes along by the value that each taker receives."""
        w = self.w
        values: dict[Compartment, int] = {}
        for n in w.positions_of(where):
            taker, lots, mark = takers[n], self.lots(where, n), w.mark(n)
            price = prices.get(n, mark)
            w.move(where[0], n, -lots, price)
            w.move(taker, n, lots, price, origin=where[0])
            w.say(TakenOver(*where, taker, n, lots, price, None if price == mark else mark))
            into = w.compartment(taker, n)
            values[into] = values.get(into, 0) + abs(w.at_mark(n, lots))
        left = w.cash(where)
        if values and left >= 0:
            receivers = sorted(values)
            weights = [values[into] for into in receivers]
            for into, atoms in zip(receivers, exact.split(left, weights), strict=True):
                w.pay(where, into, atoms)

    # Deleveraging

    def deleverage(self, where: Compartment, deficit_id: int) -> int:
        w, rules = self.w, self.w.rules.adl
        is_absorber = where[0] == INSURANCE or w.is_backstop(where[0])
        is_bearable = self.shortfall(where) <= self.capacity()
        brought = 0
        values = {n: abs(w.at_mark(n, self.lots(where, n))) for n in w.positions_of(where)}
        waiting = sorted(values, key=lambda n: (-values[n], n))
        while waiting:
            n, lots = waiting[0], self.lots(where, waiting[0])
            equity = risk_of(w, where).equity
            if deficit_id:
                equity = min(0, equity)
            weights = [self.weight(where, other) for other in waiting]
            part = exact.up(Fraction(-equity * weights[0], sum(weights))) if sum(weights) else -equity
            limit = margin.worst_price(w, n, lots, w.at_mark(n, lots) + part)
            price = self.rule_price(n, lots)
            is_far = rules.bankruptcy_off_max_ppb and abs(limit - w.mark(n)) > exact.share(
                w.mark(n), rules.bankruptcy_off_max_ppb
            )
            if is_absorber or not is_bearable or (rules.price == "bankruptcy" and not is_far):
                price = limit
            elif rules.price != "bankruptcy" and rules.clamp == "bankruptcy":
                price = min(price, limit) if lots > 0 else max(price, limit)
            brought += self.take_from_winners(where, deficit_id, n, price)
            waiting.pop(0)
        return brought

    def rule_price(self, n: int, lots: int) -> int:
        prices, mark = self.w.prices[n], self.w.mark(n)
        if self.w.rules.adl.price == "index" and prices.index is not None:
            return prices.index
        if self.w.rules.adl.price == "previous_mark" and prices.previous is not None:
            return max(mark, prices.previous) if lots > 0 else min(mark, prices.previous)
        return mark

    def shortfall(self, where: Compartment) -> int:
        """What would be missing if every position closed at the rulebook's price."""
        w = self.w
        equity = risk_of(w, where).equity
        for n in w.positions_of(where):
            lots = self.lots(where, n)
            equity -= w.gain(n, lots, self.rule_price(n, lots))
        return max(0, -equity)

    def capacity(self) -> int:
        w, stages = self.w, self.w.rules.waterfall
        atoms = 0
        if "backstop" in stages:
            atoms += sum(max(0, risk_of(w, vault).equity) for vault in self.vaults())
        if "insurance" in stages:
            atoms += max(0, self.fund())
        if "house" in stages:
            atoms += max(0, self.house())
        return atoms

    def take_from_winners(self, where: Compartment, deficit_id: int, n: int, price: int) -> int:
        """Close lots against the other side; nobody gives more than leaves his equity at zero. WFALL-04."""
        w = self.w
        lots = self.lots(where, n)
        sign = 1 if lots > 0 else -1
        charge = w.value(n, price, sign) - w.at_mark(n, sign)
        queue = [c for c in self.queue(n, -sign) if c.account != where[0]]
        queue = [c for c in queue if sign * w.position(c.account, n).lots < 0]
        most = []
        for c in queue:
            held = abs(w.position(c.account, n).lots)
            if charge > 0:
                held = min(held, max(0, risk_of(w, (c.account, c.pocket)).equity) // charge)
            most.append(held)
        if w.rules.adl.policy == "queue":
            takes: list[int] = []
            for limit in most:
                takes.append(min(limit, abs(lots) - sum(takes)))
        else:
            takes = exact.water(abs(lots), most, [c.weight for c in queue])
        brought = 0
        for c, taken in zip(queue, takes, strict=True):
            if not taken:
                continue
            w.move(where[0], n, -sign * taken, price)
            closed, profit = w.move(c.account, n, sign * taken, price)
            transfer = charge * taken
            w.say(
                Deleveraged(
                    deficit_id,
                    n,
                    *where,
                    c.account,
                    c.pocket,
                    -sign * taken,
                    price,
                    w.mark(n),
                    transfer,
                    profit,
                    c.rank,
                    c.score,
                )
            )
            if not w.position(c.account, n).lots:
                orders.give_back(w, c.account, n, closed)
            if w.rules.adl.cancels_orders:
                for other in w.contracts:
                    for thing in w.own(c.account, other):
                        w.close(thing, "deleveraged")
            brought += transfer
        return brought

    def queue(self, n: int, sign: int) -> list[Candidate]:
        """Winners of a side. A queue is frozen at its first use in a command, a list is taken anew."""
        rules = self.w.rules.adl
        if rules.policy == "queue" and (n, sign) in self.queues:
            return self.queues[n, sign]
        if rules.plan == "before":
            self.queues[n, sign] = self.as_planned(n, sign)
            return self.queues[n, sign]
        ranked = self.ranked(n, sign)
        if rules.policy == "queue":
            self.queues[n, sign] = ranked
        return ranked

    def as_planned(self, n: int, sign: int) -> list[Candidate]:
        """Of the queue of the last index or tick whoever has not become smaller since."""
        w, found = self.w, []
        for k, (account, lots, score) in enumerate(w.planned.get((n, sign), [])):
            if sign * w.position(account, n).lots >= sign * lots:
                found.append(Candidate(*w.compartment(account, n), k + 1, score, 0))
        return found

    def plan(self) -> None:
        w = self.w
        w.planned = {
            (n, sign): [
                Planned(c.account, w.position(c.account, n).lots, c.score) for c in self.ranked(n, sign)
            ]
            for n in w.contracts
            for sign in (1, -1)
        }

    def ranked(self, n: int, sign: int) -> list[Candidate]:
        """Winners of a side as they are now."""
        w, rules = self.w, self.w.rules.adl
        found = []
        for account in range(FIRST_ACCOUNT, len(w.accounts)):
            held = w.position(account, n)
            profit = w.at_mark(n, held.lots) - held.entry_cost
            if sign * held.lots > 0 and profit > 0:
                found.append(self.candidate(account, n, profit))
        if rules.policy == "queue":
            found = [c for c in found if c.score > 0]
            found.sort(key=lambda c: (-c.score, c.account, c.pocket))
        return [c._replace(rank=k + 1) for k, c in enumerate(found)]

    def candidate(self, account: int, n: int, profit: int) -> Candidate:
        w, rules = self.w, self.w.rules.adl
        where = w.compartment(account, n)
        held, risk, wallet = w.position(account, n), risk_of(w, where), w.cash(where)
        if rules.policy == "pro_rata":
            weights = {
                "wealth": max(0, risk.equity - wallet),
                "profit": profit,
                "equity": max(0, risk.equity),
                "contracts": abs(held.lots),
            }
            return Candidate(*where, 0, 0, weights[rules.weights])
        score = Fraction(0)
        if rules.score == "binance":
            both = max(rules.wallet_min_atoms, wallet) * (wallet + profit)
            if risk.equity > 0 and both > 0:
                score = Fraction(profit * risk.required, both)
        elif risk.equity > 0:
            assert rules.score in ("hyperliquid", "bybit"), rules.score
            leverage = Fraction(abs(w.at_mark(n, held.lots)), risk.equity)
            score = leverage * Fraction(profit, max(1, abs(held.entry_cost)))
        rounded = min(SCORE_MAX, exact.down(score * exact.PPB))
        return Candidate(*where, 0, max(1, rounded) if score > 0 else 0, 0)

    # Debts

    def resolve(self, where: Compartment) -> bool:
        """Make a debt zero as far as the payers reach: first positions go, then cash comes."""
        w = self.w
        risk, positions = risk_of(w, where), w.positions_of(where)
        if not risk.is_bankrupt or self.is_halted(where):
            return False
        if positions and not self.disposes(where, risk):
            return False
        if positions and self.unplaced.get(where) == [self.lots(where, n) for n in positions]:
            return False
        deficit = -risk.equity
        if not positions and deficit <= min(DUST_ATOMS, w.cash((ROUNDING, w.settle))):
            w.pay((ROUNDING, w.settle), where, deficit)
            return True
        deficit_id = w.next_deficit_id
        w.next_deficit_id += 1
        w.say(DeficitOpened(deficit_id, *where, w.settle, deficit, self.origins(where, deficit)))
        brought = 0
        for stage in w.rules.waterfall:
            risk = risk_of(w, where)
            if not w.positions_of(where) or not risk.is_bankrupt:
                break
            if stage == "insurance" and w.rules.insurance.takes != "never":
                brought += self.fund_takes(where, risk, deficit_id) or 0
            elif stage == "adl" and self.is_for_adl(where, risk):
                self.arm("adl", where, risk)
                brought += self.deleverage(where, deficit_id)
        brought += self.collect(where, deficit_id)
        left = max(0, -risk_of(w, where).equity)
        if left and not w.positions_of(where):
            w.pay((DEFICIT, w.settle), where, left)
        w.say(DeficitClosed(deficit_id, left, brought + left - deficit))
        positions = w.positions_of(where)
        if risk_of(w, where).is_bankrupt and positions:
            self.unplaced[where] = [self.lots(where, n) for n in positions]
            return True
        return brought > 0 or not positions

    def origins(self, where: Compartment, deficit: int) -> tuple[tuple[int, int], ...]:
        """On whose positions it arose, by the value that is still held of each. `origin` of the waterfall."""
        w = self.w
        weights: dict[int, int] = {}
        for n in w.positions_of(where):
            for origin, lots in w.position(where[0], n).origins:
                weights[origin] = weights.get(origin, 0) + abs(w.at_mark(n, lots))
        if not any(weights.values()):
            return ((where[0], deficit),)
        names = sorted(weights)
        parts = exact.split(deficit, [weights[name] for name in names])
        return tuple((name, part) for name, part in zip(names, parts, strict=True) if part)

    def collect(self, where: Compartment, deficit_id: int) -> int:
        """Payers bring what is still missing, in the rulebook's order."""
        w = self.w
        brought = 0
        is_customer = where[0] >= FIRST_ACCOUNT and not w.is_backstop(where[0])
        for stage in w.rules.waterfall:
            left = -risk_of(w, where).equity
            if left <= 0:
                break
            payers: list[tuple[int, int, int | None]] = []
            if stage == "backstop" and is_customer:
                payers = [(vault[0], risk_of(w, vault).equity, None) for vault in self.vaults()]
            elif stage == "insurance" and where[0] != INSURANCE:
                payers = [(INSURANCE, self.fund(), None)]
            elif stage == "socialise":
                payers = self.winners(where[0], left)
            elif stage == "house":
                payers = [(HOUSE, self.house(), None)]
            elif stage == "recourse" and is_customer:
                payers = [(FINANCIER, left, None)]
                w.receivables[where[0]] = w.receivables.get(where[0], 0) + left
                w.say(ReceivableBooked(deficit_id, where[0], w.settle, left))
            payers = [payer for payer in payers if payer[1] > 0]
            if payers:
                self.arm(stage, where, risk_of(w, where))
            for payer, most, base in payers:
                atoms = min(most, -risk_of(w, where).equity)
                if atoms > 0:
                    brought += self.bring(deficit_id, stage, payer, where, atoms, base)
        return brought

    def bring(
        self,
        deficit_id: int,
        stage: StageName,
        payer: int,
        where: Compartment,
        atoms: int,
        base: int | None = None,
    ) -> int:
        self.w.pay((payer, self.w.settle), where, atoms)
        self.w.say(StagePaid(deficit_id, stage, payer, atoms, base))
        return atoms

    def winners(self, loser: int, deficit: int) -> list[tuple[int, int, int | None]]:
        """Who gained in this session shares by gain, as far as his cross equity reaches. WFALL-08."""
        w = self.w
        assert w.rules.socialise.form == "session_winners"
        gains = {}
        for account in range(FIRST_ACCOUNT, len(w.accounts)):
            all_of_it = sum(w.accounts[account].cash[k] for k in (w.settle, *map(w.pocket, w.contracts)))
            for n in w.contracts:
                held = w.position(account, n)
                all_of_it += w.at_mark(n, held.lots) - held.cost
            pool = risk_of(w, (account, w.settle)).equity
            gain = min(all_of_it - w.accounts[account].base, all_of_it, max(0, pool))
            if gain > 0 and account != loser and not w.is_backstop(account):
                gains[account] = gain
        if not gains:
            return []
        parts = exact.split(min(deficit, sum(gains.values())), list(gains.values()))
        return [(who, part, gain) for (who, gain), part in zip(gains.items(), parts, strict=True)]

    # Small things

    def arm(self, stage: StageName, where: Compartment, risk: Risk) -> None:
        self.w.say(StageArmed(stage, *where, risk.equity, risk.required, ""))

    def lots(self, where: Compartment, n: int) -> int:
        return self.w.position(where[0], n).lots

    def gross(self, where: Compartment) -> int:
        return sum(abs(self.lots(where, n)) for n in self.w.positions_of(where))

    def vaults(self) -> list[Compartment]:
        return [(vault, self.w.settle) for vault in sorted(set(self.w.backstops.values()))]

    def absorbers(self) -> list[Compartment]:
        return [*self.vaults(), (INSURANCE, self.w.settle)]

    def fund(self) -> int:
        return risk_of(self.w, (INSURANCE, self.w.settle)).equity

    def house(self) -> int:
        most = self.w.rules.house.deficit_max_atoms
        capital = self.w.cash((HOUSE, self.w.settle))
        return capital if most is None else min(capital, most)
