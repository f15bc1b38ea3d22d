"""MetaWorld as an environment: sensors, episodes, success, experts and pictures."""

import numpy as np
import pytest

import envs
from envs.metaworld.catalogue import GROUPS, TASKS
from tests.support.libero_here import needs_encoder
from tests.support.metaworld_here import needs_metaworld

pytestmark = needs_metaworld
FORWARD = np.array([0.3, 0.8, -0.5, 1.0])


@pytest.fixture
def make():
    made = []

    def build(task, **changes):
        made.append(envs.make(task, **{"image_size": 16, "seed": 3} | changes))
        return made[-1]

    yield build
    for environment in made:
        environment.close()


def until_the_end(environment, number):
    steps = [environment.reset(number)]
    while not steps[-1].is_last:
        steps.append(environment.step(environment.expert_action()))
    return steps


def test_every_task_is_made_and_steps(make):
    """Without pictures, which the same code draws for each."""
    environment = make("metaworld", sensors=("proprio",), training=False)
    for number in range(len(TASKS)):
        step, before = environment.reset(number), environment.truth()
        assert step.info == {"success": 0, "task": number}
        after = environment.step(FORWARD)
        assert np.isfinite(after.values["proprio"]).all() and after.reward == 0
        assert after.values["proprio"][1] > step.values["proprio"][1] - 1e-3
        assert {name: value.shape for name, value in before.items()} == {
            "hand": (3,), "gripper": (1,), "object": (3,), "goal": (3,)
        }  # fmt: skip


@needs_encoder
def test_values_are_as_declared_and_the_instruction_cannot_fail(make):
    from envs.instruction import embed
    from envs.metaworld.tasks import SENSORS

    environment = make("metaworld_hard", sensors=SENSORS, image_size=48, training=False)
    assert tuple(m.name for m in environment.modalities) == SENSORS
    assert [m.name for m in environment.modalities if not m.can_fail] == ["instruction"]
    for number in range(2):
        for step in (environment.reset(number), environment.step(FORWARD)):
            assert all(step.available.values())
            for modality in environment.modalities:
                value = step.values[modality.name]
                assert value.shape == modality.shape and value.dtype == modality.dtype
            assert step.values["corner_rgb"].std() > 20 < step.values["wrist_rgb"].std()
            for depth in ("corner_depth", "wrist_depth"):
                assert 0 <= step.values[depth].min() < step.values[depth].max() <= 1
            sentence = TASKS[GROUPS["metaworld_hard"][number]]
            np.testing.assert_array_equal(step.values["instruction"], embed((sentence,))[0])
    truth = environment.truth()
    proprio = np.concatenate((truth["hand"], truth["gripper"]))
    np.testing.assert_array_equal(step.values["proprio"], proprio)


def test_a_group_is_told_its_task_and_a_single_task_is_not(make):
    single = [m.name for m in make("metaworld/reach").modalities]
    assert single == ["corner_rgb", "wrist_rgb", "proprio"]
    if envs.options("metaworld").encoder == "minilm":
        pytest.importorskip("tokenizers")
    names = [m.name for m in make("metaworld_very_hard").modalities]
    assert names == [*single, "instruction"]


@pytest.mark.parametrize("task", ["reach", "button-press", "plate-slide-back", "coffee-button"])
def test_an_expert_succeeds_which_ends_the_episode_with_the_only_reward(make, task):
    steps = until_the_end(make(f"metaworld/{task}", sensors=("proprio",)), 1)
    assert steps[-1].is_terminal and steps[-1].info["success"] == 1
    assert [step.reward for step in steps] == [0.0] * (len(steps) - 1) + [1.0]
    assert len(steps) < 100


def test_with_the_dense_reward_an_episode_goes_on_after_its_success(make):
    shaped = {"reward_shaping": True, "early_termination": False, "sensors": ("proprio",)}
    steps = until_the_end(make("metaworld/reach", horizon=80, **shaped), 1)
    assert len(steps) == 81 and steps[-1].is_last and not steps[-1].is_terminal
    rewards = np.array([step.reward for step in steps[1:]])
    assert rewards.min() > 0 and rewards.max() == pytest.approx(10, abs=0.1)
    successes = [step.info["success"] for step in steps]
    assert successes == sorted(successes) and successes[-1] == 1


def test_rewards_are_summed_over_a_repeated_action_and_actions_are_clipped(make):
    shaped = {"reward_shaping": True, "early_termination": False, "sensors": ("proprio",)}
    single = make("metaworld/push", horizon=12, **shaped)
    triple = make("metaworld/push", horizon=12, action_repeat=3, **shaped)
    single.reset(0)
    triple.reset(0)
    one = [single.step(10 * FORWARD) for _ in range(3)]
    other = triple.step(np.clip(10 * FORWARD, -1, 1))
    assert other.reward == pytest.approx(sum(step.reward for step in one))
    np.testing.assert_array_equal(one[-1].values["proprio"], other.values["proprio"])
    while not other.is_last:
        other = triple.step(FORWARD)
    with pytest.raises(RuntimeError, match="the episode is over"):
        triple.step(FORWARD)


