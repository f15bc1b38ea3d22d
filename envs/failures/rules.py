"""The ways in which a sensor can fail: the rules that ``envs.failures.script`` composes scripts of.

Random segments follow one process: on a step without a running outage one starts with a fixed
probability p, and lasts a number of steps uniform on 1..max_length. So gaps are geometric and may
be empty (segments may abut), which gives any rate below 1 with any length. With the mean length
m = (max_length + 1) / 2 the long-run rate is r = p m / (p m + 1 - p), so p = r / (r + m (1 - r)).
``Segments`` begins in the stationary state, so that the expected rate is exact at every step;
``Published`` begins an episode with a working sensor.
"""

import abc
import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mummi.modality import Modality, require_can_fail

MAX_LENGTH = 14  # the paper gives rates of missing data but no lengths; the public code has 1..14

# Called at each step from 0 on, it maps what the sensor says to what is delivered.
Filter = Callable[[np.ndarray, bool], tuple[np.ndarray, bool]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule(abc.ABC):
    """One kind of failure; ``modality`` is a name, several names, or ``all``."""

    modality: str | tuple[str, ...]

    def __post_init__(self):
        names = (self.modality,) if isinstance(self.modality, str) else self.modality
        good = isinstance(names, tuple | list) and names
        _require(
            good and all(isinstance(name, str) for name in names),
            "modality",
            self.modality,
            "a name, a list of names, or 'all'",
        )
        if isinstance(self.modality, list):
            object.__setattr__(self, "modality", tuple(self.modality))

    def names(self, modalities: Sequence[Modality]) -> tuple[str, ...]:
        """The modalities it acts on, of those that an environment has.

        Raises:
            ValueError: for a modality that the environment lacks, or that cannot fail.
        """
        if self.modality == "all":
            return tuple(m.name for m in modalities if m.can_fail)
        names = (self.modality,) if isinstance(self.modality, str) else self.modality
        require_can_fail(names, modalities)
        return names

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
        _require_int(self, "start", 0)
        if self.stop is not None:
            _require_int(self, "stop", self.start + 1)

    def begin(self, modality: Modality, random: np.random.Generator) -> Filter:
        length = None if self.stop is None else self.stop - self.start
        acting = itertools.islice(self.process(random), length)
        # Begun at ``start``, so that a stationary process is stationary from there on.
        acts = itertools.chain(itertools.repeat(False, self.start), acting, itertools.repeat(False))
        return self.filter(modality, acts, random)

    def process(self, random: np.random.Generator) -> Iterator[bool]:
        """Whether it acts at each step of its time."""
        return itertools.repeat(True)

    def filter(
        self, modality: Modality, acts: Iterator[bool], random: np.random.Generator
    ) -> Filter:
        """By default the value is missing while the rule acts."""
        return lambda value, available: (value, not next(acts) and available)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segments(Bounded):
    """Missing for random segments, a fraction ``rate`` in [0, 1) of the steps; stationary."""

    rate: float
    max_length: int = MAX_LENGTH

    def __post_init__(self):
        super().__post_init__()
        _require_fraction(self, "rate", one=False)
        _require_int(self, "max_length", 1)

    def process(self, random: np.random.Generator) -> Iterator[bool]:
        return stationary_segments(self.rate, self.max_length, random)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published(Bounded):
    """Missing for random segments, each begun with ``probability``; starts with a good sensor."""

    probability: float
    max_length: int = MAX_LENGTH

    def __post_init__(self):
        super().__post_init__()
        _require_fraction(self, "probability")
        _require_int(self, "max_length", 1)

    def process(self, random: np.random.Generator) -> Iterator[bool]:
        return segments(self.probability, self.max_length, random)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lost(Rule):
    """Missing for good from step ``at`` on; 0 is from the reset on."""

    at: int

    def __post_init__(self):
        super().__post_init__()
        _require_int(self, "at", 0)

    def begin(self, modality: Modality, random: np.random.Generator) -> Filter:
        works = itertools.chain(itertools.repeat(True, self.at), itertools.repeat(False))
        return lambda value, available: (value, next(works) and available)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flicker(Bounded):
    """Missing on each step with ``probability``, or regularly.

    Regularly means delivered on the first round(duty * period) steps of every ``period`` steps.
    """

    probability: float | None = None
    period: int | None = None
    duty: float | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.probability is not None:
            _require_fraction(self, "probability")
            for name in ("period", "duty"):
                value = getattr(self, name)
                _require(value is None, name, value, "left out beside a probability")
        else:
            _require_int(self, "period", 2)
            _require_fraction(self, "duty")

    def process(self, random: np.random.Generator) -> Iterator[bool]:
        if self.probability is not None:
            return (random.random() < self.probability for _ in itertools.count())
        works = round(self.duty * self.period)
        return (step % self.period >= works for step in itertools.count())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frozen(Bounded):
    """The last value is repeated and declared available: the sensor lies.

    It does so from ``start`` to ``stop``, or, with a ``rate``, in random segments of that time.
    What is repeated is the last value that was available before; before the first one there is
    nothing to repeat, so the first one passes.
    """

    rate: float | None = None
    max_length: int = MAX_LENGTH

    def __post_init__(self):
        super().__post_init__()
        if self.rate is not None:
            _require_fraction(self, "rate", one=False)
        _require_int(self, "max_length", 1)

    def process(self, random: np.random.Generator) -> Iterator[bool]:
        if self.rate is None:
            return super().process(random)
        return stationary_segments(self.rate, self.max_length, random)

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
class Noise(Bounded):
    """Gaussian noise of standard deviation ``std`` in the modality's own units is added.

    Images (grey levels 0..255) are rounded; images and depths [-1, 1] are clipped to their range.
    """

    std: float

    def __post_init__(self):
        super().__post_init__()
        _require(
            _is_number(self.std) and 0 <= self.std < np.inf,
            "std",
            self.std,
            "a number of at least 0",
        )

    def filter(
        self, modality: Modality, acts: Iterator[bool], random: np.random.Generator
    ) -> Filter:
        def disturb(value, available):
            if not next(acts):
                return value, available
            noisy = value + np.float32(self.std) * random.standard_normal(value.shape, np.float32)
            if modality.kind == "image":
                noisy = np.clip(np.rint(noisy), 0, 255)
            elif modality.kind == "depth":
                noisy = np.clip(noisy, -1, 1)
            return noisy.astype(modality.dtype), available

        return disturb


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delay(Rule):
    """Value and availability arrive ``steps`` steps late; before that nothing is available."""

    steps: int

    def __post_init__(self):
        super().__post_init__()
        _require_int(self, "steps", 1)

    def begin(self, modality: Modality, random: np.random.Generator) -> Filter:
        nothing = (np.zeros(modality.shape, modality.dtype), False)
        line = collections.deque([nothing] * self.steps)

        def delay(value, available):
            line.append((np.array(value), available))
            return line.popleft()

        return delay


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


def _require(condition: bool, field: str, value: Any, right: str) -> None:
    if not condition:
        raise ValueError(f"{field} is {value!r}; it must be {right}")


def _require_int(rule: Rule, field: str, least: int) -> None:
    value = getattr(rule, field)
    good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    _require(good, field, value, f"an integer of at least {least}")


def _require_fraction(rule: Rule, field: str, *, one: bool = True) -> None:
    value = getattr(rule, field)
    good = _is_number(value) and (0 <= value < 1 or (one and value == 1))
    _require(good, field, value, "in [0, 1]" if one else "in [0, 1)")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
