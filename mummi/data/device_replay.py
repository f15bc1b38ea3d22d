"""The steps of a replay in the memory of a device, from which batches are drawn there."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mummi.data.episode import Episode, Layout
from mummi.runs import devices

CHUNK = 128
"""Steps that are written at a time, so that episodes of all lengths share a compiled call."""


class DeviceSteps:
    """A ring of time steps, from the oldest to the newest, replicated on every device of a mesh.

    It has its memory from the first step on. Calls must come one after the other.

    Args:
        layout: shape of one step and dtype of every array.
        capacity: most steps.
        mesh: devices of this process, which split the windows that are drawn between them.
    """

    def __init__(self, layout: Layout, capacity: int, mesh: Mesh):
        self._layout = layout
        self._capacity = capacity
        self._oldest = 0
        self._length = 0
        self._steps: dict[str, jax.Array] = {}
        ring, windows = devices.replicated(mesh), devices.sharded(mesh)
        self._empty = jax.jit(self._zeros, out_shardings=ring)
        self._write = jax.jit(_write, donate_argnums=0, out_shardings=ring)
        self._gather = jax.jit(_gather, in_shardings=(ring, windows), out_shardings=windows)

    def append(self, episode: Episode, evicted: int) -> None:
        """Takes the newest episode after forgetting the ``evicted`` oldest steps."""
        self._oldest = (self._oldest + evicted) % self._capacity
        self._length -= evicted
        self._put(self._oldest + self._length, episode)

    def prepend(self, episode: Episode) -> None:
        """Takes an episode that is older than all that are there."""
        self._oldest = (self._oldest - len(episode["reward"])) % self._capacity
        self._put(self._oldest, episode)

    def windows(self, starts: np.ndarray, length: int) -> dict[str, jax.Array]:
        """Windows [B, T, ...] of ``length`` steps that begin at ``starts`` [B], 0 the oldest.

        After the newest step they go on with the oldest.
        """
        steps = (starts[:, None] + np.arange(length)) % self._length
        index = ((self._oldest + steps) % self._capacity).astype(np.int32)
        return self._gather(self._steps, index)

    def _put(self, at: int, episode: Episode) -> None:
        self._steps = self._steps or self._empty()
        length = len(episode["reward"])
        for first in range(0, length, CHUNK):
            count = min(CHUNK, length - first)
            index = np.full(CHUNK, self._capacity, np.int32)
            index[:count] = (at + first + np.arange(count)) % self._capacity
            chunk = {}
            for key, (shape, dtype) in self._layout.items():
                chunk[key] = np.zeros((CHUNK, *shape), dtype)
                chunk[key][:count] = episode[key][first : first + count]
            self._steps = self._write(self._steps, index, chunk)
        self._length += length

    def _zeros(self) -> dict[str, jax.Array]:
        return {
            key: jnp.zeros((self._capacity, *shape), dtype)
            for key, (shape, dtype) in self._layout.items()
        }


def size(layout: Layout, capacity: int) -> int:
    """Bytes that a ring takes on each device."""
    return capacity * sum(
        int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in layout.values()
    )


def fits(layout: Layout, capacity: int, rings: int) -> bool:
    """Whether so many rings leave half of the memory of each accelerator of this process free."""
    stats = [device.memory_stats() for device in jax.local_devices()]
    if not all(stats):
        return False  # a CPU does not say
    return 2 * rings * size(layout, capacity) <= min(stat["bytes_limit"] for stat in stats)


def _write(steps: dict, index: jax.Array, chunk: dict) -> dict:
    """Steps at ``index`` [N] replaced; an index past the end writes nothing."""
    return {key: array.at[index].set(chunk[key], mode="drop") for key, array in steps.items()}


def _gather(steps: dict, index: jax.Array) -> dict:
    return {key: array.at[index].get(mode="clip") for key, array in steps.items()}
