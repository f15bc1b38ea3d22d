"""Context tokens of a history of percepts: from the latent, or from encoders of a head's own."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mummi.imitation.chunks.config import ChunkConfig, Pictures
from mummi.imitation.chunks.disentangling import alignment, orthogonality
from mummi.imitation.chunks.encoders import SensorEncoder
from mummi.imitation.chunks.performer import POSITION
from mummi.imitation.heads.head import Percept, Sizes
from mummi.modality import Modality
from mummi.model.augmentation import shift_sensors
from mummi.model.networks import MLP


class Sensed(NamedTuple):
    """Raw values [..., *shape] by modality, 0 where missing, and availability, bool [...]."""

    values: Mapping[str, Array | np.ndarray]
    available: Mapping[str, Array | np.ndarray]


def sensed(percept: Percept, modalities: tuple[Modality, ...]) -> Sensed:
    """The sensors' part of a percept with zeros in place of whatever a missing sensor holds."""
    values, available = {}, {}
    for m in modalities:
        available[m.name] = delivered = np.asarray(percept.available[m.name])
        mask = delivered.reshape(*delivered.shape, *(1,) * len(m.shape))
        values[m.name] = np.where(mask, percept.values[m.name], np.zeros((), m.dtype))
    return Sensed(values, available)


def augmented(
    inputs: Sensed, modalities: Sequence[Modality], key: Array, shift: float, drop: float
) -> Sensed:
    """Histories [B, S] as training sees them.

    Args:
        inputs: the histories.
        modalities: their sensors.
        key: random key.
        shift: images and depth of a history move by up to this share of their size.
        drop: probability, for each sensor that can fail, that a whole history lacks it.
    """
    of_shift, of_drop = jax.random.split(key)
    values, available = inputs
    if shift:
        values = shift_sensors(values, modalities, of_shift, shift)
    if drop:
        keys = jax.random.split(of_drop, len(modalities))
        available = dict(available)
        for m, of_sensor in zip(modalities, keys, strict=True):
            delivered = available[m.name]
            kept = jax.random.uniform(of_sensor, (len(delivered), 1)) >= drop
            available[m.name] = delivered & (kept | (not m.can_fail))
    return Sensed(values, available)


class Context(NamedTuple):
    """What a history is to a backbone.

    Attributes:
        tokens: [B, S, d].
        terms: losses of the encoders by name, each to be weighted; none of most contexts.
    """

    tokens: Float[Array, "B S d"]
    terms: Mapping[str, Float[Array, ""]]


class LatentContext(nn.Module):
    """Tokens from latents [B, S, F]: a linear map and learned positions."""

    width: int

    @nn.compact
    def __call__(self, latents: Float[Array, "B S F"]) -> Context:
        """The tokens."""
        positions = self.param("positions", POSITION, (latents.shape[1], self.width))
        return Context(nn.Dense(self.width)(latents) + positions, {})


class Fusion(nn.Module):
    """Tokens [B, S, d] from parts [B, S, D_i] of each step: a two-layer MLP of all of them in a
    row, and learned positions."""

    width: int

    @nn.compact
    def __call__(self, parts: Sequence[Float[Array, "B S _"]]) -> Float[Array, "B S d"]:
        """The tokens."""
        fused = MLP(1, self.width, self.width, "relu")(jnp.concatenate(parts, -1))
        return fused + self.param("positions", POSITION, fused.shape[-2:])


class SensorContext(nn.Module):
    """Tokens from raw sensor values, fused at each step (MIRROR, eq. 2 and 10).

    Each sensor has an encoder to d units; one that is missing at a step contributes zeros.

    Attributes:
        modalities: the sensors, in the order in which they are concatenated.
        width: d.
        pictures: what encodes images.
        image_width: channels of its first stage.
    """

    modalities: tuple[Modality, ...]
    width: int
    pictures: Pictures = "resnet"
    image_width: int = 64

    @nn.compact
    def __call__(self, inputs: Sensed) -> Context:
        """The tokens."""
        parts = []
        for m in self.modalities:
            encoder = SensorEncoder(m, self.width, self.pictures, self.image_width)
            parts.append(_where(inputs.available[m.name], _encoded(encoder, inputs)))
        return Context(Fusion(self.width)(parts), {})


class DisentangledContext(nn.Module):
    """Tokens from what sensors share and what each alone says (DisDP).

    Two MLPs split the features of each sensor that can fail into a shared and a private part. A
    step's token is fused of the mean of the shared parts of the sensors that deliver, so that
    those of the others stand for a missing one's; of each private part, zeros where it is missing;
    and of the features of what cannot fail, such as an instruction. Shared parts have a root mean
    square of 1, for alignment compares their directions alone.

    Attributes:
        modalities, width, pictures, image_width: as of ``SensorContext``.
        temperature: τ of the alignment.
    """

    modalities: tuple[Modality, ...]
    width: int
    pictures: Pictures = "resnet"
    image_width: int = 64
    temperature: float = 0.1

    @nn.compact
    def __call__(self, inputs: Sensed) -> Context:
        """The tokens, and the terms ``align`` and ``orthogonality``."""
        shared, private, told = [], [], []
        for m in self.modalities:
            encoder = SensorEncoder(m, self.width, self.pictures, self.image_width)
            feature = _encoded(encoder, inputs)
            if not m.can_fail:
                told.append(_where(inputs.available[m.name], feature))
                continue
            common, own = (MLP(1, self.width, self.width, "relu")(feature) for _ in range(2))
            shared.append(nn.RMSNorm(use_scale=False)(common))
            private.append(own)
        if not shared:
            return Context(Fusion(self.width)(told), {})
        available = jnp.stack([inputs.available[m.name] for m in self.modalities if m.can_fail])
        shared, private = jnp.stack(shared), jnp.stack(private)
        count = jnp.maximum(available.sum(0), 1)[..., None]
        mean = _where(available, shared).sum(0) / count
        align = functools.partial(alignment, temperature=self.temperature)
        aligned = jax.vmap(align, 2)(shared, available)
        terms = {
            "align": aligned.mean(),
            "orthogonality": orthogonality(shared, private, available),
        }
        return Context(Fusion(self.width)([mean, *_where(available, private), *told]), terms)


def _encoded(encoder: SensorEncoder, inputs: Sensed) -> Float[Array, "B S d"]:
    """What an encoder says at each step; anything where its sensor is missing."""
    m = encoder.modality
    value = inputs.values[m.name]
    lead = value.shape[: value.ndim - len(m.shape)]
    return encoder(value.reshape(-1, *m.shape)).reshape(*lead, -1)


def _where(available: Array, features: Array) -> Array:
    """Features [..., d] where a sensor delivers, zeros elsewhere."""
    return jnp.where(available[..., None], features, 0.0)


def context(config: ChunkConfig, sizes: Sizes) -> nn.Module:
    """The context of ``config.context``; called, it gives a ``Context``."""
    if config.context == "latent":
        return LatentContext(config.width)
    own = (sizes.modalities, config.width, config.pictures, config.image_width)
    if config.context == "sensors":
        return SensorContext(*own)
    return DisentangledContext(*own, config.align_temperature)
