"""What the plain model remembers: lists of accounts, open orders and prices, in the venue's units.

Linear contracts, one settlement asset, net positions. A compartment is (account, pocket) as in the events.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, NoReturn

from tests.reference import arithmetic as exact
from tests.reference.book import Resting
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import PlaceOrder
from zerodebt.exchange.events import (
    CLEARING,
    DEFICIT,
    FIRST_ACCOUNT,
    INSURANCE,
    UNPAID,
    CloseReason,
    Event,
    OrderClosed,
)
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import VenueRules

Compartment = tuple[int, int]


class RefusedError(Exception):
    """A command is refused, before anything has changed."""

    def __init__(self, reason: RejectReason) -> None:
        super().__init__(reason)
        self.reason = reason


def refuse(reason: RejectReason) -> NoReturn:
    raise RefusedError(reason)


@dataclass
class Position:
    """Signed lots; what they cost, and what they once cost, in atoms."""

    lots: int = 0
    cost: int = 0
    entry_cost: int = 0
    isolated: bool = False
    leverage: int = 1
    origins: list[tuple[int, int]] = field(default_factory=list)
    cooling_until: int = -1


@dataclass
class Account:
    """`cash` by pocket: the assets first, then the margin of each instrument."""

    cash: list[int]
    positions: list[Position]
    is_vault: bool = False
    base: int = 0


@dataclass
class Waiting:
    """An order that waits for its trigger."""

    order_id: int
    order: PlaceOrder


@dataclass
class Average:
    """num = num * decay + value * elapsed, den = den * decay + elapsed.

    What the past weighs is rounded down as it fades; its mean stays what it was.
    """

    num: int = 0
    den: int = 0
    at: int = -1

    def add(self, value: int, now: int, lifetime_ns: int) -> None:
        elapsed = now - self.at if self.at >= 0 else 0
        self.at = now
        if elapsed > 0:
            mean = Fraction(self.num, self.den) if self.den else Fraction(0)
            faded = exact.down(Fraction(self.den * exact.decay(elapsed, lifetime_ns), exact.FIXED_POINT))
            self.num = exact.down(mean * faded) + value * elapsed
            self.den = faded + elapsed


@dataclass
class Prices:
    seen: dict[int, tuple[int, int]] = field(default_factory=dict)
    index: int | None = None
    mark: int | None = None
    previous: int | None = None
    last: int | None = None
    basis: Average = field(default_factory=Average)
    book: Average = field(default_factory=Average)
    basis_points: list[int] = field(default_factory=list)
    next_basis_ns: int = 0
    premiums: list[int] = field(default_factory=list)
    last_rate: int = 0


@dataclass
class Status:
    open: bool = True
    reduce: bool = True
    liquidate: bool = True


class Planned(NamedTuple):
    """A place in a queue of deleveraging before it is needed: signed lots as they then were."""

    account: int
    lots: int
    score: int


class World:
    def __init__(
        self, rules: VenueRules, assets: tuple[Asset, ...], instruments: tuple[Instrument, ...]
    ) -> None:
        assert all(i.contract == "linear" and i.kind == "perpetual" for i in instruments)
        self.rules, self.assets, self.instruments = rules, assets, instruments
        self.settle = [asset.symbol for asset in assets].index(rules.settle_asset)
        self.accounts = [self.new_account() for _ in range(FIRST_ACCOUNT)]
        self.open: list[Resting | Waiting] = []
        self.prices = [Prices() for _ in instruments]
        self.status = [Status() for _ in instruments]
        self.backstops: dict[int, int] = {}
        self.in_liquidation: list[Compartment] = []
        self.open_deficits: dict[Compartment, int] = {}
        self.receivables: dict[int, int] = {}
        self.next_order_id = self.next_trade_id = self.next_deficit_id = 1
        self.next_funding_ns = self.next_sample_ns = 0
        self.started = False
        self.now = 0
        self.said: list[Event] = []
        self.emptied: list[tuple[int, int]] = []
        self.planned: dict[tuple[int, int], list[Planned]] = {}

    # Looking things up

    def new_account(self) -> Account:
        cash = [0] * (len(self.assets) + len(self.instruments))
        return Account(cash, [Position() for _ in self.instruments])

    @property
    def contracts(self) -> range:
        return range(len(self.instruments))

    def is_customer(self, account: int) -> bool:
        return FIRST_ACCOUNT <= account < len(self.accounts)

    def is_backstop(self, account: int) -> bool:
        return account in self.backstops.values()

    def position(self, account: int, n: int) -> Position:
        return self.accounts[account].positions[n]

    def pocket(self, n: int) -> int:
        return len(self.assets) + n

    def compartment(self, account: int, n: int) -> Compartment:
        return account, self.pocket(n) if self.position(account, n).isolated else self.settle

    def contracts_of(self, compartment: Compartment) -> list[int]:
        account, pocket = compartment
        if pocket != self.settle:
            return [pocket - len(self.assets)]
        return [n for n in self.contracts if not self.position(account, n).isolated]

    def positions_of(self, compartment: Compartment) -> list[int]:
        return [n for n in self.contracts_of(compartment) if self.position(compartment[0], n).lots]

    def cash(self, compartment: Compartment) -> int:
        return self.accounts[compartment[0]].cash[compartment[1]]

    @property
    def hole(self) -> int:
        """Debts that nobody paid, less what those who left have borne of them."""
        return -self.cash((DEFICIT, self.settle)) - self.cash((UNPAID, self.settle))

    def value(self, n: int, price: int, lots: int) -> int:
        return price * lots * self.instruments[n].tick_value_atoms

    def at_mark(self, n: int, lots: int) -> int:
        return self.value(n, self.mark(n), lots)

    def standing_loss(self, n: int, lots: int) -> int:
        """While the mark stands still: what signed lots have lost at the index beyond the mark. MARG-05."""
        index = self.prices[n].index
        if self.status[n].liquidate or index is None:
            return 0
        return max(0, self.gain(n, lots, index))

    def gain(self, n: int, lots: int, price: int) -> int:
        """What signed lots gain on their way from a price to the mark."""
        return self.at_mark(n, lots) - self.value(n, price, lots)

    def mark(self, n: int) -> int:
        mark = self.prices[n].mark
        assert mark is not None
        return mark

    def resting(self, n: int) -> list[Resting]:
        return [o for o in self.open if isinstance(o, Resting) and o.instrument == n]

    def own(self, account: int, n: int | None = None) -> list[Resting | Waiting]:
        """Open orders of an account by arrival, in one instrument or in all."""
        found: list[Resting | Waiting] = []
        for thing in self.open:
            if isinstance(thing, Resting):
                owner, where = thing.owner, thing.instrument
            else:
                owner, where = thing.order.account, thing.order.instrument
            if owner == account and (n is None or where == n):
                found.append(thing)
        return found

    def best(self, n: int, side: int) -> int | None:
        prices = [side * o.price for o in self.resting(n) if o.side == side]
        return side * max(prices) if prices else None

    def open_interest(self, n: int) -> int:
        return sum(max(0, account.positions[n].lots) for account in self.accounts)

    def is_in_liquidation(self, account: int) -> bool:
        return any(who == account for who, _ in self.in_liquidation)

    # Changing them

    def say(self, event: Event) -> None:
        self.said.append(event)

    def pay(self, payer: Compartment, payee: Compartment, atoms: int) -> None:
        self.accounts[payer[0]].cash[payer[1]] -= atoms
        self.accounts[payee[0]].cash[payee[1]] += atoms

    def order_id(self) -> int:
        self.next_order_id += 1
        return self.next_order_id - 1

    def drop(self, thing: Resting | Waiting) -> None:
        self.open = [other for other in self.open if other is not thing]

    def close(self, thing: Resting | Waiting, reason: CloseReason) -> None:
        self.drop(thing)
        lots = thing.lots if isinstance(thing, Resting) else thing.order.size_lots
        self.say(OrderClosed(thing.order_id, lots, reason))

    def close_attached(self) -> None:
        """Reduce-only orders and triggers leave with the position that they belong to."""
        for account, n in dict.fromkeys(self.emptied):
            for thing in self.own(account, n):
                only = thing.reduce_only if isinstance(thing, Resting) else thing.order.reduce_only
                if only:
                    self.close(thing, "reduce_only")
        self.emptied = []

    def move(self, account: int, n: int, lots: int, price: int, origin: int | None = None) -> tuple[int, int]:
        """Change a position by signed lots at a price; returns (closed lots, profit against the old entry).

        What closing realises is cash between the compartment and the clearing account.
        """
        held = self.position(account, n)
        before = held.lots
        opens = lots if before * lots >= 0 else 0
        closed = 0
        profit = 0
        if before * lots < 0:
            closed = -lots if abs(lots) < abs(before) else before
            opens = lots + closed
            released = exact.down(Fraction(held.cost * closed, before))
            entry_released = exact.down(Fraction(held.entry_cost * closed, before))
            proceeds = self.value(n, price, closed)
            profit = proceeds - entry_released
            held.cost -= released
            held.entry_cost -= entry_released
            self.pay((CLEARING, self.pocket(n)), self.compartment(account, n), proceeds - released)
            if closed == before:
                self.emptied.append((account, n))
        held.lots += lots
        held.cost += self.value(n, price, opens)
        held.entry_cost += self.value(n, price, opens)
        if self.accounts[account].is_vault or account == INSURANCE:
            held.origins = without(held.origins, abs(closed))
            if opens:
                held.origins.append((account if origin is None else origin, abs(opens)))
        return closed, profit


def without(origins: list[tuple[int, int]], lots: int) -> list[tuple[int, int]]:
    """Take lots off the oldest."""
    left = []
    for origin, held in origins:
        gone = min(lots, held)
        lots -= gone
        if held > gone:
            left.append((origin, held - gone))
    return left
