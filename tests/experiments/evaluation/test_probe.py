"""Probes against independent computations and closed forms."""

import numpy as np
import pytest
from scipy import optimize, stats

from experiments.evaluation import probe

RANDOM = np.random.default_rng(0)


def test_ridge_without_a_penalty_is_least_squares():
    inputs = RANDOM.normal(3, (0.1, 1, 50), (40, 3))
    targets = RANDOM.normal(size=(40, 2))
    inputs_new = RANDOM.normal(3, 1, (7, 3))
    weights = np.linalg.lstsq(np.c_[inputs, np.ones(40)], targets)[0]
    predicted = probe.fit_ridge(inputs, targets, 0)(inputs_new)
    np.testing.assert_allclose(predicted, np.c_[inputs_new, np.ones(7)] @ weights, rtol=1e-8)


def test_ridge_minimises_error_plus_penalty():
    inputs = RANDOM.normal(2, (0.1, 5), (30, 2))
    targets = inputs @ [[3.0], [0.2]] + RANDOM.normal(0, 0.3, (30, 1))
    x = stats.zscore(inputs)

    def objective(parameters):
        error = x @ parameters[:2] + parameters[2] - targets[:, 0]
        return np.mean(error**2) + 0.3 * np.sum(parameters[:2] ** 2)

    best = optimize.minimize(objective, np.zeros(3), tol=1e-12).x
    found = probe.fit_ridge(inputs, targets, 0.3)
    np.testing.assert_allclose([*found.weights[:, 0], *found.intercept], best, atol=1e-5)


def test_an_input_that_never_varies_has_no_weight():
    inputs = np.c_[RANDOM.normal(size=20), np.full(20, 7.0)]
    found = probe.fit_ridge(inputs, inputs[:, :1] * 2, 0)
    np.testing.assert_allclose(found(np.array([[0.5, 1e6]])), [[1.0]], atol=1e-8)


def test_r_squared_is_that_of_each_target_averaged():
    truth = RANDOM.normal(size=(50, 2))
    noisy = truth + RANDOM.normal(0, (0.1, 2), (50, 2))
    expected = [
        1 - np.mean((n - t) ** 2) / np.var(t) for n, t in zip(noisy.T, truth.T, strict=True)
    ]
    assert probe.r_squared(noisy, truth) == pytest.approx(np.mean(expected))
    assert expected[1] < 0
    constant = np.c_[truth, np.full(50, 3.1)]
    assert probe.r_squared(np.c_[noisy, noisy[:, 0]], constant) == pytest.approx(np.mean(expected))
    with pytest.raises(ValueError, match="none of the 1 targets varies"):
        probe.r_squared(noisy[:, :1], constant[:, 2:])


