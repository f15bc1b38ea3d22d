"""A searchable library: normalised embeddings, their k-NN graph and their set sizes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mummi.imitation.retrieval.config import RetrievalConfig
from mummi.imitation.retrieval.distance import (
    chunks,
    element_mask,
    modality_fair_distance,
    smallest,
)
from mummi.imitation.retrieval.graph import CandidateSets, Graph, candidate_sets, estimated_size


class Samples(NamedTuple):
    """Normalised samples.

    Attributes:
        embedding: blocks side by side, float32 [N, D]; 0 where missing.
        available: bool [N, M].
    """

    embedding: Float[np.ndarray, "N D"]
    available: Bool[np.ndarray, "N M"]

    def take(self, rows) -> "Samples":
        """The samples at ``rows``."""
        return Samples(self.embedding[rows], self.available[rows])

    def without(self, modality: int, dims: Sequence[int]) -> "Samples":
        """The same samples with one modality missing: zeros, the cold start of section 3.2.5."""
        available = self.available.copy()
        available[:, modality] = False
        return Samples(np.where(element_mask(available, dims), self.embedding, 0.0), available)


class Index(NamedTuple):
    """Samples that can be retrieved.

    Attributes:
        samples: the N nodes.
        graph: their k-NN graph.
        sizes: |B(n)| of every node, int [N].
    """

    samples: Samples
    graph: Graph
    sizes: Int[np.ndarray, " N"]


def nearest(
    config: RetrievalConfig,
    dims: Sequence[int],
    query: Samples,
    library: Samples,
    k: int,
    exclude: Int[np.ndarray, " Q"] | None = None,
) -> tuple[Int[np.ndarray, "Q k"], Float[np.ndarray, "Q k"]]:
    """The k nearest samples of the library (eq. 1) and their distances, nearest first.

    A query that shares no modality with any of them is compared by its zero vector, the training
    mean. Fewer than k columns come back from a library of fewer samples.

    Args:
        config: whether the distance is fair.
        dims: size of each modality's block.
        query: Q samples.
        library: N samples.
        k: number of neighbours.
        exclude: sample that each query itself is, [Q].
    """
    k = min(k, len(library.embedding) - (exclude is not None))
    found = []
    for rows in chunks(len(query.embedding), len(library.embedding)):
        part = query.take(rows)
        distance = modality_fair_distance(
            part.embedding,
            library.embedding,
            dims,
            part.available,
            library.available,
            config.normalise,
        )
        lost = ~np.isfinite(distance).any(1)
        if lost.any():
            everything = np.ones(len(dims), bool)
            distance[lost] = modality_fair_distance(
                part.embedding[lost], library.embedding, dims, everything, None, config.normalise
            )
        if exclude is not None:
            distance[np.arange(len(distance)), exclude[rows]] = np.inf
        found.append(smallest(distance, k))
    columns, distances = zip(*found, strict=True)
    return np.concatenate(columns), np.concatenate(distances)


def node_sets(
    config: RetrievalConfig, dims: Sequence[int], source: Samples, library: Samples, graph: Graph
) -> CandidateSets:
    """B(s) of every node of the library, seeded by the distances of ``source``, its own view."""
    own = np.arange(len(library.embedding))
    seeds, distance = nearest(config, dims, source, library, config.seeds, own)
    return candidate_sets(graph, seeds, distance, config.depth, config.limit, own)


def build_index(config: RetrievalConfig, dims: Sequence[int], samples: Samples) -> Index:
    """Graph and set sizes of a library."""
    own = np.arange(len(samples.embedding))
    graph = Graph(*nearest(config, dims, samples, samples, config.edges, own))
    return Index(samples, graph, node_sets(config, dims, samples, samples, graph).size)


def query_sets(
    config: RetrievalConfig, dims: Sequence[int], query: Samples, index: Index
) -> CandidateSets:
    """Candidate sets of samples outside the library, of the estimated size (appendix C)."""
    seeds, distance = nearest(config, dims, query, index.samples, config.seeds)
    sets = candidate_sets(index.graph, seeds, distance, config.depth, config.limit)
    return sets.first(estimated_size(index.sizes, seeds))
