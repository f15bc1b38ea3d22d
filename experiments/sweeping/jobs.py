"""The runs of a sweep: train, then evaluate, or imitate; in processes or as jobs of a cluster."""

import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from envs.processes.process import ONE_THREAD
from experiments.evaluation.conditions import conditions, usual
from experiments.evaluation.rollout import episode_numbers
from experiments.evaluation.saved import holds
from mummi.imitation.heads.head import HEADS
from mummi.imitation.pilot import HEAD
from mummi.imitation.record import is_imitation, load
from mummi.runs import record as run

REQUEUES = 100
"""Times that a job goes on after the cluster's time limit."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of the grid.

    Attributes:
        name: TASK/METHOD-PRESET-SEED, after VARIANT/ where there are variants.
        flags: arguments of its command.
        logdir: folder of the run.
        log: file that gets what the run's commands print.
        steps: environment steps of the complete run; 0 of imitate, which makes none.
        episodes: ``--episodes`` of its evaluation; empty for no evaluation.
        task, method, seed, variant: its place in the grid; without a file ``variant`` is empty.
        command: train, which experiments.evaluate follows, or imitate, which also evaluates.
        source: folder of the run whose world model it takes; empty where it trains its own.
    """

    name: str
    flags: tuple[str, ...]
    logdir: str
    log: str
    steps: int
    episodes: str
    task: str
    method: str
    seed: int
    variant: str = ""
    command: Literal["train", "imitate"] = "train"
    source: str = ""


def last_checkpoint(logdir: str) -> int:
    """Step of the newest complete checkpoint, -1 without one.

    Told by the folders' names: Orbax would occupy the accelerator, which the runs need.
    """
    folders = pathlib.Path(logdir, "checkpoints").glob("*")
    return max((int(path.name) for path in folders if path.name.isdigit()), default=-1)


