"""What the updates of a run learn from: its replays, and batches drawn from them."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mummi.agent import nest
from mummi.config import Config
from mummi.data.device_replay import DeviceSteps, fits
from mummi.data.episode import layout
from mummi.data.replay import Replay
from mummi.modality import Modality
from mummi.runs import devices
from mummi.training.start import replay_folders

UPDATES_PER_CALL = 4
"""Updates of one call on an accelerator."""


class Batches:
    """The replays of this process, and the batches of one call of the learner after the other.

    Args:
        config: the run's settings.
        modalities: the sensors.
        action_size: A.
        mesh: the devices of all processes.
        restart: step that this process of the run goes on from, which makes its draws its own.

    Attributes:
        online: replay of the episodes in which the agent, or chance, acted.
        demonstrations: replay of the episodes in which an expert acted.
        updates_per_call: K, the updates of one call.

    Raises:
        ValueError: ``config.recent_share`` is no share, or the recent steps are none.
    """

    def __init__(
        self,
        config: Config,
        modalities: tuple[Modality, ...],
        action_size: int,
        mesh: Mesh,
        restart: int,
    ):
        if not 0 <= config.recent_share <= 1:
            raise ValueError(f"recent_share is {config.recent_share}; it must be 0 to 1")
        if config.recent_steps < config.action_repeat:
            raise ValueError(
                f"recent_steps is {config.recent_steps}; it must be at least the "
                f"{config.action_repeat} environment steps of an action"
            )
        process = jax.process_index()
        online, demonstrations = replay_folders(pathlib.Path(config.logdir), process)
        folders = (online, demonstrations if config.prefill_from == "demonstrations" else None)
        form, capacity = layout(modalities, action_size), config.replay_capacity
        on_device = config.replay_device == "on"
        if config.replay_device == "auto" and jax.process_count() == 1:
            on_device = fits(form, capacity, sum(folder is not None for folder in folders))
        memory = 0 if on_device else int(config.replay_memory * 2**30)
        self.online, self.demonstrations = (
            Replay(
                folder,
                modalities,
                action_size,
                capacity,
                (config.seed, process, restart, number),  # a random stream each
                folder and memory,
                DeviceSteps(form, capacity, mesh) if on_device else None,
            )
            for number, folder in enumerate(folders)
        )
        usual = 1 if jax.default_backend() == "cpu" else UPDATES_PER_CALL
        self.updates_per_call = config.updates_per_call or usual
        self._config = config
        self._sharded = devices.sharded(mesh, 1 if self.updates_per_call > 1 else 0)
        self._join = jax.jit(self._joined, static_argnums=1, out_shardings=self._sharded)

    @property
    def episodes(self) -> int:
        """Episodes that batches are drawn from."""
        return self.online.episodes + self.demonstrations.episodes

    @property
    def step(self) -> int:
        """Environment steps of the run up to the last recorded episode."""
        return max(self.online.step, self.demonstrations.step)

    def draw(self) -> dict:
        """The batch of an update, or of K at once with arrays [K, B, ...].

        Of each the first are demonstrations, as ``demonstrated`` bool [B] says; the others are from
        the online replay.
        """
        size, demonstrated = self._config.batch_size // jax.process_count(), 0
        if self.demonstrations.episodes:
            share = self._config.demonstration_share if self.online.episodes else 1
            demonstrated = round(share * size)
        counts = ((self.demonstrations, demonstrated), (self.online, size - demonstrated))
        recent = self._config.recent_share, self._config.recent_steps // self._config.action_repeat
        parts = [
            replay.sample(
                self.updates_per_call * count,
                self._config.batch_length,
                *(recent if replay is self.online else ()),
            )
            for replay, count in counts
            if count
        ]
        if all(isinstance(array, jax.Array) for part in parts for array in part.values()):
            return self._join(parts, demonstrated)
        return devices.put(self._joined(parts, demonstrated, np), self._sharded)

    def state(self) -> dict[str, Any]:
        """What ``restore`` goes on from, of the first process; JSON-able."""
        return {"online": self.online.state(), "demonstrations": self.demonstrations.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on drawing from where ``state`` was taken."""
        self.online.restore(state["online"])
        self.demonstrations.restore(state["demonstrations"])

    def _joined(self, parts: list[Mapping], demonstrated: int, xp=jnp) -> dict:
        """Batches of windows [K * N, ...] of each replay, one after the other in each batch."""
        lead = (self.updates_per_call,) if self.updates_per_call > 1 else ()
        batch = {}
        for key in parts[0]:
            columns = [part[key].reshape(*lead, -1, *part[key].shape[1:]) for part in parts]
            batch[key] = xp.concatenate(columns, len(lead)) if len(columns) > 1 else columns[0]
        size = batch["reward"].shape[len(lead)]
        batch["demonstrated"] = xp.broadcast_to(xp.arange(size) < demonstrated, (*lead, size))
        return nest(batch)
