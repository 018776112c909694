"""The averages of both witnesses, over as many samples as a day brings."""

import random

import pytest

from zerodebt.exchange.audit import arithmetic
from zerodebt.exchange.marks import Average
from zerodebt.exchange.units import SECOND_NS


@pytest.mark.spec("MARK-05")
@pytest.mark.parametrize("around_ticks", [-1_800_000, 3, 1_800_000])
def test_both_witnesses_read_the_same_average_over_a_long_day(around_ticks: int) -> None:
    """Each rounding of the past is far below a tick: a thousandth would show within these samples."""
    tau_ns, now_ns = 150 * SECOND_NS, 0
    ours, theirs = Average(), arithmetic.Average(tau_ns)
    draw = random.Random(around_ticks)
    for _ in range(20_000):
        now_ns += draw.choice([1, 7 * SECOND_NS // 10, SECOND_NS, 5 * SECOND_NS])
        ticks = around_ticks + draw.randrange(-50, 51)
        ours.add(ticks, now_ns, tau_ns)
        theirs.add(ticks, now_ns)
        assert theirs.agrees(ours.value()), (ours, theirs.floor())
