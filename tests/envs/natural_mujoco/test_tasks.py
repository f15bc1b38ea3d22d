"""The control-suite tasks, every one: sensors, physics, background, time and errors."""

import numpy as np
import pytest

import envs
from envs.episodes import Episodes
from envs.natural_mujoco.tasks import TASKS

import mujoco  # isort: skip  (after envs, which chooses the OpenGL backend)
from dm_control import suite  # isort: skip

SUITE_NAMES = {
    "walker_stand": ("walker", "stand"),
    "walker_walk": ("walker", "walk"),
    "walker_run": ("walker", "run"),
    "finger_spin": ("finger", "spin"),
    "cup_catch": ("ball_in_cup", "catch"),
}
every_task = pytest.mark.parametrize("task", TASKS)
every_body = pytest.mark.parametrize("task", ["walker_walk", "finger_spin", "cup_catch"])


@pytest.fixture
def make():
    made = []

    def build(task, **options):
        made.append(envs.make(task, **options))
        return made[-1]

    yield build
    for environment in made:
        environment.close()


def run(environment, steps=15, seed=0):
    rng = np.random.default_rng(seed)
    trajectory = [environment.reset()]
    for _ in range(steps):
        trajectory.append(environment.step(rng.uniform(-1, 1, environment.action_size)))
    return trajectory


def stacked(trajectory, name):
    return np.stack([step.values[name] for step in trajectory])


@every_task
def test_values_are_as_declared(make, task):
    environment = make(task, image_size=48)
    assert [m.name for m in environment.modalities] == ["rgb", "depth", "touch"]
    for step in run(environment):
        assert list(step.values) == list(step.available) == ["rgb", "depth", "touch"]
        assert all(step.available.values()) and not step.is_terminal
        for modality in environment.modalities:
            value = step.values[modality.name]
            assert value.shape == modality.shape and value.dtype == modality.dtype
        assert 0 <= step.values["depth"].min() <= step.values["depth"].max() <= 1
        assert np.isfinite(step.values["touch"]).all()
    picture = environment.render(100)
    assert picture.shape == (100, 100, 3) and picture.dtype == np.uint8


@pytest.mark.parametrize("sensors", [("rgb",), ("touch", "depth"), ("touch",)], ids=" ".join)
def test_some_sensors_alone_are_as_among_all(make, sensors):
    few, every = run(make("walker_walk", sensors=sensors)), run(make("walker_walk"))
    for step, whole in zip(few, every, strict=True):
        assert tuple(step.values) == tuple(step.available) == sensors
        for name in sensors:
            np.testing.assert_array_equal(step.values[name], whole.values[name])


def test_sensors_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="sensors are rgb, smell; "):
        envs.make("finger_spin", sensors=("rgb", "smell"))


@every_body
def test_values_are_not_overwritten_by_later_steps(make, task):
    environment = make(task)
    first = environment.reset()
    kept = {name: value.copy() for name, value in first.values.items()}
    for _ in range(3):
        environment.step(np.ones(environment.action_size))
    for name, value in kept.items():
        np.testing.assert_array_equal(first.values[name], value)


@every_body
def test_everything_follows_from_the_seed(make, task):
    first, again = run(make(task, seed=[1, 2])), run(make(task, seed=[1, 2]))
    other = run(make(task, seed=[1, 3]))
    for name in ("rgb", "depth", "touch"):
        np.testing.assert_array_equal(stacked(first, name), stacked(again, name))
    assert (stacked(first, "rgb") != stacked(other, "rgb")).any()
    assert (stacked(first, "depth") != stacked(other, "depth")).any()


