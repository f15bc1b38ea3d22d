"""Latent-guided planning at acting time, around the learned policy (MuMMI, appendix A; CVRL)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mummi.config import MPCConfig
from mummi.control.behavior import Behavior
from mummi.model.rssm import State


def plan(
    config: MPCConfig, behavior: Behavior, params, state: State, action: Array, key: Array
) -> Array:
    """Improves the policy's action [B, A] at latent states [B, ...].

    Args:
        config: which planner, and its settings.
        behavior: actor and critic with their world model.
        params: an object with the parameters ``model``, ``actor`` and ``critic``.
        state: posterior of the present step.
        action: the policy's own choice; the only action the gradient planner changes.
        key: random key.

    Returns:
        Action [B, A] in [-1, 1].
    """
    if config.kind == "none":
        return action
    planner = gradient_plan if config.kind == "gradient" else shooting_plan
    return planner(config, behavior, params, state, action, key)


def gradient_plan(config, behavior, params, state: State, action, key) -> Array:
    """One gradient step on the first action against the lambda-return of a sampled rollout."""
    batch, size = action.shape
    both = jax.random.normal(key, (config.horizon, batch, size + state.stoch.shape[-1]))
    draw, noise = jnp.split(both, [size], -1)

    def policy(feature, t):
        return behavior.act(params.actor, feature, draw[t])

    def loss(first):
        imagine_step = behavior.model.rssm.imagine_step
        following = imagine_step(params.model["rssm"], state, first, noise[-1])
        states, _ = behavior.imagine(params.model, policy, following, noise[:-1])
        return -behavior.returns(params.model, params.critic, states.feature)[0][0].sum()

    return jnp.clip(action - config.step_size * jax.grad(loss)(action), -1.0, 1.0)


def shooting_plan(config, behavior, params, state: State, action, key) -> Array:
    """Reweights sampled plans around the policy's own by their lambda-return (CEM with softmax).

    The policy's rollout centres the first round; every round keeps the elites, and refits the
    plan's mean and std to them, weighted by exp(return / (temperature * spread)).
    """
    batch, size = action.shape
    samples, horizon = config.samples, config.horizon
    keys = jax.random.split(key, config.iterations + 1)
    wide = jax.tree.map(lambda x: jnp.repeat(x, samples, 0), state)
    still = jnp.zeros((horizon, batch, state.stoch.shape[-1]))

    def policy(feature, t):
        return jnp.where(t == 0, action, behavior.act(params.actor, feature, 0.0))

    mean = behavior.imagine(params.model, policy, state, still)[1]
    std = jnp.full_like(mean, config.noise)
    for round_key in keys[1:]:
        draw_key, state_key = jax.random.split(round_key)
        draw = jax.random.normal(draw_key, (horizon, batch, samples, size))
        draw = draw.at[:, :, 0].set(0.0)
        plans = jnp.clip(mean[:, :, None] + std[:, :, None] * draw, -1.0, 1.0)
        flat = plans.reshape(horizon, batch * samples, size)
        # One draw of the latent for all plans of a robot: they differ by their actions alone.
        noise = jax.random.normal(state_key, (horizon, batch, state.stoch.shape[-1]))
        noise = jnp.repeat(noise, samples, 1)
        states, _ = behavior.imagine(params.model, lambda _, t, flat=flat: flat[t], wide, noise)
        returns = behavior.returns(params.model, params.critic, states.feature[1:])[0][0]
        best, index = jax.lax.top_k(returns.reshape(batch, samples), config.elites)
        spread = config.temperature * (best.std(-1, keepdims=True) + 1e-6)
        weight = jax.nn.softmax((best - best[:, :1]) / spread, -1)[None, :, :, None]
        elites = jnp.take_along_axis(plans, index[None, :, :, None], 2)
        mean = (weight * elites).sum(2)
        std = jnp.sqrt((weight * jnp.square(elites - mean[:, :, None])).sum(2) + 1e-4)
    return mean[0]
