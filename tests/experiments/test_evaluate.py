"""Evaluation of a trained run: rows, files, videos, seeds, and the policy in a loop by hand."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import av
import jax
import numpy as np
import pytest
import scipy.stats

from envs.processes.parallel import ParallelEnvironments
from experiments import evaluate
from experiments.evaluation.actors import AgentActor
from experiments.evaluation.conditions import conditions
from experiments.evaluation.rollout import evaluation_seeds, rollout
from experiments.evaluation.video import PANEL, panels
from mummi.agent import Agent
from mummi.modality import Modality
from mummi.policy import Policy
from mummi.presets import preset
from mummi.runs import devices
from mummi.runs import record as run
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import FRAMES_PER_SECOND
from tests.support import tiny

pytestmark = pytest.mark.usefixtures("quick_compile")

SCRIPT = """
name: no eyes/first half
rules: [{rule: flicker, modality: [image, depth], probability: 1.0, stop: 10}]
"""
MODALITIES = ("image", "depth", "vector", "embedding")


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    """A trained run of the dummy task."""
    logdir = tmp_path_factory.mktemp("runs") / "trained"
    tiny.run(logdir)
    return logdir


@pytest.fixture(scope="module")
def results(logdir, tmp_path_factory):
    """An evaluation with every kind of row, by the command."""
    script = tmp_path_factory.mktemp("scripts") / "half.yaml"
    script.write_text(SCRIPT)
    arguments = evaluate.Arguments(
        str(logdir),
        missing=("none", "medium", str(script)),
        drop=("image", "image+depth"),
        episodes=3,
        video=True,
        drop_missing=("none", "high"),
        random=True,
        expert=True,
    )
    return evaluate.evaluate(arguments)


def content(logdir, name: str) -> dict:
    return json.loads((logdir / "eval" / f"{name}.json").read_text())


def frames(path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)])


def test_every_row_has_its_file(logdir, results):
    assert list(results) == [
        *("random policy", "scripted expert", "none", "medium", "no eyes/first half"),
        *("without image", "without image; high"),
        *("without image, depth", "without image, depth; high"),
    ]
    assert {path.name for path in (logdir / "eval").iterdir()} == {
        *("random-policy.json", "none.json", "medium.json", "no-eyes-first-half.json"),
        *("without-image.json", "without-image-depth.json", "scripted-expert.json"),
        *("without-image-high.json", "without-image-depth-high.json"),
    }
    for name, result in zip(("none", "medium"), list(results.values())[2:4], strict=True):
        row = content(logdir, name)
        assert (row["task"], row["method"], row["seed"], row["step"]) == ("dummy", "mummi", 0, 400)
        assert row["script"]["name"] == name and row["background"] == "natural"
        assert row["returns"] == result.returns and row["episodes"] == len(row["returns"]) == 3
        assert row["mean"] == pytest.approx(np.mean(row["returns"]))
        assert row["std"] == pytest.approx(np.std(row["returns"]))
        interval = scipy.stats.ttest_1samp(row["returns"], 0).confidence_interval(0.95)
        assert row["interval95"] == pytest.approx(list(interval))
        assert row["lengths"] == [20, 20, 20] and row["successes"] == [1.0, 1.0, 1.0]
        assert row["numbers"] == [0, 1, 2]
        assert row["last"] == {"success": 1.0}
    assert content(logdir, "random-policy")["method"] == "random"
    assert content(logdir, "without-image-depth")["dropped"] == ["image", "depth"]
    assert content(logdir, "without-image-high")["script"]["name"] == "high"
    expert = content(logdir, "scripted-expert")
    # The dummy task's best return: 20 steps, action repeat 2.
    assert expert["method"] == "expert" and expert["returns"] == [40, 40, 40]


def test_each_row_is_compared_to_that_with_nothing_missing_episode_by_episode(logdir, results):
    assert "difference" not in content(logdir, "none")
    for name in ("medium", "without-image-depth", "random-policy"):
        row = content(logdir, name)
        test = scipy.stats.ttest_rel(row["returns"], results["none"].returns)
        difference = row["difference"]
        assert (difference["to"], difference["episodes"]) == ("none", 3)
        assert difference["mean"] == pytest.approx(row["mean"] - results["none"].mean)
        assert difference["interval95"] == pytest.approx(list(test.confidence_interval(0.95)))


def test_libero_is_evaluated_without_each_camera_and_without_both_by_default():
    cameras = [Modality(name, "image", (8, 8, 3)) for name in ("agentview_rgb", "wrist_rgb")]
    told = Modality("instruction", "embedding", (4,), can_fail=False)
    record = run.Run(preset("laptop", "libero_spatial"), (*cameras, told), 7)
    rows = conditions(record)
    names = [f"without {n}" for n in ("agentview_rgb", "wrist_rgb", "agentview_rgb, wrist_rgb")]
    assert [row.name for row in rows] == ["none", *names]
    assert [row.name for row in conditions(record, ("medium",), ())] == ["medium"]
    one = record._replace(modalities=(cameras[1], told))
    assert [row.name for row in conditions(one)] == ["none", "without wrist_rgb"]


def test_an_expert_that_the_task_lacks_is_said(tmp_path, capsys):
    tiny.run(tmp_path, "--action-repeat", "5", "--steps", "40", task="toy_x_y")
    with pytest.raises(SystemExit):
        evaluate.main(["--logdir", str(tmp_path), "--missing", "--expert", "--episodes", "1"])
    assert "task 'toy_x_y' has no scripted expert" in capsys.readouterr().err


def test_the_missing_share_is_what_each_row_takes_away(results):
    share = {name: np.mean(result.missing) for name, result in results.items()}
    assert share["none"] == share["random policy"] == 0
    assert share["without image"] == pytest.approx(1 / 4)
    assert share["without image, depth"] == pytest.approx(2 / 4)
    # Two of four sensors in 10 of the 21 time steps.
    assert share["no eyes/first half"] == pytest.approx(10 / 21 / 2)
    assert 0.1 < share["medium"] < 0.7


def test_the_same_evaluation_twice_gives_the_same_numbers(logdir, results, tmp_path):
    medium = evaluate.Arguments(str(logdir), missing=("medium",), episodes=3)
    again = evaluate.evaluate(medium)
    assert again["medium"] == results["medium"]
    other = dataclasses.replace(medium, seed=1, out=str(tmp_path))
    assert evaluate.evaluate(other)["medium"] != results["medium"]
    assert content(tmp_path, "medium")["evaluation_seed"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "has evaluation_seed 0, not 1;"),
        ({"background": "none", "episodes": 1}, "has background 'natural', not 'none';"),
    ],
)
def test_no_evaluation_replaces_another(logdir, results, change, said):
    before = content(logdir, "none")
    arguments = evaluate.Arguments(str(logdir), missing=("high", "none"), **change)
    with pytest.raises(ValueError, match=rf"eval/none\.json is of this checkpoint and {said}"):
        evaluate.evaluate(arguments)
    assert content(logdir, "none") == before and not (logdir / "eval" / "high.json").exists()


def test_parts_of_an_evaluation_make_the_whole(logdir, results, tmp_path):
    for episodes in ("2:3", "0:2"):
        evaluate.evaluate(
            evaluate.Arguments(
                str(logdir),
                missing=("none", "medium"),
                episodes=episodes,
                envs=1,
                random=True,
                out=str(tmp_path),
            )
        )
    for name in ("none", "medium", "random-policy"):
        assert content(tmp_path, name) == content(logdir, name)


def test_what_is_to_be_kept_is_not_played_again(logdir, results, monkeypatch):
    arguments = evaluate.Arguments(str(logdir), missing=("none",), episodes=2, keep=True)
    assert evaluate.evaluate(arguments) == {}
    assert content(logdir, "none")["episodes"] == 3
    played = []

    def play(trained, stage, row, numbers, *_, **__):
        played.append(list(numbers))
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "play", play)
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate(dataclasses.replace(arguments, episodes="1:5"))
    assert played == [[3, 4]]


def test_the_results_of_another_checkpoint_are_kept_beside_those_of_the_newest(
    logdir, results, tmp_path
):
    shutil.copytree(logdir / "eval", tmp_path / "eval")
    path = tmp_path / "eval" / "medium.json"
    path.write_text(json.dumps(content(logdir, "medium") | {"step": 200, "evaluation_seed": 7}))
    arguments = evaluate.Arguments(
        str(logdir), missing=("medium",), episodes=1, agreement=False, out=str(tmp_path)
    )
    evaluate.evaluate(arguments)
    assert content(tmp_path, "medium")["numbers"] == [0]
    old = json.loads((tmp_path / "eval" / "step-200" / "medium.json").read_text())
    assert old["step"] == 200 and old["returns"] == content(logdir, "medium")["returns"]
    path.write_text(json.dumps(old))
    with pytest.raises(ValueError, match=r"is of step 200, not 400, and .*step-200.* is there"):
        evaluate.evaluate(arguments)


def test_the_agent_is_told_of_a_removed_sensor():
    told = []

    def act(batch, numbers):
        told.append({name: there.copy() for name, there in batch.available.items()})
        return np.zeros((len(batch.reward), 2), np.float32)

    with ParallelEnvironments("dummy", [0, 1, 2], processes=False) as environments:
        result = rollout(act, environments, range(4), hidden=("depth",))
        assert result.numbers == [0, 1, 2, 3]
        with pytest.raises(ValueError, match=r"unknown modality 'rgb'.*image, depth"):
            rollout(act, environments, [0], hidden=("rgb",))
        environments.modalities = tuple(
            dataclasses.replace(m, can_fail=m.name != "depth") for m in environments.modalities
        )
        with pytest.raises(ValueError, match="'depth' in --drop cannot fail; those that can: im"):
            rollout(act, environments, [0], hidden=("depth",))
    assert all(not row["depth"].any() and row["image"].all() for row in told)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--drop", "tactil"], "unknown modality 'tactil' in --drop (this task has image, depth"),
        (["--drop", "image+rgb"], "unknown modality 'rgb'"),
        (["--drop", "image", "image"], "two rows are named 'without image'"),
        (["--missing", "hihg"], "did you mean 'high'"),
        (["--missing"], "nothing to evaluate"),
        (["--episodes", "0"], "--episodes 0 must be a count of at least 1, or FIRST:END"),
        (["--episodes", "5:5"], "--episodes 5:5 must be"),
        (["--episodes", "few"], "--episodes few must be"),
        (["--envs", "0"], "--envs 0 must be at least 1"),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_anything_runs(logdir, capsys, flags, said):
    with pytest.raises(SystemExit) as end:
        evaluate.main(["--logdir", str(logdir), *flags])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_a_folder_without_a_run_or_a_checkpoint_is_said(tmp_path, logdir, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--logdir", str(tmp_path)])
    assert "is no run" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_bytes((logdir / "config.yaml").read_bytes())
    with pytest.raises(SystemExit):
        evaluate.main(["--logdir", str(tmp_path)])
    assert "no checkpoint in" in capsys.readouterr().err


def test_evaluation_never_sees_an_episode_of_training(logdir):
    with ParallelEnvironments("dummy", evaluation_seeds(0, 2), processes=False) as environments:
        batches = [environments.reset([0, 1]), environments.reset([2, 3])]
    noise = np.concatenate([batch.values["embedding"] for batch in batches])
    assert len(np.unique(noise, axis=0)) == 4
    for path in (logdir / "replay").glob("*.npz"):
        with np.load(path) as episode:
            assert not (episode["values/embedding"][:, None] == noise).all(-1).any()


def test_a_frame_shows_the_scene_and_what_each_sensor_delivered():
    with ParallelEnvironments("dummy", [0], processes=False, image_size=16) as environments:
        batch = environments.reset()
        for _ in range(10):
            batch = environments.step(np.ones((1, 2)))
        batch.available["depth"][:] = False
        scene = np.full((PANEL, PANEL, 3), 77, np.uint8)
        trust = {"vector": 0.4, "embedding": 0.6, "depth": 0.1}
        frame = panels(scene, batch, environments.modalities, trust)
    tiles = np.split(frame[16:], 5, axis=1)
    assert (tiles[0] == 77).all()
    assert (tiles[1] == 10).all()
    # A red cross instead of depth, and a red caption.
    assert tiles[2][PANEL // 2, PANEL // 2].tolist() == [200, 30, 30]
    assert frame[0, 2 * PANEL].tolist() == [200, 30, 30]
    assert frame[0, PANEL].tolist() == [0, 0, 0]
    # Amber around the vector, which is distrusted.
    assert frame[0, 3 * PANEL].tolist() == [240, 160, 0] == tiles[3][0, 0].tolist()
    assert frame[0, 4 * PANEL].tolist() == [0, 0, 0] != tiles[4][0, 0].tolist()
    # The first bar of the vector, clipped at +1, goes up.
    assert tiles[3][8, PANEL // 8].tolist() == [80, 170, 240]


@pytest.mark.parametrize("wiped", [0.0, 0.25, 1.0])
def test_a_frame_shows_the_proportion_wiped(wiped):
    with ParallelEnvironments("dummy", [0], processes=False, image_size=16) as environments:
        batch = dataclasses.replace(environments.reset(), info=[{"wiped": wiped}])
        scene = np.full((PANEL, PANEL, 3), 77, np.uint8)
        frame = panels(scene, batch, environments.modalities)[:, :PANEL]
    green = frame[-4, :, 1].astype(int) - frame[-4, :, 0] > 50
    assert green.mean() == pytest.approx(wiped, abs=0.01)
    assert (frame[16 : PANEL // 2] == 77).all()


def test_the_video_marks_the_sensor_that_was_removed(logdir, results):
    film = frames(logdir / "videos" / "evaluation-without-image.mp4")
    assert film.shape == (20, PANEL + 16, 5 * PANEL, 3)
    middle = film[:, 16 + PANEL // 2]
    assert abs(middle[:, PANEL + PANEL // 2].astype(int) - [200, 30, 30]).max() < 60
    # Depth is 0 at first and grows to 1; it was delivered.
    grey = middle[:, 2 * PANEL + PANEL // 2].mean(-1)
    assert abs(grey - 255 * np.arange(20) / 20).max() < 12
    with av.open(str(logdir / "videos" / "evaluation-without-image.mp4")) as file:
        assert file.streams.video[0].average_rate == FRAMES_PER_SECOND


DRIVE = """
import sys, numpy as np, envs, mummi
policy = mummi.load_policy(sys.argv[1], seed=3)
env = envs.make("dummy", seed=(0, 1, 0), image_size=16, action_repeat=2)
step, total = env.reset(), 0.0
policy.reset()
while not step.is_last:
    available = step.available | {"depth": False}
    step = env.step(policy(step.values, available))
    total += step.reward
