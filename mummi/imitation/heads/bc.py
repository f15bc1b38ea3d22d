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
from mummi.imitation.metrics import error_over_variance, varying
from mummi.model.networks import MLP
from mummi.presets import WINDOWS
from mummi.runs import devices

REPORTS = 50
"""Reports of one ``fit``."""


@dataclasses.dataclass(frozen=True)
class BCConfig:
    """Behaviour cloning.

    Attributes:
        loss: nll (negative log-likelihood of a Gaussian with a learned standard deviation) or mse
            (squared error).
        sample: act with a sample of the Gaussian; otherwise with its mean.
        layers: hidden layers.
        units: their units.
        activation: their activation: relu, elu or silu.
        min_std: least standard deviation of the Gaussian, where actions span [-1, 1].
        windows: steps of demonstrations that training sees, batch after batch.
        batch: of them in a gradient step.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's weight decay.
        clip: largest norm of the gradient.
    """

    loss: Literal["nll", "mse"] = "nll"
    sample: bool = False
    layers: int = 2
    units: int = 256
    activation: Literal["relu", "elu", "silu"] = "elu"
    min_std: float = 0.05
    windows: int = WINDOWS["paper"]
    batch: int = 256
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    clip: float = 10.0

    def __post_init__(self):
        if self.sample and self.loss == "mse":
            raise ValueError("sample needs the loss nll: mse learns no standard deviation")
        if not 1 <= self.batch <= self.windows:
            raise ValueError(
                f"batch {self.batch} must be at least 1 and at most windows {self.windows}"
            )

    @property
    def updates(self) -> int:
        """Gradient steps."""
        return self.windows // self.batch


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
    """Head ``bc``; a ``Head``."""

    def __init__(self, config: BCConfig, sizes: Sizes):
        self.config = config
        self._sizes = sizes
        gaussian = config.loss == "nll"
        outputs = sizes.action * (2 if gaussian else 1)
        self._network = MLP(config.layers, config.units, outputs, config.activation)
        self._optimiser = optax.chain(
            optax.clip_by_global_norm(config.clip),
            optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
        )
        self._act = jax.jit(self._choose)
        self._measure = jax.jit(self._held_out)
        self._update = jax.jit(self._step)

    def distribution(self, params, feature: Float[Array, "*batch F"]) -> tuple[Array, Array]:
        """Mean and standard deviation [..., A] of actions that span [-1, 1]; mse has std 1."""
        raw = self._network.apply(params["network"], self._standardise(params, feature))
        if self.config.loss == "mse":
            return raw, jnp.ones_like(raw)
        mean, std = jnp.split(raw, 2, -1)
        return mean, jax.nn.softplus(std) + self.config.min_std

    def loss(self, params, feature: Float[Array, "N F"], action: Float[Array, "N A"]) -> Array:
        """Mean negative log-likelihood of the Gaussian, or half the squared error, but a constant.

        Args:
            params: ``network`` and ``scale``.
            feature: latent states [N, F].
            action: [N, A], in the environment's scale.
        """
        scale = params["scale"]
        target = 2 * (action - scale["low"]) / (scale["high"] - scale["low"]) - 1
        mean, std = self.distribution(params, feature)
        return (0.5 * jnp.square((target - mean) / std) + jnp.log(std)).sum(-1).mean()

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
        random = np.random.default_rng(seed)
        every = max(1, c.updates // REPORTS)
        for update in range(1, c.updates + 1):
            rows = random.integers(len(features), size=c.batch)
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

    def _standardise(self, params, feature):
        return (feature - params["scale"]["mean"]) / params["scale"]["std"]

    def _step(self, state, scale, features, actions, rows):
        network, optimiser = state
        batch = features[rows], actions[rows]
        loss, gradient = jax.value_and_grad(
            lambda network: self.loss({"network": network, "scale": scale}, *batch)
        )(network)
        step, optimiser = self._optimiser.update(gradient, optimiser, network)
        return (optax.apply_updates(network, step), optimiser), loss

    def _held_out(self, params, feature, action, variance):
        chosen = self._restored(params, self.distribution(params, feature)[0])
        error = error_over_variance(chosen, action, variance)
        return {"held_out/loss": self.loss(params, feature, action), "held_out/error": error}

    def _choose(self, params, feature, key):
        mean, std = self.distribution(params, feature)
        if self.config.sample:
            mean = mean + std * jax.random.normal(key, mean.shape)
        return self._restored(params, mean)

    def _restored(self, params, action):
        """Actions that span [-1, 1] in the environment's scale."""
        low, high = params["scale"]["low"], params["scale"]["high"]
        return low + (jnp.clip(action, -1, 1) + 1) / 2 * (high - low)
