"""The multi-modal state-space model and its training loss (MuMMI, eq. 6 to 17)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mummi.config import METHODS, ModelConfig
from mummi.modality import Modality
from mummi.model.augmentation import shift_sensors
from mummi.model.losses import balanced_kl, gaussian_kl, reconstruction
from mummi.model.networks import MLP
from mummi.model.objectives import OBJECTIVES
from mummi.model.perception import Belief, Perception
from mummi.model.rssm import RSSM, State


class WorldModel:
    """Perception, RSSM, heads and objective; parameters are passed to every call.

    Args:
        config: sizes and options.
        modalities: the sensors, in the order of fusion.
        action_size: A.
        method: a key of ``mummi.config.METHODS``.
        dtype: compute type of the layers; distances, losses and states stay float32.

    Raises:
        ValueError: ``config.shift`` is no share.
    """

    def __init__(
        self,
        config: ModelConfig,
        modalities: tuple[Modality, ...],
        action_size: int,
        method: str = "mummi",
        dtype=jnp.float32,
    ):
        if not 0 <= config.shift <= 0.5:
            raise ValueError(f"model.shift is {config.shift}; it must be 0 to 0.5 of a picture")
        self.config = config
        self.modalities = modalities
        fusion, objective = METHODS[method]
        head = {"activation": config.activation, "norm": config.norm, "dtype": dtype}
        self.perception = Perception(config, modalities, fusion, dtype)
        self.objective = OBJECTIVES[objective](config, modalities, dtype)
        self.rssm = RSSM(config, action_size, dtype)
        self.reward = MLP(config.reward_layers, config.reward_units, 1, output_scale=0.0, **head)
        self.continuation = MLP(config.reward_layers, config.reward_units, 1, **head)
        self.action = MLP(1, config.hidden, action_size, **head)
        self.has_fused_prior = config.fused_prior and self.perception.gaussian
        self.fused_prior = MLP(1, config.hidden, 2 * config.fused, **head)

    def init(self, key: Array) -> dict:
        """Parameters of every part, by name."""
        c = self.config
        keys = iter(jax.random.split(key, 7))
        params = self.perception.init(next(keys))
        values = {m.name: jnp.zeros((1, *m.shape), m.dtype) for m in self.modalities}
        there = {m.name: jnp.ones(1, bool) for m in self.modalities}
        belief = self.perceive(params, values, there, key)
        feature = jnp.zeros((1, c.deter + c.stoch))
        params["rssm"] = self.rssm.init(next(keys), self.perception.evidence(belief)[0])
        params |= self.objective.init(next(keys), feature, belief)
        params["reward"] = self.reward.init(next(keys), feature)
        params["continuation"] = self.continuation.init(next(keys), feature)
        if self.has_fused_prior:
            params["fused_prior"] = self.fused_prior.init(next(keys), feature[:, : c.stoch])
        if c.action_weight:
            params["action"] = self.action.init(next(keys), belief.mean)
        return params

    def perceive(self, params: dict, values, available, key: Array, keep=None) -> Belief:
        """What the sensors say; see ``Perception.perceive``."""
        return self.perception.perceive(params, values, available, key, keep)

    def filter_step(
        self, params, state: State, values, available, action, is_first, key: Array
    ) -> State:
        """Posterior after one step of a batch: values [B, ...], action [B, A], is_first [B]."""
        fuse_key, noise_key = jax.random.split(key)
        evidence, blind = self.perception.evidence(
            self.perceive(params, values, available, fuse_key)
        )
        noise = jax.random.normal(noise_key, state.stoch.shape)
        return self.rssm.observe_step(
            params["rssm"], state, action, is_first, evidence, blind, noise
        )[1]

    def predict_reward(self, params, feature: Float[Array, "*batch F"]) -> Array:
        """Expected reward times ``reward_scale``, [...]."""
        return self.reward.apply(params["reward"], feature)[..., 0]

    def predict_continue(self, params, feature: Float[Array, "*batch F"]) -> Array:
        """Probability that the task has not ended by itself, [...]."""
        return jax.nn.sigmoid(self.continuation.apply(params["continuation"], feature)[..., 0])

    def hide(self, key: Array, batch: int, time: int) -> Bool[Array, "M B T"]:
        """Which sensors training keeps: with probability ``drop`` a segment of each is hidden.

        What cannot fail is kept throughout.
        """
        shape = (len(self.modalities), batch)
        drop_key, cut_key = jax.random.split(key)
        drop = jax.random.bernoulli(drop_key, self.config.drop, shape)
        cuts = jnp.sort(jax.random.randint(cut_key, (*shape, 2), 0, time + 1), -1)
        index = jnp.arange(time)
        inside = (index >= cuts[..., :1]) & (index < cuts[..., 1:])
        can_fail = jnp.array([m.can_fail for m in self.modalities])
        return ~(drop[..., None] & inside & can_fail[:, None, None])

    def loss(self, params: dict, batch: Mapping, key: Array) -> tuple[Array, tuple[State, dict]]:
        """Negative of eq. 17, or of eq. 10 where the objective is reconstruction, on sequences.

        Args:
            params: from ``init``.
            batch: ``values`` and ``available`` by modality, ``action`` [B, T, A], ``reward``,
                ``is_first``, ``is_terminal`` [B, T].
            key: random key.

        Returns:
            The loss, and the posteriors [B, T, ...] with scalar metrics.
        """
        c = self.config
        size = batch["is_first"].shape
        fuse_key, state_key, hide_key = jax.random.split(key, 3)
        keep = self.hide(hide_key, *size) if c.drop > 0 else None
        if c.shift:
            shift_key = jax.random.fold_in(key, 3)
            moved = shift_sensors(batch["values"], self.modalities, shift_key, c.shift)
            batch = {**batch, "values": moved}
        belief = self.perceive(params, batch["values"], batch["available"], fuse_key, keep)
        evidence, blind = self.perception.evidence(belief)
        prior, posterior = self.rssm.observe(
            params["rssm"], evidence, blind, batch["action"], batch["is_first"], state_key
        )
        feature = posterior.feature
        losses, metrics = self.objective.terms(params, batch, belief, feature)

        kl, metrics["kl"] = balanced_kl(
            (posterior.mean, posterior.std), (prior.mean, prior.std), c.kl_balance, c.free_nats
        )
        losses["kl"] = c.kl_weight * kl
        if self.has_fused_prior:
            raw = self.fused_prior.apply(params["fused_prior"], posterior.stoch)
            mean, std = jnp.split(raw, 2, -1)
            std = jax.nn.softplus(std) + c.min_std
            kl = gaussian_kl(belief.mean, belief.std, mean, std).mean()
            losses["kl_fused"] = c.kl_weight * kl

        if c.action_weight:
            # Of s^f, which knows this step's sensors alone: a state that knows the actions before
            # could repeat them without looking.
            guess = self.action.apply(params["action"], belief.mean[:, :-1])
            known = ~batch["is_first"][:, 1:]
            loss, metrics["action_error"] = reconstruction(guess, batch["action"][:, 1:], known)
            losses["action"] = c.action_weight * loss

        # The reward of a first step is no outcome of an action, and imagination never asks for it.
        known = 1.0 - batch["is_first"].astype(jnp.float32)
        error = self.predict_reward(params, feature) - c.reward_scale * batch["reward"]
        metrics["reward_error"] = (known * jnp.square(error)).sum() / jnp.maximum(known.sum(), 1)
        losses["reward"] = c.reward_weight * 0.5 * metrics["reward_error"]
        logit = self.continuation.apply(params["continuation"], feature)[..., 0]
        ended = batch["is_terminal"].astype(jnp.float32)
        entropy = jax.nn.softplus(logit) - (1.0 - ended) * logit
        losses["continue"] = c.continue_weight * entropy.mean()

        metrics |= {f"loss/{name}": value for name, value in losses.items()}
        metrics["posterior_std"] = posterior.std.mean()
        metrics["prior_std"] = prior.std.mean()
        metrics["missing"] = 1.0 - belief.available.mean()
        return sum(losses.values()), (posterior, metrics)