def test_an_episode_follows_from_its_number_whoever_plays_it(make):
    sensors = ("corner_rgb", "proprio")
    used, fresh = (make("metaworld_very_hard", sensors=sensors) for _ in range(2))
    tasks = [used.reset(number).info["task"] for number in range(5)]
    assert len(set(tasks)) > 1
    for number in (4, next(n for n in range(4) if tasks[n] != tasks[4])):
        pairs = [(used.reset(number), fresh.reset(number))]
        pairs.append((used.step(FORWARD), fresh.step(FORWARD)))
        for one, other in pairs:
            assert one.info == other.info
            for name in sensors:
                np.testing.assert_array_equal(one.values[name], other.values[name])
        one_goal, other_goal = used.truth()["goal"], fresh.truth()["goal"]
        np.testing.assert_array_equal(one_goal, other_goal)
    assert not np.array_equal(used.reset(4).values["corner_rgb"], one.values["corner_rgb"])


def test_in_training_tasks_are_drawn_and_in_evaluation_taken_in_turn(make):
    played = {}
    for training in (True, False):
        environment = make("metaworld_very_hard", sensors=("proprio",), training=training)
        played[training] = [environment.reset().info["task"] for _ in range(6)]
    indices = [list(TASKS).index(task) for task in GROUPS["metaworld_very_hard"]]
    assert played[False] == [*indices, indices[0]]
    assert played[True] != played[False] and set(played[True]) <= set(indices)


def test_a_camera_that_is_not_seen_changes_nothing_else(make):
    whole, half = make("metaworld/hammer"), make("metaworld/hammer", unseen=["wrist_rgb"])
    for one, other in ((whole.reset(2), half.reset(2)), (whole.step(FORWARD), half.step(FORWARD))):
        for name in ("corner_rgb", "proprio"):
            np.testing.assert_array_equal(one.values[name], other.values[name])
        assert one.values["wrist_rgb"].any() and not other.values["wrist_rgb"].any()
        assert other.available == one.available | {"wrist_rgb": False}


@pytest.mark.parametrize("missing", ["medium", "high", "faults"])
def test_its_sensors_fail_by_every_script(make, missing):
    environment = make("metaworld/push", missing=missing, sensors=("proprio", "wrist_rgb"))
    steps = [environment.reset(0), *(environment.step(FORWARD) for _ in range(99))]
    share = np.mean([list(step.available.values()) for step in steps])
    assert 0 < share < 0.95


def test_the_corner_sees_the_scene_upright_and_the_hand_where_it_is(make):
    """The hand's fingers, cyan and white, and the goal's blue mark, projected by hand."""
    environment = make("metaworld/pick-place", image_size=128)
    step = environment.reset(0)
    for _ in range(25):
        step = environment.step(environment.expert_action())
    picture = step.values["corner_rgb"].astype(int)
    model, data = environment._simulator.model, environment._simulator.data
    camera = data.camera("corner4")
    # Upright: what is higher in the world is higher in the picture.
    assert camera.xmat.reshape(3, 3)[2, 1] > 0.5
    for place, is_it in (
        (data.body("leftpad").xpos, lambda p: p[..., 1] - p[..., 0] > 60),
        (environment.truth()["goal"], lambda p: p[..., 2] - p[..., :2].max(-1) > 60),
    ):
        x, y, z = camera.xmat.reshape(3, 3).T @ (place - camera.xpos)
        scale = 64 / np.tan(np.radians(model.camera("corner4").fovy[0]) / 2)
        row, column = 64 - scale * y / -z, 64 + scale * x / -z
        found = np.argwhere(is_it(picture)).mean(0)
        np.testing.assert_allclose(found, (row, column), atol=5)


def test_pictures_for_people_have_any_size_and_follow_the_task(make):
    environment = make("metaworld_hard", sensors=("proprio",), training=False)
    environment.reset(0)
    first = environment.render(40)
    environment.reset(1)
    assert first.shape == environment.render(40).shape == (40, 40, 3)
    assert not np.array_equal(first, environment.render(40))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": "beach.mp4"}, "background is 'beach.mp4'"),
        ({"sensors": ("rgb",)}, "choose at least one, each once, of corner_rgb"),
        ({"action_repeat": 3}, "it must be a positive divisor of 200"),
        ({"unseen": ("rgb",)}, "unknown modality 'rgb' in unseen"),
        ({"horizn": 3}, "unknown option 'horizn'.*did you mean"),
    ],
)
def test_what_cannot_be_is_refused(make, changes, message):
    with pytest.raises(ValueError, match=message):
        make("metaworld/reach", **changes)
