"""A small venue in memory for the studies: real commands, and the second witness listens to every event.

One tick is 0.01 USD and one lot a whole coin, so that 3 lots at 10,000 ticks are worth 300 USD. Fees are nil
and the mark is the index unless the rulebook says otherwise.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from zerodebt.exchange.assets import Asset
from zerodebt.exchange.audit import Audit, Report
from zerodebt.exchange.commands import (
    Command,
    Deposit,
    LoadPositions,
    MassQuote,
    Observation,
    OpenAccounts,
    Role,
    UpdateIndex,
)
from zerodebt.exchange.events import AccountsOpened, Event, Rejected
from zerodebt.exchange.instruments import Instrument, Tier
from zerodebt.exchange.rules import VenueRules, venue_rules
from zerodebt.exchange.units import SECOND_NS
from zerodebt.exchange.venue import Venue
from zerodebt.scenarios.witness import differences

USD = 10**6
TICK_ATOMS = 10**4
"""What a tick of one lot is worth."""
START_TICKS = 10_000
START_NS = 1_760_130_000 * SECOND_NS

E = TypeVar("E")


class WitnessDisagreesError(Exception):
    """The audit rebuilt a small venue from its events and came to something else."""


def contract(symbol: str = "COIN", *, leverage: int, **changes: Any) -> Instrument:
    """A dated future without funding; maintenance is half of what `leverage` asks for."""
    values: dict[str, Any] = {
        "symbol": symbol,
        "kind": "future",
        "settle_asset": 0,
        "tick_value_atoms": TICK_ATOMS,
        "tick_decimals": 2,
        "lot_decimals": 0,
        "price_min_ticks": 1,
        "price_max_ticks": 10_000_000,
        "size_max_lots": 1_000_000,
        "open_interest_max_lots": 1_000_000,
        "tiers": (Tier(0, leverage),),
    }
    return Instrument(**(values | changes))


def coin_book(symbol: str, size_max_lots: int, *, decimals: int = 4, most_usd: int = 2) -> Instrument:
    """The spot book of asset 1, a coin without decimals; prices of `decimals` up to so many dollars."""
    return Instrument(
        symbol=symbol,
        kind="spot",
        settle_asset=0,
        tick_decimals=decimals,
        lot_decimals=0,
        tick_value_atoms=USD // 10**decimals,
        price_min_ticks=1,
        price_max_ticks=most_usd * 10**decimals,
        size_max_lots=size_max_lots,
        open_interest_max_lots=size_max_lots,
        base_asset=1,
        lot_atoms=1,
    )


def rulebook(waterfall: Sequence[str], **tables: Any) -> VenueRules:
    """A rulebook with these stages; further tables override."""
    promise = "none" if "recourse" in waterfall else "zero_debt"
    base: dict[str, Any] = {
        "name": "small",
        "valid_from": "2025-01-01",
        "source": "ours",
        "settle_asset": "USD",
        "promise": promise,
        "waterfall": list(waterfall),
        "sources": [{"name": "index", "weight": 1}],
        "mark": {"formula": "index"},
    }
    if "backstop" in waterfall:
        base["liquidation"] = {"backstop_below_ppb": 666_666_667}
    for name, value in tables.items():
        base[name] = base.get(name, {}) | value if isinstance(value, dict) else value
    return venue_rules(base)


class PromiseBrokenError(Exception):
    """A small venue that promises zero debt left a debt that nobody paid."""


class SmallVenue:
    """A venue, its clock, and the witness. `events` holds all that has happened.

    held  assets beside the settlement asset, numbered from 1
    """

    def __init__(
        self, rules: VenueRules, instruments: tuple[Instrument, ...], held: tuple[Asset, ...] = ()
    ) -> None:
        self.rules = rules
        self.venue = Venue(rules, (Asset(rules.settle_asset, 6), *held), instruments)
        self.view = self.venue.view
        self.time_ns = START_NS
        self.events: list[Event] = []
        self._witness = Audit()
        self._witness.feed(self.venue.opening())

    def ask(self, command: Command, *, later_ns: int = 0) -> tuple[Event, ...]:
        """Apply a command, which may be refused."""
        self.time_ns += later_ns
        batch = self.venue.apply(command, self.time_ns)
        self._witness.feed(batch)
        self.events += batch.events
        return batch.events

    def do(self, command: Command, *, later_ns: int = 0) -> tuple[Event, ...]:
        """Apply a command that must not be refused."""
        events = self.ask(command, later_ns=later_ns)
        if events and isinstance(events[0], Rejected):
            raise AssertionError(f"a study's command was refused: {events[0]}")
        return events

    def open(self, atoms: Sequence[int], role: Role = "customer") -> range:
        """One account for each sum, which is brought in."""
        (opened,) = of(self.do(OpenAccounts(len(atoms), role)), AccountsOpened)
        if any(atoms):
            self.do(Deposit(0, opened.first_account, tuple(atoms)))
        return range(opened.first_account, opened.first_account + len(atoms))

    def endow(self, house_account: int, atoms: int) -> None:
        """Money for the fund (INSURANCE) or the operator (HOUSE); nothing is fine."""
        if atoms:
            self.do(Deposit(0, house_account, (atoms,)))

    def load(
        self, lots: dict[int, int], leverage: int, instrument: int = 0, ticks: int = START_TICKS
    ) -> None:
        """Positions of the start, account -> signed lots, entered at `ticks`."""
        count = len(lots)
        self.do(
            LoadPositions(
                instrument,
                ticks,
                tuple(lots),
                tuple(lots.values()),
                (ticks,) * count,
                (leverage,) * count,
                (0,) * count,
            )
        )

    def index(self, *prices_ticks: int, later_ns: int = SECOND_NS) -> tuple[Event, ...]:
        """All sources publish these prices, one for each instrument."""
        return self.index_of(dict(enumerate(prices_ticks)), later_ns=later_ns)

    def index_of(self, prices_ticks: dict[int, int], later_ns: int = SECOND_NS) -> tuple[Event, ...]:
        """The same for some of the instruments."""
        self.time_ns += later_ns
        seen = tuple(
            Observation(n, source, price, self.time_ns)
            for n, price in prices_ticks.items()
            for source in range(len(self.rules.sources))
        )
        return self.do(UpdateIndex(seen))

    def bid(self, account: int, levels: Sequence[tuple[int, int]]) -> None:
        """Replace an account's quotes by bids (price_ticks, lots), where there is such a price."""
        self.do(self._bids(account, levels))

    def try_bid(self, account: int, levels: Sequence[tuple[int, int]]) -> None:
        """The same where the venue may refuse it."""
        self.ask(self._bids(account, levels))

    def _bids(self, account: int, levels: Sequence[tuple[int, int]]) -> MassQuote:
        least = self.view.instruments[0].price_min_ticks
        bids = tuple((price, lots) for price, lots in levels if price >= least and lots > 0)
        return MassQuote(account, 0, bids, ())

    def quote(self, account: int, price_ticks: int, lots: int) -> None:
        """Bid at a price and offer one tick above it."""
        self.do(MassQuote(account, 0, ((price_ticks, lots),), ((price_ticks + 1, lots),)))

    def equities(self, accounts: Sequence[int]) -> list[int]:
        return [int(atoms) for atoms in self.view.equities(accounts)]

    def end(self, *, may_break: bool = False) -> Report:
        """The witness's report; WitnessDisagreesError unless it comes to what the venue says of itself.

        may_break  a broken promise of zero debt is a figure of the study; otherwise it is PromiseBrokenError
        """
        report = self._witness.finish()
        apart = list(differences(report, msgspec.to_builtins(self.view.statement()), 0))
        if not report.agrees or apart:
            raise WitnessDisagreesError(f"{[f.text for f in report.findings[:3]]} {apart}")
        if not may_break and self.broke_promise(report):
            raise PromiseBrokenError(f"{report.verdict}: {report.residuals}")
        return report

    def broke_promise(self, report: Report) -> bool:
        return self.rules.promise == "zero_debt" and not report.verdict.startswith("HELD")


def of(events: Sequence[Event], kind: type[E]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]
