"""The ways in which a sensor can be missing, announced: rules for ``envs.failures.script``.

Random segments follow one process: on a step without a running outage one starts with a fixed
probability p, and lasts a number of steps uniform on 1..max_length. So gaps are geometric and may
be empty (segments may abut), which gives any rate below 1 with any length. With the mean length
m = (max_length + 1) / 2 the long-run rate is r = p m / (p m + 1 - p), so p = r / (r + m (1 - r)).
``Segments`` begins in the stationary state, so that the expected rate is exact at every step;
``Published`` begins an episode with a working sensor.
"""

import abc
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, get_args

import numpy as np

from mummi.modality import Kind, Modality, require_can_fail

MAX_LENGTH = 14  # the paper gives rates of missing data but no lengths; the public code has 1..14

# Called at each step from 0 on, it maps what the sensor says to what is delivered.
Filter = Callable[[np.ndarray, bool], tuple[np.ndarray, bool]]
# The same for all sensors of a step: changes both dictionaries in place.
Act = Callable[[dict[str, np.ndarray], dict[str, bool]], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule(abc.ABC):
    """One kind of failure; ``modality`` is a name, several names, or ``all``."""

    modality: str | tuple[str, ...]

    kinds: ClassVar[tuple[Kind, ...]] = get_args(Kind)
    """Kinds of modality that can fail in this way."""
    lies: ClassVar[bool] = True
    """Whether the sensor is wrong and says that it works; if not, it says that it is missing."""

    def __post_init__(self):
        names = (self.modality,) if isinstance(self.modality, str) else self.modality
        good = isinstance(names, tuple | list) and names
        require(
            good and all(isinstance(name, str) for name in names),
            "modality",
            self.modality,
            "a name, a list of names, or 'all'",
        )
        if isinstance(self.modality, list):
            object.__setattr__(self, "modality", tuple(self.modality))

    def names(self, modalities: Sequence[Modality]) -> tuple[str, ...]:
        """The modalities it acts on, of those that an environment has.

        ``all`` are those that can fail in this way.

        Raises:
            ValueError: for a modality that the environment lacks, or that cannot fail, or not so.
        """
        if self.modality == "all":
            return tuple(m.name for m in modalities if m.can_fail and m.kind in self.kinds)
        names = (self.modality,) if isinstance(self.modality, str) else self.modality
        require_can_fail(names, modalities)
        for m in modalities:
            if m.name in names and m.kind not in self.kinds:
                raise ValueError(
                    f"{m.name!r} is of kind {m.kind!r}, which cannot fail so; "
                    f"kinds that can are {', '.join(self.kinds)}"
                )
        return names

    def begin_all(
        self, modalities: Sequence[Modality], randoms: Sequence[np.random.Generator]
    ) -> Act:
        """Starts an episode of all modalities that it acts on, each on its own."""
        filters = {
            m.name: self.begin(m, random) for m, random in zip(modalities, randoms, strict=True)
        }

        def act(values, available):
            for name, sift in filters.items():
                values[name], available[name] = sift(values[name], bool(available[name]))

        return act

    @abc.abstractmethod
    def begin(self, modality: Modality, random: np.random.Generator) -> Filter:
        """Starts an episode of one modality."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounded(Rule):
    """A rule that acts from step ``start`` on and before step ``stop`` (None: to the end)."""

    start: int = 0
    stop: int | None = None

    def __post_init__(self):
        super().__post_init__()
        require_int(self, "start", 0)
        if self.stop is not None:
            require_int(self, "stop", self.start + 1)

    def begin(self, modality: Modality, random: np.random.Generator) -> Filter:
        return self.filter(modality, self.acting(random), random)

    def acting(self, random: np.random.Generator) -> Iterator[bool]:
        """Whether it acts at each step of an episode."""
        length = None if self.stop is None else self.stop - self.start
        acting = itertools.islice(self.process(random), length)
        # Begun at ``start``, so that a stationary process is stationary from there on.
        return itertools.chain(itertools.repeat(False, self.start), acting, itertools.repeat(False))

    def process(self, random: np.random.Generator) -> Iterator[bool]:
        """Whether it acts at each step of its time."""
        return itertools.repeat(True)

    def filter(
        self, modality: Modality, acts: Iterator[bool], random: np.random.Generator
    ) -> Filter:
        """By default the value is missing while the rule acts."""
        return lambda value, available: (value, not next(acts) and available)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lie(Bounded):
    """A rule by which a sensor is wrong and says that it works.

    It acts throughout its time, or, with a ``rate``, in random segments of it; stationary.
    """

    rate: float | None = None
    max_length: int = MAX_LENGTH

    def __post_init__(self):
        super().__post_init__()
        if self.rate is not None:
            require_fraction(self, "rate", one=False)
        require_int(self, "max_length", 1)

    def process(self, random: np.random.Generator) -> Iterator[bool]:
        if self.rate is None:
            return super().process(random)
        return stationary_segments(self.rate, self.max_length, random)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segments(Bounded):
    """Missing for random segments, a fraction ``rate`` in [0, 1) of the steps; stationary."""

    lies: ClassVar[bool] = False

    rate: float
    max_length: int = MAX_LENGTH

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "rate", one=False)
        require_int(self, "max_length", 1)

    def process(self, random: np.random.Generator) -> Iterator[bool]:
        return stationary_segments(self.rate, self.max_length, random)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published(Bounded):
    """Missing for random segments, each begun with ``probability``; starts with a good sensor."""

    lies: ClassVar[bool] = False

    probability: float
    max_length: int = MAX_LENGTH

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "probability")
        require_int(self, "max_length", 1)

    def process(self, random: np.random.Generator) -> Iterator[bool]:
        return segments(self.probability, self.max_length, random)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lost(Rule):
    """Missing for good from step ``at`` on; 0 is from the reset on."""

    lies: ClassVar[bool] = False

    at: int

    def __post_init__(self):
        super().__post_init__()
        require_int(self, "at", 0)

    def begin(self, modality: Modality, random: np.random.Generator) -> Filter:
        works = itertools.chain(itertools.repeat(True, self.at), itertools.repeat(False))
        return lambda value, available: (value, next(works) and available)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flicker(Bounded):
    """Missing on each step with ``probability``, or regularly.

    Regularly means delivered on the first round(duty * period) steps of every ``period`` steps.
    """

    lies: ClassVar[bool] = False

    probability: float | None = None
    period: int | None = None
    duty: float | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.probability is not None:
            require_fraction(self, "probability")
            for name in ("period", "duty"):
                value = getattr(self, name)
                require(value is None, name, value, "left out beside a probability")
        else:
            require_int(self, "period", 2)
            require_fraction(self, "duty")

    def process(self, random: np.random.Generator) -> Iterator[bool]:
        if self.probability is not None:
            return (random.random() < self.probability for _ in itertools.count())
        works = round(self.duty * self.period)
        return (step % self.period >= works for step in itertools.count())


def segments(
    probability: float, max_length: int, random: np.random.Generator, running: int = 0
) -> Iterator[bool]:
    """Whether an outage runs, step by step without end.

    Args:
        probability: of a start, at each step without a running outage.
        max_length: lengths are uniform on 1..max_length.
        random: source of the numbers.
        running: steps that an outage under way still lasts.
    """
    while True:
        yield from itertools.repeat(True, running)
        if random.random() < probability:
            running = int(random.integers(1, max_length + 1))
        else:
            running = 0
            yield False


def stationary_segments(
    rate: float, max_length: int, random: np.random.Generator
) -> Iterator[bool]:
    """``segments`` of which a fraction ``rate`` is missing in expectation at every step."""
    running = 0
    # Drawn is the state at the step before the first: an outage that lasts j more steps, that one
    # included, is as likely there as a length of at least j.
    if random.random() < rate:
        lengths = np.arange(1, max_length + 1)
        running = int(random.choice(lengths, p=lengths[::-1] / lengths.sum())) - 1
    mean = (max_length + 1) / 2
    return segments(rate / (rate + mean * (1 - rate)), max_length, random, running)


def require(condition: bool, field: str, value: Any, right: str) -> None:
    """Raises a ValueError that names a rule's field, its value and what would be right."""
    if not condition:
        raise ValueError(f"{field} is {value!r}; it must be {right}")


def require_int(rule: Rule, field: str, least: int) -> None:
    """Requires an integer of at least ``least``."""
    value = getattr(rule, field)
    good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    require(good, field, value, f"an integer of at least {least}")


def require_fraction(rule: Rule, field: str, *, one: bool = True) -> None:
    """Requires a number from 0 on and below 1, or up to 1."""
    value = getattr(rule, field)
    good = is_number(value) and (0 <= value < 1 or (one and value == 1))
    require(good, field, value, "in [0, 1]" if one else "in [0, 1)")


def is_number(value: Any) -> bool:
    """Whether a value is a number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
