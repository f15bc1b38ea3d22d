"""Alignment against another library's ridge regression on all pairs, and closed forms."""

import numpy as np
import pytest
import sklearn.linear_model

from mummi.imitation.heads.alignment import Alignment, _ridge, aligned, events


@pytest.mark.parametrize("strength", [1e-3, 1.0])
def test_the_weights_are_those_of_a_ridge_regression_on_all_pairs(strength):
    random = np.random.default_rng(0)
    z, y = random.normal(size=(15, 4)), random.normal(size=(15, 2))
    group = np.array([0] * 4 + [1] * 9 + [2] * 2)
    pairs = [(i, j) for i in range(15) for j in range(15) if i != j and group[i] == group[j]]
    inputs = np.array([np.concatenate([z[i], z[j]]) for i, j in pairs])
    targets = np.array([y[i] - y[j] for i, j in pairs])
    centred = [z[group == g] - z[group == g].mean(0) for g in range(3)]
    scale = np.linalg.eigvalsh(sum(len(c) * c.T @ c for c in centred)).mean()
    model = sklearn.linear_model.Ridge(alpha=strength * scale, fit_intercept=False)
    coefficients = model.fit(inputs, targets).coef_
    weights = _ridge(z, y, group)(strength)
    np.testing.assert_allclose(coefficients[:, :4].T, weights, atol=1e-8)
    np.testing.assert_allclose(coefficients[:, 4:].T, -weights, atol=1e-8)
    offset = Alignment(weights).offset(z[:1], z[3:4])
    np.testing.assert_allclose(offset, model.predict(inputs[[pairs.index((0, 3))]]), atol=1e-8)


def test_where_nothing_can_be_learned_nothing_is_aligned():
    random = np.random.default_rng(1)
    noise = Alignment.fit(
        random.normal(size=(40, 30)), random.normal(size=(40, 2)), np.zeros(40, int), 0
    )
    assert noise.errors["aligned"] == pytest.approx(noise.errors["unaligned"], rel=0.05)
    assert np.abs(noise.weights).max() < 0.05
    alone = Alignment.fit(random.normal(size=(4, 3)), random.normal(size=(4, 2)), np.arange(4), 0)
    assert not alone.weights.any()


def test_events_are_where_the_hand_was_when_the_gripper_changed():
    actions = np.zeros((8, 3))
    actions[:, 2] = [-1, -1, -1, 1, 1, 1, -1, -1]
    executed = np.arange(24.0).reshape(8, 3)
    steps, places = events(actions, executed, 2)
    assert steps.tolist() == [3, 6]
    np.testing.assert_allclose(places, [executed[:3, :2].sum(0), executed[:6, :2].sum(0)])
    steps, places = events(actions[:5], executed[:5], 2)
    assert steps.tolist() == [3, 5]
    np.testing.assert_allclose(places[1], executed[:5, :2].sum(0))
    assert events(actions[:2], executed[:2], 2)[0].tolist() == [2, 2]


def test_an_aligned_demonstration_is_led_aside_without_being_cut():
    random = np.random.default_rng(2)
    actions = random.uniform(-1, 1, (30, 7)).astype(np.float32)
    actions[:6, 0] = 1.0
    steps, offset = np.array([12, 22]), np.array([[3.0, -4.0, 0.5], [1.0, 2.0, 0.0]])
    found = aligned(actions, steps, offset)
    assert np.abs(found).max() <= 1 + 1e-6
    for step, wanted in zip(steps, offset, strict=True):
        led = found[:step, :3].sum(0) - actions[:step, :3].sum(0)
        np.testing.assert_allclose(led, wanted, atol=1e-5)
    np.testing.assert_array_equal(found[:6, 0], 1.0)  # no room there
    np.testing.assert_array_equal(found[:, 3:], actions[:, 3:])
    np.testing.assert_array_equal(found[22:], actions[22:])
    far = aligned(actions, steps, 100 * offset)
    np.testing.assert_allclose(far[:12, 0], 1.0)
