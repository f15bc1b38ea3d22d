"""What an array in a file says about a sensor, and its values as this package has them."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from mummi.modality import Kind, Modality

CHANNELS = (1, 3, 4)
"""Channels that a picture may have where it could also lie the other way round."""


class Form(NamedTuple):
    """How the values of a sensor are stored.

    Attributes:
        dtype: of the array.
        shape: of one value.
        kind: of the sensor, where the data say it; pictures then lie as [H, W, C].
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    kind: Kind | None = None


def declare(
    name: str, dtype: DTypeLike, shape: Sequence[int], kind: Kind | None = None
) -> Modality:
    """The sensor that delivers values of a dtype and shape.

    uint8 of two axes or three is an image; uint16 of two axes or three, and floats of three of
    which one is 1, are depth, as are floats of two whose name has ``depth`` in it. Everything else
    of up to two axes is a vector.

    Args:
        name: of the sensor.
        dtype: of the stored values.
        shape: of one stored value; of pictures [H, W, C], [C, H, W] or [H, W].
        kind: where the data say it; pictures then lie as [H, W, C].

    Raises:
        ValueError: no sensor has such values. The message is the end of a sentence on the array.
    """
    dtype, shape = np.dtype(dtype), tuple(shape)
    if dtype.kind not in "biuf":
        raise ValueError(f"has dtype {dtype}; it must be numbers")
    if kind is not None:
        return Modality(name, kind, shape)
    picture = len(shape) == 3 or (len(shape) == 2 and dtype in (np.uint8, np.uint16))
    depth = dtype != np.uint8
    if depth and len(shape) == 2 and "depth" in name.lower():
        picture = True
    if not picture:
        if len(shape) > 3:
            raise ValueError(f"has values of shape {shape}; a value has at most three axes")
        return Modality(name, "vector", (int(np.prod(shape)),))
    shape = (*shape, 1) if len(shape) == 2 else _channels_last(shape)
    if not depth:
        return Modality(name, "image", shape)
    if shape[-1] != 1:
        raise ValueError(
            f"has shape {shape} and dtype {dtype}; pictures must be uint8 (0 to 255), and depth "
            "has one channel"
        )
    if dtype.kind != "f" and dtype != np.uint16:
        raise ValueError(f"has dtype {dtype}; depth must be floats, or uint16 in millimetres")
    return Modality(name, "depth", shape)


def _channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    first, last = shape[0] in CHANNELS, shape[-1] in CHANNELS
    if first == last and not (last and shape[0] == shape[1]):
        raise ValueError(
            f"has pictures of shape {shape}, in which channels may come first or last; they must "
            "be [H, W, C] or [C, H, W] with 1, 3 or 4 channels"
        )
    return (*shape[1:], shape[0]) if first and not last else shape


def convert(modality: Modality, stored: np.ndarray) -> np.ndarray:
    """Stored values [T, ...] as [T, *shape], of floats perhaps still with more bits.

    Channels come last, and a vector has one axis. The unit of depth stays.
    """
    if stored.shape[1:] == modality.shape:
        return stored
    if modality.kind in ("image", "depth"):
        if stored.ndim == 3:
            return stored[..., None]
        return np.ascontiguousarray(np.moveaxis(stored, 1, -1))
    return stored.reshape(len(stored), *modality.shape)


def identifier(name: str) -> str:
    """A sensor's name in the data as one that a modality may have, for example ``a/b-c`` ``a_b_c``.

    Whatever is no letter, digit or underscore of ASCII becomes an underscore.
    """
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{name}" if name[:1].isdigit() else name
