"""Sensors that lie about time or place: a right value of another moment, or of another sensor."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from envs.failures.rules import Act, Filter, Lie, require, require_int
from mummi.modality import Modality


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frozen(Lie):
    """The last value is repeated; with a ``rate`` these are frames that are dropped.

    What is repeated is the last value that was available before; before the first one there is
    nothing to repeat, so the first one passes.
    """

    def filter(
        self, modality: Modality, acts: Iterator[bool], random: np.random.Generator
    ) -> Filter:
        held = None

        def freeze(value, available):
            nonlocal held
            acting = next(acts)
            if available and (held is None or not acting):
                held = np.array(value)
            return (held if acting and available else value), available

        return freeze


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delay(Lie):
    """Value and availability come ``steps`` steps late; before the reset there is nothing."""

    steps: int

    def __post_init__(self):
        super().__post_init__()
        require_int(self, "steps", 1)

    def filter(
        self, modality: Modality, acts: Iterator[bool], random: np.random.Generator
    ) -> Filter:
        nothing = (np.zeros(modality.shape, modality.dtype), False)
        line = collections.deque([nothing] * self.steps)

        def delay(value, available):
            line.append((np.array(value), available))
            late = line.popleft()
            return late if next(acts) else (value, available)

        return delay


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shuffled(Lie):
    """Values of other moments: at each step one of those before in the episode, drawn evenly."""

    def filter(
        self, modality: Modality, acts: Iterator[bool], random: np.random.Generator
    ) -> Filter:
        past: list[np.ndarray] = []

        def shuffle(value, available):
            acting = next(acts)
            if available:
                past.append(np.array(value))
            other = past[random.integers(len(past))] if acting and available else value
            return other, available

        return shuffle


@dataclasses.dataclass(frozen=True, kw_only=True)
class Swapped(Lie):
    """Two sensors of one shape, named by ``modality``, are taken for each other."""

    def __post_init__(self):
        super().__post_init__()
        two = isinstance(self.modality, tuple) and len(set(self.modality)) == 2
        require(two, "modality", self.modality, "a list of two sensors")

    def names(self, modalities: Sequence[Modality]) -> tuple[str, ...]:
        names = super().names(modalities)
        first, second = (next(m for m in modalities if m.name == name) for name in names)
        if (first.kind, first.shape) != (second.kind, second.shape):
            raise ValueError(
                f"{first.name!r} ({first.kind} {first.shape}) and {second.name!r} ({second.kind} "
                f"{second.shape}) cannot be taken for each other"
            )
        return names

    def begin_all(
        self, modalities: Sequence[Modality], randoms: Sequence[np.random.Generator]
    ) -> Act:
        acts = self.acting(randoms[0])
        first, second = (m.name for m in modalities)

        def swap(values, available):
            if next(acts):
                for of_both in (values, available):
                    of_both[first], of_both[second] = of_both[second], of_both[first]

        return swap
