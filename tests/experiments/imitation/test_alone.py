"""Data without a simulator: what is held out, what is learned from, in which units."""

import dataclasses

import h5py
import numpy as np
import pytest

from envs import instruction
from experiments.imitation import alone
from experiments.imitation.data import load_held_out
from mummi.config import NO_SIMULATOR
from mummi.imitation import record, scaling
from mummi.imitation.demonstrations import Reading
from mummi.imitation.heads.bc import BCConfig
from mummi.imitation.pictures import Picture
from mummi.imitation.record import Imitation
from mummi.presets import offline
from mummi.runs import record as run
from tests.support import foreign

CONFIG = offline("debug", NO_SIMULATOR)


@pytest.fixture
def path(tmp_path):
    return foreign.write(tmp_path / "foreign.hdf5")


def test_a_mask_of_the_file_is_held_out_by_its_name(path):
    with h5py.File(path, "a") as file:
        file["mask/valid"] = [b"demo_1", b"demo_3"]
        file["mask/train"] = [b"demo_0", b"demo_2", b"demo_3"]
    found = alone.load(Imitation(str(path), held_out="valid"), CONFIG).split
    assert found.held_out == ("demo_1", "demo_3")
    assert found.trained == ("demo_0", "demo_2", "demo_4", "demo_5")
    reading = Reading(filter_key="train")
    imitation = Imitation(str(path), held_out="valid", reading=reading)
    assert alone.load(imitation, CONFIG).split.trained == ("demo_0", "demo_2")
    with pytest.raises(ValueError, match="no filter key 'vali'; it has train, valid"):
        alone.load(Imitation(str(path), held_out="vali"), CONFIG)


def test_nothing_is_made_of_what_is_held_out(path):
    before = alone.load(Imitation(str(path)), CONFIG)
    (held,) = before.split.held_out
    with h5py.File(path, "a") as file:
        file[f"data/{held}/actions"][:] = 100
        file[f"data/{held}/obs/state"][:] = -100
    after = alone.load(Imitation(str(path)), CONFIG)
    assert (after.split, after.scaling) == (before.split, before.scaling)
    assert len(after.demonstrations) == foreign.EPISODES - 1 and len(after.held_out) == 1
    np.testing.assert_allclose(
        after.held_out[0].actions,
        after.scaling.learned(np.full(2, 100.0)) * np.ones((len(after.held_out[0].actions), 1)),
    )


def test_units_sizes_and_numbers_are_of_what_is_learned_from(path, capsys):
    found = alone.load(Imitation(str(path)), CONFIG)
    with h5py.File(path) as file:
        actions = np.concatenate([file[f"data/{n}/actions"][()] for n in found.split.trained])
        state = np.concatenate([file[f"data/{n}/obs/state"][()] for n in found.split.trained])
        rate = 25.0
    modalities, size = found.sensors
    assert size == 2 and found.split.rate == rate
    assert {m.name: m.shape for m in modalities} == {"camera": (16, 19, 3), "state": (4,)}
    assert found.scaling.pictures == {"camera": Picture((20, 24), (16, 19))}
    np.testing.assert_allclose(found.scaling.high, actions.max(0), rtol=1e-6)
    np.testing.assert_allclose(found.split.mean, actions.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.split.std, actions.std(0), rtol=1e-5)
    learned = np.concatenate([d.values["state"] for d in found.demonstrations])
    np.testing.assert_allclose(learned, (state - state.mean(0)) / state.std(0), atol=1e-4)
    limits = np.concatenate([d.actions for d in found.demonstrations])
    np.testing.assert_allclose([limits.min(0), limits.max(0)], [[-1, -1], [1, 1]], atol=1e-6)
    said = capsys.readouterr().out
    assert "actions are scaled" in said and "resized from 20×24 to 16×19" in said


