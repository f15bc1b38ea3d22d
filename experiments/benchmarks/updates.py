"""Updates of the agent on random batches, and their operations."""

from collections.abc import Callable

import numpy as np

from experiments.benchmarks import flops
from mummi.agent import Agent, nest
from mummi.config import Config
from mummi.data.episode import layout
from mummi.modality import Modality
from mummi.runs.devices import data_mesh, put, replicated, run_once, sharded


def updating(
    config: Config, modalities: tuple[Modality, ...], actions: int
) -> tuple[Callable[[], dict], int]:
    """A call that makes one update after the other on a batch, and the operations of each."""
    mesh = data_mesh(1, config.batch_size)  # as the training loop's
    agent = Agent(config, modalities, actions, mesh)
    batch = draw(modalities, actions, (config.batch_size, config.batch_length))
    batch = put(nest(batch), sharded(mesh))
    state = put(run_once(agent.init, 0), replicated(mesh))

    def update():
        nonlocal state
        state, metrics = agent.update(state, batch)
        return metrics

    return update, flops.count(agent.update, state, batch)


def draw(
    modalities: tuple[Modality, ...], actions: int, lead: tuple[int, ...], seed: int = 0
) -> dict[str, np.ndarray]:
    """Random steps under the replay's keys, arrays [*lead, ...]; all sensors deliver."""
    random = np.random.default_rng(seed)
    steps = {}
    for key, (shape, dtype) in layout(modalities, actions).items():
        if np.issubdtype(dtype, np.floating):
            steps[key] = random.random((*lead, *shape), np.float32).astype(dtype)
        elif dtype == np.uint8:
            steps[key] = random.integers(0, 256, (*lead, *shape), np.uint8)
        else:
            steps[key] = np.full((*lead, *shape), key.startswith("available"))
    return steps
