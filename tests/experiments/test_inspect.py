"""What is in data, told in a table, as JSON, and in pictures."""

import json
import re

import h5py
import numpy as np
import pytest
from PIL import Image

from experiments.inspect import main
from tests.support import demonstration_files, layouts


@pytest.fixture
def path(tmp_path):
    """Two demonstrations of 4 and 6 steps: a camera, depth in millimetres, numbers that fail."""
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        file.create_group("data").attrs["env_args"] = json.dumps(
            {"env_name": "Lift", "env_kwargs": {"control_freq": 20}}
        )
        for number, steps in enumerate((4, 6)):
            demo = file.create_group(f"data/demo_{number}")
            demo.attrs["success"] = number == 1
            demo["actions"] = np.stack([np.arange(steps) - 2.0, np.full(steps, 0.5)], 1)
            demo["obs/cam"] = np.full((steps, 3, 8, 10), 10 * (number + 1), np.uint8)
            demo["obs/cam_depth"] = np.full((steps, 8, 10, 1), 1500, np.uint16)
            demo["obs/arm"] = np.arange(steps * 2.0).reshape(steps, 2)
        file["data/demo_1/available/cam"] = np.arange(6) % 2 == 0
        del file["data/demo_0/obs/arm"]
    return tmp_path / "data.hdf5"


def shown(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_a_table_and_json_say_what_is_there(path, tmp_path, capsys):
    main(["--data", str(path), "--json", str(tmp_path / "out" / "data.json")])
    said = shown(capsys)
    for text in (
        "data.hdf5: format robomimic demonstrations: 2, of 10 steps, 4 to 6 each",
        "rate: 20 steps a second recorded in: Lift success: 1 of 2",
        "arm vector 2 float32 0 11 40.0%",
        "cam image 8×10×3 uint8 10 20 30.0%",
        "cam_depth depth, millimetres 8×10×1 float32 1500 1500 none",
        "0 -2 3 1 0.5 0.5",
        "Actions go beyond [-1, 1]",
    ):
        assert text in said
    found = json.loads((tmp_path / "out" / "data.json").read_text())
    assert found["sensors"]["arm"] == {
        "kind": "vector",
        "shape": [2],
        "dtype": "float32",
        "range": [0, 11],
        "missing": 0.4,
    }
    assert found["sensors"]["cam_depth"]["unit"] == "millimetres"
    assert found["actions"] == {"low": [-2, 0.5], "high": [3, 0.5]}
    assert (found["demonstrations"], found["steps"], found["lengths"]) == (2, 10, [4, 6])
    assert found["success"] == {"told": 2, "succeeded": 1} and found["rate"] == 20


def test_files_of_a_folder_in_several_units_of_depth_are_told(tmp_path, capsys):
    for name, values in (("metres", 1.5), ("millimetres", 1500)):
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            file["data/demo_0/actions"] = np.zeros((3, 2))
            dtype = np.uint16 if values > 100 else np.float32
            file["data/demo_0/obs/depth"] = np.full((3, 8, 8, 1), values, dtype)
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path)])
    said = capsys.readouterr().err
    assert "values from 1.5 to 1.5 in 'metres/demo_0', and the others look as if" in said
    main(["--data", str(tmp_path), "--depth", "millimetres"])
    assert "depth, millimetres" in shown(capsys)


def test_instructions_are_counted(tmp_path, capsys):
    demonstration_files.libero(tmp_path / "drawer_demo.hdf5")
    main(["--data", str(tmp_path)])
    said = shown(capsys)
    assert "format folder demonstrations: 2" in said and "instruction: open the drawer (2)" in said


def test_each_demonstration_has_a_picture(path, tmp_path):
    main(["--data", str(path), "--pictures", str(tmp_path / "sheets")])
    files = sorted((tmp_path / "sheets").iterdir())
    assert [file.name for file in files] == ["demo_0.png", "demo_1.png"]
    colours = []
    for file in files:
        with Image.open(file) as picture:
            colours.append({tuple(c) for c in np.asarray(picture.convert("RGB")).reshape(-1, 3)})
    # What the camera showed is in it, and a cross where it is missing.
    assert (10, 10, 10) in colours[0] and (20, 20, 20) in colours[1]
    red = (214, 39, 40)
    assert red in colours[1] and red not in colours[0]


def test_data_are_read_as_the_flags_say(path, capsys):
    main(["--data", str(path), "--rename", "cam=rgb", "--obs", "rgb", "--failed", "keep"])
    said = shown(capsys)
    assert "rgb image" in said and "arm" not in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--obs", "cams"), "unknown modality 'cams'.*did you mean 'cam'"),
        (("--filter-key", "train"), "no filter key 'train'"),
        (("--depth", "unit"), "'cam_depth' has values from 1500 to 1500, which are not in"),
        (("--depth", "metres", "--obs", "cam"), "--depth metres is given, and no sensor is depth"),
        (("--data", "nowhere"), "there is no file 'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_said(path, capsys, flags, said):
    with pytest.raises(SystemExit) as stop:
        main(["--data", str(path), *flags])
    assert stop.value.code == 2
    assert re.search(said, " ".join(capsys.readouterr().err.split()))


@pytest.mark.filterwarnings("default")
def test_what_was_left_out_is_counted(tmp_path, capsys):
    path = layouts.isaaclab(tmp_path / "a.hdf5")
    main(["--data", str(path)])
    captured = capsys.readouterr()
    assert "1 of 3 demonstrations failed and are left out" in captured.err
    assert "demonstrations: 2" in captured.out
