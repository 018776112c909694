"""Small venues for tests, in round numbers: one tick is 1 USD, one lot one coin, mark equals index.

So a fill of 3 lots at 100 is worth 3 * 100 * USD, and a perpetual with leverage 20 asks for 1/40 of it as
maintenance. `Desk` applies commands, checks every invariant after each and keeps what is needed to replay.
"""

from typing import Any, TypeVar

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.commands import (
    Command,
    Deposit,
    Observation,
    OpenAccounts,
    PlaceOrder,
    Side,
    Stamped,
    Tick,
    UpdateIndex,
)
from zerodebt.exchange.events import Batch, Event, Filled, OrderAccepted, Rejected, StagePaid
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.margin import risk_of
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import VenueRules, profile_table, venue_rules
from zerodebt.exchange.state import State
from zerodebt.exchange.units import MINUTE_NS, SECOND_NS
from zerodebt.exchange.venue import Venue

USD = 10**6
T0 = 1_760_130_000 * SECOND_NS
"""A Friday, 21:00 UTC."""
ASSETS = (Asset("USDC", 6), Asset("COIN", 3))
NO_STEP: dict[str, Any] = {"tick_value_atoms": USD, "tick_decimals": 0, "lot_decimals": 0}

E = TypeVar("E")


def perpetual(symbol: str = "BTC", *, leverage: int = 20, **changes: Any) -> Instrument:
    values: dict[str, Any] = {
        "symbol": symbol,
        "kind": "perpetual",
        "settle_asset": 0,
        **NO_STEP,
        "price_min_ticks": 1,
        "price_max_ticks": 100_000,
        "size_max_lots": 100_000,
        "open_interest_max_lots": 1_000_000,
        "tiers": (Tier(0, leverage),),
    }
    return Instrument(**(values | changes))


def future(symbol: str = "WTI", **changes: Any) -> Instrument:
    """A dated future whose price may cross zero."""
    values: dict[str, Any] = {"kind": "future", "price_min_ticks": -100_000}
    return perpetual(symbol, **(values | changes))


def spot(symbol: str = "COIN/USDC", **changes: Any) -> Instrument:
    """One lot is 1000 atoms of COIN."""
    values: dict[str, Any] = {"kind": "spot", "tiers": (), "base_asset": 1, "lot_atoms": 1000}
    return perpetual(symbol, **(values | changes))


def rulebook(*waterfall: str, **tables: Any) -> VenueRules:
    """Free of fees, one index source, mark = index; tables and keys override."""
    base: dict[str, Any] = {
        "name": "test",
        "valid_from": "2025-01-01",
        "source": "ours",
        "settle_asset": "USDC",
        "promise": "zero_debt",
        "waterfall": list(waterfall or ("book", "adl")),
        "sources": [{"name": "one", "weight": 1}],
        "mark": {"formula": "index"},
    }
    if "backstop" in waterfall:
        base["liquidation"] = {"backstop_below_ppb": 666_666_667}
    return changed(base, tables)


def profile(name: str, **tables: Any) -> VenueRules:
    """A shipped rulebook; tables and keys override."""
    return changed(profile_table(name), tables)


def hyperliquid(**tables: Any) -> VenueRules:
    return profile("hyperliquid", **tables)


def changed(table: dict[str, Any], tables: dict[str, Any]) -> VenueRules:
    """A rulebook with other keys in its tables, or with other words beside them."""
    for name, value in tables.items():
        table[name] = table.get(name, {}) | value if isinstance(value, dict) else value
    return venue_rules(table)


