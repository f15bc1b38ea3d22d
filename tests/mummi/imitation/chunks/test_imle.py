"""Objectives of implicit maximum likelihood against slow loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi.imitation.chunks.config import MirrorConfig
from mummi.imitation.chunks.generators import GENERATORS
from mummi.imitation.chunks.imle import (
    Calibration,
    SoftCoverage,
    batch_global_rs_imle,
    calibrate,
    charbonnier,
    mean_squared,
    mirror_loss,
    per_sample_rs_imle,
    soft_coverage,
)
from mummi.imitation.heads.head import HEADS

pytestmark = pytest.mark.usefixtures("quick_compile")

B, K, T, A = 4, 5, 3, 2
WEIGHTS = np.array([0.5, 2.0], np.float32)
batch_global = jax.jit(batch_global_rs_imle)
per_sample = jax.jit(jax.value_and_grad(per_sample_rs_imle, has_aux=True))
gradient = jax.jit(jax.grad(batch_global_rs_imle, has_aux=True))


def problem(seed: int = 0):
    random = np.random.default_rng(seed)
    targets = random.normal(size=(B, T, A)).astype(np.float32)
    return random.normal(size=(B, K, T, A)).astype(np.float32), targets


def slow_distance(first, second, weights=(1.0, 1.0), eps=1e-6):
    total = 0.0
    for t in range(T):
        for d in range(A):
            total += weights[d] * np.sqrt(float(first[t, d] - second[t, d]) ** 2 + eps**2)
    return total / T


def slow_batch_global(candidates, targets, threshold, weights=(1.0, 1.0)):
    """Eq. 4 to 6 by loops: loss, rejection rate, fallback rate, the chosen candidates."""
    losses, rejections, fallbacks, chosen = [], [], [], []
    for i in range(B):
        own = [slow_distance(candidates[i, k], targets[i], weights) for k in range(K)]
        rejected = [
            min(slow_distance(candidates[i, k], targets[j], weights) for j in range(B)) < threshold
            for k in range(K)
        ]
        kept = [k for k in range(K) if not rejected[k]] or list(range(K))
        chosen.append(min(kept, key=own.__getitem__))
        losses.append(own[chosen[-1]])
        rejections += rejected
        fallbacks.append(all(rejected))
    return np.mean(losses), np.mean(rejections), np.mean(fallbacks), chosen


@pytest.mark.parametrize("threshold", [0.0, 1.3, 1.7, 2.2, 100.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_batch_global_rejection_is_the_loop_over_all_targets(threshold, weights):
    candidates, targets = problem()
    loss, info = batch_global(candidates, targets, threshold, weights)
    slow = slow_batch_global(candidates, targets, threshold, (1, 1) if weights is None else weights)
    found = loss, info["rejected"], info["fallback"]
    np.testing.assert_allclose(found, slow[:3], rtol=1e-5)
    for i, k, j in ((0, 1, 2), (3, 4, 0)):
        wanted = slow_distance(candidates[i, k], targets[j], (1, 1) if weights is None else weights)
        assert float(info["distances"][i, k, j]) == pytest.approx(wanted, rel=1e-5)


def test_the_thresholds_of_the_loop_reject_none_some_and_all():
    rates = [slow_batch_global(*problem(), x)[1:3] for x in (0.0, 1.7, 100.0)]
    assert rates[0] == (0, 0)
    assert 0 < rates[1][0] < 1
    assert rates[2] == (1, 1)


def test_only_the_nearest_candidate_that_is_kept_has_a_gradient():
    candidates, targets = problem()
    found, _ = gradient(candidates, targets, 1.7)
    moved = [set(np.flatnonzero(np.abs(row).sum((1, 2)))) for row in np.asarray(found)]
    assert moved == [{k} for k in slow_batch_global(candidates, targets, 1.7)[3]]


def test_a_candidate_on_its_target_has_no_broken_gradient():
    candidates, targets = problem()
    candidates[:, 0] = targets
    found, _ = gradient(candidates, targets, 0.0)
    assert np.isfinite(found).all()
    (_, _), found = per_sample(candidates, targets, 0.03)
    assert np.isfinite(found).all()


def slow_per_sample(candidates, targets, radius):
    losses = []
    for i in range(B):
        lengths = [np.linalg.norm((candidates[i, k] - targets[i]).ravel()) for k in range(K)]
        kept = [length for length in lengths if length > radius]
        losses += [min(kept)] if kept else []
    return np.mean(losses) if losses else 0.0, 1 - len(losses) / B


@pytest.mark.parametrize("radius", [0.0, 2.5, 3.5, 100.0])
def test_per_sample_rejection_drops_conditions_of_which_all_are_rejected(radius):
    candidates, targets = problem()
    candidates[2] = targets[2] + 0.01
    (loss, metrics), _ = per_sample(candidates, targets, radius)
    np.testing.assert_allclose(
        (loss, metrics["dropped"]), slow_per_sample(candidates, targets, radius), rtol=1e-5
    )


@pytest.mark.parametrize("nearest", [False, True])
def test_the_threshold_is_a_clamped_moving_average_of_the_quantile(nearest):
    to_all = np.random.default_rng(1).random((B, K, B)).astype(np.float32)
    raw = 0.9 * 0.1 + 0.1 * np.quantile(to_all.min(-1) if nearest else to_all, 0.3)
    for most, wanted, capped in ((0.2, raw, 0), (0.0911, min(raw, 0.0911), raw > 0.0911)):
        found = calibrate(0.1, to_all, Calibration(0.3, 0.9, 1e-4, most, nearest))
        np.testing.assert_allclose(found, (wanted, capped), rtol=1e-5)
    nothing, calibration = jnp.zeros_like(to_all), Calibration(0.3, 0.9, 1e-4, 0.2, nearest)
    assert float(calibrate(1e-6, nothing, calibration)[0]) == np.float32(1e-4)


@pytest.mark.parametrize("fall", [1.0, 0.94])
@pytest.mark.parametrize("size", [2, 7])
def test_about_a_quarter_is_rejected_whatever_the_actions_size_and_while_distances_fall(size, fall):
    """In the first updates they fall by 6 % each, which an average of long memory lags behind.

    The quantile of all distances would reject nearly all, or with the clamp of A = 2 nothing.
    """
    random = np.random.default_rng(0)
    targets = jnp.asarray(random.uniform(-1, 1, (32, T, size)), jnp.float32)
    unlike = random.uniform(0.5, 1.5, (32, 8, 1, 1))
    apart = jnp.asarray(unlike * random.normal(size=(32, 8, T, size)), jnp.float32)
    config, key = HEADS["mirror"].default("laptop"), jax.random.PRNGKey(0)

    @jax.jit
    def step(state, spread):
        def generate(*_):
            return targets[:, None] + spread * apart

        return GENERATORS["mirror"].loss(config, generate, targets, key, state)

    state, rates = GENERATORS["mirror"].init(config), []
    for update in range(40):
        trained = step(state, fall**update)
        state = trained.state
        rates.append(float(trained.metrics["rejected"]))
    assert min(rates[5:]) > 0.1 and max(rates[5:]) < 0.4
    assert float(trained.metrics["capped"]) == 0 and float(trained.metrics["fallback"]) < 0.25


def test_soft_coverage_sums_over_the_nearest_candidates():
    paired = np.random.default_rng(2).random((B, K)).astype(np.float32)
    for nearest in (1, 3, K):
        wanted = np.mean(
            [-np.log(sum(np.exp(-d / 0.1) for d in sorted(row)[:nearest])) for row in paired]
        )
        assert float(soft_coverage(paired, nearest, 0.1)) == pytest.approx(wanted, rel=1e-4)


def test_soft_coverage_becomes_the_nearest_distance_as_the_temperature_falls():
    paired = np.random.default_rng(3).random((B, K)).astype(np.float32)
    found = 1e-3 * float(soft_coverage(paired, 3, 1e-3))
    assert found == pytest.approx(paired.min(1).mean(), abs=2e-3)


def test_a_step_of_training_rejects_by_the_threshold_it_has_just_calibrated():
    candidates, targets = problem()
    all_pairs = [
        slow_distance(candidates[i, k], targets[j], WEIGHTS)
        for i in range(B) for k in range(K) for j in range(B)
    ]  # fmt: skip
    threshold = 0.5 * 0.1 + 0.5 * np.quantile(all_pairs, 0.4)
    hard, rejected, fallback, _ = slow_batch_global(candidates, targets, threshold, WEIGHTS)
    own = [
        [slow_distance(candidates[i, k], targets[i], WEIGHTS) for k in range(K)] for i in range(B)
    ]
    soft = float(soft_coverage(jnp.asarray(own, jnp.float32), 2, 0.5))
    step = jax.jit(mirror_loss, static_argnums=(3, 4))
    how = Calibration(0.4, 0.5, 1e-4, 10.0), SoftCoverage(2, 0.5, 0.01)
    loss, found, metrics = step(candidates, targets, 0.1, *how, WEIGHTS)
    assert float(found) == pytest.approx(threshold, rel=1e-5)
    assert 0 < rejected < 1
    np.testing.assert_allclose((metrics["rejected"], metrics["fallback"]), (rejected, fallback))
    assert float(loss) == pytest.approx(hard + 0.01 * soft, rel=1e-4)


def test_the_head_sums_over_action_dimensions_that_are_scaled_already():
    candidates, targets = problem()
    config = MirrorConfig(samples=K, soft_weight=0.0, momentum=0.999, most_threshold=1.0)
    key = jax.random.PRNGKey(0)
    loss, threshold, metrics = GENERATORS["mirror"].loss(
        config, lambda *_: jnp.asarray(candidates), jnp.asarray(targets), key, jnp.float32(1.7)
    )
    hard, rejected, _, _ = slow_batch_global(candidates, targets, float(threshold))
    assert 0 < rejected < 1
    np.testing.assert_allclose((loss, metrics["rejected"]), (hard, rejected), rtol=1e-5)


def test_charbonnier_broadcasts_and_mean_squared_is_the_mean():
    candidates, targets = problem()
    found = jax.jit(charbonnier)(candidates, targets[:, None], WEIGHTS)
    assert found.shape == (B, K)
    assert float(found[1, 2]) == pytest.approx(slow_distance(candidates[1, 2], targets[1], WEIGHTS))
    wanted = np.mean((candidates[:, 0] - targets) ** 2)
    assert float(mean_squared(candidates[:, 0], targets)) == pytest.approx(wanted, rel=1e-5)
