"""Actor and critic trained in imagination (Dreamer; MuMMI, appendix A)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float

from mummi.config import BehaviorConfig
from mummi.model.networks import MLP
from mummi.model.rssm import State
from mummi.model.world_model import WorldModel


def lambda_return(
    reward: Float[Array, "H *batch"],
    next_value: Float[Array, "H *batch"],
    discount: Float[Array, "H *batch"],
    lam: float,
) -> Float[Array, "H *batch"]:
    """R_t = r_t + d_t ((1 - lam) v_{t+1} + lam R_{t+1}), with R_{H-1} = r + d v (eq. 19).

    Args:
        reward: reward r_t that follows step t, [H, ...].
        next_value: value v_{t+1} of the state that follows step t, [H, ...].
        discount: discount d_t between the two, 0 where the task ended, [H, ...].
        lam: weight of the longer returns, in [0, 1].
    """

    def step(future, inputs):
        r, v, d = inputs
        future = r + d * ((1.0 - lam) * v + lam * future)
        return future, future

    return jax.lax.scan(step, next_value[-1], (reward, next_value, discount), reverse=True)[1]


@jax.custom_vjp
def bound(x: Array) -> Array:
    """Clips to [-1, 1]; beyond a bound only the gradient of a loss that leads back in passes.

    A tanh in its place saturates: the actor is then all but constant, and training is stuck with
    the behaviour it has (compare inverting gradients, Hausknecht and Stone, 2016).
    """
    return jnp.clip(x, -1.0, 1.0)


def _bound_backward(x, gradient):
    outward = ((x >= 1.0) & (gradient < 0.0)) | ((x <= -1.0) & (gradient > 0.0))
    return (jnp.where(outward, 0.0, gradient),)


bound.defvjp(lambda x: (bound(x), x), _bound_backward)


LONGEST_OPTION = 16
"""Most steps that a random action of ``Behavior.explore`` lasts."""


class Option(NamedTuple):
    """A random action [B, A] that is held, and for how many steps more [B]."""

    action: Array
    left: Array


class Behavior:
    """Actor and critic over features [h, s^c]; parameters are passed to every call.

    Args:
        config: sizes and options.
        model: the world model that imagination runs in.
        action_size: A.
        dtype: compute type of the hidden layers.

    Attributes:
        discount: of an agent step; ``config.discount`` is that of a time unit.
        duration: what a reward that flows through an agent step is worth at its start, in units of
            the same reward through a time unit. It keeps returns what they are when agent steps
            become longer or shorter.

    Raises:
        ValueError: the discount is no share.
    """

    def __init__(
        self, config: BehaviorConfig, model: WorldModel, action_size: int, dtype=jnp.float32
    ):
        if not 0 <= config.discount <= 1:
            raise ValueError(f"behavior.discount is {config.discount}; it must be 0 to 1")
        self.config = config
        self.model = model
        self.action_size = action_size
        self.discount = config.discount**model.pace
        endless = config.discount == 1
        self.duration = model.pace if endless else (1 - self.discount) / (1 - config.discount)
        shape = {"activation": model.config.activation, "norm": model.config.norm, "dtype": dtype}
        scale = 1.0 if config.actor == "tanh_normal" else 0.1
        self.actor = MLP(
            config.actor_layers, config.units, 2 * action_size, output_scale=scale, **shape
        )
        self.critic = MLP(config.value_layers, config.units, 1, output_scale=0.0, **shape)

    def init(self, key: Array) -> tuple[dict, dict]:
        """Parameters of actor and critic."""
        feature = jnp.zeros((1, self.model.config.deter + self.model.config.stoch))
        actor_key, critic_key = jax.random.split(key)
        return self.actor.init(actor_key, feature), self.critic.init(critic_key, feature)

    def value(self, params, feature: Float[Array, "*batch F"]) -> Array:
        """Value [...] in units of the scaled reward of a time unit."""
        return self.critic.apply(params, feature)[..., 0]

    def action_parameters(self, params, feature: Float[Array, "*batch F"]) -> tuple[Array, Array]:
        """Mean and std [..., A] of the actor's Gaussian, before its tanh or clip."""
        c = self.config
        mean, std = jnp.split(self.actor.apply(params, feature), 2, -1)
        if c.actor == "tanh_normal":
            offset = jnp.log(jnp.expm1(c.init_std))
            mean = c.mean_scale * jnp.tanh(mean / c.mean_scale)
            return mean, jax.nn.softplus(std + offset) + c.min_std
        return bound(mean), c.min_std + (c.max_std - c.min_std) * jax.nn.sigmoid(std + 2.0)

    def squash(self, x: Array) -> Array:
        """Brings an unbounded action to [-1, 1]; a clip keeps its gradient (straight-through)."""
        if self.config.actor == "tanh_normal":
            return jnp.tanh(x)
        return x + jax.lax.stop_gradient(jnp.clip(x, -1.0, 1.0) - x)

    def cloning_loss(
        self,
        params,
        feature: Float[Array, "B T F"],
        action: Float[Array, "B T A"],
        demonstrated: Bool[Array, "B T"],
    ) -> Array:
        """Negative log-likelihood of the actions [A] that followed the demonstrated steps.

        Mean over steps and dimensions, of the actor's Gaussian before its tanh or clip.

        Args:
            params: of the actor.
            feature: of posterior states, constant.
            action: the action that led to each step, as in the replay.
            demonstrated: steps that an action of a demonstration led to. The first step of a
                window cannot count, since its predecessor is not there.
        """
        mean, std = self.action_parameters(params, jax.lax.stop_gradient(feature[:, :-1]))
        action, weight = action[:, 1:], demonstrated[:, 1:].astype(jnp.float32)
        if self.config.actor == "tanh_normal":
            action = jnp.arctanh(jnp.clip(action, -0.999, 0.999))
        likelihood = norm.logpdf(action, mean, std).mean(-1)
        return -(weight * likelihood).sum() / jnp.maximum(weight.sum(), 1.0)

    def act(self, params, feature: Float[Array, "*batch F"], noise: Array | float) -> Array:
        """Action [..., A] in [-1, 1]; ``noise`` [..., A] is standard normal, 0 for the mode."""
        mean, std = self.action_parameters(params, feature)
        return self.squash(mean + std * noise)

    def imagine(
        self, model_params, policy: Callable, start: State, noise: Array
    ) -> tuple[State, Array]:
        """Rolls the prior out under ``policy(feature, t) -> action`` from states [N, ...].

        Args:
            model_params: of the world model.
            policy: action [N, A] from features [N, F] and the index of the step.
            start: states [N, ...].
            noise: [H, N, S] standard normal, draws s^c.

        Returns:
            States [H + 1, N, ...] from the start on, and actions [H, N, A].
        """
        states, (actions,) = self._imagine(
            model_params, lambda feature, t: (policy(feature, t),), start, noise
        )
        return states, actions

    def _imagine(self, model_params, policy, start, noise):
        """As ``imagine``; the policy's action is the first of several things that it returns."""

        def step(state, inputs):
            index, draw = inputs
            choice = policy(state.feature, index)
            following = self.model.rssm.imagine_step(model_params["rssm"], state, choice[0], draw)
            return following, (following, choice)

        inputs = (jnp.arange(len(noise)), noise)
        _, (states, choices) = jax.lax.scan(step, start, inputs)
        states = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), start, states)
        return states, choices

    def returns(self, model_params, critic_params, feature: Float[Array, "H N F"]):
        """Lambda-returns, discounts and rewards [H, N] of the features that follow H steps.

        Returns are in units of the scaled reward of a time unit, as the rewards are.
        """
        reward = self.model.predict_reward(model_params, feature)
        discount = self.discount * self.model.predict_continue(model_params, feature)
        next_value = self.value(critic_params, feature)
        returns = lambda_return(self.duration * reward, next_value, discount, self.config.lam)
        return returns, discount, reward

    def loss(
        self,
        actor_params,
        critic_params,
        slow_params,
        model_params,
        start: State,
        terminal: Bool[Array, " N"],
        scale,
        key: Array,
    ) -> tuple[Array, tuple[Array, dict]]:
        """Sum of the actor's loss and the critic's (eq. 18).

        Each sees only its own gradient.

        Args:
            actor_params: of the actor.
            critic_params: of the critic.
            slow_params: of the critic that the returns bootstrap from.
            model_params: of the world model, constant.
            start: states [N, ...] to imagine from, constant.
            terminal: bool [N], states after which nothing comes: imagined steps count 0 there.
            scale: number that the actor's returns are divided by.
            key: random key.

        Returns:
            The loss, and the returns [H, N] with scalar metrics.
        """
        state_key, action_key = jax.random.split(key)
        shape = (self.config.horizon, len(terminal))
        noise = jax.random.normal(state_key, (*shape, self.model.config.stoch))
        draw = jax.random.normal(action_key, (*shape, self.action_size))

        def policy(feature, t):
            mean, std = self.action_parameters(actor_params, jax.lax.stop_gradient(feature))
            return self.squash(mean + std * draw[t]), mean, std

        states, (_, mean, std) = self._imagine(model_params, policy, start, noise)
        feature = states.feature
        returns, discount, reward = self.returns(model_params, slow_params, feature[1:])
        alive = 1.0 - terminal.astype(jnp.float32)
        weight = jnp.cumprod(jnp.concatenate([alive[None], discount[:-1]]), 0)
        weight = jax.lax.stop_gradient(weight)
        assert weight.shape == returns.shape == shape

        actor_loss, actor_metrics = self.actor_loss(returns / scale, weight, mean, std)
        target = jax.lax.stop_gradient(returns)
        value_loss, value_metrics = self.critic_loss(critic_params, feature[:-1], target, weight)
        metrics = {
            "imagined_return": returns[0].mean(),
            "imagined_return_std": returns[0].std(),
            "imagined_reward": reward.mean(),
        }
        return actor_loss + value_loss, (target, metrics | actor_metrics | value_metrics)

    def actor_loss(
        self,
        returns: Float[Array, "H N"],
        weight: Float[Array, "H N"],
        mean: Float[Array, "H N A"],
        std: Float[Array, "H N A"],
    ) -> tuple[Array, dict]:
        """Climbs the gradient of the returns through the learned dynamics, and the entropy."""
        entropy = self.config.entropy * jnp.log(std).mean(-1)
        loss = -(weight * (returns + entropy)).mean()
        metrics = {
            "loss/actor": loss,
            "actor_std": std.mean(),
            "actor_mean_abs": jnp.abs(mean).mean(),
        }
        return loss, metrics

    def critic_loss(
        self,
        params,
        feature: Float[Array, "H N F"],
        target: Float[Array, "H N"],
        weight: Float[Array, "H N"],
    ) -> tuple[Array, dict]:
        """Regression on the returns as constants."""
        value = self.value(params, jax.lax.stop_gradient(feature))
        loss = (weight * 0.5 * jnp.square(value - target)).mean()
        metrics = {
            "loss/value": loss,
            "value": value.mean(),
            "value_explained": 1.0 - (value - target).var() / (target.var() + 1e-8),
        }
        return loss, metrics

    def explore(self, action: Array, option: Option, key: Array) -> tuple[Array, Option]:
        """The action [B, A] for collecting data: with Gaussian noise, or a random one that lasts.

        A random action is drawn from the whole range and held, for n steps or more with
        probability 1 / n, at most ``LONGEST_OPTION`` (Dabney et al., 2021). It knocks the robot
        out of a stable pose as noise at single steps would not.
        """
        c = self.config
        noise_key, option_key = jax.random.split(key)
        noisy = action + c.exploration * jax.random.normal(noise_key, action.shape)
        action = jnp.clip(noisy, -1.0, 1.0)
        chance = jax.random.uniform(option_key, (len(action), 2 + action.shape[-1]))
        begins = (option.left <= 0) & (chance[:, 0] < c.exploration_options)
        length = 1.0 / jnp.maximum(chance[:, 1], 1e-6)
        length = jnp.minimum(length, LONGEST_OPTION).astype(jnp.int32)
        fresh = 2.0 * chance[:, 2:] - 1.0
        held = jnp.where(begins[:, None], fresh, option.action)
        left = jnp.where(begins, length, option.left)
        return jnp.where((left > 0)[:, None], held, action), Option(held, jnp.maximum(left - 1, 0))


def flatten_states(states: State) -> State:
    """States [B, T, ...] as [B * T, ...], as constants."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x.reshape(-1, x.shape[-1])), states)
