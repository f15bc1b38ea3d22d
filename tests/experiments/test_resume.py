"""A run that is killed, stopped or damaged goes on with the same command and loses little."""

import os
import random
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from experiments import evaluate, train
from mummi.agent import Agent, AgentState
from mummi.data.episode import load_episode, save_episode
from mummi.data.replay import recorded_step
from mummi.runs import record as run
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import read_metrics
from tests.support import tiny

pytestmark = pytest.mark.usefixtures("quick_compile")

EPISODE = 40
"""Environment steps of an episode of the dummy task with action repeat 2."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 400 steps."""
    logdir = tmp_path_factory.mktemp("runs") / "finished"
    tiny.run(logdir)
    return logdir


@pytest.fixture
def copy(finished, tmp_path):
    """That run in a folder of the test's own."""
    return shutil.copytree(finished, tmp_path / "run")


def state(logdir, step: int | None = None) -> tuple[AgentState, dict]:
    record = run.load(logdir)
    agent = Agent(record.config, record.modalities, record.action_size)
    return Checkpointer(logdir / "checkpoints").restore(jax.eval_shape(agent.init, 0), step)


def assert_whole(logdir, settings, runs: int) -> None:
    """What must hold of a finished run, however often it was killed."""
    final, meta = state(logdir)
    assert meta["step"] == settings.steps
    assert final.updates == tiny.target_updates(settings)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(final))
    assert [row["updates"] for row in read_metrics(logdir) if "updates" in row]

    paths = sorted((logdir / "replay").iterdir())
    index, step, length = np.array([p.stem.split("-") for p in paths], int).T
    assert np.array_equal(index, np.arange(len(paths)))
    assert (np.diff(step, prepend=0) >= EPISODE).all()
    assert (length == 21).all()
    assert settings.steps - EPISODE * len(paths) <= EPISODE * runs
    episodes = [load_episode(path) for path in paths]
    for episode in episodes:
        assert np.array_equal(np.flatnonzero(episode["is_first"]), [0])
        assert np.array_equal(np.flatnonzero(episode["is_last"]), [20])
        assert np.array_equal(episode["values/vector"][:, 0], np.arange(21))
    # The noise of an environment is its own, so no episode was lived twice.
    assert len({episode["values/embedding"].tobytes() for episode in episodes}) == len(episodes)


@pytest.mark.timeout(900)
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    logdir, chance, kills = tmp_path / "run", random.Random(0), 2
    more = ("--steps", "1200", "--checkpoint-every", "0.5", "--log-every", "50")
    settings = tiny.config(logdir, *more)
    for killed in range(kills):
        process = tiny.start("experiments.train", *tiny.flags(logdir, *more))
        before = recorded_step(logdir / "replay")
        # The first dies before its first checkpoint or update, the other somewhere.
        until = before + EPISODE * (1 if killed == 0 else chance.randrange(4, 16))
        while recorded_step(logdir / "replay") < until and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.2) * (killed > 0))
        process.kill()
        said, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, said
    tiny.run(logdir, *more)
    assert_whole(logdir, settings, kills + 1)
    tiny.run(logdir, *more)
    assert_whole(logdir, settings, kills + 1)


def test_ctrl_c_saves_at_the_present_step_and_the_same_command_goes_on(tmp_path):
    logdir = tmp_path / "run"
    more = ("--steps", "1500")
    process = tiny.start("experiments.train", *tiny.flags(logdir, *more))
    while recorded_step(logdir / "replay") < 200 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    saved = Checkpointer(logdir / "checkpoints").latest_step()
    assert recorded_step(logdir / "replay") <= saved < 1500
    assert f"stopped at step {saved}; the same command goes on from here" in said
    assert "Traceback" not in said
    settings = tiny.run(logdir, *more)
    assert_whole(logdir, settings, 2)


def test_a_resumed_run_has_the_parameters_that_were_saved(copy):
    # Ten more steps are worth no update.
    settings = tiny.run(copy, "--steps", "410")
    assert tiny.target_updates(settings) == tiny.target_updates(tiny.config(copy))
    (before, _), (after, meta) = state(copy, 400), state(copy, 410)
    assert meta["step"] == 410
    jax.tree.map(np.testing.assert_array_equal, before, after)
    spent = [row["cpu_seconds"] for row in read_metrics(copy) if "cpu_seconds" in row]
    assert spent == sorted(spent) and spent[0] > 0


