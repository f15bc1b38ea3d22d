"""LIBERO's files: pictures come upright, the instruction as a vector, the names are ours."""

import json

import h5py
import numpy as np
import pytest

from mummi.imitation.demonstrations import (
    INSTRUCTION,
    LiberoDemonstrations,
    Reading,
    open_data,
    open_with_instruction,
)
from tests.support.demonstration_files import libero

NAMES = ("wrist_rgb", "instruction", "proprio", "agentview_rgb")


def embed(sentences):
    """The number of letters, of words, and 1."""
    return np.array([[len(text), len(text.split()), 1] for text in sentences], np.float64)


def opened(path, names):
    return open_with_instruction(path, Reading(tuple(names)), embed)


@pytest.fixture
def path(tmp_path):
    return libero(tmp_path / "open_the_drawer_demo.hdf5")


def test_observations_after_actions_are_put_before_the_next_ones(path):
    reading = Reading(("wrist_rgb", "proprio"), obs_after_action=True)
    with open_data(path) as plain, open_data(path, reading) as shifted:
        for before, after in zip(plain, shifted, strict=True):
            for name in ("wrist_rgb", "proprio"):
                with open_data(path, Reading((name,))) as alone:
                    number = len(before.actions) - 6
                    np.testing.assert_array_equal(
                        after.values[name], alone[number].values[name][:-1]
                    )
            for name in ("actions", "rewards", "dones", "states"):
                np.testing.assert_array_equal(getattr(after, name), getattr(before, name)[1:])
            assert after.rewards[-1] == 1 and after.attributes[INSTRUCTION] == "open the drawer"


def test_what_was_missing_moves_with_the_observations(path):
    with h5py.File(path, "a") as file:
        for number in range(2):
            file[f"data/demo_{number}/available/eye_in_hand_rgb"] = np.arange(6 + number) != 2
    with open_data(path, Reading(("wrist_rgb",), obs_after_action=True)) as data:
        np.testing.assert_array_equal(data[0].available["wrist_rgb"], [1, 1, 0, 1, 1])


def test_a_demonstration_of_one_step_leaves_none(tmp_path):
    path = libero(tmp_path / "open_the_drawer_demo.hdf5", steps=1)
    with open_data(path, Reading(("wrist_rgb",), obs_after_action=True)) as data:
        assert len(data[1].actions) == 1
        with pytest.raises(ValueError, match=r"demo_0 has 1 step, of which --obs-after-action"):
            data[0]


def change(path, key, value):
    with h5py.File(path, "a") as file:
        del file["data"].attrs[key]
        if value is not None:
            file["data"].attrs[key] = value


def test_an_official_file_loads_under_our_names_with_upright_pictures(path):
    with opened(path, NAMES) as demonstrations, h5py.File(path) as file:
        kinds = [(m.name, m.kind, m.shape) for m in demonstrations.modalities]
        assert kinds == [
            ("wrist_rgb", "image", (8, 8, 3)),
            ("instruction", "embedding", (3,)),
            ("proprio", "vector", (12,)),
            ("agentview_rgb", "image", (8, 8, 3)),
        ]
        assert demonstrations.action_size == 7 and len(demonstrations) == 2
        for number, demo in enumerate(demonstrations):
            raw = file[f"data/demo_{number}/obs"]
            assert list(demo.values) == list(NAMES)
            for name, source in (("wrist_rgb", "eye_in_hand_rgb"), ("agentview_rgb",) * 2):
                for row in range(8):
                    np.testing.assert_array_equal(
                        demo.values[name][:, row], raw[source][:, 7 - row]
                    )
            assert demo.values["instruction"].tolist() == [[15, 3, 1]] * (6 + number)
            proprio = demo.values["proprio"]
            np.testing.assert_allclose(proprio[:, :7], raw["joint_states"][()], rtol=1e-6)
            np.testing.assert_allclose(proprio[:, 7:9], raw["gripper_states"][()], rtol=1e-6)
            np.testing.assert_allclose(proprio[:, 9:], raw["ee_states"][:, :3], rtol=1e-6)
            for modality in demonstrations.modalities:
                assert demo.values[modality.name].dtype == modality.dtype
            assert demo.rewards.tolist()[-2:] == [0, 1] and demo.states is not None


