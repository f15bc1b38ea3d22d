"""Records demonstrations: python -m experiments.collect --task walker_walk --out walk.hdf5."""

import contextlib
import dataclasses
import itertools
import pathlib
import re
import sys
import time

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from envs.processes.parallel import ParallelEnvironments
from experiments.command_line import explain, parse_config
from experiments.evaluation.rollout import Act, agent_actor, expert_actor
from mummi.agent import Agent
from mummi.config import Config
from mummi.imitation.demonstrations import Demonstration, Demonstrations, DemonstrationWriter
from mummi.imitation.pilot import load_pilot
from mummi.imitation.record import is_imitation
from mummi.runs import record as run
from mummi.runs.checkpoint import Checkpointer
from mummi.training.stop import Stop

DEMONSTRATION = 2
"""Second entry of every seed here; training seeds have 0 there, evaluation seeds 1."""
SETTINGS = ("task", "preset", "seed", "envs", "env", "image-size", "action-repeat", "background")
"""Flags of experiments.train that matter here."""
GYM = 2
"""robomimic's number for environments that are not robosuite's."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Records whole episodes with every sensor into an HDF5 file of robomimic's layout.

    The same command goes on after a kill; more --episodes add to the file. Of experiments.train's
    flags it takes --task, --preset, --seed, --envs, --env.NAME, --image-size, --action-repeat and
    --background, with the same defaults.

    Of LIBERO only episodes that succeed are recorded, in LIBERO's own layout, and --episodes counts
    those of each task.

    Attributes:
        out: the HDF5 file; for a suite of LIBERO a folder, which gets a file for each task.
        policy: expert (the task's own, which knows the true state), random, or the folder of a
            run of experiments.train or experiments.imitate.
        episodes: demonstrations that the file is to hold.
        noise: standard deviation of Gaussian noise on the actions that are executed; heads learn
            the policy's own (DART), world models what was executed.
        noise_steps: steps that each draw of the noise lasts; several in a row drive the robot to
            where the policy has to find back from.
    """

    out: str
    policy: str = "expert"
    episodes: int = 50
    noise: float = 0.0
    noise_steps: int = 1

    @property
    def disturbance(self) -> dict[str, float]:
        """What a file says of the noise."""
        held = {"noise_steps": self.noise_steps} if self.noise_steps > 1 else {}
        return {"noise": self.noise} | held


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
    for name, least in (("episodes", 1), ("noise", 0), ("noise_steps", 1)):
        if not getattr(own, name) >= least:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} is {getattr(own, name)}; it must be at least {least}")
    return own, parse_config(rest)


class Policy:
    """What acts: the expert, random actions, or the mode of a trained agent.

    Args:
        name: as ``Arguments.policy``.
        config: settings of the environments.

    Attributes:
        label: the name, and the step of a trained agent.

    Raises:
        ValueError: a run of another task.
        FileNotFoundError: neither expert, random nor a run.
    """

    def __init__(self, name: str, config: Config):
        self.label, self._config, self._record = name, config, None
        if name in ("expert", "random"):
            return
        if not pathlib.Path(name).is_dir():
            raise FileNotFoundError(
                f"--policy {name!r} is neither expert nor random nor the folder of a run"
            )
        self._record = record = run.load(name)
        if record.config.task != config.task:
            raise ValueError(f"{name!r} was trained on {record.config.task}, not {config.task}")
        if is_imitation(name):
            (self._agent, step), self._state = load_pilot(name), None
        else:
            self._agent = Agent(*record[:3])
            like = jax.eval_shape(self._agent.init, 0)
            self._state, meta = Checkpointer(pathlib.Path(name) / "checkpoints").restore(like)
            step = meta["step"]
        self.label = f"{name} at step {step}"

    def actor(self, environments: ParallelEnvironments, random) -> Act:
        """Acts in K environments; ``random`` is a generator for each.

        Raises:
            ValueError: the environments have not the sensors or action repeat of the trained agent.
        """
        if self._record is None:
            if self.label == "expert":
                return expert_actor(environments)
            size = environments.action_size
            return lambda *_: np.array([r.uniform(-1, 1, size) for r in random], np.float32)
        record = self._record
        for name, there, needed in (
            ("sensors", environments.modalities, record.modalities),
            ("action repeat", environments.action_repeat, record.config.action_repeat),
        ):
            if there != needed:
                raise ValueError(
                    f"{self.label} was trained with {name} {needed}, and these environments have "
                    f"{there}: give the --preset, --image-size, --action-repeat and --env it had"
                )
        return agent_actor(self._agent, self._state, len(environments), self._config.seed)


