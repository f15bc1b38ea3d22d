"""What every environment gives: modalities, an action size, and time steps."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from mummi.modality import Modality

LABELS = ("task", "initial_state")
"""Numbers of ``TimeStep.info`` that say which episode it is, so that their mean says nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class TimeStep:
    """One step of an episode.

    The environments of this package give all of it. Anybody's own may leave out what has a default,
    the value of a sensor that did not deliver, and in ``available`` those that did.

    Attributes:
        values: one array a modality, of its declared shape and dtype. What stands in a value
            whose sensor is not available carries no meaning.
        available: one bool a modality: did this sensor deliver at this step.
        reward: reward that arrived with these values, summed over the repeated action; 0 at reset.
        is_first: this is the first step of an episode.
        is_last: no step follows; the next call must be ``reset``.
        is_terminal: the task ended by itself, so the value of what follows is 0
            (false at a time limit).
        info: numbers worth logging, for example ``success``, and ``LABELS``.
    """

    values: Mapping[str, np.ndarray]
    available: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    reward: float = 0.0
    is_first: bool = False
    is_last: bool = False
    is_terminal: bool = False
    info: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Environment(Protocol):
    """The interface of every task.

    Anybody's own needs ``modalities``, ``action_size``, ``reset`` and ``step``; the rest has
    defaults, which ``envs.make`` adds where they are missing (``envs.custom``).

    A task that has a scripted expert also has a method ``expert_action`` without arguments, which
    gives its action, float [action_size], for the present state. One whose simulator can be put
    back into a state has a method ``physics_state``, which gives that state, float64 [S]. A class
    whose demonstrations others record in other units has ``action_limits``, the least and the
    greatest action in these, [2, action_size].

    Attributes:
        modalities: the sensor streams, in the order in which they are fused.
        action_size: number of action dimensions; every dimension spans [-1, 1].
        action_repeat: simulator control steps taken for each call of ``step``.
    """

    modalities: tuple[Modality, ...]
    action_size: int
    action_repeat: int = 1

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode.

        Args:
            number: everything random in the episode follows from the environment's seed and this
                number alone, whatever was played before; None takes the next one of the
                environment's own. ``envs.episodes.Episodes`` gives the seeds of both. Without this
                argument evaluations are not reproducible.
        """

    def step(self, action: np.ndarray) -> TimeStep:
        """Takes one action, float [action_size] in [-1, 1]."""

    def render(self, size: int) -> np.ndarray:
        """A picture for people of the present state, [size, size, 3] uint8; by default black."""
        return np.zeros((size, size, 3), np.uint8)

    def truth(self) -> Mapping[str, np.ndarray]:
        """The physical state by name, each float32 [n], for diagnostics; no agent is shown it.

        Empty where it is not known, as on a real robot; the diagnostics then say nothing.
        """
        return {}

    def close(self) -> None:
        """Frees the simulator and its rendering context."""


def check_action_repeat(action_repeat: int, horizon: int) -> None:
    """Raises a ValueError unless an episode of ``horizon`` control steps has whole actions."""
    if action_repeat < 1 or horizon < 1 or horizon % action_repeat:
        raise ValueError(
            f"action_repeat is {action_repeat!r}; it must be a positive divisor of {horizon}"
        )


def check_sensors(sensors: Sequence[str], known: Sequence[str]) -> None:
    """Raises a ValueError unless some of the ``known`` sensors are named, each once."""
    unknown = [sensor for sensor in sensors if sensor not in known]
    if unknown or not sensors or len(set(sensors)) < len(sensors):
        raise ValueError(
            f"sensors are {', '.join(sensors) or 'none'}; "
            f"choose at least one, each once, of {', '.join(known)}"
        )


def check_background(background: str, task: str, own: str) -> None:
    """Raises a ValueError for a background other than that of a task which shows its ``own``."""
    if background not in ("none", "natural"):
        raise ValueError(
            f"background is {background!r}; {task} shows {own}, and takes only 'none' (or "
            "'natural', the same here)"
        )


def checked_action(action: np.ndarray, size: int) -> np.ndarray:
    """The action, float64 [size], clipped to [-1, 1].

    Raises:
        ValueError: another shape, or a value that is not finite.
    """
    action = np.asarray(action, np.float64)
    if action.shape != (size,) or not np.isfinite(action).all():
        raise ValueError(f"action is {action}; it must be {size} finite numbers")
    return np.clip(action, -1, 1)
