"""Learning from data without a simulator, from end to end: run, evaluation, policy, refusals."""

import json
import re

import h5py
import numpy as np
import pytest

import mummi
from experiments import evaluate, imitate
from experiments.serving.conversation import metadata
from mummi.imitation import record
from mummi.imitation.heads.bc import BehaviourCloning
from mummi.runs.record import load as load_run
from tests.support import foreign

pytestmark = pytest.mark.usefixtures("quick_compile")

ROWS = {"none", "without camera", "without state"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return foreign.write(tmp_path_factory.mktemp("data") / "foreign.hdf5")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A run of head bc, two of whose six demonstrations are held out."""
    logdir = tmp_path_factory.mktemp("runs") / "bc"
    return foreign.run(logdir, data, "bc", "--held-out", "0.3")


def found(logdir):
    return json.loads((logdir / "held_out.json").read_text())


def test_a_run_tells_errors_on_what_it_has_not_learned_from(trained, data):
    content, split = found(trained), record.load_split(trained)
    assert load_run(trained).config.task == "none" and content["task"] == "none"
    assert set(content["rows"]) == ROWS and set(content["controls"]) == {
        "mean action",
        "last action",
    }
    assert len(split.held_out) == 2 and content["held_out"] == list(split.held_out)
    assert content["rate"] == split.rate == 25
    row = content["rows"]["without camera"]
    assert row["missing"] == pytest.approx(0.5) and row["dropped"] == ["camera"]
    errors = []
    with h5py.File(data) as file:
        for name in split.held_out:
            wanted = file[f"data/{name}/actions"][()]
            errors.append(np.abs(wanted - np.array(split.mean)).mean(0))
    mean = content["controls"]["mean action"]
    np.testing.assert_allclose(mean["by_dimension"], np.mean(errors, 0), rtol=1e-5)


def test_the_error_is_that_of_the_policy_driven_along_the_demonstrations(trained, data):
    """Step by step, by the policy that a user drives; only what was done before is the record's."""
    split, scale = record.load_split(trained), None
    policy = mummi.load_policy(trained)
    errors = []
    with h5py.File(data) as file:
        for name in split.held_out:
            demo = file[f"data/{name}"]
            policy.reset()
            scale = policy._agent.scaling
            rows = []
            for step, wanted in enumerate(demo["actions"][()]):
                values = {
                    "camera": demo["obs/camera"][step],
                    "state": demo["obs/state"][step].astype(np.float32),
                }
                rows.append(np.abs(policy(values) - wanted))
                held = policy._carry.held._replace(actions=scale.learned(wanted)[None])
                policy._carry = policy._carry._replace(held=held)
            errors.append(np.mean(rows, 0))
    row = found(trained)["rows"]["none"]
    np.testing.assert_allclose(row["by_dimension"], np.mean(errors, 0), rtol=1e-2)


def test_the_policy_takes_and_gives_what_the_data_have(trained):
    policy = mummi.load_policy(trained)
    shapes = {m.name: m.shape for m in policy.modalities}
    assert shapes == {"camera": (20, 24, 3), "state": (4,)}
    assert {m.name: m.shape for m in load_run(trained).modalities}["camera"] == (16, 19, 3)
    assert policy.rate == 25 and policy.limits[1, 0] > 7
    values = {"camera": np.zeros((20, 24, 3), np.uint8), "state": np.array([80, 0, 1, 0.0], "f4")}
    for step in range(3):
        action = policy(values if step else {"state": values["state"]})
        assert (policy.limits[0] <= action).all() and (action <= policy.limits[1]).all()
    assert np.abs(action).max() > 1
    told = metadata(policy, load_run(trained), trust=False, rate=policy.rate)
    assert told["sensors"]["camera"]["shape"] == (20, 24, 3)
    assert told["actions"]["high"] == policy.limits[1].tolist() and told["rate"] == 25


def test_the_same_command_repeats_nothing_and_adds_rows(trained, data, monkeypatch):
    def fit(*_):
        raise AssertionError("the head is trained again")

    monkeypatch.setattr(BehaviourCloning, "fit", fit)
    before = found(trained)
    written = (trained / "held_out.json").stat().st_mtime_ns
    foreign.run(trained, data, "bc", "--held-out", "0.3")
    assert (trained / "held_out.json").stat().st_mtime_ns == written
    evaluate.main(["--logdir", str(trained), "--missing", "high", "--drop", "camera+state"])
    after = found(trained)
    assert set(after["rows"]) == ROWS | {"high", "without camera, state"}
    assert {name: after["rows"][name] for name in ROWS} == before["rows"]
    assert after["rows"]["without camera, state"]["missing"] == 1
    assert 0.5 < after["rows"]["high"]["missing"] < 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--video",), "--video needs a simulator, and .* has learned from data without one"),
        (("--episodes", "3"), "--episodes needs a simulator"),
        (("--trust", "on"), "--trust needs a simulator.*held-out demonstrations, with --missing"),
        (("--drop", "camra"), "unknown modality 'camra' in --drop.*did you mean 'camera'"),
        (("--seed", "7"), "held_out.json is of another seed, .*--out"),
    ],
)
def test_an_evaluation_says_what_it_can_do(trained, capsys, more, said):
    with pytest.raises(SystemExit):
        evaluate.main(["--logdir", str(trained), *more])
    assert re.search(said, " ".join(capsys.readouterr().err.split()))


