"""The world model's loss: what it is made of, and that missing sensors never reach it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mummi.config import METHODS
from mummi.model.augmentation import shift_sensors
from mummi.model.world_model import WorldModel
from mummi.presets import PRESETS
from tests.support.small import (
    ACTION_SIZE,
    MODALITIES,
    make_batch,
    random_parameters,
    small_config,
    spoil_missing,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.PRNGKey(11)
NAMES = [m.name for m in MODALITIES]


def make_model(name="debug", method="mummi", modalities=MODALITIES, **options):
    config = small_config(name, method, **options)
    return WorldModel(config.model, modalities, ACTION_SIZE, method)


@functools.cache
def build(name="debug", method="mummi", **options):
    """A model, its parameters, and its compiled loss with gradient."""
    model = make_model(name, method, **options)
    function = jax.jit(jax.value_and_grad(model.loss, has_aux=True))
    return model, random_parameters(model.init), function


def compute(built, batch):
    """Loss, posterior, metrics and gradient."""
    _, params, function = built
    (loss, (posterior, metrics)), gradient = function(params, batch, KEY)
    return loss, posterior, metrics, gradient


def perceive(model, params, batch):
    return jax.jit(model.perceive)(params, batch["values"], batch["available"], KEY)


def assert_finite(tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)


PAPER = ("paper", "mummi")
DROPPED = ("mummi", "mssm_e", "cvrl")
DECODED = {f"reconstruction_{name}" for name in NAMES}


@pytest.mark.parametrize(
    ("name", "method", "options"),
    # Debug is laptop at other sizes.
    [(name, "mummi", {}) for name in PRESETS if name not in ("debug", "modern")]
    + [("paper", method, {}) for method in METHODS if method not in ("mummi", "mssm_e")]
    + [("laptop", method, {"drop": 0.5}) for method in DROPPED]
    # The paper's networks with laptop's options; and fusion and targets of others, together.
    + [pytest.param("modern", "mummi", {}, marks=pytest.mark.slow)]
    + [pytest.param("paper", "mssm_e", {}, marks=pytest.mark.slow)]
    + [
        pytest.param("laptop", method, {"drop": 0.5}, marks=pytest.mark.slow)
        for method in METHODS
        if method not in DROPPED
    ],
)
def test_what_a_missing_sensor_holds_changes_no_loss_metric_or_gradient(name, method, options):
    built = build(name, method, **options)
    batch = make_batch()
    clean, spoiled = compute(built, batch), compute(built, spoil_missing(batch))
    assert_finite(clean)
    jax.tree.map(np.testing.assert_array_equal, clean, spoiled)


@pytest.mark.parametrize("options", [PAPER, ("laptop", "mummi")])
def test_with_every_sensor_missing_the_loss_is_finite_and_the_belief_is_the_prior(options):
    model, params, _ = built = build(*options)
    batch = make_batch(missing=1.1)
    loss, posterior, metrics, gradient = compute(built, batch)
    assert_finite((loss, posterior, metrics, gradient))
    assert metrics["missing"] == 1.0
    belief = perceive(model, params, batch)
    np.testing.assert_array_equal(belief.mean, 0.0)
    np.testing.assert_array_equal(belief.std, 1.0)
    for name in NAMES:
        assert metrics[f"nce/{name}"] == 0.0
        experts = jax.tree.leaves(gradient[f"sensor_{name}"])
        assert all((np.asarray(leaf) == 0).all() for leaf in experts)
    if model.config.blind_is_prior:
        assert metrics["kl"] == 0.0


def test_the_order_of_the_sensors_changes_no_loss():
    loss, _, metrics, _ = compute(build(*PAPER), make_batch())
    model = make_model(*PAPER, modalities=tuple(MODALITIES[i] for i in (2, 0, 1)))
    _, params, _ = build(*PAPER)
    permuted, (_, permuted_metrics) = jax.jit(model.loss)(params, make_batch(), KEY)
    np.testing.assert_allclose(permuted, loss, rtol=1e-5)
    for name in NAMES:
        np.testing.assert_allclose(
            permuted_metrics[f"nce/{name}"], metrics[f"nce/{name}"], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (PAPER, {*(f"nce_{n}" for n in NAMES), "kl", "kl_fused", "reward", "continue"}),
        (("paper", "mummi_b"), {"nce_fused", "kl", "kl_fused", "reward", "continue"}),
        (("paper", "mssm_e"), {*DECODED, "kl", "kl_fused", "reward", "continue"}),
        (("paper", "dreamer"), {*DECODED, "kl", "reward", "continue"}),
        (("paper", "cvrl"), {"nce_joint", "kl", "reward", "continue"}),
        (("laptop", "mummi"), {*(f"nce_{n}" for n in NAMES), "kl", "reward", "continue"}),
    ],
)
def test_the_loss_is_the_sum_of_its_named_parts(options, parts):
    loss, _, metrics, _ = compute(build(*options), make_batch())
    found = {name.removeprefix("loss/"): v for name, v in metrics.items() if "loss/" in name}
    assert set(found) == parts
    np.testing.assert_allclose(loss, sum(found.values()), rtol=1e-6)


def test_the_reward_of_a_first_step_is_not_counted():
    built = build(*PAPER)
    batch = make_batch()
    first = batch["is_first"]
    changed = batch | {"reward": jnp.where(first, 100.0, batch["reward"])}
    a, b = compute(built, batch), compute(built, changed)
    jax.tree.map(np.testing.assert_array_equal, a, b)
    changed = batch | {"reward": jnp.where(first, batch["reward"], 100.0)}
    assert compute(built, changed)[2]["loss/reward"] > a[2]["loss/reward"]


def test_reward_and_continuation_losses_are_their_negative_log_likelihoods():
    model, params, _ = built = build("laptop", "mummi")
    batch = make_batch()
    _, posterior, metrics, _ = compute(built, batch)
    c = model.config
    assert c.reward_scale != 1 and c.reward_weight != 1
    mean = np.asarray(model.predict_reward(params, posterior.feature))
    known = ~np.asarray(batch["is_first"])
    error = mean - c.reward_scale * np.asarray(batch["reward"])
    expected = c.reward_weight * 0.5 * np.square(error)[known].mean()
    np.testing.assert_allclose(metrics["loss/reward"], expected, rtol=1e-4)
    chance = np.asarray(model.predict_continue(params, posterior.feature))
    likelihood = np.where(batch["is_terminal"], 1 - chance, chance)
    np.testing.assert_allclose(metrics["loss/continue"], -np.log(likelihood).mean(), rtol=1e-4)


@pytest.mark.parametrize("pace", [0.5, 2.0])
def test_the_reward_of_a_time_unit_is_learned_however_long_an_agent_step_is(pace):
    batch = make_batch()
    config = small_config("laptop").model
    feature = jnp.ones((*batch["reward"].shape, config.deter + config.stoch))
    _, params, _ = build("laptop", "mummi")
    losses = []
    for p in (1.0, pace):  # the same task in longer steps: as much more reward in each
        model = WorldModel(config, MODALITIES, ACTION_SIZE, pace=p)
        scaled = batch | {"reward": p * batch["reward"]}
        losses.append(model.reward_terms(params, scaled, feature)[0]["reward"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_hiding_takes_a_random_segment_of_a_share_of_the_sequences():
    model = make_model(drop=0.5)
    time, batch = 7, 4000
    keep = np.asarray(model.hide(KEY, batch, time))
    assert keep.shape == (3, batch, time)
    flips = np.abs(np.diff(np.pad(~keep, ((0, 0), (0, 0), (1, 1))).astype(int), axis=-1)).sum(-1)
    assert set(np.unique(flips)) == {0, 2}
    # Two cuts drawn evenly from 0..T are (n^2 - 1) / 3n apart on average, n = T + 1.
    n = time + 1
    expected = 0.5 * (n**2 - 1) / (3 * n) / time
    np.testing.assert_allclose((~keep).mean((1, 2)), expected, atol=0.02)
    np.testing.assert_allclose((flips > 0).mean(), 0.5 * (1 - 1 / n), atol=0.02)
    hidden = (~keep).reshape(3, -1)
    assert np.abs(np.corrcoef(hidden) - np.eye(3)).max() < 0.05


def test_what_cannot_fail_is_never_hidden():
    told = tuple(dataclasses.replace(m, can_fail=i != 1) for i, m in enumerate(MODALITIES))
    keep = np.asarray(make_model(drop=0.9, modalities=told).hide(KEY, 50, 7))
    np.testing.assert_array_equal(keep.all((1, 2)), [False, True, False])


def fused_prior(model, params, stoch):
    """Mean and std of p(s^f | s^c), in NumPy."""
    raw = np.asarray(model.fused_prior.apply(params["fused_prior"], stoch))
    mean, std = np.split(raw, 2, -1)
    return mean, np.log1p(np.exp(std)) + model.config.min_std


def test_the_kl_of_a_fused_belief_without_a_sample_is_in_closed_form():
    _, params, _ = built = build(*PAPER)
    batch = make_batch()
    posterior = compute(built, batch)[1]
    model = make_model(*PAPER, sample_fused=False)
    belief = perceive(model, params, batch)
    loss = model.fused_kl_terms(params, belief, posterior)[0]["kl_fused"]
    mean, std = fused_prior(model, params, posterior.stoch)
    ratio = np.square(np.asarray(belief.std) / std)
    distance = np.square((np.asarray(belief.mean) - mean) / std)
    expected = 0.5 * (ratio + distance - 1 - np.log(ratio)).sum(-1).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_the_kl_of_a_sampled_belief_is_of_the_sample_that_the_posterior_has_read():
    model, params, _ = built = build(*PAPER)
    batch = make_batch()
    _, posterior, metrics, _ = compute(built, batch)
    fuse_key = jax.random.split(KEY, 3)[0]
    belief = model.perceive(params, batch["values"], batch["available"], fuse_key)
    sample = np.asarray(belief.sample)
    own = scipy.stats.norm(np.asarray(belief.mean), np.asarray(belief.std)).logpdf(sample)
    prior = scipy.stats.norm(*fused_prior(model, params, posterior.stoch)).logpdf(sample)
    expected = (own - prior).sum(-1).mean()
    np.testing.assert_allclose(metrics["loss/kl_fused"], expected, rtol=1e-3)


def test_both_kls_together_are_the_kl_of_the_joint_of_s_f_and_s_c():
    modalities, copies = (MODALITIES[2],), 50_000
    sizes = {"fused": 1, "stoch": 1, "free_nats": 0.0}
    model = make_model("paper", modalities=modalities, **sizes)
    params = random_parameters(model.init)
    batch = {
        "values": {"touch": jnp.tile(jnp.array([0.3, -0.8]), (copies, 1, 1))},
        "available": {"touch": jnp.ones((copies, 1), bool)},
        "action": jnp.zeros((copies, 1, ACTION_SIZE)),
        "is_first": jnp.ones((copies, 1), bool),
    }
    fuse_key, state_key = jax.random.split(KEY)

    def both(params):
        belief = model.perceive(params, batch["values"], batch["available"], fuse_key)
        inputs = (*model.perception.evidence(belief), batch["action"], batch["is_first"])
        prior, posterior = model.rssm.observe(params["rssm"], *inputs, state_key)
        terms = model.kl_terms(prior, posterior)[0]
        return terms | model.fused_kl_terms(params, belief, posterior)[0], prior, belief

    losses, prior, belief = jax.jit(both)(params)
    norm = scipy.stats.norm
    q_f = norm(*(float(x[0, 0, 0]) for x in (belief.mean, belief.std)))
    p_c = norm(*(float(x[0, 0, 0]) for x in (prior.mean, prior.std)))
    f = q_f.mean() + q_f.std() * np.linspace(-6, 6, 401)
    grid = jax.tree.map(lambda x: jnp.tile(x[0, 0], (len(f), 1)), prior)
    evidence, blind = jnp.asarray(f, jnp.float32)[:, None], jnp.zeros(len(f), bool)
    posterior = model.rssm.cell.apply(
        params["rssm"], grid, evidence, blind, jnp.zeros((len(f), 1)), method="posterior"
    )
    mean, std = (np.asarray(x, np.float64) for x in (posterior.mean, posterior.std))
    c = mean + std * np.linspace(-6, 6, 401)
    flat = jnp.asarray(c.reshape(-1, 1), jnp.float32)
    p_f = norm(*(x.reshape(c.shape) for x in fused_prior(model, params, flat)))
    log_q = q_f.logpdf(f)[:, None] + norm(mean, std).logpdf(c)
    log_p = p_c.logpdf(c) + p_f.logpdf(f[:, None])
    weight = np.exp(log_q) * std
    expected = (weight * (log_q - log_p)).sum() / weight.sum()
    np.testing.assert_allclose(losses["kl"] + losses["kl_fused"], expected, rtol=0.02)


@pytest.mark.parametrize(("method", "wanted"), [("mummi", True), ("dreamer", False)])
def test_the_next_action_is_told_by_the_sensors_of_its_step_together_and_alone(method, wanted):
    model, params, _ = built = build("laptop", method, action_weight=3.0)
    batch = make_batch()
    if wanted:
        batch["wanted"] = jnp.flip(batch["action"], 1) + 0.5
    _, _, metrics, gradient = compute(built, batch)
    belief, first = perceive(model, params, batch), np.asarray(batch["is_first"])
    told = {"action": (belief.mean, np.ones(first.shape, bool), 1.0)}
    for m, mean in zip(MODALITIES, belief.means, strict=True):
        told[f"action_{m.name}"] = mean, np.asarray(batch["available"][m.name]), 1 / 3
    for name, (mean, there, share) in told.items():
        guess, squares, count = np.asarray(model.action.apply(params[name], mean)), 0.0, 0
        for sequence, t in np.argwhere(there):
            if wanted:  # which stands at the step at which it was wanted
                right = batch["wanted"][sequence, t]
            elif t + 1 < first.shape[1] and not first[sequence, t + 1]:
                right = batch["action"][sequence, t + 1]  # which stands where it led to
            else:
                continue
            squares += np.square(guess[sequence, t] - np.asarray(right)).sum()
            count += 1
        assert 0 < count < first.size + wanted
        loss = 3.0 * share * 0.5 * squares / first.size
        np.testing.assert_allclose(metrics[f"loss/{name}"], loss, rtol=1e-4)
        error = squares / count / ACTION_SIZE
        np.testing.assert_allclose(metrics[f"{name}_error"], error, rtol=1e-4)

    def action_loss(params):
        found = model.loss(params, batch, KEY)[1][1]
        return sum(found[f"loss/{name}"] for name in told)

    reached = jax.jit(jax.grad(action_loss))(params)
    for name in told:
        assert any(np.asarray(x).any() for x in jax.tree.leaves(reached[name]))
    assert not any(np.asarray(x).any() for x in jax.tree.leaves(reached["rssm"]))
    assert_finite(gradient)


def test_a_perfect_guess_of_what_was_wanted_costs_nothing_whatever_was_done():
    _, params, loss = build("laptop", "mummi", action_weight=3.0)
    batch = make_batch()
    constant = jnp.array([0.25, -0.75])
    for name in ("action", *(f"action_{n}" for n in NAMES)):
        blank = jax.tree.map(jnp.zeros_like, params[name])
        last = max(blank["params"])  # the output layer
        blank["params"][last]["bias"] = constant
        params = params | {name: blank}
    batch["wanted"] = jnp.broadcast_to(constant, batch["action"].shape)
    metrics = loss(params, batch, KEY)[0][1][1]
    assert all(metrics[f"loss/action{n}"] == 0 for n in ("", *(f"_{n}" for n in NAMES)))
    del batch["wanted"]
    metrics = loss(params, batch, KEY)[0][1][1]
    assert all(metrics[f"loss/action{n}"] > 0 for n in ("", *(f"_{n}" for n in NAMES)))


def test_training_shifts_what_it_senses_and_its_targets():
    model, params, _ = build("laptop", "dreamer", shift=0.25)
    plain = build("laptop", "dreamer")[0]
    batch = make_batch()
    values = shift_sensors(
        batch["values"], model.modalities, jax.random.fold_in(KEY, 3), model.config.shift
    )
    shifted, still = jax.jit(model.loss), jax.jit(plain.loss)
    moved, _ = still(params, {**batch, "values": values}, KEY)
    np.testing.assert_allclose(shifted(params, batch, KEY)[0], moved, rtol=1e-5)
    assert abs(moved - still(params, batch, KEY)[0]) > 1e-4
    with pytest.raises(ValueError, match=r"shift is 0\.6"):
        build("laptop", "mummi", shift=0.6)


def test_filtering_step_by_step_follows_the_sensors_that_delivered():
    model, params, _ = build("laptop", "mummi")
    batch = make_batch()
    step = jax.jit(model.filter_step)

    def run(values, available):
        state = model.rssm.initial(2)
        first = jnp.ones(2, bool)
        return step(params, state, values, available, jnp.zeros((2, ACTION_SIZE)), first, KEY)

    def at(tree):
        return jax.tree.map(lambda x: x[:, 1], tree)

    clean = run(at(batch["values"]), at(batch["available"]))
    spoiled = run(at(spoil_missing(batch)["values"]), at(batch["available"]))
    jax.tree.map(np.testing.assert_array_equal, clean, spoiled)
    nothing = {name: jnp.zeros(2, bool) for name in NAMES}
    blind = run(at(batch["values"]), nothing)
    assert (clean.mean != blind.mean).any()


@pytest.mark.parametrize("option", ["fused_prior", "posterior_sees_std"])
def test_the_published_fusion_refuses_options_that_need_a_std(option):
    with pytest.raises(ValueError, match="keeps no standard deviation"):
        make_model("published", **{option: True})


def last_bias(layers, value):
    """The parameters of an MLP with ``value`` in the bias of its output layer."""
    name = max(name for name in layers if name.startswith("Dense"))
    bias = jnp.full_like(layers[name]["bias"], value)
    return layers | {name: layers[name] | {"bias": bias}}


@pytest.fixture(scope="module")
def rounding(quick_compile):
    """A model that computes in bfloat16, with its parameters."""
    model = WorldModel(small_config("paper").model, MODALITIES, ACTION_SIZE, "mummi", jnp.bfloat16)
    return model, build(*PAPER)[1]


def test_compute_in_bfloat16_keeps_losses_and_states_in_float32(rounding):
    model, params = rounding
    outputs = jax.eval_shape(model.loss, params, make_batch(), KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {jnp.dtype(jnp.float32)}


def test_what_heads_and_experts_say_near_150_is_not_rounded_in_bfloat16(rounding):
    model, params = rounding
    sensor = params["sensor_touch"]["params"]
    biased = params | {
        "sensor_touch": {"params": sensor | {"MLP_0": last_bias(sensor["MLP_0"], 150.0)}},
        **{
            name: {"params": last_bias(params[name]["params"], 150.0)}
            for name in ("reward", "prediction", "fused_prior")
        },
    }
    random = np.random.default_rng(0)
    c = model.config
    feature = jnp.asarray(random.normal(size=(512, c.deter + c.stoch)), jnp.float32)
    touch = jnp.asarray(random.normal(size=(512, 2)), jnp.float32)
    mean, std = model.perception.sense(biased, MODALITIES[2], touch)
    said = {
        "expert mean": mean,
        "expert std": std,
        "g(z)": model.objective.predict(biased, feature),
        "reward": model.predict_reward(biased, feature)[:, None],
        "p(s^f | s^c)": model.fused_prior.apply(biased["fused_prior"], feature[:, : c.stoch]),
    }
    for name, x in said.items():
        for column in np.asarray(x).T:
            assert 100 < np.abs(column).mean() < 200, name
            # Rounded, there would be fewer than ten; some sensations are one to the layers before.
            assert len(np.unique(column)) > 400, name
