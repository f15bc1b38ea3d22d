"""Recurrent state-space model over z = [h, s^c, s^f] (MuMMI, eq. 9 and 11)."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from mummi.config import ModelConfig
from mummi.model.networks import GRU, MLP, Layers


class State(NamedTuple):
    """Latent state: h ``deter`` [..., D], a sample ``stoch`` [..., S] of s^c and its Gaussian."""

    deter: Array
    stoch: Array
    mean: Array
    std: Array

    @property
    def feature(self) -> Float[Array, "*batch F"]:
        """[h, s^c], what every head reads: [..., D + S]."""
        return jnp.concatenate([self.deter, self.stoch], -1)


class Cell(nn.Module):
    """Networks of one transition: g(h', s^c', a), p(s^c | h) and q(s^c | s^f, h)."""

    config: ModelConfig
    dtype: DTypeLike

    def setup(self):
        c = self.config
        gaussian = {"outputs": 2 * c.stoch, "activation": c.activation, "dtype": self.dtype}
        self.inputs = Layers((c.hidden,), c.activation, c.norm, self.dtype)
        self.gru = GRU(c.deter, self.dtype)
        self.prior_net = MLP(1, c.hidden, norm=c.norm, **gaussian)
        self.posterior_net = MLP(1, c.hidden, norm=c.norm, **gaussian)

    def __call__(self, state: State, action, evidence, blind, noise):
        prior = self.prior(state, action, noise)
        return prior, self.posterior(prior, evidence, blind, noise)

    def prior(self, state: State, action, noise) -> State:
        """p(s^c | h) after ``action`` [..., A]; ``noise`` [..., S] draws the sample.

        Without noise, None, the sample is the mean.
        """
        x = self.inputs(jnp.concatenate([state.stoch, action], -1))
        deter = self.gru(state.deter, x)
        return self._gaussian(deter, self.prior_net(deter), noise)

    def posterior(self, prior: State, evidence, blind, noise) -> State:
        """q(s^c | s^f, h) from ``evidence`` [..., E]; ``blind`` [...]: no sensor delivered."""
        inputs = jnp.concatenate([prior.deter, evidence], -1)
        posterior = self._gaussian(prior.deter, self.posterior_net(inputs), noise)
        if not self.config.blind_is_prior:
            return posterior
        return jax.tree.map(lambda a, b: jnp.where(blind[..., None], a, b), prior, posterior)

    def _gaussian(self, deter, raw, noise) -> State:
        mean, raw_std = jnp.split(raw, 2, -1)
        std = jax.nn.softplus(raw_std) + self.config.min_std
        stoch = mean if noise is None else mean + std * noise
        return State(deter=deter, stoch=stoch, mean=mean, std=std)


class RSSM:
    """Filtering and imagination; parameters are passed to every call.

    Args:
        config: sizes and options.
        action_size: A.
        dtype: compute type of the layers; states stay float32.
    """

    def __init__(self, config: ModelConfig, action_size: int, dtype=jnp.float32):
        self.config = config
        self.action_size = action_size
        self.cell = Cell(config, dtype)

    def init(self, key: Array, evidence: Float[Array, "1 E"]):
        """Parameters of the transition's networks, for an ``evidence`` of this size."""
        state = self.initial(1)
        action = jnp.zeros((1, self.action_size))
        return self.cell.init(key, state, action, evidence, jnp.zeros(1, bool), state.stoch)

    def initial(self, batch: int) -> State:
        """The state before the first observation: zeros, [batch, ...]."""
        deter = jnp.zeros((batch, self.config.deter))
        stoch = jnp.zeros((batch, self.config.stoch))
        return State(deter=deter, stoch=stoch, mean=stoch, std=jnp.ones_like(stoch))

    def point(self, feature: Float[Array, "*batch F"]) -> State:
        """The state [h, s^c] that is known: its std is 0."""
        deter, stoch = jnp.split(feature, [self.config.deter], -1)
        return State(deter=deter, stoch=stoch, mean=stoch, std=jnp.zeros_like(stoch))

    def observe_step(self, params, state: State, action, is_first, evidence, blind, noise):
        """Prior and posterior of one step; ``is_first`` [B] forgets the state and the action.

        Without ``noise``, None, the samples are the means.
        """
        keep = ~is_first[:, None]
        state = jax.tree.map(lambda x: jnp.where(keep, x, 0.0), state)
        action = jnp.where(keep, action, 0.0)
        return self.cell.apply(params, state, action, evidence, blind, noise)

    def observe(
        self,
        params,
        evidence: Float[Array, "B T E"],
        blind: Bool[Array, "B T"],
        action: Float[Array, "B T A"],
        is_first: Bool[Array, "B T"],
        key: Array,
    ) -> tuple[State, State]:
        """Filters sequences; ``action[t]`` led to the observation of step t.

        Returns:
            Priors and posteriors, each a State [B, T, ...].
        """
        batch, time = is_first.shape
        noise = jax.random.normal(key, (batch, time, self.config.stoch))

        def step(state, inputs):
            prior, posterior = self.observe_step(params, state, *inputs)
            return posterior, (prior, posterior)

        inputs = (action, is_first, evidence, blind, noise)
        inputs = jax.tree.map(lambda x: x.swapaxes(0, 1), inputs)
        _, states = jax.lax.scan(step, self.initial(batch), inputs)
        return jax.tree.map(lambda x: x.swapaxes(0, 1), states)

    def imagine_step(self, params, state: State, action, noise) -> State:
        """The prior's sample after ``action`` [N, A]; ``noise`` [N, S]."""
        return self.cell.apply(params, state, action, noise, method="prior")
