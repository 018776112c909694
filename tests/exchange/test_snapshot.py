"""A snapshot at any point and the rest of the journal are the straight run."""

import random
from collections.abc import Callable

import pytest

from tests.venues import ASSETS, USD, Desk, future, perpetual, rulebook
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    CancelAll,
    Deposit,
    MassQuote,
    PlaceOrder,
    SetBackstop,
    SetLeverage,
    Side,
    Tick,
    Trigger,
)
from zerodebt.exchange.events import HOUSE, INSURANCE, OrderAccepted
from zerodebt.exchange.state import SnapshotError
from zerodebt.exchange.units import SECOND_NS
from zerodebt.exchange.venue import Venue


def busy_day(seed: int) -> Desk:
    """Two contracts, a vault, a fund, and forty steps of trading while prices walk."""
    rng = random.Random(seed)
    rules = rulebook(
        "book",
        "backstop",
        "insurance",
        "adl",
        "socialise",
        "house",
        fees={"maker_ppb": 150_000, "taker_ppb": 450_000},
        mark={"formula": "median"},
    )
    desk = Desk(rules, (perpetual(), future("WTI")), index=(100, 50))
    (vault,) = desk.open(300, role="vault")
    desk.ok(SetBackstop(vault, (0, 1)))
    desk.ok(Deposit(0, INSURANCE, (20 * USD,)))
    desk.ok(Deposit(0, HOUSE, (10**6 * USD,)))
    makers = desk.open(10**6, 10**6)
    traders = desk.open(*(rng.choice([60, 150, 400, 2000]) for _ in range(8)))
    for trader in traders[:3]:
        desk.ok(SetLeverage(trader, 0, 20, "isolated"))
    prices = [100, 50]
    for _ in range(40):
        for maker in makers:
            n = rng.randrange(2)
            p = prices[n]
            desk.do(MassQuote(maker, n, ((p - 1, 20), (p - 3, 20)), ((p + 1, 20), (p + 3, 20))))
        for trader in rng.sample(traders, 4):
            n = rng.randrange(2)
            side: Side = rng.choice([BUY, SELL])
            kind = rng.randrange(3)
            if kind == 0:
                desk.do(PlaceOrder(trader, n, side, rng.choice([1, 5, 20]), tif="ioc"))
            elif kind == 1:
                desk.do(PlaceOrder(trader, n, side, 5, prices[n] - side * 2, reduce_only=rng.random() < 0.3))
            else:
                trigger = Trigger("stop", rng.choice(["mark", "last"]), prices[n] + side * 3)
                desk.do(PlaceOrder(trader, n, side, 5, trigger=trigger, reduce_only=True))
        if rng.random() < 0.2:
            desk.do(CancelAll(rng.choice(traders)))
        jump = rng.choice([1, 2, 8])
        prices = [max(5, p + rng.randint(-jump, jump)) for p in prices]
        desk.index(*prices, later_ns=rng.choice([1, 15, 40, 1800]) * SECOND_NS)
    return desk


@pytest.mark.spec("DET-02", kind="S")
@pytest.mark.parametrize("seed", range(6))
def test_snapshot_at_a_random_point_and_the_rest_are_the_straight_run(seed: int) -> None:
    desk = busy_day(seed)
    rng = random.Random(seed + 1000)
    for point in sorted(rng.sample(range(1, len(desk.journal)), 5)):
        venue = Venue(desk.rules, ASSETS, desk.instruments)
        for stamped in desk.journal[:point]:
            venue.apply(stamped.command, stamped.time_ns)
        twin = Venue.restore(desk.rules, ASSETS, desk.instruments, venue.snapshot())
        assert twin.state_hash() == venue.state_hash()
        assert twin.seq == point
        twin.check()
        for stamped, expected in zip(desk.journal[point:], desk.batches[point + 1 :], strict=True):
            assert twin.apply(stamped.command, stamped.time_ns) == expected
        assert twin.state_hash() == desk.venue.state_hash()


