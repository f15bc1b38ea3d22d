"""Objectives of the world model against slow loops, closed forms and finite differences."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from mummi.model import losses

pytestmark = pytest.mark.usefixtures("quick_compile")

N, E = 6, 3
info_nce = jax.jit(lambda *inputs: losses.info_nce(*inputs)[0])
published_info_nce = jax.jit(lambda *inputs: losses.published_info_nce(*inputs)[0])
seeds = st.integers(0, 2**32 - 1)


def sample(seed, rate=0.7, scale=1.0):
    random = np.random.default_rng(seed)
    prediction, target = scale * random.normal(size=(2, N, E)).astype(np.float32)
    return jnp.asarray(prediction), jnp.asarray(target), jnp.asarray(random.random(N) < rate)


def slow_info_nce(prediction, target, available, published=False):
    """Eq. 15 and 16 as written: a ratio of sums of squared-exponential kernels."""
    prediction, target = (np.asarray(x, np.float64) for x in (prediction, target))
    total = 0.0
    for i in range(len(prediction)):
        if not available[i]:
            continue
        kernels = [
            np.exp(-np.sum((target[j] - prediction[i]) ** 2)) if available[j] else np.exp(-100.0)
            for j in range(len(target))
            if available[j] or published
        ]
        total -= np.log(np.exp(-np.sum((target[i] - prediction[i]) ** 2)) / sum(kernels))
    return total / (len(prediction) if published else max(sum(map(bool, available)), 1))


@hypothesis.given(seeds, st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_info_nce_is_the_masked_softmax_of_equation_15(seed, rate):
    inputs = sample(seed, rate)
    np.testing.assert_allclose(info_nce(*inputs), slow_info_nce(*inputs), rtol=1e-4, atol=1e-5)


def test_with_nothing_available_info_nce_is_zero_without_a_gradient():
    prediction, target, _ = sample(0)
    nothing = jnp.zeros(N, bool)
    for poison in (target, jnp.full_like(target, jnp.nan)):
        value, gradient = jax.value_and_grad(info_nce, (0, 1))(prediction, poison, nothing)
        assert value == 0.0
        np.testing.assert_array_equal(np.stack(gradient), 0.0)


@pytest.mark.parametrize("loss", [info_nce, published_info_nce])
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e30])
def test_a_missing_target_changes_neither_info_nce_nor_its_gradient(loss, poison):
    function = jax.value_and_grad(loss, (0, 1))
    prediction, target, available = sample(3, 0.6)
    assert 0 < available.sum() < N
    spoiled = jnp.where(available[:, None], target, poison)
    value, gradient = function(prediction, target, available)
    value_spoiled, gradient_spoiled = function(prediction, spoiled, available)
    assert value == value_spoiled
    for a, b in zip(gradient, gradient_spoiled, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.asarray(b)[~np.asarray(available)], 0.0)


def test_a_single_candidate_is_always_found():
    prediction, target, _ = sample(1)
    only = jnp.arange(N) == 2
    np.testing.assert_allclose(info_nce(prediction, target, only), 0.0, atol=1e-6)


@hypothesis.given(seeds, st.permutations(range(N)))
def test_the_order_of_the_samples_does_not_matter(seed, order):
    inputs = sample(seed)
    permuted = [x[jnp.array(order)] for x in inputs]
    np.testing.assert_allclose(info_nce(*inputs), info_nce(*permuted), rtol=1e-4, atol=1e-5)


@hypothesis.given(seeds)
def test_info_nce_depends_on_differences_of_points_alone(seed):
    prediction, target, available = sample(seed)
    shift = jnp.array([1.0, -2.0, 0.5])
    moved = info_nce(prediction + shift, target + shift, available)
    np.testing.assert_allclose(moved, info_nce(prediction, target, available), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [1, 3, N])
def test_targets_that_tell_nothing_give_the_log_of_the_number_of_candidates(count):
    prediction, target, _ = sample(2)
    same = jnp.broadcast_to(target[:1], target.shape)
    value = info_nce(prediction, same, jnp.arange(N) < count)
    np.testing.assert_allclose(value, np.log(count), rtol=1e-5, atol=1e-5)


def test_targets_far_apart_that_are_hit_cost_nothing():
    target = 20.0 * jnp.eye(N)
    np.testing.assert_allclose(info_nce(target, target, jnp.ones(N, bool)), 0.0, atol=1e-6)


@pytest.mark.parametrize("which", [0, 1])
def test_the_gradient_of_info_nce_equals_finite_differences(which):
    inputs = sample(5, 0.7, 0.5)
    gradient = jax.grad(info_nce, which)(*inputs)
    exact = [np.asarray(x, np.float64) for x in inputs[:2]]
    for i in range(N):
        for e in range(E):
            values = []
            for step in (1e-5, -1e-5):
                moved = [x.copy() for x in exact]
                moved[which][i, e] += step
                values.append(slow_info_nce(*moved, inputs[2]))
            expected = (values[0] - values[1]) / 2e-5
            np.testing.assert_allclose(gradient[i, e], expected, rtol=1e-3, atol=1e-5)


@hypothesis.given(seeds, st.sampled_from([0.0, 0.5, 1.0]))
def test_published_info_nce_equals_a_loop_over_its_definition(seed, rate):
    inputs = sample(seed, rate)
    value = published_info_nce(*inputs)
    expected = slow_info_nce(*inputs, published=True)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_published_missing_candidates_take_probability_once_distances_pass_a_hundred():
    target = jnp.zeros((N, E))
    prediction = jnp.full((N, E), 10.0)  # at a squared distance of 300
    only = jnp.arange(N) == 0
    leaked = published_info_nce(prediction, target, only) * N
    np.testing.assert_allclose(leaked, 200 + np.log(N - 1), rtol=1e-5)
    np.testing.assert_allclose(info_nce(prediction, target, only), 0.0, atol=1e-4)


@hypothesis.given(seeds, st.sampled_from([0.0, 0.5, 1.0]))
def test_nce_accuracy_counts_the_nearest_neighbours_that_are_right(seed, rate):
    prediction, target, available = (np.asarray(x) for x in sample(seed, rate, 0.7))
    hits = 0
    for i in np.flatnonzero(available):
        distances = np.square(target - prediction[i]).sum(-1)
        distances[~available] = np.inf
        hits += distances.argmin() == i
    expected = hits / max(available.sum(), 1)
    spoiled = jnp.where(available[:, None], target, jnp.nan)
    inputs = (jnp.asarray(prediction), spoiled, jnp.asarray(available))
    found = losses.info_nce(*inputs)[1]
    assert losses.published_info_nce(*inputs)[1] == found
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@hypothesis.given(seeds, st.sampled_from([0.0, 0.5, 1.0]))
def test_reconstruction_is_the_likelihood_of_what_was_available(seed, rate):
    prediction, target, available = (np.asarray(x) for x in sample(seed, rate))
    constant = scipy.stats.norm.logpdf(0.0)
    likelihoods = (scipy.stats.norm.logpdf(target, prediction) - constant).sum(-1)
    spoiled = jnp.where(available[:, None], target, jnp.nan)
    loss, error = losses.reconstruction(jnp.asarray(prediction), spoiled, jnp.asarray(available))
    np.testing.assert_allclose(loss, -likelihoods[available].sum() / N, rtol=1e-4, atol=1e-6)
    squares = np.square(target - prediction)[available]
    np.testing.assert_allclose(error, squares.mean() if squares.size else 0.0, rtol=1e-4)


@hypothesis.given(seeds, st.sampled_from([0.2, 0.8, 1.0]))
@hypothesis.settings(max_examples=30)
def test_expert_agreement_compares_matched_with_shuffled_pairs(seed, rate):
    random = np.random.default_rng(seed)
    mean = random.normal(size=(2, N, E)).astype(np.float32)
    mean[1] = mean[0] + 0.5 * mean[1]
    available = random.random((2, N)) < rate
    steps = np.flatnonzero(available.all(0))
    expected = 0.0
    if len(steps) > 1:
        matched = np.mean([np.sum((mean[0, n] - mean[1, n]) ** 2) for n in steps])
        pairs = [np.sum((mean[0, n] - mean[1, k]) ** 2) for n in steps for k in steps]
        expected = 1 - matched / np.mean(pairs)
    spoiled = np.where(available[..., None], mean, np.nan)
    found = losses.expert_agreement(jnp.asarray(spoiled), jnp.asarray(available))
    np.testing.assert_allclose(found[0, 1], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[0, 1], found[1, 0], rtol=1e-4, atol=1e-5)


def gaussians(seed=0, shape=(4, 3)):
    random = np.random.default_rng(seed)
    return tuple(
        (
            jnp.asarray(random.normal(size=shape), jnp.float32),
            jnp.asarray(random.uniform(0.3, 2, shape), jnp.float32),
        )
        for _ in range(2)
    )


def test_gaussian_kl_is_the_integral_of_its_definition():
    posterior, prior = gaussians()
    expected = np.zeros(4)
    for index in np.ndindex(4, 3):
        p, q = (scipy.stats.norm(float(m[index]), float(s[index])) for m, s in (posterior, prior))
        low, high = p.mean() - 12 * p.std(), p.mean() + 12 * p.std()
        integral = scipy.integrate.quad(
            lambda x, p=p, q=q: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), low, high
        )
        expected[index[0]] += integral[0]
    np.testing.assert_allclose(losses.gaussian_kl(*posterior, *prior), expected, rtol=1e-4)


def gaussian_kl_of_joints(mean_q, cov_q, mean_p, cov_p):
    """KL of two Gaussians with full covariances, in closed form."""
    inverse, difference = np.linalg.inv(cov_p), mean_p - mean_q
    trace = np.trace(inverse @ cov_q) + difference @ inverse @ difference - len(mean_q)
    return 0.5 * (trace + np.log(np.linalg.det(cov_p) / np.linalg.det(cov_q)))


def test_the_sampled_kl_completes_the_kl_of_the_joint_where_the_prior_follows_the_sample():
    # q(f) = N(.5, .8^2), q(c | f) = N(1.2 f - .3, .4^2); p(c) = N(.2, 1), p(f | c) = N(.7 c, .5^2).
    m, v, a, b, w = 0.5, 0.8, 1.2, -0.3, 0.4
    centre, d, r = 0.2, 0.7, 0.5
    cov_q = np.array([[v**2, a * v**2], [a * v**2, a**2 * v**2 + w**2]])
    cov_p = np.array([[d**2 + r**2, d], [d, 1.0]])
    expected = gaussian_kl_of_joints(
        np.array([m, a * m + b]), cov_q, np.array([d * centre, centre]), cov_p
    )
    noise = np.random.default_rng(0).normal(size=(2, 400_000, 1)).astype(np.float32)
    f = m + v * noise[0]
    c = a * f + b + w * noise[1]
    fused = losses.sampled_kl(f, m, v, d * c, r)
    combined = losses.gaussian_kl(a * f + b, w, centre, 1.0)
    np.testing.assert_allclose((fused + combined).mean(), expected, atol=0.02)
    # The closed form takes c as drawn apart from f, and is far off.
    apart = losses.gaussian_kl(m, v, d * c, r) + combined
    assert abs(apart.mean() - expected) > 0.5


@pytest.mark.parametrize("balance", [None, 0.8])
def test_the_kl_loss_is_the_average_kl_above_the_free_nats(balance):
    posterior, prior = gaussians()
    expected = losses.gaussian_kl(*posterior, *prior).mean()
    loss, average = losses.balanced_kl(posterior, prior, balance, 0.5)
    np.testing.assert_allclose([loss, average], [expected, expected], rtol=1e-6)


@pytest.mark.parametrize("balance", [None, 0.8])
def test_below_the_free_nats_the_kl_has_no_gradient(balance):
    def loss(posterior, prior):
        return losses.balanced_kl(posterior, prior, balance, 1e3)[0]

    value, gradient = jax.value_and_grad(loss, (0, 1))(*gaussians())
    np.testing.assert_allclose(value, 1e3, rtol=1e-6)
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(gradient))


def test_the_balance_is_the_share_of_the_gradient_that_trains_the_prior():
    def loss(posterior, prior, balance):
        return losses.balanced_kl(posterior, prior, balance, 0.0)[0]

    def gradient(balance):
        return jax.grad(loss, (0, 1))(*gaussians(), balance)

    plain, balanced = gradient(None), gradient(0.8)
    for share, whole, part in zip((0.2, 0.8), plain, balanced, strict=True):
        for a, b in zip(whole, part, strict=True):
            np.testing.assert_allclose(share * a, b, rtol=1e-5, atol=1e-7)
