"""The k-NN graph over the library and candidate sets by bounded shortest paths (section 3.2.1)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mummi.imitation.retrieval.distance import chunks, smallest


class Graph(NamedTuple):
    """Directed graph with an edge from every node to each of its nearest others (eq. 2).

    Attributes:
        neighbours: nodes that the edges of each node lead to, int [N, k].
        weights: their lengths, [N, k]; infinite for no edge.
    """

    neighbours: Int[np.ndarray, "N k"]
    weights: Float[np.ndarray, "N k"]


class CandidateSets(NamedTuple):
    """The set B(s) of each source (eq. 3), nearest first.

    Attributes:
        nodes: candidates, int [S, K]; 0 past the end of a set.
        distance: length delta of the shortest path to each, [S, K]; infinite past the end.
        hops: edges of that path, int [S, K]; 0 past the end.
    """

    nodes: Int[np.ndarray, "S K"]
    distance: Float[np.ndarray, "S K"]
    hops: Int[np.ndarray, "S K"]

    @property
    def mask(self) -> Bool[np.ndarray, "S K"]:
        """Which entries are candidates."""
        return np.isfinite(self.distance)

    @property
    def size(self) -> Int[np.ndarray, " S"]:
        """|B(s)|."""
        return self.mask.sum(1)

    def first(self, size: Int[np.ndarray, " S"]) -> "CandidateSets":
        """The ``size[i]`` nearest candidates of each set i."""
        keep = self.mask & (np.arange(self.nodes.shape[1]) < size[:, None])
        return CandidateSets(
            np.where(keep, self.nodes, 0),
            np.where(keep, self.distance, np.inf),
            np.where(keep, self.hops, 0),
        )


def candidate_sets(
    graph: Graph,
    seeds: Int[np.ndarray, "S k"],
    distance: Float[np.ndarray, "S k"],
    depth: int,
    limit: int,
    exclude: Int[np.ndarray, " S"] | None = None,
) -> CandidateSets:
    """The ``limit`` nearest nodes within ``depth`` hops of each source (eq. 3).

    delta(s, v) is the exact length of the shortest path of at most ``depth`` edges, and the hops
    are the fewest among paths of that length. The paper's Dijkstra search settles nodes nearest
    first, so its stop after ``limit`` visited nodes keeps the same ones. Its appendix C speaks of
    a search that is stopped at the oracle; then the farthest candidate would always be the right
    one and all others wrong, so eq. 3 is followed: the sets do not depend on labels.

    Args:
        graph: the graph, with N nodes.
        seeds: first nodes of the paths, distinct, [S, k].
        distance: from the source to each of them, [S, k]; infinite for no seed.
        depth: most edges of a path, the one to the seed included.
        limit: largest size of a set.
        exclude: node that is the source itself and never its own candidate, [S].
    """
    number = len(graph.neighbours)
    parts = [
        _search(graph, seeds[i], distance[i], depth, limit, None if exclude is None else exclude[i])
        for i in chunks(len(seeds), number)
    ]
    if not parts:
        empty = np.zeros((0, min(limit, number)))
        return CandidateSets(empty.astype(int), empty, empty.astype(int))
    return CandidateSets(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _search(graph, seeds, distance, depth, limit, exclude) -> CandidateSets:
    """Bellman and Ford's recursion over the number of edges, for all sources at once."""
    number, rows = len(graph.neighbours), np.arange(len(seeds))
    length = np.full((len(seeds), number), np.inf)
    hops = np.zeros(length.shape, np.int64)
    if exclude is not None:
        length[rows, exclude] = -np.inf
    flat_length, flat_hops = length.ravel(), hops.ravel()
    target, candidate = rows[:, None] * number + seeds, distance
    for hop in range(1, depth + 1):
        shorter = candidate < flat_length[target]
        target, candidate = target[shorter], candidate[shorter]
        np.minimum.at(flat_length, target, candidate)
        reached = np.unique(target)
        flat_hops[reached] = hop
        if limit < number:
            # All nodes of a path are at least as near as its end: a node that is already beyond
            # the ``limit`` nearest leads to none of them.
            bound = np.partition(length, limit, axis=1)[:, limit]
            reached = reached[flat_length[reached] <= bound[reached // number]]
        node = reached % number
        target = (reached - node)[:, None] + graph.neighbours[node]
        candidate = flat_length[reached][:, None] + graph.weights[node]
    if exclude is not None:
        length[rows, exclude] = np.inf
    nodes, nearest = smallest(length, min(limit, number))
    found = np.isfinite(nearest)
    hops = np.where(found, np.take_along_axis(hops, nodes, 1), 0)
    return CandidateSets(np.where(found, nodes, 0), nearest, hops)


def oracle(loss: Float[np.ndarray, "S K"], mask: Bool[np.ndarray, "S K"]) -> Int[np.ndarray, " S"]:
    """Position in its set of the candidate of least loss, the nearest of several (eq. 4).

    With the 0/1 loss that is the nearest candidate with the source's label. With other losses no
    label need occur twice, so what eq. 9 says of the oracle defines it: the least loss in the set.

    Args:
        loss: of each candidate's label against the source's, candidates nearest first.
        mask: which entries are candidates; where none is, the position is 0.
    """
    return np.argmin(np.where(mask, loss, np.inf), axis=1)


def estimated_size(
    sizes: Int[np.ndarray, " N"], seeds: Int[np.ndarray, "Q k"]
) -> Int[np.ndarray, " Q"]:
    """Set size of a query: the largest of its seeds' own sets (eq. 16).

    The sentence before eq. 16 announces a mean weighted by inverse distances; the equation holds.
    """
    return sizes[seeds].max(1)
