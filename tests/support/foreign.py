"""Somebody's demonstrations of no task of this package, and short runs that learn from them."""

import json
import pathlib

import h5py
import numpy as np

from experiments.imitate import imitate, parse
from tests.support.imitated import TINY

EPISODES, STEPS = 6, 12
FLAGS = (
    *("--preset", "debug", "--batch-length", "6", "--copies", "2", "--updates", "4"),
    *("--evaluate-missing", "none"),
)


def write(path: pathlib.Path) -> pathlib.Path:
    """A file by h5py alone: a camera of 20×24 pixels, a state in degrees, actions to 7.5."""
    with h5py.File(path, "w") as file:
        said = {"env_name": "bench", "type": 1, "env_kwargs": {"control_freq": 25}}
        file.create_group("data").attrs["env_args"] = json.dumps(said)
        for number in range(EPISODES):
            random = np.random.default_rng(number)
            steps = STEPS + number % 3
            phase = np.arange(steps) / 2 + number
            demo = file.create_group(f"data/demo_{number}")
            demo["actions"] = np.stack([7.5 * np.sin(phase), 0.2 * np.cos(phase)], 1)
            demo["obs/camera"] = random.integers(0, 256, (steps, 20, 24, 3), np.uint8)
            state = [90 * np.sin(phase), 45 * np.cos(phase), phase, random.normal(size=steps)]
            demo["obs/state"] = np.stack(state, 1)
    return path


def flags(logdir: pathlib.Path, data: pathlib.Path, head: str, *more: str) -> list[str]:
    """Arguments of experiments.imitate; later ones win."""
    own = ("--data", str(data), "--head", head, "--logdir", str(logdir))
    kept = FLAGS if "--world-model" not in more else FLAGS[2:6] + FLAGS[8:]
    return [*own, *kept, *TINY.get(head, ()), *more]


def run(logdir: pathlib.Path, data: pathlib.Path, head: str, *more: str) -> pathlib.Path:
    """Trains and evaluates in this process."""
    return imitate(*parse(flags(logdir, data, head, *more)))
