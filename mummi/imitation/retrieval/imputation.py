"""Reconstruction of missing modalities from donors (RL4IL, section 3.2.5)."""

from collections.abc import Mapping, Sequence

import numpy as np

from mummi.imitation.retrieval.config import RetrievalConfig
from mummi.imitation.retrieval.index import Samples
from mummi.imitation.retrieval.retriever import Retriever


def block(modality: int, dims: Sequence[int]) -> slice:
    """Elements of a modality in the concatenated embedding."""
    start = sum(dims[:modality])
    return slice(start, start + dims[modality])


def make_imputer(config: RetrievalConfig, dims: Sequence[int]) -> Retriever:
    """The stage that reconstructs one modality."""
    return Retriever(config, config.imputation, tuple(dims), "imputation")


def fit_imputer(
    config: RetrievalConfig, dims: Sequence[int], modality: int, samples: Samples, seed: int
) -> Retriever:
    """Trains policy and head that reconstruct a modality, on samples where it is available.

    These are the donors, and in turn the sources, from which the modality is hidden: the state is
    the partial query, with zeros in place of the block. The values are the donors' blocks, ranked
    by their squared distance to the hidden one; both are measured in z-scores, in which no
    dimension counts for more than another. The paper seeds the search in training with the true
    block, which at test time is missing; ``seed_with_truth`` chooses. At test time distances
    are those over the M' modalities present: the zero vector stands in the state and in the
    head's query, not in the distance, where it would favour donors near the mean.

    Args:
        config: settings.
        dims: size of each modality's block.
        modality: index of the modality.
        samples: all samples.
        seed: seed of everything random.

    Raises:
        ValueError: when too few samples have the modality.
    """
    donors = samples.take(np.flatnonzero(samples.available[:, modality]))
    hidden = donors.without(modality, dims)
    seeding = donors if config.seed_with_truth else hidden
    values = donors.embedding[:, block(modality, dims)]
    return make_imputer(config, dims).fit(donors, values, hidden, seeding, seed)


def impute(imputers: Mapping[int, Retriever], samples: Samples, dims: Sequence[int]) -> Samples:
    """Samples with every missing modality that has an imputer filled in, and marked available.

    Each is reconstructed from what the sample itself has, so the order does not matter.
    """
    embedding, available = samples.embedding.copy(), samples.available.copy()
    for modality, imputer in imputers.items():
        rows = np.flatnonzero(~samples.available[:, modality])
        if len(rows):
            embedding[rows, block(modality, dims)] = imputer(samples.take(rows)).output
            available[rows, modality] = True
    return Samples(embedding, available)
