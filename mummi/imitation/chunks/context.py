"""Context tokens of a history of percepts: from the latent, or MIRROR's own encoders."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mummi.imitation.chunks.performer import POSITION
from mummi.imitation.heads.head import Percept
from mummi.modality import Modality
from mummi.model.networks import MLP, ImageEncoder


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


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with GroupNorm around a shortcut, as in ResNet-18."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H2 W2 F"]:
        """The feature map."""
        plain = {"padding": 1, "use_bias": False}
        out = nn.Conv(self.features, (3, 3), self.stride, **plain)(x)
        out = nn.relu(_group_norm(self.features)(out))
        out = _group_norm(self.features)(nn.Conv(self.features, (3, 3), **plain)(out))
        if out.shape != x.shape:
            x = nn.Conv(self.features, (1, 1), self.stride, use_bias=False)(x)
            x = _group_norm(self.features)(x)
        return nn.relu(out + x)


def _group_norm(features: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(features // 16, 1))


class ResNet18(nn.Module):
    """Images [N, H, W, C] in [0, 1] to their mean feature [N, 8 × base].

    BatchNorm is replaced by GroupNorm of 16 channels a group and the classifier left out, as in
    Diffusion Policy.

    Attributes:
        base: channels of the first stage; 64 is ResNet-18.
    """

    base: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N F"]:
        """The feature."""
        x = nn.Conv(self.base, (7, 7), 2, padding=3, use_bias=False)(x)
        x = nn.relu(_group_norm(self.base)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage in range(4):
            for block in range(2):
                stride = 2 if stage and not block else 1
                x = ResidualBlock(self.base << stage, stride)(x)
        return x.mean((1, 2))


class LatentContext(nn.Module):
    """Tokens [B, S, d] from latents [B, S, F]: a linear map and learned positions."""

    width: int

    @nn.compact
    def __call__(self, latents: Float[Array, "B S F"]) -> Float[Array, "B S d"]:
        """The tokens."""
        positions = self.param("positions", POSITION, (latents.shape[1], self.width))
        return nn.Dense(self.width)(latents) + positions


class SensorContext(nn.Module):
    """Tokens [B, S, d] from raw sensor values, fused at each step (MIRROR, eq. 2 and 10).

    A ResNet-18 for images, a small CNN for depth, a two-layer MLP for the rest, each to d units;
    a sensor that is missing at a step contributes zeros to the fusion MLP.

    Attributes:
        modalities: the sensors, in the order in which they are concatenated.
        width: d.
        image_width: channels of the ResNet's first stage.
    """

    modalities: tuple[Modality, ...]
    width: int
    image_width: int = 64

    @nn.compact
    def __call__(self, inputs: Sensed) -> Float[Array, "B S d"]:
        """The tokens."""
        parts = []
        for m in self.modalities:
            value, available = inputs.values[m.name], inputs.available[m.name]
            flat = value.reshape(-1, *m.shape).astype(jnp.float32)
            feature = self._encode(m, flat).reshape(*available.shape, self.width)
            parts.append(jnp.where(available[..., None], feature, 0.0))
        fused = MLP(1, self.width, self.width, "relu")(jnp.concatenate(parts, -1))
        return fused + self.param("positions", POSITION, fused.shape[-2:])

    def _encode(self, modality: Modality, x: Array) -> Array:
        if modality.kind == "image":
            return nn.Dense(self.width)(ResNet18(self.image_width)(x / 255.0))
        if modality.kind == "depth":
            kernel = min(4, *modality.shape[:2])
            layers = 3 if min(modality.shape[:2]) >= 32 else 1
            widths = [self.image_width // 2 << layer for layer in range(layers)]
            cnn = ImageEncoder(widths, [kernel] * layers, [kernel // 2 or 1] * layers, "relu")
            return nn.Dense(self.width)(cnn(x))
        return MLP(1, self.width, self.width, "relu")(x)
