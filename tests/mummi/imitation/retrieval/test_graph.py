"""Graph and candidate sets against SciPy's shortest paths and the enumeration of all walks."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse
import scipy.spatial

from mummi.imitation.retrieval.config import RetrievalConfig
from mummi.imitation.retrieval.graph import Graph, candidate_sets, estimated_size, oracle
from mummi.imitation.retrieval.index import Samples, build_index, node_sets, query_sets

seeds = st.integers(0, 2**32 - 1)


def random_graph(seed, number, edges):
    """Edges to random other nodes with random lengths: unlike distances, detours may pay."""
    random = np.random.default_rng(seed)
    others = [np.delete(np.arange(number), i) for i in range(number)]
    neighbours = np.stack([random.permutation(x)[:edges] for x in others])
    return Graph(neighbours, random.uniform(0.1, 1.0, neighbours.shape))


def sets_of_nodes(graph, depth, limit):
    own = np.arange(len(graph.neighbours))
    return candidate_sets(graph, graph.neighbours, graph.weights, depth, limit, own)


def shortest_walks(graph, source, depth):
    """{node: (length, fewest edges)} over every walk of at most ``depth`` edges."""
    best = {}
    edges = graph.neighbours.shape[1]
    for steps in range(1, depth + 1):
        for choices in itertools.product(range(edges), repeat=steps):
            node, length = source, 0.0
            for choice in choices:
                length += graph.weights[node, choice]
                node = int(graph.neighbours[node, choice])
            if node != source and length < best.get(node, (np.inf, 0))[0] - 1e-12:
                best[node] = (length, steps)
    return best


def found(sets, row):
    mask = sets.mask[row]
    entries = zip(
        sets.nodes[row, mask], sets.distance[row, mask], sets.hops[row, mask], strict=True
    )
    return {int(node): (distance, hops) for node, distance, hops in entries}


@hypothesis.given(seeds, st.integers(1, 4))
@hypothesis.settings(max_examples=30)
def test_paths_are_the_shortest_of_all_bounded_walks(seed, depth):
    graph = random_graph(seed, 8, 2)
    sets = sets_of_nodes(graph, depth, 100)
    for source in range(8):
        expected, actual = shortest_walks(graph, source, depth), found(sets, source)
        assert actual.keys() == expected.keys()
        for node, (length, hops) in expected.items():
            assert actual[node][0] == pytest.approx(length)
            assert actual[node][1] == hops


@hypothesis.given(seeds)
@hypothesis.settings(max_examples=30)
def test_without_a_bound_they_are_dijkstra_s(seed):
    number = 25
    graph = random_graph(seed, number, 3)
    rows = np.repeat(np.arange(number), 3)
    matrix = scipy.sparse.csr_array(
        (graph.weights.ravel(), (rows, graph.neighbours.ravel())), (number, number)
    )
    expected = scipy.sparse.csgraph.dijkstra(matrix)
    sets = sets_of_nodes(graph, number, number)
    actual = np.full((number, number), np.inf)
    for row in range(number):
        for node, (distance, _) in found(sets, row).items():
            actual[row, node] = distance
    np.fill_diagonal(actual, 0.0)
    np.testing.assert_allclose(actual, expected)


@hypothesis.given(seeds, st.integers(1, 12))
@hypothesis.settings(max_examples=30)
def test_a_limit_keeps_the_nearest(seed, limit):
    graph = random_graph(seed, 20, 3)
    everything, limited = (sets_of_nodes(graph, 4, n) for n in (20, limit))
    assert (np.diff(np.where(everything.mask, everything.distance, 1e9), axis=1) >= 0).all()
    for part, whole in zip(limited, everything.first(np.full(20, limit)), strict=True):
        np.testing.assert_array_equal(part, whole[:, :limit])
    assert limited.size.max() <= limit


def test_a_source_is_never_its_own_candidate():
    sets = sets_of_nodes(random_graph(0, 10, 3), 6, 200)
    for row in range(10):
        assert row not in found(sets, row)


def points(number, seed=0):
    random = np.random.default_rng(seed)
    return Samples(random.normal(size=(number, 3)).astype(np.float32), np.ones((number, 1), bool))


def test_edges_lead_to_the_nearest_others():
    samples = points(40)
    index = build_index(RetrievalConfig(edges=4), (3,), samples)
    tree = scipy.spatial.cKDTree(samples.embedding.astype(np.float64))
    distance, nodes = tree.query(samples.embedding.astype(np.float64), 5)
    np.testing.assert_array_equal(index.graph.neighbours, nodes[:, 1:])
    np.testing.assert_allclose(index.graph.weights, distance[:, 1:] / np.sqrt(3), rtol=1e-5)


def test_a_query_gets_as_many_candidates_as_the_largest_set_of_its_seeds():
    config = RetrievalConfig(seeds=3, edges=2, depth=3)
    library, query = points(50), points(7, seed=1)
    index = build_index(config, (3,), library)
    np.testing.assert_array_equal(
        index.sizes, node_sets(config, (3,), library, library, index.graph).size
    )
    sets = query_sets(config, (3,), query, index)
    tree = scipy.spatial.cKDTree(library.embedding.astype(np.float64))
    distance, near = tree.query(query.embedding.astype(np.float64), 3)
    unbounded = candidate_sets(index.graph, near, distance / np.sqrt(3), 3, 50)
    for row in range(7):
        wanted = max(int(index.sizes[n]) for n in near[row])
        assert sets.size[row] == min(wanted, unbounded.size[row])
        keep = sets.mask[row]
        np.testing.assert_array_equal(sets.nodes[row, keep], unbounded.nodes[row, : keep.sum()])
        np.testing.assert_allclose(
            sets.distance[row, keep], unbounded.distance[row, : keep.sum()], rtol=1e-5
        )
    assert estimated_size(index.sizes, near).max() == index.sizes[near].max()


def test_a_query_without_any_modality_starts_at_the_mean():
    config = RetrievalConfig()
    library = points(30)
    blind = Samples(np.zeros((1, 3), np.float32), np.zeros((1, 1), bool))
    seen = Samples(np.zeros((1, 3), np.float32), np.ones((1, 1), bool))
    index = build_index(config, (3,), library)
    for a, b in zip(
        query_sets(config, (3,), blind, index), query_sets(config, (3,), seen, index), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@hypothesis.given(seeds)
def test_the_oracle_is_the_nearest_of_least_loss(seed):
    random = np.random.default_rng(seed)
    loss = random.integers(0, 3, (5, 6)).astype(float)
    mask = np.arange(6) < random.integers(1, 7, (5, 1))
    for row, position in enumerate(oracle(loss, mask)):
        candidates = [(loss[row, j], j) for j in range(6) if mask[row, j]]
        assert position == min(candidates)[1]
