"""MetaWorld's own physics, reward and success, in episodes that follow from a seed."""

import numpy as np
import pytest

from envs.metaworld.catalogue import TASKS
from tests.support.metaworld_here import needs_metaworld

pytestmark = needs_metaworld
QUICK = ("assembly", "button-press-wall", "stick-pull")
SEED = np.random.SeedSequence(5)


@pytest.mark.filterwarnings("ignore:Constant")
@pytest.mark.parametrize(
    "name", [t if t in QUICK else pytest.param(t, marks=pytest.mark.slow) for t in TASKS]
)
def test_an_episode_is_metaworlds_own_whatever_was_played_before_and_however_it_is_drawn(name):
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP

    from envs.metaworld.scene import prepare
    from envs.metaworld.simulator import MetaworldSimulator

    used = MetaworldSimulator(name, 100)
    prepare(used.model)
    for seed in range(2):
        used.reset_to(np.random.SeedSequence(seed))
        for _ in range(10):
            used.step(used.expert_action())
    used.reset_to(SEED)

    original, expert = ALL_V3_ENVIRONMENTS[f"{name}-v3"](), ENV_POLICY_MAP[f"{name}-v3"]()
    original._partially_observable = original._freeze_rand_vec = False
    original._set_task_called = original.seeded_rand_vec = True
    del original.sawyer_observation_space
    original.np_random = np.random.default_rng(SEED)
    observation, random = original.reset()[0], np.random.default_rng(0)
    np.testing.assert_array_equal(used.observation, observation)
    for step in range(8):
        action = np.clip(expert.get_action(observation), -1, 1).astype(float)
        np.testing.assert_array_equal(used.expert_action(), action)
        if step % 2:
            action = random.uniform(-1, 1, 4)
        observation, reward, _, _, info = original.step(action)
        assert used.step(action) == (reward, bool(info["success"]))
        np.testing.assert_array_equal(used.observation, observation)
        np.testing.assert_array_equal(used.data.site_xpos, original.data.site_xpos)


def test_marks_of_goals_are_in_their_places_before_the_first_step():
    from envs.metaworld.simulator import MetaworldSimulator

    simulator = MetaworldSimulator("push", 100)
    for seed in range(3):
        simulator.reset_to(np.random.SeedSequence(seed))
        mark = simulator.data.site("goal").xpos.copy()
        np.testing.assert_array_equal(mark, simulator.goal)
        simulator.step(np.zeros(4))
        np.testing.assert_array_equal(simulator.data.site("goal").xpos, mark)
