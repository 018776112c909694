"""A seed's run: phase one with faults, then phase two, in which the venue must come to rest."""

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct, structs

from tests.simulation.invariants import ViolatedError
from tests.simulation.runs import Run
from tests.simulation.settling import Settling
from tests.simulation.workload import Order, Workload
from tests.simulation.worlds import World, draw_world

COMMANDS = 400
"""Commands of phase one, unless said otherwise."""


class Violation(Struct, frozen=True):
    """The first law that did not hold, what was seen, and whether faults were still going on."""

    law: str
    text: str
    phase: int


class Outcome(Struct, frozen=True):
    """What became of a run: all orders that were applied, and which of them faults and the seed had drawn.

    faults, in_effect          how often each was drawn, and had an effect
    commands, rejects, events  by kind, reason and type
    """

    world: World
    orders: list[Order]
    phase_one: int
    violation: Violation | None
    faults: Counter[str]
    in_effect: Counter[str]
    commands: Counter[str]
    rejects: Counter[str]
    events: Counter[str]
    verdict: str
    state_hash: str


def simulate(seed: int, commands: int = COMMANDS) -> Outcome:
    """Both phases of a seed."""
    run = Run(draw_world(seed))
    workload = Workload(run.world, run.built)
    played = _play(run, _drawn(run, workload, commands))
    in_effect = workload.in_effect(run.accepted_faults - {0})
    return structs.replace(played, faults=workload.faults, in_effect=in_effect)


def replay(world: World, orders: Iterable[Order]) -> Outcome:
    """The same for orders that are given."""
    return _play(Run(world), orders)


def _drawn(run: Run, workload: Workload, commands: int) -> Iterator[Order]:
    yield from workload.opening()
    for _ in range(commands):
        yield workload.next(run.venue._state)


def _play(run: Run, orders: Iterable[Order]) -> Outcome:
    violation, phase, phase_one, verdict = None, 1, 0, ""
    try:
        for order in orders:
            phase_one += 1
            run.apply(order)
        phase = 2
        run.look()
        Settling(run).settle()
        verdict = run.end().verdict
    except ViolatedError as error:
        violation = Violation(error.law, error.text, phase)
    return Outcome(
        run.world,
        run.orders,
        phase_one,
        violation,
        Counter(),
        Counter(),
        run.kinds,
        run.rejects,
        run.events,
        verdict,
        run.venue.state_hash(),
    )
