"""Demonstrations that succeed, of one task or of several: a file a task, or one dataset."""

import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import envs
from envs.processes.parallel import ParallelEnvironments
from experiments.collection.episodes import DEMONSTRATION, check_noise, settings
from experiments.collection.policy import Policy
from mummi.config import Config
from mummi.imitation.demonstrations import (
    INSTRUCTION,
    Demonstration,
    DemonstrationWriter,
    LeRobotWriter,
    Reading,
    Writer,
    open_data,
)
from mummi.modality import Modality
from mummi.training.stop import Stop

ATTEMPTS = 20
"""Attempts at one demonstration, after which the command gives up."""


class Target(NamedTuple):
    """One task that is recorded, and its file.

    Attributes:
        task: its name.
        instruction: its sentence.
        rate: its control steps a second.
        path: the file, where each task has one.
        modalities: what the file holds of the sensors.
        action_size: numbers of an action.
        env_args: what ``env_args`` of the file has beside the settings of the environment.
        attributes: what else the file says of all demonstrations.
        start: options of the environment in which a demonstration of some number is played.
        written: what the file gets of a demonstration that was played.
    """

    task: str
    instruction: str
    rate: float
    path: pathlib.Path
    modalities: Sequence[Modality]
    action_size: int
    env_args: Mapping[str, Any]
    attributes: Mapping[str, Any]
    start: Callable[[int], Mapping[str, Any]]
    written: Callable[[Demonstration], Demonstration]


Attempt = Callable[[ParallelEnvironments, Sequence[int]], list[Demonstration]]
"""Plays one episode of an environment, by a seed; no episode when it was stopped."""
Play = Callable[[Target, int], list[Demonstration]]
"""Gives a demonstration of a task by its number, and none when it was stopped."""


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
    """Records what the files of some tasks lack, or what one dataset lacks of all of them.

    Args:
        arguments: those of experiments.collect; its ``episodes`` counts those of each task.
        config: settings of the environments.
        targets: the tasks.

    Raises:
        ValueError: several environments are asked for, a file holds something else, or the noise
            is of another number of actions.
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
            return policy.record(pool, random, arguments, stop, lambda: None)

        def play(target: Target, number: int) -> list[Demonstration]:
            # What an expert answers is worth most where the policy fails.
            failures_too = arguments.label == "expert"
            return succeed(target, number, env_args, attempt, arguments.missing, failures_too)

        def checked() -> Iterator[Target]:
            for target in targets:
                check_noise(arguments.noise, target.action_size)
                yield target

        place = into_dataset if arguments.format == "lerobot" else into_files
        place(arguments, config, checked(), env_args, play, stop)


def into_files(
    arguments,
    config: Config,
    targets: Iterable[Target],
    env_args: Mapping[str, Any],
    play: Play,
    stop: Stop,
) -> None:
    """Records each task into its file.

    Args:
        arguments, config, targets: as of ``collect``.
        env_args: what the demonstrations are made with, which the file tells.
        play: gives a demonstration of a task by its number.
        stop: where its ``requested`` is true, the rest is left.
    """
    for target in targets:
        told = target.modalities, target.action_size, {**env_args, **target.env_args}
        with DemonstrationWriter(target.path, *told, target.attributes) as writer:
            for _, made in lacking((target,), writer, arguments.episodes, play, stop):
                writer.append(target.written(made))
        conclude(target.path, stop)


def into_dataset(
    arguments,
    config: Config,
    targets: Iterable[Target],
    env_args: Mapping[str, Any],
    play: Play,
    stop: Stop,
) -> None:
    """Records the tasks in turn into one LeRobot dataset; arguments as of ``into_files``.

    It has the sensors of the environment; the instruction is the task of each episode.
    """
    targets = tuple(targets)
    first = targets[0]
    stored = {"fps": first.rate / config.action_repeat} | arguments.stored
    environment = envs.make(first.task, **settings(config))
    sensors = [m for m in environment.modalities if m.name != INSTRUCTION]
    environment.close()
    told = {**env_args, "type": first.env_args["type"], "env_name": config.task}
    with LeRobotWriter(arguments.out, sensors, first.action_size, told, **stored) as writer:
        for target, made in lacking(targets, writer, arguments.episodes, play, stop):
            writer.append(with_sentence(made, target.instruction))
    conclude(arguments.out, stop)


def lacking(
    targets: Sequence[Target], writer: Writer, episodes: int, play: Play, stop: Stop
) -> Iterator[tuple[Target, Demonstration]]:
    """The demonstrations that a writer lacks, each to be appended, and a line for each.

    Args:
        targets: which take turns.
        writer: counts what there is.
        episodes: demonstrations of each task that there are to be.
        play, stop: as of ``into_files``.
    """
    while (count := len(writer)) < episodes * len(targets) and not stop.requested:
        number, turn = divmod(count, len(targets))
        target = targets[turn]
        for made in play(target, number):
            yield target, made
            print(
                f"{target.task} demonstration {number + 1}/{episodes}: {len(made.actions)} steps, "
                f"attempt {made.attributes['attempts']}",
                flush=True,
            )


def conclude(path: str | pathlib.Path, stop: Stop) -> None:
    """Prints what was recorded.

    Raises:
        KeyboardInterrupt: it was stopped.
    """
    if stop.requested:
        raise KeyboardInterrupt(f"stopped in {path}; the same command goes on")
    print(summary(path))


def with_sentence(made: Demonstration, sentence: str) -> Demonstration:
    """The instruction as a sentence: readers make of it what their sensor is."""
    available = made.available and {n: a for n, a in made.available.items() if n != INSTRUCTION}
    return made._replace(
        values={name: value for name, value in made.values.items() if name != INSTRUCTION},
        available=available,
        attributes=made.attributes | {INSTRUCTION: sentence},
    )


def succeed(
    target: Target,
    number: int,
    env_args: Mapping[str, Any],
    attempt: Attempt,
    missing: str = "none",
    failures_too: bool = False,
) -> list[Demonstration]:
    """Attempts demonstration ``number`` until it succeeds; none when it was stopped.

    ``missing`` is the script of failing sensors. With ``failures_too`` the first attempt is taken
    as it is.

    Raises:
        RuntimeError: no attempt succeeds.
    """
    start = {"processes": False, "missing": missing, **target.start(number)}
    for count in range(ATTEMPTS):
        seed = env_args["seed"], DEMONSTRATION, number, count
        with ParallelEnvironments(target.task, [seed], **env_args["env_kwargs"], **start) as pool:
            made = attempt(pool, seed)
        if not made or made[0].attributes["success"] or failures_too:
            tried = {"attempts": count + 1}
            return [one._replace(attributes=one.attributes | tried) for one in made]
    raise RuntimeError(
        f"{ATTEMPTS} attempts at demonstration {number} of {target.task} failed; only successful "
        "demonstrations are recorded"
    )


def summary(path: str | pathlib.Path) -> str:
    """One line: what data hold, and from how many attempts."""
    with open_data(path, Reading(obs=())) as data:
        found = [(len(made.actions), int(made.attributes["attempts"])) for made in data]
    steps, attempts = zip(*found, strict=True)
    return (
        f"{path}: {len(found)} demonstrations from {sum(attempts)} attempts, "
        f"steps {np.mean(steps):.4g} ± {np.std(steps):.2g}"
    )
