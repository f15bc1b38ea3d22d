"""CALVIN's folders: what is read is what NumPy wrote, and nothing else is unpickled."""

import pathlib

import numpy as np
import pytest

from mummi.imitation.demonstrations import Reading, open_data, open_with_instruction

SENTENCES = [
    (3, 7, "slide the drawer open", "open_drawer"),
    (5, 9, "turn off the lamp", "turn_off_led"),
    (8, 11, "pull the handle", "open_drawer"),
]


class Hostile:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def write_sentences(folder, told=None):
    rows = list(zip(*SENTENCES, strict=True))
    known = {
        "language": {"ann": list(rows[2]), "task": list(rows[3]), "emb": np.zeros((3, 1, 384))},
        "info": {"indx": list(zip(rows[0], rows[1], strict=True)), "episodes": []},
    }
    (folder / "lang_annotations").mkdir(exist_ok=True)
    np.save(folder / "lang_annotations/auto_lang_ann.npy", told or known)


@pytest.fixture
def split(tmp_path):
    """Frames 2 to 12 as CALVIN writes them, with smaller pictures; and what is in them."""
    folder, random, frames = tmp_path / "training", np.random.default_rng(0), {}
    folder.mkdir()
    for number in range(2, 13):
        frames[number] = {
            "actions": random.normal(size=7),
            "rel_actions": np.r_[random.uniform(-1, 1, 6), (-1) ** number],
            "robot_obs": random.normal(size=15),
            "scene_obs": random.normal(size=24),
            "rgb_static": random.integers(0, 256, (20, 20, 3), np.uint8),
            "rgb_gripper": random.integers(0, 256, (8, 8, 3), np.uint8),
            "rgb_tactile": random.integers(0, 256, (16, 12, 6), np.uint8),
            "depth_static": random.random((20, 20), np.float32),
        }
        np.savez(folder / f"episode_{number:07d}.npz", **frames[number])
    np.save(folder / "ep_start_end_ids.npy", np.array([[2, 6], [7, 12]]))
    write_sentences(folder)
    return folder, frames


def test_each_sentence_is_a_demonstration_of_its_frames(split):
    folder, frames = split
    with open_data(folder) as data:
        kinds = {m.name: (m.kind, m.shape) for m in data.modalities}
        assert kinds == {
            "robot_obs": ("vector", (15,)),
            "rgb_static": ("image", (20, 20, 3)),
            "rgb_gripper": ("image", (8, 8, 3)),
            "depth_static": ("depth", (20, 20, 1)),
        }
        assert data.names == ("0000003-0000007", "0000005-0000009", "0000008-0000011")
        assert data.action_size == 7 and data.attributes["rate"] == 30
        for one, (first, last, sentence, task) in zip(data, SENTENCES, strict=True):
            there = [frames[number] for number in range(first, last + 1)]
            expected = np.stack([frame["rel_actions"] for frame in there])
            np.testing.assert_allclose(one.actions, expected, rtol=1e-6)
            np.testing.assert_array_equal(
                one.values["rgb_static"], np.stack([frame["rgb_static"] for frame in there])
            )
            depth = np.stack([frame["depth_static"] for frame in there])
            np.testing.assert_array_equal(one.values["depth_static"][..., 0], depth)
            assert one.dones.tolist() == [False] * (last - first) + [True]
            assert one.attributes == {"instruction": sentence, "task": task}
            assert one.available is None


def test_a_task_is_a_filter_key_and_sentences_can_be_a_sensor(split):
    folder, _ = split
    reading = Reading(filter_key="open_drawer", obs=("robot_obs", "instruction"))
    told = []

    def embed(sentences):
        told.extend(sentences)
        return np.ones((1, 4), np.float32)

    with open_with_instruction(str(folder), reading, embed) as data:
        assert len(data) == 2
        assert [m.name for m in data.modalities] == ["robot_obs", "instruction"]
        assert data[1].values["instruction"].shape == (4, 4)
    assert set(told) == {"slide the drawer open", "pull the handle"}
    with pytest.raises(ValueError, match=r"no task 'open_draw'.*open_drawer, turn_off_led"):
        open_data(folder, Reading(filter_key="open_draw"))


def test_without_sentences_every_recording_is_a_demonstration(split):
    folder, _ = split
    (folder / "lang_annotations/auto_lang_ann.npy").unlink()
    with open_data(folder) as data:
        assert [len(one.actions) for one in data] == [5, 6]
        assert data[0].attributes == {}


def test_the_true_state_is_read_where_it_is_named_and_tactile_pictures_are_refused(split):
    folder, frames = split
    with open_data(folder, Reading(obs=("scene_obs",))) as data:
        np.testing.assert_allclose(data[0].values["scene_obs"][0], frames[3]["scene_obs"], 1e-6)
    with pytest.raises(ValueError, match=r"rgb_tactile.*--obs"):
        open_data(folder, Reading(obs=("rgb_tactile",)))


def test_depth_that_is_not_finite_is_missing(split):
    folder, frames = split
    frames[4]["depth_static"][0, 0] = np.nan
    np.savez(folder / "episode_0000004.npz", **frames[4])
    with open_data(folder) as data, pytest.warns(UserWarning, match="'depth_static' at 1 steps"):
        one = data[0]
    assert one.available["depth_static"].tolist() == [True, False, True, True, True]
    assert not one.values["depth_static"][1].any() and one.available["rgb_static"].all()


def test_nothing_but_arrays_is_unpickled(split, tmp_path):
    folder, _ = split
    write_sentences(folder, {"language": Hostile(tmp_path / "made")})
    with pytest.raises(ValueError, match=r"auto_lang_ann.npy cannot be read.*no array needs"):
        open_data(folder)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "episode_0000005.npz").unlink(), "episode_0000005.npz is miss"),
        (
            lambda folder: (folder / "episode_0000005.npz").write_bytes(b"PK\x03\x04no"),
            "episode_0000005.npz is damaged",
        ),
        (
            lambda folder: np.savez(folder / "episode_0000005.npz", robot_obs=np.zeros(15)),
            "episode_0000005.npz has no rel_actions",
        ),
        (
            lambda folder: np.savez(folder / "episode_0000005.npz", rel_actions=np.zeros(7)),
            "frame 5 has 'robot_obs' of shape None",
        ),
        (lambda folder: _with_action(folder, np.full(7, np.nan)), "rel_actions are not finite"),
    ],
)
def test_damage_is_told_by_the_file(split, damage, message):
    folder, _ = split
    damage(folder)
    with pytest.raises(ValueError, match=message), open_data(folder) as data:
        data[0]


def _with_action(folder, action):
    path = folder / "episode_0000005.npz"
    with np.load(path) as frame:
        kept = dict(frame)
    np.savez(path, **kept | {"rel_actions": action})


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"nothing of NumPy"])
def test_damaged_lists_are_told(split, content):
    folder, _ = split
    (folder / "lang_annotations/auto_lang_ann.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"auto_lang_ann.npy cannot be read"):
        open_data(folder)
    (folder / "lang_annotations/auto_lang_ann.npy").unlink()
    (folder / "ep_start_end_ids.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"ids.npy cannot be read"):
        open_data(folder)
