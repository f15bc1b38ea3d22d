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
    head = fitted(BehaviourCloning, BCConfig(updates=1, units=4, batch_size=4), rows)
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
    config = BCConfig(loss=loss, updates=600, units=32, batch_size=64, learning_rate=3e-3)
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


def test_a_sampled_action_follows_its_key():
    config = BCConfig(sample=True, updates=1, units=4)
    head = fitted(BehaviourCloning, config, demonstrations())
    one, same, other = (
        head.act((), percept(np.ones((1, 3))), FIRST, jax.random.PRNGKey(seed))[0]
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    with pytest.raises(ValueError, match="sample needs the loss nll"):
        BCConfig(loss="mse", sample=True)
