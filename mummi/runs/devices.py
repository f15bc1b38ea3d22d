"""Data-parallel training: parameters on every device, each batch split between the devices.

A run is one process, or several, of one machine or of many, that each hold a part of every batch.
The compiler splits the computation; what needs the whole batch, as InfoNCE does, gets it.
``run_once`` compiles what only starts a run.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"
"""Name of the mesh's one axis."""
ENDS = {"shutdown_timeout_seconds": 20}
"""So long a process that fails waits for the others, which are ended then, too."""
RUNS_ONCE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""The compiler's options for a program that takes longer to optimise than to run."""


def run_once(function: Callable, *arguments: Any) -> Any:
    """``function(*arguments)`` for an initialisation, as one program that is compiled quickly.

    Outside of jit every operation would be compiled on its own.
    """
    return jax.jit(function).lower(*arguments).compile(compiler_options=RUNS_ONCE)(*arguments)


def connect(coordinator: str, processes: int, process: int) -> None:
    """Makes this process one of a run of several; called before anything runs on a device.

    Where it is one already, nothing is done.

    Args:
        coordinator: HOST:PORT at which the first process can be reached, ``auto`` where a cluster
            such as Slurm tells it, "" for a run of one process.
        processes: how many there are; 1 unless the coordinator is HOST:PORT.
        process: which this is, from 0 on.

    Raises:
        ValueError: the three contradict each other.
        RuntimeError: ``auto`` and there is no cluster, or the processes do not find each other.
    """
    named = coordinator not in ("", "auto")
    if named and not re.fullmatch(r"\S+:\d+", coordinator):
        raise ValueError(f"coordinator is {coordinator!r}; it must be HOST:PORT, or auto")
    if processes != 1 and not named:
        raise ValueError(f"processes is {processes}, but no coordinator HOST:PORT is given")
    if not 0 <= process < processes:
        raise ValueError(f"process is {process}; of {processes} it must be 0 to {processes - 1}")
    if jax.distributed.is_initialized():
        return
    if named:
        jax.distributed.initialize(coordinator, processes, process, **ENDS)
    elif coordinator:
        try:
            jax.distributed.initialize(**ENDS)
        except ValueError as error:
            raise RuntimeError(f"coordinator is auto, but no cluster was found: {error}") from error


def data_mesh(devices: int, batch_size: int) -> Mesh:
    """The devices of all processes in a row.

    Args:
        devices: how many of each process; 0 for one CPU, or for as many of an accelerator's as
            divide the batch.
        batch_size: sequences of a batch, of all processes together.

    Raises:
        ValueError: as of ``share``.
    """
    processes = jax.process_count()
    rows = [[d for d in jax.devices() if d.process_index == p] for p in range(processes)]
    available = min(map(len, rows))
    if not devices and jax.default_backend() == "cpu":
        devices = 1
    count = share(devices, available, processes, batch_size)
    return Mesh(np.array([row[:count] for row in rows]).ravel(), (AXIS,))


def share(devices: int, available: int, processes: int, batch_size: int) -> int:
    """How many devices of each process divide a batch: those asked for, or, of 0, the most.

    Args:
        devices: asked for, of each process.
        available: devices that each process has.
        processes: how many there are.
        batch_size: sequences of a batch, of all processes together.

    Raises:
        ValueError: there are not as many devices, or they do not divide the batch.
    """
    if not 0 <= devices <= available:
        raise ValueError(f"devices is {devices}; a process has {available}")
    if not devices:
        dividing = [n for n in range(1, available + 1) if batch_size % (n * processes) == 0]
        devices = max(dividing, default=1)
    if batch_size % (devices * processes):
        raise ValueError(
            f"a batch of {batch_size} sequences cannot be split evenly between {devices} devices "
            f"of each of {processes} processes; change --devices or --batch-size"
        )
    return devices


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that every device holds."""
    return NamedSharding(mesh, PartitionSpec())


def sharded(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The sharding of arrays [B, ...] that are split along B, or along a later axis."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))


def put(tree: Any, sharding: NamedSharding) -> Any:
    """Brings a tree of host arrays to the devices.

    Args:
        tree: what this process has: all of what is replicated, or its part [B / processes, ...] of
            what is sharded along B.
        sharding: of ``replicated`` or ``sharded``.
    """
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
    )


def local(tree: Any) -> Any:
    """This process's own copy of arrays that every device holds, on its first device."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def gather(values: Sequence[int]) -> np.ndarray:
    """What each of the P processes has, int32 [P, N] from N integers; every process must ask."""
    row = np.asarray(values, np.int32)
    if jax.process_count() == 1:
        return row[None]
    return np.asarray(multihost_utils.process_allgather(row))
