"""Numbered episodes: all that is random in one follows from seed and number."""

import operator
from collections.abc import Sequence

import numpy as np


class Episodes:
    """Numbers the episodes of one environment and gives each its seed.

    Args:
        seed: int, sequence of ints, or ``np.random.SeedSequence``, of the environment.
    """

    def __init__(self, seed: int | Sequence[int] | np.random.SeedSequence):
        if not isinstance(seed, np.random.SeedSequence):
            seed = np.random.SeedSequence(seed)
        self._seed, self._count = seed, 0

    def begin(self, number: int | None = None) -> tuple[int, np.random.SeedSequence]:
        """The number and the seed of an episode that begins.

        Args:
            number: at least 0; None takes 0, 1, … in turn, whatever numbers are given between.

        Raises:
            ValueError: for a number below 0 or one that is not an integer.
        """
        if number is None:
            number, self._count = self._count, self._count + 1
        number = checked_number(number)
        key = (*self._seed.spawn_key, number)
        return number, np.random.SeedSequence(self._seed.entropy, spawn_key=key)


def checked_number(number: int) -> int:
    """The number of an episode as an int.

    Raises:
        ValueError: for a number below 0 or one that is not an integer.
    """
    try:
        whole = operator.index(number)
    except TypeError:
        whole = -1
    if whole < 0 or isinstance(number, bool):
        raise ValueError(f"episode number is {number!r}; it must be an integer of at least 0")
    return whole
