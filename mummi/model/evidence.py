"""What a sensor's value says of its honesty: the density ratio that InfoNCE has learned, and how
far the value is from all that was healthy.

The ratio of a value d to the values of a bank, under what g expects, is that of the products of
``likeness``: |g|^2 is in both of its parts and falls out.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def likeness(bank: Float[Array, "M N E"], g: Float[Array, "M K B E"]) -> Float[Array, "M K B N"]:
    """|g|^2 - |d - g|^2 of the healthy values d of each sensor."""
    return 2 * jnp.einsum("mkbe,mne->mkbn", g, bank) - jnp.square(bank).sum(-1)[:, None, None]


def expectation(
    like: Float[Array, "M S B N"], inverse: Float[Array, "M S"]
) -> Float[Array, "M S B"]:
    """log E[exp((|g|^2 - |d(x') - g|^2) / s)] over healthy values x' of each sensor."""
    total = jax.nn.logsumexp(inverse[..., None, None] * like, -1)
    return total - jnp.log(like.shape[-1])


def closeness(means: Float[Array, "M B E"], g: Float[Array, "K S B E"]) -> Float[Array, "M K S B"]:
    """|g|^2 - |d(x) - g|^2 of what each sensor says and what each subset expects."""
    product = jnp.einsum("mbe,ksbe->mksb", means, g)
    return 2 * product - jnp.square(means).sum(-1)[:, None, None]


def told_apart(event: Array, of_liars: float, of_healthy: float | Array) -> Array:
    """Log likelihood ratio of an event, or of its absence, that liars and healthy sensors have
    with these probabilities."""
    there, absent = jnp.log(of_liars / of_healthy), jnp.log((1 - of_liars) / (1 - of_healthy))
    return jnp.where(event, there, absent)
