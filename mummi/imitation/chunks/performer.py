"""MIRROR's generator: action queries under bidirectional attention (section 4.2)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mummi.imitation.chunks.attention import Attention

POSITION = nn.initializers.normal(0.02)
FAINT = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")
"""A tenth of the scale that ``nn.Dense`` starts with."""


def sinusoidal(time: Float[Array, " B"], size: int) -> Float[Array, "B D"]:
    """Sines and cosines of 100 × ``time`` (in [0, 1]) at frequencies from 1 to 1e-4."""
    frequency = jnp.exp(jnp.linspace(0.0, -jnp.log(1e4), size // 2))
    angle = 100.0 * time[:, None] * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


class TimeEmbedding(nn.Module):
    """Embedding of the diffusion or flow time [B] of ``size`` units."""

    size: int

    @nn.compact
    def __call__(self, time: Float[Array, " B"]) -> Float[Array, "B D"]:
        """Two dense layers on the sinusoids."""
        hidden = nn.Dense(4 * self.size)(sinusoidal(time, self.size))
        return nn.Dense(self.size)(nn.silu(hidden))


class Performer(nn.Module):
    """Chunks [B, T, A] from context tokens [B, S, d] and noise [B, T, A], all steps at once.

    Learned queries, which carry their position, plus the projected noise of their step pass L
    blocks of self-attention, cross-attention to the normalised context and an MLP, each after a
    LayerNorm. The queries start at the scale of what attention adds to them: started near 0, the
    steps of a chunk are told apart only after hundreds of updates. A latent starts at a tenth of
    that scale, and how much of it is needed is learned: at the same scale it stays in the sum up to
    the last LayerNorm, and drowns the context. Noisy actions, which come with a time, are no mere
    latent and start at the scale of the queries.
    The paper gives L = 6 and a total of 44 M parameters, but no width, heads, m or MLP size: the
    defaults of ``ChunkConfig`` are guesses that come near it with two ResNet-18. The latent has
    the shape of the chunk, as in IMLE Policy, so that noisy actions can take its place.

    Attributes:
        blocks: L.
        heads: attention heads.
        features: random features m of each head; None is exact softmax attention.
        expansion: hidden units of the MLP over the width d.
    """

    blocks: int
    heads: int
    features: int | None
    expansion: int = 2

    @nn.compact
    def __call__(
        self,
        context: Float[Array, "B S d"],
        noise: Float[Array, "B T A"],
        time: Float[Array, " B"] | None = None,
    ) -> Float[Array, "B T A"]:
        """The chunk, or with ``time`` the noise or velocity in it."""
        width = context.shape[-1]
        queries = self.param("queries", nn.initializers.normal(1.0), (noise.shape[1], width))
        dense = nn.Dense(width, kernel_init=FAINT) if time is None else nn.Dense(width)
        x = dense(noise) + queries
        context = nn.LayerNorm()(context)
        if time is not None:
            x += TimeEmbedding(width)(time)[:, None]
        for block in range(self.blocks):
            seeds = 2 * block, 2 * block + 1
            attention = [Attention(self.heads, self.features, seed) for seed in seeds]
            own = nn.LayerNorm()(x)
            x += attention[0](own, own)
            x += attention[1](nn.LayerNorm()(x), context)
            hidden = nn.gelu(nn.Dense(self.expansion * width)(nn.LayerNorm()(x)))
            x += nn.Dense(width)(hidden)
        return nn.Dense(noise.shape[-1])(nn.LayerNorm()(x))
