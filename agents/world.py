"""The clock of a run: simpy in integer nanoseconds, commands on their way to the venue, their answers back.

The clock starts at 0 and only ever sees integers (one float delay would make it a float for good); the epoch
is added when a time leaves the world. Events of one instant run in the order (priority, sequence).
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from simpy import Environment
from simpy.events import Event, EventPriority, Process

from zerodebt.exchange.commands import Command
from zerodebt.exchange.events import Batch
from zerodebt.exchange.events import Event as VenueEvent
from zerodebt.exchange.units import MINUTE_NS
from zerodebt.exchange.views import View

Send = Callable[[Command, int], Batch]
Listener = Callable[[Batch], None]
Progress = Callable[[int], None]
Steps = Generator[Event, Any, Any]

# Priorities of one instant; simpy keeps 0 and 1 for itself.
OPERATOR, FEED, DELIVERY, WAKE = 2, 3, 4, 5


class Due(Event):
    """Happens `delay_ns` from now, among the events of that instant by `priority`."""

    def __init__(self, env: Environment, delay_ns: int, priority: int) -> None:
        super().__init__(env)
        assert type(delay_ns) is int, f"a delay must be an int, found {type(delay_ns).__name__}"
        assert delay_ns >= 0, delay_ns
        self._ok = True
        self._value = None
        env.schedule(self, EventPriority(priority), delay_ns)


class World:
    """One run from `start_ns` to `end_ns` (both epoch, both included).

    send  gives one command with its epoch time to the venue and returns the command's events
    """

    def __init__(self, view: View, send: Send, start_ns: int, end_ns: int) -> None:
        assert start_ns <= end_ns
        self.view = view
        self.env = Environment(0)
        self.start_ns = start_ns
        self.end_ns = end_ns
        self._send = send

    @property
    def elapsed_ns(self) -> int:
        """Time since the start."""
        now: int = self.env.now  # type: ignore[assignment]
        return now

    @property
    def now_ns(self) -> int:
        """Time since the epoch."""
        return self.start_ns + self.elapsed_ns

    def sleep(self, delay_ns: int, priority: int = WAKE) -> Due:
        """An event for a process to yield."""
        return Due(self.env, delay_ns, priority)

    def process(self, steps: Steps) -> Process:
        """Start a simpy process."""
        return self.env.process(steps)

    def every(
        self, period_ns: int, action: Callable[[], None], offset_ns: int = 0, priority: int = WAKE
    ) -> Process:
        """Call `action` at the start plus `offset_ns` and every `period_ns` from there on."""
        return self.process(self._repeat(period_ns, action, offset_ns, priority))

    def _repeat(self, period_ns: int, action: Callable[[], None], offset_ns: int, priority: int) -> Steps:
        yield self.sleep(offset_ns, priority)
        while True:
            action()
            yield self.sleep(period_ns, priority)

    def submit(
        self,
        commands: Iterable[Command],
        latency_ns: int,
        listener: Listener | None = None,
        priority: int = DELIVERY,
    ) -> None:
        """Deliver `commands` to the venue `latency_ns` from now, one at a time and together.

        After each command `listener` hears its events.
        """
        on_the_way = tuple(commands)
        if not on_the_way:
            return
        due = self.sleep(latency_ns, priority)
        assert due.callbacks is not None
        due.callbacks.append(lambda _: self._deliver(on_the_way, listener))

    def send(self, command: Command) -> tuple[VenueEvent, ...]:
        """Give the venue one command now, without latency; its events."""
        return self._send(command, self.now_ns).events

    def _deliver(self, commands: Sequence[Command], listener: Listener | None) -> None:
        now_ns = self.now_ns
        for command in commands:
            batch = self._send(command, now_ns)
            if listener is not None:
                listener(batch)

    def run(self, on_progress: Progress | None = None, step_ns: int = MINUTE_NS) -> None:
        """Run to the end; `on_progress` is given the elapsed time every `step_ns` of the world's time."""
        end_ns = self.end_ns - self.start_ns
        reported_ns = 0
        while (next_ns := self.env.peek()) <= end_ns:
            self.env.step()
            if on_progress is not None and next_ns >= reported_ns + step_ns:
                reported_ns = self.elapsed_ns
                on_progress(reported_ns)
        if on_progress is not None:
            on_progress(end_ns)
