"""From the sensors' values to what the posterior of s^c reads: experts and their fusion."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from mummi.config import ModelConfig
from mummi.modality import Modality
from mummi.model.fusion import product_of_experts, published_fusion
from mummi.model.networks import MLP, ImageEncoder, VectorEncoder, preprocess, silhouette


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
        if self.modality.kind == "depth" and c.depth_input == "silhouette":
            x = silhouette(x)
        if self.modality.kind in ("image", "depth"):
            shape = (c.image_widths, c.image_kernels, c.image_strides)
            x = ImageEncoder(*shape, c.encoder_activation, self.dtype)(x)
        else:
            x = VectorEncoder(c.vector_widths, c.encoder_activation, self.dtype)(x)
        units = (self.layers, c.expert_units, self.outputs)
        return MLP(*units, c.encoder_activation, dtype=self.dtype)(x)


class Belief(NamedTuple):
    """What M Gaussian experts say of s^f, and their product with a sample of it."""

    available: Bool[Array, "M *batch"]
    means: Float[Array, "M *batch E"]
    stds: Float[Array, "M *batch E"]
    mean: Float[Array, "*batch E"]
    std: Float[Array, "*batch E"]
    sample: Float[Array, "*batch E"]


class Features(NamedTuple):
    """The features of M sensors, and all of them in a row in place of s^f."""

    available: Bool[Array, "M *batch"]
    means: Float[Array, "M *batch E"]
    mean: Float[Array, "*batch F"]


class Perception(abc.ABC):
    """Networks of the sensors and their fusion; parameters are passed to every call.

    Args:
        config: sizes and options.
        modalities: the sensors, in the order of fusion.
        layers: hidden layers between a sensor's encoder and its output.
        outputs: numbers that each sensor's network gives.
        size: of s^f.
        dtype: compute type of the hidden layers; what they say stays float32.
    """

    def __init__(
        self,
        config: ModelConfig,
        modalities: tuple[Modality, ...],
        layers: int,
        outputs: int,
        size: int,
        dtype: DTypeLike,
    ):
        self.config = config
        self.modalities = modalities
        self.size = size
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

    def perceive(
        self,
        params: dict,
        values: Mapping[str, Array],
        available: Mapping[str, Array],
        key: Array | None,
        keep: Array | None = None,
    ) -> Any:
        """What the sensors say of values [..., *shape] with availability [...], as of ``fuse``.

        ``keep`` bool [M, ...] hides sensors from the fusion.
        """
        delivered = self.delivered(available)
        fused_mask = delivered if keep is None else delivered & keep
        return self.fuse(self.say(params, values, delivered, fused_mask), fused_mask, key)

    def delivered(self, available: Mapping[str, Array]) -> Bool[Array, "M *batch"]:
        """Which sensors delivered, in the order of fusion."""
        return jnp.stack([available[m.name] for m in self.modalities])

    def say(
        self,
        params: dict,
        values: Mapping[str, Array],
        delivered: Bool[Array, "M *batch"],
        fused_mask: Bool[Array, "M *batch"],
    ) -> list[Any]:
        """What each sensor says, as ``fuse`` takes it."""
        said = []
        for m, mask in zip(self.modalities, self.encoded_mask(delivered, fused_mask), strict=True):
            mask = mask.reshape(mask.shape + (1,) * len(m.shape))
            # A missing value is replaced before any network sees it, so that not even a NaN
            # reaches a gradient.
            value = jnp.where(mask, values[m.name], jnp.zeros((), m.dtype))
            said.append(self.sense(params, m, value))
        return said

    def encode(self, params: dict, modality: Modality, value: Array) -> Float[Array, "*batch F"]:
        """What a sensor's network gives for values [..., *shape]."""
        lead = value.shape[: value.ndim - len(modality.shape)]
        flat = value.reshape(-1, *modality.shape)
        raw = self.networks[modality.name].apply(params[f"sensor_{modality.name}"], flat)
        return raw.reshape(*lead, -1)

    @abc.abstractmethod
    def encoded_mask(self, available: Array, fused_mask: Array) -> Array:
        """Which values the sensors' networks see, bool [M, ...]; the others are zeros to them."""

    @abc.abstractmethod
    def sense(self, params: dict, modality: Modality, value: Array) -> Any:
        """What one sensor says of values [..., *shape]: arrays [..., E]."""

    @abc.abstractmethod
    def fuse(self, said: Sequence[Any], fused_mask: Array, key: Array | None) -> Any:
        """Fusion of what ``sense`` gave for each sensor, where ``fused_mask`` bool [M, ...].

        ``key`` draws a sample of s^f; None takes its mean.
        """

    @abc.abstractmethod
    def evidence(self, belief: Any) -> tuple[Array, Bool[Array, "*batch"]]:
        """What the posterior of s^c reads of the sensors, and whether none delivered."""


