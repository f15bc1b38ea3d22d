"""What a sensor's value says of its honesty: the density ratio that InfoNCE has learned, and how
far the value is from all that was healthy."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def expectation(
    bank: Float[Array, "M N E"], g: Float[Array, "S B E"], inverse: Float[Array, "M S"]
) -> Float[Array, "M S B"]:
    """log E[exp(-|d(x') - g|^2 / s)] over healthy values x' of each sensor."""
    product = jnp.einsum("sbe,mne->msbn", g, bank)
    norms = jnp.square(bank).sum(-1)[:, None, None], jnp.square(g).sum(-1)[None, ..., None]
    distance = norms[0] - 2 * product + norms[1]
    return jax.nn.logsumexp(-inverse[..., None, None] * distance, -1) - jnp.log(bank.shape[1])


def nearest(
    bank: Float[Array, "M N E"], means: Float[Array, "M *batch E"]
) -> Float[Array, "M *batch"]:
    """Squared distance of what each sensor says to the nearest of its healthy values."""
    product = jnp.einsum("m...e,mne->m...n", means, bank)
    norms = jnp.square(bank).sum(-1).reshape(len(bank), *(1,) * (means.ndim - 2), -1)
    square = norms - 2 * product + jnp.square(means).sum(-1, keepdims=True)
    return square.min(-1)


def told_apart(event: Array, of_liars: float, of_healthy: float | Array) -> Array:
    """Log likelihood ratio of an event, or of its absence, that liars and healthy sensors have
    with these probabilities."""
    there, absent = jnp.log(of_liars / of_healthy), jnp.log((1 - of_liars) / (1 - of_healthy))
    return jnp.where(event, there, absent)


def closeness(
    means: Float[Array, "M B E"], g: Float[Array, "*K S B E"], inverse: Float[Array, "M S"]
) -> Float[Array, "*K M S B"]:
    """-|d(x) - g|^2 / s of each sensor under each subset."""
    square = jnp.square(means[:, None] - jnp.expand_dims(g, -4)).sum(-1)
    return -inverse[..., None] * square
