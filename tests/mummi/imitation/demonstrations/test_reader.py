"""Reading demonstrations: files of robomimic and LIBERO load, damaged ones say what is wrong."""

import tracemalloc

import h5py
import numpy as np
import pytest

from mummi.imitation.demonstrations import Demonstrations, Reading
from tests.support.demonstration_files import LIBERO_SHAPES, PROBLEM, libero, robomimic


def test_a_file_of_libero_loads(tmp_path):
    path = libero(tmp_path / "drawer.hdf5")
    with Demonstrations(path) as demonstrations, h5py.File(path) as file:
        assert len(demonstrations) == 2 and demonstrations.action_size == 7
        assert {m.name: m.shape for m in demonstrations.modalities} == LIBERO_SHAPES
        kinds = {m.name: m.kind for m in demonstrations.modalities}
        assert kinds["agentview_rgb"] == "image" and kinds["joint_states"] == "vector"
        attributes = demonstrations.attributes
        assert attributes["problem_info"] == PROBLEM
        assert attributes["bddl_file_name"] == "open_the_drawer.bddl"
        assert attributes["env_args"]["env_name"] == "Libero" and attributes["total"] == 13
        for number, demo in enumerate(demonstrations):
            raw = file[f"data/demo_{number}"]
            for name in LIBERO_SHAPES:
                dtype = np.uint8 if name.endswith("rgb") else np.float32
                assert demo.values[name].dtype == dtype
                np.testing.assert_array_equal(demo.values[name], raw["obs"][name][()].astype(dtype))
            np.testing.assert_array_equal(demo.actions, raw["actions"][()].astype(np.float32))
            assert demo.rewards.dtype == np.float32 and demo.rewards.tolist()[-2:] == [0, 1]
            assert demo.dones.dtype == bool and demo.dones.tolist()[-2:] == [
                False,
                True,
            ]
            np.testing.assert_array_equal(demo.states, raw["states"][()])
            start = demo.attributes.pop("init_state")
            np.testing.assert_array_equal(start, raw["states"][0])
            assert demo.attributes == {
                "num_samples": 6 + number,
                "model_file": "<mujoco/>",
            }


def test_a_file_of_robomimic_loads_with_its_filter_keys_in_numeric_order(tmp_path):
    path = robomimic(tmp_path / "lift.hdf5")
    with Demonstrations(path) as demonstrations, h5py.File(path) as file:
        assert demonstrations.names == tuple(f"demo_{number}" for number in range(12))
        kinds = {m.name: m.kind for m in demonstrations.modalities}
        expected = ("image", "vector", "depth")
        names = ("agentview_image", "robot0_eef_pos", "agentview_depth")
        assert kinds == dict(zip(names, expected, strict=True))
        demo = demonstrations[-2]
        np.testing.assert_array_equal(
            demo.values["agentview_image"], file["data/demo_10/obs/agentview_image"][()]
        )
        assert demo.states is None and demo.dones.tolist() == [False] * 3 + [True] * 2
    with h5py.File(path, "a") as file:
        file.create_dataset("mask/text", data=["demo_11", "demo_3"], dtype=h5py.string_dtype())
    for key in ("valid", "text"):
        with Demonstrations(path, Reading(filter_key=key)) as demonstrations:
            assert demonstrations.names == ("demo_3", "demo_11")


def test_observations_are_chosen_and_renamed_in_the_order_given(tmp_path):
    path = libero(tmp_path / "drawer.hdf5")
    renamed = ("eye_in_hand_rgb=rgb", "joint_states=arm")
    with Demonstrations(path, Reading(("rgb", "arm"), renamed)) as chosen:
        assert [m.name for m in chosen.modalities] == ["rgb", "arm"]
        with h5py.File(path) as file:
            expected = file["data/demo_1/obs/eye_in_hand_rgb"][()]
        np.testing.assert_array_equal(chosen[1].values["rgb"], expected)
    with Demonstrations(path, Reading(("joint_states", "ee_states"))) as chosen:
        assert [m.name for m in chosen.modalities] == ["joint_states", "ee_states"]
    with Demonstrations(path, Reading(())) as chosen:
        assert chosen[0].values == {} and len(chosen[0].actions) == 6


