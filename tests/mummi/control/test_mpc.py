"""Planning at acting time, on a linear world whose best action is known."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi.config import MPCConfig
from mummi.control.behavior import Behavior
from mummi.control.mpc import plan
from mummi.model.rssm import State
from mummi.model.world_model import WorldModel
from tests.support.small import small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.PRNGKey(8)
BATCH, SIZE = 3, 2
DECAY, NOISE, PULL = 0.7, 0.05, 0.1
GOAL = jnp.array([0.6, -0.4])
DISCOUNT, LAMBDA = 0.9, 0.8
STATE = State(*(jnp.linspace(-1, 1, BATCH * SIZE).reshape(BATCH, SIZE) * k for k in (1, 0, 0, 1)))


class LinearWorld(WorldModel):
    """x' = DECAY x + a + NOISE e; the reward is minus the squared distance of x' to a goal."""

    def __init__(self, goal=GOAL):
        config = small_config().model
        self.config = replace(config, deter=SIZE, stoch=SIZE)
        self.rssm = self
        self.pace = 1.0
        self.goal = goal

    def imagine_step(self, params, state, action, noise):
        following = DECAY * state.deter + action + NOISE * noise
        return State(following, jnp.zeros_like(following), state.mean, state.std)

    def predict_reward(self, params, feature):
        return -jnp.square(feature[..., :SIZE] - self.goal).sum(-1)

    def predict_continue(self, params, feature):
        return jnp.ones(feature.shape[:-1])


class LinearBehavior(Behavior):
    """Policy -PULL x, and value -|x|^2 of the last state."""

    def __init__(self, goal=GOAL):
        config = replace(small_config().behavior, discount=DISCOUNT, lam=LAMBDA)
        super().__init__(config, LinearWorld(goal), SIZE)

    def act(self, params, feature, noise):
        return jnp.clip(-PULL * feature[..., :SIZE] + 0.1 * noise, -1, 1)

    def value(self, params, feature):
        return -jnp.square(feature[..., :SIZE]).sum(-1)


PARAMS = SimpleNamespace(model={"rssm": {}}, actor={}, critic={})


def run(config, action, behavior=None, key=KEY):
    return plan(config, behavior or LinearBehavior(), PARAMS, STATE, action, key)


def test_without_a_planner_the_action_is_the_policys():
    action = jnp.full((BATCH, SIZE), 0.3)
    assert run(MPCConfig("none"), action) is action


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_gradient_planner_takes_one_step_up_the_return_of_its_rollout(horizon):
    config = MPCConfig("gradient", horizon=horizon, step_size=0.02)
    action = jnp.array([[0.1, 0.2], [-0.3, 0.0], [0.5, -0.5]])
    draw, noise = jnp.split(jax.random.normal(KEY, (horizon, BATCH, 2 * SIZE)), 2, -1)

    def value(first):
        x, steps = STATE.deter, []
        for t in range(horizon):
            chosen = first if t == 0 else jnp.clip(-PULL * x + 0.1 * draw[t - 1], -1, 1)
            x = DECAY * x + chosen + NOISE * noise[t - 1]
            steps.append((-jnp.square(x - GOAL).sum(-1), -jnp.square(x).sum(-1)))
        future = steps[-1][1]
        for reward, following in reversed(steps):
            future = reward + DISCOUNT * ((1 - LAMBDA) * following + LAMBDA * future)
        return future.sum()

    gradient = jax.grad(value)(action)
    planned = run(config, action)
    np.testing.assert_allclose(planned, action + 0.02 * gradient, rtol=1e-4, atol=1e-5)
    assert value(planned) > value(action)


def test_the_gradient_planner_plans_for_each_robot_alone():
    config = MPCConfig("gradient", horizon=3, step_size=0.02)
    action = jnp.zeros((BATCH, SIZE))
    moved = run(config, action.at[0].set(0.5))
    np.testing.assert_array_equal(moved[1:], run(config, action)[1:])


SHOOTING = MPCConfig("shooting", horizon=2, samples=64, elites=8, iterations=5, noise=0.5)


def test_the_shooting_planner_finds_the_action_that_reaches_the_goal():
    behavior = LinearBehavior()
    behavior.value = lambda params, feature: jnp.zeros(feature.shape[:-1])
    behavior.config = replace(behavior.config, lam=1.0)
    policy = behavior.act({}, STATE.feature, 0.0)
    best = jnp.clip(GOAL - DECAY * STATE.deter, -1, 1)
    planned = jax.jit(lambda action: run(SHOOTING, action, behavior))(policy)

    def error(action):
        return np.abs(np.asarray(action - best)).max()

    assert error(policy) > 0.5
    assert error(planned) < 0.15


@pytest.mark.parametrize("kind", ["gradient", "shooting"])
def test_planned_actions_stay_in_the_cube(kind):
    config = MPCConfig(kind, horizon=2, step_size=10.0, samples=32, elites=3, noise=2.0)
    far = LinearBehavior(goal=jnp.array([50.0, -50.0]))
    planned = run(config, jnp.zeros((BATCH, SIZE)), far)
    assert np.abs(planned).max() <= 1.0
    assert (planned[:, 0] > 0.5).all() and (planned[:, 1] < -0.5).all()


def test_the_shooting_planner_without_rounds_returns_the_policys_action():
    config = replace(SHOOTING, iterations=0)
    action = jnp.full((BATCH, SIZE), 0.3)
    np.testing.assert_array_equal(run(config, action), action)
