"""Encoders that a chunk head learns with its actions, one a sensor."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mummi.imitation.chunks.config import Pictures
from mummi.modality import Modality
from mummi.model.networks import MLP, ImageEncoder

KEYPOINTS = 32
"""Points of the spatial softmax, as many as robomimic's and Diffusion Policy's."""


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
    """Images [N, H, W, C] in [0, 1] to feature maps [N, ⌈H / 32⌉, ⌈W / 32⌉, 8 × base].

    BatchNorm is replaced by GroupNorm of 16 channels a group and the classifier left out, as in
    Diffusion Policy.

    Attributes:
        base: channels of the first stage; 64 is ResNet-18.
    """

    base: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H2 W2 F"]:
        """The feature map."""
        x = nn.Conv(self.base, (7, 7), 2, padding=3, use_bias=False)(x)
        x = nn.relu(_group_norm(self.base)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage in range(4):
            for block in range(2):
                stride = 2 if stage and not block else 1
                x = ResidualBlock(self.base << stage, stride)(x)
        return x


def spatial_softmax(maps: Float[Array, "N H W K"]) -> Float[Array, "N 2*K"]:
    """Where each of K maps is high: the mean position under its softmax (Finn et al., 2016).

    Returns:
        Rows, then columns, each from -1 to 1.
    """
    count, height, width, channels = maps.shape
    share = jax.nn.softmax(maps.reshape(count, -1, channels), 1).reshape(maps.shape)
    rows = jnp.einsum("nhwk,h->nk", share, jnp.linspace(-1.0, 1.0, height))
    columns = jnp.einsum("nhwk,w->nk", share, jnp.linspace(-1.0, 1.0, width))
    return jnp.concatenate([rows, columns], -1)


class SensorEncoder(nn.Module):
    """Values [N, *shape] of one sensor to features [N, d].

    Images pass a ResNet-18 or a small CNN, depth the small CNN, and all else a two-layer MLP
    (MIRROR, section 4.1).

    Attributes:
        modality: the sensor.
        width: d.
        pictures: as ``ChunkConfig`` names what encodes images.
        image_width: channels of the ResNet's first stage; half as many of the CNN's first layer.

    Raises:
        ValueError: keypoints of pictures of 32 pixels or less.
    """

    modality: Modality
    width: int
    pictures: Pictures = "resnet"
    image_width: int = 64

    @nn.compact
    def __call__(self, x: Array) -> Float[Array, "N d"]:
        """The features."""
        x, kind = x.astype(jnp.float32), self.modality.kind
        if kind in ("vector", "embedding"):
            return MLP(1, self.width, self.width, "relu")(x)
        x = x / 255.0 if kind == "image" else x
        if kind == "depth" or self.pictures == "cnn":
            return nn.Dense(self.width)(self._cnn()(x))
        maps = ResNet18(self.image_width)(x)
        if self.pictures == "keypoints":
            if maps.shape[1:3] == (1, 1):
                raise ValueError(
                    f"modality {self.modality.name!r} of {x.shape[1]}x{x.shape[2]} pixels leaves "
                    "one place, in which a keypoint says nothing: use a larger --image-size, or "
                    "--head.pictures resnet or cnn"
                )
            return nn.Dense(self.width)(spatial_softmax(nn.Conv(KEYPOINTS, (1, 1))(maps)))
        return nn.Dense(self.width)(maps.mean((1, 2)))

    def _cnn(self) -> ImageEncoder:
        side = min(self.modality.shape[:2])
        kernel, layers = min(4, side), 3 if side >= 32 else 1
        widths = [self.image_width // 2 << layer for layer in range(layers)]
        return ImageEncoder(widths, [kernel] * layers, [kernel // 2 or 1] * layers, "relu")
