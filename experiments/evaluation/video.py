"""Evaluation videos: the scene beside what each sensor delivered, missing or distrusted marked."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw

from envs.processes.parallel import Batch, ParallelEnvironments
from experiments.evaluation.actors import Act, Numbers
from experiments.evaluation.trust import Traces
from mummi.modality import Modality

PANEL = 192
"""Height and width of a panel in pixels."""
_CAPTION = 16
_BAR = 8
_MISSING, _DISTRUSTED, _FINE = (200, 30, 30), (240, 160, 0), (0, 0, 0)
_FRAME = 6
_DONE, _LEFT = (90, 200, 90), (60, 60, 60)


class Film:
    """Acts as it is told to, and keeps the frames of one episode: use it as an ``Act``.

    Args:
        act: chooses the actions.
        environments: the environments that it acts in.
        number: of the episode, which the first environment plays.
        traces: trust, framed in the video; None of an agent without.

    Attributes:
        frames: uint8 [H, W, 3] each; the last step, at which nothing is done, has none.
    """

    def __init__(
        self,
        act: Act,
        environments: ParallelEnvironments,
        number: int,
        traces: Traces | None = None,
    ):
        self._act, self._environments = act, environments
        self._number, self._traces = number, traces
        self.frames: list[np.ndarray] = []

    def __call__(self, batch: Batch, numbers: Numbers) -> np.ndarray:
        """Actions [K, A] for one step of K environments."""
        actions = self._act(batch, numbers)
        if numbers[0] == self._number:
            if batch.is_first[0]:
                self.frames.clear()  # also where a lost worker begins it anew
            scene = self._environments.render(PANEL)[0]
            trust = self._traces.now(0) if self._traces else {}
            self.frames.append(panels(scene, batch, self._environments.modalities, trust))
        return actions


def panels(
    scene: np.ndarray,
    batch: Batch,
    modalities: Sequence[Modality],
    trust: Mapping[str, float] = MappingProxyType({}),
) -> np.ndarray:
    """One frame: the scene [H, W, 3] and a panel a sensor of the first environment; uint8.

    A missing sensor is crossed in red; one whose ``trust`` is below 1/2 is framed in amber.
    With a proportion ``wiped`` in ``info`` the scene's caption says it and a bar below shows it.
    """
    picture, caption = Image.fromarray(scene).resize((PANEL, PANEL)), "scene"
    if (wiped := batch.info[0].get("wiped")) is not None:
        caption = f"scene, {100 * wiped:.0f} % wiped"
        draw = ImageDraw.Draw(picture)
        draw.rectangle((0, PANEL - _BAR, PANEL, PANEL), _LEFT)
        if wiped:
            draw.rectangle((0, PANEL - _BAR, wiped * PANEL, PANEL), _DONE)
    tiles = [_captioned(picture, caption, _FINE)]
    for modality in modalities:
        missing = not batch.available[modality.name][0]
        picture = _picture(modality, batch.values[modality.name][0])
        caption, colour = modality.name, _FINE
        if missing:
            picture, caption, colour = _crossed(), f"{modality.name} missing", _MISSING
        elif trust.get(modality.name, 1.0) < 0.5:
            caption, colour = f"{modality.name} distrusted", _DISTRUSTED
            frame = (0, 0, PANEL - 1, PANEL - 1)
            ImageDraw.Draw(picture).rectangle(frame, outline=colour, width=_FRAME)
        tiles.append(_captioned(picture, caption, colour))
    return np.concatenate(tiles, 1)


def _picture(modality: Modality, value: np.ndarray) -> Image.Image:
    if modality.kind == "image":
        return Image.fromarray(value).resize((PANEL, PANEL), Image.Resampling.NEAREST)
    if modality.kind == "depth":
        grey = np.uint8(255 * np.clip(value[..., 0], 0, 1))
        return Image.fromarray(grey).convert("RGB").resize((PANEL, PANEL), Image.Resampling.NEAREST)
    return _bars(value)


def _bars(value: np.ndarray) -> Image.Image:
    """Bars from the middle line, full at +-1."""
    picture = Image.new("RGB", (PANEL, PANEL), (20, 20, 20))
    draw = ImageDraw.Draw(picture)
    middle, width = PANEL // 2, PANEL / len(value)
    draw.line((0, middle, PANEL, middle), (90, 90, 90))
    for index, number in enumerate(np.clip(value, -1, 1)):
        left, right = index * width + 0.15 * width, (index + 1) * width - 0.15 * width
        end = middle - float(number) * (middle - 4)
        draw.rectangle((left, min(middle, end), right, max(middle, end)), (80, 170, 240))
    return picture


def _crossed() -> Image.Image:
    picture = Image.new("RGB", (PANEL, PANEL), (40, 10, 10))
    draw = ImageDraw.Draw(picture)
    draw.line((8, 8, PANEL - 8, PANEL - 8), _MISSING, 4)
    draw.line((8, PANEL - 8, PANEL - 8, 8), _MISSING, 4)
    return picture


def _captioned(picture: Image.Image, caption: str, colour: tuple[int, int, int]) -> np.ndarray:
    tile = Image.new("RGB", (PANEL, PANEL + _CAPTION), colour)
    tile.paste(picture, (0, _CAPTION))
    ImageDraw.Draw(tile).text((4, 2), caption, (255, 255, 255))
    return np.asarray(tile)
