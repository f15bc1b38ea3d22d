"""Table Wiping: sensors, physics, reward, time, seeds and pictures, on the real simulator."""

import numpy as np
import pytest

from envs.robosuite import global_numpy_random, load_controller_config
from envs.table_wiping.scene import ROBOT, WORKSPACE
from envs.table_wiping.simulator import Wipe
from envs.table_wiping.task import SENSORS, TableWiping

import mujoco  # isort: skip  (after envs, which chooses the OpenGL backend)

DOWN = np.array([0.1, 0.1, -0.7, 0, 0, 0])


def brown(colours):
    """Which colours [..., 3] are the dirt's; table, arm and tool are grey, the floor is paler."""
    return colours[..., 0].astype(int) - colours[..., 2] > 45


@pytest.fixture(scope="module")
def environment():
    """robosuite's own scene, seen by every sensor."""
    made = TableWiping(seed=3, sensors=SENSORS, randomisation=False)
    yield made
    made.close()


@pytest.fixture(scope="module")
def short():
    """Three actions of two control steps, sparse reward, and no end but the horizon."""
    made = TableWiping(
        seed=[3, 4],
        image_size=16,
        action_repeat=2,
        horizon=6,
        reward_shaping=False,
        early_termination=False,
        randomisation=False,
        sensors=("force", "robot_rgb"),
    )
    yield made
    made.close()


def test_values_are_as_declared(environment):
    assert [m.name for m in environment.modalities] == list(SENSORS)
    for step in (environment.reset(), environment.step(DOWN)):
        assert list(step.values) == list(step.available) == list(SENSORS)
        assert all(step.available.values())
        assert step.info == {"success": 0, "wiped": 0}
        for modality in environment.modalities:
            value = step.values[modality.name]
            assert value.shape == modality.shape and value.dtype == modality.dtype
            assert np.isfinite(value).all()
            if modality.kind == "depth":
                assert 0 <= value.min() < value.max() <= 1


def test_values_are_not_overwritten_by_later_steps(environment):
    first = environment.reset()
    kept = {name: value.copy() for name, value in first.values.items()}
    for _ in range(3):
        environment.step(DOWN)
    for name, value in kept.items():
        np.testing.assert_array_equal(first.values[name], value)


def test_physics_and_rewards_are_robosuites_own():
    ours = TableWiping(seed=7, image_size=8, randomisation=False)
    start = np.random.SeedSequence(7, spawn_key=(0,)).spawn(2)[0]
    original = Wipe(
        "Panda",
        controller_configs=load_controller_config(default_controller="OSC_POSE"),
        use_camera_obs=False,
        has_offscreen_renderer=False,
        hard_reset=False,
    )
    with global_numpy_random(start):
        original.reset()
    ours.reset()
    # Straight to the dirt, so that markers are wiped.
    goal = original._get_wipe_information()[1]
    rewards = []
    for _ in range(45):
        way = goal - original._eef_xpos
        action = np.clip([*(way[:2] / 0.05), way[2] / 0.05 - 0.2, 0, 0, 0], -1, 1)
        step = ours.step(action)
        rewards.append(original.step(action)[1])
        assert step.reward == pytest.approx(rewards[-1], abs=1e-12)
        np.testing.assert_array_equal(ours._data.qpos, original.sim.data.qpos)
        assert step.info["wiped"] == len(original.wiped_markers) / 100
    assert step.info["wiped"] > 0 and max(rewards) > 1.6
    ours.close()


def test_everything_follows_from_the_seed_and_the_global_generator_is_left_alone(environment):
    def frames(made):
        kept = []
        for number in range(2):
            kept.append(made.reset(number).values)
            kept.append(made.step(DOWN).values)
        return {name: np.stack([values[name] for values in kept]) for name in kept[0]}

    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    again, other = (TableWiping(seed=seed, sensors=SENSORS, randomisation=False) for seed in (3, 4))
    first, second, third = frames(environment), frames(again), frames(other)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    for name in SENSORS:
        np.testing.assert_array_equal(first[name], second[name])
        assert (first[name] != third[name]).any()
        assert (first[name][0] != first[name][2]).any()
    again.close(), other.close()


