"""The recurrent state-space model: filtering is a loop of steps, and imagination is the prior."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi.model.rssm import RSSM, State
from tests.support.small import ACTION_SIZE, random_parameters, small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

B, T = 2, 5
EVIDENCE = 6
KEY = jax.random.PRNGKey(3)


@functools.cache
def build(**options):
    config = replace(small_config("paper").model, **options)
    rssm = RSSM(config, ACTION_SIZE)
    return (
        rssm,
        random_parameters(lambda key: rssm.init(key, jnp.zeros((1, EVIDENCE)))),
        jax.jit(rssm.observe),
    )


def sequence(rssm, seed=0):
    random = np.random.default_rng(seed)
    evidence = random.normal(size=(B, T, EVIDENCE)).astype(np.float32)
    blind = random.random((B, T)) < 0.4
    action = random.uniform(-1, 1, (B, T, ACTION_SIZE)).astype(np.float32)
    is_first = np.zeros((B, T), bool)
    is_first[1, 2] = True
    return [jnp.asarray(x) for x in (evidence, blind, action, is_first)]


def assert_equal(a: State, b: State):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("blind_is_prior", [False, True])
def test_observing_a_sequence_is_a_loop_of_steps(blind_is_prior):
    rssm, params, observe = build(blind_is_prior=blind_is_prior)
    evidence, blind, action, is_first = sequence(rssm)
    priors, posteriors = observe(params, evidence, blind, action, is_first, KEY)
    noise = jax.random.normal(KEY, (B, T, rssm.config.stoch))
    state, step = rssm.initial(B), jax.jit(rssm.observe_step)
    for t in range(T):
        prior, state = step(
            params, state, action[:, t], is_first[:, t], evidence[:, t], blind[:, t], noise[:, t]
        )
        assert_equal(prior, jax.tree.map(lambda x, t=t: x[:, t], priors))
        assert_equal(state, jax.tree.map(lambda x, t=t: x[:, t], posteriors))


def test_a_first_step_forgets_the_past_and_the_action_that_led_to_it():
    rssm, params, observe = build(blind_is_prior=False)
    inputs = sequence(rssm)
    other = sequence(rssm, seed=1)
    changed = [x.at[1, :2].set(y[1, :2]) for x, y in zip(inputs[:3], other[:3], strict=True)]
    changed[2] = changed[2].at[1, 2].set(other[2][1, 2])
    before = observe(params, *inputs, KEY)
    after = observe(params, *changed, inputs[3], KEY)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(a[1, 2:], b[1, 2:])
        np.testing.assert_array_equal(a[0], b[0])
        assert (np.asarray(a)[1, :2] != np.asarray(b)[1, :2]).any()


def test_without_a_first_step_the_past_is_remembered():
    rssm, params, observe = build(blind_is_prior=False)
    inputs = sequence(rssm)
    before = observe(params, *inputs, KEY)[1]
    after = observe(params, inputs[0].at[0, 0].add(1.0), *inputs[1:], KEY)[1]
    assert (before.deter[0, -1] != after.deter[0, -1]).any()


def test_a_step_never_looks_ahead():
    rssm, params, observe = build(blind_is_prior=False)
    inputs = sequence(rssm)
    before = observe(params, *inputs, KEY)[1]
    changed = [inputs[0].at[:, 3:].add(1.0), inputs[1], inputs[2].at[:, 3:].add(1.0)]
    after = observe(params, *changed, inputs[3], KEY)[1]
    np.testing.assert_array_equal(before.feature[:, :3], after.feature[:, :3])
    assert (before.feature[:, 3:] != after.feature[:, 3:]).any()


def test_a_blind_posterior_is_the_prior_exactly_where_it_is_blind():
    rssm, params, observe = build(blind_is_prior=True)
    inputs = sequence(rssm)
    prior, posterior = observe(params, *inputs, KEY)
    blind = np.asarray(inputs[1])
    assert blind.any() and not blind.all()
    for a, b in zip(prior, posterior, strict=True):
        np.testing.assert_array_equal(a[blind], b[blind])
    assert (prior.mean[~blind] != posterior.mean[~blind]).all()


def test_imagining_a_step_is_the_prior_of_observing_one():
    rssm, params, observe = build(blind_is_prior=False)
    evidence, blind, action, is_first = sequence(rssm)
    state = jax.tree.map(
        lambda x: x[:, 0], observe(params, evidence, blind, action, is_first, KEY)[1]
    )
    noise = jax.random.normal(jax.random.PRNGKey(5), state.stoch.shape)
    never = jnp.zeros(B, bool)
    prior, _ = rssm.observe_step(
        params, state, action[:, 1], never, evidence[:, 1], blind[:, 1], noise
    )
    assert_equal(rssm.imagine_step(params, state, action[:, 1], noise), prior)


def test_the_sample_is_the_mean_plus_the_std_times_the_noise():
    rssm, params, _ = build(blind_is_prior=False)
    state = rssm.initial(B)
    noise = jax.random.normal(KEY, state.stoch.shape)
    imagined = rssm.imagine_step(params, state, jnp.ones((B, ACTION_SIZE)), noise)
    np.testing.assert_allclose(imagined.stoch, imagined.mean + imagined.std * noise, rtol=1e-6)
    assert (np.asarray(imagined.std) > rssm.config.min_std).all()
    np.testing.assert_array_equal(
        imagined.feature, np.concatenate([imagined.deter, imagined.stoch], -1)
    )


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_every_hidden_layer_has_the_activation_and_the_norm_that_are_asked_for(activation):
    rssm, params, _ = build(activation=activation, norm=True)
    layers = params["params"]
    for name in ("inputs", "prior_net", "posterior_net"):
        assert layers[name]["RMSNorm_0"]["scale"].shape == (rssm.config.hidden,)
    x = 5 * jax.random.normal(KEY, (64, rssm.config.stoch + ACTION_SIZE))
    outputs = rssm.cell.apply(params, x, method=lambda cell, x: cell.inputs(x))
    least = {"relu": 0.0, "elu": -1.0}[activation]
    assert outputs.min() >= least and (activation == "relu" or outputs.min() < 0)
    plain = build(activation=activation)[1]["params"]
    assert not any("RMSNorm_0" in layer for layer in plain.values())
