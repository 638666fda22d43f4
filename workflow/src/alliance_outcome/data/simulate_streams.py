"""Named streams of random numbers, so that one more random step leaves all others as they were."""

from __future__ import annotations

import hashlib

import numpy as np


class NamedStreams:
    """Independent generators that depend on the seed and on their own name, not on the order of the calls.

    Parameters
    ----------
    seed : int or numpy.random.Generator
        Root of all streams. A generator is advanced once, so a second study drawn with it is a different one.
    """

    def __init__(self, seed: int | np.random.Generator) -> None:
        root = np.random.default_rng(seed)
        self._entropy = [int(word) for word in root.integers(0, 2**32, size=4)]

    def stream(self, name: str) -> np.random.Generator:
        """Return the generator of a name, at its beginning.

        Parameters
        ----------
        name : str
            Name of the random step.

        Returns
        -------
        numpy.random.Generator
            The same numbers for the same seed and name.
        """
        digest = hashlib.sha256(name.encode()).digest()
        key = tuple(int.from_bytes(digest[start : start + 4], "little") for start in range(0, 16, 4))
        return np.random.default_rng(np.random.SeedSequence(self._entropy, spawn_key=key))
