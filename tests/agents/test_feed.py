"""Waypoints to index commands."""

import pytest

from zerodebt.agents.feed import Path, PriceFeed, Waypoints
from zerodebt.agents.world import World
from zerodebt.exchange.commands import Command, SetStatus, UpdateIndex
from zerodebt.exchange.events import Batch


def test_path_is_straight_between_waypoints_and_rounds_halves_up() -> None:
    path = Path(Waypoints((10, 20, 24), (100, 105, 101)))
    times = (0, 10, 11, 13, 20, 21, 24, 99)
    # 11: 100.5 up; 13: 101.5 up; 21: 105 - 1
    assert [path.ticks_at(time) for time in times] == [100, 100, 101, 102, 105, 104, 101, 101]


def test_path_through_zero_and_below() -> None:
    path = Path(Waypoints((0, 4), (2, -4)))
    # slope -1.5: 2, .5 up, -1, -2.5 up, -4
    assert [path.ticks_at(time) for time in range(5)] == [2, 1, -1, -2, -4]


@pytest.mark.parametrize(("times", "prices"), [((), ()), ((1, 1), (2, 3)), ((2, 1), (2, 3)), ((1,), (2, 3))])
def test_waypoints_out_of_order_or_of_other_length_are_refused(
    times: tuple[int, ...], prices: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="waypoints"):
        Waypoints(times, prices)


def test_one_command_an_instant_for_all_instruments_and_sources_after_the_actions() -> None:
    sent: list[tuple[int, Command]] = []

    def send(command: Command, time_ns: int) -> Batch:
        sent.append((time_ns, command))
        return Batch(len(sent), time_ns, ())

    world = World(None, send, 1_000, 1_010)  # type: ignore[arg-type]
    paths = [Waypoints((1_000, 1_010), (0, 10)), Waypoints((1_000,), (7,))]
    halt = SetStatus(0, open=False, reduce=False, liquidate=True)
    PriceFeed(paths, 5, (0, 3), [(1_004, halt), (1_005, halt)]).start(world)
    world.run()
    assert [(time_ns, type(command)) for time_ns, command in sent] == [
        (1_000, UpdateIndex),
        (1_004, SetStatus),
        (1_005, SetStatus),
        (1_005, UpdateIndex),
        (1_010, UpdateIndex),
    ]
    last = sent[-1][1]
    assert isinstance(last, UpdateIndex)
    assert [(o.instrument, o.source, o.price_ticks, o.published_ns) for o in last.observations] == [
        (0, 0, 10, 1_010),
        (0, 3, 10, 1_010),
        (1, 0, 7, 1_010),
        (1, 3, 7, 1_010),
    ]