def test_cross_decoding_finds_shared_and_separate_spaces():
    truth = RANDOM.uniform(-1, 1, (400, 2))
    mixing = RANDOM.normal(size=(2, 5))
    latents = {
        "a": truth @ mixing,
        "b": truth @ mixing + RANDOM.normal(0, 0.01, (400, 5)),
        "turned": -truth @ mixing,
        "half": np.c_[truth[:, :1], RANDOM.normal(size=(400, 4))],
    }
    found = probe.cross_decoding(latents, truth, np.arange(400) < 200)
    assert len(found) == 16
    assert all(found[pair] > 0.99 for pair in [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")])
    # Decoding gives -truth, an error of twice the truth: R² = 1 - 4.
    assert found["a", "turned"] == pytest.approx(-3, abs=0.1)
    assert found["half", "half"] == pytest.approx(0.5, abs=0.05)


def test_cross_decoding_scores_only_what_it_was_not_fitted_on():
    noise, truth = RANDOM.normal(size=(60, 25)), RANDOM.normal(size=(60, 1))
    fit = np.arange(60) < 30
    assert probe.cross_decoding({"a": noise}, truth, fit, 1e-9)["a", "a"] < 0
    x, y = noise[fit], truth[fit]
    expected = np.linalg.lstsq(np.c_[x, np.ones(30)], y)[0]
    error = truth[~fit] - np.c_[noise[~fit], np.ones(30)] @ expected
    held_out = truth[~fit]
    score = 1 - np.sum(error**2) / np.sum((held_out - held_out.mean()) ** 2)
    found = probe.cross_decoding({"a": noise}, truth, fit, 0)["a", "a"]
    assert found == pytest.approx(score, rel=1e-6)


def test_overlap_of_identical_separate_and_half_mixed_clouds():
    cloud, other = RANDOM.normal(size=(2, 300, 3))
    first_half = np.arange(300)[:, None] < 150
    assert probe.overlap(cloud, cloud) == 1
    assert probe.overlap(cloud, cloud + 100) == 0
    # In the first half of the steps the clouds agree, in the second they lie apart.
    islands = cloud + np.where(first_half, 1000, 0)
    assert probe.overlap(islands, islands + np.where(first_half, 0, 100)) == pytest.approx(0.5)
    assert probe.overlap(cloud, other) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("offset", [1.0, 2.0])
def test_overlap_depends_on_the_offset_and_not_on_the_number_of_steps(offset):
    found = []
    for count in (300, 1500):
        first, second = RANDOM.normal(size=(2, count, 2))
        found.append(probe.overlap(first, second + offset))
    few, many = found
    assert 0.1 < many < 0.95 and few == pytest.approx(many, abs=0.06)


def test_overlap_is_that_of_a_slow_count():
    first, second = RANDOM.normal(size=(40, 2)), RANDOM.normal(0.7, 1, (40, 2))
    both = [(x, "first", i) for i, x in enumerate(first)]
    both += [(x, "second", i) for i, x in enumerate(second)]
    others = []
    for x, cloud, i in both:
        near = sorted((np.linalg.norm(x - y), c) for y, c, j in both if j != i)[:4]
        others += [c != cloud for _, c in near]
    assert probe.overlap(first, second, 0.05) == pytest.approx(min(1, 2 * np.mean(others)))


@pytest.mark.parametrize(("count", "share"), [(10, 0), (10, 0.6), (2, 0.1)])
def test_overlap_says_what_it_cannot_count(count, share):
    with pytest.raises(ValueError, match=f"share is {share} of {count} steps"):
        probe.overlap(np.zeros((count, 2)), np.zeros((count, 2)), share)


def test_calibrated_experts_have_z_one_and_overconfident_ones_more():
    target = RANDOM.normal(size=(4000, 3))
    stds = {name: RANDOM.uniform(0.1, 1, target.shape) for name in "ab"}
    means = {name: target + std * RANDOM.normal(size=target.shape) for name, std in stds.items()}
    ((pair, found),) = probe.calibration(means, stds).items()
    assert pair == ("a", "b")
    assert found.z == pytest.approx(1, abs=0.03)
    size, std = abs(means["a"] - means["b"]).ravel(), np.sqrt(stds["a"] ** 2 + stds["b"] ** 2)
    ranks = [stats.rankdata(x) for x in (size, std.ravel())]
    assert found.rank == pytest.approx(np.corrcoef(ranks)[0, 1])
    assert found.rank > 0.2
    halved = {name: std / 2 for name, std in stds.items()}
    assert probe.calibration(means, halved)["a", "b"].z == pytest.approx(2 * found.z)


def test_calibration_of_stds_that_never_vary_has_no_rank():
    means = {name: RANDOM.normal(size=(5, 2)) for name in "abc"}
    found = probe.calibration(means, {name: np.ones((5, 2)) for name in "abc"})
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert all(calibration.rank == 0 for calibration in found.values())


def test_precision_shares_are_the_weights_in_a_product_of_experts():
    stds = {"a": np.full((6, 2), 1.0), "b": np.full((6, 2), 2.0), "c": np.full((6, 2), 2.0)}
    shares = probe.precision_shares(stds)
    assert shares == pytest.approx({"a": 4 / 6, "b": 1 / 6, "c": 1 / 6})
