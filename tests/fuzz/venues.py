"""Venues in use: those of the simulation, after some of its commands."""

from collections.abc import Iterator

from tests.simulation.workload import Workload
from tests.simulation.worlds import Built, World, build, draw_world
from zerodebt.exchange.events import Batch
from zerodebt.exchange.venue import Venue


def world_of(seed: int) -> tuple[World, Built]:
    world = draw_world(seed)
    return world, build(world)


def day(world: World, built: Built, venue: Venue, commands: int) -> Iterator[Batch]:
    """The world's opening and so many commands of its workload, and what follows from each."""
    workload = Workload(world, built)
    for order in workload.opening():
        if order.command is not None:
            yield venue.apply(order.command, order.time_ns)
    for _ in range(commands):
        order = workload.next(venue._state)
        if order.command is not None:
            yield venue.apply(order.command, order.time_ns)
