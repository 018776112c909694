"""Commands by seed, with faults. Each field is drawn from a small domain of its own, so that accounts,
numbers, prices and times collide; which kinds of command and of fault a seed knows at all is drawn as well
(swarm).
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

from msgspec import Struct

from tests.simulation.worlds import PRICE, Built, World
from tests.venues import T0
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AmendOrder,
    AuctionBid,
    Borrow,
    CancelAll,
    CancelOrder,
    Command,
    Contribute,
    Deposit,
    HoldAuction,
    LoadPositions,
    MassQuote,
    Observation,
    OpenAccounts,
    PlaceOrder,
    Redeem,
    SetBackstop,
    SetLeverage,
    SetPositionMode,
    SetStatus,
    SettleInstrument,
    SettleVariation,
    Supply,
    Tick,
    TransferMargin,
    Trigger,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import FIRST_ACCOUNT, HOUSE, INSURANCE
from zerodebt.exchange.state import State
from zerodebt.exchange.units import DAY_NS, HOUR_NS, INT64_MAX, MINUTE_NS, SECOND_NS

FAULTS = (
    "duplicate",
    "late",
    "out_of_order",
    "one_nanosecond",
    "index_stall",
    "index_gap",
    "zero_price",
    "negative_price",
    "outlier_price",
    "old_observation",
    "future_observation",
    "empty_side",
    "fund_emptied",
    "halt",
    "terms_changed",
    "restore",
    "client_dies",
    "flood",
    "nonsense",
    "time_gap",
)
_FAR = (-(2**63), -1, 0, 1, 15, 2**31, 2**53, 2**62, 2**63 - 1)
"""What a garbled field may hold: anything that a journal can."""
_SIZES = (1, 1, 2, 3, 5, 10, 20, 60)
_NEAR = (-10, -5, -2, -1, -1, 0, 0, 1, 1, 2, 5, 10)
_FACTORS = (40, 70, 85, 95, 99, 100, 100, 101, 105, 115, 140, 200)
_MODES: Any = ("cross", "isolated")
_TIFS: Any = ("gtc", "gtc", "gtc", "ioc", "fok")
_SELF_TRADES: Any = ("cancel_newest", "cancel_oldest", "cancel_both", "decrement")
_FLAGS = (
    (True, True, True),
    (False, True, True),
    (False, False, True),
    (False, False, False),
    (True, True, False),
)


_WITHOUT_COMMANDS = {"index_stall", "time_gap"}


class Order(Struct, frozen=True, omit_defaults=True):
    """What is applied next: a command and its time, or a restart of the venue from its snapshot.

    fault  number of the fault that it belongs to, from 1; 0: none
    """

    time_ns: int
    command: Command | None
    fault: int = 0


class Workload:
    """Draws the next command from the seed and from what the venue shows of orders and accounts."""

    def __init__(self, world: World, built: Built) -> None:
        rules = built.rules
        kinds = [instrument.kind for instrument in built.instruments]
        self._rng = rng = Random(f"workload {world.seed}")
        self._beside = Random(f"beside {world.seed}")
        """Drawn from beside the other, so that what draws from it does not shift the draws of the other."""
        self._unit = world.unit_atoms
        self._customers = world.customers
        self._kinds = kinds
        self._sources = len(rules.sources)
        self._has_legs = rules.margin.hedge_mode
        self._contracts = [n for n, kind in enumerate(kinds) if kind != "spot"]
        self._futures = [n for n, kind in enumerate(kinds) if kind == "future"]
        self._perpetuals = [n for n, kind in enumerate(kinds) if kind == "perpetual"]
        self._markets = list(range(len(kinds)))
        self._price_min = [instrument.price_min_ticks for instrument in built.instruments]
        self._last = FIRST_ACCOUNT + world.customers
        """Accounts are numbered from FIRST_ACCOUNT to here; the first one is a vault."""
        self.time_ns = T0
        self._faults: list[str] = []
        self._fault_now = 0
        self._rates = {
            name: rng.choice([0.003, 0.01, 0.03]) if rng.random() < 0.6 else 0.0 for name in FAULTS
        }
        self._prices = [PRICE] * len(kinds)
        self._jump_rate = rng.choice([0, 0.01, 0.03, 0.1])
        self._pending: deque[Order] = deque()
        self._held_back: list[Order] = []
        self._past: deque[Command] = deque(maxlen=20)
        self._stalled_until = 0
        self._reopens_at: dict[int, int] = {}
        self._step = 0
        makers: dict[str, tuple[int, Callable[[State], Command]]] = {
            "order": (8, self._order),
            "near": (20, self._near_order),
            "market": (4, self._market_order),
            "amend": (3, self._amend),
            "cancel": (3, self._cancel),
            "cancel_all": (1, self._cancel_all),
            "quote": (4, self._quote),
            "deposit": (2, self._deposit),
            "withdraw": (2, self._withdraw),
            "transfer": (2, self._transfer),
            "leverage": (2, self._leverage),
            "mode": (1, self._mode),
            "tick": (3, self._tick),
            "index": (6, self._index),
            "backstop": (1, self._backstop),
            "settle": (1, self._settle_instrument),
            "variation": (2, self._variation),
            "contribute": (2, self._contribute),
            "auction": (2, self._auction),
            "supply": (2, self._supply),
            "redeem": (1, self._redeem),
            "borrow": (2, self._borrow),
            "load": (1, self._load),
            "open": (1, self._open),
        }
        idle = [] if "future" in kinds else ["settle", "variation"]
        idle += [] if rules.margin.hedge_mode else ["mode"]
        idle += [] if "default_fund" in rules.waterfall else ["contribute", "auction"]
        idle += [] if rules.lending is not None else ["supply", "redeem", "borrow"]
        for name in idle:
            del makers[name]
        rare = {"settle": 0.1, "open": 0.1, "load": 0.02, "backstop": 0.2, "auction": 0.4}
        always = ("near", "index", "tick")
        chosen = {name: make for name, make in makers.items() if name in always or rng.random() < 0.85}
        self._makers = [make for _, make in chosen.values()]
        weights = [
            weight * rng.choice([0.3, 1, 1, 3]) * rare.get(name, 1) for name, (weight, _) in chosen.items()
        ]
        if rules.settlement.perpetual == "index" and self._perpetuals:
            self._makers.append(self._delist)
            weights.append(self._beside.choice([0.1, 0.3]))
        total, self._weights = 0.0, []
        for weight in weights:
            total += weight
            self._weights.append(total)

    def opening(self) -> Iterator[Order]:
        """Accounts and money; some seeds have neither a fund nor a rich house."""
        rng, unit = self._rng, self._unit
        yield Order(T0, OpenAccounts(1, "vault"))
        yield Order(T0, OpenAccounts(self._customers))
        money = tuple(rng.choice([60, 120, 300, 1000, 5000]) * unit for _ in range(self._customers + 1))
        yield Order(T0, Deposit(0, FIRST_ACCOUNT, money))
        if "spot" in self._kinds:
            held = (*(rng.choice([0, 0, 7000, 50_000]) for _ in range(self._customers)), 50_000)
            yield Order(T0, Deposit(1, FIRST_ACCOUNT, held))
        for account, amounts in ((INSURANCE, (0, 40, 2000)), (HOUSE, (0, 40, 10**5, 10**5))):
            atoms = rng.choice(amounts) * unit
            if atoms:
                yield Order(T0, Deposit(0, account, (atoms,)))
        coins = rng.choice((0, 0, 7000, 50_000)) if "spot" in self._kinds else 0
        if coins:
            yield Order(T0, Deposit(1, INSURANCE, (coins,)))
        if self._has_legs:
            for account in range(FIRST_ACCOUNT + 1, self._last + 1):
                if rng.random() < 0.4:
                    yield Order(T0, SetPositionMode(account, "hedge"))
        if rng.random() < 0.8:
            yield Order(T0, SetBackstop(FIRST_ACCOUNT, tuple(self._contracts)))
        if rng.random() < 0.3:
            yield Order(T0, self._load(None))
        yield Order(T0, self._index(None))

    def next(self, state: State) -> Order:
        """The next command; faults come first."""
        if not self._pending:
            self._fill(state)
        return self._pending.popleft()

    def _fill(self, state: State) -> None:
        rng = self._rng
        self._step += 1
        for name, rate in self._rates.items():
            if rate and rng.random() < rate:
                self._faults.append(name)
                self._fault_now = len(self._faults)
                self._fault(name, state)
                self._fault_now = 0
        self._release()
        self._advance()
        self._put(self._draw(state))

    def _draw(self, state: State) -> Command:
        make = self._rng.choices(self._makers, cum_weights=self._weights)[0]
        return make(state)

    def _put(self, command: Command | None, time_ns: int | None = None) -> None:
        at_ns = self.time_ns if time_ns is None else time_ns
        self._pending.append(Order(at_ns, command, self._fault_now))
        if command is not None:
            self._past.append(command)

    def _advance(self) -> None:
        self.time_ns += self._rng.choice((0, 0, 0, 1, SECOND_NS, SECOND_NS, 7 * SECOND_NS, 31 * SECOND_NS))

    def _release(self) -> None:
        """Commands that were held back come now, in another order and with the time they once had."""
        if self._held_back and self._rng.random() < 0.2:
            self._rng.shuffle(self._held_back)
            self._pending.extend(self._held_back)
            self._held_back.clear()
        for market in [m for m, step in self._reopens_at.items() if step <= self._step]:
            del self._reopens_at[market]
            self._put(SetStatus(market, True, True, True))

    # Faults

    @property
    def faults(self) -> Counter[str]:
        """How often each was drawn."""
        return Counter(self._faults)

    def in_effect(self, accepted: Iterable[int]) -> Counter[str]:
        """How often each had an effect: the venue took a command of it, or there was none to refuse."""
        numbers = set(accepted)
        numbers |= {n for n, name in enumerate(self._faults, 1) if name in _WITHOUT_COMMANDS}
        return Counter(self._faults[n - 1] for n in numbers)

    def _fault(self, name: str, state: State) -> None:
        rng = self._rng
        match name:
            case "duplicate":
                if self._past:
                    for _ in range(rng.choice([1, 1, 3])):
                        self._put(rng.choice(self._past))
            case "late":
                self._put(self._draw(state), self.time_ns - rng.choice([1, SECOND_NS, HOUR_NS]))
            case "out_of_order":
                for _ in range(2):
                    self._held_back.append(Order(self.time_ns, self._draw(state), self._fault_now))
                    self.time_ns += rng.choice((0, 1))
            case "one_nanosecond":
                for _ in range(rng.choice([5, 12])):
                    self._put(self._draw(state))
            case "index_stall":
                self._stalled_until = self._step + rng.choice([10, 50])
            case "index_gap" | "zero_price" | "negative_price" | "outlier_price":
                self._put(self._index(state, name))
            case "old_observation" | "future_observation":
                self._put(self._index(state, name))
            case "empty_side":
                self._empty_side(state)
            case "fund_emptied":
                self._empty_fund()
            case "halt":
                for market in self._markets:
                    if rng.random() < 0.6:
                        self._put(SetStatus(market, *rng.choice(_FLAGS)))
                        self._reopens_at[market] = self._step + rng.choice((3, 10, 40))
            case "terms_changed":
                self._change_terms()
            case "restore":
                self._put(None)
            case "client_dies":
                self._die()
            case "flood":
                make = rng.choice(self._makers)
                for _ in range(rng.choice([10, 30])):
                    self._put(make(state))
            case "nonsense":
                beyond = self._beside.random() < 0.1
                self._put(self._nonsense(state), INT64_MAX + 1 if beyond else None)
            case "time_gap":
                self.time_ns += rng.choice([MINUTE_NS, HOUR_NS, HOUR_NS, 9 * HOUR_NS, 2 * DAY_NS])

    def _empty_side(self, state: State) -> None:
        """Everybody on one side of a book leaves at once; mostly of one where there is somebody."""
        market, side = self._rng.choice(self._markets), self._rng.choice((BUY, SELL))
        filled = [(m, s) for m in self._markets for s in (BUY, SELL) if any(state.books[m].walk(s))]
        if filled and self._beside.random() < 0.75:
            market, side = self._beside.choice(filled)
        for order in state.books[market].walk(side):
            self._put(CancelOrder(order.account, order.order_id))

    def _empty_fund(self) -> None:
        """The fund's owner buys dear and sells cheap until nothing is left to pay with."""
        rng = self._rng
        for _ in range(4):
            market, side, size = rng.choice(self._markets), rng.choice((BUY, SELL)), rng.choice((5, 20))
            price = self._prices[market] + side * rng.choice((20, 90))
            other = self._customer()
            self._put(PlaceOrder(other, market, -side, size, price))
            self._put(PlaceOrder(INSURANCE, market, side, size, price, "ioc"))

    def _change_terms(self) -> None:
        """What an order was accepted under is no longer so when it fills."""
        rng = self._rng
        account, market = self._customer(), rng.choice(self._markets)
        price = self._prices[market]
        self._put(PlaceOrder(account, market, BUY, rng.choice(_SIZES), price))
        self._put(SetLeverage(account, market, rng.choice((1, 2, 10)), rng.choice(_MODES)))
        account = self._account()
        vault = FIRST_ACCOUNT if self._beside.random() < 0.5 else account
        self._put(SetBackstop(vault, tuple(self._contracts)))
        self._put(PlaceOrder(self._customer(), market, SELL, rng.choice(_SIZES), price, "ioc"))

    def _die(self) -> None:
        """A client raises in the middle of quotes, a hedge and its stop: the rest never comes."""
        account, market = self._customer(), self._rng.choice(self._markets)
        price, size = self._prices[market], self._rng.choice(_SIZES)
        plan: list[Command] = [
            MassQuote(account, market, ((price - 1, size),), ((price + 1, size),)),
            PlaceOrder(account, market, BUY, size, None, "ioc"),
            PlaceOrder(
                account,
                market,
                SELL,
                size,
                None,
                "ioc",
                reduce_only=True,
                trigger=Trigger("stop", "mark", price - 5),
            ),
            CancelAll(account, market),
        ]
        for command in plan[: self._rng.choice((1, 2, 3))]:
            self._put(command)

    def _nonsense(self, _: State) -> Command:
        """A command whose fields are garbled, within what their types can hold."""
        rng = self._rng

        def n() -> int:
            return rng.choice(_FAR)

        def few() -> tuple[int, ...]:
            return tuple(n() for _ in range(rng.choice((0, 1, 2))))

        side: Any = rng.choice((BUY, SELL))
        trigger = rng.choice((None, Trigger("stop", "last", n())))
        flags = [rng.random() < 0.5 for _ in range(3)]
        levels = tuple((n(), n()) for _ in range(2))
        known = rng.choice((self._customer(), n()))
        market = rng.choice((rng.choice(self._markets), n()))
        commands: tuple[Command, ...] = (
            OpenAccounts(rng.choice((0, -1, -(2**63), 2**63 - 1))),
            Deposit(rng.choice((0, n())), known, few()),
            Withdraw(known, rng.choice((0, n())), n()),
            LoadPositions(market, n(), few(), few(), few(), few(), few()),
            SetBackstop(known, few()),
            SetLeverage(known, market, n(), rng.choice(_MODES)),
            SetPositionMode(known, "hedge"),
            TransferMargin(known, market, n(), rng.choice(("net", "long", "short"))),
            PlaceOrder(
                known,
                market,
                side,
                n(),
                rng.choice((None, n())),
                rng.choice(_TIFS),
                flags[0],
                flags[1],
                trigger=trigger,
                budget_atoms=rng.choice((None, n())),
                leg=rng.choice(("net", "long", "short")),
            ),
            AmendOrder(known, n(), n(), n()),
            CancelOrder(known, n()),
            CancelAll(known, market),
            MassQuote(known, market, levels, ()),
            MassQuote(known, market, (), levels),
            UpdateIndex((Observation(market, n(), n(), n()),)),
            UpdateIndex((Observation(market, 0, rng.choice((PRICE, n())), n()),)),
            UpdateIndex(()),
            SetStatus(market, *flags),
            SettleInstrument(market, n()),
            SettleVariation(market, n()),
            Contribute(known, n()),
            Supply(known, n()),
            Redeem(known, n()),
            Borrow(known, n()),
            HoldAuction(known, few(), (AuctionBid(n(), few()),)),
        )
        return rng.choice(commands)

    # Fields

    def _account(self) -> int:
        return self._rng.randint(FIRST_ACCOUNT, self._last)

    def _customer(self) -> int:
        return self._rng.randint(FIRST_ACCOUNT + 1, self._last)

    def _price(self, market: int) -> int:
        """Near the last index, as a rule."""
        rng = self._rng
        if rng.random() < 0.1:
            return rng.choice((-5, 0, 1, 50, 100, 140, 9999, 10_001))
        return self._prices[market] + rng.choice(_NEAR)

    def _pick_order(self, state: State) -> tuple[int, int]:
        """(account, number) of an order that is there, or was, or never was."""
        rng = self._rng
        if state.orders and rng.random() < 0.8:
            order = state.orders[rng.choice(list(state.orders))]
            return (order.account if rng.random() < 0.9 else self._account()), order.order_id
        if state.armed and rng.random() < 0.5:
            armed = state.armed[rng.choice(list(state.armed))]
            return armed.order.account, armed.order_id
        return self._account(), rng.randint(0, state.counters.next_order_id + 1)

    def _leg(self, state: State, account: int) -> Any:
        return self._rng.choice(("long", "short")) if account in state.hedged else "net"

    # Commands

    def _order(self, state: State) -> Command:
        rng = self._rng
        account, market = self._account(), rng.choice(self._markets)
        trigger = None
        if rng.random() < 0.2:
            kinds: Any = ("stop", "take_profit")
            references: Any = ("mark", "last")
            trigger = Trigger(rng.choice(kinds), rng.choice(references), self._price(market))
        tif = rng.choice(_TIFS)
        return PlaceOrder(
            account if rng.random() < 0.97 else INSURANCE,
            market,
            rng.choice((BUY, SELL)),
            rng.choice(_SIZES),
            self._price(market) if rng.random() < 0.8 else None,
            tif,
            rng.random() < 0.2,
            rng.random() < 0.25,
            rng.choice(_SELF_TRADES),
            trigger,
            rng.choice((None, None, 100 * self._unit)) if tif == "fok" else None,
            self._leg(state, account),
        )

    def _near_order(self, state: State) -> Command:
        """A plain order at a price that is likely to trade."""
        rng = self._rng
        account, market = self._customer(), rng.choice(self._markets)
        price = self._prices[market] + rng.choice((-2, -1, 0, 0, 0, 1, 2))
        leg: Any = self._leg(state, account) if market in self._contracts else "net"
        reduces = rng.random() < 0.1
        side: Any = rng.choice((BUY, SELL))
        return PlaceOrder(account, market, side, rng.choice(_SIZES), price, reduce_only=reduces, leg=leg)

    def _market_order(self, state: State) -> Command:
        rng = self._rng
        account, market = self._customer(), rng.choice(self._markets)
        leg: Any = self._leg(state, account) if market in self._contracts else "net"
        side: Any = rng.choice((BUY, SELL))
        tif: Any = rng.choice(("ioc", "ioc", "fok"))
        return PlaceOrder(account, market, side, rng.choice(_SIZES), None, tif, leg=leg)

    def _amend(self, state: State) -> Command:
        rng = self._rng
        account, number = self._pick_order(state)
        price = self._price(rng.choice(self._markets)) if rng.random() < 0.5 else None
        return AmendOrder(account, number, price, rng.choice(_SIZES) if rng.random() < 0.6 else None)

    def _cancel(self, state: State) -> Command:
        return CancelOrder(*self._pick_order(state))

    def _cancel_all(self, _: State) -> Command:
        return CancelAll(self._account(), self._rng.choice((None, *self._markets)))

    def _quote(self, _: State) -> Command:
        rng = self._rng
        market = rng.choice(self._markets)
        middle, size = self._prices[market], rng.choice(_SIZES)
        steps = range(1, rng.choice((1, 2, 3, 4)))
        bids = tuple((middle - k, size) for k in steps)
        asks = tuple((middle + k + rng.choice((-1, 0, 0)), size) for k in steps)
        return MassQuote(self._customer(), market, bids, asks)

    def _deposit(self, _: State) -> Command:
        rng = self._rng
        asset = rng.choice((0, 0, 0, 1, 2))
        amounts = (7, 7000) if asset else (self._unit, 50 * self._unit, 500 * self._unit)
        account = self._account() if rng.random() < 0.9 else rng.choice((INSURANCE, INSURANCE, HOUSE))
        return Deposit(asset, account, (rng.choice(amounts),))

    def _withdraw(self, _: State) -> Command:
        rng = self._rng
        asset = rng.choice((0, 0, 0, 1))
        amounts = (1, 7000) if asset else (1, self._unit, 50 * self._unit, 500 * self._unit)
        return Withdraw(self._account(), asset, rng.choice(amounts))

    def _transfer(self, state: State) -> Command:
        rng = self._rng
        account, market = self._account(), rng.choice(self._contracts)
        isolated = state.accounts.isolated.array[market]
        if isolated.any() and rng.random() < 0.8:
            account = int(rng.choice(isolated.nonzero()[0].tolist()))
        atoms = rng.choice((-50, -7, -1, 1, 7, 50)) * self._unit
        return TransferMargin(account, market, atoms, self._leg(state, account))

    def _leverage(self, _: State) -> Command:
        rng = self._rng
        return SetLeverage(
            self._account(),
            rng.choice(self._contracts),
            rng.choice((1, 2, 5, 5, 10, 20, 50, 51)),
            rng.choice(_MODES),
        )

    def _mode(self, _: State) -> Command:
        modes: Any = ("hedge", "hedge", "net")
        return SetPositionMode(self._account(), self._rng.choice(modes))

    def _tick(self, _: State) -> Command:
        return Tick()

    def _index(self, _: State | None, fault: str = "") -> Command:
        """Every source speaks of every instrument, unless a fault says otherwise."""
        rng = self._rng
        if not fault and self._step < self._stalled_until:
            return Tick()
        for market in self._markets:
            if rng.random() < self._jump_rate:
                self._prices[market] = max(2, PRICE * rng.choice(_FACTORS) // 100)
            else:
                self._prices[market] = max(2, self._prices[market] + rng.choice((-2, -1, 0, 1, 2)))
        odd = {
            "zero_price": 0,
            "negative_price": rng.choice((-1, -40)),
            "outlier_price": rng.choice((1, 9999)),
        }
        shifts = {"old_observation": -rng.choice((SECOND_NS, MINUTE_NS, HOUR_NS)), "future_observation": 1}
        seen = []
        victim = rng.choice(self._markets)
        admitting = [n for n in self._markets if fault in odd and self._price_min[n] <= odd[fault]]
        if admitting and self._beside.random() < 0.75:
            victim = self._beside.choice(admitting)
        for market in self._markets:
            for source in range(self._sources):
                if fault == "index_gap" and rng.random() < 0.5:
                    continue
                price = self._prices[market]
                if fault in odd and market == victim:
                    price = odd[fault]
                published = self.time_ns + shifts.get(fault, 0)
                seen.append(Observation(market, source, price, published))
        return UpdateIndex(tuple(seen))

    def _backstop(self, _: State) -> Command:
        chosen = tuple(n for n in self._contracts if self._rng.random() < 0.7)
        return SetBackstop(self._rng.choice((FIRST_ACCOUNT, FIRST_ACCOUNT, self._account())), chosen)

    def _settle_instrument(self, _: State) -> Command:
        market = self._rng.choice(self._futures)
        price = self._price(market)
        return SettleInstrument(market, price if self._beside.random() < 0.8 else None)

    def _delist(self, state: State) -> Command:
        """A perpetual ends at the index, at times just when funding is due."""
        rng, due_ns = self._beside, state.counters.next_funding_ns
        if rng.random() < 0.5 and self.time_ns < due_ns < self.time_ns + DAY_NS:
            self.time_ns = due_ns
        return SettleInstrument(rng.choice(self._perpetuals), PRICE if rng.random() < 0.1 else None)

    def _variation(self, _: State) -> Command:
        market = self._rng.choice(self._futures)
        return SettleVariation(market, self._prices[market] + self._rng.choice((-30, -5, 0, 0, 5, 30)))

    def _contribute(self, _: State) -> Command:
        return Contribute(self._customer(), self._rng.choice((-50, -7, 7, 50)) * self._unit)

    def _supply(self, _: State) -> Command:
        return Supply(self._account(), self._rng.choice((1, 7, 50, 200)) * self._unit)

    def _redeem(self, state: State) -> Command:
        """Some of the shares that an account has, or all of them."""
        rng, shares = self._rng, {} if state.lending is None else state.lending.shares
        account = rng.choice(list(shares)) if shares and rng.random() < 0.8 else self._account()
        held = shares.get(account, 0)
        return Redeem(account, rng.choice((1, held // 2, held, held, held + 1)))

    def _borrow(self, _: State) -> Command:
        return Borrow(self._account(), self._rng.choice((1, 7, 50, 500)) * self._unit)

    def _auction(self, state: State) -> Command:
        """A good bid for the portfolio of somebody in default, if there is one."""
        rng = self._rng
        account = next(iter(state.in_liquidation), (self._customer(), 0))[0]
        held = [m.number for m in state.contracts if state.accounts.lots.cells[m.number][account]]
        bids = tuple(
            AuctionBid(self._account(), tuple(self._price(n % len(self._kinds)) for n in held))
            for _ in range(rng.choice((1, 2, 3)))
        )
        return HoldAuction(account, tuple(held), bids)

    def _load(self, _: State | None) -> Command:
        rng = self._rng
        market, lots = rng.choice(self._contracts), rng.choice((1, 5, 20))
        long, short = rng.sample(range(FIRST_ACCOUNT, self._last + 1), 2)
        entry = rng.choice((60, PRICE, 140))
        isolated = rng.choice((0, 0, 50 * self._unit))
        return LoadPositions(
            market, PRICE, (long, short), (lots, -lots), (PRICE, entry), (1, 5), (isolated, 0)
        )

    def _open(self, _: State) -> Command:
        self._last += self._last < FIRST_ACCOUNT + 20
        return OpenAccounts(1)
