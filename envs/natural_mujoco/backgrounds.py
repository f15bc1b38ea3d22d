"""Moving backgrounds: natural-statistics clips made here, or the user's own videos and pictures."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from envs.episodes import Episodes
from envs.natural_mujoco.footage import Footage

Seed = int | Sequence[int] | np.random.SeedSequence


class Background(Protocol):
    """A stream of pictures that stand behind the robot."""

    def new_clip(self, number: int | None = None) -> None:
        """Begins another clip; call it at every reset, and before the first ``frame``.

        Clip and phase follow from the background's seed and the number of the episode; without
        one the background counts.
        """

    def frame(self) -> np.ndarray:
        """The next picture of the clip, [size, size, 3] uint8; a clip never ends."""


def make_background(source: str, size: int, seed: Seed, training: bool) -> Background:
    """Makes a background.

    Training and evaluation never share a clip, except where ``source`` is a single still picture.

    Args:
        source: ``natural``, or a path to a video, a picture, or a folder of them
            (``envs.natural_mujoco.footage`` says which formats).
        size: height and width of a frame, pixels.
        seed: int, sequence of ints, or ``np.random.SeedSequence``; decides the clips.
        training: give the clips for training, not those for evaluation.

    Raises:
        ValueError: for a path with nothing to read, naming the file.
    """
    if not isinstance(seed, np.random.SeedSequence):
        seed = np.random.SeedSequence(seed)
    # A key of its own for each split keeps the clips apart even where the seeds are the same.
    key = (*seed.spawn_key, 0 if training else 1)
    episodes = Episodes(np.random.SeedSequence(seed.entropy, spawn_key=key))
    if source == "natural":
        return NaturalClips(size, episodes)
    return Footage(source, size, episodes, training)


class NaturalClips:
    """Unlimited random clips with the statistics of natural scenes.

    Half of the clips are dead leaves: opaque shapes with power-law sizes in three layers that
    move past each other, so that things occlude each other. The others are one coloured texture.
    Every surface carries a texture whose amplitude falls as 1/frequency, and every layer drifts,
    turns, breathes and bends at its own pace.

    Args:
        size: height and width of a frame, pixels.
        episodes: give each clip its seed.
    """

    def __init__(self, size: int, episodes: Episodes):
        self._size, self._episodes = size, episodes
        self._layers: list[_Layer] = []
        self._time = 0

    def new_clip(self, number: int | None = None) -> None:
        rng = np.random.default_rng(self._episodes.begin(number)[1])
        period = 1 << (2 * self._size - 1).bit_length()
        palette = _Palette(rng.uniform(-0.9, 0.9), rng.normal(0, 0.2, 2), rng.uniform(0.6, 1.2))
        if rng.random() < 0.5:
            scenes = [_texture(period, palette, rng)]
        else:
            ground = _leaves(period, palette, rng, count=220)
            scenes = [ground, *(_leaves(period, palette, rng, count=n) for n in (14, 8))]
            # Only the ground is opaque everywhere; above it lie the leaves alone.
            scenes[0] |= _OPAQUE
        self._layers = [_Layer(scene, self._size, rng) for scene in scenes]
        self._time = 0

    def frame(self) -> np.ndarray:
        picture = self._layers[0].sample(self._time)
        for layer in self._layers[1:]:
            above = layer.sample(self._time)
            np.copyto(picture, above, where=above >= _OPAQUE)
        self._time += 1
        pixels = picture.view(np.uint8).reshape(self._size, self._size, 4)
        rgb = np.empty((self._size, self._size, 3), np.uint8)
        for channel in range(3):  # a third of the time of copying pixels[..., :3]
            rgb[..., channel] = pixels[..., channel]
        return rgb


# A pixel is one uint32, red in the lowest byte and opacity in the highest: a single gather then
# moves all channels.
_OPAQUE = np.uint32(0xFF000000)


@dataclasses.dataclass(frozen=True)
class _Palette:
    """Colours of a clip: mean brightness, mean of two colour axes, and contrast."""

    brightness: float
    tint: np.ndarray
    contrast: float

    def pixels(self, colours: np.ndarray) -> np.ndarray:
        """Packs [3, H, W] of brightness, blue-yellow and red-green, unit scale, to [H, W]."""
        light = self.brightness + self.contrast * colours[0]
        warm = self.tint[0] + 0.3 * self.contrast * colours[1]
        red_green = self.tint[1] + 0.2 * self.contrast * colours[2]
        rgb = np.stack([light + warm + red_green, light - red_green, light - warm])
        rgb = 255 / (1 + np.exp(-rgb))
        red, green, blue = rgb.astype(np.uint32)
        return red | green << np.uint32(8) | blue << np.uint32(16)


def _noise(period: int, rng: np.random.Generator) -> np.ndarray:
    """Three fields on a torus, amplitude 1/f^slope, zero mean and unit variance, [3, H, W]."""
    vertical = np.fft.fftfreq(period)[:, None]
    frequency = np.hypot(vertical, np.fft.rfftfreq(period))
    frequency[0, 0] = 1
    amplitude = (frequency ** -rng.uniform(1, 1.3)).astype(np.float32)
    amplitude[0, 0] = 0
    white = rng.standard_normal((2, 3, *amplitude.shape), np.float32)
    fields = np.fft.irfft2(amplitude * (white[0] + 1j * white[1]), s=(period, period))
    return (fields / fields.std((1, 2), keepdims=True)).astype(np.float32)


def _texture(period: int, palette: _Palette, rng: np.random.Generator) -> np.ndarray:
    return palette.pixels(_noise(period, rng)) | _OPAQUE


def _leaves(period: int, palette: _Palette, rng: np.random.Generator, count: int) -> np.ndarray:
    """Textured ellipses and rectangles thrown on a torus, the later over the earlier.

    The density of radii falls as radius^-3, which makes the whole look alike at every scale.
    """
    colours = 0.35 * _noise(period, rng)
    base = np.zeros_like(colours)
    covered = np.zeros((period, period), bool)
    smallest, largest = 0.025 * period, 0.22 * period
    quantile = rng.random(count)
    radii = (smallest**-2 + quantile * (largest**-2 - smallest**-2)) ** -0.5
    centres = rng.integers(0, period, (count, 2))
    flats = rng.uniform(0.4, 1, count)
    angles = rng.uniform(0, np.pi, count)
    round_shape = rng.random(count) < 0.7
    tones = rng.normal(0, 0.9, (count, 3)).astype(np.float32)
    for i, radius in enumerate(radii):
        reach = int(np.ceil(1.5 * radius))
        offset = np.arange(-reach, reach + 1)
        along = np.cos(angles[i]) * offset + np.sin(angles[i]) * offset[:, None]
        across = (np.cos(angles[i]) * offset[:, None] - np.sin(angles[i]) * offset) / flats[i]
        if round_shape[i]:
            inside = along**2 + across**2 <= radius**2
        else:
            inside = np.maximum(abs(along), abs(across)) <= radius
        rows, columns = np.nonzero(inside)
        rows = (rows + centres[i, 0]) % period
        columns = (columns + centres[i, 1]) % period
        base[:, rows, columns] = tones[i][:, None]
        covered[rows, columns] = True
    return palette.pixels(base + colours) | np.where(covered, _OPAQUE, np.uint32(0))


class _Layer:
    """A picture on a torus seen through a window that drifts, turns, breathes and bends."""

    def __init__(self, picture: np.ndarray, size: int, rng: np.random.Generator):
        self._pixels = picture.ravel()
        self._period = len(picture)
        pixel = size / 64
        # Plain floats, as all that ``sample`` reckons with: it is called at every step.
        self._start = rng.uniform(0, self._period, 2).tolist()
        heading, speed = rng.uniform(0, 2 * np.pi), pixel * rng.uniform(0.3, 1.5)
        self._velocity = speed * math.cos(heading), speed * math.sin(heading)
        self._angle, self._turn = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.01)
        self._zoom, self._bend = rng.uniform(0, 0.2), pixel * rng.uniform(0, 4)
        self._pace = rng.uniform(0.02, 0.08, 2).tolist()
        centred = np.arange(size, dtype=np.float32) - (size - 1) / 2
        x, y = (grid.ravel() for grid in np.meshgrid(centred, centred))
        wave = 2 * np.pi * rng.uniform(0.5, 1.5) / size
        bends = (np.sin(wave * a + rng.uniform(0, 2 * np.pi)) for a in (y, x))
        self._size = size
        self._basis = np.stack([x, y, *bends, np.ones_like(x)]).astype(np.float32)

    def sample(self, time: int) -> np.ndarray:
        """Packed pixels at a time, [size, size] uint32."""
        zoom = 1 + self._zoom * math.sin(self._pace[0] * time)
        angle = self._angle + self._turn * time
        cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
        bend = self._bend * math.sin(self._pace[1] * time)
        # The offset is wrapped before it meets float32, which would lose pixels after long.
        x, y = (
            (start + time * velocity) % self._period + self._period
            for start, velocity in zip(self._start, self._velocity, strict=True)
        )
        warp = [[cosine, -sine, bend, 0, x], [sine, cosine, 0, bend, y]]
        columns, rows = (np.array(warp, np.float32) @ self._basis).astype(np.int32)
        mask = self._period - 1
        picture = self._pixels.take((rows & mask) * self._period + (columns & mask))
        return picture.reshape(self._size, self._size)
