"""Fusion: the product of Gaussian experts, and the public code's weighting."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mummi.model.fusion import product_of_experts, published_fusion

pytestmark = pytest.mark.usefixtures("quick_compile")

M, N, E = 3, 4, 2
fuse = jax.jit(product_of_experts, static_argnames="prior_std")


@st.composite
def beliefs(draw):
    """Means, stds and availability of M experts at N steps."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mean = random.normal(0, 2, (M, N, E)).astype(np.float32)
    std = random.uniform(0.1, 3, (M, N, E)).astype(np.float32)
    return mean, std, random.random((M, N)) < draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]))


def as_jax(*arrays):
    return tuple(jnp.asarray(array) for array in arrays)


def fused(mean, std, available, **options):
    return fuse(*as_jax(mean, std, available), **options)


@pytest.mark.parametrize("prior_std", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("there", [(1, 1, 1), (1, 0, 1), (0, 0, 1), (0, 0, 0)])
def test_the_product_is_the_normalised_product_of_the_densities(there, prior_std):
    mean, std = np.array([0.4, -1.0, 1.7]), np.array([0.5, 0.9, 1.3])
    grid = np.linspace(-24, 24, 40_001)
    density = scipy.stats.norm.pdf(grid, 0, prior_std)
    for m in range(3):
        if there[m]:
            density = density * scipy.stats.norm.pdf(grid, mean[m], std[m])
    density /= density.sum()
    centre = (grid * density).sum()
    spread = np.sqrt(((grid - centre) ** 2 * density).sum())

    available = np.array(there, bool)
    result = fused(mean[:, None], std[:, None], available, prior_std=prior_std)
    np.testing.assert_allclose(result, [[centre], [spread]], rtol=1e-4, atol=1e-5)


@hypothesis.given(beliefs(), st.sampled_from([0.5, 2.0]))
def test_the_product_equals_conjugate_updates_one_expert_after_the_other(belief, prior_std):
    mean, std, available = belief
    centre, variance = np.zeros((N, E)), np.full((N, E), prior_std**2)
    for m in range(M):
        gain = variance / (variance + std[m] ** 2) * available[m][:, None]
        centre = centre + gain * (mean[m] - centre)
        variance = variance * (1 - gain)
    result = fused(*belief, prior_std=prior_std)
    np.testing.assert_allclose(result[0], centre, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result[1], np.sqrt(variance), rtol=1e-4)


@hypothesis.given(beliefs(), st.permutations(range(M)))
def test_the_order_of_the_sensors_does_not_matter(belief, order):
    result = fused(*belief)
    permuted = fused(*(x[list(order)] for x in belief))
    np.testing.assert_allclose(result, permuted, rtol=1e-5, atol=1e-6)


@hypothesis.given(beliefs(), st.sampled_from([0.5, 1.0, 4.0]))
def test_with_nothing_available_the_belief_is_exactly_the_prior(belief, prior_std):
    mean, std, available = belief
    result = fused(mean, std, np.zeros_like(available), prior_std=prior_std)
    np.testing.assert_array_equal(result[0], 0.0)
    np.testing.assert_array_equal(result[1], prior_std)


@hypothesis.given(beliefs(), st.integers(0, M - 1))
def test_another_expert_never_widens_the_belief(belief, which):
    mean, std, available = belief
    without, joined = available.copy(), available.copy()
    without[which], joined[which] = False, True
    _, wide = fused(mean, std, without)
    _, narrow = fused(mean, std, joined)
    assert (np.asarray(narrow) < np.asarray(wide)).all()


@hypothesis.given(beliefs())
def test_the_mean_lies_between_the_prior_and_the_experts(belief):
    mean, _, available = belief
    points = np.where(available[..., None], mean, 0.0)
    centre = np.asarray(fused(*belief)[0])
    assert (centre <= np.maximum(points.max(0), 0) + 1e-5).all()
    assert (centre >= np.minimum(points.min(0), 0) - 1e-5).all()


def scalar(fusion, mean, std, available):
    return sum(jnp.sum(jnp.sin(part) * jnp.arange(1, 3)) for part in fusion(mean, std, available))


def vmapped(mean, std, available):
    return jax.vmap(product_of_experts, in_axes=1, out_axes=0)(mean, std, available)


@pytest.mark.parametrize("fusion", [product_of_experts, vmapped, published_fusion])
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 0.0])
def test_what_a_missing_expert_holds_changes_neither_value_nor_gradient(fusion, poison):
    random = np.random.default_rng(0)
    mean, std = random.normal(size=(M, N, E)), random.uniform(0.2, 2, (M, N, E))
    available = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 0, 1]], bool)
    clean = as_jax(mean, std, available)
    spoiled = as_jax(*(np.where(available[..., None], x, poison) for x in (mean, std)), available)
    function = jax.jit(jax.value_and_grad(lambda *inputs: scalar(fusion, *inputs), argnums=(0, 1)))
    value, gradient = function(*clean)
    value_spoiled, gradient_spoiled = function(*spoiled)
    assert np.isfinite(value) and value == value_spoiled
    for a, b in zip(gradient, gradient_spoiled, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.asarray(b)[~available], 0.0)
        assert np.any(np.asarray(b)[available] != 0.0)


def test_the_published_weights_are_inverse_stds_with_a_hundredth_below():
    random = np.random.default_rng(1)
    mean, std = random.normal(size=(M, N, E)), random.uniform(0.1, 2, (M, N, E))
    available = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 0, 1]], bool)
    expected = np.zeros((N, E))
    for n in range(N):
        for e in range(E):
            above, below = 0.0, 0.01
            for m in range(M):
                if available[m, n]:
                    above += mean[m, n, e] / std[m, n, e]
                    below += 1 / std[m, n, e]
            expected[n, e] = above / below
    result = published_fusion(*as_jax(mean, std, available))
    np.testing.assert_allclose(result[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(result[1], 0.0)
