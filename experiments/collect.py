"""Records demonstrations: python -m experiments.collect --task walker_walk --out walk.hdf5."""

import contextlib
import dataclasses
import importlib
import re
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import tyro

from envs.failures.script import load_script
from envs.processes.parallel import ParallelEnvironments
from experiments.collection import successes
from experiments.collection.bar import Bar
from experiments.collection.episodes import DEMONSTRATION, GYM, check_noise, settings
from experiments.collection.policy import Policy
from experiments.command_line import explain, parse_config
from mummi.config import Config
from mummi.imitation.demonstrations import Reading, find_writer, open_data
from mummi.imitation.demonstrations.lerobot.writer import Images
from mummi.modality import Modality
from mummi.training.stop import Stop

SETTINGS = ("task", "preset", "seed", "envs", "env", "image-size", "action-repeat", "background")
"""Flags of experiments.train that matter here."""
BY_TASK = ("libero", "metaworld", "robomimic")
"""Beginnings of tasks of which only successes are recorded, so many of each task."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Records whole episodes into an HDF5 file of robomimic's layout, or a LeRobot v3 dataset.

    The same command goes on after a kill; more --episodes add to the file. Of experiments.train's
    flags it takes --task, --preset, --seed, --envs, --env.NAME, --image-size, --action-repeat and
    --background, with the same defaults.

    Of LIBERO, MetaWorld and robomimic only episodes that succeed are recorded, and --episodes
    counts those of each task. LIBERO's HDF5 files have its own layout; a LeRobot dataset holds all
    tasks of a suite or a group in turn.

    Attributes:
        out: the HDF5 file, or the folder of the LeRobot dataset; for a suite of LIBERO or a group
            of MetaWorld in HDF5 a folder, which gets a file for each task.
        policy: expert (the task's own, which knows the true state), random, or the folder of a
            run of experiments.train or experiments.imitate.
        label: policy records the actions of what acts; expert those that the task's expert answers
            in the states to which the policy leads (DAgger), of LIBERO and MetaWorld whether an
            episode succeeds or not. The expert of LIBERO goes through phases and may answer by one
            that the policy has left.
        missing: sensors that fail while it is recorded, as of experiments.train: none, medium,
            high, published_medium, published_high, or a YAML file. The file tells at which steps
            each delivered. The expert, who knows the true state, acts as before.
        episodes: demonstrations that the file is to hold.
        noise: standard deviation of Gaussian noise on the actions that are executed, one of all
            or one of each; heads learn the policy's own (DART), world models what was executed.
        noise_steps: steps that each draw of the noise lasts; several in a row drive the robot to
            where the policy has to find back from.
        format: robomimic, which is this package's own in HDF5, or lerobot.
        fps: with lerobot, steps a second that the dataset tells; 20 by default, of LIBERO and
            MetaWorld their own rate over the action repeat.
        images: with lerobot, how images are stored: in videos as h264 (the default) or av1, or
            losslessly as png.
    """

    out: str
    policy: str = "expert"
    label: Literal["policy", "expert"] = "policy"
    missing: str = "none"
    episodes: int = 50
    noise: tuple[float, ...] = (0.0,)
    noise_steps: int = 1
    format: str = "robomimic"
    fps: int | None = None
    images: Images | None = None

    @property
    def stored(self) -> dict[str, Any]:
        """Settings of the LeRobot dataset that were given."""
        given = {"fps": self.fps, "images": self.images}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def disturbance(self) -> dict[str, Any]:
        """What a file says of the noise, the label and of sensors that failed."""
        held = {"noise_steps": self.noise_steps} if self.noise_steps > 1 else {}
        script = load_script(self.missing)
        failing = {"missing": script.to_dict()} if script.rules else {}
        labelled = {"label": self.label} if self.label != "policy" else {}
        noise = self.noise[0] if len(self.noise) == 1 else list(self.noise)
        return {"noise": noise} | held | failing | labelled