def test_a_resumed_run_earns_what_it_earned_before(copy):
    """The same episodes bring the same returns, and training goes on from where it was."""

    def returns(logdir):
        flags = evaluate.Arguments(str(logdir), missing=("none", "high"), episodes=3, envs=1)
        return {name: row.returns for name, row in evaluate.evaluate(flags).items()}

    before = returns(copy)
    tiny.run(copy, "--steps", "410")
    assert returns(copy) == before and len(set(before["high"])) == 3
    tiny.run(copy, "--steps", "800")
    rows = [row for row in read_metrics(copy) if "updates" in row]
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert [row["updates"] for row in rows] == sorted(row["updates"] for row in rows)
    assert returns(copy) != before


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_resumes(tmp_path):
    """A run that was resumed four times is as large as one that went through."""
    ends = (400, 500, 600, 700, 800)

    def largest(logdir, steps) -> float:
        """MiB that the process had resident at most."""
        process = tiny.start("experiments.train", *tiny.flags(logdir, "--steps", str(steps)))
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0, said
        return used.ru_maxrss / 1024

    resumed = [largest(tmp_path / "resumed", steps) for steps in ends]
    whole = largest(tmp_path / "whole", ends[-1])
    print(f"MiB at most: resumed {', '.join(f'{m:.0f}' for m in resumed)}, whole {whole:.0f}")
    assert max(resumed) < 1.1 * whole and resumed[-1] < 1.1 * resumed[1]


def test_a_finished_run_is_left_as_it_is(copy, capsys):
    before = (copy / "metrics.jsonl").read_text(), sorted((copy / "replay").iterdir())
    tiny.run(copy)
    assert "has its 400 steps already" in capsys.readouterr().out
    assert before == ((copy / "metrics.jsonl").read_text(), sorted((copy / "replay").iterdir()))


@pytest.mark.parametrize(
    ("flag", "value", "field"),
    [
        ("--seed", "1", "seed = 0"),
        ("--method", "mummi_b", "method = 'mummi'"),
        ("--model.fused", "24", "model.fused = 16"),
        ("--missing", "high", "missing = 'none'"),
    ],
)
def test_a_changed_setting_is_refused_by_its_name(copy, capsys, flag, value, field):
    with pytest.raises(SystemExit) as end:
        train.main(tiny.flags(copy, "--steps", "800", flag, value))
    assert end.value.code == 2
    assert field in capsys.readouterr().err
    assert Checkpointer(copy / "checkpoints").latest_step() == 400


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(copy):
    settings = tiny.run(copy, "--steps", "500")
    for file in (copy / "checkpoints" / "500").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.warns(UserWarning, match="passed over damaged checkpoint .*500"):
        tiny.run(copy, "--steps", "500")
    assert_whole(copy, settings, 3)


def test_a_cut_episode_is_passed_over_with_a_warning(copy):
    path = sorted((copy / "replay").iterdir())[3]
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.warns(UserWarning, match=f"skipped unreadable episode .*{path.name}"):
        settings = tiny.run(copy, "--steps", "500")
    final, meta = state(copy)
    assert (meta["step"], final.updates) == (500, tiny.target_updates(settings))


def test_a_poisoned_episode_is_passed_over_and_training_goes_on(copy):
    path = sorted((copy / "replay").iterdir())[2]
    episode = load_episode(path)
    episode["reward"][4] = np.nan
    save_episode(path, episode)
    with pytest.warns(UserWarning, match=f"skipped episode .*{path.name}: reward is not finite"):
        settings = tiny.run(copy, "--steps", "500")
    final, meta = state(copy)
    assert (meta["step"], final.updates) == (500, tiny.target_updates(settings))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(final))


def test_a_loss_that_is_not_finite_leaves_the_last_good_checkpoint(copy, capsys):
    for path in (copy / "replay").iterdir():
        episode = load_episode(path)
        episode["reward"][:] = 1e30  # its square is infinite
        save_episode(path, episode)
    with pytest.raises(SystemExit) as end:
        train.main(tiny.flags(copy, "--steps", "800"))
    assert end.value.code == 2
    assert "is not finite at step" in capsys.readouterr().err
    final, meta = state(copy)
    assert meta["step"] == 400
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(final))
