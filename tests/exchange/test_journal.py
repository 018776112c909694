"""Frames of commands and events: round trips and damage."""

import pytest

from tests.venues import ASSETS, Desk, rulebook
from zerodebt.exchange import journal
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder, Trigger
from zerodebt.exchange.venue import Venue


@pytest.fixture
def desk() -> Desk:
    desk = Desk(rulebook("book", "adl"), index=(100,))
    a, b = desk.open(60, 10_000)
    desk.trade(a, b, 10, 100)
    desk.ok(PlaceOrder(a, 0, SELL, 5, trigger=Trigger("stop", "mark", 97), reduce_only=True))
    desk.do(PlaceOrder(a, 0, BUY, -1, 100))
    desk.order(b, BUY, 5, 96)
    desk.index(97)
    desk.index(90)
    return desk


def commands_file(desk: Desk) -> bytes:
    return journal.JOURNAL_HEADER + b"".join(map(journal.encode, desk.journal))


def events_file(desk: Desk) -> bytes:
    return journal.EVENTS_HEADER + b"".join(map(journal.encode, desk.batches))


def test_commands_and_events_come_back_as_they_were(desk: Desk) -> None:
    assert list(journal.commands(commands_file(desk))) == desk.journal
    assert list(journal.batches(events_file(desk))) == desk.batches


@pytest.mark.spec("LEDG-04", "DET-01")
def test_replay_ends_in_the_same_state_by_the_same_events(desk: Desk) -> None:
    twin = Venue(desk.rules, ASSETS, desk.instruments)
    batches = list(journal.replay(twin, journal.commands(commands_file(desk))))
    assert batches == desk.batches[1:]
    assert b"".join(map(journal.encode, batches)) == b"".join(map(journal.encode, desk.batches[1:]))
    assert twin.state_hash() == desk.venue.state_hash()


def test_replay_passes_over_what_the_venue_has_seen(desk: Desk) -> None:
    assert list(journal.replay(desk.venue, desk.journal)) == []


@pytest.mark.parametrize("at", [0, 3])
def test_changed_byte_is_found_at_its_frame(desk: Desk, at: int) -> None:
    frames = [journal.encode(stamped) for stamped in desk.journal]
    frames[at] = frames[at][:-1] + bytes([frames[at][-1] ^ 1])
    read = []
    with pytest.raises(journal.DamagedError, match=f"checksum .*; whole up to entry {at}$") as error:
        read += [each.seq for each in journal.commands(journal.JOURNAL_HEADER + b"".join(frames))]
    assert error.value.whole == at
    assert error.value.good_bytes == 8 + sum(map(len, frames[:at]))


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_file_that_breaks_off_says_up_to_where_it_is_whole(desk: Desk, cut: int) -> None:
    data = commands_file(desk)
    seen = []
    with pytest.raises(journal.DamagedError, match="breaks off"):  # noqa: PT012
        for stamped in journal.commands(data[:-cut]):
            seen.append(stamped)  # noqa: PERF402
    assert seen == desk.journal[:-1]


def test_whole_entries_before_the_damage_can_be_used(desk: Desk) -> None:
    data = commands_file(desk)
    with pytest.raises(journal.DamagedError) as error:
        list(journal.commands(data[:-3]))
    good = data[: error.value.good_bytes]
    assert list(journal.commands(good)) == desk.journal[: error.value.whole]


def test_other_file_is_refused_by_its_header(desk: Desk) -> None:
    with pytest.raises(journal.DamagedError, match="starts with"):
        list(journal.commands(events_file(desk)))
    with pytest.raises(journal.DamagedError, match="starts with b''"):
        list(journal.batches(b""))


def test_frame_with_another_content_is_no_command(desk: Desk) -> None:
    data = journal.JOURNAL_HEADER + journal.encode(desk.journal[0]) + journal.encode(desk.batches[1])
    with pytest.raises(journal.DamagedError, match=r"is not a command.*whole up to entry 1"):
        list(journal.commands(data))
