"""A running venue in a bot's units: decimals, symbols, sides by name. Underneath it is the venue itself."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

from zerodebt.exchange.ask import STEP_MAX_NS, from_zero
from zerodebt.exchange.cases import UnanswerableError, wrong_rule
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    CancelAll,
    CancelOrder,
    Command,
    Deposit,
    MarginMode,
    Observation,
    OpenAccounts,
    PlaceOrder,
    Role,
    SetBackstop,
    SetLeverage,
    Side,
    Tick,
    TimeInForce,
    TransferMargin,
    Trigger,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.decimals import from_units
from zerodebt.exchange.events import (
    FIRST_ACCOUNT,
    INSURANCE,
    AccountsOpened,
    Event,
    Filled,
    OrderAccepted,
    OrderClosed,
    Rejected,
    TriggerArmed,
)
from zerodebt.exchange.instruments import order_step_ticks
from zerodebt.exchange.oracle import Situation
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rulebook import Rulebook, decimal_text, units
from zerodebt.exchange.rules import RulesError
from zerodebt.exchange.testing.account import Account, own_rulebook
from zerodebt.exchange.testing.figures import Answer, Figure, Number
from zerodebt.exchange.testing.refusals import detail_in_units
from zerodebt.exchange.units import PPB, SECOND_NS
from zerodebt.exchange.venue import Venue

SideName = Literal["buy", "sell"]
_START_NS = 1_760_130_000 * SECOND_NS
_STREET_ATOMS = 2**56


class CommandRefusedError(Exception):
    """The venue refuses a command; `reason` is its RejectReason, the text is in the venue's decimals."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason


