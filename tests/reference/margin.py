"""Requirements and equity: the sum over the slices of a tier table, exact, rounded up once."""

from fractions import Fraction
from functools import cache
from typing import NamedTuple

from tests.reference import arithmetic as exact
from tests.reference.book import Resting
from tests.reference.world import Compartment, World
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.rules import VenueRules


class Risk(NamedTuple):
    equity: int
    required: int
    at_or_below: bool = False

    @property
    def is_liquidatable(self) -> bool:
        below = self.equity < self.required or (self.at_or_below and self.equity == self.required)
        return self.required > 0 and below

    @property
    def is_safe(self) -> bool:
        return not self.is_liquidatable and self.equity >= 0

    @property
    def is_bankrupt(self) -> bool:
        return self.equity < 0

    @property
    def danger(self) -> tuple[int, Fraction | int, int, int]:
        """The worst first: equity over requirement; without a requirement a debt is worse than any ratio."""
        if not self.required:
            return (0, 0, 0, self.equity)
        return (1, Fraction(self.equity, self.required), -self.required, self.equity)


@cache
def initial_rate(tier: Tier) -> Fraction:
    return Fraction(tier.initial_ppb, exact.PPB) if tier.initial_ppb else Fraction(1, tier.leverage_max)


@cache
def maintenance_rate(tier: Tier) -> Fraction:
    return Fraction(tier.maintenance_ppb, exact.PPB) if tier.maintenance_ppb else initial_rate(tier) / 2


def leverage_max(instrument: Instrument) -> int:
    first = instrument.tiers[0]
    return first.leverage_max or exact.down(1 / initial_rate(first))


def charge(instrument: Instrument, rates: list[Fraction], value: int) -> Fraction:
    """What a value >= 0 is charged: each slice of it at its tier's rate, or all of it at the last one's."""
    lowers = [tier.lower for tier in instrument.tiers]
    if instrument.tier_form == "whole":
        reached = [rate for low, rate in zip(lowers, rates, strict=True) if value > low]
        return value * reached[-1] if reached else Fraction(0)
    uppers = [*lowers[1:], value]
    slices = [min(value, high) - low for low, high in zip(lowers, uppers, strict=True)]
    return sum((part * rate for part, rate in zip(slices, rates, strict=True) if part > 0), Fraction(0))


@cache
def maintenance_rates(instrument: Instrument, fee_ppb: int) -> list[Fraction]:
    """Of each tier, with the closing fee that the rulebook adds."""
    return [maintenance_rate(tier) + Fraction(fee_ppb, exact.PPB) for tier in instrument.tiers]


def maintenance(rules: VenueRules, instrument: Instrument, value: int) -> int:
    closing = {"none": 0, "taker": rules.fees.taker_ppb, "liquidation": rules.fees.liquidation_ppb}
    fee = closing[rules.liquidation.requirement_fee]
    return exact.up(charge(instrument, maintenance_rates(instrument, fee), value))


def maintenance_at_mark(w: World, n: int, lots: int) -> int:
    return maintenance(w.rules, w.instruments[n], abs(w.at_mark(n, lots))) if lots else 0


def initial_at_mark(w: World, n: int, lots: int, leverage: int) -> int:
    """Of `lots` >= 1: the value over the chosen leverage, but at least what the tiers ask for."""
    if lots <= 0:
        return 0
    value, instrument = abs(w.at_mark(n, lots)), w.instruments[n]
    least = exact.up(charge(instrument, [initial_rate(tier) for tier in instrument.tiers], value))
    return max(least, exact.up(Fraction(value, leverage)))


def risk_of(w: World, compartment: Compartment) -> Risk:
    equity, required = w.cash(compartment), 0
    for n in w.positions_of(compartment):
        held = w.position(compartment[0], n)
        equity += w.at_mark(n, held.lots) - held.cost
        required += maintenance_at_mark(w, n, held.lots)
    return Risk(equity, required, w.rules.liquidation.trigger == "at_or_below")


class Order(NamedTuple):
    """An order that rests or would rest."""

    side: int
    lots: int
    value: int


