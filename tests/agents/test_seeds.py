"""Streams by name."""

import numpy as np

from zerodebt.agents.seeds import rng


def test_stream_depends_on_seed_name_and_agent_alone() -> None:
    again = [rng(7, "retail").random(4).tolist() for _ in range(2)]
    assert again[0] == again[1]
    keys = [(7, "retail", None), (8, "retail", None), (7, "retai", None), (7, "retail", 0), (7, "retail", 1)]
    firsts = {rng(*key).random() for key in keys}
    assert len(firsts) == len(keys)


def test_stream_is_the_same_in_every_process_and_version() -> None:
    # Written down once: a change here changes every run of every scenario.
    assert rng(0, "makers").integers(0, 1000, 5).tolist() == EXPECTED


def test_drawing_from_one_stream_moves_no_other() -> None:
    before = rng(1, "b").random(3)
    rng(1, "a").random(1000)
    assert np.array_equal(before, rng(1, "b").random(3))


EXPECTED = [579, 808, 671, 113, 289]
