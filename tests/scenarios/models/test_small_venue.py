"""The small venue of the studies: what it raises, and a gap worked by hand."""

import pytest

from zerodebt.exchange.commands import Deposit, Withdraw
from zerodebt.exchange.events import HOUSE, StagePaid
from zerodebt.scenarios.models.small_venue import (
    START_TICKS,
    USD,
    PromiseBrokenError,
    SmallVenue,
    WitnessDisagreesError,
    contract,
    of,
    rulebook,
)


def desk(*waterfall: str) -> SmallVenue:
    return SmallVenue(rulebook(waterfall or ("book", "house")), (contract(leverage=10),))


def test_gap_beyond_the_margin_is_paid_by_the_house() -> None:
    """10 lots at 100 USD with 100 USD of margin: at 85 the loss is 150, and the house pays 50."""
    venue = desk()
    long, short, street = venue.open([100 * USD, 1000 * USD, 10_000 * USD])
    venue.endow(HOUSE, 1000 * USD)
    venue.load({long: 10, short: -10}, 10)
    venue.index(START_TICKS)
    venue.bid(street, [(8500, 10)])
    venue.index(8500)
    assert [paid.atoms for paid in of(venue.events, StagePaid)] == [(150 - 100) * USD]
    assert venue.equities([long, short]) == [0, (1000 + 150) * USD]
    venue.end()


def test_witness_that_missed_a_command_disagrees() -> None:
    venue = desk()
    (account,) = venue.open([USD])
    venue.venue.apply(Deposit(0, account, (USD,)), venue.time_ns)
    with pytest.raises(WitnessDisagreesError, match="holdings"):
        venue.end()


def test_debt_that_nobody_pays_stops_a_study_that_does_not_ask_for_it() -> None:
    """As above without the house's money: 50 USD are missing."""
    venue = desk()
    long, short, street = venue.open([100 * USD, 1000 * USD, 10_000 * USD])
    venue.load({long: 10, short: -10}, 10)
    venue.index(START_TICKS)
    venue.bid(street, [(8500, 10)])
    venue.index(8500)
    with pytest.raises(PromiseBrokenError, match="RESIDUAL"):
        venue.end()
    report = venue.end(may_break=True)
    assert venue.broke_promise(report)
    assert sum(report.residual_open_atoms.values()) == (150 - 100) * USD


def test_refused_command_stops_the_study() -> None:
    venue = desk()
    (account,) = venue.open([USD])
    with pytest.raises(AssertionError, match="refused"):
        venue.do(Withdraw(account, 0, 2 * USD))


def test_bids_below_the_smallest_price_are_left_out() -> None:
    venue = desk()
    (street,) = venue.open([1000 * USD])
    venue.index(START_TICKS)
    venue.bid(street, [(1, 2), (0, 2), (5, 0)])
    assert list(venue.view.depth(0, 1)) == [(1, 2)]
