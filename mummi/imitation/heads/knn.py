"""Nearest neighbours in the latent space: locally weighted regression, and following."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int

from mummi.imitation.heads.head import Percept, Report, Sizes, Trajectory, no_report
from mummi.imitation.retrieval.distance import (
    Blocks,
    fit_zscore,
    make_blocks,
    paired,
    pairwise,
    zscore,
)
from mummi.imitation.settings import only

FLOOR = 0.1
"""Least standard deviation of a dimension, as a share of its block's."""


@dataclasses.dataclass(frozen=True)
class KNNConfig:
    """Nearest neighbours.

    The distance is the modality-fair one of retrieval (RL4IL, eq. 13): the latent state and what
    each available sensor says count alike, whatever their sizes.

    Attributes:
        mode: weighted (VINN: the mean of the neighbours' actions under a softmax of their negative
            distances) or follow (VPT search: the actions of the nearest demonstration from the
            nearest step on, until the robot diverges from it).
        neighbours: k of weighted; of a step that was shown several times, with other sensors
            failing, the nearest copy alone is one.
        temperature: the distances of weighted are divided by it, in median distances between
            successive steps of a demonstration.
        divergence: follow searches again when the distance to the followed step exceeds this many
            times the distance at which it was found, or the median distance between successive
            steps of a demonstration where that is larger.
        follow_steps: follow searches again after this many steps in any case.
    """

    mode: Literal["weighted", "follow"] = "weighted"
    neighbours: int = only("mode", "weighted", default=16)
    temperature: float = only("mode", "weighted", default=0.1)
    divergence: float = only("mode", "follow", default=2.0)
    follow_steps: int = only("mode", "follow", default=64)

    def __post_init__(self):
        for name in ("neighbours", "temperature", "divergence", "follow_steps"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} {getattr(self, name)} must be positive")


class Following(NamedTuple):
    """What each robot follows.

    Attributes:
        step: position of the next demonstrated step in the library, int [B]; -1 past an end.
        age: steps since the search, int [B].
        bound: distance to that step from which on there is a search, [B].
    """

    step: np.ndarray
    age: np.ndarray
    bound: np.ndarray


