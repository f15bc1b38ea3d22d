"""The demonstrations of a task, checked against its sensors."""

import dataclasses

from mummi.config import Config
from mummi.imitation.demonstrations import DataSet, Demonstration, Reading, open_with_instruction
from mummi.imitation.record import Imitation
from mummi.modality import Modality

Sensors = tuple[tuple[Modality, ...], int]
"""Modalities and action size of a task."""


def load_demonstrations(
    imitation: Imitation, config: Config, sensors: Sensors
) -> list[Demonstration]:
    """All demonstrations of the data.

    Args:
        imitation: names the data and how they are read.
        config: settings of the task.
        sensors: modalities and action size of the task.

    Raises:
        FileNotFoundError: there are no data.
        ValueError: the data are damaged or do not fit the task.
    """
    modalities, action_size = sensors
    reading = dataclasses.replace(imitation.reading, obs=tuple(m.name for m in modalities))
    with opened(imitation.data, reading, config) as data:
        kwargs = data.attributes.get("env_args", {}).get("env_kwargs", {})
        repeat = kwargs.get("action_repeat", config.action_repeat)
        pairs = [
            (f"modality {m.name!r}", (given.kind, given.shape), (m.kind, m.shape))
            for given, m in zip(data.modalities, modalities, strict=True)
        ]
        pairs += [
            ("action size", data.action_size, action_size),
            ("action repeat", repeat, config.action_repeat),
        ]
        for name, given, wanted in pairs:
            if given != wanted:
                raise ValueError(
                    f"--data {imitation.data!r} has {name} {given}, and task {config.task!r} with "
                    f"these settings has {wanted}"
                )
        return list(data)


def opened(path: str, reading: Reading, config: Config) -> DataSet:
    """The data; an instruction among their sensors is embedded as the task does it."""

    def embed(sentences):
        from envs.libero.instruction import embed

        return embed(sentences, encoder=config.env.get("encoder", "minilm"))

    return open_with_instruction(path, reading, embed)
