"""Behaviour cloning: a network from the latent state to the demonstrated action."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from jaxtyping import Array, Float

from mummi.imitation.heads.head import (
    Percept,
    Report,
    Sizes,
    Trajectory,
    no_report,
)
from mummi.imitation.heads.likelihoods import Bernoulli, Gaussian, Likelihood, Mixture, Squared
from mummi.imitation.metrics import error_over_variance, varying
from mummi.imitation.settings import only
from mummi.imitation.weights import change_weights, cumulative, require_share
from mummi.model.networks import MLP
from mummi.presets import WINDOWS
from mummi.runs import devices

REPORTS = 50
"""Reports of one ``fit``."""


@dataclasses.dataclass(frozen=True)
class BCConfig:
    """Behaviour cloning.

    The likelihood is that of all actions but those that are two-valued, which are Bernoulli.

    Attributes:
        likelihood: gaussian (with a learned standard deviation), mixture (of Gaussians, robomimic's
            BC-GMM, which acts by a sample) or mse (half the squared error).
        sample: act with a sample, of the Gaussian and of two-valued actions; otherwise with the
            mean, and with the value of those that is decided for (--hysteresis). A mixture samples
            both.
        min_std: least standard deviation of the Gaussian, where actions span [-1, 1].
        modes: Gaussians of the mixture.
        mode_std: least standard deviation of each of them.
        low_noise: act near the mean of the mode that is drawn, with a standard deviation of 1e-4;
            otherwise with the learned one.
        layers: hidden layers.
        units: their units.
        activation: their activation: relu, elu or silu.
        change_share: share of the steps that is drawn in proportion to how much the wanted action
            changes, each action that ever does having an equal part; all others alike.
        windows: steps of demonstrations that training sees, batch after batch.
        batch: of them in a gradient step.
        learning_rate: AdamW's step size at first, from where it falls to 0 as a cosine does.
        weight_decay: AdamW's weight decay.
        clip: largest norm of the gradient.
    """

    likelihood: Literal["gaussian", "mixture", "mse"] = "gaussian"
    sample: bool = only("likelihood", "gaussian", default=False)
    min_std: float = only("likelihood", "gaussian", default=0.05)
    modes: int = only("likelihood", "mixture", default=5)
    mode_std: float = only("likelihood", "mixture", default=1e-4)
    low_noise: bool = only("likelihood", "mixture", default=True)
    layers: int = 2
    units: int = 256
    activation: Literal["relu", "elu", "silu"] = "elu"
    change_share: float = 0.0
    windows: int = WINDOWS["paper"]
    batch: int = 256
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    clip: float = 10.0

    def __post_init__(self):
        if self.modes < 1:
            raise ValueError(f"modes {self.modes} must be at least 1")
        for name in ("min_std", "mode_std"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} {getattr(self, name)} must be above 0")
        require_share(self.change_share)
        if not 1 <= self.batch <= self.windows:
            raise ValueError(
                f"batch {self.batch} must be at least 1 and at most windows {self.windows}"
            )

    @property
    def updates(self) -> int:
        """Gradient steps."""
        return self.windows // self.batch

    @property
    def samples(self) -> bool:
        """Whether it acts by samples."""
        return self.sample or self.likelihood == "mixture"

    def likelihood_of(self, size: int) -> Likelihood:
        """The likelihood of ``size`` actions."""
        if self.likelihood == "gaussian":
            return Gaussian(size, self.min_std, self.sample)
        if self.likelihood == "mixture":
            return Mixture(size, self.modes, self.mode_std, self.low_noise)
        return Squared(size)


def fit_scale(
    features: Float[np.ndarray, "N F"], actions: Float[np.ndarray, "N A"]
) -> dict[str, np.ndarray]:
    """``mean`` and ``std`` of the features, ``low`` and ``high`` of the actions.

    A feature that never varies keeps its unit; an action that never does spans one to each side.
    """
    std, low, high = features.std(0), actions.min(0), actions.max(0)
    constant = high - low < 1e-6
    return {
        "mean": features.mean(0),
        "std": np.where(std < 1e-6, 1, std).astype(np.float32),
        "low": np.where(constant, low - 1, low).astype(np.float32),
        "high": np.where(constant, high + 1, high).astype(np.float32),
    }


def steps(trajectories: Sequence[Trajectory]) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, F] and actions [N, A] of all steps of demonstrations."""
    features = np.concatenate([t.percept.feature for t in trajectories])
    return features, np.concatenate([t.action for t in trajectories])


