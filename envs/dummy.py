"""A fast environment with a sensor of every kind, whose values say where they come from."""

import numpy as np

from envs.base import TimeStep, checked_action
from envs.episodes import Episodes
from mummi.modality import Modality


class Dummy:
    """Counts its steps; every value can be predicted from seed, episode, step and last action.

    Modalities: ``image`` uint8, filled with the step modulo 256; ``depth``,
    filled with step / length; ``vector`` [4]: step, number of the episode, seed modulo 2**16
    and the sum of the last action (0 at reset); ``embedding`` [8], seeded normal noise.

    The reward is the mean of the action, so the best return is ``length``. Rewards, values and
    flags are exact; an episode ends by itself (``is_terminal``) when its number is odd, and at its
    time limit when it is even, always after ``length`` steps.

    Args:
        task: its name; there is only one.
        seed: int, of the noise.
        image_size: pixels of a side.
        background: taken as by the other tasks; there is none.
        training: taken as by the other tasks.
        action_repeat: reported, and a factor of the reward.
        length: steps of an episode after the first.
    """

    action_size = 2

    def __init__(
        self,
        task: str = "dummy",
        *,
        seed: int = 0,
        image_size: int = 64,
        background: str = "none",
        training: bool = True,
        action_repeat: int = 1,
        length: int = 20,
    ):
        self.action_repeat = action_repeat
        self.modalities = (
            Modality("image", "image", (image_size, image_size, 3)),
            Modality("depth", "depth", (image_size, image_size, 1)),
            Modality("vector", "vector", (4,)),
            Modality("embedding", "embedding", (8,)),
        )
        self._seed = seed
        self._length = length
        self._episodes = Episodes(seed)
        self._step = length

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode, the one of that number if it is given."""
        self._episode, noise = self._episodes.begin(number)
        self._random = np.random.default_rng(noise)
        self._step = 0
        return self._time_step(np.zeros(self.action_size))

    def step(self, action: np.ndarray) -> TimeStep:
        """Takes one action [2], clipped to [-1, 1].

        Raises:
            ValueError: for an action of another shape or with values that are not finite.
            RuntimeError: when the episode is over.
        """
        action = checked_action(action, self.action_size)
        if self._step >= self._length:
            raise RuntimeError("the episode is over; call reset")
        self._step += 1
        return self._time_step(action)

    def render(self, size: int) -> np.ndarray:
        """A picture [size, size, 3] uint8 in the colour of the step."""
        return np.full((size, size, 3), self._step % 256, np.uint8)

    def truth(self) -> dict[str, np.ndarray]:
        """The step of the episode, as ``step`` [1]."""
        return {"step": np.array([self._step], np.float32)}

    def expert_action(self) -> np.ndarray:
        """The best action, [2]."""
        return np.ones(self.action_size)

    def close(self) -> None:
        """Nothing to free."""

    def _time_step(self, action: np.ndarray) -> TimeStep:
        image, depth, vector, embedding = self.modalities
        state = (self._step, self._episode, self._seed % 2**16, action.sum())
        is_last = self._step == self._length
        return TimeStep(
            values={
                "image": np.full(image.shape, self._step % 256, np.uint8),
                "depth": np.full(depth.shape, self._step / self._length, np.float32),
                "vector": np.array(state, np.float32).reshape(vector.shape),
                "embedding": self._random.standard_normal(embedding.shape, np.float32),
            },
            available={modality.name: True for modality in self.modalities},
            reward=float(action.mean()) * self.action_repeat,
            is_first=self._step == 0,
            is_last=is_last,
            is_terminal=is_last and self._episode % 2 == 1,
            info={"success": float(is_last)} if is_last else {},
        )