def asked(record: run.Run, logdir: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``missing`` and ``drop`` of a trained run: each level of missing data, and each of its
    sensors removed. Of a head that reads none there is one row."""
    if is_imitation(logdir) and HEADS[load(logdir).head].blind:
        return ("none",), ()
    scripts, removals = usual(record)
    return scripts, removals or tuple(m.name for m in record.modalities if m.can_fail)


def complete(job: Job) -> bool:
    """Whether the run has its last checkpoint, and its head if it is one of imitate, and every row
    of its evaluation is of that one."""
    step = last_checkpoint(job.logdir)
    if job.command == "imitate" and not pathlib.Path(job.logdir, HEAD).is_file():
        return False
    return step >= job.steps and (not job.episodes or _evaluated(job, step))


def _evaluated(job: Job, step: int) -> bool:
    record = run.load(job.logdir)
    config, numbers = record.config, episode_numbers(job.episodes)
    common = {
        "method": config.method,
        "step": step,
        "evaluation_seed": config.seed,
        "background": config.background,
    }
    return all(
        holds(pathlib.Path(job.logdir, "eval", f"{row.file}.json"), row.content(common), numbers)
        for row in conditions(record, *asked(record, job.logdir), random=True)
    )


class Work:
    """Does runs by the ordinary commands, each in a process of its own.

    Args:
        shared: other runs use the same accelerator, so none takes most of its memory.
    """

    def __init__(self, shared: bool):
        self._shared = shared
        self._stopped = False
        self._children: set[subprocess.Popen] = set()

    def __call__(self, job: Job) -> str:
        """Does what the run lacks; returns what failed, or an empty string."""
        if job.command == "imitate":
            return self._run(job, "experiments.imitate", job.flags)
        failure = ""
        if last_checkpoint(job.logdir) < job.steps:
            failure = self._run(job, "experiments.train", job.flags)
        if job.episodes and not failure and not complete(job):
            missing, drop = asked(run.load(job.logdir), job.logdir)
            flags = ("--logdir", job.logdir, "--episodes", job.episodes, "--random", "--keep")
            flags += ("--missing", *missing, "--drop", *drop)
            failure = self._run(job, "experiments.evaluate", flags)
        return failure

    def stop(self) -> None:
        """Has every process stop with a checkpoint, or at once when called again; starts none."""
        self._stopped = True
        for child in list(self._children):
            child.terminate()

    def checkpoint(self, job: Job):
        """What submitit puts into the queue again when the cluster's time limit is reached."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Work(self._shared), job)

    def _run(self, job: Job, module: str, flags: Sequence[str]) -> str:
        if self._stopped:
            return "stopped"
        command = [sys.executable, "-m", module, *flags]
        bound = [sys.executable, "-m", "experiments.sweeping.bound", module, *flags]
        pathlib.Path(job.log).parent.mkdir(parents=True, exist_ok=True)
        with open(job.log, "ab") as log:
            log.write(f"$ {shlex.join(command)}\n".encode())
            log.flush()
            # In a process group of its own, Ctrl-C does not reach it: it would stop twice. By its
            # standard input it notices if this process ends without stopping it.
            child = subprocess.Popen(
                bound,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                process_group=0,
            )
            self._children.add(child)
            try:
                if self._stopped:
                    child.terminate()
                status = child.wait()
            finally:
                # A cluster ends a job by an exception here.
                if child.poll() is None:
                    child.terminate()
                    child.wait()
                child.stdin.close()
                self._children.discard(child)
        return f"{module} ended with exit status {status}" if status else ""

    def _environment(self) -> dict[str, str]:
        defaults = dict.fromkeys(ONE_THREAD, str(len(cores())))
        if self._shared:
            defaults["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        return defaults | os.environ


def cores() -> list[int]:
    """The cores that this thread may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def shares(available: Sequence[int], parallel: int) -> list[list[int]]:
    """Equal shares of the cores, at least one each; they overlap only where cores are too few."""
    bounds = [k * len(available) // parallel for k in range(parallel + 1)]
    return [list(available[a : max(b, a + 1)]) for a, b in itertools.pairwise(bounds)]


class Machine:
    """Runs on this machine, some at a time.

    On Linux each of several that run at a time keeps to its share of the cores, and everywhere
    the libraries' threads are as many as the cores a run may use.

    Args:
        parallel: runs at a time.
    """

    def __init__(self, parallel: int):
        self._work = Work(shared=parallel > 1)
        pin = parallel > 1 and hasattr(os, "sched_setaffinity")
        self._pool = concurrent.futures.ThreadPoolExecutor(
            parallel,
            initializer=_pin if pin else None,
            initargs=(iter(shares(cores(), parallel)),) if pin else (),
        )

    def submit(self, jobs: Sequence[Job]) -> list[concurrent.futures.Future]:
        """Starts or queues the jobs; each handle's result is what ``Work`` returns."""
        return [self._pool.submit(self._work, job) for job in jobs]

    def running(self, handle: concurrent.futures.Future) -> bool:
        """Whether the job has left the queue and is not over."""
        return handle.running()

    def stop(self) -> None:
        """Stops with checkpoints whatever still runs, and waits for it; starts nothing more."""
        try:
            self._work.stop()
            self._pool.shutdown()
        except KeyboardInterrupt:
            self._work.stop()
            self._pool.shutdown()


def _pin(sets: Iterator[list[int]]) -> None:
    # Linux pins one thread, and the processes that it starts inherit its cores.
    os.sched_setaffinity(0, next(sets))


@dataclasses.dataclass(frozen=True)
class Slurm:
    """What each job asks of Slurm.

    Attributes:
        partition: by default the cluster's own.
        minutes: time limit; a run that reaches it is queued again and goes on.
        gpus: GPUs.
        cpus: cores.
        memory: main memory in GB.
    """

    partition: str | None = None
    minutes: int = 1440
    gpus: int = 1
    cpus: int = 8
    memory: float = 32.0


class Cluster:
    """Runs as jobs of a cluster, through submitit.

    Args:
        kind: slurm, or local: submitit's own processes on this machine.
        folder: gets submitit's scripts, logs and results.
        slurm: what each job asks for.
        parallel: most jobs of Slurm at a time; None for no limit of ours.

    Raises:
        ValueError: submitit is not installed.
        RuntimeError: no such cluster here.
    """

    def __init__(
        self, kind: Literal["slurm", "local"], folder: str, slurm: Slurm, parallel: int | None
    ):
        try:
            import submitit
        except ImportError:
            raise ValueError(
                f"--cluster {kind} needs submitit, which is not installed: pip install submitit"
            ) from None
        self._work = Work(shared=kind == "local")
        self._handles: list[Any] = []
        self._executor = submitit.AutoExecutor(folder, cluster=kind, slurm_max_num_timeout=REQUEUES)
        self._executor.update_parameters(
            name="mummi",
            timeout_min=slurm.minutes,
            gpus_per_node=slurm.gpus,
            cpus_per_task=slurm.cpus,
            mem_gb=slurm.memory,
            slurm_partition=slurm.partition,
            slurm_array_parallelism=parallel,
        )

    def submit(self, jobs: Sequence[Job]) -> list[Any]:
        """Queues the jobs; each handle's result is what ``Work`` returns."""
        self._handles = self._executor.map_array(self._work, jobs) if jobs else []
        return self._handles

    def running(self, handle: Any) -> bool:
        """Whether the job has left the queue and is not over."""
        # The queue is asked too seldom to tell.
        return handle.paths.stdout.exists()

    def stop(self) -> None:
        """Cancels what is not over: the cluster sends SIGTERM, and the runs save checkpoints."""
        for handle in self._handles:
            if not handle.done():
                handle.cancel(check=False)