def test_upright_files_stay_as_they_are(path):
    change(path, "macros_image_convention", "opencv")
    with LiberoDemonstrations(path) as demos, h5py.File(path) as file:
        np.testing.assert_array_equal(
            demos[0].values["agentview_rgb"], file["data/demo_0/obs/agentview_rgb"][()]
        )


def test_the_instruction_may_be_a_list_of_words(path):
    problem = json.dumps({"language_instruction": ["Open", "the", "drawer"]})
    change(path, "problem_info", problem)
    with opened(path, ["instruction"]) as demos:
        assert demos[0].attributes["instruction"] == "open the drawer"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("problem_info", None, "has no language_instruction"),
        ("problem_info", "{}", "has no language_instruction"),
        ("macros_image_convention", "vulkan", "is 'vulkan'; it must be opengl"),
    ],
)
def test_a_file_that_lacks_what_libero_says_is_refused(path, key, value, message):
    change(path, key, value)
    with pytest.raises(ValueError, match=message):
        LiberoDemonstrations(path)


def test_what_the_file_does_not_have_is_refused(path):
    with pytest.raises(ValueError, match="unknown modality 'depth'; the observations are agentv"):
        opened(path, ["agentview_rgb", "depth"])


def test_parts_of_the_robots_state_are_read_where_they_are_named(path):
    with LiberoDemonstrations(path) as demos:
        assert [m.name for m in demos.modalities] == ["agentview_rgb", "wrist_rgb", "proprio"]
    with LiberoDemonstrations(path, Reading(("ee_ori",))) as demos, h5py.File(path) as file:
        expected = file["data/demo_1/obs/ee_ori"][()].astype(np.float32)
        np.testing.assert_array_equal(demos[1].values["ee_ori"], expected)


def test_a_folder_stands_for_its_files_in_order(path):
    libero(path.with_name("a_demo.hdf5"), numbers=(0,), steps=3)
    with open_data(path.parent) as data:
        names = ("a_demo/demo_0", "open_the_drawer_demo/demo_0", "open_the_drawer_demo/demo_1")
        assert data.names == names
        assert [len(demo.actions) for demo in data] == [3, 6, 7]


def test_what_is_said_to_be_missing_of_a_part_is_missing_of_the_robots_state(path):
    with h5py.File(path, "a") as file:
        file["data/demo_0/available/gripper_states"] = np.arange(6) != 4
        file["data/demo_0/available/eye_in_hand_rgb"] = np.arange(6) > 1
    with LiberoDemonstrations(path) as demos:
        demo = demos[0]
    assert np.flatnonzero(~demo.availability("proprio")).tolist() == [4]
    assert np.flatnonzero(~demo.availability("wrist_rgb")).tolist() == [0, 1]
    assert not demo.values["wrist_rgb"][:2].any() and demo.availability("agentview_rgb").all()


@pytest.mark.parametrize("source", ["joint_states", "gripper_states", "ee_states"])
def test_the_robots_state_is_missing_where_a_part_of_it_is_not_finite(path, source):
    with h5py.File(path, "a") as file:
        file[f"data/demo_1/obs/{source}"][2, 0] = np.nan
    with opened(path, NAMES) as demonstrations:
        assert demonstrations[0].available is None
        with pytest.warns(UserWarning, match="'proprio' at 1 of 7 steps"):
            demo = demonstrations[1]
    assert np.flatnonzero(~demo.availability("proprio")).tolist() == [2]
    for name in ("agentview_rgb", "wrist_rgb", "instruction"):
        assert demo.availability(name).all()
    assert np.isfinite(demo.values["proprio"]).all()
