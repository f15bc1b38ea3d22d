"""The network of a chunk head: normalisation, context and backbone."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mummi.imitation.chunks.config import ChunkConfig
from mummi.imitation.chunks.context import Context, Sensed, augmented, context, sensed
from mummi.imitation.chunks.generators import GENERATORS, State, Trained
from mummi.imitation.chunks.performer import Performer
from mummi.imitation.chunks.unet import UNet
from mummi.imitation.heads.head import Percept, Sizes

Inputs = Any
"""Latents [..., F], or ``Sensed`` values of the sensors."""

_NARROW = 1e-6
"""Ranges and deviations below it are those of a constant, which is only shifted."""


class Scale(NamedTuple):
    """An affine map to normalised values: (x - shift) / scale."""

    shift: np.ndarray
    scale: np.ndarray

    def normalise(self, x):
        """To normalised values."""
        return (x - self.shift) / self.scale

    def restore(self, x):
        """Back to the original values."""
        return x * self.scale + self.shift


def min_max(x: Float[np.ndarray, "N D"]) -> Scale:
    """The map of each column's range to [-1, 1]."""
    low, high = x.min(0), x.max(0)
    half = (high - low) / 2
    return Scale(((low + high) / 2).astype(np.float32), _or_one(half))


def z_score(x: Float[np.ndarray, "N D"]) -> Scale:
    """The map of each column to zero mean and unit deviation; the identity without rows."""
    if not len(x):
        return Scale(np.zeros(x.shape[1], np.float32), np.ones(x.shape[1], np.float32))
    return Scale(x.mean(0).astype(np.float32), _or_one(x.std(0)))


def _or_one(x):
    return np.where(x < _NARROW, 1.0, x).astype(np.float32)


class ChunkNetwork:
    """Pure functions of a chunk head; parameters and scales are passed in.

    Scales are one ``Scale`` by name: ``action`` (min-max), and z-scores of ``feature`` or of each
    sensor that is a vector or an embedding.
    """

    def __init__(self, config: ChunkConfig, sizes: Sizes):
        self.config = config
        self.sizes = sizes
        if config.backbone == "unet":
            self._backbone: nn.Module = UNet(tuple(config.unet_widths))
        else:
            features = config.features if config.backbone == "performer" else None
            self._backbone = Performer(config.blocks, config.heads, features)
        self._context = context(config, sizes)
        self.generator = GENERATORS[config.objective]

    def inputs(self, percept: Percept) -> Inputs:
        """What the context is made of, with zeros where a sensor is missing."""
        if self.config.reads_latents:
            return percept.feature
        return sensed(percept, self.sizes.modalities)

    def blank(self, *lead: int) -> Inputs:
        """Inputs of zeros with leading axes ``lead``."""
        if self.config.reads_latents:
            return np.zeros((*lead, self.sizes.feature), np.float32)
        modalities = self.sizes.modalities
        values = {m.name: np.zeros((*lead, *m.shape), m.dtype) for m in modalities}
        return Sensed(values, {m.name: np.zeros(lead, bool) for m in modalities})

    def fit_scales(self, inputs: Inputs, actions: Float[np.ndarray, "N A"]) -> dict[str, Scale]:
        """The scales of demonstrations, sensors' over the steps at which they deliver."""
        scales = {"action": min_max(actions)}
        if self.config.reads_latents:
            return scales | {"feature": z_score(inputs)}
        for m in self.sizes.modalities:
            if m.kind in ("vector", "embedding"):
                scales[m.name] = z_score(inputs.values[m.name][inputs.available[m.name]])
        return scales

    def blank_scales(self) -> dict[str, Scale]:
        """Scales of the right shapes."""
        return self.fit_scales(self.blank(1), np.zeros((1, self.sizes.action), np.float32))

    def init(self, key: Array) -> dict:
        """Parameters."""
        of_context, of_backbone = jax.random.split(key)
        c = self.config
        example = jax.tree.map(jnp.asarray, self.blank(1, c.observe))
        encoders = self._context.init(of_context, example)
        tokens = jnp.zeros((1, c.observe, c.width))
        noise = jnp.zeros((1, c.predict, self.sizes.action))
        time = jnp.zeros(1) if self.generator.timed else None
        return {
            "context": encoders,
            "backbone": self._backbone.init(of_backbone, tokens, noise, time),
        }

    def augmented(self, inputs: Inputs, key: Array) -> Inputs:
        """Histories [B, T_o] as training sees them; latents stay as they are."""
        c = self.config
        if c.reads_latents:
            return inputs
        return augmented(inputs, self.sizes.modalities, key, c.shift, c.drop)

    def context(self, params: dict, scales: dict[str, Scale], inputs: Inputs) -> Context:
        """Context of T_o tokens."""
        if self.config.reads_latents:
            inputs = scales["feature"].normalise(inputs)
        else:
            values = {
                name: scales[name].normalise(value) if name in scales else value
                for name, value in inputs.values.items()
            }
            inputs = Sensed(values, inputs.available)
        return self._context.apply(params["context"], inputs)

    def generate(self, params: dict, tokens: Array):
        """The backbone in the context of ``tokens``, as generators take it.

        Mapped over the candidates, so that all that depends on the context alone is computed once.
        """

        def one(noise, time):
            return self._backbone.apply(params["backbone"], tokens, noise, time)

        return jax.vmap(one, (1, None), 1)

    def loss(self, params, scales, inputs, chunks, key, state: State) -> Trained:
        """Of histories [B, T_o] and normalised chunks [B, T_p], with the terms of the context."""
        c, (tokens, terms) = self.config, self.context(params, scales, inputs)
        trained = self.generator.loss(c, self.generate(params, tokens), chunks, key, state)
        total = sum((getattr(c, f"{name}_weight") * x for name, x in terms.items()), trained.loss)
        return trained._replace(loss=total, metrics=trained.metrics | terms)

    def sample(self, params, scales, inputs, key) -> Float[Array, "B K T A"]:
        """Normalised candidates for histories [B, T_o], clipped to [-1, 1]."""
        c = self.config
        tokens = self.context(params, scales, inputs).tokens
        noise = jax.random.normal(key, (len(tokens), c.candidates, c.predict, self.sizes.action))
        return jnp.clip(self.generator.sample(c, self.generate(params, tokens), noise), -1, 1)
