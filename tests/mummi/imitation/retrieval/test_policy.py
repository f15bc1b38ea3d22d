"""Features, scores, rewards and PPO of retrieval, and its fusion head, against loops."""

import flax.linen as nn
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mummi.imitation.retrieval.fusion_head import FusionHead, attention_weights
from mummi.imitation.retrieval.graph import CandidateSets
from mummi.imitation.retrieval.policy import (
    Policy,
    label_reward,
    make_sources,
    ppo_loss,
    rank_reward,
)
from tests.support.small import random_parameters

pytestmark = pytest.mark.usefixtures("quick_compile")

S, K, N, D, L, LIMIT = 3, 5, 8, 4, 2, 10
ppo_gradient = jax.jit(
    jax.value_and_grad(lambda *arguments: ppo_loss(*arguments)), static_argnums=(4, 5)
)
seeds = st.integers(0, 2**32 - 1)


def problem(seed=0):
    """Sources with sets of different sizes over a random library."""
    random = np.random.default_rng(seed)
    size = np.array([K, 2, 3])
    mask = np.arange(K) < size[:, None]
    distance = np.where(mask, np.sort(random.random((S, K)), 1), np.inf)
    nodes = np.stack([random.permutation(N)[:K] for _ in range(S)])
    sets = CandidateSets(
        np.where(mask, nodes, 0), distance, np.where(mask, random.integers(1, 4, (S, K)), 0)
    )
    source, library = (random.normal(size=(n, D)).astype(np.float32) for n in (S, N))
    labels = random.normal(size=(N, L)).astype(np.float32)
    return sets, source, library, labels


def slow_features(sets, source, library, labels):
    """Eq. 14 and 15 for each source and candidate: phi [D + 2], psi [D + 3 + L]."""
    phi, psi = [], []
    for s in range(S):
        size = int(np.isfinite(sets.distance[s]).sum())
        members = sets.nodes[s, :size]
        y = labels[members]
        phi.append([*source[s], np.var(y, axis=0).mean(), size / LIMIT])
        psi.append(
            [
                [
                    *library[v],
                    sets.distance[s, j] / sets.distance[s, :size].max(),
                    sets.hops[s, j] / sets.hops[s, :size].max(),
                    j / (size - 1),
                    *(labels[v] - y.mean(0)),
                ]
                for j, v in enumerate(members)
            ]
        )
    return phi, psi


@hypothesis.given(seeds)
@hypothesis.settings(max_examples=20)
def test_features_are_equations_14_and_15(seed):
    sets, source, library, labels = problem(seed)
    sources = make_sources(source, labels, sets, LIMIT)
    phi, psi = slow_features(sets, source, library, labels)
    np.testing.assert_allclose(sources.state, phi, rtol=1e-5, atol=1e-6)
    assert (sources.path >= 0).all() and (sources.path <= 1).all()
    for s in range(S):
        for j, expected in enumerate(psi[s]):
            np.testing.assert_allclose(sources.path[s, j], expected[D : D + 3], rtol=1e-5)


def test_features_of_coinciding_candidates_are_finite():
    zero, one = np.zeros((1, 2)), np.ones((1, 2), int)
    sets = CandidateSets(np.array([[0, 1]]), zero, one)
    sources = make_sources(np.zeros((1, D)), np.zeros((2, L)), sets, LIMIT)
    np.testing.assert_array_equal(sources.path[0], [[0, 1, 0], [0, 1, 1]])


def dense(params, x):
    return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params.get("bias", 0.0))


def mlp(params, x):
    return dense(params["Dense_1"], np.maximum(dense(params["Dense_0"], x), 0.0))


def scored(seed=0, units=6):
    sets, source, library, labels = problem(seed)
    sources = make_sources(source, labels, sets, LIMIT)
    policy, nodes = Policy(units), (jnp.asarray(library), jnp.asarray(labels))
    params = random_parameters(lambda key: policy.init(key, sources, *nodes))
    apply = jax.jit(lambda sources: policy.apply(params, sources, *nodes))
    return apply, params["params"], sources, (sets, source, library, labels)


def test_scores_are_equations_5_to_7_on_concatenated_features():
    apply, p, sources, data = scored()
    scores = apply(sources)
    first = [np.asarray(p[f"of_{name}"]["kernel"]) for name in ("embedding", "path", "label")]
    layer = {"kernel": np.concatenate(first), "bias": p["of_embedding"]["bias"]}
    phi, psi = slow_features(*data)
    for s in range(S):
        query = mlp(p["query"], np.asarray(phi[s]))
        for j in range(K):
            if j >= len(psi[s]):
                assert scores[s, j] < -1e8
                continue
            hidden = np.maximum(dense(layer, np.asarray(psi[s][j])), 0.0)
            candidate = dense(p["candidate"], hidden)
            joint = np.concatenate([query, candidate, query * candidate])
            np.testing.assert_allclose(scores[s, j], mlp(p["head"], joint)[0], rtol=1e-3, atol=1e-4)


def test_the_order_of_the_candidates_does_not_change_their_scores():
    apply, _, sources, _ = scored()
    order = np.random.default_rng(1).permutation(K)
    mixed = sources._replace(
        nodes=sources.nodes[:, order], path=sources.path[:, order], mask=sources.mask[:, order]
    )
    np.testing.assert_allclose(apply(mixed), apply(sources)[:, order], rtol=1e-4, atol=1e-5)


