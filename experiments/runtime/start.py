"""Before a training run starts: folder, environments, and settings that must fit together."""

import contextlib
import fcntl
import pathlib

from envs.processes.parallel import ParallelEnvironments
from mummi.config import Config


def replay_folders(logdir: pathlib.Path, process: int = 0) -> tuple[pathlib.Path, pathlib.Path]:
    """Where a process of a run keeps what its agent lived through, and the demonstrations."""
    whose = f"-{process}" if process else ""
    return logdir / f"replay{whose}", logdir / f"demonstrations{whose}"


@contextlib.contextmanager
def lock(logdir: pathlib.Path):
    """Holds the run's folder; a second process on it is a ValueError."""
    logdir.mkdir(parents=True, exist_ok=True)
    with (logdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process trains in {str(logdir)!r}") from None
        yield


def check_settings(config: Config) -> None:
    """Raises a ValueError where a setting of what is learned from is out of range or in vain."""
    if config.updates_together < 0:
        raise ValueError(f"updates_together is {config.updates_together}; it must be 0 or more")
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


def training_environments(config: Config, process: int = 0, life: int = 0) -> ParallelEnvironments:
    """The environments of a process of a run; each ``life``, or resumption, has other seeds."""
    numbers = range(process * config.envs, (process + 1) * config.envs)
    return ParallelEnvironments(
        config.task,
        [(config.seed, 0, number, life) for number in numbers],
        image_size=config.image_size,
        missing=config.missing,
        background=config.background,
        action_repeat=config.action_repeat,
        **config.env,
    )
