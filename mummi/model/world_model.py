"""The multi-modal state-space model and its training loss (MuMMI, eq. 6 to 17)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mummi.config import METHODS, ModelConfig
from mummi.modality import Modality
from mummi.model.augmentation import shift_sensors
from mummi.model.losses import balanced_kl, gaussian_kl, reconstruction, sampled_kl
from mummi.model.networks import MLP
from mummi.model.objectives import OBJECTIVES, Terms
from mummi.model.perception import Belief, Features, ProductOfExperts, perception
from mummi.model.rssm import RSSM, State


class WorldModel:
    """Perception, RSSM, heads and objective; parameters are passed to every call.

    Args:
        config: sizes and options.
        modalities: the sensors, in the order of fusion.
        action_size: A.
        method: a key of ``mummi.config.METHODS``.
        dtype: compute type of the hidden layers; their outputs, distances, losses and states stay
            float32.
        pace: time units that an agent step lasts, ``Config.pace``.

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
        pace: float = 1.0,
    ):
        if not 0 <= config.shift <= 0.5:
            raise ValueError(f"model.shift is {config.shift}; it must be 0 to 0.5 of a picture")
        self.config = config
        self.modalities = modalities
        self.pace = pace
        fusion, objective = METHODS[method]
        head = {"activation": config.activation, "norm": config.norm, "dtype": dtype}
        self.perception = perception(fusion, config, modalities, dtype)
        self.objective = OBJECTIVES[objective](config, modalities, dtype)
        self.rssm = RSSM(config, action_size, dtype)
        self.reward = MLP(config.reward_layers, config.reward_units, 1, output_scale=0.0, **head)
        self.continuation = MLP(config.reward_layers, config.reward_units, 1, **head)
        self.action = MLP(1, config.hidden, action_size, **head)
        gaussian = isinstance(self.perception, ProductOfExperts)
        self.has_fused_prior = config.fused_prior and gaussian
        self.fused_prior = MLP(1, config.hidden, 2 * config.fused, **head)

    def init(self, key: Array) -> dict:
        """Parameters of every part, by name."""
        c = self.config
        keys = iter(jax.random.split(key, 7))
        params = self.perception.init(next(keys))
        values = {m.name: jnp.zeros((1, *m.shape), m.dtype) for m in self.modalities}
        available = {m.name: jnp.ones(1, bool) for m in self.modalities}
        belief = self.perceive(params, values, available, key)
        feature = jnp.zeros((1, c.deter + c.stoch))
        params["rssm"] = self.rssm.init(next(keys), self.perception.evidence(belief)[0])
        params |= self.objective.init(next(keys), feature, belief)
        params["reward"] = self.reward.init(next(keys), feature)
        params["continuation"] = self.continuation.init(next(keys), feature)
        if self.has_fused_prior:
            params["fused_prior"] = self.fused_prior.init(next(keys), feature[:, : c.stoch])
        if c.action_weight:
            tellers = self._tellers(belief)
            for own, (name, mean) in zip(
                jax.random.split(next(keys), len(tellers)), tellers.items(), strict=True
            ):
                params[name] = self.action.init(own, mean)
        return params

    def perceive(
        self, params: dict, values, available, key: Array | None, keep=None
    ) -> Belief | Features:
        """What the sensors say; see ``Perception.perceive``."""
        return self.perception.perceive(params, values, available, key, keep)

    def filter_step(
        self, params, state: State, values, available, action, is_first, key: Array
    ) -> State:
        """Posterior after one step of a batch: values [B, ...], action [B, A], is_first [B]."""
        delivered = self.perception.delivered(available)
        said = self.perception.say(params, values, delivered, delivered)
        return self.filter_said(params, state, said, delivered, action, is_first, key)

    def filter_said(
        self, params, state: State, said, fused_mask: Array, action, is_first, key: Array | None
    ) -> State:
        """As ``filter_step``, of what ``Perception.say`` gave, fused where ``fused_mask``.

        ``key`` None takes means in place of samples.
        """
        fuse_key, noise_key = (None, None) if key is None else jax.random.split(key)
        evidence, blind = self.perception.evidence(self.perception.fuse(said, fused_mask, fuse_key))
        noise = None if key is None else jax.random.normal(noise_key, state.stoch.shape)
        inputs = (state, action, is_first, evidence, blind, noise)
        return self.rssm.observe_step(params["rssm"], *inputs)[1]

    def predict_reward(self, params, feature: Float[Array, "*batch F"]) -> Array:
        """Expected reward of a time unit times ``reward_scale``, [...]."""
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
                ``is_first``, ``is_terminal`` [B, T]; of demonstrations also ``wanted`` [B, T, A].
            key: random key.

        Returns:
            The loss, and the posteriors [B, T, ...] with scalar metrics.
        """
        fuse_key, state_key, hide_key = jax.random.split(key, 3)
        shift_key = jax.random.fold_in(key, 3)
        batch = self.shift(batch, shift_key)
        keep = self.hide(hide_key, *batch["is_first"].shape) if self.config.drop > 0 else None
        belief = self.perceive(params, batch["values"], batch["available"], fuse_key, keep)
        evidence, blind = self.perception.evidence(belief)
        prior, posterior = self.rssm.observe(
            params["rssm"], evidence, blind, batch["action"], batch["is_first"], state_key
        )
        parts = [
            self.objective.terms(params, batch, belief, posterior.feature),
            self.kl_terms(prior, posterior),
            self.fused_kl_terms(params, belief, posterior),
            self.action_terms(params, batch, belief),
            self.reward_terms(params, batch, posterior.feature),
            self.continuation_terms(params, batch, posterior.feature),
        ]
        losses = {name: value for terms, _ in parts for name, value in terms.items()}
        metrics = {name: value for _, found in parts for name, value in found.items()}
        assert len(losses) == sum(len(terms) for terms, _ in parts), "two terms have one name"
        assert all(value.shape == () for value in (losses | metrics).values())
        metrics |= {f"loss/{name}": value for name, value in losses.items()}
        metrics["posterior_std"] = posterior.std.mean()
        metrics["prior_std"] = prior.std.mean()
        metrics["missing"] = 1.0 - belief.available.mean()
        return sum(losses.values()), (posterior, metrics)

    def shift(self, batch: Mapping, key: Array) -> Mapping:
        """The batch with images and depth maps moved at random, where the config says so."""
        if not self.config.shift:
            return batch
        values = shift_sensors(batch["values"], self.modalities, key, self.config.shift)
        return {**batch, "values": values}

    def kl_terms(self, prior: State, posterior: State) -> Terms:
        """KL of q(s^c | s^f, h) and p(s^c | h)."""
        c = self.config
        pair = (posterior.mean, posterior.std), (prior.mean, prior.std)
        loss, kl = balanced_kl(*pair, c.kl_balance, c.free_nats)
        return {"kl": c.kl_weight * loss}, {"kl": kl}

    def fused_kl_terms(self, params, belief: Belief | Features, posterior: State) -> Terms:
        """What the joint KL of s^f and s^c has beside that of s^c: of q(s^f | x) and p(s^f | s^c).

        The prior depends on a sample of s^c that was drawn given the sample of s^f, so that it is
        this sample that both densities are of (eq. 9, 11 and 17). Without a sample of s^f the
        closed form stands in.
        """
        if not self.has_fused_prior:
            return {}, {}
        raw = self.fused_prior.apply(params["fused_prior"], posterior.stoch)
        mean, std = jnp.split(raw, 2, -1)
        std = jax.nn.softplus(std) + self.config.min_std
        if self.config.sample_fused:
            kl = sampled_kl(belief.sample, belief.mean, belief.std, mean, std)
        else:
            kl = gaussian_kl(belief.mean, belief.std, mean, std)
        return {"kl_fused": self.config.kl_weight * kl.mean()}, {}

    def action_terms(self, params, batch: Mapping, belief: Belief | Features) -> Terms:
        """Log-likelihood of the next action given s^f, and given each sensor that is fused alone.

        Both know this step's sensors alone: a state that knows the actions before could repeat them
        without looking. The terms of the M sensors, each with a network of its own, are averaged,
        so that together they weigh as much as that of s^f.
        """
        if not self.config.action_weight:
            return {}, {}
        target, known = next_action(batch)
        weights = {"action": self.config.action_weight}
        masks = {"action": known}
        for m, fused in zip(self.modalities, belief.available, strict=True):
            weights[f"action_{m.name}"] = self.config.action_weight / len(self.modalities)
            masks[f"action_{m.name}"] = known & fused
        losses, metrics = {}, {}
        for name, mean in self._tellers(belief).items():
            guess = self.action.apply(params[name], mean)
            loss, metrics[f"{name}_error"] = reconstruction(guess, target, masks[name])
            losses[name] = weights[name] * loss
        return losses, metrics

    def _tellers(self, belief: Belief | Features) -> dict[str, Array]:
        """What is to tell the next action, by the name of its network: s^f, and each sensor."""
        alone = zip(self.modalities, belief.means, strict=True)
        return {"action": belief.mean, **{f"action_{m.name}": mean for m, mean in alone}}

    def reward_terms(self, params, batch: Mapping, feature: Float[Array, "B T F"]) -> Terms:
        """Log-likelihood of the reward of a time unit, with unit variance.

        The reward of a first step is no outcome of an action, and imagination never asks for it.
        """
        known = 1.0 - batch["is_first"].astype(jnp.float32)
        target = self.config.reward_scale / self.pace * batch["reward"]
        square = known * jnp.square(self.predict_reward(params, feature) - target)
        error = square.sum() / jnp.maximum(known.sum(), 1)
        return {"reward": self.config.reward_weight * 0.5 * error}, {"reward_error": error}

    def continuation_terms(self, params, batch: Mapping, feature: Float[Array, "B T F"]) -> Terms:
        """Cross-entropy of whether the task went on."""
        logit = self.continuation.apply(params["continuation"], feature)[..., 0]
        ended = batch["is_terminal"].astype(jnp.float32)
        entropy = jax.nn.softplus(logit) - (1.0 - ended) * logit
        return {"continue": self.config.continue_weight * entropy.mean()}, {}


def next_action(batch: Mapping) -> tuple[Float[Array, "B T A"], Bool[Array, "B T"]]:
    """The action that follows each step of sequences, and whether it is known.

    Of demonstrations it is the one that was wanted, and always known. Else it is the one that was
    done, which stands at the step that it led to, and which the last step of a sequence or of an
    episode lacks.
    """
    if "wanted" in batch:
        return batch["wanted"], jnp.ones(batch["is_first"].shape, bool)
    later = jnp.roll(batch["action"], -1, 1)
    known = jnp.roll(~batch["is_first"], -1, 1).at[:, -1].set(False)
    return later, known