def parse(arguments: list[str] | None = None) -> tuple[Arguments, Config]:
    """The command's own flags, and the rest as the settings of the environments.

    Raises:
        ValueError: a flag of training that has no meaning here, or a bad value.
    """
    own, rest = tyro.cli(
        Arguments,
        prog="python -m experiments.collect",
        args=sys.argv[1:] if arguments is None else arguments,
        return_unknown_args=True,
    )
    for flag in rest:
        name = re.split(r"[.=]", flag.removeprefix("--"))[0].replace("_", "-")
        if flag.startswith("--") and name not in SETTINGS:
            raise ValueError(
                f"unknown flag --{name}; next to its own this command takes "
                + ", ".join(f"--{name}" for name in SETTINGS)
            )
    if not all(std >= 0 for std in own.noise):
        raise ValueError(f"--noise is {' '.join(map(str, own.noise))}; none may be below 0")
    for name, least in (("episodes", 1), ("noise_steps", 1)):
        if not getattr(own, name) >= least:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} is {getattr(own, name)}; it must be at least {least}")
    if own.policy == own.label:
        raise ValueError("--label expert is what --policy expert records; name another policy")
    config = parse_config(rest)
    find_writer(own.format)
    if own.format != "lerobot" and own.stored:
        raise ValueError(f"--{next(iter(own.stored))} needs --format lerobot")
    return own, config


def collect(arguments: Arguments, config: Config) -> None:
    """Records what the file lacks, and prints the returns of all that it holds.

    Raises:
        ValueError: the file holds something else, or demonstrations made with other settings.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on.
    """
    policy = Policy(arguments.policy, config)
    sensors = task_sensors(policy, arguments, config)
    with contextlib.ExitStack() as stack:
        said = env_args(policy, arguments, config)
        make = find_writer(arguments.format)
        writer = stack.enter_context(make(arguments.out, *sensors, said, **arguments.stored))
        stop = stack.enter_context(Stop())
        bar = stack.enter_context(Bar(arguments.episodes, len(writer)))
        while len(writer) < arguments.episodes and not stop.requested:
            # Groups begin at multiples of K, wherever the command was stopped.
            start = len(writer) - len(writer) % config.envs
            episodes = range(start, min(start + config.envs, arguments.episodes))
            random = [np.random.default_rng([config.seed, DEMONSTRATION, e]) for e in episodes]
            with environments(config, episodes, arguments.missing) as pool:
                made = policy.record(pool, random, arguments, stop, bar.step)
            for episode, demonstration in zip(episodes, made, strict=False):
                if episode == len(writer):
                    writer.append(demonstration)
                    bar.episode(demonstration)
        count = len(writer)
    if stop.requested and count < arguments.episodes:
        raise KeyboardInterrupt(
            f"stopped with {count} of {arguments.episodes} demonstrations; the same command goes on"
        )
    print(summary(arguments.out))


def environments(
    config: Config, episodes: Sequence[int], missing: str = "none"
) -> ParallelEnvironments:
    """An environment for each episode, seeded by its number: when it is played changes nothing."""
    seeds = [(config.seed, DEMONSTRATION, episode) for episode in episodes]
    parallel = {"processes": len(seeds) > 1, "missing": missing}
    return ParallelEnvironments(config.task, seeds, **parallel, **settings(config))


def task_sensors(
    policy: Policy, arguments: Arguments, config: Config
) -> tuple[tuple[Modality, ...], int]:
    """Modalities and action size of the task.

    Raises:
        ValueError: the policy cannot act in it, or the noise is of another number of actions.
    """
    with environments(config, [0]) as one:
        policy.actor(one, [])
        check_noise(arguments.noise, one.action_size)
        if "expert" in (arguments.policy, arguments.label):
            one.reset()
            one.expert_action()  # refused for a task without an expert
        return one.modalities, one.action_size


def env_args(policy: Policy, arguments: Arguments, config: Config) -> dict[str, Any]:
    """What the demonstrations are made with, as the file tells it."""
    return {
        "env_name": config.task,
        "type": GYM,
        "env_kwargs": settings(config),
        "policy": policy.label,
        **arguments.disturbance,
        "seed": config.seed,
    }


def summary(path: str) -> str:
    """One line: returns, and what else was logged at the end of each demonstration."""
    with open_data(path, Reading(obs=())) as demonstrations:
        rows = [
            {"return": float(d.rewards.sum()), "steps": float(len(d.rewards))} | d.attributes
            for d in demonstrations
        ]
    parts = [f"{path}: {len(rows)} demonstrations"]
    for name in ("return", "steps", "success", "wiped"):
        if values := [row[name] for row in rows if name in row]:
            parts.append(f"{name} {np.mean(values):.4g} ± {np.std(values):.2g}")
    return ", ".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and records."""
    with explain():
        own, config = parse(arguments)
        family = next((name for name in BY_TASK if config.task.startswith(name)), None)
        if family is None:
            collect(own, config)
        else:
            # It imports what is an extra.
            module = importlib.import_module(f"experiments.collection.{family}")
            successes.collect(own, config, module.targets(config, own))


if __name__ == "__main__":
    main()
