"""Expert agreement on recorded episodes: alignment with acting, and whose latents say what."""

import dataclasses

import jax
import numpy as np
import pytest

from envs.processes.parallel import ParallelEnvironments
from experiments.evaluation import agreement as agreement_module
from experiments.evaluation.actors import AgentActor, random_actor
from experiments.evaluation.agreement import LIMIT, Recording, agreement, alone_features, show
from experiments.evaluation.rollout import rollout
from mummi.agent import Agent
from mummi.runs import devices
from tests.support.small import small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

SEED = 3


def environments(count=2, **options):
    return ParallelEnvironments("dummy", [SEED] * count, processes=False, image_size=8, **options)


@pytest.fixture(scope="module")
def agent():
    """An agent with random parameters, and these."""
    with environments(1) as pool:
        made = Agent(small_config(sample_fused=False), pool.modalities, pool.action_size)
    return made, devices.run_once(made.init, 0)


def record(episodes=3, count=2, **options) -> Recording:
    """Of random actions."""
    with environments(count, **options) as pool:
        recording = Recording(random_actor(pool.action_size, count, 0), pool)
        rollout(recording, pool, range(episodes))
    return recording


def test_episodes_are_kept_apart_and_aligned_with_actions_and_truth():
    episodes = record().episodes()
    assert [len(episode["action"]) for episode in episodes] == [20, 20, 20]
    for episode in episodes:
        np.testing.assert_array_equal(episode["truth"]["step"][:, 0], np.arange(20))
        # The dummy's vector holds the step and the sum of the action that led to it.
        vector = episode["values"]["vector"]
        np.testing.assert_array_equal(vector[:, 0], np.arange(20))
        led = np.append(0, episode["action"].sum(-1)[:-1])
        np.testing.assert_allclose(vector[:, 3], led, rtol=1e-5)


def test_what_is_recorded_does_not_depend_on_how_many_play_at_a_time():
    alone, together = (record(episodes=LIMIT + 2, count=n).episodes() for n in (1, 3))
    assert len(alone) == LIMIT
    jax.tree.map(np.testing.assert_array_equal, alone, together)


def test_the_features_of_all_sensors_are_those_that_the_agent_acts_on(agent):
    agent, state = agent
    carries = []
    with environments(1) as pool:
        act = AgentActor(agent, state, 1, 0)

        def watched(batch, numbers):
            actions = act(batch, numbers)
            carries.append(act.carries[0].state.mean[0])
            return actions

        recording = Recording(watched, pool)
        rollout(recording, pool, [0])
    features = alone_features(agent, state, recording.episodes(), SEED)
    assert set(features) == {"all", "image", "depth", "vector", "embedding"}
    # The first step has no past, so no random draw sets the two apart.
    stoch = agent.config.model.stoch
    np.testing.assert_allclose(features["all"][0, -stoch:], carries[0], rtol=1e-4, atol=1e-5)
    assert np.isfinite(features["all"]).all()
    assert not np.allclose(features["image"], features["depth"])


def test_features_are_those_of_a_filter_step_by_step(agent):
    agent, state = agent
    episodes = record(episodes=2, count=1).episodes()
    found = alone_features(agent, state, episodes, SEED)
    has = np.concatenate([np.ones((1, 4), bool), np.eye(4, dtype=bool)])
    told = {m.name: has[:, column] for column, m in enumerate(agent.modalities)}
    filter_step, rows = jax.jit(agent.model.filter_step), []
    for number, episode in enumerate(episodes):
        key = jax.random.fold_in(jax.random.PRNGKey(SEED), number)
        latent = agent.model.rssm.initial(5)
        for t in range(20):
            five = {n: np.repeat(x[t : t + 1], 5, 0) for n, x in episode["values"].items()}
            action = episode["action"][t - 1 : t] if t else np.zeros((1, 2), np.float32)
            seen = (five, told, np.repeat(action, 5, 0), np.full(5, t == 0))
            latent = filter_step(state.model, latent, *seen, jax.random.fold_in(key, t))
            rows.append(np.concatenate([latent.deter, latent.mean], -1))
    for row, name in enumerate(("all", "image", "depth", "vector", "embedding")):
        expected = np.stack(rows)[:, row]
        np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-5)


