"""Runs of a few seconds for the tests of the commands."""

import os
import pathlib
import subprocess
import sys

from experiments.command_line import parse_config
from experiments.train import train
from mummi.config import Config

FLAGS = (
    *("--preset", "debug", "--steps", "400", "--prefill", "20", "--updates-per-1000", "20"),
    *("--batch-length", "6", "--evaluate-every", "0", "--log-every", "100", "--missing", "none"),
)
"""An episode of the dummy task is 40 environment steps, so updates are due before one ends."""


def flags(logdir: pathlib.Path, *more: str, task: str = "dummy") -> list[str]:
    """Arguments of experiments.train; later ones win."""
    return ["--task", task, "--logdir", str(logdir), *FLAGS, *more]


def config(logdir: pathlib.Path, *more: str, task: str = "dummy") -> Config:
    """What those arguments mean."""
    return parse_config(flags(logdir, *more, task=task))


def run(logdir: pathlib.Path, *more: str, task: str = "dummy") -> Config:
    """Trains in this process."""
    settings = config(logdir, *more, task=task)
    train(settings)
    return settings


def target_updates(settings: Config) -> int:
    """Updates that a finished run must have made."""
    steps = settings.steps - settings.prefill
    return settings.pretrain + int(steps * settings.updates_per_1000 / 1000)


def start(module: str, *arguments: str) -> subprocess.Popen:
    """A command in a process of its own, its output piped, compiled as by ``quick_compile``."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=pathlib.Path(__file__).parents[2],
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
