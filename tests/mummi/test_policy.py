"""The policy that a run leaves: what it takes, and what it makes of sensors that fail."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi import load_policy
from mummi.agent import Agent, AgentState, Parameters
from mummi.modality import Modality
from mummi.policy import Policy
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.record import Run, save
from tests.support.small import (
    ACTION_SIZE,
    MODALITIES,
    draw_value,
    random_like,
    random_parameters,
    small_config,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

CONFIG = small_config()
EMBEDDING = Modality("clip", "embedding", (3,))
NAMES = [m.name for m in MODALITIES]


@pytest.fixture(scope="module")
def agent(quick_compile):
    return Agent(CONFIG, MODALITIES, ACTION_SIZE)


@pytest.fixture(scope="module")
def sensitive(quick_compile):
    """An agent of every kind of sensor, with its parameters."""
    agent = Agent(CONFIG, (*MODALITIES, EMBEDDING), ACTION_SIZE)
    return agent, parameters(agent)


def fresh(agent) -> AgentState:
    """A state with random parameters, and optimisers that have seen nothing."""
    shapes = jax.eval_shape(agent.init, 0)
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    drawn = {name: random_like(getattr(shapes, name)) for name in Parameters._fields}
    return empty._replace(**drawn, slow_critic=drawn["critic"], average=Parameters(**drawn))


def parameters(agent) -> Parameters:
    model = random_parameters(agent.model.init)
    return Parameters(model, *random_parameters(agent.behavior.init, 1))


def observation(seed=0, modalities=MODALITIES):
    random = np.random.default_rng(seed)
    return {m.name: draw_value(random, m, ()) for m in modalities}


def test_the_policy_is_the_agents_mode_step_by_step(agent):
    params = parameters(agent)
    policy = Policy(agent, params, seed=3)
    assert (policy.modalities, policy.action_size) == (MODALITIES, ACTION_SIZE)
    for _ in range(2):
        carry = agent.start(1)
        for t in range(3):
            values = observation(t)
            if t == 1:
                del values["rgb"]
            found = policy(values)
            padded = observation(t) | values
            there = {name: np.array([name in values]) for name in NAMES}
            action, carry = agent.act(
                params,
                carry,
                {name: value[None] for name, value in padded.items()},
                there,
                np.array([t == 0]),
                jax.random.PRNGKey(3),
                explore=False,
            )
            np.testing.assert_array_equal(found, action[0])
            assert found.shape == (ACTION_SIZE,) and found.dtype == np.float32
        policy.reset()


@pytest.mark.parametrize(
    ("changes", "available", "message"),
    [
        ({"tactil": np.zeros(2)}, None, "unknown modality 'tactil'; this policy has rgb, depth"),
        ({}, {"tactil": True}, "unknown modality 'tactil'; this policy has rgb, depth"),
        ({"touch": np.zeros(3)}, None, r"modality 'touch' has shape \(3,\), not \(2,\)"),
        ({"touch": None}, {"touch": True}, "'touch' is said to be available without a value"),
        ({"rgb": np.ones((8, 8, 3))}, None, "modality 'rgb' has dtype float64, not uint8"),
        ({"rgb": np.ones((8, 8, 3), np.uint16)}, None, "'rgb' has dtype uint16, not uint8"),
    ],
)
def test_the_policy_names_an_input_that_does_not_fit(agent, changes, available, message):
    values = observation() | changes
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        Policy(agent, parameters(agent))(values, available)


def test_a_policy_ignores_a_value_that_is_said_to_be_missing(agent):
    params = parameters(agent)
    values = observation()
    hidden = Policy(agent, params)(values | {"touch": np.full(2, np.nan)}, {"touch": False})
    del values["touch"]
    np.testing.assert_array_equal(hidden, Policy(agent, params)(values))


def test_the_policy_of_a_run_is_the_trained_agents(agent, tmp_path):
    state = fresh(agent)
    save(tmp_path, Run(CONFIG, MODALITIES, ACTION_SIZE))
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_policy(tmp_path)
    Checkpointer(tmp_path / "checkpoints").save(7, state, {"step": 7})
    loaded = load_policy(tmp_path, seed=5)
    assert loaded.step == 7
    trained = Policy(agent, state.average, seed=5)
    for t in range(2):
        np.testing.assert_array_equal(loaded(observation(t)), trained(observation(t)))


def test_a_folder_that_is_no_run_has_no_policy(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no run"):
        load_policy(tmp_path)


FLOATS = [*MODALITIES[1:], EMBEDDING]


@pytest.mark.parametrize("modality", FLOATS, ids=lambda m: m.kind)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("whole", [True, False])
def test_a_value_that_is_not_finite_is_a_sensor_that_did_not_deliver(
    sensitive, modality, bad, whole
):
    agent, params = sensitive
    spoiled, plain = Policy(agent, params), Policy(agent, params)
    for t in range(3):
        values = observation(t, agent.modalities)
        without = {name: value for name, value in values.items() if name != modality.name}
        if t == 1:
            values[modality.name].flat[slice(None) if whole else -1] = bad
            with pytest.warns(UserWarning, match=f"modality '{modality.name}' delivered NaN or an"):
                found = spoiled(values)
            expected = plain(without)
        else:
            found, expected = spoiled(values), plain(values)
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, expected)


def test_a_policy_warns_once_of_each_sensor(sensitive):
    agent, params = sensitive
    policy = Policy(agent, params)
    values = observation(0, agent.modalities)
    touch, depth = np.full(2, np.nan, np.float32), np.full((8, 8, 1), np.inf, np.float32)
    with pytest.warns(UserWarning, match="'touch'"):
        policy(values | {"touch": touch})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy(values | {"touch": touch})
        policy.reset()
        policy(values | {"touch": touch})
    with pytest.warns(UserWarning, match="'depth'") as caught:
        policy(values | {"touch": touch, "depth": depth})
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="'touch'"):
        Policy(agent, params)(values | {"touch": touch})


def test_a_number_that_float32_cannot_hold_is_not_finite(sensitive):
    agent, params = sensitive
    values = observation(0, agent.modalities)
    with pytest.warns(UserWarning, match="'touch'"):
        found = Policy(agent, params)(values | {"touch": np.array([0.0, 1e39])})
    del values["touch"]
    np.testing.assert_array_equal(found, Policy(agent, params)(values))


def test_an_agent_without_images_acts():
    touch = (Modality("touch", "vector", (2,)),)
    agent = Agent(CONFIG, touch, 1)
    assert Policy(agent, parameters(agent))({"touch": np.zeros(2)}).shape == (1,)


def test_another_robot_has_a_past_of_its_own_and_nothing_is_compiled_for_it(agent):
    policy = Policy(agent, parameters(agent), seed=3, step=9)
    expected = [policy(observation(t)) for t in range(3)]
    other, compiled = policy.another(), agent._compiled_act._cache_size()
    for t, action in enumerate(expected):
        np.testing.assert_array_equal(other(observation(t)), action)
        policy(observation(9))
    assert agent._compiled_act._cache_size() == compiled
    assert other.step == 9


def test_what_was_taken_is_what_delivered_something_finite(sensitive):
    agent, params = sensitive
    policy, values = Policy(agent, params), observation(0, agent.modalities)
    assert policy.taken == []
    policy(values, {"depth": False})
    assert policy.taken == ["rgb", "touch", "clip"]
    with pytest.warns(UserWarning, match="'touch'"):
        policy({"rgb": values["rgb"], "touch": np.full(2, np.nan)})
    assert policy.taken == ["rgb"]
    policy.reset()
    assert policy.taken == []


TOLD = Modality("instruction", "embedding", (3,), can_fail=False)
SENTENCES = {"push": np.array([1, 0, 0], np.float32), "pull it": np.array([0, 1, 0], np.float32)}


class Listening:
    """Its action is the vector that it was told."""

    modalities, action_size, instructions = (TOLD, *MODALITIES), 3, SENTENCES

    def trusting(self, thresholds):
        return self

    def start(self, batch):
        return None

    def act(self, params, carry, values, available, is_first, key, explore):
        return values["instruction"], carry


def test_a_sentence_stands_for_the_vector_that_was_learned_with_it():
    policy = Policy(Listening(), None)
    for sentence, vector in SENTENCES.items():
        np.testing.assert_array_equal(policy({"instruction": sentence}), vector)
        np.testing.assert_array_equal(policy.another()({"instruction": vector}), vector)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"instruction": "pull"}, r"unknown instruction 'pull'.* learned 'push', 'pull it'$"),
        ({"instruction": "pull him"}, r"'pull him'; did you mean 'pull it'\?; this policy"),
        ({"instruction": "push", "touch": "push"}, "'touch' is text; it must be an array"),
        ({}, "'instruction' is told at every step and cannot be missing, one of 'push', 'pull it'"),
    ],
)
def test_what_is_told_wrongly_or_not_at_all_is_refused(values, said):
    with pytest.raises(ValueError, match=said):
        Policy(Listening(), None)(values)
