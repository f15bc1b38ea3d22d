"""How each objective trains a backbone and generates chunks with it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mummi.imitation.chunks import diffusion
from mummi.imitation.chunks.config import ChunkConfig
from mummi.imitation.chunks.imle import mean_squared, mirror_loss, per_sample_rs_imle

Generate = Callable[[Array, Array | None], Array]
"""The backbone in one context: noise [B, K, T, A] and time [B] or None to [B, K, T, A]."""

Trained = tuple[Float[Array, ""], Float[Array, ""], dict[str, Array]]
"""Loss, threshold of the next step, metrics."""


class Generator(NamedTuple):
    """Training loss and sampling of one objective.

    Attributes:
        loss: of config, generate, chunks [B, T, A] in [-1, 1], key and threshold.
        sample: of config, generate and noise [B, K, T, A]; gives candidates of that shape.
    """

    loss: Callable[[ChunkConfig, Generate, Array, Array, Array], Trained]
    sample: Callable[[ChunkConfig, Generate, Array], Array]


def _noise(key, chunks, samples: int):
    return jax.random.normal(key, (len(chunks), samples, *chunks.shape[1:]))


def _regression_loss(config, generate, chunks, key, threshold):
    chunk = generate(jnp.zeros_like(chunks)[:, None], None)[:, 0]
    return mean_squared(chunk, chunks), threshold, {}


def _regression_sample(config, generate, noise):
    return generate(jnp.zeros_like(noise), None)


def _per_sample_loss(config, generate, chunks, key, threshold):
    candidates = generate(_noise(key, chunks, config.samples), None)
    loss, metrics = per_sample_rs_imle(candidates, chunks, config.radius)
    return loss, threshold, metrics


def _batch_global_loss(config, generate, chunks, key, threshold):
    candidates = generate(_noise(key, chunks, config.samples), None)
    clamps = (config.least_threshold, config.most_threshold)
    calibration = (config.quantile, config.momentum, *clamps)
    soft = (config.soft_candidates, config.temperature, config.soft_weight)
    # Actions are scaled to [-1, 1] already, which is what w_d of eq. 3 is for.
    return mirror_loss(candidates, chunks, threshold, None, calibration, soft)


def _single_pass(config, generate, noise):
    return generate(noise, None)


def _diffusion_loss(config, generate, chunks, key, threshold):
    of_time, of_noise = jax.random.split(key)
    index = jax.random.randint(of_time, (len(chunks),), 0, config.noise_steps)
    schedule = jnp.asarray(diffusion.squared_cosine(config.noise_steps), jnp.float32)
    noise = _noise(of_noise, chunks, 1)
    noisy = diffusion.noised(chunks[:, None], noise, schedule[index][:, None, None, None])
    epsilon = generate(noisy, index / config.noise_steps)
    return mean_squared(epsilon[:, 0], noise[:, 0]), threshold, {}


def _diffusion_sample(config, generate, noise):
    schedule = diffusion.squared_cosine(config.noise_steps)
    return diffusion.ddim_sample(generate, noise, schedule, config.steps)


def _flow_loss(config, generate, chunks, key, threshold):
    of_time, of_noise = jax.random.split(key)
    time = jax.random.uniform(of_time, (len(chunks),))
    noise = _noise(of_noise, chunks, 1)
    point = diffusion.interpolated(chunks[:, None], noise, time[:, None, None, None])
    velocity = generate(point, time)
    return mean_squared(velocity[:, 0], chunks - noise[:, 0]), threshold, {}


def _flow_sample(config, generate, noise):
    return diffusion.euler_sample(generate, noise, config.steps)


GENERATORS: dict[str, Generator] = {
    "mse": Generator(_regression_loss, _regression_sample),
    "imle": Generator(_per_sample_loss, _single_pass),
    "mirror": Generator(_batch_global_loss, _single_pass),
    "diffusion": Generator(_diffusion_loss, _diffusion_sample),
    "flow": Generator(_flow_loss, _flow_sample),
}
