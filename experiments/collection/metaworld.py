"""MetaWorld's demonstrations, each with its instruction as a sentence."""

import pathlib
from collections.abc import Iterator

import envs
from envs.metaworld.catalogue import GROUPS, TASKS, tasks_of
from experiments.collection.episodes import GYM, settings
from experiments.collection.successes import Target, folder
from mummi.config import Config
from mummi.imitation.demonstrations import Demonstration
from mummi.imitation.demonstrations.demonstration import INSTRUCTION


def targets(config: Config, out: str) -> Iterator[Target]:
    """What is recorded of a task or a group, whose folder gets ``TASK.hdf5`` for each.

    Raises:
        ValueError: a group is to go into one file.
    """
    path = folder(out) if config.task in GROUPS else pathlib.Path(out)
    for task in tasks_of(config.task):
        name = f"metaworld/{task}"
        environment = envs.make(name, **settings(config))
        sensors = [m for m in environment.modalities if m.name != INSTRUCTION]
        environment.close()
        yield Target(
            name,
            path / f"{task}.hdf5" if config.task in GROUPS else path,
            sensors,
            environment.action_size,
            {"type": GYM, "env_name": name},
            {},
            lambda number: {},
            told(TASKS[task]),
        )


def told(sentence: str):
    """Writes the instruction as a sentence: readers make of it what their sensor is."""

    def written(made: Demonstration) -> Demonstration:
        available = made.available and {n: a for n, a in made.available.items() if n != INSTRUCTION}
        return made._replace(
            values={name: value for name, value in made.values.items() if name != INSTRUCTION},
            available=available,
            attributes=made.attributes | {INSTRUCTION: sentence},
        )

    return written
