"""Training from Python, in environments that this package did not make."""

import dataclasses
import pathlib
import warnings

import numpy as np
import pytest

import mummi
from mummi.agent import Agent, Parameters
from mummi.data.replay import Replay
from mummi.presets import preset
from mummi.runs import record
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import read_metrics
from mummi.training.trainer import target_updates
from tests.support.pretend import ACTION_SIZE, SENSORS, Pretended, values

pytestmark = pytest.mark.usefixtures("quick_compile")

SCRIPT = {"name": "own", "rules": []}


def settings(logdir, **changes):
    """A run of a pretended robot; two environments take four environment steps at a time."""
    config = preset("debug", "robot")
    return dataclasses.replace(
        config,
        **{
            "task": "robot",
            "logdir": str(logdir),
            "envs": 2,
            "steps": 100,
            "prefill": 24,
            "updates_per_1000": 40.0,
            "batch_length": 4,
            "log_every": 20,
            "evaluate_every": 30,
        }
        | changes,
    )


class Scores:
    """An evaluation that notes whom it was asked about."""

    def __init__(self):
        self.asked = []

    def __call__(self, agent, parameters):
        self.asked.append((agent, parameters))
        film = np.zeros((2, 8, 8, 3), np.uint8)
        return {"evaluation/return": float(len(self.asked)), "evaluation": film}


def test_the_target_of_updates_follows_from_the_steps_after_the_prefill():
    config = settings("run", pretrain=7)
    made = [target_updates(config, step) for step in (0, 24, 48, 49, 50, 1024)]
    assert made == [7, 7, 7, 8, 8, 47]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, what it was evaluated by, and the environments it was trained in."""
    logdir, scores, environments = tmp_path_factory.mktemp("robot") / "run", Scores(), Pretended()
    config = settings(logdir)
    assert mummi.train(config, environments, scores, SCRIPT) == logdir
    return config, scores, environments


def test_a_robot_from_python_is_trained_and_leaves_a_run(trained):
    config, _, environments = trained
    run = record.load(config.logdir)
    assert (run.modalities, run.action_size, run.script) == (SENSORS, ACTION_SIZE, SCRIPT)
    rows = read_metrics(config.logdir)
    ends = [row for row in rows if "updates" in row]
    assert (ends[-1]["step"], ends[-1]["updates"]) == (100, target_updates(config, 100))
    assert all(row["episodes_dropped"] == row["environment_restarts"] == 0 for row in ends)
    assert all(row["episode/last/success"] == 1 for row in rows if "episode/return" in row)
    assert not any("episode/last/task" in row for row in rows)
    replay = Replay(f"{config.logdir}/replay", SENSORS, ACTION_SIZE, 1000, 0)
    assert replay.episodes == 2 * (len(environments.actions[1:]) // 6)


def test_its_policy_acts_alone(trained):
    policy = mummi.load_policy(trained[0].logdir)
    action = policy(values())
    assert action.shape == (ACTION_SIZE,) and (np.abs(action) <= 1).all()


def test_it_is_evaluated_at_every_multiple_of_the_steps_asked_for(trained):
    config, scores, _ = trained
    rows = [r for r in read_metrics(config.logdir) if "evaluation/return" in r]
    assert [row["evaluation/return"] for row in rows] == [1, 2, 3]
    # Four steps at a time, but for those that begin an episode, which take none.
    assert all(30 * n <= row["step"] < 30 * n + 4 for n, row in enumerate(rows, 1))
    agent, parameters = scores.asked[0]
    assert isinstance(agent, Agent) and isinstance(parameters, Parameters)
    films = sorted(path.name for path in pathlib.Path(config.logdir, "videos").iterdir())
    assert films == [f"evaluation-{row['step']:010d}.mp4" for row in rows]


def test_the_same_call_goes_on_and_without_an_evaluation_none_is_made(trained):
    config = dataclasses.replace(trained[0], steps=140)
    mummi.train(config, Pretended(), None, SCRIPT)
    rows = read_metrics(config.logdir)
    ends = [row for row in rows if "updates" in row]
    assert (ends[-1]["step"], ends[-1]["updates"]) == (140, target_updates(config, 140))
    assert max(row["step"] for row in rows if "evaluation/return" in row) < 100
    assert Checkpointer(f"{config.logdir}/checkpoints").latest_step() == 140


@pytest.mark.parametrize("what", ["reward", "depth"])
def test_what_is_not_finite_costs_its_episode_and_the_run_goes_on(tmp_path, what):
    def spoil(batch, number):
        if number % 12 == 3:  # a step of every other episode of the second environment
            array = batch.reward if what == "reward" else batch.values[what]
            array[1] = np.nan

    with pytest.warns(RuntimeWarning, match="an episode of environment 1 is dropped: step 2 of"):
        environments = Pretended(spoil=spoil)
        config = settings(tmp_path, evaluate_every=0)
        mummi.train(config, environments)
    assert all(np.isfinite(actions).all() for actions in environments.actions)
    ends = [row for row in read_metrics(tmp_path) if "updates" in row]
    assert (ends[-1]["updates"], ends[-1]["episodes_dropped"]) == (target_updates(config, 100), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing that it would skip was written
        replay = Replay(tmp_path / "replay", SENSORS, ACTION_SIZE, 1000, 0)
    assert replay.episodes == 2 * (len(environments.actions[1:]) // 6) - 3


def test_what_the_environments_say_is_not_a_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = settings("", task="my_robots:Reacher", envs=7, action_repeat=5, steps=20)
    logdir = mummi.train(config, Pretended(3), None, SCRIPT)
    assert str(logdir) == "runs/my_robots-Reacher/mummi-debug-0"
    found = record.load(logdir).config
    assert (found.envs, found.action_repeat, found.logdir) == (3, 2, str(logdir))


def test_demonstrations_without_an_expert_are_refused_before_anything_is_written(tmp_path):
    config = settings(tmp_path / "run", prefill_from="demonstrations")
    with pytest.raises(ValueError, match="no expert is pretended"):
        mummi.train(config, Pretended())
    assert not (tmp_path / "run").exists()


def test_a_run_of_imitation_is_left_alone(tmp_path):
    (tmp_path / "imitation.yaml").write_text("head: bc")
    with pytest.raises(ValueError, match=r"holds a run of experiments.imitate; give a new folder"):
        mummi.train(settings(tmp_path), Pretended())
