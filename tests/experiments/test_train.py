"""Training end to end: every task, method and preset; what goes wrong is said and not made worse.

Killing and resuming is in test_resume.py.
"""

import contextlib
import errno
import json
import os
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from envs import make, tasks
from envs.dummy import Dummy
from envs.processes.parallel import ParallelEnvironments
from experiments import evaluate, train
from mummi.agent import Agent, nest
from mummi.config import METHODS
from mummi.data.episode import layout
from mummi.presets import preset
from mummi.runs import devices
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import Logger, read_metrics
from mummi.training.start import lock
from mummi.training.trainer import Trainer
from tests.support import tiny

pytestmark = pytest.mark.usefixtures("quick_compile")

SMALL = (
    *("--image-size", "16", "--model.image-widths", "4", "--model.image-kernels", "4"),
    *("--model.image-strides", "4", "--model.vector-widths", "8", "--model.fused", "8"),
    *("--model.stoch", "4", "--model.deter", "8", "--model.hidden", "8"),
    *("--model.reward-units", "8", "--behavior.units", "8", "--behavior.horizon", "3"),
    *("--behavior.actor-layers", "2", "--behavior.value-layers", "2"),
    *("--behavior.starts", "4", "--mpc.horizon", "3", "--batch-size", "2", "--batch-length", "4"),
)


def message(capsys, *arguments: str) -> str:
    """What the command says when it ends with exit status 2."""
    with pytest.raises(SystemExit) as end:
        train.main(list(arguments))
    assert end.value.code == 2
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


TASKS = [name for name in tasks() if not name.startswith(("libero", "metaworld", "pusht"))]
# The dummy is what other tests train, and other bodies differ in their reward. Toys, Table Wiping,
# LIBERO, MetaWorld and Push-T have such tests of their own.
BODY = "walker_walk"
# Between them each fusion, with and without decoders.
FUSIONS = ("mssm_e", "dreamer")
# The other methods act as one of these and are trained by the same loop; their losses and gradients
# are tested with the world model.
MORE = [
    pytest.param(task, method, marks=pytest.mark.slow)
    for task, method in (
        *((task, "mummi") for task in ("dummy", "finger_spin", "cup_catch", "toy_x_y")),
        *(("dummy", method) for method in METHODS if method not in ("mummi", *FUSIONS)),
    )
]


@pytest.mark.parametrize(
    ("task", "method"),
    [(BODY, "mummi"), *(("dummy", method) for method in FUSIONS), *MORE],
)
def test_every_body_and_every_method_trains_and_evaluates(tmp_path, task, method):
    # Twenty steps an episode on every task.
    repeat = {"dummy": "2", "toy_x_y": "5"}.get(task, "50")
    steps = {"2": "200", "5": "300", "50": "1100"}[repeat]
    more = ("--action-repeat", repeat, "--method", method, "--missing", "medium")
    whole = tiny.run(tmp_path, *more, "--steps", steps, task=task)
    rows = [row for row in read_metrics(tmp_path) if "updates" in row]
    made = [(row["step"], row["updates"]) for row in rows]
    assert made[-1] == (whole.steps, tiny.target_updates(whole))
    assert all(np.isfinite(value) for row in rows for value in row.values())
    arguments = evaluate.Arguments(str(tmp_path), missing=("high",), episodes=1)
    result = evaluate.evaluate(arguments)["high"]
    assert result.lengths == [20] and np.isfinite(result.mean)


# The other walkers have the sensors of the one that walks.
@pytest.mark.parametrize("task", sorted({*TASKS} - {"walker_stand", "walker_run"}))
def test_every_method_has_a_loss_and_an_action_for_the_sensors_of_every_task(task):
    """What depends on the pair of both: encoders, decoders, fusion and contrast of these sensors.

    Their shapes alone, since the update and the loop around it know nothing of the sensors.
    """
    with contextlib.closing(make(task, image_size=16)) as environment:
        sensors = environment.modalities, environment.action_size

    def steps(*lead):
        form = layout(*sensors).items()
        return nest({key: np.zeros((*lead, *shape), dtype) for key, (shape, dtype) in form})

    key, robots = jax.random.PRNGKey(0), steps(2)
    for method in METHODS:
        agent = Agent(replace(preset("debug", task), method=method), *sensors)
        state, carry = jax.eval_shape(agent.init, 0), agent.start(2)
        loss, _ = jax.eval_shape(agent.model.loss, state.model, steps(2, 4), key)
        seen = robots["values"], robots["available"], robots["is_first"]
        action, _ = jax.eval_shape(partial(agent.act, explore=True), state, carry, *seen, key)
        assert (loss.shape, action.shape) == ((), (2, sensors[1]))


