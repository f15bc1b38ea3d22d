"""Diffusion (DDPM, DDIM), flow matching and EDM of action chunks, as pure functions.

Times of a network are in [0, 1].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mummi.imitation.chunks.config import Prediction

Predict = Callable[[Array, Array], Array]
"""A network's output for noisy chunks [B, ..., T, A] at times [B]."""
Denoise = Callable[[Array, Array], Array]
"""The expected clean chunks of noisy ones [B, ..., T, A] whose noise has deviation σ [B]."""


def squared_cosine(steps: int) -> Float[np.ndarray, " N"]:
    """ᾱ after each of ``steps`` noising steps, with β at most 0.999 (Nichol and Dhariwal, 2021)."""
    cosine = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(1 - cosine[1:] / cosine[:-1], 0.999))


def noised(clean: ArrayLike, noise: ArrayLike, signal: ArrayLike) -> Array:
    """√ᾱ x_0 + √(1 - ᾱ) ε (Ho et al., 2020, eq. 4); ``signal`` is ᾱ, broadcast."""
    return jnp.sqrt(signal) * clean + jnp.sqrt(1 - signal) * noise


def ddim_step(
    x: ArrayLike,
    predicted: ArrayLike,
    signal: ArrayLike,
    next_signal: ArrayLike,
    prediction: Prediction,
) -> Array:
    """One deterministic step from ᾱ to the next ᾱ (Song et al., 2021, eq. 12, η = 0).

    ``predicted`` is the estimate of ε or x_0, from which the other follows. That of x_0 is clipped
    to [-1, 1], where the actions lie.
    """
    if prediction == "noise":
        noise, clean = predicted, (x - jnp.sqrt(1 - signal) * predicted) / jnp.sqrt(signal)
    else:
        noise, clean = (x - jnp.sqrt(signal) * predicted) / jnp.sqrt(1 - signal), predicted
    return noised(jnp.clip(clean, -1, 1), noise, next_signal)


def ddim_sample(
    predict: Predict,
    noise: Float[Array, "B *more"],
    schedule: np.ndarray,
    steps: int,
    prediction: Prediction = "noise",
) -> Float[Array, "B *more"]:
    """Chunks from noise in ``steps`` evaluations, evenly spaced over the schedule and down to 0."""
    total = len(schedule)
    index = np.arange(steps)[::-1] * (total // steps)
    signal = np.float32(schedule[index])
    following = np.append(signal[1:], np.float32(1.0))

    def step(x, inputs):
        number, now, after = inputs
        predicted = predict(x, jnp.full(len(x), number / total))
        return ddim_step(x, predicted, now, after, prediction), None

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


class Preconditioning(NamedTuple):
    """c_skip, c_out and c_in, with D(x; σ) = c_skip x + c_out F(c_in x) (Karras et al., 2022)."""

    skip: Array
    out: Array
    into: Array


def preconditioning(std: ArrayLike, data_std: float) -> Preconditioning:
    """The factors by which input and target of F have unit variance (their table 1).

    Args:
        std: σ of the noise.
        data_std: σ_data.
    """
    total = jnp.square(std) + data_std**2
    root = jnp.sqrt(total)
    return Preconditioning(skip=data_std**2 / total, out=std * data_std / root, into=1 / root)


def log_logistic(
    key: Array, count: int, data_std: float, spread: float, least: float, most: float
) -> Float[Array, " count"]:
    """σ of training: log σ is logistic around log σ_data, cut to [least, most] (BESO)."""
    ends = jax.nn.sigmoid(jnp.log(jnp.array([least, most]) / data_std) / spread)
    uniform = jax.random.uniform(key, (count,), minval=ends[0], maxval=ends[1])
    # At the upper end float32 may round the draw to 1, whose logit is infinite.
    return jnp.clip(data_std * jnp.exp(spread * jax.scipy.special.logit(uniform)), least, most)


def geometric(least: float, most: float, steps: int) -> Float[np.ndarray, " N"]:
    """σ of sampling from ``most`` down to ``least``, each the same fraction of the one before."""
    return np.geomspace(most, least, steps)


def denoising_sample(
    denoise: Denoise, noise: Float[Array, "B *more"], stds: np.ndarray
) -> Float[Array, "B *more"]:
    """Chunks from unit noise by DDIM over the falling σ of ``stds`` and down to 0.

    Of noise that is added at constant scale DDIM is Euler's method on the probability flow.
    """
    now, after = np.float32(stds), np.append(np.float32(stds[1:]), np.float32(0))

    def step(x, ends):
        std, following = ends
        clean = denoise(x, jnp.full(len(x), std))
        return clean + following / std * (x - clean), None

    return jax.lax.scan(step, now[0] * noise, (now, after))[0]
