"""Before a run starts: its folder, and settings that must fit together."""

import contextlib
import fcntl
import os
import pathlib
import re
from collections.abc import Iterator

import jax
from jax.sharding import Mesh

from mummi.config import Config
from mummi.data.replay import recorded_step
from mummi.runs import devices, record
from mummi.runs.checkpoint import Checkpointer

IMITATION = "imitation.yaml"
"""What makes a folder that of a run of ``mummi.imitation``."""
FOLDERS = ("replay", "demonstrations")
"""Of the episodes of a run's first process; those of process N have ``-N`` after their names."""


def prepare(config: Config) -> Mesh:
    """Joins the other processes of a run; nothing is written yet. May be called twice.

    Returns:
        The devices of all processes.

    Raises:
        ValueError: settings that contradict each other, or the folder holds something else or a
            run with other settings or of more processes.
    """
    check_settings(config)
    devices.connect(config.coordinator, config.processes, config.process)
    mesh = devices.data_mesh(config.devices, config.batch_size)
    logdir = pathlib.Path(config.logdir)
    if (logdir / IMITATION).is_file():
        raise ValueError(f"{str(logdir)!r} holds a run of experiments.imitate; give a new folder")
    record.check_folder(logdir, config)
    require_all_processes(logdir, jax.process_count())
    return mesh


def replay_folders(logdir: pathlib.Path, process: int = 0) -> tuple[pathlib.Path, pathlib.Path]:
    """Where a process of a run keeps the episodes of its agent, and the demonstrations."""
    online, demonstrations = (f"{name}-{process}" if process else name for name in FOLDERS)
    return logdir / online, logdir / demonstrations


def restart_step(logdir: pathlib.Path, process: int = 0) -> int:
    """The step that a process of a run goes on from; 0 of a new run.

    It is larger at each restart that got anywhere, so seeds made of it are new.
    """
    saved = Checkpointer(logdir / "checkpoints").latest_step() or 0
    return max(saved, *map(recorded_step, replay_folders(logdir, process)))


def require_all_processes(logdir: pathlib.Path, processes: int) -> None:
    """Raises a ValueError where the folder has episodes of more processes than there are now.

    Nobody would learn from them any more.
    """
    forgotten = []
    for path in sorted(logdir.glob("*-*")):
        name, _, number = path.name.rpartition("-")
        if name in FOLDERS and re.fullmatch(r"[1-9]\d*", number) and int(number) >= processes:
            forgotten += [path] if any(path.glob("*.npz")) else []
    if forgotten:
        most = 1 + max(int(path.name.rpartition("-")[2]) for path in forgotten)
        raise ValueError(
            f"{str(logdir)!r} holds episodes of {most} processes, and this run has {processes}: "
            f"{', '.join(path.name for path in forgotten)} would be forgotten. Start {most} "
            "processes, or move these folders away"
        )


@contextlib.contextmanager
def lock(logdir: str | os.PathLike) -> Iterator[None]:
    """Holds the run's folder; a second process on it is a ValueError."""
    logdir = pathlib.Path(logdir)
    logdir.mkdir(parents=True, exist_ok=True)
    with (logdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process trains in {str(logdir)!r}") from None
        yield


def check_settings(config: Config) -> None:
    """Raises a ValueError where a setting of what is learned from is out of range or in vain."""
    if config.updates_per_call < 0:
        raise ValueError(f"updates_per_call is {config.updates_per_call}; it must be 0 or more")
    if config.replay_device == "on" and config.coordinator:
        raise ValueError(
            "replay_device is 'on', but each process of this run has a replay of its own; "
            "leave it at auto"
        )
    if not 0 <= config.demonstration_share <= 1:
        raise ValueError(f"demonstration_share is {config.demonstration_share}, not in [0, 1]")
    if config.pretrain < 0:
        raise ValueError(f"pretrain is {config.pretrain}; it must be 0 or more")
    if config.behavior.cloning and config.prefill_from != "demonstrations":
        raise ValueError(
            f"behavior.cloning is {config.behavior.cloning}, but there is nothing to clone: "
            "add --prefill-from demonstrations"
        )
    if config.behavior.cloning and not round(config.demonstration_share * config.batch_size):
        raise ValueError(
            f"behavior.cloning is {config.behavior.cloning}, but there is nothing to clone: a "
            f"demonstration_share of {config.demonstration_share} is none of a batch of "
            f"{config.batch_size}"
        )
