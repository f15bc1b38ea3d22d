"""Public layouts of HDF5: every number that is read is the one that h5py finds in the file."""

import warnings

import h5py
import numpy as np
import pytest

from mummi.imitation.demonstrations import Reading, open_data
from tests.support import demonstration_files, layouts

STEPS = 8


def one(**arrays):
    """What writes a file of robomimic with one demonstration of these sensors, and its joints."""

    def write(path):
        random = np.random.default_rng(0)
        with h5py.File(path, "w") as file:
            data = file.create_group("data")
            data.attrs.update(total=STEPS, env_args="{}")
            demo = data.create_group("demo_0")
            demo.attrs["num_samples"] = str(STEPS)  # as some converters write it
            demo["actions"] = np.clip(random.normal(size=(STEPS, 7)), -1, 1)
            demo["rewards"], demo["states"] = np.zeros(STEPS), random.normal(size=(STEPS, 32))
            demo["dones"] = np.r_[np.zeros(STEPS - 1), 1].astype(np.int64)
            demo["obs/joints"] = random.normal(size=(STEPS, 7))
            for name, array in arrays.items():
                demo[f"obs/{name}"] = array
        return path

    return write


def pictures(*shape):
    return np.random.default_rng(1).integers(0, 255, (STEPS, *shape), np.uint8)


def lacking(path):
    """Two demonstrations, of which the second has no camera."""
    one(cam=pictures(12, 12, 3))(path)
    with h5py.File(path, "a") as file:
        file.copy("data/demo_0", "data/demo_1")
        del file["data/demo_1/obs/cam"]


def beyond(path):
    """Actions as a space mouse gives them, to 7.5."""
    one(frontview_image=pictures(8, 8, 3))(path)
    with h5py.File(path, "a") as file:
        file["data/demo_0/actions"][...] = 7.5 * file["data/demo_0/actions"][()]


def short(path):
    """A demonstration of one step."""
    with h5py.File(path, "w") as file:
        file["data/demo_0/actions"] = np.full((1, 2), 0.5)
        file["data/demo_0/obs/joints"] = np.full((1, 3), 0.25)


FORCES = np.where(np.arange(STEPS)[:, None] == 3, np.nan, np.arange(6.0))
READ = {
    "robomimic": demonstration_files.robomimic,
    "libero": demonstration_files.libero,
    "isaaclab": layouts.isaaclab,
    "aloha": layouts.aloha,
    "grey pictures": one(cam=pictures(32, 32, 1)),
    "channels first": one(cam=pictures(3, 16, 16)),
    "pictures that are not square": one(cam=pictures(48, 64, 3)),
    "depth in millimetres": one(cam_depth=pictures(16, 16, 1).astype(np.uint16) * 16),
    "numbers that are NaN": one(force=FORCES),
    "a sensor that one lacks": lacking,
    "actions to 7.5": beyond,
    "one step": short,
}
PLACES = {  # of what has another name than in the file, and what becomes of it
    "datagen_info_eef_pose_franka": "obs/datagen_info/eef_pose/franka",
    "wrist_rgb": "obs/eye_in_hand_rgb",
}


def stored(group, name, libero):
    """A sensor in a demonstration's group, as our shapes have it; None where there is none."""
    if libero and name == "proprio":
        parts = ("joint_states", "gripper_states", "ee_pos")
        found = [group[f"obs/{part}"][()] for part in parts[:2]]
        return np.concatenate([*found, group["obs/ee_states"][:, :3]], 1)
    for place in (f"obs/{name}", f"observations/images/{name}", f"observations/{name}"):
        if (place := PLACES.get(name, place)) in group:
            array = group[place][()]
            if libero and array.ndim == 4:
                return array[:, ::-1]
            return (
                np.moveaxis(array, 1, -1) if array.shape[1:2] == (3,) and array.ndim == 4 else array
            )
    return None


@pytest.mark.parametrize("layout", READ)
def test_every_number_is_that_of_the_file(tmp_path, layout):
    path = tmp_path / "data.hdf5"
    READ[layout](path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*data.hdf5: data/demo_0 holds values that are not fin")
        with open_data(path, Reading(failed="keep")) as data:
            read = dict(zip(data.names, data, strict=True))
    with h5py.File(path) as file:
        if "data" in file:
            assert sorted(read) == sorted(file["data"])
        for name, demo in read.items():
            group = file[f"data/{name}"] if "data" in file else file
            actions = group["actions" if "actions" in group else "action"][()]
            np.testing.assert_array_equal(demo.actions, actions.astype(np.float32))
            for key in ("rewards", "dones"):
                wanted = group[key][()] if key in group else np.zeros(len(actions))
                np.testing.assert_array_equal(getattr(demo, key), wanted.astype(np.float32))
            if isinstance(group.get("states"), h5py.Dataset):
                np.testing.assert_array_equal(demo.states, group["states"][()])
            for sensor, value in demo.values.items():
                wanted = stored(group, sensor, layout == "libero")
                if wanted is None:
                    assert not demo.availability(sensor).any() and not value.any()
                    continue
                wanted = wanted.reshape(value.shape).astype(value.dtype)
                there = np.isfinite(wanted.reshape(len(wanted), -1)).all(1)
                np.testing.assert_array_equal(demo.availability(sensor), there)
                np.testing.assert_array_equal(value[there], wanted[there])
                assert not value[~there].any()


def spoilt(place, value):
    """A file whose actions or attributes make no sense."""

    def write(path):
        one()(path)
        with h5py.File(path, "a") as file:
            if place == "env_args":
                file["data"].attrs[place] = value
            else:
                file[place][2, 0] = value

    return write


REFUSED = {
    "an action that is NaN": (
        spoilt("data/demo_0/actions", np.nan),
        "data/demo_0/actions is NaN or infinite at step 2",
    ),
    "env_args that is no JSON": (
        spoilt("env_args", "Lift"),
        "attribute 'env_args' of 'data' is no JSON of a mapping: 'Lift'; mend or remove it",
    ),
    "a raw recording": (
        layouts.robosuite_raw,
        "python -m experiments.render --data .* --out images.hdf5",
    ),
}


@pytest.mark.parametrize("layout", REFUSED)
def test_what_is_not_read_is_refused_in_words(tmp_path, layout):
    write, said = REFUSED[layout]
    path = tmp_path / "data.hdf5"
    write(path)
    with (
        pytest.raises(ValueError, match=f"data.hdf5: .*{said}"),
        open_data(path) as data,
    ):
        list(data)
