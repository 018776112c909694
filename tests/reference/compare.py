"""The venue and the plain model under the same commands, compared after each of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msgspec import structs

from tests.reference.book import Resting, queue
from tests.reference.model import Model
from tests.reference.streams import Row, Setting
from tests.shortening import shortened
from tests.venues import ASSETS
from zerodebt.exchange.custody import custody_of
from zerodebt.exchange.events import (
    FIRST_ACCOUNT,
    DeficitClosed,
    Deleveraged,
    Event,
    LiquidationStarted,
    Posted,
    Rejected,
    StageArmed,
    StagePaid,
)
from zerodebt.exchange.venue import Venue


class DivergenceError(AssertionError):
    """At which command the two part, and how."""

    def __init__(self, at: int, row: Row, difference: str) -> None:
        super().__init__(f"command {at}: {row}\n{difference}")
        self.at = at


class Tally(NamedTuple):
    """How often each kind of event came, and what was compared."""

    commands: Counter[str]
    events: Counter[str]
    cells: int


def projected(events: Sequence[Event]) -> list[Event]:
    """What both must say: all but the ledger's postings and the prose of refusals and conditions."""
    said: list[Event] = []
    for event in events:
        if isinstance(event, Rejected):
            said.append(structs.replace(event, detail=""))
        elif isinstance(event, StageArmed):
            said.append(structs.replace(event, because=""))
        elif not isinstance(event, Posted):
            said.append(event)
    return said


def held_by_venue(venue: Venue) -> dict[str, object]:
    state = venue._state
    accounts = state.accounts
    count, rows = accounts.count, len(state.instruments)
    tables: dict[str, object] = {
        name: getattr(accounts, name).array[:rows, :count].tolist()
        for name in ("lots", "cost", "entry_cost", "isolated", "leverage")
    }
    return tables | {
        "balances": accounts.balances.array[: len(state.assets) + rows, :count].tolist(),
        "session base": accounts.session_base.array[0, :count].tolist(),
        "books": [
            [
                (o.order_id, o.open_lots, o.filled_lots, o.price_ticks)
                for side in (1, -1)
                for o in book.walk(side)
            ]
            for book in state.books
        ],
        "waiting": sorted(state.armed),
        "in liquidation": sorted(state.in_liquidation),
        "open deficits": state.open_deficits,
        "receivables": state.receivables,
        "last rates": [market.prices.last_rate_ppt for market in state.markets],
        "may leave": [venue.view.withdrawable_atoms(n) for n in range(FIRST_ACCOUNT, count)]
        if custody_of(state).hole_atoms
        else [],
    }


def held_by_model(model: Model) -> dict[str, object]:
    w = model.world
    positions = [[account.positions[n] for account in w.accounts] for n in w.contracts]
    books = []
    for n in w.contracts:
        orders = w.resting(n)
        ordered = [o for side in (1, -1) for o in queue(orders, side)]
        books.append([(o.order_id, o.lots, o.filled, o.price) for o in ordered])
    resting = {thing.order_id for thing in w.open if isinstance(thing, Resting)}
    return {
        "balances": [list(row) for row in zip(*(account.cash for account in w.accounts), strict=True)],
        "lots": [[held.lots for held in row] for row in positions],
        "cost": [[held.cost for held in row] for row in positions],
        "entry_cost": [[held.entry_cost for held in row] for row in positions],
        "isolated": [[int(held.isolated) for held in row] for row in positions],
        "leverage": [[held.leverage for held in row] for row in positions],
        "session base": [account.base for account in w.accounts],
        "books": books,
        "waiting": sorted(thing.order_id for thing in w.open if thing.order_id not in resting),
        "in liquidation": sorted(w.in_liquidation),
        "open deficits": w.open_deficits,
        "receivables": w.receivables,
        "last rates": [prices.last_rate for prices in w.prices],
        "may leave": [model.may_leave(n) for n in range(FIRST_ACCOUNT, len(w.accounts))] if w.hole else [],
    }


def difference(venue: object, model: object) -> str:
    return f"  venue: {venue}\n  model: {model}"


def told_apart(venue: Sequence[Event], model: Sequence[Event]) -> str:
    """The first event that is not the same on both sides."""
    for k in range(max(len(venue), len(model))):
        ours = venue[k] if k < len(venue) else None
        theirs = model[k] if k < len(model) else None
        if ours != theirs:
            return f"event {k} of {len(venue)} and {len(model)}\n{difference(ours, theirs)}"
    return ""


def run(setting: Setting, rows: Iterable[Row], hear: Callable[[list[Event]], None] | None = None) -> Tally:
    """Drive both; raises `DivergenceError` at the first difference, also where one of them breaks.

    hear  told what the model says, by whoever makes the rows
    """
    venue = Venue(setting.rules, ASSETS, setting.instruments)
    model = Model(setting.rules, ASSETS, setting.instruments)
    tally = Tally(Counter(), Counter(), 0)
    cells = 0
    for at, row in enumerate(rows):
        time_ns, command = row
        try:
            theirs = model.apply(command, time_ns)
            ours = projected(venue.apply(command, time_ns).events)
        except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError) as broken:
            raise DivergenceError(at, row, f"  {type(broken).__name__}: {broken}") from broken
        if ours != theirs:
            raise DivergenceError(at, row, told_apart(ours, theirs))
        by_venue, by_model = held_by_venue(venue), held_by_model(model)
        if by_venue != by_model:
            name = next(name for name in by_model if by_venue[name] != by_model[name])
            raise DivergenceError(at, row, f"{name}\n{difference(by_venue[name], by_model[name])}")
        cells += len(model.world.accounts) * (len(model.world.assets) + 6 * len(setting.instruments))
        if hear is not None:
            hear(theirs)
        tally.commands[type(command).__name__] += 1
        for event in theirs:
            tally.events[kind(event)] += 1
    return tally._replace(cells=cells)


def kind(event: Event) -> str:
    """Name of an event, with what tells stages and refusals apart."""
    name = type(event).__name__
    if isinstance(event, StageArmed | StagePaid):
        return f"{name} {event.stage}"
    if isinstance(event, Rejected):
        return f"{name}: {event.reason.value}"
    if isinstance(event, DeficitClosed) and event.residual_atoms:
        return f"{name} with a residual"
    if isinstance(event, Deleveraged):
        return f"{name} {'bankrupt' if event.deficit_id else 'unfilled'}"
    if isinstance(event, LiquidationStarted):
        return f"{name} {'cross' if event.pocket == 0 else 'isolated'}"
    return name


def shrink(setting: Setting, rows: Sequence[Row], runs_max: int = 3000) -> list[Row]:
    """The commands of a diverging stream without those that it does not need."""
    runs_left = runs_max

    def diverging(rows: list[Row]) -> list[Row] | None:
        nonlocal runs_left
        runs_left -= 1
        if runs_left < 0:
            return None
        try:
            run(setting, rows)
        except DivergenceError as found:
            return rows[: found.at + 1]
        return None

    return shortened(list(rows), diverging)
