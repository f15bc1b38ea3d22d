"""Simulated tasks by name."""

import difflib
import importlib
from collections.abc import Callable, Sequence

import numpy as np

from envs.base import Environment, TimeStep

__all__ = ["Environment", "TimeStep", "make", "tasks"]

# Task name to the module and class that build it, imported when the task is made, so that a
# simulator that is not installed costs only its own tasks.
_BUILDERS: dict[str, tuple[str, str]] = dict.fromkeys(
    ("walker_stand", "walker_walk", "walker_run", "finger_spin", "cup_catch"),
    ("envs.natural_mujoco", "NaturalMujoco"),
)
_BUILDERS["dummy"] = ("envs.dummy", "Dummy")
_BUILDERS |= dict.fromkeys(
    ("toy_laser_camera", "toy_front_rear", "toy_x_y"), ("envs.toy_world", "ToyWorld")
)


def tasks() -> list[str]:
    """Names that ``make`` takes, sorted."""
    return sorted(_BUILDERS)


def _builder(task: str) -> tuple[str, Callable[..., Environment]]:
    name = task.removeprefix("dmc_")
    if name not in _BUILDERS:
        close = difflib.get_close_matches(name, _BUILDERS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ";"
        raise ValueError(f"unknown task {task!r}{hint} Tasks are {', '.join(tasks())}")
    module, builder = _BUILDERS[name]
    return name, getattr(importlib.import_module(module), builder)


def make(
    task: str,
    *,
    seed: int | Sequence[int] = 0,
    image_size: int = 64,
    missing="none",
    background: str = "natural",
    training: bool = True,
    action_repeat: int | None = None,
) -> Environment:
    """Makes a task.

    Args:
        task: one of ``tasks()``, with or without the prefix ``dmc_``.
        seed: int or sequence of ints, for ``np.random.SeedSequence``. Everything random follows
            from it: start states, background clips, and which sensors fail when.
        image_size: height and width of image and depth modalities, pixels.
        missing: which sensors fail: ``none``, ``medium``, ``high``, ``published_medium``,
            ``published_high``, a path to a YAML script, or a ``envs.dropout.Script``.
        background: ``natural`` (built-in moving clips), ``none`` (the simulator's own), or a
            path to a video, a picture, or a folder of them.
        training: draw backgrounds from the training clips, which share none with evaluation.
        action_repeat: control steps for each action; None takes the task's own.

    Returns:
        The environment; its first call must be ``reset``.

    Raises:
        ValueError: for an unknown task (with the nearest name), or an argument the task or the
            dropout script refuses.
    """
    name, build = _builder(task)
    task_seed, dropout_seed = np.random.SeedSequence(seed).generate_state(2)
    options = {} if action_repeat is None else {"action_repeat": action_repeat}
    environment = build(
        name,
        seed=int(task_seed),
        image_size=image_size,
        background=background,
        training=training,
        **options,
    )
    if isinstance(missing, str) and missing == "none":
        return environment
    from envs.dropout import Dropout, load_script

    return Dropout(environment, load_script(missing), seed=int(dropout_seed))
