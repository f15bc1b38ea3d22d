"""Data against a task: sensors by name, actions and depth in what units, every refusal in words."""

import dataclasses

import h5py
import numpy as np
import pytest

from experiments.imitation import data
from mummi.imitation import scaling
from mummi.imitation.demonstrations import Reading
from mummi.imitation.record import Imitation
from mummi.imitation.scaling import Scaling
from mummi.modality import Modality
from mummi.presets import preset
from tests.support import layouts

IMAGE, ARM, DEPTH = (
    Modality("image", "image", (8, 8, 3)),
    Modality("arm", "vector", (4,)),
    Modality("depth", "depth", (8, 8, 1)),
)
CONFIG = dataclasses.replace(preset("debug", "dummy"), action_repeat=1)


@pytest.fixture
def path(tmp_path):
    """Two demonstrations of four steps and two actions, of which the second goes to 7.5."""
    random = np.random.default_rng(0)
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        for number in range(2):
            demo = file.create_group(f"data/demo_{number}")
            demo["actions"] = np.array([[0.5, -1.5], [0, 7.5 - number], [-1, 0], [1, 0]])
            demo["obs/front"] = random.integers(0, 256, (4, 3, 8, 8), np.uint8)
            demo["obs/arm"] = random.normal(size=(4, 4))
            demo["obs/depth"] = np.full((4, 8, 8, 1), 0.5 + number, np.float32)
    return tmp_path / "data.hdf5"


def load(path, modalities, actions=2, reading=None, config=CONFIG, world_model=""):
    reading = reading or Reading(rename=("front=image",))
    imitation = Imitation(str(path), reading=reading, world_model=world_model, held_out=0.0)
    found = data.load(imitation, config, (modalities, actions))
    return found.demonstrations, found.scaling


def test_actions_beyond_the_tasks_are_scaled_and_told(path, capsys):
    demos, found = load(path, (IMAGE, ARM))
    assert (found.low, found.high) == ((-1.0, -1.5), (1.0, 7.5))
    np.testing.assert_allclose(demos[0].actions[:, 1], [-1, 1, -2 / 3, -2 / 3], rtol=1e-5)
    np.testing.assert_allclose(demos[1].actions[1, 1], 2 * 8 / 9 - 1, rtol=1e-5)
    said = capsys.readouterr().out
    assert "[-1.5, 7.5] to [-1, 1], and back when acting; task dummy cuts what is beyond" in said
    assert str(path) in said and len(said.splitlines()) == 1


def test_actions_that_are_the_tasks_are_left_alone_without_a_word(path, capsys):
    with h5py.File(path, "a") as file:
        for number in range(2):
            file[f"data/demo_{number}/actions"][:, 1] = 0.25
    demos, found = load(path, (ARM,))
    assert dataclasses.replace(found, vectors={}) == Scaling() and capsys.readouterr().out == ""
    assert demos[0].actions.tolist() == [[0.5, 0.25], [0, 0.25], [-1, 0.25], [1, 0.25]]


def test_vectors_are_standardised_by_the_demonstrations_and_so_for_who_acts(path):
    demos, found = load(path, (ARM, IMAGE))
    learned = np.concatenate([demo.values["arm"] for demo in demos])
    np.testing.assert_allclose(learned.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(learned.std(0), 1, rtol=1e-5)
    with h5py.File(path) as file:
        raw = file["data/demo_1/obs/arm"][()]
    np.testing.assert_allclose(found.seen({"arm": raw})["arm"], demos[1].values["arm"], rtol=1e-6)
    assert demos[0].values["image"].dtype == np.uint8


def test_sensors_are_found_by_the_names_of_the_task_and_pictures_turned(path):
    demos, _ = load(path, (ARM, IMAGE))
    assert list(demos[0].values) == ["arm", "image"]
    with h5py.File(path) as file:
        raw = file["data/demo_0/obs/front"][()]
    np.testing.assert_array_equal(demos[0].values["image"][2, 3, 5], raw[2, :, 3, 5])
    said = "unknown modality 'image'; the observations are arm, depth, front .*--rename FILE=TASK"
    with pytest.raises(ValueError, match=said):
        load(path, (IMAGE,), reading=Reading())


def test_depth_in_metres_is_not_that_of_a_task(path):
    said = r"depth 'depth' is in metres, scaled from \[0, 1.5\].*task 'dummy' shows depth in \[-1"
    with pytest.raises(ValueError, match=said):
        load(path, (DEPTH,))
    with pytest.raises(ValueError, match=r"from 0.5 to 1.5, which are not in \[-1, 1\]"):
        load(path, (DEPTH,), reading=Reading(depth="unit"))


@pytest.mark.parametrize(
    ("sensors", "said"),
    [
        (((Modality("arm", "vector", (5,)),), 2), r"modality 'arm' \('vector', \(4,\)\).*\(5,\)"),
        (((ARM,), 3), "has action size 2, and task 'dummy' with these settings has 3"),
    ],
)
def test_data_that_do_not_fit_the_task_are_refused(path, sensors, said):
    with pytest.raises(ValueError, match=said):
        load(path, *sensors)


def test_a_world_model_that_is_taken_brings_its_scaling(path, tmp_path):
    scaling.save(tmp_path / "wide", Scaling((-2.0, -10.0), (2.0, 10.0)))
    demos, found = load(path, (ARM,), world_model=str(tmp_path / "wide"))
    assert found.high == (2.0, 10.0)
    np.testing.assert_allclose(demos[0].actions[:2], [[0.25, -0.15], [0, 0.75]])
    with pytest.raises(ValueError, match=r"dimension 1 of the actions .* leave --world-model out"):
        load(path, (ARM,), world_model=str(tmp_path / "none"))


def test_actions_of_an_environment_of_gymnasium_are_in_its_units(tmp_path, capsys):
    path = layouts.minari(tmp_path / "main_data.hdf5", nested=False)
    with h5py.File(path, "a") as file:
        for number, steps in enumerate((4, 6)):
            del file[f"episode_{number}/actions"]
            file[f"episode_{number}/actions"] = np.linspace(-2, 1, steps)[:, None]
    config = dataclasses.replace(CONFIG, task="gymnasium:Pendulum-v1")
    sensors = ((Modality("observation", "vector", (3,)),), 1)
    demos, found = load(path, *sensors, reading=Reading(), config=config)
    assert dataclasses.replace(found, vectors={}) == Scaling()
    np.testing.assert_allclose(demos[0].actions[:, 0], [-1, -0.5, 0, 0.5])
    assert "units of gymnasium:Pendulum-v1, and [-2, 2] become [-1, 1]" in capsys.readouterr().out
