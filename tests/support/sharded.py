"""Updates on several devices, as a program: python sharded.py DEVICES OUT [COORDINATOR P INDEX].

It stands beside the tests as a process has as many devices as it starts with.
"""

import dataclasses
import json
import pathlib
import sys

import jax
import numpy as np

from mummi.agent import Agent
from mummi.data.device_replay import DeviceSteps
from mummi.data.episode import layout
from mummi.runs import devices
from tests.support.small import ACTION_SIZE, MODALITIES, drawn, make_batch, small_config

BATCH = 8


def updates(mesh: jax.sharding.Mesh | None) -> list[dict[str, float]]:
    """The metrics of two updates on the same batches, whatever the mesh.

    The contrast of ``mummi`` is the loss that needs the whole batch. Imagination starts from eight
    of the states, so that these are split, too.
    """
    share = BATCH // jax.process_count()
    own = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
    config = small_config()
    behavior = dataclasses.replace(config.behavior, starts=8, cloning=1.0)
    agent = Agent(dataclasses.replace(config, behavior=behavior), MODALITIES, ACTION_SIZE, mesh)
    state, rows = drawn(jax.eval_shape(agent.init, 0), 0), []
    if mesh is not None:
        state = devices.put(state, devices.replicated(mesh))
    for seed in range(2):
        batch = make_batch(seed, batch=BATCH, time=4)
        batch["demonstrated"] = jax.numpy.arange(BATCH) < 3
        if mesh is not None:
            batch = jax.tree.map(lambda x: x[own], batch)
            batch = devices.put(batch, devices.sharded(mesh))
        state, metrics = agent.update(state, batch)
        rows.append({name: float(value) for name, value in metrics.items()})
    return rows


def windows(mesh: jax.sharding.Mesh) -> list[list[float]]:
    """The rewards of windows that a ring of 20 steps on the mesh gives, which count from 0."""
    form = layout(MODALITIES, ACTION_SIZE)
    episode = {key: np.zeros((20, *shape), dtype) for key, (shape, dtype) in form.items()}
    episode["reward"] += np.arange(20)
    steps = DeviceSteps(form, 20, mesh)
    steps.append(episode, 0)
    return steps.windows(2 * np.arange(BATCH), 7)["reward"].tolist()


def main(count: str, out: str, coordinator: str = "", processes: str = "1", process: str = "0"):
    """Writes the metrics that this process sees, and how many devices computed them."""
    devices.connect(coordinator, int(processes), int(process))
    mesh = devices.data_mesh(int(count), BATCH)
    found = {"devices": mesh.size, "metrics": updates(mesh)}
    if jax.process_count() == 1:
        found["windows"] = windows(mesh)
    pathlib.Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
