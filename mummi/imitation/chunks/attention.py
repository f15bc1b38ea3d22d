"""Attention, exact or by positive orthogonal random features (FAVOR+, Choromanski et al., 2020).

MIRROR's Algorithm 1 as printed leaves out the factor exp(-|x|²/2) and the scale d^(-1/4), and
subtracts each key's own maximum, which rescales the keys against each other: it estimates no
softmax. Here both stand, and one maximum is subtracted from all keys.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_LEAST = 1e-12
"""Clamp ε_a of the denominator, for keys that lie far from a query in every feature."""


def orthogonal_features(key: Array, size: int, count: int) -> Float[Array, "d m"]:
    """Standard normal vectors [size, count], orthogonal within each block of ``size`` columns."""
    blocks = -(-count // size)
    of_block, of_norm = jax.random.split(key)
    directions, upper = jnp.linalg.qr(jax.random.normal(of_block, (blocks, size, size)))
    # Without the signs the directions are not uniform, and the kernel estimate is biased.
    directions *= jnp.sign(jnp.diagonal(upper, axis1=1, axis2=2))[:, None]
    directions = directions.transpose(1, 0, 2).reshape(size, blocks * size)[:, :count]
    lengths = jnp.linalg.norm(jax.random.normal(of_norm, (size, count)), axis=0)
    return directions * lengths


def log_features(
    x: Float[Array | np.ndarray, "N d"], features: Float[Array | np.ndarray, "d m"]
) -> Float[Array, "N m"]:
    """log φ(x), where E[φ(q) · φ(k)] = exp(q · k) over the draw of ``features``."""
    norm = jnp.square(x).sum(-1, keepdims=True) / 2
    return x @ features - norm - jnp.log(features.shape[1]) / 2


def favor_attention(
    q: Float[Array | np.ndarray, "L d"],
    k: Float[Array | np.ndarray, "S d"],
    v: Float[Array | np.ndarray, "S d_v"],
    features: Float[Array | np.ndarray, "d m"],
) -> Float[Array, "L d_v"]:
    """An estimate of softmax(q kᵀ / √d) v in time linear in L and S; its error falls with m.

    Args:
        q: queries.
        k: keys.
        v: values.
        features: random vectors as ``orthogonal_features`` gives them; leading axes by ``vmap``.
    """
    scale = q.shape[-1] ** -0.25
    log_q, log_k = log_features(q * scale, features), log_features(k * scale, features)
    # A factor of a query's own cancels; of the keys only one that they all share does.
    phi_q = jnp.exp(log_q - jax.lax.stop_gradient(log_q.max(-1, keepdims=True)))
    phi_k = jnp.exp(log_k - jax.lax.stop_gradient(log_k.max()))
    return phi_q @ (phi_k.T @ v) / jnp.maximum(phi_q @ phi_k.sum(0), _LEAST)[:, None]


class Attention(nn.Module):
    """Bidirectional multi-head attention of tokens [B, L, d] to a context [B, S, d].

    Attributes:
        heads: h, a divisor of d.
        features: m, random features of each head; None is exact softmax attention, which is
            cheaper where L and S are below m.
        seed: of the random features, which are fixed and no parameters.
    """

    heads: int
    features: int | None
    seed: int

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "B L d"], context: Float[Array, "B S d"]
    ) -> Float[Array, "B L d"]:
        """What each token attends to; self-attention when ``context`` is ``tokens``."""
        width = tokens.shape[-1]
        shape = (self.heads, width // self.heads)
        q = nn.DenseGeneral(shape, name="query")(tokens)
        k = nn.DenseGeneral(shape, name="key")(context)
        v = nn.DenseGeneral(shape, name="value")(context)
        attend = jax.nn.dot_product_attention if self.features is None else self._favor
        attended = attend(q, k, v)
        return nn.DenseGeneral(width, axis=(-2, -1), name="out")(attended)

    def _favor(self, q, k, v):
        with jax.ensure_compile_time_eval():
            features = orthogonal_features(
                jax.random.PRNGKey(self.seed), q.shape[-1], self.features
            )
        of_heads = jax.vmap(favor_attention, (1, 1, 1, None), 1)
        return jax.vmap(of_heads, (0, 0, 0, None))(q, k, v, features)
