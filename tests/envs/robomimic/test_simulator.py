"""robomimic's tasks against robosuite's own environments, which know nothing of ours."""

import numpy as np
import pytest

import envs
from envs.robomimic.simulator import TASKS, RobomimicSimulator
from envs.robosuite import PANDA, global_numpy_random, load_controller_config, quiet_import

with quiet_import():
    import robosuite

every_task = pytest.mark.parametrize("name", TASKS)
VECTORS = [
    "robot0_eef_pos",
    "robot0_eef_quat",
    "robot0_gripper_qpos",
    "robot0_gripper_qvel",
    "robot0_joint_pos_cos",
    "robot0_joint_pos_sin",
    "robot0_joint_vel",
]


def robosuites_own(name, **changes):
    """The environment that robosuite makes of a task, with all that it senses."""
    settings = PANDA | {"controller_configs": load_controller_config(default_controller="OSC_POSE")}
    with global_numpy_random(np.random.SeedSequence(0)):
        return robosuite.make(TASKS[name].environment.__name__, **settings | changes)


@every_task
def test_a_control_step_is_robosuites_own_to_the_bit(name):
    ours, theirs = RobomimicSimulator(name), robosuites_own(name)
    ours.begin(np.random.SeedSequence(4))
    with global_numpy_random(np.random.SeedSequence(4)):
        theirs.reset()
    random = np.random.default_rng(0)
    for _ in range(8):
        action = random.uniform(-1, 1, 7)
        ours.step(action)
        theirs.step(action)
        np.testing.assert_array_equal(ours.state, theirs.sim.get_state().flatten())


@every_task
def test_sensors_tell_what_robosuite_tells_in_the_same_state(name):
    environment = envs.make(f"robomimic/{name}", sensors=(*VECTORS, "object"))
    theirs = robosuites_own(name)
    environment.reset(2)
    for action in np.random.default_rng(1).uniform(-1, 1, (4, 7)):
        step = environment.step(action)
    theirs.reset()
    theirs.sim.set_state_from_flattened(environment.physics_state())
    theirs.sim.forward()
    told = theirs._get_observations(force_update=True)
    for sensor in VECTORS:
        np.testing.assert_allclose(step.values[sensor], told[sensor], atol=1e-6, err_msg=sensor)
    ours, object_state = step.values["object"], told["object-state"]
    assert ours.shape == object_state.shape
    # A quaternion and its opposite are one rotation.
    turns = [slice(3, 7)] + [slice(10, 14)] * (len(ours) == 14)
    for turn in turns:
        assert abs(ours[turn] @ object_state[turn]) == pytest.approx(1, abs=1e-5)
    rest = np.setdiff1d(np.arange(len(ours)), np.r_[tuple(turns)])
    np.testing.assert_allclose(ours[rest], object_state[rest], atol=1e-6)


def test_pictures_are_robosuites_own_turned_upright():
    environment = envs.make("robomimic/square", image_size=64)
    environment.reset(1)
    shown = environment.step(np.zeros(7)).values
    cameras = ("agentview", "robot0_eye_in_hand")
    drawn = {"use_camera_obs": True, "has_offscreen_renderer": True, "camera_names": cameras}
    theirs = robosuites_own("square", **drawn, camera_heights=64, camera_widths=64)
    theirs.reset()
    theirs.sim.set_state_from_flattened(environment.physics_state())
    theirs.sim.forward()
    told = theirs._get_observations(force_update=True)
    for camera in cameras:
        picture, ours = told[f"{camera}_image"].astype(float), shown[f"{camera}_image"]
        assert np.abs(picture[::-1] - ours).mean() < 4 < np.abs(picture - ours).mean()
    theirs.close()
    environment.close()


def test_lifts_cube_has_the_mass_and_inertia_of_one_that_was_compiled():
    first, second = RobomimicSimulator("lift"), RobomimicSimulator("lift")
    half = np.array((0.0205, 0.0219, 0.0201))
    second._resize(half)
    with global_numpy_random(np.random.SeedSequence(0)):
        from robosuite.models.objects import BoxObject

        compiled = BoxObject(name="cube", size=half)
    assert compiled.size == pytest.approx(half)
    model, body = second.mujoco_model, second.mujoco_model.body("cube_main")
    volume = 8 * np.prod(half)
    before = first.mujoco_model.body("cube_main")
    density = before.mass[0] / (8 * np.prod(_half(first)))
    assert body.mass[0] == pytest.approx(density * volume)
    rows = [half[1] ** 2 + half[2] ** 2, half[0] ** 2 + half[2] ** 2, half[0] ** 2 + half[1] ** 2]
    np.testing.assert_allclose(body.inertia, body.mass[0] / 3 * np.array(rows), rtol=1e-9)
    np.testing.assert_array_equal(_half(second), half)
    assert model.stat.extent == first.mujoco_model.stat.extent


def _half(simulator):
    model = simulator.mujoco_model
    return model.geom_size[model.body("cube_main").geomadr[0]].copy()


def test_cubes_of_episodes_differ_within_robosuites_range():
    simulator, seen = RobomimicSimulator("lift"), []
    for number in range(4):
        simulator.reset_to(np.random.SeedSequence(number))
        seen.append(_half(simulator))
    assert (np.array(seen) >= 0.020).all() and (np.array(seen) <= 0.022).all()
    assert len({tuple(half) for half in seen}) == 4
