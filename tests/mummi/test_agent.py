"""The agent: one compiled update, one compiled action, and the policy that a run leaves."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi.agent import Agent, AgentState, Parameters, nest, running_mean
from mummi.config import MPCConfig
from mummi.model.rssm import State
from tests.support.small import (
    ACTION_SIZE,
    MODALITIES,
    draw_value,
    make_batch,
    random_like,
    random_parameters,
    small_config,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.PRNGKey(2)
CONFIG = small_config(learning_rate=1e-2)
NAMES = [m.name for m in MODALITIES]


class CountingAgent(Agent):
    """Counts how often its update is traced, which is how often it is compiled."""

    traces = 0

    def _update(self, state, batch):
        self.traces += 1
        return super()._update(state, batch)


@pytest.fixture(scope="module")
def agent(quick_compile):
    return CountingAgent(CONFIG, MODALITIES, ACTION_SIZE)


def fresh(agent, seed=0) -> AgentState:
    """A state with random parameters, and optimisers that have seen nothing."""
    shapes = jax.eval_shape(agent.init, 0)
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    drawn = {
        name: random_like(getattr(shapes, name), seed) for name in ("model", "actor", "critic")
    }
    slow, average = jax.tree.map(jnp.copy, (drawn["critic"], Parameters(**drawn)))
    key = jax.random.PRNGKey(seed)
    return empty._replace(**drawn, slow_critic=slow, average=average, key=key)


def train(agent, updates, seed=0):
    state, history = fresh(agent, seed), []
    for _ in range(updates):
        state, metrics = agent.update(state, make_batch())
        history.append(metrics)
    return state, history


def test_the_update_is_a_function_of_state_and_batch_and_compiles_once(agent):
    one, two = train(agent, 3), train(agent, 3)
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert one[0].updates == 3
    assert agent.traces == 1
    other, _ = train(agent, 3, seed=1)
    assert not np.array_equal(one[0].key, other.key)


def test_the_update_overfits_one_batch_and_moves_every_part(agent):
    before = fresh(agent)
    state, history = train(agent, 120)
    for name in ("loss/reward", "loss/continue", "nce/rgb", "nce/depth", "nce/touch"):
        first, last = float(history[0][name]), np.mean([m[name] for m in history[-5:]])
        assert last < 0.9 * first, f"{name} went from {first} to {last}"
    for part in ("model", "actor", "critic"):
        for path, old in jax.tree_util.tree_leaves_with_path(getattr(before, part)):
            new = dict(jax.tree_util.tree_leaves_with_path(getattr(state, part)))[path]
            assert (np.asarray(old) != np.asarray(new)).any(), jax.tree_util.keystr(path)
    for metrics in history:
        assert all(np.isfinite(value) for value in metrics.values())


def test_the_slow_critic_follows_its_critic(agent):
    before = fresh(agent)
    state, _ = train(agent, 1)
    rate = CONFIG.behavior.slow_critic

    def check(slow, critic, new):
        np.testing.assert_allclose(new, (1 - rate) * slow + rate * critic, rtol=1e-5, atol=1e-7)

    jax.tree.map(check, before.slow_critic, state.critic, state.slow_critic)


def test_the_average_is_the_running_mean_of_the_parameters(agent):
    state, mean = fresh(agent), fresh(agent).average
    for updates in range(4):
        state, _ = agent.update(state, make_batch())
        last = Parameters(state.model, state.actor, state.critic)
        decay = min(CONFIG.average, (1 + updates) / (10 + updates))
        mean = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * b, mean, last)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6), state.average, mean)
    none = running_mean({"x": jnp.ones(2)}, {"x": jnp.zeros(2)}, 0.0, jnp.int32(7))
    np.testing.assert_array_equal(none["x"], np.zeros(2))


def test_the_model_alone_is_trained_as_with_actor_and_critic(agent):
    alone, metrics_alone = agent.update_model(fresh(agent), make_batch())
    full, metrics_full = agent.update(fresh(agent), make_batch())
    for own, other in ((alone.model, full.model), (alone.average.model, full.average.model)):
        for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert metrics_alone["gradient/model"] == pytest.approx(metrics_full["gradient/model"])
    assert alone.updates == full.updates == 1


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ValueError, match=f"average is {decay}; it must be at least 0 and below 1"):
        Agent(replace(CONFIG, average=decay), MODALITIES, ACTION_SIZE)


def parameters(agent) -> Parameters:
    model = random_parameters(agent.model.init)
    return Parameters(model, *random_parameters(agent.behavior.init, 1))


def observations(batch, seed=0):
    random = np.random.default_rng(seed)
    values = {m.name: draw_value(random, m, (batch,)) for m in MODALITIES}
    available = {name: random.random(batch) < 0.6 for name in NAMES}
    return values, available


def test_acting_for_a_batch_is_acting_for_each_robot(agent, monkeypatch):
    # A robot's draw depends on its place in the batch, so the draws are silenced.
    monkeypatch.setattr(jax.random, "normal", lambda key, shape=(): jnp.zeros(shape))
    params = parameters(agent)
    act = jax.jit(lambda *inputs: agent._act(params, *inputs, KEY, explore=False))
    together, alone = agent.start(3), [agent.start(1) for _ in range(3)]
    for t in range(3):
        values, available = observations(3, t)
        first = np.array([t == 0, t == 0, t != 1])
        actions, together = act(together, values, available, first)
        for i in range(3):
            pick = jax.tree.map(lambda x, i=i: x[i : i + 1], (values, available, first))
            action, alone[i] = act(alone[i], *pick)
            np.testing.assert_allclose(action[0], actions[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "gradient", "shooting"])
def test_what_a_missing_sensor_holds_does_not_change_the_action(kind):
    mpc = MPCConfig(kind, horizon=2, samples=4, elites=2, iterations=1, step_size=0.1)
    agent = Agent(replace(CONFIG, mpc=mpc), MODALITIES, ACTION_SIZE)
    params = parameters(agent)
    values, available = observations(3)
    assert not all(flags.all() for flags in available.values())
    spoiled, other = {}, draw_value(np.random.default_rng(9), MODALITIES[0], (3,))
    for m in MODALITIES:
        there = available[m.name].reshape(3, *[1] * len(m.shape))
        spoiled[m.name] = np.where(there, values[m.name], other if m.name == "rgb" else np.nan)
        spoiled[m.name] = spoiled[m.name].astype(m.dtype)
    first = np.ones(3, bool)

    def act(values):
        return agent.act(params, agent.start(3), values, available, first, KEY, explore=True)

    jax.tree.map(np.testing.assert_array_equal, act(values), act(spoiled))


def test_each_step_of_acting_draws_anew_and_the_same_step_draws_the_same(agent):
    params = parameters(agent)
    inputs = (*observations(1), np.ones(1, bool), KEY)
    first, carry = agent.act(params, agent.start(1), *inputs, explore=True)
    again, _ = agent.act(params, agent.start(1), *inputs, explore=True)
    second, _ = agent.act(params, carry, *inputs, explore=True)
    np.testing.assert_array_equal(first, again)
    assert carry.count == 1 and (first != second).all()


def test_imagination_knows_which_of_its_starts_ended_the_task(agent):
    number = jnp.arange(8.0).reshape(2, 4, 1)
    posterior = State(deter=number, stoch=number, mean=number, std=number)
    ended = jnp.array([[0, 1, 0, 0], [1, 0, 0, 1]], bool)
    starts, terminal = agent._starts(posterior, ended, KEY)
    assert len(terminal) == CONFIG.behavior.starts == 5
    expected = np.ravel(ended)[np.asarray(starts.deter[:, 0], int)]
    np.testing.assert_array_equal(terminal, expected)
    assert 0 < terminal.sum() < 5
    everything = replace(CONFIG, behavior=replace(CONFIG.behavior, starts=0))
    starts, terminal = Agent(everything, MODALITIES, 2)._starts(posterior, ended, KEY)
    np.testing.assert_array_equal(starts.mean[:, 0], np.arange(8))
    np.testing.assert_array_equal(terminal, np.ravel(ended))


def test_the_flat_keys_of_the_replay_nest_by_sensor():
    one, two, three, four = (np.array(i) for i in range(4))
    flat = {"values/rgb": one, "available/rgb": two, "values/touch": three, "reward": four}
    assert nest(flat) == {
        "values": {"rgb": one, "touch": three},
        "available": {"rgb": two},
        "reward": four,
    }
