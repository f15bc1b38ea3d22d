"""Writing demonstrations: none that was appended is lost, and none of another kind is mixed in."""

import json
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mummi.imitation.demonstrations import (
    Demonstration,
    Demonstrations,
    DemonstrationWriter,
    open_data,
)
from mummi.modality import Modality
from tests.support.demonstration_files import libero

ENV_ARGS = {"env_name": "dummy", "type": 2, "env_kwargs": {"image_size": 4}}
MODALITIES = (
    Modality("rgb", "image", (4, 4, 3)),
    Modality("depth", "depth", (4, 4, 1)),
    Modality("code", "embedding", (5,)),
    Modality("arm", "vector", (2,)),
)


def make(seed, steps=5, **changes):
    random = np.random.default_rng(seed)
    values = {
        m.name: random.integers(0, 256, (steps, *m.shape), np.uint8)
        if m.kind == "image"
        else random.random((steps, *m.shape), np.float32)
        for m in MODALITIES
    }
    made = Demonstration(
        values=values,
        actions=random.normal(size=(steps, 3)).astype(np.float32),
        rewards=random.normal(size=steps).astype(np.float32),
        dones=np.arange(steps) == steps - 1,
        states=random.normal(size=(steps, 9)),
        attributes={"success": 1.0},
    )
    return made._replace(**changes)


def writer_of(path, modalities=MODALITIES, action_size=3, env_args=ENV_ARGS):
    return DemonstrationWriter(path, modalities, action_size, env_args)


def require_equal(found, expected):
    assert list(found.values) == list(expected.values)
    for name, value in expected.values.items():
        np.testing.assert_array_equal(found.values[name], value)
        assert found.values[name].dtype == value.dtype
    for name in ("actions", "rewards", "dones", "states"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.attributes["success"] == expected.attributes["success"]


def test_what_is_written_is_read_and_laid_out_as_robomimic_reads_it(tmp_path):
    path = tmp_path / "new" / "ours.hdf5"
    made = [make(seed, steps=4 + seed) for seed in range(3)]
    with writer_of(path) as writer:
        for demonstration in made:
            writer.append(demonstration)
        assert len(writer) == 3 and not path.exists()
    with Demonstrations(path) as demonstrations:
        assert demonstrations.modalities == MODALITIES and demonstrations.action_size == 3
        for found, expected in zip(demonstrations, made, strict=True):
            require_equal(found, expected)
    # What robomimic's SequenceDataset and file_utils do.
    with h5py.File(path, "r", swmr=True, libver="latest") as file:
        demos = sorted(file["data"].keys(), key=lambda name: int(name[5:]))
        assert [file[f"data/{d}"].attrs["num_samples"] for d in demos] == [4, 5, 6]
        assert file["data"].attrs["total"] == 15
        assert json.loads(file["data"].attrs["env_args"]) == ENV_ARGS
        assert file["data/demo_1/obs/rgb"].dtype == np.uint8
        assert file["data/demo_1/dones"][()].tolist() == [0, 0, 0, 0, 1]
    assert [entry.name for entry in path.parent.iterdir()] == ["ours.hdf5"]


def test_no_appended_demonstration_is_lost_when_the_process_is_killed(tmp_path):
    path, folder = tmp_path / "ours.hdf5", tmp_path / "ours.hdf5.parts"
    killed = writer_of(path)
    for seed in range(2):
        killed.append(make(seed))
    (folder / "demo_2.tmp").write_bytes(b"the half of a demonstration")
    killed._lock.close()
    shutil.copytree(folder, tmp_path / "kept")
    with writer_of(path) as writer:
        assert len(writer) == 2
        writer.append(make(2))
    # Killed again, after the file was renamed and before the parts were removed.
    shutil.copytree(tmp_path / "kept", folder)
    with writer_of(path) as writer:
        assert len(writer) == 3
        writer.append(make(3))
    with Demonstrations(path) as demonstrations:
        assert len(demonstrations) == 4 and demonstrations.attributes["total"] == 20
        for seed, found in enumerate(demonstrations):
            require_equal(found, make(seed))
    assert not folder.exists()


def test_demonstrations_of_different_kinds_are_not_mixed(tmp_path):
    path = tmp_path / "ours.hdf5"
    with writer_of(path) as writer:
        writer.append(make(0))
        with pytest.raises(ValueError, match="another process writes"):
            writer_of(path)
    before = path.read_bytes()
    kwargs = {"image_size": 8}
    for changes, said in (
        ({"env_args": ENV_ARGS | {"env_name": "other"}}, r"env_args\['env_name'\] = 'dummy', not"),
        ({"env_args": ENV_ARGS | {"env_kwargs": kwargs}}, r"env_args\['env_kwargs'\]"),
        ({"modalities": MODALITIES[:2]}, "modalities"),
        ({"modalities": MODALITIES[::-1]}, "modalities"),
        ({"action_size": 4}, "action_size = 3, not 4"),
    ):
        with pytest.raises(ValueError, match=said):
            writer_of(path, **changes)
    assert path.read_bytes() == before
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")
    with pytest.raises(ValueError, match="no HDF5 file"):
        writer_of(foreign)
    assert foreign.read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"actions": np.full((5, 3), np.nan)}, "actions is NaN or infinite at step 0"),
        ({"actions": np.zeros((5, 2))}, "action_size = 2, not 3"),
        ({"rewards": np.zeros(4)}, "rewards has shape"),
        ({"states": np.zeros((6, 9))}, "states has shape"),
    ],
)
def test_what_no_reader_would_take_is_not_written(tmp_path, changes, said):
    path = tmp_path / "ours.hdf5"
    with writer_of(path) as writer:
        writer.append(make(0))
        with pytest.raises(ValueError, match=said):
            writer.append(make(1, **changes))
        writer.append(make(2))
    with Demonstrations(path) as demonstrations:
        assert len(demonstrations) == 2
        require_equal(demonstrations[1], make(2))


