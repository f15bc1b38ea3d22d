"""Sensors that lie about what they see: a value that is disturbed and declared available."""

import abc
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from envs.failures.rules import Filter, Lie, is_number, require, require_fraction, require_int
from mummi.modality import Kind, Modality

PICTURES: tuple[Kind, ...] = ("image", "depth")
DIRT = np.array([40.0, 30.0, 20.0])
"""Colour of dirt on the lens, grey levels."""
NOTHING = 1.0
"""What a depth camera says where nothing comes back to it."""

Distort = Callable[[np.ndarray], np.ndarray]
"""What a sensor says, float32 [*shape] -> what it delivers, as float, before it is made valid."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distortion(Lie):
    """A value that changes step by step; it stays within what its kind can be.

    Images (grey levels 0..255) are rounded; images and depths [-1, 1] are clipped to their range.
    """

    def filter(
        self, modality: Modality, acts: Iterator[bool], random: np.random.Generator
    ) -> Filter:
        distort = self.distortion(modality, random)

        def change(value, available):
            if not next(acts):
                return value, available
            return valid(modality, distort(value.astype(np.float32))), available

        return change

    @abc.abstractmethod
    def distortion(self, modality: Modality, random: np.random.Generator) -> Distort:
        """Starts an episode of one modality; called at each step at which it acts."""


def valid(modality: Modality, value: np.ndarray) -> np.ndarray:
    """A value within its kind's range and of its dtype."""
    if modality.kind == "image":
        value = np.clip(np.rint(value), 0, 255)
    elif modality.kind == "depth":
        value = np.clip(value, -1, 1)
    return value.astype(modality.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise(Distortion):
    """Gaussian noise of standard deviation ``std`` in the modality's own units is added."""

    std: float

    def __post_init__(self):
        super().__post_init__()
        _require_number(self, "std", 0)

    def distortion(self, modality: Modality, random: np.random.Generator) -> Distort:
        std = np.float32(self.std)
        return lambda value: value + std * random.standard_normal(value.shape, np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drift(Distortion):
    """Times ``gain`` plus ``offset`` (in the modality's own units), reached within ``steps``."""

    gain: float = 1.0
    offset: float = 0.0
    steps: int = 50

    def __post_init__(self):
        super().__post_init__()
        _require_number(self, "gain", 0)
        _require_number(self, "offset", None)
        require_int(self, "steps", 1)

    def distortion(self, modality: Modality, random: np.random.Generator) -> Distort:
        count = 0

        def drift(value):
            nonlocal count
            count += 1
            share = min(1.0, count / self.steps)
            return value * (1 + share * (self.gain - 1)) + share * self.offset

        return drift


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sized(Distortion):
    """A distortion of pictures that has a ``size``, a share of their width."""

    size: float
    kinds: ClassVar[tuple[Kind, ...]] = PICTURES

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "size")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blur(Sized):
    """Blurred by a Gaussian whose standard deviation is a share ``size`` of the width."""

    def distortion(self, modality: Modality, random: np.random.Generator) -> Distort:
        sigma = self.size * modality.shape[1]
        return lambda value: ndimage.gaussian_filter(value, (sigma, sigma, 0), mode="nearest")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Glare(Sized):
    """A light at a random place outshines all around it, up to a share ``size`` of the width.

    A depth camera sees nothing there.
    """

    def distortion(self, modality: Modality, random: np.random.Generator) -> Distort:
        height, width, _ = modality.shape
        row, column = random.uniform(size=2) * (height, width)
        distance = np.hypot(np.arange(height)[:, None] - row, np.arange(width) - column)
        light = np.clip(2 - 2 * distance / max(self.size * width, 1), 0, 1)[..., None]
        if modality.kind == "depth":
            return lambda value: np.where(light > 0, NOTHING, value)
        return lambda value: value + 255 * light


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patch(Sized):
    """Dirt on the lens: an opaque square at a random place, its side a share ``size`` of the width.

    With ``moves`` it wanders by up to a tenth of its side a step, as something that hangs before
    the camera. A depth camera takes it for something right before it, at distance 0.
    """

    moves: bool = False

    def __post_init__(self):
        super().__post_init__()
        require(isinstance(self.moves, bool), "moves", self.moves, "true or false")

    def distortion(self, modality: Modality, random: np.random.Generator) -> Distort:
        height, width, channels = modality.shape
        side = max(1, round(self.size * width))
        room = np.maximum([height - side, width - side], 0)
        place = random.uniform(size=2) * room
        depth = modality.kind == "depth"
        color = np.zeros(1) if depth else np.resize(DIRT, channels)

        def cover(value):
            nonlocal place
            if self.moves:
                place = np.clip(place + random.uniform(-0.1, 0.1, 2) * side, 0, room)
            row, column = np.rint(place).astype(int)
            value[row : row + side, column : column + side] = color
            return value

        return cover


@dataclasses.dataclass(frozen=True, kw_only=True)
class Displaced(Distortion):
    """A camera that was knocked: its picture is turned by ``angle`` degrees about its middle and
    moved by a share ``shift`` of its width in a random direction; edges are repeated."""

    shift: float = 0.0
    angle: float = 0.0
    kinds: ClassVar[tuple[Kind, ...]] = PICTURES

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "shift")
        _require_number(self, "angle", None)

    def distortion(self, modality: Modality, random: np.random.Generator) -> Distort:
        height, width, _ = modality.shape
        way = random.uniform(0, 2 * math.pi)
        turn = math.radians(self.angle) * (1 if random.random() < 0.5 else -1)
        rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        middle = np.array([height - 1, width - 1]) / 2
        moved = middle + self.shift * width * np.array([math.sin(way), math.cos(way)])
        matrix = np.eye(3)
        matrix[:2, :2] = rotation
        offset = np.append(middle - rotation @ moved, 0.0)
        return lambda value: ndimage.affine_transform(
            value, matrix, offset, order=1, mode="nearest"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeadPixels(Distortion):
    """A ``share`` of all pixels is stuck for the episode: half of them dark, half bright."""

    share: float
    kinds: ClassVar[tuple[Kind, ...]] = PICTURES

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "share")

    def distortion(self, modality: Modality, random: np.random.Generator) -> Distort:
        draw = random.random((*modality.shape[:2], 1))
        bright = NOTHING if modality.kind == "depth" else 255
        stuck = np.where(draw < self.share / 2, 0, bright)
        return lambda value: np.where(draw < self.share, stuck, value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stuck(Distortion):
    """A ``share`` of a vector's numbers, at least one, stays as it was when it began."""

    share: float
    kinds: ClassVar[tuple[Kind, ...]] = ("vector", "embedding")

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "share")

    def distortion(self, modality: Modality, random: np.random.Generator) -> Distort:
        (size,) = modality.shape
        stuck = random.permutation(size) < max(1, round(self.share * size))
        first = None

        def stick(value):
            nonlocal first
            first = value if first is None else first
            return np.where(stuck, first, value)

        return stick


def _require_number(rule: Any, field: str, least: float | None) -> None:
    value = getattr(rule, field)
    good = is_number(value) and math.isfinite(value) and (least is None or value >= least)
    need = "a number" if least is None else f"a number of at least {least}"
    require(good, field, value, need)