class ProductOfExperts(Perception):
    """Each sensor is a Gaussian expert of s^f; missing ones are left out (MuMMI, eq. 11).

    Raises:
        ValueError: the published fusion with options that need the standard deviation of s^f.
    """

    def __init__(self, config, modalities, dtype=jnp.float32):
        if config.fusion == "published" and (config.fused_prior or config.posterior_sees_std):
            raise ValueError(
                "fusion 'published' keeps no standard deviation of s^f: "
                "switch fused_prior and posterior_sees_std off"
            )
        layers = 1 if config.expert_units else 0
        super().__init__(config, modalities, layers, 2 * config.fused, config.fused, dtype)

    def encoded_mask(self, available, fused_mask):
        """All that delivered: an expert that is hidden from the fusion may still be a target."""
        return available

    def sense(self, params, modality, value):
        """Mean and std [..., E] of a sensor's expert."""
        mean, std = jnp.split(self.encode(params, modality, value), 2, -1)
        return mean, jax.nn.softplus(std) + self.config.min_std

    def fuse(self, said, fused_mask, key) -> Belief:
        """The product of the experts, with a sample of it where the config wants one."""
        means, stds = (jnp.stack(column) for column in zip(*said, strict=True))
        exact = self.config.fusion == "precision"
        mean, std = (product_of_experts if exact else published_fusion)(means, stds, fused_mask)
        sample = mean
        if self.config.sample_fused and key is not None:
            sample = mean + std * jax.random.normal(key, mean.shape)
        return Belief(
            available=fused_mask, means=means, stds=stds, mean=mean, std=std, sample=sample
        )

    def evidence(self, belief):
        """The sample of s^f, with the log std of s^f where the config wants it."""
        evidence = belief.sample
        if self.config.posterior_sees_std:
            evidence = jnp.concatenate([evidence, jnp.log(belief.std)], -1)
        return evidence, ~belief.available.any(0)


class Concatenation(Perception):
    """The sensors' features in a row, of zeros in place of a missing value (Dreamer, CVRL)."""

    def __init__(self, config, modalities, dtype=jnp.float32):
        size = config.fused * len(modalities)
        super().__init__(config, modalities, 0, config.fused, size, dtype)

    def encoded_mask(self, available, fused_mask):
        """What is fused: there is no other way to leave a sensor out."""
        return fused_mask

    def sense(self, params, modality, value):
        """Features [..., E] of a sensor."""
        return self.encode(params, modality, value)

    def fuse(self, said, fused_mask, key) -> Features:
        """The features in a row; nothing is drawn."""
        return Features(available=fused_mask, means=jnp.stack(said), mean=jnp.concatenate(said, -1))

    def evidence(self, belief):
        """All features."""
        return belief.mean, ~belief.available.any(0)


def perception(
    fusion: str,
    config: ModelConfig,
    modalities: tuple[Modality, ...],
    dtype: DTypeLike = jnp.float32,
) -> Perception:
    """The perception of a method's fusion, ``poe`` or ``concat`` of ``mummi.config.METHODS``."""
    return {"poe": ProductOfExperts, "concat": Concatenation}[fusion](config, modalities, dtype)
