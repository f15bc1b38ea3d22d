"""Diffusion (DDPM, DDIM) and flow matching of action chunks, as pure functions."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

Predict = Callable[[Array, Array], Array]
"""A network's output for noisy chunks [B, ..., T, A] at times [B] in [0, 1]."""


def squared_cosine(steps: int) -> Float[np.ndarray, " N"]:
    """ᾱ after each of ``steps`` noising steps, with β at most 0.999 (Nichol and Dhariwal, 2021)."""
    cosine = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(1 - cosine[1:] / cosine[:-1], 0.999))


def noised(clean: ArrayLike, noise: ArrayLike, signal: ArrayLike) -> Array:
    """√ᾱ x_0 + √(1 - ᾱ) ε (Ho et al., 2020, eq. 4); ``signal`` is ᾱ, broadcast."""
    return jnp.sqrt(signal) * clean + jnp.sqrt(1 - signal) * noise


def ddim_step(x: ArrayLike, epsilon: ArrayLike, signal: ArrayLike, next_signal: ArrayLike) -> Array:
    """One deterministic step from ᾱ to the next ᾱ (Song et al., 2021, eq. 12, η = 0).

    The estimate of x_0 is clipped to [-1, 1], where the actions lie.
    """
    clean = (x - jnp.sqrt(1 - signal) * epsilon) / jnp.sqrt(signal)
    return noised(jnp.clip(clean, -1, 1), epsilon, next_signal)


def ddim_sample(
    predict: Predict, noise: Float[Array, "B *more"], schedule: np.ndarray, steps: int
) -> Float[Array, "B *more"]:
    """Chunks from noise in ``steps`` evaluations, evenly spaced over the schedule and down to 0."""
    total = len(schedule)
    index = np.arange(steps)[::-1] * (total // steps)
    signal = np.float32(schedule[index])
    following = np.append(signal[1:], np.float32(1.0))

    def step(x, inputs):
        number, now, after = inputs
        time = jnp.full(len(x), number / total)
        return ddim_step(x, predict(x, time), now, after), None

    return jax.lax.scan(step, noise, (jnp.asarray(index), signal, following))[0]


def interpolated(clean: ArrayLike, noise: ArrayLike, time: ArrayLike) -> ArrayLike:
    """The straight path from noise at time 0 to data at time 1 (rectified flow, Liu et al.)."""
    return (1 - time) * noise + time * clean


def euler_sample(
    predict: Predict, noise: Float[Array, "B *more"], steps: int
) -> Float[Array, "B *more"]:
    """Chunks from noise by ``steps`` Euler steps along the predicted velocity."""

    def step(x, number):
        return x + predict(x, jnp.full(len(x), number / steps)) / steps, None

    return jax.lax.scan(step, noise, jnp.arange(steps))[0]
