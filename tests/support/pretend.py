"""Environments of a few lines with what training asks of some, and nothing else."""

import types

import numpy as np

from mummi.modality import Modality

SENSORS = (
    Modality("image", "image", (8, 8, 3)),
    Modality("depth", "depth", (8, 8, 1)),
    Modality("joints", "vector", (2,)),
    Modality("words", "embedding", (3,)),
)
FLOATS = tuple(m.name for m in SENSORS if m.dtype == np.float32)
ACTION_SIZE = 2


def values(seed: int = 0) -> dict[str, np.ndarray]:
    """One value of each sensor."""
    random = np.random.default_rng(seed)
    return {m.name: random.integers(0, 2, m.shape).astype(m.dtype) for m in SENSORS}


class Pretended:
    """K environments whose episodes are ``length`` steps long and reward the first action.

    Args:
        count: K.
        length: steps of an episode after the first.
        spoil: called with every batch before it is delivered, and with the number of the step.
    """

    modalities = SENSORS
    action_size = ACTION_SIZE
    action_repeat = 2
    restarts = 0
    labels = ("task",)

    def __init__(self, count: int = 2, length: int = 5, spoil=lambda batch, number: None):
        self._length, self._spoil, self._number = length, spoil, 0
        self._time = np.zeros(count, int)
        self.actions = [np.zeros((count, ACTION_SIZE), np.float32)]

    def __len__(self) -> int:
        return len(self._time)

    def reset(self):
        """The first step of new episodes."""
        self._time[:] = self._length
        self.step_async(np.zeros((len(self), ACTION_SIZE), np.float32))
        return self.step_wait()

    def step_async(self, actions):
        """Takes actions, which a step that follows a last one ignores."""
        assert actions.shape == (len(self), ACTION_SIZE) and actions.dtype == np.float32
        self.actions.append(actions.copy())

    def step_wait(self):
        """The step, in a namespace with the fields of a batch."""
        self._time = np.where(self._time == self._length, 0, self._time + 1)
        self._number += 1
        drawn = [values(self._number * len(self) + k) for k in range(len(self))]
        first, last = self._time == 0, self._time == self._length
        batch = types.SimpleNamespace(
            values={m.name: np.stack([value[m.name] for value in drawn]) for m in SENSORS},
            available={m.name: np.ones(len(self), bool) for m in SENSORS},
            reward=np.where(first, 0, self.actions[-1][:, 0]).astype(np.float32),
            is_first=first,
            is_last=last,
            is_terminal=np.zeros(len(self), bool),
            restarted=np.zeros(len(self), bool),
            info=[{"success": 1.0, "task": 3.0}] * len(self),
        )
        self._spoil(batch, self._number)
        return batch

    def expert_action(self):
        """There is no expert."""
        raise ValueError("no expert is pretended")
