"""Commands with any fields: decoded or refused, applied or answered by a reject that leaves no trace."""

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.commands import Draw, applied, decoded, opens_many, raw_command, raw_time
from tests.fuzz.venues import day, world_of
from tests.simulation.worlds import Built
from tests.venues import Desk
from zerodebt.exchange.commands import Tick
from zerodebt.exchange.events import Rejected
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.units import INT64_MAX
from zerodebt.exchange.venue import Venue


def busy(seed: int, commands: int) -> tuple[Built, bytes]:
    """A venue of the simulation's after some of its commands, as a snapshot."""
    world, built = world_of(seed)
    venue = built.venue()
    for _ in day(world, built, venue, commands):
        pass
    return built, venue.snapshot()


VENUES = [busy(seed, 12 * seed) for seed in range(8)]


def send(venue: Venue, draw: Draw) -> str:
    """One raw command to the venue, and how it was answered."""
    raw = raw_command(draw)
    stamped = decoded(venue.seq + 1, raw_time(draw, venue._state.time_ns), raw)
    if stamped is None:
        return "not decoded"
    if opens_many(stamped.command):
        return "left out"
    return "accepted" if applied(venue, stamped) else "rejected"


@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_command_is_decoded_or_refused_and_a_reject_leaves_no_trace(data: st.DataObject) -> None:
    built, snapshot = data.draw(st.sampled_from(VENUES), label="venue")
    venue = built.restore(snapshot)
    for _ in range(8):
        send(venue, lambda values: data.draw(st.sampled_from(values)))
    assert built.restore(venue.snapshot()).state_hash() == venue.state_hash()


def test_garbled_commands_by_seed_get_every_answer() -> None:
    """Many more, drawn plainly; that some are accepted shows that the draw comes near what is right."""
    answers: dict[str, int] = {}
    for seed, (built, snapshot) in enumerate(VENUES):
        rng = random.Random(seed)
        venue = built.restore(snapshot)
        for _ in range(300):
            answer = send(venue, rng.choice)
            answers[answer] = answers.get(answer, 0) + 1
    assert set(answers) >= {"not decoded", "accepted", "rejected"}, answers
    assert answers["accepted"] > 30


def test_time_beyond_64_bits_is_refused() -> None:
    """A journal can say it; the next funding would be beyond what a journal can write."""
    desk = Desk(index=(100,))
    before = desk.venue.state_hash()
    (rejected,) = desk.venue.apply(Tick(), INT64_MAX + 1).events
    assert isinstance(rejected, Rejected)
    assert rejected.reason == RejectReason.TIME_OUT_OF_RANGE
    assert desk.venue.state_hash() == before
    assert desk.tick()
