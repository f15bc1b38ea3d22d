"""Likelihoods of actions against scipy, and what is done by them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mummi.imitation.heads.likelihoods import Bernoulli, Gaussian, Mixture, Squared

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.PRNGKey(0)


def drawn(likelihood, rows: int = 6):
    """Outputs of a network, and actions in [-1, 1]."""
    random = np.random.default_rng(0)
    raw = random.normal(size=(rows, likelihood.outputs)).astype(np.float32)
    return raw, random.uniform(-1, 1, (rows, likelihood.size)).astype(np.float32)


def softplus(x):
    return np.logaddexp(0, np.float64(x))


def test_a_gaussian_is_scored_by_its_density():
    likelihood = Gaussian(3, 0.05)
    raw, action = drawn(likelihood)
    density = scipy.stats.norm.logpdf(action, raw[:, :3], softplus(raw[:, 3:]) + 0.05)
    np.testing.assert_allclose(likelihood.loss(raw, action), -density.sum(1), rtol=1e-4)
    np.testing.assert_array_equal(likelihood.act(raw, KEY), raw[:, :3])
    sampled = np.asarray(Gaussian(3, 0.05, sample=True).act(np.repeat(raw[:1], 4000, 0), KEY))
    std = softplus(raw[0, 3:]) + 0.05
    np.testing.assert_allclose(sampled.std(0), std, rtol=0.05)


def test_squared_is_a_gaussian_of_standard_deviation_one_but_for_a_constant():
    likelihood = Squared(3)
    raw, action = drawn(likelihood)
    density = scipy.stats.norm.logpdf(action, raw, 1).sum(1) + 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(likelihood.loss(raw, action), -density, rtol=1e-4)


def mixture_parts(raw, modes: int, size: int, min_std: float):
    """π [N, K], μ and σ [N, K, D] of a mixture's outputs."""
    share = scipy.special.softmax(np.float64(raw[:, :modes]), 1)
    rest = np.float64(raw[:, modes:]).reshape(-1, modes, 2 * size)
    return share, np.tanh(rest[..., :size]), softplus(rest[..., size:]) + min_std


def test_a_mixture_is_scored_by_its_density():
    likelihood = Mixture(2, modes=3, min_std=1e-4)
    raw, action = drawn(likelihood)
    share, mean, std = mixture_parts(raw, 3, 2, 1e-4)
    loss = []
    for n in range(len(raw)):
        each = [
            np.log(share[n, k]) + scipy.stats.norm.logpdf(action[n], mean[n, k], std[n, k]).sum()
            for k in range(3)
        ]
        loss.append(-scipy.special.logsumexp(each))
    np.testing.assert_allclose(likelihood.loss(raw, action), loss, rtol=1e-4)


def test_a_mixture_of_one_mode_is_a_gaussian():
    mixture, gaussian = Mixture(2, modes=1, min_std=0.05), Gaussian(2, 0.05)
    raw, action = drawn(mixture)
    mean = np.tanh(raw[:, 1:3])
    same = np.concatenate([mean, raw[:, 3:]], 1)
    np.testing.assert_allclose(
        mixture.loss(raw, action), gaussian.loss(same, action), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("low_noise", [True, False])
def test_a_mixture_acts_by_a_mode_that_is_drawn(low_noise):
    likelihood = Mixture(1, modes=2, min_std=0.01, low_noise=low_noise)
    # Three in four go left, to -0.8, and one right, to 0.5.
    raw = np.float32([np.log(3), 0, np.arctanh(-0.8), -3, np.arctanh(0.5), -3])
    found = np.asarray(likelihood.act(np.tile(raw, (4000, 1)), KEY))[:, 0]
    right = found > 0
    assert right.mean() == pytest.approx(0.25, abs=0.03)
    std = 1e-4 if low_noise else softplus(-3) + 0.01
    for mean, rows in ((-0.8, found[~right]), (0.5, found[right])):
        assert rows.mean() == pytest.approx(mean, abs=0.01)
        assert rows.std() == pytest.approx(std, rel=0.1)


def test_two_values_are_scored_by_their_probabilities():
    likelihood = Bernoulli(3)
    raw, _ = drawn(likelihood)
    action = np.random.default_rng(1).choice([-1.0, 1.0], raw.shape)
    density = scipy.stats.bernoulli.logpmf(action > 0, scipy.special.expit(raw)).sum(1)
    np.testing.assert_allclose(likelihood.loss(raw, action), -density, rtol=1e-4)
    expected = 2 * scipy.special.expit(raw) - 1
    np.testing.assert_allclose(likelihood.act(raw, KEY), expected, atol=1e-6)


def test_two_values_are_drawn_but_not_unlikely_ones():
    likelihood = Bernoulli(5, sample=True)
    probabilities = np.array([0.05, 0.19, 0.35, 0.5, 0.9])
    raw = np.tile(scipy.special.logit(probabilities), (20_000, 1))
    found = np.asarray(likelihood.act(raw, KEY))
    assert set(np.unique(found)) == {-1.0, 1.0}
    np.testing.assert_allclose((found > 0).mean(0), [0, 0, 0.25, 0.5, 1], atol=0.02)


def test_a_value_between_two_is_best_told_by_its_own_expectation():
    """The cross-entropy of 0.5 is least where 2 p - 1 is 0.5."""
    likelihood = Bernoulli(1)
    slope = jax.grad(lambda logit: likelihood.loss(logit, jnp.array([0.5])))
    assert float(slope(jnp.array([np.log(3)]))[0]) == pytest.approx(0, abs=1e-6)