def resting_of(w: World, account: int, n: int, without: Resting | None = None) -> list[Order]:
    """Resting orders that may increase a position."""
    return [
        Order(o.side, o.lots, w.value(n, o.price, o.lots))
        for o in w.resting(n)
        if o.owner == account and not o.reduce_only and o is not without
    ]


class After(NamedTuple):
    """What an order would do to its account: lots that fill, what the wallet gains, what rests then."""

    n: int
    filled: int
    wallet: int
    resting: list[Order]


def spare(w: World, account: int, after: After | None = None) -> int:
    """Equity of the cross pool less its initial requirement, all resting orders at their worst. MARG-02."""
    left = w.cash((account, w.settle)) + (after.wallet if after else 0)
    for n in w.contracts:
        held = w.position(account, n)
        lots, orders = held.lots, resting_of(w, account, n)
        if after is not None and n == after.n:
            lots, orders = lots + after.filled, after.resting
        if not (held.lots or lots or orders):
            continue
        buys = [o for o in orders if o.side > 0]
        sells = [o for o in orders if o.side < 0]
        buy_lots, sell_lots = sum(o.lots for o in buys), sum(o.lots for o in sells)
        worst = max(abs(lots + buy_lots), abs(lots - sell_lots))
        if held.isolated:
            worst -= abs(lots)
        else:
            left += w.at_mark(n, held.lots) - held.cost - w.standing_loss(n, lots)
        left -= initial_at_mark(w, n, worst, held.leverage)
        if buys or sells:
            left -= max(0, sum(o.value for o in buys) - w.at_mark(n, buy_lots))
            left -= max(0, w.at_mark(n, sell_lots) - sum(o.value for o in sells))
            gross = abs(sum(o.value for o in buys)) + abs(sum(o.value for o in sells))
            left -= exact.up(exact.share(gross, max(0, w.rules.fees.maker_ppb)))
    return left


def withdrawable(w: World, account: int) -> int:
    """Settled cash beyond the initial requirement, and beyond the share of value that must stay."""
    cash = w.cash((account, w.settle))
    if cash <= 0:
        return 0
    most = min(cash, spare(w, account))
    if w.rules.margin.transfer_min_ppb:
        compartment = (account, w.settle)
        held = [(n, w.position(account, n).lots) for n in w.positions_of(compartment)]
        gross = sum(abs(w.at_mark(n, lots)) for n, lots in held)
        stays = exact.up(exact.share(gross, w.rules.margin.transfer_min_ppb))
        lost = sum(w.standing_loss(n, lots) for n, lots in held)
        most = min(most, risk_of(w, compartment).equity - lost - stays)
    return max(0, most)


def isolated_spare(w: World, account: int, n: int) -> int:
    """Margin that an isolated position can spare: never its profit."""
    held = w.position(account, n)
    compartment = (account, w.pocket(n))
    stays = exact.up(exact.share(abs(w.at_mark(n, held.lots)), w.rules.margin.transfer_min_ppb))
    needed = max(initial_at_mark(w, n, abs(held.lots), held.leverage), stays)
    equity = risk_of(w, compartment).equity - w.standing_loss(n, held.lots)
    return max(0, min(w.cash(compartment), equity - needed))


def isolation(w: World, account: int, n: int, opened: int, side: int, price: int) -> int:
    """Margin that opened lots bring along: their initial requirement, and what they lose to the mark."""
    loss = -w.gain(n, side * opened, price)
    return initial_at_mark(w, n, opened, w.position(account, n).leverage) + max(0, loss)


def worst_price(w: World, n: int, lots: int, least_value: int) -> int:
    """The furthest price at which closing signed lots still brings `least_value`. LIQ-08."""
    price = Fraction(least_value, lots * w.instruments[n].tick_value_atoms)
    return exact.up(price) if lots > 0 else exact.down(price)


def bankruptcy_price(w: World, n: int, lots: int, equity: int) -> int:
    """Closing at it costs at most this equity against the mark."""
    return worst_price(w, n, lots, w.at_mark(n, lots) - equity)
