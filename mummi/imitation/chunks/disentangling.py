"""Losses that split what sensors say into shared and private parts, as pure functions.

DisDP trains its shared parts by a multi-view disentanglement loss, after Dunion and Albrecht
(Multi-View Disentanglement, 2024), and its private parts by an orthogonality loss. Neither formula
was at hand: these are the contrast of the former paper, and the usual one of the latter.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mummi.model.losses import contrast

_LEAST = 1e-12
"""Of a squared length, so that that of zeros has a gradient."""


def unit(x: Float[Array, "*batch E"]) -> Float[Array, "*batch E"]:
    """Vectors of length 1 in the same directions; zeros stay."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + _LEAST)


def alignment(
    shared: Float[Array, "M N E"], available: Bool[Array, "M N"], temperature: float
) -> Float[Array, ""]:
    """InfoNCE between the shared parts of each two sensors.

    Of sensors a ≠ b it is the mean over i of -log softmax_j(cos(s_a[i], s_b[j]) / τ) at j = i,
    over the rows at which both deliver; then the mean over all pairs (a, b) that have such rows.

    Args:
        shared: s of M sensors in N situations; anything where one is not available.
        available: did each sensor deliver.
        temperature: τ.

    Returns:
        The loss; 0 where no two sensors deliver at once.
    """
    directions = unit(jnp.where(available[..., None], shared, 0.0))
    total, pairs = jnp.float32(0), jnp.float32(0)
    for a in range(len(shared)):
        for b in range(len(shared)):
            if a == b:
                continue
            cosines = jnp.dot(directions[a], directions[b].T, precision=jax.lax.Precision.HIGHEST)
            both = available[a] & available[b]
            total += contrast(cosines / temperature, both)[0]
            pairs += both.any()
    return total / jnp.maximum(pairs, 1)


def orthogonality(
    shared: Float[Array, "*batch E"],
    private: Float[Array, "*batch E"],
    available: Bool[Array, "*batch"],
) -> Float[Array, ""]:
    """Mean squared cosine between the shared and the private part, where a sensor delivers.

    0 where they are orthogonal everywhere, 1 where they are parallel, and 0 where none delivers.
    """
    mask = available[..., None]
    first, second = (unit(jnp.where(mask, x, 0.0)) for x in (shared, private))
    square = jnp.square((first * second).sum(-1))
    return square.sum() / jnp.maximum(available.sum(), 1)
