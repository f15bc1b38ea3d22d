"""Small agents, parameters and batches that several tests share."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from mummi.agent import AgentState, Parameters
from mummi.config import Config
from mummi.modality import Modality
from mummi.presets import preset

MODALITIES = (
    Modality("rgb", "image", (8, 8, 3)),
    Modality("depth", "depth", (8, 8, 1)),
    Modality("touch", "vector", (2,)),
)
ACTION_SIZE = 2


def small_config(name: str = "debug", method: str = "mummi", **model) -> Config:
    """A preset with its options, at sizes that compile fast; ``model`` changes options."""
    config = preset(name, "walker_walk")
    patches = config.model.image_kernels[0] == config.model.image_strides[0]
    sizes = {
        "image_widths": (4,),
        "image_kernels": (4,),
        "image_strides": (4 if patches else 2,),
        "vector_widths": (5,),
        "expert_units": 7 if config.model.expert_units else 0,
        "fused": 6,
        "stoch": 3,
        "deter": 5,
        "hidden": 8,
        "reward_units": 8,
    }
    behavior = replace(
        config.behavior, actor_layers=1, value_layers=1, units=8, horizon=3, starts=5
    )
    changed = replace(config.model, **(sizes | model))
    return replace(config, method=method, model=changed, behavior=behavior)


def random_like(shapes, seed: int = 0):
    """Standard normals times 0.4 in every leaf: no part of a network is zero, none compiles."""
    random = np.random.default_rng(seed)

    def draw(leaf):
        return jnp.asarray(0.4 * random.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(draw, shapes)


def random_parameters(init, seed: int = 0):
    """Parameters of the structure that ``init(key)`` has, drawn by ``random_like``."""
    return random_like(jax.eval_shape(init, jax.random.PRNGKey(0)), seed)


def drawn(shapes: AgentState, seed: int) -> AgentState:
    """A state of fresh parameters by NumPy: to compile their draw takes a third of a short test.

    Of the structure of ``Agent.init``: weights are normal with a variance of one over the number of
    inputs, biases zero. No two leaves share their memory, since an update reuses that of its input.
    """
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        assert path[-1].key in ("kernel", "bias"), path
        deviation = np.prod(leaf.shape[:-1]) ** -0.5 if path[-1].key == "kernel" else 0.0
        return (deviation * random.normal(size=leaf.shape)).astype(leaf.dtype)

    fresh = Parameters(shapes.model, shapes.actor, shapes.critic)
    parameters = jax.tree_util.tree_map_with_path(draw, fresh)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    state = zeros._replace(
        model=parameters.model,
        actor=parameters.actor,
        critic=parameters.critic,
        slow_critic=parameters.critic,
        average=parameters,
        key=jax.random.split(jax.random.PRNGKey(seed), 3)[2],
    )
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)


def draw_value(random: np.random.Generator, modality: Modality, lead: tuple[int, ...]):
    """A random value [*lead, *shape] of the modality's dtype."""
    shape = (*lead, *modality.shape)
    if modality.dtype == np.uint8:
        return random.integers(0, 256, shape, np.uint8)
    return random.uniform(-1, 1, shape).astype(np.float32)


def make_batch(seed: int = 0, batch: int = 2, time: int = 4, missing: float = 0.4) -> dict:
    """Sequences as the replay gives them, with a new episode inside the second."""
    random = np.random.default_rng(seed)
    is_first = np.zeros((batch, time), bool)
    is_first[:, 0] = True
    is_first[-1, time // 2] = True
    is_terminal = np.zeros((batch, time), bool)
    is_terminal[-1, time // 2 - 1] = True
    numbers = {
        "values": {m.name: draw_value(random, m, (batch, time)) for m in MODALITIES},
        "available": {m.name: random.random((batch, time)) >= missing for m in MODALITIES},
        "action": random.uniform(-1, 1, (batch, time, ACTION_SIZE)).astype(np.float32),
        "reward": random.random((batch, time)).astype(np.float32),
        "is_first": is_first,
        "is_terminal": is_terminal,
    }
    return jax.tree.map(jnp.asarray, numbers)


def spoil_missing(batch: dict, seed: int = 7) -> dict:
    """The batch with NaN, or other pixels where there is no NaN, wherever a value is missing."""
    random = np.random.default_rng(seed)
    values = {}
    for m in MODALITIES:
        value = np.array(batch["values"][m.name])
        gone = ~np.asarray(batch["available"][m.name])
        if m.dtype == np.uint8:
            value[gone] = draw_value(random, m, (int(gone.sum()),))
        else:
            value[gone] = np.nan
        values[m.name] = jnp.asarray(value)
    return batch | {"values": values}