# Debug, which is laptop at other sizes, is that of all other tests, and the losses of every preset
# are tested with the world model.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "laptop", "modern", "published"])
def test_the_options_of_every_preset_train(tmp_path, name):
    small = (*SMALL, "--model.expert-units", "8") if name != "laptop" else SMALL
    # The published preset weighs touch by its name, which the dummy task lacks.
    task, prefill = ("finger_spin", 1000) if name == "published" else ("dummy", 40)
    more = ("--preset", name, "--prefill", str(prefill), "--steps", str(prefill + 100), *small)
    settings = tiny.run(tmp_path, *more, task=task)
    assert tiny.target_updates(settings) == 2
    losses = [row for row in read_metrics(tmp_path) if "loss/reward" in row]
    assert losses and all(np.isfinite(value) for row in losses for value in row.values())
    assert Checkpointer(tmp_path / "checkpoints").latest_step() == settings.steps


def test_the_sensors_fail_in_training_at_the_rate_that_missing_says(tmp_path):
    more = ("--steps", "5000", "--prefill", "5000", "--missing", "high")
    # Evaluations of no episodes are none.
    tiny.run(tmp_path, *more, "--evaluate-every", "1000", "--evaluate-episodes", "0")
    available = []
    for path in (tmp_path / "replay").glob("*.npz"):
        with np.load(path) as episode:
            available += [episode[key].mean() for key in episode if key.startswith("available/")]
            hidden = ~episode["available/image"]
            assert not episode["values/image"][hidden].any()
    assert 1 - np.mean(available) == pytest.approx(0.75, abs=0.03)
    logged = [r["episode/missing"] for r in read_metrics(tmp_path) if "episode/missing" in r]
    assert np.mean(logged) == pytest.approx(1 - np.mean(available), abs=1e-6)
    assert not any("evaluation/return" in row for row in read_metrics(tmp_path))


@pytest.mark.parametrize("envs", ["1", "2"])
def test_demonstrations_are_whole_episodes_and_kept_apart(tmp_path, envs):
    # With one robot the prefill ends amid the third episode of 40 environment steps, and with two
    # amid the second of both.
    flags = ("--prefill-from", "demonstrations", "--prefill", "100", "--envs", envs)
    flags += ("--behavior.cloning", "1", "--pretrain", "3")
    settings = tiny.run(tmp_path, *flags, "--steps", "400")
    experts = {}
    for folder in ("demonstrations", "replay"):
        experts[folder] = []
        for path in (tmp_path / folder).glob("*.npz"):
            with np.load(path) as episode:
                # The dummy task's expert is at its upper limit, but for the exploration noise of
                # standard deviation 0.1.
                experts[folder].append(bool((episode["action"][1:] > 0.4).all()))
    count = {"1": 3, "2": 4}[envs]
    assert experts["demonstrations"] == [True] * count
    assert experts["replay"] == [False] * (10 - count)
    rows = read_metrics(tmp_path)
    assert [r["updates"] for r in rows if "updates" in r][-1] == tiny.target_updates(settings)
    losses = [r["loss/cloning"] for r in rows if "loss/cloning" in r]
    assert losses and np.isfinite(losses).all()


def test_a_share_of_every_batch_is_demonstrated(tmp_path):
    # Settings of the two tests beside this one, whose compiled functions serve here, too.
    flags = ("--prefill-from", "demonstrations", "--prefill", "80", "--behavior.cloning", "1")
    settings = tiny.config(tmp_path, *flags, "--demonstration-share", "0.25")
    train.train(settings)
    dummy = ParallelEnvironments("dummy", [0], image_size=settings.image_size)
    with dummy as environments, Logger(tmp_path) as logger:
        trainer = Trainer(settings, environments, logger, devices.data_mesh(1, 4))
        batch = trainer._batches.draw()
    assert np.array_equal(batch["demonstrated"], np.arange(4) < 1)
    follows = ~np.asarray(batch["is_first"])
    expert = [(row[valid] > 0.4).all() for row, valid in zip(batch["action"], follows, strict=True)]
    assert np.array_equal(expert, batch["demonstrated"])