@hypothesis.given(seeds)
def test_rewards_are_equation_9_and_the_ranks(seed):
    random = np.random.default_rng(seed)
    mask = np.arange(K) < random.integers(2, K + 1, (S, 1))
    for loss in (random.random((S, K)), random.integers(0, 2, (S, K)).astype(float)):
        reward, ranked = label_reward(loss, mask), rank_reward(loss, mask)
        for s in range(S):
            members = loss[s, mask[s]]
            np.testing.assert_allclose(reward[s, mask[s]], members.min() - members)
            rank = scipy.stats.rankdata(members, "ordinal") - 1
            np.testing.assert_allclose(ranked[s, mask[s]], -rank / (len(members) - 1))
            assert not reward[s, ~mask[s]].any() and not ranked[s, ~mask[s]].any()


@hypothesis.given(seeds, st.sampled_from([0.0, 0.1]))
@hypothesis.settings(max_examples=30)
def test_the_gradient_of_ppo_is_the_direct_one(seed, entropy):
    random = np.random.default_rng(seed)
    scores, old = random.normal(size=(2, S, K))
    action = random.integers(0, K, S)
    reward = random.choice([-1.0, 0.0, 0.7], S)
    epsilon = 0.2
    value, expected = 0.0, np.zeros((S, K))
    for s in range(S):
        log_p = scipy.special.log_softmax(scores[s])
        p = np.exp(log_p)
        ratio = np.exp(log_p[action[s]] - scipy.special.log_softmax(old[s])[action[s]])
        bounded = np.clip(ratio, 1 - epsilon, 1 + epsilon)
        h = -(p * log_p).sum()
        value -= (min(ratio * reward[s], bounded * reward[s]) + entropy * h) / S
        pays = ratio < 1 + epsilon if reward[s] > 0 else ratio > 1 - epsilon
        expected[s] += pays * ratio * reward[s] * (np.eye(K)[action[s]] - p) / S
        expected[s] += entropy * -p * (log_p + h) / S
    log_prob = np.take_along_axis(scipy.special.log_softmax(old, 1), action[:, None], 1)[:, 0]
    arguments = [jnp.asarray(x) for x in (scores, action, log_prob, reward)]
    actual, gradient = ppo_gradient(*arguments, epsilon, entropy)
    np.testing.assert_allclose(actual, value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, -expected, rtol=1e-4, atol=1e-5)


def test_a_candidate_that_is_none_is_never_drawn_and_has_no_gradient():
    scores = jnp.asarray([[0.3, -0.2, -1e9, -1e9]])
    arguments = (jnp.asarray([0]), jnp.zeros(1), -jnp.ones(1), 0.2, 0.01)
    _, gradient = ppo_gradient(scores, *arguments)
    np.testing.assert_array_equal(gradient[0, 2:], 0.0)
    _, expected = ppo_gradient(scores[:, :2], *arguments)
    np.testing.assert_allclose(gradient[:, :2], expected, rtol=1e-5)


def head_inputs(seed=0):
    random = np.random.default_rng(seed)
    query = random.normal(size=(S, D))
    candidates, values = random.normal(size=(S, K, D)), random.normal(size=(S, K, L))
    mask = np.arange(K) < np.array([K, 1, 3])[:, None]
    return [jnp.asarray(x, jnp.float32) for x in (query, candidates, values)] + [jnp.asarray(mask)]


def test_the_fusion_head_is_its_description_head_by_head():
    inputs = head_inputs()
    head = FusionHead(units=6, heads=2, outputs=3)
    params = random_parameters(lambda key: head.init(key, *inputs))
    output, weights = jax.jit(head.apply)(params, *inputs)
    p = params["params"]
    query, candidates, values, mask = (np.asarray(x) for x in inputs)
    for s in range(S):
        q, count = dense(p["Dense_0"], query[s]), int(mask[s].sum())
        keys = dense(p["Dense_1"], candidates[s, :count])
        parts = [
            scipy.special.softmax(keys[:, h] @ q[h] / np.sqrt(3)) for h in (slice(3), slice(3, 6))
        ]
        alpha = np.mean(parts, 0)
        np.testing.assert_allclose(weights[s, :count], alpha, rtol=1e-4)
        joint = np.concatenate([alpha @ keys, alpha @ values[s, :count]])
        np.testing.assert_allclose(output[s], mlp(p["MLP_0"], joint), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("poison", [1e6, -3.0])
def test_entries_past_the_end_of_a_set_change_neither_output_nor_gradient(poison):
    query, candidates, values, mask = head_inputs()
    head = FusionHead(units=4, heads=2, outputs=2)
    params = random_parameters(lambda key: head.init(key, query, candidates, values, mask))

    def total(params, candidates, values):
        return jnp.square(head.apply(params, query, candidates, values, mask)[0]).sum()

    function = jax.jit(jax.value_and_grad(total))
    spoiled = [jnp.where(mask[..., None], x, poison) for x in (candidates, values)]
    expected, actual = function(params, candidates, values), function(params, *spoiled)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), expected, actual)


def test_one_head_is_the_attention_of_flax():
    query, keys, values, _ = head_inputs()
    weights = attention_weights(query, keys, jnp.ones((S, K), bool), 1)
    expected = nn.dot_product_attention(
        query[:, None, None], keys[:, :, None], values[:, :, None].repeat(2, -1)
    )
    actual = jnp.einsum("sk,skl->sl", weights, values.repeat(2, -1))
    np.testing.assert_allclose(actual, expected[:, 0, 0], rtol=1e-4, atol=1e-5)
