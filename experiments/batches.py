"""What the updates of a run learn from: its replays, and batches drawn from them."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.runtime.start import replay_folders
from mummi.agent import nest
from mummi.config import Config
from mummi.data.device_replay import DeviceSteps, fits
from mummi.data.episode import layout
from mummi.data.replay import Replay
from mummi.modality import Modality
from mummi.runs import devices

TOGETHER = 4
"""Updates of one call on an accelerator."""


class Batches:
    """The replays of this process, and the batches of one call of the learner after the other.

    Args:
        config: the run's settings.
        modalities: the sensors.
        action_size: A.
        mesh: the devices of all processes.
        life: step that this process of the run goes on from, which makes its draws its own.

    Attributes:
        lived: replay of what the agent, or chance, lived through.
        shown: replay of the demonstrations.
        together: K, the updates of one call.
    """

    def __init__(
        self,
        config: Config,
        modalities: tuple[Modality, ...],
        action_size: int,
        mesh: Mesh,
        life: int,
    ):
        process = jax.process_index()
        lived, shown = replay_folders(pathlib.Path(config.logdir), process)
        shown = shown if config.prefill_from == "demonstrations" else None
        form, capacity = layout(modalities, action_size), config.replay_capacity
        there = config.replay_device == "on"
        if config.replay_device == "auto" and jax.process_count() == 1:
            there = fits(form, capacity, 2 if shown else 1)
        memory = 0 if there else int(config.replay_memory * 2**30)
        self.lived, self.shown = (
            Replay(
                folder,
                modalities,
                action_size,
                capacity,
                (config.seed, process, life),
                folder and memory,
                DeviceSteps(form, capacity, mesh) if there else None,
            )
            for folder in (lived, shown)
        )
        usual = 1 if jax.default_backend() == "cpu" else TOGETHER
        self.together = config.updates_together or usual
        self._config = config
        self._parts = devices.parts(mesh, 1 if self.together > 1 else 0)
        self._join = jax.jit(self._joined, static_argnums=1, out_shardings=self._parts)

    def draw(self) -> dict:
        """The batch of an update, or of K together with arrays [K, B, ...].

        Of each the first are demonstrations, as ``demonstrated`` says, then follows what was lived
        through.
        """
        size, shown = self._config.batch_size // jax.process_count(), 0
        if self.shown.episodes:
            share = self._config.demonstration_share if self.lived.episodes else 1
            shown = round(share * size)
        parts = [
            replay.sample(self.together * count, self._config.batch_length)
            for replay, count in ((self.shown, shown), (self.lived, size - shown))
            if count
        ]
        if all(isinstance(array, jax.Array) for part in parts for array in part.values()):
            return self._join(parts, shown)
        return devices.put(self._joined(parts, shown, np), self._parts)

    def state(self) -> Any:
        """What ``restore`` goes on from, of the first process."""
        return self.lived.state()

    def restore(self, state: Any) -> None:
        """Goes on drawing from where ``state`` was taken."""
        for replay in (self.lived, self.shown):
            replay.restore(state)

    def _joined(self, parts: list[Mapping], shown: int, xp=jnp) -> dict:
        """Batches of windows [K * N, ...] of each replay, one after the other in each batch."""
        lead = (self.together,) if self.together > 1 else ()
        batch = {}
        for key in parts[0]:
            columns = [part[key].reshape(*lead, -1, *part[key].shape[1:]) for part in parts]
            batch[key] = xp.concatenate(columns, len(lead)) if len(columns) > 1 else columns[0]
        size = batch["reward"].shape[len(lead)]
        batch["demonstrated"] = xp.broadcast_to(xp.arange(size) < shown, (*lead, size))
        return nest(batch)
