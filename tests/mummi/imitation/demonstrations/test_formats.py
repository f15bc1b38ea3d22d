"""Every format behind one function: told from the others, read value by value, or refused."""

import warnings

import h5py
import numpy as np
import pytest

from mummi.imitation.demonstrations import (
    FORMATS,
    DataSet,
    Demonstration,
    Reading,
    Writer,
    find_format,
    find_writer,
    open_data,
)
from mummi.modality import Modality
from tests.support import demonstration_files, layouts


def read(path, reading=None):
    """All demonstrations of data, and what they say of themselves."""
    with open_data(path, reading) as data:
        assert isinstance(data, DataSet) and len(data) == len(data.names)
        return list(data), data


def require_like_arrays(demos, data):
    """Every value has the shape and dtype that its modality declares."""
    for demo in demos:
        assert demo.actions.shape == (len(demo.rewards), data.action_size)
        assert demo.actions.dtype == demo.rewards.dtype == np.float32
        assert demo.dones.dtype == bool and demo.dones.shape == demo.rewards.shape
        assert list(demo.values) == [m.name for m in data.modalities]
        for m in data.modalities:
            assert demo.values[m.name].shape == (len(demo.actions), *m.shape)
            assert demo.values[m.name].dtype == m.dtype


WRITERS = {
    "robomimic": demonstration_files.robomimic,
    "libero": demonstration_files.libero,
    "isaaclab": lambda path: layouts.isaaclab(path, (True, True)),
    "minari": layouts.minari,
    "aloha": layouts.aloha,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_format_is_told_from_the_others(tmp_path, name):
    path = tmp_path / "data.hdf5"
    WRITERS[name](path)
    assert find_format(path).name == name
    demos, data = read(path)
    require_like_arrays(demos, data)


@pytest.mark.parametrize("name", [form.name for form in FORMATS if form.write])
def test_what_is_written_in_a_format_is_recognised_and_read_as_it(tmp_path, name):
    arm = Modality("arm", "vector", (2,))
    values = {"arm": np.arange(6, dtype=np.float32).reshape(3, 2)}
    ends = np.array([False, False, True])
    made = Demonstration(values, np.zeros((3, 1), np.float32), ends * np.float32(1), ends)
    with find_writer(name)(tmp_path / "data", (arm,), 1, {"env_name": "bench"}) as writer:
        assert isinstance(writer, Writer) and len(writer) == 0
        writer.append(made)
        assert len(writer) == 1
    assert find_format(tmp_path / "data").name == name
    (demo,), data = read(tmp_path / "data")
    assert data.modalities == (arm,)
    np.testing.assert_array_equal(demo.values["arm"], values["arm"])


@pytest.mark.parametrize("name", ["minari", "robomimik"])
def test_what_is_only_read_is_not_written(name):
    with pytest.raises(ValueError, match=f"format '{name}' is not written, only robomimic or ler"):
        find_writer(name)


def test_failed_demonstrations_of_isaaclab_are_left_out_and_counted(tmp_path):
    path = layouts.isaaclab(tmp_path / "a.hdf5")
    with pytest.warns(UserWarning, match=r"a.hdf5: 1 of 3 demonstrations failed and are left out"):
        demos, data = read(path)
    assert data.names == ("demo_1", "demo_2")
    demos, data = read(path, Reading(failed="keep"))
    assert data.names == ("demo_0", "demo_1", "demo_2")
    assert [demo.attributes["success"] for demo in demos] == [False, True, True]
    layouts.isaaclab(path, (False, False))
    with pytest.raises(ValueError, match=r"all 2 demonstrations failed .* --failed keep"):
        open_data(path)


def test_nested_observations_of_isaaclab_are_flat_and_states_stay_alone(tmp_path):
    path = layouts.isaaclab(tmp_path / "a.hdf5", (True,))
    (demo,), data = read(path)
    kinds = {m.name: (m.kind, m.shape) for m in data.modalities}
    assert kinds == {
        "datagen_info_eef_pose_franka": ("vector", (16,)),
        "eef_pos": ("vector", (3,)),
        "table_cam": ("image", (6, 8, 3)),
    }
    with h5py.File(path) as file:
        obs = file["data/demo_0/obs"]
        pose = obs["datagen_info/eef_pose/franka"][()].astype(np.float32)
        np.testing.assert_array_equal(demo.values["datagen_info_eef_pose_franka"][3], pose[3].flat)
        np.testing.assert_array_equal(demo.values["table_cam"], obs["table_cam"][()])
        np.testing.assert_array_equal(demo.actions, file["data/demo_0/actions"][()])
    assert demo.states is None and not demo.rewards.any()


def test_failed_demonstrations_of_others_are_left_out_where_that_is_asked_for(tmp_path):
    path = demonstration_files.robomimic(tmp_path / "a.hdf5")
    with pytest.raises(ValueError, match=r"--failed drop needs .* and none does; leave"):
        open_data(path, Reading(failed="drop"))
    with h5py.File(path, "a") as file:
        for number in range(12):
            file[f"data/demo_{number}"].attrs["success"] = float(number % 2)
    with open_data(path) as data:
        assert len(data) == 12
    with pytest.warns(UserWarning, match="6 of 12 demonstrations failed"):
        data = open_data(path, Reading(failed="drop"))
    assert data.names == tuple(f"demo_{number}" for number in range(1, 12, 2))


@pytest.mark.parametrize("compressed", [False, True])
def test_an_episode_of_aloha_is_read_with_its_cameras_in_rgb(tmp_path, compressed):
    path = tmp_path / "episode_3.hdf5"
    shown = layouts.aloha(path, compressed=compressed)
    (demo,), data = read(path)
    assert data.names == ("episode_3",) and data.action_size == 14
    assert [m.name for m in data.modalities] == [*shown, "qpos", "qvel"]
    for camera, expected in shown.items():
        off = np.abs(demo.values[camera].astype(int) - expected)
        assert off.max() <= (3 if compressed else 0)  # decoders round
        assert demo.values[camera][..., 0].mean() > 150 > demo.values[camera][..., 2].mean()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(demo.actions, file["action"][()].astype(np.float32))
        np.testing.assert_array_equal(
            demo.values["qpos"], file["observations/qpos"][()].astype(np.float32)
        )


def test_bytes_that_are_no_picture_are_refused(tmp_path):
    path = tmp_path / "episode_0.hdf5"
    layouts.aloha(path, compressed=True)
    with h5py.File(path, "a") as file:
        file["observations/images/cam_high"][2] = 7
    said = "observations/images/cam_high has at step 2 bytes that are no picture .*--obs"
    with open_data(path) as data, pytest.raises(ValueError, match=said):
        data[0]
    with open_data(path, Reading(("cam_left_wrist", "qpos"))) as data:
        assert set(data[0].values) == {"cam_left_wrist", "qpos"}


@pytest.mark.parametrize("nested", [False, True])
def test_episodes_of_minari_lose_the_observation_that_no_action_follows(tmp_path, nested):
    path = layouts.minari(tmp_path / "main_data.hdf5", lengths=(4, 6), nested=nested)
    demos, data = read(path)
    assert data.names == ("episode_0", "episode_1")
    names = ["goal_place", "observation"] if nested else ["observation"]
    assert [m.name for m in data.modalities] == names
    with h5py.File(path) as file:
        for number, (demo, steps) in enumerate(zip(demos, (4, 6), strict=True)):
            episode = file[f"episode_{number}"]
            place = "observations/observation" if nested else "observations"
            expected = episode[place][:steps].astype(np.float32)
            np.testing.assert_array_equal(demo.values["observation"], expected)
            rewards = episode["rewards"][()].astype(np.float32)
            np.testing.assert_array_equal(demo.rewards, rewards)
            assert demo.dones.tolist() == [False] * (steps - 1) + [True]


def test_discrete_actions_are_refused(tmp_path):
    path = layouts.minari(tmp_path / "main_data.hdf5")
    with h5py.File(path, "a") as file:
        del file["episode_0/actions"]
        file["episode_0/actions"] = np.array([0, 1, 2, 1])
    with pytest.raises(ValueError, match=r"episode_0/actions has dtype int64: .*discrete; it must"):
        read(path)


def test_one_action_a_step_may_lack_its_axis(tmp_path):
    path = layouts.minari(tmp_path / "main_data.hdf5", lengths=(4,))
    with h5py.File(path, "a") as file:
        del file["episode_0/actions"]
        file["episode_0/actions"] = np.array([0.5, 1, 0, -1])
    (demo,), data = read(path)
    assert data.action_size == 1 and demo.actions.tolist() == [[0.5], [1], [0], [-1]]


def test_raw_recordings_are_refused_with_what_renders_them(tmp_path):
    path = layouts.robosuite_raw(tmp_path / "raw.hdf5")
    said = (
        "raw.hdf5: data/demo_1/obs is missing: .* raw .*experiments.render --data .*raw.hdf5 --out"
    )
    with pytest.raises(ValueError, match=said):
        open_data(path)


def test_a_folder_is_its_parts_one_after_the_other(tmp_path):
    for number in (0, 1, 2):
        layouts.aloha(tmp_path / f"episode_{number}.hdf5", steps=3 + number, seed=number)
    (tmp_path / "README.md").write_text("what was recorded")
    demos, data = read(tmp_path)
    assert find_format(tmp_path).name == "folder"
    assert data.names == ("episode_0", "episode_1", "episode_2")
    assert [len(demo.actions) for demo in demos] == [3, 4, 5]
    np.testing.assert_array_equal(data[-1].actions, demos[2].actions)
    with pytest.raises(IndexError):
        data[3]
    data.close()


def test_a_folder_may_hold_folders(tmp_path):
    for number in (0, 1):
        (tmp_path / f"day_{number}" / "data").mkdir(parents=True)
        layouts.minari(tmp_path / f"day_{number}" / "data" / "main_data.hdf5", (2, 3))
    demos, data = read(tmp_path)
    assert data.names[:2] == tuple(f"day_0/data/main_data/episode_{n}" for n in (0, 1))
    assert [len(demo.actions) for demo in demos] == [2, 3, 2, 3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cameras": ("cam_high",)}, r"b.hdf5 has sensors cam_high .*, and .*a.hdf5 has cam_high"),
        ("actions", "b.hdf5 has action size 3, and .*a.hdf5 has 14"),
    ],
)
def test_a_folder_of_unlike_parts_is_refused(tmp_path, change, said):
    layouts.aloha(tmp_path / "a.hdf5")
    layouts.aloha(tmp_path / "b.hdf5", **(change if change != "actions" else {}))
    if change == "actions":
        with h5py.File(tmp_path / "b.hdf5", "a") as file:
            del file["action"]
            file["action"] = np.zeros((5, 3))
    with pytest.raises(ValueError, match=said + ".* a folder must hold data of one kind"):
        open_data(tmp_path)
    if change != "actions":
        read(tmp_path, Reading(("cam_high", "qpos")))


def test_what_is_of_no_format_is_told_the_formats(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere"):
        open_data(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no format of demonstrations .*robomimic .*minari"):
        open_data(tmp_path)
    other = tmp_path / "other.hdf5"
    with h5py.File(other, "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"other.hdf5 is of no format .*aloha \(HDF5 with observa"):
        open_data(other)
    text = tmp_path / "text.hdf5"
    text.write_text("not a file of this kind")
    with pytest.raises(ValueError, match=r"text.hdf5: no HDF5 file, or a truncated one"):
        open_data(text)
    whole = demonstration_files.robomimic(tmp_path / "whole.hdf5").read_bytes()
    text.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"text.hdf5: no HDF5 file, or a truncated one"):
        open_data(text)


@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_file_is_refused_by_its_name_or_read(tmp_path, name):
    WRITERS[name](tmp_path / "whole.hdf5")
    whole = (tmp_path / "whole.hdf5").read_bytes()
    random, refused = np.random.default_rng(0), 0
    for number in range(30):
        damaged = bytearray(whole)
        for place in random.integers(0, min(len(whole), 20_000), 8):
            damaged[place] ^= 1 << random.integers(8)
        path = tmp_path / f"damaged_{number}.hdf5"
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 5
