"""How each objective trains a backbone and generates chunks with it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mummi.imitation.chunks import diffusion
from mummi.imitation.chunks.config import (
    BesoConfig,
    DiffusionConfig,
    FlowConfig,
    IMLEConfig,
    MirrorConfig,
    MSEConfig,
    Objective,
)
from mummi.imitation.chunks.imle import (
    Calibration,
    SoftCoverage,
    mean_squared,
    mirror_loss,
    per_sample_rs_imle,
)

Generate = Callable[[Array, Array | None], Array]
"""The backbone in one context: noise [B, K, T, A] and time [B] or None to [B, K, T, A]."""
State = Any
"""What an objective remembers from update to update, a tree of arrays of its own."""


class Trained(NamedTuple):
    """What a loss gives: its value, the objective's next state, and metrics."""

    loss: Float[Array, ""]
    state: State
    metrics: dict[str, Array]


def _stateless(config: Any) -> State:
    return ()


class Generator(NamedTuple):
    """Training and sampling of one objective.

    Attributes:
        loss: of config, generate, chunks [B, T, A] in [-1, 1], key and state.
        sample: of config, generate and noise [B, K, T, A]; gives candidates of that shape.
        init: the first state, of config.
        timed: its backbone takes a time.
    """

    loss: Callable[[Any, Generate, Array, Array, State], Trained]
    sample: Callable[[Any, Generate, Array], Array]
    init: Callable[[Any], State] = _stateless
    timed: bool = False


def _noise(key, chunks, samples: int):
    return jax.random.normal(key, (len(chunks), samples, *chunks.shape[1:]))


def _over_chunks(x):
    """A number a condition [B], to be broadcast over [B, K, T, A]."""
    return x[:, None, None, None]


def _regression_loss(config: MSEConfig, generate, chunks, key, state):
    chunk = generate(jnp.zeros_like(chunks)[:, None], None)[:, 0]
    return Trained(mean_squared(chunk, chunks), state, {})


def _regression_sample(config: MSEConfig, generate, noise):
    return generate(jnp.zeros_like(noise), None)


def _per_sample_loss(config: IMLEConfig, generate, chunks, key, state):
    candidates = generate(_noise(key, chunks, config.samples), None)
    loss, metrics = per_sample_rs_imle(candidates, chunks, config.radius)
    return Trained(loss, state, metrics)


def _first_threshold(config: MirrorConfig):
    return jnp.float32(config.least_threshold)


def _batch_global_loss(config: MirrorConfig, generate, chunks, key, state):
    candidates = generate(_noise(key, chunks, config.samples), None)
    size = chunks.shape[-1]
    calibration = Calibration(
        quantile=config.quantile,
        momentum=config.momentum,
        least=config.least_threshold * size,
        most=config.most_threshold * size,
        nearest=config.calibrate == "nearest",
    )
    soft = SoftCoverage(config.soft_candidates, config.temperature, config.soft_weight)
    # Actions are scaled to [-1, 1] already, which is what w_d of eq. 3 is for.
    return Trained(*mirror_loss(candidates, chunks, state, calibration, soft))


def _single_pass(config, generate, noise):
    return generate(noise, None)


def _diffusion_loss(config: DiffusionConfig, generate, chunks, key, state):
    of_time, of_noise = jax.random.split(key)
    index = jax.random.randint(of_time, (len(chunks),), 0, config.noise_steps)
    schedule = jnp.asarray(diffusion.squared_cosine(config.noise_steps), jnp.float32)
    noise = _noise(of_noise, chunks, 1)
    noisy = diffusion.noised(chunks[:, None], noise, _over_chunks(schedule[index]))
    wanted = noise[:, 0] if config.prediction == "noise" else chunks
    found = generate(noisy, index / config.noise_steps)
    return Trained(mean_squared(found[:, 0], wanted), state, {})


def _diffusion_sample(config: DiffusionConfig, generate, noise):
    schedule = diffusion.squared_cosine(config.noise_steps)
    return diffusion.ddim_sample(generate, noise, schedule, config.steps, config.prediction)


def _flow_loss(config: FlowConfig, generate, chunks, key, state):
    of_time, of_noise = jax.random.split(key)
    time = jax.random.uniform(of_time, (len(chunks),))
    noise = _noise(of_noise, chunks, 1)
    point = diffusion.interpolated(chunks[:, None], noise, _over_chunks(time))
    velocity = generate(point, time)
    return Trained(mean_squared(velocity[:, 0], chunks - noise[:, 0]), state, {})


def _flow_sample(config: FlowConfig, generate, noise):
    return diffusion.euler_sample(generate, noise, config.steps)


def _preconditioned(config: BesoConfig, generate: Generate, noisy, std):
    """F's output for noisy chunks [B, K, T, A] with σ [B], and the factors around it."""
    factors = diffusion.preconditioning(_over_chunks(std), config.data_std)
    # An affine map of c_noise = log(σ) / 4 to the times that the backbones embed.
    time = jnp.log(std / config.least_std) / jnp.log(config.most_std / config.least_std)
    return generate(factors.into * noisy, time), factors


def _beso_loss(config: BesoConfig, generate, chunks, key, state):
    of_std, of_noise = jax.random.split(key)
    std = diffusion.log_logistic(
        of_std, len(chunks), config.data_std, config.spread, config.least_std, config.most_std
    )
    clean = chunks[:, None]
    noisy = clean + _over_chunks(std) * _noise(of_noise, chunks, 1)
    found, factors = _preconditioned(config, generate, noisy, std)
    wanted = (clean - factors.skip * noisy) / factors.out
    return Trained(mean_squared(found[:, 0], wanted[:, 0]), state, {})


def _beso_sample(config: BesoConfig, generate, noise):
    def denoise(noisy, std):
        found, factors = _preconditioned(config, generate, noisy, std)
        return factors.skip * noisy + factors.out * found

    stds = diffusion.geometric(config.least_std, config.most_std, config.steps)
    return diffusion.denoising_sample(denoise, noise, stds)


GENERATORS: Mapping[Objective, Generator] = {
    "mse": Generator(_regression_loss, _regression_sample),
    "imle": Generator(_per_sample_loss, _single_pass),
    "mirror": Generator(_batch_global_loss, _single_pass, _first_threshold),
    "diffusion": Generator(_diffusion_loss, _diffusion_sample, timed=True),
    "flow": Generator(_flow_loss, _flow_sample, timed=True),
    "beso": Generator(_beso_loss, _beso_sample, timed=True),
}
