"""Settings of retrieval as frozen dataclasses; the defaults are the paper's (appendix D)."""

import dataclasses
from typing import Literal


def _check_positive(config, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} {getattr(config, name)} must be at least 1")


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """One stage, of prediction or of imputation: a scoring policy and a soft head.

    Attributes:
        ranking: learned (the policy's scores) or distance (nearest in the graph first), which
            leaves the policy out.
        selection: soft (the head attends over the best candidates) or hard (the value of the best
            one).
        units: width of the policy's layers; the paper does not say.
        epochs: passes over the sources that train the policy.
        rollout: sources of which the policy samples one action each before it is updated.
        updates: gradient steps on each rollout; the paper does not say, and with one the ratio of
            eq. 10 is 1 and nothing is ever clipped.
        clip_ratio: clipping threshold epsilon of eq. 10.
        entropy: weight alpha of the entropy bonus in eq. 10.
        top_k: K', best candidates that the head attends over.
        head_units: width d of the head's queries and keys.
        heads: attention heads H.
        head_epochs: passes over the sources that train the head.
        head_batch: sources in a batch of the head.
        learning_rate: Adam's step size, of policy and head.
        clip: largest norm of either gradient.
    """

    ranking: Literal["learned", "distance"] = "learned"
    selection: Literal["soft", "hard"] = "soft"
    units: int = 64
    epochs: int = 30
    rollout: int = 128
    updates: int = 4
    clip_ratio: float = 0.2
    entropy: float = 1e-4
    top_k: int = 32
    head_units: int = 128
    heads: int = 4
    head_epochs: int = 30
    head_batch: int = 32
    learning_rate: float = 3e-4
    clip: float = 1.0

    def __post_init__(self):
        _check_positive(self, "units", "rollout", "updates", "top_k", "heads", "head_batch")
        if self.head_units < 1 or self.head_units % self.heads:
            raise ValueError(
                f"head_units {self.head_units} must be a positive multiple of heads {self.heads}"
            )


@dataclasses.dataclass(frozen=True)
class RetrievalConfig:
    """Retrieval with missing modalities (RL4IL, sections 3.1 to 3.2.5, appendices A to D).

    Attributes:
        task: classification (integer labels) or regression (floating labels of any shape).
        normalise: z-score every modality and weigh all alike in the distance; False leaves raw
            embeddings under the plain Euclidean distance.
        impute: reconstruct missing modalities from donors; False leaves them at zero, the training
            mean, and out of the distance.
        seed_with_truth: while an imputation policy trains, its candidate sets are seeded with the
            true embedding of the missing modality, as in the paper; False seeds them as at test
            time, from what is present.
        seeds: k_seed, neighbours that a search starts from.
        edges: k_graph, edges of each node of the k-NN graph.
        depth: D, largest number of hops from source to candidate.
        limit: largest number of candidates of a source.
        validation: fraction of the samples held out to choose the best epoch by; 0 for none.
        seed: seed of split, initial parameters, actions and batches.
        prediction: the stage that predicts labels.
        imputation: the stage that reconstructs a modality; one policy and head for each.
    """

    task: Literal["classification", "regression"] = "classification"
    normalise: bool = True
    impute: bool = True
    seed_with_truth: bool = True
    seeds: int = 5
    edges: int = 5
    depth: int = 6
    limit: int = 200
    validation: float = 0.15
    seed: int = 0
    prediction: StageConfig = StageConfig()
    imputation: StageConfig = StageConfig(epochs=50, rollout=64, head_units=64, heads=2)

    def __post_init__(self):
        _check_positive(self, "seeds", "edges", "depth")
        if self.limit < 2:
            raise ValueError(f"limit {self.limit} leaves no choice; at least 2 candidates")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation {self.validation} must be in [0, 1)")
