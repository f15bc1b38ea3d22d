"""FAVOR+ attention against exact softmax attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mummi.imitation.chunks.attention import (
    Attention,
    favor_attention,
    log_features,
    orthogonal_features,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

D, L, S = 8, 5, 7
make = jax.jit(orthogonal_features, static_argnums=(1, 2))


def problem(scale: float = 0.7):
    random = np.random.default_rng(0)
    return [scale * random.normal(size=(n, D)).astype(np.float32) for n in (L, S, S)]


def softmax_attention(q, k, v):
    return scipy.special.softmax(q @ k.T / np.sqrt(q.shape[1]), axis=1) @ v


def error(count: int, draws: int = 20) -> float:
    """Root mean squared error over draws of ``count`` features."""
    q, k, v = problem()
    keys = jax.random.split(jax.random.PRNGKey(1), draws)
    features = jax.vmap(lambda key: orthogonal_features(key, D, count))(keys)
    found = jax.jit(jax.vmap(favor_attention, (None, None, None, 0)))(q, k, v, features)
    return float(np.sqrt(np.square(found - softmax_attention(q, k, v)).mean()))


def test_the_error_to_softmax_attention_falls_with_the_number_of_features():
    few, many, most = error(8), error(128), error(2048)
    assert few > 2 * many > 4 * most
    assert most < 0.05


def test_the_kernel_estimate_is_unbiased():
    q, k, _ = problem()
    q, k = (x * D**-0.25 for x in (q, k))
    keys = jax.random.split(jax.random.PRNGKey(2), 4000)

    def estimate(key):
        features = orthogonal_features(key, D, 2 * D)
        return jnp.exp(log_features(q, features)) @ jnp.exp(log_features(k, features)).T

    drawn = np.asarray(jax.jit(jax.vmap(estimate))(keys), np.float64)
    deviation = (drawn.mean(0) - np.exp(q @ k.T)) / (drawn.std(0) / np.sqrt(len(drawn)))
    assert np.abs(deviation).max() < 5
    assert np.abs(deviation.mean()) < 1


def test_features_are_orthogonal_in_blocks_and_of_the_length_of_normal_vectors():
    features = np.asarray(make(jax.random.PRNGKey(3), D, 2 * D))
    for block in (features[:, :D], features[:, D:]):
        gram = block.T @ block
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-4)
    lengths = np.linalg.norm(np.asarray(make(jax.random.PRNGKey(3), D, 4096)), axis=0)
    assert np.square(lengths).mean() == pytest.approx(D, rel=0.05)
    assert make(jax.random.PRNGKey(3), D, 3).shape == (D, 3)


def test_keys_of_very_different_length_keep_their_weights():
    """The printed algorithm's maximum of each key would make them alike."""
    q, k, v = problem()
    k = k * np.linspace(0.1, 2.0, S, dtype=np.float32)[:, None]
    features = np.asarray(make(jax.random.PRNGKey(4), D, 4096))
    found, exact = favor_attention(q, k, v, features), softmax_attention(q, k, v)
    phi_q, phi_k = (np.exp(u - u.max(-1, keepdims=True)) for u in (q @ features, k @ features))
    printed = phi_q @ (phi_k.T @ v) / (phi_q @ phi_k.sum(0))[:, None]
    assert np.abs(found - exact).mean() < 0.25 * np.abs(printed - exact).mean()


def test_values_and_gradients_stay_finite_for_large_inputs():
    q, k, v = problem(scale=30.0)
    features = make(jax.random.PRNGKey(5), D, 16)

    def total(q, k, v):
        return favor_attention(q, k, v, features).sum()

    found = jax.jit(jax.value_and_grad(total, (0, 1, 2)))(q, k, v)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(("features", "error"), [(4096, 0.05), (None, 1e-5)])
def test_heads_attend_each_on_their_own_and_in_both_directions(features, error):
    module = Attention(heads=2, features=features, seed=0)
    random = np.random.default_rng(6)
    tokens = jnp.asarray(0.7 * random.normal(size=(1, L, 2 * D)), jnp.float32)
    context = jnp.asarray(0.7 * random.normal(size=(1, S, 2 * D)), jnp.float32)
    found, params = jax.jit(module.init_with_output)(jax.random.PRNGKey(0), tokens, context)
    p = params["params"]
    q, k, v = (
        np.einsum("td,dhe->hte", x[0], p[name]["kernel"])
        for name, x in (("query", tokens), ("key", context), ("value", context))
    )
    heads = np.stack([softmax_attention(*parts) for parts in zip(q, k, v, strict=True)])
    wanted = np.einsum("hte,hed->td", heads, p["out"]["kernel"])
    assert np.sqrt(np.square(found[0] - wanted).mean()) < error
