"""Demonstrations of robomimic's tasks, in files that robomimic's own tools read."""

import importlib.metadata
import pathlib
from collections.abc import Iterator

import envs
from envs.arm_task import AGENTVIEW, WRIST
from envs.robomimic.simulator import TASKS
from envs.robosuite import load_controller_config
from experiments.collection.episodes import ROBOSUITE, settings
from experiments.collection.successes import Target
from mummi.config import Config

RATE = 20
"""Control steps a second."""


def targets(config: Config, arguments) -> Iterator[Target]:
    """What is recorded of a task.

    Raises:
        ValueError: actions are repeated, of which robomimic's files know nothing.
    """
    if config.action_repeat != 1:
        raise ValueError(
            f"--action-repeat is {config.action_repeat}; robomimic's files have every action: "
            "leave it at 1"
        )
    environment = envs.make(config.task, **settings(config))
    modalities, size = environment.modalities, environment.action_size
    environment.close()
    yield Target(
        task=config.task,
        instruction=TASKS[config.task.partition("/")[2]].sentence,
        rate=RATE,
        path=pathlib.Path(arguments.out),
        modalities=modalities,
        action_size=size,
        env_args=env_args(config),
        attributes={},
        start=lambda number: {},
        written=lambda made: made,
    )


def env_args(config: Config) -> dict:
    """What robomimic makes its environment with, and the settings of ours."""
    original = TASKS[config.task.partition("/")[2]].environment
    kwargs = {
        "robots": ["Panda"],
        "controller_configs": load_controller_config(default_controller="OSC_POSE"),
        "control_freq": RATE,
        "has_renderer": False,
        "has_offscreen_renderer": True,
        "ignore_done": True,
        "use_object_obs": True,
        "use_camera_obs": True,
        "camera_names": [AGENTVIEW, WRIST],
        "camera_heights": config.image_size,
        "camera_widths": config.image_size,
        "camera_depths": False,
        "reward_shaping": False,
    }
    return {
        "env_name": original.__name__,
        "type": ROBOSUITE,
        "env_version": importlib.metadata.version("robosuite"),
        "env_kwargs": kwargs,
        "settings": settings(config),
    }
