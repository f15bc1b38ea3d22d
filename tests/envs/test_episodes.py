"""Episode n is the same whoever plays it, and whatever was played before."""

import numpy as np
import pytest

import envs
from envs.episodes import Episodes
from tests.support.libero_here import needs_libero
from tests.support.metaworld_here import needs_metaworld
from tests.support.pusht_here import needs_pusht

TASKS = {
    "dummy": {"missing": "high"},
    "toy_laser_camera": {},
    "walker_walk": {"missing": "medium"},
    "cup_catch": {"background": "none"},
    "table_wiping": {"sensors": ("workspace_rgb", "robot_depth", "proprio", "force")},
    "libero_goal/2": {"sensors": ("agentview_rgb", "proprio")},
    "robomimic/lift": {"sensors": ("robot0_eye_in_hand_image", "object")},
    "metaworld/hammer": {"sensors": ("wrist_rgb", "corner_depth", "proprio")},
    "pusht": {"sensors": ("image", "state", "keypoints")},
}
EXTRAS = {"libero": needs_libero, "metaworld": needs_metaworld, "pusht": needs_pusht}
every_task = pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, marks=[m for name, m in EXTRAS.items() if task.startswith(name)])
        for task in TASKS
    ],
)


@pytest.fixture
def make():
    made = []

    def build(task, **changes):
        made.append(envs.make(task, **{"image_size": 16, "seed": (4, 1)} | TASKS[task] | changes))
        return made[-1]

    yield build
    for environment in made:
        environment.close()


def play(environment, number, steps=6):
    """Everything that an episode delivers to actions that do not depend on it, bit by bit."""
    random, seen = np.random.default_rng(0), []
    step = environment.reset(number)
    while True:
        values = {name: value.tobytes() for name, value in step.values.items()}
        seen.append((values, dict(step.available), step.reward, step.is_last, step.is_terminal))
        if len(seen) > steps or step.is_last:
            return seen
        step = environment.step(random.uniform(-1, 1, environment.action_size))


@every_task
def test_an_episode_follows_from_its_number_and_not_from_the_episodes_before(make, task):
    first = play(make(task), 3)
    used = make(task)
    others = [play(used, number, steps=9) for number in (None, 8)]
    np.random.random(5)
    assert play(used, 3) == first
    assert all(first[0] != other[0] for other in others)


@pytest.mark.parametrize("task", ["dummy", "toy_laser_camera", "walker_walk"])
def test_another_seed_is_another_episode(make, task):
    assert play(make(task), 3, 1) != play(make(task, seed=(4, 2)), 3, 1)


def test_without_a_number_an_environment_counts_whatever_is_numbered_between(make):
    counting, mixed = (make("toy_laser_camera") for _ in range(2))
    plain = [play(counting, None, 1) for _ in range(3)]
    assert len({str(episode) for episode in plain}) == 3
    assert play(mixed, None, 1) == plain[0]
    play(mixed, 7, 1)
    assert [play(mixed, None, 1) for _ in range(2)] == plain[1:]


def test_the_planner_draws_the_same_noise_in_the_same_episode(make):
    def actions(environment, number):
        environment.reset(number)
        return [environment.expert_action().tolist() for _ in range(2)]

    one, other = (make("cup_catch") for _ in range(2))
    expected = actions(one, 5)
    assert actions(other, 6) != expected
    assert actions(other, 5) == expected == actions(other, 5)


@needs_libero
def test_numbers_cover_the_tasks_of_a_suite_evenly_and_then_its_states():
    from envs.libero import tasks as libero

    suite = envs.make("libero_goal", training=False, sensors=("proprio",), image_size=16)
    starts = [suite._start(n, np.random.SeedSequence(n)) for n in range(30)]
    assert [task.index for task, _ in starts] == [*range(10)] * 3
    states = [state for _, state in starts]
    assert states == [state for state in states[::10] for _ in range(10)]
    assert len(set(states)) == 3 and set(states) <= set(libero.EVALUATION_STATES)
    suite.close()


@pytest.mark.parametrize("number", [-1, 1.0, True, "2"])
def test_a_number_that_is_none_is_refused(number):
    with pytest.raises(ValueError, match=r"episode number is .*; it must be an integer of at"):
        Episodes(0).begin(number)


def test_seeds_of_episodes_are_all_different():
    states = [
        tuple(Episodes(seed).begin(number)[1].generate_state(4))
        for seed in (0, 1, (0, 1), (1, 0, 5))
        for number in range(50)
    ]
    assert len(set(states)) == len(states)