class RunningVenue:
    """A venue with a clock of its own, a street that quotes when asked to, and a vault where one is known.

    venue      name of a rulebook, or the path of a .toml file of your own
    as_of      the day whose rules hold; None: the newest
    prices     of what is traded here: the first index of each instrument
    rules, instruments  fields of the rulebook to override, as in a case
    backstop   open a vault with money enough, where the rulebook's waterfall has one
    fund       what the insurance fund holds, in the settlement asset
    The mark follows the venue's formula; `rules={"mark": {"formula": "index"}}` makes it the index.
    """

    def __init__(
        self,
        venue: str,
        as_of: str | None = None,
        *,
        prices: Mapping[str, Number],
        rules: Mapping[str, Any] = {},
        instruments: Sequence[Mapping[str, Any]] = (),
        backstop: bool = True,
        fund: Number = 0,
    ) -> None:
        profile = own_rulebook(venue, as_of)
        self.book = Rulebook(
            venue, as_of, rules=rules, instruments=instruments, symbols=set(prices), profile=profile
        )
        for spec in self.book.specs:
            if spec.symbol not in prices:
                raise UnanswerableError("missing_price", f"prices.{spec.symbol}", "nothing", "is a price")
        try:
            self._venue = Venue(self.book.rules, self.book.assets, self.book.instruments)
        except RulesError as error:
            raise wrong_rule(error) from None
        self._now_ns = _START_NS
        self._index: dict[int, int] = {}
        self._quotes: dict[int, tuple[int, int]] = {}
        self._customers: list[Customer] = []
        self.events: list[Event] = []
        """Everything that has happened, in the venue's own integers."""
        self._street = self._open("customer", _STREET_ATOMS)
        if backstop and "backstop" in self.book.rules.waterfall:
            vault = self._open("vault", _STREET_ATOMS)
            numbers = tuple(n for n, spec in enumerate(self.book.instruments) if spec.kind != "spot")
            self.apply(SetBackstop(vault, numbers))
        if fund:
            atoms = self.book.atoms("fund", Figure(fund), self.book.settle)
            self.apply(Deposit(self.book.settle, INSURANCE, (atoms,)))
        self.move(prices)

    # Commands

    def apply(self, command: Command) -> tuple[Event, ...]:
        """Any command in the venue's own integers; CommandRefusedError where the venue refuses it."""
        events = self._venue.apply(command, self._now_ns).events
        match events[:1]:
            case (Rejected() as refused,):
                raise CommandRefusedError(refused.reason, detail_in_units(self.book, command, refused))
        self.events += events
        return events

    def _open(self, role: Role, atoms: int) -> int:
        (opened,) = (e for e in self.apply(OpenAccounts(1, role)) if isinstance(e, AccountsOpened))
        if atoms:
            self.apply(Deposit(self.book.settle, opened.first_account, (atoms,)))
        return opened.first_account

    def open(self, balances: Mapping[str, Number] = {}, *, name: str = "") -> "Customer":
        """A new account with these balances."""
        number = self._open("customer", 0)
        customer = Customer(self, number, name or f"account {number - FIRST_ACCOUNT}")
        self._customers.append(customer)
        for symbol, amount in balances.items():
            customer.deposit(symbol, amount)
        return customer

    def move(self, prices: Mapping[str, Number], *, after_s: Number = 1) -> tuple[Event, ...]:
        """All sources of the index publish these prices; those that are not named stand still.

        The street's quotes are at the new prices first.
        """
        self._pass(after_s)
        for symbol, price in prices.items():
            number = self.book.number(f"prices.{symbol}", symbol)
            self._index[number] = self.book.ticks(f"prices.{symbol}", number, Figure(price))
        for number, ticks in self._index.items():
            self._requote(number, ticks)
        seen = tuple(
            Observation(number, source, ticks, self._now_ns)
            for number, ticks in self._index.items()
            for source in range(len(self.book.rules.sources))
        )
        return self.apply(UpdateIndex(seen))

    def tick(self, after_s: Number = 60) -> tuple[Event, ...]:
        """Time passes and prices stand: cooldowns, funding and risk work."""
        self._pass(after_s)
        return self.apply(Tick())

    def _pass(self, after_s: Number) -> None:
        self._now_ns += from_zero("after_s", units("after_s", Figure(after_s), 9), STEP_MAX_NS)

    def quote(self, symbol: str, size: Number, *, slippage: Number = 0) -> None:
        """From now on the street bids and offers `size`, this fraction from the price, wherever it moves.

        With no slippage it quotes one order step away; a size of 0 takes the quotes away.
        """
        number = self.book.number("quote", symbol)
        lots = self.book.lots("size", number, Figure(size))
        self._quotes[number] = (lots, from_zero("slippage", units("slippage", Figure(slippage), 9), PPB))
        self._requote(number, self._mark_ticks(symbol))

    def _requote(self, number: int, around_ticks: int) -> None:
        """Fresh quotes of the street; resting orders that they cross are filled. None beyond a price band."""
        if self._venue.view.orders(self._street, number):
            self.apply(CancelAll(self._street, number))
        lots, slippage_ppb = self._quotes.get(number, (0, 0))
        if not lots:
            return
        step = order_step_ticks(self.book.instruments[number], around_ticks)
        away = max(step, around_ticks * slippage_ppb // PPB)
        bid, ask = (around_ticks - away) // step * step, -(-(around_ticks + away) // step) * step
        for side, price in ((BUY, bid), (SELL, ask)):
            order = PlaceOrder(self._street, number, side, lots, price)
            self.events += self._venue.apply(order, self._now_ns).events

    # Reading

    def _mark_ticks(self, symbol: str) -> int:
        mark = self._venue.view.mark_ticks(self.book.number("mark", symbol))
        if mark is None:
            raise CommandRefusedError(RejectReason.NO_PRICE, symbol)
        return mark

    def mark(self, symbol: str) -> Figure:
        return Figure(self.book.price(self.book.number("mark", symbol), self._mark_ticks(symbol)))

    def depth(self, symbol: str, side: SideName) -> list[tuple[Figure, Figure]]:
        """(price, size) by level, best first."""
        number = self.book.number("depth", symbol)
        levels = self._venue.view.depth(number, _side(side))
        return [(Figure(self.book.price(number, t)), Figure(self.book.size(number, n))) for t, n in levels]

    def table(self) -> str:
        """The margin tables of all accounts."""
        return "\n\n".join(customer.oracle().table() for customer in self._customers) or "no account"


class Customer:
    """An account of a running venue. A refused command raises CommandRefusedError and changes nothing."""

    def __init__(self, venue: RunningVenue, number: int, name: str) -> None:
        self._running = venue
        self._book = venue.book
        self._view = venue._venue.view
        self.number = number
        self.name = name

    # Commands

    def deposit(self, asset: str, amount: Number) -> None:
        n = self._book.asset("asset", asset)
        atoms = self._book.atoms("amount", Figure(amount), n)
        self._running.apply(Deposit(n, self.number, (atoms,)))

    def withdraw(self, asset: str, amount: Number) -> None:
        n = self._book.asset("asset", asset)
        self._running.apply(Withdraw(self.number, n, self._book.atoms("amount", Figure(amount), n)))

    def set_leverage(self, symbol: str, leverage: int, mode: MarginMode = "cross") -> None:
        self._running.apply(SetLeverage(self.number, self._number(symbol), leverage, mode))

    def add_margin(self, symbol: str, amount: Number) -> None:
        """Move money from the wallet into an isolated position; a negative amount moves it back."""
        atoms = self._book.atoms("amount", Figure(amount), self._book.settle)
        self._running.apply(TransferMargin(self.number, self._number(symbol), atoms))

    def order(
        self,
        symbol: str,
        side: SideName,
        size: Number,
        price: Number | None = None,
        *,
        tif: TimeInForce | None = None,
        post_only: bool = False,
        reduce_only: bool = False,
    ) -> Answer:
        """Place an order, at market without a price: order_id, filled, average_price, fee, resting."""
        number = self._number(symbol)
        side_sign = _side(side)
        ticks = None if price is None else self._book.ticks("price", number, Figure(price))
        command = PlaceOrder(
            self.number,
            number,
            side_sign,
            self._book.lots("size", number, Figure(size)),
            ticks,
            tif or ("ioc" if price is None else "gtc"),
            post_only,
            reduce_only,
        )
        return self._placed(number, self._running.apply(command))

    def stop(
        self,
        symbol: str,
        side: SideName,
        size: Number,
        trigger: Number,
        *,
        reference: Literal["mark", "last"] = "mark",
        reduce_only: bool = True,
    ) -> int:
        """A stop market order: sells when the reference is at or below the trigger, buys at or above."""
        number = self._number(symbol)
        reached = Trigger("stop", reference, self._book.ticks("trigger", number, Figure(trigger)))
        lots = self._book.lots("size", number, Figure(size))
        command = PlaceOrder(
            self.number, number, _side(side), lots, None, "ioc", False, reduce_only, trigger=reached
        )
        events = self._running.apply(command)
        return next(event.order_id for event in events if isinstance(event, TriggerArmed))

    def cancel(self, order_id: int) -> None:
        self._running.apply(CancelOrder(self.number, order_id))

    def cancel_all(self, symbol: str | None = None) -> None:
        self._running.apply(CancelAll(self.number, None if symbol is None else self._number(symbol)))

    def _placed(self, number: int, events: tuple[Event, ...]) -> Answer:
        accepted = next(event for event in events if isinstance(event, OrderAccepted))
        fills = [e for e in events if isinstance(e, Filled) and e.taker_order == accepted.order_id]
        closed = [e for e in events if isinstance(e, OrderClosed) and e.order_id == accepted.order_id]
        lots = sum(fill.size_lots for fill in fills)
        spec = self._book.instruments[number]
        average = None
        if lots:
            total = sum(Fraction(fill.price_ticks * fill.size_lots) for fill in fills) / lots
            if spec.contract == "inverse":
                total = lots / sum(Fraction(fill.size_lots, fill.price_ticks) for fill in fills)
            average = decimal_text(total / 10**spec.tick_decimals)
        resting = 0 if closed else accepted.size_lots - lots
        return Answer(
            {
                "order_id": accepted.order_id,
                "filled": self._book.size(number, lots),
                "average_price": average,
                "fee": self._book.money(sum(fill.taker_fee_atoms for fill in fills)),
                "resting": self._book.size(number, resting),
            }
        )

    # Reading

    def _number(self, symbol: str) -> int:
        return self._book.number("instrument", symbol)

    def oracle(self) -> Account:
        """The account as it stands now, to ask about; what happens later does not change the answers."""
        return Account(self._book, Situation.of(self._running._venue, self.number), self.name)

    def balance(self, asset: str) -> Figure:
        """What the wallet holds, without unrealised profit and without isolated margin."""
        n = self._book.asset("asset", asset)
        atoms = self._running._venue._state.accounts.balances.cells[n][self.number]
        return Figure(from_units(atoms, self._book.assets[n].decimals))

    def position(self, symbol: str) -> Figure:
        """Contracts, negative when short."""
        n = self._number(symbol)
        return Figure(self._book.size(n, self._view.position_lots(n, self.number)))

    def equity(self) -> Figure:
        """Over all compartments, in the settlement asset."""
        return Figure(self._book.money(int(self._view.equities([self.number])[0])))

    def orders(self, symbol: str) -> list[Answer]:
        """order_id, side, price and size of what rests, oldest first."""
        return list(self._orders(self._number(symbol)))

    def _orders(self, number: int) -> Iterator[Answer]:
        for order_id, side, ticks, lots in self._view.orders(self.number, number):
            yield Answer(
                {
                    "order_id": order_id,
                    "side": "buy" if side == BUY else "sell",
                    "price": self._book.price(number, ticks),
                    "size": self._book.size(number, lots),
                }
            )


def _side(name: SideName) -> Side:
    sides: dict[str, Side] = {"buy": BUY, "sell": SELL}
    if name not in sides:
        raise UnanswerableError("wrong_case", "side", repr(name), "are " + ", ".join(sides))
    return sides[name]
