"""The one-dimensional convolutional U-Net of Diffusion Policy and IMLE Policy."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mummi.imitation.chunks.performer import TimeEmbedding

GROUPS = 8


class TimeConv(nn.Module):
    """Convolution over time as one matrix product: [B, T, C] -> [B, T / stride, F].

    T must be a multiple of the stride; past its ends there are zeros. XLA's own convolution is slow
    on CPU where the kernel is longer than T, as it is in the inner levels.
    """

    features: int
    kernel: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"]) -> Float[Array, "B S F"]:
        """The features."""
        length, channels = x.shape[1:]
        shape = (self.kernel, channels, self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = jnp.pad(x, ((0, 0), (self.kernel // 2, (self.kernel - 1) // 2), (0, 0)))
        patches = [x[:, i : i + length : self.stride] for i in range(self.kernel)]
        return jnp.concatenate(patches, -1) @ kernel.reshape(-1, self.features) + bias


def stretch(x: Float[Array, "B T C"]) -> Float[Array, "B S C"]:
    """Each step and a zero after it, [B, 2 T, C]; a convolution of it is a transposed one of x."""
    return jnp.stack([x, jnp.zeros_like(x)], 2).reshape(len(x), -1, x.shape[-1])


class ConvBlock(nn.Module):
    """Convolution over time, GroupNorm, Mish: [B, T, C] -> [B, T, F]."""

    features: int
    kernel: int

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"]) -> Float[Array, "B T F"]:
        """The features."""
        return jax.nn.mish(nn.GroupNorm(GROUPS)(TimeConv(self.features, self.kernel)(x)))


class FilmBlock(nn.Module):
    """Two convolutions, the first scaled and shifted by the condition, around a residual."""

    features: int
    kernel: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T C"], condition: Float[Array, "B D"]
    ) -> Float[Array, "B T F"]:
        """The features."""
        film = nn.Dense(2 * self.features)(jax.nn.mish(condition))[:, None]
        scale, shift = jnp.split(film, 2, -1)
        out = ConvBlock(self.features, self.kernel)(x) * scale + shift
        out = ConvBlock(self.features, self.kernel)(out)
        return out + (x if x.shape[-1] == self.features else nn.Dense(self.features)(x))


class UNet(nn.Module):
    """Chunks [B, T, A] from context tokens [B, S, d] and noise [B, T, A].

    The condition is a projection of all tokens to d units (in Diffusion Policy the observations
    themselves, which are smaller), with the embedding of the time beside it.

    Attributes:
        widths: channels of each level; T must be a multiple of 2^(levels - 1).
        kernel: of the convolutions.
    """

    widths: Sequence[int]
    kernel: int = 5

    @nn.compact
    def __call__(
        self,
        context: Float[Array, "B S d"],
        noise: Float[Array, "B T A"],
        time: Float[Array, " B"] | None = None,
    ) -> Float[Array, "B T A"]:
        """The chunk, or with ``time`` the noise or velocity in it."""
        width = context.shape[-1]
        condition = nn.Dense(width)(context.reshape(len(context), -1))
        if time is not None:
            condition = jnp.concatenate([condition, TimeEmbedding(width)(time)], -1)
        x, skips = noise, []
        for level, features in enumerate(self.widths):
            x = TimeConv(x.shape[-1], 3, 2)(x) if level else x
            for _ in range(2):
                x = FilmBlock(features, self.kernel)(x, condition)
            skips.append(x)
        for _ in range(2):
            x = FilmBlock(self.widths[-1], self.kernel)(x, condition)
        for features in self.widths[-2::-1]:
            x = jnp.concatenate([x, skips.pop()], -1)
            for _ in range(2):
                x = FilmBlock(features, self.kernel)(x, condition)
            x = TimeConv(features, 4)(stretch(x))
        return nn.Dense(noise.shape[-1])(ConvBlock(self.widths[0], self.kernel)(x))
