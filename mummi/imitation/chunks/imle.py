"""Objectives of implicit maximum likelihood: per sample (IMLE Policy) and batch-global (MIRROR).

B conditions, K candidates each, chunks of T actions of A dimensions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

Weights = Float[Array | np.ndarray, " A"] | None


SHARES = ("rejected", "capped", "fallback", "dropped")
"""Metrics that tell how rejection goes; each objective has some of them."""


class Calibration(NamedTuple):
    """How ε_RS follows the distances (MIRROR, eq. 7 and 8).

    Attributes:
        quantile: q.
        momentum: α.
        least, most: the clamps.
        nearest: take the quantile of each candidate's distance to the target that is nearest to it,
            in place of that of all distances.
    """

    quantile: float
    momentum: float
    least: float
    most: float
    nearest: bool = False


class SoftCoverage(NamedTuple):
    """K' nearest candidates, temperature τ and weight λ; 0 leaves it out (MIRROR, eq. 9)."""

    nearest: int
    temperature: float
    weight: float


def charbonnier(
    first: Float[Array | np.ndarray, "*#batch T A"],
    second: Float[Array | np.ndarray, "*#batch T A"],
    weights: Weights = None,
    eps: float = 1e-6,
) -> Float[Array, "*batch"]:
    """D_ρ, mean over time of Σ_d w_d √((a_d - b_d)² + ε_c²) (MIRROR, eq. 3).

    Leading axes broadcast; ``weights`` None is w_d = 1.
    """
    difference = jnp.sqrt(jnp.square(first - second) + eps**2)
    weighted = difference if weights is None else difference * weights
    return weighted.sum(-1).mean(-1)


def distances(
    candidates: Float[Array | np.ndarray, "B K T A"],
    targets: Float[Array | np.ndarray, "B T A"],
    weights: Weights = None,
    eps: float = 1e-6,
) -> tuple[Float[Array, "B K"], Float[Array, "B K B"]]:
    """D_{i,k} to each candidate's own target, and D_{i,k→j} to every target of the batch.

    The second, of B times as many entries, only decides what is rejected and has no gradient.
    """
    paired = charbonnier(candidates, targets[:, None], weights, eps)
    fixed = jax.lax.stop_gradient(candidates)
    return paired, charbonnier(fixed[:, :, None], targets[None, None], weights, eps)


