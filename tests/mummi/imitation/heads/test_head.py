"""Behaviour cloning on hand-made demonstrations, and the table of heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mummi.imitation.heads.bc import BCConfig, BehaviourCloning
from mummi.imitation.heads.head import HEADS, Trajectory
from tests.support.demonstrated import FIRST, KEY, ON, SIZES, demonstrations, fitted, percept

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.mark.parametrize("name", ["bc", "knn", "replay", "retrieval"])
def test_the_table_of_heads_names_what_is_there(name):
    head = HEADS[name].build(HEADS[name].default(), SIZES)
    assert all(hasattr(head, part) for part in ("fit", "reset", "act", "arrays", "restore"))


def test_the_gaussian_of_bc_is_scored_by_its_log_density():
    rows = demonstrations()
    head = fitted(BehaviourCloning, BCConfig(windows=4, units=4, batch=4), rows)
    feature = jnp.concatenate([t.percept.feature for t in rows])
    action = jnp.concatenate([t.action for t in rows])
    low, high = action.min(0), action.max(0)
    mean, std = (np.asarray(x) for x in jax.jit(head.distribution)(head._params, feature))
    density = scipy.stats.norm.logpdf(2 * (action - low) / (high - low) - 1, mean, std)
    loss = -(density + 0.5 * np.log(2 * np.pi)).sum(1).mean()
    found = jax.jit(head.loss)(head._params, feature, action)
    np.testing.assert_allclose(found, loss, rtol=1e-4)
    assert (std > BCConfig.min_std).all()


@pytest.mark.parametrize("loss", ["nll", "mse"])
def test_bc_learns_what_the_demonstrator_does_and_is_the_same_after_saving(loss):
    random = np.random.default_rng(0)
    feature = random.normal(size=(400, 3)).astype(np.float32)
    action = np.stack([np.tanh(feature[:, 0]), 5 + 0.1 * feature[:, 1]], 1)
    rows = [Trajectory(percept(feature), action.astype(np.float32))]
    config = BCConfig(loss=loss, windows=38_400, units=32, batch=64, learning_rate=3e-3)
    reports = []
    head = BehaviourCloning(config, SIZES)
    head.fit(rows, 0, lambda update, metrics: reports.append((update, metrics["loss"])))
    assert reports[-1][0] == 600 and reports[-1][1] < reports[0][1]
    seen, _ = head.act(head.reset(400), percept(feature), np.zeros(400, bool), KEY)
    error = np.abs(seen - action).mean(0) / action.std(0)
    assert (error < 0.15).all()
    again = BehaviourCloning(config, SIZES)
    again.restore(head.arrays())
    np.testing.assert_array_equal(again.act((), percept(feature), ON, KEY)[0], seen)


def test_bc_reports_loss_and_error_on_what_it_has_not_learned_from():
    rows, unseen = demonstrations(), demonstrations(2, seed=9)
    head, reports = BehaviourCloning(BCConfig(windows=8, units=4, batch=4), SIZES), []
    head.fit(rows, 0, lambda update, metrics: reports.append(metrics), unseen)
    plain = BehaviourCloning(head.config, SIZES)
    plain.fit(rows, 0, lambda update, metrics: reports.append(metrics))
    np.testing.assert_array_equal(*(h.arrays()["scale/std"] for h in (head, plain)))
    assert [set(metrics) for metrics in reports] == 2 * [
        {"loss", "held_out/loss", "held_out/error"}
    ] + 2 * [{"loss"}]
    feature = np.concatenate([t.percept.feature for t in unseen])
    action = np.concatenate([t.action for t in unseen])
    loss = jax.jit(head.loss)(head._params, feature, action)
    assert reports[1]["held_out/loss"] == pytest.approx(float(loss), rel=1e-5)
    seen = head.act((), percept(feature), ON, KEY)[0]
    variance = np.concatenate([t.action for t in rows]).var(0)
    error = np.mean(np.square(seen - action) / variance)
    assert reports[1]["held_out/error"] == pytest.approx(error, rel=1e-4)


def test_all_heads_that_train_by_gradient_see_as_many_windows():
    for preset in ("paper", "laptop", "debug"):
        settings = [kind.default(preset) for kind in HEADS.values()]
        trained = [s for s in settings if hasattr(s, "windows")]
        assert len(trained) == 12 and len({s.windows for s in trained}) == 1
        assert all(s.updates == s.windows // s.batch >= 3 for s in trained)
    with pytest.raises(ValueError, match="batch 9 must be at least 1 and at most windows 8"):
        BCConfig(windows=8, batch=9)


def test_a_sampled_action_follows_its_key():
    config = BCConfig(sample=True, windows=4, units=4, batch=4)
    head = fitted(BehaviourCloning, config, demonstrations())
    one, same, other = (
        head.act((), percept(np.ones((1, 3))), FIRST, jax.random.PRNGKey(seed))[0]
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    with pytest.raises(ValueError, match="sample needs the loss nll"):
        BCConfig(loss="mse", sample=True)
