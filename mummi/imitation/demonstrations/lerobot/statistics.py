"""Statistics of features as ``meta/stats.json`` has them."""

from collections.abc import Mapping, Sequence

import numpy as np

Statistics = dict[str, np.ndarray]
"""``min``, ``max``, ``mean`` and ``std`` of the shape of a value, and ``count`` [1] of frames."""


def of_numbers(values: np.ndarray) -> Statistics:
    """Of numbers [N, *shape], which may be none; a single number a frame [N] counts as [N, 1]."""
    values = np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    count = np.array([len(values)])
    if not len(values):
        nothing = np.zeros(values.shape[1:])
        return {name: nothing for name in ("min", "max", "mean", "std")} | {"count": count}
    return {
        "min": values.min(0),
        "max": values.max(0),
        "mean": values.mean(0),
        "std": values.std(0),
        "count": count,
    }


def of_pictures(values: np.ndarray) -> Statistics:
    """Of pictures [N, H, W, C] by channel, [C, 1, 1]; uint8 in [0, 1]."""
    scale, channels = 255 if values.dtype == np.uint8 else 1, values.shape[-1]
    # Frame by frame, as a whole episode in float64 would be eight times as large.
    frames = [of_numbers(frame.reshape(-1, channels) / scale) for frame in values]
    whole = together(frames or [of_numbers(np.zeros((0, channels)))])
    found = {name: value[:, None, None] for name, value in whole.items() if name != "count"}
    return found | {"count": np.array([len(values)])}


def together(parts: Sequence[Mapping[str, np.ndarray]]) -> Statistics:
    """Of all frames, from those of several parts of them, each perhaps without any."""
    whole = [part for part in parts if part["count"][0]]
    if not whole:
        return dict(parts[0])
    counts = np.array([part["count"][0] for part in whole])
    mean = np.average([part["mean"] for part in whole], 0, counts)
    squares = [part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in whole]
    return {
        "min": np.min([part["min"] for part in whole], 0),
        "max": np.max([part["max"] for part in whole], 0),
        "mean": mean,
        "std": np.sqrt(np.average(squares, 0, counts)),
        "count": np.array([int(counts.sum())]),
    }
