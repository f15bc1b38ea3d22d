"""One demonstration, and what every opened set of them offers."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from mummi.modality import Modality

INSTRUCTION = "instruction"
"""Attribute of a demonstration that tells in words what is to be done; also the sensor of it."""


class Demonstration(NamedTuple):
    """One episode of T actions.

    Attributes:
        values: by modality, [T, *shape] of its dtype; ``values[name][t]`` was seen before
            ``actions[t]``.
        actions: float32 [T, A], what the demonstrator wanted.
        rewards: float32 [T], ``rewards[t]`` is what ``actions[t]`` brought.
        dones: bool [T], the episode ended with that action.
        states: float64 [T, S], the simulator's state before each action, or None.
        attributes: the demonstration's own, for example ``success``; ``instruction`` is what was
            to be done, in words.
        executed: float32 [T, A], what was done, or None where that is ``actions``.
        available: by modality, bool [T], whether the sensor delivered; a modality that is not
            named, or all of them with None, delivered at every step.
    """

    values: Mapping[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    dones: np.ndarray
    states: np.ndarray | None = None
    attributes: Mapping[str, Any] = {}
    executed: np.ndarray | None = None
    available: Mapping[str, np.ndarray] | None = None

    def availability(self, name: str) -> np.ndarray:
        """Whether the sensor of a modality delivered at each step, bool [T]."""
        if self.available is None or name not in self.available:
            return np.ones(len(self.actions), bool)
        return self.available[name]


def observed_after(recorded: Demonstration, where: str) -> Demonstration:
    """The demonstration whose every observation was recorded after the action of its index.

    Each is put before the action that was chosen after it, [T - 1] of both.

    Args:
        recorded: its values at t came of its action at t.
        where: it lies, for the message.

    Raises:
        ValueError: it has one step, which leaves none.
    """
    if len(recorded.actions) < 2:
        raise ValueError(
            f"{where} has 1 step, of which --obs-after-action leaves none: take it out of the data"
        )
    seen = {name: rows[:-1] for name, rows in recorded.values.items()}
    available = recorded.available
    if available is not None:
        available = {name: mask[:-1] for name, mask in available.items()}
    rest = ("actions", "rewards", "dones", "states", "executed")
    later = {name: rows[1:] for name in rest if (rows := getattr(recorded, name)) is not None}
    return recorded._replace(values=seen, available=available, **later)


@runtime_checkable
class DataSet(Protocol):
    """Demonstrations of one format, opened: a sequence that reads each when it is asked for.

    Attributes:
        modalities: the sensors, in the order of fusion.
        action_size: A.
        names: of the demonstrations, as the data have them.
        attributes: of all of them. ``env_args`` is a mapping where the data tell what they were
            made with; ``rate`` is in steps a second where the data tell that.
    """

    modalities: tuple[Modality, ...]
    action_size: int
    names: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Demonstration: ...

    def __iter__(self) -> Iterator[Demonstration]: ...

    def __enter__(self) -> "DataSet": ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Closes the files; the demonstrations that were read stay."""
        ...


@runtime_checkable
class Writer(Protocol):
    """Adds demonstrations to data, so that none that was appended is ever lost.

    Its length is the number of the next demonstration.
    """

    def __len__(self) -> int: ...

    def append(self, demonstration: Demonstration) -> None:
        """Writes one demonstration; when this returns, it survives whatever happens."""
        ...

    def __enter__(self) -> "Writer": ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Makes what was appended part of the data."""
        ...
