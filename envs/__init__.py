"""Tasks by name: those of this package, anybody's own, and gymnasium's."""

import contextlib
import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from envs.base import Environment, TimeStep
from envs.custom import Custom, find
from envs.metaworld.catalogue import GROUPS, TASKS
from mummi.runs.names import closest

__all__ = [
    "Environment",
    "TimeStep",
    "action_limits",
    "canonical",
    "check",
    "folder",
    "in_process",
    "make",
    "options",
    "settle_drawing",
    "tasks",
]

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
_BUILDERS["pusht"] = ("envs.pusht.task", "PushT")
_BUILDERS |= dict.fromkeys(
    (
        f"{suite}{task}"
        for suite in ("libero_spatial", "libero_object", "libero_goal", "libero_10")
        for task in ("", *(f"/{index}" for index in range(10)))
    ),
    ("envs.libero.tasks", "Libero"),
)
_BUILDERS |= dict.fromkeys(
    (*GROUPS, *(f"metaworld/{name}" for name in TASKS)), ("envs.metaworld.tasks", "Metaworld")
)
_BUILDERS |= dict.fromkeys(
    (f"robomimic/{name}" for name in ("lift", "can", "square")),
    ("envs.robomimic.tasks", "Robomimic"),
)

# Rooms whose tasks are drawn by OpenGL.
_DRAWN = tuple(
    f"envs.{room}"
    for room in ("natural_mujoco", "table_wiping", "libero", "metaworld", "robomimic")
)

# What to type where a package is missing.
_INSTALL = "pip install -r requirements.txt"
# Beginnings of the tasks whose packages are not among the requirements.
_EXTRAS = ("libero", "metaworld", "pusht")

# Arguments that every task of this package takes, and anybody's own where it declares them; the
# others are a task's options.
_COMMON = ("task", "seed", "image_size", "background", "training", "action_repeat")


def tasks() -> list[str]:
    """Names of the tasks of this package, sorted; ``make`` takes ``module:attribute`` as well."""
    return sorted(_BUILDERS)


def canonical(task: str) -> str:
    """The name of a task without the prefix ``dmc_`` that a task of this package may have."""
    return task if ":" in task else task.removeprefix("dmc_")


def folder(task: str) -> str:
    """The folder of a task's runs: its name, and a plain one for a ``module:attribute``."""
    name = canonical(task)
    return re.sub(r"[^\w.-]+", "-", name) if ":" in name else name


def check(task: str, given: Sequence[str] = ()) -> None:
    """Raises unless there is such a task and it takes some of the arguments common to tasks.

    Args:
        task: as of ``make``; the module of one that is not of this package is imported.
        given: names of arguments that are asked for, for example ``image_size``.

    Raises:
        ValueError: for an unknown task, or an argument that its class or function does not declare.
        ModuleNotFoundError: for a module that is not there.
    """
    name, build = _builder(task)
    declared = inspect.signature(build).parameters
    for argument in given:
        # Any task's actions can be repeated.
        if argument not in (*declared, "action_repeat"):
            raise ValueError(f"task {name!r} takes no {argument}; {_declares(build)}")


def _declares(build: Callable[..., Environment]) -> str:
    taken = ", ".join(inspect.signature(build).parameters) or "nothing"
    return f"{getattr(build, '__name__', build)} declares {taken}"


def _builder(task: str) -> tuple[str, Callable[..., Environment]]:
    name = canonical(task)
    if name.startswith("gymnasium:"):
        from envs.gymnasium import Gymnasium

        return name, Gymnasium
    if ":" in name:
        return name, find(name)
    if name not in _BUILDERS:
        whole = ", ".join(known for known in tasks() if "/" not in known)
        raise ValueError(
            f"unknown task {task!r} (tasks are {whole}, one of several as libero_goal/3, "
            "metaworld/sweep or robomimic/can, MODULE:ATTRIBUTE for your own, and gymnasium:ID)"
            f"{closest(name, _BUILDERS)}"
        )
    module, builder = _BUILDERS[name]
    with _says_what_to_install(name):
        return name, getattr(importlib.import_module(module), builder)


