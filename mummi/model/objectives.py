"""What ties the latent state to the sensors: one of these objectives a method."""

from collections.abc import Mapping
from typing import Protocol, get_args

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mummi.config import ModelConfig
from mummi.modality import Kind, Modality
from mummi.model.losses import (
    contrast,
    expert_agreement,
    info_nce,
    published_info_nce,
    reconstruction,
)
from mummi.model.networks import MLP, ImageDecoder, Layers, preprocess
from mummi.model.perception import Belief, Features

Terms = tuple[dict[str, Array], dict[str, Array]]
"""Terms of the loss by name, and scalar metrics."""


class Objective(Protocol):
    """A term of the world model's loss with the parameters that it alone needs."""

    def __init__(
        self, config: ModelConfig, modalities: tuple[Modality, ...], dtype: DTypeLike = jnp.float32
    ): ...

    def init(self, key: Array, feature: Array, belief: Belief | Features) -> dict:
        """Parameters, for features [1, F] and a belief of one step."""

    def terms(
        self,
        params: dict,
        batch: Mapping,
        belief: Belief | Features,
        feature: Float[Array, "B T F"],
    ) -> Terms:
        """The objective's terms on a batch of ``WorldModel.loss`` and its posterior features."""


class FusedContrast:
    """InfoNCE between the fused mean and g(z) (MuMMI-b, section V)."""

    def __init__(self, config, modalities, dtype=jnp.float32):
        names, kinds = [m.name for m in modalities], get_args(Kind)
        unknown = set(config.nce_weights).difference(names, kinds)
        if unknown:
            raise ValueError(
                f"unknown modality {min(unknown)!r} in nce_weights; there are {', '.join(names)}, "
                f"and the kinds {', '.join(kinds)}"
            )
        self.config = config
        self.modalities = modalities
        exact = config.nce == "exact"
        self._info_nce = info_nce if exact else published_info_nce
        self._relu = config.prediction == "relu_layer"
        head = {"activation": config.activation, "norm": config.norm, "dtype": dtype}
        self._prediction = MLP(0 if self._relu else 1, config.hidden, config.fused, **head)

    def init(self, key, feature, belief):
        """Parameters of g."""
        return {"prediction": self._prediction.init(key, feature)}

    def predict(self, params, feature: Float[Array, "*batch F"]) -> Array:
        """g(z): the point of the shared space that z stands for, [..., E]."""
        out = self._prediction.apply(params["prediction"], feature)
        return jax.nn.relu(out) if self._relu else out

    def terms(self, params, batch, belief, feature):
        """One term; a step at which no sensor delivered is none of its candidates."""
        prediction = self.predict(params, feature).reshape(-1, self.config.fused)
        fused = belief.mean.reshape(-1, self.config.fused)
        nce, accuracy = self._info_nce(prediction, fused, belief.available.any(0).reshape(-1))
        losses = {"nce_fused": self.config.nce_weight * nce}
        return losses, {"nce_accuracy/fused": accuracy, **expert_metrics(self.modalities, belief)}


class ExpertContrast(FusedContrast):
    """InfoNCE between each sensor's expert mean and the shared g(z) (MuMMI, eq. 16)."""

    def terms(self, params, batch, belief, feature):
        """One term a sensor, over the steps at which it delivered."""
        c = self.config
        prediction = self.predict(params, feature).reshape(-1, c.fused)
        losses, metrics = {}, expert_metrics(self.modalities, belief)
        for m, mean, mask in zip(self.modalities, belief.means, belief.available, strict=True):
            mask = batch["available"][m.name] if c.hidden_targets else mask
            nce, accuracy = self._info_nce(prediction, mean.reshape(-1, c.fused), mask.reshape(-1))
            weight = c.nce_weights.get(m.name, c.nce_weights.get(m.kind, c.nce_weight))
            losses[f"nce_{m.name}"] = weight * nce
            metrics |= {f"nce/{m.name}": nce, f"nce_accuracy/{m.name}": accuracy}
        return losses, metrics


