"""Heads with encoders of their own from end to end: no world model is trained, none is read."""

import json

import jax
import numpy as np
import pytest
from rich.console import Console

import mummi
from experiments import imitate
from experiments.evaluation.trained import Trained
from mummi.imitation import record
from mummi.imitation.chunks import head as chunk_head
from mummi.imitation.chunks.baselines import BASELINES
from mummi.imitation.pilot import load_pilot
from mummi.runs.record import load as load_run
from tests.support import imitated

pytestmark = pytest.mark.usefixtures("quick_compile")

ROWS = ("none", "without image", "without depth", "without vector", "without embedding")
FLAGS = (
    *("--preset", "debug", "--image-size", str(imitated.SIZE), "--held-out", "0.2"),
    *("--evaluate-missing", "none"),
)
SIMULATED = (
    *("--task", "dummy", "--background", "none", "--action-repeat", "1"),
    *("--evaluate-episodes", "1"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return imitated.write(tmp_path_factory.mktemp("data") / "demonstrations.hdf5")


def killed(*_):
    raise SystemError("killed")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "task"),
    # Others are settings of the same head.
    [("disdp", ()), *(pytest.param(n, SIMULATED, marks=pytest.mark.slow) for n in BASELINES)],
)
def test_a_baseline_learns_goes_on_and_acts_without_a_world_model(
    name, task, data, tmp_path, monkeypatch
):
    logdir = tmp_path / name
    arguments = ["--data", str(data), "--head", name, "--logdir", str(logdir), *FLAGS, *task]
    with monkeypatch.context() as patch, pytest.raises(SystemError):
        patch.setattr(chunk_head, "train", killed)
        imitate.imitate(*imitate.parse(arguments))
    assert not (logdir / "head.npz").exists()
    imitate.imitate(*imitate.parse(arguments))

    assert not (logdir / "checkpoints").exists() and not (logdir / "latents").exists()
    run, settings = load_run(logdir), record.load(logdir).settings
    assert run.config.missing == "none" and settings.updates == 3
    learned = json.loads((logdir / record.LEARNED).read_text())
    assert set(learned) == {"head"} and learned["head"]["windows"] == 24
    assert learned["head"]["steps"] == 5 * imitated.STEPS
    assert ({"align", "orthogonality"} <= set(learned["head"])) == name.startswith("dis")
    files = {path.stem: path for path in (logdir / "eval").glob("*.json")}
    assert set(files) == ({row.replace(" ", "-") for row in ROWS} if task else set())
    contents = [json.loads(path.read_text()) for path in files.values()]
    assert all(np.isfinite(c["mean"]) and c["step"] == settings.updates for c in contents)
    errors = json.loads((logdir / record.HELD_OUT).read_text())["rows"]
    assert set(errors) == set(ROWS)
    assert all(np.isfinite(row["normalised"]) for row in errors.values())
    assert errors["none"] != errors["without vector"]

    # What is loaded acts as what was evaluated, in any environment's hands.
    pilot, step = load_pilot(logdir)
    values = {n: v[:1] for n, v in imitated.demonstration(0).values.items()}
    available = {n: np.ones(1, bool) for n in values}
    inputs = (values, available, np.array([True]), jax.random.PRNGKey(0))
    action, _ = pilot.act(None, pilot.start(1), *inputs)
    policy = mummi.load_policy(logdir)
    assert np.array_equal(policy({n: v[0] for n, v in values.items()}), action[0])
    assert policy.step == step == settings.updates
    assert not Trained.load(logdir, run).can_trust(Console(quiet=True))

    before = {path: path.stat().st_mtime_ns for path in (*files.values(), logdir / "head.npz")}
    imitate.imitate(*imitate.parse(arguments))
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        (("--head", "disdp"), "none"),
        (("--head", "disdp", "--missing", "high"), "high"),
        (("--head", "mirror", "--head.context", "sensors"), "none"),
        (("--head", "mirror"), "medium"),
        (("--head", "beso_act", "--head.context", "latent"), "medium"),
    ],
)
def test_encoders_learn_from_what_was_recorded_unless_more_is_to_be_missing(flags, missing):
    config, imitation, _ = imitate.parse(["--data", "file", "--task", "dummy", *flags])
    assert config.missing == missing
    assert imitation.reads_latents == (imitation.settings.context == "latent")


@pytest.mark.parametrize(
    "flag", ["--updates=3", "--model.deter=9", "--method=cvrl", "--batch_size=3", "--average=0"]
)
def test_flags_of_a_world_model_are_refused_where_none_is_read(flag):
    said = rf"{flag.split('=')[0]} is of a world model, and head disbc with the context disent"
    with pytest.raises(ValueError, match=said):
        imitate.parse(["--data", "file", "--head", "disbc", flag])


@pytest.mark.parametrize("flag", ["--head.drop=0.5", "--head.image-width=8"])
def test_settings_of_encoders_are_refused_where_latents_are_read(flag):
    with pytest.raises(ValueError, match="is read where context is sensors or disentangled"):
        imitate.parse(["--data", "file", "--head", "flow", flag])