@pytest.mark.parametrize("name", [m.name for m in MODALITIES])
def test_a_missing_value_is_missing_when_it_is_read_again(tmp_path, name):
    path, available = tmp_path / "ours.hdf5", np.array([True, False, True, True, False])
    made = make(0, available={name: available})
    with writer_of(path) as writer:
        writer.append(made)
        writer.append(make(1))
    with Demonstrations(path) as demonstrations:
        found = demonstrations[0]
        assert demonstrations[1].available is None
    for m in MODALITIES:
        expected = available if m.name == name else np.ones(5, bool)
        np.testing.assert_array_equal(found.availability(m.name), expected)
        np.testing.assert_array_equal(found.values[m.name][expected], made.values[m.name][expected])
        assert not found.values[m.name][~expected].any()
    with h5py.File(path) as file:
        assert file[f"data/demo_0/available/{name}"].dtype == bool
        assert list(file["data/demo_0/available"]) == [name]
        assert "available" not in file["data/demo_1"]


@st.composite
def demonstrations(draw):
    """Of any length, with sensors missing at any steps, and with or without what is optional."""
    steps = draw(st.integers(1, 6))
    masks = st.lists(st.booleans(), min_size=steps, max_size=steps)
    named = draw(st.lists(st.sampled_from([m.name for m in MODALITIES]), unique=True))
    available = {name: np.array(draw(masks)) for name in named}
    made = make(draw(st.integers(0, 99)), steps=steps, available=available or None)
    if draw(st.booleans()):
        made = made._replace(states=None)
    if draw(st.booleans()):
        made = made._replace(executed=made.actions[::-1].copy())
    return made


@settings(max_examples=25)
@given(st.lists(demonstrations(), min_size=1, max_size=3))
def test_whatever_is_written_is_read_back_equal(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("written") / "ours.hdf5"
    with writer_of(path) as writer:
        for demonstration in made:
            writer.append(demonstration)
    with open_data(path) as data:
        assert data.modalities == MODALITIES and len(data) == len(made)
        for found, expected in zip(data, made, strict=True):
            for name in ("actions", "rewards", "dones", "states", "executed"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
            for m in MODALITIES:
                there = expected.availability(m.name)
                np.testing.assert_array_equal(found.availability(m.name), there)
                value = found.values[m.name]
                np.testing.assert_array_equal(value[there], expected.values[m.name][there])
                assert not value[~there].any() and value.dtype == m.dtype


def test_what_is_missing_does_not_disturb_readers_that_do_not_know_of_it(tmp_path):
    """robomimic and LIBERO look at all of ``obs``, at ``actions``, and at attributes."""
    path, there = tmp_path / "ours.hdf5", np.array([True, False, True, True, False])
    with writer_of(path) as writer:
        writer.append(make(0, available={"rgb": there, "arm": there}))
        writer.append(make(1))
    with h5py.File(path) as file:
        for name in ("demo_0", "demo_1"):
            group = file[f"data/{name}"]
            assert set(group["obs"]) == {m.name for m in MODALITIES}
            for m in MODALITIES:
                stored = group["obs"][m.name]
                assert stored.shape == (5, *m.shape) and np.isfinite(stored[()]).all()
            assert group["actions"].shape == (5, 3) and group.attrs["num_samples"] == 5
        assert set(file["data/demo_0"]) - set(file["data/demo_1"]) == {"available"}


def test_an_available_value_that_is_not_finite_is_not_written(tmp_path):
    made = make(0, available={"arm": np.array([True, False, True, True, True])})
    made.values["arm"][[1, 2]] = np.nan
    with writer_of(tmp_path / "ours.hdf5") as writer:
        with pytest.raises(ValueError, match="sensor 'arm' is available at step 2 and has a value"):
            writer.append(made)
        assert len(writer) == 0


def test_a_file_of_libero_goes_on_and_keeps_what_is_its_own(tmp_path):
    path = libero(tmp_path / "drawer.hdf5", steps=5)
    with Demonstrations(path) as before:
        modalities, env_args, first = before.modalities, before.attributes["env_args"], before[0]
    with DemonstrationWriter(path, modalities, 7, env_args) as writer:
        writer.append(first)
    with Demonstrations(path) as after:
        assert after.names == ("demo_0", "demo_1", "demo_2") and after.attributes["total"] == 16
        assert after.attributes["bddl_file_name"] == "open_the_drawer.bddl"
        np.testing.assert_array_equal(after[2].actions, first.actions)
    with h5py.File(path) as file:
        assert "robot_states" in file["data/demo_0"]