class JointContrast:
    """InfoNCE between two towers over z and over all sensors' features (CVRL's public code)."""

    def __init__(self, config, modalities, dtype=jnp.float32):
        self.config = config
        head = (config.activation, config.norm, dtype, jnp.float32)
        self._towers = {
            "state_tower": Layers((config.hidden, config.hidden), *head),
            "sensor_tower": Layers((2 * config.hidden, config.hidden), *head),
        }

    def init(self, key, feature, belief):
        """Parameters of both towers."""
        keys = jax.random.split(key)
        inputs = (feature, belief.mean)
        return {
            name: tower.init(k, x)
            for (name, tower), k, x in zip(self._towers.items(), keys, inputs, strict=True)
        }

    def terms(self, params, batch, belief, feature):
        """One term; a step at which no sensor delivered is none of its candidates."""
        state, sensors = (
            self._towers[name].apply(params[name], x.reshape(-1, x.shape[-1]))
            for name, x in (("state_tower", feature), ("sensor_tower", belief.mean))
        )
        logits = jnp.dot(state, sensors.T, precision=jax.lax.Precision.HIGHEST)
        nce, accuracy = contrast(logits, belief.available.any(0).reshape(-1))
        return {"nce_joint": self.config.nce_weight * nce}, {"nce_accuracy/joint": accuracy}


class Reconstruction:
    """Unit-variance Gaussian decoders of every sensor (eq. 10; appendix C)."""

    def __init__(self, config, modalities, dtype=jnp.float32):
        self.config = config
        self.modalities = modalities
        self._decoders = {m.name: self._decoder(m, dtype) for m in modalities}

    def _decoder(self, modality, dtype):
        c = self.config
        if modality.kind in ("image", "depth"):
            shape = (c.decoder_widths, c.decoder_kernels, c.decoder_strides)
            return ImageDecoder(modality.shape, *shape, c.encoder_activation, dtype)
        (size,), widths = modality.shape, c.vector_widths
        return MLP(len(widths), widths[-1], size, c.encoder_activation, dtype=dtype)

    def init(self, key, feature, belief):
        """Parameters of the decoders."""
        keys = jax.random.split(key, len(self._decoders))
        return {
            f"decoder_{name}": decoder.init(k, feature)
            for (name, decoder), k in zip(self._decoders.items(), keys, strict=True)
        }

    def decode(self, params, feature: Float[Array, "*batch F"]) -> dict[str, Array]:
        """Means [..., *shape] by modality, in the units of ``networks.preprocess``."""
        flat = feature.reshape(-1, feature.shape[-1])
        return {
            m.name: self._decoders[m.name]
            .apply(params[f"decoder_{m.name}"], flat)
            .reshape(*feature.shape[:-1], *m.shape)
            for m in self.modalities
        }

    def terms(self, params, batch, belief, feature):
        """One term a sensor, over the steps at which it delivered."""
        losses, metrics = {}, {}
        means = self.decode(params, feature)
        for m, mask in zip(self.modalities, belief.available, strict=True):
            mask = batch["available"][m.name] if self.config.hidden_targets else mask
            target = preprocess(m, batch["values"][m.name])
            mean, target = (x.reshape(*mask.shape, -1) for x in (means[m.name], target))
            losses[f"reconstruction_{m.name}"], metrics[f"reconstruction_error/{m.name}"] = (
                reconstruction(mean, target, mask)
            )
        return losses, metrics


def expert_metrics(modalities: tuple[Modality, ...], belief: Belief) -> dict[str, Array]:
    """Mean standard deviation of each expert where it was fused, and how well each two agree."""
    names = [m.name for m in modalities]
    means = belief.means.reshape(len(names), -1, belief.means.shape[-1])
    agreement = expert_agreement(means, belief.available.reshape(len(names), -1))
    metrics = {}
    for i, first in enumerate(names):
        mask = belief.available[i]
        total = jnp.where(mask[..., None], belief.stds[i], 0.0).sum()
        metrics[f"expert_std/{first}"] = total / jnp.maximum(mask.sum() * belief.stds.shape[-1], 1)
        for j in range(i + 1, len(names)):
            metrics[f"agreement/{first}_{names[j]}"] = agreement[i, j]
    return metrics


OBJECTIVES: dict[str, type[Objective]] = {
    "each": ExpertContrast,
    "fused": FusedContrast,
    "joint": JointContrast,
    "reconstruction": Reconstruction,
}