class NearestNeighbours:
    """Head ``knn``; a ``Head``."""

    def __init__(self, config: KNNConfig, sizes: Sizes):
        self.config = config
        self._names = tuple(sizes.embeddings)
        self._dims = (sizes.feature, *sizes.embeddings.values())

    def fit(
        self,
        trajectories: Sequence[Trajectory],
        seed: int,
        report: Report = no_report,
        held_out: Sequence[Trajectory] = (),
    ) -> None:
        """Keeps every step of the demonstrations."""
        rows, available = (
            np.concatenate(part)
            for part in zip(*(self._sensed(t.percept) for t in trajectories), strict=True)
        )
        mean, std = fit_zscore(rows, available, self._dims, FLOOR)
        last = [np.arange(len(t.action)) == len(t.action) - 1 for t in trajectories]
        arrays = {
            "mean": mean,
            "std": std,
            "action": np.concatenate([t.action for t in trajectories]),
            "step": identities(trajectories),
            "last": np.concatenate(last),
            "row": zscore(rows, available, self._dims, mean, std),
            "available": available,
        }
        self.restore(arrays)
        following = np.flatnonzero(~arrays["last"])
        steps = self._library.take(following), self._library.take(following + 1)
        moved = paired(*steps, self._dims)
        self._arrays["spacing"] = np.array(np.median(moved) if len(moved) else 0.0)

    def reset(self, batch: int) -> Following:
        """Nothing is followed before the first step."""
        return Following(step=np.full(batch, -1), age=np.zeros(batch, int), bound=np.zeros(batch))

    def act(self, carry: Following, percept: Percept, is_first, key: Array):
        """Actions [B, A] of the neighbours, or of the step that is followed."""
        rows, available = self._sensed(percept)
        scale = self._arrays["mean"], self._arrays["std"]
        query = self._blocks(zscore(rows, available, self._dims, *scale), available)
        if self.config.mode == "weighted":
            return self._weighted(query), carry
        carry = self._search(carry, query, np.asarray(is_first))
        action = self._arrays["action"][carry.step]
        following = np.where(self._arrays["last"][carry.step], -1, carry.step + 1)
        return action, carry._replace(step=following, age=carry.age + 1)

    def arrays(self) -> dict[str, np.ndarray]:
        """The library and its scale."""
        return self._arrays

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what ``arrays`` gave."""
        self._arrays = dict(arrays)
        self._library = self._blocks(arrays["row"], arrays["available"])
        _, count = np.unique(arrays["step"], return_counts=True)
        self._distinct, self._copies = len(count), count.max()

    def _sensed(self, percept: Percept) -> tuple[np.ndarray, np.ndarray]:
        """Latent states and embeddings side by side [N, D], and what is available [N, M]."""
        rows = [percept.feature, *(percept.embeddings[name] for name in self._names)]
        masks = [percept.available[name] for name in self._names]
        latent = np.ones(len(rows[0]), bool)
        return np.concatenate(rows, 1), np.stack([latent, *masks], 1)

    def _blocks(self, rows, available) -> Blocks:
        return make_blocks(rows, available, self._dims, np.float32)

    def _nearest(
        self, query: Blocks, k: int
    ) -> tuple[Int[np.ndarray, "B k"], Float[np.ndarray, "B k"]]:
        """The k nearest steps of each query, no two of them copies, and how far they are."""
        k = min(k, self._distinct)
        many = min(k * self._copies, len(self._arrays["row"]))
        near = np.argpartition(pairwise(query, self._library), many - 1, axis=1)[:, :many]
        found = np.zeros((len(near), k), int), np.zeros((len(near), k))
        for b, rows in enumerate(near):
            distance = self._away(query.take([b]), rows)
            order = np.argsort(distance, kind="stable")
            _, first = np.unique(self._arrays["step"][rows[order]], return_index=True)
            chosen = order[np.sort(first)[:k]]
            found[0][b], found[1][b] = rows[chosen], distance[chosen]
        return found

    def _away(self, query: Blocks, steps: Int[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
        """Distance of each query, or of the one, to a step of the library."""
        if len(query.scaled) != len(steps):
            query = query.take(np.zeros(len(steps), int))
        return paired(query, self._library.take(steps), self._dims)

    def _weighted(self, query: Blocks) -> Float[np.ndarray, "B A"]:
        near, distance = self._nearest(query, self.config.neighbours)
        unit = self.config.temperature * (self._arrays["spacing"].item() or 1.0)
        weight = scipy.special.softmax(-distance / unit, axis=1)
        return np.einsum("bk,bka->ba", weight, self._arrays["action"][near]).astype(np.float32)

    def _search(self, carry: Following, query: Blocks, is_first) -> Following:
        """Those robots that follow nothing, for too long, or too far away, find a new step."""
        away = self._away(query, carry.step)
        lost = is_first | (carry.step < 0) | (carry.age >= self.config.follow_steps)
        lost |= away > carry.bound
        if not lost.any():
            return carry
        step, age, bound = (np.array(x) for x in carry)
        near, distance = self._nearest(query.take(lost), 1)
        step[lost], age[lost] = near[:, 0], 0
        nearest = np.maximum(distance[:, 0], self._arrays["spacing"])
        bound[lost] = self.config.divergence * nearest
        return Following(step=step, age=age, bound=bound)


def identities(trajectories: Sequence[Trajectory]) -> Int[np.ndarray, " N"]:
    """A number for each step of all of them, which copies of a demonstration share."""
    starts: dict[bytes, int] = {}
    numbers, free = [], 0
    for t in trajectories:
        start = starts.setdefault(t.action.tobytes(), free)
        numbers.append(start + np.arange(len(t.action)))
        free = max(free, start + len(t.action))
    return np.concatenate(numbers)