class BehaviourCloning:
    """Head ``bc``; a ``Head``.

    Raises:
        ValueError: all actions are two-valued, and a mixture of others is asked for.
    """

    def __init__(self, config: BCConfig, sizes: Sizes):
        self.config = config
        self._sizes = sizes
        self._binary = np.array(sizes.two_valued, int)
        self._other = np.setdiff1d(np.arange(sizes.action), self._binary)
        if not len(self._other) and config.likelihood == "mixture":
            raise ValueError(
                "likelihood mixture is of actions that are not two-valued, and all "
                f"{sizes.action} are: leave it out, or name with --two-valued those that are"
            )
        self._likelihood = config.likelihood_of(len(self._other))
        self._bernoulli = Bernoulli(len(self._binary), config.samples)
        outputs = self._likelihood.outputs + self._bernoulli.outputs
        self._network = MLP(config.layers, config.units, outputs, config.activation)
        rate = optax.cosine_decay_schedule(config.learning_rate, config.updates)
        self._optimiser = optax.chain(
            optax.clip_by_global_norm(config.clip),
            optax.adamw(rate, weight_decay=config.weight_decay),
        )
        self._act = jax.jit(self._choose)
        self._measure = jax.jit(self._held_out)
        self._update = jax.jit(self._step)

    def loss(self, params, feature: Float[Array, "N F"], action: Float[Array, "N A"]) -> Array:
        """Mean negative log-likelihood of the actions where they span [-1, 1].

        Args:
            params: ``network`` and ``scale``.
            feature: latent states [N, F].
            action: [N, A], in the environment's scale.
        """
        scale = params["scale"]
        target = 2 * (action - scale["low"]) / (scale["high"] - scale["low"]) - 1
        raw, logits = self._outputs(params, feature)
        binary = self._bernoulli.loss(logits, target[..., self._binary])
        return (self._likelihood.loss(raw, target[..., self._other]) + binary).mean()

    def fit(
        self,
        trajectories: Sequence[Trajectory],
        seed: int,
        report: Report = no_report,
        held_out: Sequence[Trajectory] = (),
    ) -> None:
        """Learns from scratch.

        Raises:
            FloatingPointError: training diverged.
        """
        c = self.config
        features, actions = steps(trajectories)
        unseen = (*steps(held_out), varying(actions)) if held_out else None
        network = devices.run_once(self._network.init, jax.random.PRNGKey(seed), features[:1])
        scale = jax.device_put(fit_scale(features, actions))
        state = (network, self._optimiser.init(network))
        data = jax.device_put((features, actions))
        random, ends = np.random.default_rng(seed), None
        if c.change_share:
            ends = cumulative(change_weights([t.action for t in trajectories], c.change_share))
        every = max(1, c.updates // REPORTS)
        for update in range(1, c.updates + 1):
            if ends is None:
                rows = random.integers(len(features), size=c.batch)
            else:
                rows = np.searchsorted(ends, random.random(c.batch), side="right")
            state, loss = self._update(state, scale, *data, rows)
            if update % every == 0 or update == c.updates:
                if not np.isfinite(loss):
                    raise FloatingPointError(
                        f"the loss of bc is not finite at update {update}: training diverged; a "
                        "smaller --head.learning-rate may help"
                    )
                metrics = {"loss": loss}
                if unseen is not None:
                    metrics |= self._measure({"network": state[0], "scale": scale}, *unseen)
                report(update, {name: float(x) for name, x in metrics.items()})
        self._params = {"network": state[0], "scale": scale}

    def reset(self, batch: int) -> tuple:
        """Nothing: each action follows from the present latent state."""
        return ()

    def act(self, carry, percept: Percept, is_first, key: Array) -> tuple[np.ndarray, tuple]:
        """Actions [B, A] within the range of the demonstrations'."""
        return np.asarray(self._act(self._params, percept.feature, key)), carry

    def arrays(self) -> dict[str, np.ndarray]:
        """Parameters and scales."""
        flat = traverse_util.flatten_dict(self._params, sep="/")
        return {name: np.asarray(leaf) for name, leaf in flat.items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what ``arrays`` gave."""
        self._params = traverse_util.unflatten_dict(dict(arrays), sep="/")

    def _outputs(self, params, feature):
        """The network's outputs for the likelihood, and the logits of two-valued actions."""
        standardised = (feature - params["scale"]["mean"]) / params["scale"]["std"]
        raw = self._network.apply(params["network"], standardised)
        return jnp.split(raw, [self._likelihood.outputs], -1)

    def _step(self, state, scale, features, actions, rows):
        network, optimiser = state
        batch = features[rows], actions[rows]
        loss, gradient = jax.value_and_grad(
            lambda network: self.loss({"network": network, "scale": scale}, *batch)
        )(network)
        step, optimiser = self._optimiser.update(gradient, optimiser, network)
        return (optax.apply_updates(network, step), optimiser), loss

    def _held_out(self, params, feature, action, variance):
        chosen = self._choose(params, feature, jax.random.PRNGKey(0))
        error = error_over_variance(chosen, action, variance)
        return {"held_out/loss": self.loss(params, feature, action), "held_out/error": error}

    def _choose(self, params, feature, key):
        """Actions in the environment's scale."""
        raw, logits = self._outputs(params, feature)
        action = jnp.zeros((*feature.shape[:-1], self._sizes.action))
        action = action.at[..., self._other].set(self._likelihood.act(raw, key))
        decided = self._bernoulli.act(logits, jax.random.fold_in(key, 1))
        action = action.at[..., self._binary].set(decided)
        low, high = params["scale"]["low"], params["scale"]["high"]
        return low + (jnp.clip(action, -1, 1) + 1) / 2 * (high - low)