def action_limits(task: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Least and greatest action, each float64 [A], in the units of others' recordings of a task.

    None where these are in [-1, 1], as the task's own are.

    Raises:
        ValueError: an unknown task.
        ModuleNotFoundError: when the task's simulator is not installed.
    """
    name, build = _builder(task)
    if name.startswith("gymnasium:"):
        from envs.gymnasium import task_bounds

        return task_bounds(name)
    if (limits := getattr(build, "action_limits", None)) is None:
        return None
    low, high = np.array(limits, np.float64)
    return low, high


def settle_drawing(task: str) -> None:
    """Chooses what draws a task, once for all processes that are then started to make it.

    Raises:
        ImportError: nothing can draw it here; with what to change or to install.
    """
    if _BUILDERS.get(canonical(task), ("",))[0].startswith(_DRAWN):
        from envs.rendering import gl

        gl.choose()


@contextlib.contextmanager
def _says_what_to_install(task: str):
    try:
        yield
    except ModuleNotFoundError as error:
        package = error.name.partition(".")[0]
        install = _INSTALL
        for extra in _EXTRAS:
            if task.startswith(extra):
                file = f"requirements-{extra}.txt"
                install = f"make {extra}, or {_INSTALL} and pip install --no-deps -r {file}"
        raise ModuleNotFoundError(
            f"task {task!r} needs {package}, which is not installed: {install}", name=package
        ) from error


def options(task: str, **changes: Any) -> Any:
    """The settings that only this task has, as a frozen dataclass with the docstring of the task.

    Args:
        task: as of ``make``.
        **changes: settings other than the task's defaults; as read from a file, a list stands for
            a tuple and a mapping for the changed fields of a dataclass.

    Raises:
        ValueError: for a setting that the task does not have, or one without a default that is
            not given.
        ModuleNotFoundError: when the task's simulator is not installed.
    """
    name, build = _builder(task)
    own = {
        parameter.name: parameter
        for parameter in inspect.signature(build, eval_str=True).parameters.values()
        if parameter.name not in _COMMON
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    for option, value in changes.items():
        if option not in own:
            raise ValueError(
                f"unknown option {option!r} of task {name!r} "
                f"(its options are {', '.join(own) or 'none'}){closest(option, own)}"
            )
        if isinstance(value, Mapping):
            changes[option] = dataclasses.replace(own[option].default, **value)
        elif isinstance(value, list):
            changes[option] = tuple(value)
    for option, parameter in own.items():
        if parameter.default is parameter.empty and option not in changes:
            raise ValueError(
                f"task {name!r} needs the option {option!r}; give it, or give it a default"
            )
    fields = [
        (
            p.name,
            type(p.default) if p.annotation is p.empty else p.annotation,
            dataclasses.field(default=None if p.default is p.empty else p.default),
        )
        for p in own.values()
    ]
    kind = dataclasses.make_dataclass("Options", fields, frozen=True)
    kind.__doc__ = build.__doc__ or ""
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
        task: one of ``tasks()``, with or without the prefix ``dmc_``; ``module:attribute`` for any
            class or function that builds an ``Environment``, in the current folder or installed,
            or ``gymnasium:ID``. Of the arguments down to ``action_repeat`` these are given those
            that they declare.
        seed: int or sequence of ints, for ``np.random.SeedSequence``. Everything random follows
            from it: start states, background clips, and which sensors fail when.
        image_size: height and width of image and depth modalities, pixels.
        missing: which sensors fail: ``none``, ``medium``, ``high``, ``published_medium``,
            ``published_high``, ``faults``, a path to a YAML script, or a
            ``envs.failures.script.Script``.
        background: ``natural`` (built-in moving clips), ``none`` (the simulator's own), or a
            path to a video, a picture, or a folder of them.
        training: draw backgrounds from the training clips, which share none with evaluation.
        action_repeat: control steps for each action; None takes the task's own. A task that
            does not declare it is stepped as often.
        **changes: settings that only this task has, as ``options`` takes them.

    Returns:
        The environment; its first call must be ``reset``.

    Raises:
        ValueError: for an unknown task or option (with the nearest name), an argument the task
            or the dropout script refuses, or what is built is not an ``Environment``.
        ModuleNotFoundError: when the task's simulator is not installed.
    """
    name, build = _builder(task)
    task_seed, dropout_seed = np.random.SeedSequence(seed).generate_state(2)
    declared = inspect.signature(build).parameters
    common = {
        "task": name,
        "seed": int(task_seed),
        "image_size": image_size,
        "background": background,
        "training": training,
        "action_repeat": action_repeat,
    }
    if background not in ("natural", "none"):
        check(task, given=("background",))
    if action_repeat is None or "action_repeat" not in declared:
        del common["action_repeat"]
    taken = {key: value for key, value in common.items() if key in declared}
    own = vars(options(task, **changes))
    if ":" in name:
        repeat = action_repeat if "action_repeat" not in declared else None
        environment = Custom(build(**taken, **own), name, repeat)
    else:
        with _says_what_to_install(name):
            environment = build(**taken, **own)
    return _failing(environment, missing, int(dropout_seed))


def in_process(*environments: Environment, missing="none", seed: int = 0):
    """Ready-made environments as one batch in this process, one after the other.

    Args:
        *environments: at least one, of equal sensors and actions; what ``Environment`` has defaults
            for they may lack.
        missing: which sensors fail, as of ``make``.
        seed: of these failures.

    Returns:
        An ``envs.processes.parallel.ParallelEnvironments``.

    Raises:
        ValueError: for none, or environments that differ or are not ``Environment``.
    """
    from envs.processes.in_process import InProcess

    made = [Custom(environment, type(environment).__name__) for environment in environments]
    return InProcess([_failing(e, missing, (seed, k)) for k, e in enumerate(made)])


def _failing(environment: Environment, missing, seed: int | Sequence[int]) -> Environment:
    if isinstance(missing, str) and missing == "none":
        return environment
    from envs.failures.script import Dropout, load_script

    return Dropout(environment, load_script(missing), seed=seed)