class Desk:
    """A venue and its clock. `do` applies a command at once or later and checks the venue afterwards."""

    def __init__(
        self,
        rules: VenueRules | None = None,
        instruments: tuple[Instrument, ...] = (),
        *,
        index: tuple[int, ...] | None = None,
        assets: tuple[Asset, ...] = ASSETS,
    ) -> None:
        self.rules = rules or rulebook()
        self.instruments = instruments or (perpetual(),)
        self.assets = assets
        self.venue = Venue(self.rules, assets, self.instruments)
        self.time_ns = T0
        self.journal: list[Stamped] = []
        self.batches: list[Batch] = [self.venue.opening()]
        if index is not None:
            self.index(*index, later_ns=0)

    @property
    def state(self) -> State:
        return self.venue._state

    def do(self, command: Command, *, later_ns: int = 0) -> list[Event]:
        self.time_ns += later_ns
        batch = self.venue.apply(command, self.time_ns)
        self.venue.check()
        self.journal.append(Stamped(batch.seq, self.time_ns, command))
        self.batches.append(batch)
        return list(batch.events)

    def ok(self, command: Command, *, later_ns: int = 0) -> list[Event]:
        """Apply a command that must not be refused."""
        events = self.do(command, later_ns=later_ns)
        assert not isinstance(events[0], Rejected), events[0]
        return events

    def refused(self, command: Command) -> RejectReason:
        """Apply a command that must be refused, leave no trace and say why."""
        before = self.venue.state_hash()
        events = self.do(command)
        assert len(events) == 1, events
        rejected = events[0]
        assert isinstance(rejected, Rejected), rejected
        assert self.venue.state_hash() == before, "a refused command has changed the state"
        return rejected.reason

    def restored(self) -> Venue:
        """The venue out of a snapshot of it."""
        return Venue.restore(self.rules, self.assets, self.instruments, self.venue.snapshot())

    def index(self, *prices: int, later_ns: int = SECOND_NS) -> list[Event]:
        """All sources of the rulebook publish these prices, one for each instrument."""
        self.time_ns += later_ns
        seen = tuple(
            Observation(n, source, price, self.time_ns)
            for n, price in enumerate(prices)
            for source in range(len(self.rules.sources))
        )
        return self.ok(UpdateIndex(seen))

    def tick(self, later_ns: int = MINUTE_NS) -> list[Event]:
        return self.ok(Tick(), later_ns=later_ns)

    def open(self, *usd: int, role: Any = "customer") -> list[int]:
        """Open one account for each amount of USD and bring the money in."""
        first = self.state.accounts.count
        self.ok(OpenAccounts(len(usd), role))
        for k, amount in enumerate(usd):
            if amount:
                self.ok(Deposit(0, first + k, (amount * USD,)))
        return list(range(first, first + len(usd)))

    def order(self, account: int, side: Side, lots: int, price: int | None = None, **more: Any) -> int:
        """Place an order that must be accepted; returns its number."""
        if price is None:
            more.setdefault("tif", "ioc")
        events = self.ok(PlaceOrder(account, more.pop("instrument", 0), side, lots, price, **more))
        return next(event.order_id for event in events if isinstance(event, OrderAccepted))

    def trade(self, buyer: int, seller: int, lots: int, price: int, instrument: int = 0) -> list[Event]:
        """The seller rests, the buyer takes."""
        self.order(seller, -1, lots, price, instrument=instrument)
        return self.ok(PlaceOrder(buyer, instrument, 1, lots, price, tif="fok"))

    def lots(self, account: int, instrument: int = 0) -> int:
        return self.venue.view.position_lots(instrument, account)

    def cash(self, account: int, pocket: int = 0) -> int:
        """Atoms in a pocket: 0 the wallet, 1 COIN, 2 and up the isolated margins."""
        return self.state.accounts.balances.cells[pocket][account]

    def equity(self, account: int, pocket: int = 0) -> int:
        return risk_of(self.state, (account, pocket)).equity_atoms

    def requirement(self, account: int, pocket: int = 0) -> int:
        return risk_of(self.state, (account, pocket)).maintenance_atoms

    def book(self, side: int, instrument: int = 0) -> list[tuple[int, int]]:
        return list(self.venue.view.depth(instrument, side))


def of(events: list[Event], kind: type[E]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def paid(events: list[Event]) -> list[tuple[str, int, int]]:
    """(stage, payer, atoms) of each payment of the waterfall."""
    return [(event.stage, event.payer, event.atoms) for event in of(events, StagePaid)]


def fills(events: list[Event]) -> list[tuple[int, int, int]]:
    """(maker order, price, lots) of each fill."""
    return [(event.maker_order, event.price_ticks, event.size_lots) for event in of(events, Filled)]
