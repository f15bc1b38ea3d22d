"""Actor and critic in imagination: returns, gradients and action distributions."""

import functools
from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mummi.control.behavior import LONGEST_OPTION, Behavior, Option, bound, lambda_return
from mummi.model.rssm import State
from mummi.model.world_model import WorldModel
from mummi.presets import preset
from tests.support.small import ACTION_SIZE, MODALITIES, random_parameters, small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.PRNGKey(4)
N, H = 5, 4
seeds = st.integers(0, 2**32 - 1)
returns = jax.jit(lambda_return, static_argnames="lam")


@functools.cache
def build(name="debug", **options):
    config = small_config(name)
    model = WorldModel(config.model, MODALITIES, ACTION_SIZE)
    behavior = Behavior(replace(config.behavior, **options), model, ACTION_SIZE)
    actor, critic = random_parameters(behavior.init, 1)
    return behavior, random_parameters(model.init), actor, critic


def start_states(behavior, seed=0):
    random = np.random.default_rng(seed)
    c = behavior.model.config
    sizes = (c.deter, c.stoch, c.stoch, c.stoch)
    return State(*(jnp.asarray(random.normal(size=(N, n)), jnp.float32) for n in sizes))


def draw_rollout(seed, shape=(H,)):
    random = np.random.default_rng(seed)
    reward, value = random.normal(size=(2, *shape))
    return [jnp.asarray(x, jnp.float32) for x in (reward, value, random.random(shape))]


def n_step_return(reward, value, discount, t, n):
    """V_N^n of eq. 19: n discounted rewards from step t on, then the value."""
    total, weight = 0.0, 1.0
    for k in range(t, t + n):
        total += weight * reward[k]
        weight *= discount[k]
    return total + weight * value[t + n - 1]


@hypothesis.given(seeds, st.sampled_from([0.3, 0.95]))
def test_the_lambda_return_is_the_mixture_of_n_step_returns_of_equation_19(seed, lam):
    rollout = draw_rollout(seed)
    expected = np.zeros(H)
    for t in range(H):
        steps = H - t
        mixture = [n_step_return(*rollout, t, n) for n in range(1, steps + 1)]
        weights = [(1 - lam) * lam ** (n - 1) for n in range(1, steps)] + [lam ** (steps - 1)]
        expected[t] = np.dot(weights, mixture)
    np.testing.assert_allclose(returns(*rollout, lam), expected, rtol=1e-4, atol=1e-5)


@hypothesis.given(seeds)
def test_lambda_0_is_one_step_of_temporal_difference(seed):
    reward, value, discount = draw_rollout(seed)
    found = returns(reward, value, discount, 0.0)
    np.testing.assert_allclose(found, reward + discount * value, rtol=1e-5, atol=1e-6)


@hypothesis.given(seeds)
def test_lambda_1_is_the_sum_of_rewards_with_one_value_at_the_end(seed):
    rollout = draw_rollout(seed)
    expected = [n_step_return(*rollout, t, H - t) for t in range(H)]
    np.testing.assert_allclose(returns(*rollout, 1.0), expected, rtol=1e-4, atol=1e-5)


def test_the_lambda_return_of_a_batch_is_that_of_each_rollout():
    rollout = draw_rollout(0, (H, 3))
    found = returns(*rollout, 0.9)
    assert found.shape == (H, 3)
    for i in range(3):
        np.testing.assert_allclose(found[:, i], returns(*(x[:, i] for x in rollout), 0.9), 1e-5)


def test_nothing_after_a_discount_of_0_counts():
    reward, value, discount = draw_rollout(1)
    discount = discount.at[1].set(0.0)
    found = returns(reward, value, discount, 0.9)
    other = returns(reward.at[2:].add(9.0), value.at[1:].add(9.0), discount, 0.9)
    np.testing.assert_array_equal(found[:2], other[:2])
    np.testing.assert_allclose(found[1], reward[1], rtol=1e-6)
    assert (found[2:] != other[2:]).all()


