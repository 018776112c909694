"""Random streams by name: one more population, or one more agent, shifts no other stream."""

from hashlib import blake2b

import numpy as np


def rng(seed: int, population: str, agent: int | None = None) -> np.random.Generator:
    """The stream of a population, or of one of its agents (numbered from 0).

    The key is a hash of the name that does not depend on the process, so that neither the order of the
    populations nor PYTHONHASHSEED matters.
    """
    digest = blake2b(population.encode(), digest_size=16).digest()
    words = [int.from_bytes(digest[n : n + 4], "little") for n in range(0, 16, 4)]
    if agent is not None:
        words.append(agent + 1)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=words)))
