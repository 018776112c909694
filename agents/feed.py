"""The price feed: what spot sources say, from waypoints, and what the operator does at fixed times."""

from collections.abc import Sequence
from statistics import median_low

from msgspec import Struct

from zerodebt.agents.coins import base_symbol
from zerodebt.agents.world import FEED, OPERATOR, Steps, World
from zerodebt.exchange.commands import BUY, SELL, Command, Observation, UpdateIndex
from zerodebt.exchange.instruments import Instrument
from zerodebt.exchange.views import View


class Waypoints(Struct, frozen=True):
    """A price path: epoch nanoseconds (strictly ascending) and ticks, of one length, at least one."""

    times_ns: tuple[int, ...]
    price_ticks: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.times_ns or len(self.times_ns) != len(self.price_ticks):
            raise ValueError(f"waypoints: {len(self.times_ns)} times and {len(self.price_ticks)} prices")
        for before, after in zip(self.times_ns, self.times_ns[1:], strict=False):
            if after <= before:
                raise ValueError(f"waypoints: time {after} does not follow {before}")


class Path:
    """Reads waypoints forward in time: straight lines between them, flat before and after."""

    def __init__(self, waypoints: Waypoints) -> None:
        self._times = waypoints.times_ns
        self._prices = waypoints.price_ticks
        self._next = 0

    def ticks_at(self, time_ns: int) -> int:
        """Price at `time_ns`, never earlier than asked before; to the nearest tick, halves upwards. O(1)."""
        times, prices = self._times, self._prices
        while self._next < len(times) and times[self._next] <= time_ns:
            self._next += 1
        if self._next == 0:
            return prices[0]
        if self._next == len(times):
            return prices[-1]
        since, until = times[self._next - 1], times[self._next]
        before, after = prices[self._next - 1], prices[self._next]
        span = until - since
        return before + (2 * (after - before) * (time_ns - since) + span) // (2 * span)


class BookPrices:
    """What spot books on the venue itself say, and of several books of one coin their median; a spot market
    is worth what its own book says.

    A book says the last trade kept within its best bid and ask, which is the median of the three; before the
    first trade it says the middle, or the start. The middle of a book whose one side was just bought empty
    would lie half-way to a forgotten quote. A contract without a spot book keeps its start.
    """

    def __init__(self, instruments: Sequence[Instrument], start_ticks: Sequence[int]) -> None:
        spots = [n for n, instrument in enumerate(instruments) if instrument.kind == "spot"]
        bases = [base_symbol(instrument.symbol) for instrument in instruments]
        self._start_ticks = tuple(start_ticks)
        self._books = tuple(
            (n,) if n in spots else tuple(s for s in spots if bases[s] == bases[n]) for n in range(len(bases))
        )

    def ticks(self, view: View) -> list[int]:
        """A price for every instrument; the median of an even number of books is rounded down."""
        seen = {n: self._said(view, n) for books in self._books for n in books}
        return [
            median_low(seen[n] for n in books) if books else start
            for books, start in zip(self._books, self._start_ticks, strict=True)
        ]

    def _said(self, view: View, number: int) -> int:
        bid, ask, last = view.best_ticks(number, BUY), view.best_ticks(number, SELL), view.last_ticks(number)
        price = self._start_ticks[number] if last is None else last
        if last is None and bid is not None and ask is not None:
            price = (bid + ask) // 2
        price = price if bid is None else max(price, bid)
        return price if ask is None else min(price, ask)


class PriceFeed:
    """Sends one index command an instant, with every instrument and every source number, and timed actions.

    waypoints  one an instrument, in the order of the instruments
    books      where prices come from the venue's own spot books; the waypoints are then no prices
    sources    numbers of the rulebook's sources that this feed speaks for
    actions    (epoch ns, command) of the operator: status, settlement, ticks. Before the index of its instant
    """

    name = "feed"

    def __init__(
        self,
        waypoints: Sequence[Waypoints],
        index_every_ns: int,
        sources: Sequence[int],
        actions: Sequence[tuple[int, Command]] = (),
        books: BookPrices | None = None,
    ) -> None:
        assert index_every_ns > 0
        self.counters = {"index_commands": 0, "actions": 0}
        self._paths = [Path(path) for path in waypoints]
        self._books = books
        self._every_ns = index_every_ns
        self._sources = tuple(sources)
        self._actions = sorted(actions, key=lambda action: action[0])

    def start(self, world: World) -> None:
        """Actions go first in their instant, so that a halt holds for the index that follows."""
        world.process(self._act(world))
        world.every(self._every_ns, lambda: self._publish(world), 0, FEED)

    def _act(self, world: World) -> Steps:
        for time_ns, command in self._actions:
            yield world.sleep(time_ns - world.now_ns, OPERATOR)
            self.counters["actions"] += 1
            world.submit((command,), 0, None, OPERATOR)

    def _publish(self, world: World) -> None:
        now_ns = world.now_ns
        observations: list[Observation] = []
        if self._books is None:
            prices = [path.ticks_at(now_ns) for path in self._paths]
        else:
            prices = self._books.ticks(world.view)
        for instrument, price_ticks in enumerate(prices):
            observations += [Observation(instrument, number, price_ticks, now_ns) for number in self._sources]
        self.counters["index_commands"] += 1
        world.submit((UpdateIndex(tuple(observations)),), 0, None, FEED)
