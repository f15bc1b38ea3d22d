"""Likelihoods of D actions that span [-1, 1], given the outputs of a network."""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

LEAST = 0.2
"""Least probability of a two-valued action's value that is drawn."""


@runtime_checkable
class Likelihood(Protocol):
    """What outputs [..., ``outputs``] of a network say of actions [..., D]."""

    @property
    def outputs(self) -> int:
        """How many numbers the network gives."""

    def loss(self, raw: Float[Array, "*batch O"], action: Float[Array, "*batch D"]) -> Array:
        """Negative log-likelihood [...] of actions."""

    def act(self, raw: Float[Array, "*batch O"], key: Array) -> Float[Array, "*batch D"]:
        """The actions that are taken."""


@dataclasses.dataclass(frozen=True)
class Squared:
    """Half the squared error: a Gaussian of standard deviation 1, but for a constant."""

    size: int

    @property
    def outputs(self) -> int:
        """The means."""
        return self.size

    def loss(self, raw, action):
        """Half the squared error, summed over actions."""
        return 0.5 * jnp.square(action - raw).sum(-1)

    def act(self, raw, key):
        """The means."""
        return raw


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A Gaussian with learned standard deviations of at least ``min_std``.

    It acts by its mean, or with ``sample`` by a draw.
    """

    size: int
    min_std: float
    sample: bool = False

    @property
    def outputs(self) -> int:
        """Means and standard deviations."""
        return 2 * self.size

    def parts(self, raw: Float[Array | np.ndarray, "*batch O"]) -> tuple[Array, Array]:
        """Means and standard deviations [..., D]."""
        mean, std = jnp.split(raw, 2, -1)
        return mean, jax.nn.softplus(std) + self.min_std

    def loss(self, raw, action):
        """Negative log-likelihood."""
        return -jax.scipy.stats.norm.logpdf(action, *self.parts(raw)).sum(-1)

    def act(self, raw, key):
        """The mean, or a sample."""
        mean, std = self.parts(raw)
        return mean + std * jax.random.normal(key, mean.shape) if self.sample else mean


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A mixture of ``modes`` diagonal Gaussians (robomimic's BC-GMM).

    Means are in [-1, 1] by a tanh, standard deviations at least ``min_std``. It acts by a sample,
    of which with ``low_noise`` the standard deviation is 1e-4: near the mean of a mode that is
    drawn.
    """

    size: int
    modes: int
    min_std: float
    low_noise: bool = True

    @property
    def outputs(self) -> int:
        """A logit of each mode, and its means and standard deviations."""
        return self.modes * (1 + 2 * self.size)

    def parts(self, raw: Float[Array | np.ndarray, "*batch O"]) -> tuple[Array, Array, Array]:
        """Logits [..., K], and means and standard deviations [..., K, D], of K modes."""
        logits, rest = jnp.split(raw, [self.modes], -1)
        mean, std = jnp.split(rest.reshape(*rest.shape[:-1], self.modes, -1), 2, -1)
        return logits, jnp.tanh(mean), jax.nn.softplus(std) + self.min_std

    def loss(self, raw, action):
        """-log Σ_k π_k N(a; μ_k, σ_k)."""
        logits, mean, std = self.parts(raw)
        density = jax.scipy.stats.norm.logpdf(action[..., None, :], mean, std).sum(-1)
        return -jax.nn.logsumexp(jax.nn.log_softmax(logits) + density, axis=-1)

    def act(self, raw, key):
        """A sample."""
        of_mode, of_noise = jax.random.split(key)
        logits, mean, std = self.parts(raw)
        mode = jax.random.categorical(of_mode, logits)[..., None, None]
        mean, std = (jnp.take_along_axis(x, mode, -2)[..., 0, :] for x in (mean, std))
        std = 1e-4 if self.low_noise else std
        return mean + std * jax.random.normal(of_noise, mean.shape)


@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """A logit of each two-valued action, whose values are -1 and 1.

    Of a value between them the loss is the cross-entropy. It acts by the expected value: the
    decision, and that it holds, is ``Decisions``'. With ``sample`` it acts by a draw, so that a
    robot that waits for a decision that is a little less likely than not does not wait for ever;
    a value of a probability below ``LEAST`` is never drawn, lest what is carried is dropped.
    """

    size: int
    sample: bool = False

    @property
    def outputs(self) -> int:
        """The logits of 1."""
        return self.size

    def loss(self, raw, action):
        """Cross-entropy."""
        return optax.sigmoid_binary_cross_entropy(raw, (action + 1) / 2).sum(-1)

    def act(self, raw, key):
        """2 p - 1, or -1 or 1 by a draw."""
        if not self.sample:
            return jnp.tanh(raw / 2)
        likely = jnp.clip((jax.nn.sigmoid(raw) - LEAST) / (1 - 2 * LEAST), 0, 1)
        return 2.0 * jax.random.bernoulli(key, likely) - 1
