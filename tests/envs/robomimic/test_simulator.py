"""robomimic's tasks against robosuite's own environments, which know nothing of ours."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

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


def robosuites_own(name, seed=0, **changes):
    """The environment that robosuite makes of a task, with all that it senses."""
    settings = PANDA | {"controller_configs": load_controller_config(default_controller="OSC_POSE")}
    with global_numpy_random(np.random.SeedSequence(seed)):
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
    ours, theirs = RobomimicSimulator("lift"), robosuites_own("lift", seed=5)
    compiled, model = theirs.sim.model._model, ours.mujoco_model
    extent, before = model.stat.extent, model.body("cube_main").mass[0]
    ours._resize(compiled.geom_size[compiled.body("cube_main").geomadr[0]].copy())
    for name in ("geom_size", "geom_rbound", "body_mass", "body_invweight0", "dof_invweight0"):
        np.testing.assert_allclose(
            getattr(model, name), getattr(compiled, name), rtol=1e-9, atol=1e-12, err_msg=name
        )
    inertias = []
    for body in (model.body("cube_main"), compiled.body("cube_main")):
        turn = Rotation.from_quat(np.roll(body.iquat, -1)).as_matrix()
        inertias.append(turn @ np.diag(body.inertia) @ turn.T)
    np.testing.assert_allclose(*inertias, atol=1e-12)
    assert model.stat.extent == extent and model.body("cube_main").mass[0] != before


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
