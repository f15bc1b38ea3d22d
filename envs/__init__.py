"""Simulated tasks by name."""

import contextlib
import dataclasses
import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from envs.base import Environment, TimeStep

__all__ = ["Environment", "TimeStep", "make", "options", "tasks"]

# Task name to the module and class that build it, imported when the task is made, so that a
# simulator that is not installed costs only its own tasks.
_BUILDERS: dict[str, tuple[str, str]] = dict.fromkeys(
    ("walker_stand", "walker_walk", "walker_run", "finger_spin", "cup_catch"),
    ("envs.natural_mujoco.tasks", "NaturalMujoco"),
)
_BUILDERS["dummy"] = ("envs.dummy", "Dummy")
_BUILDERS |= dict.fromkeys(
    ("toy_laser_camera", "toy_front_rear", "toy_x_y"), ("envs.toy_world", "ToyWorld")
)
_BUILDERS["table_wiping"] = ("envs.table_wiping.task", "TableWiping")
_BUILDERS |= dict.fromkeys(
    (
        f"{suite}{task}"
        for suite in ("libero_spatial", "libero_object", "libero_goal")
        for task in ("", *(f"/{index}" for index in range(10)))
    ),
    ("envs.libero.tasks", "Libero"),
)

# What to type where a package is missing.
_INSTALL = "pip install -r requirements.txt"
_INSTALL_LIBERO = f"make libero, or {_INSTALL} and pip install --no-deps -r requirements-libero.txt"

# Arguments that every task takes; its others are its options.
_COMMON = {"task", "seed", "image_size", "background", "training", "action_repeat"}


def tasks() -> list[str]:
    """Names that ``make`` takes, sorted."""
    return sorted(_BUILDERS)


def canonical(task: str) -> str:
    """The name of a task without the prefix ``dmc_`` that a task of this package may have."""
    return task if ":" in task else task.removeprefix("dmc_")


def folder(task: str) -> str:
    """The folder of a task's runs: its name, and a plain one for a ``module:attribute``."""
    name = canonical(task)
    return re.sub(r"[^\w.-]+", "-", name) if ":" in name else name


def _builder(task: str) -> tuple[str, Callable[..., Environment]]:
    name = task.removeprefix("dmc_")
    if name not in _BUILDERS:
        close = difflib.get_close_matches(name, _BUILDERS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ";"
        raise ValueError(f"unknown task {task!r}{hint} Tasks are {', '.join(tasks())}")
    module, builder = _BUILDERS[name]
    with _says_what_to_install(name):
        return name, getattr(importlib.import_module(module), builder)


@contextlib.contextmanager
def _says_what_to_install(task: str):
    try:
        yield
    except ModuleNotFoundError as error:
        package = error.name.partition(".")[0]
        install = _INSTALL_LIBERO if task.startswith("libero") else _INSTALL
        raise ModuleNotFoundError(
            f"task {task!r} needs {package}, which is not installed: {install}", name=package
        ) from error


def options(task: str, **changes: Any) -> Any:
    """The settings that only this task has, as a frozen dataclass with the docstring of the task.

    Args:
        task: one of ``tasks()``.
        **changes: settings other than the task's defaults; as read from a file, a list stands for
            a tuple and a mapping for the changed fields of a dataclass.

    Raises:
        ValueError: for a setting that the task does not have.
        ModuleNotFoundError: when the task's simulator is not installed.
    """
    name, build = _builder(task)
    own = {
        parameter.name: parameter
        for parameter in inspect.signature(build).parameters.values()
        if parameter.name not in _COMMON
    }
    for option, value in changes.items():
        if option not in own:
            close = difflib.get_close_matches(option, own, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"unknown option {option!r} of task {name!r} "
                f"(its options are {', '.join(own) or 'none'}){hint}"
            )
        if isinstance(value, Mapping):
            changes[option] = dataclasses.replace(own[option].default, **value)
        elif isinstance(value, list):
            changes[option] = tuple(value)
    fields = [(p.name, p.annotation, dataclasses.field(default=p.default)) for p in own.values()]
    kind = dataclasses.make_dataclass("Options", fields, frozen=True)
    kind.__doc__ = build.__doc__
    return kind(**changes)


def make(
    task: str,
    *,
    seed: int | Sequence[int] = 0,
    image_size: int = 64,
    missing="none",
    background: str = "natural",
    training: bool = True,
    action_repeat: int | None = None,
    **changes: Any,
) -> Environment:
    """Makes a task.

    Args:
        task: one of ``tasks()``, with or without the prefix ``dmc_``.
        seed: int or sequence of ints, for ``np.random.SeedSequence``. Everything random follows
            from it: start states, background clips, and which sensors fail when.
        image_size: height and width of image and depth modalities, pixels.
        missing: which sensors fail: ``none``, ``medium``, ``high``, ``published_medium``,
            ``published_high``, a path to a YAML script, or a ``envs.failures.script.Script``.
        background: ``natural`` (built-in moving clips), ``none`` (the simulator's own), or a
            path to a video, a picture, or a folder of them.
        training: draw backgrounds from the training clips, which share none with evaluation.
        action_repeat: control steps for each action; None takes the task's own.
        **changes: settings that only this task has, as ``options`` takes them.

    Returns:
        The environment; its first call must be ``reset``.

    Raises:
        ValueError: for an unknown task or option (with the nearest name), or an argument the task
            or the dropout script refuses.
        ModuleNotFoundError: when the task's simulator is not installed.
    """
    name, build = _builder(task)
    task_seed, dropout_seed = np.random.SeedSequence(seed).generate_state(2)
    repeat = {} if action_repeat is None else {"action_repeat": action_repeat}
    with _says_what_to_install(name):
        environment = build(
            name,
            seed=int(task_seed),
            image_size=image_size,
            background=background,
            training=training,
            **repeat,
            **vars(options(task, **changes)),
        )
    if isinstance(missing, str) and missing == "none":
        return environment
    from envs.failures.script import Dropout, load_script

    return Dropout(environment, load_script(missing), seed=int(dropout_seed))
