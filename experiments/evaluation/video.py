"""Evaluation videos: the scene beside what each sensor delivered, missing ones marked."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from envs.processes.parallel import Batch
from mummi.modality import Modality

FRAMES_PER_SECOND = 12
"""Of the videos: near real time where an action lasts 0.05 to 0.1 s."""
PANEL = 192
"""Height and width of a panel in pixels."""
_CAPTION = 16
_BAR = 8
_MISSING = (200, 30, 30)
_DONE, _LEFT = (90, 200, 90), (60, 60, 60)


def panels(scene: np.ndarray, batch: Batch, modalities: Sequence[Modality], k: int = 0):
    """One frame: the scene [H, W, 3] and a panel a sensor of environment ``k``; uint8.

    With a proportion ``wiped`` in ``info`` the scene's caption says it and a bar below shows it.
    """
    picture, caption = Image.fromarray(scene).resize((PANEL, PANEL)), "scene"
    if (wiped := batch.info[k].get("wiped")) is not None:
        caption = f"scene, {100 * wiped:.0f} % wiped"
        draw = ImageDraw.Draw(picture)
        draw.rectangle((0, PANEL - _BAR, PANEL, PANEL), _LEFT)
        if wiped:
            draw.rectangle((0, PANEL - _BAR, wiped * PANEL, PANEL), _DONE)
    tiles = [_captioned(picture, caption, False)]
    for modality in modalities:
        missing = not batch.available[modality.name][k]
        picture = _picture(modality, batch.values[modality.name][k])
        if missing:
            picture = _crossed()
        caption = f"{modality.name} missing" if missing else modality.name
        tiles.append(_captioned(picture, caption, missing))
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


def _captioned(picture: Image.Image, caption: str, alarm: bool) -> np.ndarray:
    tile = Image.new("RGB", (PANEL, PANEL + _CAPTION), _MISSING if alarm else (0, 0, 0))
    tile.paste(picture, (0, _CAPTION))
    ImageDraw.Draw(tile).text((4, 2), caption, (255, 255, 255))
    return np.asarray(tile)
