"""Behaviour cloning on hand-made demonstrations, and the table of heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mummi.imitation.heads.bc import BCConfig, BehaviourCloning
from mummi.imitation.heads.head import HEADS, Trajectory
from tests.support.demonstrated import FIRST, KEY, ON, SIZES, demonstrations, fitted, percept

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.mark.parametrize("name", ["bc", "knn", "replay", "retrieval"])
def test_the_table_of_heads_names_what_is_there(name):
    head = HEADS[name].build(HEADS[name].default(), SIZES)
    assert all(hasattr(head, part) for part in ("fit", "reset", "act", "arrays", "restore"))


def test_the_loss_of_bc_is_that_of_a_gaussian_and_of_what_is_two_valued():
    """Outputs are means and deviations of action 1, then the logit of action 0."""
    rows = [t._replace(action=gripping(t.action)) for t in demonstrations()]
    sizes = SIZES._replace(two_valued=(0,))
    head = BehaviourCloning(BCConfig(windows=4, units=4, batch=4), sizes)
    head.fit(rows, 0)
    feature = jnp.concatenate([t.percept.feature for t in rows])
    action = np.concatenate([t.action for t in rows])
    scale = head._params["scale"]
    standardised = (feature - scale["mean"]) / scale["std"]
    mean, raw, logit = np.asarray(head._network.apply(head._params["network"], standardised)).T
    std = np.logaddexp(0, raw) + BCConfig.min_std
    low, high = action[:, 1].min(), action[:, 1].max()
    joint = scipy.stats.norm.logpdf(2 * (action[:, 1] - low) / (high - low) - 1, mean, std)
    gripper = scipy.stats.bernoulli.logpmf(action[:, 0] == 5, scipy.special.expit(logit))
    found = jax.jit(head.loss)(head._params, feature, action)
    np.testing.assert_allclose(found, -(joint + gripper).mean(), rtol=1e-4)
    done, _ = head.act((), percept(feature), ON, KEY)
    np.testing.assert_allclose(done[:, 0], 2 + 3 * scipy.special.expit(logit), rtol=1e-4)


def gripping(action: np.ndarray) -> np.ndarray:
    """The actions, the first of which is 2 or 5."""
    return np.stack([np.where(action[:, 0] > 0, 5, 2), action[:, 1]], 1).astype(np.float32)


@pytest.mark.parametrize("loss", ["gaussian", "mixture", "mse"])
def test_bc_learns_what_the_demonstrator_does_and_is_the_same_after_saving(loss):
    random = np.random.default_rng(0)
    feature = random.normal(size=(400, 3)).astype(np.float32)
    action = np.stack([np.tanh(feature[:, 0]), 5 + 0.1 * feature[:, 1]], 1)
    rows = [Trajectory(percept(feature), action.astype(np.float32))]
    config = BCConfig(likelihood=loss, windows=38_400, units=32, batch=64, learning_rate=3e-3)
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
    # A mixture is of actions that take any value; a sample is of two values, too.
    config = BCConfig(likelihood="mixture", windows=4, units=4, batch=4)
    with pytest.raises(ValueError, match=r"likelihood mixture is of actions .*all 2 are"):
        BehaviourCloning(config, SIZES._replace(two_valued=(0, 1)))
    config = BCConfig(sample=True, windows=4, units=4, batch=4)
    head = BehaviourCloning(config, SIZES._replace(two_valued=(0, 1)))
    head.fit(demonstrations(), 0)
    drawn = [
        head.act((), percept(np.ones((1, 3))), FIRST, jax.random.PRNGKey(seed))[0][0]
        for seed in range(20)
    ]
    assert {len(np.unique(column)) for column in np.array(drawn).T} == {2}
    for wrong, said in (({"modes": 0}, "modes 0 must"), ({"mode_std": 0.0}, "mode_std 0.0 must")):
        with pytest.raises(ValueError, match=said):
            BCConfig(likelihood="mixture", **wrong)


def test_bc_learns_the_one_step_at_which_a_gripper_closes_only_if_changes_are_drawn():
    """Ten demonstrations of 60 steps say "open" at the very latent of the one that closes."""
    where = np.zeros((60, 3), np.float32)
    where[30] = [1, 0, 0]
    gripper = np.where(np.arange(60) < 30, -1.0, 1.0)
    waits = np.where(np.arange(60) < 31, -1.0, 1.0)
    joint = np.random.default_rng(0).uniform(-1, 1, (11, 60))
    rows = [
        Trajectory(percept(where), np.stack([joint[n], waits if n else gripper], 1).astype("f4"))
        for n in range(11)
    ]
    sizes, said = SIZES._replace(two_valued=(1,)), []
    for share in (0.0, 0.5):
        config = BCConfig(
            change_share=share, windows=12_800, batch=64, units=16, layers=1, learning_rate=1e-2
        )
        head = BehaviourCloning(config, sizes)
        head.fit(rows, 0)
        said.append(float(head.act((), percept(where[30:31]), ON, KEY)[0][0, 1]))
    assert said[0] < -0.5 < said[1] - 0.5