def test_a_sensor_alone_is_all_that_its_features_follow_from(agent):
    agent, state = agent
    episodes = record().episodes()
    before = alone_features(agent, state, episodes, SEED)
    spoiled = [
        {**e, "values": {**e["values"], "image": 255 - e["values"]["image"]}} for e in episodes
    ]
    after = alone_features(agent, state, spoiled, SEED)
    np.testing.assert_array_equal(before["vector"], after["vector"])
    assert not np.array_equal(before["image"], after["image"])
    assert not np.array_equal(before["all"], after["all"])


def test_it_is_compiled_once_however_many_evaluations_and_however_long_the_episodes(agent):
    agent, state = agent
    agreement(agent, state, record(episodes=2), SEED)
    before = agreement_module._filter._cache_size()
    for episodes, length in ((1, 20), (3, 20), (2, 7), (2, 60)):
        recording = record(episodes=episodes, length=length)
        assert agreement(agent, state, recording, episodes)
    assert agreement_module._filter._cache_size() == before


def test_the_table_says_whose_map_reads_whose_latents(agent, monkeypatch):
    recording = record(episodes=6)
    step = np.concatenate([episode["truth"]["step"] for episode in recording.episodes()])
    noise = np.random.default_rng(0).normal(size=(3, len(step), 2))
    alike = np.concatenate([step, -step], 1)
    latents = {
        "all": alike,
        "image": alike + 0.1 * noise[0],
        "depth": -alike + 0.1 * noise[1],
        "vector": noise[2],
    }
    monkeypatch.setattr("experiments.evaluation.agreement.alone_features", lambda *_: latents)
    table = agreement(*agent, recording, SEED)
    assert list(table) == list(latents) and all(
        list(row) == list(latents) for row in table.values()
    )
    assert min(table[a][b] for a in ("all", "image") for b in ("all", "image")) > 0.9
    assert table["depth"]["depth"] > 0.9 and table["image"]["depth"] == -1.0  # mirrored
    assert table["vector"]["vector"] < 0.1
    assert show(table).row_count == len(latents)


def with_truth(recording: Recording, change) -> Recording:
    """What is true changed by ``change``, of every step."""
    for steps in recording._steps.values():
        for step in steps:
            step["truth"] = change(step["truth"])
    return recording


def test_where_nothing_moves_or_too_little_was_seen_there_is_nothing_to_tell(agent):
    still = with_truth(record(episodes=2), lambda truth: {"step": np.ones_like(truth["step"])})
    assert agreement(*agent, still, SEED) == {}
    with environments(1) as pool:
        short = Recording(random_actor(pool.action_size, 1, 0), pool)
        short(pool.reset([0]), [0])
    assert agreement(*agent, short, SEED) == {}


def test_where_the_physical_state_is_not_known_there_is_nothing_to_tell(agent):
    assert agreement(*agent, with_truth(record(episodes=2), lambda _: {}), SEED) == {}


def test_the_truth_is_asked_for_as_long_as_episodes_are_kept(monkeypatch):
    asked = []
    truth = ParallelEnvironments.truth
    monkeypatch.setattr(ParallelEnvironments, "truth", lambda self: asked.append(1) or truth(self))
    for episodes in (LIMIT, LIMIT + 4):
        asked.clear()
        assert len(record(episodes=episodes, count=1).episodes()) == LIMIT
        assert len(asked) == 20 * LIMIT


def test_what_a_lost_worker_began_is_dropped():
    with environments() as pool:
        recording = Recording(random_actor(pool.action_size, 2, 0), pool)
        batch = pool.reset([0, 1])
        for step in range(5):
            lost = np.array([step == 3, False])
            first = batch.is_first | lost
            recording(dataclasses.replace(batch, restarted=lost, is_first=first), [0, 1])
            batch = pool.step(np.zeros((2, 2)))
    assert [len(episode["action"]) for episode in recording.episodes()] == [2, 5]


def test_nothing_recorded_is_said():
    with environments() as pool:
        recording = Recording(AgentActor, pool)
        with pytest.raises(ValueError, match="no step was recorded"):
            recording.episodes()
