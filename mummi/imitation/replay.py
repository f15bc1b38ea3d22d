"""The control of every retrieval: a demonstration drawn at random, played from its start."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from mummi.imitation.heads import Percept, Report, Sizes, Trajectory, no_report


@dataclasses.dataclass(frozen=True)
class ReplayConfig:
    """Open-loop replay of a random demonstration; it reads no sensor and has no settings."""


class Playing(NamedTuple):
    """Which recording each robot plays, and from which step on; both int [B]."""

    index: np.ndarray
    step: np.ndarray


class Recordings:
    """The actions of demonstrations, to be played.

    Args:
        actions: of each demonstration, float32 [T_i, A].
    """

    def __init__(self, actions: Sequence[np.ndarray]):
        self.length = np.array([len(a) for a in actions])
        # One row of zeros more than the longest: what is played past an end.
        self.padded = np.zeros((len(actions), self.length.max() + 1, actions[0].shape[1]), "f4")
        for row, action in zip(self.padded, actions, strict=True):
            row[: len(action)] = action

    def play(self, playing: Playing) -> np.ndarray:
        """The action [B, A] of each robot; zeros past the end of its recording."""
        return self.padded[playing.index, np.minimum(playing.step, self.padded.shape[1] - 1)]

    def arrays(self) -> dict[str, np.ndarray]:
        """Actions and lengths."""
        return {"actions": self.padded, "length": self.length}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Recordings":
        """The recordings that ``arrays`` describes."""
        pairs = zip(arrays["actions"], arrays["length"], strict=True)
        return cls([action[:length] for action, length in pairs])


class RandomReplay:
    """Head ``replay``; a ``Head``."""

    def __init__(self, config: ReplayConfig, sizes: Sizes):
        self.config = config

    def fit(
        self, trajectories: Sequence[Trajectory], seed: int, report: Report = no_report
    ) -> None:
        """Keeps the demonstrations' actions."""
        self._recordings = Recordings([t.action for t in trajectories])

    def reset(self, batch: int) -> Playing:
        """Nothing is drawn before the first step."""
        return Playing(np.zeros(batch, int), np.zeros(batch, int))

    def act(self, carry: Playing, percept: Percept, is_first, key: Array):
        """The next action [B, A] of each robot's demonstration; zeros past its end."""
        number = len(self._recordings.length)
        drawn = np.asarray(jax.random.randint(key, is_first.shape, 0, number))
        carry = Playing(np.where(is_first, drawn, carry.index), np.where(is_first, 0, carry.step))
        return self._recordings.play(carry), carry._replace(step=carry.step + 1)

    def arrays(self) -> dict[str, np.ndarray]:
        """The demonstrations' actions."""
        return self._recordings.arrays()

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what ``arrays`` gave."""
        self._recordings = Recordings.of(arrays)