def test_a_killed_run_with_demonstrations_goes_on_with_them(tmp_path):
    flags = ("--prefill-from", "demonstrations", "--prefill", "80", "--behavior.cloning", "1")
    tiny.run(tmp_path, *flags, "--steps", "200")
    before = sorted(path.name for path in (tmp_path / "demonstrations").iterdir())
    settings = tiny.run(tmp_path, *flags, "--steps", "400")
    assert sorted(path.name for path in (tmp_path / "demonstrations").iterdir()) == before
    made = [(r["step"], r["updates"]) for r in read_metrics(tmp_path) if "updates" in r]
    assert made[-1] == (400, tiny.target_updates(settings))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--demonstration-share 1.5", "demonstration_share is 1.5, not in [0, 1]"),
        ("--updates-per-call -1", "updates_per_call is -1; it must be 0 or more"),
        (
            "--replay-device on --coordinator a:1",
            "replay_device is 'on', but each process of this run has a replay of its own",
        ),
        ("--pretrain -1", "pretrain is -1; it must be 0 or more"),
        ("--behavior.cloning 1", "nothing to clone: add --prefill-from demonstrations"),
        (
            "--behavior.cloning 1 --prefill-from demonstrations --demonstration-share 0.1",
            "nothing to clone: a demonstration_share of 0.1 is none of a batch of 4",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, capsys, flags, said):
    assert said in message(capsys, *tiny.flags(tmp_path, *flags.split()))
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize(
    ("flag", "value", "meant"),
    [
        ("--task", "walker_wlak", "walker_walk"),
        ("--task", "dmc_walker_sand", "walker_stand"),
        ("--method", "mumi", "mummi"),
        ("--preset", "laptob", "laptop"),
        ("--imagesize", "32", "--image-size"),
        ("--model.fussed", "32", "--model.fused"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(
    tmp_path, monkeypatch, capsys, flag, value, meant
):
    monkeypatch.chdir(tmp_path)
    assert meant in message(capsys, flag, value).split("you mean", 1)[1]
    assert not list(tmp_path.iterdir())


def test_a_background_that_is_not_there_is_an_error_at_start_up(tmp_path, capsys):
    bad = str(tmp_path / "no-clips")
    arguments = tiny.flags(tmp_path / "run", "--background", bad, task="walker_walk")
    assert bad in message(capsys, *arguments)


def test_a_misspelt_dropout_script_is_an_error_at_start_up(tmp_path, capsys):
    said = message(capsys, *tiny.flags(tmp_path / "run", "--missing", "hihg"))
    assert "did you mean 'high'" in said


def test_demonstrations_of_a_task_without_an_expert_are_refused_before_anything_is_written(
    tmp_path, capsys
):
    flags = tiny.flags(tmp_path, "--prefill-from", "demonstrations", task="toy_x_y")
    assert "task 'toy_x_y' has no scripted expert" in message(capsys, *flags)
    assert not (tmp_path / "config.yaml").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("x")
    assert "thesis.tex" in message(capsys, *tiny.flags(tmp_path))
    assert os.listdir(tmp_path) == ["thesis.tex"]
    assert "is a file" in message(capsys, *tiny.flags(tmp_path / "thesis.tex"))


def test_two_processes_never_train_in_one_folder(tmp_path, capsys):
    with lock(tmp_path):
        assert "another process trains in" in message(capsys, *tiny.flags(tmp_path))
    assert not (tmp_path / "config.yaml").exists()


def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(tmp_path, capsys, monkeypatch):
    step = Dummy.step
    # A number whose square is none in single precision.
    monkeypatch.setattr(Dummy, "step", lambda *given: replace(step(*given), reward=1e30))
    said = message(capsys, *tiny.flags(tmp_path))
    assert "is not finite at step" in said and "--model.learning-rate" in said
    assert Checkpointer(tmp_path / "checkpoints").latest_step() is None
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        assert None not in json.loads(line).values()


def test_a_full_disk_is_said_and_what_was_recorded_stays(tmp_path, capsys, monkeypatch):
    rename, count = os.replace, 0

    def full(source, target):
        nonlocal count
        count += str(target).endswith(".npz")
        if count > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "replace", full)
    said = message(capsys, *tiny.flags(tmp_path, "--prefill", "400"))
    assert "disk full" in said
    assert len(list((tmp_path / "replay").iterdir())) == 3
