"""Collecting robomimic's tasks, and learning from a file as robomimic writes it."""

import json

import h5py
import numpy as np
import pytest

from envs.robosuite import global_numpy_random, quiet_import
from experiments import imitate
from experiments.collect import main

with quiet_import():
    import robosuite

SIZES = ("--preset", "debug", "--image-size", "16")


@pytest.fixture(scope="module")
def lift(tmp_path_factory):
    """Two demonstrations of Lift; the second by another command."""
    path = tmp_path_factory.mktemp("data") / "lift.hdf5"
    for episodes in ("1", "2"):
        flags = ("--task", "robomimic/lift", "--episodes", episodes, "--noise", "0.1")
        main([*SIZES, *flags, "--out", str(path)])
    return path


def test_robosuites_own_environment_does_again_what_a_file_tells(lift):
    with h5py.File(lift) as file:
        told = json.loads(file["data"].attrs["env_args"])
        assert (told["env_name"], told["type"]) == ("Lift", 1)
        undrawn = {"use_camera_obs": False, "has_offscreen_renderer": False}
        with global_numpy_random(np.random.SeedSequence(0)):
            environment = robosuite.make(told["env_name"], **told["env_kwargs"] | undrawn)
        for name in ("demo_0", "demo_1"):
            demo = file["data"][name]
            hand = demo["obs/robot0_eef_pos"][()]
            with global_numpy_random(np.random.SeedSequence(1)):
                environment.reset()
            environment.sim.set_state_from_flattened(demo["states"][0])
            environment.sim.forward()
            site = environment.robots[0].eef_site_id
            for action, place in zip(demo["executed"], hand[1:], strict=False):
                environment.step(action)
                environment.sim.forward()
                # Of the cube's size, and the posture that the arm is drawn to, a file says nothing.
                np.testing.assert_allclose(environment.sim.data.site_xpos[site], place, atol=0.02)
            rewards = demo["rewards"][()]
            assert rewards.tolist() == [0] * (len(rewards) - 1) + [1]
            sizes = {key: value.shape[1:] for key, value in demo["obs"].items()}
            assert sizes == {
                "agentview_image": (16, 16, 3),
                "robot0_eye_in_hand_image": (16, 16, 3),
                "robot0_eef_pos": (3,),
                "robot0_eef_quat": (4,),
                "robot0_gripper_qpos": (2,),
            }


@pytest.mark.usefixtures("quick_compile")
def test_a_file_of_robomimic_is_learned_from_and_evaluated_as_it_is(lift, tmp_path, capsys):
    """With ``next_obs``, filter keys and 64-bit numbers, and a model for each demonstration."""
    path = tmp_path / "image.hdf5"
    with h5py.File(lift) as ours, h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = ours["data"].attrs["env_args"]
        for number in range(4):
            source, demo = ours[f"data/demo_{number % 2}"], data.create_group(f"demo_{number}")
            for group in ("obs", "next_obs"):
                for name, values in source["obs"].items():
                    kept = values[()]
                    wide = kept if kept.dtype == np.uint8 else kept.astype(np.float64)
                    demo[f"{group}/{name}"] = wide
                demo[f"{group}/object"] = np.zeros((len(kept), 10))
            demo["actions"] = source["actions"][()].astype(np.float64)
            demo["states"], demo["rewards"] = source["states"][()], source["rewards"][()]
            demo["dones"] = source["dones"][()]
            demo.attrs["num_samples"], demo.attrs["model_file"] = len(kept), "<mujoco/>"
        data.attrs["total"] = sum(demo.attrs["num_samples"] for demo in data.values())
        file["mask/train"] = np.array(["demo_0", "demo_1", "demo_2"], dtype="S")
        file["mask/valid"] = np.array(["demo_3"], dtype="S")
    logdir = tmp_path / "run"
    flags = ("--task", "robomimic/lift", "--data", str(path), "--env.horizon", "8", "--head", "bc")
    short = ("--updates", "2", "--batch-size", "2", "--batch-length", "4", "--copies", "2")
    rows = ("--evaluate-episodes", "1", "--evaluate-missing", "none")
    imitate.main([*SIZES, *flags, *short, *rows, "--logdir", str(logdir)])
    assert "without agentview_image" in capsys.readouterr().out
    one, other = "agentview_image", "robot0_eye_in_hand_image"
    removed = {f"without-{cameras}" for cameras in (one, other, f"{one}-{other}")}
    assert {file.stem for file in (logdir / "eval").iterdir()} == {"none"} | removed


def test_repeated_actions_are_refused(tmp_path, capsys):
    out = str(tmp_path / "can.hdf5")
    with pytest.raises(SystemExit) as stop:
        main([*SIZES, "--task", "robomimic/can", "--action-repeat", "2", "--out", out])
    assert stop.value.code == 2 and "--action-repeat is 2" in capsys.readouterr().err