@every_body
def test_depth_and_touch_never_show_the_background(make, task, tmp_path):
    plain = run(make(task, background="none"))
    natural = run(make(task))
    evaluation = run(make(task, training=False))
    for other in (natural, evaluation):
        np.testing.assert_array_equal(stacked(plain, "depth"), stacked(other, "depth"))
        np.testing.assert_array_equal(stacked(plain, "touch"), stacked(other, "touch"))
    body = stacked(plain, "depth")[..., 0] < 1
    assert body.any((1, 2)).all()
    pictures = [stacked(trajectory, "rgb") for trajectory in (plain, natural, evaluation)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        differs = (pictures[one] != pictures[other]).any(-1)
        assert not differs[body].any()
        assert differs[~body].mean() > 0.9


@every_body
def test_the_body_spans_most_of_the_depth_range(make, task):
    depth = np.concatenate([stacked(run(make(task, seed=s), 40), "depth") for s in range(5)])
    body = depth[depth < 1]
    assert 0 < body.min() < 0.3 and 0.6 < body.max() < 1


@every_task
def test_body_is_that_of_a_segmentation_render(make, task):
    environment = make(task, background="none")
    step = run(environment)[-1]
    model, data = environment._model, environment._data
    for geom in np.flatnonzero(model.geom_bodyid == 0):
        model.geom_group[geom] = 5
    with mujoco.Renderer(model, 64, 64) as reference:
        reference.enable_segmentation_rendering()
        reference.update_scene(data, environment._domain.camera)
        segmented = reference.render()[..., 0] >= 0
    np.testing.assert_array_equal(step.values["depth"][..., 0] < 1, segmented)


@every_task
@pytest.mark.parametrize("repeat", [1, 4])
def test_physics_and_rewards_are_the_suites_own(make, task, repeat):
    environment = make(task, seed=7, background="none", action_repeat=repeat)
    seed = int(np.random.SeedSequence(7).generate_state(2)[0])
    _, episode = Episodes(np.random.SeedSequence(seed).spawn(2)[0]).begin(0)
    random = np.random.RandomState(np.random.MT19937(episode.spawn(2)[0]))
    original = suite.load(*SUITE_NAMES[task], task_kwargs={"random": random})
    rng = np.random.default_rng(0)
    environment.reset(), original.reset()
    for _ in range(60):
        action = rng.uniform(-1, 1, environment.action_size)
        reward = sum(original.step(action).reward for _ in range(repeat))
        assert environment.step(action).reward == reward
        np.testing.assert_array_equal(
            environment._physics.get_state(), original.physics.get_state()
        )


@every_task
def test_an_episode_is_a_thousand_control_steps(make, task):
    environment = make(task, image_size=8, background="none", action_repeat=50)
    for _ in range(2):
        steps = run(environment, steps=20)
        assert [step.is_first for step in steps] == [True] + [False] * 20
        assert [step.is_last for step in steps] == [False] * 20 + [True]
        assert steps[0].reward == 0
        with pytest.raises(RuntimeError, match="call reset"):
            environment.step(np.zeros(environment.action_size))


def test_feet_feel_every_contact_with_its_whole_normal_force(make):
    environment = make("walker_stand", background="none")
    model = environment._model
    feet = [model.geom(f"{side}_foot").id for side in ("right", "left")]
    environment.reset()
    rng = np.random.default_rng(0)
    # Contacts and forces of one instant, which the environment's own data does not hold.
    instant, wrench = mujoco.MjData(model), np.zeros(6)
    touched = 0
    for _ in range(80):
        environment.step(rng.uniform(-1, 1, 6))
        mujoco.mj_copyData(instant, model, environment._data)
        mujoco.mj_forward(model, instant)
        expected = np.zeros(2)
        for i, contact in enumerate(instant.contact):
            mujoco.mj_contactForce(model, instant, i, wrench)
            expected += wrench[0] * np.isin(feet, contact.geom)
        np.testing.assert_allclose(instant.sensordata[environment._touch], expected, atol=1e-6)
        touched += (expected > 0).any()
    assert 10 < touched < 80


def test_the_finger_feels_the_spinner(make):
    environment = make("finger_spin", background="none")
    environment.reset()
    rng = np.random.default_rng(0)
    touch = []
    for i in range(200):
        if i % 10 == 0:
            action = rng.choice([-1.0, 1.0], 2)
        touch.append(environment.step(action).values["touch"])
    assert 0 < (np.array(touch) > 0).any(1).mean() < 0.9


def test_the_cup_feels_the_ball_inside_it(make):
    environment = make("cup_catch", background="none")
    environment.reset()
    qpos = environment._physics.named.data.qpos
    assert environment.step(np.zeros(2)).values["touch"] == 0
    # The ball just above the cup's floor, which is at 0.6 - 0.092 m; the ball's body is at 0.2 m.
    qpos[["ball_x", "ball_z"]] = 0, 0.54 - 0.2
    qpos[["cup_x", "cup_z"]] = 0
    environment._data.qvel[:] = 0
    environment._physics.forward()
    touch = [environment.step(np.zeros(2)).values["touch"] for _ in range(30)]
    assert environment._task.get_reward(environment._physics) == 1
    assert touch[-1] > 0.02


@every_task
def test_bad_actions_are_refused(make, task):
    environment = make(task, image_size=8)
    with pytest.raises(RuntimeError, match="call reset"):
        environment.step(np.zeros(environment.action_size))
    environment.reset()
    size = environment.action_size
    for action in (np.full(size, np.nan), np.zeros(size + 1)):
        with pytest.raises(ValueError, match=f"it must be {size} finite numbers"):
            environment.step(action)


def test_actions_are_clipped(make):
    far, near = make("cup_catch", seed=1), make("cup_catch", seed=1)
    far.reset(), near.reset()
    for _ in range(5):
        far.step(np.array([9.0, -9.0])), near.step(np.array([1.0, -1.0]))
    np.testing.assert_array_equal(far._data.qpos, near._data.qpos)


def test_pictures_for_people_leave_the_agents_alone(make):
    watched, alone = make("walker_walk", seed=2), make("walker_walk", seed=2)
    watched.reset(), alone.reset()
    for size in (64, 128, 128):
        watched.render(size)
        action = np.full(6, 0.3)
        np.testing.assert_array_equal(
            watched.step(action).values["rgb"], alone.step(action).values["rgb"]
        )


def test_pictures_for_people_show_what_the_agent_sees(make):
    for background in ("none", "natural"):
        environment = make("finger_spin", background=background)
        seen = environment.reset().values["rgb"].astype(float)
        shown = environment.render(64).astype(float)
        assert abs(seen - shown).mean() < 6


def test_names(make):
    assert set(TASKS) <= set(envs.tasks())
    assert make("dmc_finger_spin", image_size=8).action_size == 2
    with pytest.raises(ValueError, match=r"unknown task 'walker_wlak' .* you mean 'walker_walk'"):
        envs.make("walker_wlak")
    with pytest.raises(ValueError, match=r"unknown task 'chess' .tasks are .*cup_catch"):
        envs.make("chess")
    with pytest.raises(ValueError, match="action_repeat is 3"):
        envs.make("walker_walk", action_repeat=3)


def test_missing_sensors_follow_the_script(make):
    steps = run(make("cup_catch", missing="high", seed=5), 100)
    missing = [not available for step in steps for available in step.available.values()]
    assert 0.3 < np.mean(missing) < 1


def test_the_truth_is_the_suites_observation_and_no_failure_touches_it(make):
    environment = make("walker_stand", missing="high")
    environment.reset()
    environment.step(np.ones(environment.action_size))
    truth = environment.truth()
    assert {name: value.shape for name, value in truth.items()} == {
        "orientations": (14,), "height": (1,), "velocity": (9,),
    }  # fmt: skip
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in truth.values())
    assert 0 < truth["height"][0] < 2