def test_held_out_demonstrations_are_read_as_those_learned_from(path, tmp_path):
    imitation, logdir = Imitation(str(path), settings=BCConfig(), held_out=0.5), tmp_path / "run"
    found = alone.load(imitation, CONFIG)
    record.save(logdir, imitation)
    record.save_split(logdir, found.split)
    scaling.save(logdir, found.scaling)
    read = load_held_out(logdir, CONFIG, found.sensors[0])
    with h5py.File(path) as file:
        for name, demonstration in zip(found.split.held_out, read, strict=True):
            right = found.scaling.learned(file[f"data/{name}/actions"][()])
            np.testing.assert_allclose(demonstration.actions, right, rtol=1e-6)
            assert demonstration.values["camera"].shape[1:] == (16, 19, 3)
        gone = found.split.held_out[0]
    with h5py.File(path, "a") as file:
        del file[f"data/{gone}"]
    with pytest.raises(ValueError, match=f"demonstration '{gone}'.* is no longer there"):
        load_held_out(logdir, CONFIG, found.sensors[0])
    with pytest.raises(ValueError, match="the data have other demonstrations"):
        record.save_split(logdir, dataclasses.replace(found.split, held_out=()))


def test_depth_held_out_in_another_unit_is_refused(path, tmp_path):
    with h5py.File(path, "a") as file:
        for number in range(foreign.EPISODES):
            demo = file[f"data/demo_{number}"]
            demo["obs/near"] = np.linspace(0.5, 2, 64 * len(demo["actions"])).reshape(-1, 8, 8, 1)
    imitation = Imitation(str(path), settings=BCConfig())
    found = alone.load(imitation, CONFIG)
    logdir = tmp_path / "run"
    logdir.mkdir()
    record.save(logdir, imitation)
    record.save_split(logdir, found.split)
    scaling.save(logdir, found.scaling)
    assert len(load_held_out(logdir, CONFIG, found.sensors[0])) == 1
    (held,) = found.split.held_out
    with h5py.File(path, "a") as file:
        file[f"data/{held}/obs/near"][...] = 1000 * file[f"data/{held}/obs/near"][()]
    with pytest.raises(ValueError, match=f"to 2000 in '{held}', and the others .* in metres"):
        load_held_out(logdir, CONFIG, found.sensors[0])
    with pytest.raises(ValueError, match="in metres"):
        alone.load(imitation, CONFIG)


def test_several_instructions_are_a_sensor(path, monkeypatch):
    told = []

    def embed(sentences, encoder):
        told.extend(sentences)
        return np.array([[len(sentence), 1.0] for sentence in sentences], np.float32)

    monkeypatch.setattr(instruction, "embed", embed)
    with h5py.File(path, "a") as file:
        for number in range(foreign.EPISODES):
            file[f"data/demo_{number}"].attrs["instruction"] = "push"
    assert alone.with_instructions(str(path), Reading(), {"push"}) == Reading()
    with h5py.File(path, "a") as file:
        for number in range(0, foreign.EPISODES, 2):
            file[f"data/demo_{number}"].attrs["instruction"] = "pull it"
    state = Reading(obs=("state",))
    assert alone.with_instructions(str(path), state, {"push", "pull it"}) == state
    found = alone.load(Imitation(str(path)), CONFIG)
    sensor = found.sensors[0][-1]
    assert (sensor.name, sensor.kind, sensor.can_fail) == ("instruction", "embedding", False)
    assert set(told) == {"push", "pull it"}
    for name, demonstration in zip(found.split.trained, found.demonstrations, strict=True):
        length = 4 if int(name[5:]) % 2 else 7
        assert (demonstration.values["instruction"] == [length, 1]).all()
    assert record.load_instructions(path.parent) == {}
    record.save_instructions(path.parent, found.demonstrations)
    known = record.load_instructions(path.parent)
    assert {sentence: vector.tolist() for sentence, vector in known.items()} == {
        "push": [4, 1],
        "pull it": [7, 1],
    }
    (path.parent / "instructions.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"instructions.npz is damaged"):
        record.load_instructions(path.parent)


def test_damaged_splits_are_named(tmp_path):
    (tmp_path / record.SPLIT).write_text("trained: [demo_0]\n")
    with pytest.raises(ValueError, match=r"split.yaml is damaged.*'held_out' is missing"):
        record.load_split(tmp_path)


def test_a_run_says_that_there_is_no_simulator(tmp_path):
    config = dataclasses.replace(CONFIG, logdir=str(tmp_path))
    run.save(tmp_path, run.Run(config, (), 2))
    assert "task: none\n" in (tmp_path / "config.yaml").read_text()
    assert run.load(tmp_path).config.task == NO_SIMULATOR
