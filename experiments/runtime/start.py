"""The environments that a training run of this package acts in."""

from envs.processes.parallel import ParallelEnvironments
from mummi.config import Config


def training_environments(
    config: Config, process: int = 0, restart: int = 0
) -> ParallelEnvironments:
    """Makes the environments of a process of a run.

    Args:
        config: the run's settings.
        process: which process of the run this is.
        restart: step that the run goes on from; each restart has other seeds.
    """
    numbers = range(process * config.envs, (process + 1) * config.envs)
    return ParallelEnvironments(
        config.task,
        [(config.seed, 0, number, restart) for number in numbers],
        image_size=config.image_size,
        missing=config.missing,
        background=config.background,
        action_repeat=config.action_repeat,
        **config.env,
    )
