"""Sweeps: the grid, mistakes found beforehand, resuming, failures, stopping, and clusters."""

import contextlib
import io
import json
import shlex
import shutil
import signal
import sys
import threading
import time

import pytest
import submitit
from rich.console import Console

from experiments import sweep
from experiments.command_line import parse_config
from experiments.sweeping import jobs as sweep_jobs
from experiments.sweeping import view
from mummi.config import METHODS
from mummi.data.replay import recorded_step
from mummi.imitation.heads.head import HEADS
from mummi.imitation.record import Imitation
from mummi.imitation.record import save as save_imitation
from mummi.runs import record as run
from mummi.runs.checkpoint import Checkpointer
from mummi.training.start import lock
from tests.support import imitated, tiny

ROWS = ("none", "medium", "high", "random-policy")
SENSORS = ("image", "depth", "vector", "embedding")


@pytest.fixture(autouse=True, scope="module")
def quick_compile_in_processes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield


def words(logdir, *more: str, seeds=("0", "1"), train=()) -> list[str]:
    """Arguments of a sweep of runs of seconds."""
    grid = ["--tasks", "dummy", "--methods", "mummi", "--seeds", *seeds, "--preset", "debug"]
    return [*grid, "--logdir", str(logdir), "--episodes", "1", *more, "--", *tiny.FLAGS, *train]


def grid(logdir, **changes) -> list[sweep.Job]:
    """The jobs of that command."""
    settings = {"tasks": ("dummy",), "methods": ("mummi",), "seeds": (0, 1), "preset": "debug"}
    settings |= {"logdir": str(logdir), "episodes": 1}
    return sweep.grid(sweep.Arguments(**settings | changes), tiny.FLAGS)


def command(*arguments) -> tuple[int, str]:
    """Exit status and output of the command, in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            sweep.main(list(arguments))
        except SystemExit as end:
            return end.code, said.getvalue()
    return 0, said.getvalue()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two runs at a time, the second of which fails; folder, status and output."""
    logdir = tmp_path_factory.mktemp("sweep")
    with lock(logdir / "dummy" / "mummi-debug-1"):
        status, said = command(*words(logdir, "--parallel", "2"))
    return logdir, status, said


@pytest.fixture
def copy(swept, tmp_path):
    """That folder, as the test's own."""
    return shutil.copytree(swept[0], tmp_path / "copy")


@pytest.fixture
def started(monkeypatch):
    """Names of the jobs that a sweep hands over; none is done."""
    names = []

    def pretend(self, job):
        names.append(job.name)
        return ""

    monkeypatch.setattr(sweep_jobs.Work, "__call__", pretend)
    return names


def test_the_grid_is_every_combination_once(tmp_path):
    tasks, methods = ("walker_stand", "finger_spin", "dmc_walker_stand"), tuple(METHODS)
    jobs = grid(tmp_path, tasks=tasks, methods=methods, seeds=(3, 4, 3))
    expected = {
        f"{task}/{method}-debug-{seed}"
        for task in ("walker_stand", "finger_spin")
        for method in METHODS
        for seed in (3, 4)
    }
    assert len(jobs) == len(expected) and {job.name for job in jobs} == expected
    for job in jobs:
        config = parse_config(list(job.flags))
        assert job.name == f"{config.task}/{config.method}-{config.preset}-{config.seed}"
        assert config.logdir == job.logdir == str(tmp_path / job.name)
        assert config.steps == job.steps == 400 and config.batch_length == 6


def test_a_task_of_ones_own_has_a_plain_folder(tmp_path):
    (job,) = grid(tmp_path, tasks=("tests.support.robots:Plain",), seeds=(0,))
    assert job.name == "tests.support.robots-Plain/mummi-debug-0"
    assert parse_config(list(job.flags)).task == "tests.support.robots:Plain"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "dumy"], "did you mean 'dummy'"),
        (["--methods", "mumi"], "did you mean 'mummi'"),
        (["--preset", "debgu"], "did you mean 'debug'"),
        (["--episodes", "0"], "--episodes 0 must be a count of at least 1"),
        (["--parallel", "0"], "--parallel 0 must be at least 1"),
        (["--seeds"], "an empty grid"),
        (["--slurm.gpus", "2"], "add --cluster slurm"),
        (["--cluster", "slrum"], "slrum"),
        (["--", "--model.fusd", "3"], "--model.fusd"),
        (["--", "--missing", "hihg"], "did you mean 'high'"),
        (["--", "--seed", "7"], "--seed 7 would replace the grid's 0; give it before --"),
        (["--", "--logdir", "runs/x"], "would replace the grid's"),
        (["--", "--preset", "laptop"], "--preset 'laptop' would replace the grid's 'debug'"),
    ],
)
def test_a_mistake_is_found_before_anything_starts(tmp_path, capsys, started, arguments, said):
    start, cut = words(tmp_path / "sweep"), -len(tiny.FLAGS) - 1
    arguments = start + arguments[1:] if arguments[0] == "--" else start[:cut] + arguments
    with pytest.raises(SystemExit) as end:
        sweep.main(arguments)
    assert end.value.code == 2
    told = capsys.readouterr()
    assert said in " ".join((told.out + told.err).split())
    assert not started and not (tmp_path / "sweep").exists()


