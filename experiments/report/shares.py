"""Intervals of a share of successes that know how much training seeds differ."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import scipy.stats


class Count(NamedTuple):
    """Episodes of one task by the training of one seed.

    Attributes:
        succeeded: those that succeeded.
        episodes: all of them.
    """

    succeeded: int
    episodes: int


Counts = Mapping[tuple[int, str], Count]
"""Seed of the training and task -> its episodes."""


def total(counts: Counts) -> int:
    """All episodes."""
    return sum(count.episodes for count in counts.values())


def share(counts: Counts) -> float:
    """Of all episodes those that succeeded."""
    return sum(count.succeeded for count in counts.values()) / total(counts)


def wilson(mean: float, episodes: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of so many independent episodes, as shares."""
    z = scipy.stats.norm.ppf(0.975)
    spread = z * np.sqrt(mean * (1 - mean) / episodes + z**2 / (4 * episodes**2))
    low, high = (mean + z**2 / (2 * episodes) + s * spread for s in (-1, 1))
    low, high = np.clip(np.array((low, high)) / (1 + z**2 / episodes), 0, 1)
    return float(low), float(high)


def design_effect(counts: Counts) -> float:
    """How many times the variance of the share is that of independent episodes, at least 1.

    Tasks are those that there are, and seeds are a sample: the variance is that of the mean over
    seeds, from what each seed's share is in all, or from what it is task by task, whichever is
    more; the first knows what a seed does in all tasks, the second, of more numbers, that a
    training fails in whole tasks. Of one seed nothing is known, and the effect is 1.
    """
    mean, episodes = share(counts), total(counts)
    if mean in (0, 1):
        return 1.0
    alone = mean * (1 - mean) / episodes
    tasks = [
        {key: count for key, count in counts.items() if key[1] == task}
        for task in {task for _, task in counts}
    ]
    by_task = sum((total(task) / episodes) ** 2 * _variance(task) for task in tasks)
    return max(1.0, _variance(counts) / alone, by_task / alone)


def _variance(counts: Counts) -> float:
    """Of the mean over seeds of each seed's share; 0 of one seed."""
    seeds = {seed for seed, _ in counts}
    if len(seeds) < 2:
        return 0.0
    shares = [
        share({key: count for key, count in counts.items() if key[0] == seed}) for seed in seeds
    ]
    return float(np.var(shares, ddof=1)) / len(shares)


def interval(counts: Counts) -> tuple[float, float]:
    """Wilson's 95 % interval with the episodes divided by the design effect (Kish 1965)."""
    return wilson(share(counts), total(counts) / design_effect(counts))
