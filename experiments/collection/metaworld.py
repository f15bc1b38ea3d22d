"""MetaWorld's demonstrations, each with its instruction as a sentence."""

import functools
import pathlib
from collections.abc import Iterator

import envs
from envs.metaworld.catalogue import GROUPS, TASKS, tasks_of
from experiments.collection.episodes import GYM, settings
from experiments.collection.successes import Target, folder, with_sentence
from mummi.config import Config
from mummi.imitation.demonstrations import INSTRUCTION

RATE = 80
"""Control steps a second."""


def targets(config: Config, arguments) -> Iterator[Target]:
    """What is recorded of a task or a group, whose folder gets ``TASK.hdf5`` for each.

    Raises:
        ValueError: a group is to go into one file.
    """
    group = config.task in GROUPS
    path = folder(arguments.out) if group else pathlib.Path(arguments.out)
    for task in tasks_of(config.task):
        name = f"metaworld/{task}"
        environment = envs.make(name, **settings(config))
        sensors = [m for m in environment.modalities if m.name != INSTRUCTION]
        environment.close()
        yield Target(
            task=name,
            instruction=TASKS[task],
            rate=RATE,
            path=path / f"{task}.hdf5" if group else path,
            modalities=sensors,
            action_size=environment.action_size,
            env_args={"type": GYM, "env_name": name},
            attributes={},
            start=lambda number: {},
            written=functools.partial(with_sentence, sentence=TASKS[task]),
        )
