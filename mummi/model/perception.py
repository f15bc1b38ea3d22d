"""From the sensors' values to what the posterior of s^c reads: experts and their fusion."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool

from mummi.config import ModelConfig
from mummi.modality import Modality
from mummi.model import fusion
from mummi.model.networks import MLP, ImageEncoder, VectorEncoder, preprocess


class SensorNetwork(nn.Module):
    """Encoder of one sensor and an MLP over it: value [N, *shape] -> [N, outputs]."""

    modality: Modality
    config: ModelConfig
    layers: int
    outputs: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, value):
        c = self.config
        x = preprocess(self.modality, value)
        if self.modality.kind in ("image", "depth"):
            shape = (c.image_widths, c.image_kernels, c.image_strides)
            x = ImageEncoder(*shape, c.encoder_activation, self.dtype)(x)
        else:
            x = VectorEncoder(c.vector_widths, c.encoder_activation, self.dtype)(x)
        units = (self.layers, c.expert_units, self.outputs)
        return MLP(*units, c.encoder_activation, dtype=self.dtype)(x)


class Belief(NamedTuple):
    """What the sensors say: M experts or features, and s^f with a sample of it.

    With concatenation ``means`` are the sensors' features, ``mean`` is all of them in a row, and
    nothing has a standard deviation: ``stds`` and ``std`` are 0.
    """

    means: Array
    stds: Array
    available: Array
    mean: Array
    std: Array
    sample: Array


class Perception:
    """Networks of the sensors and their fusion; parameters are passed to every call.

    Args:
        config: sizes and options.
        modalities: the sensors, in the order of fusion.
        fusion: ``poe``, product of experts with missing sensors left out, or ``concat``, features
            in a row with zeros in place of a missing value.
        dtype: compute type of the layers; beliefs stay float32.

    Attributes:
        gaussian: the sensors are Gaussian experts, and s^f their product.
        size: of s^f.
    """

    def __init__(
        self,
        config: ModelConfig,
        modalities: tuple[Modality, ...],
        fusion: str,
        dtype: DTypeLike = jnp.float32,
    ):
        if config.fusion == "published" and (config.fused_prior or config.posterior_sees_std):
            raise ValueError(
                "fusion 'published' keeps no standard deviation of s^f: "
                "switch fused_prior and posterior_sees_std off"
            )
        self.config = config
        self.modalities = modalities
        self.gaussian = fusion == "poe"
        self.size = config.fused * (1 if self.gaussian else len(modalities))
        layers = 1 if self.gaussian and config.expert_units else 0
        outputs = config.fused * (2 if self.gaussian else 1)
        self.networks = {
            m.name: SensorNetwork(m, config, layers, outputs, dtype) for m in modalities
        }

    def init(self, key: Array) -> dict:
        """Parameters of the sensors' networks."""
        keys = jax.random.split(key, len(self.modalities))
        return {
            f"sensor_{m.name}": self.networks[m.name].init(k, jnp.zeros((1, *m.shape), m.dtype))
            for m, k in zip(self.modalities, keys, strict=True)
        }

    def sense(self, params: dict, modality: Modality, value: Array) -> tuple[Array, Array]:
        """Mean and std [..., E] of a sensor's expert, or its features, of values [..., *shape]."""
        lead = value.shape[: value.ndim - len(modality.shape)]
        flat = value.reshape(-1, *modality.shape)
        raw = self.networks[modality.name].apply(params[f"sensor_{modality.name}"], flat)
        raw = raw.reshape(*lead, -1)
        if not self.gaussian:
            return raw, jnp.zeros_like(raw)
        mean, std = jnp.split(raw, 2, -1)
        return mean, jax.nn.softplus(std) + self.config.min_std

    def perceive(
        self,
        params: dict,
        values: Mapping[str, Array],
        available: Mapping[str, Array],
        key: Array,
        keep: Array | None = None,
    ) -> Belief:
        """Experts and fusion of values [..., *shape] with availability [...].

        ``keep`` bool [M, ...] hides sensors from the fusion, but not from the experts' ``means``.
        """
        there = jnp.stack([available[m.name] for m in self.modalities])
        kept = there if keep is None else there & keep
        seen = there if self.gaussian else kept
        beliefs = []
        for m, mask in zip(self.modalities, seen, strict=True):
            mask = mask.reshape(mask.shape + (1,) * len(m.shape))
            # A missing value is replaced before any network sees it, so that not even a NaN
            # reaches a gradient.
            value = jnp.where(mask, values[m.name], jnp.zeros((), m.dtype))
            beliefs.append(self.sense(params, m, value))
        return self.fuse(*(jnp.stack(column) for column in zip(*beliefs, strict=True)), kept, key)

    def fuse(self, means: Array, stds: Array, kept: Array, key: Array) -> Belief:
        """Fusion of experts or features [M, ..., E], of which ``kept`` bool [M, ...] are there."""
        if not self.gaussian:
            mean = jnp.concatenate(list(means), -1)
            return Belief(means, stds, kept, mean, jnp.zeros_like(mean), mean)
        exact = self.config.fusion == "precision"
        fuse = fusion.product_of_experts if exact else fusion.published_fusion
        mean, std = fuse(means, stds, kept)
        sample = mean
        if self.config.sample_fused:
            sample = mean + std * jax.random.normal(key, mean.shape)
        return Belief(means, stds, kept, mean, std, sample)

    def evidence(self, belief: Belief) -> tuple[Array, Bool[Array, "*batch"]]:
        """What the posterior of s^c reads of the sensors, and whether none delivered."""
        evidence = belief.sample
        if self.gaussian and self.config.posterior_sees_std:
            evidence = jnp.concatenate([evidence, jnp.log(belief.std)], -1)
        return evidence, ~belief.available.any(0)
