"""Demonstrations of the dummy task and short imitation runs, for the tests of imitation."""

import pathlib

import jax
import numpy as np

import envs
from envs.failures.script import load_script
from experiments.imitate import imitate, parse
from mummi.agent import Agent
from mummi.config import Config
from mummi.imitation.demonstrations import Demonstration, DemonstrationWriter
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.record import Run
from mummi.runs.record import save as save_run
from tests.support import tiny

STEPS = 12
SIZE = 8
"""Pixels of a side of images."""
FLAGS = (
    *("--task", "dummy", "--preset", "debug", "--image-size", str(SIZE), "--background", "none"),
    *("--action-repeat", "1", "--batch-length", "6", "--copies", "2"),
    *("--missing", "medium", "--evaluate-episodes", "1", "--evaluate-missing", "none"),
)
TINY = {
    "bc": ("--head.windows", "160", "--head.units", "8"),
    "retrieval": (
        *("--head.retrieval.prediction.epochs", "1", "--head.retrieval.prediction.head-epochs"),
        *("1", "--head.retrieval.no-impute", "--head.retrieval.validation", "0"),
    ),
}
"""Flags that make a head small which the preset does not."""


def action(step: int, episode: int) -> np.ndarray:
    """What the demonstrator does: a swing of its own in each episode."""
    return np.array([np.sin(step / 2 + episode), 0.5 * np.cos(step / 3)], np.float32)


def demonstration(episode: int, steps: int = STEPS) -> Demonstration:
    """One episode of the dummy task."""
    environment = envs.make("dummy", seed=episode, image_size=SIZE, length=20)
    step, rows = environment.reset(), []
    for t in range(steps):
        before, acted = step, action(t, episode)
        step = environment.step(acted)
        rows.append((before.values, acted, np.float32(step.reward), step.is_last))
    values, actions, rewards, dones = zip(*rows, strict=True)
    stacked = {name: np.stack([v[name] for v in values]) for name in values[0]}
    return Demonstration(stacked, np.stack(actions), np.array(rewards), np.array(dones))


def write(path: pathlib.Path, episodes: int = 6) -> pathlib.Path:
    """A file of demonstrations."""
    environment = envs.make("dummy", image_size=SIZE)
    kwargs = {"env_name": "dummy", "type": 2, "env_kwargs": {"action_repeat": 1}}
    sensors = (environment.modalities, environment.action_size)
    with DemonstrationWriter(path, *sensors, kwargs) as writer:
        for episode in range(episodes):
            writer.append(demonstration(episode))
    return path


def flags(logdir: pathlib.Path, data: pathlib.Path, head: str, *more: str) -> list[str]:
    """Arguments of experiments.imitate; later ones win."""
    own = ("--data", str(data), "--head", head, "--logdir", str(logdir))
    trained = () if "--world-model" in more else ("--updates", "8", "--held-out", "0.2")
    return [*own, *FLAGS, *trained, *TINY.get(head, ()), *more]


def run(logdir: pathlib.Path, data: pathlib.Path, head: str, *more: str) -> pathlib.Path:
    """Trains and evaluates in this process."""
    return imitate(*parse(flags(logdir, data, head, *more)))


def untrained(logdir: pathlib.Path, step: int | None = None) -> Config:
    """A run of experiments.train on the dummy task, with a checkpoint of its start at ``step``."""
    config = tiny.config(logdir)
    environment = envs.make("dummy", image_size=config.image_size)
    sensors = (environment.modalities, environment.action_size)
    save_run(logdir, Run(config, *sensors, load_script(config.missing).to_dict()))
    if step is not None:
        state = jax.jit(Agent(config, *sensors).init)(config.seed)
        Checkpointer(logdir / "checkpoints").save(step, state, {"step": step})
    return config
