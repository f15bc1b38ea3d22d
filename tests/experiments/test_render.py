"""Raw recordings become demonstrations with observations."""

import re

import h5py
import numpy as np
import pytest

from experiments import imitate, render
from mummi.imitation.demonstrations import Reading, open_data
from tests.support import layouts, recordings

pytest.importorskip("robosuite")


def run(path, out, *more):
    render.main(["--data", str(path), "--out", str(out), "--size", "12", "16", *more])


def test_lift_has_what_its_cameras_and_arm_told(tmp_path):
    path, out = recordings.short("lift", tmp_path), tmp_path / "images.hdf5"
    run(path, out)
    with open_data(out) as data, h5py.File(path) as raw:
        assert {m.name: m.shape for m in data.modalities} == {
            "agentview_image": (12, 16, 3),
            "robot0_eye_in_hand_image": (12, 16, 3),
            "robot0_eef_pos": (3,),
            "robot0_eef_quat": (4,),
            "robot0_gripper_qpos": (2,),
        }
        assert data.attributes["env_args"]["env_name"] == "Lift" and data.attributes["rate"] == 20
        assert len(data) == 2
        for number, demonstration in enumerate(data):
            demo = raw[f"data/demo_{number + 1}"]
            np.testing.assert_allclose(demonstration.actions, demo["actions"], rtol=1e-6)
            np.testing.assert_array_equal(demonstration.states, demo["states"])
            assert demonstration.attributes["recorded_as"] == f"demo_{number + 1}"
            assert demonstration.dones.tolist() == [False, True]
    before = out.stat().st_mtime_ns
    run(path, out)  # goes on where it ended
    with open_data(out, Reading(obs=())) as data:
        assert len(data) == 2 and out.stat().st_mtime_ns == before


def test_wipe_of_an_older_robosuite_with_depth(tmp_path):
    path, out = recordings.short("wipe/panda", tmp_path), tmp_path / "images.hdf5"
    run(path, out, "--depth", "--cameras", "agentview", "--proprio", "robot0_joint_pos")
    with open_data(out) as data:
        kinds = {m.name: m.kind for m in data.modalities}
        depth = data[0].values["agentview_depth"]
    assert kinds == {
        "agentview_image": "image",
        "agentview_depth": "depth",
        "robot0_joint_pos": "vector",
    }
    assert depth.min() > 0.3 and depth.max() < 10


def test_raw_data_are_refused_with_this_command(tmp_path, capsys):
    path = recordings.short("lift", tmp_path)
    with pytest.raises(SystemExit):
        imitate.main(["--data", str(path), "--logdir", str(tmp_path / "run")])
    said = " ".join(capsys.readouterr().err.split())
    assert f"python -m experiments.render --data {path} --out images.hdf5" in said


def broken(path, change):
    with h5py.File(path, "a") as file:
        change(file["data"])
    return path


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        (None, ("--cameras", "agent"), "unknown camera 'agent'"),
        (None, ("--size", "0", "8"), r"--size \(0, 8\) must be at least 1 pixel"),
        (lambda data: data["demo_1"].attrs.pop("model_file"), (), "demo_1/model_file is missing"),
        (
            lambda data: data["demo_1"].attrs.update(model_file="gone.xml"),
            (),
            "demo_1/model_file is 'gone.xml'; it must be XML, or the name of",
        ),
        (lambda data: data["demo_1"].pop("states"), (), "demo_1/states is missing"),
        (lambda data: data.attrs.update(env_info="{"), (), "env_info"),
    ],
)
def test_what_cannot_be_rendered_is_told(tmp_path, capsys, change, more, said):
    path = recordings.short("lift", tmp_path, demos=1)
    if change:
        broken(path, change)
    with pytest.raises(SystemExit):
        run(path, tmp_path / "images.hdf5", *more)
    assert re.search(said, " ".join(capsys.readouterr().err.split()))


def test_states_of_another_model_are_told(tmp_path, capsys):
    path = layouts.robosuite_raw(tmp_path / "raw.hdf5")
    with pytest.raises(SystemExit):
        run(path, tmp_path / "images.hdf5")
    said = " ".join(capsys.readouterr().err.split())
    assert "demo_1/states has shape (10, 13); it must be (10, 1)" in said


def test_other_data_are_no_recordings(tmp_path, capsys):
    layouts.minari(tmp_path / "main_data.hdf5")
    with pytest.raises(SystemExit):
        run(tmp_path / "main_data.hdf5", tmp_path / "images.hdf5")
    assert "main_data.hdf5: no recording of robosuite" in capsys.readouterr().err
