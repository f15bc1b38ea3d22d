"""Evaluations again and again on a guarded heap: python -m experiments.benchmarks.evaluations.

Each is a process of ``experiments.evaluate`` on an untrained agent of the preset ``debug``, with
episodes of a few steps. In it and in its environments glibc checks every block of memory that is
freed (``MALLOC_CHECK_=3``) and fills it with nonsense (``MALLOC_PERTURB_``), and Python tells where
it was when a process dies.
"""

import contextlib
import ctypes.util
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import psutil
import tyro
from rich.console import Console
from rich.table import Table

import envs
from experiments.command_line import explain
from experiments.evaluation.rollout import environment_settings
from mummi.agent import Agent
from mummi.config import Config
from mummi.presets import preset
from mummi.runs import record as run
from mummi.runs.checkpoint import Checkpointer

STEPS = 5
"""Agent steps of an episode."""
PAUSE = 0.2
"""Seconds between two looks at the memory."""
CHECKER = "c_malloc_debug"
"""glibc's library that knows ``MALLOC_CHECK_``; it must be loaded before all others."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Evaluates untrained agents, and says what died, what was printed, and what memory it took.

    Attributes:
        tasks: whose agents are evaluated in turn.
        count: evaluations of all of them.
        episodes: episodes of each.
        envs: environments that run in parallel.
        guard: check the heap, which is slower.
    """

    tasks: tuple[str, ...] = ("table_wiping", "libero_object/0", "walker_stand")
    count: int = 100
    episodes: int = 20
    envs: int = 2
    guard: bool = True


class Seen(NamedTuple):
    """What was seen of one evaluation.

    Attributes:
        status: it ended with; negative is the signal that killed it.
        said: what it wrote to stderr.
        middle, end: MiB resident at half its time and at the last look: its own, and the most of
            one of its environments.
    """

    status: int
    said: str
    middle: tuple[float, float]
    end: tuple[float, float]


def short(task: str, logdir: pathlib.Path) -> Config:
    """Settings of a debug run whose episodes are of ``STEPS`` steps."""
    config = dataclasses.replace(preset("debug", task), logdir=str(logdir), missing="none")
    if "horizon" in vars(envs.options(task)):
        return dataclasses.replace(config, env={"horizon": STEPS}, action_repeat=1)
    # Those of the control suite have 1,000 control steps.
    return dataclasses.replace(config, action_repeat=1000 // STEPS)


def untrained(task: str, logdir: pathlib.Path) -> None:
    """A run with a checkpoint of an agent that has learned nothing."""
    config = short(task, logdir)
    environment = envs.make(task, **environment_settings(config))
    record = run.Run(config, environment.modalities, environment.action_size)
    environment.close()
    run.save(logdir, record)
    state = jax.jit(Agent(*record[:3]).init)(config.seed)
    Checkpointer(logdir / "checkpoints").save(1, state, {"step": 1})


def guarded() -> dict[str, str]:
    """Environment variables of a process whose heap is checked.

    Raises:
        ValueError: glibc's checking library is not here.
    """
    library = ctypes.util.find_library(CHECKER)
    if library is None:
        raise ValueError(f"lib{CHECKER} is not here, which glibc checks the heap with: --no-guard")
    return {"LD_PRELOAD": library, "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}


def evaluation(arguments: Arguments, logdir: pathlib.Path, seed: int) -> Seen:
    """Evaluates once in a process of its own, into a folder of its own."""
    flags = ("--missing", "none", "--episodes", str(arguments.episodes), "--seed", str(seed))
    command = [
        *(sys.executable, "-m", "experiments.evaluate"),
        *("--logdir", str(logdir), "--envs", str(arguments.envs), *flags),
        *("--out", str(logdir / f"out-{seed}")),
    ]
    # Its environments, which are processes of their own, inherit what guards it.
    guard = {"PYTHONFAULTHANDLER": "1", **(guarded() if arguments.guard else {})}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **guard}
        )
        looks = list(memory(process))
        errors.seek(0)
        said = errors.read()
    return Seen(process.returncode, said, looks[len(looks) // 2], looks[-1])


def memory(process: subprocess.Popen) -> Iterator[tuple[float, float]]:
    """MiB resident in a process and in the largest of its children, until it ends."""
    yield 0.0, 0.0
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(process.pid)
            children = [child.memory_info().rss for child in own.children(recursive=True)]
            # One that has ended and was not waited for has nothing.
            if largest := max(children, default=0):
                yield own.memory_info().rss / 2**20, largest / 2**20
        time.sleep(PAUSE)


def evaluations(
    arguments: Arguments, folder: pathlib.Path, console: Console
) -> dict[str, list[Seen]]:
    """What was seen of each evaluation, by task; a line each is printed.

    Raises:
        ValueError: fewer than one evaluation, or no task.
    """
    if min(arguments.count, arguments.episodes, len(arguments.tasks)) < 1:
        raise ValueError("--tasks, --count and --episodes must be at least one")
    logdirs = {task: folder / envs.folder(task).replace("/", "-") for task in arguments.tasks}
    for task, logdir in logdirs.items():
        untrained(task, logdir)
    found: dict[str, list[Seen]] = {task: [] for task in arguments.tasks}
    for number in range(arguments.count):
        task = arguments.tasks[number % len(arguments.tasks)]
        seen = evaluation(arguments, logdirs[task], number)
        found[task].append(seen)
        how = "ended" if seen.status == 0 else f"DIED ({_named(seen.status)})"
        own, child = seen.end
        console.print(f"{number + 1}/{arguments.count} {task} {how}, {own:.0f} and {child:.0f} MiB")
        if seen.said:
            console.print(seen.said, markup=False)
    return found


def table(found: dict[str, list[Seen]]) -> Table:
    """A row a task: evaluations, how many died or said something, and the largest memory."""
    result = Table("task", "evaluations", "died", "on stderr", title="MiB: half way, at the end")
    for who in ("evaluation", "an environment"):
        result.add_column(who)
    for task, all_seen in found.items():
        died = sum(seen.status != 0 for seen in all_seen)
        said = sum(bool(seen.said) for seen in all_seen)
        sizes = [
            f"{max(s.middle[who] for s in all_seen):.0f}, {max(s.end[who] for s in all_seen):.0f}"
            for who in (0, 1)
        ]
        result.add_row(task, str(len(all_seen)), str(died), str(said), *sizes)
    return result


def _named(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, evaluates and shows; exit status 1 if anything died or spoke."""
    with explain():
        asked = tyro.cli(
            Arguments, prog="python -m experiments.benchmarks.evaluations", args=arguments
        )
        console = Console()
        with tempfile.TemporaryDirectory() as folder:
            found = evaluations(asked, pathlib.Path(folder), console)
        console.print(table(found))
        if any(seen.status or seen.said for rows in found.values() for seen in rows):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