def pixels_of(environment, camera, points):
    """Rows and columns [N] at 64 pixels where points [N, 3] appear, by the pinhole equation."""
    data, model = environment._data, environment._model
    camera = model.camera(camera).id
    x, y, z = ((points - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)).T
    focal = 32 / np.tan(np.deg2rad(model.cam_fovy[camera]) / 2)
    return np.floor(32 + focal * y / z).astype(int), np.floor(32 - focal * x / z).astype(int)


@pytest.mark.parametrize(("view", "camera"), [("workspace", WORKSPACE), ("robot", ROBOT)])
def test_both_cameras_show_the_dirt_where_it_is(environment, view, camera):
    seen = []
    for _ in range(5):
        picture = environment.reset().values[f"{view}_rgb"].astype(int)
        rows, columns = pixels_of(environment, camera, environment.state().dirt)
        inside = (rows >= 0) & (rows < 64) & (columns >= 0) & (columns < 64)
        colours = picture[rows[inside], columns[inside]]
        seen.append(np.mean(brown(colours)) if len(colours) > 30 else np.nan)
    assert np.nanmean(seen) > 0.8
    assert np.isnan(seen).sum() <= (0 if view == "workspace" else 3)


def test_wiped_dirt_disappears_from_the_picture(environment):
    step = environment.reset()
    simulator = environment._simulator
    tool = simulator.tool[0]
    bodies = simulator._marker_bodies
    table = environment._model.body("table").pos
    # All the dirt below the tool.
    environment._model.body_pos[bodies, :2] = tool[:2] - table[:2]

    assert brown(environment.step(np.zeros(6)).values["robot_rgb"]).any()
    while not step.is_last:
        step = environment.step(np.array([0, 0, -0.3, 0, 0, 0]))
    assert step.info == {"success": 1, "wiped": 1} and step.is_terminal
    assert not brown(step.values["workspace_rgb"]).any()
    assert len(environment.state().dirt) == 0


def test_depth_is_the_distance_along_the_cameras_axis(environment):
    step = environment.reset()
    model, data = environment._model, environment._data
    camera = model.camera(WORKSPACE)
    axes = data.cam_xmat[camera.id].reshape(3, 3)
    focal = 1 / np.tan(np.deg2rad(camera.fovy[0]) / 2)
    for row, column in [(20, 50), (32, 32), (45, 12), (55, 40)]:
        direction = axes @ [(column - 31.5) / 32 / focal, (31.5 - row) / 32 / focal, -1]
        # The surface of the table, unless something stands before it.
        distance = (0.9 - data.cam_xpos[camera.id][2]) / direction[2]
        depth = 0.4 + step.values["workspace_depth"][row, column, 0]
        assert depth == pytest.approx(distance, abs=2e-3)


def test_the_wrist_feels_the_contact_force(environment):
    environment.reset()
    free = environment.step(np.zeros(6)).values["force"]
    assert np.abs(free[:3]).max() < 0.2
    forces, contacts, wrench = [], [], np.zeros(6)
    instant = mujoco.MjData(environment._model)
    for k in range(80):
        step = environment.step(np.array([0, 0, -0.2, 0, 0, 0]))
        if k < 70:
            continue
        felt = step.values["force"][:3] * 5
        forces.append(np.linalg.norm(np.expm1(np.abs(felt))))
        mujoco.mj_copyData(instant, environment._model, environment._data)
        mujoco.mj_forward(environment._model, instant)
        total = 0.0
        for i in range(instant.ncon):
            mujoco.mj_contactForce(environment._model, instant, i, wrench)
            total += wrench[0]
        contacts.append(total)
        assert environment.truth()["force"][0] == pytest.approx(forces[-1], rel=1e-4)
    assert 10 < np.mean(contacts) < 60
    assert np.mean(forces) == pytest.approx(np.mean(contacts), rel=0.2)