def test_a_folder_with_other_settings_is_found_before_anything_starts(copy, started):
    status, said = command(*words(copy, seeds=("5", "0"), train=("--model.fused", "24")))
    assert status == 2 and "model.fused = 16" in said and not started


def test_a_failed_run_is_reported_and_does_not_stop_the_others(swept):
    logdir, status, said = swept
    assert status == 1
    assert "2 of 2 runs are over" in said
    assert "dummy/mummi-debug-0: done  step 400/400  return" in said
    log = logdir / "logs" / "dummy" / "mummi-debug-1.log"
    failure = "dummy/mummi-debug-1 failed: experiments.train ended with exit status 2"
    assert f"{failure}\n{log} ends with:" in said
    assert "    error: another process trains in" in said
    assert "another process trains in" in log.read_text()


def test_a_run_is_trained_and_evaluated_by_the_ordinary_commands(swept):
    logdir = swept[0] / "dummy" / "mummi-debug-0"
    config = run.load(logdir).config
    assert config == tiny.config(logdir)
    assert Checkpointer(logdir / "checkpoints").latest_step() == 400
    assert sweep_jobs.last_checkpoint(str(logdir)) == 400
    rows = {path.stem: json.loads(path.read_text()) for path in (logdir / "eval").iterdir()}
    assert set(rows) == {*ROWS, *(f"without-{name}" for name in SENSORS)}
    assert all(row["step"] == 400 and row["episodes"] == 1 for row in rows.values())
    text = (swept[0] / "logs" / "dummy" / "mummi-debug-0.log").read_text()
    train, evaluate = (shlex.split(x)[1:] for x in text.splitlines() if x.startswith("$ "))
    assert train[:3] == [sys.executable, "-m", "experiments.train"]
    assert parse_config(train[3:]) == config
    assert evaluate[:3] == [sys.executable, "-m", "experiments.evaluate"]


def test_the_same_command_does_only_what_is_left(swept, started):
    status, said = command(*words(swept[0]))
    assert status == 0 and started == ["dummy/mummi-debug-1"]
    assert "dummy/mummi-debug-0: skipped  step 400/400" in said
    assert "2 of 2 runs are over" in said


def test_an_evaluation_of_more_episodes_is_enough(copy):
    path = copy / "dummy" / "mummi-debug-0" / "eval" / "none.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"numbers": [0, 1, 2]}))
    assert sweep_jobs.complete(grid(copy)[0])
    assert not sweep_jobs.complete(grid(copy, episodes="0:3")[0])
    for file in path.parent.glob("*.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"numbers": [5, 6, 7]}))
    assert sweep_jobs.complete(grid(copy, episodes="5:8")[0])
    assert not sweep_jobs.complete(grid(copy)[0])


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("without-depth", None),
        ("none", {"step": 200}),
        ("random-policy", {"numbers": [1, 2]}),
        ("without-image", {"dropped": ["depth"]}),
        ("medium", {"evaluation_seed": 9}),
        ("high", {"script": {"name": "high", "rules": []}}),
    ],
)
def test_an_evaluation_that_is_not_of_this_command_is_due_again(copy, monkeypatch, file, change):
    job = grid(copy)[0]
    assert sweep_jobs.complete(job)
    path = copy / "dummy" / "mummi-debug-0" / "eval" / f"{file}.json"
    content = json.loads(path.read_text())
    path.unlink()
    if change:
        path.write_text(json.dumps(content | change))
    assert not sweep_jobs.complete(job)
    assert sweep_jobs.complete(grid(copy, evaluate=False)[0])
    done = []
    monkeypatch.setattr(sweep_jobs.Work, "_run", lambda _, *rest: done.append(rest) or "")
    assert sweep_jobs.Work(shared=False)(job) == ""
    assert [module for _, module, _ in done] == ["experiments.evaluate"]
    flags = shlex.join(done[0][2])
    assert "--episodes 1 --random --keep" in flags
    assert "--missing none medium high --drop image depth vector embedding" in flags


def test_more_steps_are_trained(copy):
    more = sweep.grid(
        sweep.Arguments(tasks=("dummy",), seeds=(0,), preset="debug", logdir=str(copy), episodes=1),
        (*tiny.FLAGS, "--steps", "500"),
    )
    assert not sweep_jobs.complete(more[0])
    unfinished = copy / "dummy" / "mummi-debug-0" / "checkpoints" / "500.orbax-checkpoint-tmp"
    unfinished.mkdir()
    assert sweep_jobs.last_checkpoint(more[0].logdir) == 400