def test_one_demonstration_is_in_memory_at_a_time(tmp_path):
    path = tmp_path / "long.hdf5"
    with h5py.File(path, "w") as file:
        for number in range(8):
            file[f"data/demo_{number}/obs/arm"] = np.full((1000, 250), number, np.float32)
            file[f"data/demo_{number}/actions"] = np.zeros((1000, 2))
    with Demonstrations(path) as demonstrations:
        tracemalloc.start()
        try:
            for number, demo in enumerate(demonstrations):
                assert demo.values["arm"][0, 0] == number
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    # A demonstration has 1 MB of 8, two may overlap, and the check for NaN takes another.
    assert peak < 4e6


SENSORS = {"image": (6, 6, 3), "depth": (6, 6, 1), "vector": (3,), "embedding": (4,)}
"""A sensor of each kind, named after it."""


def sensors(path, bad=None):
    """Two demonstrations of five steps; ``bad`` by sensor are values of a pixel at steps 1 and 3 of
    the second."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number in range(2):
            for kind, shape in SENSORS.items():
                value = random.integers(1, 256, (5, *shape), np.uint8)
                if kind != "image":
                    value = value / 256
                    if number and kind in (bad or {}):
                        value.reshape(5, -1)[[1, 3], -1] = bad[kind]
                file[f"data/demo_{number}/obs/{kind}"] = value
                file[f"data/demo_{number}/obs/{kind}"].attrs["kind"] = kind
            file[f"data/demo_{number}/actions"] = random.normal(size=(5, 2))
    return path


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("kind", ["depth", "vector", "embedding"])
def test_a_value_that_is_not_finite_is_missing_and_never_a_value(tmp_path, kind, bad):
    path, good = sensors(tmp_path / "a.hdf5", {kind: bad}), sensors(tmp_path / "good.hdf5")
    said = rf"a.hdf5: data/demo_1 holds .* missing: '{kind}' at 2 of 5 steps \(40%\)"
    with Demonstrations(path, Reading(tuple(SENSORS))) as demonstrations:
        assert demonstrations[0].available is None
        with pytest.warns(UserWarning, match=said):
            spoiled = demonstrations[1]
    with Demonstrations(good, Reading(tuple(SENSORS))) as demonstrations:
        clean = demonstrations[1]
    assert clean.available is None and clean.availability(kind).all()
    for name in SENSORS:
        available = spoiled.availability(name)
        assert available.tolist() == [True, name != kind, True, name != kind, True]
        np.testing.assert_array_equal(
            spoiled.values[name][available], clean.values[name][available]
        )
        assert not spoiled.values[name][~available].any()
        assert spoiled.values[name].dtype == clean.values[name].dtype


def test_one_warning_names_all_sensors_of_a_demonstration(tmp_path):
    path = sensors(tmp_path / "a.hdf5", {"depth": np.nan, "vector": np.inf})
    with Demonstrations(path) as demonstrations, pytest.warns(UserWarning) as caught:
        demonstrations[1]
    (said,) = (str(warning.message) for warning in caught)
    assert "'depth' at 2 of 5" in said and "'vector' at 2 of 5" in said


def test_later_ones_are_not_told_and_what_is_said_to_be_missing_is_no_news(tmp_path):
    path = sensors(tmp_path / "a.hdf5", {"depth": np.nan})
    with h5py.File(path, "a") as file:
        for number in (0, 1):
            file[f"data/demo_{number}/obs/vector"][0] = np.nan
        file["data/demo_1/available/depth"] = np.array([1, 0, 1, 0, 1], np.uint8)
    with Demonstrations(path) as demonstrations:
        with pytest.warns(UserWarning, match="'vector' at 1 of 5") as caught:
            list(demonstrations)
        assert len(caught) == 1 and "depth" not in str(caught[0].message)
        found = demonstrations[1]
    assert found.availability("depth").tolist() == [True, False, True, False, True]
    assert found.availability("vector").tolist() == [False, True, True, True, True]


def test_a_sensor_that_one_demonstration_lacks_is_missing_there(tmp_path):
    path = libero(tmp_path / "drawer.hdf5")
    edit(path, remove("data/demo_0/obs/eye_in_hand_rgb"))
    edit(path, remove("data/demo_1/obs/ee_states"))
    with Demonstrations(path) as demonstrations:
        assert {m.name: m.shape for m in demonstrations.modalities} == LIBERO_SHAPES
        first, second = demonstrations
    for demo, lost, has in (
        (first, "eye_in_hand_rgb", "ee_states"),
        (second, "ee_states", "eye_in_hand_rgb"),
    ):
        assert not demo.availability(lost).any() and not demo.values[lost].any()
        assert demo.availability(has).all() and demo.values[has].any()
        assert demo.values[lost].shape == (len(demo.actions), *LIBERO_SHAPES[lost])


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.ones(4, bool), r"available/arm has shape \(4,\); it must be \(5,\)"),
        (np.full(5, 2), "available/arm holds other values; it must be true or false at each step"),
    ],
)
def test_an_availability_that_does_not_fit_is_refused(tmp_path, mask, said):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["data/demo_0/obs/arm"] = np.zeros((5, 2))
        file["data/demo_0/actions"] = np.zeros((5, 2))
        file["data/demo_0/available/arm"] = mask
    with Demonstrations(path) as demonstrations, pytest.raises(ValueError, match=said):
        demonstrations[0]


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def replace(name, value):
    def change(file):
        del file[name]
        file[name] = value

    return change


def with_value(name, index, number):
    def change(file):
        file[name][index] = number

    return change


def replace_by(name, source, index, number):
    def change(file):
        value = file[source][()]
        value[index] = number
        file[name] = value

    return change


def remove(name):
    return lambda file: file.__delitem__(name)


DEMO = "data/demo_1"
MALFORMED = {
    "no data": (remove("data"), "group 'data' is missing"),
    "no demonstration": (
        lambda file: (file.__delitem__("data/demo_0"), file.__delitem__(DEMO)),
        "no demonstrations in 'data'",
    ),
    "no observations": (remove("data/demo_0/obs"), "data/demo_0/obs is missing"),
    "no actions": (remove(f"{DEMO}/actions"), "demo_1/actions is missing"),
    "no observations in a later one": (remove(f"{DEMO}/obs"), "data/demo_1/obs is missing"),
    "a demonstration no group": (replace(DEMO, np.zeros(3)), "data/demo_1 cannot be read"),
    "an observation too short": (
        replace(f"{DEMO}/obs/ee_states", np.zeros((4, 6))),
        r"demo_1/obs/ee_states has shape \(4, 6\); it must be \(7, 6\)",
    ),
    "rewards too long": (
        replace(f"{DEMO}/rewards", np.zeros(8)),
        r"demo_1/rewards has shape \(8,\); it must be \(7,\)",
    ),
    "another shape than before": (
        replace(f"{DEMO}/obs/agentview_rgb", np.zeros((7, 4, 8, 3), np.uint8)),
        r"demo_1/obs/agentview_rgb has shape \(7, 4, 8, 3\); it must be \(7, 8, 8, 3\)",
    ),
    "other actions than before": (
        replace(f"{DEMO}/actions", np.zeros((7, 6))),
        r"demo_1/actions has shape \(7, 6\); it must be \(7, 7\)",
    ),
    "samples miscounted": (
        lambda file: file[DEMO].attrs.__setitem__("num_samples", 9),
        "demo_1/actions has length 7; it must be 9",
    ),
    "an empty demonstration": (
        replace(f"{DEMO}/actions", np.zeros((0, 7))),
        "demo_1/actions has no step",
    ),
    "NaN in actions": (
        with_value(f"{DEMO}/actions", (4, 2), np.nan),
        "demo_1/actions is NaN or infinite at step 4; .*: mend it or remove the demonstration",
    ),
    "actions that float32 does not hold": (
        with_value(f"{DEMO}/actions", (3, 0), 1e39),
        "demo_1/actions is NaN or infinite at step 3",
    ),
    "infinity in what was executed": (
        replace_by(f"{DEMO}/executed", f"{DEMO}/actions", (2, 1), -np.inf),
        "demo_1/executed is NaN or infinite at step 2; .*: mend it or remove the demonstration",
    ),
    "NaN in rewards": (
        replace(f"{DEMO}/rewards", [0, 0, 0, 0, 0, np.nan, 1]),
        "demo_1/rewards is NaN or infinite at step 5; .*: mend it or remove the demonstration",
    ),
    "infinity in rewards": (
        replace(f"{DEMO}/rewards", [np.inf, 0, 0, 0, 0, 0, 1]),
        "demo_1/rewards is NaN or infinite at step 0",
    ),
    "a picture of floats": (
        replace(f"{DEMO}/obs/agentview_rgb", np.zeros((7, 8, 8, 3))),
        "demo_1/obs/agentview_rgb has dtype float64; it must be uint8",
    ),
    "text for actions": (
        replace(f"{DEMO}/actions", np.full((7, 7), b"left")),
        r"demo_1/actions has dtype \|S4; it must be numbers",
    ),
    "pictures of floats everywhere": (
        replace("data/demo_0/obs/agentview_rgb", np.zeros((6, 8, 8, 3))),
        r"demo_0/obs/agentview_rgb has shape \(8, 8, 3\) and dtype float64; pictures must be uint8",
    ),
    "a broken attribute": (
        lambda file: file["data"].attrs.__setitem__("env_args", "{"),
        "attribute 'env_args' of 'data' is no JSON of a mapping: '{'",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_says_what_is_wrong_and_where(tmp_path, case):
    change, said = MALFORMED[case]
    path = libero(tmp_path / "drawer.hdf5")
    edit(path, change)
    with pytest.raises(ValueError, match=said) as caught, Demonstrations(path) as demonstrations:
        list(demonstrations)
    assert str(path) in str(caught.value)


def test_a_damaged_demonstration_does_not_spoil_those_before_it(tmp_path):
    path = libero(tmp_path / "drawer.hdf5")
    edit(path, remove(f"{DEMO}/actions"))
    with Demonstrations(path) as demonstrations:
        assert len(demonstrations[0].actions) == 6


def test_what_is_no_hdf5_file_is_refused(tmp_path):
    path = tmp_path / "notes.hdf5"
    path.write_text("not a file of this kind")
    with pytest.raises(ValueError, match=r"notes.hdf5: no HDF5 file, or a truncated one"):
        Demonstrations(path)
    with pytest.raises(ValueError, match=r"is a folder; name a file in it"):
        Demonstrations(tmp_path)
    whole = libero(tmp_path / "drawer.hdf5").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        Demonstrations(path)
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.hdf5"):
        Demonstrations(tmp_path / "absent.hdf5")


def test_a_damaged_chunk_is_named(tmp_path):
    path = robomimic(tmp_path / "lift.hdf5")
    with h5py.File(path) as file:
        chunk = file["data/demo_2/obs/agentview_image"].id.get_chunk_info(0)
    with path.open("rb+") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(chunk.size))
    with Demonstrations(path) as demonstrations:
        with pytest.raises(ValueError, match="demo_2/obs/agentview_image is damaged"):
            demonstrations[2]
        assert len(demonstrations[3].actions) == 5


def test_unknown_names_are_refused(tmp_path):
    path = robomimic(tmp_path / "lift.hdf5")
    with pytest.raises(ValueError, match="unknown modality 'tactil'; the observations are agent"):
        Demonstrations(path, Reading(("tactil",)))
    with pytest.raises(ValueError, match="no filter key 'train'; it has valid"):
        Demonstrations(path, Reading(filter_key="train"))
    edit(path, replace("mask/valid", np.array([b"demo_99"])))
    with pytest.raises(ValueError, match="mask/valid lists 'demo_99'"):
        Demonstrations(path, Reading(filter_key="valid"))
