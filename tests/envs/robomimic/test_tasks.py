"""robomimic's tasks as environments: what they deliver, their experts, their refusals."""

import numpy as np
import pytest

import envs
from envs.robomimic.tasks import SENSORS


def play_by_expert(environment, number=0):
    step, rewards = environment.reset(number), []
    while not step.is_last:
        action = environment.expert_action()
        assert action.shape == (7,) and np.abs(action).max() <= 1
        step = environment.step(action)
        rewards.append(step.reward)
    return step, rewards


@pytest.mark.parametrize("name", ["lift", "can", "square"])
def test_the_expert_earns_one_reward_which_ends_the_episode(name):
    environment = envs.make(f"robomimic/{name}", sensors=("robot0_eef_pos",), horizon=200)
    step, rewards = play_by_expert(environment)
    assert step.is_terminal and step.info["success"] == 1
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]
    with pytest.raises(RuntimeError, match="the episode is over"):
        environment.step(np.zeros(7))


def test_an_episode_without_success_tells_how_far_it_came():
    """Three episodes: the gripper stays open; it closes where nothing is; the can is lifted."""
    environment = envs.make("robomimic/can", sensors=("object",), horizon=120)

    def told(step):
        assert step.info["success"] == 0
        return [name for name, value in step.info.items() if value]

    environment.reset(0)
    assert told(environment.step(np.full(7, -1.0))) == ["never_closed"]
    environment.reset(0)
    environment.step(np.full(7, 0.1))
    assert told(environment.step(np.full(7, -1.0))) == ["not_lifted"]
    start = environment.reset(0).values["object"][2]
    for _ in range(80):
        step = environment.step(environment.expert_action())
        lifted = step.values["object"][2] > start + 0.041
        if lifted:
            break
        assert step.values["object"][2] > start + 0.039 or told(step) != ["not_brought"]
    assert lifted and told(step) == ["not_brought"]
    assert told(environment.reset(0)) == ["never_closed"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lift", "can", "square"])
def test_the_expert_succeeds_from_many_starts(name):
    environment = envs.make(f"robomimic/{name}", seed=1, sensors=("robot0_eef_pos",))
    successes = [play_by_expert(environment, n)[0].info["success"] for n in range(25)]
    assert sum(successes) >= 24


def test_values_are_as_declared_and_what_is_unseen_is_not_there():
    environment = envs.make(
        "robomimic/lift", image_size=16, sensors=SENSORS, unseen=("agentview_image", "object")
    )
    for step in (environment.reset(), environment.step(np.ones(7))):
        assert list(step.values) != [] and set(step.values) == set(SENSORS)
        for modality in environment.modalities:
            value = step.values[modality.name]
            assert value.shape == modality.shape and value.dtype == modality.dtype
            unseen = modality.name in ("agentview_image", "object")
            assert step.available[modality.name] == (not unseen)
            assert not (unseen and value.any())
    assert environment.render(24).shape == (24, 24, 3)
    truth = environment.truth()
    np.testing.assert_array_equal(truth["hand"], step.values["robot0_eef_pos"])
    np.testing.assert_array_equal(truth["joints"], step.values["robot0_joint_pos"])
    environment.close()


def test_an_episode_without_success_ends_at_the_horizon_and_is_not_terminal():
    environment = envs.make("robomimic/can", sensors=("object",), horizon=6, action_repeat=2)
    step = environment.reset()
    for _ in range(3):
        assert not step.is_last
        step = environment.step(np.zeros(7))
    assert step.is_last and not step.is_terminal and step.info["success"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sensors": ("agentview_rgb",)}, "agentview_rgb"),
        ({"background": "clips"}, "background"),
        ({"action_repeat": 3}, "400"),
        ({"unseen": ("object",)}, "object"),
    ],
)
def test_what_there_is_not_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        envs.make("robomimic/lift", **changes)


def test_an_unknown_task_is_named():
    with pytest.raises(ValueError, match="robomimic/lift"):
        envs.make("robomimic/lifts")
