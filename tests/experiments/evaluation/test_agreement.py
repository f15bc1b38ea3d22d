"""Expert agreement on recorded episodes: alignment with acting, and whose latents say what."""

import dataclasses

import jax
import numpy as np
import pytest

from envs.processes.parallel import ParallelEnvironments
from experiments.evaluation.agreement import LIMIT, Recording, agreement, alone_features, show
from experiments.evaluation.rollout import agent_actor, random_actor, rollout
from mummi.agent import Agent
from tests.support.small import small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

SEED = 3


def environments(count=2, **options):
    return ParallelEnvironments(
        "dummy", list(range(count)), processes=False, image_size=8, **options
    )


def record(episodes=3, count=2, act=None, **options):
    """An agent with random parameters, its parameters, and a recording of a policy."""
    with environments(count, **options) as pool:
        agent = Agent(small_config(sample_fused=False), pool.modalities, pool.action_size)
        state = agent.init(0)
        recording = Recording(act or random_actor(pool.action_size, 0), pool)
        rollout(recording, pool, episodes)
    return agent, state, recording


def test_episodes_are_kept_apart_and_aligned_with_actions_and_truth():
    episodes = record()[-1].episodes()
    # Both environments finish one episode each, then the first one more; the second's next is not
    # over when the rollout ends. The last step of the rollout needs no action.
    assert episodes["real"].sum(1).tolist() == [21, 21, 20, 20]
    steps = np.where(episodes["real"], episodes["truth"]["step"][..., 0], -1)
    np.testing.assert_array_equal(steps[0], np.arange(21))
    np.testing.assert_array_equal(steps[3], [*range(20), -1])
    # The dummy's vector holds the step and the sum of the action that led to it.
    vector = episodes["values"]["vector"]
    np.testing.assert_array_equal(vector[..., 0][episodes["real"]], steps[episodes["real"]])
    led = np.pad(episodes["action"].sum(-1), ((0, 0), (1, 0)))[:, :-1]
    np.testing.assert_allclose(
        vector[:, 1:20, 3], led[:, 1:20], rtol=1e-5, err_msg="action that led to the step"
    )


def test_the_features_of_all_sensors_are_those_that_the_agent_acts_on():
    carries = []
    with environments(1) as pool:
        agent = Agent(small_config(sample_fused=False), pool.modalities, pool.action_size)
        state = agent.init(0)
        quiet = jax.tree.map(lambda x: x, state)
        key, carry = jax.random.PRNGKey(0), agent.start(1)

        def act(batch):
            nonlocal carry
            action, carry = agent.act(
                quiet, carry, batch.values, batch.available, batch.is_first, key, explore=False
            )
            carries.append(np.asarray(carry.state.mean[0]))
            return np.asarray(action)

        recording = Recording(act, pool)
        rollout(recording, pool, 1)
    features = alone_features(agent, state, recording.episodes(), SEED)
    assert set(features) == {"all", "image", "depth", "vector", "embedding"}
    # The first step has no past, so no random draw sets the two apart.
    stoch = agent.config.model.stoch
    np.testing.assert_allclose(features["all"][0, -stoch:], carries[0], rtol=1e-4, atol=1e-5)
    assert np.isfinite(features["all"]).all()
    assert not np.allclose(features["image"], features["depth"])


def test_a_sensor_alone_is_all_that_its_features_follow_from():
    agent, state, recording = record()
    episodes = recording.episodes()
    before = alone_features(agent, state, episodes, SEED)
    spoiled = {**episodes["values"], "image": 255 - episodes["values"]["image"]}
    after = alone_features(agent, state, {**episodes, "values": spoiled}, SEED)
    np.testing.assert_array_equal(before["vector"], after["vector"])
    assert not np.array_equal(before["image"], after["image"])
    assert not np.array_equal(before["all"], after["all"])


def test_the_table_says_whose_map_reads_whose_latents(monkeypatch):
    agent, state, recording = record(episodes=6)
    episodes = recording.episodes()
    step = episodes["truth"]["step"][episodes["real"]]
    noise = np.random.default_rng(0).normal(size=(3, len(step), 2))
    alike = np.concatenate([step, -step], 1)
    latents = {
        "all": alike,
        "image": alike + 0.1 * noise[0],
        "depth": -alike + 0.1 * noise[1],
        "vector": noise[2],
    }
    monkeypatch.setattr("experiments.evaluation.agreement.alone_features", lambda *_: latents)
    table = agreement(agent, state, recording, SEED)
    assert list(table) == list(latents) and all(
        list(row) == list(latents) for row in table.values()
    )
    assert min(table[a][b] for a in ("all", "image") for b in ("all", "image")) > 0.9
    assert table["depth"]["depth"] > 0.9 and table["image"]["depth"] == -1.0  # mirrored
    assert table["vector"]["vector"] < 0.1
    assert show(table).row_count == len(latents)


def test_where_nothing_moves_or_too_little_was_seen_there_is_nothing_to_tell():
    agent, state, recording = record(episodes=2)
    for rows in (*recording._episodes, *recording._running):
        for *_, truth in rows:
            truth["step"][:] = 1.0
    assert agreement(agent, state, recording, SEED) == {}
    with environments(1) as pool:
        short = Recording(random_actor(pool.action_size, 0), pool)
        short(pool.reset())
    assert agreement(agent, state, short, SEED) == {}


def test_where_the_physical_state_is_not_known_there_is_nothing_to_tell():
    agent, state, recording = record(episodes=2)
    for rows in (*recording._episodes, *recording._running):
        rows[:] = [(*seen, {}) for *seen, _ in rows]
    assert agreement(agent, state, recording, SEED) == {}


def test_only_so_many_episodes_are_kept():
    _, _, recording = record(episodes=LIMIT + 4)
    assert len(recording.episodes()["real"]) == LIMIT


def test_what_a_lost_worker_began_is_dropped():
    with environments() as pool:
        recording = Recording(random_actor(pool.action_size, 0), pool)
        batch = pool.reset()
        for step in range(5):
            lost = np.array([step == 3, False])
            recording(dataclasses.replace(batch, restarted=lost))
            batch = pool.step(np.zeros((2, 2)))
    assert recording.episodes()["real"].sum(1).tolist() == [2, 5]


def test_nothing_recorded_is_said():
    with environments() as pool:
        recording = Recording(agent_actor, pool)
        with pytest.raises(ValueError, match="no step was recorded"):
            recording.episodes()
