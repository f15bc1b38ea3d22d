"""Normalisation by modality and the modality-fair distance (RL4IL, appendix A).

Embeddings are concatenated blocks [..., D], D the sum of ``dims``; availability is [..., M].
"""

from collections.abc import Sequence
from typing import NamedTuple

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
    embedding: Float[np.ndarray, "N D"],
    available: Bool[np.ndarray, "N M"],
    dims: Sequence[int],
    floor: float = 0.0,
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
    """Mean and standard deviation of each dimension over the available samples (eq. 11).

    A standard deviation below ``EPSILON``, or of fewer than two samples, is set to 1; the mean of
    a modality that is never available is 0.

    Args:
        embedding: blocks side by side; anything where missing.
        available: which modalities each sample has.
        dims: size of each modality's block.
        floor: least standard deviation, as a share of the root of its block's mean variance: a
            dimension that hardly varies is not blown up to the size of the others.
    """
    mask = element_mask(available, dims)
    x = np.where(mask, embedding, 0.0).astype(np.float64)
    count = mask.sum(0)
    mean = x.sum(0) / np.maximum(count, 1)
    deviation = np.where(mask, x - mean, 0.0)
    variance = np.square(deviation).sum(0) / np.maximum(count - 1, 1)
    of_block = np.add.reduceat(variance, np.cumsum(dims) - dims) / dims
    std = np.maximum(np.sqrt(variance), floor * np.sqrt(np.repeat(of_block, dims)))
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


class Blocks(NamedTuple):
    """Samples as ``pairwise`` and ``paired`` compare them.

    Attributes:
        scaled: blocks side by side, each over the root of its size; 0 where missing.
        square: squared norm of each of these blocks.
        available: 1 where the sample has the modality, else 0.
    """

    scaled: Float[np.ndarray, "N D"]
    square: Float[np.ndarray, "N M"]
    available: Float[np.ndarray, "N M"]

    def take(self, rows) -> "Blocks":
        """The samples at ``rows``."""
        return Blocks(*(x[rows] for x in self))


def make_blocks(
    embedding: Float[np.ndarray, "N D"],
    available: Bool[np.ndarray, "N M"],
    dims: Sequence[int],
    dtype: type = np.float64,
    fair: bool = True,
) -> Blocks:
    """Blocks of z-scored samples; ``fair`` False leaves out the division by their size."""
    size = np.repeat(np.sqrt(dims) if fair else np.ones(len(dims)), dims)
    x = np.where(element_mask(available, dims), embedding, 0.0) / size
    square = np.add.reduceat(np.square(x), np.cumsum(dims) - dims, axis=1)
    return Blocks(x.astype(dtype), square.astype(dtype), np.asarray(available, dtype))


def pairwise(query: Blocks, library: Blocks, fair: bool = True) -> Float[np.ndarray, "Q N"]:
    """Distance of eq. 13 between each query and each item; infinite where they share nothing.

    What is missing is 0 in the blocks, so that one matrix product has the inner products of the
    shared ones alone.
    """
    total = query.square @ library.available.T + query.available @ library.square.T
    total = np.maximum(total - 2.0 * query.scaled @ library.scaled.T, 0.0)
    return _distance(total, query.available @ library.available.T, fair)


def paired(a: Blocks, b: Blocks, dims: Sequence[int]) -> Float[np.ndarray, " N"]:
    """Distance of eq. 13 between each sample of ``a`` and that of ``b`` in the same place."""
    parts = [np.zeros(0)]
    for rows in chunks(len(a.scaled), sum(dims)):
        one, other = a.take(rows), b.take(rows)
        both = one.available * other.available
        difference = np.square(one.scaled - other.scaled, dtype=np.float64)
        square = np.add.reduceat(difference, np.cumsum(dims) - dims, axis=1)
        parts.append(_distance((both * square).sum(1), both.sum(1), True))
    return np.concatenate(parts)


def _distance(total: np.ndarray, shared: np.ndarray, fair: bool) -> np.ndarray:
    divisor = np.maximum(shared, 1) if fair else 1.0
    return np.where(shared > 0, np.sqrt(total / divisor), np.inf)


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
    query, library = (
        make_blocks(x, mask, dims, fair=fair) for x, mask in ((query, present), (library, stored))
    )
    return pairwise(query, library, fair)


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
