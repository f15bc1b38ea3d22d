"""The control of every retrieval: a demonstration drawn at random, played from its start.

Where the task tells the robot something, as an instruction, it is one that was told the same.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import scipy.spatial
from jaxtyping import Array, Float, Int

from mummi.imitation.heads.head import Percept, Report, Sizes, Trajectory, no_report
from mummi.imitation.retrieval.labels import padded
from mummi.modality import Modality


@dataclasses.dataclass(frozen=True)
class ReplayConfig:
    """Open-loop replay of a random demonstration; it reads no sensor and has no settings.

    Of a task with an instruction it is a demonstration of the same instruction.
    """


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
        self.padded = np.pad(padded(actions), ((0, 0), (0, 1), (0, 0)))

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


class Told:
    """What a task tells its robot, who need not look: the modalities that cannot fail.

    Args:
        modalities: the sensors.

    Attributes:
        names: those that cannot fail.
    """

    def __init__(self, modalities: Sequence[Modality]):
        self.names = tuple(m.name for m in modalities if not m.can_fail)

    def __call__(self, percept: Percept) -> Float[np.ndarray, "B D"]:
        """What each step is told, zeros where missing; D = 0 where everything can fail."""
        rows = [np.zeros((len(percept.feature), 0))]
        for name in self.names:
            value = np.asarray(percept.values[name], np.float64).reshape(len(rows[0]), -1)
            rows.append(np.where(np.asarray(percept.available[name])[:, None], value, 0.0))
        return np.concatenate(rows, 1)


def draw(
    told: Float[np.ndarray, "B D"], library: Float[np.ndarray, "N D"], key: Array
) -> Int[np.ndarray, " B"]:
    """A demonstration for each robot, all that were told the same, or nearest, being as likely."""
    distance = scipy.spatial.distance.cdist(told, library)
    same = np.isclose(distance, distance.min(1, keepdims=True), atol=1e-5)
    luck = np.asarray(jax.random.uniform(key, same.shape))
    return np.where(same, luck, -1.0).argmax(1)


class RandomReplay:
    """Head ``replay``; a ``Head``.

    It draws among the demonstrations whose modalities that cannot fail began as the robot's do,
    or nearest to that.
    """

    def __init__(self, config: ReplayConfig, sizes: Sizes):
        self.config = config
        self._tell = Told(sizes.modalities)

    def fit(
        self,
        trajectories: Sequence[Trajectory],
        seed: int,
        report: Report = no_report,
        held_out: Sequence[Trajectory] = (),
    ) -> None:
        """Keeps what was done in the demonstrations, and what was told."""
        self._recordings = Recordings([t.recording for t in trajectories])
        self._told = np.stack([self._tell(t.percept)[0] for t in trajectories])

    def reset(self, batch: int) -> Playing:
        """Nothing is drawn before the first step."""
        return Playing(index=np.zeros(batch, int), step=np.zeros(batch, int))

    def act(self, carry: Playing, percept: Percept, is_first, key: Array):
        """The next action [B, A] of each robot's demonstration; zeros past its end."""
        if is_first.any():
            drawn = draw(self._tell(percept), self._told, key)
            carry = Playing(
                index=np.where(is_first, drawn, carry.index),
                step=np.where(is_first, 0, carry.step),
            )
        return self._recordings.play(carry), carry._replace(step=carry.step + 1)

    def arrays(self) -> dict[str, np.ndarray]:
        """The demonstrations' actions, and what was told."""
        return {"told": self._told, **self._recordings.arrays()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what ``arrays`` gave."""
        self._recordings, self._told = Recordings.of(arrays), arrays["told"]
