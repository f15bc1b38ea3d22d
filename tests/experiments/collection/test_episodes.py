"""Whole episodes: what was seen, wanted and done, also where a sensor fails on its own."""

import types

import numpy as np
import pytest

from envs.processes.parallel import Batch
from experiments.collection.episodes import record
from mummi.modality import Modality

SENSORS = (
    Modality("image", "image", (4, 4, 3)),
    Modality("depth", "depth", (4, 4, 1)),
    Modality("vector", "vector", (2,)),
    Modality("embedding", "embedding", (3,)),
)
STEPS = 4
ON = types.SimpleNamespace(requested=False)


class Environments:
    """Two environments of four actions; one number of a sensor of the second is ``bad`` at step 2.

    The first loses its worker after ``lost`` steps.
    """

    modalities, action_size = SENSORS, 2

    def __init__(self, name="", bad=0.0, lost=-1):
        self._name, self._bad, self._lost, self._step = name, bad, lost, [0, 0]

    def __len__(self):
        return 2

    def physics_state(self):
        return [None, None]

    def reset(self) -> Batch:
        return self._batch()

    def step(self, actions) -> Batch:
        self._step = [t % (STEPS + 1) + 1 if t < STEPS else 0 for t in self._step]
        if self._step[0] == self._lost:
            self._step[0], self._lost = 0, -1
        return self._batch()

    def _batch(self) -> Batch:
        steps = np.array(self._step)
        values = {
            m.name: np.stack([np.full(m.shape, t + 1, m.dtype) for t in steps]) for m in SENSORS
        }
        if self._name and steps[1] == 2:
            values[self._name] = values[self._name].astype(np.float32)
            values[self._name][1].flat[0] = self._bad
        last = steps == STEPS
        return Batch(
            values=values,
            available={m.name: np.ones(2, bool) for m in SENSORS},
            reward=steps.astype(np.float32),
            is_first=steps == 0,
            is_last=last,
            is_terminal=last,
            restarted=np.zeros(2, bool),
            info=[{}, {}],
        )


def play(environments, act):
    random = [np.random.default_rng(k) for k in range(2)]
    return record(environments, act, random, 0.0, 1, ON, lambda: None)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("modality", SENSORS, ids=lambda m: m.kind)
def test_a_value_that_is_not_finite_is_missing_for_the_policy_and_in_the_demonstration(
    modality, bad
):
    told = []

    def act(batch, *_):
        told.append(batch.available[modality.name].tolist())
        return np.zeros((2, 2), np.float32)

    one, other = play(Environments(modality.name, bad), act)
    assert told == [[True, True], [True, True], [True, False], [True, True]]
    assert one.available is None
    for m in SENSORS:
        expected = [True, True, m is not modality, True]
        assert other.availability(m.name).tolist() == expected


def test_an_episode_whose_worker_was_lost_is_the_one_that_replaced_it():
    one, other = play(Environments(lost=3), lambda *_: np.zeros((2, 2), np.float32))
    for made in (one, other):
        assert made.values["vector"][:, 0].tolist() == [1, 2, 3, 4]
        assert made.rewards.tolist() == [1, 2, 3, 4]
        assert made.dones.tolist() == [False] * 3 + [True]