def hard_loss(
    paired: Float[Array, "B K"], to_all: Float[Array, "B K B"], threshold: ArrayLike
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean distance to the nearest candidate that is not rejected (MIRROR, eq. 4 to 6).

    A candidate nearer than ``threshold`` to any target is rejected. Where all are, none is.

    Returns:
        The loss, and ``rejected`` and ``fallback``, the shares of candidates that are rejected
        and of conditions of which all are.
    """
    rejected = to_all.min(-1) < threshold
    fallback = rejected.all(1)
    accepted = ~rejected | fallback[:, None]
    loss = jnp.where(accepted, paired, jnp.inf).min(1).mean()
    return loss, {"rejected": rejected.mean(), "fallback": fallback.mean()}


def batch_global_rs_imle(
    candidates: Float[Array | np.ndarray, "B K T A"],
    targets: Float[Array | np.ndarray, "B T A"],
    threshold: ArrayLike,
    weights: Weights = None,
    eps: float = 1e-6,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Batch-global rejection-sampling IMLE with its fallback (MIRROR, eq. 3 to 6).

    Args:
        candidates: generated chunks.
        targets: demonstrated chunks, of which the i-th belongs to ``candidates[i]``.
        threshold: ε_RS.
        weights: w_d of eq. 3; None is 1.
        eps: ε_c of eq. 3.

    Returns:
        The loss, and ``hard_loss``'s shares with ``paired`` [B, K] and ``distances`` [B, K, B].
    """
    paired, to_all = distances(candidates, targets, weights, eps)
    loss, info = hard_loss(paired, to_all, threshold)
    return loss, info | {"paired": paired, "distances": to_all}


def calibrate(
    threshold: ArrayLike, to_all: Float[Array | np.ndarray, "B K B"], calibration: Calibration
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The next ε_RS, a moving average of a quantile within the clamps (MIRROR, eq. 7 and 8).

    Eq. 7 takes the quantile of all distances. Since a candidate is nearer to its nearest target
    than to most others, that rejects nearly all of them, and the upper clamp decides in its place.
    Of the ``nearest`` distances the quantile is the share that is rejected.

    Returns:
        The threshold, and 1.0 where the upper clamp cut it off, else 0.0.
    """
    quantile, momentum, least, most, nearest = calibration
    found = jnp.quantile(to_all.min(-1) if nearest else to_all, quantile)
    moved = momentum * threshold + (1 - momentum) * found
    return jnp.clip(moved, least, most), (moved > most).astype(jnp.float32)


def soft_coverage(
    paired: Float[Array | np.ndarray, "B K"], nearest: int, temperature: float
) -> Float[Array, ""]:
    """-mean log Σ exp(-D_{i,k} / τ) over the K' nearest candidates (MIRROR, eq. 9)."""
    closest = -jax.lax.top_k(-paired, nearest)[0]
    return -jax.nn.logsumexp(-closest / temperature, axis=1).mean()


def mirror_loss(
    candidates: Float[Array, "B K T A"],
    targets: Float[Array, "B T A"],
    threshold: ArrayLike,
    calibration: Calibration,
    soft: SoftCoverage,
    weights: Weights = None,
) -> tuple[Float[Array, ""], Float[Array, ""], dict[str, Array]]:
    """One step of MIRROR's Algorithm 2, lines 8 to 17: calibrate, reject, hard and soft loss.

    Args:
        candidates: generated chunks.
        targets: demonstrated chunks.
        threshold: ε_RS of the step before.
        calibration: of ε_RS.
        soft: the soft coverage.
        weights: w_d of eq. 3; None is 1.

    Returns:
        The loss, the new ε_RS, and metrics: the shares ``rejected``, ``fallback`` and ``capped``,
        the ``threshold``, the ``hard`` loss and the ``soft_share`` λ L_soft / L_hard.
    """
    paired, to_all = distances(candidates, targets, weights)
    threshold, capped = calibrate(threshold, to_all, calibration)
    hard, metrics = hard_loss(paired, to_all, threshold)
    extra = jnp.zeros(())
    if soft.weight:
        extra = soft.weight * soft_coverage(paired, soft.nearest, soft.temperature)
    metrics |= {"capped": capped, "threshold": threshold, "hard": hard, "soft_share": extra / hard}
    return hard + extra, threshold, metrics


def per_sample_rs_imle(
    candidates: Float[Array | np.ndarray, "B K T A"],
    targets: Float[Array | np.ndarray, "B T A"],
    radius: ArrayLike,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Rejection-sampling IMLE of each condition on its own (IMLE Policy).

    The distance is Euclidean over the flattened chunk. Candidates within ``radius`` of their own
    target are rejected; a condition of which all are is left out of the mean.

    Returns:
        The loss, and the shares ``rejected`` of the candidates and ``dropped`` of the conditions.
    """
    squared = jnp.square(candidates - targets[:, None]).sum((-2, -1))
    # The root of 0 has no gradient, and that would reach the sum even where it is rejected.
    length = jnp.sqrt(jnp.maximum(squared, 1e-12))
    accepted = length > radius
    counted = accepted.any(1)
    nearest = jnp.where(accepted, length, jnp.inf).min(1)
    loss = jnp.where(counted, nearest, 0.0).sum() / jnp.maximum(counted.sum(), 1)
    return loss, {"rejected": 1 - accepted.mean(), "dropped": 1 - counted.mean()}


def mean_squared(
    chunks: Float[Array | np.ndarray, "B T A"], targets: Float[Array | np.ndarray, "B T A"]
) -> Float[Array, ""]:
    """Mean squared error of one chunk a condition, the regression that averages over ways."""
    return jnp.square(chunks - targets).mean()
