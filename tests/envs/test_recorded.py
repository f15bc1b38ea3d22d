"""Recorded scenes of robosuite: the models of any version, and what joints and cameras tell."""

import h5py
import numpy as np
import pytest

from tests.support import recordings

pytest.importorskip("robosuite")

from envs.recorded import PROPRIO, RecordedScene, mended


@pytest.fixture(scope="module")
def lift():
    with h5py.File(recordings.FOLDER / "lift" / "demo.hdf5") as file:
        demo = file["data/demo_1"]
        states = demo["states"][()]
        with RecordedScene(demo.attrs["model_file"], (48, 64)) as scene:
            yield scene, states[:: len(states) // 3]


def test_joints_and_hands_tell_what_robosuite_says(lift):
    """robosuite's own Lift, set to the same states; the recording is of this very version."""
    from envs.table_wiping import simulator  # noqa: F401  its quiet import

    import robosuite  # isort: skip

    off = ("has_renderer", "has_offscreen_renderer", "use_camera_obs")
    task = robosuite.make("Lift", "Panda", **dict.fromkeys(off, False))
    with h5py.File(recordings.FOLDER / "lift" / "demo.hdf5") as file:
        task.reset_from_xml_string(task.edit_model_xml(file["data/demo_1"].attrs["model_file"]))
    scene, states = lift
    names = [f"robot0_{what}" for what in PROPRIO]
    assert set(names) == set(scene.proprio)
    sensors = scene.modalities((), names, depth=False)
    for state in states:
        scene.set_state(state)
        task.sim.set_state_from_flattened(state)
        task.sim.forward()
        told, right = scene.observe(sensors), task._get_observations(force_update=True)
        for what in ("eef_pos", "eef_quat", "gripper_qpos", "gripper_qvel", "joint_vel"):
            expected = right[f"robot0_{what}"]
            np.testing.assert_allclose(told[f"robot0_{what}"], expected, atol=1e-5)
        np.testing.assert_allclose(
            np.cos(told["robot0_joint_pos"]), right["robot0_joint_pos_cos"], atol=1e-5
        )
    task.close()


def test_pictures_are_upright_and_depth_is_in_metres(lift):
    scene, states = lift
    sensors = scene.modalities(["agentview"], [], depth=True)
    assert [(m.name, m.shape) for m in sensors] == [
        ("agentview_image", (48, 64, 3)),
        ("agentview_depth", (48, 64, 1)),
    ]
    scene.set_state(states[0])
    seen = scene.observe(sensors)
    picture, depth = seen["agentview_image"].astype(int), seen["agentview_depth"][..., 0]
    red = (picture[..., 0] > 100) & (picture[..., 1] < 80)
    assert red.sum() > 4 and np.argwhere(red)[:, 0].mean() > 20  # the cube, on the table
    assert depth[-1].mean() < depth[0].mean()  # the table's edge before the wall
    assert depth.min() > 0.3 and depth.max() < 5


def test_old_models_are_mended():
    models = recordings.FOLDER / "wipe" / "panda" / "models"
    old = (models / "model_1.xml").read_text()
    assert 'pos="[0, 0, 0.005]"' in old and "/creme_brule/" in old
    new = mended(old)
    assert "[" not in new.replace("[mesh", "") and "/creme_brule/" not in new
    with RecordedScene(old, (8, 8)) as scene:
        assert scene.width == 15 and "robot0_gripper_qpos" not in scene.proprio
        with pytest.raises(ValueError, match=r"unknown camera 'agentviw'.*mean 'agentview'"):
            scene.modalities(["agentviw"], (), depth=False)
        with pytest.raises(ValueError, match="unknown proprioception 'robot1_eef_pos'"):
            scene.modalities((), ["robot1_eef_pos"], depth=False)


@pytest.mark.parametrize("model", ["<mujoco", "<mujoco><worldbody><geom/></worldbody></mujoco>"])
def test_a_damaged_model_is_told(model):
    with pytest.raises(ValueError, match="the model of a recording cannot be built"):
        RecordedScene(model, (8, 8))


def test_robosuite_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="robosuite, which is not installed: pip"):
        mended("<mujoco/>")