def record(
    environments: ParallelEnvironments, act: Act, random, arguments: Arguments, stop, report
):
    """One whole episode of each of K environments.

    Args:
        environments: before their first reset.
        act: chooses the actions.
        random: a generator for each environment, for the noise.
        arguments: how the executed actions are disturbed.
        stop: where its ``requested`` is true, the episodes are abandoned.
        report: called at every step.

    Returns:
        K demonstrations, none when it was stopped.

    Raises:
        ValueError: a sensor did not deliver: demonstrations are complete.
    """
    count, size = len(environments), environments.action_size
    steps, done = [[] for _ in range(count)], [None] * count
    batch, disturbance = environments.reset(), np.zeros((count, size))
    for step in itertools.count():
        for k in range(count):
            if batch.is_first[k] and done[k] is None:
                steps[k] = []  # also where a lost worker was replaced
            elif done[k] is None:
                steps[k][-1]["reward"] = batch.reward[k]
                if batch.is_last[k]:
                    done[k] = batch.info[k] | {"is_terminal": bool(batch.is_terminal[k])}
        if all(info is not None for info in done):
            break
        if stop.requested:
            return []
        for name, available in batch.available.items():
            if not available.all():
                raise ValueError(
                    f"sensor {name!r} did not deliver; demonstrations need all sensors"
                )
        states, actions = environments.physics_state(), act(batch, range(count))
        if step % arguments.noise_steps == 0:
            disturbance = arguments.noise * np.array([r.standard_normal(size) for r in random])
        executed = np.clip(actions + disturbance, -1, 1)
        for k in range(count):
            if done[k] is None:
                values = {name: value[k] for name, value in batch.values.items()}
                row = {"values": values, "action": actions[k], "executed": executed[k]}
                steps[k].append(row | {"state": states[k]})
        batch = environments.step(executed)
        report()
    return [_demonstration(rows, info) for rows, info in zip(steps, done, strict=True)]


def _demonstration(rows: list[dict], info: dict) -> Demonstration:
    names = rows[0]["values"]
    wanted, executed = (np.stack([row[name] for row in rows]) for name in ("action", "executed"))
    return Demonstration(
        values={name: np.stack([row["values"][name] for row in rows]) for name in names},
        actions=wanted,
        rewards=np.array([row["reward"] for row in rows], np.float32),
        dones=np.arange(len(rows)) == len(rows) - 1,
        states=None if rows[0]["state"] is None else np.stack([row["state"] for row in rows]),
        attributes=info,
        executed=None if np.array_equal(wanted, executed) else executed.astype(np.float32),
    )


def collect(arguments: Arguments, config: Config) -> None:
    """Records what the file lacks, and prints the returns of all that it holds.

    Raises:
        ValueError: the file holds something else, or demonstrations made with other settings.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on.
    """
    policy = Policy(arguments.policy, config)
    settings = config.env | {
        "image_size": config.image_size,
        "background": config.background,
        "action_repeat": config.action_repeat,
    }
    env_args = {
        "env_name": config.task,
        "type": GYM,
        "env_kwargs": settings,
        "policy": policy.label,
        **arguments.disturbance,
        "seed": config.seed,
    }

    def environments(episodes: list[int]) -> ParallelEnvironments:
        # A seed for each episode, so that it is the same wherever the command was stopped.
        seeds = [(config.seed, DEMONSTRATION, episode) for episode in episodes]
        return ParallelEnvironments(config.task, seeds, processes=len(seeds) > 1, **settings)

    with environments([0]) as first:
        sensors = (first.modalities, first.action_size)
        policy.actor(first, [])
        if arguments.policy == "expert":
            first.expert_action()  # refused for a task without an expert
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(DemonstrationWriter(arguments.out, *sensors, env_args))
        stop = stack.enter_context(Stop())
        bar = stack.enter_context(_Bar(arguments.episodes, len(writer)))
        while len(writer) < arguments.episodes and not stop.requested:
            start = len(writer) - len(writer) % config.envs
            episodes = list(range(start, min(start + config.envs, arguments.episodes)))
            random = [np.random.default_rng([config.seed, DEMONSTRATION, e]) for e in episodes]
            with environments(episodes) as pool:
                options = (random, arguments, stop, bar.step)
                made = record(pool, policy.actor(pool, random), *options)
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


def summary(path: str) -> str:
    """One line: returns, and what else was logged at the end of each demonstration."""
    with Demonstrations(path, modalities=()) as demonstrations:
        rows = [
            {"return": float(d.rewards.sum()), "steps": float(len(d.rewards))} | d.attributes
            for d in demonstrations
        ]
    parts = [f"{path}: {len(rows)} demonstrations"]
    for name in ("return", "steps", "success", "wiped"):
        if values := [row[name] for row in rows if name in row]:
            parts.append(f"{name} {np.mean(values):.4g} ± {np.std(values):.2g}")
    return ", ".join(parts)


class _Bar:
    """Episodes and steps a second: a bar on a terminal, a line an episode elsewhere."""

    def __init__(self, total: int, done: int):
        console = Console()
        self._total, self._steps, self._start = total, 0, time.monotonic()
        self._lines = not console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=self._lines,
            expand=True,
        )
        self._task = self._bar.add_task("starting", total=total, completed=done)
        self._done, self._return = done, ""

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def step(self) -> None:
        self._steps += 1
        self._bar.update(self._task, description=f"{self._return}{self._rate} steps/s")

    def episode(self, demonstration: Demonstration) -> None:
        self._done += 1
        self._return = f"return {demonstration.rewards.sum():.1f}  "
        self._bar.update(self._task, completed=self._done)
        if self._lines:
            line = f"demonstration {self._done}/{self._total}  {self._return}{self._rate} steps/s"
            print(line, flush=True)

    @property
    def _rate(self) -> str:
        return f"{self._steps / (time.monotonic() - self._start):.1f}"


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and records."""
    with explain():
        own, config = parse(arguments)
        if config.task.startswith("libero"):
            from experiments.collection import (
                libero as libero_collect,  # needs LIBERO, which is an extra
            )

            libero_collect.collect(own, config, Policy(own.policy, config), record)
        else:
            collect(own, config)


if __name__ == "__main__":
    main()