def test_chunks_are_told_by_how_far_ahead_they_were_chosen(trained, data, tmp_path):
    logdir = foreign.run(tmp_path / "mse", data, "mse", "--world-model", str(trained))
    content = found(logdir)
    assert content["held_out"] == found(trained)["held_out"]
    steps = sum(foreign.STEPS + int(name[5:]) % 3 for name in content["held_out"])
    horizons = content["rows"]["none"]["by_horizon"]
    assert [h["horizon"] for h in horizons] == [1, 2]
    assert sum(h["steps"] for h in horizons) == steps
    assert len(horizons[1]["by_dimension"]) == 2
    assert mummi.load_policy(logdir).modalities == mummi.load_policy(trained).modalities


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--held-out", "0.5"), "holds a run with held_out = 0.3, and this command asks for 0.5"),
        (("--expert",), "--expert needs a simulator: give its --task"),
        (("--evaluate-episodes", "3"), "--evaluate-episodes needs a simulator"),
        (("--env.sensors", "rgb"), "--env needs a simulator"),
        (("--held-out", "0", "--logdir", "{new}"), "no demonstration is held out, and without"),
        (("--task", "none"), "unknown task 'none'"),
        (("--obs", "cam", "--logdir", "{new}"), "unknown modality 'cam'; the observations are"),
        (("--held-out", "valid", "--logdir", "{new}"), "no filter key 'valid'"),
        (("--data", "nowhere.hdf5", "--logdir", "{new}"), "there is no file 'nowhere.hdf5'"),
        (("--image-size", "2", "--logdir", "{new}"), "smaller than the kernel"),
    ],
)
def test_what_makes_no_sense_is_said(trained, data, tmp_path, capsys, more, said):
    more = ["--held-out", "0.3", *(word.format(new=tmp_path / "new") for word in more)]
    with pytest.raises(SystemExit):
        imitate.main(foreign.flags(trained, data, "bc", *more))
    assert re.search(said, " ".join(capsys.readouterr().err.split()))


def test_the_folder_is_named_after_the_data(data):
    config, imitation, _ = imitate.parse(["--data", str(data), "--preset", "laptop"])
    assert config.logdir == "runs/foreign/bc-laptop-0" and imitation.held_out is None
    assert (config.image_size, config.action_repeat, config.model.image_kernels[0]) == (64, 1, 8)