def test_proprioception_is_that_of_the_joints_and_the_tool(environment):
    environment.reset()
    values = environment.step(DOWN).values["proprio"]
    angles, speeds = environment._data.qpos, environment._data.qvel
    np.testing.assert_allclose(values[:21], [*np.cos(angles), *np.sin(angles), *speeds], atol=1e-6)
    data = mujoco.MjData(environment._model)
    data.qpos[:] = angles
    mujoco.mj_kinematics(environment._model, data)
    # The tool's position is that of one simulation step before, 2 ms.
    np.testing.assert_allclose(values[21:24], data.site("gripper0_grip_site").xpos, atol=2e-3)
    truth = environment.truth()
    np.testing.assert_allclose(truth["tool"] + [0.15, 0, 0.9], values[21:24], atol=1e-6)
    np.testing.assert_allclose(truth["joints"], angles, atol=1e-6)


def test_the_truth_is_finite_and_of_fixed_shape(environment):
    environment.reset()
    truth = environment.truth()
    assert {name: value.shape for name, value in truth.items()} == {
        "tool": (3,), "tool_velocity": (3,), "joints": (7,), "force": (1,), "dirt": (2,),
        "wiped": (1,),
    }  # fmt: skip
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in truth.values())
    np.testing.assert_allclose(
        truth["dirt"], environment.state().dirt.mean(0)[:2] - [0.15, 0], atol=1e-6
    )


def test_the_cheap_picture_is_like_the_full_one(environment):
    seen = environment.reset().values
    for view in ("workspace", "robot"):
        full = environment.render(64, view)
        assert full.shape == (64, 64, 3) and full.dtype == np.uint8
        assert np.abs(full.astype(float) - seen[f"{view}_rgb"]).mean() < 25
    again = environment._time_step({"robot0_proprio-state": np.zeros(28)}, 0.0, False).values
    np.testing.assert_array_equal(again["workspace_rgb"], seen["workspace_rgb"])


def test_touching_the_table_with_the_arm_ends_the_episode(environment):
    step = environment.reset()
    count = 0
    while not step.is_last:
        step = environment.step(np.array([0, 0, -1, 0, 1, 0]))
        count += 1
    assert count < 300 and step.is_terminal and step.info["success"] == 0
    assert step.reward < 0
    with pytest.raises(RuntimeError, match="call reset"):
        environment.step(np.zeros(6))


def test_the_horizon_is_no_terminal_step_and_a_dirty_table_earns_nothing_unshaped(short):
    with pytest.raises(RuntimeError, match="call reset"):
        short.step(np.zeros(6))
    for _ in range(2):
        steps = [short.reset(), *(short.step(DOWN) for _ in range(3))]
        assert [step.is_first for step in steps] == [True, False, False, False]
        assert [step.is_last for step in steps] == [False, False, False, True]
        assert not any(step.is_terminal for step in steps)
        assert [step.reward for step in steps] == [0, 0, 0, 0]
        assert short._simulator.timestep == 6
        with pytest.raises(RuntimeError, match="call reset"):
            short.step(np.zeros(6))


def test_only_the_sensors_asked_for_are_there_in_their_order(short):
    step = short.reset()
    assert list(step.values) == [m.name for m in short.modalities] == ["force", "robot_rgb"]


def test_actions_are_checked_and_clipped(short):
    short.reset()
    with pytest.raises(ValueError, match="must be 6 finite numbers"):
        short.step(np.full(6, np.nan))
    with pytest.raises(ValueError, match="must be 6 finite numbers"):
        short.step(np.zeros(7))
    poses = []
    for size in (9.0, 1.0):
        short.reset(0)
        short.step(size * np.array([1, -1, 1, -1, 1, -1]))
        poses.append(short._data.qpos.copy())
    np.testing.assert_array_equal(*poses)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "/clips"}, "background is '/clips'; .* takes only 'none'"),
        ({"action_repeat": 3}, "action_repeat is 3; it must be a positive divisor of 1000"),
        ({"sensors": ("touch",)}, "sensors are touch; .* of workspace_rgb, robot_rgb"),
        ({"sensors": ()}, "sensors are none; choose at least one"),
        ({"sensors": ("force", "force")}, "sensors are force, force; .* each once"),
    ],
)
def test_wrong_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TableWiping(**options)
