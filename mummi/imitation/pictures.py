"""Pictures brought to another size by area averaging."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from mummi.modality import Modality


@dataclasses.dataclass(frozen=True)
class Picture:
    """Sizes of the pictures of a camera, height and width in pixels.

    Attributes:
        given: in the data.
        learned: as they are learned from.
    """

    given: tuple[int, int]
    learned: tuple[int, int]


def fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width with the proportions of ``size``, the shorter of them ``side``."""
    shorter = min(size)
    height, width = (max(side, round(n * side / shorter)) for n in size)
    return height, width


def picture_sizes(modalities: Sequence[Modality], side: int) -> dict[str, Picture]:
    """How images and depth get a shorter side of ``side`` pixels; those that have it are not named.

    Args:
        modalities: sensors of the data.
        side: in pixels.
    """
    found = {}
    for m in modalities:
        if m.kind in ("image", "depth"):
            size = m.shape[0], m.shape[1]
            if (wanted := fitted(size, side)) != size:
                found[m.name] = Picture(size, wanted)
    return found


def resize(pictures: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pictures of another size, each pixel the mean of the area that it covers.

    Args:
        pictures: [*lead, H, W, C], uint8 or floats; a float that is not finite spoils the pixels
            that it has a part in.
        size: height and width.

    Returns:
        [*lead, *size, C] of the same dtype, uint8 rounded.
    """
    pictures = np.asarray(pictures)
    if pictures.shape[-3:-1] == tuple(size):
        return pictures
    *lead, height, width, channels = pictures.shape
    stored = pictures if pictures.dtype == np.uint8 else pictures.astype(np.float32, copy=False)
    small = [
        cv2.resize(picture, tuple(size)[::-1], interpolation=cv2.INTER_AREA)
        for picture in stored.reshape(-1, height, width, channels)
    ]
    return np.reshape(small, (*lead, *size, channels)).astype(pictures.dtype, copy=False)
