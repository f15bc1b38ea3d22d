"""What a diagnosis says of latents whose quality is known, and of an agent's own."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.processes.parallel import ParallelEnvironments
from experiments.evaluation import diagnosis
from experiments.evaluation.actors import random_actor
from experiments.evaluation.agreement import Recording, alone_features
from experiments.evaluation.diagnosis import HORIZON, Episode, Followed
from experiments.evaluation.rollout import rollout
from mummi.agent import Agent
from mummi.model.perception import Belief
from mummi.model.rssm import State
from mummi.runs import devices
from tests.support.small import small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

STEPS, SIZE, SENSORS = 120, 3, ("rgb", "touch")


def made(seed: int = 0, noise: float = 0.0) -> Episode:
    """An episode whose latents are the physical state, and that predicts with some noise."""
    random = np.random.default_rng(seed)
    state = random.normal(size=(STEPS, SIZE))
    reward = random.normal(size=STEPS)

    def later(values, step):
        rows = np.roll(values, -step, 0)
        return rows + noise * step * random.normal(size=rows.shape)

    stds = random.uniform(0.5, 2, (2, STEPS, SIZE))
    said = Belief(
        available=random.random((2, STEPS)) < 0.8,
        means=state + stds * random.normal(size=(2, STEPS, SIZE)),
        stds=stds,
        mean=state,
        std=stds[0],
        sample=state,
    )
    followed = Followed(
        state=State(state[:, :1], state[:, 1:], state[:, 1:], np.ones((STEPS, SIZE - 1))),
        said=said,
        reward=reward,
        value=np.zeros(STEPS),
        ahead=np.stack([later(state, k) for k in range(1, HORIZON + 1)]),
        reward_ahead=np.stack([later(reward, k) for k in range(1, HORIZON + 1)]),
    )
    recorded = {"truth": {"place": state[:, :2], "speed": state[:, 2:]}}
    cold = np.tile(np.arange(4.0), (5, 1))
    return Episode(recorded, followed, reward, cold, 2 * cold)


def test_what_is_predicted_is_held_against_the_step_that_it_is_of():
    assert diagnosis.open_loop_reward([made(), made(1)]) == pytest.approx([1] * HORIZON)
    # Noise of .1 a step on a reward of variance 1: R² is 1 less (.1 k)².
    found = diagnosis.open_loop_reward([made(seed, 0.1) for seed in range(30)])
    expected = 1 - np.square(0.1 * np.arange(1, HORIZON + 1))
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_an_episode_that_is_too_short_says_nothing():
    whole = made()
    followed = whole.followed._replace(reward_ahead=whole.followed.reward_ahead[:, :5])
    short = whole._replace(reward=whole.reward[:5], followed=followed)
    assert diagnosis.open_loop_reward([short])[3:] == [None] * (HORIZON - 3)


def test_windows_are_in_shares_of_the_variance():
    episodes = [made(), made(1)]
    variance = np.concatenate([e.reward for e in episodes]).var()
    found = diagnosis.cold_windows(episodes)
    np.testing.assert_allclose(found["cold"], np.arange(4) / variance)
    np.testing.assert_allclose(found["warm"], 2 * np.arange(4) / variance)


def test_the_critic_is_held_against_discounted_returns_of_a_loop():
    discount, duration = 0.9, 2.0
    agent = types.SimpleNamespace(behavior=types.SimpleNamespace(discount=discount, duration=2.0))
    episode = made()
    returns = [
        sum(duration * discount**k * r for k, r in enumerate(episode.reward[t + 1 :]))
        for t in range(STEPS)
    ]
    knowing = episode._replace(followed=episode.followed._replace(value=3 * np.array(returns) + 1))
    assert diagnosis.critic(agent, [knowing]) == pytest.approx(1)
    # What lies near the end is cut off, so a critic may say anything there.
    blurred = np.where(np.arange(STEPS) > STEPS - 20, 99, returns)
    late = episode._replace(followed=episode.followed._replace(value=blurred))
    assert diagnosis.critic(agent, [late]) == pytest.approx(1)
    assert diagnosis.critic(agent, [episode]) is None


def test_experts_that_are_as_wrong_as_they_say_are_calibrated():
    episodes = [made(seed) for seed in range(10)]
    found = diagnosis.calibration(SENSORS, episodes)
    for name in SENSORS:
        assert found[name].scale == pytest.approx(1, abs=0.05)
        assert 0.15 < found[name].rank < 0.5

    def doubting(episode):
        said = episode.followed.said
        said = said._replace(stds=said.stds / np.array([3, 1])[:, None, None])
        return episode._replace(followed=episode.followed._replace(said=said))

    assert diagnosis.calibration(SENSORS, [doubting(e) for e in episodes])["rgb"].scale > 1.3


def test_the_state_is_read_from_latents_and_from_what_each_sensor_says():
    found = diagnosis.probes(SENSORS, [made(seed) for seed in range(4)], 0)
    # The maps are held back, so that R² is not quite 1.
    assert found["latent"] > 0.9 and min(found["ahead"]) > 0.9
    assert set(found["parts"]) == {"place", "speed"}
    assert all(0.1 < value < 0.8 for value in found["sensors"].values())
    blurred = diagnosis.probes(SENSORS, [made(seed, 0.1) for seed in range(4)], 0)
    assert blurred["ahead"][0] > blurred["ahead"][6] > blurred["ahead"][11]


def test_without_a_physical_state_nothing_is_said_of_it():
    assert diagnosis.probes(SENSORS, [made()._replace(recorded={"truth": {}})], 0) == {}


@pytest.fixture(scope="module")
def recorded(quick_compile):
    """Two episodes of the dummy task by random actions."""
    with ParallelEnvironments("dummy", [3], processes=False, image_size=8) as pool:
        recording = Recording(random_actor(pool.action_size, 1, 0), pool)
        rollout(recording, pool, range(2))
        return pool.modalities, pool.action_size, recording.episodes()


@pytest.mark.parametrize("method", ["mummi", pytest.param("dreamer", marks=pytest.mark.slow)])
def test_an_agent_is_diagnosed(recorded, method):
    modalities, actions, episodes = recorded
    agent = Agent(small_config(method=method, sample_fused=False), modalities, actions)
    state = devices.run_once(agent.init, 0)
    found = diagnosis.diagnose(agent, state, episodes, 0)
    assert len(found["reward_ahead"]) == HORIZON
    assert len(found["windows"]["cold"]) == agent.config.batch_length
    names = {m.name for m in modalities}
    assert set(found["calibration"]) == (names if method == "mummi" else set())
    assert set(found["state"]["sensors"]) == names
    logged = diagnosis.scalars(found)
    assert {"diagnosis/reward_ahead_7", "diagnosis/state_ahead_7"} <= set(logged)
    assert all(np.isfinite(value) for value in logged.values())


def test_it_follows_an_episode_as_the_agent_does(recorded):
    modalities, actions, episodes = recorded
    agent = Agent(small_config(sample_fused=False), modalities, actions)
    state = devices.run_once(agent.init, 0)
    (episode,) = diagnosis.follow(agent, state, episodes[:1], 0)
    expected = alone_features(agent, state, episodes[:1], 0)["all"]
    # The first step has no past, so no random draw sets the two apart.
    mean = episode.followed.state.mean
    stoch = agent.config.model.stoch
    np.testing.assert_allclose(mean[0], expected[0, -stoch:], rtol=1e-4, atol=1e-5)
    assert mean.shape == (20, stoch)
    # A step ahead is a step of the prior under the action that was recorded.
    first = jax.tree.map(lambda x: jnp.asarray(x[:1]), episode.followed.state)
    action = jnp.asarray(episodes[0]["action"][:1])
    one = agent.model.rssm.imagine_step(state.model["rssm"], first, action, 0.0)
    deter = agent.config.model.deter
    np.testing.assert_allclose(episode.followed.ahead[0, 0, :deter], one.deter[0], rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_episodes_that_end_at_once_leave_out_what_cannot_be_told(recorded, steps):
    modalities, actions, episodes = recorded
    agent = Agent(small_config(sample_fused=False), modalities, actions)
    state = devices.run_once(agent.init, 0)
    short = [jax.tree.map(lambda x: x[:steps], episode) for episode in episodes]
    found = diagnosis.diagnose(agent, state, short, 0)
    assert found["reward_ahead"][steps:] == [None] * (HORIZON - steps)
    assert all(np.isfinite(value) for value in diagnosis.scalars(found).values())
