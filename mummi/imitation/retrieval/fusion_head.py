"""Soft fusion of the best candidates by cross-attention (RL4IL, sections 3.2.4 and 3.2.5)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from mummi.model.networks import MLP


def attention_weights(
    query: Float[Array, "S d"],
    keys: Float[Array, "S K d"],
    mask: Bool[Array, "S K"],
    heads: int,
) -> Float[Array, "S K"]:
    """One weight alpha_j for each candidate: scaled dot-product attention, averaged over heads.

    The paper has H heads and one weight a candidate, and does not say how they are joined.

    Args:
        query: projected query; ``heads`` divides d.
        keys: projected candidates.
        mask: which entries are candidates; the others weigh 0, also where there are none.
        heads: H.
    """
    size = query.shape[-1] // heads
    query = query.reshape(len(query), heads, size)
    keys = keys.reshape(*keys.shape[:2], heads, size)
    logits = jnp.einsum("shd,skhd->shk", query, keys) / jnp.sqrt(size)
    weights = jax.nn.softmax(jnp.where(mask[:, None], logits, -1e9), -1).mean(1)
    return jnp.where(mask, weights, 0.0)


class FusionHead(nn.Module):
    """Output from the attended values and the attended keys of the candidates.

    With values that are labels it is the fusion head: y_hat = MLP([c; sum_j alpha_j y_j]), class
    logits when the labels are one-hot. With values that are a modality's embeddings it is the
    soft imputation head. Its keys are projections of the donors' whole embeddings, of which the
    block to impute is a part: from that block alone a donor could not be compared with what the
    query has.

    Attributes:
        units: width d_f of queries and keys, a multiple of ``heads``.
        heads: H.
        outputs: size of the output; the hidden layer of the MLP is at least as wide, so that an
            output of many elements is not squeezed.
    """

    units: int
    heads: int
    outputs: int

    @nn.compact
    def __call__(
        self,
        query: Float[Array, "S D"],
        candidates: Float[Array, "S K D"],
        values: Float[Array, "S K L"],
        mask: Bool[Array, "S K"],
    ) -> tuple[Float[Array, "S O"], Float[Array, "S K"]]:
        """Output [S, O] and attention weights [S, K]."""
        projected = nn.Dense(self.units)(query)
        keys = nn.Dense(self.units)(candidates)
        weights = attention_weights(projected, keys, mask, self.heads)
        context = jnp.einsum("sk,skd->sd", weights, keys)
        value = jnp.einsum("sk,skl->sl", weights, values)
        mlp = MLP(1, max(self.units, self.outputs), self.outputs, activation="relu")
        return mlp(jnp.concatenate([context, value], -1)), weights


def squared_error(output: Float[Array, "S L"], target: Float[Array, "S L"]) -> Float[Array, ""]:
    """Mean squared error, for regression and imputation."""
    return jnp.square(output - target).mean()


def cross_entropy(output: Float[Array, "S C"], target: Float[Array, "S C"]) -> Float[Array, ""]:
    """Cross-entropy of logits against one-hot targets, for classification."""
    return optax.softmax_cross_entropy(output, target).mean()
