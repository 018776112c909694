"""Time, order and delivery."""

import pytest

from zerodebt.agents.world import DELIVERY, FEED, WAKE, World
from zerodebt.exchange.commands import CancelAll, Command
from zerodebt.exchange.events import Batch
from zerodebt.exchange.units import MINUTE_NS


def quiet(end_ns: int, sent: list[tuple[int, int]]) -> World:
    """A world from 100 to `end_ns` whose venue notes (time, account) of CancelAll commands."""

    def send(command: Command, time_ns: int) -> Batch:
        assert isinstance(command, CancelAll)
        sent.append((time_ns, command.account))
        return Batch(len(sent), time_ns, ())

    return World(None, send, 100, end_ns)  # type: ignore[arg-type]


def test_commands_of_one_instant_go_by_priority_then_in_the_order_of_submission() -> None:
    sent: list[tuple[int, int]] = []
    world = quiet(200, sent)
    world.submit((CancelAll(1), CancelAll(2)), 5)
    world.submit((CancelAll(3),), 5)
    world.submit((CancelAll(4),), 5, None, FEED)
    world.submit((CancelAll(5),), 4, None, WAKE)
    world.run()
    assert sent == [(104, 5), (105, 4), (105, 1), (105, 2), (105, 3)]


def test_listener_hears_its_own_commands_each_before_the_next_one_is_sent() -> None:
    sent: list[tuple[int, int]] = []
    heard: list[tuple[int, int]] = []
    world = quiet(200, sent)
    world.submit((CancelAll(1), CancelAll(2)), 0, lambda batch: heard.append((batch.seq, len(sent))))
    world.submit((CancelAll(3),), 1)
    world.run()
    assert heard == [(1, 1), (2, 2)]


def test_feed_comes_before_deliveries_and_wakes_of_its_instant() -> None:
    order: list[str] = []
    world = quiet(100, [])
    for name, priority in (("wake", WAKE), ("delivery", DELIVERY), ("feed", FEED)):
        world.every(10, lambda name=name: order.append(name), 0, priority)  # type: ignore[misc]
    world.run()
    assert order == ["feed", "delivery", "wake"]


def test_every_keeps_its_beat_and_the_end_is_included() -> None:
    seen: list[tuple[int, int]] = []
    world = quiet(130, [])
    world.every(10, lambda: seen.append((world.elapsed_ns, world.now_ns)), 5)
    world.every(15, lambda: seen.append((world.elapsed_ns, 0)))
    world.run()
    assert seen == [(0, 0), (5, 105), (15, 0), (15, 115), (25, 125), (30, 0)]


def test_a_delay_that_is_no_integer_is_refused() -> None:
    world = quiet(200, [])
    with pytest.raises(AssertionError, match="found float"):
        world.sleep(1.0)  # type: ignore[arg-type]
    assert type(world.elapsed_ns) is int


def test_progress_is_reported_every_step_and_at_the_end() -> None:
    world = quiet(100 + 3 * MINUTE_NS, [])
    world.every(MINUTE_NS // 4, lambda: None)
    reported: list[int] = []
    world.run(reported.append)
    assert reported == [MINUTE_NS, 2 * MINUTE_NS, 3 * MINUTE_NS, 3 * MINUTE_NS]