@pytest.mark.slow  # a run's own is tested with resuming, its end with the sweep's in sweeping/
def test_ctrl_c_saves_checkpoints_and_says_that_the_same_command_goes_on(tmp_path):
    more = ("--no-evaluate", "--parallel", "2")
    process = tiny.start(
        "experiments.sweep", *words(tmp_path, *more, seeds=("0",), train=("--steps", "3000"))
    )
    logdir = tmp_path / "dummy" / "mummi-debug-0"
    while recorded_step(logdir / "replay") < 200 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "stopped; the same command goes on from here" in said and "Traceback" not in said
    saved = Checkpointer(logdir / "checkpoints").latest_step()
    assert 200 <= saved < 3000
    with lock(logdir):  # no process is left
        assert "the same command goes on" in (tmp_path / "logs/dummy/mummi-debug-0.log").read_text()


@pytest.mark.slow
def test_submitit_does_the_same_work(tmp_path):
    arguments = words(tmp_path, "--cluster", "local", "--no-evaluate", seeds=("1",))
    status, said = command(*arguments)
    assert status == 0
    assert "dummy/mummi-debug-1: done  step 400/400" in said
    logdir = tmp_path / "dummy" / "mummi-debug-1"
    assert run.load(logdir).config == tiny.config(logdir, "--seed", "1")
    assert Checkpointer(logdir / "checkpoints").latest_step() == 400
    assert all(sweep_jobs.complete(job) for job in grid(tmp_path, seeds=(1,), evaluate=False))


def test_a_job_that_breaks_is_a_failed_run(tmp_path, monkeypatch):
    def broken(self, job):
        raise OSError("disk full")

    monkeypatch.setattr(sweep_jobs.Work, "__call__", broken)
    status, said = command(*words(tmp_path, seeds=("0",)))
    assert status == 1 and "dummy/mummi-debug-0 failed: disk full" in said


