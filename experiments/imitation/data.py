"""The demonstrations of a task, checked against its sensors."""

import functools
from collections.abc import Iterator

from mummi.config import Config
from mummi.imitation.demonstrations import (
    Demonstration,
    Demonstrations,
    LiberoDemonstrations,
    libero_files,
)
from mummi.imitation.record import Imitation
from mummi.modality import Modality

Sensors = tuple[tuple[Modality, ...], int]
"""Modalities and action size of a task."""


def load_demonstrations(
    imitation: Imitation, config: Config, sensors: Sensors
) -> list[Demonstration]:
    """All demonstrations of the file.

    Args:
        imitation: names the file.
        config: settings of the task.
        sensors: modalities and action size of the task.

    Raises:
        ValueError: the file does not fit the task.
    """
    modalities, action_size = sensors
    made = []
    for demonstrations in opened(imitation.data, config, [m.name for m in modalities]):
        kwargs = demonstrations.attributes.get("env_args", {}).get("env_kwargs", {})
        repeat = kwargs.get("action_repeat", config.action_repeat)
        pairs = [
            (f"modality {m.name!r}", (given.kind, given.shape), (m.kind, m.shape))
            for given, m in zip(demonstrations.modalities, modalities, strict=True)
        ]
        pairs += [
            ("action size", demonstrations.action_size, action_size),
            ("action repeat", repeat, config.action_repeat),
        ]
        for name, given, wanted in pairs:
            if given != wanted:
                raise ValueError(
                    f"--data {imitation.data!r} has {name} {given}, and task {config.task!r} with "
                    f"these settings has {wanted}"
                )
        made += demonstrations
    return made


def opened(path: str, config: Config, names: list[str]) -> Iterator[Demonstrations]:
    """The file of demonstrations, or for LIBERO each file of a folder; closed when passed."""
    if not config.task.startswith("libero"):
        with Demonstrations(path, names) as demonstrations:
            yield demonstrations
        return
    from envs.libero.instruction import embed

    encode = functools.partial(embed, encoder=config.env.get("encoder", "minilm"))
    for file in libero_files(path):
        with LiberoDemonstrations(file, names, encode) as demonstrations:
            yield demonstrations