def test_snapshot_of_a_new_venue_is_a_new_venue() -> None:
    desk = Desk()
    twin = desk.restored()
    assert twin.state_hash() == desk.venue.state_hash()
    assert twin.seq == 0


def test_hash_sees_every_kind_of_change() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(1000, 10_000)
    hashes = [desk.venue.state_hash()]
    desk.order(a, BUY, 1, 90)
    hashes.append(desk.venue.state_hash())
    desk.ok(PlaceOrder(a, 0, BUY, 1, trigger=Trigger("stop", "mark", 120)))
    hashes.append(desk.venue.state_hash())
    desk.trade(a, b, 1, 95)
    hashes.append(desk.venue.state_hash())
    desk.ok(SetLeverage(a, 0, 5))
    hashes.append(desk.venue.state_hash())
    desk.index(101)
    hashes.append(desk.venue.state_hash())
    assert len(set(hashes)) == len(hashes)


def cooling(cooldown_ns: int) -> tuple[Desk, int, int]:
    """Of 160 lots worth more than 100,000 USD a fifth was sent to the book and one was sold; and a bidder.

    The account bought at 1000 with 8000; at 970 it has lost 4800 and needs 155,200 / 40 = 3880.
    """
    chunks = {"chunk_threshold_atoms": 100_000 * USD, "chunk_ppb": 200_000_000, "cooldown_ns": cooldown_ns}
    desk = Desk(rulebook("book", "adl", liquidation=chunks), index=(1000,))
    a, b, bidder = desk.open(8000, 10**7, 10**7)
    desk.trade(a, b, 160, 1000)
    desk.order(bidder, BUY, 1, 970)
    desk.index(970)
    assert desk.lots(a) == 160 - 1
    return desk, a, bidder


@pytest.mark.spec("DET-02")
def test_running_cooldown_is_in_the_hash_and_survives_a_restore() -> None:
    """The rest of 159 goes whole while it runs; a venue that forgot it would send 159 / 5 = 31."""
    desk, a, bidder = cooling(30 * SECOND_NS)
    shorter, _, _ = cooling(29 * SECOND_NS)
    assert desk.venue.state_hash() != shorter.venue.state_hash(), "they differ in nothing but the cooldown"
    twin = desk.restored()
    later_ns = desk.time_ns + 10 * SECOND_NS
    twin.apply(PlaceOrder(bidder, 0, BUY, 2, 970), later_ns)
    events = twin.apply(Tick(), later_ns).events
    sent = [(e.account, e.size_lots) for e in events if isinstance(e, OrderAccepted) and e.forced]
    assert sent == [(a, 160 - 1)]


@pytest.mark.parametrize(
    "damaged",
    [
        lambda good: b"",
        lambda good: good[:-1],
        lambda good: good + b"\x00",
        lambda good: bytes([good[0] ^ 1]) + good[1:],
        lambda good: good[:100] + bytes([good[100] ^ 1]) + good[101:],
    ],
    ids=["empty", "shorter", "longer", "digest", "flipped"],
)
def test_damaged_snapshot_is_refused(damaged: Callable[[bytes], bytes]) -> None:
    desk = Desk(index=(100,))
    with pytest.raises(SnapshotError, match="digest differs"):
        Venue.restore(desk.rules, ASSETS, desk.instruments, damaged(desk.venue.snapshot()))


def test_snapshot_of_another_venue_is_refused() -> None:
    desk = Desk(index=(100,))
    with pytest.raises(SnapshotError, match="these assets and instruments"):
        Venue.restore(desk.rules, ASSETS, (perpetual("ETH"),), desk.venue.snapshot())


def test_snapshot_under_a_rulebook_with_other_tables_is_refused() -> None:
    desk = Desk(index=(100,))
    hedged = rulebook(margin={"hedge_mode": True})
    with pytest.raises(SnapshotError, match="as this rulebook has"):
        Venue.restore(hedged, ASSETS, desk.instruments, desk.venue.snapshot())