print([m.name for m in policy.modalities], total)
"""


def test_a_loaded_policy_acts_as_in_evaluation(logdir):
    arguments = evaluate.Arguments(str(logdir), missing=(), drop=("depth",), episodes=1, seed=0)
    expected = evaluate.evaluate(arguments)["without depth"].returns[0]
    policy = Policy.load(logdir, seed=0)
    policy._key = jax.random.fold_in(policy._key, 0)  # as that of episode 0
    settings = {"image_size": 16, "action_repeat": 2}
    with ParallelEnvironments("dummy", evaluation_seeds(0, 1), **settings) as environments:
        batch, total = environments.reset([0]), 0.0
        while not batch.is_last[0]:
            values = {name: x[0] for name, x in batch.values.items() if name != "depth"}
            action = policy(values)
            assert action.shape == (2,) and action.dtype == np.float32
            assert (np.abs(action) <= 1).all()
            batch = environments.step(action[None])
            total += float(batch.reward[0])
    assert total == pytest.approx(expected, abs=1e-4)


def test_a_loaded_policy_drives_an_environment_in_a_fresh_process(logdir):
    done = subprocess.run(
        [sys.executable, "-c", DRIVE, str(logdir)],
        cwd=pathlib.Path(__file__).parents[2],
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names, total = done.stdout.strip().rsplit(" ", 1)
    assert names == str(list(MODALITIES))
    assert abs(float(total)) <= 40


def test_the_actor_is_given_only_what_it_may_see(logdir):
    """A hidden sensor's value, even NaN, does not change the action."""
    record = run.load(logdir)
    agent = Agent(record.config, record.modalities, record.action_size)
    state = devices.run_once(agent.init, 0)
    state, _ = Checkpointer(logdir / "checkpoints").restore(state)
    actions = []
    for noise in (0.0, np.nan):
        with ParallelEnvironments("dummy", [0], processes=False, image_size=16) as environments:
            batch = environments.reset()
        batch.available["embedding"][:] = False
        batch.values["embedding"][:] = noise
        actions.append(AgentActor(agent, state, 1, 0)(batch, [0]))
    np.testing.assert_array_equal(*actions)
