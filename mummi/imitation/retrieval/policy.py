"""Features, scoring policy, rewards and objective of retrieval (RL4IL, section 3.2, appendix B)."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mummi.imitation.retrieval.distance import chunks
from mummi.imitation.retrieval.graph import CandidateSets, oracle
from mummi.model.networks import MLP

_NEVER = -1e9
"""Score past the end of a set: its probability is exactly 0, and the entropy stays finite."""


class Sources(NamedTuple):
    """What the policy sees of S sources with up to K candidates each.

    Attributes:
        state: phi(s) [S, D + 2].
        nodes: candidates in the library, int [S, K].
        path: the entries of psi(s, v) about the path, [S, K, 3].
        mask: which entries are candidates, bool [S, K].
    """

    state: Float[np.ndarray | Array, "S F"]
    nodes: Int[np.ndarray | Array, "S K"]
    path: Float[np.ndarray | Array, "S K 3"]
    mask: Bool[np.ndarray | Array, "S K"]


def state_features(
    embedding: Float[np.ndarray, "S D"],
    labels: Float[np.ndarray, "N L"],
    sets: CandidateSets,
    limit: int,
) -> Float[np.ndarray, "S F"]:
    """phi(s) = [f_s; Var(y_B(s)); |B(s)|] (eq. 14), float32 [S, D + 2].

    Of label vectors it is the mean over their elements of the variance. The size comes as a
    fraction of ``limit``, so that no feature is a hundred times the others.
    """
    variance = np.zeros(len(embedding))
    mask = sets.mask
    for rows in chunks(len(embedding), sets.nodes.shape[1] * labels.shape[1]):
        y = labels[sets.nodes[rows]].astype(np.float64)
        present = mask[rows][..., None]
        count = np.maximum(present.sum(1, keepdims=True), 1)
        deviation = np.where(
            present, y - np.where(present, y, 0.0).sum(1, keepdims=True) / count, 0
        )
        variance[rows] = (np.square(deviation).sum(1) / count[:, 0]).mean(-1)
    columns = [embedding, variance[:, None], sets.size[:, None] / limit]
    return np.concatenate(columns, 1).astype(np.float32)


def path_features(sets: CandidateSets) -> Float[np.ndarray, "S K 3"]:
    """Distance, depth and rank of each candidate, each in [0, 1] (eq. 15), float32 [S, K, 3].

    A feature whose greatest value in the set is 0 is 0.
    """
    mask = sets.mask
    rank = np.broadcast_to(np.arange(mask.shape[1]), mask.shape)
    columns = np.stack([np.where(mask, sets.distance, 0.0), sets.hops, np.where(mask, rank, 0)], -1)
    largest = columns.max(1, keepdims=True) if mask.shape[1] else np.ones((len(mask), 1, 3))
    return np.divide(columns, np.where(largest > 0, largest, 1.0)).astype(np.float32)


def make_sources(
    embedding: Float[np.ndarray, "S D"],
    labels: Float[np.ndarray, "N L"],
    sets: CandidateSets,
    limit: int,
) -> Sources:
    """Features of sources with embeddings [S, D] whose candidates have ``labels`` [N, L]."""
    state = state_features(embedding, labels, sets, limit)
    path = path_features(sets)
    return Sources(state=state, nodes=sets.nodes, path=path, mask=sets.mask)


class Policy(nn.Module):
    """Scores of all candidates of a source (eq. 5 to 7).

    The first layer of MLP_c is linear in psi(s, v), whose parts on f_v and y_v depend on the node
    alone. It is applied to every node of the library once, and gathered: the same numbers as a
    layer on the concatenation. As the score of a candidate does not depend on its position, no
    shuffling of the sets is needed.
    """

    units: int

    def setup(self):
        self.query = MLP(1, self.units, self.units, activation="relu")
        self.of_embedding = nn.Dense(self.units)
        self.of_label = nn.Dense(self.units, use_bias=False)
        self.of_path = nn.Dense(self.units, use_bias=False)
        self.candidate = nn.Dense(self.units)
        self.head = MLP(1, self.units, 1, activation="relu")

    def nodes(
        self, embedding: Float[Array, "N D"], labels: Float[Array, "N L"]
    ) -> tuple[Float[Array, "N U"], Float[Array, "N U"]]:
        """Parts of MLP_c's first layer that depend on a node's embedding and label."""
        return self.of_embedding(embedding), self.of_label(labels)

    def scores(self, sources: Sources, embedded: Array, labelled: Array) -> Float[Array, "S K"]:
        """score(v) of every candidate from the parts that ``nodes`` gives."""
        mask = sources.mask[..., None]
        label = labelled[sources.nodes]
        count = jnp.maximum(mask.sum(1, keepdims=True), 1)
        label = label - jnp.where(mask, label, 0.0).sum(1, keepdims=True) / count
        hidden = nn.relu(embedded[sources.nodes] + label + self.of_path(sources.path))
        candidate = self.candidate(hidden)
        query = jnp.broadcast_to(self.query(sources.state)[:, None], candidate.shape)
        score = self.head(jnp.concatenate([query, candidate, query * candidate], -1))[..., 0]
        return jnp.where(sources.mask, score, _NEVER)

    def __call__(
        self, sources: Sources, embedding: Float[Array, "N D"], labels: Float[Array, "N L"]
    ) -> Float[Array, "S K"]:
        """score(v) of every candidate; -1e9 past the end of a set."""
        return self.scores(sources, *self.nodes(embedding, labels))


def label_reward(
    loss: Float[np.ndarray, "S K"], mask: Bool[np.ndarray, "S K"]
) -> Float[np.ndarray, "S K"]:
    """Reward of each action: the oracle's loss minus the candidate's (eq. 9), at most 0."""
    if not mask.shape[1]:
        return np.zeros(mask.shape)
    best = np.take_along_axis(loss, oracle(loss, mask)[:, None], 1)
    return np.where(mask, best - loss, 0.0)


def rank_reward(
    loss: Float[np.ndarray, "S K"], mask: Bool[np.ndarray, "S K"]
) -> Float[np.ndarray, "S K"]:
    """(rank of the oracle - rank of the action) / (K - 1), ranked by loss (section 3.2.5).

    The oracle is the candidate of least loss, so its rank is 0 and the reward lies in [-1, 0], a
    part of the [-1, 1] that the paper states. Equal losses rank in the order of the set.
    """
    order = np.argsort(np.where(mask, loss, np.inf), axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    return np.where(mask, -rank / np.maximum(mask.sum(1, keepdims=True) - 1, 1), 0.0)


def chosen(values: Float[Array, "S K"], index: Int[Array, " S"]) -> Float[Array, " S"]:
    """Of each row the value at its index."""
    return jnp.take_along_axis(values, index[:, None], 1)[:, 0]


def ppo_loss(
    scores: Float[Array, "S K"],
    action: Int[Array, " S"],
    log_prob: Float[Array, " S"],
    reward: Float[Array, " S"],
    clip_ratio: float,
    entropy: float,
) -> Float[Array, ""]:
    """Minus the clipped surrogate objective with an entropy bonus (eq. 10).

    Args:
        scores: logits of the policy that is trained.
        action: candidates that the policy before the update chose.
        log_prob: their log-probabilities under that policy.
        reward: their rewards, which are the advantages: there is no baseline.
        clip_ratio: epsilon.
        entropy: alpha.
    """
    policy = nn.log_softmax(scores)
    ratio = jnp.exp(chosen(policy, action) - log_prob)
    clipped = jnp.clip(ratio, 1.0 - clip_ratio, 1.0 + clip_ratio)
    surrogate = jnp.minimum(ratio * reward, clipped * reward)
    return -(surrogate.mean() + entropy * -(jnp.exp(policy) * policy).sum(-1).mean())
