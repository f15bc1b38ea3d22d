"""Normalisation by modality and the modality-fair distance (RL4IL, appendix A).

Embeddings are concatenated blocks [..., D], D the sum of ``dims``; availability is [..., M].
"""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

EPSILON = 1e-6
"""Standard deviations below this count as constant dimensions."""

_CELLS = 1 << 24
"""Numbers in the largest temporary array."""


def chunks(rows: int, width: int) -> list[slice]:
    """Slices of ``range(rows)`` of which each, times ``width``, fits a temporary array."""
    size = max(1, _CELLS // max(width, 1))
    return [slice(start, start + size) for start in range(0, rows, size)]


def element_mask(available: ArrayLike, dims: Sequence[int]) -> Bool[np.ndarray, "... D"]:
    """Availability of each element [..., D] from that of each modality [..., M]."""
    return np.repeat(np.asarray(available, bool), dims, axis=-1)


def fit_zscore(
    embedding: Float[np.ndarray, "N D"], available: Bool[np.ndarray, "N M"], dims: Sequence[int]
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
    """Mean and standard deviation of each dimension over the available samples (eq. 11).

    A standard deviation below ``EPSILON``, or of fewer than two samples, is set to 1; the mean of
    a modality that is never available is 0.
    """
    mask = element_mask(available, dims)
    x = np.where(mask, embedding, 0.0).astype(np.float64)
    count = mask.sum(0)
    mean = x.sum(0) / np.maximum(count, 1)
    variance = np.where(mask, x - mean, 0.0)
    std = np.sqrt(np.square(variance).sum(0) / np.maximum(count - 1, 1))
    return mean, np.where(std < EPSILON, 1.0, std)


def zscore(
    embedding: Float[np.ndarray, "Q D"],
    available: Bool[np.ndarray, "Q M"],
    dims: Sequence[int],
    mean: Float[np.ndarray, " D"],
    std: Float[np.ndarray, " D"],
) -> Float[np.ndarray, "Q D"]:
    """Normalised embedding (eq. 12) as float32; 0, the training mean, where missing."""
    mask = element_mask(available, dims)
    x = np.where(mask, embedding, 0.0)
    return np.where(mask, (x - mean) / std, 0.0).astype(np.float32)


def modality_fair_distance(
    query: ArrayLike,
    library: ArrayLike,
    dims: Sequence[int],
    available: ArrayLike | Sequence,
    library_available: ArrayLike | Sequence | None = None,
    fair: bool = True,
) -> Float[np.ndarray, "Q N"]:
    """Distance in which every modality present in both counts alike (eq. 13), float64 [Q, N].

    The root of the mean, over the M' modalities that query and item share, of the mean squared
    difference per dimension. Nothing that a missing modality holds, NaN included, has an effect.

    Args:
        query: z-scored blocks side by side, [Q, D].
        library: the same, [N, D].
        dims: size of each modality's block; their sum is D.
        available: bool [Q, M], or [M] for all queries alike.
        library_available: bool [N, M], or [M]; None when nothing is missing in the library.
        fair: False gives the Euclidean distance over the shared modalities.

    Returns:
        [Q, N], infinite where query and item share no modality.

    Raises:
        ValueError: when D differs from the sum of ``dims``.
    """
    query, library = np.asarray(query), np.asarray(library)
    for name, x in (("query", query), ("library", library)):
        if x.ndim != 2 or x.shape[1] != sum(dims):
            raise ValueError(
                f"{name} has shape {x.shape}; blocks of {tuple(dims)} make (samples, {sum(dims)})"
            )
    present = np.broadcast_to(np.asarray(available, bool), (len(query), len(dims)))
    stored = True if library_available is None else np.asarray(library_available, bool)
    stored = np.broadcast_to(stored, (len(library), len(dims)))
    total = np.zeros((len(query), len(library)))
    shared = np.zeros_like(total)
    ends = np.cumsum(dims)
    for m, (start, end) in enumerate(zip(ends - dims, ends, strict=True)):
        a = np.where(present[:, m, None], query[:, start:end], 0.0).astype(np.float64)
        b = np.where(stored[:, m, None], library[:, start:end], 0.0).astype(np.float64)
        square = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2.0 * a @ b.T
        both = present[:, m, None] & stored[:, m]
        total += np.where(both, np.maximum(square, 0.0) / (dims[m] if fair else 1), 0.0)
        shared += both
    divisor = np.maximum(shared, 1) if fair else 1.0
    return np.where(shared > 0, np.sqrt(total / divisor), np.inf)


def smallest(
    values: Float[np.ndarray, "Q N"], k: int
) -> tuple[Int[np.ndarray, "Q K"], Float[np.ndarray, "Q K"]]:
    """Columns of the k smallest of each row, ascending, and their values; k at most N."""
    if k < values.shape[1]:
        columns = np.sort(np.argpartition(values, k - 1, axis=1)[:, :k], axis=1)
    else:
        columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    order = np.argsort(np.take_along_axis(values, columns, 1), axis=1, kind="stable")
    columns = np.take_along_axis(columns, order, 1)
    return columns, np.take_along_axis(values, columns, 1)