def test_a_cluster_is_asked_for_what_the_flags_say(tmp_path, monkeypatch):
    for name, text in (("srun", ""), ("sbatch", "echo Submitted batch job 12; cp $1 $0.given")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    slurm = sweep_jobs.Slurm("gpu", minutes=90, gpus=2, cpus=5, memory=24)
    cluster = sweep_jobs.Cluster("slurm", str(tmp_path / "jobs"), slurm, 1)
    handles = cluster.submit(grid(tmp_path))
    assert [handle.job_id for handle in handles] == ["12_0", "12_1"]
    lines = (tmp_path / "sbatch.given").read_text().splitlines()
    asked = {"partition=gpu", "time=90", "gpus-per-node=2", "cpus-per-task=5", "mem=24GB"}
    assert {f"#SBATCH --{x}" for x in (*asked, "array=0-1%1")} <= set(lines)
    delayed = handles[1].submission()
    assert delayed.args == (grid(tmp_path)[1],)
    again = delayed.function.checkpoint(*delayed.args)
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    assert again.args == delayed.args and isinstance(again.function, sweep_jobs.Work)


def test_without_submitit_its_installation_is_named(tmp_path, monkeypatch, started):
    monkeypatch.setitem(sys.modules, "submitit", None)
    status, said = command(*words(tmp_path / "sweep", "--cluster", "slurm"))
    assert status == 2 and "pip install submitit" in said and not started


def test_the_cores_are_shared_out():
    assert sweep_jobs.shares(range(8), 3) == [[0, 1], [2, 3, 4], [5, 6, 7]]
    assert sweep_jobs.shares([4, 6], 3) == [[4], [4], [6]]
    for count in range(1, 9):
        for parallel in range(1, 9):
            sets = sweep_jobs.shares(range(count), parallel)
            assert len(sets) == parallel and all(sets)
            assert sorted({core for cores in sets for core in cores}) == list(range(count))
            if parallel <= count:
                assert sum(map(len, sets)) == count


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pins on Linux only")
def test_runs_at_a_time_keep_to_their_share(monkeypatch):
    together, before = threading.Barrier(2), sweep_jobs.cores()

    def work(self, job):
        together.wait(10)
        return sweep_jobs.cores(), self._environment()["OPENBLAS_NUM_THREADS"]

    monkeypatch.setattr(sweep_jobs.Work, "__call__", work)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    machine = sweep_jobs.Machine(parallel=2)
    results = [handle.result(20) for handle in machine.submit([None, None])]
    machine.stop()
    expected = sweep_jobs.shares(before, 2)
    assert sorted(results) == [(share, str(len(share))) for share in expected]
    assert sweep_jobs.cores() == before


def heads(logdir) -> list[str]:
    """Arguments of a sweep of two heads, of which mse takes the world model of bc."""
    path = logdir / "heads.yaml"
    path.write_text(
        "{command: imitate, world_model: bc, tasks: [dummy], seeds: [0, 1], preset: debug, "
        f"episodes: 1, settings: {{data: {logdir / 'data.hdf5'}, image_size: {imitated.SIZE}, "
        "action_repeat: 1, background: none, copies: 1, batch_length: 6}, "
        "variants: {mse: {head: mse}, bc: {head: bc, updates: 8}}}"
    )
    return [str(path), "--logdir", str(logdir)]


def test_what_takes_a_world_model_comes_after_all_that_train_one(tmp_path, started):
    status, said = command(*heads(tmp_path))
    assert status == 0 and "4 of 4 runs are over" in said
    names = [f"{head}/dummy/mummi-debug-{seed}" for head in ("bc", "mse") for seed in (0, 1)]
    assert started == names


def test_a_run_of_imitate_is_complete_with_its_head_and_evaluation(tmp_path, monkeypatch):
    job = sweep_jobs.Job(
        *("bc/dummy/mummi-debug-0", ("--head", "bc"), str(tmp_path), str(tmp_path / "log"), 0, "1"),
        *("dummy", "mummi", 0, "bc", "imitate"),
    )
    evaluated, done = [], []
    monkeypatch.setattr(sweep_jobs, "_evaluated", lambda *given: bool(evaluated))
    monkeypatch.setattr(sweep_jobs.Work, "_run", lambda _, *rest: done.append(rest) or "")
    (tmp_path / "checkpoints" / "8").mkdir(parents=True)
    for step in (lambda: (tmp_path / "head.npz").touch(), lambda: evaluated.append(1)):
        assert not sweep_jobs.complete(job)
        step()
    assert sweep_jobs.complete(job)
    assert sweep_jobs.Work(shared=False)(job) == ""
    assert done == [(job, "experiments.imitate", job.flags)]


@pytest.mark.parametrize(("head", "rows"), [("bc", 3 + 4), ("replay", 1)])
def test_a_head_is_asked_what_it_can_answer(tmp_path, head, rows):
    config = imitated.untrained(tmp_path)
    settings = HEADS[head].default()
    save_imitation(tmp_path, Imitation("data", head=head, settings=settings))
    scripts, dropped = sweep_jobs.asked(run.load(config.logdir), config.logdir)
    assert len(scripts) + len(dropped) == rows


@pytest.mark.slow
def test_heads_are_swept_and_compared(tmp_path):
    imitated.write(tmp_path / "data.hdf5")
    status, said = command(*heads(tmp_path))
    assert status == 0, said
    assert "seed by seed" in said and "bc" in said
    entries = json.loads((tmp_path / "comparison.json").read_text())["entries"]
    assert [sorted(entry["returns"]["medium"]) for entry in entries] == [["0", "1"]] * 2
    status, said = command(*heads(tmp_path))
    assert status == 0 and said.count("skipped") >= 4


def test_progress_is_read_from_the_end_of_the_metrics(tmp_path):
    assert view.progress(str(tmp_path)) == (0, None, None)
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for step in range(0, 200_000, 100):
            name = "steps_per_second" if step % 300 else "episode/return"
            file.write(json.dumps({"step": step, "time": 0.5, name: step / 7}) + "\n")
        file.write("damaged\n3\n[7]\n")
        file.write('{"step": 999999, "ti')
    assert (tmp_path / "metrics.jsonl").stat().st_size > view.TAIL
    content = (tmp_path / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in content.splitlines() if line.endswith("}")]
    expected = [
        next(row[name] for row in reversed(rows) if name in row)
        for name in ("step", "episode/return", "steps_per_second")
    ]
    assert list(view.progress(str(tmp_path))) == expected


def test_the_terminal_shows_steps_return_and_time_left(tmp_path):
    jobs = grid(tmp_path, seeds=(0, 1, 2))
    for job, step in zip(jobs, (400, 100), strict=False):
        (tmp_path / job.name).mkdir(parents=True)
        line = {"step": step, "episode/return": 12.34, "steps_per_second": 0.5}
        (tmp_path / job.name / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    rows = [view.Row(job, "running") for job in jobs[:2]] + [view.Row(jobs[2], "waiting")]
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with view.View(console) as shown:
        shown.show(rows)
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert "│ dummy/mummi-debug-0 │ running │ 400/400 │ 12.3 │ evaluating │" in lines
    assert "│ dummy/mummi-debug-1 │ running │ 100/400 │ 12.3 │ 0:10:00 │" in lines
    assert "│ dummy/mummi-debug-2 │ waiting │ 0/400 │ │ │" in lines
