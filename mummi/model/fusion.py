"""Fusion of the sensors' beliefs about s^f into one; pure functions.

All take ``mean`` and ``std`` [M, ..., E] of M Gaussian experts and ``available`` bool [M, ...],
and return the fused ``(mean, std)`` [..., E].
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def product_of_experts(
    mean: Float[Array, "M *batch E"],
    std: Float[Array, "M *batch E"],
    available: Bool[Array, "M *batch"],
    prior_std: float = 1.0,
) -> tuple[Float[Array, "*batch E"], Float[Array, "*batch E"]]:
    """Product of the available Gaussian experts and a N(0, prior_std^2) prior expert.

    Precisions add, and the mean is weighted by precision (MuMMI, eq. 11; Hinton, 2002). With
    nothing available the result is the prior. What an unavailable expert holds, NaN included,
    changes neither the result nor a gradient.

    Args:
        mean: expert means [M, ..., E].
        std: expert standard deviations [M, ..., E], positive where available.
        available: bool [M, ...].
        prior_std: standard deviation of the prior expert, positive.

    Returns:
        Mean and standard deviation of the product, each [..., E].
    """
    mask = available[..., None]
    mean = jnp.where(mask, mean, 0.0)
    precision = jnp.where(mask, 1.0 / jnp.square(jnp.where(mask, std, 1.0)), 0.0)
    # Python's sum adds whole arrays; XLA's over a leading axis goes number by number.
    total = sum(precision) + 1.0 / prior_std**2
    return sum(precision * mean) / total, 1.0 / jnp.sqrt(total)


def published_fusion(
    mean: Float[Array, "M *batch E"],
    std: Float[Array, "M *batch E"],
    available: Bool[Array, "M *batch"],
) -> tuple[Float[Array, "*batch E"], Float[Array, "*batch E"]]:
    """The weighting of the paper's public code: 1/std instead of 1/std^2, 0.01 below.

    The public code keeps only the fused mean, so the returned standard deviation is 0.
    """
    mask = available[..., None]
    weight = jnp.where(mask, 1.0 / jnp.where(mask, std, 1.0), 0.0)
    fused = sum(weight * jnp.where(mask, mean, 0.0)) / (sum(weight) + 0.01)
    return fused, jnp.zeros_like(fused)
