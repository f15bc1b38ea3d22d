"""The multi-modal state-space model and its training loss (MuMMI, eq. 6 to 17)."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from mummi import fusion, objectives
from mummi.config import METHODS, ModelConfig
from mummi.modality import Modality
from mummi.networks import MLP, ImageEncoder, VectorEncoder, preprocess
from mummi.rssm import RSSM, State


class Expert(nn.Module):
    """Gaussian expert q(s^f | x^m) of one sensor: value [N, ...] -> mean, std [N, E]."""

    modality: Modality
    config: ModelConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, value):
        c = self.config
        x = preprocess(self.modality, value)
        if self.modality.kind in ("image", "depth"):
            shape = (c.image_widths, c.image_kernels, c.image_strides)
            x = ImageEncoder(*shape, c.encoder_activation, self.dtype)(x)
        else:
            x = VectorEncoder(c.vector_widths, c.encoder_activation, self.dtype)(x)
        layers = 1 if c.expert_units else 0
        raw = MLP(layers, c.expert_units, 2 * c.fused, c.encoder_activation, dtype=self.dtype)(x)
        mean, std = jnp.split(raw, 2, -1)
        return mean, jax.nn.softplus(std) + c.min_std


class Belief(NamedTuple):
    """What the sensors say: experts [M, ..., E], their fusion [..., E] and its sample."""

    means: Array
    stds: Array
    available: Array
    mean: Array
    std: Array
    sample: Array


class WorldModel:
    """Experts, fusion, RSSM and heads; parameters are passed to every call.

    Args:
        config: sizes and options.
        modalities: the sensors, in the order of fusion.
        action_size: A.
        method: a key of ``mummi.config.METHODS``.
        dtype: compute type of the layers; distances, losses and states stay float32.
    """

    def __init__(
        self,
        config: ModelConfig,
        modalities: tuple[Modality, ...],
        action_size: int,
        method: str = "mummi",
        dtype=jnp.float32,
    ):
        unknown = set(config.nce_weights) - {m.name for m in modalities}
        if unknown:
            names = ", ".join(m.name for m in modalities)
            raise ValueError(f"unknown modality {min(unknown)!r} in nce_weights; there are {names}")
        if config.fusion == "published" and (config.fused_prior or config.posterior_sees_std):
            raise ValueError(
                "fusion 'published' keeps no standard deviation of s^f: "
                "switch fused_prior and posterior_sees_std off"
            )
        self.config = config
        self.modalities = modalities
        _, self.target = METHODS[method]
        head = {"activation": config.activation, "norm": config.norm, "dtype": dtype}
        relu = config.prediction == "relu_layer"
        self.experts = {m.name: Expert(m, config, dtype) for m in modalities}
        self.rssm = RSSM(config, action_size, dtype)
        self.prediction = MLP(0 if relu else 1, config.hidden, config.fused, **head)
        self.reward = MLP(config.reward_layers, config.reward_units, 1, output_scale=0.0, **head)
        self.continuation = MLP(config.reward_layers, config.reward_units, 1, **head)
        self.fused_prior = MLP(1, config.hidden, 2 * config.fused, **head)

    def init(self, key: Array) -> dict:
        """Parameters of every part, by name."""
        c = self.config
        keys = iter(jax.random.split(key, 5 + len(self.modalities)))
        feature = jnp.zeros((1, c.deter + c.stoch))
        params = {
            f"expert_{m.name}": self.experts[m.name].init(
                next(keys), jnp.zeros((1, *m.shape), m.dtype)
            )
            for m in self.modalities
        }
        params["rssm"] = self.rssm.init(next(keys))
        params["prediction"] = self.prediction.init(next(keys), feature)
        params["reward"] = self.reward.init(next(keys), feature)
        params["continuation"] = self.continuation.init(next(keys), feature)
        if c.fused_prior:
            params["fused_prior"] = self.fused_prior.init(next(keys), feature[:, : c.stoch])
        return params

    def perceive(
        self,
        params: dict,
        values: Mapping[str, Array],
        available: Mapping[str, Array],
        key: Array,
        keep: Array | None = None,
    ) -> Belief:
        """Experts and fusion of values [..., *shape] with availability [...].

        ``keep`` bool [M, ...] hides sensors from the fusion, but not from ``means``.
        """
        c = self.config
        means, stds = [], []
        for m in self.modalities:
            mask = available[m.name].reshape(available[m.name].shape + (1,) * len(m.shape))
            # A missing value is replaced before any network sees it, so that not even a NaN
            # reaches a gradient.
            value = jnp.where(mask, values[m.name], jnp.zeros((), m.dtype))
            lead = value.shape[: -len(m.shape)]
            flat = value.reshape(-1, *m.shape)
            mean, std = self.experts[m.name].apply(params[f"expert_{m.name}"], flat)
            means.append(mean.reshape(*lead, c.fused))
            stds.append(std.reshape(*lead, c.fused))
        means, stds = jnp.stack(means), jnp.stack(stds)
        there = jnp.stack([available[m.name] for m in self.modalities])
        there = there if keep is None else there & keep
        fuse = fusion.product_of_experts if c.fusion == "precision" else fusion.published_fusion
        mean, std = fuse(means, stds, there)
        sample = mean
        if c.sample_fused:
            sample = mean + std * jax.random.normal(key, mean.shape)
        return Belief(means, stds, there, mean, std, sample)

    def evidence(self, belief: Belief) -> tuple[Array, Bool[Array, "*batch"]]:
        """What the posterior of s^c reads of the sensors, and whether none delivered."""
        evidence = belief.sample
        if self.config.posterior_sees_std:
            evidence = jnp.concatenate([evidence, jnp.log(belief.std)], -1)
        return evidence, ~belief.available.any(0)

    def filter_step(
        self, params, state: State, values, available, action, is_first, key: Array
    ) -> State:
        """Posterior after one step of a batch: values [B, ...], action [B, A], is_first [B]."""
        fuse_key, noise_key = jax.random.split(key)
        evidence, blind = self.evidence(self.perceive(params, values, available, fuse_key))
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

    def predict_fused(self, params, feature: Float[Array, "*batch F"]) -> Array:
        """g(z): the point of the shared space that z stands for, [..., E]."""
        out = self.prediction.apply(params["prediction"], feature)
        return nn.relu(out) if self.config.prediction == "relu_layer" else out

    def hide(self, key: Array, batch: int, time: int) -> Bool[Array, "M B T"]:
        """Which sensors training keeps: with probability ``drop`` a segment of each is hidden."""
        shape = (len(self.modalities), batch)
        drop_key, cut_key = jax.random.split(key)
        drop = jax.random.bernoulli(drop_key, self.config.drop, shape)
        cuts = jnp.sort(jax.random.randint(cut_key, (*shape, 2), 0, time + 1), -1)
        index = jnp.arange(time)
        inside = (index >= cuts[..., :1]) & (index < cuts[..., 1:])
        return ~(drop[..., None] & inside)

    def loss(self, params: dict, batch: Mapping, key: Array) -> tuple[Array, tuple[State, dict]]:
        """Negative of eq. 17 on sequences.

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
        belief = self.perceive(params, batch["values"], batch["available"], fuse_key, keep)
        evidence, blind = self.evidence(belief)
        prior, posterior = self.rssm.observe(
            params["rssm"], evidence, blind, batch["action"], batch["is_first"], state_key
        )
        feature = posterior.feature
        losses, metrics = self.contrast(params, batch, belief, feature)

        kl, metrics["kl"] = objectives.balanced_kl(
            (posterior.mean, posterior.std), (prior.mean, prior.std), c.kl_balance, c.free_nats
        )
        losses["kl"] = c.kl_weight * kl
        if c.fused_prior:
            raw = self.fused_prior.apply(params["fused_prior"], posterior.stoch)
            mean, std = jnp.split(raw, 2, -1)
            std = jax.nn.softplus(std) + c.min_std
            kl = objectives.gaussian_kl(belief.mean, belief.std, mean, std).mean()
            losses["kl_fused"] = c.kl_weight * kl

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

    def contrast(self, params, batch, belief: Belief, feature) -> tuple[dict, dict]:
        """InfoNCE of each modality (eq. 15 and 16), or of the fused mean (MuMMI-b)."""
        c = self.config
        exact = c.nce == "exact"
        info_nce = objectives.info_nce if exact else objectives.published_info_nce
        prediction = self.predict_fused(params, feature).reshape(-1, c.fused)
        names = [m.name for m in self.modalities]
        there = belief.available
        if c.hidden_targets:
            there = jnp.stack([batch["available"][name] for name in names])
        there = there.reshape(len(names), -1)
        means = belief.means.reshape(len(names), -1, c.fused)
        metrics = {}
        if self.target == "fused":
            fused = belief.mean.reshape(-1, c.fused)
            seen = belief.available.any(0).reshape(-1)
            losses = {"nce_fused": c.nce_weight * info_nce(prediction, fused, seen)}
        else:
            losses = {}
            for name, mean, seen in zip(names, means, there, strict=True):
                nce = info_nce(prediction, mean, seen)
                metrics[f"nce/{name}"] = nce
                metrics[f"nce_accuracy/{name}"] = objectives.nce_accuracy(prediction, mean, seen)
                losses[f"nce_{name}"] = c.nce_weights.get(name, c.nce_weight) * nce
        agreement = objectives.expert_agreement(means, there)
        for i, first in enumerate(names):
            metrics[f"expert_std/{first}"] = belief.stds[i].mean()
            for j in range(i + 1, len(names)):
                metrics[f"agreement/{first}_{names[j]}"] = agreement[i, j]
        return losses, metrics
