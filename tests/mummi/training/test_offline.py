"""Training of a world model on demonstrations alone."""

import dataclasses

import jax
import numpy as np
import pytest

from mummi.agent import Agent, AgentState, Parameters
from mummi.config import Config
from mummi.imitation.latents import View
from mummi.modality import Modality
from mummi.runs import devices
from mummi.runs.logger import Silence
from mummi.training.offline import HELD_OUT_BATCHES, HeldOut, in_memory, sample, train_world_model
from tests.support.small import ACTION_SIZE, MODALITIES, draw_value, small_config

pytestmark = pytest.mark.usefixtures("quick_compile")


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
        self.config = Config(
            logdir=str(logdir), seed=0, batch_size=2, batch_length=3, checkpoint_every=1e9
        )
        self.made, self.most = 0, 0

    def init(self, seed):
        average = Parameters(model=np.float32(7), actor=None, critic=None)
        state = AgentState(*[None] * 10, updates=np.int32(0))
        return state._replace(average=average)

    def update_model(self, state, batch):
        assert batch["values"]["touch"].shape == (2, 3, 2)
        updates = state.updates + 1
        self.most = max(self.most, int(updates) - self.made)
        return state._replace(updates=updates), {"loss": Metric(self, int(updates))}


def made(steps: int, seed: int) -> dict:
    """An episode of small random pictures, wanted actions beside those that were executed."""
    random = np.random.default_rng(seed)
    values = {m.name: draw_value(random, m, (steps,)) for m in MODALITIES}
    available = {m.name: random.random(steps) < 0.7 for m in MODALITIES}
    actions = random.uniform(-1, 1, (2, steps, ACTION_SIZE)).astype(np.float32)
    return View(values, available, actions[0], actions[0, :, 0], actions[1]).episode()


def test_losses_on_what_is_held_out_are_of_the_same_sequences_always():
    config = dataclasses.replace(small_config(action_weight=3.0), batch_size=2, batch_length=4)
    agent = Agent(config, MODALITIES, ACTION_SIZE)
    state = devices.run_once(agent.init, 0)
    episodes = [made(6, 0), made(5, 1)]
    held_out = HeldOut(agent, episodes)
    first = held_out(state.average.model)
    replay, losses, loss = in_memory(agent, episodes), [], jax.jit(agent.model.loss)
    for number in range(HELD_OUT_BATCHES):
        batch = sample(replay, config)
        assert batch["wanted"].shape == (2, 4, ACTION_SIZE)
        key = jax.random.PRNGKey(number)
        losses.append(loss(state.average.model, batch, key)[1][1]["action_rgb_error"])
    assert first["held_out/action_rgb_error"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert held_out(state.average.model) == first
    moved = jax.tree.map(lambda x: x + 0.1, state.average.model)
    assert held_out(moved) != first


def test_what_is_logged_tells_the_losses_of_the_mean_on_what_is_held_out(tmp_path):
    agent, rows = Slow(tmp_path), []

    class Log(Silence):
        def scalars(self, step, values):
            rows.append((step, values))

    def held_out(params):
        assert params == 7
        return {"held_out/loss": 2.0}

    ones = np.ones((5, 1), np.float32)
    view = View({"touch": np.ones((5, 2), np.float32)}, {"touch": np.ones(5, bool)}, ones,
                ones[:, 0], ones)  # fmt: skip
    train_world_model(agent, [view.episode()], 6, Log(), held_out)
    assert [step for step, _ in rows] == [1, 2, 3, 4, 5, 6]
    assert all(values["held_out/loss"] == 2.0 and "loss" in values for _, values in rows)


def test_no_more_than_two_updates_hold_their_batches(tmp_path):
    agent, available = Slow(tmp_path), np.ones(5, bool)
    rows = np.ones((5, 1), np.float32)
    view = View(
        {"touch": np.ones((5, 2), np.float32)}, {"touch": available}, rows, rows[:, 0], rows
    )
    state = train_world_model(agent, [view.episode()], 300, Silence())
    assert state.updates == 300
    assert agent.most == 2
