"""What evaluated episodes say: means, intervals, and paired differences between conditions."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from envs.base import LABELS

CONFIDENCE = 0.95
"""Of every interval."""


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The interval of the mean by Student's t distribution; none of fewer than two values."""
    count = len(values)
    if count < 2:
        return None
    quantile = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
    mean, half = float(np.mean(values)), quantile * float(np.std(values, ddof=1)) / math.sqrt(count)
    return mean - half, mean + half


class Difference(NamedTuple):
    """Mean of differences between paired returns, its interval, and the number of pairs."""

    mean: float
    interval: tuple[float, float] | None
    pairs: int


def paired_difference(
    control: Mapping[int, float], other: Mapping[int, float]
) -> Difference | None:
    """``other`` less ``control``, episode by episode; none where they share no episode.

    Args:
        control, other: return by number of the episode. Episodes of one number have the same start
            state and background, so that their difference varies less than either.
    """
    common = sorted(control.keys() & other.keys())
    if not common:
        return None
    differences = [other[number] - control[number] for number in common]
    return Difference(float(np.mean(differences)), mean_interval(differences), len(common))


@dataclasses.dataclass(frozen=True)
class Played:
    """One whole episode.

    Attributes:
        number: of the episode; with the evaluation's seed it decides all that is random.
        total: sum of rewards.
        length: agent steps.
        missing: share of sensor readings that did not arrive.
        info: last value of each number of ``TimeStep.info``.
        trust: in each sensor at each step, from 0 to 1, None where it did not deliver; empty of an
            agent without trust.
    """

    number: int
    total: float
    length: int
    missing: float
    info: Mapping[str, float]
    trust: Mapping[str, Sequence[float | None]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Result:
    """Episodes under one condition, in the order of their numbers."""

    episodes: tuple[Played, ...]

    @property
    def numbers(self) -> list[int]:
        """Number of each episode."""
        return [episode.number for episode in self.episodes]

    @property
    def returns(self) -> list[float]:
        """Sum of rewards of each episode."""
        return [episode.total for episode in self.episodes]

    @property
    def lengths(self) -> list[int]:
        """Agent steps of each episode."""
        return [episode.length for episode in self.episodes]

    @property
    def missing(self) -> list[float]:
        """Share of sensor readings that did not arrive, of each episode."""
        return [episode.missing for episode in self.episodes]

    @property
    def info(self) -> list[Mapping[str, float]]:
        """What each episode ended with."""
        return [episode.info for episode in self.episodes]

    @property
    def by_number(self) -> dict[int, float]:
        """Number of an episode -> its return."""
        return dict(zip(self.numbers, self.returns, strict=True))

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the return over episodes."""
        return float(np.std(self.returns))

    @property
    def interval(self) -> tuple[float, float] | None:
        """``mean_interval`` of the returns."""
        return mean_interval(self.returns)

    @property
    def last(self) -> dict[str, float]:
        """Mean over the episodes that have it of each number of ``info`` that is no label."""
        names = dict.fromkeys(name for info in self.info for name in info if name not in LABELS)
        return {n: float(np.mean([i[n] for i in self.info if n in i])) for n in names}

    @property
    def by_task(self) -> dict[str, dict[str, float]]:
        """``episodes`` and mean ``success`` of each of several tasks, by the number that ``info``
        gives it; empty where it does not."""
        tasks: dict[int, list[float]] = {}
        for info in self.info:
            if info.keys() >= {"task", "success"}:
                tasks.setdefault(int(info["task"]), []).append(info["success"])
        return {
            str(task): {"episodes": len(tasks[task]), "success": float(np.mean(tasks[task]))}
            for task in sorted(tasks)
        }

    @property
    def trust(self) -> list[Mapping[str, Sequence[float | None]]]:
        """Trust along each episode."""
        return [episode.trust for episode in self.episodes]

    def trusting(self, trust: Mapping[int, Mapping]) -> "Result":
        """The same with the trust along each episode, by its number."""
        rows = (dataclasses.replace(e, trust=trust[e.number]) for e in self.episodes)
        return Result(tuple(rows))

    def merged(self, newer: "Result") -> "Result":
        """The episodes of both; of one that both have, that of ``newer``."""
        episodes = {episode.number: episode for episode in (*self.episodes, *newer.episodes)}
        return Result(tuple(episodes[number] for number in sorted(episodes)))

    def to_dict(self) -> dict:
        """Plain numbers for JSON."""
        return {
            "episodes": len(self.episodes),
            "mean": self.mean,
            "std": self.std,
            "interval95": self.interval,
            "missing": float(np.mean(self.missing)),
            "numbers": self.numbers,
            "returns": self.returns,
            "successes": [info["success"] for info in self.info if "success" in info],
            "by_task": self.by_task,
            "last": self.last,
            "lengths": self.lengths,
            "missing_of_each": self.missing,
            "info_of_each": self.info,
            **({"trust_of_each": self.trust} if any(self.trust) else {}),
        }

    @classmethod
    def from_dict(cls, content: Mapping) -> "Result":
        """The inverse of ``to_dict``.

        Raises:
            KeyError: the file says nothing of single episodes.
            TypeError, ValueError: it is damaged.
        """
        names = ("numbers", "returns", "lengths", "missing_of_each", "info_of_each")
        columns = [content[name] for name in names]
        columns.append(content.get("trust_of_each", [{}] * len(columns[0])))
        kinds = (int, float, int, float, dict, dict)
        rows = zip(*columns, strict=True)
        return cls(
            tuple(Played(*(kind(x) for kind, x in zip(kinds, row, strict=True))) for row in rows)
        )
