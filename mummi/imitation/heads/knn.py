"""Nearest neighbours in the latent space: locally weighted regression, and following."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Array, Float

from mummi.imitation.heads.head import Percept, Report, Sizes, Trajectory, no_report


@dataclasses.dataclass(frozen=True)
class KNNConfig:
    """Nearest neighbours.

    Distances are Euclidean, between latent states whose every dimension is standardised.

    Attributes:
        mode: weighted (VINN: the mean of the neighbours' actions under a softmax of their negative
            distances) or follow (VPT search: the actions of the nearest demonstration from the
            nearest step on, until the robot diverges from it).
        neighbours: k of weighted.
        temperature: the distances of weighted are divided by it.
        divergence: follow searches again when the distance to the followed step exceeds this many
            times the distance at which it was found, or the median distance between successive
            steps of a demonstration where that is larger.
        follow_steps: follow searches again after this many steps in any case.
    """

    mode: Literal["weighted", "follow"] = "weighted"
    neighbours: int = 16
    temperature: float = 1.0
    divergence: float = 2.0
    follow_steps: int = 64

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

    def fit(
        self,
        trajectories: Sequence[Trajectory],
        seed: int,
        report: Report = no_report,
        held_out: Sequence[Trajectory] = (),
    ) -> None:
        """Keeps every step of the demonstrations."""
        features = np.concatenate([t.percept.feature for t in trajectories]).astype(np.float64)
        std = features.std(0)
        last = np.concatenate([np.arange(len(t.action)) == len(t.action) - 1 for t in trajectories])
        arrays = {
            "mean": features.mean(0),
            "std": np.where(std < 1e-6, 1.0, std),
            "action": np.concatenate([t.action for t in trajectories]),
            "last": last,
        }
        feature = standardised(features, arrays)
        moved = np.linalg.norm(np.diff(feature, axis=0), axis=1)[~last[:-1]]
        spacing = np.array(np.median(moved) if len(moved) else 0.0)
        self.restore(arrays | {"feature": feature, "spacing": spacing})

    def reset(self, batch: int) -> Following:
        """Nothing is followed before the first step."""
        return Following(step=np.full(batch, -1), age=np.zeros(batch, int), bound=np.zeros(batch))

    def act(self, carry: Following, percept: Percept, is_first, key: Array):
        """Actions [B, A] of the neighbours, or of the step that is followed."""
        query = standardised(np.asarray(percept.feature), self._arrays)
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
        self._arrays = {**arrays, "feature": arrays["feature"].astype(np.float32)}
        self._squared = np.square(self._arrays["feature"]).sum(1)

    def _nearest(self, query: Float[np.ndarray, "B F"], k: int):
        """The k nearest steps of each query and how far they are, both [B, k].

        They are found by |f|^2 - 2 q.f, one matrix product over the library.
        """
        feature = self._arrays["feature"]
        k = min(k, len(feature))
        near = np.argpartition(self._squared - 2 * query @ feature.T, k - 1, axis=1)[:, :k]
        return near, np.linalg.norm(query[:, None] - feature[near], axis=-1)

    def _weighted(self, query):
        near, distance = self._nearest(query, self.config.neighbours)
        weight = scipy.special.softmax(-distance / self.config.temperature, axis=1)
        return np.einsum("bk,bka->ba", weight, self._arrays["action"][near]).astype(np.float32)

    def _search(self, carry: Following, query, is_first) -> Following:
        """Those robots that follow nothing, for too long, or too far away, find a new step."""
        feature = self._arrays["feature"]
        away = np.linalg.norm(query - feature[carry.step], axis=1)
        lost = is_first | (carry.step < 0) | (carry.age >= self.config.follow_steps)
        lost |= away > carry.bound
        if not lost.any():
            return carry
        step, age, bound = (np.array(x) for x in carry)
        near, distance = self._nearest(query[lost], 1)
        step[lost], age[lost] = near[:, 0], 0
        nearest = np.maximum(distance[:, 0], self._arrays["spacing"])
        bound[lost] = self.config.divergence * nearest
        return Following(step=step, age=age, bound=bound)


def standardised(
    feature: Float[np.ndarray, "N F"], scale: Mapping[str, np.ndarray]
) -> Float[np.ndarray, "N F"]:
    """Features, float32, less ``scale["mean"]`` over ``scale["std"]``."""
    return ((feature - scale["mean"]) / scale["std"]).astype(np.float32)
