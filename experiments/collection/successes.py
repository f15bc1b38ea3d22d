"""Demonstrations that succeed, a file for each task: of LIBERO and of MetaWorld."""

import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from envs.processes.parallel import ParallelEnvironments
from experiments.collection.episodes import DEMONSTRATION, record, settings
from experiments.collection.policy import Policy
from mummi.config import Config
from mummi.imitation.demonstrations import Demonstration, DemonstrationWriter
from mummi.modality import Modality
from mummi.training.stop import Stop

ATTEMPTS = 20
"""Attempts at one demonstration, after which the command gives up."""


class Target(NamedTuple):
    """One task that is recorded, and its file.

    Attributes:
        task: its name.
        path: the file.
        modalities: what is written of the sensors.
        action_size: numbers of an action.
        env_args: what ``env_args`` of the file has beside the settings of the environment.
        attributes: what else the file says of all demonstrations.
        start: options of the environment in which a demonstration of some number is played.
        written: what is written of a demonstration that was played.
    """

    task: str
    path: pathlib.Path
    modalities: Sequence[Modality]
    action_size: int
    env_args: Mapping[str, Any]
    attributes: Mapping[str, Any]
    start: Callable[[int], Mapping[str, Any]]
    written: Callable[[Demonstration], Demonstration]


Attempt = Callable[[ParallelEnvironments, Sequence[int]], list[Demonstration]]
"""Plays one episode of an environment, by a seed; no episode when it was stopped."""


def folder(out: str) -> pathlib.Path:
    """The folder of several tasks' files.

    Raises:
        ValueError: a file is named.
    """
    path = pathlib.Path(out)
    if path.suffix in (".hdf5", ".h5") or path.is_file():
        raise ValueError(
            f"--out {out!r} looks like a file; several tasks are recorded into a folder, one file "
            "a task"
        )
    return path


def collect(arguments, config: Config, targets: Iterable[Target]) -> None:
    """Records what the files of some tasks lack.

    Args:
        arguments: those of experiments.collect; its ``episodes`` counts those of each task.
        config: settings of the environments.
        targets: the tasks.

    Raises:
        ValueError: several environments are asked for, or a file holds something else.
        RuntimeError: the policy fails again and again.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on.
    """
    policy = Policy(arguments.policy, config)
    if config.envs > 1:
        raise ValueError(
            f"--envs is {config.envs}; {config.task} is recorded by one environment a command: "
            "start a command for each task"
        )
    env_args = {"env_kwargs": settings(config), "policy": policy.label}
    env_args |= {**arguments.disturbance, "seed": config.seed}
    with Stop() as stop:

        def attempt(pool: ParallelEnvironments, seed: Sequence[int]) -> list[Demonstration]:
            random = [np.random.default_rng(seed)]
            noise = (arguments.noise, arguments.noise_steps)
            return record(pool, policy.actor(pool, random), random, *noise, stop, lambda: None)

        for target in targets:
            collect_task(target, arguments, env_args, attempt, stop)
            if stop.requested:
                raise KeyboardInterrupt(f"stopped in {target.path}; the same command goes on")
            print(summary(target.path))


def collect_task(
    target: Target, arguments, env_args: Mapping[str, Any], attempt: Attempt, stop: Stop
) -> None:
    """Records what a file lacks, and prints a line for each demonstration.

    Args:
        target: the task.
        arguments: those of experiments.collect: how many demonstrations the file is to hold, and
            which sensors fail.
        env_args: what the demonstrations are made with, which the file tells, ``env_kwargs`` and
            ``seed`` among it.
        attempt: plays an episode.
        stop: where its ``requested`` is true, the rest is left.

    Raises:
        ValueError: the file holds something else.
        RuntimeError: no attempt succeeds.
    """
    told = target.modalities, target.action_size, {**env_args, **target.env_args}
    with DemonstrationWriter(target.path, *told, target.attributes) as writer:
        while (number := len(writer)) < arguments.episodes and not stop.requested:
            for made in succeed(target, number, env_args, attempt, arguments.missing):
                writer.append(target.written(made))
                print(
                    f"{target.task} demonstration {number + 1}/{arguments.episodes}: "
                    f"{len(made.actions)} steps, attempt {made.attributes['attempts']}",
                    flush=True,
                )


def succeed(
    target: Target,
    number: int,
    env_args: Mapping[str, Any],
    attempt: Attempt,
    missing: str = "none",
) -> list[Demonstration]:
    """Attempts demonstration ``number`` until it succeeds; none when it was stopped.

    ``missing`` is the script of failing sensors.

    Raises:
        RuntimeError: no attempt succeeds.
    """
    start = {"processes": False, "missing": missing, **target.start(number)}
    for count in range(ATTEMPTS):
        seed = env_args["seed"], DEMONSTRATION, number, count
        with ParallelEnvironments(target.task, [seed], **env_args["env_kwargs"], **start) as pool:
            made = attempt(pool, seed)
        if not made or made[0].attributes["success"]:
            tried = {"attempts": count + 1}
            return [one._replace(attributes=one.attributes | tried) for one in made]
    raise RuntimeError(
        f"{ATTEMPTS} attempts at demonstration {number} of {target.task} failed; only successful "
        "demonstrations are recorded"
    )


def summary(path: pathlib.Path) -> str:
    """One line: what a file holds, and from how many attempts."""
    with h5py.File(path) as file:
        demos = [file["data"][name].attrs for name in file["data"]]
        steps = [demo["num_samples"] for demo in demos]
        attempts = sum(int(demo["attempts"]) for demo in demos)
    return (
        f"{path}: {len(demos)} demonstrations from {attempts} attempts, "
        f"steps {np.mean(steps):.4g} ± {np.std(steps):.2g}"
    )
