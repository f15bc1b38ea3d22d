"""Environments that are not of the package, for the tests: plain, with options, broken, hanging."""

import time

import numpy as np

from envs.base import TimeStep
from envs.episodes import Episodes
from mummi.modality import Modality

ONE = "a module has what is no environment, too"


class Plain:
    """The fewest members: two sensors, of which one delivers at even steps; no number."""

    modalities = (Modality("joints", "vector", (2,)), Modality("eye", "image", (4, 4, 3)))
    action_size = 1

    def reset(self):
        self.time = 0
        return self.look()

    def step(self, action):
        self.time += 1
        return self.look(float(action[0]))

    def look(self, reward=0.0):
        values = {"joints": np.array([self.time, 0.5])}  # float64
        if self.time % 2 == 0:
            values["eye"] = np.full((4, 4, 3), self.time, np.uint8)
        return TimeStep(values, reward=reward, is_last=self.time == 5)


class Numbered(Plain):
    """Declares a seed, an option, and the number of the episode."""

    def __init__(self, *, seed: int, speed: float = 1.0):
        self.episodes, self.speed = Episodes(seed), speed

    def reset(self, number=None):
        _, episode = self.episodes.begin(number)
        self.start = np.random.default_rng(episode).random()
        return super().reset()

    def look(self, reward=0.0):
        return TimeStep({"joints": [self.start, self.speed * self.time]}, reward=reward)


class NeedsPort(Plain):
    """Has an option without a default."""

    def __init__(self, port: str):
        self.port = port


class Broken(Plain):
    """Values that are not finite from the second step on, each of its own kind.

    Args:
        bad: what stands among the numbers.
        where: the sensor, or ``reward``.
    """

    modalities = (
        Modality("image", "image", (2, 2, 3)),
        Modality("depth", "depth", (2, 2, 1)),
        Modality("vector", "vector", (2,)),
        Modality("embedding", "embedding", (2,)),
    )
    action_repeat = 1

    def __init__(self, bad: float = np.nan, where: str = "depth"):
        self.bad, self.where = bad, where

    def reset(self, number=None):
        return super().reset()

    def close(self):
        pass

    def look(self, reward=0.0):
        values = {m.name: np.ones(m.shape, m.dtype) for m in self.modalities}
        if self.time >= 2 and self.where != "reward":
            values[self.where] = values[self.where].astype(np.float32)
            values[self.where].flat[0] = self.bad
        reward = self.bad if self.time == 2 and self.where == "reward" else reward
        available = dict.fromkeys(values, True)
        return TimeStep(values, available, reward, self.time == 0, False, False)


class Sleeper(Plain):
    """Hangs at an action above 0.5, and dies at one below -0.5."""

    def step(self, action):
        if action[0] > 0.5:
            time.sleep(600)
        if action[0] < -0.5:
            raise RuntimeError("the arm fell off")
        return super().step(action)


class NumberedSleeper(Sleeper, Numbered):
    """The same with numbered episodes."""


class Wrong(Plain):
    """What a time step may not be, by the name of the mistake."""

    def __init__(self, mistake: str):
        self.mistake = mistake
        if mistake == "modalities":
            self.modalities = ("joints",)
        if mistake == "action_size":
            self.action_size = 0
        if mistake == "action_repeat":
            self.action_repeat = 1.5

    def look(self, reward=0.0):
        return {
            "type": {"joints": np.zeros(2)},
            "shape": TimeStep({"joints": np.zeros(1)}),
            "dtype": TimeStep({"eye": np.zeros((4, 4, 3))}),
            "name": TimeStep({"joint": np.zeros(2)}),
            "there": TimeStep({}, {"joints": True}),
        }.get(self.mistake, TimeStep({}))


class NoStep:
    """Lacks a member."""

    modalities = Plain.modalities
    action_size = 1

    def reset(self):
        return TimeStep({})


def build(task, image_size=8, background="none"):
    """A function that builds one."""
    robot = Plain()
    robot.built = (task, image_size, background)
    return robot