def test_imagination_is_a_loop_of_policy_and_prior():
    behavior, model_params, *_ = build()
    model = behavior.model
    start = start_states(behavior)
    noise = jax.random.normal(KEY, (H, N, model.config.stoch))

    def policy(feature, t):
        return jnp.tanh(feature[:, :ACTION_SIZE] + t)

    states, actions = jax.jit(lambda start: behavior.imagine(model_params, policy, start, noise))(
        start
    )
    state = start
    for t in range(H + 1):
        for a, b in zip(states, state, strict=True):
            np.testing.assert_allclose(a[t], b, rtol=1e-4, atol=1e-5)
        if t < H:
            action = policy(state.feature, t)
            np.testing.assert_allclose(actions[t], action, rtol=1e-4, atol=1e-5)
            state = model.rssm.imagine_step(model_params["rssm"], state, action, noise[t])


ALIVE = jnp.zeros(N, bool)


def loss_of(behavior, model_params, slow, scale=1.0):
    start = start_states(behavior)

    def loss(actor, critic, terminal=ALIVE):
        return behavior.loss(actor, critic, slow, model_params, start, terminal, scale, KEY)

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))


def leaves_all_zero(tree):
    return all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(tree))


def test_the_actor_learns_through_the_dynamics_and_the_critic_does_not_pull_at_it():
    behavior, model_params, actor, critic = build()
    function = loss_of(behavior, model_params, critic)
    (_, (target, _)), (actor_gradient, critic_gradient) = function(actor, critic)
    other = jax.tree.map(lambda x: x + 0.3, critic)
    (_, (other_target, _)), (same, changed) = function(actor, other)
    jax.tree.map(np.testing.assert_array_equal, actor_gradient, same)
    np.testing.assert_array_equal(target, other_target)
    assert not leaves_all_zero(actor_gradient)
    assert not jax.tree.all(jax.tree.map(np.array_equal, critic_gradient, changed))


