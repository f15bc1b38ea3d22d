"""Training of a world model on demonstrations alone."""

from types import SimpleNamespace

import numpy as np

from mummi.agent import Agent, AgentState
from mummi.imitation.latents import View
from mummi.modality import Modality
from mummi.runs.logger import Silence
from mummi.training.offline import train_world_model


class Metric:
    """What an update promises, as JAX gives it before the update is made."""

    def __init__(self, agent, update):
        self._agent, self._update = agent, update

    def block_until_ready(self):
        self._agent.made = max(self._agent.made, self._update)
        return self

    def __array__(self, dtype=None, copy=None):
        return np.array(0.5, dtype)


class Slow(Agent):
    """Makes an update only when its metrics are awaited, and counts those that wait."""

    modalities = (Modality("touch", "vector", (2,)),)
    action_size = 1

    def __init__(self, logdir):
        self.config = SimpleNamespace(
            logdir=str(logdir), seed=0, batch_size=2, batch_length=3, checkpoint_every=1e9
        )
        self.made, self.most = 0, 0

    def init(self, seed):
        return AgentState(*[None] * 10, updates=np.int32(0))

    def update_model(self, state, batch):
        assert batch["values"]["touch"].shape == (2, 3, 2)
        updates = state.updates + 1
        self.most = max(self.most, int(updates) - self.made)
        return state._replace(updates=updates), {"loss": Metric(self, int(updates))}


def test_no_more_than_two_updates_hold_their_batches(tmp_path):
    agent, available = Slow(tmp_path), np.ones(5, bool)
    rows = np.ones((5, 1), np.float32)
    view = View(
        {"touch": np.ones((5, 2), np.float32)}, {"touch": available}, rows, rows[:, 0], rows
    )
    state = train_world_model(agent, [view.episode()], 300, Silence())
    assert state.updates == 300
    assert agent.most == 2
