"""Anybody's environment: found by ``module:attribute``, checked, and completed by defaults."""

import contextlib
import dataclasses
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from envs.base import Environment, TimeStep
from mummi.modality import Modality
from mummi.runs.names import closest


def find(task: str) -> Callable[..., Environment]:
    """The class or function that a task ``module:attribute`` names; it is imported.

    The current folder is searched, too, as by ``python -m``.

    Raises:
        ModuleNotFoundError: there is no such module.
        ValueError: the module has no such attribute, or it cannot be called.
    """
    module_name, _, attribute = task.partition(":")
    if not (module_name and attribute):
        raise ValueError(f"task {task!r} is not MODULE:ATTRIBUTE, as my_package.robots:Pusher is")
    module = import_for(task, module_name)
    try:
        found = functools.reduce(getattr, attribute.split("."), module)
    except AttributeError:
        known = [name for name in vars(module) if not name.startswith("_")]
        raise ValueError(
            f"task {task!r}: module {module_name!r} has no {attribute!r}{closest(attribute, known)}"
        ) from None
    if not callable(found):
        raise ValueError(
            f"task {task!r} is {type(found).__name__}; it must be a class or a function that "
            "builds an Environment"
        )
    return found


def import_for(task: str, name: str) -> ModuleType:
    """The module of that name, from the current folder or Python's path.

    Raises:
        ModuleNotFoundError: there is none; or what it imports itself is not there.
    """
    folder = os.getcwd()
    if folder not in (entry or folder for entry in sys.path):
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ModuleNotFoundError(
            f"task {task!r}: there is no module {error.name!r} in {folder!r} or on Python's path",
            name=error.name,
        ) from error


class Custom:
    """Somebody's environment, held to the interface and completed; an ``envs.base.Environment``.

    Every time step is checked: the values of the declared sensors, of their shapes, and of dtypes
    that convert (float64 to float32). A sensor that is not named in ``available`` is available
    where its value is there, and one that is not available needs no value.

    Args:
        environment: has at least ``modalities``, ``action_size``, ``reset`` and ``step``.
        task: its name in errors.
        action_repeat: control steps of each action, of which the environment's own step makes
            ``environment.action_repeat`` (1 where it does not say); it is stepped more than once
            for the rest. None: as the environment has it.

    Attributes:
        modalities, action_size, action_repeat: as in ``Environment``.
        numbered: its ``reset`` takes the number of the episode.

    Raises:
        ValueError: a member is missing or is not what it must be, or the action repeat is no
            multiple of the environment's own.
    """

    def __init__(self, environment: Environment, task: str, action_repeat: int | None = None):
        for member in ("modalities", "action_size", "reset", "step"):
            if not hasattr(environment, member):
                raise ValueError(
                    f"task {task!r} builds {type(environment).__name__}, which is not an "
                    f"Environment: it has no {member!r} (envs/base.py says what it must be)"
                )
        self._environment, self._task = environment, task
        self.modalities = _modalities(task, environment.modalities)
        self.action_size = _count(task, "action_size", environment.action_size)
        own = _count(task, "action_repeat", getattr(environment, "action_repeat", 1))
        self.action_repeat = own if action_repeat is None else action_repeat
        self._steps, rest = divmod(self.action_repeat, own)
        if rest or self._steps < 1:
            raise ValueError(
                f"action_repeat is {action_repeat!r}; a step of task {task!r} is {own} control "
                "steps, so it must be a multiple of that"
            )
        self.numbered = "number" in inspect.signature(environment.reset).parameters

    def __getattr__(self, name: str) -> Any:
        # Reached for what is optional, as a scripted expert.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._environment, name)

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode, the one of that number where the environment numbers them."""
        told = {"number": number} if self.numbered else {}
        step = self._checked("reset", self._environment.reset(**told))
        return dataclasses.replace(step, is_first=True, reward=0.0)

    def step(self, action: np.ndarray) -> TimeStep:
        """Takes one action, float [action_size] in [-1, 1]."""
        reward = 0.0
        for _ in range(self._steps):
            step = self._checked("step", self._environment.step(action))
            reward += step.reward
            if step.is_last:
                break
        return dataclasses.replace(step, is_first=False, reward=reward)

    def render(self, size: int) -> np.ndarray:
        """The environment's picture for people, [size, size, 3] uint8."""
        return self._optional("render")(size)

    def truth(self) -> Mapping[str, np.ndarray]:
        """The physical state by name, where the environment knows it."""
        return self._optional("truth")()

    def close(self) -> None:
        """Closes the environment."""
        self._optional("close")()

    def _optional(self, name: str) -> Callable[..., Any]:
        """A method of the environment, or else that of the interface."""
        default = functools.partial(getattr(Environment, name), self._environment)
        return getattr(self._environment, name, default)

    def _checked(self, method: str, step: Any) -> TimeStep:
        if not isinstance(step, TimeStep):
            raise ValueError(
                f"{method} of task {self._task!r} returned {type(step).__name__}, not a TimeStep"
            )
        names = [modality.name for modality in self.modalities]
        for name in (*step.values, *step.available):
            if name not in names:
                raise ValueError(
                    f"{method} of task {self._task!r} gave {name!r}, but its modalities are "
                    f"{', '.join(names)}{closest(str(name), names)}"
                )
        values, available = {}, {}
        for modality in self.modalities:
            value = step.values.get(modality.name)
            available[modality.name] = bool(step.available.get(modality.name, value is not None))
            if available[modality.name]:
                values[modality.name] = self._value(method, modality, value)
            else:
                values[modality.name] = np.zeros(modality.shape, modality.dtype)
        return dataclasses.replace(
            step, values=values, available=available, reward=float(step.reward)
        )

    def _value(self, method: str, modality: Modality, value: Any) -> np.ndarray:
        """The value in the modality's dtype."""
        value = np.asarray(value)
        fits = np.can_cast(value.dtype, modality.dtype, "same_kind")
        if value.shape != modality.shape or not fits:
            raise ValueError(
                f"{method} of task {self._task!r} gave {modality.name!r} as {value.dtype} "
                f"{list(value.shape)}; it is declared as {modality.dtype} {list(modality.shape)}"
            )
        with np.errstate(over="ignore"):  # infinite then, so that it counts as missing
            return value.astype(modality.dtype, copy=False)


def _modalities(task: str, declared: Any) -> tuple[Modality, ...]:
    with contextlib.suppress(TypeError):
        modalities = tuple(declared)
        names = [getattr(modality, "name", None) for modality in modalities]
        if (
            modalities
            and all(isinstance(modality, Modality) for modality in modalities)
            and len(set(names)) == len(names)
        ):
            return modalities
    raise ValueError(
        f"modalities of task {task!r} are {declared!r}; they must be Modality objects, at least "
        "one, each of another name"
    )


def _count(task: str, member: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{member} of task {task!r} is {value!r}; it must be a positive integer")
    return int(value)