def test_the_actors_gradient_is_that_of_the_weighted_returns_and_the_entropy():
    behavior, model_params, actor, critic = build()
    scale = 2.0
    found = loss_of(behavior, model_params, critic, scale)(actor, critic)[1][0]
    c = behavior.config
    state_key, action_key = jax.random.split(KEY)
    noise = jax.random.normal(state_key, (c.horizon, N, behavior.model.config.stoch))
    draw = jax.random.normal(action_key, (c.horizon, N, ACTION_SIZE))

    def loss(actor):
        state, features, stds = start_states(behavior), [], []
        for t in range(c.horizon):
            feature = jax.lax.stop_gradient(state.feature)
            mean, std = behavior.action_parameters(actor, feature)
            action = behavior.squash(mean + std * draw[t])
            state = behavior.model.rssm.imagine_step(model_params["rssm"], state, action, noise[t])
            features.append(state.feature)
            stds.append(jnp.log(std).mean(-1))
        feature = jnp.stack(features)
        reward = behavior.model.predict_reward(model_params, feature)
        discount = c.discount * behavior.model.predict_continue(model_params, feature)
        value = behavior.value(critic, feature)
        future, total = value[-1], 0.0
        for t in reversed(range(c.horizon)):
            future = reward[t] + discount[t] * ((1 - c.lam) * value[t] + c.lam * future)
            weight = jax.lax.stop_gradient(jnp.prod(discount[:t], 0))
            total += (weight * (future / scale + c.entropy * stds[t])).sum()
        return -total / (c.horizon * N)

    expected = jax.jit(jax.grad(loss))(actor)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_nothing_is_learned_from_imagining_on_after_the_end():
    behavior, model_params, actor, critic = build()
    function = loss_of(behavior, model_params, critic)
    ended = np.zeros((N, N), bool)
    np.fill_diagonal(ended, True)
    (whole, _), gradient = function(actor, critic, ALIVE)
    # The loss is a mean over the starts, so that each leaves it with its own part.
    lost = [function(actor, critic, jnp.asarray(terminal)) for terminal in ended]
    np.testing.assert_allclose(sum(whole - loss for (loss, _), _ in lost), whole, rtol=1e-4)
    assert all(abs(whole - loss) > 1e-6 for (loss, _), _ in lost)
    parts = [jax.tree.map(jnp.subtract, gradient, part) for _, part in lost]
    total = jax.tree.map(lambda *x: sum(x), *parts)
    for a, b in zip(jax.tree.leaves(total), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    (nothing, _), gradient = function(actor, critic, ~ALIVE)
    assert nothing == 0 and leaves_all_zero(gradient)


TIMES = [("walker_walk", "laptop"), ("walker_walk", "paper"), ("finger_spin", "laptop")]


@pytest.mark.parametrize(("task", "name"), [*TIMES, ("libero_goal", "laptop")])
def test_another_action_repeat_changes_neither_the_horizon_nor_the_return(task, name):
    settings = preset(name, task)
    found, horizons = [], []
    for repeat in (1, 2, 4, 8):
        config = replace(settings, action_repeat=repeat)
        sizes = small_config(name).model
        model = replace(sizes, reward_scale=config.model.reward_scale)
        world = WorldModel(model, MODALITIES, ACTION_SIZE, pace=config.pace)
        behavior = Behavior(config.behavior, world, ACTION_SIZE)
        # The reward head's target for a step that summed 0.7 over its control steps.
        target = model.reward_scale / world.pace * 0.7 * repeat
        steps = 8_000 // repeat
        reward = jnp.full(steps, behavior.duration * target)
        discount = jnp.full(steps, behavior.discount)
        found.append([target, returns(reward, jnp.zeros(steps), discount, 1.0)[0]])
        horizons.append(-repeat / np.log(behavior.discount))
    np.testing.assert_allclose(found, [found[0]] * 4, rtol=1e-3)
    np.testing.assert_allclose(horizons, horizons[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("task", "name", "discount", "scale"),
    [
        ("walker_run", "paper", 0.99, 1.0),
        ("table_wiping", "published", 0.99, 1.0),
        ("libero_goal", "paper", 0.99, 1.0),
        ("cup_catch", "modern", 0.99, 0.5),
        ("libero_goal", "modern", 0.99, 1.0),
        ("walker_stand", "laptop", 0.97, 0.25),
        ("finger_spin", "laptop", 0.98, 0.5),
        ("toy_x_y", "debug", 0.98, 0.5),
        ("libero_goal/3", "laptop", 0.98, 1.0),
    ],
)
def test_at_its_own_action_repeat_a_preset_has_the_discount_and_scale_that_it_names(
    task, name, discount, scale
):
    config = preset(name, task)
    world = WorldModel(small_config().model, MODALITIES, ACTION_SIZE, pace=config.pace)
    behavior = Behavior(config.behavior, world, ACTION_SIZE)
    assert (behavior.discount, behavior.duration) == (discount, 1.0)
    assert config.model.reward_scale / world.pace == scale


def test_without_a_discount_a_step_is_worth_as_much_as_it_is_long():
    world = WorldModel(small_config().model, MODALITIES, ACTION_SIZE, pace=2.0)
    config = replace(small_config().behavior, discount=1.0)
    assert Behavior(config, world, ACTION_SIZE).duration == 2.0
    with pytest.raises(ValueError, match=r"behavior\.discount is 1\.5; it must be 0 to 1"):
        Behavior(replace(config, discount=1.5), world, ACTION_SIZE)


def test_a_value_near_150_is_not_rounded_in_bfloat16():
    model = WorldModel(small_config().model, MODALITIES, ACTION_SIZE, dtype=jnp.bfloat16)
    behavior = Behavior(small_config().behavior, model, ACTION_SIZE, jnp.bfloat16)
    _, critic = random_parameters(behavior.init, 1)
    layers = critic["params"]
    last = max(layers)
    biased = {"params": layers | {last: layers[last] | {"bias": jnp.array([150.0])}}}
    value = behavior.value(biased, jax.random.normal(KEY, (512, 8)))
    assert 100 < value.mean() < 200 and len(np.unique(value)) > 500


@pytest.mark.parametrize("name", ["debug", "paper"])
def test_cloning_is_the_likelihood_of_the_action_after_each_demonstrated_step(name):
    behavior, _, actor, _ = build(name)
    random = np.random.default_rng(0)
    size = start_states(behavior).feature.shape[-1]
    feature = jnp.asarray(random.normal(size=(2, 5, size)), jnp.float32)
    action = jnp.asarray(random.uniform(-0.9, 0.9, (2, 5, ACTION_SIZE)), jnp.float32)
    demonstrated = jnp.array([[1, 1, 0, 1, 1], [0, 0, 0, 0, 1]], bool)
    mean, std = behavior.action_parameters(actor, feature)
    target = np.arctanh(action) if name == "paper" else np.asarray(action)
    total = []
    # Pairs of a step and the one its action led to; the last is not followed by any.
    for row, step in [(0, 0), (0, 2), (0, 3), (1, 3)]:
        density = scipy.stats.norm(mean[row, step], std[row, step])
        total.append(density.logpdf(target[row, step + 1]).mean())
    loss = jax.jit(behavior.cloning_loss)(actor, feature, action, demonstrated)
    assert loss == pytest.approx(-np.mean(total), rel=1e-4)
    nothing = behavior.cloning_loss(actor, feature, action, jnp.zeros_like(demonstrated))
    assert nothing == 0


def test_the_critic_regresses_on_constant_returns():
    behavior, model_params, actor, critic = build(entropy=0.0)
    slow = jax.tree.map(lambda x: x + 0.1, critic)
    function = loss_of(behavior, model_params, slow)
    (_, (target, metrics)), (_, gradient) = function(actor, critic)
    # The last layer's bias adds to every value, so its gradient is the mean weighted error.
    step = 1e-2
    last = max(critic["params"])
    bias = critic["params"][last]["bias"]
    moved = {"params": critic["params"] | {last: critic["params"][last] | {"bias": bias + step}}}
    (_, (same, above)), _ = function(actor, moved)
    np.testing.assert_array_equal(same, target)
    slope = (above["loss/value"] - metrics["loss/value"]) / step
    assert gradient["params"][last]["bias"].shape == (1,)
    np.testing.assert_allclose(gradient["params"][last]["bias"][0], slope, rtol=0.1, atol=0.01)
    np.testing.assert_allclose(metrics["imagined_return"], target[0].mean(), rtol=1e-5)


def test_a_clip_keeps_the_gradient_and_a_tanh_does_not():
    x = jnp.array([-3.0, -0.5, 0.2, 2.0])
    clip, tanh = build()[0], build("paper")[0]
    np.testing.assert_allclose(clip.squash(x), np.clip(x, -1, 1), atol=1e-6)
    np.testing.assert_array_equal(jax.grad(lambda x: clip.squash(x).sum())(x), 1.0)
    np.testing.assert_allclose(tanh.squash(x), np.tanh(x), rtol=1e-5)
    gradient = jax.grad(lambda x: tanh.squash(x).sum())(x)
    np.testing.assert_allclose(gradient, 1 - np.tanh(x) ** 2, rtol=1e-4)


def test_a_bounded_mean_leaves_its_bound_only_inwards():
    x = jnp.array([-2.0, -2.0, -0.5, 0.5, 3.0, 3.0])
    push = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    value, pullback = jax.vjp(bound, x)
    np.testing.assert_array_equal(value, [-1.0, -1.0, -0.5, 0.5, 1.0, 1.0])
    # Descent moves against the gradient: a positive one at -2 would lead further out.
    np.testing.assert_array_equal(pullback(push)[0], [0.0, -1.0, 1.0, -1.0, 1.0, 0.0])

    def loss(x, goal):
        return jnp.square(bound(x) - goal).sum()

    for goal in (-0.7, 0.3, 5.0):
        y = x
        for _ in range(200):
            y = y - 0.1 * jax.grad(loss)(y, goal)
        np.testing.assert_allclose(bound(y), jnp.clip(goal, -1.0, 1.0), atol=1e-5)


def test_the_tanh_normal_starts_at_its_initial_std_with_a_bounded_mean():
    behavior, _, actor, _ = build("paper")
    feature = jnp.zeros((1, 8))
    silent = jax.tree.map(jnp.zeros_like, actor)
    mean, std = behavior.action_parameters(silent, feature)
    np.testing.assert_array_equal(mean, 0.0)
    np.testing.assert_allclose(std, 5.0 + 1e-4, rtol=1e-5)
    raw = behavior.actor.apply(actor, 50 * jnp.ones((1, 8)))
    mean, std = behavior.action_parameters(actor, 50 * jnp.ones((1, 8)))
    np.testing.assert_allclose(mean, 5 * np.tanh(raw[:, :2] / 5), rtol=1e-4)
    np.testing.assert_allclose(
        std, np.log1p(np.exp(raw[:, 2:] + np.log(np.exp(5) - 1))) + 1e-4, rtol=1e-4
    )


def test_the_clipped_normal_keeps_mean_and_std_in_their_bounds():
    behavior, _, actor, _ = build()
    c = behavior.config
    features = 100 * jax.random.normal(KEY, (200, 8))
    mean, std = behavior.action_parameters(actor, features)
    assert np.abs(mean).max() <= 1
    assert c.min_std <= std.min() < 0.2 and 0.9 < std.max() <= c.max_std


def no_option(batch):
    return Option(jnp.zeros((batch, ACTION_SIZE)), jnp.zeros(batch, jnp.int32))


@pytest.mark.parametrize("name", ["debug", "paper"])
def test_actions_and_noisy_actions_stay_in_the_cube(name):
    behavior, _, actor, _ = build(name)
    features = jax.random.normal(KEY, (200, 8))
    mode = behavior.act(actor, features, 0.0)
    sampled = behavior.act(actor, features, 3 * jax.random.normal(KEY, mode.shape))
    noisy, _ = behavior.explore(mode, no_option(200), KEY)
    for action in (mode, sampled, noisy):
        assert action.shape == (200, ACTION_SIZE) and np.abs(action).max() <= 1
    inner = np.abs(mode) < 0.3
    # Debug explores with options, too, which begin at 3 % of the steps.
    spread = scipy.stats.median_abs_deviation((noisy - mode)[inner], scale="normal")
    np.testing.assert_allclose(spread, behavior.config.exploration, rtol=0.25)


def test_random_actions_begin_by_chance_and_last_as_drawn():
    behavior, *_ = build(exploration=0.0, exploration_options=0.1)
    batch, steps = 400, 60
    mode = 0.5 * jnp.ones((batch, ACTION_SIZE))
    explore = jax.jit(behavior.explore)
    option, taken = no_option(batch), []
    for key in jax.random.split(KEY, steps):
        action, option = explore(mode, option, key)
        taken.append(np.asarray(action))
    taken = np.stack(taken)
    held = (taken != 0.5).all(-1)
    new = held & np.pad((taken[1:] != taken[:-1]).any(-1), ((1, 0), (0, 0)), constant_values=True)
    free = ~held | new
    np.testing.assert_allclose(new.sum() / free.sum(), 0.1, rtol=0.1)
    assert np.abs(taken[new].mean(0)).max() < 0.05  # over the whole cube, evenly
    np.testing.assert_allclose(taken[new].std(0), np.sqrt(1 / 3), rtol=0.05)
    lengths = []
    for k in range(batch):
        for start in np.flatnonzero(new[: steps - LONGEST_OPTION, k]):
            same = (taken[start : start + LONGEST_OPTION + 1, k] == taken[start, k]).all(-1)
            lengths.append(len(same) if same.all() else int(np.argmin(same)))
    lengths = np.array(lengths)
    assert lengths.max() == LONGEST_OPTION
    for n in (2, 4, 8, LONGEST_OPTION):
        np.testing.assert_allclose((lengths >= n).mean(), 1 / n, atol=0.03)
